"""The ensemble axis: shapes, kinds, diverged members; one protocol for every measure of a single representation."""

from collections.abc import Callable
from math import inf, nan
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

import ssl_theory.analysis as analysis
from ssl_theory.analysis import geometry, neural_collapse, projection

G = torch.Generator().manual_seed(0)
STACK = torch.randn(3, 60, 4, generator=G, dtype=torch.float64)
VIEWS = torch.randn(3, 60, 2, 4, generator=G, dtype=torch.float64)
TARGET = torch.randn(60, 4, generator=G, dtype=torch.float64)
LABELS = torch.arange(60) % 3
SIX = TARGET[:6]


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
    "accuracy": Measure(lambda r, t, k: analysis.accuracy(r, k)),
    "knn accuracy": Measure(lambda r, t, k: analysis.accuracy(r, k, kind="knn", ks=(1, 3))),
    "class_information": Measure(lambda r, t, k: analysis.class_information(r, k)),
    "gaussian_target_information": Measure(lambda r, t, k: analysis.gaussian_target_information(r, t), 0),
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
    "style directions": Measure(
        lambda r, t, k: first(projection.style_variance_by_direction(r, SIX[:, : r.shape[-1]])), nan, VIEWS
    ),
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


@pytest.mark.parametrize("noise", [0.0, 1e-7])
@pytest.mark.parametrize("c", [0.1, 3.7, -2.2])
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


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_takes_more_columns_than_rows(name: str):
    of, _, stack = MEASURES[name]
    wide = torch.randn(2, 12, *stack.shape[2:-1], 20, generator=torch.Generator().manual_seed(2)).double()
    pair = {"cka", "procrustes", "pmi correlation", "pmi slope", "fitted_temperature", "self_duality"}
    t = wide[0].flip(0) if name in pair else TARGET[:12]
    if name == "style directions":
        wide = wide[..., :4]
    scores = of(wide, t, LABELS[:12])
    assert torch.isfinite(scores).all()
    assert [of(member, t, LABELS[:12]) for member in wide] == pytest.approx(scores.tolist(), abs=1e-6)


ONE_CLASS = {"class_collapse_ratio": [1, 1, 1], "nmi": [0, 0, 0]}
NEED_TWO = {"accuracy", "knn accuracy", "class_information", "nc1", "trace nc1", "cdnv", "spectrum"}


@pytest.mark.parametrize("name", MEASURES)
def test_one_class_has_its_value_or_is_refused(name: str):
    of, _, stack = MEASURES[name]
    one = torch.zeros(60, dtype=torch.int64)
    if name in NEED_TWO:
        with pytest.raises(ValueError, match="expected two classes or more"):
            of(stack, TARGET, one)
        return
    unit = torch.nn.functional.normalize(STACK, dim=-1)
    off_diagonal = ~torch.eye(60, dtype=torch.bool)
    known = {**ONE_CLASS, "tolerance": (unit @ unit.mT)[:, off_diagonal].mean(1).tolist()}
    expected = known.get(name, of(stack, TARGET, LABELS).tolist())
    assert of(stack, TARGET, one).tolist() == pytest.approx(expected, abs=1e-9)


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
