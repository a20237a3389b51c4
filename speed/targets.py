"""Time and peak memory of the README's commands, installation excluded, against what is aimed at on 2 CPU cores.

    python speed/targets.py                      checks (and twice more, for new colours), bench and test
    python speed/targets.py full                 the evidence: `make checks ARGS="--profile full"`, up to an hour
    python speed/targets.py checks --no-write    one of them, printed only

Rows of earlier runs stay in speed/results/targets.md, each with its own date.

Memory is the proportional set size (shared pages counted once) of the command and everything it starts, sampled at most
ten times a second, and as seldom as keeps the sampling to a fiftieth of one core: shorter spikes are missed. Results
and caches go to a folder that is empty at first, so nothing is reused.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import psutil
import typer

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "speed/results/targets.md"
HEAD = """# Time and memory of the README's commands

Command: `python speed/targets.py TARGET`. Installation excluded, empty caches. The same command again computes nothing,
and draws what a changed colour would: the figure of one claim, or of all where the colour is of all.

| command | minutes | aim | peak GiB | aim | exit code | kept | when and where |
|---|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Target:
    """A make target with its arguments, what is aimed at, and what it is called beside `make`."""

    make: str
    arguments: str
    minutes: float
    gibibytes: float
    words: str = ""


TARGETS = {
    "checks": Target("checks", "--out {folder}", 8, 4),
    "one colour": Target("checks", "--out {folder}", 0.17, 4, ", again, another colour in one claim"),
    "all colours": Target("checks", "--out {folder}", 0.17, 4, ", again, another colour in all claims"),
    "full": Target("checks", "--profile full --out {folder}", 60, 4, ", full profile"),
    "bench": Target("bench", "--out {folder}", 5, 2),
    "test": Target("test", "-p no:cacheprovider", 8, 4),
}
USUAL = ("checks", "bench", "test")
COLOURS = {"one colour": "style-collapse/figure.png", "all colours": "*/figure.png"}  # figures that are not there


@dataclass(frozen=True)
class Measured:
    name: str
    seconds: float
    gibibytes: float
    exit_code: int

    @property
    def row(self) -> str:
        target = TARGETS[self.name]
        kept = self.seconds <= 60 * target.minutes and self.gibibytes <= target.gibibytes
        command = f"`make {target.make}`{target.words}"
        return (
            f"| {command} | {self.seconds / 60:.1f} | {target.minutes:g} | {self.gibibytes:.2f} "
            f"| {target.gibibytes:g} | {self.exit_code} | {'yes' if kept else 'no'} | {where()} |"
        )


def measure(names: Sequence[str], keep: Path | None = None) -> Iterator[Measured]:
    """Run `make TARGET` for each, with an output folder that is empty at first; `checks` with new colours too."""
    for name in names:
        with nullcontext(keep / name) if keep else tempfile.TemporaryDirectory() as folder:
            for run in (name, *COLOURS) if name == "checks" else (name,):
                yield _measured(run, Path(folder))


def _measured(name: str, folder: Path) -> Measured:
    target = TARGETS[name]
    for figure in folder.glob(COLOURS[name]) if name in COLOURS else ():
        figure.unlink()
    command = ["make", target.make, f"ARGS={target.arguments.format(folder=folder)}"]
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)
    peak = [0.0]
    watcher = threading.Thread(target=_watch, args=(process, peak))
    watcher.start()
    code = process.wait()
    watcher.join()
    return Measured(name, time.monotonic() - started, peak[0] / 2**30, code)


def _watch(process: subprocess.Popen, peak: list[float]) -> None:
    while process.poll() is None:
        began = time.thread_time()
        peak[0] = max(peak[0], _tree_memory(process.pid))
        time.sleep(max(0.1, 50 * (time.thread_time() - began)))


def _tree_memory(pid: int) -> float:
    """Proportional set size of a process and its descendants, in bytes."""
    total = 0.0
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return total
    for member in family:
        try:
            total += member.memory_full_info().pss
        except psutil.Error:  # gone in between
            continue
    return total


def where() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "scikit-learn"))
    return (
        f"{date.today()}, {_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}; "
        f"load at the end {os.getloadavg()[0]:.1f}"
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def written(rows: Sequence[Measured], earlier: str) -> str:
    """The table with these rows in the place of earlier ones of the same command."""
    new = {row.row.split("|")[1]: row.row for row in rows}
    old = {line.split("|")[1]: line for line in earlier.splitlines() if line.startswith("| `make ")}
    return HEAD + "\n".join((old | new).values()) + "\n"


def main(
    targets: Annotated[
        list[str] | None, typer.Argument(help="checks, full, bench, test; without full if none.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Leave the results in KEEP/TARGET, a folder that is not there yet.")
    ] = None,
    write: Annotated[bool, typer.Option(help="Write the table to speed/results/targets.md.")] = True,
) -> None:
    """Measure the README's commands."""
    chosen = targets or list(USUAL)
    if unknown := [name for name in chosen if name not in TARGETS or name in COLOURS]:
        print(f"expected targets among checks, full, bench, test, found {', '.join(unknown)}", file=sys.stderr)
        raise typer.Exit(2)
    if keep and (there := [name for name in chosen if (keep / name).exists()]):
        print(f"{keep} holds {', '.join(there)} already, which would be reused; name another folder", file=sys.stderr)
        raise typer.Exit(2)
    rows = []
    for row in measure(chosen, keep):
        print(row.row)
        rows.append(row)
        if write:
            TABLE.write_text(written(rows, TABLE.read_text() if TABLE.exists() else ""))


if __name__ == "__main__":
    typer.run(main)
