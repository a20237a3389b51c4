"""Mixtures of Gaussians as answers: posteriors of content, latents and style."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from synthetic.refusal import NotExact


@dataclass(frozen=True)
class GaussianMixture:
    """A mixture of Gaussians for each of n data.

    `covariances` are `(C, q, q)`, shared by the data, or `(n, C, q, q)`; they may be singular (a quantity that is
    known), then `log_prob` is refused.
    """

    log_weights: Float[Tensor, "n C"]
    means: Float[Tensor, "n C q"]
    covariances: Float[Tensor, "*n C q q"]

    @property
    def mean(self) -> Float[Tensor, "n q"]:
        return torch.einsum("nc,ncq->nq", self.log_weights.exp(), self.means)

    @property
    def covariance(self) -> Float[Tensor, "n q q"]:
        """Covariance of the mixture: within components plus between them."""
        weights = self.log_weights.exp()[..., None, None]
        centred = self.means - self.mean[:, None]
        return (weights * (self.covariances + centred[..., :, None] * centred[..., None, :])).sum(1)

    def sample(self, samples: int, generator: torch.Generator) -> Float[Tensor, "S n q"]:
        """Draws for each datum."""
        n, components, size = self.means.shape
        uniform = torch.rand(samples, n, 1, generator=generator, device=self.means.device, dtype=self.means.dtype)
        chosen = (uniform > self.log_weights.exp().cumsum(-1)[..., :-1]).sum(-1)
        values, vectors = torch.linalg.eigh(self.covariances)
        roots = (vectors * values.clamp_min(0).sqrt()[..., None, :]).expand(n, components, size, size)
        shape = (samples, n, size)
        normal = torch.randn(shape, generator=generator, device=self.means.device, dtype=self.means.dtype)
        data = torch.arange(n, device=self.means.device)
        return self.means[data, chosen] + torch.einsum("snij,snj->sni", roots[data, chosen], normal)

    def log_prob(self, value: Float[Tensor, "n q"]) -> Float[Tensor, " n"]:
        """Log-density at one value a datum."""
        scale = torch.linalg.cholesky_ex(self.covariances)
        if bool((scale.info != 0).any()):
            raise NotExact("the posterior knows a coordinate exactly and has no density", "use its mean and covariance")
        residual = (value[:, None] - self.means)[..., None]
        white = torch.linalg.solve_triangular(scale.L, residual, upper=False)[..., 0]
        log_volume = scale.L.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        log_density = -0.5 * (white.square().sum(-1) + value.shape[-1] * math.log(2 * math.pi)) - log_volume
        return (self.log_weights + log_density).logsumexp(-1)
