"""What some losses remember from batch to batch, as small frozen objects: passed in, and a new one returned.

Nothing here carries gradients, and nothing is hidden in a loss.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_theory.losses.views import unit, wide


@dataclass(frozen=True)
class Queue:
    """The most recent m representations, newest first (He et al. 2020, arXiv 1911.05722).

    `entries`: (*batch, m, J, d). `push` puts a batch in front and drops as many from the end.
    """

    entries: Tensor

    def push(self, z: Float[Tensor, "*batch n J d"]) -> "Queue":
        newest = torch.cat([z.detach().to(self.entries.dtype), self.entries], -3)
        return replace(self, entries=newest[..., : self.entries.shape[-3], :, :])


@dataclass(frozen=True)
class Memory:
    """One unit vector for each of N data points (Wu et al. 2018, arXiv 1805.01978).

    `bank`: (*batch, N, d). `update` moves the entries of a batch: `unit(m bank[i] + (1 - m) mean_j unit(z_i^j))`.
    """

    bank: Tensor
    momentum: float = 0.5

    def update(self, z: Float[Tensor, "*batch n J d"], index: Int[Tensor, "*shape n"]) -> "Memory":
        rows = index[..., None].expand(*z.shape[:-2], z.shape[-1])
        fresh = unit(wide(z.detach())).mean(-2).to(self.bank.dtype)
        moved = self.momentum * self.bank.gather(-2, rows) + (1 - self.momentum) * fresh
        return replace(self, bank=self.bank.scatter(-2, rows, unit(moved)))


@dataclass(frozen=True)
class Centre:
    """Running mean of the teacher's logits, subtracted before they are sharpened (Caron et al. 2021).

    `value`: (*batch, K). `update`: `m value + (1 - m) mean(teacher)` over data points and views.
    """

    value: Tensor
    momentum: float = 0.9

    def update(self, teacher: Float[Tensor, "*batch n J K"]) -> "Centre":
        fresh = wide(teacher.detach()).mean((-3, -2)).to(self.value.dtype)
        return replace(self, value=self.momentum * self.value + (1 - self.momentum) * fresh)
