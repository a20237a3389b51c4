"""What a run says while it goes on: bars on a terminal, one line a stage elsewhere. All of it on stderr."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ssl_theory.benchmarks.methods import Method
from ssl_theory.benchmarks.run import REFUSED, Report


@contextmanager
def shown(methods: Sequence[Method]) -> Iterator[Report]:
    """A function to report (method, stage, steps done, steps in all) to."""
    console = Console(stderr=True)
    titles = {method.key: method.title for method in methods}
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
        tasks = {key: progress.add_task(title, total=1, stage="waiting", start=False) for key, title in titles.items()}
        yield _Bars(progress, tasks, titles)


class _Lines:
    """Prints a line whenever a method enters a new stage."""

    def __init__(self, console: Console, titles: dict[str, str]) -> None:
        self.console, self.titles, self.last = console, titles, dict[str, str]()

    def __call__(self, method: str, stage: str, done: int, total: int) -> None:
        if self.last.get(method) != stage:
            self.last[method] = stage
            _say(self.console, f"{self.titles[method]}: {stage}")


def _say(console: Console, line: str) -> None:
    """As it is: neither coloured, nor read as markup, nor broken."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


class _Bars:
    def __init__(self, progress: Progress, tasks: dict[str, TaskID], titles: dict[str, str]) -> None:
        self.progress, self.tasks, self.titles = progress, tasks, titles

    def __call__(self, method: str, stage: str, done: int, total: int) -> None:
        if stage.startswith(REFUSED):  # above the bars, to stay there
            _say(self.progress.console, f"{self.titles[method]}: {stage}")
            return
        task = self.tasks[method]
        finished = stage in ("done", "cached")
        text = f"{stage} {done}/{total}" if stage == "training" else stage
        if not finished:
            self.progress.start_task(task)
        self.progress.update(task, total=total, completed=done, stage=text)
        if finished:
            self.progress.stop_task(task)
