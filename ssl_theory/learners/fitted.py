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
from ssl_theory.learners.learner import LAYERS, Learner
from ssl_theory.learners.streams import stream


@dataclass(frozen=True)
class Fitted:
    """E members of a learner after training; made by `fit` or `Fitted.load`.

    `history` is a tidy table (step, seed, loss), the loss averaged over the steps since the row before, NaN
    from the step on at which a member diverged; `divergences` says of each such member its method, seed, step
    and last finite loss. `shape` is the shape of one view.
    """

    learner: Learner
    modules: nn.ModuleDict
    seeds: tuple[int, ...]
    shape: tuple[int, ...]
    steps: int
    history: pd.DataFrame
    divergences: pd.DataFrame

    @property
    def diverged(self) -> np.ndarray:
        """`(E,)`, true where a member's training met NaN or infinity."""
        return np.isin(self.seeds, self.divergences["seed"].to_numpy())

    @torch.no_grad()
    def transform(
        self, x: Tensor | np.ndarray, *, layer: str = "representation", batch_size: int = 4096
    ) -> Float[Tensor, "E n d"]:
        """Representations `(E, n, d)` of `x (n, *shape)`, or of `(E, n, *shape)` where members see different
        data.

        `layer` is "representation" (where the loss is applied; posterior mean of a VAE) or "encoder" (before
        the projection head). Batch statistics are the running ones. Diverged members give NaN.
        """
        if layer not in LAYERS:
            raise ValueError(f"layer must be one of {', '.join(LAYERS)}, found {layer!r}")
        parts = [self.learner.represent(self.modules, part, layer) for part in self._parts(x, batch_size)]
        return self._joined(parts, x)

    @torch.no_grad()
    def reconstruct(self, x: Tensor | np.ndarray, *, batch_size: int = 4096) -> Float[Tensor, "E n ..."]:
        """What a generative learner decodes from its representation of x: `(E, n, *shape)`."""
        parts = [self.learner.reconstruct(self.modules, part) for part in self._parts(x, batch_size)]
        return self._joined(parts, x)

    def save(self, path: str | Path) -> None:
        """Write one safetensors file with a JSON header, atomically."""
        description = {
            "learner": storage.describe(self.learner),
            "seeds": list(self.seeds),
            "shape": list(self.shape),
            "steps": self.steps,
            "history": self.history.to_dict("list"),
            "divergences": self.divergences.to_dict("list"),
        }
        storage.write(path, dict(self.modules.state_dict()), description)

    @classmethod
    def load(cls, path: str | Path, *, device: str | torch.device = "cpu") -> "Fitted":
        """Read what `save` wrote; a learner class of one's own must have been imported."""
        tensors, said = storage.read(path)
        learner, seeds, shape = storage.revive(said["learner"]), tuple(said["seeds"]), tuple(said["shape"])
        modules = build(learner, shape, seeds)
        dtype = next((t.dtype for t in tensors.values() if t.is_floating_point()), torch.float32)
        modules.to(device=torch.device(device), dtype=dtype).load_state_dict(tensors)
        tables = (pd.DataFrame(said[name]) for name in ("history", "divergences"))
        return cls(learner, modules.eval(), seeds, shape, said["steps"], *tables)

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


def build(learner: Learner, shape: tuple[int, ...], seeds: Sequence[int]) -> nn.ModuleDict:
    """The untrained networks of a learner, member e from seed e alone."""
    return learner.build(shape, [stream(seed, "parameters") for seed in seeds])
