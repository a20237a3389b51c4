"""Content priors p(y): what all views of a datum share, and what a label predicts.

k ~ Cat(pi)            label, where the prior has classes
y | k ~ p(y | k)       content, one draw per data point
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from synthetic.parts import Number, Part
from synthetic.refusal import NotExact


@dataclass(frozen=True)
class Components:
    """Content as a finite mixture of Gaussians: `y = mean_c + factor_c e`, `e ~ N(0, I)`, with probability
    `weights_c`.
    """

    weights: Float[Tensor, " C"]
    labels: Int64[Tensor, " C"]
    mean: Float[Tensor, "C dc"]
    factor: Float[Tensor, "C dc m"]

    def moments(self) -> tuple[Float[Tensor, " dc"], Float[Tensor, "dc dc"]]:
        """Mean and covariance of y."""
        mean = self.weights @ self.mean
        centred = self.mean - mean
        within = torch.einsum("c,cim,cjm->ij", self.weights, self.factor, self.factor)
        return mean, within + torch.einsum("c,ci,cj->ij", self.weights, centred, centred)


@dataclass(frozen=True, eq=False, repr=False)
class Content(Part):
    """A prior over content; `sample(n, generator, dtype)` gives content `(n, dim)` and labels `(n,)` or
    None.
    """

    @property
    def dim(self) -> int:
        raise NotImplementedError

    @property
    def classes(self) -> int | None:
        """Number of classes, or None where the prior has none."""
        return None

    def sample(
        self, n: int, generator: torch.Generator, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "n dc"], Int64[Tensor, " n"] | None]:
        raise NotImplementedError

    def components(self, device: torch.device, dtype: torch.dtype) -> Components:
        """The prior as a finite mixture of Gaussians, where it is one."""
        raise NotExact(f"content {self.formula()} is not a finite mixture of Gaussians", self._remedy)

    def moments(self, device: torch.device, dtype: torch.dtype) -> tuple[Float[Tensor, " dc"], Float[Tensor, "dc dc"]]:
        """Mean and covariance of content in closed form."""
        return self.components(device, dtype).moments()

    @property
    def _remedy(self) -> str:
        return "use the functions of synthetic.monte_carlo"


@dataclass(frozen=True, eq=False, repr=False)
class Gaussian(Content):
    """Content without classes: `y ~ N(0, std^2 I)` in `size` dimensions."""

    size: int
    std: Number = 1.0

    def __post_init__(self) -> None:
        require_positive("size of Gaussian content", self.size)
        require_positive("standard deviation of Gaussian content", self.std)

    @property
    def dim(self) -> int:
        return self.size

    def sample(
        self, n: int, generator: torch.Generator, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "n dc"], Int64[Tensor, " n"] | None]:
        return self.std * normal((n, self.size), generator, dtype), None

    def components(self, device: torch.device, dtype: torch.dtype) -> Components:
        weights = torch.ones(1, device=device, dtype=dtype)
        factor = self.std * torch.eye(self.size, device=device, dtype=dtype)[None]
        labels = torch.zeros(1, device=device, dtype=torch.int64)
        return Components(weights, labels, torch.zeros(1, self.size, device=device, dtype=dtype), factor)

    def formula(self) -> str:
        return f"y ~ N(0, {self.std**2:g} I_{self.size})"


@dataclass(frozen=True, eq=False, repr=False)
class ClassMixture(Content):
    """Classes of content: `k ~ Cat(weights)`, `y | k ~ N(means_k, spread^2 I)`; `spread = 0` makes y the
    class itself.

    `weights` need not be normalised; None means uniform.
    """

    means: Float[Tensor, "K dc"]
    spread: Number = 0.5
    weights: Float[Tensor, " K"] | None = None

    def __post_init__(self) -> None:
        if self.spread < 0:
            raise ValueError(
                f"expected a within-class spread >= 0, found {self.spread}: 0 makes content the class itself"
            )
        weights = torch.ones_like(self.means[:, 0]) if self.weights is None else self.weights
        if weights.shape != self.means.shape[:1] or bool((weights < 0).any()) or not bool(weights.sum() > 0):
            raise ValueError(f"expected {len(self.means)} non-negative class weights, found {weights.tolist()}")
        object.__setattr__(self, "weights", weights / weights.sum())

    @property
    def dim(self) -> int:
        return self.means.shape[1]

    @property
    def classes(self) -> int | None:
        return len(self.means)

    def sample(
        self, n: int, generator: torch.Generator, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "n dc"], Int64[Tensor, " n"] | None]:
        assert self.weights is not None
        label = categorical(self.weights, n, generator)
        centre = self.means.to(dtype)[label]
        return centre + self.spread * normal((n, self.dim), generator, dtype), label

    def components(self, device: torch.device, dtype: torch.dtype) -> Components:
        assert self.weights is not None
        labels = torch.arange(len(self.means), device=device)
        eye = torch.eye(self.dim, device=device, dtype=dtype)
        factor = (self.spread * eye).expand(len(labels), -1, -1)
        return Components(self.weights.to(device, dtype), labels, self.means.to(device, dtype), factor)

    def formula(self) -> str:
        spread = f"N(mu_k, {self.spread**2:g} I_{self.dim})" if self.spread else f"mu_k in R^{self.dim}"
        return f"k ~ Cat({len(self.means)} classes), y | k ~ {spread}".replace("~ mu", "= mu")


def class_means(classes: int, dim: int, std: Number, generator: torch.Generator) -> Float[Tensor, "K dc"]:
    """Class means drawn from `N(0, std^2 I)`, in float64."""
    require_positive("number of classes", classes)
    return std * torch.randn(classes, dim, generator=generator, dtype=torch.float64)


def categorical(weights: Float[Tensor, " K"], n: int, generator: torch.Generator) -> Int64[Tensor, " n"]:
    """Class indices by inversion of the distribution function: no validity check, hence no wait for the
    device.
    """
    edges = weights.cumsum(0)[:-1].contiguous()
    uniform = torch.rand(n, generator=generator, device=generator.device, dtype=weights.dtype)
    return torch.searchsorted(edges, uniform, right=True)


def normal(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Standard normal numbers on the generator's device."""
    return torch.randn(shape, generator=generator, device=generator.device, dtype=dtype)


def require_positive(what: str, value: Number) -> None:
    """One-line refusal of sizes and scales that are not positive."""
    if not value > 0:
        raise ValueError(f"expected a positive {what}, found {value}: choose a value above 0")
