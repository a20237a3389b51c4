"""Time of the probes beside scikit-learn called member by member: `python speed/analysis.py [--members 10] ...`.

Like with like: the same halves, grids, folds, refits, tolerance and one thread on both sides, in
scikit-learn's own one call for it (`RidgeCV` for all targets, `LogisticRegressionCV`, `GridSearchCV`). Times are
medians of `--repeats` runs. Prints one line a measure and writes `speed/results/NAME.json`, with the date and the
machine's load. On a busy machine only the processor seconds mean something. Ridge chooses by generalised
cross-validation here, by leave-one-out there. Networks are the exception to like with like: they share widths,
optimiser, number of steps, share held out and, for numbers, the ridge whose rest they fit; scikit-learn's 256 rows a
step at one rate of 5e-3 are its own setting, at which it scores as well as the toolkit. The
ratio of networks depends on that setting.

Bare products: the time of nothing but the matrix products that this algorithm cannot do without, in the same precision
and through the same BLAS; scikit-learn's time over it is the most that any code could win here. Logistic regression has
no such line, because how many products it needs is the solver's merit. Networks of other seeds are other networks: the
difference of their scores is to be read beside scikit-learn's own spread, the largest range of a member's score over
seeds.
"""

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

from ssl_theory.analysis import (
    accuracy,
    halves,
    kernel,
    linear,
    logistic,
    mixture_clustering,
    neighbours,
    perceptron,
    profile,
    r2,
)

Fit = Callable[..., float]
"""Standardised (train, test) of one member -> score; of networks also `seed=`."""
Row = dict[str, Any]

STEPS, BATCH, RATE = perceptron.STEPS, 256, 5e-3
"""Of scikit-learn's networks, at one rate; the toolkit's has its own, `perceptron.STEPS` and so on, and a schedule."""


def representations(members: int, n: int, d: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Stack (E, n, d) of noisy nonlinear images of content (n, 4) and style (n, 4), and 8 classes (n,)."""
    g = torch.Generator().manual_seed(0)
    label = torch.randint(8, (n,), generator=g)
    content = 2 * torch.randn(8, 4, generator=g)[label] + 0.5 * torch.randn(n, 4, generator=g)
    style = torch.randn(n, 4, generator=g)
    mixing = torch.randn(members, 8, d, generator=g) / 8**0.5
    stack = torch.nn.functional.leaky_relu(torch.cat([content, style], 1) @ mixing, 0.2)
    return stack + 0.1 * torch.randn(members, n, d, generator=g), content, style, label


def timed(compute: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Processor seconds (of all threads), seconds, and the answer."""
    clocks = {"processor seconds": time.process_time, "seconds": time.perf_counter}
    start = {name: clock() for name, clock in clocks.items()}
    value = compute()
    return {name: clock() - start[name] for name, clock in clocks.items()}, value


def median(compute: Callable[[], Any], repeats: int) -> tuple[dict[str, float], Any]:
    """The same, medians of several runs: the first of them pays for memory that the machine has not given before."""
    runs = [timed(compute) for _ in range(repeats)]
    return {clock: float(np.median([spent[clock] for spent, _ in runs])) for clock in runs[0][0]}, runs[-1][1]


def by_member(fit: Fit, stack: np.ndarray) -> list[float]:
    """`fit(train, test)` of each member's standardised halves."""
    scores, half = [], stack.shape[1] // 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", FutureWarning)
        for x in stack:
            x = (x - x[:half].mean(0)) / x[:half].std(0)
            scores.append(fit(x[:half], x[half:]))
    return scores


class Theirs:
    """scikit-learn's probes of one member: targets t (n, 8) and classes k (n,), the first half fitted."""

    def __init__(self, t: np.ndarray, k: np.ndarray) -> None:
        half = len(t) // 2
        self.t, self.u, self.k, self.l = t[:half], t[half:], k[:half], k[half:]
        # The rows that the toolkit holds out for its choices, and those it then fits on, the other way round.
        parts = halves.folds(half, torch.empty(0), torch.Generator().manual_seed(0))
        self.folds = [(kept.numpy(), held.numpy()) for held, kept in parts]
        self.kept, self.held = self.folds[0]

    def network(self, cls: Any, seed: int) -> Any:
        """The same widths, optimiser and share held out, in `STEPS` steps at one rate; one stopping time for all."""
        epochs = round(STEPS * BATCH / len(self.kept))
        stop: Row = {"early_stopping": True, "validation_fraction": 0.2, "n_iter_no_change": epochs}
        return cls(
            hidden_layer_sizes=(64, 64),
            batch_size=BATCH,
            learning_rate_init=RATE,
            max_iter=epochs,
            alpha=0,
            random_state=seed,
            **stop,
        )

    def ridge(self, a: np.ndarray, b: np.ndarray) -> float:
        """Leave-one-out, a penalty a target."""
        return RidgeCV(linear.PENALTIES, alpha_per_target=True).fit(a, self.t).score(b, self.u)

    def mlp_r2(self, a: np.ndarray, b: np.ndarray, seed: int = 0) -> float:
        """Of what ridge leaves, in single precision, as the toolkit's."""
        line = RidgeCV(linear.PENALTIES, alpha_per_target=True).fit(a[self.kept], self.t[self.kept])
        rest = self.t - line.predict(a)
        network = self.network(MLPRegressor, seed).fit(a.astype(np.float32), rest / rest.std(0))
        return r2_score(self.u, line.predict(b) + rest.std(0) * network.predict(b.astype(np.float32)))

    def mlp_accuracy(self, a: np.ndarray, b: np.ndarray, seed: int = 0) -> float:
        """In single precision, as the toolkit's."""
        return self.network(MLPClassifier, seed).fit(a.astype(np.float32), self.k).score(b.astype(np.float32), self.l)

    def logistic(self, a: np.ndarray, b: np.ndarray) -> float:
        """The same grid and folds, by log-loss, refitted."""
        penalties = [1 / alpha for alpha in logistic.PENALTIES]
        model = LogisticRegressionCV(
            Cs=penalties,
            l1_ratios=(0,),
            cv=self.folds,
            scoring="neg_log_loss",
            max_iter=5000,
            tol=logistic.TOLERANCE,
            use_legacy_attributes=False,
        ).fit(a, self.k)
        return float((model.predict(b) == self.l).mean())

    def nearest(self, a: np.ndarray, b: np.ndarray) -> float:
        """The same grid of k and held-out rows, refitted."""
        grid = {"n_neighbors": list(neighbours.NEIGHBOURS)}
        return GridSearchCV(KNeighborsClassifier(), grid, cv=self.folds[:1]).fit(a, self.k).score(b, self.l)

    def kernel(self, a: np.ndarray, b: np.ndarray) -> float:
        """Nystroem features and `RidgeCV`; a target's width is that of the best leave-one-out score."""
        rows = np.random.default_rng(0).choice(len(a), 300, replace=False)
        unit = np.median(np.linalg.norm(a[rows, None] - a[rows], axis=-1))
        models = [
            make_pipeline(
                Nystroem(gamma=1 / (2 * (width * unit) ** 2), n_components=300, random_state=0),
                RidgeCV(linear.PENALTIES, alpha_per_target=True),
            ).fit(a, self.t)
            for width in kernel.WIDTHS
        ]
        best = np.argmax([model[-1].best_score_ for model in models], 0)
        guess = np.empty_like(self.u)
        for width in np.unique(best):
            guess[:, best == width] = models[width].predict(b)[:, best == width]
        return r2_score(self.u, guess)


def comparisons(members: int, n: int, d: int) -> dict[str, tuple[Callable[[], Any], Fit, np.ndarray]]:
    """name -> (this toolkit, scikit-learn a member, the stack), on the same halves."""
    stack, content, style, label = representations(members, n, d)
    half, both = n // 2, torch.cat([content, style], 1)
    ours: Row = {"test": (stack[:, half:], both[half:])}
    named: Row = {"test": (stack[:, half:], label[half:])}
    theirs, raw = Theirs(both.double().numpy(), label.numpy()), stack.double().numpy()
    x, t, k = stack[:, :half], both[:half], label[:half]
    return {
        "ridge R^2": (lambda: r2(x, t, **ours), theirs.ridge, raw),
        "MLP R^2": (lambda: r2(x, t, kind="mlp", **ours), theirs.mlp_r2, raw),
        "kernel R^2": (lambda: r2(x, t, kind="kernel", **ours), theirs.kernel, raw),
        "logistic accuracy": (lambda: accuracy(x, k, **named), theirs.logistic, raw),
        "MLP accuracy": (lambda: accuracy(x, k, kind="mlp", **named), theirs.mlp_accuracy, raw),
        "k-NN accuracy": (lambda: accuracy(x, k, kind="knn", **named), theirs.nearest, raw),
    }


def bare_products(members: int, n: int, d: int) -> dict[str, Callable[[], Any]]:
    """name -> the products of all members and nothing else, `x @ y` of these shapes."""
    half, fit, held = n // 2, n // 2 - n // 10, n // 10
    width, looks, m, batch = 64, perceptron.STEPS // 20, 300, perceptron.BATCH
    ridge = [((d, half), (half, d)), ((8, half), (half, d)), ((8, d), (d, half))]
    tried = [((half, d), (d, m)), ((m, half), (half, m)), ((8, half), (half, m))]
    nystroem = tried * len(kernel.WIDTHS) + [((half, d), (d, m)), ((8, m), (m, half))]
    forward = [((batch, d), (d, width)), ((batch, width), (width, width)), ((8, width), (width, batch))]
    backward = [((d, batch), (batch, width)), ((width, batch), (batch, width)), ((8, batch), (batch, width))]
    backward += [((batch, 8), (8, width)), ((batch, width), (width, width))]
    look = [((held, d), (d, width)), ((held, width), (width, width)), ((8, width), (width, held))]
    network = [(forward + backward, perceptron.STEPS), (look, looks)]
    near = [((256, d), (d, half))] * (half // 256) + [((256, d), (d, fit))] * (held // 256)
    return {
        "ridge R^2": lambda: multiply([(ridge, members)], torch.float64, 1),
        "kernel R^2": lambda: multiply([(nystroem, members)], torch.float64, 1),
        "MLP R^2": lambda: multiply(network, torch.float32, members),
        "MLP accuracy": lambda: multiply(network, torch.float32, members),
        "k-NN accuracy": lambda: multiply([(near, members)], torch.float32, 1),
    }


def multiply(jobs: list[tuple[list[Any], int]], dtype: torch.dtype, batch: int) -> dict[str, float]:
    """Seconds of the products of each list of shapes, so many times over; memory is taken beforehand."""
    spent = {"processor seconds": 0.0, "seconds": 0.0}
    for shapes, times in jobs:
        pairs = {pair: [torch.randn(batch, *shape, dtype=dtype) for shape in pair] for pair in dict.fromkeys(shapes)}
        space = {pair: a @ b for pair, (a, b) in pairs.items()}
        once, _ = timed(lambda: [torch.bmm(*pairs[p], out=space[p]) for _ in range(times) for p in shapes])  # noqa: B023
        spent = {clock: seconds + once[clock] for clock, seconds in spent.items()}
    return spent


def compared(name: str, ours: Callable[[], Any], theirs: Fit | None, raw: np.ndarray, seeds: int, repeats: int) -> Row:
    """One row of the table, but for the bare products."""
    spent, value = median(ours, repeats)
    row: Row = {"measure": name, **spent, "score": float(np.mean(np.asarray(value)))}
    if theirs is not None:
        spent, other = median(lambda: by_member(theirs, raw), repeats)
        row |= {f"scikit-learn {clock}": seconds for clock, seconds in spent.items()}
        row["times faster"] = spent["processor seconds"] / row["processor seconds"]
        row["scikit-learn score"] = float(np.mean(other))
        row["largest difference"] = float(np.abs(np.asarray(value) - np.asarray(other)).max())
        row["difference of means"] = float(abs(np.mean(np.asarray(value)) - np.mean(other)))
        if name.startswith("MLP") and seeds > 1:
            again = [by_member(partial(theirs, seed=seed), raw) for seed in range(1, seeds)]
            row["scikit-learn spread"] = float(np.ptp([other, *again], axis=0).max())
            row["difference of means"] = float(abs(np.mean(np.asarray(value)) - np.mean([other, *again])))
    return row


def bounded(row: Row, products: Callable[[], dict[str, float]]) -> Row:
    """A row with the time of the bare products, and the most that could be won over scikit-learn."""
    seconds = products()["processor seconds"]
    row["bare products, processor seconds"] = seconds
    if "scikit-learn processor seconds" in row:
        row["times faster at most"] = row["scikit-learn processor seconds"] / seconds
    return row


def wholes(members: int, n: int, d: int) -> dict[str, Callable[[], Any]]:
    """What has no single counterpart: clustering and the profile of everything."""
    stack, content, style, label = representations(members, n, d)
    half = n // 2
    return {
        "Gaussian mixture": lambda: mixture_clustering(stack[:, :half], stack[:, half:], label[half:], 8).nmi,
        "whole profile": lambda: profile(stack, content=content, style=style, labels=label)["nmi"],
    }


def measured(options: argparse.Namespace, size: tuple[int, int, int]) -> list[Row]:
    """The rows of the table, each printed when it is made."""
    r2(*representations(1, 64, 3)[:2], kind="mlp", steps=2)  # what is loaded at first use is nobody's time
    jobs: list[tuple[str, Callable[[], Any], Fit | None, np.ndarray]] = [
        (name, ours, None if options.no_scikit_learn else theirs, raw)
        for name, (ours, theirs, raw) in comparisons(*size).items()
    ]
    jobs += [(name, compute, None, np.empty(0)) for name, compute in wholes(*size).items()]
    rows, products = [], bare_products(*size)
    for job in jobs:
        if options.only in job[0]:
            row = compared(*job, options.seeds, 1 if job[2] is None else options.repeats)
            rows.append(bounded(row, products[job[0]]) if job[0] in products else row)
            print({key: round(v, 4) if isinstance(v, float) else v for key, v in rows[-1].items()}, flush=True)
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--points", type=int, default=8000)
    parser.add_argument("--width", type=int, default=10)
    parser.add_argument("--name", default="analysis", help="of the file in speed/results")
    parser.add_argument("--only", default="", help="measures whose name holds this")
    parser.add_argument("--seeds", type=int, default=3, help="scikit-learn networks a member, for their spread")
    parser.add_argument("--repeats", type=int, default=3, help="runs of either side, whose median time counts")
    parser.add_argument("--no-scikit-learn", action="store_true", help="leave out the comparison")
    options = parser.parse_args()
    size = (options.members, options.points, options.width)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        rows = measured(options, size)
    record = {
        "date": date.today().isoformat(),
        "members, points, width": size,
        "threads": 1,
        "repeats": options.repeats,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "rows": rows,
    }
    path = Path(__file__).parent / "results" / f"{options.name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
