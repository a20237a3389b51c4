"""Information that a probe reads: Barber-Agakov lower bounds from held-out probes, for learned representations.

`I(r; t) >= H(t) + E log q(t | r)` holds for every probe q, evaluated on rows it was not fitted on; what the
probe cannot read is missing. The informations that theory asks of encoder h and representation z:

| information | measure | needs |
|---|---|---|
| `I(z; k)`, class | `class_information(z, k)` | labels |
| `I(z; y)`, Gaussian content | `gaussian_target_information(z, y)` | independent Gaussian coordinates |
| `I(z; y)`, content of a class mixture | `mixture_target_information(z, y, k)` | these within each class |
| `I(h; s)`, `I(z; s)`, style | `gaussian_target_information(h, s)` | independent Gaussian coordinates |
| `I(z; s given k)`, `I(z; s given y)` | `conditional_information(z, s, k)`, `(z, s, y)` | these, given k or y |

Calibration, nats, linear probes, 8,000 rows (asserted in `tests/analysis/test_decoding.py` within 0.05, zeros within
0.01). Gaussian world: y and s of 2 coordinates each, `h = Q (y, s) + 0.5 e` with Q a rotation, z its content half.
Mixture world: the same with y about (8, 0), (0, 8), (0, 0) with standard deviation 0.5.

| world | measure | h | z | constant, noise |
|---|---|---|---|---|
| Gaussian | `I(.; y)` | `log 5 = 1.609` | 1.609 | 0 |
| Gaussian | `I(.; s)` | 1.609 | 0 | 0 |
| Gaussian | `I(.; s given y)` | 1.609 | 0 | 0 |
| mixture | `I(.; k)` | `log 3 = 1.099` | 1.099 | 0 |
| mixture | `I(.; y)` | `log 3 + 3/2 log 2 = 2.138` | 2.138 | 0 |
| mixture | `I(.; s given k)` | 1.609 | 0 | 0 |
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from ssl_theory.analysis.ensemble import (
    Array,
    Score,
    answer,
    as_tensor,
    constant_columns,
    finite,
    labels_of,
    members,
    precision_of,
    targets_of,
)
from ssl_theory.analysis.probes import held_out_logits, held_out_predictions


def class_information(representation: Array, labels: Array, *, kind: str = "linear", **probe: Any) -> Score:
    """`H(k) + E log q(k|r)` in nats, from 0, when r tells nothing of the class, to H(k), when it tells all.

    H(k) is that of the class frequencies on the scored half. Cut at 0, where the probe is worse than these. A class of
    which the fitted half has a row or two costs the bound tens of nats each time it is scored: far too low where there
    are not ten rows a class or more, and 0 where there are much fewer, however well classes are told apart.

    Args:
        representation: `(n, d)` or `(E, n, d)`, rows independent.
        labels: `(n,)` or `(E, n)`.
        kind: "linear" or "mlp".
        probe: `test`, `seed`, ... of `probes.accuracy`.

    Source: Barber, Agakov (2003).
    """
    logits, truth, keep = held_out_logits(representation, labels, kind=kind, **probe)
    frequency = torch.nn.functional.one_hot(truth, logits.shape[2]).double().mean(1)
    entropy = -torch.special.xlogy(frequency, frequency).sum(1)
    loss = torch.nn.functional.cross_entropy(logits.double().mT, truth, reduction="none").mean(1)
    return answer((entropy - loss).clamp(min=0), representation, keep)


def gaussian_target_information(representation: Array, target: Array, *, kind: str = "linear", **probe: Any) -> Score:
    """`1/2 sum_i log Var(t_i) / mse_i` in nats: a lower bound of I(r; t) for t with *independent Gaussian* coordinates.

    q is a Gaussian about the probe's prediction, its variance the held-out error. Equals the truth for
    jointly Gaussian r and t, when the t_i are independent given r as well.

    At least 0, and cut there once, after the sum: a coordinate of which the probe is worse than the mean counts
    against the others, as chance of theirs counts for them. A coordinate that is constant where it is scored is
    left out.

    Args:
        representation: `(n, d)` or `(E, n, d)`, rows independent.
        target: `(n, t)` or `(E, n, t)`.
        kind: "linear", "mlp", "kernel" or "nonlinear".
        probe: `test`, `seed`, ... of `probes.r2`.

    Source: Barber, Agakov (2003).
    """
    predicted, truth, keep = held_out_predictions(representation, target, kind=kind, **probe)
    return answer(_gaussian_gain(predicted, truth).clamp(min=0), representation, keep)


def conditional_information(
    representation: Array, target: Array, given: Array, *, known: float = 0.0, kind: str = "linear", **probe: Any
) -> Score:
    """A lower bound of `I(r; t | g)` in nats, at least 0; 0: beyond g, r tells nothing of t. No upper end.

    Classes (whole numbers): `sum_c p(c) 1/2 sum_i log Var(t_i | c) / mse_i(c)` with a probe of its own for each class,
    a bound where the t_i are independent and Gaussian *within each class*, whether or not t depends on the class.
    Cut at 0 once, after the sum over classes and coordinates. Each class has its probe's error, with half of its rows
    to fit on: a probe that tells nothing is below 0 by some `2 t C / n` nats, C the number of classes, and one that
    tells much is too low by no less.

    Numbers (a floating-point `given`): by the chain rule `I(r, g; t) - I(g; t)`, the first read by one probe of (r, g),
    the second known. A bound where the t_i are independent and Gaussian and `known` is exact: 0 where t is independent
    of g, else of the world. Elsewhere it is none, hence no probe estimates it here.

    Args:
        representation: `(n, d)` or `(E, n, d)`, rows independent.
        target: `(n, t)` or `(E, n, t)`.
        given: classes, `(n,)` or `(E, n)` of an integer type; or numbers, `(n, g)` or `(E, n, g)` of a floating type.
        known: `I(g; t)` in nats, for numbers only.
        kind: "linear", "mlp", "kernel" or "nonlinear".
        probe: `seed`, ... of `probes.r2`, without `test`.

    Returns:
        A float or `(E,)`; NaN for members that hold NaN.

    Raises:
        ValueError: for shapes that do not fit, a class of fewer than 4 rows, `known` beside classes or below 0, `test`.

    Source: Barber, Agakov (2003).
    """
    _without_test(probe)
    r = members(representation, dtype=None)
    if as_tensor(given, "given").is_floating_point():
        if not known >= 0:
            raise ValueError(f"known: expected I(g; t) >= 0 in nats, found {known}; 0 where t is independent of g")
        beside = targets_of(given, r, "given")
        both = torch.cat([_settled(r, precision_of(r)), _settled(beside, precision_of(given))], -1)
        predicted, truth, keep = held_out_predictions(both, target, kind=kind, **probe)
        return answer((_gaussian_gain(predicted, truth) - known).clamp(min=0), representation, keep)
    if known:
        raise ValueError(f"known: expected 0 beside classes, found {known}; within a class nothing is to be subtracted")
    gain, keep = _given_classes(r, target, given, kind, probe)
    return answer(gain, representation, keep)


def mixture_target_information(
    representation: Array, target: Array, labels: Array, *, kind: str = "linear", **probe: Any
) -> Score:
    """`I(r; k) + I(r; t | k)` in nats: a lower bound of I(r; t) where t is Gaussian within each class.

    The sum is `I(r; t)` by the chain rule, since r depends on the class k through t alone. Its terms are
    `class_information` and `conditional_information`, with their arguments, conditions (independent coordinates within
    a class) and errors; labels are classes in whichever type they come. 0: r tells nothing of t; at most `I(x; t)` in
    expectation.

    Source: Barber, Agakov (2003).
    """
    _without_test(probe)
    told = class_information(representation, labels, kind=kind, **probe)
    beyond, keep = _given_classes(members(representation, dtype=None), target, labels, kind, probe)
    return told + answer(beyond, representation, keep)


def _without_test(probe: dict[str, Any]) -> None:
    if probe.get("test") is not None:
        raise ValueError("test: expected none, found rows to score; give all rows, half of each class is scored")


def _settled(x: Shaped[Tensor, "E n d"], precision: torch.dtype) -> Float[Tensor, "E n d"]:
    """x in double precision, in which columns that vary by no more than the rounding of `precision` would seem to vary:
    these are zero."""
    x = x.double()
    return x.masked_fill(constant_columns(x, precision)[:, None], 0)


def _given_classes(
    r: Tensor, target: Array, classes: Array, kind: str, probe: dict[str, Any]
) -> tuple[Float[Tensor, " E"], Bool[Tensor, " E"]]:
    """What r tells of the target within classes, at least 0, and the finite members."""
    t, k = targets_of(target, r), labels_of(classes, r, "given")
    shared = as_tensor(classes, "given").ndim == 1
    parts = [slice(None)] if shared else [slice(e, e + 1) for e in range(len(r))]
    found = [_within_classes(r[e], t[e], k[e][0], kind, probe) for e in parts]
    gain, keep = (torch.cat(x) for x in zip(*found, strict=True))
    return gain.clamp(min=0), keep


def _within_classes(
    r: Tensor, t: Tensor, k: Tensor, kind: str, probe: dict[str, Any]
) -> tuple[Float[Tensor, " E"], Bool[Tensor, " E"]]:
    """Each class's gain, weighted by its frequency, and the finite members; `k (n,)` is shared by all of them."""
    gain = r.new_zeros(len(r), dtype=torch.float64)
    names, counts = torch.unique(k, return_counts=True)
    if int(counts.min()) < 4:
        raise ValueError(f"given: expected 4 rows or more of each class, found {int(counts.min())}; merge classes")
    for name, count in zip(names, counts, strict=True):
        rows = k == name
        predicted, truth, _ = held_out_predictions(r[:, rows], t[:, rows], kind=kind, **probe)
        gain += count / len(k) * _gaussian_gain(predicted, truth)
    return gain, finite(r)


def _gaussian_gain(predicted: Float[Tensor, "E m t"], truth: Float[Tensor, "E m t"]) -> Float[Tensor, " E"]:
    """`1/2 sum_i log Var(t_i) / mse_i` over the t_i that vary; below 0 for a probe that is worse than the mean.

    Of each t_i to take the better of probe and mean on the rows that are scored would be to choose by chance.
    """
    ratio = truth.var(1, correction=0) / (predicted - truth).square().mean(1)
    return 0.5 * ratio.masked_fill(constant_columns(truth, truth.dtype), 1).log().sum(1)
