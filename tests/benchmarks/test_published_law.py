"""By how much crops and colours differ from those of the common libraries: the numbers of docs/results/README.md.

pytest tests/benchmarks/test_published_law.py
"""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor

from ssl_theory.benchmarks.published import Colour, Crop

DRAWS = 10**6
NEUTRAL = (1.0, 1.0, 1.0, 0.0)  # of brightness, contrast, saturation and hue


def boxes_that_fit(least: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Share of the area and log aspect as libraries draw them: both again until the box fits the frame."""
    kept: list[Tensor] = []
    while sum(map(len, kept)) < DRAWS:
        share = least + (1 - least) * torch.rand(DRAWS, generator=generator)
        log_aspect = math.log(4 / 3) * (2 * torch.rand(DRAWS, generator=generator) - 1)
        kept.append(torch.stack([share, log_aspect], 1)[share.log() + log_aspect.abs() <= 0])
    share, log_aspect = torch.cat(kept)[:DRAWS].unbind(1)
    return share, log_aspect


@pytest.mark.parametrize(
    ("least", "here", "there"),
    [(0.4, (0.700, 0.167, 0.140), (0.640, 0.039, 0.155)), (0.6, (0.800, 0.250, 0.125), (0.744, 0.067, 0.145))],
)
def test_boxes_are_larger_than_those_of_libraries(least, here, there):
    """Mean share of the area, how often it exceeds 0.9, standard deviation of the log aspect."""
    generator = torch.Generator().manual_seed(0)
    style = Crop((32, 32), area=(least, 1.0)).draw((DRAWS,), generator)
    for expected, (share, log_aspect) in (
        (here, (style[:, 2].exp(), style[:, 3])),
        (there, boxes_that_fit(least, generator)),
    ):
        found = (share.mean(), (share > 0.9).float().mean(), log_aspect.std())
        assert [float(value) for value in found] == pytest.approx(expected, abs=0.0015)


def one_by_one(images: Tensor, style: Tensor, orders: Tensor, *, rounded: bool = False) -> Tensor:
    """The four operations, each image's in its own order, pixels rounded to bytes between them or not."""
    for at in orders.unbind(1):
        alone = torch.tensor(NEUTRAL).repeat(len(images), 1)
        alone.scatter_(1, at[:, None], style.gather(1, at[:, None]))
        images = Colour().apply(images.clone(), alone)
        images = (images * 255).round() / 255 if rounded else images
    return images


def test_order_and_rounding_of_colours_change_little():
    """Mean change of a pixel in levels of 255, on 32 x 32 patches of two photographs: by the jitter, by a shuffled
    order, by rounding."""
    photographs = torch.from_numpy(np.stack(load_sample_images().images)).float().movedim(-1, 1) / 255
    images = photographs.unfold(2, 32, 32).unfold(3, 32, 32).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
    generator = torch.Generator().manual_seed(0)
    style = Colour().draw((len(images),), generator)
    here, fixed = Colour().apply(images.clone(), style), torch.arange(4).repeat(len(images), 1)
    shuffled = torch.rand(len(images), 4, generator=generator).argsort(1)

    def change(other: Tensor) -> float:
        return 255 * float((other - here).abs().mean())

    assert change(one_by_one(images, style, fixed)) < 0.001
    assert change(images) == pytest.approx(38.8, abs=0.1)
    assert change(one_by_one(images, style, shuffled)) == pytest.approx(3.5, abs=0.1)
    assert change(one_by_one(images, style, fixed, rounded=True)) == pytest.approx(0.41, abs=0.02)
