"""Nonlinear probes: the network and its slopes by hand, kernel ridge, and which of them tells."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from ssl_theory.analysis import kernel, linear, nonlinear, perceptron
from ssl_theory.analysis.halves import Pair
from tests.analysis.test_probes import drawn, noise


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
