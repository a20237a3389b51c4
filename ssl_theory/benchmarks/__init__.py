"""Real images: what every method's representation keeps of content and of style, as one table and one
picture.

`data` reads and splits images (`hub`, `decoded`, `celeba`, `sprites`; `download` fetches ahead), `augmentation` and
`published` make views whose style is recorded, `methods` says what is compared and why so, `run` trains and chooses
(`cache` keeps results; `processes`, `ranks` and `cluster` share the work), `examination`, `measures` and `generation`
examine, `table`, `draw`, `report`, `compare` and `board` show; `ssl-bench` (`__main__`) is the command."""
