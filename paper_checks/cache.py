"""Cache of task tables: named by content, written atomically, and checked before it is trusted.

One entry is `<key>.parquet` and, written after it, `<key>.json` with the table's checksum and its
provenance. An entry without its JSON, or whose bytes do not have the checksum, is as good as absent: the
task is computed again.
"""

import hashlib
import io
import json
import os
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow import BufferReader
from pyarrow.parquet import ParquetFile

from paper_checks.claim import Task
from paper_checks.source import fingerprint

NUMERICAL = ("torch", "numpy", "scipy", "scikit-learn")


def cache_key(task: Task, device: str, dtype: str, source: str | None = None) -> str:
    """sha256 of function, arguments, source reached, versions of numerical packages, device type, dtype.

    `source`: the function's fingerprint where the caller has it already.
    """
    place = device.partition(":")[0] if task.takes_device else "cpu"
    parts = [task.identity, source or fingerprint(task.function), versions(NUMERICAL), place, dtype]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Installed version of each package, without importing it."""
    return {package: _version(package) for package in packages}


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


@dataclass(frozen=True)
class Cache:
    """Tables on disk in `folder`, by key."""

    folder: Path

    def load(self, key: str) -> pd.DataFrame | None:
        """The table, or None where there is no entry or a damaged one."""
        data = self._intact(key)
        try:
            return None if data is None else _table(data)
        except (OSError, ValueError):
            return None

    def has(self, key: str) -> bool:
        """Whether there is an entry, and undamaged; sooner told than loaded."""
        return self._intact(key) is not None

    def _intact(self, key: str) -> bytes | None:
        try:
            about = json.loads(self._path(key, "json").read_bytes())
            data = self._path(key, "parquet").read_bytes()
            return data if about["key"] == key and about["sha256"] == hashlib.sha256(data).hexdigest() else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, key: str, table: pd.DataFrame, about: dict[str, Any]) -> None:
        """Write table, then its record; a kill at any moment leaves either the whole entry or none."""
        buffer = io.BytesIO()
        table.reset_index(drop=True).to_parquet(buffer)
        data = buffer.getvalue()
        record = {**about, "key": key, "sha256": hashlib.sha256(data).hexdigest(), "rows": len(table)}
        write_atomically(self._path(key, "parquet"), data)
        write_atomically(self._path(key, "json"), json.dumps(record, indent=1).encode())

    def about(self, key: str) -> dict[str, Any]:
        """Provenance of an entry that `load` found."""
        record: dict[str, Any] = json.loads(self._path(key, "json").read_bytes())
        return record

    def forget(self, key: str) -> None:
        """Remove an entry, its record first."""
        for ending in ("json", "parquet"):
            self._path(key, ending).unlink(missing_ok=True)

    def _path(self, key: str, ending: str) -> Path:
        return self.folder / key[:2] / f"{key}.{ending}"


def _table(data: bytes) -> pd.DataFrame:
    """What `pd.read_parquet` makes of it in twice the time: it asks for a file system, and for threads."""
    table: pd.DataFrame = ParquetFile(BufferReader(data)).read(use_threads=False).to_pandas(use_threads=False)
    return table


def write_atomically(path: Path, data: bytes) -> None:
    """Write to a temporary file beside `path`, flush it to disk, and move it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _beside(path, data)
    try:
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_together(folder: Path, files: Mapping[str, bytes], others: Iterable[str]) -> None:
    """Write all of `files` or, where there is no room for all, none; remove the `others` that are not among them.

    The last file speaks for the rest: it is gone while they are replaced, so that a kill leaves no mixture behind it.
    Files that are there already stay: flushing hundreds of them to disk would cost a rerun seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    last, parts = list(files)[-1], dict[str, Path]()
    try:
        for name, data in files.items():
            if name == last or not _holds(folder / name, data):
                parts[name] = _beside(folder / name, data)
        (folder / last).unlink(missing_ok=True)
        for name in set(others) - set(files):
            (folder / name).unlink(missing_ok=True)
        for name, part in parts.items():
            os.replace(part, folder / name)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except OSError:
        return False


def _beside(path: Path, data: bytes) -> Path:
    """A temporary file beside `path` with `data`, flushed to disk; none where it cannot be written whole."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return part
