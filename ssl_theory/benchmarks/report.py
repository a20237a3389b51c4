"""Everything a benchmark leaves behind: table, figures and provenance, in the folder of the data set."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from figures import look
from ssl_theory.benchmarks import cache, draw, table
from ssl_theory.benchmarks.augmentation import Augmentation
from ssl_theory.benchmarks.cache import Result
from ssl_theory.benchmarks.data import Splits
from ssl_theory.benchmarks.measures import Examination
from ssl_theory.benchmarks.methods import METHODS, Method
from ssl_theory.benchmarks.run import Settings, originals

PACKAGES = ("torch", "numpy", "scikit-learn", "pandas", "ssl-theory")


def tidy(results: dict[str, Result]) -> pd.DataFrame:
    return pd.concat([result.rows for result in results.values()], ignore_index=True)


def titles(methods: list[Method]) -> dict[str, str]:
    return {method.key: method.title for method in methods}


def caption(splits: Splits, settings: Settings) -> str:
    return (
        f"{splits.name}: {len(splits.train)} train, {len(splits.validation)} validation, {len(splits.test)} test "
        f"images; mean ± half of the 95 % t interval over {settings.seeds} training seeds; representation where "
        "the loss acts; training length and k chosen on the validation images."
    )


def write(
    folder: Path,
    results: dict[str, Result],
    splits: Splits,
    augmentation: Augmentation,
    settings: Settings,
    seconds: float,
) -> list[Path]:
    """Write table, figures and provenance to `folder`; the paths written."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, names = tidy(results), titles([METHODS[key] for key in results])
    partial = folder / f".table.{os.getpid()}.partial"
    rows.to_parquet(partial)
    partial.replace(folder / "table.parquet")
    texts = {
        "table.json": table.as_json(rows),
        "table.md": table.markdown(rows, names, caption(splits, settings)),
        "provenance.json": json.dumps(provenance(results, splits, augmentation, settings, seconds), indent=1),
    }
    for name, text in texts.items():
        cache.replace_text(folder / name, text)
    drawn = _figures(rows, results, splits, augmentation, settings)
    written = [path for name, figure in drawn.items() for path in _save(figure, folder / name)]
    return [folder / "table.parquet", *(folder / name for name in texts), *written]


def _figures(
    rows: pd.DataFrame,
    results: dict[str, Result],
    splits: Splits,
    augmentation: Augmentation,
    settings: Settings,
) -> dict[str, Figure]:
    redrawn = {METHODS[k].title: r.pictures for k, r in results.items() if r.pictures is not None}
    history = {key: result.history for key, result in results.items() if len(result.history)}
    with look():
        figures = {}
        if set(results) - {draw.REFERENCE}:
            figures["content-against-style"] = draw.content_against_style(rows, splits.name)
        if redrawn:
            views = originals(Examination.of(splits, augmentation, settings.split_seed))
            figures["reconstructions"] = draw.reconstructions(views.numpy(), redrawn)
        if history:
            figures["training"] = draw.training_curves(history)
    return figures


def _save(figure: Figure, stem: Path) -> list[Path]:
    """PNG and PDF, each in one rename."""
    paths = []
    for suffix in ("png", "pdf"):
        path, partial = stem.with_suffix(f".{suffix}"), stem.with_name(f".{stem.name}.{os.getpid()}.partial")
        with look():
            figure.savefig(partial, format=suffix)
        partial.replace(path)
        paths.append(path)
    return paths


def provenance(
    results: dict[str, Result],
    splits: Splits,
    augmentation: Augmentation,
    settings: Settings,
    seconds: float,
) -> dict[str, object]:
    """Where the numbers came from: everything needed to make them again."""
    return {
        "data": {
            "name": splits.name,
            "shape": splits.shape,
            "classes": splits.classes,
            "images": {part: len(getattr(splits, part)) for part in ("train", "validation", "test")},
            "sha256": splits.fingerprint(),
        },
        "augmentation": repr(augmentation),
        "settings": asdict(settings),
        "seeds": list(range(settings.seeds)),
        "methods": {key: repr(METHODS[key].learner) for key in results},
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES if _installed(name)},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "source": cache.source(),
        "commit": _commit(),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
    }


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _commit() -> str | None:
    """The commit of the source tree, None for an installed package."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
