"""Ridge regression with a Gaussian kernel, on Nystroem features, batched over ensemble members."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.analysis.linear import PENALTIES, shrunk

WIDTHS = (0.3, 1.0, 3.0)
JITTER = 1e-8  # of the kernel's 1: what rounding leaves of a kernel matrix has no eigenvalues below
ROWS = 1024


@torch.no_grad()
def kernel_ridge_predictions(
    train: Float[Tensor, "E n d"],
    target: Float[Tensor, "E n t"],
    test: Float[Tensor, "E m d"],
    *,
    generator: torch.Generator,
    landmarks: int = 300,
    widths: Sequence[float] = WIDTHS,
    penalties: Sequence[float] = PENALTIES,
) -> Float[Tensor, "E m t"]:
    """Ridge on features `L^-1 k(x)`, `L L^T = K`, k the kernel at landmarks and K theirs (Williams, Seeger 2001).

    `k(x, x') = exp(-|x - x'|^2 / (2 w^2))`. The landmarks are random rows of train. w, in units of the median distance
    between landmarks, and the penalty are chosen together by generalised cross-validation, per member and target.
    """
    rows = torch.randperm(train.shape[1], generator=generator)[:landmarks].to(train.device)
    return torch.stack(
        [
            _member_predictions(x, t, y, x[rows], widths, penalties)
            for x, t, y in zip(train.double(), target.double(), test.double(), strict=True)
        ]
    )


def _member_predictions(
    x: Float[Tensor, "n d"],
    t: Float[Tensor, "n t"],
    y: Float[Tensor, "m d"],
    centres: Float[Tensor, "k d"],
    widths: Sequence[float],
    penalties: Sequence[float],
) -> Float[Tensor, "m t"]:
    unit = float(torch.cdist(centres, centres).median()) or 1.0
    fits = [Fit.of(Features.of(centres, width * unit), x, t, penalties) for width in widths]
    best = torch.stack([fit.error for fit in fits]).argmin(0)
    predicted = y.new_empty(len(y), t.shape[1])
    for place in best.unique().tolist():
        own = best == place
        predicted[:, own] = fits[place].at(y)[:, own]
    return predicted


@dataclass(frozen=True)
class Features:
    """`L^-1 k(x)` for landmarks c and their `L^-1`."""

    centres: Float[Tensor, "k d"]
    width: float
    inverse: Float[Tensor, "k k"]

    @classmethod
    def of(cls, centres: Float[Tensor, "k d"], width: float) -> "Features":
        eye = torch.eye(len(centres)).to(centres)
        kernel = cls(centres, width, eye)
        root = torch.linalg.cholesky(torch.cat(list(kernel.rows(centres))) + JITTER * eye)
        return replace(kernel, inverse=torch.linalg.solve_triangular(root, eye, upper=False))

    def rows(self, x: Float[Tensor, "n d"]) -> Iterator[Float[Tensor, "r k"]]:
        """Some rows at a time, which stay in the cache."""
        scale, ends = -1 / (2 * self.width**2), self.centres.square().sum(1)
        for part in x.split(ROWS):
            squares = (ends + part.square().sum(1, keepdim=True)).addmm_(part, self.centres.T, alpha=-2)
            yield squares.clamp_(min=0).mul_(scale).exp_() @ self.inverse.T


@dataclass(frozen=True)
class Fit:
    """`f(x) = b . features(x) + c` of every target, and what generalised cross-validation says of its error."""

    features: Features
    weights: Float[Tensor, "k t"]
    offset: Float[Tensor, " t"]
    error: Float[Tensor, " t"]

    @classmethod
    def of(
        cls, features: Features, x: Float[Tensor, "n d"], t: Float[Tensor, "n t"], penalties: Sequence[float]
    ) -> "Fit":
        """From sums over rows alone: the features of all of them are never held at once."""
        n, level = len(x), t.mean(0)
        t = t - level
        parts = [(f.sum(0), f.T @ f, f.T @ own) for f, own in zip(features.rows(x), t.split(ROWS), strict=True)]
        total, scatter, cross = (torch.stack(part).sum(0) for part in zip(*parts, strict=True))
        squares, v = torch.linalg.eigh(torch.addr(scatter, total, total, alpha=-1 / n))
        weights, error = shrunk(squares[None], v[None], cross[None], t.square().sum(0)[None], n, penalties)
        return cls(features, weights[0], level - total @ weights[0] / n, error[0])

    def at(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n t"]:
        return torch.cat([f @ self.weights for f in self.features.rows(x)]) + self.offset
