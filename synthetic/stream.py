"""A world as a stream of data for torch's DataLoader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from synthetic.views import Views

if TYPE_CHECKING:
    from synthetic.sampler import Sampler

Datum = dict[str, Any]


class Stream(IterableDataset[Datum]):
    """n data of a world, drawn in chunks; chunk i depends on `seed` and i alone.

    Hence every pass gives the same data, and so does any number of workers (which share the chunks out), in another
    order. Each datum is a dictionary of x, z, content, style, and label where the world has classes.
    """

    def __init__(self, world: Sampler, n: int, *, views: int = 2, seed: int = 0, chunk: int = 1024) -> None:
        if n < 1 or chunk < 1:
            raise ValueError(f"expected at least one datum and chunks of at least one, found n={n}, chunk={chunk}")
        super().__init__()
        self.world, self.n, self.views, self.seed, self.chunk = world, n, views, seed, chunk

    def __len__(self) -> int:
        return self.n

    def chunks(self, first: int = 0, step: int = 1) -> Iterator[Views]:
        """Every `step`-th chunk from `first`, each a sample of its own generator."""
        for i in range(first, -(-self.n // self.chunk), step):
            generator = torch.Generator(self.world.device).manual_seed(_mixed(self.seed, i))
            size = min(self.chunk, self.n - i * self.chunk)
            yield self.world.sample(size, views=self.views, generator=generator)

    def __iter__(self) -> Iterator[Datum]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for views in self.chunks(first, step):
            columns = {name: value for name, value in vars(views).items() if value is not None}
            for i in range(len(views.content)):
                yield {name: _row(value, i) for name, value in columns.items()}


def _row(value: Tensor | tuple[Tensor, ...], i: int) -> Any:
    return value[i] if isinstance(value, Tensor) else tuple(part[i] for part in value)


def _mixed(seed: int, i: int) -> int:
    """One seed of two numbers: multiplied by odd constants and folded to 63 bits."""
    return (seed * 0x9E3779B97F4A7C15 + i * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % (1 << 63)
