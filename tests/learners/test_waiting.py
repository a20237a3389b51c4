"""Between two rows of the history a step never asks the device for a number: a GPU is never waited for.

Seen on any device as the operations that need one: reading a scalar, or a result whose size depends on the values.
"""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ssl_theory.learners import JointEmbedding
from ssl_theory.learners.ensemble import Training
from ssl_theory.learners.members import Members
from tests.learners.toy import ALL, SMALL, Toy

WAITING = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal", "_unique", "bincount")


class Watch(TorchDispatchMode):
    """Names of operations that wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        masks = name in ("index", "index_put_", "index_put") and any(
            isinstance(index, torch.Tensor) and index.dtype == torch.bool for index in args[1] or ()
        )
        if name.startswith(WAITING) or masks:
            self.seen.append(name)
        return function(*args, **(kwargs or {}))


def steps(learner: Any, count: int = 5) -> list[str]:
    """What waits in the loss, its gradient, the update and what comes after it."""
    members, place = Members.of(learner, (0, 1)), torch.device("cpu")
    run = Training(members, [Toy()] * 2, 16, 2, place, torch.float64, 50)
    run.modules.train()
    with Watch() as watch:
        for step in range(count):
            batch = run.streams.batch(step)
            label = {} if batch.label is None else {"label": batch.label}
            run._backward(run.learner.loss(run.modules, batch.x, batch.noise, **label).sum())
            run._update()
    return watch.seen


# On the CPU alone InfoNCE looks at a learned temperature, to choose how it sums; elsewhere it does not ask.
READ_ON_THE_CPU = {"CLIP": {"_local_scalar_dense"}}


@pytest.mark.parametrize("name", ALL)
def test_a_step_waits_for_nothing(name):
    assert set(steps(ALL[name])) <= READ_ON_THE_CPU.get(name, set())


class Reading(JointEmbedding):
    def loss(self, modules, x, noise=None):
        z = self.embed(modules, x)
        return z[z > z.mean().item()].sum().expand(2)


def test_waiting_is_seen():
    assert {"_local_scalar_dense", "index"} <= set(steps(Reading(**SMALL), 1))
