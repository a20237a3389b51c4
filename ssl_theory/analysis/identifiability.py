"""Identifiability: are the true latents recovered, and up to which maps?

`affine_r2` allows any affine map, `mcc` only a permutation and a rescaling of coordinates, `block_r2` tells content
from style, `dci` grades how far single coordinates stand for single factors.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ssl_theory.analysis import linear, probes
from ssl_theory.analysis.ensemble import (
    Array,
    Score,
    answer,
    as_tensor,
    cleared,
    constant_columns,
    finite,
    members,
    precision_of,
    targets_of,
)
from ssl_theory.analysis.halves import standardised


def affine_r2(representation: Array, latents: Array, **split: Any) -> Score:
    """R^2 of the best affine map from the representation to the true latents, held out.

    1: recovered up to an affine map; 0: no better than the mean; below 0: worse, held out. Averaged over latents.

    Args:
        representation: `(n, d)` or `(E, n, d)`.
        latents: `(n, t)` or `(E, n, t)`.
        split: `test`, `seed`, `per_target` of `probes.r2`.

    Source: Zimmermann et al. (2021), arXiv 2102.08850.
    """
    return probes.r2(representation, latents, kind="linear", **split)


def block_r2(
    representation: Array, blocks: Mapping[str, Array], *, kind: str = "linear", seed: int = 0, **network: Any
) -> dict[str, Score]:
    """R^2 of each named block of latents (content, style): a block is recovered at 1, lost at 0 (or a little below).

    Args:
        representation: `(n, d)` or `(E, n, d)`.
        blocks: one or more, each `(n,)`, `(n, t)` or `(E, n, t)`.
        kind, seed, network: as in `probes.r2`.

    Source: von Kuegelgen et al. (2021), arXiv 2106.04619.

    Example:
        >>> z = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
        >>> block_r2(z[:, :1], {"content": z[:, :1]})["content"] > 0.999
        True
    """
    if not blocks:
        raise ValueError("blocks: expected one block of latents or more, found none; give {'content': content}")
    r = members(representation, dtype=None)
    tensors = {name: targets_of(b, r, name) for name, b in blocks.items()}
    sizes = [b.shape[-1] for b in tensors.values()]
    shared = all(b.ndim < 3 for b in blocks.values())
    joined = torch.cat([b[0] if shared else b for b in tensors.values()], -1)
    scores = probes.r2(representation, joined, kind=kind, seed=seed, per_target=True, **network)
    ends = np.cumsum(sizes)
    means = [scores[..., end - size : end].mean(-1) for size, end in zip(sizes, ends, strict=True)]
    single = as_tensor(representation, "representation").ndim == 2
    return {name: float(m) if single else m for name, m in zip(tensors, means, strict=True)}


def mcc(representation: Array, latents: Array, *, rank: bool = False) -> Score:
    """Mean correlation coefficient: mean |correlation| of latents with coordinates under the best one-to-one matching.

    1: every latent is one coordinate, up to sign and scale (Pearson) or any monotone map (Spearman); near 0: unrelated.
    Latents beyond the d coordinates count as 0. It is biased upwards: of many coordinates the best match by chance.

    Args:
        representation: `(n, d)` or `(E, n, d)`.
        latents: `(n, t)` or `(E, n, t)`.
        rank: Spearman's correlation, of ranks, instead of Pearson's.

    Source: Hyvaerinen, Morioka (2016), arXiv 1605.06336.
    """
    r = members(representation)
    keep = finite(r)
    r, t = cleared(r, keep), targets_of(latents, r, "latents")
    precision = precision_of(representation)
    if rank:
        r, t = _ranks(r.masked_fill(constant_columns(r, precision)[:, None], 0)), _ranks(t)
    table = _correlations(r, t, torch.float64 if rank else precision).abs().cpu().numpy()
    values = [c[linear_sum_assignment(c, maximize=True)].sum() / t.shape[2] for c in table]
    return answer(torch.tensor(np.array(values), device=r.device), representation, keep)


class Dci(NamedTuple):
    """disentanglement: each coordinate serves one latent, in [0, 1]; completeness: each latent is served by one
    coordinate, in [0, 1]; both NaN where no coordinate serves any. informativeness: R^2 of the linear probe, held out,
    at most 1, and below 0 where it is worse than the mean.
    """

    disentanglement: Score
    completeness: Score
    informativeness: Score


def dci(representation: Array, latents: Array, *, seed: int = 0) -> Dci:
    """Disentanglement, completeness, informativeness, importances being |weights| of a ridge probe, all standardised.

    `1 - H(p) / log`, p the share of a coordinate's importance over latents (disentanglement; log of their number) or
    of a latent's over coordinates (completeness); averaged with weights by importance. The published version reads
    importances off lasso or forests; ridge needs no search and agrees where the coordinates are uncorrelated.

    Source: Eastwood, Williams (2018).
    """
    r = members(representation)
    keep = finite(r)
    r, t = cleared(r, keep), targets_of(latents, r, "latents")
    x, _ = standardised(r, r, precision_of(representation))
    y, _ = standardised(t, t, torch.float64)
    probe = torch.cat([torch.zeros_like(x[:, :1]), torch.eye(x.shape[2]).to(x).expand(len(x), -1, -1)], 1)
    predicted = linear.ridge_predictions(x, y, probe)
    importance = (predicted[:, 1:] - predicted[:, :1]).abs()
    served, serving = (answer(_concentration(i), representation, keep) for i in (importance, importance.mT))
    return Dci(served, serving, probes.r2(representation, latents, seed=seed))


def _concentration(importance: Float[Tensor, "E d t"]) -> Float[Tensor, " E"]:
    """Importance-weighted mean over rows of `1 - H(row) / log t`; 1 for a single column."""
    total = importance.sum(-1)
    p = importance / total.clamp(min=1e-300)[..., None]
    entropy = -torch.special.xlogy(p, p).sum(-1) / max(np.log(importance.shape[2]), 1e-300)
    return ((1 - entropy) * total).sum(1) / total.sum(1)


def _correlations(
    r: Float[Tensor, "E n d"], t: Float[Tensor, "E n t"], precision: torch.dtype
) -> Float[Tensor, "E d t"]:
    """Pearson's, of all pairs; 0 where one does not vary, r beyond the rounding of `precision`."""
    a, _ = standardised(r, r, precision)
    b, _ = standardised(t, t, torch.float64)
    return a.mT @ b / r.shape[1]


def _ranks(x: Float[Tensor, "E n d"]) -> Float[Tensor, "E n d"]:
    """Ranks 0 to n - 1 along n; equal numbers share the mean of theirs."""
    n = x.shape[1]
    ordered, rows = x.mT.contiguous().sort(-1)
    at, edge = torch.arange(n, device=x.device), torch.ones_like(ordered[..., :1], dtype=torch.bool)
    step = ordered[..., 1:] != ordered[..., :-1]
    first = torch.where(torch.cat([edge, step], -1), at, 0).cummax(-1).values
    last = torch.where(torch.cat([step, edge], -1), at, n).flip(-1).cummin(-1).values.flip(-1)
    return torch.empty_like(ordered).scatter_(-1, rows, (first + last).to(x.dtype) / 2).mT
