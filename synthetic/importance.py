"""Importance samples of the evidence of worlds that have no exact one."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from synthetic.exact.gaussian import LinearGaussian
from synthetic.mixing import Mixing
from synthetic.noise import GaussianNoise
from synthetic.views import Observed
from synthetic.world import World

INFLATION = 1.3  # of the proposal's noise, so that the weights stay bounded where the mixing bends


@torch.no_grad()
def importance_log_ratios(world: World, x: Observed, samples: int, generator: torch.Generator) -> Float[Tensor, "S n"]:
    """Log-weights whose mean of exponentials over the samples has the expectation `p(x^{1:J})`."""
    views = x.unbind(1) if isinstance(x, Tensor) else x
    parts = world.mixing.split * (1 if len(world.mixing.split) > 1 else len(views))
    if isinstance(world.noise, GaussianNoise) and not world.noise.silent and _invertible(parts, views):
        return _linearised(world, parts, views, samples, generator)
    return _from_prior(world, parts, views, samples, generator)


def _invertible(parts: tuple[Mixing, ...], views: tuple[Tensor, ...]) -> bool:
    try:
        for part, own in zip(parts, views, strict=True):
            part.inverse(own[:1])
    except ValueError:
        return False
    return True


def _linearised(
    world: World, parts: tuple[Mixing, ...], views: tuple[Tensor, ...], samples: int, generator: torch.Generator
) -> Float[Tensor, "S n"]:
    """From the exact posterior under `x = f(z0) + J (z - z0) + noise`, z0 the inverse of each view.

    `p(x) = p_lin(x) E[prod_j p(x^j | z^j) / p_lin(x^j | z^j)]`, the expectation over that posterior.
    """
    decoded, noises = zip(*(_linear(part, own, world) for part, own in zip(parts, views, strict=True)), strict=True)
    seen, noise = torch.stack(decoded, 1), torch.stack(noises, 1)
    law = world.latent_law
    assert isinstance(law, LinearGaussian)
    local = law.through(None, noise[:, None])
    z = local.posterior(seen, "latent").sample(samples, generator).unflatten(-1, (len(views), -1))
    log_ratio = torch.zeros(samples, len(seen), device=seen.device, dtype=seen.dtype)
    for j, (part, own) in enumerate(zip(parts, views, strict=True)):
        linear = torch.distributions.MultivariateNormal(seen[:, j], scale_tril=_lower(noise[:, j]))
        log_ratio += world.noise.log_prob(own.expand(samples, -1, -1), part(z[..., j, :]))
        log_ratio -= linear.log_prob(z[..., j, :])
    return local.log_prob(seen) + log_ratio


def _linear(part: Mixing, x: Float[Tensor, "n D"], world: World) -> tuple[Tensor, Tensor]:
    """The latent that x is decoded to under the linearisation, and the factor of its (inflated) noise."""
    start = part.inverse(x)
    basis, upper = torch.linalg.qr(part.jacobian(start))
    eye = torch.eye(upper.shape[-1], device=x.device, dtype=x.dtype)
    lower = torch.linalg.solve_triangular(upper, eye, upper=True)
    step = torch.einsum("nij,nkj,nk->ni", lower, basis, x - part(start))
    return start + step, INFLATION * world.noise.gaussian_std() * lower


def _lower(factor: Tensor) -> Tensor:
    return torch.linalg.cholesky(factor @ factor.mT)


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
    mixed = [part(z[:, j]) for j, part in enumerate(parts)]
    likelihoods = [
        world.noise.log_prob(own[None].expand(samples, -1, -1), m[:, None].expand(-1, len(own), -1))
        for own, m in zip(views, mixed, strict=True)
    ]
    return torch.stack(likelihoods).sum(0)
