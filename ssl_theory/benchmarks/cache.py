"""Results kept on disk, each under a key that names all it depends on, so that a second run computes nothing.

The key hashes the settings, the images, torch's version, the device's kind and the source of every module
that could change a number; how tables and figures look is left out. An entry is a folder that appears in one
rename: a killed run leaves no half of one. What is being written has a name of its own, `.NAME.PROCESS.partial`; it is
removed where writing fails, and by the next run (`sweep`) where a process was killed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock, Timeout

import ssl_theory
from ssl_theory.benchmarks.errors import InputError

# Of this room: no number comes from them.
LOOKS = {
    "__main__.py",
    "board.py",
    "cluster.py",
    "compare.py",
    "download.py",
    "draw.py",
    "grid.py",
    "latex.py",
    "processes.py",
    "progress.py",
    "provenance.py",
    "ranks.py",
    "report.py",
    "table.py",
}


@dataclass(frozen=True)
class Result:
    """What one method came to: tidy `rows`, the training `history`, and what is drawn, by name: images `(m, C, H, W)`
    that it redrew ("decoded" by its own decoder, "decoded-LAYER" by one trained afterwards), "samples" of its prior,
    and the "confusion-LAYER" of classes and clusters."""

    rows: pd.DataFrame
    history: pd.DataFrame
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


def key(facts: dict[str, object]) -> str:
    """A hash of the facts (anything JSON or str can tell), of the source, and of what runs it."""
    whole = facts | {"runtime": runtime()}
    return hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()[:20]


def runtime() -> str:
    """What computes: the source of this package, and torch's version."""
    return f"{source()} {torch.__version__}"


@cache
def source() -> str:
    """A hash of this package's modules, those aside that only draw or print."""
    root = Path(ssl_theory.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(_files(root)):
        digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _files(root: Path) -> Iterator[Path]:
    here = Path(__file__).parent
    return (f for f in root.rglob("*.py") if not (f.parent == here and f.name in LOOKS))


def read(entry: Path) -> Result | None:
    """The result at `entry`, None where there is none or where the disk has damaged it."""
    try:
        with open(entry / "arrays.npz", "rb") as stored, np.load(stored) as file:
            arrays = dict(file)
        return Result(pd.read_parquet(entry / "rows.parquet"), pd.read_parquet(entry / "history.parquet"), arrays)
    except (OSError, ValueError, zipfile.BadZipFile):
        return None


def write(entry: Path, result: Result) -> None:
    """Write beside `entry`, then rename: whole or not at all."""
    partial = _beside(entry)
    try:
        partial.mkdir(parents=True, exist_ok=True)
        result.rows.to_parquet(partial / "rows.parquet")
        result.history.to_parquet(partial / "history.parquet")
        np.savez(partial / "arrays.npz", **result.arrays)  # type: ignore[arg-type]
        shutil.rmtree(entry, ignore_errors=True)
        partial.rename(entry)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write instead of `path`, which it becomes in one rename at the end: whole or not at all."""
    partial = _beside(path)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """Write a text file in one rename."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def alone(folder: Path, *below: str) -> Iterator[None]:
    """Keep other commands from writing to the folder as long as this one does, and sweep it and those below it first.

    The lock is the system's: it ends with the process that holds it, however that ends."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"another ssl-bench is writing to {folder}: wait for its end or give another --out.") from None
    except PermissionError as error:
        raise InputError(f"--out: cannot write to {folder} ({error.strerror}); name another folder.") from error
    try:
        for place in (folder, *(folder / name for name in below)):
            sweep(place)
        yield
    finally:
        lock.release()


def sweep(folder: Path, of: str = "") -> None:
    """Remove what killed processes were writing in the folder, all of it or that of one name."""
    for path in folder.glob(f".{of or '*'}.*.partial"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.partial")
