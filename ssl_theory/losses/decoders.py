"""Decoders: the likelihood `log p(x|z)` of an observation given what the decoder network returned for z.

`.log_prob(x, decoded)` with `x: (*batch, n, J, D)` gives `(*batch, n, J)` in nats, every constant kept;
`.mean(decoded)` is the expected observation. Observations with several axes are flattened by the caller.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from ssl_theory.losses.views import LOG_2PI, log, per_member, require_fit, wide

Observation = Float[Tensor, "*shape n J D"]
Decoded = Float[Tensor, "*batch n J D"]
LogLikelihood = Float[Tensor, "*batch n J"]


@runtime_checkable
class Decoder(Protocol):
    """Anything that gives the log-likelihood of each view and the mean observation."""

    def log_prob(self, x: Tensor, decoded: Tensor) -> Tensor: ...

    def mean(self, decoded: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Gaussian:
    """`x ~ N(decoded, variance I)`: `-1/2 sum [ (x - decoded)^2 / variance + log(2 pi variance) ]`.

    `variance` is a float, or a tensor of shape `(*batch)` that may be learned.
    """

    variance: float | Tensor = 1.0

    def log_prob(self, x: Observation, decoded: Decoded) -> LogLikelihood:
        require_fit("decoded", decoded, x, (-1,))
        variance = per_member(self.variance, 2)
        error = (wide(x) - wide(decoded)).square().sum(-1)
        return -0.5 * (error / variance + x.shape[-1] * (LOG_2PI + log(variance)))

    def mean(self, decoded: Decoded) -> Decoded:
        return decoded


@dataclass(frozen=True)
class Bernoulli:
    """`x in {0, 1}` with logits `decoded`: `sum x l - log(1 + e^l)`.

    A density of binary data only; grey values want `ContinuousBernoulli`, whose normaliser this one lacks.
    """

    def log_prob(self, x: Observation, decoded: Decoded) -> LogLikelihood:
        require_fit("decoded", decoded, x, (-1,))
        logits = wide(decoded)
        return (x * logits - softplus(logits)).sum(-1)

    def mean(self, decoded: Decoded) -> Decoded:
        return decoded.sigmoid()


@dataclass(frozen=True)
class HeteroscedasticGaussian:
    """`x ~ N(m, diag e^l)`, with `decoded` = (m, l) side by side: 2 D numbers, a variance for every pixel.

    -1/2 sum [ (x - m)^2 e^-l + l + log 2pi ], `l` held above `log minimum` so that the likelihood is bounded.
    """

    minimum: float = 1e-6

    def log_prob(self, x: Observation, decoded: Float[Tensor, "*batch n J D_twice"]) -> LogLikelihood:
        mean, log_variance = wide(decoded).tensor_split(2, -1)
        require_fit("log_variance, the second half of decoded", log_variance, x, (-1,))
        require_fit("mean, the first half of decoded", mean, x, (-1,))
        log_variance = log_variance.clamp_min(math.log(self.minimum))
        error = (wide(x) - mean).square() * torch.exp(-log_variance)
        return -0.5 * (error + log_variance + LOG_2PI).sum(-1)

    def mean(self, decoded: Float[Tensor, "*batch n J D_twice"]) -> Decoded:
        return decoded.chunk(2, -1)[0]


@dataclass(frozen=True)
class ContinuousBernoulli:
    """`x in [0, 1]` with logits `decoded`: `sum x l - log(1 + e^l) + log C(l)`, `C(l) = l / tanh(l/2)`.

    Loaiza-Ganem & Cunningham 2019, arXiv 1907.06845. C is what a Bernoulli on grey values lacks; C(0) = 2.
    """

    def log_prob(self, x: Observation, decoded: Decoded) -> LogLikelihood:
        require_fit("decoded", decoded, x, (-1,))
        logits = wide(decoded)
        return (wide(x) * logits - softplus(logits) + self.log_normaliser(logits)).sum(-1)

    def mean(self, decoded: Decoded) -> Decoded:
        """`1 / (1 - e^-l) - 1 / l`, and its series 1/2 + l/12 - l^3/720 near zero."""
        near = decoded.abs() < 0.05
        far = torch.where(near, 1, decoded)
        exact = -1 / torch.expm1(-far.abs()) - 1 / far.abs()  # of |l|; that of -l is its complement
        series = 0.5 + decoded / 12 - decoded**3 / 720 + decoded**5 / 30240
        return torch.where(near, series, torch.where(decoded < 0, 1 - exact, exact))

    @staticmethod
    def log_normaliser(logits: Tensor) -> Tensor:
        """`log( l / tanh(l/2) )`, even in l; near zero by its series in l^2."""
        near = logits.abs() < 0.05
        size = torch.where(near, 1, logits.abs())
        exact = size.log() - torch.log(-torch.expm1(-size)) + torch.log1p(torch.exp(-size))
        squared = torch.where(near, logits, 0).square()
        series = math.log(2) + squared / 12 - squared**2 * (7 / 1440) + squared**3 * (31 / 90720)
        return torch.where(near, series, exact)


@dataclass(frozen=True)
class DiscretisedLogistic:
    """`x` on the grid {0, 1/L, .., 1}, L = levels - 1: a logistic about `decoded`, rounded, ends collecting the tails.

    log p = log [ F((x + 1/2L - m)/s) - F((x - 1/2L - m)/s) ], F the logistic function, F(.) = 1, 0 beyond the ends.

    Kingma et al. 2016, arXiv 1606.04934. `scale` s is a float or a tensor `(*batch)` that may be learned. The
    difference is taken as `F(a) F(-b) (1 - e^(b-a))`, whose logarithm neither cancels nor underflows.
    """

    scale: float | Tensor = 0.1
    levels: int = 256

    def log_prob(self, x: Observation, decoded: Decoded) -> LogLikelihood:
        require_fit("decoded", decoded, x, (-1,))
        x, scale, half = wide(x), per_member(self.scale, 3), 0.5 / (self.levels - 1)
        offset = x - wide(decoded)
        log_below = logsigmoid((offset + half) / scale)
        log_above = logsigmoid((half - offset) / scale)
        width = torch.log(-torch.expm1(-2 * half / scale * torch.ones_like(log_below)))
        inner = log_below + log_above + width
        return torch.where(x < half, log_below, torch.where(x > 1 - half, log_above, inner)).sum(-1)

    def mean(self, decoded: Decoded) -> Decoded:
        """`(1/L) sum_{k=1}^L P(x >= k/L)`, one level at a time."""
        L, scale = self.levels - 1, per_member(self.scale, 3)
        total = torch.zeros_like(decoded)
        for k in range(1, L + 1):
            total = total + torch.sigmoid((decoded - (k - 0.5) / L) / scale)
        return total / L
