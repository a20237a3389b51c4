"""`python -m synthetic PRESET -n 10000 -o FILE.parquet`: sample a named world into a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from synthetic.export import provenance, require_writable, write
from synthetic.presets import PRESETS, preset
from synthetic.stream import Stream

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _parsed(pairs: list[str]) -> dict[str, Any]:
    """`name=value` pairs, values as JSON where they are JSON, else as text."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"expected --set NAME=VALUE, found {pair!r}")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found


@app.command(epilog=f"Presets: {', '.join(PRESETS)}.")
def export(
    name: Annotated[str, typer.Argument(metavar="PRESET", help="name of the world")],
    n: Annotated[int, typer.Option("-n", help="number of data points")] = 10_000,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="FILE.parquet or FILE.npz")] = None,
    views: Annotated[int, typer.Option(help="views of each data point")] = 2,
    seed: Annotated[int, typer.Option(help="seed of the sample")] = 0,
    world_seed: Annotated[int, typer.Option(help="seed of the world's means and mixing")] = 0,
    change: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE, an override of the preset")] = None,
) -> None:
    """Sample a named world into a file; without -o, print the world."""
    overrides = _parsed(change or [])
    world = preset(name, world_seed, **overrides)
    if output is None:
        typer.echo(repr(world))
        return
    require_writable(output)
    stream = Stream(world, n, views=views, seed=seed)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(f"sampling {name}", total=n)
        write(stream, output, provenance(stream, name, world_seed, overrides), lambda k: progress.advance(task, k))
    typer.echo(f"{n} data of {views} views written to {output}")


def main() -> None:
    """Run the command; bad input ends in one line and exit code 2."""
    try:
        app()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except TypeError as error:
        print(f"error: expected overrides of the right type: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
