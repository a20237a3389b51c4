"""Decoders: likelihoods against torch's and scipy's, normalised, with the means they claim."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from ssl_theory.losses import decoders
from tests.losses.draws import close, draws, gaussian


@given(draws(), st.floats(0.01, 3.0))
def test_gaussian_decoder_is_the_normal_density(z, variance):
    decoded = z.flip(-2)
    expected = torch.distributions.Normal(decoded, math.sqrt(variance)).log_prob(z).sum(-1)
    close(decoders.Gaussian(variance).log_prob(z, decoded), expected)
    close(decoders.Gaussian(variance).mean(decoded), decoded)


@given(draws())
def test_bernoulli_decoder_is_the_bernoulli_mass(z):
    x = (z > 0).double()
    law = torch.distributions.Bernoulli(logits=z.flip(-2))
    close(decoders.Bernoulli().log_prob(x, z.flip(-2)), law.log_prob(x).sum(-1))
    close(decoders.Bernoulli().mean(z.flip(-2)), law.mean)


def test_learned_variance_has_gradient_and_its_optimum_is_the_mean_squared_error():
    x, decoded = gaussian(40, 2, 3), gaussian(40, 2, 3, seed=1)
    variance = (x - decoded).square().mean().requires_grad_()
    value = decoders.Gaussian(variance).log_prob(x, decoded).mean()
    assert torch.autograd.grad(value, variance)[0].abs() < 1e-12
    free = torch.tensor(0.7, requires_grad=True)
    assert gradcheck(lambda m, v: decoders.Gaussian(v).log_prob(x, m), (decoded.requires_grad_(), free))


def test_one_observation_is_shared_by_all_members():
    x, decoded, variance = gaussian(4, 2, 3), gaussian(5, 4, 2, 3, seed=1), torch.linspace(0.1, 1, 5)
    expected = torch.stack(
        [decoders.Gaussian(float(v)).log_prob(x, member) for v, member in zip(variance, decoded, strict=True)]
    )
    close(decoders.Gaussian(variance).log_prob(x, decoded), expected)
