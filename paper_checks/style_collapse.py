"""Discriminative self-supervision loses the style that every view redraws; fitting the model (SimVAE) keeps it.

    retained style = ( R^2(s | r) - R^2(s | y) ) / ( R^2(s | x) - R^2(s | y) )

0: the representation r tells no more of style s than content y does; 1: it tells all that the observation x does. The
floor R^2(s | y) is the world's closed form, the ceiling R^2(s | x) the same nonlinear probe applied to x.

Bounds, fixed beforehand: at most 0.30 for each discriminative method (what is left is what a finite network did not
discard), at least 0.40 for SimVAE with either prior (a lossy encoder of limited width, not an ideal one), and a
difference of at least 0.30, so that the two families are set apart whatever the probe's level.

Control: p_keep = 1. All views of a data point share their style, which then *is* content; no method may lose it.

Source: Bizeul, Schölkopf, Allen (2024), arXiv 2402.01399, sections 4 and 5; the measure: theory of this project.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import canvas, interval_points, legend
from paper_checks.claim import Claim, Config, Finding, Side, Task, per_seed
from paper_checks.trained import OBSERVATION, kept, retained_style

DISCRIMINATIVE = ("SimCLR", "VICReg")
GENERATIVE = ("SimVAE, Gaussian prior", "SimVAE, flat prior")
SHOWN = (*DISCRIMINATIVE, *GENERATIVE, "VAE", "Random")

CONFIG = {
    "smoke": {"seeds": 2, "steps": 20, "points": 200},
    "quick": {"seeds": 5, "steps": 2000, "points": 4000},
    "full": {"seeds": 10, "steps": 2000, "points": 8000},
}


def tasks(config: Config) -> list[Task]:
    shared = {"world": "block", "overrides": {"p_keep": config.get("p_keep", 0.0)}}
    shared |= {key: config[key] for key in ("seeds", "steps", "points")}
    cost = {OBSERVATION: 0.3, "Random": 0.3, **dict.fromkeys(GENERATIVE, 2.0)}
    return [Task(kept, {"method": name} | shared, cost=cost.get(name, 1.0)) for name in (*SHOWN, OBSERVATION)]


def control(config: Config) -> Config:
    return config | {"p_keep": 1.0}


def findings(table: pd.DataFrame, config: Config) -> list[Finding]:
    retained = {name: retained_style(table, name) for name in (*DISCRIMINATIVE, *GENERATIVE)}
    best = pd.concat([retained[name] for name in DISCRIMINATIVE], axis=1).max(axis=1, skipna=False)
    found = []
    for name in DISCRIMINATIVE:
        reason = "style that every view redraws is not rewarded"
        found.append(
            Finding.from_seeds(f"retained style, {name}", retained[name], "<=", 0.30, reason=reason, controlled=True)
        )
    for name in GENERATIVE:
        reason = "reconstruction needs style"
        found.append(Finding.from_seeds(f"retained style, {name}", retained[name], ">=", 0.40, reason=reason))
    for name in GENERATIVE:
        reason = "the families are apart whatever the level of the probe"
        found.append(
            Finding.from_seeds(
                f"retained style, {name} − best discriminative",
                retained[name] - best,
                ">=",
                0.30,
                reason=reason,
                controlled=True,
            )
        )
    return found


def draw(table: pd.DataFrame, control_table: pd.DataFrame | None, found: Sequence[Finding], config: Config) -> Figure:
    figure, axes = canvas(1, 2, width="page", height=3.0)
    left, right = axes[0]
    bounds = {f.name.removeprefix("retained style, "): (f.bound, f.side) for f in found}
    _draw_methods(left, retained_style, table, control_table, bounds)
    left.set(xlabel="retained style\n0: as much as content tells, 1: as much as the data tell")
    _draw_methods(right, _label_accuracy, table, control_table, {})
    right.set(xlabel="label accuracy, linear probe", yticklabels=[])
    legend(figure)
    return figure


def _label_accuracy(table: pd.DataFrame, method: str) -> "pd.Series[float]":
    return per_seed(table, method=method, measure="label accuracy, linear")


def _draw_methods(
    axes: Axes,
    measure: Callable[[pd.DataFrame, str], "pd.Series[float]"],
    table: pd.DataFrame,
    control_table: pd.DataFrame | None,
    bounds: dict[str, tuple[float, Side]],
) -> None:
    """A row a method: mean over seeds with its interval, the control's below it, the bound where there is one."""

    def intervals(source: pd.DataFrame) -> np.ndarray:
        drawn = [Finding.from_seeds(name, measure(source, name), ">=", 0.0) for name in SHOWN]
        return np.array([(f.estimate, f.low, f.high) for f in drawn]).T

    edges = [bounds.get(name, (np.nan, ">=")) for name in SHOWN]
    interval_points(
        axes,
        SHOWN,
        *intervals(table),
        bounds=[bound for bound, _ in edges] if bounds else None,
        sides=[side for _, side in edges],
        control=None if control_table is None else tuple(intervals(control_table)),
        methods=SHOWN,
    )


def caption(found: Sequence[Finding]) -> str:
    said = {f.name.removeprefix("retained style, "): f for f in found}
    levels = "; ".join(f"{name} {said[name].estimate:.2f}" for name in (*DISCRIMINATIVE, *GENERATIVE))
    return (
        f"Retained style (left): {levels}; mean over seeds with 95 % intervals, a world a seed; tinted: where the "
        "bound lets it be. Label accuracy (right) shows that style is lost while content is not. Hollow: the same "
        "methods where all views of a data point share their style (control), which then survives everywhere."
    )


CLAIM = Claim(
    name="style-collapse",
    part="discriminative families",
    statement=(
        "Discriminative self-supervised representations lose the style that every view redraws, although the data "
        "show it; SimVAE, which fits the model, keeps it."
    ),
    formula=(
        r"\frac{R^2(s \mid r) - R^2(s \mid y)}{R^2(s \mid x) - R^2(s \mid y)}"
        r"\;\; \le 0.30 \text{ (discriminative)}, \;\; \ge 0.40 \text{ (SimVAE)}"
    ),
    config=CONFIG,
    tasks=tasks,
    control=control,
    control_words="p_keep = 1: all views of a data point share their style, so that it is content",
    findings=findings,
    draw=draw,
    caption=caption,
    source="Bizeul, Schölkopf, Allen (2024), arXiv 2402.01399, sections 4 and 5",
)
