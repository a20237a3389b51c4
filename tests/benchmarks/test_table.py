"""Means, intervals and text of the table."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats

from ssl_theory.benchmarks import draw, table

NAMES = {"vae": "VAE", "simclr": "SimCLR"}


def tidy(seeds: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    keys = [("content", m, "label") for _, m in table.TITLES]
    keys += [("style", p, f) for p in ("linear", "mlp") for f in ("shift_x", "rotation")]
    keys += [("reconstruction", "mse", "image"), ("choice", "steps", "validation"), ("choice", "k", "validation")]
    rows = [
        {"method": m, "seed": s, "aspect": a, "measure": w, "target": t, "value": rng.uniform(0.2, 0.9)}
        for m in NAMES
        for a, w, t in keys
        for s in range(seeds)
    ]
    return pd.DataFrame(rows)


def test_interval_is_students():
    values = pd.Series([0.1, 0.4, 0.2, 0.7])
    low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    assert table.half_width(values) == pytest.approx((high - low) / 2)
    assert math.isnan(table.half_width(pd.Series([0.3])))


def test_what_was_not_measured_is_nan_never_zero():
    rows = tidy()
    rows.loc[rows["method"] == "simclr", "value"] = np.nan
    means = table.summary(rows)
    assert means[means["method"] == "simclr"]["mean"].isna().all()
    assert (means[means["method"] == "simclr"]["seeds"] == 0).all()
    text = table.markdown(rows, NAMES, "caption")
    assert "| SimCLR | – | – |" in text
    assert json.loads(table.as_json(rows))["rows"][-1]["value"] is None


def test_cells():
    assert table.cell(0.5, 0.0123) == "0.500 ±0.012"
    assert table.cell(0.5, math.nan) == "0.500"
    assert table.cell(math.nan, math.nan) == "–"


def test_block_puts_each_number_in_its_place():
    rows = tidy()
    cells = table.block(table.summary(rows), "style", "mlp", NAMES)
    chosen = rows[(rows["method"] == "vae") & (rows["measure"] == "mlp") & (rows["target"] == "rotation")]
    assert cells.loc["VAE", "rotation"].startswith(f"{chosen['value'].mean():.3f} ±")
    assert list(cells.columns) == ["shift_x", "rotation"]
    assert list(cells.index) == ["VAE", "SimCLR"]


def test_terminal_fits_eighty_columns():
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for block in table.terminal(tidy(), NAMES):
        console.print(block)
    text = console.export_text()
    console.file.close()
    assert "VAE" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_coordinates_average_factors_seed_by_seed():
    rows = tidy()
    points = draw.coordinates(rows)
    style = rows[(rows["method"] == "vae") & (rows["aspect"] == "style") & (rows["measure"] == "mlp")]
    by_seed = style.groupby("seed")["value"].mean()
    assert points.loc["vae", "style"] == pytest.approx(by_seed.mean())
    assert points.loc["vae", "style_half"] == pytest.approx(table.half_width(by_seed))
    linear = rows[(rows["method"] == "vae") & (rows["aspect"] == "content") & (rows["measure"] == "linear")]
    assert points.loc["vae", "content"] == pytest.approx(linear["value"].mean())
