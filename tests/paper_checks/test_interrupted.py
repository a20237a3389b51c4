"""A run that is interrupted or killed: what it says, what is kept, and that it goes on to the same numbers."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paper_checks import workers
from tests.paper_checks.conftest import House

Cli = Callable[..., int]


def test_copies_that_judge_leave_with_their_parent(house: House, cli: Cli):
    claims = [house.claim(name) for name in ("one", "two")]
    cli(*claims)
    pids = house.folder / "pids"
    pids.mkdir()
    slow = f"import os; Path({str(pids)!r}, str(os.getpid())).touch(); time.sleep(60)"
    claims = [house.claim(name, broken_draw=slow) for name in ("one", "two")]
    words = [*claims, "--out", house.out, "--jobs", 2, "--device", "cpu"]
    command = [sys.executable, "-m", "paper_checks", *(str(word) for word in words)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: len(list(pids.iterdir())) == 2)
    process.kill()
    process.wait()
    until(lambda: not any(runs(int(path.name)) for path in pids.iterdir()), seconds=20)


def runs(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_ctrl_c_exits_130_and_says_how_to_go_on(
    house: House, cli: Cli, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    whole = workers._compute

    def interrupted(job: Any, *rest: Any) -> Any:
        if job.task.kwargs["seed"] == 3:
            raise KeyboardInterrupt
        return whole(job, *rest)

    claim = house.claim()
    monkeypatch.setattr(workers, "_compute", interrupted)
    assert cli(claim) == 130
    assert "the same command goes on from there" in capsys.readouterr().err
    monkeypatch.undo()
    assert cli(claim) == 0
    assert len(house.computed) == 10


def test_after_an_interrupted_fresh_run_the_same_command_would_begin_anew_and_is_not_named(
    house: House, cli: Cli, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def interrupted(*given: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(workers, "_compute", interrupted)
    assert cli(house.claim(), "--fresh") == 130
    assert "the same command without --fresh goes on from there" in capsys.readouterr().err


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_run_resumes_to_identical_numbers(house: House, cli: Cli, jobs: int):
    """SIGKILL in the middle of a run; what was finished is not computed again."""
    claim = house.claim(rest=0.15)
    words = [
        sys.executable,
        "-m",
        "paper_checks",
        str(claim),
        "--out",
        str(house.out),
        "--jobs",
        str(jobs),
        "--device",
        "cpu",
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["."])}
    process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: len(entries(house.out)) >= 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    settle(house)
    finished, started = len(entries(house.out)), len(house.computed)
    assert 2 <= finished < 10
    assert not (house.out / "toy").exists()
    assert cli(claim) == 0
    assert len(house.computed) == started + 10 - finished
    resumed = house.record()["findings"]
    assert cli(claim, "--out", house.folder / "whole") == 0
    whole = json.loads((house.folder / "whole" / "toy" / "findings.json").read_text())
    assert whole["findings"] == resumed


def entries(out: Path) -> list[Path]:
    return list((out / "cache").rglob("*.json"))


def until(reached: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "not reached in time"
        time.sleep(0.02)


def settle(house: House) -> None:
    """Wait until orphaned workers, which leave with their parent, have written their last."""
    before = -1
    while before != len(entries(house.out)) + len(house.computed):
        before = len(entries(house.out)) + len(house.computed)
        time.sleep(0.4)
