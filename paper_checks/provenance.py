"""Where a result comes from: commit, versions, device, machine, time, and the command that makes it again."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from paper_checks.cache import versions
from paper_checks.plan import Plan, Settings

PACKAGES = ("ssl-theory", "torch", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib")


def provenance(settings: Settings, made: Plan, started: datetime, **counts: Any) -> dict[str, Any]:
    """Plain JSON to keep with a claim's findings; `counts`: what was computed and how long that took.

    The benchmark's results are named where the claim's config has them, which of a run's claims one at most does, and
    seeds where `--seeds` makes another number of them than the profile.
    """
    return {
        "profile": settings.profile,
        "seeds": made.other_seeds(settings),
        "device": settings.device,
        "learner": settings.learner,
        "world": settings.world,
        "changes": dict(settings.changes),
        "bench": list(settings.bench) if "bench" in made.config else [],
        "commit": commit(),
        "versions": {"python": platform.python_version(), **versions(PACKAGES)},
        "machine": machine(settings.device),
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **counts,
    }


@cache
def commit() -> str:
    """Commit of the checkout that this package runs from, "+" where files differ from it, "" outside of git."""
    folder = Path(__file__).parent
    try:
        head = _git(folder, "rev-parse", "HEAD")
        tracked = _git(folder, "ls-files", "--", Path(__file__).name)
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{head}{'+' if changed else ''}" if tracked else ""


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


@cache
def machine(device: str) -> str:
    """Kind of machine, no name: system, processor, cores, and the accelerator where one was used."""
    words = f"{platform.system()} {platform.machine()}, {_processor()}, {os.cpu_count()} cores"
    if device.startswith("cuda"):
        import torch

        words += f", {torch.cuda.get_device_name(device)}"
    return words


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or "unknown processor"
