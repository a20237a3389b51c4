"""What holds for every learner: members are lone runs, runs repeat, losses fall, layers have their sizes."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from ssl_theory.learners import BYOL, DINO, LAYERS, Autoencoding, Fitted, Pool, Random, SimCLR, SimVAE, fit
from tests.learners.toy import ALL, FEW, POINTS, SMALL, Toy

every_learner = pytest.mark.parametrize("learner", ALL.values(), ids=ALL.keys())
X = Toy().sample(9, views=1, generator=torch.Generator().manual_seed(1)).x[:, 0]


def close(first: Fitted, second: Fitted, members: slice = slice(None)) -> None:
    for layer in LAYERS:
        torch.testing.assert_close(first.transform(X, layer=layer)[members], second.transform(X, layer=layer))


@every_learner
def test_a_member_is_the_lone_run_with_its_seed(learner):
    together = fit(learner, Toy(), steps=8, seeds=(4, 0, 7), log_every=4, **FEW)
    for member, seed in ((0, 4), (2, 7)):
        alone = fit(learner, Toy(), steps=8, seeds=[seed], log_every=4, **FEW)
        close(together, alone, slice(member, member + 1))
        ours = together.history.query("seed == @seed")
        np.testing.assert_allclose(ours["loss"], alone.history["loss"], rtol=1e-9)


@every_learner
def test_a_run_repeats_and_its_members_differ(learner):
    first = fit(learner, Toy(), steps=6, seeds=(0, 1), **FEW)
    again = fit(learner, Toy(), steps=6, seeds=(0, 1), **FEW)
    assert torch.equal(first.transform(X), again.transform(X))
    assert not torch.allclose(first.transform(X)[0], first.transform(X)[1])


def scatter(fitted: Fitted) -> torch.Tensor:
    """Variance of the representation among the views of a data point, over its variance in all: `(E,)`."""
    x = Toy().sample(200, views=4, generator=torch.Generator().manual_seed(2)).x
    z = fitted.transform(x.flatten(0, 1)).unflatten(1, (200, 4))
    return z.var(2, correction=0).mean(1).sum(-1) / z.flatten(1, 2).var(1, correction=0).sum(-1)


@every_learner
def test_training_does_what_the_method_is_for(learner):
    """The loss falls; discriminative methods lose the style that views do not share; autoencoders reconstruct."""
    data = Pool(Toy(), POINTS, views=16) if learner.target == "index" else Toy()
    trained = fit(learner, data, steps=80, seeds=(0, 1), log_every=20, **FEW)
    untrained = fit(learner, data, steps=0, seeds=(0, 1), **FEW)
    if not isinstance(learner, DINO):  # its target sharpens as it moves, so its loss need not fall
        table = trained.history.pivot_table(index="step", columns="seed", values="loss")
        assert (table.iloc[-1] < table.iloc[0]).all()
    if isinstance(learner, Autoencoding):
        before, after = ((model.reconstruct(X) - X).square().mean((1, 2)) for model in (untrained, trained))
        assert (after < 0.7 * before).all()
    else:
        assert scatter(trained).mean() < 0.7 * scatter(untrained).mean()


@every_learner
def test_layers_have_their_sizes(learner):
    fitted = fit(learner, Toy(), steps=1, seeds=(0, 1), **FEW)
    head = getattr(learner, "head", None)
    assert fitted.transform(X, layer="encoder").shape == (2, 9, 3)
    assert fitted.transform(X).shape == (2, 9, head[-1] if head else 3)
    assert torch.equal(fitted.transform(X, layer="encoder"), fitted.transform(X)) == (head is None)


@every_learner
def test_images_work_as_vectors_do(learner):
    """The same numbers in another shape train to the same members."""
    vectors = fit(learner, Toy(), steps=4, seeds=(0,), **FEW)
    images = fit(learner, Toy(shape=(1, 2, 3)), steps=4, seeds=(0,), **FEW)
    assert torch.equal(vectors.transform(X), images.transform(X.reshape(9, 1, 2, 3)))


@every_learner
def test_saved_members_come_back(learner, tmp_path):
    fitted = fit(learner, Toy(), steps=4, seeds=(3, 1), log_every=2, **FEW)
    fitted.save(tmp_path / "deep" / "members.safetensors")
    again = Fitted.load(tmp_path / "deep" / "members.safetensors")
    assert (again.learner, again.seeds, again.steps) == (learner, (3, 1), 4)
    assert torch.equal(again.transform(X), fitted.transform(X))
    assert again.history.equals(fitted.history)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["members.safetensors"]


@every_learner
def test_parts_join_to_what_trains_together(learner):
    together = fit(learner, Toy(), steps=6, seeds=(4, 0, 7), log_every=4, **FEW)
    joined = Fitted.joined([fit(learner, Toy(), steps=6, seeds=seeds, log_every=4, **FEW) for seeds in ((4,), (0, 7))])
    assert (joined.seeds, joined.steps, joined.shape) == (together.seeds, together.steps, together.shape)
    torch.testing.assert_close(joined.modules.state_dict(), together.modules.state_dict())
    close(joined, together)
    pd.testing.assert_frame_equal(joined.history, together.history)


def test_a_part_that_ended_early_has_no_losses_from_then_on():
    parts = [fit(SimCLR(**SMALL), Toy(), steps=n, seeds=(n,), log_every=2, **FEW) for n in (4, 2)]
    lost = dataclasses.replace(parts[1], diverged=np.array([True]), divergences=pd.DataFrame({"seed": [2]}))
    joined = Fitted.joined([parts[0], lost])
    assert joined.steps == 4
    assert joined.divergences["seed"].tolist() == [2]
    assert joined.transform(X).isnan().all((1, 2)).tolist() == joined.diverged.tolist() == [False, True]
    assert joined.history[["step", "seed"]].to_numpy().tolist() == [[2, 4], [2, 2], [4, 4], [4, 2]]
    assert joined.history["loss"].isna().tolist() == [False, False, False, True]


def test_parts_of_several_learners_or_with_a_seed_in_common_are_not_joined():
    one = fit(SimCLR(**SMALL), Toy(), steps=0, seeds=(0, 1), **FEW)
    other = fit(SimCLR(**SMALL, temperature=0.3), Toy(), steps=0, seeds=(2,), **FEW)
    for parts, words in (([], "found 0"), ([one, other], "found 2"), ([one, one], "distinct seeds")):
        with pytest.raises(ValueError, match=words):
            Fitted.joined(parts)


@every_learner
def test_three_views_train(learner):
    if learner.view_specific:
        with pytest.raises(ValueError, match="2 views, one a modality, found 3"):
            fit(learner, Toy(), steps=3, seeds=(0,), views=3, **FEW)
        return
    fitted = fit(learner, Toy(), steps=3, seeds=(0,), views=3, **FEW)
    assert fitted.transform(X).isfinite().all()


@every_learner
def test_zero_steps_give_the_random_encoder(learner):
    untrained = fit(learner, Toy(), steps=0, seeds=(0, 1), **FEW)
    assert untrained.history.empty
    if learner.batch_norm or isinstance(learner, Autoencoding):
        return  # another encoder: twice the outputs, or other layers
    random = fit(Random(**SMALL), Toy(), steps=50, seeds=(0, 1), **FEW)
    assert torch.equal(untrained.transform(X, layer="encoder"), random.transform(X))


@every_learner
def test_hyperparameters_are_frozen(learner):
    with pytest.raises(dataclasses.FrozenInstanceError):
        learner.latent_dim = 7


CONV: dict[str, Any] = {"network": "conv", "hidden": (3, 4)}
RESNET: dict[str, Any] = {"network": "resnet", "hidden": (3, 4), "batch_norm": True}


@pytest.mark.parametrize("learner", [
    SimCLR(latent_dim=3, **CONV),
    SimVAE(latent_dim=3, **CONV, batch_norm=True),
    BYOL(latent_dim=3, **RESNET, head=(4,)),
    SimVAE(latent_dim=3, **RESNET),
], ids=lambda learner: f"{type(learner).__name__}, {learner.network}")  # fmt: skip
def test_members_with_images_are_lone_runs(learner):
    world = Toy(shape=(1, 6, 6))
    x = world.sample(5, views=1, generator=torch.Generator().manual_seed(1)).x[:, 0]
    together = fit(learner, world, steps=4, seeds=(4, 0), **FEW)
    alone = fit(learner, world, steps=4, seeds=[0], **FEW)
    torch.testing.assert_close(together.transform(x)[1:], alone.transform(x))
    if isinstance(learner, SimVAE):
        torch.testing.assert_close(together.reconstruct(x)[1:], alone.reconstruct(x))
