"""Numbers that decide are shown on the side of the bound that they lie on, and no longer than that takes."""

import runpy
from pathlib import Path

import pytest

from paper_checks.finding import Finding, Side
from paper_checks.words import in_words, number, rounded, why_not

DOCS = Path(__file__).parents[2] / "docs" / "verdicts.py"


def lying(estimate: float, side: Side, bound: float, half: float = 0.0) -> Finding:
    return Finding(name="f", estimate=estimate, low=estimate - half, high=estimate + half, bound=bound, side=side,
                   kind="seeds")  # fmt: skip


CASES = [
    (lying(0.8996, ">=", 0.9), "0.8996 [0.8996, 0.8996]", "0.9", "0.8996 | [0.8996, 0.8996] | >= 0.9"),
    (lying(0.9004, ">=", 0.9), "0.9 [0.9, 0.9]", "0.9", "0.9 | [0.9, 0.9] | >= 0.9"),
    (lying(0.9004, "<=", 0.9), "0.9004 [0.9004, 0.9004]", "0.9", "0.9004 | [0.9004, 0.9004] | <= 0.9"),
    (lying(0.95, ">=", 0.9, 0.0502), "0.95 [0.8998, 1]", "0.9", "0.95 | [0.8998, 1] | >= 0.9"),
    (lying(0.3333, ">=", 1 / 3), "0.333 [0.333, 0.333]", "0.3333", "0.333 | [0.333, 0.333] | >= 0.3333"),
    (lying(1.004e-10, "<=", 1e-10), "1.004 × 10⁻¹⁰ [1.004 × 10⁻¹⁰, 1.004 × 10⁻¹⁰]", "10⁻¹⁰",
     "1.004e-10 | [1.004e-10, 1.004e-10] | <= 1e-10"),
    (lying(1000.4, "<=", 1000.0), "1000.4 [1000.4, 1000.4]", "1000", "1000.4 | [1000.4, 1000.4] | <= 1000"),
    (lying(0.2, ">=", 0.9, 0.01), "0.2 [0.19, 0.21]", "0.9", "0.2 | [0.19, 0.21] | >= 0.9"),
]  # fmt: skip


@pytest.mark.parametrize(("finding", "found", "bound", "cells"), CASES)
def test_a_number_never_seems_to_lie_on_the_other_side_of_its_bound(
    finding: Finding, found: str, bound: str, cells: str
):
    mark = {">=": "≥", "<=": "≤"}[finding.side]
    assert in_words(finding) == f"f: {found} {mark} {bound}"
    assert why_not(finding).startswith(f"f: {found}, asked {mark} {bound}; ")
    row = runpy.run_path(str(DOCS))["row"]
    assert row(finding.as_json(), None).startswith(f"| f | {cells} |")


@pytest.mark.parametrize(
    ("value", "text"),
    [(999.6, "1000"), (12345.0, "12345"), (9999.6, "10000"), (99999.6, "100000"), (-999.6, "−1000"), (999.4, "999")],
)
def test_no_number_under_a_hundred_thousand_is_written_with_an_e(value: float, text: str):
    assert number(value) == text
    assert rounded(value, 3) == float(text.replace("−", "-"))
    assert runpy.run_path(str(DOCS))["number"](value).startswith(text[:4].replace("−", "-"))
