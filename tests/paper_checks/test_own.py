"""A learner of a user's own in every claim that takes one; README says which these are."""

import re
import sys
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.text import Text

from figures import look
from paper_checks import __main__, own, own_temperature, registry
from paper_checks.claim import Claim, Finding
from paper_checks.judge import corrected
from paper_checks.style_collapse import judged
from paper_checks.trained import SIMVAE, training
from tests.paper_checks.conftest import LEARNER

README = (Path(__file__).parents[2] / "README.md").read_text()
NAMED = (  # the claims with findings of each method's own
    "content-clustering",
    "dependent-style",
    "identifiability",
    "kept-style-is-content",
    "phase-diagram",
    "projection-head",
    "published-settings",
    "reconstructions",
    "style-collapse",
    "style-is-small",
    "temperature-is-variance",
)
TAKING = sorted((*NAMED, "more-views"))
REFUSED = {("projection-head", "Bare"), ("temperature-is-variance", "Mine"), ("temperature-is-variance", "Bare")}


def claim(name: str) -> Claim:
    return registry.chosen([name])[0].load()


def test_ones_own_findings_are_those_that_are_there_for_the_learner_alone(tmp_path: Path) -> None:
    """Whatever the class is called: also by a word of the claim's own findings."""
    path = tmp_path / "mine.py"
    path.write_text(LEARNER.format(temperature=0.5).replace("class Mine", "class SimVAE"))
    mine, checked = own.learner(f"{path}:SimVAE"), claim("style-collapse")
    config = checked.settings("smoke", learner=mine)
    told = {"SimCLR": 0.1, "VICReg": 0.2, "SimVAE": 0.5, SIMVAE[0]: 0.9, SIMVAE[1]: 0.8, "observation": 1.0}
    rows = [(method, "style R2, nonlinear", value) for method, value in told.items()]
    rows.append(("observation", "style floor", 0.0))
    seeds = [pd.DataFrame(rows, columns=["method", "measure", "value"]).assign(seed=seed) for seed in range(3)]
    table = pd.concat(seeds, ignore_index=True)
    found = corrected(checked, table, config, mine)
    assert [finding.name for finding in found if finding.own] == ["retained style, SimVAE"]
    assert len([finding for finding in found if "SimVAE" in finding.name]) > 3
    assert Finding.from_json(found[-1].as_json()) == found[-1]
    assert not any(finding.own for finding in checked.findings(table, config))


def test_readme_names_the_claims_that_take_a_learner() -> None:
    said = re.search(r"Twelve claims take a learner: (.*?)\.", README, flags=re.S)
    assert said
    taking = [entry.name for entry in registry.known() if "methods" in entry.load().config["quick"]]
    assert re.findall(r"`([\w-]+)`", said.group(1)) == taking == TAKING


def test_a_learner_with_a_decoder_is_generative(mine: str, bare: str) -> None:
    assert [own.generative(name) for name in (mine, bare, "VAE")] == [False, True, False]


def test_a_generative_learner_is_asked_what_simvae_is_and_has_no_part_in_the_best_of_the_others(
    mine: str, bare: str
) -> None:
    levels = {"SimCLR": 0.1, "VICReg": 0.2, "Mine": 0.7, "Bare": 0.6, SIMVAE[0]: 0.9, SIMVAE[1]: 0.8}
    retained = {name: pd.Series([level, level + 0.01]) for name, level in levels.items()}
    found = judged(retained, {"methods": ["SimCLR", "VICReg", mine, bare]}, "")
    assert {(f.name, f.side, f.bound): round(f.estimate, 3) for f in found if "Bare" in f.name or "Mine" in f.name} == {
        ("Mine", "<=", 0.3): 0.705,
        ("Bare", ">=", 0.4): 0.605,
        ("Bare − best discriminative", ">=", 0.3): 0.4,
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Mine", "Bare"])
@pytest.mark.parametrize("name", TAKING)
def test_ones_own_is_judged_and_drawn_beside_what_the_claim_compares(
    name: str, kind: str, request: pytest.FixtureRequest
) -> None:
    checked, mine = claim(name), request.getfixturevalue(kind.lower())
    if (name, kind) in REFUSED:
        with pytest.raises(ValueError, match=f"found (none in )?{kind}"):
            checked.settings("smoke", learner=mine)
        return
    assert checked.control is not None
    config, plain = (checked.settings("smoke", learner=given) | {"steps": 3, "points": 160} for given in (mine, None))
    tasks = checked.tasks(config)
    assert [task.identity for task in tasks if "#" not in task.identity] == [t.identity for t in checked.tasks(plain)]
    tables = {}
    for key, asked in (("claim", config), ("control", checked.control(config))):
        ran = [task.labelled(task.run("cpu")) for task in checked.tasks(asked)]
        tables[key] = pd.concat(ran, ignore_index=True)
    findings = corrected(checked, tables["claim"], config, mine)
    broken = checked.findings(tables["control"], checked.control(config))
    assert not any("#" in finding.name for finding in (*findings, *broken))
    ours = [finding for finding in findings if finding.own]
    assert bool(ours) == (name in NAMED and (name, kind) != ("kept-style-is-content", "Bare"))
    of_style = {f.side for f in ours if re.search("style|position|scale|rotation", f.name) and "naive" not in f.name}
    if kind == "Bare":
        assert of_style <= {">="}
    elif name not in ("kept-style-is-content", "projection-head", "content-clustering", "more-views"):
        assert "<=" in of_style
    assert {f.name for f in findings if f.controlled} <= {f.name for f in broken}
    with look():
        figure = checked.draw(tables["claim"], tables["control"], findings, config)
    written = [text.get_text() for text in figure.findobj(Text)]
    assert any(kind in text for text in written)
    assert not any("#" in text for text in written)
    assert checked.caption(findings)


def test_the_example_of_readme_is_under_twenty_lines_and_a_learner(tmp_path: Path) -> None:
    (lines,) = re.findall(r"```python\n(# my_loss\.py\n.*?)```", README, flags=re.S)
    assert lines.count("\n") < 20
    path = tmp_path / "my_loss.py"
    path.write_text(lines)
    assert own_temperature.temperature_of(own.learner(f"{path}:MyLoss")) == "temperature"


def test_the_command_names_the_claims_that_it_left_out(
    mine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = registry.chosen(["phase-diagram", "neural-collapse", "temperature-is-variance"])
    words = ["paper-checks", "--learner", mine.partition("#")[0], "--out", str(tmp_path / "out")]
    monkeypatch.setattr(registry, "chosen", lambda names: entries)
    monkeypatch.setattr(__main__, "_run", lambda plans, settings: len(plans))
    monkeypatch.setattr(sys, "argv", words)
    assert __main__.main() == 1  # the plans
    assert capsys.readouterr().err == (
        "--learner: in 1 claim; left out: neural-collapse (takes none); temperature-is-variance (expected a field "
        "temperature or style_variance, found none in Mine)\n"
    )


def test_a_claim_asked_for_by_name_that_refuses_the_learner_is_an_error(
    mine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["paper-checks", "temperature-is-variance", "elbo-bound", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", [*words, "--learner", mine.partition("#")[0]])
    assert __main__.main() == 2
    assert capsys.readouterr().err == (
        "paper-checks: --learner changes nothing in elbo-bound (takes none); temperature-is-variance (expected a field "
        "temperature or style_variance, found none in Mine): leave out or choose others\n"
    )


def test_a_learner_without_a_head_is_refused_where_a_head_is_judged(bare: str) -> None:
    checked = claim("projection-head")
    with pytest.raises(ValueError, match="expected a JointEmbedding, which has a projection head, found Bare"):
        checked.settings("smoke", learner=bare)


def test_a_learner_is_trained_again_when_what_it_imports_from_beside_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    path, helper = tmp_path / "mine.py", tmp_path / "heat_of_mine.py"
    path.write_text("import heat_of_mine\n" + LEARNER.format(temperature="heat_of_mine.HEAT"))
    helper.write_text("from cold_of_mine import COLD\n\nHEAT = 0.5 + COLD\n")
    (tmp_path / "cold_of_mine.py").write_text("COLD = 0.0\n")
    before = own.learner(f"{path}:Mine")
    helper.write_text("# words\nfrom cold_of_mine import COLD\n\nHEAT = 0.5 + COLD\n")
    assert own.learner(f"{path}:Mine") == before
    (tmp_path / "cold_of_mine.py").write_text("COLD = 0.1\n")
    after = own.learner(f"{path}:Mine")
    helper.write_text("from cold_of_mine import COLD\n\nHEAT = 0.7 + COLD\n")
    assert len({before, after, own.learner(f"{path}:Mine")}) == 3
    config = claim("style-collapse").settings("smoke")
    assert training(before, config) != training(after, config)


def test_a_learner_that_changed_since_it_was_named_is_not_loaded(tmp_path: Path) -> None:
    """A spawned worker imports it at its first task: what it then finds must be what the task's name says."""
    path = tmp_path / "mine.py"
    path.write_text(LEARNER.format(temperature=0.5))
    method = own.learner(f"{path}:Mine")
    del sys.modules[f"own_{method[-12:]}"]
    path.write_text(LEARNER.format(temperature=0.7))
    with pytest.raises(ValueError, match=r"^mine\.py changed while the run went on; run the command again$"):
        own.load(method)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("from ssl_theory.learners import Learner as Base\n\nclass Mine(Base):\n    pass\n", "abstract class"),
        ("from ssl_theory.learners import SimCLR\n\nclass Mine(SimCLR):\n"
         "    def __init__(self, weight):\n        pass\n", "weight"),
        ("raise SystemExit(0)\n", r"cannot import mine\.py: SystemExit: 0"),
    ],
)  # fmt: skip
def test_a_learner_that_cannot_be_made_is_refused_before_anything_is_trained(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(ValueError, match=words) as error:
        own.learner(f"{path}:Mine")
    assert "\n" not in str(error.value)


def test_of_a_learner_a_task_s_label_shows_the_class_and_a_folder_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "no #1: mine"
    folder.mkdir()
    (folder / "mine.py").write_text(LEARNER.format(temperature=0.5))
    method = own.learner(f"{folder}/mine.py:Mine")
    assert (own.short(method), own.load(method).__name__) == ("Mine", "Mine")
    assert 'method="Mine"' in training(method, claim("style-collapse").settings("smoke")).label
