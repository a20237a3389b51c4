"""Redundancy reduction: VICReg against loops and numpy's covariance, and its conventions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from ssl_theory.losses import priors
from ssl_theory.losses.redundancy import (
    barlow_twins,
    centre,
    coding_rate,
    second_moments,
    total_coding_rate,
    vicreg,
    w_mse,
    whiten,
)
from ssl_theory.losses.views import unit
from tests.losses.draws import close, draws, gaussian, vectors
from tests.references import barlow_by_corrcoef, vicreg_by_loops


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
def test_second_moments_are_those_of_either_gram_matrix(z):
    view = z[..., 0, :] - z[..., 0, :].mean(-2, keepdim=True)
    gram = view.mT @ view
    diagonal = gram.diagonal(dim1=-2, dim2=-1)
    squared, energy = second_moments(view)
    close(squared, diagonal)
    close(energy, (gram - torch.diag_embed(diagonal)).square().sum((-2, -1)))


def off_diagonal_energy(z):
    """Squared off-diagonal entries of the covariance, as VICReg penalises them."""
    return second_moments(z)[1] / (len(z) - 1) ** 2


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
    with pytest.raises(ValueError, match="distance among mean, sum"):
        vicreg(torch.zeros(4, 2, 3), distance="max")
    with pytest.raises(ValueError, match="distortion > 0"):
        total_coding_rate(torch.zeros(4, 2, 3), distortion=0.0)


def correlated(strength, pattern):
    """Data of covariance exactly I + strength pattern."""
    white = whiten(centre(gaussian(40, 1, len(pattern)))[0], 0.0)
    return white @ torch.linalg.cholesky(torch.eye(len(pattern)) + strength * pattern).T


@given(vectors)
def test_covariance_penalty_is_the_gaussian_entropy_to_second_order(seed):
    """-1/2 log det(I + E) = 1/4 |E|_F^2 + O(|E|^3): the remainder falls with slope 3."""
    pattern = gaussian(4, 4, seed=seed).tril(-1)
    pattern = (pattern + pattern.T) / pattern.norm()
    cubic = torch.linalg.matrix_power(pattern, 3).trace()
    if cubic.abs() < 0.3:
        return  # the third order happens to vanish
    strengths, remainders = torch.tensor([0.01, 0.02, 0.04]), []
    for strength in strengths:
        z = correlated(strength, pattern)
        log_det = torch.logdet(z.T @ z / (len(z) - 1))
        remainders.append((-0.5 * log_det - off_diagonal_energy(z) / 4).abs())
    slope = (remainders[2].log() - remainders[0].log()) / math.log(4)
    assert abs(float(slope) - 3) < 0.15


@given(vectors, st.floats(0.001, 0.02))
def test_covariance_penalty_is_the_divergence_from_independent_dimensions(seed, strength):
    """Pinching: KL( N(0, S) || N(0, diag S) ) = 1/2 (sum log S_ii - log det S) >= 0, about a quarter of the penalty."""
    pattern = gaussian(4, 4, seed=seed).tril(-1)
    pattern = (pattern + pattern.T) / pattern.norm()
    covariance = torch.eye(4) + strength * pattern
    joint, pinched = (
        torch.distributions.MultivariateNormal(torch.zeros(4), matrix)
        for matrix in (covariance, torch.diag(covariance.diagonal()))
    )
    divergence = torch.distributions.kl_divergence(joint, pinched)
    deficit = 0.5 * (covariance.diagonal().log().sum() - torch.logdet(covariance))
    close(divergence, deficit)
    penalty = off_diagonal_energy(correlated(strength, pattern))
    assert divergence >= 0
    assert (divergence - penalty / 4).abs() < 4 * strength**3


def test_the_second_order_form_fails_for_strong_correlations():
    pattern = torch.ones(4, 4) - torch.eye(4)
    z = correlated(0.9, pattern)
    log_det = torch.logdet(z.T @ z / (len(z) - 1))
    assert (-0.5 * log_det - off_diagonal_energy(z) / 4).abs() > 0.1


@given(draws(n=st.integers(3, 7), J=st.just(2), d=st.integers(2, 4)))
def test_barlow_twins_agrees_with_correlations(z):
    members = z if z.ndim == 4 else z[None]
    expected = torch.stack([torch.tensor(barlow_by_corrcoef(member)) for member in members])
    close(barlow_twins(z).reshape(-1), expected)
    close(barlow_twins(z, scale=0.025).reshape(-1), 0.025 * expected)


@given(draws(n=st.integers(3, 7), J=st.just(2)))
def test_barlow_twins_with_epsilon_is_that_of_batch_normalisation(z):
    member = z if z.ndim == 3 else z[0]
    first, second = (torch.nn.functional.batch_norm(member[:, j], None, None, training=True) for j in (0, 1))
    matrix = first.T @ second / len(member)
    difference = (matrix - torch.eye(z.shape[-1])).square()
    weight = torch.full_like(matrix, 5e-3).fill_diagonal_(1.0)
    close(barlow_twins(member, epsilon=1e-5), (weight * difference).sum())


@given(draws(n=st.integers(6, 9), d=st.integers(1, 4)))
def test_whitening_makes_the_covariance_the_identity(z):
    white = whiten(centre(z), 0.0)
    covariance = white.mT @ white / (z.shape[-3] - 1)
    close(covariance, torch.eye(z.shape[-1]).expand_as(covariance), 1e-8)


@given(draws(n=st.integers(6, 9), J=st.just(2), d=st.integers(1, 4)))
def test_w_mse_is_the_squared_distance_of_whitened_unit_vectors(z):
    white = []
    for j in (0, 1):
        view = z[..., j, :] - z[..., j, :].mean(-2, keepdim=True)
        factor = torch.linalg.cholesky(view.mT @ view / (z.shape[-3] - 1))
        white.append(unit(view @ torch.linalg.inv(factor).mT))
    expected = (white[0] - white[1]).square().sum(-1).mean(-1)
    close(w_mse(z, epsilon=0.0), expected, 1e-8)
    close(w_mse(z), expected, 1e-2)


@given(draws(n=st.integers(6, 9), J=st.just(2)), st.floats(1, 100))
def test_w_mse_does_not_depend_on_the_scale(z, scale):
    close(w_mse(scale * z), w_mse(z), 1e-8)


@given(draws(n=st.integers(2, 9), d=st.integers(1, 9)), st.floats(0.05, 1.0), st.floats(1.0, 200.0))
def test_total_coding_rate_is_a_log_determinant(z, distortion, weight):
    n, d = z.shape[-3], z.shape[-1]
    points, total = unit(z), 0.0
    for j in range(z.shape[-2]):
        gram = points[..., j, :].mT @ points[..., j, :]
        total = total + 0.5 * torch.logdet(torch.eye(d) + d / (n * distortion) * gram) / z.shape[-2]
    mean = unit(points.mean(-2, keepdim=True))
    agreement = (points * mean).sum(-1).mean((-2, -1))
    close(total_coding_rate(z, distortion=distortion, invariance=weight), -total - weight * agreement, 1e-9)


def test_coding_rate_is_the_information_through_gaussian_noise():
    """1/2 log det(S + v I) - 1/2 log det(v I), the entropies of z plus noise and of the noise, S = Z'Z / n."""
    z, noise = gaussian(20, 3), 0.3
    signal = torch.distributions.MultivariateNormal(torch.zeros(3), z.T @ z / 20 + noise * torch.eye(3))
    alone = torch.distributions.MultivariateNormal(torch.zeros(3), noise * torch.eye(3))
    close(coding_rate(z, 1 / (20 * noise)), signal.entropy() - alone.entropy())


def test_gradcheck_of_the_others():
    z = gaussian(6, 2, 3).requires_grad_()
    for loss in (barlow_twins, w_mse, total_coding_rate):
        assert gradcheck(loss, z)


def test_unshrunken_whitening_wants_more_points_than_dimensions():
    """n <= d centred points have a singular covariance, and a column that others add up to makes one of any n."""
    for n in (3, 4):
        with pytest.raises(ValueError, match=f"expected n > d points without shrinkage, found n = {n}, d = 4"):
            w_mse(gaussian(n, 2, 4), epsilon=0.0)
        assert w_mse(gaussian(n, 2, 4)).isfinite()
    z = gaussian(8, 2, 3)
    flat = torch.cat([z, torch.zeros_like(z[..., :1])], -1)
    assert w_mse(flat, epsilon=0.0).isnan()
    assert w_mse(flat).isfinite()


@pytest.mark.parametrize("n", [50, 64, 101])
@pytest.mark.parametrize("level", [0.0, 0.1, -37.3])
def test_what_does_not_vary_is_no_agreement(n, level):
    """The rest of a constant less its mean is rounding, one number in all rows: it correlates, if it is let."""
    z = torch.full((n, 2, 8), level)
    assert float(barlow_twins(z)) == 8.0
    assert float(w_mse(z)) == 2.0
    drawn = gaussian(n, 2, 8).float()
    flat, zero = drawn.clone(), drawn.clone()
    flat[..., 0], zero[..., 0] = level, 0.0
    close(barlow_twins(flat), barlow_twins(zero))


def test_rounding_is_told_from_a_small_deviation():
    z = gaussian(60, 2, 5).float()
    torch.testing.assert_close(barlow_twins(100 + 0.1 * z), barlow_twins(z), rtol=1e-2, atol=1e-3)
    assert bool(barlow_twins(torch.full((9, 2, 3), torch.nan)).isnan())
