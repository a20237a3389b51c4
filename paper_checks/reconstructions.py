"""Decoded, a frozen representation shows what it kept: SimVAE redraws position, scale and rotation, others the class.

Images: world `sprites`, 16 x 16 grey pixels, content one of four shapes, style position (x, y), scale and rotation,
which every view redraws; no noise, so an image tells all of them. Each representation (10 numbers) is frozen, and an
MLP decoder trained on it by squared error: it draws the mean of all images that the representation does not tell apart.

Bounds, fixed beforehand. R^2 of each style factor from the representation (nonlinear probe; floor 0, true ceiling 1, so
it is retained style): at most 0.30 for discriminative methods, at least 0.40 for SimVAE, as in the world without
images. In the decoded images, R^2 of the centre of mass: the same two numbers, for the same reason. Shape accuracy of
discriminative methods at least 0.80 (nonlinear probe, chance 0.25): who redraws the class tells it in four of five.
Added later, with the same bound: accuracy of a classifier of images, an MLP trained on as many others, on the decoded
ones. No bound is put on SimVAE's shape accuracy; it is drawn.

Control: p_keep = 1, for the discriminative methods. The two views are then one image, and position, the largest part of
what tells images apart, must survive in representation and decoding.

Networks are the MLPs of the other worlds. The quick profile trains 600 steps, the full one 2,000.

Source: Bizeul, Schölkopf, Allen (2024), arXiv 2402.01399, sections 4 and 5.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

import synthetic
from figures import canvas, control_mark, image_grid, interval_points, legend
from paper_checks import own, trained
from paper_checks.claim import Claim, Config, Finding, Side, Task, per_seed
from ssl_theory.analysis import probes, r2, reconstruct
from ssl_theory.learners import fit

DISCRIMINATIVE, SIMVAE = ("SimCLR", "VICReg"), "SimVAE, Gaussian prior"
METHODS = (SIMVAE, "VAE", *DISCRIMINATIVE)
CHIEF = (SIMVAE, *DISCRIMINATIVE)
FACTORS = ("position", "scale", "rotation")
DECODED, SHAPE = "position, decoded", "shape"
DECODED_SHAPE, SEEN_SHAPE = "shape, decoded", "shape, of the images themselves"
SIZE, SHOWN, ORIGINAL = 16, 8, "original"

CONFIG = {
    "smoke": {"seeds": 2, "steps": 8, "points": 120, "batch_size": 32, "decoding": 8, "methods": list(METHODS)},
    "quick": {"seeds": 5, "steps": 600, "points": 2000, "batch_size": 64, "decoding": 400, "methods": list(CHIEF)},
    "full": {"seeds": 10, "steps": 2000, "points": 4000, "batch_size": 64, "decoding": 1000, "methods": list(METHODS)},
}


def redrawn(
    *,
    method: str,
    seeds: int,
    steps: int,
    points: int,
    batch_size: int,
    decoding: int,
    p_keep: float = 0.0,
    device: str = "cpu",
) -> pd.DataFrame:
    """Rows (method, seed, measure, value): what the representation tells of each factor, and what its decoding shows.

    And rows with an `image`, hexadecimal bytes: what the first seed's representation of the shown images decodes to.
    """
    sprites = trained.of_name(trained.SPRITES, 0, p_keep=p_keep).to(device)
    data = trained.fresh(sprites, points, seed=0)  # the same images for all seeds
    assert data.label is not None
    x, style = data.x[:, 0], data.style[:, 0]
    learner = trained.named(method)()
    fitted = fit(learner, sprites, steps=steps, seeds=range(seeds), batch_size=batch_size, device=device)
    r = fitted.transform(x)
    told = r2(r, style, kind="nonlinear", per_target=True)
    decoded = reconstruct(r, x, steps=decoding, hidden=(128, 128))
    guess, label, _ = probes.held_out_classes(
        r, data.label, kind="mlp"
    )  # of the rows that are decoded: its seed is the same
    redraws = torch.as_tensor(decoded.decoded), torch.as_tensor(decoded.observed)[None]
    shapes, seen = (told_shape(sprites, images, label[0], points) for images in redraws)
    found = {
        "position": told[:, :2].mean(1),
        "scale": told[:, 2],
        "rotation": told[:, 3],
        SHAPE: (guess == label).double().mean(1),
        DECODED_SHAPE: shapes,
        SEEN_SHAPE: seen.expand(seeds),
        DECODED: position_r2(torch.as_tensor(decoded.decoded), torch.as_tensor(decoded.observed)),
        "pixels": decoded.r2,
    }
    pictures = [
        {"method": name, "seed": 0, "measure": "picture", "item": item, "image": as_text(image)}
        for name, images in ((own.short(method), decoded.decoded[0, :SHOWN]), (ORIGINAL, decoded.observed[:SHOWN]))
        for item, image in enumerate(images)
    ]
    return pd.concat([trained.tidy(found, method=own.short(method)), pd.DataFrame(pictures)], ignore_index=True)


def told_shape(
    world: synthetic.World, images: Float[Tensor, "E m 1 S S"], label: Int64[Tensor, " m"], points: int
) -> Float[Tensor, " E"]:
    """Accuracy of a classifier, trained on other images of the world, on these, all with the same labels."""
    more = trained.fresh(world, points, seed=1)
    assert more.label is not None
    shown = images.flatten(0, 1).flatten(1), label.repeat(len(images))
    guess, truth, _ = probes.held_out_classes(more.x[:, 0].flatten(1), more.label, kind="mlp", test=shown)
    return (guess == truth).double().reshape(len(images), -1).mean(1)


def centre_of_mass(images: Float[Tensor, "*batch 1 S S"]) -> Float[Tensor, "*batch 2"]:
    """Brightness-weighted mean of (column, row), in pixels."""
    weight = images.double().clamp_min(0).squeeze(-3)
    along = torch.arange(images.shape[-1], dtype=weight.dtype, device=weight.device)
    mass = weight.sum((-2, -1)).clamp_min(1e-9)
    return torch.stack([(weight.sum(-2) @ along) / mass, (weight.sum(-1) @ along) / mass], -1)


def position_r2(decoded: Float[Tensor, "E n 1 S S"], observed: Float[Tensor, "n 1 S S"]) -> Float[Tensor, " E"]:
    """R^2 of the centre of mass of decoded images as a guess of that of the images themselves."""
    guess, truth = centre_of_mass(decoded), centre_of_mass(observed)
    spread = (truth - truth.mean(0)).square().sum(0)
    return (1 - (guess - truth).square().sum(1) / spread).mean(-1)


def as_text(image: Float[Tensor, "1 S S"]) -> str:
    return bytes((255 * image.clamp(0, 1)).round().flatten().to(torch.uint8).tolist()).hex()


def as_image(text: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(text), dtype=np.uint8).reshape(SIZE, SIZE) / 255


def tasks(config: Config) -> list[Task]:
    shared = {key: config[key] for key in ("seeds", "steps", "points", "batch_size", "decoding")}
    kept = {"p_keep": config["p_keep"]} if "p_keep" in config else {}
    cost = config["steps"] * config["seeds"] * config["batch_size"] / 2**19
    return [Task(redrawn, {"method": name} | shared | kept, cost=cost) for name in config["methods"]]


def control(config: Config) -> Config:
    return config | {"p_keep": 1.0, "methods": [name for name in config["methods"] if loses(name)]}


def loses(method: str) -> bool:
    """Whether style is lost: by all but the generative methods; a user's own is what it is."""
    return method not in (SIMVAE, "VAE") and not own.generative(method)


def findings(table: pd.DataFrame, config: Config) -> list[Finding]:
    found, given = [], dict(zip(trained.displayed(config["methods"]), config["methods"], strict=True))
    for method in trained.displayed([name for name in config["methods"] if name != "VAE"]):
        lost = loses(given[method])
        for factor in (*FACTORS, DECODED):
            values = per_seed(table, method=method, measure=factor)
            about: dict[str, Any] = {
                "reason": "style that every view redraws is not rewarded" if lost else "reconstruction needs style",
                "controlled": lost and factor in ("position", DECODED),
            }
            side: Side = "<=" if lost else ">="
            bound = 0.30 if lost else 0.40
            found.append(Finding.from_seeds(f"{factor}, {method}", values, side, bound, **about))
        if lost:
            for measure in (SHAPE, DECODED_SHAPE):
                values, why = per_seed(table, method=method, measure=measure), "the class is what views share"
                found.append(Finding.from_seeds(f"{measure}, {method}", values, ">=", 0.80, reason=why))
    return found


def draw(table: pd.DataFrame, control_table: pd.DataFrame | None, found: Sequence[Finding], config: Config) -> Figure:
    figure, axes = canvas(1, 2, width="page", height=4.0, width_ratios=[1.4, 1.0])
    methods = trained.displayed(config["methods"])
    _draw_images(axes[0, 0], table, methods)
    _draw_factors(axes[0, 1], table, control_table, found, methods)
    legend(figure)
    return figure


def short(method: str) -> str:
    return method.partition(",")[0]


def _draw_images(axes: Axes, table: pd.DataFrame, methods: Sequence[str]) -> None:
    """Originals above, a row a method: the first seed's decoding of the same images."""
    pictures = table[table.measure == "picture"].drop_duplicates(["method", "item"])
    rows = [ORIGINAL, *methods]
    sheets = [[as_image(text) for text in pictures[pictures.method == name].sort_values("item").image] for name in rows]
    image_grid(axes, np.array(sheets), row_names=[short(name) for name in rows])


def _draw_factors(
    axes: Axes,
    table: pd.DataFrame,
    control_table: pd.DataFrame | None,
    found: Sequence[Finding],
    methods: Sequence[str],
) -> None:
    rows = [(measure, method) for measure in (*FACTORS, DECODED, SHAPE, DECODED_SHAPE) for method in methods]
    bounds = {f.name: f for f in found}

    def intervals(source: pd.DataFrame) -> tuple[list[float], list[float], list[float]]:
        there = set(source.method)
        drawn = [
            Finding.from_seeds("", per_seed(source, method=method, measure=measure), ">=", 0.0)
            if method in there
            else None
            for measure, method in rows
        ]
        lows, middles, highs = (
            [getattr(f, end) if f else float("nan") for f in drawn] for end in ("low", "estimate", "high")
        )
        return middles, lows, highs

    edges = [bounds.get(f"{measure}, {method}") for measure, method in rows]
    interval_points(
        axes,
        [f"{measure}: {short(method)}" for measure, method in rows],
        *intervals(table),
        bounds=[f.bound if f else float("nan") for f in edges],
        sides=[f.side if f else ">=" for f in edges],
        control=None if control_table is None else intervals(control_table),
        methods=[method for _, method in rows],
    )
    if control_table is not None:
        axes.plot([], [], **control_mark() | {"linestyle": "none"}, label="control: one assumption broken")
    axes.tick_params(axis="y", labelsize=6)
    for edge in range(1, len(FACTORS) + 3):
        axes.axhline(edge * len(methods) - 0.5, color="0.7", linewidth=0.6)
    axes.set(xlabel="R² of style factors;\naccuracy of shape (chance 0.25)")


def caption(found: Sequence[Finding]) -> str:
    said = {f.name: f.estimate for f in found}

    def numbers(measure: str, methods: Sequence[str]) -> str:
        return ", ".join(f"{short(m)} {said[f'{measure}, {m}']:.2f}" for m in methods if f"{measure}, {m}" in said)

    methods = (SIMVAE, *DISCRIMINATIVE)
    return (
        "Left: images no training saw, and what a decoder trained on each frozen representation makes of them (first "
        f"seed). Right: R² of each style factor from the representation (position: {numbers('position', methods)}; "
        f"scale: {numbers('scale', methods)}; rotation: {numbers('rotation', methods)}), of the decoded images' centre "
        f"of mass ({numbers(DECODED, methods)}), and accuracy of the shape ({numbers(SHAPE, DISCRIMINATIVE)}; a "
        f"classifier of images tells it from the decoded ones: {numbers(DECODED_SHAPE, DISCRIMINATIVE)}). Hollow: "
        "both views share their style (control). Means over seeds with 95 % intervals, which do not cover another draw "
        "of the images; tinted: where the bound lets it be."
    )


NOTES = """Position and scale are not lost as rotation is (R² 0.40, 0.52, 0.17 in SimCLR, 0.47, 0.43, 0.14 in
VICReg; by the MLP alone 0.16, 0.40, 0.04 and 0.20, 0.19, 0.03). Why was not found out.

The decoder, too, is a network: of the position that kernel ridge reads it draws about half (0.23 and 0.26).

The shape in decoded images was added when the other verdicts had been seen: the statement says that it is redrawn, and
it had been read from the representation alone. The classifier tells 0.99 of the images themselves, and of those decoded
from SimVAE and the VAE 0.93 and 0.91, fewer than from SimCLR. Why was not looked into.

The quick profile was shortened after first runs, from 1,500 steps to 600, for its time."""

CLAIM = Claim(
    name="reconstructions",
    part="generative",
    statement=(
        "Decoded from frozen representations of images, SimVAE redraws position, scale and rotation; discriminative "
        "methods redraw the class, with style averaged away."
    ),
    formula=(
        r"\hat x(r) = \operatorname*{argmin}_{g} \mathbb{E}\, \| x - g(r(x)) \|^2 = \mathbb{E}[x \mid r], \qquad"
        r" r \text{ content alone} \;\Rightarrow\; \hat x = \mathbb{E}[x \mid y]"
    ),
    config=CONFIG,
    tasks=tasks,
    control=control,
    control_words="p_keep = 1: both views of an image share their style, so that it is content",
    findings=findings,
    draw=draw,
    caption=caption,
    notes=f"{NOTES}\n\n{trained.READ_BY}",
    source="Bizeul, Schölkopf, Allen (2024), arXiv 2402.01399, sections 4 and 5",
)
