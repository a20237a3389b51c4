"""Critics: how alike two representations are, as a matrix of scores between n and m of them.

A critic is one of the names `cosine`, `dot`, `distance`, or any function
`(*batch, n, d), (*batch, m, d) -> (*batch, n, m)`. The losses divide it by their temperature.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.losses.bessel import log_sphere_area, log_vmf_normaliser
from ssl_theory.losses.views import per_member, require_choice, require_positive, unit

Critic = str | Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Score:
    """A critic over its temperature: `score(a, b)` is a matrix, for arguments `(*batch, pairs of views, n, d)`.

    Where the matrix is a product `left right'`, `factors` gives the two, and log-partitions need not keep it; where
    that of points with themselves is `r r'`, `root` gives r. `largest`: a bound on the size of any score, where one is
    known without waiting for a device.
    """

    function: Callable[[Tensor, Tensor], Tensor] | None = None
    factors: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    root: Callable[[Tensor], Tensor] | None = None
    largest: float | None = None

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        if self.factors is None:
            assert self.function is not None
            return self.function(a, b)
        left, right = self.factors(a, b)
        return left @ right.mT


def scorer(critic: Critic, temperature: float | Tensor) -> Score:
    """The critic over the temperature: `cosine` is `a.b / |a||b|`, `dot` is `a.b`, `distance` is `-|a - b|^2`."""
    require_positive("temperature", temperature)
    tau = per_member(temperature, 3)
    if callable(critic):
        return Score(lambda a, b: critic(a, b) / tau)
    require_choice("critic", critic, ("cosine", "dot", "distance"))
    if critic == "cosine":
        return Score(None, lambda a, b: (unit(a) / tau, unit(b)), lambda a: unit(a) / tau**0.5, _largest(temperature))
    if critic == "dot":
        return Score(None, lambda a, b: (a / tau, b), lambda a: a / tau**0.5)
    return Score(factors=lambda a, b: _distance_factors(a, b, 1 / tau))


def _largest(temperature: float | Tensor) -> float | None:
    """Largest cosine over the temperature; unknown where the temperature lies on a device that would be waited for."""
    if not isinstance(temperature, Tensor):
        return 1 / temperature
    if temperature.device.type != "cpu" or not (least := float(temperature.detach().amin())) > 0:
        return None
    return 1 / least


def negative_squared_distance(
    a: Float[Tensor, "*batch n d"], b: Float[Tensor, "*batch m d"]
) -> Float[Tensor, "*batch n m"]:
    """`-|a - b|^2` by one matrix product."""
    left, right = _distance_factors(a, b, 1.0)
    return left @ right.mT


def _distance_factors(a: Tensor, b: Tensor, scale: float | Tensor) -> tuple[Tensor, Tensor]:
    """`-scale |a - b|^2 = left right'`, about the mean of b, so that a far origin costs no digits."""
    origin = b.mean(-2, keepdim=True).detach()
    a, b = a - origin, b - origin
    left = torch.cat([2 * a, -a.square().sum(-1, keepdim=True), -torch.ones_like(a[..., :1])], -1)
    right = torch.cat([b, torch.ones_like(b[..., :1]), b.square().sum(-1, keepdim=True)], -1)
    return scale * left, right


def bilinear(weight: Float[Tensor, "*batch d d"]) -> Callable[[Tensor, Tensor], Tensor]:
    """The critic `a' W b` (van den Oord et al. 2018, arXiv 1807.03748); W is a parameter of the caller."""
    return lambda a, b: a @ weight[..., None, :, :] @ b.mT


def von_mises_fisher(concentration: float | Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """The optimal critic of the spherical world: pointwise mutual information of two views, y integrated out.

    `log p(z, z') / p(z) p(z') = 2 log C(kappa) + log S - log C(kappa |z + z'|)`; use it at temperature 1.
    """

    def score(a: Tensor, b: Tensor) -> Tensor:
        d = a.shape[-1]
        squared = a.new_ones(1, 1, 1) * per_member(concentration, 3) ** 2
        resultant = (2 + 2 * unit(a) @ unit(b).mT).clamp_min(0)  # |z + z'|^2
        log_conditionals = 2 * log_vmf_normaliser(d, squared)
        return log_conditionals + log_sphere_area(d) - log_vmf_normaliser(d, squared * resultant)

    return score
