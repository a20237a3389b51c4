"""Learners whose views agree while the dimensions of the representation are kept varied and uncorrelated."""

from dataclasses import dataclass

from torch import Tensor, nn

from ssl_theory.learners.learner import JointEmbedding, Loss, Views
from ssl_theory.losses import redundancy


@dataclass(frozen=True, kw_only=True)
class VICReg(JointEmbedding):
    """Invariance, variance and covariance terms (Bardes et al. 2022, arXiv 2105.04906)."""

    invariance: float | Tensor = 25.0
    variance: float | Tensor = 25.0
    covariance: float | Tensor = 1.0

    def loss(self, modules: nn.ModuleDict, x: Views, noise: Tensor | None = None) -> Loss:
        return redundancy.vicreg(
            self.embed(modules, x),
            invariance=self.invariance,
            variance=self.variance,
            covariance=self.covariance,
        )


@dataclass(frozen=True, kw_only=True)
class BarlowTwins(JointEmbedding):
    """The cross-correlation of two views is driven to the identity (Zbontar et al. 2021, arXiv 2103.03230)."""

    lambd: float | Tensor = 5e-3

    def loss(self, modules: nn.ModuleDict, x: Views, noise: Tensor | None = None) -> Loss:
        return redundancy.barlow_twins(self.embed(modules, x), lambd=self.lambd)


@dataclass(frozen=True, kw_only=True)
class WMSE(JointEmbedding):
    """Views agree after whitening (Ermolov et al. 2021, arXiv 2007.06346); wants batches larger than `latent_dim`."""

    def loss(self, modules: nn.ModuleDict, x: Views, noise: Tensor | None = None) -> Loss:
        return redundancy.w_mse(self.embed(modules, x))
