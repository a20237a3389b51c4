"""What every part of a world is: a frozen record that moves, saves and loads as a whole.

A part's fields are tensors, plain JSON values, other parts, or tuples of these. Nothing else is needed to move it to a
device, to write it as a pair (JSON structure, dictionary of tensors) and to read it back bit for bit.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

Number = float | int  # beartype keeps the two apart; the worlds do not
P = TypeVar("P", bound="Part")


@dataclass(frozen=True, eq=False, repr=False)
class Part:
    """A frozen piece of a world; subclasses are registered by name, so that a saved world finds them."""

    registry: ClassVar[dict[str, type[Part]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Part.registry[cls.__name__] = cls

    def to(self: P, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> P:
        """The same part with its tensors on `device` and its floating-point tensors in `dtype`."""
        moved = {field.name: _moved(getattr(self, field.name), device, dtype) for field in _fields(self)}
        return dataclasses.replace(self, **moved)

    def formula(self) -> str:
        """The line that this part contributes to the printed factorisation of a world."""
        return type(self).__name__

    def __repr__(self) -> str:
        inside = ", ".join(f"{field.name}={_brief(getattr(self, field.name))}" for field in _fields(self))
        return f"{type(self).__name__}({inside})"


def pack(value: Any, tensors: dict[str, Tensor], path: str) -> Any:
    """JSON-able description of `value`; its tensors go into `tensors` under dotted paths."""
    if isinstance(value, Tensor):
        tensors[path] = value.detach().cpu().contiguous()
        return {"tensor": path}
    if isinstance(value, Part):
        inside = {
            field.name: pack(getattr(value, field.name), tensors, f"{path}.{field.name}") for field in _fields(value)
        }
        return {"part": type(value).__name__, "fields": inside}
    if isinstance(value, tuple):
        return {"tuple": [pack(item, tensors, f"{path}.{i}") for i, item in enumerate(value)]}
    return {"value": value}


def unpack(description: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    """Inverse of `pack`."""
    if "tensor" in description:
        return tensors[description["tensor"]]
    if "tuple" in description:
        return tuple(unpack(item, tensors) for item in description["tuple"])
    if "part" in description:
        kind = Part.registry.get(description["part"])
        if kind is None:
            raise ValueError(f"expected a part of synthetic, found {description['part']!r}: saved by another version?")
        return kind(**{name: unpack(item, tensors) for name, item in description["fields"].items()})
    return description["value"]


def normal(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Standard normal numbers on the generator's device."""
    return torch.randn(shape, generator=generator, device=generator.device, dtype=dtype)


def require_positive(what: str, value: Number) -> None:
    """One-line refusal of sizes and scales that are not positive."""
    if not value > 0:
        raise ValueError(f"expected a positive {what}, found {value}: choose a value above 0")


def distribution(what: str, weights: Tensor) -> Tensor:
    """Weights normalised along the last axis; those that sum to 1 already are left as they are, bit for bit."""
    total = weights.sum(-1, keepdim=True)
    if bool((weights < 0).any()) or not bool((total > 0).all()):
        raise ValueError(f"expected non-negative weights of {what} with a positive sum, found {weights.tolist()}")
    within = 4 * weights.shape[-1] * torch.finfo(weights.dtype).eps
    return weights if bool(((total - 1).abs() <= within).all()) else weights / total


def _fields(part: Part) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(part) if field.init]


def _moved(value: Any, device: torch.device | str | None, dtype: torch.dtype | None) -> Any:
    if isinstance(value, Tensor):
        # contiguous: the same numbers in another layout may be multiplied in another order
        return value.to(device=device, dtype=dtype if value.is_floating_point() else None).contiguous()
    if isinstance(value, Part):
        return value.to(device, dtype)
    if isinstance(value, tuple):
        return tuple(_moved(item, device, dtype) for item in value)
    return value


def _brief(value: Any) -> str:
    return f"tensor{list(value.shape)}" if isinstance(value, Tensor) else repr(value)
