"""Rendering of sprites: areas and outlines, symmetries, gradients."""

import math

import pytest
import torch

import synthetic.rendering as rendering
from synthetic.sprites import SHAPES, render
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
