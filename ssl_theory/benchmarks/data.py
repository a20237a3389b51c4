"""Real images with labels, split once into train, validation and test.

`load("digits")` reads the 1,797 handwritten digits that scikit-learn bundles (real 8 x 8 scans, no network);
`sprites` are drawn by the package itself, so that their style is known exactly; every other data set is read
through the `datasets` package, either from a local folder in the hub's layout (`folder=...`) or from the hub
by name, `owner/name` for one that is not listed here. Pixels stay uint8 until a batch is drawn, so a data set
takes a byte a value.

What is known of the style of an image itself, besides the augmentation's, goes with it: `attributes` are
integer-coded (the annotations of faces), `factors` are real-valued (the pose and light of a sprite).
`Splits.views(part, augmentation)` gives the views to train and examine on, for every data set.

The split is stratified by label and fixed by a seed of its own, never by a training seed: all methods and all
seeds meet the same test images. Where the data set brings a test split of its own, that one is used, and only
the validation images are taken out of the training split. Everything a user can get wrong is refused with
`InputError`, in one line."""

from __future__ import annotations

import difflib
import hashlib
import re
import sys
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ssl_theory.benchmarks.errors import InputError

if TYPE_CHECKING:
    from ssl_theory.benchmarks.augmentation import Augmentation, AugmentedImages, Redrawing

VALIDATION, TEST = 1 / 6, 1 / 4  # shares of the images; a data set's own splits come before these
SHOWN = 12  # labels that a refusal lists


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


BUILT_IN = {  # data sets that no folder and no network is needed for, and where they come from
    "digits": "come with scikit-learn",
    "sprites": "are drawn by this package",
}
SOURCES = {
    "digits": Source(None, classes=10, pad=2),
    "sprites": Source(None),
    "mnist": Source("ylecun/mnist", classes=10),
    "fashion_mnist": Source("zalando-datasets/fashion_mnist", classes=10),
    "cifar10": Source("uoft-cs/cifar10", image_column="img", classes=10),
    "celeba": Source("flwrlabs/celeba", label_column="hair and Male", classes=10),
    "folder": Source(None),
}


@dataclass(frozen=True)
class Images:
    """Images in bytes with their labels, `pixels (N, C, H, W)`, `labels (N,)`, and what is known of their own
    style: `attributes (N, A)`, whole numbers from 0, and `factors (N, F)`, real; None where nothing is."""

    pixels: UInt8[Tensor, "N C H W"]
    labels: Int[Tensor, " N"]
    attributes: Int[Tensor, "N A"] | None = None
    factors: Float[Tensor, "N F"] | None = None

    @property
    def arrays(self) -> dict[str, Tensor]:
        """What is there, by name."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: array for name, array in named.items() if array is not None}

    @property
    def size(self) -> int:
        """Bytes that all of them take."""
        return sum(array.nbytes for array in self.arrays.values())

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Int[Tensor, " n"]) -> Images:
        return Images(**{name: array.index_select(0, index) for name, array in self.arrays.items()})

    def to(self, device: torch.device | str) -> Images:
        return Images(**{name: array.to(device) for name, array in self.arrays.items()})

    def fingerprint(self) -> str:
        """A hash of shape and bytes of all arrays: two data sets share it only when they are the same."""
        digest = hashlib.sha256(str(tuple(self.pixels.shape)).encode())
        for name, array in self.arrays.items():
            if name in ("attributes", "factors"):
                digest.update(f"{name} {array.dtype} {tuple(array.shape)}".encode())
            digest.update(array.cpu().contiguous().numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Splits:
    """One data set, cut in three: representations and probes learn on `train`, choices are made on
    `validation`, and `test` is looked at once.

    `attributes` and `factors` name the columns of the images' arrays of these names, and are empty where there
    are none. `world` is there where the images come of one that can draw an image of the same content in
    another style; views then are drawn by it unless another augmentation is asked for."""

    name: str
    classes: int
    train: Images
    validation: Images
    test: Images
    attributes: tuple[str, ...] = ()
    factors: tuple[str, ...] = ()
    world: Redrawing | None = None

    def __post_init__(self) -> None:
        for part in ("train", "validation", "test"):
            for kind in ("attributes", "factors"):
                _check_named(self.name, part, kind, getattr(getattr(self, part), kind), getattr(self, kind))

    @property
    def shape(self) -> tuple[int, ...]:
        """`(C, H, W)` of one image."""
        return tuple(self.train.pixels.shape[1:])

    def views(self, part: str, augmentation: Augmentation | Redrawing) -> AugmentedImages:
        """Views of the images of `part` ("train", "validation" or "test"): `.sample(n, views=, generator=)` for
        training, `.every(views=, generator=)` for an examination, `.names` of the recorded style."""
        from ssl_theory.benchmarks.augmentation import AugmentedImages

        if part not in ("train", "validation", "test"):
            raise ValueError(f"expected the part train, validation or test, found {part!r}.")
        return AugmentedImages(getattr(self, part), augmentation)

    def fingerprint(self) -> str:
        parts = (self.train, self.validation, self.test)
        return hashlib.sha256("".join(part.fingerprint() for part in parts).encode()).hexdigest()


def _check_named(name: str, part: str, kind: str, array: Tensor | None, names: tuple[str, ...]) -> None:
    columns = 0 if array is None else array.shape[1]
    if columns != len(names):
        raise ValueError(
            f"{name}, {part}: expected {len(names)} {kind}, as many as have names, found {columns}; "
            "all parts of a data set have the same ones, or none has any."
        )


def load(
    name: str,
    *,
    folder: Path | str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    config: str | None = None,
    split_seed: int = 0,
) -> Splits:
    """The data set `name`, split by `split_seed`; `folder` holds it in the hub's layout where it was fetched
    before, `config` names one of its configurations where there are several.

    >>> load("digits").shape
    (1, 12, 12)
    """
    name = listed(name)
    source = _source(name)
    for option, given in (("image-column", image_column), ("label-column", label_column), ("config", config)):
        if given == "":  # as an unset variable of a shell is
            raise InputError(f"--{option} '': give a name, or leave it out.")
    if name in BUILT_IN:
        _refuse(name, folder, image_column, label_column, config)
        return _built_in(name, source, split_seed)
    if name == "celeba" and label_column is not None:
        raise InputError("celeba: the label is made of hair colour and Male, leave out --label-column.")
    from ssl_theory.benchmarks import celeba, decoded, hub

    columns = (image_column or source.image_column, label_column or source.label_column)
    recipe = celeba.RECIPE if name == "celeba" else None
    place = _place(name, source, None if folder is None else Path(folder))
    found = None if isinstance(place, Path) else hub.tables(place, config)
    content = decoded.files(place) if isinstance(place, Path) else [place, hub.fingerprints(found or {})]
    facts = (content, columns, source.classes, recipe and recipe.name, *([config] if config else []))
    decode = partial(hub.read, place, columns, source.classes, recipe, found, config)
    parts, classes, unread = decoded.kept(facts, decode)
    _tell(place, unread)
    attributes = recipe.attributes if recipe else ()
    return _three(name, _all_padded(parts, source), classes, split_seed, attributes=attributes)


def listed(name: str) -> str:
    """The name that a data set is listed by here, for one given by its name on the hub; any other as it is."""
    return {source.hub: known for known, source in SOURCES.items() if source.hub}.get(name, name)


def _built_in(name: str, source: Source, seed: int) -> Splits:
    if name == "digits":
        return _three(name, _all_padded({"train": _bundled_digits()}, source), 10, seed)
    from ssl_theory.benchmarks.sprites import Sprites

    world = Sprites()
    return _three(name, {"train": world.drawn()}, world.classes, seed, factors=world.names, world=world)


def _source(name: str) -> Source:
    if name in SOURCES:
        return SOURCES[name]
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", name):
        return _on_the_hub(name)
    near = difflib.get_close_matches(name.lower().replace("-", "_"), SOURCES, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(SOURCES)}."
    raise InputError(
        f"unknown data set {name!r}: {hint} Any other data set of the hub: owner/name. "
        "For images of your own: ssl-bench folder --data-dir FOLDER."
    )


def _on_the_hub(name: str) -> Source:
    if Path(name).is_dir():  # `datasets` would take it for a hub name or a folder as it likes
        raise InputError(f"{name} is a folder here: read it by ssl-bench folder --data-dir {name}.")
    return Source(name)


def _refuse(name: str, *arguments: object) -> None:
    if any(argument is not None for argument in arguments):
        raise InputError(
            f"{name} {BUILT_IN[name]} and take no --data-dir, --image-column, --label-column or --config: "
            "leave them out, or name another data set (folder for your own images)."
        )


def _tell(place: Path | str, unread: list[str]) -> None:
    """In one line, of splits that would otherwise be passed over in silence."""
    if unread:
        print(
            f"{place}: not read: split {', '.join(unread)}; only train, validation (or valid, val) and test are, "
            "one of each. To use another, give it such a name in the folder's README.md (of the hub: in a copy of it).",
            file=sys.stderr,
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


def _all_padded(parts: dict[str, Images], source: Source) -> dict[str, Images]:
    return {key: replace(part, pixels=_padded(part.pixels, source.pad)) for key, part in parts.items()}


def _padded(pixels: UInt8[Tensor, "N C H W"], margin: int) -> UInt8[Tensor, "N C h w"]:
    return torch.nn.functional.pad(pixels, (margin,) * 4) if margin else pixels


def _three(name: str, parts: dict[str, Images], classes: int, seed: int, **known: Any) -> Splits:
    train, validation, test = (parts.get(key) for key in ("train", "validation", "test"))
    assert train is not None, "hub.read promises a training part"
    if test is None:
        train, test = _cut(train, TEST, classes, torch.Generator().manual_seed(seed))
    if validation is None:
        share = VALIDATION if "test" in parts else VALIDATION / (1 - TEST)
        train, validation = _cut(train, share, classes, torch.Generator().manual_seed(seed + 1))
    _check_parts(name, {"train": train, "validation": validation, "test": test}, classes)
    return Splits(name, classes, train, validation, test, **known)


def _check_parts(name: str, parts: dict[str, Images], classes: int) -> None:
    """What probes and choices need; a data set that brings its own parts may have less than a cut would leave."""
    for part, images in parts.items():
        if len(images) < 2:
            raise InputError(f"{name}, split {part}: at least 2 images are needed, found {len(images)}: add some.")
    there = set(parts["train"].labels.unique().tolist())
    seen = range(min(classes, len(there) + SHOWN + 1))  # a label may be 10¹⁰
    if missing := [label for label in seen if label not in there]:
        shown = ", ".join(map(str, missing[:SHOWN])) + (", ..." if len(missing) > SHOWN else "")
        raise InputError(
            f"{name}, split train: expected images of all {classes} classes, found none of class {shown}: add some, or "
            "drop the class and number the labels anew."
        )


def _cut(images: Images, share: float, classes: int, generator: torch.Generator) -> tuple[Images, Images]:
    """Two disjoint parts, the second with `share` of every class (at least one image of each, never all)."""
    chosen = torch.zeros(len(images), dtype=torch.bool)
    for label in range(classes):
        members = (images.labels == label).nonzero()[:, 0]
        if len(members) < 2:
            found = ", ".join(map(str, images.labels.unique().tolist()[:SHOWN]))
            raise InputError(
                f"class {label} has {len(members)} image(s) to split (labels found: {found}); at least 3 of each class "
                "are needed, one each for train, validation and test: add images or drop the class "
                "and number the labels anew."
            )
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        chosen[members[torch.randperm(len(members), generator=generator)[:count]]] = True
    return images[(~chosen).nonzero()[:, 0]], images[chosen.nonzero()[:, 0]]
