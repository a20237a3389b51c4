"""The training task that claims share, and learners of a user's own in it."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

import synthetic
from paper_checks import own
from paper_checks.claim import Task
from paper_checks.content_clustering import CLAIM as CLUSTERING
from paper_checks.kept_style_is_content import CLAIM as KEPT_STYLE
from paper_checks.style_collapse import CLAIM as COLLAPSE
from paper_checks.style_is_small import CLAIM as SMALL
from paper_checks.trained import (
    EVERY,
    METHODS,
    OBSERVATION,
    SIZES,
    WITH_NOISE,
    Mispaired,
    displayed,
    fresh,
    kept,
    measures,
    named,
    noisy,
    represented,
    sampler,
    training,
)
from ssl_theory.analysis import r2
from ssl_theory.learners import fit
from tests.paper_checks.conftest import LEARNER

pytestmark = pytest.mark.usefixtures("rough_probes")


def test_a_training_task_gives_every_measure_of_every_seed() -> None:
    table = kept(method="SimCLR", world="block", seeds=2, steps=3, points=120)
    assert sorted(table.seed.unique()) == [0, 1]
    assert not table.value.isna().any()
    again = kept(method="SimCLR", world="block", seeds=2, steps=3, points=120)
    pd.testing.assert_frame_equal(table, again)


def test_the_first_seeds_of_a_larger_run_are_the_smaller_run() -> None:
    few, more = (kept(method="VAE", world="block", seeds=n, steps=3, points=120) for n in (1, 2))
    both = more[more.seed == 0].merge(few, on=["method", "seed", "measure"])
    collapse = both[both.measure == "collapse ratio"]
    assert collapse.value_x.to_numpy() == pytest.approx(collapse.value_y.to_numpy(), rel=1e-3)


def test_noise_hides_what_is_smaller_than_it() -> None:
    g = torch.Generator().manual_seed(0)
    loud, quiet = torch.randn(2, 400, 1, generator=g), torch.randn(2, 400, 1, generator=g)
    z = 7 * torch.cat([loud + 0.02 * quiet, loud - 0.02 * quiet], -1)
    assert float(r2(z, quiet).min()) > 0.99
    assert float(r2(noisy(z, 200, 0.1), quiet).max()) < 0.2
    assert float(r2(noisy(z, 200, 0.1), loud).min()) > 0.98


def test_measures_with_noise_leave_out_what_is_small() -> None:
    """Style of a hundredth of the scale is told without noise, and not with it; content is told both ways."""
    worlds = [synthetic.preset("block", seed=seed) for seed in (0, 1)]
    drawn = [fresh(world, 600, seed) for seed, world in enumerate(worlds)]
    content, style = (torch.stack(part) for part in ([d.content for d in drawn], [d.style for d in drawn]))
    content = content[:, :, None].expand(-1, -1, 2, -1)
    z = torch.cat([content, content + 0.01 * style], -1)
    found = measures(z, drawn, worlds)
    assert found["style R2, nonlinear"].min() > 0.9 > 0.1 > found[f"style R2, {WITH_NOISE}"].max()
    assert found[f"content R2, {WITH_NOISE}"].min() > 0.95


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_in_the_block_world(name: str) -> None:
    world, learner = synthetic.preset("block", seed=0), named(name)()
    fitted = fit(learner, sampler(learner, world, 0), steps=1, seeds=[0], batch_size=16, device="cpu")
    x = world.sample(20, views=2, generator=torch.Generator().manual_seed(0)).x[None]
    r = represented(fitted, x, "representation")
    assert r.shape == (1, 20, 2, 10)
    assert r.isfinite().all()


def test_a_task_is_the_same_whatever_a_claim_calls_it() -> None:
    config = SIZES["smoke"]
    task, other = training("SimCLR", config), training("SimCLR", config, columns={"method": "reference", "tau": 0.5})
    assert task == other
    table = pd.DataFrame({"method": ["SimCLR"], "value": [1.0]})
    assert other.labelled(table).to_dict("records") == [{"method": "reference", "value": 1.0, "tau": 0.5}]
    assert task.labelled(table).to_dict("records") == [{"method": "SimCLR", "value": 1.0}]


def test_untrained_methods_share_one_task_over_all_training_sizes() -> None:
    quick, longer = SIZES["quick"], SIZES["quick"] | {"steps": 9, "batch_size": 7}
    for name in ("Random", OBSERVATION):
        assert training(name, quick) == training(name, longer)
    assert training("SimCLR", quick) != training("SimCLR", longer)


@pytest.mark.parametrize("claim", [CLUSTERING, KEPT_STYLE, SMALL], ids=lambda claim: claim.name)
def test_claims_share_the_trainings_of_style_collapse(claim) -> None:
    def identities(config) -> set[str]:
        return {task.identity for task in COLLAPSE.tasks(config)}

    config = COLLAPSE.settings("quick")
    assert COLLAPSE.control is not None
    shared = identities(config) | identities(COLLAPSE.control(config))
    assert {task.identity for task in claim.tasks(claim.settings("quick"))} <= shared


@pytest.mark.parametrize("claim", [COLLAPSE, SMALL], ids=lambda claim: claim.name)
def test_every_network_is_normalised_where_asked_and_by_default_none_is_told_to_be(claim) -> None:
    usual, normed = (claim.tasks(claim.settings("smoke", changes=given)) for given in (None, {"batch_norm": True}))
    assert not any("settings" in task.kwargs for task in usual)
    assert {task.kwargs["method"] for task in normed if "settings" not in task.kwargs} == {OBSERVATION}
    first, again = (next(t for t in tasks if t.kwargs["method"] == "SimCLR").run("cpu") for tasks in (usual, normed))
    assert (first.value != again.value).mean() > 0.5


def test_shuffled_pairing_keeps_each_view_and_breaks_the_pairs() -> None:
    world = synthetic.preset("block", seed=0)
    true = world.sample(500, views=3, generator=torch.Generator().manual_seed(1))
    shuffled = Mispaired(world).sample(500, views=3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(true.x[:, 0], shuffled.x[:, 0])
    for j in (1, 2):
        assert torch.equal(true.x[:, j].sort(0).values, shuffled.x[:, j].sort(0).values)
        assert (true.x[:, j] == shuffled.x[:, j]).all(-1).float().mean() < 0.05
    content = world.content_dim
    pairs = torch.corrcoef(torch.stack([shuffled.z[:, 0, 0], shuffled.z[:, 1, 0]]))[0, 1]
    assert abs(pairs) < 0.15 < torch.corrcoef(torch.stack([true.z[:, 0, 0], true.z[:, 1, 0]]))[0, 1]
    assert shuffled.z.shape[-1] == content + world.style_dim


def test_an_unknown_pairing_is_refused() -> None:
    with pytest.raises(ValueError, match="pairing must be true or shuffled, found 'half'"):
        kept(method="SimCLR", world="block", seeds=1, steps=1, points=40, pairing="half")


def test_the_full_profile_compares_every_discriminative_method() -> None:
    assert COLLAPSE.settings("full")["methods"] == list(EVERY)
    assert len(EVERY) == 14


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(LEARNER.format(temperature=0.5))
    return path


def test_a_learner_of_ones_own_is_trained_and_called_by_its_class(mine: Path) -> None:
    name = own.learner(f"{mine}:Mine")
    config = COLLAPSE.settings("smoke", learner=name)
    assert displayed(config["methods"])[-1] == "Mine"
    task = next(t for t in COLLAPSE.tasks(config) if t.kwargs["method"] == name)
    assert set(task.labelled(task.run("cpu")).method) == {"Mine"}
    assert {f.name for f in _smoke_findings(config)} >= {"retained style, Mine", "retained style, SimCLR"}


def _smoke_findings(config):
    table = pd.concat([task.labelled(task.run("cpu")) for task in COLLAPSE.tasks(config)], ignore_index=True)
    return COLLAPSE.findings(table, config)


def test_a_changed_file_is_another_task(mine: Path) -> None:
    before = own.learner(f"{mine}:Mine")
    mine.write_text(LEARNER.format(temperature=0.1))
    after = own.learner(f"{mine}:Mine")
    assert training(before, SIZES["smoke"]) != training(after, SIZES["smoke"])
    assert named(before) is not named(after)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("mine", "expected a learner as FILE.py:Class, found 'mine'"),
        ("nowhere.py:Mine", "found no file nowhere.py"),
        ("{path}:NOT_A_LEARNER", "expected a learner called NOT_A_LEARNER in mine.py, found a value of type int"),
        ("{path}:Absent", "expected a learner called Absent in mine.py, found nothing of that name"),
        ("{path}:SimCLR", "the claims have a SimCLR of their own: call your class otherwise, found '"),
        ("{path}:Bare", "found the class Bare, which is no Learner: derive it from ssl_theory.learners.JointEmbedding"),
    ],
)
def test_what_is_no_learner_is_refused_in_one_line(mine: Path, given: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        own.learner(given.format(path=mine))
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("import nothing_of_that_name\n")
    with pytest.raises(ValueError, match=r"cannot import broken\.py: ModuleNotFoundError"):
        own.learner(f"{path}:Mine")


def test_a_learner_whose_loss_is_no_number_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(LEARNER.format(temperature=0.5).replace("return contrastive", "return float('nan') * contrastive"))
    with pytest.raises(ValueError, match=r"^Mine: its loss was no number for any of 2 seeds, the first at step 1$"):
        kept(method=own.learner(f"{path}:Mine"), world="block", seeds=2, steps=3, points=120, batch_size=16)


def test_the_command_refuses_a_learner_where_nothing_is_compared(mine: Path) -> None:
    command = [sys.executable, "-m", "paper_checks", "prior-marginal", "--learner", f"{mine}:Mine"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--learner changes nothing in prior-marginal" in done.stderr


def test_an_unlabelled_task_keeps_its_table() -> None:
    table = pd.DataFrame({"value": [1.0]})
    assert Task(kept).labelled(table).equals(table)
