"""What question a table asks, and how raw rows are held to what a model was promised."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from baton import BatonError, contract


def learn(target, task="auto", metric="auto", ids=None) -> contract.Contract:
    """Learn from a table with this target and one number; `ids` are columns that number the rows."""
    answers = pd.Series(target)
    table = pd.DataFrame({"x": np.arange(len(answers)) / 2, "answer": answers})
    table = table.assign(**{column: range(len(answers)) for column in ids or []})
    return contract.learn_contract(table, "demo", "answer", ids, task, metric)


def promise(**columns) -> contract.Contract:
    """A contract over columns of the given kinds."""
    return contract.Contract("demo", "answer", [], columns, "binary", "", "AUC", [0, 1])


def read(values, kind) -> list:
    return promise(a=kind).rows(pd.DataFrame({"a": values}))["a"].tolist()


@pytest.mark.parametrize(
    ("target", "task", "labels"),
    [
        ([0, 1, 1, 0], "binary", [0, 1]),
        ([0.0, 1.0, None], "binary", [0, 1]),
        ([2, 1, 2], "binary", [1, 2]),
        ([0.5, 1.5], "binary", [0.5, 1.5]),
        ([True, False, True], "binary", [False, True]),
        ([True, False, None], "binary", [False, True]),
        (["yes", "no", "yes"], "binary", ["no", "yes"]),
        (["low", "mid", "top"], "multiclass", ["low", "mid", "top"]),
        (["top", None, "low", "mid"], "multiclass", ["low", "mid", "top"]),
        ([3, 1, 2] * 10, "multiclass", [1, 2, 3]),
        ([3.0, 1.0, 2.0] * 10, "multiclass", [1, 2, 3]),
        ([3, 1, 2] * 9, "regression", []),
        ([*range(20)] * 10, "multiclass", [*range(20)]),
        ([*range(21)] * 10, "regression", []),
        ([1.5, 2.5, 3.5] * 10, "regression", []),
        ([*range(100)], "regression", []),
        ([0.1, 0.2, 0.3], "regression", []),
    ],
)
def test_the_question_is_told_from_the_target(target, task, labels):
    learned = learn(target)
    assert (learned.task, learned.labels) == (task, labels)
    assert learned.metric == ("R2" if task == "regression" else "AUC")


@pytest.mark.parametrize(
    ("target", "task", "labels"),
    [
        ([1, 2, 3], "multiclass", [1, 2, 3]),
        ([0, 1, 0], "regression", []),
        ([3, 1, 2] * 10, "regression", []),
        (["a", "b", "b"], "binary", ["b", "a"]),
        ([0, 1, 0], "multiclass", [0, 1]),
    ],
)
def test_env_yaml_may_say_which_question_it_is(target, task, labels):
    learned = learn(target, task)
    assert (learned.task, learned.labels, learned.why) == (task, labels, "env.yaml says so")


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ([0, 1], "answer has two values"),
        (["a", "b", "c"], "answer holds 3 names"),
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
        ([True, False], "regression", "task: regression needs numbers"),
        (["a", "b", "c"], "binary", "column 'answer' has 3 different values; task: binary needs two"),
        ([1.5, 2.5, 3.5], "binary", "column 'answer' has 3 different values; task: binary needs two"),
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
        (["TRUE", "FALSE", "TRUE"], ["FALSE", "TRUE"]),
        (["positive", "negative", "positive"], ["negative", "positive"]),
        (["1", "0", "1"], ["0", "1"]),
        (["stays", "leaves", "stays"], ["stays", "leaves"]),
        (["leaves", "stays", "leaves"], ["leaves", "stays"]),
        ([1, -1, 1], [-1, 1]),
    ],
)
def test_of_two_classes_the_positive_one_is_the_affirmative_else_the_rarer(target, labels):
    learned = learn(target)
    assert (learned.labels, learned.positive) == (labels, labels[-1])


@pytest.mark.parametrize("target", [["a", "b", "c"], [0.1, 0.2, 0.3]])
def test_other_questions_have_no_positive_class(target):
    assert learn(target).positive is None


@pytest.mark.parametrize(
    ("target", "metric"),
    [([0, 1], "Log Loss"), (["a", "b", "c"], "F1"), ([0.1, 0.2, 0.3], "MAE"), ([0, 1], "Average Precision")],
)
def test_a_metric_may_be_chosen(target, metric):
    assert learn(target, metric=metric).metric == metric


@pytest.mark.parametrize(
    ("target", "metric", "said"),
    [
        ([0, 1], "R2", "metric 'R2' can't judge a binary question. Choose one of: AUC, Accuracy"),
        (
            ["a", "b", "c"],
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
        ([1, 1, 1], "column 'answer': every one of its 3 values is "),
        (["no", None, "no"], "column 'answer': every one of its 2 values is 'no', so there is nothing to learn"),
        ([None, None], "column 'answer': no row has a value. Set target in env.yaml"),
        ([np.nan, np.nan], "column 'answer': no row has a value. Set target in env.yaml"),
    ],
)
def test_a_target_with_nothing_to_tell_apart_is_refused(target, said):
    with pytest.raises(BatonError, match=re.escape(said)):
        learn(target)


@pytest.mark.parametrize(
    ("target", "ids", "said"),
    [
        ("Outcme", [], "lacks 1 of the columns it needs: 'Outcme' (did you mean 'Outcome'?); mend target in env.yaml"),
        ("xyz", [], "lacks 1 of the columns it needs: 'xyz'; mend target in env.yaml. It has: id, Age, Outcome"),
        (
            "Outcome",
            ["ID", "id", "age"],
            "lacks 2 of the columns it needs: 'ID', 'age' (did you mean 'Age'?); mend id_columns",
        ),
    ],
)
def test_a_missing_column_is_named_with_the_nearest_there_is(target, ids, said):
    table = pd.DataFrame({"id": [1, 2], "Age": [3, 4], "Outcome": [0, 1]})
    with pytest.raises(BatonError, match=re.escape(said)):
        contract.learn_contract(table, "demo", target, ids, "auto", "auto")


def test_a_table_without_any_feature_is_refused():
    table = pd.DataFrame({"id": [1, 2], "Outcome": [0, 1]})
    with pytest.raises(BatonError, match="no column besides 'Outcome' and id_columns to learn from"):
        contract.learn_contract(table, "demo", "Outcome", "id", "auto", "auto")


def test_features_are_all_columns_but_the_target_and_what_identifies_a_row():
    assert learn([0, 1], ids=["id", "visit"]).features == ["x"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], "number"),
        ([0.5, None], "number"),
        (pd.array([1, None], dtype="Int64"), "number"),
        ([np.nan, np.nan], "number"),
        ([True, False], "boolean"),
        (pd.array([True, None], dtype="boolean"), "boolean"),
        (pd.to_datetime(["2024-01-01", None]), "date"),
        (["a", None], "text"),
        (["1", "2"], "text"),
        (pd.Categorical([1, 2]), "text"),
    ],
)
def test_the_kind_of_a_column_is_learned(values, kind):
    table = pd.DataFrame({"a": values, "answer": [0, 1]})
    assert contract.learn_contract(table, "demo", "answer", [], "auto", "auto").columns == {"a": kind}


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
    table = pd.DataFrame({"a": ["1", None], "b": [True, False]})
    before = table.copy(deep=True)
    promise(a="number", b="boolean").rows(table)
    pd.testing.assert_frame_equal(table, before)


NAN = float("nan")
NOON = pd.Timestamp("2024-03-05 12:00")


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, 2], "number", [1.0, 2.0]),
        (["1", "2.5"], "number", [1.0, 2.5]),
        (["1", None], "number", [1.0, NAN]),
        ([None, None], "number", [NAN, NAN]),
        (pd.array([1, None], dtype="Int64"), "number", [1.0, NAN]),
        ([True, False], "number", [1.0, 0.0]),
        ([True, False], "boolean", [1.0, 0.0]),
        ([True, None], "boolean", [1.0, NAN]),
        (pd.array([True, None], dtype="boolean"), "boolean", [1.0, NAN]),
        (["True", "False"], "boolean", [1.0, 0.0]),
        (["true", None, "false"], "boolean", [1.0, NAN, 0.0]),
        ([1, 0], "boolean", [1.0, 0.0]),
        (["1", "0"], "boolean", [1.0, 0.0]),
        ([NOON, None], "date", [NOON, pd.NaT]),
        (["2024-03-05 12:00", None], "date", [NOON, pd.NaT]),
        (["a", None], "text", ["a", NAN]),
        (["a", ""], "text", ["a", ""]),
        ([10, 20], "text", ["10", "20"]),
        ([True, False], "text", ["True", "False"]),
        (pd.Categorical(["a", None]), "text", ["a", NAN]),
    ],
)
def test_values_are_read_as_the_kind_promised(values, kind, expected):
    pd.testing.assert_series_equal(pd.Series(read(values, kind)), pd.Series(expected))


@pytest.mark.parametrize("values", [[1, 0], ["1", "0"], [True, False], [1.0, None]])
@pytest.mark.parametrize("kind", ["number", "boolean"])
def test_numbers_and_booleans_are_float64_with_and_without_holes(values, kind):
    assert promise(a=kind).rows(pd.DataFrame({"a": values})).dtypes["a"] == "float64"


def test_a_text_reads_the_same_with_and_without_holes_in_its_column():
    """Where all codes of a batch happen to be digits and one is missing, CSV gives floats: 10.0 is the code 10."""
    assert read([10.0, None], "text") == ["10", pytest.approx(NAN, nan_ok=True)]


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [
        (
            ["1", "ten", None, "x"],
            "number",
            "column 'a': 2 of 4 values are not a number, the first of them 'ten' in row 2",
        ),
        ([None, "1,5"], "number", "column 'a': 1 of 2 values are not a number, the first of them '1,5' in row 2"),
        (["yes", "True"], "boolean", "column 'a': 1 of 2 values are not a boolean, the first of them 'yes' in row 1"),
        (["2024-03-05", "soon"], "date", "column 'a': 1 of 2 values are not a date, the first of them 'soon' in row 2"),
        # pandas would count these in nanoseconds since 1970, and a model would take them without a word.
        ([NOON, NOON], "number", "column 'a': 2 of 2 values are not a number"),
        ([20240305, 20240306], "date", "column 'a': 2 of 2 values are not a date, the first of them "),
        ([1, 7], "boolean", "column 'a': 1 of 2 values are not a boolean, the first of them "),
    ],
)
def test_values_of_another_kind_are_refused_with_the_first_of_them(values, kind, said):
    with pytest.raises(BatonError, match=f"^tonight.csv, {re.escape(said)}"):
        promise(a=kind).rows(pd.DataFrame({"a": values}), "tonight.csv")


def test_the_refusal_says_what_the_model_was_trained_on():
    with pytest.raises(BatonError, match=r"in row 1\. The model was trained on numbers there\.$"):
        read(["x"], "number")


def test_columns_that_are_missing_are_all_named():
    with pytest.raises(
        BatonError, match=re.escape("tonight.csv lacks 2 of the columns it needs: 'Age' (did you mean 'age'?), 'BMI'")
    ):
        promise(Age="number", BMI="number", id="text").rows(pd.DataFrame({"age": [1], "id": ["a"]}), "tonight.csv")


@pytest.mark.parametrize(
    "target",
    [[0, 1], [0.0, 1.0, None], [True, False], ["yes", "no"], ["a", "b", "c"], [1, 2, 3] * 10, [0.1, 0.2, 0.3]],
)
def test_a_contract_is_read_back_as_it_was_written(tmp_path, target):
    learned = learn(target, ids=["id"])
    file = tmp_path / "contract.json"
    file.write_text(json.dumps(learned.to_dict()))
    assert contract.read_contract(str(file)) == learned


@pytest.mark.parametrize(
    ("target", "codes"),
    [
        ([1, 0, 1], [1, 0, 1]),
        ([True, False], [1, 0]),
        ([True, None, False], [1, NAN, 0]),
        (["yes", "no", "yes"], [1, 0, 1]),
        (["stays", "stays", "leaves"], [0, 0, 1]),
        (["c", "a", "b"], [2, 0, 1]),
        ([3, 1, 2] * 10, [2, 0, 1] * 10),
        ([0.1, 0.3, 0.2], [0.1, 0.3, 0.2]),
    ],
)
def test_classes_are_numbered_in_the_order_of_the_labels(target, codes):
    assert learn(target).encode(pd.Series(target)).tolist() == pytest.approx(codes, nan_ok=True)


def test_a_column_that_would_be_overwritten_is_refused():
    with pytest.raises(BatonError, match="has a column 'fold', the name Baton gives to a row's fold; rename it"):
        contract.learn_contract(pd.DataFrame({"fold": [1, 2], "y": [0, 1]}), "t", "y", [], "auto", "auto")
