"""Sprites as a data set: images whose content and style are known exactly, and which can be drawn anew.

A sprite's content is its shape, which is its label; its style is its pose and light. A photograph has to be
augmented to get a second view of the same content; a sprite is drawn again in another style, so the world
itself takes the augmentation's place, and what it draws is the model of the theory to the letter. The images
of a data set are one drawing each, kept in bytes, with that drawing's style as their factors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_theory.benchmarks.data import Images
from synthetic.sprites import SpriteWorld

IMAGES, SEED = 12_000, 0


@dataclass(frozen=True)
class Sprites:
    """The distribution over style of `SpriteWorld` (every factor uniform on its range and independent), and the
    map that draws a shape in a style. Styles are in the world's units: half image widths, radians, shares of
    full light. The rotation of a disc or a ring cannot be seen, so no representation tells all of it.

    >>> Sprites().draw((2, 3), torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 6])
    """

    size: int = 32

    @cached_property
    def world(self) -> SpriteWorld:
        return SpriteWorld(size=self.size)

    @property
    def names(self) -> tuple[str, ...]:
        return self.world.style_names

    @property
    def classes(self) -> int:
        return self.world.classes

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Float[Tensor, "*shape ds"]:
        unit = torch.rand(*shape, len(self.names), generator=generator, device=generator.device)
        low, high = unit.new_tensor([getattr(self.world, name) for name in self.names]).unbind(1)
        return torch.lerp(low, high, unit)

    def render(self, labels: Int[Tensor, " m"], style: Float[Tensor, "m ds"]) -> Float[Tensor, "m C H W"]:
        return self.world.render(torch.cat([labels[:, None].to(style), style], dim=1))

    def drawn(self, n: int = IMAGES, seed: int = SEED) -> Images:
        """`n` images of as many of every shape as can be, each in a style of its own, which are its factors."""
        labels = torch.arange(n) % self.classes
        style = self.draw((n,), torch.Generator().manual_seed(seed))
        pixels = (self.render(labels, style) * 255).round().to(torch.uint8)
        return Images(pixels, labels, factors=style)
