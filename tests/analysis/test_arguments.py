"""Arguments of measures: what is taken in whichever kind it comes, and what is refused in one line that says why."""

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ssl_theory import analysis
from ssl_theory.analysis import decoding

N = 60
G = np.random.default_rng(0)
X, T, K = G.normal(size=(N, 3)), G.normal(size=(N, 2)), np.arange(N) % 3


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: decoding.conditional_information(X, T, K, test=(X, T)), "test: expected none, found rows to score"),
        (lambda: decoding.conditional_information(X, T, X, test=(X, T)), "test: expected none, found rows to score"),
        (lambda: decoding.mixture_target_information(X, T, K, test=(X, K)), "test: expected none, found rows to"),
        (lambda: analysis.r2(X, T, penalties=(-1.0,)), "penalties: expected none below 0, found -1"),
        (lambda: analysis.accuracy(X, K, penalties=(1.0, -2.0)), "penalties: expected none below 0, found -2"),
        (lambda: analysis.r2(X, T, kind="mlp", batch=0), "batch: expected a number above 0, found 0"),
        (lambda: analysis.r2(X, T, kind="mlp", every=0), "every: expected a number above 0, found 0"),
        (lambda: analysis.r2(X, T, kind="nonlinear", steps=-3), "steps: expected a number above 0, found -3"),
        (lambda: analysis.accuracy(X, K, kind="mlp", rate="fast"), "rate: expected a number above 0, found 'fast'"),
        (lambda: analysis.r2(X, T, kind="mlp", hidden=8), "hidden: expected widths above 0, as .64, 64., found 8"),
        (lambda: analysis.r2(X, T, kind="mlp", hidden=(8, 0)), "hidden: expected widths above 0"),
        (lambda: analysis.profile(X, content=T, content_ceiling=0.0), "content_ceiling: expected above 0, found 0"),
        (lambda: analysis.profile(X, labels=K, bayes_accuracy=0.0), "bayes_accuracy: expected above 0, found 0"),
        (
            lambda: analysis.profile(X[None], content=T, content_ceiling=np.ones(2)),
            "content_ceiling: expected a number or 1, one a member, found 2",
        ),
        (
            lambda: analysis.profile(X, style=T, style_floor=np.zeros(3), style_ceiling=1.0),
            "style_floor: expected a number or 1, one a member, found 3",
        ),
        (lambda: analysis.total_variance(np.ma.masked_greater(X, 1.0)), "found a mask that hides some; drop those"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(call: Callable[[], Any], words: str):
    with pytest.raises(ValueError, match=words) as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "kind", [np.longdouble, ">f8", "read only", "unmasked"], ids=["long double", "big-endian", "read only", "unmasked"]
)
def test_arrays_of_every_kind_are_read(kind: Any):
    x = np.ma.masked_greater(X, 1e9) if kind == "unmasked" else X.copy() if kind == "read only" else X.astype(kind)
    x.flags.writeable = kind != "read only"
    assert analysis.effective_rank(x) == analysis.effective_rank(X)
    assert np.asarray(x == X).all()


NUMBERS = """
import numpy as np
from ssl_theory import analysis
g = np.random.default_rng(0)
x, t, k, one = g.normal(size=(60, 3)), g.normal(size=(60, 2)), np.arange(60) % 3, np.int64(1)
assert analysis.r2(x, t, seed=one) == analysis.r2(x, t, seed=1)
assert analysis.mixture_clustering(x, x, k, k.max() + 1) == analysis.mixture_clustering(x, x, k, 3)
assert analysis.mixture_clustering(x, x, k, np.array([2, 3])) == analysis.mixture_clustering(x, x, k, (2, 3))
for wrong in ({"seed": 0.5}, {"penalties": 1.0}):
    try:
        analysis.r2(x, t, **wrong)
    except ValueError as error:
        print(error)
"""


def test_whole_numbers_of_every_kind_are_seeds_and_counts():
    """As users call measures, without the types that tests check."""
    done = subprocess.run([sys.executable, "-c", NUMBERS], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "seed: expected a whole number, found 0.5; give 0, 1, ...",
        "penalties: expected a sequence, found 1.0; give (1.0,)",
    ]


def test_class_information_is_never_below_0():
    """Thirty classes of four rows, told apart almost without error: the probe's own error is larger than H."""
    k = np.repeat(np.arange(30), 4)
    x = 5 * np.eye(30)[k] + 0.1 * np.random.default_rng(1).normal(size=(120, 30))
    assert analysis.accuracy(x, k) > 0.5
    assert analysis.class_information(x, k) == 0
    assert analysis.class_information(X, np.arange(N) % 2, test=(X, np.arange(N) % 2 + 5)) == 0


@pytest.mark.parametrize("options", [{}, {"covariance": "spherical"}, {"restarts": 1, "regularisation": 0.1}])
def test_the_mixture_by_bic_is_the_one_that_clusters(options: dict[str, Any]):
    """Two long clusters: two components of full covariance, several of spherical ones."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(300, 2, generator=g) * torch.tensor([6.0, 0.3]) + 4.0 * (torch.arange(300) % 2)[:, None]
    k = torch.arange(300) % 2
    chosen = int(analysis.components_by_bic(x, (1, 2, 4, 6), **options))
    by_bic, by_hand = (analysis.mixture_clustering(x, x, k, count, **options) for count in ((1, 2, 4, 6), chosen))
    np.testing.assert_array_equal(by_bic, by_hand)
    assert (chosen > 2) == (options.get("covariance") == "spherical")


MEASURES = [name for name in analysis.__all__ if callable(getattr(analysis, name)) and name[0].islower()]


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_names_its_source(name: str):
    measure = getattr(analysis, name)
    room = sys.modules[measure.__module__].__doc__ or ""
    assert "Source" in measure.__doc__ or "Sources:" in room or re.search(r"\b(18|19|20)\d\d\b", measure.__doc__)
