"""A learner as a scikit-learn transformer, for pipelines; import it from here (scikit-learn loads slowly)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ssl_theory.learners.contrastive import SimCLR
from ssl_theory.learners.ensemble import fit
from ssl_theory.learners.learner import Learner
from ssl_theory.learners.samplers import Augmented


class Representation(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Train one member on `X (n, *shape)` and transform to its representation `(n, d)`, as numpy arrays.

    `augment(x, generator)` makes a view of each row of a batch `(m, *shape)`; learners that compare views need it. `y`,
    where given, are integer labels (for `Supervised`). After `fit`, `fitted_` is the `Fitted` of one member.

    >>> make_pipeline(StandardScaler(), Representation(SimCLR(), augment=jitter), LogisticRegression())
    """

    def __init__(
        self,
        learner: Learner | None = None,
        *,
        augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
        steps: int = 1000,
        seed: int = 0,
        batch_size: int = 128,
        views: int = 2,
        layer: str = "representation",
        device: str = "auto",
    ) -> None:
        self.learner = learner
        self.augment = augment
        self.steps = steps
        self.seed = seed
        self.batch_size = batch_size
        self.views = views
        self.layer = layer
        self.device = device

    def fit(self, X: Any, y: Any = None) -> "Representation":
        learner = self.learner or SimCLR()
        if self.augment is None and learner.minimum_views > 1:
            found = type(learner).__name__
            raise ValueError(f"expected augment=..., which makes the views that {found} compares, found none; pass one")
        sampler = Augmented(self._checked(X), self.augment or _same, None if y is None else torch.as_tensor(y))
        options: dict[str, Any] = {"batch_size": self.batch_size, "views": self.views, "device": self.device}
        self.fitted_ = fit(learner, sampler, steps=self.steps, seeds=[self.seed], **options)
        if self.fitted_.diverged.any():
            raise ValueError(f"expected a finite loss, found {self.fitted_.divergences.to_dict('records')}; scale X")
        return self

    def transform(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        z = self.fitted_.transform(self._checked(X), layer=self.layer)[0].numpy()
        self._n_features_out = z.shape[1]
        return z

    @staticmethod
    def _checked(X: Any) -> Tensor:
        x = torch.as_tensor(np.asarray(X, dtype=np.float32))
        if x.ndim < 2 or not len(x) or not x.isfinite().all():
            raise ValueError(f"expected finite X of shape (n, *shape), found {tuple(x.shape)} or NaN; clean X first")
        return x


def _same(x: Tensor, generator: torch.Generator) -> Tensor:
    return x
