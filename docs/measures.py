"""Draws docs/measures-*.png: every measure on constructed and on learned representations (`make docs`).

A panel a measure, a row a representation: the point is the mean of three seeds (each with a world of its own, preset
"block"), the line goes from the least to the largest. Dashes are answers known beforehand, dotted lines the ends of a
measure's range. Learned representations come from short trainings, 1,000 steps of 64 data.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from measures_information import EXACT, PAIRS, RHO, conditional_panels, information_panels
from measures_layers import DEPTHS, compared, drawn_by_decoders, kept_along
from measures_rooms import (
    BOTH,
    CLASSES,
    COLLAPSED,
    CONTENT,
    LEARNED,
    NOISE,
    POINTS,
    SIMPLEX,
    STYLE,
    TURNED,
    Kept,
    Panel,
    Truth,
    clustering_panels,
    collapse_panels,
    dimension_panels,
    geometry_panels,
    identifiability_panels,
    probe_panels,
)
from torch import Tensor

import figures
import synthetic
from ssl_theory import analysis
from ssl_theory.analysis import critics, projection
from ssl_theory.learners import Fitted, SimCLR, VICReg, fit

SEEDS, STEPS, BATCH = 3, 1000, 64

Values = Mapping[str, Any]
"""Representation -> one number a seed."""

# -- representations ----------------


def worlds() -> list[synthetic.World]:
    return [synthetic.preset("block", seed) for seed in range(SEEDS)]


def truth() -> Truth:
    drawn = [w.sample(POINTS, views=2, generator=torch.Generator().manual_seed(99)) for w in worlds()]
    return Truth(*[torch.stack([getattr(v, part) for v in drawn]) for part in ("x", "content", "style", "label")])


def constructed(known: Truth) -> dict[str, Kept]:
    """Representations whose answers are known, from the latents themselves."""
    g = torch.Generator().manual_seed(7)
    content = known.content[:, :, None].expand(-1, -1, 2, -1)
    both = torch.cat([content, known.style], -1)
    turn = torch.linalg.qr(torch.randn(SEEDS, 1, both.shape[-1], both.shape[-1], generator=g))[0]
    views = {
        CONTENT: content,
        STYLE: known.style,
        BOTH: both,
        TURNED: 30 * both @ turn + 5,
        NOISE: torch.randn(SEEDS, POINTS, 2, 10, generator=g),
        COLLAPSED: torch.full((SEEDS, POINTS, 2, 10), 3.7),
    }
    return {name: Kept(v, known) for name, v in views.items()}


def simplex(known: Truth) -> Kept:
    """Every class close to its corner of a simplex, whose corners are equally far and equally long."""
    corners = torch.eye(CLASSES)[known.label][:, :, None] - 1 / CLASSES
    noise = torch.randn(SEEDS, POINTS, 2, CLASSES, generator=torch.Generator().manual_seed(8))
    return Kept(corners + 0.01 * noise, known)


def trained(learner: Any) -> Fitted:
    return fit(learner, worlds(), steps=STEPS, seeds=range(SEEDS), batch_size=BATCH)


def seen(fitted: Fitted, x: Tensor, layer: str = "representation") -> Tensor:
    """Representations `(E, n, 2, d)` of both views."""
    return fitted.transform(x.flatten(1, 2), layer=layer).unflatten(1, (POINTS, 2))


def gaussian_pairs(known: Truth, *, exact: bool = False) -> Kept:
    g = torch.Generator().manual_seed(3)
    x, noise = torch.randn(2, SEEDS, POINTS, 5, generator=g)
    return Kept(torch.stack([x, RHO * x + (1 - RHO**2) ** 0.5 * noise], 2), known, exact)


# -- drawing ----------------


def draw(axes: Axes, panel: Panel, values: Values) -> None:
    """Rows from top to bottom; "undefined" where a measure has no answer."""
    axes.set(xscale=panel.scale, title=panel.title, xlabel=panel.unit, ylim=(len(values) - 0.4, -0.6))
    numbers = {name: np.asarray(v, dtype=float) for name, v in values.items()}
    for end in panel.span:
        label = "end of the range"
        axes.axvline(end, color=figures.style.INK, linestyle=(0, (1, 1.5)), linewidth=0.9, zorder=1, label=label)
    for row, (name, number) in enumerate(numbers.items()):
        if name in panel.answers:
            known = [panel.answers[name]] * 2
            axes.plot(known, [row - 0.42, row + 0.42], color=figures.style.INK, linewidth=1.6, label="known answer")
        if not np.isfinite(number).any():
            place = axes.get_yaxis_transform()
            axes.text(
                0.5,
                row,
                "undefined",
                transform=place,
                fontsize=6.5,
                color=figures.style.QUIET,
                ha="center",
                va="center",
            )
            continue
        look = figures.mark(name) if _learned(name) else {"color": figures.style.QUIET, "marker": "o"}
        axes.plot([np.nanmin(number), np.nanmax(number)], [row, row], color=look["color"], linewidth=1.6)
        label = name if name in LEARNED else "trained critic" if _learned(name) else "constructed"
        axes.plot(
            [np.nanmean(number)],
            [row],
            linestyle="none",
            markersize=7 if look["marker"] == "*" else 4.5,
            label=label,
            **look,
        )
    axes.set_yticks(range(len(numbers)), list(numbers))
    axes.axhline(sum(not _learned(name) for name in numbers) - 0.5, color="0.8", linewidth=0.7)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    _ticks(axes, panel, numbers)


def _learned(name: str) -> bool:
    return name in LEARNED or name.endswith("trained")


def _ticks(axes: Axes, panel: Panel, numbers: Mapping[str, np.ndarray]) -> None:
    if panel.scale == "log":
        axes.xaxis.set_minor_locator(NullLocator())
        return
    if panel.scale == "symlog":  # linear up to 1, logarithmic beyond
        axes.set_xscale("symlog", linthresh=1.0)
        axes.xaxis.set_major_locator(FixedLocator([0, 1, 10, 100] if axes.get_xlim()[1] < 500 else [0, 10, 1000]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        return
    every = np.concatenate([*[n[np.isfinite(n)] for n in numbers.values()], panel.span, list(panel.answers.values())])
    margin = 0.07 * (np.ptp(every) or 1.0)
    axes.set_xlim(every.min() - margin, every.max() + margin)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))


def sheet(panels: list[Panel], kept: Mapping[str, Kept], *, columns: int = 4, spare: int = 0) -> tuple[Figure, Any]:
    """A figure with one panel a measure; the names of the rows stand at the left; `spare` axes stay empty."""
    rows = -(-(len(panels) + spare) // columns)
    figure, axes = figures.canvas(rows, columns, width="page", height=2.15)
    for at, panel in zip(axes.flat, panels, strict=False):
        draw(at, panel, {name: panel.measure(k) for name, k in kept.items()})
    for index, at in enumerate(axes.flat[: len(panels)]):
        if index % columns:
            at.set_yticklabels([])
    for at in axes.flat[len(panels) + spare :]:
        at.set_axis_off()
    return figure, axes.flat[len(panels) : len(panels) + spare]


def curves(axes: Axes, title: str, lines: Mapping[str, Tensor], xlabel: str) -> None:
    """Curves over an index from 1, mean over seeds; numbers stand inside, so that panels keep together."""
    dashes = iter(("-.", ":", "--", "-")[: sum(name not in LEARNED for name in lines)][::-1])
    for name, line in lines.items():
        at = np.arange(1, line.shape[-1] + 1)
        look = figures.mark(name) if name in LEARNED else {"color": figures.style.QUIET, "linestyle": next(dashes)}
        axes.plot(at, line.mean(0).numpy(), label=name, markersize=3.5, linewidth=1.1, **look)
    axes.set(title=title, xlabel=xlabel)
    axes.set_xlim(-1.2, max(line.shape[-1] for line in lines.values()) + 0.4)
    axes.xaxis.set_major_locator(FixedLocator([1, 4, 7, 10]))
    axes.tick_params(axis="y", pad=-5, length=0, labelsize=7)
    for label in axes.get_yticklabels():
        label.set_horizontalalignment("left")


# -- rooms with rows of their own ----------------


def critic_rows(x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Scores (E, n, n) of critics whose PMI is known, and of trained ones: 5 pairs with correlation 0.8."""
    noise = torch.Generator().manual_seed(0)
    pmi = -(y[:, :, None] - RHO * x[:, None]).square().sum(-1) / (2 * (1 - RHO**2)) + y.square().sum(-1)[..., None] / 2
    rows = {
        "PMI itself": pmi,
        "PMI + c(y)": pmi + 3 * torch.randn(pmi.shape[:2], generator=noise)[..., None],
        "half of PMI": pmi / 2,
        "random": torch.randn(pmi.shape, generator=noise),
    }

    def sample(n: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
        a, b = torch.randn(2, SEEDS, n, 5, generator=g)
        return a, RHO * a + (1 - RHO**2) ** 0.5 * b

    for kind in ("separable", "bilinear", "joint"):
        g = torch.Generator().manual_seed(1)
        start = critics.critic(kind, sample(2, g), g, hidden=(64,), embedding=16)
        steps, batch = (200, 32) if kind == "joint" else (400, 128)
        rows[f"{kind}, trained"] = critics.trained(start, sample, g, steps=steps, batch=batch, rate=5e-3)(x, y).detach()
    return rows


def draw_critics(spare: Any) -> None:
    """Agreement with the exact PMI."""
    x, noise = torch.randn(2, SEEDS, 128, 5, generator=torch.Generator().manual_seed(4))
    rows = critic_rows(x, RHO * x + (1 - RHO**2) ** 0.5 * noise)
    fits = {name: analysis.pmi_fit(s, rows["PMI itself"]) for name, s in rows.items()}
    known: dict[str, tuple[float, float]] = {
        "PMI itself": (1, 1),
        "PMI + c(y)": (1, 1),
        "half of PMI": (1, 0.5),
        "random": (0, 0),
    }
    for index, (axes, title) in enumerate(zip(spare, ("critic: correlation", "critic: slope"), strict=True)):
        answers = {name: pair[index] for name, pair in known.items()}
        panel = Panel(title, taken, answers, (-1, 1) if index == 0 else (), unit=("with the PMI", "on the PMI")[index])
        draw(axes, panel, {name: fit[index] for name, fit in fits.items()})
    spare[1].set_yticklabels([])


def taken(k: Kept) -> Any:
    """The measure of panels whose numbers are given to `draw`."""
    raise NotImplementedError


def heads(known: Truth) -> dict[str, tuple[Tensor, Tensor]]:
    """name -> (h of both views, matrix of the head): content and style under known heads, and a trained one."""
    both = constructed(known)[BOTH].views
    g = torch.Generator().manual_seed(2)
    rows = {
        name: torch.diag(torch.tensor([1.0] * 4 + [shrink] * 4)) for name, shrink in
        (("keeps all", 1.0), ("shrinks style to 0.3", 0.3), ("drops style", 0.0))
    }  # fmt: skip
    rows["random"] = torch.randn(8, 8, generator=g)
    fitted = trained(SimCLR(latent_dim=8, head=(8,)))
    learned = (
        seen(fitted, known.x, "encoder"),
        dict(fitted.modules["head"].named_parameters())["layers.0.weight"].detach(),
    )
    return {name: (both, w.expand(SEEDS, -1, -1)) for name, w in rows.items()} | {"SimCLR": learned}


def in_one_world(known: Truth, kept: Mapping[str, Kept]) -> dict[str, Tensor]:
    """Representations of the same data, of the first world: two known ones, and every learner with three seeds."""
    x, world = known.x[0, :, 0], worlds()[0]
    fitted = {n: fit(one, world, steps=STEPS, seeds=range(SEEDS), batch_size=BATCH) for n, one in LEARNED.items()}
    return {"latents": kept[BOTH].first[0], "turned": kept[TURNED].first[0]} | {
        n: f.transform(x) for n, f in fitted.items()
    }


def along_heads(known: Truth) -> dict[str, dict[str, Tensor]]:
    """method -> layer -> representation of the first view; besides a head made to drop style step by step."""
    x, both = known.x[:, :, 0], constructed(known)[BOTH].first
    steps = zip(DEPTHS, (1.0, 0.3, 0.1, 0.0), strict=True)
    # What is shrunk is lost to noise of a fixed size, 0.3.
    noise = 0.3 * torch.randn(both.shape, generator=torch.Generator().manual_seed(9))
    made = {name: both * torch.tensor([1.0] * 4 + [shrink] * 4) + noise for name, shrink in steps}
    learners = {"SimCLR": SimCLR(head=(32, 32, 10)), "VICReg": VICReg(head=(32, 32, 10))}
    fitted = {name: trained(learner) for name, learner in learners.items()}
    return {"shrinks style": made} | {n: {d: f.transform(x, layer=d) for d in DEPTHS} for n, f in fitted.items()}


def projection_sheet(known: Truth) -> Figure:
    """What a linear head passes on."""
    rows = heads(known)
    keeps, *_ = rows
    figure, axes = figures.canvas(2, 3, width="page", height=2.15)
    places = [axes[0, 0], axes[0, 1], axes[0, 2], axes[1, 0]]
    for at, (panel, values) in zip(places, projection_panels(known, rows), strict=True):
        draw(at, panel, values)
    for at in places[1:3]:
        at.set_yticklabels([])
    singular = {n: projection.singular_values(w) for n, (_, w) in rows.items()}
    curves(axes[1, 1], "singular values of W", singular, "direction")
    share = {n: projection.style_variance_by_direction(*row) for n, row in rows.items() if n != keeps}
    curves(axes[1, 2], "style variance of h, share", share, "direction, largest first")
    return figure


def projection_panels(known: Truth, rows: Mapping[str, tuple[Tensor, Tensor]]) -> list[tuple[Panel, Values]]:
    """Style before the head, behind it, passed on and in small directions, each with its numbers."""
    keeps, shrinks, drops, random = list(rows)[:4]
    told = {n: style_along(known, *row) for n, row in rows.items()}
    behind = {keeps: 1.0, shrinks: 1.0, random: 1.0, drops: 0.0}
    passed = Panel("style passed on", taken, {keeps: 1, drops: 0}, (0,), unit="share in z over share in h")
    small = Panel("style in small directions", taken, {shrinks: 1, drops: 1}, (0, 1), unit="share beyond the 4 largest")
    return [
        (Panel("style $R^2$ of h", taken, dict.fromkeys(behind, 1.0), (0, 1)), {n: s["h"] for n, s in told.items()}),
        (Panel("style $R^2$ of z = W h", taken, behind, (0, 1)), {n: s["z"] for n, s in told.items()}),
        (passed, {n: projection.passed_on(*row) for n, row in rows.items()}),
        # Where all singular values are equal there is no order of directions.
        (small, {n: np.nan if n == keeps else small_directions(*row) for n, row in rows.items()}),
    ]


def style_along(known: Truth, h: Tensor, w: Tensor) -> dict[str, Any]:
    """`R^2` of style, of the first view, from h and from z = W h."""
    first = h[:, :, 0]
    return projection.along({"h": first, "z": first @ w.mT}, lambda r: analysis.r2(r, known.style[:, :, 0]))


def small_directions(h: Tensor, w: Tensor) -> Any:
    return projection.style_in_small_directions(h, w, leading=4)


# -- all of it ----------------


def finished(figure: Figure, path: Path) -> None:
    figures.legend(figure)
    figure.savefig(path)


def main(stem: Path) -> None:
    known = truth()
    kept = constructed(known) | {name: Kept(seen(trained(one), known.x), known) for name, one in LEARNED.items()}
    paired = {PAIRS: gaussian_pairs(known), EXACT: gaussian_pairs(known, exact=True)} | kept

    def path(room: str) -> Path:
        return stem.with_name(f"{stem.name}-{room}.png")

    with figures.look():
        figure, spare = sheet(collapse_panels(known), {SIMPLEX: simplex(known)} | kept, columns=3, spare=2)
        shown = {n: analysis.spectrum(kept[n].first, known.label) for n in (CONTENT, BOTH, *LEARNED)}
        for index, axes in enumerate(spare):
            lines = {n: s[index] / (s.within + s.between).sum(1, keepdim=True) for n, s in shown.items()}
            title = f"{('within', 'between')[index]}-class variance, share"
            curves(axes, title, {n: v.sort(1, descending=True).values for n, v in lines.items()}, "dimension, sorted")
        finished(figure, path("collapse"))
        figure, (axes, one) = sheet(dimension_panels(known), kept, columns=3, spare=2)
        spectra = {n: analysis.eigenspectrum(kept[n].first) for n in (BOTH, NOISE, *LEARNED)}
        curves(axes, "eigenspectrum, share", {n: s / s.sum(1, keepdim=True) for n, s in spectra.items()}, "direction")
        log = {n: (s / s[:, :1]).clamp(min=1e-6).log10() for n, s in spectra.items()}
        curves(one, r"over the largest, $\log_{10}$", log, "direction")
        finished(figure, path("dimensions"))
        finished(sheet(clustering_panels(known), kept)[0], path("clustering"))
        finished(sheet(probe_panels(known), kept, columns=3)[0], path("probes"))
        panels = information_panels(known) + conditional_panels()
        finished(sheet(panels, paired)[0], path("information"))
        figure, spare = sheet(geometry_panels(known), kept, spare=4)
        draw_critics(spare[:2])
        compared(spare[2:], in_one_world(known, kept))
        finished(figure, path("geometry"))
        finished(projection_sheet(known), path("projection"))
        finished(kept_along(along_heads(known), known), path("head"))
        finished(drawn_by_decoders(), path("images"))
        told = Panel("reconstruction: $R^2$ of x", reconstructed, {BOTH: 1, TURNED: 1, NOISE: 0, COLLAPSED: 0}, (0, 1))
        finished(sheet([*identifiability_panels(known), told], kept, columns=3)[0], path("identifiability"))


def reconstructed(k: Kept) -> Any:
    """Every seed decodes its own world."""
    pairs = zip(k.first, k.truth.x[:, :, 0], strict=True)
    return [analysis.reconstruct(r, x, hidden=(64, 64), steps=300, rate=1e-2).r2 for r, x in pairs]


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(""))
