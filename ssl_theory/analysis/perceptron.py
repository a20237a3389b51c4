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
    moments = [(torch.zeros_like(w), torch.zeros_like(w)) for w in weights]
    watched = (train[:, held_out], target[:, held_out])
    best = Best(loss(start[0], watched[1]), start[1], test)
    for step, rows in enumerate(_batches(kept, min(batch, len(kept)), steps, generator), 1):
        with torch.enable_grad():
            total = loss(forward(weights, train[:, rows]), target[:, rows]).mean(1).sum()
        slopes = torch.autograd.grad(total, weights)
        adam(weights, slopes, moments, rate * 0.5 * (1 + math.cos(math.pi * (step - 1) / steps)), step)
        if step % every == 0 or step == steps:
            with torch.no_grad():
                best.watch(step, loss(forward(weights, watched[0]), watched[1]), weights)
    return best.predictions()


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
