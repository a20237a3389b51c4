"""Prints the table of all losses: `python -m ssl_theory.losses > docs/losses.md`."""

import sys

from ssl_theory.losses.registry import document

if __name__ == "__main__":
    sys.stdout.write(document())
