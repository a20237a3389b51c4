"""Priors `log p(z^{1:J})`: the joint density of all views of a data point, with the content y integrated out.

Every prior is a small frozen object; `.log_prob(z: (*batch, n, J, d)) -> (*batch, n)`, in nats, with every
normalising constant. Parameters are floats or tensors; tensors may carry the leading batch axes of an ensemble and
may require gradients, so that a prior is learned by handing it the parameters of the moment.

Source of the model: Bizeul, Schölkopf, Allen (2024), arXiv 2402.01399.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.losses.bessel import log_sphere_area, log_vmf_normaliser
from ssl_theory.losses.critics import negative_squared_distance
from ssl_theory.losses.views import LOG_2PI, log, per_member, spread, wide


@runtime_checkable
class Prior(Protocol):
    """Anything that gives the log-density of the views of each data point."""

    def log_prob(self, z: Float[Tensor, "*batch n J d"]) -> Float[Tensor, "*batch n"]: ...


@dataclass(frozen=True)
class Gaussian:
    """Gaussian content `y ~ N(0, gamma^2 I)`, Gaussian style `z^j | y ~ N(y, sigma^2 I)`.

    log p = -1/2 [ d((J-1) log sigma^2 + log(sigma^2 + J gamma^2) + J log 2pi)
                   + sum_j |z^j - zbar|^2 / sigma^2 + J |zbar|^2 / (sigma^2 + J gamma^2) ]

    `style_variance` is sigma^2 (0.15 in the paper's experiments), `content_variance` is gamma^2; floats or tensors
    of shape `(*batch)`. `Gaussian(1.0, 0.0)` makes the views independent and standard normal: the ordinary VAE.
    """

    style_variance: float | Tensor = 0.15
    content_variance: float | Tensor = 1.0

    def log_prob(self, z: Float[Tensor, "*batch n J d"]) -> Float[Tensor, "*batch n"]:
        z = wide(z)
        J, d = z.shape[-2:]
        style, content = per_member(self.style_variance, 1), per_member(self.content_variance, 1)
        centre = style + J * content  # J times the variance of zbar
        log_det = d * ((J - 1) * log(style) + log(centre) + J * LOG_2PI)
        return -0.5 * (log_det + spread(z) / style + J * z.mean(-2).square().sum(-1) / centre)


@dataclass(frozen=True)
class Flat:
    """Improper content `p(y) = 1`, Gaussian style; the limit of Gaussian content, plus `d/2 log(2 pi gamma^2)`.

    log p = - sum_j |z^j - zbar|^2 / (2 sigma^2) - d(J-1)/2 log(2 pi sigma^2) - d/2 log J

    A density in the differences between the views only; J = 2 gives `log N(z'; z, 2 sigma^2 I)`.
    """

    style_variance: float | Tensor = 0.15

    def log_prob(self, z: Float[Tensor, "*batch n J d"]) -> Float[Tensor, "*batch n"]:
        z = wide(z)
        J, d = z.shape[-2:]
        style = per_member(self.style_variance, 1)
        log_normaliser = d / 2 * ((J - 1) * (LOG_2PI + log(style)) + math.log(J))
        return -spread(z) / (2 * style) - log_normaliser


@dataclass(frozen=True)
class Mixture:
    """Discrete content, `y in {1..K}`: all views of a data point come from the same one of K Gaussians.

    log p = logsumexp_k [ log pi_k + sum_j log N(z^j; mu_k, sigma^2 I) ]

    `means` (K, d) or (*batch, K, d); `weights` pi (K,) or (*batch, K), rescaled to sum to one, uniform when None.
    """

    means: Tensor
    style_variance: float | Tensor = 0.15
    weights: Tensor | None = None

    def log_joint(self, z: Float[Tensor, "*batch n J d"]) -> Float[Tensor, "*batch n K"]:
        """`log p(z^{1:J}, y = k)`; its softmax over k is the posterior of the label."""
        z = wide(z)
        J, d = z.shape[-2:]
        style = per_member(self.style_variance, 2)
        # sum_j |z^j - mu|^2 = spread + J |zbar - mu|^2, the last term by one matrix product:
        offset = -negative_squared_distance(z.mean(-2), self.means.expand(*z.shape[:-3], *self.means.shape[-2:]))
        log_likelihood = -0.5 * ((spread(z)[..., None] + J * offset) / style + J * d * (LOG_2PI + log(style)))
        return log_likelihood + self._log_weights()

    def _log_weights(self) -> float | Tensor:
        if self.weights is None:
            return -math.log(self.means.shape[-2])
        return (self.weights / self.weights.sum(-1, keepdim=True)).log()[..., None, :]

    def log_prob(self, z: Float[Tensor, "*batch n J d"]) -> Float[Tensor, "*batch n"]:
        return self.log_joint(z).logsumexp(-1)


@dataclass(frozen=True)
class PlugIn:
    """The mean of the views plugged in for y, as published code does: not a density in `z^{1:J}`.

    log p(z^{1:J} | y = zbar) = -1/2 [ sum_j |z^j - zbar|^2 / sigma^2 + J d log(2 pi sigma^2) ]
                                [ + log N(zbar; 0, gamma^2 I) when `content_variance` is given ]
    """

    style_variance: float | Tensor = 0.15
    content_variance: float | Tensor | None = None

    def log_prob(self, z: Float[Tensor, "*batch n J d"]) -> Float[Tensor, "*batch n"]:
        z = wide(z)
        J, d = z.shape[-2:]
        style = per_member(self.style_variance, 1)
        log_conditional = -0.5 * (spread(z) / style + J * d * (LOG_2PI + log(style)))
        if self.content_variance is None:
            return log_conditional
        content = per_member(self.content_variance, 1)
        log_centre = -0.5 * (z.mean(-2).square().sum(-1) / content + d * (LOG_2PI + log(content)))
        return log_conditional + log_centre


@dataclass(frozen=True)
class IntraClass:
    """Each latent dimension with its own intra-class correlation rho: content where rho -> 1, style where rho -> 0.

    `y_d ~ N(0, rho_d)`, `z^j_d | y ~ N(y_d, 1 - rho_d)`, so that every marginal is N(0, 1):

    log p(z^{1:J}) = -1/2 sum_d [ (J-1) log(1-rho) + log(1-rho + J rho) + J log 2pi
                                  + sum_j (z^j - zbar)^2 / (1-rho) + J zbar^2 / (1-rho + J rho) ]

    `correlation` and `complement` = 1 - rho have shape (d,) or (*batch, d) or () for one rho in all dimensions.
    Learn rho through `from_logits`, which keeps 1 - rho accurate as rho -> 1.
    """

    correlation: Tensor
    complement: Tensor

    @classmethod
    def from_logits(cls, logits: Tensor) -> "IntraClass":
        """The prior with `rho = sigmoid(logits)`."""
        return cls(torch.sigmoid(logits), torch.sigmoid(-logits))

    @classmethod
    def from_correlation(cls, correlation: Tensor) -> "IntraClass":
        """The prior with the given `rho`, strictly between 0 and 1."""
        return cls(correlation, 1 - correlation)

    def log_prob(self, z: Float[Tensor, "*batch n J d"]) -> Float[Tensor, "*batch n"]:
        z = wide(z)
        J = z.shape[-2]
        style, content = self._per_point(self.complement), self._per_point(self.correlation)
        centre, mean = style + J * content, z.mean(-2)
        scatter = (z - mean[..., None, :]).square().sum(-2)
        log_det = (J - 1) * style.log() + centre.log() + J * LOG_2PI
        return -0.5 * (log_det + scatter / style + J * mean.square() / centre).sum(-1)

    @staticmethod
    def _per_point(value: Tensor) -> Tensor:
        return value[..., None, :] if value.ndim else value


@dataclass(frozen=True)
class VonMisesFisher:
    """Content uniform on the unit sphere, style `z^j | y ~ vMF(y, kappa)`.

    log p = J log C(kappa) - log S - log C(kappa |sum_j z^j|)

    C is the vMF normaliser, S the area of the sphere. J = 1 is the uniform density, -log S. `concentration` is kappa,
    a float or `(*batch)`. Not checked: z must hold unit vectors (`views.unit`).
    """

    concentration: float | Tensor = 1 / 0.15

    def log_prob(self, z: Float[Tensor, "*batch n J d"]) -> Float[Tensor, "*batch n"]:
        z = wide(z)
        J, d = z.shape[-2:]
        # filled on the device, not copied from the host: a copy could not be captured in a CUDA graph
        squared = z.new_ones(1) * per_member(self.concentration, 1) ** 2
        log_conditional = J * log_vmf_normaliser(d, squared)
        resultant = squared * z.sum(-2).square().sum(-1)
        return log_conditional - log_sphere_area(d) - log_vmf_normaliser(d, resultant)
