"""Networks that hold E members at once: parameters have a leading axis E, each member its own seed."""

from ssl_theory.models.linear import Linear, generators
from ssl_theory.models.mlp import ACTIVATIONS, MLP, decoder, encoder, head
from ssl_theory.models.norm import BatchNorm

__all__ = ["ACTIVATIONS", "MLP", "BatchNorm", "Linear", "decoder", "encoder", "generators", "head"]
