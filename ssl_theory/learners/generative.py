"""Learners that maximise a bound on the evidence: they reconstruct, so what varies must be represented."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssl_theory.learners.learner import Learner
from ssl_theory.losses import decoders, generative, priors

DECODERS = ("gaussian", "bernoulli")


@dataclass(frozen=True, kw_only=True)
class Autoencoding(Learner):
    """Encoder to a diagonal Gaussian posterior, decoder to a likelihood; the representation is the posterior
    mean.

    `likelihood` is "gaussian" (variance `decoder_variance`, by default exp(-4.6), the published value) or
    "bernoulli" (data in [0, 1]).
    """

    likelihood: str = "gaussian"
    decoder_variance: float = 0.01

    def __post_init__(self) -> None:
        if self.likelihood not in DECODERS:
            raise ValueError(f"likelihood must be one of {', '.join(DECODERS)}, found {self.likelihood!r}")

    def build(self, shape: tuple[int, ...], seeds: Sequence[torch.Generator]) -> nn.ModuleDict:
        encoder = self.encoder(shape, 2 * self.latent_dim, seeds)
        return nn.ModuleDict({"encoder": encoder, "decoder": self.decoder(shape, seeds)})

    def noise_shape(self, views: int) -> tuple[int, ...]:
        return (views, self.latent_dim)

    def decoding(self) -> decoders.Decoder:
        return decoders.Bernoulli() if self.likelihood == "bernoulli" else decoders.Gaussian(self.decoder_variance)

    def posterior(self, modules: nn.ModuleDict, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance `(E, n, J, d)` of `q(z|x)`."""
        moments = modules["encoder"](x.flatten(1, 2)).unflatten(1, x.shape[1:3])
        mean, log_variance = moments.chunk(2, dim=-1)
        return mean, log_variance

    def reparameterised(
        self, modules: nn.ModuleDict, x: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`z = mean + exp(log_variance / 2) noise`, its decoding (data flattened), mean and log-variance."""
        mean, log_variance = self.posterior(modules, x)
        noise = torch.zeros_like(mean) if noise is None else noise
        z = torch.addcmul(mean, (0.5 * log_variance).exp(), noise)
        decoded = modules["decoder"](z.flatten(1, 2)).unflatten(1, x.shape[1:3])
        return z, decoded.flatten(3), mean, log_variance

    def represent(self, modules: nn.ModuleDict, x: Float[Tensor, "E n ..."], layer: str) -> Float[Tensor, "E n d"]:
        return modules["encoder"](x)[..., : self.latent_dim]

    def reconstruct(self, modules: nn.ModuleDict, x: Float[Tensor, "E n ..."]) -> Float[Tensor, "E n ..."]:
        """The decoder's mean at the posterior mean."""
        return self.decoding().mean(modules["decoder"](self.represent(modules, x, "representation")))


@dataclass(frozen=True, kw_only=True)
class VAE(Autoencoding):
    """Each view on its own under `p(z) = N(0, I)` (Kingma & Welling 2014, arXiv 1312.6114)."""

    def loss(
        self, modules: nn.ModuleDict, x: Float[Tensor, "E n J ..."], noise: Tensor | None = None
    ) -> Float[Tensor, " E"]:
        _, decoded, mean, log_variance = self.reparameterised(modules, x, noise)
        return generative.vae(x.flatten(3), decoded, mean, log_variance, decoder=self.decoding())


@dataclass(frozen=True, kw_only=True)
class SimVAE(Autoencoding):
    """ELBO_SSL: the VAE whose prior knows that views share their content (Bizeul et al. 2024, arXiv
    2402.01399).

    `prior` names `p(z^{1:J})` with the content y integrated out: "gaussian" (`y ~ N(0, content_variance I)`),
    "flat", "mixture" (`classes` centres, learned from `N(0, content_variance I)`, uniform weights), "plug-in"
    (published code; not a density), or "split" (each dimension learns its own share of content, from 1/2).
    `style_variance` 0.15 is the published value.
    """

    prior: str = "gaussian"
    style_variance: float = 0.15
    content_variance: float = 1.0
    classes: int = 10

    minimum_views: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prior not in PRIORS:
            raise ValueError(f"prior must be one of {', '.join(PRIORS)}, found {self.prior!r}")

    def build(self, shape: tuple[int, ...], seeds: Sequence[torch.Generator]) -> nn.ModuleDict:
        modules = super().build(shape, seeds)
        if self.prior == "mixture":
            scale, size = self.content_variance**0.5, (self.classes, self.latent_dim)
            modules["prior"] = Free(torch.stack([scale * torch.randn(size, generator=g) for g in seeds]))
        if self.prior == "split":
            modules["prior"] = Free(torch.zeros(len(seeds), self.latent_dim))
        return modules

    def loss(
        self, modules: nn.ModuleDict, x: Float[Tensor, "E n J ..."], noise: Tensor | None = None
    ) -> Float[Tensor, " E"]:
        z, decoded, _, log_variance = self.reparameterised(modules, x, noise)
        prior = PRIORS[self.prior](self, modules)
        return generative.elbo_ssl(x.flatten(3), decoded, z, log_variance, prior=prior, decoder=self.decoding())


class Free(nn.Module):
    """Parameters of a prior, learned: calling it gives their present values, `(E, ...)`."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(start)

    def forward(self) -> Tensor:
        return self.values


PRIORS: dict[str, Callable[[SimVAE, nn.ModuleDict], priors.Prior]] = {
    "gaussian": lambda learner, _: priors.Gaussian(learner.style_variance, learner.content_variance),
    "flat": lambda learner, _: priors.Flat(learner.style_variance),
    "mixture": lambda learner, modules: priors.Mixture(modules["prior"](), learner.style_variance),
    "plug-in": lambda learner, _: priors.PlugIn(learner.style_variance),
    "split": lambda _, modules: priors.IntraClass.from_logits(modules["prior"]()),
}
