"""Multilayer perceptrons for an ensemble: the usual encoder, decoder and projection head."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssl_theory.models.linear import Linear, Seed, generators
from ssl_theory.models.norm import BatchNorm

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    # In place where the gradient needs the output alone: the affine layer before keeps no output of its own.
    "relu": nn.functional.relu_,
    "leaky_relu": nn.functional.leaky_relu_,
    "gelu": nn.functional.gelu,
    "silu": nn.functional.silu,
    "tanh": torch.tanh,
}


def activation_named(name: str) -> Callable[[Tensor], Tensor]:
    """One of `ACTIVATIONS`; may work in place."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, found {name!r}")
    return ACTIVATIONS[name]


class MLP(nn.Module):
    """E multilayer perceptrons: `(E, n, *shape) -> (E, n, sizes[-1])`, with `prod(shape) = sizes[0]`.

    Each hidden layer is affine, then (where asked) batch-normalised, then activated; the last is affine
    alone.

    >>> MLP((16, 128, 10), seeds=range(3))(torch.zeros(3, 5, 16)).shape
    torch.Size([3, 5, 10])
    """

    def __init__(
        self,
        sizes: Sequence[int],
        seeds: Sequence[Seed],
        *,
        activation: str = "relu",
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"an MLP needs an input and an output size, each at least 1, found {tuple(sizes)}")
        members = generators(seeds)
        self.activate = activation_named(activation)
        self.layers = nn.ModuleList(Linear(i, o, members) for i, o in pairwise(sizes))
        normed = sizes[1:-1] if batch_norm else ()
        self.norms = nn.ModuleList(BatchNorm(width, len(members)) for width in normed)

    def forward(self, x: Float[Tensor, "E n ..."], depth: int | None = None) -> Float[Tensor, "E n outputs"]:
        """The output, or that of the first `depth` layers, activated where the network goes on from there."""
        last = len(self.layers) - 1
        x = x.flatten(2)
        for index, layer in enumerate(self.layers[:depth]):
            x = layer(x)
            if index < last:
                x = self.activate(self.norms[index](x) if self.norms else x)
        return x


class Reshaped(nn.Module):
    """A network whose flat output `(E, n, prod(shape))` is given back as `(E, n, *shape)`."""

    def __init__(self, network: nn.Module, shape: Sequence[int]) -> None:
        super().__init__()
        self.network, self.shape = network, tuple(shape)

    def forward(self, z: Float[Tensor, "E n d"]) -> Float[Tensor, "E n ..."]:
        return self.network(z).unflatten(2, self.shape)
