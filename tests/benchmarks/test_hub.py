"""Tables come from a folder or from the hub, and what keeps them from coming is one line."""

import errno

import datasets
import pytest
from huggingface_hub.errors import HfHubHTTPError

from ssl_theory.benchmarks import hub
from ssl_theory.benchmarks.data import load
from ssl_theory.benchmarks.errors import InputError
from tests.benchmarks.scans import table
from tests.benchmarks.test_data import load_folder, one_line

ASKED = hub.reached  # before conftest.py puts something in its place


def test_missing_package_says_what_to_install(tmp_path, monkeypatch):
    table(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    assert "pip install 'ssl-theory[bench]'" in one_line(tmp_path)


def test_no_network_says_how_to_fetch_ahead(monkeypatch):
    def offline(_):
        raise ConnectionError("no route")

    monkeypatch.setattr("datasets.load_dataset", offline)
    with pytest.raises(InputError, match="hf download ylecun/mnist"):
        hub.read("ylecun/mnist", ("image", "label"), 10)


def test_a_hub_that_does_not_answer_is_not_asked_again(monkeypatch):
    """What was fetched before is taken; nothing is retried, and nothing is logged."""
    seen = []
    monkeypatch.setattr(hub, "reached", lambda _: False)
    monkeypatch.setattr("datasets.load_dataset", lambda _: seen.append(datasets.config.HF_HUB_OFFLINE) or {})
    assert hub.tables("ylecun/mnist") == {}
    assert seen == [True]
    assert not datasets.config.HF_HUB_OFFLINE


def test_any_answer_shows_that_the_hub_is_there(monkeypatch):
    def answering(error):
        def answer(*_, **__):
            raise error

        monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", answer)

    answering(HfHubHTTPError.__new__(HfHubHTTPError))  # what it is made of differs between versions
    assert ASKED("someone/nothing")
    answering(OSError("no route"))
    assert not ASKED("someone/nothing")


def failing(monkeypatch, error):
    def raising(_):
        raise error

    monkeypatch.setattr("datasets.load_dataset", raising)


def test_no_room_for_the_tables_says_where(tmp_path, monkeypatch):
    table(tmp_path)
    wrapped = RuntimeError("while generating")
    wrapped.__cause__ = OSError(28, "No space left on device")
    limits = [OSError(number, "the system's words") for number in (errno.EDQUOT, errno.EFBIG)]
    for error in (wrapped, *limits, OSError("Not enough disk space. Needed: 3 GiB")):
        failing(monkeypatch, error)
        assert "no space left on the disk" in one_line(tmp_path)


CONFIGURATIONS = """---
configs:
- config_name: plain
  data_files: plain/*.parquet
- config_name: wide
  data_files: wide/*.parquet
---
"""


def test_one_of_several_configurations_is_asked_for_and_read(tmp_path):
    (tmp_path / "README.md").write_text(CONFIGURATIONS)
    table(tmp_path / "plain", n=30)
    table(tmp_path / "wide", n=60)
    assert "several configurations: choose one of them with --config NAME: plain, wide." in one_line(tmp_path)
    assert "--config NAME: plain, wide." in one_line(tmp_path, config="round")
    for name, images in (("plain", 30), ("wide", 60)):
        splits = load_folder(tmp_path, config=name)
        assert sum(len(part) for part in (splits.train, splits.validation, splits.test)) == images


def test_several_configurations_on_the_hub_are_no_want_of_network(monkeypatch):
    said = "Config name is missing.\nPlease pick one among the available configs: ['en', 'de-at']\nExample of usage:"
    failing(monkeypatch, ValueError(said))
    with pytest.raises(InputError, match=r"^someone/many has several .* --config NAME: en, de-at\.$"):
        load("someone/many")


def test_any_data_set_of_the_hub_by_its_name(monkeypatch, tmp_path):
    asked = []
    table(tmp_path, n=40)
    tables = hub.tables
    monkeypatch.setattr(hub, "tables", lambda place, _: asked.append(place) or tables(tmp_path))
    splits = load("someone/scans-2.0")
    assert asked == ["someone/scans-2.0"]
    assert splits.name == "someone/scans-2.0"
    assert splits.classes == 3


def test_a_hub_name_that_is_not_there_or_is_a_folder(monkeypatch, tmp_path):
    class DatasetNotFoundError(FileNotFoundError):
        pass

    failing(monkeypatch, DatasetNotFoundError("someone/nothing"))
    with pytest.raises(InputError, match="misspelt, not public, or no network"):
        load("someone/nothing")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "scans").mkdir(parents=True)
    with pytest.raises(InputError, match="ssl-bench folder --data-dir mine/scans"):
        load("mine/scans")


@pytest.mark.parametrize("name", ["../scans", "a/b/c", "owner/", "/etc"])
def test_paths_are_no_hub_names(name):
    with pytest.raises(InputError, match="unknown data set"):
        load(name)
