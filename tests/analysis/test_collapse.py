"""Collapse measures on representations whose collapse is known."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ssl_theory.analysis.collapse import (
    class_collapse_ratio,
    collapse_ratio,
    effective_rank,
    retained_style,
    total_variance,
)


def views(within: float, between: float, n: int = 4000, J: int = 2, d: int = 3, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    y = torch.randn(n, 1, d, generator=g, dtype=torch.float64) * between**0.5
    return y + torch.randn(n, J, d, generator=g, dtype=torch.float64) * within**0.5


def test_retained_style_is_0_at_the_floor_and_1_at_the_ceiling():
    assert retained_style(0.2, 0.2, 0.8) == 0
    assert retained_style(0.8, 0.2, 0.8) == pytest.approx(1)
    assert retained_style(0.5, 0.2, 0.8) == pytest.approx(0.5)
    assert retained_style(np.array([0.2, 0.8]), 0.2, 0.8) == pytest.approx([0, 1])
    found = retained_style(torch.tensor([0.2, torch.nan]), 0.2, torch.tensor([0.8, 0.4]))
    assert found[0] == 0
    assert found[1].isnan()
    with pytest.raises(ValueError, match="no style is left to retain"):
        retained_style(0.5, 0.8, 0.8)


@pytest.mark.parametrize("J", [2, 5])
@pytest.mark.parametrize(("within", "between"), [(0.0, 1.0), (1.0, 1.0), (1.0, 0.0), (0.1, 2.0)])
def test_collapse_ratio_equals_the_share_of_variance_within(within: float, between: float, J: int):
    found = collapse_ratio(views(within, between, J=J))
    assert found == pytest.approx(within / (within + between), abs=0.02)


@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-5, 5), seed=st.integers(0, 3))
def test_ratios_and_rank_do_not_see_rotation_scale_or_place(scale: float, shift: float, seed: int):
    z = views(1.0, 2.0, n=50, seed=seed)
    g = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=g, dtype=torch.float64))[0]
    assert collapse_ratio(scale * z @ turn + shift) == pytest.approx(collapse_ratio(z), rel=1e-6)
    labels = torch.arange(50) % 3
    moved = scale * z[:, 0] @ turn + shift
    assert class_collapse_ratio(moved, labels) == pytest.approx(class_collapse_ratio(z[:, 0], labels), rel=1e-6)
    assert effective_rank(scale * z[:, 0] @ turn) == pytest.approx(effective_rank(z[:, 0]), rel=1e-6)


def test_class_collapse_ratio_of_known_cases():
    labels = torch.arange(300) % 3
    points = torch.eye(3, dtype=torch.float64)[labels]
    assert class_collapse_ratio(points, labels) == pytest.approx(0, abs=1e-12)
    assert class_collapse_ratio(points, torch.arange(300) // 150) == pytest.approx(1, abs=1e-2)
    assert class_collapse_ratio(points, labels * 10 - 7) == pytest.approx(0, abs=1e-12)
    mixed = torch.stack([points, points.roll(100, 0)])
    own = torch.stack([labels, labels.roll(100)])
    assert class_collapse_ratio(mixed, own).tolist() == pytest.approx([0, 0], abs=1e-12)


def test_law_of_total_variance():
    z = views(1.0, 2.0, n=60)[:, 0]
    labels = torch.arange(60) % 4
    within = sum(z[labels == k].var(0, correction=0).sum() * (labels == k).double().mean() for k in range(4))
    assert class_collapse_ratio(z, labels) == pytest.approx(float(within / z.var(0, correction=0).sum()))


def test_collapsed_representations_have_no_ratio_but_a_scale():
    z = torch.ones(10, 2, 3)
    assert np.isnan(collapse_ratio(z))
    assert np.isnan(class_collapse_ratio(z[:, 0], torch.arange(10) % 2))
    assert total_variance(z[:, 0]) == 0
    assert total_variance(views(1.0, 0.0)[:, 0]) == pytest.approx(3, abs=0.2)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_effective_rank_counts_equal_directions(rank: int):
    g = torch.Generator().manual_seed(0)
    q = torch.linalg.qr(torch.randn(40, rank, generator=g, dtype=torch.float64))[0]
    p = torch.linalg.qr(torch.randn(8, rank, generator=g, dtype=torch.float64))[0]
    assert effective_rank(q @ p.T) == pytest.approx(rank, rel=1e-4)
    assert effective_rank(q @ p.T + 100) < rank + 1


def test_effective_rank_uses_centring_and_epsilon():
    g = torch.Generator().manual_seed(0)
    z = torch.randn(500, 4, generator=g, dtype=torch.float64)
    assert effective_rank(z + 1000) == pytest.approx(1, abs=0.05)
    assert effective_rank(z + 1000, centre=True) == pytest.approx(4, abs=0.05)
    sigma = torch.linalg.svdvals(z)
    p = sigma / sigma.sum() + 0.01
    assert effective_rank(z, epsilon=0.01) == pytest.approx(float(torch.exp(-(p * p.log()).sum())))
    assert np.isnan(effective_rank(torch.zeros(5, 3)))


def test_a_diverged_member_spoils_no_other():
    z = views(1.0, 1.0).expand(3, -1, -1, -1).clone()
    z[1, 0, 0, 0] = torch.inf
    for found in (
        collapse_ratio(z),
        effective_rank(z[:, :, 0]),
        total_variance(z[:, :, 0]),
        class_collapse_ratio(z[:, :, 0], torch.arange(4000) % 2),
    ):
        assert found.isnan().tolist() == [False, True, False]
        assert found[0] == found[2]


def test_bad_input_is_one_line():
    with pytest.raises(ValueError, match="J >= 2"):
        collapse_ratio(torch.zeros(5, 1, 3))
    with pytest.raises(ValueError, match=r"\(n, J, d\)"):
        collapse_ratio(torch.zeros(5, 3))
    with pytest.raises(ValueError, match="n >= 2"):
        total_variance(torch.zeros(1, 3))


def test_retained_style_takes_scalars_lists_and_mixed_kinds():
    assert retained_style(np.float32(0.5), np.float32(0.0), np.float64(1.0)) == 0.5
    assert isinstance(retained_style(np.float32(0.5), 0.0, 1.0), float)
    listed = retained_style([0.2, 0.8], 0.2, [0.8, 0.8])
    assert isinstance(listed, np.ndarray)
    assert listed == pytest.approx([0, 1])
    for mixed in (
        retained_style(torch.tensor([0.25, 0.75]), np.array([0.25, 0.25]), 0.75),
        retained_style(np.array([0.25, 0.75]), 0.25, torch.tensor([0.75, 0.75])),
    ):
        assert isinstance(mixed, Tensor)
        assert mixed.tolist() == [0, 1]
    for wrong, message in [
        ((np.zeros(2), np.zeros(3), 1.0), r"that broadcast, found \(2,\), \(3,\), \(\)"),
        ((np.zeros(2, complex), 0.0, 1.0), "R.2: expected .* found complex128"),
        ((0.5, [0.0, 0.9], [0.8, 0.8]), "no style is left"),
    ]:
        with pytest.raises(ValueError, match=message) as error:
            retained_style(*wrong)
        assert "\n" not in str(error.value)


def test_one_data_point_has_no_variance_to_compare():
    with pytest.raises(ValueError, match="expected n >= 2 data points for a variance, found 1"):
        collapse_ratio(torch.randn(1, 2, 3))


def test_complex_numbers_are_refused():
    for x in (torch.zeros(4, 3, dtype=torch.complex64), np.zeros((4, 3), complex)):
        with pytest.raises(ValueError, match=r"expected .*real numbers, found .*complex"):
            effective_rank(x)
