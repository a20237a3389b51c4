"""Linear probes, batched over ensemble members: ridge and multinomial logistic regression.

Both choose their penalty on train data alone: ridge by generalised cross-validation, logistic regression on a held-out
fifth of train.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from ssl_theory.analysis.lbfgs import minimise

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)
LOGISTIC_PENALTIES = (1e-1, 1e1, 1e3)
LOGISTIC_TOLERANCE = 1e-5  # of a gradient; at 1e-4 an accuracy may still be 1e-3 from the optimum's
CHUNK = 2**18  # numbers
ROWS = 1024


@torch.no_grad()
def ridge_predictions(
    train: Shaped[Tensor, "E n d"],
    target: Float[Tensor, "E n t"],
    test: Shaped[Tensor, "E m d"],
    penalties: Sequence[float] = PENALTIES,
    rounding: Float[Tensor, "E d"] | None = None,
) -> Float[Tensor, "E m t"]:
    """Predictions of ridge as in `ridge_weights`, in double precision."""
    found = []
    for p in groups(len(train), train[0].numel()):
        w, b = ridge_weights(train[p], target[p], penalties, None if rounding is None else rounding[p])
        found.append(torch.cat([affine(rows.double(), w, b) for rows in test[p].split(ROWS, 1)], 1))
    return torch.cat(found)


def groups(members: int, numbers: int) -> list[slice]:
    """Members, `numbers` each, as many together as fit into the processor's cache.

    Memory, not arithmetic, is what a pass over a whole ensemble costs.
    """
    size = max(1, CHUNK // max(1, numbers))
    return [slice(first, min(first + size, members)) for first in range(0, members, size)]


@torch.no_grad()
def ridge_weights(
    train: Shaped[Tensor, "E n d"],
    target: Float[Tensor, "E n t"],
    penalties: Sequence[float] = PENALTIES,
    rounding: Float[Tensor, "E d"] | None = None,
) -> tuple[Float[Tensor, "E d t"], Float[Tensor, "E 1 t"]]:
    """`w` and `b` of `min |t - X w - b|^2 + alpha |w|^2`; alpha chosen per member and target as in `shrunk`.

    With `rounding` the penalty is that of standardised columns, `alpha |diag(s) w|^2`, s their standard deviations, and
    w is 0 where s is no larger than it. That costs no pass over the rows.
    """
    n, d = train.shape[1:]
    x = train.to(torch.float64, copy=True)
    mean, level = x.mean(1, keepdim=True), target.mean(1, keepdim=True)
    x, t = x.sub_(mean), target - level
    scatter = x.mT @ x if n >= d else None
    over = torch.ones_like(mean) if rounding is None else _reciprocals(x, scatter, rounding)[:, None]
    if scatter is not None:
        squares, v = torch.linalg.eigh(over.mT * scatter * over)
    else:
        scaled = x * over
        squares, u = torch.linalg.eigh(scaled @ scaled.mT)
        v = scaled.mT @ (u * positive(squares).rsqrt()[:, None])
    weights, _ = shrunk(squares, v, over.mT * (t.mT @ x).mT, t.square().sum(1), n, penalties)
    weights = over.mT * weights
    return weights, level - mean @ weights


def _reciprocals(
    x: Float[Tensor, "E n d"], scatter: Float[Tensor, "E d d"] | None, rounding: Float[Tensor, "E d"]
) -> Float[Tensor, "E d"]:
    """One over the standard deviation of centred columns; 0 where that is no larger than rounding."""
    squares = x.square().sum(1) if scatter is None else scatter.diagonal(dim1=1, dim2=2)
    deviation = (squares / x.shape[1]).sqrt()
    return deviation.masked_fill(deviation <= rounding, torch.inf).reciprocal()


def shrunk(
    squares: Float[Tensor, "E k"],
    v: Float[Tensor, "E d k"],
    cross: Float[Tensor, "E d t"],
    total: Float[Tensor, "E t"],
    n: int,
    penalties: Sequence[float],
) -> tuple[Float[Tensor, "E d t"], Float[Tensor, "E t"]]:
    """Ridge weights from `X^T X = v diag(s^2) v^T`, `X^T t` and `|t|^2` alone, of n centred rows; and their error.

    alpha minimises that error, generalised cross-validation, which is leave-one-out that does not depend on the axes of
    the rows (Golub, Heath, Wahba 1979): `n |t - hat t|^2 / (n - 1 - sum_k s_k^2 / (s_k^2 + alpha))^2`, the 1 being the
    offset's. So neither penalties nor targets cost a pass over the rows. Where n - 1 = d, and only there, it is known
    to take the smallest alpha now and then. Fits that leave nothing to judge by (0 / 0) are taken last.
    """
    squares, along = positive(squares), v.mT @ cross
    projected = along * squares.rsqrt()[..., None]  # u^T t
    outside = (total - projected.square().sum(1)).clamp(min=0)  # what no weights reach
    grid = torch.as_tensor(penalties, dtype=squares.dtype, device=squares.device)
    left = (grid[:, None] / (squares[:, None] + grid[:, None])).masked_fill(squares.isinf()[:, None], 1.0)  # (E, A, k)
    residual = left.square() @ projected.square() + outside[:, None]
    errors = n * residual / (n - 1 - squares.shape[1] + left.sum(-1, keepdim=True)).square()
    error, best = errors.nan_to_num(nan=torch.inf).min(1)
    return v @ (along / (squares[..., None] + grid[best][:, None])), error


def positive(squares: Float[Tensor, "E k"]) -> Float[Tensor, "E k"]:
    """Squared singular values, infinite where a Gram matrix, which has half of the digits, shows only rounding."""
    return squares.masked_fill(squares <= 1e-14 * squares.amax(-1, keepdim=True).clamp(min=1e-300), torch.inf)


def affine(
    x: Float[Tensor, "E n d"], weights: Float[Tensor, "E d o"], offset: Float[Tensor, "E 1 o"]
) -> Float[Tensor, "E n o"]:
    """`x w + b`, rows last while it is made: products with few columns are several times slower than with few rows."""
    return (weights.mT @ x.mT).add_(offset.mT).mT


def logistic_weights(
    x: Float[Tensor, "E n d"],
    labels: Int[Tensor, "E n"],
    classes: int,
    penalties: Float[Tensor, " E"],
    *,
    start: Float[Tensor, "E p"] | None = None,
    tolerance: float = LOGISTIC_TOLERANCE,
) -> Float[Tensor, "E p"]:
    """`W: (d, C)` and `b: (C,)`, flat, that minimise `sum_i -log softmax(x_i W + b)[k_i] + alpha/2 |W|^2`.

    All members are minimised at once, until no gradient of the mean loss exceeds `tolerance`.
    """
    at = x.new_zeros(len(x), (x.shape[2] + 1) * classes) if start is None else start
    rounding = 4 * torch.finfo(x.dtype).eps
    # Twice: the curvature near the goal is the better guide for the rest of the way.
    for near in (10 * tolerance, tolerance):
        problem = Softmax(x, labels, classes, penalties, at)
        found = minimise(problem, problem.start, tolerance=near, rounding=rounding, size=problem.size)
        at = problem.plain(found).to(x.dtype)
    return at


class Softmax:
    """Value and gradient of penalised multinomial regressions, in coordinates that bend alike in all directions.

    These are `u = L^T w` of each class's weights w (its bias last), with `L L^T = X^T diag(v) X / n + alpha/n` and v
    the mean over classes of p (1 - p) at the start: the Hessian there, less what tells one class from another. A start
    that solves the problem for a near-by penalty, or for most of the rows, so makes L-BFGS several times faster.
    Products with x are in its own precision, sums over rows in float64; members a few at a time, those that have not
    moved since the last call not at all.
    """

    def __init__(
        self,
        x: Float[Tensor, "E n d"],
        labels: Int[Tensor, "E n"],
        classes: int,
        penalties: Float[Tensor, " E"],
        start: Float[Tensor, "E p"],
    ) -> None:
        E, n, d = x.shape
        self.x, self.shape = x, (E, classes, d + 1)
        self.parts = groups(E, n * d)
        self.shrink = (penalties.double() / n)[:, None].repeat(1, d + 1)
        self.shrink[:, -1] = 0
        weights = start.double().view(E, d + 1, classes).mT
        self.moment = torch.cat([self._moment(x[p], labels[p], classes) for p in self.parts])
        curvature = torch.cat([self._curvature(weights[p], x[p]) for p in self.parts])
        # The bias is not penalised, and certain posteriors do not bend: a little keeps the root real.
        self.root = torch.linalg.cholesky(curvature + torch.diag_embed(self.shrink + 1e-7))
        eye = torch.eye(d + 1, dtype=torch.float64, device=x.device)
        self.inverse = torch.linalg.solve_triangular(self.root, eye.expand_as(self.root), upper=False)
        self.start = (weights @ self.root).flatten(1)
        self.at = torch.full_like(self.start, torch.nan)
        self.value, self.slope = self.at[:, 0].clone(), torch.empty_like(weights)

    def __call__(self, at: Float[Tensor, "E p"]) -> tuple[Float[Tensor, " E"], Float[Tensor, "E p"]]:
        weights, moved = self._weights(at), (at != self.at).any(1).tolist()
        self.value, self.slope, self.at = self.value.clone(), self.slope.clone(), at
        for part in (p for p in self.parts if any(moved[p])):
            p, self.value[part] = self._posterior(weights[part], self.x[part])
            self.slope[part] = _with_ones(p, self.x[part])
        penalised = weights * self.shrink[:, None]
        value = self.value + (weights * (penalised / 2 - self.moment)).sum((1, 2))
        slope = self.slope - self.moment + penalised
        return value, (slope @ self.inverse.mT).flatten(1)

    def size(self, gradient: Float[Tensor, "E p"]) -> Float[Tensor, " E"]:
        """The largest entry of a gradient, back in the coordinates of x."""
        return (gradient.view(self.shape) @ self.root.mT).abs().amax((1, 2))

    def plain(self, at: Float[Tensor, "E p"]) -> Float[Tensor, "E p"]:
        """Weights as `logistic_weights` returns them."""
        return self._weights(at).mT.flatten(1)

    def _weights(self, at: Float[Tensor, "E p"]) -> Float[Tensor, "E C q"]:
        return at.view(self.shape) @ self.inverse

    @staticmethod
    def _moment(x: Float[Tensor, "e n d"], labels: Int[Tensor, "e n"], classes: int) -> Float[Tensor, "e C q"]:
        return _with_ones(torch.nn.functional.one_hot(labels, classes).to(x.dtype).mT, x)

    @staticmethod
    def _curvature(weights: Float[Tensor, "e C q"], x: Float[Tensor, "e n d"]) -> Float[Tensor, "e q q"]:
        """`X^T diag(v) X / n`, the ones of the bias last."""
        p, _ = Softmax._posterior(weights, x)
        v = (p * (1 - p)).mean(1, keepdim=True)
        last = _with_ones(v, x)
        within = ((x * v.mT).mT @ x / x.shape[1]).double()
        return torch.cat([torch.cat([within, last[..., :-1]], 1), last.mT], 2)

    @staticmethod
    def _posterior(
        weights: Float[Tensor, "e C q"], x: Float[Tensor, "e n d"]
    ) -> tuple[Float[Tensor, "e C n"], Float[Tensor, " e"]]:
        """Class posteriors, rows last (so that sums over classes are fast), and the mean log-partition."""
        weights = weights.to(x.dtype)
        scores = (weights[..., :-1] @ x.mT).add_(weights[..., -1:])
        p, largest = scores.softmax(1), scores.amax(1)
        return p, (largest - p.amax(1).log()).mean(1, dtype=torch.float64)


def _with_ones(p: Float[Tensor, "e C n"], x: Float[Tensor, "e n d"]) -> Float[Tensor, "e C q"]:
    """Mean over rows of p times x, and of p: the products of p with x and a column of ones."""
    return torch.cat([(p @ x).double(), p.sum(2, keepdim=True, dtype=torch.float64)], 2) / x.shape[1]


def logits(x: Float[Tensor, "E n d"], flat: Float[Tensor, "E p"], classes: int) -> Float[Tensor, "E n C"]:
    """`x W + b` for weights as `logistic_weights` returns them."""
    return affine(x, *flat.view(x.shape[0], -1, classes).split([x.shape[2], 1], 1))


@torch.no_grad()
def penalised_logits(
    train: Float[Tensor, "E n d"],
    labels: Int[Tensor, "E n"],
    test: Float[Tensor, "E m d"],
    classes: int,
    held_out: Int[Tensor, " v"],
    kept: Int[Tensor, " f"],
    penalties: Sequence[float] = LOGISTIC_PENALTIES,
) -> Float[Tensor, "E m C"]:
    """Logits on test, refitted on all of train with each member's best penalty on the held-out rows; single precision.

    Penalties are tried from the largest down, each from the weights of the one before; the refit begins at those of the
    best.
    """
    x, y, E = train.float(), test.float(), train.shape[0]
    grid = torch.as_tensor(sorted(penalties, reverse=True), dtype=torch.float64, device=x.device)
    if len(grid) == 1:
        return logits(y, logistic_weights(x, labels, classes, grid.expand(E)), classes)
    found, losses = _path(x, labels, classes, held_out, kept, grid)
    best = losses.argmin(0)
    start = found[best, torch.arange(E, device=x.device)]
    return logits(y, logistic_weights(x, labels, classes, grid[best], start=start), classes)


def _path(
    x: Float[Tensor, "E n d"],
    labels: Int[Tensor, "E n"],
    classes: int,
    held_out: Int[Tensor, " v"],
    kept: Int[Tensor, " f"],
    grid: Float[Tensor, " P"],
) -> tuple[Float[Tensor, "P E p"], Float[Tensor, "P E"]]:
    """Weights fitted on the kept rows at each penalty in turn, and their loss on the held-out ones."""
    (fit, k), (watched, truth) = ((x.index_select(1, r), labels.index_select(1, r)) for r in (kept, held_out))
    found, losses, at = [], [], None
    for alpha in grid:
        at = logistic_weights(fit, k, classes, alpha.expand(len(x)), start=at)
        loss = torch.nn.functional.cross_entropy(logits(watched, at, classes).mT, truth, reduction="none")
        found.append(at)
        losses.append(loss.mean(1))
    return torch.stack(found), torch.stack(losses)
