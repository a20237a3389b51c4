"""Estimates, with standard errors, of what has no closed form.

Every function draws from the world by an explicit generator and returns an `Estimate`. Posteriors enter exactly, so
that only expectations over data are sampled (Rao-Blackwell); `log_evidence` alone estimates densities, for worlds whose
evidence is not exact.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from synthetic.content import Tree
from synthetic.importance import importance_log_ratios, log_ratios_of_view
from synthetic.refusal import NotExact
from synthetic.views import Observed, Views
from synthetic.world import World

CHUNK = 64  # data whose importance samples are held at a time


@dataclass(frozen=True)
class Estimate:
    """A value (or one a datum, or one a coordinate) and its standard error."""

    value: Tensor
    standard_error: Tensor

    def __str__(self) -> str:
        return f"{self.value.tolist()} +- {self.standard_error.tolist()}"


def log_evidence(world: World, x: Observed, *, samples: int = 1000, generator: torch.Generator) -> Estimate:
    """`log p(x^{1:J})` of each datum: exact where it can be, else by importance sampling.

    An invertible mixing with Gaussian noise, over latents that are linear-Gaussian, is sampled from exact posteriors of
    the mixing's linearisation at x (`samples` is rounded up to a multiple of the four proposals); any other world from
    its prior, which serves small dimensions only. The error is that of the logarithm of a mean, by the delta method:
    where it is not well below 1, neither it nor the estimate (biased downward by about half its square) can be relied
    upon. Data of a world that is sampled from its prior share their samples, and so their errors.
    """
    try:
        exact = world.log_evidence(x)
        return Estimate(exact, torch.zeros_like(exact))
    except NotExact:
        pass
    chunks = [importance_log_ratios(world, part, samples, generator) for part in _chunks(x)]
    return _log_mean(torch.cat(chunks, 1))


def pmi(world: World, x: Observed, *, samples: int = 1000, generator: torch.Generator) -> Estimate:
    """`log p(x, x') - log p(x) - log p(x')` of each datum, x with its two views."""
    together = log_evidence(world, x, samples=samples, generator=generator)
    alone = [_log_evidence_of_view(world, _one_view(x, j), j, samples, generator) for j in (0, 1)]
    error = torch.stack([part.standard_error for part in (together, *alone)]).square().sum(0).sqrt()
    return Estimate(together.value - alone[0].value - alone[1].value, error)


def mutual_information(world: World, n: int, *, samples: int = 1000, generator: torch.Generator) -> Estimate:
    """`I(x; x')` of two views as the mean of n pointwise ones, in nats.

    The error is that of n data: the error and the bias of sampled evidence (see `log_evidence`, `pmi`) come on top.
    """
    return _mean(pmi(world, world.sample(n, generator=generator).x, samples=samples, generator=generator).value)


def content_information(world: World, n: int, *, generator: torch.Generator) -> Estimate:
    """`I(x; y) = E[log p(y | x) - log p(y)]` of one view, in nats, from exact posteriors."""
    world = _told_apart(world)
    views = world.sample(n, views=len(world.mixing.split), generator=generator)
    first, x = world.view(0), _one_view(views.x, 0)
    if getattr(world.content, "spread", None) == 0:
        assert views.label is not None
        own = first.label_log_prob(x).gather(1, views.label[:, None])[:, 0]
        return _mean(own + world.label_entropy())
    parts = world.content.components(views.content)
    scale = torch.linalg.cholesky(parts.factor @ parts.factor.mT)
    prior = torch.distributions.MultivariateNormal(parts.mean, scale_tril=scale).log_prob(views.content[:, None])
    log_prior = (parts.weights.log() + prior).logsumexp(-1)
    return _mean(first.posterior(x).log_prob(views.content) - log_prior)


def label_accuracy(world: World, n: int, *, views: int = 1, generator: torch.Generator) -> Estimate:
    """Accuracy of the Bayes classifier of J views: the mean of the largest posterior probability."""
    x, seen = _seen(world, n, views, generator)
    return _mean(seen.label_log_prob(x).exp().amax(1))


def r2(world: World, of: str, n: int, *, views: int = 1, generator: torch.Generator) -> Estimate:
    """Bayes-optimal `R^2` of each coordinate of "content", or of "style" or "latent" of the first view, from J views.

    `1 - E[Var(t | x)] / Var t`, the expectation over n data, the variance of t from the same data; the error is that of
    both, by the delta method.
    """
    if of not in ("content", "style", "latent"):
        raise ValueError(f"expected r2 of content, style or latent, found {of!r}")
    x, seen = _seen(world, n, views, generator)
    posterior = seen.posterior(x, of)
    size = posterior.mean.shape[1] // (1 if of == "content" else views)
    left, mean = posterior.covariance.diagonal(dim1=1, dim2=2)[:, :size], posterior.mean[:, :size]
    centred, total = (mean - mean.mean(0)).square(), left.mean(0) + mean.var(0)
    share = 1 - left.mean(0) / total
    return Estimate(share, ((1 - share) * centred - share * left).std(0) / total / n**0.5)


def info_nce(world: World, negatives: int, batches: int, *, generator: torch.Generator) -> Estimate:
    """The least InfoNCE loss with K = `negatives` candidates: `-E log[ e^{s(x,x+)} / sum_{k=1}^K e^{s(x,x_k)} ]`.

    The critic is the exact pointwise mutual information, x_1 = x+ and the other K - 1 candidates are independent.
    `log K - loss` is below `min(I(x; x'), log K)`. Every batch has K pairs, each other's candidates; the standard error
    is between batches, whose rows are dependent.
    """
    if negatives < 1 or batches < 2:
        raise ValueError(f"expected at least 1 candidate and 2 batches, found {negatives} and {batches}")
    losses = []
    for _ in range(batches):
        x = world.sample(negatives, generator=generator).x
        critic = world.pmi_matrix(_one_view(x, 0)[:, 0], _one_view(x, 1)[:, 0])
        losses.append((critic.logsumexp(1) - critic.diagonal()).mean())
    return _mean(torch.stack(losses))


def style_floor(world: World, n: int, *, generator: torch.Generator) -> Estimate:
    """`R^2(s_i | y) = Var E[s_i | y] / Var s_i` of each style coordinate of the first view."""
    views = world.sample(n, views=len(world.mixing.split), generator=generator)
    mean, style = world.style.conditional_mean(views.content), views.style[:, 0]
    centred, left = (mean - mean.mean(0)).square(), (style - mean).square()
    total = centred.mean(0) + left.mean(0)
    floor = centred.mean(0) / total
    return Estimate(floor, ((1 - floor) * centred - floor * left).std(0) / total / n**0.5)


def _told_apart(world: World) -> World:
    """The world whose labels tell all that content does, where content is discrete: those of a tree are its leaves."""
    if not isinstance(world.content, Tree) or world.content.spread != 0:
        return world
    return dataclasses.replace(world, content=dataclasses.replace(world.content, level=-1))


def _log_evidence_of_view(
    world: World, x: Float[Tensor, "n 1 D"], j: int, samples: int, generator: torch.Generator
) -> Estimate:
    """`log p(x^j)`: of the world of view j alone, or sampled from the prior where that has no law of its own."""
    try:
        alone = world.view(j)
    except NotExact:
        parts = [log_ratios_of_view(world, part[:, 0], j, samples, generator) for part in x.split(CHUNK)]
        return _log_mean(torch.cat(parts, 1))
    return log_evidence(alone, x, samples=samples, generator=generator)


def _seen(world: World, n: int, views: int, generator: torch.Generator) -> tuple[Tensor, World]:
    """n data of `views` views, and the world that they are views of: one view is that of the first modality."""
    drawn: Views = world.sample(n, views=max(views, len(world.mixing.split)), generator=generator)
    if views == 1:
        return _one_view(drawn.x, 0), world.view(0)
    return drawn.x, world


def _one_view(x: Observed, j: int) -> Float[Tensor, "n 1 D"]:
    return x[:, j : j + 1] if isinstance(x, Tensor) else x[j][:, None]


def _chunks(x: Observed) -> Sequence[Tensor | tuple[Tensor, ...]]:
    if isinstance(x, Tensor):
        return x.split(CHUNK)
    return list(zip(*(own.split(CHUNK) for own in x), strict=True))


def _log_mean(ratios: Float[Tensor, "S n"]) -> Estimate:
    """Logarithm of the mean of the exponentials of S samples, by the delta method."""
    value = ratios.logsumexp(0) - math.log(len(ratios))
    return Estimate(value, (ratios - value).exp().std(0) / len(ratios) ** 0.5)


def _mean(values: Tensor) -> Estimate:
    return Estimate(values.mean(0), values.std(0) / len(values) ** 0.5)
