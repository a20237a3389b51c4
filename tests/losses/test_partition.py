"""Log-partition functions: tile by tile as from the whole matrix, from exponentials as from logarithms."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssl_theory.losses import critics, partition
from ssl_theory.losses.contrastive import info_nce
from ssl_theory.losses.partition import cross_partition, self_partition, without_diagonal
from ssl_theory.losses.views import unit
from tests.losses.draws import close, draws, gaussian


@pytest.mark.parametrize("chunk", [None, 1, 4])
@pytest.mark.parametrize("critic", ["cosine", "dot", "distance", lambda a, b: torch.tanh(a @ b.mT)])
@pytest.mark.parametrize("positives", [True, False])
def test_tiles_sum_to_the_whole_matrix(critic, chunk, positives, monkeypatch):
    """Values and gradients are those of log-sum-exp over all scores, for tiles of 9 numbers, small scores and large."""
    monkeypatch.setattr(partition, "SMALLEST_TILE", 9)
    monkeypatch.setattr(partition, "TILE", {"cpu": 9})
    a, b = (gaussian(2, 1, 7, 3, seed=seed).requires_grad_() for seed in (0, 1))
    weights = [gaussian(2, 1, 7, seed=seed) for seed in (2, 3, 4, 5)]
    for temperature in (0.5, 0.02):  # exponentials, logarithms
        score = critics.scorer(critic, temperature)
        crossed = cross_partition(score, a, b, two_sided=True, chunk=chunk, positives=positives)
        found = [*crossed, self_partition(score, a, chunk=chunk)]
        scores, own = score(a, b), without_diagonal(score(a, a))
        summed = scores if positives else without_diagonal(scores)
        expected = [scores.diagonal(0, -2, -1), summed.logsumexp(-1), summed.logsumexp(-2), own.logsumexp(-1)]
        for of_found, of_expected in zip(found, expected, strict=True):
            close(of_found, of_expected)
        gradients = [
            torch.autograd.grad(sum((w * v).sum() for w, v in zip(weights, values, strict=True)), (a, b))
            for values in (found, expected)
        ]
        for of_found, of_expected in zip(*gradients, strict=True):
            close(of_found, of_expected)


@given(draws(J=st.just(2)), st.sampled_from([0.02, 0.03125, 0.2, 1.0]), st.booleans())
def test_a_temperature_that_is_a_tensor_gives_the_same_loss(z, temperature, known):
    """Tensors on the CPU are looked at, on a device they are not: both ways of summing agree."""
    alike = critics.scorer("cosine", torch.tensor(temperature))
    assert alike.largest == pytest.approx(1 / temperature)
    results = []
    for tau in (temperature, torch.tensor(temperature)):
        leaf = z.clone().requires_grad_()
        with pytest.MonkeyPatch.context() as patch:
            if isinstance(tau, torch.Tensor) and not known:
                patch.setattr(critics, "_largest", lambda _: None)
            value = info_nce(leaf, temperature=tau)
        results.append((value.detach(), torch.autograd.grad(value.sum(), leaf)[0]))
    close(results[0][0], results[1][0])
    close(results[0][1], results[1][1], 1e-9)


@pytest.mark.parametrize("temperature", [0.03125, 0.0313])
def test_the_smallest_temperature_of_exponentials_is_safe_in_single_precision(temperature):
    z = torch.cat([unit(gaussian(3, 2, 4)), -unit(gaussian(3, 2, 4))]).float()
    assert critics.scorer("cosine", temperature).largest <= partition.LARGEST_EXPONENT
    single, double = (info_nce(v, temperature=temperature) for v in (z, z.double()))
    close(single.double(), double, 1e-5)


@pytest.mark.parametrize("negatives", ["all", "other"])
def test_with_a_chunk_memory_is_linear_in_the_number_of_points(negatives):
    """Nothing of the size of the scores is kept for the gradient; no tile has more numbers than the rows of a chunk."""

    def kept(n, chunk):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            info_nce(gaussian(n, 2, 3).requires_grad_(), negatives=negatives, chunk=chunk)
        return sum(sizes)

    assert kept(60, 4) == pytest.approx(2 * kept(30, 4), rel=0.2)
    assert kept(60, None) > 2.5 * kept(30, None)
    points = gaussian(2, 50, 3)
    tiles = list(partition._tiles(points, points, 4, symmetric=negatives == "all"))
    assert max((i.stop - i.start) * (j.stop - j.start) for i, j in tiles) <= 4 * 50


def test_no_bound_is_claimed_for_scores_that_may_be_large_or_unknown():
    for critic, temperature in (("dot", 1.0), ("distance", 1.0), ("cosine", torch.tensor(0.0)), (torch.dot, 1.0)):
        assert critics.scorer(critic, temperature).largest is None
    assert critics.scorer("cosine", torch.empty(2, device="meta")).largest is None
    assert critics.scorer("cosine", torch.tensor([0.5, 0.1])).largest == pytest.approx(10)
