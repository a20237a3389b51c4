"""What every exactly known law of J views answers; each law overrides what it knows, the rest is refused by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from synthetic.refusal import NotExact

MONTE_CARLO = "use the function of the same name in synthetic.monte_carlo"
GAUSSIAN = "use a world of Gaussian content, or of a mixture of Gaussians"


class Law:
    """The joint law of content, latents and what is observed of them.

    `seen` are decoded observations, `(n, J, q)`. Densities are with respect to volume, unless a law says otherwise.
    """

    def through(self, projection: Tensor | None, noise: Tensor | None) -> Law:
        """The law of `projection z + noise nu`, `nu ~ N(0, I)`; None: the identity, and nothing."""
        if projection is not None or noise is not None:
            raise NotExact(f"{self.what} are seen through noise", "use world.without_noise(), or synthetic.monte_carlo")
        return self

    @property
    def what(self) -> str:
        """The latents of this law, in words."""
        return type(self).__name__

    def view(self, j: int) -> Law:
        """The law of view j alone."""
        return self

    def log_offset(self, offset: Tensor, jacobian: Callable[[Tensor], Tensor], seen: Tensor) -> Tensor:
        """`log p(x) - log p(decoded x)`, given the channel's own offset for densities with respect to volume."""
        return offset

    def log_prob(self, seen: Float[Tensor, "n J q"]) -> Float[Tensor, " n"]:
        """Log evidence of the J views together."""
        raise self._refusal("evidence")

    def pmi(self, first: Float[Tensor, "n q"], second: Float[Tensor, "n q"]) -> Float[Tensor, " n"]:
        """`log p(t, t') - log p(t) - log p(t')`."""
        alone = [self.view(j).log_prob(t[:, None]) for j, t in enumerate((first, second))]
        return self.log_prob(torch.stack((first, second), 1)) - alone[0] - alone[1]

    def pmi_matrix(self, first: Float[Tensor, "n q"], second: Float[Tensor, "l q"]) -> Float[Tensor, "n l"]:
        """Pointwise mutual information of every pair."""
        rows = [self.pmi(row.expand_as(second), second) for row in first]
        return torch.stack(rows)

    def label_log_prob(self, seen: Float[Tensor, "n J q"], classes: int) -> Float[Tensor, "n K"]:
        """`log p(k | t^{1:J})`."""
        raise self._refusal("label posterior", GAUSSIAN)

    def posterior(self, seen: Float[Tensor, "n J q"], name: str) -> object:
        """Posterior of content, or of the latents or style of all J views."""
        raise self._refusal(f"posterior of {name}", GAUSSIAN)

    def mutual_information(self) -> float:
        """`I(t; t')` of two views, in nats."""
        raise self._refusal("mutual_information")

    def content_information(self) -> float:
        """`I(t; y)` of one view, in nats."""
        raise self._refusal("content_information", GAUSSIAN)

    def label_accuracy(self) -> float:
        """Accuracy of the best possible classifier of one view."""
        raise self._refusal("label_accuracy", GAUSSIAN)

    def r2(self, name: str) -> Float[Tensor, " q"]:
        """Bayes-optimal `R^2` of each coordinate of content or style from one view."""
        raise self._refusal("r2", GAUSSIAN)

    def _refusal(self, quantity: str, remedy: str = MONTE_CARLO) -> NotExact:
        return NotExact(f"{quantity} of {self.what} is not elementary", remedy)
