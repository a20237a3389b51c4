"""With many candidates InfoNCE is alignment plus uniformity; the distance to that limit falls like 1/K.

    L_K - log K  ->  -E[z.z'] / tau  +  E_z log E_{z'} exp(z.z' / tau)

On the circle every term is known: z has angle theta, von Mises about 0 with concentration kappa_0 (0: uniform), and its
view z' has theta + phi, phi von Mises with concentration kappa. With a = 1/tau, I_m Bessel functions and
rho_m = I_m(kappa_0) I_m(kappa) / I_0(kappa_0) I_0(kappa),

    E z.z' = I_1(kappa) / I_0(kappa)
    mu(theta) = E_{z'} exp(a z.z') = I_0(a) + 2 sum_m I_m(a) rho_m cos m theta
    K (L_K - log K - limit)  ->  c = E_theta[ (I_0(kappa + a) / I_0(kappa)) / mu - 1 - (mu_2 / mu^2 - 1) / 2 ]

with mu_2 the same as mu at 2a: the positive among the candidates, less half the relative variance of the mean of K.
The loss of each batch is compared with the limit *of that batch*: the mean over its points of -z.z'/tau + log mu(theta)
plus E_z[exp(a z.z') / mu(z)] - 1, a function of z' that is zero in expectation. So the expectation is the limit's
whatever the size of the batch, and most of the chance is shared with the loss: 1/K can be seen.

Bounds: slope of the bias in K within 0.15 of -1, and its constant within 15 % of c at the largest K, the tolerance of
rates. Fitted from K = 16 on, where the next order, 1/K^2, is small. And the library's alignment + uniformity,
with weights and t set to 1 / 2 tau, is the limit in the uniform world, where log E E = E log E: within 0.01 nats.

Control: correlated negatives. The K points of a batch are views of only four data points; more candidates then tell
nothing more, and the bias stays.

Source: Wang and Isola (2020), arXiv 2005.10242, theorem 1; InfoNCE: van den Oord et al. (2018), arXiv 1807.03748.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import special
from torch import Tensor

from figures import canvas, control_mark, legend, line_with_band, series, theory_line
from paper_checks.claim import Claim, Config, Finding, Task
from ssl_theory.losses.contrastive import align_uniform, info_nce

VIEWS, TEMPERATURE = 10.0, 0.5  # kappa and tau
WORLDS = {"uniform": 0.0, "clustered": 2.0}  # kappa_0
TERMS = np.arange(1, 26)  # of the Fourier series; I_m(4) falls below 1e-16 of I_0(4) at m = 24

CONFIG = {
    "smoke": {"candidates": [16, 32, 64], "points": 10_000, "draws": 5},
    "quick": {"candidates": [4, 8, 16, 32, 64, 128, 256], "points": 30_000, "draws": 10},
    "full": {"candidates": [4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048], "points": 100_000, "draws": 20},
}
FIRST_FITTED = 16
PIECE = 2**20  # pairs of points at a time: 8 MiB, so that each stays in the processor's cache


def mean_kernel(theta: np.ndarray, sharpness: float, world: str) -> np.ndarray:
    """`E_{z'} exp(a z.z')` at each angle of z."""
    kappa_0 = WORLDS[world]
    ratios = special.ive(TERMS, kappa_0) / special.ive(0, kappa_0) * special.ive(TERMS, VIEWS) / special.ive(0, VIEWS)
    weights = 2 * special.iv(TERMS, sharpness) * ratios
    return special.i0(sharpness) + np.cos(theta[..., None] * TERMS) @ weights


def limit(theta: np.ndarray, alignment: float | np.ndarray, world: str) -> np.ndarray:
    """Alignment plus uniformity at each angle: `-z.z' / tau + log mu(theta)`."""
    return -alignment / TEMPERATURE + np.log(mean_kernel(theta, 1 / TEMPERATURE, world))


def quadrature(world: str) -> tuple[np.ndarray, np.ndarray]:
    """Angles of z on a grid and their probabilities; the trapezoid rule converges exponentially."""
    theta = np.linspace(-np.pi, np.pi, 2001)[:-1]
    weight = np.exp(WORLDS[world] * np.cos(theta))
    return theta, weight / weight.sum()


def truth(world: str) -> tuple[float, float]:
    """The limit and the constant c."""
    (theta, weight), a = quadrature(world), 1 / TEMPERATURE
    mu, mu_2 = (mean_kernel(theta, s, world) for s in (a, 2 * a))
    positive = special.ive(0, VIEWS + a) / special.ive(0, VIEWS) * math.exp(a)
    c = positive / mu - 1 - (mu_2 / mu**2 - 1) / 2
    return float(weight @ limit(theta, special.ive(1, VIEWS) / special.ive(0, VIEWS), world)), float(weight @ c)


def centred(theta: np.ndarray, world: str) -> np.ndarray:
    """`E_z[exp(a z.z') / mu(z)] - 1` at each angle of z'; its mean over z' is zero."""
    (grid, weight), a = quadrature(world), 1 / TEMPERATURE
    per_kernel = weight / mean_kernel(grid, a, world)
    weights = 2 * special.iv(TERMS, a) * (np.cos(grid[:, None] * TERMS).T @ per_kernel)
    return special.i0(a) * per_kernel.sum() + np.cos(theta[..., None] * TERMS) @ weights - 1


def batches(
    K: int, count: int, world: str, independent: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Angles of z (count, K) and of its view; dependent batches hold four data points, again and again."""
    drawn = rng.vonmises(0.0, WORLDS[world], (count, K if independent else 4))
    theta = drawn if independent else drawn[:, np.arange(K) % 4]
    return theta, rng.vonmises(0.0, VIEWS, (count, K))


def on_circle(theta: np.ndarray, phi: np.ndarray) -> Tensor:
    """(count, K, 2, 2): both views as unit vectors."""
    angles = np.stack([theta, theta + phi], -1)
    return torch.as_tensor(np.stack([np.cos(angles), np.sin(angles)], -1))


def by_batch(loss: Callable[..., Tensor], z: Tensor, **arguments: float | str | bool) -> np.ndarray:
    """The loss of each batch of z, some batches at a time."""
    pieces = z.split(max(1, PIECE // z.shape[1] ** 2))
    return torch.cat([loss(piece, **arguments) for piece in pieces]).numpy()


def biases(*, candidates: list[int], points: int, draw: int, world: str, independent: bool) -> pd.DataFrame:
    """One row a K: `L_K - log K`, its distance from the batch's own limit, and what theory says; nats."""
    rng, rows = np.random.default_rng(draw), []
    ultimate, c = truth(world)
    for K in candidates:
        count = max(1, round(points / K))
        theta, phi = batches(K, count, world, independent, rng)
        z, half = on_circle(theta, phi), 1 / (2 * TEMPERATURE)
        loss = by_batch(info_nce, z, temperature=TEMPERATURE, negatives="other", two_sided=False) - math.log(K)
        bias = loss - (limit(theta, np.cos(phi), world) + centred(theta + phi, world)).mean(-1)
        library = by_batch(align_uniform, z, alignment=half, t=half).mean() if max(candidates) == K else math.nan
        rows.append({"K": K, "loss": loss.mean(), "bias": bias.mean(), "library": library})
    return pd.DataFrame(rows).assign(world=world, draw=draw, limit=ultimate, constant=c)


def tasks(config: Config) -> list[Task]:
    shared = {key: config[key] for key in ("candidates", "points")} | {"independent": config.get("independent", True)}
    return [Task(biases, shared | {"draw": i, "world": world}) for world in WORLDS for i in range(config["draws"])]


def control(config: Config) -> Config:
    return config | {"independent": False}


def slopes(rows: pd.DataFrame) -> np.ndarray:
    """Log-log slope of |bias| in K, one a draw."""
    fitted = rows[rows.K >= FIRST_FITTED]
    return np.array([np.polyfit(np.log(g.K), np.log(g.bias.abs()), 1)[0] for _, g in fitted.groupby("draw")])


def findings(table: pd.DataFrame, config: Config) -> list[Finding]:
    found = []
    for world, rows in table.groupby("world", sort=False):
        last = rows[rows.K.max() == rows.K]
        reason = "the next order of the expansion of the log of a mean"
        found += [
            Finding.near(f"{world}: slope of the bias in K", slopes(rows), -1.0, 0.15, reason=reason, controlled=True),
            Finding.near(
                f"{world}: K × bias over its constant, largest K",
                last.K * last.bias / last.constant,
                1.0,
                0.15,
                reason="the constant, with the tolerance of its exponent",
                controlled=True,
            ),
        ]
    uniform = table[(table.world == "uniform") & (table.K.max() == table.K)]
    reason = "chance of the sample; and pairs of points are not independent"
    found.append(
        Finding.near(
            "alignment + uniformity − limit", uniform.library - uniform.limit, 0.0, 0.01, unit="nats", reason=reason
        )
    )
    return found


def draw(table: pd.DataFrame, control_table: pd.DataFrame | None, found: Sequence[Finding], config: Config) -> Figure:
    figure, axes = canvas(1, 2, width="page", height=3.0)
    for index, (world, rows) in enumerate(table.groupby("world", sort=False)):
        broken = None if control_table is None else control_table[control_table.world == world]
        _draw_loss(axes[0, 0], rows, broken, index)
        _draw_bias(axes[0, 1], rows, broken, index)
    axes[0, 0].set(xscale="log", xlabel="candidates K", ylabel=r"$L_K - \log K$, nats")
    axes[0, 0].set_title("InfoNCE tends to alignment + uniformity")
    axes[0, 1].set(xscale="log", yscale="log", xlabel="candidates K", ylabel="distance to the limit, nats")
    axes[0, 1].set_title("Theory: slope −1")
    for panel in axes[0]:
        panel.set_xticks(ticks := sorted(table.K.unique())[::2], ticks)
        panel.minorticks_off()
    legend(figure)
    return figure


def _draw_loss(axes: Axes, rows: pd.DataFrame, broken: pd.DataFrame | None, index: int) -> None:
    by_K = rows.groupby("K").loss
    line_with_band(
        axes, by_K.mean().index, by_K.mean(), by_K.min(), by_K.max(), label=f"{rows.world.iloc[0]} z", **series(index)
    )
    axes.axhline(rows.limit.iloc[0], color="#1A1A1A", linestyle=(0, (4, 2)), linewidth=1.1)
    if broken is not None:
        middle = broken.groupby("K").loss.mean()
        axes.plot(middle.index, middle, **control_mark(), label="control: correlated negatives")


def _draw_bias(axes: Axes, rows: pd.DataFrame, broken: pd.DataFrame | None, index: int) -> None:
    by_K = rows.assign(bias=rows.bias.abs()).groupby("K").bias
    line_with_band(
        axes, by_K.mean().index, by_K.mean(), by_K.min(), by_K.max(), label=f"{rows.world.iloc[0]} z", **series(index)
    )
    theory_line(axes, by_K.mean().index, rows.constant.iloc[0] / by_K.mean().index.to_numpy())
    if broken is not None:
        middle = broken.groupby("K").bias.mean().abs()
        axes.plot(middle.index, middle, **control_mark(), label="control: correlated negatives")


def caption(found: Sequence[Finding]) -> str:
    rates = ", ".join(f"{f.mean:.3f} ({f.name.split(':')[0]})" for f in found if "slope" in f.name)
    constants = max(f.estimate for f in found if "constant" in f.name)
    return (
        "Left: InfoNCE less log K against the number of candidates, and its limit in closed form (dashed), where z is "
        f"uniform on the circle and where it clusters. Right: the distance falls with K, slopes {rates}, and its "
        f"constant is within {100 * constants:.0f} % of theory (dashed); bands: all draws. Where the batch holds views "
        "of four data points only (control, hollow), more candidates do not bring the loss nearer. The library's "
        f"alignment and uniformity losses give the limit to {found[-1].estimate:.4f} nats."
    )


CLAIM = Claim(
    name="alignment-uniformity-limit",
    part="discriminative families",
    statement=(
        "With more and more candidates InfoNCE, less log K, tends to alignment plus uniformity; what is left falls "
        "like one over the number of candidates."
    ),
    formula=(
        r"\mathcal{L}_K - \log K = -\frac{1}{\tau} \mathbb{E}[z \cdot z']"
        r" + \mathbb{E}_z \log \mathbb{E}_{z'} e^{z \cdot z' / \tau} + \frac{c}{K} + O(K^{-2})"
    ),
    config=CONFIG,
    tasks=tasks,
    control=control,
    control_words="correlated negatives: all points of a batch are views of four data points",
    findings=findings,
    draw=draw,
    caption=caption,
    source="Wang and Isola (2020), arXiv 2005.10242, theorem 1",
)
