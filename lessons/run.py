"""Run the lessons from the first cell to the last and keep what they print and draw: `make lessons`.

    python lessons/run.py                                 all of them, where they lie
    python lessons/run.py lessons/3_style_is_lost.ipynb   one

A lesson that stops with an error stays as it was.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import nbformat
import typer
from nbclient import NotebookClient
from traitlets.config import Config

from paper_checks.cache import write_atomically
from paper_checks.workers import ONE_THREAD, environment

HERE = Path(__file__).parent
OPTIONS: dict[str, Any] = {
    "kernel_name": "python3",
    "record_timing": False,  # other times at every run
    "coalesce_streams": True,
    "config": Config({"KernelManager": {"transport_encryption": "auto"}}),  # else the kernel warns of it
}


def run(path: Path) -> None:
    """Execute the notebook in a fresh kernel, on one thread, and write it with its outputs, without times."""
    book = nbformat.read(path, as_version=4)
    with environment(ONE_THREAD):
        NotebookClient(book, **OPTIONS, resources={"metadata": {"path": HERE}}).execute()
    book.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    write_atomically(path, nbformat.writes(book).encode() + b"\n")


def main(
    lessons: Annotated[list[Path] | None, typer.Argument(help="Notebooks; all in this folder if none.")] = None,
) -> None:
    """Run lessons and keep their outputs."""
    paths = lessons or sorted(HERE.glob("*.ipynb"))
    if missing := [str(path) for path in paths if path.suffix != ".ipynb" or not path.is_file()]:
        print(f"expected notebooks (.ipynb), found no {', '.join(missing)}", file=sys.stderr)
        raise typer.Exit(2)
    for path in paths:
        started = time.monotonic()
        try:
            run(path)
        except Exception as error:  # of a cell, of a file that is no notebook, or of a kernel that died
            words = str(error).strip() or f"{type(error).__name__}; its kernel died"
            print(f"{path.name} stopped, and stays as it was: {words}", file=sys.stderr)
            raise typer.Exit(1) from None
        print(f"{path.name}: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    typer.run(main)
