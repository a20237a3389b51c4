"""The world of sprites: its samples, factors and views, what it refuses, and its contact sheet."""

import dataclasses
import math

import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread

import synthetic.rendering as rendering
from synthetic.sprites import SHAPES, SpriteWorld, contact_sheet, render

NAMES = list(SHAPES)


def test_sample_has_its_shapes_and_types(device, dtype, generator):
    world = SpriteWorld(size=16, channels=3, hue=(0.0, 6.0), device=device, dtype=dtype)
    seen = world.sample(20, views=3, generator=generator)
    assert seen.x.shape == (20, 3, *world.observation_shape) == (20, 3, 3, 16, 16)
    assert world.content_names == ("shape", "hue")
    assert world.style_names == ("x", "y", "scale", "rotation", "brightness", "background")
    assert (world.latent_dim, world.observation_dim, world.classes) == (8, 768, 8)
    assert seen.content.shape == (20, world.content_dim)
    assert seen.style.shape == (20, 3, world.style_dim)
    assert all(part.dtype == dtype and part.device == device for part in (seen.x, seen.z, seen.content, seen.style))
    assert seen.label.dtype == torch.int64
    assert seen.x.min() >= 0
    assert seen.x.max() <= 1
    assert world.to(dtype=torch.float32).sample(2, generator=generator).x.dtype == torch.float32


def test_latents_are_content_and_style_and_draw_the_images_again(device, dtype, generator):
    shapes = ("star", "disc", "bar")  # not in the order of SHAPES
    world = SpriteWorld(size=24, shapes=shapes, background=0.1, rotation=1.0, device=device, dtype=dtype)
    seen = world.sample(30, views=2, generator=generator)
    assert world.style_names == ("x", "y", "scale", "brightness")
    assert (seen.z[..., 0] == seen.label[:, None]).all()
    assert (seen.content[:, 0] == seen.label).all()
    assert (seen.z[..., 1:] == seen.style).all()
    assert (world.render(seen.z) == seen.x).all()
    known = torch.tensor([NAMES.index(name) for name in shapes], device=device)[seen.label][:, None]
    again = render(known, *seen.style[..., :3].unbind(-1), 1.0, seen.style[..., 3], 0.1, size=24)
    torch.testing.assert_close(again, seen.x)


def test_same_generator_same_sample_and_another_seed_another(device, dtype):
    world = SpriteWorld(size=8, device=device, dtype=dtype)
    first, second, other = (world.sample(6, generator=torch.Generator(device).manual_seed(seed)) for seed in (3, 3, 4))
    assert all((getattr(first, k) == getattr(second, k)).all() for k in ("x", "z", "content", "style", "label"))
    assert not (first.style == other.style).any()


def test_factors_are_uniform_on_their_ranges_and_independent(device, dtype, generator):
    world = SpriteWorld(size=2, device=device, dtype=dtype, shapes=("disc", "star"), weights=(1.0, 3.0))
    n = 5_000
    seen = world.sample(n, generator=generator)
    low, high = torch.tensor([getattr(world, name) for name in world.style_names], device=device).unbind(1)
    unit = (seen.style - low) / (high - low)
    assert unit.min() >= -1e-6
    assert unit.max() <= 1 + 1e-6
    error = 5 / math.sqrt(n)
    for power in (1, 2, 3):
        assert (unit.pow(power).mean((0, 1)) - 1 / (power + 1)).abs().max() < error
    assert abs(seen.label.double().mean() - 0.75) < error
    together = torch.cat((seen.label[:, None], seen.style[:, 0], seen.style[:, 1]), 1).mT
    correlation = torch.corrcoef(together) - torch.eye(len(together), device=device)
    assert correlation.abs().max() < error
    assert world.style_floor() == 0
    assert (world.style_floor(per_coordinate=True) == 0).all()


def test_a_weight_of_zero_is_never_drawn(device, dtype, generator):
    world = SpriteWorld(size=2, shapes=("bar", "disc", "star"), weights=(0.0, 2.0, 0.0), device=device, dtype=dtype)
    assert (world.sample(2_000, generator=generator).label == 1).all()


def test_sprites_of_default_ranges_lie_within_the_image_and_stand_out(device, dtype, generator):
    world = SpriteWorld(size=32, device=device, dtype=dtype)
    seen = world.sample(200, generator=generator)
    ground = seen.style[..., -1, None]
    border = torch.cat((seen.x[..., 0, 0, :], seen.x[..., 0, -1, :], seen.x[..., 0, 0], seen.x[..., 0, -1]), -1)
    inner = border - ground
    assert inner.abs().max() < 0.51  # a sprite that touches the border fills half a pixel of it at most
    assert (inner.abs() > 1e-6).double().mean() < 0.01
    assert ((seen.x.amax((-3, -2, -1)) - seen.style[..., -2]).abs() < 1e-6).double().mean() > 0.99


@pytest.mark.parametrize("p_keep", [0.0, 0.3, 1.0])
def test_views_share_a_factor_as_often_as_told(p_keep, device, dtype, generator):
    world = SpriteWorld(size=2, p_keep=p_keep, device=device, dtype=dtype)
    style = world.sample(2_000, views=3, generator=generator).style
    shared = (style == style[:, :1]).all(1).double()
    assert (shared.mean(0) - p_keep).abs().max() <= 5 * math.sqrt(p_keep * (1 - p_keep) / 2_000)
    assert torch.corrcoef(shared.mT).fill_diagonal_(0).nan_to_num().abs().max() < 0.1
    low, high = world.scale
    assert abs(style[..., 2].mean() - (low + high) / 2) < 0.01  # the law of one view is as before


def test_single_factors_can_be_kept(device, dtype, generator):
    world = SpriteWorld(size=2, p_keep={"scale": 1.0}, device=device, dtype=dtype)
    style = world.sample(50, views=4, generator=generator).style
    assert (style == style[:, :1]).all((0, 1)).tolist() == [name == "scale" for name in world.style_names]


def test_saved_world_is_the_same_world(tmp_path, device, dtype):
    world = SpriteWorld(
        size=12, channels=3, hue=(0.1, 0.7), shapes=("bar", "star"), weights=(0.3, 0.7), y=0.1, device=device,
        dtype=dtype, p_keep={"x": 1 / 3}, edge=1.5,
    )  # fmt: skip
    world.save(tmp_path / "world")
    for path in (tmp_path / "world", tmp_path / "world.json"):
        read = SpriteWorld.load(path, device)
        assert read == world
        samples = [w.sample(4, generator=torch.Generator(device).manual_seed(0)).x for w in (world, read)]
        assert (samples[0] == samples[1]).all()


def test_world_prints_its_factors():
    text = repr(SpriteWorld(shapes=("disc",), x=0.0, p_keep=0.5))
    assert "Cat(disc)" in text
    assert "y ~ U(-0.5, 0.5)" in text
    assert "x ~" not in text
    assert "0.5" in text.split("kept")[1]


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ({"size": 0}, "found 0"),
        ({"channels": 2}, "found 2"),
        ({"edge": 0.0}, "found 0.0"),
        ({"edge": math.nan}, "found nan"),
        ({"hue": (0.0, 1.0)}, "set channels=3"),
        ({"shapes": ("disk",)}, "did you mean 'disc'"),
        ({"shapes": ("qqqq",)}, "there are disc, square"),
        ({"shapes": ()}, r"found \(\)"),
        ({"shapes": ("disc", "disc")}, "none twice"),
        ({"weights": (1.0,)}, "expected 8 weights"),
        ({"weights": (-1.0,) + (1.0,) * 7}, "none negative"),
        ({"weights": (0.0,) * 8}, "not all zero"),
        ({"scale": (0.5, 0.2)}, "low < high"),
        ({"scale": 0.0}, "scale"),
        ({"brightness": (0.5, 1.5)}, "brightness"),
        ({"background": -0.1}, "background"),
        ({"x": (0.0, math.inf)}, "finite"),
        ({"p_keep": 1.5}, "between 0 and 1"),
        ({"p_keep": {"size": 0.5}}, "found size"),
        ({"p_keep": {"x": -0.5}}, "between 0 and 1"),
        ({"x": 0.0, "p_keep": {"x": 1.0}}, "give it a range"),
    ],
)
def test_impossible_worlds_are_refused_in_one_line(wrong, found):
    with pytest.raises(ValueError, match=found) as error:
        SpriteWorld(**wrong)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("expected")


def test_impossible_calls_are_refused_in_one_line(tmp_path, device, dtype, generator):
    world = SpriteWorld(size=4, device=device, dtype=dtype)
    (tmp_path / "other.json").write_text('{"format": 1}')
    calls = {
        "found n=0": lambda: world.sample(0, generator=generator),
        "views=0": lambda: world.sample(1, views=0, generator=generator),
        "expected 7 latents": lambda: world.render(torch.zeros(2, 5, device=device)),
        r"indices of SHAPES in 0\.\.7, found 2 outside": lambda: render(torch.tensor([8, 0, -1], device=device)),
        "broadcast together": lambda: rendering._broadcast(torch.zeros(2, dtype=torch.int64), torch.zeros(3)),
        "set channels=3": lambda: render(0, hue=1.0),
        "found none": lambda: SpriteWorld.load(tmp_path / "nowhere"),
        "found 1: save it again": lambda: SpriteWorld.load(tmp_path / "other"),
        "expected images": lambda: contact_sheet(torch.zeros(2, 2, 8, 8), tmp_path / "sheet.png"),
    }
    for found, call in calls.items():
        with pytest.raises(ValueError, match=found) as error:
            call()
        assert "\n" not in str(error.value)


def test_generator_of_another_device_is_refused(generator):
    elsewhere = dataclasses.replace(SpriteWorld(size=4), device=torch.device("meta"))
    with pytest.raises(ValueError, match="expected a generator on meta"):
        elsewhere.sample(1, generator=torch.Generator())


def test_contact_sheet_shows_every_image_in_its_place(tmp_path, device):
    images = torch.linspace(0, 1, 6, device=device)[:, None, None, None].expand(-1, 1, 4, 4)
    contact_sheet(images, tmp_path / "sheet.png", columns=4, zoom=3)
    sheet = imread(tmp_path / "sheet.png")[..., :3]
    assert sheet.shape == (2 * 6 * 3, 4 * 6 * 3, 3)
    middles = sheet[9::18, 9::18, 0].flatten()
    assert middles[:6] == pytest.approx(torch.linspace(0, 1, 6).numpy(), abs=1 / 255)
    assert (middles[6:] == 1).all()  # places left over are white
    axes = Figure().subplots()
    contact_sheet(images.reshape(3, 2, 1, 4, 4), axes)
    assert axes.images[0].get_array().shape == (3 * 6, 2 * 6, 3)
