"""Plants realistic faults in the losses, one at a time, and runs the tests: every fault must turn them red.

    python -m tests.mutants [--only WORD ...] [--jobs N]

Each fault is planted in a copy of the package in a temporary folder. Survivors are listed; their number is the exit
code.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[1]
PRELOADED = ("torch", "scipy.optimize", "scipy.stats", "hypothesis", "beartype")
TESTS = {  # the quickest to notice first
    "views": ("distillation", "redundancy", "priors", "clustering", "contrastive", "every_loss"),
    "bessel": ("bessel", "priors"),
    "priors": ("priors", "bessel", "every_loss"),
    "partition": ("contrastive", "every_loss"),
    "critics": ("contrastive", "bessel", "every_loss", "clustering"),
    "state": ("clustering", "instance"),
    "registry": ("every_loss",),
}


@dataclass(frozen=True)
class Mutant:
    """`old`, which occurs once in the module, replaced by `new`."""

    module: str
    kind: str
    old: str
    new: str

    def plant(self, folder: Path) -> None:
        path = folder / "ssl_theory" / "losses" / f"{self.module}.py"
        text = path.read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"expected {self.old!r} once in {self.module}.py, found {text.count(self.old)}: amend it")
        path.write_text(text.replace(self.old, self.new))

    def tests(self) -> list[str]:
        names = TESTS.get(self.module, (self.module, "every_loss"))
        return [f"tests/losses/test_{name}.py" for name in names]


FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "views": [
        ("no widening of bfloat16", "z.float() if z.dtype in (torch.float16, torch.bfloat16) else z", "z"),
        ("zero vectors divide by zero", "torch.where(directed, squared, 1).rsqrt()", "squared.rsqrt()"),
        ("squared norm", ".rsqrt(), 0)", ".reciprocal(), 0)"),
        ("spread not centred", "(z - z.mean(-2, keepdim=True)).square()", "z.square()"),
        ("spread over points", "(z - z.mean(-2, keepdim=True))", "(z - z.mean(-3, keepdim=True))"),
        ("pair distance of two halved", "z[..., 1, :]).square().sum(-1)", "z[..., 1, :]).square().sum(-1) / 2"),
        ("pair distance over J", "(2 / (z.shape[-2] - 1))", "(2 / z.shape[-2])"),
        ("pairs with repetition", "combinations(range(views), 2)", "[(j, j) for j in range(views)]"),
        ("same view kept", "(every - same)", "every"),
        ("ordered pairs miscounted", "(T * (J - 1))", "(T * J)"),
        ("per-member axes misplaced", "value[(..., *[None] * trailing)]", "value[(*[None] * trailing, ...)]"),
        ("one view picked twice", "for position in positions]", "for position in sorted(positions)[::-1]]"),
        (
            "labels per view tiled",
            "index[..., None].expand(*index.shape, views)",
            "index[..., None, :].expand(*index.shape[:-1], views, -1)",
        ),
        ("non-positive accepted", "value <= 0", "value < 0"),
    ],
    "bessel": [
        ("wrong order of the recurrence", "factor = squared * ratio + 2 * nu", "factor = squared * ratio + nu"),
        ("sign of the recurrence", "factor = squared * ratio + 2 * nu", "factor = 2 * nu - squared * ratio"),
        ("two pi dropped", "0.5 * (LOG_2PI + math.log(order))", "0.5 * math.log(order)"),
        ("fourth root", "- 0.5 * root.log()", "- 0.25 * root.log()"),
        ("too few Debye terms", "_debye_polynomials(8)", "_debye_polynomials(3)"),
        ("normaliser of one dimension less", "log_bessel(dimension / 2 - 1", "log_bessel(dimension / 2"),
        ("sphere area halved", "math.log(2) + dimension / 2", "dimension / 2"),
        ("entropy without the mean resultant", "- squared * log_ratio.exp()", ""),
    ],
    "priors": [
        ("forgotten J in the centre", "centre = style + J * content  #", "centre = style + content  #"),
        ("one determinant too many", "d * ((J - 1) * log(style) + log(centre)", "d * (J * log(style) + log(centre)"),
        ("dimension dropped", "log_det = d * ((J - 1)", "log_det = ((J - 1)"),
        ("two pi dropped", "log(centre) + J * LOG_2PI)", "log(centre))"),
        (
            "J of the mean dropped",
            "+ J * z.mean(-2).square().sum(-1) / centre)",
            "+ z.mean(-2).square().sum(-1) / centre)",
        ),
        ("flat: log J dropped", "(LOG_2PI + log(style)) + math.log(J))", "(LOG_2PI + log(style)))"),
        ("flat: factor two", "-spread(z) / (2 * style)", "-spread(z) / style"),
        ("flat: J normalisers", "d / 2 * ((J - 1) * (LOG_2PI", "d / 2 * (J * (LOG_2PI"),
        ("flat: sign of the normaliser", "(2 * style) - log_normaliser", "(2 * style) + log_normaliser"),
        ("mixture: J of the offset", "spread(z)[..., None] + J * offset", "spread(z)[..., None] + offset"),
        ("mixture: spread forgotten", "(spread(z)[..., None] + J * offset)", "(J * offset)"),
        (
            "mixture: one view's normaliser",
            "J * d * (LOG_2PI + log(style)))\n        return log_likelihood",
            "d * (LOG_2PI + log(style)))\n        return log_likelihood",
        ),
        ("mixture: weights unscaled", "(self.weights / self.weights.sum(-1, keepdim=True))", "self.weights"),
        ("mixture: uniform weights unnormalised", "return -math.log(self.means.shape[-2])", "return 0.0"),
        ("mixture: best component only", "self.log_joint(z).logsumexp(-1)", "self.log_joint(z).amax(-1)"),
        ("plug-in: sign", "-0.5 * (spread(z) / style + J * d *", "0.5 * (spread(z) / style + J * d *"),
        ("plug-in: normaliser of one view", "(spread(z) / style + J * d *", "(spread(z) / style + d *"),
        ("plug-in: content dropped", "return log_conditional + log_centre", "return log_conditional"),
        (
            "intra-class: swapped style and content",
            "self._per_point(self.complement), self._per_point(self.correlation)",
            "self._per_point(self.correlation), self._per_point(self.complement)",
        ),
        (
            "intra-class: J dropped",
            "centre, mean = style + J * content, z.mean(-2)",
            "centre, mean = style + content, z.mean(-2)",
        ),
        ("intra-class: determinant", "(J - 1) * style.log() + centre.log()", "J * style.log() + centre.log()"),
        ("intra-class: saturating complement", "torch.sigmoid(-logits)", "1 - torch.sigmoid(logits)"),
        ("intra-class: two pi", "centre.log() + J * LOG_2PI", "centre.log() + LOG_2PI"),
        ("vmf: one normaliser", "log_conditional = J * log_vmf", "log_conditional = log_vmf"),
        ("vmf: sphere area", "log_conditional - log_sphere_area(d) -", "log_conditional -"),
        ("vmf: mean instead of sum", "squared * z.sum(-2)", "squared * z.mean(-2)"),
    ],
    "partition": [
        ("diagonal kept", "if off_diagonal:\n", "if False:\n"),
        (
            "diagonal of the first block only",
            "scores.diagonal(start, -2, -1).fill_",
            "scores.diagonal(0, -2, -1).fill_",
        ),
        ("columns of the last block", "torch.stack(over_columns).logsumexp(0)", "over_columns[-1]"),
        ("columns added", "torch.stack(over_columns).logsumexp(0)", "torch.stack(over_columns).sum(0)"),
        ("transposed softmax axis", "over_rows.append(scores.logsumexp(-1))", "over_rows.append(scores.logsumexp(-2))"),
        ("gradient of columns dropped", "if ctx.two_sided:\n", "if False:\n"),
        ("gradient of the right overwritten", "grad_right += weight", "grad_right = weight"),
        ("gradient transposed", "grad_left[..., part, :] = weight @ right", "grad_left[..., part, :] = weight @ left"),
        (
            "chunked critic: wrong diagonal",
            "positive = scores.diagonal(start, -2, -1)",
            "positive = scores.diagonal(0, -2, -1)",
        ),
        ("chunked critic: columns", "torch.stack([part[2] for part in blocks], -1).logsumexp(-1)", "blocks[0][2]"),
        ("off-by-one negatives", "itself.diagonal(start).fill_(True)", "itself.diagonal(start + 1).fill_(True)"),
    ],
    "critics": [
        ("temperature on the wrong side", "(unit(a) / tau, unit(b))", "(unit(a) * tau, unit(b))"),
        ("one side not normalised", "(unit(a) / tau, unit(b))", "(unit(a) / tau, b)"),
        ("dot normalised", "(a / tau, b)", "(unit(a) / tau, b)"),
        ("distance: temperature", "_distance_factors(a, b, 1 / tau)", "_distance_factors(a, b, tau)"),
        ("distance: cross term", "[2 * a, -a.square()", "[a, -a.square()"),
        ("distance: far origin", "b.mean(-2, keepdim=True).detach()", "0.0"),
        ("vmf critic: area", "log_conditionals + log_sphere_area(d)", "log_conditionals"),
        ("vmf critic: resultant", "2 + 2 * unit(a) @ unit(b).mT", "1 + unit(a) @ unit(b).mT"),
        ("bilinear transposed", "a @ weight[..., None, :, :] @ b.mT", "a @ weight.mT[..., None, :, :] @ b.mT"),
        ("callable without temperature", "Score(lambda a, b: critic(a, b) / tau)", "Score(lambda a, b: critic(a, b))"),
    ],
    "contrastive": [
        ("2n candidates become n", 'if negatives == "all":', 'if negatives == "none":'),
        (
            "own view of the wrong side",
            "torch.logaddexp(backward, pick(own, second, -2))",
            "torch.logaddexp(backward, pick(own, first, -2))",
        ),
        (
            "positive twice",
            "(log_partition - positive).mean((-2, -1))\n\n\ndef moco",
            "(log_partition - 2 * positive).mean((-2, -1))\n\n\ndef moco",
        ),
        (
            "one direction counted twice",
            "(forward + backward) / 2\n    return (log_partition",
            "forward + backward\n    return (log_partition",
        ),
        ("decoupled keeps the positive", '"all", True, chunk, positives=False)', '"all", True, chunk, positives=True)'),
        (
            "decoupled weight not detached",
            "(unit(a) * unit(b)).sum(-1).detach() / sigma",
            "(unit(a) * unit(b)).sum(-1) / sigma",
        ),
        ("decoupled weight unnormalised", "2 - z.shape[-3] * (", "2 - ("),
        ("decoupled weight sign", "((1 - weight) * positive)", "((weight - 1) * positive)"),
        ("moco keys not detached", "unit(wide(key).detach())", "unit(wide(key))"),
        ("moco queue not detached", "wide(queue.entries.detach())", "wide(queue.entries)"),
        ("moco same view", "pick(k, other, -2)).sum(-1)", "pick(k, anchor, -2)).sum(-1)"),
        (
            "moco negatives of the other view",
            "pick(log_negative, anchor, -1) - positive",
            "pick(log_negative, other, -1) - positive",
        ),
        (
            "moco temperature twice",
            "unit(wide(query)) / tau, unit(wide(key)",
            "unit(wide(query)) / tau**2, unit(wide(key)",
        ),
        (
            "supcon counts the anchor",
            "torch.where(alike, scores, 0).sum(-1) / alike.sum(-1)",
            "torch.where(alike, scores, 0).sum(-1) / (alike.sum(-1) + 1)",
        ),
        (
            "supcon anchor in the partition",
            "without_diagonal(scores).logsumexp(-1)\n    positive",
            "scores.logsumexp(-1)\n    positive",
        ),
        ("supcon labels tiled", "each_view(label, z.shape[-2])", "label.repeat(z.shape[-2])"),
        ("spectral diagonal kept", "(every - positive.square().sum(-2))", "every"),
        ("spectral factor two", "repulsion.mean(-1) - 2 * positive.mean", "repulsion.mean(-1) - positive.mean"),
        ("spectral n squared", "/ (n * (n - 1))\n    return repulsion", "/ n**2\n    return repulsion"),
        ("spectral same view twice", "pick(moment, second, -3)).sum", "pick(moment, first, -3)).sum"),
        ("uniformity: temperature for rate", 'scorer("distance", 1 / t)', 'scorer("distance", t)'),
        ("uniformity: count", "math.log(n * (n - 1))", "math.log(n * n)"),
        ("uniformity: views merged in the log", "log_kernel.logsumexp(-1).mean(-1)", "log_kernel.logsumexp((-2, -1))"),
        ("alignment power", "squared, 1) ** (alpha / 2)", "squared, 1) ** alpha"),
        (
            "alignment of free lengths",
            "z, n = unit(wide(z)), z.shape[-3]\n    apart",
            "z, n = wide(z), z.shape[-3]\n    apart",
        ),
        ("triplet sign", "(nearness - positive + margin).relu()", "(positive - nearness + margin).relu()"),
        ("triplet diagonal kept", "violation.sum((-2, -1)) - n * max(margin, 0.0)", "violation.sum((-2, -1))"),
        ("triplet hardest is itself", "without_diagonal(nearness).amax(-1", "nearness.amax(-1"),
    ],
    "instance": [
        (
            "transposed softmax axis",
            "(logits.logsumexp(-1) - chosen)",
            "(logits.logsumexp(-2, keepdim=True).mean(-1) - chosen)",
        ),
        (
            "temperature on the wrong side",
            "(z / per_member(temperature, 3)).flatten",
            "(z * per_member(temperature, 3)).flatten",
        ),
        ("labels tiled", "each_view(index, z.shape[-2]).expand", "index.repeat(z.shape[-2]).expand"),
        ("normalise ignored", "(unit(wide(v)) if normalise else wide(v) for", "(unit(wide(v)) for"),
        (
            "memory not detached",
            "instance_softmax(z, index, memory.bank.detach()",
            "instance_softmax(z, index, memory.bank",
        ),
        ("nce memory not detached", "unit(wide(memory.bank.detach()))", "unit(wide(memory.bank))"),
        ("nce noise rate inverted", "offset = math.log(m / N)", "offset = math.log(N / m)"),
        ("nce sign of the noise", "-logsigmoid(log_z + offset - others)", "-logsigmoid(others - log_z - offset)"),
        ("nce noise averaged", ".sum(-1).mean(-1)\n    return -logsigmoid", ".mean((-2, -1))\n    return -logsigmoid"),
        ("nce normaliser not detached", "others.detach().logsumexp", "others.logsumexp"),
        ("nce normaliser per noise", "math.log(others.shape[-2] * m / N)", "math.log(others.shape[-2] * m)"),
    ],
    "clustering": [
        ("farthest prototype", ".argmax(-1)", ".argmin(-1)"),
        ("empty clusters move to zero", "torch.where(count > 0, mean, prototypes)", "mean"),
        ("cluster sums for means", "/ count.clamp_min(1)", ""),
        (
            "k-means root",
            "(z - centre[..., None, :]).square().sum((-2, -1))",
            "(z - centre[..., None, :]).norm(dim=(-2, -1))",
        ),
        ("sinkhorn axes swapped", "log_q.log_softmax(-2).log_softmax(-1)", "log_q.log_softmax(-1).log_softmax(-2)"),
        ("sinkhorn one iteration less", "range(iterations - 1)", "range(iterations - 2)"),
        ("sinkhorn rows only", "(n / K) / (q * rows).sum(-2, keepdim=True)", "torch.ones_like(q[..., :1, :])"),
        ("sinkhorn factors not joined", "log_q + rows.log() + columns.log()", "log_q + rows.log()"),
        ("sinkhorn forgets an iteration in a long run", "iterations - done", "iterations - 1"),
        ("sinkhorn temperature inverted", "scores / per_member(epsilon, 2)", "scores * per_member(epsilon, 2)"),
        ("swav codes not detached", "_codes(scores.detach()", "_codes(scores"),
        ("swav codes of the queue", "log_codes[..., :n, :].exp()", "log_codes[..., -n:, :].exp()"),
        (
            "swav code temperature in prediction",
            "(scores / per_member(temperature, 3)).log_softmax(-1)",
            "(scores / epsilon).log_softmax(-1)",
        ),
        ("dino centre added", "detach() - centre.value", "detach() + centre.value"),
        (
            "dino temperatures swapped",
            "(centred / per_member(teacher_temperature, 3))",
            "(centred / per_member(student_temperature, 3))",
        ),
        ("dino teacher not detached", "wide(teacher).detach() - centre", "wide(teacher) - centre"),
        ("dino axis", ".softmax(-1)\n    log_prediction", ".softmax(-2)\n    log_prediction"),
    ],
    "distillation": [
        ("byol distance", "(2 - 2 * cosine)", "(2 - cosine)"),
        (
            "byol forgets stop-gradient",
            "cosine = cross_view_product(unit(wide(target).detach())",
            "cosine = cross_view_product(unit(wide(target))",
        ),
        ("byol sum and mean swapped", '(2 if views == "sum" else 1)', '(1 if views == "sum" else 2)'),
        (
            "simsiam forgets stop-gradient",
            "return -cross_view_product(unit(wide(target).detach())",
            "return -cross_view_product(unit(wide(target))",
        ),
        ("simsiam sign", "return -cross_view_product", "return cross_view_product"),
        ("simsiam free lengths", "unit(wide(prediction))).mean(-1)", "wide(prediction)).mean(-1)"),
    ],
    "redundancy": [
        (
            "vicreg biased variance",
            "(squared / (z.shape[-3] - 1) + epsilon).sqrt()",
            "(squared / z.shape[-3] + epsilon).sqrt()",
        ),
        ("vicreg variance for deviation", "+ epsilon).sqrt()", "+ epsilon)"),
        ("vicreg epsilon forgotten", "(z.shape[-3] - 1) + epsilon", "(z.shape[-3] - 1)"),
        ("vicreg hinge sign", "(gamma - deviation).relu()", "(deviation - gamma).relu()"),
        ("vicreg covariance of one view", "2 * covariance * c", "covariance * c"),
        ("vicreg distance conventions swapped", '(d if distance == "mean" else 1)', '(1 if distance == "mean" else d)'),
        (
            "vicreg covariance undivided",
            "/ (d * (z.shape[-3] - 1) ** 2)",
            "/ (z.shape[-3] - 1) ** 2",
        ),
        ("energy with diagonal", "return squared, energy - squared.square().sum(-1)", "return squared, energy"),
        ("vicreg covariance biased", "(d * (z.shape[-3] - 1) ** 2)", "(d * z.shape[-3] ** 2)"),
        ("small Gram matrix wrong", "((a @ a.mT) * (b @ b.mT))", "((a @ a.mT) * (a @ b.mT))"),
        ("not centred", "return views - views.mean(-2, keepdim=True)", "return views"),
        (
            "barlow lambda on the diagonal",
            "on_diagonal.mean(-1) + lambd * off_diagonal.mean(-1)",
            "lambd * on_diagonal.mean(-1) + off_diagonal.mean(-1)",
        ),
        ("barlow diagonal in both", "cross_energy(a, b) - diagonal.square().sum(-1)", "cross_energy(a, b)"),
        ("barlow standardises rows", "unit(views, axis=-2)", "unit(views, axis=-1)"),
        (
            "barlow same view",
            "pick(standard, first, -3), pick(standard, second, -3)",
            "pick(standard, first, -3), pick(standard, first, -3)",
        ),
        ("barlow epsilon not times n", "(squared + n * epsilon)", "(squared + epsilon)"),
        (
            "whitening by the wrong triangle",
            "solve_triangular(factor, centred.mT, upper=False)",
            "solve_triangular(factor.mT, centred.mT, upper=True)",
        ),
        ("whitening biased", "centred.mT @ centred / (centred.shape[-2] - 1)", "centred.mT @ centred"),
        ("whitening without ridge", "covariance + ridge * identity", "covariance"),
        ("ridge does not scale", "ridge = epsilon * trace", "ridge = epsilon"),
        ("coding rate not halved", ".log().sum(-1)\n\n\ndef second", ".log().sum(-1) * 2\n\n\ndef second"),
        ("coding rate sign", "return -coding_rate(", "return coding_rate("),
        ("coding rate over d", "z.shape[-1] / (z.shape[-3] * distortion)", "1 / (z.shape[-3] * distortion)"),
    ],
    "decoders": [
        ("gaussian factor half", "return -0.5 * (error / variance + x.shape", "return -(error / variance + x.shape"),
        ("gaussian normaliser of one pixel", "x.shape[-1] * (LOG_2PI + log(variance))", "(LOG_2PI + log(variance))"),
        ("gaussian deviation for variance", "(error / variance +", "(error / variance**2 +"),
        ("bernoulli sign", "(x * logits - softplus(logits)).sum(-1)", "(x * logits - softplus(-logits)).sum(-1)"),
        ("bernoulli mean is the logit", "return decoded.sigmoid()", "return decoded"),
        ("heteroscedastic without log variance", "(error + log_variance + LOG_2PI)", "(error + LOG_2PI)"),
        (
            "heteroscedastic halves swapped",
            "mean, log_variance = wide(decoded).chunk(2, -1)",
            "log_variance, mean = wide(decoded).chunk(2, -1)",
        ),
        ("continuous bernoulli without normaliser", " + self.log_normaliser(logits)", ""),
        ("continuous bernoulli series", "squared**2 * (7 / 1440)", "squared**2 * (7 / 144)"),
        ("continuous bernoulli mean not reflected", "torch.where(decoded < 0, 1 - exact, exact)", "exact"),
        ("logistic half width", "0.5 / (self.levels - 1)", "0.5 / self.levels"),
        (
            "logistic tails forgotten",
            "torch.where(x < half, log_below, torch.where(x > 1 - half, log_above, inner))",
            "inner",
        ),
        (
            "logistic ends swapped",
            "torch.where(x < half, log_below, torch.where(x > 1 - half, log_above, inner))",
            "torch.where(x < half, log_above, torch.where(x > 1 - half, log_below, inner))",
        ),
        ("logistic mean off by half a level", "(k - 0.5) / L", "k / L"),
    ],
    "generative": [
        (
            "entropy 2 pi l",
            "0.5 * (1 + LOG_2PI + wide(log_variance)).sum(-1)",
            "0.5 * (2 * 3.14159265 * wide(log_variance)).sum(-1)",
        ),
        ("entropy without one", "0.5 * (1 + LOG_2PI + wide", "0.5 * (LOG_2PI + wide"),
        (
            "kl without log variance",
            "log_variance.expm1() - log_variance).sum(-1)\n\n\ndef log_posterior",
            "log_variance.expm1()).sum(-1)\n\n\ndef log_posterior",
        ),
        ("kl exp for expm1", "mean.square() + log_variance.expm1()", "mean.square() + log_variance.exp()"),
        (
            "posterior precision",
            "(z - mean).square() * (-log_variance).exp()",
            "(z - mean).square() * log_variance.exp()",
        ),
        ("posterior two pi", "(squared + log_variance + LOG_2PI)", "(squared + log_variance)"),
        ("entropy subtracted", "+ posterior_entropy.sum(-1) + prior", "- posterior_entropy.sum(-1) + prior"),
        ("prior dropped", " + posterior_entropy.sum(-1) + prior.log_prob(z)", " + posterior_entropy.sum(-1)"),
        (
            "mean over views",
            "decoder.log_prob(x, decoded).sum(-1) + posterior_entropy",
            "decoder.log_prob(x, decoded).mean(-1) + posterior_entropy",
        ),
        ("sign of the bound", "return -evidence_bound(", "return evidence_bound("),
        ("vae is beta-vae", "beta=1.0)", "beta=4.0)"),
        (
            "beta on the wrong term",
            "(per_member(beta, 1) * divergence - decoder.log_prob(x, decoded).sum(-1))",
            "(divergence - per_member(beta, 1) * decoder.log_prob(x, decoded).sum(-1))",
        ),
        ("kl direction reversed", "(-log_variance[..., :1, :]).exp()", "(-log_variance[..., 1:, :]).exp()"),
        ("tie to the last view", "mean[..., 1:, :] - mean[..., :1, :]", "mean[..., 1:, :] - mean[..., -1:, :]"),
        ("iwae without log S", "weights.logsumexp(0) - math.log(z.shape[0])", "weights.logsumexp(0)"),
        ("iwae mean of logs", "weights.logsumexp(0) - math.log(z.shape[0])", "weights.mean(0)"),
        ("weights add the posterior", "log_joint - log_posterior(", "log_joint + log_posterior("),
        ("standard error not over root S", "relative.std(0) / math.sqrt(samples)", "relative.std(0)"),
        ("standard error biased", "relative.std(0) /", "relative.std(0, unbiased=False) /"),
    ],
    "state": [
        (
            "queue drops the newest",
            "torch.cat([z.detach().to(self.entries.dtype), self.entries], -3)",
            "torch.cat([self.entries, z.detach().to(self.entries.dtype)], -3)",
        ),
        ("memory not normalised", "rows, unit(moved)", "rows, moved"),
        (
            "memory momentum swapped",
            "self.momentum * self.bank.gather(-2, rows) + (1 - self.momentum) * fresh",
            "(1 - self.momentum) * self.bank.gather(-2, rows) + self.momentum * fresh",
        ),
        (
            "centre momentum swapped",
            "self.momentum * self.value + (1 - self.momentum) * fresh",
            "(1 - self.momentum) * self.value + self.momentum * fresh",
        ),
        ("centre of one view", "wide(teacher.detach()).mean((-3, -2))", "wide(teacher.detach())[..., 0, :].mean(-2)"),
    ],
}
MUTANTS = [Mutant(module, *fault) for module, faults in FAULTS.items() for fault in faults]


def copy_of_the_package(source: Path, target: Path) -> None:
    for name in ("ssl_theory", "synthetic", "tests/losses", "docs"):
        shutil.copytree(source / name, target / name, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
    for name in ("pyproject.toml", "tests/__init__.py", "tests/conftest.py", "tests/references.py"):
        shutil.copy(source / name, target / name)


def run_tests(folder: Path, tests: list[str]) -> tuple[int, str]:
    """Exit code and output of the tests in a folder, whose packages take the place of those of this repository.

    For a process of its own: it changes the working directory and forgets modules that were imported from elsewhere.
    """
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    for module in [name for name in sys.modules if name.partition(".")[0] in ("tests", "ssl_theory", "synthetic")]:
        del sys.modules[module]
    with open(folder / "output.txt", "w+") as output, redirect_stdout(output), redirect_stderr(output):
        silent = ["-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning", "--tb=line"]
        code = pytest.main(["-x", "-q", "-m", "not slow", *silent, *tests])
    return int(code), (folder / "output.txt").read_text()[-4000:]


def outcome(source: Path, mutant: Mutant) -> str:
    """`killed by TEST`, or `SURVIVED`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_of_the_package(source, folder)
        mutant.plant(folder)
        code, output = run_tests(folder, mutant.tests())
    if code == 0:
        return "SURVIVED"
    failed = [line.split(" ")[1] for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return f"killed by {failed[0].rpartition('::')[2] if failed else 'an error'}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], help="plant only faults with these words in module or name")
    parser.add_argument("--skip", type=int, default=0, help="leave out the first so many faults")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="faults tried at the same time")
    options = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if any(word in f"{mutant.module} {mutant.kind}" for word in options.only)]
    chosen = chosen[options.skip :]
    for module in PRELOADED:
        import_module(module)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        source = Path(name)
        copy_of_the_package(ROOT, source)  # once: edits made meanwhile do not matter
        everything = sorted({test for mutant in chosen for test in mutant.tests()})
        ((code, output),) = in_processes(partial(run_tests, source), [everything], 1)
        if code:
            sys.exit(f"{output}\nexpected green tests before any fault is planted, found red ones: mend them first")
        return report(chosen, in_processes(partial(outcome, source), chosen, options.jobs))


def in_processes(function: Callable[[Any], Any], items: Iterable[Any], jobs: int) -> Iterator[Any]:
    """`function` of each item, in order, each in a process forked for it, at most `jobs` at a time.

    A forked process has torch and scipy loaded already, and nothing of the package. All forks are made by this
    thread alone: a pool forks from a second one, and a lock that is held meanwhile stays held in the child.
    """
    waiting = list(enumerate(items))
    running: dict[int, tuple[BaseProcess, connection.Connection]] = {}
    done: dict[int, Any] = {}
    for following in range(len(waiting)):
        while following not in done:
            while waiting and len(running) < jobs:
                index, item = waiting.pop(0)
                running[index] = _started(function, item)
            connection.wait([process.sentinel for process, _ in running.values()])
            for index in [index for index, (process, _) in running.items() if not process.is_alive()]:
                _, receiver = running.pop(index)
                done[index] = receiver.recv() if receiver.poll() else "killed by a crash"
        yield done.pop(following)


def _started(function: Callable[[Any], Any], item: Any) -> tuple[BaseProcess, connection.Connection]:
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(function(item)))
    process.start()
    sender.close()
    return process, receiver


def report(chosen: list[Mutant], results: Iterable[str]) -> int:
    survivors = []
    for mutant, result in zip(chosen, results, strict=True):
        print(f"{mutant.module:13} {mutant.kind:42} {result}", flush=True)
        survivors += [mutant] if result == "SURVIVED" else []
    print(f"{len(chosen)} faults planted, {len(survivors)} survived")
    for mutant in survivors:
        print(f"  {mutant.module}: {mutant.kind}: {mutant.old!r} -> {mutant.new!r}")
    return len(survivors)


if __name__ == "__main__":
    sys.exit(main())
