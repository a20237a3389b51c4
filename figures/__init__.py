"""One look for every figure, and functions from plain arrays to axes; nothing here ever sees a model."""

from figures.panels import (
    bars,
    bound_line,
    heat_map,
    image_grid,
    interval_points,
    line_with_band,
    scatter_with_errors,
    theory_line,
)
from figures.style import FAMILIES, canvas, control_mark, family, legend, look, mark, series

__all__ = [
    "FAMILIES",
    "bars",
    "bound_line",
    "canvas",
    "control_mark",
    "family",
    "heat_map",
    "image_grid",
    "interval_points",
    "legend",
    "line_with_band",
    "look",
    "mark",
    "scatter_with_errors",
    "series",
    "theory_line",
]
