"""Train every method as an ensemble over seeds, examine it, and keep the result.

One method is one unit of work: its training goes on from a checkpoint where a killed run left one, and its result
is cached. On the CPU it has one thread, since sums over several round otherwise: the numbers do not depend on what
else there is to do, or on where a killed run is taken up. The length of training and the k of k-NN are chosen on the
validation images, where the loss acts; the test images are met once, by what was chosen. `processes` do
several methods at a time, a `cluster` also the seeds of one."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from ssl_theory.benchmarks import arithmetic, cache, generation, measures
from ssl_theory.benchmarks.augmentation import Augmentation, Redrawing
from ssl_theory.benchmarks.cache import Result
from ssl_theory.benchmarks.data import Splits
from ssl_theory.benchmarks.errors import InputError
from ssl_theory.benchmarks.examination import Examination, usable
from ssl_theory.benchmarks.machine import Effort
from ssl_theory.benchmarks.methods import Method
from ssl_theory.benchmarks.processes import each
from ssl_theory.learners import Fitted, fit
from ssl_theory.learners.parallel import Fabric
from ssl_theory.learners.pieces import short_of_memory

Style = Augmentation | Redrawing  # what makes views
Report = Callable[[str, str, int, int], None]  # name of a job, stage, steps done, steps in all
Many = Callable[[Sequence["Job"]], None]  # evaluates jobs elsewhere and stores their results
REFUSED = "cannot go on from"  # how a stage begins that is none: something to be told
SHARES = (0.25, 0.5, 1.0)  # the training lengths to choose from, as shares of the longest
COLUMNS = ["method", "layer", "seed", "aspect", "measure", "target", "value"]


@dataclass(frozen=True)
class Settings:
    """What all methods of a run have in common; `steps` is the longest training, `batch_size` counts
    images."""

    seeds: int = 5
    steps: int = 4000
    batch_size: int = 64
    views: int = 2
    split_seed: int = 0
    device: str = "cpu"
    precision: str = arithmetic.EXACT
    apart: bool = False  # each seed trained by itself, as a cluster does, which rounds otherwise
    compiled: bool = False  # the loss as one program, which rounds otherwise too


@dataclass(frozen=True)
class Job:
    """One method, and all its result depends on."""

    method: Method
    splits: Splits
    augmentation: Style
    settings: Settings
    entry: Path
    only: tuple[int, ...] = ()  # the seeds trained here, where others are trained elsewhere; () all of them

    @classmethod
    def of(cls, method: Method, splits: Splits, augmentation: Style, settings: Settings, folder: Path) -> Job:
        method = method.among(splits.classes)
        facts: dict[str, object] = {
            "method": method.key,
            "learner": repr(method.learner),
            "settings": asdict(settings),
            "augmentation": repr(augmentation),
            "images": splits.fingerprint(),
            "extractor": generation.extractor(),
            "distances": generation.measurable(),  # what was left out for want of a package is not left out for ever
        }
        return cls(method, splits, augmentation, settings, folder / f"{method.key}-{cache.key(facts)}")

    @property
    def name(self) -> str:
        """By which it is reported on: of its data set and its method."""
        return f"{self.splits.name}/{self.method.key}"

    @property
    def lengths(self) -> list[int]:
        """The training lengths to choose from; one of no steps where there is nothing to train."""
        longest = self.settings.steps
        return sorted({max(1, round(share * longest)) for share in SHARES}) if self.method.trains else [0]

    def alone(self) -> list[Job]:
        """The training alone of every seed where they are trained apart; none where there is nothing to train."""
        own = range(self.settings.seeds if self.settings.apart and self.method.trains else 0)
        return [replace(self, only=(seed,), entry=self.beside(f"seed-{seed}")) for seed in own]

    def beside(self, name: str) -> Path:
        """A file for what is not finished yet."""
        return self.entry.with_name(f"{self.entry.name}.{name}")

    def clear(self) -> None:
        """Remove what an unfinished run left."""
        for path in self.entry.parent.glob(f"{self.entry.name}.*"):
            path.unlink(missing_ok=True)
        cache.sweep(self.entry.parent, self.entry.name)


def run(
    jobs: Sequence[Job], *, workers: int, fresh: bool, report: Report, elsewhere: Many | None = None
) -> list[Result]:
    """The result of every job, from the cache where it is there, in the order of the jobs.

    What is missing is computed here, one job after the other, by so many `workers` (processes), or `elsewhere`."""
    forget(jobs if fresh else ())
    missing = [job for job in jobs if cache.read(job.entry) is None]
    absent = {job.entry for job in missing}
    for job in jobs:
        if job.entry not in absent:
            report(job.name, "cached", 1, 1)
    if elsewhere is not None:
        elsewhere(missing)
    else:
        each(evaluate, missing, workers, report)
    return [stored(job) for job in jobs]


def forget(jobs: Sequence[Job]) -> None:
    """Remove the results of these jobs, and what is unfinished."""
    for job in jobs:
        shutil.rmtree(job.entry, ignore_errors=True)
        job.clear()


def stored(job: Job) -> Result:
    """The result of a job that is done."""
    result = cache.read(job.entry)
    if result is None:
        raise RuntimeError(f"{job.name}: the result vanished from {job.entry} while the run went on.")
    return result


def evaluate(job: Job, report: Report, fabric: Fabric | None = None) -> None:
    """Train, choose, examine, and store the result."""
    began = time.monotonic()
    job.entry.parent.mkdir(parents=True, exist_ok=True)
    trained = [Trained(job.method, one) for one in train(job, report, fabric)] or [Trained(job.method, None)]
    report(job.name, "examining", 1, 1)
    with one_thread(job.settings.device), _memory_watched(job, _smaller_examination):
        result = _examined(job, trained)
    cache.write(job.entry, replace(result, effort=Effort.since(began, job.settings.device)))
    job.clear()
    report(job.name, "done", 1, 1)


def train(job: Job, report: Report, fabric: Fabric | None = None) -> list[Fitted]:
    """The method after each length of training, none where it is the pixels themselves: the part of `evaluate` in which
    every process of several has to take part."""
    if job.method.learner is None:
        return []
    settings = job.settings
    with one_thread(settings.device), arithmetic.products(settings.precision), _memory_watched(job, _smaller_training):
        return [_fitted(job, steps, report, fabric) for steps in job.lengths]


def put_together(job: Job, parts: Sequence[Sequence[Fitted]]) -> None:
    """Where `evaluate` looks for what was trained: the seeds that were trained apart, after each length."""
    job.entry.parent.mkdir(parents=True, exist_ok=True)
    for steps, members in zip(job.lengths, zip(*parts, strict=True), strict=True):
        Fitted.joined(members).save(job.beside(f"{steps}.fitted"))


@contextmanager
def one_thread(device: str) -> Iterator[None]:
    """While it lasts, torch and the libraries below numpy have a single thread, where the CPU is what trains."""
    if torch.device(device).type != "cpu":
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _memory_watched(job: Job, smaller: Callable[[Job], str]) -> Iterator[None]:
    """Where memory does not suffice, say what was being done and what to try."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not short_of_memory(error):
            raise
        raise InputError(f"{job.method.title}: out of memory {smaller(job)}") from error


def _smaller_training(job: Job) -> str:
    """Training has gone down to single rows by then (`learners.pieces`), where its networks allow it."""
    batch, seeds = job.settings.batch_size, job.settings.seeds
    return (
        f"with {batch} images x {job.settings.views} views x {seeds} seeds a step; try --batch {max(2, batch // 2)}, "
        "fewer --seeds, or --encoder conv."
    )


def _smaller_examination(job: Job) -> str:
    """How many images are examined is not to be chosen, and those of a batch do not matter any more."""
    networks = f" of {job.settings.seeds} seeds" if job.method.learner else ""
    return (
        f"while the representations{networks} are examined; what is finished is kept: try fewer --jobs, "
        f"{'fewer --seeds, ' if networks else ''}or a machine with more memory."
    )


@dataclass(frozen=True)
class Trained:
    """A method after some length of training; `fitted` is None for the pixels themselves."""

    method: Method
    fitted: Fitted | None

    @property
    def members(self) -> int:
        return len(self.fitted.seeds) if self.fitted else 1

    @property
    def steps(self) -> float:
        """NaN where nothing was trained."""
        return float(self.fitted.steps) if self.fitted and self.method.trains else float("nan")

    @property
    def history(self) -> pd.DataFrame:
        return self.fitted.history if self.fitted else _no_history()

    def transform(self, exam: Examination, layer: str = "representation") -> measures.Transform:
        """Rows at a time: convolutions hold many times what they are given."""
        if self.fitted is None:
            return exam.pixels()
        return partial(self.fitted.transform, layer=layer, batch_size=self._rows)

    @property
    def reconstruct(self) -> measures.Transform | None:
        if self.fitted is None or not self.method.generative:
            return None
        return partial(self.fitted.reconstruct, batch_size=self._rows)

    @property
    def _rows(self) -> int:
        return 4096 if self.fitted and self.fitted.learner.network == "mlp" else 512


def _fitted(job: Job, steps: int, report: Report, fabric: Fabric | None) -> Fitted:
    """The method after `steps` steps: as a killed run left it, or trained on from the length before.

    Each length is saved when it is reached, because the checkpoint moves on. A file that cannot be gone on from is told
    of and removed.
    """
    saved, checkpoint = job.beside(f"{steps}.fitted"), job.beside("checkpoint")
    if saved.exists():
        try:
            return Fitted.load(saved, device=job.settings.device)
        except (ValueError, LookupError, TypeError, RuntimeError) as error:  # what a damaged file says is anything
            if short_of_memory(error):
                raise
            report(job.name, refused(saved, error), 0, 1)
    begun = checkpoint.exists()
    try:
        fitted = _train(job, steps, report, fabric)
    except InputError:
        raise
    except ValueError as error:  # perhaps a damaged checkpoint; a fault of ours shows again
        if not begun:
            raise
        report(job.name, refused(checkpoint, error), 0, 1)
        fitted = _train(job, steps, report, fabric)
    if fabric is None or fabric.global_rank == 0:
        fitted.save(saved)
    return fitted


def refused(file: Path, error: Exception) -> str:
    """Remove what an earlier run left; in words that training begins anew, and why."""
    file.unlink(missing_ok=True)
    why = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{REFUSED} {file.name}, trained anew ({why})"


def _train(job: Job, steps: int, report: Report, fabric: Fabric | None) -> Fitted:
    assert job.method.learner is not None
    return fit(
        job.method.learner,
        job.splits.views("train", job.augmentation),
        steps=steps,
        seeds=job.only or range(job.settings.seeds),
        batch_size=job.settings.batch_size,
        views=job.settings.views,
        device=job.settings.device if fabric is None else "auto",
        progress=lambda done, _: report(job.name, "training", done, job.lengths[-1]),
        checkpoint=job.beside("checkpoint"),
        fabric=fabric,
        compile=job.settings.compiled,
    )


def _no_history() -> pd.DataFrame:
    return pd.DataFrame({"step": np.zeros(0, int), "seed": np.zeros(0, int), "loss": np.zeros(0, float)})


def _examined(job: Job, trained: Sequence[Trained]) -> Result:
    """Of several lengths of training, the one chosen; examined at every layer."""
    exam = Examination.of(job.splits, job.augmentation, job.settings.split_seed, job.settings.views)
    ks = usable(measures.NEIGHBOURS, exam.train)
    scores = torch.stack([measures.neighbour_accuracies(one.transform(exam), exam, ks) for one in trained])
    length, at = _best(scores)
    chosen = trained[length]
    parts = [_layer(chosen, layer, exam, ks[at]) for layer in job.method.layers]
    parts.append(_whole(chosen, exam, ks[at], job.settings.split_seed))
    rows = pd.concat([rows for rows, _ in parts], ignore_index=True).rename(columns={"member": "seed"})
    arrays = {name: array for _, named in parts for name, array in named.items()}
    return Result(rows.assign(method=job.method.key)[COLUMNS], chosen.history, arrays)


def _best(scores: Tensor) -> tuple[int, int]:
    """The (length, k) with the highest mean over members of `scores (lengths, ks, E)`, among those at which the most
    members have not diverged; the shorter and smaller of equals.

    So a length that one seed survived never comes before one that all did, however good that one is."""
    left = scores.isfinite().sum(-1)
    mean = scores.nanmean(-1).where((left == left.max()) & (left > 0), -1.0)
    at = int(mean.flatten().argmax())
    return at // mean.shape[1], at % mean.shape[1]


Part = tuple[pd.DataFrame, dict[str, np.ndarray]]  # rows, and arrays to draw


def _layer(chosen: Trained, layer: str, exam: Examination, k: int) -> Part:
    """What one layer kept, the images decoded from it, and its clusters."""
    transform = chosen.transform(exam, layer)
    train, test = measures.plain(transform, exam)
    clusters = measures.clusters(train, test, exam)
    rows = [measures.content(train, test, exam, k, clusters), measures.style(transform, exam)]
    rows.append(measures.known(train, test, exam))
    arrays = {f"confusion-{layer}": measures.confusion(clusters[0], exam.test.labels, exam.classes)}
    if chosen.fitted is not None:
        errors, images = measures.decoded(transform, exam)
        rows.append(errors)
        arrays[f"decoded-{layer}"] = images.cpu().numpy()
    return pd.concat(rows, ignore_index=True).assign(layer=layer), arrays


def _whole(chosen: Trained, exam: Examination, k: int, seed: int) -> Part:
    """What belongs to the method as a whole: its own decoder and prior, and what was chosen for it."""
    rows = [
        measures.reconstruction(chosen.reconstruct, exam, chosen.members),
        measures.choice("steps", chosen.steps, chosen.members),
        measures.choice("k", float(k), chosen.members),
    ]
    arrays, drawn = dict[str, np.ndarray](), None
    if chosen.reconstruct is not None:
        arrays["decoded"] = chosen.reconstruct(exam.originals)[0].cpu().numpy()
    if chosen.fitted is None:
        rows.append(generation.absent(chosen.members))
    else:
        judged, drawn = generation.judged(chosen.fitted, exam, seed)
        rows.append(judged)
    if drawn is not None:
        arrays["samples"] = drawn.numpy()
    return pd.concat(rows, ignore_index=True).assign(layer="representation"), arrays
