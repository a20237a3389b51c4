"""The ensemble axis: one representation `(n, d)` or a stack `(E, n, d)`, numpy or torch.

Every measure of this room reads its arguments through `members` (or `labels_of`, `targets_of`) and answers
through `answer`. A member that holds a NaN or an infinity (a run that diverged) is computed on zeros and
answered with NaN, so that it cannot spoil the others.
"""

import operator
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

Array: TypeAlias = Tensor | np.ndarray
# `float` for one representation, `(E,)` tensor or array for a stack. Any, because a caller knows which it
# asked for.
Score: TypeAlias = Any


def members(
    x: Array, name: str = "representation", *, dtype: torch.dtype | None = torch.float64
) -> Shaped[Tensor, "E n d"]:
    """`x` as a detached `(E, n, d)` tensor on its own device; E = 1 for `(n, d)`; dtype None: that of `x`.

    Raises:
        ValueError: for another number of axes, an empty axis, or no array at all.
    """
    tensor = as_tensor(x, name)
    if tensor.ndim not in (2, 3) or 0 in tensor.shape:
        found = tuple(tensor.shape)
        raise ValueError(f"{name}: expected (n, d) or (E, n, d), none of them empty; found {found}: reshape it")
    tensor = tensor if tensor.ndim == 3 else tensor[None]
    return tensor if dtype is None else tensor.to(dtype)


def views_of(x: Array, name: str = "views", *, dtype: torch.dtype = torch.float64) -> Float[Tensor, "E n J d"]:
    """`x` of J views a data point, `(n, J, d)` or `(E, n, J, d)`, as `(E, n, J, d)`, J >= 2."""
    tensor = as_tensor(x, name)
    if tensor.ndim not in (3, 4) or 0 in tensor.shape:
        found = tuple(tensor.shape)
        raise ValueError(f"{name}: expected (n, J, d) or (E, n, J, d), none empty; found {found}: reshape it")
    if tensor.shape[-2] < 2:
        found = tuple(tensor.shape)
        raise ValueError(f"{name}: expected J >= 2 views on the last axis but one; found {found}: draw more views")
    return (tensor if tensor.ndim == 4 else tensor[None]).to(dtype)


def targets_of(target: Array, like: Tensor, name: str = "target") -> Float[Tensor, "E n t"]:
    """Finite targets `(n,)`, `(n, t)` (shared by all members) or `(E, n, t)` beside `like: (E, n, d)`."""
    t = as_tensor(target, name).to(like.device, torch.float64)
    t = t[:, None] if t.ndim == 1 else t
    t = t[None] if t.ndim == 2 else t
    E, n = like.shape[:2]
    if t.ndim != 3 or t.shape[0] not in (1, E) or t.shape[1] != n or t.shape[2] == 0:
        found = tuple(as_tensor(target, name).shape)
        raise ValueError(
            f"{name}: expected (n,), (n, t) or (E, n, t) with n = {n}, E = {E}; found {found}: give a row for each"
        )
    if not bool(torch.isfinite(t).all()):
        raise ValueError(f"{name}: expected finite values, found NaN or infinity; drop those rows first")
    return t.expand(E, -1, -1)


def labels_of(labels: Array, like: Tensor, name: str = "labels") -> Int[Tensor, "E n"]:
    """Class labels `(n,)` (shared by all members) or `(E, n)` beside `like: (E, n, d)`, whole numbers."""
    k = as_tensor(labels, name).to(like.device)
    E, n = like.shape[:2]
    if k.ndim not in (1, 2) or k.shape[-1] != n or (k.ndim == 2 and k.shape[0] not in (1, E)):
        found = tuple(k.shape)
        raise ValueError(f"{name}: expected (n,) or (E, n) with n = {n}, E = {E}; found {found}: give a class for each")
    if k.is_floating_point() and not bool((torch.isfinite(k) & (k == k.round())).all()):
        raise ValueError(f"{name}: expected whole numbers (classes), found fractions, NaN or infinity; round them")
    return k.to(torch.int64).expand(E, -1)


def as_tensor(x: Array, name: str) -> Tensor:
    """A detached tensor of `x`, real numbers; numpy arrays share their memory, if torch can read and write it."""
    if isinstance(x, Tensor):
        if x.is_complex():
            raise ValueError(f"{name}: expected real numbers, found {x.dtype}; give real and imaginary part as columns")
        return x.detach()
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "fiub":
        found = f"{x.dtype} numbers" if isinstance(x, np.ndarray) else type(x).__name__
        raise ValueError(f"{name}: expected a torch tensor or a numpy array of real numbers, found {found}; convert it")
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        raise ValueError(f"{name}: expected every number, found a mask that hides some; drop those rows first")
    kind = np.float64 if x.dtype.kind == "f" and x.dtype.itemsize > 8 else x.dtype.newbyteorder("=")
    return torch.from_numpy(np.require(np.asarray(x), kind, ["C", "W"]).reshape(x.shape))


def seeded(seed: int) -> torch.Generator:
    """A generator on the CPU, whatever kind of whole number the seed is."""
    try:
        return torch.Generator().manual_seed(operator.index(seed))
    except TypeError:
        raise ValueError(f"seed: expected a whole number, found {seed!r}; give 0, 1, ...") from None


def finite(*stacks: Tensor) -> Bool[Tensor, " E"]:
    """Which members hold finite numbers only, in every one of the stacks `(E, ...)`."""
    return torch.stack([_finite(s) for s in stacks]).all(0)


def _finite(stack: Tensor) -> Bool[Tensor, " E"]:
    """A finite sum has finite terms, and is soon made; where it is not finite, finite terms may have overflowed."""
    if bool(torch.isfinite(stack.flatten(1).sum(1)).all()):
        return torch.ones(len(stack), dtype=torch.bool, device=stack.device)
    return torch.isfinite(stack).flatten(1).all(1)


def cleared(stack: Tensor, keep: Bool[Tensor, " E"]) -> Tensor:
    """`stack` with the members not kept replaced by zeros."""
    if bool(keep.all()):
        return stack
    return torch.where(keep.view(-1, *[1] * (stack.ndim - 1)), stack, torch.zeros_like(stack))


def near_one(r: Float[Tensor, "E n d"], *others: Tensor) -> list[Tensor]:
    """All divided by one power of two a member, which costs no digit, where squares would overflow or vanish."""
    largest = torch.maximum(r.amax((1, 2)), -r.amin((1, 2)))
    if bool(((largest > 1e-70) & (largest < 1e70) | (largest == 0)).all()):
        return [r, *others]
    exponent = -torch.frexp(largest).exponent[:, None, None]
    return [torch.ldexp(x, exponent) for x in (r, *others)]


def answer(value: Tensor, like: Array, keep: Bool[Tensor, " E"] | None = None, *, single: int = 2) -> Score:
    """`value: (E, ...)` in the kind of `like` (numpy or torch), NaN for members not kept.

    The leading axis goes when `like` had none (`like.ndim == single`); a number without axes becomes a
    `float`.
    """
    if keep is not None:
        nan = torch.full_like(value, torch.nan)
        value = torch.where(keep.view(-1, *[1] * (value.ndim - 1)), value, nan)
    value = value[0] if like.ndim == single else value
    if value.ndim == 0:
        return float(value)
    return value if isinstance(like, Tensor) else value.cpu().numpy()


def constant_columns(x: Float[Tensor, "E n d"], precision: torch.dtype) -> Bool[Tensor, "E d"]:
    """Columns that vary by no more than the rounding of `precision`, the type they were computed in."""
    return deviation(x) <= rounding(x, precision)


def varying(x: Float[Tensor, "E n d"], given: Array) -> Bool[Tensor, " E"]:
    """Members of which some column varies by more than the rounding of `given`, which x was read from.

    Of the others nothing is left but noise once their mean is taken: rows full of 0.1 have another mean than 0.1.
    Mostly the first column tells; only where it does not, all are looked at.
    """
    precision = precision_of(given)
    first = ~constant_columns(x[..., :1].contiguous(), precision)[:, 0]
    return first if bool(first.all()) else ~constant_columns(x, precision).all(1)


def rounding(x: Shaped[Tensor, "E n d"], precision: torch.dtype) -> Float[Tensor, "E d"]:
    """The standard deviation that rounding alone may give each column: ten spacings of its largest entry.

    In 16 bits one spacing of its root mean square. Ten are 8 % of the largest entry in bf16, more than one class of 200
    or N(20, 1) deviate by; one is still twice what a constant that falls between two numbers can deviate by. Whole
    numbers and truth values are exact.
    """
    if not precision.is_floating_point:
        return torch.zeros_like(x[:, 0], dtype=torch.float64)
    kind = torch.finfo(precision)
    if kind.bits <= 16:
        return kind.eps * x.double().square().mean(1).sqrt()
    return 10 * kind.eps * torch.maximum(x.amax(1), -x.amin(1))


def deviation(x: Float[Tensor, "E n d"]) -> Float[Tensor, "E d"]:
    """Standard deviation (1/n) of each column, in two passes."""
    return torch.linalg.vector_norm(x - x.mean(1, keepdim=True), dim=1) / x.shape[1] ** 0.5


def precision_of(x: Array) -> torch.dtype:
    """The floating-point type of `x` as it was given."""
    return as_tensor(x, "array").dtype
