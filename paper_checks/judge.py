"""A claim's verdict, and everything that is written about it once its tables are there.

An error anywhere (in planning, a task, the findings, the figure) makes the claim *inconclusive* with a
one-line reason, and leaves a traceback in `errors.log` of its folder.
"""

import hashlib
import inspect
import io
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

import matplotlib
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure

from figures import look
from paper_checks.cache import write_together
from paper_checks.claim import Claim, Config, Finding, Verdict, holm
from paper_checks.plan import Plan, Settings, Trouble
from paper_checks.provenance import provenance
from paper_checks.source import ENGINE, fingerprint
from paper_checks.words import why_not
from paper_checks.workers import Job

FIGURES = ("figure.png", "figure.pdf")
OUTPUTS = ("findings.json", *FIGURES, "table.parquet", "control.parquet", "errors.log")
T = TypeVar("T")
Files = dict[str, bytes]


@dataclass(frozen=True)
class Outcome:
    """A judged claim: its verdict, why, the findings, and those of the control (None where it has none)."""

    name: str
    verdict: Verdict
    reasons: list[str]
    findings: list[Finding]
    control: list[Finding] | None
    seconds: float | None


def judge_and_write(made: Plan, settings: Settings, started: datetime) -> Outcome:
    """Findings, control, figure and caption of a claim whose jobs are done, written to its folder."""
    folder, files = settings.out / made.entry.name, Files()
    table = _table(made, made.jobs, "table.parquet", files, settings)
    control_table = _table(made, made.control_jobs, "control.parquet", files, settings)
    findings = _findings(made, table, made.config, "findings", settings)
    control = _findings(made, control_table, made.control_config, "control's findings", settings)
    if control is None and made.control_config is not None and not made.troubles:
        control = []  # it has no tasks
    before = None if settings.fresh else _figure_before(folder)
    drawn, caption = _draw(made, (table, control_table), (findings, control), files, before)
    verdict, reasons = judge(findings, control, made.errors)
    seconds = _seconds(made, settings)
    outcome = Outcome(made.entry.name, verdict, reasons, findings or [], control, seconds)
    counts = {"computed": made.computed, "tasks": len(made.keys), "seconds": seconds, "peak": _peak(made, settings)}
    about = provenance(settings, made, started, **counts)
    record = {**_record(made, outcome), "caption": caption, "provenance": about, "drawn from": drawn}
    record["figures"] = {name: hashlib.sha256(files[name]).hexdigest() for name in FIGURES if name in files}
    with suppress(OSError):
        files[made.entry.path.name] = made.entry.path.read_bytes()
    if made.troubles:
        first = {trouble.words: trouble for trouble in reversed(made.troubles)}
        log = "\n".join(f"{trouble.where}: {words}\n{trouble.trace}" for words, trouble in first.items())
        files["errors.log"] = log.encode()
    files["findings.json"] = json.dumps(record, indent=1, allow_nan=False).encode()
    write_together(folder, files, OUTPUTS)  # no figure or table of an earlier run may stand beside a new verdict
    return outcome


def judge(
    findings: Sequence[Finding] | None, control: Sequence[Finding] | None, errors: Sequence[str]
) -> tuple[Verdict, list[str]]:
    """The claim's verdict and why: errors, then the control, then the findings themselves.

    A control of which a `controlled` finding does not fail has shown that the check cannot tell the
    assumption from its absence: the claim is inconclusive, whatever its own findings say. So it is where a control
    has no findings; `None` stands for a claim without a control.
    """
    if errors or findings is None:
        return Verdict.INCONCLUSIVE, list(errors) or ["nothing was computed: the claim has no tasks"]
    reasons = _control_reasons(findings, control) if control is not None else []
    if reasons:
        return Verdict.INCONCLUSIVE, reasons
    verdict = Verdict.of(finding.verdict for finding in findings)
    decisive = [f for worst in (Verdict.FAILS, Verdict.INCONCLUSIVE) for f in findings if f.verdict is worst]
    return verdict, [why_not(f) for f in decisive] or ([] if findings else ["no findings"])


def _control_reasons(findings: Sequence[Finding], control: Sequence[Finding]) -> list[str]:
    if not control:
        return ["the control was not run: it has no tasks or no findings"]
    checked = [finding for finding in control if finding.controlled]
    lost = {f.name for f in findings if f.controlled} - {f.name for f in checked}
    if not checked and not lost:
        return ["no finding is marked controlled, so the control shows nothing"]
    missing = [f"the control lacks the finding {name}" for name in sorted(lost)]
    lenient = [f for f in checked if f.verdict is not Verdict.FAILS]
    return missing + [f"the control did not fail: {f.name}, {f.verdict} there ({f.words})" for f in lenient]


def _attempt(made: Plan, where: str, action: Callable[[], T]) -> T | None:
    try:
        return action()
    except (Exception, SystemExit) as error:
        made.fail(where, error)
        return None


Before = tuple[str, Files]
"""What the figure of an earlier run was drawn from, and its files, undamaged."""


def _figure_before(folder: Path) -> Before | None:
    try:
        record = json.loads((folder / "findings.json").read_bytes())
        files = {name: (folder / name).read_bytes() for name in FIGURES}
        intact = all(hashlib.sha256(data).hexdigest() == record["figures"][name] for name, data in files.items())
        return (record["drawn from"], files) if intact else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _table(made: Plan, jobs: Sequence[Job], name: str, files: Files, settings: Settings) -> pd.DataFrame | None:
    """The jobs' tables one below the other, also put into `files`; None where there are none or some failed."""
    if made.troubles or not jobs:
        return None
    return _attempt(made, name, lambda: _joined(made, jobs, name, files, settings))


def _joined(made: Plan, jobs: Sequence[Job], name: str, files: Files, settings: Settings) -> pd.DataFrame | None:
    tables = [settings.cache.load(job.key) for job in jobs]
    lost = [job.task.label for job, table in zip(jobs, tables, strict=True) if table is None]
    if lost:
        made.troubles.append(Trouble(lost[0], "its table cannot be read back from the cache"))
        return None
    read = [job.task.labelled(table) for job, table in zip(jobs, tables, strict=True) if table is not None]
    table = pd.concat(read, ignore_index=True)
    buffer = io.BytesIO()
    table.to_parquet(buffer)
    files[name] = buffer.getvalue()
    return table


def _findings(
    made: Plan, table: pd.DataFrame | None, config: Config | None, where: str, settings: Settings
) -> list[Finding] | None:
    """What the claim reads off its table, with intervals corrected for how many findings it has."""
    claim = made.claim
    if table is None or config is None or claim is None:
        return None
    return _attempt(made, where, lambda: corrected(claim, table, config, settings.learner))


def corrected(claim: Claim, table: pd.DataFrame, config: Config, learner: str | None = None) -> list[Finding]:
    """The claim's findings after Holm's correction. Those that it has for a user's own learner alone are corrected
    apart, and marked: a learner more does not widen what the claim says of its own methods.
    """
    found = list(claim.findings(table, config))
    if learner is None or learner not in config.get("methods", []):
        return holm(found)
    without = config | {"methods": [name for name in config["methods"] if name != learner]}
    names = {finding.name for finding in claim.findings(table, without)}
    theirs = iter(holm([finding for finding in found if finding.name in names]))
    mine = iter(holm([replace(finding, own=True) for finding in found if finding.name not in names]))
    return [next(theirs if finding.name in names else mine) for finding in found]


def _draw(
    made: Plan,
    tables: tuple[pd.DataFrame | None, pd.DataFrame | None],
    found: tuple[list[Finding] | None, list[Finding] | None],
    files: Files,
    before: Before | None,
) -> tuple[str, str]:
    """Figure files and the caption; what the figure was drawn from, and of an equal figure the files that there are."""
    claim, (table, control_table), (findings, control) = made.claim, tables, found
    if claim is None or table is None or findings is None:
        return "", ""
    drawn = _drawn_from(claim, findings, made.config, files)

    def draw() -> None:
        with look():
            figure = claim.draw(table, control_table, findings, made.config)
            files.update(_saved(figure))

    if drawn and before is not None and before[0] == drawn:
        files.update(before[1])
    else:
        _attempt(made, "figure", draw)
    return drawn, _attempt(made, "caption", lambda: _caption(claim, findings, control)) or ""


def _caption(claim: Claim, findings: Sequence[Finding], control: Sequence[Finding] | None) -> str:
    """The caption, which may ask for the findings of the control too."""
    asks = "control" in inspect.signature(claim.caption).parameters
    words = claim.caption(findings, control=control) if asks else claim.caption(findings)
    if not isinstance(words, str):
        raise TypeError(f"caption must return text, found {type(words).__name__}; return the words")
    return words


def _drawn_from(claim: Claim, findings: Sequence[Finding], config: Config, files: Files) -> str:
    """sha256 of what a figure shows and of the source that draws it, `figures` too; "" where that cannot be told."""
    if not isinstance(claim.draw, FunctionType) or not claim.draw.__qualname__.isidentifier():
        return ""
    shown = [files.get(name, b"") for name in ("table.parquet", "control.parquet")]
    numbers = json.dumps([[finding.as_json() for finding in findings], config], sort_keys=True, default=str)
    source = [fingerprint(function, ENGINE) for function in (claim.draw, _draw)]
    parts = [*shown, numbers.encode(), *(text.encode() for text in source), matplotlib.__version__.encode()]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _saved(figure: Figure) -> Files:
    """PNG and PDF without dates, so that equal figures are equal files; larger than asked where text would be cut.

    Laid out once, with the PNG's pixels: to lay out takes as long as to draw, and `savefig` does both twice.
    """
    figure.set_dpi(matplotlib.rcParams["savefig.dpi"])
    FigureCanvasAgg(figure)
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")
    drawn = figure.get_tightbbox()
    if drawn.x0 < 0 or drawn.y0 < 0 or drawn.x1 > figure.get_figwidth() or drawn.y1 > figure.get_figheight():
        box = drawn.padded(matplotlib.rcParams["savefig.pad_inches"])
        png = _printed(figure.savefig, format="png", metadata={"Software": None}, bbox_inches=box)
        pdf = _printed(figure.savefig, format="pdf", metadata={"CreationDate": None}, bbox_inches=box)
    else:
        png = _printed(FigureCanvasAgg(figure).print_png, metadata={"Software": None})
        pdf = _printed(FigureCanvasPdf(figure).print_pdf, metadata={"CreationDate": None})
    return {"figure.png": png, "figure.pdf": pdf}


def _printed(write: Callable[..., Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    write(buffer, **options)
    return buffer.getvalue()


def _seconds(made: Plan, settings: Settings) -> float | None:
    """Time that the claim's tables took to compute, whenever that was."""
    if made.troubles:
        return None
    return float(sum(settings.cache.about(key)["seconds"] for key in made.keys))


def _peak(made: Plan, settings: Settings) -> int | None:
    """Bytes that the process of a task had, at the task that took most; None where none of them could tell."""
    if made.troubles:
        return None
    return max((peak for key in made.keys if (peak := settings.cache.about(key).get("peak"))), default=None)


def _record(made: Plan, outcome: Outcome) -> dict[str, Any]:
    claim = made.claim
    words = ("part", "statement", "formula", "control_words", "notes", "source")
    return {
        "claim": outcome.name,
        "verdict": str(outcome.verdict),
        "reasons": outcome.reasons,
        **{word: getattr(claim if claim is not None else made.entry, word, "") for word in words},
        "file": made.entry.path.name,
        "argument": made.entry.argument,
        "findings": [finding.as_json() for finding in outcome.findings],
        "control": None if outcome.control is None else [finding.as_json() for finding in outcome.control],
        "config": made.config,
        "control_config": made.control_config,
    }
