"""The report: one self-contained page, and a summary to paste, made from what lies in the claims' folders.

Everything is read back from disk, so that the page shows all claims that were ever run into this folder,
and a run of one claim does not lose the others. Each shows its own provenance.
"""

import base64
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import jinja2
from latex2mathml.converter import convert
from markupsafe import Markup

from paper_checks import PARTS, own, summary
from paper_checks.cache import write_atomically
from paper_checks.finding import Finding, Verdict
from paper_checks.words import SIGNS, asked, decisive, in_words, interval, number, quoted, shown, with_unit

OTHER = "other"
SIZED_NORM = re.compile(r"\\[Bb]igg?[lmr]?(?=\\\|)")  # latex2mathml knows \| but not \Big\|
NAMED = re.compile(r"(<mi>(?:log|exp|det|tr|min|max|sd|dim)</mi>)(?=<m(?:i|sub|sup|subsup|frac|row)>)")
PIXELS_OF_PNG_PER_CSS_PIXEL = 1.5


def build(out: Path) -> Path:
    """Write `index.html`, a page for each claim, `summary.md` and `summary.pdf` into `out`; return the first."""
    records, unread = collect(out)
    templates = environment()
    for record in records:
        write_atomically(out / record["folder"] / "index.html", record["page"].encode())
    whole = {"claims": records, "parts": by_part(records), "counts": counts(records), "unread": unread}
    write_atomically(out / "index.html", templates.get_template("report.html.j2").render(whole).encode())
    write_atomically(out / "summary.md", summary.markdown(records).encode())
    write_atomically(out / "summary.pdf", summary.pdf(records))
    return out / "index.html"


def collect(out: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Every claim's record, in the order of the theory's parts; and the folders whose record cannot be read.

    A record that lacks what its page or the summary says is another version's, and cannot be read either.
    """
    order = {part: place for place, part in enumerate(PARTS)}
    records, unread = [], []
    for path in sorted(out.glob("*/findings.json")):
        try:
            record = _record(path)
            record["page"] = environment().get_template("page.html.j2").render(claim=record)
            summary.markdown([record])
            records.append(record)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, jinja2.UndefinedError):
            unread.append(path.parent.name)
    return sorted(records, key=lambda record: (order.get(record["part"], len(order)), record["claim"])), unread


def by_part(records: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Records under their part of the theory; parts without a claim are left out."""
    parts: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        parts.setdefault(record["part"], []).append(record)
    return parts


def counts(records: Sequence[dict[str, Any]]) -> dict[str, int]:
    """How many claims have which verdict."""
    return {str(verdict): sum(record["verdict"] == verdict for record in records) for verdict in Verdict}


def _record(path: Path) -> dict[str, Any]:
    plain = json.loads(path.read_bytes())
    findings = [Finding.from_json(finding) for finding in plain["findings"]]
    control = [Finding.from_json(finding) for finding in plain["control"] or []]
    asked = [finding for finding in control if finding.controlled]
    lost = {finding.name for finding in findings if finding.controlled} - {finding.name for finding in asked}
    figure, code = path.with_name("figure.png"), path.with_name(plain["file"])
    return {
        **plain,
        "part": plain["part"] or OTHER,
        "sign": SIGNS[Verdict(plain["verdict"])],
        "mathml": mathml(plain["formula"]),
        "rows": [_row(finding, control) for finding in findings],
        "figure": _embedded(figure),
        "quoted": in_words(quoted(findings)) if findings else "",
        "of own": decisive([finding for finding in findings if finding.own]),
        "folder": path.parent.name,
        "code": code.read_text(encoding="utf-8", errors="replace") if code.is_file() else "",
        "log": path.with_name("errors.log").exists(),
        "rerun": rerun(plain),
        "with_own": summary.with_own(plain),
        "control_asked": bool(asked) and not lost,
        "control_failed": all(finding.verdict is Verdict.FAILS for finding in asked),
        "config_text": json.dumps(plain["config"]),
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
        "measured": "" if finding.centre is None else f"{number(finding.mean)} against {number(finding.centre)}",
        "interval": interval(finding),
        "level": "" if finding.kind == "exact" else f"{100 * finding.level:.3g} %",
        "bound": asked(finding),
        "verdict": str(finding.verdict),
        "sign": SIGNS[finding.verdict],
        "words": finding.words,
        "seeds": finding.seeds,
        "control": None if broken is None else _control(broken, finding),
    }


def _control(broken: Finding, finding: Finding) -> dict[str, Any]:
    if not broken.controlled and broken.estimate == finding.estimate:
        wanted = "not changed by the control"
    elif not broken.controlled:
        wanted = "free to come out either way"
    else:
        wanted = "as it must" if broken.verdict is Verdict.FAILS else "but it must fail"
    return {
        "estimate": shown(broken).estimate,
        "interval": interval(broken),
        "verdict": str(broken.verdict),
        "wanted": wanted,
    }


def rerun(plain: Mapping[str, Any]) -> str:
    """The command that makes a claim's results again."""
    about = plain["provenance"]
    words = [plain["argument"], "--profile", about["profile"], "--device", about["device"]]
    seeded = about["seeds"] is not None and "seeds" in (plain["config"] or about)  # no config: it was not reached
    words += ["--seeds", str(about["seeds"])] if seeded else []
    for option in ("learner", "world"):
        if given := about.get(option):
            words += [f"--{option}", own.typed(given)]
    for key, value in about.get("changes", {}).items():
        words += ["--set", f"{key}={json.dumps(value)}"]
    for folder in about.get("bench", ()):
        words += ["--bench", folder]
    return f"python -m paper_checks {shlex.join(words)}"


def mathml(formula: str) -> Markup:
    """MathML of a LaTeX formula; the LaTeX itself where it cannot be converted."""
    try:
        plain = convert(SIZED_NORM.sub("", formula), display="block")
        return Markup(NAMED.sub(r'\1<mspace width="0.17em"/>', plain))
    except Exception:
        return Markup(f"<code>{escape(formula)}</code>")


@cache
def environment() -> jinja2.Environment:
    """Templates of the package: nothing undefined is let through; what goes into HTML is escaped."""
    loader = jinja2.PackageLoader("paper_checks")
    return jinja2.Environment(
        loader=loader,
        autoescape=jinja2.select_autoescape(("html", "html.j2")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
