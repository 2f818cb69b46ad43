"""Models as they are saved, refused, registered and run: real files, real processes, a real store."""

import shutil
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import registering
import skops.io
from conftest import PROJECT, learn, settings
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from baton import BatonError, models
from baton.handover import registry, runner, tracking
from baton.training import preparation, tournament


class Stranger(BaseEstimator):
    """A type that is on no list."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.zeros(len(X), dtype=int)


def forest(X, y, features) -> Pipeline:
    prepare = preparation.prepare(features, preparation.clean_and_derive(X, features), "binary")
    return tournament.assemble(prepare, RandomForestClassifier(20, random_state=1), features).fit(X, y)


@pytest.fixture(scope="session")
def model(diabetes, features, tmp_path_factory):
    """A small forest, fitted and saved: (what is saved, the fitted pipeline, what it was saved with)."""
    pipeline = forest(diabetes.X, diabetes.y, features)
    path = tmp_path_factory.mktemp("registry") / "model"
    arguments = registry.model_arguments(
        pipeline, diabetes.contract, diabetes.X, diabetes.y, str(PROJECT / "features.py")
    )
    registry.save(path, arguments)
    return registry.open_model(path), pipeline, arguments


def test_a_saved_model_predicts_in_its_own_process_what_it_predicted_when_fitted(model, diabetes):
    saved, pipeline, _ = model
    np.testing.assert_array_equal(registry.predict(saved, diabetes.X), pipeline.predict_proba(diabetes.X))


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_a_stack_predicts_in_its_own_process_what_it_predicted_when_fitted(tmp_path, task):
    x = np.random.default_rng(2).normal(size=90)
    answers = {"multiclass": np.digitize(x, [-0.5, 0.5]).astype(str), "regression": x * 2}
    table = pd.DataFrame({"x": x, "z": x[::-1], "y": answers[task]})
    asked = learn(table)
    assert asked.task == task
    X, y = asked.read_features(table), asked.read_target(table).infer_objects()
    params = {"rf": {"n_estimators": 10}, "lightgbm": {"n_estimators": 10, "verbosity": -1}}
    estimator = tournament.make_estimator("stack(rf+lightgbm+knn)", params, asked, 90, seed=1)
    pipeline = tournament.assemble(preparation.prepare(None, X, task), estimator, None).fit(X, y)
    registry.save(tmp_path / "model", registry.model_arguments(pipeline, asked, X, y, None))
    predicted = registry.predict(registry.open_model(tmp_path / "model"), X)
    np.testing.assert_array_equal(predicted, runner.probabilities(pipeline, X, asked))


@pytest.mark.parametrize("prepare", ["usual", "encoder alone"])
def test_a_missing_text_means_in_its_own_process_what_it_meant_in_training(tmp_path, prepare):
    """Parquet, by which rows get there, gives NaN for None, which an encoder alone, as older versions hold it, minds."""
    table = pd.DataFrame({"cause": ["heart", "lungs", None, None] * 10, "died": [1, 1, 0, 0] * 10})
    asked = learn(table, "died")
    X, y = asked.read_features(table), asked.read_target(table).astype(int)
    step = preparation.prepare(None, X, "binary") if prepare == "usual" else OneHotEncoder(handle_unknown="ignore")
    pipeline = tournament.assemble(step, LogisticRegression(), None).fit(X, y)
    registry.save(tmp_path / "model", registry.model_arguments(pipeline, asked, X, y, None))
    predicted = registry.predict(registry.open_model(tmp_path / "model"), X)
    np.testing.assert_array_equal(predicted, pipeline.predict_proba(X))
    assert predicted[0, 1] > 0.5 > predicted[2, 1]


def test_it_is_plain_scikit_learn_with_its_feature_code_and_contract_beside_it(model, diabetes):
    saved, _, _ = model
    assert saved.contract == diabetes.contract
    assert (saved.path / "code" / "features.py").read_text() == (PROJECT / "features.py").read_text()
    described = mlflow.models.Model.load(saved.path)
    assert described.flavors["sklearn"]["serialization_format"] == "skops"
    assert {str(column.type) for column in described.signature.inputs} == {"DataType.double"}
    assert described.signature.inputs.input_names() == [*diabetes.X.columns]
    assert "pycaret" not in (saved.path / "requirements.txt").read_text()


def test_it_runs_the_feature_code_it_came_with_not_the_checkouts(model, diabetes, tmp_path):
    saved, _, _ = model
    moved = tmp_path / "model"
    shutil.copytree(saved.path, moved)
    code = moved / "code" / "features.py"
    code.write_text(
        code.read_text().replace("return rows.assign(**{", "rows = rows * 0 + 1\n    return rows.assign(**{")
    )
    assert len(np.unique(registry.predict(registry.open_model(moved), diabetes.X)[:, 1])) == 1


def test_a_type_that_is_not_trusted_is_refused_when_saved_and_when_run(model, diabetes, tmp_path):
    strange = Pipeline([("model", Stranger())]).fit(diabetes.X, diabetes.y)
    with pytest.raises(BatonError, match="add them to its catalogue entry in baton/models.py"):
        registry.save(
            tmp_path / "never", registry.model_arguments(strange, diabetes.contract, diabetes.X, diabetes.y, None)
        )

    # Whoever can write the artifact can also write MLflow's own list of trusted types, so that one is not asked.
    forged = tmp_path / "forged"
    shutil.copytree(model[0].path, forged)
    skops.io.dump(strange, forged / "model.skops")
    described = (forged / "MLmodel").read_text()
    assert "- lightgbm.basic.Booster" in described
    (forged / "MLmodel").write_text(described.replace("- lightgbm.basic.Booster", "- test_registry.Stranger"))
    with pytest.raises(BatonError, match=r"holds types that are not trusted: test_registry\.Stranger"):
        registry.predict(registry.open_model(forged), diabetes.X)


@pytest.mark.parametrize("labels", [("no", "yes"), ("stay", "leave"), (0, 1)])
def test_probabilities_follow_the_contracts_order_of_classes(diabetes, features, labels):
    y = diabetes.y.map({0: labels[0], 1: labels[1]})
    asked = learn(diabetes.X.assign(y=y))
    predicted = runner.probabilities(forest(diabetes.X, y, features), diabetes.X, asked)
    assert asked.positive == labels[1]  # the rarer, or the one that says yes
    assert ((predicted[:, 1] > 0.5) == (y == labels[1])).mean() > 0.95


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("lr", set()),
        ("lightgbm", {"lightgbm"}),
        ("rf+lightgbm", {"lightgbm"}),
        ("rf+lr", set()),
        ("stack(lr+lightgbm)", {"lightgbm"}),
    ],
)
def test_a_model_names_the_packages_of_the_estimators_in_it(diabetes, model, named):
    estimator = tournament.make_estimator(model, {}, diabetes.contract, 10, seed=1)
    needed = {line.partition("==")[0] for line in registry.requirements(Pipeline([("model", estimator)]))}
    assert needed == {"mlflow", "scikit-learn", "skops", "pandas", "numpy"} | named


def test_a_package_that_comes_into_the_catalogue_is_named_without_further_ado(monkeypatch):
    Booster = type("XGBClassifier", (BaseEstimator,), {"__module__": "xgboost.sklearn"})
    monkeypatch.setitem(models.CATALOGUE, "xgboost", models.Model(package="xgboost"))
    monkeypatch.setattr(registry, "version", lambda package: "1.0")
    assert "xgboost==1.0" in registry.requirements(Pipeline([("model", Booster())]))


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The settings of a training in an MLflow store of its own, and what is known of the training."""
    return registering.open_store(tmp_path, monkeypatch, name="diabetes")


def registered(store, model, **keys) -> registry.Model:
    return registering.register(model[0].path, model[2], *store, **keys)


def test_there_is_no_champion_until_one_is_promoted(store, model):
    asked, uri = store[0], store[0].mlflow_tracking_uri
    assert registry.find_champion("diabetes", uri) is None
    with pytest.raises(BatonError, match="there is no champion for 'diabetes'.*ploomber build"):
        registry.require_champion("diabetes", uri)
    first = registered(store, model)
    assert (registry.find_champion("diabetes", uri), registry.champion_contract(asked)) == (None, None)
    registry.promote(first, uri)
    assert registry.require_champion("diabetes", uri) == first
    assert (first.version, registry.champion_contract(asked)) == ("1", first.contract)


def test_a_training_without_tracking_or_a_store_has_no_champion_and_makes_no_store(store, model, tmp_path):
    registry.promote(registered(store, model), store[0].mlflow_tracking_uri)
    assert registry.champion_contract(store[0].model_copy(update={"track": False})) is None
    elsewhere = f"sqlite:///{tmp_path / 'other.db'}"
    assert registry.champion_contract(store[0].model_copy(update={"mlflow_tracking_uri": elsewhere})) is None
    assert not (tmp_path / "other.db").exists()


def test_a_version_keeps_the_fingerprints_of_the_rows_it_learned_from(store, model):
    registered(store, model, fingerprints=(2**64 - 1, 7, 7, 0))
    fetched = registry.version_of("diabetes", "1", store[0].mlflow_tracking_uri)
    assert (fetched.fingerprints.dtype, fetched.fingerprints.tolist()) == ("uint64", [0, 7, 2**64 - 1])
    (fetched.path / registry.FINGERPRINTS).unlink()  # a version of before they were kept
    assert registry.version_of("diabetes", "1", store[0].mlflow_tracking_uri).fingerprints is None


def test_an_untracked_winner_is_the_model_as_saved_and_is_promoted_nowhere(model):
    same = registry.register({}, model[0].path, "because", np.array([1]), {"run_id": None}, "sqlite:////nowhere/x.db")
    assert (same, same.version, same.fingerprints) == (model[0], None, None)
    registry.promote(same, "sqlite:////nowhere/x.db")


def test_a_run_whose_model_cannot_be_written_is_failed(store, model, diabetes):
    strange = Pipeline([("model", Stranger())]).fit(diabetes.X, diabetes.y)
    arguments = registry.model_arguments(strange, diabetes.contract, diabetes.X, diabetes.y, None)
    with pytest.raises(BatonError, match="holds types that are not trusted"):
        registering.register(model[0].path, arguments, *store, candidate="stranger")
    client = mlflow.MlflowClient(store[0].mlflow_tracking_uri)
    runs = client.search_runs([client.get_run(store[1]["run_id"]).info.experiment_id], "tags.candidate = 'stranger'")
    assert [run.info.status for run in runs] == ["FAILED"]
    assert client.search_registered_models() == []


def test_to_register_the_same_run_twice_gives_one_version(store, model):
    uri = store[0].mlflow_tracking_uri
    first = registered(store, model)
    model_uri = f"models:/{mlflow.MlflowClient(uri).get_run(first.run_id).outputs.model_outputs[0].model_id}"
    made = {"candidate": "lr", "run_id": first.run_id, "model_uri": model_uri}
    again = registry.register(made, model[0].path, "again", np.array([9], dtype="uint64"), store[1], uri)
    assert (again, again.fingerprints.tolist()) == (first, [9])
    assert mlflow.MlflowClient(uri).get_model_version("diabetes", "1").description == "again"


def test_a_run_that_left_the_store_is_explained(store, model):
    """products/ outlives an mlflow.db that was deleted or moved."""
    made = {"candidate": "forest", "run_id": "0" * 32, "model_uri": "models:/m-1"}
    gone = "which products/ remembers, is not in the MLflow store.*ploomber build --force"
    with pytest.raises(BatonError, match=gone):
        registry.register(made, model[0].path, "because", np.array([1]), store[1], store[0].mlflow_tracking_uri)


def test_a_version_whose_files_are_cut_off_or_gone_is_named(store, model):
    first = registered(store, model)
    for spoil in (lambda: Path(first.path, "MLmodel").write_text(""), lambda: shutil.rmtree(first.path)):
        spoil()
        with pytest.raises(BatonError, match="diabetes version 1 is registered, but its files can't be read"):
            registry.version_of("diabetes", "1", store[0].mlflow_tracking_uri)


def test_several_models_read_the_same_rows_each_by_its_contract(monkeypatch):
    table = pd.DataFrame({"a": ["1.234", "2.5"], "y": [0, 1]})
    point = learn(pd.DataFrame({"a": ["1.5", "2.25"] * 5, "y": [0.1, 0.2] * 5}))
    comma = learn(pd.DataFrame({"a": ["1,5", "1.234,25"] * 5, "y": [0.1, 0.2] * 5}))
    monkeypatch.setattr(registry, "predict", lambda model, X: X["a"].tolist())
    asked = [registry.Model(Path(), contract) for contract in (point, comma, point)]
    assert registry.predict_all(asked, table.head(1)) == [[1.234], [1234.0], [1.234]]


def test_settings_are_of_the_store_that_is_asked(store, tmp_path):
    """A process that has used one store must not write into it when it is given another."""
    other = settings(name="other", mlflow_tracking_uri=f"sqlite:///{tmp_path / 'second.db'}")
    shutil.copy2(registering.empty_store(), tmp_path / "second.db")
    run_id = tracking.start_training(other, {}, pd.DataFrame({"a": [1.0]}))
    assert mlflow.MlflowClient(other.mlflow_tracking_uri).get_run(run_id).info.status == "FINISHED"
    assert mlflow.MlflowClient(store[0].mlflow_tracking_uri).get_experiment_by_name("other") is None
