"""Learners that assign data points to clusters and predict the assignment: the content y is made explicit."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssl_theory.learners.learner import JointEmbedding, Loss, Views
from ssl_theory.learners.memory import Buffer, Free, Teacher, follow, gaussian, per_view
from ssl_theory.losses import clustering
from ssl_theory.losses.state import Centre
from ssl_theory.losses.views import unit


@dataclass(frozen=True, kw_only=True)
class SwAV(JointEmbedding):
    """Balanced assignments of one view predicted from another (Caron et al. 2020, arXiv 2006.09882).

    `prototypes` is their number: 64, where the published 3,000 are meant for a thousand classes.
    """

    prototypes: int = 64
    temperature: float | Tensor = 0.1
    epsilon: float = 0.05

    def build(self, shape: tuple[int, ...], seeds: Sequence[torch.Generator]) -> nn.ModuleDict:
        modules = super().build(shape, seeds)
        modules["prototypes"] = Free(unit(gaussian((self.prototypes, self.output_dim), seeds)))
        return modules

    def loss(self, modules: nn.ModuleDict, x: Views, noise: Tensor | None = None) -> Loss:
        return clustering.swav(
            self.embed(modules, x),
            modules["prototypes"](),
            temperature=self.temperature,
            epsilon=self.epsilon,
        )


@dataclass(frozen=True, kw_only=True)
class DINO(JointEmbedding):
    """Soft clusters of a student follow those of its moving average (Caron et al. 2021, arXiv 2104.14294).

    `prototypes` is the number of clusters (published: 65,536), logits are cosines with them; `momentum` is 0.99
    (published: from 0.996 to 1, for far longer runs).
    """

    prototypes: int = 64
    student_temperature: float | Tensor = 0.1
    teacher_temperature: float | Tensor = 0.04
    momentum: float = 0.99
    centre_momentum: float = 0.9

    def build(self, shape: tuple[int, ...], seeds: Sequence[torch.Generator]) -> nn.ModuleDict:
        modules = super().build(shape, seeds)
        modules["prototypes"] = Cosines(gaussian((self.prototypes, self.output_dim), seeds))
        modules["teacher"] = Teacher(self.networks(modules), self.momentum)
        modules["centre"] = Buffer(torch.zeros(len(seeds), self.prototypes))
        return modules

    def networks(self, modules: nn.ModuleDict) -> list[nn.Module]:
        return [*self.path(modules), modules["prototypes"]]

    def loss(self, modules: nn.ModuleDict, x: Views, noise: Tensor | None = None) -> Loss:
        student = per_view(modules["prototypes"], self.embed(modules, x))
        teacher = per_view(modules["teacher"], x)
        centre = Centre(modules["centre"](), self.centre_momentum)
        modules["centre"].value = centre.update(teacher).value
        return clustering.dino(
            student,
            teacher,
            centre=centre,
            student_temperature=self.student_temperature,
            teacher_temperature=self.teacher_temperature,
        )

    def after_step(self, modules: nn.ModuleDict) -> None:
        follow(modules["teacher"], self.networks(modules))


class Cosines(nn.Module):
    """Cosines of representations `(E, n, d)` with learned prototypes: `(E, n, K)`."""

    def __init__(self, start: Float[Tensor, "E K d"]) -> None:
        super().__init__()
        self.weight = nn.Parameter(unit(start))

    def forward(self, z: Float[Tensor, "E n d"]) -> Float[Tensor, "E n K"]:
        return unit(z) @ unit(self.weight).mT
