"""Nonlinear regression probes: a small network for what ridge leaves, and the better of it and kernel ridge.

Neither of the two reads everything. Style that a loss ignores lies where a network of a few hundred steps does not
look: kernel ridge reads up to nine times the R^2 there (`speed/results/probes.md`). Where most columns are noise, the
network does, as distances tell little of one column among many.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.analysis import kernel, linear, perceptron
from ssl_theory.analysis.halves import Pair, Split, stopping


def better_predictions(
    pair: Pair, t: Tensor, penalties: Sequence[float], generator: torch.Generator, network: dict[str, Any]
) -> Float[Tensor, "E m t"]:
    """The network's or kernel ridge's, per member and target that of the lower error on the stopping rows.

    Kernel ridge has then seen the other rows alone, and is fitted on all in the end. The network has its length and its
    share chosen on the stopping rows, which leans the choice towards it; the scored rows have no part in either.
    """
    held_out, kept = stopping(t.shape[1], t, generator)
    networks = _network(pair, t, (held_out, kept), penalties, generator, network)
    x, y = pair.whole(torch.float64)
    kernels = kernel.validated_predictions(x, t, y, held_out, kept, generator=generator, penalties=penalties)
    truth = t.index_select(1, held_out)
    error, other = ((seen - truth).square().sum(1, keepdim=True) for seen, _ in (networks, kernels))
    return torch.where(error <= other, networks[1], kernels[1])


def network_predictions(
    pair: Pair, t: Tensor, penalties: Sequence[float], generator: torch.Generator, network: dict[str, Any]
) -> Float[Tensor, "E m t"]:
    """Ridge and a network for what it leaves, which needs fewer steps than one for everything."""
    return _network(pair, t, stopping(t.shape[1], t, generator), penalties, generator, network)[1]


def _network(
    pair: Pair,
    t: Tensor,
    rows: Split,
    penalties: Sequence[float],
    generator: torch.Generator,
    network: dict[str, Any],
) -> Split:
    """Predictions on the stopping rows and on the scored ones.

    Of the network the share that is best on the stopping rows is taken: less where it is right by chance.
    """
    held_out, kept = rows
    linearly = torch.cat([_kept_ridge(a, t[p], b, kept, penalties) for p, a, b in pair.parts()])
    linearly, predicted = linearly.split([t.shape[1], linearly.shape[1] - t.shape[1]], 1)
    rest = t - linearly
    scale = rest.square().mean(1, keepdim=True).sqrt()
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    x, y = pair.whole(torch.float32)
    rest = rest / scale
    scored, seen = torch.cat([x.index_select(1, held_out), y], 1), rest.index_select(1, held_out)
    nothing = x.new_zeros(*scored.shape[:2], t.shape[2])
    bend = perceptron.trained_predictions(
        x, rest.float(), scored, (nothing[:, : len(held_out)], nothing), held_out, kept,
        loss=perceptron.SQUARED_ERROR, generator=generator, **network,
    )  # fmt: skip
    there = bend[:, : len(held_out)]
    share = ((seen * there).sum(1, keepdim=True) / there.square().sum(1, keepdim=True).clamp(min=1e-30)).clamp(0, 1)
    bend = scale * share * bend
    return linearly.index_select(1, held_out) + bend[:, : len(held_out)], predicted + bend[:, len(held_out) :]


def _kept_ridge(x: Tensor, t: Tensor, y: Tensor, kept: Tensor, penalties: Sequence[float]) -> Float[Tensor, "E m2 t"]:
    """Ridge fitted on the kept rows, at x and at y."""
    fitted = x.index_select(1, kept), t.index_select(1, kept)
    return linear.ridge_predictions(*fitted, torch.cat([x, y], 1), penalties)
