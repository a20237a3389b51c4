"""Command line: `python -m paper_checks [CLAIM ...]`, also installed as `paper-checks`.

Exit codes: 0 all claims hold, 1 some fail or are inconclusive, 2 bad input or a full disk, 130 interrupted.
"""

import atexit
import gc
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paper_checks import PROFILES

if TYPE_CHECKING:
    from paper_checks.plan import Plan, Settings
    from paper_checks.registry import Entry
    from paper_checks.workers import Cluster

HELP = """Check the claims of the theory: compute, compare with bounds fixed beforehand, draw, report.

A claim HOLDS when all its intervals lie on the right side of their bounds, FAILS when one lies on the wrong side, and
is INCONCLUSIVE otherwise: also after an error, or when its control (the same check with one assumption broken) did not
fail. Intervals are widened (Holm's correction) so that all verdicts on a claim's findings are right at once with 95 %.
Results are kept: a second run computes nothing, a killed run goes on where it was.

\b
Examples:
  python -m paper_checks --list                            the claims
  python -m paper_checks                                   all of them, quick profile
  python -m paper_checks style-collapse --profile full     one, with more seeds and steps
  python -m paper_checks my_claim.py                       a claim of your own
  python -m paper_checks --learner my_loss.py:MyLoss       a learner of your own, in every claim that compares methods
  python -m paper_checks --world my_world.py:my_world      the claims that have a place for it, in a world of your own
  python -m paper_checks gap-budget --set steps=8000       another setting: what then comes out, no verdict of the claim
  python -m paper_checks real-data --bench results/bench/mnist      what ssl-bench measured, judged too
  python -m paper_checks --cluster tcp://HOST:8786         the tasks on the workers of a dask scheduler
  python -m paper_checks new my-claim                      a template for one

Exit code: 0 all hold, 1 some fail or are inconclusive, 2 bad input or a full disk, 130
interrupted.
"""

USAGE_ERROR: type[Exception] = typer.BadParameter.__base__  # type: ignore[assignment]

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=HELP)
def check(
    claims: Annotated[
        list[str] | None, typer.Argument(metavar="CLAIM", help="Names, or paths of claim files; all by default.")
    ] = None,
    profile: Annotated[str, typer.Option(help="smoke (seconds), quick (minutes) or full (the evidence).")] = "quick",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda; auto takes a GPU where there is one.")] = "auto",
    seeds: Annotated[int | None, typer.Option(help="Training seeds instead of the profile's; at least 2.")] = None,
    learner: Annotated[
        str | None,
        typer.Option(metavar="FILE.py:CLASS", help="A learner of your own, beside those the claims compare."),
    ] = None,
    world: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.py:NAME", help="A world of your own, or a preset, in the place of the claims' block."
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Another setting (steps=8000) of the claims named; repeatable."
        ),
    ] = None,
    bench: Annotated[
        list[str] | None,
        typer.Option(metavar="FOLDER", help="Results of ssl-bench, judged too in the claim real-data; repeatable."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for report, figures, tables and cache.")] = Path("results"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Compute again what the cache already has.")] = False,
    jobs: Annotated[int | None, typer.Option(help="Tasks at once; default: one a core (at most 4 on a GPU).")] = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Compute on a dask.distributed cluster: tcp://HOST:PORT, or local."),
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="List the claims and what they say, then stop.")] = False,
) -> None:
    from paper_checks import registry

    entries = asked = registry.chosen(claims or [])
    left: dict[str, dict[str, str]] = {}
    mine = within = None
    if learner is not None or world is not None:
        from paper_checks import own

        mine = None if learner is None else own.learner(learner)
        within = None if world is None else own.world(world)
        left = _left_out(asked, {"learner": mine, "world": within}, named=bool(claims))
        entries = [entry for entry in asked if not any(entry.name in each for each in left.values())]
    if bench:
        _require_bench(bench, entries)
    if listing:
        _list(entries)
        return
    if not entries:
        raise ValueError("there are no claims yet: `paper-checks new my-claim` writes a template")
    _require(profile in PROFILES, f"unknown profile {profile!r}: choose one of {', '.join(PROFILES)}")
    _require(device in ("auto", "cpu", "cuda"), f"unknown device {device!r}: choose auto, cpu or cuda")
    _require(seeds is None or seeds >= 2, f"--seeds must be at least 2, found {seeds}: one seed has no interval")
    _require(jobs is None or jobs >= 1, f"--jobs must be at least 1, found {jobs}")
    _require(jobs is None or cluster in (None, "local"), "--jobs is up to the cluster's workers: leave it out")
    _require_writable(out)
    place = _device(device, cluster)
    from paper_checks.plan import Settings, plan

    changed = _changes(changes or [], profile, entries)
    crew = _crew(jobs or _cores(place), cluster)
    settings = Settings(profile, place, seeds, mine, within, tuple(bench or ()), changed, out, fresh, crew)
    plans = [plan(entry, settings) for entry in entries]
    seeded = any("seeds" in made.config or made.troubles for made in plans)
    _require(seeds is None or seeded, "--seeds changes nothing: none of the chosen claims trains over seeds")
    several = "s" * (len(entries) != 1)
    for option, each in left.items():
        print(f"--{option}: in {len(entries)} claim{several}; left out: {_why(each)}", file=sys.stderr)
    raise typer.Exit(_run(plans, settings))


def _require(condition: bool, complaint: str) -> None:
    if not condition:
        raise ValueError(complaint)


PLACES = {"learner": "methods", "world": "world"}  # what of a claim's config the options change


def _left_out(entries: "list[Entry]", given: Mapping[str, str | None], *, named: bool) -> dict[str, dict[str, str]]:
    """For each option the claims that do not take it, and why; one of them that was asked for by name is an error."""
    left = {}
    for option, mine in given.items():
        refused = {entry.name: why for entry in entries if mine is not None and (why := _refusal(entry, option, mine))}
        _require(not (named and refused), f"--{option} changes nothing in {_why(refused)}: leave out or choose others")
        if refused:
            left[option] = refused
    return left


def _refusal(entry: "Entry", option: str, mine: str) -> str:
    """Why the claim does not take the option, "" where it does; one that cannot be imported is left to `plan`."""
    try:
        claim = entry.load()
    except (Exception, SystemExit):
        return ""
    if not all(PLACES[option] in config for config in claim.config.values()):
        return TAKES_NONE
    return claim.refuses(mine) if option == "learner" and claim.refuses is not None else ""


TAKES_NONE = "takes none"


def _why(left: dict[str, str]) -> str:
    """Those that take none at all together, the others with their reasons."""
    plain = [name for name, why in left.items() if why == TAKES_NONE]
    words = [f"{', '.join(plain)} (take{'s' * (len(plain) == 1)} none)"] if plain else []
    return "; ".join(words + [f"{name} ({why})" for name, why in left.items() if why != TAKES_NONE])


def _changes(given: list[str], profile: str, entries: "list[Entry]") -> dict[str, Any]:
    """What `--set` asks for; every one of the claims must have it, and of that kind."""
    changes: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        _require(bool(key and equals), f"--set: expected KEY=VALUE, as steps=8000, found {text!r}")
        _require(key != "seeds", "--set seeds: use --seeds, which has a lower limit")
        _require(key != "world", "--set world: use --world, which tries the world first")
        try:
            changes[key] = json.loads(value)
        except ValueError:
            changes[key] = value  # a word
        _require(_is_finite(changes[key]), f"--set {key}: expected finite numbers, found {value}; give others")
    for entry in entries if changes else ():
        try:
            claim = entry.load()
        except (Exception, SystemExit):  # `plan` says so in a line
            continue
        claim.settings(profile, changes=changes)
    return changes


def _is_finite(value: Any) -> bool:
    """Whether no number in it is infinite or none at all, which JSON's readers take too."""
    try:
        return bool(json.dumps(value, allow_nan=False))
    except ValueError:
        return False


def _require_bench(folders: list[str], entries: "list[Entry]") -> None:
    from paper_checks import real_data

    there = any(entry.name == real_data.CLAIM.name for entry in entries)
    _require(there, f"--bench changes nothing without the claim {real_data.CLAIM.name}: name it too")
    for folder in folders:
        real_data.digest_of(folder)


def _require_writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise ValueError(f"cannot write to --out {out}: {error.strerror}; choose another folder") from None


def _crew(jobs: int, cluster: str | None) -> "int | Cluster":
    from paper_checks.workers import Cluster

    return jobs if cluster is None else Cluster(cluster, jobs)


def _device(wanted: str, cluster: str | None = None) -> str:
    """What tasks compute on; of a cluster elsewhere nothing is known here, so there auto is the CPU."""
    if cluster not in (None, "local"):
        return "cpu" if wanted == "auto" else wanted
    import torch

    there = torch.cuda.is_available()
    _require(wanted != "cuda" or there, "no CUDA device here (torch.cuda.is_available() is False): use --device cpu")
    return "cuda" if wanted != "cpu" and there else "cpu"


def _cores(device: str) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 4) if device == "cuda" else cores


def _list(entries: "list[Entry]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("claim", "part", "statement", box=None, pad_edge=False, header_style="bold")
    for entry in entries:
        table.add_row(entry.name, entry.part, entry.statement)
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)


def _run(plans: "list[Plan]", settings: "Settings") -> int:
    from paper_checks import report, terminal

    gc.enable()
    try:
        outcomes = terminal.follow(plans, settings)
    except KeyboardInterrupt:
        command = "the same command" + (" without --fresh" if settings.fresh else "")
        print(f"\ninterrupted: finished tasks are kept, {command} goes on from there", file=sys.stderr)
        return 130
    page = report.build(settings.out)
    terminal.verdicts(outcomes, page, settings.learner)
    return 0 if all(outcome.verdict == "holds" for outcome in outcomes) else 1


def main() -> int:
    """Run the command line and return its exit code; every complaint is one line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal of ASCII has no ✓
    try:
        gc.disable()  # imports and plans are a million objects, all of which stay
        atexit.register(gc.freeze)  # nor does leaving collect them, which took longer than some claims
        if sys.argv[1:2] == ["new"]:
            from paper_checks.new import write

            return write(sys.argv[2:])
        return int(app(standalone_mode=False) or 0)
    except (USAGE_ERROR, ValueError) as error:
        words = error.format_message() if hasattr(error, "format_message") else str(error)
        print(f"paper-checks: {words}", file=sys.stderr)
        return 2
    except OSError as error:
        words = f"expected to read and write files, found {' '.join(str(error).split())}"
        again = "run the same command again" + (" without --fresh" if "--fresh" in sys.argv else "")
        remedy = f"make room or mend permissions there and {again}: finished tasks are kept"
        print(f"paper-checks: {words}; {remedy}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, typer.Abort):
        print("\ninterrupted", file=sys.stderr)
        return 130
    finally:
        gc.enable()


if __name__ == "__main__":
    sys.exit(main())
