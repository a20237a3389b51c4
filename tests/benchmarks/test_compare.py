"""Two results side by side: differences, marks where intervals do not overlap, and what else differs first."""

import io
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from ssl_theory.benchmarks import compare, table
from ssl_theory.benchmarks.errors import InputError


def rows(values: list[float], measure: str = "linear") -> pd.DataFrame:
    base = {"method": "vae", "layer": "representation", "aspect": "content", "measure": measure, "target": "label"}
    return pd.DataFrame([base | {"seed": seed, "value": value} for seed, value in enumerate(values)])


@pytest.mark.parametrize(("shift", "apart"), [(0.9, False), (1.1, True), (-1.1, True)])
def test_apart_means_that_the_intervals_do_not_overlap(shift, apart):
    first, second = [0.5, 0.52, 0.54], [0.5, 0.51, 0.52]
    reach = table.half_width(pd.Series(first)) + table.half_width(pd.Series(second))
    moved = [v - 0.51 + 0.52 + shift * reach for v in second]
    both = compare.side_by_side(rows(first), rows(moved))
    assert both["difference"].item() == pytest.approx(shift * reach)
    assert both["apart"].item() == apart


def test_only_what_both_measured_is_compared_and_a_lone_seed_is_never_apart():
    first = pd.concat([rows([0.5], "linear"), rows([0.1, 0.2], "mlp"), rows([float("nan")] * 2, "knn")])
    second = pd.concat([rows([0.9], "linear"), rows([0.1, 0.2], "knn")])
    both = compare.side_by_side(first, second)
    assert both["measure"].tolist() == ["linear"]
    assert not both["apart"].any()


def test_a_side_that_lost_seeds_says_so(tmp_path):
    for name, values in (("a", [0.5, 0.6]), ("b", [0.5, float("nan")])):
        (tmp_path / name).mkdir()
        rows(values).to_parquet(tmp_path / name / "table.parquet")
        (tmp_path / name / "provenance.json").write_text("{}")
    console = Console(file=io.StringIO(), width=200)
    compare.print_comparison(tmp_path / "a", tmp_path / "b", console)
    said = console.file.getvalue()
    assert "B: Seeds that diverged are left out: VAE has 1 of 2 seeds." in said
    assert "A: Seeds" not in said


def results(folder: Path, table: pd.DataFrame, said: str = "{}") -> Path:
    folder.mkdir()
    table.to_parquet(folder / "table.parquet")
    (folder / "provenance.json").write_text(said)
    return folder


@pytest.mark.parametrize(
    ("table", "said", "why"),
    [
        (pd.DataFrame({"a": [1]}), "{}", "no column method, layer, aspect, measure, target, seed, value"),
        (rows([0.5]).drop(columns="target"), "{}", "no column target"),
        (rows([0.5]).assign(value="much"), "{}", "no numbers"),
        (rows([0.5]), "[1]", "no object but a list"),
        (rows([0.5]), '"text"', "no object but a str"),
        (rows([0.5]), "{", "Expecting property name"),
    ],
)
def test_what_is_no_folder_of_results_is_one_line(tmp_path, table, said, why):
    good, bad = results(tmp_path / "good", rows([0.5])), results(tmp_path / "bad", table, said)
    for pair in ((good, bad), (bad, good)):
        with pytest.raises(InputError, match="bad: no results there") as told:
            compare.print_comparison(*pair, Console(file=io.StringIO()))
        assert why in str(told.value)
        assert "\n" not in str(told.value)


def test_folders_are_named_as_they_are(tmp_path):
    folder = results(tmp_path / "a[bold]b[", rows([0.5, 0.6]))
    console = Console(file=io.StringIO(), width=300)
    compare.print_comparison(folder, folder, console)
    assert f"A: {folder}\nB: {folder}\n" in console.file.getvalue()


def test_differences_are_named_and_long_ones_only_named():
    a = {"settings": {"steps": 1, "seeds": 2}, "source": "x", "augmentation": "crop"}
    b = {"settings": {"steps": 3, "seeds": 2}, "source": "y", "augmentation": "crop"}
    assert compare.differences(a, b) == ["settings, steps: 1 | 3", "source"]
    assert compare.differences(a, a) == []
