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
    """The finding to quote where all hold: the first that the control must break, else the first."""
    return next((finding for finding in findings if finding.controlled), findings[0])


def decisive(findings: Sequence[Finding]) -> str:
    """What decides several findings, in words: why the first does not hold that fails, or else is undecided."""
    for worst in (Verdict.FAILS, Verdict.INCONCLUSIVE):
        for finding in findings:
            if finding.verdict is worst:
                return why_not(finding)
    return in_words(quoted(findings)) if findings else ""
