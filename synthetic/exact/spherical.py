"""Content uniform on the unit sphere, `z^j ~ vMF(y, kappa)`: everything through the vMF normaliser C and the area S.

    log p(z^{1:J}) = J log C(kappa) - log S - log C(kappa |sum_j z^j|)
    y | z^{1:J} ~ vMF(sum_j z^j / |sum_j z^j|, kappa |sum_j z^j|)
    I(z; y) = log C(kappa) + kappa A(kappa) + log S

*Anchored* worlds show content itself as the first view (Zimmermann et al. 2021, arXiv 2102.08850), so
`log p(z^{1:J}) = -log S + (J - 1) log C(kappa) + kappa sum_{j>1} z^1'z^j`.

Densities of latents are with respect to area on the sphere, and those of observations to area on its image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from synthetic.exact.bessel import log_area, log_vmf_normaliser, vmf_mean, vmf_variance_along
from synthetic.exact.law import Law
from synthetic.refusal import NotExact

KNOTS = 300  # of the Gauss-Legendre rule for I(z; z'), whose integrand is smooth in the angle


@dataclass(frozen=True)
class VonMisesFisherPosterior:
    """`vMF(direction_i, concentration_i)` for each of n data."""

    direction: Float[Tensor, "n d"]
    concentration: Float[Tensor, " n"]

    @property
    def mean(self) -> Float[Tensor, "n d"]:
        return vmf_mean(self.direction.shape[1], self.concentration)[:, None] * self.direction

    @property
    def covariance(self) -> Float[Tensor, "n d d"]:
        """`E yy' - (E y)(E y)'`: `1 - A^2 - (d-1) A / kappa` along the direction, `A / kappa` across."""
        size = self.direction.shape[1]
        across = torch.where(self.concentration > 0, vmf_mean(size, self.concentration) / self.concentration, 1 / size)
        along = vmf_variance_along(size, self.concentration)
        outer = self.direction[:, :, None] * self.direction[:, None]
        eye = torch.eye(size, device=outer.device, dtype=outer.dtype)
        return across[:, None, None] * (eye - outer) + along[:, None, None] * outer

    def log_prob(self, value: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Log-density with respect to area."""
        normaliser = log_vmf_normaliser(value.shape[1], self.concentration)
        return normaliser + self.concentration * (self.direction * value).sum(-1)


@dataclass(frozen=True)
class SphericalLaw(Law):
    """The law of noise-free views of content that is uniform on the sphere."""

    dim: int
    kappa: Float[Tensor, ""]
    anchored: bool = False

    @property
    def what(self) -> str:
        return "latents on a sphere"

    def log_offset(self, offset: Tensor, jacobian: Callable[[Tensor], Tensor], seen: Tensor) -> Tensor:
        """Minus the log-volume of the map along the sphere: `1/2 [log det M + log z'M^-1 z]`, `M = J'J`."""
        j = jacobian(seen)
        normal = torch.linalg.solve(j.mT @ j, seen[..., None])[..., 0]
        return offset - 0.5 * (seen * normal).sum(-1).log()

    def log_prob(self, seen: Float[Tensor, "n J q"]) -> Float[Tensor, " n"]:
        views = seen.shape[1]
        normaliser, area = log_vmf_normaliser(self.dim, self.kappa), log_area(self.dim)
        if self.anchored:
            agreement = (seen[:, :1] * seen[:, 1:]).sum((1, 2))
            return (views - 1) * normaliser - area + self.kappa * agreement
        return views * normaliser - area - log_vmf_normaliser(self.dim, self.kappa * seen.sum(1).norm(dim=-1))

    def pmi_matrix(self, first: Float[Tensor, "n q"], second: Float[Tensor, "l q"]) -> Float[Tensor, "n l"]:
        return self._pmi_of(first @ second.mT)

    def posterior(self, seen: Float[Tensor, "n J q"], name: str) -> VonMisesFisherPosterior:
        if name != "content" or self.anchored:
            shown = "the first view shows content itself" if self.anchored else f"{name} is seen without noise"
            raise NotExact(f"{shown}, a posterior without density", "read it off the decoded view")
        total = seen.sum(1)
        length = total.norm(dim=-1)
        return VonMisesFisherPosterior(total / length[:, None], self.kappa * length)

    def content_information(self) -> float:
        """`I(z; y)` of a view; infinite for the first of an anchored world."""
        return math.inf if self.anchored else self._view_information()

    def mutual_information(self) -> float:
        """`I(z; z')`: of an anchored world `I(z; y)`, otherwise a one-dimensional integral over the angle."""
        if self.anchored:
            return self._view_information()
        knots, weights = np.polynomial.legendre.leggauss(KNOTS)
        low, high = self._range()
        half = 0.5 * (high - low)
        angle = torch.as_tensor(low + half * (knots + 1)).to(self.kappa)
        pmi = self._pmi_of(angle.cos())
        log_ring = (self.dim - 2) * angle.sin().log() + log_area(self.dim - 1) - log_area(self.dim)
        return float((torch.as_tensor(weights * half).to(self.kappa) * pmi * (pmi + log_ring).exp()).sum())

    def r2(self, name: str) -> Float[Tensor, " q"]:
        """Content: `A(kappa)^2` in every coordinate; style lies in the tangent space, and is refused."""
        if name != "content" or self.anchored:
            raise self._refusal("r2 of anything but unanchored content")
        return vmf_mean(self.dim, self.kappa).square().expand(self.dim)

    def _view_information(self) -> float:
        mean = self.kappa * vmf_mean(self.dim, self.kappa)
        return float(log_vmf_normaliser(self.dim, self.kappa) + mean) + log_area(self.dim)

    def _pmi_of(self, cosine: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Pointwise mutual information of two views at an angle."""
        normaliser, area = log_vmf_normaliser(self.dim, self.kappa), log_area(self.dim)
        if self.anchored:
            return normaliser + area + self.kappa * cosine
        together = (2 + 2 * cosine).clamp_min(0).sqrt()
        return 2 * normaliser + area - log_vmf_normaliser(self.dim, self.kappa * together)

    def _range(self) -> tuple[float, float]:
        """Angles between which two views have all mass to speak of: `arccos A^2 +- 40 / sqrt(max(kappa, d))`.

        The angle's deviation is at most about `1 / sqrt(max(kappa, d))`, and the mean cosine `A(kappa)^2`. From 0 to
        `40 / sqrt(kappa)`, as long as that holds the mass and the rule's knots are dense enough in it.
        """
        kappa = float(self.kappa)
        deviation = 1 / math.sqrt(max(kappa, self.dim))
        centre = math.acos(min(1.0, float(vmf_mean(self.dim, self.kappa)) ** 2))
        cap = min(math.pi, 40 / math.sqrt(max(kappa, 1e-300)))
        if min(math.pi, centre + 8 * deviation) <= cap <= 140 * deviation:
            return 0.0, cap
        return max(0.0, centre - 40 * deviation), min(math.pi, centre + 40 * deviation)
