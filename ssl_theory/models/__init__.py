"""Networks that hold E members at once: parameters have a leading axis E, each member its own seed."""

from ssl_theory.models.build import NETWORKS, decoder, encoder, head
from ssl_theory.models.conv import Conv2d, ConvDecoder, ConvEncoder
from ssl_theory.models.linear import Linear, generators
from ssl_theory.models.mlp import ACTIVATIONS, MLP
from ssl_theory.models.norm import BatchNorm
from ssl_theory.models.resnet import ResNetDecoder, ResNetEncoder

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "NETWORKS",
    "BatchNorm",
    "Conv2d",
    "ConvDecoder",
    "ConvEncoder",
    "Linear",
    "ResNetDecoder",
    "ResNetEncoder",
    "decoder",
    "encoder",
    "generators",
    "head",
]
