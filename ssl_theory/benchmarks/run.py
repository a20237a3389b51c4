"""Train every method once as an ensemble over seeds, examine it, and keep the result.

One method is one unit of work: it runs in a process of its own with one thread (two at a time on two cores),
its training goes on from a checkpoint where a killed run left one, and its result is cached. The length of
training and the k of k-NN are chosen on the validation images; the test images are met once, by what was
chosen."""

from __future__ import annotations

import multiprocessing
import os
import queue
import shutil
import signal
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from ssl_theory.benchmarks import cache, measures
from ssl_theory.benchmarks.augmentation import Augmentation, AugmentedImages
from ssl_theory.benchmarks.cache import Result
from ssl_theory.benchmarks.data import Splits
from ssl_theory.benchmarks.measures import Examination
from ssl_theory.benchmarks.methods import Method
from ssl_theory.learners import Fitted, fit

Report = Callable[[str, str, int, int], None]  # method, stage, steps done, steps in all
SHARES = (0.25, 0.5, 1.0)  # the training lengths to choose from, as shares of the longest
PICTURES = 10


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


@dataclass(frozen=True)
class Job:
    """One method, and all its result depends on."""

    method: Method
    splits: Splits
    augmentation: Augmentation
    settings: Settings
    entry: Path

    @classmethod
    def of(cls, method: Method, splits: Splits, augmentation: Augmentation, settings: Settings, folder: Path) -> Job:
        method = method.among(splits.classes)
        facts: dict[str, object] = {
            "method": method.key,
            "learner": repr(method.learner),
            "settings": asdict(settings),
            "augmentation": repr(augmentation),
            "images": splits.fingerprint(),
        }
        return cls(method, splits, augmentation, settings, folder / f"{method.key}-{cache.key(facts)}")

    @property
    def lengths(self) -> list[int]:
        """The training lengths to choose from; one of no steps where there is nothing to train."""
        longest = self.settings.steps
        return sorted({max(1, round(share * longest)) for share in SHARES}) if self.method.trains else [0]

    def beside(self, name: str) -> Path:
        """A file for what is not finished yet."""
        return self.entry.with_name(f"{self.entry.name}.{name}")

    def clear(self) -> None:
        """Remove what an unfinished run left."""
        for path in self.entry.parent.glob(f"{self.entry.name}.*"):
            path.unlink()


def run(jobs: Sequence[Job], *, workers: int, fresh: bool, report: Report) -> dict[str, Result]:
    """The result of every job, from the cache where it is there, in the order of the jobs."""
    for job in jobs if fresh else ():
        shutil.rmtree(job.entry, ignore_errors=True)
        job.clear()
    missing = [job for job in jobs if cache.read(job.entry) is None]
    for job in jobs:
        if job not in missing:
            report(job.method.key, "cached", 1, 1)
    if workers > 1 and len(missing) > 1:
        _in_processes(missing, workers, report)
    else:
        for job in missing:
            evaluate(job, report)
    return {job.method.key: _stored(job) for job in jobs}


def _stored(job: Job) -> Result:
    result = cache.read(job.entry)
    if result is None:
        raise RuntimeError(f"{job.method.key}: the result vanished from {job.entry} while the run went on.")
    return result


def evaluate(job: Job, report: Report) -> None:
    """Train, choose, examine, and store the result."""
    job.entry.parent.mkdir(parents=True, exist_ok=True)
    exam = Examination.of(job.splits, job.augmentation, job.settings.split_seed)
    ks = measures.usable(measures.NEIGHBOURS, exam.train)
    trained = _trained(job, report)
    scores = torch.stack([measures.neighbour_accuracies(t.transform, exam, ks) for t in trained])
    length, at = _best(scores)
    chosen = trained[length]
    report(job.method.key, "examining", 1, 1)
    cache.write(job.entry, _examined(job, chosen, exam, ks[at]))
    job.clear()
    report(job.method.key, "done", 1, 1)


@dataclass(frozen=True)
class Trained:
    """A representation to examine; `steps` is NaN where nothing was trained."""

    transform: measures.Transform
    reconstruct: measures.Transform | None
    steps: float
    history: pd.DataFrame


def _trained(job: Job, report: Report) -> list[Trained]:
    """The method after each length of training; a single one where it does not train."""
    if job.method.learner is None:
        return [Trained(_pixels, None, float("nan"), _no_history())]
    return [_of(_fitted(job, steps, report), job.method) for steps in job.lengths]


def _fitted(job: Job, steps: int, report: Report) -> Fitted:
    """The method after `steps` steps: as a killed run left it, or trained on from the length before.

    Each length is saved when it is reached, because the checkpoint moves on.
    """
    saved = job.beside(f"{steps}.fitted")
    if saved.exists():
        return Fitted.load(saved, device=job.settings.device)
    try:
        fitted = _train(job, steps, report)
    except ValueError:  # perhaps a damaged checkpoint; a fault of ours shows again
        job.beside("checkpoint").unlink(missing_ok=True)
        fitted = _train(job, steps, report)
    fitted.save(saved)
    return fitted


def _train(job: Job, steps: int, report: Report) -> Fitted:
    assert job.method.learner is not None
    return fit(
        job.method.learner,
        AugmentedImages(job.splits.train, job.augmentation),
        steps=steps,
        seeds=range(job.settings.seeds),
        batch_size=job.settings.batch_size,
        views=job.settings.views,
        device=job.settings.device,
        progress=lambda done, _: report(job.method.key, "training", done, job.lengths[-1]),
        checkpoint=job.beside("checkpoint"),
    )


def _of(fitted: Fitted, method: Method) -> Trained:
    steps = float(fitted.steps) if method.trains else float("nan")
    return Trained(fitted.transform, fitted.reconstruct if method.generative else None, steps, fitted.history)


def _pixels(x: Tensor) -> Tensor:
    """The image itself as representation: an ensemble of one, since no seed changes it."""
    return x.flatten(1)[None]


def _no_history() -> pd.DataFrame:
    return pd.DataFrame({"step": np.zeros(0, int), "seed": np.zeros(0, int), "loss": np.zeros(0, float)})


def _best(scores: Tensor) -> tuple[int, int]:
    """The (length, k) with the highest mean over members of `scores (lengths, ks, E)`; the shorter and
    smaller of equals.

    Members that diverged count for nothing; a length at which all did is never taken unless there is no
    other."""
    mean = scores.nanmean(-1).nan_to_num(nan=-1.0)
    at = int(mean.flatten().argmax())
    return at // mean.shape[1], at % mean.shape[1]


def _examined(job: Job, chosen: Trained, exam: Examination, k: int) -> Result:
    members = job.settings.seeds if job.method.learner is not None else 1
    rows = pd.concat(
        [
            measures.content(chosen.transform, exam, k),
            measures.style(chosen.transform, exam),
            measures.reconstruction(chosen.reconstruct, exam, members),
            measures.choice("steps", chosen.steps, members),
            measures.choice("k", float(k), members),
        ],
        ignore_index=True,
    )
    rows = rows.rename(columns={"member": "seed"}).assign(method=job.method.key)
    columns = ["method", "seed", "aspect", "measure", "target", "value"]
    return Result(rows[columns], chosen.history, _pictures(chosen, exam))


def originals(exam: Examination) -> Tensor:
    """One view of the first test image of each of the first classes, `(m, C, H, W)`."""
    labels = exam.test_views.label
    first = [int((labels == c).nonzero()[0, 0]) for c in range(exam.classes) if bool((labels == c).any())]
    return exam.test_views.x[first[:PICTURES], 0]


def _pictures(chosen: Trained, exam: Examination) -> np.ndarray | None:
    """The same views, decoded by the first member."""
    return None if chosen.reconstruct is None else chosen.reconstruct(originals(exam))[0].cpu().numpy()


# Two methods at a time, each in a process of its own.


def _in_processes(jobs: Sequence[Job], workers: int, report: Report) -> None:
    context = multiprocessing.get_context("spawn")
    messages: Any = context.Queue()
    waiting, running = list(jobs), dict[str, Any]()
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.pop(0)
                running[job.method.key] = context.Process(target=_work, args=(job, messages), daemon=True)
                running[job.method.key].start()
            _listen(messages, report)
            for name in [name for name, process in running.items() if not process.is_alive()]:
                _listen(messages, report)
                _check(name, running.pop(name).exitcode)
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.join()


def _listen(messages: Any, report: Report) -> None:
    """Pass on what the workers said, waiting a little when they are silent."""
    try:
        for _ in range(100):
            message = messages.get(timeout=0.2)
            if message[1] == "failed":
                raise RuntimeError(f"{message[0]} failed in its process:\n{message[2]}")
            report(*message)
    except queue.Empty:
        return


def _check(name: str, code: int | None) -> None:
    if code != 0:
        raise RuntimeError(f"{name}: its process ended with code {code} (-9: killed, often for want of memory).")


def _work(job: Job, messages: Any) -> None:
    """The life of a worker: one thread, deaf to Ctrl-C (its parent answers that), gone when its parent is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    parent = os.getppid()

    def report(*message: object) -> None:
        if os.getppid() != parent:
            os._exit(1)
        messages.put(message)

    try:
        with threadpool_limits(1):
            evaluate(job, report)
    except Exception:
        messages.put((job.method.key, "failed", traceback.format_exc()))
