"""What a map says: pairs, choices, what is drawn and what is left on the disk."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ssl_theory.benchmarks import data, draw, map_report
from ssl_theory.benchmarks.content_map import CHOSEN_BY, Run, Setting
from ssl_theory.benchmarks.machine import Effort
from ssl_theory.benchmarks.published import named

BASE = Setting()


@pytest.fixture
def run() -> Run:
    splits = data.load("digits")
    return Run(splits, named("affine", splits.shape), steps=8, seeds=2)


def made(cells: dict[tuple[str, float, int], list[float]], measure: str = "linear") -> pd.DataFrame:
    """Rows at the base from (learner, decoder variance, steps) -> a value a seed."""
    return pd.DataFrame(
        {
            "learner": learner,
            "decoder_variance": decoder,
            "style_variance": 0.15 if learner == "SimVAE" else np.nan,
            "seed": seed,
            "steps": steps,
            "measure": measure,
            "value": value,
            **asdict(BASE),
        }
        for (learner, decoder, steps), values in cells.items()
        for seed, value in enumerate(values)
    )


def test_differences_are_paired_by_seed_at_the_same_decoder_and_length():
    vae, gain = np.array([0.5, 0.7, 0.9]), np.array([0.1, 0.12, 0.14])
    rows = made(
        {
            ("VAE", 0.01, 8): list(vae),
            ("VAE", 0.1, 8): [0.0, 0.0, 0.0],
            ("VAE", 0.01, 16): [1.0, 1.0, 1.0],
            ("SimVAE", 0.01, 8): list(vae + gain),
        }
    )
    found = map_report.differences(rows)
    assert len(found) == 1
    assert found["mean"].item() == pytest.approx(0.12)
    assert found["half"].item() == pytest.approx(stats.t.ppf(0.975, 2) * 0.02 / np.sqrt(3))


def test_tuned_chooses_by_validation_and_tells_of_test():
    good, bad = [0.9, 0.9], [0.5, 0.5]
    validation = {("VAE", 0.01, 8): good, ("VAE", 0.1, 8): bad, ("SimVAE", 0.01, 8): bad, ("SimVAE", 0.1, 16): good}
    test = {
        ("VAE", 0.01, 8): [0.6, 0.6],
        ("VAE", 0.1, 8): good,
        ("SimVAE", 0.01, 8): good,
        ("SimVAE", 0.1, 16): [0.7, 0.7],
    }
    measured = [made(test, name) for name in ("linear", "knn", "nmi", "style")]
    rows = pd.concat([made(validation, CHOSEN_BY), *measured], ignore_index=True)
    told = map_report.tuned(rows, BASE).set_index("learner")
    assert told.loc["VAE", "decoder_variance"] == 0.01
    assert told.loc["SimVAE", "steps"] == 16
    assert told.loc["difference", "linear"] == "0.100 ± 0.000"


def test_no_seed_is_scored_at_a_cell_that_it_helped_to_choose():
    """Pure luck, the same on validation and on test images: a learner with more cells has no more content by it."""
    luck = np.random.default_rng(0).normal(0.8, 0.05, (20, 30))
    vae, simvae = (
        {(name, 0.01 * k, 8): list(each) for k, each in enumerate(cells)}
        for name, cells in (("VAE", luck[:1]), ("SimVAE", luck))
    )
    told = map_report.tuned(lost(vae | simvae), BASE).set_index("learner")
    best = luck.mean(1).argmax()
    assert told.loc["SimVAE", "decoder_variance"] == pytest.approx(0.01 * best)
    others = [np.delete(luck, seed, axis=1).mean(1).argmax() for seed in range(30)]
    expected = luck[others, np.arange(30)].mean()
    assert float(told.loc["SimVAE", "linear"].split()[0]) == pytest.approx(expected, abs=5e-4)
    assert expected < luck.mean(1).max() - 0.005


def lost(cells: dict[tuple[str, float, int], list[float]]) -> pd.DataFrame:
    """Rows of every measure with the same values, NaN where a seed diverged."""
    return pd.concat([made(cells, name) for name in (*draw.MAPPED, CHOSEN_BY)], ignore_index=True)


def test_tuned_prefers_what_more_seeds_survived():
    nan = float("nan")
    vae = {("VAE", 0.01, 8): [0.99, nan, nan], ("VAE", 0.1, 8): [0.5, 0.6, 0.7], ("VAE", 0.3, 8): [nan] * 3}
    simvae = {("SimVAE", 0.01, 8): [0.8, nan, 0.8], ("SimVAE", 0.1, 8): [nan, nan, 0.9]}
    told = map_report.tuned(lost(vae | simvae), BASE).set_index("learner")
    assert told.loc["VAE", "decoder_variance"] == 0.1
    assert told.loc["SimVAE", "decoder_variance"] == 0.01


def test_intervals_of_tuned_learners_count_the_seeds_that_are_left():
    nan = float("nan")
    cells = {("VAE", 0.1, 8): [0.5, 0.6, 0.7, 0.8], ("SimVAE", 0.1, 8): [0.6, 0.8, nan, nan]}
    told = map_report.tuned(lost(cells), BASE).set_index("learner")
    half = stats.t.ppf(0.975, 1) * np.std([0.6, 0.8], ddof=1) / np.sqrt(2)
    assert told.loc["SimVAE", "linear"] == f"0.700 ± {half:.3f}"
    half = stats.t.ppf(0.975, 1) * np.std([0.1, 0.2], ddof=1) / np.sqrt(2)
    assert told.loc["difference", "linear"] == f"0.150 ± {half:.3f}"


def test_no_axes_of_an_earlier_map_stay_beside_a_map_without(tmp_path, run):
    """Along an axis curves are drawn at two decoder variances, and here is neither of them."""
    rows = made({("VAE", 10.0, 8): [0.5, 0.6], ("SimVAE", 10.0, 8): [0.5, 0.7]}).assign(measure="linear")
    rows = pd.concat(rows.assign(measure=name) for name in (*draw.MAPPED, CHOSEN_BY))
    (tmp_path / "axes.png").write_text("earlier")
    map_report.write(tmp_path, "digits", rows, run, Effort(), "")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "content-map.md",
        "content-map.parquet",
        "plane.png",
        "provenance.json",
    ]


def test_a_full_disk_leaves_an_earlier_map_whole(tmp_path, monkeypatch, run):
    def half(_, path, **__):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    (tmp_path / "content-map.parquet").write_text("earlier")
    monkeypatch.setattr(pd.DataFrame, "to_parquet", half)
    rows = made({("VAE", 0.1, 8): [0.5, 0.6], ("SimVAE", 0.1, 8): [0.5, 0.6]})
    with pytest.raises(OSError, match="No space"):
        map_report.write(tmp_path, "digits", rows, run, Effort(), "")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["earlier"]
