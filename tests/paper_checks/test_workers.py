"""What happens to one task happens to that task alone."""

import importlib
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from paper_checks.cache import Cache, cache_key
from paper_checks.claim import Task
from paper_checks.workers import Done, Job, compute


def behave(*, how: str, seed: int = 0, place: int = 0) -> pd.DataFrame:
    if how == "raise":
        raise RuntimeError("first line\nsecond line")
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "leave":
        sys.exit(0)
    if how == "exit":
        os._exit(3)
    generator = torch.Generator().manual_seed(seed)
    product = torch.randn(200, 300, generator=generator) @ torch.randn(300, 200, generator=generator)
    return pd.DataFrame({"value": np.linalg.svd(product.numpy(), compute_uv=False), "threads": torch.get_num_threads()})


def jobs(*hows: str) -> list[Job]:
    return [job(Task(behave, {"how": how, "seed": 1, "place": place})) for place, how in enumerate(hows)]


def job(task: Task) -> Job:
    return Job(cache_key(task, "cpu", Job.dtype), task)


def run(cache: Cache, workers: int, *hows: str) -> dict[int, Done]:
    ended = list(compute(jobs(*hows), workers=workers, device="cpu", cache=cache))
    assert len(ended) == len(hows)
    return {done.job.task.kwargs["place"]: done for done in ended}


def test_a_worker_s_death_or_error_fails_its_own_task_and_numbers_do_not_depend_on_jobs(tmp_path: Path):
    alone, crowd = Cache(tmp_path / "alone"), Cache(tmp_path / "crowd")
    ended = run(crowd, 2, "raise", "fine", "killed", "fine", "exit")
    assert ended[0].reason == "RuntimeError: first line"
    assert "second line" in ended[0].trace
    assert "ended by SIGKILL (out of memory?" in ended[2].reason
    assert ended[4].reason == "its worker ended with exit code 3"
    assert not ended[1].reason
    assert not ended[3].reason
    again = run(alone, 1, "fine")
    one, other = alone.load(again[0].job.key), crowd.load(ended[3].job.key)
    assert one is not None
    assert other is not None
    assert one.equals(other)
    assert set(one["threads"]) == {1}


def test_threads_are_given_back(tmp_path: Path):
    before = torch.get_num_threads()
    run(Cache(tmp_path), 1, "fine", "raise")
    assert torch.get_num_threads() == before


def test_dearest_tasks_start_first(tmp_path: Path):
    cheap, dear = job(Task(behave, {"how": "fine"})), job(Task(behave, {"how": "raise"}, cost=9))
    assert [done.job for done in compute([cheap, dear], workers=1, device="cpu", cache=Cache(tmp_path))] == [
        dear,
        cheap,
    ]


def test_workers_go_on_while_what_they_did_is_looked_at(tmp_path: Path):
    planned, cache = jobs("fine", "fine", "fine"), Cache(tmp_path)
    ended = compute(planned, workers=2, device="cpu", cache=cache)
    next(ended)
    patience = time.monotonic() + 60
    while not all(cache.has(one.key) for one in planned) and time.monotonic() < patience:
        time.sleep(0.1)
    assert all(cache.has(one.key) for one in planned)
    assert len(list(ended)) == 2


def test_sys_exit_fails_its_own_task_alone(tmp_path: Path):
    ended = run(Cache(tmp_path), 1, "leave", "fine")
    assert [ended[place].reason for place in (0, 1)] == ["SystemExit: 0", ""]


MODULE = """
import pandas as pd


def measure(*, seed):
    {first}
    return pd.DataFrame({{"value": [{value}]}})
"""


@pytest.mark.parametrize("moment", ["before", "during"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_source_that_changes_while_the_run_goes_on_is_refused_and_nothing_is_saved(
    moment: str, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The key is made from the source as planned; a spawned worker imports the file as it is when it begins."""
    name = f"changing_{moment}_{workers}"
    path, cache = tmp_path / f"{name}.py", Cache(tmp_path / "cache")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    later = MODULE.format(first="pass", value=2.0)
    rewrite = f"import pathlib; pathlib.Path({str(path)!r}).write_text({later!r})"
    path.write_text(MODULE.format(first=rewrite if moment == "during" else "pass", value=1.0))
    planned = [job(Task(importlib.import_module(name).measure, {"seed": seed})) for seed in range(2)]
    if moment == "before":
        path.write_text(later)
    ended = list(compute(planned, workers=workers, device="cpu", cache=cache))
    assert [done.reason for done in ended] == ["the source changed while the run went on; run the command again"] * 2
    assert not [one for one in planned if cache.has(one.key)]


def test_nothing_to_do_starts_nothing(tmp_path: Path):
    assert list(compute([], workers=2, device="cpu", cache=Cache(tmp_path))) == []
