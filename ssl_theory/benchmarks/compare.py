"""Two folders of results side by side: what differs in data and settings, then every number with its difference.

A difference is marked where the two 95 % intervals do not overlap, which is a stricter thing than a difference of
zero lying outside the interval of the difference: unmarked does not mean equal.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from ssl_theory.benchmarks import table
from ssl_theory.benchmarks.errors import InputError
from ssl_theory.benchmarks.methods import METHODS

MARK = "*"
COLUMNS = (*table.KEYS, "seed", "value")
SAID = ("data", "augmentation", "settings", "methods", "image features", "versions", "source")  # of a provenance
WHOLE = ("source", "versions")  # said to differ, not shown
ASPECTS = ("content", "style", "attribute", "factor", "retained", "reconstruction", "generation", "evidence")


def print_comparison(first: Path, second: Path, console: Console) -> None:
    results = [_read(folder) for folder in (first, second)]
    console.print(f"A: {first}\nB: {second}", soft_wrap=True, markup=False)
    for line in differences(*(said for _, said in results)):
        console.print(f"differs: {line}", soft_wrap=True, markup=False)
    for side, (rows, _) in zip("AB", results, strict=True):
        if lost := table.lost(rows, _titles(rows["method"])):
            console.print(f"{side}: {lost}", soft_wrap=True, markup=False)
    both = side_by_side(*(rows for rows, _ in results))
    if both.empty:
        raise InputError(f"{first} and {second} have no method and measure in common: nothing to compare.")
    for aspect in (a for a in ASPECTS if a in set(both["aspect"])):
        console.print(table.rich_table(_cells(both[both["aspect"] == aspect]), aspect.capitalize()))
    marked = int(both["apart"].sum())
    console.print(f"{MARK} {marked} of {len(both)} differences, B less A, have 95 % intervals that do not overlap.")


def _read(folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    try:
        rows, said = pd.read_parquet(folder / "table.parquet"), json.loads((folder / "provenance.json").read_text())
    except (OSError, ValueError) as error:
        raise InputError(_no_results(folder, str(error))) from error
    if missing := [name for name in COLUMNS if name not in rows.columns]:
        raise InputError(_no_results(folder, f"table.parquet has no column {', '.join(missing)}"))
    if not pd.api.types.is_numeric_dtype(rows["value"]):
        raise InputError(_no_results(folder, f"column value of table.parquet holds {rows['value'].dtype}, no numbers"))
    if not isinstance(said, dict):
        raise InputError(_no_results(folder, f"provenance.json holds no object but a {type(said).__name__}"))
    return rows, said


def _no_results(folder: Path, why: str) -> str:
    return (
        f"{folder}: no results there (table.parquet and provenance.json, as ssl-bench writes them to OUT/NAME): {why}"
    )


def differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """What the two runs do not have in common, a line each; a method that one lacks is one of them."""
    found = []
    for name in SAID:
        a, b = first.get(name), second.get(name)
        if isinstance(a, dict) and isinstance(b, dict) and name not in WHOLE:
            keys = [key for key in {**a, **b} if a.get(key) != b.get(key)]
            found += [f"{name}, {key}: {a.get(key, 'none')} | {b.get(key, 'none')}" for key in keys]
        elif a != b:
            found.append(name if name in WHOLE else f"{name}: {a} | {b}")
    return found


def side_by_side(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """The summaries of both (suffixes _a, _b), the difference B less A, and whether the intervals are `apart`.

    Only what was measured in both; never apart where one has a single seed, hence no interval."""
    both = table.summary(first).merge(table.summary(second), on=table.KEYS, suffixes=("_a", "_b"))
    both = both[(both["aspect"] != "choice") & (both["seeds_a"] > 0) & (both["seeds_b"] > 0)].reset_index(drop=True)
    difference = both["mean_b"] - both["mean_a"]
    return both.assign(difference=difference, apart=difference.abs() > both["half_width_a"] + both["half_width_b"])


def _titles(methods: pd.Series) -> dict[str, str]:
    return {key: METHODS[key].title if key in METHODS else key for key in methods}


def _cells(both: pd.DataFrame) -> pd.DataFrame:
    names = _titles(both["method"])
    index = [table.row_name(m, layer, names) for m, layer in zip(both["method"], both["layer"], strict=True)]
    measure = [
        f"{m}" if t in ("label", "image", "nats a view") else f"{t}, {m}"
        for m, t in zip(both["measure"], both["target"], strict=True)
    ]
    sides = {
        side: [table.cell(m, h) for m, h in zip(both[f"mean_{key}"], both[f"half_width_{key}"], strict=True)]
        for side, key in (("A", "a"), ("B", "b"))
    }
    change = [f"{d:+.3f}{MARK if apart else ' '}" for d, apart in zip(both["difference"], both["apart"], strict=True)]
    return pd.DataFrame({"measure": measure, **sides, "B − A": change}, index=index)
