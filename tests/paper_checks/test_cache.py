"""The cache gives back what was put in, and nothing that was torn or tampered with."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from paper_checks.cache import Cache, cache_key, write_atomically, write_together
from paper_checks.claim import Task

KEY = "ab" + "0" * 62


def on_device(*, seed: int, device: str) -> pd.DataFrame:
    return pd.DataFrame({"seed": [seed]})


def on_any(*, seed: int) -> pd.DataFrame:
    return pd.DataFrame({"seed": [seed]})


@pytest.fixture
def table() -> pd.DataFrame:
    values = np.random.default_rng(0).normal(size=50)
    return pd.DataFrame({"seed": range(50), "value": values, "name": ["x"] * 50, "list": [[1.0, 2.0]] * 50})


@pytest.fixture
def cache(tmp_path: Path, table: pd.DataFrame) -> Cache:
    made = Cache(tmp_path)
    made.save(KEY, table, {"task": "t"})
    return made


def test_round_trip_is_bit_for_bit(cache: Cache, table: pd.DataFrame):
    loaded = cache.load(KEY)
    assert loaded is not None
    assert (loaded["value"].to_numpy() == table["value"].to_numpy()).all()
    assert cache.about(KEY)["task"] == "t"


def test_absent_and_forgotten_entries_are_none(cache: Cache):
    assert cache.load("cd" + "0" * 62) is None
    cache.forget(KEY)
    assert cache.load(KEY) is None


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "no record", "torn record", "other key", "no table"])
def test_damage_is_seen(cache: Cache, damage: str):
    parquet, record = (cache.folder / "ab" / f"{KEY}.{ending}" for ending in ("parquet", "json"))
    data = bytearray(parquet.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
        parquet.write_bytes(data)
    elif damage in ("truncate", "empty"):
        parquet.write_bytes(data[:-9] if damage == "truncate" else b"")
    elif damage == "no record":
        record.unlink()
    elif damage == "torn record":
        record.write_bytes(record.read_bytes()[:-10])
    elif damage == "other key":
        record.write_text(json.dumps({**json.loads(record.read_text()), "key": "cd"}))
    else:
        parquet.unlink()
    assert cache.load(KEY) is None


def test_a_failed_write_leaves_the_old_file_and_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_key_sees_seed_function_dtype_and_device_where_it_matters(monkeypatch: pytest.MonkeyPatch):
    base = cache_key(Task(on_device, {"seed": 0}), "cpu", "torch.float32")
    assert base == cache_key(Task(on_device, {"seed": 0}, cost=5), "cpu", "torch.float32")
    others = [
        cache_key(Task(on_device, {"seed": 1}), "cpu", "torch.float32"),
        cache_key(Task(on_any, {"seed": 0}), "cpu", "torch.float32"),
        cache_key(Task(on_device, {"seed": 0}), "cpu", "torch.float64"),
        cache_key(Task(on_device, {"seed": 0}), "cuda", "torch.float32"),
    ]
    assert len({base, *others}) == 5
    assert cache_key(Task(on_any, {"seed": 0}), "cpu", "d") == cache_key(Task(on_any, {"seed": 0}), "cuda", "d")
    monkeypatch.setattr("paper_checks.cache._version", lambda package: "9.9")
    assert cache_key(Task(on_device, {"seed": 0}), "cpu", "torch.float32") != base


def test_files_that_are_there_already_are_not_written_again(tmp_path: Path):
    """But for the last, which speaks for the rest; one that differs is, and what is not asked for goes."""
    write_together(tmp_path, {"a": b"1", "b": b"2", "last": b"3"}, ["old"])
    (tmp_path / "old").write_bytes(b"")
    before = {name: (tmp_path / name).stat().st_ino for name in ("a", "b", "last")}
    write_together(tmp_path, {"a": b"1", "b": b"4", "last": b"3"}, ["a", "b", "old"])
    kept = {name: (tmp_path / name).stat().st_ino == number for name, number in before.items()}
    assert kept == {"a": True, "b": False, "last": False}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"1", "b": b"4", "last": b"3"}


def test_a_table_is_read_as_pandas_reads_it(tmp_path: Path):
    table = pd.DataFrame({"word": ["a", None], "whole": [1, 2], "number": [0.1, np.nan], "so": [True, False]})
    Cache(tmp_path).save("ab", table, {})
    read = Cache(tmp_path).load("ab")
    assert read is not None
    pd.testing.assert_frame_equal(read, pd.read_parquet(tmp_path / "ab" / "ab.parquet"))
