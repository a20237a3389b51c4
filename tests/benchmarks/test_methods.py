"""Networks follow from the images, the head from the option, and every method shares them."""

import pytest

from ssl_theory.benchmarks.errors import InputError
from ssl_theory.benchmarks.methods import CORE, METHODS, Design, design, named, published_steps
from ssl_theory.learners import RESNET18, JointEmbedding, SimVAE

DISCRIMINATIVE = {"simclr", "moco", "vicreg", "byol", "swav", "dino"}


@pytest.mark.parametrize(
    ("shape", "options", "network", "hidden", "latent"),
    [
        ((1, 12, 12), {}, "mlp", (128, 128, 128), 10),
        ((1, 28, 28), {}, "mlp", (512, 256), 10),
        ((3, 32, 32), {}, "conv", (16, 32, 64), 64),
        ((3, 64, 64), {}, "conv", (16, 32, 64, 64), 64),
        ((3, 16, 16), {"encoder": "mlp"}, "mlp", (512, 256), 64),
        ((1, 28, 28), {"encoder": "conv"}, "conv", (16, 32, 64), 10),
        ((3, 32, 32), {"encoder": "resnet18"}, "resnet", RESNET18["hidden"], 64),
        ((1, 28, 28), {"published": True}, "mlp", (2000, 500, 500), 10),
        ((3, 32, 32), {"published": True}, "resnet", RESNET18["hidden"], 64),
        ((3, 32, 32), {"published": True, "encoder": "conv"}, "conv", (16, 32, 64), 64),
    ],
)
def test_networks_by_images(shape, options, network, hidden, latent):
    made = design(shape, **options)
    assert (made.network, made.hidden, made.latent_dim) == (network, hidden, latent)
    assert made.learning_rate == (8e-5 if options.get("published") else 1e-3)
    assert made.batch_norm == (network == "resnet")
    assert all(m.learner is None or m.learner.hidden == hidden for m in named("all", made))


@pytest.mark.parametrize("options", [{}, {"encoder": "conv"}, {"encoder": "resnet18"}])
def test_batches_are_normalised_in_discriminative_methods_and_in_every_residual_network(options):
    made = {m.key: m.learner for m in named("all", design((3, 32, 32), **options)) if m.learner is not None}
    normed = {key for key, learner in made.items() if learner.batch_norm}
    assert normed == (set(made) if options.get("encoder") == "resnet18" else DISCRIMINATIVE | {"supervised"})


def test_the_digits_keep_the_networks_that_methods_have_by_default():
    assert design((1, 12, 12)) == Design()
    assert [m.learner for m in named("all", Design())] == [m.learner for m in METHODS.values()]


def test_published_steps_are_400_passes():
    assert published_steps(60_000, 64) == 375_000


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
@pytest.mark.parametrize("depth", [1, 2])
def test_a_head_is_the_discriminative_methods_alone_and_ends_in_128_numbers_whatever_the_latent_size(depth, shape):
    made = {m.key: m for m in named("all", design(shape, head=depth))}
    headed = {key: m.learner for key, m in made.items() if isinstance(m.learner, JointEmbedding) and m.learner.head}
    assert set(headed) == DISCRIMINATIVE == {key for key, m in made.items() if len(m.layers) == 2}
    assert {learner.head for learner in headed.values()} == {(128,) * depth + (128,)}
    assert {m.learner.latent_dim for m in made.values() if m.learner is not None} == {10 if shape[0] == 1 else 64}
    assert all(m.layers == ("representation",) for m in METHODS.values())


@pytest.mark.parametrize("options", [{"encoder": "vit"}, {"head": -1}])
def test_bad_options_say_what_to_give(options):
    with pytest.raises(InputError, match="give"):
        design((1, 28, 28), **options)


def test_a_mixture_has_a_component_a_class():
    learner = METHODS["simvae-mixture"].among(3).learner
    assert isinstance(learner, SimVAE)
    assert learner.classes == 3


def test_variances_and_temperature_are_those_that_the_docstring_gives_reasons_for():
    """Numbers that no outcome chose: a change of them makes another benchmark."""
    learners = {key: method.learner for key, method in METHODS.items()}
    generative = [key for key, method in METHODS.items() if method.generative]
    assert {key: learners[key].decoder_variance for key in generative} == dict.fromkeys(generative, 0.01)
    for key in ("simvae", "simvae-flat", "simvae-mixture"):
        assert (learners[key].style_variance, learners[key].content_variance) == (0.15, 1.0)
    assert learners["simclr"].temperature == 0.5


def test_the_core_is_the_default_and_all_is_every_method() -> None:
    assert tuple(method.key for method in named(None)) == CORE
    assert [method.key for method in named("all")] == list(METHODS)
    assert len(METHODS) == 16
