"""The more views of a data point SimVAE sees at once, the closer it draws them, and it knows their content no worse.

    p(z^{1:J}) = int p(y) prod_j p(z^j | y) dy :   Var(y | z^{1:J}) = (1 / gamma^2 + J / sigma^2)^-1   falls with J

Trained with J = 2, 4, 8 views and equally many images a step (the published setting counts images): J = 8 has a
quarter of the data points of J = 2. Measured on single views of fresh data: accuracy of a linear probe of the label,
R^2 of a nonlinear probe of content, and the spread of the views of a data point over that of all. SimCLR with J views
(all pairs of views are positive) and linear R^2 of content are drawn beside it, without a bound.

Bounds. Fixed beforehand: at J = 8 neither accuracy nor R^2 is more than 0.01 below J = 2; four times fewer data points
a step may cost something, but less than a probe's error over seeds. Added after a first run with five seeds, in which
no control could make these two fail: the spread of the views of a data point, over that of all, falls. That is an
expectation, not a theorem: the formula is about what J views together tell of y, the spread is that of single views,
in the model sigma^2 / (sigma^2 + gamma^2) for every J. It is the finding that the control is asked to break.

Control: strangers. Views beyond the first two are those of other data points, so that more of them know nothing more
of the content that is shared; they must then lie further apart, not closer. Accuracy and R² need not fall, because a
decoder alone asks for content, whatever the prior believes (see the notes).

Source: Bizeul, Schölkopf, Allen (2024), arXiv 2402.01399, section 5; J views: Tian, Krishnan, Isola (2020), arXiv
1906.05849.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

import synthetic
from figures import bound_line, canvas, control_mark, legend, line_with_band
from paper_checks import own
from paper_checks.claim import Claim, Config, Finding, Task, per_seed
from paper_checks.trained import (
    BLOCK,
    READ_BY,
    SIZES,
    displayed,
    fresh,
    measures,
    named,
    observed,
    of_name,
    represented,
    tidy,
    training,
)
from ssl_theory.learners import fit

SIMVAE, SIMCLR = "SimVAE, Gaussian prior", "SimCLR"
VIEWS = (2, 4, 8)
FEW, MANY = VIEWS[0], VIEWS[-1]
GENUINE = 2  # views of the data point itself, under the control
ACCURACY, CONTENT, SPREAD = "label accuracy, linear", "content R2, nonlinear", "collapse ratio"

SHOWN = {
    ACCURACY: ("Label, linear", "accuracy"),
    CONTENT: ("Content, nonlinear", "R²"),
    "content R2, linear": ("Content, linear", "R²"),
    SPREAD: ("Spread of views", "collapse ratio"),
}
STRANGE = "control: SimVAE among strangers"

CONFIG = {
    "smoke": SIZES["smoke"] | BLOCK | {"views": list(VIEWS), "methods": [SIMVAE, SIMCLR]},
    "quick": SIZES["quick"] | BLOCK | {"views": [FEW, MANY], "methods": [SIMVAE]},
    "full": SIZES["full"] | BLOCK | {"views": list(VIEWS), "methods": [SIMVAE, SIMCLR]},
}


@dataclasses.dataclass(frozen=True)
class Strangers:
    """A world whose views beyond the first two are those of other data points."""

    world: synthetic.World

    @property
    def device(self) -> torch.device:
        return self.world.device

    def sample(self, n: int, *, views: int, generator: torch.Generator) -> synthetic.Views:
        drawn = self.world.sample(n, views=views, generator=generator)
        own = torch.arange(n, device=self.device)
        others = [torch.randperm(n, generator=generator, device=self.device) for _ in range(views - GENUINE)]
        order, view = torch.stack([own] * min(GENUINE, views) + others, -1), torch.arange(views, device=self.device)
        x, z, style = (part[order, view] for part in (drawn.x, drawn.z, drawn.style))
        return dataclasses.replace(drawn, x=x, z=z, style=style)


def among_strangers(
    *, method: str, world: str, views: int, seeds: int, steps: int, points: int, batch_size: int, device: str = "cpu"
) -> pd.DataFrame:
    """What the shared trainings measure, with strangers among the views."""
    worlds = [of_name(world, seed).to(device) for seed in range(seeds)]
    samplers = [Strangers(each) for each in worlds]
    fitted = fit(
        named(method)(), samplers, steps=steps, seeds=range(seeds), batch_size=batch_size, views=views, device=device
    )
    drawn = [fresh(each, points, seed) for seed, each in enumerate(worlds)]
    r = represented(fitted, torch.stack([data.x for data in drawn]), "representation")
    return tidy(measures(r, drawn, worlds), method=method, layer="representation")


def tasks(config: Config) -> list[Task]:
    if config.get("strangers", False):
        strange = [_strange(config, J) for J in config["views"][1:]]
        return [observed(config, world=config["world"]), with_views(config, SIMVAE, FEW), *strange]
    seen = observed(config, world=config["world"])
    return [seen, *(with_views(config, name, J) for name in config["methods"] for J in config["views"])]


def with_views(config: Config, method: str, views: int) -> Task:
    """Training with J views and as many images a step as two views have; with two it is every claim's training."""
    sizes = config | {"batch_size": config["batch_size"] * FEW // views}
    more: dict[str, Any] = {} if views == FEW else {"views": views}
    return training(method, sizes, world=config["world"], columns={"views": views}, **more)


def _strange(config: Config, views: int) -> Task:
    task = with_views(config, SIMVAE, views)
    return Task(among_strangers, task.kwargs, cost=task.cost, columns=task.columns)


def control(config: Config) -> Config:
    return config | {"strangers": True}


def limits(config: Config) -> str:
    """Judged is the change from two views to eight."""
    views = config["views"]
    if views != sorted(set(views)) or views[0] != FEW or views[-1] != MANY:
        return f"expected views to rise from {FEW} to {MANY}, found {views}"
    return own.unknown(config) or (
        "" if SIMVAE in config["methods"] else f"expected {SIMVAE} among methods, found none"
    )


def gain(table: pd.DataFrame, measure: str) -> "pd.Series[float]":
    """SimVAE with the most views less SimVAE with two, a number a seed."""
    many, few = (per_seed(table, method=SIMVAE, views=views, measure=measure) for views in (MANY, FEW))
    return many - few


def findings(table: pd.DataFrame, config: Config) -> list[Finding]:
    about = f"J = {MANY} − J = {FEW}"
    reason = "more views say more of what they share; fewer data points a step may cost a little"
    closer = "an expectation: what more views agree on draws them together"
    spread = gain(table, SPREAD)
    return [
        Finding.from_seeds(f"label accuracy, {about}", gain(table, ACCURACY), ">=", -0.01, reason=reason),
        Finding.from_seeds(f"content R², {about}", gain(table, CONTENT), ">=", -0.01, reason=reason),
        Finding.from_seeds(f"spread of views, {about}", spread, "<=", 0.0, reason=closer, controlled=True),
    ]


def draw(table: pd.DataFrame, control_table: pd.DataFrame | None, found: Sequence[Finding], config: Config) -> Figure:
    figure, axes = canvas(1, len(SHOWN), width="page", height=2.4)
    sweep = config["views"]
    for panel, (measure, (title, name)) in zip(axes[0], SHOWN.items(), strict=True):
        for method in displayed(config["methods"]):
            line_with_band(panel, sweep, *_changes(table, method, measure, sweep), label=method, method=method)
        if control_table is not None:
            changes = _changes(control_table, SIMVAE, measure, sweep)
            panel.errorbar(sweep, changes[0], np.abs(changes[1:] - changes[0]), **control_mark(), label=STRANGE)
        panel.set(xscale="log", xlabel="views J", ylabel=f"{name}, less that at J = 2")
        panel.set_xticks(sweep, [f"{views}" for views in sweep])
        panel.minorticks_off()
        panel.set_title(title)
    for panel, finding in zip(axes[0, [0, 1, 3]], found, strict=True):
        bound_line(panel, finding.bound, side=finding.side, label=f"bound at J = {MANY}")
    legend(figure)
    return figure


def _changes(table: pd.DataFrame, method: str, measure: str, sweep: Sequence[int]) -> NDArray[np.float64]:
    """Change from two views, paired by seed: mean and its interval, (3, J)."""
    values = {views: per_seed(table, method=method, views=views, measure=measure) for views in sweep}
    drawn = [Finding.from_seeds(method, each - values[FEW], ">=", 0) for each in values.values()]
    return np.array([(f.estimate, f.low, f.high) for f in drawn]).T


def caption(found: Sequence[Finding]) -> str:
    accuracy, content, spread = (f"{f.estimate:+.3f} [{f.low:+.3f}, {f.high:+.3f}]" for f in found)
    return (
        f"SimVAE trained with J views of a data point, the number of images a step fixed: from J = {FEW} to J = {MANY} "
        f"the accuracy of a linear probe of the label changes by {accuracy}, R² of content by {content} (means over "
        "seeds, paired, intervals by Holm's correction; bands: 95 %). Right: what the control must break, the spread "
        f"of the views of a data point over that of all, changes by {spread}. Beside it, without a bound, content read "
        "by a line, and SimCLR with all pairs of views positive. Hollow: the "
        "views beyond the first two are those of other data points (control)."
    )


NOTES = """The control as designed does not fail: with six strangers among eight views label accuracy changes by
-0.006 and nonlinear R² of content by -0.004. Content that a decoder asks for stays readable whatever the prior
believes, and with 0.96 both measures are near what the data tell (0.97), so they hardly see what more views do.

What does see it: R² of content by a linear probe, 0.88, 0.90, 0.91 for J = 2, 4, 8 and 0.88, 0.82, 0.81 among
strangers; and most of all the spread of the views of a data point over that of all, 0.22, 0.16, 0.13 and 0.22,
0.44, 0.46. NMI of a mixture sees strangers alone, 0.87, 0.79, 0.77; without them it stays at 0.87. More views bring
the representations of a data point together; content was readable before. R² of style stays at 0.86 to 0.87 for
every J.

Changed after first runs: the spread was added as a finding, with the sign that was expected for its bound, and is
what the control must break; theory fixes no such sign. The two bounds fixed before were left as they are. The
statement first said that content is known "rather better". Accuracy and nonlinear R² do not show it (0 lies inside
both intervals), so it says no worse, and that views are drawn together."""

CLAIM = Claim(
    name="more-views",
    part="generative",
    statement=(
        "The more views of a data point SimVAE models at once, the closer it draws them together; it knows their "
        "content no worse, although as many images make fewer data points."
    ),
    formula=(
        r"\mathrm{Var}(y \mid z^{1:J}) = \Bigl(\frac{1}{\gamma^2} + \frac{J}{\sigma^2}\Bigr)^{-1}; \qquad"
        r" \mathrm{spread}_{J = 8} - \mathrm{spread}_{J = 2} \le 0, \quad R^2_{J = 8} - R^2_{J = 2} \ge -0.01"
    ),
    config=CONFIG,
    tasks=tasks,
    control=control,
    control_words="views beyond the first two are those of other data points",
    findings=findings,
    draw=draw,
    caption=caption,
    notes=f"{NOTES}\n\n{READ_BY}",
    limits=limits,
    source="Bizeul, Schölkopf, Allen (2024), arXiv 2402.01399, section 5",
)
