"""Everything a benchmark leaves behind: table, figures and provenance, in the folder of the data set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from figures import look
from ssl_theory.benchmarks import cache, draw, examination, generation, machine, table
from ssl_theory.benchmarks.cache import Result
from ssl_theory.benchmarks.data import Splits
from ssl_theory.benchmarks.examination import Examination
from ssl_theory.benchmarks.methods import Method
from ssl_theory.benchmarks.provenance import provenance
from ssl_theory.benchmarks.run import Job

FIGURES = ("content-against-style", "reconstructions", "samples", "clusters", "training")
SUFFIXES = ("png", "pdf")
TABLES = ("table.parquet", "table.json", "table.md", "table.tex", "provenance.json")
FILES = (*TABLES, *(f"{name}.{suffix}" for name in FIGURES for suffix in SUFFIXES))  # that a benchmark leaves


def tidy(results: dict[str, Result]) -> pd.DataFrame:
    """The rows of all methods, and those derived from several of them."""
    return table.with_retained(pd.concat([result.rows for result in results.values()], ignore_index=True))


def titles(methods: Sequence[Method]) -> dict[str, str]:
    return {method.key: method.title for method in methods}


def caption(jobs: Sequence[Job], rows: pd.DataFrame) -> str:
    splits, settings = jobs[0].splits, jobs[0].settings
    lost = table.lost(rows, titles([job.method for job in jobs]))
    headed = any(len(job.method.layers) > 1 for job in jobs)
    return (
        f"{splits.name}: {len(splits.train)} train, {len(splits.validation)} validation, {len(splits.test)} test "
        f"images; mean ± half of the 95 % t interval over {settings.seeds} training seeds; representation where "
        f"the loss acts{', and before the projection head' if headed else ''}; training length and k chosen on the "
        f"validation images. {_looked_at(splits, rows)}{lost}"
    ).rstrip()


def _looked_at(splits: Splits, rows: pd.DataFrame) -> str:
    """What is examined, where that is less than there is; nothing of what was not measured."""
    measured = set(rows.loc[rows["value"].notna(), "aspect"])
    most, few = examination.MOST_IMAGES, examination.EVIDENCE_IMAGES
    train, validation, test = (len(part) for part in (splits.train, splits.validation, splits.test))
    said = [f"probes learn on {most} train images"] if train > most else []
    said += [f"choices are made on {most} validation images"] if validation > most else []
    said += [f"probes are scored on {most} test images"] if test > most else []
    said += [f"evidence is of {few} test images"] if "evidence" in measured and test > few else []
    views, drawn = min(test, most) * examination.views_each(min(test, most)), generation.MOST_SAMPLES
    if "generation" in measured and views > drawn:
        said.append(f"Fréchet distances are between {drawn} samples and as many views of test images")
    return f"Of these, {', '.join(said)}. " if said else ""


def write(folder: Path, results: dict[str, Result], jobs: Sequence[Job], command: str) -> list[Path]:
    """Write table, figures and provenance to `folder`, and remove figures of an earlier command that this one does not
    draw; the paths written."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, names = tidy(results), titles([job.method for job in jobs])
    effort = machine.together(result.effort for result in results.values())
    with cache.replacing(folder / "table.parquet") as partial:
        rows.to_parquet(partial)
    texts = {
        "table.json": table.as_json(rows),
        "table.md": table.markdown(rows, names, caption(jobs, rows)),
        "table.tex": table.latex(rows, names, caption(jobs, rows)),
        "provenance.json": json.dumps(provenance(jobs, effort, command), indent=1),
    }
    for name, text in texts.items():
        cache.replace_text(folder / name, text)
    drawn = _figures(rows, results, jobs)
    for path in (folder / f"{name}.{suffix}" for name in set(FIGURES) - set(drawn) for suffix in SUFFIXES):
        path.unlink(missing_ok=True)
    written = [path for name, figure in drawn.items() for path in _save(figure, folder / name)]
    return [folder / "table.parquet", *(folder / name for name in texts), *written]


def _figures(rows: pd.DataFrame, results: dict[str, Result], jobs: Sequence[Job]) -> dict[str, Figure]:
    names, redrawn = titles([job.method for job in jobs]), _redrawn(results, jobs)
    history = {key: result.history for key, result in results.items() if len(result.history)}
    sampled = {names[k]: r.arrays["samples"] for k, r in results.items() if "samples" in r.arrays}
    clusters = {k: r.arrays["confusion-representation"] for k, r in results.items()}
    with look():
        figures = {"clusters": draw.confusions(clusters)}
        if set(results) - {table.REFERENCE}:
            figures["content-against-style"] = draw.content_against_style(rows, jobs[0].splits.name)
        if redrawn:
            figures["reconstructions"] = draw.reconstructions(_originals(jobs[0]), redrawn)
        if sampled:
            figures["samples"] = draw.samples(sampled)
        if history:
            figures["training"] = draw.training_curves(history)
    return figures


def _redrawn(results: dict[str, Result], jobs: Sequence[Job]) -> dict[str, NDArray[np.floating]]:
    """A method's own reconstruction where it has a decoder, else those by a decoder trained on each of its layers."""
    images = {}
    for job in jobs:
        arrays = results[job.method.key].arrays
        for layer in ("own", *job.method.layers):
            name = "decoded" if layer == "own" else f"decoded-{layer}"
            if name in arrays and (layer == "own" or "decoded" not in arrays):
                images[table.row_name(job.method.key, layer, titles([job.method]))] = arrays[name]
    return images


def _originals(job: Job) -> NDArray[np.floating]:
    exam = Examination.of(job.splits, job.augmentation, job.settings.split_seed, job.settings.views)
    return exam.originals.cpu().numpy()


def _save(figure: Figure, stem: Path) -> list[Path]:
    """PNG and PDF, each in one rename."""
    paths = []
    for suffix in SUFFIXES:
        path = stem.with_suffix(f".{suffix}")
        with cache.replacing(path) as partial, look():
            figure.savefig(partial, format=suffix)
        paths.append(path)
    return paths
