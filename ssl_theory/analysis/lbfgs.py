"""Batched L-BFGS: many small smooth convex problems side by side, each with its own history and step."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Objective = Callable[[Float[Tensor, "B p"]], tuple[Float[Tensor, " B"], Float[Tensor, "B p"]]]
Pair = tuple[Tensor, Tensor, Tensor]


def _largest(gradient: Float[Tensor, "B p"]) -> Float[Tensor, " B"]:
    return gradient.abs().amax(1)


@torch.no_grad()
def minimise(
    objective: Objective,
    start: Float[Tensor, "B p"],
    *,
    tolerance: float,
    steps: int = 300,
    memory: int = 10,
    rounding: float = 0.0,
    size: Callable[[Float[Tensor, "B p"]], Float[Tensor, " B"]] = _largest,
) -> Float[Tensor, "B p"]:
    """Minimisers of B independent problems (Liu, Nocedal 1989), step length by halving (Armijo 1966).

    Args:
        objective: values `(B,)` and gradients `(B, p)` at `(B, p)`; row b may depend on row b alone.
        tolerance: a row is done when its gradient is no larger; it then moves no more.
        steps: most steps.
        memory: pairs of steps and gradient changes remembered.
        rounding: relative error of a value; a step that raises it by no more is none to halve.
        size: of a gradient, which `tolerance` is compared with; its largest entry.
    """
    at = start
    value, gradient = objective(at)
    pairs: list[Pair] = []
    for _ in range(steps):
        going = size(gradient) > tolerance
        if not bool(going.any()):
            break
        direction = -_inverse_hessian_times(gradient, pairs) * going[:, None]
        if not pairs:
            direction = direction / gradient.norm(dim=1, keepdim=True).clamp(min=1.0)
        moved, value, new = _halving(objective, at, value, gradient, direction, rounding)
        pairs = [*pairs, _pair(moved - at, new - gradient)][-memory:]
        if not bool(((moved != at).any(1) & going).any()):
            break
        at, gradient = moved, new
    return at


def _pair(step: Float[Tensor, "B p"], change: Float[Tensor, "B p"]) -> Pair:
    """A step, the change of the gradient, and one over their product; 0 where the curvature is not positive."""
    curvature = (step * change).sum(1, keepdim=True)
    return step, change, torch.where(curvature > 0, 1 / curvature, torch.zeros_like(curvature))


def _inverse_hessian_times(gradient: Tensor, pairs: list[Pair]) -> Float[Tensor, "B p"]:
    """The two-loop recursion; pairs without positive curvature are passed over, row by row."""
    q, shares = gradient, []
    for s, y, rho in reversed(pairs):
        a = rho * torch.linalg.vecdot(s, q)[:, None]
        q = torch.addcmul(q, a, y, value=-1)
        shares.append(a)
    if pairs:
        s, y, rho = pairs[-1]
        q = torch.where(rho > 0, 1 / (rho * y.square().sum(1, keepdim=True)), torch.ones_like(rho)) * q
    for (s, y, rho), a in zip(pairs, reversed(shares), strict=True):
        q = torch.addcmul(q, s, a - rho * torch.linalg.vecdot(y, q)[:, None])
    return q


def _halving(
    objective: Objective, at: Tensor, value: Tensor, gradient: Tensor, direction: Tensor, rounding: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The first of the steps 1, 1/2, 1/4, ... that lowers the value enough, row by row; none if none does.

    Where values differ by rounding only, a slope that has not turned round says that they fall (Hager, Zhang 2005).
    """
    slope = (gradient * direction).sum(1)
    length, noise = torch.ones_like(value), rounding * value.abs()
    for _ in range(30):
        moved = at + length[:, None] * direction
        now, new = objective(moved)
        lower = now <= value + noise + 1e-4 * length * slope
        level = (now <= value + 100 * noise) & ((new * direction).sum(1) <= -(1 - 2e-4) * slope)
        short: Bool[Tensor, " B"] = ~(lower | level)
        if not bool(short.any()):
            return moved, now, new
        length = torch.where(short, length / 2, length)
    stay = short[:, None]
    return torch.where(stay, at, moved), torch.where(short, value, now), torch.where(stay, gradient, new)
