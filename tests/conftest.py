"""Tests run in float64 on the CPU unless told otherwise: `pytest --device cuda --dtype float32`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings

# New examples at every run on a developer's machine; the same ones on CI, so that a red run there can be repeated.
settings.register_profile(
    "ssl-theory",
    max_examples=25,
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ssl-theory")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="device the tests compute on (cpu, cuda)")
    parser.addoption("--dtype", default="float64", help="floating-point type of the tests (float64, float32)")


@contextmanager
def roughened() -> Iterator[None]:
    """Probes stop early, regressions far from their optimum and networks after 40 steps: how good they are is another
    test's matter."""
    from ssl_theory.analysis import perceptron

    trained = perceptron.trained_predictions

    @wraps(trained)
    def shortly(*given: Any, **how: Any) -> Any:
        return trained(*given, **how | {"steps": 40})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ssl_theory.analysis.logistic.TOLERANCE", 1e-2)
        patch.setattr(perceptron, "trained_predictions", shortly)
        yield


@pytest.fixture(scope="module")
def rough_probes() -> Iterator[None]:
    with roughened():
        yield


@pytest.fixture
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.config.getoption("--device"))


@pytest.fixture
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return getattr(torch, request.config.getoption("--dtype"))


@pytest.fixture
def generator(device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(0)
