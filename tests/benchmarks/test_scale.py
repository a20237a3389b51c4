"""Clusters and several devices give the numbers of one process; what they cannot do is one line."""

import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from ssl_theory.benchmarks import cache, cluster, ranks, run
from ssl_theory.benchmarks.errors import InputError
from tests.benchmarks.test_run import SPLITS, job, silent

pytestmark = pytest.mark.usefixtures("rough_probes")


class Done:
    """A future whose answer is there."""

    def __init__(self, value: object) -> None:
        self.value = value

    @property
    def status(self) -> str:
        return "error" if isinstance(self.value, Exception) else "finished"

    def result(self) -> object:
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


def done(futures: list[Done]) -> list[object]:
    return [future.result() for future in futures]


class Worker:
    """A client whose only worker is this process."""

    def scatter(self, splits):
        return splits

    def submit(self, function, *arguments, pure: bool):
        try:
            return Done(function(*(done(one) if isinstance(one, list) else one for one in arguments)))
        except Exception as error:
            return Done(error)

    def cancel(self, futures) -> None:
        return None


@pytest.fixture
def here(monkeypatch):
    """The cluster is this process."""
    monkeypatch.setattr(cluster, "connected", lambda *_: nullcontext(Worker()))
    monkeypatch.setattr(cluster, "as_completed", list)
    monkeypatch.setattr(cluster.torch, "set_num_threads", lambda n: None)


def on_cluster(jobs, said=silent):
    return run.run(
        jobs, workers=1, fresh=False, report=said, elsewhere=lambda missing: cluster.evaluate(missing, "x", 1, said)
    )


def test_a_worker_returns_what_this_process_computes(here, tmp_path):
    stages = []
    keys = ("random", "vae")
    there = on_cluster(
        [job(tmp_path / "there", k, steps=8, apart=True) for k in keys], lambda m, s, *_: stages.append((m, s))
    )
    alone = run.run([job(tmp_path / "alone", k, steps=8) for k in keys], workers=1, fresh=False, report=silent)
    for one, other in zip(there, alone, strict=True):
        pd.testing.assert_frame_equal(one.rows, other.rows)
    assert [s for m, s in stages if m == "folder/random"] == ["on the cluster", "done"]
    trained = ["1 of 2 seeds trained", "2 of 2 seeds trained"]
    assert [s for m, s in stages if m == "folder/vae"] == ["on the cluster", *trained, "done"]
    stages.clear()
    on_cluster([job(tmp_path / "there", k, steps=8, apart=True) for k in keys], lambda m, s, *_: stages.append((m, s)))
    assert set(stages) == {(f"folder/{m}", "cached") for m in keys}


def test_the_methods_of_several_data_sets_are_at_the_cluster_at_once_each_with_its_images_and_folder(
    here, tmp_path, monkeypatch
):
    seen = []

    def answered(light, splits, runtime, sign, apart):
        seen.append((light.name, splits, sign.parent))
        return cache.Result(pd.DataFrame({"value": [1.0]}), run._no_history())

    monkeypatch.setattr(cluster, "answer", answered)
    monkeypatch.setattr(cluster, "trained", lambda *_: [])
    other = replace(SPLITS, name="other")
    jobs = [job(tmp_path / "a", key) for key in ("random", "vae")]
    jobs += [replace(one, splits=other, entry=tmp_path / "b" / one.entry.name) for one in jobs]
    stages = []
    on_cluster(jobs, lambda *said: stages.append(said[:2]))
    assert [(name, folder) for name, _, folder in seen] == [(one.name, one.entry.parent) for one in jobs]
    assert all(splits is one.splits for (_, splits, _), one in zip(seen, jobs, strict=True))
    assert [said for said in stages if said[1] == "on the cluster"] == [(one.name, "on the cluster") for one in jobs]
    assert {path.name for path in (tmp_path / "b").iterdir()} == {one.entry.name for one in jobs[2:]}


def test_seeds_are_pieces_where_they_are_trained_apart_and_such_results_are_others(tmp_path):
    together, apart = (job(tmp_path, "vae", apart=how) for how in (False, True))
    assert [one.only for one in apart.alone()] == [(0,), (1,)]
    assert together.alone() == job(tmp_path, "random", apart=True).alone() == []
    assert together.entry != apart.entry


def test_images_do_not_travel_with_every_job(tmp_path):
    light = cluster._light(job(tmp_path))
    assert len(light.splits.train) == 1
    assert light.entry == job(tmp_path).entry
    assert len(job(tmp_path).splits.train) == len(SPLITS.train)


def test_another_source_is_refused(here, tmp_path, monkeypatch):
    with pytest.raises(RuntimeError, match="install the same"):
        cluster.answer(job(tmp_path), SPLITS, "another source", tmp_path / "sign")


def test_refusals_of_a_worker_are_refusals_here(here, tmp_path, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr(run, "fit", full)
    with pytest.raises(InputError, match="out of memory"):
        on_cluster([job(tmp_path)])
    assert cache.read(job(tmp_path).entry) is None


@pytest.mark.parametrize(("shared", "steps"), [(True, [4, 6, 8]), (False, 2 * [2, 4, 6, 8])])
def test_a_worker_that_sees_the_folder_of_results_goes_on_there(here, tmp_path, monkeypatch, shared, steps):
    """Lengths 2, 4, 8, one of two seeds lost after the first; where no worker sees that folder, both begin anew."""
    fit, calls, seen = run.fit, [], []

    def watched(*arguments, steps, progress, **options):
        calls.append(steps)
        if calls == [2, 4]:
            raise InterruptedError
        return fit(*arguments, steps=steps, progress=lambda done, _: seen.append(done), log_every=2, **options)

    monkeypatch.setattr(run, "fit", watched)
    if not shared:
        monkeypatch.setattr(cluster, "_sign", lambda _: nullcontext(tmp_path / "elsewhere" / "sign"))
    one = job(tmp_path / "there", "vae", steps=8, apart=True)
    with pytest.raises(InterruptedError):
        on_cluster([one])
    seen.clear()
    on_cluster([one])
    assert seen == steps
    assert [path.name for path in (tmp_path / "there").iterdir()] == [one.entry.name]


def test_a_job_that_kills_workers_is_named(tmp_path):
    killed = type("KilledWorker", (Exception,), {})()
    with pytest.raises(InputError, match="SimCLR: ended every worker"):
        cluster._keep(job(tmp_path), Done(killed), silent)


def test_no_scheduler_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(cluster, "PATIENCE", 0.2)
    with pytest.raises(InputError, match="no scheduler at nonsense://nowhere:1: "):
        cluster.evaluate([job(tmp_path)], "nonsense://nowhere:1", 1, silent)


class Alone:
    """What is used of a launched Fabric on one device."""

    world_size, global_rank, device = 1, 0, torch.device("cpu")

    def autocast(self):
        raise AssertionError("nothing is computed")


def test_a_leader_evaluates_what_is_missing_and_followers_only_train(tmp_path, monkeypatch):
    evaluated, trained = [], []
    monkeypatch.setattr(run, "evaluate", lambda job, report, fabric: evaluated.append(job.method.key))
    monkeypatch.setattr(run, "train", lambda job, report, fabric: trained.append(job.method.key))
    jobs = [job(tmp_path, key) for key in ("pixels", "simclr", "vae")]
    ranks.lead(jobs[:2], silent, Alone())
    assert evaluated == ["pixels", "simclr"]
    monkeypatch.setattr(ranks, "_told", lambda names, fabric: [jobs[2].entry.name])
    ranks.follow(jobs, Alone())
    assert trained == ["vae"]


def test_devices_that_are_not_there_are_one_line():
    with pytest.raises(InputError, match="--devices 3"):
        ranks.launched("cuda", 3, 1, "32-true")


def started(out: Path, *more: object) -> subprocess.CompletedProcess:
    arguments = [sys.executable, "-m", "ssl_theory.benchmarks", "digits", "--out", out, "--seeds", 3, "--steps", 20]
    arguments += ["--methods", "simclr,vae", "--device", "cpu", "--jobs", 1, *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([str(a) for a in arguments], env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize("more", [("--devices", 2), ("--cluster", "local")])
def test_two_devices_and_a_cluster_give_the_numbers_of_one_process(tmp_path, more):
    tables = []
    for folder, options in (("one", ()), ("many", more)):
        done = started(tmp_path / folder, *options)
        assert done.returncode == 0, done.stderr
        tables.append(pd.read_parquet(tmp_path / folder / "digits/table.parquet"))
    exact = ["choice", "reconstruction", "evidence"]
    a, b = (t[t["aspect"].isin(exact)].reset_index(drop=True) for t in tables)
    stopped = a["measure"] == "decoded"  # a decoder's stopping time is one of few: rounding may choose its neighbour
    pd.testing.assert_frame_equal(a[~stopped], b[~stopped], rtol=2e-3)
    pd.testing.assert_frame_equal(a[stopped], b[stopped], rtol=3e-2)


@pytest.mark.slow
def test_half_precision_is_another_result(tmp_path):
    done = started(tmp_path, "--precision", "bf16-mixed")
    assert done.returncode == 0, done.stderr
    rows = pd.read_parquet(tmp_path / "digits/table.parquet")
    assert rows.query("aspect == 'content'")["value"].notna().all()
