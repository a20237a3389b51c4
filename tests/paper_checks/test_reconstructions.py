"""The claim `reconstructions`: verdicts from made-up tables, the measure on images, the control, a smoke run."""

import numpy as np
import pandas as pd
import pytest
import torch

from figures import look
from paper_checks import trained
from paper_checks.claim import Config, Verdict
from paper_checks.judge import judge
from paper_checks.reconstructions import (
    CLAIM,
    DECODED,
    DECODED_SHAPE,
    DISCRIMINATIVE,
    FACTORS,
    METHODS,
    SHAPE,
    SIMVAE,
    as_image,
    as_text,
    centre_of_mass,
    position_r2,
    told_shape,
)
from tests.paper_checks.conftest import empty_panels

pytestmark = pytest.mark.usefixtures("rough_probes")

CONFIG: Config = {"methods": list(METHODS)}


def made_up(discriminative: float, simvae: float, shape: float = 0.95, redrawn: float = 0.95) -> pd.DataFrame:
    rows = []
    for method in METHODS:
        style = discriminative if method in DISCRIMINATIVE else simvae
        for seed in (0, 1, 2):
            values = dict.fromkeys((*FACTORS, DECODED), style + 0.002 * seed)
            values |= {SHAPE: shape + 0.002 * seed, DECODED_SHAPE: redrawn + 0.002 * seed}
            rows += [{"method": method, "seed": seed, "measure": m, "value": v} for m, v in values.items()]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("table", "verdict"),
    [
        (made_up(0.1, 0.8), Verdict.HOLDS),
        (made_up(0.5, 0.8), Verdict.FAILS),
        (made_up(0.1, 0.3), Verdict.FAILS),
        (made_up(0.1, 0.8, shape=0.5), Verdict.FAILS),
        (made_up(0.1, 0.8, redrawn=0.5), Verdict.FAILS),
    ],
)
def test_the_verdict_follows_style_and_shape(table: pd.DataFrame, verdict: Verdict) -> None:
    assert Verdict.of(f.verdict for f in CLAIM.findings(table, CONFIG)) is verdict


def test_position_must_survive_in_the_control() -> None:
    assert CLAIM.control is not None
    broken = CLAIM.control(CONFIG)
    findings = CLAIM.findings(made_up(0.1, 0.8), CONFIG)
    assert judge(findings, CLAIM.findings(made_up(0.7, 0.8), broken), [])[0] is Verdict.HOLDS
    assert judge(findings, CLAIM.findings(made_up(0.1, 0.8), broken), [])[0] is Verdict.INCONCLUSIVE


def test_the_centre_of_mass_follows_the_sprite() -> None:
    data = trained.of_name(trained.SPRITES, 0).sample(400, views=1, generator=torch.Generator().manual_seed(0))
    square = data.label == 0  # a crescent's mass lies beside its centre
    centre = centre_of_mass(data.x[square, 0])
    x, y = data.style[square, 0, :2].double().unbind(-1)
    assert torch.allclose(centre[:, 0], 7.5 + 8 * x, atol=0.3)
    assert torch.allclose(centre[:, 1], 7.5 - 8 * y, atol=0.3)


def test_position_is_told_wholly_by_the_image_itself_and_not_by_the_mean_image() -> None:
    x = trained.of_name(trained.SPRITES, 0).sample(300, views=1, generator=torch.Generator().manual_seed(0)).x[:, 0]
    mean = x.mean(0, keepdim=True).expand_as(x)
    told = position_r2(torch.stack([x, mean]), x)
    assert float(told[0]) == pytest.approx(1.0)
    assert abs(float(told[1])) < 0.05


def test_shape_is_told_from_images_themselves_and_not_from_one_image_for_all() -> None:
    world = trained.of_name(trained.SPRITES, 0)
    data = trained.fresh(world, 300, seed=0)
    assert data.label is not None
    x = data.x[:, 0]
    shown = torch.stack([x, x.mean(0).expand_as(x), x[torch.randperm(300)]])
    itself, mean, others = told_shape(world, shown, data.label, 1500).tolist()
    assert itself > 0.8
    assert mean < 0.45
    assert others < 0.45


def test_images_survive_the_table() -> None:
    image = torch.linspace(0, 1, 256).reshape(1, 16, 16)
    assert np.abs(as_image(as_text(image)) - image[0].numpy()).max() < 1 / 255


def test_the_control_changes_only_p_keep_and_leaves_out_what_it_does_not_judge() -> None:
    assert CLAIM.control is not None
    config = CLAIM.settings("quick")
    plain = [dict(task.kwargs) | {"p_keep": 1.0} for task in CLAIM.tasks(config)]
    broken = [dict(task.kwargs) for task in CLAIM.tasks(CLAIM.control(config))]
    assert [kwargs["method"] for kwargs in broken] == list(DISCRIMINATIVE)
    assert all(kwargs in plain for kwargs in broken)


def test_the_smoke_profile_runs_to_figure_and_caption() -> None:
    config = CLAIM.settings("smoke") | {"steps": 3, "methods": [SIMVAE, *DISCRIMINATIVE]}
    table = pd.concat([task.labelled(task.run("cpu")) for task in CLAIM.tasks(config)], ignore_index=True)
    control = table[table.method.isin(DISCRIMINATIVE)]
    findings = CLAIM.findings(table, config)
    with look():
        for other in (control, None):
            assert empty_panels(CLAIM.draw(table, other, findings, config)) == []
    assert SIMVAE.partition(",")[0] in CLAIM.caption(findings)
