"""Figures say what they leave out, and use their range for what is there."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from ssl_theory.benchmarks import draw
from ssl_theory.benchmarks.methods import CORE, METHODS


def title(figure: Figure) -> str:
    return str(figure.get_suptitle())


def test_clusters_say_which_methods_are_shown_and_use_the_range_of_the_data():
    counts = {key: np.full((3, 3), 10) + 2 * np.eye(3) for key in METHODS}
    figure = draw.confusions(counts)
    assert title(figure) == f"The {len(CORE)} core methods of {len(METHODS)} that were run"
    assert figure.axes[0].images[0].get_clim() == pytest.approx((0, 12 / 32))
    assert title(draw.confusions({key: counts[key] for key in CORE})) == ""
    assert draw.confusions({"vae": np.zeros((3, 3))}).axes[0].images[0].get_clim() == (0, 1)


def curve(losses: np.ndarray, every: int = 10) -> pd.DataFrame:
    steps = every * np.arange(1, len(losses) + 1)
    return pd.concat([pd.DataFrame({"step": steps, "seed": seed, "loss": losses + 0.01 * seed}) for seed in (0, 1)])


def test_training_curves_tell_their_length_and_show_what_follows_a_steep_drop():
    steep = np.concatenate([[3000.0, 900.0], np.linspace(400.0, 300.0, 38)])
    gentle = np.linspace(4.0, 3.0, 20)
    lost = gentle + np.where(np.arange(20) > 12, np.nan, 0)
    figure = draw.training_curves({"vae": curve(steep), "simclr": curve(gentle), "byol": curve(lost)})
    assert "length chosen on validation images" in title(figure)
    vae, simclr, byol = figure.axes[:3]
    assert vae.get_title(loc="left") + vae.get_title() == "VAE\n400 steps"
    assert vae.get_ylim()[1] < 450
    assert simclr.get_ylim()[1] > 4.0
    assert byol.get_ylim()[1] > 4.0


def scores(methods: tuple[str, ...]) -> pd.DataFrame:
    measured = (("content", "linear", "label"), ("style", "nonlinear", "shift"))
    rows = [
        (method, "representation", seed, *which, 0.5 + 0.01 * at + 1e-4 * seed - 0.3 * (method == "simclr"))
        for at, method in enumerate(methods)
        for seed in (0, 1)
        for which in measured
    ]
    return pd.DataFrame(rows, columns=["method", "layer", "seed", "aspect", "measure", "target", "value"])


def test_autoencoders_on_one_spot_are_enlarged_where_there_are_several():
    crowd = ("vae", "betavae", "simvae")
    assert len(draw.content_against_style(scores(("simclr", "vae", "simvae")), "mine").axes) == 1
    rows = scores(("pixels", "simclr", *crowd))
    figure = draw.content_against_style(rows, "mine")
    whole, part = figure.axes
    wide, narrow = (axes.get_xlim()[1] - axes.get_xlim()[0] for axes in (whole, part))
    assert narrow < wide / 5
    content = draw.coordinates(rows[rows["method"].isin(crowd)])
    low, high = (content.content - content.content_half).min(), (content.content + content.content_half).max()
    assert part.get_xlim()[0] <= low < high <= part.get_xlim()[1]  # bars and all
    shown = set(part.get_legend_handles_labels()[1])
    assert shown == {METHODS[key].title for key in crowd} | {METHODS["pixels"].title}
    assert "enlarged" in part.get_title(loc="left") + part.get_title()


@pytest.mark.parametrize(("diverged", "panels"), [(3, 1), (2, 1), (1, 2)])
def test_only_autoencoders_that_did_not_diverge_are_enlarged(diverged, panels):
    crowd = ("vae", "betavae", "crvae", "simvae")[: 4 if panels == 2 else 3]
    rows = scores(("pixels", "simclr", *crowd))
    rows.loc[rows["method"].isin(crowd[:diverged]), "value"] = np.nan
    figure = draw.content_against_style(rows, "mine")
    assert len(figure.axes) == panels
    for axes in figure.axes:
        assert np.isfinite([*axes.get_xlim(), *axes.get_ylim()]).all()
    if panels == 2:
        shown = set(figure.axes[1].get_legend_handles_labels()[1])
        assert shown == {METHODS[key].title for key in (*crowd[diverged:], "pixels")}
