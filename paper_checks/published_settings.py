"""Two published settings, with every learner: content and style blocks, and latents on a sphere up to a linear map.

*Blocks* (von Kügelgen et al. 2021): content and style of five dimensions, the second view adds to each style
coordinate, with probability 0.75, a change of the size of style itself; mixing three invertible leaky-ReLU layers. Of
their rows we take the one with independent blocks, where style tells nothing of content and the floor is 0; its
published R^2 for InfoNCE is 1.00 ± 0.00 for content and 0.06 ± 0.05 for style, nonlinear. As their theorem asks,
discriminative representations have about content's size: six, because several learners put theirs on a sphere. SimVAE's
has ten, room for both.

*Sphere* (Zimmermann et al. 2021): latents uniform on the unit sphere of R^10, the second view vMF(z, 10). InfoNCE with
the matching critic, temperature 1/10, finds them up to a rotation; published R^2 of a linear map above 0.99
(from memory; the table could not be looked up).

Both papers train on batches of 6,144 for 100,000 steps (Zimmermann: three times that), with larger encoders and a
learning rate of 1e-4: thousands of times the pairs that are seen here (2,000 steps of 64 in the full profile). So the
bounds, fixed beforehand, keep a margin of 0.1 or nearly so to the published numbers: content R^2 at least 0.90;
style R^2 at most 0.30 (as style collapse) for discriminative methods and at least 0.40 for SimVAE and, in the full
profile, the VAE; linear R^2 on the
sphere at least 0.90 for the matching InfoNCE. Other learners on the sphere have no theorem; they are drawn, not
judged, and so are the data themselves, read by the same probes.

Control: shuffled pairs. Nothing is common to two views, so content and sphere cannot be found.

Source: von Kügelgen et al. (2021), arXiv 2106.04619, section 5.1; Zimmermann et al. (2021), arXiv 2102.08850, section
4.1; sizes of training: the defaults of the authors' published code.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import canvas, control_mark, family, interval_points, legend, mark, scatter_with_errors
from paper_checks import own
from paper_checks.claim import Claim, Config, Finding, Task, per_seed
from paper_checks.trained import EVERY, OBSERVATION, READ_BY, SIZES, displayed, training

INFONCE, SIMVAE = "InfoNCE, matching", "SimVAE, Gaussian prior"
GENERATIVE = (SIMVAE, "VAE")
BLOCKS: dict[str, Any] = {"world": "von-kuegelgen-2021", "overrides": {"dependent": False, "causal": False}}
SPHERE: dict[str, Any] = {"world": "zimmermann-2021"}
MATCHING, PLAIN = {"temperature": 0.1}, {"latent_dim": 6}
DATA = "the data, same probe"
FILLS: tuple[Any, ...] = ("full", "none", "left", "bottom")  # the first, second, ... method of a family
PUBLISHED = {"content": 1.00, "style": 0.06, "sphere": 0.99}

CONFIG: dict[str, Config] = {
    "smoke": SIZES["smoke"] | {"blocks": ["SimCLR", "VICReg", SIMVAE], "sphere": [INFONCE, "VICReg"]},
    "quick": SIZES["quick"] | {"blocks": ["SimCLR", "VICReg", SIMVAE], "sphere": [INFONCE]},
    "full": SIZES["full"] | {"blocks": [*EVERY, *GENERATIVE], "sphere": [INFONCE, *EVERY, *GENERATIVE]},
}
for _size in CONFIG.values():
    _size |= {"methods": []}  # a user's own, judged in the blocks


def tasks(config: Config) -> list[Task]:
    pairing = {"pairing": config["pairing"]} if "pairing" in config else {}
    found = []
    for name in in_blocks(config):
        room: dict[str, Any] = {} if generative(name) else {"settings": PLAIN}
        found.append(training(name, config, **BLOCKS, **room, **pairing, columns={"setting": "blocks"}))
    found += [
        training(OBSERVATION, config, **known, columns={"setting": setting})
        for setting, known in (("blocks", BLOCKS), ("sphere", SPHERE))
    ]
    for name in config["sphere"]:
        critic: dict[str, Any] = {"settings": MATCHING} if name == INFONCE else {}
        method = "SimCLR" if name == INFONCE else name
        columns = {"setting": "sphere", "method": name}
        found.append(training(method, config, **SPHERE, **critic, **pairing, columns=columns))
    return found


def control(config: Config) -> Config:
    return config | {"pairing": "shuffled", "blocks": ["SimCLR"], "methods": [], "sphere": [INFONCE]}


def in_blocks(config: Config) -> list[str]:
    return [*config["blocks"], *config["methods"]]


def generative(method: str) -> bool:
    """Of a user's own learner, whether it has a decoder."""
    return method in GENERATIVE or own.generative(method)


def block_r2(table: pd.DataFrame, method: str, block: str) -> "pd.Series[float]":
    """Nonlinear R² of the content or the style of the first view."""
    return per_seed(table, setting="blocks", method=method, measure=f"{block} R2, nonlinear")


def sphere_r2(table: pd.DataFrame, method: str) -> "pd.Series[float]":
    """Linear R² of the latents; the first view shows content itself."""
    return per_seed(table, setting="sphere", method=method, measure="content R2, linear")


def findings(table: pd.DataFrame, config: Config) -> list[Finding]:
    found = []
    for given, name in zip(in_blocks(config), displayed(in_blocks(config)), strict=True):
        values, why = block_r2(table, name, "content"), "published for InfoNCE: 1.00, after far longer training"
        found.append(
            Finding.from_seeds(f"content R², {name}", values, ">=", 0.90, reason=why, controlled=name == "SimCLR")
        )
        values = block_r2(table, name, "style")
        if not generative(given):
            why = "published for InfoNCE: 0.06, after far longer training"
            found.append(Finding.from_seeds(f"style R², {name}", values, "<=", 0.30, reason=why))
        else:
            found.append(
                Finding.from_seeds(f"style R², {name}", values, ">=", 0.40, reason="reconstruction needs style")
            )
    values, why = sphere_r2(table, INFONCE), "published, from memory: above 0.99, after far longer training"
    found.append(
        Finding.from_seeds(f"linear R² on the sphere, {INFONCE}", values, ">=", 0.90, reason=why, controlled=True)
    )
    return found


def draw(table: pd.DataFrame, control_table: pd.DataFrame | None, found: Sequence[Finding], config: Config) -> Figure:
    figure, axes = canvas(1, 2, width="page", height=2.0 + 0.1 * len(config["sphere"]))
    _draw_blocks(axes[0, 0], table, control_table, config)
    _draw_sphere(axes[0, 1], table, control_table, config)
    legend(figure)
    return figure


def _draw_blocks(axes: Axes, table: pd.DataFrame, control_table: pd.DataFrame | None, config: Config) -> None:
    axes.axvspan(-1, 0.30, color="0.95", zorder=0, label="style of discriminative methods: where the bound lets it be")
    axes.axvline(0.40, color=mark(SIMVAE)["color"], linestyle=":", linewidth=1, label="least style of SimVAE and VAE")
    axes.axhline(0.90, color="0.3", linestyle=(0, (3, 2)), linewidth=1, label="least content")
    seen: list[str] = []
    for name in (*displayed(in_blocks(config)), OBSERVATION):
        seen.append(family(name))
        style, content = (Finding.from_seeds("", block_r2(table, name, b), ">=", 0.0) for b in ("style", "content"))
        scatter_with_errors(
            axes,
            [style.estimate],
            [content.estimate],
            x_interval=([style.low], [style.high]),
            y_interval=([content.low], [content.high]),
            label=DATA if name == OBSERVATION else name,
            method=name,
            fill=FILLS[(seen.count(seen[-1]) - 1) % len(FILLS)],
        )
    if control_table is not None:
        style, content = (
            Finding.from_seeds("", block_r2(control_table, "SimCLR", b), ">=", 0.0) for b in ("style", "content")
        )
        across, up = ([[f.estimate - f.low], [f.high - f.estimate]] for f in (style, content))
        look: dict[str, Any] = control_mark() | {"linestyle": "none", "label": "control: one assumption broken"}
        axes.errorbar([style.estimate], [content.estimate], yerr=up, xerr=across, **look)
    axes.plot(
        [PUBLISHED["style"]], [PUBLISHED["content"]], "k+", markersize=9, label="published, InfoNCE, trained far longer"
    )
    axes.set(xlabel="style R², nonlinear", ylabel="content R², nonlinear", xlim=(-0.08, 1.05))
    axes.set_title("Blocks (von Kügelgen et al. 2021)")


def _draw_sphere(axes: Axes, table: pd.DataFrame, control_table: pd.DataFrame | None, config: Config) -> None:
    names = [*config["sphere"], OBSERVATION]

    def intervals(source: pd.DataFrame, judged: Sequence[str]) -> list[tuple[float, float, float]]:
        drawn = [Finding.from_seeds("", sphere_r2(source, name), ">=", 0.0) for name in judged]
        return [(f.estimate, f.low, f.high) for f in drawn]

    rows = [(PUBLISHED["sphere"],) * 3, *intervals(table, names)]
    hollow = None
    if control_table is not None:
        hollow = np.full((3, len(rows)), np.nan)
        hollow[:, 1 + names.index(INFONCE)] = intervals(control_table, [INFONCE])[0]
    interval_points(
        axes,
        ["published, InfoNCE", *(DATA if name == OBSERVATION else name for name in names)],
        *np.array(rows).T,
        bounds=[np.nan, *(0.90 if name == INFONCE else np.nan for name in names)],
        sides=[">="] * len(rows),
        control=None if hollow is None else (hollow[0], hollow[1], hollow[2]),
        methods=["published", *names],
    )
    axes.set(xlabel="R² of a linear map to the latents")
    axes.set_title("Sphere (Zimmermann et al. 2021)")


def caption(found: Sequence[Finding]) -> str:
    said = {f.name: f.estimate for f in found}
    names = [name.removeprefix("content R², ") for name in said if name.startswith("content")]
    numbers = "; ".join(f"{n} {said[f'content R², {n}']:.2f} and {said[f'style R², {n}']:.2f}" for n in names)
    sphere = said[f"linear R² on the sphere, {INFONCE}"]
    return (
        f"Left: R² of content and of style, each by a nonlinear probe: {numbers} (published for InfoNCE: 1.00 and "
        f"0.06). Right: R² of a linear map to latents on a sphere, {sphere:.2f} for InfoNCE with the matching critic "
        "(published, from memory: above 0.99). The papers train on thousands of times as many pairs. Hollow: shuffled "
        "pairs (control). Means over seeds, a world a seed, with 95 % intervals; tinted, shaded: where the bound lets "
        "it be."
    )


NOTES = """Where quick and full profile fail, their budget does, as far as was tried: with 16 times the pairs
(`published-settings --profile full --set steps=8000 --set batch_size=256 --set 'blocks=["SimCLR"]' --set
'sphere=["InfoNCE, matching"]' --seeds 2`) linear R² on the sphere rises from 0.69 to 0.98, content R² of SimCLR
from 0.70 to 0.87, and style R² falls from 0.24 to 0.08; two seeds, so no interval decides. Other learners were not
tried, MoCo, BYOL and SimSiam among them, which break the bound on style (0.51, 0.38, 0.36).

In the blocks the bound on content is beyond the probe itself: from the observation, an invertible function of both,
it reads content with R² 0.84 and style with 0.85, because the mixing is ill conditioned.

The control fails where the claim fails, too, so here it shows nothing of pairing but by how much lower it comes out.

On the sphere, where no theorem asks it, WMSE tells the latents as well as the matching InfoNCE (0.72), AlignUniform
nearly so (0.66), the others no better than the data (0.63)."""

CLAIM = Claim(
    name="published-settings",
    part="discriminative families",
    statement=(
        "In two published settings, discriminative learners find the content block and lose style while SimVAE and the "
        "VAE keep both, and InfoNCE with the matching critic finds latents on a sphere up to a linear map."
    ),
    formula=(
        r"x = f(c, s),\; x' = f(c, s + a \odot \delta): \; r \simeq h(c); \qquad"
        r" z \sim U(S^9),\; z' \sim \text{vMF}(z, \kappa),\; \tau = 1/\kappa: \; r \simeq R z"
    ),
    config=CONFIG,
    tasks=tasks,
    control=control,
    control_words="shuffled pairs: every second view is another data point's",
    findings=findings,
    draw=draw,
    caption=caption,
    notes=f"{NOTES}\n\n{READ_BY}",
    source=(
        "von Kügelgen et al. (2021), arXiv 2106.04619, section 5.1; Zimmermann et al. (2021), arXiv 2102.08850, "
        "section 4.1"
    ),
)
