"""The tidy table, its means with intervals, and how they are printed and written.

Tidy: one row a (method, layer, seed, aspect, measure, target), `value` NaN where it was not measured. An interval is
the 95 % t interval of the mean over seeds, `t_{0.975, E-1} s / sqrt(E)`: it says what another set of training
seeds would change, for these images; it does not cover another draw of the images."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table
from scipy.stats import t as student

ROW = ["method", "layer"]
KEYS = [*ROW, "aspect", "measure", "target"]
REFERENCE = "pixels"
MOST_COLUMNS = 8  # of one table; more attributes than these are shown by their mean
TITLES = {
    ("content", "linear"): "linear",
    ("content", "mlp"): "MLP",
    ("content", "knn"): "k-NN",
    ("content", "gmm_accuracy"): "GMM acc.",
    ("content", "nmi"): "NMI",
    ("content", "ari"): "ARI",
    ("retained", "nonlinear"): "retained, nonlinear",
    ("retained", "linear"): "retained, linear",
    ("reconstruction", "mse"): "MSE, own decoder",
    ("reconstruction", "decoded"): "MSE, trained decoder",
    ("evidence", "elbo"): "ELBO",
    ("evidence", "evidence"): "evidence",
}


@dataclass(frozen=True)
class Block:
    """One table: the aspects it shows, of some probes where it is about probes; a title for each, or one for all.

    More targets than `MOST_COLUMNS` are shown by their mean, and `each` one for itself too where that is asked for. A
    `sparse` block leaves out the methods and the columns for which nothing was measured."""

    title: str | tuple[str, ...]
    aspects: tuple[str, ...]
    probes: tuple[str, ...] = ()
    each: bool = False
    sparse: bool = False

    def rows(self, tidy: pd.DataFrame) -> pd.DataFrame:
        rows = tidy[tidy["aspect"].isin(self.aspects)]
        rows = rows[rows["measure"].isin(self.probes)] if self.probes else rows
        if self.probes and rows["target"].nunique() > MOST_COLUMNS:
            many = f"mean of {rows['target'].nunique()}"
            mean = rows.groupby([*ROW, "seed", "measure"], sort=False)["value"].mean().reset_index()
            mean = mean.assign(aspect=self.aspects[0], target=many)
            return pd.concat([mean, rows], ignore_index=True) if self.each else mean
        return rows

    def heading(self, means: pd.DataFrame) -> str:
        """The title, of the aspects that are there."""
        if isinstance(self.title, str):
            return self.title
        there = set(means["aspect"])
        said = ", and ".join(said for said, aspect in zip(self.title, self.aspects, strict=True) if aspect in there)
        return said[:1].upper() + said[1:]

    def column(self, aspect: str, measure: str, target: str) -> str:
        return target if self.probes else TITLES.get((aspect, measure), measure)


BLOCKS = (
    Block("Content: accuracy and clustering, test images", ("content",)),
    Block("Style: R² of a nonlinear probe, views of test images", ("style",), ("nonlinear",), each=True),
    Block("Style: R² of a linear probe, views of test images", ("style",), ("linear",), each=True),
    Block(
        "Known of the images: nonlinear probe, R² or (MLP) adjusted balanced accuracy",
        ("attribute", "factor"),
        ("nonlinear", "mlp"),
    ),
    Block("Known of the images: linear probe, R² or adjusted balanced accuracy", ("attribute", "factor"), ("linear",)),
    Block(
        ("style over that of the pixels", "squared error a pixel of reconstructions"),
        ("retained", "reconstruction"),
        sparse=True,
    ),
    Block(
        "Generation: distance of samples, evidence of test views in nats a view",
        ("generation", "evidence"),
        sparse=True,
    ),
)


def half_width(values: pd.Series) -> float:
    """Half the 95 % t interval of the mean; NaN for fewer than two values."""
    n = int(values.count())
    return float(student.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan


def summary(tidy: pd.DataFrame) -> pd.DataFrame:
    """`mean`, `half_width` and number of `seeds` of every (method, layer, aspect, measure, target), in the order
    they came."""
    grouped = tidy.groupby(KEYS, sort=False)["value"]
    return grouped.agg(mean="mean", half_width=half_width, seeds="count").reset_index()


def with_retained(tidy: pd.DataFrame) -> pd.DataFrame:
    """The rows, and derived ones: *retained* style, R² averaged over the factors over that of the pixels.

    Pixels are the ceiling, and the floor is zero: our views draw style apart from content. NaN without the pixels."""
    rows = tidy[tidy["aspect"] == "style"]
    told = rows.groupby([*ROW, "seed", "measure"], sort=False)["value"].mean().reset_index()
    ceiling = told[told["method"] == REFERENCE].set_index("measure")["value"]
    ceiling = ceiling[ceiling > 0]
    told["value"] = told["value"] / told["measure"].map(ceiling).astype(float)
    return pd.concat([tidy, told.assign(aspect="retained", target="all factors")[tidy.columns]], ignore_index=True)


def cell(mean: float, half: float) -> str:
    """`0.912 ±0.004`, which a narrow terminal breaks in two at the space; a dash where nothing was
    measured."""
    if math.isnan(mean):
        return "–"
    digits = _digits(mean)
    return f"{mean:.{digits}f}" if math.isnan(half) else f"{mean:.{digits}f} ±{half:.{digits}f}"


def _digits(mean: float) -> int:
    return 3 if abs(mean) < 10 else 2 if abs(mean) < 100 else 1


def tex_cell(mean: float, half: float) -> str:
    text = cell(mean, half)
    return "--" if math.isnan(mean) else "$" + text.replace(" ±", r" \pm ") + "$"


def short(tidy: pd.DataFrame) -> dict[str, str]:
    """How many of the seeds that were asked for are left of each method that lost some: they diverged."""
    content = tidy[tidy["aspect"] == "content"]
    seeds = content["value"].notna().groupby([content["method"], content["seed"]]).any().groupby("method")
    left, asked = seeds.sum(), seeds.size()
    return {str(method): f"{left[method]} of {asked[method]} seeds" for method in left.index[left < asked]}


def lost(tidy: pd.DataFrame, names: dict[str, str]) -> str:
    """The same in a sentence, empty where no seed is lost."""
    left = short(tidy)
    told = [f"{name} has {left[method]}" for method, name in names.items() if method in left]
    return f"Seeds that diverged are left out: {', '.join(told)}." if told else ""


def _counted(tidy: pd.DataFrame, names: dict[str, str], gap: str = " ") -> dict[str, str]:
    """The names, with the number of seeds where some are lost."""
    left = short(tidy)
    return {method: f"{name}{gap}({left[method]})" if method in left else name for method, name in names.items()}


def row_name(method: str, layer: str, names: dict[str, str]) -> str:
    return names[method] + (", before head" if layer == "encoder" else "")


def blocks(
    tidy: pd.DataFrame, names: dict[str, str], written: Callable[[float, float], str] = cell
) -> list[tuple[str, pd.DataFrame]]:
    """Title and cells (as text) of every block of which anything is there: a row a method and layer, in the order of
    `names`, and a column a measure or factor."""
    made = [(block, _means(block, tidy)) for block in BLOCKS]
    told = [(block.heading(means), _cells(block, means, names, written)) for block, means in made if len(means)]
    return [part for title, cells in told for part in _parted(title, cells)]


def _parted(title: str, cells: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """One table, or several of like width where there are more columns than fit a page."""
    width = math.ceil(cells.shape[1] / math.ceil(cells.shape[1] / MOST_COLUMNS))
    starts = range(0, cells.shape[1], width)
    return [(f"{title}, continued" if start else title, cells.iloc[:, start : start + width]) for start in starts]


def _means(block: Block, tidy: pd.DataFrame) -> pd.DataFrame:
    means = summary(block.rows(tidy))
    if block.sparse:
        means = means[means.groupby(ROW)["seeds"].transform("sum") > 0]
        means = means[means.groupby(["aspect", "measure"])["seeds"].transform("sum") > 0]
    return means


def _cells(
    block: Block, means: pd.DataFrame, names: dict[str, str], written: Callable[[float, float], str]
) -> pd.DataFrame:
    row = [row_name(m, layer, names) for m, layer in zip(means["method"], means["layer"], strict=True)]
    title = [block.column(*key) for key in zip(means["aspect"], means["measure"], means["target"], strict=True)]
    text = [written(m, h) for m, h in zip(means["mean"], means["half_width"], strict=True)]
    long = pd.DataFrame({"method": row, "title": title, "cell": text}, dtype=object)
    order = [name for key in names for name in (row_name(key, layer, names) for layer in ("representation", "encoder"))]
    wide = long.pivot(index="method", columns="title", values="cell").fillna(written(math.nan, math.nan))
    return wide.reindex(index=[name for name in order if name in wide.index], columns=list(dict.fromkeys(title)))


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
    """Numbers of seeds below the names, so that columns stay as wide."""
    return [rich_table(cells, title) for title, cells in blocks(tidy, _counted(tidy, names, "\n"))]


def rich_table(cells: pd.DataFrame, title: str) -> Table:
    drawn = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    drawn.add_column("method", no_wrap=True)
    for name in cells.columns:
        drawn.add_column(name, justify="right")
    for method, row in zip(cells.index, cells.itertuples(index=False), strict=True):
        drawn.add_row(str(method), *row)
    return drawn


def markdown(tidy: pd.DataFrame, names: dict[str, str], caption: str) -> str:
    parts = [caption]
    for title, cells in blocks(tidy, _counted(tidy, names)):
        parts += [f"**{title}**", markdown_table(cells)]
    return "\n\n".join([*parts, choices(tidy, names)]) + "\n"


def markdown_table(cells: pd.DataFrame) -> str:
    lines = ["| method | " + " | ".join(cells.columns) + " |", "|---" * (len(cells.columns) + 1) + "|"]
    lines += [
        f"| {m} | " + " | ".join(row) + " |" for m, row in zip(cells.index, cells.itertuples(index=False), strict=True)
    ]
    return "\n".join(lines)


def latex(tidy: pd.DataFrame, names: dict[str, str], caption: str) -> str:
    r"""A `table` environment a block, in the style of booktabs: \usepackage{booktabs} is all it needs."""
    parts = [f"% {caption}\n% Needs \\usepackage{{booktabs}}."]
    for title, cells in blocks(tidy, _counted(tidy, names), tex_cell):
        head = " & ".join(["method", *map(_escaped, cells.columns)])
        body = [
            f"    {_escaped(str(m))} & " + " & ".join(row) + r" \\"
            for m, row in zip(cells.index, cells.itertuples(index=False), strict=True)
        ]
        parts.append(
            "\n".join(
                [
                    r"\begin{table}",
                    rf"  \caption{{{_escaped(title)}. {_escaped(caption)}}}",
                    rf"  \begin{{tabular}}{{l{'r' * len(cells.columns)}}}",
                    r"    \toprule",
                    rf"    {head} \\",
                    r"    \midrule",
                    *body,
                    r"    \bottomrule",
                    r"  \end{tabular}",
                    r"\end{table}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


def _escaped(text: str) -> str:
    for sign, written in (("&", r"\&"), ("%", r"\%"), ("_", r"\_"), ("#", r"\#"), ("²", "$^2$"), ("±", r"$\pm$")):
        text = text.replace(sign, written)
    return text


def as_json(tidy: pd.DataFrame) -> str:
    """The summary and the tidy rows; null where not measured (JSON has no NaN)."""
    tables = {"summary": summary(tidy), "rows": tidy}
    return json.dumps({key: json.loads(t.to_json(orient="records")) for key, t in tables.items()}, indent=1)
