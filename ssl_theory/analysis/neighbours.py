"""k-nearest-neighbour classification, batched over ensemble members, for every k of a grid at once."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

NEIGHBOURS = (1, 3, 5, 11, 21, 51)


def neighbour_predictions(
    train: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    test: Float[Tensor, "m d"],
    classes: int,
    ks: Sequence[int],
    *,
    rows: int = 1024,
) -> Int[Tensor, "K m"]:
    """Majority class among the k nearest train rows (Euclidean), for each k; the nearest breaks ties.

    Test rows are taken `rows` at a time, so that memory stays at `rows * n` distances.
    """
    at = torch.as_tensor(ks, device=train.device) - 1
    parts = []
    for chunk in test.split(rows):
        nearest = torch.cdist(chunk, train).topk(int(at.max()) + 1, largest=False).indices
        votes = torch.nn.functional.one_hot(labels[nearest], classes).float()
        # Nearer neighbours weigh a trifle more, by less than one vote in all: this breaks ties and nothing
        # else.
        votes = votes * (1 - 1e-4 * torch.arange(votes.shape[1], device=votes.device)[:, None] / votes.shape[1])
        parts.append(votes.cumsum(1)[:, at].argmax(-1))
    return torch.cat(parts).T


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
