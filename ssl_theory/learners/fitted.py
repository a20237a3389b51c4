"""The result of a training: E trained members, what they make of data, and how they got there."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssl_theory.learners import storage
from ssl_theory.learners.learner import Learner
from ssl_theory.learners.members import Members
from ssl_theory.learners.streams import stream


@dataclass(frozen=True)
class Fitted:
    """E members of a learner after training; made by `fit` or `Fitted.load`.

    `history` is a tidy table (step, seed, loss), the loss averaged over the steps since the row before, NaN from
    the step on at which a member diverged; `divergences` says of each such member its method, seed, step and last
    finite loss; `diverged (E,)` marks them. Where learners differ in a hyperparameter, both tables and
    `members.table()` have a column for it. `shape` is the shape of one view.
    """

    learner: Learner
    members: Members
    modules: nn.ModuleDict
    shape: tuple[int, ...]
    steps: int
    history: pd.DataFrame
    divergences: pd.DataFrame
    diverged: np.ndarray

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each member."""
        return self.members.seeds

    @torch.no_grad()
    def transform(
        self,
        x: Tensor | np.ndarray,
        *,
        layer: str = "representation",
        view: int | None = None,
        batch_size: int = 4096,
    ) -> Float[Tensor, "E n d"]:
        """Representations `(E, n, d)` of `x (n, *shape)`, or of `(E, n, *shape)` where members see different data.

        `layer` is "representation" (where the loss is applied; posterior mean of a VAE) or "encoder" (before the
        projection head) or, inside of a head of L layers, "head.1" to "head.L" (after the activation; the last is the
        representation). `view` chooses the encoder of a learner that has one for each view (CLIP), view 0 unless
        told. Batch statistics are the running ones. Diverged members give NaN.
        """
        if layer not in self.learner.layers:
            raise ValueError(f"layer must be one of {', '.join(self.learner.layers)}, found {layer!r}")
        if view is not None and not (self.learner.view_specific and view in (0, 1)):
            found = type(self.learner).__name__
            raise ValueError(f"expected view 0 or 1 of CLIP, found view {view} of {found}; leave view out")
        parts = self._parts(x, batch_size)
        return self._joined([self.learner.represent(self.modules, part, layer, view or 0) for part in parts], x)

    @torch.no_grad()
    def reconstruct(self, x: Tensor | np.ndarray, *, batch_size: int = 4096) -> Float[Tensor, "E n ..."]:
        """What a generative learner decodes from its representation of x: `(E, n, *shape)`."""
        parts = [self.learner.reconstruct(self.modules, part) for part in self._parts(x, batch_size)]
        return self._joined(parts, x)

    def save(self, path: str | Path) -> None:
        """Write one safetensors file with a JSON header, atomically."""
        description = {
            "learners": [storage.describe(learner) for learner in self.members.learners],
            "seeds": list(self.members.each),
            "shape": list(self.shape),
            "steps": self.steps,
            "history": self.history.to_dict("list"),
            "divergences": self.divergences.to_dict("list"),
            "diverged": self.diverged.tolist(),
        }
        storage.write(path, dict(self.modules.state_dict()), description)

    @classmethod
    def load(cls, path: str | Path, *, device: str | torch.device = "cpu") -> "Fitted":
        """Read what `save` wrote; a learner class of one's own must have been imported."""
        tensors, said = storage.read(path)
        dtype = next((t.dtype for t in tensors.values() if t.is_floating_point()), torch.float32)
        members = Members(tuple(storage.revive(one) for one in said["learners"]), tuple(said["seeds"]))
        learner, shape = members.stacked(torch.device(device), dtype), tuple(said["shape"])
        modules = build(learner, shape, members.seeds)
        modules.to(device=torch.device(device), dtype=dtype).load_state_dict(tensors)
        return cls(
            learner=learner,
            members=members,
            modules=modules.eval(),
            shape=shape,
            steps=said["steps"],
            history=pd.DataFrame(said["history"]),
            divergences=pd.DataFrame(said["divergences"]),
            diverged=np.array(said["diverged"]),
        )

    @classmethod
    def joined(cls, parts: Sequence["Fitted"]) -> "Fitted":
        """One ensemble of members that were trained apart, each part with seeds of its own: up to rounding what `fit`
        makes of all seeds at once. ValueError where the parts are not of one learner, or share a seed.
        """
        alike = {(part.members.learners, part.shape) for part in parts}
        if len(alike) != 1 or len(parts[0].members.learners) != 1:
            raise ValueError(f"expected parts of one learner and shape, found {len(alike)}; join those of each apart")
        first = parts[0]
        members = Members.of(first.learner, [seed for part in parts for seed in part.seeds])
        weight = next(first.modules.parameters())
        modules = build(first.learner, first.shape, members.seeds).to(device=weight.device, dtype=weight.dtype)
        states = [part.modules.state_dict() for part in parts]
        modules.load_state_dict({name: _side_by_side([state[name] for state in states]) for name in states[0]})
        return cls(
            learner=first.learner,
            members=members,
            modules=modules.eval(),
            shape=first.shape,
            steps=max(part.steps for part in parts),
            history=_histories([part.history for part in parts], members.seeds),
            divergences=pd.concat([part.divergences for part in parts], ignore_index=True),
            diverged=np.concatenate([part.diverged for part in parts]),
        )

    def _parts(self, x: Tensor | np.ndarray, batch_size: int) -> list[Tensor]:
        """x as `(E, n, *shape)` on the members' device and in their dtype, cut along n."""
        weight = next(self.modules.parameters())
        x, members = torch.as_tensor(x), len(self.seeds)
        own = x.ndim == len(self.shape) + 2 and x.shape[0] == members and tuple(x.shape[2:]) == self.shape
        if not own and tuple(x.shape[1:]) != self.shape:
            raise ValueError(self._expected(x))
        x = x if own else x.expand(members, *x.shape)
        return [part.to(weight.device, weight.dtype) for part in x.split(batch_size, dim=1)]

    def _expected(self, x: Tensor) -> str:
        shape = ", ".join(map(str, self.shape))
        return (
            f"expected x of shape (n, {shape}) or ({len(self.seeds)}, n, {shape}), found {tuple(x.shape)}; "
            "pass single views shaped as in training"
        )

    def _joined(self, parts: Sequence[Tensor], x: Any) -> Tensor:
        device = x.device if isinstance(x, Tensor) else torch.device("cpu")
        joined = torch.cat(list(parts), dim=1).to(device)
        joined[torch.as_tensor(self.diverged, device=device)] = torch.nan
        return joined


def _side_by_side(each: Sequence[Tensor]) -> Tensor:
    """Tensors `(E, ...)` of members; a count of steps, which has no such axis, as far as the longest part went."""
    return torch.cat(list(each)) if each[0].ndim else torch.stack(list(each)).max()


def _histories(tables: Sequence[pd.DataFrame], seeds: Sequence[int]) -> pd.DataFrame:
    """Step by step all seeds; NaN after the end of a part whose members had all diverged."""
    table = pd.concat(tables)
    rows = pd.MultiIndex.from_product([sorted(table["step"].unique()), seeds], names=["step", "seed"])
    return table.set_index(list(rows.names)).reindex(rows).reset_index()


def build(learner: Learner, shape: tuple[int, ...], seeds: Sequence[int]) -> nn.ModuleDict:
    """The untrained networks of a learner, member e from seed e alone, whatever the hyperparameters of its loss."""
    modules = learner.build(shape, [stream(seed, "parameters") for seed in seeds])
    for name, parameter in modules.named_parameters():
        if parameter.requires_grad and parameter.shape[:1] != (len(seeds),):
            raise ValueError(
                f"expected parameters with a leading axis of {len(seeds)} members, found {name} of shape "
                f"{tuple(parameter.shape)}; give each member its own in {type(learner).__name__}.build"
            )
    return modules
