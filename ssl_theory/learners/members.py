"""Who trains in an ensemble: every learner with every seed; learners may differ in hyperparameters of their loss."""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, get_args

import pandas as pd
import torch
from torch import Tensor

from ssl_theory.learners.learner import Learner


@dataclass(frozen=True)
class Members:
    """The members, learner by learner: `learners[0]` with each of `each` seeds, then `learners[1]`, and so on."""

    learners: tuple[Learner, ...]
    each: tuple[int, ...]

    @classmethod
    def of(cls, learners: Learner | Sequence[Learner], seeds: Iterable[int]) -> "Members":
        """Check what a caller gave: distinct seeds, learners that can train together."""
        if isinstance(learners, type):
            raise ValueError(f"expected a learner, found the class {learners.__name__}; call it, {learners.__name__}()")
        given = (learners,) if isinstance(learners, Learner) else tuple(learners)
        if not given:
            raise ValueError("expected at least one learner, found none; pass e.g. SimCLR()")
        members = cls(given, _distinct(seeds))
        members.settings()
        return members

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each of the E members."""
        return self.each * len(self.learners)

    def settings(self) -> dict[str, list[Any]]:
        """The hyperparameters in which the learners differ, a value a learner."""
        first = self.learners[0]
        if others := {type(learner).__name__ for learner in self.learners} - {type(first).__name__}:
            names = ", ".join(sorted(others | {type(first).__name__}))
            raise ValueError(f"expected learners of one method, found {names}; train them apart")
        columns = {field.name: [getattr(one, field.name) for one in self.learners] for field in fields(first)}
        differ = {name: values for name, values in columns.items() if any(v != values[0] for v in values[1:])}
        free = [field.name for field in fields(first) if Tensor in get_args(field.type)]
        if fixed := set(differ) - set(free):
            raise ValueError(
                f"expected learners that differ in {' or '.join(free) or 'nothing'}, "
                f"found a difference in {', '.join(sorted(fixed))}; train them apart"
            )
        return differ

    def table(self) -> pd.DataFrame:
        """One row a member: the hyperparameters in which the learners differ, and its seed."""
        count = len(self.each)
        columns = {name: [v for v in values for _ in range(count)] for name, values in self.settings().items()}
        return pd.DataFrame({**columns, "seed": self.seeds})

    def stacked(self, device: torch.device, dtype: torch.dtype) -> Learner:
        """One learner for all members, with a tensor `(E,)` for each hyperparameter in which they differ."""
        table = self.table().drop(columns="seed")
        values: dict[str, Any] = {
            str(name): torch.tensor(column.tolist(), dtype=dtype, device=device) for name, column in table.items()
        }
        return replace(self.learners[0], **values)


def _distinct(seeds: Iterable[int]) -> tuple[int, ...]:
    if not isinstance(seeds, Iterable):
        raise ValueError(f"expected several seeds, found {seeds!r}; pass e.g. seeds=range({seeds})")
    seeds = tuple(operator.index(seed) for seed in seeds)
    if not seeds:
        raise ValueError("expected at least one seed, found none; pass e.g. seeds=range(10)")
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"expected distinct seeds, found {seeds}; a repeated seed repeats a run")
    if min(seeds) < 0:
        raise ValueError(f"expected seeds of at least 0, found {min(seeds)}; use natural numbers")
    return seeds
