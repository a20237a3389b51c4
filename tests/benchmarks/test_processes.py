"""Work in processes: what one says is passed on, what one was killed or failed at is told of, and the others end."""

import errno
import os
import signal
from collections.abc import Iterator
from multiprocessing import active_children
from pathlib import Path

import pytest

from ssl_theory.benchmarks import processes
from ssl_theory.benchmarks.errors import InputError
from ssl_theory.benchmarks.processes import Say

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


def kill(piece: Path, say: Say) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail(piece: Path, say: Say) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def refuse(piece: Path, say: Say) -> None:
    raise InputError(f"{piece.name}: try a smaller --batch")


def mark(piece: Path, say: Say) -> None:
    for word in ("begun", "done"):
        say(piece.name, word)
    piece.touch()


def pieces(folder: Path) -> list[Path]:
    return [folder / name for name in "abc"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("work", "kind", "words"),
    [
        (kill, InputError, "killed .*finished is kept: .* fewer --jobs"),
        (fail, OSError, "No space left"),
        (refuse, InputError, "^[abc]: try a smaller --batch$"),
    ],
    ids=["killed", "failed", "refused"],
)
def test_what_one_is_killed_or_fails_at_is_told_of_here_and_ends_the_others(tmp_path, work, kind, words):
    with pytest.raises(kind, match=words):
        processes.each(work, pieces(tmp_path), 2, print)
    assert active_children() == []


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_every_piece_is_computed_once_and_what_it_says_is_passed_on_in_order(tmp_path, workers):
    said: list[tuple[str, ...]] = []
    processes.each(mark, pieces(tmp_path), workers, lambda *words: said.append(words))
    assert sorted(said) == [(name, word) for name in "abc" for word in ("begun", "done")]
    assert all(said.index((name, "begun")) < said.index((name, "done")) for name in "abc")
    assert sorted(tmp_path.iterdir()) == pieces(tmp_path)
    processes.each(mark, [], workers, lambda *words: said.append(words))
    assert len(said) == 6
