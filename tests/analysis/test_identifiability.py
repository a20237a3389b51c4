"""Identifiability scores on latents that are recovered up to a known map."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import spearmanr
from torch import Tensor

from ssl_theory.analysis.identifiability import affine_r2, block_r2, dci, mcc


def latents(n: int = 600, t: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(n, t, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mixing(t: int = 4) -> Tensor:
    return torch.linalg.qr(latents(t, t, seed=3))[0]


Z = latents()
RECOVERED = {
    # name: (representation, affine R^2, MCC, Spearman MCC), each a range
    "itself": (Z, (0.999, 1), (0.999, 1), (0.999, 1)),
    "permuted, signs, scales": (
        Z[:, [2, 0, 3, 1]] * torch.tensor([-1.0, 5, 1e-3, -7]),
        (0.999, 1),
        (0.999, 1),
        (0.999, 1),
    ),
    "monotone": (Z.exp() * torch.tensor([1.0, -1, 1, 1]), (0.2, 0.85), (0.6, 0.9), (0.999, 1)),
    "mixed": (Z @ mixing(), (0.999, 1), (0.3, 0.9), (0.3, 0.9)),
    "half": (Z[:, :2], (0.49, 0.51), (0.49, 0.51), (0.49, 0.51)),
    "unrelated": (latents(seed=9), (-0.05, 0.05), (0.0, 0.12), (0.0, 0.12)),
    "constant": (torch.ones(600, 3), (-0.05, 0.05), (0, 0), (0, 0)),
}


@pytest.mark.parametrize("name", RECOVERED)
def test_known_recoveries(name: str):
    r, affine, pearson, spearman = RECOVERED[name]
    assert affine[0] <= affine_r2(r, Z) <= affine[1] + 1e-9
    assert pearson[0] <= mcc(r, Z) <= pearson[1] + 1e-9
    assert spearman[0] <= mcc(r, Z, rank=True) <= spearman[1] + 1e-9


def test_blocks_are_scored_by_name():
    style = latents(seed=4)
    found = block_r2(torch.cat([Z @ mixing(), 0.5**0.5 * latents(seed=5)], 1), {"content": Z, "style": style})
    assert found["content"] > 0.99
    assert abs(found["style"]) < 0.05
    stack = block_r2(torch.stack([Z, style]), {"content": Z, "style": torch.stack([style, style]), "one": Z[:, 0]})
    assert stack["content"].tolist() == pytest.approx([1, 0], abs=0.05)
    assert stack["style"].tolist() == pytest.approx([0, 1], abs=0.05)
    assert stack["one"].tolist() == pytest.approx([1, 0], abs=0.05)
    assert block_r2(Z.square() * Z.sign(), {"z": Z}, kind="mlp", steps=300)["z"] > 0.95


def test_dci_of_known_cases():
    assert dci(Z * torch.tensor([1.0, -9, 2, 1]), Z) == pytest.approx((1, 1, 1), abs=0.02)
    mixed = dci(Z @ torch.tensor([[1.0, 1, 0, 0], [1, -1, 0, 0], [0, 0, 1, 1], [0, 0, 1, -1]], dtype=torch.float64), Z)
    assert mixed.informativeness > 0.99
    # Each coordinate serves two latents of four: 1 - log 2 / log 4.
    assert mixed.disentanglement == pytest.approx(0.5, abs=0.05)
    # Two coordinates for one latent: still disentangled, no longer complete.
    twice = dci(torch.cat([Z, Z], 1), Z)
    assert twice.disentanglement > 0.97
    assert twice.completeness == pytest.approx(1 - np.log(2) / np.log(8), abs=0.03)


def test_members_and_kinds():
    stack = torch.stack([Z, Z @ mixing(), Z])
    stack[2, 0, 0] = torch.inf
    for found in (mcc(stack, Z), affine_r2(stack, Z), *dci(stack, Z)):
        assert found.isnan().tolist() == [False, False, True]
    assert isinstance(mcc(stack.numpy(), Z.numpy()), np.ndarray)
    assert mcc(stack, stack.nan_to_num(0, 0))[0] == pytest.approx(1)
    with pytest.raises(ValueError, match="latents: expected"):
        mcc(Z, Z[:10])


def test_ranks_share_ties_as_spearman_does():
    """Of a few levels only, and of a constant, whose rows in any other order are the same data."""
    g = torch.Generator().manual_seed(0)
    r, z = torch.randint(4, (2, 200, 3), generator=g).double(), torch.randint(3, (200, 2), generator=g).double()
    r[0] = (r[0] + z[:, :1]).round()
    for member, found in zip(r, mcc(r, z, rank=True), strict=True):
        table = np.abs(spearmanr(member, z).statistic[:3, 3:])
        rows, columns = linear_sum_assignment(table, maximize=True)
        assert float(found) == pytest.approx(table[rows, columns].mean(), abs=1e-12)
    order = torch.randperm(200, generator=g)
    assert mcc(r[:, order], z[order], rank=True).tolist() == pytest.approx(mcc(r, z, rank=True).tolist(), abs=1e-12)
    for constant in (torch.full((200, 3), 3.7), torch.zeros(200, 3)):
        assert mcc(constant, z, rank=True) == 0
        assert mcc(r[0], constant.double(), rank=True) == 0


def test_blocks_that_do_not_fit_are_named_in_one_line():
    for blocks, message in [
        ({}, "blocks: expected one block of latents or more"),
        ({"content": Z, "style": Z[:10]}, "style: expected .* n = 600"),
        ({"style": torch.stack([Z, Z])}, "style: expected .* E = 1"),
    ]:
        with pytest.raises(ValueError, match=message) as error:
            block_r2(Z, blocks)
        assert "\n" not in str(error.value)
