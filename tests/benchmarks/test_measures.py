"""Probes learn on train and are scored on test: crafted representations get the scores that they must."""

import math
from dataclasses import replace

import pytest
import torch

from ssl_theory.analysis import mixture_clustering
from ssl_theory.benchmarks import examination, measures
from ssl_theory.benchmarks.augmentation import Affine, ImageViews
from ssl_theory.benchmarks.data import Images, Splits
from ssl_theory.benchmarks.examination import Examination

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
    parts = images(120, 0), images(60, 1), images(90, 2, turned)
    return Examination(CLASSES, *parts, views(150, 3), views(150, 4), FACTORS, views(8, 5))


def content_of(transform, exam, k: int = 5):
    train, test = measures.plain(transform, exam)
    return measures.content(train, test, exam, k, measures.clusters(train, test, exam))


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
    return content_of(two_members, exam())


@pytest.mark.parametrize("measure", ["linear", "mlp", "knn", "gmm_accuracy", "nmi", "ari"])
def test_content_that_is_kept_and_content_that_is_lost(content, measure):
    kept, lost = values(content, measure=measure)
    assert kept > 0.95
    assert lost < 0.55


def test_content_is_scored_on_test_labels():
    rows = content_of(two_members, exam(turned=1))
    for measure in ("linear", "mlp", "knn"):
        assert values(rows, measure=measure)[0] < 0.05
    assert values(rows, measure="gmm_accuracy")[0] > 0.95  # clusters have no names


def test_clusters_are_scored_on_test_points():
    """Labels of the test images in random order: whatever train says, nothing is left to agree with."""
    fair = exam()
    order = torch.randperm(90, generator=torch.Generator().manual_seed(5))
    shuffled = replace(fair, test=Images(fair.test.pixels, fair.test.labels[order]))
    rows = content_of(two_members, shuffled)
    assert values(rows, measure="gmm_accuracy")[0] < 0.6
    assert values(rows, measure="nmi")[0] < 0.2


@pytest.mark.parametrize("probe", measures.NUMBER_PROBES)
def test_style_is_attributed_to_its_factor(probe):
    rows = measures.style(two_members, exam())
    seen, lost = values(rows, measure=probe, target="shift_x")
    assert seen > 0.95
    assert lost < 0.1
    assert values(rows, measure=probe, target="rotation")[0] < 0.1


def test_choices_are_made_on_validation_images():
    broken = exam()
    test = Images(broken.test.pixels, broken.test.labels.flip(0))
    moved = replace(broken, test=test)
    first = measures.neighbour_accuracies(two_members, broken, (1, 5))
    assert torch.equal(first, measures.neighbour_accuracies(two_members, moved, (1, 5)))
    assert first.shape == (2, 2)
    assert (first[:, 0] > 0.95).all()


def test_a_diverged_member_is_nan_and_the_other_is_not():
    def half(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x.flatten(1), torch.full_like(x.flatten(1), torch.nan)])

    rows = content_of(half, exam(), k=1)
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
    monkeypatch.setattr(examination, "MOST_IMAGES", 30)
    splits = Splits("folder", CLASSES, images(40, 0), images(12, 1), images(20, 2))
    small = Examination.of(splits, Affine(1.0, 0.1, 0.1), 0)
    assert [len(part) for part in (small.train, small.validation, small.test)] == [30, 12, 20]


def test_the_first_few_of_what_is_examined_are_a_sample_of_all():
    """Distances, decoders and principal components take them; here the images are stored class after class."""
    parts = [(part := images(n, seed))[part.labels.argsort()] for seed, n in enumerate((120, 60, 90))]
    one = Examination.of(Splits("folder", CLASSES, *parts), Affine(1.0, 0.1, 0.1), 0)
    for stored, seen in zip(parts, (one.train, one.validation, one.test), strict=True):
        assert torch.equal(seen.labels.bincount(), stored.labels.bincount())
        assert torch.equal(seen.pixels[:, 0, 0].argmax(1), seen.labels)  # each still with its own
    for labels in (one.train.labels, one.test.labels, one.train_views.label, one.test_views.label):
        assert (labels[: len(labels) // 3].bincount(minlength=CLASSES) > len(labels) // 15).all()


def test_k_leaves_neighbours_in_the_minority():
    assert examination.usable((1, 5, 15), images(40, 0)) == [1, 5]
    assert examination.usable((1, 5), images(3, 0)) == [1]


def test_joint_views_are_of_few_images_and_as_many_views_as_were_trained_on(monkeypatch):
    monkeypatch.setattr(examination, "EVIDENCE_IMAGES", 7)
    splits = Splits("folder", CLASSES, images(40, 0), images(12, 1), images(20, 2))
    whole = Examination.of(splits, Affine(1.0, 0.1, 0.1), 0)
    more = Examination.of(splits, Affine(1.0, 0.1, 0.1), 0, views=3)
    assert whole.joint_views.x.shape[:2] == (7, 2)
    assert more.joint_views.x.shape[:2] == (7, 3)
    assert torch.equal(whole.test_views.x, more.test_views.x)  # drawn before


def test_shown_images_are_the_first_of_each_class():
    shown = exam().shown
    assert shown.tolist() == [0, 1, 2]
    assert torch.equal(exam().originals, exam().test_views.x[:3, 0])


def test_pixels_are_themselves_or_their_principal_components(monkeypatch):
    one = exam()
    x = one.test_views.x[:, 0]
    assert torch.equal(one.pixels()(x), x.flatten(1)[None])
    monkeypatch.setattr(examination, "COMPONENTS", 2)
    scaled = replace(one.train_views, x=one.train_views.x * torch.tensor([1.0, 9.0, 1.0, 1.0, 9.0, 1.0]).view(2, 3))
    few = replace(one, train_views=scaled).pixels()(x)
    assert few.shape == (1, 150, 2)
    told = measures.r2(few, x.flatten(1), per_target=True)[0]
    assert (told[[1, 4]] > 0.95).all()  # the two pixels that vary most
    assert (told[[2, 3, 5]] < 0.2).all()


@pytest.mark.parametrize("turned", [0, 1])
def test_confusion_is_the_matching_that_the_accuracy_counts(turned):
    one = exam(turned)
    train, test = measures.plain(two_members, one)
    scores = mixture_clustering(train, test, one.test.labels, CLASSES)
    clusters = measures.clusters(train, test, one)
    told = measures.content(train, test, one, 1, clusters)
    for name, score in (("gmm_accuracy", scores.accuracy), ("nmi", scores.nmi), ("ari", scores.ari)):
        assert values(told, measure=name) == score.tolist()
    for member in (0, 1):
        counts = measures.confusion(clusters[member], one.test.labels, CLASSES)
        assert counts.sum() == 90
        assert counts.sum(1).tolist() == [30, 30, 30]
        assert counts.trace() / 90 == pytest.approx(float(scores.accuracy[member]))


def test_neighbours_are_as_many_as_were_chosen(monkeypatch):
    """One image of class 0, next to it those that are asked about, and farther off seven of class 1."""
    monkeypatch.setattr(measures, "CLASS_PROBES", ())
    blank = torch.zeros(8, 1, 2, 3, dtype=torch.uint8)
    known = replace(
        exam(), train=Images(blank, (torch.arange(8) > 0).long()), test=Images(blank[:2], torch.zeros(2).long())
    )
    points = (torch.arange(8.0) > 0).float()[None, :, None], torch.full((1, 2, 1), 0.1)
    clusters = torch.zeros(1, 2, dtype=torch.int64)
    for k, right in ((1, 1.0), (5, 0.0)):
        assert values(measures.content(*points, known, k, clusters), measure="knn") == [right]


def test_confusion_of_a_diverged_and_of_a_constant_member():
    one = exam()
    points = torch.randn(2, 120, 2, generator=torch.Generator().manual_seed(0))
    points[0, 3] = torch.nan
    clusters = measures.clusters(points, torch.zeros(2, 90, 2), one)
    assert math.isnan(measures.confusion(clusters[0], one.test.labels, CLASSES).sum())
    told = measures.content(points, points[:, :90], one, 1, clusters)
    for name in measures.CLUSTER_SCORES:
        lost, kept = values(told, measure=name)
        assert math.isnan(lost)
        assert not math.isnan(kept)
    found = measures.clusters(points[1:], points[1:, :30], one)[0]
    missing = measures.confusion(found, torch.zeros(30, dtype=torch.int64), CLASSES)
    assert missing.sum(1).tolist() == [30, 0, 0]  # classes that no test image has


def attributed(n: int, seed: int) -> Images:
    """Attribute 0 is in the first row of pixels and rare, 1 nowhere, 2 the same for all; the factor is pixel (1, 0)."""
    plain, generator = images(n, seed), torch.Generator().manual_seed(seed + 50)
    rare = (torch.rand(n, generator=generator) < 0.2).long()
    pixels = plain.pixels.clone()
    pixels[:, 0, 1, 1] = (rare * 200 + 20).to(torch.uint8)
    nowhere = torch.randint(2, (n,), generator=generator)
    attributes = torch.stack([rare, nowhere, torch.ones_like(rare)], 1)
    factor = pixels[:, 0, 1, :1].float() / 255
    return Images(pixels, plain.labels, attributes=attributes, factors=factor)


@pytest.mark.parametrize(("probe", "of_numbers"), [("linear", "linear"), ("mlp", "nonlinear")])
def test_attributes_and_factors_of_the_images(probe, of_numbers):
    known = replace(
        exam(),
        train=attributed(300, 0),
        test=attributed(200, 1),
        attributes=("rare", "nowhere", "constant"),
        image_factors=("height",),
    )
    rows = measures.known(*measures.plain(two_members, known), known)
    seen, lost = values(rows, measure=probe, target="rare")
    assert seen > 0.95
    assert abs(lost) < 0.3  # a constant guess is right for four in five, and gets 0
    assert abs(values(rows, measure=probe, target="nowhere")[0]) < 0.3
    assert all(math.isnan(v) for v in values(rows, measure=probe, target="constant"))
    assert values(rows, aspect="factor", measure=of_numbers, target="height")[0] > 0.95
    assert measures.known(*measures.plain(two_members, exam()), exam()).empty


def test_adjusted_balanced_accuracy_is_that_of_scikit_learn(monkeypatch):
    from sklearn.metrics import balanced_accuracy_score

    truth = torch.tensor([0, 0, 0, 0, 0, 1, 1, 2])
    guess = torch.tensor([[0, 0, 0, 1, 1, 1, 0, 2], [0, 0, 0, 0, 0, 0, 0, 0]])
    monkeypatch.setattr(
        measures, "held_out_classes", lambda *_, **__: (guess, truth.expand(2, -1), torch.tensor([True, True]))
    )
    scores = measures.balanced(torch.zeros(2, 8, 1), truth, torch.zeros(2, 8, 1), truth, "linear")
    expected = [balanced_accuracy_score(truth, one, adjusted=True) for one in guess]
    assert scores.tolist() == pytest.approx(expected)
    assert scores[1] == 0


def test_a_frozen_representation_is_decoded_for_test_views():
    rows, redrawn = measures.decoded(two_members, exam())
    kept, lost = values(rows, measure="decoded")
    spread = exam().test_views.x.var(0).mean().item()
    assert kept < 0.1 * spread
    assert lost > 0.8 * spread
    torch.testing.assert_close(redrawn, exam().originals, atol=0.1, rtol=0)

    def diverged(x: torch.Tensor) -> torch.Tensor:
        return torch.full((2, len(x), 3), torch.nan)

    rows, redrawn = measures.decoded(diverged, exam())
    assert rows["value"].isna().all()
    assert redrawn.isnan().all()


def test_decoding_is_of_views_within_a_budget_and_always_of_those_shown(monkeypatch):
    monkeypatch.setattr(measures, "DECODED_VALUES", 0)
    many = views(400, 9)
    rows = measures._rows(many, torch.tensor([399, 3]))
    assert len(rows) == 500
    assert torch.equal(rows[:2], many.x[[399, 3], 0])
    assert len(measures._rows(views(20, 9))) == 40
