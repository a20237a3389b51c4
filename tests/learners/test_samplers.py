"""Data that are not a world: moved to the device once, a finite pool, augmented images."""

import pytest
import torch

from ssl_theory import learners
from ssl_theory.learners import ensemble
from tests.learners.toy import Toy


class Movable(Toy):
    """It can be moved, and keeps what it was moved to."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: list[Movable] = []

    def to(self, device: torch.device) -> "Movable":
        self.copies.append(Movable())
        return self.copies[-1]


def test_a_sampler_that_members_share_is_moved_to_their_device_once():
    """It may hold a whole data set, which would not fit once a member."""
    one, other, fixed = Movable(), Movable(), Toy()
    placed = ensemble._placed([one, other, one, fixed, one], torch.device("meta"))
    assert [len(sampler.copies) for sampler in (one, other)] == [1, 1]
    assert placed == [one.copies[0], other.copies[0], one.copies[0], fixed, one.copies[0]]
    assert ensemble._placed([one, other], torch.device("cpu")) == [one, other]


def test_a_pool_is_a_finite_set_with_different_views():
    pool = learners.Pool(Toy(), 20, views=5, seed=3)
    drawn = pool.sample(400, views=3, generator=torch.Generator().manual_seed(0))
    assert drawn.x.shape == (400, 3, 6)
    assert drawn.index.unique().tolist() == list(range(20))
    assert torch.equal(drawn.label, pool.label[drawn.index])
    distances = torch.cdist(drawn.x, drawn.x) + torch.eye(3)
    assert distances.min() > 0  # the views of a data point are different ones
    belongs = (drawn.x[:, :, None] == pool.x[drawn.index][:, None]).all(-1).any(-1)
    assert belongs.all()
    with pytest.raises(ValueError, match="at most 5 views, found 6"):
        pool.sample(1, views=6, generator=torch.Generator())


def test_every_point_drawn_from_a_pool_gets_views_of_its_own():
    """Each of its five views comes first for about a fifth of the points: 80, with a standard deviation of 8."""
    pool = learners.Pool(Toy(), 20, views=5, seed=3)
    drawn = pool.sample(400, views=3, generator=torch.Generator().manual_seed(0))
    first = (pool.x[drawn.index] == drawn.x[:, :1]).all(-1).nonzero()[:, 1]
    assert first.bincount(minlength=5).tolist() == pytest.approx([80] * 5, abs=40)


def test_augmented_data_are_a_sampler():
    data = torch.arange(12.0).view(4, 3)
    sampler = learners.Augmented(data, lambda x, g: x + 0.1 * torch.rand(x.shape, generator=g), torch.arange(4))
    drawn = sampler.sample(50, views=2, generator=torch.Generator().manual_seed(0))
    assert drawn.x.shape == (50, 2, 3)
    assert ((drawn.x - data[drawn.index][:, None]).abs() <= 0.1).all()
    assert not torch.equal(drawn.x[:, 0], drawn.x[:, 1])
    assert torch.equal(drawn.label, drawn.index)
