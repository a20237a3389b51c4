"""References to measure learners against."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor, nn

from ssl_theory import models
from ssl_theory.learners.learner import JointEmbedding, Learner, Loss, Views


@dataclass(frozen=True, kw_only=True)
class Random(Learner):
    """The untrained encoder: whatever the number of steps, parameters stay as the seed drew them."""

    trains: ClassVar[bool] = False

    def loss(self, modules: nn.ModuleDict, x: Views, noise: Tensor | None = None) -> Loss:
        return x.new_zeros(x.shape[0])


@dataclass(frozen=True, kw_only=True)
class Supervised(JointEmbedding):
    """Softmax classification of every view by its label, linear in the representation; needs `.label`."""

    classes: int = 10

    minimum_views: ClassVar[int] = 1
    target: ClassVar[str | None] = "label"

    def build(self, shape: tuple[int, ...], seeds: Sequence[torch.Generator]) -> nn.ModuleDict:
        modules = super().build(shape, seeds)
        modules["classifier"] = models.Linear(self.output_dim, self.classes, seeds)
        return modules

    def loss(
        self,
        modules: nn.ModuleDict,
        x: Views,
        noise: Tensor | None = None,
        label: Int[Tensor, "E n"] | None = None,
    ) -> Loss:
        assert label is not None
        z = self.embed(modules, x).flatten(1, 2)
        log_p = modules["classifier"](z).log_softmax(-1).unflatten(1, x.shape[1:3])
        chosen = label[:, :, None, None].expand(*x.shape[:3], 1)
        return -log_p.gather(-1, chosen).mean((1, 2, 3))
