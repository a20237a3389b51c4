"""What a run is to do: the settings of the command line, and each claim's jobs with those of its control."""

import json
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paper_checks.cache import Cache, cache_key
from paper_checks.claim import Claim, Config, Task
from paper_checks.registry import Entry
from paper_checks.source import fingerprint
from paper_checks.workers import Cluster, Job, one_line


@dataclass(frozen=True)
class Settings:
    """What the command line asks for."""

    profile: str = "quick"
    device: str = "cpu"
    seeds: int | None = None
    learner: str | None = None
    world: str | None = None
    bench: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    out: Path = Path("results")
    fresh: bool = False
    jobs: int | Cluster = 1

    @property
    def cache(self) -> Cache:
        return Cache(self.out / "cache")


@dataclass(frozen=True)
class Trouble:
    """What went wrong with a claim: where, in which words (one line), and the traceback."""

    where: str
    words: str
    trace: str = ""


@dataclass
class Plan:
    """A claim with its configuration, its jobs, and what went wrong with it so far."""

    entry: Entry
    claim: Claim | None = None
    config: Config = field(default_factory=dict)
    control_config: Config | None = None
    jobs: list[Job] = field(default_factory=list)
    control_jobs: list[Job] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    computed: int = 0

    @property
    def keys(self) -> set[str]:
        return {job.key for job in (*self.jobs, *self.control_jobs)}

    @property
    def errors(self) -> list[str]:
        """Troubles in one line each, the same words of many tasks only once."""
        places: dict[str, list[str]] = {}
        for trouble in self.troubles:
            places.setdefault(trouble.words, []).append(trouble.where)
        more = {
            words: f" (and {len(where) - 1} more alike)" if len(where) > 1 else "" for words, where in places.items()
        }
        return [f"{where[0]}: {words}{more[words]}" for words, where in places.items()]

    def other_seeds(self, settings: Settings) -> int | None:
        """What `--seeds` asked for, where that is another number than the claim's profile has."""
        usual = None if self.claim is None else self.claim.config[settings.profile].get("seeds")
        return settings.seeds if self.claim is None or usual not in (None, settings.seeds) else None

    def fail(self, where: str, error: BaseException) -> None:
        self.troubles.append(Trouble(where, one_line(error), "".join(traceback.format_exception(error))))


def plan(entry: Entry, settings: Settings) -> Plan:
    """Import the claim and list its jobs and its control's; an error is kept, not raised."""
    made = Plan(entry)
    try:
        import torch

        dtype = str(torch.get_default_dtype())
        made.claim = claim = entry.load()
        asked = (settings.profile, settings.seeds, settings.learner, settings.bench, settings.changes, settings.world)
        made.config = _plain(claim.settings(*asked), "CONFIG")
        made.jobs = _jobs(claim.tasks(made.config), settings.device, dtype)
        if claim.control is not None:
            made.control_config = _plain(claim.control(claim.settings(*asked)), "the control's config")
            made.control_jobs = _jobs(claim.tasks(made.control_config), settings.device, dtype)
    except (Exception, SystemExit) as error:
        made.jobs, made.control_jobs = [], []
        made.fail("planning", error)
    return made


def _plain(config: Config, what: str) -> Config:
    """The config as it is, if it is plain JSON: it is written beside the findings."""
    try:
        json.dumps(config, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} must be plain JSON: {error}; use finite numbers, strings and lists") from None
    return config


def _jobs(given: Iterable[Task], device: str, dtype: str) -> list[Job]:
    """Tasks with their keys; the source of each function is read once, however many tasks it has."""
    tasks = list(given)
    sources = {function: fingerprint(function) for function in {task.function for task in tasks}}
    return [Job(cache_key(task, device, dtype, sources[task.function]), task, dtype) for task in tasks]
