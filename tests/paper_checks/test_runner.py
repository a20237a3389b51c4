"""By whom claims whose tables are there are judged."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from paper_checks import runner
from paper_checks.plan import Settings


class Pool:
    """Stands for the pool of copies, remembers how many were asked for, and has all of them die at once."""

    asked = 0

    def __init__(self, copies: int, *rest: Any) -> None:
        Pool.asked = max(Pool.asked, copies)

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *error: Any) -> None: ...

    def shutdown(self, **how: Any) -> None: ...

    def submit(self, *what: Any) -> Any:
        raise runner.BrokenProcessPool


@pytest.mark.parametrize(
    ("device", "processes", "copies"), [("cpu", 64, runner.MOST_COPIES), ("cpu", 3, 3), ("cpu", 1, 0), ("cuda", 64, 0)]
)
def test_copies_are_few_and_none_beside_a_gpu(
    monkeypatch: pytest.MonkeyPatch, device: str, processes: int, copies: int
):
    monkeypatch.setattr(Pool, "asked", 0)
    monkeypatch.setattr(runner, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(runner, "judge_and_write", lambda made, *rest: made)
    monkeypatch.setattr(runner, "_lost", lambda made, *rest: made)
    plans: list[Any] = list(range(27))
    judged = runner.judge_all(plans, Settings(device=device), datetime.now(UTC), processes)
    assert list(judged) == plans
    assert Pool.asked == copies


def test_the_commit_is_that_of_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    asked: list[str] = []

    def compute(*_: Any, **__: Any) -> list[Any]:
        asked.append("compute")
        return []

    monkeypatch.setattr(runner, "commit", lambda: asked.append("commit"))
    monkeypatch.setattr(runner, "compute", compute)
    assert len(list(runner.run([], Settings(out=tmp_path)))) == 1
    assert asked == ["commit", "compute"]
