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
    ratio = np.exp(log_bessel_i(dim / 2, safe) - log_bessel_i(dim / 2 - 1, safe))
    return torch.as_tensor(np.where(values > 0, ratio, 0.0)).to(kappa).reshape(kappa.shape)


def _on_host(values: Tensor) -> np.ndarray:
    return values.detach().double().cpu().numpy().reshape(-1)
