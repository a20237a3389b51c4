"""Images are decoded once; a changed folder, another column and a damaged file are seen."""

import os
import subprocess
from pathlib import Path

import datasets
import pytest
import torch

from ssl_theory.benchmarks import decoded, hub
from ssl_theory.benchmarks.data import load
from ssl_theory.benchmarks.errors import InputError
from tests.benchmarks.scans import table


@pytest.fixture
def scans(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    table(tmp_path / "scans")
    return tmp_path / "scans"


@pytest.fixture
def calls(monkeypatch):
    """How often images were decoded."""
    count, read = [], hub.read

    def counted(*arguments):
        count.append(arguments)
        return read(*arguments)

    monkeypatch.setattr(hub, "read", counted)
    return count


@pytest.fixture
def decodings(monkeypatch):
    """How many images were decoded, table by table."""
    counts, decode = [], hub._pixels

    def counted(table, *rest):
        counts.append(len(table))
        return decode(table, *rest)

    monkeypatch.setattr(hub, "_pixels", counted)
    return counts


def test_decoded_once_and_equal(scans, calls):
    first, again = (load("folder", folder=scans) for _ in range(2))
    assert len(calls) == 1
    assert first.fingerprint() == again.fingerprint()
    assert first.classes == again.classes == 3


def test_what_is_kept_is_mapped_not_read(scans):
    load("folder", folder=scans)
    entry = next(decoded.home().iterdir())
    parts, *_ = decoded.read(entry)
    maps = Path("/proc/self/maps")
    assert not maps.exists() or str(entry / "train.pixels.npy") in maps.read_text()
    assert parts["train"].pixels.dtype == torch.uint8


def test_changed_folder_and_other_columns_are_decoded_anew(scans, calls):
    load("folder", folder=scans)
    table(scans, n=60)
    assert len(load("folder", folder=scans).train) > 18
    table(scans, label="kind")
    load("folder", folder=scans, label_column="kind")
    file = next(scans.glob("*.parquet"))
    os.utime(file, ns=(1, 1))
    load("folder", folder=scans, label_column="kind")
    assert len(calls) == 4


def test_a_change_behind_a_link_to_a_folder_is_seen(scans, tmp_path, calls):
    """`datasets` follows such a link."""
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "data").symlink_to(scans)
    for n in (30, 60):
        table(scans, n=n)
        splits = [load("folder", folder=tmp_path / "links") for _ in range(2)]
        assert [len(part.train) + len(part.validation) + len(part.test) for part in splits] == [n, n]
    assert len(calls) == 2


def test_two_links_to_a_folder_count_and_circles_end(scans, tmp_path):
    for name in ("one", "deep/two"):
        (tmp_path / "links" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "links" / name).symlink_to(scans)
    (scans / "back").symlink_to(tmp_path / "links")
    (scans / "self").symlink_to(".")
    found = [Path(name).parent for name, *_ in decoded.files(tmp_path / "links")[1]]
    assert found == [Path("deep/two"), Path("one")]


def test_a_folder_without_files_is_refused(tmp_path):
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match="no table or image in it"):
        decoded.files(tmp_path)


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "emptied", "said", "unsaid"])
def test_damage_is_detected_and_mended(scans, calls, damage):
    whole = load("folder", folder=scans).fingerprint()
    entry = next(decoded.home().iterdir())
    file = entry / ("parts.json" if "said" in damage else "train.pixels.npy")
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    if damage == "gone":
        file.unlink()
    elif damage == "unsaid":
        file.write_text(file.read_text().replace('"classes"', '"grades"'))
    elif damage == "emptied":
        file.write_bytes(b"")
    else:
        file.write_bytes(content[:-9] if damage == "cut" else content)
    assert load("folder", folder=scans).fingerprint() == whole
    assert len(calls) == 2
    assert decoded.read(entry) is not None


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("parts.json", b'"classes": 3', b'"classes": 4'), ("train.pixels.npy", b"(30, 1, 6, 6)", b"(30, 1, 9, 4)")],
)
def test_what_is_said_of_the_bytes_is_checked_as_they_are(scans, calls, name, old, new):
    """Bytes that are whole, said to be of another number of classes or of another shape."""
    whole = load("folder", folder=scans).fingerprint()
    file = next(decoded.home().iterdir()) / name
    assert file.read_bytes().count(old) == 1
    file.write_bytes(file.read_bytes().replace(old, new))
    again = load("folder", folder=scans)
    assert (again.classes, again.fingerprint()) == (3, whole)
    assert len(calls) == 2


def test_full_disk_leaves_nothing_and_stops_nothing(scans, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(decoded.np, "save", full)
    assert load("folder", folder=scans).classes == 3
    assert list(decoded.home().iterdir()) == []


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that is no more."""
    with subprocess.Popen(["true"]) as process:
        return process.pid


def test_what_a_killed_process_was_writing_goes_before_the_next_is_written(scans, monkeypatch, dead):
    def kill(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:  # nothing tidies up after it
        killed.setattr(decoded.os, "getpid", lambda: dead)
        killed.setattr(decoded.np, "save", kill)
        killed.setattr(decoded.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            decoded.write(decoded.home() / "another", {"train": load("digits").train}, 10, [])
    assert [path.suffix for path in decoded.home().iterdir()] == [".partial"]
    load("folder", folder=scans)
    assert [path.name for path in decoded.home().glob("*/parts.json")] == ["parts.json"]
    assert len(list(decoded.home().iterdir())) == 1


def test_what_may_still_be_written_stays(scans, dead):
    """By a living process, one of another user, one of a machine that shares the folder, or nobody knows which."""
    here = decoded._machine()
    numbers = (f"{here}.{os.getpid()}", f"{here}.1", f"0123456789abcdef.{dead}", f"{decoded.UNKNOWN}.{dead}", f"{dead}")
    names = {f".another.{number}.partial" for number in numbers}
    for name in names:
        (decoded.home() / name).mkdir(parents=True)
    load("folder", folder=scans)
    assert {path.name for path in decoded.home().glob("*.partial")} == names


def test_nothing_is_swept_where_the_machine_has_no_name(tmp_path, monkeypatch, dead):
    monkeypatch.setattr(decoded, "_machine", lambda: decoded.UNKNOWN)
    (tmp_path / f".another.{decoded.UNKNOWN}.{dead}.partial").mkdir()
    decoded._sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_refused_input_leaves_nothing(scans):
    with pytest.raises(ValueError, match="columns found"):
        load("folder", folder=scans, label_column="kind")
    assert not decoded.home().exists()


@pytest.fixture
def hub_of_one(scans, monkeypatch):
    """A hub whose every data set is the made one; how often it was asked."""
    asked, load_dataset = [], datasets.load_dataset

    def loaded(name):
        asked.append(name)
        return load_dataset(str(scans))

    monkeypatch.setattr(datasets, "load_dataset", loaded)
    return asked


def test_data_of_the_hub_are_decoded_once_a_revision(scans, hub_of_one, decodings):
    first, again = (load("someone/scans") for _ in range(2))
    assert decodings == [30]
    assert hub_of_one == ["someone/scans"] * 2
    assert first.fingerprint() == again.fingerprint()
    table(scans, n=60)
    assert len(load("someone/scans").train) > len(first.train)
    assert decodings == [30, 60]
    load("another/scans")
    assert decodings == [30, 60, 60]
