"""Invertible networks as mixings, and random maps of a prescribed condition number."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from synthetic.mixing import Linear, Mixing
from synthetic.parts import Number

NEWTON_STEPS = 30  # the smooth activation is convex, so Newton's method converges from the right at once


@dataclass(frozen=True, eq=False, repr=False)
class MLP(Mixing):
    """Invertible network `f(z) = W_L phi( ... phi(W_1 z))`.

    The first weight may be tall (injective), all others are square, and phi is a strictly increasing function of each
    coordinate: a leaky ReLU, `phi(a) = max(a, slope a)`, or with `smooth` its smooth companion
    `phi(a) = slope a + (1 - slope) log(1 + e^a)`. Hence f is a bijection onto its image.
    """

    weights: tuple[Float[Tensor, "_ _"], ...]
    slope: Number = 0.2
    smooth: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.slope <= 1:
            raise ValueError(f"expected an activation slope in (0, 1], found {self.slope}: 0 is not invertible")
        sizes = [tuple(weight.shape) for weight in self.weights]
        width = sizes[0][0] if sizes else 0
        if not sizes or width < sizes[0][1] or any(size != (width, width) for size in sizes[1:]):
            raise ValueError(f"expected one tall or square weight and then square ones, found shapes {sizes}")

    def latent_dim(self, wanted: int) -> int:
        return self.weights[0].shape[1]

    def observation_dim(self, latent_dim: int) -> int:
        return self.weights[0].shape[0]

    def __call__(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch D"]:
        h = z @ self.weights[0].mT
        for weight in self.weights[1:]:
            h = self._activate(h) @ weight.mT
        return h

    def inverse(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch d"]:
        for weight in reversed(self.weights[1:]):
            x = self._deactivate(x @ torch.linalg.inv(weight).mT)
        return x @ torch.linalg.pinv(self.weights[0]).mT

    def jacobian(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch D d"]:
        h, total = z @ self.weights[0].mT, self.weights[0].expand(*z.shape[:-1], -1, -1)
        for weight in self.weights[1:]:
            total = weight @ (self._gain(h)[..., None] * total)
            h = self._activate(h) @ weight.mT
        return total

    def log_volume(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        width, size = self.weights[0].shape
        if width > size:
            return super().log_volume(z)
        total = torch.stack([torch.linalg.slogdet(weight).logabsdet for weight in self.weights]).sum()
        h = z @ self.weights[0].mT
        for weight in self.weights[1:]:
            total = total + self._gain(h).log().sum(-1)
            h = self._activate(h) @ weight.mT
        return total.expand(z.shape[:-1])

    def _activate(self, h: Tensor) -> Tensor:
        if not self.smooth:
            return functional.leaky_relu(h, self.slope)
        return self.slope * h + (1 - self.slope) * functional.softplus(h, threshold=50)

    def _gain(self, h: Tensor) -> Tensor:
        if not self.smooth:
            return torch.where(h < 0, self.slope, torch.ones_like(h))
        return self.slope + (1 - self.slope) * h.sigmoid()

    def _deactivate(self, value: Tensor) -> Tensor:
        h = torch.where(value < 0, value / self.slope, value)
        if self.smooth:
            for _ in range(NEWTON_STEPS):
                h = h - (self._activate(h) - value) / self._gain(h)
        return h

    def formula(self) -> str:
        width, size = self.weights[0].shape
        kind = "smooth " if self.smooth else ""
        return f"{kind}leaky-ReLU MLP of {len(self.weights)} layers, R^{size} -> R^{width}"


def conditioned(
    rows: int, columns: int, condition_number: Number, generator: torch.Generator
) -> Float[Tensor, "rows columns"]:
    """A random matrix with log-spaced singular values around 1, their largest ratio as prescribed; float64.

    Singular vectors are uniform (Haar). `condition_number = 1` gives orthonormal columns (rows, when wide).
    """
    if not condition_number >= 1:
        raise ValueError(f"expected a condition number >= 1, found {condition_number}: 1 gives an orthogonal map")
    size = min(rows, columns)
    half = 0.5 * math.log(condition_number)
    spectrum = torch.linspace(-half, half, size, dtype=torch.float64).exp() if size > 1 else torch.ones(1).double()
    return orthonormal(rows, size, generator) * spectrum @ orthonormal(columns, size, generator).mT


def orthonormal(rows: int, columns: int, generator: torch.Generator) -> Float[Tensor, "rows columns"]:
    """Haar-distributed orthonormal columns, in float64."""
    basis, upper = torch.linalg.qr(torch.randn(rows, columns, generator=generator, dtype=torch.float64))
    return basis * upper.diagonal().sign()


def mlp(
    latent_dim: int,
    observation_dim: int,
    generator: torch.Generator,
    *,
    layers: int = 3,
    slope: Number = 0.2,
    condition_number: Number = 2.0,
    smooth: bool = False,
) -> MLP:
    """A random invertible network; every weight has the given condition number."""
    if observation_dim < latent_dim:
        raise ValueError(
            f"expected an observation of at least {latent_dim} dimensions, found {observation_dim}: "
            "an invertible mixing cannot shrink"
        )
    if layers < 1:
        raise ValueError(f"expected at least one mixing layer, found {layers}")
    sizes = [latent_dim] + [observation_dim] * layers
    weights = [conditioned(to, of, condition_number, generator) for of, to in itertools.pairwise(sizes)]
    return MLP(tuple(weights), slope, smooth)


def linear(
    latent_dim: int, observation_dim: int, generator: torch.Generator, *, condition_number: Number = 2.0
) -> Linear:
    """A random linear map with the given condition number."""
    return Linear(conditioned(observation_dim, latent_dim, condition_number, generator))


def orthogonal(latent_dim: int, observation_dim: int, generator: torch.Generator) -> Linear:
    """A random linear map with orthonormal columns (a rotation or reflection, when square)."""
    return linear(latent_dim, observation_dim, generator, condition_number=1)


def best_conditioned_mlp(
    size: int, generator: torch.Generator, *, layers: int, slope: Number, pool: int, ratio: float
) -> MLP:
    """The mixing of Hyvarinen & Morioka's line of work, as in cl-ica (Zimmermann et al. 2021, arXiv 2102.08850).

    Square weights with entries U(-1, 1) and columns of unit length: the first `layers` of a pool of such matrices
    whose condition number is among the smallest, a fraction `ratio` of the pool (and at least `layers` of them).
    """
    entries = 2 * torch.rand(pool, size, size, generator=generator, dtype=torch.float64) - 1
    drawn = functional.normalize(entries, dim=-2)
    best = torch.linalg.cond(drawn).argsort()[: max(layers, math.ceil(ratio * pool))]
    if len(best) < layers:
        raise ValueError(f"expected a pool of at least {layers} matrices, one a layer, found {pool}")
    return MLP(tuple(drawn[best.sort().values[:layers]]), slope)
