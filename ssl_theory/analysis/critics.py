"""Critics trained to estimate information, an ensemble at once, and evaluated on fresh pairs only.

A critic holds the weights of E members and maps `x: (E, n, d_x)`, `y: (E, m, d_y)` to all scores `f(x_j,
y_i)`, `(E, m, n)`: row i is y_i. `estimate` trains one on pairs from a sampler and evaluates any bound on
new pairs; `between` does so for two representations, fitting on one half of the rows and evaluating on the
other.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.analysis import information
from ssl_theory.analysis.ensemble import Array, Score, answer, cleared, finite, members, precision_of, seeded
from ssl_theory.analysis.halves import halves, standardised
from ssl_theory.analysis.perceptron import adam, forward, initial

Sampler = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
"""`(n, generator) -> x (E, n, d_x), y (E, n, d_y)`: n fresh true pairs for each member."""

OBJECTIVES: dict[str, Callable[[Tensor], Tensor]] = {
    "info_nce": information.info_nce,
    "nwj": information.nwj,
    "donsker_varadhan": information.donsker_varadhan,
    "jensen_shannon": information.jensen_shannon,
    "likelihood": lambda scores: scores[..., 0].mean(-1),
}
"""What a critic can be trained on; "mine" besides, which carries a moving average from step to step. "likelihood" is
that of true pairs, for a critic that is a density: "conditional"."""

START = 0.1
"""Size of a separable critic's scores before training: near 0, the PMI of independent pairs.

Reached by scaling both last layers by `sqrt(START / sqrt(k))`, k the embedding. The inner product of k outputs as
initialised has a standard deviation near sqrt(k) and tails far beyond: at k = 8, 64 points have scores up to 21, and a
single pair makes up half of the mean of exp f. NWJ and MINE divide by a fixed or an earlier mean, so their slope is
that pair's alone, or nothing, and Adam remembers the shock. Of 2.554 nats Donsker-Varadhan on fresh pairs then showed
-17 and -25 after 150 steps; from here it shows 1.3 and 1.8.
"""


@runtime_checkable
class Critic(Protocol):
    """Scores of all pairs."""

    @property
    def weights(self) -> list[Tensor]:
        """What training moves; none for an exact critic."""

    def __call__(self, x: Float[Tensor, "E n a"], y: Float[Tensor, "E m b"]) -> Float[Tensor, "E m n"]: ...


@dataclass(frozen=True)
class Exact:
    """A critic that needs no training: `score(x, y)` of all pairs, as `Critic` has it."""

    score: Callable[[Tensor, Tensor], Tensor]

    @property
    def weights(self) -> list[Tensor]:
        """None to train."""
        return []

    def __call__(self, x: Float[Tensor, "E n a"], y: Float[Tensor, "E m b"]) -> Float[Tensor, "E m n"]:
        return self.score(x, y)


@dataclass(frozen=True)
class Separable:
    """`f(x, y) = g(x) . h(y)` with two networks: n + m evaluations for n m scores.

    Trained by InfoNCE on 5 pairs with correlation 0.8 (2.554 nats) it comes, at K = 256, within 0.003 nats of what the
    exact critic gives there, 2.4554 +- 0.0005; the rest of the way to the truth is InfoNCE's own bias at that K.
    """

    left: list[Tensor]
    right: list[Tensor]

    @property
    def weights(self) -> list[Tensor]:
        """Of both networks."""
        return self.left + self.right

    def __call__(self, x: Float[Tensor, "E n a"], y: Float[Tensor, "E m b"]) -> Float[Tensor, "E m n"]:
        return forward(self.right, y) @ forward(self.left, x).mT


@dataclass(frozen=True)
class Bilinear:
    """`f(x, y) = y^T W x` (van den Oord et al. 2018).

    For one-hot x and y it is exact. For jointly Gaussian ones it lacks the PMI's squares; that of y costs
    InfoNCE nothing, that of x does: 5 pairs with correlation 0.8 have 2.55 nats, of which it finds 1.23.
    """

    matrix: Tensor

    @property
    def weights(self) -> list[Tensor]:
        """The one matrix `(E, b, a)`."""
        return [self.matrix]

    def __call__(self, x: Float[Tensor, "E n a"], y: Float[Tensor, "E m b"]) -> Float[Tensor, "E m n"]:
        return y @ self.matrix @ x.mT


@dataclass(frozen=True)
class Joint:
    """`f(x, y)` one network of both: the most general, and n m evaluations."""

    network: list[Tensor]

    @property
    def weights(self) -> list[Tensor]:
        """Of the network."""
        return self.network

    def __call__(self, x: Float[Tensor, "E n a"], y: Float[Tensor, "E m b"]) -> Float[Tensor, "E m n"]:
        (E, n, a), (m, b) = x.shape, y.shape[1:]
        pairs = torch.cat([x[:, None].expand(E, m, n, a), y[:, :, None].expand(E, m, n, b)], -1)
        return forward(self.network, pairs.flatten(1, 2)).view(E, m, n)


@dataclass(frozen=True)
class Conditional:
    """`f(x, y) = log q(y|x)`, q a Gaussian of independent coordinates, its means and log-variances two networks of x.

    Trained on "likelihood" it gives `information.club` and `information.leave_one_out` their scores where p(y|x) is not
    known; CLUB is then vCLUB (Cheng et al. 2020, arXiv 2006.12013). It exceeds the information only as far as q is
    close to p: a q that has learned nothing, as at the start, gives 0.
    """

    mean: list[Tensor]
    log_variance: list[Tensor]

    @property
    def weights(self) -> list[Tensor]:
        """Of both networks."""
        return self.mean + self.log_variance

    def __call__(self, x: Float[Tensor, "E n a"], y: Float[Tensor, "E m b"]) -> Float[Tensor, "E m n"]:
        mean, log_variance = (forward(network, x)[:, None] for network in (self.mean, self.log_variance))
        squares = (y[:, :, None] - mean).square() * (-log_variance).exp()
        return -(squares + log_variance + math.log(2 * math.pi)).sum(-1) / 2


def critic(
    kind: str,
    like: tuple[Tensor, Tensor],
    generator: torch.Generator,
    *,
    hidden: Sequence[int] = (128, 128),
    embedding: int = 32,
) -> Critic:
    """An untrained critic, "separable", "bilinear", "joint" or "conditional", for pairs like these; all begin alike.

    A bilinear one begins at 0, a separable one near it (`START`), a conditional one as a standard normal of y.
    """
    (x, y), (a, b) = like, (like[0].shape[-1], like[1].shape[-1])
    if kind == "separable":
        left, right = (initial([d, *hidden, embedding], z, generator) for d, z in ((a, x), (b, y)))
        with torch.no_grad():
            for network in (left, right):
                network[-2].mul_(math.sqrt(START / math.sqrt(embedding)))
        return Separable(left, right)
    if kind == "joint":
        return Joint(initial([a + b, *hidden, 1], x, generator))
    if kind == "bilinear":
        return Bilinear(x.new_zeros(x.shape[0], b, a).requires_grad_())
    if kind == "conditional":
        networks = [initial([a, *hidden, b], x, generator) for _ in range(2)]
        with torch.no_grad():
            for network in networks:
                network[-2].zero_()
        return Conditional(*networks)
    raise ValueError(f"kind: expected 'separable', 'bilinear', 'joint' or 'conditional', found {kind!r}")


def trained(
    critic: Critic,
    sample: Sampler,
    generator: torch.Generator,
    *,
    objective: str = "info_nce",
    steps: int = 1000,
    batch: int = 256,
    rate: float = 2e-3,
) -> Critic:
    """The critic after `steps` of Adam (cosine schedule) on the objective, each on a fresh batch; in place.

    InfoNCE, Donsker-Varadhan and Jensen-Shannon weigh pairs by bounded weights and train steadily. "nwj" and "mine"
    weigh them by `exp f` over a number that the batch does not set, and one pair of large score outweighs all. A critic
    that is to serve Donsker-Varadhan is best trained on "donsker_varadhan": on 5 pairs with correlation 0.8 (2.554
    nats) and fresh batches of 64, a default separable critic has after 300 steps, over three seeds and three members,
    2.11 nats (1.98 to 2.15), by "mine" 1.80 (0.70 to 2.07), by "nwj" 1.78 (1.45 to 1.98).

    Args:
        objective: a name in `OBJECTIVES`, or "mine"; "likelihood" for a conditional critic only.
    """
    if objective == "likelihood" and not isinstance(critic, Conditional):
        raise ValueError("objective: 'likelihood' expected with a density, found another critic; take 'conditional'")
    if objective not in (*OBJECTIVES, "mine"):
        raise ValueError(f"objective: expected one of {[*OBJECTIVES, 'mine']}, found {objective!r}")
    weights, average = critic.weights, None
    moments = [(torch.zeros_like(w), torch.zeros_like(w)) for w in weights]
    for step in range(1, steps + 1 if weights else 1):
        with torch.enable_grad():
            scores = information.positives_first(critic(*sample(batch, generator)))
            if objective == "mine":
                value, average = information.mine(scores, average)
            else:
                value = OBJECTIVES[objective](scores)
        slopes = torch.autograd.grad(-value.sum(), weights)
        adam(weights, slopes, moments, rate * 0.5 * (1 + math.cos(math.pi * (step - 1) / steps)), step)
    return critic


@torch.no_grad()
def fresh_scores(
    critic: Critic, sample: Sampler, generator: torch.Generator, *, batches: int = 20, batch: int = 256
) -> Float[Tensor, "B E n K"]:
    """Scores, positives first, of new pairs in B independent batches: a bound of them is `(B, E)`, with its spread."""
    return torch.stack([information.positives_first(critic(*sample(batch, generator))) for _ in range(batches)])


def between(
    first: Array,
    second: Array,
    *,
    kind: str = "separable",
    objective: str = "info_nce",
    bound: Callable[[Tensor], Tensor] = information.info_nce,
    seed: int = 0,
    steps: int = 1000,
    batch: int = 256,
    rate: float = 2e-3,
    hidden: Sequence[int] = (128, 128),
    embedding: int = 32,
) -> Score:
    """Information between two representations of the same rows, by a critic fitted on half of them, nats.

    The bound is evaluated on the other half, in batches of `batch` without repetition. With `info_nce` the
    answer is a lower bound in expectation, at most `log batch`, and too low by what the critic misses.

    Args:
        first: `(n, d)` or `(E, n, d)`, rows independent.
        second: `(n, d')` or `(E, n, d')`.
        kind: of critic: "separable", "bilinear", "joint", "conditional".
        objective: what the critic is trained on.
        bound: a function of scores, evaluated on the fresh half. vCLUB is `kind="conditional"`,
            `objective="likelihood"`, `bound=information.club`.

    Returns:
        Nats, a float or `(E,)`; NaN for members that hold NaN.

    Raises:
        ValueError: for shapes that differ, or fewer than `2 batch` rows.

    Source: this project; its bounds and objectives are those of the room `information`.
    """
    x, y = members(first, "first"), members(second, "second")
    if x.shape[:2] != y.shape[:2] or x.shape[1] < 2 * batch:
        raise ValueError(
            f"second: expected the members and rows of first, at least 2 x {batch} rows; "
            f"found {tuple(x.shape)} and {tuple(y.shape)}"
        )
    keep, generator = finite(x, y), seeded(seed)
    fit, test = (part.to(x.device) for part in halves(x.shape[1], generator))
    (x_fit, x_test), (y_fit, y_test) = (
        tuple(half.float() for half in standardised(z[:, fit], z[:, test], precision_of(given)))
        for z, given in ((cleared(x, keep), first), (cleared(y, keep), second))
    )

    def sample(n: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
        rows = torch.randperm(len(fit), generator=g)[:n].to(x.device)
        return x_fit[:, rows], y_fit[:, rows]

    start = critic(kind, (x_fit, y_fit), generator, hidden=hidden, embedding=embedding)
    fitted = trained(start, sample, generator, objective=objective, steps=steps, batch=batch, rate=rate)
    with torch.no_grad():
        pairs = zip(x_test.split(batch, 1), y_test.split(batch, 1), strict=True)
        values = [bound(information.positives_first(fitted(a, b))) for a, b in pairs if a.shape[1] == batch]
    return answer(torch.stack(values).double().mean(0), first, keep)
