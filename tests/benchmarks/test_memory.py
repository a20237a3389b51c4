"""Where memory runs out, one line says what to change; other faults are not taken for it."""

import pytest
import torch

from ssl_theory.benchmarks import run
from ssl_theory.benchmarks.errors import InputError
from tests.benchmarks.test_run import job, silent

pytestmark = pytest.mark.usefixtures("rough_probes")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("out"), MemoryError(), RuntimeError("can't allocate memory")])
def test_want_of_memory_names_a_batch_to_try(tmp_path, monkeypatch, error):
    def full(*_, **__):
        raise error

    monkeypatch.setattr(run, "fit", full)
    with pytest.raises(InputError, match=r"out of memory.* 8 images .*--batch 4") as told:
        run.evaluate(job(tmp_path), silent)
    assert "\n" not in str(told.value)
    assert not job(tmp_path).entry.exists()


@pytest.mark.parametrize(("method", "remedy"), [("pixels", ""), ("random", "fewer --seeds, ")])
def test_want_of_memory_in_the_examination_names_what_helps_there(tmp_path, monkeypatch, method, remedy):
    def full(*_):
        raise MemoryError

    monkeypatch.setattr(run, "_examined", full)
    with pytest.raises(InputError, match=f"examined; .* try fewer --jobs, {remedy}or a machine with more mem") as told:
        run.evaluate(job(tmp_path, method), silent)
    assert not any(word in str(told.value) for word in ("--batch", "--encoder"))


def test_other_faults_are_not_taken_for_want_of_memory(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr(run, "fit", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        run.evaluate(job(tmp_path), silent)
