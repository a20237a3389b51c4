"""Decoded images kept on disk: bytes in a memory-mapped file, decoded once and shared between runs.

An entry is named by what there is to read and by what was asked of it (columns, classes, recipe), so a changed folder
is decoded anew: of a folder the names, sizes and times of its files, of a data set of the hub its name and the
fingerprint that `datasets` gives the revision it loaded. It appears in one rename; every array, with its shape and
type, carries a SHA-256, and so does what is said of them: an entry that a disk has damaged is thrown away and decoded
again. Where nothing can be written, nothing is kept. What is being written has a name of its own,
`.NAME.MACHINE.PROCESS.partial`; what a killed process left goes before the next entry is written. Entries live under
`$XDG_CACHE_HOME/ssl-theory` (else `~/.cache/ssl-theory`) and are safe to delete.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from ssl_theory.benchmarks.data import Images
from ssl_theory.benchmarks.errors import InputError

FORMAT = 4
UNKNOWN = "unknown"  # a machine whose system does not tell
Parts = tuple[dict[str, Images], int, list[str]]  # with the number of classes, and the splits that are not read


def kept(facts: object, decode: Callable[[], Parts]) -> Parts:
    """What `decode` gives, from disk where it was decoded before; `facts` (anything JSON can tell) are all that it
    depends on."""
    entry = home() / hashlib.sha256(json.dumps([FORMAT, facts]).encode()).hexdigest()[:20]
    found = read(entry)
    if found is None:
        found = decode()
        with contextlib.suppress(OSError):  # no room or no right to write: decoded anew the next time
            write(entry, *found)
    return found


def home() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "ssl-theory" / "images"


def files(folder: Path) -> list[object]:
    """Where the folder is, and name, size and time of every file in it; InputError where there is none."""
    found = sorted(_below(folder))
    if not found:
        raise InputError(
            f"cannot read {folder}: no table or image in it; expected Parquet files with an image and a label column."
        )
    stats = [(str(p.relative_to(folder)), p.stat().st_size, p.stat().st_mtime_ns) for p in found]
    return [str(folder.resolve()), stats]


def _below(folder: Path) -> Iterator[Path]:
    """Its files, through links to folders too, as `datasets` may go, but not round in circles."""
    above: dict[str, tuple[str, ...]] = {}
    for here, folders, names in os.walk(folder, followlinks=True):
        way = (*above.get(os.path.dirname(here), ()), os.path.realpath(here))
        above[here] = way
        folders[:] = [name for name in folders if os.path.realpath(os.path.join(here, name)) not in way]
        yield from filter(Path.is_file, (Path(here, name) for name in names))


def read(entry: Path) -> Parts | None:
    """The parts at `entry`, memory-mapped; None where there is no entry or where it is damaged."""
    try:
        record = json.loads((entry / "parts.json").read_text())
        said = record["said"]
        if _sum_of_words(said) != record["sha256"]:
            return None
        parts = {name: _images(entry, name, sums) for name, sums in said["sha256"].items()}
        return parts, int(said["classes"]), list(said["unread"])
    except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _images(entry: Path, name: str, sums: dict[str, str]) -> Images:
    arrays = {}
    for kind, expected in sums.items():
        # Copy on write: torch warns of read-only memory, and nothing writes to it.
        array = np.load(entry / f"{name}.{kind}.npy", mmap_mode="c")
        if _sum(array) != expected:
            raise ValueError(f"{name}.{kind} is damaged")
        arrays[kind] = torch.from_numpy(array)
    return Images(**arrays)


def write(entry: Path, parts: dict[str, Images], classes: int, unread: list[str]) -> None:
    """Write beside `entry`, then rename; nothing stays behind when the disk is full."""
    _sweep(entry.parent)
    partial = entry.with_name(f".{entry.name}.{_machine()}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        sums = {name: _save(partial, name, images) for name, images in parts.items()}
        said = {"classes": classes, "unread": unread, "sha256": sums}
        (partial / "parts.json").write_text(json.dumps({"said": said, "sha256": _sum_of_words(said)}))
        shutil.rmtree(entry, ignore_errors=True)
        partial.rename(entry)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what processes of this machine were writing that are no more. Of those of another one, which may share the
    folder, nothing is known, nor of any where the machine has no name."""
    for partial in folder.glob(f".*.{_machine()}.*.partial") if _machine() != UNKNOWN else ():
        if _gone(partial.name.split(".")[-2]):
            shutil.rmtree(partial, ignore_errors=True)


def _gone(process: str) -> bool:
    """Whether no process has this number; of another user's, the system says that it may not be sent anything."""
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return False


def _machine() -> str:
    """One start of one machine's system, and in it the processes that see each other (a container's do by themselves):
    in here a process number has one meaning, which no name of a host promises."""
    try:
        start, seen = Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")
    except OSError:
        return UNKNOWN
    return hashlib.sha256(f"{start} {seen}".encode()).hexdigest()[:16]


def _save(folder: Path, name: str, images: Images) -> dict[str, str]:
    arrays = {kind: array.numpy() for kind, array in images.arrays.items()}
    for kind, array in arrays.items():
        np.save(folder / f"{name}.{kind}.npy", array)
    return {kind: _sum(array) for kind, array in arrays.items()}


def _sum(array: np.ndarray) -> str:
    """Of type and shape too: the same bytes in another shape are other images."""
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _sum_of_words(said: object) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
