"""On a real S3 server on this machine: moto."""

import contextlib
import json
import subprocess
import sys
import threading
import time

import obstore
import pandas as pd
import pytest

from baton import BatonError, Busy, InputMissing, config
from baton.data import objects, tables
from baton.serving import batch

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
        ("days/x[[]1].csv", ["odd too"]),
        ("days/x[1].csv", ["odd too"]),
        ("deep/*", ["a"]),
    ],
)
def test_an_address_names_what_a_path_here_does(store, bucket, tmp_path, monkeypatch, asked, expected):
    files = {
        "days/b.csv": "b", "days/a.csv": "a", "days/deep/er.csv": "deep", "z.csv": "z", "days/notes.md": "",
        "days/_odd.csv": "odd", "days/.c.csv": "", "days/_temporary/d.csv": "",
    }  # fmt: skip
    if "x" in asked or "deep" in asked:
        files |= {"days/x[1].csv": "odd too", "deep/a.csv": "a", "deep/folder/b.csv": "not by *"}
        if "deep" in asked:
            store.put("deep/folder/", b"")  # as consoles make folders
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


def publish(files: list, key: str, address: str, token: str = "t", scored_at: str = "now") -> None:
    there = objects.read_manifest(address) or {}
    objects.publish(files, {"key": key, "scored_at": scored_at}, address, token, there.get("key"))


def test_a_result_takes_the_place_of_the_former_whose_files_go(store, bucket, tmp_path):
    address = f"{bucket}/batch=1"
    publish(result(tmp_path, **{"part-0.parquet": "first", "_rejects.parquet": "r"}), "k1", address, "one")
    assert names(store) == ["batch=1/_manifest.json", "batch=1/_rejects-one.parquet", "batch=1/part-0-one.parquet"]
    store.put("batch=2/part-0.parquet", b"of another batch")
    publish(result(tmp_path, **{"part-0.parquet": "second!"}), "k2", address, "two")
    assert objects.read_manifest(address)["files"] == [{"file": "part-0-two.parquet", "bytes": 7}]
    assert objects.read_manifest(address)["key"] == "k2"
    assert names(store) == ["batch=1/_manifest.json", "batch=1/part-0-two.parquet", "batch=2/part-0.parquet"]


def test_the_same_result_is_put_there_once_and_again_where_a_file_of_it_is_gone(store, bucket, tmp_path):
    address, files = f"{bucket}/b", result(tmp_path, **{"part-0.parquet": "rows"})
    publish(files, "k", address, "one")
    once = names(store)
    publish(files, "k", address, "two", "by another machine, later")
    assert names(store) == once
    store.delete("b/part-0-one.parquet")
    assert objects.read_manifest(address) is None
    for token in ("two", "two"):  # the second time by a run that goes on with the first
        publish(files, "k", address, token)
        assert objects.read_manifest(address)["key"] == "k"
        assert names(store) == ["b/_manifest.json", "b/part-0-two.parquet"]


def test_what_a_killed_run_put_there_is_no_leftover_of_the_run_that_goes_on(store, bucket, tmp_path):
    store.put("b/part-0-mine.parquet", b"half of it")
    publish(result(tmp_path, **{"part-0.parquet": "rows"}), "k", f"{bucket}/b", "mine")
    assert names(store) == ["b/_manifest.json", "b/part-0-mine.parquet"]
    assert objects.read_manifest(f"{bucket}/b")["files"] == [{"file": "part-0-mine.parquet", "bytes": 4}]


def test_a_result_in_a_folder_of_unusual_name_has_its_files_alone(store, bucket, tmp_path):
    address, files = f"{bucket}/100%20 of?#1/b", result(tmp_path, **{"part-0.parquet": "rows"})
    others = ["README.txt", "_SUCCESS", "notes/of-somebody.txt", "part-00000-8a1f2c3d-2b4c-c000.snappy.parquet"]
    for other in others:
        store.put(f"100%20 of?#1/b/{other}", b"not of a result, and older than it")
    time.sleep(1.1)  # a store tells times by the second
    publish(files, "k", address, "one")
    assert objects.read_manifest(address)["key"] == "k"
    assert names(store) == [
        f"100%20 of?#1/b/{name}" for name in sorted([*others, "_manifest.json", "part-0-one.parquet"])
    ]


def test_a_manifest_that_no_batch_has_written_is_told(store, bucket, tmp_path):
    store.put("b/_manifest.json", b'{"a": 1}')
    with pytest.raises(BatonError, match="there is a _manifest.json in a batch's folder that no batch has written"):
        objects.publish(result(tmp_path, **{"part-0.parquet": "rows"}), {"key": "k"}, f"{bucket}/b", "one", None)
    assert names(store) == ["b/_manifest.json"]


@pytest.mark.parametrize("key", ["k", "another"])
def test_what_a_killed_run_left_goes_with_the_next_that_publishes_and_no_file_of_one_at_work(
    store, bucket, tmp_path, key
):
    address, files = f"{bucket}/b", result(tmp_path, **{"part-0.parquet": "rows"})
    store.put("b/part-0-killed.parquet", b"of a run that was killed before its manifest")
    time.sleep(1.1)  # a store tells times by the second
    publish(files, "k", address, "one")
    time.sleep(1.1)
    store.put("b/part-0-at-work.parquet", b"of one that has yet to put its manifest")
    time.sleep(1.1)
    publish(files, key, address, "two" if key != "k" else "one")
    left = {name.removeprefix("b/") for name in names(store)} - {"_manifest.json", "part-0-at-work.parquet"}
    assert left == ({"part-0-one.parquet"} if key == "k" else {"part-0-two.parquet"})
    assert ("b/part-0-at-work.parquet" in names(store)) == (key == "k")


def test_another_result_than_the_one_that_was_to_be_replaced_stays(store, bucket, tmp_path):
    address, files = f"{bucket}/b", result(tmp_path, **{"part-0.parquet": "rows"})
    publish(files, "by another machine", address, "one")
    before = names(store)
    for replacing in (None, "what was there before"):
        with pytest.raises(Busy, match="another run has published this batch there in the meantime"):
            objects.publish(files, {"key": "mine", "scored_at": "now"}, address, "two", replacing)
    assert (objects.read_manifest(address)["key"], names(store)) == ("by another machine", before)


@pytest.mark.parametrize("former", [None, "k0"])
@pytest.mark.parametrize("other", ["another", "mine"])
def test_of_two_that_publish_at_once_the_first_stays_and_the_second_leaves_nothing(
    store, bucket, tmp_path, monkeypatch, former, other
):
    """In this process, whose other calls the first one comes in between."""
    address, files, put = f"{bucket}/b", result(tmp_path, **{"part-0.parquet": "rows"}), obstore.put
    if former:
        publish(files, former, address, "former")

    def overtaken(store, name, content, **how):
        if name == "_manifest.json":
            monkeypatch.setattr(obstore, "put", put)
            publish(files, other, address, "first")
        return put(store, name, content, **how)

    monkeypatch.setattr(obstore, "put", overtaken)
    told = pytest.raises(Busy, match="another run has published this batch there in the meantime")
    with told if other != "mine" else contextlib.nullcontext():
        objects.publish.__wrapped__(files, {"key": "mine", "scored_at": "now"}, address, "second", former)
    assert objects.read_manifest(address)["key"] == other
    assert names(store) == ["b/_manifest.json", "b/part-0-first.parquet"]


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_not_there_is_told_and_no_missing_result():
    for ask in (objects.read_manifest, lambda address: batch.read(f"{address}/x")):
        with pytest.raises(
            BatonError, match="s3://no-such-bucket/b.*: the object store says: The specified bucket does"
        ):
            ask("s3://no-such-bucket/b")


def test_a_process_that_is_forked_after_a_store_was_asked_can_ask_it_too(store, bucket):
    store.put("a.csv", b"x\n1\n")
    command = (
        "import multiprocessing, sys; from baton.data import tables\n"
        "tables.identity(sys.argv[1])\n"
        "process = multiprocessing.get_context('fork').Process(target=tables.identity, args=sys.argv[1:])\n"
        "process.start(); process.join(60); print(process.exitcode); process.kill()"
    )
    done = subprocess.run(
        [sys.executable, "-c", command, f"{bucket}/a.csv"], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "0\n"


def test_a_reader_finds_the_former_result_or_the_new_one_whole(store, bucket, tmp_path):
    """While two results take each other's place."""
    address, ended, seen, wrong = f"{bucket}/b", threading.Event(), set(), []
    results = {}
    for key in ("a", "b"):
        files = result(tmp_path / key, **{f"part-{number}.parquet": key for number in range(3)})
        results[key] = files, key, address, key
    publish(*results["a"])

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
    for number in range(6):
        publish(*results["ba"[number % 2]])
    ended.set()
    reader.join()
    assert (seen, wrong) == ({"a", "b"}, [])
