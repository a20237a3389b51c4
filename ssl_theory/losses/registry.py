"""Every loss with what is known about it: for the tests that hold for all losses, and for the table in the docs.

`python -m ssl_theory.losses` prints the table, from the docstrings.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_theory.losses import clustering, contrastive, decoders, distillation, generative, instance, priors, redundancy
from ssl_theory.losses.state import Centre, Memory, Queue

LABELS = ("Formula", "Source", "Prior", "Instead of reconstruction", "Deviations")
HEADINGS = ("loss", "formula", "source", "log p(z^{1:J})", "instead of reconstruction", "known deviations")


@dataclass(frozen=True)
class Entry:
    """A loss, a way to call it on representations alone, and the invariances it must have.

    `on(z, **hyperparameters)` makes the companions of z (targets, prototypes, observations) from z itself.
    `temperatures`: hyperparameters that scores are divided by. `views`, `rotation`: the loss does not change when the
    views are permuted, or the latent space rotated. `pairwise`: with J views it is the mean over pairs of views.
    """

    function: Callable[..., Tensor]
    on: Callable[..., Tensor]
    temperatures: tuple[str, ...] = ()
    views: bool = True
    rotation: bool = True
    pairwise: bool = False

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def family(self) -> str:
        return self.function.__module__.rpartition(".")[2]


def _alone(function: Callable[..., Tensor], **flags: Any) -> Entry:
    """A loss of z and nothing else."""
    return Entry(function, lambda z, **kwargs: function(z, **kwargs), **flags)


def _each_its_own(z: Tensor) -> Tensor:
    return torch.arange(z.shape[-3], device=z.device)


def _centres(z: Tensor) -> Tensor:
    return z.detach().mean(-2)


def _likelihood(z: Tensor) -> dict[str, Any]:
    """Observations near the latents, decoded by the identity, under posteriors of moderate variance."""
    return {"x": z.detach().flip(-3), "decoded": z, "log_variance": z.tanh(), "decoder": decoders.Gaussian(0.5)}


def _iwae(z: Tensor, **kwargs: Any) -> Tensor:
    samples = torch.stack([z, z + 0.1, z - 0.2])
    given = _likelihood(z) | {"decoded": samples, "z": samples, "mean": z, "prior": priors.Gaussian()}
    return generative.iwae(**given, **kwargs)


NCE = ("temperature",)
REGISTRY: tuple[Entry, ...] = (
    _alone(contrastive.info_nce, temperatures=NCE, pairwise=True),
    _alone(contrastive.decoupled, temperatures=NCE, pairwise=True),
    Entry(
        contrastive.moco,
        lambda z, **kwargs: contrastive.moco(z, z.detach(), Queue(-z.detach()), two_sided=True, **kwargs),
        temperatures=NCE,
    ),
    Entry(
        contrastive.supervised_contrastive,
        lambda z, **kwargs: contrastive.supervised_contrastive(z, _each_its_own(z) // z.shape[-3], **kwargs),
        temperatures=NCE,
    ),
    _alone(contrastive.spectral, pairwise=True),
    _alone(contrastive.align_uniform, pairwise=True),
    _alone(contrastive.triplet, views=False, pairwise=True),
    Entry(
        instance.instance_softmax,
        lambda z, **kwargs: instance.instance_softmax(z, _each_its_own(z), _centres(z), **kwargs),
        temperatures=NCE,
    ),
    Entry(
        instance.memory_softmax,
        lambda z, **kwargs: instance.memory_softmax(z, _each_its_own(z), Memory(_centres(z)), **kwargs),
        temperatures=NCE,
    ),
    Entry(
        instance.memory_nce,
        lambda z, **kwargs: instance.memory_nce(z, _each_its_own(z), _each_its_own(z), Memory(_centres(z)), **kwargs),
        temperatures=NCE,
    ),
    Entry(clustering.kmeans, lambda z, **kwargs: clustering.kmeans(z, _centres(z) / 2, **kwargs)),
    Entry(
        clustering.deep_cluster,
        lambda z, **kwargs: clustering.deep_cluster(
            z, clustering.assign(z, _centres(z) / 2), _centres(z) / 2, **kwargs
        ),
        temperatures=NCE,
    ),
    Entry(
        clustering.swav,
        lambda z, **kwargs: clustering.swav(z, _centres(z), **kwargs),
        temperatures=("temperature", "epsilon"),
    ),
    Entry(
        clustering.dino,
        lambda z, **kwargs: clustering.dino(z, z.detach(), centre=Centre(torch.zeros_like(z[..., 0, 0, :])), **kwargs),
        temperatures=("student_temperature", "teacher_temperature"),
        rotation=False,
        pairwise=True,
    ),
    _alone(redundancy.vicreg, rotation=False, pairwise=True),
    _alone(redundancy.barlow_twins, rotation=False, pairwise=True),
    _alone(redundancy.w_mse, rotation=False, pairwise=True),
    _alone(redundancy.total_coding_rate),
    Entry(distillation.byol, lambda z, **kwargs: distillation.byol(z, z.detach(), **kwargs), pairwise=True),
    Entry(distillation.simsiam, lambda z, **kwargs: distillation.simsiam(z, z.detach(), **kwargs), pairwise=True),
    Entry(
        generative.elbo_ssl,
        lambda z, **kwargs: generative.elbo_ssl(z=z, prior=priors.Gaussian(), **_likelihood(z), **kwargs),
        rotation=False,
    ),
    Entry(generative.vae, lambda z, **kwargs: generative.vae(mean=z, **_likelihood(z), **kwargs), rotation=False),
    Entry(
        generative.beta_vae,
        lambda z, **kwargs: generative.beta_vae(mean=z, **_likelihood(z), **kwargs),
        rotation=False,
    ),
    Entry(
        generative.cr_vae,
        lambda z, **kwargs: generative.cr_vae(mean=z, **_likelihood(z), **kwargs),
        views=False,
        rotation=False,
    ),
    Entry(generative.iwae, _iwae, rotation=False),
)
PRIORS = (priors.Gaussian, priors.Flat, priors.Mixture, priors.IntraClass, priors.VonMisesFisher, priors.PlugIn)
DECODERS = (
    decoders.Gaussian,
    decoders.HeteroscedasticGaussian,
    decoders.Bernoulli,
    decoders.ContinuousBernoulli,
    decoders.DiscretisedLogistic,
)


def described(function: Callable[..., Tensor]) -> dict[str, str]:
    """The labelled parts of a loss's docstring, and its first line under "Summary"."""
    text = inspect.getdoc(function) or ""
    parts = {"Summary": " ".join(text.partition("\n\n")[0].split()).rstrip(".")}
    for label in LABELS:
        found = re.search(rf"^{label}: (.+?)(?=^\S|\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
        if found is None:
            raise ValueError(f"expected a line '{label}: ...' in the docstring of {function.__name__}: write one")
        parts[label] = " ".join(found[1].split())
    return parts


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _loss_row(entry: Entry) -> str:
    parts = described(entry.function)
    return _row([f"**{entry.name}**: {parts['Summary']}", *(parts[label] for label in LABELS)])


def _class_table(title: str, classes: tuple[type, ...]) -> list[str]:
    rows = [(kind.__name__, (inspect.getdoc(kind) or "").split("\n\n")) for kind in classes]
    flat = [_row([f"**{name}**", *(" ".join(part.split()) for part in (text[0], text[1]))]) for name, text in rows]
    return ["", f"## {title}", "", _row([title.lower(), "what it is", "more"]), _row(["---"] * 3), *flat]


def document() -> str:
    """The page `docs/losses.md`: every loss by family, then the priors and the decoders."""
    lines = [
        "# Losses",
        "",
        "Generated from the docstrings by `python -m ssl_theory.losses`. Representations of J views are",
        "`z: (*batch, n, J, d)`; every loss maps them to `(*batch)`, in nats where it is a log-probability.",
    ]
    for family in dict.fromkeys(entry.family for entry in REGISTRY):
        rows = [_loss_row(entry) for entry in REGISTRY if entry.family == family]
        lines += ["", f"## {family.capitalize()}", "", _row(list(HEADINGS)), _row(["---"] * len(HEADINGS)), *rows]
    lines += _class_table("Priors", PRIORS) + _class_table("Decoders", DECODERS)
    return "\n".join(lines) + "\n"
