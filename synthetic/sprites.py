"""An image world whose truth is known: content is a shape (and a hue), style is its pose and light.

`SpriteWorld` draws factors as the hierarchical model has it, label -> content -> views, and returns them
beside the images that `render` makes of them. `contact_sheet` shows images.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from synthetic.rendering import SHAPES, Picture, checked, render
from synthetic.sampler import Sampler, saved_as
from synthetic.views import Views

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SHAPES", "SpriteWorld", "contact_sheet", "render"]

Range = tuple[float, float]

STYLE = ("x", "y", "scale", "rotation", "brightness", "background")
LIMITS = {"scale": (1e-6, math.inf), "brightness": (0.0, 1.0), "background": (0.0, 1.0)}
FORMAT = "sprites 1"


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class SpriteWorld(Sampler):
    """Images whose factors are known.

        label ~ Cat(weights)                    which of `shapes`
        content = (shape[, hue])                one draw per data point, shared by its views
        style^j = (x, y, scale, ...)            one draw per view, independent of content
        x^j = render(content, style^j)          without noise

    A factor given as a range `(low, high)` is uniform on it; one given as a number is fixed, and left out of
    `z`. Units are those of `render`; the shape is the label, an index into `shapes`. With the default ranges a
    sprite lies within its image, is brighter than its background, and turns by less than half the symmetry of
    any shape, so every factor can be read off an image, except for the rotation of a disc or a ring. A hue over
    the whole circle is best probed by its cosine and sine.

    `p_keep`: probability, for all style factors or by name, that the views of a data point share the factor
    (independently for each data point and factor). 0: every view redraws it; 1: it never varies, so it is
    content. The law of a single view does not depend on it.

    Example:
        >>> world = SpriteWorld(size=32, shapes=("disc", "star"), p_keep={"scale": 1.0})
        >>> world.sample(5, views=3, generator=torch.Generator().manual_seed(0)).x.shape
        torch.Size([5, 3, 1, 32, 32])
    """

    size: int = 64
    channels: int = 1
    shapes: tuple[str, ...] = tuple(SHAPES)
    weights: tuple[float, ...] | None = None
    hue: Range | float | None = None
    x: Range | float = (-0.5, 0.5)
    y: Range | float = (-0.5, 0.5)
    scale: Range | float = (0.25, 0.5)
    rotation: Range | float = (-math.pi / 6, math.pi / 6)
    brightness: Range | float = (0.5, 1.0)
    background: Range | float = (0.0, 0.3)
    p_keep: float | Mapping[str, float] = 0.0
    edge: float = 1.0
    dtype: torch.dtype = torch.float32
    device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", torch.device(self.device))
        checked(self._picture, self.hue)
        _check_shapes(self.shapes, self.weights)
        for name in (*STYLE, "hue"):
            _check_range(name, getattr(self, name))
        _check_keeping(self.p_keep, self.style_names)

    # -- sizes and names -------------------------------------------------------------------------------------

    @property
    def content_names(self) -> tuple[str, ...]:
        return ("shape", "hue") if isinstance(self.hue, tuple) else ("shape",)

    @property
    def style_names(self) -> tuple[str, ...]:
        return tuple(name for name in STYLE if isinstance(getattr(self, name), tuple))

    @property
    def content_dim(self) -> int:
        return len(self.content_names)

    @property
    def style_dim(self) -> int:
        return len(self.style_names)

    @property
    def latent_dim(self) -> int:
        return self.content_dim + self.style_dim

    @property
    def observation_shape(self) -> tuple[int, int, int]:
        return (self.channels, self.size, self.size)

    @property
    def observation_dim(self) -> int:
        return math.prod(self.observation_shape)

    @property
    def classes(self) -> int:
        return len(self.shapes)

    # -- sampling --------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(self, n: int, *, views: int = 2, generator: torch.Generator) -> Views:
        """n independent data of `views` views each: x (n, J, C, H, W), z (n, J, d) = (content, style)."""
        self._require_drawable(n, views, generator)
        label = self._label(n, generator)
        hue = self._spread(self.content_names[1:], self._uniform(n, self.content_dim - 1, generator=generator))
        content = torch.cat((label[:, None].to(self.dtype), hue), 1)
        style = self._spread(self.style_names, self._style(n, views, generator))
        z = torch.cat((content[:, None].expand(-1, views, -1), style), -1)
        return Views(self.render(z), z, content, style, label)

    def render(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch C H W"]:
        """Images of latents as `sample` gives them; differentiable in all of them but the shape."""
        names = (*self.content_names, *self.style_names)
        if z.shape[-1] != len(names):
            raise ValueError(f"expected {len(names)} latents ({', '.join(names)}), found {z.shape[-1]}")
        shape, *factors = z.unbind(-1)
        known = torch.tensor([list(SHAPES).index(name) for name in self.shapes], device=z.device)
        values = {name: getattr(self, name) for name in ("hue", *STYLE)} | dict(zip(names[1:], factors, strict=True))
        return render(known[shape.round().long()], **values, **self._picture._asdict())

    def style_floor(self, per_coordinate: bool = False) -> float | Float[Tensor, " ds"]:
        """`R^2(s | y)`, what content alone tells of style: 0, they are independent."""
        return torch.zeros(self.style_dim, device=self.device, dtype=self.dtype) if per_coordinate else 0.0

    # -- moving, saving, printing ----------------------------------------------------------------------------

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> SpriteWorld:
        """The same world on another device, in another floating-point type."""
        return dataclasses.replace(self, device=torch.device(device or self.device), dtype=dtype or self.dtype)

    def save(self, path: str | Path) -> None:
        """Write `path.json`; the device is not part of it."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "device"]
        values = {name: getattr(self, name) for name in names} | {"dtype": str(self.dtype).removeprefix("torch.")}
        saved_as(path)[0].write_text(json.dumps({"format": FORMAT} | values, indent=1, default=dict) + "\n")

    @staticmethod
    def load(path: str | Path, device: torch.device | str = "cpu") -> SpriteWorld:
        """Read a world that `save` wrote; `path` with or without its suffix."""
        file, _ = saved_as(path)
        if not file.is_file():
            raise ValueError(f"expected a saved sprite world at {file}, found none: write it by world.save")
        values = json.loads(file.read_text())
        if (found := values.pop("format", None)) != FORMAT:
            raise ValueError(f"expected a world of format {FORMAT!r}, found {found!r}: save it again")
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return SpriteWorld(**values | {"dtype": getattr(torch, values["dtype"]), "device": torch.device(device)})

    def formulas(self) -> tuple[str, str, str]:
        hue, style = (
            "".join(f", {name} ~ U({low:g}, {high:g})" for name, low, high in self._ranges(names))
            for names in (self.content_names[1:], self.style_names)
        )
        kept = f", style kept across views with probability {self.p_keep}" if self.p_keep else ""
        drawn = f"x^j = render(z^j), {self.channels} x {self.size} x {self.size} pixels, edge {self.edge:g}"
        return f"shape ~ Cat({', '.join(self.shapes)}){hue}", f"z^j = (y, s^j){style}{kept}", drawn

    # -- drawing the factors ---------------------------------------------------------------------------------

    @property
    def _picture(self) -> Picture:
        return Picture(self.size, self.channels, self.edge)

    def _uniform(self, *shape: int, generator: torch.Generator) -> Tensor:
        return torch.rand(*shape, generator=generator, device=self.device, dtype=self.dtype)

    def _label(self, n: int, generator: torch.Generator) -> Int[Tensor, " n"]:
        weights = torch.tensor(self.weights or [1.0] * self.classes, device=self.device, dtype=torch.float64)
        inner = (weights.cumsum(0) / weights.sum())[:-1].to(self.dtype)
        return torch.searchsorted(inner, self._uniform(n, generator=generator), right=True)

    def _style(self, n: int, views: int, generator: torch.Generator) -> Float[Tensor, "n J ds"]:
        """Uniform on [0, 1], the first view's wherever it is kept."""
        own = self._uniform(n, views, self.style_dim, generator=generator)
        p_keep = [
            self.p_keep.get(name, 0.0) if isinstance(self.p_keep, Mapping) else self.p_keep for name in self.style_names
        ]
        kept = self._uniform(n, 1, self.style_dim, generator=generator) < own.new_tensor(p_keep)
        return torch.where(kept, own[:, :1], own)

    def _spread(self, names: tuple[str, ...], uniform: Float[Tensor, "*n f"]) -> Float[Tensor, "*n f"]:
        """From [0, 1] to the range of each factor."""
        low, high = uniform.new_tensor([bounds for _, *bounds in self._ranges(names)]).reshape(-1, 2).unbind(1)
        return torch.lerp(low, high, uniform)

    def _ranges(self, names: tuple[str, ...]) -> list[tuple[str, float, float]]:
        return [(name, *getattr(self, name)) for name in names]


def _check_shapes(shapes: tuple[str, ...], weights: tuple[float, ...] | None) -> None:
    for name in shapes:
        if name not in SHAPES:
            near = get_close_matches(name, SHAPES, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(SHAPES)}"
            raise ValueError(f"expected names of shapes, found {name!r}: {hint}")
    if not shapes or len(set(shapes)) < len(shapes):
        raise ValueError(f"expected at least one shape and none twice, found {shapes}")
    if weights is None:
        return
    if len(weights) != len(shapes) or not all(0 <= weight < math.inf for weight in weights) or not sum(weights):
        raise ValueError(f"expected {len(shapes)} weights, none negative and not all zero, found {weights}")


def _check_range(name: str, value: Range | float | None) -> None:
    if value is None:
        return
    low, high = value if isinstance(value, tuple) else (value, value)
    if isinstance(value, tuple) and not low < high:
        raise ValueError(f"expected (low, high) with low < high for {name}, found {value}: fix it by a number")
    least, most = LIMITS.get(name, (-math.inf, math.inf))
    if not (least <= low and high <= most and math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"expected {name} to be finite and within [{least:g}, {most:g}], found {value}")


def _check_keeping(p_keep: float | Mapping[str, float], names: tuple[str, ...]) -> None:
    by_name = dict(p_keep) if isinstance(p_keep, Mapping) else dict.fromkeys(names, p_keep)
    if unknown := sorted(set(by_name) - set(names)):
        raise ValueError(f"expected p_keep of {', '.join(names)}, found {', '.join(unknown)}: give it a range first")
    if not all(0 <= value <= 1 for value in by_name.values()):
        raise ValueError(f"expected p_keep between 0 and 1, found {p_keep}")


# -- contact sheet -------------------------------------------------------------------------------------------


def contact_sheet(
    images: Float[Tensor, "n C H W"] | Float[Tensor, "n J C H W"],
    where: str | Path | Axes,
    *,
    columns: int = 8,
    zoom: int = 2,
) -> None:
    """Draw images in [0, 1] as a grid, pixel for pixel, onto axes or into an image file.

    Rows have `columns` images; where images come as views, a row is a data point. An image file has `zoom` by
    `zoom` pixels for each pixel.
    """
    if images.ndim not in (4, 5) or images.shape[-3] not in (1, 3) or not images.numel():
        raise ValueError(f"expected images (n, C, H, W) or (n, J, C, H, W), C 1 or 3, found {tuple(images.shape)}")
    columns = images.shape[1] if images.ndim == 5 else columns
    tiles = images.detach().float().cpu().clamp(0, 1).reshape(-1, *images.shape[-3:]).expand(-1, 3, -1, -1)
    tiles = torch.nn.functional.pad(tiles, (1, 1, 1, 1), value=1.0)
    blank = tiles.new_ones(-len(tiles) % columns, *tiles.shape[1:])
    grid = torch.cat((tiles, blank)).unflatten(0, (-1, columns)).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    if isinstance(where, str | Path):
        from matplotlib.image import imsave

        imsave(where, grid.repeat_interleave(zoom, 0).repeat_interleave(zoom, 1).numpy())
    else:
        where.imshow(grid.numpy(), interpolation="nearest")
        where.set_axis_off()
