"""Observation noise p(x | f(z)): none, Gaussian, or Bernoulli."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from synthetic.parts import Number, Part, normal
from synthetic.refusal import NotExact


@dataclass(frozen=True, eq=False, repr=False)
class Noise(Part):
    """What an observation adds to the mixed latent."""

    def sample(self, mixed: Float[Tensor, "*shape"], generator: torch.Generator) -> Float[Tensor, "*shape"]:
        raise NotImplementedError

    def log_prob(self, x: Float[Tensor, "*n D"], mixed: Float[Tensor, "*n D"]) -> Float[Tensor, "*n"]:
        """`log p(x | f(z))`, summed over the coordinates of x."""
        raise NotImplementedError

    @property
    def silent(self) -> bool:
        """Whether observations are the mixed latents themselves."""
        return False

    def gaussian_std(self) -> Number:
        """Standard deviation of additive Gaussian noise, 0 for none; refused for any other kind."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False, repr=False)
class NoNoise(Noise):
    """`x = f(z)`."""

    @property
    def silent(self) -> bool:
        return True

    def sample(self, mixed: Float[Tensor, "*shape"], generator: torch.Generator) -> Float[Tensor, "*shape"]:
        return mixed

    def log_prob(self, x: Float[Tensor, "*n D"], mixed: Float[Tensor, "*n D"]) -> Float[Tensor, "*n"]:
        raise NotExact("observations without noise have no density given z", "use an invertible mixing")

    def gaussian_std(self) -> Number:
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

    @property
    def silent(self) -> bool:
        return self.std == 0

    def sample(self, mixed: Float[Tensor, "*shape"], generator: torch.Generator) -> Float[Tensor, "*shape"]:
        return mixed + self.std * normal(tuple(mixed.shape), generator, mixed.dtype) if self.std else mixed

    def log_prob(self, x: Float[Tensor, "*n D"], mixed: Float[Tensor, "*n D"]) -> Float[Tensor, "*n"]:
        if not self.std:
            return NoNoise().log_prob(x, mixed)
        square = ((x - mixed) / self.std).square().sum(-1)
        return -0.5 * square - x.shape[-1] * (math.log(self.std) + 0.5 * math.log(2 * math.pi))

    def gaussian_std(self) -> Number:
        return self.std

    def formula(self) -> str:
        return NoNoise().formula() if self.silent else f"x^j = f(z^j) + {self.std:g} eps^j"


@dataclass(frozen=True, eq=False, repr=False)
class BernoulliNoise(Noise):
    """Binary observations: each coordinate of x is 1 with probability `1 / (1 + exp(-f(z)))`."""

    def sample(self, mixed: Float[Tensor, "*shape"], generator: torch.Generator) -> Float[Tensor, "*shape"]:
        return torch.bernoulli(mixed.sigmoid(), generator=generator)

    def log_prob(self, x: Float[Tensor, "*n D"], mixed: Float[Tensor, "*n D"]) -> Float[Tensor, "*n"]:
        return -functional.binary_cross_entropy_with_logits(mixed, x, reduction="none").sum(-1)

    def gaussian_std(self) -> Number:
        raise NotExact("observations are Bernoulli, not Gaussian", "use synthetic.monte_carlo")

    def formula(self) -> str:
        return "x^j ~ Bernoulli(sigmoid(f(z^j)))"
