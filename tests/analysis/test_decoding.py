"""Information that probes read from h and z, in worlds where it has a closed form: the table of `decoding`."""

import math

import pytest
import torch
from torch import Tensor

import synthetic
from ssl_theory.analysis.decoding import (
    class_information,
    conditional_information,
    gaussian_target_information,
    mixture_target_information,
)

N, NOISE, SPREAD = 8000, 0.5, 0.5
ROTATION = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(9), dtype=torch.float64))[0]
PER_COORDINATE = 0.5 * math.log(1 + 1 / NOISE**2)  # of a unit Gaussian, seen in the noise


def world(content: synthetic.Content) -> synthetic.World:
    mixing = synthetic.Linear(ROTATION)
    return synthetic.World(
        content, synthetic.Block(2, 1.0), mixing, synthetic.GaussianNoise(NOISE), dtype=torch.float64
    )


GAUSSIAN = world(synthetic.Gaussian(2, 1.0))
MIXTURE = world(synthetic.ClassMixture(8 * torch.eye(3, 2, dtype=torch.float64), SPREAD))


def representations(known: synthetic.World) -> tuple[dict[str, Tensor], synthetic.Views]:
    """h: all of x; z: its content half, read back through the mixing; and two that tell nothing."""
    drawn = known.sample(N, views=1, generator=torch.Generator().manual_seed(0))
    h = drawn.x[:, 0]
    nothing = {
        "constant": torch.full((N, 4), 3.7, dtype=torch.float64),
        "noise": torch.randn(N, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64),
    }
    return {"h": h, "z": (h @ ROTATION)[:, :2]} | nothing, drawn


def calibrated(found: float, truth: float, name: str) -> None:
    assert found == pytest.approx(truth, abs=0.05 if truth else 0.01), name


def test_gaussian_world():
    kept, drawn = representations(GAUSSIAN)
    y, s = drawn.content, drawn.style[:, 0]
    exact = 2 * PER_COORDINATE
    assert exact == pytest.approx(math.log(5))
    assert GAUSSIAN.content_information() == pytest.approx(exact, abs=1e-6)
    assert float(-0.5 * (1 - GAUSSIAN.style_r2()).log().sum()) == pytest.approx(exact, abs=1e-6)
    for name, r in kept.items():
        calibrated(gaussian_target_information(r, y), exact if name in "hz" else 0, name)
        calibrated(gaussian_target_information(r, s), exact if name == "h" else 0, name)
        calibrated(conditional_information(r, s, y), exact if name == "h" else 0, name)


def test_mixture_world():
    kept, drawn = representations(MIXTURE)
    y, s, k = drawn.content, drawn.style[:, 0], drawn.label
    within = math.log(1 + SPREAD**2 / NOISE**2)  # two coordinates
    for name, r in kept.items():
        tells = name in "hz"
        calibrated(class_information(r, k), math.log(3) if tells else 0, name)
        calibrated(mixture_target_information(r, y, k), math.log(3) + within if tells else 0, name)
        calibrated(conditional_information(r, s, k), 2 * PER_COORDINATE if name == "h" else 0, name)


def test_conditioning_takes_away_what_the_class_tells():
    """Style about its class: z = the class tells of style, and nothing beyond the class."""
    g = torch.Generator().manual_seed(0)
    k = torch.randint(3, (3000,), generator=g)
    style = 3 * torch.eye(3)[k] + torch.randn(3000, 3, generator=g)
    z = torch.eye(3)[k] + 0.1 * torch.randn(3000, 3, generator=g)
    assert gaussian_target_information(z, style) > 1
    assert conditional_information(z, style, k) == pytest.approx(0, abs=0.01)
    seen = style + torch.randn(3000, 3, generator=g)
    assert conditional_information(seen, style, k) == pytest.approx(1.5 * math.log(2), abs=0.05)
    # Content that is a number: of the Gaussian pair (y, s) with correlation 0.6, z = s + e sees s beyond y.
    y = torch.randn(8000, 1, generator=g)
    s = 0.6 * y + 0.8 * torch.randn(8000, 1, generator=g)
    known = -0.5 * math.log(1 - 0.36)
    assert conditional_information(y, s, y, known=known) == pytest.approx(0, abs=0.02)
    truth = 0.5 * math.log(1 + 0.64)  # Var(s given y) = 0.64 in unit noise
    assert conditional_information(s + torch.randn(8000, 1, generator=g), s, y, known=known) == pytest.approx(
        truth, abs=0.03
    )


def test_classes_count_by_their_share():
    """One row in ten is of a class in which r tells t; elsewhere it tells nothing."""
    k, t = (torch.arange(N) % 10 == 0).long(), noise(N, 1)
    told = torch.where(k[:, None] == 1, t + NOISE * noise(N, 1, seed=1), noise(N, 1, seed=2))
    assert conditional_information(told, t, k) == pytest.approx(PER_COORDINATE / 10, abs=0.01)


def test_information_of_four_rows_by_hand():
    """The line fitted is t = r, which errs by 1 or -1 of four targets of variance 5; and by 0, where r is constant."""
    fitted, r = torch.arange(-5.0, 6.0).double()[:, None], torch.tensor([[2.0], [-2.0], [2.0], [-2.0]]).double()
    t = r + torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    found = gaussian_target_information(fitted, fitted, test=(r, t), penalties=(0.0,))
    assert found == pytest.approx(0.5 * math.log(5))
    assert gaussian_target_information(0 * fitted, fitted, test=(0 * r, t)) == pytest.approx(0, abs=1e-12)


def test_a_network_reads_what_a_line_does_not():
    g = torch.Generator().manual_seed(0)
    k, s = torch.randint(2, (4000,), generator=g), torch.randn(4000, 1, generator=g)
    r = s.sinh() + 0.0 * k[:, None] + 0.1 * torch.randn(4000, 1, generator=g)
    line, network = (conditional_information(r, s, k, kind=kind, **o) for kind, o in
                     (("linear", {}), ("mlp", {"steps": 200})))  # fmt: skip
    assert network > line + 0.5


def test_members_kinds_and_errors():
    kept, drawn = representations(MIXTURE)
    s, k = drawn.style[:500, 0], drawn.label[:500]
    stack = torch.stack([kept[name][:500] for name in ("h", "noise", "h")])
    stack[2, 0, 0] = torch.nan
    alone = conditional_information(stack[0], s, k)
    for given in (k, k.expand(3, -1)):
        found = conditional_information(stack, s, given)
        assert found[0] == pytest.approx(alone)
        assert found.isnan().tolist() == [False, False, True]
    assert conditional_information(stack[0].numpy(), s.numpy(), k.numpy()) == pytest.approx(alone)
    assert conditional_information(stack.numpy(), s.numpy(), drawn.content[:500].numpy()).shape == (3,)
    # Classes that come as floating-point numbers are classes, not numbers that are given.
    y = drawn.content[:500]
    for given in (k.double(), k.float(), k.expand(3, -1).double()):
        torch.testing.assert_close(
            mixture_target_information(stack, y, given), mixture_target_information(stack, y, k), equal_nan=True
        )
    assert mixture_target_information(stack[0], y, k.double()) == mixture_target_information(stack[0], y, k)
    for call, message in (
        (lambda: conditional_information(stack, s, k, known=1.0), "known: expected 0 beside classes"),
        (
            lambda: conditional_information(stack, s, s, known=-5.0),
            r"known: expected I\(g; t\) >= 0 in nats, found -5.0",
        ),
        (lambda: conditional_information(stack, s, s, known=math.nan), r"known: expected I\(g; t\) >= 0 in nats"),
        (lambda: conditional_information(stack, s, torch.arange(500)), "4 rows or more of each class, found 1"),
        (lambda: conditional_information(stack, s, k[1:]), "given: expected"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            call()
        assert "\n" not in str(error.value)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("seed", range(3))
def test_chance_of_many_classes_and_coordinates_does_not_add_up(seed: int):
    """Noise tells nothing: of 100 classes with 20 rows each, and of 50 coordinates in 100 rows."""
    k = torch.arange(2000) % 100
    r, t = noise(2000, 4, seed=seed), noise(2000, 3, seed=10 + seed)
    assert conditional_information(r, t, k) == pytest.approx(0, abs=1e-3)
    assert mixture_target_information(r, t, k) == pytest.approx(class_information(r, k), abs=1e-3)
    assert gaussian_target_information(r[:100], noise(100, 50, seed=20 + seed)) == pytest.approx(0, abs=1e-3)
    # A signal shows, and not above the truth.
    seen = t[:, :1] + 0.5 * noise(2000, 1, seed=30 + seed)
    assert 0.4 < conditional_information(seen, t[:, :1], k) < PER_COORDINATE + 0.02


def test_a_coordinate_that_does_not_vary_takes_nothing_away():
    s = noise(N, 1)
    seen, constant = s + NOISE * noise(N, 1, seed=1), torch.full((N, 1), 0.1, dtype=torch.float64)
    calibrated(gaussian_target_information(seen, torch.cat([s, constant], 1)), PER_COORDINATE, "beside a constant")


def test_what_is_given_does_not_change_the_precision_of_r():
    """Style that is left in the last digits of single precision is none, beside numbers in double precision too."""
    y, s = noise(N, 2), noise(N, 2, seed=1)
    seen = 3.7 + 1e-6 * s
    assert conditional_information(seen, s, y) > 1
    assert conditional_information(seen.float(), s, y) == pytest.approx(0, abs=0.01)
    assert conditional_information(y, s, seen.float()) == pytest.approx(0, abs=0.01)
    # In 16 bits what varies is told as before.
    told = conditional_information(s + NOISE * noise(N, 2, seed=2), s, y)
    assert conditional_information((s + NOISE * noise(N, 2, seed=2)).bfloat16(), s, y) == pytest.approx(told, abs=0.02)
