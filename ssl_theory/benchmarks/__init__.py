"""Real images: what every method's representation keeps of content and of style, as one table and one
picture.

`data` reads and splits images (`hub`, `decoded`), `augmentation` and `published` make views whose style is
recorded, `methods` says what is compared and why so, `measures` examines, `run` trains and chooses (`cache`
keeps results), `table`, `draw` and `report` show; `ssl-bench` (`__main__`) is the command."""
