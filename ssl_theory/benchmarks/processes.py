"""Methods, or parts of a map, several at a time: processes that take the next when they have done one.

What a piece of work comes to is stored by its process; what it says on the way is passed on here."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from ssl_theory.benchmarks.errors import InputError

Say = Callable[..., None]
_said: Any = None  # in a process that works: the queue to the one that passes on


def each(compute: Callable[[Any, Say], None], pieces: Sequence[Any], workers: int, report: Say) -> None:
    """`compute(piece, say)` of every piece, `report` of what they say: here, one after the other, where one worker or
    piece is all there is. When a process is killed or a piece fails the others are ended; what they stored is kept."""
    if min(workers, len(pieces)) < 2:
        for piece in pieces:
            compute(piece, report)
        return
    context = multiprocessing.get_context("spawn")
    said = context.SimpleQueue()  # what was put is there before its piece is done
    pool = ProcessPoolExecutor(min(workers, len(pieces)), context, _begin, (said,))
    try:
        waiting = {pool.submit(_work, compute, piece) for piece in pieces}
        while waiting:
            done, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
            while not said.empty():
                report(*said.get())
            for future in done:
                future.result()
    except BrokenProcessPool:
        raise InputError(
            "a process was killed (out of memory?); what is finished is kept: give the same command with fewer --jobs."
        ) from None
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _work(compute: Callable[[Any, Say], None], piece: Any) -> None:
    compute(piece, lambda *words: _said.put(words))


def _begin(said: Any) -> None:
    """The life of a process: deaf to Ctrl-C, which its parent answers, and gone when its parent is."""
    global _said
    _said = said
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
