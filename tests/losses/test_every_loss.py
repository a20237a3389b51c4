"""What must hold for every loss: finite at the extremes, invariances, ensembles, gradients, and a place in the docs."""

import inspect
import itertools
from pathlib import Path

import pytest
import torch
from torch.autograd import gradcheck

from ssl_theory.losses import clustering, contrastive, distillation, generative, instance, redundancy
from ssl_theory.losses.registry import REGISTRY, described, document
from ssl_theory.losses.views import unit
from tests.losses.draws import close, gaussian

every_loss = pytest.mark.parametrize("entry", REGISTRY, ids=[entry.name for entry in REGISTRY])
EXTREMES = {
    "identical views": gaussian(4, 1, 3).expand(4, 3, 3),
    "identical points": gaussian(1, 1, 3).expand(4, 2, 3),
    "zero vectors": torch.zeros(4, 2, 3, dtype=torch.float64),
    "some zero vectors": gaussian(4, 2, 3) * torch.tensor([1.0, 0.0, 1.0, 0.0])[:, None, None],
    "huge": gaussian(4, 2, 3, scale=1e4),
    "tiny": gaussian(4, 2, 3, scale=1e-6),
    "two points of one dimension": gaussian(2, 2, 1),
    "more dimensions than points": gaussian(3, 2, 16),
}


def members(entry, z):
    return torch.stack([entry.on(member) for member in z])


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_value_and_gradient_are_finite_at_the_extremes(entry, dtype):
    cold = dict.fromkeys(entry.temperatures, 0.005)
    for (case, z), hyperparameters in itertools.product(EXTREMES.items(), [{}, cold] if cold else [{}]):
        leaf = z.to(dtype).requires_grad_()
        value = entry.on(leaf, **hyperparameters)
        gradient = torch.autograd.grad(value, leaf)[0]
        assert value.dtype == torch.float32, case
        assert value.isfinite(), case
        assert gradient.isfinite().all(), (case, hyperparameters)


@every_loss
def test_order_of_data_points_does_not_matter(entry):
    z = gaussian(6, 3, 4)
    close(entry.on(z), entry.on(z[[3, 0, 5, 1, 4, 2]]) if entry.family != "generative" else entry.on(z.flip(0)))


@every_loss
def test_order_of_views_matters_where_the_model_says_so(entry):
    z = gaussian(6, 3, 4)
    difference = (entry.on(z) - entry.on(z[:, [2, 0, 1]])).abs()
    assert difference < 1e-10 if entry.views else difference > 1e-6


@every_loss
def test_rotating_the_latent_space_matters_where_axes_have_a_meaning(entry):
    z, rotation = gaussian(6, 3, 4), torch.linalg.qr(gaussian(4, 4, seed=1))[0]
    difference = (entry.on(z) - entry.on(z @ rotation)).abs()
    assert difference < 1e-10 if entry.rotation else difference > 1e-6


@every_loss
def test_three_views_are_the_mean_over_pairs_where_the_loss_is_defined_by_pairs(entry):
    z = gaussian(6, 3, 4)
    expected = torch.stack([entry.on(z[:, pair]) for pair in ([0, 1], [0, 2], [1, 2])]).mean()
    if entry.pairwise:
        close(entry.on(z), expected)


@every_loss
def test_members_of_an_ensemble_are_independent(entry):
    z = gaussian(3, 6, 2, 4)
    close(entry.on(z), members(entry, z))
    leaf = z.clone().requires_grad_()
    gradient = torch.autograd.grad(entry.on(leaf)[1], leaf)[0]
    assert gradient[[0, 2]].abs().max() == 0
    assert gradient[1].abs().max() > 0


@every_loss
def test_hyperparameters_carry_the_ensemble_axis(entry):
    z, values = gaussian(3, 6, 2, 4), torch.tensor([0.2, 0.5, 2.0])
    for name in entry.temperatures:
        whole = entry.on(z, **{name: values})
        lone = [entry.on(z[e], **{name: float(values[e])}) for e in range(3)]
        close(whole, torch.stack(lone))


@every_loss
def test_temperatures_must_be_positive(entry):
    for name in entry.temperatures:
        with pytest.raises(ValueError, match=f"expected {name} > 0") as error:
            entry.on(gaussian(4, 2, 3), **{name: 0.0})
        assert "\n" not in str(error.value)


@every_loss
def test_nothing_waits_for_the_device(entry):
    """Tensors without data refuse whatever must look at numbers: `.item()`, branches, boolean indexing."""
    z = torch.empty(2, 6, 3, 4, device="meta", requires_grad=True)
    value = entry.on(z)
    assert value.shape == (2,)
    assert torch.autograd.grad(value.sum(), z)[0].shape == z.shape


STOPS_GRADIENTS = {"moco", "memory_softmax", "memory_nce", "byol", "simsiam", "swav", "dino"}


@every_loss
def test_gradient_is_that_of_the_value(entry):
    if entry.name in STOPS_GRADIENTS or entry.family in {"instance", "clustering", "generative"}:
        pytest.skip("companions are made from z without its gradient; checked in the file of the family")
    assert gradcheck(entry.on, gaussian(4, 2, 3, seed=5).requires_grad_())


@every_loss
def test_every_loss_says_what_it_is(entry):
    assert all(described(entry.function).values())
    assert "arXiv" in described(entry.function)["Source"] or entry.name == "beta_vae"


def test_the_registry_holds_every_loss_and_the_page_is_up_to_date():
    families = (instance, clustering, contrastive, redundancy, distillation, generative)
    losses = {
        f.__name__
        for family in families
        for f in vars(family).values()
        if inspect.isfunction(f) and f.__module__ == family.__name__ and "Formula: " in (f.__doc__ or "")
    }
    assert losses == {entry.name for entry in REGISTRY}
    page = Path(__file__).parents[2] / "docs" / "losses.md"
    assert page.read_text() == document(), "docs/losses.md is out of date: python -m ssl_theory.losses > docs/losses.md"


def test_a_vector_whose_square_overflows_has_no_direction():
    """In float32 beyond 1.8e19: NaN, and not the zero vector; all others are told apart from it."""
    z = gaussian(4, 3).float()
    far = torch.cat([z, 1e25 * z])
    assert torch.equal(unit(far)[:4], z * z.square().sum(-1, keepdim=True).rsqrt())
    assert unit(far)[4:].isnan().all()
    assert torch.equal(unit(torch.zeros(2, 3)), torch.zeros(2, 3))
    leaf = far.clone().requires_grad_()
    unit(leaf)[:4].sum().backward()
    assert leaf.grad[:4].isfinite().all()
    for loss in (contrastive.info_nce, redundancy.total_coding_rate):
        assert loss(1e25 * gaussian(6, 2, 3).float()).isnan()
