"""Draws docs/worlds.png: a panel a preset, with the views of some data joined (`make docs`)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

import figures
import synthetic

POINTS, JOINED = 400, 25
CLASSES = (
    "contrastive",
    "distillation",
    "redundancy",
    "clustering",
    "instance",
    "simvae",
    "vae",
    "supervised",
    "random",
)


def plane(x: torch.Tensor) -> np.ndarray:
    """The two leading principal components of (n, J, D), fitted on all views."""
    flat = x.flatten(0, 1).double()
    centred = flat - flat.mean(0)
    basis = torch.linalg.svd(centred, full_matrices=False).Vh[:2]
    return (centred @ basis.mT).unflatten(0, x.shape[:2]).numpy()


def draw_views(axes: Axes, views: synthetic.Views) -> None:
    """Data coloured by class, or by content where there is none; lines join the two views of a datum.

    Content across and style up (a leading component of each) where the latent is made of the two; else the principal
    plane of the latents.
    """
    if views.z.shape[-1] == views.content.shape[-1] + views.style.shape[-1]:
        shared = views.content[:, None].expand(-1, 2, -1)
        place = np.stack([plane(shared)[..., 0], plane(views.style)[..., 0]], -1)
        axes.set(xlabel="content", ylabel="style")
    else:
        place = plane(views.z)
        axes.set(xlabel="z, widest", ylabel="z, second")
    colour = views.content[:, 0] if views.label is None else views.label
    classes = ListedColormap([figures.FAMILIES[name]["color"] for name in CLASSES])
    kind: dict[str, Any] = {"cmap": "viridis"} if views.label is None else {"cmap": classes, "vmin": 0, "vmax": 8}
    joined = place[:JOINED]
    axes.plot(joined[..., 0].T, joined[..., 1].T, color="0.25", linewidth=0.7, zorder=3)
    axes.scatter(place[:, 0, 0], place[:, 0, 1], c=colour.numpy(), s=2, **kind)
    axes.set(xticks=[], yticks=[])
    axes.grid(False)


def draw_sprites(axes: Axes, views: synthetic.Views) -> None:
    """Two data a row, the two views of each side by side."""
    images = views.x[:8].movedim(2, -1).reshape(4, 2, 2, *views.x.shape[3:], views.x.shape[2]).flatten(1, 2)
    figures.image_grid(axes, images.numpy(), row_names=[""] * 4)


def main(path: Path) -> None:
    names = list(synthetic.PRESETS)
    with figures.look():
        figure, panels = figures.canvas(-(-len(names) // 5), 5, width="page", height=1.8)
        for axes, name in zip(panels.flat, names, strict=False):
            world = synthetic.preset(name)
            n = 8 if name == "sprites" else POINTS
            views = world.sample(n, views=2, generator=torch.Generator().manual_seed(0))
            (draw_sprites if name == "sprites" else draw_views)(axes, views)
            axes.set_title(name, fontsize=7.5)
        for axes in list(panels.flat)[len(names) :]:
            axes.set_axis_off()
        figure.savefig(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
