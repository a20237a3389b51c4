"""Learners that tell the other view of a data point from other data points, and reconstruct nothing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_theory.learners.learner import JointEmbedding, Loss, Views
from ssl_theory.learners.memory import Buffer, Free, Teacher, follow, gaussian, per_view
from ssl_theory.losses import contrastive, instance
from ssl_theory.losses.state import Memory, Queue
from ssl_theory.losses.views import unit


@dataclass(frozen=True, kw_only=True)
class SimCLR(JointEmbedding):
    """InfoNCE over the other data points of the batch (Chen et al. 2020, arXiv 2002.05709)."""

    temperature: float | Tensor = 0.5

    def loss(self, modules: nn.ModuleDict, x: Views, noise: Tensor | None = None) -> Loss:
        return contrastive.info_nce(self.embed(modules, x), temperature=self.temperature)


@dataclass(frozen=True, kw_only=True)
class CLIP(JointEmbedding):
    """InfoNCE between two modalities, an encoder each (Radford et al. 2021, arXiv 2103.00020).

    View 0 has "encoder" and "head", view 1 "encoder 1" and "head 1". The temperature is learned, from 0.07, and after a
    step that takes it below 0.01 put back there, as published.
    """

    temperature: float = 0.07

    view_specific: ClassVar[bool] = True

    def build(self, shape: tuple[int, ...], seeds: Sequence[torch.Generator]) -> nn.ModuleDict:
        modules = super().build(shape, seeds)
        for name, network in super().build(shape, seeds).items():
            modules[f"{name} 1"] = network
        modules["log_temperature"] = Free(torch.full((len(seeds),), self.temperature).log())
        return modules

    def represent(self, modules: nn.ModuleDict, x: Tensor, layer: str, view: int = 0) -> Tensor:
        suffix = f" {view}" if view else ""
        h = modules["encoder" + suffix](x)
        return self.at(layer, h, modules["head" + suffix]) if self.head is not None else h

    def embed(self, modules: nn.ModuleDict, x: Views) -> Float[Tensor, "E n J d"]:
        if x.shape[2] != 2:
            raise ValueError(f"expected 2 views, one a modality, found {x.shape[2]}; pass views=2")
        first, second = (self.represent(modules, x[:, :, view], "representation", view) for view in (0, 1))
        return torch.stack([first, second], dim=2)

    def loss(self, modules: nn.ModuleDict, x: Views, noise: Tensor | None = None) -> Loss:
        temperature = modules["log_temperature"]().exp()
        return contrastive.info_nce(self.embed(modules, x), temperature=temperature, negatives="other")

    def after_step(self, modules: nn.ModuleDict) -> None:
        for log_temperature in modules["log_temperature"].parameters():
            log_temperature.clamp_(min=math.log(0.01))


@dataclass(frozen=True, kw_only=True)
class MoCo(JointEmbedding):
    """InfoNCE against a queue of keys from a slowly moving encoder (He et al. 2020, arXiv 1911.05722).

    `momentum` is 0.99, not the published 0.999, which is meant for runs of hundreds of thousands of steps; `queue`
    counts data points.
    """

    temperature: float | Tensor = 0.07
    momentum: float = 0.99
    queue: int = 512

    def build(self, shape: tuple[int, ...], seeds: Sequence[torch.Generator]) -> nn.ModuleDict:
        modules = super().build(shape, seeds)
        modules["teacher"] = Teacher(self.path(modules), self.momentum)
        # One random unit vector an entry; the first batches replace them. An empty queue gives its entries one view.
        modules["queue"] = Buffer(unit(gaussian((self.queue, 1, self.output_dim), seeds)))
        return modules

    def loss(self, modules: nn.ModuleDict, x: Views, noise: Tensor | None = None) -> Loss:
        query, key = self.embed(modules, x), unit(per_view(modules["teacher"], x))
        queue = Queue(modules["queue"]())
        loss = contrastive.moco(query, key, queue, temperature=self.temperature)
        modules["queue"].value = queue.push(key[:, :, -1:]).entries
        return loss

    def after_step(self, modules: nn.ModuleDict) -> None:
        follow(modules["teacher"], self.path(modules))


@dataclass(frozen=True, kw_only=True)
class SpectralContrastive(JointEmbedding):
    """Spectral contrastive loss (HaoChen et al. 2021, arXiv 2106.04156)."""

    def loss(self, modules: nn.ModuleDict, x: Views, noise: Tensor | None = None) -> Loss:
        return contrastive.spectral(self.embed(modules, x))


@dataclass(frozen=True, kw_only=True)
class AlignUniform(JointEmbedding):
    """Alignment and uniformity on the sphere (Wang & Isola 2020, arXiv 2005.10242)."""

    alpha: float = 2.0
    t: float = 2.0
    alignment: float | Tensor = 1.0
    uniformity: float | Tensor = 1.0

    def loss(self, modules: nn.ModuleDict, x: Views, noise: Tensor | None = None) -> Loss:
        return contrastive.align_uniform(
            self.embed(modules, x),
            alpha=self.alpha,
            t=self.t,
            alignment=self.alignment,
            uniformity=self.uniformity,
        )


@dataclass(frozen=True, kw_only=True)
class InstanceDiscrimination(JointEmbedding):
    """Every data point a class of its own, with a learned weight (Dosovitskiy et al. 2014, arXiv 1406.6909).

    Needs a finite set of `instances` data points: a sampler whose samples carry `.index`, such as `Pool`.
    """

    instances: int = 1024
    temperature: float | Tensor = 0.1

    minimum_views: ClassVar[int] = 1
    target: ClassVar[str | None] = "index"

    def build(self, shape: tuple[int, ...], seeds: Sequence[torch.Generator]) -> nn.ModuleDict:
        modules = super().build(shape, seeds)
        modules["instances"] = Free(unit(gaussian((self.instances, self.output_dim), seeds)))
        return modules

    def loss(
        self,
        modules: nn.ModuleDict,
        x: Views,
        noise: Tensor | None = None,
        label: Int[Tensor, "E n"] | None = None,
    ) -> Loss:
        assert label is not None
        weights = modules["instances"]()
        return instance.instance_softmax(self.embed(modules, x), label, weights, temperature=self.temperature)


@dataclass(frozen=True, kw_only=True)
class InstanceMemory(JointEmbedding):
    """Every data point a class of its own, whose weight is its remembered representation (Wu et al. 2018,
    arXiv 1805.01978).

    The weights follow the encoder, where `InstanceDiscrimination` learns them, hence may learn any by heart. Needs
    the same finite set of `instances`.
    """

    instances: int = 1024
    temperature: float | Tensor = 0.07
    momentum: float = 0.5

    minimum_views: ClassVar[int] = 1
    target: ClassVar[str | None] = "index"

    def build(self, shape: tuple[int, ...], seeds: Sequence[torch.Generator]) -> nn.ModuleDict:
        modules = super().build(shape, seeds)
        modules["memory"] = Buffer(unit(gaussian((self.instances, self.output_dim), seeds)))
        return modules

    def loss(
        self,
        modules: nn.ModuleDict,
        x: Views,
        noise: Tensor | None = None,
        label: Int[Tensor, "E n"] | None = None,
    ) -> Loss:
        assert label is not None
        z, memory = self.embed(modules, x), Memory(modules["memory"](), self.momentum)
        loss = instance.memory_softmax(z, label, memory, temperature=self.temperature)
        modules["memory"].value = memory.update(z, label).bank
        return loss
