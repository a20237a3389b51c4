"""The template runs as it stands, under the names that a claim can have."""

import sys
from pathlib import Path

import pytest

from paper_checks import __main__ as command
from paper_checks import registry
from tests.paper_checks.conftest import House


@pytest.fixture
def new(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["paper-checks", "new", *words])
        return command.main()

    return run


def test_a_new_claim_runs_holds_and_its_control_fails(new, house: House, capsys: pytest.CaptureFixture[str]):
    assert new("My_New-claim") == 0
    assert "python -m paper_checks my_new_claim.py" in capsys.readouterr().out
    path = house.folder / "my_new_claim.py"
    assert house.run(path, "--profile", "smoke") == 0
    assert (house.out / "my-new-claim" / "figure.png").exists()
    assert (
        "widened by Holm's correction so that all verdicts are right at once with 95 %"
        in house.record("my-new-claim")["caption"]
    )


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "usage: paper-checks new NAME"),
        (["a", "b"], "usage: paper-checks new NAME"),
        (["--force"], "usage: paper-checks new NAME"),
        (["1st"], "letters, digits and dashes"),
        (["a/b"], "letters, digits and dashes"),
        (["class"], "a word of Python's own"),
        (["random"], "would hide the module random"),
        (["mine"], "mine.py is already there"),
        (["taken"], "claim 'taken' is already there"),
    ],
)
def test_bad_names_are_one_line_and_exit_2(
    new, words: list[str], complaint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    Path("mine.py").write_text("x = 1\n")
    monkeypatch.setattr(registry, "known", lambda: [registry.Entry("taken", "m", Path("taken.py"), "model", "s")])
    assert new(*words) == 2
    printed = capsys.readouterr().err
    assert complaint in printed
    assert printed.count("\n") == 1
    assert Path("mine.py").read_text() == "x = 1\n"
