"""A small MLP probe for all ensemble members at once: the nonlinear measure of what a representation tells.

Two hidden layers, Adam with a cosine schedule, and early stopping on a held-out fifth of train: the
predictions kept are those of the step with the lowest held-out loss, per member and target, and never worse
there than a linear probe's.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import silu

from ssl_theory.analysis.linear import affine

Loss = Callable[[Tensor, Tensor], Tensor]
"""Loss per member and target: (outputs (E, n, o), targets (E, n, ...)) -> (E, t)."""


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
    steps: int = 720,
    batch: int = 256,
    rate: float = 1e-2,
    every: int = 20,
) -> Float[Tensor, "E m o"]:
    """Test outputs at the step of lowest held-out loss.

    All members share the initial weights and the order of batches, so each equals a lone run.

    Args:
        target: `(E, n, t)` numbers or `(E, n)` classes, as `loss` reads them.
        start: outputs on the held-out rows and on test of the probe to begin with (a linear one).
        held_out, kept: rows of train to stop on and to fit on.
        every: steps between two looks at the held-out loss.
    """
    weights = initial([train.shape[2], *hidden, start[0].shape[2]], train, generator)
    weights, flat = _side_by_side(weights)
    slopes, flat_slope = _side_by_side(weights)
    moments = [(torch.zeros_like(flat), torch.zeros_like(flat))]
    watched = (train.index_select(1, held_out), target.index_select(1, held_out))
    best = Best(loss(start[0], watched[1]), start[1], test)
    for step, rows in enumerate(_batches(kept, min(batch, len(kept)), steps, generator), 1):
        _backward(weights, slopes, train.index_select(1, rows), target.index_select(1, rows), loss)
        adam([flat], [flat_slope], moments, rate * 0.5 * (1 + math.cos(math.pi * (step - 1) / steps)), step)
        if step % every == 0 or step == steps:
            best.watch(step, loss(forward(weights, watched[0]), watched[1]), weights)
    return best.predictions()


def _side_by_side(tensors: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Copies of the tensors that lie one after the other in one, and that one: what is done to all is done at once."""
    flat = torch.cat([x.detach().flatten() for x in tensors])
    parts = flat.split([x.numel() for x in tensors])
    return [part.view_as(x) for part, x in zip(parts, tensors, strict=True)], flat


@torch.no_grad()
def _backward(
    weights: list[Tensor], slopes: list[Tensor], x: Float[Tensor, "E n d"], target: Tensor, loss: Loss
) -> None:
    """Write the gradient of the mean loss into slopes; by hand, as a narrow last layer is slow the usual way round."""
    inputs, gates = [x], []
    for w, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        pre = torch.baddbmm(b, inputs[-1], w)
        gates.append(pre.sigmoid())
        inputs.append(pre.mul_(gates[-1]))
    slope = _output_slope(affine(inputs[-1], weights[-2], weights[-1]), target, loss)
    slopes[-2].copy_((slope.mT @ inputs[-1]).mT)
    torch.sum(slope, 1, keepdim=True, out=slopes[-1])
    for layer in range(len(gates) - 1, -1, -1):
        # (z s)' = s + z s (1 - s), s the logistic function of z.
        gate, out = gates[layer], inputs[layer + 1]
        slope = (slope @ weights[2 * layer + 2].mT).mul_(torch.addcmul(gate, out, 1 - gate))
        torch.bmm(inputs[layer].mT, slope, out=slopes[2 * layer])
        torch.sum(slope, 1, keepdim=True, out=slopes[2 * layer + 1])


def _output_slope(output: Float[Tensor, "E n o"], target: Tensor, loss: Loss) -> Float[Tensor, "E n o"]:
    output = output.requires_grad_()
    with torch.enable_grad():
        total = loss(output, target).mean(1).sum()
    return torch.autograd.grad(total, output)[0]


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
        x = silu(torch.baddbmm(b, x, w))
    return torch.baddbmm(weights[-1], x, weights[-2])


@torch.no_grad()
def adam(
    weights: list[Tensor],
    slopes: Sequence[Tensor],
    moments: list[tuple[Tensor, Tensor]],
    rate: float,
    step: int,
    betas: tuple[float, float] = (0.9, 0.999),
) -> None:
    """One step of Adam (Kingma, Ba 2015, arXiv 1412.6980) in place."""
    for w, g, (first, second) in zip(weights, slopes, moments, strict=True):
        first.lerp_(g, 1 - betas[0])
        second.lerp_(g.square(), 1 - betas[1])
        spread = (second / (1 - betas[1] ** step)).sqrt_().add_(1e-8)
        w.addcdiv_(first, spread, value=-rate / (1 - betas[0] ** step))


def _batches(rows: Tensor, batch: int, steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    """`steps` batches of exactly `batch` rows each, epoch after epoch in new order."""
    left = steps
    while left > 0:
        order = rows[torch.randperm(len(rows), generator=generator).to(rows.device)]
        for chunk in order[: len(rows) // batch * batch].split(batch)[:left]:
            left -= 1
            yield chunk


def squared_error(output: Float[Tensor, "E n t"], target: Float[Tensor, "E n t"]) -> Float[Tensor, "E t"]:
    """Mean squared error per target."""
    return (output - target).square().mean(1)


def cross_entropy(output: Float[Tensor, "E n C"], labels: Int[Tensor, "E n"]) -> Float[Tensor, "E 1"]:
    """Mean cross-entropy, as one target."""
    return torch.nn.functional.cross_entropy(output.mT, labels, reduction="none").mean(1, keepdim=True)
