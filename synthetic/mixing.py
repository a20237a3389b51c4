"""Mixings f: latent -> observation, with inverse and log-volume where they have one.

`log_volume(z) = 1/2 log det J'J` for the Jacobian J of f at z (`log |det J|` when f is square): the density of f(z) on
the image of f is `p(z) exp(-log_volume(z))`.
"""

from __future__ import annotations

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
    """An observation read as `decode(x) = projection z + noise nu`, `nu ~ N(0, I)`; None: identity, and nothing.

    `log p(x | z) = log N(decode(x); projection z, noise noise') + log_offset(x)`: what x says beyond its decoded value
    does not depend on z.
    """

    decode: Callable[[Tensor], Tensor]
    log_offset: Callable[[Tensor], Tensor]
    projection: Float[Tensor, "p d"] | None = None
    noise: Float[Tensor, "p p"] | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Mixing(Part):
    """A map from latents `(*batch, d)` to observations `(*batch, D)`."""

    @property
    def split(self) -> tuple[Mixing, ...]:
        """The map of each view, or one map for all."""
        return (self,)

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

    def jacobian(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch D d"]:
        """`df/dz`."""
        raise NotExact(f"mixing {self.formula()} is not smooth", "use an invertible mixing")

    def log_volume(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """`1/2 log det J'J` at z, in nats."""
        upper = torch.linalg.qr(self.jacobian(z), mode="r").R
        return upper.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)

    def channel(self, noise_std: Number, eye: Float[Tensor, "d d"]) -> Channel:
        """The observation as a linear-Gaussian view of the latent, where it is one; `eye` has the latent's size."""
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

    def jacobian(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch D d"]:
        return torch.eye(z.shape[-1], device=z.device, dtype=z.dtype).expand(*z.shape, z.shape[-1])

    def log_volume(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        return torch.zeros_like(z[..., 0])

    def channel(self, noise_std: Number, eye: Float[Tensor, "d d"]) -> Channel:
        return Channel(self.inverse, self.log_volume, noise=noise_std * eye if noise_std else None)

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
    def _tall(self) -> bool:
        return self.weight.shape[0] >= self.weight.shape[1]

    def __call__(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch D"]:
        return functional.linear(z, self.weight, self.bias)

    def inverse(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch d"]:
        return self._centred(x) @ torch.linalg.pinv(self.weight).mT if self._tall else super().inverse(x)

    def jacobian(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch D d"]:
        return self.weight.expand(*z.shape[:-1], -1, -1)

    def log_volume(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        if not self._tall:
            raise NotExact(f"mixing {self.formula()} is not injective", "use an invertible mixing")
        return torch.linalg.svdvals(self.weight).log().sum().expand(z.shape[:-1])

    def channel(self, noise_std: Number, eye: Float[Tensor, "d d"]) -> Channel:
        if not self._tall:
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
class Fold(Mixing):
    """`f(z) = |z|`, coordinate by coordinate: a map that is not invertible and loses one bit a coordinate."""

    def latent_dim(self, wanted: int) -> int:
        return wanted

    def observation_dim(self, latent_dim: int) -> int:
        return latent_dim

    def __call__(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch D"]:
        return z.abs()

    def jacobian(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch D d"]:
        return torch.diag_embed(z.sign())

    def formula(self) -> str:
        return "fold |z|"


@dataclass(frozen=True, eq=False, repr=False)
class Composed(Mixing):
    """`f = parts[-1] o ... o parts[0]`: the first part is applied first."""

    parts: tuple[Mixing, ...]

    def __post_init__(self) -> None:
        if not self.parts or any(len(part.split) > 1 for part in self.parts):
            raise ValueError(f"expected mixings for any view to compose, found {self.parts!r}")
        sizes = [self.parts[0].latent_dim(0)]
        for part in self.parts:
            size = part.latent_dim(sizes[-1])
            if sizes[-1] and size != sizes[-1]:
                raise ValueError(f"expected a map of {sizes[-1]} coordinates to follow, found {part.formula()}")
            sizes.append(part.observation_dim(size))

    def latent_dim(self, wanted: int) -> int:
        return next((size for part in self.parts if (size := part.latent_dim(0))), wanted)

    def observation_dim(self, latent_dim: int) -> int:
        for part in self.parts:
            latent_dim = part.observation_dim(latent_dim)
        return latent_dim

    def __call__(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch D"]:
        for part in self.parts:
            z = part(z)
        return z

    def inverse(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch d"]:
        for part in reversed(self.parts):
            x = part.inverse(x)
        return x

    def jacobian(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch D d"]:
        total = self.parts[0].jacobian(z)
        for before, part in zip(self.parts, self.parts[1:], strict=False):
            z = before(z)
            total = part.jacobian(z) @ total
        return total

    def formula(self) -> str:
        return " o ".join(part.formula() for part in reversed(self.parts))


@dataclass(frozen=True, eq=False, repr=False)
class PerView(Mixing):
    """A mixing for each view: modalities, whose observations may differ in size.

    Takes latents `(n, J, d)` of exactly these J views; observations come stacked, `(n, J, D)`, where all sizes agree,
    and otherwise as a tuple of `(n, D_j)`.
    """

    parts: tuple[Mixing, ...]

    def __post_init__(self) -> None:
        takes = {size for part in self.parts if (size := part.latent_dim(0))}
        if len(self.parts) < 2 or len(takes) > 1 or any(len(part.split) > 1 for part in self.parts):
            raise ValueError(f"expected mixings of the same latents for at least two views, found {self.parts!r}")

    @property
    def split(self) -> tuple[Mixing, ...]:
        return self.parts

    def latent_dim(self, wanted: int) -> int:
        return next((size for part in self.parts if (size := part.latent_dim(0))), wanted)

    def formula(self) -> str:
        return "; ".join(f"view {j + 1} {part.formula()}" for j, part in enumerate(self.parts))
