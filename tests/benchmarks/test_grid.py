"""Several data sets in one command: one list of work, and a table as soon as a data set has all of its own."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from ssl_theory.benchmarks import cache, grid, ranks, report, run
from ssl_theory.benchmarks.errors import InputError
from ssl_theory.benchmarks.grid import Bench, Means
from ssl_theory.benchmarks.progress import FINISHED
from tests.benchmarks.test_run import SPLITS, job


def benches(out: Path) -> list[Bench]:
    """Two data sets of two methods each."""
    made = []
    for name in ("first", "second"):
        (out / name).mkdir(parents=True)
        jobs = [replace(job(out / name / "cache", key), splits=replace(SPLITS, name=name)) for key in ("random", "vae")]
        made.append(Bench(out / name, jobs))
    return made


@pytest.fixture
def said(monkeypatch) -> list[object]:
    """What happened, in order: jobs that ended (by `run`, which computes nothing) and folders that were written."""
    happened: list[object] = []

    def ended(jobs, *, report, **_):
        for stage, one in zip(["cached", "done", "done", "cached"], [jobs[2], jobs[0], jobs[1], jobs[3]], strict=True):
            report(one.name, "examining", 1, 1)
            happened.append(one.name)
            report(one.name, stage, 1, 1)

    def written(folder, results, jobs, command):
        happened.append((folder.name, {key: result.rows["value"].item() for key, result in results.items()}, command))

    monkeypatch.setattr(run, "run", ended)
    monkeypatch.setattr(run, "stored", lambda one: cache.Result(pd.DataFrame({"value": [one.name]}), run._no_history()))
    monkeypatch.setattr(report, "write", written)
    return happened


def test_a_data_set_is_written_once_all_its_methods_are_done_and_before_the_others_are(said, tmp_path, capsys):
    assert grid.work(benches(tmp_path), Means(), "COMMAND")
    first, second = (
        (name, {key: f"{name}/{key}" for key in ("random", "vae")}, "COMMAND") for name in ("first", "second")
    )
    assert said == ["second/random", "first/random", "first/vae", first, "second/vae", second]
    assert "second, VAE: cached" in capsys.readouterr().err  # whose method it is


def test_losses_of_each_data_set_go_to_its_own_folder(said, tmp_path, monkeypatch):
    made = benches(tmp_path)
    followed = []

    def following(told, jobs, folder):
        followed.append((folder, [one.name for one in jobs]))
        return told

    monkeypatch.setattr(grid.board, "following", following)
    grid.work(made, Means(), "", boards=True)
    assert followed == [(b.folder / "tensorboard", [one.name for one in b.jobs]) for b in made]


def test_a_folder_that_another_command_writes_to_is_refused_before_anything_is_computed(said, tmp_path):
    made = benches(tmp_path)
    with cache.alone(made[1].folder), pytest.raises(InputError, match="second"):
        grid.work(made, Means(), "")
    assert said == []
    assert grid.work(made, Means(), "")  # the lock of the first was let go


def test_a_process_that_helps_another_writes_nothing(said, tmp_path, monkeypatch):
    helped = []
    monkeypatch.setattr(ranks, "launched", lambda *_: SimpleNamespace(global_rank=1))
    monkeypatch.setattr(ranks, "follow", lambda jobs, fabric: helped.extend(one.name for one in jobs))
    assert not grid.work(benches(tmp_path), Means(devices=2), "")
    assert helped == ["first/random", "first/vae", "second/random", "second/vae"]
    assert said == []


def test_stages_that_end_a_job_are_those_that_run_reports(tmp_path):
    stages: list[str] = []
    for _ in range(2):
        run.run([job(tmp_path, "pixels")], workers=1, fresh=False, report=lambda _, stage, *__: stages.append(stage))
    assert [stage for stage in stages if stage in FINISHED] == ["done", "cached"]
