"""Faces of the published schema become 64 x 64 images with a label and attributes, told apart by made images."""

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ssl_theory.benchmarks import celeba, decoded
from ssl_theory.benchmarks.data import load
from ssl_theory.benchmarks.errors import InputError
from tests.benchmarks.scans import encoded

COLUMNS = sorted([*celeba.HAIR, "Male", *celeba.STYLE])


def face(corner: int, size=(218, 178)) -> bytes:
    """Grey, with the middle 148 x 148 bright in the quarter `corner` (0 upper left, 1 upper right, ...)."""
    pixels = np.full((*size, 3), 40, np.uint8)
    down, right = divmod(corner, 2)
    top, left = (size[0] - 148) // 2 + 74 * down, (size[1] - 148) // 2 + 74 * right
    pixels[top : top + 74, left : left + 74] = (220, 120, 60)
    return encoded(pixels, "JPEG")


def flags(n: int, seed: int) -> dict[str, list]:
    """Drawn, but the first ten faces have a class each."""
    drawn = np.random.default_rng(seed).random((n, len(COLUMNS))) < 0.4
    for row in range(min(n, 10)):
        for at, name in enumerate(celeba.HAIR):
            drawn[row, COLUMNS.index(name)] = at == row // 2
        drawn[row, COLUMNS.index("Male")] = row % 2
    return {name: drawn[:, at].tolist() for at, name in enumerate(COLUMNS)}


def write(folder, split: str, n: int, *, images=None, **changed) -> dict[str, list]:
    folder.mkdir(parents=True, exist_ok=True)
    structs = [{"bytes": row, "path": None} for row in images or [face(i % 4) for i in range(n)]]
    marks = flags(n, {"train": 0, "valid": 1, "test": 2}[split]) | changed
    columns = {"image": structs, "celeb_id": list(range(n))} | {k: v for k, v in marks.items() if v is not None}
    pq.write_table(pa.table(columns), folder / f"{split}-00000-of-00001.parquet")
    return marks


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("celeba")


@pytest.fixture(scope="module")
def faces(folder):
    marks = {split: write(folder, split, n) for split, n in (("train", 36), ("valid", 12), ("test", 16))}
    return load("celeba", folder=folder), marks


def test_forty_columns_of_which_five_are_content():
    assert len(COLUMNS) == len(set(COLUMNS)) == 40
    assert len(celeba.STYLE) == 35


def test_splits_are_the_published_ones(faces):
    splits, _ = faces
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [36, 12, 16]
    assert splits.shape == (3, 64, 64)
    assert splits.classes == 10


def test_label_is_the_first_hair_colour_and_sex(faces):
    splits, marks = faces
    for row, label in enumerate(splits.train.labels.tolist()):
        colours = [at for at, name in enumerate(celeba.HAIR) if marks["train"][name][row]]
        assert label == 2 * (colours[0] if colours else 4) + marks["train"]["Male"][row]
    assert len(set(splits.train.labels.tolist())) > 4


def test_the_other_attributes_are_kept_by_name(faces):
    splits, marks = faces
    assert splits.attributes == celeba.STYLE
    for split, part in (("train", splits.train), ("valid", splits.validation), ("test", splits.test)):
        for at, name in enumerate(splits.attributes):
            assert part.attributes[:, at].tolist() == [int(one) for one in marks[split][name]]


def test_the_middle_is_cut_out_and_averaged(faces):
    """Each quarter of the cut is a quarter of the image; JPEG and the seam blur by a pixel or two."""
    pixels = faces[0].train.pixels[:4].float()
    for corner in range(4):
        down, right = divmod(corner, 2)
        quarters = pixels[corner].unflatten(1, (2, 32)).unflatten(3, (2, 32))[:, :, 2:-2][..., 2:-2]
        bright = quarters[:, down, :, right].flatten(1).mean(1)
        assert (bright - torch.tensor([220.0, 120.0, 60.0])).abs().max() < 6
        assert (quarters[:, 1 - down, :, right].flatten(1) - 40).abs().max() < 12


def test_small_stripes_are_averaged_not_picked():
    from PIL import Image

    pixels = np.zeros((218, 178, 3), np.uint8)
    pixels[::2] = 200
    assert np.abs(np.asarray(celeba.shaped(Image.fromarray(pixels))).astype(int) - 100).max() < 30


def test_kept_decoded_with_their_attributes(faces, folder, monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: pytest.fail("decoded again"))
    again = load("celeba", folder=folder)
    assert again.fingerprint() == faces[0].fingerprint()
    assert torch.equal(again.test.attributes, faces[0].test.attributes)


def test_a_damaged_attribute_is_seen(faces, folder):
    entry = next(e for e in decoded.home().iterdir() if (e / "train.attributes.npy").exists())
    file = entry / "train.attributes.npy"
    content = bytearray(file.read_bytes())
    content[-8] ^= 1
    file.write_bytes(content)
    assert decoded.read(entry) is None
    assert load("celeba", folder=folder).fingerprint() == faces[0].fingerprint()


def refused(path, **keywords) -> str:
    with pytest.raises(InputError) as caught:
        load("celeba", folder=path, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"Gray_Hair": None}, "'Gray_Hair'"),
        ({"Smiling": [1] * 12}, "found another type"),
        ({"Young": [None] + [True] * 11}, "empty in row 0"),
        ({"images": [face(0)] * 11 + [face(0, (200, 178))]}, "178 x 218 pixels in RGB expected, 178 x 200"),
        ({"images": [face(0)] * 11 + [face(0)[:900]]}, "row 11 cannot be decoded"),
        ({"images": [encoded(np.zeros((218, 178), np.uint8))] * 12}, "178 x 218 in L found"),
    ],
)
def test_other_tables_are_refused(tmp_path, changed, said):
    write(tmp_path, "train", 12, **changed)
    assert said in refused(tmp_path)


def test_the_label_is_not_to_be_chosen(folder):
    assert "leave out --label-column" in refused(folder, label_column="Male")
