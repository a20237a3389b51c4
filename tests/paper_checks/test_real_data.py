"""The claim `real-data`: two findings that are never merged, the control, a run of the smoke profile."""

import pandas as pd
import pytest
from matplotlib.figure import Figure

from figures import look
from paper_checks.claim import Verdict
from paper_checks.judge import judge
from paper_checks.real_data import CLAIM, CONTENT, STYLE, style


def made_up(told: dict[str, tuple[float, float]]) -> pd.DataFrame:
    """Style R² (of two factors, 0.1 to either side) and content accuracy of each method, three seeds."""
    rows = []
    for method, (of_style, of_content) in told.items():
        for seed in (0, 1, 2):
            about = {"method": method, "seed": seed}
            for target, value in (("shift", of_style + 0.1), ("turn", of_style - 0.1 + 0.002 * seed)):
                rows.append(about | {"aspect": "style", "measure": "mlp", "target": target, "value": value})
                rows.append(about | {"aspect": "style", "measure": "linear", "target": target, "value": 0.0})
            content = {"aspect": "content", "target": "label", "value": of_content + 0.002 * seed**2}
            rows += [about | content | {"measure": "linear"}, about | content | {"measure": "knn", "value": 0.5}]
    return pd.DataFrame(rows)


OTHERS = {"simclr": (0.2, 0.8), "vicreg": (0.1, 0.6), "vae": (0.8, 0.9)}


@pytest.mark.parametrize(
    ("simvae", "on_style", "on_content"),
    [
        ((0.8, 0.95), Verdict.HOLDS, Verdict.HOLDS),
        ((0.8, 0.91), Verdict.HOLDS, Verdict.FAILS),
        ((0.25, 0.95), Verdict.FAILS, Verdict.HOLDS),
    ],
)
def test_each_finding_has_a_verdict_of_its_own(
    simvae: tuple[float, float], on_style: Verdict, on_content: Verdict
) -> None:
    # Equal jitter of all methods would leave no variance: SimVAE's is its own.
    table = made_up(OTHERS | {"simvae": simvae})
    ours = table.method == "simvae"
    table.loc[ours, "value"] += 0.001 * table.loc[ours, "seed"]
    found = {f.name: f.verdict for f in CLAIM.findings(table, {})}
    assert found == {STYLE: on_style, CONTENT: on_content}


def test_the_best_discriminative_method_is_the_one_to_beat() -> None:
    table = made_up(OTHERS | {"simvae": (0.5, 0.9)})
    found = {f.name: f.estimate for f in CLAIM.findings(table, {})}
    assert found[STYLE] == pytest.approx(0.3)
    assert style(table, "simclr").tolist() == pytest.approx([0.2, 0.201, 0.202])


def test_a_random_encoder_must_fail_on_content_and_need_not_on_style() -> None:
    assert CLAIM.control is not None
    good = made_up(OTHERS | {"simvae": (0.8, 0.95)})
    bad = made_up(OTHERS | {"random": (0.7, 0.7)})
    findings, broken = CLAIM.findings(good, {}), CLAIM.findings(bad, CLAIM.control({}))
    assert judge(findings, broken, [])[0] is Verdict.HOLDS
    assert judge(findings, findings, [])[0] is Verdict.INCONCLUSIVE


def test_a_diverged_member_decides_nothing() -> None:
    table = made_up(OTHERS | {"simvae": (0.8, 0.95)})
    table.loc[(table.method == "vicreg") & (table.seed == 1), "value"] = float("nan")
    assert next(f for f in CLAIM.findings(table, {}) if f.name == STYLE).verdict is Verdict.INCONCLUSIVE


def test_the_control_replaces_simvae_alone() -> None:
    assert CLAIM.control is not None
    tasks = CLAIM.tasks(CLAIM.settings("quick"))
    broken = CLAIM.tasks(CLAIM.control(CLAIM.settings("quick")))
    assert [t.identity for t in tasks[:-1]] == [t.identity for t in broken[:-1]]
    assert dict(tasks[-1].kwargs) | {"method": "random"} == dict(broken[-1].kwargs)


def test_the_benchmark_gives_what_the_findings_read() -> None:
    config = CLAIM.settings("smoke") | {"steps": 2}
    one, random = (
        next(t for t in CLAIM.tasks(c) if t.kwargs["method"] == name)
        for c, name in ((config, "simvae"), (config | {"in place of SimVAE": "random"}, "random"))
    )
    table = pd.concat([one.labelled(one.run("cpu")), random.labelled(random.run("cpu"))], ignore_index=True)
    others = [table[table.method == "simvae"].assign(method=name) for name in ("simclr", "vicreg", "vae")]
    table = pd.concat([table, *others], ignore_index=True)
    findings = CLAIM.findings(table, config)
    assert [f.estimate for f in findings] == pytest.approx([0.0, 0.0])
    with look():
        for control in (table, None):
            assert isinstance(CLAIM.draw(table, control, findings, config), Figure)
    assert "digits" in CLAIM.caption(findings)
