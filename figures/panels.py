"""Panels: one kind of picture a function, from plain arrays to axes. The axes come first, and nothing is
returned.

Intervals are given by their ends (`low`, `high`), as findings have them, not by lengths of error bars.
"""

import textwrap
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray

from figures.style import INK, PALE, QUIET, as_array, mark

Interval = tuple[ArrayLike, ArrayLike]


def interval_points(
    axes: Axes,
    names: Sequence[str],
    estimates: ArrayLike,
    lows: ArrayLike,
    highs: ArrayLike,
    *,
    bounds: ArrayLike | None = None,
    sides: Sequence[str] | None = None,
    control: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
    methods: Sequence[str] | None = None,
    scale: Literal["linear", "log"] = "linear",
) -> None:
    """One row a finding, top to bottom: estimate with its interval, the bound, and the control below it,
    hollow.

    The right side of each bound is tinted. `control` is (estimates, lows, highs) of the broken assumption;
    NaN leaves one out. `methods` colours the rows by family. On a logarithmic scale numbers below 1e-17 (an
    exact zero) are drawn there.
    """
    floor = 1e-17 if scale == "log" else -np.inf
    main = [np.maximum(as_array(part), floor) for part in (estimates, lows, highs)]
    other = [np.maximum(as_array(part), floor) for part in control] if control is not None else None
    rows = np.arange(len(names), dtype=float)
    axes.set_xscale(scale)
    _limits(axes, [*main, *(other or []), *([as_array(bounds)] if bounds is not None else [])], scale)
    for row, name in enumerate(methods if methods is not None else names):
        look = mark(name) if methods is not None else {"color": INK, "marker": "o"}
        _point(axes, rows[row] - (0.14 if other else 0), [part[row] for part in main], look)
        if other is not None and not np.isnan(other[0][row]):
            hollow: dict[str, Any] = {"color": QUIET, "marker": look["marker"], "markerfacecolor": "white"}
            label = None if axes.get_legend_handles_labels()[1] else "control: one assumption broken"
            _point(axes, rows[row] + 0.2, [part[row] for part in other], hollow, label)
        if bounds is not None:
            side = sides[row] if sides is not None else ">="
            _row_bound(axes, rows[row], float(as_array(bounds)[row]), side, first=row == 0)
    axes.set_yticks(rows, [textwrap.fill(name, 30) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)


def _limits(axes: Axes, parts: list[NDArray[np.float64]], scale: str) -> None:
    numbers = np.concatenate([part[np.isfinite(part)].ravel() for part in parts])
    if not numbers.size:
        return
    if scale == "log":
        axes.set_xlim(numbers.min() / 5, numbers.max() * 5)
    else:
        margin = 0.06 * (np.ptp(numbers) or 1.0)
        axes.set_xlim(numbers.min() - margin, numbers.max() + margin)


def _point(axes: Axes, row: float, numbers: list[float], look: dict[str, Any], label: str | None = None) -> None:
    estimate, low, high = numbers
    axes.plot([low, high], [row, row], color=look["color"], linewidth=1.6, solid_capstyle="butt")
    size = 8 if look["marker"] == "*" else 5
    axes.plot([estimate], [row], linestyle="none", markersize=size, label=label, **look)


def _row_bound(axes: Axes, row: float, bound: float, side: str, *, first: bool) -> None:
    left, right = axes.get_xlim()
    start, end = (bound, right) if side == ">=" else (left, bound)
    label = "right side of the bound" if first else None
    axes.add_patch(Rectangle((start, row - 0.42), end - start, 0.84, color=PALE, zorder=0, linewidth=0, label=label))
    axes.plot([bound, bound], [row - 0.42, row + 0.42], color=INK, linewidth=1.0, linestyle=(0, (3, 2)))
    axes.set_xlim(left, right)


def line_with_band(
    axes: Axes,
    x: ArrayLike,
    middle: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    *,
    label: str,
    method: str | None = None,
    **options: str | float,
) -> None:
    """A measured curve with its interval band; `method` gives it its family's colour and marker."""
    look: dict[str, Any] = {**(mark(method) if method is not None else {}), **options}
    (line,) = axes.plot(as_array(x), as_array(middle), label=label, **look)
    axes.fill_between(as_array(x), as_array(low), as_array(high), color=line.get_color(), alpha=0.2, linewidth=0)


def theory_line(axes: Axes, x: ArrayLike, y: ArrayLike, *, label: str = "theory") -> None:
    """What theory says, dashed and dark, drawn over the measurement."""
    axes.plot(as_array(x), as_array(y), color=INK, linestyle=(0, (4, 2)), linewidth=1.1, label=label, zorder=5)


def bound_line(
    axes: Axes, bound: float, *, side: str = ">=", along: Literal["x", "y"] = "y", label: str = "bound"
) -> None:
    """A bound on the y axis (or along="x"), with little triangles that point to its right side."""
    draw = axes.axhline if along == "y" else axes.axvline
    draw(bound, color=INK, linestyle=(0, (1, 1.5)), linewidth=1.0, label=label, zorder=4)
    pointer = {("y", ">="): "^", ("y", "<="): "v", ("x", ">="): ">", ("x", "<="): "<"}[(along, side)]
    at = ([0.985], [bound]) if along == "y" else ([bound], [0.985])
    transform = axes.get_yaxis_transform() if along == "y" else axes.get_xaxis_transform()
    axes.plot(*at, marker=pointer, color=INK, markersize=4, transform=transform, zorder=4)


def scatter_with_errors(
    axes: Axes,
    x: ArrayLike,
    y: ArrayLike,
    *,
    x_interval: Interval | None = None,
    y_interval: Interval | None = None,
    label: str,
    method: str | None = None,
    fill: Literal["full", "left", "right", "top", "bottom", "none"] = "full",
) -> None:
    """Points with horizontal and vertical intervals, e.g. content against style, one call a method.

    `fill`: which part of the marker has the family's colour, to tell methods of one family apart.
    """
    points = as_array(x).ravel(), as_array(y).ravel()
    look = mark(method if method is not None else label)
    size = 9 if look["marker"] == "*" else 6
    axes.errorbar(
        *points,
        xerr=None if x_interval is None else _lengths(points[0], x_interval),
        yerr=None if y_interval is None else _lengths(points[1], y_interval),
        linestyle="none",
        elinewidth=1.0,
        markersize=size,
        markeredgecolor="white" if fill == "full" else look["color"],
        markeredgewidth=0.5 if fill == "full" else 1.0,
        fillstyle=fill,
        markerfacecoloralt="white",
        label=label,
        **look,
    )


def _lengths(middle: NDArray[np.float64], interval: Interval) -> NDArray[np.float64]:
    low, high = (as_array(end).ravel() for end in interval)
    return np.maximum(np.stack([middle - low, high - middle]), 0.0)


def bars(
    axes: Axes,
    names: Sequence[str],
    estimates: ArrayLike,
    lows: ArrayLike,
    highs: ArrayLike,
    *,
    methods: Sequence[str] | None = None,
) -> None:
    """Upright bars from zero with intervals, for amounts whose zero means something; coloured by family."""
    heights = as_array(estimates)
    places = np.arange(len(names))
    colors = [mark(name)["color"] for name in methods] if methods is not None else [QUIET] * len(names)
    axes.bar(places, heights, width=0.65, color=colors)
    axes.errorbar(places, heights, yerr=_lengths(heights, (lows, highs)), fmt="none", color=INK, elinewidth=1.0)
    axes.set_xticks(places, [textwrap.fill(name, 12) for name in names])
    axes.tick_params(axis="x", length=0)
    axes.grid(False, axis="x")


def heat_map(
    axes: Axes,
    x: ArrayLike,
    y: ArrayLike,
    values: ArrayLike,
    *,
    label: str,
    contour: ArrayLike | None = None,
    limits: tuple[float, float] | None = None,
    scales: tuple[str, str] = ("linear", "linear"),
    words: Sequence[Sequence[str]] | None = None,
    bar: bool = True,
) -> None:
    """`values` (len(y), len(x)) as colours with their bar; theory is the zero line of `contour`, same shape.

    `words` (len(y), len(x)) are written into the cells, in black or white, whichever is read more easily there.
    """
    low, high = limits if limits is not None else (None, None)
    axes.set_xscale(scales[0])
    axes.set_yscale(scales[1])
    mesh = axes.pcolormesh(_edges(as_array(x)), _edges(as_array(y)), as_array(values), vmin=low, vmax=high)
    mesh.set_rasterized(True)
    axes.grid(False)
    if bar:
        axes.figure.colorbar(mesh, ax=axes, label=label)
    for j, line in enumerate(words or []):
        for i, word in enumerate(line):
            red, green, blue, _ = mesh.to_rgba(as_array(values)[j, i])
            color = "black" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.45 else "white"
            at = float(as_array(x)[i]), float(as_array(y)[j])
            edge = [withStroke(linewidth=1.5, foreground=(red, green, blue))]  # the contour must not strike it through
            middle: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 6, "path_effects": edge}
            axes.text(*at, word, fontsize=6, color=color, linespacing=0.9, **middle)
    if contour is not None:
        for color, dashes, width in (("white", "solid", 2.2), (INK, "dashed", 1.0)):
            axes.contour(
                as_array(x),
                as_array(y),
                as_array(contour),
                [0.0],
                colors=color,
                linestyles=dashes,
                linewidths=width,
            )


def _edges(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges half-way between the cells; a lone cell is one wide."""
    half = np.diff(centres) / 2 if len(centres) > 1 else np.array([0.5])
    return np.concatenate([[centres[0] - half[0]], centres[:-1] + half[: len(centres) - 1], [centres[-1] + half[-1]]])


def image_grid(
    axes: Axes,
    images: ArrayLike,
    *,
    row_names: Sequence[str],
    column_names: Sequence[str] | None = None,
) -> None:
    """Images (rows, columns, H, W) or (rows, columns, H, W, 1 or 3) in [0, 1], side by side, with names."""
    array = as_array(images)
    array = array[..., None] if array.ndim == 4 else array
    if array.ndim != 5 or array.shape[-1] not in (1, 3) or len(row_names) != array.shape[0]:
        raise ValueError(f"images must be (rows={len(row_names)}, columns, H, W[, 1 or 3]), found {np.shape(images)}")
    rows, columns, height, width, _ = array.shape
    gap = max(1, height // 14)
    padded = np.pad(array, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=1.0)
    sheet = padded.transpose(0, 2, 1, 3, 4).reshape(rows * (height + gap), columns * (width + gap), -1)
    sheet = np.repeat(sheet, 3, axis=2) if sheet.shape[2] == 1 else sheet
    axes.imshow(sheet.clip(0, 1)[:-gap, :-gap], interpolation="nearest")
    axes.set_yticks(np.arange(rows) * (height + gap) + height / 2, row_names)
    middles = np.arange(columns) * (width + gap) + width / 2
    axes.set_xticks(middles if column_names is not None else [], column_names or [])
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.grid(False)
    axes.spines[:].set_visible(False)
