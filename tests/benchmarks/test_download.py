"""Data sets are fetched ahead into a folder; what can go wrong is said in one line."""

import errno

import huggingface_hub
import pytest
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

from ssl_theory.benchmarks import download
from ssl_theory.benchmarks.data import load
from ssl_theory.benchmarks.download import fetch
from ssl_theory.benchmarks.errors import InputError
from tests.benchmarks.scans import table


@pytest.fixture
def hub(monkeypatch):
    """What was asked of the hub; it gives a table of scans, unless `hub.error` is set."""

    class Hub(list):
        error: Exception | None = None

        def __call__(self, name, **keywords):
            self.append((name, keywords))
            if self.error is not None:
                raise self.error
            table(keywords["local_dir"], n=60, labels=[i % 10 for i in range(60)])

    made = Hub()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", made)
    return made


def said(name, folder) -> list[str]:
    lines: list[str] = []
    fetch(name, folder, lines.append)
    return lines


def test_fetched_folder_is_what_the_loader_takes(hub, tmp_path):
    lines = said("mnist", tmp_path / "new" / "mnist")
    assert hub == [("ylecun/mnist", {"repo_type": "dataset", "local_dir": tmp_path / "new" / "mnist"})]
    assert lines[-1].endswith(f"ssl-bench mnist --data-dir {tmp_path / 'new' / 'mnist'}")
    assert load("mnist", folder=tmp_path / "new" / "mnist").classes == 10


def test_any_data_set_of_the_hub(hub, tmp_path):
    said("someone/faces.v2", tmp_path)
    assert hub[0][0] == "someone/faces.v2"


@pytest.mark.parametrize("name", ["digits", "sprites"])
def test_nothing_to_fetch(hub, name):
    assert said(name, None) == [line for line in said(name, None) if "nothing to fetch" in line]
    assert hub == []


def refused(name, folder) -> str:
    with pytest.raises(InputError) as caught:
        said(name, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [("mnsit", "did you mean mnist"), ("celebA", "did you mean celeba"), ("folder", "nothing to fetch")],
)
def test_names_that_cannot_be_fetched(hub, name, message, tmp_path):
    assert message in refused(name, tmp_path)
    assert hub == []


def test_where_to_must_be_said(hub):
    assert "--to FOLDER" in refused("mnist", None)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionError("no route\nto host"), "no network"),
        (OfflineModeIsEnabled("offline"), "no network"),
        (LocalEntryNotFoundError("not there"), "no network"),
        (HFValidationError("bad name"), "check the spelling"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on the disk"),
        (PermissionError(errno.EACCES, "Permission denied"), "name another folder with --to"),
    ],
)
def test_what_goes_wrong_is_one_line(hub, tmp_path, error, message):
    hub.error = error
    assert message in refused("mnist", tmp_path)


def test_a_fetch_that_brought_nothing_leaves_no_folder(hub, tmp_path, monkeypatch):
    hub.error = ConnectionError("no route")
    refused("mnist", tmp_path / "data" / "mnist")
    monkeypatch.setattr(download, "reached", lambda _: False)
    refused("mnist", tmp_path / "data" / "mnist")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    refused("mnist", tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_what_was_fetched_before_it_was_cut_off_stays(tmp_path, monkeypatch):
    def cut_off(_, *, local_dir, **__):
        (local_dir / "half").write_text("")
        raise ConnectionError

    monkeypatch.setattr(huggingface_hub, "snapshot_download", cut_off)
    refused("mnist", tmp_path / "mnist")
    assert [path.name for path in (tmp_path / "mnist").iterdir()] == ["half"]


def test_a_file_in_the_way(hub, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot write to" in refused("mnist", tmp_path / "file")
    assert hub == []


def test_missing_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    assert "pip install 'ssl-theory[bench]'" in refused("mnist", tmp_path)
