"""No row ever changes sides, and no model is judged by a row it has seen."""

import numpy as np
import pandas as pd
import pytest

from baton import BatonError, contract, split

ROWS, SEED = 400, 7


def visits(rows: int = ROWS, seed: int = 1) -> pd.DataFrame:
    """Rows that differ in `id`, with whole numbers, fractions, text, holes and a target."""
    generator = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "id": np.arange(rows) + 1000 * seed,
            "count": generator.integers(0, 50, rows),
            "share": generator.normal(size=rows).round(3),
            "town": generator.choice(["Bern", "Oslo", "Rome"], rows),
            "answer": generator.integers(0, 2, rows),
        }
    )
    table.loc[generator.random(rows) < 0.2, "share"] = np.nan
    table.loc[generator.random(rows) < 0.2, "town"] = None
    return table


def separate(table, ids=(), holdout=0.2, folds=5, seed=SEED, task="auto"):
    asked = contract.learn_contract(table, "demo", "answer", [*ids], task, "auto")
    return split.separate(table, asked, holdout, folds, seed)


def sides(table, ids=(), holdout=0.2) -> dict:
    """Tell for each id the side its row is on."""
    training, judges, _ = separate(table, ids, holdout)
    return {int(id): "training" for id in training["id"]} | {int(id): "holdout" for id in judges["id"]}


@pytest.mark.parametrize("ids", [[], ["id"], ["id", "town"]], ids=str)
@pytest.mark.parametrize(
    "later",
    [
        lambda table: pd.concat([table, visits(300, seed=2)], ignore_index=True),
        lambda table: pd.concat([visits(300, seed=3), table]),
        lambda table: table.sample(frac=1, random_state=3),
        lambda table: table.astype({"count": "float64", "id": "float64"}),
        lambda table: table.astype({"count": "str", "id": "str"}),
        lambda table: table.astype({"count": "Int64", "share": "Float64", "town": "category"}),
        lambda table: table.assign(town=table["town"].where(table["town"].notna(), "")),
        lambda table: table.assign(answer=table["answer"].map({0: "no", 1: "yes"})),
        lambda table: table.iloc[:200],
        lambda table: table[["town", "answer", "share", "id", "count"]],
    ],
    ids=[
        "rows added below", "rows added above", "shuffled", "whole numbers as fractions", "numbers as text",
        "nullable kinds", "empty text for missing", "other answers", "rows removed", "columns in another order",
    ],
)  # fmt: skip
def test_no_row_ever_crosses_from_one_side_to_the_other(ids, later):
    before, after = sides(visits(), ids), sides(later(visits()), ids)
    both = before.keys() & after.keys()
    assert len(both) > 150
    assert {id: after[id] for id in both} == {id: before[id] for id in both}


@pytest.mark.parametrize("ids", [[], ["id"]], ids=str)
@pytest.mark.parametrize("holdout", [0.1, 0.2, 0.5])
def test_the_holdout_is_about_as_large_as_wanted(ids, holdout):
    _, judges, _ = separate(visits(4000), ids, holdout)
    assert len(judges) / 4000 == pytest.approx(holdout, abs=0.025)


@pytest.mark.parametrize("ids", [[], ["id"]], ids=str)
def test_a_larger_holdout_keeps_the_rows_of_the_smaller(ids):
    held = [{id for id, side in sides(visits(), ids, share).items() if side == "holdout"} for share in (0.1, 0.2, 0.4)]
    assert held[0] < held[1] < held[2]


@pytest.mark.parametrize("ids", [[], ["id"]], ids=str)
def test_every_row_is_on_one_side_with_all_its_columns(ids):
    table = visits().assign(weight=np.arange(ROWS) / 7).set_index(pd.Index(range(ROWS, 0, -1)))
    training, judges, _ = separate(table, ids)
    pd.testing.assert_frame_equal(pd.concat([training.drop(columns="fold"), judges]).sort_index(ascending=False), table)


@pytest.mark.parametrize("ids", [[], ["id"]], ids=str)
def test_no_row_of_the_holdout_is_in_training_under_any_name(ids):
    """Few different rows, each often: under other ids they would be on both sides."""
    table = visits()[["id", "answer"]].assign(a=np.arange(ROWS) % 150, b=lambda rows: rows["a"] / 8)
    table = table if ids else table.drop(columns="id")
    training, judges, facts = separate(table, ids)
    held = set(judges["a"])
    assert held & set(training["a"]) == set()
    assert facts["twins_of_holdout_left_out"] == table["a"].isin(held).sum() - len(judges)
    # Without ids equal rows are one thing and go to the holdout together, so none is left out.
    assert (facts["twins_of_holdout_left_out"] > 0) == bool(ids)


def test_a_twin_in_training_is_found_however_it_is_written():
    table = visits(2000)[["id", "answer"]].assign(a=np.arange(2000) % 900)
    written = table.assign(a=table["a"].astype(object).where(table.index % 2 == 0, table["a"].astype(str)))
    training, judges, _ = separate(written, ["id"])
    assert {int(a) for a in training["a"]} & {int(a) for a in judges["a"]} == set()


def test_the_facts_count_every_row_once():
    table = visits()[["id", "answer"]].astype({"answer": "float64"}).assign(a=np.arange(ROWS) % 150)
    table.loc[[3, 50, 77], "answer"] = np.nan
    training, judges, facts = separate(table, ["id"])
    assert facts == {
        "rows": 400,
        "without_target": 3,
        "holdout": len(judges),
        "twins_of_holdout_left_out": 397 - len(judges) - len(training),
        "training": len(training),
        "duplicates_in_training": len(training) - training["a"].nunique(),
    }


@pytest.mark.parametrize("missing", [None, np.nan])
def test_rows_without_a_target_are_on_neither_side(missing):
    table = visits()
    table["answer"] = table["answer"].map({0: "no", 1: "yes"})
    table.loc[[0, 10, 399], "answer"] = missing
    assert set(range(1000, 1400)) - set(sides(table)) == {1000, 1010, 1399}


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_equal_rows_share_a_fold(task):
    table = visits()[["answer"]].assign(a=np.arange(ROWS) % 150)
    training, _, facts = separate(table, task=task)
    assert facts["duplicates_in_training"] > 100
    assert training.groupby("a")["fold"].nunique().max() == 1


@pytest.mark.parametrize("folds", [2, 5, 10])
def test_every_fold_has_the_same_share_of_each_class(folds):
    training, _, _ = separate(visits(), folds=folds)
    counts = pd.crosstab(training["fold"], training["answer"])
    assert counts.index.tolist() == [*range(folds)]
    assert (counts.max() - counts.min()).max() <= 1


def test_the_folds_of_a_regression_are_of_one_size():
    training, _, _ = separate(visits().assign(answer=np.arange(ROWS) / 3))
    counts = training["fold"].value_counts()
    assert sorted(counts.index) == [0, 1, 2, 3, 4]
    assert counts.max() - counts.min() <= 1


def test_folds_depend_on_rows_and_seed_and_nothing_else():
    first, again, other = (separate(visits(), seed=seed)[0]["fold"] for seed in (1, 1, 2))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_the_table_is_left_as_it_was():
    table = visits()
    separate(table)
    pd.testing.assert_frame_equal(table, visits())


@pytest.mark.parametrize(
    ("table", "holdout", "said"),
    [
        (visits(11), 0.3, "[0-9] rows are left for training, and 10 are needed: give a larger table, or lower folds"),
        (visits(14, seed=3), 0.05, "0 rows are left for the holdout, and 2 are needed: give a larger table"),
        (
            visits().assign(answer=["rare"] * 3 + ["often", "more"] * 198 + ["more"]),
            0.2,
            "column 'answer': class 'rare' has [123] training rows, and 5 folds need 5: gather more of it, lower folds",
        ),
        # Equal rows share a fold, so what counts is how many different ones there are: here, of 6, at most 5.
        (visits()[["answer"]].assign(a=np.arange(ROWS) % 6 + 20), 0.2, "folds"),
        (visits()[["answer"]].assign(a=np.arange(ROWS) % 6 + 10, answer=np.arange(ROWS) / 3), 0.2, "folds"),
    ],
    ids=["training", "holdout", "rare class", "few different rows", "few different rows, regression"],
)
def test_too_few_rows_are_refused_with_what_is_needed(table, holdout, said):
    with pytest.raises(BatonError, match=said):
        separate(table, holdout=holdout)


def test_a_class_that_the_holdout_lacks_is_named():
    table = visits()
    held = [id for id, side in sides(table, ["id"]).items() if side == "holdout"]
    table["answer"] = np.where(
        ~table["id"].isin(held) & (table["count"] < 5), "c", np.where(table["count"] % 2, "a", "b")
    )
    with pytest.raises(
        BatonError, match=r"column 'answer': class 'c' has no row in the holdout; raise holdout in env\.yaml"
    ):
        separate(table, ["id"])


# A new version of pandas or NumPy that changed one of these would move rows across the line.
@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"a": 1}, 13747695728016780098),
        ({"a": 0}, 17433571434983049352),
        ({"a": 0.1}, 14215519280519582929),
        ({"a": -2.5e-7}, 1085414410494887924),
        ({"a": 123456789012}, 10455608128117732423),
        ({"a": "Zürich"}, 8103164278749123848),
        ({"a": "2024-03-05 12:30:00"}, 12096287553831636790),
        ({"a": None}, 16476032584258269876),
        ({"a": 6, "b": 148.0, "c": "x", "d": None}, 4029092188095078246),
        ({"a": 6, "b": 148.0, "c": None, "d": "x"}, 15931273954756368772),
    ],
)
def test_fingerprints_stay_what_they_were_when_the_first_model_was_trained(row, expected):
    assert split.fingerprint(pd.DataFrame([row]), [*row]).tolist() == [expected]


@pytest.mark.parametrize(
    "ways",
    [
        [
            [1],
            [1.0],
            ["1"],
            ["1.0"],
            [" 1 "],
            [True],
            pd.array([1], "Int64"),
            pd.array([1], "Float32"),
            pd.Categorical([1]),
        ],
        [
            [None],
            [np.nan],
            [""],
            [pd.NaT],
            pd.array([None], "Int64"),
            pd.array([None], "boolean"),
            pd.Categorical([None]),
        ],
        [[0], [0.0], [-0.0], ["0"], ["-0"], [False]],
        [[0.1], ["0.1"], ["0.10"], ["1e-1"]],
        [["a"], ["a "], pd.Categorical(["a"]), pd.Series(["a"], dtype="str"), pd.Series(["a"], dtype=object)],
        # What a CSV file says of a day or a moment, and what a Parquet file does.
        [["2024-03-05"], [pd.Timestamp("2024-03-05")], np.array(["2024-03-05"], "datetime64[s]")],
        [["2024-03-05 12:30:00"], [pd.Timestamp("2024-03-05 12:30")], np.array(["2024-03-05T12:30"], "datetime64[ms]")],
    ],
    ids=["one", "missing", "zero", "a tenth", "text", "day", "moment"],
)
def test_a_value_has_one_fingerprint_however_it_was_read(ways):
    assert len({int(split.fingerprint(pd.DataFrame({"a": way}), ["a"])[0]) for way in ways}) == 1


def test_different_rows_have_different_fingerprints():
    rows = pd.DataFrame(
        {"a": [1, 2, -1, "a", "A", "", "1", "ab", "a"], "b": ["", "", "", "", "", 1, 1, "c", "bc"]}, dtype=object
    )
    assert len(set(split.fingerprint(rows, ["a", "b"]))) == len(rows)


def test_fingerprints_are_spread_evenly():
    rows = pd.DataFrame({"a": range(4000)})
    counts, _ = np.histogram(split.fingerprint(rows, ["a"]) / 2.0**64, bins=10, range=(0, 1))
    np.testing.assert_allclose(counts, 400, atol=80)
