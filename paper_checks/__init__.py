"""Every claim of the theory, checked: `python -m paper_checks --list` names them."""

PROFILES = ("smoke", "quick", "full")
PARTS = ("model", "bound", "discriminative families", "information", "projection head", "generative")
