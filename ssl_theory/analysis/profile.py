"""One call for the whole content/style profile of a representation."""

from typing import Any

import numpy as np
import torch

from ssl_theory.analysis.clustering import mixture_clustering
from ssl_theory.analysis.collapse import class_collapse_ratio, effective_rank, retained_style, total_variance
from ssl_theory.analysis.dimensions import participation_ratio
from ssl_theory.analysis.ensemble import Array, Score, as_tensor
from ssl_theory.analysis.identifiability import block_r2
from ssl_theory.analysis.probes import accuracy, halves


def profile(
    representation: Array,
    *,
    content: Array | None = None,
    style: Array | None = None,
    labels: Array | None = None,
    style_floor: float = 0.0,
    style_ceiling: Array | float | None = None,
    bayes_accuracy: float | None = None,
    seed: int = 0,
    **network: Any,
) -> dict[str, Score]:
    """What a representation kept, every measure by name; only what the arguments allow.

    With `content`, `style`: `content_r2_linear`, `content_r2_mlp`, `style_r2_linear`, `style_r2_mlp`. With
    `style_ceiling`: `retained_style` (of the MLP's). With `labels`: `accuracy_linear`, `accuracy_mlp`,
    `accuracy_knn`, `cluster_accuracy`, `nmi`, `ari`, `silhouette`, `class_collapse_ratio`; with `bayes_accuracy` also
    `accuracy_of_bayes`, the best of the three over the ceiling. Always: `effective_rank`, `participation_ratio`,
    `total_variance`.

    Args:
        representation: `(n, d)` or `(E, n, d)`, rows independent (one view a data point).
        content, style: `(n, t)` or `(E, n, t)`.
        labels: `(n,)`, shared by all members, or `(E, n)`.
        style_floor: R^2(s|y), exact.
        style_ceiling: R^2(s|x), by the same MLP probe on the observations.
        bayes_accuracy: of the world.
        seed: of every split and network.
        network: of the MLP probes, as in `probes.r2`.

    Returns:
        name -> float or `(E,)`.
    """
    blocks = {name: b for name, b in (("content", content), ("style", style)) if b is not None}
    found: dict[str, Score] = {}
    for kind, options in (("linear", {}), ("mlp", network)):
        scores = block_r2(representation, blocks, kind=kind, seed=seed, **options) if blocks else {}
        found |= {f"{name}_r2_{kind}": score for name, score in scores.items()}
    if style is not None and style_ceiling is not None:
        found["retained_style"] = retained_style(found["style_r2_mlp"], style_floor, style_ceiling)
    if labels is not None:
        found |= _class_profile(representation, labels, bayes_accuracy, seed, network)
    for measure in (effective_rank, participation_ratio, total_variance):
        found[measure.__name__] = measure(representation)
    return found


def _class_profile(
    representation: Array, labels: Array, bayes_accuracy: float | None, seed: int, network: dict[str, Any]
) -> dict[str, Score]:
    kinds: dict[str, dict[str, Any]] = {"linear": {}, "mlp": network, "knn": {}}
    found = {
        f"accuracy_{k}": accuracy(representation, labels, kind=k, seed=seed, **options) for k, options in kinds.items()
    }
    if bayes_accuracy is not None:
        found["accuracy_of_bayes"] = _largest(list(found.values())) / bayes_accuracy
    clusters = mixture_clustering(
        *_split(representation, labels, seed), len(as_tensor(labels, "labels").unique()), seed
    )
    return found | {
        "cluster_accuracy": clusters.accuracy,
        "nmi": clusters.nmi,
        "ari": clusters.ari,
        "silhouette": clusters.silhouette,
        "class_collapse_ratio": class_collapse_ratio(representation, labels),
    }


def _largest(scores: list[Score]) -> Score:
    return torch.stack(scores).amax(0) if isinstance(scores[0], torch.Tensor) else np.max(scores, 0)


def _split(representation: Array, labels: Array, seed: int) -> tuple[Array, Array, Array]:
    """Random halves of the rows, and the labels of the second."""
    pair = halves(representation.shape[-2], torch.Generator().manual_seed(seed))
    first, second = pair if isinstance(representation, torch.Tensor) else (pair[0].numpy(), pair[1].numpy())
    return representation[..., first, :], representation[..., second, :], as_tensor(labels, "labels")[..., pair[1]]
