"""The tournament's scores are scikit-learn's own, PyCaret's agree with them, and no row has a say in its own prediction."""

import dataclasses
import multiprocessing
import os
import re
import subprocess
import sys
import types

import numpy as np
import pandas as pd
import pytest
import sklearn
import skops.io
from conftest import learn, settings
from optuna.distributions import CategoricalDistribution, IntDistribution
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor, StackingClassifier, StackingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import (
    GroupKFold,
    PredefinedSplit,
    StratifiedKFold,
    cross_val_predict,
)
from sklearn.model_selection import cross_validate as by_scikit_learn
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, TargetEncoder

from baton import BatonError, cores, models
from baton.data import split
from baton.handover import runner, saving
from baton.training import evaluation, preparation, tournament

ROWS = 400
SEED = 7

# The names that Baton, PyCaret and scikit-learn give the same score. PyCaret's multi-class AUC says 0.0 too often.
CLASSIFIED = {"AUC": "roc_auc", "Accuracy": "accuracy", "F1": "f1", "Recall": "recall", "Prec.": "precision"}
ESTIMATED = {"R2": "r2", "MAE": "neg_mean_absolute_error", "RMSE": "neg_root_mean_squared_error"}
SEVERAL = {"Accuracy": "accuracy", "F1": "f1_weighted", "Recall": "recall_weighted", "Prec.": "precision_weighted"}

LOGISTIC = LogisticRegression(max_iter=1000, random_state=SEED)
TREES = {"rf": {"n_estimators": 20}}
FOREST = RandomForestClassifier(**TREES["rf"], random_state=SEED, n_jobs=1)


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


def divided(rows: pd.DataFrame, target: str = "answer", **keys):
    """The contract, X, y and folds of a table, as `clean` and `features` make them."""
    division = split.separate(rows, learn(rows, target, **keys), settings(target=target, **keys))
    return (
        division.contract,
        division.contract.read_features(division.training),
        division.training[target],
        division.folds,
    )


def cross_validate(model, contract, X, y, folds, params=None, tune=0, prepare=None) -> tournament.Result:
    prepare = prepare or preparation.prepare(None, X, contract.task)
    return tournament.cross_validate(model, params or {}, tune, X, y, folds, contract, prepare, SEED)


@pytest.mark.parametrize(
    ("kind", "target", "model", "estimator", "shared"),
    [
        ("numeric", "0/1", "lr", LOGISTIC, CLASSIFIED),
        ("mixed", "yes/no", "lr", LOGISTIC, CLASSIFIED),
        ("mixed", "0/1", "rf", FOREST, CLASSIFIED),
        ("mixed", "three", "lr", LOGISTIC, SEVERAL),
        ("numeric", "number", "lr", LinearRegression(), ESTIMATED),
        ("mixed", "number", "rf", RandomForestRegressor(**TREES["rf"], random_state=SEED, n_jobs=1), ESTIMATED),
    ],
)
def test_cross_validation_agrees_with_scikit_learns_and_with_pycarets(kind, target, model, estimator, shared):
    contract, X, y, folds = divided(table(kind, target))
    prepare = preparation.prepare(None, X, contract.task)
    pipeline = Pipeline([("prepare", prepare), ("model", estimator)])
    several = {"AUC": "roc_auc_ovr"} if target == "three" else {}
    expected = by_scikit_learn(
        pipeline, X, contract.encode(y), cv=PredefinedSplit(folds["fold"]), scoring=[*(shared | several).values()]
    )
    found = cross_validate(model, contract, X, y, folds, TREES.get(model))
    for name, scorer in (shared | several).items():
        np.testing.assert_allclose(found.scores[name], np.abs(expected[f"test_{scorer}"]), atol=1e-9, err_msg=name)
    experiment = tournament.set_up(X, contract.encode(y), folds, contract, SEED)
    experiment.create_model(pipeline, refit=False, verbose=False)
    for name, scorer in shared.items():  # PyCaret rounds its table to four digits
        pycaret, own = experiment.pull()[name].iloc[:5], np.abs(expected[f"test_{scorer}"])
        np.testing.assert_allclose(pycaret, own, atol=6e-5, err_msg=f"{name}, PyCaret")


def test_a_prediction_of_a_row_comes_from_a_model_that_did_not_see_it():
    """With a target of pure noise, a forest that saw a row would know its answer; one that didn't is right half the time."""
    contract, X, y, folds = divided(table("numeric", "0/1"))
    noise = pd.Series(np.random.default_rng(5).integers(0, 2, len(y)), index=y.index)
    result = cross_validate("rf", contract, X, noise, folds)
    assert 0.4 < (result.predictions.argmax(axis=1) == noise.to_numpy()).mean() < 0.6


@pytest.mark.parametrize(("worth", "shared"), [(0, True), (60, False)])
def test_folds_that_are_worth_it_are_shared_with_idle_cores_and_come_to_the_same(monkeypatch, tmp_path, worth, shared):
    contract, X, y, folds = divided(table("mixed", "three"))
    alone = cross_validate("rf", contract, X, y, folds, {"n_estimators": 5})
    predict, log = tournament._predict, tmp_path / "who"

    def noted(*given):
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return predict(*given)

    monkeypatch.setattr(tournament, "_predict", noted)
    monkeypatch.setattr(tournament, "WORTH", worth)
    cores.use(cores.make(1, multiprocessing.get_context("fork")))
    try:
        found = cross_validate("rf", contract, X, y, folds, {"n_estimators": 5})
    finally:
        cores.use(None)
    np.testing.assert_array_equal(found.predictions, alone.predictions)
    assert (len({*log.read_text().split()}) > 1) == shared


def test_a_blend_averages_its_members():
    sample = divided(table("numeric", "yes/no"))
    parts = [cross_validate(part, *sample).as_fitted for part in ("lr", "dt", "nb")]
    params = {"dt": {"random_state": SEED}}
    np.testing.assert_allclose(cross_validate("lr+dt+nb", *sample, params).as_fitted, sum(parts) / 3, atol=1e-9)


@pytest.mark.parametrize(
    ("target", "stack", "last", "members"),
    [
        ("0/1", StackingClassifier, LOGISTIC, [LOGISTIC, KNeighborsClassifier(25)]),
        ("three", StackingClassifier, LOGISTIC, [LOGISTIC, KNeighborsClassifier(25)]),
        ("number", StackingRegressor, LinearRegression(), [LinearRegression(), KNeighborsRegressor(25)]),
    ],
)
def test_a_stack_combines_what_its_members_predict_of_rows_they_have_not_seen(target, stack, last, members):
    contract, X, y, folds = divided(table("numeric", target))
    found = cross_validate("stack(lr+knn)", contract, X, y, folds, {"knn": {"n_neighbors": 25}})
    by_sklearn = stack([*zip(["lr", "knn"], members, strict=True)], last, cv=5)
    expected = by_hand(found._replace(estimator=by_sklearn), contract, X, y, folds)
    np.testing.assert_allclose(found.as_fitted, expected, atol=1e-9)


@pytest.mark.parametrize(
    ("model", "model_params", "said"),
    [
        ("knn", {"n_neighbors": -3}, r"model 'knn' with \{'n_neighbors': -3\} can't be fitted: .*'n_neighbors' parameter"),
        ("dt", {"depth": 3}, r"model 'dt' with \{'depth': 3\} can't be fitted: .*'depth'"),
        ("lasso", {}, "model 'lasso' can't predict classes; take another for 'answer'"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_fitted_is_named_with_the_reason(model, model_params, said):
    with pytest.raises(BatonError, match=said):
        cross_validate(model, *divided(table("numeric", "0/1")), model_params)


@pytest.mark.parametrize(("target", "model"), [("three", "nb"), ("number", "lr")])
def test_a_model_that_predicts_what_is_no_number_is_named(target, model):
    """By a fold that one candidate has no score in, none is compared."""
    contract, X, y, folds = divided(table("numeric", target))
    far = np.arange(len(X)) == folds["fold"].argmin()
    X.loc[far, ["a", "b"]] = [1.5e308, -1.5e308]
    said = f"model '{model}' with its defaults predicts no finite number for 1 of {len(X)} rows. Leave it out"
    with pytest.raises(BatonError, match=re.escape(said)):
        cross_validate(model, contract, X, y, folds.assign(trains=~far))


@pytest.mark.parametrize("target", ["0/1", "yes/no", "three", "number"])
def test_the_model_on_raw_rows_equals_the_estimator_on_prepared_rows(target, diabetes, features):
    """What is registered holds every step, and no PyCaret."""
    contract, X, y, _ = divided(table("numeric", target))
    raw = diabetes.X.head(len(X))
    y = y.head(len(raw)).set_axis(raw.index)
    estimator = LinearRegression() if target == "number" else FOREST
    ready = preparation.clean_and_derive(raw, features)
    prepare = preparation.prepare(features, ready, contract.task)
    pipeline, costs = tournament.fit_and_time(tournament.assemble(prepare, estimator, features), raw, y)
    assert min(costs["fit_seconds"], costs["score_seconds"]) > 0

    numbers = clone(prepare).fit(ready, y).transform(ready)
    alone = clone(estimator).fit(numbers, y)
    assert [name for name, _ in pipeline.steps] == ["clean", "derive", "prepare", "model"]
    if target == "number":
        np.testing.assert_array_equal(pipeline.predict(raw), alone.predict(numbers))
    else:
        expected = alone.predict_proba(numbers)
        order = [list(alone.classes_).index(label) for label in contract.labels]
        np.testing.assert_array_equal(saving.probabilities(pipeline, raw, contract), expected[:, order])
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


def by_hand(result, contract, X, y, folds) -> np.ndarray:
    """What scikit-learn alone predicts out of fold; a class that a fold's model never saw has no chance."""
    codes = contract.encode(y).astype("float64" if contract.task == "regression" else "int64")
    expected = np.full((len(X), len(contract.labels)) if contract.labels else len(X), np.nan)
    for fitted, validated in split.make_splitter(folds, contract).split():
        steps = [("prepare", preparation.prepare(None, X, contract.task)), ("model", clone(result.estimator))]
        pipeline = Pipeline(steps).fit(X.iloc[fitted], codes.iloc[fitted])
        if contract.labels:
            expected[validated] = 0
            expected[np.ix_(validated, pipeline.classes_.astype(int))] = pipeline.predict_proba(X.iloc[validated])
        else:
            expected[validated] = pipeline.predict(X.iloc[validated])
    return expected


FEW = {"rf": {"n_estimators": 10}, "lightgbm": {"n_estimators": 10, "verbosity": -1}}
BLEND = "lr+rf+lightgbm"
STACK = "stack(lr+rf)"
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
    ("rows", "keys", "model"),
    [
        (small("multiclass"), {}, "knn"),
        (with_class(1), {}, BLEND),
        (with_class(3), {}, "knn"),
        (late(60), {"split": "time", "split_by": "day"}, BLEND),
        (late(60).replace({"answer": {"w": "a"}}), {"split": "time", "split_by": "day"}, "rf"),
        (late(100), {"split": "time", "split_by": "day"}, "rf"),
        (small(day=DAYS), {"split": "time", "split_by": "day"}, "knn"),
        (small("regression", day=DAYS), {"split": "time", "split_by": "day"}, "lr"),
        (small(group=NUMBER % 9), {"split": "group", "split_by": "group"}, BLEND),
        (small("regression", group=NUMBER % 9), {"split": "group", "split_by": "group"}, "knn"),
        (small("multiclass", group=NUMBER // 4), {"split": "group", "split_by": "group"}, "rf"),
        (small("binary", ODD), {}, BLEND),
        (small("regression", ODD), {}, "lightgbm"),
        (small("multiclass", OWN), {}, "lr"),
        (small().rename(columns={"answer": "[x]"}), {"target": "[x]"}, "lr"),
        (small().rename(columns={"answer": "target"}), {"target": "target"}, "lr"),
        (small(**MIXED), {}, "rf"),
        (small("multiclass", **MIXED), {}, "lightgbm"),
        (small("regression", **MIXED), {}, BLEND),
        (small().head(14).assign(answer=["yes", "no"] * 7), {}, "knn"),
        (with_class(1), {}, STACK),
        (late(60), {"split": "time", "split_by": "day"}, STACK),
    ],
    ids=[
        "classes", "a class of one", "a class of three", "a class that comes late", "the first class comes late",
        "a class that comes too late", "time",
        "time, numbers", "groups", "groups, numbers", "groups, classes", "odd names", "odd names, numbers",
        "names that PyCaret might use", "odd target", "target", "mixed", "mixed, classes", "mixed, numbers", "fourteen rows",
        "stack, a class of one", "stack, time",
    ],
)  # fmt: skip
def test_every_odd_table_is_predicted_as_scikit_learn_alone_would(rows, keys, model, monkeypatch):
    monkeypatch.setattr(tournament.calibration, "FEWEST", np.inf)  # no model is calibrated
    contract, X, y, folds = divided(rows, **keys)
    result = cross_validate(model, contract, X, y, folds, FEW if "+" in model else FEW.get(model))
    np.testing.assert_allclose(result.predictions, by_hand(result, contract, X, y, folds), atol=1e-9)
    assert result.scores.index.tolist() == sorted(set(folds["fold"]) - {-1})
    assert (np.isnan(result.predictions).reshape(len(folds), -1).all(axis=1) == (folds["fold"] == -1)).all()


@pytest.mark.parametrize(("params", "iterations"), [({}, 1000), ({"max_iter": 50}, 50)])
def test_what_the_grid_says_goes_before_pycarets_defaults(params, iterations):
    made = tournament.make_estimator("lr", params, divided(small())[0], 10, seed=3)
    assert (made.max_iter, made.random_state) == (iterations, 3)


@pytest.mark.parametrize(
    ("model", "given", "known"),
    [
        ("lightgbm", "min_data_in_leaf", "min_child_samples"), ("lightgbm", "eta", "learning_rate"),
        ("lightgbm", "is_unbalance", "is_unbalance"), ("lightgbm", "extra_tree", "extra_tree"),
        ("lightgbm", "max_depth", "max_depth"), ("lightgbm", "class_weight", "class_weight"),
        ("xgboost", "lambda", "reg_lambda"), ("xgboost", "rate_drop", "rate_drop"), ("xgboost", "max_depth", "max_depth"),
        ("lr", "C", "C"),
    ],
)  # fmt: skip
def test_a_parameter_has_the_name_that_a_search_knows(model, given, known):
    assert tournament._known(model, {given: 1}) == {known: 1}


@pytest.mark.parametrize("model", ["lightgbm", "xgboost"])
def test_a_parameter_that_a_model_would_pass_over_is_told(model):
    contract = divided(small())[0]
    with pytest.raises(BatonError, match=f"model '{model}' has no parameter 'max_dept' .did you mean 'max_depth'"):
        tournament.make_estimator(model, {"max_dept": 3}, contract, 10, seed=3)
    with pytest.raises(BatonError, match=f"model '{model}': 'eta' is another name of 'learning_rate', which is given"):
        tournament.make_estimator(model, {"learning_rate": 0.1, "eta": 0.3}, contract, 10, seed=3)


def test_no_model_asks_for_more_neighbours_than_there_are_rows(monkeypatch):
    contract, X, y, folds = divided(small().head(12).assign(answer=["yes", "no"] * 6))
    fewest = len(X) - folds["fold"].value_counts().max()
    assert cross_validate("knn", contract, X, y, folds, {"n_neighbors": 25}).estimator.n_neighbors == fewest
    assert cross_validate("knn", contract, X, y, folds, {"n_neighbors": 2}).estimator.n_neighbors == 2
    tuned = cross_validate("knn", contract, X, y, folds, tune=9)
    assert {trial.state for trial in tuned.trials} <= {"finished", "pruned"}  # one that can't be fitted is lost
    assert 1 < max(trial.params["n_neighbors"] for trial in tuned.trials) <= fewest
    contract, X, y, folds = divided(small().head(40))
    fewest = len(X) - folds["fold"].value_counts().max()
    for model, rows in (("lr+knn", fewest), ("stack(lr+knn)", fewest - -(-fewest // 5))):  # a stack has folds within
        found = cross_validate(model, contract, X, y, folds, {"knn": {"n_neighbors": 100}})
        assert found.estimator.get_params()["knn__n_neighbors"] == rows


def test_a_tuned_candidate_has_other_settings_and_each_fold_found_its_own(monkeypatch):
    monkeypatch.setattr(tournament.calibration, "FEWEST", np.inf)  # no model is calibrated
    sample, start = divided(small(), folds=3), {"max_depth": 12}
    nested = cross_validate("dt", *sample, start, 4)
    monkeypatch.setattr(tournament, "NESTED_ROWS", 0)
    flattered, plain = (cross_validate("dt", *sample, start, tune) for tune in (4, 0))
    assert (nested.nested, flattered.nested, plain.nested) == (True, False, True)
    assert nested.estimator.get_params() == flattered.estimator.get_params() != plain.estimator.get_params()
    np.testing.assert_allclose(flattered.predictions, by_hand(flattered, *sample), atol=1e-9)
    assert np.abs(nested.predictions - flattered.predictions).max() > 0.01


def noise(seed: int):
    generator = np.random.default_rng(seed)
    rows = pd.DataFrame(generator.normal(size=(150, 4)), columns=[*"abcd"]).assign(answer=generator.integers(0, 2, 150))
    return divided(rows, folds=3)


def test_tuned_settings_are_not_scored_by_the_rows_that_chose_them(monkeypatch):
    """On noise, a search over the very folds that score it flatters the model that it finds."""

    def mean_auc() -> float:
        return np.mean([cross_validate("dt", *noise(seed), tune=4).scores["AUC"].mean() for seed in range(6, 9)])

    nested = mean_auc()
    monkeypatch.setattr(tournament, "NESTED_ROWS", 0)
    assert mean_auc() > nested + 0.02


def test_a_search_for_one_fold_is_given_no_row_that_this_fold_does_not_train_on(monkeypatch):
    contract, X, y, folds = divided(small(), folds=3)
    folds = folds.assign(trains=np.arange(len(folds)) % 4 > 0)
    given = []
    monkeypatch.setattr(tournament, "_search", lambda *_: given.append(_[-2]) or (_[-3], [], {}))
    assert cross_validate("dt", contract, X, y, folds, tune=1).nested
    fitted = [range(len(folds)), *(fitted for fitted, _ in split.make_splitter(folds, contract).split())]
    assert len(given) == len(fitted) == 4
    for within, allowed in zip(given, fitted, strict=True):
        for parts in split.make_splitter(within, contract).split():
            assert {*np.concatenate(parts)} <= {*allowed}


def test_a_time_to_tune_is_shared_by_the_searches_that_score_it(monkeypatch):
    shares = []
    monkeypatch.setattr(tournament, "_search", lambda model, share, *_: shares.append(share) or (_[-3], [], {}))
    assert cross_validate("dt", *divided(small(), folds=3), tune={"trials": 9, "minutes": 1}).nested
    assert shares == [tournament.study.Budget(9, 15)] * 4
    monkeypatch.setattr(tournament, "NESTED_ROWS", 0)  # a search within each fold would take too long, but for a limit
    assert cross_validate("dt", *divided(small(), folds=3), tune={"minutes": 1}).nested
    assert not cross_validate("dt", *divided(small(), folds=3), tune={"trials": 9}).nested
    assert cross_validate("dt", *divided(small(), folds=2), tune={"minutes": 1}).nested is False
    assert shares[-1] == tournament.study.Budget(seconds=60)


def test_a_search_is_kept_and_begins_anew_when_what_it_rests_on_changes(tmp_path, monkeypatch):
    contract, X, y, folds = divided(small(), folds=3)
    monkeypatch.setattr(tournament, "NESTED_ROWS", 0)

    def trials(X=X, y=y, folds=folds, params=(("max_depth", 9),), count=3, **asked):
        question, file = dataclasses.replace(contract, **asked), tmp_path / "study.log"
        found = tournament.cross_validate(
            "dt", dict(params), count, X, y, folds, question, preparation.prepare(None, X, "binary"), SEED, file
        )
        return [trial.started for trial in found.trials]

    first = trials()
    assert trials() == first
    assert trials(count=5)[:3] == first
    reversed_folds = folds.assign(fold=folds["fold"][::-1].to_numpy())
    random = {"trials": 3, "sampler": "random"}
    other_y = y.where(np.arange(len(y)) > 0, "no" if y.iloc[0] == "yes" else "yes")
    changes = {"X": X * 2}, {"y": other_y}, {"folds": reversed_folds}, {"params": ()}, {"count": random}
    for changed in (*changes, {"metric": "Log Loss"}):
        assert not {*trials(**changed)} & {*first}
    monkeypatch.setattr(sklearn, "__version__", "another")
    assert not {*trials()} & {*first}


def test_a_search_is_kept_by_what_its_steps_hold_and_not_by_where_they_are_in_memory(tmp_path, monkeypatch):
    contract, X, y, folds = divided(small(), folds=2)

    def started(pattern: str, body: str = "return rows") -> list[float]:
        module = types.ModuleType("own_features")
        file = tmp_path / f"{len(body)}.py"
        file.write_text(f"def own(rows):\n    {body}\n")
        exec(compile(file.read_text(), file, "exec"), module.__dict__)
        monkeypatch.setitem(sys.modules, "own_features", module)
        prepare = make_column_transformer((FunctionTransformer(module.own), make_column_selector(pattern)))
        asked = "dt", {}, 2, X, y, folds, contract, prepare, SEED, tmp_path / "study.log"
        return [trial.started for trial in tournament.cross_validate(*asked).trials]

    first = started("a|b")
    assert started("a|b") == first
    assert not {*first} & {*started("a|c"), *started("a|b", "return rows + 1")}


def test_a_search_without_time_for_a_trial_is_told():
    contract, X, y, folds = divided(small(), folds=3)
    asked = "dt", {}, {"minutes": 1e-9}, X, y, folds, contract, preparation.prepare(None, X, "binary"), SEED
    with pytest.raises(BatonError, match="model 'dt' can't be tuned: not one trial has ended in the 0.0 s that this"):
        tournament.cross_validate(*asked)


def test_a_search_in_which_every_trial_fails_says_why(monkeypatch):
    searched = models.CATALOGUE["dt"]._replace(search={"max_depth": models.Range(-3, -2)})
    monkeypatch.setitem(models.CATALOGUE, "dt", searched)
    with pytest.raises(
        BatonError, match="model 'dt' can't be tuned: none of 2 trials succeeded. Inv.*'max_depth' param"
    ):
        cross_validate("dt", *divided(small(), folds=3), tune=2)


def test_a_search_that_finds_nothing_better_leaves_the_settings_as_they_were(monkeypatch):
    """Of two columns that tell the target only together, a tree of depth 1 makes nothing."""
    monkeypatch.setattr(tournament.calibration, "FEWEST", np.inf)  # no model is calibrated
    monkeypatch.setitem(models.CATALOGUE, "dt", models.CATALOGUE["dt"]._replace(search={"max_depth": models.Range(1, 2)}))  # fmt: skip
    monkeypatch.setattr(tournament, "_distribution", lambda found: CategoricalDistribution([1]))
    rows = small(names="ab")
    contract, X, y, folds = divided(rows.assign(answer=np.where((rows["a"] > 0) == (rows["b"] > 0), "yes", "no")))
    assert cross_validate("dt", contract, X, y, folds, {"max_depth": 6}, tune=1).estimator.max_depth == 6


@pytest.mark.parametrize(
    ("target", "metric"),
    [("0/1", "Log Loss"), ("0/1", "Average Precision"), ("three", "AUC"), ("number", "RMSE"), ("number", "MAE")],
)
def test_a_search_goes_by_the_chosen_metric(target, metric, monkeypatch):
    """Of a few settings it returns the one that scikit-learn alone finds best by that metric over the merged folds."""
    monkeypatch.setattr(tournament.calibration, "FEWEST", np.inf)  # no model is calibrated
    values = [1, 3, 60]
    monkeypatch.setattr(tournament, "NESTED_ROWS", 0)
    searched = models.CATALOGUE["dt"]._replace(search={"min_samples_leaf": models.Range(1, 60)})
    monkeypatch.setitem(models.CATALOGUE, "dt", searched)
    monkeypatch.setattr(tournament, "_distribution", lambda found: CategoricalDistribution(values))
    contract, X, y, folds = divided(table("numeric", target), metric=metric)
    found = cross_validate("dt", contract, X, y, folds, tune=12).estimator.min_samples_leaf
    merged = folds.assign(fold=folds["fold"] * 3 // 5)
    scores = {
        value: cross_validate("dt", contract, X, y, merged, {"min_samples_leaf": value}).scores[metric].mean()
        for value in values
    }
    best = max if evaluation.METRICS[metric].higher_is_better else min
    assert found == best(scores, key=scores.get)


@pytest.mark.parametrize(
    ("rows", "keys", "nested"),
    [
        (late(60), {"split": "time", "split_by": "day"}, True),
        (with_class(3), {}, True),
        (small("regression"), {"folds": 2}, False),
        (small(group=NUMBER % 9), {"split": "group", "split_by": "group"}, True),
    ],
    ids=["a class that comes late", "a rare class", "two folds", "groups"],
)
def test_odd_tables_can_be_tuned(rows, keys, nested):
    contract, X, y, folds = divided(rows, **{"folds": 3} | keys)
    result = cross_validate("dt", contract, X, y, folds, {"max_depth": 2}, tune=2)
    assert result.nested == nested
    assert (np.isnan(result.predictions).reshape(len(folds), -1).all(axis=1) == (folds["fold"] == -1)).all()


def test_the_first_fold_in_time_is_scored_by_the_settings_a_candidate_starts_with():
    """The rows before it have no folds of their own, and all others are later."""
    sample = divided(small(day=DAYS), split="time", split_by="day", folds=2)
    tuned, plain = (cross_validate("dt", *sample, {"max_depth": 12}, tune) for tune in (9, 0))
    first = sample[3]["fold"].to_numpy() == 0
    assert tuned.estimator.get_params() != plain.estimator.get_params()
    np.testing.assert_array_equal(tuned.predictions[first], plain.predictions[first])
    assert np.abs(tuned.predictions - plain.predictions)[sample[3]["fold"] > 0].max() > 0.01


def test_rows_left_out_are_not_learned_from_and_predicted_all_the_same():
    """Every third row has a false answer: where it is fitted on, the scores of all rows are worse."""
    rows = table("numeric", "0/1").reset_index(drop=True)
    rows["odd"] = np.arange(len(rows)) % 3 == 0
    contract, X, y, folds = divided(rows)
    odd = X.pop("odd").astype(bool)
    y = y.where(~odd, 1 - y)
    code = types.SimpleNamespace(select=lambda rows: rows[~odd[rows.index]])
    kept = preparation.select(X, code)
    left_out = cross_validate("lr", contract, X, y, folds.assign(trains=kept))
    assert not np.isnan(left_out.as_fitted).any()
    for fitted, validated in split.make_splitter(folds, contract).split():
        fitted = fitted[kept.to_numpy()[fitted]]
        pipeline = Pipeline([("prepare", preparation.prepare(None, X, "binary")), ("model", LOGISTIC)])
        expected = pipeline.fit(X.iloc[fitted], y.iloc[fitted]).predict_proba(X.iloc[validated])
        np.testing.assert_allclose(left_out.as_fitted[validated], expected, atol=1e-9)


def by_customer(task: str, customers: int = 480) -> pd.DataFrame:
    """Five rows a customer, with the same code and the same target, which is noise."""
    generator = np.random.default_rng(6)
    target = {
        "binary": generator.choice(["no", "yes"], customers),
        "multiclass": generator.choice([*"abc"], customers),
        "regression": generator.normal(size=customers),
    }
    code = [f"c{number}" for number in generator.integers(0, 40, customers)]
    made = pd.DataFrame({"customer": range(customers), "code": code, "answer": target[task]})
    return made.loc[made.index.repeat(5)].reset_index(drop=True).assign(x=generator.normal(size=customers * 5))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_an_encoder_by_group_tells_no_row_its_groups_target(task, tmp_path):
    """A model fitted on what does trusts the encoding, and predicts new groups worse than chance."""
    contract, X, y, folds = divided(by_customer(task), split="group", split_by="customer")
    assert contract.task == task
    steps = {grouped: preparation.prepare(None, X, task, grouped) for grouped in (True, False)}
    metric, chance = {
        "binary": ("Log Loss", np.log(2)),
        "multiclass": ("Log Loss", np.log(3)),
        "regression": ("RMSE", np.std(y) if task == "regression" else 0),
    }[task]
    by_group, by_row = (
        cross_validate("lr", contract, X, y, folds, prepare=steps[way]).scores[metric].mean() for way in (True, False)
    )
    assert by_group == pytest.approx(chance, abs=0.02)
    assert by_row > by_group + 0.03

    pipeline, _ = tournament.fit_and_time(
        tournament.assemble(steps[True], LOGISTIC if contract.labels else LinearRegression(), None),
        X,
        y,
        folds["group"],
    )
    skops.io.dump(pipeline, tmp_path / "model.skops")
    assert {*skops.io.get_untrusted_types(file=tmp_path / "model.skops")} <= {*models.trusted_types()}
    again = skops.io.load(tmp_path / "model.skops", trusted=models.trusted_types())
    np.testing.assert_array_equal(again.predict(X), pipeline.predict(X))


def test_a_tuned_candidates_encoder_goes_by_group_as_well():
    contract, X, y, folds = divided(by_customer("binary"), split="group", split_by="customer", folds=3)
    result = cross_validate("lr", contract, X, y, folds, tune=1, prepare=preparation.prepare(None, X, "binary", True))
    assert result.nested
    assert result.scores["Log Loss"].mean() < np.log(2) + 0.02


@pytest.mark.parametrize("customers", [3, 6])
def test_an_encoder_by_group_stands_few_groups(customers):
    rows = pd.concat([by_customer("binary", 60)] * 8, ignore_index=True)
    rows = rows.assign(customer=rows.index % customers, code=[f"c{number % 40}" for number in rows.index])
    contract, X, y, folds = divided(rows, split="group", split_by="customer", holdout=0.4, folds=2)
    prepare = preparation.prepare(None, X, "binary", grouped=True)
    result = cross_validate("lr", contract, X, y, folds, prepare=prepare)
    assert folds["group"].nunique() < 5
    assert not np.isnan(result.predictions[folds["fold"] >= 0]).any()


@pytest.mark.parametrize("cv", [GroupKFold(4), 5], ids=["by group", "by row"])
def test_a_feature_file_may_bring_an_encoder_of_its_own(cv):
    contract, X, y, folds = divided(by_customer("binary"), split="group", split_by="customer")
    prepare = make_column_transformer((TargetEncoder(cv=cv), ["code"]))
    result = cross_validate("lr", contract, X, y, folds, prepare=prepare)
    assert (result.scores["Log Loss"].mean() < np.log(2) + 0.03) == (cv != 5)


def test_the_same_rows_and_seed_give_the_same_choice_on_a_busy_machine():
    """How long a fit takes must have no say in what is chosen."""
    sample = divided(small(), folds=3)
    candidates = {"lr": 0, "dt": 2, "knn": 0, "lightgbm": 0}
    params = {"lightgbm": {"n_estimators": 10, "verbosity": -1}}

    def train() -> tuple:
        scores = {
            model: cross_validate(model, *sample, params.get(model), tune).scores["AUC"]
            for model, tune in candidates.items()
        }
        ratio = split.make_splitter(sample[3], sample[0]).test_train_ratio()
        ranking = evaluation.compare_to_best(scores, "AUC", ratio)
        return ranking, [
            evaluation.choose(ranking, {model: model for model in candidates}, how) for how in ("best", "simplest")
        ]

    ranking, choices = train()
    others = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(os.cpu_count())]
    try:
        busy_ranking, busy_choices = train()
    finally:
        for other in others:
            other.kill()
            other.wait()
    pd.testing.assert_frame_equal(ranking, busy_ranking)
    assert choices == busy_choices


def amounts(rows: int = 240, seed: int = 1) -> pd.DataFrame:
    """Prices: what a signal adds to their logarithm."""
    generator = np.random.default_rng(seed)
    table = pd.DataFrame(generator.normal(size=(rows, 3)), columns=[*"abc"])
    return table.assign(answer=np.exp(1.6 * table["a"] + 0.6 * table["b"] + 0.1 * generator.normal(size=rows)))


@pytest.mark.parametrize("model", ["lr", "lr+knn", "stack(lr+knn)"])
def test_a_skewed_target_is_fitted_as_its_logarithm_where_that_is_better(model, monkeypatch, tmp_path):
    contract, X, y, folds = divided(amounts())
    found = cross_validate(model, contract, X, y, folds)
    assert found.scale == "log"
    pipeline = tournament.assemble(preparation.prepare(None, X, "regression"), found.estimator, None).fit(X, y)
    assert (
        np.corrcoef(np.log(pipeline.predict(X)), np.log(y.astype("float64")))[0, 1] > 0.9
    )  # in the target's own units
    skops.io.dump(pipeline, tmp_path / "model.skops")
    assert {*skops.io.get_untrusted_types(file=tmp_path / "model.skops")} <= {*models.trusted_types()}
    assert "func" not in found.params
    monkeypatch.setattr(tournament, "SKEWED", np.inf)
    plain = cross_validate(model, contract, X, y, folds)
    assert (plain.scale, str(plain.params)) == ("plain", str(found.params))
    assert found.scores["R2"].mean() > plain.scores["R2"].mean() + 0.02


@pytest.mark.parametrize(
    "change",
    [
        lambda y: -np.exp(y),
        lambda y: np.exp(y) - np.exp(y).min(),  # one that is 0 has no logarithm
        lambda y: y + 100,  # symmetric
    ],
    ids=["negative", "zero", "symmetric"],
)
def test_no_other_target_is_tried_as_its_logarithm(change, monkeypatch):
    monkeypatch.setattr(tournament, "TransformedTargetRegressor", None)
    rows = amounts()
    assert cross_validate("lr", *divided(rows.assign(answer=change(np.log(rows["answer"]))))).scale == "plain"


@pytest.mark.parametrize("tune", [0, 1])
def test_a_fold_has_no_say_in_the_scale_it_is_predicted_on(monkeypatch, tune):
    monkeypatch.setattr(tournament, "_search", lambda *_: (_[-3], [], {}))  # which finds nothing better
    contract, X, y, folds = divided(amounts(), folds=3)
    both = {}
    for scale, skewed in (("plain", np.inf), ("log", -np.inf)):
        monkeypatch.setattr(tournament, "SKEWED", skewed)
        both[scale] = cross_validate("lr", contract, X, y, folds).predictions
    scored = iter([{"R2": [0.5, 0.5, 0.5]}, {"R2": [0.9, 0.4, 0.4]}, {"R2": [1.0, 1.0, 1.0]}])
    monkeypatch.setattr(evaluation, "score_folds", lambda *_: pd.DataFrame(next(scored)))
    found = cross_validate("lr", contract, X, y, folds, tune=tune)
    assert found.nested
    fold = folds["fold"].to_numpy()
    assert found.scale == "log"  # the better one of all folds, by 0.07
    assert np.abs(both["plain"] - both["log"]).min() > 0
    np.testing.assert_array_equal(found.predictions[fold == 0], both["plain"][fold == 0])
    np.testing.assert_array_equal(found.predictions[fold > 0], both["log"][fold > 0])


def test_a_logarithm_that_leads_to_infinite_numbers_is_not_taken():
    """A linear model goes on where nothing was: of a row far out, it says e to the 20,000."""
    rows = amounts()
    contract, X, y, folds = divided(rows)
    assert cross_validate("lr", contract, X, y, folds).scale == "log"
    X.iloc[7, 0] = 20_000.0
    found = cross_validate("lr", contract, X, y, folds)
    assert found.scale == "plain"
    assert np.isfinite(found.predictions[folds["fold"] >= 0]).all()


def test_settings_of_a_logarithm_are_searched_by_the_target_itself(monkeypatch):
    contract, X, y, folds = divided(amounts(), folds=3)
    monkeypatch.setattr(tournament, "_distribution", lambda found: CategoricalDistribution([0.01, 300.0]))
    searched = models.CATALOGUE["ridge"]._replace(search={"alpha": models.Range(0.01, 300.0)})
    monkeypatch.setitem(models.CATALOGUE, "ridge", searched)
    found = cross_validate("ridge", contract, X, y, folds, {"alpha": 30.0}, tune=6)
    assert (found.scale, found.nested, found.params["alpha"]) == ("log", True, 0.01)
    alone = cross_validate("ridge", contract, X, y, folds, {"alpha": 0.01})
    best = max(trial.score for trial in found.trials if trial.state == "finished")
    assert best == pytest.approx(alone.scores["R2"].mean(), abs=1e-9)  # three folds are not merged


def test_a_search_may_go_by_some_of_the_rows_and_what_it_finds_is_scored_by_all(monkeypatch):
    contract, X, y, folds = divided(table("numeric", "0/1"), folds=3)
    fits = []
    fit = preparation.fit
    monkeypatch.setattr(
        preparation, "fit", lambda pipeline, X, *others: fits.append(len(X)) or fit(pipeline, X, *others)
    )
    whole = [int((folds["fold"] != number).sum()) for number in range(3)]
    found = cross_validate("dt", contract, X, y, folds, tune={"trials": 3, "rows": 100})
    searched = [count for count in fits if count not in whole]
    assert fits.count(whole[0]) >= 1
    assert sorted(count for count in fits if count in whole) == sorted(whole)  # each fold's own, once
    assert max(searched) < 100
    assert found.nested
    again = cross_validate("dt", contract, X, y, folds, tune={"trials": 3, "rows": 100})
    assert str(again.estimator) == str(found.estimator)
    assert len(found.predictions) == len(X)
    # More rows than there are: as without.
    plain, capped = (
        cross_validate("dt", contract, X, y, folds, tune=tune) for tune in (3, {"trials": 3, "rows": 10_000})
    )
    assert str(plain.estimator) == str(capped.estimator)


@pytest.mark.parametrize(
    ("model", "parameter"),
    [("hgb", "categorical_features"), ("lightgbm", "categorical_feature"), ("xgboost", None), ("catboost", None)],
)
def test_a_model_is_told_which_of_its_columns_are_categories(model, parameter):
    """Eight towns whose order says nothing: only as categories can two leaves tell the odd ones from the even ones."""
    generator = np.random.default_rng(3)
    town = generator.integers(0, 8, 2000)
    rows = pd.DataFrame({"town": [f"t{number}" for number in town], "a": generator.normal(size=2000)})
    contract, X, y, folds = divided(rows.assign(answer=np.where(generator.random(2000) < 0.9, town % 2, 1 - town % 2)))
    few = {"hgb": {"max_iter": 1, "max_leaf_nodes": 2}, "lightgbm": {"n_estimators": 1, "num_leaves": 2}}
    few = few.get(model, {"n_estimators": 1, "max_depth": 1})
    native, scaled = (preparation.prepare(None, X, contract.task, how=how) for how in ("native", "scaled"))
    found = cross_validate(model, contract, X, y, folds, few, prepare=native)
    assert found.params.get(parameter) == (parameter and [0])
    assert (found.scores["AUC"].mean() > 0.85) == (parameter is not None)
    assert cross_validate(model, contract, X, y, folds, few, prepare=scaled).params.get(parameter) in (
        None,
        "from_dtype",
    )
    given = cross_validate(model, contract, X, y, folds, few | ({parameter: []} if parameter else {}), prepare=native)
    assert given.params.get(parameter) == (parameter and [])


def counts(rows: int = 1500) -> pd.DataFrame:
    generator = np.random.default_rng(5)
    table = pd.DataFrame(generator.normal(size=(rows, 2)), columns=["a", "b"])
    return table.assign(answer=generator.poisson(np.exp(table["a"] + (table["b"] > 1))))


@pytest.mark.parametrize("model", ["hgb", "lightgbm", "xgboost", "catboost"])
def test_counts_are_fitted_as_poisson_where_that_is_better(model):
    quick = {"max_iter": 60} if model == "hgb" else {"n_estimators": 60}
    contract, X, y, folds = divided(counts(), task="regression")
    found = cross_validate(model, contract, X, y, folds, quick)
    assert found.scale == "poisson"
    # Each fold is predicted by what is better on the others.
    both = {}
    for how, change in (("plain", {}), ("poisson", models.CATALOGUE[model].poisson)):
        estimator = tournament.make_estimator(model, quick, contract, 100, SEED).set_params(**change)
        pipeline = Pipeline([("prepare", preparation.prepare(None, X, "regression")), ("model", estimator)])
        both[how] = cross_val_predict(pipeline, X, y, cv=PredefinedSplit(folds["fold"]))
    scores = {
        how: evaluation.score_folds(y.to_numpy(), one, folds["fold"].to_numpy(), "regression")["R2"]
        for how, one in both.items()
    }
    for number in range(5):
        better = max(both, key=lambda how: scores[how].drop(index=number).mean())
        rows = folds["fold"] == number
        np.testing.assert_allclose(found.predictions[rows], both[better][rows])


@pytest.mark.parametrize(
    ("change", "scale"),
    [
        (lambda y: y + 0.5, {"log", "plain"}),
        (lambda y: y - 1, {"plain"}),
        (lambda y: np.minimum(y, 1 + y % 2), {"plain"}),
    ],
    ids=["no whole numbers", "negative ones", "not skewed"],
)
def test_what_are_no_skewed_counts_is_not_fitted_as_poisson(change, scale):
    rows = counts()
    contract, X, y, folds = divided(rows.assign(answer=change(rows["answer"])), task="regression")
    assert cross_validate("hgb", contract, X, y, folds, {"max_iter": 10}).scale in scale


def few_positives(positive: str = "yes", rows: int = 600) -> pd.DataFrame:
    generator = np.random.default_rng(8)
    table = pd.DataFrame(generator.normal(size=(rows, 3)), columns=[*"abc"])
    likely = table["a"] - table["b"] + generator.normal(size=rows) > 2.7
    return table.assign(answer=np.where(likely, positive, "not"))


@pytest.mark.parametrize("how", ["auto", {"cost": {"miss": 10, "alarm": 1}}])
@pytest.mark.parametrize("model", ["lr", "lr+rf", "stack(lr+dt)"])
def test_each_fold_is_predicted_by_the_threshold_of_the_others_and_the_model_by_that_of_all(model, how, tmp_path):
    contract, X, y, folds = divided(few_positives("a rare one"), positive="a rare one", metric="F1")
    assert contract.labels == ["not", "a rare one"]
    prepare = preparation.prepare(None, X, "binary")
    params = {"rf": {"n_estimators": 10}, "dt": {"max_depth": 3}}
    params = {name: params[name] for name in models.members(model) if name in params}
    asked = model, params, 0, X, y, folds, contract, prepare, SEED
    found, likelier = tournament.cross_validate(*asked, threshold=how), tournament.cross_validate(*asked)
    np.testing.assert_array_equal(found.predictions, likelier.predictions)
    assert likelier.threshold is None
    codes, fold, others = contract.encode(y).to_numpy(), folds["fold"].to_numpy(), {}
    for number, scores in found.scores.iterrows():
        left = fold != number
        others[number] = evaluation.choose_threshold(codes[left], found.predictions[left], how, "F1")
        called = found.predictions[~left, 1] >= others[number]
        assert scores["F1"] == pytest.approx(f1_score(codes[~left], called))
    assert len({*others.values()}) > 1
    assert found.threshold == evaluation.choose_threshold(codes, found.predictions, how, "F1")
    assert found.scores["Recall"].mean() > likelier.scores["Recall"].mean() + 0.1
    np.testing.assert_array_equal(found.scores["AUC"], likelier.scores["AUC"])

    contract = dataclasses.replace(contract, threshold=found.threshold)
    plain = tournament.assemble(prepare, found.estimator, None).fit(X, y)
    pipeline = tournament.assemble(prepare, found.estimator, None, contract).fit(X, y)
    saving.save(tmp_path / "model", saving.model_arguments(pipeline, contract, X, y, None))
    loaded = runner.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(X), plain.predict_proba(X))
    rare = plain.predict_proba(X)[:, [*plain.classes_].index("a rare one")]
    assert loaded.predict(X).tolist() == np.where(rare >= found.threshold, "a rare one", "not").tolist()
    assert loaded.predict(X).tolist() != plain.predict(X).tolist()
    assert saving.open_model(tmp_path / "model").contract.threshold == found.threshold
    again = clone(loaded).fit(X[::2], y[::2])
    assert again.named_steps["model"].threshold == found.threshold


def test_a_search_by_a_metric_of_classes_goes_by_the_best_threshold(monkeypatch):
    """At 0.5 no forest of stumps calls a rare class, so all settings would look alike."""
    contract, X, y, folds = divided(few_positives(rows=300), positive="yes", metric="F1", folds=3)
    prepare = preparation.prepare(None, X, "binary")
    asked = "rf", {"max_depth": 1, "n_estimators": 5}, 2, X, y, folds, contract, prepare, SEED
    monkeypatch.setattr(tournament, "NESTED_ROWS", 0)
    monkeypatch.setattr(tournament, "_space", lambda *_: {"min_samples_leaf": IntDistribution(5, 15)})
    assert {trial.score for trial in tournament.cross_validate(*asked).trials} == {0.0}
    assert min(trial.score for trial in tournament.cross_validate(*asked, threshold="auto").trials) > 0.1


def test_another_threshold_begins_another_search_if_that_depends_on_it(tmp_path):
    """What an earlier build has tried is not mixed with what is scored otherwise."""

    def tried(metric: str) -> list[int]:
        contract, X, y, folds = divided(small(), metric=metric, folds=2)
        asked = "dt", {}, 2, X, y, folds, contract, preparation.prepare(None, X, "binary"), SEED, tmp_path / metric
        times = [{trial.started for trial in tournament.cross_validate(*asked, how).trials} for how in (0.5, "auto")]
        return len(times[0] | times[1])

    assert (tried("AUC"), tried("F1")) == (2, 4)


@pytest.mark.parametrize("target", ["0/1", "three"])
def test_a_model_that_is_too_sure_is_calibrated_within_the_rows_it_is_fitted_on(target):
    """On rows it has not seen its log loss is the one that the folds have shown; its order of rows stays."""
    both = table("mixed", target).reset_index(drop=True)
    contract, X, y, folds = divided(both.iloc[:300])
    sure = {"n_neighbors": 3}
    found = cross_validate("knn", contract, X, y, folds, sure)
    assert found.calibrated
    assert found.log_losses["log_loss/calibrated"] < found.log_losses["log_loss/as_fitted"] / 2
    assert found.params["n_neighbors"] == 3
    plain = np.argsort(found.as_fitted[:, 1], kind="stable")
    if target == "0/1":
        assert (np.diff(found.predictions[plain, 1]) >= -0.2).all()  # but for folds, which have their own temperatures
    pipeline = tournament.assemble(preparation.prepare(None, X, contract.task), found.estimator, None).fit(X, y)
    later = both.iloc[300:]
    truth = contract.encode(later["answer"]).to_numpy(dtype=float)
    loss = evaluation.score(
        truth, saving.probabilities(pipeline, contract.read_features(later), contract), contract.task
    )
    assert loss["Log Loss"] == pytest.approx(found.log_losses["log_loss/calibrated"], rel=0.35)
    apart = X.set_index(np.arange(len(X)) + 5), y.set_axis(np.arange(len(X)) + 5)
    preparation.fit(clone(pipeline), *apart)  # whatever the rows are called
    assert len(pipeline.named_steps["model"].calibrated_classifiers_) == 1  # one model, of all rows
    (within,) = {type(value) for name, value in pipeline.get_params().items() if name == "model__cv"}
    assert within is StratifiedKFold


@pytest.mark.parametrize(("pairs", "calibrated"), [(0, True), (15, True), (60, False)])
def test_no_model_is_calibrated_row_by_row_where_rows_come_in_groups(pairs, calibrated):
    """A few equal rows are no reason; many, or ids of several rows, are."""
    contract, X, y, folds = divided(table("numeric", "0/1"))
    number = np.arange(len(folds))
    folds = folds.assign(group=np.where(number < 2 * pairs, number // 2, number))
    found = cross_validate("knn", contract, X, y, folds, {"n_neighbors": 3})
    assert (found.calibrated, bool(found.log_losses)) == (calibrated, calibrated)
    assert np.array_equal(found.predictions, found.as_fitted) == (not calibrated)


def test_no_model_is_calibrated_by_later_rows():
    days = pd.date_range("2024-01-01", periods=ROWS)
    sample = divided(table("numeric", "0/1").assign(day=days), split="time", split_by="day")
    found = cross_validate("knn", *sample, {"n_neighbors": 3})
    assert (found.calibrated, found.log_losses) == (False, {})
    np.testing.assert_array_equal(found.predictions, found.as_fitted)


def test_a_calibrated_model_is_as_good_on_rows_of_other_ids():
    """Several rows an id, nearly alike: by folds that divide them, a forest that is too sure would look right."""
    generator = np.random.default_rng(0)
    traits = generator.normal(size=(300, 4)).repeat(6, axis=0) + 0.01 * generator.normal(size=(1800, 4))
    rows = pd.DataFrame(traits, columns=[*"abcd"]).assign(id=np.arange(1800) // 6)
    rows["answer"] = (traits[::6, 0] + generator.normal(size=300) > 0).repeat(6).astype(int)
    contract, X, y, folds = divided(rows.iloc[:1200], id_columns=["id"])
    found = cross_validate("rf", contract, X, y, folds, {"n_estimators": 20})
    model = tournament.assemble(found.prepare, found.estimator, None).fit(X, y)
    later = rows.iloc[1200:]
    given = saving.probabilities(model, contract.read_features(later), contract)
    loss = evaluation.score(later["answer"], given, "binary", "Log Loss")["Log Loss"]
    assert loss < found.scores["Log Loss"].mean() * 1.25


def test_a_model_that_is_as_sure_as_it_should_be_stays_as_it_is(monkeypatch):
    ratios, cross_fit = [], tournament.calibration.cross_fit
    monkeypatch.setattr(tournament.calibration, "cross_fit", lambda *_: ratios.append(_[3]) or cross_fit(*_))
    found = cross_validate("lr", *divided(table("numeric", "0/1")))
    assert ratios == [pytest.approx(1 / 4, abs=1e-3)]  # validated rows for each row fitted on
    assert (found.calibrated, type(found.estimator)) == (False, LogisticRegression)
    np.testing.assert_array_equal(found.predictions, found.as_fitted)
    assert {*found.log_losses} == {"log_loss/as_fitted", "log_loss/calibrated"}
    assert cross_validate("lr", *divided(table("numeric", "number"))).log_losses == {}


def remarks(told: bool) -> pd.DataFrame:
    """Rows with a sentence each, in which some words go with the answer, or none does."""
    generator = np.random.default_rng(4)
    rows = table("numeric", "0/1").reset_index(drop=True)
    words = np.array([f"{start}{number}" for start in ("al", "be", "ce", "du") for number in range(80)])
    chosen = generator.integers(0, 160, (len(rows), 12)) + (160 * rows["answer"].to_numpy()[:, None] if told else 0)
    chosen = np.where(generator.random(chosen.shape) < 0.6, generator.integers(0, 320, chosen.shape), chosen)
    return rows.assign(note=[" ".join(words[places]) for places in chosen])


@pytest.mark.parametrize("told", [True, False])
def test_sentences_are_learned_from_where_that_is_better(told):
    contract, X, y, folds = divided(remarks(told))
    prepare, texts = preparation.prepare(None, X, "binary"), preparation.prepare_texts(None, X, "binary")
    found, plain, always = (
        tournament.cross_validate("lr", {}, 0, X, y, folds, contract, usual, SEED, prepare_texts=tried)
        for usual, tried in ((prepare, texts), (prepare, None), (texts, None))
    )
    assert found.texts == told
    assert str(found.prepare) == str(texts if told else prepare)
    assert (found.scores["AUC"].mean() > plain.scores["AUC"].mean() + 0.01) == told
    # Each fold as the others would have it.
    for number in range(5):
        others = [one.scores["AUC"].drop(index=number).mean() for one in (plain, always)]
        rows = folds["fold"] == number
        np.testing.assert_array_equal(found.as_fitted[rows], (plain, always)[int(np.argmax(others))].as_fitted[rows])


@pytest.mark.parametrize(("target", "tune"), [("yes/no", 0), ("three", 2)])
def test_classes_of_any_name_are_learned_by_a_model_that_takes_codes(target, tune, tmp_path):
    contract, X, y, folds = divided(table("numeric", target))
    params = {"n_estimators": 20, "max_depth": 3}
    found = cross_validate("xgboost", contract, X, y, folds, params, tune=tune)
    assert (found.params["n_estimators"], found.params["random_state"]) == (20, SEED)
    pipeline = tournament.assemble(found.prepare, found.estimator, None).fit(X, y)
    assert [*pipeline.classes_] == sorted(contract.labels)
    saving.save(tmp_path / "model", saving.model_arguments(pipeline, contract, X, y, None))
    assert found.scores["AUC"].mean() > 0.8
    assert [trial.error for trial in found.trials] == [None] * tune


def test_a_way_to_fit_that_fails_on_a_fold_is_not_taken():
    contract, X, y, folds = divided(remarks(True))
    broken = Pipeline([("fails", tournament.preparation.TruncatedSVD(10_000))])
    found = tournament.cross_validate(
        "lr", {}, 0, X, y, folds, contract, preparation.prepare(None, X, "binary"), SEED, prepare_texts=broken
    )
    assert found.texts is False
    with pytest.raises(BatonError, match="model 'lr' with its defaults can't be fitted"):
        cross_validate("lr", contract, X, y, folds, prepare=broken)


def test_a_loss_that_a_candidate_names_is_kept():
    contract, X, y, folds = divided(counts(300), task="regression")
    found = cross_validate("hgb", contract, X, y, folds, {"max_iter": 5, "loss": "absolute_error"})
    assert (found.scale, found.params["loss"]) == ("plain", "absolute_error")


def test_a_sample_to_search_by_has_rows_of_every_class_in_their_shares():
    y = pd.Series([1] * 20 + [0] * 980)
    folds = pd.DataFrame({"fold": np.arange(1000) % 5, "group": range(1000)})
    drawn = [tournament._sample(folds, y, True, 100, seed) for seed in range(5)]
    for kept in drawn:
        assert (kept["trains"].sum(), int(y[kept["trains"]].sum())) == (100, 2)
        assert (kept["fold"][~kept["trains"]] == -1).all()
    assert not drawn[0].equals(drawn[1])


def with_weights(model, contract, X, y, folds, weights, tune=0, **how) -> tournament.Result:
    prepare = preparation.prepare(None, X, contract.task)
    return tournament.cross_validate(model, {}, tune, X, y, folds, contract, prepare, SEED, weights=weights, **how)


@pytest.mark.parametrize(
    ("target", "model", "estimator"), [("number", "lr", LinearRegression()), ("0/1", "lr", LOGISTIC)]
)
def test_each_fold_is_fitted_and_scored_by_the_weights_of_its_rows(target, model, estimator):
    contract, X, y, folds = divided(table("numeric", target))
    weights, fold = np.random.default_rng(1).lognormal(size=len(X)), folds["fold"].to_numpy()
    found, coded = with_weights(model, contract, X, y, folds, weights), contract.encode(y).to_numpy()
    expected = np.full(found.as_fitted.shape, np.nan)
    for fitted, validated in PredefinedSplit(fold).split():
        step = preparation.prepare(None, X, contract.task).fit(X.iloc[fitted])
        given = weights[fitted] / weights[fitted].mean()
        one = clone(estimator).fit(step.transform(X.iloc[fitted]), coded[fitted], given)
        answer = one.predict if target == "number" else one.predict_proba
        expected[validated] = answer(step.transform(X.iloc[validated]))
    np.testing.assert_allclose(found.as_fitted, expected, atol=1e-6)
    metric = contract.metric
    by_hand = [
        evaluation.score(coded[rows], found.predictions[rows], contract.task, metric, weights=weights[rows])[metric]
        for rows in (fold == number for number in range(5))
    ]
    assert found.scores[metric].tolist() == by_hand
    assert found.threshold == evaluation.choose_threshold(coded, found.predictions, 0.5, metric, weights)
    assert found.found["unweighted"] == []
    assert "unweighted" not in with_weights(model, contract, X, y, folds, None).found


def test_a_model_that_takes_no_weights_competes_and_says_so():
    contract, X, y, folds = divided(table("numeric", "0/1"))
    weights = np.random.default_rng(1).lognormal(size=len(X))
    found = with_weights("knn+lr", contract, X, y, folds, weights)
    assert found.found["unweighted"] == ["KNeighborsClassifier"]
    candidate = {"model": "knn+lr", "model_params": {}, "tune": 0} | found.found
    assert "KNeighborsClassifier without weights" in models.describe(candidate)


def test_settings_are_searched_by_weights(monkeypatch):
    """A shallow tree suits the rows that weigh most, a deep one the many others; what is found is what they say."""
    contract, X, y, folds = divided(table("numeric", "number"))
    weights = np.random.default_rng(1).lognormal(sigma=2, size=len(X))
    found = with_weights("dt", contract, X, y, folds, weights, tune=6)
    plain = with_weights("dt", contract, X, y, folds, None, tune=6)
    merged = folds.assign(fold=folds["fold"] * 3 // 5)
    for trial in found.trials[:2]:
        of = tournament.cross_validate(
            "dt", trial.params, 0, X, y, merged, contract, preparation.prepare(None, X, "regression"), SEED, weights=weights
        )  # fmt: skip
        assert trial.score == pytest.approx(of.scores["R2"].mean())
    assert [trial.score for trial in found.trials] != [trial.score for trial in plain.trials]


def test_a_threshold_and_a_calibration_go_by_weights():
    contract, X, y, folds = divided(table("numeric", "0/1"), metric="F1")
    weights = np.where(contract.encode(y) == 1, 30.0, 1.0)
    found = with_weights("knn", contract, X, y, folds, weights, threshold="auto")
    codes, validated = contract.encode(y).to_numpy(dtype=float), folds["fold"].to_numpy() >= 0
    assert found.threshold == evaluation.choose_threshold(codes, found.predictions, "auto", "F1", weights)
    assert found.threshold < with_weights("knn", contract, X, y, folds, None, threshold="auto").threshold
    assert (
        found.log_losses["log_loss/as_fitted"]
        == evaluation.score(
            codes[validated], found.as_fitted[validated], "binary", "Log Loss", weights=weights[validated]
        )["Log Loss"]
    )
    tempered = tournament.calibration.cross_fit(codes, found.as_fitted, folds["fold"].to_numpy(), 0.25, weights)[0]
    assert found.log_losses["log_loss/calibrated"] == tournament.calibration.log_loss(codes, tempered, weights)


def test_other_weights_begin_another_search(tmp_path):
    contract, X, y, folds = divided(small(), folds=2)
    weights = np.random.default_rng(1).lognormal(size=len(X))
    times = [
        {trial.started for trial in with_weights("dt", contract, X, y, folds, by, 2, file=tmp_path / "study").trials}
        for by in (None, weights, weights, weights[::-1])
    ]
    assert (times[1] == times[2], len(set.union(*times))) == (True, 6)
