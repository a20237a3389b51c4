"""Does a lower precision of training change a verdict? Claims judged twice: in 32 bits, and with networks in bf16.

    python -m speed.precision [--claim style-collapse --claim content-clustering] [--profile quick] [--device cpu]
                              [--jobs 2] [--folder DIR] [--output speed/results/precision.md]

Only trainings by `paper_checks.trained.kept` are repeated, from the same seeds, initial parameters and data; the data,
the losses and the probes stay in 32 bits. Trainings are kept in `--folder`, so that a stopped run goes on.
"""

from __future__ import annotations

import platform
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer

from paper_checks.cache import Cache, cache_key
from paper_checks.claim import Claim, Finding, Task
from paper_checks.judge import judge
from paper_checks.registry import chosen
from paper_checks.trained import kept
from paper_checks.workers import Job, compute

PRECISIONS = {"32 bits": None, "bf16": "bf16-mixed"}
CLAIMS = ["style-collapse", "content-clustering"]
RESULTS = Path(__file__).parent / "results" / "precision.md"


def at(task: Task, precision: str | None) -> Task:
    """The task trained in that precision, where it trains."""
    trains = task.function is kept and task.kwargs["steps"] > 0
    return replace(task, kwargs={**task.kwargs, "precision": precision}) if trains and precision else task


def table(tasks: list[Task], cache: Cache, device: str, jobs: int) -> pd.DataFrame:
    """The tasks' tables, computed where they are not kept yet."""
    named = [Job(cache_key(task, device, str(torch.get_default_dtype())), task) for task in tasks]
    missing = [job for job in named if cache.load(job.key) is None]
    for number, done in enumerate(compute(missing, workers=jobs, device=device, cache=cache), 1):
        print(f"[{number}/{len(missing)}] {done.job.task.label}: {done.reason or f'{done.seconds:.0f} s'}", flush=True)
    return pd.concat([job.task.labelled(pd.DataFrame(cache.load(job.key))) for job in named], ignore_index=True)


def judged(
    claim: Claim, precision: str | None, profile: str, cache: Cache, device: str, jobs: int
) -> tuple[str, list[Finding]]:
    """The claim's verdict, its control considered, and its findings."""
    config = claim.settings(profile, None, None)
    tables = [
        table([at(task, precision) for task in claim.tasks(each)], cache, device, jobs)
        for each in (config, *([claim.control(config)] if claim.control else []))
    ]
    found = claim.findings(tables[0], config)
    broken = claim.findings(tables[1], claim.control(config)) if claim.control else None
    verdict, *_ = judge(found, broken, [])
    return str(verdict), list(found)


def interval(found: Finding) -> str:
    return f"{found.estimate:.3f} [{found.low:.3f}, {found.high:.3f}] {found.verdict}"


def rows(claim: Claim, both: dict[str, tuple[str, list[Finding]]]) -> list[str]:
    (verdict, ours), (lower, theirs) = both.values()
    lines = [f"| **{claim.name}** | | **{verdict}** | **{lower}** | |"]
    for a, b in zip(ours, theirs, strict=True):
        changed = "" if a.verdict == b.verdict else "changed"
        lines.append(f"| {a.name} | {a.side} {a.bound:g} | {interval(a)} | {interval(b)} | {changed} |")
    return lines


def main(
    claim: Annotated[list[str], typer.Option(help="Claims whose trainings are `kept`.")] = CLAIMS,
    profile: Annotated[str, typer.Option(help="smoke, quick or full.")] = "quick",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    jobs: Annotated[int, typer.Option(help="Trainings at a time.")] = 2,
    folder: Annotated[Path, typer.Option(help="Where trainings are kept.")] = Path("results/precision"),
    output: Annotated[Path, typer.Option(help="The table.")] = RESULTS,
) -> None:
    """Judge claims in 32 bits and in bf16, and write the findings beside each other."""
    place = platform.processor() if device == "cpu" else torch.cuda.get_device_name()
    about = f"{date.today()}; {device} ({place or platform.machine()}), torch {torch.__version__}, profile {profile}"
    lines = [
        "# Verdicts in 32 bits and with networks in bf16",
        f"`python -m speed.precision --profile {profile} --device {device}`; {about}. Same seeds, initial parameters "
        "and data; losses and probes in 32 bits. Intervals are each finding's own.",
        "| finding | bound | " + " | ".join(PRECISIONS) + " | verdict |\n|---|---|---|---|---|",
    ]
    for entry in chosen(claim):
        loaded = entry.load()
        both = {
            name: judged(loaded, precision, profile, Cache(folder), device, jobs)
            for name, precision in PRECISIONS.items()
        }
        lines[-1] += "\n" + "\n".join(rows(loaded, both))
    text = "\n\n".join(lines) + "\n"
    print(text)
    output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
