"""Sprites obey the contract of augmented images, and their style is the truth of the world they come from."""

import dataclasses

import pytest
import torch

from ssl_theory.benchmarks.augmentation import Redrawing, unit
from ssl_theory.benchmarks.data import load
from ssl_theory.benchmarks.errors import InputError
from ssl_theory.benchmarks.published import Crop, chosen
from ssl_theory.benchmarks.sprites import Sprites
from synthetic.sprites import SpriteWorld


@pytest.fixture(scope="module")
def splits():
    return load("sprites")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_images_are_what_their_label_and_factors_say(splits):
    assert splits.factors == SpriteWorld().style_names
    assert splits.classes == SpriteWorld().classes
    some = splits.test[torch.arange(50)]
    latents = torch.cat([some.labels[:, None].float(), some.factors], 1)
    drawn = SpriteWorld(size=splits.shape[-1]).render(latents)
    assert (unit(some.pixels) - drawn).abs().max() <= 0.5 / 255 + 1e-6


def test_every_shape_is_as_common(splits):
    counts = torch.cat([part.labels for part in (splits.train, splits.validation, splits.test)]).bincount()
    assert counts.max() - counts.min() <= 1


def test_views_share_the_shape_and_have_styles_of_their_own(splits):
    views = splits.views("train", chosen(None, splits))
    seen = views.sample(300, views=3, generator=seeded())
    assert views.names == splits.factors
    assert seen.x.shape == (300, 3, *splits.shape)
    assert 0 <= seen.x.min() <= seen.x.max() <= 1
    latents = torch.cat([seen.label[:, None, None].expand(-1, 3, 1).float(), seen.style], -1)
    torch.testing.assert_close(seen.x, SpriteWorld(size=splits.shape[-1]).render(latents))
    between = torch.corrcoef(torch.cat([seen.style[:, 0], seen.style[:, 1]], 1).T)[:6, 6:]
    assert between.abs().max() < 0.2


def test_every_view_of_a_part_in_order(splits):
    few = dataclasses.replace(splits, test=splits.test[torch.arange(20)])
    seen = few.views("test", chosen("world", few)).every(views=2, generator=seeded())
    assert torch.equal(seen.label, few.test.labels)


def test_styles_are_drawn_by_the_law_of_the_world():
    ours = Sprites().draw((4000,), seeded())
    theirs = SpriteWorld().sample(4000, views=1, generator=seeded(1)).style[:, 0]
    spread = theirs.std(0)
    torch.testing.assert_close(ours.mean(0) / spread, theirs.mean(0) / spread, atol=0.1, rtol=0)
    torch.testing.assert_close(ours.std(0) / spread, torch.ones(6), atol=0.05, rtol=0)
    torch.testing.assert_close(ours.amin(0) / spread, theirs.amin(0) / spread, atol=0.02, rtol=0)
    assert torch.corrcoef(ours.T).fill_diagonal_(0).abs().max() < 0.06


def test_same_sprites_every_time_and_no_global_numbers(splits):
    before = torch.get_rng_state()
    assert load("sprites").fingerprint() == splits.fingerprint() != load("sprites", split_seed=1).fingerprint()
    assert torch.equal(before, torch.get_rng_state())


def test_another_augmentation_takes_them_as_photographs(splits):
    crop = chosen("crop", splits)
    assert isinstance(crop, Crop)
    assert splits.views("train", crop).names == Crop.names
    assert isinstance(chosen(None, splits), Redrawing)
    assert not isinstance(crop, Redrawing)


def test_refusals(splits, tmp_path):
    with pytest.raises(InputError, match="sprites are drawn by this package and take no"):
        load("sprites", folder=tmp_path)
    with pytest.raises(ValueError, match="train, validation or test"):
        splits.views("tset", chosen(None, splits))
