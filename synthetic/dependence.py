"""Functions of content that style may depend on: its mean m(y), and the logarithm of its scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from synthetic.parts import Part
from synthetic.refusal import NotExact

if TYPE_CHECKING:
    from synthetic.content import Content


@dataclass(frozen=True, eq=False, repr=False)
class Dependence(Part):
    """A function of content, `(*n, dc) -> (*n, ds)`."""

    @property
    def input_dim(self) -> int:
        raise NotImplementedError

    @property
    def output_dim(self) -> int:
        raise NotImplementedError

    def __call__(self, content: Float[Tensor, "*n dc"]) -> Float[Tensor, "*n ds"]:
        raise NotImplementedError

    def affine(self) -> tuple[Float[Tensor, "ds dc"], Float[Tensor, " ds"]]:
        """Weight and bias where the function is affine."""
        raise NotExact(
            f"style depends on content by {self.formula()}, which is not affine", "use synthetic.monte_carlo"
        )

    def variance(self, content: Content, like: Tensor) -> Float[Tensor, " ds"]:
        """Variance over content of each value."""
        weight = self.affine()[0].to(like)
        return (weight @ content.moments(like)[1] * weight).sum(-1)

    def mean_squared_scale(self, content: Content, like: Tensor) -> Float[Tensor, " ds"]:
        """`E exp(2 g(y))` for the function g as a log-scale: a sum of log-normal means."""
        weight, bias = (part.to(like) for part in self.affine())
        parts = content.components(like)
        centre = 2 * (parts.mean @ weight.mT + bias)
        spread = 2 * (weight @ parts.factor).square().sum(-1)
        return parts.weights @ (centre + spread).exp()


@dataclass(frozen=True, eq=False, repr=False)
class Affine(Dependence):
    """`weight y + bias`."""

    weight: Float[Tensor, "ds dc"]
    bias: Float[Tensor, " ds"]

    @property
    def input_dim(self) -> int:
        return self.weight.shape[1]

    @property
    def output_dim(self) -> int:
        return self.weight.shape[0]

    def __call__(self, content: Float[Tensor, "*n dc"]) -> Float[Tensor, "*n ds"]:
        return content @ self.weight.mT + self.bias

    def affine(self) -> tuple[Float[Tensor, "ds dc"], Float[Tensor, " ds"]]:
        return self.weight, self.bias

    def formula(self) -> str:
        return "B y + b"


@dataclass(frozen=True, eq=False, repr=False)
class Smooth(Dependence):
    """`outer tanh(inner y + bias)`: a smooth nonlinear function, bounded by the row sums of |outer|."""

    inner: Float[Tensor, "h dc"]
    bias: Float[Tensor, " h"]
    outer: Float[Tensor, "ds h"]

    @property
    def input_dim(self) -> int:
        return self.inner.shape[1]

    @property
    def output_dim(self) -> int:
        return self.outer.shape[0]

    def __call__(self, content: Float[Tensor, "*n dc"]) -> Float[Tensor, "*n ds"]:
        return torch.tanh(content @ self.inner.mT + self.bias) @ self.outer.mT

    def formula(self) -> str:
        return "B tanh(A y + a)"


def smooth(
    input_dim: int, output_dim: int, generator: torch.Generator, *, hidden: int = 16, scale: float = 1.0
) -> Smooth:
    """A random smooth function with values of the order of `scale`."""
    inner = torch.randn(hidden, input_dim, generator=generator, dtype=torch.float64) / input_dim**0.5
    bias = torch.randn(hidden, generator=generator, dtype=torch.float64)
    outer = scale * torch.randn(output_dim, hidden, generator=generator, dtype=torch.float64) / hidden**0.5
    return Smooth(inner, bias, outer)
