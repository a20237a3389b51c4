"""The pictures of a benchmark: what content a method kept against what style, what it redraws, how it
trained."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from figures import canvas, image_grid, legend, line_with_band, mark
from ssl_theory.benchmarks.methods import METHODS
from ssl_theory.benchmarks.table import half_width

REFERENCE = "pixels"


def content_against_style(tidy: pd.DataFrame, dataset: str) -> Figure:
    """A point a method: accuracy of a linear probe against R² averaged over the style factors (MLP probe).

    Bars are 95 % intervals over seeds; the dashed line is what the same probe reads off the pixels.
    """
    points = coordinates(tidy)
    figure, axes = canvas(width="column", height=2.9)
    seen: set[str] = set()
    for method, row in points.iterrows():
        _point(axes[0, 0], str(method), row, seen)
    axes[0, 0].set_xlabel(f"content: linear accuracy, {dataset} test images")
    axes[0, 0].set_ylabel("style: mean R² of the factors, MLP probe")
    axes[0, 0].set_ylim(min(-0.05, float(points["style"].min()) - 0.05), 1.0)
    legend(figure)
    return figure


def coordinates(tidy: pd.DataFrame) -> pd.DataFrame:
    """Mean and half width of content and of style for each method; the average over factors is taken seed by
    seed."""
    linear = tidy[(tidy["aspect"] == "content") & (tidy["measure"] == "linear")]
    style = tidy[(tidy["aspect"] == "style") & (tidy["measure"] == "mlp")]
    style = style.groupby(["method", "seed"], sort=False)["value"].mean().reset_index()
    parts: dict[str, pd.Series] = {}
    for name, table in (("content", linear), ("style", style)):
        grouped = table.groupby("method", sort=False)["value"]
        parts |= {name: grouped.mean(), f"{name}_half": grouped.apply(half_width)}
    return pd.DataFrame(parts)


def _point(axes: Axes, method: str, row: pd.Series, seen: set[str]) -> None:
    title = METHODS[method].title
    if method == REFERENCE:
        axes.axhline(row["style"], color="#1A1A1A", linestyle=(0, (4, 2)), linewidth=1.0, label=title)
        return
    look = mark(title)
    hollow = {"markerfacecolor": "white"} if look["marker"] in seen else {}
    seen.add(look["marker"])
    axes.errorbar(
        [row["content"]],
        [row["style"]],
        xerr=[np.nan_to_num(row["content_half"])],
        yerr=[np.nan_to_num(row["style_half"])],
        linestyle="none",
        elinewidth=1.0,
        markersize=9 if look["marker"] == "*" else 6,
        label=title,
        **(look | hollow),
    )


def reconstructions(originals: NDArray[np.floating], redrawn: dict[str, NDArray[np.floating]]) -> Figure:
    """Views of test images `(m, C, H, W)` on top, and below them what each generative method decodes from its
    code."""
    rows = {"test views": originals, **redrawn}
    figure, axes = canvas(width="page", height=0.25 + 0.58 * len(rows))
    stacked = np.stack([np.moveaxis(images, 1, -1) for images in rows.values()])
    image_grid(axes[0, 0], stacked, row_names=list(rows))
    return figure


def training_curves(history: dict[str, pd.DataFrame]) -> Figure:
    """Each method's own loss by step, mean and 95 % interval over seeds; losses of different methods do not
    compare."""
    columns = min(5, len(history))
    figure, axes = canvas(-(-len(history) // columns), columns, width="page", height=2.0)
    for spare in axes.flat[len(history) :]:
        spare.set_axis_off()
    for panel, (method, table) in zip(axes.flat, history.items(), strict=False):
        grouped = table.groupby("step")["loss"]
        mean, half = grouped.mean(), grouped.apply(half_width)
        title = METHODS[method].title
        line_with_band(panel, mean.index, mean, mean - half, mean + half, label=title, method=title, marker="")
        panel.set_title(title.replace(", ", "\n"))
        panel.set_xlabel("step")
    for first in axes[:, 0]:
        first.set_ylabel("training loss")
    return figure
