"""The ends of the range of content and style are those of the world, not those of a probe."""

from typing import Any

import numpy as np
import pytest
import torch

import synthetic
from ssl_theory.analysis import profile
from ssl_theory.analysis.profile import best_accuracy


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
        content_ceiling=content.mean(), style_ceiling=style.mean(), steps=60,
    )  # fmt: skip
    assert found["retained_style"].tolist() == pytest.approx([1, 1, 0.5], abs=0.06)
    assert found["content_of_bayes"].tolist() == pytest.approx([1, 1, 0.5], abs=0.03)


@pytest.mark.parametrize("kind", ["tensor", "array", "number", "members"])
def test_ceilings_of_any_kind_leave_scores_theirs(kind: str):
    """Scores are of the kind of the representation, and no other for the kind of a ceiling."""
    r = torch.randn(3, 40, 2, generator=torch.Generator().manual_seed(0))
    ends: dict[str, Any] = {
        "tensor": torch.tensor(0.5, dtype=torch.float64),
        "array": np.array(0.5, dtype=np.float32),
        "number": 0.5,
        "members": torch.full((3,), 0.5),
    }
    end = ends[kind]
    floor = np.zeros_like(end) if kind == "array" else 0 * end

    def scores(r: Any) -> dict[str, Any]:
        found = profile(
            r, content=r[..., :1], style=r[..., 1:], labels=torch.arange(40) % 2, steps=20, hidden=(4,),
            style_ceiling=end, content_ceiling=end, bayes_accuracy=end, style_floor=floor,
        )  # fmt: skip
        for name, of in (("retained_style", "style_r2_nonlinear"), ("content_of_bayes", "content_r2_nonlinear")):
            np.testing.assert_allclose(found[name], 2 * np.asarray(found[of]), rtol=1e-6)
        return {name: found[name] for name in ("retained_style", "content_of_bayes", "accuracy_of_bayes")}

    assert all(isinstance(score, torch.Tensor) for score in scores(r).values())
    assert all(isinstance(score, np.ndarray) for score in scores(r.numpy()).values())
    if kind != "members":
        assert all(isinstance(score, float) for score in scores(r[0]).values())
        assert all(isinstance(score, float) for score in scores(r[0].numpy()).values())


def test_the_best_probe_is_not_chosen_by_the_rows_that_score_it():
    """Three probes that guess among four classes are right in a quarter of the rows; so is the best of them."""
    right = (torch.rand(3, 4000, 40, generator=torch.Generator().manual_seed(0)) < 0.25).double()
    assert right.mean(2).amax(0).mean() > 0.29
    found = best_accuracy(right)
    assert found.shape == (4000,)
    assert float(found.mean()) == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 160_000) ** 0.5)
    # One that is right wherever the others guess is the best, and its rows all count.
    right[1, :, 1:] = 1
    assert best_accuracy(right[:, :, :39]).tolist() == pytest.approx(right[1, :, :39].mean(1).tolist())
