"""Kernel ridge, probe information, projection, reconstruction and the whole profile, on constructed representations."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from torch import Tensor

from ssl_theory.analysis import information, kernel, projection
from ssl_theory.analysis.decoding import class_information, gaussian_target_information
from ssl_theory.analysis.intervals import accuracy_interval, r2_interval
from ssl_theory.analysis.probes import accuracy, r2
from ssl_theory.analysis.profile import profile
from ssl_theory.analysis.reconstruction import reconstruct

N = 800


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def drawn() -> tuple[Tensor, Tensor, Tensor]:
    labels = torch.randint(3, (N,), generator=torch.Generator().manual_seed(1))
    content = 4 * torch.eye(3, dtype=torch.float64)[labels] + 0.3 * normal(N, 3)
    return content, normal(N, 2, seed=2), labels


# Kernel ridge


def test_kernel_ridge_reads_curves():
    s = normal(N, 2)
    assert r2(s, s.square(), kind="kernel") > 0.97
    assert r2(s, torch.sin(3 * s), kind="kernel") > 0.9
    assert abs(r2(s, normal(N, 2, seed=7), kind="kernel")) < 0.06
    assert abs(r2(torch.ones(N, 2), s, kind="kernel")) < 0.05
    assert r2(torch.stack([s, s[:, :1].expand(-1, 2)]), s[:, 1].abs(), kind="kernel").tolist() == pytest.approx(
        [1, 0], abs=0.08
    )


def test_kernel_ridge_with_all_landmarks_equals_scikit_learn():
    x, y = normal(60, 2), normal(20, 2, seed=1)
    t = x[:, :1].sin() + 0.1 * normal(60, 1, seed=2)
    found = kernel.kernel_ridge_predictions(
        x[None], t[None], y[None],
        generator=torch.Generator().manual_seed(0), landmarks=60, widths=(1.0,), penalties=(0.1,),
    )  # fmt: skip
    width = torch.cdist(x, x).flatten().median()
    # The probe centres its features: the constant of the target is not penalised, so compare with a centred kernel.
    k = torch.exp(-torch.cdist(torch.cat([x, y]), x).square() / (2 * width**2))
    features = k - k[:60].mean(0)
    gram = torch.exp(-torch.cdist(x, x).square() / (2 * width**2))
    centring = torch.eye(60, dtype=torch.float64) - 1 / 60
    model = KernelRidge(alpha=0.1, kernel="precomputed").fit(
        (centring @ gram @ centring).numpy(), (t - t.mean()).numpy()
    )
    expected = model.predict((features[60:] @ centring).numpy()) + float(t.mean())
    np.testing.assert_allclose(found[0], expected, atol=1e-4)


# Information of probes


def test_probe_information_of_known_cases():
    content, style, labels = drawn()
    frequencies = labels.bincount() / N
    entropy = float(-(frequencies * frequencies.log()).sum())
    assert class_information(content, labels) == pytest.approx(entropy, abs=0.03)
    assert abs(class_information(style, labels)) < 0.05
    assert class_information(content, labels, kind="mlp", steps=240) == pytest.approx(entropy, abs=0.06)
    s = normal(20_000, 2)
    seen = 0.8 * s + 0.6 * normal(20_000, 2, seed=3)
    truth = float(information.gaussian_information(np.full(2, 0.8)))
    assert gaussian_target_information(seen, s) == pytest.approx(truth, abs=0.03)
    assert gaussian_target_information(normal(N, 2, seed=8), s[:N]) == pytest.approx(0, abs=0.01)
    stack = torch.stack([content[:, :2], style])
    stack[0, 0, 0] = torch.nan
    assert class_information(stack, labels).isnan().tolist() == [True, False]
    assert gaussian_target_information(stack, style).isnan().tolist() == [True, False]


# Intervals


def test_intervals_hold_the_estimate_and_narrow_with_rows():
    content, style, labels = drawn()
    seen = style + normal(N, 2, seed=5)
    found = r2_interval(seen, style)
    assert found.estimate == pytest.approx(r2(seen, style))
    assert found.low < found.estimate < found.high
    assert found.low < 0.5 < found.high
    assert r2_interval(seen[:100], style[:100]).high - r2_interval(seen[:100], style[:100]).low > found.high - found.low
    # Standard error of a share p of m rows: sqrt(p (1 - p) / m).
    named = accuracy_interval(style, labels)
    assert named.estimate == pytest.approx(accuracy(style, labels))
    expected = 2 * 1.96 * (named.estimate * (1 - named.estimate) / (N / 2)) ** 0.5
    assert named.high - named.low == pytest.approx(expected, rel=0.2)
    stack = torch.stack([content[:, :2], style])
    stack[0, 0] = torch.nan
    assert r2_interval(stack, style).low.isnan().tolist() == [True, False]
    with pytest.raises(ValueError, match="level: expected between 0 and 1"):
        r2_interval(seen, style, level=95.0)


def test_the_level_of_an_interval_is_the_share_of_resamples_inside():
    """Of a normal distribution 95 % lie within 1.960 standard deviations, 50 % within 0.674."""
    _, style, _ = drawn()
    seen = style + normal(N, 2, seed=5)
    wide, narrow = (r2_interval(seen, style, level=level, resamples=2000) for level in (0.95, 0.5))
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(1.960 / 0.674, rel=0.15)


def test_interval_of_neighbours():
    content, style, labels = drawn()
    for representation, kind in ((style, "knn"), (content, "knn"), (style, "mlp")):
        options = {"steps": 60} if kind == "mlp" else {}
        found = accuracy_interval(representation, labels, kind=kind, seed=4, **options)
        assert found.estimate == pytest.approx(accuracy(representation, labels, kind=kind, seed=4, **options))
        assert found.low <= found.estimate <= found.high
    one = accuracy_interval(style, labels, kind="knn", ks=(1,))
    assert one.estimate == pytest.approx(accuracy(style, labels, kind="knn", ks=(1,)))
    assert one.high - one.low == pytest.approx(2 * 1.96 * (one.estimate * (1 - one.estimate) / (N / 2)) ** 0.5, rel=0.2)
    stack = torch.stack([content[:, :2], style])
    stack[0, 0] = torch.nan
    assert accuracy_interval(stack, labels, kind="knn").high.isnan().tolist() == [True, False]


@pytest.mark.parametrize("share", [0.99, 0.7])
def test_interval_of_accuracy_holds_the_share_of_which_rows_are_drawn(share: float):
    """1,000 times 100 scored rows, each told right with this probability, by probes that know how classes look."""
    g = torch.Generator().manual_seed(0)
    fitted, scored = torch.arange(40) % 2, torch.arange(100) % 2
    right = torch.rand(1000, 100, generator=g) < share
    look = torch.where(right, 2.0 * scored - 1, 1 - 2.0 * scored)[..., None]
    found = accuracy_interval((2.0 * fitted - 1)[None, :, None].expand(1000, -1, -1), fitted, test=(look, scored))
    torch.testing.assert_close(found.estimate, right.double().mean(1))
    covered = ((found.low <= share) & (share <= found.high)).double().mean()
    assert 0.89 < covered < 0.985
    assert (found.low < found.high).all()
    assert ((found.low <= found.estimate) & (found.estimate <= found.high)).all()


def test_interval_of_accuracy_at_its_ends():
    """Of m rows, all or none told right, Wilson's interval reaches to m / (m + z^2)."""
    k = torch.arange(200) % 2
    seen, far = (2.0 * k - 1)[:, None], 1 / (1 + 1.959964**2 / 200)
    assert accuracy_interval(seen, k, test=(seen, k)) == pytest.approx((1, far, 1), abs=1e-6)
    assert accuracy_interval(seen, k, test=(-seen, k)) == pytest.approx((0, 0, 1 - far), abs=1e-6)
    half = accuracy_interval(seen, k, test=(seen, torch.arange(200) // 100), level=0.5)
    assert half.high - half.estimate == pytest.approx(half.estimate - half.low)
    with pytest.raises(ValueError, match="level: expected between 0 and 1, found 95"):
        accuracy_interval(seen, k, level=95.0)


# Projection


def head_and_views() -> tuple[Tensor, Tensor]:
    """h = (content, style), a head that shrinks style and discards its last coordinate."""
    content, style = 2 * normal(N, 1, 2), normal(N, 3, 3, seed=3)
    h = torch.cat([content.expand(-1, 3, -1), style], -1)
    return h, torch.diag(torch.tensor([3.0, 2.0, 0.2, 0.1, 0.0], dtype=torch.float64))[:4]


def test_style_lies_in_the_directions_that_the_head_shrinks():
    h, w = head_and_views()
    share = projection.style_variance_by_direction(h, w)
    assert share.sum() == pytest.approx(1)
    assert share.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 3, 1 / 3], abs=0.03)
    assert projection.style_in_small_directions(h, w, leading=2) == pytest.approx(1)
    assert projection.style_in_small_directions(h, w, leading=4) == pytest.approx(1 / 3, abs=0.03)
    q = torch.linalg.qr(normal(5, 5))[0]
    assert projection.style_in_small_directions(h @ q, w @ q, leading=4) == pytest.approx(1 / 3, abs=0.03)
    assert projection.singular_values(w).tolist() == pytest.approx([3, 2, 0.2, 0.1])
    assert projection.passed_on(h, w) < 0.05
    assert projection.passed_on(h, 7 * q) == pytest.approx(1)


def test_projection_of_members():
    h, w = head_and_views()
    stack, heads = torch.stack([h, h, h]), torch.stack([w, w.flip(1), w])
    stack[2, 0, 0, 0] = torch.nan
    found = projection.style_in_small_directions(stack, heads, leading=2)
    assert found[:2].tolist() == pytest.approx([1, 1 / 3], abs=0.05)
    assert found[2].isnan()
    assert projection.passed_on(stack, w).isnan().tolist() == [False, False, True]
    assert projection.along({"h": h, "z": h @ w.T}, lambda r: r.shape[-1]) == {"h": 5, "z": 4}
    with pytest.raises(ValueError, match="transpose"):
        projection.style_variance_by_direction(h, w.T)
    with pytest.raises(ValueError, match="leading: expected between 1 and 4"):
        projection.style_in_small_directions(h, w, leading=5)


# Reconstruction


def test_reconstruction_shows_what_was_kept():
    content, style, _ = drawn()
    images = torch.stack([content[:, :2], style], 1)
    found = reconstruct(torch.stack([content, torch.cat([content, style], 1)[:, :3]]), images, steps=300, hidden=(32,))
    assert found.decoded.shape == (2, N // 2, 2, 2)
    assert found.observed.shape == (N // 2, 2, 2)
    of_style = (found.decoded[0, :, 1] - found.observed[:, 1]).square().mean()
    assert of_style == pytest.approx(1, abs=0.15)
    share = float(content[:, :2].var(0).sum() / images.flatten(1).var(0).sum())
    assert found.r2[0] == pytest.approx(share, abs=0.04)
    whole = reconstruct(torch.cat([content, style], 1), images, steps=300, hidden=(32,))
    assert whole.r2 > 0.97
    with pytest.raises(ValueError, match="observations: expected"):
        reconstruct(content, images[1:])


def test_a_factor_that_is_constant_up_to_rounding_has_no_r2():
    """Read from single precision: pixels that sum to one, and pixels of one brightness."""
    content, style, _ = drawn()
    pixels = torch.cat([content[:, :2], style], 1).float().softmax(1)
    same = (3.7 * (1 + 1e-7 * normal(N, 1))).float()
    assert min(len(pixels.sum(1).unique()), len(same.unique())) > 1
    small: dict[str, Any] = {"steps": 60, "hidden": (8,)}
    found = reconstruct(content, pixels, read=lambda x: torch.stack([x.sum(1), x[:, 0]], 1), **small)
    assert found.by_factor.isnan().tolist() == [True, False]
    found = reconstruct(content, torch.cat([same, pixels], 1), **small)
    assert found.by_factor.isnan().tolist() == [True, False, False, False, False]
    # In double precision it is read in single, too; by itself it is told exactly.
    whole = pixels.double() / pixels.double().sum(1, keepdim=True)
    assert reconstruct(content, whole, read=lambda x: x.sum(1), **small).by_factor.isnan().all()


# Profile


def test_profile_of_constructed_representations():
    content, style, labels = drawn()
    stack = torch.stack(
        [content, torch.cat([style, style[:, :1] * 0], 1), torch.cat([content[:, :2], style], 1)[:, :3]]
    )
    found = profile(
        stack, content=content, style=style, labels=labels, style_ceiling=1.0, bayes_accuracy=1.0, steps=240
    )
    known = {
        "content_r2_linear": (1, 0, None),
        "content_r2_nonlinear": (1, 0, None),
        "style_r2_linear": (0, 1, 0.5),
        "style_r2_nonlinear": (0, 1, 0.5),
        "retained_style": (0, 1, 0.5),
        "accuracy_linear": (1, 1 / 3, 1),
        "accuracy_mlp": (1, 1 / 3, 1),
        "accuracy_knn": (1, 1 / 3, 1),
        "accuracy_of_bayes": (1, 1 / 3, 1),
        "cluster_accuracy": (1, None, None),
        "nmi": (1, 0, None),
        "ari": (1, 0, None),
        "class_collapse_ratio": (None, 1, None),
    }
    for name, values in known.items():
        for e, value in enumerate(values):
            assert value is None or float(found[name][e]) == pytest.approx(value, abs=0.08), name
    assert {"effective_rank", "participation_ratio", "total_variance", "silhouette"} < set(found)
    alone = profile(stack[0].numpy(), labels=labels.numpy(), bayes_accuracy=0.5, steps=100)
    assert alone["accuracy_of_bayes"] == pytest.approx(2, abs=0.05)
    assert set(profile(stack)) == {"effective_rank", "participation_ratio", "total_variance"}


def test_intervals_count_only_resamples_on_which_the_target_varies():
    """Of 50 scored rows one is 1.1, told without error, the others 0.1: 36% of resamples miss it, too few to matter."""
    rows = normal(100, 2)
    one = 0.1 + (torch.arange(50) < 1).double()
    seen = torch.stack([one, one.flip(0)], 1)
    told = {"penalties": (1e-12,), "resamples": 200}
    found = r2_interval(rows, rows[:, 0], test=(seen, one), **told)
    assert found == pytest.approx((1, 1, 1), abs=1e-6)
    # One row in each of two targets: 60% of resamples miss one of them, which leaves no interval.
    found = r2_interval(rows, rows, test=(seen, seen), **told)
    assert found == pytest.approx((1, np.nan, np.nan), abs=1e-6, nan_ok=True)
    # Not told, the others alike up to rounding: no score of -1e16.
    found = r2_interval(rows, rows[:, 0], test=(seen.flip(1), one * (1 + 1e-16 * normal(50))), **told)
    assert -1e3 < found.low < found.high < 1
    # Constant on all scored rows.
    constant = torch.full((50,), 0.1, dtype=torch.float64)
    found = r2_interval(rows, rows[:, 0], test=(seen, constant), **told)
    assert np.isnan(found).all()
    with pytest.raises(ValueError, match="resamples: expected 1 or more, found 0"):
        r2_interval(rows, rows[:, 0], resamples=0)


def test_reconstruction_of_equal_observations_has_no_r2():
    content, _, _ = drawn()
    rounded = (3.7 * (1 + 1e-7 * normal(N, 6))).float()
    for same in (torch.full((N, 2, 3), 0.1), torch.zeros(N, 2, 3), torch.full((N, 6), 3, dtype=torch.uint8), rounded):
        found = reconstruct(content, same, steps=5, hidden=(4,))
        assert np.isnan(found.r2)
        assert found.decoded.shape == (N // 2, *same.shape[1:])


def test_profile_with_labels_of_each_member():
    content, _, labels = drawn()
    stack = torch.stack([content, content.flip(0)])
    found = profile(stack, labels=torch.stack([labels, labels.flip(0)]), steps=20)
    for e, (member, own) in enumerate(zip(stack, (labels, labels.flip(0)), strict=True)):
        alone = profile(member, labels=own, steps=20)
        assert {name: float(score[e]) for name, score in found.items()} == pytest.approx(alone, abs=1e-5)
    assert found["cluster_accuracy"].tolist() == [1, 1]


def test_a_head_that_does_not_fit_is_refused_in_one_line():
    h = normal(3, 20, 2, 4)
    for views, weight, message in [
        (h, normal(2, 3), r"expected \(b, 4\) as z = W h, found \(1, 2, 3\)"),
        (h, normal(2, 2, 4), r"found \(2, 2, 4\)"),
        (h[:, :1], normal(2, 4), "expected n >= 2 data points"),
    ]:
        with pytest.raises(ValueError, match=message) as error:
            projection.passed_on(views, weight)
        assert "\n" not in str(error.value)
    # NaN where h or z is constant, although binary rounds it.
    assert np.isnan(projection.passed_on(torch.full((20, 2, 4), 0.1), normal(2, 4)))
    assert np.isnan(projection.passed_on(h[0], torch.zeros(2, 4)))
