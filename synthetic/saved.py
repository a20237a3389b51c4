"""Saved worlds of every kind: which kind a file holds, its format tells."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from synthetic import sprites, world
from synthetic.sampler import saved_as
from synthetic.sprites import SpriteWorld
from synthetic.world import World

KINDS: dict[int | str, type[World] | type[SpriteWorld]] = {world.FORMAT: World, sprites.FORMAT: SpriteWorld}


def load(path: str | Path, device: torch.device | str = "cpu") -> World | SpriteWorld:
    """Read the world that `save` wrote, of whichever kind; `path` without suffix, or with that of one of its files.

    >>> preset("sprites", size=32).save("world")
    >>> load("world").size
    32
    """
    structure, _ = saved_as(path)
    if not structure.is_file():
        raise ValueError(f"expected a saved world at {structure}, found none: write it by world.save")
    found = json.loads(structure.read_text()).get("format")
    if found not in KINDS:
        raise ValueError(f"expected a world of format {', '.join(map(str, KINDS))}, found {found}: save it again")
    return KINDS[found].load(path, device)
