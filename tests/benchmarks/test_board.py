"""Losses for TensorBoard: of every method and seed, while they are trained."""

import shutil
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from ssl_theory.benchmarks import board, run
from tests.benchmarks.shell import bench


def test_tensorboard_that_is_missing_is_told_before_anything_is_trained(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.setattr(run, "run", lambda *_, **__: pytest.fail("trained"))
    assert bench("digits", "--tensorboard", "--out", tmp_path) == 2
    assert "pip install 'ssl-theory[tensorboard]'" in capsys.readouterr().err


class Board:
    """Notes what would be written for TensorBoard."""

    written: ClassVar[list[tuple[str, str, float, int]]] = []

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def flush(self) -> None:
        return None

    def close(self) -> None:
        return None

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.written.append((self.folder, name, value, step))


def test_tensorboard_gets_the_losses_of_every_method_and_seed(monkeypatch, finished, tmp_path):
    """Also of a run that was finished without it; on a copy, as the command says anew how it was made."""
    folder, arguments = finished
    copy = Path(shutil.copytree(folder, tmp_path / folder.name))
    monkeypatch.setattr(board, "writer", lambda: Board)
    monkeypatch.setattr(Board, "written", [])
    assert bench(*[tmp_path if a == folder.parent else a for a in arguments], "--tensorboard") == 0
    places = {Path(place).relative_to(copy / "tensorboard").as_posix() for place, *_ in Board.written}
    assert places == {f"{method}/seed-{seed}" for method in ("simclr", "simvae") for seed in (0, 1, 2)}
    assert max(step for *_, step in Board.written) <= 20


def test_tensorboard_gets_a_method_as_soon_as_it_is_done(monkeypatch, scans, tmp_path, rough_probes):
    monkeypatch.setattr(board, "writer", lambda: Board)
    monkeypatch.setattr(Board, "written", [])
    examined, seen = run.evaluate, []

    def noted(job, report, *given):
        seen.append({Path(folder).parent.name for folder, *_ in Board.written})
        examined(job, report, *given)

    monkeypatch.setattr(run, "evaluate", noted)
    options = ["--out", tmp_path, "--seeds", 3, "--steps", 5, "--jobs", 1, "--device", "cpu", "--tensorboard"]
    assert bench("folder", "--data-dir", scans, "--methods", "simclr,simvae", *options) == 0
    assert seen == [set(), {"simclr"}]


def test_tensorboard_gets_losses_while_a_method_trains(monkeypatch, scans, tmp_path, rough_probes):
    monkeypatch.setattr(board, "writer", lambda: Board)
    monkeypatch.setattr(Board, "written", [])
    fit, examined, seen = run.fit, run._examined, []
    monkeypatch.setattr(run, "fit", lambda *a, **k: fit(*a, **k, log_every=2, checkpoint_every=4))
    monkeypatch.setattr(run, "_examined", lambda *a: seen.extend(Board.written) or examined(*a))
    options = ["--out", tmp_path, "--seeds", 3, "--steps", 16, "--jobs", 1, "--device", "cpu", "--tensorboard"]
    assert bench("folder", "--data-dir", scans, "--methods", "vae", *options) == 0
    assert {Path(folder).name for folder, *_ in seen} == {"seed-0", "seed-1", "seed-2"}
    assert [step for *_, step in seen][:2] == [2, 4]
    assert len(seen) == len(set(seen))
    assert {step for *_, step in Board.written} >= {step for *_, step in seen} >= {2, 4, 6, 8, 10, 12}
