"""Contrastive losses: the other view of a data point is told from other data points.

They maximise the flat prior `log p(z^{1:J})` of the model; what stands in for reconstruction is a density estimate
of `log p(z)`, pushed down: an entropy of the representation, blind to style.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import softplus

from ssl_theory.losses.critics import Critic, scorer
from ssl_theory.losses.partition import cross_partition, self_partition, without_diagonal
from ssl_theory.losses.state import Queue
from ssl_theory.losses.views import (
    each_view,
    pair_distance,
    per_member,
    pick,
    require_choice,
    require_fit,
    require_positive,
    require_views,
    unit,
    view_pairs,
    wide,
)

Views = Float[Tensor, "*batch n J d"]
Loss = Float[Tensor, "*batch"]


def info_nce(
    z: Views,
    *,
    temperature: float | Tensor = 0.5,
    critic: Critic = "cosine",
    negatives: str = "all",
    two_sided: bool = True,
    chunk: int | None = None,
) -> Loss:
    """InfoNCE, NT-Xent, CLIP: the log-loss of finding the other view of a data point among candidates.

    Formula: `-E[ s(z^j, z^k) - log sum_c exp s(z^j, c) ]`, `s = critic / temperature`, over pairs of views.
    Source: van den Oord et al. 2018, arXiv 1807.03748; SimCLR: Chen et al. 2020, arXiv 2002.05709; CLIP: Radford
        et al. 2021, arXiv 2103.00020; more than two views: Tian et al. 2020, arXiv 1906.05849.
    Prior: maximised: minus the flat prior with `2 sigma^2 = temperature`, on unit vectors.
    Instead of reconstruction: plus a kernel density estimate of `log p(z)` with that same kernel.
    Deviations: SimCLR's 2n-1 candidates (`negatives="all"`) and CLIP's n ("other") differ by about log 2; MoCo
        and van den Oord's are one-sided; NT-Xent computed as exp/sum overflows at small temperatures.

    With `negatives="other"` the candidates c of an anchor z^j are the n views z^k; with "all" also the other
    n-1 views z^j. `two_sided` averages the directions j -> k and k -> j. `chunk` rows of scores are held at a
    time. `temperature` is a float or `(*batch)`. Bound, for "other": `log n - loss <= I(z^1; z^2)`.
    """
    require_views(z, points=2)
    require_choice("negatives", negatives, ("all", "other"))
    return _info_nce(z, temperature, critic, negatives, two_sided, chunk, positives=True)


def decoupled(
    z: Views,
    *,
    temperature: float | Tensor = 0.1,
    sigma: float | None = None,
    critic: Critic = "cosine",
    chunk: int | None = None,
) -> Loss:
    """Decoupled contrastive loss (DCL): NT-Xent without the positive pair in the denominator.

    Formula: `-E[ w s(z^j, z^k) - log sum_{c != positive} exp s(z^j, c) ]`, 2n-2 negatives c.
    Source: Yeh et al. 2022, arXiv 2110.06848.
    Prior: maximised, as in InfoNCE, but with a pull that does not fade once the pair is close.
    Instead of reconstruction: the kernel density estimate, with the pair itself left out.
    Deviations: lightly adds the log-sums over the two views instead of taking the log of their joint sum.

    `w = 1`, or with `sigma` (DCLW, 0.5 in the paper) `w = 2 - exp(cos / sigma) / mean_i exp(cos / sigma)`, constant.
    """
    require_views(z, points=2)
    loss = _info_nce(z, temperature, critic, "all", True, chunk, positives=False)
    if sigma is None:
        return loss
    require_positive("sigma", sigma)
    first, second = view_pairs(z.shape[-2])
    a, b = (pick(wide(z).transpose(-2, -3), pair, -3) for pair in (first, second))
    weight = 2 - z.shape[-3] * ((unit(a) * unit(b)).sum(-1).detach() / sigma).softmax(-1)
    positive = scorer(critic, temperature)(a, b).diagonal(0, -2, -1)
    return loss + ((1 - weight) * positive).mean((-2, -1))


def _info_nce(
    z: Tensor,
    temperature: float | Tensor,
    critic: Critic,
    negatives: str,
    two_sided: bool,
    chunk: int | None,
    positives: bool,
) -> Tensor:
    score = scorer(critic, temperature)
    views = wide(z).transpose(-2, -3)  # (*batch, J, n, d)
    first, second = view_pairs(z.shape[-2])
    positive, forward, backward = cross_partition(
        score,
        pick(views, first, -3),
        pick(views, second, -3),
        two_sided=two_sided,
        chunk=chunk,
        positives=positives,
    )
    if negatives == "all":
        own = self_partition(score, views, chunk=chunk)
        forward = torch.logaddexp(forward, pick(own, first, -2))
        backward = None if backward is None else torch.logaddexp(backward, pick(own, second, -2))
    log_partition = forward if backward is None else (forward + backward) / 2
    return (log_partition - positive).mean((-2, -1))


def moco(
    query: Views, key: Views, queue: Queue, *, temperature: float | Tensor = 0.07, two_sided: bool = False
) -> Loss:
    """MoCo: InfoNCE of queries against momentum-encoded keys, with the negatives from a queue.

    Formula: `-log exp(q.k / tau) / ( exp(q.k / tau) + sum_m exp(q.queue_m / tau) )`, unit vectors.
    Source: He et al. 2020, arXiv 1911.05722.
    Prior: maximised, with the other view's part held constant.
    Instead of reconstruction: a kernel density estimate from the queue, m points however small the batch.
    Deviations: MoCo v3 has no queue, is two-sided and multiplies by `2 tau`; here v1: query j, key k, for j < k.

    Keys and queue are detached here. The queue is `state.Queue`; push the keys after the loss.
    """
    require_views(query)
    require_positive("temperature", temperature)
    require_fit("key", key, query)
    tau = per_member(temperature, 3)
    q, k = unit(wide(query)) / tau, unit(wide(key).detach())
    negatives = unit(wide(queue.entries.detach())).flatten(-3, -2)
    log_negative = (q.flatten(-3, -2) @ negatives.mT).logsumexp(-1).unflatten(-1, q.shape[-3:-1])
    first, second = view_pairs(query.shape[-2])
    forward = _nce_against(q, k, log_negative, first, second)
    if not two_sided:
        return forward
    return (forward + _nce_against(q, k, log_negative, second, first)) / 2


def _nce_against(q: Tensor, k: Tensor, log_negative: Tensor, anchor: list[int], other: list[int]) -> Tensor:
    positive = (pick(q, anchor, -2) * pick(k, other, -2)).sum(-1)
    return softplus(pick(log_negative, anchor, -1) - positive).mean((-2, -1))


def supervised_contrastive(z: Views, label: Int[Tensor, "*shape n"], *, temperature: float | Tensor = 0.1) -> Loss:
    """Supervised contrastive loss (SupCon, the "out" form): all views of a class are each other's positives.

    Formula: `-E_a mean_{p in P(a)} [ s(a, p) - log sum_{c != a} exp s(a, c) ]`, over all nJ views a.
    Source: Khosla et al. 2020, arXiv 2004.11362.
    Prior: maximised, with the class as the content: views of *all* data points of a class share one y.
    Instead of reconstruction: the kernel density estimate of InfoNCE.
    Deviations: the authors' code multiplies by `temperature / 0.07`; here no factor, as in their equation 2.

    With as many classes as data points, and two views, this is NT-Xent.
    """
    require_views(z)
    points = wide(z).flatten(-3, -2)[..., None, :, :]  # the axis of pairs of views, of size one
    scores = scorer("cosine", temperature)(points, points)[..., 0, :, :]
    classes = each_view(label, z)
    alike = without_diagonal((classes[..., :, None] == classes[..., None, :]).to(scores.dtype)) > 0
    log_partition = without_diagonal(scores).logsumexp(-1)
    positive = torch.where(alike, scores, 0).sum(-1) / alike.sum(-1)
    return (log_partition - positive).mean(-1)


def spectral(z: Views) -> Loss:
    """Spectral contrastive loss: minimised by a truncated eigendecomposition of the density ratio.

    Formula: `-2 E[ z^j.z^k ] + E[ (z_a^j.z_b^k)^2 ]`, pairs of views j < k, different data points a != b.
    Source: HaoChen et al. 2021, arXiv 2106.04156.
    Prior: the alignment term is linear in the flat prior when lengths are fixed; lengths are free here.
    Instead of reconstruction: the squared scores, which make the second moment of z the identity.
    Deviations: the authors' code first scales z to a fixed length sqrt(mu); not done here.

    The population minimiser satisfies `z(x).z(x') = p(x, x') / p(x) p(x')`, up to the rank d. Costs n d^2.
    """
    require_views(z, points=2)
    z, n = wide(z), z.shape[-3]
    views = z.transpose(-2, -3)
    first, second = view_pairs(z.shape[-2])
    moment = views.mT @ views  # sum_{a, b} (z_a.z'_b)^2 is the inner product of the two second moments
    every = (pick(moment, first, -3) * pick(moment, second, -3)).sum((-2, -1))
    positive = (pick(z, first, -2) * pick(z, second, -2)).sum(-1)
    repulsion = (every - positive.square().sum(-2)) / (n * (n - 1))
    return repulsion.mean(-1) - 2 * positive.mean((-2, -1))


def align_uniform(
    z: Views,
    *,
    alpha: float = 2.0,
    t: float = 2.0,
    alignment: float | Tensor = 1.0,
    uniformity: float | Tensor = 1.0,
    chunk: int | None = None,
) -> Loss:
    """Alignment and uniformity on the sphere, the limit of InfoNCE in the number of candidates.

    Formula: `w_a E|z^j - z^k|^alpha + w_u mean_j log E exp(-t |z_a^j - z_b^j|^2)`, different data points a != b.
    Source: Wang & Isola 2020, arXiv 2005.10242.
    Prior: maximised: alignment is `-4 sigma^2 log p_Flat` up to a constant (alpha = 2).
    Instead of reconstruction: uniformity, minus a Renyi entropy of order 2 of the smoothed representation.
    Deviations: none in the authors' code, which averages the uniformity of both views as here; averages over all n^2
        pairs count each point as its own neighbour.
    """
    require_views(z, points=2)
    z, n = unit(wide(z)), z.shape[-3]
    apart = pair_distance(z) if alpha == 2 else _pairwise_power(z, alpha)
    log_kernel = self_partition(scorer("distance", 1 / t), z.transpose(-2, -3), chunk=chunk)
    uniform = log_kernel.logsumexp(-1).mean(-1) - math.log(n * (n - 1))
    return alignment * apart.mean(-1) + uniformity * uniform


def _pairwise_power(z: Tensor, alpha: float) -> Tensor:
    first, second = view_pairs(z.shape[-2])
    squared = (pick(z, first, -2) - pick(z, second, -2)).square().sum(-1)
    apart = squared > 0  # a root has no gradient where the views coincide
    return torch.where(apart, torch.where(apart, squared, 1) ** (alpha / 2), 0).mean(-1)


def triplet(z: Views, *, margin: float = 0.2, mining: str = "all") -> Loss:
    """Triplet loss: the other view is nearer than other data points, by a margin, on the sphere.

    Formula: `E relu( |z_a^j - z_a^k|^2 - |z_a^j - z_b^k|^2 + margin )`, different data points a != b.
    Source: Schroff et al. 2015, arXiv 1503.03832.
    Prior: maximised, but only until the margin is met.
    Instead of reconstruction: the margin to other data points; a hinge, with no density behind it.
    Deviations: libraries differ in squared or plain distances, and in averaging over all or violating triplets;
        here squared distances and all triplets (`mining="all"`) or each anchor's nearest negative ("hard").
    """
    require_views(z, points=2)
    require_choice("mining", mining, ("all", "hard"))
    views, n = unit(wide(z)).transpose(-2, -3), z.shape[-3]
    first, second = view_pairs(z.shape[-2])
    nearness = scorer("distance", 1.0)(pick(views, first, -3), pick(views, second, -3))
    positive = nearness.diagonal(0, -2, -1)[..., :, None]
    if mining == "hard":
        hardest = without_diagonal(nearness).amax(-1, keepdim=True)
        return (hardest - positive + margin).relu().mean((-3, -2, -1))
    violation = (nearness - positive + margin).relu()
    return (violation.sum((-2, -1)) - n * max(margin, 0.0)).mean(-1) / (n * (n - 1))
