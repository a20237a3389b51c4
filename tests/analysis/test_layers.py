"""What is kept from layer to layer of a head, and in what a decoder makes of a representation."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import synthetic
from ssl_theory.analysis import profile_along, reconstruct
from ssl_theory.learners import BYOL, CLIP, VAE, SimCLR, fit

N = 4000


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_profile_along_a_head_that_drops_style():
    """h = (content, style + noise), z its content half: all that h tells of style is gone, and a rank with it."""
    labels = torch.randint(3, (N,), generator=torch.Generator().manual_seed(1))
    content, style = 4 * torch.eye(3, dtype=torch.float64)[labels] + 0.1 * normal(N, 3), normal(N, 2, seed=2)
    h = torch.cat([content, style + normal(N, 2, seed=3)], 1)
    found = profile_along({"h": h, "z": h[:, :3]}, content=content, style=style, labels=labels)
    known = {
        "content_r2": (1, 1),
        "style_r2": (0.5, 0),
        "style_information": (math.log(2), 0),
        "accuracy": (1, 1),
        "class_information": (math.log(3), math.log(3)),
    }
    for name, values in known.items():
        assert list(found[name]) == ["h", "z"]
        assert list(found[name].values()) == pytest.approx(values, abs=0.04), name
    assert found["effective_rank"]["z"] < 3 < found["effective_rank"]["h"]
    assert set(profile_along({"h": h})) == {"effective_rank"}
    stack = profile_along({"h": torch.stack([h, h])}, style=style, kind="mlp", steps=20)
    assert stack["style_r2"]["h"].shape == (2,)


@pytest.mark.parametrize("learner", [SimCLR, BYOL, CLIP])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_layers_of_a_head_compose(learner: type, batch_norm: bool):
    world = synthetic.preset("block")
    fitted = fit(learner(head=(7, 6, 5), hidden=(8,), batch_norm=batch_norm), world, steps=3, seeds=range(2))
    x = world.sample(9, generator=torch.Generator().manual_seed(0)).x[:, 0]
    assert fitted.learner.layers == ("encoder", "head.1", "head.2", "head.3", "representation")
    h, *layers, z = (fitted.transform(x, layer=name) for name in fitted.learner.layers)
    assert [r.shape for r in (h, *layers)] == [(2, 9, 10), (2, 9, 7), (2, 9, 6), (2, 9, 5)]
    assert torch.equal(layers[-1], z)
    head: Any = fitted.modules["head"]
    for depth, (before, after) in enumerate(zip([h, *layers], layers, strict=False)):
        expected = head.layers[depth](before)
        if depth < 2:
            expected = torch.relu(head.norms[depth](expected) if batch_norm else expected)
        torch.testing.assert_close(after, expected)
    if learner is CLIP:
        assert torch.equal(fitted.transform(x, layer="head.3", view=1), fitted.transform(x, view=1))


def test_layers_that_are_not_there_are_named():
    world = synthetic.preset("block")
    x = world.sample(3, generator=torch.Generator().manual_seed(0)).x[:, 0]
    for learner, known in ((SimCLR(head=(4,)), "encoder, head.1, representation"), (VAE(), "encoder, representation")):
        with pytest.raises(ValueError, match=f"one of {known}, found 'head.2'"):
            fit(learner, world, steps=0, seeds=[0]).transform(x, layer="head.2")


def test_reconstruction_scored_by_factor():
    """Images of a content row and a style row: a representation of content draws the one and not the other."""
    content, style = normal(1200, 2), normal(1200, 2, seed=1)
    images = torch.stack([content, style], 1)
    stack = torch.stack([content, style])

    def rows(x: Tensor) -> Tensor:
        return torch.stack([x[:, 0].sum(-1), x[:, 1].sum(-1), 0 * x[:, 0, 0]], 1)

    found = reconstruct(stack, images, steps=200, hidden=(32,), read=rows)
    assert found.by_factor.shape == (2, 3)
    assert found.by_factor[:, :2].flatten().tolist() == pytest.approx([1, 0, 0, 1], abs=0.06)
    assert found.by_factor[:, 2].isnan().all()
    pixels = reconstruct(stack, images, steps=200, hidden=(32,))
    assert pixels.by_factor[0].tolist() == pytest.approx([1, 1, 0, 0], abs=0.06)
    assert pixels.by_factor.mean(1).tolist() == pytest.approx(pixels.r2.tolist(), abs=0.03)
    one = reconstruct(content.numpy(), images.numpy(), steps=50, hidden=(32,), read=lambda x: x[:, 0, 0])
    assert one.by_factor.shape == (1,)
    with pytest.raises(ValueError, match=r"read: expected to answer \(m,\)"):
        reconstruct(content, images, steps=5, read=lambda x: x)
