"""A table read in chunks has the same rows as one that is read whole."""

import sqlite3

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from baton import BatonError, InputEmpty, SchemaMismatch, config
from baton.data import stream, tables

TEXTS = {
    "plain": b"a,b\n1,x\n2,\n\n3,y\n",
    "blank rows at the end": b"a,b\n1,x\n,\n3,y\n,\n,\n",
    "delimiters at the end": b"a,b,\n1,x,\n2,y,\n",
    "quotes": b'a;b\n1,5;"x;y"\n2;"two\nlines"\n',
    "mark": b"\xef\xbb\xbfa,b\n1,x\n",
    "windows": "a,b\n1,ä\n2,ü\n".encode("cp1252"),
    "utf-16": "a,b\n1,ä\n2,ü".encode("utf-16"),
    "spaces in the header": b" a , b\n1,x\n",
    "no line end": b"a,b\n1,x\n2,y",
    "tabs": b"a\tb\n1\tx\n",
    "a letter of another encoding as its last byte": b"a,b\n1,x\n2,caf\xe9",
}


def read(source, rows: int) -> pd.DataFrame:
    opened = stream.Source(str(source))
    return pd.concat([stream.to_frame(chunk, opened.decimal) for chunk in opened.chunks(rows)], ignore_index=True)


@pytest.mark.parametrize("rows", [1, 2, 1000])
@pytest.mark.parametrize("text", TEXTS)
def test_a_csv_in_chunks_is_the_csv(tmp_path, text, rows):
    (tmp_path / "t.csv").write_bytes(TEXTS[text])
    pd.testing.assert_frame_equal(read(tmp_path / "t.csv", rows), tables.read_table(tmp_path / "t.csv"))


@pytest.mark.parametrize("block", [64, 200, 4096])
def test_the_size_of_a_block_changes_nothing(tmp_path, monkeypatch, block):
    monkeypatch.setattr(stream, "BLOCK", block)
    rows = pd.DataFrame({"a": range(500), "b": [f'q"{number}\n,' * (number % 3) for number in range(500)]})
    rows.to_csv(tmp_path / "t.csv", index=False)
    blank = b",\n" * 300  # over many blocks; at the end they count for nothing
    (tmp_path / "t.csv").write_bytes((tmp_path / "t.csv").read_bytes() + blank + b"500,x\n" + blank)
    pd.testing.assert_frame_equal(read(tmp_path / "t.csv", 33), tables.read_table(tmp_path / "t.csv"))


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (b"a,b\n", InputEmpty, "there is a header with 2 columns, and no row"),
        (b"a,b", InputEmpty, "there is a header with 2 columns, and no row"),
        (b"", InputEmpty, "the file is empty"),
        (b"a,b\n1,2\n3\n", BatonError, "row 2 has 1 values where the header names 2 columns"),
        (b'a,b\n1,2\n3,"x\n4,5\n', BatonError, "opens a double quote that is never closed"),
        (b"a,b\n1," + b"x" * 5000 + b"\n", BatonError, "a row is longer than 0 MB. Is there a double quote"),
        (b"a,b\n\x00\x01,2\n", BatonError, "this is no text but binary data"),
        (b"a,a\n1,2\n", BatonError, "more than one column has the name 'a'"),
    ],
)
def test_what_is_no_table_is_told(tmp_path, monkeypatch, text, kind, message):
    monkeypatch.setattr(stream, "BLOCK", 1024)
    (tmp_path / "t.csv").write_bytes(text)
    with pytest.raises(kind, match=message) as told:
        read(tmp_path / "t.csv", 10)
    assert type(told.value) is kind


PARQUET = {
    "kinds": pd.DataFrame(
        {"a": [1, None, 3], "b": ["x", None, "z"], "c": pd.to_datetime(["2020-01-01", None, "2021-01-01"])}
    ),
    "categories": pd.DataFrame({"a": pd.Categorical(["x", "y", "x"])}),
    "index": pd.DataFrame({"a": [1, 2, 3]}, index=pd.Index([7, 8, 9], name="id")),
    "index without a name": pd.DataFrame({"a": [1, 2, 3]}, index=[7, 8, 9]),
    "single precision": pd.DataFrame({"a": np.array([0.1, 0.2, 0.3], "float32")}),
    "times of a zone": pd.DataFrame({"a": pd.date_range("2026-01-01", periods=3, tz="Europe/Zurich")}),
}


@pytest.mark.parametrize("rows", [1, 2, 1000])
@pytest.mark.parametrize("table", PARQUET)
def test_parquet_in_chunks_is_the_table(tmp_path, table, rows):
    PARQUET[table].to_parquet(tmp_path / "t.parquet")
    expected = tables.read_table(tmp_path / "t.parquet")
    found = read(tmp_path / "t.parquet", rows)
    pd.testing.assert_frame_equal(found, expected, check_like=True, check_dtype=table == "single precision")
    assert stream.Source(str(tmp_path / "t.parquet")).rows == 3


@pytest.mark.parametrize("ending", [".csv.gz", ".csv.xz", ".csv.zip", ".parquet.gz"])
def test_compressed_files_are_read(tmp_path, ending):
    rows = pd.DataFrame({"a": ["1", "2", "3"]})
    file = tmp_path / f"t{ending}"
    if "parquet" in ending:
        import gzip

        rows.to_parquet(tmp_path / "t.parquet")
        file.write_bytes(gzip.compress((tmp_path / "t.parquet").read_bytes()))
    else:
        rows.to_csv(file, index=False)
    assert read(file, 2)["a"].tolist() == ["1", "2", "3"]


def test_files_of_a_folder_follow_each_other_and_chunks_run_over_their_ends(tmp_path):
    pd.DataFrame({"a": [1, 2, 3], "b": [1.5, 2, 3]}).to_parquet(tmp_path / "1.parquet")
    pd.DataFrame({"b": [4, 5], "a": [4.5, None]}).to_parquet(tmp_path / "2.parquet")
    opened = stream.Source(str(tmp_path))
    chunks = [*opened.chunks(2)]
    assert [len(chunk) for chunk in chunks] == [2, 2, 1]
    assert len({chunk.schema for chunk in chunks}) == 1
    found = pa.concat_tables(chunks).to_pandas()
    assert found["a"].tolist()[:4] == [1, 2, 3, 4.5]
    assert found["b"].tolist() == [1.5, 2, 3, 4, 5]
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "3.parquet")
    with pytest.raises(BatonError, match="3.parquet and .*1.parquet have different columns: only one of them has 'b'"):
        stream.Source(str(tmp_path))


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_chunks_of_long_texts_have_fewer_rows_wherever_these_begin(tmp_path, monkeypatch, form):
    monkeypatch.setattr(stream, "BYTES", 10_000)
    monkeypatch.setattr(stream, "BLOCK", 40_000)
    rows = pd.DataFrame({"n": range(600), "text": ["x"] * 400 + ["long" * 250] * 200})
    file = tmp_path / f"t.{form}"
    rows.to_parquet(file, index=False) if form == "parquet" else rows.to_csv(file, index=False)
    opened = stream.Source(str(file))
    chunks = [*opened.chunks(300)]
    assert max(chunk.nbytes for chunk in chunks) <= 10_000
    assert max(len(chunk) for chunk in chunks) == 300
    found = pa.concat_tables(chunks).to_pandas().astype({"n": "int64", "text": "str"})
    pd.testing.assert_frame_equal(found, rows.astype({"text": "str"}))
    assert [len(chunk) for chunk in chunks] == [len(chunk) for chunk in opened.chunks(300)]
    assert len(opened.head(300)) == (300 if form == "csv" else len(chunks[0]))


def test_a_text_that_is_written_once_is_not_read_for_all_its_rows_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "FEW", 50)
    file = tmp_path / "t.parquet"
    pd.DataFrame({"n": range(600), "text": ["long" * 250] * 600}).to_parquet(file, index=False)
    parts = stream.Source(str(file))._parts
    assert {len(batch) for batch in parts[0].batches(300, ["n", "text"])} == {50}
    assert {len(batch) for batch in parts[0].batches(300, ["n"])} == {300}


def test_files_with_categories_of_their_own_are_one_table(tmp_path):
    for number, values in enumerate((["x", "y"], ["y", "z"])):
        pd.DataFrame({"a": pd.Categorical(values)}).to_parquet(tmp_path / f"{number}.parquet")
    chunks = [*stream.Source(str(tmp_path)).chunks(3)]
    assert [chunk.to_pydict() for chunk in chunks] == [{"a": ["x", "y", "y"]}, {"a": ["z"]}]


def test_files_that_can_not_be_made_alike_are_told(tmp_path):
    pd.DataFrame({"a": [2**60 + 1]}).to_parquet(tmp_path / "1.parquet")
    pd.DataFrame({"a": [0.5]}).to_parquet(tmp_path / "2.parquet")
    with pytest.raises(SchemaMismatch, match="1.parquet: a column is of another kind than in the other files"):
        [*stream.Source(str(tmp_path)).chunks(3)]


def test_some_columns_of_some_rows(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,c\n1,2,3\n4,5,6\n")
    opened = stream.Source(str(tmp_path / "t.csv"))
    assert [chunk.to_pydict() for chunk in opened.chunks(9, ["c", "a"])] == [{"c": ["3", "6"], "a": ["1", "4"]}]
    assert opened.head(1).to_dict("list") == {"a": ["1"], "b": ["2"], "c": ["3"]}
    pd.DataFrame({"a": [1, 4], "b": [2, 5], "c": [3, 6]}).to_parquet(tmp_path / "t.parquet")
    chunks = stream.Source(str(tmp_path / "t.parquet")).chunks(9, ["c", "a"])
    assert [chunk.to_pydict() for chunk in chunks] == [{"c": [3, 6], "a": [1, 4]}]


def test_files_have_decimal_commas_if_all_of_them_have_and_as_many_rows_as_are_known(tmp_path):
    (tmp_path / "1.csv").write_text("a;b\n1,5;2\n")
    (tmp_path / "2.csv").write_text("a,b\n1,2\n")
    (tmp_path / "4.csv").write_bytes("a,b\n1,\xe4\n2,\xfc".encode("cp1252"))
    pd.DataFrame({"a": [1, 2], "b": [3, 4]}).to_parquet(tmp_path / "3.parquet")

    def opened(*names: str) -> tuple:
        source = stream.Source("t", {f"{place} {name}": tmp_path / name for place, name in enumerate(names)})
        return source.decimal, source.rows

    assert (opened("1.csv", "1.csv"), opened("1.csv", "2.csv")) == ((",", 2), (None, 2))
    assert (opened("3.parquet", "3.parquet"), opened("3.parquet", "2.csv")) == ((None, 4), (None, 3))
    assert opened("4.csv") == (None, 2)


def test_a_database_is_written_down_as_it_comes(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "ROOT", tmp_path)
    rows = pd.DataFrame({"a": [None, None, 1, 2.5, 3], "b": [None, None, None, "x", "y"]})
    rows["c"] = pd.array([2**60 + 1, None, 2**60 + 2, None, None], dtype="Int64")
    with sqlite3.connect(tmp_path / "t.db") as database:
        rows.to_sql("t", database, index=False)
    files = stream.spool(f"sqlite:///{tmp_path}/t.db#t", tmp_path / "input", 2)
    assert [file.name for file in files] == ["input-00000.parquet", "input-00001.parquet", "input-00002.parquet"]
    chunks = [*stream.Source("t", {file.name: file for file in files}).chunks(4)]
    assert pa.concat_tables(chunks).to_pydict() == {
        "a": [None, None, 1.0, 2.5, 3.0], "b": [None, None, None, "x", "y"],
        "c": [2**60 + 1, None, 2**60 + 2, None, None],
    }  # fmt: skip


def test_files_are_named_by_their_content(tmp_path):
    for name, content in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).write_text(content)
    a, b, c = (tables.digest_files([tmp_path / name]) for name in "abc")
    assert a == b != c
    assert tables.digest_files([tmp_path / "a", tmp_path / "c"]) != tables.digest_files(
        [tmp_path / "c", tmp_path / "a"]
    )
