"""Exact truth of linear-Gaussian worlds and their mixtures, against scipy on the full covariance of
everything.
"""

import math
import time

import numpy as np
import pytest
import torch
from scipy import stats

from synthetic import Block, Gaussian, Isotropic, NotExact, Perturbed, Tree, World, preset
from synthetic.networks import linear
from tests.references import (
    evidence_by_scipy,
    gaussian_components,
    posterior_moments_by_conditioning,
    quantity_slices,
)
from tests.synthetic.worlds import classes, invertible_worlds, linear_worlds, seeded, world

WORLDS = linear_worlds()
SINGLE = ["isotropic, nothing else", "isotropic to a larger space"]


@pytest.mark.parametrize("views", [1, 2, 4])
@pytest.mark.parametrize("name", WORLDS)
def test_evidence_is_scipys(name: str, views: int) -> None:
    made = WORLDS[name]
    x = made.sample(6, views=views, generator=seeded(1)).x
    assert np.allclose(made.log_evidence(x), evidence_by_scipy(made, x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("of", ["content", "latent", "style"])
@pytest.mark.parametrize("name", WORLDS)
def test_posteriors_are_those_of_conditioning(name: str, of: str, views: int) -> None:
    made = WORLDS[name]
    x = made.sample(3, views=views, generator=seeded(2)).x
    found = made.posterior(x, of)
    for i in range(3):
        mean, covariance = posterior_moments_by_conditioning(made, x[i], of)
        assert np.allclose(found.mean[i], mean, atol=1e-9)
        assert np.allclose(found.covariance[i], covariance, atol=1e-9)


@pytest.mark.parametrize("name", WORLDS)
def test_bayes_rule_holds(name: str) -> None:
    """`log p(x) = log p(x | z) + log p(z) - log p(z | x)` at any z: the bound of the theory closes at the
    posterior.
    """
    made = WORLDS[name]
    if made.noise.gaussian_std() == 0 or made.content_dim < made.latent_dim:
        pytest.skip("several views of these latents have no density of their own")
    if "kept" in name:
        pytest.skip("kept style is shared exactly by the latents")
    views = made.sample(5, views=3, generator=seeded(3))
    scale = torch.tensor(made.noise.gaussian_std(), dtype=torch.float64)
    likelihood = torch.distributions.Normal(made.mixing(views.z), scale).log_prob(views.x).sum((1, 2))
    posterior = made.posterior(views.x, "latent").log_prob(views.z.flatten(1))
    assert torch.allclose(likelihood + made.log_prior(views.z) - posterior, made.log_evidence(views.x), atol=1e-8)


@pytest.mark.parametrize("name", WORLDS)
def test_pmi_of_pairs_is_the_diagonal_of_the_matrix(name: str) -> None:
    made = WORLDS[name]
    views = made.sample(5, generator=seeded(4))
    first, second = views.x[:, 0], views.x[:, 1]
    matrix = made.pmi_matrix(first, second)
    assert torch.allclose(made.pmi(first, second), matrix.diagonal(), atol=1e-9)
    expected = [[made.pmi(first[i : i + 1], second[j : j + 1]).item() for j in range(5)] for i in range(5)]
    assert np.allclose(matrix, expected, atol=1e-9)


@pytest.mark.parametrize("name", SINGLE)
def test_informations_are_those_of_the_joint_covariance(name: str) -> None:
    made = WORLDS[name]
    ((_, _, covariance),) = gaussian_components(made, 2)
    at = quantity_slices(made, 2)

    def half_log_det(*rows: slice) -> float:
        index = np.r_[rows]
        return 0.5 * np.linalg.slogdet(covariance[np.ix_(index, index)])[1]

    D, d = made.observation_dim, made.latent_dim
    x1, x2 = slice(at["x"].start, at["x"].start + D), slice(at["x"].start + D, at["x"].stop)
    z1, z2 = (
        slice(at["latent"].start, at["latent"].start + d),
        slice(at["latent"].start + d, at["latent"].stop),
    )
    y = at["content"]
    assert made.mutual_information() == pytest.approx(half_log_det(x1) + half_log_det(x2) - half_log_det(x1, x2))
    assert made.latent_information() == pytest.approx(half_log_det(z1) + half_log_det(z2) - half_log_det(z1, z2))
    assert made.content_information() == pytest.approx(half_log_det(x1) + half_log_det(y) - half_log_det(x1, y))


def test_information_of_the_yardstick() -> None:
    """Five coordinate pairs of correlation 0.8: `I = -(5/2) log(1 - 0.64) = 2.554` nats."""
    made = world(Gaussian(5, 0.8**0.5), Isotropic(0.2**0.5))
    assert made.mutual_information() == pytest.approx(-2.5 * math.log(1 - 0.64), abs=1e-12)
    assert made.latent_information() == pytest.approx(made.mutual_information(), abs=1e-12)


def test_information_does_not_change_under_invertible_maps() -> None:
    plain = world(Gaussian(3), Isotropic(0.5))
    for mixing in (linear(3, 3, seeded(1), condition_number=50.0), linear(3, 6, seeded(2))):
        assert world(Gaussian(3), Isotropic(0.5), mixing).mutual_information() == pytest.approx(
            plain.mutual_information()
        )


@pytest.mark.parametrize("name", SINGLE)
def test_information_is_mean_pmi(name: str) -> None:
    made = WORLDS[name]
    x = made.sample(100_000, generator=seeded(5)).x
    pmi = made.pmi(x[:, 0], x[:, 1])
    assert made.mutual_information() == pytest.approx(pmi.mean().item(), abs=5 * pmi.std().item() / 100_000**0.5)
    assert made.mutual_information() <= made.content_information() + 1e-12


@pytest.mark.parametrize("name", SINGLE)
def test_optimal_r2_is_that_of_regression(name: str) -> None:
    """In a Gaussian world the optimal predictor is linear, so least squares attains the ceiling."""
    made = WORLDS[name]
    views = made.sample(100_000, views=1, generator=seeded(6))
    design = torch.cat((views.x[:, 0], torch.ones(100_000, 1, dtype=torch.float64)), 1)
    for ceiling, target in ((made.content_r2(), views.content), (made.style_r2(), views.style[:, 0])):
        residual = target - design @ torch.linalg.lstsq(design, target).solution
        assert np.allclose(ceiling, 1 - residual.var(0) / target.var(0), atol=0.01)


@pytest.mark.parametrize("name", invertible_worlds())
def test_change_of_variables(name: str) -> None:
    """Evidence of noise-free nonlinear views: prior of the latents minus the log-volume, by autograd."""
    made = invertible_worlds()[name]
    views = made.sample(4, views=2, generator=seeded(7))
    volumes = [
        0.5 * torch.logdet(j.mT @ j)
        for z in views.z.flatten(0, 1)
        for j in [torch.autograd.functional.jacobian(made.mixing, z)]
    ]
    flat = world(made.content, made.style)
    prior = evidence_by_scipy(flat, views.z)
    assert np.allclose(made.log_evidence(views.x), prior - torch.stack(volumes).view(4, 2).sum(1).numpy(), atol=1e-8)
    assert torch.allclose(made.pmi(views.x[:, 0], views.x[:, 1]), flat.pmi(views.z[:, 0], views.z[:, 1]), atol=1e-8)
    if made.classes is None:
        assert made.mutual_information() == pytest.approx(flat.mutual_information())


def test_evidence_integrates_to_one_under_a_square_mixing() -> None:
    made = invertible_worlds()["square"]
    grid = torch.linspace(-8, 8, 401, dtype=torch.float64)
    x = torch.cartesian_prod(grid, grid)[:, None]
    assert (made.log_evidence(x).exp().sum() * (16 / 400) ** 2).item() == pytest.approx(1, abs=0.01)


def test_label_posterior_is_bayes_rule() -> None:
    made = WORLDS["anisotropic classes, square"]
    x = made.sample(4, views=2, generator=seeded(8)).x
    joint = []
    for p, m, c in gaussian_components(made, 2):
        at = quantity_slices(made, 2)["x"]
        joint.append(np.log(p) + stats.multivariate_normal(m[at], c[at, at]).logpdf(x.flatten(1).numpy()))
    expected = np.array(joint).T - np.logaddexp.reduce(np.array(joint), 0)[:, None]
    assert np.allclose(made.label_log_prob(x), expected, atol=1e-9)
    assert torch.allclose(made.label_log_prob(x).exp().sum(1), torch.ones(4, dtype=torch.float64))


def test_content_shown_without_noise_has_infinite_information() -> None:
    from synthetic import Block

    made = world(Gaussian(2), Block(2))
    assert made.mutual_information() == math.inf
    assert made.content_information() == math.inf
    kept = world(Gaussian(2), Isotropic(0.5, p_keep=1.0))
    assert kept.mutual_information() == math.inf
    assert kept.content_information() < math.inf


def test_one_view_of_a_noise_free_block_world_has_a_density() -> None:
    from synthetic import Block

    made = world(classes(), Block(2, 0.7))
    x = made.sample(5, views=1, generator=seeded(1)).x
    assert np.allclose(made.log_evidence(x), evidence_by_scipy(made, x))
    with pytest.raises(NotExact, match="share some coordinate exactly"):
        made.log_evidence(x.expand(-1, 2, -1))


def test_kept_style_makes_views_more_informative() -> None:
    information = [
        world(Gaussian(2), Isotropic(1.0, p_keep=p), linear(2, 2, seeded(1)), 0.5).mutual_information()
        for p in (0.0, 1.0)
    ]
    assert information[1] > information[0] + 0.5


def test_many_views_of_a_large_world_are_fast() -> None:
    """J = 64 views of D = 256: only 256 by 256 matrices are factored."""
    made = preset("linear-gaussian", dim=256, observation_dim=256, dtype=torch.float64)
    x = made.sample(4, views=64, generator=seeded(1)).x
    start = time.perf_counter()
    evidence = made.log_evidence(x)
    assert time.perf_counter() - start < 5
    assert evidence.isfinite().all()
    # one direction of a diagonal world, by hand: all coordinates are alike after an orthogonal map
    small = preset("linear-gaussian", dim=2, observation_dim=2, dtype=torch.float64)
    y = small.sample(3, views=64, generator=seeded(2)).x
    assert np.allclose(small.log_evidence(y), evidence_by_scipy(small, y))


def test_gamma_and_sigma_enter_as_in_the_theory() -> None:
    """The Gaussian prior of the theory, typed out: `J |zbar|^2 / (sigma^2 + J gamma^2)` and its normaliser."""
    gamma, sigma, J, d = 1.5, 0.7, 4, 2
    made: World = WORLDS["isotropic, nothing else"]
    z = made.sample(6, views=J, generator=seeded(9)).z
    centre = z.mean(1)
    spread = (z - centre[:, None]).square().sum((1, 2))
    total = sigma**2 + J * gamma**2
    log_p = -0.5 * (
        d * ((J - 1) * math.log(sigma**2) + math.log(total) + J * math.log(2 * math.pi))
        + spread / sigma**2
        + J * centre.square().sum(1) / total
    )
    assert torch.allclose(made.log_prior(z), log_p, atol=1e-10)


def test_information_of_perturbed_views_is_refused_but_where_it_is_infinite() -> None:
    """Noise leaves it finite and unknown; without noise content is shared exactly, whatever becomes of style."""
    eye = torch.eye(2, dtype=torch.float64)
    with pytest.raises(NotExact, match="views are perturbed from the first"):
        world(Gaussian(2), Perturbed(eye, 3 * eye), noise=0.5).mutual_information()
    for dtype in (torch.float32, torch.float64):
        assert preset("von-kuegelgen-2021", pool=10, dtype=dtype).mutual_information() == math.inf


def test_information_is_infinite_only_where_something_is_shared_exactly() -> None:
    """What float32 does not resolve is computed in float64: small noise, and a spectrum of style that is steep."""
    noisy = world(Gaussian(4), Block(4), linear(8, 16, seeded(1)), 3e-3)
    steep = world(Gaussian(2), Isotropic(torch.tensor([1e-4, 1.0], dtype=torch.float64)))
    for made in (noisy, steep):
        single = made.to(dtype=torch.float32)
        assert single.mutual_information() == pytest.approx(made.mutual_information(), rel=1e-5)
        assert single.content_information() == pytest.approx(made.content_information(), rel=1e-5)
        assert made.mutual_information() < made.content_information() < 40
        with pytest.raises(NotExact, match="singular to the precision of float32; use world"):
            single.log_evidence(single.sample(2, generator=seeded(2)).x)
    faint = world(Gaussian(2), Block(2), noise=1e-9)
    for quantity in (faint.mutual_information, faint.content_information):
        with pytest.raises(NotExact, match="singular to the precision of float64; use more observation noise"):
            quantity()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_information_of_what_is_shown_exactly_is_infinite_in_any_precision(dtype: torch.dtype) -> None:
    """A block of its own; and a style of one direction only, in a smaller space (nothing else is singular there)."""
    wide = linear(4, 2, seeded(1))
    thin = Block(2, factor=torch.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=torch.float64))
    for made in (world(Gaussian(2), Block(2)), world(Gaussian(2), thin, wide)):
        single = made.to(dtype=dtype)
        assert single.mutual_information() == math.inf
        assert single.content_information() == math.inf


def test_accuracy_of_one_class_is_one() -> None:
    """The leaves of a tree are not its classes: two leaves of one class are never mistaken for one another."""
    leaves = torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    assert world(Tree(leaves, (1, 2), 0.5), Isotropic(0.5)).label_accuracy() == 1
    apart = world(Tree(leaves, (1, 2), 0.5, level=1), Isotropic(0.5)).label_accuracy()
    assert apart == pytest.approx(stats.norm.cdf(0.5 / 0.5**0.5))
