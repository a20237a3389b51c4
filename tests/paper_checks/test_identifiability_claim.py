"""Class means up to an affine map, style up to each cluster's own rotation: the measures, and the verdict."""

import pandas as pd
import pytest
import torch

import synthetic
from figures import look
from paper_checks import identifiability as file
from paper_checks.claim import Verdict
from paper_checks.identifiability import ABOUT, CENTRES, CLAIM, CONTROLLED, EACH, EVERY, MEANS, MIXTURE, NONLINEAR
from paper_checks.judge import judge
from paper_checks.style_collapse import CLAIM as COLLAPSE
from tests.paper_checks.conftest import empty_panels

pytestmark = pytest.mark.usefixtures("rough_probes")

GOOD = {MEANS: 0.97, CENTRES: 0.97, NONLINEAR: 0.7, EVERY: 0.2, ABOUT: 0.4, EACH: 0.9}


def made_up(recovered: dict[str, float], style: float = 0.02) -> pd.DataFrame:
    rows = []
    for seed in (0, 1):
        for separation in file.SEPARATIONS:
            at = recovered | {EVERY: recovered[EVERY] + 0.3 * (separation < 1)}
            about = {"method": MIXTURE, "separation": separation, "seed": seed}
            rows += [about | {"measure": m, "value": v + 1e-3 * seed} for m, v in at.items()]
        for name in CONTROLLED:
            for measure, value in (("content R2, nonlinear", 0.96), ("style R2, nonlinear", style)):
                rows.append({"method": name, "seed": seed, "measure": measure, "value": value + 1e-3 * seed})
    return pd.DataFrame(rows)


def test_the_verdict_follows_the_table_and_the_control() -> None:
    config = CLAIM.settings("smoke")
    found = CLAIM.findings(made_up(GOOD), config)
    broken = CLAIM.findings(made_up(GOOD | {CENTRES: 0.3}, style=0.6), config)
    assert judge(found, broken, []) == (Verdict.HOLDS, [])
    assert judge(found, found, [])[0] is Verdict.INCONCLUSIVE
    assert Verdict.of(f.verdict for f in broken) is Verdict.FAILS


def test_the_control_changes_only_the_pairing() -> None:
    assert CLAIM.control is not None
    config = CLAIM.settings("quick")
    control = CLAIM.tasks(CLAIM.control(config))
    methods = {task.kwargs["method"] for task in control}
    assert methods == {MIXTURE, "VAE", *CONTROLLED}
    compared = [task for task in CLAIM.tasks(config) if task.kwargs["method"] in methods]
    for task, broken in zip(compared, control, strict=True):
        alone = {"pairing": "true"} if task.kwargs["method"] == "VAE" else {"pairing": "shuffled"}
        assert dict(task.kwargs) | alone == dict(broken.kwargs)


@pytest.mark.parametrize("profile", ["quick", "full"])
def test_blocks_are_read_off_trainings_that_style_collapse_has_too(profile: str) -> None:
    blocks = {task.identity for task in CLAIM.tasks(CLAIM.settings(profile)) if "separation" not in task.kwargs}
    assert len(blocks) == {"quick": 5, "full": 14}[profile]
    assert blocks <= {task.identity for task in COLLAPSE.tasks(COLLAPSE.settings(profile))}


def test_a_method_that_keeps_style_or_loses_content_fails_by_name() -> None:
    config = CLAIM.settings("smoke")
    found = CLAIM.findings(made_up(GOOD, style=0.5), config)
    assert [f.name for f in found if f.verdict is Verdict.FAILS] == [f"style block R², {name}" for name in CONTROLLED]
    assert "of style at most 0.50 (VICReg)" in CLAIM.caption(found)


@pytest.fixture
def data() -> synthetic.Views:
    world = synthetic.preset("paper", seed=0, dtype=torch.float64, separation=1.5)
    return world.sample(1600, views=2, generator=torch.Generator().manual_seed(0))


def orthogonal(seed: int) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(seed)).double()).Q


def test_the_true_latents_up_to_an_affine_map_are_recovered_whole(data: synthetic.Views) -> None:
    z = data.z[:, 0] @ (torch.eye(4) + 0.2 * orthogonal(9)).double() + 3
    found = file.by_class(z[None], [data])
    assert [float(found[name]) for name in (MEANS, ABOUT, EACH)] == pytest.approx([1, 1, 1], abs=0.02)


def test_a_rotation_of_each_cluster_hides_style_from_one_map_only(data: synthetic.Views) -> None:
    assert data.label is not None
    turns = torch.stack([orthogonal(k) for k in range(file.CLASSES)])[data.label]
    z = data.content + (turns @ data.style[:, 0, :, None])[..., 0]
    found = file.by_class(z[None], [data])
    assert float(found[EACH]) > 0.99
    assert float(found[ABOUT]) < 0.5
    assert float(found[MEANS]) > 0.95


def test_centres_are_matched_to_their_classes(data: synthetic.Views) -> None:
    z, g = data.z[:, 0], torch.Generator().manual_seed(0)
    true = file.class_means(z, data)[1]
    shuffled = true[torch.randperm(len(true), generator=g)]
    assert float(file.recovery_of_centres(shuffled[None], z[None], [data])) == pytest.approx(1)
    unrelated = torch.randn(1, *true.shape, generator=g, dtype=torch.float64)
    assert float(file.recovery_of_centres(unrelated, z[None], [data])) < 0.9


def test_affine_r2_of_unrelated_points_is_the_share_of_fitted_numbers() -> None:
    """d / (n - 1) of n points in d dimensions; and 1 of an affine image."""
    g = torch.Generator().manual_seed(0)
    drawn = [file.affine_r2(*torch.randn(2, 8, 4, generator=g, dtype=torch.float64)) for _ in range(300)]
    assert sum(drawn) / len(drawn) == pytest.approx(4 / 7, abs=0.05)
    points, turn = torch.randn(8, 4, generator=g, dtype=torch.float64), torch.randn(4, 4, generator=g).double()
    assert file.affine_r2(points, points @ turn + 3) == pytest.approx(1)


def test_smoke_runs_from_tasks_to_caption() -> None:
    config = CLAIM.settings("smoke") | {"steps": 3, "points": 160}
    table = pd.concat([task.run("cpu") for task in CLAIM.tasks(config)], ignore_index=True)
    found = CLAIM.findings(table, config)
    with look():
        for other in (table, None):
            assert empty_panels(CLAIM.draw(table, other, found, config)) == []
    assert len(CLAIM.caption(found)) > 50
