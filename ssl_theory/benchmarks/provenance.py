"""Where the numbers of a run came from: everything needed to make them again."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from ssl_theory.benchmarks import generation
from ssl_theory.benchmarks.cache import COMPUTING, source
from ssl_theory.benchmarks.data import Splits
from ssl_theory.benchmarks.machine import Effort
from ssl_theory.benchmarks.run import Job

PACKAGES = ("torch", *COMPUTING, "pandas", "ssl-theory")


def provenance(jobs: Sequence[Job], effort: Effort, command: str) -> dict[str, object]:
    """Of a benchmark, plain JSON; `command` as it was given, `effort` that its results took when they were computed."""
    settings = jobs[0].settings
    return {
        **of_images(jobs[0].splits, jobs[0].augmentation),
        "settings": asdict(settings),
        "seeds": list(range(settings.seeds)),
        "methods": {job.method.key: repr(job.method.learner) for job in jobs},
        "image features": generation.extractor(),
        **made_by(effort, command),
    }


def of_images(splits: Splits, augmentation: object) -> dict[str, object]:
    """Which images, and how views are made of them."""
    return {
        "data": {
            "name": splits.name,
            "shape": splits.shape,
            "classes": splits.classes,
            "images": {part: len(getattr(splits, part)) for part in ("train", "validation", "test")},
            "sha256": splits.fingerprint(),
        },
        "augmentation": repr(augmentation),
    }


def made_by(effort: Effort, command: str) -> dict[str, object]:
    """The command, when it was given, what the results were computed on and for how long: by it or by one before it,
    with the same versions of the packages that compute."""
    return {
        "command": command,
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES if _installed(name)},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": effort.processor,
        "source": source(),
        "commit": commit(),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(effort.seconds, 1),
    }


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


@cache
def commit() -> str | None:
    """The commit of the source tree, "+" where tracked files differ from it; None for an installed package.

    As it was when this process first asked, which is before it computes: the tree may move on meanwhile.
    """
    try:
        if not _git("ls-files", "--", Path(__file__).name):
            return None
        return _git("rev-parse", "HEAD") + "+" * bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*words: str) -> str:
    whole = ["git", "-C", str(Path(__file__).parent), *words]
    return subprocess.run(whole, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
