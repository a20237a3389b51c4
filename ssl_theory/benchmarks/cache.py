"""Results kept on disk, each under a key that names all it depends on, so that a second run computes nothing.

The key hashes the settings, the images, the device's kind, the versions of the packages that compute and the source of
every module that could change a number; how tables and figures look is left out. An entry is a folder that appears in
one rename: a killed run leaves no half of one. Its record holds the SHA-256 of every file, and what the result took; an
entry whose bytes have another one is as good as absent. What is being written has a name of its own,
`.NAME.PROCESS.partial`; it is removed where writing fails, and by the next run (`sweep`) where a process was killed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock, Timeout

import ssl_theory
from ssl_theory.benchmarks.errors import FULL, InputError
from ssl_theory.benchmarks.machine import Effort

COMPUTING = ("numpy", "scipy", "scikit-learn")  # the packages that numbers come from, besides torch
RECORD = "record.json"  # of an entry: the SHA-256 of its other files, seconds and processor
FILES = ("rows.parquet", "history.parquet", "arrays.npz")  # of a method's result

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
    "machine.py",
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
    and the "confusion-LAYER" of classes and clusters; and the `effort` it took."""

    rows: pd.DataFrame
    history: pd.DataFrame
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    effort: Effort = field(default_factory=Effort)


def key(facts: dict[str, object]) -> str:
    """A hash of the facts (anything JSON or str can tell), of the source, and of what runs it."""
    whole = facts | {"runtime": runtime()}
    return hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()[:20]


def runtime() -> str:
    """What computes: the source of this package, and the versions of the packages below it."""
    return " ".join([source(), f"torch {torch.__version__}", *(f"{name} {_version(name)}" for name in COMPUTING)])


@cache
def _version(package: str) -> str:
    return importlib.metadata.version(package)


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
    found = fetch(entry, FILES)
    if found is None:
        return None
    rows, history, arrays = (io.BytesIO(data) for data in found[0])
    try:
        with np.load(arrays) as file:
            return Result(pd.read_parquet(rows), pd.read_parquet(history), dict(file), found[1])
    except (OSError, EOFError, ValueError, zipfile.BadZipFile):
        return None


def write(entry: Path, result: Result) -> None:
    """Keep a result at `entry`, whole or not at all."""
    arrays = io.BytesIO()
    np.savez(arrays, **result.arrays)  # type: ignore[arg-type]
    data = (parquet(result.rows), parquet(result.history), arrays.getvalue())
    store(entry, dict(zip(FILES, data, strict=True)), result.effort)


def parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer)
    return buffer.getvalue()


def fetch(entry: Path, names: Iterable[str]) -> tuple[list[bytes], Effort] | None:
    """The files of these names at `entry`, and what they took; None where one is missing or not what was written."""
    try:
        record = json.loads((entry / RECORD).read_bytes())
        files = {name: (entry / name).read_bytes() for name in names}
        if any(record["sha256"][name] != _sum(data) for name, data in files.items()):
            return None
        return list(files.values()), Effort(float(record["seconds"]), str(record["processor"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def store(entry: Path, files: dict[str, bytes], effort: Effort) -> None:
    """Write files and their record beside `entry`, then rename: whole or not at all."""
    record = {"sha256": {name: _sum(data) for name, data in files.items()}, **asdict(effort)}
    partial = _beside(entry)
    try:
        partial.mkdir(parents=True, exist_ok=True)
        for name, data in (files | {RECORD: json.dumps(record, indent=1).encode()}).items():
            (partial / name).write_bytes(data)
            _flush(partial / name)
        shutil.rmtree(entry, ignore_errors=True)
        partial.rename(entry)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _flush(file: Path) -> None:
    """Have it on the disk before it gets its name: a machine that fails then leaves no empty file."""
    with file.open("r+b") as stream:
        os.fsync(stream.fileno())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write instead of `path`, which it becomes in one rename at the end: whole or not at all."""
    partial = _beside(path)
    try:
        yield partial
        _flush(partial)
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
    except OSError as error:
        if error.errno in FULL:
            raise
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
