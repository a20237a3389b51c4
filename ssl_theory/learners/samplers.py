"""Samplers made from other samplers or from arrays, for learners and data that need more than a world gives."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_theory.learners.streams import Sampler, sampler_device


@dataclass(frozen=True)
class Drawn:
    """Views `x (n, J, *shape)` of the data points `index (n,)`, and their `label (n,)` where known."""

    x: Float[Tensor, "n J ..."]
    index: Int[Tensor, " n"]
    label: Int[Tensor, " n"] | None = None


class Pool:
    """A finite set of data points, each with a finite set of views, drawn once from another sampler.

    `sample` draws data points with replacement and, for each, J different ones of its views; `.index` says which.
    """

    def __init__(self, sampler: Sampler, points: int, *, views: int = 8, seed: int = 0) -> None:
        device = sampler_device(sampler)
        drawn = sampler.sample(points, views=views, generator=torch.Generator(device).manual_seed(seed))
        self.x, self.label, self.device = drawn.x, getattr(drawn, "label", None), device

    def sample(self, n: int, *, views: int, generator: torch.Generator) -> Drawn:
        points, available = self.x.shape[:2]
        if views > available:
            raise ValueError(f"expected at most {available} views, found {views}; make the pool with more views")
        index = torch.randint(points, (n,), generator=generator, device=self.device)
        order = _lowest(torch.rand(n, available, generator=generator, device=self.device), views)
        label = None if self.label is None else self.label[index]
        return Drawn(self.x[index[:, None], order], index, label)


def _lowest(keys: Float[Tensor, "n m"], k: int) -> Int[Tensor, "n k"]:
    """`keys.argsort(-1)[:, :k]`, most often without sorting all: rows with equals among the first are sorted."""
    least = keys.topk(min(k + 1, keys.shape[1]), largest=False)
    order, equals = least.indices[:, :k], (least.values[:, 1:] == least.values[:, :-1]).any(-1)
    order[equals] = keys[equals].argsort(-1)[:, :k]
    return order


Augmentation = Callable[[Tensor, torch.Generator], Tensor]


class Augmented:
    """Views of given data `(N, *shape)` by `augment(x, generator)`, which maps `(m, *shape)` to `(m, *shape)`."""

    def __init__(
        self, x: Float[Tensor, "N ..."], augment: Augmentation, label: Int[Tensor, " N"] | None = None
    ) -> None:
        self.x, self.augment, self.label, self.device = x, augment, label, x.device

    def sample(self, n: int, *, views: int, generator: torch.Generator) -> Drawn:
        index = torch.randint(len(self.x), (n,), generator=generator, device=self.device)
        seen = self.augment(self.x[index].repeat_interleave(views, 0), generator).unflatten(0, (n, views))
        return Drawn(seen, index, None if self.label is None else self.label[index])
