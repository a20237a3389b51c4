"""Sprites: areas and outlines, symmetries, gradients, and a world whose factors are those of its images."""

import dataclasses
import math

import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread

import synthetic.rendering as rendering
from synthetic.sprites import SHAPES, SpriteWorld, contact_sheet, render
from tests.references import sprite_inside

NAMES = list(SHAPES)
ALL = torch.arange(len(NAMES))
FACTORS = ("x", "y", "scale", "rotation", "brightness", "background", "hue")


@pytest.fixture(autouse=True)
def _precision(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def tolerance(dtype):
    return 1e-9 if dtype == torch.float64 else 2e-4


def factors(n, generator):
    """Factors of n sprites that lie within their image."""
    low = torch.tensor([-0.4, -0.4, 0.2, -math.pi, 0.5, 0.0, 0.0], device=generator.device)
    high = torch.tensor([0.4, 0.4, 0.5, math.pi, 1.0, 0.3, 2 * math.pi], device=generator.device)
    drawn = low + (high - low) * torch.rand(n, 7, generator=generator, device=generator.device)
    return dict(zip(FACTORS, drawn.unbind(1), strict=True))


# -- outlines ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_area(name, generator, device):
    pose = {k: v for k, v in factors(3, generator).items() if k in ("x", "y", "rotation")}
    radius = 0.5 * 0.55 * 128
    images = render(torch.tensor(NAMES.index(name), device=device), scale=0.55, size=128, **pose)
    area = images.sum((-3, -2, -1))
    torch.testing.assert_close(area, torch.full_like(area, SHAPES[name].area * radius**2), rtol=2e-3, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_outline_is_that_of_a_supersampled_reference(name, device):
    size, scale, x, y, rotation, fine = 40, 0.7, 0.1, -0.15, 0.4, 8
    centres = (torch.arange(size * fine) + 0.5) * 2 / (size * fine) - 1
    right, up = (centres - x)[None, :] / scale, (-centres - y)[:, None] / scale
    u, v = (
        math.cos(rotation) * right + math.sin(rotation) * up,
        math.cos(rotation) * up - math.sin(rotation) * right,
    )
    inside = torch.as_tensor(sprite_inside(name, u.numpy(), v.numpy())).to(torch.get_default_dtype())
    expected = inside.unflatten(0, (size, fine)).unflatten(2, (size, fine)).mean((1, 3))
    found = render(torch.tensor(NAMES.index(name), device=device), x, y, scale, rotation, size=size)[0].cpu()
    off = (found - expected).abs()
    assert off.mean() < 0.003
    assert (off > 0.15).double().mean() < 0.004  # sharp tips, at most


def test_known_pixels_of_a_square(device, tolerance):
    """Half a side of 10.25 pixels: ten covered, a quarter of the eleventh, none of the twelfth."""
    square = torch.tensor(NAMES.index("square"), device=device)
    image = render(square, scale=10.25 * math.sqrt(2) / 32, brightness=0.8, background=0.2)[0]
    row = torch.tensor([0.8] * 10 + [0.2 + 0.25 * 0.6] + [0.2] * 21, device=device)
    torch.testing.assert_close(image[32], torch.cat((row.flip(0), row)), rtol=0, atol=tolerance)


def test_edge_is_as_wide_as_told(device):
    def partly(edge):
        image = render(torch.tensor(NAMES.index("square"), device=device), scale=0.6, edge=edge)[0, 32]
        return int(((image > 0) & (image < 1)).sum())

    assert partly(8.0) == 16
    assert partly(1.0) <= 2


def test_axes_point_right_up_and_counter_clockwise(device):
    disc, crescent = (torch.tensor(NAMES.index(k), device=device) for k in ("disc", "crescent"))
    assert render(disc, x=0.5)[0, 32, 48] == 1
    assert render(disc, y=0.5)[0, 16, 32] == 1
    assert render(crescent, scale=0.9)[0, 32, 50] == 0  # the bite is on the right
    assert render(crescent, scale=0.9, rotation=math.pi / 2)[0, 14, 32] == 0  # and is turned to the top
    assert render(crescent, scale=0.9, rotation=math.pi / 2)[0, 50, 32] == 1


# -- laws -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [(5, 0), (0, 3), (-4, 2)])
def test_translation_by_whole_pixels_rolls_the_image(shift, generator, device, tolerance):
    drawn = factors(len(NAMES), generator)
    moved = drawn | {"x": drawn["x"] + 2 * shift[0] / 64, "y": drawn["y"] + 2 * shift[1] / 64}
    before = render(ALL.to(device), **drawn, channels=3)
    after = render(ALL.to(device), **moved, channels=3)
    torch.testing.assert_close(after, before.roll((-shift[1], shift[0]), (-2, -1)), rtol=0, atol=tolerance)


@pytest.mark.parametrize("size", [32, 33])
def test_quarter_turn_is_rot90(size, generator, device, tolerance):
    drawn = factors(len(NAMES), generator)
    turned = drawn | {"x": -drawn["y"], "y": drawn["x"], "rotation": drawn["rotation"] + math.pi / 2}
    before = render(ALL.to(device), **drawn, size=size, channels=3)
    after = render(ALL.to(device), **turned, size=size, channels=3)
    torch.testing.assert_close(after, before.rot90(1, (-2, -1)), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_symmetry_is_of_the_stated_order_and_no_higher(name, device, tolerance):
    order = SHAPES[name].order

    def turned(angle):
        return render(torch.tensor(NAMES.index(name), device=device), 0.1, 0.2, 0.7, 0.3 + angle)

    torch.testing.assert_close(turned(2 * math.pi / (order or 7)), turned(0.0), rtol=0, atol=tolerance)
    if order:
        halfway = (turned(math.pi / order) - turned(0.0)).abs().max()
        assert halfway > 0.5


def test_size_only_samples_the_picture_more_finely(generator, device):
    drawn = factors(len(NAMES), generator)
    coarse, fine = (render(ALL.to(device), **drawn, size=size, channels=3) for size in (32, 128))
    pooled = torch.nn.functional.avg_pool2d(fine, 4)
    assert (coarse - pooled).abs().mean() < 0.003


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("grouped", [True, False])
def test_gradcheck(name, grouped, device):
    shape = torch.full((2,), NAMES.index(name), device=device)
    rows = [[0.11, -0.07, 0.63, 0.41, 0.83, 0.17, 0.9], [-0.05, 0.12, 0.51, -1.3, 0.61, 0.05, 4.0]]
    given = torch.tensor(rows, device=device, dtype=torch.float64).unbind(1)
    given = tuple(value.clone().requires_grad_() for value in given)

    def draw(*values):
        return render(shape, *values, size=9, channels=3, grouped=grouped)

    assert torch.autograd.gradcheck(draw, given, fast_mode=True)


def test_gradient_reaches_every_factor_and_is_finite_at_the_very_centre(device):
    z = torch.tensor([0.0, 0.0, 0.5, 0.0, 0.9, 0.1, 1.0], device=device).expand(len(NAMES), -1)
    z = z.clone().requires_grad_()
    images = render(ALL.to(device), *z.unbind(1), size=9, channels=3)
    weights = torch.randn(images.shape, generator=torch.Generator(device).manual_seed(0), device=device)
    (gradient,) = torch.autograd.grad((images * weights).sum(), z)
    assert gradient.isfinite().all()
    assert (gradient[NAMES.index("star")] != 0).all()


def test_gradient_descent_finds_a_sprite(device):
    """What differentiability is for: a pose is recovered from its image."""
    star = torch.tensor([NAMES.index("star")], device=device)
    truth = torch.tensor([[0.2, -0.1, 0.5]], device=device)
    target = render(star, *truth.unbind(1), size=32, edge=4.0)
    guess = torch.tensor([[0.0, 0.1, 0.4]], device=device, requires_grad=True)
    optimiser = torch.optim.Adam([guess], lr=0.03)
    for _ in range(60):
        optimiser.zero_grad()
        (render(star, *guess.unbind(1), size=32, edge=4.0) - target).square().sum().backward()
        optimiser.step()
    torch.testing.assert_close(guess.detach(), truth, rtol=0, atol=1e-2)


def test_grouped_selected_in_pieces_and_one_by_one_agree(generator, device, tolerance, monkeypatch):
    drawn = factors(50, generator)
    shape = torch.randint(len(NAMES), (50,), generator=generator, device=device)
    expected = torch.stack(
        [render(shape[i], **{k: v[i] for k, v in drawn.items()}, size=16, channels=3) for i in range(50)]
    )
    draw = {"size": 16, "channels": 3}
    torch.testing.assert_close(render(shape, **drawn, **draw), expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(render(shape, **drawn, **draw, grouped=False), expected, rtol=0, atol=tolerance)
    leaf = drawn["x"].clone().requires_grad_()
    torch.testing.assert_close(render(shape, **drawn | {"x": leaf}, **draw).detach(), expected, rtol=0, atol=tolerance)
    monkeypatch.setattr(rendering, "PIXELS_AT_ONCE", {device.type: 3 * 16**2})
    torch.testing.assert_close(render(shape, **drawn, **draw), expected, rtol=0, atol=tolerance)


def test_batch_shapes_broadcast(device):
    shape = torch.tensor([[0], [3]], device=device)
    images = render(shape, x=torch.zeros(5, device=device), size=8)
    assert images.shape == (2, 5, 1, 8, 8)
    assert render(shape[:0], size=8).shape == (0, 1, 1, 8, 8)
    assert render(2, size=8).shape == (1, 8, 8)
    assert render(2, torch.zeros(3, dtype=torch.float16, device=device), size=8).dtype == torch.float16


def test_fixed_graph_goes_through_functional_transforms(device):
    shape = torch.tensor(3, device=device)

    def draw(x):
        return render(shape, x, size=8, grouped=False)

    x = torch.linspace(-0.2, 0.2, 4, device=device)
    slope = torch.func.vmap(torch.func.jacrev(draw))(x)
    step = 1e-3 if x.dtype == torch.float32 else 1e-6
    numeric = (torch.func.vmap(draw)(x + step) - torch.func.vmap(draw)(x - step)) / (2 * step)
    torch.testing.assert_close(slope, numeric, rtol=0, atol=1e-2 if step == 1e-3 else 1e-6)


def test_hue_keeps_the_sum_of_channels_and_names_primaries(device, tolerance):
    hue = torch.linspace(0, 2 * math.pi, 13, device=device)
    colour = render(0, hue=hue, brightness=0.75, channels=3, size=3)[:, :, 1, 1]
    torch.testing.assert_close(colour.sum(1), torch.full_like(hue, 1.5), rtol=0, atol=tolerance)
    assert colour[[0, 4, 8]].argmax(1).tolist() == [0, 1, 2]
    torch.testing.assert_close(colour[0], colour[-1], rtol=0, atol=tolerance)
    grey = render(0, channels=3, brightness=0.75)
    assert (grey == render(0, brightness=0.75)).all()


# -- the world --------------------------------------------------------------------------------------------------


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


# -- bad input --------------------------------------------------------------------------------------------------


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


# -- contact sheet ----------------------------------------------------------------------------------------------


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
