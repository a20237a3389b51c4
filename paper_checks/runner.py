"""From plans to outcomes: compute what the cache lacks, once, and judge each claim as soon as it can be."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from paper_checks.judge import Outcome, judge_and_write
from paper_checks.plan import Plan, Settings, Trouble
from paper_checks.workers import Done, compute


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
    cache, started = settings.cache, datetime.now(UTC)
    jobs = {job.key: job for made in plans for job in (*made.jobs, *made.control_jobs)}
    if settings.fresh:
        for key in jobs:
            cache.forget(key)
    missing = {key for key in jobs if not cache.has(key)}
    cached = len(jobs) - len(missing)
    open_plans = list(plans)
    counts: dict[str, Any] = {"total": len(jobs), "cached": cached}

    def judged() -> Iterator[Event]:
        for made in [made for made in open_plans if not made.keys & missing]:
            open_plans.remove(made)
            outcome = judge_and_write(made, settings, started)
            yield Event(finished=len(jobs) - len(missing), outcome=outcome, **counts)

    yield Event(finished=cached, **counts)
    yield from judged()
    todo = [jobs[key] for key in jobs if key in missing]
    for done in compute(todo, workers=settings.jobs, device=settings.device, cache=cache):
        if done.unwritten:
            raise OSError(f"{done.reason} (table of {done.job.task.label})")
        missing.discard(done.job.key)
        for made in open_plans:
            _note(made, done)
        yield Event(finished=len(jobs) - len(missing), done=done, **counts)
        yield from judged()


def _note(made: Plan, done: Done) -> None:
    if done.job.key not in made.keys:
        return
    made.computed += 1
    if done.reason:
        made.troubles.append(Trouble(done.job.task.label, done.reason, done.trace))
