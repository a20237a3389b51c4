"""What a map says: SimVAE less VAE where they differ, each at its best, and along each axis; with its figures.

Differences are paired by seed. Tuned against tuned: each learner's cell of the plane and length is chosen by validation
accuracy, for each seed by the others', and scored on test images. Intervals are 95 % t intervals over seeds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from figures import look
from ssl_theory.benchmarks import cache, draw
from ssl_theory.benchmarks.content_map import AXES, BASE_STYLE, CHOSEN_BY, Run, Setting
from ssl_theory.benchmarks.machine import Effort
from ssl_theory.benchmarks.provenance import made_by, of_images
from ssl_theory.benchmarks.table import half_width

CELL = ["decoder_variance", "style_variance", "steps"]  # what a learner is tuned in
FILES = ("content-map.parquet", "content-map.md", "plane.png", "axes.png", "provenance.json")  # that a map leaves


def write(folder: Path, name: str, rows: pd.DataFrame, run: Run, took: Effort, command: str) -> None:
    """The rows, the tables, the figures and where they come from, each in one rename."""
    found = differences(rows)
    with cache.replacing(folder / "content-map.parquet") as partial:
        rows.to_parquet(partial)
    cache.replace_text(folder / "content-map.md", markdown(rows, found, run.base, command) + "\n")
    how = {"precision": run.precision, "compiled": run.compiled}
    about = of_images(run.splits, run.usual) | {"settings": how} | made_by(took, command)
    cache.replace_text(folder / "provenance.json", json.dumps(about, indent=1))
    last, plane = rows["steps"].max(), at_base(found, run.base)
    along = _along(rows, run.base)
    with look():
        figures = {"plane.png": draw.plane(plane[plane["steps"] == last], name)}
        if along:
            figures["axes.png"] = draw.along(along, f"{name}, style variance {BASE_STYLE}")
        else:
            (folder / "axes.png").unlink(missing_ok=True)  # of an earlier map
        for file, figure in figures.items():
            with cache.replacing(folder / file) as partial:
                figure.savefig(partial, format="png")


def differences(rows: pd.DataFrame) -> pd.DataFrame:
    """SimVAE less VAE, seed by seed, at the same setting, decoder variance and length: mean and half of the 95 % t
    interval."""
    same = ["decoder_variance", *AXES, "steps", "measure", "seed"]
    simvae, vae = (rows[rows["learner"] == name] for name in ("SimVAE", "VAE"))
    paired = simvae.merge(vae[[*same, "value"]], on=same, suffixes=("", "_vae"), validate="many_to_one")
    paired["value"] = paired["value"] - paired["value_vae"]
    return means(paired, ["style_variance", *same[:-1]])


def means(rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Mean over seeds and half of its 95 % t interval."""
    found = rows.groupby(list(by), dropna=False)["value"].agg(["mean", "std", "count"]).reset_index()
    found["half"] = stats.t.ppf(0.975, found["count"] - 1) * found["std"] / np.sqrt(found["count"])
    return found.drop(columns=["std", "count"])


def at_base(table: pd.DataFrame, base: Setting) -> pd.DataFrame:
    return table[_others_at_base(table, base, "")]


def tuned(rows: pd.DataFrame, base: Setting) -> pd.DataFrame:
    """Each learner at the cell of the plane and the length that validation accuracy chooses, among those that the most
    seeds survived, and their difference.

    A seed is scored at what the others choose: lucky networks are good on validation and on test images alike, so that
    the best cell of the seeds that are scored has been better than it is, and the more so the more cells there are.
    Named is what all seeds choose."""
    best, lines = {}, []
    for name, own in at_base(rows, base).groupby("learner"):
        tables = {measure: _by_cell(own, measure) for measure in (CHOSEN_BY, *draw.MAPPED)}
        scores, measured = tables[CHOSEN_BY], {}
        for seed in scores.index:
            place = _best(scores.drop(index=seed) if len(scores) > 1 else scores)
            measured[seed] = {measure: tables[measure].loc[seed].iloc[place] for measure in draw.MAPPED}
        best[name] = pd.DataFrame.from_dict(measured, orient="index")
        shown = {**dict(zip(CELL, scores.columns[_best(scores)], strict=True)), **_told(best[name])}
        lines.append({"learner": name, **shown, "style_variance": shown["style_variance"] or np.nan})
    return pd.DataFrame([*lines, {"learner": "difference", **_told(best["SimVAE"] - best["VAE"])}])


def _by_cell(own: pd.DataFrame, measure: str) -> pd.DataFrame:
    """A row a seed, a column a cell of the plane and length; the style variance of the VAE, which has none, is 0."""
    rows = own[own["measure"] == measure].fillna({"style_variance": 0.0})
    return rows.pivot(index="seed", columns=CELL, values="value")


def _best(scores: pd.DataFrame) -> int:
    """The place of the column with the highest mean over seeds, of those that the most seeds have."""
    seeds = scores.count()
    return int(np.argmax(scores.mean().where(seeds == seeds.max()).fillna(-np.inf)))


def _told(table: pd.DataFrame) -> dict[str, str]:
    """Mean and half of the 95 % t interval, over the seeds that did not diverge."""
    return {name: f"{table[name].mean():.3f} ± {half_width(table[name]):.3f}" for name in draw.MAPPED}


def markdown(rows: pd.DataFrame, found: pd.DataFrame, base: Setting, command: str) -> str:
    """How often which of the two is better, tuned against tuned, and every difference after the whole training."""
    last = found[(found["steps"] == found["steps"].max()) & found["measure"].isin(draw.MAPPED)]
    better = last["mean"].abs() > last["half"]
    counts = [
        {
            "measure": draw.MAPPED[name],
            "cells": int(own.sum()),
            "SimVAE above": int((own & better & (last["mean"] > 0)).sum()),
            "VAE above": int((own & better & (last["mean"] < 0)).sum()),
        }
        for name, own in ((name, last["measure"] == name) for name in draw.MAPPED)
    ]
    wide = last.assign(told=last["mean"].map("{:+.3f}".format) + last["half"].map(" ± {:.3f}".format))
    keys = [*AXES, "decoder_variance", "style_variance"]
    wide = wide.pivot(index=keys, columns="measure", values="told")[list(draw.MAPPED)].reset_index()
    return "\n\n".join(
        [
            f"Written by `{command}`. Intervals: 95 % t, over seeds.",
            "**Cells after the whole training in which the interval of the paired difference leaves out zero** "
            "(by chance alone one in twenty does)",
            _table(pd.DataFrame(counts)),
            "**Tuned against tuned: cell and length chosen by validation accuracy, for each seed by the other seeds' "
            "(shown: by all), scored on test images**",
            _table(tuned(rows, base)),
            "**SimVAE less VAE, paired by seed, after the whole training**",
            _table(wide),
        ]
    )


def _table(frame: pd.DataFrame) -> str:
    told = [[f"{v:g}" if isinstance(v, float) else str(v) for v in row] for row in frame.itertuples(index=False)]
    rows = [list(frame.columns), ["---"] * frame.shape[1], *([cell.replace("nan", "") for cell in row] for row in told)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _along(rows: pd.DataFrame, base: Setting) -> dict[str, pd.DataFrame]:
    """Means along each axis that has several values, the lengths of training being one: at the decoder variances that
    are varied along them, in a plane alone at the least and the largest."""
    last, base_rows = rows["steps"].max(), _others_at_base(rows, base, "")
    decoders = rows["decoder_variance"]
    shown = decoders.agg(["min", "max"]) if base_rows.all() else decoders[~base_rows]
    own = rows[rows["style_variance"].isna() | (rows["style_variance"] == BASE_STYLE)]
    own = own[own["decoder_variance"].isin(shown)]
    tables = {"steps": at_base(own, base)}
    tables |= {axis: own[_others_at_base(own, base, axis) & (own["steps"] == last)] for axis in AXES}
    varied = {axis: table for axis, table in tables.items() if table[axis].nunique() > 1}
    return {axis: means(table, ["learner", "decoder_variance", "measure", axis]) for axis, table in varied.items()}


def _others_at_base(table: pd.DataFrame, base: Setting, axis: str) -> pd.Series:
    others = [table[name] == value for name, value in asdict(base).items() if name != axis]
    return pd.concat(others, axis=1).all(axis=1)
