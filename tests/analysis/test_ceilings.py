"""The ends of the range of content and style are those of the world, not those of a probe."""

import pytest
import torch

import synthetic
from ssl_theory.analysis import profile


def test_profile_against_exact_ceilings():
    """z = y + s: x tells 4/5 of content and 1/5 of style; all that it tells is 1, half of its coordinates are half."""
    world = synthetic.preset("linear-gaussian", noise=0.0, dtype=torch.float64)
    drawn = world.sample(6000, views=1, generator=torch.Generator().manual_seed(0))
    content, style = world.content_r2(), world.style_r2()
    assert content.tolist() == pytest.approx([0.8] * 4)
    assert style.tolist() == pytest.approx([0.2] * 4)
    z = drawn.content + drawn.style[:, 0]
    stack = torch.stack([drawn.x[:, 0], torch.cat([z, z, z, z], 1), torch.cat([z[:, :2]] * 8, 1)])
    found = profile(
        stack, content=drawn.content, style=drawn.style[:, 0],
        content_ceiling=float(content.mean()), style_ceiling=float(style.mean()), steps=60,
    )  # fmt: skip
    assert found["retained_style"].tolist() == pytest.approx([1, 1, 0.5], abs=0.06)
    assert found["content_of_bayes"].tolist() == pytest.approx([1, 1, 0.5], abs=0.03)
