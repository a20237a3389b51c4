"""Observation noise p(x | f(z)): none or Gaussian."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from synthetic.content import normal
from synthetic.parts import Number, Part


@dataclass(frozen=True, eq=False, repr=False)
class Noise(Part):
    """Noise added to (or drawn around) the mixed latent."""

    def sample(self, mixed: Float[Tensor, "*shape"], generator: torch.Generator) -> Float[Tensor, "*shape"]:
        raise NotImplementedError

    def gaussian_std(self) -> float:
        """Standard deviation of additive Gaussian noise, 0 for none; refused for any other kind."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False, repr=False)
class NoNoise(Noise):
    """`x = f(z)`."""

    def sample(self, mixed: Float[Tensor, "*shape"], generator: torch.Generator) -> Float[Tensor, "*shape"]:
        return mixed

    def gaussian_std(self) -> float:
        return 0.0

    def formula(self) -> str:
        return "x^j = f(z^j)"


@dataclass(frozen=True, eq=False, repr=False)
class GaussianNoise(Noise):
    """`x = f(z) + std eps`, `eps ~ N(0, I)`."""

    std: Number

    def __post_init__(self) -> None:
        if not self.std >= 0:
            raise ValueError(f"expected a noise standard deviation >= 0, found {self.std}: 0 means no noise")

    def sample(self, mixed: Float[Tensor, "*shape"], generator: torch.Generator) -> Float[Tensor, "*shape"]:
        return mixed + self.std * normal(tuple(mixed.shape), generator, mixed.dtype) if self.std else mixed

    def gaussian_std(self) -> float:
        return self.std

    def formula(self) -> str:
        return f"x^j = f(z^j) + {self.std:g} eps^j"
