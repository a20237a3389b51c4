"""Log-partition functions of contrastive losses: log-sum-exp of scores over candidates, all at once or by rows.

By rows (`chunk`), a block of scores is computed, reduced and forgotten, and computed once more for the gradient:
memory is linear in n, at the price of one matrix product more.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Score = Callable[[Tensor, Tensor], Tensor]
Points = Float[Tensor, "*batch n d"]
PerPoint = Float[Tensor, "*batch n"]


def cross_partition(
    score: Score,
    anchor: Points,
    candidate: Points,
    *,
    two_sided: bool,
    chunk: int | None,
    positives: bool = True,
) -> tuple[PerPoint, PerPoint, PerPoint | None]:
    """Score of each anchor's own candidate, log-sum-exp over candidates, and over anchors when `two_sided`.

    Without `positives`, a point's own candidate is left out of both sums (decoupled losses).
    """

    def block(rows: Tensor, candidates: Tensor, start: int) -> tuple[Tensor, ...]:
        scores = score(rows, candidates)
        positive = scores.diagonal(start, -2, -1)
        summed = scores if positives else without_diagonal(scores, start)
        sums = (summed.logsumexp(-1), summed.logsumexp(-2)) if two_sided else (summed.logsumexp(-1),)
        return (positive, *sums)

    blocks = [block(anchor, candidate, 0)] if chunk is None else _by_rows(block, anchor, candidate, chunk)
    positive, forward = (torch.cat([part[i] for part in blocks], -1) for i in (0, 1))
    if not two_sided:
        return positive, forward, None
    return positive, forward, torch.stack([part[2] for part in blocks], -1).logsumexp(-1)


def self_partition(score: Score, points: Points, *, chunk: int | None = None) -> PerPoint:
    """Log-sum-exp of the scores of each point against all others but itself."""

    def block(rows: Tensor, candidates: Tensor, start: int) -> tuple[Tensor]:
        return (without_diagonal(score(rows, candidates), start).logsumexp(-1),)

    if chunk is None:
        return block(points, points, 0)[0]
    return torch.cat([part for (part,) in _by_rows(block, points, points, chunk)], -1)


def without_diagonal(scores: Float[Tensor, "*batch n m"], start: int = 0) -> Float[Tensor, "*batch n m"]:
    """Scores with those of point `start + i` in row i set to minus infinity."""
    itself = torch.zeros(scores.shape[-2:], dtype=torch.bool, device=scores.device)
    itself.diagonal(start).fill_(True)
    return scores.masked_fill(itself, -math.inf)


def _by_rows(block: Callable, rows: Tensor, candidates: Tensor, chunk: int) -> list[tuple[Tensor, ...]]:
    """`block` of every `chunk` rows, remembering none of its intermediate results."""
    return [
        checkpoint(block, rows[..., i : i + chunk, :], candidates, i, use_reentrant=False, preserve_rng_state=False)
        for i in range(0, rows.shape[-2], chunk)
    ]
