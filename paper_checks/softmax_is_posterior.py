"""Softmax classification of instances is Bayes' rule in the model: the loss is a log-posterior, and bounds information.

With unit class weights w_y, p(z|y) = N(w_y, sigma^2 I) or vMF(w_y, 1 / sigma^2), and uniform y among N:

    loss = -log softmax_y(z.w_y / sigma^2) = -log p(y|z) = -[ log p(z|y) - log p(z) ] + log N
    log N - E loss <= I(z; y),    with equality at the temperature sigma^2

Checked: the identity at every point, against densities written out apart from the library (1e-10); and the bound by
Monte Carlo, against I(z; y) by quadrature on the circle (vMF) and in the plane (Gaussian), at temperatures from a
quarter to four times sigma^2. Bounds: the mean over draws is not above I at any wrong temperature, and within 0.01
nats of it at the right one (the resolution of the sample; the temperatures next to it miss I by more).

Control: weights of unequal lengths, between 0.5 and 2. The softmax lacks what the lengths do to the densities, so it
is no posterior. It is still *some* distribution of y, therefore log N - loss stays a bound, but a loose one.

Source: Bizeul, Schölkopf, Allen (2024), arXiv 2402.01399, section 4; the loss: Dosovitskiy et al. (2014),
arXiv 1406.6909; the bound: Barber and Agakov (2003).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import special, stats

from figures import canvas, control_mark, legend, line_with_band, series, theory_line
from paper_checks.claim import Claim, Config, Finding, Task
from ssl_theory.losses.instance import instance_softmax

CONDITIONALS = ("Gaussian", "vMF")
VARIANCE, CLASSES = 0.2, 8  # of the worlds whose information is known
ATTAINED, BEYOND = "log N − loss at τ = σ², distance from I(z; y)", "log N − loss − I(z; y), highest at τ ≠ σ²"

CONFIG = {
    "smoke": {"classes": [2, 16], "dims": [2, 5], "temperatures": [0.1, 1.0], "points": 4, "draws": 8, "n": 20_000},
    "quick": {
        "classes": [2, 16, 256],
        "dims": [2, 10, 64],
        "temperatures": [0.05, 0.1, 0.2, 0.5, 1.0, 2.0],
        "points": 16,
        "draws": 10,
        "n": 50_000,
    },
    "full": {
        "classes": [2, 16, 256, 2048],
        "dims": [2, 10, 64, 128],
        "temperatures": [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0],
        "points": 32,
        "draws": 10,
        "n": 200_000,
    },
}
RATIOS = [0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0]


def class_weights(classes: int, dim: int, equal_norms: bool, rng: np.random.Generator) -> np.ndarray:
    """(N, d) random directions, of length one or of lengths uniform in [0.5, 2]."""
    drawn = rng.standard_normal((classes, dim))
    directions = drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)
    return directions if equal_norms else directions * rng.uniform(0.5, 2.0, (classes, 1))


def log_densities(z: np.ndarray, weights: np.ndarray, variance: float, conditional: str) -> np.ndarray:
    """`log p(z|y)` of every class, (n, N): N(w_y, variance I), or vMF(w_y / |w_y|, |w_y| / variance)."""
    if conditional == "Gaussian":
        return stats.norm.logpdf(z[:, None], weights, math.sqrt(variance)).sum(-1)
    order = z.shape[-1] / 2 - 1
    kappa = np.linalg.norm(weights, axis=-1) / variance
    log_bessel = np.log(special.ive(order, kappa)) + kappa
    return z @ weights.T / variance + order * np.log(kappa) - (order + 1) * math.log(2 * math.pi) - log_bessel


def losses(z: np.ndarray, y: np.ndarray, weights: np.ndarray, temperature: float) -> np.ndarray:
    """The library's loss of each point by itself, (n,)."""
    w = torch.as_tensor(weights).expand(len(z), -1, -1)
    points, index = torch.as_tensor(z)[:, None, None], torch.as_tensor(y)[:, None]
    return instance_softmax(points, index, w, temperature=temperature, normalise=False).numpy()


def identity(
    *, classes: list[int], dims: list[int], temperatures: list[float], points: int, draws: int, equal_norms: bool
) -> pd.DataFrame:
    """One row a (conditional, N, d, tau, draw, point): the loss, and -[log p(z|y) - log p(z)] + log N, in nats."""
    rows = []
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        for N in classes:
            for d in dims:
                weights, y = class_weights(N, d, equal_norms, rng), rng.integers(N, size=points)
                z = weights[y] + rng.standard_normal((points, d)) / math.sqrt(d)
                z /= np.linalg.norm(z, axis=-1, keepdims=True)
                for temperature in temperatures:
                    loss = losses(z, y, weights, temperature)
                    for conditional in CONDITIONALS:
                        log_p = log_densities(z, weights, temperature, conditional)
                        log_marginal = special.logsumexp(log_p, axis=-1) - math.log(N)
                        reading = log_marginal - log_p[np.arange(points), y] + math.log(N)
                        columns = {"conditional": conditional, "N": N, "d": d, "temperature": temperature}
                        rows.append(pd.DataFrame(columns | {"draw": draw, "loss": loss, "reading": reading}))
    return pd.concat(rows, ignore_index=True).assign(part="identity")


def sample(y: np.ndarray, weights: np.ndarray, conditional: str, rng: np.random.Generator) -> np.ndarray:
    """z given y: in the plane, or on the circle."""
    if conditional == "Gaussian":
        return weights[y] + math.sqrt(VARIANCE) * rng.standard_normal((len(y), 2))
    own = weights[y]
    kappa = np.linalg.norm(own, axis=-1) / VARIANCE
    angle = np.arctan2(own[:, 1], own[:, 0]) + rng.vonmises(0.0, kappa)
    return np.stack([np.cos(angle), np.sin(angle)], -1)


def quadrature(weights: np.ndarray, conditional: str) -> tuple[np.ndarray, np.ndarray]:
    """Points and the `p(z|y) dz` of each class there, (n, 2) and (n, N); the trapezoid rule converges exponentially."""
    if conditional == "vMF":
        angle = np.linspace(0, 2 * np.pi, 1001)[:-1]
        grid, cell = np.stack([np.cos(angle), np.sin(angle)], -1), 2 * np.pi / 1000
    else:
        line = np.linspace(-5.5, 5.5, 161)  # beyond: eight standard deviations from every centre
        grid, cell = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2), (line[1] - line[0]) ** 2
    return grid, np.exp(log_densities(grid, weights, VARIANCE, conditional)) * cell


def information(*, draw: int, n: int, conditional: str, equal_norms: bool) -> pd.DataFrame:
    """One row a ratio tau / sigma^2: I(z; y) and the mean of `log N - loss`, by quadrature and by n points, in nats."""
    rng = np.random.default_rng(draw)
    weights, y = class_weights(CLASSES, 2, equal_norms, rng), rng.integers(CLASSES, size=n)
    z = sample(y, weights, conditional, rng)
    grid, mass = quadrature(weights, conditional)
    log_posterior = np.log(mass) - np.log(mass.sum(1, keepdims=True))
    truth = math.log(CLASSES) + float((mass * log_posterior).sum()) / CLASSES
    rows = []
    for ratio in RATIOS:
        temperature = ratio * VARIANCE
        log_softmax = special.log_softmax(grid @ weights.T / temperature, axis=-1)
        expected = math.log(CLASSES) + float((mass * log_softmax).sum()) / CLASSES
        measured = math.log(CLASSES) - float(losses(z, y, weights, temperature).mean())
        rows.append({"ratio": ratio, "information": truth, "expected": expected, "measured": measured})
    return pd.DataFrame(rows).assign(part="information", conditional=conditional, draw=draw)


def tasks(config: Config) -> list[Task]:
    shared = {"equal_norms": config.get("equal_norms", True)}
    grid = {key: config[key] for key in ("classes", "dims", "temperatures", "points", "draws")}
    drawn = [(conditional, draw) for conditional in CONDITIONALS for draw in range(config["draws"])]
    return [
        Task(identity, grid | shared, cost=5.0),
        *(Task(information, {"draw": k, "n": config["n"], "conditional": name} | shared) for name, k in drawn),
    ]


def control(config: Config) -> Config:
    return config | {"equal_norms": False}


def excess(table: pd.DataFrame, conditional: str, column: str = "measured") -> pd.DataFrame:
    """`log N - loss - I(z; y)`, a row a draw, a column a ratio."""
    rows = table[(table.part == "information") & (table.conditional == conditional)]
    return rows.assign(excess=rows[column] - rows.information).pivot(index="draw", columns="ratio", values="excess")


def findings(table: pd.DataFrame, config: Config) -> list[Finding]:
    found = []
    points = table[table.part == "identity"]
    for name, rows in points.groupby("conditional", sort=False):
        error = rows.loss - rows.reading
        found.append(Finding.exact(f"{name}: loss + log p(y|z)", error, unit="nats", controlled=True))
    for name in CONDITIONALS:
        over = excess(table, name)
        reason = "the softmax is the posterior, so nothing is lost but to the sample"
        found.append(
            Finding.near(f"{name}: {ATTAINED}", over[1.0], 0.0, 0.01, unit="nats", reason=reason, controlled=True)
        )
        wrong = over.drop(columns=1.0)
        worst = wrong.iloc[:, int(wrong.mean(skipna=False).to_numpy().argmax())]
        reason = "a wrong posterior costs a divergence, at every temperature"
        found.append(Finding.from_seeds(f"{name}: {BEYOND}", worst, "<=", 0.0, unit="nats", reason=reason))
    return found


def draw(table: pd.DataFrame, control_table: pd.DataFrame | None, found: Sequence[Finding], config: Config) -> Figure:
    figure, axes = canvas(1, 2, width="page", height=3.0)
    _draw_identity(axes[0, 0], table, control_table)
    _draw_bound(axes[0, 1], table, control_table)
    legend(figure)
    return figure


def _draw_identity(axes: Axes, table: pd.DataFrame, control_table: pd.DataFrame | None) -> None:
    points = table[table.part == "identity"]
    if control_table is not None:
        broken = control_table[(control_table.part == "identity") & (control_table.conditional == "Gaussian")]
        broken = broken.iloc[:: max(1, len(broken) // 400)]
        hollow = control_mark() | {"linestyle": "none"}
        axes.plot(broken.reading, broken.loss, **hollow, label="control: unequal lengths", rasterized=True)
    for index, (name, rows) in enumerate(points.groupby("conditional", sort=False)):
        style: dict[str, Any] = {**series(index), "linestyle": "none", "markersize": 4.5 - 2 * index}
        axes.plot(rows.reading, rows.loss, **style, label=str(name), rasterized=True)
    ends = np.array([points.loss[points.loss > 0].clip(lower=1e-6).min(), points.loss.max()])
    theory_line(axes, ends, ends)
    axes.set(xscale="log", yscale="log", xlim=(1e-6, None), ylim=(1e-6, None))
    axes.set(xlabel="−[log p(z|y) − log p(z)] + log N, nats", ylabel="softmax loss, nats")
    axes.set_title("The loss is −log p(y|z), one mark a point z")


def _draw_bound(axes: Axes, table: pd.DataFrame, control_table: pd.DataFrame | None) -> None:
    for index, name in enumerate(CONDITIONALS):
        over = excess(table, name)
        error = stats.t.ppf(0.975, len(over) - 1) * over.std() / math.sqrt(len(over))
        middle = over.mean()
        line_with_band(axes, middle.index, middle, middle - error, middle + error, label=name, **series(index))
        theory_line(axes, middle.index, excess(table, name, "expected").mean())
    if control_table is not None:
        broken = excess(control_table, "Gaussian").mean()
        axes.plot(broken.index, broken, **control_mark(), label="control: unequal lengths")
    axes.axhline(0, color="0.6", linewidth=0.8)
    axes.annotate("I(z; y)", (RATIOS[-1], 0), xytext=(0, 2), textcoords="offset points", ha="right", fontsize=7.5)
    axes.set_xscale("log")
    axes.set_xticks(shown := [0.25, 0.5, 1, 2, 4], [f"{tick:g}" for tick in shown])
    axes.minorticks_off()
    lowest = min(excess(table, name).mean().min() for name in CONDITIONALS)
    axes.set(ylim=(2 * lowest, 0.12 * abs(lowest)))  # the control's curve leaves the panel
    axes.set(xlabel="temperature over style variance, τ/σ²", ylabel="log N − loss − I(z; y), nats")
    axes.set_title("A bound on information, tight at τ = σ²")


def caption(found: Sequence[Finding]) -> str:
    identities = [f.estimate for f in found if "log p(y|z)" in f.name]
    attained = [f.estimate for f in found if ATTAINED in f.name]
    beyond = [f.estimate for f in found if BEYOND in f.name]
    return (
        f"Left: the softmax loss equals minus the log-posterior of the class to {max(identities):.0e} nats, for both "
        "conditionals, all numbers of classes, dimensions and temperatures; with class weights of unequal length "
        "(control, hollow) it does not. Right: log N − loss is a bound on I(z; y), known by quadrature. At τ = σ² the "
        f"sample is within {max(attained):.4f} nats of it, elsewhere below it by at least {-max(beyond):.3f}; dashed: "
        "the divergence that theory says is lost; bands: 95 % intervals over draws of the classes."
    )


CLAIM = Claim(
    name="softmax-is-posterior",
    part="discriminative families",
    statement=(
        "On unit vectors, softmax classification of instances is Bayes' rule in the model: its loss is minus the "
        "log-posterior of the instance, the temperature is the style variance, and log N less the loss bounds the "
        "information that the representation has of the instance."
    ),
    formula=(
        r"-\log \frac{e^{z \cdot w_y / \sigma^2}}{\sum_{y'} e^{z \cdot w_{y'} / \sigma^2}}"
        r" = -\left[ \log p(z \mid y) - \log p(z) \right] + \log N, \qquad"
        r" \log N - \mathbb{E}\,\mathcal{L} \le I(z; y)"
    ),
    config=CONFIG,
    tasks=tasks,
    control=control,
    control_words="class weights of unequal lengths, uniform between 0.5 and 2",
    findings=findings,
    draw=draw,
    caption=caption,
    source="Bizeul, Schölkopf, Allen (2024), arXiv 2402.01399, section 4",
)
