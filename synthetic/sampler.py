"""What every kind of world is: a sampler of views that says how it draws them, and so can be streamed and drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from synthetic.plate import draw_plates
from synthetic.views import Views

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from synthetic.stream import Stream


class Sampler(ABC):
    """Gives views of data; a kind of world adds what its own law makes exact."""

    dtype: torch.dtype
    device: torch.device

    @property
    @abstractmethod
    def classes(self) -> int | None:
        """Number of labels, None where there are none."""

    @abstractmethod
    def sample(self, n: int, *, views: int = 2, generator: torch.Generator) -> Views:
        """n independent data of `views` views each, drawn and kept on the generator's device."""

    @abstractmethod
    def formulas(self) -> tuple[str, str, str]:
        """How content, then the latents, then the observations are drawn: one line each."""

    def to_dataset(self, n: int, *, views: int = 2, seed: int = 0, chunk: int = 1024) -> Stream:
        """n data as a torch `IterableDataset`, the same on every pass and for any number of workers."""
        from synthetic.stream import Stream

        return Stream(self, n, views=views, seed=seed, chunk=chunk)

    def graph(self, axes: Axes | None = None) -> Axes:
        """The plate diagram of this world, on matplotlib axes."""
        return draw_plates(self, axes)

    def __repr__(self) -> str:
        return type(self).__name__ + "".join("\n  " + line for line in self.formulas())

    def _require_drawable(self, n: int, views: int, generator: torch.Generator) -> None:
        """One-line refusal of empty samples, and of generators of another device."""
        if n < 1 or views < 1:
            raise ValueError(f"expected at least one datum and one view, found n={n}, views={views}")
        if generator.device.type != self.device.type:
            raise ValueError(
                f"expected a generator on {self.device}, found one on {generator.device}: move the world by "
                f"world.to({str(generator.device)!r}), or use torch.Generator({str(self.device)!r})"
            )


def saved_as(path: str | Path) -> tuple[Path, Path]:
    """The files of a saved world, structure and tensors; `path` without suffix, or with either of the two."""
    path = Path(path)
    stem = path.with_suffix("") if path.suffix in (".json", ".safetensors") else path
    return stem.with_name(stem.name + ".json"), stem.with_name(stem.name + ".safetensors")
