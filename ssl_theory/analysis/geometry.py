"""Geometry of representations: how views align, how points spread, how two representations compare."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.analysis.ensemble import (
    Array,
    Score,
    answer,
    cleared,
    finite,
    labels_of,
    members,
    near_one,
    varying,
    views_of,
)


def alignment(views: Array, *, exponent: float = 2.0, normalise: bool = True) -> Score:
    """`E |z - z'|^alpha` over pairs of views of a data point, on unit vectors.

    0: views coincide; 2: as far apart as unrelated points on the sphere (alpha = 2); at most 4.

    Args:
        views: `(n, J, d)` or `(E, n, J, d)`; all pairs j < k are averaged.
        exponent: alpha, published 2.
        normalise: divide by the norm first, as published.

    Source: Wang, Isola (2020), arXiv 2005.10242.
    """
    z = views_of(views)
    keep = finite(z)
    z = _unit(cleared(z, keep)) if normalise else cleared(z, keep)
    j, k = torch.triu_indices(z.shape[2], z.shape[2], 1, device=z.device)
    distance = (z[:, :, j] - z[:, :, k]).norm(dim=-1)
    return answer(distance.pow(exponent).mean((1, 2)), views, keep, single=3)


def uniformity(representation: Array, *, scale: float = 2.0, normalise: bool = True) -> Score:
    """`log mean_{i<j} exp(-t |z_i - z_j|^2)` on unit vectors, never with itself.

    0: all points coincide; the more negative, the more evenly they fill the sphere; at least -4t (two antipodes).

    Args:
        representation: `(n, d)` or `(E, n, d)`, n >= 2; quadratic in n.
        scale: t, published 2.
        normalise: divide by the norm first, as published.

    Source: Wang, Isola (2020), arXiv 2005.10242.
    """
    z = members(representation)
    n = z.shape[1]
    if n < 2:
        raise ValueError("representation: expected n >= 2 points to compare, found 1; give more")
    keep = finite(z)
    z = _unit(cleared(z, keep)) if normalise else cleared(z, keep)
    values = [_log_kernel_sum(points, scale) - math.log(n * (n - 1)) for points in z]
    return answer(torch.stack(values), representation, keep)


def _log_kernel_sum(z: Float[Tensor, "n d"], scale: float, rows: int = 1024) -> Tensor:
    """`log sum_{i != j} exp(-t |z_i - z_j|^2)`, some rows at a time."""
    parts = []
    for start in range(0, len(z), rows):
        distance = torch.cdist(z[start : start + rows], z, compute_mode="donot_use_mm_for_euclid_dist")
        exponent = -scale * distance.square()
        exponent.diagonal(start).fill_(-torch.inf)
        parts.append(exponent.flatten().logsumexp(0))
    return torch.stack(parts).logsumexp(0)


def tolerance(representation: Array, labels: Array) -> Score:
    """`E[z_i . z_j | same class, i != j]` on unit vectors: 1: each class is one direction; 0: classes do not show.

    At least -1 (two opposite points a class). Classes with one member have no pair and do not count; NaN where no
    class has a pair.

    Source: Wang, Liu (2021), arXiv 2012.09740.
    """
    z = members(representation)
    k = torch.unique(labels_of(labels, z), return_inverse=True)[1]
    keep = finite(z)
    z = _unit(cleared(z, keep))
    hot = torch.nn.functional.one_hot(k).to(z.dtype)
    counts = hot.sum(1)
    similarity = (hot.mT @ z).square().sum((1, 2)) - z.square().sum((1, 2))
    pairs = (counts.square() - counts).sum(1)
    return answer(torch.where(pairs > 0, similarity / pairs, torch.nan), representation, keep)


class Norms(NamedTuple):
    """Mean, standard deviation, least and largest Euclidean norm."""

    mean: Score
    deviation: Score
    least: Score
    largest: Score


def norms(representation: Array) -> Norms:
    """Mean, standard deviation, least and largest of `|z|` over the points; a deviation of 0: all on a sphere.

    Source: this project.
    """
    z = members(representation)
    size, keep = z.norm(dim=-1), finite(z)
    values = (size.mean(1), size.std(1, correction=0), size.amin(1), size.amax(1))
    return Norms(*[answer(v, representation, keep) for v in values])


def cka(first: Array, second: Array) -> Score:
    """Linear centred kernel alignment `|X^T Y|_F^2 / (|X^T X|_F |Y^T Y|_F)`, X and Y centred.

    1: equal up to rotation and one scale; 0: uncorrelated. Biased upwards for n not much larger than d. NaN where
    either is constant.

    Args:
        first: `(n, d)` or `(E, n, d)`.
        second: `(n, d')` or `(E, n, d')`, the same rows.

    Source: Kornblith et al. (2019), arXiv 1905.00414.
    """
    x, y, keep = _centred_pair(first, second)
    size = (x.mT @ x).norm(dim=(1, 2)) * (y.mT @ y).norm(dim=(1, 2))
    return answer((x.mT @ y).square().sum((1, 2)) / size, first, keep)


def procrustes(first: Array, second: Array) -> Score:
    """`1 - |X^T Y|_* ^2 / (|X|_F^2 |Y|_F^2)`: squared distance left after the best shift, rotation and scale.

    0: equal up to those; 1: nothing in common; NaN where either is constant. Symmetric. `|.|_*` is the nuclear norm;
    the narrower one is padded.

    Source: Gower (1975); Schoenemann (1966).
    """
    x, y, keep = _centred_pair(first, second)
    overlap = torch.linalg.svdvals(x.mT @ y).sum(-1).square()
    return answer(1 - overlap / (x.square().sum((1, 2)) * y.square().sum((1, 2))), first, keep)


def pairwise(
    measure: Callable[[Array, Array], Score], stacks: Mapping[str, Array] | Array
) -> tuple[list[tuple[str, int]], Array]:
    """A symmetric measure between all representations of the same rows: every method with every seed, `(M, M)`.

    Args:
        measure: of two stacks, such as `cka` (1 on the diagonal) or `procrustes` (0 on the diagonal); range and NaN are
            its own. It is given tensors in the precision of the stacks, once for i < j, and mirrored.
        stacks: method -> `(n, d)` or `(E, n, d)`, where d and E may differ between methods; or one stack, whose members
            are compared ("" is then their method).

    Returns:
        (method, member) of each of the M rows, and the matrix, of the kind (numpy or torch) that was given.

    Raises:
        ValueError: for nothing to compare, rows that differ, or what `measure` raises.

    Source: this project.

    Example:
        >>> turned = torch.stack([torch.eye(4), torch.eye(4).flip(1)])
        >>> pairwise(cka, {"a": turned, "b": torch.eye(4)})[0]
        [('a', 0), ('a', 1), ('b', 0)]
    """
    named = stacks if isinstance(stacks, Mapping) else {"": stacks}
    if not named:
        raise ValueError("stacks: expected one representation or more, found none; pass {name: (E, n, d)}")
    read = {name: members(stack, name or "stacks", dtype=None) for name, stack in named.items()}
    flat = [(name, e, r) for name, stack in read.items() for e, r in enumerate(stack)]
    matrix = torch.empty(len(flat), len(flat), dtype=torch.float64)
    for i, (_, _, first) in enumerate(flat):
        for j, (_, _, second) in enumerate(flat[i:], i):
            matrix[i, j] = matrix[j, i] = measure(first, second)
    like = next(iter(named.values()))
    return [(name, e) for name, e, _ in flat], matrix.to(like.device) if isinstance(like, Tensor) else matrix.numpy()


class PmiFit(NamedTuple):
    """Agreement of a critic with the exact pointwise mutual information, each centred per row."""

    correlation: Score
    slope: Score


def pmi_fit(scores: Array, pmi: Array) -> PmiFit:
    """How well a critic matches the PMI up to the term `c(x)` that InfoNCE leaves free.

    Both matrices are centred per row; then the correlation in [-1, 1] (1: the critic is a stretched PMI) and the slope
    of the critic on the PMI (1: calibrated; any number). A critic that is constant in each row has slope 0 and no
    correlation, NaN; where the PMI is, both are NaN.

    Args:
        scores: `(n, K)` or `(E, n, K)`, the critic at x_i and K independent partners.
        pmi: the same shape, exact.

    Source: this project.
    """
    s, p = members(scores, "scores"), members(pmi, "pmi")
    if s.shape != p.shape:
        raise ValueError(f"pmi: expected the shape of scores {tuple(s.shape)}, found {tuple(p.shape)}")
    keep = finite(s, p)
    s, p = cleared(s, keep), cleared(p, keep)
    told, exact = varying(s.mT, scores), varying(p.mT, pmi)
    s, p = (x - x.mean(-1, keepdim=True) for x in (cleared(s, told), p))
    product, spread = (s * p).sum((1, 2)), p.square().sum((1, 2))
    correlation = product / (spread * s.square().sum((1, 2))).sqrt()
    keep = keep & exact
    return PmiFit(answer(correlation, scores, keep & told), answer(product / spread, scores, keep))


def fitted_temperature(scores: Array, squared_distances: Array) -> Score:
    """The tau for which `-|z - z'|^2 / (2 tau)` fits scores, both centred per row: tau = -1 / (2 slope).

    The dictionary of theory: on unit vectors a dot product over tau is a Gaussian kernel of variance tau = 2 sigma^2.
    Any number but 0: negative where scores grow with distance, infinite where they are constant, NaN where the
    distances are.

    Args:
        scores: `(n, K)` or `(E, n, K)`.
        squared_distances: the same shape, `|z_i - z_k|^2`.

    Source: this project; Wang, Isola (2020), arXiv 2005.10242, for the kernel.
    """
    slope = torch.as_tensor(pmi_fit(scores, squared_distances).slope, dtype=torch.float64).reshape(-1)
    return answer(torch.where(slope == 0, torch.inf, -0.5 / slope), scores)


def _centred_pair(first: Array, second: Array) -> tuple[Tensor, Tensor, Tensor]:
    x, y = members(first, "first"), members(second, "second")
    if x.shape[:2] != y.shape[:2]:
        raise ValueError(f"second: expected members and rows of first {tuple(x.shape)}, found {tuple(y.shape)}")
    keep = finite(x, y)
    x, y = (near_one(cleared(z, keep))[0] for z in (x, y))
    keep = keep & varying(x, first) & varying(y, second)
    return x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True), keep


def _unit(z: Float[Tensor, "*shape d"]) -> Float[Tensor, "*shape d"]:
    """`z / |z|` of vectors of any length that float64 holds; a zero vector stays zero."""
    rows = near_one(z.reshape(-1, 1, z.shape[-1]))[0].reshape(z.shape)
    return torch.nn.functional.normalize(rows, dim=-1, eps=0.0).nan_to_num(0.0)
