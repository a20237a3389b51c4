"""From plans to outcomes: compute what the cache lacks, once, and judge each claim as soon as it can be."""

import gc
import multiprocessing as mp
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import torch

from paper_checks.judge import Outcome, judge_and_write
from paper_checks.plan import Plan, Settings, Trouble
from paper_checks.provenance import commit, machine
from paper_checks.workers import Done, compute, leave_with_parent

MOST_COPIES = 8  # each draws in some hundred megabytes of its own; more than these have little left to share
ENDED = "its process was ended by the system before it had answered (out of memory?)"


@dataclass(frozen=True)
class Event:
    """What happened last, a task ended or a claim judged, with the counts of tasks so far."""

    finished: int
    total: int
    cached: int
    done: Done | None = None
    outcome: Outcome | None = None


def run(plans: Sequence[Plan], settings: Settings) -> Iterator[Event]:
    """Compute every job that the cache lacks, once, and judge each claim as soon as its jobs are done."""
    commit()  # asked once and now, not by every copy, nor when the tree has moved on meanwhile
    machine(settings.device)
    cache, started = settings.cache, datetime.now(UTC)
    jobs = {job.key: job for made in plans for job in (*made.jobs, *made.control_jobs)}
    if settings.fresh:
        for key in jobs:
            cache.forget(key)
    missing = {key for key in jobs if not cache.has(key)}
    cached = len(jobs) - len(missing)
    open_plans = list(plans)
    counts: dict[str, Any] = {"total": len(jobs), "cached": cached}

    def judged(processes: int = 1) -> Iterator[Event]:
        ready = [made for made in open_plans if not made.keys & missing]
        open_plans[:] = [made for made in open_plans if made not in ready]
        for outcome in judge_all(ready, settings, started, processes):
            yield Event(finished=len(jobs) - len(missing), outcome=outcome, **counts)

    yield Event(finished=cached, **counts)
    yield from judged(settings.jobs if isinstance(settings.jobs, int) else settings.jobs.processes)
    todo = [jobs[key] for key in jobs if key in missing]
    for done in compute(todo, workers=settings.jobs, device=settings.device, cache=cache):
        if done.unwritten:
            raise OSError(f"{done.reason} (table of {done.job.task.label})")
        missing.discard(done.job.key)
        for made in open_plans:
            _note(made, done)
        yield Event(finished=len(jobs) - len(missing), done=done, **counts)
        yield from judged()


def judge_all(plans: Sequence[Plan], settings: Settings, started: datetime, processes: int) -> Iterator[Outcome]:
    """Outcomes, by copies of this process, which have imported everything, where several are asked for.

    Copies only of a process that has computed nothing yet, whose libraries have no threads that a copy would miss, and
    never beside a GPU, which a copy cannot use. A copy that the system ends takes the others with it: what they had not
    judged is then judged by one copy after the other, and the claim that ends its copy even so is inconclusive.
    """
    copies = min(processes, len(plans), MOST_COPIES)
    if copies < 2 or sys.platform != "linux" or settings.device.startswith("cuda"):
        yield from (judge_and_write(made, settings, started) for made in plans)
        return
    gc.freeze()  # what is there already is neither collected nor, by that, copied
    try:
        left = set(range(len(plans)))
        for place, outcome in _by_copies(plans, settings, started, copies):
            left.discard(place)
            yield outcome
        for made in (plans[place] for place in sorted(left)):
            alone = [outcome for _, outcome in _by_copies([made], settings, started, 1)]
            yield alone[0] if alone else _lost(made, settings, started)
    finally:
        gc.unfreeze()


def _by_copies(
    plans: Sequence[Plan], settings: Settings, started: datetime, copies: int
) -> Iterator[tuple[int, Outcome]]:
    """Outcomes with their places, in order; some are missing where a copy was ended by the system."""
    work = (plans, settings, started)
    with ProcessPoolExecutor(copies, mp.get_context("fork"), _remember, work) as pool:
        try:
            for place, each in enumerate(_submitted(pool, len(plans))):
                with suppress(BrokenProcessPool):
                    yield place, each.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, count: int) -> list[Future[Outcome]]:
    try:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # Python 3.12 on threads and forks
            return [pool.submit(_judge_remembered, place) for place in range(count)]
    except BrokenProcessPool:  # a copy died before all had been handed out
        return []


def _lost(made: Plan, settings: Settings, started: datetime) -> Outcome:
    """What is written of a claim that ended its copy: that it did; nothing of it is tried in this process."""
    made.troubles.append(Trouble("findings, figure and caption", ENDED))
    return judge_and_write(made, settings, started)


def _remember(*work: Any) -> None:
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent deals with it
    threading.Thread(target=leave_with_parent, daemon=True).start()
    gc.disable()
    torch.set_num_threads(1)  # others share the cores, and a copy has no threads that compute


def _judge_remembered(place: int) -> Outcome:
    plans, settings, started = _work
    outcome = judge_and_write(plans[place], settings, started)
    gc.collect()  # once a claim, as figures are made of cycles: left to itself it would be a tenth of all the work
    return outcome


_work: tuple[Any, ...] = ()


def _note(made: Plan, done: Done) -> None:
    if done.job.key not in made.keys:
        return
    made.computed += 1
    if done.reason:
        made.troubles.append(Trouble(done.job.task.label, done.reason, done.trace))
