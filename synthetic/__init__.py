"""Worlds whose truth is known: content, style, mixing and noise; samples of J views, and exact answers."""

from synthetic import monte_carlo
from synthetic.alphabet import Discrete, Symbols
from synthetic.content import Box, ClassMixture, Content, Gaussian, Tree, class_means, tree
from synthetic.dependence import Affine, Dependence, Smooth, smooth
from synthetic.mixing import Composed, Fold, Identity, Linear, Mixing, PerView
from synthetic.networks import MLP, best_conditioned_mlp, linear, mlp, orthogonal
from synthetic.noise import BernoulliNoise, GaussianNoise, Noise, NoNoise
from synthetic.presets import PRESETS, preset
from synthetic.refusal import NotExact
from synthetic.sampler import Sampler
from synthetic.saved import load
from synthetic.sphere import Sphere, VonMisesFisher
from synthetic.style import Block, Centred, Isotropic, Perturbed, Style
from synthetic.views import Views
from synthetic.world import World

__all__ = [
    "MLP",
    "PRESETS",
    "Affine",
    "BernoulliNoise",
    "Block",
    "Box",
    "Centred",
    "ClassMixture",
    "Composed",
    "Content",
    "Dependence",
    "Discrete",
    "Fold",
    "Gaussian",
    "GaussianNoise",
    "Identity",
    "Isotropic",
    "Linear",
    "Mixing",
    "NoNoise",
    "Noise",
    "NotExact",
    "PerView",
    "Perturbed",
    "Sampler",
    "Smooth",
    "Sphere",
    "Style",
    "Symbols",
    "Tree",
    "Views",
    "VonMisesFisher",
    "World",
    "best_conditioned_mlp",
    "class_means",
    "linear",
    "load",
    "mlp",
    "monte_carlo",
    "orthogonal",
    "preset",
    "smooth",
    "tree",
]
