"""Bounds on information from their scores: exact expectations over a small table, laws, gradients, what is refused."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from torch import Tensor

from ssl_theory.analysis import information
from tests import references
from tests.analysis.pairs import JOINT, LOG_CONDITIONAL, LOWER, PMI, TRUTH, correlated, gaussian_scores, pmi


@given(st.integers(2, 6), st.integers(0, 99))
def test_layout_puts_the_true_pair_first(n: int, seed: int):
    square = torch.rand(2, n, n, generator=torch.Generator().manual_seed(seed))
    turned = information.positives_first(square)
    assert torch.equal(turned[..., 0], square.diagonal(dim1=-2, dim2=-1))
    for i in range(n):
        for k in range(n):
            assert torch.equal(turned[:, i, k], square[:, i, (i + k) % n])


@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 5))
@pytest.mark.parametrize("name", LOWER)
def test_lower_bounds_are_below_the_truth_for_any_critic(name: str, seed: int, scale: float):
    critic = scale * torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert references.exact_expectation(LOWER[name], JOINT, critic, K=4) <= TRUTH + 1e-12


def test_lower_bounds_are_tight_at_their_optimal_critics():
    for bound, critic in ((information.nwj, 1 + PMI), (information.tuba, PMI)):
        assert references.exact_expectation(bound, JOINT, critic, K=3) == pytest.approx(TRUTH, abs=1e-12)
    found = [references.exact_expectation(information.info_nce, JOINT, PMI, K=k) for k in (2, 3, 5)]
    assert found[0] < found[1] < found[2] < TRUTH
    assert references.exact_expectation(information.info_nce, JOINT, PMI + torch.randn(1, 3), K=3) == pytest.approx(
        found[1]
    )


def test_upper_bounds_are_above_the_truth_with_the_exact_conditional():
    for critic in (LOG_CONDITIONAL, PMI):
        one_out = references.exact_expectation(lambda s: information.leave_one_out(s).upper, JOINT, critic, K=4)
        club = references.exact_expectation(information.club, JOINT, critic, K=3)
        lower = references.exact_expectation(lambda s: information.leave_one_out(s).lower, JOINT, critic, K=4)
        assert lower < TRUTH < min(one_out, club)
    product = JOINT.sum(1, keepdim=True) * JOINT.sum(0)
    assert club == pytest.approx(TRUTH + float((product * torch.log(product / JOINT)).sum()))


def test_upper_bounds_fail_with_a_wrong_conditional():
    wrong = 0.2 * LOG_CONDITIONAL
    for bound in (information.club, lambda s: information.leave_one_out(s).upper):
        assert references.exact_expectation(bound, JOINT, wrong, K=4) < TRUTH


def test_barber_agakov_is_exact_for_the_exact_conditional():
    pairs = references.as_sample(JOINT, 100)
    log_q = LOG_CONDITIONAL[pairs[:, 0], pairs[:, 1]]
    marginal = JOINT.sum(0)
    entropy = -float((marginal * marginal.log()).sum())
    assert information.barber_agakov_lower(log_q, entropy) == pytest.approx(TRUTH)
    assert information.barber_agakov_lower(log_q - 0.1, entropy) < TRUTH
    assert information.barber_agakov_upper(log_q, marginal.log()[pairs[:, 1]]) == pytest.approx(TRUTH)
    uniform = torch.full((len(pairs),), -math.log(3), dtype=torch.float64)
    assert information.barber_agakov_upper(log_q, uniform) > TRUTH


def test_jensen_shannon_at_the_pmi_is_the_divergence():
    product = JOINT.sum(1, keepdim=True) * JOINT.sum(0)
    divergence = jensenshannon(JOINT.flatten().numpy(), product.flatten().numpy()) ** 2
    found = references.exact_expectation(information.jensen_shannon, JOINT, PMI, K=2)
    assert found == pytest.approx(2 * divergence - math.log(4))
    assert references.exact_expectation(information.jensen_shannon, JOINT, PMI + 0.1, K=2) < found


def test_donsker_varadhan_errs_upwards_on_few_samples_and_not_on_many():
    few, more = (references.exact_expectation(information.donsker_varadhan, JOINT, PMI, K=k) for k in (2, 5))
    assert few > more > TRUTH
    rho = math.sqrt(1 - math.exp(-2))
    many = information.positives_first(pmi(*correlated(1500, rho, 1), rho))
    assert information.donsker_varadhan(many).item() == pytest.approx(1, abs=0.1)


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), shift=st.floats(-3, 3))
def test_laws_between_bounds(seed: int, shift: float):
    g = torch.Generator().manual_seed(seed)
    s = 2 * torch.randn(3, 6, 5, generator=g, dtype=torch.float64)
    rows = torch.randn(3, 6, 1, generator=g, dtype=torch.float64)
    same(information.info_nce(s + rows), information.info_nce(s))
    same(information.donsker_varadhan(s + shift), information.donsker_varadhan(s))
    assert (information.nwj(s + shift) <= information.donsker_varadhan(s) + 1e-9).all()
    same(information.tuba(s + rows, rows[..., 0]), information.tuba(s))
    same(information.interpolated(s, 0.0, 0.4), information.tuba(s, 0.4))
    same(information.interpolated(s, 1.0), information.info_nce(s[..., :-1]))
    same(information.smile(s, 1e9), information.donsker_varadhan(s))
    assert (information.info_nce(10 * s) <= math.log(5) + 1e-9).all()
    assert (information.interpolated(s, 0.5) <= 1 + math.log(4 / 0.5)).all()
    same(information.info_nce(s), references.info_nce_bound(s))


def test_smile_clips_both_tails():
    s = torch.tensor([[0.0, 100.0], [0.0, -100.0]], dtype=torch.float64)
    expected = -math.log((math.exp(2) + math.exp(-2)) / 2)
    assert information.smile(s, 2.0).item() == pytest.approx(expected)


def test_mine_gradient_is_corrected():
    """First step: Donsker-Varadhan's gradient. With the true average: unbiased, which the plain one is not."""
    theta = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    s = gaussian_scores(1.0, 2, n=6, batches=1)[0]
    plain, value = (
        torch.autograd.grad(f, theta)[0]
        for f in (information.donsker_varadhan(theta * s), information.mine(theta * s, None)[0])
    )
    assert value == pytest.approx(plain.item())

    def slope(scores: Tensor, average: Tensor | None) -> Tensor:
        objective = (
            information.donsker_varadhan(scores)
            if average is None
            else information.mine(scores, average, rate=1e-12)[0]
        )
        return torch.autograd.grad(objective, theta, retain_graph=True)[0]

    product = JOINT.sum(1, keepdim=True) * JOINT.sum(0)
    log_partition = torch.log((product * (theta * PMI).exp()).sum())
    true = torch.autograd.grad((JOINT * theta * PMI).sum() - log_partition, theta, retain_graph=True)[0].item()
    expected = {}
    p, xs, y = references.draws(JOINT, 2)
    for average in (None, log_partition.detach()):
        slopes = torch.stack([slope((theta * PMI)[row, k][None], average) for row, k in zip(xs, y, strict=True)])
        expected[average is None] = float((p * slopes).sum())
    assert expected[False] == pytest.approx(true, abs=1e-9)
    assert abs(expected[True] - true) > 1e-3


def test_mine_average_moves_slowly():
    s = gaussian_scores(1.0, 2, n=6, batches=1)[0]
    _, first = information.mine(s, None, rate=0.1)
    _, second = information.mine(s + 1, first, rate=0.1)
    assert second.exp() == pytest.approx(float(0.9 * first.exp() + 0.1 * math.e * first.exp()))


def test_batches_are_independent_and_kinds_preserved():
    s = gaussian_scores(1.0, 2, n=8, batches=3)
    spoilt = s.clone()
    spoilt[1, 0, 0] = torch.nan
    every = [*LOWER.values(), information.club, information.smile, information.jensen_shannon]
    for bound in every:
        found = bound(spoilt)
        assert found.isnan().tolist() == [False, True, False]
        assert found[0] == bound(s[0])
        assert bound(s.numpy()).tolist() == pytest.approx(bound(s).tolist())
    assert isinstance(information.nwj(s.numpy()), np.ndarray)
    assert isinstance(information.leave_one_out(s.numpy()).upper, np.ndarray)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_scores_of_16_bits_are_summed_in_single_precision(kind: torch.dtype):
    """Of 2,048 equal terms a sum in 16 bits stops growing, of small ones long before."""
    s = gaussian_scores(1.0, 2, n=256, batches=2).to(kind)
    for bound in [*LOWER.values(), information.club, information.smile, information.jensen_shannon]:
        found = bound(s)
        assert found.dtype == torch.float32
        assert torch.equal(found, bound(s.float()))
    row = torch.full((5000,), 0.1, dtype=kind)
    assert information.barber_agakov_lower(row, 0.0) == pytest.approx(float(row[0]), rel=1e-5)
    assert information.nwj(s.half().numpy()).dtype == np.float32


def test_bad_input_is_one_line():
    s = torch.zeros(4, 4)
    for call, message in [
        (lambda: information.info_nce(torch.zeros(4)), "K >= 2"),
        (lambda: information.interpolated(torch.zeros(4, 2), 0.5), "K >= 3"),
        (lambda: information.interpolated(s, 1.5), r"alpha: expected in \[0, 1\]"),
        (lambda: information.positives_first(torch.zeros(3, 4)), "all pairs"),
        (lambda: information.nwj(torch.zeros(3, 4, dtype=torch.int64)), "floating-point"),
    ]:
        with pytest.raises(ValueError, match=message) as error:
            call()
        assert "\n" not in str(error.value)


def test_arguments_that_do_not_fit_are_refused_in_one_line():
    s, row = torch.zeros(2, 4, 5), torch.zeros(4)
    for call, message in [
        (lambda: information.positives_first(row), r"expected \(\*batch, n, n\), found \(4,\)"),
        (lambda: information.positives_first(torch.tensor(1.0)), "found \\(\\)"),
        (lambda: information.tuba(s, torch.zeros(5)), r"log_baseline: expected .* \(2, 4\), found \(5,\)"),
        (lambda: information.interpolated(s, 0.5, torch.zeros(3, 2, 4)), r"found \(3, 2, 4\)"),
        (lambda: information.barber_agakov_lower(torch.zeros(4, dtype=torch.int64), 1.0), "floating-point"),
        (lambda: information.barber_agakov_lower(-1.5, 1.0), r"log_conditional: expected .* found \(\)"),
        (lambda: information.barber_agakov_lower(row, [1.0, 2.0]), r"entropy: expected .* found \(2,\)"),
        (lambda: information.barber_agakov_upper(row, torch.zeros(3)), r"log_marginal: expected .* found \(3,\)"),
        (lambda: information.smile(s, clip=-1.0), "clip: expected tau >= 0, found -1"),
        (lambda: information.gaussian_information([0.5, -1.5]), r"expected in \[-1, 1\], found 1.5"),
    ]:
        with pytest.raises(ValueError, match=message) as error:
            call()
        assert "\n" not in str(error.value)


def test_lists_arrays_and_whole_numbers_are_read_and_the_kind_comes_back():
    q = [-1.0, -2.0, -3.0]
    assert information.barber_agakov_lower(q, 3) == 1
    assert information.barber_agakov_upper(np.array(q), [-2.0, -3.0, -4.0]) == 1
    assert information.barber_agakov_lower(torch.tensor([q, q]), torch.tensor([3.0, 4.0])).tolist() == [1, 2]
    assert information.gaussian_information([0, 1]) == math.inf
    s = np.random.default_rng(0).normal(size=(2, 4, 5))
    value, average = information.mine(s, None)
    again = information.mine(s, average)
    assert all(isinstance(x, np.ndarray) for x in (value, average, *again))
    expected = information.mine(torch.from_numpy(s), torch.from_numpy(average))
    assert [x.tolist() for x in again] == [x.tolist() for x in expected]
