"""temperature-is-variance: the verdict follows the slopes, the control frees the scale, smoke runs whole."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text

from figures import look
from paper_checks import own
from paper_checks import temperature_is_variance as claim
from paper_checks.claim import Config, Verdict
from paper_checks.judge import judge
from ssl_theory.learners import fit
from ssl_theory.losses import contrastive, generative
from ssl_theory.losses.decoders import Gaussian
from ssl_theory.losses.priors import Flat
from synthetic import preset
from tests.paper_checks.conftest import empty_panels

pytestmark = pytest.mark.usefixtures("rough_probes")

QUICK: Config = claim.CLAIM.settings("quick")
SMOKE: Config = claim.CLAIM.settings("smoke")


def made_up(contrastive_slope: float, generative_slope: float, temperatures: list[float]) -> pd.DataFrame:
    """Three seeds whose collapse ratios are powers of the temperature."""
    powers = {claim.METHODS[0]: contrastive_slope, claim.METHODS[1]: generative_slope}
    rows = [
        (method, measure, temperature, seed, 0.1 * (1 + seed) * temperature ** (power + 0.01 * seed))
        for method, power in powers.items()
        for measure in (claim.TIGHT, claim.CLASSES, claim.STYLE)
        for temperature in temperatures
        for seed in range(3)
    ]
    return pd.DataFrame(rows, columns=["method", "measure", "temperature", "seed", "value"])


def verdicts(first: float, second: float) -> list[str]:
    return [f.verdict.value for f in claim.findings(made_up(first, second, QUICK["temperatures"]), QUICK)]


def test_the_slope_is_the_power_of_the_temperature() -> None:
    table = made_up(0.7, -0.4, QUICK["temperatures"])
    assert claim.slope(table, claim.METHODS[0]).to_numpy() == pytest.approx([0.7, 0.71, 0.72])
    assert claim.slope(table, claim.METHODS[1]).to_numpy() == pytest.approx([-0.4, -0.39, -0.38])


def test_the_verdict_follows_the_slopes() -> None:
    assert verdicts(0.8, 0.6) == ["holds", "holds", "holds"]
    assert verdicts(0.0, 0.3) == ["fails", "holds", "holds"]
    assert verdicts(0.3, 0.0) == ["holds", "fails", "holds"]
    assert verdicts(1.2, 0.4) == ["holds", "holds", "fails"]


def test_a_missing_temperature_of_a_seed_is_never_a_finding_that_holds() -> None:
    table = made_up(0.8, 0.6, QUICK["temperatures"])
    table.loc[
        (table.method == "SimCLR") & (table.seed == 1) & (table.temperature == QUICK["temperatures"][1]), "value"
    ] = np.nan
    found = claim.findings(table, QUICK)
    assert [f.verdict for f in found] == [Verdict.INCONCLUSIVE, Verdict.HOLDS, Verdict.INCONCLUSIVE]


def test_a_control_that_tightens_too_leaves_the_claim_inconclusive() -> None:
    broken = claim.control(QUICK)
    findings = claim.findings(made_up(0.8, 0.6, QUICK["temperatures"]), QUICK)
    for slopes, verdict in (((0.0, 0.0), Verdict.HOLDS), ((0.0, 0.6), Verdict.INCONCLUSIVE)):
        control = claim.findings(made_up(*slopes, broken["temperatures"]), broken)
        assert judge(findings, control, [])[0] is verdict


def test_the_control_frees_the_scale_at_the_ends_of_the_sweep() -> None:
    main, broken = ({t.kwargs["method"]: t.kwargs for t in claim.tasks(c)} for c in (QUICK, claim.control(QUICK)))
    assert set(main) - {claim.APART} == set(broken) == set(claim.METHODS)
    for method, kwargs in broken.items():
        changed = {key for key, value in kwargs.items() if main[method][key] != value}
        assert changed == {"pinned", "temperatures"}
        assert kwargs["temperatures"] == [0.05, 1.5]


def test_the_learners_speak_one_dictionary() -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.nn.functional.normalize(torch.randn(12, 2, 5, generator=generator, dtype=torch.float64), dim=-1)
    squared = contrastive.info_nce(z, temperature=2 * 0.3, critic="distance")
    assert float(squared) == pytest.approx(float(contrastive.info_nce(z, temperature=0.3)), abs=1e-12)
    modules = torch.nn.ModuleDict({"encoder": torch.nn.Identity()})  # representations that are unit vectors anyhow
    free, pinned = (claim.learner("SimCLR", 0.3, each).loss(modules, z[None]) for each in (False, True))
    torch.testing.assert_close(free, pinned)
    model = claim.learner("SimVAE, Gaussian prior", 0.3, True)
    assert (model.prior, model.style_variance) == ("gaussian", 0.15)  # type: ignore[attr-defined]
    assert claim.learner("SimVAE, Gaussian prior", 0.3, False).prior == "flat"  # type: ignore[attr-defined]


def test_where_the_scale_is_free_temperature_is_a_unit() -> None:
    generator = torch.Generator().manual_seed(0)
    z, noise = (torch.randn(9, 2, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    x = torch.zeros(9, 2, 3, dtype=torch.float64)

    def elbo(a: float) -> float:
        log_variance = noise + 2 * np.log(a)
        prior, decoder = Flat(0.2 * a**2), Gaussian(0.01)
        return float(generative.elbo_ssl(x, x, a * z, log_variance, prior=prior, decoder=decoder))

    free = [float(contrastive.info_nce(a * z, temperature=0.4 * a**2, critic="distance")) for a in (1.0, 3.0)]
    assert free[1] == pytest.approx(free[0], abs=1e-12)
    assert elbo(3.0) - elbo(1.0) == pytest.approx(-5 * np.log(3.0), abs=1e-10)


def test_an_ensemble_over_temperatures_is_the_lone_run_of_each() -> None:
    world = preset("block", seed=0)
    learners = [claim.learner("SimCLR", t, False) for t in (0.1, 1.0)]
    x = world.sample(20, views=2, generator=torch.Generator().manual_seed(0)).x[:, 0]
    both = fit(learners, world, steps=3, seeds=[0], batch_size=16, device="cpu").transform(x)
    lone = fit(learners[1], world, steps=3, seeds=[0], batch_size=16, device="cpu").transform(x)
    torch.testing.assert_close(both[1:], lone, rtol=1e-4, atol=1e-5)


WARM = """
from dataclasses import dataclass

from ssl_theory.learners import JointEmbedding, SimVAE
from ssl_theory.losses import contrastive


@dataclass(frozen=True, kw_only=True)
class Warm(JointEmbedding):
    temperature: float = 0.5

    def loss(self, modules, x, noise=None):
        return contrastive.info_nce(self.embed(modules, x), temperature=float(self.temperature))


class Loose(SimVAE):
    pass
"""


@pytest.mark.parametrize("kind", ["Warm", "Loose"])
def test_a_learner_of_ones_own_is_swept_as_the_method_it_equals(kind: str, tmp_path: Path) -> None:
    (path := tmp_path / "warm.py").write_text(WARM)
    name = own.learner(f"{path}:{kind}")
    config = claim.CLAIM.settings("smoke", learner=name) | {"steps": 5, "points": 120}
    theirs = {task.columns.get("method", task.kwargs["method"]): task for task in claim.tasks(config)}
    mine, like = theirs[kind], theirs["SimCLR" if kind == "Warm" else "SimVAE, Gaussian prior"]
    ours, table = (task.labelled(task.run("cpu")) for task in (mine, like))
    for measure in (claim.TIGHT, claim.CLASSES, claim.STYLE):
        found, wanted = (claim.by_temperature(t, n, measure) for t, n in ((ours, kind), (table, table.method.iloc[0])))
        assert found.to_numpy() == pytest.approx(wanted.to_numpy(), rel=1e-3, abs=1e-3)
    assert kind not in {t.columns.get("method") for t in claim.tasks(claim.control(config))}


def test_a_learner_of_ones_own_has_a_finding_a_curve_and_no_part_in_the_others(tmp_path: Path) -> None:
    (path := tmp_path / "warm.py").write_text(WARM)
    config = QUICK | {"methods": [own.learner(f"{path}:Warm")]}
    table = made_up(0.8, 0.6, QUICK["temperatures"])
    rows = table[table.method == "SimCLR"]
    flat = rows.assign(method="Warm", value=rows.temperature**0.1 * (1 + rows.seed))
    both = pd.concat([table, rows.assign(method=claim.APART), flat], ignore_index=True)
    found = claim.findings(both, config)
    assert [f.as_json() for f in found[:3]] == [f.as_json() for f in claim.findings(table, QUICK)]
    assert [(f.name, f.verdict, f.controlled) for f in found[3:]] == [
        ("slope of log ratio on log τ, Warm", Verdict.FAILS, False)
    ]
    with look():
        figure = claim.draw(both, None, found, config)
    assert "Warm" in [text.get_text() for text in figure.findobj(Text)]


def test_smoke_runs_from_tasks_to_caption() -> None:
    broken = claim.control(SMOKE)
    table, control_table = (
        pd.concat([task.run("cpu") for task in claim.tasks(config)], ignore_index=True) for config in (SMOKE, broken)
    )
    findings = claim.findings(table, SMOKE)
    assert [f.name for f in claim.findings(control_table, broken)] == [f.name for f in findings]
    with look():
        for other in (control_table, None):
            assert empty_panels(claim.draw(table, other, findings, SMOKE)) == []
    assert "nan" not in claim.caption(findings)
    assert not table.value.isna().any()
    sizes = table.groupby(["method", "measure", "temperature"]).seed.nunique()
    assert (sizes == SMOKE["seeds"]).all()
