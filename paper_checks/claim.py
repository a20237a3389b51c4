"""What a check of the theory is made of: a `Claim`, and the `Task`s that compute the table its findings are
read off.

A claim's file reads top to bottom: docstring with the claim and its equation, `CONFIG` per profile, the
task functions, then `tasks`, `control`, `findings`, `draw`, `caption`, and last `CLAIM = Claim(...)`, by
which the file is discovered.
"""

import copy
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from paper_checks import PARTS, PROFILES
from paper_checks.finding import LEVEL, Finding, Side, Verdict, holm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "LEVEL",
    "PARTS",
    "PROFILES",
    "Claim",
    "Config",
    "Finding",
    "Side",
    "Task",
    "Verdict",
    "holm",
    "per_seed",
]

Config = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """`function(**kwargs, device=...)` -> tidy DataFrame: the unit of caching, of parallel work and of
    resuming.

    `function` is defined at the top level of a module, and `kwargs` is plain JSON (numbers, strings,
    booleans, None, lists, dicts with string keys), because the two together name the result in the cache;
    tuples arrive as lists. A function without a `device` parameter is given none. Equal tasks, also those
    of different claims, are computed once. Everything that the numbers depend on comes in by `kwargs`: a
    task never reads CONFIG, the environment or the clock.

    `cost` is a guess of the relative run time, used only to start long tasks first; `columns` are written over
    every row of the table once it is computed (the place in a sweep, the name that a figure gives a method). Neither
    is part of the task's identity, so that claims which name the same training differently share it.

        Task(train, {"learner": "SimVAE", "style_variance": 0.15, "seeds": [0, 1, 2, 3, 4]}, columns={"tau": 0.3})
    """

    function: Callable[..., pd.DataFrame]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    cost: float = field(default=1.0, compare=False)
    columns: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        name = getattr(self.function, "__qualname__", repr(self.function))
        if "<" in name or "." in name:
            raise ValueError(f"a task needs a function at the top level of a module, found {name}; move it there")
        object.__setattr__(self, "kwargs", _plain(self.kwargs, name))
        if several := [key for key, value in self.columns.items() if not pd.api.types.is_scalar(value)]:
            raise ValueError(
                f"columns of {name} must be one value for all rows, found several in {several[0]}; give one"
            )

    @property
    def name(self) -> str:
        """Qualified name of the function."""
        return f"{self.function.__module__}.{self.function.__qualname__}"

    @property
    def identity(self) -> str:
        """Canonical text of function and arguments: two tasks with the same identity are the same task."""
        return f"{self.name} {json.dumps(self.kwargs, sort_keys=True)}"

    @property
    def label(self) -> str:
        """Short name for progress lines."""
        words = ", ".join(f"{key}={_short(value)}" for key, value in self.kwargs.items())
        text = f"{self.function.__module__.rpartition('.')[2]}.{self.function.__qualname__}({words})"
        return text if len(text) <= 90 else text[:86] + "...)"

    @property
    def takes_device(self) -> bool:
        parameters = inspect.signature(self.function).parameters.values()
        return any(p.name == "device" or p.kind is p.VAR_KEYWORD for p in parameters)

    def run(self, device: str) -> pd.DataFrame:
        """Compute the table, on `device` where the function takes one."""
        table = self.function(**self.kwargs, **({"device": device} if self.takes_device else {}))
        if not isinstance(table, pd.DataFrame):
            raise TypeError(f"{self.name} must return a pandas DataFrame, found {type(table).__name__}; build one")
        return table

    def labelled(self, table: pd.DataFrame) -> pd.DataFrame:
        """What was computed, as the claim that asked for it reads it: with the task's `columns`."""
        return table.assign(**dict(self.columns))


def _plain(kwargs: Mapping[str, Any], name: str) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(kwargs), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"kwargs of {name} must be plain JSON: {error}; pass numbers, strings and lists") from None
    if not _same_keys(dict(kwargs), plain):
        raise ValueError(f"kwargs of {name} must be plain JSON: found a dict key that is no string; use strings")
    return plain


def _same_keys(given: Any, plain: Any) -> bool:
    if isinstance(given, Mapping):
        return set(given) == set(plain) and all(_same_keys(given[key], plain[key]) for key in given)
    return not isinstance(given, list | tuple) or all(map(_same_keys, given, plain))


OWN = re.compile(r'"[^"]*\.py:(\w+)#[0-9a-f]+"')  # a user's learner or world, see `own`: its name tells which


def _short(value: Any) -> str:
    text = OWN.sub(r'"\1"', json.dumps(value, ensure_ascii=False))
    return text if len(text) <= 24 else f"{text[:20]}..."


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of the theory, and how to check it.

    - `name`: as typed on the command line, the file's name with dashes; `part`: one of `PARTS`.
    - `statement`: the claim in words, a string literal (`--list` reads it without importing the file).
    - `formula`: LaTeX without dollar signs, rendered to MathML.
    - `config`: plain JSON for each of `PROFILES`; an entry "seeds" is the *number* of training seeds, and is
      what `--seeds` replaces, an entry "methods" the names of the methods compared, to which `--learner` adds a
      user's own, and an entry "world" the name of the one that all is trained in, which `--world` replaces.
    - `tasks`: config -> tasks. Their tables, one below the other in order, are the claim's `table`.
    - `findings`: (table, config) -> findings, with bounds fixed beforehand; their intervals are then corrected for
      their number (`holm`).
    - `draw`: (table, control_table or None, findings, config) -> Figure; runs under `figures.look()`.
    - `caption`: findings -> text, with the decisive numbers in words; with an argument `control=None` it is given the
      findings of the control, too.
    - `control`: config -> config with one assumption broken, `control_words` says which. Tasks and findings
      then run with the same code and bounds; every finding marked `controlled` must come out *fails*.
    - `notes`: what was found out where the claim does not hold although it should, or an argued bound; paragraphs
      with an empty line between them.
    - `refuses`: why a user's learner (by its name, see `own`) cannot be among the methods, "" where it can.
    - `limits`: what is wrong with settings that `--set` changed, in one line (expected, found), "" where they can be
      judged; asked before anything is computed.
    - `source`: paper and section.
    """

    name: str
    part: str
    statement: str
    formula: str
    config: Mapping[str, Config]
    tasks: Callable[[Config], Sequence[Task]]
    findings: Callable[[pd.DataFrame, Config], Sequence[Finding]]
    draw: Callable[[pd.DataFrame, pd.DataFrame | None, Sequence[Finding], Config], "Figure"]
    caption: Callable[..., str]
    control: Callable[[Config], Config] | None = None
    control_words: str = ""
    notes: str = ""
    refuses: Callable[[str], str] | None = None
    limits: Callable[[Config], str] | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if self.part not in PARTS:
            raise ValueError(f"part of claim {self.name} must be one of {', '.join(PARTS)}; found {self.part!r}")
        if set(self.config) != set(PROFILES):
            raise ValueError(
                f"config of claim {self.name} must have {', '.join(PROFILES)}; found {', '.join(self.config)}"
            )
        if not all(isinstance(config, Mapping) for config in self.config.values()):
            raise ValueError(f"config of claim {self.name} must have a dict for each profile, found another value")
        if (self.control is None) != (not self.control_words):
            raise ValueError(
                f"claim {self.name} needs control and control_words together, found one; give both or none"
            )

    @property
    def module(self) -> str:
        """Module that the claim was written in."""
        return self.findings.__module__

    def settings(
        self,
        profile: str,
        seeds: int | None = None,
        learner: str | None = None,
        bench: Sequence[str] = (),
        changes: Mapping[str, Any] | None = None,
        world: str | None = None,
    ) -> Config:
        """The profile's configuration, some of its entries changed, with the number of seeds and the world replaced,
        and a learner and the benchmark's results added, where it has them.

        ValueError: `changes` of what it has not, of another kind or beyond its `limits`; a learner that the claim
            refuses.
        """
        config = copy.deepcopy(dict(self.config[profile]))
        for key, value in (changes or {}).items():
            if key not in config:
                raise ValueError(f"--set {key}: {self.name} has no such setting; choose among {', '.join(config)}")
            if not _alike(value, config[key]):
                usual, found = json.dumps(config[key]), json.dumps(value)
                raise ValueError(f"--set {key}: expected a value like {self.name}'s {usual}, found {found}")
            config[key] = value
        if changes and self.limits is not None and (why := self.limits(config)):
            raise ValueError(f"--set: {self.name} {why}")
        if seeds is not None and "seeds" in config:
            config["seeds"] = seeds
        if world is not None and "world" in config:
            config["world"] = world
        if learner is not None and "methods" in config:
            if self.refuses is not None and (why := self.refuses(learner)):
                raise ValueError(why)
            config["methods"] = [*config["methods"], learner]
        if "bench" in config:
            config["bench"] = [*config["bench"], *bench]
        return config


def _alike(value: Any, usual: Any) -> bool:
    """Whether both are lists, or both numbers, ..., and so are what they hold; a whole number stays one."""
    if isinstance(value, list) and isinstance(usual, list):
        return not usual or all(any(_alike(each, one) for one in usual) for each in value)
    if isinstance(usual, float):
        return type(value) in (int, float)
    return type(value) is type(usual)


def per_seed(table: pd.DataFrame, *, value: str = "value", **where: Any) -> "pd.Series[float]":
    """The `value` column of the rows that match `where`, indexed by seed; exactly one row a seed.

    Differences of two such series pair by seed; a seed that one side lacks gives NaN, hence *inconclusive*.

        kept = per_seed(table, method="SimVAE", measure="style")
        gain = kept - per_seed(table, method="VAE", measure="style")

    Raises ValueError where no row matches, a seed occurs twice, or a column is not there.
    """
    missing = {"seed", value, *where} - set(table.columns)
    if missing:
        raise ValueError(f"expected columns {', '.join(sorted(missing))}, found {', '.join(map(str, table.columns))}")
    wanted = pd.Series(True, index=table.index)
    for key, match in where.items():
        wanted &= table[key] == match
    seeds, values = table["seed"][wanted], table[value][wanted]  # of other columns no copy
    words = ", ".join(f"{key}={match}" for key, match in where.items())
    if values.empty:
        raise ValueError(f"expected one row a seed for {words}, found none; look at the table's columns")
    series: pd.Series[float] = values.astype(float).set_axis(pd.Index(seeds, name="seed")).sort_index()
    if series.index.has_duplicates:
        raise ValueError(
            f"expected one row a seed for {words}, found {len(series)} rows of {series.index.nunique()} seeds"
        )
    return series
