"""What two processes make of every learner, for test_parallel: `python -m tests.learners.divided FOLDER`."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ssl_theory.learners import Learner, Pool, SimCLR, fit, parallel
from ssl_theory.learners.ensemble import Training
from ssl_theory.learners.members import Members
from tests.learners.toy import ALL, FEW, POINTS, SMALL, Toy

SEEDS = (3, 1)
STEPS = 6
CONV: dict[str, Any] = {"network": "conv", "hidden": (3, 4), "batch_norm": True, "latent_dim": 3}


def world(learner: Learner) -> Any:
    return Pool(Toy(), POINTS, views=4) if learner.target == "index" else Toy()


def gradients(learner: Learner, fabric: parallel.Fabric | None) -> dict[str, Tensor]:
    """Of the first step; Adam's first average of them is a tenth of each."""
    members, place = Members.of(learner, SEEDS), torch.device("cpu")
    samplers = [world(learner)] * len(SEEDS)
    run = Training(members, samplers, 16, 2, place, torch.float64, 50, parallel.Ranks(fabric))
    run.advance_to(1, None, None, 1)
    named = [(name, p) for name, p in run.modules.named_parameters() if p.requires_grad]
    return {name: 10 * run.optimiser.state[p]["exp_avg"] for name, p in named if p in run.optimiser.state}


def trained(learner: Learner, fabric: parallel.Fabric | None, **options: Any) -> dict[str, Any]:
    given = FEW | {"steps": STEPS, "seeds": SEEDS, "log_every": 2} | options
    fitted = fit(learner, world(learner), fabric=fabric, **given)
    state = {name: t for name, t in fitted.modules.state_dict().items() if "steps" not in name}
    return {"state": state, "history": fitted.history, "diverged": fitted.diverged}


def images(fabric: parallel.Fabric | None) -> dict[str, Any]:
    options: dict[str, Any] = {"seeds": SEEDS, "steps": STEPS, "batch_size": 8, "dtype": torch.float64}
    fitted = fit(SimCLR(**CONV), Toy(shape=(1, 6, 6)), fabric=fabric, **options)
    return {"state": fitted.modules.state_dict(), "history": fitted.history, "diverged": fitted.diverged}


def refusals(fabric: parallel.Fabric) -> dict[str, str]:
    """Complaints of runs that cannot be divided, or are not the same everywhere."""
    trials: dict[str, Any] = {
        "batch": lambda: trained(ALL["SimCLR"], fabric, batch_size=15),
        "run": lambda: fit(SimCLR(**SMALL), Toy(fabric.global_rank), steps=1, seeds=SEEDS, fabric=fabric, **FEW),
    }
    said = {}
    for name, trial in trials.items():
        with pytest.raises(ValueError, match="expected") as error:
            trial()
        said[name] = str(error.value)
    return said


def main(folder: Path) -> None:
    fabric = parallel.launch(devices=2, accelerator="cpu")
    found: dict[str, Any] = {
        "gradients": {name: gradients(learner, fabric) for name, learner in ALL.items()},
        "trained": {name: trained(learner, fabric) for name, learner in ALL.items()},
        "images": images(fabric),
        "diverged": trained(SimCLR(**SMALL, temperature=float("nan")), fabric),
        "refusals": refusals(fabric),
    }
    path = folder / "run"
    trained(ALL["SimCLR"], fabric, steps=3, checkpoint=path, checkpoint_every=2)
    found["resumed"] = trained(ALL["SimCLR"], fabric, checkpoint=path)
    torch.save(found, folder / f"{fabric.global_rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
