"""The recorded style is what was done to the image, and nothing is drawn but from the generator."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from ssl_theory.benchmarks import augmentation
from ssl_theory.benchmarks.augmentation import Affine, AugmentedImages, Chain
from ssl_theory.benchmarks.data import Images
from ssl_theory.benchmarks.published import Colour, Crop


def blob(height: int = 9, width: int = 9, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 2, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def apply(image: torch.Tensor, *style: float) -> torch.Tensor:
    return Affine().apply(image, torch.tensor([style], dtype=image.dtype))


def world(n: int = 20) -> AugmentedImages:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (n, 1, 8, 8), generator=generator, dtype=torch.uint8)
    return AugmentedImages(Images(pixels, torch.arange(n) % 4), Affine(1.5, 0.5, 0.2))


def test_zero_style_changes_nothing():
    image = blob()
    torch.testing.assert_close(apply(image, 0, 0, 0, 0), image)


@pytest.mark.parametrize(("dx", "dy"), [(2, 0), (0, 3), (-1, 2)])
def test_shift_is_in_pixels_right_and_down(dx, dy):
    image = blob(9, 11)
    padded = torch.nn.functional.pad(image, (3, 3, 3, 3))
    expected = torch.roll(padded, (dy, dx), dims=(2, 3))[..., 3:-3, 3:-3]
    torch.testing.assert_close(apply(image, dx, dy, 0, 0), expected)


def test_rotation_is_in_radians_clockwise_on_screen():
    image = blob()
    torch.testing.assert_close(apply(image, 0, 0, math.pi / 2, 0), torch.rot90(image, -1, dims=(2, 3)))


def test_log_scale_doubles_the_size():
    image = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    image[..., 3:5, 3:5] = 1.0
    assert apply(image, 0, 0, 0, math.log(2)).sum() == pytest.approx(4 * image.sum().item(), rel=0.01)


@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(-3, 3), st.floats(-0.5, 0.5), st.sampled_from([(9, 9), (7, 12)]))
def test_equals_scipys_affine_transform(dx, dy, angle, log_scale, size):
    image = blob(*size)
    c, s = math.cos(angle), math.sin(angle)
    forward = math.exp(log_scale) * np.array([[c, s], [-s, c]])  # acts on (row, column)
    inverse, centre = np.linalg.inv(forward), (np.array(size) - 1) / 2
    offset = centre - inverse @ (centre + np.array([dy, dx]))
    ours = apply(image, dx, dy, angle, log_scale)
    # scipy cuts off at the outermost pixel centres, grid_sample fades out half a pixel beyond: a black frame
    # makes them agree
    frame = np.pad(image[0].numpy(), ((0, 0), (4, 4), (4, 4)))
    shifted = offset + 4 - inverse @ np.array([4, 4])
    theirs = [ndimage.affine_transform(one, inverse, shifted, order=1)[4:-4, 4:-4] for one in frame]
    np.testing.assert_allclose(ours[0].numpy(), np.stack(theirs), atol=1e-9)


def test_style_is_uniform_in_its_intervals_and_independent():
    affine = Affine(shift=2.0, rotation=0.5, log_scale=0.1)
    style = affine.draw((4000, 2), torch.Generator().manual_seed(0)).flatten(0, 1)
    widths = torch.tensor([2.0, 2.0, 0.5, 0.1])
    assert (style.abs() <= widths).all()
    torch.testing.assert_close(style.var(0) / (widths**2 / 3), torch.ones(4), atol=0.06, rtol=0)
    assert torch.corrcoef(style.T).fill_diagonal_(0).abs().max() < 0.05


def test_views_are_the_recorded_style_applied_to_the_image():
    sampled = world().views_of(torch.tensor([3, 5]), views=3, generator=torch.Generator().manual_seed(2))
    for i, at in enumerate((3, 5)):
        original = world().images.pixels[at : at + 1].float() / 255
        for j in range(3):
            again = Affine().apply(original, sampled.style[i, j : j + 1])
            torch.testing.assert_close(sampled.x[i, j], again[0])
    assert sampled.label.tolist() == [3, 1]


def test_views_of_one_image_have_independent_styles():
    style = world().sample(500, views=2, generator=torch.Generator().manual_seed(0)).style
    correlation = torch.corrcoef(style.flatten(1).T)[:4, 4:]
    assert correlation.abs().max() < 0.15


def test_same_generator_same_views_and_global_state_untouched():
    before = torch.get_rng_state()
    first = world().sample(7, views=2, generator=torch.Generator().manual_seed(3))
    second = world().sample(7, views=2, generator=torch.Generator().manual_seed(3))
    other = world().sample(7, views=2, generator=torch.Generator().manual_seed(4))
    assert torch.equal(first.x, second.x)
    assert torch.equal(first.style, second.style)
    assert not torch.equal(first.style, other.style)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("views", [1, 2, 5])
def test_shapes(views):
    sampled = world().sample(6, views=views, generator=torch.Generator())
    assert sampled.x.shape == (6, views, 1, 8, 8)
    assert sampled.style.shape == (6, views, 4)
    assert sampled.label.shape == (6,)
    assert 0 <= sampled.x.min() <= sampled.x.max() <= 1


def test_every_keeps_the_order():
    data = world()
    sampled = data.every(views=2, generator=torch.Generator())
    assert torch.equal(sampled.label, data.images.labels)


@pytest.mark.parametrize("how", [Affine(1.5, 0.5, 0.2), Crop((8, 8)), Chain((Crop((8, 8)), Colour()))], ids=str)
@pytest.mark.parametrize("images", [7, 3, 1])
def test_pieces_change_nothing(monkeypatch, how, images):
    """All at once, one image at a time, and three at a time with a last piece that is shorter: what `apply` makes."""
    pixels = torch.randint(256, (7, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    data, most = AugmentedImages(Images(pixels, torch.arange(7)), how), 3 * 64 * images
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(augmentation, "PIECE", most)
    assert augmentation._pieces(torch.empty(7, 2, 3, 8, 8))[0] == slice(0, images)
    seen = data.every(views=2, generator=torch.Generator().manual_seed(3))
    plain = augmentation.unit(pixels).repeat_interleave(2, 0)
    torch.testing.assert_close(seen.x.flatten(0, 1), how.apply(plain, seen.style.flatten(0, 1)))


@pytest.mark.parametrize(
    "how", [Affine(3.0, 0.5, 0.2), Chain((Crop((28, 28)), Colour()))], ids=["affine", "crop-colour"]
)
def test_views_are_exact_however_networks_multiply(how):
    """Torch's faster products round to bfloat16 (where the CPU has units for it): coordinates, and so pixels."""
    pixels = torch.randint(256, (40, 3, 28, 28), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    data = AugmentedImages(Images(pixels, torch.arange(40)), how)
    before, asked = torch.get_float32_matmul_precision(), []
    plain = data.every(views=2, generator=torch.Generator().manual_seed(0))
    try:
        torch.set_float32_matmul_precision("medium")
        fast = data.every(views=2, generator=torch.Generator().manual_seed(0))
        asked = [torch.get_float32_matmul_precision(), torch.backends.mkldnn.matmul.fp32_precision]
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(plain.x, fast.x)
    assert asked == ["medium", "bf16"]  # what was asked for networks stays


@pytest.mark.parametrize("room", [0, 1, 2], ids=lambda share: f"room for {share} times the images")
def test_images_go_along_where_they_fit_and_views_are_the_same_where_not(monkeypatch, device, room):
    here = world()
    bytes_of = here.images.size
    assert bytes_of == 20 * 64 + 20 * 8  # pixels and labels
    monkeypatch.setattr(augmentation, "_room", lambda place: float(room * bytes_of))
    there = here.to(device)
    assert (there.images is here.images) == (room < 2)  # half of what is free is left to networks
    assert there.device.type == device.type
    sent: list[torch.device] = []
    to = Images.to
    monkeypatch.setattr(Images, "to", lambda images, place: sent.append(place) or to(images, place))
    seen = there.sample(9, views=2, generator=torch.Generator(device).manual_seed(3))
    assert sent == [there.device]  # those drawn, wherever the others are
    assert {each.device.type for each in (seen.x, seen.style, seen.label)} == {device.type}
    resident = AugmentedImages(here.images.to(device), here.augmentation)
    same = resident.sample(9, views=2, generator=torch.Generator(device).manual_seed(3))
    assert all(torch.equal(getattr(seen, name), getattr(same, name)) for name in ("x", "style", "label"))


def test_of_a_gpu_what_is_free_is_asked(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000 if device.index == 1 else 0, 10**9))
    assert augmentation._room(torch.device("cuda:1")) == 1000
    assert augmentation._room(torch.device("cpu")) == math.inf


def test_names_are_the_augmentations():
    assert world().names == Affine.names


def test_refusals():
    with pytest.raises(ValueError, match="half-widths"):
        Affine(shift=-1.0)
    with pytest.raises(ValueError, match="at least 1 view"):
        world().sample(3, views=0, generator=torch.Generator())
