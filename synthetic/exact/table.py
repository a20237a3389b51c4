"""Finite alphabets: a joint table p(y, x), and every quantity an exact sum. Probabilities, not densities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from synthetic.exact.law import Law


@dataclass(frozen=True)
class CategoricalPosterior:
    """Probabilities `(n, K)` of a one-hot quantity."""

    log_weights: Float[Tensor, "n K"]

    @property
    def mean(self) -> Float[Tensor, "n K"]:
        return self.log_weights.exp()

    @property
    def covariance(self) -> Float[Tensor, "n K K"]:
        return torch.diag_embed(self.mean) - self.mean[:, :, None] * self.mean[:, None]

    def log_prob(self, value: Float[Tensor, "n K"]) -> Float[Tensor, " n"]:
        """Log-probability of one-hot values."""
        return (value * self.log_weights).nan_to_num(0.0).sum(-1)


@dataclass(frozen=True)
class TableLaw(Law):
    """`k ~ weights`, symbols `x^j ~ table[k]`, written one-hot."""

    weights: Float[Tensor, " K"]
    table: Float[Tensor, "K M"]

    @property
    def what(self) -> str:
        return "symbols of a finite alphabet"

    def log_offset(self, offset: Tensor, jacobian: Callable[[Tensor], Tensor], seen: Tensor) -> Tensor:
        """Nothing: a map only renames symbols."""
        return torch.zeros_like(seen[..., 0])

    def log_prob(self, seen: Float[Tensor, "n J M"]) -> Float[Tensor, " n"]:
        return self._log_joint(seen).logsumexp(-1)

    def pmi_matrix(self, first: Float[Tensor, "n M"], second: Float[Tensor, "l M"]) -> Float[Tensor, "n l"]:
        return self._pairs()[1][first.argmax(-1)[:, None], second.argmax(-1)]

    def label_log_prob(self, seen: Float[Tensor, "n J M"], classes: int) -> Float[Tensor, "n K"]:
        return self._log_joint(seen).log_softmax(-1)

    def posterior(self, seen: Float[Tensor, "n J M"], name: str) -> CategoricalPosterior:
        if name != "content":
            raise self._refusal(f"posterior of {name} (shown without noise)")
        return CategoricalPosterior(self._log_joint(seen).log_softmax(-1))

    def mutual_information(self) -> float:
        """`I(x; x') = sum p(x, x') PMI(x, x')`."""
        joint, pmi = self._pairs()
        return float((joint * pmi).nan_to_num(0.0).sum())

    def content_information(self) -> float:
        """`I(x; y)`."""
        joint = self.weights[:, None] * self.table
        ratio = (joint / (self.weights[:, None] * joint.sum(0))).log()
        return float((joint * ratio).nan_to_num(0.0).sum())

    def label_accuracy(self) -> float:
        """`sum_x max_k p(k, x)`."""
        return float((self.weights[:, None] * self.table).amax(0).sum())

    def r2(self, name: str) -> Float[Tensor, " K"]:
        """Bayes-optimal `R^2` of each one-hot coordinate of content."""
        if name != "content":
            raise self._refusal(f"r2 of {name}")
        joint = self.weights[:, None] * self.table
        known = (joint.square() / joint.sum(0).clamp_min(torch.finfo(joint.dtype).tiny)).sum(1)
        return (known - self.weights**2) / (self.weights - self.weights**2)

    def _log_joint(self, seen: Float[Tensor, "n J M"]) -> Float[Tensor, "n K"]:
        return self.weights.log() + self.table.log()[:, seen.argmax(-1)].sum(-1).mT

    def _pairs(self) -> tuple[Tensor, Tensor]:
        joint = torch.einsum("k,km,kl->ml", self.weights, self.table, self.table)
        alone = self.weights @ self.table
        return joint, (joint / (alone[:, None] * alone)).log()
