"""Residual networks for an ensemble: the encoder of He et al. and a decoder that mirrors it."""

import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ssl_theory.models.conv import Conv2d, Images, enlarged, halvings, image
from ssl_theory.models.linear import Linear, Seed, generators
from ssl_theory.models.mlp import activation_named
from ssl_theory.models.norm import BatchNorm

BLOCKS = 2  # a stage: with four stages, ResNet-18
LARGE = 32  # pixels: above, the stem of the paper (7x7, stride 2, pooling), up to here 3x3 and stride 1


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut; the first of them, and the shortcut, may change width and size."""

    def __init__(
        self, inputs: int, outputs: int, seeds: Sequence[Seed], *, stride: int, activation: str, batch_norm: bool
    ) -> None:
        super().__init__()
        members = generators(seeds)
        self.activate = activation_named(activation)
        self.first = Conv2d(inputs, outputs, members, stride=stride, bias=not batch_norm)
        self.second = Conv2d(outputs, outputs, members, bias=not batch_norm)
        changes = stride > 1 or inputs != outputs
        self.shortcut = Conv2d(inputs, outputs, members, kernel=1, stride=stride, bias=False) if changes else None
        self.norms = nn.ModuleList(BatchNorm(outputs, len(members)) for _ in range(2 + changes) if batch_norm)

    def forward(self, x: Images) -> Images:
        y = self.normed(1, self.second(self.activate(self.normed(0, self.first(x)))))
        carried = x if self.shortcut is None else self.normed(2, self.shortcut(x))
        return self.activate(y + carried)

    def normed(self, index: int, x: Images) -> Images:
        return self.norms[index](x) if self.norms else x


class ResNetEncoder(nn.Module):
    """`(E, n, C, H, W) -> (E, n, outputs)`; `hidden` (64, 128, 256, 512) is ResNet-18 (He et al. 2015, 1512.03385).

    Up to 32 pixels the stem is a 3x3 convolution of stride 1, above it is the published 7x7 of stride 2 with pooling.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        seeds: Sequence[Seed],
        *,
        hidden: Sequence[int],
        activation: str = "relu",
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        members, (channels, *size) = generators(seeds), image(shape)
        self.large, self.activate = max(size) > LARGE, activation_named(activation)
        kernel, stride = (7, 2) if self.large else (3, 1)
        self.stem = Conv2d(channels, hidden[0], members, kernel=kernel, stride=stride, bias=not batch_norm)
        self.norm = BatchNorm(hidden[0], len(members)) if batch_norm else None
        self.stages = nn.ModuleList(
            Block(i, o, members, stride=stride, activation=activation, batch_norm=batch_norm)
            for i, o, stride in plan(hidden)
        )
        self.last = Linear(hidden[-1], outputs, members)

    def forward(self, x: Images) -> Float[Tensor, "E n outputs"]:
        x = self.stem(x)
        x = self.activate(x if self.norm is None else self.norm(x))
        if self.large:
            x = functional.max_pool2d(x.flatten(0, 1), 3, 2, 1).unflatten(0, x.shape[:2])
        for stage in self.stages:
            x = stage(x)
        return self.last(x.mean((-2, -1)))


class ResNetDecoder(nn.Module):
    """`(E, n, d) -> (E, n, C, H, W)`: the encoder's stages in reverse, each halving undone by enlargement."""

    def __init__(
        self,
        shape: Sequence[int],
        latent_dim: int,
        seeds: Sequence[Seed],
        *,
        hidden: Sequence[int],
        activation: str = "relu",
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        members, (channels, *size) = generators(seeds), image(shape)
        stem = 2 if max(size) > LARGE else 0
        sizes = halvings((size[0], size[1]), len(hidden) - 1 + stem)[::-1]
        self.size, self.start = (size[0], size[1]), sizes[0]
        self.sizes = sizes[: len(hidden)]
        self.first = Linear(latent_dim, hidden[-1] * math.prod(self.start), members)
        widths = tuple(reversed(hidden))
        self.stages = nn.ModuleList(
            Block(i, o, members, stride=1, activation=activation, batch_norm=batch_norm) for i, o, _ in plan(widths)
        )
        self.last = Conv2d(hidden[0], channels, members)

    def forward(self, z: Float[Tensor, "E n d"]) -> Images:
        x = self.first(z).unflatten(2, (-1, *self.start))
        for index, stage in enumerate(self.stages):
            x = stage(enlarged(x, self.sizes[index // BLOCKS]) if index % BLOCKS == 0 else x)
        return self.last(enlarged(x, self.size))


def plan(widths: Sequence[int]) -> list[tuple[int, int, int]]:
    """(inputs, outputs, stride) of each block: every stage but the first halves the image with its first block."""
    blocks = []
    inputs = widths[0]
    for stage, outputs in enumerate(widths):
        for block in range(BLOCKS):
            blocks.append((inputs, outputs, 2 if stage and not block else 1))
            inputs = outputs
    return blocks
