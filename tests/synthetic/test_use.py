"""Drawing, streaming and exporting worlds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader

from synthetic import preset
from synthetic.__main__ import main
from synthetic.export import write
from synthetic.stream import Stream

mpl.use("Agg")


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["synthetic", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    output = capsys.readouterr()
    return int(ended.value.code or 0), output.out, output.err


@pytest.mark.parametrize("name", ["block", "sprites"])
def test_plates_are_drawn_on_axes_of_their_own_and_keep_clear_of_each_other(name: str) -> None:
    import matplotlib.pyplot as plt

    axes = preset(name).graph()
    axes.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts if "~" in text.get_text() or "=" in text.get_text()]
    assert all(not a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(box.x1 <= axes.figure.bbox.x1 for box in boxes)
    plt.close(axes.figure)


def test_stream_is_the_same_on_every_pass_and_for_any_workers() -> None:
    stream = preset("block").to_dataset(100, views=3, seed=5, chunk=16)
    first, second = list(stream), list(stream)
    assert len(first) == len(stream) == 100
    assert set(first[0]) == {"x", "z", "content", "style", "label"}
    assert first[0]["x"].shape == (3, 16)
    assert all(torch.equal(a["x"], b["x"]) for a, b in zip(first, second, strict=True))
    together = torch.stack([datum["x"] for datum in first])
    batches = torch.cat([batch["x"] for batch in DataLoader(stream, batch_size=10)])
    assert torch.equal(batches, together)
    assert len(together.flatten(1).unique(dim=0)) == 100
    other = next(iter(preset("block").to_dataset(100, views=3, seed=6, chunk=16)))
    assert not torch.equal(other["x"], first[0]["x"])


def test_no_datum_is_in_two_chunks_nor_in_the_streams_of_two_seeds() -> None:
    world = preset("linear-gaussian")
    drawn = [views.x for seed in range(4) for views in world.to_dataset(32, seed=seed, chunk=8).chunks()]
    assert len(torch.cat(drawn).flatten(1).unique(dim=0)) == 4 * 32


def test_workers_share_the_chunks() -> None:
    stream = preset("linear-gaussian").to_dataset(50, seed=5, chunk=8)
    assert "label" not in next(iter(stream))
    shared = [views.x for worker in range(3) for views in stream.chunks(worker, 3)]
    alone = [views.x for views in stream.chunks()]
    assert torch.equal(torch.cat(shared).flatten(1).sort(0).values, torch.cat(alone).flatten(1).sort(0).values)


def test_npz_holds_the_sample_and_its_provenance(tmp_path: Path, monkeypatch, capsys) -> None:
    path = tmp_path / "block.npz"
    arguments = ("block", "-n", "1500", "-o", str(path), "--views", "3", "--seed", "4", "--world-seed", "2")
    code, out, _ = run(monkeypatch, capsys, *arguments, "--set", "p_keep=0.5")
    assert (code, out.strip()) == (0, f"1500 data of 3 views written to {path}")
    with np.load(path) as file:
        read = dict(file)
    made_by = json.loads(str(read["provenance"]))
    world = preset(made_by["preset"], made_by["world_seed"], **made_by["overrides"])
    stream = Stream(world, made_by["n"], views=made_by["views"], seed=made_by["seed"], chunk=made_by["chunk"])
    again = torch.cat([views.x for views in stream.chunks()])
    assert np.array_equal(read["x"], again.numpy())
    assert read["label"].shape == (1500,)
    assert made_by["torch"] == torch.__version__
    assert made_by["world"] == repr(world)


def test_images_are_exported_as_images(tmp_path: Path, monkeypatch, capsys) -> None:
    path = tmp_path / "sprites.npz"
    code, out, _ = run(monkeypatch, capsys, "sprites", "-n", "100", "-o", str(path), "--set", "size=16")
    assert (code, out.strip()) == (0, f"100 data of 2 views written to {path}")
    world = preset("sprites", size=16)
    with np.load(path) as read:
        assert np.array_equal(read["x"], world.render(torch.from_numpy(read["z"])).numpy())
        assert read["x"].shape == (100, 2, 1, 16, 16)
        assert json.loads(str(read["provenance"]))["world"] == repr(world)


def test_parquet_holds_a_row_a_datum(tmp_path: Path, monkeypatch, capsys) -> None:
    path = tmp_path / "modalities.parquet"
    code, _, _ = run(monkeypatch, capsys, "modalities", "-n", "1100", "-o", str(path))
    assert code == 0
    table = pq.read_table(path)
    shapes = json.loads(table.schema.metadata[b"shapes"])
    assert table.num_rows == 1100
    assert (shapes["x_1"], shapes["x_2"], shapes["z"], shapes["label"]) == ([16], [24], [2, 8], [])
    rows = np.stack(table["z"].to_numpy()).reshape(-1, *shapes["z"])
    assert np.array_equal(rows[:, 0, :4], rows[:, 1, :4]), "content is shared by the views"
    assert json.loads(table.schema.metadata[b"provenance"])["preset"] == "modalities"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["blok", "-o", "x.npz"], "did you mean 'block'"),
        (["block", "-o", "x.csv"], "ending in .npz or .parquet, found 'x.csv'"),
        (["block", "-o", "/nowhere/x.npz"], "existing folder"),
        (["block", "-n", "0", "-o", "x.npz"], "at least one datum"),
        (["block", "--views", "0", "-o", "x.npz"], "one view"),
        (["modalities", "--views", "3", "-o", "x.npz"], "views=2, one a modality"),
        (["block", "--set", "p_keep=2", "-o", "x.npz"], "p_keep between 0 and 1"),
        (["block", "--set", "p_keep", "-o", "x.npz"], "expected --set NAME=VALUE"),
        (["block", "--set", "hue=1", "-o", "x.npz"], "expected overrides of 'block'"),
    ],
)
def test_bad_input_ends_in_one_line_and_code_two(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(monkeypatch, capsys, *arguments)
    last = err.strip().splitlines()[-1]
    assert code == 2
    assert last.startswith("error: ")
    assert words in last
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


@pytest.mark.slow
def test_an_override_of_another_type_is_refused_in_one_line(tmp_path: Path) -> None:
    """In a process of its own: run-time type checks of the tests would speak first."""
    arguments = [sys.executable, "-m", "synthetic", "block", "--set", "classes=abc", "-o", str(tmp_path / "x.npz")]
    root = Path(__file__).parents[2]
    ended = subprocess.run(arguments, capture_output=True, text=True, cwd=root, env=os.environ, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: expected overrides of the right type")
    assert len(ended.stderr.strip().splitlines()) == 1


def test_without_output_the_world_is_printed(monkeypatch, capsys) -> None:
    code, out, _ = run(monkeypatch, capsys, "sphere")
    assert code == 0
    assert out.startswith("World\n  y uniform on the unit sphere of R^4")


def test_a_failed_export_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_text("old")
    stream = Stream(preset("paper"), 3000)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(stream, path, {}, interrupt)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
