"""A user's claim that is not as it must be: inconclusive, alone and with a reason, or refused in one line."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.paper_checks.conftest import House

Cli = Callable[..., int]
BROKEN = {  # what is replaced in the toy's text, by what, and what the reason says
    "config-nan": ('"rest": 0.0', '"rest": float("nan")', "CONFIG must be plain JSON"),
    "control-int64": ('"mean": -1.0}', '"mean": pd.Series([-1])[0]}', "the control's config must be plain JSON"),
    "no-caption": ('return f"The mean', 'f"The mean', "caption: TypeError: caption must return text, found NoneType"),
    "two-types": ('"value": [value]', '"value": [value if seed else "none"]', "table.parquet: Arrow"),
    "two-columns": ("**kept})", '**kept}, columns={"tau": [1, 2]})', "columns of measure must be one value"),
    "nameless": ('from_seeds("mean"', "from_seeds(3", "name of a finding must be text, found 3"),
    "exit-import": ("import time\n", "import sys\nsys.exit(0)\n", "planning: SystemExit: 0"),
    "exit-task": ("time.sleep(rest)", "raise SystemExit(0)", "SystemExit: 0"),
    "exit-findings": ("values = per_seed", "raise SystemExit(0)\n    values = per_seed", "findings: SystemExit: 0"),
}
HOLDING = {
    "numpy-bool": ("controlled=True", 'controlled=pd.Series([1.0]).gt(0)[0]'),
    "generator": ("    return [Task(measure, {", "    yield from [Task(measure, {"),
}  # fmt: skip


def edited(house: House, name: str, old: str, new: str) -> Path:
    path = house.claim(name)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    return path


def test_one_bad_claim_is_inconclusive_with_a_reason_and_the_others_are_judged(house: House, cli: Cli):
    bad = [edited(house, name, old, new) for name, (old, new, _) in BROKEN.items()]
    good = [edited(house, name, *change) for name, change in HOLDING.items()]
    assert cli(*bad, *good) == 1
    for name, (_, _, words) in BROKEN.items():
        assert house.record(name)["verdict"] == "inconclusive"
        assert any(words in reason for reason in house.record(name)["reasons"]), house.record(name)["reasons"]
    assert [house.record(name)["verdict"] for name in HOLDING] == ["holds"] * 2


@pytest.mark.parametrize("value", ["NaN", "1e999", "-Infinity", "[1, NaN]"])
def test_a_setting_that_is_no_finite_number_is_refused(
    house: House, cli: Cli, capsys: pytest.CaptureFixture[str], value: str
):
    assert cli(house.claim(), "--set", f"mean={value}") == 2
    words = f"--set mean: expected finite numbers, found {value}; give others"
    assert capsys.readouterr().err == f"paper-checks: {words}\n"


@pytest.mark.parametrize("name", ["cache", "../up", "My-Claim", "a--b", "a_b", "a b", "-a"])
def test_a_claim_s_name_is_the_name_of_a_folder_and_of_an_argument(
    house: House, cli: Cli, capsys: pytest.CaptureFixture[str], name: str
):
    assert cli(edited(house, "toy", 'name="toy"', f"name={name!r}")) == 2
    said = capsys.readouterr().err
    assert "expected a claim's name of small letters, digits and single dashes, not cache, found " in said
    assert said.count("\n") == 1
    assert not house.out.exists()


def test_two_claims_of_one_name_are_refused(house: House, cli: Cli, capsys: pytest.CaptureFixture[str]):
    toy, ours = house.claim(), edited(house, "ours", 'name="ours"', 'name="elbo-bound"')
    twin = edited(house, "twin", 'name="twin"', 'name="toy"')
    for words, name in (((toy, twin), "toy"), ((ours,), "elbo-bound")):
        assert cli(*words) == 2
        said = capsys.readouterr().err
        assert f"both have the claim {name}; give one another name" in said
        assert said.count("\n") == 1
    assert cli(toy, toy, "--list") == 0


def test_a_claim_is_never_judged_with_another_file_s_code(house: House, cli: Cli, monkeypatch: pytest.MonkeyPatch):
    """Two files of one stem, and two helpers of one name, in two folders: Python has one module of a name."""
    toy, other = house.claim(), house.folder / "other"
    other.mkdir()
    stem = other / toy.name
    stem.write_text(toy.read_text().replace('name="toy"', 'name="stem"'))
    helped = other / f"helped_{house.folder.name.replace('-', '_')}.py"
    helped.write_text(toy.read_text().replace('name="toy"', 'name="helped"'))
    for path in house.folder.glob("loss_*.py"):
        (other / path.name).write_text(path.read_text().replace("return torch", "return 9 + torch"))
    assert cli(toy, stem, helped) == 1
    assert house.record()["verdict"] == "holds"
    for name, path in (("stem", stem), ("helped", next(other.glob("loss_*_*.py")))):
        assert house.record(name)["verdict"] == "inconclusive"
        (reason,) = house.record(name)["reasons"]
        assert str(other) in reason
        assert str(house.folder / toy.name if name == "stem" else house.folder / "loss_") in reason
        assert path.exists()


def test_helpers_beside_a_claim_come_before_those_of_other_folders(
    house: House, cli: Cli, monkeypatch: pytest.MonkeyPatch
):
    toy, other = house.claim(), house.folder / "other"
    other.mkdir()
    for path in house.folder.glob("loss_*.py"):
        (other / path.name).write_text(path.read_text().replace("return torch", "return -900 + torch"))
    monkeypatch.setattr(sys, "path", [*sys.path, str(house.folder)])
    with monkeypatch.context() as patch:
        patch.setattr(house, "folder", other)
        patch.setattr(House, "out", toy.parent / "out")
        assert cli(toy) == 0
