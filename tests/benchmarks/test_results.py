"""What a command leaves in its folder: tables, figures, provenance; that it is not computed twice; comparisons."""

import json
import math
import shlex
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from ssl_theory.benchmarks import cache, examination, generation, machine, provenance, report, run
from ssl_theory.benchmarks.augmentation import Affine
from ssl_theory.benchmarks.data import Images, Splits
from ssl_theory.benchmarks.machine import Effort
from ssl_theory.benchmarks.methods import METHODS
from ssl_theory.benchmarks.run import Job, Settings
from tests.benchmarks.shell import bench


def test_files_written(finished):
    folder, _ = finished
    names = {"table.parquet", "table.json", "table.md", "table.tex", "provenance.json", "cache", ".lock"}
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


def test_a_smaller_command_leaves_no_figures_of_a_larger_one(scans, tmp_path, rough_probes):
    options = ["folder", "--data-dir", scans, "--out", tmp_path, "--seeds", 3, "--steps", 4, "--device", "cpu"]
    assert bench(*options, "--methods", "vae") == 0
    assert (tmp_path / "folder/samples.png").exists()
    (tmp_path / "folder/my-notes.png").write_text("the user's own")
    assert bench(*options, "--methods", "pixels") == 0
    assert sorted(path.stem for path in (tmp_path / "folder").glob("*.p[nd][gf]")) == ["clusters"] * 2 + ["my-notes"]


def captioned(sizes: tuple[int, int, int], *measured: str) -> str:
    """The caption of a data set of so many images, where these aspects were measured."""
    train, validation, test = (Images(torch.zeros(n, 1, 1, 1, dtype=torch.uint8), torch.arange(n) % 2) for n in sizes)
    job = Job.of(METHODS["vae"], Splits("many", 2, train, validation, test), Affine(), Settings(), Path("cache"))
    rows = [{"method": "vae", "layer": "representation", "seed": s, "measure": "any", "target": ""} for s in range(3)]
    values = {name: 0.5 if name in measured else math.nan for name in ("content", "generation", "evidence")}
    rows = [row | {"aspect": name, "value": value} for row in rows for name, value in values.items()]
    return report.caption([job], pd.DataFrame(rows))


def test_the_caption_says_what_is_looked_at_where_that_is_not_all(monkeypatch):
    """By the numbers in force; nothing of what was not measured."""
    monkeypatch.setattr(examination, "MOST_IMAGES", 600)
    monkeypatch.setattr(examination, "EVIDENCE_IMAGES", 50)
    monkeypatch.setattr(generation, "MOST_SAMPLES", 300)
    every = captioned((700, 601, 602), "content", "generation", "evidence")
    assert "many: 700 train, 601 validation, 602 test images" in every
    assert (
        "validation images. Of these, probes learn on 600 train images, choices are made on 600 validation images, "
        "probes are scored on 600 test images, evidence is of 50 test images, Fréchet distances are between 300 "
        "samples and as many views of test images."
    ) in every
    assert captioned((600, 600, 600), "content").endswith("chosen on the validation images.")
    assert captioned((600, 600, 50), "content", "generation", "evidence").endswith("chosen on the validation images.")
    few = captioned((600, 600, 75), "content", "generation", "evidence")  # four views each, as many as samples
    assert few.endswith("Of these, evidence is of 50 test images.")


def test_a_full_disk_leaves_no_half_of_a_file(tmp_path, monkeypatch):
    def half(_, path, **__):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "tidy", lambda _: pd.DataFrame())
    monkeypatch.setattr(pd.DataFrame, "to_parquet", half)
    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(OSError, match="No space"):
        report.write(tmp_path, {}, [], "")
    with pytest.raises(OSError, match="No space"):
        report._save(Figure(), tmp_path / "training")
    assert list(tmp_path.iterdir()) == []


def test_provenance_says_how_to_make_it_again(finished):
    said = json.loads((finished[0] / "provenance.json").read_text())
    assert said["command"] == shlex.join(["ssl-bench", *map(str, finished[1])])
    assert said["processor"].endswith("cores")
    assert said["seeds"] == [0, 1, 2]
    assert said["settings"]["steps"] == 20
    assert said["data"]["images"] == {"train": 51, "validation": 9, "test": 30}
    assert "style_variance=0.15" in said["methods"]["simvae"]
    assert {"torch", "numpy"} <= set(said["versions"])


def test_the_commit_says_whether_files_differ_from_it(tmp_path, monkeypatch):
    def git(*words):
        told = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(told, check=True, capture_output=True, text=True).stdout.strip()

    commit, source = provenance.commit.__wrapped__, tmp_path / "provenance.py"
    monkeypatch.setattr(provenance, "__file__", str(source))
    source.write_text("one")
    assert commit() is None
    git("init")
    assert commit() is None  # installed into somebody's repository
    git("add", source.name)
    git("commit", "-m", "one")
    assert commit() == git("rev-parse", "HEAD")
    source.write_text("two")
    assert commit() == git("rev-parse", "HEAD") + "+"


def test_second_run_computes_nothing_and_prints_the_same(finished, monkeypatch, capsys):
    monkeypatch.setattr(run, "evaluate", lambda *_: pytest.fail("computed again"))
    monkeypatch.setattr(machine, "processor", lambda _: "another machine")
    before, said = (finished[0] / "table.parquet").read_bytes(), provenance_of(finished[0])
    assert bench(*finished[1]) == 0
    shown = capsys.readouterr()
    assert "SimVAE, Gaussian prior: cached" in shown.err
    assert "Content" in shown.out
    assert "Style" in shown.out
    assert "validation" in shown.out
    assert (finished[0] / "table.parquet").read_bytes() == before
    again = provenance_of(finished[0])
    assert {name for name in said if said[name] != again[name]} <= {"written"}  # nor is this command said to have


def provenance_of(folder: Path) -> dict[str, object]:
    said: dict[str, object] = json.loads((folder / "provenance.json").read_text())
    return said


def test_seconds_and_processors_are_those_of_all_results(finished):
    kept = [cache.read(entry) for entry in (finished[0] / "cache").iterdir()]
    took = [result.effort.seconds for result in kept if result is not None]
    said = provenance_of(finished[0])
    assert len(took) == 3
    assert min(took) > 0
    assert said["seconds"] == pytest.approx(sum(took), abs=0.051)
    together = machine.together([Effort(1.5, "a"), Effort(2.5, "b"), Effort(1.0, "a"), Effort()])
    assert together == Effort(5.0, "a; b")


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
