"""Distillation: BYOL and SimSiam against cosines, their conventions, and targets held fixed."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.nn.functional import cosine_similarity, mse_loss, normalize

from ssl_theory.losses import priors
from ssl_theory.losses.distillation import byol, simsiam
from ssl_theory.losses.views import unit
from tests.losses.draws import close, draws, gaussian


@given(draws(J=st.just(2)))
def test_byol_adds_the_squared_distances_of_both_directions(z):
    target = gaussian(*z.shape, seed=5)
    first, second = (
        z.shape[-1]
        * mse_loss(normalize(z[..., j, :], dim=-1), normalize(target[..., 1 - j, :], dim=-1), reduction="none").mean(
            (-2, -1)
        )
        for j in (0, 1)
    )
    close(byol(z, target), first + second)
    close(byol(z, target, views="mean"), (first + second) / 2)


@given(draws(J=st.just(2)))
def test_simsiam_is_the_mean_negative_cosine_of_both_directions(z):
    target = gaussian(*z.shape, seed=5)
    cosines = [cosine_similarity(z[..., j, :], target[..., 1 - j, :], dim=-1).mean(-1) for j in (0, 1)]
    close(simsiam(z, target), -(cosines[0] + cosines[1]) / 2)
    close(byol(z, target), 4 + 4 * simsiam(z, target))


@given(draws(J=st.just(2)), st.floats(0.05, 2.0))
def test_invariance_on_the_sphere_is_the_flat_prior(z, style):
    """1 - z.z' = sum_j |z^j - zbar|^2 = -2 sigma^2 log p_Flat + c, for unit views and targets equal to them."""
    flat = priors.Flat(style)
    log_prior = flat.log_prob(unit(z)) - flat.log_prob(torch.zeros_like(z))
    close(1 + simsiam(z, z), -2 * style * log_prior.mean(-1))


def test_targets_are_held_fixed():
    prediction, target = gaussian(4, 3, 2).requires_grad_(), gaussian(4, 3, 2, seed=1).requires_grad_()
    for loss in (byol, simsiam):
        assert torch.autograd.grad(loss(prediction, target), target, allow_unused=True)[0] is None
        assert gradcheck(lambda p, loss=loss: loss(p, target), prediction)


@pytest.mark.usefixtures("as_users_run")
@pytest.mark.parametrize("loss", [byol, simsiam])
def test_a_target_of_other_data_points_is_refused(loss):
    z = gaussian(5, 2, 3)
    for target in (z[:1], z[..., :1]):
        with pytest.raises(ValueError, match="target: expected the sizes of"):
            loss(z, target)
