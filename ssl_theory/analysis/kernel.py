"""Ridge regression with a Gaussian kernel, on Nystroem features, batched over ensemble members."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.linalg import cholesky, eigh, solve_triangular

from ssl_theory.analysis.linear import PENALTIES, shrunk

WIDTHS = (0.3, 1.0, 3.0)
JITTER = 1e-8  # of the kernel's 1: what rounding leaves of a kernel matrix has no eigenvalues below
ROWS = 1024


@torch.no_grad()
def kernel_ridge_predictions(
    train: Float[Tensor, "E n d"],
    target: Float[Tensor, "E n t"],
    test: Float[Tensor, "E m d"],
    *,
    generator: torch.Generator,
    landmarks: int = 300,
    widths: Sequence[float] = WIDTHS,
    penalties: Sequence[float] = PENALTIES,
) -> Float[Tensor, "E m t"]:
    """Ridge on features `L^-1 k(x)`, `L L^T = K`, k the kernel at landmarks and K theirs (Williams, Seeger 2001).

    `k(x, x') = exp(-|x - x'|^2 / (2 w^2))`. The landmarks are random rows of train. w, in units of the median entry
    of the table of distances between landmarks (its zero diagonal counts, to be noticed with a few landmarks only), and
    the penalty are chosen together by generalised cross-validation, per member and target.
    """
    rows = torch.randperm(train.shape[1], generator=generator)[:landmarks].to(train.device)
    return torch.stack(
        [
            _told(_fits(x[rows], x, t, widths, penalties), y, t.shape[1])
            for x, t, y in zip(train.double(), target.double(), test.double(), strict=True)
        ]
    )


@torch.no_grad()
def validated_predictions(
    train: Float[Tensor, "E n d"],
    target: Float[Tensor, "E n t"],
    test: Float[Tensor, "E m d"],
    held_out: Int[Tensor, " v"],
    kept: Int[Tensor, " f"],
    *,
    generator: torch.Generator,
    landmarks: int = 300,
    widths: Sequence[float] = WIDTHS,
    penalties: Sequence[float] = PENALTIES,
) -> tuple[Float[Tensor, "E v t"], Float[Tensor, "E m t"]]:
    """The same at held-out rows of train, by a fit on the kept ones; and at test, by one on both with its width."""
    centres = kept[torch.randperm(len(kept), generator=generator)[:landmarks].to(kept.device)]
    found = []
    for x, t, y in zip(train.double(), target.double(), test.double(), strict=True):
        fits = _fits(x[centres], x[kept], t[kept], widths, penalties)
        whole = [(own, fit.with_rows(x[held_out], t[held_out], penalties)) for own, fit in fits]
        found.append((_told(fits, x[held_out], t.shape[1]), _told(whole, y, t.shape[1])))
    return torch.stack([seen for seen, _ in found]), torch.stack([unseen for _, unseen in found])


def _fits(
    centres: Float[Tensor, "k d"],
    x: Float[Tensor, "n d"],
    t: Float[Tensor, "n t"],
    widths: Sequence[float],
    penalties: Sequence[float],
) -> list[tuple[Bool[Tensor, " t"], "Fit"]]:
    """Fits of the widths that are best for some target, each beside those targets."""
    unit = float(torch.cdist(centres, centres).median()) or 1.0
    fits = [Fit.of(Landmarks.of(centres, width * unit), x, t, penalties) for width in widths]
    best = torch.stack([fit.error for fit in fits]).argmin(0)
    return [(best == place, fits[place]) for place in best.unique().tolist()]


def _told(fits: list[tuple[Bool[Tensor, " t"], "Fit"]], y: Float[Tensor, "m d"], targets: int) -> Float[Tensor, "m t"]:
    predicted = y.new_empty(len(y), targets)
    for own, fit in fits:
        predicted[:, own] = fit.at(y)[:, own]
    return predicted


@dataclass(frozen=True)
class Landmarks:
    """Landmarks c, L of `L L^T = K` and the mean row of K."""

    centres: Float[Tensor, "k d"]
    width: float
    root: Float[Tensor, "k k"]
    level: Float[Tensor, " k"]

    @classmethod
    def of(cls, centres: Float[Tensor, "k d"], width: float) -> "Landmarks":
        among = _kernel(centres, centres, width)
        level = among.mean(0)
        among.diagonal().add_(JITTER)
        return cls(centres, width, cholesky(among), level)

    def rows(self, x: Float[Tensor, "n d"]) -> Iterator[Float[Tensor, "r k"]]:
        """`k(x, c)` less K's mean row, some rows at a time, which stay in the cache.

        Rows of a wide kernel differ little: of sums of what they have in common too few digits would be left.
        """
        for part in x.split(ROWS):
            yield _kernel(part, self.centres, self.width).sub_(self.level)

    def whitened(self, columns: Float[Tensor, "k c"]) -> Float[Tensor, "k c"]:
        """`L^-1` of sums of rows: sums of features, of which no row is made."""
        return solve_triangular(self.root, columns, upper=False)


def _kernel(x: Float[Tensor, "r d"], centres: Float[Tensor, "k d"], width: float) -> Float[Tensor, "r k"]:
    squares = (centres.square().sum(1) + x.square().sum(1, keepdim=True)).addmm_(x, centres.T, alpha=-2)
    return squares.clamp_(min=0).mul_(-1 / (2 * width**2)).exp_()


@dataclass(frozen=True)
class Fit:
    """`f(x) = k(x) . b + c` of every target, and what generalised cross-validation says of its error."""

    landmarks: Landmarks
    sums: "Sums"
    weights: Float[Tensor, "k t"]
    offset: Float[Tensor, " t"]
    error: Float[Tensor, " t"]

    @classmethod
    def of(
        cls, landmarks: Landmarks, x: Float[Tensor, "n d"], t: Float[Tensor, "n t"], penalties: Sequence[float]
    ) -> "Fit":
        return cls._from(landmarks, Sums.of(landmarks, x, t, t.mean(0)), penalties)

    def with_rows(self, x: Float[Tensor, "n d"], t: Float[Tensor, "n t"], penalties: Sequence[float]) -> "Fit":
        """A fit on these rows as well."""
        more = Sums.of(self.landmarks, x, t, self.sums.level)
        return self._from(self.landmarks, self.sums.and_of(more), penalties)

    @classmethod
    def _from(cls, landmarks: Landmarks, sums: "Sums", penalties: Sequence[float]) -> "Fit":
        n, total, level = sums.n, sums.kernel, sums.targets / sums.n
        scatter = landmarks.whitened(torch.addr(sums.scatter, total, total, alpha=-1 / n))
        squares, v = eigh(landmarks.whitened(scatter.T))
        cross = landmarks.whitened(torch.addr(sums.cross, total, level, alpha=-1))
        spread = sums.squares - n * level.square()
        weights, error = shrunk(squares[None], v[None], cross[None], spread[None], n, penalties)
        weights = solve_triangular(landmarks.root.T, weights[0], upper=True)
        return cls(landmarks, sums, weights, sums.level + level - total @ weights / n, error[0])

    def at(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n t"]:
        return torch.cat([k @ self.weights for k in self.landmarks.rows(x)]) + self.offset


@dataclass(frozen=True)
class Sums:
    """All that a fit needs of n rows of the kernel and of targets less their `level`: they are never held at once."""

    n: int
    level: Float[Tensor, " t"]
    kernel: Float[Tensor, " k"]
    scatter: Float[Tensor, "k k"]
    cross: Float[Tensor, "k t"]
    targets: Float[Tensor, " t"]
    squares: Float[Tensor, " t"]

    @classmethod
    def of(
        cls, landmarks: Landmarks, x: Float[Tensor, "n d"], t: Float[Tensor, "n t"], level: Float[Tensor, " t"]
    ) -> "Sums":
        t = t - level
        parts = [(k.sum(0), k.T @ k, k.T @ own) for k, own in zip(landmarks.rows(x), t.split(ROWS), strict=True)]
        seen, scatter, cross = (torch.stack(part).sum(0) for part in zip(*parts, strict=True))
        return cls(len(x), level, seen, scatter, cross, t.sum(0), t.square().sum(0))

    def and_of(self, more: "Sums") -> "Sums":
        """Of the rows of both, which have one level."""
        return Sums(
            self.n + more.n,
            self.level,
            self.kernel + more.kernel,
            self.scatter + more.scatter,
            self.cross + more.cross,
            self.targets + more.targets,
            self.squares + more.squares,
        )
