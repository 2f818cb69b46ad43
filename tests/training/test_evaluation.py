"""Scores held against scikit-learn's own, and the rules that choose held against examples worked by hand."""

import re

import numpy as np
import pandas as pd
import pytest
from conftest import learn
from sklearn import metrics as sk

from baton import BatonError, config
from baton.data import split
from baton.training import evaluation

BINARY = np.array([0, 0, 1, 1, 0, 1, 1, 0])
SURE = np.array([0.1, 0.6, 0.7, 0.4, 0.2, 0.9, 0.8, 0.55])
TWO = np.column_stack([1 - SURE, SURE])
CALLED = (SURE > 0.5).astype(int)

SEVERAL = np.array([0, 1, 2, 2, 1, 0, 2, 1, 0, 2])
THREE = np.array(
    [
        [0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.3, 0.4, 0.3], [0.1, 0.8, 0.1],
        [0.4, 0.5, 0.1], [0.2, 0.2, 0.6], [0.5, 0.3, 0.2], [0.6, 0.3, 0.1], [0.3, 0.1, 0.6],
    ]
)  # fmt: skip
NAMED = THREE.argmax(axis=1)
WEIGHTED = {"average": "weighted", "zero_division": 0}

NUMBERS = np.array([3.0, 0.5, 2.0, 7.0, 4.5])
GUESSES = np.array([2.5, 1.0, 2.0, 8.0, 4.0])

EXPECTED = {
    "binary": {
        "AUC": sk.roc_auc_score(BINARY, SURE),
        "Accuracy": sk.accuracy_score(BINARY, CALLED),
        "Recall": sk.recall_score(BINARY, CALLED),
        "Prec.": sk.precision_score(BINARY, CALLED),
        "F1": sk.f1_score(BINARY, CALLED),
        "Kappa": sk.cohen_kappa_score(BINARY, CALLED),
        "MCC": sk.matthews_corrcoef(BINARY, CALLED),
        "Average Precision": sk.average_precision_score(BINARY, SURE),
        "Log Loss": sk.log_loss(BINARY, SURE),
    },
    "multiclass": {
        "AUC": sk.roc_auc_score(SEVERAL, THREE, multi_class="ovr", average="macro"),
        "Accuracy": sk.accuracy_score(SEVERAL, NAMED),
        "Recall": sk.recall_score(SEVERAL, NAMED, **WEIGHTED),
        "Prec.": sk.precision_score(SEVERAL, NAMED, **WEIGHTED),
        "F1": sk.f1_score(SEVERAL, NAMED, **WEIGHTED),
        "Kappa": sk.cohen_kappa_score(SEVERAL, NAMED),
        "MCC": sk.matthews_corrcoef(SEVERAL, NAMED),
        "Log Loss": sk.log_loss(SEVERAL, THREE),
    },
    "regression": {
        "R2": sk.r2_score(NUMBERS, GUESSES),
        "MAE": sk.mean_absolute_error(NUMBERS, GUESSES),
        "MSE": sk.mean_squared_error(NUMBERS, GUESSES),
        "RMSE": sk.root_mean_squared_error(NUMBERS, GUESSES),
        "RMSLE": sk.root_mean_squared_log_error(NUMBERS, GUESSES),
        "MAPE": sk.mean_absolute_percentage_error(NUMBERS, GUESSES),
    },
}
GIVEN = {"binary": (BINARY, TWO), "multiclass": (SEVERAL, THREE), "regression": (NUMBERS, GUESSES)}


@pytest.mark.parametrize("task", [*GIVEN])
def test_all_scores_are_those_of_scikit_learn(task):
    assert evaluation.score(*GIVEN[task], task) == pytest.approx(EXPECTED[task])


@pytest.mark.parametrize(("task", "metric"), [(task, metric) for task in EXPECTED for metric in EXPECTED[task]])
def test_one_score_alone_is_the_same_as_among_all(task, metric):
    assert evaluation.score(*GIVEN[task], task, metric) == pytest.approx({metric: EXPECTED[task][metric]})


@pytest.mark.parametrize(("task", "metric"), [(task, metric) for task in EXPECTED for metric in EXPECTED[task]])
def test_every_metric_prefers_the_better_predictions_in_the_direction_it_says(task, metric):
    truth, predictions = GIVEN[task]
    perfect = truth if task == "regression" else np.eye(predictions.shape[1])[truth]
    best, worse = (evaluation.score(truth, given, task, metric)[metric] for given in (perfect, predictions))
    assert (best > worse) == evaluation.METRICS[metric].higher_is_better
    assert best != worse


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        ([0, 1, 1, 0, 1, 0], {"AUC": 0.5, "Accuracy": 0.5, "Recall": 0, "Prec.": 0, "F1": 0, "Kappa": 0, "MCC": 0}),
        (
            [0, 0, 0, 0, 0, 0],
            {"AUC": np.nan, "Accuracy": 1, "Recall": 0, "Average Precision": np.nan, "Log Loss": np.log(2)},
        ),
        ([1, 1, 1, 1, 1, 1], {"AUC": np.nan, "Accuracy": 0, "Recall": 0, "Prec.": 0, "F1": 0, "Log Loss": np.log(2)}),
    ],
    ids=["both classes", "none is positive", "all are positive"],
)
def test_a_model_that_cannot_tell_has_scores_and_none_where_there_is_nothing_to_rank(truth, expected):
    found = evaluation.score(np.array(truth), np.full((6, 2), 0.5), "binary")
    assert {metric: found[metric] for metric in expected} == pytest.approx(expected, nan_ok=True)


def test_a_class_that_the_rows_lack_is_left_out_of_the_mean_auc():
    present = SEVERAL != 1
    truth, predictions = SEVERAL[present], THREE[present]
    expected = np.mean([sk.roc_auc_score(truth == code, predictions[:, code]) for code in (0, 2)])
    found = evaluation.score(truth, predictions, "multiclass")
    assert found["AUC"] == pytest.approx(expected)
    assert found["Log Loss"] == pytest.approx(-np.log(predictions[np.arange(len(truth)), truth]).mean())
    assert np.isnan(evaluation.score([1, 1], THREE[:2], "multiclass", "AUC")["AUC"])


@pytest.mark.parametrize(
    ("truth", "predicted", "metric", "expected"),
    [
        # Zeros can't be divided by; PyCaret leaves them out too.
        ([0.0, 2.0, 4.0], [9.0, 1.0, 5.0], "MAPE", (1 / 2 + 1 / 4) / 2),
        ([-2.0, 4.0], [-1.0, 5.0], "MAPE", (1 / 2 + 1 / 4) / 2),
        ([-1.0, 3.0], [1.0, 3.0], "RMSLE", np.nan),
        # As wrong as 0; where predictions that make no sense were left out, the worst model had the best score.
        ([1.0, 3.0], [-1.0, 3.0], "RMSLE", np.log(2) / np.sqrt(2)),
        ([np.e - 1, 0.0], [0.0, 0.0], "RMSLE", np.sqrt(1 / 2)),
    ],
)
def test_relative_errors_stand_zeros_and_negative_numbers(truth, predicted, metric, expected):
    found = evaluation.score(np.array(truth), np.array(predicted), "regression", metric)[metric]
    assert found == pytest.approx(expected, nan_ok=True)


def test_negated_predictions_have_a_worse_rmsle_than_any_that_are_not():
    truth = np.array([1.0, 3.0, 8.0])
    negated, guessed = (evaluation.score(truth, given, "regression", "RMSLE")["RMSLE"] for given in (-truth, truth / 2))
    assert negated > guessed > 0


@pytest.mark.filterwarnings("error")
def test_probabilities_that_do_not_sum_to_one_have_a_log_loss():
    """A model that knows none of these classes gives each of them nothing: it is as wrong as can be, and no more."""
    given = np.array([[0.2, 0.2, 0.1], [0, 0, 0], [0, 0, 0.5]])
    found = evaluation.score([0, 1, 2], given, "multiclass", "Log Loss")["Log Loss"]
    assert found == pytest.approx((-np.log(0.4) - np.log(np.finfo(float).eps) - 0) / 3)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("truth", "metric"),
    [([0.0, 0.0], "MAPE"), ([1.0], "R2"), ([2.0, 2.0], "R2"), ([0.1, 0.1, 0.1], "R2")],
    ids=["nothing to divide by", "one row has no spread", "nor have equal ones", "nor if their mean is another number"],
)
def test_what_has_no_score_is_not_a_number(truth, metric):
    assert np.isnan(evaluation.score(truth, np.ones(len(truth)), "regression", metric)[metric])


@pytest.mark.parametrize("weights", [None, np.array([1.0, 2.0, 0.3, 1.0])], ids=["", "weighted"])
def test_without_the_one_row_that_differs_numbers_have_no_r2(weights):
    found = evaluation.leave_one_out([0.1, 0.1, 0.7, 0.1], np.array([0.2, 0.1, 0.5, 0.3]), "regression", "R2", weights)
    assert np.isnan(found).tolist() == [False, False, True, False]


def test_rows_that_no_fold_validates_have_no_score():
    fold = np.array([0, -1, 0, 1, 1, 0, 1, -1])
    table = evaluation.score_folds(BINARY, np.where(fold[:, None] < 0, np.nan, TWO), fold, "binary")
    assert table.index.tolist() == [0, 1]
    assert table.loc[0].to_dict() == pytest.approx(evaluation.score(BINARY[fold == 0], TWO[fold == 0], "binary"))


def test_out_of_fold_predictions_are_scored_fold_by_fold():
    fold = np.array([0, 1, 0, 1, 1, 0, 1, 0])
    table = evaluation.score_folds(BINARY, TWO, fold, "binary")
    assert [*table.columns] == config.METRICS["binary"]
    assert table.index.tolist() == [0, 1]
    assert table["AUC"].tolist() == [
        sk.roc_auc_score(BINARY[fold == number], SURE[fold == number]) for number in (0, 1)
    ]
    assert table["Accuracy"].tolist() == [0.75, 0.5]


def test_the_summary_has_mean_and_standard_deviation_of_each_metric():
    folds = pd.DataFrame({"AUC": [0.7, 0.8, 0.9], "F1": [0.5, 0.5, 0.5]})
    expected = {"cv_mean/AUC": 0.8, "cv_mean/F1": 0.5, "cv_std/AUC": 0.1, "cv_std/F1": 0.0}
    assert evaluation.summary(folds) == pytest.approx(expected)


# Worked by hand. Over 4 folds a standard error is std * sqrt(1/4 + 1/3), and Student's t has 3 degrees: 3.182446.
THIRD = 1 / 3  # validated rows for each row fitted on, as four folds have them
SCORES = {
    "close": [0.9, 0.7, 0.8, 0.76],  # behind by 0, 0.1, -0.1, 0.04: mean 0.01, std 0.084063
    "steady": [0.8, 0.8, 0.7, 0.7],  # behind by 0.1, 0, 0, 0.1: mean 0.05, std 0.057735
    "best": [0.9, 0.8, 0.7, 0.8],
    "far": [0.5, 0.4, 0.3, 0.4],  # behind by 0.4 everywhere: std 0
}
RANKED = pd.DataFrame(
    {
        "mean": [0.8, 0.79, 0.75, 0.4],
        "std": [0.0816497, 0.0840635, 0.0577350, 0.0816497],
        "behind": [0, 0.01, 0.05, 0.4],
        "error": [0, 0.0642046, 0.0440959, 0],
        "low": [0, -0.1943276, -0.0903328, 0.4],
        "high": [0, 0.2143276, 0.1903328, 0.4],
        "level": [True, True, True, False],
    },
    index=pd.Index(["best", "close", "steady", "far"], name="candidate"),
)


def test_candidates_are_ranked_by_their_distance_to_the_best():
    ranking = evaluation.compare_to_best({name: pd.Series(values) for name, values in SCORES.items()}, "AUC", THIRD)
    pd.testing.assert_frame_equal(ranking, RANKED, atol=1e-6)


@pytest.mark.parametrize("metric", ["Log Loss", "RMSE", "MAE", "MAPE"])
def test_where_lower_is_better_the_lowest_is_the_best(metric):
    ranking = evaluation.compare_to_best(
        {name: 1 - pd.Series(values) for name, values in SCORES.items()}, metric, THIRD
    )
    pd.testing.assert_frame_equal(ranking, RANKED.assign(mean=1 - RANKED["mean"]), atol=1e-6)


def test_one_candidate_alone_is_the_best():
    ranking = evaluation.compare_to_best({"only": pd.Series([0.7, 0.8])}, "AUC", THIRD)
    assert ranking.loc["only", ["mean", "behind", "error", "level"]].tolist() == [0.75, 0, 0, True]


def test_equal_candidates_are_level():
    scores = pd.Series([0.7, 0.8, 0.9])
    ranking = evaluation.compare_to_best({"a": scores, "b": scores, "c": scores - 0.1}, "AUC", THIRD)
    assert ranking["level"].to_dict() == {"a": True, "b": True, "c": False}


@pytest.mark.parametrize("lacking", [[], [1], [0, 3]], ids=str)
def test_a_fold_without_a_score_counts_for_nothing(lacking):
    """Not in the mean, and not among the folds that make one sure."""
    folds = {name: pd.Series([*values]) for name, values in SCORES.items()}
    gaps = {name: scores.where(~scores.index.isin(lacking)) for name, scores in folds.items()}
    gaps["far"] = folds["far"]  # one candidate may have a score where others have none
    expected = evaluation.compare_to_best({name: scores.drop(lacking) for name, scores in folds.items()}, "AUC", THIRD)
    pd.testing.assert_frame_equal(evaluation.compare_to_best(gaps, "AUC", THIRD), expected)


def test_one_fold_ranks_and_tells_no_error():
    ranking = evaluation.compare_to_best(
        {"a": pd.Series([0.7]), "b": pd.Series([0.8]), "c": pd.Series([0.8])}, "AUC", THIRD
    )
    assert ranking["level"].to_dict() == {"b": True, "c": True, "a": False}
    assert ranking["behind"].tolist() == pytest.approx([0, 0, 0.1])
    assert ranking[["low", "high", "std"]].isna().all(axis=None)


def test_no_score_at_all_is_explained():
    with pytest.raises(BatonError, match="no fold has a score by AUC: choose by another metric, or give more rows"):
        evaluation.compare_to_best({"a": pd.Series([np.nan, np.nan])}, "AUC", THIRD)


def test_the_error_goes_by_the_real_sizes_of_forward_folds():
    """Fold after fold is fitted on more rows: 1, 2, 3 and 4 parts, and not on 4 parts of 5 each time."""
    folds = split.Folds(np.repeat([-1, 0, 1, 2, 3], 6), forward=True)
    assert folds.test_train_ratio() == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert split.Folds(np.repeat([0, 1, 2, 3], 6)).test_train_ratio() == pytest.approx(1 / 3)
    left_out = split.Folds(np.repeat([0, 1], 4), trains=np.array([True, False] * 4))
    assert left_out.test_train_ratio() == pytest.approx(4 / 2)
    gaps = pd.Series(SCORES["close"]) - SCORES["best"]
    ranking = evaluation.compare_to_best(
        {name: pd.Series(values) for name, values in SCORES.items()}, "AUC", folds.test_train_ratio()
    )
    assert ranking.at["close", "error"] == pytest.approx(gaps.std() * np.sqrt(1 / 4 + 25 / 48))


MODELS = {"best": "lightgbm", "close": "rf", "steady": "lr", "far": "lr"}


@pytest.mark.parametrize(
    ("how", "models", "chosen", "why"),
    [
        ("best", {}, "best", "best has the best mean, 0.8000; 2 of 3 others can't be told from it"),
        ("simplest", {}, "best", "can't be told from it. None of those is simpler and behind by at most 0.0080"),
        ("simplest", {"near": "dt"}, "near", r"behind by at most 0.0080, near \(dt\) is the simplest: it is behind by 0.0050"),
        ("simplest", {"near": "lightgbm"}, "best", "None of those is simpler"),
        ("simplest", {"near": "lr+dt"}, "best", "None of those is simpler"),
        ("best", {"near": "lr"}, "best", "best has the best mean"),
    ],
)  # fmt: skip
def test_the_best_is_chosen_or_the_simplest_that_gives_up_a_hundredth_of_it(how, models, chosen, why):
    """`close` and `steady` are simpler and level, and behind by more than that: 0.01 and 0.05."""
    given = SCORES | ({"near": [0.89, 0.8, 0.7, 0.79]} if models else {})
    ranking = evaluation.compare_to_best({name: pd.Series(values) for name, values in given.items()}, "AUC", THIRD)
    found, reason = evaluation.choose(ranking, MODELS | models, how)
    assert found == chosen
    assert re.search(why, reason)


def test_of_models_as_simple_the_one_that_ranks_first_is_chosen():
    scores = {"a": [0.79, 0.704], "b": [0.79, 0.706], "c": [0.8, 0.7]}
    ranking = evaluation.compare_to_best({name: pd.Series(values) for name, values in scores.items()}, "AUC", 1)
    assert evaluation.choose(ranking, {"a": "lr", "b": "lr", "c": "rf"}, "simplest")[0] == "b"


def test_the_simplest_of_models_scored_by_an_error_is_behind_by_a_hundredth_at_most():
    """By R2 a best mean may be below 0, and by RMSE it is the smallest."""
    scores = {"a": pd.Series([-2.0, -1.9]), "b": pd.Series([-1.99, -1.93]), "c": pd.Series([-1.9, -2.1])}
    models = {"a": "rf", "b": "lr", "c": "lr"}
    assert evaluation.choose(evaluation.compare_to_best(scores, "R2", 1), models, "simplest")[0] == "b"
    errors = {name: -values for name, values in scores.items()}
    assert evaluation.choose(evaluation.compare_to_best(errors, "RMSE", 1), models, "simplest")[0] == "b"


def test_a_simpler_model_that_is_surely_behind_is_not_chosen():
    """Behind by a thousandth in every fold: little, and no chance."""
    scores = {"a": pd.Series([0.8, 0.7, 0.9]), "b": pd.Series([0.799, 0.699, 0.899])}
    ranking = evaluation.compare_to_best(scores, "AUC", THIRD)
    assert evaluation.choose(ranking, {"a": "rf", "b": "lr"}, "simplest")[0] == "a"


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        ([0, 0, 0, 1], [[0.75, 0.25], [0.75, 0.25]]),
        (["yes", "no", "yes", "yes"], [[0.25, 0.75], [0.25, 0.75]]),
        (["stays", "leaves", "stays", "stays"], [[0.75, 0.25], [0.75, 0.25]]),
        (["c", "a", "b", "c"] * 2, [[0.25, 0.25, 0.5], [0.25, 0.25, 0.5]]),
        ([0.5, 1.5, 4.0], [2.0, 2.0]),
    ],
)
def test_the_baseline_knows_the_training_targets_and_nothing_else(training, expected):
    target = pd.Series(training)
    asked = learn(pd.DataFrame({"x": range(len(target)), "y": target}))
    assert evaluation.baseline([0, 0], asked, target).tolist() == expected


@pytest.mark.parametrize(
    ("task", "metric"), [(task, metric) for task, all_ in config.METRICS.items() for metric in all_]
)
@pytest.mark.parametrize("rare", [False, True])
def test_the_score_without_each_row_is_that_of_the_others(task, metric, rare):
    """With ties, zeros, and a class of a single row too."""
    generator, classes = np.random.default_rng(3), {"binary": 2, "multiclass": 4, "regression": 0}[task]
    if classes:
        truth = np.append(classes - 1, generator.integers(0, classes - rare, 39))
        odds = (np.eye(classes)[truth] + generator.normal(size=(40, classes))).round()
        predictions = np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)
    else:
        truth = np.abs(generator.normal(size=40)).round(1) * (not rare or np.arange(40) > 5)
        predictions = truth + generator.normal(size=40).round(1)
    expected = [
        evaluation.score(np.delete(truth, row), np.delete(predictions, row, axis=0), task, metric)[metric]
        for row in range(40)
    ]
    found = evaluation.leave_one_out(truth, predictions, task, metric)
    assert found == pytest.approx(np.array(expected), abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("metric", ["R2", "MAE"])
def test_predictions_that_fit_no_other_rows_are_no_chance(metric):
    """The rows as they are count as one of the assignments, so no finite number of draws makes one quite sure."""
    truth = np.arange(40.0)
    assert evaluation.chance(truth, truth, "regression", metric, draws=99) == 1 / 100
    assert evaluation.chance(truth, truth[::-1], "regression", metric, draws=99) == 1


def test_predictions_that_are_equal_score_as_well_on_any_row():
    assert evaluation.chance(BINARY, np.full((8, 2), 0.5), "binary", "AUC", draws=99) == 1


def test_whole_groups_get_the_predictions_of_others():
    """Of the 24 ways to assign four groups, 4 leave two positive ones first: no evidence, though of 40 rows."""
    truth, groups = np.repeat([0, 0, 1, 1], 10), np.repeat([3, 1, 0, 2], 10)
    rows, whole = (
        evaluation.chance(truth, np.eye(2)[truth], "binary", "AUC", groups=given, draws=999) for given in (None, groups)
    )
    assert rows == 1 / 1000
    assert whole == pytest.approx(4 / 24, abs=0.04)


def test_chance_depends_on_the_seed_alone():
    first, again, other = (evaluation.chance(BINARY, TWO, "binary", "AUC", seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def two(*positive) -> np.ndarray:
    return np.column_stack([1 - np.array(positive), positive])


def rare(rows: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A target with few positive rows, and probabilities of it, many of them equal."""
    generator = np.random.default_rng(seed)
    truth = (generator.random(rows) < 0.1).astype(int)
    return truth, two(*np.round(0.6 / (1 + np.exp(2 - 2 * truth - generator.normal(size=rows))), 2))


COST = {"cost": {"miss": 7, "alarm": 2}}


@pytest.mark.parametrize(
    ("how", "metric", "best"),
    [
        *(("auto", metric, metric) for metric in ("Accuracy", "F1", "Kappa", "MCC")),
        *(("auto", metric, "F1") for metric in ("AUC", "Recall", "Prec.", "Log Loss", "Average Precision")),
        (COST, "AUC", None),
        (COST, "F1", None),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_no_threshold_is_better_than_the_chosen_one(how, metric, best, seed):
    truth, predictions = rare(seed=seed)

    def worth(threshold):
        called = predictions[:, 1] >= threshold
        if best is None:
            return -7 * np.sum(called < truth) - 2 * np.sum(called > truth)
        return evaluation.score(truth, np.eye(2)[called.astype(int)], "binary", best)[best]

    chosen = evaluation.choose_threshold(truth, predictions, how, metric)
    there = np.unique([0, *predictions[:, 1], 1])
    tried = (there[1:] + there[:-1]) / 2
    assert chosen in tried
    assert worth(chosen) == pytest.approx(max(map(worth, tried)), abs=1e-12)
    assert worth(chosen) > worth(0.5) or best == "Accuracy"


@pytest.mark.parametrize(
    ("truth", "positive", "how", "expected"),
    [
        ([0, 0, 1, 1], [0.2, 0.3, 0.6, 0.8], "auto", 0.45),  # in the middle of where nothing is wrong
        ([0, 1, 0, 1], [0.1, 0.3, 0.6, 0.9], {"cost": {"miss": 1, "alarm": 1}}, 0.75),  # as good as 0.2
        ([0, 1, 0, 1], [0.1, 0.3, 0.6, 0.8], {"cost": {"miss": 1, "alarm": 1}}, 0.7),
        ([0, 1, 0, 1], [0.1, 0.3, 0.6, 0.8], {"cost": {"miss": 3, "alarm": 1}}, 0.2),
        # Three times 0.1 is 0.3, but for rounding.
        ([1, 0, 0, 0, 1], [0.4, 0.5, 0.6, 0.7, 0.99], {"cost": {"miss": 0.3, "alarm": 0.1}}, 0.2),
        ([0, 1], [0.4, 0.2], {"cost": {"miss": 1, "alarm": 9}}, 0.7),  # none is called positive
        ([1, 0], [0.2, 0.4], {"cost": {"miss": 9, "alarm": 1}}, 0.1),  # all are
        ([0, 1], [0.4, 0.4 + 1e-12], "auto", 0.2),  # that is no difference
        ([1, 0], [0.0, 1.0], "auto", 0.5),
        ([1, 0, 1], [0.0, 1.0, 1.0], {"cost": {"miss": 9, "alarm": 1}}, 0.5),
        ([0, 1, 0, 1], [0.1, 0.3, 0.6, 0.9], 0.3, 0.3),
        ([0, 1, 0, 1], [0.1, 0.3, 0.6, 0.9], 0.5, None),
        ([0, 0], [0.2, 0.3], "auto", None),
        ([1, 1], [0.2, 0.3], COST, None),
        ([], [], "auto", None),
    ],
)  # fmt: skip
def test_a_threshold_by_hand(truth, positive, how, expected):
    chosen = evaluation.choose_threshold(np.array(truth), two(*positive), how, "AUC")
    assert chosen == (expected if expected is None else pytest.approx(expected, abs=1e-9))


@pytest.mark.parametrize("how", ["auto", 0.3])
def test_a_question_without_a_positive_class_has_no_threshold(how):
    assert evaluation.choose_threshold(SEVERAL, THREE, how, "F1") is None
    assert evaluation.choose_threshold(NUMBERS, GUESSES, how, "R2") is None


def test_from_its_threshold_on_a_row_is_positive_whatever_is_likelier():
    predictions = two(0.25, 0.2, 0.5, 0.9)
    assert evaluation.predicted_classes(predictions, 0.25).tolist() == [1, 0, 1, 1]
    assert evaluation.predicted_classes(predictions).tolist() == [0, 0, 0, 1]  # a tie is the first class
    truth = np.array([1, 1, 0, 1])
    found = evaluation.score(truth, predictions, "binary", threshold=0.25)
    usual = evaluation.score(truth, predictions, "binary")
    assert (found["Recall"], found["Prec."]) == pytest.approx((2 / 3, 2 / 3))
    for metric in ("AUC", "Average Precision", "Log Loss"):
        assert found[metric] == usual[metric]
        assert evaluation.as_read(predictions, 0.25, metric) is predictions
    for metric in ("Accuracy", "Recall", "Prec.", "F1", "Kappa", "MCC"):
        read = evaluation.as_read(predictions, 0.25, metric)
        assert evaluation.score(truth, read, "binary", metric)[metric] == found[metric]


def test_a_fold_has_no_say_in_its_threshold():
    """The folds' probabilities are on three scales, so that each would choose another threshold for itself."""
    truth, predictions = rare()
    fold = np.arange(300) % 4 - 1
    predictions = two(*np.where(fold < 0, np.nan, predictions[:, 1] * (1 - 0.3 * fold)))

    def choose(truth, predictions, weights=None):
        return evaluation.choose_threshold(truth, predictions, "auto", "F1", weights)

    found = evaluation.score_folds(truth, predictions, fold, "binary", choose)
    for number in range(3):
        rows, others = fold == number, (fold >= 0) & (fold != number)
        assert choose(truth[others], predictions[others]) != choose(truth[rows], predictions[rows])
        expected = evaluation.score(
            truth[rows], predictions[rows], "binary", threshold=choose(truth[others], predictions[others])
        )
        assert found.loc[number].to_dict() == expected


def weigh(rows: int, seed: int = 0) -> np.ndarray:
    """Weights, a few of which are a large part of all."""
    return np.random.default_rng(seed).lognormal(sigma=1.5, size=rows)


def test_weighted_scores_are_those_of_scikit_learn():
    w, v, u = (weigh(len(one)) for one in (BINARY, SEVERAL, NUMBERS))
    of, many = {"sample_weight": w}, WEIGHTED | {"sample_weight": v}
    expected = {
        "binary": {
            "AUC": sk.roc_auc_score(BINARY, SURE, **of),
            "Accuracy": sk.accuracy_score(BINARY, CALLED, **of),
            "Recall": sk.recall_score(BINARY, CALLED, **of),
            "Prec.": sk.precision_score(BINARY, CALLED, **of),
            "F1": sk.f1_score(BINARY, CALLED, **of),
            "Kappa": sk.cohen_kappa_score(BINARY, CALLED, **of),
            "MCC": sk.matthews_corrcoef(BINARY, CALLED, **of),
            "Average Precision": sk.average_precision_score(BINARY, SURE, **of),
            "Log Loss": sk.log_loss(BINARY, SURE, **of),
        },
        "multiclass": {
            "AUC": sk.roc_auc_score(SEVERAL, THREE, multi_class="ovr", average="macro", sample_weight=v),
            "Accuracy": sk.accuracy_score(SEVERAL, NAMED, sample_weight=v),
            "Recall": sk.recall_score(SEVERAL, NAMED, **many),
            "Prec.": sk.precision_score(SEVERAL, NAMED, **many),
            "F1": sk.f1_score(SEVERAL, NAMED, **many),
            "Kappa": sk.cohen_kappa_score(SEVERAL, NAMED, sample_weight=v),
            "MCC": sk.matthews_corrcoef(SEVERAL, NAMED, sample_weight=v),
            "Log Loss": sk.log_loss(SEVERAL, THREE, sample_weight=v),
        },
        "regression": {
            "R2": sk.r2_score(NUMBERS, GUESSES, sample_weight=u),
            "MAE": sk.mean_absolute_error(NUMBERS, GUESSES, sample_weight=u),
            "MSE": sk.mean_squared_error(NUMBERS, GUESSES, sample_weight=u),
            "RMSE": sk.root_mean_squared_error(NUMBERS, GUESSES, sample_weight=u),
            "RMSLE": sk.root_mean_squared_log_error(NUMBERS, GUESSES, sample_weight=u),
            "MAPE": sk.mean_absolute_percentage_error(NUMBERS, GUESSES, sample_weight=u),
        },
    }
    for task, weights in zip(expected, (w, v, u), strict=True):
        assert evaluation.score(*GIVEN[task], task, weights=weights) == pytest.approx(expected[task])


@pytest.mark.parametrize("task", [*GIVEN])
def test_a_weight_of_two_counts_as_two_rows_and_the_scale_of_weights_makes_no_difference(task):
    truth, predictions = GIVEN[task]
    times = np.arange(len(truth)) % 3 + 1
    twice = evaluation.score(np.repeat(truth, times), np.repeat(predictions, times, axis=0), task)
    for scale in (1, 1e-7, 3e5):
        assert evaluation.score(truth, predictions, task, weights=times * scale) == pytest.approx(twice)
    assert evaluation.score(truth, predictions, task, weights=np.full(len(truth), 7.0)) == pytest.approx(EXPECTED[task])
    assert evaluation.score(truth, predictions, task, weights=1.0 * times) != pytest.approx(EXPECTED[task])


def test_weighted_relative_errors_leave_zeros_out():
    given = np.array([0.0, 2.0, 4.0]), np.array([9.0, 1.0, 5.0]), "regression", "MAPE"
    assert evaluation.score(*given, weights=np.array([5.0, 3, 1]))["MAPE"] == pytest.approx((3 / 2 + 1 / 4) / 4)
    assert np.isnan(evaluation.score(np.zeros(2), np.ones(2), "regression", "MAPE", weights=np.ones(2))["MAPE"])


@pytest.mark.parametrize(("task", "metric"), [(task, metric) for task in EXPECTED for metric in EXPECTED[task]])
@pytest.mark.parametrize(("digits", "power"), [(1, 1), (9, 1), (9, 3)])
def test_weighted_scores_without_each_row(task, metric, digits, power):
    """With ties of certainty and without, and where a few rows weigh more than all others."""
    generator = np.random.default_rng(digits)
    truth, weights = np.abs(generator.normal(size=50)).round(1), weigh(50, digits) ** power
    predictions = np.abs(truth + generator.normal(size=50))
    if task != "regression":
        classes = 2 if task == "binary" else 3
        truth = generator.integers(0, classes, 50)
        predictions = generator.dirichlet(np.ones(classes), 50).round(digits)
    found = evaluation.leave_one_out(truth, predictions, task, metric, weights)
    kept = [np.arange(50) != row for row in range(50)]
    by_hand = [evaluation.score(truth[k], predictions[k], task, metric, weights=weights[k])[metric] for k in kept]
    np.testing.assert_allclose(found, by_hand, rtol=1e-9, atol=1e-12)
    ones = evaluation.leave_one_out(truth, predictions, task, metric, np.ones(50))
    np.testing.assert_allclose(ones, evaluation.leave_one_out(truth, predictions, task, metric), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("metric", ["AUC", "Average Precision"])
@pytest.mark.parametrize("seed", range(5))
def test_without_its_last_positive_row_there_is_no_weighted_score(metric, seed):
    truth, positive = np.arange(6) // 5, np.random.default_rng(seed).random(6)
    found = evaluation.leave_one_out(truth, two(*positive), "binary", metric, weigh(6, seed))
    assert np.isnan(found).tolist() == [False] * 5 + [True]
    assert np.isfinite(found[:5]).all()


@pytest.mark.parametrize("how", ["auto", COST])
@pytest.mark.parametrize("metric", ["F1", "Accuracy", "Kappa", "MCC"])
def test_a_threshold_of_weighted_rows_is_that_of_as_many_rows(how, metric):
    truth, predictions = rare()
    times = np.where(truth, 25, 1) + np.arange(300) % 3
    many = np.repeat(truth, times), np.repeat(predictions, times, axis=0)
    chosen = evaluation.choose_threshold(*many, how, metric)
    for scale in (1, 1e-14, 1e9):
        assert evaluation.choose_threshold(truth, predictions, how, metric, times * scale) == chosen
    assert evaluation.choose_threshold(truth, predictions, how, metric) != chosen
    counted = evaluation.count_by_threshold(truth, predictions, times)
    pd.testing.assert_frame_equal(counted, evaluation.count_by_threshold(*many), check_dtype=False)


def test_a_fold_is_scored_by_its_weights_with_the_threshold_of_the_others():
    truth, predictions = rare()
    fold, weights = np.arange(300) % 3, np.where(truth, 5.0, 1.0) * weigh(300)

    def choose(truth, predictions, weights):
        return evaluation.choose_threshold(truth, predictions, "auto", "F1", weights)

    found = evaluation.score_folds(truth, predictions, fold, "binary", choose, weights)
    rows, others = fold == 1, fold != 1
    threshold = choose(truth[others], predictions[others], weights[others])
    expected = evaluation.score(truth[rows], predictions[rows], "binary", None, threshold, weights[rows])
    assert found.loc[1].to_dict() == expected


@pytest.mark.parametrize(
    ("training", "weights", "expected"),
    [
        (["c", "a", "b", "c"] * 2, [2, 2, 3, 1, 0.5, 0.5, 1, 2], [0.5 / 2.4, 0.8 / 2.4, 1.1 / 2.4]),
        ([1.0, 2.0, 4.0, 10.0], [1, 2, 3, 4], (1 + 2 * 2 + 3 * 4 + 4 * 10) / 10),
    ],
)
def test_the_baseline_is_weighted(training, weights, expected):
    y = pd.Series(training)
    contract = learn(pd.DataFrame({"a": np.arange(float(len(y))), "y": y}))
    np.testing.assert_allclose(evaluation.baseline([0], contract, y, 3 * np.array(weights, dtype=float)), [expected])


def test_by_chance_rows_keep_their_weights():
    """The rows that weigh most are right: that is a lot by weight, and nothing by count."""
    truth = np.arange(60) % 2
    right = np.arange(60) < 8
    predictions = np.eye(2)[np.where(right, truth, (np.arange(60) // 2) % 2)]
    weights = np.where(right, 50.0, 1.0)
    assert evaluation.chance(truth, predictions, "binary", "Accuracy", draws=199) > 0.05
    assert evaluation.chance(truth, predictions, "binary", "Accuracy", draws=199, weights=weights) < 0.05
