"""The plate diagram of a world, drawn from its formulas."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from synthetic.sampler import Sampler

RADIUS = 0.38


def draw_plates(world: Sampler, axes: Axes | None = None) -> Axes:
    """Draw label -> content -> latent -> observation, with the plates of the J views and of the n data.

    Observed nodes are shaded. Beside each node stands the conditional that draws it, as `print(world)` has it.
    """
    if axes is None:
        import matplotlib.pyplot as plt

        _, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    formulas = dict(zip("yzx", world.formulas(), strict=True))
    nodes = [("y", 1.0), ("z^j", 0.0), ("x^j", -1.0)]
    if world.classes:
        nodes.insert(0, ("k", 2.0))
    for (_, above), (_, below) in itertools.pairwise(nodes):
        arrow = {"arrowstyle": "-|>", "color": "0.2", "linewidth": 1.2}
        axes.annotate("", (0, below + RADIUS), (0, above - RADIUS), arrowprops=arrow)
    for name, height in nodes:
        _node(axes, f"${name}$", height, shaded=name == "x^j")
        if name[0] in formulas:
            axes.text(1.15, height, _broken(formulas[name[0]]), va="center", fontsize=8, family="monospace")
    _plate(axes, (-0.75, -1.55, 1.5, 2.05), "$j = 1 \\ldots J$")
    _plate(axes, (-0.95, -1.85, 1.9, nodes[0][1] + 2.5), "$n$ data")
    axes.set(xlim=(-1.1, 7.5), ylim=(-2.0, nodes[0][1] + 0.8), aspect="equal")
    axes.set_axis_off()
    return axes


def _node(axes: Axes, name: str, height: float, shaded: bool) -> None:
    from matplotlib.patches import Circle

    axes.add_patch(Circle((0, height), RADIUS, facecolor="0.85" if shaded else "white", edgecolor="0.2", zorder=2))
    axes.text(0, height, name, ha="center", va="center", zorder=3)


def _plate(axes: Axes, box: tuple[float, float, float, float], name: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y, width, height = box
    style = "round,pad=0,rounding_size=0.12"
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor="none", edgecolor="0.5"))
    axes.text(x + width - 0.06, y + 0.06, name, ha="right", va="bottom", fontsize=7, color="0.4")


def _broken(formula: str, width: int = 58) -> str:
    """The formula in lines, broken after commas outside brackets."""
    lines = [""]
    for piece in re.split(r", (?![^()]*\))", formula):
        if lines[-1] and len(lines[-1]) + len(piece) > width:
            lines.append("")
        lines[-1] += piece + ", "
    return "\n".join(line.strip() for line in lines).removesuffix(",")
