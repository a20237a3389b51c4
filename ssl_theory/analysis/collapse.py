"""Collapse: how much of a representation's variance, style and dimensions is left.

`retained_style` places a decodability between its floor and its ceiling; `collapse_ratio` compares the
spread of the views of one data point with the spread of all; `effective_rank` counts the dimensions in use.
"""

from collections.abc import Sequence
from functools import reduce
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.analysis.ensemble import (
    Array,
    Score,
    answer,
    as_tensor,
    cleared,
    finite,
    labels_of,
    members,
    varying,
    views_of,
)

Numbers: TypeAlias = Array | float | np.floating | Sequence[float]


def retained_style(style_r2: Numbers, floor: Numbers, ceiling: Numbers) -> Score:
    """Share of the style that the data tell, and content does not, that a representation still tells.

        (R^2(s|r) - R^2(s|y)) / (R^2(s|x) - R^2(s|y))

    0: `r` tells no more of style than content does; 1: all that the observation tells. Not clipped: a probe's
    error may put it a little outside of [0, 1]. Arguments are numbers, lists, arrays or tensors, also mixed, and
    broadcast; NaN stays NaN.

    Args:
        style_r2: R^2 of style from the representation, of any shape.
        floor: R^2(s|y), of style from content; 0 unless style depends on content.
        ceiling: R^2(s|x), of style from the observation: the world's exact one, or that of the same probe.

    Returns:
        A tensor where any argument is one, an array where any has axes, else a float.

    Raises:
        ValueError: when the ceiling does not exceed the floor, so that there is no style to retain, or shapes do not
            broadcast.

    Source: this project.

    Example:
        >>> retained_style(0.5, 0.0, 0.8)
        0.625
    """
    given = (style_r2, floor, ceiling)
    tensors = [x for x in given if isinstance(x, Tensor)]
    told, low, high = _numbers(given, tensors[0].device if tensors else torch.device("cpu"))
    try:
        told, low, high = torch.broadcast_tensors(told, low, high)
    except RuntimeError:
        found = ", ".join(str(tuple(x.shape)) for x in (told, low, high))
        raise ValueError(f"style_r2: expected shapes of floor and ceiling that broadcast, found {found}") from None
    if bool((none := high <= low).any()):
        a, b = float(low[none][0]), float(high[none][0])
        raise ValueError(f"ceiling: expected above the floor {a:g}, found {b:g}; no style is left to retain")
    share = (told - low) / (high - low)
    if tensors:
        return share
    return share.numpy() if share.ndim else float(share)


def _numbers(given: Sequence[Numbers], device: torch.device) -> list[Float[Tensor, "..."]]:
    """Tensors on one device, of the largest type that any of them came in; Python's numbers take that of the others."""
    tensors = [as_tensor(x if isinstance(x, Tensor) else np.asarray(x), "R^2") for x in given]
    types = {t.dtype for t, x in zip(tensors, given, strict=True) if not isinstance(x, int | float)}
    dtype = reduce(torch.promote_types, types, torch.float32) if types else torch.float64
    return [t.to(device, dtype) for t in tensors]


def collapse_ratio(views: Array) -> Score:
    """`tr Cov(r|y) / tr Cov(r)`, where the J views of a data point share `y`.

    0: all views of a data point coincide; 1: they are no closer to each other than to any other data point's. NaN
    for a constant representation, where both are zero (see `total_variance`). Both traces are unbiased: with `W` the
    mean variance over views and `V` the variance of view means, `tr Cov(r) = V + (1 - 1/J) W`.

    Args:
        views: `(n, J, d)` or `(E, n, J, d)`, n >= 2, J >= 2.

    Returns:
        A float or `(E,)`.

    Source: this project.
    """
    r = views_of(views)
    keep = finite(r)
    r = cleared(r, keep)
    return answer(within_share(r), views, keep & varying(r.flatten(1, 2), views), single=3)


def within_share(views: Float[Tensor, "E n J d"]) -> Float[Tensor, " E"]:
    """Trace of the covariance of views about their data point, over that of all views; both unbiased."""
    n, J = views.shape[1:3]
    if n < 2:
        raise ValueError(f"views: expected n >= 2 data points for a variance, found {n}; give more")
    within = views.var(2).sum(-1).mean(1)
    return within / (views.mean(2).var(1).sum(-1) + (1 - 1 / J) * within)


def class_collapse_ratio(representation: Array, labels: Array) -> Score:
    """`tr Cov(r|k) / tr Cov(r)`: the share of variance that lies within classes (biased covariances, 1/n).

    0: each class is one point; 1: the class means coincide. NaN for a constant representation. Source: this project.

    Args:
        representation: `(n, d)` or `(E, n, d)`.
        labels: `(n,)` or `(E, n)`.

    Returns:
        A float or `(E,)`.
    """
    r = members(representation)
    keep = finite(r)
    r = cleared(r, keep)
    within = (r - class_means_of_rows(r, labels)).square().sum(-1).mean(1)
    total = r.var(1, correction=0).sum(-1)
    return answer(within / total, representation, keep & varying(r, representation))


def class_means_of_rows(r: Float[Tensor, "E n d"], labels: Array) -> Float[Tensor, "E n d"]:
    """Each row replaced by the mean of its class."""
    k = labels_of(labels, r)
    index = torch.unique(k, return_inverse=True)[1]
    sums = r.new_zeros(r.shape[0], int(index.max()) + 1, r.shape[2])
    wide = index[..., None].expand_as(r)
    counts = torch.zeros_like(sums).scatter_add_(1, wide, torch.ones_like(r))
    means = sums.scatter_add_(1, wide, r) / counts.clamp(min=1)
    return means.gather(1, wide)


def total_variance(representation: Array) -> Score:
    """`tr Cov(r)`, unbiased, the absolute scale: 0 is total collapse, which no standardised probe sees; no upper end.

    Source: this project.
    """
    r = members(representation)
    if r.shape[1] < 2:
        raise ValueError(f"representation: expected n >= 2 rows for a variance, found {r.shape[1]}")
    return answer(r.var(1).sum(-1), representation, finite(r))


def effective_rank(representation: Array, *, epsilon: float = 1e-7, centre: bool = False) -> Score:
    """RankMe, `exp H(p)` with `p_i = sigma_i / sum_j sigma_j + epsilon`, sigma the singular values of `r`.

    From 1 (one direction) to `min(n, d)` (all singular values equal). A representation of zeros gives NaN, and so
    does a constant one when its mean is subtracted.

    Args:
        representation: `(n, d)` or `(E, n, d)`.
        epsilon: added to each p_i, as published.
        centre: subtract the mean first; published without.

    Source: Garrido, Balestriero, Najman, LeCun (2023), arXiv 2210.02885.
    """
    r = members(representation)
    keep = finite(r)
    r = cleared(r, keep)
    if centre:
        keep = keep & varying(r, representation)
        r = r - r.mean(1, keepdim=True)
    sigma = torch.linalg.svdvals(r)
    p = sigma / sigma.sum(-1, keepdim=True) + epsilon
    return answer(torch.exp(-torch.special.xlogy(p, p).sum(-1)), representation, keep)
