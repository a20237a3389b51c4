"""Who may import whom, and which names a room may not have (the design's rules, read from the source)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {
    "synthetic": set(),
    "figures": set(),
    "ssl_theory.losses": set(),
    "ssl_theory.models": set(),
    "ssl_theory.analysis": set(),
    "ssl_theory.learners": {"ssl_theory.losses", "ssl_theory.models"},
    "ssl_theory.benchmarks": {
        "synthetic",  # the data set of sprites
        "ssl_theory.losses",
        "ssl_theory.models",
        "ssl_theory.learners",
        "ssl_theory.analysis",
        "figures",
    },
    "paper_checks": {
        "synthetic",
        "figures",
        "ssl_theory.losses",
        "ssl_theory.models",
        "ssl_theory.analysis",
        "ssl_theory.learners",
        "ssl_theory.benchmarks",
    },
}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}


def room_of(module: str) -> str | None:
    """The room a dotted module name lies in, None for everything outside the house."""
    return next((room for room in ROOMS if module == room or module.startswith(room + ".")), None)


def imported_modules(path: Path, root: Path = ROOT) -> set[str]:
    """Absolute names of all modules that a file imports, inside functions too."""
    package = path.relative_to(root).with_suffix("").parts[:-1]
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


def violations(root: Path = ROOT) -> list[str]:
    found = []
    for room, allowed in ROOMS.items():
        for path in sorted((root / room.replace(".", "/")).rglob("*.py")):
            for module in imported_modules(path, root):
                target = room_of(module)
                if target not in {None, room} and target not in allowed:
                    found.append(f"{path.relative_to(root)} imports {module}")
    return found


def test_imports_follow_the_arrows() -> None:
    assert violations() == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("synthetic/world.py", "from ssl_theory.losses import info_nce"),
        ("ssl_theory/losses/priors.py", "from ..models import MLP"),
        ("ssl_theory/losses/priors.py", "from .. import learners"),
        ("ssl_theory/learners/simclr.py", "def f():\n    import synthetic.world"),
        ("ssl_theory/analysis/probes.py", "import paper_checks"),
    ],
)
def test_a_forbidden_import_is_seen(tmp_path: Path, file: str, line: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(line)
    assert violations(tmp_path) != []


def test_every_package_file_lies_in_a_room() -> None:
    strays = [
        path.relative_to(ROOT)
        for package in ("ssl_theory", "synthetic", "figures", "paper_checks")
        for path in (ROOT / package).rglob("*.py")
        if room_of(".".join(path.relative_to(ROOT).with_suffix("").parts)) is None
    ]
    assert strays == [Path("ssl_theory/__init__.py")]


def test_no_room_without_a_subject() -> None:
    names = {
        path.stem
        for package in ("ssl_theory", "synthetic", "figures", "paper_checks", "tests")
        for path in (ROOT / package).rglob("*.py")
    }
    assert names & FORBIDDEN_NAMES == set()
