"""Parts in processes of their own: what one was killed or failed at is told of, and the others end with it."""

import os
import signal
from collections.abc import Iterator
from multiprocessing import active_children
from pathlib import Path

import pytest

from ssl_theory.benchmarks import content_map
from ssl_theory.benchmarks.content_map import Grid, Part
from ssl_theory.benchmarks.errors import InputError
from tests.benchmarks.test_content_map import digits

PATIENCE = 240  # seconds: a command that waits for a dead process waits for ever


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    def over(*_):
        raise AssertionError(f"still waiting after {PATIENCE} seconds")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def parts(folder: Path) -> list[Part]:
    return Part.all_of(digits(1), Grid(decoder=(0.01, 0.1, 1.0), style=(0.15,)).plane, folder)


def kill(part: Part) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail(part: Part) -> None:
    raise OSError(28, "No space left on device")


def mark(part: Part) -> None:
    part.stored.with_suffix(".done").touch()


@pytest.mark.slow
def test_a_part_whose_process_is_killed_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(content_map, "compute", kill)
    with pytest.raises(InputError, match=r"killed .*finished parts are kept: .* fewer --jobs"):
        content_map.computed(parts(tmp_path), 2, lambda *_: None)
    assert active_children() == []


@pytest.mark.slow
def test_a_part_that_fails_fails_here_and_ends_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(content_map, "compute", fail)
    with pytest.raises(OSError, match="No space left"):
        content_map.computed(parts(tmp_path), 2, lambda *_: None)
    assert active_children() == []


@pytest.mark.slow
def test_every_part_is_computed_once_and_told_of(tmp_path, monkeypatch):
    from ssl_theory.benchmarks import workers

    every, reports = parts(tmp_path), []
    workers.each(mark, every, 2, lambda *said: reports.append(said))
    assert reports == [(1, 3), (2, 3), (3, 3)]
    assert sorted(tmp_path.iterdir()) == sorted(part.stored.with_suffix(".done") for part in every)
