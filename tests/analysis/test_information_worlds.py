"""Every bound on its side of the truth, with exact critics, in worlds of 0 to 10 nats."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor

import synthetic
from ssl_theory.analysis import information
from tests.analysis.pairs import LOWER, correlated, gaussian_scores, log_conditional


@pytest.mark.parametrize("nats", [0.0, 0.5, 2.0, 5.0, 10.0])
@pytest.mark.parametrize("d", [2, 20, 50])
def test_sides_of_the_truth_from_0_to_10_nats(nats: float, d: int):
    s = gaussian_scores(nats, d)
    for name, bound in {"info_nce": information.info_nce, "interpolated": LOWER["interpolated 0.5"]}.items():
        values = bound(s)
        error = values.std() / len(values) ** 0.5
        assert values.mean() <= min(nats, math.log(s.shape[-1]) + 1.7) + 2 * error + 1e-9, name
    bracket = information.leave_one_out(s)
    for upper in (bracket.upper, information.club(s)):
        assert upper.mean() >= nats - 2 * upper.std() / len(upper) ** 0.5 - 1e-9
    if nats <= 0.5:
        for bound in (information.donsker_varadhan, information.tuba):
            assert bound(s).mean() == pytest.approx(nats, abs=0.05)


def gaussian_world(nats: float, d: int, mixing: synthetic.Mixing) -> synthetic.World:
    """Correlation rho in each of d coordinates, -d/2 log(1 - rho^2) = nats; invertible mixing changes nothing."""
    rho = math.sqrt(-math.expm1(-2 * max(nats, 1e-12) / d))
    style = synthetic.Isotropic((1 - rho) ** 0.5)
    return synthetic.World(synthetic.Gaussian(d, rho**0.5), style, mixing, synthetic.NoNoise(), dtype=torch.float64)


def spherical_world(nats: float, d: int) -> synthetic.World:
    def at(log_kappa: float) -> synthetic.World:
        return synthetic.preset("sphere", dtype=torch.float64, dim=d, observation_dim=d + 4, kappa=math.exp(log_kappa))

    return at(scipy.optimize.brentq(lambda k: at(k).mutual_information() - nats, -6, 14, xtol=1e-3)) if nats else at(-6)


def mixture_world(nats: float, d: int) -> synthetic.World:
    """Eight classes whose spread is shared by the views; style as wide as the information asks, by sampling."""
    seeded = torch.Generator().manual_seed

    def at(log_std: float, mixing: synthetic.Mixing) -> synthetic.World:
        content = synthetic.ClassMixture(synthetic.class_means(8, d, 0.5, seeded(0)), 0.5)
        style = synthetic.Isotropic(math.exp(log_std))
        return synthetic.World(content, style, mixing, synthetic.NoNoise(), dtype=torch.float64)

    def excess(log_std: float) -> float:
        return mean_pmi(at(log_std, synthetic.Identity()), 500)[0] - nats

    log_std = scipy.optimize.brentq(excess, -9, 9, xtol=0.02) if nats else 9
    return at(log_std, synthetic.mlp(d, d + 4, seeded(1)))


def mean_pmi(world: synthetic.World, n: int) -> tuple[float, float]:
    """I(x; x') by sampling exact PMIs, and its standard error."""
    x = world.sample(n, views=2, generator=torch.Generator().manual_seed(2)).x
    values = world.pmi(x[:, 0], x[:, 1])
    return float(values.mean()), float(values.std()) / n**0.5


WORLDS: dict[str, Callable[[float, int], synthetic.World]] = {
    "linear": lambda nats, d: gaussian_world(nats, d, synthetic.linear(d, d + 4, torch.Generator().manual_seed(1))),
    "nonlinear": lambda nats, d: gaussian_world(nats, d, synthetic.mlp(d, d + 4, torch.Generator().manual_seed(1))),
    "spherical": spherical_world,
    "mixture": mixture_world,
}


@pytest.mark.parametrize(("d", "nats"), [(3, 0.0), (3, 1.0), (3, 4.0), (3, 10.0), (50, 1.0), (50, 10.0)])
@pytest.mark.parametrize("name", WORLDS)
def test_sides_of_the_truth_in_worlds_with_exact_pmi(name: str, d: int, nats: float):
    """The optimal critic of a world, seen through its mixing: every bound on its side of I(x; x')."""
    world, generator = WORLDS[name](nats, d), torch.Generator().manual_seed(0)
    truth, doubt = mean_pmi(world, 5000) if name == "mixture" else (world.mutual_information(), 0.0)
    assert truth == pytest.approx(nats, abs=0.03 + 0.05 * nats if name == "mixture" else 1e-2)
    pairs = [world.sample(64, views=2, generator=generator).x.unbind(1) for _ in range(20)]
    s = information.positives_first(torch.stack([world.pmi_matrix(x, y).mT for x, y in pairs]))

    def estimate(values: Tensor) -> tuple[float, float]:
        return float(values.mean()), 2 * math.hypot(float(values.std()) / len(values) ** 0.5, doubt) + 1e-6

    def excess(values: Tensor) -> tuple[float, float]:
        """Over the batch's own mean PMI, whose expectation is I: chance that is common to both is no matter."""
        over = values - s[..., 0].mean(-1)
        return float(over.mean()), 2 * float(over.std()) / len(over) ** 0.5 + 1e-6

    for bound, most in ((information.info_nce, math.log(64)), (LOWER["interpolated 0.5"], math.log(64) + 1.7)):
        beyond, chance = excess(bound(s))
        value, error = estimate(bound(s))
        assert beyond <= chance
        assert value <= most
        assert value >= min(0.9 * truth - 0.05, most - 1.7) - error
    for values in (information.leave_one_out(s).upper, information.club(s)):
        beyond, chance = excess(values)
        assert beyond >= -chance
    if nats <= 1:
        for bound, critic in ((information.nwj, s + 1), (information.tuba, s), (information.donsker_varadhan, s)):
            value, error = estimate(bound(critic))
            assert value == pytest.approx(truth, abs=error + 0.03)


def test_more_negatives_close_the_gap():
    gaps = [1.6 - information.info_nce(gaussian_scores(1.6, 4, n=n)).mean().item() for n in (4, 16, 64, 256)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 0.05


def test_yardstick():
    """5 pairs with correlation 0.8: 2.554 nats, and a CLUB of 5 * 0.64 / 0.36 = 8.889."""
    assert information.gaussian_information(np.full(5, 0.8)) == pytest.approx(2.5541, abs=1e-4)
    x, y = correlated(256, 0.8, 5, 60)
    values = information.club(information.positives_first(log_conditional(x, y, 0.8)))
    assert values.mean() == pytest.approx(8.889, abs=3 * float(values.std()) / 60**0.5)
