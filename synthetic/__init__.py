"""Worlds whose truth is known: content, style, mixing and noise; samples of J views, and exact answers
about them.
"""

from synthetic.content import ClassMixture, Content, Gaussian
from synthetic.dependence import Affine
from synthetic.mixing import MLP, Identity, Linear, Mixing, linear, mlp
from synthetic.noise import GaussianNoise, Noise, NoNoise
from synthetic.presets import PRESETS, preset
from synthetic.refusal import NotExact
from synthetic.style import Block, Isotropic, Style
from synthetic.views import Views
from synthetic.world import World

__all__ = [
    "MLP",
    "PRESETS",
    "Affine",
    "Block",
    "ClassMixture",
    "Content",
    "Gaussian",
    "GaussianNoise",
    "Identity",
    "Isotropic",
    "Linear",
    "Mixing",
    "NoNoise",
    "Noise",
    "NotExact",
    "Style",
    "Views",
    "World",
    "linear",
    "mlp",
    "preset",
]
