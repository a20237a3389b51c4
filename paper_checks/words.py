"""Numbers and findings as short text: the same on the terminal, in the report and in the summary."""

import math
import operator
from collections.abc import Callable, Sequence
from typing import NamedTuple

from paper_checks.finding import Finding, Verdict

SIGNS = {Verdict.HOLDS: "✓", Verdict.FAILS: "✗", Verdict.INCONCLUSIVE: "?"}
MOST_DIGITS = 18  # with these every float is itself, in powers of ten too
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float, digits: int = 3) -> str:
    """So many significant digits, and all before the point; powers of ten, with a digit less, where that is shorter."""
    if math.isnan(value):
        return "not a number"
    minus, size = "−" if value < 0 else "", abs(rounded(value, digits))
    if _is_plain(value):
        return minus + repr(size).removesuffix(".0")
    mantissa, power = f"{size:.{digits - 2}e}".split("e")
    raised = f"10{str(int(power)).translate(SUPERSCRIPT)}"
    return minus + (raised if float(mantissa) == 1 else f"{mantissa} × {raised}")


def rounded(value: float, digits: int) -> float:
    """The number that `number` writes."""
    if 1000 <= abs(value) < 1e5:
        return float(f"{value:.{digits - 3}f}")
    return float(f"{value:.{digits}g}" if _is_plain(value) else f"{value:.{digits - 2}e}")


def _is_plain(value: float) -> bool:
    return value == 0 or 1e-3 <= abs(value) < 1e5 or math.isinf(value)


class Shown(NamedTuple):
    """A finding's numbers as text."""

    estimate: str
    low: str
    high: str
    bound: str


def shown(
    finding: Finding,
    write: Callable[[float, int], str] = number,
    read: Callable[[float, int], float] = rounded,
) -> Shown:
    """The numbers with three digits, and more where one would seem to lie on the other side of its bound.

    `write`: a number and its digits to text; `read`: to the number that a reader takes that text for.
    """
    numbers = (finding.estimate, finding.low, finding.high)
    for digits in range(3, MOST_DIGITS + 1):
        bound = read(finding.bound, digits)
        enough = [_digits(value, finding, bound, read) for value in numbers]
        if None not in enough:
            break
    estimate, low, high = (write(value, some or MOST_DIGITS) for value, some in zip(numbers, enough, strict=True))
    return Shown(estimate, low, high, write(finding.bound, digits))


def _digits(value: float, finding: Finding, bound: float, read: Callable[[float, int], float]) -> int | None:
    """Fewest digits with which the number keeps or breaks the bound, as shown, as it does the true one."""
    if math.isnan(value) or math.isnan(bound):
        return 3
    keeps = operator.ge if finding.side == ">=" else operator.le
    true = keeps(value, finding.bound)
    return next((some for some in range(3, MOST_DIGITS + 1) if keeps(read(value, some), bound) == true), None)


def sign(side: str) -> str:
    """The side of a bound as a mathematical sign."""
    return {">=": "≥", "<=": "≤"}[side]


def interval(finding: Finding) -> str:
    """The interval in brackets; none for an identity, whose error is a single number."""
    numbers = shown(finding)
    return "" if finding.kind == "exact" else f"[{numbers.low}, {numbers.high}]"


def with_unit(finding: Finding) -> str:
    """The estimate with its unit."""
    return f"{shown(finding).estimate} {finding.unit}".strip()


def asked(finding: Finding) -> str:
    """The bound and on which side of it to lie."""
    return f"{sign(finding.side)} {shown(finding).bound}"


def in_words(finding: Finding) -> str:
    """A finding in one line: name, estimate, interval, bound."""
    parts = (f"{finding.name}:", with_unit(finding), interval(finding), asked(finding))
    return " ".join(part for part in parts if part)


def why_not(finding: Finding) -> str:
    """Why a finding does not hold, with its numbers, where it has any, and what was asked of them."""
    if any(math.isnan(value) for value in (finding.estimate, finding.low, finding.high, finding.bound)):
        return f"{finding.name}: {finding.words}"
    found = " ".join(part for part in (with_unit(finding), interval(finding)) if part)
    return f"{finding.name}: {found}, asked {asked(finding)}; {finding.words}"


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
