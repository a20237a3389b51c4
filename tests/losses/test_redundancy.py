"""Redundancy reduction: VICReg against loops and numpy's covariance, and its conventions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from ssl_theory.losses import priors
from ssl_theory.losses.redundancy import off_diagonal_energy, vicreg
from tests.losses.draws import close, draws, gaussian
from tests.references import vicreg_by_loops


@given(draws(J=st.just(2)))
def test_vicreg_agrees_with_the_loop_over_dimensions(z):
    members = z if z.ndim == 4 else z[None]
    close(vicreg(z).reshape(-1), torch.stack([torch.tensor(vicreg_by_loops(member)) for member in members]))


@given(draws(J=st.just(2)))
def test_conventions_of_vicreg_differ_by_their_stated_factors(z):
    d = z.shape[-1]
    agreement = {"invariance": 1.0, "variance": 0.0, "covariance": 0.0}
    close(vicreg(z, **agreement, distance="sum"), d * vicreg(z, **agreement))
    hinge = {"invariance": 0.0, "variance": 1.0, "covariance": 0.0}
    close(vicreg(z, **hinge, views="mean"), vicreg(z, **hinge) / 2)


@given(draws(J=st.just(2)), st.floats(0.05, 2.0))
def test_invariance_is_the_flat_prior(z, style):
    """|z - z'|^2 = -4 sigma^2 log p_Flat + c, with c = 4 sigma^2 log p_Flat of identical views."""
    agreement = vicreg(z, invariance=1.0, variance=0.0, covariance=0.0, distance="sum")
    log_prior = priors.Flat(style).log_prob(z) - priors.Flat(style).log_prob(torch.zeros_like(z))
    close(agreement, -4 * style * log_prior.mean(-1))


@given(draws())
def test_many_views_are_the_mean_over_their_pairs(z):
    pairs = [(j, k) for j in range(z.shape[-2]) for k in range(j + 1, z.shape[-2])]
    close(vicreg(z), torch.stack([vicreg(z[..., list(pair), :]) for pair in pairs]).mean(0))


@given(draws(n=st.integers(2, 9), d=st.integers(1, 9)))
def test_off_diagonal_energy_is_that_of_either_gram_matrix(z):
    view = z[..., 0, :] - z[..., 0, :].mean(-2, keepdim=True)
    covariance = view.mT @ view / (view.shape[-2] - 1)
    off_diagonal = covariance - torch.diag_embed(covariance.diagonal(dim1=-2, dim2=-1))
    close(off_diagonal_energy(view), off_diagonal.square().sum((-2, -1)))


def test_gradcheck_and_ensemble_weights():
    z = gaussian(2, 5, 2, 3).requires_grad_()
    assert gradcheck(vicreg, z)
    weights = torch.tensor([1.0, 5.0])
    expected = torch.stack([vicreg(z[e], invariance=float(weights[e])) for e in range(2)])
    close(vicreg(z, invariance=weights), expected)


def test_bad_input_is_refused_in_one_line():
    with pytest.raises(ValueError, match="J >= 2"):
        vicreg(torch.zeros(4, 1, 3))
    with pytest.raises(ValueError, match="at least 2 data points"):
        vicreg(torch.zeros(1, 2, 3))
