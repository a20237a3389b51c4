"""What a task's process had at most is kept with its table, and is that task's own."""

import gc
import sys
import weakref
from pathlib import Path

import pandas as pd
import pytest
import torch

import synthetic
from paper_checks import memory, prior_marginal
from paper_checks.cache import Cache, cache_key
from paper_checks.claim import Task
from paper_checks.trained import fresh, represented
from paper_checks.workers import Cluster, Job, compute
from ssl_theory.learners import SimVAE, fit

MEGABYTE = 2**20


def hold(*, megabytes: int) -> pd.DataFrame:
    return pd.DataFrame({"value": [len(b"1" * megabytes * MEGABYTE)]})


TASKS = [Task(hold, {"megabytes": megabytes}, cost=megabytes) for megabytes in (300, 1)]
JOBS = [Job(cache_key(task, "cpu", str(torch.get_default_dtype())), task) for task in TASKS]


@pytest.mark.skipif(sys.platform != "linux", reason="measured on Linux alone")
@pytest.mark.parametrize("workers", [1, 2, Cluster("local")])
def test_the_peak_of_a_task_is_its_own(tmp_path: Path, workers: int | Cluster):
    if isinstance(workers, Cluster):
        pytest.importorskip("distributed")
    cache = Cache(tmp_path)
    assert [done.reason for done in compute(JOBS, workers=workers, device="cpu", cache=cache)] == ["", ""]
    large, small = (cache.about(job.key)["peak"] / MEGABYTE for job in JOBS)
    assert 300 < large < 3000
    assert 0 < small < large - 200


def test_where_it_cannot_be_told_it_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "PROCESS", tmp_path / "nowhere")
    cache = Cache(tmp_path)
    assert [done.peak for done in compute(JOBS[1:], workers=1, device="cpu", cache=cache)] == [None]
    assert cache.about(JOBS[1].key)["peak"] is None


def test_what_is_there_for_good_is_looked_at_once():
    """A collection that looked at all modules would take a sixth of a second after each of hundreds of tasks."""
    memory.give_back()
    ring: list[object] = []
    ring.append(ring)
    seen = weakref.ref(made := type("Seen", (), {"of": ring})())
    ring.append(made)
    del ring, made
    assert seen() is not None
    try:
        assert len(gc.get_objects()) < 10_000 < gc.get_freeze_count()
        memory.give_back()
        assert seen() is None
    finally:
        gc.unfreeze()


@pytest.mark.skipif(sys.platform != "linux", reason="measured on Linux alone")
def test_integrals_over_many_views_are_taken_a_few_data_points_at_a_time():
    shape = {"views": [64], "style_variances": [1.0], "points": 200}  # as the full profile has them
    prior_marginal.closed_forms(**shape | {"points": 1}, views_counted=True)
    memory.forget_peak()
    before = memory.peak()
    prior_marginal.closed_forms(**shape, views_counted=True)
    assert memory.peak() - before < 300 * MEGABYTE


@pytest.mark.skipif(sys.platform != "linux", reason="measured on Linux alone")
def test_large_ensembles_represent_some_rows_at_a_time():
    world = synthetic.preset("block", seed=0)
    fitted = fit([SimVAE()] * 16, world, steps=1, seeds=range(10), batch_size=4)
    x = fresh(world, 2000, 0).x.expand(160, -1, -1, -1)
    represented(fitted, x[:, :100], "representation")
    memory.forget_peak()
    before = memory.peak()
    represented(fitted, x, "representation")
    assert memory.peak() - before < 350 * MEGABYTE
