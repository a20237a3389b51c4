"""Probes: what can be read from a frozen representation, by a line, by a small network, by neighbours.

`r2` for numbers (content, style), `accuracy` for classes. Each fits on one half and scores on the other;
penalties, stopping times and k are chosen on a part of the fitted half, never on the scored one.
Representations are standardised by the mean and standard deviation of the fitted half, so a probe is blind
to their scale (`collapse.total_variance` is not).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from ssl_theory.analysis import kernel, linear, logistic, neighbours, perceptron
from ssl_theory.analysis.ensemble import (
    Array,
    Score,
    answer,
    cleared,
    constant_columns,
    finite,
    labels_of,
    members,
    precision_of,
    rounding,
    targets_of,
)

Split = tuple[Tensor, Tensor]


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
            stopping per target: never worse on the stopping rows than ridge) or "kernel" (Gaussian-kernel ridge on
            Nystroem features). Penalties and the kernel's width are chosen per target by generalised cross-validation
            on the fitted half.
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
    generator = torch.Generator().manual_seed(seed)
    pair, t, truth = _halves(representation, target, test, targets_of, generator)
    if kind == "linear":
        x, y = pair.cleared()
        return linear.ridge_predictions(x, t, y, penalties, rounding(x, pair.precision)), truth, pair.keep
    if kind == "mlp":
        return _network_regression(pair, t, penalties, generator, network), truth, pair.keep
    if kind == "kernel":
        x, y = pair.whole(torch.float64)
        return kernel.kernel_ridge_predictions(x, t, y, generator=generator, penalties=penalties), truth, pair.keep
    raise ValueError(f"kind: expected 'linear', 'mlp' or 'kernel', found {kind!r}")


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
        kind: "linear" (multinomial logistic regression, `alpha/2 |W|^2` with alpha chosen on a fifth of the
            fitted half), "mlp" (cross-entropy, early stopping there) or "knn" (k chosen there; of classes with equal
            votes the smallest).
        test: `(representation, labels)` to score on; without it random halves.
        seed: of the split, the held-out fifth, the network's weights and its batches.
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
    generator = torch.Generator().manual_seed(seed)
    pair, k, truth, classes = _labelled_halves(representation, labels, test, generator)
    stopping = _stopping(k.shape[1], k, generator)
    x, y = pair.whole(torch.float32)
    if kind == "linear":
        return logistic.penalised_logits(x, k, y, classes, *stopping, penalties), truth, pair.keep
    if kind == "mlp":
        return _network_logits(x, k, y, classes, stopping, generator, network), truth, pair.keep
    raise ValueError(f"kind: expected 'linear', 'mlp' or 'knn', found {kind!r}")


def _check_options(penalties: Sequence[float], network: dict[str, Any]) -> None:
    if len(penalties) == 0:
        raise ValueError("penalties: expected one penalty or more, found none; leave them out for the usual grid")
    known = signature(perceptron.trained_predictions).parameters
    options = [name for name in known if known[name].default is not Parameter.empty]
    if unknown := sorted(set(network) - set(options)):
        raise ValueError(f"network: expected options among {options}, found {unknown}; leave them out")


def halves(n: int, generator: torch.Generator) -> Split:
    """Indices of two random halves of n rows, the first the larger when n is odd."""
    order = torch.randperm(n, generator=generator)
    return order[: (n + 1) // 2], order[(n + 1) // 2 :]


def standardised(
    train: Shaped[Tensor, "E n d"], test: Shaped[Tensor, "E m d"], precision: torch.dtype
) -> tuple[Float[Tensor, "E n d"], Float[Tensor, "E m d"]]:
    """Both less the mean and over the standard deviation of train, in double precision; columns constant in train
    become zero."""
    x, y = (half.to(torch.float64, copy=True) for half in (train, test))
    mean, least = x.mean(1, keepdim=True), rounding(x, precision)
    scale = x.sub_(mean).square().mean(1).sqrt()
    over = scale.masked_fill(scale <= least, torch.inf).reciprocal()[:, None]
    return x.mul_(over), y.sub_(mean).mul_(over)


@dataclass(frozen=True)
class Pair:
    """Representations of the fitted and the scored half as they were given, and which members are finite.

    They are standardised a few members at a time, which then stay in the processor's cache.
    """

    train: Tensor
    test: Tensor
    keep: Tensor
    precision: torch.dtype

    def cleared(self) -> Split:
        """Both halves, members that hold NaN replaced by zeros."""
        return cleared(self.train, self.keep), cleared(self.test, self.keep)

    def parts(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Some members, and both of their halves, standardised, in double precision."""
        train, test = self.cleared()
        for part in linear.groups(len(train), train[0].numel()):
            yield part, *standardised(train[part], test[part], self.precision)

    def whole(self, dtype: torch.dtype) -> Split:
        """Both halves of all members, standardised."""
        train, test = (half.new_empty(half.shape, dtype=dtype) for half in (self.train, self.test))
        for part, x, y in self.parts():
            train[part], test[part] = x, y
        return train, test


def _halves(
    representation: Array,
    target: Array,
    test: tuple[Array, Array] | None,
    read: Any,
    generator: torch.Generator,
) -> tuple[Pair, Tensor, Tensor]:
    """Representations of the fitted and scored halves, and targets of both."""
    x = members(representation, dtype=None)
    t = read(target, x)
    if test is None:
        first, second = (rows.to(x.device) for rows in halves(x.shape[1], generator))
        (x, y), (t, truth) = ([a.index_select(1, rows) for rows in (first, second)] for a in (x, t))
    else:
        y = members(test[0], "test representation", dtype=None)
        if y.shape[::2] != x.shape[::2]:
            raise ValueError(f"test: expected members and width as {tuple(x.shape)}, found {tuple(y.shape)}")
        truth = read(test[1], y, "test target")
        if truth.shape[2:] != t.shape[2:]:
            raise ValueError(
                f"test target: expected {t.shape[2]} columns, those fitted, found {truth.shape[2]}; give the same ones"
            )
    if min(x.shape[1], y.shape[1]) < 2:
        raise ValueError(f"representation: expected 2 rows or more in each half, found {x.shape[1]} and {y.shape[1]}")
    return Pair(x, y, finite(x, y), precision_of(representation)), t, truth


def coefficients(
    predicted: Float[Tensor, "E m t"], truth: Float[Tensor, "E m t"], precision: torch.dtype = torch.float64
) -> Float[Tensor, "E t"]:
    """R^2 of each target; NaN where it varies by no more than the rounding of `precision`, which it was read in."""
    spread = (truth - truth.mean(1, keepdim=True)).square().sum(1)
    spread = spread.masked_fill(constant_columns(truth, precision), torch.nan)
    return 1 - (predicted - truth).square().sum(1) / spread


def _stopping(n: int, like: Tensor, generator: torch.Generator) -> Split:
    """A random fifth of n rows to choose on, and the rest to fit on."""
    order = torch.randperm(n, generator=generator).to(like.device)
    return order[: max(1, n // 5)], order[max(1, n // 5) :]


def _network_regression(
    pair: Pair, t: Tensor, penalties: Sequence[float], generator: torch.Generator, network: dict[str, Any]
) -> Float[Tensor, "E m t"]:
    """Ridge and a network for what it leaves, which needs fewer steps than one for everything.

    Of the network the share that is best on the stopping rows is taken: less where it is right by chance.
    """
    held_out, kept = _stopping(t.shape[1], t, generator)
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
    there, bend = bend[:, : len(held_out)], bend[:, len(held_out) :]
    share = ((seen * there).sum(1, keepdim=True) / there.square().sum(1, keepdim=True).clamp(min=1e-30)).clamp(0, 1)
    return predicted + scale * share * bend


def _kept_ridge(x: Tensor, t: Tensor, y: Tensor, kept: Tensor, penalties: Sequence[float]) -> Float[Tensor, "E m2 t"]:
    """Ridge fitted on the kept rows, at x and at y."""
    fitted = x.index_select(1, kept), t.index_select(1, kept)
    return linear.ridge_predictions(*fitted, torch.cat([x, y], 1), penalties)


def _labelled_halves(
    representation: Array, labels: Array, test: tuple[Array, Array] | None, generator: torch.Generator
) -> tuple[Pair, Tensor, Tensor, int]:
    """As `_halves`, the labels as numbers from 0 to C - 1, and C."""
    pair, k, truth = _halves(representation, labels, test, labels_of, generator)
    names, index = torch.unique(torch.cat([k, truth], 1), return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"labels: expected two classes or more, found only {names.tolist()}; nothing to tell apart")
    k, truth = index.split([k.shape[1], truth.shape[1]], 1)
    return pair, k, truth, len(names)


def _network_logits(
    x: Tensor, k: Tensor, y: Tensor, classes: int, stopping: Split, generator: torch.Generator, network: dict[str, Any]
) -> Float[Tensor, "E m C"]:
    held_out, kept = stopping
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
    generator = torch.Generator().manual_seed(seed)
    pair, k, truth, classes = _labelled_halves(representation, labels, test, generator)
    held_out, kept = _stopping(k.shape[1], k, generator)
    guesses = []
    for part, x, y in pair.parts():
        for points, names, scored in zip(x.float(), k[part], y.float(), strict=True):
            best = neighbours.chosen_neighbours(points, names, classes, held_out, kept, ks)
            guesses.append(neighbours.neighbour_predictions(points, names, scored, classes, [best])[0])
    return torch.stack(guesses), truth, pair.keep
