"""Means, intervals and text of the table."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats

from ssl_theory.benchmarks import draw, table
from ssl_theory.benchmarks.published import named

NAMES = {"vae": "VAE", "simclr": "SimCLR"}


def tidy(seeds: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    keys = [(a, m, "label") for a, m in table.TITLES if a == "content"]
    keys += [("style", p, f) for p in ("linear", "nonlinear") for f in ("shift_x", "rotation")]
    keys += [("reconstruction", "mse", "image"), ("generation", "FID (features)", "image")]
    keys += [("choice", "steps", "validation"), ("choice", "k", "validation")]
    rows = [
        {
            "method": m,
            "layer": "representation",
            "seed": s,
            "aspect": a,
            "measure": w,
            "target": t,
            "value": rng.uniform(0.2, 0.9),
        }
        for m in NAMES
        for a, w, t in keys
        for s in range(seeds)
    ]
    return pd.DataFrame(rows).assign(layer="representation")


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
    assert "| SimCLR (0 of 5 seeds) | – | – |" in text
    assert json.loads(table.as_json(rows))["rows"][-1]["value"] is None


def test_methods_that_lost_seeds_are_named_with_those_that_are_left():
    """Wherever their means stand: in every table, and in a sentence for the caption."""
    rows = tidy()
    assert table.lost(rows, NAMES) == ""
    assert "seeds" not in table.markdown(rows, NAMES, "")
    rows.loc[(rows["method"] == "simclr") & rows["seed"].isin([1, 3]) & (rows["aspect"] != "choice"), "value"] = np.nan
    assert table.lost(rows, NAMES) == "Seeds that diverged are left out: SimCLR has 3 of 5 seeds."
    for text in (table.markdown(rows, NAMES, ""), table.latex(rows, NAMES, "")):
        assert text.count("SimCLR (3 of 5 seeds)") == len(table.blocks(rows, NAMES))
        assert "VAE (" not in text
    assert {"SimCLR\n(3 of 5 seeds)"} < {cell for one in table.terminal(rows, NAMES) for cell in one.columns[0].cells}


def test_cells():
    assert table.cell(0.5, 0.0123) == "0.500 ±0.012"
    assert table.cell(0.5, math.nan) == "0.500"
    assert table.cell(math.nan, math.nan) == "–"
    assert table.cell(-54.321, 1.23456) == "-54.32 ±1.23"
    assert table.cell(-543.21, 1.23456) == "-543.2 ±1.2"
    assert table.tex_cell(0.5, 0.0123) == r"$0.500 \pm 0.012$"
    assert table.tex_cell(math.nan, math.nan) == "--"


def test_block_puts_each_number_in_its_place():
    rows = tidy()
    cells = cells_of(rows, "Style: R² of a nonlinear probe")
    chosen = rows[(rows["method"] == "vae") & (rows["measure"] == "nonlinear") & (rows["target"] == "rotation")]
    assert cells.loc["VAE", "rotation"].startswith(f"{chosen['value'].mean():.3f} ±")
    assert list(cells.columns) == ["shift_x", "rotation"]
    assert list(cells.index) == ["VAE", "SimCLR"]
    assert list(cells_of(rows, "Generation").columns) == ["FID (features)"]


def cells_of(rows: pd.DataFrame, title: str) -> pd.DataFrame:
    return next(cells for named, cells in table.blocks(rows, NAMES) if title in named)


def test_layers_are_rows_of_their_own_below_their_method():
    before = tidy().query("method == 'vae'").assign(layer="encoder")
    cells = cells_of(pd.concat([tidy(), before]), "Content")
    assert list(cells.index) == ["VAE", "VAE, before head", "SimCLR"]


def test_what_no_method_has_is_not_shown_and_what_one_lacks_is_a_dash():
    rows = tidy()
    rows.loc[rows["aspect"] == "generation", "value"] = np.nan
    assert not [title for title, _ in table.blocks(rows, NAMES) if "Generation" in title]
    rows = tidy()
    rows.loc[(rows["aspect"] == "generation") & (rows["method"] == "simclr"), "value"] = np.nan
    assert list(cells_of(rows, "Generation").index) == ["VAE"]
    kept = rows.drop(index=rows[(rows["method"] == "simclr") & (rows["measure"] == "knn")].index)
    assert cells_of(kept, "Content").loc["SimCLR", "k-NN"] == "–"


def test_the_title_names_what_is_there():
    """Without the pixels there is no style over theirs."""

    def titles(rows):
        return [title for title, _ in table.blocks(rows, NAMES) if "reconstructions" in title]

    both = "Style over that of the pixels, and squared error a pixel of reconstructions"
    rows = tidy()
    derived = rows.assign(aspect="retained", measure="linear", target="all factors")
    rows = pd.concat([rows, derived.drop_duplicates(["method", "seed"])], ignore_index=True)
    retained = rows["aspect"] == "retained"
    assert titles(rows) == [both]
    rows.loc[retained, "value"] = np.nan
    assert titles(rows) == ["Squared error a pixel of reconstructions"]
    assert titles(rows[~retained]) == ["Squared error a pixel of reconstructions"]


def test_many_attributes_are_shown_by_their_mean():
    names = [f"attribute {i}" for i in range(table.MOST_COLUMNS + 1)]
    base = {"method": "vae", "layer": "representation", "aspect": "attribute", "measure": "mlp"}
    rows = pd.DataFrame([base | {"seed": s, "target": t, "value": s + i} for s in (0, 1) for i, t in enumerate(names)])
    cells = cells_of(rows, "Known")
    assert list(cells.columns) == ["mean of 9"]
    assert cells.iloc[0, 0].startswith("4.500 ±")


def test_each_factor_of_style_is_shown_however_many_there_are():
    """Those of crops, flips and colours are nine: their mean and each of them, in tables that fit a terminal."""
    factors = named("crop-colour", (3, 32, 32)).names
    base = {"layer": "representation", "aspect": "style", "measure": "nonlinear"}
    keys = [(m, s, t) for m in NAMES for s in range(3) for t in factors]
    rows = pd.DataFrame([base | {"method": m, "seed": s, "target": t, "value": 0.1 * len(t)} for m, s, t in keys])
    parts = [cells for title, cells in table.blocks(rows, NAMES) if "nonlinear" in title]
    assert [name for cells in parts for name in cells.columns] == ["mean of 9", *factors]
    assert max(len(cells.columns) for cells in parts) <= table.MOST_COLUMNS
    assert parts[-1].loc["VAE", "hue"] == "0.300 ±0.000"


def test_retained_style_is_over_that_of_the_pixels():
    rows = tidy()
    pixels = rows.query("method == 'vae' and seed == 0").assign(method="pixels")
    derived = table.with_retained(pd.concat([rows, pixels])).query("aspect == 'retained'")

    def style(method: str, seed: int) -> float:
        chosen = pd.concat([rows, pixels]).query(f"method == '{method}' and seed == {seed}")
        return chosen.query("aspect == 'style' and measure == 'nonlinear'")["value"].mean()

    one = derived.query("method == 'simclr' and measure == 'nonlinear' and seed == 3")["value"].item()
    assert one == pytest.approx(style("simclr", 3) / style("pixels", 0))
    assert derived.query("method == 'pixels'")["value"].tolist() == pytest.approx([1, 1])
    alone = table.with_retained(rows).query("aspect == 'retained'")
    assert len(alone) == 20
    assert alone["value"].isna().all()


def test_latex_is_a_booktabs_table_a_block_with_everything_escaped():
    text = table.latex(tidy(), {"vae": "VAE & co_1", "simclr": "SimCLR"}, "5 % of it")
    count = len(table.blocks(tidy(), NAMES))
    for word in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{table}", r"\end{table}"):
        assert text.count(word) == count
    assert r"VAE \& co\_1 & $0." in text
    assert r"5 \% of it" in text
    assert r" \pm " in text
    body = [line for line in text.splitlines() if line.startswith("    VAE")]
    assert all(line.endswith(r"\\") for line in body)
    assert not set("²±") & set(text.split("\n", 2)[2])


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
    style = rows[(rows["method"] == "vae") & (rows["aspect"] == "style") & (rows["measure"] == "nonlinear")]
    by_seed = style.groupby("seed")["value"].mean()
    assert points.loc[("vae", "representation"), "style"] == pytest.approx(by_seed.mean())
    assert points.loc[("vae", "representation"), "style_half"] == pytest.approx(table.half_width(by_seed))
    linear = rows[(rows["method"] == "vae") & (rows["aspect"] == "content") & (rows["measure"] == "linear")]
    assert points.loc[("vae", "representation"), "content"] == pytest.approx(linear["value"].mean())
