"""Several methods at a time, each in a process of its own (and on the CPU under one thread, as everywhere)."""

from __future__ import annotations

import errno
import multiprocessing
import os
import queue
import signal
import traceback
from collections.abc import Sequence
from typing import Any

from ssl_theory.benchmarks import run
from ssl_theory.benchmarks.errors import InputError

KILLED = -9  # the code of a process that the system ended


def evaluate(jobs: Sequence[run.Job], workers: int, report: run.Report) -> None:
    """Every job, `workers` at a time, each result stored by its process."""
    context = multiprocessing.get_context("spawn")
    messages: Any = context.Queue()
    waiting, running = list(jobs), dict[str, Any]()
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.pop(0)
                running[job.name] = context.Process(target=_work, args=(job, messages), daemon=True)
                running[job.name].start()
            _listen(messages, report)
            for name in [name for name, process in running.items() if not process.is_alive()]:
                _listen(messages, report)
                _check(name, running.pop(name).exitcode)
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.join()


def _listen(messages: Any, report: run.Report) -> None:
    """Pass on what the workers said, waiting a little when they are silent."""
    try:
        for _ in range(100):
            message = messages.get(timeout=0.2)
            if message[1] == "refused":
                raise InputError(message[2])
            if message[1] == "no space":
                raise OSError(errno.ENOSPC, message[2])
            if message[1] == "failed":
                raise RuntimeError(f"{message[0]} failed in its process:\n{message[2]}")
            report(*message)
    except queue.Empty:
        return


def _check(name: str, code: int | None) -> None:
    """Where a process ended without a word: by the system, which kills where memory runs out, or by a fault of ours."""
    if code == KILLED:
        raise InputError(
            f"{name}: its process was killed (out of memory?); what is finished is kept: try a smaller --batch, or "
            "--jobs 1."
        )
    if code != 0:
        raise RuntimeError(f"{name}: its process ended with code {code}.")


def _work(job: run.Job, messages: Any) -> None:
    """The life of a worker: deaf to Ctrl-C (its parent answers that), gone when its parent is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()

    def report(*message: object) -> None:
        if os.getppid() != parent:
            os._exit(1)
        messages.put(message)

    try:
        run.evaluate(job, report)
    except InputError as error:
        messages.put((job.name, "refused", str(error)))
    except OSError as error:
        what = ("no space", str(error)) if error.errno == errno.ENOSPC else ("failed", traceback.format_exc())
        messages.put((job.name, *what))
    except Exception:
        messages.put((job.name, "failed", traceback.format_exc()))
