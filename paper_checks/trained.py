"""Learners trained in worlds, and what their representations kept: the task that empirical claims share.

One world a seed (its class means and mixing are drawn from the seed), one ensemble member a seed, evaluation on fresh
data points. Equal tasks of different claims are one entry of the cache, so no training is run twice: claims ask for
them by `training` and `observed`, which write the arguments of equal trainings in the same way.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

import synthetic
from paper_checks import own
from paper_checks.claim import Config, Finding, Task, per_seed
from ssl_theory.analysis import clustering, collapse, probes
from ssl_theory.learners import (
    BYOL,
    CLIP,
    CRVAE,
    DINO,
    VAE,
    WMSE,
    AlignUniform,
    BarlowTwins,
    BetaVAE,
    DeepCluster,
    InstanceDiscrimination,
    InstanceMemory,
    Learner,
    MoCo,
    Pool,
    Random,
    Sampler,
    SimCLR,
    SimSiam,
    SimVAE,
    SpectralContrastive,
    SwAV,
    VICReg,
    fit,
    parallel,
)

FAMILIES: dict[str, dict[str, Callable[..., Learner]]] = {
    "instance discrimination": {
        "InstanceMemory": InstanceMemory,
        "InstanceDiscrimination": InstanceDiscrimination,
    },
    "clustering": {"SwAV": SwAV, "DINO": DINO, "DeepCluster": DeepCluster},
    "contrastive": {
        "SimCLR": SimCLR,
        "MoCo": MoCo,
        "SpectralContrastive": SpectralContrastive,
        "AlignUniform": AlignUniform,
    },
    "redundancy": {"VICReg": VICReg, "BarlowTwins": BarlowTwins, "WMSE": WMSE},
    "distillation": {"BYOL": BYOL, "SimSiam": SimSiam},
}
ONE_A_FAMILY = ("InstanceMemory", "SwAV", "SimCLR", "VICReg", "BYOL")
EVERY = tuple(name for family in FAMILIES.values() for name in family)
SIMVAE = ("SimVAE, Gaussian prior", "SimVAE, flat prior")

METHODS: dict[str, Callable[..., Learner]] = {
    "Random": Random,
    **{name: made for family in FAMILIES.values() for name, made in family.items()},
    "CLIP": CLIP,
    "VAE": VAE,
    "BetaVAE": BetaVAE,
    "CRVAE": CRVAE,
    "SimVAE, Gaussian prior": lambda **settings: SimVAE(prior="gaussian", **settings),
    "SimVAE, flat prior": lambda **settings: SimVAE(prior="flat", **settings),
    "SimVAE, mixture prior": lambda **settings: SimVAE(prior="mixture", **settings),
    "SimVAE, learned split": lambda **settings: SimVAE(prior="split", **settings),
}

# Full: trainings as the theory's bounds have them, 2,000 steps of 64 data points, the published 128 images over two
# views. Quick is a preview that minutes suffice for: half the steps, of half as many data points.
SIZES: dict[str, Config] = {
    "smoke": {"seeds": 2, "steps": 20, "points": 200, "batch_size": 32},
    "quick": {"seeds": 5, "steps": 1000, "points": 2000, "batch_size": 32},
    "full": {"seeds": 10, "steps": 2000, "points": 6000, "batch_size": 64},
}

BLOCK: Config = {"world": "block"}  # what claims have their methods trained in; `--world` puts in a user's own

EVALUATION_STREAM = 1 << 20  # seeds of evaluation data lie far from those that training draws from
OBSERVATION = "observation"
SPRITES = "sprites"
# Four shapes that a turn of a sixth of pi leaves distinct, large enough to be told apart on 16 pixels; no noise.
OF_SPRITES: Config = {
    "size": 16,
    "shapes": ("square", "triangle", "crescent", "bar"),
    "x": (-0.3, 0.3),
    "y": (-0.3, 0.3),
    "scale": (0.4, 0.7),
    "brightness": 1.0,
    "background": 0.0,
}
POOL_VIEWS = 64  # views of a data point that learners of a finite set of instances may see
SHARED = ("seeds", "steps", "points", "batch_size")
ROWS = 512  # of each member, represented at once: hidden layers of thousands fill half a gigabyte in large ensembles


def training(
    method: str, config: Config, *, world: str = "block", columns: Mapping[str, Any] | None = None, **changes: Any
) -> Task:
    """The task that trains `method` by the numbers of `config`; `changes` are further arguments of `kept`.

    Arguments that are left out are left out of the task's identity too, so that claims which ask for the same
    training share it. `columns` say which place it has in this claim.
    """
    arguments = {"method": method, "world": world} | {key: config[key] for key in SHARED} | changes
    if method in ("Random", OBSERVATION):
        arguments |= {"steps": 0, "batch_size": 1}
    cost = arguments["steps"] * arguments["seeds"] * arguments["batch_size"] * arguments.get("views", 2) / 2**20
    return Task(kept, arguments, cost=cost + 0.1, columns={"method": own.short(method), **(columns or {})})


def observed(config: Config, *, world: str = "block", **changes: Any) -> Task:
    """The data as they are: floor and ceiling of what a representation can keep."""
    return training(OBSERVATION, config, world=world, **changes)


def displayed(methods: Sequence[str]) -> list[str]:
    """Methods as tables and figures call them: a learner of the user's own by its class."""
    return [own.short(method) for method in methods]


def kept(
    *,
    method: str,
    world: str,
    seeds: int,
    steps: int,
    points: int,
    batch_size: int = 128,
    views: int = 2,
    settings: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    layers: Sequence[str] = ("representation",),
    pairing: str = "true",
    precision: str | None = None,
    device: str = "cpu",
) -> pd.DataFrame:
    """Train `method` once a seed in `world`; measure what its representation keeps of `points` fresh data points.

    Rows (method, layer, seed, measure, value). The method "observation" is the data as they are: the ceiling of what
    a representation can keep. `settings` are the learner's, `overrides` the world's; `pairing="shuffled"` gives each
    data point the views of others to train with; `precision` is Fabric's ("bf16-mixed"), 32 bits when None. Half of the
    points fit the probes, the other half scores them.
    """
    worlds = [of_name(world, seed, **dict(overrides or {})).to(device) for seed in range(seeds)]
    drawn = [fresh(each, points, seed) for seed, each in enumerate(worlds)]
    x = torch.stack([data.x for data in drawn])
    if method == OBSERVATION:
        representations = {"observation": x}
    else:
        learner = named(method)(**dict(settings or {}))
        samplers = [sampler(learner, each, seed, pairing) for seed, each in enumerate(worlds)]
        fabric = parallel.launch(devices=1, precision=precision, accelerator=device) if precision else None
        fitted = fit(
            learner,
            samplers,
            steps=steps,
            seeds=range(seeds),
            batch_size=batch_size,
            views=views,
            device=device,
            fabric=fabric,
        )
        if method not in METHODS and bool(fitted.diverged.all()):
            step = int(fitted.divergences.step.min())
            raise ValueError(
                f"{own.short(method)}: its loss was no number for any of {seeds} seeds, the first at step {step}"
            )
        representations = {layer: represented(fitted, x, layer) for layer in layers}
    tables = [
        tidy(measures(representation, drawn, worlds), method=method, layer=layer)
        for layer, representation in representations.items()
    ]
    return pd.concat(tables, ignore_index=True)


def of_name(world: str, seed: int, **overrides: Any) -> synthetic.World:
    """The world of one seed, a preset or a user's own; that of sprites as small as claims can afford to train in."""
    if own.is_own(world):
        return own.make(world, seed, **overrides)
    made: synthetic.World = synthetic.preset(world, seed=seed, **(OF_SPRITES if world == SPRITES else {}) | overrides)
    return made


def named(method: str) -> Callable[..., Learner]:
    """The learner of a method's name, or one of a user's own (`FILE.py:Class`)."""
    return METHODS[method] if method in METHODS else own.load(method)


def sampler(learner: Learner, world: synthetic.World, seed: int, pairing: str = "true") -> Sampler:
    """What the learner trains on: fresh data of the world, or a finite set of them where it needs their index."""
    if pairing not in ("true", "shuffled"):
        raise ValueError(f"pairing must be true or shuffled, found {pairing!r}")
    source: Sampler = world if pairing == "true" else Mispaired(world)
    if learner.target == "index":
        return Pool(source, getattr(learner, "instances", 1024), views=POOL_VIEWS, seed=seed)
    return source


@dataclasses.dataclass(frozen=True)
class Mispaired:
    """A world whose views no longer belong together: every view but the first is another data point's."""

    world: synthetic.World

    @property
    def device(self) -> torch.device:
        return self.world.device

    def sample(self, n: int, *, views: int, generator: torch.Generator) -> synthetic.Views:
        drawn = self.world.sample(n, views=views, generator=generator)
        rows = [torch.arange(n, device=self.device)]
        rows += [torch.randperm(n, generator=generator, device=self.device) for _ in range(views - 1)]
        order, view = torch.stack(rows, -1), torch.arange(views, device=self.device)
        x, z, style = (part[order, view] for part in (drawn.x, drawn.z, drawn.style))
        return dataclasses.replace(drawn, x=x, z=z, style=style)


def represented(fitted: Any, x: Float[Tensor, "E n J ..."], layer: str) -> Float[Tensor, "E n J d"]:
    """Representations of every view; by the view's own encoder where the learner has one for each."""
    if fitted.learner.view_specific:
        views = range(x.shape[2])
        return torch.stack([fitted.transform(x[:, :, j], layer=layer, view=j, batch_size=ROWS) for j in views], 2)
    return fitted.transform(x.flatten(1, 2), layer=layer, batch_size=ROWS).unflatten(1, x.shape[1:3])


def fresh(world: synthetic.World, points: int, seed: int) -> synthetic.Views:
    """Data points that no training has seen, two views each."""
    generator = torch.Generator(world.device).manual_seed(EVALUATION_STREAM + seed)
    return world.sample(points, views=2, generator=generator)


NOISE = 0.1  # of each number's standard deviation
WITH_NOISE = f"nonlinear, noise {NOISE}"


def noisy(z: Float[Tensor, "E n d"], fitted: int, share: float = NOISE) -> Float[Tensor, "E n d"]:
    """Noise in each number of a representation, of a share of its standard deviation on the fitted rows.

    A function that is nearly one-to-one tells everything to a probe that is good enough, however small: with noise only
    what is larger than it is left.
    """
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(0)).to(z)
    return z + share * z[:, :fitted].std(1, keepdim=True) * noise


READ_BY = (
    "R² by a nonlinear probe is that of the better of two, a small MLP and kernel ridge, chosen for each number and "
    "seed on rows that are not scored. Until all verdicts had been seen it was the MLP alone, which reads less of "
    "what discriminative methods leave of style (speed/results/probes.md; all verdicts so read: docs/claims.md at "
    "commit 2ad9a0a)."
)
"""For the notes of every claim that reads style or content so."""


def measures(
    representation: Float[Tensor, "E n J d"],
    drawn: Sequence[synthetic.Views],
    worlds: Sequence[synthetic.World],
) -> dict[str, Tensor]:
    """Every measure of the representation, one value a seed; probes see the first view of each data point."""
    half = representation.shape[1] // 2
    first = representation[:, :, 0]
    train, test = first[:, :half], first[:, half:]
    truth = torch.stack([torch.cat([data.style[:, 0], data.content], -1) for data in drawn])
    found = {
        "collapse ratio": collapse.collapse_ratio(representation),
        "total variance": collapse.total_variance(representation[:, :, 0]),
        "effective rank": collapse.effective_rank(representation[:, :, 0]),
    }
    for name, kind, seen in (
        ("linear", "linear", first),
        ("nonlinear", "nonlinear", first),
        (WITH_NOISE, "nonlinear", noisy(first, half)),
    ):
        told = (seen[:, half:], truth[:, half:])
        score = probes.r2(seen[:, :half], truth[:, :half], kind=kind, test=told, per_target=True)
        found[f"style R2, {name}"] = score[:, : worlds[0].style_dim].mean(-1)
        found[f"content R2, {name}"] = score[:, worlds[0].style_dim :].mean(-1)
    found["style floor"] = torch.tensor([world.style_floor() for world in worlds])
    return found | _by_label(train, test, drawn, worlds[0].classes)


def _by_label(
    train: Float[Tensor, "E m d"], test: Float[Tensor, "E m d"], drawn: Sequence[synthetic.Views], classes: int | None
) -> dict[str, Tensor]:
    """Classification and clustering by label, where the worlds have classes."""
    labels = [data.label for data in drawn if data.label is not None]
    if classes is None or len(labels) != len(drawn):
        return {}
    label, half = torch.stack(labels), train.shape[1]
    found = {
        f"label accuracy, {kind}": probes.accuracy(train, label[:, :half], kind=kind, test=(test, label[:, half:]))
        for kind in ("linear", "knn")
    }
    clusters = clustering.mixture_clustering(train, test, label[:, half:], classes)
    return found | {"NMI": clusters.nmi, "cluster accuracy": clusters.accuracy, "ARI": clusters.ari}


def tidy(found: Mapping[str, Tensor], **about: Any) -> pd.DataFrame:
    """One row a (seed, measure), with the columns of `about` before them."""
    return pd.DataFrame(
        [
            {**about, "seed": seed, "measure": measure, "value": value}
            for measure, values in found.items()
            for seed, value in enumerate(values.tolist())
        ]
    )


def retained_style(
    table: pd.DataFrame,
    method: str,
    *,
    ceiling: pd.DataFrame | None = None,
    read_by: str = "nonlinear",
    **where: Any,
) -> "pd.Series[float]":
    """Retained style of each seed: nonlinear R^2 between the world's floor and the observation's ceiling.

    `where` picks further rows of the method (a layer); `ceiling` is the table that has the observation's rows, the
    same one unless told. `read_by=WITH_NOISE`: of both with noise.
    """
    source = table if ceiling is None else ceiling
    style = per_seed(table, method=method, measure=f"style R2, {read_by}", **where)
    floor = per_seed(source, method=OBSERVATION, measure="style floor")
    highest = per_seed(source, method=OBSERVATION, measure=f"style R2, {read_by}")
    return (style - floor) / (highest - floor)


def intervals(
    table: pd.DataFrame, names: Sequence[str], measured: Callable[[pd.DataFrame, str], "pd.Series[float]"]
) -> tuple[list[float], list[float], list[float]]:
    """Mean over seeds and ends of its interval for each method, NaN for those that the table does not have."""
    there = set(table.method)
    drawn = [Finding.from_seeds(name, measured(table, name) if name in there else [], ">=", 0.0) for name in names]
    return [f.estimate for f in drawn], [f.low for f in drawn], [f.high for f in drawn]
