"""How fast views are made and networks trained on real images, beside what one would write without this library.

    python -m speed.benchmarks [PART ...] [--device cuda] [--threads 1 2] [--repeats 7] [--compile]
                               [--output speed/results/benchmarks.md]

    augmentation  images a second: ours in batches, and one image at a time through PIL (crop and resize, flip; for
                  colour also brightness, contrast, saturation and hue) on the same cores. Both begin at decoded bytes
                  in memory and end at float tensors, drawing the style included. Excluded: reading and decoding
                  files, collating PIL's images and sending them between processes.
    step          milliseconds a step of SimVAE with an MLP 784-512-256 and d = 10, 64 images of 2 views: forward,
                  backward and fused Adam alone on fixed tensors; `fit` from bytes to parameters; the bare step in
                  faster arithmetic, with the error of its gradient; a loop as one would write it. Excluded: imports,
                  and first calls.
    resnet        views a second through ResNet-18 encoder and decoder at 32 x 32, and its arithmetic a second beside
                  a large matrix product's. Fixed tensors; slow without a GPU, hence only where asked for.

Numbers are medians over `--repeats`. The table is printed, and written with a JSON file beside it where `--output`
says so. On a GPU the one-by-one pipelines run on the CPU, and numbers wait for the device.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import multiprocessing
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ssl_theory.benchmarks.augmentation import AugmentedImages, Chain
from ssl_theory.benchmarks.data import Images
from ssl_theory.benchmarks.published import Colour, Crop
from ssl_theory.learners import RESNET18, SimVAE, fit
from ssl_theory.learners.fitted import build
from ssl_theory.losses import decoders, generative, priors

Row = dict[str, Any]
SIZES = ((28, 1), (32, 3), (256, 3))  # pixels, channels
BATCH, VIEWS = 64, 2


def made(n: int, size: int, channels: int, seed: int = 0) -> Images:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (n, channels, size, size), generator=generator, dtype=torch.uint8)
    return Images(pixels, torch.zeros(n, dtype=torch.int64))


def seconds(call: Callable[[], object], repeats: int, device: str = "cpu") -> float:
    """Median of the clock's seconds, after a call that is not counted."""
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    times = []
    for _ in range(repeats + 1):
        wait()
        start = time.perf_counter()
        call()
        wait()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


# Augmentation.


def one_by_one(image: Image.Image, draw: random.Random, area: tuple[float, float]) -> Image.Image:
    """The published augmentation of one image, as PIL does it."""
    size = image.width
    share, aspect = draw.uniform(*area), math.exp(draw.uniform(-1, 1) * math.log(4 / 3))
    width, height = (min(size, size * math.sqrt(share * ratio)) for ratio in (aspect, 1 / aspect))
    left, top = draw.uniform(0, size - width), draw.uniform(0, size - height)
    image = image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + width, top + height))
    if draw.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return image if image.mode == "L" else coloured(image, draw)


def coloured(image: Image.Image, draw: random.Random) -> Image.Image:
    for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhancer(image).enhance(draw.uniform(0.2, 1.8))
    hue, saturation, value = image.convert("HSV").split()
    turned = (np.asarray(hue).astype(np.int16) + round(draw.uniform(-0.2, 0.2) * 255)).astype(np.uint8)
    return Image.merge("HSV", (Image.fromarray(turned), saturation, value)).convert("RGB")


def tensor(image: Image.Image) -> Tensor:
    array = torch.from_numpy(np.array(image)).float().div_(255)
    return array[None] if array.ndim == 2 else array.movedim(-1, 0)


@cache
def bytes_of(n: int, size: int, channels: int) -> np.ndarray:
    pixels = made(n, size, channels).pixels
    return (pixels[:, 0] if channels == 1 else pixels.movedim(1, -1)).contiguous().numpy()


def by_pil(n: int, size: int, channels: int, seed: int = 0) -> None:
    """`n` augmented images, made and dropped."""
    area, draw = (0.4, 1.0) if channels == 1 else (0.6, 1.0), random.Random(seed)
    for array in bytes_of(n, size, channels):
        tensor(one_by_one(Image.fromarray(array), draw, area))


def augmentation(options: argparse.Namespace) -> Iterator[Row]:
    for size, channels in SIZES:
        n = max(16, min(1024, 2**21 // (channels * size**2)))
        crop = Crop((size, size), area=(0.4, 1.0) if channels == 1 else (0.6, 1.0))
        ours = {"ours": crop if channels == 1 else Chain((crop, Colour()))}
        if channels == 3 and options.compile:
            ours["ours, Colour(compiled=True)"] = Chain((crop, Colour(compiled=True)))
        for threads in options.threads:
            torch.set_num_threads(threads)
            pil = pil_rate(n, size, channels, threads, options.repeats)
            yield views_row("PIL, image by image", size, channels, threads, pil, pil)
            for name, how in ours.items():
                data = AugmentedImages(made(n, size, channels), how).to(options.device)
                generator = torch.Generator(options.device).manual_seed(0)
                draw = partial(data.sample, n // VIEWS, views=VIEWS, generator=generator)
                rate = n // VIEWS * VIEWS / seconds(draw, options.repeats, options.device)
                yield views_row(name, size, channels, threads, rate, pil)


def pil_rate(n: int, size: int, channels: int, processes: int, repeats: int) -> float:
    """Images a second of so many processes at once, each with images of its own; nothing is sent between them."""
    few = max(8, n // 4)
    if processes == 1:
        return few / seconds(partial(by_pil, few, size, channels), repeats)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        work = [(few, size, channels, seed) for seed in range(processes)]
        return few * processes / seconds(lambda: pool.starmap(by_pil, work, chunksize=1), repeats)


def views_row(what: str, size: int, channels: int, threads: int, rate: float, pil: float) -> Row:
    images = f"{size} x {size} {'grey' if channels == 1 else 'colour'}"
    return {
        "part": "augmentation",
        "what": f"{images}, {what}",
        "threads": threads,
        "value": round(rate),
        "unit": "images/s",
        "against": f"{rate / pil:.1f} of PIL",
    }


# The training step.

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
    shape = (1, 28, 28)
    for threads in options.threads if options.device == "cpu" else options.threads[:1]:
        torch.set_num_threads(threads)
        bare = 1e3 * many(Bare(LEARNER, shape, options.device).step, options)
        yield step_row("bare: forward, backward, fused Adam", threads, bare, bare)
        yield step_row("ours: fit, augmentation included", threads, fit_time(options), bare)
        exact = Bare(LEARNER, shape, options.device, torch.float64).gradient()
        for name, (precision, half) in ARITHMETICS.items():
            yield precise(name, precision, half, exact, threads, bare, options)
        yield step_row("a loop as one would write it, PIL", threads, plain_time(options), bare)


def many(call: Callable[[], object], options: argparse.Namespace) -> float:
    """Seconds a call, over `--steps` calls at a time."""

    def steps() -> None:
        for _ in range(options.steps):
            call()

    return seconds(steps, options.repeats, options.device) / options.steps


def precise(
    name: str, precision: str, half: bool, exact: Tensor, threads: int, bare: float, options: argparse.Namespace
) -> Row:
    """One arithmetic: its time, and how far its gradient at the start is from that in float64."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        run = Bare(LEARNER, (1, 28, 28), options.device)
        cast = autocast(options.device) if half else nullcontext
        error = float((run.gradient(cast()) - exact).norm() / exact.norm())
        took = 1e3 * many(lambda: run.step(cast()), options)
    finally:
        torch.set_float32_matmul_precision(before)
    return step_row(f"bare, {name}; error of the gradient {error:.1e}", threads, took, bare)


def fit_time(options: argparse.Namespace) -> float:
    """Milliseconds a step of `fit` on images of MNIST's size and number, set-up included."""
    data = AugmentedImages(made(60_000, 28, 1), Crop((28, 28)))
    run = partial(fit, LEARNER, data, seeds=[0], batch_size=BATCH, views=VIEWS, device=options.device)
    steps = 5 * options.steps
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


def step_row(what: str, threads: int, milliseconds: float, bare: float) -> Row:
    return {
        "part": "step",
        "what": what,
        "threads": threads,
        "value": round(milliseconds, 2),
        "unit": "ms/step",
        "against": f"{milliseconds / bare:.2f} of bare",
    }


# ResNet-18.


def resnet(options: argparse.Namespace) -> Iterator[Row]:
    from torch.utils.flop_counter import FlopCounterMode

    device, half = options.device, options.device.startswith("cuda")
    cast: Callable[[], AbstractContextManager] = (
        partial(torch.autocast, "cuda", torch.bfloat16) if half else nullcontext
    )
    threads = torch.get_num_threads()
    run = Bare(SimVAE(**RESNET18, latent_dim=64), (3, 32, 32), device, batch=options.images)
    with FlopCounterMode(display=False) as counter:
        run.step(cast())
    took = seconds(lambda: run.step(cast()), options.repeats, device)
    done, peak = counter.get_total_flops() / took, matmul_peak(device, half)
    kind = "bf16 autocast" if half else "float32"
    about = {"part": "resnet", "threads": threads}
    what = f"ResNet-18 encoder and decoder, 32 x 32, {kind}"
    yield about | {"what": what, "value": round(options.images * VIEWS / took), "unit": "views/s", "against": ""}
    share = f"{done / peak:.0%} of a matrix product's {peak / 1e12:.2f}"
    yield about | {"what": f"{what}: arithmetic", "value": round(done / 1e12, 3), "unit": "TFLOP/s", "against": share}


def matmul_peak(device: str, half: bool) -> float:
    """Operations a second of a large square matrix product."""
    size = 8192 if half else 1024
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16 if half else torch.float32)
    return 2 * size**3 / seconds(lambda: a @ a, 10, device)


# The table.

PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Row]]] = {
    "augmentation": augmentation,
    "step": step,
    "resnet": resnet,
}
COLUMNS = ("what", "threads", "value", "unit", "against")


def conditions(options: argparse.Namespace) -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    gpu = torch.cuda.get_device_name() if options.device.startswith("cuda") else "no GPU used"
    machine = (
        f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {gpu}"
    )
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, PIL {Image.__version__}"
    return f"{datetime.date.today()}; {machine}; {versions}; median of {options.repeats}"


def line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def markdown(rows: list[Row], said: str) -> str:
    head = ["# Views and training steps a second", "", "Command: `python -m speed.benchmarks`. " + said, ""]
    excluded = [paragraph.strip() for paragraph in (__doc__ or "").split("\n\n")[2:3]]
    table = [line(list(COLUMNS)), line(["---"] * len(COLUMNS))]
    table += [line([str(row[column]) for column in COLUMNS]) for row in rows]
    return "\n".join([*head, "```text", *excluded, "```", "", *table]) + "\n"


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="threads, of PIL processes")
    parser.add_argument("--repeats", type=int, default=7, help="measurements of each row")
    parser.add_argument("--steps", type=int, default=40, help="steps a measurement, five times as many for fit")
    parser.add_argument("--images", type=int, default=64, help="images a step, of 2 views, of the ResNet")
    parser.add_argument("--compile", action="store_true", help="also Colour(compiled=True)")
    parser.add_argument("--output", type=Path, help="Markdown file to write, and JSON beside it")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"expected parts among {', '.join(PARTS)}, found {', '.join(sorted(unknown))}")
    usual = list(PARTS) if options.device.startswith("cuda") else ["augmentation", "step"]
    options.parts = options.parts or usual
    return options


def main() -> None:
    options = parsed()
    said, rows = conditions(options), []
    print(said)
    for part in options.parts:
        for row in PARTS[part](options):
            print(line([str(row[column]) for column in COLUMNS]), flush=True)
            rows.append(row)
    if options.output is not None:
        options.output.write_text(markdown(rows, said))
        whole = {"conditions": said, "rows": rows}
        options.output.with_suffix(".json").write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
