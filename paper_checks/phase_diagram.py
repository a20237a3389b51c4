"""Where style is kept: maps over worlds and hyperparameters instead of one setting of each.

    retained style and label accuracy over (sigma_s / sigma_c, tau) and (p_keep, tau),  tau = 2 sigma^2 for SimVAE,
    over (J, tau) for SimVAE, and over (J, head depth) for SimCLR, before the head

sigma_s and sigma_c: standard deviations of a style and of a content coordinate of the world; p_keep: the probability
with which all views of a data point share a style coordinate; J: views of a data point; head depth: affine layers of
the projection head, 0 for none. Every cell trains its own networks, for 500 steps of 32 data points, read on 2,000:
a quarter of the steps, of half as many data points, read on a third of those of the other claims' full profile, since
there are some hundred cells.

Theory draws one line into the first plane. SimVAE's prior takes content to have variance 1 and style sigma^2; the
world has style of variance (sigma_s / sigma_c)^2 in units of content's. Both agree on tau = 2 (sigma_s / sigma_c)^2.
For SimCLR theory has no line: style that every view redraws is lost on the whole plane, at every tau.

Bounds, fixed beforehand, each over the worst cell of each seed. SimCLR retains at most 0.30 of redrawn style anywhere
in (sigma_s / sigma_c, tau); SimVAE at least 0.40 wherever style is no smaller than content, sigma_s >= sigma_c (below,
a decoder of fixed variance has ever less to gain from it); and SimCLR's retained style is higher by at least 0.4 at
p_keep = 1 than at 0, at every tau. The numbers are those of style-collapse and kept-style-is-content. The planes of J
have no bound here: more-views and projection-head judge what they show.

A learner of a user's own has the same three planes, and SimCLR's first bound. Their rows are its temperature, or twice
its style variance; one row of the learner as it is where it has neither field.

Control: p_keep = 1 in SimCLR's first plane, and in a user's own. Style is content there, and SimCLR keeps it.

Source: Bizeul, Schölkopf, Allen (2024), arXiv 2402.01399, sections 4 and 5.
"""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

import synthetic
from figures import canvas, heat_map, legend, theory_line
from paper_checks import own, own_temperature
from paper_checks.claim import Claim, Config, Finding, Task
from paper_checks.trained import OBSERVATION, READ_BY, SHARED, fresh, represented, sampler
from ssl_theory.analysis import probes
from ssl_theory.learners import Learner, SimCLR, SimVAE, fit

METHODS = ("SimCLR", "SimVAE, Gaussian prior")
RATIO, KEEP, VIEWS = "σs / σc", "p_keep", "J"
DEPTH = "head depth"  # the rows of SimCLR's plane of J; of all others they are temperatures
WIDTH = 128  # of hidden layers, and of the representation before a head
CONTENT_STD = math.sqrt(2.0**2 + 0.5**2)  # of a content coordinate: class means and the spread within classes
STYLE, ACCURACY, RETAINED = "style R2, nonlinear", "label accuracy, linear", "retained style"

TRAINING: Config = {"steps": 500, "points": 2000, "batch_size": 32}
CONFIG = {  # methods: a user's own
    "smoke": {"methods": [], "seeds": 2, "steps": 10, "points": 120, "batch_size": 16}
    | {"temperatures": [0.1, 1.6], RATIO: [0.5, 2.0], KEEP: [0.0, 1.0], VIEWS: [2, 3], DEPTH: [0, 2]},
    "quick": {"methods": [], "seeds": 5}
    | TRAINING
    | {"temperatures": [0.1, 1.6], RATIO: [0.5, 2.0], KEEP: [0.0, 1.0], VIEWS: [2, 4], DEPTH: [0, 2]},
    "full": {"methods": [], "seeds": 10}
    | TRAINING
    | {
        "temperatures": [0.05, 0.15, 0.5, 1.5],
        RATIO: [0.25, 0.5, 1.0, 2.0],
        KEEP: [0.0, 0.25, 0.5, 1.0],
        VIEWS: [2, 4, 8],
        DEPTH: [0, 1, 2, 3],
    },
}


def learner(method: str, rows: str, row: float) -> Learner:
    """The method at `temperature = 2 sigma^2`, or with a head of so many layers."""
    if rows == DEPTH:
        depth = int(row)
        return SimCLR(latent_dim=WIDTH, head=(*[WIDTH] * (depth - 1), 10)) if depth else SimCLR()
    return SimCLR(temperature=row) if method == "SimCLR" else SimVAE(style_variance=row / 2)


def world_at(axis: str, place: float, p_keep: float, seed: int) -> synthetic.World:
    """The block world at one place of the plane's axis; the world's other axis at its default, or at `p_keep`."""
    if axis == VIEWS:
        return synthetic.preset("block", seed=seed)
    if axis == KEEP:
        return synthetic.preset("block", seed=seed, p_keep=place)
    return synthetic.preset("block", seed=seed, style_std=place * CONTENT_STD, p_keep=p_keep)


def plane(
    *, axis: str, rows: str, at: list[float], places: list[float], device: str = "cpu", **arguments: Any
) -> pd.DataFrame:
    """One row a (place, row, seed, measure). Cells that differ in a number alone train as one ensemble, those that
    differ in views or networks one after another.
    """
    each = [places] if axis != VIEWS else [[place] for place in places]
    lines = [at] if rows != DEPTH else [[row] for row in at]
    parts = [
        cells_at(axis=axis, rows=rows, at=some, places=there, device=device, **arguments)
        for there, some in product(each, lines)
    ]
    return pd.concat(parts, ignore_index=True)


def cells_at(
    *,
    method: str,
    axis: str,
    rows: str,
    at: list[float],
    places: list[float],
    p_keep: float,
    seeds: int,
    steps: int,
    points: int,
    batch_size: int,
    device: str,
) -> pd.DataFrame:
    """The cells of some places and rows, all seeds of them as one ensemble."""
    members = list(product(places, at, range(seeds)))
    worlds = [world_at(axis, place, p_keep, seed).to(device) for place, _, seed in members]
    drawn = [fresh(world, points, seed) for world, (_, _, seed) in zip(worlds, members, strict=True)]
    r = torch.stack([data.x for data in drawn])
    if method != OBSERVATION:
        fitted = fit(
            [learner(method, rows, row) for _, row in product(places, at)],
            worlds,
            steps=steps,
            seeds=range(seeds),
            batch_size=batch_size,
            views=int(places[0]) if axis == VIEWS else 2,
            device=device,
        )
        r = represented(fitted, r, "encoder" if rows == DEPTH else "representation")
    found = {name: values.tolist() for name, values in probed(r[:, :, 0], drawn).items()}
    table = pd.DataFrame(members, columns=["place", "row", "seed"]).assign(**found)
    table = table.melt(["place", "row", "seed"], var_name="measure")
    return table.assign(method=method, axis=axis)


def probed(r: torch.Tensor, drawn: Sequence[synthetic.Views]) -> dict[str, torch.Tensor]:
    """Nonlinear R^2 of style and linear accuracy of the label, one half fitted, the other scored."""
    half = r.shape[1] // 2
    style = torch.stack([data.style[:, 0] for data in drawn])
    label = torch.stack([data.label for data in drawn if data.label is not None])
    return {
        STYLE: probes.r2(r[:, :half], style[:, :half], kind="nonlinear", test=(r[:, half:], style[:, half:])),
        ACCURACY: probes.accuracy(r[:, :half], label[:, :half], test=(r[:, half:], label[:, half:])),
    }


def plane_of_own(
    *,
    method: str,
    axis: str,
    at: list[float],
    places: list[float],
    p_keep: float,
    seeds: int,
    steps: int,
    points: int,
    batch_size: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """The same of a user's own learner. One temperature after another: its loss need not take a tensor of them."""
    tables = []
    for there, row in product([places] if axis != VIEWS else [[place] for place in places], at):
        members, made = list(product(there, range(seeds))), own_temperature.at(method, row)
        worlds = [world_at(axis, place, p_keep, seed).to(device) for place, seed in members]
        fitted = fit(
            [made] * len(there),
            [sampler(made, world, seed) for world, (_, seed) in zip(worlds, members, strict=True)],
            steps=steps,
            seeds=range(seeds),
            batch_size=batch_size,
            views=int(there[0]) if axis == VIEWS else 2,
            device=device,
        )
        drawn = [fresh(world, points, seed) for world, (_, seed) in zip(worlds, members, strict=True)]
        r = represented(fitted, torch.stack([data.x for data in drawn]), "representation")
        found = {name: values.tolist() for name, values in probed(r[:, :, 0], drawn).items()}
        tables.append(pd.DataFrame(members, columns=["place", "seed"]).assign(row=row, **found))
    table = pd.concat(tables, ignore_index=True).melt(["place", "row", "seed"], var_name="measure")
    return table.assign(axis=axis)


def tasks(config: Config) -> list[Task]:
    planes = (RATIO, KEEP, VIEWS)
    return [
        *(_task(config, axis, method) for axis, method in product(planes, (*METHODS, OBSERVATION))),
        *(_own_task(config, axis, method) for axis, method in product(planes, config["methods"])),
    ]


def _task(config: Config, axis: str, method: str) -> Task:
    where = {"method": method, "axis": axis, "places": config[axis], "rows": rows_of(method, axis), "p_keep": 0.0}
    where |= {"at": config[where["rows"]]} | {key: config[key] for key in SHARED}
    if (method, axis) == ("SimCLR", RATIO):
        where |= {"p_keep": config.get("shared style", 0.0)}
    if method == OBSERVATION:  # has neither temperatures nor numbers of views, and is not trained
        where |= {"at": [0.0], "places": config[axis][:1] if axis == VIEWS else config[axis]}
        where |= {"steps": 0, "batch_size": 1}
    return Task(plane, where, cost=_cost(where))


def _own_task(config: Config, axis: str, method: str) -> Task:
    where = {"method": method, "axis": axis, "places": config[axis]} | {key: config[key] for key in SHARED}
    where |= {"at": config["temperatures"] if own_temperature.temperature_of(method) else [0.0]}
    where |= {"p_keep": config.get("shared style", 0.0) if axis == RATIO else 0.0}
    return Task(plane_of_own, where, cost=_cost(where), columns={"method": own.short(method)})


def _cost(where: Config) -> float:
    points = sum(where["places"]) / 2 if where["axis"] == VIEWS else len(where["places"])
    seen = where["points"] + where["steps"] * where["batch_size"]
    return float(len(where["at"]) * points * where["seeds"] * seen / 2**19)


def rows_of(method: str, axis: str) -> str:
    """What the rows of a plane are: SimCLR's plane of J has head depths, every other one temperatures."""
    return DEPTH if (method, axis) == ("SimCLR", VIEWS) else "temperatures"


def control(config: Config) -> Config:
    return config | {"shared style": 1.0}


def cells(table: pd.DataFrame, method: str, axis: str, measure: str) -> pd.DataFrame:
    """Values a seed (rows) and a cell (place, row); retained style relative to the data of that place.

    The floor of retained style is nought: style does not depend on content in these worlds.
    """
    raw = STYLE if measure == RETAINED else measure
    found = table[(table.axis == axis) & (table.measure == raw)]

    def of(name: str) -> pd.DataFrame:
        return found[found.method == name].pivot(index="seed", columns=["place", "row"], values="value")

    values = of(method)
    if measure == RETAINED:
        ceiling = of(OBSERVATION).droplevel("row", axis=1)
        places = values.columns.get_level_values("place")
        of_place = ceiling[places if axis != VIEWS else [ceiling.columns[0]] * len(places)]
        values = values.div(of_place.to_numpy(), axis=None)
    return values.astype(float)


def limits(config: Config) -> str:
    """The rise is from p_keep = 0 to 1, and SimVAE is asked where style is no smaller than content."""
    if (min(config[KEEP], default=None), max(config[KEEP], default=None)) != (0, 1):
        return f"expected {KEEP} to reach from 0 to 1, found {config[KEEP]}"
    return "" if max(config[RATIO], default=0) >= 1 else f"expected {RATIO} of 1 or more too, found {config[RATIO]}"


def findings(table: pd.DataFrame, config: Config) -> list[Finding]:
    contrastive, kept = (cells(table, "SimCLR", axis, RETAINED) for axis in (RATIO, KEEP))
    rise = kept[max(config[KEEP])] - kept[min(config[KEEP])]
    return [
        _lost("SimCLR", contrastive, "redrawn style is lost at every τ and every size"),
        _kept("SimVAE", cells(table, METHODS[1], RATIO, RETAINED), "reconstruction needs style"),
        Finding.from_seeds(
            "retained style, SimCLR, p_keep 1 − 0, least over τ of each seed",
            rise.min(axis=1, skipna=False),
            ">=",
            0.40,
            reason="style that views share is content",
        ),
        *(_of_own(table, name) for name in config["methods"]),
    ]


def _of_own(table: pd.DataFrame, method: str) -> Finding:
    """What SimVAE is asked of a user's own with a decoder, of another what SimCLR is."""
    name = own.short(method)
    plane = cells(table, name, RATIO, RETAINED)
    if own.generative(method):
        return _kept(name, plane, "as asked of SimVAE")
    return _lost(name, plane, "as asked of SimCLR")


def _lost(name: str, plane: pd.DataFrame, reason: str) -> Finding:
    values = plane.max(axis=1, skipna=False)
    words = f"retained style, {name}, highest cell of each seed"
    return Finding.from_seeds(words, values, "<=", 0.30, reason=reason, controlled=True)


def _kept(name: str, plane: pd.DataFrame, reason: str) -> Finding:
    values = plane.loc[:, plane.columns.get_level_values("place") >= 1.0].min(axis=1, skipna=False)
    words = f"retained style, {name}, lowest cell of each seed, σs ≥ σc"
    return Finding.from_seeds(words, values, ">=", 0.40, reason=reason)


def draw(table: pd.DataFrame, control_table: pd.DataFrame | None, found: Sequence[Finding], config: Config) -> Figure:
    lines = list(product((*METHODS, *config["methods"]), (RETAINED, ACCURACY)))
    figure, axes = canvas(len(lines), 3, width="page", height=1.45)
    for (line, (method, measure)), (column, axis) in product(enumerate(lines), enumerate((RATIO, KEEP, VIEWS))):
        panel, name = axes[line, column], own.short(method)
        mean = cells(table, name, axis, measure).mean().unstack("place")
        rows, places = mean.index.to_numpy(dtype=float), mean.columns.to_numpy(dtype=float)
        generative = method == METHODS[1]
        controlled = axis == RATIO and not generative
        heat_map(
            panel,
            np.arange(len(places)),
            np.arange(len(rows)),
            mean.to_numpy(),
            label="retained style" if measure == RETAINED else "label accuracy",
            limits=(0.0, 1.0) if measure == RETAINED else (0.5, 1.0),
            contour=np.log(rows)[:, None] - np.log(2 * places**2)[None] if generative and axis == RATIO else None,
            words=_words(mean, table, control_table if controlled else None, name, measure),
            bar=column == 2,
        )
        panel.set_xticks(np.arange(len(places)), [f"{place:g}" for place in places])
        label = row_label(method, axis)
        panel.set_yticks(*((np.arange(len(rows)), [f"{row:g}" for row in rows]) if label else ([],)))
        panel.minorticks_off()
        if column == 0:
            panel.set_title(f"{name.split(',')[0]}: {'retained style' if measure == RETAINED else 'label accuracy'}")
        if line == len(lines) - 1:
            panel.set_xlabel(axis)
        panel.set_ylabel(label)
    theory_line(axes[0, 0], [], [], label="theory, SimVAE: the prior's variances are the world's, τ = 2 (σs / σc)²")
    legend(figure)
    return figure


def row_label(method: str, axis: str) -> str:
    """What the rows of a plane are called; nothing where there is but one, of a learner without temperature."""
    if method not in METHODS:
        field = own_temperature.temperature_of(method)
        return own_temperature.TEMPERATURES[field][0] if field else ""
    return DEPTH if rows_of(method, axis) == DEPTH else "τ = 2σ²" if method == METHODS[1] else "τ"


def _words(
    mean: pd.DataFrame, table: pd.DataFrame, control_table: pd.DataFrame | None, method: str, measure: str
) -> list[list[str]]:
    """The number of each cell, and the control's below it in brackets."""
    words = [[f"{value:.2f}" for value in row] for row in mean.to_numpy()]
    if control_table is None:
        return words
    data = table[table.method == OBSERVATION]
    broken = pd.concat([control_table[control_table.method != OBSERVATION], data])
    other = cells(broken, method, RATIO, measure).mean().unstack("place").to_numpy()
    return [[f"{a}\n({b:.2f})" for a, b in zip(*pair, strict=True)] for pair in zip(words, other, strict=True)]


def caption(found: Sequence[Finding]) -> str:
    lost, kept, rise, *mine = found
    ends = {"<=": "at most", ">=": "at least"}
    yours = "".join(f", {f.name.split(', ')[1]} {ends[f.side]} {f.estimate:.2f}" for f in mine)
    return (
        "Retained style (style) and accuracy of a linear probe (label), mean over seeds, a training a cell. SimCLR "
        f"retains {lost.estimate:.2f} in each seed's highest cell of the first plane{yours}, SimVAE "
        f"{kept.estimate:.2f} in its lowest with σs ≥ σc; from p_keep = 0 to 1 SimCLR's retained style rises by "
        f"{rise.estimate:.2f} at the temperature where it rises least in that seed (what is shown are means over "
        "seeds, whose extremes are less). In brackets: the control, p_keep = 1. Dashed: the prior's style variance is "
        "the world's, τ = 2 (σs/σc)². The last planes are over the number of views J; for SimCLR with the depth of the "
        "projection head, and read before the head."
    )


NOTES = """SimCLR breaks its bound where style is large, most at a small tau: of style of twice content's size it
retains 0.47, 0.40, 0.33, 0.32 at tau = 0.05, 0.15, 0.5, 1.5, where they are equal 0.42, 0.34, 0.32, 0.28, of style
of half its size 0.15 to 0.31. A fine kernel tells data points apart by their style, too: tau = 0.05 keeps 0.51 of
style that views share with probability 0.25, where tau = 0.15 keeps 0.25. At tau = 1.5 retained style starts at
0.30 and ends at 0.70, hence the rise that is not decided.

SimVAE's price stands in the column of large style: label accuracy 0.73 to 0.68, against 0.93 to 0.88 of SimCLR.
Where all views share style and tau is 0.15 or less, SimCLR pushes the label out (accuracy 0.73 and 0.75, 0.91
above).

The number of views, 2 to 8, changes retained style by 0.07 at most, label accuracy by 0.01. A head of two layers
keeps 0.89 of style before it, where none keeps 0.23 to 0.29, and costs no label accuracy."""

CLAIM = Claim(
    name="phase-diagram",
    part="discriminative families",
    statement=(
        "Over the size of style, the temperature and the share of style that views have in common, SimCLR keeps style "
        "only where views share it; SimVAE keeps it wherever it is as large as content."
    ),
    formula=r"\tau = 2 \sigma^2 = 2\, (\sigma_s / \sigma_c)^2",
    config=CONFIG,
    tasks=tasks,
    control=control,
    control_words="p_keep = 1 in SimCLR's first plane: all views of a data point share their style",
    findings=findings,
    draw=draw,
    caption=caption,
    limits=limits,
    notes=f"{NOTES}\n\n{READ_BY}",
    source="Bizeul, Schölkopf, Allen (2024), arXiv 2402.01399, sections 4 and 5",
)
