"""Priors: closed forms against integrals and scipy, their limits, and what a plug-in prior is not."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from torch.autograd import gradcheck

from ssl_theory.losses import priors
from tests.losses.draws import close, draws, gaussian, vectors
from tests.references import prior_by_quadrature

variances = st.floats(0.05, 4.0)


@given(draws(), variances, variances)
def test_gaussian_prior_is_the_multivariate_normal_of_the_stacked_views(z, style, content):
    J, d = z.shape[-2:]
    covariance = style * torch.eye(J) + content * torch.ones(J, J)
    law = multivariate_normal(torch.zeros(J), covariance)
    expected = torch.from_numpy(law.logpdf(z.mT.numpy())).reshape(*z.shape[:-2], d).sum(-1)
    close(priors.Gaussian(style, content).log_prob(z), expected)


@given(draws(d=st.just(1), n=st.just(2)), variances, variances)
def test_gaussian_and_flat_priors_are_the_integral_over_content(z, style, content):
    close(priors.Gaussian(style, content).log_prob(z), prior_by_quadrature(z, style, content), 1e-9)
    close(priors.Flat(style).log_prob(z), prior_by_quadrature(z, style, None), 1e-9)


@given(draws(), variances)
def test_gaussian_prior_tends_to_the_flat_one_at_rate_one(z, style):
    d, flat = z.shape[-1], priors.Flat(style).log_prob(z)
    gaps = [
        (priors.Gaussian(style, g).log_prob(z) + d / 2 * math.log(2 * math.pi * g) - flat).abs().max()
        for g in (1e5, 1e6)
    ]
    assert gaps[0] / gaps[1] == pytest.approx(10, rel=0.01)
    assert gaps[1] < 1e-3


@given(draws(J=st.just(2)), variances)
def test_flat_prior_of_two_views_is_a_normal_in_their_difference(z, style):
    law = torch.distributions.Normal(z[..., 0, :], math.sqrt(2 * style))
    close(priors.Flat(style).log_prob(z), law.log_prob(z[..., 1, :]).sum(-1))


@given(draws(), variances, st.integers(1, 5))
def test_mixture_prior_is_a_sum_over_labels(z, style, K):
    means, weights = gaussian(K, z.shape[-1], seed=1), torch.arange(1.0, K + 1)
    prior = priors.Mixture(means, style, weights)
    terms = [multivariate_normal(mean.numpy(), style).logpdf(z.numpy()).reshape(z.shape[:-1]).sum(-1) for mean in means]
    joint = torch.stack([torch.from_numpy(t) for t in terms], -1) + (weights / weights.sum()).log()
    close(prior.log_prob(z), joint.logsumexp(-1))
    close(prior.log_joint(z), joint)
    uniform = priors.Mixture(means, style)
    close(uniform.log_prob(z), priors.Mixture(means, style, torch.ones(K)).log_prob(z))


@given(draws(), variances, variances)
def test_plug_in_prior_is_the_conditional_at_the_mean_view(z, style, content):
    mean = z.mean(-2, keepdim=True)
    given_mean = torch.distributions.Normal(mean, math.sqrt(style)).log_prob(z).sum((-2, -1))
    close(priors.PlugIn(style).log_prob(z), given_mean)
    of_mean = torch.distributions.Normal(0, math.sqrt(content)).log_prob(mean).sum((-2, -1))
    close(priors.PlugIn(style, content).log_prob(z), given_mean + of_mean)


def grid_mass(prior: priors.Prior) -> float:
    """The integral of exp(log p) over J = 2 views of one latent dimension."""
    axis = torch.linspace(-20, 20, 801, dtype=torch.float64)
    z = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2, 1)
    return float(prior.log_prob(z).exp().sum() * (axis[1] - axis[0]) ** 2)


def test_gaussian_mixture_and_intra_class_priors_integrate_to_one_and_the_plug_in_does_not():
    assert grid_mass(priors.Gaussian(0.5, 2.0)) == pytest.approx(1, abs=1e-6)
    means = torch.tensor([[-2.0], [1.0]], dtype=torch.float64)
    assert grid_mass(priors.Mixture(means, 0.5, torch.tensor([1.0, 3.0]))) == pytest.approx(1, abs=1e-6)
    rho = torch.tensor([0.8], dtype=torch.float64)
    assert grid_mass(priors.IntraClass.from_correlation(rho)) == pytest.approx(1, abs=1e-6)
    # int N(z1;m,s) N(z2;m,s) N(m;0,g) over z1, z2 = (4 pi s)^-1/2: the mean view has lost its own spread
    assert grid_mass(priors.PlugIn(0.5, 2.0)) == pytest.approx(2 * math.sqrt(math.pi * 0.5) / (2 * math.pi * 0.5))


@given(draws(), st.floats(0.05, 0.95))
def test_intra_class_prior_with_one_correlation_is_the_gaussian_prior(z, rho):
    correlation = torch.full((z.shape[-1],), rho)
    expected = priors.Gaussian(1 - rho, rho).log_prob(z)
    close(priors.IntraClass.from_correlation(correlation).log_prob(z), expected)
    close(priors.IntraClass.from_correlation(correlation[0]).log_prob(z), expected)
    close(priors.IntraClass.from_logits(torch.logit(correlation)).log_prob(z), expected)


@given(draws(d=st.just(3)))
def test_intra_class_prior_is_a_product_over_dimensions(z):
    rho = torch.tensor([0.9, 0.5, 0.1])
    parts = [priors.Gaussian(1 - float(r), float(r)).log_prob(z[..., i : i + 1]) for i, r in enumerate(rho)]
    close(priors.IntraClass.from_correlation(rho).log_prob(z), sum(parts))


def test_intra_class_marginal_of_each_view_is_standard_normal():
    axis = torch.linspace(-12, 12, 4001)
    z = torch.stack(torch.meshgrid(torch.tensor([0.7]), axis, indexing="ij"), -1).reshape(-1, 2, 1)
    prior = priors.IntraClass.from_correlation(torch.tensor([0.6]))
    marginal = float(prior.log_prob(z).exp().sum() * (axis[1] - axis[0]))
    assert marginal == pytest.approx(float(torch.distributions.Normal(0.0, 1.0).log_prob(torch.tensor(0.7)).exp()))


def test_parameters_carry_the_ensemble_axis():
    z, style = gaussian(3, 4, 2, 5), torch.tensor([0.1, 0.5, 2.0])
    means, rho = gaussian(3, 6, 5, seed=1), torch.rand(3, 5, generator=torch.Generator().manual_seed(0))
    weights = torch.rand(3, 6, generator=torch.Generator().manual_seed(1))
    for whole, member in [
        (priors.Gaussian(style, style + 1), lambda e: priors.Gaussian(float(style[e]), float(style[e] + 1))),
        (priors.Flat(style), lambda e: priors.Flat(float(style[e]))),
        (
            priors.Mixture(means, style, weights),
            lambda e: priors.Mixture(means[e], float(style[e]), weights[e]),
        ),
        (priors.PlugIn(style, style + 1), lambda e: priors.PlugIn(float(style[e]), float(style[e] + 1))),
        (priors.IntraClass.from_correlation(rho), lambda e: priors.IntraClass.from_correlation(rho[e])),
        (priors.VonMisesFisher(style), lambda e: priors.VonMisesFisher(float(style[e]))),
    ]:
        close(whole.log_prob(z), torch.stack([member(e).log_prob(z[e]) for e in range(3)]))


def test_gradients_in_the_views_and_in_learned_parameters():
    z, d = gaussian(3, 3, 2).requires_grad_(), 2
    style = torch.tensor(0.4, requires_grad=True)
    means, weights = gaussian(4, d, seed=1).requires_grad_(), torch.rand(4).requires_grad_()
    logits = gaussian(d, seed=2).requires_grad_()
    assert gradcheck(lambda z, s: priors.Gaussian(s, s + 1).log_prob(z), (z, style))
    assert gradcheck(lambda z, s: priors.Flat(s).log_prob(z), (z, style))
    assert gradcheck(lambda z, m, s, w: priors.Mixture(m, s, w).log_prob(z), (z, means, style, weights))
    assert gradcheck(lambda z, s: priors.PlugIn(s, s).log_prob(z), (z, style))
    assert gradcheck(lambda z, r: priors.IntraClass.from_logits(r).log_prob(z), (z, logits))
    assert gradcheck(lambda z, s: priors.VonMisesFisher(1 / s).log_prob(z), (z, style))


def test_intra_class_prior_stays_finite_as_the_correlation_saturates():
    logits = torch.tensor([-40.0, 40.0], dtype=torch.float32, requires_grad=True)
    z = torch.ones(3, 2, 2, dtype=torch.float32, requires_grad=True)
    total = priors.IntraClass.from_logits(logits).log_prob(z).sum()
    gradients = torch.autograd.grad(total, (z, logits))
    assert all(v.isfinite().all() for v in (total, *gradients))


@given(vectors)
def test_priors_do_not_depend_on_the_order_of_views(seed):
    z, order = gaussian(4, 5, 3, seed=seed), [2, 0, 4, 1, 3]
    means = gaussian(3, 3, seed=seed + 1)
    rho = torch.tensor([0.2, 0.4, 0.7])
    for prior in (
        priors.Gaussian(),
        priors.Flat(),
        priors.Mixture(means),
        priors.PlugIn(),
        priors.IntraClass.from_correlation(rho),
        priors.VonMisesFisher(),
    ):
        close(prior.log_prob(z), prior.log_prob(z[:, order]))
