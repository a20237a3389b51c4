"""The discrete world: finite alphabets of content and observation, with the exact joint table."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from synthetic.content import Content, categorical
from synthetic.exact.law import Law
from synthetic.exact.table import TableLaw
from synthetic.parts import distribution
from synthetic.style import Centred


@dataclass(frozen=True, eq=False, repr=False)
class Discrete(Content):
    """`y` is one of K symbols, written one-hot, `y ~ Cat(weights)`; it is its own label."""

    weights: Float[Tensor, " K"]

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", distribution("content", self.weights))

    @property
    def dim(self) -> int:
        return len(self.weights)

    @property
    def classes(self) -> int | None:
        return len(self.weights)

    def sample(
        self, n: int, generator: torch.Generator, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "n dc"], Int64[Tensor, " n"] | None]:
        label = categorical(self.weights, n, generator)
        return functional.one_hot(label, self.dim).to(dtype), label

    def moments(self, like: Tensor) -> tuple[Float[Tensor, " dc"], Float[Tensor, "dc dc"]]:
        mean = self.weights.to(like)
        return mean, torch.diag(mean) - torch.outer(mean, mean)

    def entropy(self, like: Tensor) -> float:
        return float(torch.special.entr(self.weights).sum())

    def label_entropy(self, like: Tensor) -> float:
        return self.entropy(like)

    def spelled(self, table: Float[Tensor, "K M"]) -> Law:
        return TableLaw(self.weights.to(table), table)

    def formula(self) -> str:
        return f"y ~ Cat({self.dim} symbols)"


@dataclass(frozen=True, eq=False, repr=False)
class Symbols(Centred):
    """`z^j` is one of M symbols, written one-hot, `z^j ~ Cat(table[y])`; style is `z^j - table[y]`."""

    table: Float[Tensor, "K M"]

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", distribution("each row of the table", self.table))

    def style_dim(self, content_dim: int) -> int:
        return self.table.shape[1]

    def latent_dim(self, content_dim: int) -> int:
        if len(self.table) != content_dim:
            raise ValueError(
                f"expected a table of {content_dim} rows, one a symbol of content, found {len(self.table)}"
            )
        return self.table.shape[1]

    def sample(
        self, content: Float[Tensor, "n dc"], views: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "n J d"], Float[Tensor, "n J ds"]]:
        own = content @ self.table
        uniform = torch.rand((len(content), views), generator=generator, device=generator.device, dtype=content.dtype)
        edges = own.cumsum(-1)[:, :-1].contiguous()
        z = functional.one_hot(torch.searchsorted(edges, uniform, right=True), own.shape[1]).to(content.dtype)
        return z, z - own[:, None]

    def law(self, content: Content, like: Tensor) -> Law:
        return content.spelled(self.table.to(like))

    def formula(self) -> str:
        return f"z^j ~ Cat(table[y]) over {self.table.shape[1]} symbols, style = z^j - table[y]"
