"""Training losses for TensorBoard: `tensorboard --logdir OUT/NAME/tensorboard`."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssl_theory.benchmarks import cache
from ssl_theory.benchmarks.cache import Result
from ssl_theory.benchmarks.errors import InputError
from ssl_theory.benchmarks.run import Job, Report


def writer() -> Any:
    """The class that writes event files, where TensorBoard is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError(
            "--tensorboard needs the package tensorboard, found none: pip install 'ssl-theory[tensorboard]'."
        ) from None
    return SummaryWriter


def following(report: Report, jobs: Sequence[Job], folder: Path) -> Report:
    """`report`, which also writes a method's losses, a run a seed, as soon as the method is done.

    In place of what an earlier command left in `folder`; diverged members simply end.
    """
    make, entries = writer(), {job.method.key: job.entry for job in jobs}
    shutil.rmtree(folder, ignore_errors=True)

    def told(method: str, stage: str, done: int, total: int) -> None:
        report(method, stage, done, total)
        result = cache.read(entries[method]) if stage in ("done", "cached") else None
        if result is not None:
            write(make, folder / method, result)

    return told


def write(make: Any, folder: Path, result: Result) -> None:
    """The losses of one method."""
    for seed, losses in result.history.dropna().groupby("seed"):
        with make(str(folder / f"seed-{seed}")) as board:
            for step, loss in zip(losses["step"], losses["loss"], strict=True):
                board.add_scalar("training loss", float(loss), int(step))
