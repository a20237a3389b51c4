"""What is stored is taken for what was written only where its bytes are; where nothing can be written is one line."""

import errno
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ssl_theory.benchmarks import cache, run
from ssl_theory.benchmarks.errors import InputError
from ssl_theory.benchmarks.machine import Effort
from tests.benchmarks.test_run import job

ROWS = pd.DataFrame({"value": np.linspace(0, 1, 50)})
KEPT = cache.Result(ROWS, run._no_history(), {"samples": np.eye(2)}, Effort(2.5, "a processor"))


def kept(folder: Path) -> Path:
    cache.write(folder / "entry", KEPT)
    return folder / "entry"


def change(file: Path) -> None:
    """Another number in a table that is whole; in what is no table another bit."""
    if file.suffix == ".parquet":
        pd.read_parquet(file).assign(value=0.5).to_parquet(file)
    else:
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def test_effort_is_kept_with_the_result(tmp_path):
    found = cache.read(kept(tmp_path))
    assert found is not None
    assert found.effort == KEPT.effort
    pd.testing.assert_frame_equal(found.rows, ROWS)


@pytest.mark.parametrize("damage", [change, empty, Path.unlink])
@pytest.mark.parametrize("name", cache.FILES)
def test_a_file_that_is_not_what_was_written_makes_the_result_missing(tmp_path, name, damage):
    entry = kept(tmp_path)
    damage(entry / name)
    assert cache.read(entry) is None


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"sha256": []}', '{"sha256": {}, "seconds": 1, "processor": ""}'])
def test_a_result_without_its_digests_is_missing(tmp_path, record):
    entry = kept(tmp_path)
    (entry / cache.RECORD).write_text(record)
    assert cache.read(entry) is None


def test_one_digest_that_is_not_there_is_enough(tmp_path):
    entry = kept(tmp_path)
    record = json.loads((entry / cache.RECORD).read_text())
    del record["sha256"]["history.parquet"]
    (entry / cache.RECORD).write_text(json.dumps(record))
    assert cache.read(entry) is None


def test_the_key_names_the_packages_that_compute(tmp_path, monkeypatch):
    before = job(tmp_path).entry
    for package in ("numpy", "scipy", "scikit-learn"):
        assert f" {package} " in cache.runtime()
        with monkeypatch.context() as patch:
            patch.setattr(cache, "_version", lambda name, other=package: "0" if name == other else real(name))
            assert job(tmp_path).entry != before
    assert job(tmp_path).entry == before


real = cache._version


def refusing(number: int):
    def acquire(*_, **__):
        raise OSError(number, "said by the system")

    return acquire


def test_a_read_only_file_system_is_one_line_and_a_full_disk_is_told_of_as_elsewhere(tmp_path, monkeypatch):
    for number in (errno.EROFS, errno.EACCES, errno.EIO):
        monkeypatch.setattr(cache.FileLock, "acquire", refusing(number))
        with pytest.raises(InputError, match="name another folder"), cache.alone(tmp_path):
            pass
    monkeypatch.setattr(cache.FileLock, "acquire", refusing(errno.ENOSPC))
    with pytest.raises(OSError, match="said by") as told, cache.alone(tmp_path):
        pass
    assert not isinstance(told.value, InputError)


def test_what_gets_its_name_is_on_the_disk(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(cache, "_flush", lambda file: flushed.append(file.name))
    kept(tmp_path)
    cache.replace_text(tmp_path / "table.md", "text")
    assert flushed[:4] == [*cache.FILES, cache.RECORD]
    assert len(flushed) == 5


def test_entry_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    result = cache.Result(pd.DataFrame({"value": [1.0]}), run._no_history(), {"samples": np.zeros((2, 1, 4, 4))})
    monkeypatch.setattr(cache.np, "savez", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        cache.write(tmp_path / "entry", result)
    assert cache.read(tmp_path / "entry") is None
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    file = tmp_path / "table.md"
    cache.replace_text(file, "old")

    def full(partial: Path) -> None:
        partial.write_text("ne")
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"), cache.replacing(file) as partial:
        full(partial)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("table.md", "old")]


def test_a_result_comes_back_as_it_was_and_not_at_all_when_damaged(tmp_path):
    kept = cache.Result(
        pd.DataFrame({"value": [1.0]}), run._no_history(), {"samples": np.eye(2), "decoded": np.ones(3)}
    )
    cache.write(tmp_path / "entry", kept)
    again = cache.read(tmp_path / "entry")
    assert again is not None
    assert set(again.arrays) == {"samples", "decoded"}
    assert (again.arrays["samples"] == np.eye(2)).all()
    file = tmp_path / "entry/arrays.npz"
    file.write_bytes(file.read_bytes()[:40])
    assert cache.read(tmp_path / "entry") is None
