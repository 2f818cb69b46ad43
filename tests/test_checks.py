"""What is said of a table before training: each warning where it belongs, and none where all is well."""

import re
import time
import uuid

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets

from baton import checks, config, contract, preparation, split, tables

ROWS = 400
NUMBERS = np.random.default_rng(1).normal(size=(ROWS, 3))
SIGNAL = NUMBERS[:, 0] - NUMBERS[:, 1] + np.random.default_rng(2).normal(size=ROWS)
ANSWERS = {
    "binary": np.where(SIGNAL > 0.5, "yes", "no"),
    "multiclass": pd.cut(SIGNAL, [-9, -1, 1, 9], labels=["u", "v", "w"]).astype(str),
    "numbers": SIGNAL * 100,
    "skewed numbers": np.exp(2 * SIGNAL),
    "whole numbers": np.clip((SIGNAL * 8).round(), -12, 12) + 12.0,
}


def table(answer="binary", **columns) -> pd.DataFrame:
    """A table of which there is nothing to say, and what makes the difference."""
    rows = pd.DataFrame(NUMBERS, columns=["a", "b", "c"]).assign(
        y=ANSWERS[answer] if isinstance(answer, str) else answer
    )
    return rows.assign(**columns)


def look(rows: pd.DataFrame, target="y", ids=(), ignore=(), how="hash", by=None, **changed) -> list[str]:
    """What is said of a table; unless it is asked for, not that there are no ids."""
    settings = config.Settings(
        train_data="y.csv", score_data="y.csv", target=target, id_columns=[*ids], ignore_columns=[*ignore], split=how,
        split_by=by, **changed,
    )  # fmt: skip
    division = split.separate(rows, contract.learn_contract(rows, settings), settings)
    return [said for said in checks.check(rows, division, settings) if "no id_columns" not in said]


def look_for_ids(rows: pd.DataFrame, **changed) -> list[str]:
    settings = config.Settings(train_data="y.csv", score_data="y.csv", target="y", **changed)
    division = split.separate(rows, contract.learn_contract(rows, settings), settings)
    return [said for said in checks.check(rows, division, settings) if " id" in said]


def starts(warnings: list[str], *expected: str) -> bool:
    return len(warnings) == len(expected) and all(map(str.startswith, warnings, expected))


@pytest.mark.parametrize("answer", [*ANSWERS])
def test_of_a_good_table_nothing_is_said(answer):
    assert look(table(answer)) == []


def test_of_the_sample_table_nothing_is_said():
    assert look(tables.read_table(str(config.ROOT / "data" / "diabetes_train.csv")), "Outcome") == []


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (datasets.load_iris, ["1 of 150 rows equal another in all columns, target included. "]),  # so it is
        (datasets.load_wine, []),
        (datasets.load_breast_cancer, []),
        (datasets.load_diabetes, []),
    ],
)
def test_well_known_tables_raise_no_false_alarm(load, said):
    assert starts(look(load(as_frame=True).frame, "target"), *said)


def leak(answer: str, kind: str) -> pd.Series | np.ndarray | None:
    """A column that was written down after the target was known."""
    known = table(answer)["y"]
    classes = known.dtype == "str"
    code = pd.Series(pd.factorize(known, sort=True)[0]) if classes else known
    noise = np.random.default_rng(3).normal(size=ROWS)
    return {
        "number": code,
        "text": known.map(lambda value: f"group {value}") if classes or known.nunique() < 100 else None,
        "date": pd.Timestamp("2024-01-01") + pd.to_timedelta(code.rank(), "D"),
        "noisy copy": code + noise * (0.05 if classes else 0.01 * code.std()) if answer != "skewed numbers" else None,
        "in per cent off": code * (1 + 0.005 * noise),
        "with holes": code.where(np.arange(ROWS) % 250 > 0),
    }[kind]


KINDS = ["number", "text", "date", "noisy copy", "in per cent off", "with holes"]
# A text with a value of its own in every row can't be told from an id.
LEAKS = [(answer, kind) for answer in ANSWERS for kind in KINDS if leak(answer, kind) is not None]


@pytest.mark.parametrize(("answer", "kind"), LEAKS)
def test_a_column_that_gives_the_target_away_is_named(answer, kind):
    told = leak(answer, kind)
    first, *others = look(table(answer, leak=told))
    assert first.startswith("column 'leak' gives the target away: alone it reaches ")
    assert ("AUC" in first) == (answer in {"binary", "multiclass"})
    assert first.endswith("If it is only known once the target is, put it in ignore_columns")
    assert [said for said in others if "gives the target away" in said] == []
    assert [said for said in look(table(answer, leak=told), ignore=["leak"]) if "leak" in said] == []


@pytest.mark.parametrize("answer", [*ANSWERS])
def test_a_column_that_tells_much_of_the_target_does_not_give_it_away(answer):
    """A strong predictor is what one hopes for."""
    assert look(table(answer, strong=SIGNAL + 0.35 * NUMBERS[:, 2])) == []


def test_a_class_of_a_row_and_few_rows_in_all_stand_no_search_for_a_giveaway():
    assert not any("gives" in said for said in look(table().head(20).assign(d=lambda rows: rows["y"] == "yes")))


@pytest.mark.parametrize(
    ("answer", "how", "said"),
    [
        (["a"] * 3 + ["b", "c"] * 198 + ["b"], {}, ["1 of the 3 classes of 'y' have fewer rows than there are folds, 5, so some folds judge without them: 'a' has 3. "]),
        (["a"] * 3 + ["b", "c"] * 198 + ["b"], {"folds": 3}, ["class 'a' of 'y' is rare, 0.8% of the rows: "]),
        (["a", "d", "d"] + ["b", "c"] * 198 + ["b"], {}, ["2 of the 4 classes of 'y' have fewer rows than there are folds, 5, so some folds judge without them: 'a' has 1, 'd' has 2. "]),
        ([f"k{number // 2:03d}" for number in range(60)] + ["b", "c"] * 170, {}, ["30 of the 32 classes of 'y' have fewer rows than there are folds, 5, so some folds judge without them: 'k000' has 2, 'k001' has 2, 'k002' has 2, 'k003' has 2, 'k004' has 2, …. "]),
        (["a"] * 18 + ["b"] * 382, {}, ["class 'a' of 'y' is rare, 4.5% of the rows: the likeliest class will hardly ever be it, so go by the probability"]),
        (["a"] * 22 + ["b"] * 378, {}, []),
        ([f"k{number % 25}" for number in range(400)], {}, []),  # each is 4% of the rows, and none is rarer
    ],
    ids=["too few for the folds", "enough", "two", "many", "rare", "less so", "many even ones"],
)  # fmt: skip
def test_rare_classes_are_counted(answer, how, said):
    assert starts(look(table(answer), **how), *said)


def test_a_metric_that_a_rare_class_flatters_is_named():
    rows = table(["a"] * 18 + ["b"] * 382)
    assert look(rows, metric="Accuracy")[0].endswith("Accuracy flatters a model that never names it, AUC does not")
    assert "flatters" not in look(rows, metric="F1")[0]


def test_rows_without_a_target_are_counted():
    answer = table()["y"].where(np.arange(ROWS) % 100 > 0)
    assert look(table(answer)) == ["column 'y' has no value in 4 of 400 rows, which are left out"]


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ([f"{'$€'[number % 2]}{number % 40 + 1000:,}" for number in range(ROWS)], True),
        ([f"{number % 40}" for number in range(ROWS - 8)] + ["sold"] * 8, True),
        ([f"k{number % 40}" for number in range(ROWS)], False),
        ([f"0{number % 40}" for number in range(ROWS)], False),  # codes
        (["1", "2", "3", "none given"] * 100, False),
    ],
    ids=["two currencies", "a word among numbers", "names", "codes", "few"],
)
def test_a_quantity_that_counts_as_classes_is_named(answer, named):
    expected = (
        "column 'y' counts as 4[01] classes, but nearly all look like numbers, such as '.*'. If it is a quantity, "
    )
    assert any(re.match(expected, said) for said in look(table(answer))) == named


def doubled(rows: pd.DataFrame, again: int, **changed) -> pd.DataFrame:
    return pd.concat([rows, rows.head(again).assign(**changed)], ignore_index=True).assign(
        id=lambda own: range(len(own))
    )


COARSE = table().assign(a=np.arange(ROWS) % 3, b=np.arange(ROWS) % 5, c="x")


@pytest.mark.parametrize(
    ("rows", "how", "said"),
    [
        (doubled(table(), 7), {"ignore": ["id"]}, ["7 of 407 rows equal another in all columns, target included. "]),
        (doubled(table(), 7), {"ids": ["id"]}, []),
        (doubled(table(), 7, y="maybe"), {"ids": ["id"]}, ["14 of 407 rows equal another in all columns but 'y': "]),
        (doubled(doubled(table(), 7, y="maybe"), 7), {"ids": ["id"]}, ["21 of 414 rows equal another in all columns but 'y': "]),
        (COARSE, {}, ["400 rows hold only 15 different ones, so those that are equal count as cases that look alike. ", "column 'c' is left out"]),
        (COARSE.assign(id=range(ROWS)), {"ids": ["id"]}, ["column 'c' is left out"]),
    ],
    ids=["copies", "cases that look alike", "contrary", "contrary and twice", "coarse", "coarse cases"],
)  # fmt: skip
def test_equal_rows_are_counted(rows, how, said):
    found = [told for told in look(rows, **how) if "class 'maybe'" not in told]
    assert starts(found, *said), found


@pytest.mark.parametrize(
    ("column", "named"),
    [
        (np.arange(ROWS), True),
        (np.arange(ROWS)[::-1] + 5000, True),
        (np.random.default_rng(1).permutation(ROWS), True),
        (np.cumsum(np.random.default_rng(1).integers(1, 900, ROWS)), True),  # given one after the other
        ([f"C-{number:05d}" for number in range(ROWS)], True),
        ([f"{number:05d}" for number in range(ROWS)], True),
        ([str(uuid.UUID(int=number * 7**40 % 2**128)) for number in range(ROWS)], True),
        ([f"{number * 7**80 % 2**256:064x}" for number in range(ROWS)], True),
        ([f"C-{number:05d}" for number in range(ROWS - 2)] + [None, "C-00000"], True),
        (NUMBERS[:, 0] * 3, False),
        (np.random.default_rng(1).integers(0, 10**6, ROWS), False),  # all different, as whole numbers of grams are
        (np.arange(ROWS) % 200, False),
        ([f"town {number % 100}" for number in range(ROWS)], False),
        ([f"they called again for the {number}th time and had a long complaint" for number in range(ROWS)], False),
    ],
    ids=[
        "running number", "backwards", "shuffled", "with gaps", "text", "leading zeros", "uuid", "digest", "some missing",
        "measurement", "whole measurement", "twice each", "names", "sentences",
    ],
)  # fmt: skip
def test_what_looks_like_an_id_is_named_and_a_measurement_is_not(column, named):
    expected = ["column 'd' looks like an id: "] if named else []
    assert starts(look(table(d=column)), *expected)
    assert look(table(d=column), ids=["d"]) == look(table(d=column), ignore=["d"]) == []


@pytest.mark.parametrize(
    ("column", "how", "said"),
    [
        (pd.date_range("2024-01-01", periods=ROWS), {}, ["column 'd' holds 400 dates from 2024-01-01 to 2025-02-03. If the rows to be scored come later than these, judge so: split: time, split_by: d"]),
        (pd.date_range("2024-01-01", periods=ROWS).strftime("%d.%m.%Y"), {}, ["column 'd' holds 400 dates from 2024-01-01 to 2025-02-03. "]),
        (pd.date_range("2024-01-01", periods=ROWS), {"how": "time", "by": "d"}, []),
        ([f"{number // 60 % 24:02d}:{number % 60:02d}" for number in range(ROWS)], {}, []),
        (pd.to_datetime(["2024-01-01", "2024-07-01"] * 200), {}, []),
    ],
    ids=["dates", "as text", "already split by", "times of day", "two days"],
)  # fmt: skip
def test_dates_suggest_to_split_by_time(column, how, said):
    assert starts(look(table(d=column), **how), *said)


@pytest.mark.parametrize(
    ("how", "column", "said"),
    [
        ("group", [None, "", "g", "h"] * 100, ["column 'd', which rows are split by, has no value in 200 rows: they are one group"]),
        ("group", ["NA", "e", "g", "h"] * 100, ["column 'd', which rows are split by, has no value in 100 rows: they are one group"]),
        ("group", ["f", "e", "g", "h"] * 100, []),
        ("time", [np.nan, *range(1, 400)], ["column 'd', which rows are split by, has no value in 1 rows: they are the oldest rows"]),
    ],
    ids=["groups", "marked", "none", "times"],
)  # fmt: skip
def test_rows_that_lack_what_they_are_split_by_are_counted(how, column, said):
    assert starts(look(table(d=column), how=how, by="d"), *said)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ([None] * ROWS, ["column 'd' is left out: it has no value"]),
        (["n/a"] * ROWS, ["column 'd' is left out: it has no value"]),
        ([7] * ROWS, ["column 'd' is left out: it has the same value in every row"]),
        ([7.5] * 13 + [1, 2, 3] + [None] * 384, ["column 'd' has a value in 4.0% of the rows only; consider ignore_columns"]),
        ([np.inf, -np.inf] + [1.5] * 398, ["column 'd': 2 infinite values count as missing"]),
        ([f"{number}" for number in range(397)] + ["low", "low", "high"], ["column 'd' looks like an id", "column 'd' counts as text because 3 of 400 values are no number: 'low', 'high'. "]),
        ([f"{number % 90}" for number in range(395)] + ["?"] * 4 + ["many"], ["column 'd' counts as text because 1 of 396 values are no number: 'many'. "]),
        ([f"{number % 90},{number:03d}" for number in range(400)], ["column 'd' counts as text, but its 400 values look like numbers, such as '0,000': "]),
        ([f"{'$€'[number % 2]} {number % 90 / 4}" for number in range(400)], ["column 'd' counts as text, but its 400 values look like numbers, such as '$ 0.0': "]),
        ([f"{number % 90}%" for number in range(400)], []),
        ([f"0{number % 90}" for number in range(400)], []),  # codes
        (["1", "2", "3", "4", "many"] * 80, []),
    ],
    ids=[
        "no value", "marked as missing", "constant", "hardly any", "infinite", "some words", "missing ones do not count",
        "odd thousands", "two currencies", "per cent", "codes", "words and numbers",
    ],
)  # fmt: skip
def test_columns_that_tell_little_or_are_read_otherwise_than_meant_are_named(column, said):
    found = look(table(d=column))
    assert starts(found, *said), found


def test_few_rows_for_many_columns_are_counted():
    rows = pd.DataFrame(np.random.default_rng(1).normal(size=(60, 7)), columns=[*"abcdefg"]).assign(y=["p", "q"] * 30)
    assert starts(look(rows), "60 rows are few for 7 columns: less than ten a column. ")
    assert look(rows.drop(columns="a")) == []


@pytest.mark.parametrize(
    "answer",
    [["p"] * 39 + ["q"], ["p", "q"] * 20, [*"pqrs"] * 10, np.arange(40) / 3],
    ids=["one", "two", "four", "numbers"],
)
@pytest.mark.parametrize("count", [8, 31, 40])
@pytest.mark.parametrize(
    "kinds", [["number"], ["text"], ["number", "text", "empty", "same", "date", "rarely"]], ids=str
)
def test_every_odd_table_is_looked_at(answer, count, kinds):
    columns = {
        "number": np.arange(40) % 7 / 3,
        "text": [f"t{number % 9}" for number in range(40)],
        "empty": None,
        "same": 1,
        "date": pd.date_range("2024-01-01", periods=40),
        "rarely": [None, None, 1] + [None] * 37,
    }
    rows = pd.DataFrame({kind: columns[kind] for kind in kinds}, index=range(40)).assign(y=answer)
    rows = pd.concat([rows.head(count - 1), rows.tail(1)]).set_axis([0] * count)
    expected = {"empty", "same"} & {*kinds}
    assert {said.split("'")[1] for said in look(rows) if "is left out" in said} >= expected


def test_a_wide_table_takes_seconds():
    generator = np.random.default_rng(1)
    texts = {f"t{number}": [f"v{value}" for value in generator.integers(0, 400, 2000)] for number in range(100)}
    rows = pd.DataFrame(generator.normal(size=(2000, 200)), columns=[f"n{number}" for number in range(200)])
    rows = pd.concat([rows, pd.DataFrame(texts)], axis=1)
    started = time.process_time()
    said = look(rows.assign(y=generator.integers(0, 2000, 2000)))
    assert starts(said, "2000 rows are few for 300 columns")
    assert time.process_time() - started < 20
