"""Image tables in the layout of the public hub, read through the optional `datasets` package.

A table is one or more Parquet files (or whatever `datasets.load_dataset(folder)` takes) with a column of
encoded images and a column of integer labels. Images are decoded here rather than by `datasets`, so that a
broken one is refused by its row. Only grey (`L`) and colour (`RGB`) images of one size are taken: a silent
resize or a dropped alpha channel would be a choice that belongs to the user. Where more is to be done than to
take two columns, a `Recipe` says what."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Int

from ssl_theory.benchmarks.data import Images
from ssl_theory.benchmarks.errors import FULL, InputError

if TYPE_CHECKING:
    from PIL.Image import Image

SECONDS = 10  # that the hub may take to answer
SHOWN = 12  # configurations that a refusal lists
CONFIGURATIONS = re.compile(  # how `datasets` says that a name is missing or not among these
    r"(?:Config name is missing.*available configs:|BuilderConfig .* not found\. Available:) (?P<names>\[.*?\])", re.S
)
SPLITS = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Recipe:
    """How a data set with yes-or-no columns becomes images with labels and attributes.

    `content` are the columns that `label` makes the labels of, `attributes` those kept as they are; `shaped`
    makes every decoded image the size that is wanted, and raises `ValueError` for one it was not made for.
    `name` changes with anything of this."""

    name: str
    content: tuple[str, ...]
    attributes: tuple[str, ...]
    label: Callable[[Int[np.ndarray, "N c"]], Int[np.ndarray, " N"]]
    shaped: Callable[[Image], Image]


def read(
    place: Path | str,
    columns: tuple[str, str],
    classes: int | None,
    recipe: Recipe | None = None,
    found: dict[str, Any] | None = None,
    config: str | None = None,
) -> tuple[dict[str, Images], int, list[str]]:
    """The parts of the table at `place` (a local folder or a hub name), the number of classes, and the splits that are
    not read.

    `columns` names the image and the label column, the latter only what the labels are called where a `recipe`
    makes them; `classes` is the number of classes where it is known beforehand, else the label column's own
    declaration counts, else the largest label. `found` are its tables where they are loaded already; else `config` is
    the configuration to load where there are several."""
    declared = classes
    parts = {}
    known, unread = _known_splits(found or tables(place, config), place)
    for split, table in known.items():
        parts[split], named = _part(table, columns, recipe, f"{place}, split {split}")
        declared = declared or named
    number = declared or 1 + max(int(part.labels.max()) for part in parts.values())
    _check(parts, number, columns[1], place)
    return parts, number, unread


def _part(table: Any, columns: tuple[str, str], recipe: Recipe | None, where: str) -> tuple[Images, int | None]:
    if recipe is None:
        labels, named = _labels(table, columns[1], where)
        return Images(_pixels(table, columns[0], where), labels), named
    flags = _flags(table, (*recipe.content, *recipe.attributes), where)
    content, attributes = np.split(flags, [len(recipe.content)], axis=1)
    pixels = _pixels(table, columns[0], where, recipe.shaped)
    return Images(pixels, torch.from_numpy(recipe.label(content)), torch.from_numpy(attributes.copy())), None


def _flags(table: Any, names: tuple[str, ...], where: str) -> Int[np.ndarray, "N c"]:
    """Yes-or-no columns as 1 and 0, side by side."""
    arrow = table.with_format("arrow")
    columns = []
    for name in names:
        if name not in table.column_names or table.features[name].dtype != "bool":
            raise InputError(
                f"{where}: expected the yes-or-no column {name!r} (bool), as {len(names)} of this data set are, found "
                f"{'another type' if name in table.column_names else 'none'}: fetch the data set anew."
            )
        columns.append(_whole(arrow[name], name, where))
    return np.stack(columns, axis=1)


def _whole(values: Any, name: str, where: str) -> Int[np.ndarray, " N"]:
    values = values[:] if not hasattr(values, "null_count") else values
    empty = np.flatnonzero(values.is_null(nan_is_null=True).to_numpy())
    if len(empty):
        more = f" and in {len(empty) - 1} more" if len(empty) > 1 else ""
        raise InputError(f"{where}: column {name!r} is empty in row {empty[0]}{more}: fill or drop what is empty.")
    return np.asarray(values).astype(np.int64)


def tables(place: Path | str, config: str | None = None) -> dict[str, Any]:
    """The tables by split, images still encoded, of one configuration where there are several."""
    try:
        import datasets
    except ImportError:
        raise InputError(
            "reading this data set needs the package datasets, which is not installed: pip install 'ssl-theory[bench]'."
        ) from None
    datasets.disable_progress_bars()
    try:
        with quiet(), _offline(not isinstance(place, Path) and not reached(place)):
            return dict(datasets.load_dataset(str(place), *([config] if config else [])))
    except Exception as error:  # `datasets` raises a different class for every layer that can fail
        raise InputError(_why(place, error)) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without what `datasets` and the hub's client log of a failure: it is told in one line."""
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def reached(name: str) -> bool:
    """Whether the hub answers at all, by one short question: its client asks six times, over half a minute."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().dataset_info(name, timeout=SECONDS)
    except HfHubHTTPError:  # an answer, if not the one that was hoped for
        return True
    except Exception:  # of whatever carries the question
        return False
    return True


@contextmanager
def _offline(wanted: bool) -> Iterator[None]:
    """`datasets` takes what it fetched before, without asking."""
    import datasets

    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or wanted
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def fingerprints(found: dict[str, Any]) -> dict[str, str]:
    """Of each table what tells it from one of another revision: `datasets` hashes its name, configuration and files."""
    return {split: str(table._fingerprint) for split, table in found.items()}


def _why(place: Path | str, error: Exception) -> str:
    causes = list(_causes(error))
    if any(no_space(cause) for cause in causes):
        return (
            f"no space left on the disk while reading {place}: `datasets` keeps its tables in $HF_HOME (else "
            "~/.cache/huggingface); make room there or name another folder by HF_HOME."
        )
    if told := next(filter(None, (CONFIGURATIONS.search(str(cause)) for cause in causes)), None):
        names = ", ".join(re.findall(r"'([^']+)'", told["names"])[:SHOWN])
        return f"{place} has several configurations: choose one of them with --config NAME: {names}."
    cause = error.__cause__ or error
    if isinstance(place, Path) and type(cause).__name__ in ("EmptyDatasetError", "DataFilesNotFoundError"):
        return f"cannot read {place}: no table or image in it; expected Parquet files with an image and a label column."
    if isinstance(place, Path):
        return (
            f"cannot read {place}: {type(cause).__name__}: {str(cause)[:200].rstrip('.')}; "
            "a file is truncated or not in the hub's layout: fetch or write it anew."
        )
    if any(type(cause).__name__ == "DatasetNotFoundError" for cause in causes):
        return f"cannot find {place} on the hub: misspelt, not public, or no network. {fetch_ahead(place)}"
    return f"cannot fetch {place} from the hub ({type(cause).__name__}); no network? {fetch_ahead(place)}"


def fetch_ahead(place: str) -> str:
    return (
        f"On a connected machine run `hf download {place} --repo-type dataset --local-dir FOLDER`, "
        "then pass --data-dir FOLDER."
    )


def no_space(error: BaseException) -> bool:
    """Whether a full disk is what went wrong; `datasets` also looks for room itself before it writes."""
    return (isinstance(error, OSError) and error.errno in FULL) or "Not enough disk space" in str(error)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _known_splits(tables: dict[str, Any], place: Path | str) -> tuple[dict[str, Any], list[str]]:
    """By the names they have here, and the names of the others."""
    names = {SPLITS[name]: name for name in tables if name in SPLITS}
    if len(tables) == 1 and not names:
        names = {"train": next(iter(tables))}
    known = {split: tables[name] for split, name in names.items()}
    if "train" not in known:
        raise InputError(f"{place}: no split called train; splits found: {', '.join(tables) or 'none'}.")
    for name, table in known.items():
        if len(table) == 0:
            raise InputError(f"{place}, split {name}: empty, no image to learn from.")
    return known, [name for name in tables if name not in names.values()]


def _column(table: Any, name: str, option: str, where: str) -> None:
    if name not in table.column_names:
        raise InputError(
            f"{where}: no column {name!r}; columns found: {', '.join(table.column_names)}. Choose with {option}."
        )


def _labels(table: Any, column: str, where: str) -> tuple[torch.Tensor, int | None]:
    _column(table, column, "--label-column", where)
    feature = table.features[column]
    kind = str(getattr(feature, "dtype", type(feature).__name__))
    if kind.startswith("float"):  # whole numbers read so where one is missing
        _whole(table.with_format("arrow")[column], column, where)
    if not kind.startswith(("int", "uint", "bool")):
        raise InputError(
            f"{where}: label column {column!r} holds {kind}, integers 0, 1, ..., C-1 expected; "
            f"columns found: {', '.join(table.column_names)}. Choose with --label-column."
        )
    values = _whole(table.with_format("arrow")[column], column, where)
    return torch.from_numpy(values), getattr(feature, "num_classes", None)


def _check(parts: dict[str, Images], classes: int, column: str, place: Path | str) -> None:
    for split, part in parts.items():
        low, high = int(part.labels.min()), int(part.labels.max())
        if low < 0 or high >= classes:
            raise InputError(
                f"{place}, split {split}: labels in {column!r} run from {low} to {high}, out of the range "
                f"0..{classes - 1} of {classes} classes: number them from 0, and drop rows without a label."
            )
    if classes < 2:
        raise InputError(f"{place}: a single class in {column!r}; content needs at least 2.")
    shapes = {tuple(part.pixels.shape[1:]) for part in parts.values()}
    if len(shapes) > 1:
        raise InputError(f"{place}: splits of different image shapes (C, H, W) {sorted(shapes)}: make them one size.")


def _unchanged(image: Image) -> Image:
    return image


def _pixels(table: Any, column: str, where: str, shaped: Callable[[Image], Image] = _unchanged) -> torch.Tensor:
    import datasets

    _column(table, column, "--image-column", where)
    found = ", ".join(table.column_names)
    try:
        with warnings.catch_warnings(action="ignore"):  # of numbers taken for pixels; their mode is told
            encoded = table.select_columns([column]).cast_column(column, datasets.Image(decode=False))
            first = encoded[0][column]
    except Exception as error:
        raise InputError(
            f"{where}: column {column!r} holds no images; columns found: {found}. Choose with --image-column."
        ) from error
    shape = _decode(first, 0, column, where, shaped).shape
    pixels = np.empty((len(encoded), *shape), dtype=np.uint8)
    for row, record in enumerate(encoded):
        image = _decode(record[column], row, column, where, shaped)
        if image.shape != shape:
            raise InputError(
                f"{where}: image {row} has shape (C, H, W) {image.shape}, image 0 has {shape}: "
                "make them one size and mode."
            )
        pixels[row] = image
    return torch.from_numpy(pixels)


def _decode(
    record: dict[str, Any] | None, row: int, column: str, where: str, shaped: Callable[[Image], Image]
) -> np.ndarray:
    """One encoded image as uint8 `(C, H, W)`, turned as its EXIF says, which viewers and `datasets` do."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        if record is None:
            raise ValueError("no image in this row")
        with Image.open(io.BytesIO(record["bytes"]) if record.get("bytes") else record["path"]) as image:
            image.load()
            mode, array = image.mode, np.asarray(shaped(ImageOps.exif_transpose(image)))
    except Exception as error:  # PIL raises OSError, SyntaxError, struct.error, ... by file format
        reason = "of no known format" if isinstance(error, UnidentifiedImageError) else str(error)[:120]
        raise InputError(
            f"{where}: {column!r} of row {row} cannot be decoded ({reason}): replace or drop the row."
        ) from error
    if mode not in ("L", "RGB"):
        raise InputError(f"{where}: image {row} has mode {mode}; L (grey) or RGB expected: convert the images first.")
    return array[None] if mode == "L" else np.moveaxis(array, 2, 0)
