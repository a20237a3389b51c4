"""Worlds of published numerical experiments, with their constants.

They differ from their code in what a seed fixes: here the covariances and maps are drawn once and belong to the
world, so that all views and all batches have one law.
"""

from __future__ import annotations

import torch

from synthetic.content import Gaussian
from synthetic.dependence import Affine
from synthetic.networks import best_conditioned_mlp
from synthetic.noise import NoNoise
from synthetic.parts import Number
from synthetic.sphere import Sphere, VonMisesFisher
from synthetic.style import Perturbed
from synthetic.world import World


def von_kuegelgen_2021(
    generator: torch.Generator,
    *,
    content_dim: int = 5,
    style_dim: int = 5,
    p_change: Number = 0.75,
    dependent: bool = True,
    causal: bool = True,
    layers: int = 3,
    slope: Number = 0.2,
    pool: int = 25_000,
    ratio: float = 0.001,
) -> World:
    """The numerical experiment of von Kuegelgen et al. (2021, arXiv 2106.04619, section 5.1).

        c ~ N(0, Sigma_c),  s | c ~ N(a + B c, Sigma_s),  s' = s + A * delta,  delta ~ N(0, Sigma_A)

    with content and style 5-dimensional, all three covariances Wishart(I) with as many degrees of freedom as
    dimensions (`dependent`; else identities), entries of a and B N(0, 1) (`causal`; else 0), each style coordinate
    changed (A) with probability 0.75, and a mixing of three square leaky-ReLU layers (slope 0.2) whose weights are
    chosen by condition number from 25,000. The first view is unperturbed.
    """

    def factor(size: int) -> torch.Tensor:
        drawn = torch.randn(size, size, generator=generator, dtype=torch.float64)
        return drawn if dependent else torch.eye(size, dtype=torch.float64)

    content = Gaussian(content_dim, factor=factor(content_dim))
    style, change = factor(style_dim), factor(style_dim)
    weight = torch.randn(style_dim, content_dim, generator=generator, dtype=torch.float64)
    bias = torch.randn(style_dim, generator=generator, dtype=torch.float64)
    mean = Affine(weight, bias) if causal else None
    size = content_dim + style_dim
    mixing = best_conditioned_mlp(size, generator, layers=layers, slope=slope, pool=pool, ratio=ratio)
    return World(content, Perturbed(style, change, p_change, mean), mixing, NoNoise(), dtype=torch.float64)


def zimmermann_2021(
    generator: torch.Generator,
    *,
    dim: int = 10,
    kappa: Number = 10.0,
    layers: int = 3,
    slope: Number = 0.2,
    pool: int = 25_000,
    ratio: float = 0.0,
) -> World:
    """The spherical experiment of Zimmermann et al. (2021, arXiv 2102.08850, table 1).

    `z` uniform on the unit sphere of R^10 and a positive `z' ~ vMF(z, kappa = 10)`: an anchored world, the first view
    shows the centre itself. The mixing has three square leaky-ReLU layers (slope 0.2), the best conditioned of
    25,000 random weights.
    """
    mixing = best_conditioned_mlp(dim, generator, layers=layers, slope=slope, pool=pool, ratio=ratio)
    return World(Sphere(dim), VonMisesFisher(kappa, anchored=True), mixing, NoNoise(), dtype=torch.float64)
