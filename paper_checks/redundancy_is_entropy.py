"""Penalising covariances is, to second order, raising a Gaussian entropy; the remainder is third order.

For a representation with unit variances and covariances E off the diagonal,

    1/2 log det(I + E) = -1/4 |E|_F^2 + O(|E|^3),        log det(I + E) + 1/2 |E|_F^2 = 1/3 tr E^3 - ...

so the Gaussian entropy 1/2 log det Cov(z) + const falls by a quarter of the energy that the covariance term penalises.
All constants of the library's losses: VICReg's covariance term counts both views and divides by d, hence
|E|_F^2 = (d/2) vicreg(invariance=0, variance=0, covariance=1); Barlow Twins on identical views has |E|_F^2 whole.

E = t E_0 with E_0 a random symmetric matrix, zero on the diagonal and |E_0|_F = 1; the batch is made to have the
covariance I + E exactly. Bounds: constants to 1e-10, slope of the remainder in t within 0.15 of 3, and its size within
15 % of t^3 |tr E_0^3| / 3 (the same tolerance). d >= 3, for in two dimensions tr E^3 = 0 and the order is four.

Control: large E, t from a half to 0.95 of where I + E becomes singular. There the entropy falls to minus infinity
and the energy does not notice: |E|_F^2 stays finite, and the slope is far from 3.

Source: Bizeul, Schölkopf, Allen (2024), arXiv 2402.01399, section 4; VICReg: Bardes et al. (2022), arXiv 2105.04906;
Barlow Twins: Zbontar et al. (2021), arXiv 2103.03230.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from figures import canvas, control_mark, legend, line_with_band, series, theory_line
from paper_checks.claim import Claim, Config, Finding, Task
from ssl_theory.losses.redundancy import barlow_twins, vicreg

SMALL, LARGE = (1e-3, 3e-2), (0.5, 0.95)  # |E|_F; and its share of where I + E is singular

CONFIG = {
    "smoke": {"dims": [3, 8], "scales": 6, "draws": 5},
    "quick": {"dims": [3, 8, 32], "scales": 9, "draws": 20},
    "full": {"dims": [3, 8, 32, 128], "scales": 13, "draws": 50},
}


def direction(dim: int, generator: torch.Generator) -> Tensor:
    """E_0: symmetric, zero on the diagonal, |E_0|_F = 1."""
    drawn = torch.randn(dim, dim, generator=generator, dtype=torch.float64).triu(1)
    return (drawn + drawn.mT) / (drawn + drawn.mT).norm()


def batch(covariance: Tensor, generator: torch.Generator) -> Tensor:
    """(n, 2, d): two equal views of a batch whose sample covariance (over n - 1) is exactly the given one."""
    d = len(covariance)
    drawn = torch.randn(4 * d, d, generator=generator, dtype=torch.float64)
    centred = drawn - drawn.mean(0)
    basis = torch.linalg.qr(centred).Q * (len(drawn) - 1) ** 0.5
    return (basis @ torch.linalg.cholesky(covariance).mT)[:, None].expand(-1, 2, -1)


def expansion(*, dims: list[int], scales: int, draws: int, large: bool) -> pd.DataFrame:
    """One row a (d, draw, t): log det Cov(z), and |E|_F^2 as it is and as the two losses have it."""
    rows = []
    for draw in range(draws):
        for d in dims:
            generator = torch.Generator().manual_seed(draw)
            E0 = direction(d, generator)
            singular = float(1 / -torch.linalg.eigvalsh(E0)[0])
            spread = np.linspace(*LARGE, scales) * singular if large else np.geomspace(*SMALL, scales)
            for scale in spread:
                z = batch(torch.eye(d, dtype=torch.float64) + scale * E0, generator)
                energy = d / 2 * float(vicreg(z, invariance=0.0, variance=0.0, covariance=1.0))
                rows.append(
                    {"d": d, "draw": draw, "scale": scale, "log_det": float(torch.linalg.slogdet(z[:, 0].T.cov())[1])}
                    | {"energy": scale**2, "VICReg": energy, "Barlow Twins": float(barlow_twins(z, lambd=1.0))}
                    | {"third": float(E0.matrix_power(3).trace()) / 3 * scale**3}
                )
    return pd.DataFrame(rows)


def tasks(config: Config) -> list[Task]:
    return [Task(expansion, {"large": False} | config)]


def control(config: Config) -> Config:
    return config | {"large": True}


def remainder(table: pd.DataFrame) -> "pd.Series[float]":
    """`|log det Cov(z) + 1/2 |E|_F^2|`, the energy as VICReg has it."""
    return (table.log_det + 0.5 * table.VICReg).abs()


def slopes(table: pd.DataFrame) -> "pd.Series[float]":
    """Log-log slope of the remainder in |E|_F, one a draw."""
    logs = pd.DataFrame({"draw": table.draw, "x": np.log(table.scale), "y": np.log(remainder(table))})
    return logs.groupby("draw")[["x", "y"]].apply(lambda g: np.polyfit(g.x, g.y, 1)[0])


def findings(table: pd.DataFrame, config: Config) -> list[Finding]:
    found = [
        Finding.exact(f"{name}: energy of the covariances − |E|²", table[name] - table.energy)
        for name in ("VICReg", "Barlow Twins")
    ]
    for d, rows in table.groupby("d"):
        reason = "the first term that the energy leaves out is tr E³ / 3"
        found.append(
            Finding.near(
                f"d = {d}: slope of the remainder in |E|", slopes(rows), 3.0, 0.15, reason=reason, controlled=True
            )
        )
    least = table[table.scale == table.groupby(["d", "draw"]).scale.transform("min")]
    each = [parts.groupby(least.d) for parts in (remainder(least), least.third.abs())]
    left, third = (groups.agg(lambda part: part.sum(skipna=False)) for groups in each)
    reason = "the constant of the third order, with the tolerance of its exponent"
    found.append(
        Finding.exact("remainder over |tr E³| / 3, less 1", left / third - 1, 0.15, reason=reason, controlled=True)
    )
    return found


def draw(table: pd.DataFrame, control_table: pd.DataFrame | None, found: Sequence[Finding], config: Config) -> Figure:
    figure, axes = canvas(1, 2, width="page", height=3.0)
    _draw_remainder(axes[0, 0], table, control_table)
    _draw_entropy(axes[0, 1], table, control_table)
    legend(figure)
    return figure


def _draw_remainder(axes: Axes, table: pd.DataFrame, control_table: pd.DataFrame | None) -> None:
    for index, (d, rows) in enumerate(table.assign(remainder=remainder(table)).groupby("d")):
        by_scale = rows.groupby("scale").remainder
        low, middle, high = (by_scale.quantile(q) for q in (0.1, 0.5, 0.9))
        line_with_band(axes, middle.index, middle, low, high, label=f"d = {d}", **series(index))
        theory_line(axes, middle.index, rows.assign(third=rows.third.abs()).groupby("scale").third.median())
    if control_table is not None:
        style = control_mark() | {"linestyle": "none", "markersize": 3}
        axes.plot(control_table.scale, remainder(control_table), **style, label="control: large E", rasterized=True)
    axes.set(
        xscale="log", yscale="log", xlabel="|E|, off-diagonal covariances", ylabel="|log det(I + E) + ½|E|²|, nats"
    )
    axes.set_title("What energy leaves of entropy: slope 3")


def _draw_entropy(axes: Axes, table: pd.DataFrame, control_table: pd.DataFrame | None) -> None:
    """One direction E_0 from none to nearly singular: the entropy and what the losses see of it."""
    rows = table if control_table is None else pd.concat([table, control_table])
    rows = rows[(rows.d == 8) & (rows.draw == 0)]
    apart = {"linestyle": "none"}
    axes.plot(rows.scale, 0.5 * rows.log_det, **series(5) | apart, label="Gaussian entropy, ½ log det Cov(z)")
    axes.plot(rows.scale, -rows.VICReg / 4, **series(4) | apart, label="VICReg's term, −(d/8) of it")
    values = torch.linalg.eigvalsh(direction(8, torch.Generator().manual_seed(0))).numpy()
    fine = np.linspace(0, rows.scale.max(), 200)
    theory_line(axes, fine, -(fine**2) / 4)
    theory_line(axes, fine, 0.5 * np.log1p(fine[:, None] * values).sum(1))
    if control_table is not None:
        large = control_table[(control_table.d == 8) & (control_table.draw == 0)].scale
        axes.axvspan(large.min(), large.max(), color="0.93", linewidth=0, zorder=0)
        axes.annotate("control", (large.mean(), 0.03), xycoords=("data", "axes fraction"), fontsize=7.5, ha="center")
    axes.set(xlabel="|E|, one direction, d = 8", ylabel="nats, less the value at E = 0")
    axes.set_title("Where the surrogate stops being one")


def caption(found: Sequence[Finding]) -> str:
    constants, rest = found[:2], found[2:-1]
    off = max(f.estimate for f in rest)
    return (
        "Left: what the squared covariances leave of the Gaussian entropy is of third order in their size (medians "
        "and 80 % bands over directions; dashed: tr E³/3); fitted slopes are within "
        f"{off:.3f} of 3, the size within {100 * found[-1].estimate:.0f} % of theory, and the constants of VICReg and "
        f"Barlow Twins right to {max(f.estimate for f in constants):.0e}. Hollow: the control, E nearly singular. "
        "Right: one direction from none to nearly singular covariance. For small E the penalty is the entropy; a "
        "collapse of some direction it hardly sees, while the entropy falls without limit."
    )


CLAIM = Claim(
    name="redundancy-is-entropy",
    part="discriminative families",
    statement=(
        "With unit variances, the squared off-diagonal covariances that VICReg and Barlow Twins penalise are, to "
        "second order, minus four times a Gaussian entropy; the remainder is third order."
    ),
    formula=r"\log\det(I + E) = -\tfrac{1}{2} \|E\|_F^2 + O(\|E\|^3)",
    config=CONFIG,
    tasks=tasks,
    control=control,
    control_words="large E: from a half to 0.95 of where I + E becomes singular",
    findings=findings,
    draw=draw,
    caption=caption,
    source="Bizeul, Schölkopf, Allen (2024), arXiv 2402.01399, section 4",
)
