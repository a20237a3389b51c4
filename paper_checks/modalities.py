"""With an encoder for each view, as CLIP has one for images and one for captions, style is lost all the same.

    x^1 = f_1(c, s^1),  x^2 = f_2(c, s^2):  views of two instruments, the content c theirs in common

World `modalities`: two mixings, of 16 and 24 dimensions; the smaller observation is padded by zeros, which tell
nothing. CLIP is InfoNCE between the two encoders; against it SimVAE with an encoder and a decoder for each modality,
p(z^1, z^2) its Gaussian prior. Probes read each modality's representation on its own, on fresh data.

Bounds, fixed beforehand. Retained style of CLIP at most 0.30 and of SimVAE at least 0.40 in each modality, and a linear
probe's label accuracy of CLIP at least 0.90: those of style collapse in world `block`, whose first trials gave 0.94 to
0.99, since the theory does not ask whether the encoders are one. Accuracy *across* at least 0.85: the class means of
one modality classify the other's representations (by cosine, both ways averaged), a little below the probe because
class means are no fitted boundary. Collapse ratio across modalities at most 0.30: two views of a data point lie
together.

Control: mismatched pairs. What the views share is then nothing, so accuracy across must fall to chance and the views of
a data point must lie apart. A probe *within* a modality may still find content: the loss is then the same for any
encoders whose critic is constant, and does not ask that it be erased. So that number is shown but not required.

Source: Bizeul, Schölkopf, Allen (2024), arXiv 2402.01399, section 4; Radford et al. (2021), arXiv 2103.00020.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

import synthetic
from figures import canvas, interval_points, legend
from paper_checks import trained
from paper_checks.claim import Claim, Config, Finding, Task, per_seed
from ssl_theory.learners import Learner, SimVAE, fit

MODALITIES = ("modality 1", "modality 2")
ACROSS = "across"
SIMVAE = "SimVAE, per modality"
METHODS = ("CLIP", SIMVAE)

CONFIG = trained.SIZES


@dataclass(frozen=True, kw_only=True)
class ModalSimVAE(SimVAE):
    """SimVAE with Gaussian prior, with an encoder and a decoder for each of two modalities."""

    view_specific: ClassVar[bool] = True

    def build(self, shape: tuple[int, ...], seeds: Sequence[torch.Generator]) -> nn.ModuleDict:
        modules = super().build(shape, seeds)
        for name, network in super().build(shape, seeds).items():
            modules[f"{name} 1"] = network
        return modules

    def posterior(self, modules: nn.ModuleDict, x: Tensor) -> tuple[Tensor, Tensor]:
        both = [modules["encoder"](x[:, :, 0]), modules["encoder 1"](x[:, :, 1])]
        mean, log_variance = torch.stack(both, 2).chunk(2, dim=-1)
        return mean, log_variance

    def reparameterised(
        self, modules: nn.ModuleDict, x: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, log_variance = self.posterior(modules, x)
        z = torch.addcmul(mean, (0.5 * log_variance).exp(), torch.zeros_like(mean) if noise is None else noise)
        decoded = torch.stack([modules["decoder"](z[:, :, 0]), modules["decoder 1"](z[:, :, 1])], 2)
        return z, decoded.flatten(3), mean, log_variance

    def represent(self, modules: nn.ModuleDict, x: Tensor, layer: str, view: int = 0) -> Tensor:
        return modules["encoder 1" if view else "encoder"](x)[..., : self.latent_dim]


@dataclass(frozen=True)
class Padded:
    """A world of modalities of different sizes, the smaller observations padded by zeros."""

    world: synthetic.World

    @property
    def device(self) -> torch.device:
        return self.world.device

    def sample(self, n: int, *, views: int, generator: torch.Generator) -> synthetic.Views:
        drawn = self.world.sample(n, views=views, generator=generator)
        parts = drawn.x if isinstance(drawn.x, tuple) else drawn.x.unbind(1)
        width = max(part.shape[1] for part in parts)
        padded = [nn.functional.pad(part, (0, width - part.shape[1])) for part in parts]
        return dataclasses.replace(drawn, x=torch.stack(padded, 1))


def kept_by_modality(
    *, method: str, seeds: int, steps: int, points: int, batch_size: int, pairing: str = "true", device: str = "cpu"
) -> pd.DataFrame:
    """Rows (method, layer, seed, measure, value); layer is the modality that the probes read, or "across" the two."""
    worlds: list[Any] = [Padded(synthetic.preset("modalities", seed).to(device)) for seed in range(seeds)]
    drawn = [trained.fresh(world, points, seed) for seed, world in enumerate(worlds)]
    r = torch.stack([data.x for data in drawn])
    if method != trained.OBSERVATION:
        learner: Learner = ModalSimVAE() if method == SIMVAE else trained.named(method)()
        samplers = [trained.sampler(learner, world, seed, pairing) for seed, world in enumerate(worlds)]
        fitted = fit(learner, samplers, steps=steps, seeds=range(seeds), batch_size=batch_size, device=device)
        r = trained.represented(fitted, r, "representation")
    truth = [world.world for world in worlds]
    swapped = [dataclasses.replace(data, style=data.style.flip(1)) for data in drawn]
    tables = [
        trained.tidy(trained.measures(rows, data, truth), method=method, layer=layer)
        for layer, rows, data in zip(MODALITIES, (r, r.flip(2)), (drawn, swapped), strict=True)
    ]
    label = torch.stack([data.label for data in drawn if data.label is not None])
    return pd.concat(
        [*tables, trained.tidy({"label accuracy": accuracy_across(r, label)}, method=method, layer=ACROSS)],
        ignore_index=True,
    )


def accuracy_across(r: Float[Tensor, "E n 2 d"], label: Tensor) -> Tensor:
    """Accuracy of each modality's second half by the class means of the other's first half; both ways averaged."""
    half = r.shape[1] // 2
    r, first = nn.functional.normalize(r.double(), dim=-1), nn.functional.one_hot(label[:, :half]).double()
    found = []
    for own, other in ((0, 1), (1, 0)):
        means = nn.functional.normalize(first.mT @ r[:, :half, other], dim=-1)
        guess = (r[:, half:, own] @ means.mT).argmax(-1)
        found.append((guess == label[:, half:]).double().mean(1))
    return torch.stack(found).mean(0)


def tasks(config: Config) -> list[Task]:
    shared = {key: config[key] for key in trained.SHARED}
    pairing = {"pairing": config["pairing"]} if "pairing" in config else {}
    cost = config["steps"] * config["seeds"] * config["batch_size"] / 2**20 + 0.1
    learned = [Task(kept_by_modality, {"method": name} | shared | pairing, cost=2 * cost) for name in METHODS]
    return [*learned, Task(kept_by_modality, {"method": trained.OBSERVATION} | shared | {"steps": 0}, cost=0.3)]


def control(config: Config) -> Config:
    return config | {"pairing": "shuffled"}


def retained(table: pd.DataFrame, method: str, modality: str) -> "pd.Series[float]":
    return trained.retained_style(table[table.layer == modality], method)


def accuracy(table: pd.DataFrame, method: str, layer: str) -> "pd.Series[float]":
    measure = "label accuracy" if layer == ACROSS else "label accuracy, linear"
    return per_seed(table, method=method, layer=layer, measure=measure)


def findings(table: pd.DataFrame, config: Config) -> list[Finding]:
    found = []
    for modality in MODALITIES:
        values = retained(table, "CLIP", modality)
        why = "as with one encoder for all views"
        found.append(Finding.from_seeds(f"retained style, CLIP, {modality}", values, "<=", 0.30, reason=why))
    for modality in MODALITIES:
        values, why = retained(table, SIMVAE, modality), "reconstruction needs style"
        found.append(Finding.from_seeds(f"retained style, {SIMVAE}, {modality}", values, ">=", 0.40, reason=why))
    for modality in MODALITIES:
        values, why = accuracy(table, "CLIP", modality), "what the views share is kept"
        found.append(Finding.from_seeds(f"label accuracy, CLIP, {modality}", values, ">=", 0.90, reason=why))
    for modality in MODALITIES:
        values, why = accuracy(table, SIMVAE, modality), "reconstruction needs content too"
        found.append(Finding.from_seeds(f"label accuracy, {SIMVAE}, {modality}", values, ">=", 0.90, reason=why))
    values, why = accuracy(table, "CLIP", ACROSS), "the two representations mean the same"
    found.append(Finding.from_seeds("label accuracy, CLIP, across", values, ">=", 0.85, reason=why, controlled=True))
    values = per_seed(table, method="CLIP", layer=MODALITIES[0], measure="collapse ratio")
    why = "both views of a data point lie at one place"
    found.append(Finding.from_seeds("collapse ratio, CLIP", values, "<=", 0.30, reason=why, controlled=True))
    return found


def draw(table: pd.DataFrame, control_table: pd.DataFrame | None, found: Sequence[Finding], config: Config) -> Figure:
    figure, axes = canvas(1, 2, width="page", height=2.6)
    bounds = {f.name: f for f in found}
    _draw_rows(axes[0, 0], "retained style", retained, MODALITIES, table, control_table, bounds)
    _draw_rows(axes[0, 1], "label accuracy", accuracy, (*MODALITIES, ACROSS), table, control_table, bounds)
    axes[0, 0].set(xlabel="retained style\n0: as much as content tells, 1: as much as the data tell")
    axes[0, 1].set(xlabel="label accuracy; dotted: chance")
    axes[0, 1].axvline(1 / 8, color="0.5", linestyle=":", linewidth=1)
    legend(figure)
    return figure


def _draw_rows(
    axes: Axes,
    measure: str,
    values: Any,
    layers: Sequence[str],
    table: pd.DataFrame,
    control_table: pd.DataFrame | None,
    bounds: dict[str, Finding],
) -> None:
    rows = [(method, layer) for method in METHODS for layer in layers]

    def intervals(source: pd.DataFrame) -> tuple[list[float], list[float], list[float]]:
        drawn = [Finding.from_seeds("", values(source, method, layer), ">=", 0.0) for method, layer in rows]
        return [f.estimate for f in drawn], [f.low for f in drawn], [f.high for f in drawn]

    edges = [bounds.get(f"{measure}, {method}, {layer}") for method, layer in rows]
    interval_points(
        axes,
        [f"{method.partition(',')[0]}, {layer}" for method, layer in rows],
        *intervals(table),
        bounds=[f.bound if f else float("nan") for f in edges],
        sides=[f.side if f else ">=" for f in edges],
        control=None if control_table is None else intervals(control_table),
        methods=[method for method, _ in rows],
    )


def caption(found: Sequence[Finding]) -> str:
    said = {f.name: f.estimate for f in found}
    clip, simvae = (
        " and ".join(f"{said[f'retained style, {method}, {m}']:.2f}" for m in MODALITIES) for method in METHODS
    )
    labels, others = (
        " and ".join(f"{said[f'label accuracy, {method}, {m}']:.2f}" for m in MODALITIES) for method in METHODS
    )
    return (
        f"Two modalities, an encoder each. Left: CLIP retains {clip} of the style of each, SimVAE with an encoder and "
        f"a decoder for each {simvae}. Right: a linear probe tells the label from CLIP's representations with accuracy "
        f"{labels}, from SimVAE's {others}; class means of one modality tell the other's labels with "
        f"{said['label accuracy, CLIP, across']:.2f}. "
        "Hollow: mismatched pairs (control), where the modalities no longer agree. Means over seeds, a world a seed, "
        "with 95 % intervals; tinted: where the bound lets it be."
    )


NOTES = """What style CLIP still tells may be a matter of its temperature rather than of its two encoders: it learns
one, which falls far below SimCLR's 0.5, and a fine kernel tells data points apart by their style, too
(phase-diagram). That was not checked here.

SimVAE's label accuracy had been drawn and not judged, though the statement says that it keeps both; CLIP's bound was
put on it after it had been seen."""

CLAIM = Claim(
    name="modalities",
    part="discriminative families",
    statement=(
        "View-specific encoders (CLIP) lose the style of each modality and keep content, as one encoder for all views "
        "does; SimVAE with an encoder and a decoder for each modality keeps both."
    ),
    formula=(
        r"p(x^1, x^2, z^1, z^2, y) = p(y) \prod_j p(z^j \mid y)\, p_j(x^j \mid z^j), \qquad"
        r" s^*(x^1, x^2) = \log \sum_y \frac{p(y \mid x^1)\, p(y \mid x^2)}{p(y)} + c(x^1)"
    ),
    config=CONFIG,
    tasks=tasks,
    control=control,
    control_words="mismatched pairs: every second view is another data point's",
    findings=findings,
    draw=draw,
    caption=caption,
    notes=f"{NOTES}\n\n{trained.READ_BY}",
    source="Bizeul, Schölkopf, Allen (2024), arXiv 2402.01399, section 4; Radford et al. (2021), arXiv 2103.00020",
)
