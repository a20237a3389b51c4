"""The panels of docs/measures.py, room by room: each measure, how it is taken, what is known of it beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_theory import analysis
from ssl_theory.analysis import critics, geometry, information, linear, logistic
from ssl_theory.learners import VAE, SimCLR, SimVAE, VICReg

POINTS, CLASSES, CANDIDATES = 1200, 8, 128
NETWORK: dict[str, Any] = {"steps": 240}
PAIRS, RHO = "Gaussian pairs, ρ = 0.8", 0.8
SIMPLEX = "classes on a simplex"
LOOSE = ("NWJ", "TUBA", "Donsker–Varadhan")  # their variance grows like exp I: on few pairs they fall without end


@dataclass(frozen=True)
class Kept:
    """A representation of the two views of n data, `(E, n, 2, d)`, beside the truth about them."""

    views: Tensor
    truth: Truth

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
LEARNED = {"SimCLR": SimCLR(), "VICReg": VICReg(), "VAE": VAE(), "SimVAE": SimVAE()}


# -- the measures, room by room ----------------


def halves(k: Kept) -> tuple[Tensor, Tensor, Tensor]:
    """Fitted and scored rows, and the labels of the latter."""
    half = POINTS // 2
    return k.first[:, :half], k.first[:, half:], k.truth.label[:, half:]


def style_r2(k: Kept, kind: str = "mlp") -> Any:
    return analysis.r2(k.first, k.truth.style[:, :, 0], kind=kind, **(NETWORK if kind == "mlp" else {}))


def ceiling(known: Truth) -> Tensor:
    """R^2 of style from the observation, the most a representation can keep."""
    return style_r2(Kept(known.x, known))


def weights_duality(k: Kept) -> Any:
    """Class means beside the weights of a logistic regression, all standardised by one number."""
    r = k.first - k.first.mean(1, keepdim=True)
    r = (r / r.std((1, 2), keepdim=True).clamp(min=1e-9)).double()
    weights = logistic.logistic_weights(r, k.truth.label, CLASSES, torch.full((len(r),), 10.0))
    plain = weights.unflatten(1, (-1, CLASSES))[:, :-1].mT
    return analysis.self_duality(plain, analysis.class_means(r, k.truth.label))


def collapse_panels(known: Truth) -> list[Panel]:
    most = ceiling(known)
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
            {SIMPLEX: 0, CONTENT: 0, NOISE: 0, COLLAPSED: 0},
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
    found: dict[int, Any] = {}

    def mixture(k: Kept) -> Any:
        if id(k) not in found:
            found[id(k)] = analysis.mixture_clustering(*halves(k), CLASSES, restarts=1)
        return found[id(k)]

    return [
        Panel("mixture: accuracy", lambda k: mixture(k).accuracy, span=(1 / CLASSES, 1)),
        Panel("mixture: NMI", lambda k: mixture(k).nmi, {STYLE: 0, NOISE: 0}, (0, 1)),
        Panel("mixture: ARI", lambda k: mixture(k).ari, {STYLE: 0, NOISE: 0}, (0, 1)),
        Panel("mixture: AMI", lambda k: mixture(k).ami, {STYLE: 0, NOISE: 0}, (0, 1)),
        Panel("mixture: purity", lambda k: mixture(k).purity, span=(1 / CLASSES, 1)),
        Panel("mixture: silhouette", lambda k: mixture(k).silhouette, span=(-1, 1)),
        Panel(
            "k-means: NMI", lambda k: analysis.kmeans_clustering(*halves(k), CLASSES).nmi, {STYLE: 0, NOISE: 0}, (0, 1)
        ),
        Panel(
            "components by BIC",
            lambda k: analysis.components_by_bic(halves(k)[0], (1, 4, 8, 12)),
            {CONTENT: CLASSES, STYLE: 1, NOISE: 1},
        ),
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
        Panel("style: $R^2$, MLP", style_r2, of_style, (0, 1)),
        Panel("style: $R^2$, kernel ridge", lambda k: style_r2(k, "kernel"), of_style, (0, 1)),
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


def information_panels(known: Truth) -> list[Panel]:
    """Bounds between the two views, all of one critic a representation; its InfoNCE cannot exceed log K."""
    exact = float(information.gaussian_information(np.full(5, RHO)))
    nothing = {STYLE: 0.0, NOISE: 0.0, COLLAPSED: 0.0}
    entropy = float(torch.special.entr(known.label[0].bincount() / POINTS).sum())
    bounds: dict[str, Callable[[Tensor, Tensor], Any]] = {
        "InfoNCE": lambda s, a: information.info_nce(s),
        "interpolated, α = 0.5": lambda s, a: information.interpolated(s, 0.5, a),
        "NWJ": lambda s, a: information.nwj(s + 1 - a[..., None]),
        "TUBA": lambda s, a: information.tuba(s, a),
        "Donsker–Varadhan": lambda s, a: information.donsker_varadhan(s - a[..., None]),
        "SMILE, τ = 5": lambda s, a: information.smile(s - a[..., None]),
        "Jensen–Shannon": lambda s, a: information.jensen_shannon(s - a[..., None]),
    }
    found: dict[int, Tensor] = {}

    def every(k: Kept) -> Tensor:
        if id(k) not in found:
            found[id(k)] = critics.between(
                *k.views.unbind(2), bound=lambda s: torch.stack([b(*_with_level(s)) for b in bounds.values()], -1),
                steps=120, batch=CANDIDATES, hidden=(64,), embedding=8, rate=5e-3,
            )  # fmt: skip
        return found[id(k)]

    def bound(index: int) -> Callable[[Kept], Tensor]:
        loose = list(bounds)[index] in LOOSE
        return lambda k: every(k)[:, index].clamp(min=-1.0 if loose else -math.inf)

    gauss = {PAIRS: exact}
    ceiling = {"InfoNCE": (0, math.log(CANDIDATES // 2 + 1))}
    between = [
        Panel(
            name,
            bound(i),
            nothing | gauss,
            ceiling.get(name, ()),
            unit="nats, cut at −1" if name in LOOSE else "nats",
        )
        for i, name in enumerate(bounds)
        if name != "Jensen–Shannon"
    ]
    return [
        Panel(
            "about the class",
            lambda k: analysis.class_information(k.first, k.truth.label),
            nothing,
            (0, entropy),
            unit="nats; right end: H(k)",
        ),
        Panel(
            "about style",
            lambda k: analysis.gaussian_target_information(k.first, k.truth.style[:, :, 0]),
            {CONTENT: 0.0, NOISE: 0.0, COLLAPSED: 0.0},
            (0,),
            scale="symlog",
            unit="nats",
        ),
        *between,
        Panel(
            "Jensen–Shannon",
            bound(len(bounds) - 1),
            {name: -math.log(4) for name in nothing},
            (-math.log(4), 0),
            unit="at most 2 JSD − log 4",
        ),
        Panel(
            "KSG", lambda k: information.ksg(*k.views.unbind(2)), {STYLE: 0, NOISE: 0} | gauss, unit="nats, an estimate"
        ),
    ]


def _with_level(s: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of one half of the others, and `log mean_k exp f(x_k, y)` of the other half: what InfoNCE leaves free."""
    half = s.shape[-1] // 2
    return torch.cat([s[..., :1], s[..., half:]], -1), s[..., 1:half].logsumexp(-1) - math.log(half - 1)


def conditional_panels(known: Truth) -> list[Panel]:
    """Bounds that take log q(z'|z), q linear and Gaussian, fitted on one half; exact for the Gaussian pairs alone."""
    exact, nothing = float(information.gaussian_information(np.full(5, RHO))), {STYLE: 0.0, NOISE: 0.0}
    scores: dict[int, Tensor] = {}

    def taken(bound: Callable[[Tensor], Any]) -> Callable[[Kept], Tensor]:
        def measure(k: Kept) -> Tensor:
            scores[id(k)] = scores[id(k)] if id(k) in scores else log_conditional(k)
            return bound(scores[id(k)]).mean(1)

        return measure

    return [
        Panel(
            "leave-one-out, upper",
            taken(lambda s: information.leave_one_out(s).upper),
            nothing | {PAIRS: exact},
            scale="symlog",
            unit="nats",
        ),
        Panel(
            "CLUB", taken(information.club), nothing | {PAIRS: 5 * RHO**2 / (1 - RHO**2)}, scale="symlog", unit="nats"
        ),
    ]


def log_conditional(k: Kept) -> Tensor:
    """`log q(z'_i | z_j)` of unseen pairs in batches, positives first: (E, batches, K, K)."""
    half = POINTS // 2
    x, y = (z.double() for z in k.views.unbind(2))
    # Directions that the first view tells exactly have no density; a thousandth of the variance stands for none.
    y = y + 0.03 * y.std((1, 2), keepdim=True) * torch.randn(y.shape, generator=torch.Generator().manual_seed(5))
    mean = linear.ridge_predictions(x[:, :half], y[:, :half], x)
    variance = (y - mean)[:, :half].square().mean(1).clamp(min=1e-12)[:, None, None, None]
    seen, guess = (z[:, half : half + 4 * CANDIDATES].unflatten(1, (4, CANDIDATES)) for z in (y, mean))
    deviation = seen[:, :, :, None] - guess[:, :, None]
    return information.positives_first(-(deviation.square() / variance + (2 * math.pi * variance).log()).sum(-1) / 2)


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
            unit="of a dot product over 0.5",
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
