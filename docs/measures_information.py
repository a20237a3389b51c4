"""Information in docs/measures-information.png: bounds between views, of learned critics and of the exact one."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from measures_rooms import COLLAPSED, CONTENT, NOISE, POINTS, STYLE, Kept, Panel, Truth
from torch import Tensor

from ssl_theory import analysis
from ssl_theory.analysis import critics, information, linear

CANDIDATES = 128
PAIRS, EXACT, RHO = "pairs, ρ = 0.8", "the same, exact critic", 0.8
YARDSTICK = float(information.gaussian_information(np.full(5, RHO)))
NOTHING = {STYLE: 0.0, NOISE: 0.0, COLLAPSED: 0.0}  # what style, noise and a constant tell of content, or of a view
BETWEEN = NOTHING | {PAIRS: YARDSTICK, EXACT: YARDSTICK}

BOUNDS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "InfoNCE": lambda s, a: information.info_nce(s),
    "interpolated, α = 0.5": lambda s, a: information.interpolated(s, 0.5, a),
    "NWJ": lambda s, a: information.nwj(s + 1 - a[..., None]),
    "TUBA": lambda s, a: information.tuba(s, a),
    "Donsker–Varadhan": lambda s, a: information.donsker_varadhan(s - a[..., None]),
    "SMILE, τ = 5": lambda s, a: information.smile(s - a[..., None]),
    "Jensen–Shannon": lambda s, a: information.jensen_shannon(s - a[..., None]),
}
"""Of scores and their level `log a(y)`, as `_with_level` parts them."""
LOOSE = ("NWJ", "TUBA", "Donsker–Varadhan")  # their variance grows like exp I: on few pairs they fall without end


def information_panels(known: Truth) -> list[Panel]:
    """What a representation tells of the truth, then what one view tells of the other."""
    return [
        *target_panels(known),
        *(bound_panel(name) for name in BOUNDS if name != "Jensen–Shannon"),
        Panel("MINE", trained_by_mine, BETWEEN, unit="nats, cut at −1"),
        Panel(
            "Jensen–Shannon",
            lambda k: of_every_bound(k)["Jensen–Shannon"],
            dict.fromkeys(NOTHING, -math.log(4)),
            (-math.log(4), 0),
            unit="at most 2 JSD − log 4",
        ),
        Panel(
            "KSG, first coordinates",
            lambda k: information.ksg(*k.views[..., :1].unbind(2)),
            {STYLE: 0, NOISE: 0, PAIRS: YARDSTICK / 5, EXACT: YARDSTICK / 5},
            unit="nats, an estimate",
        ),
    ]


def target_panels(known: Truth) -> list[Panel]:
    """Information about class, style and content, by class mixtures and Gaussians."""
    entropy = float(torch.special.entr(known.label[0].bincount() / POINTS).sum())
    no_style = {CONTENT: 0.0, NOISE: 0.0, COLLAPSED: 0.0}
    return [
        Panel(
            "class",
            lambda k: analysis.class_information(k.first, k.truth.label),
            NOTHING,
            (0, entropy),
            unit="nats; right end: H(k)",
        ),
        Panel(
            "style",
            lambda k: analysis.gaussian_target_information(k.first, k.truth.style[:, :, 0]),
            no_style,
            (0,),
            scale="symlog",
            unit="nats",
        ),
        Panel(
            "style, given class",
            lambda k: analysis.conditional_information(k.first, k.truth.style[:, :, 0], k.truth.label),
            no_style,
            (0,),
            scale="symlog",
            unit="nats",
        ),
        Panel(
            "content",
            lambda k: analysis.mixture_target_information(k.first, k.truth.content, k.truth.label),
            NOTHING,
            (0,),
            scale="symlog",
            unit="nats",
        ),
    ]


def bound_panel(name: str) -> Panel:
    """One of `BOUNDS` between the two views, cut off where it falls without end."""
    least, unit = (-1.0, "nats, cut at −1") if name in LOOSE else (-math.inf, "nats")
    ceiling = (0, math.log(CANDIDATES // 2 + 1)) if name == "InfoNCE" else ()
    return Panel(name, lambda k: of_every_bound(k)[name].clamp(min=least), BETWEEN, ceiling, unit=unit)


@cache
def of_every_bound(k: Kept) -> dict[str, Tensor]:
    """Bounds between the two views, all of one critic a representation; InfoNCE cannot exceed log K.

    Critics learn from 600 pairs, and fall short of what is known by what these do not show: beside the Gaussian pairs
    seen through a learned critic stand the same seen through the PMI itself, where each bound is as good as it can be.
    What these exceed the truth by is the chance of three draws of 1,200 pairs, whose own mean PMI exceeds it alike.
    """
    if k.exact:
        pmi = exact_scores(k)  # whose level is right as it is
        return {name: bound(pmi, torch.zeros(pmi.shape[:-1])).mean(0) for name, bound in BOUNDS.items()}
    found = critics.between(
        *k.views.unbind(2), bound=lambda s: torch.stack([bound(*_with_level(s)) for bound in BOUNDS.values()], -1),
        steps=120, batch=CANDIDATES, hidden=(64,), embedding=8, rate=5e-3,
    )  # fmt: skip
    return dict(zip(BOUNDS, found.unbind(-1), strict=True))


def trained_by_mine(k: Kept) -> Any:
    """Donsker-Varadhan of a critic that MINE trained, cut off at -1; of the exact one where it is known."""
    if k.exact:
        return information.donsker_varadhan(exact_scores(k)).mean(0)
    return critics.between(
        *k.views.unbind(2), objective="mine", bound=information.donsker_varadhan,
        steps=150, batch=64, kind="joint", hidden=(64,), rate=5e-3,
    ).clamp(min=-1.0)  # fmt: skip


def _with_level(s: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of one half of the others, and `log mean_k exp f(x_k, y)` of the other half: what InfoNCE leaves free."""
    half = s.shape[-1] // 2
    return torch.cat([s[..., :1], s[..., half:]], -1), s[..., 1:half].logsumexp(-1) - math.log(half - 1)


def conditional_panels() -> list[Panel]:
    """Bounds that take log q(z'|z), q linear and Gaussian, fitted on one half; exact for the Gaussian pairs alone."""
    bounds: dict[str, Callable[[Tensor, Tensor], Any]] = {
        "leave-one-out, upper": lambda s, r: information.leave_one_out(s).upper,
        "CLUB": lambda s, r: information.club(s),
        "Barber–Agakov, upper": lambda s, r: information.barber_agakov_upper(s[..., 0], r),
    }
    looser = {"CLUB": 5 * RHO**2 / (1 - RHO**2)}

    def panel(name: str) -> Panel:
        answers = {STYLE: 0.0, NOISE: 0.0} | dict.fromkeys((PAIRS, EXACT), looser.get(name, YARDSTICK))
        return Panel(name, lambda k: bounds[name](*log_conditional(k)).mean(1), answers, scale="symlog", unit="nats")

    return [panel(name) for name in bounds]


@cache
def log_conditional(k: Kept) -> tuple[Tensor, Tensor]:
    """`log q(z'_i | z_j)` of unseen pairs in batches, positives first, and `log r(z'_i)`, both Gaussian.

    (E, batches, K, K) and (E, batches, K).
    """
    half = POINTS // 2
    x, y = (z.double() for z in k.views.unbind(2))
    # Directions that the first view tells exactly have no density; a thousandth of the variance stands for none.
    y = y + 0.03 * y.std((1, 2), keepdim=True) * torch.randn(y.shape, generator=torch.Generator().manual_seed(5))
    mean = linear.ridge_predictions(x[:, :half], y[:, :half], x)
    variance = (y - mean)[:, :half].square().mean(1).clamp(min=1e-12)[:, None, None, None]
    seen, guess = (z[:, half : half + 4 * CANDIDATES].unflatten(1, (4, CANDIDATES)) for z in (y, mean))
    deviation = seen[:, :, :, None] - guess[:, :, None]
    log_q = -(deviation.square() / variance + (2 * math.pi * variance).log()).sum(-1) / 2
    middle, wide = y[:, None, :half].mean(2, keepdim=True), y[:, None, :half].var(2, keepdim=True).clamp(min=1e-12)
    log_r = -((seen - middle).square() / wide + (2 * math.pi * wide).log()).sum(-1) / 2
    return information.positives_first(log_q), log_r


def exact_scores(k: Kept) -> Tensor:
    """The PMI of Gaussian pairs in batches, positives first: (batches, E, K, K), K a quarter of the data."""
    x, y = (z.double()[:, : 4 * (len(z[0]) // 4)].unflatten(1, (4, -1)).transpose(0, 1) for z in k.views.unbind(2))
    pmi = -(y[:, :, :, None] - RHO * x[:, :, None]).square().sum(-1) / (2 * (1 - RHO**2))
    level = -y.shape[-1] / 2 * math.log(1 - RHO**2)
    return information.positives_first(pmi + y.square().sum(-1)[..., None] / 2 + level)
