"""Views of real images whose style is known: we draw the augmentation's parameters ourselves and record them.

An augmentation is a distribution over style, `p(x | image, s)` with `s` drawn anew for every view, so
augmented images obey the contract of a synthetic world: `sample(n, views=J, generator=g)` gives `x (n, J, C,
H, W)`, `style (n, J, ds)`, `label (n,)`, and whatever trains in a world trains here. Nothing is drawn but
from the generator passed in.

Sprites need no augmentation: what has a `render` (`Redrawing`) draws the image anew in every style, behind the
same contract.

Unlike library augmentations that keep their parameters to themselves, the numbers here are the ground truth
that style decodability is measured against: pixels, radians, natural logarithms of a factor."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from ssl_theory.benchmarks.data import Images

PIECE = 2**20  # values that a thread works on at a time: enough that calls cost little, and what is made is in a cache
SHARE = 1 / 2  # of a GPU's free memory that images may take; networks and views need the rest


@runtime_checkable
class Augmentation(Protocol):
    """A distribution over style and the map that applies it."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Float[Tensor, "*shape ds"]: ...

    def apply(self, images: Float[Tensor, "m C H W"], style: Float[Tensor, "m ds"]) -> Float[Tensor, "m C H W"]: ...


Planned = Callable[[Tensor, slice], Tensor]  # takes some images, and says which of all styles are theirs


@runtime_checkable
class Planning(Protocol):
    """What an augmentation may have besides: `apply` to images that come some at a time, in cache-sized pieces. What
    follows from styles alone is computed for all at once, since a call of torch on a piece costs as much as its work,
    and memory is used again."""

    def planned(self, style: Float[Tensor, "n ds"], shape: Sequence[int]) -> Planned: ...


def planned(how: Augmentation, style: Float[Tensor, "n ds"], shape: Sequence[int]) -> Planned:
    """`how` in these styles; `shape` ends in an image's `(C, H, W)`."""
    if isinstance(how, Planning):
        return how.planned(style, shape)
    return lambda images, which: how.apply(images, style[which])


@runtime_checkable
class Redrawing(Protocol):
    """A distribution over style and the map that draws an image of a class in a style: a world with known truth."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Float[Tensor, "*shape ds"]: ...

    def render(self, labels: Int[Tensor, " m"], style: Float[Tensor, "m ds"]) -> Float[Tensor, "m C H W"]: ...


@dataclass(frozen=True)
class Affine:
    """Random shift, rotation and scale, each uniform on a symmetric interval and independent of the others.

    A point at `p` (pixels from the image's centre, x to the right, y downwards) moves to `exp(log_scale)
    R(rotation) p + shift`; `R(a)` turns the x axis towards the y axis, which is clockwise on a screen.
    Bilinear interpolation, black outside.

    Style: `shift_x`, `shift_y` in pixels, `rotation` in radians, `log_scale` a natural logarithm.

    >>> Affine(shift=1.0).draw((2, 3), torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 4])
    """

    shift: float = 0.0
    rotation: float = 0.0
    log_scale: float = 0.0
    names: ClassVar[tuple[str, ...]] = ("shift_x", "shift_y", "rotation", "log_scale")

    def __post_init__(self) -> None:
        if min(self.shift, self.rotation, self.log_scale) < 0:
            raise ValueError(f"half-widths of the style intervals must not be negative; found {self}.")

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Float[Tensor, "*shape 4"]:
        unit = 2 * torch.rand(*shape, 4, generator=generator, device=generator.device) - 1
        return unit * unit.new_tensor([self.shift, self.shift, self.rotation, self.log_scale])

    def apply(self, images: Float[Tensor, "m C H W"], style: Float[Tensor, "m 4"]) -> Float[Tensor, "m C H W"]:
        style = style.to(images)
        shift, linear = style[:, :2, None], _turn(style[:, 2]) * torch.exp(-style[:, 3])[:, None, None]
        return _warped(images, linear, -(linear @ shift)[..., 0])


def _turn(angle: Float[Tensor, " m"]) -> Float[Tensor, "m 2 2"]:
    """`R(-angle)`, which takes a turned point back."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    return torch.stack([torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)], -2)


def _warped(
    images: Float[Tensor, "m C H W"], linear: Float[Tensor, "m 2 2"], offset: Float[Tensor, "m 2"]
) -> Float[Tensor, "m C H W"]:
    """The output at `p` shows the image at `linear p + offset`, in pixels (x, y) from the centre; bilinear."""
    half = images.new_tensor([images.shape[-1] / 2, images.shape[-2] / 2])
    inward = torch.cat([linear * half, offset[..., None]], dim=-1)  # takes unit coordinates to pixels
    grid = affine_grid(inward / half[:, None], list(images.shape), align_corners=False)
    return grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


@dataclass(frozen=True)
class Chain:
    """One augmentation after another; the style is all of theirs side by side."""

    parts: tuple[Augmentation, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for part in self.parts for name in part.names)

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Float[Tensor, "*shape ds"]:
        return torch.cat([part.draw(shape, generator) for part in self.parts], dim=-1)

    def apply(self, images: Float[Tensor, "m C H W"], style: Float[Tensor, "m ds"]) -> Float[Tensor, "m C H W"]:
        return self.planned(style.to(images), images.shape)(images, slice(None))

    def planned(self, style: Float[Tensor, "n ds"], shape: Sequence[int]) -> Planned:
        own = style.split([len(part.names) for part in self.parts], dim=-1)
        steps = [planned(part, each, shape) for part, each in zip(self.parts, own, strict=True)]
        return lambda images, which: reduce(lambda shown, step: step(shown, which), steps, images)


@dataclass(frozen=True)
class ImageViews:
    """J views a data point: `x (n, J, C, H, W)` in [0, 1], `style (n, J, ds)` in natural units, `label
    (n,)`."""

    x: Float[Tensor, "n J C H W"]
    style: Float[Tensor, "n J ds"]
    label: Int[Tensor, " n"]


@dataclass(frozen=True)
class AugmentedImages:
    """The empirical distribution of `images` seen through `augmentation`: a world whose style is known.

    >>> world = AugmentedImages(load("digits").train, Affine(shift=1.0))
    >>> world.sample(32, views=2, generator=torch.Generator().manual_seed(0)).x.shape
    torch.Size([32, 2, 1, 12, 12])
    """

    images: Images
    augmentation: Augmentation | Redrawing
    place: torch.device | None = None  # where views are made, where that is not where the images are

    @property
    def names(self) -> tuple[str, ...]:
        """Of the recorded style, in the order of its last axis."""
        return self.augmentation.names

    @property
    def device(self) -> torch.device:
        """Where views are made, and generators must draw."""
        return self.images.pixels.device if self.place is None else self.place

    def to(self, device: torch.device | str) -> AugmentedImages:
        """The same views made there. The images go along if they fit; else they stay, and those drawn are sent."""
        place = torch.device(device)
        images = self.images.to(place) if self.images.size <= SHARE * _room(place) else self.images
        return AugmentedImages(images, self.augmentation, place)

    def sample(self, n: int, *, views: int = 2, generator: torch.Generator) -> ImageViews:
        """`n` images drawn with replacement, `views` independent augmentations of each."""
        index = torch.randint(len(self.images), (n,), generator=generator, device=generator.device)
        return self.views_of(index, views=views, generator=generator)

    def views_of(self, index: Int[Tensor, " n"], *, views: int, generator: torch.Generator) -> ImageViews:
        """`views` independent augmentations of the images at `index`, in that order."""
        if views < 1:
            raise ValueError(f"at least 1 view a data point is needed; found views={views}.")
        chosen = self.images[index.to(self.images.labels.device)].to(self.device)
        style = self.augmentation.draw((len(index), views), generator).to(self.device)
        with _exact_products():
            return ImageViews(_seen(self.augmentation, chosen, style), style, chosen.labels)

    def every(self, *, views: int, generator: torch.Generator) -> ImageViews:
        """`views` augmentations of every image, in order: what an evaluation needs."""
        return self.views_of(torch.arange(len(self.images)), views=views, generator=generator)


def _room(device: torch.device) -> float:
    """Free bytes of a GPU; of other devices nothing is asked."""
    return float(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else math.inf


@contextmanager
def _exact_products() -> Iterator[None]:
    """While it lasts, matrix products in full single precision, whatever networks were given: where coordinates are
    rounded to bfloat16 or TF32, a view is not what its style says."""
    backends: tuple[Any, ...] = (torch.backends.mkldnn, torch.backends.cuda)
    products = [backend.matmul for backend in backends]
    before = [each.fp32_precision for each in products]
    try:
        for each in products:
            each.fp32_precision = "ieee"
        yield
    finally:
        for each, precision in zip(products, before, strict=True):
            each.fp32_precision = precision


def _seen(how: Augmentation | Redrawing, images: Images, style: Float[Tensor, "n J ds"]) -> Float[Tensor, "n J C H W"]:
    """Every image in each of its styles, some images at a time."""
    n, views = style.shape[:2]
    x = torch.empty(n, views, *images.pixels.shape[1:], device=images.pixels.device)
    pieces = _pieces(x)
    if isinstance(how, Redrawing):
        for piece in pieces:
            drawn = how.render(images.labels[piece].repeat_interleave(views), style[piece].flatten(0, 1))
            x[piece] = drawn.unflatten(0, (-1, views))
        return x
    show = planned(how, style.transpose(0, 1).flatten(0, 1), x.shape)  # view by view: an image is read once for all
    plain = torch.empty_like(x[pieces[0], 0]) if pieces else x  # once: fresh memory costs more than filling it
    for piece in pieces:
        shown = plain[: piece.stop - piece.start].copy_(images.pixels[piece]).div_(255)
        for view in range(views):
            x[piece, view] = show(shown, slice(view * n + piece.start, view * n + piece.stop))
    return x


def _pieces(x: Float[Tensor, "n J C H W"]) -> list[slice]:
    """All at once on a GPU, which hides the way to its memory; on the CPU as much as stays in the cache."""
    n = len(x)
    most = PIECE * torch.get_num_threads() if x.device.type == "cpu" else x.numel()
    length = max(1, most // max(1, x[:1, :1].numel()))
    return [slice(start, min(n, start + length)) for start in range(0, n, length)]


def unit(pixels: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Bytes to [0, 1], in single precision."""
    return pixels.to(torch.float32) / 255
