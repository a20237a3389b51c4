"""Ctrl-C, SIGKILL and a full disk: exit codes, one line, and the same table when the command is given again."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from ssl_theory.benchmarks import run
from tests.benchmarks.shell import bench


def test_interruption_is_130_and_a_full_disk_2(tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run, "run", interrupted)
    assert bench("digits", "--out", tmp_path) == 130
    assert "interrupted" in capsys.readouterr().err
    monkeypatch.setattr(run, "run", full)
    assert bench("digits", "--out", tmp_path) == 2
    assert "no space left" in capsys.readouterr().err


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_fills_up_in_training_is_one_line(scans, tmp_path, monkeypatch, capsys):
    """Through a checkpoint that cannot be written."""
    monkeypatch.setattr(os, "fsync", full)
    options = ["--out", tmp_path, "--seeds", 2, "--steps", 4, "--device", "cpu", "--jobs", 1]
    assert bench("folder", "--data-dir", scans, "--methods", "simclr,vae", *options) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ssl-bench: ")]
    assert len(said) == 1
    assert "no space left" in said[0]


def started(out: Path, *more: object) -> subprocess.Popen:
    arguments = [sys.executable, "-m", "ssl_theory.benchmarks", "digits", "--out", out, "--seeds", 2, *more]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    return subprocess.Popen(
        [str(a) for a in arguments],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # a job that a shell put in the background is born deaf to Ctrl-C, and so would its children be
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_for(out: Path, pattern: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 300
    while not list(out.rglob(pattern)):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("jobs", "there"), [(1, "*.300.fitted"), (2, "*.300.fitted"), (2, "cache/simclr-*/rows.parquet")]
)
def test_sigkill_then_the_same_command_gives_the_same_table(tmp_path, jobs, there):
    """Killed while both methods train, and when a single one is left, which the same process then computes."""
    more = ("--steps", 1200, "--methods", "simclr,vae", "--jobs", jobs)
    killed = started(tmp_path / "killed", *more)
    wait_for(tmp_path / "killed", there, killed)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed/digits/table.parquet").exists()
    for folder in ("killed", "whole"):
        process = started(tmp_path / folder, *more)
        assert process.wait() == 0, process.stderr.read()
        process.stderr.close()
    killed.stderr.close()
    tables = [pd.read_parquet(tmp_path / folder / "digits/table.parquet") for folder in ("killed", "whole")]
    pd.testing.assert_frame_equal(*tables)


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_leaves_no_process(tmp_path):
    process = started(tmp_path, "--steps", 100_000, "--methods", "simclr,vae", "--jobs", 2)
    wait_for(tmp_path, "*.checkpoint", process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert "interrupted" in process.stderr.read()
    process.stderr.close()
    assert not (tmp_path / "digits/table.parquet").exists()
    before = {p.name: p.stat().st_mtime for p in tmp_path.rglob("*.checkpoint")}
    time.sleep(3)
    assert before == {p.name: p.stat().st_mtime for p in tmp_path.rglob("*.checkpoint")}
