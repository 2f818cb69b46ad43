"""What question a table asks, and how raw rows are held to the contract that a model was trained with."""

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest

from baton import BatonError, config
from baton.data import contract, split, tables
from baton.data.values import Format

NAN = float("nan")
DAY = pd.Timestamp("2024-03-05")
NOON = pd.Timestamp("2024-03-05 12:00")
MARKERS = ["", " ", "?", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "Null", "nil", "<NA>", "NaT"]


def learn(table, target="answer", champion=None, **keys) -> contract.Contract:
    """Learn from a table with these keys in `env.yaml`."""
    settings = config.Settings(name="demo", target=target, train_data="t.csv", **keys)
    return contract.learn_contract(table, settings, champion)


def table_of(y) -> pd.DataFrame:
    """A table with this target and one number."""
    y = pd.Series(y)
    return pd.DataFrame({"x": np.arange(len(y)) / 2, "answer": y})


def learn_columns(columns: dict, **keys) -> contract.Contract:
    """Learn from a table with these columns beside a target of two classes."""
    rows = len(next(iter(columns.values())))
    return learn(pd.DataFrame({**columns, "answer": ([0, 1] * rows)[:rows]}), **keys)


def contract_of(**columns) -> contract.Contract:
    """A contract over columns of these formats."""
    return contract.Contract("demo", "answer", [], columns, "binary", "AUC", [0, 1])


NUMBER, COMMA, TEXT = Format("number"), Format("number", ","), Format("text")
BOOLEAN, DATE = Format("boolean"), Format("date")


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
        (["1,5", "2,5", "3,5", "3,5"], "regression", []),
    ],
)
def test_the_task_is_told_from_the_target(target, task, labels):
    learned = learn(table_of(target))
    assert (learned.task, learned.labels, [*map(type, learned.labels)]) == (task, labels, [*map(type, labels)])
    assert learned.metric == ("R2" if task == "regression" else "AUC")


@pytest.mark.parametrize(
    ("target", "y"),
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
def test_each_target_is_one_of_the_labels_or_none(target, y):
    table = table_of(target)
    given = learn(table).read_target(table)
    assert (given.tolist(), given.name, given.dtype) == (y, "answer", object)
    assert [*map(type, given)] == [*map(type, y)]


def test_the_target_of_a_regression_is_numbers_and_missing_ones():
    target = ["1", "?", "2.5", "-", "3e2", "inf", None]
    table = table_of(target).set_axis([*"abcdefg"])
    pd.testing.assert_series_equal(
        learn(table).read_target(table),
        pd.Series([1, NAN, 2.5, NAN, 300, NAN, NAN], [*"abcdefg"], name="answer", dtype="float64"),
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
def test_env_yaml_may_say_which_task_it_is(target, task, labels):
    learned = learn(table_of(target), task=task)
    assert (learned.task, learned.labels, learned.task_reason) == (task, labels, "env.yaml says so")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ([0, 1], "answer has two values"),
        (["a", "b", "c"] * 2, "answer holds 3 names"),
        ([1, 2, 3] * 10, "answer holds 3 whole numbers, each repeated"),
        ([0.1, 0.2, 0.3, 0.3], "answer holds 3 different numbers"),
    ],
)
def test_the_contract_says_why_it_took_a_task(target, reason):
    assert learn(table_of(target)).task_reason == reason


@pytest.mark.parametrize(
    ("target", "task", "said"),
    [
        (["a", "b", "a"], "regression", "column 'answer' holds text such as 'a'; task: regression needs numbers"),
        (["true", "false"], "regression", "column 'answer' holds boolean such as True; task: regression needs numbers"),
        (["a", "b", "c"], "binary", "column 'answer' has 3 different values; task: binary needs two"),
        ([1.5, 2.5, 3.5], "binary", "column 'answer' has 3 different values; task: binary needs two"),
        ([0, 1, 0], "multiclass", "column 'answer' has two different values; set task to binary, or auto"),
        (
            ["1 CHF", "2 CHF", "3 CHF", "3 CHF"],
            "auto",
            "column 'answer' holds 3 different values in 4 rows, too many to be classes. Is it the right target?"
            " For a quantity written as text, clean it in the table first.",
        ),
        ([0.1, 0.2, 0.3], "multiclass", "column 'answer' holds 3 different values in 3 rows, too many to be classes."),
    ],
)
def test_a_task_that_the_target_does_not_allow_is_refused(target, task, said):
    with pytest.raises(BatonError, match=re.escape(said)):
        learn(table_of(target), task=task)


@pytest.mark.parametrize(
    ("target", "labels", "reason"),
    [
        (["yes", "no", "yes", "yes"], ["no", "yes"], "affirmative"),
        (["Yes", "No", "Yes", "Yes"], ["No", "Yes"], "affirmative"),
        (["y", "n", "y"], ["n", "y"], "affirmative"),
        (["positive", "negative", "positive"], ["negative", "positive"], "affirmative"),
        (["Ja", "Nein", "Ja"], ["Nein", "Ja"], "affirmative"),
        ([1, 2, 1], [1, 2], "larger"),
        ([1, -1, 1], [-1, 1], "larger"),
        ([True, True, False], [False, True], "larger"),
        (["stays", "leaves", "stays"], ["stays", "leaves"], "rarer"),
        (["leaves", "stays", "leaves"], ["leaves", "stays"], "rarer"),
        (["yes", "true", "yes"], ["yes", "true"], "rarer"),
        (["up", "down"], ["up", "down"], "rarer"),  # of two as frequent the same one, in whatever order they come
        (["down", "up"], ["up", "down"], "rarer"),
    ],
)
def test_of_two_classes_the_positive_one_is_the_affirmative_else_the_rarer(target, labels, reason):
    learned = learn(table_of(target))
    assert (learned.labels, learned.positive, learned.positive_reason) == (labels, labels[-1], reason)


@pytest.mark.parametrize(
    ("target", "positive", "labels"),
    [
        (["success", "failure", "success"], "success", ["failure", "success"]),
        (["success", "failure", "success"], " Failure ", ["success", "failure"]),
        (["yes", "no"], "no", ["yes", "no"]),
        (["Yes", "No"], False, ["Yes", "No"]),  # YAML reads `positive: no` as false
        ([0, 1, 1], "0", [1, 0]),
        ([0, 1, 1], 0, [1, 0]),
        (["0.0", "1.0"], 1, [0, 1]),
        ([-1, 1], -1, [1, -1]),
        ([True, False], "false", [True, False]),
        ([True, False], False, [True, False]),
        (["true", "false"], "False", [True, False]),
    ],
)
def test_env_yaml_may_name_the_positive_class(target, positive, labels):
    table = table_of(target)
    learned = learn(table, positive=positive, champion=learn(table))
    assert (learned.labels, learned.positive_reason) == (labels, "setting")
    assert learned.encode(learned.read_target(table)).max() == 1


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (["C ", "c", "C"], "positive names 'c', and the target has 'C' and 'c'; correct positive in env.yaml"),
        (["a", "b"], "positive names 'c', and the target has 'a' and 'b'; correct positive in env.yaml"),
        (["a", "b", "d"] * 2, "positive names 'c', and a multiclass question has no positive class: set it to auto"),
        ([0.1, 0.2, 0.3], "positive names 'c', and a regression question has no positive class: set it to auto"),
    ],
)
def test_a_positive_class_that_there_is_not_is_refused(target, said):
    with pytest.raises(BatonError, match=f"^{re.escape(said)}$"):
        learn(table_of(target), positive="c")


def test_the_positive_class_of_a_champion_stays_when_it_becomes_the_more_frequent_one():
    champion = learn(table_of(["win"] * 501 + ["loss"] * 499))
    later = table_of(["win"] * 501 + ["loss"] * 503)
    assert (champion.positive, learn(later).positive) == ("loss", "win")
    learned = learn(later, champion=champion)
    assert (learned.labels, learned.positive_reason) == (["win", "loss"], "champion")
    assert learn(later, champion=contract.Contract.from_dict(champion.to_dict())) == learned


@pytest.mark.parametrize(
    ("champions", "target", "positive"),
    [
        (["win", "loss", "loss"], ["up", "down", "down"], "up"),  # other classes
        (["win", "loss", "draw"] * 2, ["win", "loss", "loss"], "win"),  # the champion answers another question
        (["a", "b", "c"] * 2, [1, 0], 1),
    ],
)
def test_a_champion_of_other_classes_does_not_choose_the_positive_one(champions, target, positive):
    assert learn(table_of(target), champion=learn(table_of(champions))).positive == positive


WINE = [3, 4, 5, 6, 7, 8] * 10
KEPT = "that is what the champion answers; without it, it would be {}, because {}"


@pytest.mark.parametrize(
    ("champions", "target", "task", "reason"),
    [
        (WINE, WINE[:40], "multiclass", KEPT.format("regression", "answer holds 6 different numbers")),
        (WINE[:40], WINE, "regression", KEPT.format("multiclass", "answer holds 6 whole numbers, each repeated")),
        (
            [*range(20)] * 10,
            [*range(21)] * 10,
            "multiclass",
            KEPT.format("regression", "answer holds 21 different numbers"),
        ),
        # What the table does not allow is not kept.
        (WINE, [0, 1] * 10, "binary", "answer has two values"),
        ([0, 1] * 10, WINE, "multiclass", "answer holds 6 whole numbers, each repeated"),
        (WINE[:40], ["a", "b", "c"] * 9, "multiclass", "answer holds 3 names"),
    ],
)
def test_a_growing_table_never_changes_the_task_of_a_champion(champions, target, task, reason):
    learned = learn(table_of(target), champion=learn(table_of(champions)))
    assert (learned.task, learned.task_reason) == (task, reason)


def test_a_champion_of_another_target_has_no_say():
    champion = learn(table_of(WINE).rename(columns={"answer": "other"}), target="other", task="regression")
    assert learn(table_of(WINE), champion=champion).task == "multiclass"


def test_env_yaml_comes_before_the_champion():
    learned = learn(table_of(WINE), task="regression", champion=learn(table_of(WINE)))
    assert (learned.task, learned.task_reason) == ("regression", "env.yaml says so")


def test_an_interval_is_for_numbers_alone():
    said = "interval is 0.9, and 'answer' asks a binary question: only a predicted number has an interval. Set interval: none"
    with pytest.raises(BatonError, match=re.escape(said)):
        learn(table_of([0, 1]), interval=0.9)
    assert learn(table_of([0.1, 0.2, 0.3]), interval=0.9).task == "regression"


@pytest.mark.parametrize("target", [["a", "b", "c"] * 2, [0.1, 0.2, 0.3]])
def test_other_questions_have_no_positive_class(target):
    assert learn(table_of(target)).positive is None


@pytest.mark.parametrize(("target", "task"), [(["a", "b", "c"] * 2, "multiclass"), ([0.1, 0.2, 0.3], "regression")])
@pytest.mark.parametrize("threshold", [0.5, {"cost": {"miss": 10.0, "alarm": 1.0}}])
def test_a_threshold_is_for_binary_questions_alone(target, task, threshold):
    said = f"threshold is {threshold}, and a {task} question has no positive class: set it to auto"
    with pytest.raises(BatonError, match=re.escape(said)):
        learn(table_of(target), threshold=threshold)
    assert learn(table_of(target), threshold="auto").threshold is None
    assert learn(table_of([0, 1]), threshold=threshold).threshold is None  # `fit` chooses it


@pytest.mark.parametrize(
    ("target", "metric"),
    [([0, 1], "Log Loss"), (["a", "b", "c"] * 2, "F1"), ([0.1, 0.2, 0.3], "MAE"), ([0, 1], "Average Precision")],
)
def test_a_metric_may_be_chosen(target, metric):
    assert learn(table_of(target), metric=metric).metric == metric


@pytest.mark.parametrize(
    ("target", "metric", "said"),
    [
        ([0, 1], "R2", "metric 'R2' can't score a binary question. Choose one of: AUC, Accuracy"),
        (
            ["a", "b", "c"] * 2,
            "Average Precision",
            "metric 'Average Precision' can't score a multiclass question. Choose one of: AUC",
        ),
        ([0.1, 0.2, 0.3], "AUC", "metric 'AUC' can't score a regression question. Choose one of: R2, MAE"),
    ],
)
def test_a_metric_of_another_question_is_refused(target, metric, said):
    with pytest.raises(BatonError, match=re.escape(said)):
        learn(table_of(target), metric=metric)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ([1, 1, 1], "every one of its 3 values is 1.0: there is nothing to learn"),
        (["1", "-", "1"], "every one of its 2 values is 1.0: there is nothing to learn"),
        (["no", None, "no"], "every one of its 2 values is 'no': there is nothing to learn"),
        ([None, None], "no row has a value. Set target in env.yaml to the column to be predicted."),
        ([np.nan, np.nan], "no row has a value. Set target in env.yaml to the column to be predicted."),
        (MARKERS, "no row has a value. Set target in env.yaml to the column to be predicted."),
        ([np.inf, -np.inf], "no row has a value. Set target in env.yaml to the column to be predicted."),
    ],
)
def test_a_target_with_nothing_to_tell_apart_is_refused(target, said):
    with pytest.raises(BatonError, match=f"^column 'answer': {re.escape(said)}$"):
        learn(table_of(target))


@pytest.mark.parametrize(
    ("target", "ids", "said"),
    [
        (
            "Outcme",
            [],
            "lacks 1 of the columns it needs: 'Outcme' (did you mean 'Outcome'?); correct target in env.yaml",
        ),
        ("xyz", [], "lacks 1 of the columns it needs: 'xyz'; correct target in env.yaml. It has: id, Age, Outcome"),
        (
            "Outcome",
            ["zip", "id", "age"],
            "lacks 2 of the columns it needs: 'zip', 'age' (did you mean 'Age'?); correct id_columns",
        ),
    ],
)
def test_a_missing_column_is_named_with_the_nearest_there_is(target, ids, said):
    table = pd.DataFrame({"id": [1, 2], "Age": [3, 4], "Outcome": [0, 1]})
    with pytest.raises(BatonError, match=re.escape(said)):
        learn(table, target, id_columns=ids)


@pytest.mark.parametrize(
    ("g", "keys", "features", "ignored"),
    [
        ([1, 1, 2], {}, ["g", "x"], {}),
        ([1, 1, 2], {"id_columns": "g"}, ["x"], {}),
        ([1, 1, 2], {"id_columns": "g, g,"}, ["x"], {}),
        ([1, 1, 2], {"ignore_columns": ["g"]}, ["x"], {"g": "setting"}),
        ([1, 1, 2], {"id_columns": "g", "ignore_columns": "g"}, ["x"], {}),
        ([1, 1, 2], {"split": "group", "split_by": "g"}, ["x"], {"g": "split_by"}),
        ([1, 1, 2], {"id_columns": "g", "split": "group", "split_by": "g"}, ["x"], {}),
        ([1, 1, 2], {"split": "time", "split_by": "g"}, ["g", "x"], {}),
        ([1, 1, 2], {"ignore_columns": "g", "split": "time", "split_by": "g"}, ["x"], {"g": "setting"}),
        ([7, 7, 7], {}, ["x"], {"g": "constant"}),
        (["a ", "a", " a"], {}, ["x"], {"g": "constant"}),
        ([7, None, 7], {}, ["g", "x"], {}),
        (["a", "?", "a"], {}, ["g", "x"], {}),
        ([None, None, None], {}, ["x"], {"g": "empty"}),
        (["", "NA", "-"], {}, ["x"], {"g": "empty"}),
        (["", "", ""], {"id_columns": "g"}, ["x"], {}),
        ([7, 7, 7], {"ignore_columns": "g"}, ["x"], {"g": "constant"}),
    ],
)
def test_what_tells_a_model_nothing_is_no_feature(g, keys, features, ignored):
    learned = learn_columns({"g": g, "x": [1, 2, 3]}, **keys)
    assert (learned.features, learned.ignored) == (features, ignored)
    assert set(ignored.values()) <= set(contract.IGNORED)


def test_a_column_without_a_name_is_left_out_and_identifies_no_row():
    """It is the number of the row, as pandas writes it, and another one after each export."""
    learned = learn_columns(
        {"": [0, 1, 2], "e": [None] * 3, "c": [1] * 3, "x": [1, 2, 3], "g": [1, 1, 2]},
        split="group",
        split_by="g",
        ignore_columns="e",
    )
    assert learned.ignored == {"": "unnamed", "e": "empty", "c": "constant", "g": "split_by"}
    assert learned.uninformative == ["e", "c"]


@pytest.mark.parametrize(
    ("columns", "keys", "said"),
    [
        (
            {},
            {"id_columns": "answer"},
            "id_columns names 'answer', which is the target; correct one of them in env.yaml",
        ),
        (
            {},
            {"ignore_columns": "answer"},
            "ignore_columns names 'answer', which is the target; correct one of them in env.yaml",
        ),
        (
            {},
            {"split": "group", "split_by": "answer"},
            "split_by names 'answer', which is the target; correct one of them",
        ),
        ({}, {"ignore_columns": "zip"}, "lacks 1 of the columns it needs: 'zip'; correct ignore_columns in env.yaml"),
        (
            {},
            {"split": "time", "split_by": "day"},
            "lacks 1 of the columns it needs: 'day'; correct split_by in env.yaml",
        ),
        (
            {},
            {"id_columns": "x"},
            "the table of 'demo' has no column to learn from besides 'answer', ids and ignored ones",
        ),
        (
            {},
            {"ignore_columns": "x"},
            "the table of 'demo' has no column to learn from besides 'answer', ids and ignored ones",
        ),
        ({"x": [1, 1]}, {}, "the table of 'demo' has no column to learn from besides 'answer', ids and ignored ones"),
        (
            {"row": [1, 2]},
            {"id_columns": "row"},
            "id column 'row' has the name of a column that scoring writes; rename it in",
        ),
        (
            {"probability_1": [1, 2]},
            {"id_columns": "probability_1"},
            "id column 'probability_1' has the name of a column that",
        ),
    ],
)
def test_a_column_that_cannot_be_used_so_is_refused(columns, keys, said):
    with pytest.raises(BatonError, match=re.escape(said)):
        learn_columns({"x": [1, 2]} | columns, **keys)


def test_a_feature_may_have_any_name():
    assert learn_columns({"row": [1, 2], "fold": [3, 4], "prediction": ["a", "b"]}).features == [
        "row",
        "fold",
        "prediction",
    ]


@pytest.mark.parametrize(
    ("column", "optional"),
    [([1, 2], []), ([1, None], ["a"]), (["x", "?"], ["a"]), ([np.inf, 1], ["a"]), (["1", "x"], [])],
)
def test_a_column_with_missing_values_is_optional(column, optional):
    assert learn_columns({"a": column}).optional == optional


def test_a_contract_says_how_each_column_and_the_target_is_written():
    table = {"n": ["1,5", "2"], "m": [1.5, 2], "d": ["31.12.2020", "1.2.2020"], "t": ["a", "b"], "f": ["true", "false"]}
    learned = learn(pd.DataFrame({**table, "answer": ["1.200,50 €", "7 €"]}), task="regression")
    assert learned.columns == {
        "n": dataclasses.replace(COMMA, thousands=False),
        "m": Format("number", None),
        "d": Format("date", date="%d.%m.%Y"),
        "t": TEXT,
        "f": BOOLEAN,
    }
    assert learned.target_format == Format("number", ",", "€")
    assert learned.kinds == {"n": "number", "m": "number", "d": "date", "t": "text", "f": "boolean"}


def test_a_target_may_be_written_with_signs():
    prices = pd.DataFrame({"a": [1, 2, 3, 4], "price": ["$1,200", "$950.5", "$1,000", None]})
    learned = learn(prices, "price")
    assert (learned.task, learned.target_format) == ("regression", Format("number", ".", "$"))
    assert learned.read_target(prices).tolist() == pytest.approx([1200, 950.5, 1000, NAN], nan_ok=True)
    rates = pd.DataFrame({"a": [1, 2, 3], "rate": ["5%", "10%", "5 %"]})
    learned = learn(rates, "rate")
    assert (learned.labels, learned.read_target(rates).tolist()) == ([5, 10], [5, 10, 5])


def test_features_come_in_the_order_of_the_contract_and_without_other_columns():
    table = pd.DataFrame({"other": [0, 0], "b": ["x", "y"], "a": [1, 2], "answer": [0, 1]}, index=[9, 4])
    pd.testing.assert_frame_equal(
        contract_of(a=NUMBER, b=TEXT).read_features(table),
        pd.DataFrame({"a": [1.0, 2.0], "b": pd.Series(["x", "y"], dtype=object)}).set_axis([9, 4]),
    )


def test_a_table_whose_index_repeats_keeps_its_rows():
    table = pd.DataFrame({"a": [1, 2, 3], "b": [4, 5, 6], "answer": [0, 1, None]}, index=[0, 0, 1])
    learned = contract_of(b=NUMBER, a=NUMBER)
    assert learned.read_features(table).to_numpy().tolist() == [[4, 1], [5, 2], [6, 3]]
    assert learned.read_target(table).tolist() == [0, 1, None]


def test_a_table_of_no_rows_is_read():
    table = pd.DataFrame({"n": [], "d": [], "t": [], "b": []}, dtype="object")
    rows = contract_of(n=COMMA, d=DATE, t=TEXT, b=BOOLEAN).read_features(table)
    assert rows.dtypes.astype(str).tolist() == ["float64", "datetime64[us]", "object", "float64"]
    assert len(rows) == 0


def test_reading_leaves_the_table_as_it_was():
    table = pd.DataFrame({"a": ["1", None], "b": [True, False], "c": ["?", " x"]})
    before = table.copy(deep=True)
    contract_of(a=NUMBER, b=BOOLEAN, c=TEXT).read_features(table)
    pd.testing.assert_frame_equal(table, before)


def test_an_optional_column_may_be_absent_and_another_may_not():
    learned = learn_columns(
        {
            "n": [1.5, None],
            "b": [True, None],
            "d": ["2024-03-05", ""],
            "t": ["x", "?"],
            "x": [1, 2],
            "e": ["31.12.2020", "-"],
        }
    )
    rows = learned.read_features(pd.DataFrame({"x": ["7"]}), "tonight.csv")
    assert [*map(str, rows.iloc[0])] == ["nan", "nan", "NaT", "None", "7.0", "NaT"]
    assert [*map(str, rows.dtypes)] == ["float64", "float64", "datetime64[us]", "object", "float64", "datetime64[us]"]
    assert learned.remarks(pd.DataFrame({"x": [7], "n": [1], "b": [1]})) == [
        f"column {column!r} is not there; it counts as missing" for column in "dte"
    ]
    with pytest.raises(BatonError, match=r"^tonight.csv lacks 1 of the columns it needs: 'x'\. It has: n$"):
        learned.read_features(pd.DataFrame({"n": [1]}), "tonight.csv")


@pytest.mark.parametrize("column", [["inf", "1", "-Infinity", "?"], [np.inf, 1, -np.inf, None]])
def test_infinite_counts_as_missing_and_is_remarked(column):
    table = pd.DataFrame({"a": column})
    assert contract_of(a=NUMBER).read_features(table)["a"].tolist() == pytest.approx([NAN, 1, NAN, NAN], nan_ok=True)
    assert contract_of(a=NUMBER).remarks(table) == ["column 'a': 2 infinite values count as missing"]


@pytest.mark.parametrize(
    ("batch", "weights"),
    [
        ("id;weight;price\n1;1.234;7 €\n", [1234]),
        ("id;weight;price\n1;1.234;7 €\n2;2500,5;7 €\n", [1234, 2500.5]),
        ('id,weight,price\n1,1.234,7 €\n2,"2500,5",7 €\n', [1234, 2500.5]),
        ("id\tweight\tprice\n1\t1.234,5\t7 €\n", [1234.5]),
        (pd.DataFrame({"weight": ["1.234", "2500,5"], "price": "1.234,50 €"}), [1234, 2500.5]),
        (pd.DataFrame({"weight": [1234.0, 2500.5], "price": [7, 7]}), [1234, 2500.5]),
        ("id;weight;price\n1;1234.5;7 €\n2;12;7 €\n", "1 of 2 values are not a number, the first of them '1234.5' in row 1"),
        ("id;weight;price\n1;12;7 €\n2;1,234.5;7 €\n", "1 of 2 values are not a number, the first of them '1,234.5' in row 2"),
    ],
)  # fmt: skip
def test_numbers_mean_the_same_in_every_batch(tmp_path, batch, weights):
    """A batch without any comma was once read with decimal points: a thousandfold error."""
    training = tmp_path / "training.csv"
    training.write_text("id;weight;price;answer\n1;1.234;1.234,50 €;yes\n2;2500,5;7 €;no\n3;0,5;1.000 €;no\n")
    learned = learn(tables.read_table(training), id_columns="id")
    path = tmp_path / ("batch.csv" if isinstance(batch, str) else "batch.parquet")
    if isinstance(batch, str):
        path.write_text(batch)
    else:
        batch.to_parquet(path)
    if isinstance(weights, list):
        assert learned.read_features(tables.read_table(path), "batch")["weight"].tolist() == weights
    else:
        with pytest.raises(BatonError) as raised:
            learned.read_features(tables.read_table(path), "batch")
        assert str(raised.value) == (
            f"batch, column 'weight': {weights}. The model was trained on numbers there, written with a decimal comma, as"
            " 1.234,5."
        )


@pytest.mark.parametrize(
    ("batch", "weight", "mark"),
    [
        ("weight;size;note\n1.234;1,5;a\n", 1234, "comma"),  # the other column has one
        ("weight;size;note\n1.234;1.5;a\n", 1.234, "point"),
        ("weight;size;note\n1.234;1;2.5\n", 1.234, "point"),  # though it is no feature
        ("weight;size;note\n1.234;1;a\n", 1234, "comma"),  # usual in such a file
        ("weight,size,note\n1.234,1,a\n", 1.234, "point"),
        ("weight;size;note\n1.234;1;a\n2,5;1;a\n", 1234, None),
        ("weight;size;note\n1.234;1;a\n2.5;1;a\n", 1.234, None),
        ("weight;size;note\n1234;1;a\n", 1234, None),
    ],
)
def test_numbers_that_were_no_text_in_training_are_read_as_training_reads_text_and_what_is_doubtful_is_said(
    tmp_path, batch, weight, mark
):
    """Trained from Parquet or a database, and scored from a CSV: only its rows can tell the mark."""
    learned = learn_columns({"weight": [1234.0, 2500.5], "size": [1.5, 2.5], "note": ["a", "b"]}, ignore_columns="note")
    (tmp_path / "batch.csv").write_text(batch)
    rows = tables.read_table(tmp_path / "batch.csv")
    assert learned.read_features(rows)["weight"][0] == learned.settle(rows).read_features(rows)["weight"][0] == weight
    said = "column 'weight' can be read in two ways, since it was no text in training: its numbers are taken as written"
    doubts = learned.doubts(rows)
    assert len(doubts) == (mark is not None)
    assert not doubts or doubts[0].startswith(f"{said} with a decimal {mark}, as 1")


def test_a_price_in_quotes_is_a_number_wherever_it_is_stored(tmp_path):
    """`1.234,50 €` in a CSV that commas delimit, and in Parquet."""
    prices = pd.DataFrame({"price": ["1.234,50 €", "7 €", "1.000 €"], "answer": [0, 1, 0]})
    prices.to_csv(tmp_path / "a.csv", index=False)
    prices.to_parquet(tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        table = tables.read_table(tmp_path / name)
        assert learn(table).read_features(table)["price"].tolist() == [1234.5, 7, 1000]


@pytest.mark.parametrize(
    ("column", "how", "said"),
    [
        (["1", "ten", None, "x"], NUMBER, "2 of 4 values are not a number, the first of them 'ten' in row 2. The model was trained on numbers there, written with a decimal point, as 1,234.5."),
        (["$5", "€6"], Format("number", ".", "$"), "1 of 2 values are not a number, the first of them '€6' in row 2. The model was trained on numbers there, written with a decimal point, as 1,234.5 and $."),
        ([1, 7], BOOLEAN, "1 of 2 values are not a boolean, the first of them 7 in row 2. The model was trained on booleans there."),
        (["?", "soon"], DATE, "1 of 2 values are not a date, the first of them 'soon' in row 2. The model was trained on dates there."),
        (["03/05/2024"], Format("date", date="%d.%m.%Y"), "1 of 1 values are not a date, the first of them '03/05/2024' in row 1. The model was trained on dates there, written as %d.%m.%Y."),
        ([NOON, NOON], NUMBER, "2 of 2 values are not a number, the first of them Timestamp('2024-03-05 12:00:00') in row 1. The model was trained on numbers there, written with a decimal point, as 1,234.5."),
    ],
)  # fmt: skip
def test_values_of_another_format_are_refused_with_the_first_of_them(column, how, said):
    with pytest.raises(BatonError, match=f"^tonight.csv, column 'a': {re.escape(said)}$"):
        contract_of(a=how).read_features(pd.DataFrame({"a": column}, index=[7] * len(column)), "tonight.csv")


def test_columns_that_are_missing_are_all_named():
    with pytest.raises(
        BatonError, match=re.escape("tonight.csv lacks 2 of the columns it needs: 'Age' (did you mean 'age'?), 'BMI'")
    ):
        contract_of(Age=NUMBER, BMI=NUMBER, id=TEXT).read_features(
            pd.DataFrame({"age": [1], "id": ["a"]}), "tonight.csv"
        )


@pytest.mark.parametrize(
    ("column", "order"),
    [
        (["2024-03-06", "", "2024-03-05T23:59"], [2, NAN, 1]),
        (["1.3.2024", "2.1.2024", "13.12.2023"], [3, 2, 1]),
        ([NOON, None, NOON - pd.Timedelta("1us")], [2, NAN, 1]),
        (["10", "9.5", "inf"], [2, 1, NAN]),
        (["1.000", "9,5", "?"], [2, 1, NAN]),
        ([3, 1, 2], [3, 1, 2]),
    ],
)
def test_times_order_rows(column, order):
    for ignored in ("none", "when"):
        learned = learn_columns({"when": column, "x": [1, 2, 3]}, split="time", split_by="when", ignore_columns=ignored)
        assert learned.read_times(pd.DataFrame({"when": column})).rank().tolist() == pytest.approx(order, nan_ok=True)


def test_part_of_a_table_is_ordered_as_the_whole():
    """In the first two rows alone, the first number could be the month."""
    days = ["12/01/2024", "02/03/2024", "31/01/2024"]
    learned = learn_columns({"when": days}, split="time", split_by="when")
    assert learned.read_times(pd.DataFrame({"when": days[:2]})).rank().tolist() == [1, 2]


@pytest.mark.parametrize(("column", "kind"), [(["a", "b"], "text"), (["true", "false"], "boolean")])
def test_times_that_have_no_order_are_refused(column, kind):
    learned = learn_columns({"when": column}, split="time", split_by="when")
    with pytest.raises(
        BatonError, match=f"^split_by names 'when', which holds {kind}; split: time needs dates, or num"
    ):
        learned.read_times(pd.DataFrame({"when": column}))


@pytest.mark.parametrize(
    "target",
    [
        [0, 1],
        [0.0, 1.0, None],
        [True, False],
        ["yes", "no"],
        ["a", "b", "c"] * 2,
        [1, 2, 3] * 10,
        ["1.5 €", "2 €", "3 €"],
    ],
)
def test_a_contract_is_read_back_as_it_was_written(tmp_path, target):
    table = table_of(target).assign(d="31.12.2020", e=None, c=["1,5", *["2"] * (len(target) - 1)])
    learned = learn(table, id_columns="x", split="time", split_by="d")
    file = tmp_path / "contract.json"
    file.write_text(json.dumps(learned.to_dict()))
    assert contract.read_contract(str(file)) == learned


# Contracts, and what they read, as version 0.1 wrote them (commit 7adaa0d).
OLDER = {
    "binary": {
        "contract": """{"name": "churn", "target": "left", "id_columns": ["id"], "columns": {"paid": "number", "since": "date", "town": "text", "note": "text"}, "task": "binary", "why": "left has two values", "metric": "AUC", "labels": ["no", "yes"], "formats": {"paid": "$", "since": "%d.%m.%Y"}, "optional": ["note"], "ignored": {}, "split": "hash", "split_by": null}""",
        "rows": [
            'id,paid,since,town,note,left\n1,"$1,200.50",05.03.2024,Bern,,yes\n2,$950,31.12.2023,Oslo,x,no\n',
            "left;note;town;since;paid;id\nyes;;Bern;5.3.2024;1.200,5 $;1\nno;x;Oslo;2023-12-31;950;2\n",
        ],
        "features": {"paid": [1200.5, 950.0], "since": [DAY, pd.Timestamp("2023-12-31")], "town": ["Bern", "Oslo"], "note": [None, "x"]},
        "y": ["yes", "no"],
    },
    "multiclass": {
        "contract": """{"name": "colors", "target": "color", "id_columns": [], "columns": {"a": "number", "flag": "boolean"}, "task": "multiclass", "why": "color holds 3 names", "metric": "AUC", "labels": ["blue", "green", "red"], "formats": {}, "optional": ["flag"], "ignored": {"c": "it has the same value in every row", "": "it has no name"}, "split": "hash", "split_by": null}""",
        "rows": ["a,flag,color\n1.234,true,red\n3.5,?,blue\n", "a;flag;color\n1,234;TRUE;red\n3,5;;blue\n", "a,color\n1.234,red\n3.5,blue\n"],
        "features": {"a": [1.234, 3.5]},
        "y": ["red", "blue"],
    },
    "regression": {
        "contract": """{"name": "flats", "target": "price", "id_columns": [], "columns": {"size": "number", "room": "number", "old": "date"}, "task": "regression", "why": "price holds 3 different numbers", "metric": "R2", "labels": [], "formats": {"old": "%d.%m.%Y", "price": "\\u20ac"}, "optional": ["size"], "ignored": {}, "split": "time", "split_by": "old"}""",
        "rows": [
            "size;room;old;price\n1.234,5;2,5;05.03.2024;1.200,50 €\n;1;05.03.2024;1.000 €\n",
            'size,room,old,price\n"1,234.5",2.5,2024-03-05,1200.5\n,1,05.03.2024,"€1,000"\n',
        ],
        "features": {"size": [1234.5, NAN], "room": [2.5, 1.0], "old": [DAY, DAY]},
        "y": [1200.5, 1000],
    },
}  # fmt: skip


@pytest.mark.parametrize("older", OLDER.values(), ids=OLDER)
def test_a_contract_of_version_0_1_reads_rows_as_that_version_did(tmp_path, older):
    learned = contract.Contract.from_dict(json.loads(older["contract"]))
    for number, rows in enumerate(older["rows"]):
        (tmp_path / f"{number}.csv").write_text(rows)
        table = tables.read_table(tmp_path / f"{number}.csv")
        features = learned.read_features(table)[[*older["features"]]]
        assert str(features.to_dict("list")) == str(older["features"])
        assert learned.read_target(table).tolist() == older["y"]
    assert contract.Contract.from_dict(learned.to_dict()) == learned


@pytest.mark.parametrize(("rows", "size"), [("1.234;1;x", 1234), ("1.234;1.5;x", 1.234), ("1,234;1;x", 1.234), ("1.234;1;x\n2,5;1;x", 1234), ("1.234.567;1;x\n2,5;1;x", 1234567)])  # fmt: skip
def test_a_contract_of_version_0_1_tells_the_decimal_mark_from_the_rows(tmp_path, rows, size):
    (tmp_path / "a.csv").write_text(f"size;room;t\n{rows}\n")
    learned = contract.Contract.from_dict(json.loads(OLDER["regression"]["contract"]) | {"columns": {"size": "number"}})
    assert learned.read_features(tables.read_table(tmp_path / "a.csv"))["size"][0] == size


def test_an_older_contract_keeps_its_facts_in_fields():
    learned = contract.Contract.from_dict(json.loads(OLDER["multiclass"]["contract"]))
    assert learned.ignored == {"c": "constant", "": "unnamed"}
    assert learned.uninformative == ["c"]
    assert learned.task_reason == "color holds 3 names"


def test_a_contract_that_lacks_fields_or_has_more_opens():
    oldest = {"name": "demo", "target": "y", "id_columns": ["id"], "columns": {"a": "number", "b": "date"}}
    oldest |= {"task": "binary", "why": "y has two values", "metric": "AUC", "labels": [0, 1]}
    learned = contract.Contract.from_dict(oldest)
    rows = pd.DataFrame({"a": ["1"], "b": ["2024-03-05"]})
    assert learned.read_features(rows).to_dict("list") == {"a": [1.0], "b": [DAY]}
    assert (learned.threshold, learned.weight, learned.read_weights(rows)) == (None, None, None)
    newer = learned.to_dict() | {"unit": "kg"}
    newer["target_format"] = newer["target_format"] | {"locale": "de"}
    assert contract.Contract.from_dict(newer) == learned
    assert contract.Contract.from_dict(newer | {"threshold": 0.25}).threshold == 0.25


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
    learned = learn(table_of(target))
    assert learned.encode(learned.read_target(table_of(target))).tolist() == pytest.approx(codes, nan_ok=True)


def weigh(weights) -> pd.DataFrame:
    """A table with these weights, in which each third row has no target."""
    count = len(weights)
    return pd.DataFrame({"x": np.arange(count) / 2, "w": weights, "answer": (["a", "b", None] * count)[:count]})


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4]),
        (["1,5", "0,25", "2", "1.000,5"], [1.5, 0.25, 2, 1000.5]),
        ([0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]),
    ],
)
def test_a_column_of_weights_is_no_feature_and_not_needed_where_rows_are_scored(tmp_path, weights, expected):
    table = weigh(weights)
    learned = learn(table, weight="w")
    (tmp_path / "contract.json").write_text(json.dumps(learned.to_dict()))
    again = contract.read_contract(tmp_path / "contract.json")
    assert again == learned
    assert (again.features, again.ignored["w"] in contract.IGNORED) == (["x"], True)
    assert again.read_weights(table).tolist() == expected
    assert again.read_weights(table.tail(1)).tolist() == expected[3:]  # however a part of the table looks
    assert again.read_features(table.drop(columns="w"))["x"].tolist() == table["x"].tolist()
    assert learn(table, ignore_columns="w").read_weights(table) is None


@pytest.mark.parametrize("wrong", [0, -1.5, np.nan, np.inf, "many", None, "", pd.Timestamp("2024-01-01")])
def test_a_row_without_a_usable_weight_is_told_of(wrong):
    table = weigh(pd.Series([1.5, wrong, 2.0, wrong], dtype="object"))
    learned = learn(table, weight="w")
    with pytest.raises(
        BatonError, match="^column 'w', which weight names: 2 of 4 rows have no number above 0 there, the"
    ):
        learned.read_weights(table)
    assert learned.read_weights(table.iloc[[0, 2]]).tolist() == [1.5, 2]


def test_a_row_without_a_target_needs_no_weight():
    """It is never learned from; and a weight moves no row between training and holdout."""
    table = weigh(pd.Series([1.5, 2.5, None] * 40))
    asked = config.Settings(name="demo", target="answer", train_data="t.csv", weight="w")
    division = split.separate(table, learn(table, weight="w"), asked)
    assert len(division.training) + len(division.holdout) == 80
    assert (division.contract.read_weights(division.training) == division.training["w"]).all()
    other = split.separate(table.assign(w=3.0), learn(table, weight="w"), asked)
    assert other.training.index.equals(division.training.index)
    with pytest.raises(BatonError, match="which weight names: 40 of 80 rows"):
        split.separate(table.replace({"w": {1.5: 0.0}}), learn(table, weight="w"), asked)
