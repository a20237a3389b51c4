"""The claim `modalities`: verdicts from made-up tables, padding, the control, a run of the smoke profile."""

import pandas as pd
import pytest
import torch

import synthetic
from figures import look
from paper_checks.claim import Verdict
from paper_checks.judge import judge
from paper_checks.modalities import (
    ACROSS,
    CLAIM,
    METHODS,
    MODALITIES,
    SIMVAE,
    ModalSimVAE,
    Padded,
    accuracy_across,
)
from paper_checks.trained import OBSERVATION
from ssl_theory.learners import fit
from tests.paper_checks.conftest import empty_panels

pytestmark = pytest.mark.usefixtures("rough_probes")


def made_up(
    clip: float, simvae: float, across: float = 0.95, together: float = 0.1, told: float = 0.96
) -> pd.DataFrame:
    rows = []
    for seed in (0, 1, 2):
        jitter = 0.005 * seed
        for method, share in (("CLIP", clip), (SIMVAE, simvae), (OBSERVATION, 1.0)):
            for layer in MODALITIES:
                values = {
                    "style R2, nonlinear": 0.9 * share - jitter,
                    "style floor": 0.0,
                    "collapse ratio": together + jitter,
                }
                values |= {"label accuracy, linear": (told if method == SIMVAE else 0.96) + jitter}
                rows += [
                    {"method": method, "layer": layer, "seed": seed, "measure": m, "value": v}
                    for m, v in values.items()
                ]
            about = {"method": method, "layer": ACROSS, "seed": seed, "measure": "label accuracy"}
            rows.append(about | {"value": across - jitter})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [((0.1, 0.8), Verdict.HOLDS), ((0.6, 0.8), Verdict.FAILS), ((0.1, 0.1), Verdict.FAILS)],
)
def test_the_verdict_follows_retained_style(shares: tuple[float, float], verdict: Verdict) -> None:
    assert Verdict.of(f.verdict for f in CLAIM.findings(made_up(*shares), {})) is verdict


def test_simvae_must_keep_content_too() -> None:
    found = CLAIM.findings(made_up(0.1, 0.8, told=0.5), {})
    assert [f.name for f in found if f.verdict is Verdict.FAILS] == [
        f"label accuracy, {SIMVAE}, {modality}" for modality in MODALITIES
    ]


def test_a_control_whose_modalities_still_agree_makes_the_claim_inconclusive() -> None:
    findings = CLAIM.findings(made_up(0.1, 0.8), {})
    apart = CLAIM.findings(made_up(0.6, 0.8, across=0.125, together=1.5), {})
    assert judge(findings, apart, [])[0] is Verdict.HOLDS
    assert judge(findings, findings, [])[0] is Verdict.INCONCLUSIVE


def test_padding_adds_zeros_to_the_smaller_observation_alone(generator: torch.Generator) -> None:
    world = synthetic.preset("modalities", 1)
    plain = world.sample(7, views=2, generator=torch.Generator().manual_seed(3)).x
    padded = Padded(world).sample(7, views=2, generator=torch.Generator().manual_seed(3)).x
    assert padded.shape == (7, 2, 24)
    assert torch.equal(padded[:, 0, :16], plain[0])
    assert torch.equal(padded[:, 1], plain[1])
    assert not padded[:, 0, 16:].any()


def test_each_modality_has_networks_of_its_own() -> None:
    world = Padded(synthetic.preset("modalities", 0))
    fitted = fit(ModalSimVAE(), world, steps=2, seeds=[0], batch_size=8, device="cpu")
    x = world.sample(5, views=2, generator=torch.Generator().manual_seed(0)).x[:, 0]
    first, second = (fitted.transform(x, view=view) for view in (0, 1))
    assert first.shape == second.shape == (1, 5, 10)
    assert not torch.allclose(first, second)
    assert {"encoder", "encoder 1", "decoder", "decoder 1"} <= set(fitted.modules)


def test_accuracy_across_is_perfect_for_one_place_a_class_and_chance_for_unrelated_modalities() -> None:
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(400).remainder(4)[None]
    places = torch.eye(4)[label]
    same = torch.stack([places, places], 2)
    assert float(accuracy_across(same, label)[0]) == 1.0
    unrelated = torch.stack([places, places.roll(1, -1)], 2)
    assert float(accuracy_across(unrelated, label)[0]) == 0.0
    noise = torch.randn(1, 400, 2, 4, generator=generator)
    assert abs(float(accuracy_across(noise, label)[0]) - 0.25) < 0.1


def test_the_control_changes_only_the_pairing() -> None:
    assert CLAIM.control is not None
    tasks = CLAIM.tasks(CLAIM.settings("quick"))
    broken = CLAIM.tasks(CLAIM.control(CLAIM.settings("quick")))
    for task, other in zip(tasks, broken, strict=True):
        shuffled = {} if task.kwargs["method"] == OBSERVATION else {"pairing": "shuffled"}
        assert dict(task.kwargs) | shuffled == dict(other.kwargs)


def test_the_smoke_profile_runs_to_figure_and_caption() -> None:
    config = CLAIM.settings("smoke") | {"steps": 3, "points": 120, "seeds": 2}
    table = pd.concat([task.labelled(task.run("cpu")) for task in CLAIM.tasks(config)], ignore_index=True)
    assert set(table.method) == {*METHODS, OBSERVATION}
    findings = CLAIM.findings(table, config)
    with look():
        for control in (table, None):
            assert empty_panels(CLAIM.draw(table, control, findings, config)) == []
    assert "CLIP" in CLAIM.caption(findings)
