"""Latent clustering: hard EM, Sinkhorn as a constrained posterior, SwAV and DINO against loops."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch.autograd import gradcheck, gradgradcheck

from ssl_theory.losses import priors
from ssl_theory.losses.clustering import assign, deep_cluster, dino, kmeans, sinkhorn, swav, update_prototypes
from ssl_theory.losses.instance import instance_softmax
from ssl_theory.losses.state import Centre, Queue
from ssl_theory.losses.views import unit
from tests.losses.draws import close, draws, gaussian, vectors


def prototypes_for(z, K, seed=3):
    return gaussian(*z.shape[:-3], K, z.shape[-1], seed=seed)


@given(draws(), st.integers(1, 5), st.floats(0.1, 3.0))
def test_kmeans_is_the_mixture_prior_under_hard_assignment(z, K, variance):
    """Objective = -2 sigma^2 log p(z^{1:J}|yhat) - J d sigma^2 log(2 pi sigma^2); yhat maximises the posterior."""
    J, d = z.shape[-2:]
    means = prototypes_for(z, K)
    log_joint = priors.Mixture(means, variance).log_joint(z)
    close(log_joint.gather(-1, assign(z, means)[..., None])[..., 0], log_joint.amax(-1))  # a tie may go either way
    log_conditional = log_joint.amax(-1) + math.log(K)
    constant = J * d * variance * math.log(2 * math.pi * variance)
    close(kmeans(z, means), (-2 * variance * log_conditional - constant).mean(-1))


@given(draws(n=st.just(12)), st.integers(1, 4))
def test_a_step_of_kmeans_never_lowers_the_classification_likelihood(z, K):
    means = prototypes_for(z, K)
    for _ in range(4):
        moved = update_prototypes(z, assign(z, means), means)
        assert (kmeans(z, moved) <= kmeans(z, means) + 1e-12).all()
        means = moved


def test_prototypes_become_the_means_of_their_members_and_empty_ones_stay():
    z, means = gaussian(5, 2, 3), gaussian(4, 3, seed=1)
    assignment = torch.tensor([0, 0, 2, 2, 2])
    moved = update_prototypes(z, assignment, means)
    close(moved[0], z[:2].mean((0, 1)))
    close(moved[2], z[2:].mean((0, 1)))
    close(moved[[1, 3]], means[[1, 3]])


@given(vectors, st.integers(2, 12), st.integers(2, 6), st.sampled_from([0.5, 1.0]))
def test_sinkhorn_is_the_posterior_under_equal_partition(seed, n, K, epsilon):
    """Uniform marginals, and log Q = scores / epsilon + a_i + b_k: what the stationary point must look like."""
    scores = gaussian(n, K, seed=seed, scale=0.3)
    log_q = sinkhorn(scores, epsilon=epsilon, iterations=150)
    close(log_q.exp().sum(-1), torch.ones(n))
    close(log_q.exp().sum(-2), torch.full((K,), n / K), 1e-6)
    potentials = log_q - scores / epsilon
    close(potentials - potentials[:1] - potentials[:, :1] + potentials[0, 0], torch.zeros(n, K), 1e-9)


def test_sinkhorn_tends_to_the_optimal_transport_plan():
    """The score of the plan is below scipy's linear programme by at most epsilon log K per point."""
    n, K = 12, 4
    scores = gaussian(n, K)
    rows, columns = np.kron(np.eye(n), np.ones(K)), np.kron(np.ones(n), np.eye(K))
    marginals = np.concatenate([np.full(n, 1 / n), np.full(K, 1 / K)])
    best = -linprog(-scores.numpy().ravel(), A_eq=np.vstack([rows, columns]), b_eq=marginals).fun
    for epsilon in (0.1, 0.02):
        plan = sinkhorn(scores, epsilon=epsilon, iterations=1000).exp() / n
        gap = best - float((plan * scores).sum())
        assert -1e-6 < gap < epsilon * math.log(K)


def test_three_iterations_of_sinkhorn_are_those_of_the_exponentiated_form():
    scores = gaussian(6, 4, scale=0.3)
    q = torch.exp(scores / 0.1)
    for _ in range(3):
        q = q / q.sum(0) / 4
        q = q / q.sum(1, keepdim=True) / 6
    close(sinkhorn(scores, epsilon=0.1, iterations=3).exp(), q * 6)


def test_sinkhorn_is_finite_for_scores_of_any_size():
    scores = gaussian(6, 4, scale=1e6).float()
    log_q = sinkhorn(scores, epsilon=0.005)
    assert not log_q.isnan().any()
    close(log_q.exp().sum(-1), torch.ones(6, dtype=torch.float32), 1e-5)


@given(
    draws(n=st.integers(3, 6)), st.sampled_from([0.03125, 0.05, 0.5]), st.integers(1, 3), st.sampled_from([0.02, 1.0])
)
def test_codes_are_those_of_sinkhorn_in_the_log_domain(z, epsilon, iterations, temperature):
    """For a float epsilon that is large enough they are worked out from exponentials; a tensor is not looked at."""
    prototypes = prototypes_for(z, 4)
    kwargs = {"temperature": temperature, "iterations": iterations}
    close(swav(z, prototypes, epsilon=epsilon, **kwargs), swav(z, prototypes, epsilon=torch.tensor(epsilon), **kwargs))


def test_codes_keep_their_digits_in_single_precision_at_the_smallest_epsilon_of_exponentials():
    z, prototypes = unit(gaussian(2, 8, 2, 4)), unit(gaussian(2, 3, 4, seed=1))
    z[0, :, :] = prototypes[0, 0]  # all points at one prototype, and at its opposite
    prototypes[0, 1] = -prototypes[0, 0]
    single, double = (swav(z.to(t), prototypes.to(t), epsilon=1 / 32) for t in (torch.float32, torch.float64))
    close(single.double(), double, 1e-4)


def test_many_iterations_and_small_epsilon_stay_finite_in_single_precision():
    z, prototypes = gaussian(6, 2, 4).float(), gaussian(3, 4, seed=1).float()
    for kwargs in ({"epsilon": 0.001}, {"epsilon": 0.05, "iterations": 500}, {"epsilon": 0.05, "iterations": 3}):
        assert swav(z, prototypes, **kwargs).isfinite()


def test_first_and_second_derivatives_of_clustering_losses_of_three_views():
    z, prototypes = gaussian(3, 3, 4).requires_grad_(), gaussian(3, 4, seed=1)
    of_uniform_codes = partial(swav, prototypes=prototypes, temperature=0.5, epsilon=torch.inf)
    centre, teacher = Centre(gaussian(4, seed=2)), gaussian(3, 2, 4, seed=3)
    for loss in (of_uniform_codes, partial(dino, teacher=teacher, centre=centre, student_temperature=0.5)):
        assert gradcheck(loss, z)
        assert gradgradcheck(loss, z)
        close(*(torch.autograd.grad(loss(z), z, create_graph=again)[0].detach() for again in (False, True)))


def test_a_learned_temperature_has_its_gradient_and_members_may_have_their_own():
    student, teacher, centre = gaussian(2, 3, 2, 4), gaussian(2, 3, 2, 4, seed=1), Centre(gaussian(4, seed=2))
    temperature = torch.tensor([0.3, 0.7], requires_grad=True)
    loss = partial(dino, student, teacher, centre=centre)
    assert gradcheck(lambda tau: loss(student_temperature=tau), temperature)
    held = loss(student_temperature=temperature.detach())
    close(held, loss(student_temperature=temperature).detach())
    for member, tau in enumerate((0.3, 0.7)):
        close(held[member], dino(student[member], teacher[member], centre=centre, student_temperature=tau))


def test_losses_go_through_functional_transforms():
    z, prototypes = gaussian(2, 3, 2, 4), gaussian(3, 4, seed=1)
    each = torch.func.vmap(torch.func.grad(lambda z: swav(z, prototypes, temperature=0.5)))(z)
    leaf = z.clone().requires_grad_()
    close(each, torch.autograd.grad(swav(leaf, prototypes.expand(2, -1, -1), temperature=0.5).sum(), leaf)[0])


def test_teachers_are_left_as_they_are():
    student, teacher = gaussian(4, 2, 3), gaussian(4, 2, 3, seed=1)
    before = teacher.clone()
    dino(student, teacher, centre=Centre(torch.zeros(3)), teacher_temperature=1.0)
    assert torch.equal(teacher, before)


def swav_by_loops(z, prototypes, temperature, epsilon, queue=None):
    z, prototypes = unit(z), unit(prototypes)
    codes = []
    for j in range(z.shape[1]):
        scores = z[:, j] @ prototypes.T
        if queue is not None:
            scores = torch.cat([scores, unit(queue[:, j]) @ prototypes.T])
        q = torch.exp(scores / epsilon)
        for _ in range(3):
            q = q / q.sum(0)
            q = q / q.sum(1, keepdim=True)
        codes.append(q[: len(z)])
    predictions = [(z[:, j] @ prototypes.T / temperature).log_softmax(-1) for j in range(z.shape[1])]
    losses = [
        -(codes[k] * predictions[j]).sum(-1).mean() for j in range(z.shape[1]) for k in range(z.shape[1]) if j != k
    ]
    return torch.stack(losses).mean()


@given(draws(n=st.integers(3, 6)))
def test_swav_agrees_with_the_loop(z):
    prototypes, queue = prototypes_for(z, 4), gaussian(*z.shape[:-3], 7, *z.shape[-2:], seed=9)
    found = swav(z, prototypes, temperature=0.2, epsilon=0.1)
    queued = swav(z, prototypes, temperature=0.2, epsilon=0.1, queue=Queue(queue))
    for e in range(1 if z.ndim == 3 else 2):
        member, centres, earlier = (v if z.ndim == 3 else v[e] for v in (z, prototypes, queue))
        close(found.reshape(-1)[e], swav_by_loops(member, centres, 0.2, 0.1))
        close(queued.reshape(-1)[e], swav_by_loops(member, centres, 0.2, 0.1, earlier))


def test_multi_crop_predicts_the_codes_of_the_first_views_from_all_others():
    z, prototypes = gaussian(5, 3, 4), gaussian(3, 4, seed=1)
    first = swav(z[:, :2], prototypes)
    small = [swav(z[:, [k, 2]], prototypes, code_views=1) for k in (0, 1)]
    close(swav(z, prototypes, code_views=2), (2 * first + small[0] + small[1]) / 4)


@given(draws(J=st.just(2)), vectors)
def test_dino_with_a_one_hot_teacher_is_instance_discrimination(z, seed):
    index, weights = torch.arange(z.shape[-3]) % 3, prototypes_for(z, 3, seed % 1000)
    student = unit(z) @ unit(weights)[..., None, :, :].mT
    teacher = 1e3 * torch.nn.functional.one_hot(index, 3).double()[:, None].expand(student.shape)
    centre = Centre(torch.zeros(*z.shape[:-3], 3))
    found = dino(student, teacher, centre=centre, student_temperature=0.3)
    close(found, instance_softmax(z, index, weights, temperature=0.3))


def test_dino_agrees_with_the_loop_and_with_fewer_teacher_views():
    student, teacher, value = gaussian(5, 3, 4), gaussian(5, 2, 4, seed=1), gaussian(4, seed=2)
    losses = [
        -(((teacher[:, k] - value) / 0.04).softmax(-1) * (student[:, j] / 0.1).log_softmax(-1)).sum(-1).mean()
        for k in range(2)
        for j in range(3)
        if j != k
    ]
    close(dino(student, teacher, centre=Centre(value)), torch.stack(losses).mean())


def test_centre_is_a_running_mean_over_points_and_views():
    teacher, centre = gaussian(2, 5, 3, 4), Centre(gaussian(2, 4, seed=1))
    close(centre.update(teacher).value, 0.9 * centre.value + 0.1 * teacher.mean((1, 2)))


def test_queue_keeps_the_newest_first():
    queue = Queue(torch.zeros(4, 1, 2))
    for step in (1.0, 2.0, 3.0):
        queue = queue.push(torch.full((2, 1, 2), step))
    assert queue.entries[:, 0, 0].tolist() == [3.0, 3.0, 2.0, 2.0]
    assert Queue(torch.zeros(1, 1, 2)).push(torch.ones(3, 1, 2)).entries.shape == (1, 1, 2)


def test_gradients_do_not_pass_through_assignments_nor_teachers():
    z, prototypes = gaussian(4, 2, 3).requires_grad_(), gaussian(3, 3, seed=1).requires_grad_()
    codes = sinkhorn((unit(z) @ unit(prototypes).T).detach().transpose(0, 1), epsilon=0.5).exp().transpose(0, 1)

    def against_constant_codes(z, prototypes):
        log_prediction = (unit(z) @ unit(prototypes).T / 0.2).log_softmax(-1)
        return -(codes.flip(1) * log_prediction).sum(-1).mean()

    pairs = [
        torch.autograd.grad(loss(z, prototypes), (z, prototypes))
        for loss in (lambda z, c: swav(z, c, temperature=0.2, epsilon=0.5), against_constant_codes)
    ]
    for found, expected in zip(*pairs, strict=True):
        close(found, expected)
    teacher, value = gaussian(4, 2, 3, seed=2).requires_grad_(), torch.zeros(3, requires_grad=True)
    loss = dino(z, teacher, centre=Centre(value))
    assert all(g is None for g in torch.autograd.grad(loss, (teacher, value), allow_unused=True))
    assert gradcheck(lambda z: dino(z, teacher, centre=Centre(value)), z)
    assignment = torch.tensor([0, 2, 1, 1])
    assert gradcheck(lambda z, c: deep_cluster(z, assignment, c, temperature=0.5), (z, prototypes))
    assert gradcheck(kmeans, (z, prototypes))


@given(st.integers(0, 2**31), st.integers(0, 8))
def test_rows_of_sinkhorn_sum_to_one_after_any_number_of_iterations(seed, iterations):
    scores = gaussian(6, 3, seed=seed)
    log_q = sinkhorn(scores, epsilon=0.2, iterations=iterations)
    close(log_q.logsumexp(-1), torch.zeros(6))
    if iterations == 0:
        close(log_q, (scores / 0.2).log_softmax(-1))


def test_impossible_iterations_of_sinkhorn():
    with pytest.raises(ValueError, match="expected iterations >= 0, found -1"):
        sinkhorn(gaussian(6, 3), iterations=-1)
    with pytest.raises(ValueError, match="expected iterations >= 1, found 0"):
        swav(gaussian(6, 2, 4), gaussian(3, 4), iterations=0)


@pytest.mark.parametrize("views", [-1, 0, 3])
def test_codes_of_views_that_there_are_not_are_refused(views):
    z = gaussian(6, 2, 3)
    with pytest.raises(ValueError, match="expected code_views from 1 to J = 2"):
        swav(z, gaussian(4, 3), code_views=views)


@pytest.mark.usefixtures("as_users_run")
def test_a_teacher_of_other_data_points_is_refused():
    z = gaussian(5, 2, 3)
    with pytest.raises(ValueError, match="teacher: expected the sizes of"):
        dino(z, z[:1], centre=Centre(torch.zeros(3)))
