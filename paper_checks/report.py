"""The report: one self-contained page, and a summary to paste, made from what lies in the claims' folders.

Everything is read back from disk, so that the page shows all claims that were ever run into this folder,
and a run of one claim does not lose the others. Each shows its own provenance.
"""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import jinja2
from latex2mathml.converter import convert
from markupsafe import Markup

from paper_checks import PARTS
from paper_checks.cache import write_atomically
from paper_checks.finding import Finding, Verdict

SIGNS = {Verdict.HOLDS: "✓", Verdict.FAILS: "✗", Verdict.INCONCLUSIVE: "?"}
OTHER = "other"
PIXELS_OF_PNG_PER_CSS_PIXEL = 1.5
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def build(out: Path) -> Path:
    """Write `index.html` and `summary.md` into `out`; return the page's path."""
    records = collect(out)
    page = (
        _environment().get_template("report.html.j2").render(claims=records, parts=by_part(records), **counts(records))
    )
    write_atomically(out / "index.html", page.encode())
    write_atomically(out / "summary.md", summary(records).encode())
    return out / "index.html"


def collect(out: Path) -> list[dict[str, Any]]:
    """Every claim's record with what a page needs beside it, in the order of the theory's parts."""
    order = {part: place for place, part in enumerate(PARTS)}
    records = [_record(path) for path in sorted(out.glob("*/findings.json"))]
    return sorted(records, key=lambda record: (order.get(record["part"], len(order)), record["claim"]))


def by_part(records: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Records under their part of the theory; parts without a claim are left out."""
    parts: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        parts.setdefault(record["part"], []).append(record)
    return parts


def counts(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How many claims have which verdict."""
    return {"counts": {str(v): sum(r["verdict"] == v for r in records) for v in Verdict}}


def _record(path: Path) -> dict[str, Any]:
    plain = json.loads(path.read_bytes())
    findings = [Finding.from_json(finding) for finding in plain["findings"]]
    control = [Finding.from_json(finding) for finding in plain["control"] or []]
    figure = path.with_name("figure.png")
    return {
        **plain,
        "part": plain["part"] or OTHER,
        "sign": SIGNS[Verdict(plain["verdict"])],
        "mathml": _mathml(plain["formula"]),
        "rows": [_row(finding, control) for finding in findings],
        "figure": _embedded(figure),
        "quoted": in_words(quoted(findings)) if findings else "",
        "folder": path.parent.name,
        "log": path.with_name("errors.log").exists(),
        "rerun": rerun(plain),
        "control_failed": all(f.verdict is Verdict.FAILS for f in control if f.controlled),
        "config_text": json.dumps(plain["config"], indent=1),
    }


def _embedded(figure: Path) -> dict[str, Any] | None:
    """A PNG as base64 with the width, in CSS pixels, at which its text has the size of the page's."""
    if not figure.exists():
        return None
    data = figure.read_bytes()
    pixels = int.from_bytes(data[16:20], "big")
    return {"data": base64.b64encode(data).decode(), "width": round(pixels / PIXELS_OF_PNG_PER_CSS_PIXEL)}


def _row(finding: Finding, control: Sequence[Finding]) -> dict[str, Any]:
    """A line of the table of findings, in words."""
    broken = next((other for other in control if other.name == finding.name), None)
    return {
        "name": finding.name,
        "reason": finding.reason,
        "estimate": with_unit(finding),
        "interval": interval(finding),
        "level": "" if finding.kind == "exact" else f"{100 * finding.level:.3g} %",
        "bound": f"{sign(finding.side)} {number(finding.bound)}",
        "verdict": str(finding.verdict),
        "sign": SIGNS[finding.verdict],
        "words": finding.words,
        "seeds": finding.seeds,
        "control": None if broken is None else _control(broken),
    }


def _control(broken: Finding) -> dict[str, Any]:
    if not broken.controlled:
        wanted = "free to come out either way"
    else:
        wanted = "as it must" if broken.verdict is Verdict.FAILS else "but it must fail"
    return {
        "estimate": number(broken.estimate),
        "interval": interval(broken),
        "verdict": str(broken.verdict),
        "wanted": wanted,
    }


def rerun(plain: Mapping[str, Any]) -> str:
    """The command that makes a claim's results again."""
    about = plain["provenance"]
    seeds = f" --seeds {about['seeds']}" if about["seeds"] is not None else ""
    return f"python -m paper_checks {plain['claim']} --profile {about['profile']} --device {about['device']}{seeds}"


def number(value: float) -> str:
    """Three significant digits; powers of ten where that is shorter."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else str(value)
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}" if abs(value) >= 1000 else f"{value:.3g}"
    digits, power = f"{value:.2g}".split("e") if "e" in f"{value:.2g}" else f"{value:.1e}".split("e")
    raised = str(int(power)).translate(SUPERSCRIPT)
    return f"10{raised}" if digits in ("1", "1.0") else f"{digits} × 10{raised}"


def sign(side: str) -> str:
    """The side of a bound as a mathematical sign."""
    return {">=": "≥", "<=": "≤"}[side]


def interval(finding: Finding) -> str:
    """The interval in brackets; none for an identity, whose error is a single number."""
    return "" if finding.kind == "exact" else f"[{number(finding.low)}, {number(finding.high)}]"


def with_unit(finding: Finding) -> str:
    return f"{number(finding.estimate)} {finding.unit}".strip()


def in_words(finding: Finding) -> str:
    """A finding in one line: name, estimate, interval, bound."""
    parts = (f"{finding.name}:", with_unit(finding), interval(finding), sign(finding.side), number(finding.bound))
    return " ".join(part for part in parts if part)


def _mathml(formula: str) -> Markup:
    """MathML of a LaTeX formula; the LaTeX itself where it cannot be converted."""
    try:
        return Markup(convert(formula, display="block"))
    except Exception:
        return Markup(f"<code>{escape(formula)}</code>")


def summary(records: Sequence[dict[str, Any]]) -> str:
    """Markdown: a table of verdicts, part by part, with profile, date and machine below."""
    lines = ["| part | claim | verdict | decided by |", "|---|---|---|---|"]
    for record in records:
        words = record["reasons"][0] if record["reasons"] else record["quoted"]
        cells = (record["part"], record["claim"], f"{record['sign']} {record['verdict']}", words)
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    made = sorted({provenance_line(record["provenance"]) for record in records})
    return "\n".join([*lines, "", *(f"Made with {line}." for line in made), ""])


def quoted(findings: Sequence[Finding]) -> Finding:
    """The finding to quote where all hold: the first that the control must break, else the first."""
    return next((finding for finding in findings if finding.controlled), findings[0])


def provenance_line(about: Mapping[str, Any]) -> str:
    """Profile, day, torch, machine and commit in one line."""
    commit = f", commit {about['commit'][:10]}" if about["commit"] else ""
    day, torch = about["started"][:10], about["versions"]["torch"]
    return f"profile {about['profile']}, {day}, torch {torch}, {about['machine']}{commit}"


@cache
def _environment() -> jinja2.Environment:
    loader = jinja2.PackageLoader("paper_checks")
    return jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
