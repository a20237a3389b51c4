"""Decoders: likelihoods against torch's and scipy's, normalised, with the means they claim."""

import math

import pytest
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


@given(draws())
def test_heteroscedastic_gaussian_is_the_normal_density_of_its_own_variances(z):
    decoded = gaussian(*z.shape[:-1], 2 * z.shape[-1], seed=3)
    mean, log_variance = decoded.chunk(2, -1)
    law = torch.distributions.Normal(mean, (log_variance / 2).exp())
    close(decoders.HeteroscedasticGaussian().log_prob(z, decoded), law.log_prob(z).sum(-1))
    close(decoders.HeteroscedasticGaussian().mean(decoded), mean)


def test_heteroscedastic_gaussian_is_bounded_by_its_least_variance():
    decoded = torch.tensor([[[0.0, -1e4]]], requires_grad=True)
    value = decoders.HeteroscedasticGaussian(1e-4).log_prob(torch.zeros(1, 1, 1), decoded)
    close(value.detach(), torch.full((1, 1), -0.5 * math.log(2 * math.pi * 1e-4)))
    assert torch.autograd.grad(value.sum(), decoded)[0].isfinite().all()


@given(draws(), st.sampled_from([1e-3, 0.1, 0.3]))
def test_continuous_bernoulli_is_that_of_torch(z, scale):
    logits, x = scale * z.flip(-2), torch.rand(z.shape, generator=torch.Generator().manual_seed(0))
    law = torch.distributions.ContinuousBernoulli(logits=logits)
    decoder = decoders.ContinuousBernoulli()
    far = (logits.abs() > 0.1).all()  # torch's own series near zero is good to 1e-6 only
    close(decoder.log_prob(x, logits), law.log_prob(x).sum(-1), 1e-9 if far else 1e-5)
    close(decoder.mean(logits), law.mean, 1e-9 if far else 1e-5)


def test_continuous_bernoulli_integrates_to_one_with_the_mean_it_claims():
    x = torch.linspace(0, 1, 20_001)[:, None, None]
    decoder = decoders.ContinuousBernoulli()
    for logit in (-30.0, -1.0, -0.051, -0.049, 0.0, 0.01, 0.049, 0.051, 2.0, 30.0):
        decoded = torch.full_like(x, logit)
        density = decoder.log_prob(x, decoded)[:, 0].exp()
        close(torch.trapezoid(density, x[:, 0, 0]), torch.tensor(1.0), 1e-6)
        mean = torch.trapezoid(density * x[:, 0, 0], x[:, 0, 0])
        close(decoder.mean(decoded)[0, 0, 0], mean, 1e-6)


def test_continuous_bernoulli_series_meets_the_closed_form():
    decoder = decoders.ContinuousBernoulli()
    edge = torch.tensor([[[0.05 * (1 - 1e-12), 0.05, -0.05 * (1 - 1e-12), -0.05]]])
    for values in (decoder.log_normaliser(edge)[0, 0], decoder.mean(edge)[0, 0]):
        close(values[::2], values[1::2], 1e-11)


def test_discretised_logistic_is_a_distribution_over_its_levels_with_the_mean_it_claims():
    for levels, scale in ((2, 0.3), (16, 0.05), (256, 0.02)):
        decoder = decoders.DiscretisedLogistic(scale, levels)
        x = torch.linspace(0, 1, levels)[:, None, None]
        for location in (-0.1, 0.0, 0.4, 1.3):
            decoded = torch.full_like(x, location)
            mass = decoder.log_prob(x, decoded)[:, 0].exp()
            close(mass.sum(), torch.tensor(1.0))
            close(decoder.mean(decoded)[0, 0, 0], (mass * x[:, 0, 0]).sum())


def test_discretised_logistic_is_the_difference_of_logistic_functions():
    decoder, half = decoders.DiscretisedLogistic(0.1, 11), 0.05
    x, decoded = torch.full((1, 1, 1), 0.3), torch.full((1, 1, 1), 0.42)
    upper, lower = (torch.sigmoid((x + sign * half - decoded) / 0.1) for sign in (1, -1))
    close(decoder.log_prob(x, decoded), (upper - lower).log()[..., 0])


def test_likelihoods_are_finite_for_decoders_that_are_far_off():
    x = torch.tensor([0.0, 0.2, 1.0], dtype=torch.float32).expand(2, 2, 3)
    for decoder in (decoders.Bernoulli(), decoders.ContinuousBernoulli(), decoders.DiscretisedLogistic(1e-3)):
        for scale in (0.0, 1.0, 1e4, -1e4):
            decoded = torch.full_like(x, scale).requires_grad_()
            value = decoder.log_prob(x, decoded).sum()
            assert value.isfinite()
            assert torch.autograd.grad(value, decoded)[0].isfinite().all()


def test_gradients_of_the_others():
    x, decoded = torch.linspace(0, 1, 11)[[0, 3, 10]].expand(2, 2, 3), gaussian(2, 2, 3).requires_grad_()
    scale = torch.tensor(0.3, requires_grad=True)
    near = torch.tensor([[[-0.04, 0.0, 0.03]]], requires_grad=True)
    assert gradcheck(lambda m: decoders.ContinuousBernoulli().log_prob(x, m), decoded)
    assert gradcheck(lambda m: decoders.ContinuousBernoulli().log_prob(x[:1, :1], m), near)
    assert gradcheck(lambda m, s: decoders.DiscretisedLogistic(s, 11).log_prob(x, m), (decoded, scale))
    wide = gaussian(2, 2, 6).requires_grad_()
    assert gradcheck(lambda m: decoders.HeteroscedasticGaussian().log_prob(x, m), wide)


def test_scale_carries_the_ensemble_axis():
    x, decoded = torch.linspace(0, 1, 11)[[0, 3, 10]].expand(2, 2, 3), gaussian(2, 2, 2, 3)
    scales = torch.tensor([0.1, 0.4])
    whole = decoders.DiscretisedLogistic(scales, 11)
    lone = [decoders.DiscretisedLogistic(float(s), 11) for s in scales]
    close(whole.log_prob(x, decoded), torch.stack([w.log_prob(x, m) for w, m in zip(lone, decoded, strict=True)]))
    close(whole.mean(decoded), torch.stack([w.mean(m) for w, m in zip(lone, decoded, strict=True)]))


@pytest.mark.usefixtures("as_users_run")
@pytest.mark.parametrize(
    "decoder",
    [
        decoders.Gaussian(),
        decoders.Bernoulli(),
        decoders.HeteroscedasticGaussian(),
        decoders.ContinuousBernoulli(),
        decoders.DiscretisedLogistic(),
    ],
)
def test_one_pixel_for_all_is_refused(decoder):
    twice = isinstance(decoder, decoders.HeteroscedasticGaussian)
    with pytest.raises(ValueError, match="expected the sizes of"):
        decoder.log_prob(torch.rand(3, 2, 5), torch.rand(3, 2, 2 * twice or 1))
    if twice:
        with pytest.raises(ValueError, match="expected the sizes of"):
            decoder.log_prob(torch.rand(3, 2, 5), torch.rand(3, 2, 9))
