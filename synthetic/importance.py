"""Importance samples of the evidence of worlds that have no exact one."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from synthetic.exact.gaussian import LinearGaussian
from synthetic.mixing import Mixing
from synthetic.noise import GaussianNoise
from synthetic.refusal import NotExact
from synthetic.views import Observed
from synthetic.world import World

# of the noise of the proposals: a leaky ReLU may be five times flatter, two in a row twenty-five, beyond a bend nearby
INFLATIONS = (1.2, 5.0, 25.0)


@torch.no_grad()
def importance_log_ratios(world: World, x: Observed, samples: int, generator: torch.Generator) -> Float[Tensor, "S n"]:
    """Log-weights whose mean of exponentials over the S samples has the expectation `p(x^{1:J})`.

    S is `samples`, or the next multiple of the number of proposals where there are several.
    """
    views = x.unbind(1) if isinstance(x, Tensor) else x
    parts = world.mixing.split * (1 if len(world.mixing.split) > 1 else len(views))
    if isinstance(world.noise, GaussianNoise) and not world.noise.silent and _invertible(parts, views):
        law = _gaussian_latents(world, len(views))
        if law is not None:
            return _linearised(world, law, parts, views, samples, generator)
    return _from_prior(world, parts, views, samples, generator)


@torch.no_grad()
def log_ratios_of_view(
    world: World, x: Float[Tensor, "n D"], j: int, samples: int, generator: torch.Generator
) -> Float[Tensor, "S n"]:
    """The same for view j alone, of worlds whose views differ in law: `p(x | z^j)` at latents drawn from the prior."""
    part = world.mixing.split[j % len(world.mixing.split)]
    content, _ = world.content.sample(samples, generator, world.dtype)
    z, _ = world.style.sample(content, j + 1, generator)
    return _log_likelihoods(world, part, x, z[:, j])


def _gaussian_latents(world: World, views: int) -> LinearGaussian | None:
    """The law of the latents of so many views, where it is one of linear-Gaussian hierarchies."""
    try:
        law = world.latent_law
    except NotExact:
        return None
    if isinstance(law, LinearGaussian) and (law.most_views is None or views <= law.most_views):
        return law
    return None


def _invertible(parts: tuple[Mixing, ...], views: tuple[Tensor, ...]) -> bool:
    try:
        for part, own in zip(parts, views, strict=True):
            part.inverse(own[:1])
    except ValueError:
        return False
    return True


def _linearised(
    world: World,
    latents: LinearGaussian,
    parts: tuple[Mixing, ...],
    views: tuple[Tensor, ...],
    samples: int,
    generator: torch.Generator,
) -> Float[Tensor, "S n"]:
    """From exact posteriors under `x = f(z0) + J (z - z0) + noise`, z0 the inverse of each view, and from the prior.

    Proposals are the posteriors `p(z) L_m(z) / p_m(x)` of the linearisation with noise inflated by each of
    `INFLATIONS`, and the prior itself (`L = p = 1`), in equal numbers: all draws are kept, as many as the next multiple
    of four. The weights of their mixture, `p(x | z) / mean_m [L_m(z) / p_m(x)]`, are bounded, so their variance is
    finite.
    """
    local = [_linear(part, own, world) for part, own in zip(parts, views, strict=True)]
    seen, noise = torch.stack([z for z, _ in local], 1), torch.stack([factor for _, factor in local], 1)
    each = -(-samples // (len(INFLATIONS) + 1))
    content, _ = world.content.sample(each * len(seen), generator, world.dtype)
    drawn = [world.style.sample(content, len(views), generator)[0].unflatten(0, (each, len(seen)))]
    evidences = []
    for inflation in INFLATIONS:
        law = latents.through(None, inflation * noise[:, None])
        drawn.append(law.posterior(seen, "latent").sample(each, generator).unflatten(-1, (len(views), -1)))
        evidences.append(law.log_prob(seen))
    z = torch.cat(drawn)
    proposal = _log_linear_likelihoods(z, seen, noise) - torch.stack(evidences)[:, None]
    mixture = torch.cat((proposal, torch.zeros_like(proposal[:1]))).logsumexp(0) - math.log(len(INFLATIONS) + 1)
    likelihoods = [
        world.noise.log_prob(own.expand(len(z), -1, -1), part(z[:, :, j]))
        for j, (part, own) in enumerate(zip(parts, views, strict=True))
    ]
    return torch.stack(likelihoods).sum(0) - mixture


def _linear(part: Mixing, x: Float[Tensor, "n D"], world: World) -> tuple[Tensor, Tensor]:
    """The latent that x is decoded to under the linearisation, and the upper triangular factor of its noise."""
    start = part.inverse(x)
    basis, upper = torch.linalg.qr(part.jacobian(start))
    eye = torch.eye(upper.shape[-1], device=x.device, dtype=x.dtype).expand_as(upper)
    inverse = torch.linalg.solve_triangular(upper, eye, upper=True)
    step = torch.einsum("nij,nkj,nk->ni", inverse, basis, x - part(start))
    return start + step, world.noise.gaussian_std() * inverse


def _log_linear_likelihoods(
    z: Float[Tensor, "S n J d"], seen: Float[Tensor, "n J d"], noise: Float[Tensor, "n J d d"]
) -> Float[Tensor, "M S n"]:
    """`log prod_j N(seen^j; z^j, inflation^2 noise noise')` for each inflation."""
    white = torch.linalg.solve_triangular(noise, (seen - z)[..., None], upper=True)[..., 0]
    square = white.square().sum((-1, -2))
    log_volume = noise.diagonal(dim1=-2, dim2=-1).abs().log().sum((-1, -2))
    size = seen.shape[1] * seen.shape[2]
    return torch.stack([-0.5 * (square / m**2 + size * math.log(2 * math.pi * m**2)) - log_volume for m in INFLATIONS])


def _from_prior(
    world: World, parts: tuple[Mixing, ...], views: tuple[Tensor, ...], samples: int, generator: torch.Generator
) -> Float[Tensor, "S n"]:
    """`p(x | z)` at latents drawn from the prior; without noise `p(z | y)`, at content drawn from the prior."""
    if world.noise.silent:
        z = torch.stack([part.inverse(own) for part, own in zip(parts, views, strict=True)], 1)
        content, _ = world.content.sample(samples, generator, world.dtype)
        volume = torch.stack([part.log_volume(z[:, j]) for j, part in enumerate(parts)]).sum(0)
        return (world.style.log_prob(z, content) - volume[:, None]).mT
    content, _ = world.content.sample(samples, generator, world.dtype)
    z, _ = world.style.sample(content, len(views), generator)
    likelihoods = [
        _log_likelihoods(world, part, own, z[:, j]) for j, (part, own) in enumerate(zip(parts, views, strict=True))
    ]
    return torch.stack(likelihoods).sum(0)


def _log_likelihoods(
    world: World, part: Mixing, x: Float[Tensor, "n D"], z: Float[Tensor, "S d"]
) -> Float[Tensor, "S n"]:
    """`log p(x | z)` of every latent and every datum, for one view."""
    return world.noise.log_prob(x[None].expand(len(z), -1, -1), part(z)[:, None].expand(-1, len(x), -1))
