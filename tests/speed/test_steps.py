"""Steps are compared within a repeat, not between moments; what is fast but wrong is not chosen."""

import sys
from argparse import Namespace
from types import SimpleNamespace

import pytest

from speed import benchmarks, steps, views
from ssl_theory.benchmarks import arithmetic


@pytest.fixture
def clock(monkeypatch):
    """The time, which calls move on."""
    time = [0.0]
    monkeypatch.setattr(views, "time", SimpleNamespace(perf_counter=lambda: time[0]))
    return time


def test_calls_take_turns_and_the_first_round_does_not_count(clock):
    order: list[str] = []

    def call(name: str, seconds: float):
        def body() -> None:
            order.append(name)
            clock[0] += seconds * len(order)

        return body

    took = views.in_turn({"a": call("a", 1), "b": call("b", 10)}, 2)
    assert order == ["a", "b"] * 3
    assert took == {"a": [3, 5], "b": [40, 60]}


def test_a_machine_that_slows_down_changes_no_ratio(clock):
    """Each repeat twice as slow as the one before: what is three times as slow a step stays that."""
    pace = [1.0]

    def course(steps_: int, cost: float, slower: float = 1.0) -> steps.Course:
        def body() -> None:
            clock[0] += pace[0] * cost * steps_
            pace[0] *= slower

        return steps.Course(body, steps_)

    courses = {steps.BARE: course(2, 0.001), steps.LOOP: course(4, 0.006), steps.FIT: course(10, 0.003, slower=2)}
    took = steps.milliseconds(courses, Namespace(repeats=3, device="cpu"))
    assert took[steps.BARE] == pytest.approx([2, 4, 8])
    assert steps.step_row("", 1, steps.FIT, took)["against"] == "3.00 of bare, 2.00 times the loop's images/s"
    assert steps.step_row("", 1, steps.LOOP, took) == {
        "part": "step", "what": "", "threads": 1, "value": 24.0, "unit": "ms/step", "against": "6.00 of bare",
    }  # fmt: skip


def test_views_are_compared_within_a_repeat():
    rates = {views.PIL: [10.0, 40.0, 20.0], "ours": [50.0, 80.0, 60.0]}
    assert views.views_row("ours", 28, 1, 2, rates) == {
        "part": "augmentation", "what": "28 x 28 grey, ours", "threads": 2, "value": 60, "unit": "images/s",
        "against": "3.0 of PIL",
    }  # fmt: skip


def test_the_fastest_arithmetic_is_one_whose_gradient_is_near():
    took = {name: [1.0 + number] for number, name in enumerate(reversed(arithmetic.PRODUCTS))} | {steps.BARE: [9.0]}
    errors = dict.fromkeys(arithmetic.PRODUCTS, 1e-7)
    assert steps.fastest(took, errors) == "bf16-mixed"
    assert steps.fastest(took, errors | {"bf16-mixed": 2 * arithmetic.MOST_ERROR}) == "32-medium"


def test_the_report_says_the_command_that_was_run(monkeypatch, tmp_path):
    row = {"part": "step", "what": "a", "threads": 1, "value": 1, "unit": "ms/step", "against": ""}
    monkeypatch.setattr(benchmarks, "PARTS", {"step": lambda _: iter([row])})
    monkeypatch.setattr(sys, "argv", ["benchmarks.py", "step", "--repeats", "3", "--output", f"{tmp_path}/a b.md"])
    benchmarks.main()
    written = (tmp_path / "a b.md").read_text()
    assert f"Command: `python -m speed.benchmarks step --repeats 3 --output '{tmp_path}/a b.md'`." in written
