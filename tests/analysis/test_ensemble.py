"""The ensemble axis: shapes, kinds, diverged members; one protocol for every measure of a single representation."""

from collections.abc import Callable
from math import inf, nan
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

import ssl_theory.analysis as analysis
from ssl_theory.analysis import critics, geometry, information, neural_collapse, projection
from ssl_theory.analysis.ensemble import constant_columns

pytestmark = pytest.mark.usefixtures("rough_probes")

G = torch.Generator().manual_seed(0)
STACK = torch.randn(3, 60, 4, generator=G, dtype=torch.float64)
VIEWS = torch.randn(3, 60, 2, 4, generator=G, dtype=torch.float64)
TARGET = torch.randn(60, 4, generator=G, dtype=torch.float64)
LABELS = torch.arange(60) % 3
HEAD = TARGET[:2]
NETWORK: dict[str, Any] = {"steps": 20, "hidden": (8,)}
CRITIC: dict[str, Any] = {"steps": 10, "batch": 4, "hidden": (8,), "embedding": 4}


class Measure(NamedTuple):
    """A measure of r beside targets t and labels k, and what it answers for an r full of c: a number, a function of c,
    or None where it is a probe, which answers as it does for zeros."""

    of: Callable[[Any, Any, Any], Any]
    constant: float | Callable[[float], float] | None = None
    stack: Tensor = STACK


def first(value: Any) -> Any:
    """The first number of each member."""
    return value[..., 0] if value.ndim > 1 else float(value[0])


def beside(r: Any, t: Tensor) -> Tensor:
    """t for each member of r."""
    return t if r.ndim == 2 else torch.stack([t] * len(r))


MEASURES: dict[str, Measure] = {
    "r2": Measure(lambda r, t, k: analysis.r2(r, t)),
    "kernel r2": Measure(lambda r, t, k: analysis.r2(r, t, kind="kernel")),
    "nonlinear r2": Measure(lambda r, t, k: analysis.r2(r, t, kind="nonlinear", **NETWORK)),
    "accuracy": Measure(lambda r, t, k: analysis.accuracy(r, k)),
    "knn accuracy": Measure(lambda r, t, k: analysis.accuracy(r, k, kind="knn", ks=(1, 3))),
    "class_information": Measure(lambda r, t, k: analysis.class_information(r, k)),
    "gaussian_target_information": Measure(lambda r, t, k: analysis.gaussian_target_information(r, t), 0),
    "conditional_information": Measure(lambda r, t, k: analysis.conditional_information(r, t, k), 0),
    "conditional_information, numbers": Measure(lambda r, t, k: analysis.conditional_information(r, t, t.flip(0))),
    "mixture_target_information": Measure(lambda r, t, k: analysis.mixture_target_information(r, t, k)),
    "collapse_ratio": Measure(lambda r, t, k: analysis.collapse_ratio(r), nan, VIEWS),
    "class_collapse_ratio": Measure(lambda r, t, k: analysis.class_collapse_ratio(r, k), nan),
    "total_variance": Measure(lambda r, t, k: analysis.total_variance(r), 0),
    "effective_rank": Measure(lambda r, t, k: analysis.effective_rank(r), 1),
    "centred effective_rank": Measure(lambda r, t, k: analysis.effective_rank(r, centre=True), nan),
    "participation_ratio": Measure(lambda r, t, k: analysis.participation_ratio(r), nan),
    "raw participation_ratio": Measure(lambda r, t, k: analysis.participation_ratio(r, centre=False), 1),
    "alpha_req": Measure(lambda r, t, k: analysis.alpha_req(r), nan),
    "eigenspectrum": Measure(lambda r, t, k: first(analysis.eigenspectrum(r)), 0),
    "lidar": Measure(lambda r, t, k: analysis.lidar(r), nan, VIEWS),
    "alignment": Measure(lambda r, t, k: analysis.alignment(r), 0, VIEWS),
    "uniformity": Measure(lambda r, t, k: analysis.uniformity(r), 0),
    "tolerance": Measure(lambda r, t, k: analysis.tolerance(r, k), 1),
    "norms": Measure(lambda r, t, k: analysis.norms(r).mean, lambda c: 2 * abs(c)),
    "deviation of norms": Measure(lambda r, t, k: analysis.norms(r).deviation, 0),
    "cka": Measure(lambda r, t, k: analysis.cka(r, beside(r, t)), nan),
    "procrustes": Measure(lambda r, t, k: analysis.procrustes(r, beside(r, t)), nan),
    "pmi correlation": Measure(lambda r, t, k: analysis.pmi_fit(r, beside(r, t)).correlation, nan),
    "pmi slope": Measure(lambda r, t, k: analysis.pmi_fit(r, beside(r, t)).slope, 0),
    "fitted_temperature": Measure(lambda r, t, k: geometry.fitted_temperature(r, beside(r, t)), inf),
    "nc1": Measure(lambda r, t, k: analysis.nc1(r, k), nan),
    "trace nc1": Measure(lambda r, t, k: analysis.nc1(r, k, convention="trace"), nan),
    "cdnv": Measure(lambda r, t, k: analysis.cdnv(r, k), nan),
    "spectrum": Measure(lambda r, t, k: first(neural_collapse.spectrum(r, k).within), 0),
    "etf_distance": Measure(lambda r, t, k: analysis.etf_distance(r), nan),
    "norm_variation": Measure(lambda r, t, k: analysis.norm_variation(r), nan),
    "self_duality": Measure(lambda r, t, k: analysis.self_duality(r, beside(r, t)), nan),
    "mcc": Measure(lambda r, t, k: analysis.mcc(r, t), 0),
    "rank mcc": Measure(lambda r, t, k: analysis.mcc(r, t, rank=True), 0),
    "affine_r2": Measure(lambda r, t, k: analysis.affine_r2(r, t)),
    "disentanglement": Measure(lambda r, t, k: analysis.dci(r, t).disentanglement, nan),
    "completeness": Measure(lambda r, t, k: analysis.dci(r, t).completeness, nan),
    "nmi": Measure(lambda r, t, k: analysis.kmeans_clustering(r, r, k, 3).nmi, 0),
    "style direction": Measure(lambda r, t, k: first(projection.style_variance_by_direction(r, HEAD)), nan, VIEWS),
    "small directions": Measure(lambda r, t, k: projection.style_in_small_directions(r, HEAD, leading=2), nan, VIEWS),
    "passed_on": Measure(lambda r, t, k: projection.passed_on(r, HEAD), nan, VIEWS),
    "singular value": Measure(lambda r, t, k: first(projection.singular_values(r)), lambda c: abs(c) * 240**0.5),
    "retained_style": Measure(lambda r, t, k: analysis.retained_style(analysis.r2(r, t), 0.0, 0.8)),
    "mlp r2": Measure(lambda r, t, k: analysis.r2(r, t, kind="mlp", **NETWORK)),
    "mlp accuracy": Measure(lambda r, t, k: analysis.accuracy(r, k, kind="mlp", **NETWORK)),
    "block_r2": Measure(lambda r, t, k: analysis.block_r2(r, {"a": t[:, :1], "b": t[:, 1:]})["b"]),
    "informativeness": Measure(lambda r, t, k: analysis.dci(r, t).informativeness),
    "mixture nmi": Measure(lambda r, t, k: analysis.mixture_clustering(r, r, k, 3, restarts=1).nmi, 0),
    "components_by_bic": Measure(lambda r, t, k: analysis.components_by_bic(r, (1, 2)), 1),
    "ksg": Measure(lambda r, t, k: information.ksg(r, beside(r, t)), 0),
    "between": Measure(lambda r, t, k: critics.between(r, beside(r, t), **CRITIC)),
    "reconstruct": Measure(lambda r, t, k: analysis.reconstruct(r, t, **NETWORK).r2),
    "r2_interval": Measure(lambda r, t, k: analysis.r2_interval(r, t, resamples=20).low),
    "accuracy_interval": Measure(lambda r, t, k: analysis.accuracy_interval(r, k).high),
    "profile": Measure(lambda r, t, k: analysis.profile(r, labels=k, **NETWORK)["class_collapse_ratio"], nan),
}


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_keeps_to_the_convention(name: str, device: torch.device):
    of, _, stack = MEASURES[name]
    stack, t, k = (x.to(device) for x in (stack, TARGET, LABELS))
    before = stack.clone()
    scores = of(stack, t, k)
    assert isinstance(scores, Tensor)
    assert scores.device == stack.device
    assert scores.shape == (3,)
    assert torch.isfinite(scores).all()
    assert torch.equal(stack, before), "the argument was changed"
    # Each member by itself, as a float; numpy in, numpy out.
    assert [of(member, t, k) for member in stack] == pytest.approx(scores.tolist(), abs=1e-6)
    assert isinstance(of(stack[0], t, k), float)
    array = stack.cpu().numpy()
    assert isinstance(of(array, TARGET, LABELS), np.ndarray)
    assert isinstance(of(array[0], TARGET, LABELS), float)
    # The order of members is theirs, and a diverged one spoils no other.
    spoilt = stack.flip(0).clone()
    spoilt[0, 0] = torch.inf
    found = of(spoilt, t, k)
    assert found.isnan().tolist() == [True, False, False]
    assert found[1:].tolist() == pytest.approx(scores.flip(0)[1:].tolist(), abs=1e-6)
    # A repeated call gives the same number: nothing hangs on a global state.
    assert torch.equal(of(stack, t, k), scores)


@pytest.mark.parametrize(("c", "noise"), [(0.1, 0), (3.7, 0), (-2.2, 0), (3.7, 1e-7)])
@pytest.mark.parametrize("name", MEASURES)
def test_a_constant_representation_has_its_value_although_binary_rounds_it(name: str, c: float, noise: float):
    of, constant, stack = MEASURES[name]
    r = torch.full_like(stack[0], c)
    if noise:
        r = (r * (1 + noise * torch.randn(r.shape, generator=torch.Generator().manual_seed(1)))).float()
        assert len(r.unique()) > 1
    if constant is None:
        expected = of(torch.zeros_like(r), TARGET, LABELS)
    else:
        expected = constant(c) if callable(constant) else constant
    assert of(r, TARGET, LABELS) == pytest.approx(expected, abs=2e-5, nan_ok=True)
    # In a stack too, where the others keep their own.
    both = of(torch.stack([r.double(), stack[1]]), TARGET, LABELS)
    assert both[1] == pytest.approx(of(stack[1], TARGET, LABELS), abs=1e-6)


NARROW = [torch.bfloat16, torch.float16]
UNDEFINED = [name for name, m in MEASURES.items() if m.constant is None or m.constant != m.constant]  # or NaN


def rounded(c: float, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Numbers about c that differ by rounding errors of a 16-bit type."""
    g = torch.Generator().manual_seed(1)
    r = (c * (1 + torch.finfo(dtype).eps / 4 * torch.randn(shape, generator=g))).to(dtype)
    assert len(r.unique()) > 1
    return r


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("name", UNDEFINED)
def test_a_constant_representation_has_its_value_in_16_bits(name: str, dtype: torch.dtype):
    of, constant, stack = MEASURES[name]
    r = rounded(3.7, stack[0].shape, dtype)
    expected = of(torch.zeros_like(r), TARGET, LABELS) if constant is None else constant
    assert of(r, TARGET, LABELS) == pytest.approx(expected, abs=2e-5, nan_ok=True)


@pytest.mark.parametrize("dtype", NARROW)
def test_what_varies_in_16_bits_is_told_from_rounding(dtype: torch.dtype):
    """One class of 200 and N(20, 1) are told; of a constant nothing is, whichever way it was rounded."""
    g = torch.Generator().manual_seed(0)
    one_hot, far = torch.eye(200).repeat(10, 1), 20 + torch.randn(2000, 3, generator=g)
    for told in (one_hot, far):
        assert not constant_columns(told.to(dtype)[None].double(), dtype).any()
        assert analysis.r2(told.to(dtype), told[:, :2]) > 0.9
    nothing = analysis.r2(torch.zeros(2000, 3), far)
    for c in (0.1, 3.7, -2.2, 1000.0):
        r = rounded(c, far.shape, dtype)
        assert constant_columns(r[None].double(), dtype).all()
        assert analysis.r2(r, far) == pytest.approx(nothing, abs=1e-9)


# Measures of two arrays of one shape, and of a head with as many columns as r.
PAIRED = {"pmi correlation", "pmi slope", "fitted_temperature", "self_duality"}
HEADED = {"style direction", "small directions", "passed_on"}


@pytest.mark.parametrize("name", [name for name in MEASURES if name not in HEADED])
def test_every_measure_takes_more_columns_than_rows(name: str):
    of, _, stack = MEASURES[name]
    wide = torch.randn(2, 12, *stack.shape[2:-1], 20, generator=torch.Generator().manual_seed(2)).double()
    t, k = wide[0].flip(0) if name in PAIRED else TARGET[:12], LABELS[:12]
    scores = of(wide, t, k)
    assert torch.isfinite(scores).all()
    assert [of(member, t, k) for member in wide] == pytest.approx(scores.tolist(), abs=1e-6)


UNIT = torch.nn.functional.normalize(STACK, dim=-1)
ONE_CLASS: dict[str, list[float] | None] = {
    **dict.fromkeys(("accuracy", "knn accuracy", "mlp accuracy", "accuracy_interval", "class_information", "profile")),
    **dict.fromkeys(("nc1", "trace nc1", "cdnv", "spectrum", "mixture_target_information")),
    "class_collapse_ratio": [1, 1, 1],
    "nmi": [0, 0, 0],
    "mixture nmi": [0, 0, 0],
    "tolerance": (((UNIT @ UNIT.mT).sum((1, 2)) - 60) / (60 * 59)).tolist(),
}


@pytest.mark.parametrize("name", ONE_CLASS)
def test_one_class_has_its_value_or_is_refused(name: str):
    of, expected = MEASURES[name].of, ONE_CLASS[name]
    if expected is None:
        with pytest.raises(ValueError, match="expected two classes or more"):
            of(STACK, TARGET, LABELS * 0)
    else:
        assert of(STACK, TARGET, LABELS * 0).tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_refuses_other_axes_in_one_line(name: str):
    for wrong in (torch.zeros(60), torch.zeros(2, 2, 60, 4, 4)):
        with pytest.raises(ValueError, match=r"expected \(n") as error:
            MEASURES[name].of(wrong, TARGET, LABELS)
        assert "\n" not in str(error.value)


def test_global_random_state_is_untouched():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    for of, _, stack in MEASURES.values():
        of(stack, TARGET, LABELS)
    assert torch.equal(torch.get_rng_state(), before)
