"""Where memory does not suffice for a step: the networks take their rows a piece at a time, to the same gradients.

What fills memory are the activations that networks keep for the way back. In pieces they are computed again there
(checkpointing: Chen et al. 2016, arXiv 1604.06174), so that those of one piece are held at a time. The loss still sees
every row's output at once: the effective batch is the same, for losses that compare data points too (as in Gao et al.
2021, arXiv 2101.06983, for contrastive ones)."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ssl_theory.learners.memory import Buffer, Counter, Free
from ssl_theory.models import BatchNorm

Result = TypeVar("Result")
STATE = (Free, Buffer, Counter)  # no networks: called without input


def short_of_memory(error: BaseException) -> bool:
    """Whether memory did not suffice, on whatever device; the CPU's allocator says so in a plain RuntimeError."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    )


class Pieces:
    """The networks among the children of `modules`, undivided until memory runs out.

    Batch normalisation needs all rows at once, and so do networks that several processes share or that were compiled:
    with these (`able=False`) a want of memory is raised as it comes.
    """

    def __init__(self, modules: nn.ModuleDict, *, able: bool = True) -> None:
        self.modules = modules
        self.able = able and not any(isinstance(module, BatchNorm) for module in modules.modules())
        self.count, self.rows = 1, 0
        self.replaced = [module for module in modules.modules() if isinstance(module, Buffer | Counter)]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While it lasts, the networks of `modules` do what `count` says."""
        if not self.able:
            yield
            return
        networks = [(m, vars(m).get("forward")) for m in self.modules.children() if not isinstance(m, STATE)]
        for network, _ in networks:
            network.forward = partial(self._apply, network.forward)  # on the instance: names of parameters stay
        try:
            yield
        finally:
            for network, before in networks:
                del network.forward
                if before is not None:
                    network.forward = before

    def attempt(self, work: Callable[[], Result]) -> Result:
        """`work()`, which computes gradients; again with pieces half as large, from the same state, where memory ran
        out."""
        while True:
            state = self._state()
            try:
                return work()
            except (MemoryError, RuntimeError) as error:
                if not (short_of_memory(error) and self.able and self.count < self.rows):
                    raise
            # Here the error is gone, and with it what its traceback held.
            self.count *= 2
            self._restore(state)
            warnings.warn(
                f"out of memory: the networks take {self.rows} rows in {self.count} pieces from now on; the same "
                "batch and loss, computed more slowly",
                stacklevel=2,
            )

    def _apply(self, network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """A network `(E, rows, ...) -> (E, rows, ...)`."""
        self.rows = max(self.rows, x.shape[1])
        if self.count == 1:
            return network(x)
        pieces = x.tensor_split(min(self.count, x.shape[1]), dim=1)
        done = [checkpoint(network, piece, use_reentrant=False, preserve_rng_state=False) for piece in pieces]
        return torch.cat(done, dim=1)

    def _state(self) -> dict[nn.Module, Any]:
        """What a loss may replace (never in place): queues, banks, counts."""
        return {module: module.value if isinstance(module, Buffer) else module.count for module in self.replaced}

    def _restore(self, state: dict[nn.Module, Any]) -> None:
        for module, value in state.items():
            setattr(module, "value" if isinstance(module, Buffer) else "count", value)
        self.modules.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
