"""k-nearest-neighbour classification, batched over ensemble members, for every k of a grid at once."""

from collections.abc import Iterator, Sequence

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
    rows: int = 256,
) -> Int[Tensor, "K m"]:
    """Majority class among the k nearest train rows (Euclidean), for each k; of equals the smallest class.

    Test rows are taken `rows` at a time, so that memory stays at `rows * n` distances.
    """
    parts = []
    for distance in _distances(train, test, rows):
        nearest = labels[_nearest(distance, max(ks))]
        parts.append(torch.stack([_majority(nearest[:, :k], classes) for k in ks]))
    return torch.cat(parts, 1)


def _majority(labels: Int[Tensor, "m k"], classes: int) -> Int[Tensor, " m"]:
    votes = torch.zeros(len(labels), classes, dtype=torch.int64, device=labels.device)
    return votes.scatter_add_(1, labels, torch.ones_like(labels)).argmax(1)


def _distances(train: Float[Tensor, "n d"], test: Float[Tensor, "m d"], rows: int) -> Iterator[Float[Tensor, "b n2"]]:
    """`|x_i|^2 - 2 x_i . y` of each test row y, `rows` at a time: squared distances up to what changes no order.

    One product, in which |x_i|^2 is a coordinate; columns beyond n are far away and make whole groups of them. Each
    yield overwrites the one before: fresh memory would cost as much as the product.
    """
    centre = train.mean(0)
    train, test = train - centre, test - centre
    far = torch.finfo(train.dtype).max / 4
    train = torch.cat([-2 * train, train.square().sum(1, keepdim=True)], 1)
    padding = torch.tensor([[0.0] * test.shape[1] + [far]]).to(train)
    train = torch.cat([train, padding.expand(-len(train) % (GROUP * GROUP // 2), -1)])
    space = train.new_empty(min(rows, len(test)), len(train))
    for chunk in torch.cat([test, torch.ones_like(test[:, :1])], 1).split(rows):
        yield torch.mm(chunk, train.T, out=space[: len(chunk)])


def _nearest(distance: Float[Tensor, "m n"], k: int, group: int = GROUP, *, ordered: bool = True) -> Int[Tensor, "m k"]:
    """Columns of the k least entries of each row, least first if ordered.

    They lie in the k groups of columns with the least minima, which are found in the same way.
    """
    count = distance.shape[1] // group
    if group == 2 or count < 2 * k or distance.shape[1] % group:
        return distance.topk(k, largest=False, sorted=ordered).indices
    groups = _nearest(distance.unflatten(1, (group, count)).amin(1), k, group // 2, ordered=False)
    within = count * torch.arange(group, device=distance.device)
    columns = (groups[:, None] + within[:, None]).flatten(1)
    return columns.gather(1, distance.gather(1, columns).topk(k, largest=False, sorted=ordered).indices)


def chosen_neighbours(
    train: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    classes: int,
    held_out: Int[Tensor, " v"],
    kept: Int[Tensor, " f"],
    ks: Sequence[int],
) -> int:
    """The k with the highest accuracy on the held-out rows of train; the smallest of equals."""
    usable = [k for k in ks if k <= len(kept)]
    if not usable:
        raise ValueError(f"ks: expected some k <= {len(kept)} fitted rows, found {tuple(ks)}; give a smaller k")
    guesses = neighbour_predictions(train[kept], labels[kept], train[held_out], classes, usable)
    return usable[int((guesses == labels[held_out]).float().mean(1).argmax())]
