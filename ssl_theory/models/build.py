"""Encoders, decoders and heads by name: "mlp", "conv" (small convolutional) and "resnet" (residual)."""

import math
from collections.abc import Sequence

from torch import nn

from ssl_theory.models.conv import ConvDecoder, ConvEncoder
from ssl_theory.models.linear import Seed
from ssl_theory.models.mlp import MLP, Reshaped
from ssl_theory.models.resnet import ResNetDecoder, ResNetEncoder

NETWORKS = ("mlp", "conv", "resnet")


def encoder(
    shape: Sequence[int],
    outputs: int,
    seeds: Sequence[Seed],
    *,
    network: str = "mlp",
    hidden: Sequence[int] = (128, 128, 128),
    activation: str = "relu",
    batch_norm: bool = False,
) -> nn.Module:
    """`(E, n, *shape) -> (E, n, outputs)`.

    `hidden` are the widths of an MLP's hidden layers (over the flattened input), the channels of the convolutions of
    stride 2, or those of the residual stages.
    """
    kind = known(network)
    if kind == "mlp":
        sizes = (math.prod(shape), *hidden, outputs)
        return MLP(sizes, seeds, activation=activation, batch_norm=batch_norm)
    make = ConvEncoder if kind == "conv" else ResNetEncoder
    return make(shape, outputs, seeds, hidden=hidden, activation=activation, batch_norm=batch_norm)


def decoder(
    shape: Sequence[int],
    latent_dim: int,
    seeds: Sequence[Seed],
    *,
    network: str = "mlp",
    hidden: Sequence[int] = (128, 128, 128),
    activation: str = "relu",
    batch_norm: bool = False,
) -> nn.Module:
    """`(E, n, latent_dim) -> (E, n, *shape)`: the mirror of the encoder of the same name and `hidden`."""
    kind = known(network)
    if kind == "mlp":
        sizes = (latent_dim, *reversed(hidden), math.prod(shape))
        return Reshaped(MLP(sizes, seeds, activation=activation, batch_norm=batch_norm), shape)
    make = ConvDecoder if kind == "conv" else ResNetDecoder
    return make(shape, latent_dim, seeds, hidden=hidden, activation=activation, batch_norm=batch_norm)


def head(
    inputs: int,
    widths: Sequence[int],
    seeds: Sequence[Seed],
    *,
    activation: str = "relu",
    batch_norm: bool = False,
) -> nn.Module:
    """Projection head `(E, n, inputs) -> (E, n, widths[-1])`; one width is a linear head, more are an MLP."""
    return MLP((inputs, *widths), seeds, activation=activation, batch_norm=batch_norm)


def known(network: str) -> str:
    if network not in NETWORKS:
        raise ValueError(f"network must be one of {', '.join(NETWORKS)}, found {network!r}")
    return network
