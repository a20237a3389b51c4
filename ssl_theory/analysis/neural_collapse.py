"""Neural collapse: do classes shrink to points, and do these points form a simplex?

Notation: class means mu_c (C of them), mu their mean, within-class covariance S_W (averaged over all points),
covariance of class means S_B = (1/C) sum_c (mu_c - mu)(mu_c - mu)^T.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
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
    near_one,
    precision_of,
    rounding,
    varying,
)


class Spectrum(NamedTuple):
    """Variance within and between classes in each dimension, `(d,)` or `(E, d)`, both biased (1/n)."""

    within: Score
    between: Score


def spectrum(representation: Array, labels: Array) -> Spectrum:
    """Within- and between-class variance of each coordinate, at least 0; they sum to its variance.

    Within 0: classes are points in it; between 0: it tells no class by its mean.

    Source: Fisher (1936).
    """
    r, keep, (_, own, _) = _read(representation, labels)
    within = (r - own).square().mean(1)
    between = (own - r.mean(1, keepdim=True)).square().mean(1)
    return Spectrum(answer(within, representation, keep), answer(between, representation, keep))


def nc1(
    representation: Array,
    labels: Array,
    *,
    convention: str = "pseudo-inverse",
    per_class: bool = True,
    balanced: bool = True,
    epsilon: float = 1e-12,
) -> Score:
    """Variability collapse: 0 when every class is one point; no upper end.

    Args:
        representation: `(n, d)` or `(E, n, d)`.
        labels: `(n,)` or `(E, n)`.
        convention: "pseudo-inverse": `tr(S_W S_B^+) / C`, S_B^+ of rank at most C - 1 (Papyan, Han, Donoho 2020, arXiv
            2008.08186). "trace": `tr S_W / tr S_B`, which needs no inverse and does not see anisotropy.
        per_class: divide by C in "pseudo-inverse", as published; some code does not.
        balanced: centre at the mean of class means and weigh classes alike in S_B, as published; else at the mean of
            all points, classes weighed by their size. Both agree for classes of one size.
        epsilon: eigenvalues of S_B below this share of the largest count as zero in the pseudo-inverse.

    Returns:
        A float or `(E,)`; NaN when the class means coincide.
    """
    r, keep, (means, own, _) = _read(representation, labels)
    r, means, own = near_one(r, means, own)
    deviation = r - own
    spread = means - means.mean(1, keepdim=True) if balanced else own - r.mean(1, keepdim=True)
    s_w, s_b = (x.mT @ x / x.shape[1] for x in (deviation, spread))
    if convention == "trace":
        value = _trace(s_w) / _trace(s_b)
    elif convention == "pseudo-inverse":
        value = _trace(s_w @ _pseudo_inverse(s_b, means.shape[1] - 1, epsilon)) / (means.shape[1] if per_class else 1)
    else:
        raise ValueError(f"convention: expected 'pseudo-inverse' or 'trace', found {convention!r}")
    apart = varying(means, representation) & (_trace(s_b) > 1e-24 * r.square().mean((1, 2)))
    return answer(torch.where(apart, value, torch.nan), representation, keep)


def cdnv(representation: Array, labels: Array) -> Score:
    """Class-distance normalised variance: mean over pairs of classes of `(v_a + v_b) / (2 |mu_a - mu_b|^2)`.

    v_c is the mean squared distance to the class mean. 0: classes are points; above 1/2 they overlap; NaN when two
    class means coincide.

    Source: Galanti, Gyoergy, Hutter (2021), arXiv 2112.15121.
    """
    r, keep, (means, own, k) = _read(representation, labels)
    hot = torch.nn.functional.one_hot(k).to(r.dtype)
    variance = (hot * (r - own).square().sum(-1, keepdim=True)).sum(1) / hot.sum(1)
    a, b = torch.triu_indices(means.shape[1], means.shape[1], 1, device=r.device)
    distance = (means[:, a] - means[:, b]).square().sum(-1)
    noise = rounding(means, precision_of(representation)).square().sum(-1, keepdim=True)
    value = ((variance[:, a] + variance[:, b]) / (2 * distance)).mean(1)
    apart = torch.isfinite(value) & (distance > noise).all(1)
    return answer(value.masked_fill(~apart, torch.nan), representation, keep)


def etf_distance(vectors: Array) -> Score:
    """Largest deviation of the cosines of centred class means (or weights) from `-1/(C-1)`.

    0: a simplex equiangular tight frame, up to norms; NaN when a centred vector vanishes.

    Args:
        vectors: `(C, d)` or `(E, C, d)`, C >= 2: class means, or classifier weights.

    Source: Papyan, Han, Donoho (2020), arXiv 2008.08186.
    """
    m = members(vectors, "vectors")
    C = m.shape[1]
    if C < 2:
        raise ValueError(f"vectors: expected C >= 2 rows, found {C}; one class has no angles")
    keep = finite(m)
    unit = _unit_centred(cleared(m, keep), precision_of(vectors))
    a, b = torch.triu_indices(C, C, 1, device=m.device)
    cosine = (unit @ unit.mT)[:, a, b]
    return answer((cosine + 1 / (C - 1)).abs().amax(1), vectors, keep)


def norm_variation(vectors: Array) -> Score:
    """Standard deviation over mean of the norms of centred class means: 0 for equal norms, as in a simplex.

    At most `sqrt(C / 2 - 1)`, of two opposite vectors with the others between them; NaN for vectors that coincide.

    Source: Papyan, Han, Donoho (2020), arXiv 2008.08186.
    """
    m = members(vectors, "vectors")
    keep = finite(m)
    m = cleared(m, keep)
    size = (m - m.mean(1, keepdim=True)).norm(dim=-1)
    return answer(size.std(1, correction=0) / size.mean(1), vectors, keep & varying(m, vectors))


def self_duality(weights: Array, means: Array) -> Score:
    """`|W / |W|_F - M / |M|_F|_F^2`, both centred: 0 when classifier and class means are parallel; at most 4.

    NaN where all rows of either coincide.

    Args:
        weights: `(C, d)` or `(E, C, d)`, a row a class.
        means: the same shape.

    Source: Papyan, Han, Donoho (2020), arXiv 2008.08186.
    """
    w, m = members(weights, "weights"), members(means, "means")
    if w.shape != m.shape:
        raise ValueError(f"means: expected the shape of weights {tuple(w.shape)}, found {tuple(m.shape)}")
    keep = finite(w, m)
    w, m = cleared(w, keep), cleared(m, keep)
    keep = keep & varying(w, weights) & varying(m, means)
    w, m = (x - x.mean(1, keepdim=True) for x in (w, m))
    w, m = (x / x.norm(dim=(1, 2), keepdim=True) for x in (w, m))
    return answer((w - m).square().sum((1, 2)), weights, keep)


def class_means(representation: Array, labels: Array) -> Array:
    """`(C, d)` or `(E, C, d)`, in the order of the sorted labels, which every member must hold all of.

    Source: this project.
    """
    _, keep, (means, _, _) = _read(representation, labels)
    if as_tensor(representation, "representation").ndim == 2:
        means, keep = means[:1], keep[:1]
    return answer(means, representation, keep)


def _read(
    representation: Array, labels: Array
) -> tuple[
    Float[Tensor, "E n d"],
    Tensor,
    tuple[Float[Tensor, "E C d"], Float[Tensor, "E n d"], Int[Tensor, "E n"]],
]:
    """Representation, finite members, and (class means, each row's class mean, class indices)."""
    r = members(representation)
    k = torch.unique(labels_of(labels, r), return_inverse=True)[1]
    hot = torch.nn.functional.one_hot(k).to(r.dtype)
    if hot.shape[2] < 2 or bool((hot.sum(1) == 0).any()):
        raise ValueError(f"labels: expected two classes or more, all in every member; found {hot.shape[2]}")
    keep = finite(r)
    r = cleared(r, keep)
    means = hot.mT @ r / hot.sum(1)[..., None]
    return r, keep, (means, hot @ means, k)


def _pseudo_inverse(s: Float[Tensor, "E d d"], rank: int, epsilon: float) -> Float[Tensor, "E d d"]:
    """Inverse on the `rank` leading eigenvectors, as far as these are not rounding."""
    values, vectors = torch.linalg.eigh(s)
    values, vectors = values[:, -rank:], vectors[:, :, -rank:]
    real = values > epsilon * values.amax(1, keepdim=True)
    return vectors * torch.where(real, 1 / values, torch.zeros_like(values))[:, None] @ vectors.mT


def _trace(s: Float[Tensor, "E d d"]) -> Float[Tensor, " E"]:
    return s.diagonal(dim1=1, dim2=2).sum(1)


def _unit_centred(m: Float[Tensor, "E C d"], precision: torch.dtype) -> Float[Tensor, "E C d"]:
    """Centred vectors of norm 1; NaN where the centred vector is but rounding."""
    centred = m - m.mean(1, keepdim=True)
    size = centred.norm(dim=-1, keepdim=True)
    noise = rounding(m, precision).norm(dim=-1)[:, None, None]
    return centred / size.masked_fill(size <= noise, torch.nan)
