"""Toy claims, in a folder of the test's own, that log every task which is computed."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_checks import __main__ as command
from paper_checks import own, summary
from paper_checks.claim import Claim, Config, Verdict

LOSS = '''
"""The 'loss' that the toy's task calls, through a second module."""
import {loss}_inner


def noise(generator, n):
    return {loss}_inner.draw(generator, n)
'''

INNER = """
import torch


def draw(generator, n):
    return torch.randn(n, generator=generator, dtype=torch.float64)
"""

CLAIM = '''
"""The mean of draws around `mean` is at least 0.5."""
import time
from pathlib import Path

import pandas as pd
import torch

from figures import canvas, interval_points, legend
from paper_checks.claim import Claim, Finding, Task, per_seed
from {loss} import noise

CONFIG = {{p: {{"seeds": 5, "mean": {mean}, "rest": {rest}}} for p in ("smoke", "quick", "full")}}
LOG = "{log}"


def measure(*, seed, mean, rest, log, device):
    with Path(log).open("a") as stream:
        stream.write(f"seed {{seed}} mean {{mean}}\\n")
    time.sleep(rest)
    {broken}
    generator = torch.Generator().manual_seed(seed)
    value = mean + 0.01 * float(noise(generator, 100).mean())
    return pd.DataFrame({{"seed": [seed], "measure": ["mean"], "value": [value]}})


def tasks(config):
    kept = {{"mean": config["mean"], "rest": config["rest"], "log": LOG}}
    return [Task(measure, {{"seed": seed, **kept}}) for seed in range(config["seeds"])]


def control(config):
    return {{**config, "mean": {control_mean}}}


def findings(table, config):
    {broken_findings}
    values = per_seed(table, measure="mean")
    return [
        Finding.from_seeds("mean", values, ">=", 0.5, reason="half of <one> & more", controlled={controlled}),
        Finding.exact("error", [0.0, {error}], 1e-10, unit="nats"),
    ]


def draw(table, control_table, findings, config):
    {broken_draw}
    figure, axes = canvas()
    first = findings[0]
    interval_points(axes[0, 0], [first.name], [first.estimate], [first.low], [first.high], bounds=[first.bound])
    axes[0, 0].set_xlabel("mean")
    legend(figure)
    return figure


def caption(findings):
    return f"The mean is {{findings[0].estimate:.2f}}."


CLAIM = Claim(
    name="{name}",
    part="model",
    statement="The mean of <draws> is at least a half.",
    formula=r"\\bar z \\ge \\tfrac{{1}}{{2}}",
    config=CONFIG,
    tasks=tasks,
    findings=findings,
    draw=draw,
    caption=caption,
    control={control},
    control_words={control_words!r},
)
'''


@dataclass
class House:
    """A folder with toy claims, and the log of what their tasks computed."""

    folder: Path

    def claim(self, name: str = "toy", **changes: object) -> Path:
        """Write a toy claim; its module names are unique to the folder, so that tests do not meet in sys.modules."""
        tag = f"{name.replace('-', '_')}_{self.folder.name.replace('-', '_')}"
        values = {
            "name": name,
            "loss": f"loss_{tag}",
            "log": str(self.log),
            "mean": 1.0,
            "control_mean": -1.0,
            "rest": 0.0,
            "error": 0.0,
            "controlled": True,
            "control": "control",
            "control_words": "the mean is below",
            "broken": "pass",
            "broken_findings": "pass",
            "broken_draw": "pass",
            **changes,
        }
        path = self.folder / f"{tag}.py"
        path.write_text(CLAIM.format(**values))
        (self.folder / f"loss_{tag}.py").write_text(LOSS.format(**values))
        (self.folder / f"loss_{tag}_inner.py").write_text(INNER)
        return path

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @property
    def computed(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def record(self, name: str = "toy") -> dict[str, Any]:
        """What the last run wrote of a claim."""
        plain: dict[str, Any] = json.loads((self.out / name / "findings.json").read_text())
        return plain

    def run(self, *words: object) -> int:
        """The command line in this process, with one worker and into this folder; returns the exit code.

        The PDF summary, a third of a toy run's time, is left out; its own test draws it.
        """
        self.forget_modules()
        given = [str(word) for word in words]
        for option, value in (("--out", self.out), ("--jobs", 1), ("--device", "cpu")):
            given += [] if option in given else [option, str(value)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "path", [str(self.folder), *sys.path])
            patch.setattr(sys, "dont_write_bytecode", True)
            patch.setattr(summary, "pdf", lambda records: b"")
            patch.setattr(sys, "argv", ["paper-checks", *given])
            return command.main()

    def forget_modules(self) -> None:
        """Let the next run import the files anew, as a new process would."""
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", "")).startswith(str(self.folder)):
                del sys.modules[name]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.forget_modules()


@pytest.fixture
def cli(house: House) -> Callable[..., int]:
    return house.run


LEARNER = """
from dataclasses import dataclass

from ssl_theory.learners import JointEmbedding
from ssl_theory.losses import contrastive


@dataclass(frozen=True, kw_only=True)
class Mine(JointEmbedding):
    def loss(self, modules, x, noise=None):
        return contrastive.info_nce(self.embed(modules, x), temperature={temperature})


class Bare:
    pass


NOT_A_LEARNER = 3
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    """The name of a user's own learner."""
    path = tmp_path / "mine.py"
    path.write_text(LEARNER.format(temperature=0.5))
    return own.learner(f"{path}:Mine")


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """The same of one with a decoder."""
    path = tmp_path / "bare.py"
    path.write_text("from ssl_theory.learners import VAE\n\n\nclass Bare(VAE):\n    pass\n")
    return own.learner(f"{path}:Bare")


def hold_on_what_is_left(claim: Claim, table: pd.DataFrame, config: Config, columns: Sequence[str]) -> set[str]:
    """Findings that hold on other numbers than before once part of a column is no number, instead of not holding.

    Lost are the rows of each value of every column that has few, and half of them at random.
    """
    whole = {finding.name: finding for finding in claim.findings(table, config)}
    found, rng = set(), np.random.default_rng(0)
    for column in columns:
        there = np.flatnonzero(table[column].notna())
        groups = [table[c].to_numpy()[there] for c in table if c != column and table[c].nunique() <= 20]
        parts = [there[values == value] for values in groups for value in pd.unique(values)]
        halves = [rng.permutation(part)[: len(part) // 2] for part in (there, *parts)]
        for lost in (part for part in (*parts, *halves) if len(part)):
            poorer = table.assign(**{column: table[column].mask(np.isin(np.arange(len(table)), lost))})
            with suppress(np.linalg.LinAlgError):  # raised by a fit to NaN; the engine makes it *inconclusive*
                for finding in claim.findings(poorer, config):
                    if finding.verdict is Verdict.HOLDS and finding != whole[finding.name]:
                        found.add(f"{finding.name} without part of {column}")
    return found


def empty_panels(figure: Figure) -> list[str]:
    """Titles of the visible panels that show no data: no finite mark, line, bar, band or image."""
    return [
        axes.get_title() or axes.get_ylabel() or f"panel {place}"
        for place, axes in enumerate(figure.axes)
        if axes.get_visible() and axes.axison and not _shows_data(axes)
    ]


def _shows_data(axes: Axes) -> bool:
    """Artists placed by the axes' own numbers; lines across the whole panel, such as bounds, are none."""
    lines = [line.get_xydata() for line in axes.lines if line.get_transform() == axes.transData]
    marks = [drawn.get_offsets() for drawn in axes.collections if drawn.get_offset_transform() == axes.transData]
    bands = [
        path.vertices
        for band in axes.collections
        if band.get_transform() == axes.transData
        for path in band.get_paths()
    ]
    bars = [bar.get_path().vertices for bar in axes.patches if bar.get_data_transform() == axes.transData]
    every = [np.asarray(points, float) for points in (*lines, *marks, *bands, *bars)]
    return bool(axes.images) or any(np.isfinite(points).all(-1).any() for points in every)
