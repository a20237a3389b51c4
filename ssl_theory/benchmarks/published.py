"""Random resized crops, flips and colour jitter: the augmentations of the published benchmarks, with their
style recorded.

The laws are those of the common libraries (crop of a random share of the area and aspect, multiplicative
jitter of brightness, contrast and saturation, a turn of the hue). Four differences remain, all so that style
is exact and everything is one batch: the crop box is not rounded to whole pixels; its aspect is drawn among
those that fit the frame, where libraries draw area and aspect again until the box fits (so that nearly full
crops are rarer there); the colour operations come in one order for all images, where libraries shuffle it;
and pixels between them are not rounded to bytes. Crops and colours are batched operators of our own,
which tests compare with PIL and torch (crops) and with kornia's functions (colours); nothing but the tests needs
kornia. `speed/benchmarks.py` measures them against images augmented one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.benchmarks import jitter
from ssl_theory.benchmarks.augmentation import Affine, Augmentation, Chain, Planned, Redrawing
from ssl_theory.benchmarks.errors import InputError
from ssl_theory.benchmarks.resampling import resampled

if TYPE_CHECKING:
    from ssl_theory.benchmarks.data import Splits

PIXELS = 2**15  # that a thread colours at a time: what it makes of them stays in its cache


@dataclass(frozen=True)
class Crop:
    """A box of a random share of the area, anywhere in the frame, blown up to the whole frame, and flipped or
    not.

    The share of the area is uniform on `area`, the logarithm of the aspect (width over height, both as shares
    of the frame's) uniform on what fits of `[-log aspect, log aspect]`, the centre uniform on the places
    where the box lies inside.

    Style: `crop_x`, `crop_y` the box's centre in pixels from the image's, `log_area` and `log_aspect`, and
    `flip`, 1 for an image turned upside down (the published flip is vertical), else 0."""

    size: tuple[int, int]  # (H, W)
    area: tuple[float, float] = (0.4, 1.0)
    aspect: float = 4 / 3
    flip: float = 0.5
    names: ClassVar[tuple[str, ...]] = ("crop_x", "crop_y", "log_area", "log_aspect", "flip")

    def __post_init__(self) -> None:
        if not 0 < self.area[0] <= self.area[1] <= 1 or self.aspect < 1 or not 0 <= self.flip <= 1:
            raise ValueError(f"expected 0 < area <= 1, aspect >= 1 and 0 <= flip <= 1; found {self}.")

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Float[Tensor, "*shape 5"]:
        unit = torch.rand(*shape, 5, generator=generator, device=generator.device)
        log_area = (self.area[0] + (self.area[1] - self.area[0]) * unit[..., 2]).log()
        widest = (-log_area).clamp(min=0.0, max=math.log(self.aspect))  # so that neither side exceeds the frame
        log_aspect = widest * (2 * unit[..., 3] - 1)
        room = (1 - self._sides(log_area, log_aspect)) / 2 * unit.new_tensor(self.size[::-1])
        centre = room * (2 * unit[..., :2] - 1)
        flip = (unit[..., 4] < self.flip).to(unit)
        return torch.cat([centre, torch.stack([log_area, log_aspect, flip], -1)], -1)

    def apply(self, images: Float[Tensor, "m C H W"], style: Float[Tensor, "m 5"]) -> Float[Tensor, "m C H W"]:
        """The box blown up to the frame, bilinear; beyond the frame its outermost pixels go on."""
        return self.planned(style.to(images), images.shape)(images, slice(None))

    def planned(self, style: Float[Tensor, "n 5"], shape: Sequence[int]) -> Planned:
        sides = self._sides(style[:, 2], style[:, 3])
        x = _along(shape[-1], sides[:, 0], style[:, 0])
        y = _along(shape[-2], sides[:, 1] * (1 - 2 * style[:, 4]), style[:, 1])
        return lambda images, which: resampled(images, x[which], y[which])

    @staticmethod
    def _sides(log_area: Float[Tensor, "*m"], log_aspect: Float[Tensor, "*m"]) -> Float[Tensor, "*m 2"]:
        """Width and height of the box as shares of the frame's."""
        return torch.stack([log_area + log_aspect, log_area - log_aspect], -1).div(2).exp()


def _along(pixels: int, share: Float[Tensor, " m"], centre: Float[Tensor, " m"]) -> Float[Tensor, "m pixels"]:
    """Where each of so many pixels looks, in pixels from the middle of the first: a box of that share about that
    centre."""
    middle = (pixels - 1) / 2
    offset = torch.arange(pixels, dtype=share.dtype, device=share.device) - middle
    return share[:, None] * offset + (centre[:, None] + middle)


@dataclass(frozen=True)
class Colour:
    """Jitter of brightness, contrast, saturation and hue of RGB images in [0, 1], in this order; after each but
    the last, which cannot leave it, values are cut to [0, 1].

    Style: `brightness`, `contrast`, `saturation` are factors, uniform on `1 +- strength` (not below 0); `hue`
    is an angle in radians, uniform on `+- 2 pi strength`. Contrast is about the mean grey level, saturation
    about each pixel's.

    `compiled`: the same in one loop over the pixels by `torch.compile`, which needs a C++ compiler and some twenty
    seconds the first time; 1.5 to 2 times as fast on a CPU, equal up to rounding."""

    brightness: float = 0.8
    contrast: float = 0.8
    saturation: float = 0.8
    hue: float = 0.2
    compiled: bool = False
    names: ClassVar[tuple[str, ...]] = ("brightness", "contrast", "saturation", "hue")

    def __post_init__(self) -> None:
        if min(self.brightness, self.contrast, self.saturation) < 0 or not 0 <= self.hue <= 0.5:
            raise ValueError(f"strengths must not be negative, hue at most 0.5; found {self}.")

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Float[Tensor, "*shape 4"]:
        unit = 2 * torch.rand(*shape, 4, generator=generator, device=generator.device) - 1
        strength = unit.new_tensor([self.brightness, self.contrast, self.saturation, 2 * math.pi * self.hue])
        low = (1 - strength[:3]).clamp(min=0.0)
        middle, half = (1 + strength[:3] + low) / 2, (1 + strength[:3] - low) / 2
        return torch.cat([middle + half * unit[..., :3], strength[3:] * unit[..., 3:]], -1)

    def apply(self, images: Float[Tensor, "m C H W"], style: Float[Tensor, "m 4"]) -> Float[Tensor, "m C H W"]:
        return self.planned(style.to(images), images.shape)(images, slice(None))

    def planned(self, style: Float[Tensor, "n 4"], shape: Sequence[int]) -> Planned:
        if shape[-3] != 3:
            raise InputError(f"colour jitter needs RGB images; these have {shape[-3]} channel(s): use crop.")
        if self.compiled or style.device.type != "cpu":
            how, style = _compiled() if self.compiled else jitter.jittered, style.contiguous()
            return lambda images, which: how(images, style[which])
        return jitter.Pieces(style, shape[-2] * shape[-1], PIXELS * torch.get_num_threads())


@cache
def _compiled() -> Callable[[Tensor, Tensor], Tensor]:
    """`jitter.jittered` in one loop, where that can be made here."""
    compiled = torch.compile(jitter.jittered, dynamic=True)
    try:
        compiled(torch.zeros(2, 3, 4, 4), torch.ones(2, 4))
    except Exception as error:  # no compiler, no room for what it makes, a platform without it
        raise InputError(
            f"Colour(compiled=True) needs a C++ compiler that torch.compile can use ({type(error).__name__}): "
            "install one, or leave it out."
        ) from error
    return compiled


def _affine(shape: tuple[int, ...]) -> Augmentation:
    """Shifts up to an eighth of the width, turns up to 30 degrees, scale up to 1.25 either way: strong enough
    to move every pixel, too weak to turn a 6 into a 9."""
    return Affine(shift=shape[-1] / 8, rotation=math.pi / 6, log_scale=math.log(1.25))


def _published(shape: tuple[int, ...]) -> Augmentation:
    return Crop((shape[-2], shape[-1]), area=(0.4, 1.0) if shape[0] == 1 else (0.6, 1.0))


def _published_colour(shape: tuple[int, ...]) -> Augmentation:
    return Chain((_published(shape), Colour()))


NAMED: dict[str, Callable[[tuple[int, ...]], Augmentation]] = {
    "affine": _affine,
    "crop": _published,
    "crop-colour": _published_colour,
}


WORLD = "world"


def named(name: str | None, shape: tuple[int, ...]) -> Augmentation:
    """The augmentation of that name for photographs `(C, H, W)`; by default affine for grey, crop and colour for
    RGB images."""
    usual = "affine" if shape[0] == 1 else "crop-colour"
    chosen = usual if name is None else name
    if chosen == WORLD:
        raise InputError("--augmentation world is for images that can be drawn anew, as sprites: choose another one.")
    if chosen not in NAMED:
        raise InputError(f"unknown augmentation {chosen!r}; known: {', '.join(NAMED)}, and {WORLD} for sprites.")
    if chosen == "crop-colour" and shape[0] != 3:
        raise InputError(f"--augmentation crop-colour needs RGB images; these have {shape[0]} channel(s): use crop.")
    return NAMED[chosen](shape)


def chosen(name: str | None, splits: Splits, *, published: bool = False) -> Augmentation | Redrawing:
    """What makes views of this data set: the world that it comes from where it has one and no other augmentation
    is asked for, else the augmentation of that name; where none is asked for the usual or the `published` one."""
    if splits.world is not None and name in (None, WORLD):
        return splits.world
    if published and name is None:
        name = "crop" if splits.shape[0] == 1 else "crop-colour"
    return named(name, splits.shape)


def in_one_loop(how: Augmentation | Redrawing) -> Augmentation | Redrawing:
    """The same with its colours compiled, where it has any; InputError where no compiler can be used here."""
    parts = how.parts if isinstance(how, Chain) else ()
    if not any(isinstance(part, Colour) for part in parts):
        return how
    _compiled()
    return Chain(tuple(replace(part, compiled=True) if isinstance(part, Colour) else part for part in parts))
