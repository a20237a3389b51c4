"""Reconstruction: decode a frozen representation, so that what it kept can be looked at."""

import math
from typing import NamedTuple

import torch

from ssl_theory.analysis.ensemble import Array, Score, answer, as_tensor, members, varying
from ssl_theory.analysis.probes import held_out_predictions


class Reconstruction(NamedTuple):
    """What a decoder makes of the representation of unseen rows.

    decoded: `(m, *shape)` or `(E, m, *shape)`; the mean of all x that the representation does not tell apart.
    observed: what was to be decoded, `(m, *shape)`.
    r2: share of the variance of x that is told: 1 all, 0 none, below 0 worse than their mean; pooled, so constant
        pixels count for nothing; NaN where all x are the same.
    """

    decoded: Array
    observed: Array
    r2: Score


def reconstruct(
    representation: Array,
    observations: Array,
    *,
    seed: int = 0,
    hidden: tuple[int, ...] = (256, 256),
    steps: int = 1500,
    rate: float = 3e-3,
) -> Reconstruction:
    """An MLP decoder fitted on a random half of the rows by squared error, applied to the other half.

    Args:
        representation: `(n, d)` or `(E, n, d)`, frozen; rows independent.
        observations: `(n, *shape)`, shared by all members.
        seed: of the split, the weights and the batches.
        hidden, steps, rate: of the decoder and its training.

    Source: this project.
    """
    x = as_tensor(observations, "observations")
    n = members(representation, dtype=None).shape[1]
    if x.ndim < 2 or x.shape[0] != n:
        raise ValueError(f"observations: expected (n, *shape) with n = {n}, found {tuple(x.shape)}")
    flat, shape = x.reshape(n, math.prod(x.shape[1:])), x.shape[1:]
    predicted, truth, keep = held_out_predictions(
        representation, flat, kind="mlp", seed=seed, hidden=hidden, steps=steps, rate=rate
    )
    residual = (predicted - truth).square().sum((1, 2))
    spread = (truth - truth.mean(1, keepdim=True)).square().sum((1, 2))
    told = 1 - residual / spread.masked_fill(~varying(truth[:1], observations), torch.nan)
    images = [t.unflatten(-1, shape).to(torch.float32) for t in (predicted, truth)]
    decoded, score = answer(images[0], representation, keep), answer(told, representation, keep)
    return Reconstruction(decoded, answer(images[1][:1], representation, single=representation.ndim), score)
