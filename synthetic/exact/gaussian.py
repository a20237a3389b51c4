"""Mixtures of linear-Gaussian hierarchies: evidence, posteriors, pointwise mutual information.

Given the mixture component c (class, and which style innovations the views share), everything is affine in
standard normal numbers, `e` shared by the views of a datum and `eta^j` of each view:

    observation  t^j = mean + T e + N eta^j     Q = N N', the covariance of a view given what it shares
    content      y   = ... + H e                latents and style likewise

With `Lambda = I + sum_j T' Q^-1 T` and `b = sum_j T' Q^-1 (t^j - mean)`, both of the size of e,

    log p(t^{1:J} | c) = -1/2 [ J q log 2 pi + sum_j log|Q| + log|Lambda|
                                + sum_j (t^j - mean)' Q^-1 (t^j - mean) - b' Lambda^-1 b ]

so only matrices of the size of one view are ever factored, whatever J (matrix inversion and determinant
lemmas).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from synthetic.exact.law import MONTE_CARLO, Law
from synthetic.exact.mixture import GaussianMixture
from synthetic.refusal import NotExact, Unresolved

SHARED_EXACTLY = (
    "views share some coordinate exactly (no noise hides it), so several views have no joint density",
    "add observation noise to a linear mixing, or use an isotropic world",
)
TILE = 2**17  # numbers of a matrix of pairs that are held at once: as many as stay in a processor's cache


@dataclass(frozen=True)
class Readout:
    """A quantity as `mean + shared e + private eta^j`; axes: component C, view V (1 when all views are
    alike), size q.
    """

    mean: Float[Tensor, "*#b C #V q"]
    shared: Float[Tensor, "*#b C #V q m"]
    private: Float[Tensor, "*#b C #V q p"]

    def single(self, components: int) -> Readout:
        """The same quantity of one view alone, for which nothing is shared; of the first components only."""
        lead = torch.broadcast_shapes(self.shared.shape[:-2], self.private.shape[:-2])
        both = [part.expand(*lead, *part.shape[-2:]) for part in (self.shared, self.private)]
        private = torch.cat(both, -1)[..., :components, :, :, :]
        return Readout(self.mean[..., :components, :, :], private[..., :0], private)

    def padded(self, columns: int) -> Readout:
        """With `columns` further private numbers that it does not depend on."""
        none = self.private.new_zeros(*self.private.shape[:-1], columns)
        return Readout(self.mean, self.shared, torch.cat((self.private, none), -1))

    @property
    def views(self) -> int:
        """How many views are told apart: 1 when all are alike."""
        return max(self.mean.shape[-2], self.shared.shape[-3], self.private.shape[-3])

    def view(self, j: int) -> Readout:
        """The readout of view j."""
        mean = self.mean if self.mean.shape[-2] == 1 else self.mean[..., j : j + 1, :]
        return Readout(mean, _view(self.shared, j), _view(self.private, j))

    @cached_property
    def covariance(self) -> Float[Tensor, "*#b C #V q q"]:
        """Prior covariance of one view's quantity, given the component."""
        both = torch.cat((self.shared, self.private), -1)
        return both @ both.mT


@dataclass(frozen=True)
class Factored:
    """What an observation of J views needs of `Q` and `Lambda`; `whiten` is the inverse Cholesky factor of
    Q.
    """

    whiten: Float[Tensor, "*#b C #V q q"]
    half_log_det: Float[Tensor, "*#b C"]
    load: Float[Tensor, "*#b C #V q m"]
    unload: Float[Tensor, "*#b C m m"]


@dataclass(frozen=True)
class LinearGaussian(Law):
    """A world's law in linear-Gaussian form; evidence and posteriors are conditioned on `observed`.

    The components are `patterns` (what the views share) times classes, which alone matter for one view. The form
    holds for up to `most_views` views, None for any number; `why` says what fails beyond. `noisy`: noise hides every
    coordinate of what is observed.
    """

    log_weights: Float[Tensor, " C"]
    labels: Int64[Tensor, " C"]
    observed: Readout
    latent: Readout
    content: Readout
    style: Readout
    patterns: int = 1
    most_views: int | None = None
    why: str = ""
    noisy: bool = False

    @property
    def what(self) -> str:
        return f"a mixture of {len(self.log_weights)} classes and keep patterns"

    # -- what is observed ----------------

    def through(self, projection: Tensor | None, noise: Tensor | None) -> LinearGaussian:
        """The law of `projection z + noise nu` for standard normal nu; None: the identity, and nothing.

        Both may carry leading axes that broadcast over components and views.
        """
        seen = self.latent
        if projection is not None:
            seen = Readout(_apply(projection, seen.mean), projection @ seen.shared, projection @ seen.private)
        if noise is None:
            return dataclasses.replace(self, observed=seen)
        padded = {name: getattr(self, name).padded(noise.shape[-1]) for name in ("latent", "content", "style")}
        lead = torch.broadcast_shapes(seen.private.shape[:-2], noise.shape[:-2])
        parts = [part.expand(*lead, *part.shape[-2:]) for part in (seen.private, noise)]
        observed = Readout(seen.mean, seen.shared, torch.cat(parts, -1))
        return dataclasses.replace(self, observed=observed, noisy=True, **padded)

    def view(self, j: int) -> LinearGaussian:
        """The law of view j alone."""
        names = ("observed", "latent", "content", "style")
        return dataclasses.replace(self, **{name: getattr(self, name).view(j) for name in names})

    def single(self) -> LinearGaussian:
        """The law of one view, with nothing left to share, and so without keep patterns."""
        classes = len(self.log_weights) // self.patterns
        parts = {name: getattr(self, name).single(classes) for name in ("observed", "latent", "content", "style")}
        weights = self.log_weights.unflatten(0, (self.patterns, classes)).logsumexp(0)
        return dataclasses.replace(self, log_weights=weights, labels=self.labels[:classes], patterns=1, **parts)

    def _of(self, views: int) -> LinearGaussian:
        if self.most_views is not None and views > self.most_views:
            raise NotExact(f"{self.why}, for {views} views", "use fewer views, or synthetic.monte_carlo")
        return self._single if views == 1 else self

    @cached_property
    def _single(self) -> LinearGaussian:
        return self.single()

    @cached_property
    def _known_factors(self) -> dict[int, Factored]:
        return {}

    def _factored(self, views: int) -> Factored:
        """Computed once for each number of views."""
        if views not in self._known_factors:
            self._known_factors[views] = self._factor(views)
        return self._known_factors[views]

    def _factor(self, views: int) -> Factored:
        seen = self.observed
        if seen.views not in (1, views):
            raise ValueError(f"expected the {seen.views} views of this world together, found {views}: see world.view")
        scale = self._scale(seen.private)
        eye = torch.eye(scale.shape[-1], device=scale.device, dtype=scale.dtype)
        whiten = torch.linalg.solve_triangular(scale, eye.expand_as(scale), upper=False)
        load = whiten @ seen.shared
        repeats = views // load.shape[-3]
        size = torch.eye(load.shape[-1], device=scale.device, dtype=scale.dtype)
        inner = torch.linalg.cholesky(size + repeats * (load.mT @ load).sum(-3))
        half = repeats * _half_log_det(scale).sum(-1) + _half_log_det(inner)
        unload = torch.linalg.solve_triangular(inner, size.expand_as(inner), upper=False)
        return Factored(whiten, half, load, unload)

    def _scale(self, factor: Float[Tensor, "*#b C #V q p"]) -> Float[Tensor, "*#b C #V q q"]:
        """Cholesky factor of `factor factor'`, refused for the reason why there is none."""
        try:
            return _cholesky(factor @ factor.mT)
        except Unresolved:
            if self._shows_exactly(factor):
                raise NotExact(*SHARED_EXACTLY) from None
            raise

    def _shows_exactly(self, left: Float[Tensor, "*c q p"]) -> bool:
        """Whether what is `left` to vary leaves some coordinate fixed: no noise, and fewer directions than coordinates.

        Of the rank, to the rounding of float64: a direction that varies little is no fixed one, whatever the precision
        of the world.
        """
        if self.noisy:
            return False
        if left.shape[-1] < left.shape[-2]:
            return True
        whole = self.observed.covariance.diagonal(dim1=-2, dim2=-1).sum(-1).max().sqrt().double()
        values = torch.linalg.svdvals(left.double())
        return bool((values.amin(-1) <= 10 * left.shape[-2] * torch.finfo(torch.float64).eps * whole).any())

    def _sufficient(self, seen: Float[Tensor, "n J q"], f: Factored) -> tuple[Tensor, " Tensor"]:
        """Whitened residuals `(n, C, J, q)` and whitened `b`, `(n, C, m)`."""
        residual = seen[:, None] - self.observed.mean
        white = torch.einsum("...cjq,...cjpq->...cjp", residual, f.whiten)
        pull = torch.einsum("...cjqm,...cjq->...cm", f.load, white)
        return white, torch.einsum("...clm,...cm->...cl", f.unload, pull)

    # -- densities ----------------

    def log_prob_components(self, seen: Float[Tensor, "n J q"]) -> Float[Tensor, "n C"]:
        """`log pi_c + log p(t^{1:J} | c)`."""
        views, size = seen.shape[1:]
        law = self._of(views)
        f = law._factored(views)
        white, pull = law._sufficient(seen, f)
        square = white.square().sum((-1, -2)) - pull.square().sum(-1)
        return law.log_weights - 0.5 * square - f.half_log_det - 0.5 * views * size * math.log(2 * math.pi)

    def log_prob(self, seen: Float[Tensor, "n J q"]) -> Float[Tensor, " n"]:
        """Log evidence of the J views together."""
        return self.log_prob_components(seen).logsumexp(-1)

    def log_prob_matrix(self, first: Float[Tensor, "n q"], second: Float[Tensor, "l q"]) -> Float[Tensor, "n l"]:
        """`log p(t_i, t'_j)` of every pair; the two views meet only in the inner product of their pulls on
        e.
        """
        f = self._of(2)._factored(2)
        white, pull = zip(
            *(
                self.view(j)._sufficient(
                    t[:, None], dataclasses.replace(f, whiten=_view(f.whiten, j), load=_view(f.load, j))
                )
                for j, t in enumerate((first, second))
            ),
            strict=True,
        )
        own = [p.square().sum(-1) - w.square().sum((-1, -2)) for w, p in zip(white, pull, strict=True)]
        constant = self.log_weights - f.half_log_det - first.shape[-1] * math.log(2 * math.pi)
        of_row, of_column = (constant + 0.5 * own[0]).mT[..., None], 0.5 * own[1].mT[:, None]
        row, column = pull[0].transpose(0, 1), pull[1].permute(1, 2, 0)
        height = max(1, TILE // (len(constant) * len(second)))
        parts = zip(of_row.split(height, 1), row.split(height, 1), strict=True)
        tiles = (torch.baddbmm(alone + of_column, across, column) for alone, across in parts)
        return torch.cat([tile.logsumexp(0) for tile in tiles])

    def pmi_matrix(self, first: Float[Tensor, "n q"], second: Float[Tensor, "l q"]) -> Float[Tensor, "n l"]:
        """Pointwise mutual information of every pair."""
        alone = [self.view(j).log_prob(t[:, None]) for j, t in enumerate((first, second))]
        return self.log_prob_matrix(first, second) - alone[0][:, None] - alone[1]

    # -- posteriors ----------------

    def label_log_prob(self, seen: Float[Tensor, "n J q"], classes: int) -> Float[Tensor, "n K"]:
        """`log p(k | t^{1:J})`."""
        log_weights = self.log_prob_components(seen).log_softmax(-1)
        own = torch.nn.functional.one_hot(self._of(seen.shape[1]).labels, classes).to(log_weights)
        return (log_weights[..., None] + own.log()).logsumexp(-2)

    def posterior(self, seen: Float[Tensor, "n J q"], name: str) -> GaussianMixture:
        """Joint posterior of `name` ("content", or "latent" or "style" of all J views, flattened to J times
        their size).
        """
        views = seen.shape[1]
        law = self._of(views)
        f = law._factored(views)
        white, pull = law._sufficient(seen, f)
        read: Readout = getattr(law, name)
        gain = f.whiten @ law.observed.private
        shared = torch.einsum("...clm,...cl->...cm", f.unload, pull)
        left = white - torch.einsum("...cjqm,...cm->...cjq", f.load, shared)
        own = torch.einsum("...cjqp,...cjq->...cjp", gain, left)
        mean = read.mean + _apply(read.shared, shared[..., None, :]) + _apply(read.private, own)
        eye = torch.eye(gain.shape[-1], device=seen.device, dtype=seen.dtype)
        within = read.private @ (eye - gain.mT @ gain) @ read.private.mT
        between = (read.shared - read.private @ gain.mT @ f.load) @ f.unload.mT[..., None, :, :]
        log_weights = self.log_prob_components(seen).log_softmax(-1)
        if name == "content":
            return GaussianMixture(log_weights, mean[..., 0, :], (within + between @ between.mT)[..., 0, :, :])
        return GaussianMixture(log_weights, mean.flatten(-2), _joint(within, between, views))

    # -- informations and ceilings of a single component ----------------

    def mutual_information(self) -> float:
        """`I(t; t')` in nats; infinite where the two views share a coordinate exactly, and only there."""
        self._require_one("mutual_information")
        try:
            together = self._of(2)._factored(2).half_log_det
        except NotExact:
            if self._shows_exactly(self.observed.private):
                return math.inf
            raise
        alone = sum(_half_log_det(_cholesky(self.view(j).observed.covariance)).squeeze(-1) for j in (0, 1))
        return float((alone - together).squeeze())

    def content_information(self) -> float:
        """`I(t; y)` for one view, in nats; infinite where it shows a content coordinate exactly, and only there."""
        law = self.view(0).single()
        law._require_one("content_information")
        readout = law.content.private
        hidden = (
            torch.eye(readout.shape[-1], device=readout.device, dtype=readout.dtype)
            - torch.linalg.pinv(readout) @ readout
        )
        given = law.observed.private @ hidden
        try:
            halves = [_half_log_det(_cholesky(c)) for c in (law.observed.covariance, given @ given.mT)]
            return float((halves[0] - halves[1]).squeeze())
        except Unresolved:
            if law._shows_exactly(given):
                return math.inf
            raise

    def r2(self, name: str) -> Float[Tensor, " q"]:
        """Bayes-optimal `R^2` of each coordinate of `name` from one view."""
        law = self.view(0).single()
        law._require_one("r2")
        zero = law.observed.mean[0].new_zeros(1, 1, law.observed.mean.shape[-1])
        left = law.posterior(zero, name).covariances[0].diagonal()
        return 1 - left / getattr(law, name).covariance[0, 0].diagonal()

    def label_accuracy(self) -> float:
        """Accuracy of the Bayes classifier of one view, for two classes with one covariance.

        With `Delta` the Mahalanobis distance of the means: `sum_k pi_k Phi(Delta/2 + log(pi_k / pi_l) / Delta)`. Of
        one class, of however many components, 1; of two whose observations have one law, the larger pi.
        """
        law = self.view(0).single()
        if bool((law.labels == law.labels[0]).all()):
            return 1.0
        covariance, weights = law.observed.covariance[:, 0], law.log_weights.exp()
        if len(weights) != 2 or not torch.allclose(covariance[0], covariance[1]) or not bool((weights > 0).all()):
            raise self._refusal("label_accuracy (beyond two Gaussian classes with one covariance)")
        apart = (law.observed.mean[1] - law.observed.mean[0]).mT
        distance = torch.linalg.solve_triangular(_cholesky(covariance[0]), apart, upper=False).norm()
        if distance == 0:
            return float(weights.max())
        odds = law.log_weights - law.log_weights.flip(0)
        return float((weights * torch.special.ndtr(distance / 2 + odds / distance)).sum())

    def _require_one(self, quantity: str) -> None:
        if len(self.log_weights) > 1:
            raise NotExact(f"{quantity} is not elementary for {self.what}", MONTE_CARLO)


def _apply(matrix: Tensor, vector: Tensor) -> Tensor:
    return torch.einsum("...ij,...j->...i", matrix, vector)


def _half_log_det(cholesky: Tensor) -> Tensor:
    return cholesky.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _cholesky(covariance: Tensor) -> Tensor:
    """Cholesky factor; a covariance that is singular to working precision is refused."""
    factor, info = torch.linalg.cholesky_ex(covariance)
    pivots = factor.diagonal(dim1=-2, dim2=-1)
    floor = (
        10 * covariance.shape[-1] * torch.finfo(covariance.dtype).eps * covariance.diagonal(dim1=-2, dim2=-1).amax(-1)
    )
    if bool((info != 0).any()) or bool((pivots.square().amin(-1) <= floor).any()):
        wider = "" if covariance.dtype == torch.float64 else "world.to(dtype=torch.float64), or "
        kind = str(covariance.dtype).removeprefix("torch.")
        raise Unresolved(f"a covariance is singular to the precision of {kind}", f"use {wider}more observation noise")
    return factor


def _view(part: Tensor, j: int) -> Tensor:
    return part if part.shape[-3] == 1 else part[..., j : j + 1, :, :]


def _joint(within: Tensor, between: Tensor, views: int) -> Tensor:
    """Covariance of J views stacked: `between_i between_j'`, plus `within` on the diagonal blocks."""
    lead, size = within.shape[:-3], within.shape[-1]
    within, between = (part.expand(*lead, views, *part.shape[-2:]) for part in (within, between))
    stacked = between.flatten(-3, -2)
    joint = stacked @ stacked.mT
    blocks = joint.unflatten(-1, (views, size)).unflatten(-3, (views, size))
    blocks.diagonal(dim1=-4, dim2=-2).add_(within.movedim(-3, -1))
    return joint
