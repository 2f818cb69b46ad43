"""No row ever changes sides, and no model is judged by a row it has seen."""

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import PredefinedSplit

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


def separate(table, ids=(), holdout=0.2, folds=5, seed=SEED, task="auto", how="hash", by=None):
    asked = contract.learn_contract(table, "demo", "answer", [*ids], task, "auto", [], how, by)
    return split.separate(table, asked, holdout, folds, seed)


def sides(table, ids=(), holdout=0.2) -> dict:
    """Tell for each id the side its row is on."""
    training, judges, *_ = separate(table, ids, holdout)
    return {int(id): "training" for id in training["id"]} | {int(id): "holdout" for id in judges["id"]}


@pytest.mark.parametrize("ids", [[], ["id"], ["id", "town"]], ids=str)
@pytest.mark.parametrize(
    "later",
    [
        lambda table: pd.concat([table, visits(300, seed=2).assign(land="NO")], ignore_index=True),
        lambda table: pd.concat([visits(300, seed=3).assign(land="CH"), table]),
        lambda table: table.sample(frac=1, random_state=3),
        lambda table: table.astype({"count": "float64", "id": "float64"}),
        lambda table: table.astype({"count": "str", "id": "str"}),
        lambda table: table.astype({"count": "Int64", "share": "Float64", "town": "category"}),
        lambda table: table.assign(town=table["town"].where(table["town"].notna(), "")),
        lambda table: table.assign(answer=table["answer"].map({0: "no", 1: "yes"})),
        lambda table: table.iloc[:200],
        lambda table: table[["town", "answer", "land", "share", "id", "seen", "count"]],
        lambda table: table.assign(land=["CH"] * 399 + ["NO"], seen=[""] * 399 + ["2024-01-01"]),
    ],
    ids=[
        "rows added below", "rows added above", "shuffled", "whole numbers as fractions", "numbers as text",
        "nullable kinds", "empty text for missing", "other answers", "rows removed", "columns in another order",
        "a second value",
    ],
)  # fmt: skip
def test_no_row_ever_crosses_from_one_side_to_the_other(ids, later):
    first = visits().assign(land="CH", seen=None)  # as in each country's first year
    before, after = sides(first, ids), sides(later(first), ids)
    both = before.keys() & after.keys()
    assert len(both) > 150
    assert {id: after[id] for id in both} == {id: before[id] for id in both}


@pytest.mark.parametrize("ids", [[], ["id"]], ids=str)
@pytest.mark.parametrize("holdout", [0.1, 0.2, 0.5])
def test_the_holdout_is_about_as_large_as_wanted(ids, holdout):
    _, judges, *_ = separate(visits(4000), ids, holdout)
    assert len(judges) / 4000 == pytest.approx(holdout, abs=0.025)


@pytest.mark.parametrize("ids", [[], ["id"]], ids=str)
def test_a_larger_holdout_keeps_the_rows_of_the_smaller(ids):
    held = [{id for id, side in sides(visits(), ids, share).items() if side == "holdout"} for share in (0.1, 0.2, 0.4)]
    assert held[0] < held[1] < held[2]


@pytest.mark.parametrize("ids", [[], ["id"]], ids=str)
def test_every_row_is_on_one_side_with_all_its_columns(ids):
    table = visits().assign(weight=np.arange(ROWS) / 7).set_index(pd.Index(range(ROWS, 0, -1)))
    training, judges, folds, *_ = separate(table, ids)
    whole = pd.concat([training, judges]).sort_index(ascending=False)
    pd.testing.assert_frame_equal(whole.astype({"answer": "int64"}), table)
    assert folds.index.tolist() == training.index.tolist()
    assert set(folds["tuning"]) == {0, 1, 2}


@pytest.mark.parametrize("ids", [[], ["id"]], ids=str)
def test_no_row_of_the_holdout_is_in_training_under_any_name(ids):
    """Many rows twice: under other ids they would be on both sides."""
    table = visits()[["id", "answer"]].assign(a=np.arange(ROWS) % 250, b=lambda rows: rows["a"] / 8)
    table = table if ids else table.drop(columns="id")
    training, judges, _, _, facts = separate(table, ids)
    held = set(judges["a"])
    assert held & set(training["a"]) == set()
    assert facts["twins_of_holdout_left_out"] == table["a"].isin(held).sum() - len(judges)
    # Without ids equal rows are one thing and go to the holdout together, so none is left out.
    assert (facts["twins_of_holdout_left_out"] > 0) == bool(ids)


def test_a_twin_in_training_is_found_however_it_is_written():
    table = visits(2000)[["id", "answer"]].assign(a=np.arange(2000) % 1100)
    written = table.assign(a=table["a"].astype(object).where(table.index % 2 == 0, table["a"].astype(str)))
    training, judges, *_ = separate(written, ["id"])
    assert {int(a) for a in training["a"]} & {int(a) for a in judges["a"]} == set()


def test_the_facts_count_every_row_once():
    table = visits()[["id", "answer"]].astype({"answer": "float64"}).assign(a=np.arange(ROWS) % 250)
    table.loc[[3, 50, 77], "answer"] = np.nan
    training, judges, _, _, facts = separate(table, ["id"])
    assert facts == {
        "rows": 400,
        "without_target": 3,
        "holdout": len(judges),
        "holdout_of_unlearned_classes_left_out": 0,
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
    table = visits()[["answer"]].assign(a=np.arange(ROWS) % 250)
    training, _, folds, _, facts = separate(table, task=task)
    assert facts["duplicates_in_training"] > 100
    for kind in folds:
        assert folds[kind].groupby(training["a"]).nunique().max() == 1


@pytest.mark.parametrize("count", [2, 5, 10])
def test_every_fold_has_the_same_share_of_each_class(count):
    training, _, folds, *_ = separate(visits(), folds=count)
    counts = pd.crosstab(folds["fold"], training["answer"])
    assert counts.index.tolist() == [*range(count)]
    assert (counts.max() - counts.min()).max() <= 1


def test_the_folds_of_a_regression_are_of_one_size():
    counts = separate(visits().assign(answer=np.arange(ROWS) / 3)).folds["fold"].value_counts()
    assert sorted(counts.index) == [0, 1, 2, 3, 4]
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(
    "table",
    [
        visits(),
        visits().assign(answer=np.arange(ROWS) / 3),
        # Equal rows that have both answers.
        visits()[["answer"]].assign(a=np.arange(ROWS) % 250, id=np.arange(ROWS)),
        visits()[["answer"]].assign(a=np.arange(ROWS) % 6, id=np.arange(ROWS)),
    ],
    ids=["classes", "numbers", "twins with both answers", "coarse"],
)
@pytest.mark.parametrize(("how", "by"), [("hash", None), ("group", "town"), ("time", "town")])
def test_sides_and_folds_depend_on_rows_and_seed_and_not_on_their_order(table, how, by):
    table = table.assign(town=np.arange(ROWS) % 31)

    def divided(rows, seed=1):
        training, judges, folds, *_ = separate(rows.drop(columns="id"), how=how, by=by, seed=seed)
        own = pd.concat([training.join(folds), judges])
        return own.fillna(-9).value_counts(sort=False).sort_index()

    pd.testing.assert_series_equal(divided(table), divided(table.sample(frac=1, random_state=3)))
    assert how == "time" or not divided(table).equals(divided(table, seed=2))


def test_the_table_is_left_as_it_was():
    table = visits()
    separate(table)
    pd.testing.assert_frame_equal(table, visits())


@pytest.mark.parametrize("distinct", [18, 300])
def test_a_table_of_few_different_rows_keeps_most_of_them_to_learn_from(distinct):
    generator = np.random.default_rng(2)
    number = generator.integers(0, distinct, 2000)
    table = pd.DataFrame({"a": number % 3, "b": number // 3 % 3, "c": number // 9, "answer": number % 2})
    training, judges, folds, _, facts = separate(table.astype({"a": "str", "b": "str", "c": "str"}))
    assert facts["twins_of_holdout_left_out"] == 0
    assert (len(training) + len(judges), len(judges) / 2000) == (2000, pytest.approx(0.2, abs=0.025))
    assert folds["fold"].value_counts().between(290, 350).all()


@pytest.mark.parametrize(
    ("rare", "hashes", "expected"),
    [
        (1, "low", (1, 0)),
        (1, "high", (1, 0)),
        (2, "low", (1, 1)),
        (2, "high", (1, 1)),
        (3, "low", (1, 2)),
        (3, "high", (2, 1)),
        (9, "low", (1, 8)),
        (9, "high", (8, 1)),
    ],
)
def test_a_class_that_chance_would_put_on_one_side_has_a_row_on_each(rare, hashes, expected):
    ids = np.arange(5000)
    low = split.fingerprint(pd.DataFrame({"id": ids}), ["id"]) / 2.0**64 < 0.2
    few = ids[1000:][low[1000:] == (hashes == "low")][:rare]
    table = pd.DataFrame({"id": [*ids[:1000], *few], "a": np.arange(1000 + rare) / 7})
    table["answer"] = ["b", "c"] * 500 + ["rare"] * rare
    training, judges, *_ = separate(table, ["id"])
    assert ((training["answer"] == "rare").sum(), (judges["answer"] == "rare").sum()) == expected


def test_an_id_that_has_several_classes_stays_on_one_side():
    """Even where each of them is the only one that could be on the other side."""
    for seed in range(20):
        generator = np.random.default_rng(seed)
        table = pd.DataFrame({"id": np.arange(60) // 3, "a": generator.normal(size=60)})
        table["answer"] = generator.choice(["a", "b", "c"], 60, p=[0.8, 0.1, 0.1])
        training, judges, *_ = separate(table, ["id"])
        assert set(training["id"]) & set(judges["id"]) == set()
        assert set(training["answer"]) == set(table["answer"])


@pytest.mark.parametrize(
    ("rows", "holdout", "fewest"),
    [(visits(14), 0.3, 3), (visits(400), 0.2, 20), (visits(30).assign(answer=["a", "b", "c"] * 10), 0.2, 6)],
)
def test_a_small_table_has_as_many_folds_as_it_can(rows, holdout, fewest):
    _, _, folds, *_ = separate(rows, ["id"], holdout, folds=20)
    assert fewest <= folds["fold"].nunique() <= 20
    assert sorted(set(folds["fold"])) == [*range(folds["fold"].nunique())]


def grouped(groups: int, pure: bool = False) -> pd.DataFrame:
    """Rows in so many groups, each of both classes or of one, and some equal across groups."""
    table = visits().assign(group=[f"g{number}" for number in np.arange(ROWS) % groups], count=np.arange(ROWS) % 350)
    return table[["count", "group", "answer"]].assign(
        answer=lambda rows: rows["group"].str[1:].astype(int) % 2 if pure else rows["answer"]
    )


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize(("groups", "pure"), [(3, False), (4, False), (5, False), (6, False), (40, False), (40, True)])
def test_no_group_is_on_both_sides_or_in_two_folds(groups, pure, task):
    training, judges, folds, promised, _ = separate(grouped(groups, pure), how="group", by="group", task=task)
    assert set(training["group"]) & set(judges["group"]) == set()
    assert training["group"].nunique() + judges["group"].nunique() == groups
    assert "group" not in promised.features
    for kind, most in (("fold", 5), ("tuning", 3)):
        assert folds[kind].groupby(training["group"]).nunique().max() == 1
        assert folds[kind].nunique() == min(most, training["group"].nunique())


def test_rows_without_a_group_are_one_group():
    table = grouped(40)
    table.loc[::5, "group"] = [None, ""] * 40
    training, judges, folds, *_ = separate(table, how="group", by="group")
    lacking = [rows["group"].fillna("").eq("") for rows in (training, judges)]
    assert sorted(rows.sum() for rows in lacking) == [0, 80]
    assert folds["fold"][lacking[0]].nunique() <= 1


def test_a_group_stays_on_its_side_when_others_come():
    before, after = (separate(grouped(groups), how="group", by="group") for groups in (40, 70))
    assert set(before.training["group"]) < set(after.training["group"])
    assert set(before.holdout["group"]) < set(after.holdout["group"])


DAYS = pd.Series(pd.date_range("2023-03-01", periods=ROWS))
YEARS = pd.Series(2000 + np.arange(ROWS) // 20)
LATELY = pd.Series(np.repeat([2020, 2021, 2022, 2023], [120, 90, 100, 90]))
LATEST = pd.Series(np.repeat([2020, 2021, 2022], [120, 130, 150]))


@pytest.mark.parametrize(
    ("written", "time", "judges"),
    [
        (DAYS, DAYS, 80),
        (DAYS.dt.strftime("%d.%m.%Y"), DAYS, 80),
        (DAYS.dt.strftime("%m/%d/%Y"), DAYS, 80),
        (DAYS.dt.strftime("%Y-%m-%d %H:%M"), DAYS, 80),
        (YEARS, YEARS, 80),
        (YEARS.astype("str"), YEARS, 80),
        (YEARS + 0.5, YEARS, 80),
        (YEARS.where(YEARS > 2005), YEARS.where(YEARS > 2005, 0), 80),
        (DAYS.where(DAYS.index > 200), DAYS.where(DAYS.index > 200, DAYS[0]), 80),
        (LATELY, LATELY, 90),  # more than a fifth is of the newest year
        (LATEST, LATEST, 150),
    ],
    ids=[
        "days", "dd.mm.yyyy", "mm/dd/yyyy", "minutes", "years", "years as text", "fractions", "years missing",
        "days missing", "many are newest", "most are newest",
    ],
)  # fmt: skip
def test_the_newest_rows_judge_and_every_fold_is_newer_than_what_it_learns_from(written, time, judges):
    table = visits().assign(when=written.to_numpy()).sample(frac=1, random_state=5)
    training, held, folds, *_ = separate(table, how="time", by="when")
    assert len(held) == judges
    assert time[training.index].max() < time[held.index].min()
    for kind in folds:
        number = folds[kind].to_numpy()
        own = time[training.index].to_numpy()
        assert pd.Series(number).groupby(own).nunique().max() == 1
        divided = [*split.Folds(number, forward=True).split()]
        assert [fold for fold in sorted(set(number)) if fold >= 0] == [*range(len(divided))]
        for fitted, validated in divided:
            assert own[fitted].max() < own[validated].min()
            assert set(number[fitted]) == set(range(-1, number[validated][0]))


def test_folds_that_do_not_go_forward_are_scikit_learns():
    numbers = np.array([0, 1, -1, 2, 1, 0])
    own, theirs = split.Folds(numbers), PredefinedSplit(numbers)
    for (a, b), (c, d) in zip(own.split(), theirs.split(), strict=True):
        assert (a.tolist(), b.tolist()) == (c.tolist(), d.tolist())
    assert own.get_n_splits() == 3


def test_a_class_that_first_appears_late_judges_nobody_and_is_not_promised():
    """It is only in the holdout, so there is no model that could name it."""
    answer = np.where(np.arange(ROWS) > 350, "new", np.array(["a", "b", "c"])[np.arange(ROWS) % 3])
    training, judges, _, promised, facts = separate(visits().assign(answer=answer), how="time", by="id")
    assert promised.labels == ["a", "b", "c"]
    assert "new" not in {*training["answer"], *judges["answer"]}
    assert (facts["holdout"], facts["holdout_of_unlearned_classes_left_out"]) == (31, 49)


def test_the_folds_before_a_second_class_appears_only_train():
    answer = np.where(np.arange(ROWS) < 150, "a", np.array(["a", "b"])[np.arange(ROWS) % 2])
    _, _, folds, *_ = separate(visits().assign(answer=answer), how="time", by="id")
    # 320 rows in six parts: the first two are all of class a, so the second and third can't be predicted from the past.
    assert folds["fold"].value_counts().sort_index().to_dict() == {-1: 160, 2: 54, 3: 53, 4: 53}


@pytest.mark.parametrize(
    ("table", "how", "said"),
    [
        (visits(5).assign(answer=[*"ababa"]), {}, r"[0-3] different rows with a target are left for training, and 4 are needed: give a larger table$"),
        (
            visits(14, seed=3).assign(answer=np.arange(14) / 3),
            {"holdout": 0.05},
            r"1 different rows with a target are left for the holdout, and 2 are needed: give a larger table$",
        ),
        (
            visits().assign(answer=["rare"] + ["often"] * 399),
            {},
            r"column 'answer': all \d+ holdout rows are of class 'often', so there is nothing to tell apart",
        ),
        (
            visits().assign(answer=["rare"] * 2 + ["often"] * 398),
            {},
            "no part of the training rows can be predicted from the others: each part, or all others, would hold a single",
        ),
        (grouped(1), {"how": "group", "by": "group"}, "another column than 'group' to split by"),
        (grouped(2), {"how": "group", "by": "group"}, "when they are split by 'group'.* or another column to split by"),
        (
            grouped(2).assign(answer=np.arange(ROWS) / 3),
            {"how": "group", "by": "group"},
            "when they are split by 'group'.* or another column to split by",
        ),
        (
            visits().assign(when=2024),
            {"how": "time", "by": "when"},
            "0 different rows with a target are left for training.* or another column than 'when' to split by",
        ),
        (
            visits().assign(when=["spring", "autumn"] * 200),
            {"how": "time", "by": "when"},
            "split_by names 'when', which holds text; split: time needs dates, or numbers",
        ),
        (
            visits().assign(answer=["late" if number > 300 else "early" for number in range(ROWS)]),
            {"how": "time", "by": "id"},
            "all 80 holdout rows are of class 'late'",
        ),
    ],
    ids=[
        "training", "holdout", "a class of one", "a class of two", "one group", "two groups", "two groups, numbers",
        "one time", "text for times", "a class at the end",
    ],
)  # fmt: skip
def test_what_cannot_be_divided_is_refused_with_what_is_needed(table, how, said):
    with pytest.raises(BatonError, match=said):
        separate(table, **how)


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
