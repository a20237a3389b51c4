"""The table of probes is of the representations as they are and as they are whitened."""

from pathlib import Path

import pytest
import torch
import typer

from speed import probes

pytestmark = pytest.mark.usefixtures("rough_probes")


def test_whitened_columns_are_uncorrelated_whatever_map_came_before() -> None:
    g = torch.Generator().manual_seed(0)
    z, turn = torch.randn(2, 400, 3, generator=g), torch.randn(3, 3, generator=g)
    z = torch.cat([z @ turn * torch.tensor([1.0, 30.0, 0.02]) + 5.0, torch.ones(2, 400, 1)], -1)
    seen = probes.whitened(z, 200)
    expected = torch.diag(torch.tensor([0.0, 1.0, 1.0, 1.0])).expand(2, 4, 4)
    torch.testing.assert_close(seen[:, :200].mT @ seen[:, :200] / 200, expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(seen[:, :200].mean(1), torch.zeros(2, 4), atol=1e-3, rtol=0)


def test_the_table_has_a_row_a_method_and_a_cell_a_probe(tmp_path: Path) -> None:
    probes.main(["observation", "SimCLR"], seeds=2, points=200, steps=2, output=tmp_path / "probes.md")
    written = (tmp_path / "probes.md").read_text()
    assert "`python -m speed.probes --seeds 2 --steps 2 --points 200 --method observation --method SimCLR`" in written
    rows = [line for line in written.splitlines() if line.startswith("|")][2:]
    assert [row.split(" | ")[0] for row in rows] == ["| observation", "| SimCLR"]
    assert all(row.count("±") == len(probes.PROBES) for row in rows)


def test_a_folder_that_is_not_there_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match=r"no folder .*nowhere; make it"):
        probes.main(["SimCLR"], seeds=2, points=200, steps=1, output=tmp_path / "nowhere" / "probes.md")


def test_an_unknown_method_is_named(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="unknown method 'SimCRL': choose among"):
        probes.main(["SimCRL"], output=tmp_path / "probes.md")
