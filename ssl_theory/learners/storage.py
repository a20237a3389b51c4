"""Files of named tensors and a JSON description, written atomically: weights only, never pickle."""

import contextlib
import errno
import hashlib
import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, uint8

from ssl_theory.learners.learner import Learner

FORMAT = 1
DESCRIPTION, SUM = "ssl_theory", "sha256"


def write(path: str | Path, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
    """Write to a new file beside `path`, then put it in place of the old one: a killed run leaves the old one
    whole.

    One file holds both (safetensors with the JSON in its header), so the two can never disagree; a SHA-256 over both
    tells a damaged one.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    said = json.dumps(description | {"format": FORMAT})
    payload = save(tensors, metadata={DESCRIPTION: said, SUM: _sum(said, tensors)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if not isinstance(error, OSError):
            raise  # a second Ctrl-C
        said = f"cannot write {path}: {error.strerror or error}; free space or choose another folder"
        raise OSError(error.errno or errno.EIO, said) from error  # the number: callers tell a full disk by it


def read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the description of a file that `write` wrote; ValueError where it is damaged."""
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, FileNotFoundError) as error:
        raise ValueError(f"expected a file written by this package at {path}, found {error}; train again") from error
    said = header.get(DESCRIPTION, "")
    if header.get(SUM) != _sum(said, tensors):
        raise ValueError(f"{path} is damaged, or of an earlier version of this package; delete it and train again")
    description = json.loads(said)
    if description.get("format") != FORMAT:
        raise ValueError(f"expected format {FORMAT} in {path}, found {description.get('format')}; train again")
    return tensors, description


def _sum(said: str, tensors: dict[str, Tensor]) -> str:
    """SHA-256 of the description and of name, type, shape and bytes of every tensor."""
    digest = hashlib.sha256(said.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(uint8).numpy().data)
    return digest.hexdigest()


def describe(learner: Learner) -> dict[str, Any]:
    """A learner as JSON: its class and its hyperparameters."""
    values = {field.name: getattr(learner, field.name) for field in fields(learner)}
    if tensors := [name for name, value in values.items() if isinstance(value, Tensor)]:
        raise ValueError(f"expected numbers, found a tensor for {', '.join(tensors)}; pass a sequence of learners")
    return {"class": _name(type(learner)), "hyperparameters": json.loads(json.dumps(values))}


def revive(description: dict[str, Any]) -> Learner:
    """The learner that `describe` described; its class must have been imported."""
    known = {_name(cls): cls for cls in _subclasses(Learner)}
    if description["class"] not in known:
        found = description["class"]
        raise ValueError(f"expected a learner class that is imported, found {found}; import its module first")
    values = {name: _tuples(value) for name, value in description["hyperparameters"].items()}
    return known[description["class"]](**values)


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _subclasses(cls: Any) -> list[type[Learner]]:
    return [cls, *(below for sub in cls.__subclasses__() for below in _subclasses(sub))]


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
