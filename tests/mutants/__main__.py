"""Plants realistic faults in the losses, one at a time, and runs the tests: every fault must turn them red.

    python -m tests.mutants [--only WORD ...] [--jobs N]

Each fault is planted in a copy of the package in a temporary folder. Survivors are listed; their number is the exit
code.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.mutants import discriminative, generative

ROOT = Path(__file__).parents[2]
PRELOADED = ("torch", "scipy.optimize", "scipy.stats", "hypothesis", "beartype")
TESTS = {  # the quickest to notice first
    "views": ("distillation", "redundancy", "priors", "clustering", "contrastive", "every_loss"),
    "bessel": ("bessel", "priors"),
    "priors": ("priors", "bessel", "every_loss"),
    "partition": ("partition", "contrastive", "every_loss"),
    "critics": ("contrastive", "partition", "bessel", "every_loss", "clustering"),
    "state": ("clustering", "instance"),
    "registry": ("every_loss",),
}


@dataclass(frozen=True)
class Mutant:
    """`old`, which occurs once in the module, replaced by `new`."""

    module: str
    kind: str
    old: str
    new: str

    def plant(self, folder: Path) -> None:
        path = folder / "ssl_theory" / "losses" / f"{self.module}.py"
        text = path.read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"expected {self.old!r} once in {self.module}.py, found {text.count(self.old)}: amend it")
        path.write_text(text.replace(self.old, self.new))

    def tests(self) -> list[str]:
        names = TESTS.get(self.module, (self.module, "every_loss"))
        return [f"tests/losses/test_{name}.py" for name in names]


FAULTS = discriminative.FAULTS | generative.FAULTS
MUTANTS = [Mutant(module, *fault) for module, faults in FAULTS.items() for fault in faults]


def copy_of_the_package(source: Path, target: Path) -> None:
    for name in ("ssl_theory", "synthetic", "tests/losses", "docs"):
        shutil.copytree(source / name, target / name, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
    for name in ("pyproject.toml", "tests/__init__.py", "tests/conftest.py", "tests/references.py"):
        shutil.copy(source / name, target / name)


def run_tests(folder: Path, tests: list[str]) -> tuple[int, str]:
    """Exit code and output of the tests in a folder, whose packages take the place of those of this repository.

    For a process of its own: it changes the working directory and forgets modules that were imported from elsewhere.
    """
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    for module in [name for name in sys.modules if name.partition(".")[0] in ("tests", "ssl_theory", "synthetic")]:
        del sys.modules[module]
    with open(folder / "output.txt", "w+") as output, redirect_stdout(output), redirect_stderr(output):
        silent = ["-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning", "--tb=line"]
        code = pytest.main(["-x", "-q", "-m", "not slow", *silent, *tests])
    return int(code), (folder / "output.txt").read_text()[-4000:]


def outcome(source: Path, mutant: Mutant) -> str:
    """`killed by TEST`, or `SURVIVED`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_of_the_package(source, folder)
        mutant.plant(folder)
        code, output = run_tests(folder, mutant.tests())
    if code == 0:
        return "SURVIVED"
    failed = [line.split(" ")[1] for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return f"killed by {failed[0].rpartition('::')[2] if failed else 'an error'}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], help="plant only faults with these words in module or name")
    parser.add_argument("--skip", type=int, default=0, help="leave out the first so many faults")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="faults tried at the same time")
    options = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if any(word in f"{mutant.module} {mutant.kind}" for word in options.only)]
    chosen = chosen[options.skip :]
    for module in PRELOADED:
        import_module(module)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        source = Path(name)
        copy_of_the_package(ROOT, source)  # once: edits made meanwhile do not matter
        everything = sorted({test for mutant in chosen for test in mutant.tests()})
        ((code, output),) = in_processes(partial(run_tests, source), [everything], 1)
        if code:
            sys.exit(f"{output}\nexpected green tests before any fault is planted, found red ones: mend them first")
        return report(chosen, in_processes(partial(outcome, source), chosen, options.jobs))


def in_processes(function: Callable[[Any], Any], items: Iterable[Any], jobs: int) -> Iterator[Any]:
    """`function` of each item, in order, each in a process forked for it, at most `jobs` at a time.

    A forked process has torch and scipy loaded already, and nothing of the package. All forks are made by this
    thread alone: a pool forks from a second one, and a lock that is held meanwhile stays held in the child.
    """
    waiting = list(enumerate(items))
    running: dict[int, tuple[BaseProcess, connection.Connection]] = {}
    done: dict[int, Any] = {}
    for following in range(len(waiting)):
        while following not in done:
            while waiting and len(running) < jobs:
                index, item = waiting.pop(0)
                running[index] = _started(function, item)
            connection.wait([process.sentinel for process, _ in running.values()])
            for index in [index for index, (process, _) in running.items() if not process.is_alive()]:
                _, receiver = running.pop(index)
                done[index] = receiver.recv() if receiver.poll() else "killed by a crash"
        yield done.pop(following)


def _started(function: Callable[[Any], Any], item: Any) -> tuple[BaseProcess, connection.Connection]:
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(function(item)))
    process.start()
    sender.close()
    return process, receiver


def report(chosen: list[Mutant], results: Iterable[str]) -> int:
    survivors = []
    for mutant, result in zip(chosen, results, strict=True):
        print(f"{mutant.module:13} {mutant.kind:42} {result}", flush=True)
        survivors += [mutant] if result == "SURVIVED" else []
    print(f"{len(chosen)} faults planted, {len(survivors)} survived")
    for mutant in survivors:
        print(f"  {mutant.module}: {mutant.kind}: {mutant.old!r} -> {mutant.new!r}")
    return len(survivors)


if __name__ == "__main__":
    sys.exit(main())
