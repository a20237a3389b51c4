"""What computed a result, and for how long: kept with the result, so that a command which finds it there tells of the
one that made it and not of itself."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Effort:
    """Seconds by the clock, and on what; of work that a killed run had begun, what was left of it."""

    seconds: float = 0.0
    processor: str = ""

    @classmethod
    def since(cls, began: float, device: str) -> Effort:
        """What this process did since `began` (of `time.monotonic`)."""
        return cls(time.monotonic() - began, processor(device))


def together(efforts: Iterable[Effort]) -> Effort:
    """Seconds added up, also those of processes side by side; every processor once."""
    every = list(efforts)
    names = dict.fromkeys(one.processor for one in every if one.processor)
    return Effort(sum((one.seconds for one in every), 0.0), "; ".join(names))


def processor(device: str) -> str:
    """What computes here: the processor with its cores, and the accelerator where one is used."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    words = f"{named[0] if named else platform.processor() or 'unknown'}, {os.cpu_count()} cores"
    if device.startswith("cuda"):
        import torch

        words += f", {torch.cuda.get_device_name(device)}"
    return words
