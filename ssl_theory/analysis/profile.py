"""One call for the whole content/style profile of a representation."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.analysis.clustering import mixture_clustering
from ssl_theory.analysis.collapse import class_collapse_ratio, effective_rank, retained_style, total_variance
from ssl_theory.analysis.dimensions import participation_ratio
from ssl_theory.analysis.ensemble import Array, Score, answer, as_tensor, seeded
from ssl_theory.analysis.halves import halves
from ssl_theory.analysis.identifiability import block_r2
from ssl_theory.analysis.probes import held_out_classes


def profile(
    representation: Array,
    *,
    content: Array | None = None,
    style: Array | None = None,
    labels: Array | None = None,
    style_floor: Array | float = 0.0,
    style_ceiling: Array | float | None = None,
    content_ceiling: Array | float | None = None,
    bayes_accuracy: Array | float | None = None,
    seed: int = 0,
    **network: Any,
) -> dict[str, Score]:
    """What a representation kept, every measure by name; only what the arguments allow.

    With `content`, `style`: `content_r2_linear`, `content_r2_nonlinear`, `style_r2_linear`, `style_r2_nonlinear`. With
    `style_ceiling`: `retained_style`; with `content_ceiling`: `content_of_bayes`, R^2 of content over it; both by the
    nonlinear probe, the better of an MLP and kernel ridge. With `labels`: `accuracy_linear`, `accuracy_mlp`,
    `accuracy_knn`, `cluster_accuracy`, `nmi`, `ari`, `silhouette`, `class_collapse_ratio`; with `bayes_accuracy` also
    `accuracy_of_bayes`: the accuracy of the best of the three probes over it, the best of each half of the scored rows
    being chosen on the other half. Always: `effective_rank`, `participation_ratio`, `total_variance`.

    Args:
        representation: `(n, d)` or `(E, n, d)`, rows independent (one view a data point).
        content, style: `(n, t)` or `(E, n, t)`.
        labels: `(n,)`, shared by all members, or `(E, n)`.
        style_floor: R^2(s|y), exact, a number or `(E,)` of any kind.
        style_ceiling: R^2(s|x), likewise: the exact one of the world where it has it
            (`world.style_r2().mean()`, or `synthetic.monte_carlo.r2`), so that 1 is the end of the range. That of a
            probe on the observations is too low, and what is easier to read than x exceeds 1.
        content_ceiling: R^2(y|x), likewise (`world.content_r2().mean()`).
        bayes_accuracy: of the world, likewise.
        seed: of every split and network.
        network: of the probes that hold an MLP, as in `probes.r2`.

    Returns:
        name -> float or `(E,)`.

    Source: this project.
    """
    blocks = {name: b for name, b in (("content", content), ("style", style)) if b is not None}
    found: dict[str, Score] = {}
    for kind, options in (("linear", {}), ("nonlinear", network)):
        scores = block_r2(representation, blocks, kind=kind, seed=seed, **options) if blocks else {}
        found |= {f"{name}_r2_{kind}": score for name, score in scores.items()}
    if style is not None and style_ceiling is not None:
        found["retained_style"] = retained_style(
            found["style_r2_nonlinear"],
            _end(style_floor, representation, "style_floor"),
            _end(style_ceiling, representation, "style_ceiling"),
        )
    if content is not None and content_ceiling is not None:
        most = _end(content_ceiling, representation, "content_ceiling", positive=True)
        found["content_of_bayes"] = found["content_r2_nonlinear"] / most
    if labels is not None:
        found |= _class_profile(representation, labels, bayes_accuracy, seed, network)
    for measure in (effective_rank, participation_ratio, total_variance):
        found[measure.__name__] = measure(representation)
    return found


def _class_profile(
    representation: Array, labels: Array, bayes_accuracy: Array | float | None, seed: int, network: dict[str, Any]
) -> dict[str, Score]:
    kinds: dict[str, dict[str, Any]] = {"linear": {}, "mlp": network, "knn": {}}
    told = {k: held_out_classes(representation, labels, kind=k, seed=seed, **options) for k, options in kinds.items()}
    right, keep = torch.stack([(guess == truth).double() for guess, truth, _ in told.values()]), told["linear"][2]
    found = {f"accuracy_{k}": answer(own.mean(1), representation, keep) for k, own in zip(kinds, right, strict=True)}
    if bayes_accuracy is not None:
        best = answer(best_accuracy(right), representation, keep)
        found["accuracy_of_bayes"] = best / _end(bayes_accuracy, representation, "bayes_accuracy", positive=True)
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


def best_accuracy(right: Float[Tensor, "K E m"]) -> Float[Tensor, " E"]:
    """Accuracy of the best of K probes: half of the rows are scored by the probe that is best on the other half.

    The largest of the K accuracies exceeds what any of them has in the long run, by the chance that made it the
    largest; rows that had no part in the choice have no such chance.
    """
    parts = right.tensor_split(2, 2)
    best = [part.mean(2).argmax(0)[None, :, None] for part in parts]
    scored = [part.take_along_dim(k, 0)[0] for part, k in zip(parts, reversed(best), strict=True)]
    return torch.cat(scored, 1).mean(1)


def _end(value: Array | float, like: Array, name: str, *, positive: bool = False) -> Array | float:
    """An end of the range of scores in their kind and on their device, those of `like`; a single number as a float."""
    end = as_tensor(value if isinstance(value, Tensor) else np.asarray(value), name).double()
    count = like.shape[0] if like.ndim == 3 else 1
    if end.numel() not in (1, count):
        raise ValueError(f"{name}: expected a number or {count}, one a member, found {end.numel()}; ask the world")
    if positive and bool((end <= 0).any()):
        raise ValueError(f"{name}: expected above 0, found {float(end.min()):g}; nothing is a share of that")
    if end.numel() == 1:
        return end.item()
    return end.to(like.device) if isinstance(like, Tensor) else end.cpu().numpy()


def _split(representation: Array, labels: Array, seed: int) -> tuple[Array, Array, Array]:
    """Random halves of the rows, and the labels of the second."""
    pair = halves(representation.shape[-2], seeded(seed))
    first, second = pair if isinstance(representation, Tensor) else (pair[0].numpy(), pair[1].numpy())
    return representation[..., first, :], representation[..., second, :], as_tensor(labels, "labels")[..., pair[1]]
