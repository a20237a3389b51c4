"""The fingerprint changes with what makes the numbers, and with nothing else."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from paper_checks.source import ENGINE, fingerprint, sources, sources_of_file

CLAIM = '''
"""Claim."""
import numpy as np
from figures import canvas
from room.losses import loss
from . import words
from .worlds import sample as draw_world
from paper_checks.claim import Claim

SCALE = 2.0
CONFIG = {"n": 1}
TABLE = {}
TABLE["a"] = 1
REGISTER = {}


def registered(function):
    REGISTER[function.__name__] = function
    return function


@registered
def by_register():
    return 1.0


_ = TABLE.setdefault("b", 1)


def helper(x):
    """Doc."""
    return SCALE * x  # comment


def for_the_figure(x):
    return x


def task(*, n, draw=0, scale=SCALE):
    from room import lazy

    n = n + draw

    return helper(loss(draw_world(n))) + lazy.late() + TABLE["a"] + REGISTER["by_register"]()


def tasks(config):
    return [words.text]


def findings(table, config):
    return []


def draw(table):
    return for_the_figure(canvas())


CLAIM = None
'''

FILES = {
    "room/__init__.py": "",
    "room/claim.py": CLAIM,
    "room/losses.py": "from room.deep import constant\n\n\ndef loss(x):\n    return x * constant\n",
    "room/deep.py": "constant = 3\n",
    "room/worlds.py": "def sample(n):\n    return n\n",
    "room/lazy.py": "def late():\n    return 0\n",
    "room/words.py": "text = 'hello'\n",
    "room/stranger.py": "nothing = 0\n",
}


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str, str], bool]]:
    """Replace text in a file and say whether the fingerprint changed."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    task = importlib.import_module("room.claim").task

    def changed(name: str, old: str, new: str) -> bool:
        path = tmp_path / "room" / name
        before = fingerprint(task)
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        return fingerprint(task) != before

    yield changed
    for name in [name for name in sys.modules if name == "room" or name.startswith("room.")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("claim.py", "loss(draw_world(n))", "-loss(draw_world(n))"),
        ("claim.py", "SCALE * x", "SCALE + x"),
        ("claim.py", "SCALE = 2.0", "SCALE = 3.0"),
        ("claim.py", "draw=0, scale=SCALE", "draw=1, scale=SCALE"),
        ("claim.py", 'TABLE["a"] = 1', 'TABLE["a"] = 2'),
        ("claim.py", "CLAIM = None", "np.seterr(all='raise')"),
        ("claim.py", "return 1.0", "return 2.0"),
        ("claim.py", 'setdefault("b", 1)', 'setdefault("b", 2)'),
        ("losses.py", "x * constant", "x / constant"),
        ("deep.py", "3", "4"),
        ("worlds.py", "return n", "return n + 1"),
        ("lazy.py", "return 0", "return 1"),
    ],
)
def test_changes_with_what_the_task_reaches(room: Callable[..., bool], name: str, old: str, new: str):
    assert room(name, old, new)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("claim.py", "for_the_figure(canvas())", "canvas()"),
        ("claim.py", "    return x\n", "    return -x\n"),
        ("claim.py", "return []", "return [1]"),
        ("claim.py", '{"n": 1}', '{"n": 2}'),
        ("claim.py", "[words.text]", "[]"),
        ("claim.py", "CLAIM = None", "CLAIM = 1"),
        ("claim.py", "# comment", "# other"),
        ("claim.py", '"""Doc."""', '"""Other words."""'),
        ("claim.py", '"""Claim."""', '"""Other words."""'),
        ("claim.py", "import canvas", "import canvas, legend"),
        ("words.py", "hello", "bye"),
        ("stranger.py", "0", "1"),
        ("losses.py", "def loss(x):\n", 'def loss(x):\n    """Words."""\n'),
    ],
)
def test_stays_with_anything_else(room: Callable[..., bool], name: str, old: str, new: str):
    assert not room(name, old, new)


def test_what_is_asked_for_by_name_may_be_anything_in_its_file(room: Callable[..., bool]):
    room("claim.py", "from room import lazy\n", 'from room import lazy\n    globals()["for_the_figure"](0)\n')
    assert room("claim.py", "    return x\n", "    return -x\n")


@pytest.mark.parametrize("call", ["import importlib\n\nimportlib.import_module", "__import__"])
def test_a_module_imported_by_a_call_counts(call: str, tmp_path: Path):
    path = tmp_path / "learner.py"
    path.write_text(f'{call}("synthetic.world")\n')
    assert "synthetic.world" in sources_of_file(path)


def test_figures_and_engine_do_not_count_even_where_a_room_imports_them(room: Callable[..., bool]):
    task = sys.modules["room.claim"].task
    room("losses.py", "from room.deep", "import figures.style\nfrom paper_checks import claim\nfrom room.deep")
    assert set(sources(task)) == {"room.claim", "room.losses", "room.deep", "room.worlds", "room.lazy"}


def test_figures_count_where_the_function_draws(room: Callable[..., bool]):
    draw = sys.modules["room.claim"].draw
    assert set(sources(draw)) == {"room.claim"}
    assert {"room.claim", "figures", "figures.style", "figures.panels"} == set(sources(draw, ENGINE))


def test_a_module_loaded_without_a_file_is_refused():
    def task() -> None: ...

    task.__module__ = "no_such_module_anywhere"
    with pytest.raises(ValueError, match="to be a file on the path"):
        fingerprint(task)


@pytest.mark.parametrize(
    "within",
    [
        "try:\n    pass\nexcept ValueError:\n    import {}",
        "for i in ():\n    pass\nelse:\n    import {}",
        "match 1:\n    case 1:\n        with open('a'):\n            import {}",
        "class A:\n    async def b(self):\n        try:\n            pass\n        finally:\n            import {}",
    ],
)
def test_an_import_counts_wherever_it_stands(within: str, tmp_path: Path):
    path = tmp_path / "learner.py"
    path.write_text(within.format("synthetic.world"))
    assert "synthetic.world" in sources_of_file(path)
