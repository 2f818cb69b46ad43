"""What question a table asks, and how raw rows are held to what a model was promised."""

import datetime
import json
import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from baton import BatonError, contract

NAN = float("nan")
NOON = pd.Timestamp("2024-03-05 12:00")
DAY = pd.Timestamp("2024-03-05")
MARKERS = ["", " ", "?", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "Null", "nil", "<NA>", "NaT"]
FEATURE_MARKERS = [*MARKERS, "-", "--", ".", "None", "none", "NONE"]


def table_of(target, **columns) -> pd.DataFrame:
    """A table with this target and one number."""
    answers = pd.Series(target)
    return pd.DataFrame({"x": np.arange(len(answers)) / 2, "answer": answers, **columns})


def learn(target, task="auto", metric="auto", ids=None) -> contract.Contract:
    """Learn from a table with this target and one number; `ids` are columns that number the rows."""
    table = table_of(target)
    table = table.assign(**{column: range(len(table)) for column in ids or []})
    return contract.learn_contract(table, "demo", "answer", ids, task, metric)


def learn_columns(ids=None, ignore=None, split="hash", split_by=None, **columns) -> contract.Contract:
    """Learn from a table with these columns beside a target."""
    rows = len(next(iter(columns.values())))
    table = pd.DataFrame({**columns, "answer": ([0, 1] * rows)[:rows]})
    return contract.learn_contract(table, "demo", "answer", ids, "auto", "auto", ignore, split, split_by)


def promise(**columns) -> contract.Contract:
    """A contract over columns of the given kinds; a date may come with the way it is written."""
    kinds = {column: kind.partition(" ")[0] for column, kind in columns.items()}
    formats = {column: written for column, kind in columns.items() if (written := kind.partition(" ")[2])}
    return contract.Contract("demo", "answer", [], kinds, "binary", "", "AUC", [0, 1], formats)


def read(values, kind) -> list:
    return promise(a=kind).rows(pd.DataFrame({"a": values}))["a"].tolist()


@pytest.mark.parametrize(
    ("target", "task", "labels"),
    [
        ([0, 1, 1, 0], "binary", [0, 1]),
        ([0.0, 1.0, None], "binary", [0, 1]),
        (pd.array([0, 1, None], "Int64"), "binary", [0, 1]),
        (["0", "1", ""], "binary", [0, 1]),
        (["0.0", "1.0", "?", "-"], "binary", [0, 1]),
        (["+1", " -1 "], "binary", [-1, 1]),
        ([2, 1, 2], "binary", [1, 2]),
        ([0.5, 1.5], "binary", [0.5, 1.5]),
        ([np.inf, 1, 2], "binary", [1, 2]),
        ([True, False, True], "binary", [False, True]),
        ([True, False, None], "binary", [False, True]),
        (pd.array([True, False, None], "boolean"), "binary", [False, True]),
        (["TRUE", "false", "n/a"], "binary", [False, True]),
        (["yes", "no", "yes", "NA"], "binary", ["no", "yes"]),
        (["+", "-", "+", "?"], "binary", ["-", "+"]),
        (["01", "1", "01"], "binary", ["01", "1"]),
        (["low", "mid", "top"] * 2, "multiclass", ["low", "mid", "top"]),
        (["top", None, "low", "mid", " low", "mid", "top "], "multiclass", ["low", "mid", "top"]),
        (["none", "mild", "severe"] * 2, "multiclass", ["mild", "none", "severe"]),
        (["01", "02", "03"] * 2, "multiclass", ["01", "02", "03"]),
        ([3, 1, 2] * 10, "multiclass", [1, 2, 3]),
        ([3.0, 1.0, 2.0] * 10, "multiclass", [1, 2, 3]),
        (["3", "1", "2.0", "null"] * 10, "multiclass", [1, 2, 3]),
        ([3, 1, 2] * 9, "regression", []),
        ([*range(20)] * 10, "multiclass", [*range(20)]),
        ([*range(21)] * 10, "regression", []),
        ([1.5, 2.5, 3.5] * 10, "regression", []),
        ([*range(100)], "regression", []),
        ([0.1, 0.2, 0.3], "regression", []),
        (["1", "?", "2.5", "-", "3e2", "inf"], "regression", []),
    ],
)
def test_the_question_is_told_from_the_target(target, task, labels):
    learned = learn(target)
    assert (learned.task, learned.labels, [*map(type, learned.labels)]) == (task, labels, [*map(type, labels)])
    assert learned.metric == ("R2" if task == "regression" else "AUC")


@pytest.mark.parametrize(
    ("target", "answers"),
    [
        ([0.0, 1.0, None], [0, 1, None]),
        (pd.array([0, 1, None], "Int64"), [0, 1, None]),
        (["0.0", "1", " 1.0", "?", "-", "inf"], [0, 1, 1, None, None, None]),
        (["+1", "-1", "-1.0"], [1, -1, -1]),
        (["0.5", "1.50", "0.5"], [0.5, 1.5, 0.5]),
        (["TRUE", "false", "True ", ""], [True, False, True, None]),
        ([True, False, None], [True, False, None]),
        (pd.array([True, False, None], "boolean"), [True, False, None]),
        (["yes ", "no", "NA", None], ["yes", "no", None, None]),
        (["+", "-", "+", "?"], ["+", "-", "+", None]),
        (["none", "mild", "none", "nan"], ["none", "mild", "none", None]),
        (["01", "1", "01", "1"], ["01", "1", "01", "1"]),
        (["1_2", "12", "12"], ["1_2", "12", "12"]),
        (["Infinity", "1e5", "x1"] * 2, ["Infinity", "1e5", "x1"] * 2),
        (["12345678901234567", "12345678901234568"], ["12345678901234567", "12345678901234568"]),
        (pd.to_datetime(["2024-03-05", "2024-03-06"]), ["2024-03-05", "2024-03-06"]),
        (["3", "1", "2.0", "-"] * 10, [3, 1, 2, None] * 10),
    ],
)
def test_every_answer_is_one_of_the_labels_or_none(target, answers):
    table = table_of(target)
    given = learn(target).answers(table)
    assert (given.tolist(), given.name, given.dtype) == (answers, "answer", object)
    assert [*map(type, given)] == [*map(type, answers)]


def test_answers_of_a_regression_are_numbers_with_holes():
    target = ["1", "?", "2.5", "-", "3e2", "inf", None]
    answers = learn(target).answers(table_of(target).set_axis([*"abcdefg"]))
    pd.testing.assert_series_equal(
        answers, pd.Series([1, NAN, 2.5, NAN, 300, NAN, NAN], [*"abcdefg"], name="answer", dtype="float64")
    )


@pytest.mark.parametrize(
    ("target", "task", "labels"),
    [
        ([1, 2, 3] * 2, "multiclass", [1, 2, 3]),
        ([0, 1, 0], "regression", []),
        ([3, 1, 2] * 10, "regression", []),
        (["a", "b", "b"], "binary", ["b", "a"]),
    ],
)
def test_env_yaml_may_say_which_question_it_is(target, task, labels):
    learned = learn(target, task)
    assert (learned.task, learned.labels, learned.why) == (task, labels, "env.yaml says so")


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ([0, 1], "answer has two values"),
        (["a", "b", "c"] * 2, "answer holds 3 names"),
        ([1, 2, 3] * 10, "answer holds 3 whole numbers, each repeated"),
        ([0.1, 0.2, 0.3, 0.3], "answer holds 3 different numbers"),
    ],
)
def test_the_contract_says_why_it_took_a_question(target, why):
    assert learn(target).why == why


@pytest.mark.parametrize(
    ("target", "task", "said"),
    [
        (["a", "b", "a"], "regression", "column 'answer' holds text such as 'a'; task: regression needs numbers"),
        (["true", "false"], "regression", "column 'answer' holds boolean such as True; task: regression needs numbers"),
        (["a", "b", "c"], "binary", "column 'answer' has 3 different values; task: binary needs two"),
        ([1.5, 2.5, 3.5], "binary", "column 'answer' has 3 different values; task: binary needs two"),
        ([0, 1, 0], "multiclass", "column 'answer' has two different values; set task to binary, or auto"),
        (
            ["1,5", "2,5", "3,5", "3,5"],
            "auto",
            "column 'answer' holds 3 different values in 4 rows, too many to be classes. Is it the right target?"
            " For a quantity written as text, clean it in the table first.",
        ),
        ([0.1, 0.2, 0.3], "multiclass", "column 'answer' holds 3 different values in 3 rows, too many to be classes."),
    ],
)
def test_a_question_the_target_cannot_answer_is_refused(target, task, said):
    with pytest.raises(BatonError, match=re.escape(said)):
        learn(target, task)


@pytest.mark.parametrize(
    ("target", "labels"),
    [
        (["yes", "no", "yes", "yes"], ["no", "yes"]),
        (["Yes", "No", "Yes", "Yes"], ["No", "Yes"]),
        (["y", "n", "y"], ["n", "y"]),
        (["positive", "negative", "positive"], ["negative", "positive"]),
        (["Ja", "Nein", "Ja"], ["Nein", "Ja"]),
        ([1, 2, 1], [1, 2]),
        (["stays", "leaves", "stays"], ["stays", "leaves"]),
        (["leaves", "stays", "leaves"], ["leaves", "stays"]),
        ([1, -1, 1], [-1, 1]),
    ],
)
def test_of_two_classes_the_positive_one_is_the_affirmative_else_the_rarer(target, labels):
    learned = learn(target)
    assert (learned.labels, learned.positive) == (labels, labels[-1])


@pytest.mark.parametrize("target", [["a", "b", "c"] * 2, [0.1, 0.2, 0.3]])
def test_other_questions_have_no_positive_class(target):
    assert learn(target).positive is None


@pytest.mark.parametrize(
    ("target", "metric"),
    [([0, 1], "Log Loss"), (["a", "b", "c"] * 2, "F1"), ([0.1, 0.2, 0.3], "MAE"), ([0, 1], "Average Precision")],
)
def test_a_metric_may_be_chosen(target, metric):
    assert learn(target, metric=metric).metric == metric


@pytest.mark.parametrize(
    ("target", "metric", "said"),
    [
        ([0, 1], "R2", "metric 'R2' can't judge a binary question. Choose one of: AUC, Accuracy"),
        (
            ["a", "b", "c"] * 2,
            "Average Precision",
            "metric 'Average Precision' can't judge a multiclass question. Choose one of: AUC",
        ),
        ([0.1, 0.2, 0.3], "AUC", "metric 'AUC' can't judge a regression question. Choose one of: R2, MAE"),
    ],
)
def test_a_metric_of_another_question_is_refused(target, metric, said):
    with pytest.raises(BatonError, match=re.escape(said)):
        learn(target, metric=metric)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ([1, 1, 1], "every one of its 3 values is 1.0, so there is nothing to learn"),
        (["1", "-", "1"], "every one of its 2 values is 1.0, so there is nothing to learn"),
        (["no", None, "no"], "every one of its 2 values is 'no', so there is nothing to learn"),
        ([None, None], "no row has a value. Set target in env.yaml to the column to be predicted."),
        ([np.nan, np.nan], "no row has a value. Set target in env.yaml to the column to be predicted."),
        (MARKERS, "no row has a value. Set target in env.yaml to the column to be predicted."),
        ([np.inf, -np.inf], "no row has a value. Set target in env.yaml to the column to be predicted."),
    ],
)
def test_a_target_with_nothing_to_tell_apart_is_refused(target, said):
    with pytest.raises(BatonError, match=f"^column 'answer': {re.escape(said)}$"):
        learn(target)


@pytest.mark.parametrize(
    ("target", "ids", "said"),
    [
        ("Outcme", [], "lacks 1 of the columns it needs: 'Outcme' (did you mean 'Outcome'?); mend target in env.yaml"),
        ("xyz", [], "lacks 1 of the columns it needs: 'xyz'; mend target in env.yaml. It has: id, Age, Outcome"),
        (
            "Outcome",
            ["zip", "id", "age"],
            "lacks 2 of the columns it needs: 'zip', 'age' (did you mean 'Age'?); mend id_columns",
        ),
    ],
)
def test_a_missing_column_is_named_with_the_nearest_there_is(target, ids, said):
    table = pd.DataFrame({"id": [1, 2], "Age": [3, 4], "Outcome": [0, 1]})
    with pytest.raises(BatonError, match=re.escape(said)):
        contract.learn_contract(table, "demo", target, ids, "auto", "auto")


@pytest.mark.parametrize(
    ("changed", "features", "ignored"),
    [
        ({}, ["g", "x"], {}),
        ({"ids": "g"}, ["x"], {}),
        ({"ids": "g, g,"}, ["x"], {}),
        ({"ignore": ["g"]}, ["x"], {"g": "ignore_columns names it"}),
        ({"ids": "g", "ignore": "g"}, ["x"], {}),
        (
            {"split": "group", "split_by": "g"},
            ["x"],
            {"g": "rows are split by it: a model that knew it would fail on new ones"},
        ),
        ({"ids": "g", "split": "group", "split_by": "g"}, ["x"], {}),
        ({"split": "time", "split_by": "g"}, ["g", "x"], {}),
        ({"ignore": "g", "split": "time", "split_by": "g"}, ["x"], {"g": "ignore_columns names it"}),
        ({"g": [7, 7, 7]}, ["x"], {"g": "it has the same value in every row"}),
        ({"g": ["a ", "a", " a"]}, ["x"], {"g": "it has the same value in every row"}),
        ({"g": [7, None, 7]}, ["g", "x"], {}),
        ({"g": ["a", "?", "a"]}, ["g", "x"], {}),
        ({"g": [None, None, None]}, ["x"], {"g": "it has no value"}),
        ({"g": ["", "NA", "-"]}, ["x"], {"g": "it has no value"}),
        ({"ids": "g", "g": ["", "", ""]}, ["x"], {}),
    ],
)
def test_what_tells_a_model_nothing_is_no_feature(changed, features, ignored):
    learned = learn_columns(**{"g": [1, 1, 2], "x": [1, 2, 3]} | changed)
    assert (learned.features, learned.ignored) == (features, ignored)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ids": "answer"}, "id_columns names 'answer', which is the target; mend one of them in env.yaml"),
        ({"ignore": "answer"}, "ignore_columns names 'answer', which is the target; mend one of them in env.yaml"),
        ({"split": "group", "split_by": "answer"}, "split_by names 'answer', which is the target; mend one of them"),
        ({"ignore": "zip"}, "lacks 1 of the columns it needs: 'zip'; mend ignore_columns in env.yaml"),
        ({"split": "time", "split_by": "day"}, "lacks 1 of the columns it needs: 'day'; mend split_by in env.yaml"),
        ({"ids": "x"}, "the table of 'demo' has no column to learn from besides 'answer', ids and ignored ones"),
        ({"ignore": "x"}, "the table of 'demo' has no column to learn from besides 'answer', ids and ignored ones"),
        ({"x": [1, 1]}, "the table of 'demo' has no column to learn from besides 'answer', ids and ignored ones"),
        ({"ids": "row", "row": [1, 2]}, "id column 'row' has the name of a column that scoring writes; rename it in"),
        ({"ids": "probability_1", "probability_1": [1, 2]}, "id column 'probability_1' has the name of a column that"),
    ],
)
def test_a_column_that_cannot_have_its_part_is_refused(changed, said):
    with pytest.raises(BatonError, match=re.escape(said)):
        learn_columns(**{"x": [1, 2]} | changed)


def test_a_feature_may_have_any_name():
    assert learn_columns(row=[1, 2], fold=[3, 4], prediction=["a", "b"]).features == ["row", "fold", "prediction"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], "number"),
        ([0.5, None], "number"),
        (pd.array([1, None], dtype="Int64"), "number"),
        ([True, False], "boolean"),
        (pd.array([True, None], dtype="boolean"), "boolean"),
        ([True, False, None], "boolean"),
        (pd.to_datetime(["2024-01-01", None]), "date"),
        (["a", None], "text"),
        # A CSV has text alone.
        (["1", "2"], "number"),
        (["+1", "-2.5", " 5 ", "1e-3", ".5", "inf", *FEATURE_MARKERS], "number"),
        (["0", "0.5", "-0.25", "123456789012345"], "number"),
        (["0.12345678901234567", "1"], "number"),
        (["01067", "1"], "text"),
        (["-01", "1"], "text"),
        (["1234567890123456", "1"], "text"),
        (["-1234567890123456", "1"], "text"),
        (["1", "2", "x"], "text"),
        (["1,5", "2"], "text"),
        (["1,234", "-1,234,567.5", "12"], "number"),
        (["0,123", "1,234"], "text"),
        (["12,34", "1,234"], "text"),
        (["$1,929.15", "-$7.5", "$ 12", "5", "?"], "number $"),
        (["1,200 €", "5€"], "number €"),
        (["5%", "45.5 %"], "number %"),
        (["$5", "€5"], "text"),
        (["$5", "5$5"], "text"),
        (["$", "5"], "text"),
        (["0x1A", "1"], "text"),
        (["1_000", "1"], "text"),
        (["True", "false", "TRUE", "?"], "boolean"),
        (["yes", "no"], "text"),
        (["true", "1"], "text"),
        (["2024-03-05", "2024-03-06 12:30", "2024-03-07T12:30:15Z", ""], "date ISO8601"),
        (["2024-01", "2024-02"], "date ISO8601"),
        (["31.12.2020", "1.2.2020", "-"], "date %d.%m.%Y"),
        (["01.01.2020", "01.02.2020"], "date %d.%m.%Y"),
        (["31.12.2020 10:00", "01.02.2020 11:30"], "date %d.%m.%Y %H:%M"),
        (["12/31/2020", "01/02/2020"], "date %m/%d/%Y"),
        (["31/12/2020", "01/02/2020"], "date %d/%m/%Y"),
        (["5 Jan 2020", "15 Feb 2021"], "date %d %b %Y"),
        (["12/31/2020 11:59:00 PM", "1/2/2020 1:05:00 AM"], "date %m/%d/%Y %I:%M:%S %p"),
        (["12/31/2020 11:59:00 AM", "1/2/2020 1:05:00 PM"], "date %m/%d/%Y %I:%M:%S %p"),
        (["31.12.2020 11:59pm", "1.2.2020 1:05am"], "date %d.%m.%Y %I:%M%p"),
        (["10:30", "9:15"], "date %H:%M"),
        (["10:30:15", "09:15:00"], "date %H:%M:%S"),
        (["9999-12-31", "0001-01-01"], "date ISO8601"),
        # What looks like a date and is none.
        (["2:1", "3:0"], "text"),
        (["1.5 am", "2.5 pm"], "text"),
        (["25:00", "26:00"], "text"),
        (["20-30", "30-40"], "text"),
        (["05-09", "10-12"], "text"),
        (["1.2.3", "2.0.1"], "text"),
        (["10.0.0.1", "10.0.0.2"], "text"),
        (["555-1234", "555-9876"], "text"),
        (["120/80", "130/85"], "text"),
        (["2024-01-01", "soon"], "text"),
        (["2024-01-01", "31.12.2020"], "text"),
        (pd.Categorical(["1", "2"]), "number"),
        (pd.period_range("2024-01", periods=2, freq="M"), "date ISO8601"),
    ],
)
def test_the_kind_of_a_column_is_learned(values, kind):
    learned = learn_columns(a=values)
    assert " ".join([learned.columns["a"], *learned.formats.values()]) == kind


@pytest.mark.parametrize(
    ("values", "optional"),
    [([1, 2], []), ([1, None], ["a"]), (["x", "?"], ["a"]), ([np.inf, 1], ["a"]), (["1", "x"], [])],
)
def test_a_column_with_holes_is_optional(values, optional):
    assert learn_columns(a=values).optional == optional


def test_a_target_may_be_written_with_signs():
    prices = pd.DataFrame({"a": [1, 2, 3, 4], "price": ["$1,200", "$950.5", "$1,000", None]})
    learned = contract.learn_contract(prices, "flats", "price", None, "auto", "auto")
    assert (learned.task, learned.formats) == ("regression", {"price": "$"})
    assert learned.answers(prices).tolist() == pytest.approx([1200, 950.5, 1000, NAN], nan_ok=True)
    rates = pd.DataFrame({"a": [1, 2, 3], "rate": ["5%", "10%", "5 %"]})
    learned = contract.learn_contract(rates, "tax", "rate", None, "auto", "auto")
    assert (learned.labels, learned.answers(rates).tolist()) == ([5, 10], [5, 10, 5])


def test_a_name_or_target_that_looks_like_a_number_is_a_name():
    table = pd.DataFrame({"a": [1, 2], "2024": [0, 1]})
    learned = contract.learn_contract(table, 7, 2024, "none", "auto", "auto")
    assert (learned.name, learned.target, learned.id_columns) == ("7", "2024", [])


def test_rows_come_in_the_order_promised_and_without_other_columns():
    table = pd.DataFrame({"other": [0, 0], "b": ["x", "y"], "a": [1, 2], "answer": [0, 1]}, index=[9, 4])
    rows = promise(a="number", b="text").rows(table)
    pd.testing.assert_frame_equal(
        rows, pd.DataFrame({"a": [1.0, 2.0], "b": pd.Series(["x", "y"], dtype=object)}).set_axis([9, 4])
    )


def test_rows_of_a_table_whose_index_repeats_stay_as_many():
    table = pd.DataFrame({"a": [1, 2, 3], "b": [4, 5, 6]}, index=[0, 0, 1])
    assert promise(b="number", a="number").rows(table).to_numpy().tolist() == [[4, 1], [5, 2], [6, 3]]


def test_rows_leave_the_table_as_it_was():
    table = pd.DataFrame({"a": ["1", None], "b": [True, False], "c": ["?", " x"]})
    before = table.copy(deep=True)
    promise(a="number", b="boolean", c="text").rows(table)
    pd.testing.assert_frame_equal(table, before)


def test_an_optional_column_may_be_absent_and_another_may_not():
    learned = learn_columns(
        n=[1.5, None], b=[True, None], d=["2024-03-05", ""], t=["x", "?"], x=[1, 2], e=["31.12.2020", "-"]
    )
    rows = learned.rows(pd.DataFrame({"x": ["7"]}), "tonight.csv")
    assert [*map(str, rows.iloc[0])] == ["nan", "nan", "NaT", "None", "7.0", "NaT"]
    assert [*map(str, rows.dtypes)] == ["float64", "float64", "datetime64[us]", "object", "float64", "datetime64[us]"]
    assert learned.remarks(pd.DataFrame({"x": [7], "n": [1], "b": [1]})) == [
        f"column {column!r} is not there; it counts as missing" for column in "dte"
    ]
    with pytest.raises(BatonError, match=r"^tonight.csv lacks 1 of the columns it needs: 'x'\. It has: n$"):
        learned.rows(pd.DataFrame({"n": [1]}), "tonight.csv")


@pytest.mark.parametrize("values", [["inf", "1", "-Infinity", "?"], [np.inf, 1, -np.inf, None]])
def test_infinite_counts_as_missing_and_is_remarked(values):
    assert read(values, "number") == pytest.approx([NAN, 1, NAN, NAN], nan_ok=True)
    assert promise(a="number").remarks(pd.DataFrame({"a": values})) == [
        "column 'a': 2 infinite values count as missing"
    ]


OBJECTS = ["3", 3, 3.0, Decimal("3.0"), "?", None]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, 2], "number", [1.0, 2.0]),
        (["3", "3.0", " 3 ", "+3", "3e0", None], "number", [3.0] * 5 + [NAN]),
        (pd.Series(OBJECTS, dtype="object"), "number", [3.0] * 4 + [NAN] * 2),
        (["1,234", "-1,234,567.5", "12"], "number", [1234.0, -1234567.5, 12.0]),
        (["$1,929.15", "-$7.5", "$ 12", "5", "?"], "number $", [1929.15, -7.5, 12.0, 5.0, NAN]),
        (["1,200 €", 5], "number €", [1200.0, 5.0]),
        (["5%", 45.5], "number %", [5.0, 45.5]),
        (FEATURE_MARKERS, "number", [NAN] * len(FEATURE_MARKERS)),
        ([None, None], "number", [NAN, NAN]),
        (pd.array([1, None], dtype="Int64"), "number", [1.0, NAN]),
        ([True, False], "number", [1.0, 0.0]),
        ([True, False], "boolean", [1.0, 0.0]),
        ([True, None], "boolean", [1.0, NAN]),
        (pd.array([True, None], dtype="boolean"), "boolean", [1.0, NAN]),
        (["True", "false ", "FALSE", "1", "0.0", "n/a"], "boolean", [1.0, 0.0, 0.0, 1.0, 0.0, NAN]),
        (pd.Series([True, "true", 1, 1.0, "1", None], dtype="object"), "boolean", [1.0] * 5 + [NAN]),
        ([1, 0], "boolean", [1.0, 0.0]),
        ([1.0, None], "boolean", [1.0, NAN]),
        (FEATURE_MARKERS, "boolean", [NAN] * len(FEATURE_MARKERS)),
        ([NOON, None], "date", [NOON, pd.NaT]),
        ([NOON.tz_localize("Europe/Berlin"), None], "date", [NOON - pd.Timedelta("1h"), pd.NaT]),
        ([NOON.isoformat(), "2024-03-05 12:00", "2024-03-05T13:00+01:00", "?"], "date ISO8601", [NOON] * 3 + [pd.NaT]),
        (["05.03.2024", "5.3.2024", "2024-03-05", ""], "date %d.%m.%Y", [DAY] * 3 + [pd.NaT]),
        ([datetime.date(2024, 3, 5), None], "date %d.%m.%Y", [DAY, pd.NaT]),
        ([datetime.datetime(2024, 3, 5), None], "date %d.%m.%Y", [DAY, pd.NaT]),
        (["9:05", "12:00"], "date %H:%M", [pd.Timestamp("1900-01-01 09:05"), pd.Timestamp("1900-01-01 12:00")]),
        (["a", None], "text", ["a", None]),
        ([" a ", "A", "never seen"], "text", ["a", "A", "never seen"]),
        (FEATURE_MARKERS, "text", [None] * len(FEATURE_MARKERS)),
        ([10, 20], "text", ["10", "20"]),
        ([10.0, 1.5, None, np.inf], "text", ["10", "1.5", None, "inf"]),
        (pd.array([2**53 + 1, None], dtype="Int64"), "text", ["9007199254740993", None]),
        (["007", "7"], "text", ["007", "7"]),
        ([True, False], "text", ["True", "False"]),
        (pd.Categorical(["a", "?", None]), "text", ["a", None, None]),
    ],
)  # fmt: skip
def test_values_are_read_as_the_kind_promised(values, kind, expected):
    assert [*map(str, read(values, kind))] == [*map(str, expected)]


@pytest.mark.parametrize("values", [[1, 0], ["1", "0"], [True, False], [1.0, None], ["", None]])
@pytest.mark.parametrize("kind", ["number", "boolean"])
def test_numbers_and_booleans_are_float64_with_and_without_holes(values, kind):
    assert promise(a=kind).rows(pd.DataFrame({"a": values})).dtypes["a"] == "float64"


NIGHT = pd.DataFrame(
    {
        "number": ["3", " 3.0", "1e2", "-", "inf", ""],
        "boolean": ["true", "FALSE", "1", "?", "0.0", ""],
        "day": ["05.03.2024", "5.3.2024", "2024-03-05", "n/a", "31.12.9999", ""],
        "stamp": ["2024-03-05", "2024-03-05 12:00:00.123456", "2024-03-05T12:00Z", "NaT", "0001-01-01", ""],
        "time": ["10:30", "9:15", "00:00", "--", "23:59", ""],
        "text": ["01", "1", " 1.0", "none", "Ärger, \n;", ""],
    }
)
NIGHTLY = promise(
    number="number", boolean="boolean", day="date %d.%m.%Y", stamp="date ISO8601", time="date %H:%M", text="text"
)


def test_to_read_rows_twice_changes_nothing():
    rows = NIGHTLY.rows(NIGHT)
    pd.testing.assert_frame_equal(NIGHTLY.rows(rows), rows)


@pytest.mark.parametrize("row", range(len(NIGHT)))
def test_what_a_value_means_hangs_on_no_other_row(row):
    pd.testing.assert_frame_equal(NIGHTLY.rows(NIGHT.iloc[[row]]), NIGHTLY.rows(NIGHT).iloc[[row]])


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [
        (["1", "ten", None, "x"], "number", "2 of 4 values are not a number, the first of them 'ten' in row 2"),
        (["$5", "€6"], "number $", "1 of 2 values are not a number, the first of them '€6' in row 2"),
        (["$5"], "number", "1 of 1 values are not a number, the first of them '$5' in row 1"),
        ([None, "1,5"], "number", "1 of 2 values are not a number, the first of them '1,5' in row 2"),
        (["true", "1"], "number", "1 of 2 values are not a number, the first of them 'true' in row 1"),
        (["yes", "True"], "boolean", "1 of 2 values are not a boolean, the first of them 'yes' in row 1"),
        ([1, 7], "boolean", "1 of 2 values are not a boolean, the first of them 7 in row 2"),
        (["?", "soon"], "date ISO8601", "1 of 2 values are not a date, the first of them 'soon' in row 2"),
        (["05.03.2024"], "date ISO8601", "1 of 1 values are not a date, the first of them '05.03.2024' in row 1"),
        (["03/05/2024"], "date %d.%m.%Y", "1 of 1 values are not a date, the first of them '03/05/2024' in row 1"),
        # pandas would count these in nanoseconds since 1970, and a model would take them without a word.
        ([NOON, NOON], "number", "2 of 2 values are not a number, the first of them Timestamp('2024-03-05 12:00:00')"),
        ([20240305, 20240306], "date", "2 of 2 values are not a date, the first of them 20240305 in row 1"),
    ],
)
def test_values_of_another_kind_are_refused_with_the_first_of_them(values, kind, said):
    with pytest.raises(BatonError, match=f"^tonight.csv, column 'a': {re.escape(said)}"):
        promise(a=kind).rows(pd.DataFrame({"a": values}, index=[7] * len(values)), "tonight.csv")


def test_the_refusal_says_what_the_model_was_trained_on():
    with pytest.raises(BatonError, match=r"in row 1\. The model was trained on numbers there\.$"):
        read(["x"], "number")


def test_columns_that_are_missing_are_all_named():
    with pytest.raises(
        BatonError, match=re.escape("tonight.csv lacks 2 of the columns it needs: 'Age' (did you mean 'age'?), 'BMI'")
    ):
        promise(Age="number", BMI="number", id="text").rows(pd.DataFrame({"age": [1], "id": ["a"]}), "tonight.csv")


@pytest.mark.parametrize(
    ("values", "order"),
    [
        (["2024-03-06", "", "2024-03-05T23:59"], [2, NAN, 1]),
        (["1.3.2024", "2.1.2024", "13.12.2023"], [3, 2, 1]),
        ([NOON, None, NOON - pd.Timedelta("1us")], [2, NAN, 1]),
        (["10", "9.5", "inf"], [2, 1, NAN]),
        ([3, 1, 2], [3, 1, 2]),
    ],
)
def test_times_order_rows(values, order):
    for ignore in (None, "when"):
        learned = learn_columns(when=values, x=[1, 2, 3], split="time", split_by="when", ignore=ignore)
        assert learned.times(pd.DataFrame({"when": values})).rank().tolist() == pytest.approx(order, nan_ok=True)


def test_part_of_a_table_is_ordered_as_the_whole():
    """In the first two rows alone, the first number could be the month."""
    days = ["12/01/2024", "02/03/2024", "31/01/2024"]
    learned = learn_columns(when=days, split="time", split_by="when")
    assert learned.times(pd.DataFrame({"when": days[:2]})).rank().tolist() == [1, 2]


@pytest.mark.parametrize(("values", "kind"), [(["a", "b"], "text"), (["true", "false"], "boolean")])
def test_times_that_have_no_order_are_refused(values, kind):
    learned = learn_columns(when=values, split="time", split_by="when")
    with pytest.raises(
        BatonError, match=f"^split_by names 'when', which holds {kind}; split: time needs dates, or num"
    ):
        learned.times(pd.DataFrame({"when": values}))


@pytest.mark.parametrize(
    "target",
    [[0, 1], [0.0, 1.0, None], [True, False], ["yes", "no"], ["a", "b", "c"] * 2, [1, 2, 3] * 10, [0.1, 0.2, 0.3]],
)
def test_a_contract_is_read_back_as_it_was_written(tmp_path, target):
    learned = learn(target, ids=["id"])
    file = tmp_path / "contract.json"
    file.write_text(json.dumps(learned.to_dict()))
    assert contract.read_contract(str(file)) == learned


def test_a_contract_of_an_older_version_is_read(tmp_path):
    """It knew nothing of formats and of columns that may be absent."""
    older = {"name": "demo", "target": "y", "id_columns": ["id"], "columns": {"a": "number", "b": "date"}}
    older |= {"task": "binary", "why": "y has two values", "metric": "AUC", "labels": [0, 1]}
    file = tmp_path / "contract.json"
    file.write_text(json.dumps(older))
    known = contract.read_contract(str(file))
    assert known.to_dict() == older | {"formats": {}, "optional": [], "ignored": {}, "split": "hash", "split_by": None}
    assert known.rows(pd.DataFrame({"a": ["1"], "b": ["2024-03-05"]})).to_dict("list") == {"a": [1.0], "b": [DAY]}


@pytest.mark.parametrize(
    ("target", "codes"),
    [
        ([1, 0, 1], [1, 0, 1]),
        ([True, False], [1, 0]),
        (["true", "", "false"], [1, NAN, 0]),
        (["yes", "no", "yes"], [1, 0, 1]),
        (["stays", "stays", "leaves"], [0, 0, 1]),
        (["c", "a", "b"] * 2, [2, 0, 1] * 2),
        ([3, 1, 2] * 10, [2, 0, 1] * 10),
        ([0.1, 0.3, 0.2], [0.1, 0.3, 0.2]),
    ],
)
def test_classes_are_numbered_in_the_order_of_the_labels(target, codes):
    learned = learn(target)
    assert learned.encode(learned.answers(table_of(target))).tolist() == pytest.approx(codes, nan_ok=True)
