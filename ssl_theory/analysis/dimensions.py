"""Dimensional collapse: how many directions a representation uses, by its spectrum.

`effective_rank` (RankMe) of the room `collapse` reads singular values; these read eigenvalues of covariances.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssl_theory.analysis.ensemble import Array, Score, answer, cleared, finite, members, varying, views_of


def eigenspectrum(representation: Array, *, centre: bool = True) -> Score:
    """Eigenvalues of the covariance (1/n), largest first, `(d,)` or `(E, d)`; they sum to the total variance.

    All 0: a constant. Equal: no direction is preferred.

    Source: Hotelling (1933).
    """
    r = members(representation)
    keep = finite(r)
    return answer(_eigenvalues(cleared(r, keep), centre), representation, keep)


def participation_ratio(representation: Array, *, centre: bool = True) -> Score:
    """`(sum lambda)^2 / sum lambda^2`: 1 for one direction, d for equal variances; NaN for a constant.

    Source: Gao et al. (2017), bioRxiv 214262.
    """
    r, keep = _read(representation, centre)
    values = _eigenvalues(r, centre)
    return answer(values.sum(1).square() / values.square().sum(1), representation, keep)


def alpha_req(representation: Array, *, first: int = 0, last: int | None = None, centre: bool = True) -> Score:
    """Exponent alpha of the power law `lambda_i ~ i^-alpha`, by least squares on logarithms.

    0: white; large: few directions carry all; never below 0 (up to rounding). Values near 1 were found to go with good
    transfer. NaN where fewer than two eigenvalues exceed rounding.

    Args:
        representation: `(n, d)` or `(E, n, d)`.
        first, last: eigenvalues fitted, largest first, as a slice; all that exceed rounding by default.
        centre: subtract the mean first.

    Source: Agrawal et al. (2022), alpha-ReQ, NeurIPS.
    """
    r, keep = _read(representation, centre)
    values = _eigenvalues(r, centre)
    index = torch.arange(1, values.shape[1] + 1, dtype=values.dtype, device=values.device).log()
    slopes = [_slope(index[first:last], v[first:last], float(v[0])) for v in values]
    return answer(-torch.stack(slopes), representation, keep)


def _slope(x: Float[Tensor, " k"], values: Float[Tensor, " k"], largest: float) -> Tensor:
    used = values > 1e-12 * largest
    if int(used.sum()) < 2:
        return values.new_tensor(torch.nan)
    x, y = x[used], values[used].log()
    return ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()


def lidar(views: Array, *, regularisation: float = 1e-4, epsilon: float = 1e-7, centre: bool = True) -> Score:
    """LiDAR: effective rank of the linear discriminant matrix, each data point a class of its J views.

        exp H(p), p_i = lambda_i / sum_j lambda_j + epsilon, lambda the eigenvalues of S_W^-1/2 S_B S_W^-1/2

    `S_W + regularisation I` is the covariance of views about their data point's mean (over n J), S_B that of the means
    about the global mean (over n). From 1 to min(n - 1, d); NaN where all data points have one mean.

    Args:
        views: `(n, J, d)` or `(E, n, J, d)`.
        regularisation: published 1e-4.
        epsilon: published 1e-7.
        centre: take S_B about the global mean, as published; else about the origin.

    Source: Thilak et al. (2024), arXiv 2312.04000.
    """
    z = views_of(views)
    keep = finite(z)
    z = cleared(z, keep)
    means = z.mean(2)
    deviation, spread = (z - means[:, :, None]).flatten(1, 2), means - means.mean(1, keepdim=True) * centre
    s_w, s_b = (x.mT @ x / x.shape[1] for x in (deviation, spread))
    values, vectors = torch.linalg.eigh(s_w)
    root = vectors / (values.clamp(min=0) + regularisation).sqrt()[:, None]
    spectrum = torch.linalg.eigvalsh(root.mT @ s_b @ root).clamp(min=0)
    p = spectrum / spectrum.sum(1, keepdim=True) + epsilon
    return answer(torch.exp(-torch.special.xlogy(p, p).sum(1)), views, keep & varying(means, views), single=3)


def _read(representation: Array, centre: bool) -> tuple[Float[Tensor, "E n d"], Bool[Tensor, " E"]]:
    """Representation, and which members have a spectrum: finite and, once centred, more than rounding."""
    r = members(representation)
    keep = finite(r)
    r = cleared(r, keep)
    return r, keep & varying(r, representation) if centre else keep


def _eigenvalues(r: Float[Tensor, "E n d"], centre: bool) -> Float[Tensor, "E d"]:
    r = r - r.mean(1, keepdim=True) if centre else r
    return torch.linalg.eigvalsh(r.mT @ r / r.shape[1]).clamp(min=0).flip(-1)
