"""Small worlds in float64 that the tests of this room share."""

import torch

from synthetic import (
    Affine,
    BernoulliNoise,
    Block,
    Box,
    ClassMixture,
    Composed,
    Content,
    Discrete,
    Fold,
    Gaussian,
    GaussianNoise,
    Identity,
    Isotropic,
    Linear,
    Mixing,
    PerView,
    Sphere,
    Style,
    Symbols,
    VonMisesFisher,
    World,
    orthogonal,
    smooth,
    tree,
)
from synthetic.networks import linear, mlp


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def classes(dim: int = 2, spread: float = 0.5, number: int = 3) -> ClassMixture:
    means = 2 * torch.randn(number, dim, generator=seeded(7), dtype=torch.float64)
    return ClassMixture(means, spread, torch.arange(1.0, number + 1, dtype=torch.float64))


def dependent(content_dim: int = 2, style_dim: int = 2, **more: object) -> Block:
    weight = torch.randn(style_dim, content_dim, generator=seeded(8), dtype=torch.float64)
    std = torch.linspace(0.4, 1.1, style_dim, dtype=torch.float64)
    return Block(style_dim, std, Affine(weight, torch.ones(style_dim, dtype=torch.float64)), **more)  # type: ignore[arg-type]


def world(content: Content, style: Style, mixing: Mixing | None = None, noise: float = 0.0) -> World:
    return World(content, style, mixing or Identity(), GaussianNoise(noise), dtype=torch.float64)


def linear_worlds() -> dict[str, World]:
    """Worlds with exact evidence of several views: every kind of content and style under a noisy linear
    mixing.
    """
    spectrum = torch.tensor([0.3, 1.2], dtype=torch.float64)
    keep = torch.tensor([0.25, 1.0], dtype=torch.float64)
    bias = torch.tensor([1.0, -2.0, 0.5, 0.0, 0.3], dtype=torch.float64)
    tall = Linear(linear(4, 5, seeded(1)).weight, bias)
    return {
        "isotropic, nothing else": world(Gaussian(2, 1.5), Isotropic(0.7)),
        "isotropic to a larger space": world(Gaussian(2, 1.5), Isotropic(0.7), linear(2, 5, seeded(2)), 0.3),
        "anisotropic classes, square": world(classes(), Isotropic(spectrum), linear(2, 2, seeded(3)), 0.2),
        "the class itself": world(classes(spread=0.0), Isotropic(0.7), linear(2, 3, seeded(3)), 0.2),
        "block": world(classes(), Block(2, 0.8), tall, 0.3),
        "block with dependent style": world(classes(), dependent(), tall, 0.3),
        "block, style kept at times": world(classes(), dependent(p_keep=keep), tall, 0.3),
        "isotropic, style kept at times": world(Gaussian(2), Isotropic(0.7, p_keep=keep), linear(2, 3, seeded(4)), 0.3),
        "into a smaller space": world(classes(), dependent(p_keep=0.5), linear(4, 3, seeded(5)), 0.4),
    }


def invertible_worlds() -> dict[str, World]:
    """Noise-free worlds under an invertible nonlinear mixing: exact by change of variables."""
    return {
        "square": world(classes(), Isotropic(0.7), mlp(2, 2, seeded(1))),
        "to a larger space": world(Gaussian(2), Isotropic(0.7), mlp(2, 4, seeded(2), layers=4)),
    }


def table_world(mixing: Mixing | None = None) -> World:
    """Three symbols of content, four of observation; one pair impossible."""
    table = torch.tensor([[0.7, 0.2, 0.1, 0.0], [0.1, 0.5, 0.2, 0.2], [0.25, 0.25, 0.25, 0.25]], dtype=torch.float64)
    return world(Discrete(torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)), Symbols(table), mixing)


def every_world() -> dict[str, World]:
    """A world for every part of the room, beside the presets."""
    leaves = tree((2, 3), 2, seeded(5), stds=(2.0, 1.0), spread=0.4)
    scale = Affine(0.2 * torch.ones(2, 2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64))
    twins = PerView((mlp(2, 3, seeded(1)), linear(2, 4, seeded(2))))
    alike = PerView((linear(2, 3, seeded(1)), linear(2, 3, seeded(2))))
    return {
        "tree": world(leaves, Isotropic(0.6), mlp(2, 2, seeded(3), smooth=True)),
        "box": world(Box(2, -1.0, 2.0), Isotropic(0.5), orthogonal(2, 4, seeded(1))),
        "sphere": world(Sphere(3), VonMisesFisher(8.0), mlp(3, 5, seeded(1))),
        "circle": world(Sphere(2), VonMisesFisher(3.0)),
        "anchored sphere": world(Sphere(4), VonMisesFisher(8.0, anchored=True), orthogonal(4, 4, seeded(1))),
        "table": table_world(),
        "laplace": world(classes(), Isotropic(0.7, shape=1.0), mlp(2, 2, seeded(1))),
        "light tails": world(Gaussian(2), Block(2, shape=6.0), linear(4, 4, seeded(1)), 0.2),
        "partial change": world(Gaussian(2), Isotropic(0.7, p_change=0.4), linear(2, 3, seeded(1)), 0.2),
        "nonlinear mean": world(classes(), Block(2, 0.5, smooth(2, 2, seeded(1))), mlp(4, 4, seeded(1)), 0.1),
        "covariance by content": world(classes(), Block(2, 0.5, log_scale=scale), linear(4, 4, seeded(1)), 0.1),
        "correlated style": world(
            Gaussian(2), Block(2, factor=scale.weight + torch.eye(2)), linear(4, 4, seeded(1)), 0.3
        ),
        "fold": world(Gaussian(2), Isotropic(0.5), Composed((orthogonal(2, 2, seeded(1)), Fold())), 0.1),
        "bernoulli": World(classes(), Isotropic(0.5), linear(2, 6, seeded(1)), BernoulliNoise(), dtype=torch.float64),
        "modalities": world(Gaussian(2), Isotropic(0.5), twins),
        "modalities of one size": world(classes(), Isotropic(0.5), alike, 0.2),
    }
