"""The claim `real-data`: two findings that are never merged, the control, a run of the smoke profile."""

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from figures import look
from paper_checks.__main__ import main
from paper_checks.claim import Finding, Verdict
from paper_checks.judge import judge
from paper_checks.real_data import CLAIM, CONTENT, DIGITS, STYLE, measured, style
from tests.paper_checks.conftest import empty_panels

pytestmark = pytest.mark.usefixtures("rough_probes")


def made_up(told: dict[str, tuple[float, float]]) -> pd.DataFrame:
    """Style R² (of two factors, 0.1 to either side) and content accuracy of each method, three seeds."""
    rows = []
    for method, (of_style, of_content) in told.items():
        for seed in (0, 1, 2):
            about = {"method": method, "seed": seed}
            for target, value in (("shift", of_style + 0.1), ("turn", of_style - 0.1 + 0.002 * seed)):
                rows.append(about | {"aspect": "style", "measure": "nonlinear", "target": target, "value": value})
                rows.append(about | {"aspect": "style", "measure": "linear", "target": target, "value": 0.0})
            content = {"aspect": "content", "target": "label", "value": of_content + 0.002 * seed**2}
            rows += [about | content | {"measure": "linear"}, about | content | {"measure": "knn", "value": 0.5}]
    return pd.DataFrame(rows).assign(images=DIGITS)


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
            assert empty_panels(CLAIM.draw(table, control, findings, config)) == []
    assert "digits" in CLAIM.caption(findings)


def results(folder: Path, told: dict[str, tuple[float, float]]) -> str:
    """What ssl-bench leaves: a table with layers."""
    folder.mkdir(parents=True)
    table = made_up(told).drop(columns="images").assign(layer="representation")
    before = table.assign(layer="encoder", value=-9.0)
    pd.concat([table, before], ignore_index=True).to_parquet(folder / "table.parquet")
    return str(folder)


EVERY = OTHERS | {"simvae": (0.8, 0.95), "random": (0.3, 0.5)}


def judged(config: dict[str, Any]) -> tuple[pd.DataFrame, list[Finding]]:
    tasks = [task for task in CLAIM.tasks(config) if task.function is measured]
    read = [task.labelled(task.run("cpu")) for task in tasks]
    table = pd.concat([made_up(EVERY), *read], ignore_index=True)
    return table, list(CLAIM.findings(table, config))


def test_what_the_benchmark_wrote_is_judged_beside_the_digits(tmp_path):
    folder = results(tmp_path / "mnist", EVERY | {"simvae": (0.25, 0.91)})
    config = CLAIM.settings("quick", bench=[folder])
    table, found = judged(config)
    assert [f.name for f in found] == [STYLE, CONTENT, f"mnist: {STYLE}", f"mnist: {CONTENT}"]
    assert [f.estimate for f in found] == pytest.approx([0.6, 0.05, 0.05, 0.01])
    assert [f.controlled for f in found] == [False, True, False, True]
    assert "mnist" in CLAIM.caption(found)
    with look():
        figure = CLAIM.draw(table, table, found, config)
    assert [axis.get_title(loc="left") or axis.get_title() for axis in figure.axes][:2] == ["digits", "mnist"]


def test_folders_of_one_name_are_told_apart(tmp_path):
    folders = [results(tmp_path / at / "digits", EVERY) for at in ("a", "b")]
    _, found = judged(CLAIM.settings("quick", bench=folders))
    assert len({f.name for f in found}) == 6


def test_a_table_that_changes_while_the_run_goes_on_is_refused(tmp_path):
    folder = results(tmp_path / "mnist", EVERY)
    task = CLAIM.tasks(CLAIM.settings("quick", bench=[folder]))[-1]
    made_up(EVERY).assign(layer="representation").to_parquet(tmp_path / "mnist" / "table.parquet")
    with pytest.raises(ValueError, match="another table"):
        task.run("cpu")


@pytest.mark.parametrize(
    ("claim", "told", "words"),
    [
        ("real-data", None, "table.parquet"),
        ("real-data", {name: of for name, of in EVERY.items() if name != "vae"}, "vae"),
        ("elbo-bound", EVERY, "--bench changes nothing without the claim real-data"),
    ],
)
def test_bad_folders_are_one_line(claim, told, words, tmp_path, monkeypatch, capsys):
    folder = str(tmp_path) if told is None else results(tmp_path / "mnist", told)
    monkeypatch.setattr(sys, "argv", ["paper-checks", claim, "--out", str(tmp_path / "out"), "--bench", folder])
    assert main() == 2
    said = capsys.readouterr().err.strip()
    assert words in said
    assert len(said.splitlines()) == 1
