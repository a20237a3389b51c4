"""The pictures of a benchmark: what content a method kept against what style, what can be redrawn from it, what it
draws by itself, where its clusters lie, how it trained."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from figures import canvas, image_grid, legend, line_with_band, mark
from figures.style import INK, QUIET
from ssl_theory.benchmarks.methods import CORE, METHODS
from ssl_theory.benchmarks.table import REFERENCE, half_width

FILLS = ("full", "none", "left", "bottom")  # the first, second, ... method of a family: colour and marker are its own

# The map of where SimVAE keeps more than the VAE: what was measured, and along what.
MAPPED = {"linear": "linear accuracy", "knn": "k-NN accuracy", "nmi": "NMI of a mixture", "style": "style R²"}
FULL = 0.1  # a difference whose colour is full
ALONG = {"steps": "steps", "views": "views J", "latent_dim": "latent size", "strength": "augmentation strength"}


def content_against_style(tidy: pd.DataFrame, dataset: str) -> Figure:
    """A point a method: accuracy of a linear probe against R² averaged over the style factors (nonlinear probe).

    Bars are 95 % intervals over seeds; the dashed line is what the same probe reads off the pixels. A thin line leads
    to the small point of the layer before the head. Autoencoders, which lie close together, are drawn once more,
    enlarged, where there are several that did not diverge.
    """
    points = coordinates(tidy)
    methods = [str(method) for method in points.index.get_level_values("method").unique()]
    crowd = [method for method in methods if METHODS[method].generative and _found(points.loc[[method]])]
    panels = 2 if len(crowd) > 2 else 1
    figure, axes = canvas(1, panels, width="page" if panels == 2 else "column", height=2.9)
    for axis, shown in zip(axes[0], (methods, crowd), strict=False):
        seen: list[str] = []
        for method in methods:
            _point(axis, method, points.loc[[method]].droplevel("method"), seen, visible=method in shown)
        axis.set_xlabel("content: linear accuracy")
    axes[0, 0].set_xlabel(f"content: linear accuracy, {dataset} test images")
    axes[0, 0].set_ylabel("style: mean R² of the factors, nonlinear probe")
    axes[0, 0].set_xlim(_around(points, "content", 0.0))
    axes[0, 0].set_ylim(_around(points, "style", -1.0))
    if panels == 2:
        _enlarge(axes[0, 0], axes[0, 1], points.loc[crowd])
    if "encoder" in points.index.get_level_values("layer"):
        axes[0, 0].plot([], [], marker=".", color=QUIET, linewidth=0.7, label="before the head")
    legend(figure)
    return figure


def _found(points: pd.DataFrame) -> bool:
    """Whether a method has a place: one of which every seed diverged has none."""
    return bool(np.isfinite(points[["content", "style"]].to_numpy(float)).all())


def _enlarge(whole: Axes, part: Axes, points: pd.DataFrame) -> None:
    """Let `part` show `points` with their bars only, and frame in `whole` what it shows."""
    limits = [_around(points, "content", 0.0), _around(points, "style", -1.0)]
    part.set(xlim=limits[0], ylim=limits[1], title="framed: autoencoders, enlarged")
    part.locator_params(axis="x", nbins=4)  # long numbers, close together
    (left, right), (bottom, top) = limits
    whole.plot([left, right, right, left, left], [bottom, bottom, top, top, bottom], color=INK, linewidth=0.6, zorder=6)


def _around(points: pd.DataFrame, what: str, lowest: float) -> tuple[float, float]:
    """Limits that hold every interval, with some air; 1 is the highest score."""
    half = points[f"{what}_half"].fillna(0.0)
    low, high = (points[what] - half).min(), (points[what] + half).max()
    air = 0.05 * (high - low) + 0.01
    return max(lowest, float(low - air)), min(1.0, float(high + air))


def coordinates(tidy: pd.DataFrame) -> pd.DataFrame:
    """Mean and half width of content and of style for each method and layer; the average over factors is taken seed
    by seed."""
    row = ["method", "layer"]
    linear = tidy[(tidy["aspect"] == "content") & (tidy["measure"] == "linear")]
    style = tidy[(tidy["aspect"] == "style") & (tidy["measure"] == "nonlinear")]
    style = style.groupby([*row, "seed"], sort=False)["value"].mean().reset_index()
    parts: dict[str, pd.Series] = {}
    for name, table in (("content", linear), ("style", style)):
        grouped = table.groupby(row, sort=False)["value"]
        parts |= {name: grouped.mean(), f"{name}_half": grouped.apply(half_width)}
    return pd.DataFrame(parts)


def _point(axes: Axes, method: str, layers: pd.DataFrame, seen: list[str], *, visible: bool = True) -> None:
    title, at = METHODS[method].title, layers.loc["representation"].astype(float).to_dict()
    if method == REFERENCE:
        axes.axhline(at["style"], color="#1A1A1A", linestyle=(0, (4, 2)), linewidth=1.0, label=title)
        return
    look = mark(title)
    fill = FILLS[seen.count(look["marker"]) % len(FILLS)]
    seen.append(look["marker"])
    if not visible:  # its fill is taken, so that every panel gives a method the same one
        return
    axes.errorbar(
        [at["content"]],
        [at["style"]],
        xerr=[np.nan_to_num(at["content_half"])],
        yerr=[np.nan_to_num(at["style_half"])],
        linestyle="none",
        elinewidth=1.0,
        markersize=9 if look["marker"] == "*" else 6,
        fillstyle=fill,
        markerfacecoloralt="white",
        label=title,
        **look,
    )
    if "encoder" in layers.index:
        line = layers.loc[["representation", "encoder"], ["content", "style"]].to_numpy(float).T
        axes.plot(*line, color=look["color"], linewidth=0.7, marker=".", markersize=4, markevery=[1], zorder=1)


def reconstructions(originals: NDArray[np.floating], redrawn: dict[str, NDArray[np.floating]]) -> Figure:
    """Views of test images `(m, C, H, W)` on top, and below them what is decoded from each representation of them."""
    return _grid({"test views": originals, **redrawn})


def samples(drawn: dict[str, NDArray[np.floating]]) -> Figure:
    """Images `(m, C, H, W)` that each generative method draws from its prior, a row a method."""
    return _grid(drawn)


def _grid(rows: dict[str, NDArray[np.floating]]) -> Figure:
    figure, axes = canvas(width="page", height=0.25 + 0.5 * len(rows))
    shown = [np.nan_to_num(np.moveaxis(images, 1, -1), nan=1.0) for images in rows.values()]
    image_grid(axes[0, 0], np.stack(shown), row_names=[name.replace(", ", "\n") for name in rows])
    return figure


def confusions(counts: dict[str, NDArray[np.number]]) -> Figure:
    """Each core method's clusters: the share of a class (row) in each cluster (column), clusters matched to classes;
    colours reach to the largest share."""
    shown = {key: counts[key] for key in CORE if key in counts} or counts
    columns = min(4, len(shown))
    figure, axes = canvas(-(-len(shown) // columns), columns, width="page", height=2.1)
    for spare in axes.flat[len(shown) :]:
        spare.set_axis_off()
    shares = {key: matrix / np.maximum(matrix.sum(1, keepdims=True), 1) for key, matrix in shown.items()}
    most = max(float(share.max()) for share in shares.values()) or 1.0
    for panel, (method, share) in zip(axes.flat, shares.items(), strict=False):
        image = panel.imshow(share, vmin=0, vmax=most, cmap="cividis")
        panel.set_title(METHODS[method].title.replace(", ", "\n"))
        panel.grid(False)
        panel.set_xlabel("cluster")
    for first in axes[:, 0]:
        first.set_ylabel("class")
    figure.colorbar(image, ax=list(axes.flat), label="share of the class", shrink=0.8)
    if len(shown) < len(counts):
        figure.suptitle(f"The {len(shown)} core methods of {len(counts)} that were run", fontsize=9)
    return figure


def training_curves(history: dict[str, pd.DataFrame]) -> Figure:
    """Each method's own loss by step to the length that was chosen, mean and 95 % interval over seeds; losses of
    different methods do not compare. A steep beginning leaves the panel at its top."""
    columns = min(5, len(history))
    figure, axes = canvas(-(-len(history) // columns), columns, width="page", height=2.0)
    for spare in axes.flat[len(history) :]:
        spare.set_axis_off()
    for panel, (method, table) in zip(axes.flat, history.items(), strict=False):
        grouped = table.groupby("step")["loss"]
        mean, half = grouped.mean(), grouped.apply(half_width)
        title = METHODS[method].title
        line_with_band(panel, mean.index, mean, mean - half, mean + half, label=title, method=title, marker="")
        panel.set_title(f"{title.replace(', ', chr(10))}\n{mean.index.max()} steps")
        panel.set_xlabel("step")
        _cut(panel, (mean - half.fillna(0)).to_numpy(), (mean + half.fillna(0)).to_numpy())
    for first in axes[:, 0]:
        first.set_ylabel("training loss")
    figure.suptitle("Losses to the length chosen on validation images; a steep first tenth is cut off", fontsize=9)
    return figure


def _cut(axes: Axes, low: NDArray[np.floating], high: NDArray[np.floating]) -> None:
    """Limits that hold the band from a tenth of the training on, where its beginning would take most of the height."""
    late = slice(-(-len(high) // 10), None)
    if not np.isfinite(high[late]).any() or not np.isfinite(high).all():
        return
    bottom, top, highest = float(low[late].min()), float(high[late].max()), float(high.max())
    if highest - top > top - bottom:
        axes.set_ylim(bottom - 0.05 * (top - bottom), top + 0.05 * (top - bottom))


def plane(found: pd.DataFrame, title: str) -> Figure:
    """What SimVAE has over the VAE in every cell of decoder and style variance; bold where the interval leaves out
    zero, faint where it does not. Colours are those of one scale, full at the largest difference of the figure, or at
    `FULL` where that is larger.
    """
    figure, axes = canvas(2, 2, width="page", height=2.5)
    limit = max(FULL, float(found.loc[found["measure"].isin(list(MAPPED)), "mean"].abs().max()))
    for axis, (name, label) in zip(axes.flat, MAPPED.items(), strict=True):
        _cells(axis, found[found["measure"] == name], limit)
        axis.set_title(label)
        axis.set_xlabel("decoder variance")
        axis.set_ylabel("style variance σ²")
    words = "bold: the interval leaves out 0"
    figure.suptitle(f"{title}: SimVAE less VAE, in hundredths, with half of the 95 % interval; {words}", fontsize=9)
    return figure


def _cells(axes: Axes, found: pd.DataFrame, limit: float) -> None:
    middle, half = (found.pivot(index="style_variance", columns="decoder_variance", values=v) for v in ("mean", "half"))
    sure = middle.abs().to_numpy() > half.to_numpy()
    strength = np.where(sure, 1.0, 0.4)
    axes.imshow(middle, cmap="PuOr", vmin=-limit, vmax=limit, origin="lower", aspect="auto", alpha=strength)
    for (row, column), value in np.ndenumerate(middle.to_numpy()):
        width = half.to_numpy()[row, column]
        weight = "bold" if sure[row, column] else "normal"
        shade = "white" if sure[row, column] and abs(value) > 0.6 * limit else INK
        text = f"{100 * value:+.1f}\n±{100 * width:.1f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=6.5, weight=weight, color=shade)
    axes.set_xticks(range(middle.shape[1]), [f"{v:g}" for v in middle.columns])
    axes.set_yticks(range(middle.shape[0]), [f"{v:g}" for v in middle.index])
    axes.tick_params(length=0)
    axes.grid(False)


def along(lines: dict[str, pd.DataFrame], title: str) -> Figure:
    """Content along each axis of the map, one thing at a time; bars are 95 % intervals over seeds."""
    measures = [name for name in MAPPED if name != "style"]
    figure, axes = canvas(len(measures), len(lines), width="page", height=1.7, sharey="row", sharex="col")
    for row, measure in enumerate(measures):
        for column, (name, table) in enumerate(lines.items()):
            _curves(axes[row, column], table[table["measure"] == measure], name)
        low, high = axes[row, 0].get_ylim()
        axes[row, 0].set(ylabel=MAPPED[measure], ylim=(max(low, 0.0), min(high, 1.0)))  # bands may reach beyond
    for axis, name in zip(axes[-1], lines, strict=True):
        axis.set_xlabel(ALONG[name])
    legend(figure)
    figure.suptitle(title, fontsize=9)
    return figure


def _curves(axes: Axes, table: pd.DataFrame, name: str) -> None:
    """A line for each learner and decoder variance, side by side, as they often coincide."""
    usual, lines = table["decoder_variance"].min(), table.groupby(["learner", "decoder_variance"])
    for place, ((learner, decoder), line) in enumerate(lines):
        look = {} if decoder == usual else {"linestyle": "--", "markerfacecolor": "white"}
        aside = line[name] * 2.0 ** (0.07 * (place - (len(lines) - 1) / 2))
        words = f"{learner}, decoder variance {decoder:g}"
        axes.errorbar(
            aside, line["mean"], line["half"], label=words, elinewidth=1.0, **mark(str(learner)) | look, linewidth=0.9
        )
    ticks = sorted(table[name].unique())
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
