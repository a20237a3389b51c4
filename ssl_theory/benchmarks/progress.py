"""What a run says while it goes on: bars on a terminal, one line a stage elsewhere. All of it on stderr."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ssl_theory.benchmarks.run import REFUSED, Job, Report

FINISHED = ("done", "cached")  # the stages that a job ends with


@contextmanager
def shown(jobs: Sequence[Job]) -> Iterator[Report]:
    """A function to report (name of a job, stage, steps done, steps in all) to."""
    console = Console(stderr=True)
    several = len({job.splits.name for job in jobs}) > 1
    titles = {job.name: f"{job.splits.name}, {job.method.title}" if several else job.method.title for job in jobs}
    if not console.is_terminal:
        yield _Lines(console, titles)
        return
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        TextColumn("{task.fields[stage]:<20}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        tasks = {
            name: progress.add_task(title, total=1, stage="waiting", start=False) for name, title in titles.items()
        }
        yield _Bars(progress, tasks, titles)


class _Lines:
    """Prints a line whenever a job enters a new stage."""

    def __init__(self, console: Console, titles: dict[str, str]) -> None:
        self.console, self.titles, self.last = console, titles, dict[str, str]()

    def __call__(self, name: str, stage: str, done: int, total: int) -> None:
        if self.last.get(name) != stage:
            self.last[name] = stage
            _say(self.console, f"{self.titles[name]}: {stage}")


def _say(console: Console, line: str) -> None:
    """As it is: neither coloured, nor read as markup, nor broken."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


class _Bars:
    def __init__(self, progress: Progress, tasks: dict[str, TaskID], titles: dict[str, str]) -> None:
        self.progress, self.tasks, self.titles = progress, tasks, titles

    def __call__(self, name: str, stage: str, done: int, total: int) -> None:
        if stage.startswith(REFUSED):  # above the bars, to stay there
            _say(self.progress.console, f"{self.titles[name]}: {stage}")
            return
        task = self.tasks[name]
        finished = stage in FINISHED
        text = f"{stage} {done}/{total}" if stage == "training" else stage
        if not finished:
            self.progress.start_task(task)
        self.progress.update(task, total=total, completed=done, stage=text)
        if finished:
            self.progress.stop_task(task)
