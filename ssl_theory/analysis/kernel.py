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
    centres = train[:, rows]
    losses, predictions = [], []
    for width in widths:
        fit, scored = (_features(x, centres, width) for x in (train, test))
        guess = ridge_predictions(fit[:, kept], target[:, kept], fit[:, held_out], penalties)
        losses.append((guess - target[:, held_out]).square().mean(1))
        predictions.append(ridge_predictions(fit, target, scored, penalties))
    best = torch.stack(losses).argmin(0)[None, :, None].expand(1, *predictions[0].shape)
    return torch.stack(predictions).gather(0, best)[0]


def _features(x: Float[Tensor, "E n d"], centres: Float[Tensor, "E k d"], width: float) -> Float[Tensor, "E n k"]:
    apart = torch.cdist(centres, centres)
    unit = apart.flatten(1).median(1).values[:, None, None]
    scale = 2 * (width * torch.where(unit > 0, unit, torch.ones_like(unit))).square()
    values, vectors = torch.linalg.eigh(torch.exp(-apart.square() / scale))
    # Directions below rounding carry noise only.
    inverse_root = torch.where(values > 1e-10 * values[:, -1:], values.clamp(min=1e-300).rsqrt(), 0.0)
    return torch.exp(-torch.cdist(x, centres).square() / scale) @ (vectors * inverse_root[:, None])
