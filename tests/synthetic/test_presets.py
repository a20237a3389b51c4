"""Named worlds have the constants that the theory and the papers state."""

import math
from typing import Any

import pytest
import torch

from synthetic import (
    MLP,
    Affine,
    Block,
    ClassMixture,
    Gaussian,
    GaussianNoise,
    Isotropic,
    Perturbed,
    PerView,
    Sphere,
    Tree,
    VonMisesFisher,
    preset,
)
from synthetic.sprites import SpriteWorld
from tests.synthetic.worlds import seeded


def means_of(**overrides: Any) -> torch.Tensor:
    return torch.cat([preset("block", seed=s, **overrides).content.means for s in range(60)])


def test_block_has_the_constants_of_the_theory() -> None:
    world = preset("block")
    assert isinstance(world.content, ClassMixture)
    assert isinstance(world.style, Block)
    assert isinstance(world.mixing, MLP)
    assert (world.classes, world.content_dim, world.style_dim, world.observation_dim) == (8, 4, 4, 16)
    assert (world.content.spread, world.style.std, world.style.p_keep) == (0.5, 1.0, 0.0)
    assert world.noise.gaussian_std() == 0.05
    assert len(world.mixing.weights) == 3
    assert world.mixing.slope == 0.2
    assert torch.cov(means_of().mT) == pytest.approx((4 * torch.eye(4)).numpy(), abs=1.0)
    assert torch.cov(means_of(separation=0.5).mT) == pytest.approx(torch.eye(4).numpy(), abs=0.25)


def test_paper_is_the_isotropic_mixture() -> None:
    world = preset("paper", separation=1.5, classes=5, dim=3)
    assert isinstance(world.style, Isotropic)
    assert (world.classes, world.latent_dim, world.content.spread, world.style.std) == (5, 3, 0.0, 1.0)
    near, far = (preset("paper", seed=3, separation=s).content.means for s in (0.5, 1.5))
    assert torch.allclose(3 * near, far)


def test_linear_gaussian_is_all_exact() -> None:
    world = preset("linear-gaussian", dtype=torch.float64)
    assert isinstance(world.content, Gaussian)
    assert math.isfinite(world.mutual_information() + world.content_information() + world.latent_information())


@pytest.mark.parametrize("floor", [0.0, 0.3, 0.9])
def test_dependent_style_has_the_floor_it_is_asked_for(floor: float) -> None:
    world = preset("dependent-style", floor=floor, style_std=[0.5, 1.0, 2.0, 1.0], dtype=torch.float64)
    assert world.style_floor(per_coordinate=True) == pytest.approx([floor] * 4, abs=1e-9)
    assert isinstance(world.style.mean, Affine)


def test_sphere_tree_modalities() -> None:
    sphere, tree, modalities = (preset(name) for name in ("sphere", "tree", "modalities"))
    assert isinstance(sphere.content, Sphere)
    assert sphere.noise.gaussian_std() == 0
    assert isinstance(tree.content, Tree)
    assert (tree.classes, len(tree.content.leaves), preset("tree", level=-1).classes) == (4, 16, 16)
    assert isinstance(modalities.mixing, PerView)
    assert modalities.observation_dims == (16, 24)
    assert preset("modalities", observation_dims=(16, 16)).sample(3, generator=seeded()).x.shape == (3, 2, 16)


def test_von_kuegelgen_2021() -> None:
    """Content and style 5-dimensional, Wishart covariances, style-change probability 0.75, three leaky-ReLU layers."""
    world = preset("von-kuegelgen-2021", pool=500)
    assert (world.content_dim, world.style_dim, world.observation_dim) == (5, 5, 10)
    assert isinstance(world.style, Perturbed)
    assert world.style.p_change == 0.75
    assert isinstance(world.mixing, MLP)
    assert (len(world.mixing.weights), world.mixing.slope) == (3, 0.2)
    assert world.noise.silent
    factors = [preset("von-kuegelgen-2021", seed=s, pool=5).content.factor for s in range(100)]
    mean_covariance = torch.stack([f @ f.mT for f in factors]).mean(0)
    assert mean_covariance == pytest.approx((5 * torch.eye(5)).numpy(), abs=1.3), "Wishart: degrees of freedom times I"
    plain = preset("von-kuegelgen-2021", pool=5, dependent=False, causal=False)
    assert torch.equal(plain.content.factor, torch.eye(5))
    assert plain.style_floor() == 0


def test_covariances_of_von_kuegelgen_2021_are_drawn_each_by_itself() -> None:
    world = preset("von-kuegelgen-2021", pool=5)
    factors = torch.stack([world.content.factor, world.style.factor, world.style.change])
    assert len(factors.unique()) == 3 * 5 * 5


def test_zimmermann_2021() -> None:
    """Uniform on the sphere in R^10, vMF of concentration 10, three leaky-ReLU layers, the first view the centre."""
    world = preset("zimmermann-2021", pool=100)
    assert isinstance(world.content, Sphere)
    assert isinstance(world.style, VonMisesFisher)
    assert (world.content_dim, world.style.kappa, world.style.anchored) == (10, 10.0, True)
    assert (len(world.mixing.weights), world.mixing.slope, world.noise.silent) == (3, 0.2, True)
    views = world.sample(5, generator=seeded())
    assert torch.allclose(views.z[:, 0], views.content, atol=1e-6)


def test_sprites_take_their_own_overrides() -> None:
    world = preset("sprites", size=16, p_keep=1.0, dtype=torch.float64)
    assert isinstance(world, SpriteWorld)
    assert (world.size, world.dtype) == (16, torch.float64)
    with pytest.raises(ValueError, match="expected overrides of 'sprites' among size"):
        preset("sprites", sise=3)


def test_lists_become_one_value_a_coordinate() -> None:
    world = preset("block", p_keep=[0.0, 1.0, 0.0, 1.0], style_std=[1, 2, 3, 4])
    views = world.sample(50, generator=seeded())
    kept = (views.style[:, 0] == views.style[:, 1]).all(0)
    assert kept.tolist() == [False, True, False, True]
    assert isinstance(world.noise, GaussianNoise)
