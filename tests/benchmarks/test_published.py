"""Crops, flips and colours: the recorded style is what was done, by references that say it slowly."""

import colorsys
import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from ssl_theory.benchmarks import jitter, published, resampling
from ssl_theory.benchmarks.augmentation import Affine, AugmentedImages, Chain, planned
from ssl_theory.benchmarks.data import Images, load
from ssl_theory.benchmarks.errors import InputError
from ssl_theory.benchmarks.published import Colour, Crop, chosen, named


def picture(height: int = 8, width: int = 8, channels: int = 3) -> torch.Tensor:
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_whole_frame_is_the_image_and_flip_turns_it_upside_down():
    image, crop = picture(6, 9), Crop((6, 9))
    still = torch.zeros(1, 5, dtype=torch.float64)
    turned = torch.tensor([[0.0, 0.0, 0.0, 0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(crop.apply(image, still), image)
    torch.testing.assert_close(crop.apply(image, turned), image.flip(2))


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_quarter_crop_is_that_quarter_blown_up(flip):
    image = torch.arange(4.0, dtype=torch.float64).reshape(1, 1, 2, 2).repeat_interleave(4, 2).repeat_interleave(4, 3)
    style = torch.tensor([[2.0, -2.0, math.log(0.25), 0.0, flip]], dtype=torch.float64)  # upper right
    shown = Crop((8, 8)).apply(image, style)
    torch.testing.assert_close(shown[..., 1:-1, 1:-1], torch.full((1, 1, 6, 6), 1.0, dtype=torch.float64))


def test_box_equals_pil_resize():
    """A box of whole pixels, blown up bilinearly, away from its edges (PIL does not look outside of the box)."""
    image = picture(16, 16, 1)
    log_area, log_aspect = math.log(8 * 12 / 256), math.log(12 / 8)
    style = torch.tensor([[1.0, -2.0, log_area, log_aspect, 0.0]], dtype=torch.float64)
    box = (8 + 1 - 6, 8 - 2 - 4, 8 + 1 + 6, 8 - 2 + 4)
    resized = Image.fromarray(image[0, 0].float().numpy()).resize((16, 16), Image.Resampling.BILINEAR, box=box)
    ours = Crop((16, 16)).apply(image, style)[0, 0].numpy()
    np.testing.assert_allclose(ours[2:-2, 2:-2], np.asarray(resized)[2:-2, 2:-2], atol=1e-5)


@given(st.floats(0.05, 1.0), st.floats(1.0, 2.0), st.integers(0, 1000))
def test_boxes_lie_inside_and_have_the_recorded_area(low, aspect, seed):
    crop = Crop((20, 30), area=(low, 1.0), aspect=aspect)
    style = crop.draw((64,), torch.Generator().manual_seed(seed)).double()
    width = 30 * torch.exp((style[:, 2] + style[:, 3]) / 2)
    height = 20 * torch.exp((style[:, 2] - style[:, 3]) / 2)
    assert (style[:, 0].abs() + width / 2 <= 15 + 1e-4).all()
    assert (style[:, 1].abs() + height / 2 <= 10 + 1e-4).all()
    torch.testing.assert_close(width * height / 600, style[:, 2].exp())
    assert (style[:, 3].abs() <= math.log(aspect) + 1e-6).all()
    assert (style[:, 2].exp() >= low - 1e-6).all()


def test_crop_is_drawn_by_its_law():
    style = Crop((20, 20), area=(0.4, 1.0)).draw((20000,), torch.Generator().manual_seed(0))
    area = style[:, 2].exp()
    assert area.mean().item() == pytest.approx(0.7, abs=0.005)
    assert area.var().item() == pytest.approx(0.6**2 / 12, rel=0.03)
    assert style[:, 4].mean().item() == pytest.approx(0.5, abs=0.015)
    assert set(style[:, 4].tolist()) == {0.0, 1.0}
    assert style[:, :2].mean(0).abs().max() < 0.1
    assert torch.corrcoef(style[:, :2].T)[0, 1].abs() < 0.03


@pytest.mark.parametrize(
    ("which", "enhancer"), [(0, ImageEnhance.Brightness), (1, ImageEnhance.Contrast), (2, ImageEnhance.Color)]
)
@pytest.mark.parametrize("factor", [0.2, 0.7, 1.6])
def test_jitter_equals_pil(which, enhancer, factor):
    pixels = (picture()[0] * 255).to(torch.uint8)
    style = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    style[0, which] = factor
    ours = Colour().apply(pixels[None].float() / 255, style)[0] * 255
    theirs = np.asarray(enhancer(Image.fromarray(pixels.permute(1, 2, 0).numpy())).enhance(factor))
    assert np.abs(ours.permute(1, 2, 0).numpy() - theirs).max() <= 2  # PIL rounds to bytes twice


@pytest.mark.parametrize("hue", [-1.0, 0.4])
def test_hue_turns_by_the_recorded_angle(hue):
    image = picture(4, 4)
    ours = Colour().apply(image, torch.tensor([[1.0, 1.0, 1.0, hue]], dtype=torch.float64))
    for row in range(4):
        for column in range(4):
            h, s, v = colorsys.rgb_to_hsv(*image[0, :, row, column].tolist())
            expected = colorsys.hsv_to_rgb((h + hue / (2 * math.pi)) % 1, s, v)
            np.testing.assert_allclose(ours[0, :, row, column].numpy(), expected, atol=1e-6)


def test_crop_equals_the_affine_map_of_its_box():
    """The box by torch's own affine grid, for boxes that touch the frame too."""
    crop, images = Crop((9, 12)), picture(9, 12).expand(16, -1, -1, -1)
    style = crop.draw((16,), torch.Generator().manual_seed(0)).double()
    style[:4, 0] = 6 - 12 * torch.exp((style[:4, 2] + style[:4, 3]) / 2) / 2
    width, height = torch.exp((style[:, 2] + style[:, 3]) / 2), torch.exp((style[:, 2] - style[:, 3]) / 2)
    theta = torch.zeros(16, 2, 3, dtype=torch.float64)
    theta[:, 0, 0], theta[:, 0, 2] = width, style[:, 0] / 6
    theta[:, 1, 1], theta[:, 1, 2] = height * (1 - 2 * style[:, 4]), style[:, 1] / 4.5
    grid = torch.nn.functional.affine_grid(theta, [16, 3, 9, 12], align_corners=False)
    expected = torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(crop.apply(images, style), expected)


def kornias(images: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
    from kornia import enhance

    operators = (
        enhance.adjust_brightness_accumulative,
        enhance.adjust_contrast_with_mean_subtraction,
        enhance.adjust_saturation_with_gray_subtraction,
        enhance.adjust_hue,
    )
    for operator, amount in zip(operators, style.unbind(-1), strict=True):
        images = operator(images, amount)
    return images


@given(st.integers(0, 1000), st.sampled_from([torch.float32, torch.float64]))
def test_jitter_equals_kornias_operators(seed, dtype):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(8, 3, 5, 7, generator=generator).to(dtype)
    images[:, :, 0] = images[:, :1, 0]  # grey pixels, and black, white and pure ones, which have ties
    images[:, :, 1] = (images[:, :, 1] > 0.5).to(dtype)
    style = Colour(hue=0.5).draw((8,), generator).to(dtype)
    torch.testing.assert_close(Colour().apply(images, style), kornias(images, style), atol=1e-5, rtol=0)


def test_jitter_in_pieces_is_the_same(monkeypatch):
    """Some images at a time, and some rows of one: contrast is about the mean of the whole image all the same."""
    images, style = picture(9, 12).expand(5, -1, -1, -1), Colour().draw((5,), torch.Generator().manual_seed(0))
    whole = jitter.jittered(images, style.double())
    for pixels in (2 * 9 * 12, 4 * 12, 5 * 9 * 12):
        monkeypatch.setattr(published, "PIXELS", pixels)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
        torch.testing.assert_close(Colour().apply(images, style), whole)


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.5, 3.0]))
def test_few_passes_are_the_steps_one_by_one(seed, strength):
    """Any factor, 0 too; hues all around; black, white, grey and pure pixels; turns of whole sectors."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(7, 3, 4, 5, generator=generator, dtype=torch.float64)
    images[:, :, 0] = images[:, :1, 0]
    images[:, :, 1] = images[:, :, 1].round()
    images[0] = 0.0
    style = Colour(strength, strength, strength, hue=0.5).draw((7,), generator).double()
    style[1, :3], style[2, 3], style[3, 3], style[4, 3] = 0.0, math.pi, -math.pi, 2 * math.pi / 3
    expected = kornias(images, style)
    torch.testing.assert_close(jitter.jittered(images, style), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(jitter.Pieces(style, 20, 60)(images, slice(None)), expected, atol=1e-6, rtol=0)
    aside = images.mT.contiguous().mT
    torch.testing.assert_close(jitter.Pieces(style, 20, 7 * 20)(aside, slice(None)), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [8, resampling.SMALL + 8])
def test_some_images_at_a_time_are_all_at_once(size, monkeypatch):
    """Whatever their number: the styles taken are their own, and memory that is used again keeps nothing."""
    chain, images = Chain((Affine(1.0), Crop((size, size)), Colour())), picture(size, size).float().repeat(7, 1, 1, 1)
    style = chain.draw((7,), torch.Generator().manual_seed(0))
    monkeypatch.setattr(published, "PIXELS", 2 * size**2)
    show = planned(chain, style, images.shape)
    pieces = [show(images[which], which) for which in (slice(0, 3), slice(3, 6), slice(6, 9))]
    torch.testing.assert_close(torch.cat(pieces), chain.apply(images, style))
    alone = [chain.apply(images[:1], one[None]) for one in style]
    torch.testing.assert_close(torch.cat(pieces), torch.cat(alone))


@given(st.integers(0, 1000), st.sampled_from([(8, 8), (5, 9), (1, 3)]))
def test_products_show_what_gathering_pixel_by_pixel_shows(seed, size):
    """In any order, and beyond the frame."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(3, 2, *size, generator=generator, dtype=torch.float64)
    x = size[1] * (1.4 * torch.rand(3, size[1], generator=generator, dtype=torch.float64) - 0.2)
    y = size[0] * (1.4 * torch.rand(3, size[0], generator=generator, dtype=torch.float64) - 0.2)
    products, pixels = resampling.by_products(images, x, y), resampling.by_pixels(images, x, y)
    torch.testing.assert_close(products, pixels)


def test_no_jitter_changes_nothing_and_leaves_its_input_alone():
    image = picture()
    kept = image.clone()
    torch.testing.assert_close(Colour().apply(image, torch.tensor([[1.0, 1.0, 1.0, 0.0]])), image)
    Colour().apply(image, torch.tensor([[0.3, 1.5, 0.2, 1.0]]))
    assert torch.equal(image, kept)


COMPILED = """
import torch
from ssl_theory.benchmarks.published import Colour
images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
style = Colour().draw((6,), torch.Generator().manual_seed(1))
for n in (6, 5, 3):
    difference = Colour(compiled=True).apply(images[:n], style[:n]) - Colour().apply(images[:n], style[:n])
    print(float(difference.abs().max()))
"""


@pytest.mark.slow
def test_compiled_equals_not_compiled(tmp_path):
    """In a process of its own: here shapes are checked at run time, which the compiler cannot look through."""
    own = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", COMPILED], env=own, capture_output=True, text=True, check=True)
    errors = [float(line) for line in done.stdout.split()]
    assert len(errors) == 3
    assert max(errors) < 1e-5


def test_no_compiler_is_said_in_one_line(monkeypatch):
    def failing(_, dynamic):
        def call(*_):
            raise RuntimeError("no g++\nanywhere")

        return call

    published._compiled.cache_clear()
    monkeypatch.setattr(torch, "compile", failing)
    with pytest.raises(InputError, match="C\\+\\+ compiler"):
        Colour(compiled=True).apply(picture(), torch.ones(1, 4))


def test_of_views_that_are_chosen_the_colours_alone_are_compiled(monkeypatch):
    monkeypatch.setattr(published, "_compiled", lambda: jitter.jittered)
    grey = load("digits")
    coloured = replace(grey, train=replace(grey.train, pixels=grey.train.pixels.expand(-1, 3, -1, -1)))
    plain = published.chosen("crop-colour", coloured)
    fast = published.in_one_loop(plain)
    assert isinstance(plain, Chain)
    assert isinstance(fast, Chain)
    assert fast.parts == (plain.parts[0], Colour(compiled=True))
    assert plain.parts[1] == Colour()
    style = plain.draw((4,), torch.Generator().manual_seed(0))
    images = coloured.train[torch.arange(4)].pixels / 255
    torch.testing.assert_close(fast.apply(images, style), plain.apply(images, style), atol=1e-5, rtol=0)
    for splits, name in ((grey, None), (coloured, "crop")):
        without = published.chosen(name, splits)
        assert published.in_one_loop(without) is without


def test_published_views_are_chosen_where_no_others_are_asked_for():
    grey = load("digits")
    colour = replace(grey, train=replace(grey.train, pixels=grey.train.pixels.expand(-1, 3, -1, -1)))
    for splits, usual, published_one in ((grey, "affine", "crop"), (colour, "crop-colour", "crop-colour")):
        assert published.chosen(None, splits) == published.named(usual, splits.shape)
        assert published.chosen(None, splits, published=True) == published.named(published_one, splits.shape)
        assert published.chosen("affine", splits, published=True) == published.named("affine", splits.shape)
    drawn = replace(grey, world=Crop((8, 8)))
    assert published.chosen(None, drawn, published=True) is drawn.world
    assert published.chosen("affine", drawn, published=True) == published.named("affine", grey.shape)


def test_views_to_be_compiled_are_refused_where_there_is_no_compiler(monkeypatch):
    """When they are chosen, not when the first of them is made."""

    def none():
        raise InputError("needs a C++ compiler")

    monkeypatch.setattr(published, "_compiled", none)
    with pytest.raises(InputError, match="compiler"):
        published.in_one_loop(Chain((Crop((8, 8)), Colour())))


def test_colour_is_drawn_by_its_law():
    style = Colour(0.8, 0.4, 1.5, 0.1).draw((20000,), torch.Generator().manual_seed(0))
    low, high = style.min(0).values, style.max(0).values
    angle = 2 * math.pi * 0.1
    torch.testing.assert_close(low, torch.tensor([0.2, 0.6, 0.0, -angle]), atol=1e-3, rtol=0)
    torch.testing.assert_close(high, torch.tensor([1.8, 1.4, 2.5, angle]), atol=1e-3, rtol=0)
    torch.testing.assert_close(style.mean(0), (low + high) / 2, atol=0.02, rtol=0)


@pytest.mark.parametrize("how", [Crop((8, 8)), Colour(), Chain((Crop((8, 8)), Colour()))], ids=str)
def test_no_image_is_none_afterwards(how):
    style = how.draw((0,), torch.Generator().manual_seed(0))
    assert how.apply(torch.zeros(0, 3, 8, 8), style).shape == (0, 3, 8, 8)


def test_chain_records_and_applies_each_part():
    chain = Chain((Affine(1.0), Colour()))
    assert chain.names == Affine.names + Colour.names
    style = chain.draw((3,), torch.Generator().manual_seed(0))
    images = picture().float().expand(3, -1, -1, -1)
    expected = Colour().apply(Affine().apply(images, style[:, :4]), style[:, 4:])
    torch.testing.assert_close(chain.apply(images, style), expected)


def test_every_named_augmentation_samples_without_the_global_generator():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (10, 3, 16, 16), generator=generator, dtype=torch.uint8)
    before = torch.get_rng_state()
    for name in ("affine", "crop", "crop-colour", None):
        world = AugmentedImages(Images(pixels, torch.arange(10)), named(name, (3, 16, 16)))
        a, b = (world.sample(6, views=2, generator=torch.Generator().manual_seed(1)) for _ in range(2))
        assert torch.equal(a.x, b.x)
        assert a.style.shape[-1] == len(world.augmentation.names)
        assert 0 <= a.x.min() <= a.x.max() <= 1
    assert torch.equal(before, torch.get_rng_state())


def test_named_augmentations_are_as_strong_as_is_said():
    """Numbers that no outcome chose: a change of them makes another benchmark."""
    assert named("affine", (1, 20, 24)) == Affine(shift=3.0, rotation=math.pi / 6, log_scale=math.log(1.25))
    assert named("crop", (1, 20, 24)) == Crop((20, 24), area=(0.4, 1.0), aspect=4 / 3, flip=0.5)
    colour = Colour(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2)
    assert named("crop-colour", (3, 20, 24)) == Chain((Crop((20, 24), area=(0.6, 1.0), aspect=4 / 3, flip=0.5), colour))
    assert (named(None, (1, 8, 8)), named(None, (3, 8, 8))) == (
        named("affine", (1, 8, 8)),
        named("crop-colour", (3, 8, 8)),
    )


def test_photographs_have_no_world():
    digits = load("digits")
    assert chosen(None, digits) == named(None, digits.shape)
    assert chosen("crop", digits) == named("crop", digits.shape)
    with pytest.raises(InputError, match="drawn anew"):
        chosen("world", digits)


def test_refusals():
    with pytest.raises(InputError, match="known: affine, crop"):
        named("blur", (1, 8, 8))
    with pytest.raises(InputError, match="RGB"):
        named("crop-colour", (1, 8, 8))
    with pytest.raises(InputError, match="RGB"):
        Colour().apply(picture(channels=1), torch.ones(1, 4))
    with pytest.raises(ValueError, match="0 < area"):
        Crop((8, 8), area=(0.5, 1.5))
    with pytest.raises(ValueError, match="hue at most"):
        Colour(hue=0.7)
