"""Tasks are plain and named; claims refuse what they could not be run with; tidy tables pair by seed."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from paper_checks.claim import PROFILES, Claim, Finding, Task, per_seed


def some_task(*, n: int, device: str) -> pd.DataFrame:
    return pd.DataFrame({"n": [n], "device": [device]})


def no_device(n: int) -> pd.DataFrame:
    return pd.DataFrame({"n": [n]})


def no_table(**kwargs: object) -> int:
    return 3


def test_device_is_passed_only_where_it_is_taken():
    assert Task(some_task, {"n": 1}).run("cuda:0")["device"][0] == "cuda:0"
    assert Task(no_device, {"n": 1}).run("cuda:0")["n"][0] == 1


def test_a_task_that_returns_no_table_is_refused():
    with pytest.raises(TypeError, match="must return a pandas DataFrame, found int"):
        Task(no_table).run("cpu")


def test_tuples_and_lists_are_the_same_task_and_cost_is_not_part_of_it():
    assert Task(some_task, {"n": (1, 2)}) == Task(some_task, {"n": [1, 2]}, cost=9)
    assert Task(some_task, {"n": (1, 2)}).kwargs["n"] == [1, 2]


def test_identity_ignores_order_and_sees_values_and_function():
    assert Task(some_task, {"a": 1, "b": 2}).identity == Task(some_task, {"b": 2, "a": 1}).identity
    assert Task(some_task, {"n": 1}).identity != Task(some_task, {"n": 1.5}).identity
    assert Task(some_task, {"n": 1}).identity != Task(no_device, {"n": 1}).identity


@pytest.mark.parametrize("value", [np.zeros(2), math.nan, math.inf, {1: 2}, [{"a": {3: 4}}], object(), {1, 2}])
def test_kwargs_that_are_no_json_are_refused_in_one_line(value: object):
    with pytest.raises(ValueError, match="must be plain JSON") as caught:
        Task(some_task, {"n": value})
    assert "\n" not in str(caught.value)


def test_functions_that_no_worker_could_import_are_refused():
    with pytest.raises(ValueError, match="top level of a module"):
        Task(lambda: pd.DataFrame())
    with pytest.raises(ValueError, match="top level of a module"):
        Task(Finding.exact)


def test_labels_stay_short():
    assert Task(some_task, {"n": 3}).label == "test_claim.some_task(n=3)"
    assert len(Task(some_task, {str(i): list(range(99)) for i in range(9)}).label) <= 90


def claim(**changes: object) -> Claim:
    values: dict[str, object] = {
        "name": "toy",
        "part": "model",
        "statement": "s",
        "formula": "f",
        "config": {profile: {"seeds": 5} for profile in PROFILES},
        "tasks": lambda config: [],
        "findings": lambda table, config: [],
        "draw": lambda *all: None,
        "caption": lambda findings: "",
        **changes,
    }
    return Claim(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"part": "magic"}, "part of claim toy must be one of model, bound"),
        ({"config": {"quick": {}}}, "config of claim toy must have smoke, quick, full"),
        ({"control": lambda config: config}, "control and control_words together"),
        ({"control_words": "broken"}, "control and control_words together"),
    ],
)
def test_claims_that_lack_something_are_refused(changes: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        claim(**changes)


@pytest.mark.parametrize(
    ("usual", "value", "fits"),
    [
        (3, 4, True), (3, 4.5, False), (3.0, 4, True), (3, True, False), (True, False, True), (True, 1, False),
        ("a", "b", True), ("a", 1, False), ([1.0], [2, 3.5], True), ([1.0], ["a"], False), ([1.0], 1.0, False),
        ([], ["a"], True), (["a"], [], True), ([[1, 2.0]], [[3, 4]], True), (None, 3, False),
    ],
)  # fmt: skip
def test_a_setting_is_changed_for_one_of_its_kind(usual: object, value: object, fits: bool):
    made = claim(config={profile: {"it": usual} for profile in PROFILES})
    if fits:
        assert made.settings("smoke", changes={"it": value}) == {"it": value}
        assert made.settings("smoke") == {"it": usual}
    else:
        with pytest.raises(ValueError, match=r"^--set it: expected a value like toy's .*, found "):
            made.settings("smoke", changes={"it": value})


def test_settings_are_a_copy_and_seeds_replace_only_seeds():
    made = claim(config={"smoke": {"seeds": 3, "deep": [1]}, "quick": {}, "full": {"seeds": 10}})
    config = made.settings("smoke", 7)
    config["deep"].append(2)
    assert made.settings("smoke") == {"seeds": 3, "deep": [1]}
    assert made.settings("smoke", 7)["seeds"] == 7
    assert made.settings("quick", 7) == {}


def table() -> pd.DataFrame:
    rows = [(m, s, 10 * i + s) for i, m in enumerate(["a", "b"]) for s in (2, 0, 1)]
    return pd.DataFrame(rows, columns=["method", "seed", "value"])


def test_per_seed_pairs_by_seed_whatever_the_order():
    shuffled = table().sample(frac=1, random_state=0)
    difference = per_seed(shuffled, method="b") - per_seed(table(), method="a")
    assert difference.tolist() == [10.0, 10.0, 10.0]


def test_a_seed_that_is_missing_on_one_side_makes_the_finding_inconclusive():
    full = table()
    part = full[~((full["method"] == "a") & (full["seed"] == 1))]
    values = per_seed(part, method="b") - per_seed(part, method="a")
    assert Finding.from_seeds("f", values, ">=", 0.0).verdict == "inconclusive"


def test_per_seed_refuses_what_is_not_one_row_a_seed():
    with pytest.raises(ValueError, match="for method=c, found none"):
        per_seed(table(), method="c")
    with pytest.raises(ValueError, match="found 6 rows of 3 seeds"):
        per_seed(table())
    with pytest.raises(ValueError, match=r"expected columns .*measure"):
        per_seed(table(), measure="style")


def test_kwargs_are_json_for_good():
    assert json.loads(json.dumps(dict(Task(some_task, {"n": True, "m": None}).kwargs))) == {"n": True, "m": None}
