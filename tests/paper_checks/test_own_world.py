"""A world of a user's own, or another preset, in every claim that has a place for one; README says which these are."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

import synthetic
from paper_checks import __main__, own, registry
from paper_checks.claim import Claim
from paper_checks.judge import corrected
from paper_checks.plan import Plan
from paper_checks.trained import of_name
from tests.paper_checks.conftest import House

pytestmark = pytest.mark.usefixtures("rough_probes")

README = (Path(__file__).parents[2] / "README.md").read_text()
TAKING = [
    "content-clustering",
    "kept-style-is-content",
    "more-views",
    "projection-head",
    "style-collapse",
    "style-is-small",
    "temperature-is-variance",
]
WORLD = """
import torch
from synthetic import Block, ClassMixture, GaussianNoise, Linear, World


def mine(seed, p_keep=0.0):
    g = torch.Generator().manual_seed(seed)
    means, mixing = torch.randn(3, 2, generator=g), torch.randn(6, 4, generator=g)
    parts = ClassMixture(means, {spread}), Block(2, p_keep=p_keep), Linear(mixing), GaussianNoise(0.1)
    return World(*parts, dtype=torch.float64)
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(WORLD.format(spread=0.5))
    return own.world(f"{path}:mine")


def claim(name: str) -> Claim:
    return registry.chosen([name])[0].load()


def test_readme_names_the_claims_that_take_a_world() -> None:
    said = re.search(r"Seven claims take a world: (.*?);", README, flags=re.S)
    assert said
    taking = [entry.name for entry in registry.known() if "world" in entry.load().config["quick"]]
    assert re.findall(r"`([\w-]+)`", said.group(1)) == taking == TAKING


def test_the_example_of_readme_is_under_twenty_lines_and_a_world(tmp_path: Path) -> None:
    (lines,) = re.findall(r"```python\n(# my_world\.py\n.*?)```", README, flags=re.S)
    assert lines.count("\n") < 20
    path = tmp_path / "my_world.py"
    path.write_text(lines)
    assert own.short(own.world(f"{path}:my_world")) == "my_world"


@pytest.mark.parametrize("profile", ["quick", "full"])
@pytest.mark.parametrize("name", TAKING)
def test_nothing_of_a_claim_or_its_control_is_trained_in_another_world(name: str, profile: str, mine: str) -> None:
    checked = claim(name)
    config, usual = checked.settings(profile, world=mine), checked.settings(profile)
    assert checked.control is not None
    for asked in (config, checked.control(checked.settings(profile, world=mine))):
        tasks = checked.tasks(asked)
        assert tasks
        assert {task.kwargs["world"] for task in tasks} == {mine}
        assert 'world="mine"' in tasks[0].label or len(tasks[0].label) == 90
    assert {task.kwargs["world"] for task in checked.tasks(usual)} == {"block"}


@pytest.mark.parametrize(
    ("name", "function", "broken"),
    [
        ("style-collapse", "kept", False),
        ("more-views", "among_strangers", True),
        ("projection-head", "through_head", False),
        ("temperature-is-variance", "swept", False),
        ("temperature-is-variance", "swept_own", False),
    ],
)
def test_what_trains_takes_the_world_that_it_is_told(
    name: str, function: str, broken: bool, mine: str, warm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a preset")

    checked = claim(name)
    assert checked.control is not None
    config = checked.settings("smoke", learner=warm, world=mine) | {"steps": 1, "points": 80}
    tasks = checked.tasks(checked.control(config) if broken else config)
    monkeypatch.setattr(synthetic, "preset", refused)
    asked = [task for task in tasks if task.function.__name__ == function and task.kwargs["steps"]]
    assert not asked[0].run("cpu").empty


@pytest.mark.slow
@pytest.mark.parametrize("name", TAKING)
def test_a_claim_is_judged_in_ones_own_world_as_in_the_usual_one(
    name: str, mine: str, request: pytest.FixtureRequest
) -> None:
    checked = claim(name)
    assert checked.control is not None
    learner = request.getfixturevalue("bare" if name == "more-views" else "warm")
    for_both = checked.settings("smoke", learner=learner, world=mine) | {"steps": 3, "points": 160}
    tables = [
        pd.concat([task.labelled(task.run("cpu")) for task in checked.tasks(asked)], ignore_index=True)
        for asked in (for_both, checked.control(for_both))
    ]
    findings = corrected(checked, tables[0], for_both, learner)
    assert checked.findings(tables[1], checked.control(for_both))
    assert {finding.seeds for finding in findings} == {2}
    assert any(finding.own for finding in findings) == (name != "more-views")
    assert checked.caption(findings)
    assert checked.draw(tables[0], tables[1], findings, for_both).axes


@pytest.fixture
def warm(tmp_path: Path) -> str:
    """A user's learner that every claim about learning takes."""
    path = tmp_path / "warm.py"
    path.write_text("from ssl_theory.learners import SimCLR\n\n\nclass Warm(SimCLR):\n    pass\n")
    return own.learner(f"{path}:Warm")


def test_ones_own_world_is_made_for_each_seed_in_single_precision(mine: str) -> None:
    worlds = [of_name(mine, seed, **given) for seed, given in ((0, {}), (1, {}), (0, {"p_keep": 1.0}))]
    assert [world.dtype for world in worlds] == [torch.float32] * 3
    drawn = [world.sample(5, views=2, generator=torch.Generator().manual_seed(0)) for world in worlds]
    assert not torch.equal(drawn[0].x, drawn[1].x)
    assert torch.equal(drawn[2].style[:, 0], drawn[2].style[:, 1])
    assert not torch.equal(drawn[0].style[:, 0], drawn[0].style[:, 1])


def test_a_changed_world_is_another_task(tmp_path: Path, mine: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text("# words\n" + WORLD.format(spread=0.5))
    assert own.world(f"{path}:mine") == mine
    path.write_text(WORLD.format(spread=0.6))
    other = own.world(f"{path}:mine")
    asked = [claim("style-collapse").tasks(claim("style-collapse").settings("smoke", world=w)) for w in (mine, other)]
    assert not {task.identity for task in asked[0]} & {task.identity for task in asked[1]}


@pytest.mark.parametrize("name", ["block", "tree", "dependent-style"])
def test_presets_with_classes_and_a_control_are_worlds_too(name: str) -> None:
    assert own.world(name) == name


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("", r"expected a function mine\(seed, p_keep=0\.0\) in mine\.py, found nothing of that name$"),
        ("mine = 3", r"found a value of type int$"),
        ("import synthetic\ndef mine(seed): return synthetic.preset('block', seed=seed)",
         r"found TypeError: mine\(\) got an unexpected keyword argument 'p_keep'$"),
        ("def mine(seed, p_keep=0.0): return 1", r"style_floor; found AttributeError: 'int' object has no attribute"),
        ("def mine(seed, p_keep=0.0): raise SystemExit", r"found SystemExit: $"),
        ("import synthetic\ndef mine(seed, p_keep=0.0): return synthetic.preset('block', seed=seed)",
         r"views that share all style at p_keep=1, for the control; found that they do not$"),
        ("import random, synthetic\ndef mine(seed, p_keep=0.0):\n"
         "    return synthetic.preset('block', seed=random.randrange(10**9), p_keep=p_keep)",
         r"the same world for the same seed, found two: draw by a generator of that seed$"),
        ("import synthetic\ndef mine(seed, p_keep=0.0): return synthetic.preset('sprites')",
         r"vectors of finite numbers \(n, J, D\), found x of shape \(64, 2, 1, 64, 64\)$"),
        ("import synthetic\ndef mine(seed, p_keep=0.0):\n"
         "    if seed: raise RuntimeError('no more')\n"
         "    return synthetic.preset('block', seed=seed, p_keep=p_keep)", r"found RuntimeError: no more$"),
        ("import synthetic\ndef mine(seed, p_keep=0.0):\n"
         "    return synthetic.preset('block', seed=seed, p_keep=max(p_keep, 0.8))",
         r"views that redraw their style at p_keep=0, what claims call lost; found \d\d% of its numbers shared$"),
        ("import synthetic, torch\ndef mine(seed, p_keep=0.0):\n"
         "    style = synthetic.Block(3, p_keep=p_keep)\n"
         "    content, mixed = synthetic.ClassMixture(torch.zeros(1, 4)), synthetic.linear(7, 7, torch.Generator())\n"
         "    return synthetic.World(content, style, mixed)",
         r"a world with classes to tell apart; found one in 64 data points$"),
        ("import nothing_of_that_name", r"^cannot import mine\.py: ModuleNotFoundError: No module named"),
        ("import synthetic\ndef mine(seed, p_keep=0.0): return synthetic.preset('sphere', seed=seed)",
         r"expected mine\(seed, p_keep=0\.0\) to give .* found"),
    ],
)  # fmt: skip
def test_what_claims_cannot_use_is_refused_in_one_line_before_anything_is_trained(
    tmp_path: Path, change: str, words: str
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(change)
    with pytest.raises(ValueError, match=words) as error:
        own.world(f"{path}:mine")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("tre", r"^expected a world as FILE\.py:function or the name of a preset \(tree\), found 'tre'; e\.g\. "),
        ("", r"the name of a preset \(block, paper, .*\), found ''; e\.g\. --world my_world\.py:my_world$"),
        ("nowhere.py:mine", r"^expected a Python file with mine, found no file nowhere\.py; check the path$"),
        ("paper", r"^expected paper\(seed, p_keep=0\.0\) to give .*, found p_keep$"),
        ("linear-gaussian", r"^expected linear-gaussian\(seed, p_keep=0\.0\) to give .*, found p_keep$"),
    ],
)  # fmt: skip
def test_a_name_that_is_no_world_is_refused_in_one_line(given: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        own.world(given)
    assert "\n" not in str(error.value)


def test_the_command_says_which_claims_it_left_out_for_the_world_and_for_the_learner(
    mine: str, bare: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = registry.chosen(["elbo-bound", "style-collapse", "dependent-style", "projection-head"])
    plans: list[Plan] = []
    monkeypatch.setattr(registry, "chosen", lambda names: entries)
    monkeypatch.setattr(__main__, "_run", lambda made, settings: len(plans.__iadd__(made)))
    words = ["--world", own.typed(mine), "--learner", own.typed(bare), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["paper-checks", *words])
    assert __main__.main() == 1  # plan
    assert capsys.readouterr().err == (
        "--learner: in 1 claim; left out: elbo-bound (takes none); projection-head (expected a JointEmbedding, which "
        "has a projection head, found Bare)\n"
        "--world: in 1 claim; left out: elbo-bound, dependent-style (take none)\n"
    )
    (made,) = plans
    assert made.control_config is not None
    assert (made.entry.name, made.config["world"], made.config["methods"][-1]) == ("style-collapse", mine, bare)
    assert made.control_config["world"] == mine


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["elbo-bound", "--world", "tree"],
         "--world changes nothing in elbo-bound (takes none): leave out or choose others"),
        (["style-collapse", "--set", "world=tree"], "--set world: use --world, which tries the world first"),
    ],
)  # fmt: skip
def test_a_world_where_it_changes_nothing_is_an_error(
    words: list[str], said: str, cli: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli(*words) == 2
    assert capsys.readouterr().err == f"paper-checks: {said}\n"


def test_the_world_is_said_beside_the_verdict_and_in_the_command(house: House, cli: Callable[..., int]) -> None:
    toy = house.claim()
    toy.write_text(toy.read_text().replace('{"seeds": 5, ', '{"seeds": 5, "world": "block", '))
    assert cli(toy, "--world", "tree") == 0
    assert house.record()["config"]["world"] == "tree"
    assert house.record()["provenance"]["world"] == "tree"
    assert "in the world tree: mean" in (house.out / "summary.md").read_text()
    assert "--world tree</pre>" in (house.out / "toy" / "index.html").read_text()
    cli(toy)
    assert "in the world" not in (house.out / "summary.md").read_text()
    assert "--world" not in (house.out / "toy" / "index.html").read_text()
