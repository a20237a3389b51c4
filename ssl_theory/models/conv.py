"""Convolutions for an ensemble, and the small convolutional encoder and decoder made of them."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ssl_theory.models.linear import Linear, Seed, generators, uniform
from ssl_theory.models.mlp import activation_named
from ssl_theory.models.norm import BatchNorm

Images = Float[Tensor, "E n _ _ _"]


class Conv2d(nn.Module):
    """E convolutions: `(E, n, C, H, W) -> (E, n, C', H', W')`, weight `(E, C', C, k, k)`, padding `k // 2`.

    Starts by the law of `torch.nn.Conv2d`. On a GPU one grouped convolution; on a CPU member after member, which
    was measured to be as fast for many channels and up to twice as fast for few.
    """

    def __init__(
        self, inputs: int, outputs: int, seeds: Sequence[Seed], *, kernel: int = 3, stride: int = 1, bias: bool = True
    ) -> None:
        super().__init__()
        members, bound = generators(seeds), (inputs * kernel**2) ** -0.5
        self.stride, self.padding = stride, kernel // 2
        self.weight = nn.Parameter(uniform((outputs, inputs, kernel, kernel), bound, members))
        self.bias = nn.Parameter(uniform((outputs,), bound, members)) if bias else None

    def forward(self, x: Images) -> Images:
        return self.grouped(x) if x.is_cuda else self.one_by_one(x)

    def one_by_one(self, x: Images) -> Images:
        """Each member's own convolution."""
        biases = [None] * len(x) if self.bias is None else self.bias.unbind()
        pairs = zip(x.unbind(), self.weight.unbind(), biases, strict=True)
        return torch.stack([functional.conv2d(one, w, b, self.stride, self.padding) for one, w, b in pairs])

    def grouped(self, x: Images) -> Images:
        """All members as the groups of one convolution over `E C` channels."""
        members = len(x)
        bias = None if self.bias is None else self.bias.flatten()
        channels = x.transpose(0, 1).flatten(1, 2)
        y = functional.conv2d(channels, self.weight.flatten(0, 1), bias, self.stride, self.padding, groups=members)
        return y.unflatten(1, (members, -1)).transpose(0, 1)


def enlarged(x: Images, size: tuple[int, int]) -> Images:
    """Nearest-neighbour enlargement to the given height and width."""
    return functional.interpolate(x.flatten(0, 1), size=size).unflatten(0, x.shape[:2])


def halvings(size: tuple[int, int], count: int) -> list[tuple[int, int]]:
    """The sizes of an image that is halved (rounding up) `count` times, the first included."""
    sizes = [size]
    for _ in range(count):
        sizes.append((math.ceil(sizes[-1][0] / 2), math.ceil(sizes[-1][1] / 2)))
    return sizes


class ConvEncoder(nn.Module):
    """`(E, n, C, H, W) -> (E, n, outputs)`: 3x3 convolutions of stride 2, one a width, then an affine layer."""

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        seeds: Sequence[Seed],
        *,
        hidden: Sequence[int],
        activation: str = "relu",
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        members, (channels, *size) = generators(seeds), image(shape)
        last = halvings((size[0], size[1]), len(hidden))[-1]
        self.activate = activation_named(activation)
        self.layers = nn.ModuleList(Conv2d(i, o, members, stride=2) for i, o in pairwise((channels, *hidden)))
        self.norms = nn.ModuleList(BatchNorm(o, len(members)) for o in hidden if batch_norm)
        self.last = Linear((hidden[-1] if hidden else channels) * math.prod(last), outputs, members)

    def forward(self, x: Images) -> Float[Tensor, "E n outputs"]:
        for index, layer in enumerate(self.layers):
            x = layer(x)
            x = self.activate(self.norms[index](x) if self.norms else x)
        return self.last(x.flatten(2))


class ConvDecoder(nn.Module):
    """`(E, n, d) -> (E, n, C, H, W)`: the encoder's mirror, each halving undone by enlargement and convolution.

    Enlargement before an ordinary convolution leaves none of the checkerboard that strided transposed convolutions
    do (Odena et al. 2016, Distill).
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent_dim: int,
        seeds: Sequence[Seed],
        *,
        hidden: Sequence[int],
        activation: str = "relu",
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        members, (channels, *size) = generators(seeds), image(shape)
        self.sizes = halvings((size[0], size[1]), len(hidden))[::-1]
        self.activate = activation_named(activation)
        widths = (*reversed(hidden), channels)
        self.first = Linear(latent_dim, widths[0] * math.prod(self.sizes[0]), members)
        self.layers = nn.ModuleList(Conv2d(i, o, members) for i, o in pairwise(widths))
        self.norms = nn.ModuleList(BatchNorm(i, len(members)) for i in widths[:-1] if batch_norm)

    def forward(self, z: Float[Tensor, "E n d"]) -> Images:
        x = self.first(z).unflatten(2, (-1, *self.sizes[0]))
        for index, layer in enumerate(self.layers):
            x = self.activate(self.norms[index](x) if self.norms else x)
            x = layer(enlarged(x, self.sizes[index + 1]))
        return x


def image(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape, if it is that of an image."""
    if len(shape) != 3:
        raise ValueError(f"expected images of shape (channels, height, width), found {tuple(shape)}; use an MLP")
    return tuple(shape)
