"""What the tests of a whole run share."""

import pytest

from ssl_theory.benchmarks import download, hub, measures


@pytest.fixture(scope="session", autouse=True)
def _own_caches(tmp_path_factory):
    """Neither the user's decoded images nor those of `datasets` are read or written, and the hub is not asked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
        for room in (hub, download):
            patch.setattr(room, "reached", lambda _: True)
        yield


@pytest.fixture(scope="module")
def short_probes():
    """MLP probes of 40 steps instead of 720: how good they are is another test's matter."""

    def short(function):
        return lambda *a, kind, **k: function(*a, kind=kind, **(k | ({"steps": 40} if kind == "mlp" else {})))

    with pytest.MonkeyPatch.context() as patch:
        for name in ("r2", "accuracy", "held_out_classes", "held_out_predictions"):
            patch.setattr(measures, name, short(getattr(measures, name)))
        yield
