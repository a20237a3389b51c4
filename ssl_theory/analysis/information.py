"""Mutual information, in nats: bounds from critic scores, a nonparametric reference, closed forms.

**Scores.** A bound is a function of a matrix `scores: (*batch, n, K)`. Row i belongs to one `y_i`; column 0
holds the critic at its own partner, `f(x_i, y_i)`, and columns 1 to K-1 at partners drawn independently of
it. From a square matrix with the true pairs on its diagonal `positives_first` makes that layout. Leading
axes are independent batches (or ensemble members); give bounds *fresh* samples, never those that the critic
was trained on: only then do they bound.

| bound | side | optimal critic | valid with |
|---|---|---|---|
| `barber_agakov_lower`, `_upper` | lower, upper | log p(y given x) | any normalised q; exact conditional |
| `donsker_varadhan` | lower | PMI + any constant | n K -> inf (the logarithm of a mean is too small on average) |
| `nwj` | lower | 1 + PMI | any critic, unbiased |
| `tuba` | lower | PMI + log a(y) | any critic and baseline a(y), unbiased |
| `info_nce` | lower, at most log K | PMI + any c(y) | any critic |
| `interpolated` | lower | PMI + c(y) | any critic, baseline, alpha |
| `jensen_shannon` | objective | PMI | bounds the Jensen-Shannon divergence, not information |
| `smile` | neither | PMI | an estimate: clipping trades bias for variance |
| `leave_one_out` | lower and upper | log p(y given x) | upper: the exact conditional only |
| `club` | upper | log p(y given x) | the exact conditional, or a q close to it (vCLUB: `critics.Conditional`) |

PMI is `log p(x,y) / (p(x) p(y))`. Sources: Barber, Agakov (2003); Donsker, Varadhan (1983); Belghazi et al.
(2018, MINE, arXiv 1801.04062); Nguyen, Wainwright, Jordan (2010); van den Oord et al. (2018, arXiv
1807.03748); Poole et al. (2019, arXiv 1905.06922); Hjelm et al. (2019, arXiv 1808.06670); Song, Ermon (2020,
arXiv 1910.06222); Cheng et al. (2020, arXiv 2006.12013); Kraskov, Stoegbauer, Grassberger (2004).
"""

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.special import digamma
from torch import Tensor
from torch.nn.functional import softplus

from ssl_theory.analysis.ensemble import Array, Score, answer, as_tensor, finite, members, precision_of, rounding

Scores: TypeAlias = Any
"""`(*batch, n, K)`, a tensor (gradients flow) or an array; the answer `(*batch,)` is of the same kind, in single
precision where the scores have 16 bits."""


class Bracket(NamedTuple):
    """A lower and an upper bound, nats."""

    lower: Score
    upper: Score


def positives_first(square: Array) -> Scores:
    """`(*batch, n, n)` with true pairs on the diagonal -> `(*batch, n, n)` with the true pair in column 0.

    Row i is rotated by i, so column k holds `f(x_{i+k}, y_i)` when `square[i, j] = f(x_j, y_i)`.
    """
    s = _tensor(square)
    n = s.shape[-1] if s.ndim else 0
    if s.ndim < 2 or s.shape[-2] != n:
        raise ValueError(f"square: expected (*batch, n, n), found {tuple(s.shape)}; give scores of all pairs")
    rows = torch.arange(n, device=s.device)
    turned = s.gather(-1, ((rows[:, None] + rows) % n).expand(s.shape))
    return _like(turned, square)


def donsker_varadhan(scores: Scores) -> Score:
    """`E_p[f] - log E_q[exp f]`, a lower bound for exact expectations; on few samples it errs upwards."""
    s = _read(scores)
    return _like(s[..., 0].mean(-1) - _log_mean_exp(s[..., 1:]), scores)


def mine(scores: Scores, log_average: Score | None, *, rate: float = 0.01) -> tuple[Score, Score]:
    """A function whose *gradient* is that of Donsker-Varadhan, corrected, and the new log moving average.

    The gradient of `log E_q[exp f]` on a batch divides by that batch's own mean of `exp f`, which biases it;
    here the divisor is a moving average over batches, `a <- (1 - rate) a + rate mean exp f`. The value is no
    estimate: use `donsker_varadhan` on fresh scores. The average is one of `exp f`, so it keeps the largest batch
    for about `1 / rate` steps, and till then the others weigh next to nothing: start from a critic whose scores are
    small, as `critics.critic` does.

    Args:
        scores: `(*batch, n, K)`.
        log_average: of the steps before, `(*batch,)`; None at the first.

    Returns:
        Both `(*batch,)`, of the kind of `scores`.
    """
    s = _read(scores)
    now = _log_mean_exp(s[..., 1:])
    before = now.detach() if log_average is None else torch.as_tensor(log_average, dtype=s.dtype, device=s.device)
    average = torch.logaddexp(before + math.log1p(-rate), now.detach() + math.log(rate))
    return _like(s[..., 0].mean(-1) - (now - average).exp(), scores), _like(average, scores)


def nwj(scores: Scores) -> Score:
    """`E_p[f] - E_q[exp(f - 1)]`, a lower bound, unbiased, tight at `f = 1 + PMI`; its variance grows like `exp I`."""
    return tuba(scores, 1.0)


def tuba(scores: Scores, log_baseline: Any = 0.0) -> Score:
    """`1 + E_p[f - log a(y)] - E_q[exp(f) / a(y)]`, a lower bound for every positive baseline a.

    Args:
        scores: `(*batch, n, K)`.
        log_baseline: `log a(y_i)`, a number or `(*batch, n)`; best `log E_x exp f(x, y)`; 1 gives `nwj`.
    """
    s = _read(scores)
    f = s - _baseline(log_baseline, s)[..., None]
    return _like(1 + f[..., 0].mean(-1) - _log_mean_exp(f[..., 1:]).exp(), scores)


def info_nce(scores: Scores) -> Score:
    """`log K - L_K = E[f_0 - log (1/K) sum_k exp f_k]`, a lower bound, never above log K."""
    s = _read(scores)
    return _like((s[..., 0] - s.logsumexp(-1)).mean(-1) + math.log(s.shape[-1]), scores)


def interpolated(scores: Scores, alpha: float, log_baseline: Any = 0.0) -> Score:
    """`I_alpha`, a lower bound between `tuba` (alpha = 0) and `info_nce` (alpha = 1), below `1 + log(M / alpha)`.

        1 + E_p[log e^{f_0} / (alpha m + (1 - alpha) a)] - E_q[e^f / (alpha m + (1 - alpha) a)]
        with m = (1/M) sum_k e^{f_k}

    Both means m run over M = K - 1 columns: over the positive and M - 1 others in the first term, over M
    independent ones in the second, which is what makes it a bound for every alpha.

    Args:
        scores: `(*batch, n, K)`, K >= 3.
        alpha: weight of the multi-sample baseline, in [0, 1].
        log_baseline: `log a(y_i)`, a number or `(*batch, n)`.
    """
    s = _read(scores, least=3)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha: expected in [0, 1], found {alpha}; it weighs the multi-sample baseline")
    log_a = _baseline(log_baseline, s)
    with_own, without = (_log_mean_exp(part, -1) for part in (s[..., :-1], s[..., 1:]))
    first = s[..., 0] - _mixed(with_own, log_a, alpha)
    second = (without - _mixed(without, log_a, alpha)).exp()
    return _like(1 + first.mean(-1) - second.mean(-1), scores)


def jensen_shannon(scores: Scores) -> Score:
    """`E_p[-softplus(-f)] - E_q[softplus f]`, at most `2 JSD - log 4`; an objective, tight at f = PMI.

    Information is then read off as `nwj(1 + f)` on fresh samples.
    """
    s = _read(scores)
    return _like(-softplus(-s[..., 0]).mean(-1) - softplus(s[..., 1:]).mean((-2, -1)), scores)


def smile(scores: Scores, clip: float = 5.0) -> Score:
    """`E_p[f] - log E_q[clip(exp f, exp -tau, exp tau)]`: less variance than Donsker-Varadhan, and no bound.

    Args:
        scores: `(*batch, n, K)`.
        clip: tau >= 0; published 1, 5 and infinity (which is `donsker_varadhan`).
    """
    s = _read(scores)
    if not clip >= 0:
        raise ValueError(f"clip: expected tau >= 0, found {clip}; 5 is usual")
    return _like(s[..., 0].mean(-1) - _log_mean_exp(s[..., 1:].clamp(-clip, clip)), scores)


def leave_one_out(log_conditional: Scores) -> Bracket:
    """`E[log p(y|x_0) / mean_k p(y|x_k)]` with the mean over all K (lower) or the K - 1 others (upper).

    Both hold for the *exact* conditional (or the PMI: terms in y cancel); with a learned one only the lower
    does.

    Args:
        log_conditional: `(*batch, n, K)`, `log p(y_i | x_k)`.
    """
    s = _read(log_conditional)
    upper = (s[..., 0] - _log_mean_exp(s[..., 1:], -1)).mean(-1)
    return Bracket(info_nce(log_conditional), _like(upper, log_conditional))


def club(log_conditional: Scores) -> Score:
    """`E_p[log p(y|x)] - E_q[log p(y|x)]`, an upper bound for the exact conditional; vCLUB for a learned one.

    It exceeds the information by `KL(p(x)p(y) || p(x,y))`: looseness is its nature.
    """
    s = _read(log_conditional)
    return _like(s[..., 0].mean(-1) - s[..., 1:].mean((-2, -1)), log_conditional)


def barber_agakov_lower(log_conditional: Any, entropy: Any) -> Score:
    """`E[log q(y|x)] + H(y)`, a lower bound for every normalised q.

    Args:
        log_conditional: `log q(y_i | x_i)` of true pairs, `(*batch, n)`.
        entropy: H(y) in nats, exact; a number or `(*batch,)`.
    """
    q = _read_rows(log_conditional)
    return _like(q.mean(-1) + _beside(entropy, q.shape[:-1], q, "entropy"), log_conditional)


def barber_agakov_upper(log_conditional: Any, log_marginal: Any) -> Score:
    """`E[log p(y|x) - log r(y)]`, an upper bound for the exact conditional p and every normalised r.

    Args:
        log_conditional: `log p(y_i | x_i)` of true pairs, `(*batch, n)`.
        log_marginal: `log r(y_i)`, `(*batch, n)`.
    """
    p = _read_rows(log_conditional)
    return _like((p - _beside(log_marginal, p.shape, p, "log_marginal")).mean(-1), log_conditional)


def gaussian_information(correlations: Any) -> Any:
    """`-1/2 sum_i log(1 - rho_i^2)` of jointly Gaussian pairs, rho the canonical correlations, on the last axis.

    0: independent; infinite where any |rho| = 1.

    Example:
        >>> float(gaussian_information(np.full(5, 0.8)).round(3))
        2.554
    """
    rho = correlations if isinstance(correlations, Tensor) else torch.as_tensor(np.asarray(correlations, float))
    if bool((rho.abs() > 1).any()):
        raise ValueError(
            f"correlations: expected in [-1, 1], found {float(rho.abs().max()):g} in size; divide by scales"
        )
    return _like(-0.5 * torch.log1p(-rho.square()).sum(-1), correlations)


def ksg(first: Array, second: Array, *, neighbours: int = 3) -> Score:
    """Kraskov's first estimator: `psi(k) + psi(n) - <psi(n_x + 1) + psi(n_y + 1)>`.

    No bound; consistent, and too low for much information or many coordinates: of 3,000 Gaussian pairs it is within 0.1
    nats up to 5 nats of one coordinate, 3 of two, 1 of three, and short by 0.7, 0.6, 0.3 at 7, 6, 3 nats.
    Each coordinate is standardised first, which leaves the truth unchanged. n_x counts the points nearer in
    x than the k-th neighbour in the joint space, all distances the largest coordinate difference.

    Args:
        first: `(n, d)` or `(E, n, d)`.
        second: `(n, d')` or `(E, n, d')`.
        neighbours: k, from 1 to n - 1; small: less bias, more variance.

    Returns:
        Nats, a float or `(E,)`; 0 for independent arguments, and a little below by chance. NaN where a point has k
        others at its very place: it compares densities, and ties, as of discrete values, have none.

    Source: Kraskov, Stoegbauer, Grassberger (2004).
    """
    if neighbours < 1:
        raise ValueError(f"neighbours: expected k >= 1, found {neighbours}; 3 is usual")
    x, y = members(first, "first"), members(second, "second")
    if x.shape[:2] != y.shape[:2] or x.shape[1] <= neighbours:
        raise ValueError(
            f"second: expected the members and rows of first, more than k = {neighbours}; "
            f"found {tuple(x.shape)} and {tuple(y.shape)}"
        )
    keep = finite(x, y)
    units = (_unit(z, precision_of(given)).cpu().numpy() for z, given in ((x, first), (y, second)))
    pairs = zip(*units, keep.tolist(), strict=True)
    values = [_kraskov(a, b, neighbours) if ok else math.nan for a, b, ok in pairs]
    return answer(torch.tensor(values, dtype=torch.float64, device=x.device), first)


def _kraskov(x: np.ndarray, y: np.ndarray, k: int) -> float:
    joint = np.concatenate([x, y], 1)
    radius = cKDTree(joint).query(joint, k + 1, p=np.inf)[0][:, k]
    if not radius.all():
        return math.nan
    # Strictly inside the radius: one rounding step less.
    inside = np.nextafter(radius, 0)
    counts = [cKDTree(z).query_ball_point(z, inside, p=np.inf, return_length=True) for z in (x, y)]
    return float(digamma(k) + digamma(len(x)) - sum(digamma(c).mean() for c in counts))


def _unit(x: Tensor, precision: torch.dtype) -> Tensor:
    """Standardised; columns that vary by rounding only become zero."""
    scale = x.std(1, keepdim=True, correction=0)
    return (x - x.mean(1, keepdim=True)) / torch.where(scale > rounding(x, precision)[:, None], scale, torch.inf)


def _log_mean_exp(s: Tensor, axes: Any = (-2, -1)) -> Tensor:
    count = math.prod(s.shape[a] for a in (axes if isinstance(axes, tuple) else (axes,)))
    return s.logsumexp(axes) - math.log(count)


def _mixed(log_m: Tensor, log_a: Tensor, alpha: float) -> Tensor:
    """`log(alpha m + (1 - alpha) a)`."""
    if alpha in (0, 1):
        return log_m if alpha == 1 else log_a
    return torch.logaddexp(log_m + math.log(alpha), log_a + math.log1p(-alpha))


def _baseline(log_baseline: Any, s: Tensor) -> Tensor:
    baseline = torch.as_tensor(log_baseline, dtype=s.dtype, device=s.device)
    return _beside(baseline, s.shape[:-1], s, "log_baseline").expand(s.shape[:-1])


def _beside(x: Any, shape: torch.Size, like: Tensor, name: str) -> Any:
    """`x`, a number or what broadcasts to `shape`."""
    if isinstance(x, int | float):
        return x
    x = x.to(like.device) if isinstance(x, Tensor) else torch.from_numpy(np.asarray(x)).to(like.device)
    if x.ndim > len(shape) or any(a not in (1, b) for a, b in zip(x.shape[::-1], shape[::-1], strict=False)):
        raise ValueError(f"{name}: expected a number or the shape {tuple(shape)}, found {tuple(x.shape)}")
    return x


def _tensor(x: Any) -> Tensor:
    """As floating-point numbers, in single precision at least: sums of 16 bits stop growing at 256 or 2,048."""
    s = x if isinstance(x, Tensor) else as_tensor(np.asarray(x), "scores")
    if not s.is_floating_point():
        raise ValueError(f"scores: expected floating-point numbers, found {s.dtype}; convert them")
    return s if s.dtype == torch.float64 else s.float()


def _read_rows(log_conditional: Any) -> Tensor:
    q = _tensor(log_conditional)
    if q.ndim < 1 or q.shape[-1] < 1:
        raise ValueError(f"log_conditional: expected (*batch, n), n >= 1, found {tuple(q.shape)}")
    return q


def _read(scores: Scores, least: int = 2) -> Tensor:
    s = _tensor(scores)
    if s.ndim < 2 or s.shape[-2] < 1 or s.shape[-1] < least:
        raise ValueError(f"scores: expected (*batch, n, K) with K >= {least}, found {tuple(s.shape)}")
    return s


def _like(value: Tensor, given: Any) -> Any:
    return value if isinstance(given, Tensor) else value.numpy()[()]
