"""The command as a user meets it: exit codes, one-line refusals, files written, interruption and
resumption."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ssl_theory.benchmarks import __main__ as command
from ssl_theory.benchmarks import run
from tests.benchmarks.scans import encoded, table


def bench(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        command.main([str(a) for a in arguments])
    return int(left.value.code or 0)


def striped(n: int, seed: int) -> tuple[list[bytes], list[int]]:
    """Scans whose class is the row of a bright stripe, easy enough for a few steps of training."""
    rng = np.random.default_rng(seed)
    pixels, labels = rng.integers(0, 80, (n, 6, 6), dtype=np.uint8), [i % 3 for i in range(n)]
    for image, label in zip(pixels, labels, strict=True):
        image[2 * label] += 170
    return [encoded(image) for image in pixels], labels


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    for seed, (split, n) in enumerate((("train", 60), ("test", 30))):
        images, labels = striped(n, seed)
        table(folder, split, images=images, labels=labels)
    return folder


@pytest.fixture(scope="module")
def finished(scans, tmp_path_factory, short_probes):
    """One run of a user: the folder of results, and the arguments to repeat it."""
    out = tmp_path_factory.mktemp("out")
    arguments = ["folder", "--data-dir", scans, "--out", out, "--seeds", 2, "--steps", 20, "--jobs", 1]
    arguments += ["--methods", "pixels,simclr,simvae", "--device", "cpu"]
    assert bench(*arguments) == 0
    return out / "folder", arguments


def test_files_written(finished):
    folder, _ = finished
    names = {"table.parquet", "table.json", "table.md", "provenance.json", "cache"}
    names |= {f"{n}.{s}" for n in ("content-against-style", "reconstructions", "training") for s in ("png", "pdf")}
    assert {path.name for path in folder.iterdir()} == names
    assert (folder / "reconstructions.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "training.pdf").read_bytes().startswith(b"%PDF")


def test_table_is_tidy_and_complete(finished):
    rows = pd.read_parquet(finished[0] / "table.parquet")
    assert list(rows.columns) == ["method", "seed", "aspect", "measure", "target", "value"]
    assert not rows.duplicated(["method", "seed", "aspect", "measure", "target"]).any()
    assert set(rows["method"]) == {"pixels", "simclr", "simvae"}
    accuracy = rows.query("method == 'pixels' and measure == 'linear' and target == 'label'")["value"].item()
    assert accuracy > 0.9
    stored = json.loads((finished[0] / "table.json").read_text())
    assert len(stored["rows"]) == len(rows)


def test_provenance_says_how_to_make_it_again(finished):
    said = json.loads((finished[0] / "provenance.json").read_text())
    assert said["seeds"] == [0, 1]
    assert said["settings"]["steps"] == 20
    assert said["data"]["images"] == {"train": 51, "validation": 9, "test": 30}
    assert "style_variance=0.15" in said["methods"]["simvae"]
    assert {"torch", "numpy"} <= set(said["versions"])


def test_second_run_computes_nothing_and_prints_the_same(finished, monkeypatch, capsys):
    monkeypatch.setattr(run, "evaluate", lambda *_: pytest.fail("computed again"))
    before = (finished[0] / "table.parquet").read_bytes()
    assert bench(*finished[1]) == 0
    shown = capsys.readouterr()
    assert "SimVAE, Gaussian prior: cached" in shown.err
    assert "Content" in shown.out
    assert "Style" in shown.out
    assert "validation" in shown.out
    assert (finished[0] / "table.parquet").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["digts"], "did you mean digits"),
        (["digits", "--seeds", 1], "at least 2"),
        (["digits", "--seeds", "many"], "--seeds"),
        (["digits", "--steps", 0], "at least 1"),
        (["digits", "--methods", "simvea"], "did you mean simvae"),
        (["digits", "--methods", ","], "empty"),
        (["digits", "--colour", "red"], "No such option"),
        (["digits", "--device", "abacus"], "auto, cpu or cuda"),
        (["digits", "--jobs", -1], "--jobs"),
        (["folder"], "--data-dir"),
        (["mnist", "--data-dir", "/nowhere/at/all"], "no such folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments, said, tmp_path, capsys):
    out = tmp_path / "out"
    assert bench(*arguments, "--out", out) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert said in shown.err
    assert not out.exists()


def test_wrong_column_and_truncated_file(scans, tmp_path, capsys):
    out = tmp_path / "out"
    assert bench("folder", "--data-dir", scans, "--label-column", "kind", "--out", out) == 2
    assert "columns found: image, label" in capsys.readouterr().err
    table(tmp_path / "cut")
    file = next((tmp_path / "cut").glob("*.parquet"))
    file.write_bytes(file.read_bytes()[:100])
    assert bench("folder", "--data-dir", tmp_path / "cut", "--out", out) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()


def test_out_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert bench("digits", "--out", tmp_path / "file", "--methods", "random") == 2
    assert "--out" in capsys.readouterr().err


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


def test_faults_of_ours_are_not_dressed_up_as_bad_input(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ValueError("a bug")

    monkeypatch.setattr(run, "run", broken)
    with pytest.raises(ValueError, match="a bug"):
        command.main(["digits", "--out", str(tmp_path)])


def test_help_teaches(capsys):
    assert bench("--help") == 0
    shown = capsys.readouterr().out
    for words in ("ssl-bench digits", "--data-dir", "STYLE", "CONTENT", "provenance.json", "--fresh"):
        assert words in shown


def started(out: Path, *more: object) -> subprocess.Popen:
    arguments = [sys.executable, "-m", "ssl_theory.benchmarks", "digits", "--out", out, "--seeds", 2, *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
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
@pytest.mark.parametrize("jobs", [1, 2])
def test_sigkill_then_the_same_command_gives_the_same_table(tmp_path, jobs):
    more = ("--steps", 1200, "--methods", "simclr,vae", "--jobs", jobs)
    killed = started(tmp_path / "killed", *more)
    wait_for(tmp_path / "killed", "*.300.fitted", killed)
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
