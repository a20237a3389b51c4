"""Draws of representations for the tests of losses: float64 throughout."""

import torch
from hypothesis import strategies as st
from torch import Tensor

vectors = st.integers(0, 2**31 - 1)  # seeds


def gaussian(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Standard normal numbers of a given seed."""
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


POINTS, VIEWS, SIZES = st.integers(2, 6), st.integers(2, 4), st.integers(1, 4)


@st.composite
def draws(draw, n=POINTS, J=VIEWS, d=SIZES):
    """Representations `(n, J, d)`, with or without an ensemble axis in front, of various sizes and scales."""
    batch = draw(st.sampled_from([(), (2,)]))
    shape = (*batch, draw(n), draw(J), draw(d))
    return gaussian(*shape, seed=draw(vectors), scale=draw(st.sampled_from([0.1, 1, 5])))


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-10) -> None:
    """Equality to a tolerance, relative beyond magnitude one."""
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
