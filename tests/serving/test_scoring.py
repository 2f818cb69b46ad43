"""Each row of a batch is predicted or rejected, in its order, whatever the size of the chunks."""

import dataclasses
import hashlib
import sqlite3

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import registering

from baton import BatonError, SchemaMismatch, TooManyRejects, config, figures
from baton.handover import intervals, registry, runner, saving
from baton.serving import batch, reasons, scoring

ROWS = pd.DataFrame(
    {
        "id": range(100, 140),
        "x": np.linspace(-1, 1, 40),
        "when": pd.date_range("2026-01-01", periods=40).astype("str"),
        "city": ["Bern", "Basel"] * 20,
        "note": [f"n{number}" for number in range(40)],
    }
)


def train(folder, monkeypatch, table: pd.DataFrame = None, target=None, **keys) -> config.Settings:
    """Make a folder the project, with a champion of a table; return the settings of serving."""
    learned = {"id_columns": ["id"], "ignore_columns": ["note"]} | {
        key: keys.pop(key) for key in ("id_columns", "ignore_columns", "positive", "task", "threshold") if key in keys
    }
    asked, facts = registering.open_store(folder, monkeypatch, name="demo", score_data="new.csv", batch="b", **keys)
    table = ROWS if table is None else table
    table = table.assign(y=(table["x"] > 0).astype(int) if target is None else target)
    pipeline, contract = registering.fit(table, **learned)
    X, y = contract.read_features(table), contract.read_target(table).infer_objects()
    arguments = saving.model_arguments(pipeline, contract, X, y, None)
    saving.save(folder / "model", arguments)
    # For a regression, as if each row had been predicted as 0 out of fold.
    intervals.keep(folder / "model", y, np.zeros(len(y)), np.ones(len(y), bool), contract, "plain")
    registering.promote(registering.register(folder / "model", asked, facts), asked)
    return asked


def score(asked: config.Settings, table: pd.DataFrame | None = None, **keys) -> dict:
    """Receive, score and publish a batch; return its manifest."""
    asked = asked.model_copy(update=keys)
    if table is not None:
        table.to_csv(config.ROOT / asked.score_data, index=False)
    received, *_ = batch.receive(asked)
    if received.complete:
        return batch.read_manifest(received.folder)
    scoring.score(received, asked)
    (config.ROOT / "report.html").write_text("report")
    return batch.publish(received, config.ROOT / "report.html")


def published(name: str = "b") -> pd.DataFrame:
    return batch.read(config.ROOT / "predictions" / "demo" / f"batch={name}")


def rejects(name: str = "b") -> pd.DataFrame:
    return pd.read_parquet(config.ROOT / "predictions" / "demo" / f"batch={name}" / "_rejects.parquet")


@pytest.fixture
def asked(tmp_path, monkeypatch) -> config.Settings:
    return train(tmp_path, monkeypatch)


def test_every_row_is_scored_in_its_order_with_its_ids_version_and_time(asked):
    manifest = score(asked, ROWS.sample(frac=1, random_state=0))
    found = published()
    assert [*found] == ["id", "prediction", "probability", "model_version", "scored_at"]
    assert found["id"].tolist() == ROWS.sample(frac=1, random_state=0)["id"].tolist()
    by_id = found.set_index("id").loc[range(100, 140)]
    assert by_id["probability"].is_monotonic_increasing
    assert (by_id["prediction"] == (by_id["probability"] > 0.5)).all()
    assert (by_id["prediction"].iloc[0], by_id["prediction"].iloc[-1]) == (0, 1)
    assert set(found["model_version"]) == {"1"}
    assert set(found["scored_at"]) == {pd.Timestamp(manifest["scored_at"])}
    counts = {
        key: manifest[key] for key in ("status", "rows_in", "rows_scored", "rows_rejected", "rejected", "warnings")
    }
    assert counts == {
        "status": "scored", "rows_in": 40, "rows_scored": 40, "rows_rejected": 0, "rejected": {}, "warnings": [],
    }  # fmt: skip
    assert (manifest["positive_class"], manifest["model_version"], manifest["input"]["source"]) == (1, "1", "new.csv")
    assert len(rejects()) == 0
    assert [*rejects()][:5] == [*ROWS]


def test_the_manifest_tells_of_what_and_by_what_a_batch_was_made(asked):
    manifest, file = score(asked, ROWS), config.ROOT / "new.csv"
    assert manifest["input"] == {
        "source": "new.csv",
        "files": [{"path": "new.csv", "bytes": file.stat().st_size, "modified": file.stat().st_mtime}],
        "digest": hashlib.sha256(hashlib.sha256(file.read_bytes()).digest()).hexdigest(),
    }
    assert manifest["run_id"] == registry.find_champion("demo", asked.mlflow_tracking_uri).run_id
    assert (manifest["git_commit"], manifest["libraries"]["pandas"]) == ("none", pd.__version__)
    assert manifest["rows_per_second"] * manifest["seconds"] == pytest.approx(40, rel=0.1)


@pytest.mark.parametrize("scored", [3, 5])
def test_nothing_is_published_if_rows_were_lost_or_doubled(scored):
    notes = [
        {"rows_in": 2, "rows_scored": 2, "rejected": {}},
        {"rows_in": 3, "rows_scored": scored - 2, "rejected": {"missing": 1}},
    ]
    with pytest.raises(BatonError, match=f"^5 rows came in, {scored} were scored and 1 rejected; nothing is published"):
        scoring._count(notes)


@pytest.mark.parametrize(
    ("change", "reason", "warning"),
    [
        (("x", "about 3"), "unparsable", None),
        (("when", "in May"), "unparsable", None),
        (("x", ""), "missing", None),
        (("x", "NA"), "missing", None),
        (("city", "-"), "missing", None),
        (("x", "-7"), "out_of_bounds", None),
        (("x", "inf"), "out_of_bounds", None),
    ],
)
def test_a_row_that_can_not_be_scored_is_set_aside_with_its_reason(asked, change, reason, warning):
    table = ROWS.astype({"x": "str"})
    table.loc[7, change[0]] = change[1]
    manifest = score(asked, table, bounds={"x": [-2, 100]})
    assert manifest["rows_in"] == 40
    assert manifest["warnings"] == ([warning] if warning else [])
    assert manifest["rejected"] == ({reason: 1} if reason else {})
    if reason:
        assert published()["id"].tolist() == [number for number in range(100, 140) if number != 107]
        row = rejects().iloc[0]
        assert (row["_row"], row["_reason"], row["_column"], row["_value"]) == (7, reason, *change)
        assert row["note"] == "n7"  # as it came, with what is no feature
    else:
        assert len(published()) == 40


def test_what_rejects_a_row_is_set_and_the_rest_is_a_warning(asked):
    table = ROWS.astype({"x": "str"})
    table.loc[3, "x"], table.loc[4, "x"], table.loc[5, "id"] = "?!", "", 104
    manifest = score(asked, table, reject=[], bounds={"x": [0, None]})
    assert (manifest["rows_scored"], manifest["rows_rejected"]) == (40, 0)
    assert manifest["warnings"] == [
        "column 'x': 1 value not of the column's kind, counted as missing",
        "column 'x': 1 value missing, where none was in training",
        "column 'x': 18 values outside of the bounds that env.yaml sets",
        "1 row with the ids of an earlier row",
    ]
    assert published()["id"].tolist()[3:7] == [103, 104, 104, 106]


def test_the_second_of_two_rows_with_one_id_is_rejected(asked):
    table = ROWS.assign(id=[100, 101, *ROWS["id"][2:39], 101])
    manifest = score(asked, table)
    assert manifest["rejected"] == {"duplicate_id": 1}
    assert rejects()[["_row", "_reason"]].to_numpy().tolist() == [[39, "duplicate_id"]]
    assert rejects()["_column"].isna().all()


def test_a_reason_that_is_worse_comes_first(asked):
    table = ROWS.astype({"x": "str"})
    table.loc[9, ["x", "city"]], table.loc[9, "id"] = ["x?", ""], 100
    score(asked, table)
    assert rejects()[["_reason", "_column", "_value"]].to_numpy().tolist() == [["unparsable", "x", "x?"]]


def test_too_many_rejects_publish_nothing_but_leave_them_in_the_draft(asked):
    table = ROWS.astype({"x": "str"})
    table.loc[[1, 2, 3], "x"] = ["a", "b", ""]
    message = r"3 of 40 rows can't be scored \(2 unparsable, 1 missing\), more than max_reject_rate allows \(5%\)"
    with pytest.raises(TooManyRejects, match=message):
        score(asked, table)
    assert not (config.ROOT / "predictions/demo/batch=b").exists()
    found = pd.read_parquet(config.ROOT / "predictions/demo/.batch=b/result/_rejects.parquet")
    assert found["_row"].tolist() == [1, 2, 3]
    assert score(asked, table, max_reject_rate=0.075)["rows_rejected"] == 3  # the limit itself is allowed


def test_a_whole_column_that_is_missing_or_of_another_kind_is_no_million_of_rejects(asked):
    with pytest.raises(SchemaMismatch, match="lacks 1 of the columns it needs: 'x'"):
        score(asked, ROWS.drop(columns="x"))
    with pytest.raises(SchemaMismatch, match="'x': 40 of 40 values are not a number, the first of them 'low' in row 1"):
        score(asked, ROWS.assign(x="low"))


def test_a_column_without_any_value_is_one_too(asked):
    with pytest.raises(SchemaMismatch, match="new.csv: column 'x' has no value at all. Nothing is published"):
        score(asked, ROWS.assign(x=None), max_reject_rate=1)
    for value, reason in ((None, "missing"), ("?!", "unparsable")):  # of a single row, nothing can be said
        manifest = score(asked, ROWS.head(1).assign(x=value), max_reject_rate=1, replace=True)
        assert (manifest["rejected"], len(published())) == ({reason: 1}, 0)
    with pytest.raises(TooManyRejects):
        score(asked, ROWS.head(1).assign(x="?!"), batch="alone")


def test_rejected_rows_that_were_corrected_can_be_scored(asked):
    table = ROWS.astype({"x": "str"})
    table.loc[[3, 7], "x"] = "?!"
    score(asked, table)
    corrected = rejects().assign(x=["1", "?!"])
    manifest = score(asked, corrected, replace=True, max_reject_rate=1)
    assert (published()["id"].tolist(), manifest["rejected"]) == ([103], {"unparsable": 1})
    assert rejects()[["id", "_row", "_value"]].to_dict("list") == {"id": ["107"], "_row": [1], "_value": ["?!"]}


def test_a_column_that_is_of_another_kind_only_after_the_first_rows_is_one_too(asked, monkeypatch):
    monkeypatch.setattr(batch, "HEAD", 2)
    table = ROWS.astype({"x": "str"}).assign(x=["", "", *["low"] * 38])
    with pytest.raises(SchemaMismatch, match="Column 'x' holds no numbers at all"):
        score(asked, table)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_size_of_the_chunks_changes_nothing(asked, monkeypatch, size):
    table = ROWS.astype({"x": "str"})
    table.loc[[2, 38], "x"], table.loc[20, "id"] = "?!", 100
    whole = score(asked, table, max_reject_rate=0.2)
    expected, rejected = published(), rejects()
    monkeypatch.setattr(batch, "rows_of_a_chunk", lambda columns: size)
    again = score(asked, table, max_reject_rate=0.2, batch="again")
    pd.testing.assert_frame_equal(
        published("again").drop(columns="scored_at"), expected.drop(columns="scored_at"), check_exact=True
    )
    pd.testing.assert_frame_equal(rejects("again"), rejected, check_exact=True)
    assert {key: again[key] for key in ("rows_in", "rejected", "warnings")} == {
        key: whole[key] for key in ("rows_in", "rejected", "warnings")
    }


def test_columns_are_carried_along_as_they_came(asked):
    score(asked, ROWS.assign(more=[f"0{number}" for number in range(40)]), keep_columns=["more", "x"])
    found = published()
    assert [*found] == ["id", "prediction", "probability", "more", "x", "model_version", "scored_at"]
    assert found["more"].tolist()[:2] == ["00", "01"]


def test_each_prediction_is_explained_by_the_columns_that_moved_it_most(asked):
    table = ROWS.astype({"x": "str"})
    table.loc[0, "x"] = "?"
    score(asked, table, explain=1)
    found = published()
    assert [*found][-3:] == ["reason_1", "reason_1_effect", "reasons_by"]
    assert set(found["reasons_by"]) == {"coefficients"}
    version = registry.version_of("demo", "1", asked.mlflow_tracking_uri)
    contract, pipeline = version.contract, runner.load(version.path)
    usual = reasons.typical(version.path, contract)
    expected = reasons.explain(pipeline, contract.read_features(ROWS[1:].astype("str")), contract, usual, 1)
    assert found["reason_1"].tolist() == expected["reason_1"].tolist()
    np.testing.assert_allclose(found["reason_1_effect"], expected["reason_1_effect"])


def test_a_chunk_of_which_every_row_is_rejected_has_the_columns_of_the_others(asked, monkeypatch):
    monkeypatch.setattr(batch, "rows_of_a_chunk", lambda columns: 20)
    table = ROWS.astype({"x": "str"})
    table.loc[20:, "x"] = "?"
    score(asked, table, explain=2, keep_columns=["note"], max_reject_rate=1)
    first, second = sorted((config.ROOT / "predictions/demo/batch=b").glob("part-*"))
    assert pq.read_schema(first) == pq.read_schema(second)
    assert (len(pd.read_parquet(first)), len(pd.read_parquet(second))) == (20, 0)


def test_as_csv_too(asked):
    score(asked, ROWS, predictions_format="csv")
    (part,) = (config.ROOT / "predictions/demo/batch=b").glob("part-*.csv")
    assert pd.read_csv(part)["id"].tolist() == published()["id"].tolist() == [*range(100, 140)]


def test_a_csv_and_the_database_have_each_text_as_it_came(asked):
    ids, table = ["007", "1e5", "NA", "", "None", "two\nlines", 'a "b", c'], f"sqlite:///{config.ROOT}/out.db#scores"
    score(asked, ROWS.head(7).assign(id=ids), predictions_format="csv", predictions_table=table)
    with sqlite3.connect(config.ROOT / "out.db") as database:
        stored = database.execute("SELECT id FROM scores").fetchall()
    assert [name for (name,) in stored] == published()["id"].tolist() == ids


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["7", "8", "-90"], [7, 8, -90]),
        (["07", "8", "9"], ["07", "8", "9"]),  # a code
        (["7", "8", "9.0"], ["7", "8", "9.0"]),
        (["7", "8", "12345678901234567890"], ["7", "8", "12345678901234567890"]),
    ],
)
def test_ids_that_are_integers_are_so_in_the_output(asked, monkeypatch, ids, expected):
    monkeypatch.setattr(batch, "rows_of_a_chunk", lambda columns: 2)
    score(asked, ROWS.head(3).assign(id=ids))
    assert published()["id"].tolist() == expected


def test_what_an_id_is_does_not_change_with_the_batch(tmp_path, monkeypatch):
    """A model of ids with leading zeros keeps those that have none as text, too."""
    asked = train(tmp_path, monkeypatch, ROWS.assign(id=[f"{number:05}" for number in range(40)]))
    score(asked, ROWS.assign(id=range(100, 140)))
    assert published()["id"].tolist() == [str(number) for number in range(100, 140)]


def test_a_batch_without_its_ids_is_numbered_and_says_so(asked):
    table = ROWS.drop(columns="id").astype({"x": "str"})
    table.loc[1, "x"] = "?"
    manifest = score(asked, table)
    assert manifest["warnings"] == ["id column 'id' is not there: no id of it is written, or compared"]
    assert published()["row"].tolist() == [0, *range(2, 40)]


@pytest.mark.parametrize(
    ("labels", "answers", "threshold", "predicted"),
    [
        (["no", "yes"], [[0.9, 0.1], [0.2, 0.8]], None, ["no", "yes"]),
        (["stay", "leave"], [[0.9, 0.1], [0.2, 0.8]], None, ["stay", "leave"]),
        (["stay", "leave"], [[0.5, 0.5], [0.5, 0.5]], None, ["leave", "leave"]),  # as scikit-learn
        ([1, 0], [[0.9, 0.1], [0.2, 0.8]], None, [1, 0]),
        (["c", "a", "b"], [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], None, ["c", "b"]),
        (["stay", "leave"], [[0.75, 0.25], [0.8, 0.2]], 0.25, ["leave", "stay"]),
        (["leave", "stay"], [[0.25, 0.75], [0.3, 0.7]], 0.75, ["stay", "leave"]),
    ],
    ids=["alphabetical", "not alphabetical", "tie", "falling", "three", "threshold", "high threshold"],
)
def test_each_row_gets_the_class_that_predict_would_name(labels, answers, threshold, predicted):
    asked = type("Contract", (), {"task": "binary", "labels": labels, "threshold": threshold})
    assert scoring._labelled(np.array(answers), asked).tolist() == predicted


def test_a_model_of_many_classes_gives_a_probability_for_each(tmp_path, monkeypatch):
    target = np.where(ROWS["x"] < -0.3, "low", np.where(ROWS["x"] > 0.3, "top", "mid"))
    asked = train(tmp_path, monkeypatch, target=target)
    score(asked, ROWS)
    found = published()
    columns = ["probability_low", "probability_mid", "probability_top"]
    assert [*found] == ["id", "prediction", *columns, "model_version", "scored_at"]
    np.testing.assert_allclose(found[columns].sum(axis=1), 1)
    assert (found["prediction"] == found[columns].idxmax(axis=1).str.removeprefix("probability_")).all()


def test_the_positive_class_has_the_probability(tmp_path, monkeypatch):
    asked = train(tmp_path, monkeypatch, target=np.where(ROWS["x"] > 0, "leave", "stay"), positive="leave")
    assert score(asked, ROWS)["positive_class"] == "leave"
    found = published()
    assert (found["prediction"].iloc[0], found["prediction"].iloc[-1]) == ("stay", "leave")
    assert found["probability"].is_monotonic_increasing


@pytest.mark.parametrize("threshold", [None, 0.2, 0.8])
@pytest.mark.parametrize("classes", [("stay", "leave"), ("leave", "stay"), (0, 1), (1, 0), (False, True)])
def test_a_batch_and_the_models_own_predict_go_by_one_threshold(tmp_path, monkeypatch, classes, threshold):
    """Whether the positive class is first or last in the alphabet; `predict` is what MLflow serves."""
    negative, positive = classes
    target = np.where(ROWS["x"] + np.sin(9 * ROWS["x"]) > 0, *[np.array([one]) for one in (positive, negative)])
    asked = train(tmp_path, monkeypatch, target=target, positive=str(positive), threshold=threshold)
    assert score(asked, ROWS)["threshold"] == threshold
    found = published()
    served = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    X = registry.find_champion("demo", asked.mlflow_tracking_uri).contract.read_features(ROWS)
    assert found["prediction"].tolist() == served.predict(X).tolist()
    called = found["probability"] >= (threshold or 0.5)
    assert found["prediction"].tolist() == [positive if one else negative for one in called]
    likelier = found["probability"] >= 0.5
    assert called.sum() < likelier.sum() if threshold == 0.8 else called.sum() >= likelier.sum()
    assert called.sum() > likelier.sum() or threshold != 0.2


def test_a_regression_predicts_a_number(tmp_path, monkeypatch):
    asked = train(tmp_path, monkeypatch, target=10 * ROWS["x"] + 3)
    score(asked, ROWS)
    assert [*published()] == ["id", "prediction", "model_version", "scored_at"]
    np.testing.assert_allclose(published()["prediction"], 10 * ROWS["x"] + 3)


@pytest.mark.parametrize("written", ["parquet", "csv"])
def test_each_predicted_number_has_an_interval_if_one_is_asked_for(tmp_path, monkeypatch, written):
    asked = train(tmp_path, monkeypatch, target=10 * ROWS["x"] + 3)
    keys = {"predictions_format": written, "keep_columns": ["note"]}
    assert "interval" not in score(asked, ROWS, **keys)["options"]
    keys |= {"interval": 0.9, "predictions_table": f"sqlite:///{tmp_path}/out.db#scores"}
    assert score(asked, ROWS, **keys)["options"]["interval"] == 0.9  # another batch, not the one that is complete
    found = published()
    columns = ["id", "prediction", "prediction_low", "prediction_high", "note", "model_version", "scored_at"]
    assert [*found] == columns
    reach = np.sort(np.abs(10 * ROWS["x"] + 3))[36]  # of 40 residuals the 37th, since 0.9 times 41 is 36.9
    np.testing.assert_allclose(found["prediction_low"], found["prediction"] - reach)
    np.testing.assert_allclose(found["prediction_high"], found["prediction"] + reach)
    with sqlite3.connect(tmp_path / "out.db") as database:
        stored = pd.read_sql("SELECT * FROM scores", database)
    pd.testing.assert_frame_equal(stored[columns[1:4]], found[columns[1:4]], check_exact=True)
    monkeypatch.setattr(batch, "rows_of_a_chunk", lambda columns: 20)
    score(asked, ROWS.astype({"x": "str"}).assign(x=[*ROWS["x"][:20], *["?"] * 20]), interval=0.8, max_reject_rate=1)
    first, second = sorted((config.ROOT / "predictions/demo/batch=b").glob("part-*"))
    assert pq.read_schema(first) == pq.read_schema(second)  # of which every row is rejected


def test_a_missing_optional_column_is_a_warning(tmp_path, monkeypatch):
    table = ROWS.astype({"city": "object"})
    table.loc[::5, "city"] = None
    asked = train(tmp_path, monkeypatch, table=table)
    assert score(asked, ROWS.drop(columns="city"))["warnings"] == ["column 'city' is not there; it counts as missing"]


def test_numbers_that_can_be_read_in_two_ways_are_a_warning(asked):
    """The model was trained on numbers: 1.234 may be one and a bit, or more than a thousand."""
    (config.ROOT / "new.csv").write_text("id;x;when;city\n1;1.234;2026-01-01;Bern\n")
    assert "column 'x' can be read in two ways" in score(asked)["warnings"][0]
    (config.ROOT / "new.csv").write_text("id;x;when;city\n1;1.234;2026-01-01;Bern\n2;0.5;2026-01-01;Bern\n")
    assert score(asked)["warnings"] == []


def test_an_input_that_changes_while_it_is_read_is_refused(asked, monkeypatch):
    ROWS.to_csv(config.ROOT / "new.csv", index=False)
    received, *_ = batch.receive(asked)
    with (config.ROOT / "new.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(BatonError, match="new.csv: the file was changed while it was read; nothing is published"):
        scoring.score(received, asked)


def test_an_input_that_is_removed_while_it_is_read_is_told(asked, monkeypatch):
    ROWS.to_csv(config.ROOT / "new.csv", index=False)
    received, *_ = batch.receive(asked)
    settle = scoring._settle
    monkeypatch.setattr(scoring, "_settle", lambda *given: settle(*given) or (config.ROOT / "new.csv").unlink())
    with pytest.raises(BatonError, match="new.csv: the file was removed while it was read; nothing is published"):
        scoring.score(received, asked)


def test_rows_of_an_input_that_changed_for_a_while_are_not_gone_on_with(asked, monkeypatch):
    """They are kept by no draft: when the rows that were asked for are there again, these are scored."""
    monkeypatch.setattr(batch, "rows_of_a_chunk", lambda columns: 10)
    score(asked, ROWS, batch="calm")
    received, *_ = batch.receive(asked)
    ROWS.assign(x=-ROWS["x"]).to_csv(config.ROOT / "new.csv", index=False)
    with pytest.raises(BatonError, match="new.csv: the file was changed while it was read"):
        scoring.score(received, asked)
    score(asked, ROWS)
    assert published()["probability"].tolist() == published("calm")["probability"].tolist()


def test_a_chunk_that_is_finished_is_not_scored_again(asked, monkeypatch):
    ROWS.to_csv(config.ROOT / "new.csv", index=False)
    monkeypatch.setattr(batch, "rows_of_a_chunk", lambda columns: 10)
    received, *_ = batch.receive(asked)
    scoring.score(received, asked)
    parts = sorted(received.result.glob("part-*"))
    assert len(parts) == 4
    times = [part.stat().st_mtime_ns for part in parts]
    (received.draft / "chunk-00002.json").unlink()
    same = dataclasses.replace(batch.receive(asked)[0], scored_at="2030-01-01T00:00:00+00:00")
    assert scoring.score(same, asked)["scored_at"] == received.scored_at
    again = [part.stat().st_mtime_ns for part in parts]
    assert [one == other for one, other in zip(times, again, strict=True)] == [True, True, False, True]


@pytest.mark.parametrize("spoiled", ["chunk-00002.json", "result/part-00002-*", "rejects-00002.parquet"])
def test_a_chunk_whose_files_a_dying_machine_has_cut_off_is_scored_again(asked, monkeypatch, spoiled):
    ROWS.astype({"x": "str"}).replace({"x": {str(ROWS["x"][25]): "?!"}}).to_csv(config.ROOT / "new.csv", index=False)
    monkeypatch.setattr(batch, "rows_of_a_chunk", lambda columns: 10)
    for content in (b"", None):
        received, *_ = batch.receive(asked)
        scoring.score(received, asked)
        (file,) = received.draft.glob(spoiled)
        file.unlink() if content is None else file.write_bytes(content)
    assert score(asked)["rows_scored"] == 39
    assert published()["id"].tolist() == [number for number in range(100, 140) if number != 125]
    assert rejects()["_row"].tolist() == [25]


def test_a_draft_of_other_rows_is_not_gone_on_with(asked, monkeypatch):
    ROWS.to_csv(config.ROOT / "new.csv", index=False)
    received, *_ = batch.receive(asked)
    scoring.score(received, asked)
    score(asked, ROWS[::-1])
    assert published()["id"].tolist() == [*range(139, 99, -1)]
    assert len([*(config.ROOT / "predictions/demo/batch=b").glob("part-*")]) == 1


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


@pytest.mark.parametrize("written", ["parquet", "csv"])
@pytest.mark.parametrize("target", [10 * ROWS["x"], ROWS["x"] > 0, ROWS["city"], ["a", "b", "c", "d"] * 10])
def test_a_batch_of_which_no_row_is_scored_is_reported(tmp_path, monkeypatch, target, written):
    asked = train(tmp_path, monkeypatch, target=target)
    bad = ROWS.astype("str").assign(x=["?", "0.5"] * 20, when=["2026-01-01", ""] * 20)
    keys = {"predictions_format": written, "max_reject_rate": 1, "predictions_table": f"sqlite:///{tmp_path}/o.db#t"}
    assert score(asked, bad, **keys)["rows_scored"] == 0
    assert batch.receive(asked.model_copy(update=keys))[0].complete is True
    folder = config.ROOT / "predictions/demo/batch=b"
    monkeypatch.setattr(batch.Batch, "result", folder)  # of which the report is made before it is published
    found = scoring.sample(batch.receive(asked)[0])
    numbers = found.filter(regex="^(prediction(_low|_high)?$|probability)").describe(include="number")
    assert (numbers.loc["count"] == 0).all()
    assert figures.predictions(found, None).axes[0].get_title() in {"0 rows", "Predictions of 0 rows"}
    assert len(scoring.extremes(found)) == 0


def test_where_there_is_no_terminal_progress_is_lines(capfd, monkeypatch):
    monkeypatch.setattr(scoring, "tqdm", lambda **how: how)
    file = scoring._progress(100, "b")["file"]
    for drawn in ("\rbatch b:  58%|#### | 1.00M/4.50M", "\r     \r", "", "\rbatch b: 100%|####|"):
        file.write(drawn)
    file.flush()
    assert capfd.readouterr().err == "batch b:  58%|#### | 1.00M/4.50M\nbatch b: 100%|####|\n"
