"""What a representation kept: content and style, by probes that learn on train and are scored on other
images.

Content is read from the plain images, as published tables do; style from augmented ones, since a plain image
has none. The same views are shown to every method and seed. A member that diverged gives NaN, and so does
whatever does not apply to a method."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from torch import Tensor

from ssl_theory.analysis.clustering import hungarian_accuracy, mixture_assignment
from ssl_theory.analysis.probes import accuracy, held_out_classes, held_out_predictions, r2
from ssl_theory.benchmarks.augmentation import ImageViews, unit
from ssl_theory.benchmarks.data import Images
from ssl_theory.benchmarks.examination import Examination

NEIGHBOURS = (1, 5, 15, 45)
CLASS_PROBES = ("linear", "mlp")
NUMBER_PROBES = ("linear", "nonlinear")
CLUSTER_SCORES: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "gmm_accuracy": hungarian_accuracy,
    "nmi": normalized_mutual_info_score,
    "ari": adjusted_rand_score,
}
DECODER: dict[str, Any] = {
    "hidden": (256, 256),
    "steps": 400,
    "rate": 3e-3,
}  # of the network that decodes a frozen representation
DECODED_VALUES = 6_000_000  # pixels that it learns on, and that it is scored on, at most

Transform = Callable[[Tensor], Float[Tensor, "E n d"]]


def neighbour_accuracies(
    transform: Transform, exam: Examination, ks: Sequence[int] = NEIGHBOURS
) -> Float[Tensor, "K E"]:
    """Accuracy of k-NN on the validation images for every k: what all choices are made by."""
    train, validation = transform(unit(exam.train.pixels)), transform(unit(exam.validation.pixels))
    return torch.stack([_accuracy(train, exam.train, validation, exam.validation, kind="knn", ks=[k]) for k in ks])


def plain(transform: Transform, exam: Examination) -> tuple[Float[Tensor, "E n d"], Float[Tensor, "E m d"]]:
    """The representations of the plain images, train and test."""
    return transform(unit(exam.train.pixels)), transform(unit(exam.test.pixels))


def clusters(train: Float[Tensor, "E n d"], test: Float[Tensor, "E m d"], exam: Examination) -> Int[Tensor, "E m"]:
    """To which of as many Gaussian components as classes each test image falls; -1 in members that diverged."""
    return torch.as_tensor(mixture_assignment(train, test, exam.classes))


def content(
    train: Float[Tensor, "E n d"],
    test: Float[Tensor, "E m d"],
    exam: Examination,
    k: int,
    assigned: Int[Tensor, "E m"],
) -> pd.DataFrame:
    """Accuracy of three probes on the test images, and how well the clusters that these are `assigned` to agree with
    their labels; columns aspect, measure, target, member, value."""
    rows = [
        rows_of("content", probe, "label", _accuracy(train, exam.train, test, exam.test, kind=probe))
        for probe in CLASS_PROBES
    ]
    neighbours = _accuracy(train, exam.train, test, exam.test, kind="knn", ks=[k])
    rows.append(rows_of("content", "knn", "label", neighbours))
    labels = exam.test.labels.cpu().numpy()
    for name, agreement in CLUSTER_SCORES.items():
        scores = [agreement(labels, one) if (one >= 0).all() else math.nan for one in assigned.cpu().numpy()]
        rows.append(rows_of("content", name, "label", torch.tensor(scores, dtype=torch.float64)))
    return pd.concat(rows, ignore_index=True)


def _accuracy(train: Tensor, fitted: Images, test: Tensor, scored: Images, **keywords: Any) -> Float[Tensor, " E"]:
    return accuracy(train, fitted.labels, test=(test, scored.labels), **keywords)


def confusion(assigned: Int[Tensor, " m"], labels: Int[Tensor, " m"], classes: int) -> np.ndarray:
    """Test images of each class (rows) in each cluster (columns), `(classes, classes)`, clusters in the order that
    matches classes best: the diagonal over the sum is the clusters' accuracy. NaN for a member that diverged.
    """
    if (assigned < 0).any():
        return np.full((classes, classes), np.nan)
    # an image of each class in each cluster too many, so that none is missing, and taken off again
    known, every = np.arange(classes).repeat(classes), np.tile(np.arange(classes), classes)
    said = np.concatenate([labels.cpu().numpy(), known]), np.concatenate([assigned.cpu().numpy(), every])
    counts = contingency_matrix(*said) - 1
    return counts[:, linear_sum_assignment(counts, maximize=True)[1]]


def style(transform: Transform, exam: Examination) -> pd.DataFrame:
    """R² of every recorded factor, by a linear and a nonlinear probe, on views of the test images."""
    train, test = (transform(views.x.flatten(0, 1)) for views in (exam.train_views, exam.test_views))
    fitted, scored = (views.style.flatten(0, 1) for views in (exam.train_views, exam.test_views))
    return _told("style", exam.factors, (train, test), (fitted, scored))


def known(train: Float[Tensor, "E n d"], test: Float[Tensor, "E m d"], exam: Examination) -> pd.DataFrame:
    """What the data set itself says of its images besides their label, read from the plain images.

    Whole-numbered attributes by adjusted balanced accuracy: the mean over classes of the share told right, less what
    a constant guess gets, over what is left: 0 a constant guess, 1 all. Real-valued factors by R².
    """
    told = [pd.DataFrame()]
    for at, name in enumerate(exam.attributes):
        fitted, scored = (part.attributes[:, at] for part in (exam.train, exam.test))  # type: ignore[index]
        told += [rows_of("attribute", kind, name, balanced(train, fitted, test, scored, kind)) for kind in CLASS_PROBES]
    if exam.image_factors:
        assert exam.train.factors is not None
        assert exam.test.factors is not None
        told.append(_told("factor", exam.image_factors, (train, test), (exam.train.factors, exam.test.factors)))
    return pd.concat(told, ignore_index=True)


def balanced(
    train: Float[Tensor, "E n d"], fitted: Int[Tensor, " n"], test: Float[Tensor, "E m d"], scored: Tensor, kind: str
) -> Float[Tensor, " E"]:
    """Adjusted balanced accuracy; NaN where only one value is ever met."""
    values = scored.unique()
    if len(values) < 2 or len(fitted.unique()) < 2:
        return torch.full((len(train),), torch.nan)
    guess, truth, keep = held_out_classes(train, fitted, kind=kind, test=(test, scored))
    right = (guess == truth).double()
    recall = torch.stack([right[:, scored == value].mean(1) for value in values]).mean(0)
    adjusted = (recall - 1 / len(values)) / (1 - 1 / len(values))
    return torch.where(keep, adjusted, torch.nan)


def _told(
    aspect: str, names: Sequence[str], representation: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor]
) -> pd.DataFrame:
    rows = []
    for probe in NUMBER_PROBES:
        scores = r2(representation[0], target[0], kind=probe, test=(representation[1], target[1]), per_target=True)
        rows += [rows_of(aspect, probe, name, scores[:, at]) for at, name in enumerate(names)]
    return pd.concat(rows, ignore_index=True)


def reconstruction(reconstruct: Transform | None, exam: Examination, members: int) -> pd.DataFrame:
    """Mean squared error a pixel on views of the test images, by a method's own decoder; NaN where it has none."""
    if reconstruct is None:
        return rows_of("reconstruction", "mse", "image", torch.full((members,), torch.nan))
    x = exam.test_views.x.flatten(0, 1)
    return rows_of("reconstruction", "mse", "image", (reconstruct(x) - x).square().flatten(1).mean(1))


def decoded(transform: Transform, exam: Examination) -> tuple[pd.DataFrame, Float[Tensor, "m C H W"]]:
    """What a network, the same for all, trained to decode the frozen representation makes of views of test images.

    Their mean squared error a pixel, and the images that are shown, by the first member. It begins at ridge
    regression and is never worse than that on the views of the train images it stops on.
    """
    fitted, scored = _rows(exam.train_views), _rows(exam.test_views, exam.shown)
    shape = scored.shape[1:]
    predicted, truth, keep = held_out_predictions(
        transform(fitted), fitted.flatten(1), kind="mlp", test=(transform(scored), scored.flatten(1)), **DECODER
    )
    errors = torch.where(keep, (predicted - truth).square().mean((1, 2)), torch.nan)
    images = torch.where(keep[0], predicted[0, : len(exam.shown)], torch.nan).float()
    return rows_of("reconstruction", "decoded", "image", errors), images.unflatten(1, shape)


def _rows(views: ImageViews, first: Int[Tensor, " m"] | None = None) -> Float[Tensor, "n C H W"]:
    """Single views, as many as `DECODED_VALUES` allows but not fewer than 500; the first view of `first` on top."""
    n, J = views.x.shape[:2]
    most = max(500, DECODED_VALUES // math.prod(views.x.shape[2:]))
    rows = torch.arange(n * J)
    if first is not None:
        top = first * J
        rows = torch.cat([top, rows[~torch.isin(rows, top)]])
    return views.x.flatten(0, 1)[rows[:most]]


def choice(name: str, value: float, members: int) -> pd.DataFrame:
    return rows_of("choice", name, "validation", torch.full((members,), float(value)))


def rows_of(aspect: str, measure: str, target: str, values: Float[Tensor, " E"]) -> pd.DataFrame:
    numbers = values.detach().double().cpu().numpy()
    table = pd.DataFrame({"member": range(len(numbers)), "value": numbers})
    return table.assign(aspect=aspect, measure=measure, target=target)
