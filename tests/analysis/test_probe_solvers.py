"""The solvers behind the probes: each beside scikit-learn, a slow reference or its own closed form."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, Ridge, RidgeCV
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from ssl_theory.analysis import halves, lbfgs, linear, logistic, neighbours
from ssl_theory.analysis.lbfgs import minimise
from tests import references
from tests.analysis.test_probes import N, drawn, noise


@given(n=st.integers(8, 40), d=st.integers(1, 30), seed=st.integers(0, 5))
def test_ridge_of_one_penalty_equals_scikit_learn(n: int, d: int, seed: int):
    g = torch.Generator().manual_seed(seed)
    x, t, y = (torch.randn(2, *s, generator=g, dtype=torch.float64) for s in ((n, d), (n, 3), (5, d)))
    for alpha in (1e-3, 10.0):
        found = linear.ridge_predictions(x, t, y, [alpha])
        for e in range(2):
            expected = Ridge(alpha).fit(x[e].numpy(), t[e].numpy()).predict(y[e].numpy())
            np.testing.assert_allclose(found[e], expected, atol=1e-6)


@given(n=st.integers(8, 40), d=st.integers(1, 30), seed=st.integers(0, 5))
def test_penalty_is_that_of_least_generalised_cross_validation(n: int, d: int, seed: int):
    """Every target's own, of targets that ask for different ones."""
    g = torch.Generator().manual_seed(seed)
    x, t = (torch.randn(2, n, k, generator=g, dtype=torch.float64) for k in (d, 3))
    t = t * torch.tensor([0.01, 1.0, 10.0]) + x[..., :1]
    if abs(n - 1 - d) <= 1:  # a denominator of rounding alone: no penalty is the right one
        return
    weights, offset = linear.ridge_weights(x, t)
    for e in range(2):
        for target in range(3):
            w, b = references.cross_validated_ridge(x[e], t[e, :, target], linear.PENALTIES)
            assert torch.allclose(weights[e, :, target], w, atol=1e-6)
            assert torch.allclose(offset[e, 0, target], b, atol=1e-6)


@pytest.mark.parametrize(("n", "d"), [(300, 5), (300, 40), (40, 60)])
def test_generalised_cross_validation_chooses_as_well_as_leave_one_out(n: int, d: int):
    """Mean error on fresh rows beside that of scikit-learn's leave-one-out, over 20 data sets."""
    g = torch.Generator().manual_seed(0)
    w = torch.randn(20, d, 1, generator=g, dtype=torch.float64) / d**0.5
    x, y = (torch.randn(20, k, d, generator=g, dtype=torch.float64) for k in (n, 500))
    t = x @ w + torch.randn(20, n, 1, generator=g, dtype=torch.float64)
    ours = (linear.ridge_predictions(x, t, y) - y @ w).square().mean()
    models = [RidgeCV(linear.PENALTIES).fit(*pair) for pair in zip(x.numpy(), t[..., 0].numpy(), strict=True)]
    guesses = np.stack([model.predict(rows) for model, rows in zip(models, y.numpy(), strict=True)])
    assert float(ours) <= 1.02 * float(np.square(guesses - (y @ w)[..., 0].numpy()).mean())


@pytest.mark.parametrize("n", [30, 200])
def test_rounding_stands_for_standardised_columns(n: int):
    """The scales of columns do not matter, and one that varies by rounding alone weighs nothing; also for n < d."""
    x, t = noise(50, n)[None] * torch.logspace(-3, 3, 50) + 3.0, drawn(n=n)[1][None] + noise(5, n)[None, :, :2]
    x[..., 7] = 1.0 + 1e-16 * torch.arange(n)
    weights, offset = linear.ridge_weights(x, t, rounding=torch.full((1, 50), 1e-12, dtype=torch.float64))
    spread = x.std(1, correction=0, keepdim=True)
    spread[..., 7] = torch.inf
    expected, _ = linear.ridge_weights((x - x.mean(1, keepdim=True)) / spread, t)
    assert (weights[:, 7] == 0).all()
    assert torch.allclose(weights * spread.nan_to_num(posinf=0).mT, expected, atol=1e-9)
    assert torch.allclose(offset + x.mean(1, keepdim=True) @ weights, t.mean(1, keepdim=True))


def test_ridge_some_rows_at_a_time(monkeypatch: pytest.MonkeyPatch):
    """Blocks of rows, the last one short, and members one by one."""
    x, t = noise(4, 150).view(3, 50, 4), noise(2, 150, seed=1).view(3, 50, 2)
    whole = linear.ridge_predictions(x, t, x)
    monkeypatch.setattr(linear, "CHUNK", 1)
    monkeypatch.setattr(linear, "ROWS", 7)
    assert torch.allclose(linear.ridge_predictions(x, t, x), whole, atol=1e-12)


@pytest.mark.parametrize("n", [4, 20, 21, 60])
def test_no_penalty_at_all_is_defined(n: int):
    """Fits through every point tell nothing of their error and are taken last."""
    x, t = noise(20, n)[None], noise(1, n, seed=1)[None]
    for penalties in ([0.0], [0.0, 1.0], [1e-300, 1.0]):
        weights, offset = linear.ridge_weights(x, t, penalties)
        assert weights.isfinite().all()
        assert offset.isfinite().all()


@pytest.mark.parametrize("alpha", [0.1, 1.0, 100.0])
def test_logistic_regression_equals_scikit_learn(alpha: float):
    content, style, label = drawn(n=600)
    x = torch.stack([content + style, torch.cat([style[:, :1], content[:, :1]], 1)])
    k = label.expand(2, -1)
    weights = logistic.logistic_weights(x, k, 4, torch.full((2,), alpha, dtype=torch.float64), tolerance=1e-7)
    p = torch.softmax(logistic.logits(x, weights, 4), -1)
    for e in range(2):
        model = LogisticRegression(C=1 / alpha, max_iter=5000, tol=1e-8).fit(x[e].numpy(), label.numpy())
        np.testing.assert_allclose(p[e], model.predict_proba(x[e].numpy()), atol=2e-4)


def test_penalty_of_logistic_regression_is_scikit_learns():
    """The same grid, folds and refit: the same classes, but for rows on the boundary."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2, 900, 6, generator=g, dtype=torch.float64)
    k = (x[..., :3] + 0.7 * torch.randn(2, 900, 3, generator=g)).argmax(-1)
    folds = halves.folds(600, x, g)
    found = logistic.penalised_logits(x[:, :600], k[:, :600], x[:, 600:], 3, folds).argmax(-1)
    for e in range(2):
        model = LogisticRegressionCV(
            Cs=[1 / a for a in logistic.PENALTIES], l1_ratios=(0,), cv=[(f.numpy(), h.numpy()) for h, f in folds],
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
    ways = [logistic.logistic_weights(x, k, 4, alpha, start=at, tolerance=1e-9) for at in (None, start)]
    p = [torch.softmax(logistic.logits(x, w, 4), -1) for w in ways]
    assert torch.allclose(p[0], p[1], atol=1e-5)


def unlike_classes(classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Representations (2, 600, 6), of separable classes and of others, and classes (2, 600), the last ones rare."""
    g = torch.Generator().manual_seed(seed)
    k = torch.multinomial(torch.exp(-4 * torch.arange(classes) / classes), 600, True, generator=g)
    centres = torch.tensor([8.0, 1.0])[:, None, None] * torch.randn(classes, 6, generator=g)
    return centres[:, k] + torch.randn(2, 600, 6, generator=g), k.expand(2, -1)


@pytest.mark.parametrize("blocks", [0, logistic.BLOCKS])
@pytest.mark.parametrize("classes", [2, 8, 30])
def test_slopes_at_the_weights_found_meet_the_tolerance(monkeypatch: pytest.MonkeyPatch, classes: int, blocks: int):
    """In single precision, with one curvature for all classes and with one for each."""
    monkeypatch.setattr(logistic, "BLOCKS", blocks)
    x, k = unlike_classes(classes)
    weights = logistic.logistic_weights(x, k, classes, torch.full((2,), 0.1, dtype=torch.float64))
    at = weights.double().requires_grad_()
    loss = torch.nn.functional.cross_entropy(logistic.logits(x.double(), at, classes).mT, k) * 2
    (slope,) = torch.autograd.grad(loss + 0.1 / 600 / 2 * at[:, : 6 * classes].square().sum(), at)
    assert float(slope.abs().max()) <= 1.1 * logistic.TOLERANCE


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("classes", [2, 8])
def test_penalties_are_chosen_by_the_losses_of_exact_solutions(classes: int, seed: int):
    x, k = unlike_classes(classes, seed)
    folds = halves.folds(600, x, torch.Generator().manual_seed(seed))
    grid = torch.tensor(logistic.PENALTIES[::-1], dtype=torch.float64)
    _, losses = logistic.cross_validated(x, k, classes, folds, grid)
    exact, y = [], x.double()
    for alpha in grid:
        loss = torch.zeros(2, dtype=torch.float64)
        for held, kept in folds:
            w = logistic.logistic_weights(y[:, kept], k[:, kept], classes, alpha.expand(2), tolerance=1e-8)
            guess = logistic.logits(y[:, held], w, classes)
            loss += torch.nn.functional.cross_entropy(guess.mT, k[:, held], reduction="none").sum(1) / 600
        exact.append(loss)
    assert torch.equal(losses.argmin(0), torch.stack(exact).argmin(0))
    assert torch.allclose(losses, torch.stack(exact), rtol=0.02, atol=1e-4)


def test_posteriors_are_normal_numbers():
    """Of rows that are more certain than single precision can say, too."""
    x, k = unlike_classes(3)
    weights = 30 * torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(1))
    p, partition = logistic.Softmax(x, k, 3)._posterior(weights, slice(0, 2))
    scores = weights[..., :6] @ x.mT + weights[..., 6:]
    assert float(p.min()) >= torch.finfo(torch.float32).tiny
    assert torch.allclose(p, scores.softmax(1), atol=1e-4)
    assert torch.allclose(partition, scores.logsumexp(1))


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


@given(count=st.integers(1, 80), k=st.integers(1, 12), group=st.sampled_from([1, 2, 4, 8, 16]), seed=st.integers(0, 99))
def test_nearest_by_groups_are_the_nearest(count: int, k: int, group: int, seed: int):
    """Also where columns make no whole groups, or groups of groups."""
    k = min(k, count)
    distance = torch.rand(6, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    nearest = distance.argsort(1)[:, :k]
    assert torch.equal(neighbours._nearest(distance, k), nearest)
    found = torch.from_numpy(neighbours._least(distance.numpy(), k, group) - neighbours._starts(*distance.shape))
    assert torch.equal(found.sort().values, nearest.sort().values)


@given(count=st.sampled_from([5, 24, 96]), k=st.integers(1, 5), levels=st.integers(1, 4), seed=st.integers(0, 99))
def test_of_equal_distances_some_are_taken(count: int, k: int, levels: int, seed: int):
    """Different columns, k of them, and none farther than one left out."""
    distance = torch.randint(levels, (6, count), generator=torch.Generator().manual_seed(seed)).float()
    nearest = neighbours._nearest(distance, k)
    assert all(len(set(row)) == k for row in nearest.tolist())
    assert torch.equal(distance.gather(1, nearest), distance.sort(1).values[:, :k])


def test_k_is_chosen_by_held_out_accuracy():
    """With a third of the labels flipped one neighbour is often wrong, and many are right."""
    g = torch.Generator().manual_seed(0)
    truth = torch.arange(N) % 2
    labels = torch.where(torch.rand(N, generator=g) < 0.33, 1 - truth, truth)
    points = 10.0 * truth[:, None] + torch.randn(N, 2, generator=g)
    rows = torch.randperm(N, generator=g)
    assert neighbours.chosen_neighbours(points, labels, 2, rows[:300], rows[300:], (1, 3, 51)) == 51
    assert neighbours.chosen_neighbours(points, labels, 2, rows[:300], rows[300:], (1,)) == 1
    # Of equals the smallest, in whichever order; 0 and less are no number of neighbours.
    for ks in ((1, 3, 51), (51, 1, 3), (3, 0, 1, -2)):
        assert neighbours.chosen_neighbours(points, truth, 2, rows[:300], rows[300:], ks) == 1


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
