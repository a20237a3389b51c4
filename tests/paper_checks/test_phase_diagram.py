"""phase-diagram: the verdict follows the worst cell, every cell is its own world and temperature, smoke runs whole."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from figures import look
from paper_checks import own, own_temperature
from paper_checks import phase_diagram as claim
from paper_checks.claim import Config, Verdict
from paper_checks.judge import corrected as judged
from paper_checks.judge import judge
from paper_checks.trained import OBSERVATION
from ssl_theory.learners import SimCLR, SimVAE, fit
from synthetic import Block
from tests.paper_checks.conftest import empty_panels

pytestmark = pytest.mark.usefixtures("rough_probes")

SMOKE: Config = claim.CLAIM.settings("smoke")
CEILING = 0.8


PLAIN = """
from dataclasses import dataclass

from ssl_theory.learners import JointEmbedding


@dataclass(frozen=True, kw_only=True)
class Plain(JointEmbedding):
    weight: float = 10.0

    def loss(self, modules, x, noise=None):
        z = self.embed(modules, x)
        return self.weight * z.var(dim=-2).mean((-2, -1)) - z.std(dim=1).clamp(max=1).mean((-2, -1))
"""
HOT = """
from dataclasses import dataclass

from ssl_theory.learners import JointEmbedding, SimVAE
from ssl_theory.losses import contrastive


@dataclass(frozen=True, kw_only=True)
class Hot(JointEmbedding):
    temperature: float = 0.2

    def loss(self, modules, x, noise=None):
        assert isinstance(self.temperature, float)  # a loss of one's own need not take a tensor
        return contrastive.info_nce(self.embed(modules, x), temperature=self.temperature)


class Wide(SimVAE):
    pass
"""


@pytest.fixture
def mine(tmp_path: Path) -> dict[str, str]:
    """Learners of a user's own, by class."""
    (tmp_path / "plain.py").write_text(PLAIN)
    (tmp_path / "hot.py").write_text(HOT)
    files = {"Plain": "plain", "Hot": "hot", "Wide": "hot"}
    return {kind: own.learner(f"{tmp_path / file}.py:{kind}") for kind, file in files.items()}


def made_up(contrastive: float = 0.05, generative: float = 0.6, shared: float = 0.9) -> pd.DataFrame:
    """Two seeds; SimCLR's highest cell, SimVAE's lowest (at the largest style), SimCLR's rise over p_keep."""
    rows = []
    for axis, seed in product((claim.RATIO, claim.KEEP), (0, 1)):
        for place, tau in product(SMOKE[axis], SMOKE["temperatures"]):
            worst = place == max(SMOKE[axis]) and tau == SMOKE["temperatures"][0]
            lost = contrastive if worst else 0.01
            share = {
                "SimCLR": lost if axis == claim.RATIO else place * (shared if worst else 0.95),
                claim.METHODS[1]: generative if worst or place < 1 else 0.9,
            }
            for method, value in share.items():
                style = CEILING * (value + 0.001 * seed)
                rows += [
                    (axis, place, tau, seed, method, m, v) for m, v in ((claim.STYLE, style), (claim.ACCURACY, 0.9))
                ]
        rows += [(axis, place, 0.0, seed, OBSERVATION, claim.STYLE, CEILING) for place in SMOKE[axis]]
    return pd.DataFrame(rows, columns=["axis", "place", "row", "seed", "method", "measure", "value"])


@pytest.mark.parametrize(
    ("numbers", "verdicts"),
    [
        ({}, ["holds", "holds", "holds"]),
        ({"contrastive": 0.5}, ["fails", "holds", "holds"]),
        ({"generative": 0.2}, ["holds", "fails", "holds"]),
        ({"shared": 0.2}, ["holds", "holds", "fails"]),
    ],
)
def test_one_bad_cell_is_enough(numbers: dict[str, float], verdicts: list[str]) -> None:
    assert [f.verdict.value for f in claim.findings(made_up(**numbers), SMOKE)] == verdicts


def test_small_style_may_be_lost_by_simvae() -> None:
    table = made_up()
    small = (table.axis == claim.RATIO) & (table.place < 1) & (table.method == claim.METHODS[1])
    table.loc[small & (table.measure == claim.STYLE), "value"] = 0.0
    assert Verdict.of(f.verdict for f in claim.findings(table, SMOKE)) is Verdict.HOLDS


def test_a_cell_that_diverged_is_never_a_finding_that_holds() -> None:
    table = made_up()
    cell = (table.axis == claim.RATIO) & (table.method == "SimCLR") & (table.place == 0.5) & (table.seed == 0)
    table.loc[cell & (table.measure == claim.STYLE) & (table.row == 1.6), "value"] = np.nan
    assert claim.findings(table, SMOKE)[0].verdict is Verdict.INCONCLUSIVE


def test_the_control_shares_style_in_the_contrastive_plane_alone() -> None:
    main, broken = (claim.tasks(config) for config in (SMOKE, claim.control(SMOKE)))
    changed = [(a.kwargs, b.kwargs) for a, b in zip(main, broken, strict=True) if a.identity != b.identity]
    assert [dict(a) | {"p_keep": 1.0} for a, _ in changed] == [dict(b) for _, b in changed]
    assert [(a["method"], a["axis"]) for a, _ in changed] == [("SimCLR", claim.RATIO)]
    findings = claim.findings(made_up(), SMOKE)
    for level, verdict in ((0.9, Verdict.HOLDS), (0.05, Verdict.INCONCLUSIVE)):
        assert judge(findings, claim.findings(made_up(contrastive=level), SMOKE), [])[0] is verdict


def test_ones_own_is_judged_by_its_highest_cell_and_leaves_the_other_findings_alone(mine: dict[str, str]) -> None:
    config, table = claim.CLAIM.settings("smoke", learner=mine["Plain"]), made_up()
    before = judged(claim.CLAIM, table, SMOKE)
    for level, verdict in ((0.05, "holds"), (0.6, "fails"), (np.nan, "inconclusive")):
        cells = table[(table.method == "SimCLR") & (table.axis == claim.RATIO) & (table.row == 0.1)]
        cells = cells.assign(method="Plain", row=0.0)
        worst = (cells.place == 2.0) & (cells.measure == claim.STYLE)
        cells.loc[worst, "value"] = CEILING * (level + 0.001 * cells.seed)
        *others, own_finding = judged(claim.CLAIM, pd.concat([table, cells]), config, mine["Plain"])
        assert others == before
        assert own_finding.name == "retained style, Plain, highest cell of each seed"
        assert (own_finding.verdict.value, own_finding.bound, own_finding.side) == (verdict, 0.30, "<=")


def test_ones_own_has_a_row_a_temperature_or_one(mine: dict[str, str]) -> None:
    for kind, at, label in (("Hot", [0.1, 1.6], "τ"), ("Wide", [0.1, 1.6], "τ = 2σ²"), ("Plain", [0.0], "")):
        tasks = [t for t in claim.tasks(claim.CLAIM.settings("smoke", learner=mine[kind])) if "#" in t.identity]
        assert [(t.kwargs["axis"], t.kwargs["at"]) for t in tasks] == [
            (axis, at) for axis in (claim.RATIO, claim.KEEP, claim.VIEWS)
        ]
        assert claim.row_label(mine[kind], claim.RATIO) == label
    assert own_temperature.at(mine["Hot"], 0.4) == own.load(mine["Hot"])(temperature=0.4)
    assert own_temperature.at(mine["Wide"], 0.4) == own.load(mine["Wide"])(style_variance=0.2)
    assert own_temperature.at(mine["Plain"], 0.0) == own.load(mine["Plain"])()


def test_ones_own_has_the_control_of_simclr(mine: dict[str, str]) -> None:
    config = claim.CLAIM.settings("smoke", learner=mine["Plain"])
    shared = [(t.kwargs["axis"], t.kwargs["p_keep"]) for t in claim.tasks(claim.control(config)) if "#" in t.identity]
    assert shared == [(claim.RATIO, 1.0), (claim.KEEP, 0.0), (claim.VIEWS, 0.0)]


@pytest.mark.parametrize(("kind", "rows"), [("Hot", 2), ("Plain", 1)])
def test_every_cell_of_ones_own_is_trained_and_drawn(mine: dict[str, str], kind: str, rows: int) -> None:
    config = claim.CLAIM.settings("smoke", learner=mine[kind]) | {"steps": 3}
    table = pd.concat([task.labelled(task.run("cpu")) for task in claim.tasks(config)], ignore_index=True)
    counts = table[table.method == kind].groupby(["axis", "measure"]).size()
    assert counts.to_list() == [2 * rows * config["seeds"]] * 6
    assert not table.value.isna().any()
    findings = claim.findings(table, config)
    with look():
        figure = claim.draw(table, table, findings, config)
    assert empty_panels(figure) == []
    panels = {panel.get_title(loc): panel for panel in figure.axes for loc in ("left", "center")}
    assert len(panels[f"{kind}: retained style"].get_yticks()) == rows * (rows > 1)
    assert f", {kind} at most {findings[-1].estimate:.2f}, " in claim.caption(findings)


def test_a_cell_of_ones_own_is_its_lone_run(mine: dict[str, str]) -> None:
    sizes: dict[str, Any] = {"p_keep": 0.0, "seeds": 2, "steps": 5, "points": 80, "batch_size": 16}
    sizes |= {"method": mine["Hot"], "axis": claim.RATIO}
    both = claim.plane_of_own(places=[0.5, 2.0], at=[0.1, 1.6], **sizes)
    lone = claim.plane_of_own(places=[2.0], at=[1.6], **sizes)
    same = both.merge(lone, on=["place", "row", "seed", "measure", "axis"])
    style = same[same.measure == claim.STYLE]
    assert len(style) == 2
    assert style.value_x.to_numpy() == pytest.approx(style.value_y.to_numpy(), abs=0.02)


def test_a_place_is_a_world() -> None:
    worlds = claim.world_at(claim.RATIO, 2.0, 1.0, 3), claim.world_at(claim.KEEP, 0.25, 0.0, 3)
    large, shared = (world.style for world in worlds)
    assert isinstance(large, Block)
    assert isinstance(shared, Block)
    assert float(large.std) == pytest.approx(2 * np.sqrt(4.25))
    assert (large.p_keep, shared.p_keep) == (1.0, 0.25)
    assert shared.std == 1.0


def test_the_temperature_is_twice_the_style_variance() -> None:
    contrastive, generative = (claim.learner(method, "temperatures", 0.4) for method in claim.METHODS)
    assert contrastive == SimCLR(temperature=0.4)
    assert generative == SimVAE(prior="gaussian", style_variance=0.2)


def test_a_cell_is_the_lone_run_of_its_place_and_temperature() -> None:
    sizes: dict[str, Any] = {
        "rows": "temperatures",
        "p_keep": 0.0,
        "seeds": 2,
        "steps": 5,
        "points": 80,
        "batch_size": 16,
    }
    both = claim.plane(method="SimCLR", axis=claim.RATIO, places=[0.5, 2.0], at=[0.1, 1.6], **sizes)
    lone = claim.plane(method="SimCLR", axis=claim.RATIO, places=[2.0], at=[0.1], **sizes)
    same = both.merge(lone, on=["place", "row", "seed", "measure", "method", "axis"])
    style = same[same.measure == claim.STYLE]
    assert len(style) == 2
    assert style.value_x.to_numpy() == pytest.approx(style.value_y.to_numpy(), abs=0.02)


def test_the_planes_of_views_train_with_so_many_views_and_such_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def seen(learners: list[SimCLR], *data: Any, views: int, **options: Any) -> Any:
        asked.append((views, [learner.head for learner in learners]))
        return fit(learners, *data, views=views, **options)

    monkeypatch.setattr(claim, "fit", seen)
    (task,) = (
        t for t in claim.tasks(SMOKE) if (t.kwargs["axis"], t.kwargs["method"]) == (claim.VIEWS, claim.METHODS[0])
    )
    table = task.run("cpu")
    assert asked == [(2, [None]), (2, [(128, 10)]), (3, [None]), (3, [(128, 10)])]
    assert set(zip(table.place, table.row, strict=True)) == {(2, 0), (2, 2), (3, 0), (3, 2)}


def test_smoke_runs_from_tasks_to_caption() -> None:
    table = pd.concat([task.labelled(task.run("cpu")) for task in claim.tasks(SMOKE)], ignore_index=True)
    findings = claim.findings(table, SMOKE)
    with look():
        assert empty_panels(claim.draw(table, None, findings, SMOKE)) == []
    assert "nan" not in claim.caption(findings)
    counts = table.groupby(["axis", "method", "measure"]).size()
    assert set(counts.drop(OBSERVATION, level="method")) == {2 * 2 * SMOKE["seeds"]}
