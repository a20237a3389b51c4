"""Does what is called lost depend on the probe? Style R^2 of the same representations by probes of several strengths.

    python -m speed.probes [--method SwAV --method BYOL] [--seeds 5] [--output speed/results/probes.md]

A measure of what a representation holds should not change when the representation is turned or rescaled, by an
invertible linear map. Ridge and the MLP probe read columns of unit variance, but not of no correlation: directions of
small variance, in which deterministic encoders can hide what their loss does not ask for, are learned last. So beside
the usual steps: more of them, and the representation whitened first (columns uncorrelated and of unit variance on the
fitted half). Early stopping chooses on rows held out from that half, so that longer fits cannot read what is not there.
The claims read style by the better of an MLP and kernel ridge, chosen on those rows: "nonlinear".

Encoders are functions, and a function that is nearly one-to-one tells everything to a probe that is good enough. How
large is what they tell? With noise of a share of its standard deviation in each column only what is larger is left.

World `block`, 2,000 steps of 64 data points; 6,000 fresh ones, half fitted, half scored.
"""

from __future__ import annotations

import platform
import shlex
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from jaxtyping import Float
from torch import Tensor

from paper_checks.finding import Finding
from paper_checks.trained import METHODS, OBSERVATION, fresh, noisy, of_name, represented, sampler
from ssl_theory.analysis import perceptron, r2
from ssl_theory.learners import fit

METHOD = [OBSERVATION, "Random", "SimCLR", "VICReg", "SwAV", "DINO", "MoCo", "BYOL", "VAE", "SimVAE, Gaussian prior"]
LONG = 2400
RESULTS = Path(__file__).parent / "results" / "probes.md"


Seen = Callable[[Float[Tensor, "E n d"], int], Float[Tensor, "E n d"]]
"""What a probe sees of a representation of which so many rows are fitted."""


def itself(z: Float[Tensor, "E n d"], _: int) -> Float[Tensor, "E n d"]:
    return z


def whitened(z: Float[Tensor, "E n d"], fitted: int) -> Float[Tensor, "E n d"]:
    """Uncorrelated columns of unit variance on the first rows; directions without variance are left out."""
    z = z.double()
    centred = z - z[:, :fitted].mean(1, keepdim=True)
    variances, directions = torch.linalg.eigh(centred[:, :fitted].mT @ centred[:, :fitted] / fitted)
    kept = variances > 1e-10 * variances[:, -1:]
    scale = torch.where(kept, variances, torch.inf).rsqrt()
    return (centred @ directions * scale[:, None]).float()


PROBES: dict[str, tuple[Seen, dict[str, Any]]] = {
    "ridge": (itself, {"kind": "linear"}),
    "kernel ridge": (itself, {"kind": "kernel"}),
    f"MLP, {perceptron.STEPS} steps": (itself, {"kind": "mlp"}),
    f"MLP, {LONG} steps": (itself, {"kind": "mlp", "steps": LONG}),
    "nonlinear": (itself, {"kind": "nonlinear"}),
    "kernel ridge, whitened": (whitened, {"kind": "kernel"}),
    f"MLP, {perceptron.STEPS} steps, whitened": (whitened, {"kind": "mlp"}),
    f"MLP, {LONG} steps, whitened": (whitened, {"kind": "mlp", "steps": LONG}),
    "nonlinear, noise 0.03": (partial(noisy, share=0.03), {"kind": "nonlinear"}),
    "nonlinear, noise 0.1": (partial(noisy, share=0.1), {"kind": "nonlinear"}),
    "nonlinear, noise 0.3": (partial(noisy, share=0.3), {"kind": "nonlinear"}),
}


def representations(method: str, seeds: int, points: int, steps: int) -> tuple[Tensor, Tensor]:
    """Of fresh data, (E, n, d), one world and one training a seed; and their style."""
    worlds = [of_name("block", seed) for seed in range(seeds)]
    drawn = [fresh(world, points, seed) for seed, world in enumerate(worlds)]
    x, style = torch.stack([data.x for data in drawn]), torch.stack([data.style[:, 0] for data in drawn])
    if method == OBSERVATION:
        return x[:, :, 0], style
    learner = METHODS[method]()
    samplers = [sampler(learner, world, seed, "true") for seed, world in enumerate(worlds)]
    trained = fit(learner, samplers, steps=0 if method == "Random" else steps, seeds=range(seeds), batch_size=64)
    return represented(trained, x, "representation")[:, :, 0], style


def scores(z: Tensor, style: Tensor) -> list[str]:
    """Mean over seeds and half of its 95 % interval, a probe each."""
    half, cells = z.shape[1] // 2, []
    for look, options in PROBES.values():
        seen = look(z, half)
        found = np.asarray(r2(seen[:, :half], style[:, :half], test=(seen[:, half:], style[:, half:]), **options))
        finding = Finding.from_seeds("R2", found.tolist(), ">=", 0.0, reason="")
        cells.append(f"{finding.estimate:.3f} ± {(finding.high - finding.low) / 2:.3f}")
    return cells


def main(
    method: Annotated[list[str] | None, typer.Option(help="Of `paper_checks.trained.METHODS`, or observation.")] = None,
    seeds: Annotated[int, typer.Option(min=2)] = 5,
    points: Annotated[int, typer.Option(min=100)] = 6000,
    steps: Annotated[int, typer.Option(min=1)] = 2000,
    output: Annotated[Path, typer.Option(help="Where the table is written.")] = RESULTS,
) -> None:
    """Train, probe, print, write."""
    chosen = method or METHOD
    if unknown := [name for name in chosen if name not in {*METHODS, OBSERVATION}]:
        raise typer.BadParameter(f"unknown method {unknown[0]!r}: choose among {', '.join([OBSERVATION, *METHODS])}")
    if not output.parent.is_dir():
        raise typer.BadParameter(f"--output {output}: no folder {output.parent}; make it, or name another file")
    torch.set_num_threads(1)
    command = f"python -m speed.probes --seeds {seeds} --steps {steps} --points {points}"
    command += "".join(f" --method {shlex.quote(name)}" for name in method or ())
    lines = [
        "# Style R² of the same representations, by the probe\n",
        f"`{command}`; {date.today()}, torch {torch.__version__}, {platform.machine()}; "
        f"world block, {steps:,} steps of 64 data points, {points:,} to probe; mean over seeds ± half of the 95 % "
        "interval.\n",
        f"| representation | {' | '.join(PROBES)} |",
        "|---" * (1 + len(PROBES)) + "|",
    ]
    for name in chosen:
        lines.append(f"| {name} | {' | '.join(scores(*representations(name, seeds, points, steps)))} |")
        print(lines[-1], flush=True)
        output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    typer.run(main)
