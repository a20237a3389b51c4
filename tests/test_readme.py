"""README's Python runs as printed, one block after the other; its commands and files exist."""

import re
from pathlib import Path

import pytest

from paper_checks import own

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


def test_the_python_blocks_run(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", TEXT, flags=re.S)
    assert len(blocks) >= 2
    namespace: dict[str, object] = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), namespace)
    printed = capsys.readouterr().out
    assert "Invariance content" in printed
    assert "SimCLR content" in printed


def test_own_loss_takes_fewer_than_fifteen_lines() -> None:
    match = re.search(r"@dataclass\(frozen=True, kw_only=True\)\n(class Invariance.*?)\n\n\n", TEXT, flags=re.S)
    assert match
    assert len(match.group(1).splitlines()) < 15


def test_linked_files_exist() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_make_targets_named_in_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:^|`)make (\w+)", TEXT, flags=re.M)):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


def test_the_learner_for_the_claims_is_short_and_is_one(tmp_path: Path) -> None:
    match = re.search(r"```python\n(# my_loss.py\n.*?)```", TEXT, flags=re.S)
    assert match
    assert len(match.group(1).splitlines()) < 20
    path = tmp_path / "my_loss.py"
    path.write_text(match.group(1))
    assert own.load(own.learner(f"{path}:MyLoss")).__name__ == "MyLoss"
