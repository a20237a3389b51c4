"""One command's work: the methods of all its data sets as one list, and a data set's table as soon as it has all of its
own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ssl_theory.benchmarks import arithmetic, board, cache, report, run
from ssl_theory.benchmarks.cache import Result
from ssl_theory.benchmarks.errors import InputError
from ssl_theory.benchmarks.progress import FINISHED, shown
from ssl_theory.benchmarks.run import Job, Report


@dataclass(frozen=True)
class Bench:
    """A data set's methods, and the folder of its results."""

    folder: Path
    jobs: list[Job]

    def results(self) -> dict[str, Result]:
        """Of every method, once all are done."""
        return {job.method.key: run.stored(job) for job in self.jobs}


@dataclass(frozen=True)
class Means:
    """What computes: so many processes here, a dask cluster's workers, or devices that each training is divided
    among."""

    device: str = "cpu"
    workers: int = 1
    cluster: str | None = None
    devices: int = 1
    nodes: int = 1
    precision: str = arithmetic.EXACT

    @property
    def fabric(self) -> bool:
        """Whether trainings are divided, or layers compute in half precision."""
        return not arithmetic.alone(self.devices * self.nodes, self.precision)


def work(benches: Sequence[Bench], means: Means, command: str, *, fresh: bool = False, boards: bool = False) -> bool:
    """Compute every job that is not done yet and write each data set's results; False where this process only helps
    another, which writes."""
    jobs, fabric = [job for bench in benches for job in bench.jobs], None
    if means.fabric:
        from ssl_theory.benchmarks import ranks

        fabric = ranks.launched(means.device, means.devices, means.nodes, means.precision)
        if fabric.global_rank > 0:
            ranks.follow(jobs, fabric)
            return False
    with ExitStack() as held:
        try:
            for bench in benches:
                held.enter_context(cache.alone(bench.folder, "cache"))
        except InputError:
            if fabric is not None:
                ranks.lead([], lambda *_: None, fabric)  # the others wait for what there is to do: nothing
            raise
        told = _writing(held.enter_context(shown(jobs)), benches, command)
        for bench in benches if boards else ():
            told = board.following(told, bench.jobs, bench.folder / "tensorboard")
        workers = means.workers if means.device == "cpu" else 1
        run.run(jobs, workers=workers, fresh=fresh, report=told, elsewhere=_elsewhere(means, told, fabric))
    return True


def _elsewhere(means: Means, told: Report, fabric: Any) -> Callable[[Sequence[Job]], None] | None:
    """What computes in the place of this machine's processes; None where they do."""
    if fabric is not None:
        from ssl_theory.benchmarks import ranks

        return partial(ranks.lead, report=told, fabric=fabric)
    if means.cluster is not None:
        from ssl_theory.benchmarks import cluster

        return partial(cluster.evaluate, address=means.cluster, processes=means.workers, report=told)
    return None


def _writing(told: Report, benches: Sequence[Bench], command: str) -> Report:
    """`told`, which also writes a data set's table and figures when the last of its methods is done."""
    left = [(bench, {job.name for job in bench.jobs}) for bench in benches]

    def both(name: str, stage: str, done: int, total: int) -> None:
        told(name, stage, done, total)
        for bench, names in left if stage in FINISHED else ():
            if name in names:
                names.remove(name)
                if not names:
                    report.write(bench.folder, bench.results(), bench.jobs, command)

    return both
