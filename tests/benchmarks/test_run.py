"""A method is trained, chosen and examined once; what is done is kept, what is killed goes on to the same
numbers."""

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rich.progress
import torch
from rich.console import Console
from threadpoolctl import threadpool_info, threadpool_limits
from torch.testing import assert_close

from ssl_theory.benchmarks import cache, generation, measures, progress, run
from ssl_theory.benchmarks.augmentation import Affine, unit
from ssl_theory.benchmarks.data import Images, Splits
from ssl_theory.benchmarks.errors import InputError
from ssl_theory.benchmarks.methods import CORE, METHODS, Design, named
from ssl_theory.benchmarks.run import Job, Settings
from ssl_theory.learners import Supervised

pytestmark = pytest.mark.usefixtures("rough_probes")

SETTINGS = Settings(seeds=2, steps=200, batch_size=8)
VIEWS = Affine(1.0, 0.2, 0.1)


def images(n: int, seed: int) -> Images:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 120, (n, 1, 4, 4), generator=generator)
    labels = torch.arange(n) % 3
    pixels[torch.arange(n), 0, 1, labels] += 120
    return Images(pixels.to(torch.uint8), labels)


SPLITS = Splits("folder", 3, images(48, 0), images(12, 1), images(24, 2))


def job(folder: Path, method: str = "simclr", **changes) -> Job:
    return Job.of(METHODS[method], SPLITS, VIEWS, replace(SETTINGS, **changes), folder)


EMPTY = cache.Result(pd.DataFrame({"value": [1.0]}), run._no_history())


def silent(*_: object) -> None:
    return None


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, rough_probes):
    folder = tmp_path_factory.mktemp("whole")
    return run.run([job(folder)], workers=1, fresh=False, report=silent)[0]


def test_every_seed_and_measure_has_one_row(tmp_path):
    keys = ("pixels", "random", "vae")
    found = run.run([job(tmp_path, key) for key in keys], workers=1, fresh=False, report=silent)
    assert [result.rows["method"].unique().tolist() for result in found] == [["pixels"], ["random"], ["vae"]]
    results = dict(zip(keys, found, strict=True))
    for key, result in results.items():
        counts = result.rows.groupby(["aspect", "measure", "target"])["seed"].apply(list)
        assert (counts.map(len) == (1 if key == "pixels" else 2)).all()
        assert set(result.rows["aspect"]) == {
            "content", "style", "reconstruction", "choice", "generation", "evidence",
        }  # fmt: skip
        assert set(result.rows["layer"]) == {"representation"}
    values = {k: r.rows.set_index(["aspect", "measure"])["value"] for k, r in results.items()}
    assert values["random"]["reconstruction", "mse"].isna().all()
    assert (values["random"]["reconstruction", "decoded"] > 0).all()
    assert ("reconstruction", "decoded") not in values["pixels"].index
    assert (values["vae"]["reconstruction"] > 0).all()
    for key, measured in (("random", False), ("vae", True)):
        assert (values[key]["evidence"].notna() == measured).all()
        assert (values[key]["generation"].notna() == measured).all()
    assert set(results["pixels"].arrays) == {"confusion-representation"}
    assert set(results["random"].arrays) == {"confusion-representation", "decoded-representation"}
    for name in ("decoded", "decoded-representation", "samples"):
        assert results["vae"].arrays[name].shape == (3, 1, 4, 4)
    steps = results["random"].rows.query("measure == 'steps'")["value"]
    assert steps.isna().all()


def test_a_second_run_computes_nothing(tmp_path, monkeypatch):
    first = run.run([job(tmp_path, "random")], workers=1, fresh=False, report=silent)[0]

    def refuse(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(run, "evaluate", refuse)
    again = run.run([job(tmp_path, "random")], workers=1, fresh=False, report=silent)[0]
    pd.testing.assert_frame_equal(first.rows, again.rows)
    for changed in (job(tmp_path, "random", seeds=3), job(tmp_path, "random", steps=201)):
        with pytest.raises(AssertionError, match="computed again"):
            run.run([changed], workers=1, fresh=False, report=silent)
    with pytest.raises(AssertionError, match="computed again"):
        run.run([job(tmp_path, "random")], workers=1, fresh=True, report=silent)


def test_key_depends_on_everything_that_changes_a_number(tmp_path, monkeypatch):
    keys = {job(tmp_path).entry, job(tmp_path, "vae").entry, job(tmp_path, split_seed=1).entry}
    keys.add(Job.of(METHODS["simclr"], SPLITS, Affine(2.0), SETTINGS, tmp_path).entry)
    other = replace(SPLITS, test=images(24, 3))
    keys.add(Job.of(METHODS["simclr"], other, VIEWS, SETTINGS, tmp_path).entry)
    with monkeypatch.context() as patch:  # without torchmetrics no distance is measured
        patch.setattr(generation.importlib.util, "find_spec", lambda name: None)
        keys.add(job(tmp_path).entry)
    monkeypatch.setattr(cache, "source", lambda: "another source")
    keys.add(job(tmp_path).entry)
    assert len(keys) == 7


def test_source_covers_the_rooms_below_but_not_the_looks(monkeypatch, tmp_path):
    files = {f"{f.parent.name}/{f.name}" for f in cache._files(Path(cache.ssl_theory.__file__).parent)}
    assert {"losses/contrastive.py", "learners/ensemble.py", "analysis/probes.py", "benchmarks/run.py"} <= files
    assert not {"benchmarks/draw.py", "benchmarks/table.py"} & files


@pytest.mark.parametrize("stop", [50, 150])
def test_a_killed_run_goes_on_to_the_same_numbers(tmp_path, uninterrupted, stop, monkeypatch):
    """Lengths 50, 100, 200: stopped at the end of the first, and within the third."""
    fit = run.fit
    monkeypatch.setattr(run, "fit", lambda *a, **k: fit(*a, **k, log_every=10, checkpoint_every=20))

    def kill(_, stage: str, done: int, __: int) -> None:
        if stage == "training" and done == stop:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run.run([job(tmp_path)], workers=1, fresh=False, report=kill)
    assert not job(tmp_path).entry.exists()
    seen, lengths, of = [], [], run._fitted
    monkeypatch.setattr(run, "_fitted", lambda *a: lengths.append(of(*a)) or lengths[-1])
    resumed = run.run(
        [job(tmp_path)], workers=1, fresh=False, report=lambda _, stage, done, __: seen.append((stage, done))
    )[0]
    assert min(done for stage, done in seen if stage == "training") >= 20
    assert [fitted.steps for fitted in lengths] == [50, 100, 200]  # not what the checkpoint had reached
    pd.testing.assert_frame_equal(resumed.rows, uninterrupted.rows)
    assert [p.name for p in tmp_path.iterdir()] == [job(tmp_path).entry.name]


def test_on_the_cpu_a_method_has_one_thread_wherever_it_is_computed(tmp_path, monkeypatch):
    """The last one that is missing is computed by this process, others by workers: the same numbers all the same."""
    seen, fit, examined = [], run.fit, run._examined

    def noted(of):
        def call(*arguments, **options):
            seen.append((torch.get_num_threads(), {pool["num_threads"] for pool in threadpool_info()}))
            return of(*arguments, **options)

        return call

    monkeypatch.setattr(run, "fit", noted(fit))
    monkeypatch.setattr(run, "_examined", noted(examined))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threadpool_limits(2):
            run.run([job(tmp_path, "vae", steps=4)], workers=2, fresh=False, report=silent)
        after = torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
    assert seen == [(1, {1})] * 4  # three lengths of training, and the examination
    assert after == 2


def test_damaged_checkpoint_and_damaged_result_are_made_again(tmp_path, uninterrupted):
    one = job(tmp_path)
    one.beside("checkpoint").write_bytes(b"not a checkpoint")
    result = run.run([one], workers=1, fresh=False, report=silent)[0]
    pd.testing.assert_frame_equal(result.rows, uninterrupted.rows)
    rows = one.entry / "rows.parquet"
    rows.write_bytes(rows.read_bytes()[:-30])
    result = run.run([one], workers=1, fresh=False, report=silent)[0]
    pd.testing.assert_frame_equal(result.rows, uninterrupted.rows)


@pytest.mark.parametrize("name", ["checkpoint", "50.fitted"])
def test_what_cannot_be_gone_on_from_is_told_of_in_one_line(tmp_path, uninterrupted, name, capsys):
    one = job(tmp_path)
    one.beside(name).write_bytes(b"half of a file")
    with progress.shown([one]) as terminal:
        result = run.run([one], workers=1, fresh=False, report=terminal)[0]
    pd.testing.assert_frame_equal(result.rows, uninterrupted.rows)
    told = [line for line in capsys.readouterr().err.splitlines() if run.REFUSED in line]
    assert len(told) == 1
    assert told[0].startswith(f"SimCLR: {run.REFUSED} {one.beside(name).name}, trained anew (ValueError: expected a")
    assert told[0].endswith(")")


@pytest.mark.parametrize("name", ["checkpoint", "50.fitted"])
def test_a_flipped_bit_in_weights_changes_no_number(tmp_path, uninterrupted, name, monkeypatch):
    one, examined, told = job(tmp_path), run._examined, []

    def kill(*_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(run, "_examined", kill)
    with pytest.raises(InterruptedError):
        run.run([one], workers=1, fresh=False, report=silent)
    file = one.beside(name)
    content = bytearray(file.read_bytes())
    content[8 + int.from_bytes(content[:8], "little") + 3] ^= 64
    file.write_bytes(content)
    if name == "checkpoint":
        one.beside("200.fitted").unlink()
    monkeypatch.setattr(run, "_examined", examined)
    result = run.run([one], workers=1, fresh=False, report=lambda _, stage, *__: told.append(stage))[0]
    assert any(stage.startswith(f"{run.REFUSED} {file.name}, trained anew") for stage in told)
    pd.testing.assert_frame_equal(result.rows, uninterrupted.rows)
    assert [p.name for p in tmp_path.iterdir()] == [one.entry.name]


def test_what_is_told_stays_above_the_bars():
    console = Console(file=io.StringIO(), width=40)
    bars = progress._Bars(rich.progress.Progress(console=console), {}, {"simclr": "SimCLR"})
    bars("simclr", f"{run.REFUSED} a.checkpoint, trained anew (ValueError: expected [3], found [4])", 0, 1)
    told = f"SimCLR: {run.REFUSED} a.checkpoint, trained anew (ValueError: expected [3], found [4])\n"
    assert console.file.getvalue() == told


def test_bad_input_is_not_taken_for_a_damaged_checkpoint(tmp_path, monkeypatch):
    def refusing(*_, **__):
        raise InputError("colour jitter needs RGB images")

    monkeypatch.setattr(run, "fit", refusing)
    kept = job(tmp_path).beside("checkpoint")
    kept.write_bytes(b"hours of training")
    with pytest.raises(InputError, match="needs RGB"):
        run.evaluate(job(tmp_path), silent)
    assert kept.exists()


def test_longer_ensemble_contains_the_shorter(tmp_path, uninterrupted):
    """Members are independent, so at the same length a third seed changes nothing for the first two."""
    three = run.run([job(tmp_path, seeds=3)], workers=1, fresh=False, report=silent)[0]
    both = three.history.merge(uninterrupted.history, on=["step", "seed"])
    whole = both[both["step"] % 50 == 0]  # other rows are means over what is left of a length
    assert set(whole["seed"]) == {0, 1}
    np.testing.assert_allclose(whole["loss_x"], whole["loss_y"], rtol=1e-4)


def test_best_choice_by_mean_over_members():
    scores = torch.tensor([[[0.5, 0.5], [0.6, 0.2]], [[0.9, 0.4], [0.7, 0.7]], [[0.7, 0.7], [0.1, 0.1]]])
    assert run._best(scores) == (1, 1)
    assert run._best(torch.tensor([[[math.nan, math.nan]], [[0.1, math.nan]]])) == (1, 0)
    assert run._best(torch.tensor([[[0.9, math.nan]], [[0.5, 0.3]], [[0.2, 0.5]]])) == (1, 0)  # more are left
    assert run._best(torch.full((2, 3, 2), math.nan)) == (0, 0)


@pytest.fixture
def noted(monkeypatch):
    """What is asked of each measure: representations, k and clusters in order. Nothing is computed but their means."""
    asked: dict[str, list] = {"scored": [], "content": [], "clusters": [], "confusion": []}

    def note(name, *arguments):
        asked[name].append(arguments)
        return measures.rows_of(name, "mean", "", arguments[0].mean((1, 2)))

    def scored(transform, exam, ks):
        note("scored", transform(unit(exam.validation.pixels)))
        return torch.zeros(len(ks), 2)

    monkeypatch.setattr(measures, "neighbour_accuracies", scored)

    def clusters(train, test, _):
        asked["clusters"].append((train, test))
        return test[..., 0]

    monkeypatch.setattr(measures, "clusters", clusters)
    monkeypatch.setattr(measures, "content", lambda train, test, _, k, found: note("content", train, test, found, k))
    monkeypatch.setattr(measures, "confusion", lambda found, *_: asked["confusion"].append(found) or np.zeros((3, 3)))
    monkeypatch.setattr(measures, "style", lambda *_: pd.DataFrame())
    monkeypatch.setattr(measures, "decoded", lambda *_: (pd.DataFrame(), torch.zeros(3, 1, 4, 4)))
    monkeypatch.setattr(generation, "judged", lambda *_: (pd.DataFrame(), None))
    return asked


@pytest.mark.parametrize("method", ["simclr", "vae"])
def test_length_and_k_that_were_chosen_are_those_examined_at_every_layer(tmp_path, monkeypatch, noted, method):
    """The second of three lengths, the second k: whatever they scored."""
    made = named(method, Design(head=1, hidden=(8,)))[0]
    one = Job.of(made, SPLITS, VIEWS, replace(SETTINGS, steps=8), tmp_path)
    trained = [run.Trained(made, each) for each in run.train(one, silent)]
    monkeypatch.setattr(run, "_best", lambda _: (1, 1))
    result = run._examined(one, trained)
    chosen, exam = trained[1].fitted, run.Examination.of(SPLITS, VIEWS, 0)
    validation = unit(exam.validation.pixels)
    scored = [x for (x,) in noted["scored"]]
    assert_close(scored, [each.fitted.transform(validation) for each in trained])
    assert len({float(x.sum()) for x in scored}) == 3  # so that one cannot pass for another
    kept = [
        [chosen.transform(unit(part.pixels), layer=layer) for part in (exam.train, exam.test)] for layer in made.layers
    ]
    assert_close([list(asked) for asked in noted["clusters"]], kept)
    assert_close([list(asked[:2]) for asked in noted["content"]], kept)
    assert_close([found for *_, found, _ in noted["content"]], [test[..., 0] for _, test in kept])
    assert [k for *_, k in noted["content"]] == [measures.NEIGHBOURS[1]] * len(made.layers)
    assert_close(noted["confusion"], [test[0, :, 0] for _, test in kept])  # of the first member
    means = result.rows[result.rows["aspect"] == "content"].groupby("layer", sort=False)["value"].apply(list)
    np.testing.assert_allclose([*means], [train.mean((1, 2)) for train, _ in kept], rtol=1e-6)
    choice = result.rows[result.rows["aspect"] == "choice"].set_index("measure")["value"]
    assert choice["steps"].tolist() == [4, 4]
    assert choice["k"].tolist() == [5, 5]
    pd.testing.assert_frame_equal(result.history, chosen.history)
    if made.generative:
        own = chosen.reconstruct(exam.originals)
        np.testing.assert_array_equal(result.arrays["decoded"], own[0])
        assert not torch.equal(own[0], own[1])


def test_both_sides_of_a_head_are_examined_and_chosen_by_one(tmp_path):
    headed = named("simclr", Design(head=1))[0]
    one = Job.of(headed, SPLITS, VIEWS, replace(SETTINGS, steps=8), tmp_path)
    assert one.entry != job(tmp_path, steps=8).entry
    result = run.run([one], workers=1, fresh=False, report=silent)[0]
    assert not result.rows.duplicated([name for name in run.COLUMNS if name != "value"]).any()
    sides = dict(list(result.rows.groupby("layer")))
    assert set(sides) == {"representation", "encoder"}
    assert set(sides["encoder"]["aspect"]) == {"content", "style", "reconstruction"}
    assert set(sides["representation"]["aspect"]) > {"choice", "evidence"}
    style = {side: rows.query("aspect == 'style'")["value"].to_numpy() for side, rows in sides.items()}
    assert not np.allclose(style["encoder"], style["representation"])
    assert {"decoded-encoder", "confusion-encoder"} <= set(result.arrays)


def test_length_and_k_are_chosen_where_the_loss_acts(tmp_path, monkeypatch):
    asked = []
    scored = run.measures.neighbour_accuracies
    monkeypatch.setattr(
        run.measures, "neighbour_accuracies", lambda t, *a: asked.append(t.keywords["layer"]) or scored(t, *a)
    )
    headed = named("simclr", Design(head=1))[0]
    run.evaluate(Job.of(headed, SPLITS, VIEWS, replace(SETTINGS, steps=8), tmp_path), silent)
    assert asked == ["representation"] * 3


def test_what_killed_processes_were_writing_of_a_job_goes_with_it(tmp_path):
    one, other = job(tmp_path), job(tmp_path, "vae")
    (tmp_path / f".{one.entry.name}.4711.partial").mkdir()
    (tmp_path / f".{one.entry.name}.4711.partial" / "rows.parquet").write_bytes(b"half")
    (tmp_path / f".{one.entry.name}.checkpoint.4711.partial").write_bytes(b"half")
    one.beside("checkpoint").write_bytes(b"whole")
    other.beside("checkpoint").write_bytes(b"whole")
    one.clear()
    assert [path.name for path in tmp_path.iterdir()] == [other.beside("checkpoint").name]


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(tmp_path):
    keys = ("random", "vae", "simclr")
    alone = run.run([job(tmp_path / "one", k) for k in keys], workers=1, fresh=False, report=silent)
    together = run.run([job(tmp_path / "two", k) for k in keys], workers=2, fresh=False, report=silent)
    for pair in zip(alone, together, strict=True):
        exact = ["steps", "k", "mse"]  # probes and decoders differ: those of this process are rough
        a, b = (result.rows[result.rows["measure"].isin(exact)].reset_index(drop=True) for result in pair)
        pd.testing.assert_frame_equal(a, b, rtol=1e-4)


def test_two_jobs_of_one_name_are_told_apart_by_their_entries(tmp_path, monkeypatch):
    """Not by their images, which are no truth value when compared."""
    monkeypatch.setattr(run, "evaluate", lambda one, _: cache.write(one.entry, EMPTY))
    first, stages = job(tmp_path, "vae"), []
    other = replace(first, splits=replace(SPLITS, train=images(48, 0)), entry=tmp_path / "other")
    run.run([first], workers=1, fresh=False, report=silent)
    run.run([first, other], workers=1, fresh=False, report=lambda _, stage, *__: stages.append(stage))
    assert stages == ["cached"]


@pytest.mark.parametrize("method", sorted(set(METHODS) - set(CORE)))
def test_methods_beside_the_core_train_and_are_examined(method: str, tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=4)
    made = Job.of(METHODS[method], SPLITS, VIEWS, settings, tmp_path)
    run.evaluate(made, silent)
    result = cache.read(made.entry)
    assert result is not None
    linear = result.rows[(result.rows["aspect"] == "content") & (result.rows["measure"] == "linear")]
    assert linear["value"].notna().sum() == SETTINGS.seeds


def test_the_supervised_method_is_told_the_classes_of_the_images() -> None:
    learner = METHODS["supervised"].among(SPLITS.classes).learner
    assert isinstance(learner, Supervised)
    assert learner.classes == SPLITS.classes
    assert METHODS["vae"].among(3) is METHODS["vae"]
