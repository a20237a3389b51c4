"""How many sprites are drawn in a second: by shape, and as every shape with the right one picked.

    python -m speed.sprites [--device cuda] [--size 64] [--channels 1 3] [--images 1024] [--threads 1 2] [--compile]
                            [--output speed/results/sprites.txt]

Images are drawn in batches of `--images`, factors as `SpriteWorld` draws them; numbers are medians over `--repeats`
batches, after one that is not counted. Every view of a datum is an image. Besides the clock's seconds stand the
processor's (of all threads, user and system): on a machine that others use too they say more. The table is printed
and written to `--output`. Promised: 20,000 grey images of 64 x 64 a second on two CPU cores.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from synthetic.rendering import SHAPES, render
from synthetic.sprites import SpriteWorld

RESULTS = Path(__file__).parent / "results" / "sprites.txt"


def main() -> None:
    options = _options()
    lines = []
    for line in _table(options):
        print(line, flush=True)
        lines.append(line)
    options.output.write_text("\n".join(lines) + "\n")


def _table(options: argparse.Namespace) -> Iterator[str]:
    yield _conditions(options)
    yield f"{'what':<32} {'channels':>8} {'threads':>7} {'images/s':>12} {'per core second':>16}"
    for threads in options.threads if options.device == "cpu" else [torch.get_num_threads()]:
        torch.set_num_threads(threads)
        for channels in options.channels:
            for what, call in _cases(options, channels):
                clock, processor = _seconds(call, options.device, options.repeats)
                rates = f"{options.images / clock:>12,.0f} {options.images / processor:>16,.0f}"
                yield f"{what:<32} {channels:>8} {threads:>7} {rates}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="device to draw on (cpu, cuda)")
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--channels", type=int, nargs="+", default=[1, 3], help="1 (grey), 3 (with hue)")
    parser.add_argument("--images", type=int, default=1024, help="images a batch")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="threads, on the cpu")
    parser.add_argument("--repeats", type=int, default=15, help="batches timed")
    parser.add_argument("--shapes", action="store_true", help="also each shape alone")
    parser.add_argument("--compile", action="store_true", help="also torch.compile of drawing every shape")
    parser.add_argument("--output", type=Path, default=RESULTS, help="file that the table is written to")
    return parser.parse_args()


def _conditions(options: argparse.Namespace) -> str:
    gpu = torch.cuda.get_device_name() if options.device.startswith("cuda") else "no GPU used"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {gpu}"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    work = f"{options.images} images of {options.size} x {options.size}, float32, median of {options.repeats}"
    return f"{datetime.date.today()}; {machine}; {versions}\n{work}\n"


def _cases(options: argparse.Namespace, channels: int) -> Iterator[tuple[str, Callable[[], object]]]:
    hue = (0.0, 6.283) if channels == 3 else None
    world = SpriteWorld(size=options.size, channels=channels, hue=hue).to(options.device)
    generator = torch.Generator(options.device).manual_seed(0)
    seen = world.sample(options.images, views=1, generator=generator)
    index, z = seen.z[:, 0, 0].long(), seen.z[:, 0]

    def draw(index: Tensor = index, grouped: bool = True) -> Tensor:
        x, y, scale, rotation, brightness, background = z[:, -6:].unbind(-1)
        light = (brightness, background, z[:, 1] if hue else None)
        return render(index, x, y, scale, rotation, *light, size=options.size, channels=channels, grouped=grouped)

    def differentiate() -> None:
        world.render(seen.z.clone().requires_grad_()).square().sum().backward()

    yield "sample (factors and images)", lambda: world.sample(options.images, views=1, generator=generator)
    yield "render, by shape", draw
    yield "render, every shape, pick one", partial(draw, grouped=False)
    yield "render and gradient, by shape", differentiate
    if options.compile:
        compiled = torch.compile(draw)
        yield "compiled, every shape, pick one", partial(compiled, grouped=False)
    for number, name in enumerate(SHAPES) if options.shapes else ():
        yield f"render, {name} alone", partial(draw, torch.full_like(index, number))


def _seconds(call: Callable[[], object], device: str, repeats: int) -> tuple[float, float]:
    """Medians of the clock's and of the processor's seconds."""
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    times = []
    for _ in range(repeats + 1):
        wait()
        start = time.perf_counter(), time.process_time()
        call()
        wait()
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    clock, processor = zip(*times[1:], strict=True)
    return statistics.median(clock), statistics.median(processor)


if __name__ == "__main__":
    main()
