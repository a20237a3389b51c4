"""Reconstruction: decode a frozen representation, so that what it kept can be looked at, and scored by factor."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.analysis.ensemble import Array, Score, answer, as_tensor, members, precision_of, varying
from ssl_theory.analysis.probes import coefficients, held_out_predictions


class Reconstruction(NamedTuple):
    """What a decoder makes of the representation of unseen rows.

    decoded: `(m, *shape)` or `(E, m, *shape)`; the mean of all x that the representation does not tell apart.
    observed: what was to be decoded, `(m, *shape)`.
    r2: share of the variance of x that is told: 1 all, 0 none, below 0 worse than their mean; pooled, so constant
        pixels count for nothing; NaN where all x are the same.
    by_factor: `(t,)` or `(E, t)`, that share of each factor that `read` finds in x (of each coordinate of x, without
        `read`): 1 all, 0 none (the mean), below 0 where a reading of decoded means is off; NaN for a factor that is
        constant up to rounding.
    """

    decoded: Array
    observed: Array
    r2: Score
    by_factor: Score


def reconstruct(
    representation: Array,
    observations: Array,
    *,
    read: Callable[[Tensor], Tensor] | None = None,
    seed: int = 0,
    hidden: tuple[int, ...] = (256, 256),
    steps: int = 1500,
    rate: float = 3e-3,
) -> Reconstruction:
    """An MLP decoder fitted on a random half of the rows by squared error, applied to the other half.

    Args:
        representation: `(n, d)` or `(E, n, d)`, frozen; rows independent.
        observations: `(n, *shape)`, shared by all members.
        read: factors that can be read off observations, `(m, *shape) -> (m,)` or `(m, t)` (the position of a shape, the
            sum of a channel); applied to decoded and observed ones alike.
        seed: of the split, the weights and the batches.
        hidden, steps, rate: of the decoder and its training.

    Raises:
        ValueError: for observations of other rows, or a `read` whose answer does not fit.

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
    factors = (predicted, truth) if read is None else [torch.stack([_read(read, x) for x in part]) for part in images]
    each = answer(coefficients(factors[0], factors[1], _precision(observations, read is None)), representation, keep)
    decoded, score = answer(images[0], representation, keep), answer(told, representation, keep)
    return Reconstruction(decoded, answer(images[1][:1], representation, single=representation.ndim), score, each)


def _precision(observations: Array, themselves: bool) -> torch.dtype:
    """Of the factors: of the observations where these are the factors, else at best single, as what is read of them."""
    given = precision_of(observations)
    narrow = given.is_floating_point and torch.finfo(given).bits < 32
    return given if themselves or narrow else torch.float32


def _read(read: Callable[[Tensor], Tensor], x: Float[Tensor, "m ..."]) -> Float[Tensor, "m t"]:
    found = read(x)
    if found.ndim not in (1, 2) or len(found) != len(x):
        raise ValueError(f"read: expected to answer (m,) or (m, t) with m = {len(x)}, found {tuple(found.shape)}")
    return found.reshape(len(x), -1).double()
