"""Generative losses: bounds of the evidence, with the gap that the theory states, exactly."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.distributions import MultivariateNormal, kl_divergence

from ssl_theory.losses import decoders, generative, priors
from ssl_theory.losses.bessel import vmf_entropy
from tests.losses.draws import close, draws, gaussian, vectors


class LinearWorld:
    """`y ~ N(0, g I)`, `z^j = y + N(0, s I)`, `x^j = W z^j + b + N(0, v I)`: all of it Gaussian."""

    def __init__(self, seed, J=2, d=2, D=3, content=0.8, style=0.3, noise=0.2):
        self.J, self.d, self.D = J, d, D
        self.content, self.style, self.noise = content, style, noise
        self.weight, self.offset = gaussian(D, d, seed=seed), gaussian(D, seed=seed + 1)
        self.x = gaussian(1, J, D, seed=seed + 2, scale=2.0)

    def joint(self):
        """Prior covariance of the stacked views, and the map from them to the stacked observations."""
        views = self.style * torch.eye(self.J) + self.content * torch.ones(self.J, self.J)
        return torch.kron(views, torch.eye(self.d)), torch.kron(torch.eye(self.J), self.weight)

    def log_evidence(self):
        covariance, weight = self.joint()
        law = MultivariateNormal(
            self.offset.repeat(self.J),
            weight @ covariance @ weight.T + self.noise * torch.eye(self.J * self.D),
        )
        return law.log_prob(self.x.flatten())

    def posterior(self):
        covariance, weight = self.joint()
        precision = covariance.inverse() + weight.T @ weight / self.noise
        residual = (self.x - self.offset).flatten()
        mean = torch.linalg.solve(precision, weight.T @ residual / self.noise)
        return MultivariateNormal(mean, precision_matrix=precision)

    def decode(self, z):
        return z @ self.weight.T + self.offset


def sigma_points(mean, log_variance):
    """Points whose averages are exact for quadratics under N(mean, e^l): shape (2 J d, 1, J, d)."""
    size = mean.numel()
    steps = torch.eye(size).reshape(size, *mean.shape) * (size * log_variance.exp()).sqrt()
    return torch.cat([mean + steps, mean - steps])


@given(vectors, st.integers(1, 3), st.floats(0.1, 2.0), st.floats(0.05, 2.0))
def test_the_gap_of_elbo_ssl_is_the_kl_to_the_joint_posterior(seed, J, content, style):
    """log p(x^{1:J}) - ELBO_SSL = KL( prod_j q(z^j|x^j) || p(z^{1:J}|x^{1:J}) ), expectation exact."""
    world = LinearWorld(seed, J=J, content=content, style=style)
    mean, log_variance = gaussian(1, J, 2, seed=seed + 3), gaussian(1, J, 2, seed=seed + 4)
    z = sigma_points(mean, log_variance)
    bound = -generative.elbo_ssl(
        world.x,
        world.decode(z),
        z,
        log_variance.expand_as(z),
        prior=priors.Gaussian(style, content),
        decoder=decoders.Gaussian(world.noise),
    ).mean()
    q = MultivariateNormal(mean.flatten(), torch.diag(log_variance.exp().flatten()))
    close(world.log_evidence() - bound, kl_divergence(q, world.posterior()), 1e-9)


@given(vectors, st.integers(1, 3))
def test_vae_is_elbo_ssl_with_independent_views(seed, J):
    """With p(z^{1:J}) = prod_j N(z^j; 0, I), expectation exact, both bounds are the same number."""
    world = LinearWorld(seed, J=J)
    mean, log_variance = gaussian(1, J, 2, seed=seed + 3), gaussian(1, J, 2, seed=seed + 4)
    z, decoder = sigma_points(mean, log_variance), decoders.Gaussian(world.noise)
    independent = priors.IntraClass(torch.tensor(0.0), torch.tensor(1.0))
    widened = [v.expand_as(z) for v in (mean, log_variance)]
    vae = generative.vae(world.x, world.decode(z), *widened, decoder=decoder).mean()
    ssl = generative.elbo_ssl(world.x, world.decode(z), z, widened[1], prior=independent, decoder=decoder).mean()
    close(vae, ssl)


@given(draws())
def test_entropy_and_kl_are_those_of_torch(z):
    log_variance = z.flip(-3).clamp(-3, 3)
    q = torch.distributions.Normal(z, (log_variance / 2).exp())
    close(generative.entropy(log_variance), q.entropy().sum(-1))
    standard = torch.distributions.Normal(torch.zeros_like(z), 1.0)
    close(generative.kl_to_standard_normal(z, log_variance), kl_divergence(q, standard).sum(-1))


def test_the_entropy_term_makes_the_optimal_posterior_variance_the_prior_one():
    """Without reconstruction and with p(z) = N(0, I), the optimum is variance 1: not 2 pi, nor 1/2."""
    log_variance = torch.zeros(1, 1, 3, requires_grad=True)
    kl = generative.kl_to_standard_normal(torch.zeros(1, 1, 3), log_variance).sum()
    assert torch.autograd.grad(kl, log_variance)[0].abs().max() < 1e-12
    assert float(generative.entropy(torch.zeros(1, 1, 1))) == pytest.approx(0.5 * math.log(2 * math.pi * math.e))


@pytest.mark.parametrize("decoder", [decoders.Gaussian(0.5), decoders.Bernoulli()])
def test_gradcheck_with_an_ensemble_and_shared_observations(decoder):
    x = torch.rand(3, 2, 4).round()
    decoded, z, log_variance = (gaussian(2, 3, 2, size, seed=size).requires_grad_() for size in (4, 5, 6))
    z, mean = gaussian(2, 3, 2, 5).requires_grad_(), gaussian(2, 3, 2, 5, seed=1).requires_grad_()
    log_variance = gaussian(2, 3, 2, 5, seed=2).requires_grad_()
    prior = priors.Gaussian(0.3)
    assert gradcheck(
        lambda a, b, c: generative.elbo_ssl(x, a, b, c, prior=prior, decoder=decoder),
        (decoded, z, log_variance),
    )
    assert gradcheck(lambda a, b, c: generative.vae(x, a, b, c, decoder=decoder), (decoded, mean, log_variance))
    assert generative.vae(x, decoded, mean, log_variance, decoder=decoder).shape == (2,)


@given(draws())
def test_beta_weighs_the_divergence_alone(z):
    x, log_variance, decoder = z.flip(-3), z.tanh(), decoders.Gaussian(0.5)
    args = (x, z, z, log_variance)
    divergence = generative.kl_to_standard_normal(z, log_variance).sum(-1).mean(-1)
    close(generative.beta_vae(*args, decoder=decoder, beta=1.0), generative.vae(*args, decoder=decoder))
    close(generative.beta_vae(*args, decoder=decoder) - generative.vae(*args, decoder=decoder), 3 * divergence)


@given(draws(), st.floats(0.0, 2.0))
def test_cr_vae_adds_the_divergence_of_each_posterior_from_the_first(z, weight):
    x, log_variance, decoder = z.flip(-3), z.tanh(), decoders.Gaussian(0.5)
    q = torch.distributions.Normal(z, (log_variance / 2).exp())
    first = torch.distributions.Normal(z[..., :1, :], (log_variance[..., :1, :] / 2).exp())
    tie = kl_divergence(q, first).sum((-2, -1)).mean(-1)
    plain = generative.vae(x, z, z, log_variance, decoder=decoder)
    close(generative.cr_vae(x, z, z, log_variance, decoder=decoder, weight=weight), plain + weight * tie)
    close(generative.cr_vae(x, z, z, log_variance, decoder=decoder, weight=0.0), plain)


def test_importance_weights_of_the_true_posterior_are_all_the_evidence():
    """Orthogonal decoder and one view: the posterior is a diagonal Gaussian, and any sample gives log p(x)."""
    world = LinearWorld(3, J=1, d=2, D=2)
    world.weight = torch.linalg.qr(world.weight)[0] * torch.tensor([0.5, 2.0])
    posterior = world.posterior()
    mean = posterior.mean.reshape(1, 1, 2)
    log_variance = posterior.covariance_matrix.diagonal().log().reshape(1, 1, 2)
    z = gaussian(5, 1, 1, 2, scale=3.0)
    kwargs = {"prior": priors.Gaussian(world.style, world.content), "decoder": decoders.Gaussian(world.noise)}
    posteriors = [v.expand_as(z) for v in (mean, log_variance)]
    weights = generative.log_weights(world.x, world.decode(z), z, *posteriors, **kwargs)
    close(weights, world.log_evidence().expand(5, 1))
    close(-generative.iwae(world.x, world.decode(z), z, mean, log_variance, **kwargs), world.log_evidence())
    estimate, error = generative.importance_weighted_evidence(weights)
    close(estimate, world.log_evidence().expand(1))
    assert error.abs().max() < 1e-10


def test_the_evidence_estimate_is_within_its_error_of_the_truth_and_above_the_bound():
    world = LinearWorld(1)
    posterior = world.posterior()
    mean = posterior.mean.reshape(1, 2, 2)
    log_variance = (1.5 * posterior.covariance_matrix.diagonal()).log().reshape(1, 2, 2)
    z = mean + (log_variance / 2).exp() * gaussian(20_000, 1, 2, 2)
    kwargs = {"prior": priors.Gaussian(world.style, world.content), "decoder": decoders.Gaussian(world.noise)}
    posteriors = [v.expand_as(z) for v in (mean, log_variance)]
    weights = generative.log_weights(world.x, world.decode(z), z, *posteriors, **kwargs)
    estimate, error = generative.importance_weighted_evidence(weights)
    assert 0 < float(error) < 0.02
    assert abs(float(estimate) - float(world.log_evidence())) < 4 * float(error)
    bounds = [float(weights.unflatten(0, (-1, S)).logsumexp(1).mean() - math.log(S)) for S in (1, 2, 10, 100)]
    assert bounds == sorted(bounds)
    assert bounds[-1] < float(world.log_evidence()) + 4 * float(error)


def test_the_standard_error_is_that_of_the_mean_weight():
    weights = torch.tensor([[0.1], [0.4], [0.2], [0.9]])
    estimate, error = generative.importance_weighted_evidence(weights.log())
    close(estimate, weights.mean(0).log())
    close(error, weights.std(0) / weights.mean(0) / 2)
    with pytest.raises(ValueError, match="at least 2 samples"):
        generative.importance_weighted_evidence(torch.zeros(1, 3))


@given(draws())
def test_iwae_of_one_sample_is_the_sampled_bound(z):
    x, mean, log_variance = z.flip(-3), z + 0.3, z.tanh()
    kwargs = {"prior": priors.Gaussian(0.3), "decoder": decoders.Gaussian(0.5)}
    found = generative.iwae(x, z[None], z[None], mean, log_variance, **kwargs)
    log_q = torch.distributions.Normal(mean, (log_variance / 2).exp()).log_prob(z).sum((-2, -1))
    log_p = kwargs["decoder"].log_prob(x, z).sum(-1) + kwargs["prior"].log_prob(z)
    close(found, (log_q - log_p).mean(-1))


def test_iwae_is_the_log_of_the_mean_weight():
    x, mean, log_variance = gaussian(2, 4, 2, 3), gaussian(2, 4, 2, 3, seed=1), gaussian(2, 4, 2, 3, seed=2).tanh()
    z = mean + (log_variance / 2).exp() * gaussian(5, 2, 4, 2, 3, seed=3)
    kwargs = {"prior": priors.Gaussian(0.3), "decoder": decoders.Gaussian(0.5)}
    posteriors = [v.expand_as(z) for v in (mean, log_variance)]
    weights = generative.log_weights(x.expand_as(z), z, z, *posteriors, **kwargs)
    close(generative.iwae(x, z, z, mean, log_variance, **kwargs), -weights.exp().mean(0).log().mean(-1))


def test_posteriors_of_any_family_have_a_bound():
    z = gaussian(4, 2, 3)
    z = z / z.norm(dim=-1, keepdim=True)
    x, entropies = gaussian(4, 2, 3, seed=1), vmf_entropy(3, torch.full((4, 2), 20.0))
    prior, decoder = priors.VonMisesFisher(10.0), decoders.Gaussian(0.1)
    bound = generative.evidence_bound(x, z, z, entropies, prior=prior, decoder=decoder)
    close(bound, decoder.log_prob(x, z).sum(-1) + entropies.sum(-1) + prior.log_prob(z))


@pytest.mark.usefixtures("as_users_run")
@pytest.mark.parametrize("short", ["x", "decoded", "z", "log_variance", "one view of log_variance"])
def test_what_would_be_broadcast_is_refused(short):
    """A row, a view or a column too few gives a plausible number otherwise."""
    sizes = {"x": (6, 2, 5), "decoded": (6, 2, 5), "z": (6, 2, 3), "log_variance": (6, 2, 3)}
    given = {name: gaussian(*size) for name, size in sizes.items()}
    name = short.rpartition(" ")[2]
    given[name] = given[name][:, :1] if "view" in short else given[name][:1]
    with pytest.raises(ValueError, match="expected the sizes of"):
        generative.elbo_ssl(**given, prior=priors.Gaussian(), decoder=decoders.Gaussian(1.0))
    given["mean"] = given.pop("z")
    with pytest.raises(ValueError, match="expected the sizes of"):
        generative.vae(**given, decoder=decoders.Gaussian(1.0))
    weighed = {"z": gaussian(6, 2, 3), **given}
    with pytest.raises(ValueError, match="expected the sizes of"):
        generative.log_weights(**weighed, prior=priors.Gaussian(), decoder=decoders.Gaussian(1.0))
