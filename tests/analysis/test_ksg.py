"""Kraskov's estimator: closed forms, a plain reference, ties and constants."""

import math

import pytest
import torch

from ssl_theory.analysis import information
from tests import references
from tests.analysis.pairs import correlated


@pytest.mark.parametrize(("nats", "d"), [(0.0, 1), (0.5, 1), (1.5, 1), (1.0, 2)])
def test_ksg_is_within_a_tenth_in_low_dimension(nats: float, d: int):
    rho = math.sqrt(1 - math.exp(-2 * nats / d))
    x, y = correlated(3000, rho, d, 1, seed=1)
    assert information.ksg(x[0], y[0]) == pytest.approx(nats, abs=0.1)
    assert information.ksg(10 * x[0] - 3, y[0].exp()) == pytest.approx(nats, abs=0.1)


def test_ksg_of_members_and_of_a_constant():
    x, y = correlated(400, 0.6, 1, 3)
    x[1, 0, 0] = torch.nan
    x[2] = 0.0
    found = information.ksg(x, y)
    assert found[0] == information.ksg(x[0], y[0])
    assert found[1].isnan()
    assert abs(found[2]) < 0.3
    assert math.isnan(information.ksg(torch.ones(50, 2), torch.zeros(50, 1)))
    assert found[0] == pytest.approx(references.ksg(x[0].numpy(), y[0].numpy()), abs=1e-9)
    with pytest.raises(ValueError, match="more than k = 3"):
        information.ksg(x[:, :3], y[:, :3])


def test_ksg_has_no_value_for_ties_and_none_for_a_constant_to_share():
    """A density estimator: discrete values coincide. What tells nothing is 0, also where binary rounds it."""
    g = torch.Generator().manual_seed(0)
    coin, x = torch.randint(2, (100, 1), generator=g).double(), torch.randn(100, 1, generator=g).double()
    assert math.isnan(information.ksg(coin, coin))
    assert math.isnan(information.ksg(torch.cat([x[:96], x[:1].expand(4, 1)]), torch.cat([x[:96], x[:1].expand(4, 1)])))
    for c in (0.1, 3.7, -2.2):
        assert information.ksg(torch.full_like(x, c), x) == pytest.approx(0, abs=1e-12)
        noise = (c * (1 + 1e-7 * torch.randn(100, 1, generator=g))).float()
        assert information.ksg(noise, x) == pytest.approx(0, abs=1e-12)
        assert math.isnan(information.ksg(noise, noise))
    with pytest.raises(ValueError, match="neighbours: expected k >= 1, found 0"):
        information.ksg(x, x, neighbours=0)
