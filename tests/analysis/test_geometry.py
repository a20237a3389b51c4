"""Geometry, neural collapse and dimensions: configurations whose value is known, and invariances."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ssl_theory.analysis import dimensions, geometry, neural_collapse


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def turn(d: int, seed: int = 0) -> Tensor:
    return torch.linalg.qr(normal(d, d, seed=seed))[0]


def simplex(C: int) -> Tensor:
    return torch.eye(C, dtype=torch.float64) - 1 / C


# Alignment, uniformity, tolerance, norms


def test_alignment_of_known_views():
    z = normal(50, 1, 3).expand(-1, 3, -1)
    assert geometry.alignment(z) == pytest.approx(0, abs=1e-12)
    assert geometry.alignment(torch.stack([z[:, 0], -z[:, 0]], 1)) == pytest.approx(4)
    assert geometry.alignment(normal(20_000, 2, 8)) == pytest.approx(2, abs=0.02)
    assert geometry.alignment(torch.stack([z[:, 0], -z[:, 0]], 1), exponent=1.0) == pytest.approx(2)
    pair = torch.tensor([[[0.0, 1.0], [0.0, 3.0]]])
    assert geometry.alignment(pair) == 0
    assert geometry.alignment(pair, normalise=False) == pytest.approx(4)
    one_of_three = torch.stack([z[:, 0], z[:, 0], -z[:, 0]], 1)
    assert geometry.alignment(one_of_three) == pytest.approx(8 / 3)


def test_uniformity_of_known_points():
    assert geometry.uniformity(torch.ones(5, 3)) == pytest.approx(0)
    poles = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    assert geometry.uniformity(poles) == pytest.approx(-8)
    assert geometry.uniformity(poles, scale=3.0) == pytest.approx(-12)
    z = normal(1500, 6)
    u = torch.nn.functional.normalize(z, dim=1)
    pairs = torch.pdist(u)
    assert geometry.uniformity(z) == pytest.approx(math.log(float(torch.exp(-2 * pairs.square()).mean())))
    assert geometry.uniformity(z) < geometry.uniformity(z + 3) < 0


@given(st.floats(1e-3, 1e3), st.integers(0, 5))
def test_sphere_measures_do_not_see_rotation_or_scale(scale: float, seed: int):
    z, q = normal(20, 2, 4, seed=seed), scale * turn(4, seed)
    labels = torch.arange(20) % 3
    assert geometry.alignment(z @ q) == pytest.approx(geometry.alignment(z))
    assert geometry.uniformity(z[:, 0] @ q) == pytest.approx(geometry.uniformity(z[:, 0]))
    assert geometry.tolerance(z[:, 0] @ q, labels) == pytest.approx(geometry.tolerance(z[:, 0], labels))


def test_tolerance_is_the_mean_cosine_within_classes():
    labels = torch.tensor([0, 0, 0, 1, 1, 5])
    z = normal(6, 3)
    u = torch.nn.functional.normalize(z, dim=1)
    cosines = [u[i] @ u[j] for i in range(6) for j in range(6) if i != j and labels[i] == labels[j]]
    assert geometry.tolerance(z, labels) == pytest.approx(float(torch.stack(cosines).mean()))
    assert geometry.tolerance(simplex(3)[torch.arange(9) % 3], torch.arange(9) % 3) == pytest.approx(1)


def test_norms():
    found = geometry.norms(torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    assert found == pytest.approx((3, 2, 1, 5))


# CKA and Procrustes


@pytest.mark.parametrize("measure", [geometry.cka, lambda x, y: 1 - geometry.procrustes(x, y)])
def test_similarity_is_1_up_to_rotation_scale_and_place_only(measure):
    x = normal(300, 4)
    assert measure(x, 3 * x @ turn(4) + 2) == pytest.approx(1)
    assert measure(x, torch.cat([x, torch.zeros(300, 2)], 1) @ turn(6)) == pytest.approx(1)
    assert measure(x, x * torch.tensor([1.0, 1, 1, 30])) < 0.9
    assert measure(normal(5000, 3, seed=1), normal(5000, 3, seed=2)) < 0.02
    assert measure(x, normal(300, 2, seed=5)) == pytest.approx(measure(normal(300, 2, seed=5), x))


def test_procrustes_equals_scipy():
    from scipy.spatial import procrustes

    x, y = normal(30, 3, seed=1), normal(30, 3, seed=2)
    assert geometry.procrustes(x, y) == pytest.approx(procrustes(x.numpy(), y.numpy())[2])


# PMI fit


def test_pmi_fit_leaves_a_term_per_row_free_and_reads_the_slope():
    pmi = normal(40, 30)
    found = geometry.pmi_fit(
        torch.stack([0.5 * pmi + normal(40, 1, seed=1), -pmi, normal(40, 30, seed=2)]), pmi.expand(3, -1, -1)
    )
    assert found.correlation.tolist() == pytest.approx([1, -1, 0], abs=0.1)
    assert found.slope.tolist() == pytest.approx([0.5, -1, 0], abs=0.1)


def test_temperature_is_read_off_unit_vectors():
    u = torch.nn.functional.normalize(normal(50, 4), dim=1)
    distances = torch.cdist(u, u).square()
    assert geometry.fitted_temperature(u @ u.T / 0.3, distances) == pytest.approx(0.3)


# Neural collapse


def collapsing(spread: float, n: int = 400, C: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    labels = torch.arange(n) % C
    return simplex(C)[labels] + spread * normal(n, C, seed=seed), labels


def test_collapsed_classes_are_an_etf():
    r, labels = collapsing(0.0)
    assert neural_collapse.nc1(r, labels) == pytest.approx(0, abs=1e-12)
    assert neural_collapse.nc1(r, labels, convention="trace") == pytest.approx(0, abs=1e-12)
    assert neural_collapse.cdnv(r, labels) == pytest.approx(0, abs=1e-12)
    means = neural_collapse.class_means(r, labels)
    assert neural_collapse.etf_distance(means) == pytest.approx(0, abs=1e-12)
    assert neural_collapse.norm_variation(means) == pytest.approx(0, abs=1e-12)
    assert neural_collapse.self_duality(7 * means, means) == pytest.approx(0, abs=1e-12)
    assert neural_collapse.self_duality(-means, means) == pytest.approx(4)


@pytest.mark.parametrize("spread", [0.1, 1.0])
def test_collapse_measures_of_a_known_spread(spread: float):
    """Means a simplex of C = 4: S_B has C - 1 = 3 eigenvalues 1/C; |mu_a - mu_b|^2 = 2; S_W = spread^2 I."""
    r, labels = collapsing(spread, n=40_000)
    v = spread**2
    assert neural_collapse.nc1(r, labels) == pytest.approx(3 * v * 4 / 4, rel=0.05)
    assert neural_collapse.nc1(r, labels, convention="trace") == pytest.approx(4 * v / (3 / 4), rel=0.05)
    assert neural_collapse.cdnv(r, labels) == pytest.approx(2 * 4 * v / (2 * 2), rel=0.05)
    within, between = neural_collapse.spectrum(r, labels)
    assert within.tolist() == pytest.approx([v] * 4, rel=0.05)
    assert (within + between).tolist() == pytest.approx(r.var(0, correction=0).tolist())


@given(st.floats(1e-2, 1e2), st.floats(-5, 5), st.integers(0, 4))
def test_collapse_measures_do_not_see_rotation_scale_or_place(scale: float, shift: float, seed: int):
    r, labels = collapsing(0.5, n=60, seed=seed)
    moved = scale * r @ turn(4, seed) + shift
    for measure in (neural_collapse.nc1, neural_collapse.cdnv):
        assert measure(moved, labels) == pytest.approx(measure(r, labels), rel=1e-6)
    before, after = (neural_collapse.class_means(x, labels) for x in (r, moved))
    assert neural_collapse.etf_distance(after) == pytest.approx(neural_collapse.etf_distance(before), abs=1e-9)


def test_nc1_equals_numpy_pinv():
    r, labels = collapsing(0.4)
    means = torch.stack([r[labels == k].mean(0) for k in range(4)])
    s_b = np.cov(means.T.numpy(), bias=True)
    s_w = sum(np.cov(r[labels == k].T.numpy(), bias=True) for k in range(4)) / 4
    assert neural_collapse.nc1(r, labels) == pytest.approx(np.trace(s_w @ np.linalg.pinv(s_b, rcond=1e-8)) / 4)


def test_etf_distance_of_other_shapes():
    square = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    assert neural_collapse.etf_distance(square) == pytest.approx(2 / 3)
    assert neural_collapse.etf_distance(torch.tensor([[1.0, 0], [-1, 0]])) == pytest.approx(0)
    assert np.isnan(neural_collapse.etf_distance(torch.ones(3, 2)))


def test_coinciding_class_means_have_no_nc1():
    assert np.isnan(neural_collapse.nc1(torch.zeros(8, 3), torch.arange(8) % 2))
    assert np.isnan(neural_collapse.cdnv(torch.zeros(8, 3), torch.arange(8) % 2))


# Dimensions


def test_spectra_of_known_covariances():
    q = torch.linalg.qr(normal(60, 5) - normal(60, 5).mean(0))[0]
    q = torch.linalg.qr(q - q.mean(0))[0] * 60**0.5
    scales = torch.tensor([1.0, 2, 3, 4, 5], dtype=torch.float64) ** -0.75
    r = q * scales @ turn(5)
    assert dimensions.eigenspectrum(r).tolist() == pytest.approx((scales**2).tolist())
    assert dimensions.alpha_req(r) == pytest.approx(1.5)
    assert dimensions.alpha_req(r, first=1, last=3) == pytest.approx(1.5)
    assert dimensions.alpha_req(q) == pytest.approx(0, abs=1e-9)
    assert dimensions.participation_ratio(q) == pytest.approx(5)
    assert dimensions.participation_ratio(q[:, :1] @ turn(5)[:1]) == pytest.approx(1)
    assert dimensions.participation_ratio(q + 100, centre=False) < 1.1
    assert np.isnan(dimensions.participation_ratio(torch.ones(5, 2)))
    assert np.isnan(dimensions.alpha_req(q[:, :1]))


@pytest.mark.parametrize("rank", [1, 3])
def test_lidar_counts_discriminative_directions(rank: int):
    means = torch.zeros(2000, 1, 6, dtype=torch.float64)
    means[..., :rank] = 100 * normal(2000, 1, rank)
    z = means + normal(2000, 4, 6, seed=1)
    assert dimensions.lidar(z) == pytest.approx(rank, rel=0.05)
    assert dimensions.lidar(7 * z @ turn(6), regularisation=49e-4) == pytest.approx(
        dimensions.lidar(z, regularisation=1e-4), rel=1e-6
    )


# All


def test_a_diverged_member_spoils_no_other():
    r = normal(3, 40, 2, 4)
    r[1, 3, 0, 0] = torch.nan
    labels, one, other = torch.arange(40) % 4, r[:, :, 0], r[:, :, 1]
    found = [
        geometry.alignment(r),
        geometry.uniformity(one),
        geometry.tolerance(one, labels),
        *geometry.norms(one),
        geometry.cka(one, other),
        geometry.procrustes(one, other),
        *geometry.pmi_fit(one, other),
        neural_collapse.nc1(one, labels),
        neural_collapse.cdnv(one, labels),
        neural_collapse.etf_distance(one),
        neural_collapse.self_duality(one, other),
        dimensions.participation_ratio(one),
        dimensions.alpha_req(one),
        dimensions.lidar(r),
    ]
    for value in found:
        assert value.isnan().tolist() == [False, True, False]
    assert neural_collapse.class_means(one, labels).shape == (3, 4, 4)
    assert isinstance(geometry.uniformity(one.numpy()), np.ndarray)
    assert geometry.cka(one[2], other[2]) == pytest.approx(float(geometry.cka(one, other)[2]))


def test_bad_input_is_one_line():
    x, labels = normal(6, 2), torch.arange(6) % 2
    for call, message in [
        (lambda: geometry.uniformity(x[:1]), "n >= 2"),
        (lambda: geometry.cka(x, x[:5]), "members and rows"),
        (lambda: geometry.pmi_fit(x, x[:, :1]), "the shape of scores"),
        (lambda: neural_collapse.nc1(x, labels * 0), "two classes or more"),
        (lambda: neural_collapse.nc1(torch.stack([x, x]), torch.stack([labels, labels * 0])), "in every member"),
        (lambda: neural_collapse.nc1(x, labels, convention="other"), "convention: expected"),
        (lambda: neural_collapse.etf_distance(x[:1]), "C >= 2"),
        (lambda: neural_collapse.self_duality(x, x[:3]), "the shape of weights"),
        (lambda: dimensions.lidar(x), "J"),
    ]:
        with pytest.raises(ValueError, match=message) as error:
            call()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("c", [0.1, 3.7])
def test_nothing_is_read_off_a_constant_pmi_nor_constant_distances(c: float):
    s, constant = normal(6, 4), torch.full((6, 4), c, dtype=torch.float64)
    assert all(np.isnan(v) for v in geometry.pmi_fit(s, constant))
    assert np.isnan(geometry.fitted_temperature(s, constant))
    # One constant a row is all the same to it.
    rows = constant + torch.arange(6)[:, None]
    assert all(np.isnan(v) for v in geometry.pmi_fit(s, rows))
    assert geometry.fitted_temperature(torch.stack([rows, -s]), torch.stack([s, s])).tolist() == [np.inf, 0.5]


@pytest.mark.parametrize("scale", [1e200, 1e-200])
@pytest.mark.parametrize("convention", ["pseudo-inverse", "trace"])
def test_nc1_does_not_see_scale_where_squares_leave_the_range(scale: float, convention: str):
    labels = torch.arange(60) % 3
    r = normal(60, 4) + 5 * torch.eye(4, dtype=torch.float64)[labels]
    expected = neural_collapse.nc1(r, labels, convention=convention)
    assert neural_collapse.nc1(scale * r, labels, convention=convention) == pytest.approx(expected)


def test_norms_vary_most_for_two_opposite_vectors():
    vectors = torch.tensor([[1.0, 0], [-1, 0], [0, 0], [0, 0], [0, 0], [0, 0]])
    assert neural_collapse.norm_variation(vectors) == pytest.approx(math.sqrt(6 / 2 - 1))


@pytest.mark.parametrize("scale", [2.0**-1000, 2.0**-560, 2.0**-330, 2.0**330, 2.0**560, 2.0**1000])
def test_measures_without_scale_have_none_at_the_ends_of_float64(scale: float) -> None:
    """Squares, and squares of those, overflow or vanish there; powers of two cost no digit."""
    z = torch.randn(12, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    a, b, labels = z[:, 0], z[:, 1], torch.arange(12) % 3
    assert geometry.alignment(scale * z) == geometry.alignment(z)
    assert geometry.uniformity(scale * a) == geometry.uniformity(a)
    assert geometry.tolerance(scale * a, labels) == geometry.tolerance(a, labels)
    assert geometry.cka(scale * a, b) == pytest.approx(geometry.cka(a, b), rel=1e-12)
    assert geometry.procrustes(scale * a, scale * b) == pytest.approx(geometry.procrustes(a, b), rel=1e-12)


def test_one_short_vector_among_others_has_its_direction() -> None:
    pairs = [[[1.0, 0.0], [0.0, 1.0]], [[1e-200, 0.0], [0.0, 1e200]], [[0.0, 0.0], [0.0, 0.0]]]
    z = torch.tensor(pairs, dtype=torch.float64)
    assert geometry.alignment(z) == pytest.approx(4 / 3, rel=1e-15)


def test_tolerance_without_a_pair_is_nan_in_any_order():
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        z, labels = torch.randn(40, 3, generator=generator), torch.randperm(40, generator=generator)
        assert math.isnan(geometry.tolerance(z, labels))
