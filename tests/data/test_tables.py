"""A table is read whole wherever it is, or refused with one clear message, and is named by its content.

The database tests talk to a PostgreSQL server that the suite starts, and fail without its programs: apt-get install postgresql
"""

import bz2
import contextlib
import datetime
import gzip
import io
import lzma
import os
import re
import signal
import socket
import sqlite3
import threading
import time
import urllib.parse
import zipfile
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from baton import BatonError, config
from baton.data import tables, values

ROWS = pd.DataFrame({"a": [1, 2, 3], "b": [0.5, np.nan, 2.0], "c": ["x", "y", None]})
NAN = float("nan")
NOON = pd.Timestamp("2024-03-05 12:00")


def write(path, content):
    """Write text, bytes or a frame to a path; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, pd.DataFrame):
        content.to_parquet(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def zipped(**members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return packed.getvalue()


def read(path, content) -> dict:
    return tables.read_table(write(path, content)).to_dict("list")


@pytest.mark.parametrize("name", ["a.parquet", "a.b.Parquet", "a.pq"])
def test_a_parquet_table_comes_back_as_it_was_written(tmp_path, name):
    pd.testing.assert_frame_equal(tables.read_table(str(write(tmp_path / name, ROWS))), ROWS)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        *[(f"a{by}b\n1{by}x\n2{by}y\n", {"a": ["1", "2"], "b": ["x", "y"]}) for by in ",;\t|:^~ "],
        ("a\n1\n2\n", {"a": ["1", "2"]}),
        ("body mass\n1\n2\n", {"body mass": ["1", "2"]}),
        ("a,b\n1,2", {"a": ["1"], "b": ["2"]}),
        # As it stands: neither zeros nor spaces nor what may mean missing is touched.
        ("a,b\n007, x \nNA,\n", {"a": ["007", "NA"], "b": [" x ", ""]}),
        ("\n\na,b\n007,1.50\n\n", {"a": ["007"], "b": ["1.50"]}),
        (" a ,b \n1,2\n", {"a": ["1"], "b": ["2"]}),
        ('"a, b",c\n"x, ""y""","1\n2"\n', {"a, b": ['x, "y"'], "c": ["1\n2"]}),
        ('a,b\n5" pipe,"x\ny"\n', {"a": ['5" pipe'], "b": ["x\ny"]}),
        # As a spreadsheet exports cells that were used once; a blank row among others stays, for the others' numbers.
        ("a,b,,\n1,2,,\n,,,\n3,4,,\n,,,\n,,,\n", {"a": ["1", "", "3"], "b": ["2", "", "4"]}),
        ("a,b\r\n1,2\r\n", {"a": ["1"], "b": ["2"]}),
        ("a,b\r1,2\r", {"a": ["1"], "b": ["2"]}),
        ("a;b\n1,5;-0,25\n1.234,5;x,5 €\n", {"a": ["1,5", "1.234,5"], "b": ["-0,25", "x,5 €"]}),
        ('a,b\n"1,5",2\n', {"a": ["1,5"], "b": ["2"]}),
        ("size, cm;kg\n1,5;2,5\n", {"size, cm": ["1,5"], "kg": ["2,5"]}),
        # Spaces and colons divide only what nothing else divides.
        ("first name,last name\nAnna Maria,von Berg\n", {"first name": ["Anna Maria"], "last name": ["von Berg"]}),
        ("at: time,by: whom\n10:30,me\n", {"at: time": ["10:30"], "by: whom": ["me"]}),
        ("ä,b\nö,2\n".encode("utf-8-sig"), {"ä": ["ö"], "b": ["2"]}),
        ("ä,b\nö,2\n".encode("utf-16"), {"ä": ["ö"], "b": ["2"]}),
        ("\ufeffä,b\nö,2\n".encode("utf-16-be"), {"ä": ["ö"], "b": ["2"]}),
        ("ä,b\nö,2\n".encode("latin-1"), {"ä": ["ö"], "b": ["2"]}),
        ("ä €,b\n“ö”,2\n".encode("cp1252"), {"ä €": ["“ö”"], "b": ["2"]}),
        ("a,b\n" + "x" * 200_000 + ",2\n", {"a": ["x" * 200_000], "b": ["2"]}),
    ],
)  # fmt: skip
def test_a_csv_is_read_as_text_however_it_is_written(tmp_path, content, expected):
    assert read(tmp_path / "a.csv", content) == expected


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("A.CSV", b"a,b\n1,2\n"),
        ("a.tsv", b"a\tb\n1\t2\n"),
        ("a.2026.txt", b"a b\n1 2\n"),
        ("a*[1]#%20.data", b"a,b\n1,2\n"),
        ("a.csv.gz", gzip.compress(b"a,b\n1,2\n", mtime=0)),
        ("A.CSV.GZ", gzip.compress(b"a,b\n1,2\n", mtime=0)),
        ("a.csv.bz2", bz2.compress(b"a,b\n1,2\n")),
        ("a.txt.xz", lzma.compress(b"a,b\n1,2\n")),
        ("a.csv.zip", zipped(anything="a,b\n1,2\n")),
    ],
)
def test_a_csv_may_have_another_name_and_be_compressed(tmp_path, name, content):
    assert read(tmp_path / name, content) == {"a": ["1"], "b": ["2"]}


READS = "can't read a {} file; give one of: .csv, .tsv, .txt, .data, .parquet, .pq"
CORRECT = "Correct it there; if values hold the delimiter or a quote, put them in double quotes."
PARQUET = "this can't be read as parquet: Could not open Parquet input source '<Buffer>':"
BINARY = "this is no text but binary data. Is it a spreadsheet, or compressed? Save it as CSV."


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.csv", None, "there is no such file. It is not here yet, or train_data or score_data in env.yaml names the wrong place."),
        ("absent/*.csv", None, "there is no such file. It is not here yet, or train_data or score_data in env.yaml names the wrong place."),
        ("a.xlsx", "PK", READS.format(".xlsx")),
        ("table", "a,b\n1,2\n", READS.format("nameless")),
        ("a.gz", "", READS.format(".gz")),
        ("a.csv.zst", "", READS.format(".zst")),
        ("a.csv", "", "the file is empty; expected a header line and rows."),
        ("a.csv", " \n\n", "the file is empty; expected a header line and rows."),
        ("a.csv.gz", "", "the file is empty; expected a header line and rows."),
        ("a.csv", "a,b,c\n", "there is a header with 3 columns, and no row."),
        ("a.parquet", ROWS.head(0), "there is a header with 3 columns, and no row."),
        ("a.csv", "a,b\n1,2\n3,4,5\n", f"row 2 has 3 values where the header names 2 columns. {CORRECT}"),
        ("a.csv", '\na,b\n"1\n1",2\n\n3\n', f"row 2 has 1 values where the header names 2 columns. {CORRECT}"),
        ("a.csv", "a,b\n1,2,3\n4,5,6\n", f"row 1 has 3 values where the header names 2 columns. {CORRECT}"),
        ("a.csv", 'a,b\n1,2\n3,"x\n4,y\n', "row 2 opens a double quote that is never closed. Correct it there."),
        ("a.csv", 'a,b\n1,"x\n2,y', "row 1 opens a double quote that is never closed. Correct it there."),
        ("a.csv", "a,b, a\n1,2,3\n", "more than one column has the name 'a'"),
        ("a.parquet", pd.DataFrame({1: [0], "1 ": [0]}), "more than one column has the name '1'"),
        ("a.parquet", ROWS.set_index(ROWS["a"]), "more than one column has the name 'a'"),
        ("a.csv", bytes(range(256)), BINARY),
        ("a.csv", bytes(range(1, 256)), BINARY),
        ("a.csv", "a,b\n1,2\n".encode("utf-16-le"), BINARY),
        ("a.csv", "a,b\n1,2\n".encode("utf-32"), BINARY),
        ("a.csv", zipped(**{"xl/workbook.xml": "<a/>"}), BINARY),
        ("a.csv", gzip.compress(b"a,b\n1,2\n", mtime=0), BINARY),
        ("a.csv", bz2.compress(b"a,b\n1,2\n"), BINARY),
        ("a.csv.zip", zipped(a="a\n1\n", b="a\n2\n"), "there are 2 files in it, and one is expected: zip each table by itself"),
        ("a.csv.zip", "a,b\n1,2\n", "this can't be read as csv: File is not a zip file"),
        ("a.csv.gz", "a,b\n1,2\n", "this can't be read as csv: Not a gzipped file (b'a,')"),
        ("a.csv.gz", gzip.compress(os.urandom(999))[:-99], "this can't be read as csv: Compressed file ended before "),
        ("a.parquet", b"", f"{PARQUET} Parquet file size is 0 bytes"),
        ("a.parquet", b"a,b\n1,2\n" * 9, f"{PARQUET} Parquet magic bytes not found in footer."),
        ("a.parquet", b"PAR1" + bytes(range(256)) + b"PAR1", "this can't be read as parquet: "),
        ("a.parquet", ROWS.to_parquet()[:-20], f"{PARQUET} Parquet magic bytes not found in footer."),
    ],
)  # fmt: skip
def test_what_is_not_a_table_is_refused_by_name(tmp_path, name, content, message):
    path = tmp_path / name if content is None else write(tmp_path / name, content)
    with pytest.raises(BatonError) as raised:
        tables.read_table(path)
    assert str(raised.value).startswith(f"{path}: {message}")


def test_a_folder_is_one_table_without_what_is_hidden_or_set_aside(tmp_path):
    days = tmp_path / "_days"  # a name the source itself gives may be any
    write(days / "b" / "2.tsv.gz", gzip.compress(b"y\tx\n4\t3\n", mtime=0))
    write(days / "a.csv", "x,y\n1,2\n")
    write(days / "header.csv", "x;y\n")
    for other in ["README.md", ".a.csv", "_SUCCESS.csv", ".ipynb_checkpoints/a.csv", "b/_delta_log/1.csv"]:
        write(days / other, "x,y\n8,9\n")
    for source in [days, f"{days}/**/*[v,z]"]:
        assert tables.read_table(source).to_dict("list") == {"x": ["1", "3"], "y": ["2", "4"]}


def test_a_pattern_is_one_table(tmp_path):
    for month in (1, 2, 3):
        write(tmp_path / f"2026-0{month}.csv", f"x,y\n{month},0\n")
    assert tables.read_table(tmp_path / "2026-0[12].csv")["x"].tolist() == ["1", "2"]


@pytest.mark.parametrize(
    ("parts", "decimal"),
    [
        ({"1.csv": "x;y\n1;2\n"}, ","),
        ({"1.csv": "x;y\n1;2\n", "2.txt": "y;x\n1;2\n", "3.csv": "x;y\n1;\n"}, ","),
        ({"1.csv": "x;y\n1;2\n", "2.csv": "x,y\n1,2\n"}, None),
        ({"1.csv": "x,y\n1;2,3\n"}, None),
        ({"1.csv": "x\ty\n1\t2\n"}, None),
        ({"1.csv": "x;y\n1;2\n", "2.parquet": pd.DataFrame({"x": [1], "y": [2]})}, None),
    ],
)
def test_a_semicolon_is_a_hint_that_the_decimal_mark_is_a_comma(tmp_path, parts, decimal):
    for name, content in parts.items():
        write(tmp_path / name, content)
    table = tables.read_table(tmp_path)
    assert table.attrs.get("decimal") == decimal
    assert len(table) == len(parts)


def test_a_path_is_relative_to_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config, "ROOT", tmp_path / "project")
    write(tmp_path / "project" / "data" / "a.csv", "x,y\n1,2\n")
    assert tables.read_table("data/*.csv").to_dict("list") == {"x": ["1"], "y": ["2"]}
    write(tmp_path / "project" / "data" / "a.csv", "x,y\n")
    with pytest.raises(BatonError, match="^data: there is a header with 2 columns, and no row"):
        tables.read_table("data")


def test_parts_of_different_columns_are_refused_by_name(tmp_path):
    first, second = write(tmp_path / "1.csv", "x,y\n1,2\n"), write(tmp_path / "2.csv", "x,z\n1,2\n")
    with pytest.raises(BatonError) as raised:
        tables.read_table(tmp_path)
    assert str(raised.value) == f"{second} and {first} have different columns: only one of them has 'y', 'z'"


def test_a_folder_without_a_table_is_refused(tmp_path):
    write(tmp_path / "README.md", "a,b\n1,2\n")
    with pytest.raises(
        BatonError, match=f"^{tmp_path}: there is no CSV or Parquet file in this folder. It is not here yet"
    ):
        tables.read_table(tmp_path)


DATE = datetime.date(2024, 3, 5)


@pytest.mark.parametrize(
    ("given", "expected", "kind"),
    [
        (pd.Categorical(["a", None]), ["a", NAN], "str"),
        (pd.Categorical([1, None]), [1.0, NAN], "float64"),
        (pd.Categorical([True, None]), [True, pd.NA], "boolean"),
        ([NOON.tz_localize("Europe/Berlin"), None], [NOON - pd.Timedelta("1h"), pd.NaT], "datetime64[us]"),
        (pd.to_timedelta(["1h", None]), [3600.0, NAN], "float64"),
        ([Decimal("1.50"), None], [1.5, NAN], "float64"),
        (pd.array([0.5, None], "float[pyarrow]"), [0.5, NAN], "float32"),
        (pd.array([0.1, None], "double[pyarrow]"), [0.1, NAN], "float64"),
        ([DATE, None], [pd.Timestamp(DATE), pd.NaT], "datetime64[s]"),
        ([datetime.date(9999, 12, 31)], [pd.Timestamp("9999-12-31")], "datetime64[s]"),
        ([datetime.time(10, 30), None], ["10:30:00", NAN], "str"),
        (pd.period_range("2024-01", periods=2, freq="M"), ["2024-01", "2024-02"], "str"),
        (pd.array([1, None], "Int64"), [1, pd.NA], "Int64"),
        (pd.array([True, None], "boolean"), [True, pd.NA], "boolean"),
        (pd.Series([True, None], dtype="object"), [True, pd.NA], "boolean"),
        (pd.Series([DATE, None]).astype("date32[day][pyarrow]"), [pd.Timestamp(DATE), pd.NaT], "datetime64[s]"),
        (pd.array([1, None], "int64[pyarrow]"), [1.0, NAN], "float64"),
        ([[1, 2], None], ["[1 2]", NAN], "str"),
        ([{"a": "x"}, None], ["{'a': 'x'}", NAN], "str"),
        ([None, None], [NAN, NAN], "str"),
    ],
)  # fmt: skip
def test_what_parquet_holds_becomes_number_boolean_date_or_text(tmp_path, given, expected, kind):
    column = tables.read_table(write(tmp_path / "a.parquet", pd.DataFrame({"a": given})))["a"]
    assert (str(column.dtype), [*map(str, column)]) == (kind, [*map(str, expected)])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([1, "a", None, 2.5], ["1", "a", NAN, "2.5"]),
        ([1, 2.5, None], [1.0, 2.5, NAN]),
        ([Decimal("0.10"), 2, 2.5, None], ["0.10", "2", "2.5", NAN]),
        ([datetime.timedelta(hours=1), None], [3600.0, NAN]),
        ([NOON.tz_localize("UTC"), NOON], [NOON, NOON]),
    ],
)
def test_what_databases_mix_in_a_column_becomes_one_kind(monkeypatch, given, expected):
    monkeypatch.setattr(tables, "query", lambda _, take: take(pd.DataFrame({"a": pd.Series(given, dtype="object")})))
    assert [*map(str, tables.read_table("sqlite:///any#table")["a"])] == [*map(str, expected)]


FULL = np.random.default_rng(0).normal(size=1000) * 10.0 ** np.random.default_rng(1).integers(-8, 9, 1000)
WRITTEN = [repr(float(number)) for number in FULL]


@pytest.mark.parametrize(
    "numbers",
    [
        FULL,
        FULL.tolist() + [None],
        pd.array(FULL, "double[pyarrow]"),
        [Decimal(text) for text in WRITTEN],
        [Decimal(text) for text in WRITTEN] + [1, 0.5, None],
        pd.Series(FULL, dtype="object"),
    ],
    ids=["floats", "missing", "arrow", "decimals", "mixed", "objects"],
)
def test_numbers_keep_every_bit(monkeypatch, numbers):
    monkeypatch.setattr(tables, "query", lambda _, take: take(pd.DataFrame({"a": numbers})))
    found = tables.read_table("sqlite:///any#table")["a"]
    assert values.parse_numbers(found)[:1000].tolist() == FULL.tolist()


def test_a_float32_stays_one(tmp_path):
    """So that it can be read as the number that was written, and equals what a CSV says of it."""
    written = pd.DataFrame({"a": FULL.astype("float32")})
    pd.testing.assert_frame_equal(tables.read_table(write(tmp_path / "a.parquet", written)), written)


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (pd.Index([5, 6, 7], name="id"), ["id", "a", "b", "c"]),
        (pd.MultiIndex.from_product([[1], [*"xyz"]], names=["id", None]), ["id", "level_1", "a", "b", "c"]),
        (pd.Index([5, 6, 7]), ["a", "b", "c"]),
    ],
)
def test_a_named_index_of_a_parquet_table_is_data(tmp_path, index, expected):
    assert [*read(tmp_path / "a.parquet", ROWS.set_index(index))] == expected


def test_column_names_are_text(tmp_path):
    assert read(tmp_path / "a.parquet", pd.DataFrame({2024: [1], " b ": [2]})) == {"2024": [1], "b": [2]}


def test_the_same_content_has_the_same_digest_however_often_it_is_read(tmp_path):
    path = write(tmp_path / "a.parquet", ROWS)
    assert tables.digest(tables.read_table(path)) == tables.digest(tables.read_table(path)) == tables.digest(ROWS)


def test_a_digest_is_twelve_hex_digits():
    digest = tables.digest(ROWS)
    assert (len(digest), set(digest) - set("0123456789abcdef")) == (12, set())


@pytest.mark.parametrize(
    "changed",
    [
        ROWS.assign(a=[1, 2, 4]),
        ROWS.assign(b=[0.5, np.nan, 2.0000001]),
        ROWS.assign(b=[0.5, 0.0, 2.0]),
        ROWS.assign(c=["x", "y", "z"]),
        ROWS.assign(c=["x", "y", "nan"]),
        ROWS.rename(columns={"a": "A"}),
        ROWS.astype({"a": "float64"}),
        ROWS.astype({"a": "str"}),
        ROWS.iloc[::-1],
        ROWS[["b", "a", "c"]],
        ROWS.drop(columns="c"),
        ROWS.head(2),
        pd.concat([ROWS, ROWS]),
    ],
    ids=[
        "int",
        "float",
        "missing",
        "text",
        "nan",
        "name",
        "kind",
        "digits",
        "order",
        "columns",
        "fewer",
        "short",
        "twice",
    ],
)
def test_any_change_of_content_changes_the_digest(changed):
    assert tables.digest(changed) != tables.digest(ROWS)


def test_the_index_is_no_content():
    assert tables.digest(ROWS.set_axis([7, 8, 9])) == tables.digest(ROWS)


def test_the_identity_of_files_changes_with_every_byte_of_every_file(tmp_path):
    write(tmp_path / "a.csv", "x,y\n1,2\n")
    folder = str(tmp_path)
    seen = [tables.identity(folder), tables.identity(f"{folder}/a.csv")]
    write(tmp_path / "b" / "b.csv", "x,y\n3,4\n")
    seen += [tables.identity(folder)]
    write(tmp_path / "b" / "b.csv", "x,y\n3,4\n ")
    seen += [tables.identity(folder)]
    assert seen[0] == seen[1]
    assert len({*seen}) == 3
    write(tmp_path / "_b.csv", "x,y\n5,6\n")
    assert tables.identity(folder) == seen[3]


@pytest.mark.parametrize(
    ("source", "named"),
    [
        (None, "none"),
        ("absent.csv", "unreadable: absent.csv: there is no such file."),
        ("sqlite:///absent.db#t", "unreadable: sqlite:///absent.db#t: there is no such file"),
        ("postgresql://me@127.0.0.1:1/db#t", "unreadable: postgresql://me@127.0.0.1:1/db#t: the database says: "),
        ("sqlite:///absent.db", "unreadable: sqlite:///absent.db: name the table behind a #"),
        ("${NO_SUCH_VARIABLE}#t", "unreadable: ${NO_SUCH_VARIABLE}: the environment has no variable NO_SUCH_VARIABLE"),
        ("oracle://h/db#t", "unreadable: oracle://h/db#t: the database says: No module named "),
        ("ftp://host/a.csv#t", "unreadable: ftp://host/a.csv#t: the database says: "),
    ],
)
def test_identity_never_raises(source, named):
    assert tables.identity(source).startswith(named)


@pytest.fixture(params=["sqlite", "postgres"])
def database(request, tmp_path):
    """The address of an empty database, once of each kind."""
    if request.param == "sqlite":
        sqlite3.connect(tmp_path / "a.db").close()
        return f"sqlite:///{tmp_path}/a.db"
    address = request.getfixturevalue("postgres")
    run(
        address,
        "DROP SCHEMA IF EXISTS main CASCADE",
        "DROP SCHEMA public CASCADE",
        "CREATE SCHEMA public",
        "CREATE SCHEMA main",
    )
    return address  # fmt: skip


def run(address, *statements) -> None:
    with tables._connected(address) as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


BATCH = pd.DataFrame(
    {
        "id": [1, 2],
        "prediction": ["it's", None],
        "probability_<50%": [0.1, 0.2],
        'odd "a:b" (c)': [1, 2],
        "at": pd.to_datetime(["2026-01-01 10:00"] * 2, utc=True),
    }
)


def stored(source) -> list:
    return sorted(tables.read_table(source)[["batch", "id"]].itertuples(index=False, name=None))


@pytest.mark.parametrize("name", ["predictions", "main.predictions"])
def test_append_replaces_its_own_batch_only(database, name):
    destination = f"{database}#{name}"
    for batch in ["1", "2", "1"]:
        tables.append([BATCH.assign(batch=batch)], destination, {"batch": batch})
    tables.append([BATCH.head(1).assign(batch="2")], destination, {"batch": "2"})
    assert stored(destination) == [("1", 1), ("1", 2), ("2", 1)]
    there = tables.read_table(destination).astype({"at": "datetime64[us]"})
    again = there[there["batch"] == "1"].drop(columns="batch").reset_index(drop=True)
    pd.testing.assert_frame_equal(again, BATCH.assign(at=BATCH["at"].dt.tz_localize(None)))


def test_a_host_that_vanishes_is_noticed_within_minutes(postgres):
    """By what the system is told to look after: here no host can vanish."""
    with tables._connected(postgres) as connection:
        used = connection.connection.driver_connection._usock
        assert used.gettimeout() is None  # a query may take hours
        assert used.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        told = [
            used.getsockopt(socket.IPPROTO_TCP, getattr(socket, f"TCP_{name}"))
            for name in ("KEEPIDLE", "KEEPINTVL", "KEEPCNT", "USER_TIMEOUT")
        ]
    assert told == [60, 12, 5, 120_000]


def test_a_host_that_does_not_answer_is_given_up(monkeypatch):
    monkeypatch.setattr(tables, "PATIENCE", 1)
    with socket.socket() as server, socket.socket() as other, socket.socket() as another:
        server.bind(("127.0.0.1", 0))
        server.listen(0)  # whoever comes after these two gets no answer
        for client in (other, another):
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        source = f"postgresql://me@127.0.0.1:{server.getsockname()[1]}/db#t"
        with pytest.raises(BatonError, match=f"{source}: the database says: timed out"):
            tables.check_destination(source)


def test_odd_values_are_appended_as_they_are(database):
    texts = ["", None, 'a "quoted", and\na \\N second line', "NULL", "ä"]
    rows = pd.DataFrame(
        {"batch": "1", "a text, odd": texts, "n": [0.1, None, np.inf, -1e-300, 5.0], "b": [True, False] * 2 + [None]}
    )
    destination = f"{database}#odd"
    tables.append([rows, rows.head(1)], destination, {"batch": "1"})
    tables.append([rows], destination, {"batch": "1"})
    with tables._connected(database) as connection:
        stored = connection.exec_driver_sql('SELECT "a text, odd", n, b FROM odd').fetchall()
    assert [[*row] for row in stored] == [
        [text, n, b]
        for text, n, b in zip(texts, [0.1, None, np.inf, -1e-300, 5.0], [True, False, True, False, None], strict=True)
    ]


def test_more_rows_are_appended_than_a_statement_takes(database):
    destination, rows = f"{database}#predictions", pd.DataFrame({"batch": "1", "id": range(80_000)})
    tables.append([rows], destination, {"batch": "1"})
    assert sorted(tables.read_table(destination)["id"]) == [*range(80_000)]
    tables.append([rows.head(3).assign(batch="2")], destination, {"batch": "2"})
    assert tables.count(destination, {"batch": "1"}, ["batch"]) == {("1",): 80_000}
    assert sum(tables.count(destination, {"batch": "2"}, ["batch", "id"]).values()) == 3
    assert tables.count(destination, {"batch": "3"}, ["batch"]) == {}
    assert tables.count(destination, {"batch": "1"}, ["no column"]) == tables.count(f"{database}#no", {}, []) == {}


@pytest.mark.parametrize("there", [True, False])
def test_two_machines_that_append_the_same_rows_at_once_double_none(postgres, there):
    """The table is the same with its schema and without."""
    destination, begun = f"{postgres}#predictions", threading.Barrier(2)
    rows = pd.DataFrame({"batch": "1", "id": range(1000)})
    if there:
        tables.append([rows.assign(batch="0")], destination, {"batch": "0"})

    def parts():
        for part in range(3):
            yield rows
            if part == 0:
                with contextlib.suppress(threading.BrokenBarrierError):
                    begun.wait(1)  # the other one, too, has begun to add; or waits

    with ThreadPoolExecutor(2) as pool:
        names = (destination, f"{postgres}#public.predictions")
        for done in [pool.submit(tables.append, parts(), name, {"batch": "1"}) for name in names]:
            done.result()
    assert tables.count(destination, {"batch": "1"}, ["batch"]) == {("1",): 3000}


def test_an_append_that_fails_half_way_leaves_the_table_as_it_was(database):
    """A constraint of the table refuses the last row, after the batch's old rows are gone."""
    destination = f"{database}#predictions"
    run(database, "CREATE TABLE predictions (batch TEXT, id INTEGER CHECK (id < 9))")
    tables.append([pd.DataFrame({"batch": "1", "id": [1, 2]})], destination, {"batch": "1"})
    with pytest.raises(BatonError, match=f"^{re.escape(destination)}: the database says: .*(?i:constraint)"):
        tables.append([pd.DataFrame({"batch": "1", "id": range(10)})], destination, {"batch": "1"})
    assert stored(destination) == [("1", 1), ("1", 2)]


def test_two_machines_may_make_the_table_with_a_batch_each_at_once(database):
    """The first takes its time before it commits, as to put its files into a store."""
    destination, rows = f"{database}#predictions", pd.DataFrame({"id": range(10)})
    waits = {"0": lambda: time.sleep(2), "1": lambda: None}
    with ThreadPoolExecutor(2) as pool:
        of = [(rows.assign(batch=batch), {"batch": batch}, wait) for batch, wait in waits.items()]
        for done in [pool.submit(tables.append, [part], destination, key, wait) for part, key, wait in of]:
            done.result()
    assert tables.count(destination, {}, ["batch"]) == {("0",): 10, ("1",): 10}


def test_what_a_database_would_refuse_at_the_end_it_refuses_before_the_last_step(postgres):
    destination, last = f"{postgres}#late", []
    unique = "id INTEGER UNIQUE DEFERRABLE INITIALLY DEFERRED"
    run(postgres, "DROP TABLE IF EXISTS late", f"CREATE TABLE late (batch TEXT, {unique})")
    with pytest.raises(BatonError, match="the database says: .*unique"):
        tables.append([pd.DataFrame({"batch": "1", "id": [1, 1]})], destination, {"batch": "1"}, lambda: last.append(1))
    assert (last, tables.count(destination, {}, ["batch"])) == ([], {})


def test_the_last_step_may_take_longer_than_a_role_may_be_idle(otherwise):
    run(otherwise, "ALTER ROLE impatient SET idle_in_transaction_session_timeout TO '300ms'")
    rows = pd.DataFrame({"batch": "1", "id": [1, 2]})
    tables.append([rows], f"{otherwise}#slowly", {"batch": "1"}, lambda: time.sleep(1))
    assert stored(f"{otherwise}#slowly") == [("1", 1), ("1", 2)]


def test_parts_without_a_row_make_no_table_and_take_the_rows_of_before_away(database):
    destination, rows = f"{database}#predictions", pd.DataFrame({"batch": "1", "id": [1, 2]})
    tables.append([rows[:0].astype({"id": "float"})], destination, {"batch": "1"})
    assert tables.count(destination, {}, []) == {}
    tables.append([rows[:0].astype({"id": "float"}), rows], destination, {"batch": "1"})
    assert stored(destination) == [("1", 1), ("1", 2)]
    tables.append([rows[:0]], destination, {"batch": "1"})
    assert tables.count(destination, {"batch": "1"}, ["id"]) == {}


def test_an_append_that_fails_makes_no_table(tmp_path):
    destination = f"sqlite:///{tmp_path}/a.db#predictions"
    with pytest.raises(
        BatonError, match="the database says: Error binding parameter 1: type 'object' is not supported"
    ):
        tables.append([pd.DataFrame({"id": [1, object()]})], destination, {})
    with pytest.raises(BatonError, match="the database says: no such table: predictions"):
        tables.read_table(destination)


def test_append_to_a_table_that_lacks_columns_is_refused(database):
    run(database, "CREATE TABLE predictions (batch TEXT, id INTEGER)", "INSERT INTO predictions VALUES ('1', 7)")
    with pytest.raises(BatonError) as raised:
        tables.append([BATCH[["id", "prediction", "at"]].assign(batch="1")], f"{database}#predictions", {"batch": "1"})
    assert str(raised.value) == (
        f"{database}#predictions: the table exists, and lacks the columns at, prediction;"
        " name another in predictions_table"
    )
    assert stored(f"{database}#predictions") == [("1", 7)]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("notes", {"id": [1, 2, 3], "note": ["50% :x", "it's 10:20:30", NAN]}),
        (" notes ", {"id": [1, 2, 3], "note": ["50% :x", "it's 10:20:30", NAN]}),
        ("main.others", {"k": [7]}),
        ("SELECT id FROM notes WHERE note LIKE '50%'", {"id": [1]}),
        ("SELECT id AS \"The #\" FROM notes WHERE note = 'it''s 10:20:30'", {"The #": [2]}),
        ("SELECT ':x' AS a, '%s' AS b, id % 2 AS c\nFROM notes WHERE note IS NULL;", {"a": [":x"], "b": ["%s"], "c": [1]}),
    ],
)  # fmt: skip
def test_a_table_or_a_query_is_read(database, asked, expected):
    run(database, "CREATE TABLE notes (id INTEGER, note TEXT)", "CREATE TABLE main.others (k INTEGER)")
    run(database, "INSERT INTO notes VALUES (1, '50% :x'), (2, 'it''s 10:20:30'), (3, NULL)")
    run(database, "INSERT INTO main.others VALUES (7)")
    assert str(tables.read_table(f"{database}#{asked}").to_dict("list")) == str(expected)


def test_casts_and_what_postgres_holds_become_number_boolean_date_or_text(postgres):
    query = (
        "SELECT 1.5::numeric AS n, '2024-03-05'::date AS d, '2024-03-05 12:00+02'::timestamptz AS t, true AS b, 3 AS i,"
        " ARRAY[1, 2] AS a, '{\"k\": 1}'::jsonb AS j, '10:30'::time AS c, interval '1 hour' AS v, 12::bigint::text AS x"
        " UNION ALL SELECT " + ", ".join(["NULL"] * 10)
    )
    table = tables.read_table(f"{postgres}#{query}")
    assert {name: (str(column.dtype), str(column[0]), int(column.isna().sum())) for name, column in table.items()} == {
        "n": ("float64", "1.5", 1),
        "d": ("datetime64[s]", "2024-03-05 00:00:00", 1),
        "t": ("datetime64[us]", "2024-03-05 10:00:00", 1),
        "b": ("boolean", "True", 1),
        "i": ("float64", "3.0", 1),
        "a": ("str", "[1, 2]", 1),
        "j": ("str", "{'k': 1}", 1),
        "c": ("str", "10:30:00", 1),
        "v": ("float64", "3600.0", 1),
        "x": ("str", "12", 1),
    }  # fmt: skip


KINDS = {
    "big": "bigint", "small": "smallint", "n": "numeric", "f": "double precision", "r": "real", "t": "text",
    "c": "char(3)", "v": "varchar(9)", "b": "boolean", "d": "date", "at": "timestamp", "zone": "timestamptz",
    "odd %s name": "integer",
}  # fmt: skip
VALUES = [
    [9007199254740993, -1, "0.1", "Infinity", "0.1", "", "a", "NULL", True, "1000-01-01", "1900-01-01 00:00:00.000001"],
    [
        7,
        32767,
        "12345678901234567890.5",
        "NaN",
        "1e30",
        ' "q", \\. 50%',
        "b",
        "é\n\r\n",
        False,
        "2026-11-27",
        "9999-12-31",
    ],
    [None] * 11,
    [-7, 0, "NaN", "1e-300", "-0", "t", "", "", None, "2000-02-29", "2000-01-01"],
]
EXTRA = [["1969-12-31 23:59:59+05:30", 1], ["2026-01-01 12:00:00.5-08", 2], [None, None], ["2000-01-01+00", 4]]


@pytest.mark.parametrize("rows", [None, 1, 3, 4, 100])
@pytest.mark.parametrize("day", ["2026-01-01", "infinity"])
def test_postgres_gives_the_same_rows_by_copy_as_one_by_one(postgres, monkeypatch, rows, day):
    columns = ", ".join(f'"{name}" {kind}' for name, kind in KINDS.items())
    run(postgres, 'DROP TABLE IF EXISTS "All Kinds"', f'CREATE TABLE "All Kinds" ({columns})')
    with tables._connected(postgres) as connection:
        for values in [[*first, *second] for first, second in zip(VALUES, EXTRA, strict=True)]:
            connection.exec_driver_sql(f'INSERT INTO "All Kinds" VALUES ({", ".join(["%s"] * 13)})', tuple(values))
        connection.exec_driver_sql('UPDATE "All Kinds" SET d = %s WHERE small = 0', (day,))
    sources = ['SELECT * FROM "All Kinds" ORDER BY small NULLS FIRST -- and so on']
    sources += ['SELECT "odd %s name" % 2 AS a, big::text FROM "All Kinds" WHERE t LIKE \'%50%%\';']
    sources += ['SELECT * FROM "All Kinds" WHERE small = 99']
    for source in sources:
        by_copy, one_by_one = [], []
        with monkeypatch.context() as patched:
            patched.setattr(pd, "read_sql_query", None)
            tables.query(f"{postgres}#{source}", by_copy.append, rows)
        with monkeypatch.context() as patched:
            patched.setattr(tables, "COPIED", {})
            tables.query(f"{postgres}#{source}", one_by_one.append, rows)
        assert [*map(len, by_copy)] == [*map(len, one_by_one)]
        for pair in zip(by_copy, one_by_one, strict=True):
            assert [*pair[0]] == [*pair[1]]
            # NaN is missing, as NULL is; a column without any value is of no kind; days may be texts in parts.
            as_one = dict.fromkeys(pair[0].columns[pair[1].dtypes == "Float64"], "float64") | dict.fromkeys(
                {"d"} & {*pair[0]}, "str"
            )
            pair = [part.astype(as_one) for part in pair]
            there = pair[1].columns[pair[1].notna().any()]
            pd.testing.assert_frame_equal(*(part[there] for part in pair), check_exact=True)


@pytest.fixture
def otherwise(postgres):
    """The address of a database, and of a role, that are set up in another way than most."""
    for statement in (
        "DROP DATABASE IF EXISTS otherwise", "DROP ROLE IF EXISTS impatient",
        "CREATE DATABASE otherwise ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
        "CREATE ROLE impatient LOGIN SUPERUSER PASSWORD 'x'", "ALTER ROLE impatient SET datestyle TO 'German'",
        "ALTER ROLE impatient SET extra_float_digits TO '-5'", "ALTER ROLE impatient SET statement_timeout TO '500ms'", "ALTER ROLE impatient SET client_encoding TO 'LATIN1'",
    ):  # fmt: skip
        with tables._connected(postgres) as connection:
            driver = connection.connection.driver_connection
            driver.rollback()
            driver.autocommit = True  # no transaction makes a database
            driver.cursor().execute(statement)
    at = postgres.partition("@")[2].rpartition("/")[0]
    return f"postgresql://impatient:x@{at}/otherwise"


@pytest.mark.parametrize("rows", [None, 2])
def test_values_are_the_same_whatever_is_usual_for_a_database_or_a_role(otherwise, rows):
    texts = ["Ã¤", "Müller", "\u00ad", ""]
    chosen = " UNION ALL ".join(
        f"SELECT {n} AS n, '{text}' AS t, '2026-02-01 03:04:05'::timestamp AS at, 1.2345678901234567::float8 AS x"
        for n, text in enumerate(texts)
    )
    found = []
    tables.query(f"{otherwise}#{chosen}", found.append, rows)
    found = pd.concat(found)
    assert found["x"].tolist() == [1.2345678901234567] * 4
    assert found["t"].tolist() == texts
    assert found["at"].tolist() == [pd.Timestamp("2026-02-01 03:04:05")] * 4
    slow = "SELECT n, (pg_sleep(0.1) IS NULL) AS t FROM generate_series(1, 12) AS n"
    answers = []
    tables.query(f"{otherwise}#{slow}", answers.append, rows)
    assert sum(map(len, answers)) == 12


def test_an_answer_is_given_on_in_parts_of_some_bytes_and_each_value_keeps_what_it_begins_with(postgres):
    asked, found = "SELECT E'\\ufeff' || n AS t, repeat('x', 1000) AS x FROM generate_series(1, 9) AS n", []
    tables.query(f"{postgres}#{asked}", found.append, 100, 3000)
    assert [*map(len, found)] == [3, 3, 3]
    assert pd.concat(found)["t"].tolist() == [f"\ufeff{n}" for n in range(1, 10)]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), BatonError("ended from outside"), KeyboardInterrupt()]
)
def test_what_goes_wrong_with_an_answer_is_told_as_it_is(database, error):
    run(database, "CREATE TABLE many (a INTEGER)", f"INSERT INTO many VALUES {', '.join(['(1)'] * 5000)}")

    def take(part):
        raise error

    with pytest.raises(type(error)) as raised:
        tables.query(f"{database}#many", take, 10)
    assert raised.value is error
    assert len(tables.read_table(f"{database}#many")) == 5000


def test_whoever_ends_a_query_need_not_wait_for_the_database(postgres):
    def end(*_):
        raise BatonError("ended from outside")

    run(postgres, "DROP TABLE IF EXISTS locked", "CREATE TABLE locked (a INTEGER)")
    before = signal.signal(signal.SIGALRM, end)
    try:
        with tables._connected(postgres) as connection:
            connection.exec_driver_sql("LOCK TABLE locked")
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            begun = time.monotonic()
            with pytest.raises(BatonError, match="^ended from outside$"):
                tables.read_table(f"{postgres}#locked")
            assert time.monotonic() - begun < 10  # it is locked for as long as this takes
    finally:
        signal.signal(signal.SIGALRM, before)


def test_the_identity_of_a_database_changes_with_every_row(database):
    run(database, "CREATE TABLE t (a INTEGER)", "INSERT INTO t VALUES (1), (2)")
    seen = [tables.identity(f"{database}#t"), tables.identity(f"{database}#t")]
    for change in ["INSERT INTO t VALUES (3)", "UPDATE t SET a = 4 WHERE a = 3", "UPDATE t SET a = NULL WHERE a = 4"]:
        run(database, change)
        seen.append(tables.identity(f"{database}#t"))
    assert seen[0] == seen[1]
    assert len({*seen}) == 4


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("#absent", '#absent: the database says: relation "absent" does not exist'),
        ("#SELECT 1 AS a, 2 AS a", "#SELECT 1 AS a, 2 AS a: more than one column has the name 'a'"),
        ("#SELECT 1 AS a WHERE false", "#SELECT 1 AS a WHERE false: there is a header with 1 columns, and no row."),
        ("#SELEC 1", '#SELEC 1: the database says: syntax error at or near "SELEC"'),
        ("", ": name the table behind a #, as in sqlite:///warehouse.db#customers"),
        ("/#t", '/#t: the database says: database "postgres/" does not exist'),
    ],
)
def test_a_database_that_has_no_such_table_says_so(postgres, asked, message):
    with pytest.raises(BatonError) as raised:
        tables.read_table(postgres + asked)
    assert str(raised.value) == postgres + message


@pytest.mark.parametrize("secret", ["wrong @/:x%1#'?", "postgresql://me:wrong%20%40%2Fx@{at}", "no URL, but secret"])
@pytest.mark.parametrize("source", ["postgresql://me:${S}@{at}#t", "postgresql://me:${S}@127.0.0.1:1/x#t", "${S}#t"])
def test_no_message_holds_a_password(postgres, monkeypatch, secret, source):
    at = postgres.partition("@")[2]
    secret = secret.replace("{at}", at)
    monkeypatch.setenv("S", secret)
    with pytest.raises(BatonError) as raised:
        tables.read_table(source.replace("{at}", at))
    message = str(raised.value)
    assert message.startswith(f"{source.replace('{at}', at)}: the database says: ")
    assert not [word for word in (secret, urllib.parse.quote(secret, safe=""), "wrong", "secret") if word in message]


@pytest.mark.parametrize(
    "source", ["postgresql://${S}:x@{server}/postgres#t", "postgresql://me:${ODD}@{server}/${S}#t"]
)
def test_what_the_database_repeats_of_the_environment_is_not_shown(postgres, monkeypatch, source):
    monkeypatch.setenv("S", "wrong @/x'")
    source = source.replace("{server}", postgres.partition("@")[2].partition("/")[0])
    with pytest.raises(BatonError, match=r'the database says: .*"\$\{S\}"') as raised:
        tables.read_table(source)
    assert "wrong" not in str(raised.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("postgresql://me:${WRONG}@{at}#t", 'the database says: password authentication failed for user "me"'),
        ("postgres://me:${WRONG}@{at}#t", 'the database says: password authentication failed for user "me"'),
        ("postgresql://me:${ODD}@127.0.0.1:1/x#t", r"the database says: \[Errno \d+\] Connection refused"),
        ("postgresql://me:${ODD}@nowhere.invalid/x#t", r"the database says: \[Errno -?\d+\] .*"),
        ("${URL}#absent", 'the database says: relation "absent" does not exist'),
        ("${URL}", "name the table behind a #, as in sqlite:///warehouse.db#customers"),
    ],
)
def test_a_database_that_cannot_be_reached_says_why(postgres, monkeypatch, source, message):
    at = postgres.partition("@")[2]
    monkeypatch.setenv("WRONG", "wrong")
    monkeypatch.setenv("URL", f"postgresql://me:{urllib.parse.quote(os.environ['ODD'], safe='')}@{at}")
    source = source.replace("{at}", at)
    for act in [tables.read_table] + [tables.check_destination] * ("absent" not in source):
        with pytest.raises(BatonError, match=rf"^{re.escape(source)}: {message}$"):
            act(source)


def test_a_missing_variable_is_named(monkeypatch):
    monkeypatch.delenv("PASSWORD", raising=False)
    with pytest.raises(BatonError) as raised:
        tables.check_destination("postgresql://me:${PASSWORD}@127.0.0.1:1/x#t")
    assert str(raised.value) == (
        "postgresql://me:${PASSWORD}@127.0.0.1:1/x: the environment has no variable PASSWORD."
        " Set it where this runs: export PASSWORD=…"
    )


@pytest.mark.parametrize("source", ["sqlite:///{folder}/a b.db#t", "sqlite:///${FOLDER}/a b.db#t", "${URL}#t", "sqlite:///a b.db#t"])  # fmt: skip
def test_a_sqlite_file_may_be_named_in_any_way(tmp_path, monkeypatch, source):
    monkeypatch.setattr(config, "ROOT", tmp_path)
    monkeypatch.setenv("FOLDER", str(tmp_path))
    monkeypatch.setenv("URL", f"sqlite:///{tmp_path}/a b.db")
    source = source.replace("{folder}", str(tmp_path))
    with pytest.raises(BatonError) as raised:
        tables.read_table(source)
    assert str(raised.value) == f"{source}: there is no such file, and reading would make an empty one"
    assert [*tmp_path.iterdir()] == []
    tables.append([pd.DataFrame({"a": [1]})], source, {})
    assert tables.read_table(source).to_dict("list") == {"a": [1]}
    assert [file.name for file in tmp_path.iterdir()] == ["a b.db"]
