"""Learners trained in worlds, and what their representations kept: the task that empirical claims share.

One world a seed (its class means and mixing are drawn from the seed), one ensemble member a seed, evaluation on fresh
data points. Equal tasks of different claims are one entry of the cache, so no training is run twice.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

import synthetic
from paper_checks.claim import per_seed
from ssl_theory.analysis import clustering, collapse, probes
from ssl_theory.learners import VAE, Learner, Random, SimCLR, SimVAE, VICReg, fit

METHODS: dict[str, Callable[..., Learner]] = {
    "Random": Random,
    "SimCLR": SimCLR,
    "VICReg": VICReg,
    "VAE": VAE,
    "SimVAE, Gaussian prior": lambda **settings: SimVAE(prior="gaussian", **settings),
    "SimVAE, flat prior": lambda **settings: SimVAE(prior="flat", **settings),
}

EVALUATION_STREAM = 1 << 20  # seeds of evaluation data lie far from those that training draws from
OBSERVATION = "observation"


def kept(
    *,
    method: str,
    world: str,
    seeds: int,
    steps: int,
    points: int,
    views: int = 2,
    settings: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    device: str = "cpu",
) -> pd.DataFrame:
    """Train `method` once a seed in `world`; measure what its representation keeps of `points` fresh data points.

    Rows (method, seed, measure, value). The method "observation" is the data as they are: the ceiling of what a
    representation can keep. `settings` are the learner's, `overrides` the world's; half of the points fit the
    probes, the other half scores them.
    """
    worlds = [synthetic.preset(world, seed=seed, **dict(overrides or {})).to(device) for seed in range(seeds)]
    drawn = [fresh(each, points, seed) for seed, each in enumerate(worlds)]
    x = torch.stack([data.x for data in drawn])
    if method == OBSERVATION:
        representation = x
    else:
        learner = METHODS[method](**dict(settings or {}))
        fitted = fit(learner, worlds, steps=steps, seeds=range(seeds), views=views, device=device)
        representation = fitted.transform(x.flatten(1, 2)).unflatten(1, x.shape[1:3])
    return tidy(measures(representation, drawn, worlds), method)


def fresh(world: synthetic.World, points: int, seed: int) -> synthetic.Views:
    """Data points that no training has seen, two views each."""
    generator = torch.Generator(world.device).manual_seed(EVALUATION_STREAM + seed)
    return world.sample(points, views=2, generator=generator)


def measures(
    representation: Float[Tensor, "E n J d"],
    drawn: Sequence[synthetic.Views],
    worlds: Sequence[synthetic.World],
) -> dict[str, Tensor]:
    """Every measure of the representation, one value a seed; probes see the first view of each data point."""
    half = representation.shape[1] // 2
    train, test = representation[:, :half, 0], representation[:, half:, 0]
    truth = torch.stack([torch.cat([data.style[:, 0], data.content], -1) for data in drawn])
    label, classes = torch.stack([data.label for data in drawn if data.label is not None]), worlds[0].classes
    if classes is None or len(label) != len(drawn):
        raise ValueError("expected worlds with classes, found one without labels: use a preset with a class mixture")
    found = {"collapse ratio": collapse.collapse_ratio(representation)}
    for kind in ("linear", "mlp"):
        score = probes.r2(train, truth[:, :half], kind=kind, test=(test, truth[:, half:]), per_target=True)
        found[f"style R2, {kind}"] = score[:, : worlds[0].style_dim].mean(-1)
        found[f"content R2, {kind}"] = score[:, worlds[0].style_dim :].mean(-1)
    for kind in ("linear", "knn"):
        scored = (test, label[:, half:])
        found[f"label accuracy, {kind}"] = probes.accuracy(train, label[:, :half], kind=kind, test=scored)
    clusters = clustering.mixture_clustering(train, test, label[:, half:], classes)
    found |= {"NMI": clusters.nmi, "cluster accuracy": clusters.accuracy, "ARI": clusters.ari}
    return found | {"style floor": torch.tensor([world.style_floor() for world in worlds])}


def tidy(found: Mapping[str, Tensor], method: str) -> pd.DataFrame:
    """One row a (seed, measure)."""
    return pd.DataFrame(
        [
            {"method": method, "seed": seed, "measure": measure, "value": value}
            for measure, values in found.items()
            for seed, value in enumerate(values.tolist())
        ]
    )


def retained_style(table: pd.DataFrame, method: str) -> "pd.Series[float]":
    """Retained style of each seed: nonlinear R^2 between the world's floor and the observation's ceiling."""
    style, floor, ceiling = (
        per_seed(table, method=name, measure=measure)
        for name, measure in (
            (method, "style R2, mlp"),
            (OBSERVATION, "style floor"),
            (OBSERVATION, "style R2, mlp"),
        )
    )
    return (style - floor) / (ceiling - floor)
