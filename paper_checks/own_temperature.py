"""The temperature of a user's own learner: which of its fields it is, and the learner at another one.

Apart from `own`, which belongs to the engine: what a field means makes numbers, so that the cache must know of it.
"""

from dataclasses import fields
from typing import Any

from paper_checks import own

TEMPERATURES = {"temperature": ("τ", 1.0), "style_variance": ("τ = 2σ²", 0.5)}  # fields: words, a unit of tau


def temperature_of(method: str) -> str | None:
    """Which of `TEMPERATURES` a user's learner has as a field."""
    there = {field.name for field in fields(own.load(method)) if field.init}
    return next((name for name in TEMPERATURES if name in there), None)


def at(method: str, temperature: float) -> Any:
    """A user's learner at the temperature `tau = 2 sigma^2`, or as it is where it has none."""
    kind, field = own.load(method), temperature_of(method)
    return kind(**{field: temperature * TEMPERATURES[field][1]}) if field else kind()
