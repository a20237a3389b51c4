"""A claim's verdict from its findings, its control and its errors."""

from collections.abc import Callable

import pytest

from paper_checks.finding import Finding, Verdict
from paper_checks.judge import judge
from tests.paper_checks.conftest import House


def finding(name: str, estimate: float, *, width: float = 0.0, controlled: bool = False) -> Finding:
    low, high = estimate - width, estimate + width
    return Finding(name=name, estimate=estimate, low=low, high=high, bound=0.5, side=">=", controlled=controlled)


GOOD = [finding("a", 1.0, controlled=True), finding("b", 1.0)]
BROKEN = [finding("a", 0.0, controlled=True), finding("b", 1.0)]


def test_holds_when_all_hold_and_the_control_fails():
    assert judge(GOOD, BROKEN, []) == (Verdict.HOLDS, [])
    assert judge(GOOD, None, []) == (Verdict.HOLDS, [])


def test_fails_and_inconclusive_name_what_decided():
    verdict, reasons = judge([*GOOD, finding("c", 0.2)], BROKEN, [])
    assert verdict is Verdict.FAILS
    assert reasons == ["c: 0.2, asked ≥ 0.5; the error breaks the bound"]
    verdict, reasons = judge([*GOOD, finding("c", 0.5, width=0.1)], BROKEN, [])
    assert verdict is Verdict.INCONCLUSIVE
    assert reasons[0].startswith("c: 0.5, asked ≥ 0.5; the interval lies across the bound")


@pytest.mark.parametrize("lenient", [finding("a", 1.0, controlled=True), finding("a", 0.5, width=1, controlled=True)])
def test_a_control_that_does_not_fail_makes_the_claim_inconclusive_and_is_named(lenient: Finding):
    verdict, reasons = judge(GOOD, [lenient, finding("b", 0.0)], [])
    assert verdict is Verdict.INCONCLUSIVE
    assert len(reasons) == 1
    assert reasons[0].startswith("the control did not fail: a, ")


def test_one_lenient_of_two_controlled_findings_is_enough():
    both = [finding("a", 1.0, controlled=True), finding("b", 1.0, controlled=True)]
    verdict, reasons = judge(both, [finding("a", 0.0, controlled=True), finding("b", 1.0, controlled=True)], [])
    assert verdict is Verdict.INCONCLUSIVE
    assert "b, holds there" in reasons[0]


def test_a_control_without_controlled_findings_shows_nothing():
    verdict, reasons = judge([finding("b", 1.0)], [finding("b", 0.0)], [])
    assert verdict is Verdict.INCONCLUSIVE
    assert "no finding is marked controlled" in reasons[0]


def test_a_controlled_finding_that_the_control_lacks_is_named():
    verdict, reasons = judge(GOOD, [finding("other", 0.0, controlled=True)], [])
    assert verdict is Verdict.INCONCLUSIVE
    assert reasons == ["the control lacks the finding a"]


def test_errors_and_emptiness_are_never_holds():
    assert judge(GOOD, BROKEN, ["figure: ValueError: no"]) == (Verdict.INCONCLUSIVE, ["figure: ValueError: no"])
    assert judge(None, None, ["planning: x"])[0] is Verdict.INCONCLUSIVE
    assert judge([], None, []) == (Verdict.INCONCLUSIVE, ["no findings"])
    assert judge([finding("a", float("nan"))], None, [])[0] is Verdict.INCONCLUSIVE


def test_a_claim_whose_control_has_no_tasks_does_not_hold(house: House, cli: Callable[..., int]) -> None:
    claim = house.claim()
    text = claim.read_text()
    claim.write_text(text.replace('"mean": -1.0}', '"seeds": 0}'))
    assert claim.read_text() != text
    assert cli(claim) == 1
    assert house.record()["verdict"] == "inconclusive"
    assert house.record()["reasons"] == ["the control was not run: it has no tasks or no findings"]


def test_a_control_that_gives_nothing_was_not_run_and_no_claim_holds_by_it():
    verdict, reasons = judge(GOOD, [], [])
    assert verdict is Verdict.INCONCLUSIVE
    assert reasons == ["the control was not run: it has no tasks or no findings"]
    assert judge(None, None, []) == (Verdict.INCONCLUSIVE, ["nothing was computed: the claim has no tasks"])
