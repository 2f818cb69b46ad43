"""Models as they are saved, refused, registered and run: real files, real processes, a real store."""

import concurrent.futures
import dataclasses
import functools
import json
import pickle
import shutil
import threading
import time
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import registering
import skops.io
import yaml
from conftest import PROJECT, free_port, learn, settings
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, PERMISSION_DENIED
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder
from training.test_preparation import sentences

from baton import BatonError, ModelRefused, config, models
from baton.handover import intervals, registry, runner, saving, tracking
from baton.training import preparation, tournament

ROWS = pd.read_csv(config.ROOT / "data" / "diabetes_test.csv")


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
    arguments = saving.model_arguments(
        pipeline, diabetes.contract, diabetes.X, diabetes.y, str(PROJECT / "features.py")
    )
    saving.save(path, arguments)
    return saving.open_model(path), pipeline, arguments


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
    saving.save(tmp_path / "model", saving.model_arguments(pipeline, asked, X, y, None))
    predicted = registry.predict(saving.open_model(tmp_path / "model"), X)
    np.testing.assert_array_equal(predicted, saving.probabilities(pipeline, X, asked))


@pytest.mark.parametrize(
    ("model", "params"),
    [
        ("lr", {}),
        ("lightgbm", {"n_estimators": 10, "verbosity": -1}),
        ("knn", {"metric": "manhattan"}),
        ("knn", {"metric": "chebyshev"}),
        ("knn", {"p": 1}),
        ("mlp", {"solver": "sgd", "max_iter": 5}),
    ],
)
def test_a_model_of_sentences_predicts_in_its_own_process_what_it_predicted_when_fitted(tmp_path, model, params):
    notes = sentences()
    y = [f"word{number}" in note for number, note in enumerate(notes)]
    table = pd.DataFrame(
        {"note": notes, "x": np.random.default_rng(3).normal(size=300), "y": np.where(y, 1, np.arange(300) % 2)}
    )
    asked = learn(table)
    X, y = asked.read_features(table), asked.read_target(table).astype(int)
    step = preparation.prepare_texts(None, X, "binary", False, models.usual_preparation(model))
    estimator = tournament.make_estimator(model, params, asked, 300, seed=1)
    pipeline = tournament.assemble(step, estimator, None).fit(X, y)
    saving.save(tmp_path / "model", saving.model_arguments(pipeline, asked, X, y, None))
    predicted = registry.predict(saving.open_model(tmp_path / "model"), X)
    np.testing.assert_array_equal(predicted, saving.probabilities(pipeline, X, asked))


@pytest.mark.parametrize("prepare", ["usual", "encoder alone"])
def test_a_missing_text_means_in_its_own_process_what_it_meant_in_training(tmp_path, prepare):
    """Parquet, by which rows get there, gives NaN for None, which an encoder alone, as older versions hold it, minds."""
    table = pd.DataFrame({"cause": ["heart", "lungs", None, None] * 10, "died": [1, 1, 0, 0] * 10})
    asked = learn(table, "died")
    X, y = asked.read_features(table), asked.read_target(table).astype(int)
    step = preparation.prepare(None, X, "binary") if prepare == "usual" else OneHotEncoder(handle_unknown="ignore")
    pipeline = tournament.assemble(step, LogisticRegression(), None).fit(X, y)
    saving.save(tmp_path / "model", saving.model_arguments(pipeline, asked, X, y, None))
    predicted = registry.predict(saving.open_model(tmp_path / "model"), X)
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
    (moved / saving.SAMPLE).unlink()  # its answers are those of the code it came with
    assert len(np.unique(registry.predict(saving.open_model(moved), diabetes.X)[:, 1])) == 1


def test_a_type_that_is_not_trusted_is_refused_when_saved_and_when_run(model, diabetes, tmp_path):
    strange = Pipeline([("model", Stranger())]).fit(diabetes.X, diabetes.y)
    with pytest.raises(BatonError, match="add them to its catalogue entry in baton/models.py"):
        saving.save(
            tmp_path / "never", saving.model_arguments(strange, diabetes.contract, diabetes.X, diabetes.y, None)
        )

    # Whoever can write the artifact can also write MLflow's own list of trusted types, so that one is not asked.
    forged = tmp_path / "forged"
    shutil.copytree(model[0].path, forged)
    skops.io.dump(strange, forged / "model.skops")
    described = (forged / "MLmodel").read_text()
    assert "- lightgbm.basic.Booster" in described
    (forged / "MLmodel").write_text(described.replace("- lightgbm.basic.Booster", "- test_registry.Stranger"))
    with pytest.raises(BatonError, match=r"holds types that are not trusted: test_registry\.Stranger"):
        registry.predict(saving.open_model(forged), diabetes.X)


class Intruder:
    """What a pickle may hold: something to be run when it is opened."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return Path.write_text, (self.trace, "it was run")


def test_a_pickle_that_was_put_beside_a_model_is_not_opened(model, diabetes, tmp_path):
    """MLflow would open it, if the description that lies there too names it."""
    forged, trace = tmp_path / "forged", tmp_path / "trace"
    shutil.copytree(model[0].path, forged)
    (forged / "model.pkl").write_bytes(pickle.dumps(Intruder(trace)))
    described = yaml.safe_load((forged / "MLmodel").read_text())
    described["flavors"]["sklearn"] |= {"pickled_model": "model.pkl", "serialization_format": "pickle"}
    described["flavors"]["python_function"]["model_path"] = "model.pkl"
    (forged / "MLmodel").write_text(yaml.safe_dump(described, sort_keys=False))
    answers = registry.predict(saving.open_model(forged), diabetes.X)
    np.testing.assert_array_equal(answers, model[1].predict_proba(diabetes.X))
    assert not trace.exists()


@pytest.mark.parametrize("labels", [("no", "yes"), ("stay", "leave"), (0, 1)])
def test_probabilities_follow_the_contracts_order_of_classes(diabetes, features, labels):
    y = diabetes.y.map({0: labels[0], 1: labels[1]})
    asked = learn(diabetes.X.assign(y=y))
    predicted = saving.probabilities(forest(diabetes.X, y, features), diabetes.X, asked)
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
        ("xgboost", {"xgboost-cpu"}),
        ("lr+catboost", {"catboost"}),
    ],
)
def test_a_model_names_the_packages_of_the_estimators_in_it(diabetes, model, named):
    estimator = tournament.make_estimator(model, {}, diabetes.contract, 10, seed=1)
    needed = {line.partition("==")[0] for line in saving.requirements(Pipeline([("model", estimator)]))}
    assert needed == {"mlflow", "scikit-learn", "skops", "pandas", "numpy"} | named


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The settings of a training in an MLflow store of its own, and what is known of the training."""
    return registering.open_store(tmp_path, monkeypatch, name="diabetes")


def registered(store, model, **keys) -> saving.Model:
    return registering.register(model[0].path, *store, **keys)


def test_models_are_registered_in_the_store_of_the_settings_whatever_the_environment_names(
    store, model, tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"sqlite:///{tmp_path / 'other.db'}")
    registered(store, model)
    uri = store[0].mlflow_tracking_uri
    versions = mlflow.MlflowClient(uri, registry_uri=uri).search_model_versions("name='diabetes'")
    assert ([str(one.version) for one in versions], (tmp_path / "other.db").exists()) == (["1"], False)


def test_to_look_for_a_champion_makes_no_store(tmp_path):
    uri = f"sqlite:///{tmp_path / 'mistyped.db'}"
    with pytest.raises(BatonError, match="there is no champion for 'diabetes' in sqlite:///.*mistyped.db: train one"):
        registry.require_champion("diabetes", uri)
    assert [*tmp_path.iterdir()] == []


def test_there_is_no_champion_until_one_is_promoted(store, model):
    asked, uri = store[0], store[0].mlflow_tracking_uri
    assert registry.find_champion("diabetes", uri) is None
    with pytest.raises(BatonError, match="there is no champion for 'diabetes'.*ploomber build"):
        registry.require_champion("diabetes", uri)
    first = registered(store, model)
    assert (registry.find_champion("diabetes", uri), registry.champion_contract(asked)) == (None, None)
    registering.promote(first, asked)
    assert registry.require_champion("diabetes", uri) == first
    assert (first.version, registry.champion_contract(asked)) == ("1", first.contract)


def test_a_training_without_tracking_or_a_store_has_no_champion_and_makes_no_store(store, model, tmp_path):
    registering.promote(registered(store, model), store[0])
    assert registry.champion_contract(store[0].model_copy(update={"track": False})) is None
    elsewhere = f"sqlite:///{tmp_path / 'other.db'}"
    assert registry.champion_contract(store[0].model_copy(update={"mlflow_tracking_uri": elsewhere})) is None
    assert not (tmp_path / "other.db").exists()


def test_a_version_keeps_the_fingerprints_of_the_rows_it_learned_from(store, model):
    registered(store, model, fingerprints=(2**64 - 1, 7, 7, 0))
    fetched = registry.version_of("diabetes", "1", store[0].mlflow_tracking_uri)
    assert (fetched.fingerprints.dtype, fetched.fingerprints.tolist()) == ("uint64", [0, 7, 2**64 - 1])


def test_an_untracked_winner_is_the_model_as_saved(model):
    assert registry.register(model[0], {"serves": "training"}, "because", "sqlite:////nowhere/x.db") == model[0]


def test_a_run_whose_model_cannot_be_written_is_failed(store, model, tmp_path):
    client = mlflow.MlflowClient(store[0].mlflow_tracking_uri)
    experiment = client.get_run(store[1]["run_id"]).info.experiment_id
    (tmp_path / "mlruns" / "diabetes").mkdir(parents=True)
    (tmp_path / "mlruns" / "diabetes" / "models").write_text("where MLflow makes a folder")
    with pytest.raises(OSError, match="models"):
        registering.register(model[0].path, *store, candidate="lr")
    (run,) = client.search_runs([experiment], "tags.candidate = 'lr'")
    assert (run.info.status, client.search_registered_models()) == ("FAILED", [])


def test_a_candidates_run_has_the_model_as_it_was_saved(store, model):
    registered(store, model)
    client = mlflow.MlflowClient(store[0].mlflow_tracking_uri)
    experiment = client.get_run(store[1]["run_id"]).info.experiment_id
    (run,) = client.search_runs([experiment], "tags.candidate = 'lr'")
    (made,) = run.outputs.model_outputs
    files = Path(mlflow.artifacts.download_artifacts(f"models:/{made.model_id}"))
    assert (run.info.status, saving.digest_files(files)) == ("FINISHED", saving.digest_files(model[0].path))


def test_to_register_the_same_run_twice_gives_one_version_for_each_way_to_serve(store, model):
    first = registered(store, model)
    again = registering.register_version(model[0].path, first.run_id, store[0], fingerprints=[9])
    assert (again, again.fingerprints.tolist()) == (first, [1, 2, 3])
    other = registering.register_version(model[0].path, first.run_id, store[0], serves="all")
    assert (other.version, other.run_id, other.tags["serves"]) == ("2", first.run_id, "all")


def test_a_run_that_left_the_store_is_explained(store, model):
    """products/ outlives an mlflow.db that was deleted or moved."""
    gone = "which products/ remembers, is not in the MLflow store.*ploomber build --force"
    with pytest.raises(BatonError, match=gone):
        registering.register_version(model[0].path, "0" * 32, store[0])


@pytest.mark.parametrize(
    "tamper",
    [
        lambda path: (path / "model.skops").write_bytes((path / "model.skops").read_bytes() + b"x"),
        lambda path: (path / "code" / "features.py").write_text("print('other code')"),
        lambda path: (path / "code" / "numpy.py").write_text("raise SystemExit"),
        lambda path: (path / "sample.npy").unlink(),
        lambda path: (path / "MLmodel").write_text((path / "MLmodel").read_text() + "\n"),
    ],
    ids=["swapped", "edited code", "added code", "removed", "described otherwise"],
)
def test_a_version_whose_files_were_changed_is_refused_before_anything_is_loaded(store, model, tamper):
    first = registered(store, model)
    tamper(first.path)
    with pytest.raises(BatonError, match="diabetes version 1 is refused: a file of it was changed, added or removed"):
        registry.version_of("diabetes", "1", store[0].mlflow_tracking_uri)


def test_a_version_that_does_not_exist_is_told(store, model):
    registered(store, model)
    with pytest.raises(BatonError, match="diabetes has no version 7, or it was deleted: `baton history` lists"):
        registry.version_of("diabetes", "7", store[0].mlflow_tracking_uri)


def test_a_version_on_a_server_is_downloaded_once_and_again_if_the_copy_is_damaged(store, model, tmp_path, monkeypatch):
    address, files = f"http://127.0.0.1:{free_port()}", tmp_path / "served"
    files.mkdir()
    shutil.copy2(registering.empty_store(), files / "mlflow.db")
    asked = store[0].model_copy(update={"mlflow_tracking_uri": address})
    with registering.serve_store(address, files / "mlflow.db", files / "artifacts", tmp_path / "server.log"):
        facts = store[1] | {"run_id": tracking.start_training(asked, {}, pd.DataFrame({"a": [1.0]}))}
        first = registering.register(model[0].path, asked, facts)
        (first.path / "model.skops").write_bytes(b"cut off")
        again = registry.version_of("diabetes", "1", address)
        assert (again.path, len(registry.predict(again, model[0].contract.read_features(ROWS)))) == (first.path, 192)
        shutil.rmtree(files / "artifacts")
        assert registry.version_of("diabetes", "1", address).path == first.path
        (first.path / "model.skops").write_bytes(b"cut off")
        with pytest.raises(BatonError, match="diabetes version 1 is registered, but its files can't be read"):
            registry.version_of("diabetes", "1", address)
    assert first.path.is_relative_to(tmp_path / "products/diabetes/versions")


def test_what_one_process_has_fetched_is_replaced_by_no_other(model, tmp_path, monkeypatch):
    """Of two that fetch a version at once, the slower one takes what the other has fetched, and may be using."""
    monkeypatch.setattr(config, "ROOT", tmp_path)
    source, digest, downloads = model[0].path, saving.digest_files(model[0].path), []

    def download(uri, dst_path, tracking_uri):
        downloads.append(uri)
        time.sleep(0.5)  # the others come meanwhile
        return str(shutil.copytree(source, Path(dst_path, "whole")))

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", download)
    fetch = functools.partial(registry._fetch, "diabetes", "1", store_uri="http://127.0.0.1:1")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        (kept,) = {*pool.map(fetch, [digest] * 4)}
    assert (len(downloads), saving.digest_files(kept)) == (1, digest)
    assert fetch(None) == kept  # of version 0.1, which kept no digest
    assert len(downloads) == 1
    assert fetch(digest, store_uri="http://127.0.0.1:2") != kept  # the same version of another registry


def answering(model, tmp_path, change) -> saving.Model:
    """A copy of a saved model whose kept answers are changed."""
    moved = tmp_path / "model"
    shutil.copytree(model[0].path, moved)
    answers = np.load(moved / saving.ANSWERS)
    np.save(moved / saving.ANSWERS, change(answers))
    return saving.open_model(moved)


def test_a_model_that_answers_otherwise_than_when_it_was_registered_scores_nothing(model, diabetes, tmp_path):
    def change(answers):
        answers[:2] += 0.25
        return answers

    said = r"can't be used: it answers 2 of 3 sample rows otherwise than when it was registered, by up to 0\.25"
    with pytest.raises(BatonError, match=said):
        registry.predict(answering(model, tmp_path, change), diabetes.X)


def test_answers_that_differ_by_rounding_are_the_same(model, diabetes, tmp_path):
    rounded = answering(model, tmp_path, lambda answers: answers + 1e-9)
    np.testing.assert_array_equal(registry.predict(rounded, diabetes.X), registry.predict(model[0], diabetes.X))


def test_what_cannot_be_served_is_named(store, model, diabetes, tmp_path):
    asked, uri = store[0], store[0].mlflow_tracking_uri
    saved = model[0]
    answers = registry.require_servable(saved, {"megabytes": 5, "seconds_per_1000_rows": 60}, uri, diabetes.X)
    np.testing.assert_array_equal(answers, model[1].predict_proba(diabetes.X))
    assert registry.require_servable(saved, {}, uri).shape == (3, 2)  # its sample
    for name in ("megabytes", "seconds_per_1000_rows"):
        with pytest.raises(BatonError, match=f"can't be served: {name} is .*, and at_most allows 1e-06"):
            registry.require_servable(saved, {name: 1e-6}, uri, diabetes.X)
    failed = registered(store, model)
    tracking.connect(uri).set_terminated(failed.run_id, "FAILED")
    with pytest.raises(BatonError, match="its run .* is FAILED, and should be FINISHED"):
        registry.require_servable(failed, {}, uri, diabetes.X)
    with pytest.raises(BatonError, match="its run 0f is deleted, and should be FINISHED"):
        registry.require_servable(failed._replace(run_id="0f"), {}, uri, diabetes.X)
    other = learn(diabetes.X.assign(more=range(len(diabetes.X)), y=diabetes.y))
    with pytest.raises(BatonError, match="its signature names other columns than its contract"):
        registry.require_servable(saved._replace(contract=other), {}, asked.mlflow_tracking_uri, diabetes.X)
    texts = shutil.copytree(saved.path, tmp_path / "texts") / "MLmodel"
    texts.write_text(texts.read_text().replace('"type": "double"', '"type": "string"'))
    with pytest.raises(BatonError, match="its signature takes string for '.*', a number"):
        registry.require_servable(saving.open_model(texts.parent), {}, asked.mlflow_tracking_uri, diabetes.X)


def test_answers_that_are_no_numbers_are_refused(tmp_path):
    """What a linear model makes of a number near the largest that there is."""
    table = pd.DataFrame({"x": np.arange(40.0), "y": 10 * np.arange(40.0)})
    saved = registering.save(tmp_path / "model", table)
    huge = pd.DataFrame({"x": [1.0, 1e308]})
    with pytest.raises(BatonError, match="can't be served: it answers rows with something that is no number"):
        registry.require_servable(saved, {}, "sqlite:////nowhere/x.db", saved.contract.read_features(huge))
    huge.to_parquet(saved.path / saving.SAMPLE)
    np.save(saved.path / saving.ANSWERS, np.array([10.0, np.inf]))
    with pytest.raises(BatonError, match="can't be used: 1 of its answers to 2 sample rows are no numbers"):
        registry.predict(saved, saved.contract.read_features(table))


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_numbers_are_the_same_by_their_own_spread(tmp_path, scale):
    table = pd.DataFrame({"x": np.arange(-20.0, 20), "y": scale * np.arange(-20.0, 20)})
    saved = registering.save(tmp_path / "model", table)
    X, answers = saved.contract.read_features(table), np.load(saved.path / saving.ANSWERS)
    np.save(saved.path / saving.ANSWERS, answers + 1e-7 * answers.std())
    registry.predict(saved, X)
    np.save(saved.path / saving.ANSWERS, answers + answers.std())
    with pytest.raises(BatonError, match="otherwise than when it was registered"):
        registry.predict(saved, X)


def test_a_model_is_fitted_anew_on_the_rows_that_its_feature_file_selects(diabetes, tmp_path):
    code = tmp_path / "selecting.py"
    select = "\n\ndef select(rows):\n    return rows[rows['Age'] > 30]\n"
    code.write_text((PROJECT / "features.py").read_text() + select)
    own, older = config.load_features(str(code)), diabetes.X["Age"] > 30
    arguments = saving.model_arguments(
        forest(diabetes.X, diabetes.y, own), diabetes.contract, diabetes.X, diabetes.y, str(code)
    )
    saving.save(tmp_path / "model", arguments)
    rows = diabetes.X.assign(Outcome=diabetes.y)
    fitted = registry.refit(saving.open_model(tmp_path / "model"), rows, np.arange(len(rows)), tmp_path / "new")
    expected = forest(diabetes.X[older], diabetes.y[older], own)
    np.testing.assert_array_equal(registry.predict(fitted, diabetes.X), expected.predict_proba(diabetes.X))


def test_a_model_is_fitted_anew_with_its_own_settings_and_code_on_the_rows_given(model, diabetes, tmp_path):
    rows = diabetes.X.assign(Outcome=diabetes.y).head(200)
    saved = model[0]._replace(path=shutil.copytree(model[0].path, tmp_path / "saved"))
    (saved.path / intervals.FILE).write_text(json.dumps(intervals.Residuals("log", 9, [9], [0.5])._asdict()))
    fitted = registry.refit(saved, rows, np.arange(200), tmp_path / "new")
    expected = forest(diabetes.X.head(200), diabetes.y.head(200), config.load_features(str(PROJECT / "features.py")))
    np.testing.assert_array_equal(registry.predict(fitted, diabetes.X), expected.predict_proba(diabetes.X))
    assert fitted.contract == model[0].contract
    assert (fitted.path / "code" / "features.py").read_text() == (PROJECT / "features.py").read_text()
    assert len(saving.read_sample(fitted.path)) == saving.SAMPLE_ROWS
    assert fitted.residuals == saved.residuals == ("log", 9, [9], [0.5])


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
    asked = [saving.Model(Path(), contract) for contract in (point, comma, point)]
    assert registry.predict_all(asked, table.head(1)) == [[1.234], [1234.0], [1.234]]


def test_settings_are_of_the_store_that_is_asked(store, tmp_path):
    """A process that has used one store must not write into it when it is given another."""
    other = settings(name="other", mlflow_tracking_uri=f"sqlite:///{tmp_path / 'second.db'}")
    shutil.copy2(registering.empty_store(), tmp_path / "second.db")
    run_id = tracking.start_training(other, {}, pd.DataFrame({"a": [1.0]}))
    assert mlflow.MlflowClient(other.mlflow_tracking_uri).get_run(run_id).info.status == "FINISHED"
    assert mlflow.MlflowClient(store[0].mlflow_tracking_uri).get_experiment_by_name("other") is None


def test_a_model_that_is_no_version_is_named_by_its_place_in_the_project(model, monkeypatch):
    assert str(model[0]) == f"the model in {model[0].path}"
    monkeypatch.setattr(config, "ROOT", model[0].path.parent)
    assert str(model[0]) == "the model in model"


def test_the_process_of_a_model_computes_in_one_thread_unless_told_otherwise(monkeypatch):
    for given, found in ((None, "1"), ("3", "3")):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        if given:
            monkeypatch.setenv("OMP_NUM_THREADS", given)
        process = registry._start()
        while not (inherited := Path(f"/proc/{process.pid}/environ").read_text().split("\0"))[0]:
            time.sleep(0.01)  # until the system has started the program
        registry._end(process)
        assert f"OMP_NUM_THREADS={found}" in inherited


@pytest.mark.parametrize("error", [OSError("no space left"), MemoryError()])
def test_what_the_machine_refuses_says_nothing_against_the_model(monkeypatch, error):
    def fail(**_):
        raise error

    monkeypatch.setattr(runner, "predict", fail)
    assert runner.do("predict", model="x") == {"machine": str(error) or "there is no memory left"}


def test_a_store_that_does_not_answer_says_nothing_of_a_version(store, model, monkeypatch):
    registered(store, model)

    def fail(*_):
        raise MlflowException("down", error_code=INTERNAL_ERROR)

    monkeypatch.setattr(mlflow.MlflowClient, "get_model_version", fail)
    with pytest.raises(MlflowException, match="down"):
        registry.version_of("diabetes", "1", store[0].mlflow_tracking_uri)


def test_a_digest_that_there_is_stays(store, model):
    first = registered(store, model)
    (first.path / "added").write_text("x")
    registry.keep_digest(first, store[0].mlflow_tracking_uri)
    with pytest.raises(ModelRefused, match="is refused: a file of it was changed"):
        registry.version_of("diabetes", "1", store[0].mlflow_tracking_uri)


def test_a_version_is_of_its_run_and_its_comparison(store, model):
    first = registered(store, model, candidate="lr")
    other = registered(store, model, candidate="tree")
    assert (other.version, other.run_id != first.run_id) == ("2", True)
    later = registering.register_version(model[0].path, first.run_id, store[0], compared_with="2")
    assert (later.version, later.run_id) == ("3", first.run_id)


@pytest.mark.parametrize("denied", [True, False])
def test_where_no_version_may_be_deleted_it_says_that_it_is_withdrawn(store, model, monkeypatch, denied):
    first, uri = registered(store, model), store[0].mlflow_tracking_uri

    def fail(*_):
        raise MlflowException("no", error_code=PERMISSION_DENIED if denied else INTERNAL_ERROR)

    monkeypatch.setattr(mlflow.MlflowClient, "delete_model_version", fail)
    if not denied:
        with pytest.raises(MlflowException, match="no"):
            registry.withdraw(first, uri)
        return
    registry.withdraw(first, uri)
    assert registry.version_of("diabetes", "1", uri).tags["decision"] == registry.WITHDRAWN


def test_the_columns_of_a_signature_have_the_order_of_the_contract(model):
    asked = model[0].contract
    turned = dataclasses.replace(asked, columns=dict(reversed(asked.columns.items())))
    with pytest.raises(BatonError, match="its signature names other columns than its contract"):
        registry.require_servable(model[0]._replace(contract=turned), {}, "sqlite:////nowhere/x.db")


def test_a_signature_takes_each_kind_as_the_contract_reads_it(tmp_path):
    kinds = {
        "n": [1.5, 2.5, 3.5, 4.5] * 10,
        "b": [True, False, None, True] * 10,
        "w": [True, False, False, True] * 10,
        "t": ["u", "v", "w", "u"] * 10,
        "d": pd.date_range("2026-01-01", periods=40).astype(str),
    }
    saved = registering.save(tmp_path / "model", pd.DataFrame(kinds | {"y": [0, 1] * 20}))
    assert saved.contract.kinds == {"n": "number", "b": "boolean", "w": "boolean", "t": "text", "d": "date"}
    registry.require_servable(saved, {}, "sqlite:////nowhere/x.db")
    described = yaml.safe_load((saved.path / "MLmodel").read_text())
    for column, other in (("d", "string"), ("t", "double"), ("n", "string"), ("w", "string")):
        inputs = json.loads(described["signature"]["inputs"])
        next(one for one in inputs if one["name"] == column)["type"] = other
        changed = described | {"signature": described["signature"] | {"inputs": json.dumps(inputs)}}
        (saved.path / "MLmodel").write_text(yaml.safe_dump(changed, sort_keys=False))
        with pytest.raises(BatonError, match=f"its signature takes {other} for '{column}'"):
            registry.require_servable(saved, {}, "sqlite:////nowhere/x.db")


def test_a_process_is_asked_one_thing_at_a_time(model):
    said = []

    class Process:
        lock = threading.Lock()

        def write(self, order):
            said.append("asked")

        def flush(self):
            time.sleep(0.05)

        def readline(self):
            said.append("answered")
            return "{}"

    process = Process()
    process.stdin = process.stdout = process
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        [*pool.map(lambda _: registry._ask(process, model[0], "predict", {}), range(2))]
    assert said == ["asked", "answered"] * 2


def test_what_a_model_fails_at_refuses_it(model, diabetes, tmp_path):
    with pytest.raises(ModelRefused, match="it answers 3 of 3 sample rows otherwise"):
        registry.predict(answering(model, tmp_path, lambda answers: answers + 0.25), diabetes.X)


def other_code(model, folder) -> saving.Model:
    """A copy of a model whose feature code makes all rows alike."""
    moved = shutil.copytree(model[0].path, folder)
    code = moved / "code" / "features.py"
    code.write_text(
        code.read_text().replace("return rows.assign(**{", "rows = rows * 0 + 1\n    return rows.assign(**{")
    )
    (moved / saving.SAMPLE).unlink()
    return saving.open_model(moved)


def test_a_process_that_is_kept_runs_no_model_of_other_feature_code(model, diabetes, tmp_path):
    other = other_code(model, tmp_path / "model")
    with registry.kept_running(model[0]):
        registry.predict(model[0], diabetes.X)
        assert len(np.unique(registry.predict(other, diabetes.X)[:, 1])) == 1


def test_a_worker_of_a_cluster_has_a_process_for_one_model(model, diabetes, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_there", threading.local())
    other = other_code(model, tmp_path / "model")
    diabetes.X.to_parquet(tmp_path / "rows.parquet")
    asked = {name: str(tmp_path / name) for name in ("predictions.npy", "report")}
    asked = {"rows": str(tmp_path / "rows.parquet"), "predictions": asked["predictions.npy"], "report": asked["report"]}
    for one in (model[0], other):
        registry._do_there(one, "predict", asked)
    registry._end(registry._there.process)
    assert len(np.unique(np.load(tmp_path / "predictions.npy")[:, 1])) == 1


def test_a_file_that_was_renamed_is_another(store, model):
    first = registered(store, model)
    (first.path / "code" / "features.py").rename(first.path / "code" / "numpy.py")
    with pytest.raises(BatonError, match="is refused: a file of it was changed"):
        registry.version_of("diabetes", "1", store[0].mlflow_tracking_uri)


def test_one_class_of_many_that_is_answered_as_before_does_not_hide_the_others(tmp_path):
    x = np.linspace(-2, 2, 90)
    table = pd.DataFrame({"x": x, "y": np.digitize(x, [-0.5, 0.5]).astype(str)})
    saved = registering.save(tmp_path / "model", table)
    answers = np.load(saved.path / saving.ANSWERS)
    np.save(saved.path / saving.ANSWERS, answers[:, [1, 0, 2]])
    with pytest.raises(BatonError, match="it answers 3 of 3 sample rows otherwise"):
        registry.predict(saved, saved.contract.read_features(table))


def test_a_refit_has_the_weights_of_the_rows_that_it_learns_from(diabetes, tmp_path):
    code = tmp_path / "selecting.py"
    code.write_text(
        "def clean(rows):\n    return rows\n\n\ndef derive(rows):\n    return rows\n\n\n"
        "def select(rows):\n    return rows[rows['Age'] > 30]\n"
    )
    rows = diabetes.X.assign(w=np.arange(len(diabetes.X)) + 1.0, Outcome=diabetes.y)
    pipeline, asked = registering.fit(rows, target="Outcome", weight="w")
    saving.save(
        tmp_path / "model", saving.model_arguments(pipeline, asked, asked.read_features(rows), diabetes.y, str(code))
    )
    older = rows["Age"] > 30
    fitted = registry.refit(saving.open_model(tmp_path / "model"), rows, np.arange(len(rows)), tmp_path / "new")

    X = asked.read_features(rows)
    expected = preparation.fit(
        clone(pipeline), X[older], diabetes.y[older], np.arange(len(rows))[older], asked.read_weights(rows)[older]
    )
    np.testing.assert_allclose(registry.predict(fitted, X), expected.predict_proba(X), atol=1e-6)


def test_a_model_that_took_the_place_of_another_is_loaded(tmp_path):
    table = pd.DataFrame({"x": np.arange(40.0), "y": [0] * 20 + [1] * 20})
    saved = registering.save(tmp_path / "model", table)
    X = saved.contract.read_features(table)
    with registry.kept_running(saved):
        before = registry.predict(saved, X)
        registering.save(tmp_path / "model", table.assign(y=[1] * 20 + [0] * 20))
        assert np.abs(registry.predict(saved, X) - before).max() > 0.5
