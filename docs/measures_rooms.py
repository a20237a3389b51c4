"""The panels of docs/measures.py, room by room: each measure, how it is taken, what is known of it beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ssl_theory import analysis
from ssl_theory.analysis import geometry, logistic
from ssl_theory.learners import VAE, SimCLR, SimVAE, VICReg

POINTS, CLASSES = 1200, 8
NETWORK: dict[str, Any] = {"steps": 240}
SIMPLEX = "classes on a simplex"


@dataclass(frozen=True)
class Kept:
    """A representation of the two views of n data, `(E, n, 2, d)`, beside the truth about them."""

    views: Tensor
    truth: Truth
    exact: bool = False  # Gaussian pairs, whose critic need not be learned

    @property
    def first(self) -> Tensor:
        """Of the first view, `(E, n, d)`."""
        return self.views[:, :, 0]


@dataclass(frozen=True)
class Truth:
    """What the worlds drew; everything has a leading axis of seeds."""

    x: Tensor  # (E, n, 2, D)
    content: Tensor  # (E, n, dc)
    style: Tensor  # (E, n, 2, ds)
    label: Tensor  # (E, n)

    @property
    def latents(self) -> Tensor:
        """Content and style of the first view."""
        return torch.cat([self.content, self.style[:, :, 0]], -1)


@dataclass(frozen=True)
class Panel:
    """One measure: what it is called, how it is taken, which answers are known and between what it lies."""

    title: str
    measure: Callable[[Kept], Any]
    answers: Mapping[str, float] = field(default_factory=dict)
    span: tuple[float, ...] = ()
    scale: str = "linear"
    unit: str = ""


CONTENT, STYLE, BOTH, TURNED, NOISE, COLLAPSED = (
    "content", "style", "content and style", "turned, rescaled", "noise", "collapsed",
)  # fmt: skip
CANDIDATES = (1, 4, 8, 12)  # numbers of components
LEARNED = {"SimCLR": SimCLR(), "VICReg": VICReg(), "VAE": VAE(), "SimVAE": SimVAE()}


# -- the measures, room by room ----------------


def halves(k: Kept) -> tuple[Tensor, Tensor, Tensor]:
    """Fitted and scored rows, and the labels of the latter."""
    half = POINTS // 2
    return k.first[:, :half], k.first[:, half:], k.truth.label[:, half:]


def style_r2(k: Kept, kind: str = "nonlinear") -> Any:
    return analysis.r2(k.first, k.truth.style[:, :, 0], kind=kind, **NETWORK)


def weights_duality(k: Kept) -> Any:
    """Class means beside the weights of a logistic regression, all standardised by one number."""
    r = k.first - k.first.mean(1, keepdim=True)
    r = (r / r.std((1, 2), keepdim=True).clamp(min=1e-9)).double()
    weights = logistic.logistic_weights(r, k.truth.label, CLASSES, torch.full((len(r),), 10.0))
    plain = weights.unflatten(1, (-1, CLASSES))[:, :-1].mT
    return analysis.self_duality(plain, analysis.class_means(r, k.truth.label))


def collapse_panels(known: Truth) -> list[Panel]:
    # Without observation noise x tells all of style and of content; with it a little less, so no dot passes 1.
    most = 1.0
    all_of_it = {SIMPLEX: 0.0, CONTENT: 0.0, STYLE: 1.0, NOISE: 1.0}

    def means(k: Kept) -> Any:
        return analysis.class_means(k.first, k.truth.label)

    return [
        Panel("collapse ratio", lambda k: analysis.collapse_ratio(k.views), all_of_it, (0, 1)),
        Panel(
            "class collapse ratio",
            lambda k: analysis.class_collapse_ratio(k.first, k.truth.label),
            {SIMPLEX: 0, STYLE: 1, NOISE: 1},
            (0, 1),
        ),
        Panel(
            "retained style",
            lambda k: analysis.retained_style(style_r2(k), 0.0, most),
            {SIMPLEX: 0, CONTENT: 0, NOISE: 0, COLLAPSED: 0, STYLE: 1, BOTH: 1, TURNED: 1},
            (0, 1),
        ),
        Panel(
            "total variance",
            lambda k: torch.as_tensor(analysis.total_variance(k.first)).clamp(min=1e-3),
            {STYLE: 4, NOISE: 10, COLLAPSED: 1e-3},
            scale="log",
            unit="collapsed: 0, drawn at $10^{-3}$",
        ),
        Panel("NC1", lambda k: analysis.nc1(k.first, k.truth.label), scale="log"),
        Panel(
            "NC1, by traces",
            lambda k: analysis.nc1(k.first, k.truth.label, convention="trace"),
            scale="log",
        ),
        Panel("CDNV", lambda k: analysis.cdnv(k.first, k.truth.label), scale="log"),
        Panel("ETF distance", lambda k: analysis.etf_distance(means(k)), {SIMPLEX: 0}, span=(0,)),
        Panel("variation of mean norms", lambda k: analysis.norm_variation(means(k)), {SIMPLEX: 0}, span=(0,)),
        Panel("self-duality", weights_duality, {SIMPLEX: 0}, span=(0,)),
    ]


def dimension_panels(known: Truth) -> list[Panel]:
    return [
        Panel(
            "effective rank (RankMe)",
            lambda k: analysis.effective_rank(k.first),
            {STYLE: 4, NOISE: 10, COLLAPSED: 1},
            (1, 10),
            unit="directions",
        ),
        Panel(
            "participation ratio",
            lambda k: analysis.participation_ratio(k.first),
            {STYLE: 4, NOISE: 10},
            (1, 10),
            unit="directions",
        ),
        Panel("LiDAR", lambda k: analysis.lidar(k.views), {STYLE: 4, NOISE: 10}, (1, 10), unit="directions"),
        Panel("α-ReQ", lambda k: analysis.alpha_req(k.first), {STYLE: 0, NOISE: 0}, (0,), unit="exponent"),
    ]


def clustering_panels(known: Truth) -> list[Panel]:
    found: dict[Any, Any] = {}

    def mixture(k: Kept) -> Any:
        if id(k) not in found:
            found[id(k)] = analysis.mixture_clustering(*halves(k), CLASSES, restarts=1)
        return found[id(k)]

    def by_bic(k: Kept) -> Any:
        if (id(k), "BIC") not in found:
            found[id(k), "BIC"] = analysis.mixture_clustering(*halves(k), CANDIDATES, restarts=1)
        return found[id(k), "BIC"]

    def centres(k: Kept) -> Any:
        if (id(k), "k-means") not in found:
            found[id(k), "k-means"] = analysis.kmeans_clustering(*halves(k), CLASSES)
        return found[id(k), "k-means"]

    return [
        Panel("mixture: accuracy", lambda k: mixture(k).accuracy, span=(1 / CLASSES, 1)),
        Panel("mixture: NMI", lambda k: mixture(k).nmi, {STYLE: 0, NOISE: 0}, (0, 1)),
        Panel("mixture: ARI", lambda k: mixture(k).ari, {STYLE: 0, NOISE: 0}, (0, 1)),
        Panel("mixture: AMI", lambda k: mixture(k).ami, {STYLE: 0, NOISE: 0}, (0, 1)),
        Panel("mixture: purity", lambda k: mixture(k).purity, span=(1 / CLASSES, 1)),
        Panel("mixture: silhouette", lambda k: mixture(k).silhouette, span=(-1, 1)),
        Panel("k-means: accuracy", lambda k: centres(k).accuracy, span=(1 / CLASSES, 1)),
        Panel("k-means: NMI", lambda k: centres(k).nmi, {STYLE: 0, NOISE: 0}, (0, 1)),
        Panel(
            "components by BIC",
            lambda k: analysis.components_by_bic(halves(k)[0], CANDIDATES),
            {CONTENT: CLASSES, STYLE: 1, NOISE: 1},
        ),
        Panel("by BIC: accuracy", lambda k: by_bic(k).accuracy, span=(1 / CLASSES, 1)),
        Panel("by BIC: NMI", lambda k: by_bic(k).nmi, {STYLE: 0, NOISE: 0}, (0, 1)),
        Panel("by BIC: ARI", lambda k: by_bic(k).ari, {STYLE: 0, NOISE: 0}, (0, 1)),
    ]


def probe_panels(known: Truth) -> list[Panel]:
    nothing, everything = {STYLE: 0.0, NOISE: 0.0, COLLAPSED: 0.0}, {CONTENT: 1.0, BOTH: 1.0, TURNED: 1.0}
    of_style = {CONTENT: 0.0, STYLE: 1.0, BOTH: 1.0, TURNED: 1.0, NOISE: 0.0, COLLAPSED: 0.0}
    chance, known_chance = (1 / CLASSES, 1), dict.fromkeys((STYLE, NOISE, COLLAPSED), 1 / CLASSES)

    def interval(k: Kept) -> tuple[float, ...]:
        return analysis.accuracy_interval(k.first[0], k.truth.label[0], kind="knn")

    def content_interval(k: Kept) -> tuple[float, ...]:
        return analysis.r2_interval(k.first[0], k.truth.content[0])

    return [
        Panel("content: $R^2$, linear", lambda k: analysis.r2(k.first, k.truth.content), nothing | everything, (0, 1)),
        Panel("style: $R^2$, linear", lambda k: style_r2(k, "linear"), of_style, (0, 1)),
        Panel("style: $R^2$, MLP", lambda k: style_r2(k, "mlp"), of_style, (0, 1)),
        Panel("style: $R^2$, kernel ridge", lambda k: style_r2(k, "kernel"), of_style, (0, 1)),
        Panel("style: $R^2$, better of these two", style_r2, of_style, (0, 1)),
        Panel("class: accuracy, linear", lambda k: analysis.accuracy(k.first, k.truth.label), known_chance, chance),
        Panel(
            "class: accuracy, MLP",
            lambda k: analysis.accuracy(k.first, k.truth.label, kind="mlp", **NETWORK),
            span=chance,
        ),
        Panel(
            "class: accuracy, k-NN",
            lambda k: analysis.accuracy(k.first, k.truth.label, kind="knn"),
            known_chance,
            chance,
        ),
        Panel("k-NN, one seed, 95 %", interval, known_chance, chance, unit="interval over test rows"),
        Panel(
            "content $R^2$, one seed, 95 %",
            content_interval,
            nothing | everything,
            (0, 1),
            unit="interval over test rows",
        ),
    ]


def geometry_panels(known: Truth) -> list[Panel]:
    def temperature(k: Kept) -> Any:
        z = torch.nn.functional.normalize(k.views[:, :200].double(), dim=-1)
        scores = z[:, :, 0] @ z[:, :, 1].mT / 0.5
        return geometry.fitted_temperature(scores, torch.cdist(z[:, :, 0], z[:, :, 1]).square())

    return [
        Panel(
            "alignment", lambda k: analysis.alignment(k.views), {CONTENT: 0, STYLE: 2, NOISE: 2, COLLAPSED: 0}, (0, 4)
        ),
        Panel("uniformity", lambda k: analysis.uniformity(k.first), {COLLAPSED: 0}, (-4, 0)),
        Panel(
            "tolerance",
            lambda k: analysis.tolerance(k.first, k.truth.label),
            {STYLE: 0, NOISE: 0, COLLAPSED: 1},
            (0, 1),
        ),
        Panel("mean norm", lambda k: analysis.norms(k.first).mean, {COLLAPSED: 3.7 * 10**0.5}, scale="log"),
        Panel(
            "spread of norms",
            lambda k: analysis.norms(k.first).deviation / analysis.norms(k.first).mean,
            {COLLAPSED: 0},
            (0,),
        ),
        Panel(
            "CKA with the latents",
            lambda k: analysis.cka(k.first, k.truth.latents),
            {BOTH: 1, TURNED: 1, NOISE: 0},
            (0, 1),
        ),
        Panel(
            "Procrustes to latents",
            lambda k: analysis.procrustes(k.first, k.truth.latents),
            {BOTH: 0, TURNED: 0},
            (0, 1),
        ),
        Panel(
            "fitted temperature",
            temperature,
            dict.fromkeys((CONTENT, STYLE, BOTH, TURNED, NOISE, *LEARNED), 0.5),
            unit="dot product over 0.5",
        ),
    ]


def identifiability_panels(known: Truth) -> list[Panel]:
    def grade(index: int) -> Callable[[Kept], Any]:
        return lambda k: analysis.dci(k.first, k.truth.latents)[index]

    def block(name: str) -> Callable[[Kept], Any]:
        blocks = {CONTENT: known.content, STYLE: known.style[:, :, 0]}
        return lambda k: analysis.block_r2(k.first, blocks)[name]

    every, half = {BOTH: 1.0, TURNED: 1.0, NOISE: 0.0, COLLAPSED: 0.0}, {CONTENT: 0.5, STYLE: 0.5}
    of_content, of_style = every | {CONTENT: 1.0, STYLE: 0.0}, every | {CONTENT: 0.0, STYLE: 1.0}
    return [
        Panel("latents: affine $R^2$", lambda k: analysis.affine_r2(k.first, k.truth.latents), every | half, (0, 1)),
        Panel("content block: $R^2$", block(CONTENT), of_content, (0, 1)),
        Panel("style block: $R^2$", block(STYLE), of_style, (0, 1)),
        Panel("MCC, Pearson", lambda k: analysis.mcc(k.first, k.truth.latents), {BOTH: 1}, (0, 1)),
        Panel("MCC, Spearman", lambda k: analysis.mcc(k.first, k.truth.latents, rank=True), {BOTH: 1}, (0, 1)),
        Panel("DCI: disentanglement", grade(0), {BOTH: 1}, (0, 1)),
        Panel("DCI: completeness", grade(1), {BOTH: 1}, (0, 1)),
        Panel("DCI: informativeness", grade(2), every | half, (0, 1)),
    ]
