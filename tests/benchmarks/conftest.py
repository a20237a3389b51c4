"""What the tests of a whole run share."""

from pathlib import Path

import pytest

from ssl_theory.benchmarks import download, hub
from tests.benchmarks.scans import striped, table
from tests.benchmarks.shell import bench
from tests.conftest import roughened


@pytest.fixture(scope="session", autouse=True)
def _own_caches(tmp_path_factory):
    """Neither the user's decoded images nor those of `datasets` are read or written, and the hub is not asked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
        for room in (hub, download):
            patch.setattr(room, "reached", lambda _: True)
        yield


@pytest.fixture(scope="session")
def scans(tmp_path_factory) -> Path:
    """A folder of the hub's schema with 60 images to train on and 30 to test."""
    folder = tmp_path_factory.mktemp("scans")
    for seed, (split, n) in enumerate((("train", 60), ("test", 30))):
        images, labels = striped(n, seed)
        table(folder, split, images=images, labels=labels)
    return folder


@pytest.fixture(scope="session")
def finished(scans, tmp_path_factory) -> tuple[Path, list[object]]:
    """One run of a user: the folder of results, and the arguments to repeat it. To be read, not written to."""
    out = tmp_path_factory.mktemp("out")
    arguments = ["folder", "--data-dir", scans, "--out", out, "--seeds", 3, "--steps", 20, "--jobs", 1]
    arguments += ["--methods", "pixels,simclr,simvae", "--device", "cpu"]
    with roughened():
        assert bench(*arguments) == 0
    return out / "folder", arguments
