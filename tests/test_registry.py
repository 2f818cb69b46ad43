"""Models as they are saved, refused and run: real files, real processes, a real store."""

import json
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

import features
from baton import BatonError, config, contract, promotion, registry, runner, scoring, tournament, tracking


class Stranger(BaseEstimator):
    """A type that is on nobody's list."""

    def fit(self, rows, target):
        self.classes_ = np.unique(target)
        return self

    def predict(self, rows):
        return np.zeros(len(rows), dtype=int)


@pytest.fixture(scope="session")
def model(diabetes, tmp_path_factory):
    """A small forest, fitted and saved: (what is saved, the fitted pipeline, its raw rows)."""
    asked, rows, _, target = diabetes
    pipeline = tournament.assemble(RandomForestClassifier(20, random_state=1), features).fit(rows, target)
    path = tmp_path_factory.mktemp("registry") / "model"
    registry.save(path, registry.model_arguments(pipeline, asked, rows, target, "features.py"))
    return registry.open_model(path), pipeline, rows


def test_a_saved_model_runs_in_its_own_process_and_says_what_it_said_in_ours(model):
    saved, pipeline, rows = model
    np.testing.assert_array_equal(registry.predict(saved, rows), pipeline.predict_proba(rows))


def test_it_is_plain_scikit_learn_with_its_feature_code_and_contract_beside_it(model, diabetes):
    saved, _, rows = model
    assert saved.contract == diabetes[0]
    assert (saved.path / "code" / "features.py").read_text() == Path(features.__file__).read_text()
    described = mlflow.models.Model.load(saved.path)
    assert described.flavors["sklearn"]["serialization_format"] == "skops"
    assert {str(column.type) for column in described.signature.inputs} == {"DataType.double"}
    assert described.signature.inputs.input_names() == [*rows.columns]
    assert "pycaret" not in (saved.path / "requirements.txt").read_text()


def test_it_runs_the_feature_code_it_came_with_not_the_checkouts(model, tmp_path):
    saved, pipeline, rows = model
    moved = tmp_path / "model"
    shutil.copytree(saved.path, moved)
    code = moved / "code" / "features.py"
    code.write_text(
        code.read_text().replace("return rows.assign(**{", "rows = rows * 0 + 1\n    return rows.assign(**{")
    )
    other = registry.predict(registry.open_model(moved), rows)
    assert len(np.unique(other[:, 1])) == 1
    assert len(np.unique(registry.predict(saved, rows)[:, 1])) > 10


def test_a_type_that_is_not_trusted_is_refused_when_saved_and_when_run(model, diabetes, tmp_path):
    saved, _, _ = model
    asked, rows, _, target = diabetes
    strange = Pipeline([("model", Stranger())]).fit(rows, target)
    with pytest.raises(BatonError, match="add them to TRUSTED_TYPES in baton/registry.py"):
        registry.save(tmp_path / "never", registry.model_arguments(strange, asked, rows, target, None))

    # Whoever can write the artifact can also write MLflow's own list of trusted types; ours does not ask it.
    forged = tmp_path / "forged"
    shutil.copytree(saved.path, forged)
    skops.io.dump(strange, forged / "model.skops")
    described = (forged / "MLmodel").read_text()
    (forged / "MLmodel").write_text(described.replace("- lightgbm.basic.Booster", "- test_registry.Stranger"))
    with pytest.raises(BatonError, match=r"holds types that are not trusted: test_registry\.Stranger"):
        registry.predict(registry.open_model(forged), rows)


@pytest.mark.parametrize("labels", [("no", "yes"), ("stay", "leave"), (0, 1)])
def test_probabilities_follow_the_contracts_order_of_classes(diabetes, labels):
    asked, rows, _, target = diabetes
    named = target.map({0: labels[0], 1: labels[1]})
    own = contract.learn_contract(rows.assign(y=named), "t", "y", [], "auto", "auto")
    pipeline = tournament.assemble(RandomForestClassifier(20, random_state=1), features).fit(rows, named)
    answers = runner.probabilities(pipeline, rows, own)
    assert own.positive == labels[1]  # the rarer, or the one that says yes
    assert ((answers[:, 1] > 0.5) == (named == labels[1])).mean() > 0.95


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A real, empty MLflow store, with a training run to file candidates under."""
    monkeypatch.setattr(config, "ROOT", tmp_path)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    table = pd.DataFrame({"a": [1.0, 2.0]})
    return uri, tracking.start_training(True, uri, "diabetes", {"data_digest": "abc"}, table, "a.csv")


def entered(store, model, diabetes, candidate="forest"):
    uri, parent = store
    saved, pipeline, rows = model
    arguments = registry.model_arguments(pipeline, saved.contract, rows, diabetes[3], features.__file__)
    run_id = tracking.log_candidate(
        parent, uri, candidate, params={}, metrics={"x": 1.0, "nothing": float("nan")}, tags={}, figures=str(saved.path),
        tables={}, rows=rows, source="a.csv", started=0,
    )  # fmt: skip
    model_uri = registry.log(run_id, arguments, uri)
    made = {"candidate": candidate, "run_id": run_id, "model_uri": model_uri}
    return registry.enter(made, saved.path, "because", {"run_id": parent, "data_digest": "abc"}, uri)


def test_there_is_no_champion_until_one_is_crowned(store, model, diabetes):
    uri, _ = store
    assert registry.champion("diabetes", uri) is None
    with pytest.raises(BatonError, match="there is no champion for 'diabetes'.*ploomber build"):
        registry.require_champion("diabetes", uri)
    first = entered(store, model, diabetes)
    registry.crown_if(False, first, uri)
    assert registry.champion("diabetes", uri) is None
    registry.crown_if(True, first, uri)
    assert registry.champion("diabetes", uri) == first
    assert first.version == "1"


def test_a_run_whose_model_cannot_be_written_is_failed(store, model, diabetes):
    uri, parent = store
    asked, rows, _, target = diabetes
    strange = Pipeline([("model", Stranger())]).fit(rows, target)
    run_id = tracking.log_candidate(
        parent, uri, "stranger", params={}, metrics={}, tags={}, figures=str(model[0].path), tables={}, rows=rows,
        source="a.csv", started=0,
    )  # fmt: skip
    with pytest.raises(BatonError, match="holds types that are not trusted"):
        registry.log(run_id, registry.model_arguments(strange, asked, rows, target, None), uri)
    assert mlflow.MlflowClient(uri).get_run(run_id).info.status == "FAILED"


def test_entering_the_same_run_twice_gives_one_version(store, model, diabetes):
    first = entered(store, model, diabetes)
    made = {"candidate": "forest", "run_id": first.run_id, "model_uri": "never asked for"}
    again = registry.enter(made, first.path, "again", {"run_id": store[1], "data_digest": "abc"}, store[0])
    assert again == first
    assert mlflow.MlflowClient(store[0]).get_model_version("diabetes", "1").description == "again"


def test_a_run_that_left_the_store_is_explained(store, model, diabetes):
    """products/ outlives an mlflow.db that was deleted or moved."""
    made = {"candidate": "forest", "run_id": "0" * 32, "model_uri": "models:/m-1"}
    with pytest.raises(
        BatonError, match="which products/ remembers, is not in the MLflow store.*ploomber build --force"
    ):
        registry.enter(made, model[0].path, "because", {"run_id": store[1], "data_digest": "abc"}, store[0])


def test_a_version_whose_files_are_gone_is_named(store, model, diabetes):
    first = entered(store, model, diabetes)
    shutil.rmtree(first.path)
    with pytest.raises(BatonError, match="diabetes version 1 is registered, but its files can't be fetched"):
        registry.version_of("diabetes", "1", store[0])


def test_the_challenger_takes_the_crown_only_if_it_is_better(model, diabetes):
    saved, _, rows = model
    holdout = rows.assign(Outcome=diabetes[3]).head(120)
    first = promotion.judge(saved, None, holdout, diabetes[3])
    assert first.promote is True
    assert first.scores.at["guess", "AUC"] == 0.5
    assert first.scores.at["guess", "lead_low"] > 0.3
    same = promotion.judge(saved, saved, holdout, diabetes[3])
    assert same.promote is False
    assert (same.scores.at["champion", "lead"], same.scores.at["champion", "lead_low"]) == (0, 0)
    assert "remains champion" in same.reason
    assert json.loads(json.dumps(same.to_dict()))["metric"] == "AUC"


def test_a_batch_is_published_whole_or_not_at_all(model, tmp_path, monkeypatch):
    monkeypatch.setattr(config, "ROOT", tmp_path)
    saved, _, rows = model
    numbered = saved._replace(version="1", run_id="r")
    batch = scoring.receive(rows, numbered, "b1", "rows.csv")
    predictions = pd.DataFrame(
        {"row": range(len(rows)), "prediction": 0, "scored_at": pd.Timestamp("2026-01-01", tz="UTC")}
    )
    with pytest.raises(BatonError, match=f"batch b1: {len(rows)} rows came in and 3 were scored; nothing is published"):
        scoring.publish(predictions.head(3), batch, saved.contract)
    assert not batch.folder.parent.exists()

    assert scoring.is_published(batch) is False
    scoring.publish(predictions, batch, saved.contract)
    assert scoring.is_published(batch) is False  # its report is still to come
    (batch.folder / "_report.html").write_text("report")
    assert scoring.is_published(batch) is True
    changed = scoring.receive(rows + 1, numbered, "b1", "rows.csv")
    assert scoring.is_published(changed) is False
    assert (
        scoring.is_published(scoring.receive(rows, saved._replace(version="2", run_id="r"), "b1", "rows.csv")) is False
    )

    scoring.publish(predictions.assign(prediction=1), batch, saved.contract)
    assert pd.read_parquet(batch.folder)["prediction"].eq(1).all()
    assert [path.name for path in batch.folder.parent.iterdir()] == ["batch=b1"]
    (batch.folder / "part-0.parquet").unlink()
    assert scoring.is_published(batch) is False


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("mlruns", "keeps no runs in plain folders"),
        ("file:mlruns", "keeps no runs in plain folders"),
        ("sqlite:////dev/null/x.db", "can't be opened"),
    ],
)
def test_a_store_that_cannot_be_used_is_explained(uri, said):
    with pytest.raises(BatonError, match=said):
        tracking.connect(uri)
