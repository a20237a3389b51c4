"""A run that is stopped and taken up again ends in the same numbers, bit for bit, as one that never stopped."""

import errno
import io
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ssl_theory.learners import Fitted, SimCLR, SimVAE, fit, storage
from tests.learners.toy import ALL, FEW, SMALL, Toy

ROOT = Path(__file__).parents[2]
X = Toy().sample(9, views=1, generator=torch.Generator().manual_seed(1)).x[:, 0]
LEARNER = SimVAE(**SMALL, batch_norm=True)


class Killed(BaseException):
    """Stands for the end of the process."""


def stop_at(step: int):
    def progress(done: int, steps: int) -> None:
        if done >= step:
            raise Killed

    return progress


def train(learner=LEARNER, steps=20, **options) -> Fitted:
    return fit(learner, Toy(), steps=steps, seeds=(5, 2), **(FEW | {"log_every": 3} | options))


def same(first: Fitted, second: Fitted) -> None:
    ours, theirs = first.modules.state_dict(), second.modules.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert first.history.equals(second.history)
    assert first.divergences.equals(second.divergences)


@pytest.mark.parametrize("learner", ALL.values(), ids=ALL.keys())
def test_a_stopped_run_ends_as_if_it_had_not_been(learner, tmp_path):
    path = tmp_path / "run.safetensors"
    with pytest.raises(Killed):
        train(learner, steps=9, checkpoint=path, checkpoint_every=4, progress=stop_at(6))
    same(train(learner, steps=9, checkpoint=path), train(learner, steps=9))


@pytest.mark.parametrize("step", [1, 64, 65])
def test_where_in_a_chunk_of_data_a_run_stops_does_not_matter(step, tmp_path):
    path = tmp_path / "run.safetensors"
    train(steps=step, checkpoint=path)
    same(train(steps=67, checkpoint=path), train(steps=67))


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = train(checkpoint=tmp_path / "run")
    same(train(checkpoint=tmp_path / "run", progress=stop_at(0)), first)


def test_a_checkpoint_of_other_data_is_refused(tmp_path):
    fit(LEARNER, Toy(0), steps=2, seeds=(0,), checkpoint=tmp_path / "run", **FEW)
    with pytest.raises(ValueError, match="expected a checkpoint with data"):
        fit(LEARNER, Toy(1), steps=4, seeds=(0,), checkpoint=tmp_path / "run", **FEW)


def test_fewer_steps_than_the_checkpoint_has_are_refused(tmp_path):
    train(steps=4, checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match=r"expected at least 4 steps, as .* has, found 3"):
        train(steps=3, checkpoint=tmp_path / "run")


def test_a_longer_run_begins_as_a_shorter_one():
    """Data do not depend on the number of steps asked for."""
    short, long = train(steps=6).history, train(steps=12).history
    assert short.equals(long[: len(short)])


def test_ctrl_c_saves_a_whole_step(tmp_path):
    def interrupt(step: int, steps: int) -> None:
        if step == 6:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(checkpoint=tmp_path / "run", checkpoint_every=1000, progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is before
    assert (tmp_path / "run").exists()
    same(train(checkpoint=tmp_path / "run", progress=None), train())


@pytest.mark.parametrize(("change", "name"), [
    ({"learner": replace(LEARNER, style_variance=0.2)}, "learner"),
    ({"learner": SimCLR(**SMALL)}, "learner"),
    ({"batch_size": 17}, "batch_size"),
    ({"views": 3}, "views"),
    ({"dtype": torch.float32}, "dtype"),
    ({"log_every": 4}, "log_every"),
])  # fmt: skip
def test_a_checkpoint_of_another_run_is_refused(change, name, tmp_path):
    train(steps=2, checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match=f"expected a checkpoint with {name} .*, found .*; delete it"):
        train(steps=4, checkpoint=tmp_path / "run", **change)


@pytest.mark.parametrize("spoil", [lambda whole: whole[:100], lambda whole: b"", lambda whole: b"x" * 300])
def test_a_broken_checkpoint_is_refused_in_one_line(spoil, tmp_path):
    path = tmp_path / "run"
    train(steps=2, checkpoint=path)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match="expected a file written by this package") as error:
        train(steps=4, checkpoint=path)
    assert "\n" not in str(error.value)


def test_a_flipped_bit_is_told_wherever_it_is(tmp_path):
    """In weights, in the description, in a name: of members and of a checkpoint, each in one line."""
    train(steps=2, checkpoint=tmp_path / "run").save(tmp_path / "members")
    for path, read in ((tmp_path / "members", Fitted.load), (tmp_path / "run", storage.read)):
        whole = path.read_bytes()
        read(path)
        start = 8 + int.from_bytes(whole[:8], "little")
        for at in (start, len(whole) - 2, whole.index(b"learner"), whole.index(b"sha256"), whole.index(b"encoder")):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with pytest.raises(ValueError, match=f"{path} is damaged, .*; delete it and train again") as error:
                read(path)
            assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.bool, torch.int64])
def test_tensors_of_every_kind_come_back(dtype, tmp_path):
    grid = torch.arange(12).reshape(4, 3).to(dtype)
    given = {"turned": grid.T, "part": grid[:, 1], "none": grid[:0], "number": grid[1, 1]}
    storage.write(tmp_path / "file", given, {"é": [1, None]})
    tensors, said = storage.read(tmp_path / "file")
    assert all(
        torch.equal(tensors[name], value) and tensors[name].shape == value.shape for name, value in given.items()
    )
    assert said["é"] == [1, None]


def test_an_unwritable_place_is_a_one_line_error_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"cannot write .*; free space or choose another folder") as error:
        train(steps=2, checkpoint=tmp_path / "file" / "run", progress=stop_at(1))  # before the first step
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


class Full(io.FileIO):
    """A file on a disk that has room for half of what is written."""

    def write(self, data: Any) -> int:
        super().write(data[: len(data) // 2])
        full()
        return 0


DISKS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "in the middle": lambda patch: patch.setattr(storage, "open", Full, raising=False),
    "at the flush": lambda patch: patch.setattr(os, "fsync", full),
    "at the rename": lambda patch: patch.setattr(os, "replace", full),
}
one_line = pytest.raises(OSError, match=r"cannot write .*run: No space left on device; free space or")


@pytest.mark.parametrize("disk", DISKS.values(), ids=DISKS.keys())
def test_a_full_disk_loses_nothing(disk, tmp_path, monkeypatch):
    """The old checkpoint stays whole, no partial file stays, and with space the run goes on to the same numbers."""
    path = tmp_path / "run"
    train(steps=3, checkpoint=path)
    whole = path.read_bytes()
    with monkeypatch.context() as patch, one_line as error:
        disk(patch)
        train(steps=6, checkpoint=path)
    assert "\n" not in str(error.value)
    assert error.value.errno == errno.ENOSPC
    assert path.read_bytes() == whole
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]
    same(train(steps=6, checkpoint=path), train(steps=6))


@pytest.mark.parametrize("disk", DISKS.values(), ids=DISKS.keys())
def test_a_full_disk_leaves_saved_members_whole(disk, tmp_path, monkeypatch):
    path = tmp_path / "run"
    first = train(steps=2)
    first.save(path)
    with monkeypatch.context() as patch, one_line:
        disk(patch)
        train(steps=4).save(path)
    assert Fitted.load(path).steps == 2
    assert torch.equal(Fitted.load(path).transform(X), first.transform(X))
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


def test_a_second_ctrl_c_while_writing_leaves_no_partial_file(tmp_path, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    train(steps=2, checkpoint=tmp_path / "run")
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(steps=4, checkpoint=tmp_path / "run")
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


SCRIPT = """
import sys
from tests.learners.test_checkpoint import LEARNER, FEW, Toy, fit
fit(LEARNER, Toy(), steps=400, seeds=(5, 2), **FEW, log_every=3, checkpoint=sys.argv[1], checkpoint_every=2,
    progress=lambda step, steps: print(step, flush=True))
"""


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(3))
def test_kill_9_at_any_moment(trial, tmp_path):
    path = tmp_path / "run"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(path)], cwd=ROOT, env=environment, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()  # it trains
    time.sleep(random.Random(trial).uniform(0.05, 0.8))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert path.exists()
    same(train(steps=400, checkpoint=path), train(steps=400))
