"""Run the lessons from the first cell to the last and keep what they print and draw: `make lessons`.

    python lessons/run.py                                 all of them, where they lie
    python lessons/run.py lessons/3_style_is_lost.ipynb   one

A lesson that stops with an error stays as it was.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from paper_checks.cache import write_atomically
from paper_checks.workers import ONE_THREAD, environment

HERE = Path(__file__).parent
OPTIONS: dict[str, Any] = {
    "kernel_name": "python3",
    "record_timing": False,  # other times at every run
    "coalesce_streams": True,
}


def run(path: Path) -> None:
    """Execute the notebook in a fresh kernel, on one thread, and write it with its outputs, without times."""
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(path, as_version=4)
    client = NotebookClient(book, **OPTIONS, resources={"metadata": {"path": HERE}})
    with environment(ONE_THREAD):
        client.execute(stderr=subprocess.DEVNULL)  # the kernel's own words; what cells say comes another way
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
        except ImportError as error:  # a cell's own comes as another
            print(f"expected what runs notebooks, found {error}; make env installs it", file=sys.stderr)
            raise typer.Exit(2) from None
        except Exception as error:  # of a cell, of a file that is no notebook, or of a kernel that died
            words = str(error).strip() or "interrupted, or its kernel died"
            print(f"{path.name} stopped, and stays as it was: {words}", file=sys.stderr)
            raise typer.Exit(1) from None
        print(f"{path.name}: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    typer.run(main)
