"""Functions of content that style may depend on: its mean m(y), and its log-scale."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from synthetic.parts import Part
from synthetic.refusal import NotExact


@dataclass(frozen=True, eq=False, repr=False)
class Dependence(Part):
    """A function of content `(n, dc) -> (n, ds)`."""

    @property
    def output_dim(self) -> int:
        raise NotImplementedError

    @property
    def input_dim(self) -> int:
        raise NotImplementedError

    def __call__(self, content: Float[Tensor, "*n dc"]) -> Float[Tensor, "*n ds"]:
        raise NotImplementedError

    def affine(self) -> tuple[Float[Tensor, "ds dc"], Float[Tensor, " ds"]]:
        """Weight and bias where the function is affine."""
        raise NotExact(
            f"style mean {self.formula()} is not affine in content",
            "use the functions of synthetic.monte_carlo",
        )


@dataclass(frozen=True, eq=False, repr=False)
class Affine(Dependence):
    """`m(y) = weight y + bias`."""

    weight: Float[Tensor, "ds dc"]
    bias: Float[Tensor, " ds"]

    @property
    def output_dim(self) -> int:
        return self.weight.shape[0]

    @property
    def input_dim(self) -> int:
        return self.weight.shape[1]

    def __call__(self, content: Float[Tensor, "*n dc"]) -> Float[Tensor, "*n ds"]:
        return content @ self.weight.mT + self.bias

    def affine(self) -> tuple[Float[Tensor, "ds dc"], Float[Tensor, " ds"]]:
        return self.weight, self.bias

    def formula(self) -> str:
        return "B y + b"
