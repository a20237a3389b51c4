"""What a world gives: J views of n data points, with the truth behind each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jaxtyping import Float, Int64
from torch import Tensor

if TYPE_CHECKING:
    Observed = Any  # only modalities give tuples: to the type checker, anything goes
else:
    Observed = Float[Tensor, "n J *D"] | tuple[Float[Tensor, "n _"], ...]


@dataclass(frozen=True)
class Views:
    """A sample: observations with the latents, content, style and labels that they were made from.

    Observations of modalities that differ in size come as a tuple of `(n, D_j)`, one a view. Labels are None where
    the world has no classes.
    """

    x: Observed
    z: Float[Tensor, "n J d"]
    content: Float[Tensor, "n dc"]
    style: Float[Tensor, "n J ds"]
    label: Int64[Tensor, " n"] | None
