"""Memory runs out: the same numbers, a piece of the rows at a time."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ssl_theory.learners import Fitted, Learner, SimCLR, VICReg, fit
from ssl_theory.models import MLP, BatchNorm
from tests.learners.toy import ALL, SMALL, Toy

ROWS = 32  # 16 data points of 2 views
UNNORMED = [name for name, learner in ALL.items() if not learner.batch_norm]


def trained(learner: Learner) -> Fitted:
    return fit(learner, Toy(), steps=4, seeds=(0, 1), batch_size=16, dtype=torch.float64, device="cpu")


def scarce(monkeypatch: pytest.MonkeyPatch, most: int, error: type[Exception] = torch.OutOfMemoryError) -> list[int]:
    """Networks that have memory for so many rows; the numbers of rows that they were given."""
    given, whole = list[int](), MLP.forward

    def forward(self: MLP, x: Tensor) -> Tensor:
        given.append(x.shape[1])
        if x.shape[1] > most:
            raise error("can't allocate memory")
        return whole(self, x)

    monkeypatch.setattr(MLP, "forward", forward)
    return given


def same(one: Fitted, other: Fitted) -> None:
    for (name, a), (_, b) in zip(one.modules.state_dict().items(), other.modules.state_dict().items(), strict=True):
        torch.testing.assert_close(torch.as_tensor(a), torch.as_tensor(b), rtol=1e-7, atol=1e-9, msg=name)
    np.testing.assert_allclose(one.history["loss"], other.history["loss"], rtol=1e-9)


@pytest.mark.parametrize("name", UNNORMED)
def test_pieces_change_no_number(name, monkeypatch):
    whole = trained(ALL[name])
    given = scarce(monkeypatch, 8)
    with pytest.warns(UserWarning, match="out of memory: the networks take"):
        divided = trained(ALL[name])
    assert max(given[30:]) <= 8 < max(given)
    same(whole, divided)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_memory_may_run_out_under_any_name(error, monkeypatch):
    whole = trained(SimCLR(**SMALL))
    scarce(monkeypatch, 16, error)
    with pytest.warns(UserWarning, match="in 2 pieces"):
        same(whole, trained(SimCLR(**SMALL)))


class LateWant(torch.autograd.Function):
    """Wants memory on the way back, the first time."""

    missing = True

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        if LateWant.missing:
            LateWant.missing = False
            raise torch.OutOfMemoryError("late")
        return gradient


@pytest.mark.parametrize("name", ["MoCo", "DINO", "InstanceMemory", "DeepCluster"])
def test_what_a_loss_remembers_is_not_remembered_twice(name, monkeypatch):
    whole, plain = trained(ALL[name]), MLP.forward
    monkeypatch.setattr(LateWant, "missing", True)
    monkeypatch.setattr(MLP, "forward", lambda self, x: LateWant.apply(plain(self, x)))
    with pytest.warns(UserWarning, match="in 2 pieces"):
        same(whole, trained(ALL[name]))
    assert not LateWant.missing


def test_too_little_for_a_single_row_is_raised(monkeypatch):
    given = scarce(monkeypatch, 0)
    with pytest.warns(UserWarning, match="out of memory") as told, pytest.raises(torch.OutOfMemoryError):
        trained(SimCLR(**SMALL))
    assert f"in {ROWS} pieces" in str(told[-1].message)
    assert min(given) == 1


def test_batch_normalisation_is_not_divided(monkeypatch):
    learner = SimCLR(**SMALL, batch_norm=True)
    assert any(isinstance(module, BatchNorm) for module in trained(learner).modules.modules())
    given = scarce(monkeypatch, 8)
    with pytest.raises(torch.OutOfMemoryError):
        trained(learner)
    assert given == [ROWS]


def test_other_faults_are_raised_as_they_are(monkeypatch):
    def broken(self: MLP, x: Tensor) -> Tensor:
        raise RuntimeError("a bug")

    monkeypatch.setattr(MLP, "forward", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        trained(VICReg(**SMALL))


def test_networks_are_left_as_they_were():
    fitted = trained(SimCLR(**SMALL))
    assert all("forward" not in vars(module) for module in fitted.modules.modules())
