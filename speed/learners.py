"""How fast ensembles train: E seeds as one batched computation against a plain loop over seeds, on the CPU.

`python speed/learners.py [--seeds 10] [--steps 2000] [--loop-steps 256]` prints one table and writes it, with the
machine, versions and date, to `speed/results/learners.json`. Threads are torch's own: set OMP_NUM_THREADS.
The loop trains ordinary `torch.nn` layers one seed after another, with the same loss, data, batch and optimiser.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from ssl_theory.learners import VAE, Learner, SimCLR, SimVAE, VICReg, fit
from ssl_theory.losses import contrastive
from synthetic import World, preset

RESULTS = Path(__file__).parent / "results" / "learners.json"
LEARNERS: dict[str, Learner] = {
    "SimCLR": SimCLR(),
    "SimCLR, head 128-10": SimCLR(head=(128, 10)),
    "VICReg": VICReg(),
    "VAE": VAE(),
    "SimVAE": SimVAE(),
}


def plain(world: World, seed: int, steps: int, batch_size: int = 128) -> nn.Module:
    """SimCLR as one would write it for one seed: ordinary layers, fresh data drawn at each step."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    widths = (world.observation_dim, 128, 128, 128)
    layers = [m for i, o in pairwise(widths) for m in (nn.Linear(i, o), nn.ReLU(inplace=True))]
    encoder = nn.Sequential(*layers, nn.Linear(128, 10))
    optimiser = torch.optim.Adam(encoder.parameters(), lr=1e-3, fused=True)
    for _ in range(steps):
        x = world.sample(batch_size, views=2, generator=generator).x
        loss = contrastive.info_nce(encoder(x), temperature=0.5)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        loss.item()  # as a loop that logs its loss does
    return encoder


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor


def row(method: str, seeds: int, steps: int, seconds: tuple[float, float], wanted: int) -> dict[str, object]:
    wall, processor = (value * wanted / steps for value in seconds)
    return {
        "method": method,
        "seeds": seeds,
        "steps measured": steps,
        "seconds": round(wall, 1),
        "processor seconds": round(processor, 1),
        "model-steps a second": round(seeds * wanted / wall),
        "load before": round(os.getloadavg()[0], 1),
    }


def measure(seeds: int, steps: int, loop_steps: int) -> list[dict[str, object]]:
    """One row a method; seconds are scaled to `steps` steps where fewer were run."""
    world = preset("block", 0)
    fit(SimCLR(), world, steps=3, seeds=range(seeds), device="cpu")  # first calls pay for set-up
    rows = []
    for name, learner in LEARNERS.items():
        count = steps if name == "SimCLR" else loop_steps
        run = partial(fit, learner, world, steps=count, seeds=range(seeds), device="cpu")
        rows.append(row(f"ensemble, {name}", seeds, count, timed(run), steps))
    loop = timed(lambda: [plain(world, seed, loop_steps) for seed in range(seeds)])
    return [*rows, row("loop over seeds, SimCLR", seeds, loop_steps, loop, steps)]


def machine() -> dict[str, object]:
    """What the numbers depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": date.today().isoformat(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--loop-steps", type=int, default=256, help="steps measured for all but SimCLR")
    chosen = parser.parse_args()
    about, rows = machine(), measure(chosen.seeds, chosen.steps, chosen.loop_steps)
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(f"seconds for {chosen.seeds} seeds of {chosen.steps} steps, batch 128, 2 views, MLP 16-128-128-128-10")
    for entry in rows:
        print(
            f"{entry['method']:<32}{entry['seconds']:>8} s wall {entry['processor seconds']:>8} s processor "
            f"{entry['model-steps a second']:>6} model-steps/s   load {entry['load before']}"
        )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
