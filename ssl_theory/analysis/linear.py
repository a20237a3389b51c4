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


@torch.no_grad()
def ridge_predictions(
    train: Float[Tensor, "E n d"],
    target: Float[Tensor, "E n t"],
    test: Float[Tensor, "E m d"],
    penalties: Sequence[float] = PENALTIES,
) -> Float[Tensor, "E m t"]:
    """Predictions of `min_w |t - X w - b|^2 + alpha |w|^2`, alpha chosen per member and target.

    alpha minimises the exact leave-one-out error `sum_i ((t_i - hat t_i) / (1 - h_ii))^2`, with
    `h_ii = 1/n + sum_k u_ik^2 s_k^2 / (s_k^2 + alpha)` (Allen 1974; Golub, Heath, Wahba 1979).
    """
    mean, level = train.mean(1, keepdim=True), target.mean(1, keepdim=True)
    u, s, v = _thin_svd(train - mean)
    projected = u.mT @ (target - level)
    losses = torch.stack([_leave_one_out(u, s, projected, target - level, a) for a in penalties])
    alpha = torch.as_tensor(penalties, dtype=s.dtype, device=s.device)[losses.argmin(0)]
    weights = v @ (projected * s[..., None] / (s[..., None].square() + alpha[:, None, :]))
    return level + (test - mean) @ weights


def _leave_one_out(
    u: Float[Tensor, "E n k"],
    s: Float[Tensor, "E k"],
    projected: Float[Tensor, "E k t"],
    target: Float[Tensor, "E n t"],
    alpha: float,
) -> Float[Tensor, "E t"]:
    shrink = s.square() / (s.square() + alpha)
    leverage = 1 / u.shape[1] + (u.square() @ shrink[..., None])
    residual = target - u @ (shrink[..., None] * projected)
    return (residual / (1 - leverage).clamp(min=1e-9)).square().mean(1)


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
    return x @ v / torch.where(s > 0, s, torch.inf)[:, None, :], s, v


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
    E, n, d = x.shape
    truth = torch.nn.functional.one_hot(labels, classes).to(x.dtype)
    shrink = (penalties / n)[:, None, None]

    def objective(flat: Float[Tensor, "E p"]) -> tuple[Float[Tensor, " E"], Float[Tensor, "E p"]]:
        weight = flat.view(E, d + 1, classes)[:, :d]
        log_p = torch.log_softmax(logits(x, flat, classes), -1)
        excess = log_p.exp() - truth
        slope = torch.cat([x.mT @ excess / n + shrink * weight, excess.mean(1, keepdim=True)], 1)
        nll = -(truth * log_p).sum((1, 2)) / n
        return nll + 0.5 * (shrink * weight.square()).sum((1, 2)), slope.flatten(1)

    start = x.new_zeros(E, (d + 1) * classes) if start is None else start
    return minimise(objective, start, tolerance=tolerance)


def logits(x: Float[Tensor, "E n d"], flat: Float[Tensor, "E p"], classes: int) -> Float[Tensor, "E n C"]:
    """`x W + b` for weights as `logistic_weights` returns them."""
    weight, bias = flat.view(x.shape[0], -1, classes).split([x.shape[2], 1], 1)
    return torch.baddbmm(bias, x, weight)


def penalised_logits(
    train: Float[Tensor, "E n d"],
    labels: Int[Tensor, "E n"],
    test: Float[Tensor, "E m d"],
    classes: int,
    held_out: Int[Tensor, " v"],
    kept: Int[Tensor, " f"],
    penalties: Sequence[float] = LOGISTIC_PENALTIES,
) -> Float[Tensor, "E m C"]:
    """Logits on test, refitted on all of train with each member's best penalty on the held-out rows."""
    E, grid = train.shape[0], torch.as_tensor(penalties, dtype=train.dtype, device=train.device)
    if len(grid) == 1:
        return logits(test, logistic_weights(train, labels, classes, grid.expand(E)), classes)
    x, k, y, truth = (
        part.repeat(len(grid), *[1] * (part.ndim - 1))
        for part in (train[:, kept], labels[:, kept], train[:, held_out], labels[:, held_out])
    )
    found = logistic_weights(x, k, classes, grid.repeat_interleave(E), tolerance=1e-3)
    nll = torch.nn.functional.cross_entropy(logits(y, found, classes).mT, truth, reduction="none").mean(1)
    best = nll.view(-1, E).argmin(0)
    start = found.view(len(grid), E, -1)[best, torch.arange(E, device=train.device)]
    return logits(test, logistic_weights(train, labels, classes, grid[best], start=start), classes)
