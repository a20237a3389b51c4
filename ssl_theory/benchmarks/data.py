"""Real images with labels, split once into train, validation and test.

`load("digits")` reads the 1,797 handwritten digits that scikit-learn bundles (real 8 x 8 scans, no network);
every other data set is read through the `datasets` package, either from a local folder in the hub's layout
(`folder=...`) or from the hub by name. Pixels stay uint8 until a batch is drawn, so a data set takes a byte a
value.

The split is stratified by label and fixed by a seed of its own, never by a training seed: all methods and all
seeds meet the same test images. Where the data set brings a test split of its own, that one is used, and only
the validation images are taken out of the training split. Everything a user can get wrong is refused with
`InputError`, in one line."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from ssl_theory.benchmarks.errors import InputError

VALIDATION, TEST = 1 / 6, 1 / 4  # shares of the images; a data set's own splits come before these


@dataclass(frozen=True)
class Source:
    """Where a named data set lives and what its columns are called.

    `pad` is a black margin in pixels added on every side, for scans that fill their frame: with it a shift
    moves the digit instead of cutting it off."""

    hub: str | None
    image_column: str = "image"
    label_column: str = "label"
    classes: int | None = None
    pad: int = 0


SOURCES = {
    "digits": Source(None, classes=10, pad=2),
    "mnist": Source("ylecun/mnist", classes=10),
    "fashion_mnist": Source("zalando-datasets/fashion_mnist", classes=10),
    "cifar10": Source("uoft-cs/cifar10", image_column="img", classes=10),
    "folder": Source(None),
}


@dataclass(frozen=True)
class Images:
    """Images in bytes and their labels: `pixels (N, C, H, W)`, `labels (N,)`."""

    pixels: UInt8[Tensor, "N C H W"]
    labels: Int[Tensor, " N"]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Int[Tensor, " n"]) -> Images:
        return Images(self.pixels[index], self.labels[index])

    def to(self, device: torch.device | str) -> Images:
        return Images(self.pixels.to(device), self.labels.to(device))

    def fingerprint(self) -> str:
        """A hash of shape, pixels and labels: two data sets share it only when they are the same."""
        digest = hashlib.sha256(str(tuple(self.pixels.shape)).encode())
        digest.update(self.pixels.cpu().contiguous().numpy().data)
        digest.update(self.labels.cpu().contiguous().numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Splits:
    """One data set, cut in three: representations and probes learn on `train`, choices are made on
    `validation`, and `test` is looked at once."""

    name: str
    classes: int
    train: Images
    validation: Images
    test: Images

    @property
    def shape(self) -> tuple[int, ...]:
        """`(C, H, W)` of one image."""
        return tuple(self.train.pixels.shape[1:])

    def fingerprint(self) -> str:
        parts = (self.train, self.validation, self.test)
        return hashlib.sha256("".join(part.fingerprint() for part in parts).encode()).hexdigest()


def load(
    name: str,
    *,
    folder: Path | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    split_seed: int = 0,
) -> Splits:
    """The data set `name`, split by `split_seed`; `folder` holds it in the hub's layout where it was fetched
    before.

    >>> load("digits").shape
    (1, 12, 12)
    """
    source = _source(name)
    if name == "digits":
        _refuse(folder, image_column, label_column)
        parts = {"train": _bundled_digits()}
        classes = 10
    else:
        from ssl_theory.benchmarks import decoded, hub

        columns = (image_column or source.image_column, label_column or source.label_column)
        place = _place(name, source, folder)
        if isinstance(place, Path):
            read = partial(hub.read, place, columns, source.classes)
            parts, classes = decoded.kept(place, columns, source.classes, read)
        else:
            parts, classes = hub.read(place, columns, source.classes)
    parts = {key: Images(_padded(part.pixels, source.pad), part.labels) for key, part in parts.items()}
    return _three(name, parts, classes, split_seed)


def _source(name: str) -> Source:
    if name in SOURCES:
        return SOURCES[name]
    near = difflib.get_close_matches(name.lower().replace("-", "_"), SOURCES, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(SOURCES)}."
    raise InputError(f"unknown data set {name!r}: {hint} For images of your own: ssl-bench folder --data-dir FOLDER.")


def _refuse(*arguments: object) -> None:
    if any(argument is not None for argument in arguments):
        raise InputError(
            "digits come with scikit-learn and take no --data-dir, --image-column or --label-column: "
            "leave them out, or name another data set (folder for your own images)."
        )


def _place(name: str, source: Source, folder: Path | None) -> Path | str:
    """The local folder if there is one, else the hub's name."""
    if folder is None and source.hub is None:
        raise InputError("data set 'folder' is read from disk: say where with --data-dir FOLDER.")
    if folder is None:
        return str(source.hub)
    if not folder.is_dir():
        raise InputError(
            f"--data-dir {folder}: no such folder; expected the folder of {name} in the hub's layout "
            "(Parquet files, or anything datasets.load_dataset(FOLDER) takes)."
        )
    return folder


def _bundled_digits() -> Images:
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = torch.from_numpy(digits.images) * (255 / 16)  # the scans have 17 levels, 0 to 16
    return Images(grey.round().to(torch.uint8)[:, None], torch.from_numpy(digits.target.astype("int64", copy=False)))


def _padded(pixels: UInt8[Tensor, "N C H W"], margin: int) -> UInt8[Tensor, "N C h w"]:
    return torch.nn.functional.pad(pixels, (margin,) * 4) if margin else pixels


def _three(name: str, parts: dict[str, Images], classes: int, seed: int) -> Splits:
    train, validation, test = (parts.get(key) for key in ("train", "validation", "test"))
    assert train is not None, "hub.read promises a training part"
    if test is None:
        train, test = _cut(train, TEST, classes, torch.Generator().manual_seed(seed))
    if validation is None:
        share = VALIDATION if "test" in parts else VALIDATION / (1 - TEST)
        train, validation = _cut(train, share, classes, torch.Generator().manual_seed(seed + 1))
    return Splits(name, classes, train, validation, test)


def _cut(images: Images, share: float, classes: int, generator: torch.Generator) -> tuple[Images, Images]:
    """Two disjoint parts, the second with `share` of every class (at least one image of each, never all)."""
    chosen = torch.zeros(len(images), dtype=torch.bool)
    for label in range(classes):
        members = (images.labels == label).nonzero()[:, 0]
        if len(members) < 2:
            raise InputError(
                f"class {label} has {len(members)} image(s) to split; at least 3 of each class are needed, one each "
                "for train, validation and test: add images or drop the class and number the labels anew."
            )
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        chosen[members[torch.randperm(len(members), generator=generator)[:count]]] = True
    return images[(~chosen).nonzero()[:, 0]], images[chosen.nonzero()[:, 0]]
