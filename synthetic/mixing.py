"""Mixings f: latent -> observation, with inverse and log-volume where they have one.

`log_volume(z) = 1/2 log det J'J` for the Jacobian J of f at z (`log |det J|` when f is square): the density
of f(z) on the image of f is `p(z) exp(-log_volume(z))`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from synthetic.parts import Number, Part
from synthetic.refusal import NotExact


@dataclass(frozen=True)
class Channel:
    """An observation read as `decode(x) = projection z + noise nu`, `nu ~ N(0, I)`; None: the identity, and
    nothing.

    `log p(x | z) = log N(decode(x); projection z, noise noise') + log_offset(x)`: what x says beyond its
    decoded value does not depend on z.
    """

    decode: Callable[[Tensor], Tensor]
    log_offset: Callable[[Tensor], Tensor]
    projection: Float[Tensor, "p d"] | None = None
    noise: Float[Tensor, "p p"] | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Mixing(Part):
    """A map from latents `(*batch, d)` to observations `(*batch, D)`."""

    def latent_dim(self, wanted: int) -> int:
        """Size of the latents that the map takes; `wanted` where any size will do."""
        raise NotImplementedError

    def observation_dim(self, latent_dim: int) -> int:
        raise NotImplementedError

    def __call__(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch D"]:
        raise NotImplementedError

    def inverse(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch d"]:
        """The latent of an observation on the image of f."""
        raise NotExact(f"mixing {self.formula()} is not invertible", "use an invertible mixing")

    def log_volume(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """`1/2 log det J'J` at z, in nats."""
        raise NotExact(f"mixing {self.formula()} has no log-volume", "use an invertible mixing")

    def channel(self, noise_std: Number, eye: Float[Tensor, "d d"]) -> Channel:
        """The observation as a linear-Gaussian view of the latent, where it is one; `eye` has the latent's
        size.
        """
        if noise_std > 0:
            raise NotExact(
                f"mixing {self.formula()} is nonlinear and observation noise is positive",
                "use world.without_noise(), or synthetic.monte_carlo.log_evidence",
            )
        return Channel(self.inverse, lambda x: -self.log_volume(self.inverse(x)))


@dataclass(frozen=True, eq=False, repr=False)
class Identity(Mixing):
    """`f(z) = z`."""

    def latent_dim(self, wanted: int) -> int:
        return wanted

    def observation_dim(self, latent_dim: int) -> int:
        return latent_dim

    def __call__(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch D"]:
        return z

    def inverse(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch d"]:
        return x

    def log_volume(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        return torch.zeros_like(z[..., 0])

    def channel(self, noise_std: Number, eye: Float[Tensor, "d d"]) -> Channel:
        def zero(x: Tensor) -> Tensor:
            return torch.zeros_like(x[..., 0])

        return Channel(lambda x: x, zero, noise=noise_std * eye if noise_std else None)

    def formula(self) -> str:
        return "identity"


@dataclass(frozen=True, eq=False, repr=False)
class Linear(Mixing):
    """`f(z) = weight z + bias`; to a larger space when weight is tall, not injective when it is wide."""

    weight: Float[Tensor, "D d"]
    bias: Float[Tensor, " D"] | None = None

    def latent_dim(self, wanted: int) -> int:
        return self.weight.shape[1]

    def observation_dim(self, latent_dim: int) -> int:
        return self.weight.shape[0]

    @property
    def tall(self) -> bool:
        return self.weight.shape[0] >= self.weight.shape[1]

    def __call__(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch D"]:
        return functional.linear(z, self.weight, self.bias)

    def inverse(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch d"]:
        if not self.tall:
            return super().inverse(x)
        return self._centred(x) @ torch.linalg.pinv(self.weight).mT

    def log_volume(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        if not self.tall:
            return super().log_volume(z)
        return torch.linalg.svdvals(self.weight).log().sum().expand(z.shape[:-1])

    def channel(self, noise_std: Number, eye: Float[Tensor, "d d"]) -> Channel:
        if not self.tall:
            narrow = torch.eye(len(self.weight), device=eye.device, dtype=eye.dtype)
            noise = noise_std * narrow if noise_std else None
            return Channel(self._centred, lambda x: torch.zeros_like(x[..., 0]), self.weight, noise)
        basis, upper = torch.linalg.qr(self.weight)
        lower = torch.linalg.solve_triangular(upper, eye, upper=True)
        log_volume = upper.diagonal().abs().log().sum()

        def log_offset(x: Tensor) -> Tensor:
            spare = self.weight.shape[0] - self.weight.shape[1]
            if spare == 0 or noise_std == 0:
                return -log_volume.expand(x.shape[:-1])
            off = self._centred(x) - self._centred(x) @ basis @ basis.mT
            square = off.square().sum(-1) / noise_std**2
            return -0.5 * (square + spare * math.log(2 * math.pi * noise_std**2)) - log_volume

        noise = noise_std * lower if noise_std else None
        return Channel(lambda x: self._centred(x) @ basis @ lower.mT, log_offset, noise=noise)

    def _centred(self, x: Tensor) -> Tensor:
        return x if self.bias is None else x - self.bias

    def formula(self) -> str:
        return f"linear R^{self.weight.shape[1]} -> R^{self.weight.shape[0]}"


@dataclass(frozen=True, eq=False, repr=False)
class MLP(Mixing):
    """Invertible leaky-ReLU network `f(z) = W_L phi( ... phi(W_1 z))`, `phi(a) = max(a, slope a)`.

    The first weight may be tall (injective), all others are square; hence f is a bijection onto its image.
    """

    weights: tuple[Float[Tensor, "_ _"], ...]
    slope: Number = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.slope <= 1:
            raise ValueError(f"expected a leaky-ReLU slope in (0, 1], found {self.slope}: 0 is not invertible")
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
            h = functional.leaky_relu(h, self.slope) @ weight.mT
        return h

    def inverse(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch d"]:
        for weight in reversed(self.weights[1:]):
            h = x @ torch.linalg.inv(weight).mT
            x = torch.where(h < 0, h / self.slope, h)
        return x @ torch.linalg.pinv(self.weights[0]).mT

    def jacobian(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch D d"]:
        """`df/dz`, by the chain rule."""
        h, total = z @ self.weights[0].mT, self.weights[0].expand(*z.shape[:-1], -1, -1)
        for weight in self.weights[1:]:
            total = weight @ (self._gain(h)[..., None] * total)
            h = functional.leaky_relu(h, self.slope) @ weight.mT
        return total

    def log_volume(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        width, size = self.weights[0].shape
        if width > size:
            upper = torch.linalg.qr(self.jacobian(z), mode="r").R
            return upper.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)
        total = torch.stack([torch.linalg.slogdet(weight).logabsdet for weight in self.weights]).sum()
        h = z @ self.weights[0].mT
        for weight in self.weights[1:]:
            total = total + self._gain(h).log().sum(-1)
            h = functional.leaky_relu(h, self.slope) @ weight.mT
        return total.expand(z.shape[:-1])

    def _gain(self, h: Tensor) -> Tensor:
        return torch.where(h < 0, self.slope, torch.ones_like(h))

    def formula(self) -> str:
        width, size = self.weights[0].shape
        return f"leaky-ReLU MLP of {len(self.weights)} layers, R^{size} -> R^{width}"


def conditioned(
    rows: int, columns: int, condition_number: Number, generator: torch.Generator
) -> Float[Tensor, "rows columns"]:
    """A random matrix with singular values log-spaced around 1 and their largest ratio as prescribed;
    float64.

    Singular vectors are uniform (Haar). `condition_number = 1` gives orthonormal columns (rows, when wide).
    """
    if condition_number < 1:
        raise ValueError(f"expected a condition number >= 1, found {condition_number}: 1 gives an orthogonal map")
    size = min(rows, columns)
    half = 0.5 * math.log(condition_number)
    spectrum = (
        torch.linspace(-half, half, size, dtype=torch.float64).exp() if size > 1 else torch.ones(1, dtype=torch.float64)
    )
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
) -> MLP:
    """A random invertible leaky-ReLU network; every weight has the given condition number."""
    if observation_dim < latent_dim:
        raise ValueError(
            f"expected an observation of at least {latent_dim} dimensions, found {observation_dim}: "
            "an invertible mixing cannot shrink"
        )
    if layers < 1:
        raise ValueError(f"expected at least one mixing layer, found {layers}")
    sizes = [latent_dim] + [observation_dim] * layers
    weights = [conditioned(to, of, condition_number, generator) for of, to in itertools.pairwise(sizes)]
    return MLP(tuple(weights), slope)


def linear(
    latent_dim: int, observation_dim: int, generator: torch.Generator, *, condition_number: Number = 2.0
) -> Linear:
    """A random linear map with the given condition number."""
    return Linear(conditioned(observation_dim, latent_dim, condition_number, generator))
