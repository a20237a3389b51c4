"""Estimates agree with exact values and quadrature, and their standard errors are honest."""

import itertools
import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from synthetic import (
    Affine,
    BernoulliNoise,
    Block,
    Box,
    ClassMixture,
    Composed,
    Fold,
    Gaussian,
    Isotropic,
    NotExact,
    Perturbed,
    World,
    linear,
    mlp,
    monte_carlo,
    orthogonal,
    preset,
    smooth,
    tree,
)
from synthetic.importance import importance_log_ratios
from tests.synthetic.worlds import classes, every_world, linear_worlds, seeded, world

Estimator = Callable[[torch.Generator], monte_carlo.Estimate]


def close(estimate: monte_carlo.Estimate, expected: Tensor | float, sigmas: float = 5.0) -> bool:
    return bool(((estimate.value - expected).abs() <= sigmas * estimate.standard_error + 1e-9).all())


@pytest.mark.parametrize(
    "name", ["isotropic to a larger space", "block, style kept at times", "modalities of one size"]
)
def test_importance_sampling_agrees_where_evidence_is_exact(name: str) -> None:
    made = (linear_worlds() | every_world())[name]
    x = made.sample(20, generator=seeded(1)).x
    ratios = importance_log_ratios(made, x, 4_000, seeded(2))
    value = ratios.logsumexp(0) - math.log(4_000)
    error = (ratios - value).exp().std(0) / 4_000**0.5
    assert ((value - made.log_evidence(x)).abs() <= 5 * error).all()
    assert (error < 0.1).all()


def test_exact_evidence_is_handed_on() -> None:
    made = linear_worlds()["block"]
    x = made.sample(5, generator=seeded(1)).x
    estimate = monte_carlo.log_evidence(made, x, generator=seeded(2))
    assert torch.equal(estimate.value, made.log_evidence(x))
    assert (estimate.standard_error == 0).all()


def by_quadrature(made: World, x: Tensor, prior: World) -> Tensor:
    """`log p(x^{1:J})` over a grid of the two latent numbers of all views, whose density is `prior`'s evidence."""
    grid = torch.linspace(-6, 6, 601, dtype=torch.float64)
    pairs = torch.cartesian_prod(grid, grid)
    views = x.shape[1]
    z = pairs[:, :, None] if views == 2 else pairs[:, None]
    likelihood = sum(
        made.noise.log_prob(x[:, j, None].expand(-1, len(z), -1), made.mixing(z[:, j])[None].expand(len(x), -1, -1))
        for j in range(views)
    )
    return (likelihood + prior.log_evidence(z)).logsumexp(1) + 2 * math.log(12 / 600)


@pytest.mark.parametrize("mixing", ["mlp", "smooth", "fold"])
def test_nonlinear_noisy_evidence_is_that_of_quadrature(mixing: str) -> None:
    """Two views of one latent number each; and one view of a block world, whose latent is two numbers."""
    maps = {
        "mlp": mlp(1, 2, seeded(1)),
        "smooth": mlp(1, 2, seeded(1), smooth=True),
        "fold": Composed((linear(1, 2, seeded(1)), Fold())),
    }
    prior = world(Gaussian(1), Isotropic(0.6))
    made = world(Gaussian(1), Isotropic(0.6), maps[mixing], 0.3)
    x = made.sample(10, generator=seeded(2)).x
    estimate = monte_carlo.log_evidence(made, x, samples=20_000, generator=seeded(3))
    assert close(estimate, by_quadrature(made, x, prior))
    assert (estimate.standard_error < 0.2).all()


def test_nonlinear_noisy_block_world_is_that_of_quadrature() -> None:
    prior = world(classes(dim=1), Block(1, 0.8))
    made = world(classes(dim=1), Block(1, 0.8), mlp(2, 3, seeded(4)), 0.3)
    x = made.sample(10, views=1, generator=seeded(5)).x
    estimate = monte_carlo.log_evidence(made, x, samples=10_000, generator=seeded(6))
    assert close(estimate, by_quadrature(made, x, prior))


def test_bernoulli_evidence_is_that_of_quadrature() -> None:
    prior = world(Gaussian(1), Isotropic(0.6))
    made = World(Gaussian(1), Isotropic(0.6), linear(1, 3, seeded(1)), BernoulliNoise(), dtype=torch.float64)
    x = made.sample(10, generator=seeded(7)).x
    assert close(monte_carlo.log_evidence(made, x, samples=20_000, generator=seeded(8)), by_quadrature(made, x, prior))


def test_laplace_evidence_is_an_integral_over_content() -> None:
    made = world(Gaussian(1), Isotropic(0.7, shape=1.0), mlp(1, 1, seeded(1)))
    views = made.sample(10, generator=seeded(9))
    y = torch.linspace(-8, 8, 4001, dtype=torch.float64)[:, None]
    log_prior = torch.distributions.Normal(0.0, 1.0).log_prob(y[:, 0])
    exact = (made.style.log_prob(views.z, y) + log_prior).logsumexp(1) + math.log(16 / 4000)
    exact = exact - made.mixing.log_volume(views.z).sum(1)
    estimate = monte_carlo.log_evidence(made, views.x, samples=20_000, generator=seeded(10))
    assert close(estimate, exact)


@cache
def estimators() -> dict[str, Estimator]:
    known, tied = linear_worlds(), Affine(torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    two = ClassMixture(torch.tensor([[-0.3], [1.2]], dtype=torch.float64), 0.0, torch.tensor([0.8, 0.2]).double())
    scaled = world(two, Block(1, 0.5, tied, log_scale=tied, shape=6.0))
    mixed, discrete, one = (
        known[w] for w in ("anisotropic classes, square", "the class itself", "isotropic, nothing else")
    )
    return {
        "mutual_information": lambda g: monte_carlo.mutual_information(mixed, 200, generator=g),
        "content_information": lambda g: monte_carlo.content_information(mixed, 200, generator=g),
        "content_information of classes": lambda g: monte_carlo.content_information(discrete, 200, generator=g),
        "label_accuracy": lambda g: monte_carlo.label_accuracy(mixed, 200, generator=g),
        "r2": lambda g: monte_carlo.r2(mixed, "content", 200, generator=g),
        "r2 of the class itself": lambda g: monte_carlo.r2(discrete, "content", 200, generator=g),
        "r2 of one Gaussian": lambda g: monte_carlo.r2(one, "style", 200, views=2, generator=g),
        "info_nce": lambda g: monte_carlo.info_nce(one, 4, 5, generator=g),
        "style_floor": lambda g: monte_carlo.style_floor(scaled, 200, generator=g),
    }


def honest(values: Tensor, errors: Tensor) -> bool:
    """Whether values of independent draws, one a row, scatter as their standard errors say."""
    return bool(((values.std(0) / errors.square().mean(0).sqrt()).log().abs() < math.log(1.4)).all())


@pytest.mark.parametrize("name", estimators())
def test_standard_errors_are_honest(name: str) -> None:
    found = [estimators()[name](seeded(s)) for s in range(40)]
    assert honest(torch.stack([e.value for e in found]), torch.stack([e.standard_error for e in found]))


@pytest.mark.parametrize("of", [monte_carlo.log_evidence, monte_carlo.pmi])
def test_standard_errors_of_sampled_evidence_are_honest(of: Callable[..., monte_carlo.Estimate]) -> None:
    """Of a datum that is given 200 times, each time with samples of its own."""
    made = world(Gaussian(1), Isotropic(0.6), mlp(1, 2, seeded(1)), 0.3)
    x = made.sample(1, generator=seeded(2)).x.expand(200, -1, -1)
    found = of(made, x, samples=400, generator=seeded(3))
    assert honest(found.value, found.standard_error)


def test_error_of_pmi_is_also_that_of_each_view_alone() -> None:
    """Where views are alike and so no less uncertain apart than together."""
    made = world(Gaussian(1), Isotropic(0.05), mlp(1, 2, seeded(1)), 0.3)
    x = made.sample(1, generator=seeded(8)).x.expand(100, -1, -1)
    found = monte_carlo.pmi(made, x, samples=400, generator=seeded(3))
    assert honest(found.value, found.standard_error)


def test_information_of_a_mixture_is_between_its_bounds() -> None:
    made = world(classes(spread=0.0), Isotropic(0.5), mlp(2, 4, seeded(1)))
    between = monte_carlo.mutual_information(made, 5_000, generator=seeded(1))
    content = monte_carlo.content_information(made, 5_000, generator=seeded(2))
    assert 0.5 < between.value < content.value + 5 * content.standard_error
    assert content.value < made.content_entropy()


def test_information_of_one_gaussian_is_the_exact_one() -> None:
    made = linear_worlds()["isotropic to a larger space"]
    assert close(monte_carlo.mutual_information(made, 5_000, generator=seeded(1)), made.mutual_information())
    assert close(monte_carlo.content_information(made, 5_000, generator=seeded(1)), made.content_information())


def test_pmi_of_modalities() -> None:
    made = world(Gaussian(1), Isotropic(0.6), mlp(1, 2, seeded(1)), 0.3)
    prior = world(Gaussian(1), Isotropic(0.6))
    x = made.sample(6, generator=seeded(2)).x
    estimate = monte_carlo.pmi(made, x, samples=10_000, generator=seeded(3))
    alone = [quadrature_of_one(made, x[:, j], prior) for j in (0, 1)]
    assert close(estimate, by_quadrature(made, x, prior) - alone[0] - alone[1])


def quadrature_of_one(made: World, x: Tensor, prior: World) -> Tensor:
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64)[:, None]
    likelihood = made.noise.log_prob(x[:, None].expand(-1, len(z), -1), made.mixing(z)[None].expand(len(x), -1, -1))
    return (likelihood + prior.log_evidence(z[:, None])).logsumexp(1) + math.log(16 / 4000)


def test_optimal_info_nce_approaches_the_information_from_below() -> None:
    made = world(Gaussian(2, 1.0), Isotropic(0.8), orthogonal(2, 3, seeded(1)))
    information, gaps = made.mutual_information(), []
    for negatives, batches in ((2, 150), (8, 60), (64, 20)):
        estimate = monte_carlo.info_nce(made, negatives, batches, generator=seeded(2))
        bound = math.log(negatives) - estimate.value.item()
        assert bound <= min(information, math.log(negatives)) + 3 * estimate.standard_error.item()
        gaps.append(information - bound)
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.05
    assert monte_carlo.info_nce(made, 1, 2, generator=seeded()).value.item() == pytest.approx(0)


def test_information_of_unequal_classes_is_that_of_quadrature() -> None:
    weights, means = torch.tensor([[0.1, 0.2, 0.7], [-1.0, 1.0, 2.5]], dtype=torch.float64)
    made = world(ClassMixture(means[:, None], 0.0, weights), Isotropic(1.0))
    x = torch.linspace(-8, 10, 2001, dtype=torch.float64)
    joint = weights[:, None] * torch.distributions.Normal(means[:, None], 1.0).log_prob(x).exp()
    exact = (joint * (joint / (weights[:, None] * joint.sum(0))).log()).sum().item() * 18 / 2000
    assert close(monte_carlo.content_information(made, 5_000, generator=seeded(1)), exact)


def test_accuracy_and_r2_grow_with_views() -> None:
    made = linear_worlds()["anisotropic classes, square"]
    few, many = (monte_carlo.label_accuracy(made, 4_000, views=j, generator=seeded(1)) for j in (1, 8))
    assert few.value < many.value
    one, eight = (monte_carlo.r2(made, "content", 4_000, views=j, generator=seeded(1)) for j in (1, 8))
    assert (one.value < eight.value).all()
    for of, views in itertools.product(("content", "style", "latent"), (1, 3)):
        estimate = monte_carlo.r2(made, of, 100, views=views, generator=seeded(1))
        assert estimate.value.shape == estimate.standard_error.shape == (2,)


def test_r2_of_a_mixture_beats_regression() -> None:
    """The Bayes-optimal `R^2` is at least that of the best linear predictor."""
    made = linear_worlds()["anisotropic classes, square"]
    views = made.sample(50_000, views=1, generator=seeded(2))
    design = torch.cat((views.x[:, 0], torch.ones(50_000, 1, dtype=torch.float64)), 1)
    residual = views.content - design @ torch.linalg.lstsq(design, views.content).solution
    linear_r2 = 1 - residual.var(0) / views.content.var(0)
    assert (monte_carlo.r2(made, "content", 10_000, generator=seeded(3)).value > linear_r2 - 0.01).all()


def test_floor_of_a_nonlinear_mean_is_that_of_a_fine_sample() -> None:
    made = every_world()["nonlinear mean"]
    with pytest.raises(NotExact, match="not affine"):
        made.style_floor()
    estimate = monte_carlo.style_floor(made, 20_000, generator=seeded(1))
    views = made.sample(400_000, views=1, generator=seeded(2))
    mean = made.style.conditional_mean(views.content)
    expected = mean.var(0) / views.style[:, 0].var(0)
    assert close(estimate, expected, 6.0)
    assert np.all((expected.numpy() > 0) & (expected.numpy() < 1))


def test_refusals_and_bad_input() -> None:
    made = linear_worlds()["block"]
    with pytest.raises(ValueError, match="r2 of content, style or latent, found 'colour'"):
        monte_carlo.r2(made, "colour", 10, generator=seeded())
    with pytest.raises(ValueError, match="at least 1 candidate and 2 batches"):
        monte_carlo.info_nce(made, 4, 1, generator=seeded())
    assert "+-" in str(monte_carlo.label_accuracy(made, 10, generator=seeded()))


@pytest.mark.parametrize("samples", [1, 2, 3, 5, 6])
def test_importance_sampling_is_unbiased_whatever_the_number_of_samples(samples: int) -> None:
    made = world(Gaussian(1), Isotropic(0.7), linear(1, 2, seeded(1)), 0.3)
    x = made.sample(1, generator=seeded(2)).x.expand(20_000, -1, -1)
    ratios = importance_log_ratios(made, x, samples, seeded(3))
    assert len(ratios) == 4 * math.ceil(samples / 4)
    share = (ratios - made.log_evidence(x)).exp().mean(0)
    assert share.mean().item() == pytest.approx(1, abs=5 * share.std().item() / 20_000**0.5)


def test_error_of_few_samples_counts_those_that_were_drawn() -> None:
    made = world(Gaussian(1), Isotropic(0.6), mlp(1, 2, seeded(1)), 0.3)
    x = made.sample(3, generator=seeded(2)).x
    five, eight = (monte_carlo.log_evidence(made, x, samples=s, generator=seeded(3)) for s in (5, 8))
    assert torch.equal(five.value, eight.value)
    assert torch.equal(five.standard_error, eight.standard_error)


def test_content_information_of_a_tree_is_that_of_its_leaves() -> None:
    """Content is the leaf, whichever ancestor is the label: eight leaves far apart tell log 8 nats."""
    leaves = tree((2, 4), 4, seeded(1), stds=(3.0, 3.0), spread=0.0)
    made = world(leaves, Isotropic(0.1), linear(4, 6, seeded(2)), 0.05)
    assert leaves.level == 0
    estimate = monte_carlo.content_information(made, 2_000, generator=seeded(3))
    assert estimate.value.item() == pytest.approx(math.log(8), abs=0.01)


def test_noisy_content_of_a_box_is_that_of_wider_style() -> None:
    """`y + std eps + noise nu` is a view of more style: exact, where the sampled world knows of no closed form."""
    made = world(Box(1, -1.0, 2.0), Isotropic(0.5), noise=0.4)
    x = made.sample(10, generator=seeded(1)).x
    estimate = monte_carlo.log_evidence(made, x, samples=20_000, generator=seeded(2))
    assert close(estimate, world(Box(1, -1.0, 2.0), Isotropic(math.hypot(0.5, 0.4))).log_evidence(x))
    assert (estimate.standard_error > 0).all()
    assert (estimate.standard_error < 0.1).all()


def test_three_views_that_change_in_part_are_a_mixture_over_what_each_redraws() -> None:
    made = world(Gaussian(1), Isotropic(0.8, p_change=0.3), noise=0.4)
    x = made.sample(10, views=3, generator=seeded(1)).x
    joint = []
    for redrawn in np.ndindex(2, 2, 2):
        kept = torch.outer(*[1 - torch.tensor(redrawn, dtype=torch.float64)] * 2).fill_diagonal_(1)
        covariance = 1 + 0.64 * kept + 0.16 * torch.eye(3, dtype=torch.float64)
        law = torch.distributions.MultivariateNormal(torch.zeros(3, dtype=torch.float64), covariance)
        weight = sum(math.log(0.3 if change else 0.7) for change in redrawn)
        joint.append(law.log_prob(x[:, :, 0]) + weight)
    estimate = monte_carlo.log_evidence(made, x, samples=50_000, generator=seeded(2))
    assert close(estimate, torch.stack(joint).logsumexp(0))
    assert (estimate.standard_error < 0.2).all()


@pytest.mark.parametrize("style", ["laplace", "smooth mean", "scale by content", "sphere"])
def test_every_world_with_noise_has_an_estimate(style: str) -> None:
    scale = Affine(0.3 * torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    made = {
        "laplace": world(Gaussian(1), Isotropic(0.5, shape=1.0), noise=0.5),
        "smooth mean": world(Gaussian(1), Block(1, 0.5, smooth(1, 1, seeded(1))), noise=0.5),
        "scale by content": world(Gaussian(1), Block(1, 0.5, log_scale=scale), noise=0.5),
        "sphere": preset("sphere", dim=2, noise=0.5, dtype=torch.float64),
    }[style]
    x = made.sample(5, generator=seeded(2)).x
    first, second = (monte_carlo.log_evidence(made, x, samples=40_000, generator=seeded(s)) for s in (3, 4))
    error = torch.hypot(first.standard_error, second.standard_error)
    assert (error < 0.5).all()
    assert ((first.value - second.value).abs() < 5 * error).all()
    assert monte_carlo.mutual_information(made, 5, generator=seeded(5)).value.isfinite()


def test_pmi_of_perturbed_views_takes_each_view_at_its_own_law() -> None:
    """Where all of style changes everything is Gaussian: the second view's variance is that of the change larger."""
    eye = torch.eye(1, dtype=torch.float64)
    made = world(Gaussian(1), Perturbed(0.5 * eye, 2 * eye), noise=0.5)
    x = made.sample(20, generator=seeded(1)).x
    single = torch.tensor([1.0, 0.25], dtype=torch.float64)
    first, second = single + 0.25, single + 0.25 + torch.tensor([0.0, 4.0], dtype=torch.float64)
    normal = torch.distributions.Normal
    alone = sum(normal(0.0, v.sqrt()).log_prob(x[:, j]).sum(1) for j, v in enumerate((first, second)))
    pairs = torch.stack((torch.stack((first, single)), torch.stack((single, second)))).movedim(-1, 0)
    together = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), pairs)
    exact = together.log_prob(x.mT).sum(1) - alone
    estimate = monte_carlo.pmi(made, x, samples=100_000, generator=seeded(2))
    assert close(estimate, exact)
    assert estimate.standard_error.mean() < 0.1
    with pytest.raises(NotExact, match="add observation noise"):
        monte_carlo.pmi(made.without_noise(), x, generator=seeded(3))
