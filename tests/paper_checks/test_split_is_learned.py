"""The learned split: where the gap is, what explains a dimension, the verdict, and a smoke run."""

import pandas as pd
import pytest
import torch

import synthetic
from figures import look
from paper_checks import split_is_learned as file
from paper_checks.claim import Config, Verdict
from paper_checks.judge import judge
from paper_checks.split_is_learned import CLAIM, COMMON, MORE_VIEWS, PLAIN
from paper_checks.trained import OBSERVATION
from ssl_theory.learners import SimVAE, fit
from ssl_theory.losses.priors import IntraClass
from tests.paper_checks.conftest import empty_panels, hold_on_what_is_left

pytestmark = pytest.mark.usefixtures("rough_probes")

CONFIG: Config = {"settings": [PLAIN, MORE_VIEWS]}
SPLIT, TOGETHER = (0.9, 0.85, 0.05, 0.02), (0.03, 0.02, 0.01, 0.0)


def made_up(
    rho: tuple[float, ...],
    *,
    content: float = 0.9,
    style: float = 0.01,
    low: float = 0.6,
    mixed: float = 0.0,
    share: float = 0.95,
) -> pd.DataFrame:
    rows = []
    for seed in (0, 1):
        for setting in CONFIG["settings"]:
            at = {"setting": setting, "seed": seed}
            for dimension, value in enumerate(rho):
                high = value > 0.5
                by = (content, style) if high else (mixed, 0.6)
                of = {"rho": value, "R2 from content": by[0], "R2 from style": by[1], file.SHARE: share}
                rows += [at | {"measure": m, "dimension": dimension, "value": v + 1e-3 * seed} for m, v in of.items()]
            found = {"widest gap": float(file.widest_gap(torch.tensor([rho]))[0]), "style R2, low group": low}
            found |= {"label accuracy, linear": 0.95, "style R2, nonlinear": 0.8}
            rows += [at | {"measure": m, "value": v + 1e-3 * seed} for m, v in found.items()]
        rows.append({"method": COMMON, "seed": seed, "measure": "label accuracy, linear", "value": 0.96})
        rows.append({"method": OBSERVATION, "seed": seed, "measure": "style R2, nonlinear", "value": 0.9})
    return pd.DataFrame(rows)


def test_the_verdict_follows_the_table_and_the_control() -> None:
    found = CLAIM.findings(made_up(SPLIT), CONFIG)
    control = CLAIM.findings(made_up(TOGETHER), CONFIG)
    assert judge(found, control, []) == (Verdict.HOLDS, [])
    assert judge(found, found, [])[0] is Verdict.INCONCLUSIVE


def test_what_is_no_number_is_not_left_out_of_a_finding_that_holds() -> None:
    table = made_up(SPLIT)
    table["value"] += 1e-3 * table.dimension.fillna(0)  # no two dimensions are alike
    assert hold_on_what_is_left(CLAIM, table, CONFIG, ["value"]) == set()


@pytest.mark.parametrize("broken", [{"content": 0.3}, {"style": 0.5}, {"low": 0.1}, {"mixed": 0.4}, {"share": 0.6}])
def test_each_measure_can_make_it_fail(broken: dict[str, float]) -> None:
    found = CLAIM.findings(made_up(SPLIT, **broken), CONFIG)
    assert Verdict.of(f.verdict for f in found) is Verdict.FAILS


def test_the_caption_says_of_the_gap_what_its_verdict_says() -> None:
    for rho, words, other in (
        (SPLIT, "0.80 [0.79, 0.81] (at least 0.4: two groups)", "0.80, holds"),
        (TOGETHER, "0.01 [0.00, 0.02] (short of 0.4: no two groups)", "0.01, fails"),
    ):
        said = CLAIM.caption(CLAIM.findings(made_up(rho), CONFIG))
        assert f"The widest empty interval is {words}" in said
        assert f"(widest empty interval: {MORE_VIEWS} {other})" in said


def test_the_widest_gap_parts_the_dimensions() -> None:
    rho = torch.tensor([[0.1, 0.9, 0.8, 0.0], [0.5, 0.2, 0.6, 0.55]])
    length, middle = file.widest_gap(rho)
    torch.testing.assert_close(length, torch.tensor([0.7, 0.3]))
    torch.testing.assert_close(middle, torch.tensor([0.45, 0.35]))
    assert file.above_gap(rho).tolist() == [[False, True, True, False], [True, False, True, True]]


def test_the_control_changes_only_pairing_and_keeps_one_setting() -> None:
    assert CLAIM.control is not None
    config = CLAIM.settings("quick")
    plain, broken = (CLAIM.tasks(c)[0] for c in (config, CLAIM.control(config)))
    assert dict(plain.kwargs) | {"pairing": "shuffled"} == dict(broken.kwargs)
    assert {f.name for f in CLAIM.findings(made_up(SPLIT), CONFIG) if f.controlled} == {f"gap in ρ, {PLAIN}"}


def test_content_explains_dimensions_made_of_it_and_low_dimensions_carry_style() -> None:
    g = torch.Generator().manual_seed(0)
    content, style = torch.randn(2, 1, 800, 2, generator=g)

    class Data:
        def __init__(self) -> None:
            self.content, self.style = content[0], style[0, :, None]
            self.label = (content[0, :, 0] > 0).long()

    z = torch.cat([content.sin(), style], -1)
    rho = torch.tensor([[0.9, 0.8, 0.1, 0.05]])
    table = file.explained(z, rho, [Data()])  # type: ignore[list-item]
    by = table.dropna(subset="dimension").pivot_table(index="dimension", columns="measure", values="value")
    assert (by["R2 from content"] > 0.9).tolist() == [True, True, False, False]
    assert (by["R2 from style"] > 0.9).tolist() == [False, False, True, True]
    low = float(table[table.measure == "style R2, low group"].value.iloc[0])
    assert low > 0.9
    turned = file.explained(z, 1 - rho, [Data()])  # type: ignore[list-item]
    assert float(turned[turned.measure == "style R2, low group"].value.iloc[0]) < 0.1


@pytest.mark.parametrize("views", [2, 4])
def test_at_the_optimum_rho_is_what_content_explains_of_a_sample(views: int) -> None:
    g = torch.Generator().manual_seed(0)
    content = torch.randn(4000, 1, 3, generator=g).exp()  # nothing need be Gaussian
    mean = torch.tensor([2.0, 0.05, 1.0]) * content + torch.tensor([0.5, 0.01, 3.0]) * torch.randn(
        4000, views, 3, generator=g
    )
    z = mean + torch.tensor([0.1, 1.0, 0.2]) * torch.randn(mean.shape, generator=g)
    z = (z - z.mean((0, 1))).double()
    logits, log_scale = (torch.zeros(3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    optimiser = torch.optim.LBFGS([logits, log_scale], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        prior = IntraClass.from_logits(logits).log_prob(log_scale.exp() * z).mean()
        value = -(prior + views * log_scale.sum())  # the entropy of the posteriors grows by the scale
        value.backward()
        return value

    optimiser.step(loss)
    variance = z.square().mean((0, 1))
    torch.testing.assert_close(log_scale.exp() ** 2 * variance, torch.ones_like(variance), rtol=1e-3, atol=0)
    between = (z.sum(1).square() - z.square().sum(1)).mean(0) / (views * (views - 1) * variance)
    torch.testing.assert_close(logits.sigmoid(), between.clamp(min=0), rtol=0, atol=2e-3)
    assert logits.sigmoid()[1] < 0.05  # though content explains nearly all of that mean


def test_share_of_the_mean_is_that_of_the_samples() -> None:
    world = synthetic.preset("block")
    fitted = fit(SimVAE(prior="split", hidden=(16,)), world, steps=150, seeds=range(2))  # untrained, all shares are 0
    x = world.sample(3000, views=1, generator=torch.Generator().manual_seed(1)).x.expand(2, 3000, 1, -1)
    with torch.no_grad():
        mean, log_variance = fitted.learner.posterior(fitted.modules, x)  # type: ignore[attr-defined]
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(2))
        z = mean + (0.5 * log_variance).exp() * noise
    found = file.share_of_mean(fitted, x)
    assert 0.2 < found.mean() < 0.9
    torch.testing.assert_close(found, (mean.var(1) / z.var(1)).flatten(1), rtol=0.1, atol=0.01)


def test_dimensions_out_of_use_are_told_apart() -> None:
    table = made_up(SPLIT, mixed=0.4)
    out = (table.measure == file.SHARE) & (table.dimension == 3)
    table.loc[out, "value"] = 0.01
    table.loc[(table.measure == "R2 from content") & (table.dimension == 2), "value"] = 0.02
    said = {f.name: f for f in CLAIM.findings(table, CONFIG)}
    assert said[f"R² from content, low ρ, {PLAIN}"].verdict is Verdict.FAILS
    assert said[f"{file.IN_USE}, {PLAIN}"].verdict is Verdict.HOLDS
    assert said[f"{file.OF_SAMPLES}, {PLAIN}"].verdict is Verdict.HOLDS


def test_smoke_runs_from_tasks_to_caption() -> None:
    config = CLAIM.settings("smoke") | {"steps": 4, "points": 100}
    table = pd.concat([task.run("cpu") for task in CLAIM.tasks(config)], ignore_index=True)
    found = CLAIM.findings(table, config)
    with look():
        for other in (table, None):
            assert empty_panels(CLAIM.draw(table, other, found, config)) == []
    assert len(CLAIM.caption(found)) > 50
