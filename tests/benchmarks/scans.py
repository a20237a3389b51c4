"""Small image tables of the hub's schema, made for the tests."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def encoded(array: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def striped(n: int, seed: int) -> tuple[list[bytes], list[int]]:
    """Scans whose class is the row of a bright stripe, easy enough for a few steps of training."""
    rng = np.random.default_rng(seed)
    pixels, labels = rng.integers(0, 80, (n, 6, 6), dtype=np.uint8), [i % 3 for i in range(n)]
    for image, label in zip(pixels, labels, strict=True):
        image[2 * label] += 170
    return [encoded(image) for image in pixels], labels


def table(folder: Path, split="train", *, n=30, shape=(6, 6), image="image", label="label", labels=None, images=None):
    """Write `split`: a struct of encoded bytes and path, and integer labels 0, 1, 2; returns what was
    encoded."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)
    rows = images if images is not None else [encoded(one) for one in pixels]
    structs = [None if row is None else {"bytes": row, "path": None} for row in rows]
    values = labels if labels is not None else [i % 3 for i in range(n)]
    columns = {image: structs, label: values}
    pq.write_table(pa.table(columns), folder / f"{split}-00000-of-00001.parquet")
    return pixels, values
