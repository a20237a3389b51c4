"""Ridge regression with a Gaussian kernel, on Nystroem features, batched over ensemble members."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_theory.analysis.linear import PENALTIES, ridge_predictions

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
    # One member after the other: features are many times as wide as the representation.
    members = [
        _member_predictions(x, t, y, x[:, rows], held_out, kept, widths, penalties)
        for x, t, y in zip(train.split(1), target.split(1), test.split(1), strict=True)
    ]
    return torch.cat(members)


def _member_predictions(
    x: Float[Tensor, "1 n d"],
    t: Float[Tensor, "1 n t"],
    y: Float[Tensor, "1 m d"],
    centres: Float[Tensor, "1 k d"],
    held_out: Int[Tensor, " v"],
    kept: Int[Tensor, " f"],
    widths: Sequence[float],
    penalties: Sequence[float],
) -> Float[Tensor, "1 m t"]:
    """Widths are tried on the train rows; only those that some target has chosen are fitted again, and see test."""
    maps = [Features(centres, width) for width in widths]
    near, predictions = _squared_distances(x, centres), y.new_zeros(1, y.shape[1], t.shape[2])
    seen, losses = [features(near) for features in maps], []
    for fit in seen:
        guess = ridge_predictions(fit[:, kept], t[:, kept], fit[:, held_out], penalties)
        losses.append((guess - t[:, held_out]).square().mean(1))
    best, far = torch.stack(losses).argmin(0)[0], _squared_distances(y, centres)
    for width in best.unique().tolist():
        own = best == width
        predictions[:, :, own] = ridge_predictions(seen[width], t[:, :, own], maps[width](far), penalties)
    return predictions


class Features:
    """Nystroem features `K_xm K_mm^-1/2`, from squared distances to the landmarks."""

    def __init__(self, centres: Float[Tensor, "1 k d"], width: float) -> None:
        apart = torch.cdist(centres, centres)
        unit = apart.flatten(1).median(1).values[:, None, None]
        self.scale = 2 * (width * torch.where(unit > 0, unit, torch.ones_like(unit))).square()
        values, vectors = torch.linalg.eigh(torch.exp(-apart.square() / self.scale))
        # Directions below rounding carry noise only.
        inverse_root = torch.where(values > 1e-10 * values[:, -1:], values.clamp(min=1e-300).rsqrt(), 0.0)
        self.root = vectors * inverse_root[:, None]

    def __call__(self, squared_distances: Float[Tensor, "1 n k"]) -> Float[Tensor, "1 n k"]:
        return (squared_distances / -self.scale).exp_() @ self.root


def _squared_distances(x: Float[Tensor, "1 n d"], centres: Float[Tensor, "1 k d"]) -> Float[Tensor, "1 n k"]:
    return torch.cdist(x, centres).square_()
