"""Content uniform in a box, `z^j = y + std * eps^j`: coordinates are independent, each integral an error function.

For one coordinate, with `zbar` the mean of the J views and Phi the normal distribution function,

    log p(z^{1:J}) = log p_Flat(z^{1:J}) + log[ Phi(sqrt(J) (high - zbar) / std) - Phi(sqrt(J) (low - zbar) / std) ]
                     - log(high - low)

where p_Flat is the improper prior of the theory (p(y) = 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from synthetic.exact.law import Law


@dataclass(frozen=True)
class BoxLaw(Law):
    """The law of noise-free views of content that is uniform in a box."""

    low: float
    high: float
    std: Float[Tensor, " d"]

    @property
    def what(self) -> str:
        return "content that is uniform in a box"

    def log_prob(self, seen: Float[Tensor, "n J q"]) -> Float[Tensor, " n"]:
        views, centre = seen.shape[1], seen.mean(1)
        spread = (seen - centre[:, None]).square().sum(1) / self.std**2
        flat = -0.5 * (spread + (views - 1) * (2 * math.pi * self.std**2).log() + math.log(views))
        scale = math.sqrt(views) / self.std
        within = log_normal_mass(scale * (self.low - centre), scale * (self.high - centre))
        return (flat + within - math.log(self.high - self.low)).sum(-1)


def log_normal_mass(low: Float[Tensor, "*n"], high: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """`log[Phi(high) - Phi(low)]` without cancellation in either tail."""
    mirrored = low > 0
    low, high = torch.where(mirrored, -high, low), torch.where(mirrored, -low, high)
    upper, lower = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    return upper + torch.log1p(-(lower - upper).exp())
