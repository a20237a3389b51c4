"""`ssl-bench`: which methods keep content, which keep style, on real images; one table, one picture."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

try:
    from typer import Abort, TyperException
except ImportError:  # typer that still stands on click
    from click import Abort  # type: ignore[assignment]
    from click import ClickException as TyperException  # type: ignore[assignment]

from ssl_theory.benchmarks import asked
from ssl_theory.benchmarks.errors import FULL, InputError

if TYPE_CHECKING:
    from ssl_theory.benchmarks.arithmetic import Trial
    from ssl_theory.benchmarks.grid import Bench
    from ssl_theory.benchmarks.run import Style

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
ssl-bench sprites                     drawn here, so that their style is known exactly
ssl-bench download mnist --to ~/mnist        fetch a data set ahead
ssl-bench mnist --data-dir ~/mnist           a folder fetched before
ssl-bench mnist cifar10 --data-dir ~/data    two of them: ~/data/mnist, ~/data/cifar10
ssl-bench folder --data-dir ~/mine --image-column scan --label-column kind
ssl-bench compare results/a/digits results/b/digits        two folders of results side by side
ssl-bench mnist --data-dir ~/mnist --precision fastest --compile       trains faster, to results of their own
ssl-bench map digits                  where SimVAE keeps more content than the VAE

Results go to OUT/NAME: table.parquet, table.json, table.md, table.tex, figures (png, pdf), provenance.json. What
is done is kept: the same command again computes nothing, and a killed run goes on where it was. Where memory runs
out, networks take a batch a piece at a time, but not those with batch normalisation (see --encoder), nor with
--devices, --nodes or --compile: there a line says which --batch to try. """

COMPARE = """\
Sets two folders of results (OUT/NAME) side by side: first what differs in data and settings, then every number of
both with its 95 % interval, and their difference, marked where the intervals do not overlap. """

DOWNLOAD = """\
Fetches a data set from the hub ahead, so that ssl-bench NAME --data-dir FOLDER needs no network. An interrupted
download goes on where it was. """

MAP = """\
Maps where SimVAE keeps more content than the VAE and where not: over decoder variance and style variance, number of
views, latent size, strength of the augmentation and length of training. Differences are paired by seed; views by shift,
turn and scale unless --augmentation says otherwise. Writes OUT/NAME: content-map.md, content-map.parquet, plane.png,
axes.png, provenance.json. A killed run goes on where it was.

\b
ssl-bench map digits --steps 4000 --seeds 5
ssl-bench map mnist --data-dir ~/mnist --narrow
ssl-bench map cifar10 --data-dir ~/cifar10 --narrow --plane --augmentation crop-colour """

CONFIG = "Configuration of a data set that has several, as the hub names it."
INTERRUPTED = 130
GIVEN: list[str] = []  # the words of this command, as `main` was given them
DIGITS_STEPS, STEPS, DIGITS_SEEDS, SEEDS = 4000, 2000, 5, 3


def _place(typed: str | Path) -> Path:
    """Not what is empty, as an unset variable of the shell is: it would be the folder that one is in."""
    if typed == "":
        raise typer.BadParameter("it is empty; give a folder (. for the one you are in).")
    return Path(typed)


FOLDER: dict[str, Any] = {"parser": _place, "metavar": "<path>"}
app, compare_app, download_app, map_app = (
    typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False) for _ in range(4)
)
COMMANDS = {"compare": compare_app, "download": download_app, "map": map_app}


@app.command(help=HELP)
def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Data set: digits, sprites, mnist, fashion_mnist, cifar10, celeba, owner/name of the hub, or folder; "
            "of several, every method of each is one list of work. [default: digits]",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(help="Training seeds, at least 3; intervals are over them. 5 for digits, else 3."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Longest training; a quarter and a half of it are tried too. 4000 for digits, else 2000; with "
            "--published 400 passes over the images."
        ),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(help="Methods, separated by commas, or all; by default a core of seven."),
    ] = None,
    encoder: Annotated[
        str,
        typer.Option(
            help="Network: mlp, conv (small), resnet18, or auto: an MLP for grey images (128-128-128 up to 16 pixels, "
            "else 512-256; latent size 10), conv for colour images (latent size 64). Decoders mirror it. Hidden "
            "layers are batch-normalised in discriminative methods and Supervised, in others with resnet18 alone."
        ),
    ] = "auto",
    head: Annotated[
        int | None,
        typer.Option(
            help="Hidden layers of the discriminative methods' projection head (each of 128, as its output), which are "
            "then examined before it too; 0: no head. 0 for digits, else 1."
        ),
    ] = None,
    published: Annotated[
        bool,
        typer.Option(
            "--published",
            help="Network, Adam 8e-5, crops and flips and 400 passes over the images as published: hours to days.",
        ),
    ] = False,
    batch: Annotated[int, typer.Option(help="Images a step, each with 2 views.")] = 64,
    out: Annotated[Path, typer.Option(help="Folder for results.", **FOLDER)] = Path("results/bench"),
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the images, in the hub's layout (Parquet); for several NAMEs that of NAME/.", **FOLDER
        ),
    ] = None,
    image_column: Annotated[str | None, typer.Option(help="Column with the images.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column with the labels 0..C-1.")] = None,
    config: Annotated[str | None, typer.Option(help=CONFIG)] = None,
    augmentation: Annotated[
        str | None,
        typer.Option(
            help="affine (shift, turn, scale), crop (and flip), crop-colour, or world (sprites drawn anew); by default "
            "as the images are."
        ),
    ] = None,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Train each method by one compiled program and change colours in one compiled loop: faster on a CPU, "
            "most of all with --precision fastest, equal up to rounding; needs a C++ compiler, and some ten seconds a "
            "method to compile it. With --devices, --nodes or bf16-mixed it is colours alone.",
        ),
    ] = False,
    jobs: Annotated[
        int,
        typer.Option(
            help="Methods at a time; 0: one a core, at most 2. On the CPU each has one thread, also when it is alone, "
            "so that numbers do not depend on this; on a GPU they come one after the other."
        ),
    ] = 0,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="On a dask cluster: its scheduler's address (tcp://HOST:8786), or local. The training of each seed "
            "of each method is one piece of work, and then each method's examination. What was cut off goes on where "
            "it was if the workers see OUT by the same path, else it begins anew. Numbers round otherwise than in one "
            "process: the results are others."
        ),
    ] = None,
    devices: Annotated[int, typer.Option(help="Devices that each training is divided among, on each machine.")] = 1,
    nodes: Annotated[int, typer.Option(help="Machines that each training is divided among.")] = 1,
    precision: Annotated[
        str,
        typer.Option(
            help="Arithmetic that networks train in: 32-true; 32-high and 32-medium, float32 with matrix products in "
            "TF32 (GPU) and bfloat16; bf16-mixed, layers in bfloat16; or fastest: tries which of them is, among those "
            "whose gradient differs by 1 % at most from that in float64, says so and keeps to it."
        ),
    ] = "32-true",
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard",
            help="Write the losses for TensorBoard too, to OUT/NAME/tensorboard: every 500 steps while a method trains "
            "(on a cluster when it is done).",
        ),
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget earlier results of these settings.")] = False,
) -> None:
    """See HELP."""
    asked.numbers(SEEDS if seeds is None else seeds, steps, jobs, batch, devices, nodes)
    asked.scale(cluster, devices * nodes, precision)
    # torch and all that stands on it take seconds to import: not for --help, not for a mistyped number.
    from ssl_theory.benchmarks import arithmetic, board, data, grid, provenance, report, run
    from ssl_theory.benchmarks import methods as known
    from ssl_theory.benchmarks import published as views

    if tensorboard:
        board.writer()
    known.named(methods)  # a mistyped one is refused before the images are read
    place = asked.device(device)
    names = list(dict.fromkeys(data.listed(name) for name in names or ["digits"]))
    folders = {name: data_dir and (data_dir / name if len(names) > 1 else data_dir) for name in names}
    if not set(names) <= set(data.BUILT_IN):  # else they refuse it
        folders |= dict.fromkeys(data.BUILT_IN)
    loaded = {
        name: data.load(name, folder=folders[name], image_column=image_column, label_column=label_column, config=config)
        for name in names
    }
    seen, designs = {}, {}  # of all before any of them is computed: what is refused leaves nothing
    for name, splits in loaded.items():
        seen[name] = views.chosen(augmentation, splits, published=published)
        depth = head if head is not None else 0 if name == "digits" else 1
        designs[name] = known.design(splits.shape, encoder=encoder, head=depth, published=published)
    if compiled:
        seen = _compiled(seen, training=arithmetic.alone(devices * nodes, precision))
    kept = {name: asked.folder(out / name, report.FILES) for name in names}
    if precision == asked.FASTEST:
        learner = known.named("simvae", designs[names[0]])[0].learner
        assert learner is not None
        trial = arithmetic.Trial(learner, loaded[names[0]].shape, batch, place, mixed=not compiled)
        precision = _fastest(trial, kept[names[0]] / "cache", fresh=fresh)
    means = grid.Means(place, jobs or min(2, os.cpu_count() or 1), cluster, devices, nodes, precision)
    benches = []
    for name, splits in loaded.items():
        small = name == "digits"
        usual = known.published_steps(len(splits.train), batch) if published else DIGITS_STEPS if small else STEPS
        settings = run.Settings(
            seeds=seeds if seeds is not None else DIGITS_SEEDS if small else SEEDS,
            steps=steps or usual,
            batch_size=batch,
            device=place,
            precision=precision,
            apart=cluster is not None,
            compiled=compiled and not means.fabric,
        )
        chosen = known.named(methods, designs[name])
        todo = [run.Job.of(one, splits, seen[name], settings, kept[name] / "cache") for one in chosen]
        benches.append(grid.Bench(kept[name], todo))
    provenance.commit()  # asked now: the tree may move on meanwhile
    if grid.work(benches, means, _command(), fresh=fresh, boards=tensorboard):
        for done in benches:
            _show(done)


def _compiled(seen: dict[str, Style], *, training: bool) -> dict[str, Style]:
    """The same views with their colours compiled; refuses where nothing is, or can be, compiled."""
    from ssl_theory.benchmarks import arithmetic
    from ssl_theory.benchmarks import published as views

    looped = {name: views.in_one_loop(how) for name, how in seen.items()}
    if looped == seen and not training:
        raise InputError("--compile makes changes of colour faster here, and these views have none: leave it out.")
    if training:
        arithmetic.require_compiler()
    return looped


def _fastest(trial: Trial, folder: Path, *, fresh: bool) -> str:
    """The arithmetic that is tried and found fastest, told of."""
    from ssl_theory.benchmarks import run

    with run.one_thread(trial.device):
        choice = trial.remembered(folder, fresh=fresh)
    print(f"ssl-bench: {choice.words}", file=sys.stderr)
    return choice.precision


def _show(done: Bench) -> None:
    """Print the table of a data set."""
    from ssl_theory.benchmarks import report, table

    rows, names = report.tidy(done.results()), report.titles([job.method for job in done.jobs])
    console = Console(highlight=False, markup=False)
    for drawn in table.terminal(rows, names):
        console.print(drawn)
    console.print(report.caption(done.jobs, rows))
    console.print(table.choices(rows, names))
    console.print(f"Written to {done.folder}.", soft_wrap=True)


@compare_app.command(help=COMPARE)
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A folder of results.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
) -> None:
    """See COMPARE."""
    from ssl_theory.benchmarks.compare import print_comparison

    print_comparison(first, second, Console(highlight=False, markup=False))


@download_app.command(help=DOWNLOAD)
def download(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Data set.")],
    to: Annotated[Path | None, typer.Option(help="Folder to put it in; by default data/NAME.", **FOLDER)] = None,
) -> None:
    """See DOWNLOAD."""
    from ssl_theory.benchmarks.download import fetch

    console = Console(highlight=False, markup=False)
    fetch(name, to or Path("data") / name, lambda line: console.print(line, soft_wrap=True))


@map_app.command(help=MAP)
def content_map(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Data set, as for ssl-bench.")] = "digits",
    steps: Annotated[int, typer.Option(help="Longest training; a quarter and a half of it are examined too.")] = STEPS,
    seeds: Annotated[int, typer.Option(help="Training seeds, at least 3; intervals are over them.")] = SEEDS,
    narrow: Annotated[bool, typer.Option("--narrow", help="Few values on each axis.")] = False,
    plane: Annotated[
        bool, typer.Option("--plane", help="Decoder and style variance alone: half of the work or less.")
    ] = False,
    decoder_variances: Annotated[
        str | None, typer.Option(help="Values on that axis of the plane, separated by commas.")
    ] = None,
    latent_dim: Annotated[int | None, typer.Option(help="Latent size of the plane; 10, 64 for colour images.")] = None,
    encoder: Annotated[str, typer.Option(help="auto, mlp, conv or resnet18, as for ssl-bench.")] = "auto",
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder with the images, in the hub's layout (Parquet).", **FOLDER)
    ] = None,
    image_column: Annotated[str | None, typer.Option(help="Column with the images.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column with the labels 0..C-1.")] = None,
    config: Annotated[str | None, typer.Option(help=CONFIG)] = None,
    augmentation: Annotated[
        str, typer.Option(help="affine (shift, turn, scale), crop (and flip) or crop-colour.")
    ] = "affine",
    out: Annotated[Path, typer.Option(help="Folder for results.", **FOLDER)] = Path("results/content-map"),
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="32-true, 32-high, 32-medium or fastest, as for ssl-bench.")
    ] = "32-true",
    compiled: Annotated[
        bool, typer.Option("--compile", help="Train by one compiled program, change colours in one, as for ssl-bench.")
    ] = False,
    jobs: Annotated[int, typer.Option(help="Parts at a time, each with one thread; 0: one a core, at most 2.")] = 0,
) -> None:
    """See MAP."""
    asked.numbers(seeds, steps, jobs)
    asked.latent_size(latent_dim)
    asked.products(precision)
    from ssl_theory.benchmarks import arithmetic, cache, data, map_report, progress, provenance
    from ssl_theory.benchmarks import content_map as mapping
    from ssl_theory.benchmarks import published as views
    from ssl_theory.learners import SimVAE

    place = asked.device(device)
    grid = mapping.grid(narrow=narrow, plane=plane, decoders=decoder_variances)
    name = data.listed(name)
    splits = data.load(name, folder=data_dir, image_column=image_column, label_column=label_column, config=config)
    usual = views.named(augmentation, splits.shape)
    run = mapping.Run(splits, usual, steps, seeds, place, encoder, latent_dim)
    if compiled:
        looped = _compiled({name: usual}, training=True)[name]
        assert isinstance(looped, views.Augmentation)
        run = replace(run, usual=looped, compiled=True)
    learner = SimVAE(**run.design.size)  # what is refused leaves nothing
    folder = asked.folder(out / name, map_report.FILES, "parts")
    if precision == asked.FASTEST:
        trial = arithmetic.Trial(learner, splits.shape, mapping.IMAGES // arithmetic.VIEWS, place, mixed=False)
        precision = _fastest(trial, folder / "parts", fresh=False)
    run = replace(run, precision=precision)
    parts = mapping.Part.all_of(run, grid, folder / "parts")
    workers = 1 if place != "cpu" else jobs or min(2, os.cpu_count() or 1)
    console = Console(stderr=True, highlight=False, markup=False)
    provenance.commit()  # asked now: the tree may move on meanwhile
    with cache.alone(folder, "parts"):
        with progress.mapped(parts) as told:
            rows = mapping.computed(parts, workers, told)
        map_report.write(folder, name, rows, run, mapping.effort(parts), _command())
    console.print(f"Written to {folder}.", soft_wrap=True)


def _command() -> str:
    """What was typed, for provenance."""
    return shlex.join(["ssl-bench", *GIVEN])


def main(arguments: list[str] | None = None) -> NoReturn:
    """The console script: exit code 0, 2 for bad input (one line on stderr), 130 after Ctrl-C."""
    given = sys.argv[1:] if arguments is None else arguments
    chosen = COMMANDS.get(given[0]) if given else None
    command, rest, called = (app, given, "") if chosen is None else (chosen, given[1:], f" {given[0]}")
    GIVEN[:] = given
    try:
        code = command(args=rest, prog_name=f"ssl-bench{called}", standalone_mode=False)
    except InputError as error:
        code = _complain(str(error))
    except TyperException as error:
        code = _complain(f"{error.format_message()} See ssl-bench{called} --help.")
    except OSError as error:
        if error.errno not in FULL:
            raise
        code = _complain(
            "no space left on the disk, in your quota or in one file; what is finished is kept: make room and run the "
            "same command."
        )
    except (MemoryError, RuntimeError) as error:
        if not _short_of_memory(error):
            raise
        code = _complain(
            f"out of memory ({str(error) or type(error).__name__}); all images of a data set are held as bytes: give "
            "fewer or smaller ones, fewer --jobs or a machine with more memory; what is finished is kept."
        )
    except (KeyboardInterrupt, Abort):
        code = INTERRUPTED
    if code == INTERRUPTED:  # typer may have answered Ctrl-C with this code itself
        print("ssl-bench: interrupted; the same command goes on from here.", file=sys.stderr)
    sys.exit(code or 0)


def _short_of_memory(error: BaseException) -> bool:
    from ssl_theory.learners.pieces import short_of_memory  # stands on torch: not for the commands that go well

    return short_of_memory(error)


def _complain(message: str) -> int:
    print("ssl-bench: " + " ".join(message.split()), file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
