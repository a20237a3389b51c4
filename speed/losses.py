"""Time and memory of the losses, value and gradient, against straightforward implementations on the same tensors.

    python -m speed.losses [--device cuda] [--n 4096] [--d 128] [--only WORD] [--products 16384] [--pairs 65536]
                           [--output speed/results/losses.txt]

Seconds are the least of `--repeats` (for short calls of as many as fill a second), after one that is not counted, the
two implementations taking turns; on the CPU they are the
processor's, which other users of the machine change less. Memory is the peak above what the tensors take,
each case in a process of its own on the CPU. `--products n`: InfoNCE of n points against the matrix products it cannot
do without: one for the scores and two for their gradient, of n by n pairs of the two views ("other"), or of all three
matrices of pairs of views ("all", where two are symmetric: of these half is enough). With `chunk` the scores are
computed twice, 4/3 of the products for "other", but a few rows at a time, which may take less than large products do.
`--pairs n`: memory of chunked InfoNCE of n by n pairs. 0 leaves either out. Tables are printed and written to
`--output`.
"""

import argparse
import datetime
import math
import os
import platform
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy, mse_loss, normalize

from ssl_theory.losses import clustering, contrastive, distillation, priors, redundancy
from ssl_theory.losses.state import Centre

Loss = Callable[[Tensor], Tensor]
CLUSTERS = 256
MOST_REPEATS = 100
RESULTS = Path(__file__).parent / "results" / "losses.txt"


def naive_nt_xent(z: Tensor) -> Tensor:
    n, points = len(z), normalize(torch.cat([z[:, 0], z[:, 1]]), dim=-1)
    scores = (points @ points.T / 0.5).masked_fill(torch.eye(2 * n, dtype=torch.bool, device=z.device), -torch.inf)
    return cross_entropy(scores, torch.arange(2 * n, device=z.device).roll(n))


def naive_clip(z: Tensor) -> Tensor:
    first, second = normalize(z[:, 0], dim=-1), normalize(z[:, 1], dim=-1)
    scores, own = first @ second.T / 0.5, torch.arange(len(z), device=z.device)
    return (cross_entropy(scores, own) + cross_entropy(scores.T, own)) / 2


def naive_spectral(z: Tensor) -> Tensor:
    scores, n = z[:, 0] @ z[:, 1].T, len(z)
    squared = scores.square()
    return (squared.sum() - squared.diagonal().sum()) / (n * (n - 1)) - 2 * scores.diagonal().mean()


def naive_align_uniform(z: Tensor) -> Tensor:
    first, second = normalize(z[:, 0], dim=-1), normalize(z[:, 1], dim=-1)
    uniform = sum(torch.pdist(v).square().mul(-2).exp().mean().log() for v in (first, second)) / 2
    return (first - second).norm(dim=-1).square().mean() + uniform


def naive_vicreg(z: Tensor) -> Tensor:
    total = 25 * mse_loss(z[:, 0], z[:, 1])
    for view in z.unbind(1):
        covariance = torch.cov(view.T)
        off_diagonal = covariance - torch.diag(covariance.diagonal())
        total = total + 25 * (1 - (view.var(0) + 1e-4).sqrt()).relu().mean() + off_diagonal.square().sum() / z.shape[-1]
    return total


def naive_barlow_twins(z: Tensor) -> Tensor:
    first, second = ((v - v.mean(0)) / v.std(0, correction=0) for v in z.unbind(1))
    difference = (first.T @ second / len(z) - torch.eye(z.shape[-1], device=z.device)).square()
    return difference.diagonal().sum() + 5e-3 * (difference.sum() - difference.diagonal().sum())


def naive_byol(z: Tensor) -> Tensor:
    cosines = [cosine_similarity(z[:, j], z[:, 1 - j].detach(), dim=-1).mean() for j in (0, 1)]
    return 4 - 2 * (cosines[0] + cosines[1])


def naive_dino(z: Tensor) -> Tensor:
    centre = torch.zeros(z.shape[-1], device=z.device)
    target, prediction = ((z.detach() - centre) / 0.04).softmax(-1), (z / 0.1).log_softmax(-1)
    return -(target.flip(1) * prediction).sum(-1).mean()


def naive_swav(z: Tensor) -> Tensor:
    centres = normalize(fixed(CLUSTERS, z.shape[-1], like=z), dim=-1)
    scores = [normalize(view, dim=-1) @ centres.T for view in z.unbind(1)]
    total = z.new_zeros(())
    for j in (0, 1):
        code = torch.exp(scores[1 - j].detach() / 0.05)
        for _ in range(3):
            code = code / code.sum(0)
            code = code / code.sum(1, keepdim=True)
        total = total - (code * (scores[j] / 0.1).log_softmax(-1)).sum(-1).mean() / 2
    return total


def naive_mixture(z: Tensor) -> Tensor:
    means = fixed(CLUSTERS, z.shape[-1], like=z)
    law = torch.distributions.Normal(means, 0.15**0.5)
    log_likelihood = law.log_prob(z[:, 0, None]).sum(-1) + law.log_prob(z[:, 1, None]).sum(-1)
    return math.log(CLUSTERS) - log_likelihood.logsumexp(-1).mean()


def fixed(*shape: int, like: Tensor) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).to(like)


def swav(z: Tensor) -> Tensor:
    return clustering.swav(z, fixed(CLUSTERS, z.shape[-1], like=z))


def mixture(z: Tensor) -> Tensor:
    return -priors.Mixture(fixed(CLUSTERS, z.shape[-1], like=z)).log_prob(z).mean()


CASES: dict[str, tuple[Loss, Loss]] = {
    "info_nce, all negatives": (contrastive.info_nce, naive_nt_xent),
    "info_nce, other view": (lambda z: contrastive.info_nce(z, negatives="other"), naive_clip),
    "info_nce, all, chunked": (lambda z: contrastive.info_nce(z, chunk=256), naive_nt_xent),
    "spectral": (contrastive.spectral, naive_spectral),
    "align_uniform": (contrastive.align_uniform, naive_align_uniform),
    "vicreg": (redundancy.vicreg, naive_vicreg),
    "barlow_twins": (redundancy.barlow_twins, naive_barlow_twins),
    "byol": (lambda z: distillation.byol(z, z), naive_byol),
    "dino": (lambda z: clustering.dino(z, z, centre=Centre(z.new_zeros(z.shape[-1]))), naive_dino),
    "swav": (swav, naive_swav),
    "mixture prior": (mixture, naive_mixture),
}


def differentiate(loss: Loss, z: Tensor) -> Tensor:
    leaf = z.requires_grad_()
    value = loss(leaf)
    torch.autograd.grad(value, leaf)
    return value.detach()


def seconds(calls: list[Callable[[], object]], device: str, repeats: int) -> list[float]:
    """Least time of each call, the calls taking turns."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    best = [float("inf")] * len(calls)
    start = clock()
    calls[0]()
    repeats = max(repeats, min(MOST_REPEATS, math.ceil(1 / (clock() - start))))  # short calls need more
    for turn in range(repeats + 1):
        for k, call in enumerate(calls):
            start = clock()
            call()
            if device != "cpu":
                torch.cuda.synchronize()
            best[k] = min(best[k], clock() - start) if turn else best[k]
    return best


def _high_water() -> float:
    """Most megabytes that this process has held; `getrusage` would count those of its parent too."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 2**10  # type: ignore[index]


def _peak_of_process(name: str, which: int, n: int, d: int) -> float:
    torch.set_num_threads(1)
    z = fixed(n, 2, d, like=torch.zeros(1))
    differentiate(CASES[name][which], z[:8].clone())  # libraries loaded
    before = _high_water()
    differentiate(CASES[name][which], z)
    return _high_water() - before


def peak(name: str, which: int, n: int, d: int, device: str) -> float:
    """Megabytes above those of the tensors that the loss is given."""
    if device == "cpu":
        with get_context("spawn").Pool(1) as pool:
            return pool.apply(_peak_of_process, (name, which, n, d))
    z = fixed(n, 2, d, like=torch.zeros(1, device=device))
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    differentiate(CASES[name][which], z)
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def rows(options: argparse.Namespace) -> Iterator[str]:
    z = fixed(options.n, 2, options.d, like=torch.zeros(1, device=options.device))
    for name, pair in CASES.items():
        if options.only not in name:
            continue
        values = [float(differentiate(loss, z)) for loss in pair]
        if abs(values[0] - values[1]) > 1e-3 * max(1.0, abs(values[1])):
            raise ValueError(f"expected equal values for {name}, found {values}: the comparison is void")
        ours, naive = seconds([partial(differentiate, loss, z) for loss in pair], options.device, options.repeats)
        memory = [peak(name, which, options.n, options.d, options.device) for which in (0, 1)]
        yield f"{name:<26} {ours:>9.4f} {naive:>9.4f} {ours / naive:>7.2f} {memory[0]:>9.0f} {memory[1]:>9.0f}"


def against_products(n: int, d: int, device: str, repeats: int) -> Iterator[str]:
    z = fixed(n, 2, d, like=torch.zeros(1, device=device))
    first, second = z[:, 0].contiguous(), z[:, 1].contiguous()

    def products() -> None:
        scores = first @ second.T
        _ = scores @ second, scores.T @ first

    for negatives, factor in (("other", 1), ("all", 3)):
        for chunk in (None, 512):

            def loss(v: Tensor, negatives: str = negatives, chunk: int | None = chunk) -> Tensor:
                return contrastive.info_nce(v, negatives=negatives, chunk=chunk)

            ours, bare = seconds([partial(differentiate, loss, z), products], device, repeats)
            needed = factor * bare
            label = f"info_nce {negatives}, chunk {chunk}"
            yield f"{label:<26} {ours:>9.3f} {needed:>9.3f} {ours / needed:>7.2f}"


def _chunked(n: int, d: int, device: str) -> tuple[float, float]:
    torch.set_num_threads(1)
    z = fixed(n, 2, d, like=torch.zeros(1, device=device))
    start = time.perf_counter()
    differentiate(lambda v: contrastive.info_nce(v, negatives="other", chunk=256), z)
    if device != "cpu":
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() / 2**20, time.perf_counter() - start
    return _high_water(), time.perf_counter() - start


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--n", type=int, default=4096, help="data points")
    parser.add_argument("--d", type=int, default=128, help="latent size")
    parser.add_argument("--only", default="", help="only the cases whose name contains this")
    parser.add_argument("--repeats", type=int, default=5, help="runs, of which the fastest counts")
    parser.add_argument("--products", type=int, default=16_384, help="points of InfoNCE against products; 0: leave out")
    parser.add_argument("--pairs", type=int, default=65_536, help="points of chunked InfoNCE, for memory; 0: leave out")
    parser.add_argument("--output", type=Path, default=RESULTS, help="file that the tables are written to")
    return parser.parse_args()


def _tables(options: argparse.Namespace) -> Iterator[str]:
    gpu = torch.cuda.get_device_name() if options.device != "cpu" else "one CPU thread"
    load = f"load {os.getloadavg()[0]:.1f}"
    yield f"{datetime.date.today()}; {platform.machine()}, {gpu}, {load}; torch {torch.__version__}"
    yield f"n = {options.n}, d = {options.d}, J = 2, float32, value and gradient"
    yield f"{'':<26} {'seconds':>9} {'naive':>9} {'ratio':>7} {'MB':>9} {'naive MB':>9}"
    yield from rows(options)
    if options.products:
        yield f"\nn = {options.products}, d = {options.d}, float32"
        yield f"{'':<26} {'seconds':>9} {'products':>9} {'ratio':>7}"
        yield from against_products(options.products, options.d, options.device, min(3, options.repeats))
    if options.pairs:
        memory, duration = get_context("spawn").Pool(1).apply(_chunked, (options.pairs, options.d, options.device))
        size = f"{options.pairs} x {options.pairs} pairs, d = {options.d}, chunk 256"
        yield f"\n{size}: peak {memory:.0f} MB in all, {duration:.0f} s"


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    lines = []
    for line in _tables(options):
        print(line, flush=True)
        lines.append(line)
    options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
