"""PyCaret runs the tournament; these hold it to scikit-learn's own answers, and what it hands over to plain scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
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
    return divided(rows)


def divided(rows: pd.DataFrame, target: str = "answer", how: str = "hash", by: str | None = None):
    asked = contract.learn_contract(rows, "t", target, [], "auto", "auto", [], how, by)
    training, _, folds, asked, _ = split.separate(rows, asked, 0.2, 5, SEED)
    return asked, asked.rows(training), folds, training[target]


def play(model, asked, rows, folds, answers, params=None, tune=0) -> tournament.Result:
    prepare = preparation.prepare(None, rows, asked.task)
    return tournament.play(model, params or {}, tune, rows, folds, answers, asked, prepare, SEED)


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
def test_cross_validation_agrees_with_scikit_learn_on_the_same_folds(target, model, estimator, shared):
    asked, rows, folds, answers = prepared("mixed", target)
    result = play(model, asked, rows, folds, answers)
    own = cross_validate(
        Pipeline([("prepare", preparation.prepare(None, rows, asked.task)), ("model", estimator)]),
        rows, asked.encode(answers), cv=PredefinedSplit(folds["fold"]), scoring=[*shared.values()],
    )  # fmt: skip
    for name, scorer in shared.items():
        expected = np.abs(own[f"test_{scorer}"])
        np.testing.assert_allclose(result.scores[name], expected, atol=1e-9, err_msg=f"{name}, ours")
        # PyCaret rounds its table to four digits.
        np.testing.assert_allclose(result.pycaret[name].iloc[:5], expected, atol=6e-5, err_msg=f"{name}, PyCaret's")


def test_several_classes_are_ranked_by_a_macro_auc_where_pycaret_says_zero():
    asked, rows, folds, answers = prepared("numeric", "three")
    result = play("lr", asked, rows, folds, answers)
    own = cross_validate(
        Pipeline([("prepare", preparation.prepare(None, rows, asked.task)), ("model", LOGISTIC)]),
        rows, asked.encode(answers), cv=PredefinedSplit(folds["fold"]), scoring="roc_auc_ovr",
    )  # fmt: skip
    np.testing.assert_allclose(result.scores["AUC"], own["test_score"], atol=1e-9)


def test_a_prediction_of_a_row_comes_from_a_model_that_did_not_see_it():
    """With a target of pure noise, a forest that saw a row would know its answer; one that didn't is right half the time."""
    asked, rows, folds, answers = prepared("numeric", "0/1")
    noise = pd.Series(np.random.default_rng(5).integers(0, 2, len(answers)), index=answers.index)
    result = play("rf", asked, rows, folds, noise)
    right = (result.predictions.argmax(axis=1) == noise.to_numpy()).mean()
    assert 0.4 < right < 0.6


def test_the_same_seed_gives_the_same_scores():
    asked, rows, folds, answers = prepared("numeric", "yes/no")
    first, second = (play("et", asked, rows, folds, answers, {"n_estimators": 10}) for _ in range(2))
    pd.testing.assert_frame_equal(first.scores, second.scores)


def test_a_tuned_candidate_differs_from_the_plain_one_and_is_scored_over_the_same_folds():
    asked, rows, folds, answers = prepared("numeric", "0/1")
    result, plain = (play("lightgbm", asked, rows, folds, answers, {"verbosity": -1}, tune) for tune in (3, 0))
    assert result.estimator.get_params() != plain.estimator.get_params()
    own = cross_validate(
        Pipeline([("prepare", preparation.prepare(None, rows, asked.task)), ("model", result.estimator)]),
        rows, answers, cv=PredefinedSplit(folds["fold"]), scoring="roc_auc",
    )  # fmt: skip
    np.testing.assert_allclose(result.scores["AUC"], own["test_score"], atol=1e-9)


def test_a_blend_averages_its_members():
    asked, rows, folds, answers = prepared("numeric", "yes/no")
    parts = [play(part, asked, rows, folds, answers) for part in ("lr", "dt")]
    blend = play("lr+dt", asked, rows, folds, answers)
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
    asked, rows, folds, answers = prepared("numeric", "0/1")
    with pytest.raises(BatonError, match=said):
        play(model, asked, rows, folds, answers, model_params)


@pytest.mark.parametrize("target", ["0/1", "yes/no", "three", "number"])
def test_the_model_on_raw_rows_equals_the_estimator_on_prepared_rows(target, diabetes):
    """Rule 2: what is registered holds every step, and no PyCaret."""
    asked, rows, _, _ = prepared("numeric", target)
    _, raw, _, _ = diabetes
    raw = raw.head(len(rows))
    answers = prepared("numeric", target)[3].head(len(raw)).set_axis(raw.index)
    estimator = LinearRegression() if target == "number" else FOREST
    ready = features.derive(features.clean(raw))
    prepare = preparation.prepare(features, ready, asked.task)
    pipeline, _ = tournament.refit(tournament.assemble(prepare, estimator, features), raw, answers)

    numbers = clone(prepare).fit(ready, answers).transform(ready)
    alone = clone(estimator).fit(numbers, answers)
    assert [name for name, _ in pipeline.steps] == ["clean", "derive", "prepare", "model"]
    if target == "number":
        np.testing.assert_array_equal(pipeline.predict(raw), alone.predict(numbers))
    else:
        expected = alone.predict_proba(numbers)
        order = [list(alone.classes_).index(label) for label in asked.labels]
        np.testing.assert_array_equal(runner.probabilities(pipeline, raw, asked), expected[:, order])
    assert not [kind for step in pipeline for kind in type(step).__mro__ if kind.__module__.startswith("pycaret")]


def small(target: str = "binary", names: str = "abcde", **columns) -> pd.DataFrame:
    generator = np.random.default_rng(5)
    rows = pd.DataFrame(generator.normal(size=(120, len(names))), columns=[*names])
    signal = rows.iloc[:, 0] - rows.iloc[:, 1] + generator.normal(size=120)
    answers = {
        "binary": np.where(signal > 0, "yes", "no"),
        "multiclass": pd.cut(signal, [-9, -0.7, 0.7, 9], labels=["u", "v", "w"]).astype(str),
        "regression": signal * 10,
    }
    return rows.assign(answer=answers[target], **columns)


def by_hand(result, asked, rows, folds, answers) -> np.ndarray:
    """What scikit-learn alone predicts out of fold; a class that a fold's model never saw has no chance."""
    codes, forward = asked.encode(answers), asked.split == "time"
    told = np.full((len(rows), len(asked.labels)) if asked.labels else len(rows), np.nan)
    for fitted, validated in split.Folds(folds["fold"].to_numpy(), forward).split():
        steps = [("prepare", preparation.prepare(None, rows, asked.task)), ("model", clone(result.estimator))]
        pipeline = Pipeline(steps).fit(rows.iloc[fitted], codes.iloc[fitted])
        if asked.labels:
            told[validated] = 0
            told[np.ix_(validated, pipeline.classes_.astype(int))] = pipeline.predict_proba(rows.iloc[validated])
        else:
            told[validated] = pipeline.predict(rows.iloc[validated])
    return told


FEW = {"rf": {"n_estimators": 10}, "lightgbm": {"n_estimators": 10, "verbosity": -1}}
BLEND = "lr+rf+lightgbm"
DAYS = pd.date_range("2024-01-01", periods=120)
ODD = ["a b", "[x]", "a<b", 'q"r', "{z}", "ü漢", "$x_1$", ":,'"]
OWN = ["target", "index", "fold", "prediction", "y", "yes", "0", "prepare", "Unnamed: 0"]
NUMBER = np.arange(120)
MIXED = {
    "many": [f"v{number % 53}" for number in range(120)],
    "all": [f"w {number}" for number in range(120)],
    "few": [*"pqr"] * 40,
    "day": pd.Series(DAYS).where(NUMBER % 9 > 0),
    "one day": [pd.Timestamp("2024-05-01"), *[pd.NaT] * 119],
    "one number": [1.5, 2.5, *[np.nan] * 118],
    "one text": [None, "k", *[None] * 118],
    "flag": NUMBER % 7 < 3,
}


def with_class(count: int) -> pd.DataFrame:
    """So many rows of a class of its own, spread over the table."""
    rows = small("multiclass", day=DAYS)
    places = np.linspace(0, 119, count).astype(int)
    return rows.assign(answer=rows["answer"].where(~rows.index.isin(places), "x"))


def late(from_row: int) -> pd.DataFrame:
    """A third class that is first seen in a certain row."""
    rows = small("multiclass", day=DAYS)
    return rows.assign(answer=rows["answer"].where((rows["answer"] != "w") | (from_row <= NUMBER), "u"))


@pytest.mark.parametrize(
    ("rows", "how", "model"),
    [
        (small("multiclass"), {}, "knn"),
        (with_class(1), {}, BLEND),
        (with_class(3), {}, "knn"),
        (late(60), {"how": "time", "by": "day"}, BLEND),
        (late(100), {"how": "time", "by": "day"}, "rf"),
        (small(day=DAYS), {"how": "time", "by": "day"}, "knn"),
        (small("regression", day=DAYS), {"how": "time", "by": "day"}, "lr"),
        (small(group=NUMBER % 9), {"how": "group", "by": "group"}, BLEND),
        (small("regression", group=NUMBER % 9), {"how": "group", "by": "group"}, "knn"),
        (small("multiclass", group=NUMBER // 4), {"how": "group", "by": "group"}, "rf"),
        (small("binary", ODD), {}, BLEND),
        (small("regression", ODD), {}, "lightgbm"),
        (small("multiclass", OWN), {}, "lr"),
        (small().rename(columns={"answer": "[x]"}), {"target": "[x]"}, "lr"),
        (small().rename(columns={"answer": "target"}), {"target": "target"}, "lr"),
        (small(**MIXED), {}, "rf"),
        (small("multiclass", **MIXED), {}, "lightgbm"),
        (small("regression", **MIXED), {}, BLEND),
        (small().head(8).assign(answer=["yes", "no"] * 4), {}, "knn"),
    ],
    ids=[
        "classes", "a class of one", "a class of three", "a class that comes late", "a class that comes too late", "time",
        "time, numbers", "groups", "groups, numbers", "groups, classes", "odd names", "odd names, numbers",
        "names that PyCaret might use", "odd target", "target", "mixed", "mixed, classes", "mixed, numbers", "eight rows",
    ],
)  # fmt: skip
def test_every_odd_table_is_predicted_as_scikit_learn_alone_would(rows, how, model):
    asked, rows, folds, answers = divided(rows, **how)
    result = play(model, asked, rows, folds, answers, FEW if "+" in model else FEW.get(model))
    np.testing.assert_allclose(result.predictions, by_hand(result, asked, rows, folds, answers), atol=1e-9)
    assert result.scores.index.tolist() == sorted(set(folds["fold"]) - {-1})
    assert (np.isnan(result.predictions).reshape(len(folds), -1).all(axis=1) == (folds["fold"] == -1)).all()


def test_no_model_asks_for_more_neighbours_than_there_are_rows():
    asked, rows, folds, answers = divided(small().head(12).assign(answer=["yes", "no"] * 6))
    fewest = len(rows) - folds["fold"].value_counts().max()
    assert play("knn", asked, rows, folds, answers, {"n_neighbors": 25}).estimator.n_neighbors == fewest
    assert play("knn", asked, rows, folds, answers, {"n_neighbors": 2}).estimator.n_neighbors == 2
