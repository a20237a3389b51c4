"""Training losses for TensorBoard: `tensorboard --logdir OUT/NAME/tensorboard`."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open

from ssl_theory.benchmarks import cache
from ssl_theory.benchmarks.errors import InputError
from ssl_theory.benchmarks.progress import FINISHED
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
    """`report`, which also writes the losses of these jobs, a run a seed: those of each checkpoint while one trains,
    whichever process trains it, and what is left when it is done.

    In place of what an earlier command left in `folder`; diverged members simply end.
    """
    make, known = writer(), {job.name: job for job in jobs}
    shutil.rmtree(folder, ignore_errors=True)
    boards = {name: Board(make, folder / job.method.key) for name, job in known.items()}

    def told(name: str, stage: str, done: int, total: int) -> None:
        report(name, stage, done, total)
        if name in known and stage == "training":
            boards[name].add(so_far(known[name].beside("checkpoint")))
        elif name in known and stage in FINISHED:
            result = cache.read(known[name].entry)
            boards[name].add(result.history if result else NOTHING)
            boards[name].close()

    return told


NOTHING = pd.DataFrame({"step": [], "seed": [], "loss": []})


def so_far(checkpoint: Path) -> pd.DataFrame:
    """The losses (step, seed, loss) that a checkpoint of the training loop holds; none before the first one."""
    try:
        with safe_open(str(checkpoint), framework="np") as file:
            steps, losses = file.get_tensor("history.step"), file.get_tensor("history.loss")
    except (OSError, SafetensorError):
        return NOTHING
    seeds = np.tile(np.arange(losses.shape[1]), len(steps))
    return pd.DataFrame({"step": steps.repeat(losses.shape[1]), "seed": seeds, "loss": losses.ravel()})


class Board:
    """The losses of one method, a writer a seed; each step is written once."""

    def __init__(self, make: Any, folder: Path) -> None:
        self.make, self.folder = make, folder
        self.writers, self.last = dict[int, Any](), 0

    def add(self, history: pd.DataFrame) -> None:
        new = history[history["step"] > self.last]
        if new.empty:
            return
        self.last = int(new["step"].max())
        for seed, losses in new.dropna().groupby("seed"):
            board = self._of(int(str(seed)))
            for step, loss in zip(losses["step"], losses["loss"], strict=True):
                board.add_scalar("training loss", float(loss), int(step))
            board.flush()

    def _of(self, seed: int) -> Any:
        if seed not in self.writers:
            self.writers[seed] = self.make(str(self.folder / f"seed-{seed}"))
        return self.writers[seed]

    def close(self) -> None:
        for open_ in self.writers.values():
            open_.close()
        self.writers.clear()
