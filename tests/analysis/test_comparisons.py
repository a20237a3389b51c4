"""Representations of many methods and seeds, compared with each other."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ssl_theory.analysis import cka, pairwise, procrustes
from ssl_theory.analysis.ensemble import Array


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def stacks() -> dict[str, Tensor]:
    """Two rotated copies, and an independent representation that is wider and has one member."""
    first, other = normal(2, 400, 3)
    turns = torch.linalg.qr(normal(2, 3, 3, seed=5))[0]
    return {"a": 2 * first @ turns + 1, "b": torch.cat([other, other], 1)}


def test_rotated_copies_are_one_and_others_are_apart():
    rows, similar = pairwise(cka, stacks())
    assert rows == [("a", 0), ("a", 1), ("b", 0)]
    assert torch.equal(similar, similar.T)
    torch.testing.assert_close(similar.diagonal(), torch.ones(3, dtype=torch.float64))
    assert similar[0, 1] == pytest.approx(1)
    assert (similar[:2, 2] < 0.05).all()
    apart = pairwise(procrustes, stacks())[1]
    torch.testing.assert_close(apart.diagonal(), torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)
    assert apart[0, 1] == pytest.approx(0, abs=1e-9)
    assert (apart[:2, 2] > 0.9).all()


def test_one_stack_compares_its_members_in_its_kind():
    stack = stacks()["a"]
    rows, matrix = pairwise(cka, stack.numpy())
    assert rows == [("", 0), ("", 1)]
    assert isinstance(matrix, np.ndarray)
    np.testing.assert_allclose(matrix, 1)
    stack[1, 0, 0] = torch.nan
    assert pairwise(cka, stack)[1].isnan().tolist() == [[False, True], [True, True]]


def test_bad_input_is_one_line():
    first = stacks()["a"]
    for bad, message in (({}, "found none"), ({"a": first, "b": first[:, 1:]}, "second: expected members and rows")):
        with pytest.raises(ValueError, match=message) as error:
            pairwise(cka, bad)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("measure", [cka, procrustes])
def test_a_collapsed_member_is_seen_in_the_precision_it_was_given_in(measure: Callable[[Array, Array], Any]):
    """In single precision a constant is noise in the seventh digit, which is no representation to be like another."""
    stack = stacks()["a"].float()
    stack[0] = 3.7 * (1 + 1e-7 * normal(400, 3))
    assert len(stack[0].unique()) > 1
    for given in (stack, stack.numpy(), {"collapsed": stack[:1], "other": stacks()["a"][1]}):
        assert np.isnan(np.asarray(pairwise(measure, given)[1])).tolist() == [[True, True], [True, False]]
