"""Methods and seeds on a cluster: a `dask.distributed` scheduler hands out the training of every seed of every method,
then each method's examination; its result comes back here.

    dask scheduler                                     on one machine; prints its address
    dask worker tcp://HOST:8786 --nthreads 1           on each of the others, with this package installed
    ssl-bench mnist --cluster tcp://HOST:8786          where the results are to be

The images of a data set travel once to each worker that has work of it. Where a worker sees the folder of results
(by the same path), it writes its checkpoints there, so that a seed goes on where a killed run or a lost worker left
it; any other worker computes in a folder of its own, and a run that is killed computes anew the methods that had not
arrived. A worker whose source, or a package it computes with, differs from this process's refuses, instead of returning
other numbers. A seed that is trained alone rounds otherwise than beside others, and training makes more of that: these
results are kept apart from those of one process (`Settings.apart`).
"""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from ssl_theory.benchmarks import cache, run
from ssl_theory.benchmarks.data import Splits
from ssl_theory.benchmarks.errors import InputError
from ssl_theory.learners import Fitted

try:
    from distributed import Client, LocalCluster, Security, as_completed
    from distributed.comm import connect
except ImportError:
    raise InputError("--cluster needs dask.distributed, found none; pip install 'ssl-theory[cluster]'") from None

LOCAL = "local"
PATIENCE = 20  # seconds to find the scheduler


def evaluate(jobs: Sequence[run.Job], address: str, processes: int, report: run.Report) -> None:
    """Every job by workers of the scheduler at `address`, or of one started here with so many for "local"."""
    if not jobs:
        return
    with connected(address, processes) as client, ExitStack() as signs:
        trainings, whole = _submitted(client, jobs, signs)
        for job in jobs:
            report(job.name, "on the cluster", 0, 1)
        try:
            ready = Counter[str]()
            for future in as_completed([*trainings, *whole]):
                if future in whole:
                    _keep(whole[future], future, report)
                    continue
                job = trainings.pop(future)  # what nobody holds is forgotten by the workers when the job has used it
                if future.status == "finished":
                    ready[job.name] += 1
                    done, of = ready[job.name], job.settings.seeds
                    report(job.name, f"{done} of {of} seeds trained", done, of)
        finally:
            client.cancel([*trainings, *whole])


def _submitted(client: Any, jobs: Sequence[run.Job], signs: ExitStack) -> tuple[dict[Any, run.Job], dict[Any, run.Job]]:
    """The trainings of single seeds and the whole jobs that wait for them, as futures with the job of each."""
    of_folder = {job.entry.parent: job.splits for job in jobs}  # a data set has a folder
    sent = {folder: client.scatter(splits) for folder, splits in of_folder.items()}
    sign = {folder: signs.enter_context(_sign(folder)) for folder in of_folder}
    trainings, whole = dict[Any, run.Job](), dict[Any, run.Job]()
    for job in jobs:
        given = sent[job.entry.parent], cache.runtime(), sign[job.entry.parent]
        alone = [client.submit(trained, _light(one), *given, pure=False) for one in job.alone()]
        trainings |= dict.fromkeys(alone, job)
        whole[client.submit(answer, _light(job), *given, alone, pure=False)] = job
    return trainings, whole


@contextmanager
def _sign(folder: Path) -> Iterator[Path]:
    """A file in the folder of results by which a worker knows whether it sees the same folder."""
    sign = folder.resolve() / f".{uuid.uuid4().hex}.shared"
    sign.parent.mkdir(parents=True, exist_ok=True)
    sign.touch()
    try:
        yield sign
    finally:
        sign.unlink(missing_ok=True)


def _light(job: run.Job) -> run.Job:
    """Without the images, which travel apart."""
    few = torch.arange(1)
    parts: dict[str, Any] = {name: getattr(job.splits, name)[few] for name in ("train", "validation", "test")}
    return replace(job, splits=replace(job.splits, **parts))


def trained(job: run.Job, splits: Splits, runtime: str, sign: Path) -> list[Fitted] | str:
    """On a worker: what is trained of a job, after each length, or why the user's input does not allow it."""
    with _here(job, splits, runtime, sign) as here:
        try:
            return run.train(here, lambda *_: None)
        except InputError as error:
            return str(error)


def answer(
    job: run.Job, splits: Splits, runtime: str, sign: Path, apart: Sequence[list[Fitted] | str] = ()
) -> cache.Result | str:
    """On a worker: the result of a job whose seeds may have been trained apart, or why the user's input does not allow
    one."""
    refused = [one for one in apart if isinstance(one, str)]
    if refused:
        return refused[0]
    with _here(job, splits, runtime, sign) as here:
        try:
            if apart:
                run.put_together(here, [one for one in apart if not isinstance(one, str)])
            run.evaluate(here, lambda *_: None)
        except InputError as error:
            return str(error)
        result = cache.read(here.entry)
    assert result is not None
    return result


@contextmanager
def _here(job: run.Job, splits: Splits, runtime: str, sign: Path) -> Iterator[run.Job]:
    """The job with its images, on a worker with the same source: one thread, as everywhere. Beside `sign` where that
    can be seen, so that a checkpoint of before counts and this one's will."""
    if cache.runtime() != runtime:
        needed = f"source, torch, {', '.join(cache.COMPUTING)}"
        raise RuntimeError(f"this worker differs in one of {needed}; install the same and restart it")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as own, threadpool_limits(1):
        folder = sign.parent if sign.exists() else Path(own)
        yield replace(job, splits=splits, entry=folder / job.entry.name)


def _keep(job: run.Job, future: Any, report: run.Report) -> None:
    try:
        result = future.result()
    except Exception as error:
        if type(error).__name__ == "KilledWorker":
            raise InputError(
                f"{job.method.title}: ended every worker it was given to (out of memory?); try a smaller --batch."
            ) from None
        raise
    if isinstance(result, str):
        raise InputError(result)
    job.entry.parent.mkdir(parents=True, exist_ok=True)
    cache.write(job.entry, result)
    report(job.name, "done", 1, 1)


@contextmanager
def connected(address: str, processes: int) -> Iterator[Any]:
    """A connection to the scheduler, which for "local" is started here with workers of one thread each."""
    if address == LOCAL:
        options = {"n_workers": processes, "threads_per_worker": 1, "dashboard_address": ":0"}
        with LocalCluster(**options) as own, Client(own) as client:
            yield client
        return
    try:
        asyncio.run(_answered(address))
        client = Client(address, timeout=PATIENCE)
    except (OSError, ValueError, TypeError, MemoryError) as error:  # memory: other servers' answers read as lengths
        why = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise InputError(
            f"no scheduler at {address}: {why}; start one with `dask scheduler` and give the address it prints"
        ) from None
    with client:
        yield client


async def _answered(address: str) -> None:
    """TimeoutError where what listens there says nothing; a client would wait for it for ever."""
    how = Security().get_connection_args("client")  # as a client's, from the configuration of dask
    comm = await asyncio.wait_for(connect(address, timeout=PATIENCE, **how), PATIENCE)
    await comm.close()
