"""gap-budget: the verdict follows the table, closed forms have a second way, smoke runs whole."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from figures import look
from paper_checks import gap_budget as claim
from paper_checks import gaussian_gap
from paper_checks.claim import Config, Verdict
from paper_checks.judge import judge
from ssl_theory.losses import decoders, generative, priors
from tests.paper_checks.conftest import empty_panels

SMOKE: Config = claim.CLAIM.settings("smoke")
RATIOS = SMOKE["ratios"]


def model(seed: int = 0, style: float = 0.3, content: float = 0.8, bias: float = 0.2) -> gaussian_gap.Model:
    generator = torch.Generator().manual_seed(seed)
    weight, offset = (torch.randn(*size, generator=generator, dtype=torch.float64) for size in ((5, 3), (5,)))
    return gaussian_gap.Model(weight, bias * offset, style, content)


def made_up(
    views: float = 1.0, alone: float = 3.0, training: float = 0.1, slip: float = 0.0, lowest: float = 0.0
) -> pd.DataFrame:
    """Parts that grow with the ratio; `views` scales the measured cost of factorising, `slip` the library's numbers."""
    rows = []
    for prior in (claim.EXACT, claim.PLUG_IN):
        for ratio in RATIOS:
            for seed in (0, 1):
                theory = math.log1p(ratio) + 0.01 * seed
                values = [lowest, 0.1, views * theory, 0.0, alone * theory, training * theory]
                gap = sum(values)
                numbers = [*zip(claim.TERMS, values, [math.nan] * 6, strict=True)]
                numbers += [(claim.GAP, gap, gap + slip), (claim.CLAIMED, theory, views * theory)]
                numbers += [(claim.EXPECTED, theory, math.nan)]
                numbers += [(claim.LOG_Z, 0.3, 0.3 + slip)] * (prior == claim.PLUG_IN)
                rows += [(prior, ratio, seed, *number) for number in numbers]
    return pd.DataFrame(rows, columns=["prior", "ratio", "seed", "term", "value", "check"])


@pytest.mark.parametrize(
    ("numbers", "failing"),
    [
        ({}, []),
        ({"slip": 1e-6}, [0, 6]),
        ({"lowest": -1e-3}, [1]),
        ({"views": 0.3}, [2, 3]),
        ({"alone": 0.2}, [4, 7]),
        ({"alone": 0.9, "training": 0.9}, [5, 7]),
        ({"training": 2.0}, [5]),
    ],
)
def test_the_verdict_follows_the_table(numbers: dict[str, float], failing: list[int]) -> None:
    found = claim.findings(made_up(**numbers), SMOKE)
    assert [index for index, f in enumerate(found) if f.verdict is Verdict.FAILS] == failing
    assert {f.verdict for index, f in enumerate(found) if index not in failing} == {Verdict.HOLDS}


def test_a_member_that_diverged_is_never_a_finding_that_holds() -> None:
    table = made_up()
    lost = (table.seed == 1) & (table.ratio == RATIOS[0])
    table.loc[lost, ["value", "check"]] = math.nan
    assert Verdict.HOLDS not in {f.verdict for f in claim.findings(table, SMOKE)}


def test_the_control_forgets_common_content_alone() -> None:
    main, broken = (claim.tasks(config) for config in (SMOKE, claim.control(SMOKE)))
    changed = [(a.kwargs, b.kwargs) for a, b in zip(main, broken, strict=True) if a.identity != b.identity]
    assert [dict(a) | {"coupled": False} for a, _ in changed] == [dict(b) for _, b in changed]
    assert [a["prior"] for a, _ in changed] == [claim.EXACT]
    findings, uncoupled = claim.findings(made_up(), SMOKE), made_up(views=0.0, alone=0.0, training=0.01, lowest=9.0)
    assert judge(findings, claim.findings(uncoupled, SMOKE), [])[0] is Verdict.HOLDS
    assert judge(findings, findings, [])[0] is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("content", [0.0, 0.1, 2.0, 30.0])
def test_the_closed_form_is_the_divergence_of_the_best_factorised_posterior(content: float) -> None:
    ours = model(content=content)
    joint, apart = (MultivariateNormal(q.offset, q.covariance) for q in gaussian_gap.posteriors(ours, ours)[:2])
    closed = gaussian_gap.factorising(ours.weight, ours.style, ours.content)
    assert float(kl_divergence(apart, joint)) == pytest.approx(closed, abs=1e-10)
    assert (closed > 0) == (content > 0)


def test_the_distance_is_that_of_the_library_s_bound() -> None:
    world, ours = model(0, bias=0.0), model(1, style=0.5)
    prior = priors.Gaussian(ours.style, ours.content)
    evidence = -float(MultivariateNormal(torch.zeros(10).double(), world.seen()).entropy())
    encoder = torch.randn(6, 5, generator=torch.Generator().manual_seed(2)).double() / 3, torch.ones(6).double() / 5
    for q in gaussian_gap.posteriors(world, ours, encoder):
        bound = gaussian_gap.expected_bound(world, ours, q, prior)
        assert evidence - bound == pytest.approx(gaussian_gap.distance(world, ours, q), abs=1e-10)


def test_the_trained_posterior_s_bound_is_that_of_a_large_sample() -> None:
    """Its variance depends on x, which the cubature only knows by its mean."""
    world, ours = model(0, bias=0.0), model(1)
    generator = torch.Generator().manual_seed(3)
    weight, offset = 0.2 * torch.randn(6, 5, generator=generator).double(), torch.full((6,), -0.5).double()
    normal = torch.randn(400_000, 10, generator=generator, dtype=torch.float64)
    x = (normal @ torch.linalg.cholesky(world.seen()).T).unflatten(1, (2, 5))
    mean, log_variance = (x @ weight.T + offset).chunk(2, -1)
    z = mean + (0.5 * log_variance).exp() * torch.randn(mean.shape, generator=generator, dtype=torch.float64)
    decoded = z @ ours.weight.T + ours.bias
    prior = priors.Gaussian(ours.style, ours.content)
    each = generative.evidence_bound(
        x, decoded, z, generative.entropy(log_variance), prior=prior, decoder=decoders.Gaussian(gaussian_gap.NOISE)
    )
    expected = gaussian_gap.expected_bound(world, ours, gaussian_gap.trained(world, (weight, offset)), prior)
    assert float(each.mean()) == pytest.approx(expected, abs=5 * float(each.std()) / math.sqrt(len(each)))


def test_no_other_decoder_is_likelier_and_no_other_encoder_of_one_view_nearer() -> None:
    world = model(0, bias=0.0)
    best = gaussian_gap.best_decoder(world, 0.15, 1.0)
    least = gaussian_gap.distance(world, best, gaussian_gap.posteriors(world, best)[0])
    alone = gaussian_gap.posteriors(world, best)[3]
    nearest = gaussian_gap.distance(world, best, alone)
    generator = torch.Generator().manual_seed(1)
    for size in (1e-3, 1e-1):
        for _ in range(20):
            step = size * torch.randn(best.weight.shape, generator=generator, dtype=torch.float64)
            other = gaussian_gap.Model(best.weight + step, best.bias, best.style, best.content)
            assert gaussian_gap.distance(world, other, gaussian_gap.posteriors(world, other)[0]) > least
            weight = alone.weight + gaussian_gap.each_view(step.T)
            assert (
                gaussian_gap.distance(world, best, gaussian_gap.Posterior(weight, alone.offset, alone.covariance))
                > nearest
            )


def test_the_right_prior_misfits_nowhere_and_its_best_decoder_is_the_world_s() -> None:
    world = model(0, bias=0.0)
    best = gaussian_gap.best_decoder(world, world.style, world.content)
    torch.testing.assert_close(best.weight, world.weight)
    assert gaussian_gap.distance(world, best, gaussian_gap.posteriors(world, best)[0]) == pytest.approx(0, abs=1e-12)


def test_the_plug_in_prior_over_its_mass_is_a_gaussian_prior() -> None:
    z = torch.randn(7, gaussian_gap.J, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    density = priors.Gaussian(0.3, 0.8 - 0.3 / gaussian_gap.J).log_prob(z)
    log_mass = 1.5 * math.log(gaussian_gap.J / (2 * math.pi * 0.3))
    torch.testing.assert_close(priors.PlugIn(0.3, 0.8).log_prob(z), density + log_mass)


def test_one_view_alone_costs_what_the_docstring_says_at_the_world_s_decoder() -> None:
    world = gaussian_gap.Model(gaussian_gap.eye(1), torch.zeros(1).double(), claim.STYLE, claim.STYLE)
    distances = [gaussian_gap.distance(world, world, q) for q in gaussian_gap.posteriors(world, world)]
    _, views, coordinates, alone = np.diff([0.0, *distances])
    assert alone / (views + coordinates + alone) == pytest.approx(0.78, abs=0.005)


def test_smoke_runs_from_tasks_to_caption_with_and_without_control() -> None:
    tables = []
    for config in (SMOKE, claim.control(SMOKE)):
        tables.append(pd.concat([task.labelled(task.run("cpu")) for task in claim.tasks(config)], ignore_index=True))
    findings = claim.findings(tables[0], SMOKE)
    assert [findings[index].verdict for index in (0, 1, 2, 6)] == [Verdict.HOLDS] * 4
    broken = claim.findings(tables[1], SMOKE)
    assert [broken[index].verdict for index in (0, 1)] == [Verdict.HOLDS] * 2
    assert broken[2].verdict is Verdict.FAILS
    assert claim.spread(tables[1], claim.VIEWS).abs().to_numpy().max() < 1e-10
    with look():
        for other in (*tables[1:], None):
            assert empty_panels(claim.draw(tables[0], other, findings, SMOKE)) == []
    assert "nan" not in claim.caption(findings)
    assert (np.diff(claim.spread(tables[0], claim.EXPECTED).mean()) > 0).all()
