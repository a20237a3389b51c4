"""Multinomial logistic regression, batched over ensemble members, its penalty chosen by cross-validation on train."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_theory.analysis.lbfgs import minimise
from ssl_theory.analysis.linear import affine, groups

PENALTIES = (1e-3, 1e-1, 1e1, 1e3)
TOLERANCE = 1e-5  # of a gradient; at 1e-4 an accuracy may still be 1e-3 from the optimum's
BLOCKS = 2**18  # numbers of a member's curvatures, beyond which they are worth neither their memory nor their time
LEAST = -80.0  # of a log-posterior: products with numbers that are not normal take tens of times as long


@torch.no_grad()
def penalised_logits(
    train: Float[Tensor, "E n d"],
    labels: Int[Tensor, "E n"],
    test: Float[Tensor, "E m d"],
    classes: int,
    folds: Sequence[tuple[Int[Tensor, " _"], Int[Tensor, " _"]]],
    penalties: Sequence[float] = PENALTIES,
) -> Float[Tensor, "E m C"]:
    """Logits on test, refitted on all of train with each member's best penalty; single precision.

    Args:
        folds: rows of train to score penalties on, and the others, to fit on; the best has the least mean loss over
            the rows scored in all folds.
    """
    x, y, E = train.float(), test.float(), train.shape[0]
    grid = torch.as_tensor(sorted(penalties, reverse=True), dtype=torch.float64, device=x.device)
    if len(grid) == 1:
        return logits(y, logistic_weights(x, labels, classes, grid.expand(E)), classes)
    found, losses = cross_validated(x, labels, classes, folds, grid)
    best = losses.argmin(0)
    start = found[best, torch.arange(E, device=x.device)]
    return logits(y, logistic_weights(x, labels, classes, grid[best], start=start), classes)


def cross_validated(
    x: Float[Tensor, "E n d"],
    labels: Int[Tensor, "E n"],
    classes: int,
    folds: Sequence[tuple[Int[Tensor, " _"], Int[Tensor, " _"]]],
    grid: Float[Tensor, " P"],
) -> tuple[Float[Tensor, "P E p"], Float[Tensor, "P E"]]:
    """Weights of the last fold at each penalty, and the mean loss over the rows that folds hold out.

    Penalties are tried from the largest down, each from the weights of the one before; in a later fold from those that
    the fold before has at this penalty, most of whose rows are the same. All to the tolerance of the refit: at ten
    times as much a weak penalty's loss may be 8 % off, and another one win.
    """
    found: list[Tensor] = []
    losses = x.new_zeros(len(grid), len(x), dtype=torch.float64)
    for held_out, kept in folds:
        watched, truth = x.index_select(1, held_out), labels.index_select(1, held_out)
        problem, starts, found = Softmax(x.index_select(1, kept), labels.index_select(1, kept), classes), found, []
        for p, alpha in enumerate(grid):
            start = starts[p] if starts else found[-1] if found else None
            found.append(_minimisers(problem, alpha.expand(len(x)), start, TOLERANCE, near=bool(starts)))
            loss = torch.nn.functional.cross_entropy(logits(watched, found[p], classes).mT, truth, reduction="none")
            losses[p] += loss.sum(1, dtype=torch.float64)
    return torch.stack(found), losses / sum(len(held_out) for held_out, _ in folds)


def logits(x: Float[Tensor, "E n d"], flat: Float[Tensor, "E p"], classes: int) -> Float[Tensor, "E n C"]:
    """`x W + b` for weights as `logistic_weights` returns them."""
    return affine(x, *flat.view(x.shape[0], -1, classes).split([x.shape[2], 1], 1))


def logistic_weights(
    x: Float[Tensor, "E n d"],
    labels: Int[Tensor, "E n"],
    classes: int,
    penalties: Float[Tensor, " E"],
    *,
    start: Float[Tensor, "E p"] | None = None,
    tolerance: float = TOLERANCE,
) -> Float[Tensor, "E p"]:
    """`W: (d, C)` and `b: (C,)`, flat, that minimise `sum_i -log softmax(x_i W + b)[k_i] + alpha/2 |W|^2`.

    All members are minimised at once, until no gradient of the mean loss exceeds `tolerance`.
    """
    return _minimisers(Softmax(x, labels, classes), penalties, start, tolerance)


def _minimisers(
    loss: "Softmax",
    penalties: Float[Tensor, " E"],
    start: Float[Tensor, "E p"] | None,
    tolerance: float,
    near: bool = False,
) -> Float[Tensor, "E p"]:
    """As `logistic_weights`; `near`: from a start that needs no rough way first."""
    E, C, q = loss.moment.shape
    at = loss.x.new_zeros(E, q * C) if start is None else start
    rounding = 4 * torch.finfo(loss.x.dtype).eps
    # Twice: curvature near the goal is the better guide for the rest of the way, and worth one matrix a class.
    apart = C > 2 and C * q**2 <= BLOCKS
    rounds = [(100 * tolerance, 1), (tolerance, C if apart else 1)]
    for goal, blocks in rounds[1:] if near else rounds:
        problem = Round(loss, penalties, at, blocks)
        found = minimise(problem, problem.start, tolerance=goal, rounding=rounding, size=problem.size)
        at = problem.plain(found).to(loss.x.dtype)
    return at


class Softmax:
    """Mean log-losses of multinomial regressions, less what is linear in the weights, and their slopes.

    The mean of `log sum_c exp(w_c^T x_i)`, without `w_{k_i}^T x_i`, the mean of which is the product of `moment` and w.
    Rows are held as columns, a last entry 1 for the bias: so sums over classes and both products are fastest. Products
    are in x's own precision, sums over values in float64; members a few at a time.
    """

    def __init__(self, x: Float[Tensor, "E n d"], labels: Int[Tensor, "E n"], classes: int) -> None:
        E, n, d = x.shape
        self.x = x.new_ones(E, d + 1, n)
        self.x[:, :d] = x.mT
        self.parts = groups(E, n * d)
        self.moment = torch.cat([self._moment(self.x[p], labels[p], classes) for p in self.parts])

    @staticmethod
    def _moment(x: Float[Tensor, "e q n"], labels: Int[Tensor, "e n"], classes: int) -> Float[Tensor, "e C q"]:
        one_hot = torch.zeros(len(x), classes, x.shape[2], dtype=x.dtype, device=x.device)
        return _mean_product(one_hot.scatter_(1, labels[:, None], 1.0), x)

    def value_and_slope(
        self, weights: Float[Tensor, "e C q"], part: slice
    ) -> tuple[Float[Tensor, " e"], Float[Tensor, "e C q"]]:
        """Of some of the members."""
        p, partition = self._posterior(weights, part)
        return partition.mean(1, dtype=torch.float64), _mean_product(p, self.x[part])

    def curvature(self, weights: Float[Tensor, "E C q"], blocks: int) -> Float[Tensor, "E b q q"]:
        """`X^T diag(v) X / n`, v each class's p (1 - p), or with one block their mean over classes."""
        found = []
        for part in self.parts:
            p, _ = self._posterior(weights[part], part)
            v = (p * (1 - p)).unflatten(1, (blocks, -1)).mean(2, keepdim=True)
            x = self.x[part]
            found.append(torch.stack([_mean_product(v[:, b] * x, x) for b in range(blocks)], 1))
        return torch.cat(found)

    def _posterior(
        self, weights: Float[Tensor, "e C q"], part: slice
    ) -> tuple[Float[Tensor, "e C n"], Float[Tensor, "e n"]]:
        """Class posteriors and log-partitions; torch's own softmax, made for rows, takes twice as long."""
        p = weights.to(self.x.dtype) @ self.x[part]
        largest = p.amax(1, keepdim=True)
        total = p.sub_(largest).clamp_(min=LEAST).exp_().sum(1, keepdim=True)
        return p.mul_(total.reciprocal()), total.log_().add_(largest)[:, 0]


def _mean_product(p: Float[Tensor, "e C n"], x: Float[Tensor, "e q n"]) -> Float[Tensor, "e C q"]:
    return (p @ x.mT).double() / x.shape[2]


class Round:
    """Value and gradient of penalised multinomial regressions, in coordinates that bend alike in all directions.

    These are `u = L^T w` of each class's weights w (its bias last), with `L L^T = X^T diag(v) X / n + alpha/n` and v
    that class's p (1 - p) at the start, or with one block the mean over classes: the Hessian there, less what joins the
    classes, or tells them apart. A start that solves the problem for a near-by penalty, or for most of the rows, so
    makes L-BFGS several times faster. Members that have not moved since the last call are not computed again.
    """

    def __init__(self, loss: Softmax, penalties: Float[Tensor, " E"], start: Float[Tensor, "E p"], blocks: int) -> None:
        E, C, q = loss.moment.shape
        self.loss, self.shape = loss, (E, blocks, C // blocks, q)
        self.shrink = (penalties.double() / loss.x.shape[2])[:, None, None].repeat(1, 1, q)
        self.shrink[..., -1] = 0
        weights = start.double().view(E, q, C).mT
        # The bias is not penalised, and certain posteriors do not bend: a little keeps the root real.
        self.root = torch.linalg.cholesky(loss.curvature(weights, blocks) + torch.diag_embed(self.shrink + 1e-7))
        eye = torch.eye(q, dtype=torch.float64, device=weights.device)
        self.inverse = torch.linalg.solve_triangular(self.root, eye.expand_as(self.root), upper=False)
        self.start = (weights.reshape(self.shape) @ self.root).flatten(1)
        self.at = torch.full_like(self.start, torch.nan)
        self.value, self.slope = self.at[:, 0].clone(), torch.empty_like(loss.moment)

    def __call__(self, at: Float[Tensor, "E p"]) -> tuple[Float[Tensor, " E"], Float[Tensor, "E p"]]:
        weights, moved = self._weights(at), (at != self.at).any(1).tolist()
        self.at = at
        for part in (p for p in self.loss.parts if any(moved[p])):
            self.value[part], self.slope[part] = self.loss.value_and_slope(weights[part], part)
        penalised = weights * self.shrink
        value = self.value + (weights * (penalised / 2 - self.loss.moment)).sum((1, 2))
        slope = self.slope - self.loss.moment + penalised
        return value, (slope.view(self.shape) @ self.inverse.mT).flatten(1)

    def size(self, gradient: Float[Tensor, "E p"]) -> Float[Tensor, " E"]:
        """The largest entry of a gradient, back in the coordinates of x."""
        return (gradient.view(self.shape) @ self.root.mT).abs().amax((1, 2, 3))

    def plain(self, at: Float[Tensor, "E p"]) -> Float[Tensor, "E p"]:
        """Weights as `logistic_weights` returns them."""
        return self._weights(at).mT.flatten(1)

    def _weights(self, at: Float[Tensor, "E p"]) -> Float[Tensor, "E C q"]:
        return (at.view(self.shape) @ self.inverse).flatten(1, 2)
