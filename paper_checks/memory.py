"""Memory of this process: how much it had at most since it last began to count, and giving back what is free."""

import ctypes
import gc
from contextlib import suppress
from pathlib import Path

PROCESS = Path("/proc/self")  # of Linux; elsewhere nothing is measured


def forget_peak() -> bool:
    """Begin to count anew, so that what has been freed by now does not count in `peak`; whether that could be done."""
    try:
        (PROCESS / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak() -> int:
    """The most resident memory since `forget_peak`, where it could, in bytes; shared libraries count too."""
    words = (PROCESS / "status").read_text().split()
    return 1024 * int(words[words.index("VmHWM:") + 1])


def give_back() -> None:
    """What has been freed goes back to the system: otherwise the pieces of hundreds of tasks add up to gigabytes.

    What is left then (modules, for the most part) is there for good: not looked at again, which would take a sixth of a
    second each time.
    """
    gc.collect()
    gc.freeze()
    with suppress(OSError, AttributeError):  # not the GNU C library
        ctypes.CDLL(None).malloc_trim(0)
