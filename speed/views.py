"""Part `augmentation` of `speed.benchmarks`: views a second, ours in batches and one image at a time through PIL."""

from __future__ import annotations

import argparse
import math
import multiprocessing
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from ssl_theory.benchmarks.augmentation import Augmentation, AugmentedImages, Chain
from ssl_theory.benchmarks.data import Images
from ssl_theory.benchmarks.published import Colour, Crop

Row = dict[str, Any]
SIZES = ((28, 1), (32, 3), (64, 3), (256, 3))  # pixels, channels
VIEWS = 2
PIL = "PIL, image by image"


def made(n: int, size: int, channels: int, seed: int = 0) -> Images:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (n, channels, size, size), generator=generator, dtype=torch.uint8)
    return Images(pixels, torch.zeros(n, dtype=torch.int64))


def seconds(call: Callable[[], object], repeats: int, device: str = "cpu") -> float:
    """Median of the clock's seconds, after a call that is not counted."""
    return statistics.median(in_turn({"": call}, repeats, device)[""])


def in_turn(calls: dict[str, Callable[[], object]], repeats: int, device: str = "cpu") -> dict[str, list[float]]:
    """The clock's seconds of each call, repeat by repeat, after a round that is not counted. In every repeat all have
    their turn, so that a machine whose pace changes changes it for all of them."""
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats + 1):
        for name, call in calls.items():
            wait()
            start = time.perf_counter()
            call()
            wait()
            times[name].append(time.perf_counter() - start)
    return {name: each[1:] for name, each in times.items()}


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
            with pil(n, size, channels, threads) as plain:
                made_by = {PIL: plain} | {name: drawing(n, size, channels, how, options) for name, how in ours.items()}
                took = in_turn({name: made.call for name, made in made_by.items()}, options.repeats, options.device)
            rates = {name: [made_by[name].images / each for each in times] for name, times in took.items()}
            for name in rates:
                yield views_row(name, size, channels, threads, rates)


@dataclass(frozen=True)
class Drawing:
    """What is timed: a call that makes so many images."""

    call: Callable[[], object]
    images: int


def drawing(n: int, size: int, channels: int, how: Augmentation, options: argparse.Namespace) -> Drawing:
    """Ours, in batches."""
    data = AugmentedImages(made(n, size, channels), how).to(options.device)
    generator = torch.Generator(options.device).manual_seed(0)
    return Drawing(partial(data.sample, n // VIEWS, views=VIEWS, generator=generator), n // VIEWS * VIEWS)


@contextmanager
def pil(n: int, size: int, channels: int, processes: int) -> Iterator[Drawing]:
    """So many processes at once, each with images of its own; nothing is sent between them."""
    few = max(8, n // 4)
    if processes == 1:
        yield Drawing(partial(by_pil, few, size, channels), few)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        work = [(few, size, channels, seed) for seed in range(processes)]
        yield Drawing(lambda: pool.starmap(by_pil, work, chunksize=1), few * processes)


def views_row(name: str, size: int, channels: int, threads: int, rates: dict[str, list[float]]) -> Row:
    """The median, and the median of its ratios to PIL's in the same repeat."""
    images = f"{size} x {size} {'grey' if channels == 1 else 'colour'}"
    ratio = statistics.median(a / b for a, b in zip(rates[name], rates[PIL], strict=True))
    return {
        "part": "augmentation",
        "what": f"{images}, {name}",
        "threads": threads,
        "value": round(statistics.median(rates[name])),
        "unit": "images/s",
        "against": f"{ratio:.1f} of PIL",
    }
