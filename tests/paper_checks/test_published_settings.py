"""The claim `published-settings`: verdicts from made-up tables, the worlds asked for, the control, a smoke run."""

import pandas as pd
import pytest

from figures import look
from paper_checks.claim import Config, Verdict
from paper_checks.judge import judge
from paper_checks.published_settings import CLAIM, INFONCE, SIMVAE
from paper_checks.trained import OBSERVATION
from tests.paper_checks.conftest import empty_panels

pytestmark = pytest.mark.usefixtures("rough_probes")

CONFIG: Config = {"blocks": ["SimCLR", "VICReg", SIMVAE], "methods": [], "sphere": [INFONCE]}


def made_up(content: float = 0.95, style: float = 0.1, generative: float = 0.8, sphere: float = 0.95) -> pd.DataFrame:
    rows = []
    for seed in (0, 1, 2):
        jitter = 0.002 * seed
        for method in CONFIG["blocks"]:
            values = {
                "content R2, nonlinear": content,
                "style R2, nonlinear": generative if method == SIMVAE else style,
            }
            # The sphere's numbers of the same methods must not be taken for the blocks'.
            for setting, shift in (("blocks", 0.0), ("sphere", -5.0)):
                about = {"setting": setting, "method": method, "seed": seed}
                rows += [about | {"measure": m, "value": v + jitter + shift} for m, v in values.items()]
        about = {"setting": "sphere", "method": INFONCE, "seed": seed, "measure": "content R2, linear"}
        rows.append(about | {"value": sphere + jitter})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("table", "verdict"),
    [
        (made_up(), Verdict.HOLDS),
        (made_up(content=0.8), Verdict.FAILS),
        (made_up(style=0.5), Verdict.FAILS),
        (made_up(generative=0.2), Verdict.FAILS),
        (made_up(sphere=0.8), Verdict.FAILS),
    ],
)
def test_the_verdict_follows_blocks_and_sphere(table: pd.DataFrame, verdict: Verdict) -> None:
    assert Verdict.of(f.verdict for f in CLAIM.findings(table, CONFIG)) is verdict


def test_a_control_in_which_content_is_found_all_the_same_makes_the_claim_inconclusive() -> None:
    assert CLAIM.control is not None
    broken = CLAIM.control(CONFIG)
    findings = CLAIM.findings(made_up(), CONFIG)
    assert judge(findings, CLAIM.findings(made_up(content=0.5, sphere=0.5), broken), [])[0] is Verdict.HOLDS
    assert judge(findings, CLAIM.findings(made_up(sphere=0.5), broken), [])[0] is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("profile", ["quick", "full"])
def test_the_critic_matches_the_sphere_and_the_blocks_are_independent(profile: str) -> None:
    tasks = CLAIM.tasks(CLAIM.settings(profile))
    matching = [task for task in tasks if task.columns["method"] == INFONCE]
    assert [dict(task.kwargs)["settings"] for task in matching] == [{"temperature": 1 / 10}]
    for task in tasks:
        if task.columns["setting"] == "blocks":
            assert task.kwargs["overrides"] == {"dependent": False, "causal": False}
            assert ("settings" in task.kwargs) == (task.columns["method"] not in (SIMVAE, "VAE", OBSERVATION))


def test_the_control_changes_only_the_pairing_and_leaves_out_what_it_does_not_judge() -> None:
    assert CLAIM.control is not None
    config = CLAIM.settings("quick")
    plain, broken = (
        [dict(task.kwargs) for task in CLAIM.tasks(c) if task.kwargs["method"] != OBSERVATION]
        for c in (config, CLAIM.control(config))
    )
    assert len(broken) == 2
    assert all(kwargs in [p | {"pairing": "shuffled"} for p in plain] for kwargs in broken)


def test_the_smoke_profile_runs_to_figure_and_caption() -> None:
    config = CLAIM.settings("smoke") | {"steps": 3, "points": 120, "blocks": ["SimCLR"], "sphere": [INFONCE]}
    table = pd.concat([task.labelled(task.run("cpu")) for task in CLAIM.tasks(config)], ignore_index=True)
    control = table
    findings = CLAIM.findings(table, config)
    with look():
        for other in (control, None):
            assert empty_panels(CLAIM.draw(table, other, findings, config)) == []
    assert "published" in CLAIM.caption(findings)
