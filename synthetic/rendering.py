"""Rendering sprites: outlines as signed distances, and pixels from factors.

A pixel at signed distance d from an outline is covered by `clamp(1/2 - d, 0, 1)`, d in pixels: exact for
straight outlines along the pixel grid, cheap to batch, differentiable. Images are grouped by shape, so that
each pays for its own formula only, and are drawn in pieces that stay in the cache (see `speed/sprites.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from types import MappingProxyType
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

# -- outlines ------------------------------------------------------------------------------------------------
# distance(u, v, R) takes the coordinates u, v of pixels in the sprite's own frame, v upwards, and its
# circumscribed radius R, all in one unit; it is negative inside. Corners are mitred (the largest of the
# distances to the lines that meet there), which leaves the outline itself exact.

Distance = Callable[[Tensor, Tensor, Tensor], Tensor]

SIN18, COS18 = math.sin(math.pi / 10), math.cos(math.pi / 10)
SIN54, COS54 = math.sin(0.3 * math.pi), math.cos(0.3 * math.pi)
BITE, OFFSET = 0.8, 0.45  # radius and offset of the circle cut out of a crescent, in circumscribed radii


@dataclass(frozen=True)
class Shape:
    """An outline; its `area` in units of R^2; the `order` of its rotational symmetry (0: any angle)."""

    distance: Distance
    area: float
    order: int


def disc(u: Tensor, v: Tensor, R: Tensor) -> Tensor:
    return _norm(u, v) - R


def ring(u: Tensor, v: Tensor, R: Tensor) -> Tensor:
    """Its hole has half the radius."""
    return (_norm(u, v) - 0.75 * R).abs() - 0.25 * R


def square(u: Tensor, v: Tensor, R: Tensor) -> Tensor:
    return torch.maximum(u.abs(), v.abs()) - R / math.sqrt(2)


def bar(u: Tensor, v: Tensor, R: Tensor) -> Tensor:
    """Rectangle, three times as wide as high."""
    half = R / math.sqrt(10)
    return torch.maximum(u.abs() - 3 * half, v.abs() - half)


def cross(u: Tensor, v: Tensor, R: Tensor) -> Tensor:
    """Two bars at right angles: the larger coordinate within the length, the smaller one within the width."""
    u, v, half = u.abs(), v.abs(), R / math.sqrt(10)
    return torch.maximum(torch.maximum(u, v) - 3 * half, torch.minimum(u, v) - half)


def triangle(u: Tensor, v: Tensor, R: Tensor) -> Tensor:
    """Equilateral, a corner up; the left half is folded onto the right one."""
    return torch.maximum(torch.add(v / 2, u.abs(), alpha=math.sqrt(3) / 2), -v) - R / 2


def star(u: Tensor, v: Tensor, R: Tensor) -> Tensor:
    """Pentagram, a tip up: outside at most one of five lines, so the second largest of five distances counts.

    The left half is folded onto the right one, so the mirror images (`far_`) of two lines lie further inside.
    """
    u = u.abs()
    upper, far_upper = torch.add(v * SIN18, u, alpha=COS18), torch.add(v * SIN18, u, alpha=-COS18)
    lower, far_lower = torch.add(v * -SIN54, u, alpha=COS54), torch.add(v * -SIN54, u, alpha=-COS54)
    but_one_oblique = torch.minimum(torch.maximum(lower, far_upper), torch.maximum(upper, far_lower))
    second = torch.minimum(torch.maximum(upper, lower), torch.maximum(v, but_one_oblique))
    return second - R * SIN18


def crescent(u: Tensor, v: Tensor, R: Tensor) -> Tensor:
    """Disc less a smaller disc to its right."""
    return torch.maximum(_norm(u, v) - R, BITE * R - _norm(u - OFFSET * R, v))


def crescent_area() -> float:
    """Unit disc less the lens that it shares with the circle cut out."""
    chord = (1 + OFFSET**2 - BITE**2) / (2 * OFFSET)  # its distance from the centre of the disc
    rest = (OFFSET - chord) / BITE
    near = math.acos(chord) - chord * math.sqrt(1 - chord**2)
    far = BITE**2 * (math.acos(rest) - rest * math.sqrt(1 - rest**2))
    return math.pi - near - far


def _norm(u: Tensor, v: Tensor) -> Tensor:
    return torch.addcmul(u * u + 1e-12, v, v).sqrt()  # 1e-6 of a pixel keeps the gradient at the centre finite


SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        "disc": Shape(disc, math.pi, 0),
        "square": Shape(square, 2.0, 4),
        "triangle": Shape(triangle, 3 * math.sqrt(3) / 4, 3),
        "star": Shape(star, 5 * math.sin(math.pi / 5) * SIN18 / SIN54, 5),
        "cross": Shape(cross, 2.0, 4),
        "ring": Shape(ring, math.pi * 3 / 4, 0),
        "crescent": Shape(crescent, crescent_area(), 1),
        "bar": Shape(bar, 1.2, 2),
    }
)

# -- rendering -----------------------------------------------------------------------------------------------

PIXELS_AT_ONCE = {"cpu": 2**18}  # best of 2^14 to 2^22 or near it: temporaries stay in the cache
PIXELS_AT_ONCE_ELSEWHERE = 2**23  # a GPU: work well above the cost of a launch, temporaries near its cache


class Picture(NamedTuple):
    """What all images of a batch share."""

    size: int
    channels: int
    edge: float


def render(
    shape: Int[Tensor, "*#batch"] | int,
    x: Float[Tensor, "*#batch"] | float = 0.0,
    y: Float[Tensor, "*#batch"] | float = 0.0,
    scale: Float[Tensor, "*#batch"] | float = 0.5,
    rotation: Float[Tensor, "*#batch"] | float = 0.0,
    brightness: Float[Tensor, "*#batch"] | float = 1.0,
    background: Float[Tensor, "*#batch"] | float = 0.0,
    hue: Float[Tensor, "*#batch"] | float | None = None,
    *,
    size: int = 64,
    channels: int = 1,
    edge: float = 1.0,
    grouped: bool = True,
) -> Float[Tensor, "*#batch {channels} {size} {size}"]:
    """Images of one sprite each, in [0, 1]: `background + coverage * (colour - background)`.

    All factors broadcast to one batch shape. Differentiable in every factor but the shape.

    - `shape`: index into `SHAPES`.
    - `x`, `y`: centre of the sprite in half-widths of the image; 0 the middle, 1 the right and upper border.
    - `scale`: diameter of the circumscribed circle as a fraction of the image.
    - `rotation`: radians, counter-clockwise.
    - `brightness`, `background`: grey levels in [0, 1] (not checked: that would wait for the device).
    - `hue`: radians; 0 red, 2 pi / 3 green, 4 pi / 3 blue. Needs `channels=3`. Channel k of the colour is
      `brightness * (2 + cos(hue - 2 pi k / 3)) / 3`: smooth on the circle, and of the same sum for every hue.
    - `edge`: width of the anti-aliased edge in pixels; wider edges blur, and carry gradients further.
    - `grouped`: draw shape by shape, which waits for the device once to learn how many there are of each.
      Otherwise every image is worked out as every shape and the right one picked: several times the
      arithmetic, but one graph of fixed form, as `torch.compile`, CUDA graphs and `torch.func` want; the range
      of `shape` is not checked then. Compiled, this is the faster way.

    Example:
        >>> render(torch.arange(3), x=torch.linspace(-0.5, 0.5, 3), size=32).shape
        torch.Size([3, 1, 32, 32])
    """
    picture = checked(Picture(size, channels, edge), hue)
    index, factors = _broadcast(shape, x, y, scale, rotation, brightness, background, hue)
    draw = _draw_by_shape if grouped else _draw_and_select
    images = draw(index.flatten(), factors.reshape(len(factors), index.numel()), picture)
    return images.reshape(*index.shape, channels, size, size)


def checked(picture: Picture, hue: object) -> Picture:
    if picture.size < 1:
        raise ValueError(f"expected a size of at least 1 pixel, found {picture.size}")
    if picture.channels not in (1, 3):
        raise ValueError(f"expected 1 channel (grey) or 3 (RGB), found {picture.channels}")
    if not 0 < picture.edge < math.inf:
        raise ValueError(f"expected an edge of a positive number of pixels, found {picture.edge}")
    if hue is not None and picture.channels == 1:
        raise ValueError("expected 3 channels for a hue, found 1: set channels=3 or leave hue out")
    return picture


def _broadcast(shape: Tensor | int, *factors: Tensor | float | None) -> tuple[Tensor, Tensor]:
    """Shape indices (*batch) and factors (6 or 7, *batch), of the tensors' device and floating type."""
    tensors = [value for value in (shape, *factors) if isinstance(value, Tensor)]
    device = tensors[-1].device if tensors else None
    types = [tensor.dtype for tensor in tensors if tensor.is_floating_point()]
    dtype = reduce(torch.promote_types, types or [torch.get_default_dtype()])
    given = [torch.as_tensor(value, dtype=dtype, device=device) for value in factors if value is not None]
    index = torch.as_tensor(shape, device=device)
    try:
        index, *given = torch.broadcast_tensors(index, *given)
    except RuntimeError:
        found = ", ".join(str(tuple(tensor.shape)) for tensor in (index, *given))
        raise ValueError(f"expected shape and factors that broadcast together, found {found}") from None
    return index, torch.stack(list(given))


def _draw_by_shape(index: Tensor, factors: Tensor, picture: Picture) -> Float[Tensor, "n C size size"]:
    order = index.argsort()
    work = _work(index, order, picture)
    if torch.is_grad_enabled() and factors.requires_grad and work:
        drawn = [_draw(distance, factors[:, members], picture) for distance, members in work]
        return torch.cat(drawn)[order.argsort()]  # the inverse permutation: back into the order asked for
    images = factors.new_empty(len(index), picture.channels, picture.size, picture.size)
    for distance, members in work:
        images.index_copy_(0, members, _draw(distance, factors[:, members], picture))
    return images


def _work(index: Tensor, order: Tensor, picture: Picture) -> list[tuple[Distance, Tensor]]:
    """Pieces of work: a distance function and the images it draws. Waits for the device."""
    known = len(SHAPES)
    below, *counts, above = torch.bincount(index.clamp(-1, known) + 1, minlength=known + 2).tolist()
    if below or above:
        raise ValueError(f"expected indices of SHAPES in 0..{known - 1}, found {below + above} outside")
    at_once = PIXELS_AT_ONCE.get(index.device.type, PIXELS_AT_ONCE_ELSEWHERE)
    images_at_once = max(1, at_once // picture.size**2)
    by_shape = zip(SHAPES.values(), order.split(counts), strict=True)
    return [(shape.distance, piece) for shape, group in by_shape if len(group) for piece in group.split(images_at_once)]


def _draw_and_select(index: Tensor, factors: Tensor, picture: Picture) -> Float[Tensor, "n C size size"]:
    first, *others = (shape.distance for shape in SHAPES.values())
    index = index[:, None, None]

    def selected(u: Tensor, v: Tensor, R: Tensor) -> Tensor:
        chosen = first(u, v, R)
        for number, distance in enumerate(others, start=1):
            chosen = torch.where(index == number, distance(u, v, R), chosen)
        return chosen

    return _draw(selected, factors, picture)


def _draw(distance: Distance, factors: Float[Tensor, "f n"], picture: Picture) -> Float[Tensor, "n C size size"]:
    """Images that share a distance function; lengths in widths of the edge, y upwards, rows downwards."""
    x, y, scale, rotation, brightness, background, *hue = factors[..., None, None]
    half = picture.size / (2 * picture.edge)
    pixels = torch.arange(picture.size, dtype=x.dtype, device=x.device)
    centres = (pixels + 0.5) * (2 / picture.size) - 1
    right, up = (centres - x) * half, (-centres[:, None] - y) * half  # (n, 1, size), (n, size, 1)
    cos, sin = rotation.cos(), rotation.sin()
    inside = 0.5 - distance(cos * right + sin * up, cos * up - sin * right, scale * half)
    ground = background[:, None]
    contrast = _colour(brightness[:, None], hue, picture.channels) - ground
    return torch.addcmul(ground, inside.clamp(0, 1)[:, None], contrast)


def _colour(brightness: Tensor, hue: list[Tensor], channels: int) -> Float[Tensor, "n C 1 1"]:
    if not hue:
        return brightness.expand(-1, channels, -1, -1)
    thirds = torch.arange(3, dtype=brightness.dtype, device=brightness.device) * (2 * math.pi / 3)
    return brightness * (2 + (hue[0][:, None] - thirds[:, None, None]).cos()) / 3
