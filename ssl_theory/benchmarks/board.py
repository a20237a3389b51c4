"""Training losses for TensorBoard: `tensorboard --logdir OUT/NAME/tensorboard`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ssl_theory.benchmarks.cache import Result
from ssl_theory.benchmarks.errors import InputError


def writer() -> Any:
    """The class that writes event files, where TensorBoard is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError(
            "--tensorboard needs the package tensorboard, found none: pip install 'ssl-theory[tensorboard]'."
        ) from None
    return SummaryWriter


def write(folder: Path, results: dict[str, Result]) -> None:
    """A run a method and seed, in place of what an earlier command left; diverged members simply end."""
    make = writer()
    shutil.rmtree(folder, ignore_errors=True)
    for method, result in results.items():
        for seed, losses in result.history.dropna().groupby("seed"):
            with make(str(folder / method / f"seed-{seed}")) as board:
                for step, loss in zip(losses["step"], losses["loss"], strict=True):
                    board.add_scalar("training loss", float(loss), int(step))
