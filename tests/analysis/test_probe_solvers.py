"""The solvers behind the probes: each beside scikit-learn, a slow reference or its own closed form."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeCV
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from ssl_theory.analysis import kernel, lbfgs, linear, neighbours, perceptron
from ssl_theory.analysis.lbfgs import minimise
from tests import references
from tests.analysis.test_probes import N, drawn, noise


@given(n=st.integers(8, 40), d=st.integers(1, 30), seed=st.integers(0, 5))
def test_ridge_equals_scikit_learn(n: int, d: int, seed: int):
    g = torch.Generator().manual_seed(seed)
    x, t, y = (torch.randn(2, *s, generator=g, dtype=torch.float64) for s in ((n, d), (n, 3), (5, d)))
    t = t + x[..., :1]
    found = linear.ridge_predictions(x, t, y)
    for e in range(2):
        model = RidgeCV(linear.PENALTIES, alpha_per_target=True).fit(x[e].numpy(), t[e].numpy())
        np.testing.assert_allclose(found[e], model.predict(y[e].numpy()), atol=1e-6)


def leave_one_out(x: Tensor, t: Tensor, penalties: list[float]) -> Tensor:
    x, level = x - x.mean(1, keepdim=True), t - t.mean(1, keepdim=True)
    s, v = linear._singular(x)
    inward, grid = v / s[:, None], torch.tensor(penalties, dtype=torch.float64)
    return linear._leave_one_out(x, inward, s, inward.mT @ x.mT @ level, level, grid).flatten()


@given(seed=st.integers(0, 5))
def test_leave_one_out_equals_leaving_one_out(seed: int):
    g = torch.Generator().manual_seed(seed)
    x, t = (torch.randn(1, 9, k, generator=g, dtype=torch.float64) for k in (4, 1))
    errors = torch.stack([references.leave_one_out_error(x[0], t[0, :, 0], a) for a in (0.1, 3.0)])
    assert torch.allclose(leave_one_out(x, t, [0.1, 3.0]), errors)


def test_leave_one_out_some_rows_at_a_time(monkeypatch: pytest.MonkeyPatch):
    """Three blocks of rows, the last one short."""
    x, t = noise(4, 150)[None], drawn(n=150)[1][None] + noise(4, 150)[None, :, :2]
    whole = leave_one_out(x, t, [0.1, 3.0])
    monkeypatch.setattr(linear, "CHUNK", 1)
    assert torch.allclose(leave_one_out(x, t, [0.1, 3.0]), whole)
    error = references.leave_one_out_error(x[0], t[0, :, 1], 3.0)
    assert float(whole.view(2, 2)[1, 1]) == pytest.approx(float(error))


@pytest.mark.parametrize("scaling", [1.0, 1e4])
def test_ridge_in_other_coordinates_is_ridge_on_their_image(scaling: float):
    """Ridge on `x root`, from the scatter matrix of uncentred x alone."""
    x, y, t = noise(5, 200)[None] + 3.0, noise(5, 40)[None] + 3.0, drawn(n=200)[1][None] + noise(5, 200)[None, :, :2]
    root = scaling * noise(5, 5)[None, :, :3]
    mean = x.mean(1, keepdim=True)
    solved = linear.ridge_weights(x, t, scatter=(x - mean).mT @ (x - mean), root=root)
    assert torch.allclose(linear.affine(y, *solved), linear.ridge_predictions(x @ root, t, y @ root), atol=1e-9)


@pytest.mark.parametrize("alpha", [0.1, 1.0, 100.0])
def test_logistic_regression_equals_scikit_learn(alpha: float):
    content, style, label = drawn(n=600)
    x = torch.stack([content + style, torch.cat([style[:, :1], content[:, :1]], 1)])
    k = label.expand(2, -1)
    weights = linear.logistic_weights(x, k, 4, torch.full((2,), alpha, dtype=torch.float64), tolerance=1e-7)
    p = torch.softmax(linear.logits(x, weights, 4), -1)
    for e in range(2):
        model = LogisticRegression(C=1 / alpha, max_iter=5000, tol=1e-8).fit(x[e].numpy(), label.numpy())
        np.testing.assert_allclose(p[e], model.predict_proba(x[e].numpy()), atol=2e-4)


def test_penalty_of_logistic_regression_is_scikit_learns():
    """The same grid, held-out rows and refit: the same classes, but for rows on the boundary."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2, 900, 6, generator=g, dtype=torch.float64)
    k = (x[..., :3] + 0.7 * torch.randn(2, 900, 3, generator=g)).argmax(-1)
    held, kept = torch.arange(120), torch.arange(120, 600)
    found = linear.penalised_logits(x[:, :600], k[:, :600], x[:, 600:], 3, held, kept).argmax(-1)
    for e in range(2):
        model = LogisticRegressionCV(
            Cs=[1 / a for a in linear.LOGISTIC_PENALTIES], l1_ratios=(0,), cv=[(kept.numpy(), held.numpy())],
            scoring="neg_log_loss", max_iter=2000, use_legacy_attributes=False,
        ).fit(x[e, :600].numpy(), k[e, :600].numpy())  # fmt: skip
        expected = torch.from_numpy(model.predict(x[e, 600:].numpy()))
        assert (found[e] == expected).double().mean() > 0.99


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_a_start_changes_the_way_and_not_the_goal(scale: float):
    """Also one far off, at which every posterior is certain."""
    content, style, label = drawn(n=300)
    x, k = torch.cat([content, style], 1)[None], label[None]
    alpha = torch.tensor([1.0], dtype=torch.float64)
    start = scale * torch.randn(1, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ways = [linear.logistic_weights(x, k, 4, alpha, start=at, tolerance=1e-9) for at in (None, start)]
    p = [torch.softmax(linear.logits(x, w, 4), -1) for w in ways]
    assert torch.allclose(p[0], p[1], atol=1e-5)


@pytest.mark.parametrize("hidden", [(5,), (6, 5), (4, 3, 5)])
def test_slopes_by_hand_are_autograds(hidden: tuple[int, ...]):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2, 9, 3, generator=g, dtype=torch.float64)
    for loss, outputs in ((perceptron.squared_error, 4), (perceptron.cross_entropy, 3)):
        numbers = torch.randn(2, 9, outputs, generator=g, dtype=torch.float64)
        target = numbers if loss is perceptron.squared_error else numbers.argmax(-1)
        weights = perceptron.initial([3, *hidden, outputs], x, g)
        total = loss(perceptron.forward(weights, x), target).mean(1).sum()
        found, _ = perceptron._side_by_side(weights)
        perceptron._backward([w.detach() for w in weights], found, x, target, loss)
        for ours, theirs in zip(found, torch.autograd.grad(total, weights), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("width", [0.3, 1.0, 3.0])
def test_kernel_ridge_is_ridge_on_nystroem_features(width: float):
    """Also for a width at which the kernel of the landmarks has directions that only rounding keeps from zero."""
    x, y, t = noise(2, 300), noise(2, 380)[300:], drawn(n=300)[1].square() + noise(2, 300)
    order, rows = torch.arange(300), torch.randperm(300, generator=torch.Generator().manual_seed(4))[:60]
    found = kernel.kernel_ridge_predictions(
        x[None], t[None], y[None], order[:60], order[60:],
        generator=torch.Generator().manual_seed(4), landmarks=60, widths=(width,),
    )  # fmt: skip
    apart = torch.cdist(x[rows], x[rows])
    near = [torch.exp(-torch.cdist(a, x[rows]).square() / (2 * (width * apart.median()) ** 2)) for a in (x[rows], x, y)]
    values, vectors = torch.linalg.eigh(near[0])
    root = vectors * torch.where(values > 1e-10 * values[-1], values.clamp(min=1e-300).rsqrt(), 0.0)
    expected = linear.ridge_predictions((near[1] @ root)[None], t[None], (near[2] @ root)[None])
    assert torch.allclose(found, expected, atol=1e-5)


def test_kernel_width_is_chosen_on_the_held_out_rows():
    """These are smooth, the others rough, so that a wide kernel is chosen: that of the rough ones would be narrow."""
    x = noise(1, 400)
    t, held, kept = (6 * x).sin(), torch.arange(1, 400, 5), torch.arange(400)
    kept = kept[kept % 5 != 1]
    t[held] = 0.0

    def predicted(*widths: float) -> Tensor:
        g = torch.Generator().manual_seed(0)
        return kernel.kernel_ridge_predictions(x[None], t[None], x[None], held, kept, generator=g, widths=widths)

    assert torch.equal(predicted(0.03, 3.0), predicted(3.0))
    assert not torch.allclose(predicted(0.03), predicted(3.0))


def test_best_predictions_are_those_of_each_targets_best_step():
    """With few steps remembered some are settled early, and nothing else changes."""
    g = torch.Generator().manual_seed(0)
    test, losses = torch.randn(2, 5, 3, generator=g), torch.rand(30, 2, 4, generator=g)
    steps = [perceptron.initial([3, 4, 4], test, g) for _ in losses]
    outputs = torch.stack([torch.zeros(2, 5, 4), *[perceptron.forward(w, test).detach() for w in steps]])
    losses = torch.cat([torch.full((1, 2, 4), 0.5), losses])
    expected = outputs.gather(0, losses.argmin(0)[None, :, None].expand(1, 2, 5, 4))[0]
    for most in (1, 3, 40):
        best = perceptron.Best(losses[0], outputs[0], test)
        best.most = most
        for step, (w, loss) in enumerate(zip(steps, losses[1:], strict=True), 1):
            best.watch(step, loss, w)
            assert len(best.kept) <= most
        assert torch.allclose(best.predictions(), expected)


@pytest.mark.parametrize("k", [1, 4, 11])
def test_neighbours_equal_scikit_learn(k: int):
    content, style, label = drawn(n=500)
    x = content + 2 * style
    model = KNeighborsClassifier(k).fit(x[:300].numpy(), label[:300].numpy())
    found = neighbours.neighbour_predictions(x[:300], label[:300], x[300:], 4, [k], rows=64)[0]
    assert torch.equal(found, torch.from_numpy(model.predict(x[300:].numpy())))


def test_a_grid_of_neighbours_is_each_of_them():
    content, style, label = drawn(n=500)
    x, ks = content + 2 * style, [11, 1, 4]
    found = neighbours.neighbour_predictions(x[:300], label[:300], x[300:], 4, ks)
    alone = [neighbours.neighbour_predictions(x[:300], label[:300], x[300:], 4, [k])[0] for k in ks]
    assert torch.equal(found, torch.stack(alone))


def test_the_smallest_class_of_equal_votes_is_taken():
    train, labels = torch.tensor([[0.0], [1.0]]), torch.tensor([1, 0])
    guesses = neighbours.neighbour_predictions(train, labels, torch.tensor([[0.1], [0.9]]), 2, [2])
    assert guesses.tolist() == [[0, 0]]


@given(count=st.integers(2, 40), k=st.integers(1, 12), group=st.sampled_from([1, 2, 5]), seed=st.integers(0, 99))
def test_nearest_by_groups_are_the_nearest(count: int, k: int, group: int, seed: int):
    k = min(k, count * group)
    distance = torch.rand(6, count * group, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert torch.equal(neighbours._nearest(distance, k, group), distance.argsort(1)[:, :k])


def test_k_is_chosen_by_held_out_accuracy():
    """With a third of the labels flipped one neighbour is often wrong, and many are right."""
    g = torch.Generator().manual_seed(0)
    truth = torch.arange(N) % 2
    labels = torch.where(torch.rand(N, generator=g) < 0.33, 1 - truth, truth)
    points = 10.0 * truth[:, None] + torch.randn(N, 2, generator=g)
    rows = torch.randperm(N, generator=g)
    assert neighbours.chosen_neighbours(points, labels, 2, rows[:300], rows[300:], (1, 3, 51)) == 51
    assert neighbours.chosen_neighbours(points, labels, 2, rows[:300], rows[300:], (1,)) == 1


def test_batched_minimiser_finds_each_minimum():
    g = torch.Generator().manual_seed(0)
    root = torch.randn(3, 6, 6, generator=g, dtype=torch.float64)
    curve = root @ root.mT + 0.1 * torch.eye(6, dtype=torch.float64)
    goal = torch.randn(3, 6, generator=g, dtype=torch.float64)

    def objective(at: Tensor) -> tuple[Tensor, Tensor]:
        slope = (curve @ (at - goal)[..., None])[..., 0]
        return 0.5 * (slope * (at - goal)).sum(1), slope

    assert torch.allclose(minimise(objective, torch.zeros_like(goal), tolerance=1e-9), goal, atol=1e-6)


def test_slopes_decide_where_values_tell_nothing():
    """Of steps four and two times too long, to where the slope has turned, and the right one the last is taken."""
    at, goal = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([[1.0, -2.0]], dtype=torch.float64)

    def objective(w: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones(1, dtype=torch.float64), w - goal

    moved, _, _ = lbfgs._halving(objective, at, *objective(at), -4 * objective(at)[1], 1e-9)
    assert torch.allclose(moved, goal)


def test_no_step_raises_the_value():
    """Slopes -1 to the left of zero and 1/2 to its right: the full step has the lesser slope and the larger value."""
    at, ahead = torch.full((1, 1), -0.1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)

    def objective(w: Tensor) -> tuple[Tensor, Tensor]:
        return torch.where(w < 0, -w, w / 2)[:, 0], torch.where(w < 0, -1.0, 0.5).to(w)

    _, value, _ = lbfgs._halving(objective, at, *objective(at), ahead, 1e-9)
    assert float(value) < 0.1
