"""The numbers that a version keeps of its rows: exact, small, discreet, and enough to see drift by."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from conftest import learn

from baton.data import contract, values
from baton.handover import profile


def describe(table: pd.DataFrame, predictions=None, **keys) -> dict:
    """The profile of a table with a target y, read back from its JSON."""
    asked = learn(table, **keys)
    X, y = asked.read_features(table), asked.read_target(table)
    answered = np.full((2, len(asked.labels)), 1 / len(asked.labels)) if predictions is None else predictions
    return json.loads(json.dumps(profile.describe(X, y, answered, asked), allow_nan=False))


def psi(expected, found) -> float:
    expected, found = (np.maximum(shares, 1e-4) for shares in (expected, found))
    return float(np.sum((found - expected) * np.log(found / expected)))


def test_a_value_that_many_rows_have_is_a_bin_of_its_own():
    """As with zeros that stand for missing: bins of equal size would hide how many there are."""
    rows = pd.DataFrame({"x": [0.0] * 12 + [*range(1, 9)] + [None] * 5, "y": [0, 1] * 12 + [1]})
    entry = describe(rows)["columns"]["x"]
    assert entry["edges"] == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert entry["shares"] == [0.6, *[0.05] * 8, 0]
    assert (entry["missing"], entry["mean"]) == (0.2, 1.8)
    assert entry["std"] == pytest.approx(np.std([0] * 12 + [*range(1, 9)]))
    values = np.sort(np.random.default_rng(0).normal(size=101))
    assert describe(pd.DataFrame({"x": values, "y": [0, *[0, 1] * 50]}))["columns"]["x"]["edges"] == [
        values[0], *values[5::5][:19], values[100],
    ]  # fmt: skip


def test_drift_of_a_batch_is_seen_by_the_profile_alone():
    generator = np.random.default_rng(0)

    def batch(shift, plans, days):
        return pd.DataFrame(
            {
                "x": generator.normal(shift, 1, 4000),
                "plan": generator.choice([*"abc"], 4000, p=plans),
                "when": pd.Timestamp("2026-01-01") + pd.to_timedelta(days + generator.integers(0, 50, 4000), "D"),
                "y": generator.integers(0, 2, 4000),
            }
        )

    kept = describe(batch(0, [0.5, 0.3, 0.2], 0))["columns"]
    same, moved = batch(0, [0.5, 0.3, 0.2], 0), batch(0.5, [0.2, 0.3, 0.5], 25)
    for column, entry in kept.items():
        assert psi(entry["shares"], profile.count(same[column], entry)) < 0.02
        assert psi(entry["shares"], profile.count(moved[column], entry)) > 0.2
    # A shift of half a standard deviation has a PSI of 0.25 between normal distributions.
    assert psi(kept["x"]["shares"], profile.count(moved["x"], kept["x"])) == pytest.approx(0.25, abs=0.05)
    assert profile.count(moved["x"] + 100, kept["x"])[-1] == 1  # above all there was
    assert profile.count(pd.Series(["new"] * 3 + ["a", None]), kept["plan"]) == [0.25, 0, 0, 0.75]


def test_what_few_rows_have_is_not_written_out():
    long = "a remark of someone " * 5
    texts = ["often"] * 10 + ["five"] * 5 + ["Mr. Miller"] * 4 + [long] * 6
    rows = pd.DataFrame({"t": texts, "b": [True] * 20 + [None] * 5, "y": [0, 1] * 12 + [1]})
    rows.loc[0, "b"] = False
    found = describe(rows)
    assert found["columns"]["t"] == {
        "kind": "text", "missing": 0, "different": 4, "values": ["often", "five"], "shares": [0.4, 0.2, 0.4]
    }  # fmt: skip
    assert found["columns"]["b"] == {
        "kind": "boolean", "missing": 0.2, "different": 2, "values": [True], "shares": [0.95, 0.05]
    }  # fmt: skip
    assert "Miller" not in json.dumps(found)


def test_odd_columns_are_json():
    rows = pd.DataFrame(
        {"huge": [1e308, -1e308] * 10, "w": range(20), "old": pd.Timestamp("1001-01-01"), "y": [0, 1] * 10}
    )
    rows.loc[0, "old"] = pd.Timestamp("8999-12-31T23:59:59.5")
    asked = learn(rows)
    rows["w"] = np.nan  # when the contract was learned it had values
    X = asked.read_features(rows)
    found = profile.describe(X, rows["y"], np.zeros((0, 2)), asked)
    json.dumps(found, allow_nan=False)
    columns = found["columns"]
    assert columns["huge"]["edges"] == [-1e308, 1e308]
    assert columns["huge"]["std"] is None
    assert columns["w"] == {"kind": "number", "missing": 1, "mean": None, "std": None, "edges": [], "shares": [0]}
    assert columns["old"]["edges"] == ["1001-01-01", "8999-12-31T23:59:59.500000"]
    assert columns["old"]["shares"] == [0.95, 0.05, 0]
    assert profile.count(X["old"], columns["old"]) == columns["old"]["shares"]


def test_what_was_answered_is_described_as_well():
    rows = pd.DataFrame({"x": range(40), "y": [*"aabc"] * 10})
    answered = np.array([[0.8, 0.1, 0.1], [0.6, 0.2, 0.2], [0.1, 0.7, 0.2], [0.4, 0.3, 0.3]])
    found = describe(rows, answered)
    assert (found["rows"], found["labels"], found["target"]["shares"]) == (40, [*"abc"], [0.5, 0.25, 0.25])
    assert (found["predictions"]["rows"], found["predictions"]["predicted"]) == (4, [0.75, 0.25, 0])
    assert found["predictions"]["probability"][0]["edges"] == [0.1, 0.4, 0.6, 0.8]

    rows["y"] = np.arange(40) / 8
    found = describe(rows, np.array([1.0, 2.0, 2.0, 5.0]))
    assert found["predictions"]["number"]["mean"] == 2.5
    assert found["predictions"]["number"]["shares"] == [0.25, 0.5, 0.25, 0]
    assert found["target"]["edges"][-1] == 4.875


@pytest.mark.parametrize("kind", ["number", "text"])
def test_two_hundred_columns_take_less_than_100_kilobytes(kind):
    generator = np.random.default_rng(0)
    names = [f"a column, the {number}th" for number in range(200)]
    drawn = {
        "number": lambda: generator.normal(size=500),
        "text": lambda: generator.choice([f"the name of category {number}" for number in range(40)], 500),
    }[kind]
    X = pd.DataFrame({name: drawn() for name in names})
    asked = contract.Contract("d", "y", [], dict.fromkeys(names, values.Format(kind)), "binary", "AUC", [0, 1])
    found = profile.describe(X, pd.Series([0, 1] * 250), np.full((2, 2), 0.5), asked)
    assert 40_000 < len(json.dumps(found)) < 100_000


def test_the_share_of_a_predicted_class_goes_by_the_threshold():
    rows = pd.DataFrame({"x": range(40), "y": [0, 1] * 20})
    asked = dataclasses.replace(learn(rows), threshold=0.25)
    answered = np.array([[0.75, 0.25], [0.8, 0.2], [0.1, 0.9], [0.6, 0.4]])
    found = profile.describe(asked.read_features(rows), rows["y"], answered, asked)
    assert found["predictions"]["predicted"] == [0.25, 0.75]
