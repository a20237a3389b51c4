"""What a run says while it goes on: bars on a terminal, one line a stage elsewhere. All of it on stderr."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ssl_theory.benchmarks.content_map import DONE, LEARNERS, Part, Told
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


@contextmanager
def mapped(parts: Sequence[Part]) -> Iterator[Told]:
    """A function to report how far the parts of a map are to."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _PartLines(console, parts)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[stage]}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        yield _PartBar(progress, parts)


class _PartLines:
    """Prints a line at first, whenever a length of training is reached, and whenever a part is done."""

    def __init__(self, console: Console, parts: Sequence[Part]) -> None:
        self.console, self.lengths, self.done = console, parts[0].run.lengths, 0
        self.places = {part.name: place for place, part in enumerate(parts, 1)}
        _say(console, f"0 of {len(parts)} parts")

    def __call__(self, name: str, learner: str, steps: int) -> None:
        if learner.startswith(REFUSED):
            _say(self.console, f"part {self.places[name]}: {learner}")
        elif learner == DONE:
            self.done += 1
            _say(self.console, f"{self.done} of {len(self.places)} parts")
        elif steps in self.lengths:
            _say(self.console, f"part {self.places[name]}: {learner}, {steps} of {self.lengths[-1]} steps")


class _PartBar:
    """One bar for the steps of all parts."""

    def __init__(self, progress: Progress, parts: Sequence[Part]) -> None:
        self.progress, self.longest, self.parts, self.done = progress, parts[0].run.lengths[-1], len(parts), 0
        self.steps: dict[tuple[str, str], int] = {}
        whole = self.longest * len(LEARNERS) * self.parts
        self.task = progress.add_task(self._title(), total=whole, stage="")

    def __call__(self, name: str, learner: str, steps: int) -> None:
        if learner.startswith(REFUSED):  # above the bar, to stay there
            _say(self.progress.console, learner)
            return
        if learner == DONE:
            self.done += 1
            self.steps |= {(name, kind.__name__): self.longest for kind in LEARNERS}
            stage = ""
        else:
            self.steps[name, learner] = steps
            stage = f"{learner} {steps}/{self.longest}"
        done = sum(self.steps.values())
        self.progress.update(self.task, completed=done, stage=stage, description=self._title())

    def _title(self) -> str:
        return f"{self.done} of {self.parts} parts"
