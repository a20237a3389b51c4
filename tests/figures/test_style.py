"""The look is one, local, readable without colour vision, and its legends cover nothing."""

import io
import itertools
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from figures import FAMILIES, canvas, family, legend, line_with_band, look, mark, theory_line

# Machado, Oliveira and Fernandes 2009 (IEEE TVCG 15:1291), severity 1, on linear RGB.
BLINDNESS = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(color: str) -> np.ndarray:
    rgb = np.array(mpl.colors.to_rgb(color))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear sRGB, D65."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb
    f = np.cbrt(np.clip(xyz / [0.9505, 1.0, 1.089], 1e-6, None))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("kind", BLINDNESS)
def test_families_are_told_apart_by_colour_under_every_colour_vision(kind: str):
    seen = {name: lab(np.clip(BLINDNESS[kind] @ linear(look["color"]), 0, 1)) for name, look in FAMILIES.items()}
    distances = {(a, b): np.linalg.norm(seen[a] - seen[b]) for a, b in itertools.combinations(seen, 2)}
    nearest = min(distances, key=lambda pair: distances[pair])
    assert distances[nearest] > 10, (nearest, distances[nearest])


def test_families_are_told_apart_without_any_colour():
    markers = [look["marker"] for look in FAMILIES.values()]
    assert len(set(markers)) == len(markers)


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("SimCLR", "contrastive"),
        ("SimCLR, before the head", "contrastive"),
        ("InfoNCE", "contrastive"),
        ("VICReg", "redundancy"),
        ("Barlow Twins", "redundancy"),
        ("BYOL", "distillation"),
        ("SwAV", "clustering"),
        ("Instance discrimination", "instance"),
        ("VAE", "vae"),
        ("beta-VAE", "vae"),
        ("CR-VAE", "vae"),
        ("SimVAE", "simvae"),
        ("SimVAE (Flat prior)", "simvae"),
        ("Random", "random"),
        ("my new loss", "own"),
    ],
)
def test_every_method_has_the_mark_of_its_family(method: str, kind: str):
    assert family(method) == kind
    assert mark(method) == FAMILIES[kind]


def test_look_is_local():
    before = dict(mpl.rcParams)
    with look():
        assert mpl.rcParams["pdf.fonttype"] == 42
    assert dict(mpl.rcParams) == before


def test_importing_figures_changes_no_setting_and_loads_no_pyplot():
    code = "import figures, sys; assert 'matplotlib.pyplot' not in sys.modules; "
    code += "from matplotlib import rcParams, rcParamsOrig; "
    code += "assert [k for k in rcParams if k != 'backend' and rcParams[k] != rcParamsOrig[k]] == []"
    subprocess.run([sys.executable, "-c", code], check=True)


def example(curves: int = 3) -> Figure:
    figure, axes = canvas(2, 1, height=1.8)
    x = np.linspace(0, 1, 20)
    for row in range(2):
        for i in range(curves):
            name = f"a rather long name of a method, number {i}"
            line_with_band(axes[row, 0], x, x**i, x**i - 0.1, x**i + 0.1, label=name, method="SimCLR")
        theory_line(axes[row, 0], x, x)
    return figure


@pytest.mark.parametrize("curves", [1, 3, 7])
def test_legend_lists_each_label_once_below_all_axes_and_inside_the_figure(curves: int):
    with look():
        figure = example(curves)
        before = figure.get_size_inches()[1]
        legend(figure)
        figure.draw_without_rendering()
    (drawn,) = figure.legends
    assert len(drawn.get_texts()) == curves + 1
    box = drawn.get_window_extent()
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    assert not any(box.overlaps(other) for other in boxes if other is not None)
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= figure.bbox.width
    assert figure.get_size_inches()[1] > before


def test_legend_of_nothing_is_nothing():
    figure, _ = canvas()
    legend(figure)
    assert figure.legends == []


def test_pdf_has_embedded_outline_fonts():
    with look():
        figure = example()
        buffer = io.BytesIO()
        figure.savefig(buffer, format="pdf")
    assert b"/FontFile2" in buffer.getvalue()
    assert b"/Type3" not in buffer.getvalue()


def test_canvas_has_a_paper_s_width_and_refuses_others():
    assert canvas(width="column")[0].get_size_inches()[0] == 3.4
    assert canvas(2, 3, width="page")[1].shape == (2, 3)
    with pytest.raises(ValueError, match="width must be one of column, page; found 'poster'"):
        canvas(width="poster")
