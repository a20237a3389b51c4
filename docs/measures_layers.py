"""Panels of docs/measures.py that compare: methods with each other, layers of a head, images that decoders draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from matplotlib.figure import Figure
from measures_rooms import Truth
from torch import Tensor

import figures
import synthetic
from ssl_theory import analysis

DEPTHS = ("encoder", "head.1", "head.2", "head.3")
IMAGES, SHOWN = 3000, 8


def compared(places: Any, stacks: Mapping[str, Tensor]) -> None:
    """Two matrices, all methods with the seeds of each, in one world; lines part the methods."""
    for axes, measure, title in zip(
        places, (analysis.cka, analysis.procrustes), ("CKA, 3 seeds each", "Procrustes, 3 seeds"), strict=True
    ):
        rows, matrix = analysis.pairwise(measure, stacks)
        axes.imshow(matrix, vmin=0, vmax=1, aspect="auto")
        names = [name for name, _ in rows]
        starts = [names.index(name) for name in stacks]
        middles = [start + (names.count(name) - 1) / 2 for start, name in zip(starts, stacks, strict=True)]
        axes.set_xticks(middles, list(stacks), rotation=90, fontsize=7)
        axes.set_yticks([])
        for edge in starts[1:]:
            axes.axhline(edge - 0.5, color="white", linewidth=0.7)
            axes.axvline(edge - 0.5, color="white", linewidth=0.7)
        axes.grid(False)
        axes.set(title=title, xlabel="dark 0, bright 1")


def kept_along(rows: Mapping[str, Mapping[str, Tensor]], known: Truth) -> Figure:
    """Every measure of `profile_along`, a curve a method, mean and range over seeds."""
    style = known.style[:, :, 0]
    found = {
        name: analysis.profile_along(layers, content=known.content, style=style, labels=known.label)
        for name, layers in rows.items()
    }
    titles = {
        "content_r2": "content $R^2$",
        "accuracy": "class: accuracy",
        "class_information": "about the class, nats",
        "style_r2": "style $R^2$",
        "style_information": "about style, nats",
        "effective_rank": "effective rank",
    }
    figure, places = figures.canvas(2, 3, width="page", height=2.15)
    for axes, (measure, title) in zip(places.flat, titles.items(), strict=True):
        for name, measures in found.items():
            values = torch.stack([torch.as_tensor(v) for v in measures[measure].values()], 1)
            look = figures.mark(name) if name in ("SimCLR", "VICReg") else {"color": "0.5", "linestyle": "--"}
            axes.plot(range(len(DEPTHS)), values.mean(0), label=name, markersize=4, **look)
            low, high = values.amin(0).numpy(), values.amax(0).numpy()
            axes.fill_between(range(len(DEPTHS)), low, high, color=look["color"], alpha=0.2, linewidth=0)
        axes.set(title=title, ylim=(-0.05, 1.05) if title.endswith(("$R^2$", "accuracy")) else (-0.05, None))
        axes.set_xticks(range(len(DEPTHS)), ["h", "1", "2", "z"])
        axes.set_xlabel("layer of the head")
    return figure


def drawn_by_decoders() -> Figure:
    """Sprites as they are, and as decoded from what tells content alone, style alone, both, or nothing."""
    world = synthetic.preset("sprites")
    drawn = world.sample(IMAGES, views=1, generator=torch.Generator().manual_seed(0))
    images, style = torch.nn.functional.avg_pool2d(drawn.x[:, 0], 2), drawn.style[:, 0]
    content = torch.nn.functional.one_hot(drawn.label).float()
    noise = torch.randn(IMAGES, 4, generator=torch.Generator().manual_seed(1))
    rows = {"content": content, "style": style, "both": torch.cat([content, style], 1), "noise": noise}
    found: dict[str, Any] = {
        name: analysis.reconstruct(r, images, steps=400, hidden=(128, 128)) for name, r in rows.items()
    }
    shown = {"images": found["noise"].observed} | {f"{n}, $R^2$ = {f.r2:.2f}": f.decoded for n, f in found.items()}
    grid = torch.stack([x[:SHOWN] for x in shown.values()])
    grid = grid.movedim(2, -1) if grid.ndim == 5 else grid
    figure, axes = figures.canvas(width="page", height=4.0)
    figures.image_grid(axes[0, 0], grid, row_names=list(shown))
    return figure
