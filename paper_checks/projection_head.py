"""Only z = head(h), on which the loss acts, has to be blind to style: h before the head keeps what the head discards.

    R^2(s | h) - R^2(s | z) > 0,        R^2(c | h) - R^2(c | z) >= 0,        W the head's matrix where it is linear:
    the style variance of h lies in right singular directions of W with small (or no) singular value

SimCLR, encoder MLP 128 x 3 with an output h of 128 numbers, heads of 0 to 3 layers that end in 10 (hidden width 128);
the ceiling and all R^2 are those of the nonlinear probe. h is wide, for a head can only discard what h has room for.

Bounds, fixed beforehand. Head of two layers: style at least 0.05 more in h than in z, content at most 0.02 less. Depth:
over heads of 1, 2 and 3 layers the difference of style grows by at least 0.025 a layer, so that two layers more add as
much again, 0.05, as a head must do at all (the head of no layer, whose difference is nought by definition, stays
out of the slope). Linear head: the share of style in the variance of W h is at most half of that in h, and the
directions that W passes on hold at most half of the style variance that as many random directions would.

Control: the identity for a head. h is z, all directions are passed on alike.

Source: Bizeul, Schölkopf, Allen (2024), arXiv 2402.01399, section 4; Chen et al. (2020), arXiv 2002.05709, section 4.2.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

import synthetic
from figures import canvas, control_mark, legend, line_with_band, series, theory_line
from paper_checks import own
from paper_checks.claim import Claim, Config, Finding, Task, per_seed
from paper_checks.trained import (
    BLOCK,
    OBSERVATION,
    READ_BY,
    SHARED,
    SIZES,
    displayed,
    fresh,
    named,
    observed,
    of_name,
    represented,
    sampler,
    tidy,
)
from ssl_theory.analysis import probes, projection
from ssl_theory.learners import JointEmbedding, fit

WIDTH, OUTPUT = 128, 10  # of h, of z
DEPTHS = (0, 1, 2, 3)
STYLE, CONTENT = "style R2, nonlinear", "content R2, nonlinear"
LAYERS = {"encoder": "h, before the head", "representation": "z, after it"}

SIMCLR, JUDGED = "SimCLR", 2  # layers of the head that h and z are compared at

CONFIG = {profile: size | BLOCK | {"methods": []} for profile, size in SIZES.items()}  # methods: own, beside SimCLR


def through_head(
    *,
    depth: int,
    world: str,
    seeds: int,
    steps: int,
    points: int,
    batch_size: int,
    method: str = SIMCLR,
    device: str = "cpu",
) -> pd.DataFrame:
    """What h and z keep, a row a (depth, layer, measure, seed); of linear heads also what they pass on."""
    worlds = [of_name(world, seed).to(device) for seed in range(seeds)]
    learner = named(method)(latent_dim=WIDTH, head=(*[WIDTH] * (depth - 1), OUTPUT) if depth else None)
    samplers = [sampler(learner, each, seed) for seed, each in enumerate(worlds)]
    fitted = fit(learner, samplers, steps=steps, seeds=range(seeds), batch_size=batch_size, device=device)
    drawn = [fresh(each, points, seed) for seed, each in enumerate(worlds)]
    x = torch.stack([data.x for data in drawn])
    layers = {layer: represented(fitted, x, layer) for layer in LAYERS}
    tables = [tidy(probed(r, drawn), layer=layer) for layer, r in layers.items()]
    if depth < 2:
        identity = torch.eye(WIDTH, device=x.device).expand(seeds, -1, -1)
        weight = fitted.modules.get_parameter("head.layers.0.weight").detach() if depth else identity
        tables += [by_direction(layers["encoder"], weight), by_subspace(layers["encoder"], weight, drawn)]
    return pd.concat(tables, ignore_index=True).assign(depth=depth)


def probed(r: Float[Tensor, "E n J d"], drawn: Sequence[synthetic.Views]) -> dict[str, Tensor]:
    """Nonlinear R^2 of style and of content, one half of the data points fitted, the other scored."""
    half, styles = r.shape[1] // 2, drawn[0].style.shape[-1]
    truth = torch.stack([torch.cat([data.style[:, 0], data.content], -1) for data in drawn])
    test = (r[:, half:, 0], truth[:, half:])
    score = probes.r2(r[:, :half, 0], truth[:, :half], kind="nonlinear", test=test, per_target=True)
    return {STYLE: score[:, :styles].mean(-1), CONTENT: score[:, styles:].mean(-1)}


def by_direction(h: Float[Tensor, "E n J d"], weight: Float[Tensor, "E b d"]) -> pd.DataFrame:
    """Shares of style and of content variance of h along the singular directions of the head, and what it passes on.

    Content variance along a direction: the covariance of two views, to which redrawn style adds nothing.
    """
    style = projection.style_variance_by_direction(h, weight)
    first, second = ((h[:, :, j] - h[:, :, j].mean(1, keepdim=True)).double() for j in (0, 1))
    directions = torch.linalg.svd(weight.double(), full_matrices=True).Vh.mT
    content = ((first @ directions) * (second @ directions)).mean(1)
    shares = {"style": style, "content": content / content.sum(1, keepdim=True)}
    rows = [
        {"measure": f"{name} share", "seed": seed, "direction": i, "value": value}
        for name, values in shares.items()
        for seed, member in enumerate(values.tolist())
        for i, value in enumerate(member, 1)
    ]
    kept = 1 - projection.style_in_small_directions(h, weight, leading=OUTPUT)
    found = {"passed on": projection.passed_on(h, weight), "over even": kept * WIDTH / OUTPUT}
    return pd.concat([pd.DataFrame(rows), tidy(found)], ignore_index=True)


def by_subspace(
    h: Float[Tensor, "E n J d"], weight: Float[Tensor, "E b d"], drawn: Sequence[synthetic.Views]
) -> pd.DataFrame:
    """What is decodable from h within the leading singular directions of the head, and from h outside of them."""
    along = torch.einsum("enjd,edk->enjk", h, torch.linalg.svd(weight, full_matrices=True).Vh.mT)
    parts = {"leading": along[..., :OUTPUT], "rest": along[..., OUTPUT:]}
    return pd.concat([tidy(probed(r, drawn), layer=name) for name, r in parts.items()], ignore_index=True)


def tasks(config: Config) -> list[Task]:
    cost = config["seeds"] * config["steps"] * config["batch_size"] / 2**19 + 0.5
    shared = {key: config[key] for key in ("world", *SHARED)}
    depths, judged = ([0], 0) if config.get("identity") else (DEPTHS, JUDGED)
    plain = [Task(through_head, {"depth": depth} | shared, cost, {"method": SIMCLR}) for depth in depths]
    mine = [
        Task(through_head, {"depth": judged, "method": method} | shared, cost, {"method": own.short(method)})
        for method in config["methods"]
    ]
    return [*plain, *mine, observed(config, world=config["world"])]


def refuses(method: str) -> str:
    """A learner without a projection head has nothing to compare."""
    headed = issubclass(own.load(method), JointEmbedding)
    return "" if headed else f"expected a JointEmbedding, which has a projection head, found {own.short(method)}"


def control(config: Config) -> Config:
    return config | {"identity": True}


def difference(table: pd.DataFrame, measure: str, depth: int, method: str = SIMCLR) -> "pd.Series[float]":
    """R^2 from h less R^2 from z, a number a seed."""
    h, z = (per_seed(table, method=method, depth=depth, layer=layer, measure=measure) for layer in LAYERS)
    return h - z


def findings(table: pd.DataFrame, config: Config) -> list[Finding]:
    def head(layers: int) -> int:
        return 0 if config.get("identity") else layers

    depths = DEPTHS[1:]
    growth = np.stack([difference(table, STYLE, head(depth)) for depth in depths])
    linear = {name: per_seed(table, method=SIMCLR, depth=head(1), measure=name) for name in ("passed on", "over even")}

    def two_layers(method: str, of: str = "") -> list[Finding]:
        style, content = (difference(table, measure, head(JUDGED), method) for measure in (STYLE, CONTENT))
        blind, known = "the loss asks z alone to be blind", "z is a function of h"
        return [
            Finding.from_seeds(f"style R², h − z, two layers{of}", style, ">=", 0.05, reason=blind, controlled=True),
            Finding.from_seeds(f"content R², h − z, two layers{of}", content, ">=", -0.02, reason=known),
        ]

    return [
        *two_layers(SIMCLR),
        Finding.from_seeds(
            "style R², h − z, growth a layer",
            np.polyfit(depths, growth, 1)[0],
            ">=",
            0.025,
            reason="two layers more add as much again as a head must do",
            controlled=True,
        ),
        Finding.from_seeds(
            "share of style in Wh over that in h",
            linear["passed on"],
            "<=",
            0.5,
            reason="1: W favours nothing; half is an effect, not an accident",
            controlled=True,
        ),
        Finding.from_seeds(
            "style variance that W passes on, over an even spread",
            linear["over even"],
            "<=",
            0.5,
            reason="1: as random directions; half is an effect, not an accident",
            controlled=True,
        ),
        *(finding for name in displayed(config["methods"]) for finding in two_layers(name, f", {name}")),
    ]


def draw(table: pd.DataFrame, control_table: pd.DataFrame | None, found: Sequence[Finding], config: Config) -> Figure:
    figure, axes = canvas(1, 3, width="page", height=2.5)
    for panel, measure, name in ((axes[0, 0], STYLE, "style"), (axes[0, 1], CONTENT, "content")):
        _draw_depth(panel, table, measure, displayed(config["methods"]))
        if control_table is not None:
            places: list[dict[str, Any]] = [{"method": SIMCLR, "depth": 0, "layer": layer} for layer in LAYERS]
            values = [per_seed(control_table, **place, measure=measure).mean() for place in places]
            look: dict[str, Any] = control_mark() | {"linestyle": "none", "zorder": 6}
            panel.plot([0, 0], values, **look, label="control: identity head")
        panel.set(xlabel="layers of the head", ylabel=f"R² of {name}", xticks=DEPTHS)
    axes[0, 0].set_title("Style")
    axes[0, 1].set_title("Content")
    _draw_directions(axes[0, 2], table)
    legend(figure)
    return figure


def _draw_depth(axes: Axes, table: pd.DataFrame, measure: str, methods: Sequence[str]) -> None:
    """SimCLR by depth, and the `methods` of a user's own at the depth that they are judged at."""

    def kept(method: str, layer: str, depth: int) -> tuple[float, float, float]:
        values = per_seed(table, method=method, depth=depth, layer=layer, measure=measure)
        drawn = Finding.from_seeds(layer, values, ">=", 0)
        return drawn.estimate, drawn.low, drawn.high

    for index, (layer, name) in enumerate(LAYERS.items()):
        drawn = np.array([kept(SIMCLR, layer, depth) for depth in DEPTHS]).T
        line_with_band(axes, DEPTHS, *drawn, label=name, **series(index))
        for method in methods:
            middle, low, high = kept(method, layer, JUDGED)
            look: dict[str, Any] = series(index) | {"marker": "X", "linestyle": "none"}
            ends = [[middle - low], [high - middle]]
            axes.errorbar([JUDGED + 0.15], [middle], ends, label=f"{method}: {name}", **look)
    ceiling = per_seed(table, method=OBSERVATION, measure=measure).mean()
    theory_line(axes, DEPTHS, [ceiling] * len(DEPTHS), label="ceiling: R² from the data x")


def _draw_directions(axes: Axes, table: pd.DataFrame) -> None:
    """Cumulated over directions, largest singular value first; the head of one layer."""
    axes.axvspan(OUTPUT + 0.5, WIDTH, color="#EFEFEF", zorder=0, linewidth=0)
    leading, rest = (per_seed(table, depth=1, layer=layer, measure=STYLE).mean() for layer in ("leading", "rest"))
    for x, what, decoded in ((1.1, "passed on", leading), (12.5, "discarded", rest)):
        axes.text(x, 1.02, f"{what}:\nstyle R² {decoded:.2f}", va="bottom", fontsize=6.5)
    for index, name in enumerate(("content", "style")):
        rows = table[(table.depth == 1) & (table.measure == f"{name} share")]
        share = rows.pivot_table("value", "seed", "direction").cumsum(axis=1)
        label = f"{name} variance of h"
        line_with_band(
            axes,
            share.columns,
            share.mean(),
            share.min(),
            share.max(),
            label=label,
            **series(2 + index),
            markevery=0.15,
        )
    directions = np.arange(1, WIDTH + 1)
    axes.plot(directions, directions / WIDTH, color="#1A1A1A", linestyle=":", linewidth=1.0, label="an even spread")
    axes.set(xscale="log", ylim=(-0.03, 1.28), xlabel="singular directions of W, largest first")
    axes.set_ylabel("share of variance, cumulated")
    axes.set_xticks(ticks := [1, 3, 10, 30, 128], [f"{tick}" for tick in ticks])
    axes.minorticks_off()
    axes.set_title("Linear head: where style lies")


def caption(found: Sequence[Finding]) -> str:
    style, content, growth, passed, even, *_ = (f.estimate for f in found)
    return (
        f"SimCLR with a head of two layers: R² of style is {style:.2f} higher before the head than after it, that of "
        f"content {content:+.2f}; the difference of style changes by {growth:+.3f} a layer from one to three (means "
        "over seeds, 95 % intervals). Right: the variance of h along the singular directions of a linear head, "
        f"cumulated (bands: all seeds). The ten that the head passes on hold {even:.2f} times the style variance of an "
        f"even spread, and style's share of variance in z is {passed:.2f} times that in h; above: what a nonlinear "
        "probe decodes from h inside and outside of these ten."
    )


NOTES = """Style as *variance* and style as *what can be decoded* part ways in a linear head. Of the variance of
views about their data point 0.82 (0.78 to 0.85 by seed) lies in the ten directions that W passes on; ten directions
of an h trained without a head hold 0.07. Little of it is style that could be read: from those ten directions a
nonlinear probe decodes R² 0.18, from the others, which hold little variance, all that h has (0.70; 0.69 from h as a
whole).

A reading, not tested further: the gradient reaches h as W' dL/dz, so the encoder's last layer moves along the rows
of W, and content grows there together with the error of its estimate. So "the style variance of h lies in
directions of small singular values" holds for decodable style and not for variance; the bounds, on variance, were
left as they were.

The growth with depth comes mostly from one layer to two (0.69, 0.78, 0.81 before the head for one, two, three
layers) and from what deeper heads take away after it (0.18, 0.08, 0.03)."""

CLAIM = Claim(
    name="projection-head",
    part="projection head",
    statement=(
        "The loss asks only the output of the projection head to be blind to style; before the head style survives, "
        "more so before deeper heads, and where the head is linear in directions that it shrinks."
    ),
    formula=(
        r"z = \mathrm{head}_2(h): \; R^2(s \mid h) - R^2(s \mid z) \ge 0.05, R^2(c \mid h) - R^2(c \mid z) \ge -0.02;"
        r" \quad z = W h: \; \mathrm{share}_s(W h) \le 0.5 \, \mathrm{share}_s(h)"
    ),
    config=CONFIG,
    tasks=tasks,
    control=control,
    control_words="the identity for a head: h is z",
    findings=findings,
    draw=draw,
    caption=caption,
    notes=f"{NOTES}\n\n{READ_BY}",
    refuses=refuses,
    source="Bizeul, Schölkopf, Allen (2024), arXiv 2402.01399, section 4; Chen et al. (2020), arXiv 2002.05709",
)
