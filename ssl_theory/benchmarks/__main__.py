"""`ssl-bench`: which methods keep content, which keep style, on real images; one table, one picture."""

from __future__ import annotations

import errno
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

try:
    from typer import Abort, TyperException
except ImportError:  # typer that still stands on click
    from click import Abort  # type: ignore[assignment]
    from click import ClickException as TyperException  # type: ignore[assignment]

from ssl_theory.benchmarks.errors import InputError

HELP = """\
Trains self-supervised methods on real images, several seeds each, and prints what their representations kept.

CONTENT is how well the label can be read off (linear, MLP and k-NN accuracy; clustering by a Gaussian
mixture). STYLE is how well the augmentation's own parameters (shift, rotation, scale) can be read off, as R².
Theory says that methods which only compare views lose style, and that SimVAE keeps both. Everything is scored
on test images that no choice was made on.

\b
ssl-bench digits                      scikit-learn's digits: no network
ssl-bench digits --methods vae,simvae --seeds 10
ssl-bench digits --methods all        sixteen of them, also MoCo, BYOL, SwAV, DINO, BetaVAE, CR-VAE, Supervised
ssl-bench mnist --data-dir ~/mnist    a folder fetched from the hub before
ssl-bench folder --data-dir ~/mine --image-column scan --label-column kind

Results go to OUT/NAME: table.parquet, table.json, table.md, figures (png, pdf), provenance.json. What is done
is kept: the same command again computes nothing, and a killed run goes on where it was. """

INTERRUPTED = 130

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=HELP)
def bench(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Data set: digits, mnist, fashion_mnist, cifar10 or folder.")
    ] = "digits",
    seeds: Annotated[int, typer.Option(help="Training seeds, at least 2; intervals are over them.")] = 5,
    steps: Annotated[int, typer.Option(help="Longest training; a quarter and a half of it are tried too.")] = 4000,
    methods: Annotated[
        str | None,
        typer.Option(help="Methods, separated by commas, or all; by default a core of seven."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for results.")] = Path("results/bench"),
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder with the images, in the hub's layout (Parquet).")
    ] = None,
    image_column: Annotated[str | None, typer.Option(help="Column with the images.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column with the labels 0..C-1.")] = None,
    augmentation: Annotated[
        str | None,
        typer.Option(help="affine (shift, turn, scale), crop (and flip) or crop-colour; by default as the images are."),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Methods at a time, each with one thread; 0: one a core, at most 2.")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget earlier results of these settings.")] = False,
) -> None:
    """See HELP."""
    started = time.monotonic()
    _check_numbers(seeds, steps, jobs)
    # torch and all that stands on it take seconds to import: not for --help, not for a mistyped number.
    from ssl_theory.benchmarks import data, published, report, run, table
    from ssl_theory.benchmarks.methods import named
    from ssl_theory.benchmarks.progress import shown

    wanted = named(methods)
    settings = run.Settings(seeds=seeds, steps=steps, device=_device(device))
    splits = data.load(name, folder=data_dir, image_column=image_column, label_column=label_column)
    views = published.named(augmentation, splits.shape)
    folder = _folder(out / name)
    todo = [run.Job.of(method, splits, views, settings, folder / "cache") for method in wanted]
    workers = 1 if settings.device != "cpu" else jobs or min(2, os.cpu_count() or 1)
    with shown(wanted) as progress:
        results = run.run(todo, workers=workers, fresh=fresh, report=progress)
    report.write(folder, results, splits, views, settings, time.monotonic() - started)
    _print(table, report.tidy(results), report.titles(wanted), report.caption(splits, settings), folder)


def _print(table: Any, rows: Any, names: dict[str, str], caption: str, folder: Path) -> None:
    console = Console(highlight=False)
    for drawn in table.terminal(rows, names):
        console.print(drawn)
    console.print(caption)
    console.print(table.choices(rows, names))
    console.print(f"Written to {folder}.", soft_wrap=True)


def _check_numbers(seeds: int, steps: int, jobs: int) -> None:
    if seeds < 2:
        raise InputError(f"--seeds {seeds}: at least 2 are needed for an interval.")
    if steps < 1:
        raise InputError(f"--steps {steps}: at least 1 is needed.")
    if jobs < 0:
        raise InputError(f"--jobs {jobs}: give the number of methods at a time, or 0 to have it chosen.")


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts
        raise InputError(f"--device {name}: not to be had here; give auto, cpu or cuda.") from error
    return name


def _folder(path: Path) -> Path:
    try:
        (path / "cache").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out: cannot write to {path} ({error.strerror}); name another folder.") from error
    return path


def main(arguments: list[str] | None = None) -> NoReturn:
    """The console script: exit code 0, 2 for bad input (one line on stderr), 130 after Ctrl-C."""
    try:
        code = app(args=arguments, prog_name="ssl-bench", standalone_mode=False)
    except InputError as error:
        code = _complain(str(error))
    except TyperException as error:
        code = _complain(f"{error.format_message()} See ssl-bench --help.")
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        code = _complain("no space left on the disk; what is finished is kept: make room and run the same command.")
    except (KeyboardInterrupt, Abort):
        code = INTERRUPTED
    if code == INTERRUPTED:  # typer may have answered Ctrl-C with this code itself
        print("ssl-bench: interrupted; the same command goes on from here.", file=sys.stderr)
    sys.exit(code or 0)


def _complain(message: str) -> int:
    print("ssl-bench: " + " ".join(message.split()), file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
