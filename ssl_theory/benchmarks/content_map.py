"""Where does SimVAE keep more content than the VAE, and where not? A map with error bars, on any data set of ssl-bench.

    ssl-bench map digits --steps 4000 --seeds 5
    ssl-bench map mnist --data-dir FOLDER --narrow
    ssl-bench map cifar10 --data-dir FOLDER --narrow --plane --augmentation crop-colour

Both learners have the same networks, the same decoder variance, and, seed by seed, the same initial weights and
batches, so their difference is a paired one. What is varied, from a base of 2 views, the usual augmentation and, unless
others are asked for, the benchmark's networks and latent size (10 for grey images, 64 for colour):

- the plane: decoder variance (how much reconstruction counts) against SimVAE's style variance (how strongly its
  prior ties the views; the content variance is 1), each with every value of the other;
- one thing at a time, at two decoder variances: views J (of as many images a step in all), latent size, and the
  strength of the augmentation (its intervals shrunk or widened); not where the plane alone is asked for;
- length of training: everything is examined after a quarter, a half and the whole of the steps.

Content is read from plain test images: linear accuracy, k-NN accuracy, and the NMI of a Gaussian mixture with as many
components as classes; style is the mean R² of the augmentation's parameters under a linear probe. What
comes of it is told by `map_report`.

Finished parts are kept in OUT/NAME/parts, with their checksum and what they took, and not computed again; of one that
was killed the lengths that had been examined are kept, and training goes on from its last checkpoint.
"""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits

from ssl_theory.analysis.clustering import mixture_clustering
from ssl_theory.analysis.probes import accuracy, r2
from ssl_theory.benchmarks import arithmetic, cache, machine
from ssl_theory.benchmarks.augmentation import Affine, Augmentation, Chain, unit
from ssl_theory.benchmarks.data import Images, Splits
from ssl_theory.benchmarks.errors import InputError
from ssl_theory.benchmarks.examination import Examination
from ssl_theory.benchmarks.machine import Effort
from ssl_theory.benchmarks.methods import Design, design
from ssl_theory.benchmarks.processes import each
from ssl_theory.benchmarks.published import Colour, Crop
from ssl_theory.benchmarks.run import SHARES, refused
from ssl_theory.learners import VAE, Fitted, SimVAE, fit

IMAGES = 128  # a step, over all views
ROWS = 4000  # images that a probe learns on, and that it is scored on, at most
BASE_DECODER, BASE_STYLE = 0.01, 0.15  # the benchmark's, as published
LEAST_AREA = 0.05  # of a crop, however strong
CHOSEN_BY = "validation"  # the measure that choices are made by
ROWS_FILE = "rows.parquet"  # of a stored part
LEARNERS = (VAE, SimVAE)
DONE = "done"

Told = Callable[[str, str, int], None]  # (name of a part, learner, its steps so far), or (name, DONE or REFUSED..., 0)


@dataclass(frozen=True)
class Setting:
    """What the two learners share besides the decoder variance."""

    views: int = 2
    latent_dim: int = 10
    strength: float = 1.0


AXES = tuple(asdict(Setting()))


@dataclass(frozen=True)
class Grid:
    """The values on each axis of the map."""

    decoder: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3)
    style: tuple[float, ...] = (0.01, 0.05, 0.15, 0.5)
    views: tuple[int, ...] = (4, 8)
    latent_dim: tuple[int, ...] = (4, 20, 40)
    strength: tuple[float, ...] = (0.25, 0.5, 1.5)
    decoders_elsewhere: tuple[float, ...] = (0.01, 0.1)  # off the base, where one thing at a time is varied

    def parts(self, base: Setting) -> list[tuple[Setting, tuple[float, ...], tuple[float, ...]]]:
        """(setting, decoder variances, style variances), each with every learner."""
        plane = [(base, (decoder,), self.style) for decoder in self.decoder]
        moved = [replace(base, **{name: value}) for name in AXES for value in getattr(self, name)]
        return [*plane, *((where, self.decoders_elsewhere, (BASE_STYLE,)) for where in moved if where != base)]

    @property
    def plane(self) -> Grid:
        """The plane alone."""
        return replace(self, **dict.fromkeys(AXES, ()))


NARROW = Grid(decoder=(0.01, 0.1, 0.3, 1.0, 3.0), style=(0.02, 0.15), views=(4,), latent_dim=(4, 20), strength=(0.5,))


def grid(*, narrow: bool = False, plane: bool = False, decoders: str | None = None) -> Grid:
    """The grid that was asked for, `decoders` as typed: `0.01,0.1`."""
    chosen = NARROW if narrow else Grid()
    if decoders is not None:
        chosen = replace(chosen, decoder=_positive(decoders))
    return chosen.plane if plane else chosen


def _positive(typed: str) -> tuple[float, ...]:
    try:
        values = {float(word) for word in typed.split(",")}
    except ValueError:
        values = set()
    if not values or not all(0 < value < np.inf for value in values):
        raise InputError(f"--decoder-variances {typed}: expected positive numbers with commas between, as 0.01,0.1.")
    return tuple(sorted(values))


@dataclass(frozen=True)
class Run:
    """What all parts of a map have in common; `usual` is the augmentation of strength 1, `latent_dim` that of the
    plane, the benchmark's when None."""

    splits: Splits
    usual: Augmentation
    steps: int
    seeds: int
    device: str = "cpu"
    encoder: str = "auto"
    latent_dim: int | None = None
    precision: str = arithmetic.EXACT
    compiled: bool = False

    @property
    def design(self) -> Design:
        """The networks of both learners."""
        usual = design(self.splits.shape, encoder=self.encoder)
        return usual if self.latent_dim is None else replace(usual, latent_dim=self.latent_dim)

    @property
    def base(self) -> Setting:
        return Setting(latent_dim=self.design.latent_dim)

    @property
    def lengths(self) -> list[int]:
        """Steps after which everything is examined, the longest last."""
        return sorted({max(1, round(share * self.steps)) for share in SHARES})


@dataclass(frozen=True)
class Part:
    """One setting, all its learners as one ensemble over seeds: a unit of work."""

    run: Run
    setting: Setting
    decoders: tuple[float, ...]
    styles: tuple[float, ...]
    stored: Path  # a folder

    @classmethod
    def all_of(cls, run: Run, grid: Grid, folder: Path) -> list[Part]:
        """Every part of the grid, stored in the folder under a name that tells all it depends on."""
        how = run.device, run.precision, run.compiled
        depends = (run.splits.fingerprint(), run.usual, run.steps, run.seeds, *how, run.design)
        common, parts = repr(depends), []
        for where in grid.parts(run.base):
            name = cache.key({"run": common, "part": repr(where)})
            parts.append(cls(run, *where, folder / name))
        return parts

    def augmentation(self) -> Augmentation:
        return strengthened(self.run.usual, self.setting.strength)

    @property
    def name(self) -> str:
        return self.stored.name

    def beside(self, name: str) -> Path:
        """A place for what is not finished yet."""
        return self.stored.with_name(f"{self.name}.{name}")

    def clear(self) -> None:
        """Remove what was not finished."""
        for path in self.stored.parent.glob(f"{self.name}.*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def learners(self) -> list[tuple[float, SimVAE | VAE]]:
        """(style variance, learner); the VAE, which has none, with NaN."""
        size: dict[str, Any] = self.run.design.size | {"latent_dim": self.setting.latent_dim}
        plain: list[tuple[float, SimVAE | VAE]] = [(np.nan, VAE(**size, decoder_variance=v)) for v in self.decoders]
        cells = product(self.decoders, self.styles)
        return plain + [(s, SimVAE(**size, decoder_variance=v, style_variance=s)) for v, s in cells]


def strengthened(usual: Augmentation, share: float) -> Augmentation:
    """Its intervals shrunk or widened to `share` times their width; flips stay as likely."""
    if isinstance(usual, Affine):
        return Affine(usual.shift * share, usual.rotation * share, usual.log_scale * share)
    if isinstance(usual, Crop):
        least = max(LEAST_AREA, 1 - share * (1 - usual.area[0]))
        return replace(usual, area=(least, usual.area[1]), aspect=usual.aspect**share)
    if isinstance(usual, Colour):
        names = ("brightness", "contrast", "saturation")
        return replace(usual, hue=min(0.5, usual.hue * share), **{n: getattr(usual, n) * share for n in names})
    assert isinstance(usual, Chain)
    return Chain(tuple(strengthened(one, share) for one in usual.parts))


def compute(part: Part, told: Told) -> None:
    """Train and examine; stored at the end in one rename, so that a killed run leaves no half of it, then told of."""
    began = time.monotonic()
    torch.set_num_threads(1)
    exam = Examination.of(part.run.splits, part.augmentation(), seed=0)
    with threadpool_limits(1):
        tables = [table for kind in LEARNERS for table in trained(part, exam, kind, told)]
    _store(part.stored, pd.concat(tables, ignore_index=True), Effort.since(began, part.run.device))
    part.clear()
    told(part.name, DONE, 0)


def trained(part: Part, exam: Examination, kind: type[SimVAE | VAE], told: Told) -> list[pd.DataFrame]:
    """The scores of all learners of a kind as an ensemble, one by one and seed by seed, after each length of training;
    where a killed run was, on from there."""
    styles, learners = zip(*(pair for pair in part.learners() if isinstance(pair[1], kind)), strict=True)
    who = [(one, style, seed) for one, style in zip(learners, styles, strict=True) for seed in range(part.run.seeds)]
    known = pd.DataFrame(
        {
            "learner": kind.__name__,
            "decoder_variance": one.decoder_variance,
            "style_variance": style,
            "seed": seed,
            **asdict(part.setting),
        }
        for one, style, seed in who
    )
    tables = []
    for steps in part.run.lengths:
        place = part.beside(f"{kind.__name__}-{steps}")
        if (rows := _rows(place)) is None:
            scores = examined(fitted(part, learners, steps, told), exam)
            scored = [known.assign(steps=steps, measure=name, value=v.cpu().numpy()) for name, v in scores.items()]
            rows = pd.concat(scored, ignore_index=True)
            _store(place, rows, Effort())
        tables.append(rows)
    return tables


def fitted(part: Part, learners: Sequence[SimVAE | VAE], steps: int, told: Told) -> Fitted:
    """The ensemble after so many steps: on from its checkpoint, or anew where that cannot be gone on from, damaged or
    further than rows that were lost."""
    kind = type(learners[0]).__name__
    checkpoint = part.beside(f"{kind}.checkpoint")
    begun = checkpoint.exists()
    try:
        with arithmetic.products(part.run.precision):
            return fit(
                learners,
                part.run.splits.views("train", part.augmentation()),
                steps=steps,
                seeds=range(part.run.seeds),
                batch_size=IMAGES // part.setting.views,
                views=part.setting.views,
                device=part.run.device,
                progress=lambda done, _: told(part.name, kind, done),
                checkpoint=checkpoint,
                compile=part.run.compiled,
            )
    except ValueError as error:  # a fault of ours shows again
        if not begun:
            raise
        told(part.name, refused(checkpoint, error), 0)
        return fitted(part, learners, steps, told)


def examined(fitted: Fitted, exam: Examination) -> dict[str, torch.Tensor]:
    """Every measure, `(E,)`; that which choices are made by is linear accuracy on validation images."""
    parts = {name: _some(getattr(exam, name)) for name in ("train", "validation", "test")}
    at = {name: fitted.transform(unit(part.pixels), batch_size=4096) for name, part in parts.items()}

    def read(kind: str, scored: str = "test") -> torch.Tensor:
        return accuracy(at["train"], parts["train"].labels, kind=kind, test=(at[scored], parts[scored].labels))

    views = [fitted.transform(v.x[:, 0][:ROWS], batch_size=4096) for v in (exam.train_views, exam.test_views)]
    style = [v.style[:, 0][:ROWS] for v in (exam.train_views, exam.test_views)]
    clusters = mixture_clustering(at["train"], at["test"], parts["test"].labels, exam.classes)
    return {
        "linear": read("linear"),
        "knn": read("knn"),
        "nmi": torch.as_tensor(clusters.nmi),
        "style": r2(views[0], style[0], test=(views[1], style[1])),
        CHOSEN_BY: read("linear", "validation"),
    }


def _some(images: Images) -> Images:
    return images[torch.arange(min(ROWS, len(images)))]


def computed(parts: Sequence[Part], workers: int, told: Told) -> pd.DataFrame:
    """Every part, several at a time, those that are stored already read."""
    missing = []
    for part in parts:
        if _rows(part.stored) is None:
            missing.append(part)
        else:
            told(part.name, DONE, 0)
    each(compute, missing, workers, told)
    tables = [_rows(part.stored) for part in parts]
    if any(table is None for table in tables):
        raise RuntimeError(f"a part vanished from {parts[0].stored.parent} while the run went on.")
    return pd.concat(tables, ignore_index=True)


def _store(entry: Path, rows: pd.DataFrame, took: Effort) -> None:
    cache.store(entry, {ROWS_FILE: cache.parquet(rows)}, took)


def _rows(entry: Path) -> pd.DataFrame | None:
    """None where there are none, or what the disk has damaged."""
    found = cache.fetch(entry, [ROWS_FILE])
    return None if found is None else pd.read_parquet(io.BytesIO(found[0][0]))


def effort(parts: Sequence[Part]) -> Effort:
    """What the parts that are stored took, whichever command computed them."""
    found = [cache.fetch(part.stored, [ROWS_FILE]) for part in parts]
    return machine.together(one[1] for one in found if one is not None)
