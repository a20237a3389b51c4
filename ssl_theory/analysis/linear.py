"""Linear probes, batched over ensemble members: ridge and multinomial logistic regression.

Both choose their penalty on train data alone: ridge by exact leave-one-out residuals, logistic regression on
a held-out fifth of train.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_theory.analysis.lbfgs import minimise

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)
LOGISTIC_PENALTIES = (1e-1, 1e1, 1e3)
CHUNK = 2**18  # numbers


@torch.no_grad()
def ridge_predictions(
    train: Float[Tensor, "E n d"],
    target: Float[Tensor, "E n t"],
    test: Float[Tensor, "E m d"],
    penalties: Sequence[float] = PENALTIES,
) -> Float[Tensor, "E m t"]:
    """Predictions of `min_w |t - X w - b|^2 + alpha |w|^2`, alpha chosen per member and target.

    alpha minimises the exact leave-one-out error `sum_i ((t_i - hat t_i) / (1 - h_ii))^2`, with
    `h_ii = 1/n + sum_k u_ik^2 s_k^2 / (s_k^2 + alpha)` (Allen 1974; Golub, Heath, Wahba 1979). One decomposition
    serves all penalties and targets.
    """
    # Members that fit into the processor's cache together: memory, not arithmetic, is what this costs.
    size = max(1, CHUNK // train[0].numel())
    parts = zip(train.split(size), target.split(size), test.split(size), strict=True)
    return torch.cat([_ridge(*part, penalties) for part in parts])


def _ridge(train: Tensor, target: Tensor, test: Tensor, penalties: Sequence[float]) -> Float[Tensor, "E m t"]:
    mean, level = train.mean(1, keepdim=True), target.mean(1, keepdim=True)
    centred = target - level
    u, s, v = _thin_svd(train - mean)
    projected = u.mT @ centred
    grid = torch.as_tensor(penalties, dtype=s.dtype, device=s.device)
    alpha = grid[_leave_one_out(u, s, projected, centred, grid).argmin(1)]
    weights = v @ (projected * s[..., None] / (s[..., None].square() + alpha[:, None, :]))
    return torch.baddbmm(level - mean @ weights, test, weights)


def _leave_one_out(
    u: Float[Tensor, "E n k"],
    s: Float[Tensor, "E k"],
    projected: Float[Tensor, "E k t"],
    target: Float[Tensor, "E n t"],
    grid: Float[Tensor, " A"],
) -> Float[Tensor, "E A t"]:
    """Mean squared leave-one-out error of every penalty; some penalties at a time, so that memory stays at n 64."""
    n, t = target.shape[1:]
    squares = s.square()[..., None]
    shrink = squares / (squares + grid)
    weight = 1 / (1 - 1 / n - u.square() @ shrink).clamp(min=1e-9)
    losses = []
    for part, own in zip(shrink.split(max(1, 64 // t), 2), weight.split(max(1, 64 // t), 2), strict=True):
        fitted = u @ (part[..., None] * projected[:, :, None]).flatten(2)
        residual = target[:, :, None] - fitted.unflatten(2, (-1, t))
        losses.append(residual.mul_(own[..., None]).square_().mean(1))
    return torch.cat(losses, 1)


def _thin_svd(
    x: Float[Tensor, "E n d"],
) -> tuple[Float[Tensor, "E n k"], Float[Tensor, "E k"], Float[Tensor, "E d k"]]:
    """`x = u diag(s) v^T` by the smaller Gram matrix; directions without variance get u = 0."""
    if x.shape[1] < x.shape[2]:
        v, s, u = _thin_svd(x.mT)
        return u, s, v
    squares, v = torch.linalg.eigh(x.mT @ x)
    s = squares.clamp(min=0).sqrt()
    # Squaring loses half of the digits: below 1e-7 of the largest singular value there is only rounding.
    s = torch.where(s > 1e-7 * s.amax(-1, keepdim=True), s, torch.zeros_like(s))
    return x @ (v / torch.where(s > 0, s, torch.inf)[:, None, :]), s, v


def logistic_weights(
    x: Float[Tensor, "E n d"],
    labels: Int[Tensor, "E n"],
    classes: int,
    penalties: Float[Tensor, " E"],
    *,
    start: Float[Tensor, "E p"] | None = None,
    tolerance: float = 1e-4,
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
    Products with x are in its own precision, sums over rows in float64.
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
        self.x, self.shape = torch.cat([x, torch.ones_like(x[..., :1])], 2), (E, classes, d + 1)
        self.shrink = (penalties.double() / n)[:, None].repeat(1, d + 1)
        self.shrink[:, -1] = 0
        truth = torch.nn.functional.one_hot(labels, classes).to(x.dtype).mT
        self.moment = (truth @ self.x / n).double()
        weights = start.double().view(E, d + 1, classes).mT
        p, _ = self._posterior(weights)
        curvature = (self.x * (p * (1 - p)).mean(1)[..., None]).mT @ self.x / n
        # The bias is not penalised, and certain posteriors do not bend: a little keeps the root real.
        self.root = torch.linalg.cholesky(curvature.double() + torch.diag_embed(self.shrink + 1e-7))
        self.start = (weights @ self.root).flatten(1)

    def __call__(self, at: Float[Tensor, "E p"]) -> tuple[Float[Tensor, " E"], Float[Tensor, "E p"]]:
        weights = self._weights(at)
        p, log_partition = self._posterior(weights)
        penalised = weights * self.shrink[:, None]
        slope = (p @ self.x / self.x.shape[1]).double() - self.moment + penalised
        value = log_partition + (weights * (penalised / 2 - self.moment)).sum((1, 2))
        return value, torch.linalg.solve_triangular(self.root.mT, slope, upper=True, left=False).flatten(1)

    def size(self, gradient: Float[Tensor, "E p"]) -> Float[Tensor, " E"]:
        """The largest entry of a gradient, back in the coordinates of x."""
        return (gradient.view(self.shape) @ self.root.mT).abs().amax((1, 2))

    def plain(self, at: Float[Tensor, "E p"]) -> Float[Tensor, "E p"]:
        """Weights as `logistic_weights` returns them."""
        return self._weights(at).mT.flatten(1)

    def _weights(self, at: Float[Tensor, "E p"]) -> Float[Tensor, "E C q"]:
        return torch.linalg.solve_triangular(self.root, at.view(self.shape), upper=False, left=False)

    def _posterior(self, weights: Float[Tensor, "E C q"]) -> tuple[Float[Tensor, "E C n"], Float[Tensor, " E"]]:
        """Class posteriors, rows last (so that sums over classes are fast), and the mean log-partition."""
        p = weights.to(self.x.dtype) @ self.x.mT
        largest = p.amax(1, keepdim=True)
        p = p.sub_(largest).exp_()
        total = p.sum(1, keepdim=True)
        return p.div_(total), (largest + total.log()).double().mean((1, 2))


def logits(x: Float[Tensor, "E n d"], flat: Float[Tensor, "E p"], classes: int) -> Float[Tensor, "E n C"]:
    """`x W + b` for weights as `logistic_weights` returns them."""
    weight, bias = flat.view(x.shape[0], -1, classes).split([x.shape[2], 1], 1)
    return torch.baddbmm(bias, x, weight)


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
    (fit, k), (watched, truth) = ((x[:, rows], labels[:, rows]) for rows in (kept, held_out))
    found, losses, at = [], [], None
    for alpha in grid:
        at = logistic_weights(fit, k, classes, alpha.expand(len(x)), start=at)
        loss = torch.nn.functional.cross_entropy(logits(watched, at, classes).mT, truth, reduction="none")
        found.append(at)
        losses.append(loss.mean(1))
    return torch.stack(found), torch.stack(losses)
