"""An ensemble layer is E ordinary layers: same values, same gradients, same statistics, member e from its own seed."""

import pytest
import torch
from torch import nn

from ssl_theory import models

SEEDS = (3, 11, 5)


def ordinary(linear: models.Linear, member: int) -> nn.Linear:
    _, outputs, inputs = linear.weight.shape
    assert linear.bias is not None
    layer = nn.Linear(inputs, outputs).to(linear.weight.dtype)
    layer.weight.data.copy_(linear.weight[member])
    layer.bias.data.copy_(linear.bias[member, 0])
    return layer


def test_linear_is_one_ordinary_layer_a_member(generator, dtype):
    layer = models.Linear(5, 4, SEEDS).to(dtype)
    x = torch.randn(3, 7, 5, generator=generator, dtype=dtype)
    for member in range(3):
        torch.testing.assert_close(layer(x)[member], ordinary(layer, member)(x[member]))


def test_linear_without_bias(generator, dtype):
    layer = models.Linear(5, 4, SEEDS, bias=False).to(dtype)
    x = torch.randn(3, 7, 5, generator=generator, dtype=dtype)
    torch.testing.assert_close(layer(x), torch.einsum("eni,eoi->eno", x, layer.weight))
    assert "bias=False" in repr(layer)


@pytest.mark.parametrize("bias", [True, False])
def test_gradients_of_linear_are_those_of_autograd_laid_out_as_the_parameters(generator, dtype, bias):
    layer = models.Linear(5, 4, SEEDS, bias=bias).to(dtype)
    x = torch.randn(3, 7, 5, generator=generator, dtype=dtype, requires_grad=True)
    given = [x, *layer.parameters()]
    y = x @ layer.weight.mT + (0 if layer.bias is None else layer.bias)
    theirs = torch.autograd.grad(y.square().sum(), given)
    ours = torch.autograd.grad(layer(x).square().sum(), given)
    assert len(ours) == 2 + bias
    for one, other, parameter in zip(ours, theirs, given, strict=True):
        torch.testing.assert_close(one, other)
        assert one.stride() == parameter.stride()  # so that no optimiser copies it


def test_linear_has_second_derivatives_and_those_alone_that_are_asked_for(generator):
    layer = models.Linear(3, 2, SEEDS).double()
    x = torch.randn(3, 4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    given = (x, *layer.parameters())
    assert torch.autograd.gradgradcheck(lambda *parts: models.linear.Affine.apply(*parts).sin(), given)
    layer.requires_grad_(False)
    layer(x).sum().backward()
    torch.testing.assert_close(x.grad, layer.weight.sum(1, keepdim=True).expand_as(x))
    assert layer.weight.grad is None


def test_linear_works_without_data():
    """On tensors without data, by which arithmetic and memory are counted beforehand."""
    layer = models.Linear(3, 5, SEEDS).to("meta")
    x = torch.empty(3, 4, 3, device="meta", requires_grad=True)
    y = layer(x)
    assert y.shape == (3, 4, 5)
    assert [g.shape for g in torch.autograd.grad(y.sum(), [x, layer.weight])] == [x.shape, layer.weight.shape]


def test_linear_computes_in_half_precision_where_that_is_on(generator):
    layer = models.Linear(64, 32, SEEDS)
    x = torch.randn(3, 7, 64, generator=generator, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        half = layer(x)
        plain = torch.baddbmm(layer.bias, x, layer.weight.mT)
    assert half.dtype == torch.bfloat16
    assert torch.equal(half, plain)
    given = [x, layer.weight, layer.bias]
    for one, other in zip(torch.autograd.grad(half.sum(), given), torch.autograd.grad(plain.sum(), given), strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other)


def test_linear_starts_by_the_law_of_torch(generator):
    weight = models.Linear(64, 512, [0]).weight[0]
    bound = 64**-0.5
    assert weight.abs().max() <= bound
    # U(-b, b) has standard deviation b / sqrt(3); 32,768 draws know it to 1 %
    assert abs(weight.std().item() / (bound / 3**0.5) - 1) < 0.01


@pytest.mark.parametrize("build", [
    lambda seeds: models.MLP((6, 8, 3), seeds, batch_norm=True),
    lambda seeds: models.encoder((2, 3), 4, seeds),
    lambda seeds: models.decoder((2, 3), 4, seeds),
    lambda seeds: models.head(4, (8, 2), seeds),
])  # fmt: skip
def test_a_member_starts_as_it_would_alone(build):
    together, members = build(SEEDS), [build([seed]) for seed in SEEDS]
    for name, parameter in together.named_parameters():
        alone = torch.cat([dict(member.named_parameters())[name] for member in members])
        assert torch.equal(parameter, alone)


def test_members_and_modules_start_differently():
    shared = models.generators(SEEDS)
    first, second = models.Linear(4, 4, shared).weight, models.Linear(4, 4, shared).weight
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("pixels", [(), (3, 3)])
def test_batch_norm_is_one_ordinary_layer_a_member(generator, dtype, pixels):
    ensemble = models.BatchNorm(4, 2).to(dtype)
    lone = [(nn.BatchNorm2d if pixels else nn.BatchNorm1d)(4).to(dtype) for _ in range(2)]
    for _ in range(3):
        x = 2 + 3 * torch.randn(2, 6, 4, *pixels, generator=generator, dtype=dtype)
        out = ensemble(x)
        for member in range(2):
            torch.testing.assert_close(out[member], lone[member](x[member]))
    ensemble.eval()
    for member in range(2):
        torch.testing.assert_close(ensemble.running_mean[member], lone[member].running_mean)
        torch.testing.assert_close(ensemble.running_variance[member], lone[member].running_var)
        torch.testing.assert_close(ensemble(x)[member], lone[member].eval()(x[member]))


def test_batch_norm_gradient_is_that_of_an_ordinary_layer(generator, dtype):
    x = torch.randn(1, 6, 4, generator=generator, dtype=dtype, requires_grad=True)
    weight = torch.randn(1, 6, 4, generator=generator, dtype=dtype)
    (ours,) = torch.autograd.grad((models.BatchNorm(4, 1).to(dtype)(x) * weight).sum(), x)
    (theirs,) = torch.autograd.grad((nn.BatchNorm1d(4).to(dtype)(x[0]) * weight[0]).sum(), x)
    torch.testing.assert_close(ours, theirs)


def test_batch_norm_refuses_a_single_value():
    with pytest.raises(ValueError, match="at least 2 values a feature, found 1"):
        models.BatchNorm(4, 2)(torch.zeros(2, 1, 4))


@pytest.mark.parametrize("activation", models.ACTIVATIONS)
def test_mlp_is_layers_and_activations_in_turn(generator, dtype, activation):
    mlp = models.MLP((6, 8, 7, 3), SEEDS, activation=activation).to(dtype)
    x = torch.randn(3, 5, 6, generator=generator, dtype=dtype, requires_grad=True)
    ours = mlp(x)
    activate = {"relu": torch.relu, "leaky_relu": nn.LeakyReLU(), "gelu": nn.GELU(), "silu": nn.SiLU()}
    for member in range(3):
        first, second, third = (ordinary(layer, member) for layer in mlp.layers)
        act = activate.get(activation, torch.tanh)
        theirs = third(act(second(act(first(x[member])))))
        torch.testing.assert_close(ours[member], theirs)
        (mine,) = torch.autograd.grad(ours[member].sum(), x, retain_graph=True)
        (yours,) = torch.autograd.grad(theirs.sum(), x)
        torch.testing.assert_close(mine, yours)


def test_images_are_flattened_and_given_back(generator):
    x = torch.randn(3, 5, 2, 4, 4, generator=generator)
    z = models.encoder((2, 4, 4), 6, SEEDS, hidden=(8,))(x)
    assert z.shape == (3, 5, 6)
    assert models.decoder((2, 4, 4), 6, SEEDS, hidden=(8,))(z).shape == x.shape


def test_a_decoder_mirrors_its_encoder():
    decoder = models.decoder((16,), 2, [0], hidden=(64, 8))
    assert [layer.weight.shape[1] for layer in decoder.network.layers] == [8, 64, 16]


@pytest.mark.parametrize(("call", "message"), [
    (lambda: models.MLP((4, 2), []), "at least one seed, found none"),
    (lambda: models.MLP((4,), [0]), r"an input and an output size, each at least 1, found \(4,\)"),
    (lambda: models.MLP((4, 0), [0]), r"each at least 1, found \(4, 0\)"),
    (lambda: models.MLP((4, 2), [0], activation="step"), "activation must be one of relu, .* found 'step'"),
])  # fmt: skip
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
