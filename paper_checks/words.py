"""Numbers and findings as short text: the same on the terminal, in the report and in the summary."""

import math
from collections.abc import Sequence

from paper_checks.finding import Finding, Verdict

SIGNS = {Verdict.HOLDS: "✓", Verdict.FAILS: "✗", Verdict.INCONCLUSIVE: "?"}
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float) -> str:
    """Three significant digits; powers of ten where that is shorter."""
    if math.isnan(value):
        return "not a number"
    minus, size = "−" if value < 0 else "", abs(value)
    if size == 0 or 1e-3 <= size < 1e5 or math.isinf(size):
        return minus + (f"{size:.4g}" if size >= 1000 else f"{size:.3g}")
    digits, power = f"{size:.1e}".split("e")
    raised = f"10{str(int(power)).translate(SUPERSCRIPT)}"
    return minus + (raised if digits == "1.0" else f"{digits} × {raised}")


def sign(side: str) -> str:
    """The side of a bound as a mathematical sign."""
    return {">=": "≥", "<=": "≤"}[side]


def interval(finding: Finding) -> str:
    """The interval in brackets; none for an identity, whose error is a single number."""
    return "" if finding.kind == "exact" else f"[{number(finding.low)}, {number(finding.high)}]"


def with_unit(finding: Finding) -> str:
    """The estimate with its unit."""
    return f"{number(finding.estimate)} {finding.unit}".strip()


def in_words(finding: Finding) -> str:
    """A finding in one line: name, estimate, interval, bound."""
    parts = (f"{finding.name}:", with_unit(finding), interval(finding), sign(finding.side), number(finding.bound))
    return " ".join(part for part in parts if part)


def why_not(finding: Finding) -> str:
    """Why a finding does not hold, with its numbers, where it has any, and what was asked of them."""
    if any(math.isnan(value) for value in (finding.estimate, finding.low, finding.high, finding.bound)):
        return f"{finding.name}: {finding.words}"
    found = " ".join(part for part in (with_unit(finding), interval(finding)) if part)
    return f"{finding.name}: {found}, asked {sign(finding.side)} {number(finding.bound)}; {finding.words}"


def quoted(findings: Sequence[Finding]) -> Finding:
    """The finding to quote where all hold: of those that the control must break, if any, the nearest to its bound.

    The first of those that are equally near.
    """
    return min([finding for finding in findings if finding.controlled] or findings, key=_room)


def _room(finding: Finding) -> float:
    """How far the interval's end is from its bound, as a share of the larger of bound and estimate, in hundredths."""
    distance = finding.low - finding.bound if finding.side == ">=" else finding.bound - finding.high
    size = max(abs(finding.bound), abs(finding.estimate))
    return math.inf if math.isnan(distance) or size == 0 else round(distance / size, 2)


def decisive(findings: Sequence[Finding]) -> str:
    """What decides several findings, in words: why the first does not hold that fails, or else is undecided."""
    for worst in (Verdict.FAILS, Verdict.INCONCLUSIVE):
        for finding in findings:
            if finding.verdict is worst:
                return why_not(finding)
    return in_words(quoted(findings)) if findings else ""
