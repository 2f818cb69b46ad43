"""The sample tables are what make_diabetes.py makes of the published table, whole and unchanged."""

import hashlib

import pandas as pd
import pytest
from conftest import load_script

from baton import config

DATA = config.ROOT / "data"
TABLES = ["diabetes_train.csv", "diabetes_test.csv"]
ROWS = 768


@pytest.fixture(scope="module")
def make_diabetes():
    return load_script(DATA / "make_diabetes.py")


@pytest.fixture
def source(tmp_path):
    """Put the published table together again from the two files: its CRLF line ends, and whole numbers without .0."""
    train, test = (pd.read_csv(DATA / name, dtype=str) for name in TABLES)
    positions = pd.DataFrame(index=range(ROWS))
    later = positions.sample(frac=0.25, random_state=0).sort_index().index
    whole = pd.concat([train.set_axis(positions.drop(later).index), test.set_axis(later)]).sort_index()
    whole = whole.apply(lambda column: column.str.removesuffix(".0"))
    path = tmp_path / "diabetes.csv"
    path.write_bytes(whole.to_csv(index=False, lineterminator="\r\n").removesuffix("\r\n").encode())
    return path


def test_the_two_tables_together_are_the_published_one_to_the_byte(source, make_diabetes):
    assert hashlib.sha256(source.read_bytes()).hexdigest() == make_diabetes.SHA256


def test_splitting_it_again_gives_the_same_bytes(source, make_diabetes, tmp_path):
    make_diabetes.split(source, tmp_path)
    assert [(tmp_path / name).read_bytes() for name in TABLES] == [(DATA / name).read_bytes() for name in TABLES]


@pytest.mark.parametrize(
    "change",
    [lambda table: table.replace(b"\r\n", b"\n"), lambda table: table.replace(b"148", b"149", 1), lambda table: b""],
)
def test_another_table_is_refused_and_nothing_is_written(source, make_diabetes, tmp_path, change):
    source.write_bytes(change(source.read_bytes()))
    found = hashlib.sha256(source.read_bytes()).hexdigest()
    with pytest.raises(SystemExit, match=f"SHA256 is {found}, expected {make_diabetes.SHA256}; this is another table"):
        make_diabetes.split(source, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["diabetes.csv"]


@pytest.mark.parametrize(("name", "rows", "positive"), [(TABLES[0], 576, 206), (TABLES[1], 192, 62)])
def test_the_tables_have_these_rows(name, rows, positive):
    table = pd.read_csv(DATA / name)
    assert (len(table), table["Outcome"].sum(), table.isna().sum().sum()) == (rows, positive, 0)
    assert [*table] == [
        *["Pregnancies", "Glucose", "BloodPressure", "SkinThickness", "Insulin"],
        *["BMI", "DiabetesPedigreeFunction", "Age", "Outcome"],
    ]


def test_no_row_is_in_both_tables():
    train, test = (pd.read_csv(DATA / name) for name in TABLES)
    assert train.merge(test).empty
