"""A small MLP probe for all ensemble members at once: one of the two nonlinear probes of what a representation tells.

Two hidden layers, Adam with a warm-up and a cosine, and early stopping on a held-out fifth of train: of the weights
averaged over a few looks (Izmailov et al. 2018, arXiv 1803.05407) those with the lowest held-out loss predict, per
member and target, and never worse there than what it starts from.

It is no upper limit of what can be read. Columns have unit variance, but directions of small variance are learned last:
of style in representations whose loss ignores it, kernel ridge reads up to nine times the R^2 that this probe does, and
more steps read more (`speed/results/probes.md`). `nonlinear` takes the better of the two.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import hardshrink, silu

from ssl_theory.analysis.linear import affine

STEPS, BATCH, RATE = 560, 128, 2.5e-2
WARM_UP = 0.3
"""Share of the steps in which the rate rises. With 0.1, and a rate of 3e-2, digits (719 rows to fit on, 12 seeds) are
told by 0.952 +- 0.010, with 0.3 by 0.958 +- 0.007."""
TINY = 1e-12
"""The least slope of a cross-entropy: that of a posterior is known to some 1e-7, over the rows of a batch."""
AVERAGED = 4
"""Looks whose mean weights are tried. On 5,000 rows of 8 classes, 64 wide (`speed/analysis.py`), classes are told by
0.977, by the weights of one look (1) by 0.975, by logistic regression by 0.977."""


class Loss(NamedTuple):
    """A loss of outputs `(E, n, o)` against targets `(E, n, ...)`."""

    value: Callable[[Tensor, Tensor], Tensor]
    """Per member and target, `(E, t)`."""
    slope: Callable[[Tensor, Tensor], Tensor]
    """Gradient in the outputs of each member's mean over targets, `(E, n, o)`."""


def trained_predictions(
    train: Float[Tensor, "E n d"],
    target: Tensor,
    test: Float[Tensor, "E m d"],
    start: tuple[Float[Tensor, "E v o"], Float[Tensor, "E m o"]],
    held_out: Int[Tensor, " v"],
    kept: Int[Tensor, " f"],
    *,
    loss: Loss,
    generator: torch.Generator,
    hidden: Sequence[int] = (64, 64),
    steps: int = STEPS,
    batch: int = BATCH,
    rate: float = RATE,
    every: int = 20,
) -> Float[Tensor, "E m o"]:
    """Test outputs at the look of lowest held-out loss; what is looked at are mean weights of `AVERAGED` looks.

    All members share the initial weights and the order of batches, so each equals a lone run.

    Args:
        target: `(E, n, t)` numbers or `(E, n)` classes, as `loss` reads them.
        start: outputs on the held-out rows and on test that a step has to beat.
        held_out, kept: rows of train to stop on and to fit on.
        rate: the highest, reached after `WARM_UP` of the steps.
        every: steps between two looks at the held-out loss.
    """
    target = target.contiguous()  # or each batch of it would copy the whole
    weights = initial([train.shape[2], *hidden, start[0].shape[2]], train, generator)
    weights, flat = _side_by_side(weights)
    slopes, flat_slope = _side_by_side(weights)
    moments = [(torch.zeros_like(flat), torch.zeros_like(flat))]
    watched = (train.index_select(1, held_out), target.index_select(1, held_out))
    best = Best(loss.value(start[0], watched[1]), start[1], test)
    looks: deque[Tensor] = deque(maxlen=AVERAGED)
    for step, rows in enumerate(_batches(kept, min(batch, len(kept)), steps, generator), 1):
        _backward(weights, slopes, train.index_select(1, rows), target.index_select(1, rows), loss.slope)
        adam([flat], [flat_slope], moments, rate * _schedule(step, steps), step)
        if step % every == 0 or step == steps:
            looks.append(flat.clone())
            mean = _like(torch.stack(tuple(looks)).mean(0), weights)
            best.watch(step, loss.value(forward(mean, watched[0]), watched[1]), mean)
    return best.predictions()


def _side_by_side(tensors: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Copies of the tensors that lie one after the other in one, and that one: what is done to all is done at once."""
    flat = torch.cat([x.detach().flatten() for x in tensors])
    return _like(flat, tensors), flat


def _like(flat: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    """Parts of flat, of the shapes of the tensors and in their order."""
    parts = flat.split([x.numel() for x in tensors])
    return [part.view_as(x) for part, x in zip(parts, tensors, strict=True)]


def _schedule(step: int, steps: int) -> float:
    """Share of the highest rate at a step from 1 to steps: up in a line, then down half a cosine."""
    up = max(1, round(WARM_UP * steps))
    return step / up if step <= up else 0.5 * (1 + math.cos(math.pi * (step - up) / (steps - up + 1)))


@torch.no_grad()
def _backward(
    weights: list[Tensor],
    slopes: list[Tensor],
    x: Float[Tensor, "E n d"],
    target: Tensor,
    output_slope: Callable[[Tensor, Tensor], Tensor],
) -> None:
    """Write the gradient of the mean loss into slopes; by hand, as a narrow last layer is slow the usual way round."""
    inputs, sums = [x], []
    for w, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        sums.append(torch.bmm(inputs[-1], w).add_(b))
        inputs.append(silu(sums[-1]))
    slope = output_slope(affine(inputs[-1], weights[-2], weights[-1]), target)
    slopes[-2].copy_((slope.mT @ inputs[-1]).mT)
    torch.sum(slope, 1, keepdim=True, out=slopes[-1])
    for layer in range(len(sums) - 1, -1, -1):
        slope = torch.ops.aten.silu_backward(slope @ weights[2 * layer + 2].mT, sums[layer])
        torch.bmm(inputs[layer].mT, slope, out=slopes[2 * layer])
        torch.sum(slope, 1, keepdim=True, out=slopes[2 * layer + 1])


class Best:
    """Per member and target the step with the lowest held-out loss, and in the end its predictions on test.

    Weights are remembered as long as some target's best step is theirs, and applied to test once, for the members
    that ask for them.
    """

    most = 40  # steps remembered at most

    def __init__(
        self, loss: Float[Tensor, "E t"], outputs: Float[Tensor, "E m o"], test: Float[Tensor, "E m d"]
    ) -> None:
        self.lowest, self.outputs, self.test = loss, outputs.clone(), test
        self.at = torch.zeros(loss.shape, dtype=torch.int64, device=loss.device)  # 0: settled in outputs
        self.kept: dict[int, list[Tensor]] = {}

    def watch(self, step: int, loss: Float[Tensor, "E t"], weights: list[Tensor]) -> None:
        """Note where the loss at this step is the lowest so far."""
        better = loss < self.lowest
        if not bool(better.any()):
            return
        self.at[better], self.lowest = step, torch.minimum(loss, self.lowest)
        used = set(self.at.unique().tolist())
        self.kept = {s: w for s, w in self.kept.items() if s in used} | {step: [w.detach().clone() for w in weights]}
        if len(self.kept) > self.most:
            self.predictions()

    @torch.no_grad()
    def predictions(self) -> Float[Tensor, "E m o"]:
        """Test outputs at the best step so far."""
        for step, weights in self.kept.items():
            chosen = self.at == step
            rows = chosen.any(1)
            outputs = forward([w[rows] for w in weights], self.test[rows])
            self.outputs[rows] = torch.where(chosen[rows][:, None], outputs, self.outputs[rows])
        self.at.zero_()
        self.kept = {}
        return self.outputs


def initial(sizes: Sequence[int], like: Float[Tensor, "E n d"], generator: torch.Generator) -> list[Tensor]:
    """Weights (He et al. 2015) and biases with a leading axis E, equal over members."""
    parameters = []
    for fan_in, fan_out in pairwise(sizes):
        w = torch.randn(fan_in, fan_out, generator=generator) * math.sqrt(2 / fan_in)
        parameters += [w.to(like), torch.zeros(1, fan_out).to(like)]
    return [p.repeat(like.shape[0], 1, 1).requires_grad_() for p in parameters]


def forward(weights: list[Tensor], x: Float[Tensor, "E n d"]) -> Float[Tensor, "E n o"]:
    for w, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = torch.bmm(x, w).add_(b)  # baddbmm would first write b everywhere
        x = silu(x, inplace=not x.requires_grad)
    return affine(x, weights[-2], weights[-1])


@torch.no_grad()
def adam(
    weights: list[Tensor],
    slopes: Sequence[Tensor],
    moments: list[tuple[Tensor, Tensor]],
    rate: float,
    step: int,
    betas: tuple[float, float] = (0.9, 0.999),
) -> None:
    """One step of Adam (Kingma, Ba 2015, arXiv 1412.6980) in place, both corrections in the rate (end of section 2)."""
    unbiased = math.sqrt(1 - betas[1] ** step)
    for w, g, (first, second) in zip(weights, slopes, moments, strict=True):
        first.lerp_(g, 1 - betas[0])
        second.mul_(betas[1]).addcmul_(g, g, value=1 - betas[1])
        w.addcdiv_(first, second.sqrt().add_(1e-8 * unbiased), value=-rate * unbiased / (1 - betas[0] ** step))


def _batches(rows: Tensor, batch: int, steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    """`steps` batches of exactly `batch` rows each, epoch after epoch in new order."""
    left = steps
    while left > 0:
        order = rows[torch.randperm(len(rows), generator=generator).to(rows.device)]
        for chunk in order[: len(rows) // batch * batch].split(batch)[:left]:
            left -= 1
            yield chunk


def _squared_error(output: Float[Tensor, "E n t"], target: Float[Tensor, "E n t"]) -> Float[Tensor, "E t"]:
    return (output - target).square().mean(1)


def _squared_error_slope(output: Float[Tensor, "E n t"], target: Float[Tensor, "E n t"]) -> Float[Tensor, "E n t"]:
    """`2 (y - t)`, over rows and targets."""
    return (output - target).mul_(2 / target[0].numel())


def _cross_entropy(output: Float[Tensor, "E n C"], labels: Int[Tensor, "E n"]) -> Float[Tensor, "E 1"]:
    return torch.nn.functional.cross_entropy(output.mT, labels, reduction="none").mean(1, keepdim=True)


def _cross_entropy_slope(output: Float[Tensor, "E n C"], labels: Int[Tensor, "E n"]) -> Float[Tensor, "E n C"]:
    """Posterior less one at the true class, over rows.

    What is nearer to 0 than `TINY` is 0: where a network is sure, slopes fall below the least normal number, and
    products of such numbers take up to four times as long.
    """
    posterior, true = output.mT.softmax(1), labels[:, None]
    posterior.scatter_add_(1, true, torch.full_like(true, -1, dtype=posterior.dtype))
    return hardshrink(posterior.div_(labels.shape[1]), TINY).mT


SQUARED_ERROR = Loss(_squared_error, _squared_error_slope)
"""Mean squared error of each target."""
CROSS_ENTROPY = Loss(_cross_entropy, _cross_entropy_slope)
"""Mean cross-entropy, as one target."""
