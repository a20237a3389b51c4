"""Part `step` of `speed.benchmarks`: milliseconds a step of SimVAE, bare, by `fit`, and in a loop of one's own."""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from speed.views import VIEWS, Row, bytes_of, in_turn, made, one_by_one, tensor
from ssl_theory.benchmarks import arithmetic
from ssl_theory.benchmarks.arithmetic import Step
from ssl_theory.benchmarks.augmentation import AugmentedImages
from ssl_theory.benchmarks.published import Crop
from ssl_theory.learners import SimVAE, fit, parallel
from ssl_theory.losses import decoders, generative, priors

BATCH, SHAPE = 64, (1, 28, 28)
LEARNER = SimVAE(latent_dim=10, hidden=(512, 256), prior="gaussian", learning_rate=1e-3)
BARE, LOOP, FIT, COMPILED = "bare", "loop", "fit", "compiled"


@dataclass(frozen=True)
class Course:
    """What is timed: a call of so many steps."""

    call: Callable[[], object]
    steps: int


def step(options: argparse.Namespace) -> Iterator[Row]:
    for threads in options.threads if options.device == "cpu" else options.threads[:1]:
        torch.set_num_threads(threads)
        exact = taken(options, dtype=torch.float64).gradient()
        steps = {name: taken(options, precision=name) for name in arithmetic.usable()}
        errors = {name: arithmetic.error(each.gradient(), exact) for name, each in steps.items()}
        bare = {name: bare_steps(each, options) for name, each in steps.items()}
        plain = loop(options)
        took = milliseconds({**bare, LOOP: plain, FIT: fitting(options)}, options)
        took[BARE] = took[arithmetic.EXACT]
        yield step_row("bare: forward, backward, fused Adam", threads, BARE, took)
        yield step_row("a loop as one would write it, PIL", threads, LOOP, took)
        yield step_row("ours: fit, augmentation included", threads, FIT, took)
        for name, error in errors.items():
            yield step_row(f"bare, {name}; error of the gradient {error:.1e}", threads, name, took)
        best = fastest(took, errors)
        courses = {BARE: bare[arithmetic.EXACT], LOOP: plain, FIT: fitting(options, best)}
        said = {FIT: f"{best}; error of the gradient {errors[best]:.1e}"}
        if options.compile:
            best = fastest(took, {name: error for name, error in errors.items() if arithmetic.alone(1, name)})
            error = arithmetic.error(taken(options, precision=best, compiled=True).gradient(), exact)
            courses[COMPILED] = fitting(options, best, compiled=True)
            said[COMPILED] = f"{best}, compiled; error of the gradient {error:.1e}"
        again = milliseconds(courses, options)
        for name, words in said.items():
            yield step_row(f"ours: fit, {words}", threads, name, again)


def milliseconds(courses: dict[str, Course], options: argparse.Namespace) -> dict[str, list[float]]:
    """Of a step of each, repeat by repeat, timed in turn."""
    took = in_turn({name: course.call for name, course in courses.items()}, options.repeats, options.device)
    return {name: [1e3 * each / courses[name].steps for each in times] for name, times in took.items()}


def ratio(first: list[float], second: list[float]) -> float:
    """Median of what the first took over what the second took in the same repeat."""
    return statistics.median(a / b for a, b in zip(first, second, strict=True))


def fastest(took: dict[str, list[float]], errors: dict[str, float]) -> str:
    """The arithmetic, among those whose gradients are near enough, whose bare step takes the least time."""
    able = [name for name in errors if errors[name] <= arithmetic.MOST_ERROR]
    return min(able, key=lambda name: ratio(took[name], took[BARE]))


def taken(options: argparse.Namespace, **how: Any) -> Step:
    """The step that is timed."""
    return Step(LEARNER, SHAPE, BATCH, options.device, **how)


def bare_steps(taken: Step, options: argparse.Namespace) -> Course:
    """`--steps` bare steps from the start: in hundreds of them on the same tensors momenta become denormal numbers,
    with which a step takes twice as long."""
    start = deepcopy(taken.modules.state_dict())

    def call() -> None:
        taken.modules.load_state_dict(start)
        taken.optimiser.state.clear()
        for _ in range(options.steps):
            taken()

    return Course(call, options.steps)


def fitting(options: argparse.Namespace, precision: str = arithmetic.EXACT, *, compiled: bool = False) -> Course:
    """`fit` on images of MNIST's size and number, set-up included."""
    kind = torch.device(options.device).type
    mixed = not arithmetic.alone(1, precision)
    fabric = parallel.launch(devices=1, accelerator=kind, precision=precision) if mixed else None
    data = AugmentedImages(made(60_000, 28, 1), Crop((28, 28)))
    whole: dict[str, Any] = {"seeds": [0], "batch_size": BATCH, "views": VIEWS, "device": kind}
    run = partial(fit, LEARNER, data, **whole, fabric=fabric, compile=compiled)
    steps = 5 * options.steps

    def call() -> None:
        with arithmetic.products(precision):
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
    start = deepcopy(both.state_dict())
    loader = DataLoader(TwoViews(BATCH * options.steps), batch_size=BATCH, shuffle=True)

    def epoch() -> None:
        both.load_state_dict(start)
        optimiser.state.clear()
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
    if name in (FIT, COMPILED):
        against += f", {ratio(took[LOOP], took[name]):.2f} times the loop's images/s"
    return {
        "part": "step",
        "what": what,
        "threads": threads,
        "value": round(statistics.median(took[name]), 2),
        "unit": "ms/step",
        "against": against,
    }
