"""Ctrl-C, SIGKILL and a full disk: exit codes, one line, and the same table when the command is given again."""

import errno
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from ssl_theory.benchmarks import cache, ranks, run
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


@pytest.mark.parametrize("command", [("digits", "--methods", "pixels"), ("map", "digits", "--steps", 1)])
def test_a_folder_that_another_command_writes_to_is_refused(tmp_path, capsys, command):
    (tmp_path / "digits").mkdir()
    with cache.alone(tmp_path / "digits"):
        assert bench(*command, "--out", tmp_path, "--device", "cpu") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert f"another ssl-bench is writing to {tmp_path / 'digits'}: wait" in said.err


def test_a_folder_is_swept_of_what_killed_commands_were_writing(tmp_path):
    (tmp_path / "cache").mkdir()
    for path in (".table.md.4711.partial", "table.md", "cache/.vae-1.4711.partial", "cache/vae-1.checkpoint"):
        (tmp_path / path).write_text("")
    with cache.alone(tmp_path, "cache"):
        left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left - {".lock"} == {"table.md", "cache/vae-1.checkpoint"}


def test_the_first_of_several_processes_lets_the_others_go_when_it_is_refused(tmp_path, monkeypatch):
    asked = []
    fabric = SimpleNamespace(global_rank=0, world_size=1, device=torch.device("cpu"), autocast=nullcontext)
    monkeypatch.setattr(ranks, "launched", lambda *_: fabric)
    monkeypatch.setattr(ranks, "_told", lambda names, _: asked.append(names) or names)
    (tmp_path / "digits").mkdir()
    with cache.alone(tmp_path / "digits"):
        assert bench("digits", "--out", tmp_path, "--methods", "pixels", "--device", "cpu", "--devices", 2) == 2
    assert asked == [[]]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG], ids=errno.errorcode.get)
def test_a_disk_that_fills_up_in_training_is_one_line(number, scans, tmp_path, monkeypatch, capsys):
    """Through a checkpoint that cannot be written."""

    def full(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    options = ["--out", tmp_path, "--seeds", 3, "--steps", 4, "--device", "cpu", "--jobs", 1]
    assert bench("folder", "--data-dir", scans, "--methods", "simclr,vae", *options) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ssl-bench: ")]
    assert len(said) == 1
    assert "no space left" in said[0]


def started(out: Path, *more: object) -> subprocess.Popen:
    arguments = [sys.executable, "-m", "ssl_theory.benchmarks", "digits", "--out", out, "--seeds", 3, *more]
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
