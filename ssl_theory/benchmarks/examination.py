"""What every method is examined on: the probes' images, and one drawing of views of them, the same for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_theory.benchmarks.augmentation import Augmentation, ImageViews, Redrawing
from ssl_theory.benchmarks.data import Images, Splits

STYLE_ROWS = 4000  # views that a style probe learns on: enough for a nonlinear probe, few enough for seconds
MOST_IMAGES = 10_000  # images that probes learn on or are scored on, in larger data sets
EVIDENCE_IMAGES = 500  # test images whose evidence is estimated
PICTURES = 10
COMPONENTS = 256  # of the pixels, where there are more of them: probes and mixtures of thousands of columns take hours
COMPONENT_ROWS = 2000


@dataclass(frozen=True)
class Examination:
    """The images that probes learn and are scored on, `views` of them for style, and joint views for the evidence.

    In random order: the first few rows of any of them are a sample of all.

    `factors` names the columns of the views' style. `attributes` and `image_factors` name what is known of the plain
    images besides their label (`Images.attributes`, `Images.factors`).
    """

    classes: int
    train: Images
    validation: Images
    test: Images
    train_views: ImageViews
    test_views: ImageViews
    factors: tuple[str, ...]
    joint_views: ImageViews
    attributes: tuple[str, ...] = ()
    image_factors: tuple[str, ...] = ()

    @classmethod
    def of(cls, splits: Splits, augmentation: Augmentation | Redrawing, seed: int, views: int = 2) -> Examination:
        generator = torch.Generator().manual_seed(seed)
        parts: dict[str, Any] = {
            name: _some(getattr(splits, name), generator) for name in ("train", "validation", "test")
        }
        small = replace(splits, **parts)
        samplers = [small.views(name, augmentation) for name in ("train", "test")]
        seen = [
            sampler.every(views=views_each(len(part)), generator=generator)
            for sampler, part in zip(samplers, (small.train, small.test), strict=True)
        ]
        few = replace(small, test=_some(small.test, generator, EVIDENCE_IMAGES))
        joint = few.views("test", augmentation).every(views=views, generator=generator)
        return cls(
            splits.classes,
            small.train,
            small.validation,
            small.test,
            seen[0],
            seen[1],
            samplers[0].names,
            joint,
            splits.attributes,
            () if splits.factors == samplers[0].names else splits.factors,  # told of the views already
        )

    @property
    def shown(self) -> Int[Tensor, " m"]:
        """The first test image of each of the first classes: those that pictures show."""
        labels = self.test_views.label
        first = [int((labels == c).nonzero()[0, 0]) for c in range(self.classes) if bool((labels == c).any())]
        return torch.tensor(first[:PICTURES])

    @property
    def originals(self) -> Tensor:
        """One view of each image that is shown, `(m, C, H, W)`."""
        return self.test_views.x[self.shown, 0]

    def pixels(self) -> Callable[[Tensor], Float[Tensor, "1 n d"]]:
        """The image itself as representation, an ensemble of one, since no seed changes it; of more than `COMPONENTS`
        pixels, the principal components of views of train images."""
        seen = self.train_views.x.flatten(0, 1).flatten(1)[:COMPONENT_ROWS]
        if seen.shape[1] <= COMPONENTS:
            return lambda x: x.flatten(1)[None]
        mean = seen.mean(0)
        directions = torch.linalg.eigh(((seen - mean) @ (seen - mean).mT).double()).eigenvectors[:, -COMPONENTS:]
        basis = torch.linalg.qr((seen - mean).mT @ directions.to(seen)).Q
        return lambda x: ((x.flatten(1) - mean) @ basis)[None]


def _some(images: Images, generator: torch.Generator, most: int | None = None) -> Images:
    """At most so many of them, in random order however they are stored (often class after class)."""
    most = MOST_IMAGES if most is None else most
    return images[torch.randperm(len(images), generator=generator)[:most]]


def views_each(images: int) -> int:
    """Views an image: as many as give `STYLE_ROWS` rows, at most 4."""
    return min(4, -(-STYLE_ROWS // images))


def usable(ks: Sequence[int], images: Images) -> list[int]:
    """The k that leave the neighbours in the minority, so that a vote means something."""
    return [k for k in ks if k <= max(1, len(images) // 4)]
