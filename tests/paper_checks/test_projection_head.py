"""projection-head: the verdict follows the table, the control is the identity for a head, smoke runs whole."""

import numpy as np
import pandas as pd
import pytest
import torch

from figures import look
from paper_checks import projection_head as claim
from paper_checks.claim import Config, Verdict
from paper_checks.judge import judge
from tests.paper_checks.conftest import empty_panels

pytestmark = pytest.mark.usefixtures("rough_probes")

CONFIG: Config = claim.CLAIM.settings("smoke")
BROKEN = claim.control(claim.CLAIM.settings("smoke"))


def made_up(
    kept: tuple[float, ...] = (0.0, 0.2, 0.3, 0.4), content: float = 0.0, passed: float = 0.1, even: float = 0.1
) -> pd.DataFrame:
    """Three seeds; `kept[depth]` is how much more style h has than z, `content` how much more content."""
    rows: list[tuple[object, ...]] = []
    for seed in range(3):
        jitter = 0.001 * seed
        for depth, more in enumerate(kept):
            for layer, add in (("encoder", 1), ("representation", 0)):
                for measure, value in ((claim.STYLE, more), (claim.CONTENT, content)):
                    rows.append((depth, layer, measure, seed, 0.1 + add * (value + jitter * (depth > 0))))
        for depth, (a, b) in {0: (1.0, 1.0), 1: (passed, even)}.items():
            rows += [(depth, None, "passed on", seed, a + jitter), (depth, None, "over even", seed, b + jitter)]
    return pd.DataFrame(rows, columns=["depth", "layer", "measure", "seed", "value"]).assign(method=claim.SIMCLR)


@pytest.mark.parametrize(
    ("table", "verdict", "at_fault"),
    [
        (made_up(), Verdict.HOLDS, None),
        (made_up(kept=(0.0, 0.0, 0.02, 0.1)), Verdict.FAILS, "style R², h − z, two layers"),
        (made_up(content=-0.1), Verdict.FAILS, "content R², h − z, two layers"),
        (made_up(kept=(0.9, 0.3, 0.3, 0.3)), Verdict.FAILS, "style R², h − z, growth a layer"),
        (made_up(passed=0.9), Verdict.FAILS, "share of style in Wh over that in h"),
        (made_up(even=0.9), Verdict.FAILS, "style variance that W passes on, over an even spread"),
    ],
)
def test_the_verdict_follows_the_table(table: pd.DataFrame, verdict: Verdict, at_fault: str | None) -> None:
    findings = claim.findings(table, CONFIG)
    assert Verdict.of(f.verdict for f in findings) == verdict
    assert [f.name for f in findings if f.verdict is not Verdict.HOLDS] == ([at_fault] if at_fault else [])


def test_the_control_reads_the_identity_head_and_every_controlled_finding_fails() -> None:
    control = claim.findings(made_up(), BROKEN)
    assert {f.verdict for f in control if f.controlled} == {Verdict.FAILS}
    assert judge(claim.findings(made_up(), CONFIG), control, [])[0] is Verdict.HOLDS


def test_the_control_trains_nothing_that_the_claim_does_not() -> None:
    assert {t.identity for t in claim.tasks(BROKEN)} < {t.identity for t in claim.tasks(CONFIG)}


def test_style_put_into_the_null_space_of_the_head_is_found_there() -> None:
    generator = torch.Generator().manual_seed(0)
    content = torch.randn(2, 400, 1, claim.OUTPUT, generator=generator).expand(-1, -1, 2, -1)
    style = torch.randn(2, 400, 2, claim.WIDTH - claim.OUTPUT, generator=generator)
    turn = torch.linalg.qr(torch.randn(claim.WIDTH, claim.WIDTH, generator=generator))[0]
    weight = turn[: claim.OUTPUT].expand(2, -1, -1)
    table = claim.by_direction(torch.cat([content, style], -1) @ turn, weight)
    shares = {n: table[table.measure == f"{n} share"].groupby("direction").value.mean() for n in ("style", "content")}
    assert shares["style"][: claim.OUTPUT].sum() == pytest.approx(0, abs=1e-6)
    assert shares["content"][: claim.OUTPUT].sum() == pytest.approx(1, abs=0.1)
    assert table[table.measure.isin(["passed on", "over even"])].value.to_numpy() == pytest.approx(
        np.zeros(4), abs=1e-6
    )


def test_style_that_is_spread_evenly_is_passed_on_as_by_random_directions() -> None:
    generator = torch.Generator().manual_seed(0)
    views = torch.randn(1, 4000, 2, claim.WIDTH, generator=generator)
    table = claim.by_direction(views, torch.randn(1, claim.OUTPUT, claim.WIDTH, generator=generator))
    assert table[table.measure == "over even"].value.item() == pytest.approx(1, abs=0.1)


def test_smoke_runs_from_tasks_to_caption_and_a_linear_head_is_the_map_from_h_to_z() -> None:
    table = pd.concat([task.labelled(task.run("cpu")) for task in claim.tasks(CONFIG)], ignore_index=True)
    control_table = table[(table.depth == 0) | table.depth.isna()]
    findings, control = claim.findings(table, CONFIG), claim.findings(control_table, BROKEN)
    assert {f.verdict for f in control if f.controlled} == {Verdict.FAILS}
    assert [f.name for f in control] == [f.name for f in findings]
    with look():
        for other in (control_table, None):
            assert empty_panels(claim.draw(table, other, findings, CONFIG)) == []
    assert "nan" not in claim.caption(findings)
    for measure in ("style share", "content share"):
        shares = table[(table.measure == measure) & (table.depth == 1)].groupby("seed").value
        assert shares.count().tolist() == [claim.WIDTH] * CONFIG["seeds"]
        assert shares.sum().to_numpy() == pytest.approx(np.ones(CONFIG["seeds"]), abs=1e-4)
