"""A batch: which rows it is, what is predicted for each, and that it is published whole or not at all."""

import dataclasses
import json
import sqlite3

import numpy as np
import pandas as pd
import pytest
import registering
from conftest import run_task

from baton import BatonError, config
from baton.data import tables
from baton.data.contract import Contract
from baton.data.values import Format
from baton.handover import registry, saving
from baton.serving import scoring


@pytest.fixture
def batch(monkeypatch, tmp_path) -> scoring.Batch:
    monkeypatch.setattr(config, "ROOT", tmp_path)
    return scoring.Batch("demo", "monday", "3", "run", "digest", 2, None, [])


PREDICTIONS = pd.DataFrame({"row": [0, 1], "prediction": [1, 0], "scored_at": pd.Timestamp("2026-01-01", tz="UTC")})


def contract(labels=(), columns=("a",), ids=(), optional=()) -> Contract:
    task = {0: "regression", 2: "binary"}.get(len(labels), "multiclass")
    return Contract("demo", "y", [*ids], dict.fromkeys(columns, Format("number")), task, "AUC", [*labels], optional=[*optional])  # fmt: skip


def test_a_batch_is_published_whole_or_not_at_all(batch):
    with pytest.raises(BatonError, match="batch monday: 2 rows came in and 1 were scored; nothing is published"):
        scoring.publish(PREDICTIONS.head(1), batch, contract())
    assert not batch.folder.parent.exists()

    assert scoring.is_published(batch) is False
    scoring.publish(PREDICTIONS, batch, contract(labels=[0, 1]))
    assert scoring.is_published(batch) is False  # its report is still to come
    (batch.folder / "_report.html").write_text("report")
    assert scoring.is_published(batch) is True
    for changed in ({"input_digest": "other"}, {"model_version": "4"}, {"predictions_table": "sqlite:///a.db#t"}):
        assert scoring.is_published(dataclasses.replace(batch, **changed)) is False

    scoring.publish(PREDICTIONS.assign(prediction=7), batch, contract())
    assert pd.read_parquet(batch.folder)["prediction"].tolist() == [7, 7]
    assert [path.name for path in batch.folder.parent.iterdir()] == ["batch=monday"]
    assert sorted(path.name for path in batch.folder.iterdir()) == ["_manifest.json", "part-0.parquet"]


@pytest.mark.parametrize("broken", ["_manifest.json", "part-0.parquet", "_report.html"])
def test_a_batch_of_which_a_part_is_gone_or_cut_off_is_scored_again(batch, broken):
    scoring.publish(PREDICTIONS, batch, contract())
    (batch.folder / "_report.html").write_text("report")
    assert scoring.is_published(batch) is True
    (batch.folder / broken).unlink()
    assert scoring.is_published(batch) is False
    (batch.folder / "_manifest.json").write_text("")
    assert scoring.is_published(batch) is False


def test_the_manifest_says_which_rows_were_scored_by_which_model(batch):
    written = json.loads(scoring.publish(PREDICTIONS, batch, contract(labels=["no", "yes"])).read_text())
    assert written == {
        "name": "demo", "batch": "monday", "model_version": "3", "run_id": "run", "input_digest": "digest", "rows": 2,
        "predictions_table": None, "remarks": [], "rows_in": 2, "rows_scored": 2, "rows_rejected": 0,
        "positive_class": "yes", "scored_at": "2026-01-01T00:00:00+00:00", "parts": ["part-0.parquet"],
    }  # fmt: skip
    (batch.folder / "batch.json").write_text(json.dumps(written))
    assert scoring.read_batch(str(batch.folder / "batch.json")) == batch


@pytest.mark.parametrize(
    ("labels", "answers", "predicted", "columns"),
    [
        (["no", "yes"], [[0.9, 0.1], [0.2, 0.8]], ["no", "yes"], {"probability": [0.1, 0.8]}),
        (["stay", "leave"], [[0.9, 0.1], [0.2, 0.8]], ["stay", "leave"], {"probability": [0.1, 0.8]}),
        (["stay", "leave"], [[0.5, 0.5], [0.5, 0.5]], ["leave", "leave"], {"probability": [0.5, 0.5]}),  # as scikit-learn
        ([1, 0], [[0.9, 0.1], [0.2, 0.8]], [1, 0], {"probability": [0.1, 0.8]}),
        (
            ["c", "a", "b"], [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], ["c", "b"],
            {"probability_c": [0.7, 0.1], "probability_a": [0.2, 0.3], "probability_b": [0.1, 0.6]},
        ),
        ([2, 5, 9], [[0.2, 0.5, 0.3], [0.1, 0.2, 0.7]], [5, 9], {"probability_2": [0.2, 0.1], "probability_5": [0.5, 0.2], "probability_9": [0.3, 0.7]}),
        ([], [1.5, -2.0], [1.5, -2.0], {}),
    ],
    ids=["alphabetical", "not alphabetical", "tie", "falling", "three", "numbers", "regression"],
)  # fmt: skip
def test_each_row_gets_its_class_and_the_probabilities_of_its_classes(monkeypatch, tmp_path, labels, answers, predicted, columns):  # fmt: skip
    monkeypatch.setattr(registry, "predict", lambda model, X: np.array(answers))
    scored = scoring.score(pd.DataFrame({"a": [1, 2]}), saving.Model(tmp_path, contract(labels), "7"))
    assert [*scored] == ["row", "prediction", *columns, "model_version", "scored_at"]
    assert scored["prediction"].tolist() == predicted
    assert {column: scored[column].tolist() for column in columns} == columns
    assert scored["model_version"].tolist() == ["7", "7"]


@pytest.fixture
def arriving(tmp_path, monkeypatch):
    """A champion that adds two columns, one of them optional, and needs no process of its own to do so."""
    monkeypatch.setattr(config, "ROOT", tmp_path)
    monkeypatch.setattr(registry, "predict", lambda model, X: X["a"].to_numpy() + X["b"].fillna(100).to_numpy())
    return saving.Model(tmp_path, contract(columns="ab", ids=["id"], optional="b"), version="7", run_id="r")


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
    received, X = scoring.receive(table, arriving, "b", "rows.csv")
    predictions = scoring.score(X, arriving)
    assert predictions["prediction"].tolist() == scored
    said = json.loads(scoring.publish(predictions, received, arriving.contract).read_text())
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
    _, X = scoring.receive(pd.DataFrame({"id": ids, "a": [1, 2, 3]}), arriving, "b", "rows.csv")
    scored = scoring.score(X, arriving)
    assert ([*scored][0], scored["id"].tolist()) == ("id", expected)


def test_the_same_features_under_other_ids_are_another_batch(arriving):
    """Else it would count as published, and keep the predictions of other rows."""
    table = pd.DataFrame({"id": ["7", "8", "9"], "a": ["1", "2", "3"]})
    first, same, other = (
        scoring.receive(rows, arriving, "b", "rows.csv")[0]
        for rows in (table, table.copy(), table.assign(id=["7", "8", "10"]))
    )
    assert same == first != other


def test_a_batch_without_its_ids_is_numbered(arriving):
    _, X = scoring.receive(pd.DataFrame({"a": [1, 2, 3]}, index=[5, 6, 7]), arriving, "b", "rows.csv")
    scored = scoring.score(X, arriving)
    assert [*scored] == ["row", "prediction", "model_version", "scored_at"]
    assert scored["row"].tolist() == [0, 1, 2]


def test_a_batch_in_a_database_is_replaced_when_published_again(arriving, tmp_path):
    place = f"sqlite:///{tmp_path / 'scores.db'}#scores"
    table = pd.DataFrame({"id": [7, 8, 9], "a": [1, 2, 3], "b": [0, 0, 0]})
    for batch, rows in (("mon", table), ("tue", table.head(2)), ("mon", table.assign(a=table["a"] * 10))):
        received, X = scoring.receive(rows, arriving, batch, "rows.csv", place)
        scoring.publish(scoring.score(X, arriving), received, arriving.contract)
    there = tables.read_table(place).sort_values(["batch", "id"])
    assert there[["model_name", "batch", "id", "prediction"]].to_numpy().tolist() == [
        ["demo", "mon", 7, 10.0], ["demo", "mon", 8, 20.0], ["demo", "mon", 9, 30.0], ["demo", "tue", 7, 1.0], ["demo", "tue", 8, 2.0],
    ]  # fmt: skip


def test_a_database_gets_a_batch_of_many_rows(arriving, tmp_path):
    """More values than a statement of any database takes."""
    place, count = f"sqlite:///{tmp_path / 'scores.db'}#scores", 80_000
    table = pd.DataFrame({"id": range(count), "a": 1.0, "b": np.arange(count) % 7})
    received, X = scoring.receive(table, arriving, "b", "rows.csv", place)
    scoring.publish(scoring.score(X, arriving), received, arriving.contract)
    with sqlite3.connect(tmp_path / "scores.db") as database:
        found = database.execute("SELECT count(*), count(DISTINCT id), sum(prediction) FROM scores").fetchone()
    database.close()
    assert found == (count, count, count + (np.arange(count) % 7).sum())


def test_nothing_is_published_if_the_database_refuses(arriving, tmp_path):
    place = f"sqlite:///{tmp_path / 'scores.db'}#scores"
    with sqlite3.connect(tmp_path / "scores.db") as database:
        database.execute("CREATE TABLE scores (id INTEGER)")
    database.close()
    received, X = scoring.receive(pd.DataFrame({"id": [1], "a": [1]}), arriving, "b", "rows.csv", place)
    with pytest.raises(BatonError, match="the table exists, and lacks the columns"):
        scoring.publish(scoring.score(X, arriving), received, arriving.contract)
    assert not received.folder.exists()


def test_a_database_that_is_not_there_is_told_before_anything_is_scored(arriving):
    with pytest.raises(BatonError, match="nowhere"):
        scoring.receive(pd.DataFrame({"a": [1]}), arriving, "b", "rows.csv", "sqlite:////nowhere/own.db#scores")


def test_what_a_database_says_holds_no_password(arriving, postgres):
    """It names the database that it doesn't have, which here has the name that the environment hides."""
    place = f"{postgres.removesuffix('/postgres')}/${{ODD}}#scores"
    with pytest.raises(BatonError, match=r'the database says: database "\$\{ODD\}" does not exist'):
        scoring.receive(pd.DataFrame({"a": [1]}), arriving, "b", "rows.csv", place)


def test_the_extremes_are_the_highest_and_lowest_or_of_many_classes_the_least_certain():
    binary = pd.DataFrame({"prediction": [0, 1, 1, 0], "probability": [0.1, 0.9, 0.6, 0.4]})
    assert scoring.extremes(binary, 1).index.tolist() == [1, 0]
    numbers = pd.DataFrame({"prediction": [3.0, -1.0, 2.0]})
    assert scoring.extremes(numbers, 1).index.tolist() == [0, 1]
    classes = pd.DataFrame(
        {"prediction": ["a"] * 3, "probability_a": [0.5, 0.4, 0.9], "probability_b": [0.5, 0.6, 0.1]}
    )
    assert scoring.extremes(classes, 1).index.tolist() == [0, 1]
    # Where all are alike, or few, no row is shown twice.
    assert scoring.extremes(pd.DataFrame({"prediction": [1.5] * 6}), 2).index.tolist() == [0, 1, 5, 4]
    assert scoring.extremes(pd.DataFrame({"prediction": [1.0, 3.0, 2.0]}), 2).index.tolist() == [1, 2, 0]


def test_a_batch_is_scored_by_the_version_that_received_it_whatever_is_promoted_meanwhile(tmp_path, monkeypatch):
    settings, facts = registering.open_store(tmp_path, monkeypatch, name="demo", score_data="new.csv", batch="b")
    versions = {}
    for number, sign in (("1", 1), ("2", -1)):  # the second says the opposite
        table = pd.DataFrame({"a": np.linspace(-1, 1, 40), "y": (np.linspace(-sign, sign, 40) > 0).astype(int)})
        pipeline, asked = registering.fit(table)
        arguments = saving.model_arguments(pipeline, asked, table[["a"]], table["y"], None)
        saving.save(tmp_path / number, arguments)
        versions[number] = registering.register(tmp_path / number, arguments, settings, facts)
    pd.DataFrame({"a": [-1.0, 1.0]}).to_csv(tmp_path / "new.csv", index=False)
    received = {"X": str(tmp_path / "X.parquet"), "batch": str(tmp_path / "batch.json")}

    registering.promote(versions["1"], settings)
    run_task("receive", settings=settings.model_dump(), product=received)
    registering.promote(versions["2"], settings)
    run_task("score", settings=settings.model_dump(), upstream={"receive": received})
    published = pd.read_parquet(tmp_path / "predictions" / "demo" / "batch=b")
    assert published[["prediction", "model_version"]].to_numpy().tolist() == [[0, "1"], [1, "1"]]
    assert json.loads((tmp_path / "predictions/demo/batch=b/_manifest.json").read_text())["model_version"] == "1"
