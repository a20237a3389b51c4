"""What some learners carry from step to step without a gradient: moving averages of networks, and plain buffers."""

from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn


class Free(nn.Module):
    """A tensor `(E, ...)` trained by gradient (prototypes, centres of a prior); calling it gives its present value.

    Adam moves a parameter by about the learning rate a step, whatever its gradient. What has to go far is kept in units
    of `pace`, and so goes `pace` times as far.
    """

    def __init__(self, start: Tensor, pace: float = 1.0) -> None:
        super().__init__()
        self.value, self.pace = nn.Parameter(start / pace), pace

    def forward(self) -> Tensor:
        return self.value * self.pace


class Buffer(nn.Module):
    """A tensor `(E, ...)` that no gradient moves (queues, running means): assign `.value` to replace it."""

    value: Tensor

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", start)

    def forward(self) -> Tensor:
        return self.value


class Counter(nn.Module):
    """Counts its calls, 0 first; kept with the state of the networks, but on the host, where it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def forward(self) -> int:
        self.count += 1
        return self.count - 1

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.count)

    def set_extra_state(self, state: Tensor) -> None:
        self.count = int(state)


class Teacher(nn.Module):
    """An exponential moving average of networks, applied one after another (He et al. 2020, arXiv 1911.05722).

    Starts as a copy; `follow` moves it, `teacher <- m teacher + (1 - m) student`. Gives no gradient.
    """

    def __init__(self, networks: Sequence[nn.Module], momentum: float) -> None:
        super().__init__()
        self.networks = nn.ModuleList(deepcopy(network) for network in networks).requires_grad_(False)
        self.momentum = momentum

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        for network in self.networks:
            x = network(x)
        return x


@torch.no_grad()
def follow(teacher: nn.Module, networks: Sequence[nn.Module]) -> None:
    """Move every parameter of a `Teacher` towards the networks it averages."""
    assert isinstance(teacher, Teacher)
    averages: list[Tensor] = list(teacher.networks.parameters())
    students: list[Tensor] = [p for network in networks for p in network.parameters()]
    torch._foreach_lerp_(averages, students, 1 - teacher.momentum)


def gaussian(size: Sequence[int], seeds: Sequence[torch.Generator]) -> Tensor:
    """Standard normal numbers `(E, *size)`, each member's from its own generator."""
    return torch.stack([torch.randn(*size, generator=generator) for generator in seeds])


def per_view(network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a network of `(E, n, ...)` to all views `(E, n, J, ...)` at once."""
    return network(x.flatten(1, 2)).unflatten(1, x.shape[1:3])
