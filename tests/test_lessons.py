"""The lessons run, from the first cell to the last, print what they are stored with, and check what they say."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "lessons"
LESSONS = sorted(FOLDER.glob("*.ipynb"))
LONG = [pytest.param(path, marks=pytest.mark.slow, id=path.stem) for path in LESSONS[1:]]
NUMBER = re.compile(r"[-−]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def code(lesson: Path) -> list[dict]:
    return [cell for cell in json.loads(lesson.read_text())["cells"] if cell["cell_type"] == "code"]


def printed(cells: list[dict]) -> str:
    """What the cells are stored with on standard output."""
    streams = [one for cell in cells for one in cell["outputs"] if one["output_type"] == "stream"]
    return "".join("".join(one["text"]) for one in streams)


def skeleton(text: str) -> list[str]:
    """Lines without their numbers, and without a verdict, which hangs on numbers."""
    plain = re.sub(r": (?:holds|fails|inconclusive).*", "", NUMBER.sub("#", text))
    return [" ".join(line.split()) for line in plain.splitlines()]


def source(cell: dict) -> str:
    """The cell's Python, without the notebook's own commands."""
    return "".join(line for line in cell["source"] if not line.startswith("%"))


def test_there_are_lessons_and_their_page_links_each_and_nothing_else() -> None:
    linked = re.findall(r"\]\((\w+\.ipynb)\)", (FOLDER / "README.md").read_text())
    assert linked == [lesson.name for lesson in LESSONS]
    assert len(linked) == 5


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_is_stored_as_it_was_run_with_figures_and_without_errors(lesson: Path) -> None:
    cells = code(lesson)
    outputs = [one for cell in cells for one in cell["outputs"]]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert {one["output_type"] for one in outputs} <= {"stream", "execute_result"}
    assert all(one["name"] == "stdout" for one in outputs if one["output_type"] == "stream")
    assert any("image/png" in one.get("data", {}) for one in outputs)
    assert "execution" not in {key for cell in cells for key in cell["metadata"]}  # times, other at every run


def test_trains_where_numbers_are_the_same_for_everyone() -> None:
    calls = [node for lesson in LESSONS for cell in code(lesson) for node in ast.walk(ast.parse(source(cell)))]
    fits = [node for node in calls if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "fit"]
    devices = [keyword.value for node in fits for keyword in node.keywords if keyword.arg == "device"]
    assert len(fits) >= 7
    assert [device.value for device in devices if isinstance(device, ast.Constant)] == ["cpu"] * len(fits)


@pytest.mark.parametrize("lesson", [pytest.param(LESSONS[0], id=LESSONS[0].stem), *LONG])
def test_runs_and_prints_what_it_is_stored_with(lesson: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells, namespace = code(lesson), {"__name__": "lesson"}
    threads = torch.get_num_threads()
    for place, cell in enumerate(cells):
        exec(compile(source(cell), f"{lesson.name}, code cell {place + 1}", "exec"), namespace)
    assert torch.get_num_threads() == threads
    assert skeleton(capsys.readouterr().out) == skeleton(printed(cells))


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command, environment = [sys.executable, str(FOLDER / "run.py"), *arguments], os.environ | variables
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, env=environment)


def notebook(path: Path, *cells: str) -> Path:
    plain: dict[str, Any] = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    kinds = [plain | {"id": f"code-{place}", "source": text} for place, text in enumerate(cells)]
    path.write_text(json.dumps({"cells": kinds, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def test_a_run_keeps_what_is_printed_and_drawn(tmp_path: Path) -> None:
    drawing = "%matplotlib inline\nfrom figures import canvas\nfigure, _ = canvas()\nfigure"
    lesson = notebook(tmp_path / "lesson.ipynb", "print(6 * 7)", drawing)
    done = run(str(lesson))
    assert done.returncode == 0, done.stderr
    assert printed(code(lesson)) == "42\n"
    assert [cell["execution_count"] for cell in code(lesson)] == [1, 2]
    assert [cell["metadata"] for cell in code(lesson)] == [{}, {}]
    assert "image/png" in code(lesson)[1]["outputs"][0]["data"]


def test_a_lesson_that_stops_stays_as_it_was(tmp_path: Path) -> None:
    lesson = notebook(tmp_path / "lesson.ipynb", "print(1)", "assert 1 > 2, 'so it is'")
    before = lesson.read_bytes()
    done = run(str(lesson))
    assert done.returncode == 1
    assert done.stderr.startswith("lesson.ipynb stopped, and stays as it was: ")
    assert "so it is" in done.stderr
    assert lesson.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["lesson.ipynb"]


def test_what_is_no_notebook_is_refused_in_one_line(tmp_path: Path) -> None:
    done = run(str(tmp_path / "none.ipynb"), str(FOLDER / "README.md"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "none.ipynb" in done.stderr
    assert "README.md" in done.stderr


def test_a_missing_package_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "nbclient.py").write_text("raise ModuleNotFoundError(\"No module named 'nbclient'\")")
    done = run(str(LESSONS[0]), PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "No module named 'nbclient'; make env installs it" in done.stderr
