"""A small nonlinear world for the learners' tests: 2 content and 2 style coordinates, 6 observed, 3 classes."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_theory import learners


@dataclass(frozen=True)
class Drawn:
    x: Tensor
    label: Tensor


class Toy:
    """`x = tanh(A [content, style])`: content by class, shared by the views of a data point; style fresh a view."""

    def __init__(self, seed: int = 0, shape: tuple[int, ...] = (6,), dtype: torch.dtype = torch.float64) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.shape, self.dtype = shape, dtype
        size = torch.Size(shape).numel()
        self.mixing = torch.randn(4, size, generator=generator, dtype=dtype) / 2
        self.means = 2 * torch.randn(3, 2, generator=generator, dtype=dtype)

    def sample(self, n: int, *, views: int, generator: torch.Generator) -> Drawn:
        label = torch.randint(3, (n,), generator=generator)
        content = self.means[label] + 0.5 * torch.randn(n, 2, generator=generator, dtype=self.dtype)
        style = torch.randn(n, views, 2, generator=generator, dtype=self.dtype)
        z = torch.cat([content[:, None].expand(n, views, 2), style], dim=-1)
        return Drawn(torch.tanh(z @ self.mixing).unflatten(-1, self.shape), label)


SMALL: dict[str, Any] = {"latent_dim": 3, "hidden": (12, 12), "learning_rate": 3e-3}
ALL = {
    "SimCLR": learners.SimCLR(**SMALL),
    "SimCLR, head and batch norm": learners.SimCLR(**SMALL, head=(8, 4), batch_norm=True),
    "VICReg": learners.VICReg(**SMALL),
    "VICReg, linear head": learners.VICReg(**SMALL, head=(4,)),
    "VAE": learners.VAE(**SMALL),
    "VAE, batch norm": learners.VAE(**SMALL, batch_norm=True),
    **{f"SimVAE, {prior}": learners.SimVAE(**SMALL, prior=prior, classes=3) for prior in learners.PRIORS},
}
FEW: dict[str, Any] = {"batch_size": 16, "dtype": torch.float64, "device": "cpu"}
