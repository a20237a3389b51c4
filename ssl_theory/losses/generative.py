"""Generative losses: minus a lower bound of the evidence `log p(x^{1:J})`, in nats per data point.

All normalising constants are kept, so that a loss compares with an exact evidence. Monte-Carlo samples are one more
leading batch axis. `decoded` is what the decoder network made of z; a log-variance is the caller's to bound.
"""

import math

from jaxtyping import Float
from torch import Tensor

from ssl_theory.losses.decoders import Decoder
from ssl_theory.losses.priors import Prior
from ssl_theory.losses.views import LOG_2PI, per_member, require_fit, require_views, wide

Latent = Float[Tensor, "*batch n J d"]
Observation = Float[Tensor, "*shape n J D"]
Decoded = Float[Tensor, "*batch n J D_decoded"]
PerView = Float[Tensor, "*batch n J"]
PerPoint = Float[Tensor, "*batch n"]
Loss = Float[Tensor, "*batch"]


def entropy(log_variance: Latent) -> PerView:
    """Entropy of the diagonal Gaussian posterior of each view, `1/2 sum (1 + log 2pi + l)`."""
    return 0.5 * (1 + LOG_2PI + wide(log_variance)).sum(-1)


def kl_to_standard_normal(mean: Latent, log_variance: Latent) -> PerView:
    """`KL( N(mean, e^l) || N(0, I) ) = 1/2 sum (mean^2 + e^l - 1 - l)`."""
    mean, log_variance = wide(mean), wide(log_variance)
    return 0.5 * (mean.square() + log_variance.expm1() - log_variance).sum(-1)


def log_posterior(z: Latent, mean: Latent, log_variance: Latent) -> PerView:
    """`log q(z^j|x^j)` of the diagonal Gaussian posterior of each view."""
    z, mean, log_variance = wide(z), wide(mean), wide(log_variance)
    squared = (z - mean).square() * (-log_variance).exp()
    return -0.5 * (squared + log_variance + LOG_2PI).sum(-1)


def evidence_bound(
    x: Observation, decoded: Decoded, z: Latent, posterior_entropy: PerView, *, prior: Prior, decoder: Decoder
) -> PerPoint:
    """ELBO_SSL of each data point for posteriors of any family, from a sample z and their entropies."""
    require_fit("decoded", decoded, z, (-3, -2))
    require_fit("x", x, z, (-3, -2))
    return decoder.log_prob(x, decoded).sum(-1) + posterior_entropy.sum(-1) + prior.log_prob(z)


def elbo_ssl(
    x: Observation, decoded: Decoded, z: Latent, log_variance: Latent, *, prior: Prior, decoder: Decoder
) -> Loss:
    """SimVAE: minus ELBO_SSL, with one sample z of the posteriors and the content integrated out of the prior.

    Formula: `-( sum_j log p(x^j|z^j) + sum_j H[q(z^j|x^j)] + log p(z^{1:J}) )`, mean over data points.
    Source: Bizeul et al. 2024, arXiv 2402.01399.
    Prior: maximised, whichever of `priors` is given.
    Instead of reconstruction: reconstruction itself, and the entropy of each posterior.
    Deviations: the published code takes `1/2 sum 2 pi l` for the entropy, which peaks at a variance of 2 pi, plugs
        the mean view into the prior without normaliser, and divides a Bernoulli likelihood by a variance.

    The gap to the evidence is `KL( prod_j q(z^j|x^j) || p(z^{1:J}|x^{1:J}) )`, exactly.
    """
    require_fit("log_variance", log_variance, z)
    return -evidence_bound(x, decoded, z, entropy(log_variance), prior=prior, decoder=decoder).mean(-1)


def vae(x: Observation, decoded: Decoded, mean: Latent, log_variance: Latent, *, decoder: Decoder) -> Loss:
    """VAE: minus the sum over views of single-view bounds, `p(z) = N(0, I)`, KL in closed form.

    Formula: `-sum_j ( log p(x^j|z^j) - KL( q(z^j|x^j) || N(0, I) ) )`, mean over data points.
    Source: Kingma & Welling 2014, arXiv 1312.6114.
    Prior: `log p(z^{1:J})` is a product over views: nothing ties the views of a data point together.
    Instead of reconstruction: reconstruction itself.
    Deviations: libraries average over pixels or drop `D/2 log 2 pi variance`, so that values do not compare.
    """
    return beta_vae(x, decoded, mean, log_variance, decoder=decoder, beta=1.0)


def beta_vae(
    x: Observation,
    decoded: Decoded,
    mean: Latent,
    log_variance: Latent,
    *,
    decoder: Decoder,
    beta: float | Tensor = 4.0,
) -> Loss:
    """Beta-VAE: the VAE with its KL term weighted.

    Formula: `-sum_j ( log p(x^j|z^j) - beta KL( q(z^j|x^j) || N(0, I) ) )`, mean over data points.
    Source: Higgins et al. 2017 (ICLR).
    Prior: a product over views, as in the VAE, pressed harder for beta > 1.
    Instead of reconstruction: reconstruction itself; for beta >= 1 still a lower bound of the evidence.
    Deviations: many implementations average over pixels and dimensions, which rescales beta by d/D.
    """
    require_fit("log_variance", log_variance, mean)
    require_fit("decoded", decoded, mean, (-3, -2))
    require_fit("x", x, mean, (-3, -2))
    divergence = kl_to_standard_normal(mean, log_variance).sum(-1)
    return (per_member(beta, 1) * divergence - decoder.log_prob(x, decoded).sum(-1)).mean(-1)


def cr_vae(
    x: Observation,
    decoded: Decoded,
    mean: Latent,
    log_variance: Latent,
    *,
    decoder: Decoder,
    weight: float | Tensor = 0.1,
) -> Loss:
    """CR-VAE: the VAE of all views, plus a divergence that ties each posterior to that of the first view.

    Formula: `vae + weight sum_{j > 1} KL( q(z^j|x^j) || q(z^1|x^1) )`, mean over data points.
    Source: Sinha & Dieng 2021, arXiv 2105.14859.
    Prior: a product over views; the divergence pulls the views together on the side of the posterior instead.
    Instead of reconstruction: reconstruction itself.
    Deviations: the first view is the original x of the paper and the others its transformations; where all views
        are transformations, the choice of the first is arbitrary.
    """
    require_views(mean)
    tie = _kl_to_first(wide(mean), wide(log_variance)).mean(-1)
    return vae(x, decoded, mean, log_variance, decoder=decoder) + weight * tie


def _kl_to_first(mean: Tensor, log_variance: Tensor) -> Tensor:
    """`sum_{j > 1} KL( N(m_j, e^l_j) || N(m_1, e^l_1) )`, `(*batch, n)`."""
    step = mean[..., 1:, :] - mean[..., :1, :]
    log_ratio = log_variance[..., 1:, :] - log_variance[..., :1, :]
    squared = step.square() * (-log_variance[..., :1, :]).exp()
    return 0.5 * (squared + log_ratio.expm1() - log_ratio).sum((-2, -1))


def log_weights(
    x: Observation,
    decoded: Decoded,
    z: Latent,
    mean: Latent,
    log_variance: Latent,
    *,
    prior: Prior,
    decoder: Decoder,
) -> PerPoint:
    """`log p(x^{1:J}|z^{1:J}) + log p(z^{1:J}) - log q(z^{1:J}|x^{1:J})`: importance weights of a sample z."""
    require_fit("mean", mean, z)
    require_fit("log_variance", log_variance, z)
    require_fit("decoded", decoded, z, (-3, -2))
    require_fit("x", x, z, (-3, -2))
    log_joint = decoder.log_prob(x, decoded).sum(-1) + prior.log_prob(z)
    return log_joint - log_posterior(z, mean, log_variance).sum(-1)


def iwae(
    x: Observation,
    decoded: Float[Tensor, "S *batch n J D_decoded"],
    z: Float[Tensor, "S *batch n J d"],
    mean: Latent,
    log_variance: Latent,
    *,
    prior: Prior,
    decoder: Decoder,
) -> Loss:
    """IWAE: minus the importance-weighted bound of the evidence from S samples of the posteriors.

    Formula: `-log (1/S) sum_s p(x^{1:J}, z_s^{1:J}) / q(z_s^{1:J}|x^{1:J})`, mean over data points.
    Source: Burda et al. 2016, arXiv 1509.00519.
    Prior: maximised, whichever of `priors` is given; `Gaussian(1.0, 0.0)` is the original's.
    Instead of reconstruction: reconstruction itself.
    Deviations: none known.

    The samples are the first axis. Increases from the single-sample bound (S = 1) to the evidence.
    """
    posterior = (v.expand(z.shape) for v in (mean, log_variance))
    weights = log_weights(x, decoded, z, *posterior, prior=prior, decoder=decoder)
    return -(weights.logsumexp(0) - math.log(z.shape[0])).mean(-1)


def importance_weighted_evidence(
    log_weight: Float[Tensor, "S *batch n"],
) -> tuple[PerPoint, PerPoint]:
    """Estimate of `log p(x^{1:J})` of each data point from S log-weights, and its standard error.

    `log mean w`, with the delta method's error `std(w) / (mean(w) sqrt S)`. The estimate is low on average, by half the
    squared error; the error itself cannot be trusted once it is near one: a few weights then carry the sum.
    """
    samples = log_weight.shape[0]
    if samples < 2:
        raise ValueError(f"expected at least 2 samples on the first axis, found {samples}: draw more")
    estimate = log_weight.logsumexp(0) - math.log(samples)
    relative = (log_weight - estimate).exp()
    return estimate, relative.std(0) / math.sqrt(samples)
