"""The command line, whole: verdicts, exit codes, what is computed again and what not, bad input."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest
import torch

from tests.paper_checks.conftest import House

Cli = Callable[..., int]


def test_a_claim_that_holds_exits_0_and_leaves_everything(house: House, cli: Cli, capsys: pytest.CaptureFixture[str]):
    claim = house.claim()
    assert cli(claim) == 0
    printed = capsys.readouterr()
    assert "✓ holds  toy" in printed.out
    assert str(house.out / "index.html") in printed.out
    assert "10 tasks, 0 of them in the cache" in printed.err
    left = {path.name for path in (house.out / "toy").iterdir()}
    assert left == {
        claim.name,
        "findings.json",
        "figure.png",
        "figure.pdf",
        "table.parquet",
        "control.parquet",
        "index.html",
    }
    assert len(pd.read_parquet(house.out / "toy" / "table.parquet")) == 5
    about = house.record()["provenance"]
    assert about["profile"] == "quick"
    assert about["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert about["computed"] == about["tasks"] == 10
    assert house.record()["config"]["seeds"] == 5


def test_a_second_run_computes_nothing_and_says_the_same(house: House, cli: Cli):
    claim = house.claim()
    cli(claim)
    first, figure = house.record(), (house.out / "toy" / "figure.pdf").read_bytes()
    assert len(house.computed) == 10
    assert cli(claim) == 0
    assert len(house.computed) == 10
    assert house.record()["findings"] == first["findings"]
    assert house.record()["provenance"]["computed"] == 0
    assert (house.out / "toy" / "figure.pdf").read_bytes() == figure


def test_more_seeds_compute_only_the_new_ones(house: House, cli: Cli):
    claim = house.claim()
    cli(claim)
    cli(claim, "--seeds", 6)
    assert house.computed[10:] == ["seed 5 mean 1.0", "seed 5 mean -1.0"]
    assert house.record()["findings"][0]["seeds"] == 6


def test_another_setting_is_computed_with_and_said(house: House, cli: Cli, capsys: pytest.CaptureFixture[str]):
    claim = house.claim()
    assert cli(claim, "--set", "mean=0.2", "--set", "rest=0") == 1
    assert house.record()["findings"][0]["estimate"] == pytest.approx(0.2, abs=0.01)
    assert house.record()["config"]["mean"] == 0.2
    assert house.record()["provenance"]["changes"] == {"mean": 0.2, "rest": 0}
    assert "with mean = 0.2, with rest = 0" in (house.out / "summary.md").read_text()
    capsys.readouterr()
    assert cli(claim) == 0
    assert "with mean" not in (house.out / "summary.md").read_text()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("mean", "--set: expected KEY=VALUE, as steps=8000, found 'mean'"),
        ("=3", "--set: expected KEY=VALUE, as steps=8000, found '=3'"),
        ("maen=1", "--set maen: toy has no such setting; choose among seeds, mean, rest"),
        ("mean=high", '--set mean: expected a value like toy\'s 1.0, found "high"'),
        ("seeds=1", "--set seeds: use --seeds, which has a lower limit"),
    ],
)
def test_a_setting_that_is_none_is_refused_in_a_line(
    house: House, cli: Cli, capsys: pytest.CaptureFixture[str], given: str, words: str
):
    assert cli(house.claim(), "--set", given) == 2
    assert capsys.readouterr().err == f"paper-checks: {words}\n"
    assert house.computed == []


@pytest.mark.parametrize(
    ("claim", "given", "words"),
    [
        ("style-collapse", "methods=[]", "expected methods to compare, found none"),
        ("style-collapse", 'methods=["SimCLR", "VICREG"]', "expected methods among VICReg, found VICREG"),
        ("kept-style-is-content", "p_keep=[0.0, 0.5]", "expected p_keep to rise from 0 to 1, found [0.0, 0.5]"),
        ("kept-style-is-content", "p_keep=[1.0, 0.0]", "expected p_keep to rise from 0 to 1, found [1.0, 0.0]"),
        ("phase-diagram", "p_keep=[0.0]", "expected p_keep to reach from 0 to 1, found [0.0]"),
        ("phase-diagram", "σs / σc=[0.5]", "expected σs / σc of 1 or more too, found [0.5]"),
        ("more-views", "views=[2, 4]", "expected views to rise from 2 to 8, found [2, 4]"),
        ("mi-is-not-quality", "strengths=[0.0, 2.0]", "expected strengths with 0 and 1, found [0.0, 2.0]"),
        ("mi-bounds", "truths=[1.0]", "expected truths of 10 nats too, where the ceiling log K is asked, found [1.0]"),
        ("mi-bounds", "truths=[10.0]", "expected truths of 1 nat or so too, where NWJ is judged, found [10.0]"),
        (
            "temperature-is-variance",
            "temperatures=[0.5]",
            "expected two or more rising temperatures above 0, found [0.5]",
        ),
        ("gap-budget", "ratios=[1.0]", "expected two or more rising ratios, found [1.0]"),
    ],
)
def test_settings_that_cannot_be_judged_are_refused_before_anything_is_trained(
    house: House, cli: Cli, capsys: pytest.CaptureFixture[str], claim: str, given: str, words: str
):
    assert cli(claim, "--profile", "smoke", "--set", given) == 2
    assert capsys.readouterr().err == f"paper-checks: --set: {claim} {words}\n"
    assert not (house.out / claim).exists()


def test_a_changed_imported_file_computes_again_and_a_changed_figure_does_not(house: House, cli: Cli):
    claim = house.claim()
    cli(claim)
    before = house.record()["findings"][0]["estimate"]
    claim.write_text(
        claim.read_text().replace('set_xlabel("mean")', 'set_xlabel("other words")').replace("a half", "0.5")
    )
    cli(claim)
    assert len(house.computed) == 10
    assert "0.5" in house.record()["statement"]
    inner = next(house.folder.glob("*_inner.py"))
    inner.write_text(inner.read_text().replace("return torch.randn", "return 1 + torch.randn"))
    cli(claim)
    assert len(house.computed) == 20
    assert house.record()["findings"][0]["estimate"] == pytest.approx(before + 0.01)


def test_figures_that_are_gone_come_back_the_same_by_several_processes(house: House, cli: Cli):
    claims = [house.claim(), house.claim("other")]
    assert cli(*claims, "--jobs", 1) == 0
    figures = {path: path.read_bytes() for path in house.out.glob("*/figure.*")}
    for path in figures:
        path.unlink()
    assert cli(*claims, "--jobs", 2) == 0
    assert len(figures) == 4
    assert figures == {path: path.read_bytes() for path in house.out.glob("*/figure.*")}


def test_a_claim_that_ends_the_process_which_judges_it_is_inconclusive_and_the_others_are_judged(
    house: House, cli: Cli, capsys: pytest.CaptureFixture[str]
):
    others = [house.claim(name) for name in ("one", "two", "three")]
    assert cli(*others, house.claim("deadly")) == 0
    deadly = house.claim("deadly", broken_draw="import os; os.kill(os.getpid(), 9)")
    capsys.readouterr()
    assert cli(deadly, *others, "--jobs", 2) == 1
    assert [house.record(name)["verdict"] for name in ("one", "two", "three")] == ["holds"] * 3
    assert house.record("deadly")["verdict"] == "inconclusive"
    (reason,) = house.record("deadly")["reasons"]
    assert "its process was ended by the system" in reason
    assert reason in capsys.readouterr().out
    assert len(house.computed) == 40


def test_a_figure_is_drawn_again_only_where_it_would_be_another(house: House, cli: Cli):
    count = house.folder / "drawn"
    claim = house.claim(broken_draw=f'with Path({str(count)!r}).open("a") as stream: stream.write("x")')
    figure = house.out / "toy" / "figure.png"

    def drawn(*words: object) -> int:
        cli(claim, *words)
        assert figure.exists()
        return len(count.read_text())

    assert [drawn(), drawn()] == [1, 1]
    first = figure.read_bytes()
    claim.write_text(claim.read_text().replace('set_xlabel("mean")', 'set_xlabel("other words")'))
    assert drawn() == 2
    assert figure.read_bytes() != first
    claim.write_text(claim.read_text().replace("a half", "0.5"))  # of the statement, which no figure shows
    assert drawn() == 2
    claim.write_text(claim.read_text().replace('">=", 0.5', '">=", 0.75'))  # the bound is drawn
    assert drawn() == 3
    assert drawn("--seeds", 6) == 4
    figure.unlink()
    assert drawn("--seeds", 6) == 5


def test_fresh_computes_again(house: House, cli: Cli):
    claim = house.claim()
    cli(claim)
    cli(claim, "--fresh")
    assert len(house.computed) == 20


def test_a_damaged_entry_is_computed_again_alone(house: House, cli: Cli):
    claim = house.claim()
    cli(claim)
    before = house.record()["findings"]
    entry = sorted((house.out / "cache").rglob("*.parquet"))[0]
    entry.write_bytes(entry.read_bytes()[:-20])
    cli(claim)
    assert len(house.computed) == 11
    assert house.record()["findings"] == before


def test_equal_tasks_of_two_claims_are_computed_once(house: House, cli: Cli):
    claim = house.claim(control="None", control_words="")
    twin = house.folder / "twin.py"
    lines = claim.read_text().replace('name="toy"', 'name="twin"').replace("def measure", "def unused")
    twin.write_text(lines.replace("import pandas as pd", f"import pandas as pd\nfrom {claim.stem} import measure"))
    assert cli(claim, twin) == 0
    assert len(house.computed) == 5
    assert house.record("twin")["findings"] == house.record()["findings"]


NOT_HOLDS: dict[str, tuple[dict[str, Any], str, str]] = {
    "below": ({"mean": 0.2}, "fails", "mean: 0.2 [0.199, 0.201], asked ≥ 0.5; the whole interval breaks the bound"),
    "across": ({"mean": 0.5}, "inconclusive", "asked ≥ 0.5; the interval lies across the bound"),
    "nan": ({"error": 'float("nan")'}, "inconclusive", "error: not a number"),
    "lenient": ({"control_mean": 0.9}, "inconclusive", "the control did not fail: mean, holds there"),
    "unmarked": ({"controlled": False}, "inconclusive", "no finding is marked controlled"),
    "raising": ({"broken": "raise OSError('no\\nluck')"}, "inconclusive", "OSError: no"),
    "tableless": ({"broken": "return 3"}, "inconclusive", "must return a pandas DataFrame"),
    "findingless": ({"broken_findings": "1 / 0"}, "inconclusive", "findings: ZeroDivisionError"),
    "figureless": ({"broken_draw": "raise KeyError('x')"}, "inconclusive", "figure: KeyError"),
    "planless": ({"control": "lambda config: 1 / 0"}, "inconclusive", "planning: ZeroDivisionError"),
    "uncontrolled": ({"control": 'lambda config: {**config, "seeds": 0}'}, "inconclusive", "the control was not run"),
}


def test_what_is_not_holds_exits_1_with_its_reason_while_others_go_on(
    house: House, cli: Cli, capsys: pytest.CaptureFixture[str]
):
    files = [house.claim(name, **changes) for name, (changes, _, _) in NOT_HOLDS.items()]
    assert cli(*files, house.claim("good")) == 1
    assert house.record("good")["verdict"] == "holds"
    printed = capsys.readouterr().out
    for name, (changes, verdict, words) in NOT_HOLDS.items():
        reasons = house.record(name)["reasons"]
        assert house.record(name)["verdict"] == verdict
        assert any(words in reason for reason in reasons)
        assert len(reasons) <= 2
        assert not any("\n" in reason for reason in reasons)
        assert words in printed
        broken = {"broken", "broken_findings", "broken_draw", "control"} & set(changes) and name != "uncontrolled"
        assert (house.out / name / "errors.log").exists() == bool(broken)


def test_no_figure_of_an_earlier_run_stands_beside_an_error(house: House, cli: Cli):
    cli(house.claim())
    assert cli(house.claim(broken_draw="1 / 0")) == 1
    assert not (house.out / "toy" / "figure.png").exists()
    assert "ZeroDivisionError" in (house.out / "toy" / "errors.log").read_text()


def test_a_full_disk_is_one_line_and_loses_nothing(
    house: House, cli: Cli, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """The disk fills up after so many files: two tables with their records are four; of the results at least three."""
    claim = house.claim()
    cli(claim)
    before = {path: path.read_bytes() for path in (house.out / "toy").iterdir()}
    capsys.readouterr()
    for room in (0, 1, 4, 2):
        written = iter(range(room))

        def sync(stream: int, written: Iterator[int] = written) -> None:
            if next(written, None) is None:
                raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", sync)
            assert cli(claim, "--seeds", 6) == 2
        complaint = capsys.readouterr().err.splitlines()[-1]
        assert complaint.startswith("paper-checks: expected to read and write files, found ")
        assert "No space left on device" in complaint
        assert "make room" in complaint
        assert {path: path.read_bytes() for path in (house.out / "toy").iterdir()} == before
    assert cli(claim, "--seeds", 6) == 0
    assert house.record()["findings"][0]["seeds"] == 6


def test_a_claim_file_that_does_not_import_is_inconclusive(house: House, cli: Cli):
    bad = house.claim("bad")
    bad.write_text(bad.read_text().replace("import torch\n", "import no_such_thing\n"))
    torn = house.claim("torn")
    torn.write_text(torn.read_text() + "def (:\n")
    assert cli(bad, torn, house.claim("good")) == 1
    assert "ModuleNotFoundError" in house.record("bad")["reasons"][0]
    assert house.record("bad")["statement"].startswith("The mean")
    assert [house.record("good")["verdict"], house.record(torn.stem.replace("_", "-"))["verdict"]] == [
        "holds",
        "inconclusive",
    ]


def test_a_file_that_is_no_valid_python_is_named_with_line_and_message(
    house: House, cli: Cli, capsys: pytest.CaptureFixture[str]
):
    torn = house.folder / "torn_early.py"
    torn.write_text("import torch\n\ndef measure(:\n")
    assert cli(torn, "--list") == 0
    assert "no valid Python: line 3, invalid syntax" in capsys.readouterr().out
    assert cli(torn) == 1
    assert "SyntaxError: invalid syntax (torn_early.py, line 3)" in capsys.readouterr().out


BAD_INPUT = [
    (["no-such-claim"], "unknown claim 'no-such-claim'"),
    (["missing.py"], "no claim file missing.py"),
    (["TOY", "--profile", "slow"], "unknown profile 'slow': choose one of smoke, quick, full"),
    (["TOY", "--device", "tpu"], "unknown device 'tpu': choose auto, cpu or cuda"),
    (["TOY", "--seeds", "1"], "--seeds must be at least 2, found 1"),
    (["TOY", "--seeds", "many"], "Invalid value for '--seeds'"),
    (["TOY", "--jobs", "0"], "--jobs must be at least 1, found 0"),
    (["TOY", "--out", "FILE"], "cannot write to --out"),
    (["TOY", "--bogus"], "No such option: --bogus"),
    (["EMPTY"], "assigns no CLAIM"),
    (["SEEDLESS", "--seeds", "9"], "--seeds changes nothing"),
]


@pytest.mark.parametrize(("words", "complaint"), BAD_INPUT, ids=[" ".join(words) for words, _ in BAD_INPUT])
def test_bad_input_is_one_line_and_exit_2(
    house: House, cli: Cli, words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
):
    (house.folder / "file").write_text("")
    (house.folder / "empty.py").write_text("x = 1\n")
    seedless = house.claim("seedless")
    seedless.write_text(
        seedless.read_text().replace('{"seeds": 5, ', "{").replace('range(config["seeds"])', "range(5)")
    )
    names = {
        "TOY": house.claim(),
        "FILE": house.folder / "file",
        "EMPTY": house.folder / "empty.py",
        "SEEDLESS": seedless,
    }
    assert cli(*(names.get(word, word) for word in words)) == 2
    printed = capsys.readouterr()
    assert complaint in printed.err
    assert printed.err.count("\n") == 1
    assert house.computed == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_cuda_that_is_not_there_is_refused_and_auto_falls_back(
    house: House, cli: Cli, capsys: pytest.CaptureFixture[str]
):
    assert cli(house.claim(), "--device", "cuda") == 2
    assert "no CUDA device here" in capsys.readouterr().err
    assert cli(house.claim(), "--device", "auto") == 0
    assert house.record()["provenance"]["device"] == "cpu"


def test_a_name_nearly_right_is_suggested(cli: Cli, house: House, capsys: pytest.CaptureFixture[str], monkeypatch):
    from paper_checks import registry

    entry = registry.Entry("prior-marginal", "m", house.folder, "model", "s")
    monkeypatch.setattr(registry, "known", lambda: [entry])
    assert cli("prior_margnal") == 2
    assert "did you mean prior-marginal?" in capsys.readouterr().err
    assert registry.chosen(["prior_marginal", "prior-marginal"]) == [entry]


def test_list_reads_without_importing(house: House, cli: Cli, capsys: pytest.CaptureFixture[str]):
    path = house.claim()
    path.write_text("raise SystemExit(9)\n" + path.read_text())
    assert cli(path, "--list") == 0
    assert "The mean of <draws>" in capsys.readouterr().out
    assert path.stem not in sys.modules


def test_a_claim_file_that_does_not_import_is_one_line_with_a_learner_too(
    house: House, cli: Cli, capsys: pytest.CaptureFixture[str]
):
    bad = house.claim("bad")
    bad.write_text(bad.read_text().replace("import torch\n", "import no_such_thing\n"))
    mine = house.folder / "mine.py"
    mine.write_text("from ssl_theory.learners import SimCLR\n\n\nclass Mine(SimCLR):\n    pass\n")
    assert cli(bad, "--learner", f"{mine}:Mine") == 1
    assert "planning: ModuleNotFoundError: No module named 'no_such_thing'" in capsys.readouterr().out
