"""A learner of a user's own: `FILE.py:Class` on the command line, checked wherever a claim compares methods.

    python -m paper_checks --learner my_loss.py:MyLoss

The name that tasks carry ends with a digest of the file and of what it imports (from beside it, or of this project),
so that a learner that changed is trained again and an unchanged one is read from the cache. Installed packages do not
count, and neither do comments.
"""

import hashlib
import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paper_checks.finding import Finding
from paper_checks.source import sources_of_file


def name(given: str) -> str:
    """`FILE.py:Class#digest` of what was typed; ValueError where it is no file or names no learner in it."""
    path, _, kind = given.rpartition(":")
    if not path.endswith(".py") or not kind:
        raise ValueError(f"expected a learner as FILE.py:Class, found {given!r}; e.g. --learner my_loss.py:MyLoss")
    if not Path(path).is_file():
        raise ValueError(f"expected a Python file with class {kind}, found no file {path}; check the path")
    from paper_checks.trained import METHODS

    if kind in METHODS:
        raise ValueError(f"the claims have a {kind} of their own: call your class otherwise, found {given!r}")
    full = Path(path).resolve()
    named = f"{full}:{kind}#{_digest(full)}"
    _require_made_of_nothing(named)
    return named


def _require_made_of_nothing(method: str) -> None:
    """ValueError where the class is abstract or needs arguments: a claim has none to give it."""
    kind = load(method)
    try:
        kind()
    except (Exception, SystemExit) as error:
        found = f"found {_told(error)}; give it what it lacks"
        raise ValueError(f"expected {short(method)}() to need no arguments, {found}") from None


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _digest(path: Path) -> str:
    _find_beside(path)
    try:
        read = repr(sorted(sources_of_file(path).items())).encode()
    except SyntaxError:  # `load` says where
        read = path.read_bytes()
    return hashlib.sha256(read).hexdigest()[:12]


def _find_beside(path: Path) -> None:
    """Let the file import what lies beside it, from wherever the command was given."""
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))


def load(method: str) -> type[Any]:
    """The learner's class; the file is imported once for each of its versions."""
    from ssl_theory.learners import Learner

    place, _, digest = method.rpartition("#")
    path, _, kind = place.rpartition(":")
    module_name = f"own_learner_{digest}"
    if not digest or not Path(path).is_file():
        raise ValueError(f"expected the name of a method or FILE.py:Class, found {method!r}")
    if module_name not in sys.modules:
        _find_beside(Path(path))
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[module_name] = module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[module_name]
            raise ValueError(f"cannot import {Path(path).name}: {_told(error)}") from error
        if _digest(Path(path)) != digest:  # read after the import, as that may have read another version
            del sys.modules[module_name]
            raise ValueError(f"{Path(path).name} changed while the run went on; run the command again")
    found = getattr(sys.modules[module_name], kind, None)
    if isinstance(found, type) and issubclass(found, Learner):
        return found
    there = f"expected a learner called {kind} in {Path(path).name}, found"
    if isinstance(found, type):
        base = "ssl_theory.learners.JointEmbedding, or Learner where it has networks of its own"
        raise ValueError(f"{there} the class {kind}, which is no Learner: derive it from {base}")
    raise ValueError(
        f"{there} {'nothing of that name' if found is None else f'a value of type {type(found).__name__}'}"
    )


def generative(method: str) -> bool:
    """Whether a user's learner has a decoder: theory says of these that they keep style."""
    from ssl_theory.learners import Learner

    return "#" in method and load(method).reconstruct is not Learner.reconstruct


def findings_of(learner: str | None, findings: Sequence[Finding]) -> list[Finding]:
    """What a claim found of a user's learner: the findings that name its class."""
    if learner is None:
        return []
    named = re.compile(rf"(?<!\w){re.escape(short(learner))}(?!\w)")
    return [finding for finding in findings if named.search(finding.name)]


def short(method: str) -> str:
    """What figures and findings call it: the class."""
    return method.rpartition("#")[0].rpartition(":")[2] if "#" in method else method
