"""Learners that predict one view's representation from another's, held fixed: the entropy is implicit."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ssl_theory.learners.learner import JointEmbedding, Loss, Views
from ssl_theory.learners.memory import Teacher, follow, per_view
from ssl_theory.losses import distillation


@dataclass(frozen=True, kw_only=True)
class Predicting(JointEmbedding):
    """A joint embedding with a predictor, an MLP of the given hidden widths, whose output is as wide as its input.

    The representation is the predictor's input, which is what is kept where these methods are used.

    Hidden layers are batch-normalised by default, as published for both methods: without, SimSiam tends to collapse and
    BYOL is left with few directions.
    """

    predictor: tuple[int, ...] = (128,)
    batch_norm: bool = True

    def build(self, shape: tuple[int, ...], seeds: Sequence[torch.Generator]) -> nn.ModuleDict:
        modules = super().build(shape, seeds)
        widths = (*self.predictor, self.output_dim)
        modules["predictor"] = self.perceptron(self.output_dim, widths, seeds)
        return modules


@dataclass(frozen=True, kw_only=True)
class BYOL(Predicting):
    """The target is a slowly moving average of the encoder (Grill et al. 2020, arXiv 2006.07733).

    `momentum` is 0.99; the published schedule from 0.996 to 1 is meant for far longer runs.
    """

    momentum: float = 0.99

    def build(self, shape: tuple[int, ...], seeds: Sequence[torch.Generator]) -> nn.ModuleDict:
        modules = super().build(shape, seeds)
        modules["teacher"] = Teacher(self.path(modules), self.momentum)
        return modules

    def loss(self, modules: nn.ModuleDict, x: Views, noise: Tensor | None = None) -> Loss:
        prediction = per_view(modules["predictor"], self.embed(modules, x))
        return distillation.byol(prediction, per_view(modules["teacher"], x))

    def after_step(self, modules: nn.ModuleDict) -> None:
        follow(modules["teacher"], self.path(modules))


@dataclass(frozen=True, kw_only=True)
class SimSiam(Predicting):
    """The target is the encoder itself, without gradient (Chen & He 2021, arXiv 2011.10566)."""

    def loss(self, modules: nn.ModuleDict, x: Views, noise: Tensor | None = None) -> Loss:
        z = self.embed(modules, x)
        return distillation.simsiam(per_view(modules["predictor"], z), z)
