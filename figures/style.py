"""The one look: sizes of a paper's columns, vector fonts, and a colour and marker for each family of methods.

Colours are told apart under deuteranopia, protanopia and tritanopia (a test simulates the three), and each
family has a marker of its own, so that nothing is said by colour alone. Nothing global changes: `look()` is
a context manager, and figures are made without pyplot.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

WIDTHS = {"column": 3.4, "page": 7.0}  # inches: one and two columns of a two-column paper

INK = "#1A1A1A"
QUIET = "#8A8A8A"
PALE = "#DCEBF2"

FAMILIES: dict[str, dict[str, str]] = {
    "contrastive": {"color": "#0072B2", "marker": "o"},
    "instance": {"color": "#56B4E9", "marker": "v"},
    "clustering": {"color": "#CC79A7", "marker": "D"},
    "redundancy": {"color": "#009E73", "marker": "s"},
    "distillation": {"color": "#E69F00", "marker": "^"},
    "vae": {"color": "#6B1E3F", "marker": "P"},
    "simvae": {"color": "#D55E00", "marker": "*"},
    "supervised": {"color": "#2B2A6B", "marker": "X"},
    "random": {"color": "#BDBDBD", "marker": "d"},
    "own": {"color": "#1A1A1A", "marker": "h"},
}

METHODS = {
    "contrastive": (
        "infonce",
        "simclr",
        "moco",
        "nnclr",
        "dcl",
        "spectral",
        "clip",
        "alignmentuniformity",
        "alignuniform",
        "supcon",
    ),
    "instance": ("instance", "softmax", "npid"),
    "clustering": ("deepcluster", "swav", "dino", "sinkhorn", "kmeans", "clustering"),
    "redundancy": ("vicreg", "barlow", "wmse", "corinfomax", "tcr", "redundancy"),
    "distillation": ("byol", "simsiam", "distillation"),
    "vae": ("vae", "betavae", "crvae", "iwae"),
    "simvae": ("simvae", "elbossl"),
    "supervised": ("supervised", "crossentropy"),
    "random": ("random", "untrained"),
}

LOOK: dict[Any, Any] = {
    "figure.dpi": 110,
    "savefig.dpi": 200,
    "savefig.facecolor": "white",
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "mathtext.fontset": "dejavusans",
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "none",
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # no ticks are above an axes with a title: none are looked for at every drawing
    "axes.labelsize": 8,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.columnspacing": 1.4,
    "image.cmap": "cividis",
    "figure.constrained_layout.h_pad": 0.05,
    "figure.constrained_layout.w_pad": 0.05,
}


@contextmanager
def look() -> Iterator[None]:
    """Draw and save under the project's look; the settings before it come back afterwards."""
    with mpl.rc_context(LOOK):
        yield


def canvas(
    rows: int = 1,
    columns: int = 1,
    *,
    width: Literal["column", "page"] = "column",
    height: float = 2.4,
    **subplots: Any,
) -> tuple[Figure, NDArray[Any]]:
    """A figure of a paper's width with `height` inches a row, and its axes, (rows, columns).

    `subplots` go to `Figure.subplots` (sharex, sharey, width_ratios, ...).
    """
    if width not in WIDTHS:
        raise ValueError(f"width must be one of {', '.join(WIDTHS)}; found {width!r}")
    figure = Figure(figsize=(WIDTHS[width], height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **subplots)


def family(method: str) -> str:
    """Family of a method by its name: "SimCLR, before the head" is contrastive; unknown names are "own"."""
    plain = re.sub("[^a-z0-9]", "", method.lower())
    known = [(name, kind) for kind, names in METHODS.items() for name in names if plain.startswith(name)]
    return max(known, key=lambda pair: len(pair[0]))[1] if known else "own"


def mark(method: str) -> dict[str, Any]:
    """Colour and marker of the method's family, as keywords of matplotlib's artists."""
    return dict(FAMILIES[family(method)])


def series(index: int) -> dict[str, Any]:
    """Colour and marker of the index-th of several curves that are no methods (priors, numbers of views)."""
    kinds = [
        FAMILIES[name] for name in ("contrastive", "simvae", "redundancy", "clustering", "distillation", "instance")
    ]
    return dict(kinds[index % len(kinds)])


def control_mark() -> dict[str, Any]:
    """Grey and hollow: what a control, an assumption broken on purpose, looks like in every figure."""
    return {"color": QUIET, "marker": "o", "markerfacecolor": "white", "linestyle": ":"}


def legend(figure: Figure, **options: Any) -> None:
    """One legend for all axes, below them, each label once; the figure grows by it, so no data is covered."""
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if not entries:
        return
    width, height = figure.get_size_inches()
    for columns in range(len(entries), 0, -1):
        drawn = figure.legend(
            list(entries.values()), list(entries), loc="outside lower center", ncols=columns, **options
        )
        extent = drawn.get_window_extent()
        if columns == 1 or extent.width <= 0.98 * width * figure.dpi:
            break
        drawn.remove()
    figure.set_size_inches(width, height + extent.height / figure.dpi)


def axes_of(axes: Axes) -> Figure:
    """The figure that holds the axes."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure


def as_array(values: Any) -> NDArray[np.float64]:
    """Plain float array of lists, Series or tensors on the CPU."""
    return np.asarray(values, dtype=float)
