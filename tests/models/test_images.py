"""Convolutional ensembles are E ordinary networks, and decoders give back the shapes that encoders took."""

import pytest
import torch
from torch import nn

from ssl_theory import models

SEEDS = (3, 11)
KINDS = {"conv": (4, 6), "resnet": (4, 6, 8)}


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 2), (7, 2)])
@pytest.mark.parametrize("bias", [True, False])
def test_convolution_is_one_ordinary_layer_a_member(kernel, stride, bias, generator, dtype):
    layer = models.Conv2d(3, 4, SEEDS, kernel=kernel, stride=stride, bias=bias).to(dtype)
    x = torch.randn(2, 5, 3, 9, 8, generator=generator, dtype=dtype)
    for member in range(2):
        ordinary = nn.Conv2d(3, 4, kernel, stride, kernel // 2, bias=bias).to(dtype)
        ordinary.weight.data.copy_(layer.weight[member])
        if layer.bias is not None:
            ordinary.bias.data.copy_(layer.bias[member])
        torch.testing.assert_close(layer(x)[member], ordinary(x[member]))


def test_grouped_and_one_after_another_are_the_same(generator, dtype):
    layer = models.Conv2d(3, 4, SEEDS, stride=2).to(dtype)
    x = torch.randn(2, 5, 3, 8, 8, generator=generator, dtype=dtype)
    torch.testing.assert_close(layer.grouped(x), layer(x))
    ours = torch.autograd.grad(layer(x).square().sum(), [layer.weight, layer.bias])
    theirs = torch.autograd.grad(layer.grouped(x).square().sum(), [layer.weight, layer.bias])
    torch.testing.assert_close(ours, theirs)


def test_convolution_starts_by_the_law_of_torch():
    weight, bound = models.Conv2d(8, 128, [0]).weight[0], (8 * 9) ** -0.5
    assert weight.abs().max() <= bound
    assert abs(weight.std().item() / (bound / 3**0.5) - 1) < 0.02


@pytest.mark.parametrize("network", KINDS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 28), (1, 7, 10), (2, 36, 40)])
def test_decoders_give_back_what_encoders_take(network, shape, generator):
    options = {"network": network, "hidden": KINDS[network]}
    x = torch.randn(2, 3, *shape, generator=generator)
    z = models.encoder(shape, 5, SEEDS, **options)(x)
    assert z.shape == (2, 3, 5)
    assert models.decoder(shape, 5, SEEDS, **options)(z).shape == x.shape


@pytest.mark.parametrize("network", KINDS)
@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("build", [models.encoder, models.decoder])
def test_a_member_is_the_lone_network_with_its_seed(network, batch_norm, build, generator, dtype):
    options = {"network": network, "hidden": KINDS[network], "batch_norm": batch_norm}
    x = torch.randn(2, 4, *((1, 8, 8) if build is models.encoder else (5,)), generator=generator, dtype=dtype)
    together = build((1, 8, 8), 5, SEEDS, **options).to(dtype)
    for member, seed in enumerate(SEEDS):
        alone = build((1, 8, 8), 5, [seed], **options).to(dtype)
        torch.testing.assert_close(together(x)[member], alone(x[member : member + 1])[0])


def test_resnet_18_has_the_parameters_of_the_published_one():
    """11,689,512 at three channels, a thousand classes and the large stem."""
    network = models.ResNetEncoder((3, 64, 64), 1000, [0], hidden=(64, 128, 256, 512))
    assert sum(p.numel() for p in network.parameters()) == 11_689_512


def test_a_residual_block_is_the_formula(generator, dtype):
    network = models.ResNetEncoder((1, 8, 8), 2, [0], hidden=(3, 5), batch_norm=False).to(dtype)
    x = torch.randn(1, 2, 3, 8, 8, generator=generator, dtype=dtype)
    same, changing = network.stages[0], network.stages[2]
    assert same.shortcut is None
    torch.testing.assert_close(same(x), torch.relu(x + same.second(torch.relu(same.first(x)))))
    expected = torch.relu(changing.shortcut(x) + changing.second(torch.relu(changing.first(x))))
    torch.testing.assert_close(changing(x), expected)
    assert changing(x).shape == (1, 2, 5, 4, 4)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: models.encoder((6,), 2, [0], network="conv"), r"images of shape .* found \(6,\); use an MLP"),
    (lambda: models.decoder((6,), 2, [0], network="resnet"), r"images of shape .* found \(6,\); use an MLP"),
    (lambda: models.encoder((6,), 2, [0], network="cnn"), "network must be one of mlp, conv, resnet, found 'cnn'"),
])  # fmt: skip
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
