"""Contents, styles, mixings and noises beyond the linear-Gaussian: each against another route."""

import dataclasses
import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch.autograd.functional import jacobian

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
    NoNoise,
    NotExact,
    Perturbed,
    PerView,
    Symbols,
    Tree,
    World,
    linear,
    mlp,
    monte_carlo,
    orthogonal,
    tree,
)
from synthetic.exact.box import log_normal_mass
from synthetic.networks import best_conditioned_mlp
from tests.synthetic.worlds import classes, every_world, seeded, table_world, world

N = 100_000


@pytest.mark.parametrize("shape", [0.7, 1.0, 2.0, 6.0])
def test_innovations_have_the_stated_density(shape: float) -> None:
    made = world(Gaussian(1), Isotropic(2.0, shape=shape))
    style = made.sample(N, views=1, generator=seeded(1)).style.flatten().numpy()
    scale = 2 * math.exp(0.5 * (math.lgamma(1 / shape) - math.lgamma(3 / shape)))
    exact = stats.gennorm(shape, scale=scale)
    assert exact.std() == pytest.approx(2)
    assert stats.kstest(style, exact.cdf).statistic < 2 / N**0.5
    at = torch.tensor([[[-1.0]], [[0.3]], [[2.5]]], dtype=torch.float64)
    found = made.style.log_prob(at, torch.zeros(1, 1, dtype=torch.float64))
    assert np.allclose(found[:, 0], exact.logpdf(at.flatten().numpy()))


def test_partial_change_alters_random_subsets() -> None:
    made = world(Gaussian(1), Block(2, p_change=0.3))
    style = made.sample(N, views=3, generator=seeded(2)).style
    for i, j in itertools.combinations(range(3), 2):
        same = (style[:, i] == style[:, j]).double()
        assert same.mean().item() == pytest.approx(0.7**2, abs=0.01)
    all_same = (style == style[:, :1]).all(1).double().mean().item()
    assert all_same == pytest.approx(0.7**3, abs=0.01)
    with pytest.raises(NotExact, match="only for pairs"):
        every_world()["partial change"].log_evidence(torch.zeros(1, 3, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match="p_keep or p_change"):
        Block(2, p_keep=0.5, p_change=0.5)


def test_partial_change_of_pairs_is_keeping() -> None:
    x = torch.randn(5, 2, 3, generator=seeded(3), dtype=torch.float64)
    changed, kept = (
        world(Gaussian(2), Isotropic(0.7, **how), linear(2, 3, seeded(1)), 0.2)
        for how in ({"p_change": 0.4}, {"p_keep": 0.6**2})
    )
    assert torch.allclose(changed.log_evidence(x), kept.log_evidence(x))


def test_scale_of_style_follows_content() -> None:
    scale = Affine(torch.tensor([[0.5, 0.0]]).double(), torch.tensor([0.1]).double())
    made = world(Gaussian(2), Block(1, 0.7, log_scale=scale))
    views = made.sample(N, views=1, generator=seeded(4))
    white = views.style[:, 0, 0] / (0.7 * (0.5 * views.content[:, 0] + 0.1).exp())
    assert stats.kstest(white.numpy(), "norm").statistic < 2 / N**0.5
    dependent = world(
        Gaussian(2), Block(1, 0.7, Affine(torch.ones(1, 2).double(), torch.zeros(1).double()), log_scale=scale)
    )
    unexplained = 0.49 * math.exp(0.2 + 2 * 0.25)
    assert dependent.style_floor() == pytest.approx(2 / (2 + unexplained))


def test_correlated_style_has_its_covariance() -> None:
    factor = torch.tensor([[1.0, 0.0], [0.8, 0.6]]).double()
    style = (
        world(Gaussian(1), Block(2, torch.tensor([1.0, 2.0]).double(), factor=factor))
        .sample(N, generator=seeded(5))
        .style
    )
    assert torch.allclose(torch.cov(style[:, 0].mT), torch.tensor([[1.0, 1.6], [1.6, 4.0]]).double(), atol=0.06)


def test_perturbed_views_keep_the_first() -> None:
    change = torch.tensor([[1.0, 0.0], [0.5, 0.5]]).double()
    made = world(Gaussian(2), Perturbed(torch.eye(2).double(), change, 0.75))
    style = made.sample(N, views=3, generator=seeded(6)).style
    step = style[:, 1:] - style[:, :1]
    moved = (step != 0).double()
    assert moved.mean().item() == pytest.approx(0.75, abs=0.01)
    assert (moved[..., 0] * moved[..., 1]).mean().item() == pytest.approx(0.75**2, abs=0.01)
    both = step[:, 0][(moved[:, 0] == 1).all(1)]
    assert torch.allclose(torch.cov(both.mT), change @ change.mT, atol=0.03)
    assert not made.style.exchangeable
    with pytest.raises(NotExact, match=r"view\(1\) is perturbed from the first and has another law"):
        made.view(1)
    x = made.sample(2, generator=seeded()).x
    assert torch.equal(made.view(0).log_evidence(x[:, :1]), made.log_evidence(x[:, :1]))
    with pytest.raises(NotExact, match="perturbed from the first"):
        made.log_evidence(x)


def test_tree_means_and_labels() -> None:
    content = tree((2, 3, 2), 3, seeded(7), stds=(5.0, 1.0, 0.2), spread=0.1, level=1)
    assert content.classes == 6
    y, label = content.sample(N, seeded(8), torch.float64)
    assert label is not None
    assert torch.bincount(label).double().div(N).numpy() == pytest.approx(np.full(6, 1 / 6), abs=0.01)
    for k in range(6):
        own = content.leaves[2 * k : 2 * k + 2].mean(0)
        assert torch.allclose(y[label == k].mean(0), own, atol=0.02)
    between = content.leaves.unflatten(0, (2, 6)).mean(1)
    assert (content.leaves.unflatten(0, (2, 6)) - between[:, None]).std() < between.std(), "children lie near parents"
    assert Tree(content.leaves, (2, 3, 2), level=-1).classes == 12
    labels = world(content, Isotropic(0.3)).label_log_prob(y[:200, None])
    assert (labels.argmax(1) == label[:200]).double().mean() > 0.7
    with pytest.raises(ValueError, match="expected 12 leaves"):
        Tree(content.leaves[:5], (2, 3, 2))
    with pytest.raises(ValueError, match="label level below 3"):
        Tree(content.leaves, (2, 3, 2), level=3)
    with pytest.raises(ValueError, match="for each of 2 depths"):
        tree((2, 2), 2, seeded(), stds=(1.0,))


def test_box_evidence_is_the_integral() -> None:
    made = world(Box(1, -1.0, 2.0), Isotropic(0.5))
    for z in ([[0.3], [0.9], [0.1]], [[-40.0], [-41.0], [-40.5]]):
        views = torch.tensor([z], dtype=torch.float64)

        def log_integrand(y: float, views: torch.Tensor = views) -> float:
            return float((-2 * (views - y) ** 2).sum()) - 3 * math.log(0.5 * math.sqrt(2 * math.pi))

        peak = max(log_integrand(y) for y in np.linspace(-1, 2, 301))
        value = integrate.quad(lambda y, p=peak, f=log_integrand: math.exp(f(y) - p), -1, 2, epsrel=1e-11, limit=200)[0]
        assert made.log_evidence(views).item() == pytest.approx(math.log(value / 3) + peak, rel=1e-7)


def test_normal_mass_in_the_tails() -> None:
    low = torch.tensor([-1.0, 10.0, -60.0, 30.0], dtype=torch.float64)
    found = log_normal_mass(low, low + 0.5)
    for a, value in zip(low.tolist(), found.tolist(), strict=True):
        side = (-a - 0.5, -a) if a > 0 else (a, a + 0.5)
        expected = stats.norm.logcdf(side[1]) + math.log1p(
            -math.exp(stats.norm.logcdf(side[0]) - stats.norm.logcdf(side[1]))
        )
        assert value == pytest.approx(expected, rel=1e-12)


def test_table_by_enumeration() -> None:
    """Every symbol pair by hand: evidence, posterior, informations, accuracy."""
    made = table_world()
    weights, table = made.content.weights.numpy(), made.style.table.numpy()  # type: ignore[attr-defined]
    joint = np.einsum("k,ka,kb->ab", weights, table, table)
    eye = torch.eye(4, dtype=torch.float64)
    pairs = torch.stack([torch.stack((eye[a], eye[b])) for a in range(4) for b in range(4)])
    assert np.allclose(made.log_evidence(pairs).exp().view(4, 4), joint)
    alone = weights @ table
    information = sum(joint[a, b] * math.log(joint[a, b] / alone[a] / alone[b]) for a in range(4) for b in range(4))
    assert made.mutual_information() == pytest.approx(information)
    assert np.allclose(made.pmi_matrix(eye, eye), np.log(joint / np.outer(alone, alone)))
    both = weights[:, None] * table
    assert made.label_accuracy() == pytest.approx(both.max(0).sum())
    assert np.allclose(made.label_log_prob(eye[:, None]).exp().mT, both / alone)
    posterior = made.posterior(eye[:, None])
    assert torch.allclose(posterior.mean, made.label_log_prob(eye[:, None]).exp())
    known = both[both > 0]
    expected = (known * np.log((both / np.outer(weights, alone))[both > 0])).sum()
    assert made.content_information() == pytest.approx(expected)
    assert made.content_entropy() == pytest.approx(stats.entropy(weights))
    explained = (alone * (both / alone - weights[:, None]) ** 2).sum(1) / (weights * (1 - weights))
    assert np.allclose(made.content_r2(), explained)


def test_renaming_symbols_changes_nothing() -> None:
    plain, mixed = table_world(), table_world(mlp(4, 6, seeded(1)))
    views = plain.sample(20, generator=seeded(2))
    assert torch.allclose(mixed.log_evidence(mixed.mixing(views.z)), plain.log_evidence(views.z))


def test_impossible_tables() -> None:
    with pytest.raises(ValueError, match="non-negative weights of content"):
        Discrete(torch.tensor([0.5, -0.5]))
    with pytest.raises(ValueError, match="table of 2 rows"):
        world(Discrete(torch.ones(2).double()), Symbols(torch.ones(3, 2).double()))
    with pytest.raises(NotExact, match="not discrete"):
        _ = world(Gaussian(3), Symbols(torch.ones(3, 2).double())).law


@pytest.mark.parametrize("width", [3, 5])
def test_composition_and_smooth_networks(width: int) -> None:
    z = torch.randn(6, 3, generator=seeded(9), dtype=torch.float64)
    for mixing in (
        mlp(3, width, seeded(1), smooth=True, condition_number=8.0),
        Composed((orthogonal(3, 3, seeded(2)), mlp(3, width, seeded(3)), linear(width, width, seeded(4)))),
    ):
        assert torch.allclose(mixing.inverse(mixing(z)), z, atol=1e-10)
        exact = torch.stack([jacobian(mixing, point) for point in z])
        assert torch.allclose(mixing.jacobian(z), exact, atol=1e-10)
        assert torch.allclose(mixing.log_volume(z), 0.5 * torch.logdet(exact.mT @ exact), atol=1e-10)


def test_smooth_activation_survives_large_values() -> None:
    mixing = mlp(2, 2, seeded(1), smooth=True)
    z = torch.tensor([[1e4, -1e4], [-3e3, 2.0]], dtype=torch.float64)
    assert torch.allclose(mixing.inverse(mixing(z)), z, rtol=1e-9)


def test_folding_loses_the_sign() -> None:
    z = torch.randn(5, 2, generator=seeded(1), dtype=torch.float64)
    assert torch.equal(Fold()(z), Fold()(-z))
    with pytest.raises(NotExact, match="is not invertible"):
        Fold().inverse(z)
    with pytest.raises(NotExact, match="not invertible"):
        world(Gaussian(2), Isotropic(), Fold()).log_evidence(z[:, None])


def test_impossible_compositions() -> None:
    with pytest.raises(ValueError, match="map of 3 coordinates to follow"):
        Composed((linear(2, 3, seeded()), linear(2, 2, seeded())))
    with pytest.raises(ValueError, match="at least two views"):
        PerView((linear(2, 3, seeded()),))
    with pytest.raises(ValueError, match="same latents"):
        PerView((linear(2, 3, seeded()), linear(3, 3, seeded())))


def test_bernoulli_observations() -> None:
    made = every_world()["bernoulli"]
    views = made.sample(N, views=1, generator=seeded(3))
    assert set(views.x.unique().tolist()) == {0.0, 1.0}
    assert torch.allclose(views.x.mean((0, 1)), made.mixing(views.z).sigmoid().mean((0, 1)), atol=0.01)
    mixed = made.mixing(views.z[:5, 0])
    expected = stats.bernoulli(mixed.sigmoid().numpy()).logpmf(views.x[:5, 0].numpy()).sum(1)
    assert np.allclose(made.noise.log_prob(views.x[:5, 0], mixed), expected)
    with pytest.raises(NotExact, match="Bernoulli, not Gaussian"):
        made.log_evidence(views.x[:2])


def test_two_gaussian_classes_have_an_exact_accuracy() -> None:
    means = torch.tensor([[0.0, 0.0], [1.0, 0.5]], dtype=torch.float64)
    content = ClassMixture(means, 0.5, torch.tensor([0.2, 0.8], dtype=torch.float64))
    made = World(content, Isotropic(1.2), linear(2, 4, seeded(1)), GaussianNoise(0.3), dtype=torch.float64)
    views = made.sample(N, views=1, generator=seeded(4))
    assert views.label is not None
    right = made.label_log_prob(views.x).argmax(1).eq(views.label).double()
    assert made.label_accuracy() == pytest.approx(right.mean().item(), abs=0.006)


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_classes_that_differ_where_nothing_is_seen_are_guessed_by_their_share(share: float) -> None:
    means, weights = (torch.tensor(x, dtype=torch.float64) for x in ([[0.0, 0.0], [0.0, 1.0]], [share, 1 - share]))
    first = Linear(torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    made = world(ClassMixture(means, 0.3, weights), Isotropic(0.5), first, 0.1)
    assert made.label_accuracy() == pytest.approx(1 - share)


def test_entropies() -> None:
    assert world(Gaussian(3, 0.7), Isotropic()).content_entropy() == pytest.approx(3 * stats.norm(0, 0.7).entropy())
    assert world(Box(2, 0.0, 3.0), Isotropic()).content_entropy() == pytest.approx(2 * math.log(3))
    mixture = world(classes(spread=0.0), Isotropic())
    assert mixture.content_entropy() == pytest.approx(stats.entropy([1, 2, 3]))
    assert mixture.label_entropy() == pytest.approx(stats.entropy([1, 2, 3]))
    leaves = world(tree((2, 3), 2, seeded(), stds=(1.0, 1.0), spread=0.0), Isotropic())
    assert leaves.content_entropy() == pytest.approx(math.log(6))
    assert leaves.label_entropy() == pytest.approx(math.log(2))
    with pytest.raises(NotExact, match="no elementary entropy; average -log p"):
        world(classes(), Isotropic()).content_entropy()


@dataclass(frozen=True, eq=False, repr=False)
class Ring(Content):
    """Content of a user's own, that can only be drawn."""

    @property
    def dim(self) -> int:
        return 2

    def sample(self, n: int, generator: torch.Generator, dtype: torch.dtype) -> tuple[torch.Tensor, None]:
        y = torch.randn(n, 2, generator=generator, dtype=dtype)
        return y / y.norm(dim=1, keepdim=True), None

    def formula(self) -> str:
        return "y on a ring"


def test_remedies_are_others_than_what_was_asked() -> None:
    made, g = world(Ring(), Isotropic(0.5), noise=0.2), seeded(1)
    x = made.sample(20, generator=g).x
    for call in (
        lambda: monte_carlo.content_information(made, 10, generator=g),
        lambda: monte_carlo.r2(made, "content", 10, generator=g),
    ):
        with pytest.raises(NotExact, match="log_evidence, pmi, mutual_information or style_floor, which take any"):
            call()
    assert monte_carlo.log_evidence(made, x, generator=g).value.isfinite().all()
    assert monte_carlo.pmi(made, x, generator=g).value.isfinite().all()
    assert monte_carlo.mutual_information(made, 20, generator=g).value.isfinite()
    assert monte_carlo.style_floor(made, 20, generator=g).value.isfinite().all()
    box = world(Box(2, -1.0, 2.0), Isotropic(0.5))
    for refused in (box.content_r2, box.content_information, lambda: monte_carlo.r2(box, "content", 10, generator=g)):
        with pytest.raises(NotExact, match="use a world of Gaussian content"):
            refused()


def test_information_of_latents_is_estimated_in_the_world_that_shows_them() -> None:
    made = world(classes(), Isotropic(0.7), linear(2, 3, seeded(1)), 1.0)
    with pytest.raises(NotExact, match=r"of the same world with mixing=Identity\(\) and noise=NoNoise\(\)"):
        made.latent_information()
    shown, seen = (
        monte_carlo.mutual_information(w, 2_000, generator=seeded(2)).value
        for w in (dataclasses.replace(made, mixing=Identity(), noise=NoNoise()), made)
    )
    views = made.sample(2_000, generator=seeded(2))
    latents = made.log_prior(views.z) - sum(made.log_prior(views.z[:, j : j + 1]) for j in (0, 1))
    assert shown.item() == pytest.approx(latents.mean().item(), abs=0.1)
    assert shown > seen + 0.2


def test_published_weights_are_well_conditioned() -> None:
    mixing = best_conditioned_mlp(5, seeded(1), layers=3, slope=0.2, pool=2_000, ratio=0.001)
    typical = best_conditioned_mlp(5, seeded(1), layers=3, slope=0.2, pool=3, ratio=1.0)
    for weight in mixing.weights:
        assert torch.allclose(weight.norm(dim=0), torch.ones(5, dtype=torch.float64))
    worst, usual = (max(torch.linalg.cond(w).item() for w in m.weights) for m in (mixing, typical))
    assert worst < 2.5 < usual
    with pytest.raises(ValueError, match="pool of at least 3"):
        best_conditioned_mlp(5, seeded(1), layers=3, slope=0.2, pool=2, ratio=1.0)


def test_binary_noise_is_a_part_like_any_other() -> None:
    assert "Bernoulli" in str(every_world()["bernoulli"])
    assert not BernoulliNoise().silent
