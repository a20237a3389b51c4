"""Time and peak memory of the README's commands, installation excluded, against what was promised for 2 CPU cores.

    python speed/targets.py                      all three, written to speed/results/targets.md
    python speed/targets.py checks --no-write    one of them, printed only

Memory is the proportional set size (shared pages counted once) of the command and everything it starts, sampled ten
times a second: a spike shorter than that is missed. Results and caches go to a temporary folder, so nothing is reused.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import psutil
import typer

ROOT = Path(__file__).parents[1]
PROMISED_MINUTES = {"checks": 5.0, "bench": 5.0, "test": 5.0}
PROMISED_GIBIBYTES = 2.0


@dataclass(frozen=True)
class Measured:
    target: str
    seconds: float
    gibibytes: float
    exit_code: int

    @property
    def row(self) -> str:
        kept = self.seconds <= 60 * PROMISED_MINUTES[self.target] and self.gibibytes <= PROMISED_GIBIBYTES
        return (
            f"| `make {self.target}` | {self.seconds / 60:.1f} | {PROMISED_MINUTES[self.target]:.0f} "
            f"| {self.gibibytes:.2f} | {PROMISED_GIBIBYTES:.0f} | {self.exit_code} | {'yes' if kept else 'no'} |"
        )


def arguments(target: str, folder: str) -> str:
    return {"checks": f"--out {folder}", "bench": f"--out {folder}", "test": "-p no:cacheprovider"}[target]


def measure(target: str) -> Measured:
    """Run `make TARGET` with an empty output folder."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["make", target, f"ARGS={arguments(target, folder)}"]
        started = time.monotonic()
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)
        peak = [0.0]
        watcher = threading.Thread(target=_watch, args=(process, peak))
        watcher.start()
        code = process.wait()
        watcher.join()
        return Measured(target, time.monotonic() - started, peak[0] / 2**30, code)


def _watch(process: subprocess.Popen, peak: list[float]) -> None:
    while process.poll() is None:
        peak[0] = max(peak[0], _tree_memory(process.pid))
        time.sleep(0.1)


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


def report(rows: list[Measured]) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "scikit-learn"))
    head = (
        f"# Time and memory of the README's commands\n\n{date.today()}, {_processor()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, {packages}; load before the start {os.getloadavg()[0]:.1f}. "
        "Command: `python speed/targets.py`. Installation excluded, empty caches.\n\n"
        "| command | minutes | promised | peak GiB | promised | exit code | kept |\n|---|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(row.row for row in rows) + "\n"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main(
    targets: Annotated[list[str] | None, typer.Argument(help="checks, bench, test; all when none is named.")] = None,
    write: Annotated[bool, typer.Option(help="Write the table to speed/results/targets.md.")] = True,
) -> None:
    """Measure the README's commands."""
    chosen = targets or list(PROMISED_MINUTES)
    if unknown := [name for name in chosen if name not in PROMISED_MINUTES]:
        print(f"expected targets among {', '.join(PROMISED_MINUTES)}, found {', '.join(unknown)}", file=sys.stderr)
        raise typer.Exit(2)
    text = report([measure(name) for name in chosen])
    print(text)
    if write:
        (ROOT / "speed/results/targets.md").write_text(text)


if __name__ == "__main__":
    typer.run(main)
