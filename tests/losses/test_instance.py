"""Instance discrimination: softmax = posterior, the memory, and noise-contrastive estimation."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.nn.functional import cross_entropy

from ssl_theory.losses import priors
from ssl_theory.losses.instance import instance_softmax, memory_nce, memory_softmax
from ssl_theory.losses.state import Memory
from ssl_theory.losses.views import unit
from tests.losses.draws import close, draws, gaussian

temperatures = st.sampled_from([0.05, 0.3, 1.0])


def owned(z, instances):
    """Labels of the data points, and a weight for each of the instances, an ensemble axis included."""
    index = torch.arange(z.shape[-3]).flip(0) % instances
    return index, gaussian(*z.shape[:-3], instances, z.shape[-1], seed=7)


@given(draws(), temperatures, st.integers(2, 8))
def test_softmax_of_unit_vectors_is_the_posterior_of_the_mixture(z, variance, instances):
    """-log p(y|z) with p(z|y) = N(w_y, sigma^2 I), sigma^2 = temperature, uniform p(y)."""
    index, weights = owned(z, instances)
    prior = priors.Mixture(unit(weights), variance)
    each_view = unit(z).flatten(-3, -2)[..., None, :]
    log_posterior = prior.log_joint(each_view).log_softmax(-1)
    own = index.repeat_interleave(z.shape[-2]).expand(log_posterior.shape[:-1])[..., None]
    expected = -log_posterior.gather(-1, own).mean((-2, -1))
    close(instance_softmax(z, index, weights, temperature=variance), expected)


@given(draws(), temperatures)
def test_softmax_of_free_lengths_is_the_posterior_of_a_mixture_with_unequal_weights(z, variance):
    index, means = owned(z, 4)
    pi = (means.square().sum(-1) / (2 * variance)).softmax(-1)
    log_posterior = priors.Mixture(means, variance, pi).log_joint(z[..., :1, :]).log_softmax(-1)
    expected = -log_posterior.gather(-1, index.expand(log_posterior.shape[:-1])[..., None]).mean((-2, -1))
    close(instance_softmax(z[..., :1, :], index, means, temperature=variance, normalise=False), expected, 1e-9)


def test_with_equal_mixture_weights_unequal_lengths_break_the_identity():
    z, (index, means) = gaussian(6, 1, 3), owned(gaussian(6, 1, 3), 4)
    log_posterior = priors.Mixture(means, 1.0).log_joint(z).log_softmax(-1)
    uniform = -log_posterior.gather(-1, index[:, None]).mean()
    assert (instance_softmax(z, index, means, normalise=False) - uniform).abs() > 1e-2


@given(draws(), temperatures)
def test_memory_softmax_is_a_cross_entropy_against_the_bank(z, temperature):
    index, bank = owned(z, 5)
    members = z[None] if z.ndim == 3 else z
    banks = bank[None] if bank.ndim == 2 else bank
    expected = [
        cross_entropy(unit(m).flatten(0, 1) @ unit(b).T / temperature, index.repeat_interleave(z.shape[-2]))
        for m, b in zip(members, banks, strict=True)
    ]
    close(memory_softmax(z, index, Memory(bank), temperature=temperature).reshape(-1), torch.stack(expected))


def nce_by_loops(z, index, noise, bank, temperature, normaliser):
    z, bank, total = unit(z), unit(bank), 0.0
    ratio = len(noise) / len(bank)
    for i in range(len(z)):
        for view in z[i]:
            p = torch.exp(bank @ view / temperature) / normaliser
            h = p / (p + ratio)
            total -= torch.log(h[index[i]]) + sum(torch.log(1 - h[k]) for k in noise)
    return total / (len(z) * z.shape[1])


@given(draws(n=st.just(4)), st.sampled_from([0.3, 1.0]))
def test_nce_agrees_with_the_loop(z, temperature):
    index, bank = owned(z, 6)
    noise = torch.tensor([0, 3, 3, 5, 1])
    members = z[None] if z.ndim == 3 else z
    banks = bank[None] if bank.ndim == 2 else bank
    given_z = memory_nce(z, index, noise, Memory(bank), temperature=temperature, log_normaliser=math.log(7.0))
    estimated = memory_nce(z, index, noise, Memory(bank), temperature=temperature)
    for e, (m, b) in enumerate(zip(members, banks, strict=True)):
        close(given_z.reshape(-1)[e], nce_by_loops(m, index, noise, b, temperature, 7.0))
        drawn = torch.exp(unit(m).flatten(0, 1) @ unit(b)[noise].T / temperature)
        close(estimated.reshape(-1)[e], nce_by_loops(m, index, noise, b, temperature, drawn.mean() * len(b)))


def test_memory_moves_the_entries_of_the_batch_alone():
    memory, z = Memory(unit(gaussian(2, 5, 3)), momentum=0.9), gaussian(2, 2, 2, 3, seed=1)
    index = torch.tensor([4, 1])
    moved = memory.update(z, index)
    close(moved.bank[:, [0, 2, 3]], memory.bank[:, [0, 2, 3]])
    close(moved.bank[:, index], unit(0.9 * memory.bank[:, index] + 0.1 * unit(z).mean(-2)))
    assert moved.momentum == 0.9


def test_gradients_reach_weights_and_not_the_memory():
    z, index = gaussian(3, 2, 3).requires_grad_(), torch.tensor([2, 0, 1])
    weights = gaussian(4, 3, seed=1).requires_grad_()
    assert gradcheck(lambda z, w: instance_softmax(z, index, w, temperature=0.3), (z, weights))
    assert gradcheck(lambda z: memory_nce(z, index, index, Memory(weights), log_normaliser=1.0), z)
    for loss in (memory_softmax(z, index, Memory(weights)), memory_nce(z, index, index, Memory(weights))):
        assert torch.autograd.grad(loss, weights, allow_unused=True)[0] is None


def test_the_estimated_normaliser_is_held_constant():
    z, index = gaussian(3, 2, 3).requires_grad_(), torch.tensor([2, 0, 1])
    bank, noise = gaussian(4, 3, seed=1), torch.tensor([0, 1, 3])
    scores = unit(z.detach()).flatten(0, 1) @ unit(bank)[noise].T / 0.5
    constant = scores.logsumexp((0, 1)) - math.log(scores.numel() / 4)
    estimated, given_constant = (
        torch.autograd.grad(memory_nce(z, index, noise, Memory(bank), temperature=0.5, log_normaliser=value), z)[0]
        for value in (None, constant)
    )
    close(estimated, given_constant)
