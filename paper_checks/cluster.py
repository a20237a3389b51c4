"""Tasks on a cluster: a `dask.distributed` scheduler hands them to its workers, and their tables come back here.

    dask scheduler                                          on one machine; prints its address
    dask worker tcp://HOST:8786 --nthreads 1                on each of the others, with this package installed
    python -m paper_checks --cluster tcp://HOST:8786        where the results are to be

This process alone writes to the cache, so that workers need no folder in common with it, and each table is written as
it arrives. A worker that dies loses the tasks it was at, and the scheduler gives them to others; a task that ends
several workers is given up, by name. Before it computes, a worker finds the task's key from its own files: one with
another source or other versions of the numerical packages refuses instead of returning other numbers.
"""

import importlib
import pickle
import sys
import uuid
from asyncio import CancelledError
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Queue
from typing import Any

import pandas as pd
import torch
from threadpoolctl import threadpool_limits

from paper_checks.cache import Cache, cache_key
from paper_checks.source import PROJECT, sources
from paper_checks.workers import ONE_THREAD, Cluster, Done, Job, attempt, environment, failed, keep, one_line

try:
    from distributed import WorkerPlugin
except ImportError:
    raise ValueError("--cluster needs dask.distributed, found none; pip install 'ssl-theory[cluster]'") from None

from ssl_theory.benchmarks.cluster import connected

Answer = tuple[float, str, str, int | None, pd.DataFrame | None]  # seconds, reason, trace, peak, table


def compute(jobs: Sequence[Job], cluster: Cluster, *, device: str, cache: Cache) -> Iterator[Done]:
    """Submit the jobs, the first ones first, and yield each as its table is in the cache, or as it failed."""
    if not jobs:
        return
    dtype = str(torch.get_default_dtype())
    with _client(cluster) as client:
        client.register_plugin(Sources(_own_modules(jobs)))
        futures = {
            client.submit(answer, pickle.dumps(job), device, dtype, key=job.key, priority=len(jobs) - place): job
            for place, job in enumerate(jobs)
        }
        ended: Queue[Done] = Queue()
        for future, job in futures.items():  # in a thread of the client's: at once, whatever this process is at
            future.add_done_callback(lambda future, job=job: ended.put(_kept(future, job, device, cache)))
        try:
            yield from (ended.get() for _ in jobs)
        finally:
            with suppress(Exception):  # the scheduler may be gone
                client.cancel(list(futures))


def answer(data: bytes, device: str, dtype: str) -> Answer:
    """On a worker: the job, if this worker would compute what its key says; one thread, as everywhere."""
    job: Job = pickle.loads(data)
    if cache_key(job.task, device, dtype) != job.key:
        raise RuntimeError("this worker has another source or other package versions; install the same and restart it")
    torch.set_num_threads(1)
    with threadpool_limits(1):
        done, table = attempt(job, device)
    return done.seconds, done.reason, done.trace, done.peak, table


class Sources(WorkerPlugin):
    """A worker's plugin: the user's own modules as files of this run, and no module of the project older than it."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files, self.name = dict(files), f"paper-checks-{uuid.uuid4().hex}"

    def setup(self, worker: Any) -> None:
        folder = Path(worker.local_directory) / self.name
        folder.mkdir(parents=True, exist_ok=True)
        for module, text in self.files.items():
            (folder / f"{module}.py").write_text(text, encoding="utf-8")
        for module in list(sys.modules):  # a worker that has served before holds the modules of that day
            if module in self.files or module.partition(".")[0] in PROJECT:
                del sys.modules[module]
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()


def _own_modules(jobs: Sequence[Job]) -> dict[str, str]:
    """The text of single-file modules that tasks reach and workers have not: claims in a folder of the user's own."""
    functions = {job.task.function for job in jobs}
    reached = {module for function in functions for module in sources(function)}
    single = [module for module in reached if "." not in module and module not in PROJECT]
    files = {module: getattr(importlib.import_module(module), "__file__", None) for module in sorted(single)}
    return {name: Path(path).read_text(encoding="utf-8") for name, path in files.items() if path}


def _kept(future: Any, job: Job, device: str, cache: Cache) -> Done:
    try:
        seconds, reason, trace, peak, table = future.result()
    except (Exception, CancelledError) as error:
        return _lost(job, error)
    finally:
        future.release()
    return keep(Done(job, seconds, reason, trace, peak=peak), table, device, cache)


def _lost(job: Job, error: BaseException) -> Done:
    """Why a job has no answer, in words of this program."""
    if type(error).__name__ == "KilledWorker":
        return Done(job, 0.0, "it ended every worker it was given to (out of memory?)")
    if isinstance(error, CancelledError):
        return Done(job, 0.0, f"the scheduler is gone or gave it up ({one_line(error)})")
    return failed(job, 0.0, error)


@contextmanager
def _client(cluster: Cluster) -> Iterator[Any]:
    """A connection to the scheduler, which for "local" is started here."""
    with environment(ONE_THREAD), connected(cluster.address, cluster.processes) as client:
        if not client.nthreads():
            print(f"{cluster.address} has no workers yet: waiting for them", file=sys.stderr)
        yield client
