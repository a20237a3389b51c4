"""Part `step` of `speed.benchmarks`: milliseconds a step of SimVAE, bare, by `fit`, and in a loop of one's own."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from speed.views import VIEWS, Row, bytes_of, made, one_by_one, seconds, tensor
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


# By name: torch's float32 matmul precision, and whether autocast to bfloat16 is on.
ARITHMETICS = {
    "float32": ("highest", False),
    "float32, matmul precision high": ("high", False),
    "float32, matmul precision medium": ("medium", False),
    "bf16 autocast": ("highest", True),
}


def autocast(device: str) -> Callable[[], AbstractContextManager]:
    return partial(torch.autocast, torch.device(device).type, torch.bfloat16)


def step(options: argparse.Namespace) -> Iterator[Row]:
    for threads in options.threads if options.device == "cpu" else options.threads[:1]:
        torch.set_num_threads(threads)
        bare = 1e3 * many(Bare(LEARNER, SHAPE, options.device).step, options)
        plain = plain_time(options)
        yield step_row("bare: forward, backward, fused Adam", threads, bare, bare)
        yield step_row("a loop as one would write it, PIL", threads, plain, bare)
        yield step_row("ours: fit, augmentation included", threads, fit_time(options), bare, plain)
        exact = Bare(LEARNER, SHAPE, options.device, torch.float64).gradient()
        measured = {name: precise(name, exact, options) for name in ARITHMETICS}
        for name, (took, error) in measured.items():
            yield step_row(f"bare, {name}; error of the gradient {error:.1e}", threads, took, bare)
        fastest = min(measured, key=lambda name: measured[name][0])
        took, error = fit_time(options, fastest), measured[fastest][1]
        yield step_row(f"ours: fit, {fastest}; error of the gradient {error:.1e}", threads, took, bare, plain)


def many(call: Callable[[], object], options: argparse.Namespace) -> float:
    """Seconds a call, over `--steps` calls at a time."""

    def steps() -> None:
        for _ in range(options.steps):
            call()

    return seconds(steps, options.repeats, options.device) / options.steps


@contextmanager
def matmuls(precision: str) -> Iterator[None]:
    """torch's precision of float32 matrix products while it lasts."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def precise(name: str, exact: Tensor, options: argparse.Namespace) -> tuple[float, float]:
    """One arithmetic: milliseconds a bare step, and how far its gradient at the start is from that in float64."""
    precision, half = ARITHMETICS[name]
    cast = autocast(options.device) if half else nullcontext
    with matmuls(precision):
        run = Bare(LEARNER, SHAPE, options.device)
        error = float((run.gradient(cast()) - exact).norm() / exact.norm())
        return 1e3 * many(lambda: run.step(cast()), options), error


def fit_time(options: argparse.Namespace, arithmetic: str = "float32") -> float:
    """Milliseconds a step of `fit` on images of MNIST's size and number, set-up included."""
    precision, half = ARITHMETICS[arithmetic]
    kind = torch.device(options.device).type
    fabric = parallel.launch(devices=1, accelerator=kind, precision="bf16-mixed") if half else None
    data = AugmentedImages(made(60_000, 28, 1), Crop((28, 28)))
    run = partial(fit, LEARNER, data, seeds=[0], batch_size=BATCH, views=VIEWS, device=kind, fabric=fabric)
    steps = 5 * options.steps
    with matmuls(precision):
        return 1e3 * seconds(lambda: run(steps=steps), options.repeats, options.device) / steps


class TwoViews(Dataset):
    """Two PIL views an image, as published loops have it."""

    def __init__(self, n: int) -> None:
        self.arrays, self.draw = bytes_of(n, 28, 1), random.Random(0)

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, index: int) -> Tensor:
        image = Image.fromarray(self.arrays[index])
        return torch.stack([tensor(one_by_one(image, self.draw, (0.4, 1.0))) for _ in range(VIEWS)])


def plain_time(options: argparse.Namespace) -> float:
    """Milliseconds a step of a loop over a `DataLoader` in this process: ordinary layers, no ensemble."""
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

    return 1e3 * seconds(epoch, options.repeats, options.device) / options.steps


def step_row(what: str, threads: int, milliseconds: float, bare: float, plain: float | None = None) -> Row:
    against = f"{milliseconds / bare:.2f} of bare"
    return {
        "part": "step",
        "what": what,
        "threads": threads,
        "value": round(milliseconds, 2),
        "unit": "ms/step",
        "against": against if plain is None else f"{against}, {plain / milliseconds:.2f} times the loop's images/s",
    }
