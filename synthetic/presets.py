"""Named worlds, used by the checks, the lessons and the tests."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch

from synthetic.content import ClassMixture, Content, Gaussian, class_means, tree
from synthetic.dependence import Affine
from synthetic.mixing import Mixing, PerView
from synthetic.networks import linear, mlp
from synthetic.noise import GaussianNoise
from synthetic.parts import Number
from synthetic.published import von_kuegelgen_2021, zimmermann_2021
from synthetic.sphere import Sphere, VonMisesFisher
from synthetic.sprites import SpriteWorld
from synthetic.style import Block, Isotropic, Style
from synthetic.world import World

CLASS_MEAN_STD = 2.0  # class means are N(0, 4 I)


def preset(
    name: str,
    seed: int = 0,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    **overrides: Any,
) -> Any:
    """A named world; `seed` draws its class means and mixing weights, `overrides` change its parameters.

    A `World`, or for "sprites" a `SpriteWorld`, which samples, streams, moves, saves and shows itself alike.

    >>> preset("block", seed=3, p_keep=1.0).observation_dim
    16
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, 1, 0.3)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(PRESETS)}"
        raise ValueError(f"expected the name of a preset, found {name!r}: {hint}")
    make = PRESETS[name]
    known = _known_overrides(make)
    if unknown := set(overrides) - set(known):
        raise ValueError(f"expected overrides of {name!r} among {', '.join(known)}, found {', '.join(sorted(unknown))}")
    world = make(torch.Generator().manual_seed(seed), **overrides)
    return world.to(device, dtype)


def block(
    generator: torch.Generator,
    *,
    classes: int = 8,
    content_dim: int = 4,
    style_dim: int = 4,
    observation_dim: int = 16,
    separation: Number = 1.0,
    spread: Number = 0.5,
    style_std: Number | Sequence[Number] = 1.0,
    p_keep: Number | Sequence[Number] = 0.0,
    layers: int = 3,
    slope: Number = 0.2,
    condition_number: Number = 2.0,
    noise: Number = 0.05,
) -> World:
    """Content and style in coordinates of their own, under an MLP; class means are `separation * N(0, 4 I)`."""
    means = class_means(classes, content_dim, separation * CLASS_MEAN_STD, generator)
    mixing = mlp(
        content_dim + style_dim,
        observation_dim,
        generator,
        layers=layers,
        slope=slope,
        condition_number=condition_number,
    )
    style = Block(style_dim, std=_numbers(style_std), p_keep=_numbers(p_keep))
    return _world(ClassMixture(means, spread), style, mixing, noise)


def paper(
    generator: torch.Generator,
    *,
    classes: int = 8,
    dim: int = 4,
    observation_dim: int = 16,
    separation: Number = 1.0,
    spread: Number = 0.0,
    style_std: Number | Sequence[Number] = 1.0,
    layers: int = 3,
    slope: Number = 0.2,
    condition_number: Number = 2.0,
    noise: Number = 0.05,
) -> World:
    """`z^j = mu_k + sigma eps^j`, y the class itself: the mixture prior of Bizeul et al. (2024, arXiv 2402.01399).

    Class means are `separation * N(0, 4 I)`; `spread > 0` adds within-class content.
    """
    means = class_means(classes, dim, separation * CLASS_MEAN_STD, generator)
    mixing = mlp(dim, observation_dim, generator, layers=layers, slope=slope, condition_number=condition_number)
    return _world(ClassMixture(means, spread), Isotropic(_numbers(style_std)), mixing, noise)


def linear_gaussian(
    generator: torch.Generator,
    *,
    dim: int = 4,
    observation_dim: int = 16,
    content_std: Number = 1.0,
    style_std: Number | Sequence[Number] = 0.5,
    condition_number: Number = 2.0,
    noise: Number = 0.05,
) -> World:
    """Everything Gaussian and linear: every quantity of the theory in closed form."""
    mixing = linear(dim, observation_dim, generator, condition_number=condition_number)
    return _world(Gaussian(dim, content_std), Isotropic(_numbers(style_std)), mixing, noise)


def dependent_style(
    generator: torch.Generator,
    *,
    classes: int = 8,
    content_dim: int = 4,
    style_dim: int = 4,
    observation_dim: int = 16,
    separation: Number = 1.0,
    spread: Number = 0.5,
    style_std: Number | Sequence[Number] = 1.0,
    floor: Number = 0.5,
    p_keep: Number | Sequence[Number] = 0.0,
    layers: int = 3,
    slope: Number = 0.2,
    condition_number: Number = 2.0,
    noise: Number = 0.05,
) -> World:
    """World `block` with a style mean linear in content, scaled to `R^2(s_i | y) = floor` for every coordinate."""
    if not 0 <= floor < 1:
        raise ValueError(f"expected a floor R^2(s|y) in [0, 1), found {floor}: at 1 content would be all of style")
    means = class_means(classes, content_dim, separation * CLASS_MEAN_STD, generator)
    mixing = mlp(
        content_dim + style_dim,
        observation_dim,
        generator,
        layers=layers,
        slope=slope,
        condition_number=condition_number,
    )
    content = ClassMixture(means, spread)
    mean, covariance = content.moments(torch.empty(0, dtype=torch.float64))
    direction = torch.randn(style_dim, content_dim, generator=generator, dtype=torch.float64)
    explained = (direction @ covariance * direction).sum(-1)
    std = torch.as_tensor(style_std, dtype=torch.float64)
    weight = direction * (std * (floor / (1 - floor) / explained) ** 0.5)[:, None]
    style = Block(style_dim, _numbers(style_std), Affine(weight, -weight @ mean), _numbers(p_keep))
    return _world(content, style, mixing, noise)


def sphere(
    generator: torch.Generator,
    *,
    dim: int = 4,
    kappa: Number = 10.0,
    observation_dim: int = 16,
    layers: int = 3,
    slope: Number = 0.2,
    condition_number: Number = 2.0,
    noise: Number = 0.0,
) -> World:
    """Content uniform on the unit sphere, views `vMF(y, kappa)` around it; no noise, so everything is exact."""
    mixing = mlp(dim, observation_dim, generator, layers=layers, slope=slope, condition_number=condition_number)
    return _world(Sphere(dim), VonMisesFisher(kappa), mixing, noise)


def deep_tree(
    generator: torch.Generator,
    *,
    branching: Sequence[int] = (4, 2, 2),
    stds: Sequence[Number] = (2.0, 1.0, 0.5),
    level: int = 0,
    content_dim: int = 4,
    style_dim: int = 4,
    observation_dim: int = 16,
    spread: Number = 0.25,
    style_std: Number | Sequence[Number] = 1.0,
    p_keep: Number | Sequence[Number] = 0.0,
    layers: int = 3,
    slope: Number = 0.2,
    condition_number: Number = 2.0,
    noise: Number = 0.05,
) -> World:
    """Class, subclass, sub-subclass, instance: `block` with content in a tree; the label is the ancestor at `level`."""
    content = tree(tuple(branching), content_dim, generator, stds=tuple(stds), spread=spread, level=level)
    size = content_dim + style_dim
    mixing = mlp(size, observation_dim, generator, layers=layers, slope=slope, condition_number=condition_number)
    return _world(content, Block(style_dim, _numbers(style_std), p_keep=_numbers(p_keep)), mixing, noise)


def modalities(
    generator: torch.Generator,
    *,
    classes: int = 8,
    content_dim: int = 4,
    style_dim: int = 4,
    observation_dims: Sequence[int] = (16, 24),
    separation: Number = 1.0,
    spread: Number = 0.5,
    style_std: Number | Sequence[Number] = 1.0,
    layers: int = 3,
    slope: Number = 0.2,
    condition_number: Number = 2.0,
    noise: Number = 0.05,
) -> World:
    """World `block` seen by two instruments, as CLIP sees images and captions: a mixing of its own for each view."""
    means = class_means(classes, content_dim, separation * CLASS_MEAN_STD, generator)
    size = content_dim + style_dim
    parts = [
        mlp(size, width, generator, layers=layers, slope=slope, condition_number=condition_number)
        for width in observation_dims
    ]
    return _world(ClassMixture(means, spread), Block(style_dim, _numbers(style_std)), PerView(tuple(parts)), noise)


def sprites(generator: torch.Generator, **overrides: Any) -> SpriteWorld:
    """Images of shapes, `SpriteWorld`; all its fields are overrides. Nothing in it is random, so seeds agree."""
    return SpriteWorld(**overrides)


PRESETS: dict[str, Callable[..., World | SpriteWorld]] = {
    "block": block,
    "paper": paper,
    "linear-gaussian": linear_gaussian,
    "dependent-style": dependent_style,
    "sphere": sphere,
    "tree": deep_tree,
    "modalities": modalities,
    "sprites": sprites,
    "von-kuegelgen-2021": von_kuegelgen_2021,
    "zimmermann-2021": zimmermann_2021,
}


def _known_overrides(make: Callable[..., Any]) -> list[str]:
    if make is sprites:
        return [field.name for field in dataclasses.fields(SpriteWorld) if field.name not in ("dtype", "device")]
    return list(inspect.signature(make).parameters)[1:]


def _world(content: Content, style: Style, mixing: Mixing, noise: Number) -> World:
    return World(content, style, mixing, GaussianNoise(noise), dtype=torch.float64)


def _numbers(value: Number | Sequence[Number]) -> Any:
    return value if isinstance(value, Number) else torch.as_tensor(value, dtype=torch.float64)
