"""The solvers behind the probes: each beside scikit-learn, a slow reference or its own closed form."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, Ridge, RidgeCV
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from ssl_theory.analysis import halves, kernel, lbfgs, linear, logistic, neighbours, nonlinear, perceptron
from ssl_theory.analysis.halves import Pair
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


@pytest.mark.parametrize("hidden", [(5,), (6, 5), (4, 3, 5)])
def test_slopes_by_hand_are_autograds(hidden: tuple[int, ...]):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2, 9, 3, generator=g, dtype=torch.float64)
    for loss, outputs in ((perceptron.SQUARED_ERROR, 4), (perceptron.CROSS_ENTROPY, 3)):
        numbers = torch.randn(2, 9, outputs, generator=g, dtype=torch.float64)
        target = numbers if loss is perceptron.SQUARED_ERROR else numbers.argmax(-1)
        weights = perceptron.initial([3, *hidden, outputs], x, g)
        total = loss.value(perceptron.forward(weights, x), target).mean(1).sum()
        found, _ = perceptron._side_by_side(weights)
        perceptron._backward([w.detach() for w in weights], found, x, target, loss.slope)
        for ours, theirs in zip(found, torch.autograd.grad(total, weights), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("members", [1, 3])
def test_slopes_of_losses_are_autograds(members: int):
    """Also where all but one of the posteriors are zero in this precision."""
    g = torch.Generator().manual_seed(0)
    output = torch.randn(members, 7, 5, generator=g, dtype=torch.float64)
    for loss, scale in (
        (perceptron.SQUARED_ERROR, 1.0),
        (perceptron.CROSS_ENTROPY, 1.0),
        (perceptron.CROSS_ENTROPY, 1e4),
    ):
        numbers = torch.randn(members, 7, 5, generator=g, dtype=torch.float64)
        target = numbers if loss is perceptron.SQUARED_ERROR else numbers.argmax(-1)
        at = (scale * output).requires_grad_()
        (expected,) = torch.autograd.grad(loss.value(at, target).mean(1).sum(), at)
        assert torch.allclose(loss.slope(at.detach(), target), expected, atol=1e-12)


def test_slopes_of_a_sure_network_are_no_numbers_that_slow_it_down():
    """A posterior of e^-100 has a slope below the least normal number of this precision: nothing, and nothing lost."""
    output = torch.tensor([[[100.0, 0.0, 99.0], [0.0, 100.0, 72.0]]])
    found = perceptron.CROSS_ENTROPY.slope(output, torch.tensor([[0, 0]]))
    assert (found[found.abs() < torch.finfo(torch.float32).tiny] == 0).all()
    expected = torch.tensor([[[-0.2689, 0, 0.2689], [-1.0, 1, 6.9e-13]]]) / 2
    assert torch.allclose(found, expected, atol=1e-4)


def test_adam_is_torchs():
    g = torch.Generator().manual_seed(0)
    w = torch.randn(3, 4, generator=g, dtype=torch.float64)
    other = w.clone().requires_grad_()
    optimiser, moments = torch.optim.Adam([other], lr=0.02), [(torch.zeros_like(w), torch.zeros_like(w))]
    for step in range(1, 6):
        slope = torch.randn(3, 4, generator=g, dtype=torch.float64)
        other.grad = slope
        optimiser.step()
        perceptron.adam([w], [slope], moments, 0.02, step)
    assert torch.allclose(w, other.detach(), atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 560])
def test_rate_rises_and_falls(steps: int):
    rates = [perceptron._schedule(step, steps) for step in range(1, steps + 1)]
    top = rates.index(1.0)
    assert top == max(1, round(perceptron.WARM_UP * steps)) - 1
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert min(rates) > 0


def test_weights_that_are_tried_are_means_over_looks(monkeypatch: pytest.MonkeyPatch):
    """At each look, of the weights there and at the three before it."""
    x, t, usual = noise(3, 200)[None], noise(2, 200, seed=1)[None], perceptron.AVERAGED
    held, kept = torch.arange(50), torch.arange(50, 200)

    def looked_at(averaged: int) -> list[Tensor]:
        found: list[Tensor] = []

        def watch(_best: perceptron.Best, _step: int, _loss: Tensor, weights: list[Tensor]) -> None:
            found.append(torch.cat([w.flatten() for w in weights]))

        monkeypatch.setattr(perceptron, "AVERAGED", averaged)
        monkeypatch.setattr(perceptron.Best, "watch", watch)
        perceptron.trained_predictions(
            x, t, x, (t[:, held], t), held, kept, loss=perceptron.SQUARED_ERROR,
            generator=torch.Generator().manual_seed(0), steps=12, every=2,
        )  # fmt: skip
        return found

    alone = looked_at(1)
    expected = [torch.stack(alone[max(0, place - 3) : place + 1]).mean(0) for place in range(len(alone))]
    assert len(alone) == 6
    assert torch.allclose(torch.stack(looked_at(usual)), torch.stack(expected), atol=1e-6)


def test_network_begins_with_the_start_and_keeps_it_where_nothing_is_better():
    """Targets that are noise on the rows to stop on: no step is kept for them, whatever the other target gains."""
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 300, 3, generator=g), torch.randn(2, 50, 3, generator=g)
    t = torch.stack([x[..., 0].square() - 1, 3 * x[..., 1]], -1)
    held, kept = torch.arange(100), torch.arange(100, 300)
    t[:, held, 1] = 0.0
    start = torch.zeros(2, 100, 2), torch.zeros(2, 50, 2)
    found = perceptron.trained_predictions(
        x, t, y, start, held, kept, loss=perceptron.SQUARED_ERROR, generator=g, steps=100,
    )  # fmt: skip
    assert torch.equal(found[..., 1], start[1][..., 1])
    assert (found[..., 0] - (y[..., 0].square() - 1)).square().mean() < 0.2


@pytest.mark.parametrize("width", [0.3, 1.0, 3.0])
def test_kernel_ridge_is_ridge_on_nystroem_features(width: float):
    """Also for a width at which the kernel of the landmarks has directions that only rounding keeps from zero."""
    x, y, t = noise(2, 300), noise(2, 380)[300:], drawn(n=300)[1].square() + noise(2, 300)
    rows = torch.randperm(300, generator=torch.Generator().manual_seed(4))[:60]
    found = kernel.kernel_ridge_predictions(
        x[None], t[None], y[None],
        generator=torch.Generator().manual_seed(4), landmarks=60, widths=(width,), penalties=(0.1,),
    )  # fmt: skip
    apart = torch.cdist(x[rows], x[rows])
    near = [torch.exp(-torch.cdist(a, x[rows]).square() / (2 * (width * apart.median()) ** 2)) for a in (x[rows], x, y)]
    values, vectors = torch.linalg.eigh(near[0])
    root = vectors * (values + kernel.JITTER).rsqrt()
    expected = linear.ridge_predictions((near[1] @ root)[None], t[None], (near[2] @ root)[None], (0.1,))
    assert torch.allclose(found, expected, atol=1e-4)


def test_wide_kernels_keep_their_digits():
    """The features of 5,000 rows are never made, only of their sums: with as many digits as if they were."""
    x, y, t = noise(2, 5000), noise(2, 500, seed=1), noise(1, 5000, seed=2)
    t += x[:, :1].square()
    landmarks = kernel.Landmarks.of(x[:300], 3 * float(torch.cdist(x[:300], x[:300]).median()))
    features = [landmarks.whitened(torch.cat(list(landmarks.rows(rows))).T).T[None] for rows in (x, y)]
    expected = linear.ridge_predictions(features[0], t[None], features[1], (0.01,))[0]
    found = kernel.Fit.of(landmarks, x, t, (0.01,)).at(y)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_every_target_gets_the_kernel_width_that_suits_it():
    """A rough target a narrow one, a smooth target a wide one: as if alone with it."""
    x = noise(1, 400)[None]
    t = torch.cat([(12 * x).sin(), x], 2) + 0.1 * noise(2, 400, seed=1)

    def predicted(*widths: float) -> Tensor:
        return kernel.kernel_ridge_predictions(x, t, x, generator=torch.Generator().manual_seed(0), widths=widths)

    both, narrow, wide = predicted(0.1, 3.0), predicted(0.1), predicted(3.0)
    assert torch.equal(both, torch.cat([narrow[..., :1], wide[..., 1:]], 2))
    assert not torch.allclose(narrow, wide, atol=0.01)


def test_kernel_ridge_takes_held_out_rows_in_once_they_have_been_told():
    """Told by the other rows' fit; and what is told of test rows is as if all had been fitted on from the start."""
    x, t, y = noise(2, 400)[None], noise(3, 400, seed=1)[None] + 50, noise(2, 30, seed=2)[None]
    t[..., 0] += x[..., 0].square()
    held, kept = torch.arange(300, 400), torch.arange(300)
    seeds = {"generator": torch.Generator(), "landmarks": 40, "widths": (1.0,), "penalties": (0.1,)}
    seeds["generator"].manual_seed(3)
    seen, unseen = kernel.validated_predictions(x, t, y, held, kept, **seeds)
    seeds["generator"].manual_seed(3)
    alone = kernel.kernel_ridge_predictions(x[:, kept], t[:, kept], x[:, held], **seeds)
    torch.testing.assert_close(seen, alone, rtol=0, atol=1e-9)
    centres = x[0, kept[torch.randperm(300, generator=torch.Generator().manual_seed(3))[:40]]]
    landmarks = kernel.Landmarks.of(centres, float(torch.cdist(centres, centres).median()))

    def features(rows: Tensor) -> np.ndarray:
        return landmarks.whitened(torch.cat(list(landmarks.rows(rows))).T).T.numpy()

    model = Ridge(alpha=0.1).fit(features(x[0]), t[0].numpy())
    found = model.predict(features(y[0]))
    np.testing.assert_allclose(unseen[0].numpy(), found, atol=1e-6)


def test_a_fit_that_takes_rows_in_is_the_fit_on_all_of_them():
    """Also where their targets lie elsewhere: the penalty is chosen, and the error told, anew."""
    x, t = noise(2, 400), noise(3, 400, seed=1) + 50
    t[:, 0] += 3 * x[:, 0].square()
    t[300:] += 20 * x[300:, :1]
    t[300:, 1] -= 40
    landmarks = kernel.Landmarks.of(x[:40], 1.0)
    whole = kernel.Fit.of(landmarks, x, t, linear.PENALTIES)
    part = kernel.Fit.of(landmarks, x[:300], t[:300], linear.PENALTIES).with_rows(x[300:], t[300:], linear.PENALTIES)
    torch.testing.assert_close(part.at(x), whole.at(x), rtol=0, atol=1e-4)
    torch.testing.assert_close(part.error, whole.error, rtol=1e-7, atol=1e-7)


def test_each_target_of_each_member_is_told_by_the_probe_that_errs_less_on_the_held_out_rows(
    monkeypatch: pytest.MonkeyPatch,
):
    """The network is right of one target, kernel ridge of the other, and the other way round in the second member."""
    t = torch.stack([noise(2, 50), noise(2, 50, seed=1)])
    pair = Pair(t, t + 9, torch.tensor([True, True]), torch.float64)
    right = torch.tensor([[True, False], [False, True]])[:, None]

    def told(held_out: Tensor, mark: float, by: Tensor) -> tuple[Tensor, Tensor]:
        return torch.where(by, t[:, held_out], 7.0), torch.full((2, 50, 2), mark)

    monkeypatch.setattr(nonlinear, "_network", lambda pair, t, rows, *_: told(rows[0], 1.0, right))
    monkeypatch.setattr(kernel, "validated_predictions", lambda x, t, y, held, kept, **_: told(held, 2.0, ~right))
    found = nonlinear.better_predictions(pair, t, linear.PENALTIES, torch.Generator(), {})
    assert torch.equal(found, torch.where(right, 1.0, 2.0).expand(2, 50, 2))


@pytest.mark.parametrize("distinct", [1, 2, 50])
def test_kernel_ridge_on_rows_that_repeat(distinct: int):
    """Landmarks at the same place make the kernel singular: the best guess is then each place's mean."""
    place = torch.arange(400) % distinct
    x, t = noise(3, distinct)[place][None], noise(1, 400, seed=1)[None] + 10.0 * (place % 2)[:, None]
    found = kernel.kernel_ridge_predictions(x, t, x, generator=torch.Generator().manual_seed(0))
    means = torch.stack([t[0, place == p, 0].mean() for p in range(distinct)])
    assert torch.allclose(found[0, :, 0], means[place], atol=1.5 if distinct == 50 else 0.1)


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
