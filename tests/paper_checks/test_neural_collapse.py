"""Neural collapse over instances: labels of the control, geometry of a known collapse, verdict, smoke run."""

from types import SimpleNamespace

import pandas as pd
import pytest
import torch

import synthetic
from figures import look
from paper_checks import neural_collapse as file
from paper_checks.claim import Config, Verdict
from paper_checks.judge import judge
from paper_checks.neural_collapse import CLAIM, FRESH, TRAINING
from ssl_theory.learners import Pool
from tests.paper_checks.conftest import empty_panels

CONFIG: Config = {"checkpoints": [0, 10, 100], "instances": [8]}
COLLAPSED = {TRAINING: 1e-3, FRESH: 1e-2, "ETF distance, means": 0.01, "duality": 1e-3}
SPREAD = {TRAINING: 30.0, FRESH: 30.0, "ETF distance, means": 1.1, "duality": 2.0}


def made_up(end: dict[str, float]) -> pd.DataFrame:
    """From a spread start to the given end, by a straight line in logarithms."""
    rows = []
    for share, step in zip((0.0, 0.5, 1.0), CONFIG["checkpoints"], strict=True):
        for seed in (0, 1, 2):
            for measure, value in end.items():
                middle = SPREAD[measure] ** (1 - share) * value**share * (1 + 0.01 * seed)
                rows.append({"instances": 8, "step": step, "seed": seed, "measure": measure, "value": middle})
    return pd.DataFrame(rows)


def test_the_verdict_follows_the_table_and_the_control() -> None:
    found, control = (CLAIM.findings(made_up(end), CONFIG) for end in (COLLAPSED, SPREAD))
    assert judge(found, control, []) == (Verdict.HOLDS, [])
    assert judge(found, found, [])[0] is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("measure", list(COLLAPSED))
def test_each_measure_can_make_it_fail(measure: str) -> None:
    found = CLAIM.findings(made_up(COLLAPSED | {measure: SPREAD[measure]}), CONFIG)
    assert Verdict.of(f.verdict for f in found) is Verdict.FAILS


def test_one_step_that_rises_breaks_the_finding_of_steps() -> None:
    rising = made_up(COLLAPSED)
    middle = (rising.step == 10) & (rising.measure == TRAINING)
    found = CLAIM.findings(rising.assign(value=rising.value.where(~middle, 100.0)), CONFIG)
    assert [f.name for f in found if f.verdict is Verdict.FAILS] == ["largest rise of log₁₀ NC1, C = 8"]


def test_the_control_changes_only_the_labels() -> None:
    assert CLAIM.control is not None
    config = CLAIM.settings("quick")
    for task, broken in zip(CLAIM.tasks(config), CLAIM.tasks(CLAIM.control(config)), strict=True):
        assert dict(task.kwargs) | {"labels": "random"} == dict(broken.kwargs)


def test_random_labels_change_nothing_but_the_label() -> None:
    pool = Pool(synthetic.preset("block"), 5, views=4)
    both = [
        each.sample(4000, views=1, generator=torch.Generator().manual_seed(0))
        for each in (pool, file.RandomLabels(pool, 5))
    ]
    torch.testing.assert_close(both[0].x, both[1].x)
    table = torch.zeros(5, 5).index_put_((both[0].index, both[1].index), torch.ones(4000), accumulate=True)
    assert float((table / 160 - 1).abs().max()) < 0.35


def test_geometry_of_a_perfect_simplex_with_its_weights() -> None:
    C, V = 4, 6
    simplex = torch.nn.functional.pad(torch.eye(C) - 1 / C, (0, 2))[None]

    def fitted(weights: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(transform=lambda x: x, modules={"instances": lambda: weights})

    noise = torch.randn(1, C, V, C + 2, generator=torch.Generator().manual_seed(0))
    seen, unseen = (simplex[:, :, None] + size * noise for size in (1e-5, 0.1))
    table = file.geometry(fitted(simplex), seen, unseen).set_index("measure").value  # type: ignore[arg-type]
    assert table[TRAINING] < 1e-8
    assert table[FRESH] > 1e-3
    assert table["ETF distance, means"] < 1e-4
    assert table["duality"] < 1e-8
    assert table["cosine"].to_numpy() == pytest.approx(-1 / (C - 1), abs=1e-4)
    other = file.geometry(fitted(simplex.flip(1)), seen, unseen).set_index("measure").value  # type: ignore[arg-type]
    assert other["duality"] > 1


def test_smoke_runs_from_tasks_to_caption() -> None:
    config = CLAIM.settings("smoke")
    table = pd.concat([task.run("cpu") for task in CLAIM.tasks(config)], ignore_index=True)
    found = CLAIM.findings(table, config)
    with look():
        for other in (table, None):
            assert empty_panels(CLAIM.draw(table, other, found, config)) == []
    assert len(CLAIM.caption(found)) > 50
