"""Ridge regression with a Gaussian kernel, on Nystroem features, batched over ensemble members."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_theory.analysis.linear import PENALTIES, affine, ridge_weights

WIDTHS = (0.3, 1.0, 3.0)


@torch.no_grad()
def kernel_ridge_predictions(
    train: Float[Tensor, "E n d"],
    target: Float[Tensor, "E n t"],
    test: Float[Tensor, "E m d"],
    held_out: Int[Tensor, " v"],
    kept: Int[Tensor, " f"],
    *,
    generator: torch.Generator,
    landmarks: int = 300,
    widths: Sequence[float] = WIDTHS,
    penalties: Sequence[float] = PENALTIES,
) -> Float[Tensor, "E m t"]:
    """Ridge on `K_nm K_mm^-1/2`, the kernel `exp(-|x - x'|^2 / (2 w^2))` at m landmarks (Williams, Seeger 2001).

    The landmarks are random rows of train. w, in units of the median distance between landmarks, is chosen on the
    held-out rows, per member and target; the penalty by leave-one-out.
    """
    rows = torch.randperm(train.shape[1], generator=generator)[:landmarks].to(train.device)
    order = torch.cat([kept, held_out])
    # One member after the other: features are many times as wide as the representation.
    members = [
        _member_predictions(x[:, order], t[:, order], y, x[:, rows], len(kept), widths, penalties)
        for x, t, y in zip(train.split(1), target.split(1), test.split(1), strict=True)
    ]
    return torch.cat(members)


def _member_predictions(
    x: Float[Tensor, "1 n d"],
    t: Float[Tensor, "1 n t"],
    y: Float[Tensor, "1 m d"],
    centres: Float[Tensor, "1 k d"],
    kept: int,
    widths: Sequence[float],
    penalties: Sequence[float],
) -> Float[Tensor, "1 m t"]:
    """Widths are tried on the first rows of train; only those that some target has chosen are fitted again, on all."""
    near, apart = _squared_distances(x, centres), torch.cdist(centres, centres)
    unit = float(apart.median()) or 1.0
    fits = [Fit(near, apart.square(), width * unit, kept) for width in widths]
    best = torch.stack([fit.loss(t, penalties) for fit in fits]).argmin(0)[0]
    far, predictions = _squared_distances(y, centres), y.new_zeros(1, y.shape[1], t.shape[2])
    for width in best.unique().tolist():
        own = best == width
        predictions[:, :, own] = fits[width].predictions(far, t[:, :, own], penalties)
    return predictions


class Fit:
    """Ridge `K_xm w` with penalty `alpha w^T K_mm w`, which is ridge on `K_xm K_mm^-1/2`, for one width.

    The features are not made where K_mm is well conditioned: scatter matrices of K_xm, once for the first rows and once
    for the others, serve the choice and the last fit. Else rounding of these, over the least eigenvalue of K_mm, would
    come near the penalties.
    """

    def __init__(
        self, squared_distances: Float[Tensor, "1 n k"], apart: Float[Tensor, "1 k k"], width: float, kept: int
    ) -> None:
        self.scale = -1 / (2 * width**2)
        root, condition = _inverse_root((apart * self.scale).exp_())
        well = condition < 1e7
        self.turn: Tensor | None = None if well else root
        self.root: Tensor | None = root if well else None
        self.k, self.kept = self._features(squared_distances), kept
        first, others = self.k[:, :kept], self.k[:, kept:]
        self.first = first.mT @ first
        self.all = self.first + others.mT @ others

    def loss(self, t: Float[Tensor, "1 n t"], penalties: Sequence[float]) -> Float[Tensor, "1 t"]:
        """Squared error on the other rows of ridge fitted on the first ones."""
        first, others = self.k[:, : self.kept], self.k[:, self.kept :]
        solved = ridge_weights(
            first, t[:, : self.kept], penalties, scatter=_about_mean(self.first, first), root=self.root
        )
        return (affine(others, *solved) - t[:, self.kept :]).square().mean(1)

    def predictions(
        self, squared_distances: Float[Tensor, "1 m k"], t: Float[Tensor, "1 n t"], penalties: Sequence[float]
    ) -> Float[Tensor, "1 m t"]:
        """At other points, fitted on all rows."""
        solved = ridge_weights(self.k, t, penalties, scatter=_about_mean(self.all, self.k), root=self.root)
        return affine(self._features(squared_distances), *solved)

    def _features(self, squared_distances: Float[Tensor, "1 m k"]) -> Float[Tensor, "1 m k"]:
        k = (squared_distances * self.scale).exp_()
        return k if self.turn is None else k @ self.turn


def _inverse_root(gram: Float[Tensor, "1 k k"]) -> tuple[Float[Tensor, "1 k k"], float]:
    """`V diag(1 / sqrt(lambda))`, a rotation of any other root, which ridge does not see; and its condition number."""
    values, vectors = torch.linalg.eigh(gram)
    # Directions below rounding carry noise only.
    kept = values > 1e-10 * values[:, -1:]
    root = vectors * torch.where(kept, values.clamp(min=1e-300).rsqrt(), 0.0)[:, None]
    return root, float(values[kept].max() / values[kept].min())


def _about_mean(products: Float[Tensor, "1 k k"], x: Float[Tensor, "1 n k"]) -> Float[Tensor, "1 k k"]:
    mean = x.mean(1, keepdim=True)
    return products - x.shape[1] * (mean.mT @ mean)


def _squared_distances(x: Float[Tensor, "1 n d"], centres: Float[Tensor, "1 k d"]) -> Float[Tensor, "1 n k"]:
    """`|x|^2 - 2 x c + |c|^2`, of coordinates about zero."""
    ends = centres.square().sum(2)[:, None] + x.square().sum(2, keepdim=True)
    return ends.baddbmm_(x, centres.mT, alpha=-2).clamp_(min=0)
