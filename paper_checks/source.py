"""Fingerprint of the source that a task's numbers depend on, so that the cache knows when to compute again.

Read by syntax tree, never by running it: comments, layout and docstrings do not count. In a claim's own
file only what the task function *reaches* counts (itself, the names it uses, the names those use, statements
that bind no name, and definitions with a decorator), so that `draw`, `findings`, `caption`, `tasks` and `CONFIG` can be
edited for free. Every project module imported from there counts as a whole, and so on down. `figures` and the engine
itself do not count: they make no numbers.

Not followed: import-time side effects of a package's `__init__` that nothing imports from (the project has
none), modules loaded by a name that is put together at run time, and what a top-level call does besides its value.
"""

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

PROJECT = ("ssl_theory", "synthetic", "paper_checks")
ENGINE = tuple(
    f"paper_checks.{part}"
    for part in (
        "__main__",
        "cache",
        "claim",
        "finding",
        "judge",
        "memory",
        "new",
        "own",  # of a user's learner or world the task's arguments have the digest
        "plan",
        "provenance",
        "registry",
        "report",
        "runner",
        "source",
        "summary",
        "terminal",
        "words",
        "workers",
    )
)
IGNORED = ("figures", *ENGINE)
BY_NAME = {"globals", "vars", "eval", "exec", "__import__"}  # what uses one of these may reach all of its file


def fingerprint(function: Callable[..., Any], ignored: Sequence[str] = IGNORED) -> str:
    """sha256 over the source that `function` reaches, in its own module and the modules it imports.

    `ignored` modules, and those within them, do not count; `ENGINE` alone where the function draws.
    """
    return hashlib.sha256(repr(sorted(sources(function, ignored).items())).encode()).hexdigest()


def sources(function: Callable[..., Any], ignored: Sequence[str] = IGNORED) -> dict[str, str]:
    """Each module that counts, with the sha256 of the syntax of what counts in it."""
    own = _file(function.__module__)
    if own is None:
        raise ValueError(f"expected {function.__module__} to be a file on the path, found none; put it in one")
    reached = _reached(_statements(own, own.stat().st_mtime_ns), function.__name__)
    imports = _project_imports(function.__module__, own, reached)
    return _followed({function.__module__: _digest(reached)}, imports, ignored)


def sources_of_file(path: Path, ignored: Sequence[str] = IGNORED) -> dict[str, str]:
    """The same of a whole file, "", and of what it imports; from beside it where its folder is on the path."""
    statements = _statements(path, path.stat().st_mtime_ns)
    return _followed({"": _digest(statements)}, _project_imports("", path, statements), ignored)


def _followed(pieces: dict[str, str], imports: set[str], ignored: Sequence[str]) -> dict[str, str]:
    """`pieces` and each project module that is imported, and what that imports, and so on."""
    waiting = sorted(imports)
    while waiting:
        module = waiting.pop()
        if module in pieces or any(module == name or module.startswith(f"{name}.") for name in ignored):
            continue
        path = _file(module)
        assert path is not None  # `_project_imports` names files alone
        pieces[module], further = _whole(module, path, path.stat().st_mtime_ns)
        waiting.extend(further)
    return pieces


def _digest(statements: list[ast.stmt]) -> str:
    return hashlib.sha256("\n".join(map(_dump, statements)).encode()).hexdigest()


@lru_cache(maxsize=4096)
def _dump(statement: ast.stmt) -> str:
    return ast.dump(statement)


@lru_cache(maxsize=1024)
def _whole(module: str, path: Path, modified: int) -> tuple[str, tuple[str, ...]]:
    statements = _statements(path, modified)
    imports = tuple(sorted(_project_imports(module, path, statements)))
    return _digest(statements), imports


@lru_cache(maxsize=64)
def _statements(path: Path, _modified: int) -> list[ast.stmt]:
    """Top-level statements without docstrings, an import of several names taken apart."""
    tree = ast.parse(path.read_bytes())
    for node in _within(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [s for s in node.body if not _is_string(s)] or [ast.Pass()]
    return [single for statement in tree.body for single in _singles(statement)]


def _within(node: ast.AST) -> Iterator[ast.AST]:
    """The node and the statements inside of it; expressions, nine nodes in ten, hold none and are left out."""
    yield node
    for name in ("body", "handlers", "orelse", "finalbody", "cases"):
        for inner in getattr(node, name, ()):
            yield from _within(inner)


def _is_string(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _singles(statement: ast.stmt) -> Iterator[ast.stmt]:
    if isinstance(statement, ast.Import):
        yield from (ast.Import([alias]) for alias in statement.names)
    elif isinstance(statement, ast.ImportFrom):
        yield from (ast.ImportFrom(statement.module, [alias], statement.level) for alias in statement.names)
    else:
        yield statement


def _reached(statements: list[ast.stmt], function: str) -> list[ast.stmt]:
    """Statements that `function` depends on: a fixed point over the names used and bound at the top level."""
    bound = [_bound(statement) for statement in statements]
    taken = [not names or "*" in names or _registered(s) for names, s in zip(bound, statements, strict=True)]
    wanted = {function}.union(*(_used(s) for s, take in zip(statements, taken, strict=True) if take))
    while True:
        fresh = [i for i, names in enumerate(bound) if not taken[i] and (names & wanted or BY_NAME & wanted)]
        if not fresh:
            return [statement for statement, take in zip(statements, taken, strict=True) if take]
        for i in fresh:
            taken[i] = True
            wanted |= _used(statements[i])


def _registered(statement: ast.stmt) -> bool:
    """Whether a definition does more than bind its name, or may: a decorator can enter it somewhere."""
    return bool(getattr(statement, "decorator_list", ()))


def _bound(statement: ast.stmt) -> set[str]:
    """Names that a top-level statement binds or changes; none for a statement run for its effect alone (`_ = f()`)."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)} - {"_"}
    return set()


@lru_cache(maxsize=4096)
def _used(statement: ast.stmt) -> set[str]:
    """Names that a statement uses; of a function not those of its parameters, which are its own within it."""
    if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return _names(statement)
    given = statement.args
    parameters = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    around = [given, *statement.decorator_list, *filter(None, (statement.returns,))]  # defaults and annotations too
    inside = set().union(*map(_names, statement.body)) - {parameter.arg for parameter in parameters}
    return inside.union(*map(_names, around))


def _names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _project_imports(module: str, path: Path, statements: list[ast.stmt]) -> set[str]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in (node for statement in statements for node in _within(statement)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            found.update(_file_owner(base, alias.name) for alias in node.names)
    found.update(name for statement in statements for name in _imported_by_call(statement))
    return {name for name in found if _counts(name)}


@lru_cache(maxsize=4096)
def _imported_by_call(statement: ast.stmt) -> tuple[str, ...]:
    """Modules of `importlib.import_module("...")`, `import_module("...")` and `__import__("...")`."""
    if not {"importlib", "import_module", "__import__"} & _used(statement):
        return ()
    calls = [node for node in ast.walk(statement) if isinstance(node, ast.Call) and node.args]
    named = [call for call in calls if ast.unparse(call.func).rpartition(".")[2] in ("import_module", "__import__")]
    first = [call.args[0] for call in named]
    return tuple(arg.value for arg in first if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parents = package.split(".")
    above = ".".join(parents[: len(parents) - node.level + 1])
    return ".".join(filter(None, (above, node.module)))


def _file_owner(base: str, name: str) -> str:
    """`from base import name`: the submodule where there is one, else the module that defines the name."""
    submodule = f"{base}.{name}"
    return submodule if _is_project(base) and _file(submodule) is not None else base


def _counts(module: str) -> bool:
    return _is_project(module) and _file(module) is not None


def _is_project(module: str) -> bool:
    top = module.partition(".")[0]
    if top in PROJECT:
        return True
    if not top or top in sys.stdlib_module_names:
        return False
    home = _home(top)
    if home is None or {"site-packages", "dist-packages"} & set(home.resolve().parts):  # of whichever environment
        return False
    return not any(home.resolve().is_relative_to(folder) for folder in _installed())


@cache
def _installed() -> list[Path]:
    return [Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "purelib", "platlib")]


def _home(top: str) -> Path | None:
    """Folder or file of a top-level module, found without importing it."""
    spec = sys.modules[top].__spec__ if top in sys.modules else importlib.util.find_spec(top)
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin) if spec.origin and spec.has_location else None


def _file(module: str) -> Path | None:
    """Source file of a dotted module name; None where it has none."""
    top, _, rest = module.partition(".")
    place = _home(top)
    if place is None:
        return None
    if place.suffix == ".py":
        return place if not rest else None
    for part in rest.split(".") if rest else ():
        place = place / part
    candidates = (place / "__init__.py", place.with_name(place.name + ".py"))
    return next((path for path in candidates if path.is_file()), None)
