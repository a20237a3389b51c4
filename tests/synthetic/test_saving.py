"""A saved world is the same world, bit for bit."""

import json
from pathlib import Path

import pytest
import torch

from synthetic import PRESETS, World, preset
from tests.synthetic.worlds import linear_worlds, seeded


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_presets_round_trip(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    _check_round_trip(preset(name, seed=3, dtype=dtype), tmp_path)


@pytest.mark.parametrize("name", linear_worlds())
def test_worlds_round_trip(name: str, tmp_path: Path) -> None:
    _check_round_trip(linear_worlds()[name], tmp_path)


def _check_round_trip(made: World, folder: Path) -> None:
    made.save(folder / "world")
    read = World.load(folder / "world.json")
    assert read.dtype == made.dtype
    assert str(read) == str(made)
    first, second = (w.sample(20, generator=seeded(1)) for w in (made, read))
    assert torch.equal(first.x, second.x)
    z = torch.linspace(-3, 3, made.latent_dim, dtype=made.dtype)[None]
    assert torch.equal(made.mixing(z), read.mixing(z)), "the same map"


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
