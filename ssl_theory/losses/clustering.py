"""Latent clustering: cluster centres are the discrete content y of the model, assigned and then predicted.

Assign-then-classify is hard EM on the mixture prior; the k-means objective is `-2 sigma^2 log p(z^{1:J}|yhat)` up to a
constant; Sinkhorn's assignment is the posterior under an equal-partition constraint on p(y).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_theory.losses.critics import negative_squared_distance
from ssl_theory.losses.instance import instance_softmax
from ssl_theory.losses.partition import LARGEST_EXPONENT
from ssl_theory.losses.state import Centre, Queue
from ssl_theory.losses.views import per_member, require_fit, require_positive, require_views, unit, wide

BETWEEN_LOGARITHMS = 3  # iterations of Sinkhorn's for each one in the log domain
Views = Float[Tensor, "*batch n J d"]
Prototypes = Float[Tensor, "*batch K d"]
Loss = Float[Tensor, "*batch"]


def assign(z: Views, prototypes: Prototypes) -> Int[Tensor, "*batch n"]:
    """Nearest prototype of all views of a data point together: the hard E-step of the mixture prior."""
    return negative_squared_distance(wide(z).mean(-2), wide(prototypes)).argmax(-1)


def update_prototypes(z: Views, assignment: Int[Tensor, "*batch n"], prototypes: Prototypes) -> Prototypes:
    """Mean of the views assigned to each prototype: the M-step; a prototype with none keeps its place."""
    member = assignment[..., None] == torch.arange(prototypes.shape[-2], device=assignment.device)
    member = member.to(prototypes.dtype)
    count = member.sum(-2)[..., None]
    mean = member.mT @ wide(z).mean(-2) / count.clamp_min(1)
    return torch.where(count > 0, mean, prototypes)


def kmeans(z: Views, prototypes: Prototypes) -> Loss:
    """K-means: squared distance of the views of a data point to their common nearest prototype.

    Formula: `min_y sum_j |z^j - mu_y|^2`, mean over data points.
    Source: Lloyd 1982; as a representation loss Yang et al. 2017, arXiv 1610.04794.
    Prior: maximised: `-2 sigma^2 log p(z^{1:J} | yhat)` up to a constant, y by hard assignment.
    Instead of reconstruction: nothing; alone it collapses, so it needs a reconstruction or a classifier.
    Deviations: scikit-learn sums over data points (inertia) and knows one view.
    """
    require_views(z, 1)
    z = wide(z)
    chosen = assign(z, prototypes)[..., None].expand(*z.shape[:-2], z.shape[-1])
    centre = wide(prototypes).gather(-2, chosen)
    return (z - centre[..., None, :]).square().sum((-2, -1)).mean(-1)


def deep_cluster(
    z: Views,
    assignment: Int[Tensor, "*shape n"],
    prototypes: Prototypes,
    *,
    temperature: float | Tensor = 0.1,
    normalise: bool = True,
) -> Loss:
    """DeepCluster: classify each view into the cluster that its data point was assigned to.

    Formula: `-log exp(z^j.c_yhat / tau) / sum_y exp(z^j.c_y / tau)`, assignments held constant.
    Source: Caron et al. 2018, arXiv 1807.05520; with unit prototypes and tau, v2: arXiv 2006.09882.
    Prior: maximised: the M-step of hard EM on the mixture prior, `p(z|y)` at the assigned centre.
    Instead of reconstruction: minus `log p(z)` of the mixture, and a reassignment that keeps clusters filled.
    Deviations: v1 learns a new linear classifier with free lengths after each assignment (`normalise=False`).
    """
    return instance_softmax(z, assignment, prototypes, temperature=temperature, normalise=normalise)


def sinkhorn(
    scores: Float[Tensor, "*batch n K"], *, epsilon: float | Tensor = 0.05, iterations: int = 3
) -> Float[Tensor, "*batch n K"]:
    """Log of the soft assignment of n points to K clusters of equal size, in the log domain.

    Maximises `<Q, scores> + epsilon H(Q)` under uniform marginals (Cuturi 2013, arXiv 1306.0895): the posterior
    `p(y|z)` whose average over the batch is uniform. Rows of the result sum to one exactly, columns to n/K in
    the limit of many iterations; without any (0) it is the softmax of each row, which knows nothing of the batch.
    Finite for scores of any size.
    """
    require_positive("epsilon", epsilon)
    require_iterations(iterations, 0)
    log_q = (scores / per_member(epsilon, 2)).contiguous()
    if iterations == 0:
        return log_q.log_softmax(-1)
    for done in range(0, iterations, BETWEEN_LOGARITHMS):
        log_q = _balance(log_q, min(BETWEEN_LOGARITHMS, iterations - done))
    return log_q


def require_iterations(iterations: int, least: int) -> None:
    """Refuse fewer iterations of Sinkhorn's than there can be."""
    if iterations < least:
        raise ValueError(f"expected iterations >= {least}, found {iterations}: published is 3")


def _balance(log_q: Tensor, iterations: int) -> Tensor:
    """Columns, then rows, normalised in turn: once in the log domain, then by cheap products.

    After the first time every column sums to at least 1/K and every row to 1, so no later sum can vanish: each factor
    is between 1/K and n K. Entries too small to be represented cannot have become large after so few iterations.
    """
    n, K = log_q.shape[-2:]
    log_q = log_q.log_softmax(-2).log_softmax(-1)
    if iterations == 1:
        return log_q
    q, rows = log_q.exp(), torch.ones_like(log_q[..., :1])
    for _ in range(iterations - 1):
        columns = (n / K) / (q * rows).sum(-2, keepdim=True)
        rows = 1 / (q * columns).sum(-1, keepdim=True)
    return log_q + rows.log() + columns.log()


def swav(
    z: Views,
    prototypes: Prototypes,
    *,
    temperature: float | Tensor = 0.1,
    epsilon: float | Tensor = 0.05,
    iterations: int = 3,
    queue: Queue | None = None,
    code_views: int | None = None,
) -> Loss:
    """SwAV: predict the balanced cluster assignment of one view from another.

    Formula: `-sum_y q_y^k log softmax_y(z^j.c / tau)`, mean over pairs j != k; `q^k` by Sinkhorn, held constant.
    Source: Caron et al. 2020, arXiv 2006.09882.
    Prior: maximised: the mixture prior with y's posterior taken from the other view.
    Instead of reconstruction: the equal partition: the entropy of p(y) is held at its maximum, log K.
    Deviations: the paper adds the two directions, its code and ours average; the authors exponentiate the scores
        and so overflow at small epsilon, ours is in the log domain there.

    `code_views` (all when None): only these first views get codes (multi-crop). `queue`: earlier representations, of as
    many views as get codes, that join the assignment only.
    """
    require_views(z)
    require_positive("temperature", temperature)
    require_iterations(iterations, 1)
    if code_views is not None and not 1 <= code_views <= z.shape[-2]:
        raise ValueError(
            f"expected code_views from 1 to J = {z.shape[-2]}, found {code_views}: name so many views or None"
        )
    centres = unit(wide(prototypes)) / per_member(temperature, 2)
    logits = _products(z, centres)
    codes = _codes(logits[..., :code_views, :], centres, temperature, epsilon, iterations, queue)
    return _cross_entropy(codes, logits)


def _products(z: Tensor, centres: Tensor) -> Tensor:
    """Products of the direction of every view with centres, `(*batch, n, J, K)`, by one matrix product."""
    return (unit(wide(z)).flatten(-3, -2) @ centres.mT).unflatten(-2, z.shape[-3:-1])


@torch.no_grad()
def _codes(
    logits: Tensor,
    centres: Tensor,
    temperature: float | Tensor,
    epsilon: float | Tensor,
    iterations: int,
    queue: Queue | None,
) -> Tensor:
    """Assignments of the views; `logits` are cosines over the temperature, and so are products with `centres`."""
    require_positive("epsilon", epsilon)
    n, softness = logits.shape[-3], epsilon / temperature
    if queue is not None:
        logits = torch.cat([logits, _products(queue.entries, centres)], -3)
    small = not isinstance(epsilon, Tensor) and epsilon * LARGEST_EXPONENT >= 1
    if small and iterations <= BETWEEN_LOGARITHMS:
        codes = _balanced(logits.transpose(-2, -3), per_member(softness, 3), iterations)
    else:
        codes = sinkhorn(logits.transpose(-2, -3), epsilon=per_member(softness, 1), iterations=iterations).exp()
    return codes[..., :n, :].transpose(-2, -3)


def _balanced(scores: Tensor, epsilon: float | Tensor, iterations: int) -> Tensor:
    """What `sinkhorn` gives, without logarithms and in place, for scores that are small against epsilon."""
    q = (scores / epsilon).exp_()
    for _ in range(iterations):
        q /= q.sum(-2, keepdim=True)
        q /= q.sum(-1, keepdim=True)
    return q


def _cross_entropy(target: Float[Tensor, "*batch n T K"], logits: Float[Tensor, "*batch n J K"]) -> Loss:
    """`-sum_y t_y^k log softmax_y(s^j)`, mean over data points and pairs of views k != j; t is a constant."""
    T, J = target.shape[-2], logits.shape[-2]
    if T == J == 2:
        others = target.flip(-2)
    else:
        total = target.sum(-2, keepdim=True)
        others = torch.cat([total - target, total.expand_as(logits[..., T:, :])], -2)
    return -(others * logits.log_softmax(-1)).sum((-2, -1)).mean(-1) / (T * (J - 1))


def dino(
    student: Float[Tensor, "*batch n J K"],
    teacher: Float[Tensor, "*batch n T K"],
    *,
    centre: Centre,
    student_temperature: float | Tensor = 0.1,
    teacher_temperature: float | Tensor = 0.04,
) -> Loss:
    """DINO: the student's soft cluster of one view follows the teacher's of another.

    Formula: `-sum_y softmax_y((t^k - c) / tau_t) log softmax_y(s^j / tau_s)`, mean over views j != k.
    Source: Caron et al. 2021, arXiv 2104.14294.
    Prior: maximised: two soft posteriors of the mixture prior are made to agree.
    Instead of reconstruction: centring (uniform p(y)) against sharpening (confident p(y|z)).
    Deviations: the authors' code warms the teacher's temperature up from 0.04 to 0.07: a schedule of the caller.

    The logits of the teacher, for the first T <= J views, are detached here. Update the centre after the loss.
    """
    require_views(student)
    require_fit("teacher", teacher, student, (-3, -1))
    require_positive("student_temperature", student_temperature)
    require_positive("teacher_temperature", teacher_temperature)
    with torch.no_grad():
        centred = wide(teacher) - centre.value[..., None, None, :]
        target = centred.div_(per_member(teacher_temperature, 3)).softmax(-1)
    return _cross_entropy(target, wide(student) / per_member(student_temperature, 3))
