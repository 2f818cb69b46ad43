"""PyCaret runs the tournament; these hold it to scikit-learn's own answers, and what it hands over to plain scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_validate
from sklearn.pipeline import Pipeline

import features
from baton import BatonError, contract, preparation, runner, split, tournament

ROWS = 400
SEED = 7

# The names that PyCaret and scikit-learn give the same score.
CLASSIFIED = {"AUC": "roc_auc", "Accuracy": "accuracy", "F1": "f1", "Recall": "recall", "Prec.": "precision"}
ESTIMATED = {"R2": "r2", "MAE": "neg_mean_absolute_error", "RMSE": "neg_root_mean_squared_error"}
SEVERAL = {"Accuracy": "accuracy", "F1": "f1_weighted", "Recall": "recall_weighted", "Prec.": "precision_weighted"}

LOGISTIC = LogisticRegression(max_iter=1000, random_state=SEED)
FOREST = RandomForestClassifier(random_state=SEED, n_jobs=1)


def table(kind: str, target: str) -> pd.DataFrame:
    """Rows whose target depends on their columns; "mixed" has text, dates and holes, in an index out of order."""
    generator = np.random.default_rng(3)
    rows = pd.DataFrame(generator.normal(size=(ROWS, 3)), columns=["a", "b", "c"])
    signal = rows["a"] - rows["b"] + generator.normal(scale=0.7, size=ROWS)
    if kind == "mixed":
        rows["town"] = generator.choice(["Bern", "Oslo", "Rome"], ROWS)
        signal = signal + 1.5 * (rows["town"] == "Rome")
        rows.loc[generator.random(ROWS) < 0.2, "town"] = None
        rows.loc[generator.random(ROWS) < 0.2, "c"] = np.nan
        rows["seen"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(generator.integers(0, 300, ROWS), "D")
    answers = {
        "yes/no": np.where(signal > 0.5, "yes", "no"),
        "0/1": (signal > 0.5).astype(int),
        "three": pd.cut(signal, [-np.inf, -0.5, 1, np.inf], labels=["low", "mid", "top"]).astype(str),
        "number": signal * 10,
    }
    return rows.assign(answer=answers[target]).sample(frac=1, random_state=1)


def prepared(kind: str, target: str):
    rows = table(kind, target)
    if kind == "mixed":
        rows = rows.assign(seen=rows["seen"].dt.dayofyear.astype(float))
    asked = contract.learn_contract(rows, "t", "answer", [], "auto", "auto")
    training, _, _ = split.separate(rows, asked, 0.2, 5, SEED)
    return asked, asked.rows(training), training["fold"], training["answer"]


@pytest.mark.parametrize("kind", ["numeric", "mixed"])
@pytest.mark.parametrize(
    ("target", "model", "estimator", "shared"),
    [
        ("0/1", "lr", LOGISTIC, CLASSIFIED),
        ("yes/no", "lr", LOGISTIC, CLASSIFIED),
        ("0/1", "rf", FOREST, CLASSIFIED),
        ("three", "lr", LOGISTIC, SEVERAL),
        ("number", "lr", LinearRegression(), ESTIMATED),
        ("number", "rf", RandomForestRegressor(random_state=SEED, n_jobs=1), ESTIMATED),
    ],
)
def test_cross_validation_agrees_with_scikit_learn_on_the_same_folds(kind, target, model, estimator, shared):
    asked, rows, fold, answers = prepared(kind, target)
    result = tournament.play(model, {}, 0, rows, fold, answers, asked, preparation.prepare(features), SEED)
    own = cross_validate(
        Pipeline([("prepare", preparation.prepare(features)), ("model", estimator)]),
        rows, asked.encode(answers), cv=PredefinedSplit(fold.to_numpy()), scoring=[*shared.values()],
    )  # fmt: skip
    for name, scorer in shared.items():
        expected = np.abs(own[f"test_{scorer}"])
        np.testing.assert_allclose(result.scores[name], expected, atol=1e-9, err_msg=f"{name}, ours")
        # PyCaret rounds its table to four digits.
        np.testing.assert_allclose(result.pycaret[name].iloc[:5], expected, atol=6e-5, err_msg=f"{name}, PyCaret's")


def test_several_classes_are_ranked_by_a_macro_auc_where_pycaret_says_zero():
    asked, rows, fold, answers = prepared("numeric", "three")
    result = tournament.play("lr", {}, 0, rows, fold, answers, asked, preparation.prepare(features), SEED)
    own = cross_validate(
        Pipeline([("prepare", preparation.prepare(features)), ("model", LOGISTIC)]),
        rows, asked.encode(answers), cv=PredefinedSplit(fold.to_numpy()), scoring="roc_auc_ovr",
    )  # fmt: skip
    np.testing.assert_allclose(result.scores["AUC"], own["test_score"], atol=1e-9)


def test_a_prediction_of_a_row_comes_from_a_model_that_did_not_see_it():
    """With a target of pure noise, a forest that saw a row would know its answer; one that didn't is right half the time."""
    asked, rows, fold, answers = prepared("numeric", "0/1")
    noise = pd.Series(np.random.default_rng(5).integers(0, 2, len(answers)), index=answers.index)
    result = tournament.play("rf", {}, 0, rows, fold, noise, asked, preparation.prepare(features), SEED)
    right = (result.predictions.argmax(axis=1) == noise.to_numpy()).mean()
    assert 0.4 < right < 0.6


def test_the_same_seed_gives_the_same_scores():
    asked, rows, fold, answers = prepared("mixed", "yes/no")
    first, second = (
        tournament.play("et", {}, 0, rows, fold, answers, asked, preparation.prepare(features), SEED) for _ in range(2)
    )
    pd.testing.assert_frame_equal(first.scores, second.scores)


def test_a_tuned_candidate_differs_from_the_plain_one_and_is_scored_over_the_same_folds():
    asked, rows, fold, answers = prepared("numeric", "0/1")
    result = tournament.play(
        "lightgbm", {"verbosity": -1}, 3, rows, fold, answers, asked, preparation.prepare(features), SEED
    )
    plain = tournament.play(
        "lightgbm", {"verbosity": -1}, 0, rows, fold, answers, asked, preparation.prepare(features), SEED
    )
    assert result.estimator.get_params() != plain.estimator.get_params()
    own = cross_validate(
        Pipeline([("prepare", preparation.prepare(features)), ("model", result.estimator)]),
        rows, answers, cv=PredefinedSplit(fold.to_numpy()), scoring="roc_auc",
    )  # fmt: skip
    np.testing.assert_allclose(result.scores["AUC"], own["test_score"], atol=1e-9)


def test_a_blend_averages_its_members():
    asked, rows, fold, answers = prepared("mixed", "yes/no")
    parts = [
        tournament.play(part, {}, 0, rows, fold, answers, asked, preparation.prepare(features), SEED)
        for part in ("lr", "dt")
    ]
    blend = tournament.play("lr+dt", {}, 0, rows, fold, answers, asked, preparation.prepare(features), SEED)
    np.testing.assert_allclose(blend.predictions, (parts[0].predictions + parts[1].predictions) / 2, atol=1e-9)


@pytest.mark.parametrize(
    ("model", "model_params", "said"),
    [
        (
            "knn",
            {"n_neighbors": -3},
            r"model 'knn' with \{'n_neighbors': -3\} can't be fitted: .*'n_neighbors' parameter",
        ),
        ("dt", {"depth": 3}, r"model 'dt' with \{'depth': 3\} can't be fitted: .*'depth'"),
    ],
)
def test_a_model_that_cannot_be_fitted_is_named_with_the_reason(model, model_params, said):
    asked, rows, fold, answers = prepared("numeric", "0/1")
    with pytest.raises(BatonError, match=said):
        tournament.play(model, model_params, 0, rows, fold, answers, asked, preparation.prepare(features), SEED)


@pytest.mark.parametrize("target", ["0/1", "yes/no", "three", "number"])
def test_the_model_on_raw_rows_equals_the_estimator_on_prepared_rows(target, diabetes):
    """Rule 2: what is registered holds every step, and no PyCaret."""
    asked, rows, _, _ = prepared("numeric", target)
    _, raw, _, _ = diabetes
    raw = raw.head(len(rows))
    answers = prepared("numeric", target)[3].head(len(raw)).set_axis(raw.index)
    estimator = LinearRegression() if target == "number" else FOREST
    pipeline, _ = tournament.refit(tournament.assemble(estimator, features), raw, answers)

    ready = features.derive(features.clean(raw))
    prepare = preparation.prepare(features).fit(ready)
    alone = tournament.assemble(estimator, None).named_steps["model"].fit(prepare.transform(ready), answers)
    assert [name for name, _ in pipeline.steps] == ["clean", "derive", "prepare", "model"]
    if target == "number":
        np.testing.assert_array_equal(pipeline.predict(raw), alone.predict(prepare.transform(ready)))
    else:
        expected = alone.predict_proba(prepare.transform(ready))
        order = [list(alone.classes_).index(label) for label in asked.labels]
        np.testing.assert_array_equal(runner.probabilities(pipeline, raw, asked), expected[:, order])
    assert not [kind for step in pipeline for kind in type(step).__mro__ if kind.__module__.startswith("pycaret")]
