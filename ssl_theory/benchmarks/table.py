"""The tidy table, its means with intervals, and how they are printed and written.

Tidy: one row a (method, seed, aspect, measure, target), `value` NaN where it was not measured. An interval is
the 95 % t interval of the mean over seeds, `t_{0.975, E-1} s / sqrt(E)`: it says what another set of training
seeds would change, for these images; it does not cover another draw of the images."""

from __future__ import annotations

import json
import math

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table
from scipy.stats import t as student

KEYS = ["method", "aspect", "measure", "target"]
TITLES = {
    ("content", "linear"): "linear",
    ("content", "mlp"): "MLP",
    ("content", "knn"): "k-NN",
    ("content", "gmm_accuracy"): "GMM acc.",
    ("content", "nmi"): "NMI",
    ("content", "ari"): "ARI",
}
BLOCKS = (
    ("content", None, "Content: accuracy and clustering, test images"),
    ("style", "mlp", "Style: R² of an MLP probe, views of test images"),
    ("style", "linear", "Style: R² of a linear probe, views of test images"),
)


def half_width(values: pd.Series) -> float:
    """Half the 95 % t interval of the mean; NaN for fewer than two values."""
    n = int(values.count())
    return float(student.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan


def summary(tidy: pd.DataFrame) -> pd.DataFrame:
    """`mean`, `half_width` and number of `seeds` of every (method, aspect, measure, target), in the order
    they came."""
    grouped = tidy.groupby(KEYS, sort=False)["value"]
    return grouped.agg(mean="mean", half_width=half_width, seeds="count").reset_index()


def cell(mean: float, half: float) -> str:
    """`0.912 ±0.004`, which a narrow terminal breaks in two at the space; a dash where nothing was
    measured."""
    if math.isnan(mean):
        return "–"
    return f"{mean:.3f}" if math.isnan(half) else f"{mean:.3f} ±{half:.3f}"


def block(means: pd.DataFrame, aspect: str, probe: str | None, names: dict[str, str]) -> pd.DataFrame:
    """Cells as text, a row a method and a column a measure (content) or a style factor."""
    rows = means[means["aspect"] == aspect]
    rows = rows if probe is None else rows[rows["measure"] == probe]
    titles = rows["target"] if probe else [TITLES[aspect, measure] for measure in rows["measure"]]
    cells = [cell(m, h) for m, h in zip(rows["mean"], rows["half_width"], strict=True)]
    long = pd.DataFrame({"method": rows["method"].map(names), "title": list(titles), "cell": cells})
    order = list(dict.fromkeys(long["title"]))
    wide = long.pivot(index="method", columns="title", values="cell")
    return wide.reindex(index=list(dict.fromkeys(long["method"])), columns=order)


def choices(tidy: pd.DataFrame, names: dict[str, str]) -> str:
    """What the validation split chose for each method, in one line."""
    chosen = tidy[tidy["aspect"] == "choice"].groupby(["method", "measure"], sort=False)["value"].first()
    parts = []
    for method, name in names.items():
        if method in chosen.index.get_level_values(0):
            steps, k = chosen[method].get("steps", math.nan), chosen[method]["k"]
            parts.append(f"{name} k={k:.0f}" + ("" if math.isnan(steps) else f", {steps:.0f} steps"))
    return "Chosen on the validation split: " + "; ".join(parts) + "."


def terminal(tidy: pd.DataFrame, names: dict[str, str]) -> list[Table]:
    means = summary(tidy)
    return [_rich(block(means, aspect, probe, names), title) for aspect, probe, title in BLOCKS]


def _rich(cells: pd.DataFrame, title: str) -> Table:
    drawn = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    drawn.add_column("method", no_wrap=True)
    for name in cells.columns:
        drawn.add_column(name, justify="right")
    for method, row in zip(cells.index, cells.itertuples(index=False), strict=True):
        drawn.add_row(str(method), *row)
    return drawn


def markdown(tidy: pd.DataFrame, names: dict[str, str], caption: str) -> str:
    means = summary(tidy)
    parts = [caption]
    for aspect, probe, title in BLOCKS:
        cells = block(means, aspect, probe, names)
        lines = ["| method | " + " | ".join(cells.columns) + " |", "|---" * (len(cells.columns) + 1) + "|"]
        lines += [
            f"| {m} | " + " | ".join(row) + " |"
            for m, row in zip(cells.index, cells.itertuples(index=False), strict=True)
        ]
        parts += [f"**{title}**", "\n".join(lines)]
    return "\n\n".join([*parts, choices(tidy, names)]) + "\n"


def as_json(tidy: pd.DataFrame) -> str:
    """The summary and the tidy rows; null where not measured (JSON has no NaN)."""
    tables = {"summary": summary(tidy), "rows": tidy}
    return json.dumps({key: json.loads(t.to_json(orient="records")) for key, t in tables.items()}, indent=1)
