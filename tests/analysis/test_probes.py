"""Probes: known answers on constructed representations, the laws they obey, scikit-learn member by member."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeCV
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from ssl_theory.analysis import linear, neighbours, perceptron
from ssl_theory.analysis.lbfgs import minimise
from ssl_theory.analysis.probes import accuracy, halves, r2, standardised
from tests import references

N = 1200
QUICK: dict[str, Any] = {"steps": 160}
KINDS = ["linear", "mlp"]


def drawn(seed: int = 0, n: int = N) -> tuple[Tensor, Tensor, Tensor]:
    """Content (n, 2) of 4 separate classes, style (n, 2), class (n,)."""
    g = torch.Generator().manual_seed(seed)
    label = torch.randint(4, (n,), generator=g)
    centres = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 3.0], [0.0, -3.0]], dtype=torch.float64)
    content = centres[label] + 0.3 * torch.randn(n, 2, generator=g, dtype=torch.float64)
    return content, torch.randn(n, 2, generator=g, dtype=torch.float64), label


def rotation(d: int, seed: int = 1) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(d, d, generator=g, dtype=torch.float64))[0]


def noise(d: int, n: int = N) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def constructed() -> dict[str, tuple[Tensor, tuple[float, float], tuple[float, float]]]:
    """name -> (representation, range of R^2 of content, range of R^2 of style)."""
    content, style, _ = drawn()
    both = torch.cat([content, style], 1)
    full, none = (0.99, 1.0), (-0.05, 0.05)
    return {
        "perfect content": (content, full, none),
        "perfect style": (style, none, full),
        "everything": (both, full, full),
        "random": (noise(4), none, none),
        "collapsed": (torch.full((N, 4), 3.7, dtype=torch.float64), none, none),
        "rotated": (both @ rotation(4), full, full),
        "rescaled": (both * 1e-6 + 5.0, full, full),
        "content among noise": (torch.cat([content, noise(4)], 1), full, none),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", constructed())
def test_r2_of_constructed_representations(name: str, kind: str):
    content, style, _ = drawn()
    representation, of_content, of_style = constructed()[name]
    for target, (low, high) in ((content, of_content), (style, of_style)):
        assert low <= r2(representation, target, kind=kind, seed=3, **QUICK) <= high


@pytest.mark.parametrize("kind", ["linear", "mlp", "knn"])
def test_accuracy_of_constructed_representations(kind: str):
    content, style, label = drawn()
    assert accuracy(content, label, kind=kind, **QUICK) > 0.99
    assert accuracy(content @ rotation(2) * 1e4, label, kind=kind, **QUICK) > 0.99
    for without in (style, torch.zeros(N, 3)):
        assert abs(accuracy(without, label, kind=kind, **QUICK) - 0.25) < 0.06


def test_only_a_nonlinear_probe_reads_a_square():
    style = drawn()[1]
    assert r2(style, style.square(), kind="linear") < 0.05
    assert r2(style, style.square(), kind="mlp") > 0.9


def test_only_nonlinear_probes_tell_a_checkerboard():
    style = drawn()[1]
    board = (style[:, 0] * style[:, 1] > 0).long()
    assert accuracy(style, board, kind="linear") < 0.65
    assert accuracy(style, board, kind="mlp") > 0.93
    assert accuracy(style, board, kind="knn") > 0.93


def test_r2_equals_its_closed_form():
    """A target seen through noise of variance v has R^2 = 1 / (1 + v)."""
    style = drawn(n=20_000)[1]
    seen = style + 0.5**0.5 * noise(2, 20_000)
    for kind in KINDS:
        assert r2(seen, style, kind=kind) == pytest.approx(1 / 1.5, abs=0.015)


@given(n=st.integers(8, 40), d=st.integers(1, 30), seed=st.integers(0, 5))
def test_ridge_equals_scikit_learn(n: int, d: int, seed: int):
    g = torch.Generator().manual_seed(seed)
    x, t, y = (torch.randn(2, *s, generator=g, dtype=torch.float64) for s in ((n, d), (n, 3), (5, d)))
    t = t + x[..., :1]
    found = linear.ridge_predictions(x, t, y)
    for e in range(2):
        model = RidgeCV(linear.PENALTIES, alpha_per_target=True).fit(x[e].numpy(), t[e].numpy())
        np.testing.assert_allclose(found[e], model.predict(y[e].numpy()), atol=1e-6)


@given(seed=st.integers(0, 5))
def test_leave_one_out_equals_leaving_one_out(seed: int):
    g = torch.Generator().manual_seed(seed)
    x, t = (torch.randn(1, 9, k, generator=g, dtype=torch.float64) for k in (4, 1))
    errors = torch.stack([references.leave_one_out_error(x[0], t[0, :, 0], a) for a in (0.1, 3.0)])
    u, s, _ = linear._thin_svd(x - x.mean(1, keepdim=True))
    level = t - t.mean(1, keepdim=True)
    found = linear._leave_one_out(u, s, u.mT @ level, level, torch.tensor([0.1, 3.0], dtype=torch.float64))
    assert torch.allclose(found.flatten(), errors)


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


@pytest.mark.parametrize("kind", KINDS)
def test_members_equal_lone_runs_and_nan_stays_with_its_member(kind: str):
    content, style, label = drawn()
    stack = torch.stack([content + 0.5 * style, content, style, style.square()])
    stack[1, 7, 0] = torch.nan
    together = r2(stack, style, kind=kind, **QUICK)
    assert together.isnan().tolist() == [False, True, False, False]
    for e in (0, 3):
        assert r2(stack[e], style, kind=kind, **QUICK) == pytest.approx(float(together[e]), abs=2e-3)
    named = accuracy(stack, label, kind=kind, **QUICK)
    assert named.isnan().tolist() == [False, True, False, False]
    assert accuracy(stack[0], label, kind=kind, **QUICK) == pytest.approx(float(named[0]), abs=5e-3)


def test_targets_of_each_member_are_its_own():
    content, style, label = drawn()
    stack = torch.stack([content, style])
    assert (r2(stack, torch.stack([content, style])) > 0.99).all()
    assert (r2(stack, torch.stack([style, content])) < 0.05).all()
    labels = torch.stack([label, (style[:, 0] > 0).long()])
    assert (accuracy(stack, labels) > 0.97).all()
    assert (accuracy(stack, labels.flip(0)) < 0.6).all()


def test_each_target_is_scored_by_itself():
    content, style, _ = drawn()
    both = torch.cat([content, style], 1)
    scores = r2(content + 0.7 * style, both, per_target=True)
    alone = [r2(content + 0.7 * style, both[:, i]) for i in range(4)]
    assert scores.tolist() == pytest.approx(alone, abs=1e-12)
    assert r2(content + 0.7 * style, both) == pytest.approx(float(scores.mean()))


def test_same_kind_out_as_in():
    content, style, label = drawn()
    stack = torch.stack([content, style])
    assert isinstance(r2(content, style), float)
    assert isinstance(r2(stack, style), Tensor)
    assert isinstance(r2(stack.numpy(), style), np.ndarray)
    assert isinstance(accuracy(stack.numpy(), label.numpy(), kind="knn"), np.ndarray)
    assert r2(stack.numpy(), style.numpy()).tolist() == r2(stack, style).tolist()
    assert r2(stack.float(), style.float()).tolist() == pytest.approx(r2(stack, style).tolist(), abs=1e-4)


@given(scale=st.floats(1e-6, 1e6), shift=st.floats(-10, 10), seed=st.integers(0, 3))
def test_ridge_does_not_see_place_or_scale_of_coordinates(scale: float, shift: float, seed: int):
    content, style, _ = drawn(seed, 200)
    r = content + style
    changed = r * torch.tensor([scale, 1.0]) + shift * scale
    assert r2(changed, style) == pytest.approx(r2(r, style), abs=1e-4)


def test_scores_use_the_given_test_half_only():
    content, _, label = drawn()
    test = (content[:300], content[:300])
    shuffled = (content[:300], content[:300].flip(0))
    assert r2(content[300:], content[300:], test=test) > 0.99
    assert r2(content[300:], content[300:], test=shuffled) < 0.1
    assert accuracy(content[300:], label[300:], test=(content[:300], label[:300])) > 0.99
    assert accuracy(content[300:], label[300:], test=(content[:300], label[:300] + 4)) == 0.0


def test_test_rows_do_not_change_the_fit():
    """Scores of a row must not depend on the other rows scored: nothing is fitted on that half."""
    x, t = drawn()[0], drawn()[1]
    seen = x + t
    (a, b), far = halves(N, torch.Generator().manual_seed(0)), seen + 100
    for kind in KINDS:
        near = r2(seen[a], t[a], test=(seen[b], t[b]), kind=kind, **QUICK)
        more = (torch.cat([seen[b], far[b]]), torch.cat([t[b], t[b]]))
        assert near > r2(seen[a], t[a], test=more, kind=kind, **QUICK)
    scaled, _ = standardised(seen[None, a], far[None, b], torch.float64)
    assert torch.allclose(scaled.mean(1), torch.zeros(1, 2, dtype=torch.float64), atol=1e-12)


def test_more_dimensions_than_rows():
    wide = noise(80, 60)
    wide[:, 0] = torch.linspace(-3, 3, 60)
    for kind in KINDS:
        assert -1.0 < r2(wide, wide[:, 0], kind=kind, **QUICK) < 1.0
    assert 0 <= accuracy(wide, (wide[:, 0] > 0).long()) <= 1


def test_constant_target_has_no_r2():
    content = drawn()[0]
    target = torch.stack([content[:, 0], torch.ones(N)], 1)
    for kind in KINDS:
        scores = r2(content, target, kind=kind, per_target=True, **QUICK)
        assert scores[0] > 0.99
        assert scores[1].isnan()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(5), torch.zeros(5)), r"expected \(n, d\) or \(E, n, d\)"),
        ((torch.zeros(0, 3), torch.zeros(0)), "none of them empty"),
        ((torch.zeros(8, 3), torch.zeros(9)), r"target: expected .* n = 8"),
        ((torch.zeros(2, 8, 3), torch.zeros(2, 8)), r"target: expected .* found \(2, 8\)"),
        ((torch.zeros(8, 3), torch.full((8,), torch.nan)), "target: expected finite"),
        ((torch.zeros(3, 3), torch.zeros(3)), "2 rows or more"),
        ((np.array([["a"]]), torch.zeros(1)), "expected a torch tensor or a numpy array"),
    ],
)
def test_bad_input_to_r2_is_one_line(arguments: tuple, message: str):
    with pytest.raises(ValueError, match=message) as error:
        r2(*arguments)
    assert "\n" not in str(error.value)


def test_bad_input_to_accuracy_is_one_line():
    x = noise(2, 20)
    for labels, kwargs, message in [
        (torch.zeros(20), {}, "two classes or more"),
        (torch.linspace(0, 1, 20), {}, "whole numbers"),
        (torch.arange(19), {}, "n = 20"),
        (torch.arange(20) % 2, {"kind": "knn", "ks": (100,)}, "smaller k"),
    ]:
        with pytest.raises(ValueError, match=message) as error:
            accuracy(x, labels, **kwargs)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="members and width"):
        r2(x, x, test=(x[:, :1], x))
