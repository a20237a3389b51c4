"""The command as a user meets it: exit codes, one-line refusals, files written, interruption and
resumption."""

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from ssl_theory.benchmarks import __main__ as command
from ssl_theory.benchmarks import board, provenance, run
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
    names = {"table.parquet", "table.json", "table.md", "table.tex", "provenance.json", "cache"}
    figures = ("content-against-style", "reconstructions", "training", "samples", "clusters")
    names |= {f"{n}.{s}" for n in figures for s in ("png", "pdf")}
    assert {path.name for path in folder.iterdir()} == names
    assert (folder / "reconstructions.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "training.pdf").read_bytes().startswith(b"%PDF")


def test_table_is_tidy_and_complete(finished):
    rows = pd.read_parquet(finished[0] / "table.parquet")
    assert list(rows.columns) == ["method", "layer", "seed", "aspect", "measure", "target", "value"]
    assert not rows.duplicated(["method", "layer", "seed", "aspect", "measure", "target"]).any()
    assert set(rows.query("layer == 'encoder'")["method"]) == {"simclr"}  # a head of one layer, as all but digits have
    assert "SimCLR, before head" in (finished[0] / "table.md").read_text()
    assert set(rows["method"]) == {"pixels", "simclr", "simvae"}
    accuracy = rows.query("method == 'pixels' and measure == 'linear' and target == 'label'")["value"].item()
    assert accuracy > 0.9
    stored = json.loads((finished[0] / "table.json").read_text())
    assert len(stored["rows"]) == len(rows)


def test_a_smaller_command_leaves_no_figures_of_a_larger_one(scans, tmp_path, short_probes):
    options = ["folder", "--data-dir", scans, "--out", tmp_path, "--seeds", 2, "--steps", 4, "--device", "cpu"]
    assert bench(*options, "--methods", "vae") == 0
    assert (tmp_path / "folder/samples.png").exists()
    (tmp_path / "folder/my-notes.png").write_text("the user's own")
    assert bench(*options, "--methods", "pixels") == 0
    assert sorted(path.stem for path in (tmp_path / "folder").glob("*.p[nd][gf]")) == ["clusters"] * 2 + ["my-notes"]


def test_provenance_says_how_to_make_it_again(finished):
    said = json.loads((finished[0] / "provenance.json").read_text())
    assert said["command"] == shlex.join(["ssl-bench", *map(str, finished[1])])
    assert said["processor"].endswith("cores")
    assert said["seeds"] == [0, 1]
    assert said["settings"]["steps"] == 20
    assert said["data"]["images"] == {"train": 51, "validation": 9, "test": 30}
    assert "style_variance=0.15" in said["methods"]["simvae"]
    assert {"torch", "numpy"} <= set(said["versions"])


def test_the_commit_says_whether_files_differ_from_it(tmp_path, monkeypatch):
    def git(*words):
        told = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(told, check=True, capture_output=True, text=True).stdout.strip()

    source = tmp_path / "provenance.py"
    monkeypatch.setattr(provenance, "__file__", str(source))
    source.write_text("one")
    assert provenance.commit() is None
    git("init")
    assert provenance.commit() is None  # installed into somebody's repository
    git("add", source.name)
    git("commit", "-m", "one")
    assert provenance.commit() == git("rev-parse", "HEAD")
    source.write_text("two")
    assert provenance.commit() == git("rev-parse", "HEAD") + "+"


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
        (["digits", "--encoder", "vit"], "auto, mlp, conv, resnet18"),
        (["digits", "--head", -1], "0 for no head"),
        (["digits", "--batch", 1], "at least 2"),
        (["digits", "--batch", 5, "--devices", 2], "multiple"),
        (["digits", "--nodes", 0], "at least 1"),
        (["digits", "--precision", "16-mixed"], "bf16-mixed"),
        (["digits", "--cluster", "local", "--devices", 2], "leave out"),
        (["digits", "sprites", "--precision", "bf16-mixed"], "one data set a command"),
        (["digits", "sprtes"], "did you mean sprites"),
        (["mnist", "sprites", "--data-dir", "/nowhere"], "/nowhere/mnist: no such folder"),
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


def test_faults_of_ours_are_not_dressed_up_as_bad_input(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ValueError("a bug")

    monkeypatch.setattr(run, "run", broken)
    with pytest.raises(ValueError, match="a bug"):
        command.main(["digits", "--out", str(tmp_path)])


def test_help_teaches(capsys):
    assert bench("--help") == 0
    shown = " ".join(capsys.readouterr().out.split())  # lines break where the terminal ends
    for words in (
        "ssl-bench digits",
        "--data-dir",
        "STYLE",
        "CONTENT",
        "provenance.json",
        "--fresh",
        "ssl-bench compare",
        "batch normalisation",
    ):
        assert words in shown
    assert bench("compare", "--help") == 0
    assert "intervals" in capsys.readouterr().out


def test_compare_with_itself_and_with_other_settings(finished, tmp_path, capsys):
    folder, _ = finished
    assert bench("compare", folder, folder) == 0
    shown = capsys.readouterr().out
    assert "differs" not in shown
    assert "+0.000" in shown
    assert "* 0 of" in shown
    other = tmp_path / "other"
    other.mkdir()
    rows = pd.read_parquet(folder / "table.parquet")
    rows.assign(value=rows["value"] + 1000).to_parquet(other / "table.parquet")
    said = json.loads((folder / "provenance.json").read_text())
    said["settings"]["steps"] = 21
    (other / "provenance.json").write_text(json.dumps(said))
    assert bench("compare", folder, other) == 0
    shown = capsys.readouterr().out
    assert "differs: settings, steps: 20 | 21" in shown
    assert "+1000.000*" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare", "/nowhere/a", "/nowhere/b"], "/nowhere/a: no results there"),
        (["compare", "/nowhere/a"], "Missing argument"),
        (["download"], "Missing argument"),
    ],
)
def test_bad_input_to_the_other_commands(arguments, said, capsys):
    assert bench(*arguments) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert said in shown.err


def test_download_is_handed_name_and_folder(monkeypatch, tmp_path):
    fetched = []
    monkeypatch.setattr("ssl_theory.benchmarks.download.fetch", lambda *a: fetched.append(a))
    assert bench("download", "mnist", "--to", tmp_path) == 0
    assert bench("download", "mnist") == 0
    assert [call[:2] for call in fetched] == [("mnist", tmp_path), ("mnist", Path("data/mnist"))]


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


def test_tensorboard_gets_the_losses_of_every_method_and_seed(monkeypatch, finished):
    monkeypatch.setattr(board, "writer", lambda: Board)
    assert bench(*finished[1], "--tensorboard") == 0
    places = {Path(folder).relative_to(finished[0] / "tensorboard").as_posix() for folder, *_ in Board.written}
    assert places == {f"{method}/seed-{seed}" for method in ("simclr", "simvae") for seed in (0, 1)}
    assert max(step for *_, step in Board.written) <= 20


def test_tensorboard_gets_a_method_as_soon_as_it_is_done(monkeypatch, scans, tmp_path, short_probes):
    monkeypatch.setattr(board, "writer", lambda: Board)
    monkeypatch.setattr(Board, "written", [])
    examined, seen = run.evaluate, []

    def noted(job, report, *given):
        seen.append({Path(folder).parent.name for folder, *_ in Board.written})
        examined(job, report, *given)

    monkeypatch.setattr(run, "evaluate", noted)
    options = ["--out", tmp_path, "--seeds", 2, "--steps", 5, "--jobs", 1, "--device", "cpu", "--tensorboard"]
    assert bench("folder", "--data-dir", scans, "--methods", "simclr,simvae", *options) == 0
    assert seen == [set(), {"simclr"}]


def test_tensorboard_gets_losses_while_a_method_trains(monkeypatch, scans, tmp_path, short_probes):
    monkeypatch.setattr(board, "writer", lambda: Board)
    monkeypatch.setattr(Board, "written", [])
    fit, examined, seen = run.fit, run._examined, []
    monkeypatch.setattr(run, "fit", lambda *a, **k: fit(*a, **k, log_every=2, checkpoint_every=4))
    monkeypatch.setattr(run, "_examined", lambda *a: seen.extend(Board.written) or examined(*a))
    options = ["--out", tmp_path, "--seeds", 2, "--steps", 16, "--jobs", 1, "--device", "cpu", "--tensorboard"]
    assert bench("folder", "--data-dir", scans, "--methods", "vae", *options) == 0
    assert {Path(folder).name for folder, *_ in seen} == {"seed-0", "seed-1"}
    assert [step for *_, step in seen][:2] == [2, 4]
    assert len(seen) == len(set(seen))
    assert {step for *_, step in Board.written} >= {step for *_, step in seen} >= {2, 4, 6, 8, 10, 12}


def test_defaults_follow_from_the_data_and_options_come_before_them(monkeypatch, scans, tmp_path):
    seen = []

    def stop(jobs, **_):
        seen.append(jobs[0].settings)
        seen.append(jobs[0].method.learner)
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run", stop)
    one = ["--out", tmp_path, "--methods", "simclr", "--device", "cpu"]
    bench("digits", *one)
    bench("folder", "--data-dir", scans, *one)
    bench("folder", "--data-dir", scans, *one, "--published", "--seeds", 4, "--head", 0)
    bench("digits", *one, "--steps", 7, "--batch", 32, "--encoder", "conv", "--head", 2)
    settings, learners = seen[::2], seen[1::2]
    assert [s.steps for s in settings] == [4000, 2000, 400 * 51 // 64 + 1, 7]
    assert [s.seeds for s in settings] == [5, 3, 4, 5]
    assert settings[-1].batch_size == 32
    assert [learner.head for learner in learners] == [None, (128, 10), None, (128, 128, 10)]
    assert [learner.network for learner in learners] == ["mlp", "mlp", "mlp", "conv"]
    assert learners[2].hidden == (2000, 500, 500)


def test_one_command_for_several_data_sets(monkeypatch, scans, tmp_path, capsys):
    seen = []
    monkeypatch.setattr(command, "_finish", lambda folder, *_: seen.append(folder))
    monkeypatch.setattr(run, "run", lambda jobs, **_: seen.append((jobs[0].splits.name, jobs[0].settings.seeds)) or {})
    (tmp_path / "data").mkdir()
    (tmp_path / "data/folder").symlink_to(scans)
    options = ["--data-dir", tmp_path / "data", "--out", tmp_path / "out", "--methods", "pixels", "--device", "cpu"]
    assert bench("folder", "digits", *options) == 0
    assert seen == [("folder", 3), tmp_path / "out/folder", ("digits", 5), tmp_path / "out/digits"]


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
