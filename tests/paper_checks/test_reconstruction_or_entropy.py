"""The four objectives: their terms are what they are called, and the verdict follows the table."""

import math

import pandas as pd
import pytest
import torch
from torch import nn

from figures import look
from paper_checks import reconstruction_or_entropy as file
from paper_checks.claim import Verdict
from paper_checks.judge import judge
from paper_checks.reconstruction_or_entropy import AGGREGATE, CLAIM, ELBO, POSTERIOR, PRIOR
from paper_checks.trained import OBSERVATION
from ssl_theory.losses import priors
from tests.paper_checks.conftest import empty_panels

pytestmark = pytest.mark.usefixtures("rough_probes")

TRAINED = {
    PRIOR: {"total variance": 1e-6, "style R2, nonlinear": 0.1, "NMI": 0.2},
    AGGREGATE: {"total variance": 10.0, "style R2, nonlinear": 0.05, "NMI": 0.9},
    POSTERIOR: {"total variance": 1e-4, "style R2, nonlinear": 0.01, "NMI": 0.2},
    ELBO: {"total variance": 10.0, "style R2, nonlinear": 0.7, "NMI": 0.85},
    "Random": {"total variance": 0.5, "style R2, nonlinear": 0.6, "NMI": 0.6},
}
UNTRAINED = dict.fromkeys(TRAINED, TRAINED["Random"])


def made_up(values: dict[str, dict[str, float]]) -> pd.DataFrame:
    """Two seeds that differ a little; what a draw of q tells is small."""
    rows = []
    for seed in (0, 1):
        for method, measures in values.items():
            for layer in ("representation", "sample") if method == POSTERIOR else ("representation",):
                told = measures | {"content R2, nonlinear": 0.01 if layer == "sample" else 0.9}
                about = {"method": method, "layer": layer, "seed": seed}
                rows += [about | {"measure": m, "value": v * (1 + 1e-3 * seed)} for m, v in told.items()]
        for measure, value in (("style R2, nonlinear", 0.9), ("style floor", 0.0)):
            rows.append(
                {"method": OBSERVATION, "layer": "observation", "seed": seed, "measure": measure, "value": value}
            )
    return pd.DataFrame(rows)


def findings(values: dict[str, dict[str, float]]) -> list:
    return list(CLAIM.findings(made_up(values), {}))


def test_the_verdict_follows_the_table_and_the_control() -> None:
    assert judge(findings(TRAINED), findings(UNTRAINED), []) == (Verdict.HOLDS, [])
    assert judge(findings(TRAINED), findings(TRAINED), [])[0] is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("method", "measure", "value"),
    [
        (PRIOR, "total variance", 1.0),
        (AGGREGATE, "style R2, nonlinear", 0.6),
        (ELBO, "NMI", 0.6),
        (POSTERIOR, "total variance", 5.0),
    ],
)
def test_what_should_not_be_makes_it_fail(method: str, measure: str, value: float) -> None:
    broken = TRAINED | {method: TRAINED[method] | {measure: value}}
    assert Verdict.of(f.verdict for f in findings(broken)) is Verdict.FAILS


def test_the_control_changes_only_the_steps() -> None:
    assert CLAIM.control is not None
    config = CLAIM.settings("quick")
    assert CLAIM.control(config) == config | {"steps": 0}


def test_gaussian_entropy_is_that_of_the_sample_covariance() -> None:
    z = torch.randn(2, 50, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for member, entropy in zip(z, file.gaussian_entropy(z), strict=True):
        normal = torch.distributions.MultivariateNormal(torch.zeros(3).double(), member.flatten(0, 1).mT.cov())
        assert entropy.item() == pytest.approx(normal.entropy().item())
    assert file.gaussian_entropy(2 * z) - file.gaussian_entropy(z) == pytest.approx(3 * math.log(2))


def test_the_ring_is_the_conditional_variance_of_the_prior() -> None:
    covariance = file.STYLE_VARIANCE * torch.eye(file.VIEWS) + file.CONTENT_VARIANCE
    assert file.best_factorised_variance() == pytest.approx(1 / float(covariance.inverse()[0, 0]), rel=1e-5)


class Encoder(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_each_objective_has_the_terms_of_its_name() -> None:
    x = torch.randn(1, 40, 2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    modules = nn.ModuleDict({"encoder": Encoder()})
    prior = priors.Gaussian(file.STYLE_VARIANCE, file.CONTENT_VARIANCE)
    alone = file.PriorAlone().loss(modules, x)
    assert alone == pytest.approx(-prior.log_prob(x).mean(-1))
    assert file.AggregateEntropy().loss(modules, x) == pytest.approx(alone - file.gaussian_entropy(x))
    mean, log_variance = x.chunk(2, -1)
    noise = torch.zeros_like(mean)
    entropy = torch.distributions.Normal(mean, (0.5 * log_variance).exp()).entropy().sum((-1, -2)).mean(-1)
    expected = -entropy - prior.log_prob(mean).mean(-1)
    assert file.PosteriorEntropy().loss(modules, x, noise) == pytest.approx(expected)


def test_smoke_runs_from_tasks_to_caption() -> None:
    config = CLAIM.settings("smoke") | {"steps": 3, "points": 100}
    table = pd.concat([task.run("cpu") for task in CLAIM.tasks(config)], ignore_index=True)
    found = CLAIM.findings(table, config)
    with look():
        for other in (table, None):
            assert empty_panels(CLAIM.draw(table, other, found, config)) == []
    assert len(CLAIM.caption(found)) > 50
