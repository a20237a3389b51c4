"""Panels put the given numbers where they belong."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from figures import (
    bars,
    bound_line,
    canvas,
    heat_map,
    image_grid,
    interval_points,
    legend,
    line_with_band,
    scatter_with_errors,
    theory_line,
)


@pytest.fixture
def axes() -> Axes:
    figure, grid = canvas()
    figure.draw_without_rendering()
    return grid[0, 0]


def segments(axes: Axes) -> list[tuple[list[float], list[float]]]:
    return [(np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()) for line in axes.lines]


def test_interval_points_draw_estimate_interval_bound_and_its_right_side(axes: Axes):
    interval_points(axes, ["a", "b"], [1, 2], [0.5, 1.5], [1.5, 3], bounds=[0.2, 2.5], sides=[">=", "<="])
    drawn = segments(axes)
    assert ([0.5, 1.5], [0.0, 0.0]) in drawn
    assert ([2.0], [1.0]) in drawn
    assert ([2.5, 2.5], pytest.approx([0.58, 1.42])) in drawn
    right, left = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    low, high = axes.get_xlim()
    assert (right.get_x(), right.get_x() + right.get_width()) == pytest.approx((0.2, high))
    assert (left.get_x(), left.get_x() + left.get_width()) == pytest.approx((low, 2.5))
    assert low < 0.2
    assert high > 3
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert axes.yaxis_inverted()


def test_interval_points_show_the_control_hollow_and_leave_out_nan(axes: Axes):
    control = ([-1.0, np.nan], [-1.2, np.nan], [-0.8, np.nan])
    interval_points(axes, ["a", "b"], [1, 2], [1, 2], [1, 2], control=control)
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert len(hollow) == 1
    assert hollow[0].get_xdata() == [-1.0]
    assert axes.get_xlim()[0] < -1.2
    assert axes.get_legend_handles_labels()[1] == ["control: one assumption broken"]


def test_interval_points_on_a_logarithmic_scale_show_an_exact_zero(axes: Axes):
    interval_points(axes, ["a"], [0.0], [0.0], [0.0], bounds=[1e-10], sides=["<="], scale="log")
    axes.figure.canvas.draw()
    assert axes.get_xscale() == "log"
    assert axes.lines[1].get_xdata() == [1e-17]
    assert axes.get_xlim()[0] < 1e-17


def test_theory_is_drawn_over_the_measurement(axes: Axes):
    line_with_band(axes, [0, 1], [0, 1], [-1, 0], [1, 2], label="measured", method="VICReg")
    theory_line(axes, [0, 1], [0, 1])
    measured, theory = axes.lines
    assert theory.get_zorder() > max(measured.get_zorder(), *(band.get_zorder() for band in axes.collections))
    assert measured.get_color() == "#009E73"
    assert np.asarray(axes.collections[0].get_facecolor())[0][:3] == pytest.approx((0, 0x9E / 255, 0x73 / 255))


@pytest.mark.parametrize(("along", "side", "marker"), [("y", ">=", "^"), ("y", "<=", "v"), ("x", ">=", ">")])
def test_bound_points_to_its_right_side(axes: Axes, along: str, side: str, marker: str):
    bound_line(axes, 0.3, side=side, along=along)  # type: ignore[arg-type]
    assert axes.lines[-1].get_marker() == marker
    data = axes.lines[0].get_ydata() if along == "y" else axes.lines[0].get_xdata()
    assert np.asarray(data).tolist() == [0.3, 0.3]


def test_scatter_turns_ends_of_intervals_into_bars(axes: Axes):
    interval = ([0.5], [1.5])
    scatter_with_errors(axes, [1.0], [2.0], x_interval=interval, y_interval=([1.0], [2.5]), label="SimVAE (Flat)")
    ends = [segment.tolist() for bars in axes.collections for segment in bars.get_segments()]  # type: ignore[attr-defined]
    assert [[0.5, 2.0], [1.5, 2.0]] in ends
    assert [[1.0, 1.0], [1.0, 2.5]] in ends
    assert axes.lines[0].get_marker() == "*"


def test_bars_and_heat_map_have_the_given_heights_and_colours(axes: Axes):
    bars(axes, ["a", "b"], [1.0, 2.0], [0.5, 1.5], [1.5, 2.5], methods=["VAE", "SimVAE"])
    assert [bar.get_height() for bar in axes.patches] == [1.0, 2.0]  # type: ignore[attr-defined]
    other = canvas()[1][0, 0]
    values = np.arange(6.0).reshape(2, 3)
    heat_map(other, [1, 10, 100], [0, 1], values, label="v", contour=values - 2.5, scales=("log", "linear"))
    assert np.asarray(other.collections[0].get_array()).ravel().tolist() == values.ravel().tolist()
    assert other.get_xscale() == "log"
    assert len(other.figure.axes) == 2


def test_a_lone_row_of_a_heat_map_is_seen(axes: Axes):
    heat_map(axes, [0, 1, 3], [0.0], [[1.0, 2.0, 3.0]], label="v", words=[["a", "b", "c"]])
    edges = axes.collections[0].get_coordinates()  # type: ignore[attr-defined]
    assert edges[0, :, 0].tolist() == [-0.5, 0.5, 2.0, 4.0]
    assert edges[:, 0, 1].tolist() == [-0.5, 0.5]


@pytest.mark.parametrize("shape", [(2, 3, 8, 6), (2, 3, 8, 6, 1), (2, 3, 8, 6, 3)])
def test_image_grid_puts_each_image_in_its_cell(axes: Axes, shape: tuple[int, ...]):
    images = np.random.default_rng(0).uniform(size=shape)
    image_grid(axes, images, row_names=["original", "SimVAE"], column_names=["1", "2", "3"])
    sheet = np.asarray(axes.images[0].get_array())
    row, column = 1, 2
    cell = sheet[row * 9 : row * 9 + 8, column * 7 : column * 7 + 6]
    expected = images[row, column].reshape(8, 6, -1) * np.ones(3)
    np.testing.assert_allclose(cell, expected)
    assert sheet.shape == (17, 20, 3)
    assert (sheet[8] == 1).all()


@pytest.mark.parametrize("shape", [(2, 3, 8), (2, 3, 8, 6, 2), (3, 3, 8, 6)])
def test_image_grid_refuses_other_shapes(axes: Axes, shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"images must be \(rows=2, columns, H, W\[, 1 or 3\]\), found"):
        image_grid(axes, np.zeros(shape), row_names=["a", "b"])


def test_panels_take_lists_and_legend_finds_their_labels():
    figure, grid = canvas()
    interval_points(grid[0, 0], ["a"], [1.0], [0.9], [1.1], bounds=[0.5], control=([0.1], [0.0], [0.2]))
    legend(figure)
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert labels == {"control: one assumption broken", "right side of the bound"}
