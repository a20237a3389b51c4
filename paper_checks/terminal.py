"""What a run says: progress on stderr (a bar, or plain lines without a terminal), verdicts on stdout."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from paper_checks import own
from paper_checks.finding import Verdict
from paper_checks.judge import Outcome
from paper_checks.plan import Plan, Settings
from paper_checks.runner import Event, run
from paper_checks.words import SIGNS, in_words, quoted

COLOURS = {Verdict.HOLDS: "green", Verdict.FAILS: "red", Verdict.INCONCLUSIVE: "yellow"}


def wide_console(*, stderr: bool = False) -> Console:
    """A console that does not fold lines at 80 columns where its output is a file."""
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=160)


class _Display(Protocol):
    def __call__(self, event: Event) -> None: ...


def follow(plans: Sequence[Plan], settings: Settings) -> list[Outcome]:
    """Run the plans while telling how it goes; outcomes in the order of the plans."""
    console = wide_console(stderr=True)
    outcomes: dict[str, Outcome] = {}
    with _bar(console) if console.is_terminal else _lines(console) as show:
        for event in run(plans, settings):
            show(event)
            if event.outcome is not None:
                outcomes[event.outcome.name] = event.outcome
    return [outcomes[made.entry.name] for made in plans]


@contextmanager
def _lines(console: Console) -> Iterator[_Display]:
    def show(event: Event) -> None:
        console.print(Text(_line(event)), soft_wrap=True)

    yield show


@contextmanager
def _bar(console: Console) -> Iterator[_Display]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        bar = progress.add_task("tasks", total=None)

        def show(event: Event) -> None:
            progress.update(bar, total=event.total, completed=event.finished)
            if event.done is None or event.done.reason:
                progress.console.print(Text(_line(event)))

        yield show


def _line(event: Event) -> str:
    if event.outcome is not None:
        return f"{_signed(event.outcome.verdict)}: {event.outcome.name}"
    if event.done is None:
        return f"{event.total} tasks, {event.cached} of them in the cache"
    words = f"failed, {event.done.reason}" if event.done.reason else f"{event.done.seconds:.1f} s"
    return f"[{event.finished}/{event.total}] {event.done.job.task.label}: {words}"


def verdicts(outcomes: Sequence[Outcome], page: Path, learner: str | None = None) -> None:
    """Table of verdicts with the number that decides each, what was found of a user's learner, where to read on."""
    console = wide_console()
    table = Table("verdict", "claim", "decided by", box=None, pad_edge=False, header_style="bold")
    for outcome in outcomes:
        sign = Text(_signed(outcome.verdict), style=COLOURS[outcome.verdict], no_wrap=True)
        table.add_row(sign, Text(outcome.name, no_wrap=True), Text(_decided_by(outcome)))
    console.print(table)
    if learner is not None and (mine := _of_own(outcomes, learner)).row_count:
        console.print(mine)
    console.print(Text(f"report: {page}"), soft_wrap=True)


def _of_own(outcomes: Sequence[Outcome], learner: str) -> Table:
    table = Table(own.short(learner), "claim", "finding", box=None, pad_edge=False, header_style="bold")
    for outcome in outcomes:
        for finding in (each for each in outcome.findings if each.own):
            sign = Text(_signed(finding.verdict), style=COLOURS[finding.verdict], no_wrap=True)
            table.add_row(sign, Text(outcome.name, no_wrap=True), Text(in_words(finding)))
    return table


def _signed(verdict: Verdict) -> str:
    return f"{SIGNS[verdict]} {verdict}"


def _decided_by(outcome: Outcome) -> str:
    if outcome.reasons:
        more = f" (and {len(outcome.reasons) - 1} more)" if len(outcome.reasons) > 1 else ""
        return outcome.reasons[0] + more
    return in_words(quoted(outcome.findings))
