"""Data sets that bring train, validation and test themselves: taken as they are, or refused before any training."""

import pytest

from ssl_theory.benchmarks.data import load
from ssl_theory.benchmarks.errors import InputError
from tests.benchmarks.scans import table
from tests.benchmarks.shell import bench


def three(path, *, train=(0, 1, 2), others=(0, 1)):
    """A data set in three parts with these labels."""
    for split in ("train", "validation", "test"):
        labels = list(train if split == "train" else others)
        table(path, split, n=len(labels), labels=labels)


def test_parts_are_taken_as_they_are_where_they_suffice(tmp_path):
    three(tmp_path, train=[0, 1, 2], others=[2, 2])
    splits = load("folder", folder=tmp_path)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [3, 2, 2]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"others": [0]}, "split validation: at least 2 images are needed, found 1"),
        ({"train": [0]}, "split train: at least 2 images are needed, found 1"),
        ({"train": [0, 0], "others": [0, 1]}, "all 2 classes, found none of class 1:"),
        ({"train": [0, 2, 0]}, "all 3 classes, found none of class 1:"),
        ({"train": [0, 50], "others": [0, 1]}, "found none of class 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, ...:"),
        (
            {"train": [0, 1, 2, 10**10]},
            "all 10000000001 classes, found none of class 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, ",
        ),
    ],
)
def test_parts_that_do_not_suffice_are_one_line_and_nothing_is_written(tmp_path, labels, message, capsys):
    three(tmp_path / "mine", **labels)
    out = tmp_path / "out"
    assert bench("folder", "--data-dir", tmp_path / "mine", "--out", out, "--steps", 1, "--methods", "pixels") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert message in said
    assert not out.exists()


def test_a_test_part_of_one_image_beside_enough_to_learn_from_is_refused(tmp_path):
    table(tmp_path)
    table(tmp_path, "test", n=1, labels=[0])
    with pytest.raises(InputError, match="split test: at least 2 images"):
        load("folder", folder=tmp_path)
