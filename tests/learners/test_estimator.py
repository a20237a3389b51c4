"""A learner works where scikit-learn expects a transformer."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ssl_theory.learners import VAE, SimCLR, Supervised
from ssl_theory.learners.estimator import Representation
from tests.learners.toy import SMALL, Toy

DRAWN = Toy().sample(300, views=1, generator=torch.Generator().manual_seed(0))
X, Y = DRAWN.x[:, 0].numpy(), DRAWN.label.numpy()


def jitter(x, generator):
    return x + 0.1 * torch.randn(x.shape, generator=generator)


def test_it_stands_in_a_pipeline():
    pipeline = make_pipeline(
        StandardScaler(), Representation(SimCLR(**SMALL), augment=jitter, steps=60, batch_size=32), LogisticRegression()
    )
    assert pipeline.fit(X, Y).score(X, Y) > 0.8
    assert list(pipeline[:-1].get_feature_names_out()) == [f"representation{i}" for i in range(3)]


def test_it_repeats_and_clones():
    estimator = Representation(Supervised(**SMALL, classes=3), steps=5, seed=3, batch_size=8)
    first = estimator.fit(X, Y).transform(X)
    assert first.shape == (300, 3)
    assert np.array_equal(clone(estimator).fit(X, Y).transform(X), first)
    assert not np.array_equal(clone(estimator).set_params(seed=4).fit(X, Y).transform(X), first)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: Representation(SimCLR(**SMALL)).fit(X), "augment=.*, which makes the views that SimCLR compares"),
    (lambda: Representation(VAE(**SMALL)).fit(X[:0]), "finite X of shape"),
    (lambda: Representation(VAE(**SMALL)).fit(np.full((4, 2), np.nan)), "finite X of shape .* clean X first"),
    (lambda: Representation(VAE(**SMALL, decoder_variance=float("nan")), steps=2).fit(X), "a finite loss, found"),
    (lambda: Representation(Supervised(**SMALL)).fit(X), "samples with .label, found none"),
])  # fmt: skip
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_it_must_be_fitted_first():
    with pytest.raises(NotFittedError):
        Representation(VAE(**SMALL)).transform(X)
