"""Parts of one table computed several at a time, by processes that take the next part when they have done one.

What a part comes to is stored by its process; `processes` is for methods, which report on their training."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from ssl_theory.benchmarks.errors import InputError


def each(
    compute: Callable[[Any], None], parts: Sequence[Any], workers: int, report: Callable[[int, int], None]
) -> None:
    """`compute` every part; when a process is killed or fails the others are ended, and what they finished is kept."""
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin)
    try:
        for done, future in enumerate(as_completed([pool.submit(compute, part) for part in parts]), start=1):
            future.result()
            report(done, len(parts))
    except BrokenProcessPool:
        raise InputError(
            "a process that computed a part was killed (out of memory?); finished parts are kept: give the same "
            "command with fewer --jobs."
        ) from None
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """The life of a worker: deaf to Ctrl-C, which its parent answers, and gone when its parent is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
