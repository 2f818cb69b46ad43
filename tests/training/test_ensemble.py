"""An ensemble: who is chosen, that no fold has a say in how it is predicted, and one model that gives the mean of many."""

import dataclasses
import types

import numpy as np
import pandas as pd
import pytest
from conftest import learn
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from baton.handover import registry, saving
from baton.training import ensemble, evaluation, preparation, tournament


def numbers(count: int = 200, folds: int = 4) -> tuple[pd.Series, np.ndarray, types.SimpleNamespace]:
    y = pd.Series(np.random.default_rng(1).normal(size=count))
    contract = learn(pd.DataFrame({"a": y, "y": y}), task="regression", metric="RMSE")
    return y, np.arange(count) % folds, contract


def test_candidates_with_opposite_errors_are_chosen_and_the_rest_is_not():
    y, fold, contract = numbers()
    error = np.random.default_rng(2).normal(size=len(y))
    given = {"above": y + error, "copy": y + error, "below": y - error / 2, "far": y + 9, "best": y + error / 2.5}
    predictions = {name: one.to_numpy() for name, one in given.items()}
    weights = ensemble.select(predictions, y.to_numpy(), fold, contract)
    # To the best alone, "below" is added: e/2.5 - e/2 in equal parts leave e/20. Three of 25 mixes are nearer to 0.
    np.testing.assert_allclose(sum(weights.values()), 1)
    assert {*weights} == {"best", "below"}
    left = weights["best"] / 2.5 - weights["below"] / 2
    assert abs(left) == min(abs(k / n / 2.5 - (1 - k / n) / 2) for n in range(1, 26) for k in range(n + 1))
    np.testing.assert_allclose(ensemble.combine(predictions, weights), y + left * error)


def test_a_candidate_that_nothing_makes_better_stays_alone_and_of_equals_the_first_one():
    y, fold, contract = numbers()
    worse = y + np.random.default_rng(2).normal(size=len(y)) * np.sign(y)
    predictions = {"worse": (worse + 5).to_numpy(), "right": y.to_numpy(), "same": y.to_numpy()}
    assert ensemble.select(predictions, y.to_numpy(), fold, contract) == {"right": 1.0}


@pytest.mark.parametrize("metric", ["AUC", "Log Loss"])
def test_weights_are_chosen_by_the_metric_asked_for(metric):
    """What ranks well and is far too sure is worth a lot by one metric, and nothing by the other."""
    generator = np.random.default_rng(4)
    y = pd.Series(generator.integers(0, 2, 600))
    contract = learn(pd.DataFrame({"a": generator.normal(size=600), "y": y}), metric=metric)
    signal = y + generator.normal(size=600)
    sure = np.where(signal > np.median(signal), 1 - 1e-9, 1e-9) + 1e-10 * signal.rank()
    careful = 0.5 + 0.02 * (y + generator.normal(scale=3, size=600))
    predictions = {name: np.column_stack([1 - one, one]) for name, one in (("sure", sure), ("careful", careful))}
    weights = ensemble.select(predictions, y.to_numpy(dtype=float), np.arange(600) % 5, contract)
    assert max(weights, key=weights.get) == {"AUC": "sure", "Log Loss": "careful"}[metric]


def test_a_fold_has_no_say_in_the_weights_it_is_predicted_with():
    """One candidate is right on the first fold alone: the others would never choose it, and all together would."""
    y, fold, contract = numbers()
    generator = np.random.default_rng(3)
    first = fold == 0
    predictions = {
        "first": np.where(first, y, y + generator.normal(scale=1.5, size=len(y))),
        "others": y.to_numpy() + generator.normal(size=len(y)),
    }
    found = ensemble.cross_validate(predictions, y, fold, contract)
    for number in range(4):
        rows, blind = fold == number, np.where(fold == number, -1, fold)
        weights = ensemble.select(predictions, y.to_numpy(), blind, contract)
        np.testing.assert_allclose(found.predictions[rows], ensemble.combine(predictions, weights)[rows])
        expected = evaluation.score(y[rows], found.predictions[rows], "regression")
        assert found.scores.loc[number].to_dict() == pytest.approx(expected, nan_ok=True)
    assert found.weights == ensemble.select(predictions, y.to_numpy(), fold, contract)
    assert (
        found.weights["first"]
        > ensemble.select(predictions, y.to_numpy(), np.where(first, -1, fold), contract)["first"]
    )


def test_rows_that_no_fold_validates_have_no_say(monkeypatch):
    y, fold, contract = numbers()
    fold = np.where(np.arange(len(y)) < 100, -1, fold)
    predictions = {"early": np.where(fold < 0, y, y + 1), "late": np.where(fold < 0, y + 5, y + 0.1)}
    assert ensemble.select(predictions, y.to_numpy(), fold, contract) == {"late": 1.0}
    found = ensemble.cross_validate(predictions, y, fold, contract)
    assert [*found.scores.index] == [0, 1, 2, 3]
    monkeypatch.setattr(ensemble, "MOST_ROWS", 20)  # some of the validated ones
    assert ensemble.select(predictions, y.to_numpy(), fold, contract) == {"late": 1.0}


def test_a_fold_without_a_score_has_no_say():
    """A fold of a single class has no AUC."""
    truth = np.random.default_rng(4).integers(0, 2, 400).astype(float)
    fold = np.arange(400) % 4
    truth[fold == 0] = 0
    contract = learn(pd.DataFrame({"a": range(400), "y": truth.astype(int)}), metric="AUC")
    noise = np.random.default_rng(5).random(400)
    predictions = {"bad": np.column_stack([1 - noise, noise]), "good": np.column_stack([1 - truth, truth])}
    assert ensemble.select(predictions, truth, fold, contract) == {"good": 1.0}


@pytest.mark.parametrize(("scales", "expected"), [("log log", "log"), ("log plain", "plain"), ("poisson", "plain")])
def test_residuals_are_of_the_logarithm_if_all_members_are(scales, expected):
    assert ensemble.scale_of({"target_scale": scale} for scale in scales.split()) == expected


def table(kind: str, count: int = 240) -> pd.DataFrame:
    generator = np.random.default_rng(6)
    rows = pd.DataFrame(generator.normal(size=(count, 2)), columns=["a", "b"])
    rows["town"] = generator.choice(["Bern", "Oslo", "Rome"], count)
    signal = rows["a"] + (rows["town"] == "Rome") + generator.normal(size=count)
    labels = pd.cut(signal, [-np.inf, -0.5, 1, np.inf], labels=["low", "mid", "top"]).astype(str)
    answers = {"regression": 10 * signal, "multiclass": labels, "binary": np.where(signal > 0.5, "ja", "nein")}
    return rows.assign(answer=answers[kind])


@pytest.mark.parametrize("kind", ["regression", "multiclass", "binary"])
def test_the_joined_model_gives_the_mean_of_its_members_also_when_it_is_saved_or_fitted_anew(kind, features, tmp_path):
    rows = table(kind)
    contract = learn(rows, "answer")
    X, y = contract.read_features(rows), rows["answer"]
    first, second = (
        (LinearRegression(), DecisionTreeRegressor(max_depth=3))
        if kind == "regression"
        else (LogisticRegression(), DecisionTreeClassifier(max_depth=3))
    )
    ways = {"a__b": ("scaled", first), "tree": ("native", second)}
    members = {
        name: tournament.assemble(preparation.prepare(None, X, kind, how=how), model, None).fit(X, y)
        for name, (how, model) in ways.items()
    }
    weights = {"a__b": 0.25, "tree": 0.75}
    mean = sum(weights[name] * saving.probabilities(member, X, contract) for name, member in members.items())
    joined = ensemble.join(members, weights, contract)
    np.testing.assert_allclose(saving.probabilities(joined, X, contract), mean, rtol=1e-12)
    if kind != "regression":
        named = np.array(contract.labels)[mean.argmax(axis=1)]
        np.testing.assert_array_equal(joined.predict(X), named)
    saving.save(tmp_path / "model", saving.model_arguments(joined, contract, X, y, None))
    np.testing.assert_allclose(registry.predict(saving.open_model(tmp_path / "model"), X), mean, rtol=1e-12)
    again = preparation.fit(clone(joined), X, y)
    np.testing.assert_allclose(saving.probabilities(again, X, contract), mean, rtol=1e-9)


@pytest.mark.parametrize("threshold", [None, 0.3])
def test_the_file_of_an_ensemble_holds_each_member_once(threshold, tmp_path):
    rows = table("binary")
    contract = learn(rows, "answer").with_threshold(threshold)
    X, y = contract.read_features(rows), rows["answer"]
    step = preparation.prepare(None, X, "binary")
    forests = [ExtraTreesClassifier(50, random_state=seed) for seed in range(2)]
    members = {f"m{seed}": tournament.assemble(step, one, None).fit(X, y) for seed, one in enumerate(forests)}
    joined = ensemble.join(members, {"m0": 0.5, "m1": 0.5}, contract)
    sizes = [
        saving.save(tmp_path / name, saving.model_arguments(one, contract, X, y, None))
        for name, one in (members | {"joined": joined}).items()
    ]
    assert sizes[2] < 1.5 * sum(sizes[:2])  # what is deeper in a file is indented further


def test_the_feature_codes_steps_come_once_and_before_all_members(features, diabetes):
    ready = preparation.clean_and_derive(diabetes.X, features)
    members = {
        name: tournament.assemble(preparation.prepare(features, ready, "binary"), model, features).fit(
            diabetes.X, diabetes.y
        )
        for name, model in (("lr", LogisticRegression(max_iter=1000)), ("tree", DecisionTreeClassifier(max_depth=2)))
    }
    joined = ensemble.join(members, {"lr": 0.5, "tree": 0.5}, diabetes.contract)
    assert [name for name, _ in joined.steps] == ["clean", "derive", "model"]
    assert [[name for name, _ in member.steps] for _, member in joined.named_steps["model"].estimators] == [
        ["prepare", "model"]
    ] * 2
    mean = sum(member.predict_proba(diabetes.X) for member in members.values()) / 2
    np.testing.assert_allclose(joined.predict_proba(diabetes.X), mean, rtol=1e-12)


def test_members_that_encode_by_the_target_are_fitted_anew_by_whole_groups():
    generator = np.random.default_rng(8)
    clinic = generator.integers(0, 40, 1600)
    rows = pd.DataFrame({"code": [f"c{number}" for number in clinic], "a": generator.normal(size=1600)})
    rows["answer"] = np.where(generator.random(1600) < np.where(clinic % 2, 0.7, 0.3), "yes", "no")
    contract = learn(rows, "answer")
    X, y, groups = contract.read_features(rows), rows["answer"], clinic // 4
    member = Pipeline(
        [("prepare", preparation.prepare(None, X, "binary", grouped=True)), ("model", LogisticRegression())]
    )
    fitted = preparation.fit(clone(member), X, y, groups)
    joined = ensemble.join({"lr": fitted, "other": fitted}, {"lr": 0.5, "other": 0.5}, contract)
    again = preparation.fit(clone(joined), X, y, groups)
    np.testing.assert_allclose(again.predict_proba(X), fitted.predict_proba(X), rtol=1e-9)
    plain = preparation.fit(clone(joined), X, y, np.arange(1600) % 3)  # too few groups: row by row
    assert np.abs(plain.predict_proba(X) - fitted.predict_proba(X)).max() > 1e-4


def test_the_threshold_is_the_ensembles_own_and_a_folds_is_chosen_by_the_others():
    rows = table("binary", 600)
    contract = learn(rows, "answer", positive="ja", metric="F1")
    X, y = contract.read_features(rows), rows["answer"]
    fold, truth = np.arange(600) % 4, contract.encode(y).to_numpy()
    members = {
        name: tournament.assemble(
            preparation.prepare(None, X, "binary"), model, None, dataclasses.replace(contract, threshold=at)
        ).fit(X, y)
        for name, model, at in (("lr", LogisticRegression(), 0.9), ("tree", DecisionTreeClassifier(max_depth=3), 0.1))
    }
    predictions = {name: saving.probabilities(member, X, contract) for name, member in members.items()}
    found = ensemble.cross_validate(predictions, y, fold, contract, "auto")
    assert found.threshold == evaluation.choose_threshold(truth, found.predictions, "auto", "F1")
    for number in range(4):
        here, others = fold == number, fold != number
        threshold = evaluation.choose_threshold(truth[others], found.predictions[others], "auto", "F1")
        expected = evaluation.score(truth[here], found.predictions[here], "binary", "F1", threshold)["F1"]
        assert found.scores.at[number, "F1"] == expected

    for threshold in (0.3, None):
        asked = dataclasses.replace(contract, threshold=threshold)
        joined = ensemble.join(members, {"lr": 0.5, "tree": 0.5}, asked)
        mean = (predictions["lr"][:, 1] + predictions["tree"][:, 1]) / 2
        np.testing.assert_allclose(saving.probabilities(joined, X, asked)[:, 1], mean, rtol=1e-12)
        for model in (joined, clone(joined).fit(X, y)):
            np.testing.assert_array_equal(model.predict(X) == "ja", mean >= (threshold or 0.5))
        assert "FixedThreshold" not in str(
            getattr(joined.named_steps["model"], "estimator_", joined)
        )  # no member's own


def test_by_a_metric_of_labels_candidates_are_selected_by_the_best_threshold_for_them():
    """One ranks perfectly and never says yes at 0.5, where the other one is mostly right."""
    y = pd.Series(np.random.default_rng(4).integers(0, 2, 400))
    contract = learn(pd.DataFrame({"a": range(400), "y": y}), metric="F1")
    low, half = 0.1 + 0.3 * y, np.where(np.arange(400) % 5, 0.3 + 0.4 * y, 0.7 - 0.4 * y)
    predictions = {name: np.column_stack([1 - one, one]) for name, one in (("half", half), ("low", low))}
    given = predictions, y.to_numpy(dtype=float), np.arange(400) % 4, contract
    assert ensemble.select(*given, "auto") == {"low": 1.0}
    assert ensemble.select(*given) == {"half": 0.5, "low": 0.5}  # right from 0.5 on together, and "low" alone never


def test_candidates_are_chosen_by_the_weight_of_rows():
    """One is right where rows weigh much, the other where there are many."""
    y, fold, contract = numbers()
    few = np.arange(200) % 10 < 3
    predictions = {"few": np.where(few, y, y + 9), "many": np.where(few, y + 9, y)}
    assert [*ensemble.select(predictions, y.to_numpy(), fold, contract)][0] == "many"
    times = np.where(few, 20, 1)
    found = ensemble.cross_validate(predictions, y, fold, contract, row_weights=times)
    twice = ensemble.select(
        {name: np.repeat(one, times) for name, one in predictions.items()},
        np.repeat(y.to_numpy(), times),
        np.repeat(fold, times),
        contract,
    )
    assert found.weights == twice
    assert found.weights["few"] > 0.8
    assert np.abs(found.predictions - y)[few].max() < 2  # in each fold
    expected = evaluation.score_folds(y.to_numpy(), found.predictions, fold, "regression", weights=times)
    pd.testing.assert_frame_equal(found.scores, expected)


def test_by_a_metric_of_labels_the_threshold_by_which_candidates_are_selected_goes_by_the_weight_of_rows():
    generator = np.random.default_rng(0)
    y, times, fold = pd.Series(generator.integers(0, 2, 300)), generator.integers(1, 8, 300), np.arange(300) % 3
    contract = learn(pd.DataFrame({"a": generator.normal(size=300), "y": y}), metric="F1")
    signals = [1 / (1 + np.exp(0.5 - y - generator.normal(scale=1.2, size=300))) for _ in range(3)]
    predictions = {name: np.column_stack([1 - one, one]) for name, one in zip("abc", signals, strict=True)}
    repeated = {name: np.repeat(one, times, axis=0) for name, one in predictions.items()}
    truth = y.to_numpy(dtype=float)
    expected = ensemble.select(repeated, np.repeat(truth, times), np.repeat(fold, times), contract, "auto")
    assert ensemble.select(predictions, truth, fold, contract, "auto", times.astype(float)) == expected


def test_the_threshold_goes_by_the_weight_of_rows():
    rows = table("binary", 600)
    contract = learn(rows, "answer", positive="ja", metric="F1")
    generator, truth = np.random.default_rng(4), contract.encode(rows["answer"]).to_numpy()
    one = 1 / (1 + np.exp(1 - 2 * truth - generator.normal(size=600)))
    weights = np.where(truth, 30.0, 1.0) * generator.lognormal(size=600)
    given = {"a": np.column_stack([1 - one, one])}
    found = ensemble.cross_validate(given, rows["answer"], np.arange(600) % 3, contract, "auto", weights)
    assert found.threshold == evaluation.choose_threshold(truth, given["a"], "auto", "F1", weights)
    assert found.threshold < evaluation.choose_threshold(truth, given["a"], "auto", "F1")
