"""One training over several processes, a device each, through Lightning Fabric; and its mixed precision.

Every process draws the same whole batch and keeps every tensor whole. Only the networks are divided: each process
applies them to its own rows, and their outputs are gathered, with gradients, before the loss sees them. So a loss that
compares data points compares those of all processes, batch normalisation has the statistics of the whole batch, and
the numbers are those of one process, up to rounding. What is not divided is the drawing of data and the loss itself:
it pays where the networks are what costs (images).

>>> fabric = parallel.launch(devices=2)  # `python train.py` starts the second process itself
>>> fitted = fit(SimCLR(), world, steps=2000, seeds=range(10), fabric=fabric)
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch import distributed as dist

from ssl_theory.models.norm import BatchNorm

PRECISIONS = ("32-true", "bf16-mixed")


@runtime_checkable
class Fabric(Protocol):
    """What is used of `lightning_fabric.Fabric` (or `lightning.fabric.Fabric`), launched."""

    @property
    def world_size(self) -> int: ...
    @property
    def global_rank(self) -> int: ...
    @property
    def device(self) -> torch.device: ...
    def autocast(self) -> AbstractContextManager: ...


def launch(
    *, devices: int | str = "auto", precision: str = "32-true", accelerator: str = "auto", **options: Any
) -> Fabric:
    """A launched Fabric for `fit`: `devices` processes, networks in 32 bits or in "bf16-mixed".

    With more than one device the running script is started once more for each of the others. `options` are Fabric's
    (`num_nodes`, `strategy`); under `torchrun` or SLURM, processes that are already there are used.
    """
    try:
        from lightning_fabric import Fabric as Lightning
    except ImportError:
        raise ValueError("expected Lightning Fabric, found none; pip install 'ssl-theory[fabric]'") from None
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, found {precision!r}")
    wanted: Any = {"accelerator": accelerator, "devices": devices, "precision": precision}
    fabric = Lightning(**wanted, **options)
    fabric.launch()
    return fabric


class Ranks:
    """The processes of a run, of which this is number `rank` of `size`; without a Fabric it is alone.

    The objective is the mean of the processes' losses. Each has the whole batch's loss, so their mean is that loss,
    and its gradient is the sum over processes of the gradients of `loss / size`, whatever part of the networks each
    of them has computed.
    """

    def __init__(self, fabric: Fabric | None = None) -> None:
        self.fabric = fabric
        self.size = fabric.world_size if fabric else 1
        self.rank = fabric.global_rank if fabric else 0
        if self.size > 1 and not dist.is_initialized():
            raise ValueError("expected a launched Fabric, found one that is not; call fabric.launch() first")
        if fabric is not None:
            _require_precision(fabric)

    def precision(self, dtype: torch.dtype) -> str:
        """In words, so that no run goes on from a checkpoint of another precision."""
        with self.autocast():
            kind = self._device.type
            halved = f", networks in {torch.get_autocast_dtype(kind)}" if torch.is_autocast_enabled(kind) else ""
        return f"{dtype}{halved}"

    def autocast(self) -> AbstractContextManager:
        return self.fabric.autocast() if self.fabric else nullcontext()

    @contextmanager
    def sharing(self, modules: nn.ModuleDict) -> Iterator[None]:
        """While it lasts, each process applies the networks to its rows alone, and all see all rows' outputs."""
        if self.fabric is None:
            yield
            return
        networks = list(modules.children())
        norms = [module for module in modules.modules() if isinstance(module, BatchNorm)]
        for network in networks:
            network.forward = partial(self._apply, network.forward)  # on the instance: names of parameters stay
        for norm in norms:
            norm.pool = self._pooled if self.size > 1 else None
        try:
            yield
        finally:
            for network in networks:
                del network.forward
            for norm in norms:
                norm.pool = None

    def _apply(self, network: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """A network `(E, rows, ...) -> (E, rows, ...)`; what takes no input (a free parameter) is left alone."""
        if not inputs:
            return network()
        (x,) = inputs
        with self.autocast():
            y = network(self.own(x))
        return self.gather(y.to(x.dtype))  # losses keep the precision of the run

    def own(self, x: Tensor) -> Tensor:
        """This process's rows (axis 1) of a whole batch."""
        if x.shape[1] % self.size:
            raise ValueError(f"expected rows that divide among {self.size} processes, found {x.shape[1]}; add some")
        return x.chunk(self.size, 1)[self.rank]

    def gather(self, x: Tensor) -> Tensor:
        """The rows (axis 1) of all processes, in order of their ranks; the gradient of each row is summed over them."""
        return _Gather.apply(x, self.rank) if self.size > 1 else x

    def _pooled(self, mean: Tensor, variance: Tensor, count: int) -> tuple[Tensor, Tensor, int]:
        """Mean, biased variance and count of all processes together, from those of equal parts."""
        means, variances = self.gather(torch.stack([mean, variance])[:, None])
        return means.mean(0), variances.mean(0) + means.var(0, correction=0), count * self.size

    @torch.no_grad()
    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sum the gradients over processes, all in one message."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.size == 1 or not gradients:
            return
        joined = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(joined)
        torch._foreach_copy_(
            gradients,
            [part.view_as(g) for part, g in zip(joined.split([g.numel() for g in gradients]), gradients, strict=True)],
        )

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        if self.size == 1:
            return flag
        said = torch.tensor(int(flag), device=self._device)
        dist.all_reduce(said, dist.ReduceOp.MAX)
        return bool(said)

    def require_agreement(self, **said: Any) -> None:
        """Refuse processes that are not about to do the same; also the point at which they wait for each other."""
        if self.size == 1:
            return
        for name, value in said.items():
            digest = int.from_bytes(hashlib.sha256(repr(value).encode()).digest()[:7], "big")
            seen = torch.full((self.size,), digest, device=self._device)
            dist.all_gather(list(seen.unbind()), seen[self.rank].clone())
            if (seen != digest).any():
                raise ValueError(f"expected the same {name} in every process, found another; give all the same")

    @property
    def _device(self) -> torch.device:
        return self.fabric.device if self.fabric else torch.device("cpu")


ALONE = Ranks()


class _Gather(torch.autograd.Function):
    """Concatenation over processes along axis 1, equal in all; its transpose sums over them and takes one's own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rank: int) -> Tensor:
        ctx.rank = rank
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size(), 1)[ctx.rank], None


def _require_precision(fabric: Fabric) -> None:
    """Gradient scaling (16-mixed) would stop all members for one; 16- and 64-true would change what losses work in."""
    kind, usual = fabric.device.type, torch.get_default_dtype()
    with fabric.autocast():
        halved = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16
        changed = torch.get_default_dtype() != usual
    if halved or changed:
        raise ValueError(f"expected a Fabric of precision {' or '.join(PRECISIONS)}, found another; pass one of these")
