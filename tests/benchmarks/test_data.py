"""Data sets are read as they are, cut without overlap, and refused in one line where they cannot be used."""

import io
import logging
import math

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from ssl_theory.benchmarks import data
from ssl_theory.benchmarks.augmentation import Affine
from ssl_theory.benchmarks.data import Images, Splits, load
from ssl_theory.benchmarks.errors import InputError
from tests.benchmarks.scans import encoded, table


def load_folder(path, **keywords):
    return load("folder", folder=path, **keywords)


def test_digits_are_the_bundled_scans():
    splits = load("digits")
    assert splits.shape == (1, 12, 12)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [1048, 299, 450]
    assert splits.train.pixels.max() == 255
    margin = splits.train.pixels.clone()
    margin[..., 2:-2, 2:-2] = 0
    assert margin.max() == 0


def test_split_is_a_stratified_partition_fixed_by_its_seed():
    splits, again, other = load("digits"), load("digits"), load("digits", split_seed=1)
    parts = (splits.train, splits.validation, splits.test)
    rows = torch.cat([part.pixels.flatten(1) for part in parts])
    whole = data._padded(data._bundled_digits().pixels, 2).flatten(1)
    assert torch.equal(rows.unique(dim=0, return_counts=True)[1], whole.unique(dim=0, return_counts=True)[1])
    counts = torch.stack([part.labels.bincount() / len(part) for part in parts])
    assert (counts.max(0).values - counts.min(0).values).max() < 0.01
    assert splits.fingerprint() == again.fingerprint() != other.fingerprint()


@pytest.mark.parametrize(("name", "shape"), [("mnist", (6, 6)), ("cifar10", (6, 6, 3))])
def test_hub_layout_is_read_losslessly(tmp_path, name, shape):
    column = data.SOURCES[name].image_column
    labels = [i % 10 for i in range(60)]
    table(tmp_path, "train", n=60, shape=shape, image=column, labels=labels)
    test, _ = table(tmp_path, "test", n=20, shape=shape, image=column, labels=labels[:20])
    splits = load(name, folder=tmp_path)
    assert splits.classes == 10
    expected = torch.from_numpy(test if len(shape) == 3 else test[..., None]).movedim(-1, 1)
    assert torch.equal(splits.test.pixels, expected)
    assert splits.test.labels.tolist() == labels[:20]
    assert len(splits.train) + len(splits.validation) == 60
    assert len(splits.validation) == 10
    other = load(name, folder=str(tmp_path), split_seed=1)
    assert other.test.fingerprint() == splits.test.fingerprint()
    assert other.validation.fingerprint() != splits.validation.fingerprint()


def test_own_columns_and_a_single_split(tmp_path):
    table(tmp_path, image="scan", label="kind")
    splits = load_folder(tmp_path, image_column="scan", label_column="kind")
    assert splits.classes == 3
    assert sum(map(len, (splits.train, splits.validation, splits.test))) == 30


def one_line(path, **keywords) -> str:
    with pytest.raises(InputError) as caught:
        load_folder(path, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(InputError, match="did you mean mnist"):
        load("mnsit")
    with pytest.raises(InputError, match="known: digits"):
        load("zzz")


def test_missing_folder(tmp_path):
    assert "no such folder" in one_line(tmp_path / "nowhere")
    assert "--data-dir" in one_line(None)
    with pytest.raises(InputError, match="digits come with scikit-learn"):
        load("digits", folder=tmp_path)


def test_wrong_columns_are_listed(tmp_path):
    table(tmp_path)
    assert "columns found: image, label" in one_line(tmp_path, image_column="img")
    assert "columns found: image, label" in one_line(tmp_path, label_column="fine_label")
    assert "holds no images" in one_line(tmp_path, image_column="label")
    assert "integers 0, 1" in one_line(tmp_path, label_column="image")


def test_truncated_table(tmp_path, caplog):
    table(tmp_path)
    file = next(tmp_path.glob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-40])
    logging.getLogger("datasets").addHandler(caplog.handler)
    assert "cannot read" in one_line(tmp_path)
    logging.getLogger("datasets").removeHandler(caplog.handler)
    assert caplog.text == ""  # `datasets` logs the same once more


def test_empty_folder_and_empty_table(tmp_path):
    (tmp_path / "none").mkdir()
    assert "no table or image in it; expected Parquet files" in one_line(tmp_path / "none")
    folder = tmp_path / "empty"
    folder.mkdir()
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", image), ("label", pa.int64())])
    pq.write_table(schema.empty_table(), folder / "train-00000-of-00001.parquet")
    assert "empty" in one_line(folder)


def test_corrupt_image_names_its_row(tmp_path):
    good = encoded(np.zeros((6, 6), np.uint8))
    table(tmp_path, images=[good] * 29 + [good[:45]])
    assert "row 29 cannot be decoded" in one_line(tmp_path)
    table(tmp_path, images=[good] * 29 + [b"no image"])
    assert "row 29 cannot be decoded (of no known format): replace or drop the row" in one_line(tmp_path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_their_exif_says(tmp_path, orientation):
    """As `datasets` itself decodes them."""
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)).save(buffer, "PNG", exif=exif)
    table(tmp_path, images=[buffer.getvalue()] * 30)
    seen = datasets.Image().decode_example({"bytes": buffer.getvalue(), "path": None})
    assert torch.equal(load_folder(tmp_path).train.pixels[0, 0], torch.from_numpy(np.array(seen)))


def test_row_without_an_image(tmp_path):
    table(tmp_path, images=[encoded(np.zeros((6, 6), np.uint8))] * 29 + [None])
    assert "no image in this row" in one_line(tmp_path)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([-1] + [0, 1, 2] * 9 + [1, 2], "from -1 to 2"),
        ([0.5] * 30, "integers 0, 1"),
        (["a"] * 30, "integers 0, 1"),
        ([0, None] + [0, 1, 2] * 9 + [None], "empty in row 1 and in 1 more"),
        ([0.0, 1.0, None] + [0.0, 1.0, 2.0] * 9, "empty in row 2:"),
        ([0.0, 1.0, math.nan] + [0.0, 1.0, 2.0] * 9, "empty in row 2:"),
        ([0] * 30, "single class"),
        ([0] * 15 + [5] * 15, "class 1 has 0 image(s) to split (labels found: 0, 5)"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path, labels, message):
    table(tmp_path, labels=labels)
    assert message in one_line(tmp_path)


def test_label_beyond_the_known_classes(tmp_path):
    table(tmp_path, labels=[i % 11 for i in range(30)])
    with pytest.raises(InputError, match=r"0\.\.9"):
        load("mnist", folder=tmp_path)


def test_images_of_mixed_size_and_mode(tmp_path):
    small, large = encoded(np.zeros((6, 6), np.uint8)), encoded(np.zeros((6, 7), np.uint8))
    table(tmp_path / "size", images=[small] * 29 + [large])
    assert "image 29 has shape" in one_line(tmp_path / "size")
    alpha = encoded(np.zeros((6, 6, 4), np.uint8))
    table(tmp_path / "mode", images=[alpha] * 30)
    assert "mode RGBA" in one_line(tmp_path / "mode")


def test_splits_of_different_size(tmp_path):
    table(tmp_path, "train", shape=(6, 6))
    table(tmp_path, "test", shape=(7, 7))
    assert "different image shapes" in one_line(tmp_path)


def test_no_train_split(tmp_path):
    table(tmp_path, "test")
    table(tmp_path, "validation")
    assert "no split called train" in one_line(tmp_path)


SPLITS = """---
configs:
- config_name: default
  data_files:
"""


def split_as(folder, *names: str) -> None:
    """A folder whose README declares splits of these names, of 30 images each."""
    for name in names:
        table(folder / name)
    lines = [f"  - split: {name}\n    path: {name}/*.parquet\n" for name in names]
    (folder / "README.md").write_text(SPLITS + "".join(lines) + "---\n")


@pytest.mark.parametrize(
    ("names", "unread"),
    [
        (("train", "eval", "extra"), "eval, extra"),
        (("train", "val", "validation", "test"), "val"),
        (("train", "valid", "test"), ""),
        (("whole",), ""),
    ],
)
def test_splits_that_are_not_read_are_named_in_one_line_at_every_load(tmp_path, capsys, names, unread):
    """When the images are decoded, and when they come from the cache."""
    split_as(tmp_path, *names)
    for _ in range(2):
        load_folder(tmp_path)
        said = capsys.readouterr().err
        assert said.count("\n") == bool(unread)
        assert (f"{tmp_path}: not read: split {unread}; only train," in said) == bool(unread)


def known(n: int = 6) -> Images:
    """Images with attributes and factors that tell their row."""
    rows = torch.arange(n)
    pixels = torch.zeros(n, 1, 2, 2, dtype=torch.uint8)
    return Images(pixels, rows % 2, torch.stack([rows, rows + 10], 1), rows[:, None] / 10)


def test_attributes_and_factors_go_with_their_image():
    some = known()[torch.tensor([4, 1])].to("cpu")
    assert some.attributes is not None
    assert some.factors is not None
    assert some.attributes.tolist() == [[4, 14], [1, 11]]
    torch.testing.assert_close(some.factors, torch.tensor([[0.4], [0.1]]))
    first, second = data._cut(known(12), 0.25, 2, torch.Generator().manual_seed(0))
    for part in (first, second):
        assert part.attributes is not None
        assert torch.equal(part.attributes[:, 0] % 2, part.labels)


def test_fingerprint_sees_attributes_and_factors():
    whole = known()
    fewer = [
        Images(whole.pixels, whole.labels),
        Images(whole.pixels, whole.labels, whole.attributes),
        Images(whole.pixels, whole.labels, factors=whole.factors),
        Images(whole.pixels, whole.labels, whole.attributes + 1, whole.factors),
        Images(whole.pixels, whole.labels, whole.attributes, whole.factors + 1),
    ]
    assert len({one.fingerprint() for one in (whole, *fewer)}) == 6


def test_all_parts_have_the_same_attributes_or_none_has_any():
    whole, bare = known(), Images(known().pixels, known().labels)
    Splits("mine", 2, whole, whole, whole, ("a", "b"), ("f",))
    Splits("mine", 2, bare, bare, bare)
    for parts, names in (((whole, whole, bare), ("a", "b")), ((bare, bare, bare), ("a",)), ((whole,) * 3, ("a",))):
        with pytest.raises(ValueError, match="as many as have names"):
            Splits("mine", 2, *parts, names, ("f",) if parts[0] is whole else ())


def test_views_of_a_part():
    splits = load("digits")
    views = splits.views("validation", Affine(shift=1.0))
    assert views.names == Affine.names
    assert len(views.every(views=1, generator=torch.Generator()).label) == len(splits.validation)
    with pytest.raises(ValueError, match="train, validation or test"):
        splits.views("valid", Affine())


def test_fingerprint_sees_a_pixel_a_label_and_the_shape():
    images = Images(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64))
    pixel, label = images.pixels.clone(), images.labels.clone()
    pixel[-1, 0, 1, 1], label[-1] = 1, 1
    others = [
        Images(pixel, images.labels),
        Images(images.pixels, label),
        Images(images.pixels.view(4, 1, 1, 4), images.labels),
    ]
    assert len({one.fingerprint() for one in (images, *others)}) == 4


def test_numbers_taken_for_pixels_are_refused_in_one_line(tmp_path, recwarn):
    """`datasets` makes images of lists of numbers, and warns of how it does."""
    pq.write_table(pa.table({"image": [[1, 2], [3, 4]], "label": [0, 1]}), tmp_path / "train.parquet")
    with pytest.raises(InputError, match="image 0 has mode I; L \\(grey\\) or RGB expected"):
        load("folder", folder=tmp_path)
    assert [str(warning.message) for warning in recwarn if "Downcasting" in str(warning.message)] == []
