"""Finding the claims: every file of the package, or any file by its path, that assigns CLAIM at its top
level.

`--list` reads name, part and statement off the syntax tree, so that nothing heavy is imported until a claim
is run.
"""

import ast
import difflib
import importlib
import importlib.util
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from paper_checks.source import PROJECT, sources_of_file

if TYPE_CHECKING:
    from paper_checks.claim import Claim

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")  # of a claim, and so of its folder


@dataclass(frozen=True)
class Entry:
    """A claim's file, read but not imported."""

    name: str
    module: str
    path: Path
    part: str
    statement: str
    typed: str = ""

    @property
    def argument(self) -> str:
        """What to type on the command line to run this claim: of a file its path, as it was typed."""
        return self.name if "." in self.module else self.typed or str(self.path)

    def load(self) -> "Claim":
        """Import the file and return its CLAIM."""
        from paper_checks.claim import Claim

        claim = self._module().CLAIM
        if not isinstance(claim, Claim):
            raise TypeError(f"CLAIM of {self.path.name} must be a Claim, found {type(claim).__name__}")
        return claim

    def _module(self) -> ModuleType:
        """The file's module; ValueError where it, or one that it imports from beside it, is another file's."""
        if "." in self.module:
            module = importlib.import_module(self.module)
            _require_file(self.module, self.path)
            return module
        before = list(sys.path)
        folder = str(self.path.parent)
        sys.path[:] = [folder, *(place for place in before if place != folder)]
        try:
            module = importlib.import_module(self.module)
            _require_file(self.module, self.path)
            for name in sources_of_file(self.path).keys() & sys.modules.keys():
                beside = [path for path in _files(self.path.parent, name) if path.is_file()]
                if beside and name.partition(".")[0] not in PROJECT:
                    _require_file(name, beside[0])
        except (Exception, SystemExit):
            sys.path[:] = before
            raise
        return module


def _files(folder: Path, module: str) -> tuple[Path, Path]:
    """Where a module of this name would lie in the folder."""
    place = folder.joinpath(*module.split("."))
    return place / "__init__.py", place.with_name(f"{place.name}.py")


def _require_file(module: str, path: Path) -> None:
    """ValueError where the loaded module is another file's: Python has one module of a name."""
    found = Path(str(getattr(sys.modules[module], "__file__", None)))
    if found.resolve() != path.resolve():
        raise ValueError(f"expected module {module} from {path}, found it loaded from {found}; rename one of the files")


def known() -> list[Entry]:
    """The claims of the package, ordered by name."""
    folder = Path(__file__).parent
    entries = (_read(path, f"paper_checks.{path.stem}") for path in sorted(folder.glob("*.py")))
    return [entry for entry in entries if entry is not None]


def chosen(names: Sequence[str]) -> list[Entry]:
    """Entries by name or by path of a file, all known ones of no name. ValueError: unknown claim."""
    claims = {entry.name: entry for entry in known()}
    if not names:
        return list(claims.values())
    found: dict[str, Entry] = {}
    for name in names:
        entry = _from_file(name) if name.endswith(".py") else _named(name, claims)
        for other in (found.setdefault(entry.name, entry), claims.get(entry.name, entry)):
            if other.path.resolve() != entry.path.resolve():
                raise ValueError(
                    f"{entry.path} and {other.path} both have the claim {entry.name}; give one another name"
                )
    return list(found.values())


def _named(name: str, claims: dict[str, Entry]) -> Entry:
    wanted = name.replace("_", "-").lower()
    if wanted in claims:
        return claims[wanted]
    near = difflib.get_close_matches(wanted, claims, n=1, cutoff=0.6)
    remedy = f"did you mean {near[0]}?" if near else "see --list"
    raise ValueError(f"unknown claim {name!r}: {remedy}")


def _from_file(typed: str) -> Entry:
    path = Path(typed)
    if not path.is_file():
        raise ValueError(f"no claim file {path}: expected a Python file that assigns CLAIM")
    path = path.resolve()
    module = f"paper_checks.{path.stem}" if path.parent == Path(__file__).parent else path.stem
    other = sys.modules.get(module)
    if other is not None and Path(str(getattr(other, "__file__", ""))).resolve() != path:
        raise ValueError(f"claim file {path.name} has the name of the loaded module {module}: rename the file")
    entry = _read(path, module)
    if entry is None:
        raise ValueError(f"{path.name} assigns no CLAIM = Claim(...): see `paper-checks new` for a template")
    if not NAME.fullmatch(entry.name) or entry.name == "cache":
        wanted = "small letters, digits and single dashes, not cache"
        raise ValueError(f"expected a claim's name of {wanted}, found {entry.name!r}; change it in {path.name}")
    return replace(entry, typed=typed)


def _read(path: Path, module: str) -> Entry | None:
    """A file's entry, None where it assigns no CLAIM; a file that is no valid Python fails when loaded."""
    name, text = path.stem.replace("_", "-"), path.read_text(encoding="utf-8", errors="replace")
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        return Entry(name, module, path, "", f"(no valid Python: line {error.lineno}, {error.msg})")
    values = dict(assignment for node in tree.body for assignment in _assignments(node))
    call = values.get("CLAIM")
    if not isinstance(call, ast.Call):
        return None
    words = {keyword.arg: _literal(keyword.value, values) for keyword in call.keywords}
    return Entry(words.get("name") or name, module, path, words.get("part") or "", words.get("statement") or "")


def _assignments(node: ast.stmt) -> list[tuple[str, ast.expr]]:
    if isinstance(node, ast.Assign):
        return [(target.id, node.value) for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        return [(node.target.id, node.value)]
    return []


def _literal(node: ast.expr, values: dict[str, ast.expr]) -> str | None:
    """A string literal, or the module constant that is one."""
    if isinstance(node, ast.Name):
        node = values.get(node.id) or node
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
