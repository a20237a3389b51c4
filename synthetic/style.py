"""Style conditionals p(z^j | y): what each view redraws.

Style is a residual `r^j = factor eps^j` around a centre, `eps^j ~ N(0, I)`, one draw per view, arranged
either additively (`Isotropic`: `z^j = y + r^j`) or in a block of its own (`Block`: `z^j = (y, s^j)`, `s^j =
m(y) + r^j`).

Keeping. With probability `p_keep[i]`, independently for each datum and each coordinate i, the innovation
`eps_i` is drawn once and shared by all views of the datum; otherwise every view draws its own. For a
diagonal factor the innovation is the style coordinate itself. The law of a single view does not depend on
`p_keep`. 0: redrawn by every view (style); 1: never varies (content, in all but name).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from synthetic.content import Content, normal
from synthetic.dependence import Dependence
from synthetic.exact.gaussian import LinearGaussian
from synthetic.exact.hierarchy import Arrangement, hierarchy
from synthetic.parts import Number, Part
from synthetic.refusal import NotExact


@dataclass(frozen=True, eq=False, repr=False)
class Style(Part):
    """A conditional of the latent given content; `sample` gives the latents and the style of every view."""

    def style_dim(self, content_dim: int) -> int:
        raise NotImplementedError

    def latent_dim(self, content_dim: int) -> int:
        raise NotImplementedError

    def sample(
        self, content: Float[Tensor, "n dc"], views: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "n J d"], Float[Tensor, "n J ds"]]:
        """Latents and style of `views` views of each datum."""
        raise NotImplementedError

    def law(self, content: Content, device: torch.device, dtype: torch.dtype) -> LinearGaussian:
        """The joint law of content, latents and style as a mixture of linear-Gaussian hierarchies, where it
        is one.
        """
        raise NotExact(
            f"style {self.formula()} is not Gaussian given content",
            "use the functions of synthetic.monte_carlo",
        )

    def floor(self, content: Content, device: torch.device, dtype: torch.dtype) -> Float[Tensor, " ds"]:
        """`R^2(s_i | y) = Var E[s_i | y] / Var s_i` of each style coordinate."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False, repr=False)
class Isotropic(Style):
    """`z^j = y + std * eps^j`: style is the deviation of a view from its content, in every direction of the
    latent space.

    `std` is a number or, for an anisotropic spectrum, one number a coordinate; `p_keep` likewise.
    """

    std: Number | Float[Tensor, " d"] = 1.0
    p_keep: Number | Float[Tensor, " d"] = 0.0

    def __post_init__(self) -> None:
        _check_std(self.std)
        _check_probability("p_keep", self.p_keep)

    def style_dim(self, content_dim: int) -> int:
        return content_dim

    def latent_dim(self, content_dim: int) -> int:
        for name, value in (("std", self.std), ("p_keep", self.p_keep)):
            if isinstance(value, Tensor) and len(value) != content_dim:
                raise ValueError(f"expected {name} of isotropic style of {content_dim} coordinates, found {len(value)}")
        return content_dim

    def sample(
        self, content: Float[Tensor, "n dc"], views: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "n J d"], Float[Tensor, "n J ds"]]:
        style = self.std * innovations(content.shape, views, self.p_keep, generator, content.dtype)
        return content[:, None] + style, style

    def law(self, content: Content, device: torch.device, dtype: torch.dtype) -> LinearGaussian:
        size = content.dim
        one, zero = torch.eye(size, device=device, dtype=dtype), torch.zeros(size, device=device, dtype=dtype)
        factor = torch.diag(_vector(self.std, size, device, dtype))
        latent, style = Arrangement(one, zero, one), Arrangement(0 * one, zero, one)
        return hierarchy(content.components(device, dtype), factor, _listed(self.p_keep, size), latent, style)

    def floor(self, content: Content, device: torch.device, dtype: torch.dtype) -> Float[Tensor, " ds"]:
        return torch.zeros(content.dim, device=device, dtype=dtype)

    def formula(self) -> str:
        scale = f"{self.std:g}" if isinstance(self.std, float | int) else "std o"
        return f"z^j = y + {scale} eps^j, style = z^j - y" + _kept(self.p_keep)


@dataclass(frozen=True, eq=False, repr=False)
class Block(Style):
    """`z^j = (y, s^j)`, `s^j = m(y) + std * eps^j`: content and style are coordinates of their own.

    `size` style coordinates; `std` a number or one a coordinate; `mean` a `Dependence` of content, None for
    zero.
    """

    size: int
    std: Number | Float[Tensor, " ds"] = 1.0
    mean: Dependence | None = None
    p_keep: Number | Float[Tensor, " ds"] = 0.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"expected at least one style coordinate, found size={self.size}")
        _check_std(self.std)
        _check_probability("p_keep", self.p_keep)
        found = {len(value) for value in (self.std, self.p_keep) if isinstance(value, Tensor)}
        found |= {self.mean.output_dim} if self.mean else set()
        if found - {self.size}:
            raise ValueError(f"expected std, mean and p_keep of {self.size} style coordinates, found {sorted(found)}")

    def style_dim(self, content_dim: int) -> int:
        return self.size

    def latent_dim(self, content_dim: int) -> int:
        if self.mean and self.mean.input_dim != content_dim:
            raise ValueError(f"expected a style mean of {content_dim} coordinates, found one of {self.mean.input_dim}")
        return content_dim + self.size

    def sample(
        self, content: Float[Tensor, "n dc"], views: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "n J d"], Float[Tensor, "n J ds"]]:
        shape = torch.Size((len(content), self.size))
        style = self.std * innovations(shape, views, self.p_keep, generator, content.dtype)
        if self.mean:
            style = style + self.mean(content)[:, None]
        return torch.cat((content[:, None].expand(-1, views, -1), style), -1), style

    def law(self, content: Content, device: torch.device, dtype: torch.dtype) -> LinearGaussian:
        weight, bias = self._affine(content.dim, device, dtype)
        style = Arrangement(weight, bias, torch.eye(self.size, device=device, dtype=dtype))
        latent = style.beneath(torch.eye(content.dim, device=device, dtype=dtype))
        factor = torch.diag(_vector(self.std, self.size, device, dtype))
        return hierarchy(content.components(device, dtype), factor, _listed(self.p_keep, self.size), latent, style)

    def floor(self, content: Content, device: torch.device, dtype: torch.dtype) -> Float[Tensor, " ds"]:
        if self.mean is None:
            return torch.zeros(self.size, device=device, dtype=dtype)
        weight, _ = self._affine(content.dim, device, dtype)
        explained = (weight @ content.moments(device, dtype)[1] * weight).sum(-1)
        return explained / (explained + _vector(self.std, self.size, device, dtype) ** 2)

    def _affine(self, dim: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, " Tensor"]:
        if self.mean is None:
            zeros = torch.zeros(self.size, dim + 1, device=device, dtype=dtype)
            return zeros[:, :dim], zeros[:, dim]
        weight, bias = self.mean.affine()
        return weight.to(device, dtype), bias.to(device, dtype)

    def formula(self) -> str:
        scale = f"{self.std:g}" if isinstance(self.std, float | int) else "std o"
        mean = f"{self.mean.formula()} + " if self.mean else ""
        return f"z^j = (y, s^j), s^j = {mean}{scale} eps^j in R^{self.size}" + _kept(self.p_keep)


def innovations(
    shape: torch.Size, views: int, p_keep: Number | Tensor, generator: torch.Generator, dtype: torch.dtype
) -> Float[Tensor, "n J ds"]:
    """Standard normal innovations of every view, each coordinate shared by the views with probability
    `p_keep`.
    """
    n, size = shape
    if isinstance(p_keep, float | int) and p_keep == 0:
        return normal((n, views, size), generator, dtype)
    shared = normal((n, 1, size), generator, dtype)
    if isinstance(p_keep, float | int) and p_keep == 1:
        return shared.expand(-1, views, -1)
    keep = torch.rand((n, 1, size), generator=generator, device=generator.device, dtype=dtype) < p_keep
    return torch.where(keep, shared, normal((n, views, size), generator, dtype))


def _check_std(std: Number | Tensor) -> None:
    if not bool(torch.as_tensor(std > 0).all()):
        raise ValueError(f"expected positive style standard deviations, found {_show(std)}")


def _check_probability(name: str, value: Number | Tensor) -> None:
    if not bool(torch.as_tensor((value >= 0) & (value <= 1) if isinstance(value, Tensor) else 0 <= value <= 1).all()):
        raise ValueError(f"expected {name} between 0 and 1, found {_show(value)}")


def _show(value: Number | Tensor) -> str:
    return str(value.tolist() if isinstance(value, Tensor) else value)


def _vector(value: Number | Tensor, size: int, device: torch.device, dtype: torch.dtype) -> Float[Tensor, " ds"]:
    return torch.as_tensor(value, device=device, dtype=dtype).expand(size)


def _listed(value: Number | Tensor, size: int) -> list[float]:
    return value.tolist() if isinstance(value, Tensor) else [float(value)] * size


def _kept(p_keep: Number | Tensor) -> str:
    return (
        ""
        if isinstance(p_keep, float | int) and p_keep == 0
        else f", kept across views with probability {_show(p_keep)}"
    )
