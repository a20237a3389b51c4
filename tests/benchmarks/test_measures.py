"""Probes learn on train and are scored on test: crafted representations get the scores that they must."""

import math
from dataclasses import replace

import pytest
import torch

from ssl_theory.benchmarks import measures
from ssl_theory.benchmarks.augmentation import Affine, ImageViews
from ssl_theory.benchmarks.data import Images, Splits
from ssl_theory.benchmarks.measures import Examination

CLASSES, FACTORS = 3, ("shift_x", "rotation")


def images(n: int, seed: int, turned: int = 0) -> Images:
    """Pixel c bright for class c, `turned` renames the classes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % CLASSES
    pixels = torch.randint(0, 60, (n, 1, 2, 3), generator=generator)
    pixels[torch.arange(n), 0, 0, labels] += 180
    return Images(pixels.to(torch.uint8), (labels + turned) % CLASSES)


def views(n: int, seed: int) -> ImageViews:
    """The first pixel is the first factor, the second its own noise; the second factor is nowhere to be
    seen."""
    generator = torch.Generator().manual_seed(seed)
    style = torch.rand(n, 2, 2, generator=generator)
    x = torch.rand(n, 2, 1, 2, 3, generator=generator)
    x[:, :, 0, 0, 0] = style[:, :, 0]
    return ImageViews(x, style, torch.arange(n) % CLASSES)


def exam(turned: int = 0) -> Examination:
    return Examination(
        CLASSES, images(120, 0), images(60, 1), images(90, 2, turned), views(150, 3), views(150, 4), FACTORS
    )


def two_members(x: torch.Tensor) -> torch.Tensor:
    """Member 0 keeps the image, member 1 nothing."""
    flat = x.flatten(1)
    return torch.stack([flat, torch.randn(flat.shape, generator=torch.Generator().manual_seed(len(x)))])


def values(rows, **where) -> list[float]:
    for name, value in where.items():
        rows = rows[rows[name] == value]
    return rows.sort_values("member")["value"].tolist()


@pytest.fixture(scope="module")
def content():
    return measures.content(two_members, exam(), k=5)


@pytest.mark.parametrize("measure", ["linear", "mlp", "knn", "gmm_accuracy", "nmi", "ari"])
def test_content_that_is_kept_and_content_that_is_lost(content, measure):
    kept, lost = values(content, measure=measure)
    assert kept > 0.95
    assert lost < 0.55


def test_content_is_scored_on_test_labels():
    rows = measures.content(two_members, exam(turned=1), k=5)
    for measure in ("linear", "mlp", "knn"):
        assert values(rows, measure=measure)[0] < 0.05
    assert values(rows, measure="gmm_accuracy")[0] > 0.95  # clusters have no names


def test_clusters_are_scored_on_test_points():
    """Labels of the test images in random order: whatever train says, nothing is left to agree with."""
    fair = exam()
    order = torch.randperm(90, generator=torch.Generator().manual_seed(5))
    shuffled = replace(fair, test=Images(fair.test.pixels, fair.test.labels[order]))
    rows = measures.content(two_members, shuffled, k=5)
    assert values(rows, measure="gmm_accuracy")[0] < 0.6
    assert values(rows, measure="nmi")[0] < 0.2


@pytest.mark.parametrize("probe", measures.PROBES)
def test_style_is_attributed_to_its_factor(probe):
    rows = measures.style(two_members, exam())
    seen, lost = values(rows, measure=probe, target="shift_x")
    assert seen > 0.95
    assert lost < 0.1
    assert values(rows, measure=probe, target="rotation")[0] < 0.1


def test_choices_are_made_on_validation_images():
    broken = exam()
    test = Images(broken.test.pixels, broken.test.labels.flip(0))
    moved = Examination(CLASSES, broken.train, broken.validation, test, broken.train_views, broken.test_views, FACTORS)
    first = measures.neighbour_accuracies(two_members, broken, (1, 5))
    assert torch.equal(first, measures.neighbour_accuracies(two_members, moved, (1, 5)))
    assert first.shape == (2, 2)
    assert (first[:, 0] > 0.95).all()


def test_a_diverged_member_is_nan_and_the_other_is_not():
    def half(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x.flatten(1), torch.full_like(x.flatten(1), torch.nan)])

    rows = measures.content(half, exam(), k=1)
    for measure in ("linear", "mlp", "knn", "nmi"):
        fine, diverged = values(rows, measure=measure)
        assert fine > 0.9
        assert math.isnan(diverged)


def test_reconstruction_error_and_its_absence():
    def blank(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x, torch.zeros_like(x)])

    exact, zero = values(measures.reconstruction(blank, exam(), 2))
    assert exact == 0
    assert zero == pytest.approx(exam().test_views.x.square().mean().item(), rel=1e-5)
    assert all(math.isnan(v) for v in values(measures.reconstruction(None, exam(), 2)))


def test_examination_shows_all_methods_the_same_views():
    splits = Splits("folder", CLASSES, images(40, 0), images(12, 1), images(20, 2))
    a, b = (Examination.of(splits, Affine(1.0, 0.1, 0.1), 7) for _ in range(2))
    other = Examination.of(splits, Affine(1.0, 0.1, 0.1), 8)
    assert torch.equal(a.test_views.x, b.test_views.x)
    assert not torch.equal(a.test_views.x, other.test_views.x)
    assert a.train_views.x.shape[:2] == (40, 4)
    assert not torch.equal(a.train_views.style[:20], a.test_views.style)


def test_large_sets_are_examined_in_part(monkeypatch):
    monkeypatch.setattr(measures, "MOST_IMAGES", 30)
    splits = Splits("folder", CLASSES, images(40, 0), images(12, 1), images(20, 2))
    small = Examination.of(splits, Affine(1.0, 0.1, 0.1), 0)
    assert [len(part) for part in (small.train, small.validation, small.test)] == [30, 12, 20]


def test_k_leaves_neighbours_in_the_minority():
    assert measures.usable((1, 5, 15), images(40, 0)) == [1, 5]
    assert measures.usable((1, 5), images(3, 0)) == [1]
