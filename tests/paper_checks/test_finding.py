"""Findings: the verdict is a function of interval, bound and side; the intervals cover what they say."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paper_checks.finding import Finding, Verdict, holm

numbers = st.floats(-1e6, 1e6)


def plain(low: float, high: float, bound: float, side: str, estimate: float | None = None) -> Finding:
    middle = (low + high) / 2 if estimate is None else estimate
    return Finding(name="f", estimate=middle, low=low, high=high, bound=bound, side=side)  # type: ignore[arg-type]


@given(numbers, st.floats(0, 1e3), numbers)
def test_verdict_says_where_the_interval_lies(low: float, width: float, bound: float):
    high = low + width
    verdict = plain(low, high, bound, ">=").verdict
    assert (verdict is Verdict.HOLDS) == (low >= bound)
    assert (verdict is Verdict.FAILS) == (high < bound)
    assert (verdict is Verdict.INCONCLUSIVE) == (low < bound <= high)


@given(numbers, st.floats(0, 1e3), numbers)
def test_sides_mirror_each_other(low: float, width: float, bound: float):
    assert plain(low, low + width, bound, ">=").verdict is plain(-low - width, -low, -bound, "<=").verdict


@pytest.mark.parametrize("place", ["estimate", "low", "high", "bound"])
@pytest.mark.parametrize("side", [">=", "<="])
def test_nan_anywhere_is_inconclusive_with_a_reason(place: str, side: str):
    values = {"estimate": 1.0, "low": 1.0, "high": 1.0, "bound": 1.0, place: math.nan}
    finding = Finding(name="f", side=side, **values)  # type: ignore[arg-type]
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "not a number" in finding.words


def test_infinite_error_fails_and_touching_holds():
    assert Finding.exact("e", [0.0, math.inf]).verdict is Verdict.FAILS
    assert Finding.exact("e", 1e-10, 1e-10).verdict is Verdict.HOLDS
    assert plain(0.5, 0.9, 0.5, ">=").verdict is Verdict.HOLDS


def test_exact_takes_the_worst_absolute_error():
    finding = Finding.exact("e", [[1e-12, -3e-9], [0.0, 1e-11]], 1e-10)
    assert finding.estimate == finding.low == finding.high == 3e-9
    assert finding.verdict is Verdict.FAILS
    assert Finding.exact("e", []).verdict is Verdict.INCONCLUSIVE
    assert Finding.exact("e", [0.0, math.nan]).verdict is Verdict.INCONCLUSIVE


def test_wrong_side_is_refused():
    with pytest.raises(ValueError, match="must be '>=' or '<='"):
        plain(0, 1, 0.5, ">")


def test_from_seeds_agrees_with_the_textbook():
    values = np.array([0.1, 0.4, 0.2, 0.35, 0.3])
    finding = Finding.from_seeds("f", values, ">=", 0.0)
    half = 2.7764451051977987 * values.std(ddof=1) / math.sqrt(5)  # t quantile, 4 degrees of freedom, 0.975
    assert finding.low == pytest.approx(values.mean() - half, rel=1e-12)
    assert finding.high == pytest.approx(values.mean() + half, rel=1e-12)
    assert finding.seeds == 5


@pytest.mark.parametrize("values", [[], [0.3]])
def test_fewer_than_two_seeds_have_no_interval(values: list[float]):
    assert Finding.from_seeds("f", values, ">=", -10.0).verdict is Verdict.INCONCLUSIVE


def test_one_nan_seed_is_inconclusive():
    assert Finding.from_seeds("f", [1.0, math.nan, 1.0], ">=", 0.0).verdict is Verdict.INCONCLUSIVE


def coverage(draws: np.ndarray, truth: float) -> float:
    findings = [Finding.from_seeds("f", row, ">=", 0.0) for row in draws]
    return float(np.mean([f.low <= truth <= f.high for f in findings]))


def test_t_interval_covers_at_five_seeds_and_the_percentile_bootstrap_does_not():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(2000, 5))
    assert coverage(draws, 0.0) == pytest.approx(0.95, abs=0.015)
    means = draws[:, rng.integers(0, 5, size=(500, 5))].mean(axis=2)
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    assert np.mean((low <= 0) & (high >= 0)) < 0.88


def test_t_interval_covers_skewed_scores_as_probes_give_them():
    """An R^2 near its ceiling, 1 - exp(noise) / 10: skewed as real scores are; a few per cent are lost at most."""
    rng = np.random.default_rng(1)
    draws = 1 - 0.1 * np.exp(0.5 * rng.normal(size=(2000, 5)))
    truth = 1 - 0.1 * math.exp(0.125)
    assert coverage(draws, truth) > 0.91


def test_near_folds_the_interval_about_the_target():
    across = Finding.near("slope", [2.9, 3.1, 3.0, 3.05, 2.95], 3.0, 0.15)
    assert across.low == 0.0
    assert 0.08 < across.high < 0.11
    assert across.verdict is Verdict.HOLDS
    below = Finding.near("slope", [1.9, 2.1, 2.0, 2.05, 1.95], 3.0, 0.15)
    assert below.low == pytest.approx(0.9, abs=0.02)
    assert below.estimate == pytest.approx(1.0)
    assert below.verdict is Verdict.FAILS
    assert Finding.near("slope", [2.0, 2.9, 3.4, 4.1, 2.6], 3.0, 0.15).verdict is Verdict.INCONCLUSIVE


def test_the_level_of_an_interval_is_holm_s_to_set_and_no_argument_of_a_claim_s_author():
    with pytest.raises(TypeError, match="level"):
        Finding.from_seeds("f", [1.0, 2.0], ">=", 0.5, level=0.5)
    with pytest.raises(TypeError, match="level"):
        Finding.exact("f", 0.0, level=0.5)


def test_monte_carlo_interval_is_normal():
    finding = Finding.from_standard_error("f", 1.0, 0.1, "<=", 1.2)
    assert finding.high == pytest.approx(1.0 + 1.959963984540054 * 0.1)
    assert finding.verdict is Verdict.HOLDS


def test_seeds_to_decide_is_the_least_number_that_decides():
    finding = Finding.from_seeds("f", [0.4, 0.8, 0.5, 0.9, 0.4], ">=", 0.5)
    needed = finding.seeds_to_decide()
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert needed is not None
    assert needed > 5
    assert f"about {needed} seeds" in finding.words
    spread = finding.standard_error * math.sqrt(5)

    def undecided(n: int) -> bool:
        alike = Finding.from_seeds("f", np.full(n, 0.0), ">=", 0.5)
        same = {"mean": 0.6, "estimate": 0.6, "standard_error": spread / math.sqrt(n)}
        return Finding(**{**alike.__dict__, **same}).at_level(0.95).verdict is Verdict.INCONCLUSIVE

    assert undecided(needed - 1)
    assert not undecided(needed)


def test_seeds_to_decide_is_silent_where_it_cannot_know():
    assert Finding.exact("e", 0.0).seeds_to_decide() is None
    assert Finding.from_seeds("f", [0.5, 0.5], ">=", 0.5).seeds_to_decide() is None
    assert Finding.from_seeds("f", [0.0, 1.0], ">=", 0.5).seeds_to_decide() is None


def test_an_undecided_finding_says_what_would_decide_where_that_is_no_number_of_seeds():
    far = Finding.from_seeds("f", [0.0, 1.0, 0.01, 0.98], ">=", 0.5)
    assert far.words == "the interval lies across the bound; it takes more than 1,000 seeds"
    drawn = Finding.from_standard_error("f", 1.0, 0.1, "<=", 1.1)
    assert drawn.words == "the interval lies across the bound; more draws, not more seeds, would decide"


@given(st.lists(st.floats(-2, 2), min_size=2, max_size=6), st.floats(-1, 1))
def test_json_round_trip_keeps_finding_and_verdict(values: list[float], bound: float):
    finding = Finding.from_seeds("f", values, ">=", bound, unit="nats", reason="why", controlled=True)
    text = json.dumps(finding.as_json(), allow_nan=False)
    back = Finding.from_json(json.loads(text))
    assert back == finding
    assert json.loads(text)["verdict"] == back.verdict


def test_json_round_trip_of_nan_and_infinity():
    finding = Finding(name="f", estimate=math.nan, low=-math.inf, high=math.inf, bound=1.0, side=">=")
    back = Finding.from_json(json.loads(json.dumps(finding.as_json(), allow_nan=False)))
    assert math.isnan(back.estimate)
    assert (back.low, back.high, back.verdict) == (-math.inf, math.inf, Verdict.INCONCLUSIVE)


def test_joint_verdict():
    holds, fails, open_ = Verdict.HOLDS, Verdict.FAILS, Verdict.INCONCLUSIVE
    assert Verdict.of([holds, holds]) is holds
    assert Verdict.of([holds, open_]) is open_
    assert Verdict.of([open_, fails, holds]) is fails
    assert Verdict.of([]) is open_


def test_holm_of_one_finding_changes_nothing_and_keeps_exact_ones():
    one = Finding.from_seeds("f", [0.1, 0.4, 0.2], ">=", 0.0)
    exact = Finding.exact("e", 0.0)
    assert holm([exact, one]) == [exact, one]


def test_holm_levels_step_down_from_the_surest():
    sure = Finding.from_seeds("sure", [1.0, 1.01, 0.99, 1.0], ">=", 0.0)
    less = Finding.from_seeds("less", [1.0, 1.4, 0.6, 1.2], ">=", 0.0)
    corrected = holm([less, sure])
    assert [f.name for f in corrected] == ["less", "sure"]
    assert corrected[1].level == pytest.approx(0.975)
    assert corrected[0].level == pytest.approx(0.95)


def test_holm_decides_nothing_after_the_first_that_it_cannot_decide():
    unsure = [Finding.from_seeds(str(i), [0.0, 1.0, 0.35 + i / 20, 0.4], ">=", 0.3) for i in range(4)]
    assert {f.level for f in holm(unsure)} == {1 - 0.05 / 4}


def test_holm_keeps_the_family_wise_error():
    """All means lie on their bounds, so every verdict but inconclusive is wrong."""
    rng = np.random.default_rng(2)
    families = rng.normal(size=(400, 6, 5))
    lists = [[Finding.from_seeds(str(i), row, ">=", 0.0) for i, row in enumerate(rows)] for rows in families]

    def wrong(findings: list[Finding]) -> bool:
        return any(f.verdict is not Verdict.INCONCLUSIVE for f in findings)

    assert np.mean([wrong(findings) for findings in lists]) > 0.18
    assert np.mean([wrong(holm(findings)) for findings in lists]) < 0.08


def test_holm_of_a_corrected_list_is_that_list():
    findings = [Finding.from_seeds(str(i), [0.6 + 0.1 * i, 0.8, 0.7], ">=", 0.5) for i in range(4)]
    corrected = holm(findings)
    assert corrected != findings
    assert holm(corrected) == corrected


def test_an_interval_that_touches_the_bound_from_the_wrong_side_is_undecided():
    assert plain(0.2, 0.3, 0.3, ">=").verdict is Verdict.INCONCLUSIVE
    assert plain(0.3, 0.4, 0.3, "<=").verdict is Verdict.INCONCLUSIVE


def test_seeds_to_decide_are_counted_at_the_level_that_decides():
    undecided = [Finding.from_seeds(str(i), [0.4, 0.8, 0.5, 0.9, 0.4], ">=", 0.5) for i in range(4)]
    alone, among = undecided[0].seeds_to_decide(), holm(undecided)[0].seeds_to_decide()
    assert alone is not None
    assert among is not None
    assert among > 1.5 * alone


def test_holm_takes_distances_in_the_order_of_the_end_that_they_are_near():
    """Means of 1 and 3 about a target of 2, tolerance 0.5: each is 0.5 beyond its end of the band, one surely."""
    sure = Finding.near("sure", [0.99, 1.0, 1.01, 1.0], 2.0, 0.5)
    less = Finding.near("less", [2.7, 3.0, 3.3, 3.0], 2.0, 0.5)
    assert [f.level for f in holm([less, sure])] == pytest.approx([0.95, 0.975])
