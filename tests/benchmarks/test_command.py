"""The command as a user meets it: one-line refusals, exit codes, help, defaults and what it hands on."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ssl_theory.benchmarks import __main__ as command
from ssl_theory.benchmarks import content_map, data, decoded, grid, hub, map_report, provenance, report, run
from ssl_theory.benchmarks import table as tables
from tests.benchmarks.scans import table
from tests.benchmarks.shell import bench


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["digts"], "did you mean digits"),
        (["digits", "--seeds", 2], "at least 3"),
        (["digits", "--seeds", "many"], "--seeds"),
        (["digits", "--steps", 0], "at least 1"),
        (["digits", "--methods", "simvea"], "did you mean simvae"),
        (["digits", "--methods", ","], "empty"),
        (["digits", "--colour", "red"], "No such option"),
        (["digits", "--precision", "fastest", "--devices", 2], "name one of 32-true, 32-high, 32-medium"),
        (["digits", "--precision", "32-medium", "--cluster", "local"], "leave out --devices, --precision"),
        (["digits", "--augmentation", "crop-colour"], "needs RGB images"),
        (["digits", "sprites", "--augmentation", "world"], "choose another one"),
        (["digits", "--augmentation", ""], "unknown augmentation ''; known: affine"),
        (["sprites", "--augmentation", ""], "unknown augmentation ''"),
        (["map", "digits", "--narrow", "--steps", 1, "--augmentation", ""], "unknown augmentation ''"),
        (["digits", "--device", "abacus"], "auto, cpu or cuda"),
        (["digits", "--device", "meta"], "auto, cpu or cuda"),
        (["digits", "--device", "cpu:0"], "auto, cpu or cuda"),
        (["digits", "sprites", "--data-dir", "/nowhere"], "take no --data-dir"),
        (["digits", "--methods", "all,simclx"], "did you mean simclr"),
        (["digits", "--jobs", -1], "--jobs"),
        (["digits", "--encoder", "vit"], "auto, mlp, conv, resnet18"),
        (["digits", "--head", -1], "0 for no head"),
        (["digits", "--batch", 1], "at least 2"),
        (["digits", "--batch", 5, "--devices", 2], "multiple"),
        (["digits", "--nodes", 0], "at least 1"),
        (["digits", "--precision", "16-mixed"], "bf16-mixed"),
        (["digits", "--cluster", "local", "--devices", 2], "leave out"),
        (["digits", "sprtes"], "did you mean sprites"),
        (["mnist", "sprites", "--data-dir", "/nowhere"], "/nowhere/mnist: no such folder"),
        (["digits", "--config", "plain"], "--label-column or --config"),
        (["mnist", "--data-dir", "/nowhere", "--config", ""], "--config '': give a name"),
        (["map", "mnist", "--data-dir", "/nowhere", "--label-column", ""], "--label-column '': give a name"),
        (["folder", "--data-dir", "/nowhere", "--image-column", ""], "--image-column '': give a name"),
        (["map", "digits", "--encoder", "cnn"], "auto, mlp, conv, resnet18"),
        (["map", "digits", "--latent-dim", 0], "at least 1"),
        (["map", "digits", "--precision", "bf16-mixed"], "give one of 32-true, 32-high, 32-medium, fastest for a map"),
        (["folder"], "--data-dir"),
        (["mnist", "--data-dir", "/nowhere/at/all"], "no such folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments, said, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run, "run", lambda *_, **__: pytest.fail("computed"))
    out = tmp_path / "out"
    assert bench(*arguments, "--out", out) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert said in shown.err
    assert not out.exists()


@pytest.mark.parametrize(
    "words", ["digits --methods pixels --out=", "map --steps 1 --out=", "mnist --data-dir=", "download mnist --to="]
)
def test_an_empty_name_is_not_the_folder_one_is_in(words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert bench(*words.split()) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"'{words.split()[-1][:-1]}': it is empty; give a folder" in said
    assert list(tmp_path.iterdir()) == []


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


@pytest.mark.parametrize(
    ("words", "file"),
    [(["digits", "--methods", "random"], "table.md"), (["map", "digits", "--steps", 1], "content-map.md")],
)
def test_a_folder_where_a_file_is_to_go_is_refused_before_anything_is_computed(
    words, file, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(run, "run", lambda *_, **__: pytest.fail("computed"))
    monkeypatch.setattr(content_map, "computed", lambda *_: pytest.fail("computed"))
    (tmp_path / "digits" / file).mkdir(parents=True)
    assert bench(*words, "--out", tmp_path, "--device", "cpu") == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert f"{tmp_path / 'digits' / file} is a folder" in said.err
    assert [path.name for path in (tmp_path / "digits").iterdir()] == [file]


def test_a_data_set_named_twice_is_one(monkeypatch, tmp_path):
    seen, loaded = [], data.load("digits")
    monkeypatch.setattr(command, "_show", lambda done: seen.append(done.folder))
    monkeypatch.setattr(run, "run", lambda jobs, **_: seen.append([job.method.key for job in jobs]))
    monkeypatch.setattr(data, "load", lambda name, **_: replace(loaded, name=name))
    words = ["mnist", "ylecun/mnist", "--methods", "pixels", "--device", "cpu", "--out", tmp_path]
    assert bench(*words) == 0
    assert seen == [["pixels"], tmp_path / "mnist"]


def test_where_results_went_is_said_as_it_is(monkeypatch, tmp_path, capsys):
    done = SimpleNamespace(folder=tmp_path / "a[bold]b", jobs=[], results=dict)
    monkeypatch.setattr(report, "tidy", lambda _: None)
    monkeypatch.setattr(report, "caption", lambda *_: "")
    monkeypatch.setattr(tables, "terminal", lambda *_: [])
    monkeypatch.setattr(tables, "choices", lambda *_: "")
    command._show(done)
    assert f"Written to {done.folder}." in capsys.readouterr().out


def test_faults_of_ours_are_not_dressed_up_as_bad_input(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ValueError("a bug")

    monkeypatch.setattr(run, "run", broken)
    with pytest.raises(ValueError, match="a bug"):
        command.main(["digits", "--out", str(tmp_path)])


def test_images_that_memory_has_no_room_for_are_one_line(scans, tmp_path, capsys, monkeypatch):
    vast = np.broadcast_to(np.uint8(0), (1, 10**8, 10**9))
    monkeypatch.setattr(hub, "_decode", lambda *_: vast)
    monkeypatch.setattr(decoded, "read", lambda _: None)
    assert bench("folder", "--data-dir", scans, "--out", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("ssl-bench: out of memory (Unable to allocate ")
    assert "give fewer or smaller ones" in said
    assert not (tmp_path / "out").exists()


def test_want_of_memory_wherever_it_comes_from_is_one_line_and_other_faults_are_not(tmp_path, capsys, monkeypatch):
    def failing(error):
        monkeypatch.setattr(data, "load", lambda *_, **__: (_ for _ in ()).throw(error))
        return bench("digits", "--out", tmp_path / "out")

    assert failing(MemoryError()) == failing(RuntimeError("DefaultCPUAllocator: can't\nallocate memory")) == 2
    said = capsys.readouterr().err.splitlines()
    assert [line[: line.index(";")] for line in said] == [
        "ssl-bench: out of memory (MemoryError)",
        "ssl-bench: out of memory (DefaultCPUAllocator: can't allocate memory)",
    ]
    with pytest.raises(RuntimeError, match="a bug"):
        failing(RuntimeError("a bug"))


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
        "one piece of work",
    ):
        assert words in shown
    assert bench("compare", "--help") == 0
    assert "intervals" in capsys.readouterr().out


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
    assert [learner.head for learner in learners] == [None, (128, 128), None, (128, 128, 128)]
    assert [learner.network for learner in learners] == ["mlp", "mlp", "mlp", "conv"]
    assert learners[2].hidden == (2000, 500, 500)


def test_one_command_for_several_data_sets(monkeypatch, scans, tmp_path, capsys):
    seen = []
    monkeypatch.setattr(command, "_show", lambda done: seen.append(done.folder))
    monkeypatch.setattr(run, "run", lambda jobs, **_: seen.append([(j.splits.name, j.settings.seeds) for j in jobs]))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/folder").symlink_to(scans)
    options = ["--data-dir", tmp_path / "data", "--out", tmp_path / "out", "--methods", "pixels", "--device", "cpu"]
    assert bench("folder", "digits", *options) == 0
    assert seen == [[("folder", 3), ("digits", 5)], tmp_path / "out/folder", tmp_path / "out/digits"]


@pytest.mark.parametrize("arguments", [("digits", "--methods", "random"), ("map", "digits")], ids=["bench", "map"])
def test_the_commit_is_that_of_the_start_however_the_tree_moves_on(arguments, tmp_path, monkeypatch):
    moved, written = [], []

    def git(*words):
        return {"ls-files": "provenance.py", "rev-parse": "after" if moved else "before", "status": ""}[words[0]]

    def computes(*_, **__):
        moved.append(True)

    def writes(*_, **__):
        written.append(provenance.commit())

    monkeypatch.setattr(provenance, "_git", git)
    monkeypatch.setattr(content_map, "computed", computes)
    monkeypatch.setattr(content_map, "effort", computes)
    monkeypatch.setattr(map_report, "write", writes)
    monkeypatch.setattr(grid, "work", lambda *_, **__: (computes(), writes(), False)[-1])
    provenance.commit.cache_clear()
    assert bench(*arguments, "--out", tmp_path) == 0
    provenance.commit.cache_clear()
    assert written == ["before"]
