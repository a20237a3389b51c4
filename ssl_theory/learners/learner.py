"""What a learner is: hyperparameters, how to build its networks, and a loss. The rest is the training loop's.

A learner of one's own is a frozen dataclass with a loss over `self.embed(modules, x)`:

>>> @dataclass(frozen=True, kw_only=True)
... class Invariance(JointEmbedding):
...     weight: float = 1.0
...     def loss(self, modules, x, noise=None):
...         return self.weight * self.embed(modules, x).var(dim=-2).sum(-1).mean(-1)
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssl_theory import models

LAYERS = ("encoder", "representation")  # of every learner; those of a head besides, see `Learner.layers`

RESNET18: dict[str, Any] = {"network": "resnet", "hidden": (64, 128, 256, 512), "batch_norm": True}

Inputs = Float[Tensor, "E n ..."]
Views = Float[Tensor, "E n J ..."]
Representation = Float[Tensor, "E n d"]
Loss = Float[Tensor, " E"]


@dataclass(frozen=True, kw_only=True)
class Learner(ABC):
    """Hyperparameters of a method, shared by the E members of an ensemble; holds no parameters itself.

    `latent_dim` is the size of the encoder's output. `network` is "mlp", "conv" or "resnet" and `hidden` its widths
    (see `models.encoder`; a decoder mirrors them); `**RESNET18` sets both. `learning_rate` is Adam's.

    The loop calls `build` once, then `loss` and `after_step` at every step. Every trained parameter has the members
    as its leading axis. A `target` names a field of the samples ("label", "index") that `loss` gets besides, as
    `label=(E, n)`.
    """

    latent_dim: int = 10
    network: str = "mlp"
    hidden: tuple[int, ...] = (128, 128, 128)
    activation: str = "relu"
    batch_norm: bool = False
    learning_rate: float = 1e-3

    minimum_views: ClassVar[int] = 1
    trains: ClassVar[bool] = True
    target: ClassVar[str | None] = None
    view_specific: ClassVar[bool] = False

    def build(self, shape: tuple[int, ...], seeds: Sequence[torch.Generator]) -> nn.ModuleDict:
        """Fresh networks for inputs of the given shape, one member a generator; must contain "encoder"."""
        return nn.ModuleDict({"encoder": self.encoder(shape, self.latent_dim, seeds)})

    @abstractmethod
    def loss(self, modules: nn.ModuleDict, x: Views, noise: Tensor | None = None) -> Loss:
        """The loss of each member, averaged over its n data points; members must not mix."""

    def noise_shape(self, views: int) -> tuple[int, ...] | None:
        """Shape, per data point, of the standard normal noise that `loss` needs, None for none."""
        return None

    def after_step(self, modules: nn.ModuleDict) -> None:
        """Called without gradient after every step, for state that no gradient moves (moving averages)."""
        return None

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that `represent` knows, from the input on: before the head, inside of it, where the loss acts."""
        return LAYERS

    def represent(self, modules: nn.ModuleDict, x: Inputs, layer: str, view: int = 0) -> Representation:
        """What the networks make of single views, at one of `layers`.

        `view` matters to learners that are `view_specific`, which have an encoder for each.
        """
        return modules["encoder"](x)

    def reconstruct(self, modules: nn.ModuleDict, x: Inputs) -> Inputs:
        """What a decoder makes of the representation of single views, where the learner has one."""
        found = type(self).__name__
        raise ValueError(f"expected a learner with a decoder, found {found}; train a decoder for it instead")

    def encoder(self, shape: tuple[int, ...], outputs: int, seeds: Sequence[torch.Generator]) -> nn.Module:
        return models.encoder(
            shape,
            outputs,
            seeds,
            network=self.network,
            hidden=self.hidden,
            activation=self.activation,
            batch_norm=self.batch_norm,
        )


@dataclass(frozen=True, kw_only=True)
class JointEmbedding(Learner):
    """A learner whose loss sees only the representation of the views: `z = head(encoder(x))`.

    `head` is None or the widths of the projection head's layers, its output last: `(128, 10)` is one hidden layer
    of 128 and a 10-dimensional representation, `(10,)` a linear head.
    """

    head: tuple[int, ...] | None = None

    minimum_views: ClassVar[int] = 2

    @property
    def output_dim(self) -> int:
        """Size of the representation: the head's last width, or `latent_dim` where there is no head."""
        return self.head[-1] if self.head else self.latent_dim

    @property
    def layers(self) -> tuple[str, ...]:
        """With "head.1" to "head.L" of a head of L layers between the others; the last is the representation."""
        return ("encoder", *[f"head.{depth}" for depth in range(1, len(self.head or ()) + 1)], "representation")

    def build(self, shape: tuple[int, ...], seeds: Sequence[torch.Generator]) -> nn.ModuleDict:
        modules = super().build(shape, seeds)
        if self.head is not None:
            modules["head"] = self.perceptron(self.latent_dim, self.head, seeds)
        return modules

    def perceptron(self, inputs: int, widths: Sequence[int], seeds: Sequence[torch.Generator]) -> nn.Module:
        """A head or predictor with this learner's activation and normalisation."""
        return models.head(inputs, widths, seeds, activation=self.activation, batch_norm=self.batch_norm)

    def path(self, modules: nn.ModuleDict) -> list[nn.Module]:
        """The networks from input to representation, in order."""
        return [modules[name] for name in ("encoder", "head") if name in modules]

    def represent(self, modules: nn.ModuleDict, x: Inputs, layer: str, view: int = 0) -> Representation:
        h = modules["encoder"](x)
        return self.at(layer, h, modules["head"]) if "head" in modules else h

    @staticmethod
    def at(layer: str, h: Float[Tensor, "E n h"], head: nn.Module) -> Representation:
        """The encoder's output h, or what the head has made of it by the named layer (after its activation)."""
        if layer == "encoder":
            return h
        return head(h) if layer == "representation" else head(h, int(layer.removeprefix("head.")))

    def embed(self, modules: nn.ModuleDict, x: Views) -> Float[Tensor, "E n J d"]:
        """The representation of every view; batch statistics are over all views of the batch together."""
        return self.represent(modules, x.flatten(1, 2), "representation").unflatten(1, x.shape[1:3])
