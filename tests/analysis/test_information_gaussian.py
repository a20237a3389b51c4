"""Bounds in the Gaussian world, where truth, variance and divergences are known: sides, tightness, consistency."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ssl_theory.analysis import critics, information
from tests.analysis.pairs import correlated, log_conditional, pmi

BATCHES, PAIRS = 60, 128


def correlation(nats: float, d: int) -> float:
    return math.sqrt(-math.expm1(-2 * nats / d))


@pytest.mark.parametrize("nats", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("d", [1, 10])
def test_unbiased_bounds_are_at_the_truth_within_their_variance(nats: float, d: int):
    """NWJ and TUBA at their optimal critics, less the batch's own mean PMI: at most 2 standard errors, at least -3.

    The variance is the closed one, Var_q exp(PMI) = exp(2 I) - 1 (twice, for pairs i, j and j, i), where a sample does
    not show it. At 8 nats that is so much that nothing is to be seen; the next test looks there.
    """
    rho = correlation(nats, d)
    s = information.positives_first(pmi(*correlated(PAIRS, rho, d, BATCHES, seed=2), rho))
    own = s[..., 0].mean(-1)
    closed = math.sqrt(2 * math.expm1(2 * nats) / (BATCHES * PAIRS * (PAIRS - 1)))
    for values in (information.nwj(1 + s), information.tuba(s), information.tuba(s + 0.7, 0.7)):
        excess = values - own
        error = max(float(excess.std()) / BATCHES**0.5, closed)
        assert -3 * error <= float(excess.mean()) <= 2 * error


@pytest.mark.parametrize("nats", [0.5, 2.0, 4.0, 8.0, 10.0])
@pytest.mark.parametrize("d", [1, 10])
def test_unbiased_bounds_of_half_the_pmi_are_where_their_closed_form_has_them(nats: float, d: int):
    """1 + E_p f - E_q exp f at f = PMI / 2, whose exponential varies by less than 1 however large the information.

    E_q exp f = int sqrt(p q) is the overlap of two Gaussians in d equal, independent coordinates. Less the batch's own
    mean of f, within 3 standard errors. It is below I, for log x <= x - 1.
    """
    rho = correlation(nats, d)
    s = information.positives_first(pmi(*correlated(PAIRS, rho, d, BATCHES, seed=2), rho))
    overlap = ((1 - rho**2) ** 0.25 / (1 - rho**2 / 4) ** 0.5) ** d
    for values in (information.nwj(1 + s / 2), information.tuba(s / 2), information.tuba(s / 2 - 1.3, -1.3)):
        beyond = values - s[..., 0].mean(-1) / 2
        error = float(beyond.std()) / BATCHES**0.5
        assert error < 0.03
        assert float(beyond.mean()) == pytest.approx(1 - overlap, abs=3 * error)


@pytest.mark.parametrize("nats", [0.0, 0.5, 2.0, 5.0, 10.0])
@pytest.mark.parametrize("d", [1, 10])
def test_barber_agakov_on_its_sides(nats: float, d: int):
    """With p itself both are I; a wrong q lowers the one, a wrong r raises the other, each by its KL divergence.

    q has half the correlation, r twice the variance. Within 2 standard errors on the side, within 3 of the value.
    """
    rho = correlation(nats, d)
    x, y = correlated(4000, rho, d, 1, seed=3)
    entropy = d / 2 * math.log(2 * math.pi * math.e)

    def marginal(variance: float) -> Tensor:
        return (-y[0].square() / (2 * variance) - math.log(2 * math.pi * variance) / 2).sum(-1)

    def conditional(r: float) -> Tensor:
        return log_conditional(x[0, :, None], y[0, :, None], r)[:, 0, 0]

    def near(values: Tensor, truth: float) -> bool:
        return abs(float(values.mean()) - truth) <= 3 * float(values.std()) / len(values) ** 0.5 + 1e-9

    exact = conditional(rho)
    assert near(exact + entropy, nats)
    assert near(exact - marginal(1), nats)
    assert information.barber_agakov_lower(exact, entropy) == pytest.approx(float((exact + entropy).mean()))
    assert information.barber_agakov_upper(exact, marginal(1)) == pytest.approx(float((exact - marginal(1)).mean()))
    half, v = rho / 2, 1 - rho**2 / 4
    loss = d / 2 * ((1 - rho**2 + (rho - half) ** 2) / v + math.log(v) - 1 - math.log(1 - rho**2))
    assert loss >= 0
    lower, upper = conditional(half) + entropy, exact - marginal(2)
    for values, side in ((lower, 1), (upper, -1)):
        assert side * (float(values.mean()) - nats) <= 2 * float(values.std()) / len(values) ** 0.5 + 1e-9
    assert near(lower, nats - loss)
    assert near(upper, nats + d / 2 * (math.log(2) - 0.5))


def expectations(rho: float, function: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
    """E_p and E_q of a function of the PMI of one pair of coordinates, by quadrature."""
    at = np.linspace(-9, 9, 1201)
    x, y = np.meshgrid(at, at)
    ratio = -0.5 * math.log(1 - rho**2) - (rho**2 * (x**2 + y**2) - 2 * rho * x * y) / (2 * (1 - rho**2))
    product = np.exp(-(x**2 + y**2) / 2) / (2 * np.pi) * (at[1] - at[0]) ** 2
    values = function(ratio)
    return float((product * np.exp(ratio) * values).sum()), float((product * values).sum())


@pytest.mark.parametrize("rho", [0.5, 0.9])
def test_jensen_shannon_and_smile_at_the_exact_critic(rho: float):
    """Both as quadrature has them; information read off as `nwj(1 + f)`; SMILE is I where it clips little."""
    s = information.positives_first(pmi(*correlated(PAIRS, rho, 1, BATCHES, seed=4), rho))
    truth = float(information.gaussian_information(np.array([rho])))
    assert expectations(rho, lambda f: f)[0] == pytest.approx(truth, abs=1e-5)

    def near(values: Any, expected: float) -> None:
        assert float(values.mean()) == pytest.approx(expected, abs=2 * float(values.std()) / BATCHES**0.5 + 0.005)

    divergence = (
        expectations(rho, lambda f: -np.logaddexp(0, -f))[0] - expectations(rho, lambda f: np.logaddexp(0, f))[1]
    )
    near(information.jensen_shannon(s), divergence)
    near(information.nwj(1 + s), truth)
    for clip in (1.0, 5.0):
        near(information.smile(s, clip), truth - math.log(expectations(rho, lambda f: np.exp(f.clip(-clip, clip)))[1]))  # noqa: B023
    near(information.smile(s, 5.0), truth)


def test_mine_stands_still_at_the_exact_critic_and_is_drawn_to_it():
    """The slope along a stretched PMI is 0 at the PMI itself, its sign draws both sides there."""
    rho, slopes = 0.7, {}
    s = information.positives_first(pmi(*correlated(PAIRS, rho, 1, BATCHES, seed=5), rho))
    truth = float(information.gaussian_information(np.array([rho])))
    for stretch in (0.5, 1.0, 1.3):
        average = expectations(rho, lambda f: np.exp(stretch * f))[1]  # noqa: B023
        theta = torch.full((BATCHES,), stretch, dtype=torch.float64, requires_grad=True)
        log_average = torch.full((BATCHES,), math.log(average), dtype=torch.float64)
        value, _ = information.mine(theta[:, None, None] * s, log_average, rate=1e-9)
        slopes[stretch] = torch.autograd.grad(value.sum(), theta)[0]
    error = {k: 2 * float(v.std()) / BATCHES**0.5 for k, v in slopes.items()}
    assert abs(float(slopes[1.0].mean())) <= error[1.0]
    assert slopes[0.5].mean() > error[0.5]
    assert slopes[1.3].mean() < -error[1.3]

    def sample(n: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
        x, noise = torch.randn(2, 1, n, 1, generator=g)
        return x, rho * x + (1 - rho**2) ** 0.5 * noise

    g = torch.Generator().manual_seed(0)
    start = critics.critic("joint", sample(2, g), g, hidden=(32,))
    fitted = critics.trained(start, sample, g, objective="mine", steps=250, batch=64, rate=1e-2)
    fresh = information.donsker_varadhan(critics.fresh_scores(fitted, sample, g, batches=40))
    assert fresh.mean().item() == pytest.approx(truth, abs=0.05)


@pytest.mark.parametrize(("nats", "d"), [(0.5, 1), (1.5, 2)])
def test_ksg_errs_less_the_more_points_it_has(nats: float, d: int):
    rho = correlation(nats, d)
    errors = []
    for n in (200, 800, 3200):
        found = information.ksg(*correlated(n, rho, d, 6, seed=1))
        errors.append(float((found - nats).square().mean().sqrt()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.05
