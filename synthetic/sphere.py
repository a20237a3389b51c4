"""The spherical world: content uniform on the unit sphere, views von Mises-Fisher around it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from synthetic.content import Content
from synthetic.exact.bessel import log_area, log_vmf_normaliser
from synthetic.exact.law import Law
from synthetic.exact.spherical import SphericalLaw
from synthetic.parts import Number, normal, require_positive
from synthetic.style import Centred

PROPOSALS = 24  # a vMF draw is the first accepted of these; at least 65 % are, so all fail in 1e-11 of the draws


@dataclass(frozen=True, eq=False, repr=False)
class Sphere(Content):
    """`y` uniform on the unit sphere in `size` dimensions, without classes."""

    size: int

    def __post_init__(self) -> None:
        if self.size < 2:
            raise ValueError(f"expected a sphere in at least 2 dimensions, found {self.size}")

    @property
    def dim(self) -> int:
        return self.size

    def sample(
        self, n: int, generator: torch.Generator, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "n dc"], Int64[Tensor, " n"] | None]:
        return functional.normalize(normal((n, self.size), generator, dtype), dim=-1), None

    def moments(self, like: Tensor) -> tuple[Float[Tensor, " dc"], Float[Tensor, "dc dc"]]:
        mean = like.new_zeros(self.size)
        return mean, torch.diag(torch.full_like(mean, 1 / self.size))

    def entropy(self, like: Tensor) -> float:
        return log_area(self.size)

    def surrounded(self, kappa: float, anchored: bool, like: Tensor) -> Law:
        return SphericalLaw(self.size, torch.as_tensor(kappa).to(like), anchored)

    def formula(self) -> str:
        return f"y uniform on the unit sphere of R^{self.size}"


@dataclass(frozen=True, eq=False, repr=False)
class VonMisesFisher(Centred):
    """`z^j ~ vMF(y, kappa)` around content on the unit sphere; style is the part of z^j tangent to it at y.

    `style^j = z^j - (y'z^j) y` has mean zero given y. An `anchored` world shows content as its first view, the
    positive pairs of Zimmermann et al. (2021, arXiv 2102.08850). Sampling is by the rejection of Wood (1994),
    vectorised.
    """

    kappa: Number
    anchored: bool = False

    def __post_init__(self) -> None:
        require_positive("concentration kappa", self.kappa)

    @property
    def exchangeable(self) -> bool:
        return not self.anchored

    def style_dim(self, content_dim: int) -> int:
        return content_dim

    def latent_dim(self, content_dim: int) -> int:
        return content_dim

    def sample(
        self, content: Float[Tensor, "n dc"], views: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "n J d"], Float[Tensor, "n J ds"]]:
        n, size = content.shape
        gap = self._gaps((n, views), size, generator, content.dtype)
        direction = normal((n, views, size), generator, content.dtype)
        direction = direction - (direction * content[:, None]).sum(-1, keepdim=True) * content[:, None]
        if self.anchored:
            gap = torch.cat((torch.zeros_like(gap[:, :1]), gap[:, 1:]), 1)
        sine = (gap * (2 - gap)).clamp_min(0).sqrt()
        style = sine[..., None] * functional.normalize(direction, dim=-1)
        return (1 - gap[..., None]) * content[:, None] + style, style

    def _gaps(
        self, shape: tuple[int, ...], size: int, generator: torch.Generator, dtype: torch.dtype
    ) -> Float[Tensor, "n J"]:
        """`1 - t` for `t = y'z` of vMF vectors, whose density is as `exp(kappa t) (1 - t^2)^((d-3)/2)`."""
        half, kappa = (size - 1) / 2, float(self.kappa)
        b = half / (kappa + math.hypot(kappa, half))
        centre = (1 - b) / (1 + b)
        c = kappa * centre + (size - 1) * math.log1p(-(centre**2))
        uniform = torch.rand((3, *shape, PROPOSALS), generator=generator, device=generator.device, dtype=dtype)
        radius = (1 - uniform[0] ** (2 / (size - 2) if size > 2 else math.inf)).sqrt()
        beta = 0.5 + 0.5 * radius * (2 * math.pi * uniform[1]).cos()  # symmetric beta of parameter half, Ulrich (1984)
        gap = 2 * b * beta / (1 - (1 - b) * beta)
        t = 1 - gap
        accepted = kappa * t + (size - 1) * torch.log1p(-centre * t) - c >= uniform[2].log()
        first = accepted.to(torch.int8).argmax(-1, keepdim=True)
        return gap.gather(-1, first)[..., 0]

    def law(self, content: Content, like: Tensor) -> Law:
        return content.surrounded(float(self.kappa), self.anchored, like)

    def log_prob(self, z: Float[Tensor, "n J d"], content: Float[Tensor, "S dc"]) -> Float[Tensor, "n S"]:
        if self.anchored:
            return super().log_prob(z, content)
        normaliser = log_vmf_normaliser(z.shape[-1], torch.as_tensor(float(self.kappa)).to(z))
        return z.shape[1] * normaliser + self.kappa * (z.sum(1) @ content.mT)

    def formula(self) -> str:
        anchor = ", z^1 = y" if self.anchored else ""
        return f"z^j ~ vMF(y, {self.kappa:g}){anchor}, style = z^j - (y.z^j) y"
