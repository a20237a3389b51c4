"""Run the lessons from the first cell to the last and keep what they print and draw: `make lessons`.

    python lessons/run.py                                 all of them, where they lie
    python lessons/run.py lessons/3_style_is_lost.ipynb   one

A lesson that stops with an error stays as it was.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

HERE = Path(__file__).parent
OPTIONS: dict[str, Any] = {
    "kernel_name": "python3",
    "record_timing": False,  # other times at every run
    "coalesce_streams": True,
    "resources": {"metadata": {"path": HERE}},
}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def run(path: Path) -> None:
    """Execute the notebook in a fresh kernel, on one thread, and write it with its outputs, without times."""
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(path, as_version=4)
    # stderr has the kernel's own words; what cells say comes another way
    NotebookClient(book, **OPTIONS).execute(env=os.environ | ONE_THREAD, stderr=subprocess.DEVNULL)
    book.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    part = path.with_suffix(".part")
    try:
        part.write_text(nbformat.writes(book) + "\n", encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


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
