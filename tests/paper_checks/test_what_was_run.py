"""What a run was is said beside its verdict, and the command that is shown makes it again."""

import json
import os
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paper_checks.report import build
from tests.paper_checks.conftest import House

Cli = Callable[..., int]
DOCS = Path(__file__).parents[2] / "docs" / "verdicts.py"


def seedless(house: House) -> Path:
    path = house.claim("seedless")
    text = path.read_text().replace('{"seeds": 5, ', "{").replace('range(config["seeds"])', "range(5)")
    path.write_text(text)
    return path


def rerun(house: House, name: str) -> list[str]:
    """The words of the command that the claim's page shows, after `python -m paper_checks`."""
    page = (house.out / name / "index.html").read_text()
    return shlex.split(page.partition('<pre tabindex="0">')[2].partition("</pre>")[0])[3:]


def test_the_command_shown_has_seeds_only_where_they_count_and_the_path_as_it_was_typed(
    house: House, cli: Cli, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(house.folder.parent)
    paths = [Path(house.folder.name) / path.name for path in (house.claim(), seedless(house))]
    assert cli(*paths, "--seeds", 6) == 0
    assert rerun(house, "toy") == [str(paths[0]), "--profile", "quick", "--device", "cpu", "--seeds", "6"]
    assert rerun(house, "seedless") == [str(paths[1]), "--profile", "quick", "--device", "cpu"]
    assert cli(*rerun(house, "toy")) == cli(*rerun(house, "seedless")) == 0


def verdicts(house: House, monkeypatch: pytest.MonkeyPatch) -> int:
    main = runpy.run_path(str(DOCS))["main"]
    monkeypatch.setitem(main.__globals__, "DOCS", house.folder)
    monkeypatch.setitem(main.__globals__, "README", house.folder / "README.md")
    monkeypatch.setattr(sys, "argv", ["verdicts.py", str(house.out)])
    return int(main())


def test_profile_and_another_number_of_seeds_are_said_and_no_verdict_of_the_claim(
    house: House, cli: Cli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    toy = house.claim()
    assert cli(toy, "--profile", "smoke", "--seeds", 6) == 0
    overview = (house.out / "index.html").read_text().partition("</table>")[0]
    assert 'holds</span><br><span class="quiet">smoke</span>' in overview
    assert "<strong>with seeds = 6</strong>" in overview
    assert "with seeds = 6: mean" in (house.out / "summary.md").read_text()
    capsys.readouterr()
    assert verdicts(house, monkeypatch) == 2
    said = capsys.readouterr().err
    assert said == "verdicts: made with another number of seeds (--seeds): toy; run them without it\n"
    assert cli(toy, "--profile", "smoke", "--seeds", 5) == 0  # as the profile has
    assert "with seeds" not in (house.out / "index.html").read_text()


def test_docs_are_not_touched_where_a_claim_has_no_figure(
    house: House, cli: Cli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    cli(house.claim(), house.claim("bare", broken_draw="1 / 0"))
    kept = house.folder / "claims" / "toy.png"
    kept.parent.mkdir()
    kept.write_bytes(b"before")
    capsys.readouterr()
    assert verdicts(house, monkeypatch) == 2
    assert capsys.readouterr().err == "verdicts: expected a figure of each claim, none of bare; run again\n"
    assert kept.read_bytes() == b"before"


@pytest.mark.parametrize("change", [{"notes": ...}, {"provenance": None}, {"reasons": ...}, {"provenance": {}}])
def test_a_record_of_another_version_is_named_and_breaks_no_report(house: House, cli: Cli, change: dict[str, Any]):
    cli(house.claim())
    old = house.out / "old" / "findings.json"
    old.parent.mkdir()
    record = {key: value for key, value in (house.record() | change).items() if value is not ...}
    old.write_text(json.dumps(record))
    page = build(house.out).read_text()
    assert "run it again: old." in page
    assert '<article id="toy"' in page


def test_a_damaged_figure_is_drawn_again_and_with_fresh_every_figure(house: House, cli: Cli):
    count = house.folder / "drawn"
    claim = house.claim(broken_draw=f'with Path({str(count)!r}).open("a") as stream: stream.write("x")')
    cli(claim)
    figure = house.out / "toy" / "figure.pdf"
    whole = figure.read_bytes()
    for damaged in (b"", whole[:-9], whole.replace(b"PDF", b"FDP", 1)):
        figure.write_bytes(damaged)
        assert cli(claim) == 0
        assert figure.read_bytes() == whole
    assert len(count.read_text()) == 4
    cli(claim)
    assert len(count.read_text()) == 4
    cli(claim, "--fresh")
    assert len(count.read_text()) == 5


def test_seeds_hide_no_claim_that_cannot_be_imported(house: House, cli: Cli, capsys: pytest.CaptureFixture[str]):
    bad = house.claim("bad")
    bad.write_text(bad.read_text().replace("import torch\n", "import no_such_thing\n"))
    assert cli(bad, "--seeds", 3) == 1
    assert "No module named 'no_such_thing'" in capsys.readouterr().out
    assert rerun(house, "bad")[-2:] == ["--seeds", "3"]


@pytest.mark.parametrize("option", ["--learner", "--set"])
def test_a_claim_file_that_leaves_is_inconclusive_with_every_option(house: House, cli: Cli, option: str):
    path, mine = house.claim(), house.folder / "mine.py"
    path.write_text(path.read_text().replace("import time\n", "import sys\nsys.exit(0)\n"))
    mine.write_text("from ssl_theory.learners import SimCLR\n\n\nclass Mine(SimCLR):\n    pass\n")
    assert cli(path, option, {"--learner": f"{mine}:Mine", "--set": "mean=1.0"}[option]) == 1
    assert house.record()["reasons"] == ["planning: SystemExit: 0"]


def test_help_says_that_the_intervals_are_joint(cli: Cli, capsys: pytest.CaptureFixture[str]):
    cli("--help")
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "Intervals are widened (Holm's correction) so that all verdicts on a claim's findings are right at once" in said
    )
    assert "all its 95 % intervals" not in said


def test_a_terminal_of_ascii_gets_every_word(house: House):
    words = [sys.executable, "-m", "paper_checks", str(house.claim()), "--out", str(house.out), "--jobs", "1"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*words, "--device", "cpu"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "? holds  toy" in done.stdout
