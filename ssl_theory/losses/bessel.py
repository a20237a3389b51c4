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
    return order * (root - torch.log(order * (1 + root))) + _beside_the_exponent(order, root)


def _beside_the_exponent(order: float, root: Tensor) -> Tensor:
    series = torch.stack([_horner(u, 1 / root) / order**k for k, u in enumerate(DEBYE)]).sum(0)
    return torch.log(series) - 0.5 * (LOG_2PI + math.log(order) + root.log())


def _expanded_ratio(order: float, squared: Tensor) -> Tensor:
    """`I_{order+1}(x) / (x I_order(x))` at a large order; the exponents, about x each, are subtracted by hand."""
    root, following = ((1 + squared / nu**2).sqrt() for nu in (order, order + 1))
    length, longer = order * root, (order + 1) * following  # sqrt(nu^2 + x^2)
    growth = (2 * order + 1) / (length + longer)
    exponent = growth - torch.log(order + 1 + longer) - order * torch.log1p((1 + growth) / (order + length))
    beside = _beside_the_exponent(order + 1, following) - _beside_the_exponent(order, root)
    return torch.exp(exponent + beside)


def log_bessel(order: float, squared: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """`log( I_order(x) / x^order )` as a function of `squared = x^2 >= 0`, for order >= -1/2.

    Large orders by the uniform asymptotic expansion; smaller ones by the recurrence
    `I_{nu-1}/x^{nu-1} = x^2 I_{nu+1}/x^{nu+1} + 2 nu I_nu/x^nu`, all of whose terms are positive, downward from there.
    """
    if order >= EXPANSION_ORDER:
        return _uniform_expansion(order, squared)
    return log_bessel_and_ratio(order, squared)[0]


def log_bessel_and_ratio(
    order: float, squared: Float[Tensor, "*shape"]
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """`log_bessel`, and `I_{order+1}(x) / (x I_order(x))`."""
    steps = max(0, math.ceil(EXPANSION_ORDER - order))
    top = order + steps
    ratio, growth = _expanded_ratio(top, squared), torch.zeros_like(squared)
    for nu in (top - step for step in range(steps)):
        factor = squared * ratio + 2 * nu
        growth, ratio = growth + factor.log(), 1 / factor
    return _uniform_expansion(top, squared) + growth, ratio


def log_vmf_normaliser(dimension: int, squared: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """`log C(kappa)` of the von Mises-Fisher density on the unit sphere of R^dimension, from `squared = kappa^2`."""
    return -dimension / 2 * LOG_2PI - log_bessel(dimension / 2 - 1, squared)


def log_sphere_area(dimension: int) -> float:
    """Logarithm of the area of the unit sphere of R^dimension (two points, area 2, for dimension 1)."""
    return math.log(2) + dimension / 2 * math.log(math.pi) - math.lgamma(dimension / 2)


def vmf_entropy(dimension: int, concentration: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Entropy of the von Mises-Fisher density in nats, `-log C(kappa) - kappa A(kappa)`, `A = I_{d/2} / I_{d/2-1}`.

    Both terms are about kappa, so that they are taken in float64: the error is 2e-16 kappa.
    """
    squared = concentration.double().square()
    log_value, ratio = log_bessel_and_ratio(dimension / 2 - 1, squared)
    return (dimension / 2 * LOG_2PI + log_value - squared * ratio).to(concentration.dtype)
