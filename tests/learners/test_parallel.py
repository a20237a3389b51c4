"""Two processes that share the networks' work are as one: same gradients, same members; and mixed precision."""

import builtins
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssl_theory.learners import SimCLR, SimVAE, fit, parallel
from tests.learners import divided
from tests.learners.toy import ALL, FEW, SMALL, Toy

ROOT = Path(__file__).parents[2]
every_learner = pytest.mark.parametrize("name", ALL)
two_processes = pytest.mark.slow  # they take longer to start than all tests of the learners together


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What both processes wrote, by Fabric's own launcher."""
    made = tmp_path_factory.mktemp("divided")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.learners.divided", str(made)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def both(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


def close(found: dict[str, Any], expected: dict[str, Any], tolerance: float = 1e-9) -> None:
    assert found["state"].keys() == expected["state"].keys()
    for name, value in found["state"].items():
        torch.testing.assert_close(value, expected["state"][name], rtol=tolerance, atol=tolerance, msg=name)
    np.testing.assert_allclose(found["history"]["loss"], expected["history"]["loss"], rtol=tolerance)


@two_processes
@every_learner
def test_the_gradient_is_that_of_the_whole_batch(name, both):
    expected = divided.gradients(ALL[name], None)
    assert max(float(g.abs().max()) for g in expected.values()) > 1e-3
    for found in both:
        assert found["gradients"][name].keys() == expected.keys()
        for parameter, gradient in found["gradients"][name].items():
            torch.testing.assert_close(gradient, expected[parameter], rtol=1e-9, atol=1e-10, msg=parameter)


@two_processes
@every_learner
def test_members_are_those_of_one_process(name, both):
    for found in both:
        close(found["trained"][name], divided.trained(ALL[name], None), 1e-7)


@two_processes
def test_processes_never_part(both):
    """Not even by rounding: what they hold was computed from the same gathered numbers."""
    for name in ALL:
        first, second = (found["trained"][name]["state"] for found in both)
        assert all(torch.equal(first[key], second[key]) for key in first)


@two_processes
def test_convolutions_and_batch_norm_are_divided_too(both):
    close(both[0]["images"], divided.images(None), 1e-7)


@two_processes
def test_a_stopped_run_goes_on_and_one_file_is_written(both, folder):
    close(both[1]["resumed"], divided.trained(ALL["SimCLR"], None), 1e-7)
    assert {path.name for path in folder.iterdir()} == {"0.pt", "1.pt", "run"}


@two_processes
def test_all_processes_stop_when_all_members_have_diverged(both):
    assert all(found["diverged"]["diverged"].all() for found in both)


@two_processes
def test_what_cannot_be_divided_is_refused(both):
    for found in both:
        assert "expected a batch_size that divides among 2 processes, found 15" in found["refusals"]["batch"]
        assert "expected the same run in every process, found another" in found["refusals"]["run"]


# One process, through Fabric: precision.

SHORT: dict[str, Any] = {"steps": 60, "seeds": (0, 1), "batch_size": 32, "log_every": 20}
X = Toy().sample(64, views=1, generator=torch.Generator().manual_seed(1)).x[:, 0]


def cpu(precision: str) -> parallel.Fabric:
    return parallel.launch(devices=1, accelerator="cpu", precision=precision)


def test_thirty_two_bits_are_what_no_fabric_gives():
    through, without = (fit(SimCLR(**SMALL), Toy(), fabric=f, device="cpu", **SHORT) for f in (cpu("32-true"), None))
    assert torch.equal(through.transform(X), without.transform(X))
    assert through.history.equals(without.history)


@pytest.mark.parametrize("learner", [SimCLR(**SMALL), SimVAE(**SMALL, batch_norm=True)], ids=["SimCLR", "SimVAE"])
def test_bfloat16_trains_and_differs_a_little(learner):
    mixed, plain = (fit(learner, Toy(), fabric=f, device="cpu", **SHORT) for f in (cpu("bf16-mixed"), None))
    assert mixed.transform(X).dtype == torch.float32
    assert mixed.transform(X).isfinite().all()
    first, last = mixed.history["loss"][:2], mixed.history["loss"][-2:]
    assert last.mean() < first.mean()
    difference = (mixed.history["loss"] - plain.history["loss"]).abs() / plain.history["loss"].abs()
    assert 0 < difference.max() < 0.05


def test_a_checkpoint_of_another_precision_is_refused(tmp_path):
    fit(SimCLR(**SMALL), Toy(), fabric=cpu("bf16-mixed"), checkpoint=tmp_path / "run", **SHORT)
    with pytest.raises(ValueError, match=r"checkpoint with dtype torch.float32, found torch.float32, networks in .*16"):
        fit(SimCLR(**SMALL), Toy(), device="cpu", checkpoint=tmp_path / "run", **SHORT)


@pytest.mark.parametrize("precision", ["16-mixed", "64-true", "half"])
def test_other_precisions_are_refused(precision):
    with pytest.raises(ValueError, match="precision must be one of 32-true, bf16-mixed, found") as error:
        cpu(precision)
    assert "\n" not in str(error.value)


def test_a_fabric_of_another_precision_is_refused():
    from lightning_fabric import Fabric

    with pytest.raises(ValueError, match="expected a Fabric of precision 32-true or bf16-mixed"):
        fit(SimCLR(**SMALL), Toy(), fabric=Fabric(accelerator="cpu", devices=1, precision="64-true"), **SHORT)


class Unlaunched:
    world_size, global_rank, device, autocast = 2, 0, torch.device("cpu"), nullcontext


def test_a_fabric_that_is_not_launched_is_refused():
    with pytest.raises(ValueError, match=r"expected a launched Fabric, .* call fabric.launch\(\) first"):
        fit(SimCLR(**SMALL), Toy(), steps=1, seeds=(0,), fabric=Unlaunched(), **FEW)


def test_another_device_than_the_fabric_s_is_refused():
    with pytest.raises(ValueError, match="expected device='auto' or the Fabric's, cpu, found meta"):
        fit(SimCLR(**SMALL), Toy(), steps=1, seeds=(0,), fabric=cpu("32-true"), device="meta")


def test_without_lightning_the_remedy_is_named(monkeypatch):
    whole = builtins.__import__

    def without(name, *rest, **kwargs):
        if name.startswith("lightning"):
            raise ModuleNotFoundError(name)
        return whole(name, *rest, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"pip install 'ssl-theory\[fabric\]'"):
        parallel.launch(devices=1)
