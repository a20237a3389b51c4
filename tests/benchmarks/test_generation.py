"""Samples follow the prior, distances tell near from far, and evidence of a linear-Gaussian model is the exact one."""

import math
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from ssl_theory.benchmarks import generation
from ssl_theory.benchmarks.augmentation import Affine, AugmentedImages, ImageViews
from ssl_theory.benchmarks.data import Images
from ssl_theory.benchmarks.examination import Examination
from ssl_theory.learners import VAE, Fitted, SimCLR, SimVAE, fit
from ssl_theory.learners.members import Members

SEEDS = (0, 1)


class Code(nn.Module):
    """Decoder `z -> image` with the latent as the first pixels of `(1, 2, 3)`."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.cat([z, torch.zeros(*z.shape[:-1], 6 - z.shape[-1])], -1).unflatten(-1, (1, 2, 3))


class Exact(nn.Module):
    """Encoder `(E, n, 1, 2, 3)` to mean and log-variance: so much of the first two pixels, so sure."""

    def __init__(self, gain: float, variance: float) -> None:
        super().__init__()
        self.gain, self.variance = nn.Parameter(torch.tensor(gain)), variance

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = self.gain * x.flatten(2)[..., :2]
        return torch.cat([mean, torch.full_like(mean, math.log(self.variance))], -1)


def made(learner, modules: dict[str, nn.Module], diverged=(False, False)) -> Fitted:
    members = Members.of(learner, SEEDS)
    history = fit(SimCLR(), AugmentedImages(pixels(4), Affine(0.1)), steps=0, seeds=[0], device="cpu")
    return Fitted(
        learner=learner,
        members=members,
        modules=nn.ModuleDict(modules),
        shape=(1, 2, 3),
        steps=0,
        history=history.history,
        divergences=history.divergences,
        diverged=np.array(diverged),
    )


def pixels(n: int) -> Images:
    return Images(torch.zeros(n, 1, 2, 3, dtype=torch.uint8), torch.arange(n) % 2)


@pytest.fixture(autouse=True)
def _single():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    yield
    torch.set_default_dtype(before)


def exam() -> Examination:
    views = ImageViews(torch.rand(8, 2, 1, 2, 3), torch.zeros(8, 2, 4), torch.arange(8) % 2)
    parts = pixels(8), pixels(8), pixels(8)
    return Examination(2, *parts, views, views, Affine.names, views)


def drawn_from(fitted: Fitted, n: int = 4000) -> torch.Tensor:
    images = generation.samples(fitted, n, torch.Generator().manual_seed(0))
    assert images.shape == (2, n, 1, 2, 3)
    return images.flatten(2)[..., :2]


@pytest.mark.parametrize(
    ("learner", "variance"),
    [
        (VAE(latent_dim=2), 1.0),
        (SimVAE(latent_dim=2, style_variance=0.5, content_variance=3.0), 3.5),
        (SimVAE(latent_dim=2, prior="split"), 1.0),
    ],
)
def test_samples_have_the_variance_of_one_view_under_the_prior(learner, variance):
    modules: dict[str, nn.Module] = {"encoder": Exact(1.0, 1.0), "decoder": Code()}
    if getattr(learner, "prior", "") == "split":
        modules["prior"] = learner.build((1, 2, 3), [torch.Generator().manual_seed(s) for s in SEEDS])["prior"]
    z = drawn_from(made(learner, modules))
    torch.testing.assert_close(z.var((0, 1)), torch.full((2,), variance), rtol=0.06, atol=0)
    torch.testing.assert_close(z.mean((0, 1)), torch.zeros(2), rtol=0, atol=0.08)


def test_clusters_of_a_mixture_take_turns():
    learner = SimVAE(latent_dim=2, prior="mixture", classes=3, style_variance=0.01)
    modules = learner.build((1, 2, 3), [torch.Generator().manual_seed(s) for s in SEEDS])
    z = drawn_from(made(learner, {"encoder": modules["encoder"], "decoder": Code(), "prior": modules["prior"]}), 600)
    means = z.unflatten(1, (200, 3)).mean(1)
    torch.testing.assert_close(means, modules["prior"]().detach(), rtol=0, atol=0.05)
    assert (z.unflatten(1, (200, 3)).var(1) < 0.02).all()


def test_a_flat_prior_and_what_does_not_generate_are_not_judged():
    for learner in (SimVAE(latent_dim=2, prior="flat"), SimCLR(latent_dim=2)):
        rows, drawn = generation.judged(made(learner, {"encoder": Exact(1.0, 1.0)}), exam(), 0)
        assert drawn is None
        assert rows["value"].isna().all()
        assert len(rows) == 6


def joint_views(n: int, gamma2: float, sigma2: float, noise: float) -> torch.Tensor:
    """Two views of a linear-Gaussian world: y ~ N(0, gamma2), z = y + N(0, sigma2), x = (z, 0) + N(0, noise)."""
    g = torch.Generator().manual_seed(3)
    y = gamma2**0.5 * torch.randn(n, 1, 2, generator=g)
    z = y + sigma2**0.5 * torch.randn(n, 2, 2, generator=g)
    x = torch.cat([z, torch.zeros(n, 2, 4)], -1) + noise**0.5 * torch.randn(n, 2, 6, generator=g)
    return x.unflatten(-1, (1, 2, 3))


def exact_evidence(x: torch.Tensor, gamma2: float, sigma2: float, noise: float) -> float:
    """`log p(x^1, x^2) / 2` by the joint Gaussian of each pixel's two views."""
    eye, one = torch.eye(2), torch.ones(2, 2)
    seen = MultivariateNormal(torch.zeros(2), gamma2 * one + (sigma2 + noise) * eye)
    rest = MultivariateNormal(torch.zeros(2), noise * eye)
    flat = x.flatten(2)
    total = sum(seen.log_prob(flat[..., i]) for i in (0, 1)) + sum(rest.log_prob(flat[..., i]) for i in range(2, 6))
    return float(total.mean()) / 2


@pytest.mark.parametrize(
    ("learner", "gamma2", "sigma2"),
    [
        (VAE(latent_dim=2, decoder_variance=0.3), 0.0, 1.0),
        (SimVAE(latent_dim=2, style_variance=0.4, content_variance=1.0, decoder_variance=0.3), 1.0, 0.4),
    ],
)
def test_evidence_is_the_exact_one_in_nats_a_view(learner, gamma2, sigma2):
    total = gamma2 + sigma2
    encoder = Exact(total / (total + 0.3), total * 0.3 / (total + 0.3))  # the posterior of a view by itself
    fitted = made(learner, {"encoder": encoder, "decoder": Code()}, diverged=(False, True))
    x = joint_views(400, gamma2, sigma2, 0.3)
    bound, evidence = generation.evidences(fitted, x, torch.Generator().manual_seed(0))
    truth = exact_evidence(x, gamma2, sigma2, 0.3)
    assert float(evidence[0]) == pytest.approx(truth, abs=0.03)
    assert math.isnan(evidence[1])
    assert math.isnan(bound[1])
    if gamma2 == 0:
        assert float(bound[0]) == pytest.approx(truth, abs=0.02)  # the posterior is exact: no gap
    else:
        assert float(bound[0]) < truth - 0.05  # the true posterior couples the views


def test_the_bound_of_a_posterior_that_is_too_sure_is_lower_by_their_divergence():
    exact = 0.3 / 1.3
    modules: dict[str, nn.Module] = {"encoder": Exact(1 / 1.3, exact / 2), "decoder": Code()}
    x = joint_views(400, 0.0, 1.0, 0.3)
    learner = VAE(latent_dim=2, decoder_variance=0.3)
    bound, _ = generation.evidences(made(learner, modules), x, torch.Generator().manual_seed(0))
    divergence = 0.5 - 1 + math.log(2)  # two latent dimensions, half of it each
    assert float(bound[0]) == pytest.approx(exact_evidence(x, 0.0, 1.0, 0.3) - divergence, abs=0.02)


def test_distance_is_near_nothing_for_the_same_law_and_grows_with_the_difference():
    g = torch.Generator().manual_seed(0)
    real, same = torch.rand(400, 1, 12, 12, generator=g), torch.rand(400, 1, 12, 12, generator=g)
    lost = torch.full_like(real, torch.nan)
    drawn = torch.stack([same, 0.8 * same, 0.5 * same, lost])
    near, some, far, none = generation.frechet(drawn, real).tolist()
    assert 0 <= near < 0.05 * far
    assert near < some < far
    assert math.isnan(none)
    assert torch.equal(generation.frechet(drawn[2:3], real), generation.frechet(drawn, real)[2:3])
    colour = generation.frechet(drawn.expand(-1, -1, 3, -1, -1), real.expand(-1, 3, -1, -1))
    assert float(colour[2]) == pytest.approx(far, rel=1e-4)


def test_distance_is_that_between_the_gaussians_of_the_features():
    g = torch.Generator().manual_seed(1)
    real, drawn = torch.rand(300, 3, 8, 8, generator=g), 0.6 * torch.rand(300, 3, 8, 8, generator=g)
    a, b = (generation.RandomConv()(images).double().numpy() for images in (real, drawn))
    from scipy.linalg import sqrtm

    root = sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    assert float(generation.frechet(drawn[None], real)) == pytest.approx(expected, rel=1e-2)


def test_too_few_images_have_no_distance():
    assert generation.frechet(torch.zeros(2, 1, 1, 8, 8), torch.zeros(1, 1, 8, 8)).isnan().all()


def test_features_are_fixed_and_named():
    x = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    assert torch.equal(generation.RandomConv()(x), generation.RandomConv()(x))
    assert generation.RandomConv()(x).shape == (2, 64)
    assert generation.extractor() in ("random-conv-64", "inception-2048")


def test_these_features_and_no_others_are_random_conv_64():
    """Numbers of today: any change of them makes another measure, whose distances need another name."""
    x = torch.linspace(0, 1, 3 * 32 * 32).view(1, 3, 32, 32)
    found = generation.RandomConv()(x)[0, :3]
    torch.testing.assert_close(found, torch.tensor([-0.5922637, -0.9483552, -0.3923778]), rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", ["random-conv-64", "inception-2048"])
def test_torchmetrics_is_told_that_images_are_in_0_to_1_and_to_keep_the_real_ones(monkeypatch, name):
    """By a class in its place, since Inception's weights are not here: its own reading of bytes would be silent."""
    told, shown = [], []

    class Distance:
        def __init__(self, feature, **options):
            told.append((feature, options))

        def update(self, images, *, real):
            shown.append((real, images.shape[1], float(images.min()), float(images.max())))

        def reset(self):
            shown.append("reset")

        def compute(self):
            return torch.tensor(7.0)

    monkeypatch.setattr("torchmetrics.image.fid.FrechetInceptionDistance", Distance)
    monkeypatch.setattr(generation, "extractor", lambda: name)
    ramp = torch.linspace(-0.5, 1.5, 10).view(10, 1, 1, 1).expand(10, 1, 4, 4)
    assert generation.frechet(ramp[None], ramp).tolist() == [7.0]
    (feature, options), *others = told
    assert isinstance(feature, generation.RandomConv) if name == "random-conv-64" else feature == 2048
    assert options == {"normalize": True, "reset_real_features": False, "sync_on_compute": False}
    assert others == []
    assert shown == [(True, 3, 0.0, 1.0), "reset", (False, 3, 0.0, 1.0)]


def test_the_package_that_inception_needs_can_be_installed_with_this_one():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert any(line.startswith("torch-fidelity") for line in project["optional-dependencies"]["fid"])


def test_inception_only_where_package_and_weights_are(monkeypatch, tmp_path):
    monkeypatch.setattr(generation.torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(generation.importlib.util, "find_spec", lambda name: object())
    assert generation.extractor() == "random-conv-64"
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / generation.INCEPTION_WEIGHTS).write_bytes(b"")
    assert generation.extractor() == "inception-2048"
    monkeypatch.setattr(generation.importlib.util, "find_spec", lambda name: None)
    assert generation.extractor() == "random-conv-64"


def test_a_trained_method_is_judged_member_by_member():
    learner = VAE(latent_dim=2, hidden=(8,))
    fitted = fit(learner, AugmentedImages(pixels(8), Affine(0.1)), steps=2, seeds=SEEDS, batch_size=4, device="cpu")
    rows, drawn = generation.judged(fitted, exam(), 0)
    assert drawn is not None
    assert drawn.shape == (2, 1, 2, 3)
    assert rows["value"].notna().all()
    counts = rows.groupby("measure")["member"].apply(list)
    assert (counts.map(len) == 2).all()
