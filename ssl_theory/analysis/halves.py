"""Halves of the rows of a representation, one to fit a probe on and one to score it on, standardised by the first."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from ssl_theory.analysis import linear
from ssl_theory.analysis.ensemble import Array, cleared, finite, members, precision_of, rounding

Split = tuple[Tensor, Tensor]
FOLDS = 5


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
    mean, least = x.mean(1, keepdim=True), rounding(train, precision)
    scale = x.sub_(mean).square().mean(1).sqrt()
    over = scale.masked_fill(scale <= least, torch.inf).reciprocal()[:, None]
    return x.mul_(over), y.sub_(mean).mul_(over)


def stopping(n: int, like: Tensor, generator: torch.Generator) -> Split:
    """A random fifth of n rows to choose on, and the rest to fit on."""
    return folds(n, like, generator)[0]


def folds(n: int, like: Tensor, generator: torch.Generator) -> list[Split]:
    """Five random fifths of n rows, or as many as there are rows, each beside all other rows."""
    parts = torch.randperm(n, generator=generator).to(like.device).tensor_split(min(FOLDS, n))
    return [(part, torch.cat([*parts[:i], *parts[i + 1 :]])) for i, part in enumerate(parts)]


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


def paired(
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
