"""Information that a probe reads: Barber-Agakov lower bounds from held-out probes, for learned representations.

`I(r; t) >= H(t) + E log q(t | r)` holds for every probe q, evaluated on rows it was not fitted on; what the
probe cannot read is missing. For `I(r; s | k)` use the chain rule: information of `(r, one-hot k)` about s
less that of k alone.
"""

from typing import Any

import torch

from ssl_theory.analysis.ensemble import Array, Score, answer
from ssl_theory.analysis.probes import held_out_logits, held_out_predictions


def class_information(representation: Array, labels: Array, *, kind: str = "linear", **probe: Any) -> Score:
    """`H(k) + E log q(k|r)` in nats, at most H(k): 0 when r tells nothing of the class.

    H(k) is that of the class frequencies on the scored half. May fall a little below 0, by the probe's own
    error.

    Args:
        representation: `(n, d)` or `(E, n, d)`, rows independent.
        labels: `(n,)` or `(E, n)`.
        kind: "linear" or "mlp".
        probe: `test`, `seed`, ... of `probes.accuracy`.
    """
    logits, truth, keep = held_out_logits(representation, labels, kind=kind, **probe)
    frequency = torch.nn.functional.one_hot(truth, logits.shape[2]).double().mean(1)
    entropy = -torch.special.xlogy(frequency, frequency).sum(1)
    loss = torch.nn.functional.cross_entropy(logits.double().mT, truth, reduction="none").mean(1)
    return answer(entropy - loss, representation, keep)


def gaussian_target_information(representation: Array, target: Array, *, kind: str = "linear", **probe: Any) -> Score:
    """`1/2 sum_i log Var(t_i) / mse_i` in nats: a lower bound of I(r; t) for t with *independent Gaussian* coordinates.

    q is a Gaussian about the probe's prediction, its variance the held-out error. Equals the truth for
    jointly Gaussian r and t, when the t_i are independent given r as well.

    Args:
        representation: `(n, d)` or `(E, n, d)`, rows independent.
        target: `(n, t)` or `(E, n, t)`.
        kind: "linear", "mlp" or "kernel".
        probe: `test`, `seed`, ... of `probes.r2`.
    """
    predicted, truth, keep = held_out_predictions(representation, target, kind=kind, **probe)
    error = (predicted - truth).square().mean(1)
    ratio = truth.var(1, correction=0) / error
    # A probe that is worse than the mean is replaced by the mean, which tells nothing.
    return answer(0.5 * ratio.clamp(min=1).log().sum(1), representation, keep)
