"""Part `step` of `speed.benchmarks`: milliseconds a step of SimVAE, bare, by `fit`, and in a loop of one's own."""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from speed.views import VIEWS, Row, bytes_of, in_turn, made, one_by_one, tensor
from ssl_theory.benchmarks.augmentation import AugmentedImages
from ssl_theory.benchmarks.published import Crop
from ssl_theory.learners import SimVAE, fit, parallel
from ssl_theory.learners.fitted import build
from ssl_theory.losses import decoders, generative, priors

BATCH, SHAPE = 64, (1, 28, 28)
LEARNER = SimVAE(latent_dim=10, hidden=(512, 256), prior="gaussian", learning_rate=1e-3)


class Bare:
    """Forward, backward and Adam of a learner's own networks and loss on tensors that stay the same."""

    def __init__(
        self,
        learner: SimVAE,
        shape: tuple[int, ...],
        device: str,
        dtype: torch.dtype = torch.float32,
        batch: int = BATCH,
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        self.learner, self.modules = learner, build(learner, shape, [0]).to(device, dtype)
        self.x = torch.rand(1, batch, VIEWS, *shape, generator=generator, dtype=torch.float64).to(device, dtype)
        noise = torch.randn(1, batch, *learner.noise_shape(VIEWS), generator=generator, dtype=torch.float64)
        self.noise = noise.to(device, dtype)
        self.optimiser = torch.optim.Adam(self.modules.parameters(), lr=learner.learning_rate, fused=True)

    def backward(self, arithmetic: AbstractContextManager | None = None) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        with arithmetic or nullcontext():
            loss = self.learner.loss(self.modules, self.x, self.noise).sum()
        loss.backward()

    def step(self, arithmetic: AbstractContextManager | None = None) -> None:
        self.backward(arithmetic)
        self.optimiser.step()

    def gradient(self, arithmetic: AbstractContextManager | None = None) -> Tensor:
        self.backward(arithmetic)
        return torch.cat([p.grad.double().flatten() for p in self.modules.parameters() if p.grad is not None])


BARE, LOOP, FIT = "float32", "loop", "fit"
# By name: torch's float32 matmul precision, and whether autocast to bfloat16 is on.
ARITHMETICS = {
    BARE: ("highest", False),
    "float32, matmul precision high": ("high", False),
    "float32, matmul precision medium": ("medium", False),
    "bf16 autocast": ("highest", True),
}
MOST_ERROR = 1e-2  # of a gradient, as a share of that in float64: what is faster than this allows is not chosen


@dataclass(frozen=True)
class Course:
    """What is timed: a call of so many steps."""

    call: Callable[[], object]
    steps: int


def autocast(device: str) -> Callable[[], AbstractContextManager]:
    return partial(torch.autocast, torch.device(device).type, torch.bfloat16)


def step(options: argparse.Namespace) -> Iterator[Row]:
    for threads in options.threads if options.device == "cpu" else options.threads[:1]:
        torch.set_num_threads(threads)
        exact = Bare(LEARNER, SHAPE, options.device, torch.float64).gradient()
        errors = {name: gradient_error(name, exact, options.device) for name in ARITHMETICS}
        plain = loop(options)
        bare = {name: bare_steps(name, options) for name in ARITHMETICS}
        took = milliseconds({**bare, LOOP: plain, FIT: fitting(options)}, options)
        yield step_row("bare: forward, backward, fused Adam", threads, BARE, took)
        yield step_row("a loop as one would write it, PIL", threads, LOOP, took)
        yield step_row("ours: fit, augmentation included", threads, FIT, took)
        for name, error in errors.items():
            yield step_row(f"bare, {name}; error of the gradient {error:.1e}", threads, name, took)
        best = fastest(took, errors)
        again = milliseconds({BARE: bare[BARE], LOOP: plain, FIT: fitting(options, best)}, options)
        yield step_row(f"ours: fit, {best}; error of the gradient {errors[best]:.1e}", threads, FIT, again)


def milliseconds(courses: dict[str, Course], options: argparse.Namespace) -> dict[str, list[float]]:
    """Of a step of each, repeat by repeat, timed in turn."""
    took = in_turn({name: course.call for name, course in courses.items()}, options.repeats, options.device)
    return {name: [1e3 * each / courses[name].steps for each in times] for name, times in took.items()}


def ratio(first: list[float], second: list[float]) -> float:
    """Median of what the first took over what the second took in the same repeat."""
    return statistics.median(a / b for a, b in zip(first, second, strict=True))


def fastest(took: dict[str, list[float]], errors: dict[str, float]) -> str:
    """The arithmetic, among those whose gradients err by `MOST_ERROR` at most, whose bare step takes the least time."""
    able = [name for name in ARITHMETICS if errors[name] <= MOST_ERROR]
    return min(able, key=lambda name: ratio(took[name], took[BARE]))


@contextmanager
def matmuls(precision: str) -> Iterator[None]:
    """torch's precision of float32 matrix products while it lasts."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def gradient_error(arithmetic: str, exact: Tensor, device: str) -> float:
    """How far its gradient at the start is from that in float64, as a share of it."""
    precision, half = ARITHMETICS[arithmetic]
    with matmuls(precision):
        found = Bare(LEARNER, SHAPE, device).gradient(autocast(device)() if half else None)
    return float((found - exact).norm() / exact.norm())


def bare_steps(arithmetic: str, options: argparse.Namespace) -> Course:
    """`--steps` bare steps."""
    precision, half = ARITHMETICS[arithmetic]
    cast: Callable[[], AbstractContextManager] = autocast(options.device) if half else nullcontext
    run = Bare(LEARNER, SHAPE, options.device)

    def call() -> None:
        with matmuls(precision):
            for _ in range(options.steps):
                run.step(cast())

    return Course(call, options.steps)


def fitting(options: argparse.Namespace, arithmetic: str = BARE) -> Course:
    """`fit` on images of MNIST's size and number, set-up included."""
    precision, half = ARITHMETICS[arithmetic]
    kind = torch.device(options.device).type
    fabric = parallel.launch(devices=1, accelerator=kind, precision="bf16-mixed") if half else None
    data = AugmentedImages(made(60_000, 28, 1), Crop((28, 28)))
    run = partial(fit, LEARNER, data, seeds=[0], batch_size=BATCH, views=VIEWS, device=kind, fabric=fabric)
    steps = 5 * options.steps

    def call() -> None:
        with matmuls(precision):
            run(steps=steps)

    return Course(call, steps)


class TwoViews(Dataset):
    """Two PIL views an image, as published loops have it."""

    def __init__(self, n: int) -> None:
        self.arrays, self.draw = bytes_of(n, 28, 1), random.Random(0)

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, index: int) -> Tensor:
        image = Image.fromarray(self.arrays[index])
        return torch.stack([tensor(one_by_one(image, self.draw, (0.4, 1.0))) for _ in range(VIEWS)])


def loop(options: argparse.Namespace) -> Course:
    """A loop over a `DataLoader` in this process: ordinary layers, no ensemble."""
    encoder = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 20))
    decoder = nn.Sequential(nn.Linear(10, 256), nn.ReLU(), nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 784))
    both = nn.ModuleList([encoder, decoder]).to(options.device)
    optimiser = torch.optim.Adam(both.parameters(), lr=1e-3)
    loader = DataLoader(TwoViews(BATCH * options.steps), batch_size=BATCH, shuffle=True)

    def epoch() -> None:
        for x in loader:
            x = x.to(options.device).flatten(2)
            mean, log_variance = encoder(x).chunk(2, dim=-1)
            z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
            prior, decoding = priors.Gaussian(0.15, 1.0), decoders.Gaussian(0.01)
            loss = generative.elbo_ssl(x, decoder(z), z, log_variance, prior=prior, decoder=decoding)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss.item()  # logged

    return Course(epoch, options.steps)


def step_row(what: str, threads: int, name: str, took: dict[str, list[float]]) -> Row:
    """The median, and medians of what it took over what others took in the same repeat."""
    against = f"{ratio(took[name], took[BARE]):.2f} of bare"
    if name == FIT:
        against += f", {ratio(took[LOOP], took[name]):.2f} times the loop's images/s"
    return {
        "part": "step",
        "what": what,
        "threads": threads,
        "value": round(statistics.median(took[name]), 2),
        "unit": "ms/step",
        "against": against,
    }
