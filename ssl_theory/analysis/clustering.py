"""Clustering by content: do the clusters that a representation falls into by itself agree with the labels?

A mixture (or k-means) is fitted on train representations without labels; test points are assigned; the
assignment is scored against the labels by one matching over the whole test set. Before that the
representation is centred and divided by one number, the root of the mean variance of its coordinates, so
that no score depends on place, rotation or scale.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import (
    adjusted_mutual_info_score,
    adjusted_rand_score,
    normalized_mutual_info_score,
    silhouette_score,
)
from sklearn.metrics.cluster import contingency_matrix
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from ssl_theory.analysis.ensemble import Array, Score, answer, as_tensor, cleared, finite, labels_of, members, varying

COVARIANCES = ("full", "tied", "diag", "spherical")
Assign = Callable[[np.ndarray, np.ndarray], np.ndarray]  # points to fit to, points to assign -> their clusters


class Clustering(NamedTuple):
    """Agreement of an assignment with the labels; each a float, or `(E,)` for a stack.

    accuracy: best one-to-one matching of clusters and classes over the whole test set, in [0, 1].
    nmi: mutual information over the mean of the entropies, in [0, 1]; 1 for equal partitions.
    ari: adjusted Rand index, at most 1, 0 in expectation for random partitions.
    ami: mutual information adjusted for chance, at most 1, 0 in expectation for random partitions.
    purity: share of points in the majority class of their cluster, in [0, 1].
    silhouette: (b - a) / max(a, b) of distances within (a) and to the next cluster (b), in [-1, 1]; no labels used.
        Of 2,000 test points at most, drawn with a fixed seed; NaN for fewer than 2 clusters among them.

    Sources: NMI Strehl, Ghosh (2002); ARI Hubert, Arabie (1985); AMI Vinh, Epps, Bailey (2010); silhouette Rousseeuw
    (1987).
    """

    accuracy: Score
    nmi: Score
    ari: Score
    ami: Score
    purity: Score
    silhouette: Score


def hungarian_accuracy(labels: Array, assignment: Array) -> Score:
    """Share of points that agree under the best one-to-one matching of clusters and classes (Kuhn 1955).

    One matching for all points of a member; clusters beyond the number of classes, and classes without cluster,
    count as wrong. 1: the partitions are equal.

    Args:
        labels: `(n,)`, shared by all members, or `(E, n)`.
        assignment: `(n,)` or `(E, n)`.

    Returns:
        A float or `(E,)`, of the kind of `assignment`.

    Example:
        >>> hungarian_accuracy(np.array([0, 0, 1, 1]), np.array([5, 5, 3, 3]))
        1.0
    """
    return _of_tables(lambda table: table[linear_sum_assignment(table, maximize=True)].sum(), labels, assignment)


def purity(labels: Array, assignment: Array) -> Score:
    """Share of points that belong to the majority class of their cluster: 1 where no cluster mixes classes, at least
    the share of the largest class. Arguments and answer as those of `hungarian_accuracy`.

    Source: Manning, Raghavan, Schuetze (2008), Introduction to Information Retrieval, section 16.3.
    """
    return _of_tables(lambda table: table.max(0).sum(), labels, assignment)


def _of_tables(agreeing: Callable[[np.ndarray], Any], labels: Array, assignment: Array) -> Score:
    """Share of points that agree, by each member's table of how many of a class, a row, lie in a cluster, a column."""
    k, a = as_tensor(labels, "labels"), as_tensor(assignment, "assignment")
    members = a if a.ndim == 2 else a[None]
    if a.ndim not in (1, 2) or a.numel() == 0 or k.shape not in (a.shape, a.shape[-1:]):
        found = f"{tuple(k.shape)} and {tuple(a.shape)}"
        raise ValueError(f"labels: expected (n,) or those of the assignment, (n,) or (E, n), n >= 1; found {found}")
    for name, x in (("labels", k), ("assignment", a)):
        if x.isnan().any():
            raise ValueError(f"{name}: expected a class for each point, found NaN; drop those points first")
    pairs = zip(k.expand(members.shape).cpu().numpy(), members.cpu().numpy(), strict=True)
    shares = [agreeing(contingency_matrix(one, other)) / len(one) for one, other in pairs]
    return answer(torch.tensor(shares, dtype=torch.float64, device=a.device), assignment, single=1)


def mixture_clustering(
    train: Array,
    test: Array,
    labels: Array,
    classes: int | tuple[int, ...],
    seed: int = 0,
    *,
    restarts: int = 3,
    covariance: str = "full",
    regularisation: float = 1e-4,
) -> Clustering:
    """Gaussian mixture with `classes` components fitted on `train`, scored on `test`.

    Args:
        train: `(n, d)` or `(E, n, d)`, used without labels.
        test: `(m, d)` or `(E, m, d)`.
        labels: of the test points, `(m,)` or `(E, m)`.
        classes: number of components; or candidates, of which each member takes that of least Bayesian information
            criterion on `train`, which `components_by_bic` says with the same options. With more clusters than classes,
            or fewer, accuracy cannot reach 1.
        seed: of the k-means starts; the best of `restarts` by train likelihood is taken.
        covariance: "full", "tied", "diag" or "spherical".
        regularisation: added to each variance, in units of the mean variance of a coordinate.

    Returns:
        `Clustering`; NaN for members that hold NaN.

    Source: Dempster, Laird, Rubin (1977).
    """
    assign, candidates = _by_mixture(classes, seed, restarts, covariance, regularisation)
    return _scored(assign, train, test, labels, candidates)


def mixture_assignment(
    train: Array,
    test: Array,
    classes: int | tuple[int, ...],
    seed: int = 0,
    *,
    restarts: int = 3,
    covariance: str = "full",
    regularisation: float = 1e-4,
) -> Array:
    """The component that each test point falls to, where `mixture_clustering` says how well they agree with labels.

    Returns:
        `(m,)` or `(E, m)`, whole numbers from 0 on; -1 for members that hold NaN.

    Source: Dempster, Laird, Rubin (1977).

    Example:
        >>> mixture_assignment(np.array([[0.0], [0.1], [5.0], [5.1]]), np.array([[0.2], [0.3], [4.0]]), 2).tolist()
        [1, 1, 0]
    """
    assign, candidates = _by_mixture(classes, seed, restarts, covariance, regularisation)
    x, y, keep = _fitting(train, test, candidates)
    found = [assign(*pair) if ok else np.full(y.shape[1], -1) for *pair, ok in zip(x, y, keep.tolist(), strict=True)]
    assigned = torch.as_tensor(np.stack(found), dtype=torch.int64, device=keep.device)
    return answer(assigned, train)


def kmeans_clustering(
    train: Array, test: Array, labels: Array, classes: int, seed: int = 0, *, restarts: int = 5
) -> Clustering:
    """k-means with `classes` centres fitted on `train`, scored on `test`; else as `mixture_clustering`.

    Source: MacQueen (1967).
    """
    _check_starts(restarts)

    def assign(fit_on: np.ndarray, score_on: np.ndarray) -> np.ndarray:
        return _quietly(KMeans(classes, n_init=restarts, random_state=seed), fit_on).predict(score_on)

    return _scored(assign, train, test, labels, (classes,))


def components_by_bic(
    train: Array,
    candidates: Sequence[int],
    seed: int = 0,
    *,
    restarts: int = 3,
    covariance: str = "full",
    regularisation: float = 1e-4,
) -> Score:
    """The candidate with the lowest Bayesian information criterion (Schwarz 1978); the first of equals.

    Args:
        train: `(n, d)` or `(E, n, d)`.
        candidates: numbers of components, each between 1 and n.
        seed, restarts, covariance, regularisation: as in `mixture_clustering`.

    Returns:
        A float or `(E,)`, whole numbers; NaN for members that hold NaN.
    """
    r = members(train)
    if len(candidates) == 0:
        raise ValueError("candidates: expected one number of components or more, found none; give (1, 2, 4, 8)")
    for count in candidates:
        _check_count(count, r.shape[1], "candidates")
    _check_starts(restarts, covariance)
    keep = finite(r)
    r = cleared(r, keep)
    best = [
        _mixture(x, candidates, seed, restarts, covariance, regularisation).n_components if ok else math.nan
        for x, ok in zip(_scaled(r, r, varying(r, train))[0], keep.tolist(), strict=True)
    ]
    return answer(torch.tensor(best, dtype=torch.float64, device=r.device), train)


def _mixture(
    x: np.ndarray, candidates: Sequence[int], seed: int, restarts: int, covariance: str, regularisation: float
) -> GaussianMixture:
    """The mixture of least Bayesian information criterion, fitted; of one candidate, that."""
    options: dict[str, Any] = {"covariance_type": covariance, "n_init": restarts, "reg_covar": regularisation}
    fitted = [_quietly(GaussianMixture(int(c), random_state=seed, **options), x) for c in candidates]
    return min(fitted, key=lambda mixture: mixture.bic(x)) if len(fitted) > 1 else fitted[0]


def _quietly(model: Any, x: np.ndarray) -> Any:
    """`model` fitted to `x`; that coinciding points leave clusters empty is an answer here, not a warning.

    One thread: these problems are too small to share, and threads that wait for a busy core cost ten times
    the work.
    """
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x)


def _by_mixture(
    classes: int | tuple[int, ...], seed: int, restarts: int, covariance: str, regularisation: float
) -> tuple[Assign, tuple[int, ...]]:
    """What fits a mixture to some points and assigns others, and its numbers of components."""
    _check_starts(restarts, covariance)
    candidates = tuple(classes) if isinstance(classes, Iterable) else (classes,)

    def assign(fit_on: np.ndarray, score_on: np.ndarray) -> np.ndarray:
        return _mixture(fit_on, candidates, seed, restarts, covariance, regularisation).predict(score_on)

    return assign, candidates


def _fitting(train: Array, test: Array, candidates: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
    """Train and test points `(E, n, d)`, `(E, m, d)` that go together, in the scale of train, and which members hold no
    NaN."""
    a, b = members(train, "train"), members(test, "test")
    if a.shape[::2] != b.shape[::2]:
        raise ValueError(f"test: expected members and width of train {tuple(a.shape)}, found {tuple(b.shape)}")
    if not candidates:
        raise ValueError("classes: expected a number of components or candidates, found none")
    _check_count(min(candidates), a.shape[1])
    _check_count(max(candidates), a.shape[1])
    keep = finite(a, b)
    return *_scaled(a, b, varying(cleared(a, keep), train)), keep


def _scored(
    assign: Assign,
    train: Array,
    test: Array,
    labels: Array,
    candidates: tuple[int, ...],
) -> Clustering:
    x, y, keep = _fitting(train, test, candidates)
    k = labels_of(labels, torch.as_tensor(y)).cpu().numpy()
    rows = [
        _agreement(k[e], assign(x[e], y[e]), y[e]) if keep[e] else [float("nan")] * len(Clustering._fields)
        for e in range(len(x))
    ]
    columns = torch.tensor(rows, dtype=torch.float64, device=keep.device).T
    return Clustering(*[answer(column, train) for column in columns])


def _agreement(labels: np.ndarray, assignment: np.ndarray, points: np.ndarray) -> list[float]:
    return [
        hungarian_accuracy(labels, assignment),
        float(normalized_mutual_info_score(labels, assignment)),
        float(adjusted_rand_score(labels, assignment)),
        float(adjusted_mutual_info_score(labels, assignment)),
        purity(labels, assignment),
        _silhouette(points, assignment),
    ]


def _silhouette(points: np.ndarray, assignment: np.ndarray, most: int = 2000) -> float:
    """Mean silhouette, of a random `most` points if there are more (the cost is quadratic); NaN for fewer than 2
    clusters."""
    if len(points) > most:
        rows = np.random.default_rng(0).choice(len(points), most, replace=False)
        points, assignment = points[rows], assignment[rows]
    if not 1 < len(np.unique(assignment)) < len(points):
        return float("nan")
    return float(silhouette_score(points, assignment))


def _check_count(classes: int, n: int, name: str = "classes") -> None:
    if not 1 <= classes <= n:
        raise ValueError(f"{name}: expected between 1 and the {n} train points, found {classes}; give more points")


def _check_starts(restarts: int, covariance: str = "full") -> None:
    if restarts < 1:
        raise ValueError(f"restarts: expected 1 or more, found {restarts}; the best of them is taken")
    if covariance not in COVARIANCES:
        raise ValueError(f"covariance: expected one of {COVARIANCES}, found {covariance!r}; full is usual")


def _scaled(train: torch.Tensor, test: torch.Tensor, varied: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Both centred at the mean of train and divided by one number: mean variance 1 a coordinate."""
    mean = train.mean(1, keepdim=True)
    scale = train.var(1, correction=0).mean(-1).sqrt()
    # A constant representation (up to rounding) has no scale; it stays at zero.
    scale = torch.where(varied, scale, torch.inf)[:, None, None]
    return ((train - mean) / scale).cpu().numpy(), ((test - mean) / scale).cpu().numpy()
