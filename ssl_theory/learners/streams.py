"""The random numbers of an ensemble: each member has streams of its own, drawn many steps at once.

Drawing in chunks amortises the cost of a call over its steps. The chunk's length depends on the shape of one
member's data alone, never on the number of members, so a lone run draws the numbers it would draw in company.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

LONGEST_CHUNK = 64  # steps
CHUNK_VALUES = 2**20  # numbers a member holds in one chunk
REMEDIES = {
    "label": "take a world that has classes",
    "index": "wrap the sampler in a Pool, which draws from a finite set",
}
PURPOSES = ("parameters", "data", "noise", "probe")


@runtime_checkable
class Sampler(Protocol):
    """Anything that draws n data points of J views each; the result's `.x` is `(n, J, *shape)`."""

    def sample(self, n: int, *, views: int, generator: torch.Generator) -> Any: ...


def stream(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """The generator of one member for one purpose; streams of different seeds or purposes are unrelated."""
    words = np.random.SeedSequence([seed, PURPOSES.index(purpose)]).generate_state(2, np.uint32)
    return torch.Generator(device).manual_seed((int(words[0]) << 31) ^ int(words[1]))


def sampler_device(sampler: Sampler) -> torch.device:
    """Where a sampler draws: its own `.device`, the CPU when it does not say."""
    return torch.device(getattr(sampler, "device", "cpu"))


@dataclass(frozen=True)
class Batch:
    """One step of data for E members: `x (E, n, J, *shape)`, `noise (E, n, *noise_shape)`, `label (E, n)`."""

    x: Tensor
    noise: Tensor | None
    label: Tensor | None


class Streams:
    """The data and noise of E members, step after step.

    `state` gives the generators as they were at the start of a step's chunk; `restore` puts them back, and the
    chunk is drawn again, so a resumed run sees the same numbers.
    """

    def __init__(
        self,
        samplers: Sequence[Sampler],
        seeds: Sequence[int],
        *,
        batch_size: int,
        views: int,
        noise_shape: tuple[int, ...] | None,
        target: str | None,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.samplers, self.batch_size, self.views = samplers, batch_size, views
        self.noise_shape, self.target = noise_shape, target
        self.device, self.dtype = device, dtype
        self.data = [stream(s, "data", sampler_device(w)) for s, w in zip(seeds, samplers, strict=True)]
        self.noise = [stream(seed, "noise", device) for seed in seeds]
        self.shape, self.fingerprint = self._probe(seeds)
        values = batch_size * (views * int(np.prod(self.shape)) + int(np.prod(noise_shape or 0)))
        self.length = max(1, min(LONGEST_CHUNK, CHUNK_VALUES // values))
        self.chunk: tuple[Tensor, Tensor | None, Tensor | None] | None = None
        self.start = self._states()

    def batch(self, step: int) -> Batch:
        """The batch of step 0, 1, 2, ...; steps must be asked for in order."""
        position = step % self.length
        if self.chunk is None or position == 0:
            self.start = self._states()
            self.chunk = self._draw()
        x, noise, label = self.chunk
        return Batch(
            x[position],
            None if noise is None else noise[position],
            None if label is None else label[position],
        )

    def state(self, step: int) -> dict[str, UInt8[Tensor, "E bytes"]]:
        """The generators as `restore` needs them before the batch of `step`."""
        return self._states() if step % self.length == 0 else self.start

    def restore(self, state: dict[str, UInt8[Tensor, "E bytes"]]) -> None:
        """Put the generators back; the next batch draws its whole chunk afresh."""
        for name, members in (("data", self.data), ("noise", self.noise)):
            for generator, saved in zip(members, state[name], strict=True):
                generator.set_state(saved.clone())  # a view of the file may be misaligned
        self.chunk, self.start = None, state

    def _states(self) -> dict[str, UInt8[Tensor, "E bytes"]]:
        return {
            "data": torch.stack([g.get_state() for g in self.data]),
            "noise": torch.stack([g.get_state() for g in self.noise]),
        }

    def _probe(self, seeds: Sequence[int]) -> tuple[tuple[int, ...], str]:
        """The shape of one view and a hash of a few data, from a draw that leaves the members' streams untouched."""
        shapes, seen = set(), hashlib.sha256()
        for seed, sampler in zip(seeds, self.samplers, strict=True):
            generator = stream(seed, "probe", sampler_device(sampler))
            drawn = sampler.sample(2, views=self.views, generator=generator)
            if self.target is not None and getattr(drawn, self.target, None) is None:
                raise ValueError(f"expected samples with .{self.target}, found none; {REMEDIES[self.target]}")
            x = drawn.x
            seen.update(x.detach().double().cpu().numpy().tobytes())
            if x.ndim < 3 or x.shape[:2] != (2, self.views):
                raise ValueError(
                    f"expected sample(2, views={self.views}).x of shape (2, {self.views}, *shape), "
                    f"found {tuple(x.shape)}; mend the sampler"
                )
            shapes.add(tuple(x.shape[2:]))
        if len(shapes) > 1:
            raise ValueError(f"members must have inputs of one shape, found {sorted(shapes)}; train them apart")
        return shapes.pop(), seen.hexdigest()[:16]

    def _draw(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        members, points = len(self.samplers), self.length * self.batch_size
        x = torch.empty(
            (self.length, members, self.batch_size, self.views, *self.shape),
            dtype=self.dtype,
            device=self.device,
        )
        label = torch.empty(x.shape[:3], dtype=torch.int64, device=self.device) if self.target else None
        for member, (sampler, generator) in enumerate(zip(self.samplers, self.data, strict=True)):
            drawn = sampler.sample(points, views=self.views, generator=generator)
            seen = drawn.x.unflatten(0, (self.length, self.batch_size))
            if members == 1:
                x = seen.to(x)[:, None]  # a member alone needs no copy
            else:
                x[:, member] = seen
            if label is not None and self.target is not None:
                label[:, member] = getattr(drawn, self.target).unflatten(0, (self.length, self.batch_size))
        return x, self._draw_noise(), label

    def _draw_noise(self) -> Float[Tensor, "T E n ..."] | None:
        if self.noise_shape is None:
            return None
        size = (self.length, self.batch_size, *self.noise_shape)
        drawn = [torch.randn(size, generator=g, dtype=self.dtype, device=self.device) for g in self.noise]
        return torch.stack(drawn, dim=1)
