"""The von Mises-Fisher normaliser and mean, finite for any concentration.

`vMF(x; mu, kappa) = C_d(kappa) exp(kappa mu'x)` on the unit sphere in d dimensions, with
`log C_d(kappa) = (d/2 - 1) log kappa - d/2 log 2 pi - log I_{d/2-1}(kappa)` and I the modified Bessel function
(Mardia & Jupp 2000). Computed in float64 on the host, by exponentially scaled Bessel functions.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from scipy import special
from torch import Tensor


def log_bessel_i(order: float, argument: np.ndarray) -> np.ndarray:
    """`log I_order(argument)` for arguments above 0 and orders of at least 0.

    The scaled function where it does not underflow; else the leading terms of its series (small arguments) or of the
    uniform expansion for large orders (Olver; DLMF 10.41.3), whose error is then below 1e-9.
    """
    with np.errstate(divide="ignore", under="ignore"):
        scaled = np.log(special.ive(order, argument)) + argument
    small = argument**2 < 1e-3 * (order + 1)
    series = _series(order, np.where(small, argument, 1.0))
    large = _uniform(max(order, 1.0), argument)
    return np.where(small, series, np.where(np.isfinite(scaled), scaled, large))


def _series(order: float, x: np.ndarray) -> np.ndarray:
    quarter = x**2 / 4
    second = quarter / (order + 1)
    third = second * quarter / (2 * (order + 2))
    return order * np.log(x / 2) - special.gammaln(order + 1) + np.log1p(second + third)


def _uniform(order: float, x: np.ndarray) -> np.ndarray:
    ratio = x / order
    root = np.sqrt(1 + ratio**2)
    t = 1 / root
    first = (3 * t - 5 * t**3) / 24
    second = (81 * t**2 - 462 * t**4 + 385 * t**6) / 1152
    eta = root + np.log(ratio / (1 + root))
    correction = np.log1p(first / order + second / order**2)
    return order * eta - 0.5 * np.log(2 * np.pi * order) - 0.5 * np.log(root) + correction


def log_vmf_normaliser(dim: int, kappa: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """`log C_d(kappa)`; at kappa = 0 minus the log-area of the sphere."""
    values = _on_host(kappa)
    order = dim / 2 - 1
    safe = np.where(values > 0, values, 1.0)
    logs = order * np.log(safe) - 0.5 * dim * math.log(2 * math.pi) - log_bessel_i(order, safe)
    return torch.as_tensor(np.where(values > 0, logs, -log_area(dim))).to(kappa).reshape(kappa.shape)


def log_area(dim: int) -> float:
    """Log-area of the unit sphere in `dim` dimensions."""
    return math.log(2) + 0.5 * dim * math.log(math.pi) - math.lgamma(dim / 2)


def vmf_mean(dim: int, kappa: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """`A_d(kappa) = I_{d/2}(kappa) / I_{d/2-1}(kappa)`, the length of the mean of a vMF vector."""
    values = _on_host(kappa)
    safe = np.where(values > 0, values, 1.0)
    ratio = _bessel_ratio(dim / 2 - 1, safe)
    return torch.as_tensor(np.where(values > 0, ratio, 0.0)).to(kappa).reshape(kappa.shape)


def vmf_variance_along(dim: int, kappa: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """`A'(kappa) = 1 - A^2 - (d - 1) A / kappa`, the variance of a vMF vector along its mean; 1/d at kappa = 0.

    The three terms are near one and leave about `(d - 1) / (2 kappa^2)`: above `kappa = 2e3 d`, where that is right to
    six digits, by its series, which then is too.
    """
    values = _on_host(kappa)
    safe = np.where(values > 0, values, 1.0)
    mean = _bessel_ratio(dim / 2 - 1, safe)
    near = 1 - mean**2 - (dim - 1) * mean / safe
    far = (dim - 1) / (2 * safe**2) * (1 - (dim - 3) / (2 * safe))
    along = np.where(values > 0, np.where(safe > 2e3 * dim, far, near), 1 / dim)
    return torch.as_tensor(along).to(kappa).reshape(kappa.shape)


def _bessel_ratio(order: float, argument: np.ndarray) -> np.ndarray:
    """`I_{order+1} / I_order`: of the scaled functions where they do not underflow, so that nothing large cancels."""
    above, below = special.ive(order + 1, argument), special.ive(order, argument)
    usable = np.isfinite(above) & np.isfinite(below) & (above > 1e-300)
    ratio = np.divide(above, below, out=np.zeros_like(argument), where=usable)
    return np.where(usable, ratio, np.exp(log_bessel_i(order + 1, argument) - log_bessel_i(order, argument)))


def _on_host(values: Tensor) -> np.ndarray:
    return values.detach().double().cpu().numpy().reshape(-1)
