"""The methods that a benchmark compares, and the settings they share.

All have the same encoder (an MLP 128-128-128; the decoders mirror it), the same latent size 10, Adam at 1e-3,
batches of 64 images with 2 views each (128 images over all views, as published) and no projection head, so
that the representation is the one the loss acts on. What differs is the loss. Nothing here was tuned on the
outcome; each number has its reason:

- latent size 10, style variance 0.15, decoder variance exp(-4.6) = 0.01: the published settings for grey
  digits (Bizeul et al. 2024, arXiv 2402.01399). The decoder variance is the same for every autoencoder; it is
  also the size of the error that a 10-dimensional code of such images leaves, so neither term of the bound is
  idle.
- content variance 1: the total variance 1.15 then is that of the plain VAE's prior up to the style variance.
- InfoNCE at temperature 0.5 and VICReg at 25, 25, 1, as every other learner: their papers' defaults.
- BetaVAE with beta 4 (Higgins et al. 2017); CR-VAE with a tenth of the divergence between the views' posteriors.
- Adam 1e-3 instead of the published 8e-5: 400 epochs of 60,000 images are 375,000 steps, which a benchmark of
  minutes cannot afford; 1e-3 is Adam's own default (Kingma & Ba 2015, arXiv 1412.6980).
- Training length: one of a quarter, a half and the whole of `steps`, chosen for each method on the validation
  images. 4,000 steps are 244 passes over the digits: what a benchmark of minutes affords.

Without `--methods` the core is compared, which holds one method of each side of the theory's sentence and takes
minutes; `--methods all` adds the others, and the classifier trained with labels as the ceiling of content.

`pixels` is no method but the yardstick: what the same probes read off the image itself. By data processing no
code tells more than the image, but a probe of finite size can read a good code more easily, so a row may come
out a little above it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import Any

from ssl_theory.benchmarks.errors import InputError
from ssl_theory.learners import (
    BYOL,
    CRVAE,
    DINO,
    VAE,
    BetaVAE,
    Learner,
    MoCo,
    Random,
    SimCLR,
    SimVAE,
    Supervised,
    SwAV,
    VICReg,
)

LATENT_DIM, HIDDEN = 10, (128, 128, 128)
DECODER_VARIANCE, STYLE_VARIANCE = 0.01, 0.15
CORE = ("pixels", "random", "simclr", "vicreg", "vae", "simvae", "simvae-flat")
EVERY = "all"


@dataclass(frozen=True)
class Method:
    """A row of the table: the name it is asked for by, the name it is printed with, and what it trains.

    `learner` is None for the pixels themselves; a `generative` one can reconstruct.
    """

    key: str
    title: str
    learner: Learner | None
    generative: bool = False

    @property
    def trains(self) -> bool:
        return self.learner is not None and self.learner.trains

    def among(self, classes: int) -> Method:
        """The method for images of so many classes, which only the supervised one is told."""
        if isinstance(self.learner, Supervised):
            return replace(self, learner=replace(self.learner, classes=classes))
        return self


def _methods(latent_dim: int, hidden: tuple[int, ...]) -> list[Method]:
    size: dict[str, Any] = {"latent_dim": latent_dim, "hidden": hidden}
    decoder: dict[str, Any] = {"decoder_variance": DECODER_VARIANCE}
    simvae = size | decoder | {"style_variance": STYLE_VARIANCE, "content_variance": 1.0}
    return [
        Method("pixels", "Pixels (reference)", None),
        Method("random", "Random encoder", Random(**size)),
        Method("supervised", "Supervised", Supervised(**size)),
        Method("simclr", "SimCLR", SimCLR(**size, temperature=0.5)),
        Method("moco", "MoCo", MoCo(**size)),
        Method("vicreg", "VICReg", VICReg(**size)),
        Method("byol", "BYOL", BYOL(**size)),
        Method("swav", "SwAV", SwAV(**size)),
        Method("dino", "DINO", DINO(**size)),
        Method("vae", "VAE", VAE(**size, **decoder), True),
        Method("betavae", "BetaVAE", BetaVAE(**size, **decoder), True),
        Method("crvae", "CR-VAE", CRVAE(**size, **decoder), True),
        Method("simvae", "SimVAE, Gaussian prior", SimVAE(**simvae, prior="gaussian"), True),
        Method("simvae-flat", "SimVAE, Flat prior", SimVAE(**simvae, prior="flat"), True),
        Method("simvae-split", "SimVAE, learned split", SimVAE(**size, **decoder, prior="split"), True),
    ]


METHODS = {method.key: method for method in _methods(LATENT_DIM, HIDDEN)}


def named(keys: str | None) -> list[Method]:
    """The methods of a comma-separated list, in the table's order; the core for None, every one for "all"."""
    asked = list(CORE) if keys is None else [key.strip().lower() for key in keys.split(",") if key.strip()]
    if EVERY in asked:
        return list(METHODS.values())
    for key in asked:
        if key not in METHODS:
            near = difflib.get_close_matches(key, METHODS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}? " if near else ""
            raise InputError(f"unknown method {key!r}: {hint}Known: {', '.join(METHODS)}.")
    if not asked:
        raise InputError(f"--methods is empty; give one or more of {', '.join(METHODS)}, separated by commas.")
    return [method for key, method in METHODS.items() if key in asked]
