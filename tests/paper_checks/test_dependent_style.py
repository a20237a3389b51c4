"""The claim `dependent-style`: verdicts from made-up tables, shared trainings, the control, a smoke run."""

import pandas as pd
import pytest

from figures import look
from paper_checks.claim import Config, Verdict
from paper_checks.dependent_style import CHIEF, CLAIM, FLOOR, SIMVAE
from paper_checks.judge import judge
from paper_checks.trained import OBSERVATION, training
from tests.paper_checks.conftest import empty_panels

pytestmark = pytest.mark.usefixtures("rough_probes")

CONFIG: Config = {"methods": list(CHIEF), "floors": []}
CEILING = 0.9


def made_up(naive: dict[str, float], strengths: tuple[float, ...] = (FLOOR,)) -> pd.DataFrame:
    rows = []
    for strength in strengths:
        for seed in (0, 1, 2):
            for method, value in (naive | {OBSERVATION: CEILING}).items():
                about = {"method": method, "seed": seed, "strength": strength}
                rows.append(about | {"measure": "style R2, nonlinear", "value": value + 0.002 * seed})
                rows.append(about | {"measure": "style floor", "value": strength})
    return pd.DataFrame(rows)


CONTENT_ALONE = {"SimCLR": 0.48, "VICReg": 0.46, SIMVAE: 0.85, "VAE": 0.8}
KEPT = CONTENT_ALONE | {"SimCLR": 0.85, "VICReg": 0.8}
LOST_ALTOGETHER = CONTENT_ALONE | {"SimCLR": 0.05, "VICReg": 0.05}
GENERATIVE_LOSES = CONTENT_ALONE | {SIMVAE: 0.5}


@pytest.mark.parametrize(
    ("naive", "verdict"),
    [
        (CONTENT_ALONE, Verdict.HOLDS),
        (KEPT, Verdict.FAILS),
        (LOST_ALTOGETHER, Verdict.FAILS),
        (GENERATIVE_LOSES, Verdict.FAILS),
    ],
)
def test_the_verdict_follows_what_lies_above_the_floor(naive: dict[str, float], verdict: Verdict) -> None:
    assert Verdict.of(f.verdict for f in CLAIM.findings(made_up(naive), CONFIG)) is verdict


def test_style_that_survives_above_the_floor_is_what_the_control_must_show() -> None:
    assert CLAIM.control is not None
    broken = CLAIM.control(CONFIG)
    findings = CLAIM.findings(made_up(CONTENT_ALONE), CONFIG)
    assert judge(findings, CLAIM.findings(made_up(KEPT), broken), [])[0] is Verdict.HOLDS
    assert judge(findings, CLAIM.findings(made_up(CONTENT_ALONE), broken), [])[0] is Verdict.INCONCLUSIVE


def test_only_the_main_strength_is_judged() -> None:
    both = pd.concat([made_up(CONTENT_ALONE), made_up(KEPT, (0.25,))], ignore_index=True)
    assert Verdict.of(f.verdict for f in CLAIM.findings(both, CONFIG)) is Verdict.HOLDS


def test_strength_zero_is_the_training_that_other_claims_ask_for() -> None:
    config = CLAIM.settings("full")
    asked = {task.identity for task in CLAIM.tasks(config)}
    assert training("SimCLR", config).identity in asked


def test_the_control_changes_only_p_keep_and_leaves_out_what_it_does_not_judge() -> None:
    assert CLAIM.control is not None
    config = CLAIM.settings("quick")
    plain = [dict(task.kwargs) | {"overrides": {"p_keep": 1.0}} for task in CLAIM.tasks(config)]
    broken = [dict(task.kwargs) for task in CLAIM.tasks(CLAIM.control(config))]
    assert {kwargs["method"] for kwargs in broken} == {"SimCLR", "VICReg", OBSERVATION}
    assert all(kwargs in plain for kwargs in broken)


def test_the_smoke_profile_runs_to_figure_and_caption_with_a_sweep() -> None:
    config = CLAIM.settings("smoke") | {"steps": 3, "points": 120}
    table = pd.concat([task.labelled(task.run("cpu")) for task in CLAIM.tasks(config)], ignore_index=True)
    control, config = table, config | {"floors": [0.0]}
    table = pd.concat([table, table.assign(strength=0.0)], ignore_index=True)
    findings = CLAIM.findings(table, config)
    with look():
        for other in (control, None):
            assert empty_panels(CLAIM.draw(table, other, findings, config)) == []
    assert "floor" in CLAIM.caption(findings)
