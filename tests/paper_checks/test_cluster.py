"""Tasks on the workers of a real scheduler: what happens to a worker loses nothing and repeats nothing."""

import contextlib
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from paper_checks import __main__ as command
from paper_checks.cache import Cache, cache_key
from paper_checks.claim import Task
from paper_checks.workers import Cluster, Done, Job, compute
from tests.paper_checks.conftest import House

distributed = pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]
TASKS = 10


def behave(*, seed: int, log: str, how: str = "fine") -> pd.DataFrame:
    note(log, f"begin {seed} {os.getpid()}")
    if how == "waits for its end" and len([begun for begun, _ in lines(Path(log), "begin") if begun == str(seed)]) == 1:
        time.sleep(600)  # until the worker is killed; the second time it goes on
    if how == "raise":
        raise RuntimeError("first line\nsecond line")
    if how == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.6)
    value = torch.randn(50, generator=torch.Generator().manual_seed(seed)).numpy()
    note(log, f"end {seed} {os.getpid()}")
    return pd.DataFrame({"value": value, "threads": torch.get_num_threads()})


def note(log: str, words: str) -> None:
    with Path(log).open("a") as stream:
        stream.write(words + "\n")


def job(seed: int, log: Path, how: str = "fine", *, other: str = "") -> Job:
    task = Task(behave, {"seed": seed, "log": str(log), "how": how})
    return Job(cache_key(task, "cpu", str(torch.get_default_dtype())) + other, task)


@pytest.fixture(scope="module")
def scheduler() -> Iterator[Any]:
    """Two workers of one thread, each with a nanny that starts it anew when it dies."""
    options: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options, silence_logs=50) as made:
        yield made


def run(jobs: list[Job], address: str, cache: Cache, after_first: Any = None) -> dict[str, Done]:
    ended: dict[str, Done] = {}
    for done in compute(jobs, workers=Cluster(address), device="cpu", cache=cache):
        assert done.job.key not in ended
        ended[done.job.key] = done
        if after_first is not None and len(ended) == 1:
            after_first()
    assert ended.keys() == {one.key for one in jobs}
    return ended


def lines(log: Path, word: str) -> list[list[str]]:
    return [line.split()[1:] for line in log.read_text().splitlines() if line.startswith(word)]


def test_a_worker_killed_in_the_middle_loses_nothing_and_nothing_is_done_twice(scheduler, tmp_path):
    log, cache = tmp_path / "log", Cache(tmp_path / "cache")
    jobs = [job(seed, log, "waits for its end" if seed == 1 else "fine") for seed in range(TASKS)]

    def kill_one_at_work() -> None:
        while not (pids := [int(pid) for seed, pid in lines(log, "begin") if seed == "1"]):
            time.sleep(0.01)
        os.kill(pids[0], signal.SIGKILL)

    ended = run(jobs, scheduler.scheduler_address, cache, kill_one_at_work)
    assert not [done.reason for done in ended.values() if done.reason]
    assert sorted(int(seed) for seed, _ in lines(log, "end")) == list(range(TASKS))  # each to its end, and once
    assert len(lines(log, "begin")) == TASKS + 1  # the killed one had to begin again
    assert len({pid for _, pid in lines(log, "begin")}) >= 2
    for seed, one in enumerate(jobs):
        table = cache.load(one.key)
        assert table is not None
        assert table.equals(behave(seed=seed, log=str(tmp_path / "here")).assign(threads=1))


def test_a_task_fails_alone_and_by_name(scheduler, tmp_path):
    log, cache = tmp_path / "log", Cache(tmp_path / "cache")
    jobs = [job(0, log, "raise"), job(1, log), job(2, log, other="0")]
    ended = run(jobs, scheduler.scheduler_address, cache)
    assert [ended[one.key].reason.partition(";")[0] for one in jobs] == [
        "RuntimeError: first line",
        "",
        "RuntimeError: this worker has another source or other package versions",
    ]
    assert "second line" in ended[jobs[0].key].trace
    assert [cache.load(one.key) is not None for one in jobs] == [False, True, False]


def test_a_task_that_ends_its_workers_is_given_up(scheduler, tmp_path):
    jobs = [job(0, tmp_path / "log", "deadly"), job(1, tmp_path / "log")]
    with distributed.Client(scheduler) as client:
        client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 1))
    ended = run(jobs, scheduler.scheduler_address, Cache(tmp_path / "cache"))
    assert ended[jobs[0].key].reason == "it ended every worker it was given to (out of memory?)"
    assert not ended[jobs[1].key].reason


def typed(house: House, monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    house.forget_modules()
    monkeypatch.setattr(sys, "path", [str(house.folder), *sys.path])
    monkeypatch.setattr(sys, "argv", ["paper-checks", *map(str, words), "--out", str(house.out)])
    return command.main()


def test_a_claim_in_a_folder_of_one_s_own_is_computed_on_workers_as_it_is_now(scheduler, house, monkeypatch, capsys):
    """Workers that have served before do not compute with the modules of that day."""
    address = scheduler.scheduler_address
    for mean, code in ((1.0, 0), (0.2, 1)):
        path = house.claim(mean=mean)
        assert typed(house, monkeypatch, path, "--cluster", address) == code, capsys.readouterr().err
        assert len(house.computed) == 10 if code == 0 else 15  # the control's tasks are in the cache
    path = house.claim(mean=1.0)
    inner = next(house.folder.glob("loss_*_inner.py"))
    inner.write_text(inner.read_text().replace("torch.float64)", "torch.float64) + 100"))
    assert typed(house, monkeypatch, path, "--cluster", address) == 0
    assert len(house.computed) == 25
    assert "failed" not in capsys.readouterr().err


def test_local_starts_workers_of_its_own(house, monkeypatch):
    assert typed(house, monkeypatch, house.claim(), "--cluster", "local", "--jobs", 2) == 0
    assert len(house.computed) == 10


@pytest.mark.parametrize(("words", "complaint"), [
    (("--cluster", "tcp://127.0.0.1:9"), r"no scheduler at tcp://127.0.0.1:9: .*; start one with `dask scheduler`"),
    (("--cluster", "nonsense://x"), r"no scheduler at nonsense://x: .*; start one with"),
    (("--cluster", "tcp://127.0.0.1:9", "--jobs", 2), "--jobs is up to the cluster's workers: leave it out"),
])  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(words, complaint, house, monkeypatch, capsys):
    from ssl_theory.benchmarks import cluster

    monkeypatch.setattr(cluster, "PATIENCE", 1)
    assert typed(house, monkeypatch, house.claim(), *words) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(complaint, said), said


def test_another_kind_of_server_is_refused_in_one_line(house, monkeypatch, capsys):
    """Its answer is read as lengths of what follows, beyond all memory."""
    from ssl_theory.benchmarks import cluster

    monkeypatch.setattr(cluster, "PATIENCE", 5)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    with server.accept()[0] as caller:
                        caller.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n" * 9)

        threading.Thread(target=answer, daemon=True).start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        assert typed(house, monkeypatch, house.claim(), "--cluster", address) == 2
    assert f"no scheduler at {address}: " in capsys.readouterr().err.strip().splitlines()[-1]


def test_what_listens_and_says_nothing_is_refused_in_one_line(house, monkeypatch, capsys):
    from ssl_theory.benchmarks import cluster

    monkeypatch.setattr(cluster, "PATIENCE", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        assert typed(house, monkeypatch, house.claim(), "--cluster", address) == 2
    assert f"no scheduler at {address}: TimeoutError; start" in capsys.readouterr().err.strip().splitlines()[-1]


def test_without_dask_the_remedy_is_named(house, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "paper_checks.cluster", raising=False)
    monkeypatch.delattr("paper_checks.cluster", raising=False)
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert typed(house, monkeypatch, house.claim(), "--cluster", "local") == 2
    assert "pip install 'ssl-theory[cluster]'" in capsys.readouterr().err
