"""The page stands alone, shows every finding, and says nothing that was not found."""

import json
import math
import re
import runpy
import shutil
import sys
import xml.etree.ElementTree as ET
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from paper_checks.finding import Finding
from paper_checks.registry import Entry, known
from paper_checks.report import build, collect, mathml, rerun
from paper_checks.summary import origins, pdf, with_own
from paper_checks.words import in_words, number, quoted
from tests.paper_checks.conftest import House


class Loads(HTMLParser):
    """Collects what a browser would fetch, ids, anchors, and tags left open."""

    VOID = frozenset({"meta", "img", "br", "input", "hr", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.anchors: list[str] = []
        self.open: list[str] = []
        self.images: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.loads += [v or "" for k, v in attrs if k in ("src", "srcset", "data", "poster")]
        self.loads += [values.get("href") or ""] if tag == "link" else []
        self.anchors += [values.get("href") or ""] if tag == "a" else []
        self.ids += [values["id"] or ""] if "id" in values else []
        self.images += [values] if tag == "img" else []
        self.open += [] if tag in self.VOID else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = House(tmp_path_factory.mktemp("report"))
    odd = house.claim("odd", broken="raise ValueError('<b>no</b>')")
    house.run(house.claim("good"), house.claim("bad", mean=0.2), odd)
    return house


@pytest.fixture
def page(made: House) -> str:
    return (made.out / "index.html").read_text()


def test_page_loads_nothing_from_anywhere(page: str):
    parser = Loads()
    parser.feed(page)
    assert parser.loads
    assert all(source.startswith("data:image/png;base64,") for source in parser.loads)
    assert "url(" not in page
    assert "@import" not in page
    assert "fetch(" not in page
    outside = re.sub(r"http://www\.w3\.org/1998/Math/MathML", "", page)
    assert not re.search(r"https?://", outside)


def test_page_is_well_formed_and_its_anchors_lead_somewhere(page: str):
    parser = Loads()
    parser.feed(page)
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    inside = {anchor.removeprefix("#") for anchor in parser.anchors if anchor.startswith("#")}
    assert inside <= set(parser.ids)
    outside = [anchor for anchor in parser.anchors if not anchor.startswith("#")]
    assert outside == [f"{name}/index.html" for name in ("bad", "good", "odd")]
    assert all(image.get("alt") is not None for image in parser.images)


def test_page_shows_every_claim_verdict_and_finding_escaped(page: str, made: House):
    for name, verdict in (("good", "✓ holds"), ("bad", "✗ fails"), ("odd", "? inconclusive")):
        article = re.search(rf'<article id="{name}".*?</article>', page, re.DOTALL)
        assert article is not None
        assert verdict in article.group()
    assert "The mean of &lt;draws&gt;" in page
    assert "half of &lt;one&gt; &amp; more" in page
    assert "&lt;b&gt;no&lt;/b&gt;" in page
    good = unescape(re.search(r'<article id="good".*?</article>', page, re.DOTALL).group())  # type: ignore[union-attr]
    for words in (
        "≥ 0.5",
        "≤ 10⁻¹⁰",
        "95 %, 5 seeds",
        "fails, as it must",
        "The mean is 1.00.",
        f"python -m paper_checks {made.folder}/good_report0.py --profile quick --device cpu",
    ):
        assert words in good
    assert good.count("<img") == 1
    assert "errors.log" in page


def test_formula_is_mathml(page: str):
    formula = re.search(r"<math.*?</math>", page, re.DOTALL)
    assert formula is not None
    assert ET.fromstring(formula.group()).find(".//{*}mfrac") is not None


def test_formulas_of_the_theory_leave_no_latex_behind():
    rendered = mathml(r"\log p(x) - \mathrm{KL}\left( q \,\Big\|\, p \right)")
    assert "\\" not in rendered
    assert "<mi>log</mi><mspace" in rendered
    assert mathml(r"\sqrt") == "<code>\\sqrt</code>"


@pytest.mark.parametrize("entry", known(), ids=lambda entry: entry.name)
def test_formula_of_every_claim_is_mathml_without_latex(entry: Entry):
    rendered = mathml(entry.load().formula)
    assert ET.fromstring(rendered).tag.endswith("math")
    assert not {c for c in rendered if c == "\\" or ord(c) < 32} - {"\n"}
    assert "rac</mi>" not in rendered


def test_each_claim_has_a_page_of_its_own_with_its_code(made: House):
    page = (made.out / "good" / "index.html").read_text()
    parser = Loads()
    parser.feed(page)
    assert parser.open == []
    assert all(source.startswith("data:image/png;base64,") for source in parser.loads)
    assert parser.anchors == ["../index.html#good"]
    assert "def measure(*, seed, mean, rest, log, device):" in unescape(page)
    assert 'id="bad"' not in page


def test_a_record_that_cannot_be_read_is_named_and_the_others_are_shown(made: House):
    torn = made.out / "torn" / "findings.json"
    torn.parent.mkdir()
    torn.write_text((made.out / "good" / "findings.json").read_text()[:-30])
    other = made.out / "from-another-version" / "findings.json"
    other.parent.mkdir()
    other.write_text('{"claim": "from-another-version"}')
    build(made.out)
    page = (made.out / "index.html").read_text()
    assert "run it again: from-another-version, torn." in page
    assert 'id="good"' in page
    shutil.rmtree(torn.parent)
    shutil.rmtree(other.parent)


@pytest.mark.skipif(sys.platform != "linux", reason="measured on Linux alone")
def test_memory_is_told_and_a_record_from_before_it_was_measured_is_shown_all_the_same(made: House):
    page, record = made.out / "good" / "index.html", made.out / "good" / "findings.json"
    kept = record.read_text()
    plain = json.loads(kept)
    for provenance, told in (({"peak": 3 * 2**29}, True), ({}, False)):
        plain["provenance"].pop("peak", None)
        record.write_text(json.dumps(plain | {"provenance": plain["provenance"] | provenance}))
        build(made.out)
        assert ("1.50 GiB in a process at most" in page.read_text()) is told
    assert 2**20 < json.loads(kept)["provenance"]["peak"] < 2**34
    record.write_text(kept)
    build(made.out)


def test_summary_is_one_pdf_page_however_many_claims(made: House):
    build(made.out)
    assert (made.out / "summary.pdf").read_bytes().startswith(b"%PDF")
    records, _ = collect(made.out)
    data = pdf([{**record, "claim": f"claim-{i} costs $5 and $6"} for i in range(20) for record in records])
    assert len(re.findall(rb"/Type /Page\b", data)) == 1


def test_a_later_run_of_one_claim_keeps_the_others(made: House):
    made.run(made.claim("new"))
    after = (made.out / "index.html").read_text()
    assert all(f'<article id="{name}"' in after for name in ("good", "bad", "odd", "new"))
    shutil.rmtree(made.out / "new")
    build(made.out)


def test_a_control_that_was_not_run_or_was_asked_nothing_is_not_said_to_fail(tmp_path: Path):
    house = House(tmp_path)
    idle = house.claim("idle", control='lambda config: {**config, "seeds": 0}')
    house.run(idle, house.claim("unmarked", controlled=False), house.claim("lenient", control_mean=2.0))
    said = {name: (house.out / name / "index.html").read_text() for name in ("idle", "unmarked", "lenient")}
    assert not any("fails, as it must" in page for page in said.values())
    assert "It was not run, or lacks what it must break" in said["idle"]
    assert "It was not run, or lacks what it must break" in said["unmarked"]
    assert "does not fail then, so it cannot tell" in said["lenient"]


def test_summary_is_a_table_with_date_and_machine(made: House):
    lines = (made.out / "summary.md").read_text().splitlines()
    assert lines[0] == "Verdicts of 3 claims: holds 1, fails 1, inconclusive 1."
    assert lines[4].startswith(
        "| model | bad | ✗ fails | mean: 0.2 [0.199, 0.201], asked ≥ 0.5; the whole interval breaks the bound |"
    )
    assert lines[5].startswith("| model | good | ✓ holds | mean: 1 [")
    assert re.match(r"Made with profile quick, \d{4}-\d\d-\d\d, torch ", lines[-1])


def test_a_run_with_a_learner_of_ones_own_says_so_everywhere_and_is_no_verdict_of_the_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    house, mine = House(tmp_path), tmp_path / "my loss.py"
    mine.write_text("from ssl_theory.learners import SimCLR\n\n\nclass Mine(SimCLR):\n    pass\n")
    claim = house.claim()
    claim.write_text(claim.read_text().replace('"seeds": 5,', '"seeds": 5, "methods": [],'))
    assert house.run(claim, "--learner", f"{mine}:Mine") == 0
    for page in ("index.html", "toy/index.html", "summary.md"):
        assert "with your learner Mine" in (house.out / page).read_text()
    (plain,), _ = collect(house.out)
    assert plain["rerun"].endswith(f"--device cpu --learner '{mine}:Mine'")
    plain["provenance"]["changes"] = {"steps": 8000, "methods": ["A b"]}
    assert """ --set steps=8000 --set 'methods=["A b"]'""" in rerun(plain)
    verdicts = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "verdicts.py"))["main"]
    monkeypatch.setitem(verdicts.__globals__, "DOCS", tmp_path)
    monkeypatch.setitem(verdicts.__globals__, "README", tmp_path / "README.md")
    monkeypatch.setattr(sys, "argv", ["verdicts.py", str(house.out)])
    capsys.readouterr()
    assert verdicts() == 2
    assert capsys.readouterr().err == "verdicts: made with a learner of one's own: toy; run them without it\n"
    assert not (tmp_path / "claims").exists()
    house.run(claim)
    assert "your learner" not in (house.out / "index.html").read_text()


def test_notes_are_paragraphs(tmp_path: Path):
    house = House(tmp_path)
    claim = house.claim()
    claim.write_text(
        claim.read_text().replace("    draw=draw,", '    draw=draw,\n    notes="Of <one>\\nline.\\n\\nAnd more.",')
    )
    house.run(claim)
    note = "<h4>Note, on the full profile</h4><p>Of &lt;one&gt;\nline.</p><p>And more.</p>"
    for page in ("index.html", "toy/index.html"):
        assert note in (house.out / page).read_text()


def test_results_of_the_benchmark_are_part_of_the_command_that_makes_a_verdict_again(made: House):
    plain = json.loads((made.out / "good" / "findings.json").read_text())
    plain["provenance"]["bench"] = ["results/bench/mnist", "my scans"]
    assert rerun(plain).endswith("--device cpu --bench results/bench/mnist --bench 'my scans'")
    assert with_own(plain) == "with your results in results/bench/mnist, with your results in my scans"
    assert json.loads((made.out / "bad" / "findings.json").read_text())["provenance"]["bench"] == []


def test_a_commit_whose_files_were_changed_is_marked():
    about = {"commit": 40 * "a" + "+", "started": "2026-01-01T", "versions": {"torch": "2"}, "profile": "full"}
    (line,) = origins([{"provenance": about | {"machine": "Linux"}}])
    assert line.endswith("commit aaaaaaaaaa+")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1e-10, "10⁻¹⁰"),
        (3.14e-12, "3.1 × 10⁻¹²"),
        (0.0123456, "0.0123"),
        (-0.5, "−0.5"),
        (-1e-10, "−10⁻¹⁰"),
        (1234.5, "1234"),
        (2.5e7, "2.5 × 10⁷"),
        (2e7, "2.0 × 10⁷"),
        (1.04e-10, "10⁻¹⁰"),
        (math.nan, "not a number"),
        (math.inf, "inf"),
    ],
)
def test_numbers_are_short(value: float, text: str):
    assert number(value) == text


def test_of_findings_that_hold_the_one_nearest_to_its_bound_is_quoted():
    """By its interval's end, as a share of the bound; of those that the control must break, where there are any."""
    wide, near, nought = (
        Finding.from_seeds(name, [estimate - spread, estimate + spread], side, bound, controlled=controlled)
        for name, estimate, spread, side, bound, controlled in (
            ("wide", 0.5, 0.001, "<=", 1.0, True),
            ("near", 110.0, 0.1, ">=", 100.0, True),
            ("nought", -0.5, 0.01, "<=", 0.0, False),
        )
    )
    identity, loose = Finding.exact("identity", 0.0), Finding.exact("loose", 9e-11)
    assert quoted([wide, near, nought]) is near
    assert quoted([nought, wide]) is wide
    assert quoted([nought, identity]) is nought
    assert quoted([identity, loose]) is loose
    assert quoted([Finding.from_seeds("alone", [1.0], "<=", 2.0), identity]) is identity


def test_a_finding_in_words():
    finding = Finding.from_seeds("gap", [0.5, 0.5, 0.5], ">=", 0.3, unit="nats")
    assert in_words(finding) == "gap: 0.5 nats [0.5, 0.5] ≥ 0.3"
    assert in_words(Finding.exact("error", 0.0)) == "error: 0 ≤ 10⁻¹⁰"
