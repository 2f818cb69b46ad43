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
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

import features
from baton import (
    BatonError,
    config,
    contract,
    evaluation,
    preparation,
    promotion,
    registry,
    runner,
    scoring,
    tables,
    tournament,
    tracking,
)


class Stranger(BaseEstimator):
    """A type that is on nobody's list."""

    def fit(self, rows, target):
        self.classes_ = np.unique(target)
        return self

    def predict(self, rows):
        return np.zeros(len(rows), dtype=int)


def forest(rows, target, own=features) -> Pipeline:
    ready = preparation.clean_and_derive(rows, own)
    prepare = preparation.prepare(own, ready, "binary")
    return tournament.assemble(prepare, RandomForestClassifier(20, random_state=1), own).fit(rows, target)


@pytest.fixture(scope="session")
def model(diabetes, tmp_path_factory):
    """A small forest, fitted and saved: (what is saved, the fitted pipeline, its raw rows)."""
    asked, rows, _, target = diabetes
    pipeline = forest(rows, target)
    path = tmp_path_factory.mktemp("registry") / "model"
    registry.save(path, registry.model_arguments(pipeline, asked, rows, target, "features.py"))
    return registry.open_model(path), pipeline, rows


def test_a_saved_model_runs_in_its_own_process_and_says_what_it_said_in_ours(model):
    saved, pipeline, rows = model
    np.testing.assert_array_equal(registry.predict(saved, rows), pipeline.predict_proba(rows))


@pytest.mark.parametrize("prepare", ["usual", "encoder alone"])
def test_a_missing_text_means_in_its_own_process_what_it_meant_in_training(tmp_path, prepare):
    """Parquet, by which rows get there, gives NaN for None; an encoder alone, as older versions hold it, minds."""
    table = pd.DataFrame({"cause": ["heart", "lungs", None, None] * 10, "died": [1, 1, 0, 0] * 10})
    asked = contract.learn_contract(table, "demo", "died", None, "auto", "auto")
    rows, target = asked.rows(table), asked.answers(table).astype(int)
    step = preparation.prepare(None, rows, "binary") if prepare == "usual" else OneHotEncoder(handle_unknown="ignore")
    pipeline = tournament.assemble(step, LogisticRegression(), None).fit(rows, target)
    registry.save(tmp_path / "model", registry.model_arguments(pipeline, asked, rows, target, None))
    told = registry.predict(registry.open_model(tmp_path / "model"), rows)
    np.testing.assert_array_equal(told, pipeline.predict_proba(rows))
    assert told[0, 1] > 0.5 > told[2, 1]


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
    pipeline = forest(rows, named)
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


def test_a_version_whose_files_are_cut_off_or_gone_is_named(store, model, diabetes):
    first = entered(store, model, diabetes)
    (first.path / "MLmodel").write_text("")
    with pytest.raises(BatonError, match="diabetes version 1 is registered, but its files can't be read"):
        registry.version_of("diabetes", "1", store[0])
    shutil.rmtree(first.path)
    with pytest.raises(BatonError, match="diabetes version 1 is registered, but its files can't be read"):
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
    batch, received = scoring.receive(rows, numbered, "b1", "rows.csv")
    pd.testing.assert_frame_equal(received[[*rows]], rows)
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
    changed, _ = scoring.receive(rows + 1, numbered, "b1", "rows.csv")
    assert scoring.is_published(changed) is False
    newer, _ = scoring.receive(rows, saved._replace(version="2", run_id="r"), "b1", "rows.csv")
    assert scoring.is_published(newer) is False

    scoring.publish(predictions.assign(prediction=1), batch, saved.contract)
    assert pd.read_parquet(batch.folder)["prediction"].eq(1).all()
    assert [path.name for path in batch.folder.parent.iterdir()] == ["batch=b1"]
    (batch.folder / "part-0.parquet").unlink()
    assert scoring.is_published(batch) is False


def asked(labels, task="binary", target="y", columns=("a",), ids=(), optional=()) -> contract.Contract:
    kinds = dict.fromkeys(columns, "number")
    return contract.Contract("demo", target, [*ids], kinds, task, "so", "AUC", [*labels], optional=[*optional])


@pytest.mark.parametrize(
    ("champion", "challenger", "expected"),
    [
        (["a", "b", "c"], ["a", "b", "c"], [0.5, 0.3, 0.2]),
        (["c", "b", "a"], ["a", "b", "c"], [0.2, 0.3, 0.5]),
        (["a", "b", "c"], ["a", "b", "c", "d"], [0.5, 0.3, 0.2, 0.0]),
        (["a", "b", "c"], ["a", "c"], [0.5, 0.2]),
        (["b", "c", "d"], ["a", "b", "c", "d"], [0.0, 0.5, 0.3, 0.2]),
        ([0, 1, 2], [0.0, 1.0, 2.0], [0.5, 0.3, 0.2]),
    ],
)
def test_a_champion_of_other_classes_is_asked_in_the_challengers_order(monkeypatch, champion, challenger, expected):
    """A class that it never saw can't be, to it; one that is gone can't be right."""
    told = {
        "new": np.tile(np.full(len(challenger), 1 / len(challenger)), (6, 1)),
        "old": np.tile([0.5, 0.3, 0.2], (6, 1)),
    }
    models = {
        who: registry.Model(Path(who), asked(labels, "multiclass"), version=who, run_id=who)
        for who, labels in (("new", challenger), ("old", champion))
    }
    monkeypatch.setattr(registry, "predict_all", lambda models, table: [told[model.version] for model in models])
    judged = {}

    def score(truth, predictions, task, only):
        judged[len(judged)] = predictions[0].tolist()
        return {only: 0.5}

    monkeypatch.setattr(evaluation, "score", score)
    holdout = pd.DataFrame({"a": range(6), "y": (challenger * 3)[:6]})
    promotion.judge(models["new"], models["old"], holdout, holdout["y"])
    assert judged[1] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("champion", "table", "said"),
    [
        (asked(["no", "yes"]), {"a": [1]}, None),
        (asked(["yes", "no"]), {"a": [1]}, None),
        (asked(["no", "yes"], columns="ab", optional="b"), {"a": [1]}, None),
        (asked(["no", "yes"], columns="ab"), {"a": [1]}, "the table of this training lacks 1 of the columns it needs: 'b'"),
        (asked(["no", "yes"]), {"a": ["x"]}, "1 of 1 values are not a number, the first of them 'x'"),
        (asked(["no", "yes"], target="z"), {"a": [1]}, "it answers binary 'z'"),
        (asked([], task="regression"), {"a": [1]}, "it answers regression 'y'"),
        (asked([0, 1]), {"a": [1]}, "it tells apart the classes 0, 1, and this table has 'no', 'yes'"),
        (asked(["no", "maybe"]), {"a": [1]}, "it tells apart the classes 'no', 'maybe', and this table has 'no', 'yes'"),
    ],
    ids=["same", "other order", "optional", "column", "kind", "target", "task", "types", "classes"],
)  # fmt: skip
def test_a_champion_that_cannot_be_compared_is_refused_before_training(monkeypatch, champion, table, said):
    model = registry.Model(Path("."), champion, version="3", run_id="r")
    monkeypatch.setattr(registry, "champion", lambda name, uri: model)
    compare = (asked(["no", "yes"]), pd.DataFrame(table))
    promotion.require_comparable(*compare, track=False, tracking_uri="")
    if said is None:
        promotion.require_comparable(*compare, track=True, tracking_uri="")
    else:
        said = said.replace("the table of this training", ".*")
        with pytest.raises(
            BatonError, match=f"demo version 3 is champion.*{said}.*Give this training a name of its own"
        ):
            promotion.require_comparable(*compare, track=True, tracking_uri="")


@pytest.fixture
def arriving(tmp_path, monkeypatch):
    """A champion that adds two columns, one of them optional, and needs no process of its own to do so."""
    monkeypatch.setattr(config, "ROOT", tmp_path)
    promised = asked([], "regression", columns=("a", "b"), ids=("id",), optional=("b",))
    monkeypatch.setattr(
        registry, "predict", lambda model, rows: rows["a"].to_numpy() + rows["b"].fillna(100).to_numpy()
    )
    return registry.Model(tmp_path, promised, version="7", run_id="r")


@pytest.mark.parametrize(
    ("columns", "scored", "remarks"),
    [
        ({"b": ["1", "2", "3"]}, [2, 4, 6], []),
        ({}, [101, 102, 103], ["column 'b' is not there; it counts as missing"]),
        ({"b": ["1", "inf", "NA"]}, [2, 102, 103], ["column 'b': 1 infinite values count as missing"]),
        ({"b": ["1", "", "-inf"], "more": ["x", "y", "z"]}, [2, 102, 103], ["column 'b': 1 infinite values count as missing"]),
    ],
    ids=["whole", "optional column absent", "infinite", "more columns"],
)  # fmt: skip
def test_what_is_odd_in_a_batch_is_remarked_in_its_manifest_and_it_is_scored(arriving, columns, scored, remarks):
    table = pd.DataFrame({"id": ["7", "8", "9"], "a": ["1", "2", "3"], **columns}, dtype="str")
    batch, rows = scoring.receive(table, arriving, "b", "rows.csv")
    predictions = scoring.score(rows, arriving)
    assert predictions["prediction"].tolist() == scored
    said = json.loads(scoring.publish(predictions, batch, arriving.contract).read_text())
    assert (said["remarks"], said["rows_in"], said["rows_scored"]) == (remarks, 3, 3)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["7", "8", "-90"], [7, 8, -90]),
        (["07", "8", "9"], ["07", "8", "9"]),  # a code
        (["7", "8", ""], ["7", "8", ""]),
        (["7", "8", "9.0"], ["7", "8", "9.0"]),
        (["7", "8", "12345678901234567890"], ["7", "8", "12345678901234567890"]),
        ([7, 8, 9], [7, 8, 9]),
    ],
)
def test_ids_that_are_integers_are_so_in_the_output(arriving, ids, expected):
    _, rows = scoring.receive(pd.DataFrame({"id": ids, "a": [1, 2, 3]}), arriving, "b", "rows.csv")
    assert scoring.score(rows, arriving)["id"].tolist() == expected


def test_a_batch_without_its_ids_is_numbered(arriving):
    _, rows = scoring.receive(pd.DataFrame({"a": [1, 2, 3]}), arriving, "b", "rows.csv")
    scored = scoring.score(rows, arriving)
    assert [*scored] == ["row", "prediction", "model_version", "scored_at"]
    assert scored["row"].tolist() == [0, 1, 2]


def test_a_batch_in_a_database_is_replaced_when_published_again(arriving, tmp_path):
    place = f"sqlite:///{tmp_path / 'own.db'}#scores"
    table = pd.DataFrame({"id": [7, 8, 9], "a": [1, 2, 3], "b": [0, 0, 0]})
    for batch, rows in (("mon", table), ("tue", table.head(2)), ("mon", table.assign(a=table["a"] * 10))):
        received, rows = scoring.receive(rows, arriving, batch, "rows.csv", place)
        scoring.publish(scoring.score(rows, arriving), received, arriving.contract)
    there = tables.read_table(place).sort_values(["batch", "id"])
    assert there[["model_name", "batch", "id", "prediction"]].to_numpy().tolist() == [
        ["demo", "mon", 7, 10.0], ["demo", "mon", 8, 20.0], ["demo", "mon", 9, 30.0], ["demo", "tue", 7, 1.0], ["demo", "tue", 8, 2.0],
    ]  # fmt: skip


def test_a_database_that_is_not_there_is_told_before_anything_is_scored(arriving):
    with pytest.raises(BatonError, match="nowhere"):
        scoring.receive(pd.DataFrame({"a": [1]}), arriving, "b", "rows.csv", "sqlite:////nowhere/own.db#scores")


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


def test_a_broken_store_is_explained_in_one_line(tmp_path):
    (tmp_path / "broken.db").write_text("no database")
    with pytest.raises(BatonError, match=r"can't be opened: .*file is not a database\Z"):
        tracking.connect(f"sqlite:///{tmp_path / 'broken.db'}")
