"""Contrastive losses: InfoNCE against loops, as prior minus density, chunked, and its conventions."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from ssl_theory.losses import critics, priors
from ssl_theory.losses.contrastive import (
    align_uniform,
    decoupled,
    info_nce,
    moco,
    spectral,
    supervised_contrastive,
    triplet,
)
from ssl_theory.losses.instance import instance_softmax
from ssl_theory.losses.partition import self_partition
from ssl_theory.losses.state import Queue
from ssl_theory.losses.views import unit
from tests.losses.draws import close, draws, gaussian, vectors
from tests.references import (
    contrastive_by_loops,
    nt_xent_by_loops,
    supervised_contrastive_by_loops,
    triplet_by_loops,
)

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
    far = (z + 1e3).float()
    close(info_nce(far, critic="distance").double(), info_nce(far.double() - 1e3, critic="distance"), 1e-4)


@given(draws(), temperatures, st.sampled_from(["all", "other"]), st.booleans())
def test_many_views_are_the_mean_over_their_pairs(z, temperature, negatives, two_sided):
    pairs = [(j, k) for j in range(z.shape[-2]) for k in range(j + 1, z.shape[-2])]
    kwargs = {"temperature": temperature, "negatives": negatives, "two_sided": two_sided}
    expected = torch.stack([info_nce(z[..., list(pair), :], **kwargs) for pair in pairs]).mean(0)
    close(info_nce(z, **kwargs), expected)


@given(
    draws(n=st.integers(2, 9)),
    st.integers(1, 10),
    st.sampled_from(["cosine", "dot", "distance", lambda a, b: torch.tanh(a @ b.mT)]),
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


def test_labels_are_one_a_data_point_not_one_hot():
    z, hot = torch.zeros(6, 2, 3), torch.eye(6, dtype=torch.long)
    for loss in (supervised_contrastive, partial(instance_softmax, weights=torch.zeros(6, 3))):
        with pytest.raises(ValueError, match=r"one label a data point, \(6,\) or \(\*batch, 6\), found \(6, 6\)"):
            loss(z, hot)


def by_member(reference, z, *args):
    """A reference for one model, applied to each member of the ensemble."""
    members = z if z.ndim == 4 else z[None]
    value = torch.stack([torch.as_tensor(reference(member, *args)) for member in members])
    return value if z.ndim == 4 else value[0]


@given(draws(J=st.just(2), n=st.integers(2, 4)), temperatures)
def test_decoupled_loss_leaves_the_positive_out_of_the_denominator(z, temperature):
    close(info_nce(z, temperature=temperature), by_member(contrastive_by_loops, z, temperature))
    close(decoupled(z, temperature=temperature), by_member(contrastive_by_loops, z, temperature, False))


@given(draws(J=st.just(2)), st.sampled_from([0.3, 0.5]))
def test_weights_of_the_decoupled_loss_average_to_one_and_scale_the_positive(z, sigma):
    a, b = unit(z[..., 0, :]), unit(z[..., 1, :])
    cosine = (a * b).sum(-1)
    kernel = torch.exp(cosine / sigma)
    weight = 2 - kernel / kernel.mean(-1, keepdim=True)
    assert weight.mean(-1).sub(1).abs().max() < 1e-10
    expected = decoupled(z, temperature=0.2) + ((1 - weight) * cosine / 0.2).mean(-1)
    close(decoupled(z, temperature=0.2, sigma=sigma), expected)


def test_weights_of_the_decoupled_loss_are_constants():
    z = gaussian(5, 2, 3).requires_grad_()
    a, b = unit(z[:, 0]), unit(z[:, 1])
    kernel = torch.exp((a * b).sum(-1) / 0.5).detach()
    constant = decoupled(z) + ((kernel / kernel.mean() - 1) * (a * b).sum(-1) / 0.1).mean()
    gradients = [torch.autograd.grad(loss, z)[0] for loss in (decoupled(z, sigma=0.5), constant)]
    close(*gradients)


@given(draws(J=st.just(2)), temperatures)
def test_moco_is_a_cross_entropy_with_the_key_in_front_of_the_queue(z, temperature):
    key, queue = gaussian(*z.shape, seed=3), gaussian(*z.shape[:-3], 7, 1, z.shape[-1], seed=4)

    def direction(j, k):
        q, positive = unit(z[..., j, :]), unit(key[..., k, :])
        logits = torch.cat([(q * positive).sum(-1, keepdim=True), q @ unit(queue[..., 0, :]).mT], -1) / temperature
        return -logits.log_softmax(-1)[..., 0].mean(-1)

    close(moco(z, key, Queue(queue), temperature=temperature), direction(0, 1))
    both = moco(z, key, Queue(queue), temperature=temperature, two_sided=True)
    close(both, (direction(0, 1) + direction(1, 0)) / 2)


def test_moco_has_gradients_in_the_query_alone():
    query, key, queue = (gaussian(4, 2, 3, seed=seed).requires_grad_() for seed in range(3))
    gradients = torch.autograd.grad(moco(query, key, Queue(queue)), (query, key, queue), allow_unused=True)
    assert gradients[0] is not None
    assert gradients[1] is None
    assert gradients[2] is None
    assert gradcheck(lambda q: moco(q, key, Queue(queue)), query)


@given(draws(n=st.integers(2, 4), J=st.integers(2, 3)), temperatures)
def test_supervised_contrastive_agrees_with_the_loop(z, temperature):
    label = torch.arange(z.shape[-3]) // 2
    expected = by_member(supervised_contrastive_by_loops, z, label, temperature)
    close(supervised_contrastive(z, label, temperature=temperature), expected)


@given(draws(J=st.just(2)), temperatures)
def test_supervised_contrastive_with_a_class_a_point_is_nt_xent(z, temperature):
    label = torch.arange(z.shape[-3])
    expected = info_nce(z, temperature=temperature)
    close(supervised_contrastive(z, label, temperature=temperature), expected)


@given(draws(J=st.just(2)))
def test_spectral_loss_agrees_with_the_sum_over_pairs(z):
    a, b, n = z[..., 0, :], z[..., 1, :], z.shape[-3]
    scores = a @ b.mT
    different = ~torch.eye(n, dtype=torch.bool)
    expected = -2 * (a * b).sum(-1).mean(-1) + (scores.square() * different).sum((-2, -1)) / (n * (n - 1))
    close(spectral(z), expected, 1e-9)


def test_spectral_loss_is_minimised_by_the_eigendecomposition_of_the_density_ratio():
    """A discrete world in which each pair (x, x') occurs as often as p(x, x') says."""
    counts = torch.tensor([[6, 2, 0, 0], [2, 4, 1, 0], [0, 1, 5, 2], [0, 0, 2, 3]])
    pairs = [(i, k) for i in range(4) for k in range(4) for _ in range(int(counts[i, k]))]
    first, second = torch.tensor(pairs).T
    joint = counts / counts.sum()
    p, n = joint.sum(0), len(pairs)
    values, vectors = torch.linalg.eigh(joint / (p[:, None] * p[None, :]).sqrt())
    values, vectors = values.flip(0), vectors.flip(1)

    def population(f):
        """Different data points are n(n-1) of all n^2 pairs; the population counts them all."""
        z = torch.stack([f[first], f[second]], 1)
        positive = (z[:, 0] * z[:, 1]).sum(-1)
        repulsion = spectral(z) + 2 * positive.mean()
        return (repulsion * n * (n - 1) + positive.square().sum()) / n**2 - 2 * positive.mean()

    for rank in (1, 2, 3):
        optimum = (vectors[:, :rank] * values[:rank].sqrt() / p.sqrt()[:, None]).requires_grad_()
        value = population(optimum)
        close(value.detach(), -values[:rank].square().sum())
        assert torch.autograd.grad(value, optimum)[0].abs().max() < 1e-10
        for seed in range(5):
            assert population(optimum.detach() + gaussian(4, rank, seed=seed, scale=0.3)) > value
        ratio = joint / (p[:, None] * p[None, :])
        if rank == 3:
            full = vectors * values.sqrt() / p.sqrt()[:, None]
            assert (full @ full.T - ratio).abs().max() < 1e-10


@given(draws())
def test_alignment_and_uniformity_agree_with_their_definitions(z):
    views, n = unit(z), z.shape[-3]
    J = z.shape[-2]
    above = torch.ones(n, n).triu(1).bool()
    for alpha in (1.0, 2.0, 3.0):
        apart = torch.stack(
            [(views[..., j, :] - views[..., k, :]).norm(dim=-1) ** alpha for j in range(J) for k in range(j)], -1
        )
        alignment = align_uniform(z, alpha=alpha, uniformity=0.0)
        close(alignment, apart.mean((-2, -1)), 1e-8)
    uniform = [
        torch.exp(-2 * (views[..., :, None, j, :] - views[..., None, :, j, :]).square().sum(-1))[..., above]
        .mean(-1)
        .log()
        for j in range(J)
    ]
    close(align_uniform(z, alignment=0.0), torch.stack(uniform).mean(0))
    close(align_uniform(z, alignment=0.0, chunk=2), align_uniform(z, alignment=0.0))


def test_info_nce_tends_to_alignment_and_uniformity_at_rate_one():
    """On the circle, with views that differ by a rotation: L_K - log K -> log I_0(1/tau) - E[s(z, z')], exactly.

    The fluctuation of the sum of exponentials, whose mean is known, is subtracted as a control variate.
    """
    tau, generator = 0.5, torch.Generator().manual_seed(0)
    log_mean = torch.special.i0e(torch.tensor(1 / tau)).log() + 1 / tau
    biases, sizes = [], (8, 16, 32, 64)
    for K in sizes:
        angle = 2 * math.pi * torch.rand(40_000 // K, K, 1, generator=generator)
        step = 0.5 * torch.randn(angle.shape, generator=generator)
        both = torch.cat([angle, angle + step], -1)
        z = torch.stack([both.cos(), both.sin()], -1)
        loss = info_nce(z, temperature=tau, negatives="other", two_sided=False)
        similarity = step.cos() / tau
        relative = torch.exp(z[..., 0, :] @ z[..., 1, :].mT / tau - log_mean)
        expected_excess = (torch.exp(similarity - log_mean).mean() - 1) / K
        fluctuation = (relative.mean((-2, -1)) - 1).mean() - expected_excess
        limit = log_mean - similarity.mean()
        biases.append(float(loss.mean() - math.log(K) - fluctuation - limit))
    slope = torch.linalg.lstsq(
        torch.stack([torch.ones(4), torch.tensor(sizes).log()], 1), torch.tensor(biases).abs().log()[:, None]
    ).solution[1]
    assert abs(float(slope) + 1) < 0.15


def test_uniformity_is_the_partition_of_info_nce_at_half_the_inverse_rate():
    """log E exp(-t |z - z'|^2) is, on the sphere, the log-partition of the dot critic at tau = 1 / 2t, less 2t."""
    z = unit(gaussian(8, 2, 3))
    views = z.transpose(0, 1)
    log_partition = self_partition(critics.Score(lambda a, b: a @ b.mT / 0.25), views)
    uniform = (log_partition - 4).logsumexp(-1).mean() - math.log(8 * 7)
    close(align_uniform(z, alignment=0.0), uniform)


@given(draws(J=st.just(2)), st.sampled_from([0.05, 0.2, 1.0]))
def test_triplet_loss_agrees_with_the_loop(z, margin):
    close(triplet(z, margin=margin), by_member(triplet_by_loops, z, margin))


def test_hard_mining_takes_the_nearest_other_point():
    z = gaussian(6, 2, 3)
    z[:3, 1] = z[:3, 0] + gaussian(3, 3, seed=1, scale=0.1)  # for some anchors the positive is the nearest
    z = unit(z)
    distance = torch.cdist(z[:, 0], z[:, 1]).square()
    nearest = (distance + 10 * torch.eye(6)).amin(-1)
    expected = (distance.diagonal() - nearest + 0.2).clamp_min(0).mean()
    close(triplet(z, mining="hard"), expected)
    with pytest.raises(ValueError, match="mining among all, hard"):
        triplet(z, mining="semi")


def test_any_critic_will_do():
    z = gaussian(2, 6, 2, 3)
    close(info_nce(z, critic=lambda a, b: a @ b.mT), info_nce(z, critic="dot"))
    close(info_nce(z, critic=critics.bilinear(torch.eye(3).expand(2, 3, 3))), info_nce(z, critic="dot"))
    weight = gaussian(3, 3, seed=1)
    expected = info_nce(torch.stack([z[..., 0, :] @ weight, z[..., 1, :]], -2), critic="dot", negatives="other")
    close(info_nce(z, critic=critics.bilinear(weight.expand(2, 3, 3)), negatives="other"), expected)
    kappa = torch.tensor([2.0, 50.0])
    whole = info_nce(z, critic=critics.von_mises_fisher(kappa), temperature=1.0)
    lone = [info_nce(z[e], critic=critics.von_mises_fisher(float(kappa[e])), temperature=1.0) for e in range(2)]
    close(whole, torch.stack(lone))


def test_info_nce_with_the_exact_critic_does_not_exceed_the_information():
    """Jointly Gaussian views, exact pointwise mutual information as the critic: log K - L <= min(I, log K)."""
    rho, K = 0.9, 64
    z = gaussian(200, K, 2, 1)
    z = torch.stack([z[..., 0, :], rho * z[..., 0, :] + math.sqrt(1 - rho**2) * z[..., 1, :]], -2)

    def pmi(a, b):
        quadratic = rho**2 * (a.square() + b.square().mT) - 2 * rho * a @ b.mT
        return -quadratic / (2 * (1 - rho**2)) - 0.5 * math.log(1 - rho**2)

    bound = math.log(K) - info_nce(z, critic=pmi, temperature=1.0, negatives="other", two_sided=False)
    truth = -0.5 * math.log(1 - rho**2)
    error = float(bound.std()) / math.sqrt(len(bound))
    assert truth - 0.05 < float(bound.mean()) < truth + 3 * error


@pytest.mark.usefixtures("as_users_run")
def test_keys_of_other_data_points_and_a_weight_turned_round_are_refused():
    z = gaussian(5, 2, 3)
    with pytest.raises(ValueError, match="key: expected the sizes of"):
        moco(z, z[:1], Queue(gaussian(4, 1, 3)))
    with pytest.raises(ValueError, match="expected sigma > 0"):
        decoupled(z, sigma=-0.5)
