"""The loop's own laws: streams, divergence, bad input, and a learner of one's own."""

import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from ssl_theory import learners
from ssl_theory.learners import JointEmbedding, SimCLR, SimVAE, fit, streams
from tests.learners.toy import FEW, SMALL, Drawn, Toy

LEARNER = SimCLR(**SMALL)
X = Toy().sample(9, views=1, generator=torch.Generator().manual_seed(1)).x[:, 0]


def test_streams_of_seeds_and_purposes_are_unrelated():
    drawn = torch.stack([
        torch.randn(4000, generator=streams.stream(seed, purpose))
        for seed in range(4)
        for purpose in streams.PURPOSES
    ])  # fmt: skip
    correlation = torch.corrcoef(drawn) - torch.eye(len(drawn))
    assert correlation.abs().max() < 0.08  # 5 standard errors


def test_members_see_different_data_and_a_lone_member_sees_the_same():
    options = {"batch_size": 4, "views": 2, "noise_shape": (2, 3), "target": "label"}
    place = {"device": torch.device("cpu"), "dtype": torch.float64}
    together = streams.Streams([Toy()] * 2, (0, 1), **options, **place)
    alone = streams.Streams([Toy()], (1,), **options, **place)
    for step in range(together.length + 2):
        ours, theirs = together.batch(step), alone.batch(step)
        for name in ("x", "noise", "label"):
            assert torch.equal(getattr(ours, name)[1:], getattr(theirs, name))
        assert not torch.equal(ours.x[0], ours.x[1])
        assert not torch.equal(ours.noise[0], ours.noise[1])
    assert ours.x.shape == (2, 4, 2, 6)


def test_every_step_sees_fresh_data():
    place = {"device": torch.device("cpu"), "dtype": torch.float64}
    draws = streams.Streams([Toy()], (0,), batch_size=4, views=2, noise_shape=(2, 3), target=None, **place)
    steps = 2 * draws.length + 1
    batches = [draws.batch(step) for step in range(steps)]
    assert len({tuple(b.x.flatten().tolist()) for b in batches}) == steps
    assert len({tuple(b.noise.flatten().tolist()) for b in batches}) == steps


class White(Toy):
    """Data that are standard normal numbers and nothing else, as noise is."""

    def sample(self, n, *, views, generator):
        zero = torch.zeros(n, dtype=torch.int64)
        return Drawn(torch.randn(n, views, 6, generator=generator, dtype=self.dtype), zero, zero)


def test_noise_is_unrelated_to_the_data():
    place = {"device": torch.device("cpu"), "dtype": torch.float64}
    draws = streams.Streams([White()], (0,), batch_size=400, views=2, noise_shape=(2, 6), target=None, **place)
    batch = draws.batch(0)
    assert batch.x.shape == batch.noise.shape
    correlation = torch.corrcoef(torch.stack([batch.x.flatten(), batch.noise.flatten()]))[0, 1]
    assert correlation.abs() < 0.08  # 5 standard errors


def test_large_inputs_are_drawn_a_few_steps_at_a_time():
    place = {"device": torch.device("cpu"), "dtype": torch.float32}
    options = {"batch_size": 128, "views": 2, "noise_shape": None, "target": None}
    assert streams.Streams([Toy(shape=(3, 64, 64))], (0,), **options, **place).length == 1
    assert streams.Streams([Toy()], (0,), **options, **place).length == streams.LONGEST_CHUNK


def test_one_world_a_seed():
    worlds = [Toy(0), Toy(1)]
    together = fit(LEARNER, worlds, steps=10, seeds=(0, 1), **FEW)
    for member, world in enumerate(worlds):
        alone = fit(LEARNER, [world], steps=10, seeds=[member], **FEW)
        torch.testing.assert_close(together.transform(X)[member], alone.transform(X)[0])


def test_members_may_be_asked_about_data_of_their_own():
    fitted = fit(LEARNER, Toy(), steps=3, seeds=(0, 1), **FEW)
    own = torch.stack([X, X.flip(0)])
    expected = torch.stack([fitted.transform(X)[0], fitted.transform(X.flip(0))[1]])
    torch.testing.assert_close(fitted.transform(own), expected)


def test_a_batch_of_transform_is_as_good_as_another():
    fitted = fit(SimVAE(**SMALL, batch_norm=True), Toy(), steps=3, seeds=(0, 1), **FEW)
    torch.testing.assert_close(fitted.transform(X.numpy(), batch_size=2), fitted.transform(X))
    torch.testing.assert_close(fitted.reconstruct(X, batch_size=2), fitted.reconstruct(X))


def test_reconstructions_come_near_and_have_the_data_s_shape():
    world = Toy(shape=(2, 3))
    x = world.sample(200, views=1, generator=torch.Generator().manual_seed(1)).x[:, 0]
    fitted = fit(SimVAE(latent_dim=4, hidden=(32,), learning_rate=1e-2), world, steps=200, seeds=(0, 1), **FEW)
    decoded = fitted.reconstruct(x)
    assert decoded.shape == (2, 200, 2, 3)
    assert ((decoded - x).square().mean((1, 2, 3)) < 0.25 * x.var()).all()


def test_progress_and_history_agree():
    seen: list[tuple[int, int]] = []
    fitted = fit(
        LEARNER,
        Toy(),
        steps=7,
        seeds=(0, 3),
        log_every=3,
        progress=lambda step, steps: seen.append((step, steps)),
        **FEW,
    )
    assert seen == [(3, 7), (6, 7), (7, 7)]
    assert fitted.history["step"].tolist() == [3, 3, 6, 6, 7, 7]
    assert fitted.history["seed"].tolist() == [0, 3] * 3


def test_history_is_the_mean_since_the_row_before():
    each = fit(LEARNER, Toy(), steps=4, seeds=(0,), log_every=1, **FEW).history["loss"]
    pairs = fit(LEARNER, Toy(), steps=4, seeds=(0,), log_every=2, **FEW).history["loss"]
    np.testing.assert_allclose(pairs, each.to_numpy().reshape(2, 2).mean(1))


@dataclass(frozen=True, kw_only=True)
class Failing(SimCLR):
    """SimCLR whose second member fails at the fourth step, by what the fourth batch holds."""

    value: float
    mark: float

    def loss(self, modules, x, noise=None):
        bad = torch.zeros(x.shape[0], dtype=x.dtype)
        bad[1] = self.value if x[0, 0, 0, 0] == self.mark else 0.0
        return super().loss(modules, x, noise) + bad


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("log_every", [1, 3, 50])
def test_a_diverging_member_stops_and_the_others_go_on(value, log_every):
    healthy = fit(LEARNER, Toy(), steps=12, seeds=(0, 1, 2), log_every=1, **FEW)
    place = {"device": torch.device("cpu"), "dtype": torch.float64}
    draws = streams.Streams([Toy()], (0,), batch_size=16, views=2, noise_shape=None, target=None, **place)
    fourth = [draws.batch(step).x for step in range(4)][-1]
    failing = Failing(**SMALL, value=value, mark=fourth[0, 0, 0, 0].item())
    fitted = fit(failing, Toy(), steps=12, seeds=(0, 1, 2), log_every=log_every, **FEW)

    before = healthy.history.query("seed == 1 and step == 3")["loss"].item()
    row = fitted.divergences.iloc[0]
    assert (row["method"], row["seed"], row["step"]) == ("Failing", 1, 4)
    assert row["last_finite_loss"] == pytest.approx(before)
    assert fitted.diverged.tolist() == [False, True, False]
    z = fitted.transform(X)
    assert z[1].isnan().all()
    torch.testing.assert_close(z[[0, 2]], healthy.transform(X)[[0, 2]])
    assert fitted.history.query("seed == 1 and step >= 4")["loss"].isna().all()
    assert fitted.history.query("seed != 1")["loss"].notna().all()
    # stopped: its parameters are those that gave the loss that was not finite
    three = fit(LEARNER, Toy(), steps=3, seeds=(0, 1, 2), **FEW)
    for name, parameter in fitted.modules.named_parameters():
        torch.testing.assert_close(parameter[1], dict(three.modules.named_parameters())[name][1])


def test_training_ends_when_all_members_have_diverged():
    fitted = fit(SimCLR(**SMALL, temperature=float("nan")), Toy(), steps=50, seeds=(0, 1), **FEW)
    assert fitted.steps == 1
    assert fitted.divergences["step"].tolist() == [1, 1]
    assert fitted.divergences["last_finite_loss"].isna().all()
    assert fitted.transform(X).isnan().all()


@dataclass(frozen=True, kw_only=True)
class Invariance(JointEmbedding):
    weight: float = 2.0

    def loss(self, modules, x, noise=None):
        return self.weight * self.embed(modules, x).var(dim=-2).sum(-1).mean(-1)


def test_a_loss_of_one_s_own_is_a_learner(tmp_path):
    fitted = fit(Invariance(latent_dim=3, head=(2,)), Toy(), steps=60, seeds=range(3), log_every=20, **FEW)
    rows = fitted.history.groupby("step")["loss"].mean()
    assert rows.iloc[-1] < rows.iloc[0] / 2
    fitted.save(tmp_path / "own")
    assert learners.Fitted.load(tmp_path / "own").learner == Invariance(latent_dim=3, head=(2,))


class Ragged(Toy):
    def sample(self, n, *, views, generator):
        drawn = super().sample(n, views=views, generator=generator)
        return Drawn(drawn.x[:, 0], drawn.label, drawn.index)


@pytest.mark.parametrize(("change", "message"), [
    ({"steps": -1}, "steps of at least 0, found -1"),
    ({"seeds": ()}, "at least one seed, found none"),
    ({"seeds": (1, 2, 1)}, r"distinct seeds, found \(1, 2, 1\)"),
    ({"seeds": (0, -1)}, "seeds of at least 0, found -1"),
    ({"views": 1}, "views of at least 2, found 1"),
    ({"views": 0, "learner": learners.VAE(**SMALL)}, "views of at least 1, found 0"),
    ({"batch_size": 0}, "batch_size of at least 1, found 0"),
    ({"batch_size": 1}, "at least 2 data points, found"),
    ({"log_every": 0}, "log_every of at least 1, found 0"),
    ({"checkpoint_every": 0}, "checkpoint_every of at least 1, found 0"),
    ({"data": [Toy()] * 3}, "one sampler a seed, 2, found 3"),
    ({"data": [Toy(), Toy(shape=(5,))]}, r"inputs of one shape, found \[\(5,\), \(6,\)\]"),
    ({"learner": SimCLR(temperature=torch.tensor([0.1, 0.2]))}, "found a tensor for temperature; pass a sequence"),
    ({"data": Ragged()}, r"of shape \(2, 2, \*shape\), found \(2, 6\)"),
])  # fmt: skip
def test_bad_input_is_refused_in_one_line(change, message):
    call = {"learner": LEARNER, "data": Toy(), "steps": 1, "seeds": (0, 1), **FEW} | change
    with pytest.raises(ValueError, match=message) as error:
        fit(call.pop("learner"), call.pop("data"), **call)
    assert "\n" not in str(error.value)


ANOTHER_TYPE = """
from ssl_theory.learners import SimCLR, fit
from synthetic import preset
for change in ({"steps": 2.5}, {"seeds": 3}, {"learner": SimCLR}):
    try:
        fit(**{"learner": SimCLR(), "data": preset("block"), "steps": 1, "seeds": [0]} | change)
    except ValueError as error:
        print(error)
"""


def test_what_annotations_rule_out_is_refused_in_one_line_too():
    """In a process of its own: here every call is checked against annotations, as a user's is not."""
    done = subprocess.run([sys.executable, "-c", ANOTHER_TYPE], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "expected a whole number of steps, found 2.5; round it",
        "expected several seeds, found 3; pass e.g. seeds=range(3)",
        "expected a learner, found the class SimCLR; call it, SimCLR()",
    ]


@pytest.mark.parametrize(("call", "message"), [
    (lambda fitted: fitted.transform(X[:, :5]), r"x of shape \(n, 6\) or \(2, n, 6\), found \(9, 5\)"),
    (lambda fitted: fitted.transform(X[0]), r"found \(6,\)"),
    (lambda fitted: fitted.transform(X.expand(3, 9, 6)), r"found \(3, 9, 6\)"),
    (lambda fitted: fitted.transform(X, layer="head"), "one of encoder, representation, found 'head'"),
    (lambda fitted: fitted.reconstruct(X), "a learner with a decoder, found SimCLR"),
    (lambda fitted: SimVAE(prior="none"), "prior must be one of gaussian, .*, found 'none'"),
    (lambda fitted: SimVAE(likelihood="none"), "likelihood must be one of gaussian, .*, found 'none'"),
])  # fmt: skip
def test_bad_questions_are_refused_in_one_line(call, message):
    fitted = fit(LEARNER, Toy(), steps=0, seeds=(0, 1), **FEW)
    with pytest.raises(ValueError, match=message) as error:
        call(fitted)
    assert "\n" not in str(error.value)


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    fit(SimVAE(**SMALL), Toy(), steps=2, seeds=(0,), **FEW)
    assert torch.equal(torch.get_rng_state(), before)


def test_values_of_a_hyperparameter_train_together(tmp_path):
    """Member (value, seed) is the lone run with that value and that seed."""
    sweep = [SimVAE(**SMALL, prior="mixture", style_variance=s, content_variance=2 * s) for s in (0.1, 0.4)]
    fitted = fit(sweep, Toy(), steps=6, seeds=(0, 3), log_every=4, **FEW)
    table = fitted.members.table()
    assert table["style_variance"].tolist() == [0.1, 0.1, 0.4, 0.4]
    assert table["seed"].tolist() == [0, 3, 0, 3]
    for member, row in table.iterrows():
        lone = fit(
            sweep[int(row["style_variance"] > 0.2)], Toy(), steps=6, seeds=[int(row["seed"])], log_every=4, **FEW
        )
        torch.testing.assert_close(fitted.transform(X)[member], lone.transform(X)[0])
        ours = fitted.history.query("seed == @row.seed and style_variance == @row.style_variance")
        np.testing.assert_allclose(ours["loss"], lone.history["loss"], rtol=1e-6)
    fitted.save(tmp_path / "sweep")
    again = learners.Fitted.load(tmp_path / "sweep")
    assert torch.equal(again.transform(X), fitted.transform(X))
    assert again.history.equals(fitted.history)


@pytest.mark.parametrize(("sweep", "message"), [
    ([SimCLR(), SimCLR(latent_dim=3)], "differ in temperature, found a difference in latent_dim; train them apart"),
    ([SimCLR(), learners.VICReg()], "learners of one method, found SimCLR, VICReg; train them apart"),
    ([], "at least one learner, found none"),
])  # fmt: skip
def test_learners_that_cannot_train_together_are_refused(sweep, message):
    with pytest.raises(ValueError, match=message):
        fit(sweep, Toy(), steps=1, seeds=(0,), **FEW)


def test_worlds_go_with_seeds_or_with_members():
    sweep = [SimCLR(**SMALL, temperature=t) for t in (0.2, 0.5)]
    by_seed = fit(sweep, [Toy(0), Toy(1)], steps=3, seeds=(0, 1), **FEW)
    by_member = fit(sweep, [Toy(0), Toy(1)] * 2, steps=3, seeds=(0, 1), **FEW)
    assert torch.equal(by_seed.transform(X), by_member.transform(X))


class Unlabelled(Toy):
    def sample(self, n, *, views, generator):
        return Unnamed(super().sample(n, views=views, generator=generator).x)


@dataclass(frozen=True)
class Unnamed:
    x: torch.Tensor
    label: None = None


@pytest.mark.parametrize(("learner", "message"), [
    (learners.Supervised(**SMALL), "samples with .label, found none; take a world that has classes"),
    (learners.InstanceDiscrimination(**SMALL), "samples with .index, found none; wrap the sampler in a Pool"),
])  # fmt: skip
def test_missing_targets_are_named(learner, message):
    with pytest.raises(ValueError, match=message):
        fit(learner, Unlabelled(), steps=1, seeds=(0,), **FEW)


def test_clip_has_an_encoder_for_each_view():
    fitted = fit(learners.CLIP(**SMALL), Toy(), steps=2, seeds=(0, 1), **FEW)
    assert torch.equal(fitted.transform(X, view=0), fitted.transform(X))
    assert not torch.allclose(fitted.transform(X, view=1), fitted.transform(X, view=0))
    with pytest.raises(ValueError, match="view 0 or 1 of CLIP, found view 2"):
        fitted.transform(X, view=2)
    with pytest.raises(ValueError, match="found view 0 of SimCLR; leave view out"):
        fit(LEARNER, Toy(), steps=0, seeds=(0,), **FEW).transform(X, view=0)


@pytest.mark.parametrize(("result", "found"), [
    (lambda losses: losses.mean(), r"\(\)"),
    (lambda losses: {"loss": losses}, "a dict"),
    (lambda losses: losses.detach(), "losses that depend on no parameter"),
])  # fmt: skip
def test_a_loss_must_be_one_number_a_member(result, found):
    class Own(Invariance):
        def loss(self, modules, x, noise=None):
            return result(super().loss(modules, x))

    with pytest.raises(ValueError, match=rf"a loss a member, \(2,\), found {found}; mend Own.loss"):
        fit(Own(latent_dim=3), Toy(), steps=1, seeds=(0, 1), **FEW)


class Jittered(Invariance):
    """Its noise is the member's own, or torch's."""

    def noise_shape(self, views):
        return (views, self.latent_dim)

    def loss(self, modules, x, noise=None):
        z = self.embed(modules, x)
        return (z + (torch.randn_like(z) if self.latent_dim == 3 else noise)).var(dim=-2).mean((-2, -1))


def test_a_loss_that_draws_from_torch_s_generator_is_refused():
    fit(Jittered(latent_dim=2), Toy(), steps=2, seeds=(0, 1), **FEW)
    with pytest.raises(ValueError, match=r"^expected Jittered\.loss to take its random numbers from `noise`") as error:
        fit(Jittered(latent_dim=3), Toy(), steps=2, seeds=(0, 1), **FEW)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("extra", "found"), [
    (lambda: nn.Linear(3, 3), r"extra\.weight of shape \(3, 3\)"),
    (lambda: nn.ParameterList([nn.Parameter(torch.ones(()))]), r"extra\.0 of shape \(\)"),
])  # fmt: skip
def test_parameters_that_members_would_share_are_refused(extra, found):
    class Shared(Invariance):
        def build(self, shape, seeds):
            modules = super().build(shape, seeds)
            modules["extra"] = extra()
            return modules

    with pytest.raises(ValueError, match=rf"a leading axis of 2 members, found {found}; give each .* in Shared\.build"):
        fit(Shared(latent_dim=3), Toy(), steps=1, seeds=(0, 1), **FEW)
