"""The spherical world: vMF normaliser, densities, posteriors and informations, by other routes."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special, stats

from synthetic import NotExact, Sphere, VonMisesFisher, mlp, preset
from synthetic.exact.bessel import log_area, log_bessel_i, log_vmf_normaliser, vmf_mean, vmf_variance_along
from synthetic.exact.spherical import SphericalLaw, VonMisesFisherPosterior
from tests.synthetic.worlds import seeded, world


def bessel_by_quadrature(order: float, x: float) -> float:
    """`log I_order(x)` from Poisson's integral, scaled by its largest value."""

    def integrand(t: float) -> float:
        return math.exp(x * (t - 1)) * (1 - t * t) ** (order - 0.5)

    peak = max(0.0, 1 - 30 / x)
    value = sum(integrate.quad(integrand, *ends, epsabs=0, epsrel=1e-11)[0] for ends in ((-1, peak), (peak, 1)))
    constant = order * math.log(x / 2) - 0.5 * math.log(math.pi) - special.gammaln(order + 0.5)
    return math.log(value) + x + constant


@pytest.mark.parametrize("order", [0.5, 1.0, 1.5, 4.0, 15.0])
@pytest.mark.parametrize("x", [0.3, 10.0, 1e4])
def test_bessel_functions_are_their_integral(order: float, x: float) -> None:
    assert log_bessel_i(order, np.array([x]))[0] == pytest.approx(bessel_by_quadrature(order, x), abs=1e-7, rel=1e-9)


@pytest.mark.parametrize("order", [0.0, 7.5, 40.0, 127.0, 511.5])
@pytest.mark.parametrize("x", [1e-6, 0.5, 3.0, 30.0, 300.0])
def test_bessel_functions_are_mpmaths(order: float, x: float) -> None:
    """Small arguments of large orders underflow unless the series or the uniform expansion steps in."""
    exact = float(mpmath.log(mpmath.besseli(order, x)))
    assert log_bessel_i(order, np.array([x]))[0] == pytest.approx(exact, abs=1e-9, rel=2e-12)


@given(order=st.floats(0.0, 600.0), x=st.floats(1e-8, 1e5))
def test_bessel_functions_are_finite_and_obey_their_recurrence(order: float, x: float) -> None:
    """`I_{v-1} - I_{v+1} = (2 v / x) I_v`, across the seams of the three ways to compute them."""
    v, at = order + 1, np.array([x])
    below, own, above = (log_bessel_i(v + step, at)[0] for step in (-1, 0, 1))
    assert all(map(math.isfinite, (below, own, above)))
    left, right = 1 - math.exp(above - below), 2 * v / x * math.exp(own - below)
    assert left == pytest.approx(right, abs=2e-7)


@pytest.mark.parametrize("dim", [2, 3, 5, 10])
@pytest.mark.parametrize("kappa", [0.5, 10.0, 200.0])
def test_normaliser_is_scipys(dim: int, kappa: float) -> None:
    pole = np.eye(dim)[0]
    own = log_vmf_normaliser(dim, torch.tensor(kappa, dtype=torch.float64)).item() + kappa
    assert own == pytest.approx(stats.vonmises_fisher(pole, kappa).logpdf(pole), abs=1e-9)


def test_normaliser_without_concentration_is_the_area() -> None:
    assert log_vmf_normaliser(3, torch.zeros(1, dtype=torch.float64)).item() == pytest.approx(-math.log(4 * math.pi))
    assert log_area(2) == pytest.approx(math.log(2 * math.pi))
    assert vmf_mean(3, torch.zeros(1)).item() == 0


@pytest.mark.parametrize(("dim", "kappa"), [(2, 3.0), (3, 10.0), (5, 1.0), (10, 1e4)])
def test_samples_are_von_mises_fisher(dim: int, kappa: float) -> None:
    """`y'z` has the distribution function of its density, and z is symmetric around y."""
    views = world(Sphere(dim), VonMisesFisher(kappa)).sample(20_000, views=1, generator=seeded(1))
    y, z = views.content, views.z[:, 0]
    assert torch.allclose(z.norm(dim=1), torch.ones(20_000, dtype=torch.float64))
    gap = 0.5 * (z - y).square().sum(1).numpy()
    width = min(2.0, 40 / kappa)
    knots = np.linspace(0, width, 20_001)[1:-1]
    density = np.exp(-kappa * knots) * (knots * (2 - knots)) ** ((dim - 3) / 2)
    cdf = np.cumsum(density) / density.sum()
    assert stats.kstest(gap, lambda g: np.interp(g, knots, cdf)).statistic < 0.015
    assert torch.allclose((views.style[:, 0] * y).sum(1), torch.zeros(20_000, dtype=torch.float64), atol=1e-9)


@pytest.mark.parametrize("anchored", [False, True])
@pytest.mark.parametrize("views", [1, 2, 3])
def test_evidence_is_the_integral_over_content(views: int, anchored: bool) -> None:
    """On the circle: `1/(2 pi) int prod_j vMF(z^j; y) dy` on a fine grid of angles."""
    made = world(Sphere(2), VonMisesFisher(4.0, anchored=anchored))
    z = made.sample(5, views=views, generator=seeded(2)).z
    angle = torch.linspace(0, 2 * math.pi, 4001, dtype=torch.float64)[:-1]
    y = torch.stack((angle.cos(), angle.sin()), 1)
    log_density = 4.0 * torch.einsum("njd,gd->njg", z, y) - math.log(2 * math.pi * special.i0(4.0))
    if anchored:
        expected = -math.log(2 * math.pi) + (4.0 * (z[:, :1] * z[:, 1:]).sum((1, 2)))
        expected = expected - (views - 1) * math.log(2 * math.pi * special.i0(4.0))
    else:
        expected = log_density.sum(1).logsumexp(1) - math.log(4000)
    assert torch.allclose(made.log_evidence(z), expected, atol=1e-9)


def test_posterior_is_bayes_rule() -> None:
    made = world(Sphere(3), VonMisesFisher(6.0))
    views = made.sample(50, views=3, generator=seeded(3))
    likelihood = 3 * log_vmf_normaliser(3, torch.tensor(6.0).double()) + 6.0 * (views.z.sum(1) * views.content).sum(1)
    expected = likelihood - log_area(3) - made.log_prior(views.z)
    assert torch.allclose(made.posterior(views.z).log_prob(views.content), expected, atol=1e-9)
    with pytest.raises(NotExact, match="seen without noise"):
        made.posterior(views.z, "style")


@pytest.mark.parametrize("dim", [2, 3, 6])
@pytest.mark.parametrize("kappa", [0.5, 20.0, 1e4])
def test_informations_are_finite_ordered_and_of_the_right_size(dim: int, kappa: float) -> None:
    made = world(Sphere(dim), VonMisesFisher(kappa))
    between, content = made.mutual_information(), made.content_information()
    assert 0 < between < content < math.inf
    if kappa >= 1e4:  # locally a Gaussian of d - 1 dimensions: two views differ by twice the variance
        assert content - between == pytest.approx(0.5 * (dim - 1) * math.log(2), abs=1e-3)
        gaussian = log_area(dim) - 0.5 * (dim - 1) * math.log(2 * math.pi * math.e / kappa)
        assert content == pytest.approx(gaussian, abs=1e-3)


def test_anchored_information_is_that_of_content() -> None:
    anchored, free = (world(Sphere(5), VonMisesFisher(9.0, anchored=a)) for a in (True, False))
    assert anchored.mutual_information() == pytest.approx(free.content_information(), abs=1e-12)
    assert anchored.content_information() == math.inf


def test_density_on_the_image_of_a_nonlinear_map_integrates_to_one() -> None:
    """A closed curve in the plane: density per unit of its length, along a fine polygon."""
    made = world(Sphere(2), VonMisesFisher(4.0), mlp(2, 2, seeded(4), condition_number=4.0, smooth=True))
    angle = torch.linspace(0, 2 * math.pi, 20_001, dtype=torch.float64)
    x = made.mixing(torch.stack((angle.cos(), angle.sin()), 1))
    length = (x[1:] - x[:-1]).norm(dim=1)
    density = made.log_evidence(x[:-1, None]).exp()
    assert (density * length).sum().item() == pytest.approx(1, abs=1e-3)


def test_impossible_spheres() -> None:
    with pytest.raises(ValueError, match="at least 2 dimensions"):
        Sphere(1)
    with pytest.raises(ValueError, match="positive concentration"):
        VonMisesFisher(0.0)
    noisy = preset("sphere", noise=0.1, dtype=torch.float64)
    with pytest.raises(NotExact, match="nonlinear and observation noise"):
        noisy.mutual_information()
    with pytest.raises(NotExact, match="latents on a sphere are seen through noise"):
        _ = world(Sphere(2), VonMisesFisher(2.0), noise=0.1).law


@pytest.mark.parametrize(
    ("dim", "kappa", "expected"), [(1000, 1e4, 853.95), (2000, 2000.0, 157.78), (800, 1e4, 764.50)]
)
def test_information_in_high_dimension_is_mean_pmi(dim: int, kappa: float, expected: float) -> None:
    """Two views are then far apart, at the angle of cosine `A(kappa)^2`."""
    law = SphericalLaw(dim, torch.tensor(kappa, dtype=torch.float64))
    found = law.mutual_information()
    assert found == pytest.approx(expected, abs=0.01)
    z = world(Sphere(dim), VonMisesFisher(kappa)).sample(400, generator=seeded(1)).z
    pmi = law.pmi(z[:, 0], z[:, 1])
    assert found == pytest.approx(pmi.mean().item(), abs=5 * pmi.std().item() / 20)


@pytest.mark.parametrize("dim", [2, 3, 10, 64, 300])
@pytest.mark.parametrize("kappa", [0.1, 20.0, 500.0, 1e5])
def test_information_is_integrated_from_the_pole_where_that_holds_the_mass(dim: int, kappa: float) -> None:
    law = SphericalLaw(dim, torch.tensor(kappa, dtype=torch.float64))
    assert law._range() == (0, min(math.pi, 40 / math.sqrt(kappa)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [2, 3, 4, 10])
def test_posterior_covariance_is_that_of_the_law_at_every_concentration(size: int, dtype: torch.dtype) -> None:
    """From uniform, I / d, to (d - 1) / (2 kappa^2) along the direction and 1 / kappa across."""
    kappa = torch.tensor([0.0, 1e-3, 1.0, 3e3, 1e6, 1e9], dtype=dtype)
    direction = torch.eye(size, dtype=dtype)[0].expand(len(kappa), -1)
    found = VonMisesFisherPosterior(direction, kappa).covariance.double().diagonal(0, 1, 2)
    torch.testing.assert_close(found[:2], torch.full((2, size), 1 / size, dtype=torch.float64), rtol=1e-3, atol=0)
    far = kappa[3:].double()
    torch.testing.assert_close(found[3:, 0], (size - 1) / (2 * far**2), rtol=5e-3, atol=0)
    torch.testing.assert_close(found[3:, 1], 1 / far, rtol=5e-3, atol=0)
    assert float(found[:, 1:].sum(1)[2] + found[2, 0] + VonMisesFisherPosterior(direction, kappa).mean[2, 0] ** 2) == (
        pytest.approx(1, abs=1e-6)  # E |y|^2
    )


def test_variance_along_the_mean_does_not_jump_where_its_series_takes_over() -> None:
    for size in (2, 3, 10, 100):
        kappa = 2e3 * size * torch.tensor([0.999999, 1.000001], dtype=torch.float64)
        before, after = vmf_variance_along(size, kappa).tolist()
        assert after / before == pytest.approx(float(kappa[0] / kappa[1]) ** 2, rel=2e-6)
