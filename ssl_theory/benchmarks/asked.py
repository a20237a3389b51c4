"""What was typed, checked before anything is read, computed or written; what is wrong with it is one line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ssl_theory.benchmarks.errors import InputError


def numbers(seeds: int, steps: int | None, jobs: int, batch: int = 64, devices: int = 1, nodes: int = 1) -> None:
    """At least so many of each as a run needs."""
    if seeds < 3:  # half the 95 % interval of two seeds is nine of their standard deviations
        raise InputError(f"--seeds {seeds}: at least 3 are needed for an interval that says something.")
    if steps is not None and steps < 1:
        raise InputError(f"--steps {steps}: at least 1 is needed.")
    if jobs < 0:
        raise InputError(f"--jobs {jobs}: give the number of methods at a time, or 0 to have it chosen.")
    if batch < 2:
        raise InputError(f"--batch {batch}: at least 2 images are needed for one to be told from another.")
    if min(devices, nodes) < 1:
        raise InputError(f"--devices {devices} --nodes {nodes}: at least 1 of each is needed.")
    if batch % (devices * nodes):
        raise InputError(f"--batch {batch}: not to be divided among {devices * nodes} devices; choose a multiple.")


def latent_size(number: int | None) -> None:
    """At least one, where it was asked for."""
    if number is not None and number < 1:
        raise InputError(f"--latent-dim {number}: at least 1 is needed.")


PRECISIONS = ("32-true", "32-high", "32-medium", "bf16-mixed")
FASTEST = "fastest"


def scale(cluster: str | None, devices: int, precision: str) -> None:
    """A cluster has one device a method, in 32 bits; several devices cannot each find another arithmetic the
    fastest."""
    if precision not in (*PRECISIONS, FASTEST):
        raise InputError(f"--precision {precision}: give {', '.join(PRECISIONS)} or {FASTEST}.")
    if cluster is not None and (devices > 1 or precision != "32-true"):
        raise InputError("--cluster gives each method to one device in 32 bits: leave out --devices, --precision.")
    if devices > 1 and precision == FASTEST:
        raise InputError(f"--precision {FASTEST} is tried on one device: name one of {', '.join(PRECISIONS)} instead.")


def products(precision: str) -> None:
    """A map is computed without Fabric, hence without layers in half precision."""
    known = (*PRECISIONS[:-1], FASTEST)
    if precision not in known:
        raise InputError(f"--precision {precision}: give one of {', '.join(known)} for a map.")


def device(name: str) -> str:
    """Of torch's name, what "auto" is here."""
    import torch  # takes seconds: not for --help, not for a mistyped number

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not (re.fullmatch(r"cpu|cuda(:\d+)?", name) and _there(name)):  # torch knows more, none of which computes here
        raise InputError(f"--device {name}: not to be had here; give auto, cpu or cuda.")
    return name


def _there(device: str) -> bool:
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):  # a build without CUDA asserts
        return False
    return True


def folder(path: Path, files: Iterable[str], below: str = "cache") -> Path:
    """The folder of results with that `below` it, made if need be; its `files` can be written."""
    for file in files:
        if (path / file).is_dir():
            raise InputError(f"--out: {path / file} is a folder, where a file is to go; move it or name another --out.")
    try:
        (path / below).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out: cannot write to {path} ({error.strerror}); name another folder.") from error
    return path
