"""What is wrong with a row: against what its model learned from, and against the rows before it."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import learn

from baton.handover import profile
from baton.serving import quarantine

TRAINING = pd.DataFrame(
    {
        "x": [float(number) for number in range(40)],
        "when": pd.date_range("2026-01-01", periods=40).astype("str"),
        "city": ["Bern", "Basel", "Chur", "Genf"] * 10,
        "name": [f"n{number % 39}" for number in range(40)],
        "y": [0, 1] * 20,
    }
)
CONTRACT = learn(TRAINING)
FEATURES = CONTRACT.read_features(TRAINING)
PROFILE = profile.describe(FEATURES, TRAINING["y"], np.tile([0.5, 0.5], (40, 1)), CONTRACT)
ROW = {"x": "5", "when": "2026-01-05", "city": "Bern", "name": "n3"}


def found(rows: pd.DataFrame, bounds=None, known=PROFILE, repeated=None) -> list:
    again = np.zeros(len(rows), bool) if repeated is None else np.array(repeated)
    _, findings = quarantine.find(rows, CONTRACT, bounds or {}, known, again)
    return [(one.reason, one.column, np.flatnonzero(one.rows).tolist()) for one in findings]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"x": "78"}, []),  # as far above the greatest as that is above the least
        ({"x": "78.5"}, [("far_outside", "x")]),
        ({"x": "-39"}, []),
        ({"x": "-39.5"}, [("far_outside", "x")]),
        ({"when": "2026-03-19"}, []),
        ({"when": "2026-03-22"}, [("far_outside", "when")]),
        ({"when": "2025-11-01"}, [("far_outside", "when")]),
        ({"city": "Zug"}, [("unseen_category", "city")]),
        ({"name": "n99"}, []),  # not all names that there were are kept, so none can be told to be new
        ({"x": "?!"}, [("unparsable", "x")]),
        ({"x": "inf"}, [("infinite", "x")]),
        ({"x": ""}, [("missing", "x")]),
        ({"when": "May", "x": ""}, [("unparsable", "when"), ("missing", "x")]),
    ],
)
def test_a_value_is_held_to_what_was_seen_in_training(change, expected):
    rows = pd.DataFrame([ROW, ROW | change, ROW])
    assert found(rows) == [(reason, column, [1]) for reason, column in expected]


def test_the_worst_reason_comes_first_in_whichever_column_it_is():
    rows = pd.DataFrame([ROW | {"x": "500", "city": ""}])
    expected = [("missing", "city", [0]), ("out_of_bounds", "x", [0]), ("far_outside", "x", [0])]
    assert found(rows, {"x": [0, 10]}) == expected


def test_without_a_profile_nothing_is_far_outside_or_new():
    assert found(pd.DataFrame([ROW | {"x": "1e9", "city": "Zug"}]), known={}) == []


@pytest.mark.parametrize(
    ("column", "bounds", "outside"),
    [
        ("x", [0, 10], [0, 4]),
        ("x", [None, 10], [4]),
        ("x", [0, None], [0]),
        ("when", ["2026-01-02", None], [0]),
        ("when", [None, "2026-01-03"], [3, 4]),
    ],
)
def test_bounds_are_themselves_possible(column, bounds, outside):
    rows = pd.DataFrame(
        [ROW | {"x": str(x), "when": f"2026-01-0{day}"} for day, x in enumerate([-0.5, 0, 5, 10, 10.5], 1)]
    )
    assert found(rows, {column: bounds}, known={}) == [("out_of_bounds", column, outside)]
    rows.loc[0, column] = None  # what is missing is not out of bounds as well
    assert ("missing", column, [0]) in found(rows, {column: bounds}, known={})
    assert all(0 not in places for reason, _, places in found(rows, {column: bounds}, {}) if reason == "out_of_bounds")


def test_rejects_are_as_they_came_with_the_first_reason_that_rejects():
    table = pa.table({"id": [7, 8, 9], "x": ["?", "", "3"], "more": [[1], [2], [3]]})
    findings = [
        quarantine.Finding("unparsable", "x", np.array([True, False, False])),
        quarantine.Finding("missing", "x", np.array([False, True, False])),
        quarantine.Finding("duplicate_id", "", np.array([True, False, True])),
    ]
    every = quarantine.rejects(table, np.array([10, 11, 12]), findings, ["unparsable", "missing", "duplicate_id"])
    assert every.to_pylist() == [
        {"id": 7, "x": "?", "more": [1], "_row": 10, "_reason": "unparsable", "_column": "x", "_value": "?"},
        {"id": 8, "x": "", "more": [2], "_row": 11, "_reason": "missing", "_column": "x", "_value": ""},
        {"id": 9, "x": "3", "more": [3], "_row": 12, "_reason": "duplicate_id", "_column": None, "_value": None},
    ]
    some = quarantine.rejects(table, np.array([10, 11, 12]), findings, ["duplicate_id"])
    assert some["_row"].to_pylist() == [10, 12]
    assert quarantine.rejects(table, np.array([10, 11, 12]), findings, []).schema == every.schema


def chunks(ids: dict, size: int) -> list[pa.Table]:
    table = pa.table(ids)
    return [table.slice(start, size) for start in range(0, len(table), size)]


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize(
    ("ids", "repeated", "integers"),
    [
        ({"a": ["1", "2", "1", "3", "2", "1"]}, [2, 4, 5], ["a"]),
        ({"a": [1, 2, 1]}, [2], []),
        ({"a": ["1", "1", "2"], "b": ["x", "y", "x"]}, [], ["a"]),
        ({"a": ["1", "1", "2"], "b": ["x", "x", "x"]}, [1], ["a"]),
        ({"a": ["01", "1", "1"]}, [2], []),
        ({"a": ["", "", None, "5"]}, [], ["a"]),  # a row without an id is no copy of another
        ({"a": ["ab", "a"], "b": ["c", "bc"]}, [], []),
        ({"a": ["5", None, "5"], "b": ["", "x", ""]}, [2], ["a"]),
        ({"a": [2**60, None, 2**60 + 1, 2**60]}, [3], []),  # which are the same as fractions
        ({"a": [Decimal(2**60), Decimal(2**60 + 1)]}, [], []),
        ({"a": [7.0, 7.5, 7.0]}, [2], []),
    ],
)
def test_repeated_ids_are_found_over_all_chunks(size, ids, repeated, integers):
    rows, plain = quarantine.repeated_ids(chunks(ids, size))
    assert (rows.tolist(), plain) == (repeated, integers)


def test_many_ids_are_told_apart():
    ids = np.random.default_rng(0).permutation(100_000)
    ids[[70_000, 99_999]] = ids[[3, 5]]
    rows, _ = quarantine.repeated_ids(chunks({"id": ids}, 7_000))
    assert rows.tolist() == [70_000, 99_999]
