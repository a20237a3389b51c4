"""Contrastive losses: InfoNCE against loops, as prior minus density, chunked, and its conventions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from ssl_theory.losses import priors
from ssl_theory.losses.contrastive import info_nce
from ssl_theory.losses.views import unit
from tests.losses.draws import close, draws, gaussian, vectors
from tests.references import nt_xent_by_loops

temperatures = st.sampled_from([0.05, 0.2, 0.5, 1.0])


@given(draws(J=st.just(2)), temperatures)
def test_nt_xent_agrees_with_the_loop_over_anchors(z, temperature):
    members = z if z.ndim == 4 else z[None]
    expected = torch.stack([nt_xent_by_loops(member, temperature) for member in members])
    close(info_nce(z, temperature=temperature).reshape(-1), expected)


@given(draws(J=st.just(2)), temperatures)
def test_clip_is_the_mean_of_the_two_cross_entropies(z, temperature):
    scores = unit(z[..., 0, :]) @ unit(z[..., 1, :]).mT / temperature
    rows, columns = (-m.log_softmax(-1).diagonal(dim1=-2, dim2=-1).mean(-1) for m in (scores, scores.mT))
    close(info_nce(z, temperature=temperature, negatives="other"), (rows + columns) / 2)
    close(info_nce(z, temperature=temperature, negatives="other", two_sided=False), rows)


@given(draws(J=st.just(2)), st.floats(0.05, 2.0))
def test_info_nce_is_minus_the_flat_prior_plus_a_kernel_density(z, style):
    """On the sphere, tau = 2 s^2: L_K = -[log p_Flat - log (1/K) sum_k N(z_k; z, 2 s^2 I)] + log K."""
    z = unit(z)
    n, d = z.shape[-3], z.shape[-1]
    log_prior = priors.Flat(style).log_prob(z)
    squared = (z[..., :, None, 0, :] - z[..., None, :, 1, :]).square().sum(-1)
    log_kernel = -squared / (4 * style) - d / 2 * math.log(4 * math.pi * style)
    log_density = log_kernel.logsumexp(-1) - math.log(n)
    expected = (log_density - log_prior).mean(-1) + math.log(n)
    loss = info_nce(z, temperature=2 * style, critic="dot", negatives="other", two_sided=False)
    close(loss, expected)


def test_the_identity_fails_at_another_temperature():
    z = unit(gaussian(16, 2, 3))
    at = [info_nce(z, temperature=2 * 0.2 * factor, critic="dot", negatives="other") for factor in (1.0, 1.1)]
    assert (at[0] - at[1]).abs() > 1e-3


@given(draws(J=st.just(2)), temperatures)
def test_distance_critic_on_the_sphere_is_the_dot_critic_at_half_the_temperature(z, temperature):
    z = unit(z)
    close(
        info_nce(z, temperature=temperature, critic="distance"),
        info_nce(z, temperature=temperature / 2, critic="dot"),
    )


def test_distance_critic_keeps_its_digits_far_from_the_origin():
    z = gaussian(16, 2, 3)
    close(info_nce(z + 1e4, critic="distance"), info_nce(z, critic="distance"), 1e-7)


@given(draws(), temperatures, st.sampled_from(["all", "other"]), st.booleans())
def test_many_views_are_the_mean_over_their_pairs(z, temperature, negatives, two_sided):
    pairs = [(j, k) for j in range(z.shape[-2]) for k in range(j + 1, z.shape[-2])]
    kwargs = {"temperature": temperature, "negatives": negatives, "two_sided": two_sided}
    expected = torch.stack([info_nce(z[..., list(pair), :], **kwargs) for pair in pairs]).mean(0)
    close(info_nce(z, **kwargs), expected)


@given(
    draws(n=st.integers(2, 9)),
    st.integers(1, 10),
    st.sampled_from(["cosine", "dot", "distance"]),
    st.sampled_from(["all", "other"]),
    st.booleans(),
)
def test_chunked_and_unchunked_agree_in_value_and_gradient(z, chunk, critic, negatives, two_sided):
    results = []
    for size in (None, chunk):
        leaf = z.clone().requires_grad_()
        value = info_nce(leaf, critic=critic, negatives=negatives, two_sided=two_sided, chunk=size)
        results.append((value.detach(), torch.autograd.grad(value.sum(), leaf)[0]))
    close(results[0][0], results[1][0])
    close(results[0][1], results[1][1])


def test_temperature_carries_the_ensemble_axis():
    z, temperature = gaussian(3, 5, 2, 4), torch.tensor([0.1, 0.5, 2.0])
    for negatives in ("all", "other"):
        expected = [info_nce(z[e], temperature=float(temperature[e]), negatives=negatives) for e in range(3)]
        close(info_nce(z, temperature=temperature, negatives=negatives), torch.stack(expected))


@given(vectors, st.integers(2, 8))
def test_loss_of_indistinguishable_candidates_is_the_log_of_their_number(seed, n):
    z = gaussian(1, 1, 3, seed=seed).expand(n, 2, 3)
    close(info_nce(z, negatives="other"), torch.tensor(math.log(n)))
    close(info_nce(z, negatives="all"), torch.tensor(math.log(2 * n - 1)))


def test_gradcheck():
    z, temperature = gaussian(4, 3, 2).requires_grad_(), torch.tensor(0.3, requires_grad=True)
    for negatives in ("all", "other"):
        for critic in ("cosine", "dot", "distance"):
            for chunk in (None, 3):

                def loss(z, t, critic=critic, negatives=negatives, chunk=chunk):
                    return info_nce(z, temperature=t, critic=critic, negatives=negatives, chunk=chunk)

                assert gradcheck(loss, (z, temperature))


@pytest.mark.parametrize(
    ("z", "kwargs", "message"),
    [
        (torch.zeros(4, 1, 3), {}, "J >= 2"),
        (torch.zeros(1, 2, 3), {}, "at least 2 data points"),
        (torch.zeros(4, 2, 3), {"temperature": 0.0}, "temperature > 0"),
        (torch.zeros(4, 2, 3), {"critic": "euclid"}, "critic among"),
        (torch.zeros(4, 2, 3), {"negatives": "own"}, "negatives among all, other"),
    ],
)
def test_bad_input_is_refused_in_one_line(z, kwargs, message):
    with pytest.raises(ValueError, match=message) as error:
        info_nce(z, **kwargs)
    assert "\n" not in str(error.value)
