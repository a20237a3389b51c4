"""Where style depends on content, part of what looks like retained style is content, and must be taken off.

    s = W (c - E c) + eps,   R^2(s | y) = floor     (world `dependent-style`, the same floor for every coordinate)

A representation that keeps content *alone* already tells that much of style. So the naive measure, R^2(s | r), says
that discriminative methods retain style; the floor taken off, over the ceiling R^2(s | x), they lose it.

Bounds, fixed beforehand, at floor 0.5. Naive R^2 of each discriminative method at least 0.30, three fifths of the
floor, since a finite representation keeps content imperfectly: it does look like retention. Retained style, the floor
subtracted, at most 0.30 for discriminative methods and at least 0.40 for SimVAE, as where style is independent of
content. Naive R^2 less the floor at most 0.15, which is 0.30 of the half that lies above the floor.

Control: p_keep = 1. All views of a data point share their style, so what content does not tell of it survives as well,
above the floor, in discriminative representations too.

The quick profile has one strength of dependence and a method or two a family; the full one every family at floor 0.5,
and a sweep of the strength, whose theory is a line: a representation of content alone has R^2 = floor.

Source: Bizeul, Schölkopf, Allen (2024), arXiv 2402.01399, section 4; dependence of style on content: von Kügelgen et
al. (2021), arXiv 2106.04619; the measure: theory of this project.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import canvas, control_mark, interval_points, legend, line_with_band, mark, theory_line
from paper_checks import own
from paper_checks.claim import Claim, Config, Finding, Task, per_seed
from paper_checks.trained import OBSERVATION, ONE_A_FAMILY, READ_BY, SIZES, displayed, retained_style, training

WORLD, FLOOR = "dependent-style", 0.5  # the preset's own floor
SIMVAE = "SimVAE, Gaussian prior"
BROKEN = "control: one assumption broken"  # as `interval_points` calls it
CHIEF = ("SimCLR", "VICReg", SIMVAE, "VAE")

CONFIG = {
    "smoke": SIZES["smoke"] | {"methods": list(CHIEF), "floors": []},
    "quick": SIZES["quick"] | {"methods": list(CHIEF), "floors": []},
    "full": SIZES["full"] | {"methods": [*ONE_A_FAMILY, SIMVAE, "VAE"], "floors": [0.0, 0.25, 0.75]},
}


def tasks(config: Config) -> list[Task]:
    kept = {"overrides": {"p_keep": config["p_keep"]}} if "p_keep" in config else {}
    found = [
        training(name, config, world=WORLD, columns={"strength": FLOOR}, **kept)
        for name in (*config["methods"], OBSERVATION)
    ]
    for floor in config["floors"]:
        about: dict[str, Any] = {"world": WORLD, "overrides": {"floor": floor}} if floor else {}  # at 0: world `block`
        found += [training(name, config, columns={"strength": floor}, **about) for name in (*CHIEF, OBSERVATION)]
    return found


def control(config: Config) -> Config:
    return config | {"p_keep": 1.0, "methods": discriminative(config), "floors": []}


def discriminative(config: Config) -> list[str]:
    """All but the generative ones; a user's own is what it is."""
    return [name for name in config["methods"] if name not in (SIMVAE, "VAE") and not own.generative(name)]


def at(table: pd.DataFrame, strength: float) -> pd.DataFrame:
    return table[table.strength == strength]


def naive(table: pd.DataFrame, method: str) -> "pd.Series[float]":
    """What content and what style tell of style, together."""
    return per_seed(table, method=method, measure="style R2, nonlinear")


def floor_of(table: pd.DataFrame) -> "pd.Series[float]":
    return per_seed(table, method=OBSERVATION, measure="style floor")


def findings(table: pd.DataFrame, config: Config) -> list[Finding]:
    found, table = [], at(table, FLOOR)
    for name in displayed(discriminative(config)):
        values, why = naive(table, name), "content alone tells about the floor"
        found.append(Finding.from_seeds(f"naive style R², {name}", values, ">=", 0.30, reason=why))
        values, why = naive(table, name) - floor_of(table), "content tells no more of style than the floor"
        found.append(Finding.from_seeds(f"style R² − floor, {name}", values, "<=", 0.15, reason=why, controlled=True))
        values, why = retained_style(table, name), "style that every view redraws is not rewarded"
        found.append(Finding.from_seeds(f"retained style, {name}", values, "<=", 0.30, reason=why, controlled=True))
    for name in displayed([name for name in config["methods"] if name == SIMVAE or own.generative(name)]):
        values, why = retained_style(table, name), "reconstruction needs style"
        found.append(Finding.from_seeds(f"retained style, {name}", values, ">=", 0.40, reason=why))
    return found


def draw(table: pd.DataFrame, control_table: pd.DataFrame | None, found: Sequence[Finding], config: Config) -> Figure:
    figure, axes = canvas(1, 3 if config["floors"] else 2, width="page", height=2.8)
    _draw_stacked(axes[0, 0], at(table, FLOOR), control_table, config)
    _draw_retained(axes[0, 1], at(table, FLOOR), control_table, found, config)
    if config["floors"]:
        _draw_sweep(axes[0, 2], table, config)
    legend(figure)
    return figure


def short(name: str) -> str:
    return name.partition(",")[0].replace("InstanceDiscrimination", "Instance")


def interval(values: "pd.Series[float]") -> tuple[float, float, float]:
    f = Finding.from_seeds("", values, ">=", 0.0)
    return f.estimate, f.low, f.high


def _draw_stacked(axes: Axes, table: pd.DataFrame, control_table: pd.DataFrame | None, config: Config) -> None:
    """The naive R², as far as the floor pale, the rest in the family's colour."""
    floor = float(floor_of(table).mean())
    names, controlled = displayed(config["methods"]), displayed(discriminative(config))
    for place, name in enumerate(names):
        middle, low, high = interval(naive(table, name))
        color = mark(name)["color"]
        axes.bar(place, min(middle, floor), width=0.62, color=color, alpha=0.3, linewidth=0)
        axes.bar(place, max(middle - floor, 0), bottom=floor, width=0.62, color=color, linewidth=0)
        axes.plot([place, place], [low, high], color="black", linewidth=1.2)
        if control_table is not None and name in controlled:
            middle, low, high = interval(naive(control_table, name))
            axes.plot([place] * 2, [low, high], color=control_mark()["color"], linewidth=1.2)
            axes.plot([place], [middle], **control_mark() | {"linestyle": "none"}, label=BROKEN)
    ends = np.array([-0.5, len(names) - 0.4])
    theory_line(axes, ends, np.full(2, floor), label="floor: what content tells, exact")
    ceiling = float(naive(table, OBSERVATION).mean())
    axes.plot(ends, np.full(2, ceiling), color="0.5", linewidth=1.1, label="ceiling: what the data tell, same probe")
    axes.set_xticks(range(len(names)), [short(name) for name in names])
    if len(names) > 4:
        axes.set_xticklabels(axes.get_xticklabels(), rotation=60, ha="right", rotation_mode="anchor")
    axes.grid(False, axis="x")
    axes.set(ylabel="style R², naive (pale: up to the floor)", ylim=(0, 1))


def _draw_retained(
    axes: Axes,
    table: pd.DataFrame,
    control_table: pd.DataFrame | None,
    found: Sequence[Finding],
    config: Config,
) -> None:
    names, bounds = displayed(config["methods"]), {f.name: f for f in found}
    edges = [bounds.get(f"retained style, {name}") for name in names]
    missing = (float("nan"),) * 3
    hollow = None
    if control_table is not None:
        there = displayed(discriminative(config))
        hollow = [interval(retained_style(control_table, n)) if n in there else missing for n in names]
    interval_points(
        axes,
        [short(name) for name in names],
        *np.array([interval(retained_style(table, name)) for name in names]).T,
        bounds=[f.bound if f else float("nan") for f in edges],
        sides=[f.side if f else ">=" for f in edges],
        control=None if hollow is None else tuple(np.array(hollow).T),
        methods=names,
    )
    axes.set(xlabel="retained style, floor subtracted")


def _draw_sweep(axes: Axes, table: pd.DataFrame, config: Config) -> None:
    """Naive R² against the strength of dependence: on the diagonal lies a representation of content alone."""
    floors = sorted([*config["floors"], FLOOR])
    for name in CHIEF:
        rows = [naive(at(table, floor), name) for floor in floors]
        middle, low, high = np.array([interval(values) for values in rows]).T
        line_with_band(axes, floors, middle, low, high, label=short(name), method=name)
    theory_line(axes, np.array([0.0, 0.8]), np.array([0.0, 0.8]), label="floor: what content tells, exact")
    axes.set(xlabel="floor R²(s|y)", ylabel="style R², naive", ylim=(0, 1))


def caption(found: Sequence[Finding]) -> str:
    said = {f.name: f.estimate for f in found}
    names = [name.removeprefix("naive style R², ") for name in said if name.startswith("naive")]
    looks = ", ".join(f"{name} {said[f'naive style R², {name}']:.2f}" for name in names)
    truly = ", ".join(f"{name} {said[f'retained style, {name}']:.2f}" for name in names)
    generative = f"; SimVAE {said[name]:.2f}" if (name := f"retained style, {SIMVAE}") in said else ""
    return (
        f"Half of the variance of style follows from content. Left: R² of style as read ({looks}), and, dashed, the "
        "floor that content alone tells. Then: the floor subtracted, over what the data tell beyond it, retained style "
        f"({truly}{generative}). Right, where it is drawn: style as read, by how much of it follows from content; on "
        "the dashed line lies what tells content alone. Hollow: all views of a data point share their style (control). "
        "Means over seeds, a world a seed, with 95 % intervals; tinted: where the bound lets it be."
    )


CLAIM = Claim(
    name="dependent-style",
    part="generative",
    statement=(
        "Where style depends on content, discriminative representations seem to retain style, but tell about as much "
        "of it as content alone does; above that floor they lose it, and SimVAE keeps it."
    ),
    formula=(
        r"R^2(s \mid r) = \underbrace{R^2(s \mid y)}_{\text{floor: content}} + \text{rest}, \qquad"
        r" \frac{R^2(s \mid r) - R^2(s \mid y)}{R^2(s \mid x) - R^2(s \mid y)} \le 0.30 \text{ (discriminative)},"
        r" \;\; \ge 0.40 \text{ (SimVAE)}"
    ),
    config=CONFIG,
    tasks=tasks,
    control=control,
    control_words="p_keep = 1: all views of a data point share their style, so that all of it is content",
    findings=findings,
    draw=draw,
    caption=caption,
    notes=READ_BY,
    source="Bizeul, Schölkopf, Allen (2024), arXiv 2402.01399, section 4; von Kügelgen et al. (2021), arXiv 2106.04619",
)
