"""Each method is the loss it says, over the networks and the state it says, and every hyperparameter reaches it."""

from dataclasses import fields, replace
from itertools import pairwise

import pytest
import torch

from ssl_theory import learners
from ssl_theory.learners import Learner, fit
from ssl_theory.learners.clustering import recluster
from ssl_theory.learners.fitted import build
from ssl_theory.learners.memory import Teacher, follow
from ssl_theory.losses import clustering, contrastive, decoders, distillation, generative, instance, priors, redundancy
from ssl_theory.losses.state import Centre, Memory, Queue
from ssl_theory.losses.views import unit
from tests.learners.toy import ALL, FEW, SMALL, STEADY, Toy

BATCH = Toy().sample(24, views=2, generator=torch.Generator().manual_seed(5))
VIEWS = torch.stack([BATCH.x[:12], BATCH.x[12:]])
SHARED = {field.name for field in fields(Learner)} | {"instances", "classes", "head", "likelihood", "prior_rate"}
OWN = [
    pytest.param(name, field.name, id=f"{name}: {field.name}")
    for name, learner in ALL.items()
    for field in fields(learner)
    if field.name not in SHARED and "VAE, " not in name.replace("SimVAE, gaussian", "")
    if not (name == "IWAE" and field.name in ("style_variance", "content_variance"))  # its prior has none
]


def modules_of(learner):
    return build(learner, (6,), (0, 1)).to(torch.float64)


@pytest.mark.parametrize(("name", "field"), OWN)
def test_every_hyperparameter_matters(name, field):
    learner = ALL[name]
    value = getattr(learner, field)
    other = {"prior": "flat" if value != "flat" else "gaussian", "predictor": (7,)}.get(field)
    changed = replace(learner, **{field: other or (value * 2 if isinstance(value, int) else value * 0.6)})
    x = VIEWS[0, :, 0]
    first, second = (fit(one, Toy(), steps=6, seeds=(0,), **FEW).transform(x) for one in (learner, changed))
    assert (first - second).abs().max() > 1e-7


def test_simclr_is_info_nce_of_the_head():
    learner = learners.SimCLR(**SMALL, head=(8, 4), temperature=0.2)
    modules = modules_of(learner)
    z = modules["head"](modules["encoder"](VIEWS.flatten(1, 2))).unflatten(1, (12, 2))
    torch.testing.assert_close(learner.loss(modules, VIEWS), contrastive.info_nce(z, temperature=0.2))


def test_clip_compares_two_encoders():
    learner = learners.CLIP(**SMALL, temperature=0.3)
    modules = modules_of(learner)
    z = torch.stack([modules["encoder"](VIEWS[:, :, 0]), modules["encoder 1"](VIEWS[:, :, 1])], 2)
    expected = contrastive.info_nce(z, temperature=0.3, negatives="other")
    torch.testing.assert_close(learner.loss(modules, VIEWS), expected, rtol=1e-6, atol=1e-6)


def test_clip_puts_a_temperature_that_falls_too_low_back_to_a_hundredth():
    """And it can rise from there: what is merely cut in the loss has no gradient below, and stays."""
    fitted = fit(learners.CLIP(**SMALL, temperature=0.005), Toy(), steps=1, seeds=(0,), batch_size=8)
    lowest = fitted.modules["log_temperature"]().exp()
    torch.testing.assert_close(lowest, torch.full_like(lowest, 0.01))
    learner = learners.CLIP(**SMALL, temperature=0.01)
    modules = modules_of(learner)
    learner.loss(modules, VIEWS).sum().backward()
    assert float(modules["log_temperature"].value.grad.abs().sum()) > 0


def test_a_teacher_is_a_moving_average():
    learner = learners.BYOL(**STEADY)
    modules = modules_of(learner)
    before = [p.clone() for p in modules["teacher"].parameters()]
    for parameter in modules["encoder"].parameters():
        parameter.data.add_(1.0)
    learner.after_step(modules)
    pairs = zip(modules["teacher"].parameters(), before, strict=True)
    for now, then in pairs:
        torch.testing.assert_close(now, then + 0.1)
        assert not now.requires_grad


def test_a_teacher_starts_as_a_copy_of_its_own():
    network = torch.nn.Linear(2, 2)
    teacher = Teacher([network], 0.0)
    x = torch.ones(1, 2)
    assert torch.equal(teacher(x), network(x))
    network.weight.data.add_(1.0)
    assert not torch.equal(teacher(x), network(x))
    follow(teacher, [network])
    assert torch.equal(teacher(x), network(x))


def test_byol_predicts_the_teacher():
    learner = learners.BYOL(**STEADY)
    modules = modules_of(learner)
    modules["encoder"].layers[0].weight.data.mul_(1.5)
    points = VIEWS.flatten(1, 2)
    prediction = modules["predictor"](modules["encoder"](points)).unflatten(1, (12, 2))
    target = modules["teacher"].networks[0](points).unflatten(1, (12, 2))
    torch.testing.assert_close(learner.loss(modules, VIEWS), distillation.byol(prediction, target))


def test_simsiam_teaches_the_predictor_and_holds_its_target_fixed():
    """The value alone does not say which side is held fixed: the mean over both directions is symmetric."""
    learner = learners.SimSiam(**SMALL)
    modules = modules_of(learner)
    z = modules["encoder"](VIEWS.flatten(1, 2)).unflatten(1, (12, 2))
    prediction = modules["predictor"](z.flatten(1, 2)).unflatten(1, (12, 2))
    loss = learner.loss(modules, VIEWS)
    torch.testing.assert_close(loss, distillation.simsiam(prediction, z))
    loss.sum().backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in modules["predictor"].parameters())


def test_vicreg_weighs_each_term_by_its_own_weight():
    weights = {"invariance": 2.0, "variance": 3.0, "covariance": 5.0}
    learner = learners.VICReg(**SMALL, **weights)
    modules = modules_of(learner)
    z = modules["encoder"](VIEWS.flatten(1, 2)).unflatten(1, (12, 2))
    torch.testing.assert_close(learner.loss(modules, VIEWS), redundancy.vicreg(z, **weights))


def test_instance_memory_moves_after_it_is_used():
    learner = learners.InstanceMemory(**SMALL, instances=20, temperature=0.2, momentum=0.3)
    modules, index = modules_of(learner), torch.arange(12).expand(2, 12)
    old = Memory(modules["memory"]().clone(), 0.3)
    z = modules["encoder"](VIEWS.flatten(1, 2)).unflatten(1, (12, 2))
    expected = instance.memory_softmax(z, index, old, temperature=0.2)
    torch.testing.assert_close(learner.loss(modules, VIEWS, None, index), expected)
    torch.testing.assert_close(modules["memory"](), old.update(z, index).bank)


def test_moco_queues_the_keys_of_the_last_view():
    learner = learners.MoCo(**STEADY, queue=20)
    modules = modules_of(learner)
    old = modules["queue"]().clone()
    key = unit(modules["teacher"](VIEWS.flatten(1, 2)).unflatten(1, (12, 2)))
    query = modules["encoder"](VIEWS.flatten(1, 2)).unflatten(1, (12, 2))
    torch.testing.assert_close(learner.loss(modules, VIEWS), contrastive.moco(query, key, Queue(old)))
    assert torch.equal(modules["queue"]()[:, :12], key[:, :, 1:])
    assert torch.equal(modules["queue"]()[:, 12:], old[:, :8])


def test_dino_moves_its_centre_after_it_is_used():
    learner = learners.DINO(**STEADY, prototypes=5)
    modules = modules_of(learner)
    logits = modules["teacher"](VIEWS.flatten(1, 2)).unflatten(1, (12, 2))
    student = modules["prototypes"](modules["encoder"](VIEWS.flatten(1, 2))).unflatten(1, (12, 2))
    start = Centre(torch.zeros(2, 5, dtype=torch.float64))
    torch.testing.assert_close(learner.loss(modules, VIEWS), clustering.dino(student, logits, centre=start))
    torch.testing.assert_close(modules["centre"](), 0.1 * logits.mean((1, 2)))


def test_deep_cluster_keeps_its_clusters_between_clusterings():
    learner = learners.DeepCluster(**SMALL, instances=12, prototypes=4, every=3)
    modules = modules_of(learner)
    index = torch.arange(12).expand(2, 12)
    seen = []
    for _ in range(7):
        modules["encoder"].layers[0].weight.data.mul_(0.8)
        learner.loss(modules, VIEWS, None, index)
        seen.append(modules["prototypes"]().clone())
    assert [torch.equal(a, b) for a, b in pairwise(seen)] == [True, True, False] * 2


def test_deep_cluster_remembers_the_last_representation_alone():
    learner = learners.DeepCluster(**SMALL, instances=20, prototypes=4)
    modules = modules_of(learner)
    old = modules["bank"]().clone()
    learner.loss(modules, VIEWS, None, torch.arange(12).expand(2, 12))
    z = unit(modules["encoder"](VIEWS.flatten(1, 2)).unflatten(1, (12, 2)))
    torch.testing.assert_close(modules["bank"]()[:, :12], unit(z.mean(2)))
    assert torch.equal(modules["bank"]()[:, 12:], old[:, 12:])


def test_no_cluster_stays_empty():
    generator = torch.Generator().manual_seed(0)
    bank = unit(torch.randn(2, 60, 1, 3, generator=generator))
    prototypes = unit(torch.tensor([[[1.0, 0.0, 0.0]] * 5] * 2))  # one takes all
    for _ in range(5):
        prototypes = recluster(bank, prototypes)
    counts = torch.nn.functional.one_hot(clustering.assign(bank, prototypes), 5).sum(1)
    assert (counts > 0).all()


def test_empty_clusters_restart_among_the_points():
    """All points lie about one prototype, the others on the far side of the sphere."""
    generator, pole = torch.Generator().manual_seed(0), torch.tensor([1.0, 0.0, 0.0])
    bank = unit(pole + 0.1 * torch.randn(1, 60, 1, 3, generator=generator))
    prototypes = unit(torch.stack([pole, -pole, torch.tensor([-1.0, 0.1, 0.0])]))[None]
    for _ in range(5):
        prototypes = recluster(bank, prototypes)
    assert (torch.nn.functional.one_hot(clustering.assign(bank, prototypes), 3).sum(1) > 0).all()


def test_empty_clusters_restart_at_the_points_farthest_from_their_centre():
    """On a circle, one prototype takes all points: of the two others, at the back, each takes one of those far off."""

    def at(*degrees):
        angle = torch.tensor(degrees, dtype=torch.float64).deg2rad()
        return torch.stack([angle.cos(), angle.sin()], -1)

    points = at(0.0, 40.0, 5.0, -25.0, -10.0)
    found = recluster(points[None, :, None], at(0.0, 180.0, 190.0)[None])
    torch.testing.assert_close(found[0], torch.stack([unit(points.mean(0)), points[1], points[3]]))


@pytest.mark.parametrize("prior", ["gaussian", "flat", "plug-in", "standard", "split"])
def test_simvae_is_its_bound(prior):
    learner = learners.SimVAE(**SMALL, prior=prior, style_variance=0.3, content_variance=2.0, decoder_variance=0.2)
    modules = modules_of(learner)
    noise = torch.randn(2, 12, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean, log_variance = modules["encoder"](VIEWS.flatten(1, 2)).unflatten(1, (12, 2)).chunk(2, -1)
    z = mean + log_variance.exp().sqrt() * noise
    decoded = modules["decoder"](z.flatten(1, 2)).unflatten(1, (12, 2))
    density = {
        "gaussian": priors.Gaussian(0.3, 2.0),
        "flat": priors.Flat(0.3),
        "plug-in": priors.PlugIn(0.3, 2.0),
        "standard": priors.Gaussian(1.0, 0.0),
        "split": priors.IntraClass.from_logits(torch.zeros(2, 3, dtype=torch.float64)),
    }[prior]
    gaussian = decoders.Gaussian(0.2)
    expected = generative.elbo_ssl(VIEWS, decoded, z, log_variance, prior=density, decoder=gaussian)
    torch.testing.assert_close(learner.loss(modules, VIEWS, noise), expected)
    torch.testing.assert_close(learner.represent(modules, VIEWS[:, :, 0], "representation"), mean[:, :, 0])


def test_centres_of_a_mixture_start_as_far_apart_as_content_varies():
    learner = learners.SimVAE(**SMALL, prior="mixture", classes=2000, content_variance=9.0)
    centres = modules_of(learner)["prior"]()
    assert centres.std((1, 2)).tolist() == pytest.approx([3.0, 3.0], rel=0.05)


@pytest.mark.parametrize("prior", ["mixture", "split"])
def test_a_learned_prior_moves_prior_rate_times_as_far(prior):
    """Adam's first step is the learning rate wherever the gradient is not zero; the start does not depend on it."""
    moves = []
    for rate in (1.0, 10.0):
        learner = learners.SimVAE(**SMALL, prior=prior, prior_rate=rate)
        start, then = (fit(learner, Toy(), steps=s, seeds=(0,), **FEW).modules["prior"]().detach() for s in (0, 1))
        moves.append((then - start).abs().median().item())
    assert moves[0] == pytest.approx(learner.learning_rate, rel=0.01)
    assert moves[1] == pytest.approx(10 * moves[0], rel=0.01)
    with pytest.raises(ValueError, match="prior_rate must be positive, found 0"):
        learners.SimVAE(prior=prior, prior_rate=0.0)


def test_iwae_with_one_sample_is_the_bound_with_it():
    """And more samples tighten it on average."""
    one, many = (learners.IWAE(**SMALL, prior="gaussian", samples=s) for s in (1, 16))
    modules = modules_of(one)
    noise = torch.randn(2, 12, 16, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    each = torch.stack([one.loss(modules, VIEWS, noise[:, :, [s]]) for s in range(16)])
    assert (many.loss(modules, VIEWS, noise) < each.mean(0)).all()
    mean, log_variance = one.posterior(modules, VIEWS)
    z = mean + (0.5 * log_variance).exp() * noise[:, :, 0]
    decoded = modules["decoder"](z.flatten(1, 2)).unflatten(1, (12, 2))
    options = {"prior": priors.Gaussian(0.15, 1.0), "decoder": decoders.Gaussian(0.01)}
    weights = generative.log_weights(VIEWS, decoded, z, mean, log_variance, **options)
    torch.testing.assert_close(each[0], -weights.mean(-1))


def test_supervised_is_the_cross_entropy_of_every_view():
    learner = learners.Supervised(**SMALL, classes=3)
    modules, label = modules_of(learner), BATCH.label.unflatten(0, (2, 12))
    logits = modules["classifier"](modules["encoder"](VIEWS.flatten(1, 2)))
    expected = [torch.nn.functional.cross_entropy(logits[e], label[e].repeat_interleave(2)) for e in range(2)]
    torch.testing.assert_close(learner.loss(modules, VIEWS, None, label), torch.stack(expected))
