"""Bounds of linear Gaussian models with factorised posteriors, exactly: the algebra of the claim `gap-budget`.

The distance of a bound from the evidence is, between Gaussians, `KL( p(x) q(z|x) || p_model(x, z) )`, a divergence in
closed form; `expected_bound` takes it from the other side, by the library's loss in means over points that are exact
for polynomials of second degree. Stacked views are z = z^{1:J} and x = x^{1:J}.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.polynomial import Polynomial
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from ssl_theory.losses import decoders, priors
from ssl_theory.losses.generative import evidence_bound

J, NOISE = 2, 0.25  # views, and the variance of the noise


@dataclass(frozen=True)
class Model:
    """`x^j = weight z^j + bias + noise`, `z^j = y + sigma eps^j` with variances `style` and `content`."""

    weight: Tensor
    bias: Tensor
    style: float
    content: float

    def law(self) -> MultivariateNormal:
        """Of the stacked views (x, z)."""
        prior = torch.kron(self.style * eye(J) + self.content, eye(self.weight.shape[1]))
        decoder = each_view(self.weight)
        seen = decoder @ prior @ decoder.T + NOISE * eye(len(decoder))
        mean = torch.cat([self.bias.repeat(J), torch.zeros(len(prior)).double()])
        return MultivariateNormal(mean, blocks(seen, decoder @ prior, prior))

    def seen(self) -> Tensor:
        """Covariance of the stacked views of x."""
        return self.law().covariance_matrix[: J * len(self.weight), : J * len(self.weight)]


@dataclass(frozen=True)
class Posterior:
    """`q = N(weight x + offset, covariance)` over the stacked latents, x stacked too, its entropy less by `lost`."""

    weight: Tensor
    offset: Tensor
    covariance: Tensor
    lost: float = 0.0

    def entropy(self) -> float:
        return 0.5 * float(torch.logdet(2 * math.pi * math.e * self.covariance)) - self.lost


Encoder = tuple[Tensor, Tensor]  # weight and offset: x^j to mean and log-variance, side by side


def eye(size: int) -> Tensor:
    return torch.eye(size, dtype=torch.float64)


def each_view(matrix: Tensor) -> Tensor:
    """The matrix acting on every one of the stacked views."""
    return torch.block_diag(*[matrix] * J)


def blocks(upper: Tensor, cross: Tensor, lower: Tensor) -> Tensor:
    """The symmetric matrix of two diagonal blocks and the upper right one."""
    return torch.cat([torch.cat([upper, cross], 1), torch.cat([cross.T, lower], 1)])


def modes(matrix: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """An exchangeable matrix of stacked views, on differences of views and on sqrt(J) times their mean."""
    own, other = (matrix[:size, start : start + size].contiguous() for start in (0, size))
    return own - other, own + (J - 1) * other


def factorising(weight: Tensor, style: float, content: float) -> float:
    """The closed form: least divergence of a posterior that factorises over views from the joint one, in nats."""
    a = 1 / style + torch.linalg.svdvals(weight).square() / NOISE
    b = content / (style * (style + J * content))
    return 0.5 * float((J * (a - b).log() - (J - 1) * a.log() - (a - J * b).log()).sum())


def best_decoder(world: Model, style: float, content: float) -> Model:
    """The likeliest linear decoder under a prior: that with the world's singular vectors.

    For given singular values every trace of the divergence is least where the two covariances share eigenvectors in the
    same order (von Neumann's trace inequality); what is left is one problem a singular value.
    """
    left, values, right = torch.linalg.svd(world.weight, full_matrices=False)
    best = torch.tensor([best_gain(float(value) ** 2, world, style, content) for value in values], dtype=torch.float64)
    return Model(left * best.sqrt() @ right, torch.zeros_like(world.bias), style, content)


def best_gain(gain: float, world: Model, style: float, content: float) -> float:
    """The squared singular value of least divergence: a root of a cubic, or zero."""
    scales, true = (style, style + J * content), (world.style, world.style + J * world.content)
    within, between = (Polynomial([NOISE, scale]) for scale in scales)
    to_within, to_between = (NOISE + scale * gain for scale in true)
    slope = (J - 1) * scales[0] * (within - to_within) * between**2 + scales[1] * (between - to_between) * within**2
    tried = np.maximum([0.0, *np.real(slope.roots())], 0.0)
    cost = (J - 1) * (np.log(within(tried)) + to_within / within(tried))
    cost += np.log(between(tried)) + to_between / between(tried)
    return float(tried[cost.argmin()])


def posteriors(world: Model, model: Model, encoder: Encoder | None = None) -> list[Posterior]:
    """Of the model, in the order of TERMS: joint, views apart, coordinates apart, best of one view, the trained one."""
    d = model.weight.shape[1]
    size, inverse_noise = J * len(model.weight), model.weight.T / NOISE
    precision = torch.linalg.inv(model.law().covariance_matrix[size:, size:])
    precision = precision + each_view(inverse_noise @ model.weight)
    apart = (each_view(precision[:d, :d]), precision.diag().diag())
    weight = torch.linalg.solve(precision, each_view(inverse_noise))
    offset = -weight @ model.bias.repeat(J)
    found = [Posterior(weight, offset, torch.linalg.inv(each)) for each in (precision, *apart)]
    best = each_view(best_of_one_view(world, precision, inverse_noise))
    found.append(Posterior(best, offset, found[-1].covariance))  # the mean of all views' posterior at x = 0 is its own
    return found if encoder is None else [*found, trained(world, encoder)]


def best_of_one_view(world: Model, precision: Tensor, inverse_noise: Tensor) -> Tensor:
    """The M that minimises `E (m - mu)' precision (m - mu)`, m^j = M x^j and mu the joint posterior's mean.

    The normal equations are those of any function of x^j as well: for Gaussian x the best one is linear.
    """
    (apart, common), (within, between) = (modes(each, len(each) // J) for each in (precision, world.seen()))
    pull = inverse_noise @ ((J - 1) * within + between)
    system = (J - 1) * torch.kron(apart, within) + torch.kron(common, between)
    return torch.linalg.solve(system, pull.flatten()).view_as(pull)


def trained(world: Model, encoder: Encoder) -> Posterior:
    """Linear mean and log-variance: the variance is log-normal over x, of which the bound needs the mean alone."""
    (weight, slope), (offset, middle) = encoder[0].split(len(encoder[0]) // 2), encoder[1].chunk(2)
    D = weight.shape[1]
    excess = 0.5 * (slope @ world.seen()[:D, :D] * slope).sum(-1)  # log of the mean variance less the mean log-variance
    covariance = (middle + excess).exp().repeat(J).diag()
    return Posterior(each_view(weight), offset.repeat(J), covariance, lost=0.5 * J * float(excess.sum()))


def distance(world: Model, model: Model, q: Posterior) -> float:
    """`E[log p(x)]` less the bound of a model and a posterior: `KL( p(x) q(z|x) || p_model(x, z) )`."""
    seen = world.seen()
    cross = seen @ q.weight.T
    mean = torch.cat([torch.zeros(len(seen)).double(), q.offset])
    ours = MultivariateNormal(mean, blocks(seen, cross, q.weight @ cross + q.covariance))
    return float(kl_divergence(ours, model.law())) + q.lost


def points(world: Model, size: int) -> tuple[Tensor, Tensor]:
    """Stacked views of x (n, J D) and standard normal numbers (n, size) whose first two moments are exact."""
    root = torch.linalg.cholesky(world.seen())
    total = len(root) + size
    normal = math.sqrt(total) * torch.cat([eye(total), -eye(total)])
    return normal[:, : len(root)] @ root.T, normal[:, len(root) :]


def expected_bound(world: Model, model: Model, q: Posterior, prior: priors.Prior) -> float:
    """E[ELBO_SSL] over the views of x and q by the library's bound, which is quadratic in both."""
    x, normal = points(world, len(q.covariance))
    z = x @ q.weight.T + q.offset + normal @ torch.linalg.cholesky(q.covariance).T
    x, z = (stacked.unflatten(1, (J, -1)) for stacked in (x, z))
    entropies = x.new_full(x.shape[:2], q.entropy() / J)
    decoded, decoder = z @ model.weight.T + model.bias, decoders.Gaussian(NOISE)
    return float(evidence_bound(x, decoded, z, entropies, prior=prior, decoder=decoder).mean())
