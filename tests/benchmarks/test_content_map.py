"""The map of where SimVAE keeps more content than the VAE: what is trained and examined, and what is kept of it."""

import json
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rich.progress
import torch
from rich.console import Console

from ssl_theory.benchmarks import content_map, data, machine, map_report, progress
from ssl_theory.benchmarks.augmentation import unit
from ssl_theory.benchmarks.content_map import DONE, Grid, Part, Run, Setting
from ssl_theory.benchmarks.published import Colour, Crop, named
from ssl_theory.benchmarks.run import REFUSED
from ssl_theory.learners import VAE, SimVAE, fit
from tests.benchmarks.scans import table

pytestmark = pytest.mark.usefixtures("rough_probes")

BASE = Setting()
ONE = Grid(decoder=(0.01, 0.1), style=(0.15,), views=(4,), latent_dim=(), strength=())


def digits(steps: int) -> Run:
    splits = data.load("digits")
    return Run(splits, named("affine", splits.shape), steps, seeds=2)


def test_both_learners_begin_and_see_alike(tmp_path):
    part = Part.all_of(digits(1), ONE, tmp_path)[0]
    learners = [one for _, one in part.learners()]
    assert [type(one) for one in learners] == [VAE, SimVAE]
    settings = {name: value for name, value in asdict(learners[0]).items() if name in asdict(learners[1])}
    assert settings.items() <= asdict(learners[1]).items()
    begun = [fit(one, part.run.splits.views("train", part.augmentation()), steps=0, seeds=(0, 1)) for one in learners]
    for one, other in zip(begun[0].modules.parameters(), begun[1].modules.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_grid_has_every_cell_of_the_plane_and_one_thing_at_a_time_elsewhere():
    grid = Grid()
    plane = [(decoders, styles) for setting, decoders, styles in grid.parts(BASE) if setting == BASE]
    assert {(d, s) for decoders, styles in plane for d in decoders for s in styles} == {
        (d, s) for d in grid.decoder for s in grid.style
    }
    for setting, _, _ in grid.parts(BASE):
        assert sum(value != asdict(BASE)[name] for name, value in asdict(setting).items()) <= 1


def test_colour_images_have_the_latent_size_of_the_benchmark_and_a_plane_can_stand_alone(tmp_path):
    pixels = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    few = data.Images(pixels, torch.arange(4))
    splits = data.Splits("made", 4, few, few, few)
    parts = Part.all_of(Run(splits, named("crop", splits.shape), 1, seeds=2), Grid().plane, tmp_path)
    assert {part.setting for part in parts} == {Setting(latent_dim=64)}
    assert {part.decoders for part in parts} == {(decoder,) for decoder in Grid().decoder}


def test_networks_and_latent_size_are_those_asked_for_and_no_cell_comes_twice(tmp_path):
    run = replace(digits(1), encoder="conv", latent_dim=4)
    parts = Part.all_of(run, Grid(), tmp_path)
    assert [part.setting.latent_dim for part in parts if part.setting == run.base] == [4] * len(Grid().decoder)
    assert {one.network for part in parts for _, one in part.learners()} == {"conv"}
    assert {one.latent_dim for part in parts for _, one in part.learners()} == {4, 20, 40}
    cells = [(part.setting, decoder) for part in parts for decoder in part.decoders]
    assert len(cells) == len(set(cells))
    networks = [replace(digits(1), encoder=encoder) for encoder in ("mlp", "conv")]
    stored = {part.stored for one in networks for part in Part.all_of(one, Grid().plane, tmp_path)}
    assert len(stored) == 2 * len(Grid().decoder)


def test_a_plane_alone_has_one_axis_to_draw_at_its_least_and_largest_decoder_variance(tmp_path):
    run = digits(2)
    rows = content_map.computed(Part.all_of(run, ONE.plane, tmp_path), 1, lambda *_: None)
    assert list(map_report._along(rows, run.base)) == ["steps"]
    between = rows[rows["decoder_variance"] == 0.1].assign(decoder_variance=0.03)
    (line,) = map_report._along(pd.concat([rows, between]), run.base).values()
    assert set(line["decoder_variance"]) == {0.01, 0.1}
    (line,) = map_report._along(rows.assign(decoder_variance=100 * rows["decoder_variance"]), run.base).values()
    assert set(line["decoder_variance"]) == {1, 10}


def test_decoder_variances_are_those_asked_for():
    assert content_map.grid() == Grid()
    assert content_map.grid(narrow=True, plane=True) == content_map.NARROW.plane
    asked = content_map.grid(narrow=True, decoders="30, 10,1e1")
    assert asked == replace(content_map.NARROW, decoder=(10.0, 30.0))


def test_strength_widens_the_styles(tmp_path):
    part = Part.all_of(digits(1), ONE, tmp_path)[0]
    wide = replace(part, setting=replace(BASE, strength=2.0)).augmentation()
    draws = [how.draw((500,), torch.Generator().manual_seed(0)) for how in (part.augmentation(), wide)]
    torch.testing.assert_close(draws[1], 2 * draws[0])


@pytest.mark.parametrize("share", [0.5, 1.5])
def test_strength_widens_crops_and_colours_too(share):
    crop, colour = content_map.strengthened(named("crop-colour", (3, 32, 32)), share).parts
    assert isinstance(crop, Crop)
    assert isinstance(colour, Colour)
    assert crop.area == pytest.approx((1 - 0.4 * share, 1.0))
    assert np.log(crop.aspect) == pytest.approx(share * np.log(4 / 3))
    strengths = (colour.brightness, colour.contrast, colour.saturation, colour.hue)
    assert strengths == pytest.approx((0.8 * share, 0.8 * share, 0.8 * share, 0.2 * share))


def test_the_command_takes_columns_device_and_augmentation(tmp_path, monkeypatch):
    """As ssl-bench does, for images of one's own."""
    from ssl_theory.benchmarks.__main__ import main

    seen: list[Part] = []
    table(tmp_path / "scans", image="scan", label="kind")
    monkeypatch.setattr(content_map, "computed", lambda parts, *_: seen.extend(parts))
    monkeypatch.setattr(map_report, "write", lambda *_: None)
    words = f"map folder --data-dir {tmp_path}/scans --image-column scan --label-column kind --augmentation crop"
    words += " --latent-dim 3 --encoder mlp"
    with pytest.raises(SystemExit) as stopped:
        main([*words.split(), "--device", "cpu", "--out", str(tmp_path / "out")])
    assert not stopped.value.code
    assert {(type(part.run.usual), part.run.device) for part in seen} == {(Crop, "cpu")}
    assert {(part.run.base.latent_dim, part.run.design.network) for part in seen} == {(3, "mlp")}


def test_map_is_written_and_what_is_finished_is_kept(tmp_path, monkeypatch):
    run = digits(4)
    parts = Part.all_of(run, ONE, tmp_path / "parts")
    said: list[tuple[str, str, int]] = []
    rows = content_map.computed(parts, 1, lambda *words: said.append(words))
    lengths = [(learner, steps) for learner in ("VAE", "SimVAE") for steps in (1, 2, 4)]
    assert said == [(part.name, *words) for part in parts for words in (*lengths, (DONE, 0))]
    assert set(rows["steps"]) == {1, 2, 4}
    assert not rows["value"].isna().any()
    assert rows[rows["measure"] == "linear"]["value"].between(0.05, 1).all()
    monkeypatch.setattr(content_map, "fit", None)
    said.clear()
    again = content_map.computed(parts, 1, lambda *words: said.append(words))
    assert said == [(part.name, DONE, 0) for part in parts]
    pd.testing.assert_frame_equal(rows, again)
    took = content_map.effort(parts)
    assert took.seconds == pytest.approx(sum(content_map.effort([part]).seconds for part in parts))
    assert took == content_map.effort(parts)  # not what this command has taken so far
    map_report.write(tmp_path, "digits", rows, run, took, "COMMAND")
    assert {path.name for path in tmp_path.iterdir()} == {
        "parts",
        "content-map.md",
        "content-map.parquet",
        "plane.png",
        "axes.png",
        "provenance.json",
    }
    about = json.loads((tmp_path / "provenance.json").read_text())
    assert about["command"] == "COMMAND"
    assert about["seconds"] == round(took.seconds, 1) > 0
    assert about["processor"] == took.processor == machine.processor("cpu")
    assert about["data"]["sha256"] == run.splits.fingerprint()
    assert about["augmentation"] == repr(run.usual)
    told = (tmp_path / "content-map.md").read_text()
    assert "COMMAND" in told
    assert "nan" not in told


def test_every_length_is_told_once(tmp_path):
    (part, *_) = Part.all_of(digits(2), ONE, tmp_path)  # two lengths only: a quarter and a half are one
    rows = content_map.computed([part], 1, lambda *_: None)
    assert not rows.duplicated(["learner", "style_variance", "seed", "steps", "measure"]).any()
    assert [path.name for path in tmp_path.iterdir()] == [part.stored.name]


class Killed(BaseException):
    pass


def kill(part: Part, learner: str, steps: int, *, where: str) -> None:
    """Compute the part until that training has so many steps: in the midst of it, or as it is examined."""
    last = steps

    def watched(learners, *arguments, steps: int, progress, **options):
        def told(done: int, of: int) -> None:
            progress(done, of)
            if where == "training" and (type(learners[0]).__name__, done) == (learner, last):
                raise Killed

        return fit(learners, *arguments, steps=steps, progress=told, log_every=1, checkpoint_every=1, **options)

    def examined(fitted, exam):
        if where == "examining" and (type(fitted.members.learners[0]).__name__, fitted.steps) == (learner, last):
            raise Killed
        return first_number(fitted, exam)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(content_map, "fit", watched)
        patched.setattr(content_map, "examined", examined)
        with pytest.raises(Killed):
            content_map.computed([part], 1, lambda *_: None)


def first_number(fitted, exam) -> dict[str, torch.Tensor]:
    """In the place of an examination, which takes long: what the networks make of one image."""
    return {"first": fitted.transform(unit(exam.test.pixels[:1]))[:, 0, 0]}


@pytest.mark.parametrize(
    ("learner", "steps", "where"),
    [("VAE", 3, "training"), ("VAE", 4, "examining"), ("SimVAE", 2, "examining"), ("SimVAE", 7, "training")],
)
def test_a_killed_part_goes_on_where_it_was(tmp_path, monkeypatch, learner, steps, where):
    (part, *_) = Part.all_of(digits(8), ONE, tmp_path / "killed")
    began: list[tuple[str, int]] = []

    def watched(learners, *arguments, steps: int, progress, **options):
        def told(done: int, of: int) -> None:
            began.append((type(learners[0]).__name__, done))
            progress(done, of)

        return fit(learners, *arguments, steps=steps, progress=told, log_every=1, **options)

    monkeypatch.setattr(content_map, "examined", first_number)
    whole = content_map.computed([replace(part, stored=tmp_path / "whole")], 1, lambda *_: None)
    kill(part, learner, steps, where=where)
    monkeypatch.setattr(content_map, "fit", watched)
    again = content_map.computed([part], 1, lambda *_: None)
    pd.testing.assert_frame_equal(whole, again)
    every = [(kind, step) for kind in ("VAE", "SimVAE") for step in range(1, 9)]
    # What was saved before the kill is not trained again: the step itself where it was examined, else the one before.
    assert began == every[every.index((learner, steps)) + (where == "examining") :]
    assert [path.name for path in part.stored.parent.iterdir()] == [part.name]


@pytest.mark.parametrize("lost", ["checkpoint", "rows"])
def test_what_a_killed_part_left_damaged_is_made_anew(tmp_path, monkeypatch, lost):
    monkeypatch.setattr(content_map, "examined", first_number)
    (part, *_) = Part.all_of(digits(8), ONE, tmp_path / "killed")
    whole = content_map.computed([replace(part, stored=tmp_path / "whole")], 1, lambda *_: None)
    kill(part, "VAE", 8, where="examining")
    cut(part.beside("VAE.checkpoint") if lost == "checkpoint" else part.beside("VAE-2") / content_map.ROWS_FILE)
    said: list[str] = []
    pd.testing.assert_frame_equal(whole, content_map.computed([part], 1, lambda _, what, __: said.append(what)))
    refused = [what for what in said if what.startswith(REFUSED)]
    assert len(refused) == 1
    assert refused[0].startswith(f"{REFUSED} {part.name}.VAE.checkpoint, trained anew (ValueError: ")


def test_lines_tell_lengths_and_parts_and_a_bar_tells_every_step(tmp_path):
    parts = Part.all_of(digits(8), ONE, tmp_path)[:2]
    said, lines = StringIO(), StringIO()
    bar = rich.progress.Progress(console=Console(file=said))
    tellers = progress._PartLines(Console(file=lines), parts), progress._PartBar(bar, parts)
    lost = f"{REFUSED} a.checkpoint, trained anew (ValueError: expected [3])"
    for words in (
        (parts[1].name, DONE, 0),
        (parts[0].name, "VAE", 2),
        (parts[0].name, lost, 0),
        (parts[0].name, "VAE", 3),
    ):
        for tell in tellers:
            tell(*words)
    told = ["0 of 2 parts", "1 of 2 parts", "part 1: VAE, 2 of 8 steps", f"part 1: {lost}"]
    assert lines.getvalue().splitlines() == told
    assert said.getvalue() == f"{lost}\n"
    (task,) = bar.tasks
    assert (task.completed, task.total) == (16 + 3, 32)
    assert (task.description, task.fields["stage"]) == ("1 of 2 parts", "VAE 3/8")
    tellers[1](parts[0].name, DONE, 0)
    assert task.completed == task.total


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-30])


def change(file: Path) -> None:
    """Whole for Parquet, which keeps no checksum of its own, and another number."""
    pd.read_parquet(file).assign(value=0.5).to_parquet(file)


@pytest.mark.parametrize("damage", [cut, change, Path.unlink])
def test_a_part_that_is_not_what_was_written_is_missing(tmp_path, damage):
    (part, *_) = Part.all_of(digits(1), ONE, tmp_path)
    rows = content_map.computed([part], 1, lambda *_: None)
    damage(part.stored / content_map.ROWS_FILE)
    said: list[tuple[str, str, int]] = []
    again = content_map.computed([part], 1, lambda *words: said.append(words))
    assert said == [(part.name, learner, 1) for learner in ("VAE", "SimVAE")] + [(part.name, DONE, 0)]
    pd.testing.assert_frame_equal(rows, again)


@pytest.mark.parametrize(
    "wrong",
    [
        ["mnits"],
        ["digits", "--seeds", "2"],
        ["digits", "--steps", "0"],
        ["digits", "--latent-dim", "0"],
        ["digits", "--encoder", "cnn"],
        *(["digits", "--decoder-variances", typed] for typed in ("", "0.1,", "0,1", "-1", "nan", "inf", "ten")),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_line(wrong, capsys):
    from ssl_theory.benchmarks.__main__ import main

    with pytest.raises(SystemExit) as stopped:
        main(["map", *wrong])
    assert stopped.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_map_trains_in_the_arithmetic_and_the_program_it_was_asked_for(tmp_path, monkeypatch):
    seen = []

    def watched(*arguments, compile, **options):
        seen.append((torch.get_float32_matmul_precision(), compile))
        return fit(*arguments, **options)

    monkeypatch.setattr(content_map, "fit", watched)
    monkeypatch.setattr(content_map, "examined", lambda *_: seen.append(torch.get_float32_matmul_precision()) or {})
    plain = digits(1)
    other = replace(plain, precision="32-medium", compiled=True)
    for run in (plain, other):
        part = Part.all_of(run, ONE, tmp_path)[0]
        with pytest.raises(ValueError, match="concatenate"):  # of no measure there are no rows
            content_map.compute(part, lambda *_: None)
    assert seen == [("highest", False), "highest", ("medium", True), "highest"]
    names = {Part.all_of(run, ONE, tmp_path)[0].name for run in (plain, other, replace(plain, compiled=True))}
    assert len(names) == 3
