"""How fast views are made and networks trained on real images, beside what one would write without this library.

    python -m speed.benchmarks [PART ...] [--device cuda] [--threads 1 2] [--repeats 7] [--compile]
                               [--output speed/results/benchmarks.md]

    augmentation  images a second: ours in batches, and one image at a time through PIL (crop and resize, flip; for
                  colour also brightness, contrast, saturation and hue) on the same cores. Both begin at decoded bytes
                  in memory and end at float tensors, drawing the style included; both have their turn within each
                  repeat, and ratios are medians of those within repeats. Excluded: reading and decoding files,
                  collating PIL's images and sending them between processes.
    step          milliseconds a step of SimVAE with an MLP 784-512-256 and d = 10, 64 images of 2 views: forward,
                  backward and fused Adam alone on fixed tensors; a loop as one would write it; `fit` from bytes to
                  parameters; the bare step in faster arithmetic, with the error of its gradient against float64;
                  `fit` in the fastest of these whose gradient errs by 1e-2 at most, and compiled too (`ssl-bench
                  --precision fastest --compile`). All are timed in turn within each repeat, and what one took over
                  another is a median of ratios within repeats. Every measurement begins at the same weights. Excluded:
                  imports, compiling, and first calls.
    resnet        views a second through ResNet-18 encoder and decoder at 32 x 32, and its arithmetic a second beside
                  a large matrix product's. Fixed tensors; slow without a GPU, hence only where asked for.

Numbers are medians over `--repeats`. The table is printed, and written with a JSON file beside it where `--output`
says so. On a GPU the one-by-one pipelines run on the CPU, and numbers wait for the device.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from PIL import Image

from speed.steps import step
from speed.views import VIEWS, Row, augmentation, seconds
from ssl_theory.benchmarks import arithmetic
from ssl_theory.benchmarks.arithmetic import Step
from ssl_theory.learners import RESNET18, SimVAE

# ResNet-18.


def resnet(options: argparse.Namespace) -> Iterator[Row]:
    from torch.utils.flop_counter import FlopCounterMode

    device, half = options.device, options.device.startswith("cuda")
    threads, precision = torch.get_num_threads(), arithmetic.MIXED if half else arithmetic.EXACT
    run = Step(SimVAE(**RESNET18, latent_dim=64), (3, 32, 32), options.images, device, precision=precision)
    with FlopCounterMode(display=False) as counter:
        run()
    took = seconds(run, options.repeats, device)
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


def markdown(rows: list[Row], said: str, command: str) -> str:
    head = ["# Views and training steps a second", "", f"Command: `{command}`. {said}", ""]
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
    parser.add_argument("--compile", action="store_true", help="also Colour(compiled=True) and fit(compile=True)")
    parser.add_argument("--output", type=Path, help="Markdown file to write, and JSON beside it")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"expected parts among {', '.join(PARTS)}, found {', '.join(sorted(unknown))}")
    usual = list(PARTS) if options.device.startswith("cuda") else ["augmentation", "step"]
    options.parts = options.parts or usual
    return options


def main() -> None:
    options, command = parsed(), shlex.join(["python", "-m", "speed.benchmarks", *sys.argv[1:]])
    said, rows = conditions(options), []
    print(said)
    for part in options.parts:
        for row in PARTS[part](options):
            print(line([str(row[column]) for column in COLUMNS]), flush=True)
            rows.append(row)
    if options.output is not None:
        options.output.write_text(markdown(rows, said, command))
        whole = {"command": command, "conditions": said, "rows": rows}
        options.output.with_suffix(".json").write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
