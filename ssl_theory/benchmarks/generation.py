"""What a generative method makes by itself: samples from its prior, their distance to real views, its evidence.

Only proper models are judged: a flat prior integrates to infinity, so there is nothing to draw from and no evidence.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from itertools import pairwise
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ssl_theory.benchmarks.examination import Examination
from ssl_theory.benchmarks.measures import rows_of
from ssl_theory.learners import Autoencoding, Fitted, SimVAE
from ssl_theory.losses import generative, priors

SAMPLES, TOGETHER = 64, 4  # importance samples, and how many of them are decoded at once
MOST_SAMPLES = 2000  # images that the Fréchet distance compares: it falls with their number, which is that of all
PROPER = ("standard", "gaussian", "mixture", "split")
INCEPTION_WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"  # as torch-fidelity stores them


def judged(fitted: Fitted, exam: Examination, seed: int) -> tuple[pd.DataFrame, Tensor | None]:
    """Distance and evidence of every member, and images that the first one draws; NaN and None if improper."""
    if not proper(fitted):
        return absent(len(fitted.seeds)), None
    generator = torch.Generator().manual_seed(seed)
    real = exam.test_views.x.flatten(0, 1)[:MOST_SAMPLES]
    drawn = samples(fitted, len(real), generator)
    bound, evidence = evidences(fitted, exam.joint_views.x, generator)
    rows = [
        rows_of("generation", f"FID ({extractor()})", "image", frechet(drawn, real)),
        rows_of("evidence", "elbo", "nats a view", bound),
        rows_of("evidence", "evidence", "nats a view", evidence),
    ]
    return pd.concat(rows, ignore_index=True), drawn[0, : len(exam.shown)]


def absent(members: int) -> pd.DataFrame:
    """The same rows where nothing can be measured."""
    nothing = torch.full((members,), torch.nan)
    named = (("generation", f"FID ({extractor()})", "image"), *(("evidence", m, "nats a view") for m in _EVIDENCE))
    return pd.concat([rows_of(*names, nothing) for names in named], ignore_index=True)


_EVIDENCE = ("elbo", "evidence")


def proper(fitted: Fitted) -> bool:
    """Whether the method is a density of the views."""
    return isinstance(fitted.learner, Autoencoding) and getattr(fitted.learner, "prior", "standard") in PROPER


def prior(fitted: Fitted) -> priors.Prior:
    """`p(z^{1:J})` of all members; the plain autoencoders' is N(0, I) for each view."""
    if isinstance(fitted.learner, SimVAE):
        return fitted.learner.density(fitted.modules)
    return priors.Gaussian(1.0, 0.0)


@torch.no_grad()
def samples(fitted: Fitted, n: int, generator: torch.Generator) -> Float[Tensor, "E n C H W"]:
    """Mean images `E[x|z]` of n latents drawn from the prior of a single view; a mixture's clusters take turns."""
    learner, density = fitted.learner, prior(fitted)
    assert isinstance(learner, Autoencoding)
    z = torch.randn(len(fitted.seeds), n, learner.latent_dim, generator=generator)
    if isinstance(density, priors.Gaussian):
        z = z * float(density.style_variance + density.content_variance) ** 0.5
    elif isinstance(density, priors.Mixture):
        centres = density.means.cpu()[:, torch.arange(n) % density.means.shape[-2]]
        z = centres + z * float(density.style_variance) ** 0.5
    drawn = learner.decoding().mean(_decode(fitted, z.to(next(fitted.modules.parameters())))).cpu()
    drawn[torch.as_tensor(fitted.diverged)] = torch.nan
    return drawn.float()


@torch.no_grad()
def evidences(
    fitted: Fitted, x: Float[Tensor, "n J C H W"], generator: torch.Generator
) -> tuple[Float[Tensor, " E"], Float[Tensor, " E"]]:
    """ELBO, and importance-weighted `log p(x^{1:J})` from `SAMPLES` samples; means over images, in nats a view.

    The second is a lower bound on average too (Burda et al. 2016, arXiv 1509.00519), the tighter one.
    """
    learner, density = fitted.learner, prior(fitted)
    assert isinstance(learner, Autoencoding)
    weight = next(fitted.modules.parameters())
    views = x.to(weight).expand(len(fitted.seeds), *x.shape)
    mean, log_variance = learner.posterior(fitted.modules, views)
    log_weights = torch.cat(
        [_log_weights(fitted, density, views, mean, log_variance, generator) for _ in range(SAMPLES // TOGETHER)]
    )
    estimate, _ = generative.importance_weighted_evidence(log_weights)
    both = log_weights.mean((0, 2)), estimate.mean(-1)
    lost = torch.as_tensor(fitted.diverged, device=weight.device)
    bound, evidence = (torch.where(lost, torch.nan, value / x.shape[1]).cpu() for value in both)
    return bound, evidence


def _log_weights(
    fitted: Fitted, density: priors.Prior, x: Tensor, mean: Tensor, log_variance: Tensor, generator: torch.Generator
) -> Float[Tensor, "S E n"]:
    """Of `TOGETHER` samples of the posteriors."""
    learner = fitted.learner
    assert isinstance(learner, Autoencoding)
    noise = torch.randn(TOGETHER, *mean.shape, generator=generator).to(mean)
    z = mean + (0.5 * log_variance).exp() * noise
    flat = _decode(fitted, z.movedim(0, 1).flatten(1, 3)).flatten(2)
    decoded = flat.unflatten(1, (TOGETHER, *x.shape[1:3])).movedim(1, 0)
    posterior = (v.expand(z.shape) for v in (mean, log_variance))
    return generative.log_weights(x.flatten(3), decoded, z, *posterior, prior=density, decoder=learner.decoding())


def _decode(fitted: Fitted, z: Float[Tensor, "E n d"]) -> Float[Tensor, "E n C H W"]:
    """Some rows at a time: a residual decoder's inner images are many times as large as what it returns."""
    return torch.cat([fitted.modules["decoder"](part) for part in z.split(512, dim=1)], 1)


def extractor() -> str:
    """The name of the features that images are compared by: Inception's where its weights lie on this machine, else a
    network of our own. Distances by different ones do not compare, so the name is part of the measure's."""
    weights = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_WEIGHTS
    inception = importlib.util.find_spec("torch_fidelity") is not None and weights.exists()
    return "inception-2048" if inception else "random-conv-64"


def measurable() -> bool:
    """Whether distances can be measured here."""
    return importlib.util.find_spec("torchmetrics") is not None


def frechet(drawn: Float[Tensor, "E n C H W"], real: Float[Tensor, "m C H W"]) -> Float[Tensor, " E"]:
    """Fréchet distance between Gaussians fitted to features of drawn and of real images (Heusel et al. 2017,
    arXiv 1706.08500); NaN without torchmetrics, for fewer than 2 images, and for members that drew NaN."""
    distances = torch.full((len(drawn),), torch.nan)
    if not measurable() or min(len(real), drawn.shape[1]) < 2:
        return distances
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(
        RandomConv() if extractor() == "random-conv-64" else 2048,
        normalize=True,
        reset_real_features=False,
        sync_on_compute=False,  # of several processes one alone examines
    )
    for part in _rgb(real).split(256):
        metric.update(part, real=True)
    for member in (i for i, images in enumerate(drawn) if bool(images.isfinite().all())):
        metric.reset()
        for part in _rgb(drawn[member]).split(256):
            metric.update(part, real=False)
        distances[member] = metric.compute()
    return distances


def _rgb(images: Float[Tensor, "n C H W"]) -> Float[Tensor, "n 3 H W"]:
    return images.clamp(0, 1).expand(-1, 3, -1, -1)


class RandomConv(nn.Module):
    """64 features of RGB images in [0, 1] by a fixed network of random weights: no download, the same everywhere.

    Resized to 32 x 32, three 3x3 convolutions of stride 2 (16, 32, 16 channels, weights N(0, 2 / fan-in) from seed 0)
    with ReLU between them, means over the four quarters of what is left.
    """

    num_features = 64
    channels = (3, 16, 32, 16)

    def __init__(self) -> None:
        super().__init__()
        for at, weight in enumerate(random_weights(self.channels)):
            self.register_buffer(f"weight{at}", weight)

    def forward(self, x: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n 64"]:
        x = functional.interpolate(x, size=(32, 32), mode="bilinear", antialias=True, align_corners=False) * 2 - 1
        first, *others = self.buffers()
        x = functional.conv2d(x, first, stride=2, padding=1)
        for weight in others:
            x = functional.conv2d(x.relu(), weight, stride=2, padding=1)
        return functional.adaptive_avg_pool2d(x, 2).flatten(1)


@cache
def random_weights(channels: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    pairs = pairwise(channels)
    return [torch.randn(o, i, 3, 3, generator=generator) * (2 / (9 * i)) ** 0.5 for i, o in pairs]
