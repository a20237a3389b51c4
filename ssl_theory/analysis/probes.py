"""Probes: what can be read from a frozen representation, by a line, a kernel, a small network, neighbours.

`r2` for numbers (content, style), `accuracy` for classes. Each fits on one half and scores on the other;
penalties are chosen by cross-validation within the fitted half, stopping times and k on a fifth of it, never on the
scored one.
Representations are standardised by the mean and standard deviation of the fitted half, so a probe is blind
to their scale (`collapse.total_variance` is not).
"""

from collections.abc import Sequence
from inspect import Parameter, signature
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_theory.analysis import kernel, linear, logistic, neighbours, nonlinear, perceptron
from ssl_theory.analysis.ensemble import Array, Score, answer, constant_columns, labels_of, rounding, seeded, targets_of
from ssl_theory.analysis.halves import Pair, Split, folds, paired, stopping


def r2(
    representation: Array,
    target: Array,
    *,
    kind: str = "linear",
    test: tuple[Array, Array] | None = None,
    seed: int = 0,
    per_target: bool = False,
    penalties: Sequence[float] = linear.PENALTIES,
    **network: Any,
) -> Score:
    """Decodability of numbers: `R^2 = 1 - sum (t - hat t)^2 / sum (t - mean t)^2` on the scored half.

    1: read off without error; 0: no better than the mean; below 0: worse than the mean. Several targets: the
    plain average over target coordinates. A target that is constant on the scored half has no R^2: NaN. A constant
    representation scores 0 up to `O(1/n)`.

    Args:
        representation: `(n, d)` or `(E, n, d)`. Rows must be independent: of the views of a data point take
            one, or split by data point yourself and give `test`.
        target: `(n,)`, `(n, t)`, shared by all members, or `(E, n, t)`.
        kind: "linear" (ridge in closed form), "mlp" (ridge and, for what it leaves, two hidden layers with early
            stopping per target: never worse on the stopping rows than ridge), "kernel" (Gaussian-kernel ridge on
            Nystroem features) or "nonlinear" (per target the one of these two that errs less on the stopping rows).
            Penalties and the kernel's width are chosen per target by generalised cross-validation on the fitted half.
        test: `(representation, target)` to score on; `representation` is then all fitted on. Without it the
            rows are split at random into halves.
        seed: of the split, the stopping rows, the network's weights and its batches.
        per_target: return each coordinate's R^2 too, as the last axis, instead of their average.
        penalties: grid of ridge penalties, in units of one standardised row.
        network: `hidden`, `steps`, `batch`, `rate`, `every` of `perceptron.trained_predictions`.

    Returns:
        A float or `(E,)`; with `per_target` `(t,)` or `(E, t)`. NaN for members that hold NaN.

    Raises:
        ValueError: for shapes that do not fit, fewer than 4 rows, NaN in a target, an unknown option.

    Source: Alain, Bengio (2016), arXiv 1610.01644, for linear probes of representations.

    Example:
        >>> content = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
        >>> r2(content @ torch.tensor([[1.0, 2.0], [0.0, 3.0]]), content) > 0.999
        True
    """
    predicted, truth, keep = held_out_predictions(
        representation, target, kind=kind, test=test, seed=seed, penalties=penalties, **network
    )
    scores = coefficients(predicted, truth)
    return answer(scores if per_target else scores.mean(-1), representation, keep)


def held_out_predictions(
    representation: Array,
    target: Array,
    *,
    kind: str = "linear",
    test: tuple[Array, Array] | None = None,
    seed: int = 0,
    penalties: Sequence[float] = linear.PENALTIES,
    **network: Any,
) -> tuple[Float[Tensor, "E m t"], Float[Tensor, "E m t"], Bool[Tensor, " E"]]:
    """What `r2` scores: predictions and targets of the scored half, and which members are finite."""
    _check_options(penalties, network)
    generator = seeded(seed)
    pair, t, truth = paired(representation, target, test, targets_of, generator)
    if kind == "linear":
        x, y = pair.cleared()
        return linear.ridge_predictions(x, t, y, penalties, rounding(x, pair.precision)), truth, pair.keep
    if kind == "kernel":
        x, y = pair.whole(torch.float64)
        return kernel.kernel_ridge_predictions(x, t, y, generator=generator, penalties=penalties), truth, pair.keep
    if kind == "mlp":
        return nonlinear.network_predictions(pair, t, penalties, generator, network), truth, pair.keep
    if kind == "nonlinear":
        return nonlinear.better_predictions(pair, t, penalties, generator, network), truth, pair.keep
    raise ValueError(f"kind: expected 'linear', 'mlp', 'kernel' or 'nonlinear', found {kind!r}")


def accuracy(
    representation: Array,
    labels: Array,
    *,
    kind: str = "linear",
    test: tuple[Array, Array] | None = None,
    seed: int = 0,
    penalties: Sequence[float] = logistic.PENALTIES,
    ks: Sequence[int] = neighbours.NEIGHBOURS,
    **network: Any,
) -> Score:
    """Share of the scored half whose class is told right: 1 all; chance level: nothing of the class.

    Args:
        representation: `(n, d)` or `(E, n, d)`; rows independent, as for `r2`.
        labels: `(n,)` or `(E, n)`, any whole numbers. A class that is scored but never fitted counts as
            wrong.
        kind: "linear" (multinomial logistic regression, `alpha/2 |W|^2` with alpha chosen by the log-loss of five
            folds of the fitted half), "mlp" (cross-entropy, early stopping on a fifth of it) or "knn" (k chosen on a
            fifth; of classes with equal votes the smallest).
        test: `(representation, labels)` to score on; without it random halves.
        seed: of the split, the fifths, the network's weights and its batches.
        penalties: grid of alpha.
        ks: grid of k.
        network: as in `r2`.

    Returns:
        A float or `(E,)`; NaN for members that hold NaN.

    Raises:
        ValueError: for shapes that do not fit, fewer than 4 rows, fewer than two classes, labels that are no
            whole numbers, an unknown option.

    Source: Alain, Bengio (2016), arXiv 1610.01644, for linear probes of representations.
    """
    guess, truth, keep = held_out_classes(
        representation, labels, kind=kind, test=test, seed=seed, penalties=penalties, ks=ks, **network
    )
    return answer((guess == truth).double().mean(1), representation, keep)


def held_out_classes(
    representation: Array,
    labels: Array,
    *,
    kind: str = "linear",
    test: tuple[Array, Array] | None = None,
    seed: int = 0,
    penalties: Sequence[float] = logistic.PENALTIES,
    ks: Sequence[int] = neighbours.NEIGHBOURS,
    **network: Any,
) -> tuple[Int[Tensor, "E m"], Int[Tensor, "E m"], Bool[Tensor, " E"]]:
    """What `accuracy` compares: guessed and true classes (as numbers) of the scored half, and the finite members."""
    if kind == "knn":
        _check_options(penalties, network)
        return _neighbour_classes(representation, labels, test, seed, ks)
    logits, truth, keep = held_out_logits(
        representation, labels, kind=kind, test=test, seed=seed, penalties=penalties, **network
    )
    return logits.argmax(-1), truth, keep


def held_out_logits(
    representation: Array,
    labels: Array,
    *,
    kind: str = "linear",
    test: tuple[Array, Array] | None = None,
    seed: int = 0,
    penalties: Sequence[float] = logistic.PENALTIES,
    **network: Any,
) -> tuple[Float[Tensor, "E m C"], Int[Tensor, "E m"], Bool[Tensor, " E"]]:
    """What `accuracy` scores: logits and classes (as column numbers) of the scored half, and the finite members."""
    _check_options(penalties, network)
    generator = seeded(seed)
    pair, k, truth, classes = _labelled_halves(representation, labels, test, generator)
    fifths = folds(k.shape[1], k, generator)
    x, y = pair.whole(torch.float32)
    if kind == "linear":
        return logistic.penalised_logits(x, k, y, classes, fifths, penalties), truth, pair.keep
    if kind == "mlp":
        return _network_logits(x, k, y, classes, fifths[0], generator, network), truth, pair.keep
    raise ValueError(f"kind: expected 'linear', 'mlp' or 'knn', found {kind!r}")


def coefficients(
    predicted: Float[Tensor, "E m t"], truth: Float[Tensor, "E m t"], precision: torch.dtype = torch.float64
) -> Float[Tensor, "E t"]:
    """R^2 of each target; NaN where it varies by no more than the rounding of `precision`, which it was read in."""
    spread = (truth - truth.mean(1, keepdim=True)).square().sum(1)
    spread = spread.masked_fill(constant_columns(truth, precision), torch.nan)
    return 1 - (predicted - truth).square().sum(1) / spread


def _check_options(penalties: Sequence[float], network: dict[str, Any]) -> None:
    if not isinstance(penalties, Sequence | np.ndarray | Tensor):
        raise ValueError(f"penalties: expected a sequence, found {penalties!r}; give ({penalties!r},)")
    if len(penalties) == 0:
        raise ValueError("penalties: expected one penalty or more, found none; leave them out for the usual grid")
    known = signature(perceptron.trained_predictions).parameters
    options = [name for name in known if known[name].default is not Parameter.empty]
    if unknown := sorted(set(network) - set(options)):
        raise ValueError(f"network: expected options among {options}, found {unknown}; leave them out")
    if min(penalties) < 0:
        raise ValueError(f"penalties: expected none below 0, found {min(penalties):g}; leave it out for the usual grid")
    for name, value in network.items():
        each = value if name == "hidden" else [value]
        if not isinstance(each, Sequence) or not all(isinstance(v, int | float | np.number) and v > 0 for v in each):
            wanted = "widths above 0, as (64, 64)" if name == "hidden" else "a number above 0"
            raise ValueError(f"{name}: expected {wanted}, found {value!r}; leave it out for the usual one")


def _labelled_halves(
    representation: Array, labels: Array, test: tuple[Array, Array] | None, generator: torch.Generator
) -> tuple[Pair, Tensor, Tensor, int]:
    """As `paired`, the labels as numbers from 0 to C - 1, and C."""
    pair, k, truth = paired(representation, labels, test, labels_of, generator)
    shared = k.stride(0) == truth.stride(0) == 0  # by all members: looked at once
    both = torch.cat([k[:1], truth[:1]] if shared else [k, truth], 1)
    names, index = torch.unique(both, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"labels: expected two classes or more, found only {names.tolist()}; nothing to tell apart")
    k, truth = index.expand(len(pair.keep), -1).split([k.shape[1], truth.shape[1]], 1)
    return pair, k, truth, len(names)


def _network_logits(
    x: Tensor, k: Tensor, y: Tensor, classes: int, rows: Split, generator: torch.Generator, network: dict[str, Any]
) -> Float[Tensor, "E m C"]:
    held_out, kept = rows
    # Begins at the class frequencies, the best guess without the representation.
    prior = torch.nn.functional.one_hot(k[:, kept], classes).float().mean(1, keepdim=True).clamp(min=1e-6).log()
    start = (prior.expand(-1, len(held_out), -1), prior.expand(-1, y.shape[1], -1))
    return perceptron.trained_predictions(
        x, k, y, start, held_out, kept,
        loss=perceptron.CROSS_ENTROPY, generator=generator, **network,
    )  # fmt: skip


def _neighbour_classes(
    representation: Array, labels: Array, test: tuple[Array, Array] | None, seed: int, ks: Sequence[int]
) -> tuple[Int[Tensor, "E m"], Int[Tensor, "E m"], Bool[Tensor, " E"]]:
    generator = seeded(seed)
    pair, k, truth, classes = _labelled_halves(representation, labels, test, generator)
    held_out, kept = stopping(k.shape[1], k, generator)
    guesses = []
    for part, x, y in pair.parts():
        for points, names, scored in zip(x.float(), k[part], y.float(), strict=True):
            best = neighbours.chosen_neighbours(points, names, classes, held_out, kept, ks)
            guesses.append(neighbours.neighbour_predictions(points, names, scored, classes, [best])[0])
    return torch.stack(guesses), truth, pair.keep
