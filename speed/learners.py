"""How fast ensembles train on the CPU, against a plain loop, a published setting, and one process a core.

`python speed/learners.py [PART ...]` prints a table a part and puts it, with the machine, versions and date, into
`speed/results/learners.json`; parts that are not named keep what they had there.

    ensemble    E seeds at once against ordinary `torch.nn` layers one seed after another, same loss and data
    published   against one model with batches of 6,144 and negatives drawn anew, at equal accuracy of a linear probe
    processes   ensembles in one process a core against lone runs in one process a core (needs every core idle)
    conv        the members' convolutions as groups of one against one after another
    device      many seeds on a GPU (on the CPU where there is none): plain, compiled, and a loop over seeds, beside
                what the machine's measured rates of matrix product and of copying would allow

Threads are torch's own: set OMP_NUM_THREADS. In `processes` each process has one.
"""

import argparse
import json
import multiprocessing as mp
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_theory.analysis import probes
from ssl_theory.learners import VAE, Learner, SimCLR, SimVAE, VICReg, fit
from ssl_theory.losses import contrastive
from ssl_theory.models.conv import Conv2d
from synthetic import World, preset

Row = dict[str, object]
RESULTS = Path(__file__).parent / "results" / "learners.json"
LEARNERS: dict[str, Learner] = {
    "SimCLR": SimCLR(),
    "SimCLR, head 128-10": SimCLR(head=(128, 10)),
    "VICReg": VICReg(),
    "VAE": VAE(),
    "SimVAE": SimVAE(),
}


# Ensemble against a loop over seeds.


def mlp(world: World, seed: int) -> nn.Sequential:
    """The default encoder as ordinary layers."""
    torch.manual_seed(seed)
    widths = (world.observation_dim, 128, 128, 128)
    layers = [m for i, o in pairwise(widths) for m in (nn.Linear(i, o), nn.ReLU(inplace=True))]
    return nn.Sequential(*layers, nn.Linear(128, 10))


def plain(world: World, seed: int, steps: int, batch_size: int = 128) -> nn.Module:
    """SimCLR as one would write it for one seed: ordinary layers, fresh data drawn at each step."""
    generator = torch.Generator().manual_seed(seed)
    encoder = mlp(world, seed)
    optimiser = torch.optim.Adam(encoder.parameters(), lr=1e-3, fused=True)
    for _ in range(steps):
        x = world.sample(batch_size, views=2, generator=generator).x
        loss = contrastive.info_nce(encoder(x), temperature=0.5)
        descend(optimiser, loss)
    return encoder


def descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    loss.item()  # as a loop that logs its loss does


def ensemble(seeds: int, steps: int, loop_steps: int) -> list[Row]:
    """One row a method; seconds are scaled to `steps` steps where fewer were run."""
    world = preset("block", 0)
    fit(SimCLR(), world, steps=3, seeds=range(seeds), device="cpu")  # first calls pay for set-up
    rows = []
    for name, learner in LEARNERS.items():
        count = steps if name == "SimCLR" else loop_steps
        run = partial(fit, learner, world, steps=count, seeds=range(seeds), device="cpu")
        rows.append(timing(f"ensemble, {name}", seeds, count, timed(run), steps))
    loop = timed(lambda: [plain(world, seed, loop_steps) for seed in range(seeds)])
    return [*rows, timing("loop over seeds, SimCLR", seeds, loop_steps, loop, steps)]


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor


def timing(method: str, seeds: int, steps: int, seconds: tuple[float, float], wanted: int) -> Row:
    wall, processor = (value * wanted / steps for value in seconds)
    return {
        "method": method,
        "seeds": seeds,
        "steps measured": steps,
        f"seconds for {wanted} steps": round(wall, 1),
        "processor seconds": round(processor, 1),
        "model-steps a second": round(seeds * wanted / wall, 1),
        "load before": round(os.getloadavg()[0], 1),
    }


# A published setting, at equal accuracy.

PUBLISHED_BATCH = 6144


def resampling(encoder: nn.Module, world: World, generator: torch.Generator, batch_size: int) -> Tensor:
    """`-d(z, z') + log mean exp d` over fresh negatives and the pair, d = -|z - z'|^2: temperature 1, no unit vectors.

    The loss and batch of the numerical experiments of von Kuegelgen et al. (2021, arXiv 2106.04619). Squared distances
    are by matrix product; their broadcast difference would hold d times as many numbers and be slower.
    """
    x = world.sample(batch_size, views=2, generator=generator).x
    negatives = world.sample(batch_size, views=1, generator=generator).x[:, 0]
    anchor, positive, other = encoder(x[:, 0]), encoder(x[:, 1]), encoder(negatives)
    apart = (anchor - positive).square().sum(-1)
    square = anchor.square().sum(-1, keepdim=True) + other.square().sum(-1)
    scores = torch.addmm(square.neg(), anchor, other.T, alpha=2)
    return (apart + torch.cat([scores, -apart[:, None]], 1).logsumexp(1)).mean()


def published(steps: int, most: int, seeds: int = 10) -> list[Row]:
    """One model in the published setting, and the ensemble trained until its mean probe is as accurate."""
    world, generator = preset("block", 0), torch.Generator().manual_seed(0)
    encoder = mlp(world, 0)
    optimiser = torch.optim.Adam(encoder.parameters(), lr=1e-3, fused=True)  # theirs, 1e-4, is slower to get there

    def train(count: int) -> None:
        for _ in range(count):
            descend(optimiser, resampling(encoder, world, generator, PUBLISHED_BATCH))

    descend(optimiser, resampling(encoder, world, generator, 256))  # first calls pay for set-up
    spent = timed(lambda: train(steps))
    accuracy = content(lambda x: encoder(x)[None], world)
    theirs = reached("one model, batch 6144, negatives drawn anew", 1, PUBLISHED_BATCH, steps, spent, accuracy)
    return [theirs, equally_accurate(world, accuracy, most, seeds)]


def equally_accurate(world: World, wanted: float, most: int, seeds: int, every: int = 50) -> Row:
    """Our SimCLR after the fewest steps (a multiple of `every`) at which its members' mean accuracy is `wanted`."""
    with tempfile.TemporaryDirectory() as folder:
        for steps in range(every, most + 1, every):
            fitted = fit(
                SimCLR(), world, steps=steps, seeds=range(seeds), device="cpu", checkpoint=Path(folder) / "run"
            )
            accuracy = content(fitted.transform, world)
            if accuracy >= wanted:
                break
    spent = timed(lambda: fit(SimCLR(), world, steps=steps, seeds=range(seeds), device="cpu"))
    return reached(f"ensemble of {seeds}, SimCLR, batch 128", seeds, 128, steps, spent, accuracy)


@torch.no_grad()
def content(represent: Callable[[Tensor], Tensor], world: World, points: int = 4000) -> float:
    """Mean accuracy over members of a linear probe of the label, fitted on half of fresh data points."""
    drawn = world.sample(points, views=1, generator=torch.Generator().manual_seed(1 << 20))
    half, z, label = points // 2, represent(drawn.x[:, 0]), drawn.label
    assert label is not None
    test = (z[:, half:], label[half:])
    return float(torch.as_tensor(probes.accuracy(z[:, :half], label[:half], test=test)).mean())


def reached(method: str, models: int, batch: int, steps: int, spent: tuple[float, float], accuracy: float) -> Row:
    return {
        "method": method,
        "models": models,
        "steps": steps,
        "label accuracy, linear probe": round(accuracy, 3),
        "seconds": round(spent[0], 1),
        "model-steps a second": round(models * steps / spent[0], 2),
        "data points a second": round(models * steps * batch / spent[0]),
        "seconds a model to this accuracy": round(spent[0] / models, 2),
    }


# One process a core.


def processes(seeds: int, steps: int, rounds: int = 3) -> list[Row]:
    """The same seeds over as many processes of one thread as there are cores: as ensembles, and run by run.

    The fastest of several rounds that take turns, as other work on the machine slows now the one, now the other.
    """
    cores, load = os.cpu_count() or 1, os.getloadavg()[0]
    shares = [list(range(core, seeds, cores)) for core in range(cores)]
    ways = {f"ensembles in {cores} processes": False, f"lone runs in {cores} processes": True}
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, apart in ways.items():
            best[name] = min(best[name], crowd(shares, steps, apart))
    return [
        {
            "method": name,
            "seeds": seeds,
            "steps": steps,
            "seconds": round(wall, 1),
            "model-steps a second": round(seeds * steps / wall, 1),
            "load before": round(load, 1),
        }
        for name, wall in best.items()
    ]


def crowd(shares: Sequence[Sequence[int]], steps: int, apart: bool) -> float:
    """Wall-clock seconds from the moment all processes are ready to the last one's end."""
    context = mp.get_context("spawn")
    barrier, ends = context.Barrier(len(shares) + 1), context.Queue()
    crew = [context.Process(target=member, args=(share, steps, apart, barrier, ends)) for share in shares]
    for process in crew:
        process.start()
    barrier.wait()
    start = time.monotonic()
    last = max(ends.get() for _ in crew)
    for process in crew:
        process.join()
    return last - start


def member(share: Sequence[int], steps: int, apart: bool, barrier: Any, ends: Any) -> None:
    torch.set_num_threads(1)
    world = preset("block", 0)
    groups = [[seed] for seed in share] if apart else [list(share)]
    fit(SimCLR(), world, steps=3, seeds=groups[0], device="cpu")
    barrier.wait()
    for group in groups:
        fit(SimCLR(), world, steps=steps, seeds=group, device="cpu")
    ends.put(time.monotonic())


# Convolutions.


def conv(members: int, repeats: int) -> list[Row]:
    """Forward and backward of one layer, batch 64: (inputs, outputs, pixels, stride) from few channels to many."""
    rows = []
    for inputs, outputs, pixels, stride in ((1, 16, 28, 2), (3, 32, 32, 2), (32, 64, 16, 2), (64, 64, 16, 1)):
        layer = Conv2d(inputs, outputs, range(members), stride=stride)
        x = torch.randn(members, 64, inputs, pixels, pixels, requires_grad=True)
        shape = f"{inputs} to {outputs} channels, {pixels}x{pixels}, stride {stride}"
        ways: dict[str, Callable[[Tensor], Tensor]] = {
            "one after another": layer.one_by_one,
            "grouped": layer.grouped,
            "chosen": layer,
        }
        rows.append({"layer": shape, "members": members} | alternating(ways, x, repeats))
    return rows


def alternating(ways: dict[str, Callable[[Tensor], Tensor]], x: Tensor, repeats: int) -> dict[str, float]:
    """Milliseconds of each way's forward and backward: the fastest of several rounds that take turns."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats):
        for name, way in ways.items():
            best[name] = min(best[name], timed(lambda way=way: way(x).sum().backward())[0])  # type: ignore[misc]
    return {f"{name}, ms": round(1e3 * seconds, 2) for name, seconds in best.items()}


# Many seeds on a device, and its roofline.


def on_device(seeds: int, steps: int, loop_steps: int, batch_size: int = 256) -> list[Row]:
    """Model-steps a second; the loop over seeds is measured with fewer steps of one seed."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    world = preset("block", 0).to(device)
    train = partial(fit, SimCLR(), world, batch_size=batch_size, device=device)
    rows: list[Row] = []
    for name, compiled in (("plain", False), ("compiled", True)):
        with tempfile.TemporaryDirectory() as folder:  # the first steps pay for set-up and compilation
            run = partial(train, seeds=range(seeds), checkpoint=Path(folder) / "run", compile=compiled)
            run(steps=50)
            spent = timed(lambda run=run: run(steps=50 + steps))[0]  # type: ignore[misc]
        rows.append({"method": f"ensemble of {seeds}, {name}", "model-steps a second": round(seeds * steps / spent)})
    train(steps=3, seeds=[0])
    alone = timed(lambda: train(steps=loop_steps, seeds=[0]))[0]
    rows.append({"method": "loop over seeds", "model-steps a second": round(loop_steps / alone)})
    return [*rows, *roofline(world.observation_dim, seeds, 2 * batch_size, device)]


def roofline(inputs: int, members: int, points: int, device: str) -> list[Row]:
    """What the machine's own rates allow: arithmetic of the layers, and the least that Adam reads and writes."""
    widths = (inputs, 128, 128, 128, 10)
    weights = sum(i * o for i, o in pairwise(widths))
    x, w = torch.randn(members, points, 128, device=device), torch.randn(members, 128, 128, device=device)
    large = torch.randn(2**26, device=device)
    product = 2 * x.numel() * 128 / repeated(lambda: x @ w, device)
    copied = 2 * large.nbytes / repeated(lambda: large.clone(), device)
    by_products = product / (6 * weights * points)  # forward, and backward by inputs and by weights
    by_copies = copied / (7 * 4 * weights)  # parameter, gradient and two moments read, all but the gradient written
    return [
        {"method": f"roofline: products at {product / 1e12:.2f} TFLOP/s", "model-steps a second": round(by_products)},
        {"method": f"roofline: Adam at {copied / 1e9:.0f} GB/s", "model-steps a second": round(by_copies)},
    ]


def repeated(call: Callable[[], object], device: str, times: int = 20) -> float:
    """Seconds of a call, the mean of several after two that are not counted."""

    def several(count: int) -> None:
        for _ in range(count):
            call()
        if device == "cuda":
            torch.cuda.synchronize()

    several(2)
    return timed(lambda: several(times))[0] / times


# The table.


def machine() -> Row:
    """What the numbers depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": date.today().isoformat(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("parts", nargs="*", metavar="PART", help="those above; all but device by default")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--loop-steps", type=int, default=256, help="steps measured for all but the ensemble of SimCLR")
    parser.add_argument("--published-steps", type=int, default=60)
    parser.add_argument("--device-seeds", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=20, help="rounds of the convolutions")
    chosen = parser.parse_args()
    parts: dict[str, Callable[[], list[Row]]] = {
        "ensemble": lambda: ensemble(chosen.seeds, chosen.steps, chosen.loop_steps),
        "published": lambda: published(chosen.published_steps, chosen.steps, chosen.seeds),
        "processes": lambda: processes(chosen.seeds, chosen.loop_steps),
        "conv": lambda: conv(chosen.seeds, chosen.repeats),
        "device": lambda: on_device(chosen.device_seeds, chosen.loop_steps, chosen.loop_steps),
    }
    if unknown := set(chosen.parts) - set(parts):
        parser.error(f"expected parts among {', '.join(parts)}, found {', '.join(sorted(unknown))}")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in chosen.parts or [part for part in parts if part != "device"]:
        rows = parts[name]()
        results[name] = {"machine": machine(), "rows": rows}
        print(f"\n{name}: " + ", ".join(f"{key} {value}" for key, value in machine().items()))
        for row in rows:
            print("  " + ", ".join(f"{key} {value}" if i else str(value) for i, (key, value) in enumerate(row.items())))
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps({part: results[part] for part in parts if part in results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
