"""The methods that a benchmark compares, and the settings they share.

All have the same encoder but for batch normalisation (the decoders mirror it), the same latent size, Adam, and batches
of 64 images with 2 views each (128 images over all views, as published). What differs is the loss. The networks follow
from the images alone (`design`); but for batch normalisation and the head's output no setting follows from an outcome.
Each has its reason:

- grey images up to 16 pixels: MLP 128-128-128; other grey images: MLP 512-256; latent size 10 for both, the published
  size for grey digits (Bizeul et al. 2024, arXiv 2402.01399). Colour images: 3x3 convolutions of stride 2 with 16, 32,
  64 channels (64 once more above 32 pixels), the cheapest that two processor cores train in minutes, and the published
  latent size 64. ResNet-18 on request.
- projection head: where there is one, the discriminative methods have it and are examined on both of its sides, where
  the loss acts ("representation") and before it ("encoder"). None for the small digits, so that all rows are of one
  kind; elsewhere one hidden layer of 128 and an output of 128, that of SimCLR, MoCo and SwAV as published (BYOL and
  DINO have 256, VICReg 8,192). An output of ten numbers costs VICReg and DINO content: on MNIST (2,000 steps, three
  seeds) linear accuracy before such a head is 0.65 and 0.74, before one of 128 it is 0.86 and 0.82.
- batch normalisation of hidden layers: in the discriminative methods and the classifier, as in the convolutional
  networks of their papers; in autoencoders with ResNet-18 alone, as published. Each kind is better off so. On MNIST
  (2,000 steps, three seeds) BYOL, SwAV and DINO, behind heads of ten numbers, tell less of content without it (accuracy
  of an MLP 0.44, 0.52 and 0.48 instead of 0.75, 0.70 and 0.71); VAE and SimVAE have the same linear accuracy with it
  (0.88), less NMI (0.67 and 0.66 instead of 0.73 and 0.69) and about 70 nats less evidence.
- style variance 0.15, decoder variance exp(-4.6) = 0.01: published. The decoder variance is the same for every
  autoencoder; it is also the size of the error that a 10-dimensional code of digits leaves, so neither term of the
  bound is idle.
- content variance 1: the total variance 1.15 then is that of the plain VAE's prior up to the style variance.
- InfoNCE at temperature 0.5 and VICReg at 25, 25, 1, as every other learner: their papers' defaults.
- BetaVAE with beta 4 (Higgins et al. 2017); CR-VAE with a tenth of the divergence between the views' posteriors.
- Adam 1e-3, its own default (Kingma & Ba 2015, arXiv 1412.6980), instead of the published 8e-5: 400 epochs of 60,000
  images are 375,000 steps, which a benchmark of minutes cannot afford. `published` gives the published ones: MLP
  2000-500-500 or ResNet-18, Adam 8e-5, 400 epochs.
- Training length: one of a quarter, a half and the whole of `steps`, chosen for each method on the validation
  images. 4,000 steps are 244 passes over the digits: what a benchmark of minutes affords.

Without `--methods` the core is compared, which holds one method of each side of the theory's sentence and takes
minutes; `--methods all` adds the others, and the classifier trained with labels as the ceiling of content.

`pixels` is no method but the yardstick: what the same probes read off the image itself (above 256 pixels, off as many
principal components). By data processing no
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
    RESNET18,
    VAE,
    BetaVAE,
    JointEmbedding,
    Learner,
    MoCo,
    Random,
    SimCLR,
    SimVAE,
    Supervised,
    SwAV,
    VICReg,
)

DECODER_VARIANCE, STYLE_VARIANCE = 0.01, 0.15
SMALL, LARGE = 16, 32  # pixels
PUBLISHED_RATE, PUBLISHED_EPOCHS = 8e-5, 400
HEAD_WIDTH = 128
CORE = ("pixels", "random", "simclr", "vicreg", "vae", "simvae", "simvae-flat")
EVERY = "all"
ENCODERS = ("auto", "mlp", "conv", "resnet18")


@dataclass(frozen=True)
class Design:
    """The networks and the optimiser that all methods of a run share; `batch_norm` is that of autoencoders and of
    the untrained encoder (the others always have it), `head` counts the hidden layers of the discriminative methods'
    projection head, 0 for none."""

    network: str = "mlp"
    hidden: tuple[int, ...] = (128, 128, 128)
    latent_dim: int = 10
    batch_norm: bool = False
    learning_rate: float = 1e-3
    head: int = 0

    @property
    def size(self) -> dict[str, Any]:
        """The keywords of every learner."""
        fields = ("network", "hidden", "latent_dim", "batch_norm", "learning_rate")
        return {name: getattr(self, name) for name in fields}

    @property
    def widths(self) -> tuple[int, ...] | None:
        """Those of the projection head, hidden layers and output."""
        return (HEAD_WIDTH,) * (self.head + 1) if self.head else None


def design(shape: tuple[int, ...], *, encoder: str = "auto", head: int = 0, published: bool = False) -> Design:
    """The networks for images `(C, H, W)`.

    >>> design((1, 28, 28)).hidden
    (512, 256)
    """
    if encoder not in ENCODERS:
        raise InputError(f"--encoder {encoder}: give one of {', '.join(ENCODERS)}.")
    if head < 0:
        raise InputError(f"--head {head}: give the number of hidden layers, 0 for no head.")
    colour = shape[0] > 1
    kind = encoder if encoder != "auto" else ("resnet18" if published else "conv") if colour else "mlp"
    rate = PUBLISHED_RATE if published else Design.learning_rate
    networks: dict[str, dict[str, Any]] = {
        "mlp": {"hidden": _perceptron(shape, published)},
        "conv": {"network": "conv", "hidden": (16, 32, 64) if max(shape[1:]) <= LARGE else (16, 32, 64, 64)},
        "resnet18": RESNET18,
    }
    return Design(**networks[kind], latent_dim=64 if colour else 10, learning_rate=rate, head=head)


def _perceptron(shape: tuple[int, ...], published: bool) -> tuple[int, ...]:
    if published:
        return (2000, 500, 500)
    return Design.hidden if shape[0] == 1 and max(shape[1:]) <= SMALL else (512, 256)


def published_steps(images: int, batch_size: int) -> int:
    """The published 400 passes over the images, in steps."""
    return -(-PUBLISHED_EPOCHS * images // batch_size)


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

    @property
    def layers(self) -> tuple[str, ...]:
        """Where it is examined: where the loss acts and, if that is behind a head, before it."""
        headed = isinstance(self.learner, JointEmbedding) and self.learner.head is not None
        return ("representation", "encoder") if headed else ("representation",)

    def among(self, classes: int) -> Method:
        """The method for images of so many classes: what a classifier is told, and a mixture's components."""
        told = isinstance(self.learner, Supervised) or getattr(self.learner, "prior", None) == "mixture"
        if told and self.learner is not None:
            settings: dict[str, Any] = {"classes": classes}
            return replace(self, learner=replace(self.learner, **settings))
        return self


def _methods(design: Design) -> list[Method]:
    size = design.size
    normed = size | {"batch_norm": True}
    headed = normed | {"head": design.widths}
    decoder: dict[str, Any] = {"decoder_variance": DECODER_VARIANCE}
    simvae = size | decoder | {"style_variance": STYLE_VARIANCE, "content_variance": 1.0}
    return [
        Method("pixels", "Pixels (reference)", None),
        Method("random", "Random encoder", Random(**size)),
        Method("supervised", "Supervised", Supervised(**normed)),
        Method("simclr", "SimCLR", SimCLR(**headed, temperature=0.5)),
        Method("moco", "MoCo", MoCo(**headed)),
        Method("vicreg", "VICReg", VICReg(**headed)),
        Method("byol", "BYOL", BYOL(**headed)),
        Method("swav", "SwAV", SwAV(**headed)),
        Method("dino", "DINO", DINO(**headed)),
        Method("vae", "VAE", VAE(**size, **decoder), True),
        Method("betavae", "BetaVAE", BetaVAE(**size, **decoder), True),
        Method("crvae", "CR-VAE", CRVAE(**size, **decoder), True),
        Method("simvae", "SimVAE, Gaussian prior", SimVAE(**simvae, prior="gaussian"), True),
        Method("simvae-flat", "SimVAE, Flat prior", SimVAE(**simvae, prior="flat"), True),
        Method("simvae-mixture", "SimVAE, mixture prior", SimVAE(**simvae, prior="mixture"), True),
        Method("simvae-split", "SimVAE, learned split", SimVAE(**size, **decoder, prior="split"), True),
    ]


METHODS = {method.key: method for method in _methods(Design())}


def named(keys: str | None, design: Design | None = None) -> list[Method]:
    """The methods of a comma-separated list with the given networks (those of the digits unless told), in the table's
    order; the core for None, every one for "all"."""
    made = METHODS if design is None else {method.key: method for method in _methods(design)}
    return [made[key] for key in _asked(keys)]


def _asked(keys: str | None) -> list[str]:
    asked = list(CORE) if keys is None else [key.strip().lower() for key in keys.split(",") if key.strip()]
    for key in asked:
        if key not in METHODS and key != EVERY:
            near = difflib.get_close_matches(key, METHODS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}? " if near else ""
            raise InputError(f"unknown method {key!r}: {hint}Known: {', '.join(METHODS)}.")
    if not asked:
        raise InputError(f"--methods is empty; give one or more of {', '.join(METHODS)}, separated by commas.")
    return [key for key in METHODS if key in asked or EVERY in asked]
