"""The wheel holds every package and works from an empty directory; the metadata that users meet is whole."""

import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("ssl_theory", "synthetic", "figures", "paper_checks")


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", out, ROOT, cwd=out)
    return next(out.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_every_package(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    tracked = run("git", "ls-files", *PACKAGES, cwd=ROOT).split()
    assert tracked
    assert {f for f in tracked if (ROOT / f).exists()} <= held


@pytest.mark.slow
def test_the_wheel_works_from_an_empty_directory(wheel: Path, tmp_path: Path) -> None:
    """Dependencies come from this interpreter's site-packages; the project itself only from the wheel."""
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env/bin/python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", wheel, cwd=tmp_path)
    site = next((tmp_path / "env/lib").glob("python*/site-packages"))
    outer = [p for p in sys.path if p.endswith("site-packages")]
    # Plain paths, not addsitedir: the outer .pth files would bring the editable checkout back in.
    (site / "dependencies.pth").write_text("\n".join(outer) + "\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    where = run(python, "-c", f"import {', '.join(PACKAGES)}; print(paper_checks.__file__)", cwd=empty)
    assert str(site) in where
    assert "prior-marginal" in run(tmp_path / "env/bin/paper-checks", "--list", cwd=empty)
    assert "digits" in run(tmp_path / "env/bin/ssl-bench", "--help", cwd=empty)
    run(tmp_path / "env/bin/paper-checks", "prior-marginal", "--profile", "smoke", "--out", "out", cwd=empty)
    assert (empty / "out/index.html").exists()


def test_constraints_pin_every_dependency_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = (
        project["dependencies"] + project["optional-dependencies"]["test"] + project["optional-dependencies"]["bench"]
    )
    pinned = {
        line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    }
    names = {w.split(">=")[0].split("[")[0].lower() for w in wanted}
    assert names - pinned == set()


def test_torch_is_pinned_within_the_range_that_pyproject_allows() -> None:
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    assert "torch==2.13.0" in constraints
