"""The claims themselves: identities hold in the smoke profile, controls fail, the verdict follows the table."""

import importlib
from types import ModuleType

import pandas as pd
import pytest

from figures import look
from paper_checks.claim import Claim, Config, Finding, Verdict
from paper_checks.judge import judge
from paper_checks.trained import OBSERVATION, SIMVAE, WITH_NOISE, displayed, retained_style
from tests.paper_checks.conftest import empty_panels, hold_on_what_is_left

DISCRIMINATIVE = ("SimCLR", "VICReg")  # as the smoke profile compares
SHOWN = (*DISCRIMINATIVE, *SIMVAE, "VAE", "Random")
IDENTITIES = ("prior_marginal", "elbo_bound", "infonce_is_prior_minus_density")


def claim_in(name: str) -> Claim:
    module: ModuleType = importlib.import_module(f"paper_checks.{name}")
    return module.CLAIM


def table_of(claim: Claim, config: Config) -> pd.DataFrame:
    return pd.concat([task.labelled(task.run("cpu")) for task in claim.tasks(config)], ignore_index=True)


@pytest.fixture(scope="module", params=IDENTITIES)
def run(request: pytest.FixtureRequest) -> tuple[Claim, Config, pd.DataFrame, Config, pd.DataFrame]:
    claim = claim_in(request.param)
    config = claim.settings("smoke")
    assert claim.control is not None
    broken = claim.control(claim.settings("smoke"))
    return claim, config, table_of(claim, config), broken, table_of(claim, broken)


def test_an_identity_holds_and_its_control_fails(run) -> None:
    claim, config, table, broken, broken_table = run
    findings, control = claim.findings(table, config), claim.findings(broken_table, broken)
    assert judge(findings, control, []) == (Verdict.HOLDS, [])
    assert {f.verdict for f in control if f.controlled} == {Verdict.FAILS}
    assert [f.name for f in control] == [f.name for f in findings]


def test_what_is_no_number_is_not_left_out_of_a_finding_that_holds(run) -> None:
    claim, config, table, *_ = run
    known = {"J", "d", "n", "K", "draw", "world", "ratio", "temperature", "style_variance", "content_variance"}
    measured = [name for name in table if table[name].dtype.kind == "f" and name not in known]
    assert hold_on_what_is_left(claim, table, config, measured) == set()


def test_figure_and_caption_are_drawn_with_and_without_the_control(run) -> None:
    claim, config, table, _, broken_table = run
    findings = claim.findings(table, config)
    with look():
        for other in (broken_table, None):
            assert empty_panels(claim.draw(table, other, findings, config)) == []
    assert len(claim.caption(findings)) > 50


def made_up(retained: dict[str, float], floor: float = 0.2, ceiling: float = 0.8) -> pd.DataFrame:
    """A table of two seeds whose representations retain the given shares of style."""
    rows = []
    for seed in (0, 1):
        jitter = 0.01 * seed
        for method, share in retained.items():
            style = floor + (ceiling - floor) * (share + jitter)
            values = {"style R2, nonlinear": style, "label accuracy, linear": 0.9 + jitter, "style floor": floor}
            rows += [{"method": method, "seed": seed, "measure": m, "value": v} for m, v in values.items()]
        observed = {"style R2, nonlinear": ceiling, "style floor": floor}
        rows += [{"method": OBSERVATION, "seed": seed, "measure": m, "value": v} for m, v in observed.items()]
    return pd.DataFrame(rows)


COLLAPSED = dict.fromkeys(SHOWN, 0.7) | dict.fromkeys(DISCRIMINATIVE, 0.05)
KEPT_BY_ALL = dict.fromkeys(SHOWN, 0.9)
LOST_BY_ALL = dict.fromkeys(SHOWN, 0.05)


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [(COLLAPSED, Verdict.HOLDS), (KEPT_BY_ALL, Verdict.FAILS), (LOST_BY_ALL, Verdict.FAILS)],
)
def test_style_collapse_is_read_off_the_table(shares: dict[str, float], verdict: Verdict) -> None:
    claim = claim_in("style_collapse")
    findings = claim.findings(made_up(shares), claim.settings("smoke"))
    assert Verdict.of(f.verdict for f in findings) == verdict


def with_noise(table: pd.DataFrame, retained: dict[str, float], content: float) -> pd.DataFrame:
    """The same and what noise leaves: these shares of style, of data that tell less of it, and of a content R^2 of 0.9
    this share, in VICReg, and a little more in others."""
    noisy = made_up(retained, ceiling=0.5)
    style = noisy[noisy.measure == "style R2, nonlinear"].assign(measure=f"style R2, {WITH_NOISE}")
    bare = style.assign(measure="content R2, nonlinear", value=0.9)
    more = 0.01 * style.seed + 0.15 * (style.method != "VICReg")
    left = style.assign(measure=f"content R2, {WITH_NOISE}", value=0.9 * content + more)
    return pd.concat([table, style, bare, left], ignore_index=True)


@pytest.mark.parametrize("name", ["style_collapse", "style_is_small"])
def test_a_learner_of_ones_own_does_not_change_what_is_said_of_others(name: str, mine: str) -> None:
    claim = claim_in(name)
    config = claim.settings("smoke")
    shares = COLLAPSED | {"Mine": float("nan")}
    table = with_noise(made_up(shares), shares, 0.9)
    found = {f.name: f for f in claim.findings(table, config | {"methods": [*config["methods"], mine]})}
    for finding in claim.findings(table[table.method != "Mine"], config):
        if "content" not in finding.name:
            assert found[finding.name] == finding


def test_style_is_small_where_noise_takes_it_and_leaves_content() -> None:
    """What is retained without noise, everything here, has no say."""
    claim = claim_in("style_is_small")
    config, table = claim.settings("smoke"), made_up(KEPT_BY_ALL)
    found = claim.findings(with_noise(table, COLLAPSED, 0.9), config)
    assert {f.verdict for f in found} == {Verdict.HOLDS}
    assert "keeps at least 0.91 of its R²" in claim.caption(found)
    control = claim.findings(with_noise(table, KEPT_BY_ALL, 0.9), config)
    assert judge(found, control, [])[0] is Verdict.HOLDS
    assert judge(found, found, [])[0] is Verdict.INCONCLUSIVE
    failing = [f.name for f in claim.findings(with_noise(table, COLLAPSED, 0.7), config) if f.verdict is Verdict.FAILS]
    assert failing == ["content left by the noise, least over methods"]
    assert len([f for f in control if f.verdict is Verdict.FAILS]) == len(DISCRIMINATIVE) + len(SIMVAE)


def test_a_control_in_which_style_is_lost_too_makes_style_collapse_inconclusive() -> None:
    claim = claim_in("style_collapse")
    config = claim.settings("smoke")
    findings = claim.findings(made_up(COLLAPSED), config)
    assert judge(findings, claim.findings(made_up(KEPT_BY_ALL), config), [])[0] is Verdict.HOLDS
    assert judge(findings, claim.findings(made_up(COLLAPSED), config), [])[0] is Verdict.INCONCLUSIVE


def test_a_diverged_seed_is_never_a_finding_that_holds() -> None:
    claim = claim_in("style_collapse")
    table = made_up(COLLAPSED)
    table.loc[(table.method == "SimCLR") & (table.seed == 1), "value"] = float("nan")
    found = {f.name: f for f in claim.findings(table, claim.settings("smoke"))}
    assert found["retained style, SimCLR"].verdict is Verdict.INCONCLUSIVE


def test_retained_style_lies_between_floor_and_ceiling() -> None:
    shares = retained_style(made_up(dict.fromkeys(SHOWN, 0.25)), "VAE")
    assert shares.tolist() == pytest.approx([0.25, 0.26])


def test_the_control_of_style_collapse_changes_only_the_world() -> None:
    claim = claim_in("style_collapse")
    assert claim.control is not None
    tasks = [claim.tasks(c) for c in (claim.settings("quick"), claim.control(claim.settings("quick")))]
    ours, broken = ([dict(task.kwargs) for task in each] for each in tasks)
    assert all(task.pop("overrides") == {"p_keep": 1.0} for task in broken)
    assert broken == [task for task in ours if task["method"] not in ("VAE", "Random")]


def test_one_method_of_each_family_and_a_learner_of_ones_own_are_controlled(mine: str) -> None:
    claim = claim_in("style_collapse")
    assert claim.control is not None
    config = claim.settings("full", learner=mine)
    broken = claim.control(config)
    names = ["InstanceMemory", "SwAV", "SimCLR", "VICReg", "BYOL", "Mine"]
    assert displayed(broken["methods"]) == names
    every = (*displayed(config["methods"]), *SIMVAE, "VAE", "Random")
    findings = claim.findings(
        made_up(dict.fromkeys(every, 0.9) | dict.fromkeys(displayed(config["methods"]), 0.1)), config
    )
    control = claim.findings(made_up(dict.fromkeys((*names, *SIMVAE), 0.9)), broken)
    assert judge(findings, control, []) == (Verdict.HOLDS, [])


@pytest.mark.slow
def test_training_sets_the_families_apart_and_the_control_fails() -> None:
    """Whether each discriminative method keeps to its own bound is the claim's to say: not all do."""
    claim = claim_in("style_collapse")
    config = claim.settings("quick") | {"seeds": 3, "methods": list(DISCRIMINATIVE)}
    assert claim.control is not None
    both = [(c, table_of(claim, c)) for c in (config, claim.control(config))]
    findings, control = (claim.findings(table, c) for c, table in both)
    assert all(isinstance(f, Finding) for f in findings)
    assert {f.verdict for f in control if f.controlled} == {Verdict.FAILS}
    mean = {f.name: f.estimate for f in findings}
    discriminative = max(mean[f"retained style, {name}"] for name in DISCRIMINATIVE)
    assert min(mean[f"retained style, {name}"] for name in SIMVAE) > max(0.4, discriminative + 0.3)


def test_kept_style_must_rise_at_every_step_of_the_sweep() -> None:
    claim = claim_in("kept_style_is_content")
    config = claim.settings("smoke") | {"p_keep": [0.0, 0.5, 1.0]}

    def verdicts(middle: float) -> set[tuple[str, Verdict]]:
        shares = {0.0: 0.05, 0.5: middle, 1.0: 0.7}
        parts = [made_up(dict.fromkeys(DISCRIMINATIVE, share)).assign(p_keep=p) for p, share in shares.items()]
        found = claim.findings(pd.concat(parts, ignore_index=True), config)
        return {(f.name.partition(",")[0], f.verdict) for f in found}

    rise, step = "rise of retained style", "least step over p_keep"
    assert verdicts(0.3) == {(rise, Verdict.HOLDS), (step, Verdict.HOLDS)}
    assert verdicts(0.9) == {(rise, Verdict.HOLDS), (step, Verdict.FAILS)}


def test_content_clustering_asks_discriminative_methods_to_exceed_the_vae_and_a_users_own_by_itself(mine: str) -> None:
    claim = claim_in("content_clustering")
    mean = "NMI, mean of discriminative methods − VAE"
    config = claim.settings("smoke")
    config |= {"methods": [*config["methods"], mine]}

    def failing(**changed: float) -> list[str]:
        nmi = dict.fromkeys((*DISCRIMINATIVE, *SIMVAE, "Mine"), 0.9) | {"VAE": 0.66, "Random": 0.5} | changed
        rows = [
            {"method": method, "seed": seed, "measure": measure, "value": value + 0.01 * seed}
            for method, score in nmi.items()
            for measure, value in (("NMI", score), ("label accuracy, linear", 1.0 if method == "Mine" else 0.95))
            for seed in (0, 1)
        ]
        found = claim.findings(pd.DataFrame(rows), config)
        assert claim.caption(found)
        return [f.name for f in found if f.verdict is not Verdict.HOLDS]

    assert failing() == []
    assert failing(Mine=0.7) == ["NMI, Mine − VAE"]
    assert failing(**dict.fromkeys(DISCRIMINATIVE, 0.7)) == [mean]
    assert failing(VAE=0.88) == [f"NMI, {name} − VAE" for name in SIMVAE] + [mean, "NMI, Mine − VAE"]


def test_style_collapse_says_of_which_methods_style_survives_in_the_control_and_how_much() -> None:
    claim = claim_in("style_collapse")
    config = claim.settings("smoke")
    found, control = (claim.findings(made_up(shares), config) for shares in (COLLAPSED, KEPT_BY_ALL | {"VICReg": 0.6}))
    assert "SimCLR; VICReg; SimVAE, Gaussian prior; SimVAE, flat prior retain at least 0.6" in (
        said := claim.caption(found, control=control)
    )
    assert said.endswith("of it there (VICReg).")
    assert claim.caption(found).endswith("share their style (control).")
