"""The verdicts in brief: a Markdown table to paste, and one PDF page to hand out."""

import io
import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from figures import look
from paper_checks import own

Record = Mapping[str, Any]
COLOURS = {"holds": "#00664a", "fails": "#a63c00", "inconclusive": "#5c5200"}
QUIET = "#59616b"


def markdown(records: Sequence[Record]) -> str:
    """How many hold, and a table of verdicts, part by part, with profile, date and machine below."""
    lines = [counted(records), "", "| part | claim | verdict | decided by |", "|---|---|---|---|"]
    several = len({record["provenance"]["profile"] for record in records}) > 1
    for record in records:
        verdict = f"{record['sign']} {record['verdict']}" + f" ({record['provenance']['profile']})" * several
        cells = (record["part"], record["claim"], verdict, decided_by(record))
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join([*lines, "", *(f"Made with {line}." for line in origins(records)), ""])


def counted(records: Sequence[Record]) -> str:
    """How many claims there are, and how many of each verdict."""
    found = Counter(record["verdict"] for record in records)
    return (
        f"Verdicts of {len(records)} claims: " + ", ".join(f"{verdict} {found[verdict]}" for verdict in COLOURS) + "."
    )


def decided_by(record: Record) -> str:
    """The first reason, or the finding to quote where the claim holds; first what a user put in, as no one else has."""
    mine, whole = with_own(record), record["reasons"][0] if record["reasons"] else record["quoted"]
    return (f"{mine}: " if mine else "") + str(record["of own"] or whole)


def with_own(record: Record) -> str:
    """What of a user's own was judged beside what the claim compares; nothing for the claim as it stands."""
    about = record["provenance"]
    learner, world, bench = about.get("learner"), about.get("world"), about.get("bench", ())
    changes = {**({} if about.get("seeds") is None else {"seeds": about["seeds"]}), **about.get("changes", {})}
    words = [f"with {key} = {json.dumps(value)}" for key, value in changes.items()]
    words += [f"with your learner {own.short(learner)}"] if learner else []
    words += [f"in the world {own.short(world)}"] if world else []
    return ", ".join([*words, *(f"with your results in {folder}" for folder in bench)])


def origins(records: Sequence[Record]) -> list[str]:
    """Profile, day, torch, machine and commit, each combination once."""
    return sorted({_origin(record["provenance"]) for record in records})


def _origin(about: Record) -> str:
    changed = "+" * about["commit"].endswith("+")  # files differed from the commit
    commit = f", commit {about['commit'][:10]}{changed}" if about["commit"] else ""
    day, torch = about["started"][:10], about["versions"]["torch"]
    return f"profile {about['profile']}, {day}, torch {torch}, {about['machine']}{commit}"


def pdf(records: Sequence[Record]) -> bytes:
    """One A4 page: each claim, its verdict, and the number that decides it; smaller type for more claims."""
    lines = list(_lines(records))
    height = min(0.021, 0.87 / max(len(lines), 1))
    with look():
        figure = Figure(figsize=(8.27, 11.69))
        FigureCanvasAgg(figure)
        figure.text(0.06, 0.965, "Claims of the theory, checked", size=14, weight="bold", va="top")
        for row, cells in enumerate(lines):
            for left, words, color in cells:
                figure.text(left, 0.925 - row * height, _plain(words), size=380 * height, color=color, va="top")
        figure.text(0.06, 0.02, _plain("\n".join(origins(records)[:3])), size=5.5, va="bottom", color=QUIET)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="pdf", metadata={"CreationDate": None})
    return buffer.getvalue()


def _lines(records: Sequence[Record]) -> Iterator[list[tuple[float, str, str]]]:
    """Lines of the page: each a list of (left edge, words, colour)."""
    part = None
    for record in records:
        if record["part"] != part:
            part = record["part"]
            yield [(0.06, str(part).upper(), QUIET)]
        color = COLOURS[record["verdict"]]
        first, *more = textwrap.wrap(decided_by(record), 78, max_lines=2) or [""]
        name = textwrap.shorten(record["claim"], 34, placeholder="...")
        yield [(0.06, f"{record['sign']} {record['verdict']}", color), (0.17, name, "black"), (0.42, first, "black")]
        yield from ([(0.42, line, "black")] for line in more)


def _plain(words: str) -> str:
    """Text that matplotlib does not take for mathematics."""
    return words.replace("$", r"\$")
