"""Probes: known answers on constructed representations, and the laws they obey."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ssl_theory.analysis import logistic
from ssl_theory.analysis.halves import folds, halves, standardised
from ssl_theory.analysis.probes import accuracy, held_out_classes, held_out_logits, held_out_predictions, r2

N = 1200
QUICK: dict[str, Any] = {"steps": 160}
KINDS = ["linear", "mlp"]  # of both scores
NUMBERS = [*KINDS, "kernel", "nonlinear"]  # of `r2`


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


def noise(d: int, n: int = N, seed: int = 9) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


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


@pytest.mark.parametrize("kind", NUMBERS)
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
    for kind in ("mlp", "kernel", "nonlinear"):
        assert r2(style, style.square(), kind=kind) > 0.9


def test_the_nonlinear_probe_is_the_better_of_network_and_kernel_for_each_member_and_target():
    """Distances among 40 columns say little of one of them; a curve with many turns takes a network more steps."""
    style = drawn()[1]
    crowded, bare = torch.cat([style, noise(38)], 1), torch.cat([style, torch.zeros(N, 38, dtype=torch.float64)], 1)
    targets = torch.stack([style[:, 0].square(), torch.sin(4 * style[:, 1])], 1)
    network, smooth, better = (
        r2(torch.stack([crowded, bare]), targets, kind=kind, per_target=True) for kind in ("mlp", "kernel", "nonlinear")
    )
    assert network[0, 0] > smooth[0, 0] + 0.1
    assert smooth[1, 1] > network[1, 1] + 0.1
    assert (better > torch.maximum(network, smooth) - 0.08).all()


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
    for kind in NUMBERS:
        assert r2(seen, style, kind=kind) == pytest.approx(1 / 1.5, abs=0.015)


def test_rounding_of_a_collapsed_representation_tells_nothing():
    """Content that is left in the last digits of single precision is none."""
    content = drawn()[0]
    seen = 3.7 + 1e-6 * content / content.std(0)
    assert r2(seen, content) > 0.99
    assert abs(r2(seen.float(), content)) < 0.05


def test_narrow_types_are_read_as_they_are():
    """Representations in half precision, whole numbers and truth values, on both ways of splitting."""
    content, style, label = drawn()
    for seen in (content.half(), content.float(), (10 * content).round().long()):
        assert r2(seen, content) > 0.99
        assert r2(seen, content, test=(seen, content)) > 0.99
        assert accuracy(seen, label, kind="knn") > 0.99
    assert accuracy(style > 0, (style[:, 0] > 0).long()) == 1.0
    for kind in NUMBERS:
        told = r2(style > 0, style, kind=kind, **QUICK)
        assert told == pytest.approx(2 / math.pi, abs=0.05)  # of a Gaussian, by its sign
        assert r2((style > 0).numpy(), style.numpy(), kind=kind, **QUICK) == told


@pytest.mark.parametrize("kind", NUMBERS)
def test_members_equal_lone_runs_and_nan_stays_with_its_member(kind: str):
    content, style, label = drawn()
    stack = torch.stack([content + 0.5 * style, content, style, style.square()])
    stack[1, 7, 0] = torch.nan
    together = r2(stack, style, kind=kind, **QUICK)
    assert together.isnan().tolist() == [False, True, False, False]
    for e in (0, 3):
        assert r2(stack[e], style, kind=kind, **QUICK) == pytest.approx(float(together[e]), abs=2e-3)
    if kind not in KINDS:
        return
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


TOLD: dict[str, Any] = dict.fromkeys(NUMBERS, held_out_predictions)
NAMED: dict[str, Any] = {f"{kind} classes": held_out_logits for kind in ("linear", "mlp")}
NAMED["knn classes"] = held_out_classes


@pytest.mark.parametrize("name", [*TOLD, *NAMED])
def test_test_rows_do_not_change_the_fit(name: str):
    """What is told of a row must not depend on the other rows scored: nothing is fitted on that half."""
    x, t, label = drawn()
    seen, target = x + t, label if name in NAMED else t
    a, b = halves(N, torch.Generator().manual_seed(0))
    far, kind = torch.cat([seen[b], seen[b] * 10 + 100]), name.split()[0]
    options = {} if kind == "knn" else QUICK
    few, many = (
        (TOLD | NAMED)[name](seen[a], target[a], test=test, kind=kind, **options)[0]
        for test in ((seen[b], target[b]), (far, torch.cat([target[b], target[b].flip(0)])))
    )
    assert many.shape[1] == 2 * few.shape[1]
    torch.testing.assert_close(many[:, : len(b)], few, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(many[:, len(b) :], few, atol=0.1)


def test_logistic_regressions_penalty_is_that_of_five_folds():
    """Each row of the fitted half is held out once; of one fold alone the choice would be another for some members."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(12, 120, 8, generator=g)
    label = (x[..., 0] + torch.randn(12, 120, generator=g) > 0).long()
    grid, fitted, told = (0.1, 1.0, 10.0, 100.0), slice(0, 60), (x[:, 60:], label[:, 60:])
    found, _, _ = held_out_logits(x[:, fitted], label[:, fitted], test=told, penalties=grid)
    fifths = folds(60, x, torch.Generator().manual_seed(0))
    assert sorted(torch.cat([held for held, _ in fifths]).tolist()) == list(range(60))
    assert all(set(held.tolist()).isdisjoint(kept.tolist()) and len(held) + len(kept) == 60 for held, kept in fifths)
    a, b = standardised(x[:, fitted], x[:, 60:], torch.float32)
    by = [logistic.penalised_logits(a, label[:, fitted], b, 2, fifths[:n], grid) for n in (1, 5)]
    assert torch.allclose(found, by[1], atol=1e-3)
    assert not torch.allclose(found, by[0], atol=1e-1)


def test_the_network_begins_at_class_frequencies_of_the_rows_that_it_fits():
    """And stays there where nothing is to be learned: the rows that it stops on have no part in it."""
    x, label = torch.zeros(100, 1), (torch.arange(100) < 11).long()
    found, _, _ = held_out_logits(x, label, test=(x, label), kind="mlp", steps=1)
    _, kept = folds(100, x, torch.Generator().manual_seed(0))[0]
    share = label[kept].double().mean().item()
    assert abs(share - 11 / 100) > 0.01
    assert found[0].softmax(-1)[:, 1].tolist() == pytest.approx([share] * 100)


def test_the_penalty_of_logistic_regression_does_not_bind_where_dimensions_are_correlated():
    """Classes that differ by what two dimensions of correlation 1 - 1e-5 do not share."""
    g = torch.Generator().manual_seed(0)
    own = torch.randn(2000, 2, generator=g)
    x, label = torch.randn(2000, 1, generator=g) + 0.003 * own, (own[:, 0] > own[:, 1]).long()
    told = (x[1000:], label[1000:])
    assert accuracy(x[:1000], label[:1000], test=told) > 0.95
    assert accuracy(x[:1000], label[:1000], test=told, penalties=(0.1,)) < 0.75


def test_standardising_takes_the_fitted_half():
    x, t, _ = drawn()
    seen, (a, b) = x + t, halves(N, torch.Generator().manual_seed(0))
    far = seen + 100
    scaled, _ = standardised(seen[None, a], far[None, b], torch.float64)
    assert torch.allclose(scaled.mean(1), torch.zeros(1, 2, dtype=torch.float64), atol=1e-12)


def test_more_dimensions_than_rows():
    wide = noise(80, 60)
    wide[:, 0] = torch.linspace(-3, 3, 60)
    for kind in NUMBERS:
        assert -1.0 < r2(wide, wide[:, 0], kind=kind, **QUICK) < 1.0
    label = (wide[:, 0] > 0).long()
    shown = wide + 4 * label[:, None]
    for kind in ("linear", "mlp", "knn"):
        options = QUICK if kind == "mlp" else {}
        assert accuracy(shown, label, kind=kind, **options) > 0.9
        assert abs(accuracy(wide[:, 1:], label, kind=kind, **options) - 0.5) < 0.3


def test_constant_target_has_no_r2():
    content = drawn()[0]
    target = torch.stack([content[:, 0], torch.ones(N)], 1)
    for kind in NUMBERS:
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
        (torch.full((20,), torch.inf), {}, "whole numbers .* infinity"),
        (torch.arange(19), {}, "n = 20"),
        (torch.arange(20) % 2, {"kind": "knn", "ks": (100,)}, "some k from 1 to 8"),
        (torch.arange(20) % 2, {"kind": "knn", "ks": (0, -2)}, "some k from 1 to 8"),
    ]:
        with pytest.raises(ValueError, match=message) as error:
            accuracy(x, labels, **kwargs)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="members and width"):
        r2(x, x, test=(x[:, :1], x))
    for fitted, scored in ((x, x[:, :1]), (x[:, 0], x), (x[:, :1], x)):
        for kind in (*KINDS, "kernel"):
            with pytest.raises(ValueError, match=r"test target: expected . columns") as error:
                r2(x, fitted, test=(x, scored), kind=kind)
            assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("probe", "kind"),
    [(r2, k) for k in ("linear", "mlp", "kernel")] + [(accuracy, k) for k in ("linear", "mlp", "knn")],
)
def test_unknown_options_and_no_penalties_are_one_line(probe: Any, kind: str):
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    target = torch.arange(20) % 2
    with pytest.raises(ValueError, match=r"network: expected options among .*, found \['foo'\]") as error:
        probe(x, target, kind=kind, foo=1)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="penalties: expected one penalty or more, found none"):
        probe(x, target, kind=kind, penalties=())
