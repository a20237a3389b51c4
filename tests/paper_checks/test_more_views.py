"""more-views: the verdict follows the table, images a step are counted, strangers are strangers, smoke runs whole."""

import pandas as pd
import pytest
import torch

from figures import look
from paper_checks import more_views as claim
from paper_checks.claim import Config, Verdict
from paper_checks.judge import judge
from paper_checks.trained import OBSERVATION
from synthetic import preset
from tests.paper_checks.conftest import empty_panels

pytestmark = pytest.mark.usefixtures("rough_probes")

SMOKE: Config = claim.CLAIM.settings("smoke")
FULL: Config = claim.CLAIM.settings("full")


def made_up(accuracy: float, content: float = 0.0, spread: float = -0.1) -> pd.DataFrame:
    """Three seeds; SimVAE with eight views has that much more accuracy, content and spread than with two."""
    rows = []
    for seed in range(3):
        for views, share in ((2, 0.0), (4, 0.5), (8, 1.0)):
            for measure, gain in ((claim.ACCURACY, accuracy), (claim.CONTENT, content), (claim.SPREAD, spread)):
                rows.append((claim.SIMVAE, views, seed, measure, 0.9 - 0.01 * seed + share * (gain + 1e-4 * seed)))
    return pd.DataFrame(rows, columns=["method", "views", "seed", "measure", "value"])


def test_the_verdict_follows_the_table() -> None:
    def verdicts(*gains: float) -> list[str]:
        return [f.verdict.value for f in claim.findings(made_up(*gains), SMOKE)]

    assert verdicts(0.0, 0.0) == verdicts(0.05, -0.005) == ["holds", "holds", "holds"]
    assert verdicts(-0.03, 0.0) == ["fails", "holds", "holds"]
    assert verdicts(0.0, -0.03) == ["holds", "fails", "holds"]
    assert verdicts(0.0, 0.0, 0.1) == ["holds", "holds", "fails"]


@pytest.mark.parametrize(("spread", "verdict"), [(0.2, Verdict.HOLDS), (-0.1, Verdict.INCONCLUSIVE)])
def test_a_control_whose_views_draw_together_too_leaves_the_claim_inconclusive(spread: float, verdict: Verdict) -> None:
    findings, control = (claim.findings(made_up(0.01, 0.0, each), SMOKE) for each in (-0.1, spread))
    assert judge(findings, control, [])[0] is verdict


def test_every_training_sees_as_many_images_a_step() -> None:
    for config in (FULL, claim.control(FULL)):
        trained = [task.kwargs for task in claim.tasks(config) if task.kwargs["method"] != OBSERVATION]
        assert {each["batch_size"] * each.get("views", 2) for each in trained} == {2 * FULL["batch_size"]}
        assert {each.get("views", 2) for each in trained} == {2, 4, 8}


def test_the_control_puts_strangers_where_the_claim_has_views() -> None:
    def by_views(config: Config) -> dict[int, dict[str, object]]:
        tasks = [task for task in claim.tasks(config) if task.kwargs["method"] == claim.SIMVAE]
        return {task.columns["views"]: {"task": task.name} | dict(task.kwargs) for task in tasks}

    main, broken = by_views(FULL), by_views(claim.control(FULL))
    assert main[2] == broken[2]
    for views in (4, 8):
        assert {key for key in main[views] if main[views][key] != broken[views].get(key)} == {"task"}


def test_two_views_belong_together_and_the_rest_are_strangers() -> None:
    world = preset("block", seed=0, noise=0.0, style_std=1e-3, dtype=torch.float64)
    drawn = claim.Strangers(world).sample(200, views=5, generator=torch.Generator().manual_seed(0))
    content = drawn.z[..., : world.content_dim]
    own = (content - drawn.content[:, None]).abs().amax(-1) < 1e-9
    assert own[:, :2].all()
    assert own[:, 2:].double().mean() < 0.05
    everyone = torch.cdist(content[:, 4], drawn.content).argmin(1)
    assert everyone.unique().shape == (200,)  # a permutation: no stranger comes twice
    expected = world.mixing(drawn.z)
    torch.testing.assert_close(drawn.x, expected)


def test_two_views_among_strangers_are_the_world_itself() -> None:
    world = preset("block", seed=0)
    plain, strange = (
        each.sample(9, views=2, generator=torch.Generator().manual_seed(3)) for each in (world, claim.Strangers(world))
    )
    torch.testing.assert_close(plain.x, strange.x, rtol=0, atol=0)


def test_smoke_runs_from_tasks_to_caption() -> None:
    configs = (SMOKE, claim.control(SMOKE))
    table, control_table = (
        pd.concat([task.labelled(task.run("cpu")) for task in claim.tasks(config)], ignore_index=True)
        for config in configs
    )
    findings, control = claim.findings(table, configs[0]), claim.findings(control_table, configs[1])
    assert [f.name for f in control] == [f.name for f in findings]
    with look():
        for other in (control_table, None):
            assert empty_panels(claim.draw(table, other, findings, SMOKE)) == []
    assert "nan" not in claim.caption(findings)
