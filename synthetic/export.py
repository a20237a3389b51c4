"""Write samples of a world to a file, with the provenance to draw them again."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from synthetic.views import Views

if TYPE_CHECKING:
    from synthetic.stream import Stream

Columns = dict[str, np.ndarray]


def columns(views: Views) -> Columns:
    """Arrays of a sample by name; observations of modalities become x_1, x_2, and so on."""
    named: dict[str, Any] = {name: value for name, value in vars(views).items() if value is not None}
    if isinstance(views.x, tuple):
        named = {f"x_{j + 1}": part for j, part in enumerate(named.pop("x"))} | named
    return {name: value.cpu().numpy() for name, value in named.items()}


def provenance(stream: Stream, preset: str, world_seed: int, overrides: dict[str, Any]) -> dict[str, Any]:
    """What made a file: the arguments that make it again, and the versions that it was made with."""
    return {
        "preset": preset,
        "world_seed": world_seed,
        "overrides": overrides,
        "n": stream.n,
        "views": stream.views,
        "seed": stream.seed,
        "chunk": stream.chunk,
        "dtype": str(stream.world.dtype).removeprefix("torch."),
        "world": repr(stream.world),
        "ssl-theory": _version("ssl-theory"),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def write(stream: Stream, path: Path, made_by: dict[str, Any], advance: Callable[[int], None]) -> None:
    """Write all data of a stream to `path`, .npz or .parquet, whole or not at all; `advance` hears of each chunk."""
    require_writable(path)
    with _atomically(path) as draft:
        (_write_npz if path.suffix == ".npz" else _write_parquet)(stream, draft, made_by, advance)


def require_writable(path: Path) -> None:
    """One-line refusal of outputs of another kind, and of folders that are not there."""
    if path.suffix not in (".npz", ".parquet"):
        raise ValueError(f"expected an output file ending in .npz or .parquet, found {path.name!r}")
    if not path.parent.is_dir():
        raise ValueError(f"expected an existing folder for the output, found {path.parent}: create it first")


def _chunks(stream: Stream, advance: Callable[[int], None]) -> Iterator[Columns]:
    for views in stream.chunks():
        yield columns(views)
        advance(len(views.content))


def _write_npz(stream: Stream, path: Path, made_by: dict[str, Any], advance: Callable[[int], None]) -> None:
    """Arrays as sampled, and the provenance as a JSON string."""
    pieces = list(_chunks(stream, advance))
    whole = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, provenance=np.array(json.dumps(made_by)), **whole)


def _write_parquet(stream: Stream, path: Path, made_by: dict[str, Any], advance: Callable[[int], None]) -> None:
    """A row a datum, arrays flattened to lists of fixed size; the shapes and the provenance in the metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    try:
        for piece in _chunks(stream, advance):
            shapes = {name: value.shape[1:] for name, value in piece.items()}
            table = pa.table({name: _arrow(value) for name, value in piece.items()})
            notes = {"provenance": json.dumps(made_by), "shapes": json.dumps(shapes)}
            writer = writer or pq.ParquetWriter(path, table.schema.with_metadata(notes))
            writer.write_table(table.replace_schema_metadata(notes))
    finally:
        if writer:
            writer.close()


def _arrow(value: np.ndarray) -> Any:
    import pyarrow as pa

    flat = pa.array(value.reshape(-1))
    return flat if value.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, int(np.prod(value.shape[1:])))


@contextmanager
def _atomically(path: Path) -> Iterator[Path]:
    """A draft beside `path` that takes its place on success and vanishes on failure."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        draft.chmod(0o644)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
