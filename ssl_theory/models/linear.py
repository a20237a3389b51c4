"""The ensemble's affine layer: E independent linear maps applied as one batched matrix product."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

Seed = int | torch.Generator


def generators(seeds: Sequence[Seed]) -> list[torch.Generator]:
    """One generator a member: an integer seeds a new CPU generator, a generator is passed through.

    Modules built one after another for the same members share their generators, so that the second module
    does not repeat the numbers of the first.
    """
    if len(seeds) == 0:
        raise ValueError("an ensemble needs at least one seed, found none; pass e.g. seeds=range(10)")
    return [seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed) for seed in seeds]


def uniform(shape: Sequence[int], bound: float, members: Sequence[torch.Generator]) -> Float[Tensor, "E ..."]:
    """`U(-bound, bound)` of the given shape for each member, drawn from that member's generator alone."""
    return torch.stack([torch.empty(*shape).uniform_(-bound, bound, generator=g) for g in members])


class Affine(torch.autograd.Function):
    """`y = x W^T + b`, batched, as `baddbmm` has it, and the same gradients.

    That of the weight is laid out as the weight is. Autograd would compute its transpose, which is copied row by row
    before an optimiser can have it: for wide layers as much time as a matrix product.
    """

    @staticmethod
    def forward(
        x: Float[Tensor, "E n inputs"],
        weight: Float[Tensor, "E outputs inputs"],
        bias: Float[Tensor, "E 1 outputs"] | None,
    ) -> Float[Tensor, "E n outputs"]:
        return torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias, x, weight.mT)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, *gradients: Float[Tensor, "E n outputs"]) -> tuple[Tensor | None, ...]:
        (x, weight), (gradient,), needed = ctx.saved_tensors, gradients, ctx.needs_input_grad
        return (
            torch.bmm(gradient, weight) if needed[0] else None,
            torch.bmm(gradient.mT, x) if needed[1] else None,
            gradient.sum(1, keepdim=True) if needed[2] else None,
        )


class Linear(nn.Module):
    """`y_e = x_e W_e^T + b_e` for E members at once: `(E, n, in) -> (E, n, out)`.

    The weight is `(E, out, in)`, the bias `(E, 1, out)`; both start as `U(-1/sqrt(in), 1/sqrt(in))`, the law
    of `torch.nn.Linear`, member e from its own seed alone.
    """

    def __init__(self, inputs: int, outputs: int, seeds: Sequence[Seed], *, bias: bool = True) -> None:
        super().__init__()
        members, bound = generators(seeds), inputs**-0.5
        self.weight = nn.Parameter(uniform((outputs, inputs), bound, members))
        self.bias = nn.Parameter(uniform((1, outputs), bound, members)) if bias else None

    def forward(self, x: Float[Tensor, "E n inputs"]) -> Float[Tensor, "E n outputs"]:
        device = x.device.type
        given: tuple[Tensor | None, ...] = (x, self.weight, self.bias)
        known = torch.amp.is_autocast_available(device)  # not of tensors without data, by which arithmetic is counted
        if known and torch.is_autocast_enabled(device):  # which does not look into functions of one's own
            half = torch.get_autocast_dtype(device)
            given = tuple(None if each is None else each.to(half) for each in given)
        y: Tensor = Affine.apply(*given)
        return y

    def extra_repr(self) -> str:
        members, outputs, inputs = self.weight.shape
        return f"members={members}, in={inputs}, out={outputs}, bias={self.bias is not None}"
