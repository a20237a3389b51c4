"""k-nearest-neighbour classification, batched over ensemble members, for every k of a grid at once."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

NEIGHBOURS = (1, 3, 5, 11, 21, 51)
GROUP = 8  # columns


def neighbour_predictions(
    train: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    test: Float[Tensor, "m d"],
    classes: int,
    ks: Sequence[int],
    *,
    rows: int = 512,
) -> Int[Tensor, "K m"]:
    """Majority class among the k nearest train rows (Euclidean), for each k; of equals the smallest class.

    Both are expected centred, as `halves.standardised` leaves them: an offset common to all rows costs digits.
    Test rows are taken `rows` at a time, so that memory stays at `rows * n` distances and `m * max(ks)` neighbours.
    """
    found = [_nearest(distance, max(ks), ordered=len(ks) > 1) for distance in _distances(train, test, rows)]
    nearest = labels.take(torch.cat(found))
    return torch.stack([_majority(nearest[:, :k], classes) for k in ks])


def _majority(labels: Int[Tensor, "m k"], classes: int) -> Int[Tensor, " m"]:
    votes = torch.zeros(len(labels), classes, dtype=torch.int64, device=labels.device)
    return votes.scatter_add_(1, labels, torch.ones_like(labels)).argmax(1)


def _distances(train: Float[Tensor, "n d"], test: Float[Tensor, "m d"], rows: int) -> Iterator[Float[Tensor, "b n2"]]:
    """`|x_i|^2 / 2 - x_i . y` of each test row y, `rows` at a time: half squared distances up to what changes no order.

    One product, in which |x_i|^2 / 2 is a coordinate; columns beyond n are far away and make whole groups of them. Each
    yield overwrites the one before: fresh memory would cost as much as the product.
    """
    n, d = train.shape
    points = train.new_zeros(d + 1, n + -n % (GROUP * GROUP // 2))
    points[:d, :n], points[d, :n] = train.T, train.square().sum(1) / 2
    points[d, n:] = torch.finfo(train.dtype).max / 4
    space = train.new_empty(min(rows, len(test)), points.shape[1])
    for chunk in torch.cat([-test, torch.ones_like(test[:, :1])], 1).split(rows):
        # 128 rows a product: a larger one is slower.
        for some, out in zip(chunk.split(128), space[: len(chunk)].split(128), strict=True):
            torch.mm(some, points, out=out)
        yield space[: len(chunk)]


def _nearest(distance: Float[Tensor, "m n"], k: int, *, ordered: bool = True) -> Int[Tensor, "m k"]:
    """Columns of the k least entries of each row, least first if ordered."""
    if distance.device.type != "cpu":
        return distance.topk(k, largest=False, sorted=ordered).indices
    values = distance.numpy()
    found = _least(values, k, GROUP)
    if ordered:
        found = np.take_along_axis(found, values.take(found).argsort(1), 1)
    return torch.from_numpy(found - _starts(*values.shape))


def _least(values: Float[np.ndarray, "m n"], k: int, group: int = 1) -> Int[np.ndarray, "m k"]:
    """Positions in `values.ravel()` of the k least entries of each row.

    They lie in the k groups of columns with the least minima, which are found in the same way. numpy sorts short rows
    several times faster than `topk` selects from them.
    """
    (m, n), count = values.shape, values.shape[1] // group
    if group > 2 and count >= 2 * k and n % group == 0:
        minima = values.reshape(m, group, count).min(1)
        first = _least(minima, k, group // 2) + _starts(m, n - count)
        among = (first[:, None] + count * np.arange(group)[:, None]).reshape(m, -1)
        return among.take(_least(values.take(among), k))
    found = np.flatnonzero(values <= np.sort(values, 1)[:, k - 1 : k])
    if len(found) == m * k:
        return found.reshape(m, k)
    return np.argpartition(values, k - 1, 1)[:, :k] + _starts(m, n)  # equals, of which only some are among the k


def _starts(m: int, n: int) -> Int[np.ndarray, "m 1"]:
    """Where each of m rows begins, when each is n long."""
    return n * np.arange(m)[:, None]


def chosen_neighbours(
    train: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    classes: int,
    held_out: Int[Tensor, " v"],
    kept: Int[Tensor, " f"],
    ks: Sequence[int],
) -> int:
    """The k with the highest accuracy on the held-out rows of train; the smallest of equals, in whichever order."""
    usable = sorted(k for k in ks if 1 <= k <= len(kept))
    if not usable:
        raise ValueError(f"ks: expected some k from 1 to {len(kept)}, the fitted rows; found {tuple(ks)}; give one")
    fitted, asked = train.index_select(0, kept), train.index_select(0, held_out)
    guesses = neighbour_predictions(fitted, labels[kept], asked, classes, usable)
    return usable[int((guesses == labels[held_out]).float().mean(1).argmax())]
