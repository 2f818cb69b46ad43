"""A table is read whole or refused with one clear message, and is named by its content."""

import numpy as np
import pandas as pd
import pytest

from baton import BatonError, tables

ROWS = pd.DataFrame({"a": [1, 2, 3], "b": [0.5, np.nan, 2.0], "c": ["x", "y", None]})


def write(path, content):
    """Write text, bytes or a frame to a path, as its suffix says; return the path."""
    if isinstance(content, pd.DataFrame):
        if path.suffix.lower() == ".csv":
            content.to_csv(path, index=False)
        else:
            content.to_parquet(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "A.CSV", "a.b.Parquet"])
def test_a_table_comes_back_as_it_was_written(tmp_path, name):
    pd.testing.assert_frame_equal(tables.read_table(write(tmp_path / name, ROWS)), ROWS)


def test_a_path_may_be_text(tmp_path):
    assert tables.read_table(str(write(tmp_path / "a.csv", "a,b\n1,2\n"))).to_dict("list") == {"a": [1], "b": [2]}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("absent.csv", None, "there is no such file. Set train_data and score_data in env.yaml"),
        ("absent.parquet", None, "there is no such file. Set train_data and score_data in env.yaml"),
        ("a.xlsx", "PK", r"can't read a .xlsx file; give one of: .csv, .parquet"),
        ("table", "a,b\n1,2\n", r"can't read a nameless file; give one of: .csv, .parquet"),
        ("a.csv.gz", "", r"can't read a .gz file"),
        ("a.csv", "", "the file is empty; expected a header line and rows"),
        ("a.csv", "\n\n", "the file is empty; expected a header line and rows"),
        ("a.csv", "a,b,c\n", "there is a header with 3 columns, and no row"),
        ("a.parquet", ROWS.head(0), "there is a header with 3 columns, and no row"),
        ("a.csv", bytes(range(256)) * 4, "this can't be read as a table: .*utf-8"),
        ("a.csv", "a,b\n1,2\n3,4,5\n", "this can't be read as a table: .*Expected 2 fields in line 3, saw 3"),
        ("a.parquet", b"", "this can't be read as a table: .*0 bytes"),
        ("a.parquet", b"a,b\n1,2\n" * 9, "this can't be read as a table: .*Parquet"),
        ("a.parquet", b"PAR1" + bytes(range(256)) + b"PAR1", "this can't be read as a table: .*Parquet"),
    ],
)
def test_what_is_not_a_table_is_refused_by_name(tmp_path, name, content, said):
    path = tmp_path / name
    if content is not None:
        write(path, content)
    with pytest.raises(BatonError, match=rf"(?s)^{path}: {said}"):
        tables.read_table(path)


def test_a_parquet_file_that_was_cut_short_is_refused_by_name(tmp_path):
    path = write(tmp_path / "a.parquet", ROWS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BatonError, match=rf"^{path}: this can't be read as a table: .*Parquet"):
        tables.read_table(path)


def test_rows_with_more_values_than_the_header_has_names_are_refused(tmp_path):
    """pandas would take the first value for a row's name and shift all others one column to the left."""
    with pytest.raises(BatonError, match="a.csv: some rows have more values than the header has names"):
        tables.read_table(write(tmp_path / "a.csv", "a,b\n1,2,3\n4,5,6\n"))


def test_a_comma_at_the_end_of_every_row_shifts_nothing(tmp_path):
    assert tables.read_table(write(tmp_path / "a.csv", "a,b\n1,2,\n4,5,\n")).to_dict("list") == {
        "a": [1, 4],
        "b": [2, 5],
    }


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_the_same_content_has_the_same_digest_however_often_it_is_read(tmp_path, name):
    path = write(tmp_path / name, ROWS)
    assert (
        tables.digest(tables.read_table(path)) == tables.digest(tables.read_table(path)) == tables.digest(ROWS.copy())
    )


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
        "name",
        "kind",
        "text of numbers",
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
