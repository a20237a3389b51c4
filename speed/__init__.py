"""How fast the library is, beside straightforward code: `python -m speed.NAME`."""
