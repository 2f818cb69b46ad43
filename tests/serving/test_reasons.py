"""Reasons of predictions: held to what the model itself answers, by hand or by asking it again."""

import dataclasses
import json
import types

import numpy as np
import pandas as pd
import pytest
import skops.io
from conftest import learn
from lightgbm import LGBMClassifier, LGBMRegressor
from registering import fit
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor, VotingClassifier, VotingRegressor
from sklearn.linear_model import HuberRegressor, LinearRegression, LogisticRegression, PoissonRegressor, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, PolynomialFeatures, StandardScaler

from baton import models
from baton.handover import profile, saving
from baton.serving import reasons
from baton.training import preparation, tournament

ROWS = 1000
TARGETS = {"binary": ["no", "yes"], "multiclass": [*"pqr"]}


def mixed(task: str) -> pd.DataFrame:
    """A table with columns of every kind, all with missing values, two of them with names alike."""
    generator = np.random.default_rng(3)
    rows = pd.DataFrame(
        {
            "size": generator.normal(50, 9, ROWS),
            "plan": generator.choice(["basic", "gold", "gold_old"], ROWS, p=[0.5, 0.3, 0.2]),
            "plan_gold": generator.choice(["old", "new"], ROWS),
            "when": pd.Timestamp("2026-01-01") + pd.to_timedelta(generator.integers(0, 500, ROWS), "D"),
            "paid": generator.choice([True, False], ROWS),
            "post": generator.choice([f"c{number}" for number in range(35)], ROWS),  # too many for a column each
        }
    ).astype({"plan": "object", "plan_gold": "object", "paid": "object", "post": "object"})
    known = (
        rows["size"] / 9 + 2 * (rows["plan"] == "gold") - 2 * (rows["plan_gold"] == "old") + rows["when"].dt.month / 3
    )
    for column in rows:
        rows.loc[generator.random(ROWS) < 0.1, column] = None
    noisy = known + generator.normal(size=ROWS)
    if task == "regression":
        return rows.assign(y=noisy)
    return rows.assign(y=pd.qcut(noisy, len(TARGETS[task]), labels=TARGETS[task]).astype("object"))


class Fitted:
    """A model of a table, as a training fits it, and its reasons of the first rows."""

    def __init__(self, table: pd.DataFrame, estimator, features=None, threshold=None, **keys):
        self.contract = dataclasses.replace(learn(table, **keys), threshold=threshold)
        self.X, y = self.contract.read_features(table), self.contract.read_target(table)
        task = self.contract.task
        entered = preparation.clean_and_derive(self.X, features)
        step = preparation.prepare(features, entered, task)
        self.pipeline = tournament.assemble(step, estimator, features, self.contract)
        self.pipeline.fit(self.X, y.astype("float64") if task == "regression" else y.infer_objects())
        self.typical = pd.Series({column: usual(self.X[column]) for column in self.X}, dtype="object")

    def explain(self, rows: int = 40, count: int = 99, first: int = 0) -> pd.DataFrame:
        return reasons.explain(self.pipeline, self.X[first : first + rows], self.contract, self.typical, count)

    def effects(self, by: str, rows: int = 40) -> pd.DataFrame:
        """The effect of each column on each of the first rows, 0 where it had none; made in this way."""
        found = self.explain(rows)
        assert set(found["reasons_by"]) == {by}
        entered = preparation.clean_and_derive(
            self.X, types.SimpleNamespace(**{name: step.func for name, step in self.pipeline.steps[:-2]})
        )
        return spread(found, [*entered])

    def typical_row(self) -> pd.DataFrame:
        return pd.DataFrame([self.typical]).astype(self.X.dtypes.to_dict())

    def answer(self, X: pd.DataFrame) -> np.ndarray:
        return self.pipeline.predict_proba(X) if self.contract.labels else self.pipeline.predict(X)


def usual(column: pd.Series):
    present = column.dropna()
    return present.mode()[0] if present.dtype == object else present.quantile(interpolation="lower")


def spread(found: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Reasons as a table with a column of effects for each column."""
    table = pd.DataFrame(0.0, found.index, columns)
    for place in range(1, found.shape[1] // 2 + 1):
        for row, name, effect in found[[f"reason_{place}", f"reason_{place}_effect"]].dropna().itertuples():
            table.loc[row, name] = effect
    return table


def by_hand(rows: int = 60) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    table = pd.DataFrame(
        {"a": generator.normal(5, 2, rows), "b": generator.normal(size=rows), "c": generator.normal(size=rows)}
    )
    return table.assign(y=2 * table["a"] - 3 * table["b"] + 7)


def test_a_linear_model_of_numbers_by_hand():
    model = Fitted(by_hand(), LinearRegression())
    model.typical = pd.Series({"a": 4.0, "b": 1.0, "c": 0.0}, dtype="object")
    model.X = pd.DataFrame({"a": [5.0, 4.0, 3.0, 4.0], "b": [0.5, 1.0, 1.0, np.nan], "c": 9.0}, index=[7, 3, 5, 1])
    found = model.explain(count=2).round(9)
    assert found.index.tolist() == [7, 3, 5, 1]
    assert set(found["reasons_by"]) == {"coefficients"}
    assert [*found] == ["reason_1", "reason_1_effect", "reason_2", "reason_2_effect", "reasons_by"]
    assert found["reason_1"].tolist()[:3:2] == ["a", "a"]
    assert (found.loc[7, "reason_1_effect"], found.loc[5, "reason_1_effect"]) == (2, -2)
    assert found.loc[7, ["reason_2", "reason_2_effect"]].tolist() == ["b", 1.5]
    # A missing value is the median to the model, which is what it moved the prediction to.
    median = by_hand()["b"].median()
    assert found.loc[1, "reason_1"] == "b"
    assert found.loc[1, "reason_1_effect"] == pytest.approx(-3 * (median - 1))


def test_a_typical_row_whose_prediction_is_almost_0_has_coefficients_all_the_same():
    model = Fitted(by_hand(), LinearRegression())
    for b in np.linspace(1, 9, 20):
        model.typical = pd.Series({"a": (3 * b - 7) / 2, "b": b, "c": 0.0}, dtype="object")
        assert abs(model.answer(model.typical_row())[0]) < 1e-9
        assert model.effects("coefficients", 1).loc[0, "b"] == pytest.approx(-3 * (model.X.loc[0, "b"] - b))


def test_what_moved_nothing_is_no_reason_and_of_equal_ones_the_first_column_comes_first():
    table = by_hand().assign(d=lambda rows: rows["a"])
    model = Fitted(table, HuberRegressor())
    model.pipeline.steps[-1][1].coef_ = np.array([1.0, 0.0, -1.0, 1.0])
    model.typical = pd.Series({"a": 0.0, "b": 0.0, "c": 0.0, "d": 0.0}, dtype="object")
    model.X = pd.DataFrame({"a": [1.0, 0.0], "b": [5.0, 5.0], "c": [0.0, 0.0], "d": [1.0, 0.0]})
    # Equal prepared values have equal effects; b has the coefficient 0, and c its typical value.
    found = model.explain(count=5)
    assert found.loc[0, ["reason_1", "reason_2"]].tolist() == ["a", "d"]
    assert (
        found.loc[0, "reason_1_effect"]
        == found.loc[0, "reason_2_effect"]
        == pytest.approx(1 / by_hand()["a"].std(ddof=0))
    )
    assert (
        found.filter(like="reason_").loc[1].isna().all()
        if False
        else found.drop(columns="reasons_by").loc[1].isna().all()
    )
    assert found.drop(columns="reasons_by").iloc[0, 4:].isna().all()
    # Whoever reads the parts of a batch finds the same types in each.
    alone = model.explain(rows=1, first=1, count=5)
    pd.testing.assert_series_equal(alone.dtypes, found.dtypes)


@pytest.mark.parametrize("positive", ["no", "yes"])
@pytest.mark.parametrize("estimator", [LogisticRegression(), LinearDiscriminantAnalysis()])
def test_coefficients_lead_from_the_log_odds_of_the_typical_row_to_those_of_the_row(estimator, positive):
    model = Fitted(mixed("binary"), estimator, positive=positive)
    effects = model.effects("coefficients")
    column = ["no", "yes"].index(positive)
    moved = logit(model.answer(model.X[:40])[:, column]) - logit(model.answer(model.typical_row())[0, column])
    assert effects.sum(axis=1).tolist() == pytest.approx(moved)
    # A row that differs from the typical one in a single column has the whole of it as that column's effect.
    for changed in ["size", "plan", "plan_gold", "when", "post"]:
        other = model.X[changed].dropna()
        row = model.typical_row().assign(**{changed: other[other != model.typical[changed]].array[:1]})
        difference = logit(model.answer(row)[0, column]) - logit(model.answer(model.typical_row())[0, column])
        found = reasons.explain(model.pipeline, row, model.contract, model.typical, 3).iloc[0]
        assert abs(difference) > 0.001
        assert found.tolist()[:2] == [changed, pytest.approx(difference)]
        assert found.isna().sum() == 4


def test_coefficients_of_many_classes_are_on_the_predicted_one_against_the_others():
    model = Fitted(mixed("multiclass"), LogisticRegression())
    effects = model.effects("coefficients")

    def odds(answers):
        return np.log(answers) - np.log(answers).mean(axis=1, keepdims=True)

    answers = model.answer(model.X[:40])
    moved = odds(answers) - odds(model.answer(model.typical_row()))
    predicted = answers.argmax(axis=1)
    assert len(set(predicted)) == 3
    assert effects.sum(axis=1).tolist() == pytest.approx(moved[np.arange(40), predicted].tolist())


def small(kind):
    return kind(n_estimators=20, min_child_samples=5, verbose=-1, n_jobs=1, random_state=0)


@pytest.mark.parametrize("positive", ["no", "yes"])
def test_contributions_and_the_mean_are_the_raw_score(positive):
    model = Fitted(mixed("binary"), small(LGBMClassifier), positive=positive)
    raw = logit(model.answer(model.X[:40])[:, ["no", "yes"].index(positive)])
    mean = raw - model.effects("contributions").sum(axis=1)
    own = model.pipeline[-1].predict(model.pipeline[:-1].transform(model.X[:1]), pred_contrib=True)[0]
    assert mean.tolist() == pytest.approx([own[-1] * (1 if positive == "yes" else -1)] * 40)


def test_contributions_of_a_regression_are_in_the_units_of_the_target():
    table = mixed("regression").assign(y=lambda rows: 1000 * rows["y"])
    model = Fitted(table, small(LGBMRegressor))
    mean = model.answer(model.X[:40]) - model.effects("contributions").sum(axis=1)
    assert mean.tolist() == pytest.approx([table["y"].mean()] * 40, rel=0.02)


def test_contributions_to_the_predicted_class_are_against_the_others():
    model = Fitted(mixed("multiclass"), small(LGBMClassifier))
    answers = model.answer(model.X[:40])
    predicted = answers.argmax(axis=1)
    effects = model.effects("contributions")
    odds = (np.log(answers) - np.log(answers).mean(axis=1, keepdims=True))[np.arange(40), predicted]
    for code in range(3):
        mean = (odds - effects.sum(axis=1))[predicted == code]
        assert len(mean) > 1
        assert mean.tolist() == pytest.approx([mean.iloc[0]] * len(mean), abs=1e-9)


def test_contributions_are_added_up_by_column():
    model = Fitted(mixed("regression"), small(LGBMRegressor))
    Z = model.pipeline[:-1].transform(model.X[:40])
    own = pd.DataFrame(model.pipeline[-1].predict(Z, pred_contrib=True)[:, :-1])
    effects, places = model.effects("contributions"), model.pipeline[-2].output_indices_
    # By names they can't be told apart: `plan_gold_old` is made of both texts.
    texts, number = places["pipeline-2"].start, places["pipeline-1"]
    expected = {
        "size": [number.start, number.start + 2],  # numbers, then marks of missing ones
        "paid": [number.start + 1, number.start + 3],
        "plan": range(texts, texts + 4),  # basic, gold, gold_old, missing
        "plan_gold": range(texts + 4, texts + 7),  # new, old, missing
        "post": [texts + 7],
        "when": range(texts + 8, texts + 8 + 1 + 8 + 7 + 12),  # the point in time, its place in day, week and year
    }
    assert sorted(place for mine in expected.values() for place in mine) == [*range(Z.shape[1])]
    for column, mine in expected.items():
        np.testing.assert_allclose(effects[column], own[[*mine]].sum(axis=1), atol=1e-12)


@pytest.mark.parametrize(
    ("task", "estimator"),
    [
        ("binary", RandomForestClassifier(20, random_state=0)),
        ("multiclass", RandomForestClassifier(20, random_state=0)),
        ("regression", RandomForestRegressor(20, random_state=0)),
    ],
)
def test_replacement_is_the_prediction_less_that_with_the_typical_value(task, estimator):
    keys = {"positive": "no"} if task == "binary" else {}
    model = Fitted(mixed(task), estimator, **keys)
    effects = model.effects("replacement")
    rows, answers = model.X[:40], model.answer(model.X[:40])
    for column in rows:
        others = rows.assign(**{column: pd.Series(model.typical[column], rows.index, dtype=rows[column].dtype)})
        moved = answers - model.answer(others)
        if task == "binary":
            moved = moved[:, 0]
        elif task == "multiclass":
            moved = moved[np.arange(40), answers.argmax(axis=1)]
        assert np.abs(moved).max() > 0.01
        assert effects[column].tolist() == pytest.approx(moved.tolist(), abs=1e-8)


def test_replacement_of_an_additive_model_is_what_its_coefficients_say():
    own = Fitted(mixed("regression"), LinearRegression())
    voting = Fitted(mixed("regression"), VotingRegressor([("lr", LinearRegression())]))
    np.testing.assert_allclose(own.effects("coefficients"), voting.effects("replacement"), atol=1e-7)
    # A probability moves as its log-odds do.
    own = Fitted(mixed("binary"), LogisticRegression())
    voting = Fitted(mixed("binary"), VotingClassifier([("lr", LogisticRegression())], voting="soft"))
    given = own.answer(own.X[:40])[:, [1]]
    np.testing.assert_allclose(
        given - expit(logit(given) - own.effects("coefficients")), voting.effects("replacement"), atol=1e-8
    )


def own_preparation(*steps):
    """A feature file with a preparation of its own."""
    return types.SimpleNamespace(prepare=lambda: make_pipeline(*steps) if len(steps) > 1 else steps[0])


class Pairs(RandomForestClassifier):
    """As a support vector machine of four classes, which has coefficients for each pair of them."""

    coef_ = np.ones((6, 3))


NUMBERS = by_hand(ROWS)
COUNTS = NUMBERS.assign(y=np.random.default_rng(0).poisson(np.exp(NUMBERS["b"])).astype(float) + 0.5)
FOUR = NUMBERS.assign(y=pd.qcut(NUMBERS["y"], 4, labels=[*"wxyz"]).astype("object"))
TEXTS = NUMBERS.assign(t=pd.Series([*"uvwx"] * 250, dtype=object))
ONE_HOT = make_column_transformer(
    (OneHotEncoder(), ["t"]), (FunctionTransformer(feature_names_out="one-to-one"), ["a"]), sparse_threshold=1
)


@pytest.mark.parametrize(
    ("table", "estimator", "features"),
    [
        (mixed("binary"), CalibratedClassifierCV(LogisticRegression(), cv=3), None),
        (COUNTS, PoissonRegressor(), None),
        (COUNTS, LGBMRegressor(objective="poisson", n_estimators=5, verbose=-1, n_jobs=1), None),
        (FOUR, SGDClassifier(loss="log_loss", random_state=0), None),
        (FOUR, OneVsRestClassifier(LogisticRegression()), None),
        (FOUR, LGBMClassifier(objective="multiclassova", n_estimators=5, verbose=-1, n_jobs=1), None),
        (FOUR, Pairs(5, random_state=0), None),
        (NUMBERS, LinearRegression(), own_preparation(PCA(2))),
        (NUMBERS, LinearRegression(), own_preparation(PolynomialFeatures(2, include_bias=False))),
        (NUMBERS, LinearRegression(), own_preparation(FunctionTransformer(np.asarray))),
        (TEXTS, LinearRegression(), own_preparation(ONE_HOT)),
    ],
    ids=["calibrated", "link", "objective", "one against the rest", "wrapped", "objective of classes", "pairs", "pca", "products", "no names", "sparse"],
)  # fmt: skip
def test_a_model_that_does_not_add_up_is_asked_with_replaced_values(table, estimator, features):
    model = Fitted(table, estimator, features)
    effects = model.effects("replacement", 5)
    column = effects.columns[0]
    rows = model.X[:5].assign(**{column: model.typical[column]})
    moved = model.answer(model.X[:5]) - model.answer(rows)
    if moved.ndim == 2:
        labels = model.pipeline.classes_.tolist()
        told = (
            labels.index(model.contract.positive)
            if model.contract.positive
            else model.answer(model.X[:5]).argmax(axis=1)
        )
        moved = moved[np.arange(5), told]
    assert effects[column].tolist() == pytest.approx(moved.tolist(), abs=1e-7)


@pytest.mark.parametrize(
    "prepare",
    [
        StandardScaler(),
        make_column_transformer((StandardScaler(), ["b"]), remainder="passthrough"),
        make_column_transformer(
            ("drop", ["c"]), (make_column_transformer((StandardScaler(), [1]), remainder=StandardScaler()), ["a", "b"])
        ),
        make_pipeline(
            make_column_transformer(("passthrough", [1, 0, 2]), verbose_feature_names_out=False), StandardScaler()
        ),
        StandardScaler().set_output(transform="pandas"),
    ],
    ids=["no table of columns", "remainder", "nested", "chain", "data frame"],
)
def test_a_preparation_of_the_users_own_is_followed(prepare):
    model = Fitted(by_hand(), LinearRegression(), own_preparation(prepare))
    effects = model.effects("coefficients")
    expected = [2, -3, 0] * (model.X[:40] - model.typical.astype(float))
    np.testing.assert_allclose(effects, expected, atol=1e-12)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("way", ["contributions", "coefficients", "replacement"])
def test_a_row_has_the_same_reasons_alone_as_among_others(task, way):
    kinds = {
        "contributions": (small(LGBMClassifier), small(LGBMRegressor)),
        "coefficients": (LogisticRegression(), LinearRegression()),
        "replacement": (
            VotingClassifier([("lr", LogisticRegression())], voting="soft"), VotingRegressor([("lr", LinearRegression())])
        ),
    }  # fmt: skip
    model = Fitted(mixed(task), kinds[way][task == "regression"])
    whole = model.explain(15, 3)
    assert set(whole["reasons_by"]) == {way}
    for size in (1, 7):
        parts = [model.explain(min(size, 15 - first), 3, first) for first in range(0, 15, size)]
        pd.testing.assert_frame_equal(pd.concat(parts), whole, check_exact=True)


class Inexact(RegressorMixin, BaseEstimator):
    """As a network, whose last bits depend on how many rows are multiplied at once."""

    def fit(self, X, y):
        self.fitted_ = True
        return self

    def predict(self, X):
        return 1000 * X[:, 0] * (1 + 1e-14 * len(X))


def test_the_last_bits_of_a_prediction_are_no_reason():
    model = Fitted(by_hand(), Inexact(), own_preparation(FunctionTransformer(np.asarray)))
    model.X = pd.DataFrame({"a": [1e-9, 4.0, 1e9], "b": 1.0, "c": 2.0})
    model.typical = pd.Series({"a": 3.0, "b": 0.0, "c": 0.0}, dtype="object")
    whole = model.explain()
    assert whole["reason_1_effect"].tolist() == pytest.approx([-3000, 1000, 1e12])
    assert whole["reason_2"].isna().all()
    pd.testing.assert_frame_equal(pd.concat(model.explain(1, first=row) for row in range(3)), whole, check_exact=True)


@pytest.mark.parametrize(
    "estimator", [LogisticRegression(), small(LGBMClassifier), RandomForestClassifier(9, random_state=0)]
)
def test_missing_values_and_texts_never_seen_have_reasons(estimator):
    model = Fitted(mixed("binary"), estimator)
    model.X = model.X[:2].assign(size=[np.nan, 1e6], plan=[None, "new"], when=pd.NaT)
    found = model.explain(count=3)
    assert np.isfinite(found["reason_1_effect"]).all()


def test_what_feature_code_derived_is_named_and_what_it_cleaned_keeps_its_name(features, diabetes):
    table = diabetes.division.training
    linear = Fitted(table, LogisticRegression(), features, target="Outcome")
    effects = linear.effects("coefficients")
    moved = logit(linear.answer(linear.X[:40])[:, 1]) - logit(linear.answer(linear.typical_row())[0, 1])
    assert [*effects][-3:] == ["GlucoseTimesInsulin", "GlucosePerAge", "BMITimesAge"]
    assert effects.sum(axis=1).tolist() == pytest.approx(moved)
    assert (effects["GlucosePerAge"] != 0).mean() > 0.9
    trees = Fitted(table, small(LGBMClassifier), features, target="Outcome").effects("contributions")
    assert (trees["GlucosePerAge"] != 0).all()
    # Set to its typical value, a raw column takes what was derived from it along.
    forest = Fitted(table, RandomForestClassifier(20, random_state=0), features, target="Outcome")
    named = forest.explain().filter(regex=r"^reason_\d+$").stack()
    assert set(named.dropna()) == set(forest.X)


def test_one_column_is_enough():
    model = Fitted(by_hand()[["a", "y"]], LinearRegression())
    found = model.explain(2, 3)
    assert found["reason_1"].tolist() == ["a", "a"]
    assert found[["reason_2", "reason_3", "reason_2_effect", "reason_3_effect"]].isna().all(axis=None)


def version(folder, table: pd.DataFrame, described: bool = True) -> saving.Model:
    """A version of a table as a training leaves it: the model, its sample, and maybe its profile."""
    pipeline, asked = fit(table)
    arguments = saving.model_arguments(
        pipeline, asked, asked.read_features(table), asked.read_target(table).infer_objects(), None
    )
    saving.save(folder, arguments, saving.take_sample(table))
    model = saving.open_model(folder)
    if described:
        X, y = model.contract.read_features(table), model.contract.read_target(table)
        told = profile.describe(X, y, np.full((2, 2), 0.5), model.contract)
        (folder / "profile.json").write_text(json.dumps(told))
    return model


def kept() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "few": [1.0] * 30 + [2.0] * 30 + [5.0] * 36,
            "twelve": [*range(12)] * 8,  # shares of 0.083333 each
            "many": generator.permutation(np.arange(96)) ** 2,
            "when": pd.Timestamp("2500-01-01T12:00:00") + pd.to_timedelta(generator.permutation(np.arange(96)), "D"),
            "plan": [*["gold"] * 30, *["basic"] * 60, *[None] * 6],
            "paid": [*[True] * 60, *[False] * 36],
            "town": [*["Bern"] * 4, *[f"t{number}" for number in range(92)]],
            "y": [0, 1] * 48,
        }
    )


def test_typical_values_are_those_that_the_version_describes(tmp_path):
    table = kept()
    model = version(tmp_path / "v", table)
    found = reasons.typical(model.path, model.contract)
    assert found.index.tolist() == model.contract.features
    expected = ["2.0", "5.0", f"{47.0**2}", "2500-02-17 12:00:00", "basic", "1.0"]
    assert found.drop("town").map(str).tolist() == expected
    sample = model.contract.read_features(saving.read_sample(model.path))
    # The profile writes no value out that few rows have, so the version's sample tells.
    assert found["town"] == sample["town"].mode()[0]


def test_a_version_without_a_profile_has_typical_values_of_its_sample(tmp_path):
    table = kept().assign(new=np.nan)
    table.loc[table.index.difference(saving.take_sample(table).index)[0], "new"] = 3.0
    model = version(tmp_path / "v", table, described=False)
    sample = model.contract.read_features(saving.read_sample(model.path))
    found = reasons.typical(model.path, model.contract)
    middle = (len(sample) - 1) // 2
    for column in ("few", "many", "when"):
        assert found[column] == sample[column].sort_values().iloc[middle]
        assert found[column] in set(table[column])
    assert found[["plan", "paid"]].tolist() == [sample[column].mode()[0] for column in ("plan", "paid")]
    assert found["new"] is None  # in none of these rows


def test_a_model_of_a_file_has_reasons_with_the_typical_values_beside_it(tmp_path):
    table = kept()
    model = version(tmp_path / "v", table)
    pipeline = skops.io.load(model.path / "model.skops", trusted=models.trusted_types())
    X = model.contract.read_features(table)
    found = reasons.explain(pipeline, X, model.contract, reasons.typical(model.path, model.contract), 2)
    assert set(found["reasons_by"]) == {"coefficients"}
    usual_row = pd.DataFrame([reasons.typical(model.path, model.contract)]).astype(X.dtypes.to_dict())
    assert reasons.explain(pipeline, usual_row, model.contract, usual_row.iloc[0], 2)["reason_1"].isna().all()


@pytest.mark.parametrize(
    "estimator",
    [LogisticRegression(), LGBMClassifier(n_estimators=5, verbosity=-1), RandomForestClassifier(5, random_state=0)],
)
def test_a_threshold_changes_no_reason(estimator):
    with_one, without = (Fitted(mixed("binary"), estimator, threshold=threshold) for threshold in (0.2, None))
    pd.testing.assert_frame_equal(with_one.explain(), without.explain())
