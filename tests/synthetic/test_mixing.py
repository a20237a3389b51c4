"""Mixings: inverse and log-volume against autograd, conditioning, channels."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch.autograd.functional import jacobian

from synthetic import MLP, Identity, Linear, NotExact
from synthetic.networks import conditioned, linear, mlp, orthonormal
from tests.synthetic.worlds import seeded

SIZES = st.sampled_from([(1, 1), (2, 2), (3, 3), (2, 5), (3, 4)])


def _maps(size: int, width: int, seed: int) -> list:
    bias = torch.randn(width, generator=seeded(seed), dtype=torch.float64)
    return [
        mlp(size, width, seeded(seed), layers=3),
        mlp(size, width, seeded(seed), layers=1, condition_number=10.0),
        Linear(linear(size, width, seeded(seed), condition_number=5.0).weight, bias),
    ]


@given(sizes=SIZES, seed=st.integers(0, 50))
def test_inverse_undoes_the_map(sizes: tuple[int, int], seed: int) -> None:
    z = torch.randn(2, 3, sizes[0], generator=seeded(seed), dtype=torch.float64)
    for mixing in [*_maps(*sizes, seed), Identity()]:
        assert torch.allclose(mixing.inverse(mixing(z)), z, rtol=1e-10, atol=1e-10)


@given(sizes=SIZES, seed=st.integers(0, 50))
def test_log_volume_is_that_of_the_autograd_jacobian(sizes: tuple[int, int], seed: int) -> None:
    z = torch.randn(4, sizes[0], generator=seeded(seed), dtype=torch.float64)
    for mixing in [*_maps(*sizes, seed), Identity()]:
        for point, found in zip(z, mixing.log_volume(z), strict=True):
            j = jacobian(mixing, point)
            assert found.item() == pytest.approx(0.5 * torch.logdet(j.mT @ j).item(), abs=1e-10)


def test_mlp_jacobian_is_autograds() -> None:
    mixing = mlp(3, 5, seeded(1), layers=4)
    z = torch.randn(6, 3, generator=seeded(2), dtype=torch.float64)
    expected = torch.stack([jacobian(mixing, point) for point in z])
    assert torch.allclose(mixing.jacobian(z), expected, atol=1e-12)


@given(rows=st.integers(1, 6), columns=st.integers(1, 6), number=st.floats(1, 1e4))
def test_condition_number_is_as_prescribed(rows: int, columns: int, number: float) -> None:
    values = torch.linalg.svdvals(conditioned(rows, columns, number, seeded(3)))
    expected = number if min(rows, columns) > 1 else 1.0
    assert (values[0] / values[-1]).item() == pytest.approx(expected, rel=1e-8)
    assert values.log().sum().item() == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("width", [2, 3, 5])
@pytest.mark.parametrize("std", [0.0, 0.3])
def test_channel_says_what_the_likelihood_says(width: int, std: float) -> None:
    """`log p(x | z)` = Gaussian density of the decoded value + offset, against scipy on the observation
    itself.
    """
    mixing = Linear(linear(2, width, seeded(1)).weight, torch.linspace(-1, 1, width, dtype=torch.float64))
    z = torch.randn(3, 2, generator=seeded(2), dtype=torch.float64)
    x = mixing(z) + std * torch.randn(3, width, generator=seeded(3), dtype=torch.float64)
    channel = mixing.channel(std, torch.eye(2, dtype=torch.float64))
    assert channel.projection is None
    if std == 0:
        assert channel.noise is None
        assert torch.allclose(channel.decode(x), z)
        return
    assert channel.noise is not None
    covariance = channel.noise @ channel.noise.mT
    for i in range(3):
        exact = stats.multivariate_normal(mixing(z[i]), std**2 * np.eye(width)).logpdf(x[i])
        found = (
            stats.multivariate_normal(z[i], covariance).logpdf(channel.decode(x)[i]) + channel.log_offset(x)[i].item()
        )
        assert found == pytest.approx(exact, abs=1e-9)


def test_slope_shows() -> None:
    """A leaky-ReLU network is linear along rays and not linear across zero."""
    mixing = mlp(2, 4, seeded(1))
    z = torch.randn(5, 2, generator=seeded(2), dtype=torch.float64)
    assert torch.allclose(mixing(3 * z), 3 * mixing(z))
    assert not torch.allclose(mixing(-z), -mixing(z))


def test_orthonormal_columns_have_no_preferred_sign() -> None:
    """Haar: each entry of 3 rows has mean 0 and variance 1/3."""
    g = seeded(1)
    drawn = torch.stack([orthonormal(3, 2, g) for _ in range(300)])
    assert torch.allclose(drawn.mT @ drawn, torch.eye(2, dtype=torch.float64).expand(300, -1, -1))
    assert drawn.mean(0).abs().max() < 4 / (3 * 300) ** 0.5


def test_impossible_mixings() -> None:
    square = torch.eye(2, dtype=torch.float64)
    with pytest.raises(ValueError, match="slope in"):
        MLP((square,), slope=0.0)
    with pytest.raises(ValueError, match="one tall or square weight"):
        MLP((square, torch.ones(3, 2, dtype=torch.float64)))
    with pytest.raises(NotExact, match="not invertible"):
        linear(3, 2, seeded()).inverse(torch.zeros(1, 2, dtype=torch.float64))
    assert math.isfinite(linear(3, 2, seeded()).weight.sum().item())
