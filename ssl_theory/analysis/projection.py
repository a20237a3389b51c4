"""The projection head: what is lost on the way encoder -> h -> head layers -> z, and through which directions.

For a linear head the style that z lacks must lie in directions of h that the head's matrix shrinks:
`style_in_small_directions` measures it. `along` takes any measure along the layers, `profile_along` the usual ones.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssl_theory.analysis.collapse import effective_rank, within_share
from ssl_theory.analysis.decoding import class_information, gaussian_target_information
from ssl_theory.analysis.ensemble import (
    Array,
    Score,
    answer,
    cleared,
    finite,
    members,
    precision_of,
    rounding,
    varying,
    views_of,
)
from ssl_theory.analysis.probes import accuracy, r2


def along(layers: Mapping[str, Array], measure: Callable[[Array], Score]) -> dict[str, Score]:
    """`measure` of each layer's representation, in the order given.

    Source: this project.

    Example:
        >>> along({"h": torch.eye(4), "z": torch.eye(4)[:, :1]}, lambda r: r.shape[-1])
        {'h': 4, 'z': 1}
    """
    return {name: measure(representation) for name, representation in layers.items()}


def profile_along(
    layers: Mapping[str, Array],
    *,
    content: Array | None = None,
    style: Array | None = None,
    labels: Array | None = None,
    kind: str = "linear",
    **probe: Any,
) -> dict[str, dict[str, Score]]:
    """What each layer keeps, measure -> layer -> score, layers in the order given; only what the arguments allow.

    With `content`: `content_r2`, 0 to 1. With `style`: `style_r2`, and `style_information` (nats, from 0; a lower bound
    for Gaussian style). With `labels`: `accuracy`, chance level to 1, and `class_information` (nats, 0 to H(k)).
    Always: `effective_rank`, 1 to the width of the layer. Definitions and errors are those of `r2`, `accuracy`,
    `gaussian_target_information`, `class_information` and `effective_rank`.

    Args:
        layers: name -> `(n, d)` or `(E, n, d)`, of the same rows, which must be independent: encoder, head layers, z
            (`Fitted.transform(x, layer="head.1")`).
        content, style: `(n, t)` or `(E, n, t)`.
        labels: `(n,)` or `(E, n)`.
        kind: of all probes, "linear" or "mlp" ("nonlinear", "kernel" without labels).
        probe: `seed` and the rest that both `r2` and `accuracy` take.

    Source: this project.
    """
    options: dict[str, Any] = {"kind": kind, **probe}
    measures: dict[str, Callable[[Array], Score]] = {"effective_rank": effective_rank}
    if content is not None:
        measures["content_r2"] = lambda r: r2(r, content, **options)
    if style is not None:
        measures["style_r2"] = lambda r: r2(r, style, **options)
        measures["style_information"] = lambda r: gaussian_target_information(r, style, **options)
    if labels is not None:
        measures["accuracy"] = lambda r: accuracy(r, labels, **options)
        measures["class_information"] = lambda r: class_information(r, labels, **options)
    return {name: along(layers, measure) for name, measure in measures.items()}


def singular_values(weight: Array) -> Score:
    """Singular values of the head's matrix, largest first, `(min(a, b),)` or `(E, min(a, b))`: 0 for what it discards.

    Source: Jing et al. (2022), arXiv 2110.09348, for heads that collapse.
    """
    w = members(weight, "weight")
    keep = finite(w)
    return answer(torch.linalg.svdvals(cleared(w, keep)), weight, keep)


def style_variance_by_direction(views: Array, weight: Array) -> Score:
    """Share of the style variance of h along each right singular direction of the head, `(d,)` or `(E, d)`; sums to 1.

    Style variance: of the views about their data point's mean. Directions in the order of their singular values,
    largest first; those that the head discards altogether (its null space) come last. NaN where the views of each
    data point coincide.

    Args:
        views: h of J views, `(n, J, d)` or `(E, n, J, d)`.
        weight: the head as `z = W h`, `(b, d)` or `(E, b, d)`.

    Source: this project.
    """
    h, w, keep = _read(views, weight)
    deviation = (h - h.mean(2, keepdim=True)).flatten(1, 2)
    directions = torch.linalg.svd(w, full_matrices=True).Vh.mT
    variance = (deviation @ directions).square().mean(1)
    total, noise = variance.sum(1, keepdim=True), rounding(h.flatten(1, 2), precision_of(views))
    told = total[:, 0] > noise.square().sum(1)
    return answer(variance / total, views, keep & told, single=3)


def style_in_small_directions(views: Array, weight: Array, *, leading: int) -> Score:
    """Share of the style variance of h outside of the `leading` largest singular directions of the head.

    0: the head passes it on; 1: the head discards it; `1 - leading / d` when style is spread evenly over h.

    Source: this project.
    """
    share = style_variance_by_direction(views, weight)
    if not 0 < leading < share.shape[-1]:
        raise ValueError(f"leading: expected between 1 and {share.shape[-1] - 1}, found {leading}")
    rest = share[..., leading:].sum(-1)
    return float(rest) if share.ndim == 1 else rest


def passed_on(views: Array, weight: Array) -> Score:
    """Style variance over total variance, of z = W h relative to that of h: below 1 when the head favours content.

    [tr Cov(z|y) / tr Cov(z)] / [tr Cov(h|y) / tr Cov(h)]

    NaN where h or z is constant. Arguments as `style_variance_by_direction`, n >= 2.

    Source: this project.
    """
    h, w, keep = _read(views, weight)
    z = torch.einsum("enjd,ebd->enjb", h, w)
    keep = keep & finite(z)
    h, z = cleared(h, keep), cleared(z, keep)
    ratio = within_share(z) / within_share(h)
    varied = varying(h.flatten(1, 2), views) & varying(z.flatten(1, 2), views)
    return answer(ratio, views, keep & varied, single=3)


def _read(views: Array, weight: Array) -> tuple[Float[Tensor, "E n J d"], Float[Tensor, "E b d"], Bool[Tensor, " E"]]:
    """Views of h, the head beside each member, and finite members."""
    h, w = views_of(views), members(weight, "weight")
    if w.shape[-1] != h.shape[-1] or w.shape[0] not in (1, h.shape[0]):
        raise ValueError(f"weight: expected (b, {h.shape[-1]}) as z = W h, found {tuple(w.shape)}; transpose it?")
    w = w.expand(h.shape[0], -1, -1)
    keep = finite(h, w)
    return cleared(h, keep), cleared(w, keep), keep
