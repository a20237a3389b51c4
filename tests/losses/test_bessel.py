"""Bessel functions against scipy, and the von Mises-Fisher density they normalise."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats
from torch.autograd import gradcheck

from ssl_theory.losses import critics, priors
from ssl_theory.losses.bessel import log_bessel, log_sphere_area, log_vmf_normaliser, vmf_entropy
from ssl_theory.losses.views import unit
from tests.losses.draws import close, draws, gaussian

dimensions, concentrations = st.integers(1, 64), st.floats(1e-3, 1e4)


@given(dimensions, concentrations)
def test_log_bessel_agrees_with_scipy(d, kappa):
    order = d / 2 - 1
    scaled = special.ive(order, kappa)
    if scaled < 1e-290:
        return  # scipy itself underflows
    expected = math.log(scaled) + kappa - order * math.log(kappa)
    close(log_bessel(order, torch.tensor(kappa**2)), torch.tensor(expected))


@pytest.mark.parametrize("d", [2, 5, 30, 64, 512])
def test_log_bessel_at_zero_is_the_leading_term_of_its_series(d):
    """I_nu(x) / x^nu -> 1 / (2^nu Gamma(nu + 1)), with derivative 1 / (4 (nu + 1)) of its log in x^2."""
    squared, order = torch.zeros((), requires_grad=True), d / 2 - 1
    value = log_bessel(order, squared)
    close(value.detach(), torch.tensor(-order * math.log(2) - math.lgamma(order + 1)))
    close(torch.autograd.grad(value, squared)[0], torch.tensor(1 / (4 * (order + 1))))


def test_gradcheck():
    squared = torch.tensor([0.0, 0.3, 4.0, 1e2, 1e4], requires_grad=True)
    for d in (1, 2, 3, 17, 64, 128):
        assert gradcheck(lambda s, d=d: log_bessel(d / 2 - 1, s), squared, eps=1e-7, atol=1e-6)


@given(st.integers(2, 30), st.floats(0.01, 500))
def test_normaliser_is_that_of_scipy(d, kappa):
    mean = np.eye(d)[0]
    expected = stats.vonmises_fisher(mean, kappa).logpdf(mean)
    close(log_vmf_normaliser(d, torch.tensor(kappa**2)) + kappa, torch.tensor(float(expected)), 1e-9)


@given(st.integers(2, 10), st.floats(0.1, 100))
def test_entropy_is_that_of_scipy(d, kappa):
    expected = stats.vonmises_fisher(np.eye(d)[0], kappa).entropy()
    close(vmf_entropy(d, torch.tensor(kappa)), torch.tensor(float(expected)), 1e-8)


def test_sphere_areas():
    areas = [math.exp(log_sphere_area(d)) for d in (1, 2, 3, 4)]
    assert areas == pytest.approx([2, 2 * math.pi, 4 * math.pi, 2 * math.pi**2])


@given(dimensions, st.floats(0.1, 1e3))
def test_prior_of_one_view_is_uniform_on_the_sphere(d, kappa):
    z = unit(gaussian(3, 1, d))
    close(priors.VonMisesFisher(kappa).log_prob(z), torch.full((3,), -log_sphere_area(d)))


@pytest.mark.parametrize("kappa", [0.5, 5.0, 50.0])
def test_prior_is_the_integral_over_content_on_the_circle(kappa):
    angle = torch.linspace(0, 2 * math.pi, 20_001)[:-1]
    circle = torch.stack([angle.cos(), angle.sin()], -1)
    z = unit(gaussian(4, 3, 2))
    log_density = log_vmf_normaliser(2, torch.tensor(kappa**2)) + kappa * (z @ circle.T)
    expected = log_density.sum(-2).logsumexp(-1) - math.log(len(angle))
    close(priors.VonMisesFisher(kappa).log_prob(z), expected, 1e-9)


@given(draws(n=st.just(4), J=st.just(2)), st.floats(0.1, 1e3))
def test_critic_is_the_pointwise_mutual_information_of_the_prior(z, kappa):
    z, d = unit(z), z.shape[-1]
    prior = priors.VonMisesFisher(kappa).log_prob(z) + 2 * log_sphere_area(d)
    views = z.transpose(-2, -3)
    scores = critics.von_mises_fisher(kappa)(views[..., [0], :, :], views[..., [1], :, :])
    close(scores[..., 0, :, :].diagonal(dim1=-2, dim2=-1), prior, 1e-9)


def test_zero_vectors_and_opposite_views_have_finite_gradients():
    z = torch.stack([torch.zeros(2, 3), torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]])]).float().requires_grad_()
    value = priors.VonMisesFisher(200.0).log_prob(z)
    assert value.isfinite().all()
    assert torch.autograd.grad(value.sum(), z)[0].isfinite().all()


@pytest.mark.parametrize("d", [2, 3, 4, 10])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_entropy_of_a_concentrated_density_is_that_of_a_gaussian_on_its_tangent(d, dtype):
    kappa = torch.tensor([1e5, 1e8, 1e10], dtype=dtype)
    tangent = (d - 1) / 2 * (1 + math.log(2 * math.pi) - kappa.double().log())
    close(vmf_entropy(d, kappa).double(), tangent, 1e-4)
