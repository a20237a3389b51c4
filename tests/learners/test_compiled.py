"""A compiled loss gives the numbers of the plain one; where there is no compiler, exactly those."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch._dynamo

from ssl_theory.learners import SimCLR, SimVAE, fit
from ssl_theory.learners.compiled import MOST
from tests.learners.toy import FEW, SMALL, Toy

ROOT = Path(__file__).parents[2]
LEARNER = SimVAE(**SMALL)


def train(learner=LEARNER, steps=6, **options):
    return fit(learner, Toy(), steps=steps, seeds=(5, 2), **(FEW | {"log_every": 1} | options))


@pytest.fixture
def no_compiler(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no C++ compiler\nsecond line")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: broken)


def test_without_a_compiler_the_loss_runs_as_it_is_and_says_so_in_one_line(no_compiler):
    with pytest.warns(UserWarning, match=r"not compiled \(RuntimeError: no C\+\+ compiler\); runs as it is$") as said:
        found = train(compile=True)
    assert len(said) == 1
    assert found.history.equals(train().history)


def test_as_many_learners_are_compiled_as_there_are(monkeypatch):
    """Of itself torch would compile eight and run the others as they are."""
    limits = []

    def compiled(loss, mode):
        return lambda *a, **k: limits.append(torch._dynamo.config.recompile_limit) or loss(*a, **k)

    monkeypatch.setattr(torch, "compile", compiled)
    usual = torch._dynamo.config.recompile_limit
    train(compile=True, steps=3)
    assert usual < 100
    assert limits == [MOST, usual, usual]


def test_a_fault_of_the_loss_itself_is_not_taken_for_the_compilers(no_compiler):
    class Faulty(SimCLR):
        def loss(self, modules, x, noise=None):
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"), pytest.warns(UserWarning, match="not compiled"):
        train(Faulty(**SMALL), compile=True)


def test_a_fabric_and_a_compiler_are_not_combined():
    fabric = pytest.importorskip("lightning_fabric").Fabric(accelerator="cpu", devices=1)
    with pytest.raises(ValueError, match="expected compile or a Fabric, found both"):
        train(compile=True, fabric=fabric)


def test_a_run_goes_on_only_as_it_began(no_compiler, tmp_path):
    with pytest.warns(UserWarning, match="not compiled"):
        train(compile=True, checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match=r"dtype torch\.float\d+, found torch\.float\d+, compiled"):
        train(checkpoint=tmp_path / "run")


COMPARISON = """
import torch
from ssl_theory.learners import DINO, MoCo, SimCLR, SimVAE, fit
from tests.learners.toy import SMALL, STEADY, Toy

torch.set_num_threads(1)
for learner in (SimVAE(**SMALL), SimCLR(**SMALL), MoCo(**STEADY, queue=40), DINO(**STEADY, prototypes=8)):
    plain, compiled = (
        fit(learner, Toy(), steps=6, seeds=(5, 2), batch_size=16, log_every=1, dtype=torch.float64, compile=way).history
        for way in (False, True)
    )
    print(float((plain.loss - compiled.loss).abs().max()))
"""


@pytest.mark.slow
def test_a_compiled_loss_is_the_loss():
    """In a process of its own, since the checks of types that the tests run under cannot be compiled."""
    done = subprocess.run([sys.executable, "-c", COMPARISON], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "not compiled" not in done.stderr
    differences = [float(line) for line in done.stdout.split()]
    assert len(differences) == 4
    assert max(differences) < 1e-9
