"""Ridge regression, batched over ensemble members, its penalty chosen on train data by generalised cross-validation."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)
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
