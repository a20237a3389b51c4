"""Conventions that published measures leave open are arguments: what each changes, computed by hand."""

import pytest
import torch
from torch import Tensor

from ssl_theory.analysis import components_by_bic, hungarian_accuracy, lidar, mixture_clustering, nc1


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_nc1_by_its_conventions():
    """Two classes of 3 and 1 points on a line, at -1, 0, 1 and at 4: within 2/4, means 0 and 4."""
    r, k = torch.tensor([[-1.0], [0], [1], [4]], dtype=torch.float64), torch.tensor([0, 0, 0, 1])
    within, alike, by_size = 2 / 4, 4.0, (3 * 1 + 9) / 4  # about 2, the mean of means; about 1, that of points
    assert nc1(r, k) == pytest.approx(within / alike / 2)
    assert nc1(r, k, per_class=False) == pytest.approx(within / alike)
    assert nc1(r, k, balanced=False) == pytest.approx(within / by_size / 2)
    assert nc1(r, k, convention="trace") == pytest.approx(within / alike)
    assert nc1(r, k, convention="trace", balanced=False) == pytest.approx(within / by_size)
    even, of_even = normal(60, 3), torch.arange(60) % 3
    assert nc1(even, of_even) == pytest.approx(nc1(even, of_even, balanced=False))


def test_nc1_epsilon_drops_weak_directions_of_the_means():
    corners = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1e-3]], dtype=torch.float64)
    labels = torch.arange(3000) % 3
    r = corners[labels] + normal(3000, 2)
    assert nc1(r, labels, epsilon=0.01) < 1 < 100 < nc1(r, labels)


def test_lidar_centring():
    """A mean of data far from the origin is one large direction unless it is subtracted."""
    z = 3 * normal(2000, 1, 4) + 0.1 * normal(2000, 3, 4, seed=1)
    assert lidar(z + 100) == pytest.approx(lidar(z))
    assert lidar(z, centre=False) == pytest.approx(4, abs=0.05)
    assert lidar(z + 100, centre=False) < 1.1


def test_lidar_by_hand():
    """Means spread alike in both directions, four points of two views each, which differ by +-1 in the first only."""
    means = torch.tensor([[3.0, 0], [-3, 0], [0, 3], [0, -3]], dtype=torch.float64)
    views = means[:, None] + torch.tensor([[1.0, 0], [-1, 0]], dtype=torch.float64)
    p, q = 1 / 3, 2 / 3  # within: variance 1 and 0, and to both of them 1 is added
    assert lidar(views, regularisation=1.0, epsilon=0.0) == pytest.approx(p**-p * q**-q)


def test_mixture_with_components_chosen_by_bic():
    """Each member takes its own number: three clusters, and none; scores are those of that number."""
    g = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (900,), generator=g)
    corners = 4 * torch.eye(3)[labels] + 0.4 * torch.randn(900, 3, generator=g)
    stack = torch.stack([corners, torch.randn(900, 3, generator=g), corners])
    stack[2, 0, 0] = torch.nan
    train, test, k, candidates = stack[:, :600], stack[:, 600:], labels[600:], (1, 3, 5)
    assert components_by_bic(train[:2], candidates).tolist() == [3, 1]
    found = mixture_clustering(train, test, k, candidates)
    assert found.accuracy[0] == mixture_clustering(train[0], test[0], k, 3).accuracy == 1
    assert found.nmi[1] == pytest.approx(0, abs=1e-9)  # one cluster
    assert found.accuracy[1] == pytest.approx(hungarian_accuracy(k.numpy(), 0 * k.numpy()))
    assert found.accuracy[2].isnan()
    with pytest.raises(ValueError, match="found none"):
        mixture_clustering(train, test, k, ())
