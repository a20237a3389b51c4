"""A saved world is the same world, bit for bit."""

import json
from pathlib import Path

import pytest
import torch

from synthetic import World, load, preset
from tests.synthetic.worlds import linear_worlds, seeded


@pytest.mark.parametrize("name", linear_worlds())
def test_worlds_round_trip(name: str, tmp_path: Path) -> None:
    made = linear_worlds()[name]
    made.save(tmp_path / "world")
    read = World.load(tmp_path / "world.json")
    assert torch.equal(made.sample(20, generator=seeded(1)).x, read.sample(20, generator=seeded(1)).x)
    assert torch.equal(
        made.log_evidence(torch.ones(1, 2, made.observation_dim).double()),
        read.log_evidence(torch.ones(1, 2, made.observation_dim).double()),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_saved_map_is_the_same_map(dtype: torch.dtype, tmp_path: Path) -> None:
    made = preset("dependent-style", seed=3, dtype=dtype)
    made.save(tmp_path / "world")
    z = torch.linspace(-3, 3, made.latent_dim, dtype=dtype)[None]
    assert torch.equal(made.mixing(z), World.load(tmp_path / "world").mixing(z))


def test_a_seed_decides_the_world() -> None:
    x = [preset("block", seed=seed).sample(5, generator=seeded()).x for seed in (0, 0, 1)]
    assert torch.equal(x[0], x[1])
    assert not torch.equal(x[0], x[2])


def test_both_precisions_are_the_same_world() -> None:
    z = torch.randn(10, 8, generator=seeded(), dtype=torch.float64)
    double, single = preset("block", dtype=torch.float64), preset("block")
    assert torch.allclose(double.mixing(z), single.mixing(z.float()).double(), atol=1e-5)


def test_unreadable_files(tmp_path: Path) -> None:
    preset("paper").save(tmp_path / "world")
    structure = json.loads((tmp_path / "world.json").read_text())
    (tmp_path / "world.json").write_text(json.dumps({**structure, "format": 99}))
    with pytest.raises(ValueError, match="format 1, found 99"):
        World.load(tmp_path / "world")
    structure["parts"]["style"]["part"] = "Baroque"
    (tmp_path / "world.json").write_text(json.dumps(structure))
    with pytest.raises(ValueError, match="found 'Baroque'"):
        World.load(tmp_path / "world")


def test_worlds_are_loaded_onto_a_device(tmp_path: Path) -> None:
    preset("sprites").save(tmp_path / "world")
    assert load(tmp_path / "world", "meta").device.type == "meta"


def test_a_file_that_holds_no_world_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "world.json").write_text(json.dumps({"format": 99}))
    for path, words in ((tmp_path / "world", "format 1, sprites 1, found 99"), (tmp_path / "nowhere", "found none")):
        with pytest.raises(ValueError, match=words) as error:
            load(path)
        assert "\n" not in str(error.value)


def test_printing_is_the_factorisation() -> None:
    text = str(preset("dependent-style", p_keep=0.5))
    for piece in (
        "k ~ Cat(8 classes)",
        "y | k ~ N(mu_k, 0.25 I) in R^4",
        "s^j = B y + b",
        "0.05 eps^j",
        "kept across views",
    ):
        assert piece in text
