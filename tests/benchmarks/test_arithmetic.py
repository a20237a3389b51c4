"""Faster arithmetic: near enough or not chosen, the same choice again, and only while networks train."""

import json
import os
import subprocess
import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
import torch

from ssl_theory.benchmarks import arithmetic, asked, run
from ssl_theory.benchmarks.errors import InputError
from ssl_theory.learners import SimVAE
from tests.benchmarks.shell import bench
from tests.benchmarks.test_run import job, silent

pytestmark = pytest.mark.usefixtures("rough_probes")
LEARNER = SimVAE(latent_dim=3, hidden=(16,))


def trial(**more) -> arithmetic.Trial:
    return arithmetic.Trial(LEARNER, (1, 5, 5), 8, "cpu", **more)


def took(monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float]) -> None:
    """What steps take, in place of the clock's word, twice as much from round to round."""
    monkeypatch.setattr(
        arithmetic,
        "in_turn",
        lambda steps, _: {name: [seconds.get(name, 1.0) * 2**r for r in range(3)] for name in steps},
    )


def wrong(monkeypatch: pytest.MonkeyPatch, name: str, by: float) -> None:
    """Gradients of one arithmetic err by this share."""
    plain = arithmetic.Step.gradient
    monkeypatch.setattr(arithmetic.Step, "gradient", lambda self: plain(self) * (1 + by * (self.precision == name)))


def test_names_are_those_that_can_be_asked_for():
    assert set(arithmetic.PRODUCTS) == set(asked.PRECISIONS)
    assert (arithmetic.EXACT, arithmetic.MIXED) == ("32-true", "bf16-mixed")
    assert arithmetic.PRODUCTS["32-medium"] == "medium"


def test_the_fastest_is_chosen(monkeypatch):
    took(monkeypatch, {"32-medium": 0.5, "32-high": 0.7})
    found = trial().fastest()
    assert found.precision == "32-medium"
    assert found.share == pytest.approx(0.5)
    assert found.error < arithmetic.MOST_ERROR
    assert "32-medium: a step of SimVAE takes 0.50 of its time" in found.words


def test_one_whose_gradient_is_too_far_is_not_chosen_however_fast(monkeypatch):
    took(monkeypatch, {"32-medium": 0.1, "32-high": 0.7})
    wrong(monkeypatch, "32-medium", 1.1 * arithmetic.MOST_ERROR)
    assert trial().fastest().precision == "32-high"


def test_one_that_saves_little_is_not_chosen(monkeypatch):
    took(monkeypatch, {"32-high": 1 - 0.8 * arithmetic.WORTH})
    found = trial().fastest()
    assert found.precision == "32-true"
    assert "no other that is near enough saves 5%" in found.words


def test_exact_arithmetic_is_chosen_where_nothing_is_near_enough(monkeypatch):
    took(monkeypatch, {})
    monkeypatch.setattr(arithmetic.Step, "gradient", lambda self: torch.randn(4))
    assert trial().fastest().precision == "32-true"


def test_layers_in_half_precision_are_not_compiled_hence_not_tried(monkeypatch):
    monkeypatch.setattr(arithmetic, "find_spec", lambda _: object())
    took(monkeypatch, {"bf16-mixed": 0.1})
    assert trial().fastest().precision == "bf16-mixed"
    assert trial(mixed=False).fastest().precision != "bf16-mixed"
    monkeypatch.setattr(arithmetic, "find_spec", lambda _: None)
    assert "bf16-mixed" not in arithmetic.usable()


def test_half_precision_errs_more_than_float32_and_less_than_is_allowed():
    exact = arithmetic.Step(LEARNER, (1, 5, 5), 8, "cpu", dtype=torch.float64).gradient()
    errors = [
        arithmetic.error(arithmetic.Step(LEARNER, (1, 5, 5), 8, "cpu", precision=name).gradient(), exact)
        for name in ("32-true", "bf16-mixed")
    ]
    assert errors[0] < 1e-5 < 1e-4 < errors[1] < arithmetic.MOST_ERROR


def test_steps_are_steps_and_products_come_back():
    step = arithmetic.Step(LEARNER, (1, 5, 5), 8, "cpu", precision="32-medium")
    before = [p.clone() for p in step.modules.parameters()]
    step()
    assert any((a != b).any() for a, b in zip(before, step.modules.parameters(), strict=True))
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize(("cost", "rounds", "each"), [(0.001, 5, 200), (0.05, 5, 4), (4.0, 2, 1), (99.0, 1, 1)])
def test_steps_take_turns_as_long_as_there_is_patience(monkeypatch, cost, rounds, each):
    """The first step of all takes long, which does not count."""
    now, done = [0.0], list[str]()

    def step(name: str, seconds: float):
        def take() -> None:
            done.append(name)
            now[0] += seconds * (50 if len(done) == 1 else 1)

        return take

    monkeypatch.setattr(arithmetic, "time", Namespace(perf_counter=lambda: now[0]))
    took = arithmetic.in_turn({"a": step("a", cost), "b": step("b", 2 * cost)}, "cpu")
    assert took == {"a": pytest.approx([cost] * rounds), "b": pytest.approx([2 * cost] * rounds)}
    assert done[:4] == ["a", "a", "b", "b"]
    assert done[4:] == (["a"] * each + ["b"] * max(1, each // 2)) * rounds


def test_what_was_found_is_found_again_whatever_the_time_says(tmp_path, monkeypatch):
    took(monkeypatch, {"32-medium": 0.5})
    first = trial().remembered(tmp_path, fresh=False)
    took(monkeypatch, {"32-high": 0.1})
    assert trial().remembered(tmp_path, fresh=False) == first
    assert arithmetic.Trial(LEARNER, (1, 5, 5), 9, "cpu").remembered(tmp_path, fresh=False).precision == "32-high"
    assert trial().remembered(tmp_path, fresh=True).precision == "32-high"


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", json.dumps({"precision": "8-true", "error": 0.0, "share": 1.0}), '{"share": 1}']
)
def test_a_damaged_note_is_tried_anew(tmp_path, monkeypatch, content):
    took(monkeypatch, {"32-medium": 0.5})
    found = trial().remembered(tmp_path, fresh=False)
    (note,) = tmp_path.iterdir()
    note.write_text(content)
    assert trial().remembered(tmp_path, fresh=False) == found
    assert json.loads(note.read_text()) == asdict(found)


def test_networks_train_in_it_and_are_examined_without(tmp_path, monkeypatch):
    seen = []
    fitted, examined = run._fitted, run._examined

    def note(function):
        def noting(*arguments):
            seen.append((function.__name__, torch.get_float32_matmul_precision()))
            return function(*arguments)

        return noting

    monkeypatch.setattr(run, "_fitted", note(fitted))
    monkeypatch.setattr(run, "_examined", note(examined))
    run.run([job(tmp_path, "vae", steps=4, precision="32-medium")], workers=1, fresh=False, report=silent)
    assert seen == [("_fitted", "medium")] * 3 + [("_examined", "highest")]
    assert torch.get_float32_matmul_precision() == "highest"


def test_arithmetic_and_compiling_are_part_of_what_a_result_is_found_by(tmp_path):
    entries = {
        job(tmp_path, precision=precision, compiled=compiled).entry
        for precision in asked.PRECISIONS
        for compiled in (False, True)
    }
    assert len(entries) == 2 * len(asked.PRECISIONS)


def test_a_method_is_compiled_where_that_was_asked_for(tmp_path, monkeypatch):
    asked_for = []
    plain = run.fit
    monkeypatch.setattr(run, "fit", lambda *a, compile, **k: asked_for.append(compile) or plain(*a, **k))
    for compiled in (False, True):
        run.run([job(tmp_path, "vae", steps=4, compiled=compiled)], workers=1, fresh=False, report=silent)
    assert asked_for == [False] * 3 + [True] * 3


@pytest.mark.parametrize("more", [["--devices", 2], ["--precision", "bf16-mixed"]])
def test_a_compiler_that_would_have_nothing_to_do_is_refused(tmp_path, capsys, monkeypatch, more):
    monkeypatch.setattr(run, "run", lambda *_, **__: pytest.fail("computed"))
    assert bench("digits", "--compile", "--out", tmp_path / "out", *more) == 2
    assert "these views have none: leave it out" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_compiler_is_one_line_before_anything_is_computed(tmp_path, capsys, monkeypatch):
    def failing(*_, **__):
        raise RuntimeError("no g++\nanywhere")

    monkeypatch.setattr(torch, "compile", failing)
    monkeypatch.setattr(run, "run", lambda *_, **__: pytest.fail("computed"))
    assert bench("digits", "--compile", "--out", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "C++ compiler that torch.compile can use (RuntimeError)" in said
    assert not (tmp_path / "out").exists()


def test_a_compiler_that_is_there_is_enough(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function: function)
    arithmetic.require_compiler()
    monkeypatch.setattr(torch, "compile", lambda function: None)
    with pytest.raises(InputError, match="install one, or leave it out"):
        arithmetic.require_compiler()


def test_the_command_says_what_it_chose_and_the_results_tell(tmp_path, capsys, monkeypatch):
    took(monkeypatch, {"32-medium": 0.5})
    given = ["digits", "--methods", "vae", "--seeds", 3, "--steps", 4, "--jobs", 1, "--out", tmp_path]
    assert bench(*given, "--precision", "fastest") == 0
    assert "ssl-bench: arithmetic 32-medium: a step" in capsys.readouterr().err
    told = json.loads((tmp_path / "digits/provenance.json").read_text())
    assert told["settings"]["precision"] == "32-medium"
    assert told["settings"]["compiled"] is False


@pytest.mark.slow
def test_compiled_methods_come_to_the_same_up_to_rounding(tmp_path):
    """In processes of their own: here shapes are checked at run time, which the compiler cannot look through."""
    tables = []
    methods = "simclr,moco,vicreg,byol,swav,dino,supervised,vae,crvae,simvae,simvae-mixture,simvae-split"
    common = f"digits --steps 40 --seeds 3 --jobs 1 --methods {methods}".split()
    for name, more in (("plain", []), ("compiled", ["--compile"])):
        given = [sys.executable, "-m", "ssl_theory.benchmarks", *common, "--out", str(tmp_path / name), *more]
        done = subprocess.run(given, env=os.environ, capture_output=True, text=True, check=True)
        assert "not compiled" not in done.stderr
        assert "recompile" not in done.stderr
        rows = pd.read_parquet(Path(tmp_path / name / "digits/table.parquet"))
        tables.append(rows[rows["measure"].isin(["linear", "knn"])].reset_index(drop=True))
    assert len(tables[0])
    assert (tables[0]["value"] - tables[1]["value"]).abs().max() < 0.05
