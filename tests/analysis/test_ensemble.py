"""The ensemble axis: shapes, kinds, diverged members; one protocol for every measure of a single representation."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import ssl_theory.analysis as analysis

G = torch.Generator().manual_seed(0)
STACK = torch.randn(3, 60, 4, generator=G, dtype=torch.float64)
VIEWS = torch.randn(3, 60, 2, 4, generator=G, dtype=torch.float64)
TARGET = torch.randn(60, 4, generator=G, dtype=torch.float64)
LABELS = torch.arange(60) % 3

MEASURES: dict[str, tuple[Tensor, Callable]] = {
    "r2": (STACK, lambda r: analysis.r2(r, TARGET)),
    "kernel r2": (STACK, lambda r: analysis.r2(r, TARGET, kind="kernel")),
    "accuracy": (STACK, lambda r: analysis.accuracy(r, LABELS)),
    "knn accuracy": (STACK, lambda r: analysis.accuracy(r, LABELS, kind="knn")),
    "class_information": (STACK, lambda r: analysis.class_information(r, LABELS)),
    "gaussian_target_information": (STACK, lambda r: analysis.gaussian_target_information(r, TARGET)),
    "collapse_ratio": (VIEWS, analysis.collapse_ratio),
    "class_collapse_ratio": (STACK, lambda r: analysis.class_collapse_ratio(r, LABELS)),
    "total_variance": (STACK, analysis.total_variance),
    "effective_rank": (STACK, analysis.effective_rank),
    "participation_ratio": (STACK, analysis.participation_ratio),
    "alpha_req": (STACK, analysis.alpha_req),
    "lidar": (VIEWS, analysis.lidar),
    "alignment": (VIEWS, analysis.alignment),
    "uniformity": (STACK, analysis.uniformity),
    "tolerance": (STACK, lambda r: analysis.tolerance(r, LABELS)),
    "nc1": (STACK, lambda r: analysis.nc1(r, LABELS)),
    "cdnv": (STACK, lambda r: analysis.cdnv(r, LABELS)),
    "mcc": (STACK, lambda r: analysis.mcc(r, TARGET)),
    "affine_r2": (STACK, lambda r: analysis.affine_r2(r, TARGET)),
    "nmi": (STACK, lambda r: analysis.kmeans_clustering(r, r, LABELS, 3).nmi),
}


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_keeps_to_the_convention(name: str):
    stack, measure = MEASURES[name]
    before = stack.clone()
    scores = measure(stack)
    assert isinstance(scores, Tensor)
    assert scores.shape == (3,)
    assert torch.isfinite(scores).all()
    assert torch.equal(stack, before), "the argument was changed"
    # Each member by itself, as a float; numpy in, numpy out.
    assert [measure(member) for member in stack] == pytest.approx(scores.tolist(), abs=1e-6)
    assert isinstance(measure(stack[0]), float)
    assert isinstance(measure(stack.numpy()), np.ndarray)
    assert isinstance(measure(stack[0].numpy()), float)
    # The order of members is theirs, and a diverged one spoils no other.
    spoilt = stack.flip(0).clone()
    spoilt[0, 0] = torch.inf
    found = measure(spoilt)
    assert found.isnan().tolist() == [True, False, False]
    assert found[1:].tolist() == pytest.approx(scores.flip(0)[1:].tolist(), abs=1e-6)
    # A repeated call gives the same number: nothing hangs on a global state.
    assert torch.equal(measure(stack), scores)


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_is_defined_for_a_constant_representation(name: str):
    stack, measure = MEASURES[name]
    value = measure(torch.full_like(stack[0], 2.5))
    assert np.isnan(value) or abs(value) <= 4


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_refuses_other_axes_in_one_line(name: str):
    for wrong in (torch.zeros(60), torch.zeros(2, 2, 60, 4, 4)):
        with pytest.raises(ValueError, match=r"expected \(n") as error:
            MEASURES[name][1](wrong)
        assert "\n" not in str(error.value)


def test_global_random_state_is_untouched():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    for stack, measure in MEASURES.values():
        measure(stack)
    assert torch.equal(torch.get_rng_state(), before)
