"""A loss, forward and backward, as one compiled program; on a GPU as CUDA graphs, which small networks need most."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from ssl_theory.learners.memory import Buffer

MOST = 1000  # programs that a process keeps
Loss = Callable[..., Tensor]  # (x, noise, label=...) -> (E,)


class Compiled:
    """A loss compiled at its first call; where that fails, the loss as it is, with a warning.

    Any failure counts, since compilers raise many kinds: a fault of the loss itself comes again without the compiler.
    """

    def __init__(self, loss: Loss, kept: Sequence[Buffer] = ()) -> None:
        self.plain, self.kept = loss, kept  # what the loss replaces: queues, banks, centres
        self.call: Loss = torch.compile(loss, mode="reduce-overhead")
        self.proven = False

    def __call__(self, x: Tensor, noise: Tensor | None, **label: Tensor) -> Tensor:
        if self.proven:
            if not x.is_cuda:
                return self.call(x, noise, **label)
            for buffer in self.kept:  # a graph's next run writes where what it made before lies
                buffer.value = buffer.value.clone()
            torch.compiler.cudagraph_mark_step_begin()
            return self.call(x, noise, **label)
        try:
            with _unlimited():
                losses = self.call(x, noise, **label)
        except Exception as error:
            warnings.warn(f"not compiled ({type(error).__name__}: {_first_line(error)}); runs as it is", stacklevel=2)
            self.call, losses = self.plain, self.plain(x, noise, **label)
        self.proven = True
        return losses


@contextmanager
def _unlimited() -> Iterator[None]:
    """While it lasts torch compiles for any number of learners; of itself it runs all after the eighth as they are."""
    import torch._dynamo  # takes seconds

    with torch._dynamo.config.patch(recompile_limit=MOST):
        yield


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "")[:200]
