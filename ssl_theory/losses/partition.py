"""Log-partition functions of contrastive losses: log-sum-exp of a matrix of scores over rows, and over columns.

Scores that are a matrix product are summed block by block, each block staying in the cache, with a gradient
written out by hand. Without `chunk` the scores are kept for the gradient; with it they are computed once more, so
that memory is linear in n, at the price of one matrix product.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from ssl_theory.losses.critics import Score

Points = Float[Tensor, "*batch n d"]
PerPoint = Float[Tensor, "*batch n"]
BLOCK = {"cpu": 2**21}  # numbers in a block of scores that stays in the cache: eight megabytes of float32
LARGEST_BLOCK = 2**27  # elsewhere, where few and large operations are best


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
    if score.factors is not None:
        left, right = score.factors(anchor, candidate)
        forward, backward = _LogPartition.apply(left, right, two_sided, not positives, chunk)
        return (left * right).sum(-1), forward, backward if two_sided else None

    def block(rows: Tensor, candidates: Tensor, start: int) -> tuple[Tensor, ...]:
        scores = score(rows, candidates)
        positive = scores.diagonal(start, -2, -1)
        summed = scores if positives else without_diagonal(scores, start)
        sums = (summed.logsumexp(-1), summed.logsumexp(-2)) if two_sided else (summed.logsumexp(-1),)
        return (positive, *sums)

    blocks = _by_rows(block, anchor, candidate, chunk)
    positive, forward = (torch.cat([part[i] for part in blocks], -1) for i in (0, 1))
    if not two_sided:
        return positive, forward, None
    return positive, forward, torch.stack([part[2] for part in blocks], -1).logsumexp(-1)


def self_partition(score: Score, points: Points, *, chunk: int | None = None) -> PerPoint:
    """Log-sum-exp of the scores of each point against all others but itself."""
    if score.factors is not None:
        left, right = score.factors(points, points)
        return _LogPartition.apply(left, right, False, True, chunk)[0]

    def block(rows: Tensor, candidates: Tensor, start: int) -> Tensor:
        return without_diagonal(score(rows, candidates), start).logsumexp(-1)

    return torch.cat(_by_rows(block, points, points, chunk), -1)


def without_diagonal(scores: Float[Tensor, "*batch n m"], start: int = 0) -> Float[Tensor, "*batch n m"]:
    """Scores with those of point `start + i` in row i set to minus infinity."""
    itself = torch.zeros(scores.shape[-2:], dtype=torch.bool, device=scores.device)
    itself.diagonal(start).fill_(True)
    return scores.masked_fill(itself, -math.inf)


def _by_rows(block: Callable, rows: Tensor, candidates: Tensor, chunk: int | None) -> list:
    """`block` of every `chunk` rows, remembering none of its intermediate results; of all rows at once when None."""
    if chunk is None:
        return [block(rows, candidates, 0)]
    return [
        checkpoint(block, rows[..., i : i + chunk, :], candidates, i, use_reentrant=False, preserve_rng_state=False)
        for i in range(0, rows.shape[-2], chunk)
    ]


class _LogPartition(torch.autograd.Function):
    """`left, right -> logsumexp(left right', -1), logsumexp(left right', -2)`, block by block of rows."""

    @staticmethod
    def forward(
        ctx: Any, left: Tensor, right: Tensor, two_sided: bool, off_diagonal: bool, chunk: int | None
    ) -> tuple[Tensor, Tensor]:
        ctx.off_diagonal = off_diagonal
        ctx.starts, ctx.size = _blocks(left, right, chunk)
        over_rows, over_columns, kept = [], [], []
        for start in ctx.starts:
            scores = _scores(left, right, start, ctx.size, off_diagonal)
            over_rows.append(scores.logsumexp(-1))
            if two_sided:
                over_columns.append(scores.logsumexp(-2))
            if chunk is None:
                kept.append(scores)
        rows = torch.cat(over_rows, -1)
        columns = torch.stack(over_columns).logsumexp(0) if two_sided else rows.new_zeros(())
        ctx.save_for_backward(left, right, rows, columns, *kept)
        ctx.two_sided = two_sided
        return rows, columns

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_rows: Tensor, grad_columns: Tensor) -> tuple[Tensor | None, ...]:
        left, right, rows, columns, *kept = ctx.saved_tensors
        grad_left, grad_right = torch.empty_like(left), torch.zeros_like(right)
        for k, start in enumerate(ctx.starts):
            part = slice(start, start + ctx.size)
            scores = kept[k] if kept else _scores(left, right, start, ctx.size, ctx.off_diagonal)
            weight = (scores - rows[..., part, None]).exp_().mul_(grad_rows[..., part, None])
            if ctx.two_sided:
                weight.addcmul_((scores - columns[..., None, :]).exp_(), grad_columns[..., None, :])
            grad_left[..., part, :] = weight @ right
            grad_right += weight.mT @ left[..., part, :]
        return grad_left, grad_right, None, None, None


def _blocks(left: Tensor, right: Tensor, chunk: int | None) -> tuple[range, int]:
    n, per_row = left.shape[-2], right.shape[-2] * left.shape[:-2].numel()
    best = BLOCK.get(left.device.type, LARGEST_BLOCK) // per_row
    size = min(n, chunk or max(32, best))
    return range(0, n, size), size


def _scores(left: Tensor, right: Tensor, start: int, size: int, off_diagonal: bool) -> Tensor:
    scores = left[..., start : start + size, :] @ right.mT
    if off_diagonal:
        scores.diagonal(start, -2, -1).fill_(-math.inf)
    return scores
