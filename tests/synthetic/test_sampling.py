"""A world samples what its formula says: moments, sharing across views, reproducibility, refusals."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from synthetic import Block, ClassMixture, Gaussian, GaussianNoise, Isotropic, NotExact, Tree, World, preset
from synthetic.networks import linear
from tests.references import joint_moments
from tests.synthetic.worlds import classes, dependent, linear_worlds, seeded, world

EVERY = {**linear_worlds()}


@pytest.mark.parametrize("name", EVERY)
def test_moments_of_two_views_are_those_of_the_model(name: str) -> None:
    """Mean and covariance of (content, style, x^1, x^2) within five standard errors of the model's."""
    made = EVERY[name]
    n = 200_000
    views = made.sample(n, views=2, generator=seeded(11))
    sample = torch.cat((views.content, views.style.flatten(1), views.x.flatten(1)), 1)
    mean, covariance = joint_moments(made)
    spread = covariance.diag().sqrt()
    # the variance of a product of two standardised coordinates is at most about 3 for these laws
    assert ((sample.mean(0) - mean).abs() <= 5 * spread / n**0.5 + 1e-12).all()
    assert (
        (torch.cov(sample.mT) - covariance).abs() <= 5 * 3**0.5 * torch.outer(spread, spread) / n**0.5 + 1e-12
    ).all()


def test_the_moment_test_sees_content_drawn_with_the_covariance_of_style() -> None:
    """The mutation that published code suffered from: content and style scales swapped."""
    right = world(Gaussian(2, 2.0), Isotropic(0.5), linear(2, 3, seeded(0)), 0.1)
    wrong = world(Gaussian(2, 0.5), Isotropic(2.0), linear(2, 3, seeded(0)), 0.1)
    views = wrong.sample(50_000, generator=seeded(1))
    sample = torch.cat((views.content, views.style.flatten(1), views.x.flatten(1)), 1)
    _, covariance = joint_moments(right)
    spread = covariance.diag().sqrt()
    off = (torch.cov(sample.mT) - covariance).abs() / torch.outer(spread, spread)
    assert off.max() > 0.5


@pytest.mark.parametrize("p_keep", [0.0, 0.3, 1.0])
def test_style_is_kept_with_the_stated_probability(p_keep: float) -> None:
    views = world(Gaussian(2), Block(3, p_keep=p_keep)).sample(20_000, views=3, generator=seeded(2))
    kept = (views.style == views.style[:, :1]).all(1).double()
    assert kept.mean().item() == pytest.approx(p_keep, abs=0.01)
    both = (kept[:, 0] * kept[:, 1]).mean().item()
    assert both == pytest.approx(p_keep**2, abs=0.01), "coordinates are kept independently of each other"
    assert views.style[:, 0].var().item() == pytest.approx(1, abs=0.03), "the law of a single view does not change"


def test_p_keep_a_coordinate() -> None:
    keep = torch.tensor([0.0, 1.0, 0.5], dtype=torch.float64)
    views = world(Gaussian(2), Block(3, p_keep=keep)).sample(20_000, generator=seeded(3))
    kept = (views.style[:, 0] == views.style[:, 1]).double().mean(0)
    assert kept == pytest.approx(keep.numpy(), abs=0.015)


def test_block_latents_are_content_and_style() -> None:
    views = world(classes(), dependent()).sample(50, views=3, generator=seeded(4))
    assert torch.equal(views.z[..., :2], views.content[:, None].expand(-1, 3, -1))
    assert torch.equal(views.z[..., 2:], views.style)
    assert torch.equal(views.x, views.z)


def test_isotropic_style_is_the_deviation_from_content() -> None:
    views = world(classes(), Isotropic(0.7)).sample(50, views=3, generator=seeded(4))
    assert torch.equal(views.z, views.content[:, None] + views.style)


def test_labels_follow_their_weights_and_content_its_class() -> None:
    content = classes(spread=0.0)
    views = world(content, Isotropic(1.0)).sample(60_000, views=1, generator=seeded(5))
    assert views.label is not None
    frequency = torch.bincount(views.label, minlength=3) / 60_000
    assert frequency.tolist() == pytest.approx([1 / 6, 2 / 6, 3 / 6], abs=0.01)
    assert torch.equal(views.content, content.means[views.label])


@given(n=st.integers(1, 5), views=st.integers(1, 4), seed=st.integers(0, 100))
def test_a_generator_decides_the_sample(n: int, views: int, seed: int) -> None:
    made = EVERY["block, style kept at times"]
    first, second = (made.sample(n, views=views, generator=seeded(seed)) for _ in range(2))
    assert first.x.shape == (n, views, 5)
    assert torch.equal(first.x, second.x)
    assert not torch.equal(first.x, made.sample(n, views=views, generator=seeded(seed + 1)).x)


def test_sampling_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    preset("block").sample(10, generator=seeded())
    assert torch.equal(before, torch.get_rng_state())


def test_style_floor_of_dependent_style_is_what_regression_finds() -> None:
    """The optimal predictor of style is its conditional mean, here linear in content."""
    made = world(classes(), dependent())
    views = made.sample(200_000, views=1, generator=seeded(6))
    design = torch.cat((views.content, torch.ones(200_000, 1, dtype=torch.float64)), 1)
    style = views.style[:, 0]
    residual = style - design @ torch.linalg.lstsq(design, style).solution
    found = 1 - residual.var(0) / style.var(0)
    floor = made.style_floor(per_coordinate=True)
    assert isinstance(floor, torch.Tensor)
    assert np.allclose(found, floor, atol=0.01)
    assert made.style_floor() == pytest.approx(floor.mean().item())


def test_style_floor_is_zero_where_style_does_not_depend_on_content() -> None:
    assert preset("block").style_floor() == 0
    assert preset("paper").style_floor() == 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Gaussian(0), "positive size"),
        (lambda: Gaussian(2, -1.0), "positive standard deviation"),
        (lambda: classes(spread=-0.1), "within-class spread >= 0"),
        (lambda: ClassMixture(torch.ones(2, 3), spread=0.0), "found two at one"),
        (lambda: Tree(torch.ones(2, 3), (2,), spread=0.0), "found two at one"),
        (lambda: Isotropic(-1.0), "positive style standard deviations"),
        (lambda: Block(0), "at least one style coordinate"),
        (lambda: Block(2, p_keep=1.5), "p_keep between 0 and 1"),
        (lambda: Block(2, torch.ones(3)), "2 style coordinates"),
        (lambda: GaussianNoise(-0.1), "noise standard deviation >= 0"),
        (lambda: world(Gaussian(3), Isotropic(torch.ones(2))), "of 3 coordinates, found \\[2\\]"),
        (lambda: world(Gaussian(3), dependent(content_dim=2)), "style mean of 3"),
        (lambda: world(Gaussian(3), Isotropic(), linear(2, 4, seeded())), "mixing of 3 coordinates"),
        (lambda: linear(3, 3, seeded(), condition_number=0.5), "condition number >= 1"),
        (lambda: preset("blok"), "did you mean 'block'"),
        (lambda: preset("block", colour=3), "expected overrides of 'block'"),
        (lambda: preset("dependent-style", floor=1.0), "floor"),
        (lambda: preset("block", observation_dim=3), "at least 8 dimensions, found 3"),
        (lambda: EVERY["block"].sample(0, generator=seeded()), "at least one datum"),
        (lambda: EVERY["block"].sample(3, views=0, generator=seeded()), "at least one datum and one view"),
        (lambda: World.load("nowhere"), "expected a saved world at nowhere"),
    ],
)
def test_bad_input_is_refused_in_one_line(call, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refusal:
        call()
    assert "\n" not in str(refusal.value)


def test_a_generator_elsewhere_is_refused() -> None:
    made = preset("paper")
    object.__setattr__(made, "device", torch.device("cuda"))
    with pytest.raises(ValueError, match="expected a generator on cuda, found one on cpu"):
        made.sample(3, generator=seeded())


def test_refusals_name_the_assumption() -> None:
    nonlinear, noisefree = preset("block"), preset("block").without_noise()
    x = nonlinear.sample(4, generator=seeded()).x
    with pytest.raises(NotExact, match="nonlinear and observation noise is positive"):
        nonlinear.log_evidence(x)
    with pytest.raises(NotExact, match="views share some coordinate exactly"):
        noisefree.to(dtype=torch.float64).log_evidence(
            noisefree.to(dtype=torch.float64).sample(4, generator=seeded()).x
        )
    with pytest.raises(NotExact, match="mutual_information is not elementary"):
        EVERY["block"].mutual_information()
    with pytest.raises(NotExact, match="strictly between 0 and 1 for 11 style coordinates"):
        _ = world(Gaussian(1), Block(11, p_keep=0.5)).law
    with pytest.raises(NotExact, match="no classes"):
        EVERY["isotropic, nothing else"].label_log_prob(torch.zeros(1, 1, 2, dtype=torch.float64))
