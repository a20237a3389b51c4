"""A learner or a world of a user's own, `FILE.py:NAME` on the command line, in every claim that has a place for it.

    python -m paper_checks --learner my_loss.py:MyLoss      a class, beside the methods that claims compare
    python -m paper_checks --world my_world.py:my_world     a function of the seed, in the place of world `block`

The name that tasks carry ends with a digest of the file and of what it imports (from beside it, or of this project),
so that what changed is trained again and what did not is read from the cache. Installed packages do not count, and
neither do comments.
"""

import difflib
import hashlib
import importlib.util
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paper_checks.source import sources_of_file


def is_own(name: str) -> bool:
    """Whether a method's or a world's name is that of a user's own."""
    return "#" in name


def short(name: str) -> str:
    """What figures and findings call it: of a user's own the class or function."""
    return typed(name).rpartition(":")[2] if is_own(name) else name


def typed(name: str) -> str:
    """As it is given on the command line, without the digest of this version of the file."""
    return name.rpartition("#")[0] if is_own(name) else name


# -- files ----------------


def _named(given: str, form: str, example: str) -> str:
    """`FILE.py:NAME#digest` of what was typed; ValueError where it is no file."""
    path, _, kind = given.rpartition(":")
    if not path.endswith(".py") or not kind:
        raise ValueError(f"expected {form}, found {given!r}; e.g. {example}")
    if not Path(path).is_file():
        raise ValueError(f"expected a Python file with {kind}, found no file {path}; check the path")
    full = Path(path).resolve()
    return f"{full}:{kind}#{_digest(full)}"


def _digest(path: Path) -> str:
    _find_beside(path)
    try:
        read = repr(sorted(sources_of_file(path).items())).encode()
    except SyntaxError:  # `_found` says where
        read = path.read_bytes()
    return hashlib.sha256(read).hexdigest()[:12]


def _find_beside(path: Path) -> None:
    """Let the file import what lies beside it, from wherever the command was given."""
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))


def _found(name: str) -> Any:
    """What the file calls so, None where it has nothing of that name; imported once for each version of the file."""
    path, digest = Path(typed(name).rpartition(":")[0]), name.rpartition("#")[2]
    module_name = f"own_{digest}"
    if module_name not in sys.modules:
        _find_beside(path)
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[module_name] = module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[module_name]
            raise ValueError(f"cannot import {path.name}: {_told(error)}") from error
        if _digest(path) != digest:  # read after the import, as that may have read another version
            del sys.modules[module_name]
            raise ValueError(f"{path.name} changed while the run went on; run the command again")
    return getattr(sys.modules[module_name], short(name), None)


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _in_words(found: object) -> str:
    return "nothing of that name" if found is None else f"a value of type {type(found).__name__}"


# -- learners ----------------


def learner(given: str) -> str:
    """The name of the learner that was typed; ValueError where it names none, or one that cannot be made."""
    from paper_checks.trained import METHODS

    name = _named(given, "a learner as FILE.py:Class", "--learner my_loss.py:MyLoss")
    if short(name) in METHODS:
        raise ValueError(f"the claims have a {short(name)} of their own: call your class otherwise, found {given!r}")
    kind = load(name)
    try:
        kind()
    except (Exception, SystemExit) as error:
        found = f"found {_told(error)}; give it what it lacks"
        raise ValueError(f"expected {short(name)}() to need no arguments, {found}") from None
    return name


def load(method: str) -> type[Any]:
    """The learner's class."""
    from ssl_theory.learners import Learner

    if not is_own(method) or not Path(typed(method).rpartition(":")[0]).is_file():
        raise ValueError(f"expected the name of a method or FILE.py:Class, found {method!r}")
    found, kind = _found(method), short(method)
    if isinstance(found, type) and issubclass(found, Learner):
        return found
    there = f"expected a learner called {kind} in {Path(typed(method).rpartition(':')[0]).name}, found"
    if isinstance(found, type):
        base = "ssl_theory.learners.JointEmbedding, or Learner where it has networks of its own"
        raise ValueError(f"{there} the class {kind}, which is no Learner: derive it from {base}")
    raise ValueError(f"{there} {_in_words(found)}")


def unknown(config: dict[str, Any]) -> str:
    """For a claim's `limits`: what is wrong with its methods, "" where each has a learner."""
    from paper_checks.trained import METHODS

    if not config["methods"]:
        return "expected methods to compare, found none"
    wrong = [name for name in config["methods"] if name not in METHODS and not is_own(name)]
    near = [match for name in wrong for match in difflib.get_close_matches(name, METHODS, 1, 0.4)]
    return f"expected methods among {', '.join(near or METHODS)}, found {', '.join(wrong)}" if wrong else ""


def generative(method: str) -> bool:
    """Whether a user's learner has a decoder: theory says of these that they keep style."""
    from ssl_theory.learners import Learner

    return is_own(method) and load(method).reconstruct is not Learner.reconstruct


# -- worlds ----------------

ASKED = ("sample", "to", "classes", "style_dim", "style_floor")  # of a world


def world(given: str) -> str:
    """The name of the world that was typed, or of a preset; ValueError where it is none that claims can use."""
    from synthetic import PRESETS

    if given in PRESETS:
        _require_fit(given)
        return given
    near = difflib.get_close_matches(given, PRESETS, 1, 0.5)
    form = f"a world as FILE.py:function or the name of a preset ({', '.join(near or PRESETS)})"
    name = _named(given, form, "--world my_world.py:my_world")
    _require_fit(name)
    return name


def make(name: str, seed: int, **overrides: Any) -> Any:
    """A user's world of one seed, in single precision."""
    import torch

    return _maker(name)(seed, **overrides).to(dtype=torch.float32)


def _maker(name: str) -> Callable[..., Any]:
    found = _found(name)
    if not callable(found):
        where = Path(typed(name).rpartition(":")[0]).name
        raise ValueError(f"expected a function {short(name)}(seed, p_keep=0.0) in {where}, found {_in_words(found)}")
    made: Callable[..., Any] = found
    return made


def _require_fit(name: str) -> None:
    """ValueError where a claim could not use the world, with what it lacks: tried on two seeds, before any training."""
    import torch

    from paper_checks.trained import of_name

    wanted = f"expected {short(name)}(seed, p_keep=0.0) to give"
    if is_own(name):
        _maker(name)
    try:
        first, again, other, kept = (*(of_name(name, seed) for seed in (0, 0, 1)), of_name(name, 0, p_keep=1.0))
        seeded = [(each, torch.Generator().manual_seed(0)) for each in (first, again, other, kept)]
        views, same, _, shared = (each.sample(64, views=2, generator=generator) for each, generator in seeded)
        classes, floor, _ = first.classes, first.style_floor(), first.style_dim
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"{wanted} a synthetic.World, or what has its {', '.join(ASKED)}; found {_told(error)}"
        ) from None
    if classes is None or views.label is None:
        raise ValueError(f"{wanted} a world with classes, which claims read; found none")
    if len(views.label.unique()) < 2:
        raise ValueError(f"{wanted} a world with classes to tell apart; found one in {len(views.label)} data points")
    if views.x.ndim != 3 or not bool(views.x.isfinite().all()):
        raise ValueError(f"{wanted} vectors of finite numbers (n, J, D), found x of shape {tuple(views.x.shape)}")
    if not torch.equal(views.x, same.x):
        raise ValueError(f"{wanted} the same world for the same seed, found two: draw by a generator of that seed")
    if not torch.equal(shared.style[:, 0], shared.style[:, 1]):
        raise ValueError(f"{wanted} views that share all style at p_keep=1, for the control; found that they do not")
    alike = (views.style[:, 0] == views.style[:, 1]).double().mean()
    if alike > 0.6:  # of a binary style a half is alike by chance
        found = f"found {alike:.0%} of its numbers shared"
        raise ValueError(f"{wanted} views that redraw their style at p_keep=0, what claims call lost; {found}")
    if not math.isfinite(floor):
        raise ValueError(f"{wanted} a finite style_floor(), R²(s | y), found {floor}")
