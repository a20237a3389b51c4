"""README's table of verdicts, and docs/claims.md with every figure, from the results of runs into one folder.

python docs/verdicts.py results     after `python -m paper_checks --profile full`
"""

import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paper_checks import report, summary, words
from paper_checks.finding import Finding

DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"
BEGIN, END = "<!-- verdicts: written by docs/verdicts.py -->", "<!-- end of verdicts -->"

OWN = {  # what of a run is not the claims as they stand: in provenance, and in words
    "learner": "a learner of one's own",
    "world": "another world (--world)",
    "changes": "other settings (--set)",
    "seeds": "another number of seeds (--seeds)",
}

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
    head += "Intervals in figures are 95 % each where their caption does not say Holm's. Those of the tables, by which "
    head += "claims are judged, are wider: by Holm's correction all verdicts on a claim's findings, holds or fails, "
    head += "are right at once with 95 %.\n"
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
    numbers = shown(found)
    interval = "" if found["kind"] == "exact" else f"[{numbers.low}, {numbers.high}]"
    control = f"{shown(broken).estimate}, {broken['verdict']}" if broken else ""
    if broken and not found["controlled"]:
        control += " (not asked)" if broken["estimate"] != found["estimate"] else " (not changed by it)"
    bound = f"{found['side']} {numbers.bound}"
    cells = (found["name"], numbers.estimate, interval, bound, found["verdict"], control)
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def shown(found: Record) -> words.Shown:
    """A finding's numbers, with the digits that show on which side of the bound they lie."""
    return words.shown(Finding.from_json(found), number, lambda value, digits: float(number(value, digits)))


def number(value: float, digits: int = 3) -> str:
    text = "NaN" if math.isnan(value) else f"{value:.{digits}g}"
    return f"{value:.0f}" if "e+0" in text and abs(value) < 1e5 else text


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    results = Path(sys.argv[1])
    records, _ = report.collect(results)
    if not records:
        print(f"verdicts: no claim has been checked in {results}; run `make checks` first", file=sys.stderr)
        return 2
    for key, what in OWN.items():
        if own := sorted(record["claim"] for record in records if record["provenance"].get(key)):
            print(f"verdicts: made with {what}: {', '.join(own)}; run them without it", file=sys.stderr)
            return 2
    pictures = {record["claim"]: results / record["claim"] / "figure.png" for record in records}
    if lost := [name for name, path in pictures.items() if not path.is_file()]:
        print(f"verdicts: expected a figure of each claim, none of {', '.join(lost)}; run again", file=sys.stderr)
        return 2
    folder = DOCS / "claims"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, path in pictures.items():
        shutil.copyfile(path, folder / f"{name}.png")
    (DOCS / "claims.md").write_text(pages(records, folder.name))
    README.write_text(table(records))
    return 0


if __name__ == "__main__":
    sys.exit(main())
