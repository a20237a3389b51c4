"""Worker processes that compute tasks into the cache, one thread each, and survive what happens to one of
them.

Not a `ProcessPoolExecutor`: there, one worker killed by the system (out of memory) takes every waiting task
with it. Here its task alone fails, by name, and a fresh worker takes its place. Workers write to the cache
themselves, ignore Ctrl-C (the parent deals with it), and leave when the parent is gone, however it went.
"""

import multiprocessing as mp
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from typing import Any

import pandas as pd

from paper_checks import memory
from paper_checks.cache import Cache, cache_key
from paper_checks.claim import Task
from paper_checks.source import fingerprint

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}


CHANGED = "the source changed while the run went on; run the command again"
_sources: dict[Callable[..., Any], str] = {}  # of the functions that have computed here, as they were read then


@dataclass(frozen=True)
class Job:
    """A task with the key that its table is cached under, and the default type of numbers that the key was made for."""

    key: str
    task: Task
    dtype: str = "torch.float32"


@dataclass(frozen=True)
class Done:
    """A job's end: computed in `seconds`, or failed for `reason` (one line) with its `trace`.

    `unwritten`: the reason is that the cache could not be written, which says nothing of the claim. `peak`: the most
    memory, in bytes, that its process had meanwhile, where that can be told.
    """

    job: Job
    seconds: float
    reason: str = ""
    trace: str = ""
    unwritten: bool = False
    peak: int | None = None


@dataclass(frozen=True)
class Cluster:
    """Workers that are not this process's own: a scheduler's `tcp://host:port`, or "local" and how many to start."""

    address: str
    processes: int = 1


def compute(jobs: Sequence[Job], *, workers: int | Cluster, device: str, cache: Cache) -> Iterator[Done]:
    """Compute the jobs, dearest first, and yield each as it ends; with one worker in this very process."""
    ordered = sorted(jobs, key=lambda job: -job.task.cost)
    if isinstance(workers, Cluster):
        from paper_checks import cluster

        yield from cluster.compute(ordered, workers, device=device, cache=cache)
    elif workers == 1:
        with _single_threaded():
            yield from (_compute(job, device, cache) for job in ordered)
    elif ordered:
        yield from _in_parallel(ordered, min(workers, len(ordered)), device, cache)


def _compute(job: Job, device: str, cache: Cache) -> Done:
    """Compute a job's table into the cache; none whose code may be another than its key says.

    A process imports a claim, or what a task imports only as it runs, when it first needs it. So the source is read
    before and after the first task of a function that succeeds; from then on the process has the code it needs.
    """
    if _changed(job, device):
        return Done(job, 0.0, CHANGED)
    done, table = attempt(job, device)
    if table is not None and job.task.function not in _sources:
        if _changed(job, device):
            return Done(job, done.seconds, CHANGED)
        _sources[job.task.function] = fingerprint(job.task.function)
    return keep(done, table, device, cache)


def _changed(job: Job, device: str) -> bool:
    """Whether the job's key is another by now; so it is where a file can no longer be read."""
    try:
        return cache_key(job.task, device, job.dtype, _sources.get(job.task.function)) != job.key
    except (OSError, ValueError, SyntaxError):
        return True


def attempt(job: Job, device: str) -> tuple[Done, pd.DataFrame | None]:
    """Compute a job's table, or say why there is none."""
    counted, start = memory.forget_peak(), time.perf_counter()
    try:
        table = job.task.run(device)
    except (Exception, SystemExit) as error:
        return failed(job, time.perf_counter() - start, error), None
    return Done(job, time.perf_counter() - start, peak=memory.peak() if counted else None), table


def keep(done: Done, table: pd.DataFrame | None, device: str, cache: Cache) -> Done:
    """Save what was computed, if anything was; a table that cannot be saved is no result."""
    if table is None:
        return done
    task = done.job.task
    about = {"task": task.name, "kwargs": dict(task.kwargs), "device": device}
    took = {"seconds": done.seconds, "peak": done.peak, "finished": datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        cache.save(done.job.key, table, about | took)
    except Exception as error:
        return replace(failed(done.job, done.seconds, error), unwritten=isinstance(error, OSError))
    return done


def failed(job: Job, seconds: float, error: BaseException) -> Done:
    """A job's end by an exception."""
    return Done(job, seconds, one_line(error), "".join(traceback.format_exception(error)))


def one_line(error: BaseException) -> str:
    """Kind and first line of an error."""
    words = str(error).strip().splitlines()
    return f"{type(error).__name__}: {words[0]}" if words else type(error).__name__


@contextmanager
def _single_threaded() -> Iterator[None]:
    """The same arithmetic in this process as in a worker: numbers must not depend on --jobs."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def _in_parallel(jobs: list[Job], count: int, device: str, cache: Cache) -> Iterator[Done]:
    waiting = list(reversed(jobs))
    crew = [_Worker(device, cache) for _ in range(count)]
    try:
        for worker in crew:
            worker.start(waiting.pop())
        while any(worker.job for worker in crew):
            ready = set(wait([worker.connection for worker in crew if worker.job]))
            for place, worker in enumerate(crew):
                if worker.connection not in ready:
                    continue
                done = worker.finish()
                if not worker.process.is_alive() and waiting:
                    crew[place] = worker = _Worker(device, cache)
                if waiting:
                    worker.start(waiting.pop())
                yield done  # last: whoever takes it may draw for seconds
    finally:
        for worker in crew:
            worker.stop()


class _Worker:
    """One spawned process, the pipe to it, and the job it is at."""

    def __init__(self, device: str, cache: Cache) -> None:
        context = mp.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.job: Job | None = None
        self.began = 0.0
        self.process = context.Process(target=_serve, args=(theirs, device, cache), daemon=True)
        with environment(ONE_THREAD):
            self.process.start()
        theirs.close()

    def start(self, job: Job) -> None:
        self.job, self.began = job, time.perf_counter()
        with suppress(OSError):  # it died while idle: `finish` reads the end of the pipe and says so
            self.connection.send_bytes(pickle.dumps(job))

    def finish(self) -> Done:
        job, self.job = self.job, None
        assert job is not None
        try:
            seconds, reason, trace, unwritten = self.connection.recv()
        except (EOFError, OSError):
            self.process.join(10)
            seconds, reason, trace = time.perf_counter() - self.began, _died(self.process.exitcode), ""
            unwritten = False
        return Done(job, seconds, reason, trace, unwritten)

    def stop(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _died(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        hint = " (out of memory? try fewer --jobs)" if -exitcode == signal.SIGKILL else ""
        return f"its worker was ended by {signal.Signals(-exitcode).name}{hint}"
    return f"its worker ended with exit code {exitcode}"


def _serve(connection: Connection, device: str, cache: Cache) -> None:
    """A worker's life: receive a job, compute it, say how it went; leave when the pipe or the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=leave_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)
    while True:
        try:
            data = connection.recv_bytes()
        except (EOFError, OSError):
            return
        connection.send(_answer(data, device, cache))


def _answer(data: bytes, device: str, cache: Cache) -> tuple[float, str, str, bool]:
    try:
        job: Job = pickle.loads(data)
    except (Exception, SystemExit) as error:
        return 0.0, f"cannot be loaded in a worker: {one_line(error)}", traceback.format_exc(), False
    done = _compute(job, device, cache)
    memory.give_back()
    return done.seconds, done.reason, done.trace, done.unwritten


def leave_with_parent() -> None:
    """Leave when the parent is gone, however it went: what a thread of a process that it started does."""
    parent = mp.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Variables that a spawned process inherits; put back as they were."""
    before: dict[str, Any] = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
