"""Every method over several devices or machines, one method after the other, by Lightning Fabric.

Each process runs the whole command; the networks' work of a training is divided among them (see
`ssl_theory.learners.parallel`). The first process alone examines and writes; it tells the others what is missing.
On several machines the folder of results has to be one that all of them see.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import distributed

from ssl_theory.benchmarks import arithmetic, run
from ssl_theory.benchmarks.errors import InputError
from ssl_theory.learners import parallel
from ssl_theory.learners.parallel import Fabric


def launched(device: str, devices: int, nodes: int, precision: str) -> Fabric:
    """So many processes on each of so many machines; the others of this machine are started here."""
    layers = precision if precision == arithmetic.MIXED else arithmetic.EXACT  # products are up to each training
    try:
        return parallel.launch(accelerator=device, devices=devices, num_nodes=nodes, precision=layers)
    except Exception as error:  # Fabric's own one for a wrong configuration derives from nothing narrower
        if not isinstance(error, RuntimeError | ValueError) and type(error).__name__ != "MisconfigurationException":
            raise
        raise InputError(
            f"--devices {devices} --nodes {nodes} --precision {precision} on {device}: not to be had here ({error})"
        ) from error


def lead(missing: Sequence[run.Job], report: run.Report, fabric: Fabric) -> None:
    """In the first process: evaluate the jobs, the others helping."""
    _told([job.entry.name for job in missing], fabric)
    for job in missing:
        run.evaluate(job, report, fabric)


def follow(jobs: Sequence[run.Job], fabric: Fabric) -> None:
    """In every other process: help with the jobs that the first one names."""
    names = _told([], fabric)
    for job in jobs:
        if job.entry.name in names:
            run.train(job, lambda *_: None, fabric)


def _told(names: list[str], fabric: Fabric) -> list[str]:
    """The first process's names, in all of them."""
    said = [names]
    if fabric.world_size > 1:
        distributed.broadcast_object_list(said, src=0, device=fabric.device)
    return said[0]
