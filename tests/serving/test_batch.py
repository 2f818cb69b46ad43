"""A batch is what was asked for, is published whole in one step, and replaces another only when that is meant."""

import dataclasses
import json
import os
import shutil
import sqlite3
import threading
import time

import obstore
import pandas as pd
import pytest
import registering
from serving.test_scoring import ROWS, published, score, train

from baton import BatonError, Busy, InputEmpty, InputMissing, InputStale, NoChampion, SettingsError, config
from baton.data import objects, tables
from baton.handover import registry
from baton.serving import batch, scoring


@pytest.fixture
def asked(tmp_path, monkeypatch) -> config.Settings:
    asked = train(tmp_path, monkeypatch)
    ROWS.to_csv(tmp_path / "new.csv", index=False)
    return asked


def folder(name: str = "b"):
    return config.ROOT / "predictions" / "demo" / f"batch={name}"


def promote_another(asked: config.Settings) -> None:
    """Register the model a second time, and promote it."""
    first = registry.version_of("demo", "1", asked.mlflow_tracking_uri)
    registering.promote(registering.register_version(first.path, first.run_id, asked, serves="again"), asked)


def test_the_same_batch_is_complete_and_another_is_not(asked):
    assert batch.receive(asked)[0].complete is False
    score(asked)
    assert batch.receive(asked)[0].complete is True
    assert sorted(path.name for path in folder().parent.iterdir()) == ["batch=b"]  # no draft is left
    for changed in ({"keep_columns": ["note"]}, {"bounds": {"x": [-5, 5]}}, {"reject": []}, {"batch": "c"}):
        received = batch.receive(asked.model_copy(update=changed))[0]
        assert received.complete is False, changed
    assert batch.receive(asked.model_copy(update={"max_reject_rate": 0.5}))[0].complete is True


@pytest.mark.parametrize("broken", ["_manifest.json", "part-*", "_report.html", "_rejects.parquet"])
def test_a_batch_of_which_a_part_is_gone_or_cut_off_is_scored_again(asked, broken):
    score(asked)
    (file,) = folder().glob(broken)
    content = file.read_bytes()
    for damage in (content[: len(content) // 2], None):
        file.unlink() if damage is None else file.write_bytes(damage)
        assert batch.receive(asked)[0].complete is False
    score(asked)
    assert batch.receive(asked)[0].complete is True


def test_changed_rows_or_another_champion_replace_the_batch_and_say_so(asked):
    at = score(asked)["scored_at"]
    ROWS.head(30).to_csv(config.ROOT / "new.csv", index=False)
    received = batch.receive(asked)[0]
    assert (received.complete, received.replaces) == (False, f"40 rows scored by version 1 at {at}")
    assert score(asked)["replaces"] == received.replaces
    assert len(published()) == 30
    promote_another(asked)
    assert score(asked)["model_version"] == "2"
    assert set(published()["model_version"]) == {"2"}
    assert sorted(path.name for path in folder().parent.iterdir()) == ["batch=b"]


def test_another_file_under_the_same_name_is_refused_unless_it_is_to_replace(asked):
    score(asked)
    ROWS.head(10).to_csv(config.ROOT / "second.csv", index=False)
    other = asked.model_copy(update={"score_data": "second.csv"})
    with pytest.raises(
        SettingsError, match=r"batch b of demo was made from new.csv \(40 rows\), and is asked for from second.csv"
    ):
        batch.receive(other)
    assert len(published()) == 40
    assert score(other, replace=True)["rows_scored"] == 10


def test_a_batch_scored_by_a_version_asked_for_by_number_stays_so(asked):
    promote_another(asked)
    assert score(asked, model_version="1")["pinned"] is True
    assert batch.receive(asked)[0].complete is True  # though the champion is version 2
    ROWS.head(30).to_csv(config.ROOT / "new.csv", index=False)
    with pytest.raises(
        SettingsError, match="was scored by version 1, which was asked for by number, and its input or options"
    ):
        batch.receive(asked)
    assert score(asked, model_version="1")["model_version"] == "1"
    assert score(asked, replace=True)["model_version"] == "2"
    with pytest.raises(NoChampion, match="demo has no version 7"):
        batch.receive(asked.model_copy(update={"model_version": "7"}))


def test_a_version_that_is_asked_for_by_number_stays_so_where_the_champion_of_that_number_was_first(asked):
    assert score(asked)["pinned"] is False
    assert score(asked, model_version="1")["pinned"] is True
    promote_another(asked)
    assert batch.receive(asked)[0].complete is True
    assert score(asked, replace=True)["pinned"] is False


def test_a_batch_that_is_complete_has_no_record_of_a_failure(asked):
    score(asked)
    record = batch.failed_folder("demo", "b")
    record.mkdir(parents=True)
    assert batch.receive(asked)[0].complete is True
    assert not record.exists()


def test_the_version_that_received_a_batch_scores_it_whatever_is_promoted_meanwhile(asked):
    received = batch.receive(asked)[0]
    promote_another(asked)
    assert scoring.score(received, asked)["model_version"] == "1"


def test_the_name_of_the_batch_finds_its_input(asked):
    (config.ROOT / "new.csv").rename(config.ROOT / "of-b.csv")
    named = asked.model_copy(update={"score_data": "of-{batch}.csv"})
    assert score(named)["input"]["source"] == "of-b.csv"
    with pytest.raises(InputMissing, match="of-c.csv: there is no such file"):
        batch.receive(named.model_copy(update={"batch": "c"}))


def test_input_that_is_empty_old_or_unreadable_is_told(asked):
    os.utime(config.ROOT / "new.csv", (time.time() - 7300, time.time() - 7300))
    with pytest.raises(InputStale, match="new.csv: its newest file is 2.0 hours old, and max_age allows 2"):
        batch.receive(asked.model_copy(update={"max_age": 2.0}))
    assert batch.receive(asked.model_copy(update={"max_age": 2.1}))[0].complete is False
    ROWS.to_csv(config.ROOT / "newer.csv", index=False)  # one new file is enough
    assert len(batch.receive(asked.model_copy(update={"max_age": 1.0, "score_data": "new*.csv"}))[0].files) == 2
    (config.ROOT / "new.csv").write_text("id,x,when,city,note\n")
    with pytest.raises(InputEmpty, match="a header with 5 columns, and no row"):
        batch.receive(asked)
    ROWS.to_parquet(config.ROOT / "new.parquet")
    whole = (config.ROOT / "new.parquet").read_bytes()
    (config.ROOT / "new.parquet").write_bytes(whole[:-100])
    with pytest.raises(BatonError, match="new.parquet: this can't be read as parquet"):
        batch.receive(asked.model_copy(update={"score_data": "new.parquet"}))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"keep_columns": ["nota"]}, "keep_columns names 'nota', which new.csv lacks .did you mean 'note'"),
        (
            {"bounds": {"city": [0, 1]}},
            "bounds names 'city', which is no column of numbers or dates .* Those are: x, when",
        ),
    ],
)
def test_an_option_that_names_no_column_is_told(asked, keys, message):
    with pytest.raises(SettingsError, match=message):
        batch.receive(asked.model_copy(update=keys))


@pytest.mark.parametrize("column", ["prediction", "prediction_low", "prediction_high"])
def test_a_kept_column_that_scoring_writes_is_told(asked, column):
    ROWS.assign(**{column: 1}).to_csv(config.ROOT / "new.csv", index=False)
    with pytest.raises(SettingsError, match=f"keep_columns names '{column}', which scoring writes; rename it in the"):
        batch.receive(asked.model_copy(update={"keep_columns": [column]}))
    # Databases do not tell names apart by their case.
    ROWS.assign(**{column.title(): 1}).to_csv(config.ROOT / "new.csv", index=False)
    asked = asked.model_copy(update={"keep_columns": [column.title()]})
    assert batch.receive(asked)[0].complete is False
    with pytest.raises(SettingsError, match=f"keep_columns names '{column.title()}', which scoring writes"):
        batch.receive(asked.model_copy(update={"predictions_table": f"sqlite:///{config.ROOT}/out.db#scores"}))


def test_an_interval_that_the_model_can_not_give_is_told_before_the_rows_are_looked_for(asked):
    with pytest.raises(SettingsError, match="interval is 0.9, and demo version 1 answers a binary question"):
        batch.receive(asked.model_copy(update={"interval": 0.9, "score_data": "gone.csv"}))


def test_a_batch_from_a_database_is_read_as_it_comes_and_goes_to_a_table_once(asked, monkeypatch):
    monkeypatch.setattr(batch, "MOST_ROWS", 16)
    with sqlite3.connect(config.ROOT / "in.db") as database:
        ROWS.to_sql("rows", database, index=False)
    keys = {
        "score_data": f"sqlite:///{config.ROOT}/in.db#rows",
        "predictions_table": f"sqlite:///{config.ROOT}/out.db#scores",
    }
    for name, bounds in (("one", {}), ("two", {}), ("one", {"x": [-9, 9]})):
        score(asked, **keys, batch=name, bounds=bounds)
    assert batch.receive(asked.model_copy(update=keys | {"batch": "one", "bounds": {"x": [-9, 9]}}))[0].complete is True
    expected = published("one")
    assert expected["id"].tolist() == [*range(100, 140)]
    assert not folder("one").with_name(".batch=one").exists()
    found = tables.read_table(keys["predictions_table"]).sort_values(["batch", "id"])
    assert found["batch"].value_counts().to_dict() == {"one": 40, "two": 40}
    again = asked.model_copy(update=keys | {"batch": "two"})
    for lose in ("DELETE FROM scores WHERE batch = 'two' AND id < 105", "DROP TABLE scores"):
        with sqlite3.connect(config.ROOT / "out.db") as database:
            database.execute(lose)
        assert batch.receive(again)[0].complete is False  # the rows are to be put back
        score(again)
        assert batch.receive(again)[0].complete is True
        assert sum(tables.count(keys["predictions_table"], {"batch": "two"}, ["batch"]).values()) == 40
    pinned = again.model_copy(update={"model_version": "1"})
    score(pinned)
    with sqlite3.connect(config.ROOT / "out.db") as database:
        database.execute("DROP TABLE scores")
    assert batch.receive(again)[0].complete is False  # and by the version that was asked for
    assert found["probability"].tolist()[:40] == expected["probability"].tolist()


def test_a_batch_from_an_object_store_is_read_as_a_file_is_and_published_in_one(asked, bucket):
    store = obstore.store.from_url(bucket, client_options={"allow_http": True})
    store.put("days/b.csv", (config.ROOT / "new.csv").read_bytes())
    score(asked, batch="here")
    keys = {"score_data": f"{bucket}/days/{{batch}}.csv", "predictions_store": f"{bucket}/out/"}
    asked = asked.model_copy(update=keys)
    manifest = score(asked)
    address = f"{bucket}/out/demo/batch=b"
    there = batch.read(address)
    pd.testing.assert_frame_equal(there, published("b"))
    same = there.columns.drop("scored_at")
    pd.testing.assert_frame_equal(there[same], published("here")[same])
    assert objects.read_manifest(address)["key"] == manifest["key"]
    assert manifest["input"]["source"] == f"{bucket}/days/b.csv"
    assert manifest["input"]["files"][0]["address"] == f"{bucket}/days/b.csv"
    assert manifest["input"]["files"][0]["modified"] == store.head("days/b.csv")["last_modified"].timestamp()
    assert batch.receive(asked)[0].complete is True
    # What is lost there is put there again, and a result that is not this one's is replaced.
    store.delete("out/demo/batch=b/_manifest.json")
    assert batch.receive(asked)[0].complete is False
    score(asked)
    pd.testing.assert_frame_equal(batch.read(address)[same], there[same])
    assert batch.receive(asked)[0].complete is True
    (folder() / "_report.html").unlink()  # what is damaged here is made anew here
    assert batch.receive(asked)[0].complete is False
    shutil.rmtree(folder())  # a machine that keeps nothing finds it there
    assert batch.receive(asked)[0].complete is True
    assert batch.read_published("demo", "b", f"{bucket}/out")["rows_scored"] == 40
    store.put("days/b.csv", ROWS.head(30).to_csv(index=False).encode())
    assert batch.receive(asked)[0].complete is False
    with pytest.raises(InputStale, match="days/b.csv: its newest file is 0.0 hours old, and max_age allows 1e-09"):
        batch.receive(asked.model_copy(update={"max_age": 1e-9}))
    with pytest.raises(BatonError, match="batch=c: its manifest, or files that this names, are gone"):
        batch.read(f"{bucket}/out/demo/batch=c")


def test_a_store_that_refuses_is_told_before_anything_is_scored(asked, bucket):
    score(asked)
    before = published()
    with pytest.raises(BatonError, match="s3://no-such-bucket/out/demo/batch=b: the object store says: "):
        batch.receive(asked.model_copy(update={"predictions_store": "s3://no-such-bucket/out"}))
    pd.testing.assert_frame_equal(published(), before)


@pytest.mark.parametrize("spelled", ["./new.csv", "days/../new.csv", "{root}/new.csv"])
def test_the_same_file_by_another_spelling_is_the_same_input(asked, spelled):
    score(asked)
    (config.ROOT / "days").mkdir()
    again = asked.model_copy(update={"score_data": spelled.replace("{root}", str(config.ROOT))})
    assert batch.receive(again)[0].complete is True
    assert batch.source_of("sqlite:///a/../b.db#t", "x") == "sqlite:///a/../b.db#t"
    assert batch.source_of("/elsewhere/./a.csv", "x") == "/elsewhere/a.csv"


def test_nothing_is_published_if_the_database_refuses(asked):
    with sqlite3.connect(config.ROOT / "out.db") as database:
        database.execute("CREATE TABLE scores (id INTEGER)")
    with pytest.raises(BatonError, match="the table exists, and lacks the columns"):
        score(asked, predictions_table=f"sqlite:///{config.ROOT}/out.db#scores")
    assert not folder().exists()


def test_a_table_that_lacks_a_column_is_told_before_a_large_batch_is_scored(asked, monkeypatch):
    with sqlite3.connect(config.ROOT / "out.db") as database:
        database.execute("CREATE TABLE scores (id, prediction, probability, model_version, model_name, batch)")
    monkeypatch.setattr(batch, "rows_of_a_chunk", lambda columns: 1)
    rows = pd.concat([pd.read_csv(config.ROOT / "new.csv")] * 10)
    rows.assign(id=range(len(rows))).to_csv(config.ROOT / "new.csv", index=False)
    asked = asked.model_copy(update={"predictions_table": f"sqlite:///{config.ROOT}/out.db#scores"})
    received, *_ = batch.receive(asked)
    with pytest.raises(BatonError, match="#scores: the table exists, and lacks the columns scored_at; name another"):
        scoring.score(received, asked)
    made = sorted(received.result.glob("part-*"))
    assert 0 < len(made) < len(rows) / 2
    # Where a power failure cut off the first of them, another is looked at.
    made[0].write_bytes(b"")
    with pytest.raises(BatonError, match="#scores: the table exists, and lacks the columns scored_at; name another"):
        scoring.score(received, asked)


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ({"x": [1.0]}, 100_000),
        ({f"x{number}": [1.0] for number in range(40)}, 50_000),
        ({"x": [1.0], "text": ["a" * 10_000]}, 3_000),
        ({"x": [1.0], "text": ["a" * 10_000_000]}, 1_000),
    ],
)
def test_a_chunk_has_fewer_rows_where_they_are_large(table, rows):
    assert batch.rows_of_a_chunk(pd.DataFrame(table)) == pytest.approx(rows, rel=0.1)


def test_a_draft_of_chunks_of_another_size_is_begun_anew(asked, monkeypatch):
    received, *_ = batch.receive(asked)
    for size, kept in ((7, False), (7, True), (9, False)):
        monkeypatch.setattr(batch, "rows_of_a_chunk", lambda head, size=size: size)
        marked, plan = received.draft / "mark", received.draft / "plan.json"
        before = json.loads(plan.read_text())["token"] if plan.is_file() else None
        scoring.score(received, asked)
        assert marked.exists() is kept
        # By it files are named in a store, where another result may have been put by the run before.
        assert (json.loads(plan.read_text())["token"] == before) is kept
        marked.touch()
    batch.seal(received, json.loads((received.result / "_manifest.json").read_text()))
    assert len(batch.read(received.result)) == 40


def test_a_database_that_is_not_there_is_told_before_anything_is_scored(asked, postgres):
    with pytest.raises(BatonError, match="nowhere"):
        batch.receive(asked.model_copy(update={"predictions_table": "sqlite:////nowhere/own.db#scores"}))
    place = f"{postgres.removesuffix('/postgres')}/${{ODD}}#scores"
    with pytest.raises(BatonError, match=r'the database says: database "\$\{ODD\}" does not exist'):
        batch.receive(asked.model_copy(update={"predictions_table": place}))


def test_a_reader_finds_the_former_result_or_the_new_one_and_nothing_else(tmp_path, monkeypatch):
    """While two results take each other's place, by every way there is to replace a folder."""
    monkeypatch.setattr(config, "ROOT", tmp_path)
    results = {}
    for name, count in (("a", 3), ("b", 5)):
        results[name] = tmp_path / name
        results[name].mkdir()
        for part in range(count):
            pd.DataFrame({"of": [name] * 10}).to_parquet(results[name] / f"part-{part}-{name}.parquet")
        files = [{"file": file.name, "bytes": file.stat().st_size} for file in sorted(results[name].iterdir())]
        (results[name] / "_manifest.json").write_text(json.dumps({"files": files}))
    place, found, ended = tmp_path / "batch=x", [], threading.Event()
    results["a"].rename(place)

    def look():
        while not ended.is_set():
            found.append(batch.read(place)["of"].tolist())

    reader = threading.Thread(target=look)
    reader.start()
    while len(found) < 40 and reader.is_alive():
        batch._swap(results["b"], place)  # what was there lies in b now
        time.sleep(0.05)
    ended.set()
    reader.join()
    assert len(found) >= 40
    assert {(of[0], len(of)) for of in found} == {("a", 30), ("b", 50)}
    assert all(len({*of}) == 1 for of in found)


def test_a_draft_that_holds_what_was_replaced_is_not_gone_on_with(asked, monkeypatch):
    """Of a run that was killed as soon as its result was in its place; then the rows in the database are lost."""
    keys = {"predictions_table": f"sqlite:///{config.ROOT}/out.db#scores"}
    score(asked, **keys)
    ROWS.head(30).to_csv(config.ROOT / "new.csv", index=False)
    with monkeypatch.context() as killed:
        killed.setattr(batch.shutil, "rmtree", lambda *_, **__: None)
        score(asked, **keys)
    assert len(published()) == 30
    with sqlite3.connect(config.ROOT / "out.db") as database:
        database.execute("DROP TABLE scores")
    score(asked, **keys)
    assert len(published()) == 30
    assert tables.count(keys["predictions_table"], {"batch": "b"}, ["batch"]) == {("b",): 30}


def test_a_table_that_holds_other_rows_of_as_many_is_put_right(asked):
    """Of a run that wrote there and could not go on: of other rows, or by another version."""
    keys = {"predictions_table": f"sqlite:///{config.ROOT}/out.db#scores"}
    at = score(asked, **keys)["scored_at"]
    expected = tables.read_table(keys["predictions_table"])
    received = asked.model_copy(update=keys)
    assert batch.receive(received)[0].complete is True
    for changed in ("model_version = '9'", "scored_at = '2020-01-01 00:00:00'"):
        with sqlite3.connect(config.ROOT / "out.db") as database:
            database.execute(f"UPDATE scores SET {changed}")
        assert batch.receive(received)[0].complete is False
        assert score(asked, **keys)["scored_at"] == at
        pd.testing.assert_frame_equal(tables.read_table(keys["predictions_table"]), expected)
        assert batch.receive(received)[0].complete is True


@pytest.mark.parametrize("step", ["_flush", "_swap"])
def test_a_run_that_was_killed_when_its_result_was_in_the_store_alone_is_gone_on_with(asked, bucket, monkeypatch, step):
    asked = asked.model_copy(update={"predictions_store": f"{bucket}/out"})

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(batch, step, killed)
        with pytest.raises(KeyboardInterrupt):
            score(asked)
    there = batch.read(f"{bucket}/out/demo/batch=b")
    assert not folder().exists()
    assert batch.receive(asked)[0].complete is False
    score(asked)
    pd.testing.assert_frame_equal(published(), there)
    assert batch.receive(asked)[0].complete is True


def test_what_another_machine_has_put_in_the_store_is_what_is_replaced(asked, bucket, tmp_path):
    asked = asked.model_copy(update={"predictions_store": f"{bucket}/out"})
    score(asked)
    here = tmp_path / "here"
    folder().rename(here)
    ROWS.head(30).to_csv(config.ROOT / "new.csv", index=False)
    at = score(asked)["scored_at"]  # by another machine, which has a folder of its own
    shutil.rmtree(folder())
    here.rename(folder())
    assert batch.receive(asked)[0].complete is False  # the folder here has the former result
    score(asked)
    assert len(published()) == 30
    here = tmp_path / "new"
    ROWS.head(20).to_csv(config.ROOT / "new.csv", index=False)
    assert batch.receive(asked)[0].replaces == f"30 rows scored by version 1 at {at}"
    ROWS.to_csv(config.ROOT / "second.csv", index=False)
    with pytest.raises(SettingsError, match=r"batch b of demo was made from new.csv \(30 rows\)"):
        batch.receive(asked.model_copy(update={"score_data": "second.csv"}))


def test_a_draft_of_another_time_than_what_the_store_has_of_the_same_is_begun_anew(asked, bucket):
    """A run that was killed here, after which another machine published the same batch."""
    asked = asked.model_copy(update={"predictions_store": f"{bucket}/out"})
    received, *_ = batch.receive(asked)
    early = dataclasses.replace(received, scored_at="2020-01-01T00:00:00+00:00")
    scoring.score(early, asked)
    kept = early.draft.rename(early.draft.with_name("kept"))
    at = score(asked)["scored_at"]  # by another machine
    shutil.rmtree(folder())
    kept.rename(early.draft)
    assert score(asked)["scored_at"] == at
    pd.testing.assert_frame_equal(published(), batch.read(f"{bucket}/out/demo/batch=b"))
    assert batch.receive(asked)[0].complete is True


def test_of_two_machines_the_one_that_is_refused_by_the_store_leaves_the_table_as_it_is(asked, bucket):
    keys = {"predictions_table": f"sqlite:///{config.ROOT}/out.db#scores", "predictions_store": f"{bucket}/out"}
    asked = asked.model_copy(update=keys)
    first, *_ = batch.receive(asked)
    scoring.score(first, asked)
    kept = first.draft.rename(first.draft.with_name("kept"))
    ROWS.head(30).to_csv(config.ROOT / "new.csv", index=False)
    score(asked)  # by another machine, with other rows
    expected = tables.read_table(keys["predictions_table"])
    kept.rename(first.draft)
    with pytest.raises(Busy, match="another run has published this batch there in the meantime"):
        batch.publish(first, config.ROOT / "report.html")
    pd.testing.assert_frame_equal(tables.read_table(keys["predictions_table"]), expected)
    assert len(batch.read(f"{bucket}/out/demo/batch=b")) == len(expected) == 30


def test_what_the_table_refuses_is_not_in_the_store_either(asked, bucket):
    keys = {"predictions_table": f"sqlite:///{config.ROOT}/out.db#scores", "predictions_store": f"{bucket}/out"}
    score(asked, **keys)
    before = batch.read(f"{bucket}/out/demo/batch=b")
    ROWS.head(30).to_csv(config.ROOT / "new.csv", index=False)
    with sqlite3.connect(config.ROOT / "out.db") as database:
        database.execute("ALTER TABLE scores DROP COLUMN probability")
    with pytest.raises(BatonError, match="the table exists, and lacks the columns probability"):
        score(asked, **keys)
    pd.testing.assert_frame_equal(batch.read(f"{bucket}/out/demo/batch=b"), before)
    assert len(published()) == 40


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_whole_numbers_stay_whole_where_one_is_missing_and_in_a_table(asked, form, postgres):
    """Ids of a CSV, and ids and a column that is kept of a Parquet file."""
    large, new = 2**53 + 1, config.ROOT / f"new.{form}"
    rows = ROWS.assign(many=range(40)).astype({"id": "Int64", "many": "Int64"})
    keys = {"predictions_table": f"{postgres}#whole_{form}", "predictions_format": form, "score_data": str(new)}
    keys |= {"keep_columns": ["many"]} if form == "parquet" else {}
    columns = ["id", *keys.get("keep_columns", [])]
    for name, holes in (("full", []), ("holes", [0, 5])):
        rows.loc[7, ["id", "many"]] = large
        rows.loc[holes, ["id", "many"]] = pd.NA
        rows.to_parquet(new) if form == "parquet" else rows.to_csv(new, index=False)
        score(asked, **keys, batch=name)
        found = published(name)
        assert found.columns.tolist()[:2] == ["id", "prediction"]
        for column in columns:
            assert found[column].dtype == ("Int64" if holes else "int64")
            assert found[column].isna().sum() == len(holes)
            assert found[column][7] == large
    with tables._connected(postgres) as connection:
        for column in columns:
            of_it = [value for (value,) in connection.exec_driver_sql(f"SELECT {column} FROM whole_{form}")]
            assert (len(of_it), of_it.count(large), of_it.count(None)) == (80, 2, 2)


def test_where_folders_can_not_be_exchanged_one_is_moved_after_the_other(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(batch, "_exchange", refuse)
    for name in ("new", "place"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("")
    batch._swap(tmp_path / "new", tmp_path / "place")
    assert (tmp_path / "place" / "new").is_file()
    assert (tmp_path / "replaced" / "place").is_file()


@pytest.mark.parametrize("other", [False, True], ids=["this batch", "another batch"])
def test_a_result_that_a_killed_run_had_taken_away_is_put_back(asked, other):
    """Where folders can't be exchanged, and it died before the new one was there."""
    score(asked)
    draft = folder().with_name(".batch=b")
    draft.mkdir()
    folder().rename(draft / "replaced")
    os.utime(draft, (time.time() - 25 * 3600,) * 2)
    (config.ROOT / "new.csv").write_text("id,x\n")  # so this run will fail
    with pytest.raises(InputEmpty):
        batch.receive(asked.model_copy(update={"batch": "c"} if other else {}))
    assert len(published()) == 40
    assert not (draft / "replaced").exists()


def test_a_reader_waits_for_a_result_that_is_put_in_its_place(asked, monkeypatch):
    score(asked)
    aside = folder().with_name("aside")
    folder().rename(aside)
    monkeypatch.setattr(time, "sleep", lambda _: aside.rename(folder()))
    assert len(batch.read(folder())) == 40
    folder().rename(aside)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(BatonError, match="batch=b: its manifest, or files that this names, are gone"):
        batch.read(folder())


def test_drafts_that_nobody_goes_on_with_are_swept(asked):
    for name, age in (("old", 25), ("young", 23)):
        draft = folder(name).with_name(f".batch={name}")
        (draft / "result").mkdir(parents=True)
        os.utime(draft, (time.time() - age * 3600,) * 2)
    batch.receive(asked)
    assert sorted(path.name for path in folder().parent.iterdir()) == [".batch=young"]
