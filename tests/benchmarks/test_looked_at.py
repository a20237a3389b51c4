"""Which images reach what: those of each part have a brightness of their own, by which every place tells them."""

import pytest
import torch
from torch import Tensor

from ssl_theory.benchmarks import generation, measures, run
from ssl_theory.benchmarks.augmentation import Affine
from ssl_theory.benchmarks.data import Images, Splits
from ssl_theory.benchmarks.examination import Examination
from ssl_theory.benchmarks.methods import METHODS
from ssl_theory.learners import VAE, fit
from tests.benchmarks.test_run import SETTINGS, silent

BRIGHTNESS = {"train": 0.1, "validation": 0.5, "test": 0.9}
STILL = Affine()  # moves nothing


def plain(brightness: float, n: int = 12) -> Images:
    pixels = torch.full((n, 1, 4, 4), round(255 * brightness), dtype=torch.uint8)
    return Images(pixels, torch.arange(n) % 3)


SPLITS = Splits("three", 3, plain(0.1), plain(0.5), plain(0.9))


def parts_of(x: Tensor) -> list[str]:
    """Of which parts these images are; a KeyError where their pixels are not in [0, 1]."""
    named = {brightness: part for part, brightness in BRIGHTNESS.items()}
    return [named[brightness] for brightness in sorted({round(value, 1) for value in x.unique().tolist()})]


@pytest.fixture
def exam() -> Examination:
    return Examination.of(SPLITS, STILL, 0)


def test_networks_train_on_train_images(monkeypatch, tmp_path):
    seen = []

    def drawn(_, world, **__):
        seen.append(world.sample(50, views=2, generator=torch.Generator()).x)
        raise InterruptedError

    monkeypatch.setattr(run, "fit", drawn)
    with pytest.raises(InterruptedError):
        run._train(run.Job.of(METHODS["vae"], SPLITS, STILL, SETTINGS, tmp_path), 1, silent, None)
    assert [parts_of(x) for x in seen] == [["train"]]


def test_an_examination_has_views_of_train_and_of_test_images_and_evidence_of_test_images(exam):
    assert parts_of(exam.train_views.x) == ["train"]
    assert parts_of(exam.test_views.x) == parts_of(exam.joint_views.x) == ["test"]
    assert [parts_of(getattr(exam, name).pixels / 255) for name in BRIGHTNESS] == [[name] for name in BRIGHTNESS]


def test_probes_learn_on_train_and_are_scored_on_test_images_choices_on_validation_images(exam):
    """All of them in [0, 1], as networks are trained on."""
    shown = []

    def pixels(x: Tensor) -> Tensor:
        shown.append(x)
        return x.flatten(1)[None]

    measures.plain(pixels, exam)
    measures.neighbour_accuracies(pixels, exam, [1])
    assert [parts_of(x) for x in shown] == [["train"], ["test"], ["train"], ["validation"]]


def test_decoders_of_a_frozen_representation_learn_on_train_and_are_scored_on_test_views(exam, monkeypatch):
    seen = []

    def predicted(rows, target, *, test, **_):
        seen.extend([rows, target, *test])
        return test[1][None], test[1][None], torch.tensor([True])

    monkeypatch.setattr(measures, "held_out_predictions", predicted)
    measures.decoded(lambda x: x.flatten(1)[None], exam)
    assert [parts_of(x) for x in seen] == [["train"], ["train"], ["test"], ["test"]]


def test_samples_and_evidence_are_judged_by_test_views(exam, monkeypatch):
    seen = []
    fitted = fit(VAE(latent_dim=2, hidden=(4,)), SPLITS.views("train", STILL), steps=0, seeds=[0], device="cpu")
    monkeypatch.setattr(generation, "frechet", lambda _, real: seen.append(real) or torch.zeros(1))
    monkeypatch.setattr(generation, "evidences", lambda _, x, __: seen.append(x) or (torch.zeros(1), torch.zeros(1)))
    generation.judged(fitted, exam, 0)
    assert [parts_of(x) for x in seen] == [["test"], ["test"]]
