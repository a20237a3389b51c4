"""What happens to one task happens to that task alone."""

import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from paper_checks.cache import Cache
from paper_checks.claim import Task
from paper_checks.workers import Done, Job, compute


def behave(*, how: str, seed: int = 0) -> pd.DataFrame:
    if how == "raise":
        raise RuntimeError("first line\nsecond line")
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        os._exit(3)
    generator = torch.Generator().manual_seed(seed)
    product = torch.randn(200, 300, generator=generator) @ torch.randn(300, 200, generator=generator)
    return pd.DataFrame({"value": np.linalg.svd(product.numpy(), compute_uv=False), "threads": torch.get_num_threads()})


def jobs(*hows: str) -> list[Job]:
    return [Job(f"{place:02d}" + "0" * 62, Task(behave, {"how": how, "seed": 1})) for place, how in enumerate(hows)]


def run(cache: Cache, workers: int, *hows: str) -> dict[str, Done]:
    ended = list(compute(jobs(*hows), workers=workers, device="cpu", cache=cache))
    assert len(ended) == len(hows)
    return {done.job.key[:2]: done for done in ended}


def test_a_worker_s_death_or_error_fails_its_own_task_and_numbers_do_not_depend_on_jobs(tmp_path: Path):
    alone, crowd = Cache(tmp_path / "alone"), Cache(tmp_path / "crowd")
    ended = run(crowd, 2, "raise", "fine", "killed", "fine", "exit")
    assert ended["00"].reason == "RuntimeError: first line"
    assert "second line" in ended["00"].trace
    assert "ended by SIGKILL (out of memory?" in ended["02"].reason
    assert ended["04"].reason == "its worker ended with exit code 3"
    assert not ended["01"].reason
    assert not ended["03"].reason
    run(alone, 1, "fine")
    one, other = alone.load("00" + "0" * 62), crowd.load("03" + "0" * 62)
    assert one is not None
    assert other is not None
    assert one.equals(other)
    assert set(one["threads"]) == {1}


def test_threads_are_given_back(tmp_path: Path):
    before = torch.get_num_threads()
    run(Cache(tmp_path), 1, "fine", "raise")
    assert torch.get_num_threads() == before


def test_dearest_tasks_start_first(tmp_path: Path):
    cheap, dear = Job("00" + "0" * 62, Task(behave, {"how": "fine"})), Job("01", Task(behave, {"how": "raise"}, cost=9))
    assert [done.job for done in compute([cheap, dear], workers=1, device="cpu", cache=Cache(tmp_path))] == [
        dear,
        cheap,
    ]


def test_nothing_to_do_starts_nothing(tmp_path: Path):
    assert list(compute([], workers=2, device="cpu", cache=Cache(tmp_path))) == []
