"""Redundancy reduction: views agree, and the dimensions of the representation vary and are uncorrelated.

Agreement is the flat prior, `|z - z'|^2 = -4 sigma^2 log p_Flat + c`. The other terms stand in for an entropy of
the representation: `log det(I + E) = -1/2 |E|_F^2 + O(|E|^3)` for unit variances and off-diagonal part E.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.losses.views import (
    cross_view_product,
    pair_distance,
    pick,
    require_choice,
    require_positive,
    require_views,
    unit,
    view_pairs,
    wide,
)

Views = Float[Tensor, "*batch n J d"]
Loss = Float[Tensor, "*batch"]


def vicreg(
    z: Views,
    *,
    invariance: float | Tensor = 25.0,
    variance: float | Tensor = 25.0,
    covariance: float | Tensor = 1.0,
    gamma: float = 1.0,
    epsilon: float = 1e-4,
    distance: str = "mean",
    views: str = "sum",
) -> Loss:
    """VICReg: variance, invariance and covariance regularisation.

    Formula: `lambda s(Z, Z') + mu [v(Z) + v(Z')] + nu [c(Z) + c(Z')]`, with
        `v = mean_i relu(gamma - sqrt(Var z_i + epsilon))`, `c = (1/d) sum_{i != k} Cov_ik^2`, both over n - 1.
    Source: Bardes et al. 2022, arXiv 2105.04906.
    Prior: maximised: `s` is `-4 sigma^2 log p_Flat` up to a constant (over d, for `distance="mean"`).
    Instead of reconstruction: `v` keeps variances up; `d c`, to second order, is -4 times a Gaussian entropy.
    Deviations: in the paper's text `s` sums over dimensions ("sum"), in its algorithm it averages ("mean"). The
        authors' code and lightly halve the variance term (`views="mean"`); solo-learn does not ("sum").

    J views: s over the mean pair, v and c twice the mean view. `invariance`, `variance`, `covariance`
    (lambda, mu, nu) are floats or `(*batch)`.
    """
    require_views(z, points=2)
    require_choice("distance", distance, ("mean", "sum"))
    require_choice("views", views, ("sum", "mean"))
    d = z.shape[-1]
    s = pair_distance(wide(z)).mean(-1) / (d if distance == "mean" else 1)
    squared, energy = second_moments(centre(z))
    deviation = (squared / (z.shape[-3] - 1) + epsilon).sqrt()
    v = (gamma - deviation).relu().mean((-2, -1))
    c = energy.mean(-1) / (d * (z.shape[-3] - 1) ** 2)
    return invariance * s + (2 if views == "sum" else 1) * variance * v + 2 * covariance * c


def barlow_twins(z: Views, *, lambd: float | Tensor = 5e-3, scale: float = 1.0, epsilon: float = 0.0) -> Loss:
    """Barlow Twins: the cross-correlation matrix of two views is driven to the identity.

    Formula: `sum_i (1 - C_ii)^2 + lambd sum_{i != k} C_ik^2`, C the correlations of view j with view k.
    Source: Zbontar et al. 2021, arXiv 2103.03230.
    Prior: maximised, on standardised dimensions: `1 - C_ii` is half the mean squared distance of the views.
    Instead of reconstruction: the off-diagonal correlations: to second order a Gaussian entropy.
    Deviations: the authors' code scales batch-normalised z (variance plus 1e-5: `epsilon`); solo-learn multiplies
        by 0.025 (`scale`); lightly once divided by n after an n-1 standard deviation, so that C_ii <= (n-1)/n.

    A dimension that does not vary, or by no more than rounding, has correlation 0. Mean over pairs of views.
    """
    require_views(z, points=2)
    n, views = z.shape[-3], without_rounding(z)
    squared = views.square().sum(-2, keepdim=True)
    standard = unit(views, axis=-2) if epsilon == 0 else views * (squared + n * epsilon).rsqrt()
    first, second = view_pairs(z.shape[-2])
    a, b = pick(standard, first, -3), pick(standard, second, -3)
    diagonal = (a * b).sum(-2)
    off_diagonal = cross_energy(a, b) - diagonal.square().sum(-1)
    on_diagonal = (1 - diagonal).square().sum(-1)
    return scale * (on_diagonal.mean(-1) + lambd * off_diagonal.mean(-1))


def w_mse(z: Views, *, epsilon: float = 1e-5) -> Loss:
    """W-MSE: views agree after each view's batch is whitened, so that no collapse is left to avoid.

    Formula: `2 - 2 cos(w^j, w^k)`, `w = L^-1 (z - mean)`, `L L' = Cov(z)` of that view over the batch; cos 0 where z
        does not vary.
    Source: Ermolov et al. 2021, arXiv 2007.06346.
    Prior: maximised, on whitened unit vectors.
    Instead of reconstruction: whitening: the second moments of an isotropic Gaussian, as a hard constraint.
    Deviations: the authors whiten random sub-batches and average over repetitions; shrinkage is `(1-e) Cov + e I`
        in their code, and `Cov + epsilon tr(Cov) I` here, which does not depend on the scale of z (but for a floor of
        1e-12 that keeps zero vectors finite).

    Wants n > d. With `epsilon=0`, which needs it, the whitened covariance is exactly the identity; where a direction is
    missing all the same, NaN. Cholesky factors of different views rotate differently, so that the loss depends on the
    axes of z.
    """
    require_views(z, points=2)
    n, d = z.shape[-3], z.shape[-1]
    if epsilon == 0 and n <= d:
        raise ValueError(f"expected n > d points without shrinkage, found n = {n}, d = {d}: set epsilon > 0")
    whitened = unit(whiten(without_rounding(z), epsilon)).transpose(-2, -3)
    return 2 - 2 * cross_view_product(whitened, whitened).mean(-1)


def total_coding_rate(z: Views, *, distortion: float = 0.2, invariance: float | Tensor = 200.0) -> Loss:
    """Total coding rate (EMP-SSL): minus the Gaussian coding rate of each view, plus agreement with the mean.

    Formula: `-mean_j 1/2 log det(I + d / (n distortion) Z_j'Z_j) - invariance mean_j cos(z^j, zbar)`, unit z.
    Source: Tong et al. 2023, arXiv 2304.03977; the rate: Yu et al. 2020, arXiv 2006.08558.
    Prior: maximised: the cosine to the mean view, a spread about zbar.
    Instead of reconstruction: the rate is the information that z gives of itself through Gaussian noise of
        variance `distortion / d`: a Gaussian entropy that stays finite when the covariance is singular.
    Deviations: `distortion` is the paper's epsilon^2; the authors' code and lightly pass epsilon unsquared.
    """
    require_views(z)
    require_positive("distortion", distortion)
    z = unit(wide(z))
    agreement = (z * unit(z.mean(-2, keepdim=True))).sum(-1).mean((-2, -1))
    scale = z.shape[-1] / (z.shape[-3] * distortion)
    return -coding_rate(z.transpose(-2, -3), scale).mean(-1) - invariance * agreement


def centre(z: Views) -> Float[Tensor, "*batch J n d"]:
    """Each view with the mean of its batch subtracted, views first."""
    views = wide(z).transpose(-2, -3).contiguous()
    return views - views.mean(-2, keepdim=True)


def without_rounding(z: Views) -> Float[Tensor, "*batch J n d"]:
    """The same, where columns that vary by no more than ten spacings of their mean are zero.

    What is left of a constant 0.1 less its mean is rounding, equal in all rows: normalised, it would correlate.
    """
    views = wide(z).transpose(-2, -3).contiguous()
    mean = views.mean(-2, keepdim=True)
    centred = views - mean
    rounding = (10 * torch.finfo(views.dtype).eps * mean).square()
    return torch.where(centred.square().mean(-2, keepdim=True) <= rounding, 0, centred)


def whiten(centred: Float[Tensor, "*batch n d"], epsilon: float) -> Float[Tensor, "*batch n d"]:
    """Centred data with covariance I, by Cholesky factors of `Cov + epsilon tr(Cov) I`."""
    covariance = centred.mT @ centred / (centred.shape[-2] - 1)
    trace = covariance.diagonal(0, -2, -1).sum(-1)[..., None, None]
    ridge = epsilon * trace + 1e-12 * (epsilon > 0)
    identity = torch.eye(centred.shape[-1], dtype=centred.dtype, device=centred.device)
    factor, info = torch.linalg.cholesky_ex(covariance + ridge * identity)  # raises nothing, so waits for nothing
    if epsilon == 0:
        factor = torch.where(info[..., None, None] > 0, torch.nan, factor)
    return torch.linalg.solve_triangular(factor, centred.mT, upper=False).mT


def coding_rate(z: Float[Tensor, "*batch n d"], scale: float) -> Float[Tensor, "*batch"]:
    """`1/2 log det(I + scale Z'Z)`, from the smaller Gram matrix."""
    gram = z.mT @ z if z.shape[-1] <= z.shape[-2] else z @ z.mT
    identity = torch.eye(gram.shape[-1], dtype=z.dtype, device=z.device)
    factor = torch.linalg.cholesky_ex(identity + scale * gram).L
    return factor.diagonal(0, -2, -1).log().sum(-1)


def second_moments(
    centred: Float[Tensor, "*batch n d"],
) -> tuple[Float[Tensor, "*batch d"], Float[Tensor, "*batch"]]:
    """Diagonal of `Z'Z`, and the sum of the squares of its other entries."""
    if centred.shape[-1] > centred.shape[-2]:
        squared, energy = centred.square().sum(-2), cross_energy(centred, centred)
    else:
        gram = centred.mT @ centred
        squared, energy = gram.diagonal(0, -2, -1), gram.square().sum((-2, -1))
    return squared, energy - squared.square().sum(-1)


def cross_energy(a: Float[Tensor, "*batch n d"], b: Float[Tensor, "*batch n d"]) -> Float[Tensor, "*batch"]:
    """`|A'B|_F^2 = <AA', BB'>`, by whichever matrices are smaller."""
    n, d = a.shape[-2:]
    if d <= n:
        return (a.mT @ b).square().sum((-2, -1))
    return ((a @ a.mT) * (b @ b.mT)).sum((-2, -1))
