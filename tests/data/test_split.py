"""No row ever changes sides, and no model is scored on a row it has learned from."""

import numpy as np
import pandas as pd
import pytest
import sqlalchemy
from conftest import settings
from sklearn.model_selection import PredefinedSplit

from baton import BatonError, config
from baton.data import contract, split, tables

ROWS, SEED = 400, 7


def visits(rows: int = ROWS, seed: int = 1) -> pd.DataFrame:
    """Rows that differ in `id`, with whole numbers, fractions, text, missing values and a target."""
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


def set_up(table, ids=(), **keys) -> tuple[contract.Contract, config.Settings]:
    """Learn a contract from a table with these keys in `env.yaml`."""
    keys = {"name": "demo", "target": "answer", "train_data": "t.csv", "id_columns": [*ids], "seed": SEED} | keys
    settings = config.Settings(**keys)
    return contract.learn_contract(table, settings), settings


def separate(table, ids=(), **keys) -> split.Division:
    return split.separate(table, *set_up(table, ids, **keys))


def sides(table, ids=(), holdout=0.2) -> dict:
    """Tell for each id the side its row is on."""
    training, held, *_ = separate(table, ids, holdout=holdout)
    return {int(id): "training" for id in training["id"]} | {int(id): "holdout" for id in held["id"]}


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
        lambda table: table.assign(**{"": range(ROWS, 0, -1)}),
        lambda table: table.drop(columns=""),
        lambda table: table[["town", "answer", "land", "share", "id", "seen", "count"]],
        lambda table: table.assign(land=["CH"] * 399 + ["NO"], seen=[""] * 399 + ["2024-01-01"]),
    ],
    ids=[
        "rows added below", "rows added above", "shuffled", "whole numbers as fractions", "numbers as text",
        "nullable kinds", "empty text for missing", "other answers", "rows removed", "rows numbered anew", "rows not numbered",
        "columns in another order",
        "a second value",
    ],
)  # fmt: skip
def test_no_row_ever_crosses_from_one_side_to_the_other(ids, later):
    first = visits().assign(land="CH", seen=None)  # as in each country's first year
    first.insert(0, "", range(ROWS))  # as pandas writes the number of the row
    before, after = sides(first, ids), sides(later(first), ids)
    both = before.keys() & after.keys()
    assert len(both) > 150
    assert {id: after[id] for id in both} == {id: before[id] for id in both}


@pytest.mark.parametrize("ids", [[], ["id"]], ids=str)
@pytest.mark.parametrize("holdout", [0.1, 0.2, 0.5])
def test_the_holdout_is_about_as_large_as_wanted(ids, holdout):
    division = separate(visits(4000), ids, holdout=holdout)
    assert (
        division.facts["holdout_share"] == round(len(division.holdout) / 4000, 4) == pytest.approx(holdout, abs=0.025)
    )


@pytest.mark.parametrize("ids", [[], ["id"]], ids=str)
def test_a_larger_holdout_keeps_the_rows_of_the_smaller(ids):
    held = [{id for id, side in sides(visits(), ids, share).items() if side == "holdout"} for share in (0.1, 0.2, 0.4)]
    assert held[0] < held[1] < held[2]


@pytest.mark.parametrize("ids", [[], ["id"]], ids=str)
def test_every_row_is_on_one_side_with_all_its_columns(ids):
    table = visits().assign(weight=np.arange(ROWS) / 7).set_index(pd.Index(range(ROWS, 0, -1)))
    training, held, folds, *_ = separate(table, ids)
    whole = pd.concat([training, held]).sort_index(ascending=False)
    pd.testing.assert_frame_equal(whole.astype({"answer": "int64"}), table)
    assert folds.index.tolist() == training.index.tolist()
    assert [*folds] == ["fold", "group"]


def test_without_ids_equal_rows_are_on_the_same_side():
    table = visits()[["answer"]].assign(a=np.arange(ROWS) % 250, b=lambda rows: rows["a"] / 8)
    training, held, _, _, facts = separate(table)
    assert set(held["a"]) & set(training["a"]) == set()
    assert (len(training) + len(held), facts["copies_left_out"]) == (ROWS, 0)


def test_with_ids_rows_that_are_equal_but_for_their_ids_are_cases_of_their_side():
    """They are no copies: in a coarse table, 706 of 2,000 rows once left training altogether."""
    table = visits(2000)[["id", "answer"]].assign(a=np.arange(2000) % 30)
    training, held, _, _, facts = separate(table, ["id"])
    assert (len(training) + len(held), facts["copies_left_out"]) == (2000, 0)
    assert (set(training["a"]), set(held["a"])) == (set(range(30)), set(range(30)))


def test_of_rows_that_are_equal_in_every_column_the_first_is_kept():
    table = visits().assign(other=np.arange(ROWS))
    changed = table.head(10).assign(other=-1)  # another visit of the same one, in a column that is no copy
    division = separate(pd.concat([table, table.head(50), changed], ignore_index=True), ["id"])
    assert division.facts["copies_left_out"] == 50
    kept = pd.concat([division.training, division.holdout]).index.sort_values().tolist()
    assert kept == [*range(ROWS), *range(ROWS + 50, ROWS + 60)]
    sides = division.training["id"].isin(division.holdout["id"])
    assert not sides.any()


def test_the_facts_count_every_row_once():
    table = visits()[["id", "answer"]].astype({"answer": "float64"}).assign(a=np.arange(ROWS) % 250)
    table.loc[[3, 50, 77], "answer"] = np.nan
    training, held, _, _, facts = separate(pd.concat([table, table.tail(5)]), ["id"])
    assert facts == {
        "rows": 405,
        "without_target": 3,
        "copies_left_out": 5,
        "training": len(training),
        "duplicates_in_training": len(training) - training["a"].nunique(),
        "holdout": len(held),
        "holdout_of_unlearned_classes_left_out": 0,
        "holdout_share": round(len(held) / 397, 4),
    }
    assert len(training) + len(held) == 397


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
    assert folds.groupby(training["a"]).nunique().max().tolist() == [1, 1]  # one fold, of one group


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
        # Equal rows of both classes.
        visits()[["answer"]].assign(a=np.arange(ROWS) % 250, id=np.arange(ROWS)),
        visits()[["answer"]].assign(a=np.arange(ROWS) % 6, id=np.arange(ROWS)),
    ],
    ids=["classes", "numbers", "duplicates of both classes", "coarse"],
)
@pytest.mark.parametrize(("how", "by"), [("hash", None), ("group", "town"), ("time", "town")])
def test_sides_and_folds_depend_on_rows_and_seed_and_not_on_their_order(table, how, by):
    table = table.assign(town=np.arange(ROWS) % 31)

    def divided(rows, seed=1):
        training, held, folds, *_ = separate(rows.drop(columns="id"), split=how, split_by=by, seed=seed)
        whole = pd.concat([training.join(folds[["fold"]]), held])
        return whole.fillna(-9).value_counts(sort=False).sort_index()

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
    training, held, folds, _, _ = separate(table.astype({"a": "str", "b": "str", "c": "str"}))
    assert (len(training) + len(held), len(held) / 2000) == (2000, pytest.approx(0.2, abs=0.025))
    assert folds["fold"].value_counts().between(290, 350).all()


def rare_at(hashes: str, rare: int) -> pd.DataFrame:
    """A table of two classes, and a third of so many rows whose hashes are all low or high."""
    ids = np.arange(5000)
    low = split.fingerprint(pd.DataFrame({"id": ids}), ["id"]) / 2.0**64 < 0.2
    few = ids[1000:][low[1000:] == (hashes == "low")][:rare]
    table = pd.DataFrame({"id": [*ids[:1000], *few], "a": np.arange(1000 + rare) / 7})
    return table.assign(answer=["b", "c"] * 500 + ["rare"] * rare)


@pytest.mark.parametrize("rare", [1, 2, 9])
def test_a_rare_class_moves_no_row_to_the_other_side(rare):
    training, held, _, learnable, facts = separate(rare_at("high", rare), ["id"])
    assert ((training["answer"] == "rare").sum(), (held["answer"] == "rare").sum()) == (rare, 0)
    assert learnable.labels == ["b", "c", "rare"]
    # Where training has none, no model can name the class, and the holdout does without it.
    training, held, _, learnable, facts = separate(rare_at("low", rare), ["id"])
    assert ((training["answer"] == "rare").sum(), (held["answer"] == "rare").sum()) == (0, 0)
    assert (learnable.labels, facts["holdout_of_unlearned_classes_left_out"]) == (["b", "c"], rare)


def test_with_ids_no_row_changes_sides_when_rare_classes_grow():
    generator = np.random.default_rng(4)
    table = pd.DataFrame({"id": np.arange(3000), "a": generator.normal(size=3000)})
    table["answer"] = generator.choice([*"abcdefgh"], 3000, p=[0.5, 0.47] + [0.005] * 6)
    seen = {}
    for rows in range(300, 3001, 300):
        for id, side in sides(table.head(rows), ["id"]).items():
            assert seen.setdefault(id, side) == side


def test_an_id_that_has_several_classes_stays_on_one_side():
    for seed in range(20):
        generator = np.random.default_rng(seed)
        table = pd.DataFrame({"id": np.arange(60) // 3, "a": generator.normal(size=60)})
        table["answer"] = generator.choice(["a", "b", "c"], 60, p=[0.8, 0.1, 0.1])
        training, held, folds, *_ = separate(table, ["id"])
        assert set(training["id"]) & set(held["id"]) == set()
        assert folds.groupby(training["id"]).nunique().max().tolist() == [1, 1]


@pytest.mark.parametrize(
    ("rows", "holdout", "fewest"),
    [(visits(14), 0.3, 3), (visits(400), 0.2, 20), (visits(30).assign(answer=["a", "b", "c"] * 10), 0.2, 6)],
)
def test_a_small_table_has_as_many_folds_as_it_can(rows, holdout, fewest):
    _, _, folds, *_ = separate(rows, ["id"], holdout=holdout, folds=20)
    assert fewest <= folds["fold"].nunique() <= 20
    assert sorted(set(folds["fold"])) == [*range(folds["fold"].nunique())]


def grouped(groups: int, pure: bool = False) -> pd.DataFrame:
    """Rows in so many groups, each of both classes or of one, and some equal across groups."""
    table = visits().assign(
        group=[f"g{3 + number}" for number in np.arange(ROWS) % groups], count=np.arange(ROWS) % 350
    )
    return table[["count", "group", "answer"]].assign(
        answer=lambda rows: rows["group"].str[1:].astype(int) % 2 if pure else rows["answer"]
    )


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize(("groups", "pure"), [(3, False), (4, False), (5, False), (6, False), (40, False), (40, True)])
def test_no_group_is_on_both_sides_or_in_two_folds(groups, pure, task):
    table = grouped(groups, pure)
    training, held, folds, learned, _ = separate(table, split="group", split_by="group", task=task)
    assert set(training["group"]) & set(held["group"]) == set()
    assert training["group"].nunique() + held["group"].nunique() == groups
    assert "group" not in learned.features
    assert folds["group"].nunique() == training["group"].nunique()
    assert folds.groupby(training["group"]).nunique().max().tolist() == [1, 1]
    assert folds["fold"].nunique() == min(5, training["group"].nunique())


def test_rows_without_a_group_are_divided_by_hash():
    table = grouped(40).assign(id=np.arange(ROWS))
    table.loc[::5, "group"] = [None, "", "?", "NA"] * 20
    for ids in ([], ["id"]):
        training, held, folds, *_ = separate(table, ids, split="group", split_by="group")
        lacking = training["id"] % 5 == 0
        assert (lacking.sum() + (held["id"] % 5 == 0).sum(), lacking.sum()) == (80, pytest.approx(64, abs=12))
        assert folds["fold"][lacking].nunique() == 5
        assert folds["group"][lacking].nunique() == lacking.sum()
        assert {*training["group"]} & {*held["group"]} <= {None, np.nan, "", "?", "NA"}


@pytest.mark.parametrize(("sizes", "share"), [([300, 50, 15, 35], 0.125), ([5, 5, 375, 15], 0.975)])
def test_the_share_that_groups_set_aside_is_reported(sizes, share):
    """Of these groups, e and f have hashes below a fifth."""
    table = visits().assign(group=np.repeat([*"bdef"], sizes))
    division = separate(table, ["id"], split="group", split_by="group")
    assert (set(division.holdout["group"]), division.facts["holdout_share"]) == ({"e", "f"}, share)


def test_a_group_stays_on_its_side_when_others_come():
    before, after = (separate(grouped(groups), split="group", split_by="group") for groups in (40, 70))
    assert set(before.training["group"]) < set(after.training["group"])
    assert set(before.holdout["group"]) < set(after.holdout["group"])


DAYS = pd.Series(pd.date_range("2023-03-01", periods=ROWS))
YEARS = pd.Series(2000 + np.arange(ROWS) // 20)
LATELY = pd.Series(np.repeat([2020, 2021, 2022, 2023], [120, 90, 100, 90]))
LATEST = pd.Series(np.repeat([2020, 2021, 2022], [120, 130, 150]))
NEARER = pd.Series(np.repeat([2021, 2022, 2023, 2024], [200, 110, 65, 25]))


@pytest.mark.parametrize(
    ("written", "time", "held_rows"),
    [
        (DAYS, DAYS, 80),
        (DAYS.dt.strftime("%d.%m.%Y"), DAYS, 80),
        (DAYS.dt.strftime("%m/%d/%Y"), DAYS, 80),
        (DAYS.dt.strftime("%Y-%m-%d %H:%M"), DAYS, 80),
        (YEARS, YEARS, 80),
        (YEARS.astype("str"), YEARS, 80),
        (YEARS + 0.5, YEARS, 80),
        (LATELY, LATELY, 90),  # a fifth would be 80: of the newest year, or of the two newest
        (LATEST, LATEST, 150),
        (NEARER, NEARER, 90),
    ],
    ids=[
        "days", "dd.mm.yyyy", "mm/dd/yyyy", "minutes", "years", "years as text", "fractions", "many are newest",
        "most are newest", "two newest years are nearer than one",
    ],
)  # fmt: skip
def test_the_newest_rows_are_held_out_and_every_fold_is_newer_than_what_it_learns_from(written, time, held_rows):
    table = visits().assign(when=written.to_numpy()).sample(frac=1, random_state=5)
    training, held, folds, _, facts = separate(table, split="time", split_by="when")
    assert (len(held), facts["holdout_share"]) == (held_rows, round(held_rows / ROWS, 4))
    assert time[training.index].max() < time[held.index].min()
    number, when = folds["fold"].to_numpy(), time[training.index].to_numpy()
    assert pd.Series(number).groupby(when).nunique().max() == 1
    divided = [*split.Folds(number, forward=True).split()]
    assert [fold for fold in sorted(set(number)) if fold >= 0] == [*range(len(divided))]
    for fitted, validated in divided:
        assert when[fitted].max() < when[validated].min()
        assert set(number[fitted]) == set(range(-1, number[validated][0]))


@pytest.mark.parametrize("ids", [[], ["id"]], ids=str)
@pytest.mark.parametrize("time", [DAYS, YEARS], ids=["days", "years"])
def test_rows_without_a_time_are_divided_by_hash(ids, time):
    table = visits().assign(when=time)
    table.loc[::4, "when"] = None
    training, held, folds, *_ = separate(table, ids, split="time", split_by="when")
    dated = [rows["when"].notna() for rows in (training, held)]
    assert ((~dated[0]).sum() + (~dated[1]).sum(), (~dated[1]).sum()) == (100, pytest.approx(20, abs=10))
    assert (dated[1].sum(), training["when"].max() < held["when"].min()) == (60, True)
    assert set(folds["fold"][~dated[0]]) == {-1}  # no one knows what is newer than they


def test_a_table_of_no_time_at_all_is_refused():
    table = visits().assign(when=DAYS.where(DAYS.index < 1))
    with pytest.raises(BatonError, match="^split_by names 'when', which has 1 time; split: time needs two or more$"):
        separate(table, split="time", split_by="when")


def test_folds_that_do_not_go_forward_are_scikit_learns():
    numbers = np.array([0, 1, -1, 2, 1, 0])
    ours, theirs = split.Folds(numbers), PredefinedSplit(numbers)
    for (a, b), (c, d) in zip(ours.split(), theirs.split(), strict=True):
        assert (a.tolist(), b.tolist()) == (c.tolist(), d.tolist())
    assert ours.get_n_splits() == 3


@pytest.mark.parametrize(
    ("forward", "trains", "divided", "ratio"),
    [
        (False, None, [([1, 2, 3, 4], [0, 5]), ([0, 2, 3, 5], [1, 4]), ([0, 1, 2, 4, 5], [3])], (0.5 + 0.5 + 0.2) / 3),
        (True, None, [([2], [0, 5]), ([0, 2, 5], [1, 4]), ([0, 1, 2, 4, 5], [3])], (2 + 2 / 3 + 0.2) / 3),
        (
            False,
            [1, 1, 1, 0, 1, 0],
            [([1, 2, 4], [0, 5]), ([0, 2], [1, 4]), ([0, 1, 2, 4], [3])],
            (2 / 3 + 1 + 0.25) / 3,
        ),
        (True, [1, 1, 1, 0, 1, 0], [([2], [0, 5]), ([0, 2], [1, 4]), ([0, 1, 2, 4], [3])], (2 + 1 + 0.25) / 3),
    ],
)
def test_folds_may_go_forward_and_leave_rows_out_of_training(forward, trains, divided, ratio):
    folds = split.Folds(np.array([0, 1, -1, 2, 1, 0]), forward, None if trains is None else np.array(trains, bool))
    assert [(a.tolist(), b.tolist()) for a, b in folds.split()] == divided
    assert folds.test_train_ratio() == pytest.approx(ratio)


def test_a_class_that_first_appears_late_is_not_in_the_holdout_nor_in_the_contract():
    """It is only in the holdout, so there is no model that could name it."""
    answer = np.where(np.arange(ROWS) > 350, "new", np.array(["a", "b", "c"])[np.arange(ROWS) % 3])
    training, held, _, learned, facts = separate(visits().assign(answer=answer), split="time", split_by="id")
    assert learned.labels == ["a", "b", "c"]
    assert "new" not in {*training["answer"], *held["answer"]}
    assert (facts["holdout"], facts["holdout_of_unlearned_classes_left_out"]) == (31, 49)


def test_the_folds_before_a_second_class_appears_only_train():
    answer = np.where(np.arange(ROWS) < 150, "a", np.array(["a", "b"])[np.arange(ROWS) % 2])
    _, _, folds, *_ = separate(visits().assign(answer=answer), split="time", split_by="id")
    # 320 rows in six parts: the first two are all of class a, so the second and third can't be predicted from the past.
    assert folds["fold"].value_counts().sort_index().to_dict() == {-1: 160, 2: 54, 3: 53, 4: 53}


HELD = [6, 14, 15, 16, 19, 25]  # of the ids below 30, those whose hashes are below a fifth


@pytest.mark.parametrize(
    ("table", "keys", "said"),
    [
        (
            visits(9).assign(id=[0, 1, 3, *HELD], answer=[*"ababababa"]),
            {"id_columns": "id"},
            "^3 different rows with a target are left for training, and 4 are needed: give a larger table$",
        ),
        (
            visits(9).assign(id=[0, 1, 3, 4, 5, 7, 8, 9, 6], answer=np.arange(9) / 3),
            {"id_columns": "id"},
            "^1 different rows with a target are left for the holdout, and 2 are needed: give a larger table$",
        ),
        (
            visits().assign(answer=["rare"] + ["often"] * 399),
            {},
            r"column 'answer': all \d+ holdout rows are of class 'often', so there is nothing to tell apart",
        ),
        (
            visits(40).assign(id=range(40), answer=["rare" if id in (0, 6) else "often" for id in range(40)]),
            {"id_columns": "id"},
            "no part of the training rows can be predicted from the others: each part, or all others, would hold a single",
        ),
        (
            grouped(1),
            {"split": "group", "split_by": "group"},
            "^none of the 1 groups of 'group' falls into training with holdout: 0.2. A group's side is fixed by its hash:"
            " split by a column with more groups$",
        ),
        (
            visits().assign(town=["b", "c"] * 200),
            {"split": "group", "split_by": "town"},
            "^none of the 2 groups of 'town' falls into the holdout with holdout: 0.2. A group's side is fixed by its"
            " hash: set holdout to 0.23, or split by a column with more groups$",
        ),
        (grouped(2), {"split": "group", "split_by": "group"}, "when they are split by 'group'.* or another column to split by"),
        (
            grouped(2).assign(answer=np.arange(ROWS) / 3),
            {"split": "group", "split_by": "group"},
            "when they are split by 'group'.* or another column to split by",
        ),
        (
            visits().assign(when=2024),
            {"split": "time", "split_by": "when"},
            "^split_by names 'when', which has 1 time; split: time needs two or more$",
        ),
        (
            visits().assign(when=["spring", "autumn"] * 200),
            {"split": "time", "split_by": "when"},
            "split_by names 'when', which holds text; split: time needs dates, or numbers",
        ),
        (
            visits().assign(answer=["late" if number > 300 else "early" for number in range(ROWS)]),
            {"split": "time", "split_by": "id"},
            "all 80 holdout rows are of class 'late'",
        ),
    ],
    ids=[
        "training", "holdout", "a class of one", "a class of two", "one group", "two groups above the share", "two groups", "two groups, numbers",
        "one time", "text for times", "a class at the end",
    ],
)  # fmt: skip
def test_what_cannot_be_divided_is_refused_with_what_is_needed(table, keys, said):
    with pytest.raises(BatonError, match=said):
        separate(table, **keys)


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
        ({"a": "1,234"}, 4990379263380782247),
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


@pytest.mark.parametrize("kind", ["csv", "float32.csv", "parquet", "sqlite", "postgres"])
def test_the_same_numbers_are_on_the_same_side_wherever_they_are_stored(tmp_path, kind, request):
    """Of 1,000 numbers in full precision, 141 once differed in the last bit between two of these."""
    generator = np.random.default_rng(5)
    numbers = generator.normal(size=1000) * 10.0 ** generator.integers(-8, 9, 1000)
    table = pd.DataFrame({"a": numbers, "b": numbers[::-1], "answer": [0, 1] * 500})
    if kind == "float32.csv":
        table = table.astype({"a": "float32", "b": "float32"})
    source = str(tmp_path / f"a.{kind}")
    if kind.endswith("csv"):
        table.to_csv(source, index=False)
    elif kind == "parquet":
        table.to_parquet(source)
    else:
        url = f"sqlite:///{source}"
        if kind == "postgres":
            url = request.getfixturevalue("postgres")
        engine = sqlalchemy.create_engine(config.fill_in(url).replace("postgresql", "postgresql+pg8000"))
        table.to_sql("numbers", engine, index=False, if_exists="replace")
        engine.dispose()
        source = f"{url}#numbers"
        if kind == "postgres":  # a decimal is read as a CSV is
            source = f"{url}#SELECT a, b::text::numeric AS b, answer FROM numbers"
    learned, settings = set_up(table)
    stored = tables.read_table(source)
    np.testing.assert_array_equal(split.identify(stored, learned), split.identify(table, learned))
    aside = [division.holdout.index.tolist() for division in (separate(stored), separate(table))]
    assert aside[0] == aside[1] != []


def find_seen(rows, learned, fingerprints):
    return split.find_seen(rows.head(0), rows, learned, fingerprints)


@pytest.mark.parametrize("ids", [[], ["id"], ["town", "id"]], ids=str)
def test_rows_that_a_model_learned_from_are_found_however_they_come_back(ids):
    table = visits(600)
    learned, settings = set_up(table, ids)
    training, held, *_ = split.separate(table, learned, settings)
    fingerprints = split.identify(training, learned)
    assert (fingerprints.dtype, len(fingerprints)) == ("uint64", len(training))
    later = (
        pd.concat([held, visits(100, seed=2), training])
        .sample(frac=1, random_state=1, ignore_index=True)
        .assign(more=1)
    )
    for written in (later, later.astype("str").replace({"nan": "", "None": ""}), later[sorted(later)]):
        seen = find_seen(written, learned, fingerprints)
        assert set(later["id"][seen]) == set(training["id"])
    # A changed value is another row, unless ids say which row it is.
    changed = find_seen(training.assign(share=training["share"] + 1, count=0), learned, fingerprints)
    assert changed.mean() == (1 if ids else 0)


@pytest.mark.parametrize(("ids", "lacks"), [(["id"], "id"), ([], "share")], ids=["ids", "features"])
def test_a_table_that_lacks_what_identifies_rows_cannot_tell_which_were_learned_from(ids, lacks):
    table = visits()
    learned, _ = set_up(table, ids)
    fingerprints = split.identify(table, learned)
    assert find_seen(table.drop(columns=lacks), learned, fingerprints) is None
    assert find_seen(table.drop(columns="answer"), learned, fingerprints).all()


def test_a_model_that_learned_from_nothing_has_seen_nothing():
    learned, _ = set_up(visits())
    assert not find_seen(visits(), learned, np.array([], "uint64")).any()
    assert split.identify(visits().head(0), learned).tolist() == []


def test_rows_are_found_by_the_models_contract_whatever_the_new_one_is():
    """A column that is new, ignored or of another kind changes nothing for a model that was trained before."""
    table = visits().assign(unique=np.arange(ROWS) / 7)
    champion, _ = set_up(table.drop(columns="id"))
    fingerprints = split.identify(table.head(300), champion)
    later = table.assign(new=1.5, count=table["count"].astype("float64"))
    assert find_seen(later, champion, fingerprints).tolist() == [True] * 300 + [False] * 100


def test_equal_rows_that_are_different_cases_are_found_by_their_number():
    """Without ids, in a table where most rows equal another: each copy counts by itself, for the model as for the split."""
    table = visits(2000)[["answer"]].assign(a=np.arange(2000) % 9, b=np.arange(2000) % 2)
    learned, settings = set_up(table)
    division = split.separate(table, learned, settings)
    assert division.contract.equal_rows_differ
    fingerprints, _ = split.fingerprint_both(division.training, division.holdout, division.contract)
    # The rows in another order, and more of them: no row of this holdout was learned from.
    later = pd.concat([table, table.head(300)]).sample(frac=1, random_state=1, ignore_index=True)
    again = split.separate(later, learned, settings)
    seen = split.find_seen(again.training, again.holdout, division.contract, fingerprints)
    assert not seen.any()
    trained = split.find_seen(again.holdout, again.training, division.contract, fingerprints)
    assert trained.sum() == len(division.training)


def test_a_row_without_an_id_is_identified_by_its_values():
    table = visits().assign(id=lambda rows: rows["id"].where(rows.index % 2 == 0))
    learned, settings = set_up(table, ["id"])
    assert len(np.unique(split.identify(table, learned))) > 0.95 * ROWS
    held = split.separate(table, learned, settings).holdout
    assert 20 < held["id"].isna().sum() < 60


@pytest.mark.parametrize(
    ("kept", "left"), [([False, False, True, True], "0 rows"), ([True, False, True, True], "1 rows")]
)
def test_what_select_leaves_must_be_enough_for_each_fold(kept, left):
    folds, asking = pd.DataFrame({"fold": [0, 0, 1, 1], "trains": kept}), settings(target="y")
    asked = contract.learn_contract(pd.DataFrame({"x": [1, 2, 3, 4], "y": [0, 1, 0, 1]}), asking)
    y = pd.Series([0, 1, 0, 1])
    with pytest.raises(
        BatonError, match=f"select leaves {left} to learn from for fold 1, with . different values of 'y'"
    ):
        split.require_trainable(folds, y, asked)
    split.require_trainable(folds.assign(trains=True), y, asked)
    with pytest.raises(
        BatonError, match="^there are 2 rows to learn from for fold 0, with 1 different .* Lower `folds`"
    ):
        split.require_trainable(folds.assign(trains=True), pd.Series([0, 1, 1, 1]), asked)
