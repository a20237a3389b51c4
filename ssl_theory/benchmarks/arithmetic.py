"""Which arithmetic networks train in, and which is the fastest here whose gradients are near enough to exact ones.

    32-true     float32 throughout
    32-high     float32, products of matrices in TF32 on a GPU; on most CPUs as 32-true
    32-medium   float32, products of matrices of numbers rounded to bfloat16, where the processor has such products
    bf16-mixed  layers in bfloat16, losses and parameters in float32 (autocast, through Lightning Fabric)

Views are made and representations examined in float32 throughout, whatever networks train in.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_theory.benchmarks import cache, machine
from ssl_theory.benchmarks.asked import PRECISIONS
from ssl_theory.benchmarks.errors import InputError
from ssl_theory.learners import Learner
from ssl_theory.learners.compiled import Compiled
from ssl_theory.learners.fitted import build

EXACT, *_, MIXED = PRECISIONS
PRODUCTS = dict(zip(PRECISIONS, ("highest", "high", "medium", "highest"), strict=True))  # as torch calls them
MOST_ERROR = 1e-2  # of a gradient, as a share of that in float64: what is faster than this allows is not chosen
VIEWS = 2
WORTH = 0.05
ROUNDS, SECONDS = 5, 0.2  # rounds in which all have their turn, and what a turn takes at least
PATIENCE = 30  # seconds for all rounds; what takes longer has fewer


@contextmanager
def products(precision: str) -> Iterator[None]:
    """Products of float32 matrices as `precision` has them while it lasts."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(PRODUCTS[precision])
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class Step:
    """Forward, backward and Adam of a learner's own networks and loss on tensors that stay the same."""

    def __init__(
        self,
        learner: Learner,
        shape: Sequence[int],
        batch: int,
        device: str,
        *,
        precision: str = EXACT,
        dtype: torch.dtype = torch.float32,
        compiled: bool = False,
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        self.learner, self.precision, self.kind = learner, precision, torch.device(device).type
        self.modules = build(learner, tuple(shape), [0]).to(device, dtype)
        self.x = torch.rand(1, batch, VIEWS, *shape, generator=generator, dtype=torch.float64).to(device, dtype)
        size = (1, batch, *(learner.noise_shape(VIEWS) or ()))
        self.noise = torch.randn(size, generator=generator, dtype=torch.float64).to(device, dtype)
        self.loss = Compiled(self._loss) if compiled else self._loss
        self.optimiser = torch.optim.Adam(self.modules.parameters(), lr=learner.learning_rate, fused=True)

    def __call__(self) -> None:
        self.backward()
        self.optimiser.step()

    def backward(self) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        with ExitStack() as held:
            held.enter_context(products(self.precision))
            if self.precision == MIXED:
                held.enter_context(torch.autocast(self.kind, torch.bfloat16))
            self.loss(self.x, self.noise).sum().backward()

    def gradient(self) -> Tensor:
        """Of all parameters, one below the other, in double precision."""
        self.backward()
        return torch.cat([p.grad.double().flatten() for p in self.modules.parameters() if p.grad is not None])

    def _loss(self, x: Tensor, noise: Tensor | None) -> Tensor:
        return self.learner.loss(self.modules, x, noise)


def error(gradient: Tensor, exact: Tensor) -> float:
    """How far a gradient is from the exact one, as a share of that."""
    return float((gradient - exact).norm() / exact.norm())


@dataclass(frozen=True)
class Choice:
    """An arithmetic, the error of its gradient, and the time of its step as a share of that in 32-true."""

    precision: str
    error: float
    share: float

    @property
    def words(self) -> str:
        if self.precision == EXACT:
            return f"arithmetic {EXACT}: no other that is near enough saves {WORTH:.0%} of a step's time"
        return (
            f"arithmetic {self.precision}: a step of SimVAE takes {self.share:.2f} of its time in {EXACT}, its "
            f"gradient differs by {self.error:.1e} from that in float64 ({MOST_ERROR:g} are allowed)"
        )


@dataclass(frozen=True)
class Trial:
    """Of every arithmetic that can be had here, on a learner's own networks; takes seconds, with ResNets on a CPU
    minutes."""

    learner: Learner
    shape: tuple[int, ...]
    batch: int
    device: str
    mixed: bool = True  # whether layers in half precision would do: they need Fabric, without which alone one compiles

    def remembered(self, folder: Path, *, fresh: bool) -> Choice:
        """The fastest, as it was found before for this folder on this machine: another time might be another one's, and
        no result would be found again."""
        about = machine.processor(self.device), torch.__version__, self._usable()
        file = folder / f"fastest-{cache.key({'trial': repr(self), 'machine': about})}.json"
        try:
            found = None if fresh else Choice(**json.loads(file.read_bytes()))
        except (OSError, ValueError, TypeError):
            found = None
        if found is None or found.precision not in PRODUCTS:
            found = self.fastest()
            cache.replace_text(file, json.dumps(asdict(found)))
        return found

    def fastest(self) -> Choice:
        """Of those that are near enough; `EXACT` unless another one saves `WORTH` of its time."""
        exact = self._step(dtype=torch.float64).gradient()
        steps = {name: self._step(precision=name) for name in self._usable()}
        errors = {name: error(step.gradient(), exact) for name, step in steps.items()}
        near = [name for name in steps if name == EXACT or errors[name] <= MOST_ERROR]
        took = in_turn({name: steps[name] for name in near}, self.device)
        shares = {name: statistics.median(a / b for a, b in zip(took[name], took[EXACT], strict=True)) for name in near}
        best = min(near, key=lambda name: shares[name])
        best = best if shares[best] <= 1 - WORTH else EXACT
        return Choice(best, errors[best], shares[best])

    def _step(self, **how: Any) -> Step:
        return Step(self.learner, self.shape, self.batch, self.device, **how)

    def _usable(self) -> list[str]:
        return [name for name in usable() if alone(1, name) or self.mixed]


def usable() -> list[str]:
    """The names of those that can be had here."""
    there = find_spec("lightning_fabric") is not None
    return [name for name in PRODUCTS if name != MIXED or there]


def alone(devices: int, precision: str) -> bool:
    """Whether a training is one process's without Fabric, so that it can be compiled."""
    return devices == 1 and precision != MIXED


def in_turn(steps: Mapping[str, Callable[[], None]], device: str) -> dict[str, list[float]]:
    """Seconds of a step of each, round by round, so that a machine whose pace changes changes it for all of them."""
    first = {name: _seconds(step, 1, device) for name, step in steps.items() for _ in range(2)}  # of two the second
    took: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(max(1, min(ROUNDS, int(PATIENCE / sum(first.values()))))):
        for name, step in steps.items():
            took[name].append(_seconds(step, max(1, round(SECONDS / first[name])), device))
    return took


def _seconds(step: Callable[[], None], count: int, device: str) -> float:
    """Of one of so many steps."""
    _wait(device)
    began = time.perf_counter()
    for _ in range(count):
        step()
    _wait(device)
    return (time.perf_counter() - began) / count


def _wait(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def require_compiler() -> None:
    """InputError where torch cannot compile here."""
    try:
        torch.compile(lambda x: x * x + 1)(torch.zeros(3))
    except Exception as fault:  # no compiler, no room for what it makes, a platform without it
        raise InputError(
            f"--compile needs a C++ compiler that torch.compile can use ({type(fault).__name__}): install one, or "
            "leave it out."
        ) from fault
