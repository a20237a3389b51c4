"""Innovations of style: unit-variance numbers of any tail, drawn by each view or kept across the views of a datum.

Keeping. With probability `p_keep[i]`, independently for each datum and each coordinate i, the innovation `eps_i` is
drawn once and shared by all views of the datum; otherwise every view draws its own. 0: redrawn by every view (style);
1: never varies (content, in all but name).

Partial change. Each datum draws one innovation, and each view, on its own, redraws coordinate i with probability
`p_change[i]`: views change random subsets of style. For two views this is keeping with `p_keep = (1 - p_change)^2`.

Neither changes the law of a single view.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from synthetic.parts import Number, Part, normal, require_positive
from synthetic.refusal import NotExact


@dataclass(frozen=True, eq=False, repr=False)
class Innovations(Part):
    """How the innovations of a style are drawn.

    `shape` is the exponent of the generalised normal density `exp(-|eps / a|^shape)`, scaled to unit variance: 2 is
    Gaussian, 1 Laplace, smaller has heavier tails and larger lighter ones. `p_keep` and `p_change` are numbers or one a
    coordinate; only one of them may be set.
    """

    p_keep: Number | Float[Tensor, " ds"] = 0.0
    p_change: Number | Float[Tensor, " ds"] | None = None
    shape: Number = 2.0
    sizes: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        require_positive("exponent of the style's density", self.shape)
        given = {name: getattr(self, name) for name in ("p_keep", "p_change") if getattr(self, name) is not None}
        for name, value in given.items():
            require_probability(name, value)
        if self.p_change is not None and not (isinstance(self.p_keep, Number) and self.p_keep == 0):
            raise ValueError("expected p_keep or p_change, found both: leave one of them out")
        sizes = frozenset(len(value) for value in given.values() if isinstance(value, Tensor))
        object.__setattr__(self, "sizes", sizes)

    def draw(
        self, n: int, views: int, size: int, generator: torch.Generator, dtype: torch.dtype
    ) -> Float[Tensor, "n J ds"]:
        """Innovations of `views` views of n data."""
        if isinstance(self.p_keep, Number) and self.p_keep == 0 and self.p_change is None:
            return self._fresh((n, views, size), generator, dtype)
        shared = self._fresh((n, 1, size), generator, dtype)
        if isinstance(self.p_keep, Number) and self.p_keep == 1:
            return shared.expand(-1, views, -1)
        keep, of = (self.p_keep, 1) if self.p_change is None else (1 - self.p_change, views)
        uniform = torch.rand((n, of, size), generator=generator, device=generator.device, dtype=dtype)
        return torch.where(uniform < keep, shared, self._fresh((n, views, size), generator, dtype))

    def keeping(self, size: int) -> list[float]:
        """Probabilities that a pair of views shares each innovation, in a law that must be Gaussian."""
        if self.shape != 2:
            raise NotExact(f"style innovations are not Gaussian (exponent {self.shape:g})", "use synthetic.monte_carlo")
        keep = self.p_keep if self.p_change is None else (1 - self.p_change) ** 2
        return keep.tolist() if isinstance(keep, Tensor) else [float(keep)] * size

    @property
    def redrawn(self) -> bool:
        """Whether every view draws all its innovations."""
        return self.p_change is None and bool(torch.as_tensor(self.p_keep == 0).all())

    def log_density(self, eps: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Log-density of each innovation."""
        log_norm = math.log(self.shape) - math.log(2 * self._scale) - math.lgamma(1 / self.shape)
        return log_norm - (eps / self._scale).abs() ** self.shape

    @property
    def _scale(self) -> float:
        return math.exp(0.5 * (math.lgamma(1 / self.shape) - math.lgamma(3 / self.shape)))

    def _fresh(self, shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        if self.shape == 2:
            return normal(shape, generator, dtype)
        size = torch.full(shape, 1 / self.shape, device=generator.device, dtype=dtype)
        size = self._scale * torch._standard_gamma(size, generator=generator) ** (1 / self.shape)
        sign = torch.rand(shape, generator=generator, device=generator.device, dtype=dtype) < 0.5
        return torch.where(sign, -size, size)

    def formula(self) -> str:
        names = {2.0: "eps^j ~ N(0, I)", 1.0: "eps^j ~ Laplace"}
        name = names.get(float(self.shape), f"eps^j of exponent {self.shape:g}")
        if self.p_change is not None:
            return f"{name}, changed by a view with probability {show(self.p_change)}"
        return name if self.redrawn else f"{name}, kept across views with probability {show(self.p_keep)}"


def require_probability(name: str, value: Number | Tensor) -> None:
    """One-line refusal of what is not a probability."""
    inside = (value >= 0) & (value <= 1) if isinstance(value, Tensor) else 0 <= value <= 1
    if not bool(torch.as_tensor(inside).all()):
        raise ValueError(f"expected {name} between 0 and 1, found {show(value)}")


def show(value: Number | Tensor) -> str:
    """A number, or a list of them, for a line of text."""
    return str(value.tolist() if isinstance(value, Tensor) else value)
