"""Clustering scores: counted by hand, by brute force over matchings, and on clusters that are there."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from sklearn.mixture import GaussianMixture
from torch import Tensor

from ssl_theory.analysis.clustering import (
    components_by_bic,
    hungarian_accuracy,
    kmeans_clustering,
    mixture_assignment,
    mixture_clustering,
    purity,
)

METHODS = [mixture_clustering, kmeans_clustering]


def clusters(n: int = 600, spread: float = 0.1, seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (n,), generator=g)
    centres = torch.tensor([[2.0, 0, 0], [0, 2.0, 0], [0, 0, 2.0]])
    return centres[labels] + spread * torch.randn(n, 3, generator=g), labels


def brute_force(labels: np.ndarray, assignment: np.ndarray) -> float:
    """The best of all one-to-one renamings of clusters, padded so that either side may be longer."""
    names = np.arange(max(labels.max(), assignment.max()) + 1)
    return max(float(np.mean(np.array(p)[assignment] == labels)) for p in permutations(names))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=30))
def test_hungarian_accuracy_is_the_best_renaming(pairs: list[tuple[int, int]]):
    labels, assignment = np.array(pairs).T
    assert hungarian_accuracy(labels, assignment) == pytest.approx(brute_force(labels, assignment))


def test_scores_by_hand():
    labels, assignment = np.array([0, 0, 1, 1, 2, 2]), np.array([7, 7, 7, 3, 5, 5])
    assert hungarian_accuracy(labels, assignment) == pytest.approx(5 / 6)
    assert purity(labels, assignment) == pytest.approx(5 / 6)
    # One cluster for all: one class matched, the others wrong.
    assert hungarian_accuracy(labels, np.zeros(6)) == pytest.approx(1 / 3)
    # Purity is cheated by many clusters, a matching is not.
    assert purity(labels, np.arange(6)) == 1
    assert hungarian_accuracy(labels, np.arange(6)) == pytest.approx(1 / 2)


@pytest.mark.parametrize("score", [hungarian_accuracy, purity])
def test_scores_of_many_members_are_those_of_each(score):
    g = torch.Generator().manual_seed(0)
    labels, assignment = torch.randint(3, (4, 50), generator=g), torch.randint(5, (4, 50), generator=g)
    alone = [score(k, a) for k, a in zip(labels, assignment, strict=True)]
    assert len(set(alone)) > 1
    assert score(labels, assignment).tolist() == alone
    assert score(labels[0], assignment).tolist() == [score(labels[0], a) for a in assignment]
    found = score(labels.numpy(), assignment.numpy())
    assert isinstance(found, np.ndarray)
    assert found.tolist() == alone
    with pytest.raises(ValueError, match=r"found \(2, 50\) and \(4, 50\)"):
        score(labels[:2], assignment)
    with pytest.raises(ValueError, match=r"found \(4, 50\) and \(50,\)"):
        score(labels, assignment[0])


@pytest.mark.parametrize("method", METHODS)
def test_clusters_that_are_there_are_found(method):
    (train, _), (test, labels) = clusters(seed=1), clusters(seed=2)
    found = method(train, test, labels, 3, 0)
    assert found.accuracy == found.nmi == found.ari == found.purity == pytest.approx(1)
    assert found.silhouette > 0.8
    shuffled = labels[torch.randperm(600, generator=torch.Generator().manual_seed(0))]
    none = method(train, test, shuffled, 3, 0)
    assert none.nmi < 0.03
    assert abs(none.ari) < 0.03
    assert abs(none.ami) < 0.03
    assert none.accuracy < 0.45


@pytest.mark.parametrize("method", METHODS)
def test_other_shares_of_classes_among_test_points_change_nothing(method):
    (train, _), (test, labels) = clusters(seed=1), clusters(seed=2)
    rows = torch.cat([torch.where(labels == k)[0][:count] for k, count in enumerate((100, 5, 2))])
    assert method(train, test[rows], labels[rows], 3).accuracy == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1e-5, 1e5])
def test_clustering_does_not_see_rotation_scale_or_place(method, scale: float):
    (train, _), (test, labels) = clusters(spread=0.7, seed=1), clusters(spread=0.7, seed=2)
    g = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=g))[0]
    a = method(train.double(), test.double(), labels, 3)
    b = method(scale * (train @ turn + 1).double(), scale * (test @ turn + 1).double(), labels, 3)
    assert a.accuracy == pytest.approx(b.accuracy, abs=0.02)
    assert a.nmi == pytest.approx(b.nmi, abs=0.03)


@pytest.mark.parametrize("method", METHODS)
def test_members_are_their_own_and_nan_stays_with_its_member(method):
    (train, _), (test, labels) = clusters(seed=1), clusters(seed=2)
    stack, tests = torch.stack([train, train, train * 0]), torch.stack([test, test, test * 0])
    stack[1, 0, 0] = torch.nan
    found = method(stack, tests, labels, 3)
    assert found.accuracy[0] == method(train, test, labels, 3).accuracy == 1
    assert all(score[1].isnan() for score in found)
    # A constant representation: one cluster holds all, so the largest class is right; no silhouette.
    assert found.accuracy[2] == pytest.approx(float(labels.bincount().max() / 600))
    assert found.nmi[2] == pytest.approx(0, abs=1e-9)
    assert found.silhouette[2].isnan()
    assert isinstance(method(stack.numpy(), tests.numpy(), labels.numpy(), 3).nmi, np.ndarray)


def test_bic_finds_the_number_of_clusters():
    train, _ = clusters(spread=0.2)
    assert components_by_bic(train, (1, 2, 3, 4, 6)) == 3


def test_bad_input_is_one_line():
    train, labels = clusters(n=20)
    with pytest.raises(ValueError, match="between 1 and the 20 train points, found 21"):
        mixture_clustering(train, train, labels, 21)
    with pytest.raises(ValueError, match="width of train"):
        mixture_clustering(train, train[:, :2], labels, 3)
    with pytest.raises(ValueError, match="n = 20"):
        kmeans_clustering(train, train, labels[1:], 3)


def test_bic_answers_in_kind_and_nan_stays_with_its_member():
    train, _ = clusters(spread=0.2)
    stack = torch.stack([train, train.clone(), torch.full_like(train, 0.1)])
    stack[1, 0, 0] = torch.nan
    found = components_by_bic(stack, (1, 2, 3, 4))
    assert isinstance(found, Tensor)
    assert found.tolist() == pytest.approx([3, np.nan, 1], nan_ok=True)
    assert isinstance(components_by_bic(stack.numpy(), (1, 3)), np.ndarray)
    assert isinstance(components_by_bic(train.numpy(), (1, 3)), float)
    for wrong, message in (
        ((), "candidates: expected one"),
        ((0, 2), "between 1 and the 600"),
        ((3, 601), "found 601"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            components_by_bic(train, wrong)
        assert "\n" not in str(error.value)


def test_silhouette_is_that_of_points_from_everywhere():
    """Points in the order of their classes: the first 2,000 of 6,000 lie in one cluster, which has no silhouette."""
    train, labels = clusters(n=6000)
    order = labels.argsort()
    found = kmeans_clustering(train, train[order], labels[order], 3)
    assert found.silhouette == pytest.approx(kmeans_clustering(train, train, labels, 3).silhouette, abs=0.01)
    assert found.silhouette > 0.8


def test_silhouette_of_two_thousand_points_is_that_of_all():
    points, labels = clusters(n=2000)
    found = kmeans_clustering(points, points, labels, 3)
    assert found.accuracy == 1
    assert found.silhouette == pytest.approx(float(silhouette_score(points.numpy(), labels.numpy())), rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_the_best_of_all_restarts_is_taken(method):
    """Without clusters to be found, every start ends elsewhere: only the same number of them finds the same best."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(150, 2, generator=g, dtype=torch.float64)
    x = (x - x.mean(0)) / x.var(0, correction=0).mean().sqrt()
    model = {
        kmeans_clustering: KMeans(4, n_init=8, random_state=0),
        mixture_clustering: GaussianMixture(4, n_init=8, random_state=0, reg_covar=1e-4),
    }[method]
    best = model.fit_predict(x.numpy())
    few, all_of_them = (method(x.numpy(), x.numpy(), best, 4, 0, restarts=n).accuracy for n in (1, 8))
    assert few < all_of_them == 1


def test_regularisation_is_in_units_of_the_mean_variance_of_a_coordinate():
    """A narrow cluster within a wide one: with so much added to each variance, some of its points are lost."""
    g, labels = torch.Generator().manual_seed(0), np.arange(400) % 2
    spread = torch.tensor([3.0, 15.0], dtype=torch.float64)[labels][:, None]
    x = (spread * torch.randn(400, 8, generator=g, dtype=torch.float64)).numpy()
    train, test, k, added = x[:200], x[200:], labels[200:], 0.2
    unit = train.var(0).mean()
    assigned = GaussianMixture(2, n_init=3, random_state=0, reg_covar=added * unit).fit(train).predict(test)
    found = mixture_clustering(train, test, k, 2, regularisation=added)
    assert found.accuracy == hungarian_accuracy(k, assigned)
    assert found.nmi < mixture_clustering(train, test, k, 2).nmi


def test_partitions_that_are_none_are_refused_in_one_line():
    one = np.array([0, 0, 1])
    train, labels = clusters(n=20)
    for call, message in [
        *[
            (lambda f=f, x=x: f(one, x), message)
            for f in (hungarian_accuracy, purity)
            for x, message in [
                (one[:2], r"found \(3,\) and \(2,\)"),
                (one[:, None], r"found \(3,\) and \(3, 1\)"),
                (one[None, None], r"found \(3,\) and \(1, 1, 3\)"),
                (np.array([0, np.nan, 1]), "assignment: expected a class for each point, found NaN"),
            ]
        ],
        (lambda: hungarian_accuracy(one[:0], one[:0]), "n >= 1"),
        (lambda: purity(one[:0], one[:0]), "n >= 1"),
        (lambda: kmeans_clustering(train, train, labels, 3, restarts=0), "restarts: expected 1 or more, found 0"),
        (lambda: mixture_clustering(train, train, labels, 3, restarts=0), "restarts: expected 1 or more, found 0"),
        (lambda: mixture_clustering(train, train, labels, 3, covariance="x"), "covariance: expected one of"),
    ]:
        with pytest.raises(ValueError, match=message) as error:
            call()
        assert "\n" not in str(error.value)


def test_assignments_are_those_that_are_scored():
    """Of several members, of one, and of one that is lost."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(60) % 3
    points = torch.randn(2, 60, 2, generator=generator) + 8 * torch.eye(3, 2)[labels]
    found, scores = mixture_assignment(points, points, 3), mixture_clustering(points, points, labels, 3)
    assert found.shape == (2, 60)
    assert found.unique().tolist() == [0, 1, 2]
    torch.testing.assert_close(torch.as_tensor(hungarian_accuracy(labels, found)), scores.accuracy)
    alone = mixture_assignment(points[1].numpy(), points[1].numpy(), (1, 3))
    assert isinstance(alone, np.ndarray)
    assert alone.tolist() == found[1].tolist()
    points[0, 0, 0] = torch.nan
    lost = mixture_assignment(points, points, 3)
    assert (lost[0] == -1).all()
    assert lost[1].tolist() == found[1].tolist()
