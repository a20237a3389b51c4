"""From the parts of a world to the one form that has exact answers: a mixture of linear-Gaussian hierarchies.

Each mixture component is a class (or leaf) of content together with one *keep pattern*: which style
innovations the views of a datum share. Given the component, content, latents and style are affine in
standard normal numbers: `e`, shared by the views, and `eta^j`, drawn by each view.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from synthetic.exact.gaussian import LinearGaussian, Readout
from synthetic.refusal import NotExact

MOST_UNCERTAIN = 10  # coordinates kept at times but not always: 2^10 patterns are still summed


@dataclass(frozen=True)
class Components:
    """Content as a finite mixture: `y = mean_c + factor_c e`, `e ~ N(0, I)`, with probability `weights_c`."""

    weights: Float[Tensor, " C"]
    labels: Int64[Tensor, " C"]
    mean: Float[Tensor, "C dc"]
    factor: Float[Tensor, "C dc m"]

    def moments(self) -> tuple[Float[Tensor, " dc"], Float[Tensor, "dc dc"]]:
        """Mean and covariance of y."""
        mean = self.weights @ self.mean
        centred = self.mean - mean
        within = torch.einsum("c,cim,cjm->ij", self.weights, self.factor, self.factor)
        return mean, within + torch.einsum("c,ci,cj->ij", self.weights, centred, centred)


@dataclass(frozen=True)
class Arrangement:
    """An affine map of content and residual: `of_content y + offset + of_residual r^j`."""

    of_content: Float[Tensor, "q dc"]
    offset: Float[Tensor, " q"]
    of_residual: Float[Tensor, "q ds"]

    def beneath(self, identity: Float[Tensor, "dc dc"]) -> Arrangement:
        """The same map with content itself stacked above it: `(y, this)`."""
        none = self.of_residual.new_zeros(len(identity), self.of_residual.shape[1])
        offset = torch.cat((self.offset.new_zeros(len(identity)), self.offset))
        return Arrangement(torch.cat((identity, self.of_content)), offset, torch.cat((none, self.of_residual)))


def hierarchy(
    parts: Components,
    factor: Float[Tensor, "ds ds"],
    p_keep: Sequence[float],
    latent: Arrangement,
    style: Arrangement,
) -> LinearGaussian:
    """The law of `y ~ parts`, `r^j = factor eps^j` (innovations kept with `p_keep`), latents and style as
    arranged.
    """
    masks, log_masks = keep_patterns(p_keep)
    patterns, classes = len(masks), len(parts.weights)
    keep = torch.tensor(masks, device=factor.device, dtype=factor.dtype).repeat_interleave(classes, 0)
    log_patterns = torch.tensor(log_masks, device=factor.device, dtype=factor.dtype)
    log_weights = (log_patterns[:, None] + parts.weights.log()).flatten()
    mean, of_content = parts.mean.repeat(patterns, 1), parts.factor.repeat(patterns, 1, 1)
    shared = (factor * keep[:, None])[..., [p > 0 for p in p_keep]]
    private = (factor * (1 - keep[:, None]))[..., [p < 1 for p in p_keep]]

    def read(arranged: Arrangement) -> Readout:
        centre = mean @ arranged.of_content.mT + arranged.offset
        together = torch.cat((arranged.of_content @ of_content, arranged.of_residual @ shared), -1)
        return Readout(centre[:, None], together[:, None], (arranged.of_residual @ private)[:, None])

    content = Arrangement(
        torch.eye(mean.shape[1], device=factor.device, dtype=factor.dtype),
        mean.new_zeros(mean.shape[1]),
        factor.new_zeros(mean.shape[1], len(factor)),
    )
    read_latent = read(latent)
    return LinearGaussian(
        log_weights, parts.labels.repeat(patterns), read_latent, read_latent, read(content), read(style), patterns
    )


def keep_patterns(p_keep: Sequence[float]) -> tuple[list[list[bool]], list[float]]:
    """All sets of innovations that the views may share, and the logarithms of their probabilities."""
    uncertain = sum(0 < p < 1 for p in p_keep)
    if uncertain > MOST_UNCERTAIN:
        raise NotExact(
            f"p_keep is strictly between 0 and 1 for {uncertain} style coordinates (2^{uncertain} patterns)",
            f"use p_keep 0 or 1 in all but {MOST_UNCERTAIN} of them, or synthetic.monte_carlo",
        )
    choices = [[keep for keep, p in ((False, 1 - p), (True, p)) if p > 0] for p in p_keep]
    masks = [list(mask) for mask in itertools.product(*choices)]
    return masks, [sum(math.log(p if keep else 1 - p) for keep, p in zip(mask, p_keep, strict=True)) for mask in masks]
