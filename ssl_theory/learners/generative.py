"""Learners that maximise a bound on the evidence: they reconstruct, so what varies must be represented."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ssl_theory import models
from ssl_theory.learners.learner import Inputs, Learner, Loss, Representation, Views
from ssl_theory.learners.memory import Free, gaussian, per_view
from ssl_theory.losses import decoders, generative, priors

LIKELIHOODS = ("gaussian", "bernoulli")


@dataclass(frozen=True, kw_only=True)
class Autoencoding(Learner):
    """Encoder to a diagonal Gaussian posterior, decoder to a likelihood; the representation is the posterior
    mean.

    `likelihood` is "gaussian" (variance `decoder_variance`, by default about exp(-4.6), the published value) or
    "bernoulli" (binary data).
    """

    likelihood: str = "gaussian"
    decoder_variance: float | Tensor = 0.01

    def __post_init__(self) -> None:
        if self.likelihood not in LIKELIHOODS:
            raise ValueError(f"likelihood must be one of {', '.join(LIKELIHOODS)}, found {self.likelihood!r}")

    def build(self, shape: tuple[int, ...], seeds: Sequence[torch.Generator]) -> nn.ModuleDict:
        encoder = self.encoder(shape, 2 * self.latent_dim, seeds)
        return nn.ModuleDict({"encoder": encoder, "decoder": self.decoder(shape, seeds)})

    def decoder(self, shape: tuple[int, ...], seeds: Sequence[torch.Generator]) -> nn.Module:
        return models.decoder(
            shape,
            self.latent_dim,
            seeds,
            network=self.network,
            hidden=self.hidden,
            activation=self.activation,
            batch_norm=self.batch_norm,
        )

    def noise_shape(self, views: int) -> tuple[int, ...]:
        return (views, self.latent_dim)

    def decoding(self) -> decoders.Decoder:
        return decoders.Bernoulli() if self.likelihood == "bernoulli" else decoders.Gaussian(self.decoder_variance)

    def posterior(self, modules: nn.ModuleDict, x: Views) -> tuple[Tensor, Tensor]:
        """Mean and log-variance `(E, n, J, d)` of `q(z|x)`."""
        mean, log_variance = per_view(modules["encoder"], x).chunk(2, dim=-1)
        return mean, log_variance

    def reparameterised(
        self, modules: nn.ModuleDict, x: Views, noise: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`z = mean + exp(log_variance / 2) noise`, its decoding (data flattened), mean and log-variance."""
        mean, log_variance = self.posterior(modules, x)
        z = torch.addcmul(mean, (0.5 * log_variance).exp(), torch.zeros_like(mean) if noise is None else noise)
        return z, per_view(modules["decoder"], z).flatten(3), mean, log_variance

    def represent(self, modules: nn.ModuleDict, x: Inputs, layer: str, view: int = 0) -> Representation:
        return modules["encoder"](x)[..., : self.latent_dim]

    def reconstruct(self, modules: nn.ModuleDict, x: Inputs) -> Inputs:
        """The decoder's mean at the posterior mean."""
        return self.decoding().mean(modules["decoder"](self.represent(modules, x, "representation")))


@dataclass(frozen=True, kw_only=True)
class VAE(Autoencoding):
    """Each view on its own under `p(z) = N(0, I)` (Kingma & Welling 2014, arXiv 1312.6114)."""

    def loss(self, modules: nn.ModuleDict, x: Views, noise: Tensor | None = None) -> Loss:
        _, decoded, mean, log_variance = self.reparameterised(modules, x, noise)
        return generative.vae(x.flatten(3), decoded, mean, log_variance, decoder=self.decoding())


@dataclass(frozen=True, kw_only=True)
class BetaVAE(Autoencoding):
    """The VAE with its divergence from the prior weighted (Higgins et al. 2017, ICLR)."""

    beta: float | Tensor = 4.0

    def loss(self, modules: nn.ModuleDict, x: Views, noise: Tensor | None = None) -> Loss:
        _, decoded, mean, log_variance = self.reparameterised(modules, x, noise)
        decoder = self.decoding()
        return generative.beta_vae(x.flatten(3), decoded, mean, log_variance, decoder=decoder, beta=self.beta)


@dataclass(frozen=True, kw_only=True)
class CRVAE(Autoencoding):
    """The VAE whose posteriors of the views of a data point are tied (Sinha & Dieng 2021, arXiv 2105.14859)."""

    weight: float | Tensor = 0.1

    minimum_views: ClassVar[int] = 2

    def loss(self, modules: nn.ModuleDict, x: Views, noise: Tensor | None = None) -> Loss:
        _, decoded, mean, log_variance = self.reparameterised(modules, x, noise)
        decoder = self.decoding()
        return generative.cr_vae(x.flatten(3), decoded, mean, log_variance, decoder=decoder, weight=self.weight)


@dataclass(frozen=True, kw_only=True)
class SimVAE(Autoencoding):
    """ELBO_SSL: the VAE whose prior knows that views share content (Bizeul et al. 2024, arXiv 2402.01399).

    `prior` names `p(z^{1:J})` with the content y integrated out: "gaussian" (`y ~ N(0, content_variance I)`),
    "flat", "mixture" (`classes` centres, learned from `N(0, content_variance I)`, uniform weights), "plug-in"
    (published code, the mean view for y; not a density, and without its content term "flat" up to a constant),
    "split" (each dimension learns its own share of content, from 1/2), or "standard" (`N(0, I)` for each view: the
    VAE). `style_variance` 0.15 is the published value.

    Centres and shares that are learned move `prior_rate` times as fast as weights do: 2,000 steps of 0.001 take a
    number no further than 2, and the logit of a share of 0.95 is 3.
    """

    prior: str = "gaussian"
    style_variance: float | Tensor = 0.15
    content_variance: float | Tensor = 1.0
    classes: int = 10
    prior_rate: float = 10.0

    minimum_views: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prior not in PRIORS:
            raise ValueError(f"prior must be one of {', '.join(PRIORS)}, found {self.prior!r}")
        if not self.prior_rate > 0:
            raise ValueError(f"prior_rate must be positive, found {self.prior_rate}; 1 is the weights' own rate")

    def build(self, shape: tuple[int, ...], seeds: Sequence[torch.Generator]) -> nn.ModuleDict:
        modules = super().build(shape, seeds)
        if self.prior == "mixture":
            scale = torch.as_tensor(self.content_variance).float().sqrt().cpu().view(-1, 1, 1)
            modules["prior"] = Free(scale * gaussian((self.classes, self.latent_dim), seeds), self.prior_rate)
        if self.prior == "split":
            modules["prior"] = Free(torch.zeros(len(seeds), self.latent_dim), self.prior_rate)
        return modules

    def density(self, modules: nn.ModuleDict) -> priors.Prior:
        """`p(z^{1:J})` as it is now; a learned one moves with training."""
        return PRIORS[self.prior](self, modules)

    def loss(self, modules: nn.ModuleDict, x: Views, noise: Tensor | None = None) -> Loss:
        z, decoded, _, log_variance = self.reparameterised(modules, x, noise)
        prior, decoder = self.density(modules), self.decoding()
        return generative.elbo_ssl(x.flatten(3), decoded, z, log_variance, prior=prior, decoder=decoder)


@dataclass(frozen=True, kw_only=True)
class IWAE(SimVAE):
    """The importance-weighted bound from several samples (Burda et al. 2016, arXiv 1509.00519), any `prior`."""

    prior: str = "standard"
    samples: int = 5

    minimum_views: ClassVar[int] = 1

    def noise_shape(self, views: int) -> tuple[int, ...]:
        return (self.samples, views, self.latent_dim)

    def loss(self, modules: nn.ModuleDict, x: Views, noise: Tensor | None = None) -> Loss:
        mean, log_variance = self.posterior(modules, x)
        steps = mean.new_zeros(1, *mean.shape) if noise is None else noise.movedim(2, 0)
        z = mean + (0.5 * log_variance).exp() * steps  # (S, E, n, J, d)
        decoded = modules["decoder"](z.movedim(0, 1).flatten(1, 3))
        decoded = decoded.flatten(2).unflatten(1, (z.shape[0], *x.shape[1:3])).movedim(1, 0)
        prior, decoder = self.density(modules), self.decoding()
        return generative.iwae(x.flatten(3), decoded, z, mean, log_variance, prior=prior, decoder=decoder)


PRIORS: dict[str, Callable[[SimVAE, nn.ModuleDict], priors.Prior]] = {
    "gaussian": lambda learner, _: priors.Gaussian(learner.style_variance, learner.content_variance),
    "flat": lambda learner, _: priors.Flat(learner.style_variance),
    "mixture": lambda learner, modules: priors.Mixture(modules["prior"](), learner.style_variance),
    "plug-in": lambda learner, _: priors.PlugIn(learner.style_variance, learner.content_variance),
    "split": lambda _, modules: priors.IntraClass.from_logits(modules["prior"]()),
    "standard": lambda *_: priors.Gaussian(1.0, 0.0),
}
