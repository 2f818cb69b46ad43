"""What models make of their columns: real ones, whose answer is known."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from conftest import learn
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline

from baton.data.contract import Contract
from baton.handover import effects
from baton.training import preparation

ROWS = 600


class Fitted:
    """A model of the first 400 rows of a table, and what it is asked."""

    def __init__(self, table: pd.DataFrame, estimator, metric: str = "auto"):
        self.contract: Contract = learn(table, metric=metric)
        self.training, self.holdout, self.asked = table[:400], table[400:], []
        self.X = self.contract.read_features(self.training)
        step = preparation.prepare(None, self.X, self.contract.task)
        self.pipeline = make_pipeline(step, estimator).fit(self.X, self.training["y"])

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        self.asked.append(X.shape)
        return self.pipeline.predict_proba(X) if self.contract.labels else self.pipeline.predict(X)

    def explain(self) -> effects.Explanation:
        return effects.explain(self.training, self.holdout, self.contract, self.predict)


def table(**columns) -> pd.DataFrame:
    generator = np.random.default_rng(1)
    return pd.DataFrame({name: make(generator) for name, make in columns.items()})


def test_the_effect_of_a_linear_column_is_its_line_though_another_goes_with_it():
    rows = table(x=lambda g: g.normal(10, 2, ROWS), noise=lambda g: g.normal(size=ROWS))
    rows["twin"] = rows["x"] + 0.1 * rows["noise"]
    rows["when"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(ROWS) * 37 % ROWS, "D")
    rows["y"] = 3 * rows["x"] - rows["twin"] + 0.5 * (rows["when"] - rows["when"].min()).dt.days
    # Not the usual preparation, whose calendar would share the line of the date among several columns.
    asked = learn(rows)

    def predict(X):
        days = (X["when"] - pd.Timestamp("2026-01-01")) / pd.Timedelta(days=1)
        return (3 * X["x"] - X["twin"] + 0.5 * days).to_numpy()

    found = effects.explain(rows[:400], rows[400:], asked, predict)
    for column, slope in {"x": 3, "twin": -1, "when": 0.5}.items():
        curve = found.effects[column]["y"]
        at = pd.Series([*curve.index])
        steps = at.diff().dropna() / (pd.Timedelta(days=1) if column == "when" else 1)
        assert np.diff(curve) / steps.to_numpy(dtype=float) == pytest.approx(slope)
        assert (at.min(), at.max()) == (found.sample[column].min(), found.sample[column].max())
        # As high as the predictions are, the mean over the rows.
        start = at.min()
        from_start = [
            (values - start) / (pd.Timedelta(days=1) if column == "when" else 1)
            for values in (found.sample[column], at)
        ]
        level = np.interp(*from_start, curve)
        assert level.mean() == pytest.approx(predict(found.sample).mean())
    assert found.importance.index.tolist() == ["when", "x", "twin", "noise"]
    assert found.importance.loc["noise"].tolist() == [0, 0, 0]
    assert {*found.effects} == {"when", "x", "twin"}


def test_texts_booleans_and_missing_values_have_the_mean_prediction_if_all_rows_had_them():
    rows = table(
        plan=lambda g: g.choice(["basic", "gold", None], ROWS, p=[0.5, 0.3, 0.2]),
        paid=lambda g: g.choice([True, False], ROWS),
        x=lambda g: np.where(g.random(ROWS) < 0.3, np.nan, g.normal(size=ROWS)),
        chance=lambda g: g.normal(size=ROWS),
    )
    odds = 2 * (rows["plan"] == "gold") + 1.5 * rows["paid"].astype(int) + rows["x"].fillna(2) + rows.pop("chance")
    rows["y"] = np.where(odds > 2, "yes", "no")
    model = Fitted(rows, LogisticRegression())
    found = model.explain()
    assert [*found.effects["plan"].index] == ["basic", "gold", None]
    assert [*found.effects["paid"].index] == [False, True]
    assert found.effects["x"].index[-1] is None
    for column, value in [("plan", "gold"), ("plan", None), ("paid", True), ("x", None)]:
        same = pd.Series(value, found.sample.index, dtype=found.sample[column].dtype)
        expected = model.predict(found.sample.assign(**{column: same}))[:, 1].mean()
        curve = found.effects[column]["yes"]
        assert curve.iloc[[*curve.index].index(value)] == pytest.approx(expected)


def test_a_column_that_was_learned_by_heart_is_not_important():
    rows = table(
        x=lambda g: g.normal(size=ROWS), code=lambda g: g.permutation(ROWS), chance=lambda g: g.normal(size=ROWS)
    )
    rows["y"] = rows["x"] + 2 * rows.pop("chance")
    model = Fitted(rows, RandomForestRegressor(30, random_state=0))
    found = model.explain().importance["mean"]
    by_heart = effects.explain(model.training, model.training, model.contract, model.predict).importance["mean"]
    assert found.index[0] == "x"
    assert found["code"] < 0.1
    assert by_heart["code"] > 0.5


def test_a_rare_class_is_among_the_rows_that_are_shuffled():
    rows = table(x=lambda g: g.normal(size=5000), z=lambda g: g.normal(size=5000))
    rows["y"] = (rows["x"] > 2.2).astype(int)  # 1.4%
    model, asked = Fitted(rows, LogisticRegression(C=100)), []

    def predict(X):
        asked.append(X)
        return model.predict(X)

    found = effects.explain(model.training, model.holdout, model.contract, predict)
    assert found.rows == 500
    assert (asked[0]["x"][:500] > 2.2).sum() == 20  # of the rows as they come 7 would be
    assert found.importance.at["x", "mean"] == pytest.approx(0.5, abs=0.1)
    assert found.importance.at["x", "least"] <= found.importance.at["x", "mean"] <= found.importance.at["x", "most"]
    assert list(found.effects)[0] == "x"
    assert found.effects["x"]["1"].iloc[5] < 0.02  # the effects are of rows as they come


def test_of_many_classes_the_most_frequent_are_followed():
    rows = table(x=lambda g: g.normal(size=ROWS))
    rows["y"] = pd.cut(rows["x"], [-9, -2, -0.7, 0, 0.5, 1, 9], labels=[*"fedcba"]).astype(str)
    found = Fitted(rows, LogisticRegression(), metric="Log Loss").explain()
    frequent = sorted(rows[:400]["y"].value_counts().index[:4])
    assert [*found.effects["x"]] == frequent
    assert found.effects["x"]["e"].iloc[0] > 0.4 > found.effects["x"]["e"].iloc[-1]
    assert found.importance.at["x", "mean"] > 0.5  # the log loss that is gained


@pytest.mark.parametrize(
    ("many", "cells", "calls"),
    [(60, 20_000_000, 1), (10, 20_000_000, 2), (60, 30_000, 5)],
    ids=["once", "in a wide table twice", "in a large one by parts"],
)
def test_a_model_is_asked_once_or_in_a_wide_table_twice(monkeypatch, many, cells, calls):
    monkeypatch.setattr(effects, "MANY", many)
    monkeypatch.setattr(effects, "CELLS", cells)
    rows = table(**{f"x{number}": lambda g: g.normal(size=ROWS) for number in range(12)})
    rows["y"] = rows["x0"] + 0.5 * rows["x1"]
    model = Fitted(rows, LinearRegression())
    found = model.explain()
    assert len(model.asked) == calls
    assert max(asked * width for asked, width in model.asked) < 1.2 * cells
    assert found.importance.index[:2].tolist() == ["x0", "x1"]
    assert np.diff(found.effects["x0"]["y"]) / np.diff(found.effects["x0"].index.astype(float)) == pytest.approx(1)


def test_importance_by_a_metric_of_classes_goes_by_the_threshold():
    """A rare class that no row is likelier to have would make every column worth nothing."""
    rows = table(
        x=lambda g: g.normal(size=ROWS), noise=lambda g: g.normal(size=ROWS), luck=lambda g: g.normal(size=ROWS)
    )
    rows["y"] = (rows["x"] + rows["luck"] > 2.2).astype(int)
    model = Fitted(rows.drop(columns="luck"), LogisticRegression(C=0.02), "F1")
    assert model.explain().importance["mean"].tolist() == [0, 0]
    model.contract = dataclasses.replace(model.contract, threshold=0.1)
    importance = model.explain().importance["mean"]
    assert importance["x"] > 0.1 > abs(importance["noise"])


def test_importance_is_weighted():
    """One column tells of a few rows, which weigh much, and the other of all others."""
    heavy = np.arange(ROWS) % 10 == 0
    rows = table(few=lambda g: 2 * heavy * g.normal(size=ROWS), many=lambda g: ~heavy * g.normal(size=ROWS))
    rows["y"], rows["w"] = rows["few"] + rows["many"], np.where(heavy, 200.0, 1.0)
    first = {}
    for weight in (None, "w"):
        asked = learn(rows, weight=weight, ignore_columns=[] if weight else ["w"])
        found = effects.explain(rows[:400], rows[400:], asked, lambda X: (X["few"] + X["many"]).to_numpy())
        first[weight] = found.importance.index[0]
    assert first == {None: "many", "w": "few"}
