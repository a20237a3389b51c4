"""Worlds of pairs whose information is known, a table of nine cells and Gaussian pairs, and the lower bounds to try."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ssl_theory.analysis import information

LOWER: dict[str, Callable[[Tensor], Any]] = {
    "info_nce": information.info_nce,
    "nwj": information.nwj,
    "tuba": lambda s: information.tuba(s, 0.3),
    **{
        f"interpolated {a}": partial(information.interpolated, alpha=a, log_baseline=-0.2) for a in (0.0, 0.1, 0.5, 1.0)
    },
}
JOINT = torch.tensor([[0.30, 0.05, 0.05], [0.02, 0.10, 0.28], [0.08, 0.10, 0.02]], dtype=torch.float64)
PMI = torch.log(JOINT / (JOINT.sum(1, keepdim=True) * JOINT.sum(0)))
TRUTH = float((JOINT * PMI).sum())
LOG_CONDITIONAL = torch.log(JOINT / JOINT.sum(1, keepdim=True))  # [x, y] -> log p(y|x)


def correlated(n: int, rho: float, d: int, batches: int = 1, seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    x, noise = torch.randn(2, batches, n, d, generator=g, dtype=torch.float64)
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def log_conditional(x: Tensor, y: Tensor, rho: float) -> Tensor:
    """log p(y_i | x_j), all pairs, of the Gaussian world."""
    v = 1 - rho**2
    return (-(y[..., :, None, :] - rho * x[..., None, :, :]).square() / (2 * v) - math.log(2 * math.pi * v) / 2).sum(-1)


def pmi(x: Tensor, y: Tensor, rho: float) -> Tensor:
    marginal = (-y.square() / 2 - math.log(2 * math.pi) / 2).sum(-1)
    return log_conditional(x, y, rho) - marginal[..., None]


def gaussian_scores(information_nats: float, d: int, n: int = 64, batches: int = 40) -> Tensor:
    rho = math.sqrt(1 - math.exp(-2 * information_nats / d))
    return information.positives_first(pmi(*correlated(n, rho, d, batches), rho))
