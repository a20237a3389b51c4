"""Instance discrimination: every data point is a class of its own, told from all others by a softmax.

With unit vectors, `softmax_y(z.w_y / sigma^2) = p(y|z)` exactly for `p(z|y) = N(w_y, sigma^2 I)` (or vMF with
concentration `1 / sigma^2`) and uniform y: the loss is `-log p(y|z) = -[log p(z|y) - log p(z)] + log N`.
"""

import math

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid

from ssl_theory.losses.state import Memory
from ssl_theory.losses.views import each_view, per_member, require_positive, require_views, unit, wide

Views = Float[Tensor, "*batch n J d"]
Index = Int[Tensor, "*shape n"]
Loss = Float[Tensor, "*batch"]


def instance_softmax(
    z: Views,
    index: Index,
    weights: Float[Tensor, "*batch N d"],
    *,
    temperature: float | Tensor = 1.0,
    normalise: bool = True,
) -> Loss:
    """Softmax over instances with a learned weight for each (Exemplar-CNN).

    Formula: `-log exp(z^j.w_i / tau) / sum_y exp(z^j.w_y / tau)`, mean over data points i and views j.
    Source: Dosovitskiy et al. 2014, arXiv 1406.6909.
    Prior: maximised: `log p(z|y)` at the data point's own centre `w_y`, with `sigma^2 = temperature`.
    Instead of reconstruction: minus `log p(z)` under the mixture of all centres: an entropy of z.
    Deviations: the original has bias and free lengths (`normalise=False`); then the softmax is the posterior of
        a mixture whose weights are proportional to `exp(|w_y|^2 / 2 tau)`.

    `index` (n,) or (*batch, n) tells the rows of `weights` that the data points own.
    """
    require_views(z, 1)
    require_positive("temperature", temperature)
    z, weights = (unit(wide(v)) if normalise else wide(v) for v in (z, weights))
    logits = (z / per_member(temperature, 3)).flatten(-3, -2) @ weights.mT
    own = each_view(index, z).expand(logits.shape[:-1])
    chosen = logits.gather(-1, own[..., None])[..., 0]
    return (logits.logsumexp(-1) - chosen).mean(-1)


def memory_softmax(z: Views, index: Index, memory: Memory, *, temperature: float | Tensor = 0.07) -> Loss:
    """Non-parametric softmax over instances: the weights are remembered representations.

    Formula: `-log exp(z^j.v_i / tau) / sum_y exp(z^j.v_y / tau)`, v the memory bank, held constant.
    Source: Wu et al. 2018, arXiv 1805.01978.
    Prior: maximised at a remembered centre, with `sigma^2 = temperature`.
    Instead of reconstruction: a kernel density estimate over the whole data set, from the memory.
    Deviations: the authors update each entry with momentum 0.5, which the paper does not state.
    """
    return instance_softmax(z, index, memory.bank.detach(), temperature=temperature)


def memory_nce(
    z: Views,
    index: Index,
    noise: Int[Tensor, "*noise m"],
    memory: Memory,
    *,
    temperature: float | Tensor = 0.07,
    log_normaliser: float | Tensor | None = None,
) -> Loss:
    """Noise-contrastive estimation of the memory softmax: the instance against m uniformly drawn ones.

    Formula: `-log h(i, z) - sum_m log(1 - h(m, z))`, `h = P / (P + m/N)`, `P(i|z) = exp(z.v_i / tau) / Z`.
    Source: Wu et al. 2018, arXiv 1805.01978; Gutmann & Hyvarinen 2010.
    Prior: maximised, as in the memory softmax, which it estimates as m grows.
    Instead of reconstruction: the noise instances, pushed away.
    Deviations: the authors keep the first batch's Z for good; here `log_normaliser` is an argument, and estimated
        from the noise of this batch, held constant, when None.

    `noise` (m,) or (*batch, m): rows of the bank, drawn uniformly by the caller.
    """
    require_views(z, 1)
    require_positive("temperature", temperature)
    bank, N, m = unit(wide(memory.bank.detach())), memory.bank.shape[-2], noise.shape[-1]
    scaled = unit(wide(z)) / per_member(temperature, 3)
    own = (scaled * _rows(bank, index)[..., None, :]).sum(-1)
    others = scaled.flatten(-3, -2) @ _rows(bank, noise).mT
    if log_normaliser is None:
        log_normaliser = others.detach().logsumexp((-2, -1)) - math.log(others.shape[-2] * m / N)
    offset = math.log(m / N)
    log_z = per_member(log_normaliser, 2)
    missed = -logsigmoid(log_z + offset - others).sum(-1).mean(-1)
    return -logsigmoid(own - log_z - offset).mean((-2, -1)) + missed


def _rows(bank: Tensor, index: Tensor) -> Tensor:
    rows = index.expand(*bank.shape[:-2], index.shape[-1])[..., None]
    return bank.gather(-2, rows.expand(*rows.shape[:-1], bank.shape[-1]))
