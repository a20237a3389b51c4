"""The normaliser of the von Mises-Fisher density, through modified Bessel functions of any order, without overflow.

With `g_nu(x) = log( I_nu(x) / x^nu )`, the density `C(kappa) exp(kappa mu.x)` on the sphere of R^d has
`log C(kappa) = -(d/2) log 2pi - g_{d/2-1}(kappa)`. g is a smooth function of `x^2`, also at zero, so everything
here takes squares; a resultant of length zero then has a finite gradient.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.losses.views import LOG_2PI

EXPANSION_ORDER = 30.0  # the uniform expansion with 8 terms is exact to 1e-12 from this order on


def _debye_polynomials(count: int) -> list[list[float]]:
    """Coefficients, in powers of t, of u_0 .. u_count of the uniform expansion (Abramowitz & Stegun 9.3.10).

    u_{k+1}(t) = t^2 (1 - t^2)/2 u_k'(t) + 1/8 int_0^t (1 - 5 s^2) u_k(s) ds
    """
    polynomials = [[1.0]]
    for _ in range(count):
        last = polynomials[-1]
        following = [0.0] * (len(last) + 3)
        for power, c in enumerate(last):
            following[power + 1] += c * (power / 2 + 1 / (8 * (power + 1)))
            following[power + 3] -= c * (power / 2 + 5 / (8 * (power + 3)))
        polynomials.append(following)
    return polynomials


DEBYE = _debye_polynomials(8)


def _horner(coefficients: list[float], t: Tensor) -> Tensor:
    value = torch.zeros_like(t)
    for c in reversed(coefficients):
        value = value * t + c
    return value


def _uniform_expansion(order: float, squared: Tensor) -> Tensor:
    """g at a large order (Abramowitz & Stegun 9.7.7), relative error of I below 1e-12 for order >= 30."""
    root = (1 + squared / order**2).sqrt()
    series = torch.stack([_horner(u, 1 / root) / order**k for k, u in enumerate(DEBYE)]).sum(0)
    exponent = order * (root - torch.log(order * (1 + root)))
    return exponent - 0.5 * (LOG_2PI + math.log(order)) - 0.5 * root.log() + torch.log(series)


def log_bessel(order: float, squared: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """`log( I_order(x) / x^order )` as a function of `squared = x^2 >= 0`, for order >= -1/2.

    Large orders by the uniform asymptotic expansion; smaller ones by the recurrence
    `I_{nu-1}/x^{nu-1} = x^2 I_{nu+1}/x^{nu+1} + 2 nu I_nu/x^nu`, all of whose terms are positive, downward from there.
    """
    steps = max(0, math.ceil(EXPANSION_ORDER - order))
    top = order + steps
    log_value = _uniform_expansion(top, squared)
    if not steps:
        return log_value
    ratio = torch.exp(_uniform_expansion(top + 1, squared) - log_value)  # I_{nu+1} / (x I_nu)
    growth = torch.zeros_like(squared)
    for nu in (top - step for step in range(steps)):
        factor = squared * ratio + 2 * nu
        growth, ratio = growth + factor.log(), 1 / factor
    return log_value + growth


def log_vmf_normaliser(dimension: int, squared: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """`log C(kappa)` of the von Mises-Fisher density on the unit sphere of R^dimension, from `squared = kappa^2`."""
    return -dimension / 2 * LOG_2PI - log_bessel(dimension / 2 - 1, squared)


def log_sphere_area(dimension: int) -> float:
    """Logarithm of the area of the unit sphere of R^dimension (two points, area 2, for dimension 1)."""
    return math.log(2) + dimension / 2 * math.log(math.pi) - math.lgamma(dimension / 2)


def vmf_entropy(dimension: int, concentration: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Entropy of the von Mises-Fisher density in nats, `-log C(kappa) - kappa A(kappa)`, `A = I_{d/2} / I_{d/2-1}`."""
    squared, order = concentration.square(), dimension / 2 - 1
    log_ratio = log_bessel(order + 1, squared) - log_bessel(order, squared)  # of A / kappa
    return -log_vmf_normaliser(dimension, squared) - squared * log_ratio.exp()
