"""`python -m paper_checks new my-claim`: a claim file that runs as it stands, to be filled with one's own."""

import importlib.util
import keyword
from pathlib import Path

from paper_checks import registry

USAGE = "usage: paper-checks new NAME (writes NAME.py, a claim that runs, into this folder)"


def write(words: list[str]) -> int:
    """Write the file into the working directory and say how to run it. ValueError: bad or taken name."""
    if words in (["--help"], ["-h"]):
        print(USAGE)
        return 0
    if len(words) != 1 or words[0].startswith("-"):
        raise ValueError(USAGE)
    name = words[0].lower().replace("_", "-")
    path = Path(name.replace("-", "_") + ".py")
    _require_free(name, path)
    with path.open("x", encoding="utf-8") as stream:
        stream.write(source(name))
    print(f"wrote {path}; it runs as it stands: python -m paper_checks {path} --profile smoke")
    return 0


def source(name: str) -> str:
    """Text of the template with its name put in."""
    from paper_checks.report import environment

    return environment().get_template("claim.py.j2").render(name=name) + "\n"


def _require_free(name: str, path: Path) -> None:
    stem = name.replace("-", "_")
    if keyword.iskeyword(stem):
        raise ValueError(f"{name!r} is a word of Python's own: choose another name")
    if not (stem.isascii() and stem.isidentifier()):
        raise ValueError(f"a claim's name needs letters, digits and dashes, a letter first; found {name!r}")
    if name in {entry.name for entry in registry.known()}:
        raise ValueError(f"claim {name!r} is already there: choose another name")
    if path.exists():
        raise ValueError(f"{path} is already there: choose another name, or remove it")
    if importlib.util.find_spec(stem) is not None:
        raise ValueError(f"{path} would hide the module {stem}: choose another name")
