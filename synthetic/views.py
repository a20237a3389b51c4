"""What a world gives: J views of n data points, with the truth behind each."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor


@dataclass(frozen=True)
class Views:
    """A sample: observations with the latents, content, style and labels that they were made from."""

    x: Float[Tensor, "n J *D"]
    z: Float[Tensor, "n J d"]
    content: Float[Tensor, "n dc"]
    style: Float[Tensor, "n J ds"]
    label: Int64[Tensor, " n"] | None
