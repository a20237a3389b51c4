"""The J views of a data point: the few operations on `z: (*batch, n, J, d)` that every family shares.

Half precision is widened to float32 here and nowhere else: a similarity of unit vectors that is off by one
unit of bfloat16 (0.004) is off by 0.8 nats at temperature 0.005.
"""

import math
from itertools import combinations

import torch
from jaxtyping import Float, Int
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)
ZERO_NORM = 1e-8  # below this length a vector has no direction


def wide(z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """`z` in at least float32: losses are computed, and returned, at that width."""
    return z.float() if z.dtype in (torch.float16, torch.bfloat16) else z


def require_views(z: Float[Tensor, "*batch n J d"], views: int = 2, points: int = 1) -> None:
    """Refuse representations that hold fewer than `views` views, or fewer than `points` data points."""
    if z.ndim < 3 or z.shape[-2] < views:
        raise ValueError(
            f"expected z of shape (*batch, n, J, d) with J >= {views}, found {tuple(z.shape)}: "
            "stack the views on axis -2"
        )
    if z.shape[-3] < points:
        raise ValueError(f"expected at least {points} data points, found {z.shape[-3]}: use a larger batch")


def require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a convention that is not one of the named ones."""
    if value not in choices:
        raise ValueError(f"expected {name} among {', '.join(choices)}, found {value!r}: name one of these")


def require_positive(name: str, value: float | Tensor) -> None:
    """Refuse a float that is not positive; tensors are not looked at, since that would wait for the device."""
    if not isinstance(value, Tensor) and value <= 0:
        raise ValueError(f"expected {name} > 0, found {value}: choose a positive number")


def require_fit(name: str, found: Tensor, z: Tensor, axes: tuple[int, ...] = (-3, -2, -1)) -> None:
    """Refuse what is not as large as `z` on these axes, and would be broadcast to a plausible number."""
    if min(found.ndim, z.ndim) < -min(axes) or any(found.shape[axis] != z.shape[axis] for axis in axes):
        raise ValueError(
            f"{name}: expected the sizes of {tuple(z.shape)} on axes {', '.join(map(str, axes))}, found "
            f"{tuple(found.shape)}: give one for every data point, view and dimension that these axes hold"
        )


def per_member(value: float | Tensor, trailing: int) -> float | Tensor:
    """A hyperparameter of shape `(*batch)`, with `trailing` axes appended so that it broadcasts over data."""
    return value[(..., *[None] * trailing)] if isinstance(value, Tensor) else value


def log(value: float | Tensor) -> float | Tensor:
    """Natural logarithm of a float or of a tensor."""
    return value.log() if isinstance(value, Tensor) else math.log(value)


def unit(z: Float[Tensor, "*shape d"], axis: int = -1) -> Float[Tensor, "*shape d"]:
    """`z / |z|` along an axis; a zero vector stays zero and receives no gradient: it has no direction.

    NaN where the squared length overflows (beyond 1.8e19 in float32): the direction is lost, and is not zero.
    """
    squared = z.square().sum(axis, keepdim=True)
    directed = squared > ZERO_NORM**2
    inverse = torch.where(directed, torch.where(directed, squared, 1).rsqrt(), 0)
    return z * torch.where(squared.isinf(), torch.nan, inverse)


def spread(z: Float[Tensor, "*batch n J d"]) -> Float[Tensor, "*batch n"]:
    """Scatter of the views about their mean, `sum_j |z^j - zbar|^2 = (1/J) sum_{j<k} |z^j - z^k|^2`."""
    return (z - z.mean(-2, keepdim=True)).square().sum((-2, -1))


def pair_distance(z: Float[Tensor, "*batch n J d"]) -> Float[Tensor, "*batch n"]:
    """Squared distance of two views of a data point, averaged over its pairs of views (linear in J)."""
    if z.shape[-2] == 2:
        return (z[..., 0, :] - z[..., 1, :]).square().sum(-1)
    return spread(z) * (2 / (z.shape[-2] - 1))


def pick(z: Tensor, positions: list[int], axis: int) -> Tensor:
    """Those positions along an axis, without an index tensor, whose copy a CUDA graph could not capture."""
    start, count = positions[0], len(positions)
    if positions == list(range(start, start + count)):
        return z.narrow(axis, start, count)
    return torch.stack([z.select(axis, position) for position in positions], axis)


def each_view(index: Int[Tensor, "*shape n"], z: Float[Tensor, "*batch n J d"]) -> Int[Tensor, "*shape m"]:
    """A label for each view of each data point, in the order of `z.flatten(-3, -2)`; refused where data points have
    not each one."""
    if index.ndim > z.ndim - 2 or index.shape[-1:] != z.shape[-3:-2]:
        found = f"{tuple(index.shape)} with z {tuple(z.shape)}"
        raise ValueError(f"expected one label a data point, ({z.shape[-3]},) or (*batch, {z.shape[-3]}), found {found}")
    return index[..., None].expand(*index.shape, z.shape[-2]).flatten(-2)


def view_pairs(views: int) -> tuple[list[int], list[int]]:
    """The pairs `j < k` of views, as two lists."""
    pairs = list(combinations(range(views), 2))
    return [j for j, _ in pairs], [k for _, k in pairs]


def cross_view_product(
    target: Float[Tensor, "*batch n T d"], prediction: Float[Tensor, "*batch n J d"]
) -> Float[Tensor, "*batch n"]:
    """`target^t . prediction^j` averaged over pairs of different views `t != j` (linear in the views).

    The T targets are those of the first T of the J views: J = T in most losses, fewer targets in multi-crop.
    """
    T, J = target.shape[-2], prediction.shape[-2]
    every = (target.sum(-2) * prediction.sum(-2)).sum(-1)
    same = (target * prediction[..., :T, :]).sum((-2, -1))
    return (every - same) / (T * (J - 1))
