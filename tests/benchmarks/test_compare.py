"""Two results side by side: differences, marks where intervals do not overlap, and what else differs first."""

import io

import pandas as pd
import pytest
from rich.console import Console

from ssl_theory.benchmarks import compare, table


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


def test_differences_are_named_and_long_ones_only_named():
    a = {"settings": {"steps": 1, "seeds": 2}, "source": "x", "augmentation": "crop"}
    b = {"settings": {"steps": 3, "seeds": 2}, "source": "y", "augmentation": "crop"}
    assert compare.differences(a, b) == ["settings, steps: 1 | 3", "source"]
    assert compare.differences(a, a) == []
