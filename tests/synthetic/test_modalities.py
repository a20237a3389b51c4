"""Views of several modalities: a map each, contents shared."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from synthetic import (
    Gaussian,
    Identity,
    Isotropic,
    Linear,
    NotExact,
    PerView,
    monte_carlo,
)
from tests.synthetic.worlds import every_world, seeded, world


def test_modalities() -> None:
    made = every_world()["modalities"]
    views = made.sample(6, generator=seeded(1))
    assert isinstance(views.x, tuple)
    assert [tuple(x.shape) for x in views.x] == [(6, 3), (6, 4)]
    assert made.observation_dims == (3, 4)
    flat = world(Gaussian(2), Isotropic(0.5))
    assert made.mutual_information() == pytest.approx(flat.mutual_information())
    assert torch.allclose(made.pmi(*views.x), flat.pmi(*views.z.unbind(1)))
    assert torch.allclose(made.view(1).log_prior(views.z[:, 1:]), flat.log_evidence(views.z[:, 1:]))
    for call, words in (
        (lambda: made.observation_dim, "use observation_dims"),
        (lambda: made.sample(3, views=3, generator=seeded()), "views=2, one a modality"),
        (lambda: made.log_evidence(views.x[:1]), "observations of 2 views"),
        (lambda: made.pmi(views.x[1], views.x[0]), "observations of 3 dimensions, found 4"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


@pytest.mark.parametrize("noise", [0.0, 0.6])
def test_modalities_that_show_different_numbers_of_latents_are_refused_together(noise: float) -> None:
    sum_of_both = Linear(torch.ones(1, 2, dtype=torch.float64))
    made = world(Gaussian(2), Isotropic(0.5), PerView((Identity(), sum_of_both)), noise)
    x = made.sample(20, generator=seeded(1)).x
    assert isinstance(x, tuple)
    for call in (
        made.mutual_information,
        made.content_r2,
        lambda: made.log_evidence(x),
        lambda: made.posterior(x),
        lambda: made.pmi(*x),
    ):
        with pytest.raises(NotExact, match=r"different numbers of latent coordinates; use world.view\(j\)"):
            call()
    assert all(made.view(j).log_evidence(x[j][:, None]).isfinite().all() for j in (0, 1))
    if noise == 0:
        with pytest.raises(NotExact, match="R\\^2 -> R\\^1 is not invertible"):
            monte_carlo.mutual_information(made, 10, generator=seeded(2))
        return
    shown = torch.eye(2, dtype=torch.float64), sum_of_both.weight
    joint = torch.cat(shown) @ torch.cat(shown).mT
    own = [0.25 * part @ part.mT + noise**2 * torch.eye(len(part), dtype=torch.float64) for part in shown]
    covariance = joint + torch.block_diag(*own)
    exact = stats.multivariate_normal(np.zeros(3), covariance.numpy()).logpdf(torch.cat(x, 1).numpy())
    estimate = monte_carlo.log_evidence(made, x, samples=20_000, generator=seeded(2))
    assert ((estimate.value - torch.as_tensor(exact)).abs() <= 5 * estimate.standard_error).all()


def test_modalities_of_one_size_are_two_worlds_with_shared_content() -> None:
    """Evidence of both views from the full covariance: each through its own map and noise."""
    made = every_world()["modalities of one size"]
    views = made.sample(5, generator=seeded(2))
    assert isinstance(views.x, torch.Tensor)
    maps = [part.weight.numpy() for part in made.mixing.split]  # type: ignore[attr-defined]
    content = made.content
    own = [A @ (0.25 * np.eye(2)) @ A.T + 0.04 * np.eye(3) for A in maps]
    shared = content.spread**2 * np.vstack(maps) @ np.vstack(maps).T  # type: ignore[attr-defined]
    covariance = shared + np.block([[own[0], np.zeros((3, 3))], [np.zeros((3, 3)), own[1]]])
    logs = [
        math.log(w) + stats.multivariate_normal(np.vstack(maps) @ mu, covariance).logpdf(views.x.flatten(1).numpy())
        for w, mu in zip(content.weights.tolist(), content.means.numpy(), strict=True)  # type: ignore[attr-defined]
    ]
    assert np.allclose(made.log_evidence(views.x), np.logaddexp.reduce(logs, 0))
    alone = [made.view(j).log_evidence(views.x[:, j : j + 1]) for j in (0, 1)]
    assert torch.allclose(made.pmi(views.x[:, 0], views.x[:, 1]), made.log_evidence(views.x) - alone[0] - alone[1])
