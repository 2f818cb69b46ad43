"""On a real S3 server on this machine: moto."""

import datetime
import json
import threading

import obstore
import pandas as pd
import pytest

from baton import BatonError, InputMissing, config
from baton.data import objects, tables

ROWS = pd.DataFrame({"x": ["1", "2"], "y": ["a", "b"]})


@pytest.fixture
def store(bucket):
    return obstore.store.from_url(bucket, client_options={"allow_http": True})


def names(store) -> list[str]:
    return sorted(meta["path"] for meta in store.list().collect())


def result(folder, **files: str) -> list:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(content)
    return [folder / name for name in files]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("days/a.csv", ["a"]),
        ("days", ["a", "b", "deep"]),
        ("days/", ["a", "b", "deep"]),
        ("days/*.csv", ["a", "b"]),
        ("days/?.csv", ["a", "b"]),
        ("days/**/*.csv", ["a", "b", "deep"]),
        ("d*/[b-z].csv", ["b"]),
        ("days/_odd.csv", ["odd"]),
        ("", ["a", "b", "deep", "z"]),
    ],
)
def test_an_address_names_what_a_path_here_does(store, bucket, tmp_path, monkeypatch, asked, expected):
    files = {
        "days/b.csv": "b", "days/a.csv": "a", "days/deep/er.csv": "deep", "z.csv": "z", "days/notes.md": "",
        "days/_odd.csv": "odd", "days/.c.csv": "", "days/_temporary/d.csv": "",
    }  # fmt: skip
    for name, content in files.items():
        store.put(name, f"name\n{content}\n".encode())
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"name\n{content}\n")
    monkeypatch.setattr(config, "ROOT", tmp_path)
    assert tables.read_table(f"{bucket}/{asked}")["name"].tolist() == expected
    assert tables.read_table(asked or ".")["name"].tolist() == expected


def test_a_folder_is_not_one_whose_name_begins_alike(store, bucket):
    store.put("days2/a.csv", b"name\nb\n")
    store.put("days/a.csv", b"name\na\n")
    assert tables.read_table(f"{bucket}/days")["name"].tolist() == ["a"]


def test_a_fetched_file_has_its_bytes_and_the_time_of_its_change(store, bucket, tmp_path):
    store.put("in/big.csv", content := b"x\n" + b"1\n" * 8_000_000)
    changed = store.head("in/big.csv")["last_modified"].timestamp()
    file = tables.fetch(f"{bucket}/in", tmp_path)[f"{bucket}/in/big.csv"]
    assert (file.name, file.read_bytes() == content, file.stat().st_mtime) == ("big.csv", True, changed)


def test_a_file_that_changes_before_it_is_fetched_is_told(store, bucket, tmp_path):
    store.put("a.csv", b"x\n1\n")
    found = objects.find(f"{bucket}/a.csv", lambda path: True)
    store.put("a.csv", b"x\n2\n")
    with pytest.raises(BatonError, match=f"{bucket}/a.csv: the object store says: "):
        objects.fetch(f"{bucket}/a.csv", found, tmp_path)


def test_what_is_read_is_named_by_its_content_without_reading_it(store, bucket):
    seen = set()
    for name, content in [("a.csv", b"x\n1\n"), ("a.csv", b"x\n2\n"), ("b.csv", b"x\n1\n")]:
        store.put(name, content)
        seen.add(tables.identity(f"{bucket}/*.csv"))
        assert tables.identity(f"{bucket}/*.csv") in seen
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("{bucket}/absent.csv", InputMissing, "{bucket}/absent.csv: there is no such file, or folder with a CSV or"),
        ("{bucket}/absent-*.csv", InputMissing, "{bucket}/absent-*.csv: there is no such file"),
        (
            "s3://no-such-bucket/a.csv",
            BatonError,
            "s3://no-such-bucket/a.csv: the object store says: The specified bucket does not exist",
        ),
        ("{bucket}/notes.md", BatonError, "{bucket}/notes.md: can't read a .md file; give one of: .csv"),
        ("{bucket}/ragged.csv", BatonError, "{bucket}/ragged.csv: row 1 has 2 values where the header names 1 columns"),
    ],
)
def test_what_is_wrong_is_told_with_the_address(store, bucket, source, kind, message):
    store.put("notes.md", b"x")
    store.put("ragged.csv", b"x\n1,2\n")
    source, message = (text.replace("{bucket}", bucket) for text in (source, message))
    with pytest.raises(kind) as raised:
        tables.read_table(source)
    assert str(raised.value).startswith(message)
    assert tables.identity(source).startswith(f"unreadable: {message}") or kind is BatonError


def test_a_store_that_does_not_answer_is_told(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with pytest.raises(BatonError, match="s3://bucket/a.csv: the object store says: .*error sending request"):
        tables.read_table("s3://bucket/a.csv")


def test_that_there_is_no_login_is_told(monkeypatch):
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    with pytest.raises(
        BatonError, match="s3://bucket/a.csv: the object store says: there is no login for it. Set AWS_"
    ):
        tables.read_table("s3://bucket/a.csv")


def test_a_result_takes_the_place_of_the_former_whose_files_go(store, bucket, tmp_path):
    address = f"{bucket}/batch=1"
    first = result(tmp_path, **{"part-0.parquet": "first", "_rejects.parquet": "r"})
    objects.publish(first, {"key": "k1", "scored_at": "t1"}, address)
    before = names(store)
    assert [name.partition("-")[0] for name in before] == ["batch=1/_manifest.json", "batch=1/_rejects", "batch=1/part"]
    store.put("batch=2/part-0.parquet", b"of another batch")
    objects.publish(result(tmp_path, **{"part-0.parquet": "second!"}), {"key": "k2", "scored_at": "t2"}, address)
    manifest = objects.read_manifest(address)
    assert (manifest["key"], [part["bytes"] for part in manifest["files"]]) == ("k2", [7])
    assert names(store) == sorted(
        ["batch=1/_manifest.json", f"batch=1/{manifest['files'][0]['file']}", "batch=2/part-0.parquet"]
    )
    assert set(before) & set(names(store)) == {"batch=1/_manifest.json"}  # no other name is used twice


def test_the_same_result_is_put_there_once_and_again_where_a_file_of_it_is_gone(store, bucket, tmp_path):
    address, manifest = f"{bucket}/b", {"key": "k", "scored_at": "t"}
    files = result(tmp_path, **{"part-0.parquet": "rows"})
    objects.publish(files, manifest, address)
    once = names(store)
    objects.publish(files, manifest, address)
    assert names(store) == once
    objects.publish(files, manifest | {"scored_at": "later"}, address)
    assert names(store) != once
    store.delete(next(name for name in names(store) if "part" in name))
    assert objects.read_manifest(address) is None
    objects.publish(files, manifest | {"scored_at": "later"}, address)
    assert objects.read_manifest(address)["scored_at"] == "later"


def test_of_two_that_publish_at_once_the_second_is_told_and_the_first_stays(store, bucket, tmp_path, monkeypatch):
    address, files = f"{bucket}/b", result(tmp_path, **{"part-0.parquet": "rows"})
    for former in (None, "k0"):
        if former:
            objects.publish(files, {"key": former, "scored_at": "t"}, address)
        put = obstore.put

        def overtaken(store, name, content, _put=put, **how):
            if name == "_manifest.json":
                monkeypatch.setattr(obstore, "put", _put)
                objects.publish(files, {"key": "other", "scored_at": "t"}, address)
            return _put(store, name, content, **how)

        monkeypatch.setattr(obstore, "put", overtaken)
        with pytest.raises(BatonError, match="another run has published this batch there in the meantime"):
            objects.publish(files, {"key": "mine", "scored_at": "t"}, address)
        assert objects.read_manifest(address)["key"] == "other"
        store.delete("b/_manifest.json")


def test_files_that_a_dead_run_left_are_removed_after_a_day(store, bucket, tmp_path, monkeypatch):
    store.put("b/part-0-dead.parquet", b"x")
    files = result(tmp_path, **{"part-0.parquet": "rows"})
    objects.publish(files, {"key": "k1", "scored_at": "t"}, f"{bucket}/b")
    assert "b/part-0-dead.parquet" in names(store)  # a run that is at work may have put it there
    monkeypatch.setattr(objects, "FORGOTTEN", datetime.timedelta(seconds=-60))
    objects.publish(files, {"key": "k2", "scored_at": "t"}, f"{bucket}/b")
    assert len(names(store)) == 2
    assert "b/part-0-dead.parquet" not in names(store)
    assert objects.read_manifest(f"{bucket}/b")["key"] == "k2"


def test_a_reader_finds_the_former_result_or_the_new_one_whole(store, bucket, tmp_path):
    """While two results take each other's place."""
    address, ended, seen, wrong = f"{bucket}/b", threading.Event(), set(), []
    results = {}
    for key in ("a", "b"):
        files = result(tmp_path / key, **{f"part-{number}.parquet": key for number in range(3)})
        results[key] = files, {"key": key, "scored_at": "t"}
    objects.publish(*results["a"], address)

    def read():
        while not ended.is_set():
            folder = tmp_path / f"read-{len(seen)}-{threading.get_ident()}"
            if objects.fetch_result(address, folder):
                manifest = json.loads((folder / "_manifest.json").read_text())
                found = {(folder / part["file"]).read_text() for part in manifest["files"]}
                seen.add(manifest["key"])
                if found != {manifest["key"]}:
                    wrong.append(found)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(20):
        objects.publish(*results["ba"[number % 2]], address)
    ended.set()
    reader.join()
    assert (seen, wrong) == ({"a", "b"}, [])
