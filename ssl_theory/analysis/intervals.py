"""Intervals of probe scores over the scored rows: by bootstrap of R^2, in closed form of accuracy.

They say how far a score would move with other test rows, the fitted probe unchanged. How far it moves with the seed of
the learner is another question, which only several members answer.
"""

from statistics import NormalDist
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.analysis.ensemble import Array, Score, answer, constant_columns, rounding, seeded
from ssl_theory.analysis.probes import held_out_classes, held_out_predictions


class Interval(NamedTuple):
    """A score and the ends of its interval, each a float or `(E,)`."""

    estimate: Score
    low: Score
    high: Score


def r2_interval(
    representation: Array, target: Array, *, level: float = 0.95, resamples: int = 500, seed: int = 0, **probe: Any
) -> Interval:
    """`probes.r2` with the percentile interval of its scored rows, resampled with replacement (Efron 1979).

    A resample on which a target is constant has no R^2 and does not count; where less than half of them count, there
    is no interval: NaN.

    Args:
        representation, target, probe: as `probes.r2` (`kind`, `test`, ...).
        level: share of resamples inside.
        resamples: their number, 1 or more.
        seed: of the probe and of the resampling.
    """
    predicted, truth, keep = held_out_predictions(representation, target, seed=seed, **probe)
    error, centred = (predicted - truth).square(), truth - truth.mean(1, keepdim=True)
    weights = _weights(truth.shape[1], resamples, seed, truth)
    residual, mean, square = (torch.einsum("bm,emt->bet", weights, x) for x in (error, centred, centred.square()))
    spread, noise = square - mean.square(), rounding(truth, truth.dtype).square()
    # The difference of two squares is rounding where it is this small beside them.
    spread = spread.masked_fill(spread <= torch.maximum(1e-10 * square, noise), torch.nan)
    drawn = (1 - residual / spread).mean(-1)
    whole = centred.square().mean(1).masked_fill(constant_columns(truth, truth.dtype), torch.nan)
    estimate = (1 - error.mean(1) / whole).mean(-1)
    return _interval(estimate, drawn, level, representation, keep)


def accuracy_interval(
    representation: Array, labels: Array, *, level: float = 0.95, seed: int = 0, **probe: Any
) -> Interval:
    """`probes.accuracy`, of every kind, with Wilson's interval of its m scored rows; arguments as `r2_interval`,
    but for `resamples`.

        (p + q / 2 -+ sqrt(q p (1 - p) + q^2 / 4)) / (1 + q),  q = z^2 / m, z the normal quantile of the level

    No bootstrap: where all rows are told right, those of every resample are, and its interval is the point (1, 1, 1).
    Of 100 rows of which 99 % are told right in the long run it holds this 99 % in at most 63 of 100 cases. Rows are
    told right or wrong independently of each other, and so have an interval in closed form, whose width is not 0.

    Source: Wilson (1927); Brown, Cai, DasGupta (2001) on its coverage.
    """
    z = NormalDist().inv_cdf((1 + _share(level)) / 2)
    guess, truth, keep = held_out_classes(representation, labels, seed=seed, **probe)
    p, q = (guess == truth).double().mean(1), z**2 / guess.shape[1]
    middle, reach = p + q / 2, (q * p * (1 - p) + q**2 / 4).sqrt()
    low, high = ((middle + side * reach).div(1 + q).clamp(0, 1) for side in (-1, 1))
    return Interval(*[answer(x, representation, keep) for x in (p, torch.minimum(low, p), torch.maximum(high, p))])


def _share(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level: expected between 0 and 1, found {level}; 0.95 is usual")
    return level


def _weights(rows: int, resamples: int, seed: int, like: Tensor) -> Float[Tensor, "B m"]:
    """How often each row was drawn, over the number of rows."""
    if resamples < 1:
        raise ValueError(f"resamples: expected 1 or more, found {resamples}; 500 is usual")
    generator = seeded(seed)
    drawn = torch.randint(rows, (resamples, rows), generator=generator)
    counts = torch.zeros(resamples, rows, dtype=torch.float64).scatter_add_(1, drawn, torch.ones(drawn.shape).double())
    return (counts / rows).to(like)


def _interval(
    estimate: Float[Tensor, " E"], drawn: Float[Tensor, "B E"], level: float, like: Array, keep: Tensor
) -> Interval:
    ends = torch.tensor([(1 - _share(level)) / 2, (1 + level) / 2], dtype=drawn.dtype, device=drawn.device)
    few = 2 * drawn.isnan().sum(0) > len(drawn)
    low, high = torch.nanquantile(drawn, ends, dim=0).masked_fill(few, torch.nan)
    return Interval(*[answer(x, like, keep) for x in (estimate, low, high)])
