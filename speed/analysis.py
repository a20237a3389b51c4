"""Time of the measures, and of scikit-learn called member by member: `python speed/analysis.py [--members 10] ...`.

Prints one line a measure (processor seconds, seconds, score) and writes `speed/results/analysis.json`, with the date,
the machine's load and the number of threads. On a busy machine only the processor seconds mean something.
"""

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPRegressor

from ssl_theory.analysis import accuracy, linear, mixture_clustering, profile, r2


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


def by_member(fit: Callable[[np.ndarray, np.ndarray], float], stack: np.ndarray) -> list[float]:
    """`fit(train, test)` of each member's standardised halves."""
    scores, half = [], stack.shape[1] // 2
    for x in stack:
        x = (x - x[:half].mean(0)) / x[:half].std(0)
        scores.append(fit(x[:half], x[half:]))
    return scores


def comparisons(members: int, n: int, d: int) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """name -> (this toolkit, scikit-learn), on the same halves."""
    stack, content, style, label = representations(members, n, d)
    half, both = n // 2, torch.cat([content, style], 1)
    raw, t, k = stack.double().numpy(), both.double().numpy(), label.numpy()
    ours: dict[str, Any] = {"test": (stack[:, half:], both[half:])}
    named: dict[str, Any] = {"test": (stack[:, half:], label[half:])}

    def ridge(a: np.ndarray, b: np.ndarray) -> float:
        return RidgeCV(linear.PENALTIES, alpha_per_target=True).fit(a, t[:half]).score(b, t[half:])

    def network(a: np.ndarray, b: np.ndarray) -> float:
        # Its own early stopping; that 60 epochs are too few for it is seen in the score.
        model = MLPRegressor(hidden_layer_sizes=(64, 64), early_stopping=True, random_state=0, max_iter=60)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return model.fit(a, t[:half]).score(b, t[half:])

    def logistic(a: np.ndarray, b: np.ndarray) -> float:
        return LogisticRegression(C=0.1, max_iter=1000).fit(a, k[:half]).score(b, k[half:])

    def nearest(a: np.ndarray, b: np.ndarray) -> float:
        return KNeighborsClassifier(11).fit(a, k[:half]).score(b, k[half:])

    x = stack[:, :half]
    return {
        "ridge R^2": (lambda: r2(x, both[:half], **ours), lambda: by_member(ridge, raw)),
        "MLP R^2": (lambda: r2(x, both[:half], kind="mlp", **ours), lambda: by_member(network, raw)),
        "logistic accuracy": (
            lambda: accuracy(x, label[:half], penalties=(10.0,), **named),
            lambda: by_member(logistic, raw),
        ),
        "11-NN accuracy": (
            lambda: accuracy(x, label[:half], kind="knn", ks=(11,), **named),
            lambda: by_member(nearest, raw),
        ),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--points", type=int, default=8000)
    parser.add_argument("--width", type=int, default=10)
    parser.add_argument("--name", default="analysis", help="of the file in speed/results")
    parser.add_argument("--no-scikit-learn", action="store_true", help="leave out the comparison")
    options = parser.parse_args()
    size = (options.members, options.points, options.width)
    rows: list[dict[str, Any]] = []
    for name, (ours, theirs) in comparisons(*size).items():
        spent, value = timed(ours)
        row: dict[str, Any] = {"measure": name, **spent, "score": float(np.mean(np.asarray(value)))}
        if not options.no_scikit_learn:
            spent, other = timed(theirs)
            row |= {f"scikit-learn {clock}": seconds for clock, seconds in spent.items()}
            row["scikit-learn score"] = float(np.mean(other))
            row["largest difference"] = float(np.abs(np.asarray(value) - np.asarray(other)).max())
        rows.append(row)
        print({key: round(v, 4) if isinstance(v, float) else v for key, v in row.items()}, flush=True)
    stack, content, style, label = representations(*size)
    half = options.points // 2
    for name, compute in {
        "Gaussian mixture": lambda: mixture_clustering(stack[:, :half], stack[:, half:], label[half:], 8).nmi,
        "whole profile": lambda: profile(stack, content=content, style=style, labels=label)["nmi"],
    }.items():
        spent, value = timed(compute)
        rows.append({"measure": name, **spent, "score": float(np.mean(np.asarray(value)))})
        print({key: round(v, 4) if isinstance(v, float) else v for key, v in rows[-1].items()}, flush=True)
    record = {
        "date": date.today().isoformat(),
        "members, points, width": size,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "rows": rows,
    }
    path = Path(__file__).parent / "results" / f"{options.name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
