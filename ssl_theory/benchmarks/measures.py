"""What a representation kept: content and style, by probes that learn on train and are scored on other
images.

Content is read from the plain images, as published tables do; style from augmented ones, since a plain image
has none. The same views are shown to every method and seed. A member that diverged gives NaN, and so does
whatever does not apply to a method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.analysis.clustering import mixture_clustering
from ssl_theory.analysis.probes import accuracy, r2
from ssl_theory.benchmarks.augmentation import Augmentation, AugmentedImages, ImageViews, unit
from ssl_theory.benchmarks.data import Images, Splits

NEIGHBOURS = (1, 5, 15, 45)
PROBES = ("linear", "mlp")
STYLE_ROWS = 4000  # views that a style probe learns on: enough for an MLP probe, few enough for seconds
MOST_IMAGES = 10_000  # images that probes learn on or are scored on, in larger data sets

Transform = Callable[[Tensor], Float[Tensor, "E n d"]]


@dataclass(frozen=True)
class Examination:
    """What every method is examined on: the probes' images, and one drawing of views of them."""

    classes: int
    train: Images
    validation: Images
    test: Images
    train_views: ImageViews
    test_views: ImageViews
    factors: tuple[str, ...]

    @classmethod
    def of(cls, splits: Splits, augmentation: Augmentation, seed: int) -> Examination:
        generator = torch.Generator().manual_seed(seed)
        train, validation, test = (_some(part, generator) for part in (splits.train, splits.validation, splits.test))
        views = [
            AugmentedImages(part, augmentation).every(views=_rows(part), generator=generator) for part in (train, test)
        ]
        return cls(splits.classes, train, validation, test, views[0], views[1], augmentation.names)


def _some(images: Images, generator: torch.Generator) -> Images:
    if len(images) <= MOST_IMAGES:
        return images
    return images[torch.randperm(len(images), generator=generator)[:MOST_IMAGES]]


def _rows(images: Images) -> int:
    """Views an image: as many as give `STYLE_ROWS` rows, at most 4."""
    return min(4, -(-STYLE_ROWS // len(images)))


def neighbour_accuracies(
    transform: Transform, exam: Examination, ks: Sequence[int] = NEIGHBOURS
) -> Float[Tensor, "K E"]:
    """Accuracy of k-NN on the validation images for every k: what all choices are made by."""
    train, validation = transform(unit(exam.train.pixels)), transform(unit(exam.validation.pixels))
    return torch.stack([_accuracy(train, exam.train, validation, exam.validation, kind="knn", ks=[k]) for k in ks])


def usable(ks: Sequence[int], images: Images) -> list[int]:
    """The k that leave the neighbours in the minority, so that a vote means something."""
    return [k for k in ks if k <= max(1, len(images) // 4)]


def content(transform: Transform, exam: Examination, k: int) -> pd.DataFrame:
    """Accuracy of three probes and of clusters on the test images; columns aspect, measure, target, seed,
    value."""
    train, test = transform(unit(exam.train.pixels)), transform(unit(exam.test.pixels))
    rows = [
        _rows_of("content", probe, "label", _accuracy(train, exam.train, test, exam.test, kind=probe))
        for probe in PROBES
    ]
    neighbours = _accuracy(train, exam.train, test, exam.test, kind="knn", ks=[k])
    clusters = mixture_clustering(train, test, exam.test.labels, exam.classes)
    rows += [
        _rows_of("content", name, "label", values)
        for name, values in (
            ("knn", neighbours),
            ("gmm_accuracy", clusters.accuracy),
            ("nmi", clusters.nmi),
            ("ari", clusters.ari),
        )
    ]
    return pd.concat(rows, ignore_index=True)


def _accuracy(train: Tensor, fitted: Images, test: Tensor, scored: Images, **keywords: Any) -> Float[Tensor, " E"]:
    return accuracy(train, fitted.labels, test=(test, scored.labels), **keywords)


def style(transform: Transform, exam: Examination) -> pd.DataFrame:
    """R² of every recorded factor, by a linear and by an MLP probe, on views of the test images."""
    train, test = (transform(views.x.flatten(0, 1)) for views in (exam.train_views, exam.test_views))
    fitted, scored = (views.style.flatten(0, 1) for views in (exam.train_views, exam.test_views))
    rows = []
    for probe in PROBES:
        scores = r2(train, fitted, kind=probe, test=(test, scored), per_target=True)
        rows += [_rows_of("style", probe, name, scores[:, at]) for at, name in enumerate(exam.factors)]
    return pd.concat(rows, ignore_index=True)


def reconstruction(reconstruct: Transform | None, exam: Examination, members: int) -> pd.DataFrame:
    """Mean squared error a pixel on views of the test images; NaN where nothing is reconstructed."""
    if reconstruct is None:
        return _rows_of("reconstruction", "mse", "image", torch.full((members,), torch.nan))
    x = exam.test_views.x.flatten(0, 1)
    return _rows_of("reconstruction", "mse", "image", (reconstruct(x) - x).square().flatten(1).mean(1))


def choice(name: str, value: float, members: int) -> pd.DataFrame:
    return _rows_of("choice", name, "validation", torch.full((members,), float(value)))


def _rows_of(aspect: str, measure: str, target: str, values: Float[Tensor, " E"]) -> pd.DataFrame:
    numbers = values.detach().double().cpu().numpy()
    table = pd.DataFrame({"member": range(len(numbers)), "value": numbers})
    return table.assign(aspect=aspect, measure=measure, target=target)
