"""Learners that assign data points to clusters and predict the assignment: the content y is made explicit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_theory.learners.learner import JointEmbedding, Loss, Views
from ssl_theory.learners.memory import Buffer, Counter, Free, Teacher, follow, gaussian, per_view
from ssl_theory.losses import clustering
from ssl_theory.losses.state import Centre, Memory
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


@dataclass(frozen=True, kw_only=True)
class DeepCluster(JointEmbedding):
    """Cluster the representations of all data, then classify each view into its data point's cluster.

    Caron et al. 2018, arXiv 1807.05520, with prototypes on the sphere, a temperature and a bank of representations
    as in version 2, arXiv 2006.09882. Needs a finite set of `instances` data points: a sampler whose samples carry
    `.index`, such as `Pool`. Clusters are found anew every `every` steps (published: once an epoch).
    """

    instances: int = 1024
    prototypes: int = 64
    temperature: float | Tensor = 0.1
    every: int = 50

    target: ClassVar[str | None] = "index"

    def build(self, shape: tuple[int, ...], seeds: Sequence[torch.Generator]) -> nn.ModuleDict:
        modules = super().build(shape, seeds)
        modules["bank"] = Buffer(unit(gaussian((self.instances, self.output_dim), seeds)))
        modules["prototypes"] = Buffer(unit(gaussian((self.prototypes, self.output_dim), seeds)))
        modules["assignment"] = Buffer(torch.zeros(len(seeds), self.instances, dtype=torch.int64))
        modules["steps"] = Counter()
        return modules

    def loss(
        self,
        modules: nn.ModuleDict,
        x: Views,
        noise: Tensor | None = None,
        label: Int[Tensor, "E n"] | None = None,
    ) -> Loss:
        assert label is not None
        z = unit(self.embed(modules, x))
        modules["bank"].value = Memory(modules["bank"](), momentum=0.0).update(z, label).bank
        if modules["steps"]() % self.every == 0:
            self.cluster(modules)
        assignment = modules["assignment"]().gather(1, label)
        return clustering.deep_cluster(z, assignment, modules["prototypes"](), temperature=self.temperature)

    def cluster(self, modules: nn.ModuleDict, iterations: int = 10) -> None:
        """K-means over the bank, from where the prototypes are."""
        bank, prototypes = modules["bank"]()[:, :, None], modules["prototypes"]()
        for _ in range(iterations):
            prototypes = recluster(bank, prototypes)
        modules["prototypes"].value = prototypes
        modules["assignment"].value = clustering.assign(bank, prototypes)


@torch.no_grad()
def recluster(memory: Float[Tensor, "E m 1 d"], prototypes: Float[Tensor, "E K d"]) -> Float[Tensor, "E K d"]:
    """One iteration of spherical k-means; an empty cluster restarts at the point farthest from its own centre."""
    assignment = clustering.assign(memory, prototypes)
    index = assignment[..., None].expand(*assignment.shape, prototypes.shape[-1])
    nearness = (memory[:, :, 0] * prototypes.gather(1, index)).sum(-1)
    lonely = nearness.topk(prototypes.shape[1], largest=False).indices  # (E, K), the loneliest first
    empty = torch.ones_like(prototypes[..., 0], dtype=torch.bool).scatter(1, assignment, False)
    rank = (empty.cumsum(-1) - 1).clamp_min(0)
    chosen = lonely.gather(1, rank)[..., None].expand_as(prototypes)
    restarted = torch.where(empty[..., None], memory[:, :, 0].gather(1, chosen), prototypes)
    return unit(clustering.update_prototypes(memory, assignment, restarted))


class Cosines(nn.Module):
    """Cosines of representations `(E, n, d)` with learned prototypes: `(E, n, K)`."""

    def __init__(self, start: Float[Tensor, "E K d"]) -> None:
        super().__init__()
        self.weight = nn.Parameter(unit(start))

    def forward(self, z: Float[Tensor, "E n d"]) -> Float[Tensor, "E n K"]:
        return unit(z) @ unit(self.weight).mT
