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
    index: Tensor


class Toy:
    """`x = tanh(A [content, style])`: content by class, one a data point; style fresh a view.

    `index` refines the label, so that a learner of a finite set has something to learn.
    """

    def __init__(self, seed: int = 0, shape: tuple[int, ...] = (6,), dtype: torch.dtype = torch.float64) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.shape, self.dtype = shape, dtype
        size = torch.Size(shape).numel()
        self.mixing = torch.randn(4, size, generator=generator, dtype=dtype) / 2
        self.means = 2 * torch.randn(3, 2, generator=generator, dtype=dtype)

    def sample(self, n: int, *, views: int, generator: torch.Generator) -> Drawn:
        index = torch.randint(POINTS, (n,), generator=generator)
        label = index % 3
        content = self.means[label] + 0.5 * torch.randn(n, 2, generator=generator, dtype=self.dtype)
        style = torch.randn(n, views, 2, generator=generator, dtype=self.dtype)
        z = torch.cat([content[:, None].expand(n, views, 2), style], dim=-1)
        return Drawn(torch.tanh(z @ self.mixing).unflatten(-1, self.shape), label, index)


POINTS = 30
SMALL: dict[str, Any] = {"latent_dim": 3, "hidden": (12, 12), "learning_rate": 3e-3}
STEADY: dict[str, Any] = SMALL | {"momentum": 0.9}
ALL: dict[str, learners.Learner] = {
    "SimCLR": learners.SimCLR(**SMALL),
    "SimCLR, head and batch norm": learners.SimCLR(**SMALL, head=(8, 4), batch_norm=True),
    "CLIP": learners.CLIP(**SMALL, head=(4,)),
    "MoCo": learners.MoCo(**STEADY, queue=40),
    "SpectralContrastive": learners.SpectralContrastive(**SMALL),
    "AlignUniform": learners.AlignUniform(**SMALL),
    "InstanceMemory": learners.InstanceMemory(**SMALL, instances=POINTS),
    "InstanceDiscrimination": learners.InstanceDiscrimination(**SMALL | {"learning_rate": 2e-2}, instances=POINTS),
    "VICReg, linear head": learners.VICReg(**SMALL, head=(4,)),
    "BarlowTwins": learners.BarlowTwins(**SMALL),
    "WMSE": learners.WMSE(**SMALL),
    "BYOL, head": learners.BYOL(**STEADY, head=(8, 4)),
    "SimSiam": learners.SimSiam(**SMALL),
    "SwAV": learners.SwAV(**SMALL, prototypes=8),
    "DeepCluster": learners.DeepCluster(**SMALL, instances=POINTS, prototypes=6, every=4),
    "DINO": learners.DINO(**STEADY, prototypes=8),
    "Supervised": learners.Supervised(**SMALL, classes=3),
    "VAE, batch norm": learners.VAE(**SMALL, batch_norm=True),
    "BetaVAE": learners.BetaVAE(**SMALL),
    "CRVAE": learners.CRVAE(**SMALL),
    "IWAE": learners.IWAE(**SMALL, samples=3),
    **{f"SimVAE, {prior}": learners.SimVAE(**SMALL, prior=prior, classes=3) for prior in learners.PRIORS},
}
FEW: dict[str, Any] = {"batch_size": 16, "dtype": torch.float64, "device": "cpu"}
