"""README's table of verdicts, and docs/claims.md with every figure, from the results of runs into one folder.

python docs/verdicts.py results     after `python -m paper_checks --profile full`
"""

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paper_checks import report, summary

DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"
BEGIN, END = "<!-- verdicts: written by docs/verdicts.py -->", "<!-- end of verdicts -->"

Record = Mapping[str, Any]


def table(records: Sequence[Record]) -> str:
    """README with the verdicts of `records` between its two marks."""
    text = README.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"expected one {BEGIN!r} and one {END!r} in README.md; put them back")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{linked(summary.markdown(records), records)}{END}{rest.partition(END)[2]}"


def linked(verdicts: str, records: Sequence[Record]) -> str:
    """The table with each claim's name leading to its section."""
    for name in (record["claim"] for record in records):
        verdicts = verdicts.replace(f"| {name} |", f"| [{name}](docs/claims.md#{name}) |")
    return verdicts


def pages(records: Sequence[Record], figures: str) -> str:
    """One section a claim: what it says, its verdict, figure, caption, and findings with their intervals."""
    head = "# Every claim, as last checked\n\nWritten by `python docs/verdicts.py results`; "
    head += "; ".join(f"made with {line}" for line in summary.origins(records)) + ".\n\n"
    head += "Intervals in figures are 95 % each; those of the tables, by which claims are judged, are wider: Holm's "
    head += "correction makes them 95 % for all findings of a claim together.\n"
    return "\n".join([head, *(section(record, figures) for record in records)])


def section(record: Record, figures: str) -> str:
    name = record["claim"]
    verdict = f"**{record['verdict']}** ({record['provenance']['profile']} profile)"
    lines = [f"## {name}", "", f"{record['statement']} {verdict}", ""]
    lines += [f"![{name}]({figures}/{name}.png)", "", f"*{record['caption']}*", ""]
    lines += ["| finding | estimate | interval | bound | verdict | in the control |", "|---|---|---|---|---|---|"]
    broken = {found["name"]: found for found in record["control"] or []}
    lines += [row(found, broken.get(found["name"])) for found in record["findings"]]
    lines += ["", *(f"- {reason}" for reason in record["reasons"]), "", record["notes"], ""]
    return "\n".join(lines)


def row(found: Record, broken: Record | None) -> str:
    interval = "" if found["kind"] == "exact" else f"[{number(found['low'])}, {number(found['high'])}]"
    control = f"{number(broken['estimate'])}, {broken['verdict']}" if broken else ""
    control += "" if found["controlled"] or not control else " (not asked)"
    bound = f"{found['side']} {number(found['bound'])}"
    cells = (found["name"], number(found["estimate"]), interval, bound, found["verdict"], control)
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def number(value: float | None) -> str:
    return "NaN" if value is None else f"{value:.3g}"


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    results = Path(sys.argv[1])
    records, _ = report.collect(results)
    if not records:
        print(f"verdicts: no claim has been checked in {results}; run `make checks` first", file=sys.stderr)
        return 2
    for key, what in (("learner", "a learner of one's own"), ("changes", "other settings (--set)")):
        if own := sorted(record["claim"] for record in records if record["provenance"].get(key)):
            print(f"verdicts: made with {what}: {', '.join(own)}; run them without it", file=sys.stderr)
            return 2
    folder = DOCS / "claims"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for record in records:
        shutil.copyfile(results / record["claim"] / "figure.png", folder / f"{record['claim']}.png")
    (DOCS / "claims.md").write_text(pages(records, folder.name))
    README.write_text(table(records))
    return 0


if __name__ == "__main__":
    sys.exit(main())
