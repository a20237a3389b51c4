"""Content priors p(y): what all views of a datum share, and what a label predicts.

    k ~ Cat(pi)            label, where the prior has classes
    y | k ~ p(y | k)       content, one draw per data point

Each prior states what it knows of itself (moments, entropy, its form as a mixture of Gaussians); methods take a tensor
`like` for the device and the floating-point type of their answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from synthetic.exact.box import BoxLaw
from synthetic.exact.hierarchy import Arrangement, Components, hierarchy
from synthetic.exact.law import Law
from synthetic.parts import Number, Part, distribution, normal, require_positive
from synthetic.refusal import NotExact

ANY_CONTENT = "use synthetic.monte_carlo.log_evidence, pmi, mutual_information or style_floor, which take any content"


@dataclass(frozen=True, eq=False, repr=False)
class Content(Part):
    """A prior over content of `dim` coordinates."""

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
        """Content and labels of n data; labels None where there are no classes."""
        raise NotImplementedError

    def components(self, like: Tensor) -> Components:
        """The prior as a finite mixture of Gaussians, where it is one."""
        raise self._refusal("not a finite mixture of Gaussians")

    def moments(self, like: Tensor) -> tuple[Float[Tensor, " dc"], Float[Tensor, "dc dc"]]:
        """Mean and covariance of content."""
        return self.components(like).moments()

    def entropy(self, like: Tensor) -> float:
        """`H(y)` in nats: of the distribution where content is discrete, differential otherwise."""
        raise self._refusal("of no elementary entropy", "average -log p(y) over world.sample(n, ...).content")

    def label_entropy(self, like: Tensor) -> float:
        """`H(k)` in nats."""
        if self.classes is None:
            raise NotExact("content has no classes", "use a world with classes")
        parts = self.components(like)
        weights = parts.weights.new_zeros(self.classes).index_add(0, parts.labels, parts.weights)
        return float(torch.special.entr(weights).sum())

    def deviated(self, std: Float[Tensor, " d"], p_keep: list[float]) -> Law:
        """The law of `z^j = y + std * eps^j`, with innovations kept as stated."""
        one, zero = torch.diag(torch.ones_like(std)), torch.zeros_like(std)
        latent, style = Arrangement(one, zero, one), Arrangement(0 * one, zero, one)
        return hierarchy(self.components(std), torch.diag(std), p_keep, latent, style)

    def surrounded(self, kappa: float, anchored: bool, like: Tensor) -> Law:
        """The law of `z^j ~ vMF(y, kappa)`."""
        raise self._refusal("not uniform on the sphere")

    def spelled(self, table: Float[Tensor, "K M"]) -> Law:
        """The law of symbols `z^j ~ table[y]`."""
        raise self._refusal("not discrete")

    def _refusal(self, failing: str, remedy: str = ANY_CONTENT) -> NotExact:
        return NotExact(f"content {self.formula()} is {failing}", remedy)


@dataclass(frozen=True, eq=False, repr=False)
class Gaussian(Content):
    """Content without classes: `y ~ N(0, std^2 F F')` in `size` dimensions; `factor` None is F = I."""

    size: int
    std: Number = 1.0
    factor: Float[Tensor, "size size"] | None = None

    def __post_init__(self) -> None:
        require_positive("size of Gaussian content", self.size)
        require_positive("standard deviation of Gaussian content", self.std)

    @property
    def dim(self) -> int:
        return self.size

    def sample(
        self, n: int, generator: torch.Generator, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "n dc"], Int64[Tensor, " n"] | None]:
        y = self.std * normal((n, self.size), generator, dtype)
        return y if self.factor is None else y @ self.factor.mT, None

    def components(self, like: Tensor) -> Components:
        eye = torch.eye(self.size, device=like.device, dtype=like.dtype)
        factor = self.std * (eye if self.factor is None else self.factor.to(like))
        labels = torch.zeros(1, device=like.device, dtype=torch.int64)
        return Components(like.new_ones(1), labels, like.new_zeros(1, self.size), factor[None])

    def entropy(self, like: Tensor) -> float:
        _, covariance = self.moments(like)
        return 0.5 * float(torch.logdet(2 * math.pi * math.e * covariance))

    def formula(self) -> str:
        return f"y ~ N(0, {self.std**2:g} {'I' if self.factor is None else 'F F^T'}) in R^{self.size}"


@dataclass(frozen=True, eq=False, repr=False)
class ClassMixture(Content):
    """Classes of content: `k ~ Cat(weights)`, `y | k ~ N(means_k, spread^2 I)`; `spread = 0`: y is the class.

    Without spread two classes with one mean are one content, and refused. `weights` need not be normalised; None means
    uniform.
    """

    means: Float[Tensor, "K dc"]
    spread: Number = 0.5
    weights: Float[Tensor, " K"] | None = None

    def __post_init__(self) -> None:
        _require_spread(self.spread)
        weights = torch.ones_like(self.means[:, 0]) if self.weights is None else self.weights
        if weights.shape != self.means.shape[:1]:
            raise ValueError(f"expected weights of {len(self.means)} classes, found {len(weights)}")
        object.__setattr__(self, "weights", distribution("classes", weights))
        _require_apart(self.means, self.spread)

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
        return self.means[label] + self.spread * normal((n, self.dim), generator, dtype), label

    def components(self, like: Tensor) -> Components:
        assert self.weights is not None
        labels = torch.arange(len(self.means), device=like.device)
        return Components(self.weights.to(like), labels, self.means.to(like), _ball(self.spread, self.means.to(like)))

    def entropy(self, like: Tensor) -> float:
        return self.label_entropy(like) if self.spread == 0 else super().entropy(like)

    def formula(self) -> str:
        spread = f"~ N(mu_k, {self.spread**2:g} I)" if self.spread else "= mu_k"
        return f"k ~ Cat({len(self.means)} classes), y | k {spread} in R^{self.dim}"


@dataclass(frozen=True, eq=False, repr=False)
class Tree(Content):
    """Classes of subclasses, to any depth: a leaf is drawn uniformly, `y | leaf ~ N(leaves, spread^2 I)`.

    `branching` is the number of children at each depth; the label is the ancestor at depth `level` (0: the
    coarsest classes, -1: the leaves). Leaves come in the order of their ancestors. `tree` draws one.
    """

    leaves: Float[Tensor, "L dc"]
    branching: tuple[int, ...]
    spread: Number = 0.5
    level: int = 0

    def __post_init__(self) -> None:
        _require_spread(self.spread)
        if not self.branching or math.prod(self.branching) != len(self.leaves):
            raise ValueError(
                f"expected {math.prod(self.branching)} leaves of {self.branching}, found {len(self.leaves)}"
            )
        if not -len(self.branching) <= self.level < len(self.branching):
            raise ValueError(f"expected a label level below {len(self.branching)}, found {self.level}")
        _require_apart(self.leaves, self.spread)

    @property
    def dim(self) -> int:
        return self.leaves.shape[1]

    @property
    def classes(self) -> int | None:
        return len(self.leaves) // self._leaves_of_a_class

    @property
    def _leaves_of_a_class(self) -> int:
        return math.prod(self.branching[self.level % len(self.branching) + 1 :])

    def sample(
        self, n: int, generator: torch.Generator, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "n dc"], Int64[Tensor, " n"] | None]:
        leaf = torch.randint(len(self.leaves), (n,), generator=generator, device=generator.device)
        y = self.leaves[leaf] + self.spread * normal((n, self.dim), generator, dtype)
        return y, leaf // self._leaves_of_a_class

    def components(self, like: Tensor) -> Components:
        leaf = torch.arange(len(self.leaves), device=like.device)
        weights = like.new_full((len(leaf),), 1 / len(leaf))
        means = self.leaves.to(like)
        return Components(weights, leaf // self._leaves_of_a_class, means, _ball(self.spread, means))

    def entropy(self, like: Tensor) -> float:
        return math.log(len(self.leaves)) if self.spread == 0 else super().entropy(like)

    def formula(self) -> str:
        depth = " x ".join(str(size) for size in self.branching)
        return f"leaf ~ Cat({depth}), y | leaf ~ N(mu_leaf, {self.spread**2:g} I) in R^{self.dim}"


@dataclass(frozen=True, eq=False, repr=False)
class Box(Content):
    """`y ~ U[low, high]^size`, without classes."""

    size: int
    low: Number = 0.0
    high: Number = 1.0

    def __post_init__(self) -> None:
        require_positive("size of box content", self.size)
        if not self.low < self.high:
            raise ValueError(f"expected a box with low < high, found {self.low} and {self.high}")

    @property
    def dim(self) -> int:
        return self.size

    def sample(
        self, n: int, generator: torch.Generator, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "n dc"], Int64[Tensor, " n"] | None]:
        uniform = torch.rand((n, self.size), generator=generator, device=generator.device, dtype=dtype)
        return self.low + (self.high - self.low) * uniform, None

    def moments(self, like: Tensor) -> tuple[Float[Tensor, " dc"], Float[Tensor, "dc dc"]]:
        mean = like.new_full((self.size,), 0.5 * (self.low + self.high))
        return mean, torch.diag(torch.full_like(mean, (self.high - self.low) ** 2 / 12))

    def entropy(self, like: Tensor) -> float:
        return self.size * math.log(self.high - self.low)

    def deviated(self, std: Float[Tensor, " d"], p_keep: list[float]) -> Law:
        if any(p_keep):
            raise self._refusal("uniform in a box, and style is kept")
        return BoxLaw(float(self.low), float(self.high), std)

    def formula(self) -> str:
        return f"y ~ U[{self.low:g}, {self.high:g}]^{self.size}"


def class_means(classes: int, dim: int, std: float, generator: torch.Generator) -> Float[Tensor, "K dc"]:
    """Class means drawn from `N(0, std^2 I)`, in float64."""
    require_positive("number of classes", classes)
    return std * torch.randn(classes, dim, generator=generator, dtype=torch.float64)


def tree(
    branching: tuple[int, ...],
    dim: int,
    generator: torch.Generator,
    *,
    stds: tuple[Number, ...],
    spread: Number = 0.5,
    level: int = 0,
) -> Tree:
    """A random tree: each node lies around its parent by `N(0, std^2 I)`, one standard deviation a depth."""
    if len(stds) != len(branching):
        raise ValueError(f"expected a standard deviation for each of {len(branching)} depths, found {len(stds)}")
    nodes = torch.zeros(1, dim, dtype=torch.float64)
    for size, std in zip(branching, stds, strict=True):
        nodes = nodes.repeat_interleave(size, 0)
        nodes = nodes + class_means(len(nodes), dim, std, generator)
    return Tree(nodes, branching, spread, level)


def categorical(weights: Float[Tensor, " K"], n: int, generator: torch.Generator) -> Int64[Tensor, " n"]:
    """Indices by inversion of the distribution function: unchecked, hence no wait for the device."""
    edges = weights.cumsum(0)[:-1].contiguous()
    uniform = torch.rand(n, generator=generator, device=generator.device, dtype=weights.dtype)
    return torch.searchsorted(edges, uniform, right=True)


def _ball(spread: Number, means: Tensor) -> Float[Tensor, "C dc dc"]:
    eye = torch.eye(means.shape[1], device=means.device, dtype=means.dtype)
    return (spread * eye).expand(len(means), -1, -1)


def _require_spread(spread: Number) -> None:
    if not spread >= 0:
        raise ValueError(f"expected a within-class spread >= 0, found {spread}: 0 makes content the class itself")


def _require_apart(means: Float[Tensor, "K dc"], spread: Number) -> None:
    if spread == 0 and len(means.unique(dim=0)) < len(means):
        raise ValueError("expected classes at different places where spread = 0, found two at one: merge them")
