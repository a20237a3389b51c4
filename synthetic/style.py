"""Style conditionals p(z^j | y): what each view redraws.

Style is a residual around a centre that content sets, one draw per view (see `innovations` for what views may share),
arranged either additively (`Isotropic`: `z^j = y + r^j`) or in a block of its own (`Block`: `z^j = (y, s^j)`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from synthetic.content import Content
from synthetic.dependence import Dependence
from synthetic.exact.gaussian import LinearGaussian
from synthetic.exact.hierarchy import Arrangement, hierarchy
from synthetic.exact.law import Law
from synthetic.innovations import Innovations, show
from synthetic.parts import Number, Part
from synthetic.refusal import NotExact


@dataclass(frozen=True, eq=False, repr=False)
class Style(Part):
    """A conditional of the latent given content."""

    @property
    def exchangeable(self) -> bool:
        """Whether the views of a datum may be swapped without changing their law."""
        return True

    def view(self, j: int) -> Style:
        """The style of view j alone: mostly every view has the same."""
        return self

    def style_dim(self, content_dim: int) -> int:
        raise NotImplementedError

    def latent_dim(self, content_dim: int) -> int:
        raise NotImplementedError

    def sample(
        self, content: Float[Tensor, "n dc"], views: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "n J d"], Float[Tensor, "n J ds"]]:
        """Latents and style of `views` views of each datum."""
        raise NotImplementedError

    def law(self, content: Content, like: Tensor) -> Law:
        """The joint law of content, latents and style, where it has exact answers."""
        raise NotExact(f"style {self.formula()} has no exact law", "use synthetic.monte_carlo")

    def log_prob(self, z: Float[Tensor, "n J d"], content: Float[Tensor, "S dc"]) -> Float[Tensor, "n S"]:
        """`log p(z^{1:J} | y)` of every datum and every content, where the latent has a density given content."""
        raise NotExact(f"style {self.formula()} has no density of z given y", "add observation noise")

    def conditional_mean(self, content: Float[Tensor, "n dc"]) -> Float[Tensor, "n ds"]:
        """`E[s | y]`."""
        raise NotExact(f"style {self.formula()} does not say E[s | y]", "give it a conditional_mean")

    def floor(self, content: Content, like: Tensor) -> Float[Tensor, " ds"]:
        """`R^2(s_i | y) = Var E[s_i | y] / Var s_i` of each style coordinate (of the first view)."""
        raise NotExact(f"style {self.formula()} does not say R^2(s | y)", "give it a floor, or derive it from Centred")


class Centred(Style):
    """Style whose mean given content is zero: content tells nothing of it, as far as means go."""

    def conditional_mean(self, content: Float[Tensor, "n dc"]) -> Float[Tensor, "n ds"]:
        return content.new_zeros(len(content), self.style_dim(content.shape[1]))

    def floor(self, content: Content, like: Tensor) -> Float[Tensor, " ds"]:
        return like.new_zeros(self.style_dim(content.dim))


@dataclass(frozen=True, eq=False, repr=False)
class Isotropic(Centred):
    """`z^j = y + std * eps^j`: style is the deviation of a view from its content, in every latent direction.

    `std` is a number or, for an anisotropic spectrum, one number a coordinate. The other fields are those of
    `Innovations`.
    """

    std: Number | Float[Tensor, " d"] = 1.0
    p_keep: Number | Float[Tensor, " d"] = 0.0
    p_change: Number | Float[Tensor, " d"] | None = None
    shape: Number = 2.0

    def __post_init__(self) -> None:
        _require_std(self.std)
        _ = self.innovations

    @cached_property
    def innovations(self) -> Innovations:
        return Innovations(self.p_keep, self.p_change, self.shape)

    def style_dim(self, content_dim: int) -> int:
        return content_dim

    def latent_dim(self, content_dim: int) -> int:
        sizes = self.innovations.sizes | _sizes(self.std)
        if sizes - {content_dim}:
            raise ValueError(f"expected std and p_keep of {content_dim} coordinates, found {sorted(sizes)}")
        return content_dim

    def sample(
        self, content: Float[Tensor, "n dc"], views: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "n J d"], Float[Tensor, "n J ds"]]:
        n, size = content.shape
        style = self.std * self.innovations.draw(n, views, size, generator, content.dtype)
        return content[:, None] + style, style

    def law(self, content: Content, like: Tensor) -> Law:
        keep = self.innovations.keeping(content.dim)
        law = content.deviated(_vector(self.std, content.dim, like), keep)
        return law if self.p_change is None or not any(keep) else _for_pairs(law)

    def log_prob(self, z: Float[Tensor, "n J d"], content: Float[Tensor, "S dc"]) -> Float[Tensor, "n S"]:
        if not self.innovations.redrawn:
            return super().log_prob(z, content)
        std = _vector(self.std, z.shape[-1], z)
        eps = (z[:, None] - content[:, None]) / std
        return (self.innovations.log_density(eps) - std.log()).sum((-1, -2))

    def formula(self) -> str:
        return f"z^j = y + {_scale(self.std)} eps^j, style = z^j - y, {self.innovations.formula()}"


@dataclass(frozen=True, eq=False, repr=False)
class Block(Style):
    """`z^j = (y, s^j)`, `s^j = m(y) + exp(g(y)) * std * F eps^j`: content and style in coordinates of their own.

    `size` style coordinates; `std` a number or one a coordinate; `mean` m and `log_scale` g are a `Dependence` of
    content, None for zero; `factor` F correlates the style coordinates (then it is innovations, not coordinates, that
    `p_keep` keeps), None for the identity. The other fields are those of `Innovations`.
    """

    size: int
    std: Number | Float[Tensor, " ds"] = 1.0
    mean: Dependence | None = None
    p_keep: Number | Float[Tensor, " ds"] = 0.0
    p_change: Number | Float[Tensor, " ds"] | None = None
    shape: Number = 2.0
    log_scale: Dependence | None = None
    factor: Float[Tensor, "ds ds"] | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"expected at least one style coordinate, found size={self.size}")
        _require_std(self.std)
        sizes = self.innovations.sizes | _sizes(self.std) | _sizes(self.factor)
        sizes |= {part.output_dim for part in (self.mean, self.log_scale) if part}
        if sizes - {self.size}:
            raise ValueError(f"expected every parameter of {self.size} style coordinates, found {sorted(sizes)}")

    @cached_property
    def innovations(self) -> Innovations:
        return Innovations(self.p_keep, self.p_change, self.shape)

    def style_dim(self, content_dim: int) -> int:
        return self.size

    def latent_dim(self, content_dim: int) -> int:
        for part in (self.mean, self.log_scale):
            if part and part.input_dim != content_dim:
                raise ValueError(f"expected a style mean of {content_dim} coordinates, found one of {part.input_dim}")
        return content_dim + self.size

    def sample(
        self, content: Float[Tensor, "n dc"], views: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "n J d"], Float[Tensor, "n J ds"]]:
        style = self.innovations.draw(len(content), views, self.size, generator, content.dtype)
        style = self.std * (style if self.factor is None else style @ self.factor.mT)
        if self.log_scale:
            style = style * self.log_scale(content)[:, None].exp()
        if self.mean:
            style = style + self.mean(content)[:, None]
        return torch.cat((content[:, None].expand(-1, views, -1), style), -1), style

    def law(self, content: Content, like: Tensor) -> LinearGaussian:
        if self.log_scale:
            raise NotExact("the covariance of style depends on content", "use synthetic.monte_carlo")
        weight, bias = (
            self.mean.affine() if self.mean else (like.new_zeros(self.size, content.dim), like.new_zeros(self.size))
        )
        style = Arrangement(weight.to(like), bias.to(like), torch.eye(self.size, device=like.device, dtype=like.dtype))
        latent = style.beneath(torch.eye(content.dim, device=like.device, dtype=like.dtype))
        keep = self.innovations.keeping(self.size)
        law = hierarchy(content.components(like), self._factor(like), keep, latent, style)
        return law if self.p_change is None or not any(keep) else _for_pairs(law)

    def conditional_mean(self, content: Float[Tensor, "n dc"]) -> Float[Tensor, "n ds"]:
        return self.mean(content) if self.mean else content.new_zeros(len(content), self.size)

    def floor(self, content: Content, like: Tensor) -> Float[Tensor, " ds"]:
        if self.mean is None:
            return like.new_zeros(self.size)
        explained, left = self.mean.variance(content, like), self._factor(like).square().sum(-1)
        if self.log_scale:
            left = left * self.log_scale.mean_squared_scale(content, like)
        return explained / (explained + left)

    def _factor(self, like: Tensor) -> Float[Tensor, "ds ds"]:
        std = _vector(self.std, self.size, like)
        return torch.diag(std) if self.factor is None else std[:, None] * self.factor.to(like)

    def formula(self) -> str:
        mean = f"{self.mean.formula()} + " if self.mean else ""
        gain = f"exp({self.log_scale.formula()}) " if self.log_scale else ""
        factor = " F" if self.factor is not None else ""
        style = f"s^j = {mean}{gain}{_scale(self.std)}{factor} eps^j in R^{self.size}"
        return f"z^j = (y, s^j), {style}, {self.innovations.formula()}"


@dataclass(frozen=True, eq=False, repr=False)
class Perturbed(Style):
    """Later views perturb the first: `s^1 = m(y) + F eps`, `s^j = s^1 + a^j * G delta^j` for j > 1.

    `a^j` is 1 with probability `p_change`, independently for each coordinate, datum and view, and 0 otherwise; `eps`
    and `delta^j` are standard normal. The process of von Kuegelgen et al. (2021, arXiv 2106.04619): views are not
    exchangeable, and content is `z^j`'s first block.
    """

    factor: Float[Tensor, "ds ds"]
    change: Float[Tensor, "ds ds"]
    p_change: Number = 1.0
    mean: Dependence | None = None

    def __post_init__(self) -> None:
        Innovations(p_change=self.p_change)
        _ = self._first

    @property
    def exchangeable(self) -> bool:
        return False

    def view(self, j: int) -> Style:
        if j != 0:
            assumption = f"view({j}) is perturbed from the first and has another law than it"
            raise NotExact(assumption, "use view(0), or synthetic.monte_carlo.pmi of both views")
        return self

    @cached_property
    def _first(self) -> Block:
        return Block(len(self.factor), mean=self.mean, factor=self.factor)

    def style_dim(self, content_dim: int) -> int:
        return len(self.factor)

    def latent_dim(self, content_dim: int) -> int:
        return self._first.latent_dim(content_dim)

    def sample(
        self, content: Float[Tensor, "n dc"], views: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "n J d"], Float[Tensor, "n J ds"]]:
        _, first = self._first.sample(content, 1, generator)
        shape = (len(content), views - 1, len(self.factor))
        step = torch.randn(shape, generator=generator, device=generator.device, dtype=content.dtype) @ self.change.mT
        chosen = torch.rand(shape, generator=generator, device=generator.device, dtype=content.dtype) < self.p_change
        style = torch.cat((first, first + torch.where(chosen, step, 0)), 1)
        return torch.cat((content[:, None].expand(-1, views, -1), style), -1), style

    def law(self, content: Content, like: Tensor) -> LinearGaussian:
        law = self._first.law(content, like)
        return dataclasses.replace(law, most_views=1, why="views are perturbed from the first and not exchangeable")

    def conditional_mean(self, content: Float[Tensor, "n dc"]) -> Float[Tensor, "n ds"]:
        return self._first.conditional_mean(content)

    def floor(self, content: Content, like: Tensor) -> Float[Tensor, " ds"]:
        return self._first.floor(content, like)

    def formula(self) -> str:
        mean = f"{self.mean.formula()} + " if self.mean else ""
        step = f"s^j = s^1 + a^j * G delta^j (a^j ~ Bernoulli({self.p_change:g}))"
        return f"z^j = (y, s^j), s^1 = {mean}F eps in R^{len(self.factor)}, {step}"


def _for_pairs(law: Law) -> LinearGaussian:
    assert isinstance(law, LinearGaussian)
    return dataclasses.replace(
        law, most_views=2, why="style changes partially (p_change), a keep pattern only for pairs"
    )


def _require_std(std: Number | Tensor) -> None:
    if not bool(torch.as_tensor(std > 0).all()):
        raise ValueError(f"expected positive style standard deviations, found {show(std)}")


def _sizes(*values: Number | Tensor | None) -> set[int]:
    return {size for value in values if isinstance(value, Tensor) for size in value.shape}


def _vector(value: Number | Tensor, size: int, like: Tensor) -> Float[Tensor, " ds"]:
    return torch.as_tensor(value, device=like.device, dtype=like.dtype).expand(size)


def _scale(std: Number | Tensor) -> str:
    return "std *" if isinstance(std, Tensor) else f"{std:g}"
