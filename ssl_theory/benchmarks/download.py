"""Fetch a data set ahead, into a folder that `--data-dir` takes: for machines without a network, and for runs that
must not wait for one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ssl_theory.benchmarks import data
from ssl_theory.benchmarks.errors import InputError
from ssl_theory.benchmarks.hub import no_space, quiet, reached


def fetch(name: str, folder: Path | None, report: Callable[[str], None]) -> Path | None:
    """Fetch the data set `name` (a known one, or `owner/name` of the hub) into `folder` in the hub's layout;
    the folder, or None where there is nothing to fetch.

    `report` gets a line at the beginning and one at the end that says what to run next; the hub's client shows a
    bar a file. What is there already is not fetched again, and a fetch that was cut off goes on."""
    source = data._source(name)
    if name in data.BUILT_IN:
        report(f"{name} {data.BUILT_IN[name]}: nothing to fetch. Next: ssl-bench {name}")
        return None
    if source.hub is None:
        raise InputError("folder stands for images of your own: nothing to fetch; ssl-bench folder --data-dir FOLDER.")
    if folder is None:
        raise InputError(f"say where {name} shall go, with --to FOLDER.")
    report(f"Fetching {source.hub} into {folder}; the same command goes on where it is cut off.")
    _snapshot(source.hub, folder)
    report(f"{name} is in {folder}. Next: ssl-bench {name} --data-dir {folder}")
    return folder


def _snapshot(hub: str, folder: Path) -> None:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise InputError(
            "fetching needs the package datasets, which is not installed: pip install 'ssl-theory[bench]'."
        ) from None
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with quiet():
            if not reached(hub):
                raise ConnectionError
            snapshot_download(hub, repo_type="dataset", local_dir=folder)
    except Exception as error:  # of the hub's client, of what it fetches with, or of the disk
        for path in new:
            with suppress(OSError):  # what was fetched stays, and is gone on with
                path.rmdir()
        raise InputError(_why(hub, folder, error)) from error


def _why(hub: str, folder: Path, error: Exception) -> str:
    kind = type(error).__name__
    if no_space(error):
        return f"no space left on the disk for {folder}: make room and run the same command; what is fetched is kept."
    if isinstance(error, PermissionError | NotADirectoryError | FileExistsError):
        return f"cannot write to {folder} ({error.strerror}): name another folder with --to."
    if kind in ("RepositoryNotFoundError", "GatedRepoError", "HFValidationError"):
        return f"no data set {hub} on the hub that is open to all ({kind}): check the spelling, or `hf auth login`."
    return (
        f"cannot fetch {hub} ({kind}): no network, or the hub does not answer; run the same command on a connected "
        f"machine and copy {folder} here."
    )
