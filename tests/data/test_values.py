"""How a column writes its values is learned once, and a value then means the same in whatever rows it arrives."""

import dataclasses
import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from baton.data import values
from baton.data.values import Format

NAN = float("nan")
NOON = pd.Timestamp("2024-03-05 12:00")
DAY = pd.Timestamp("2024-03-05")
MARKERS = ["", " ", "?", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "Null", "nil", "<NA>", "NaT"]
MARKERS += ["-", "--", ".", "None", "none", "NONE"]


def format_of(text: str) -> Format:
    """A format as the tables below write it: its kind, then a decimal comma, a sign, or how dates are written."""
    kind, _, written = text.partition(" ")
    if kind == "date":
        return Format(kind, date=written or values.ISO)
    return Format(kind, "," if "," in written else ".", written.strip(", ") or None)


def learn(column, **others) -> Format:
    return values.learn_formats(pd.DataFrame({"a": column, **others}))["a"]


def read(column, how: str) -> list:
    return values.read(pd.Series(column), format_of(how))[0].tolist()


@pytest.mark.parametrize(
    ("column", "how"),
    [
        ([1, 2], "number"),
        ([0.5, None], "number"),
        ([2**53 + 1, 2**60], "number"),
        (pd.array([1, None], dtype="Int64"), "number"),
        (pd.array([1, None], dtype="int64[pyarrow]"), "number"),
        ([True, False], "boolean"),
        (pd.array([True, None], dtype="boolean"), "boolean"),
        (pd.array([True, None], dtype="bool[pyarrow]"), "boolean"),
        ([True, False, None], "boolean"),
        (pd.to_datetime(["2024-01-01", None]), "date"),
        (["a", None], "text"),
        ([None, None], "text"),
        (pd.Series([1, "2", 3.5, Decimal("4"), None], dtype="object"), "number"),
        (pd.Series([1, "b"], dtype="object"), "text"),
        # A CSV has text alone.
        (["1", "2"], "number"),
        (["+1", "-2.5", " 5 ", "1e-3", ".5", "inf", *MARKERS], "number"),
        (["0", "0.5", "-0.25", "123456789012345"], "number"),
        (["0.12345678901234567", "1"], "number"),
        (["01067", "1"], "text"),
        (["-01", "1"], "text"),
        (["1234567890123456", "1"], "text"),
        (["-1234567890123456", "1"], "text"),
        (["1", "2", "x"], "text"),
        (["1,234", "-1,234,567.5", "12"], "number"),
        (["0,123", "1,234"], "number ,"),
        (["12,34", "1,234"], "number ,"),
        (["1,5", "2"], "number ,"),
        (["1.234.567", "2"], "number ,"),
        (["1.234,50 €", "-7 €", "?"], "number ,€"),
        (["1,5", "2.5"], "text"),
        (["$1,929.15", "-$7.5", "$ 12", "5", "?"], "number $"),
        (["1,200.5 €", "5€"], "number €"),
        (["5%", "45.5 %"], "number %"),
        (["$5", "€5"], "text"),
        (["$5", "5$5"], "text"),
        (["$", "5"], "text"),
        (["0x1A", "1"], "text"),
        (["1_000", "1"], "text"),
        (["True", "false", "TRUE", "?"], "boolean"),
        (["yes", "no"], "text"),
        (["true", "1"], "text"),
        (["2024-03-05", "2024-03-06 12:30", "2024-03-07T12:30:15Z", ""], "date"),
        (["2024-01", "2024-02"], "date"),
        (["31.12.2020", "1.2.2020", "-"], "date %d.%m.%Y"),
        (["01.01.2020", "01.02.2020"], "date %d.%m.%Y"),
        (["31.12.2020 10:00", "01.02.2020 11:30"], "date %d.%m.%Y %H:%M"),
        (["12/31/2020", "01/02/2020"], "date %m/%d/%Y"),
        (["31/12/2020", "01/02/2020"], "date %d/%m/%Y"),
        (["5 Jan 2020", "15 Feb 2021"], "date %d %b %Y"),
        (["12/31/2020 11:59:00 PM", "1/2/2020 1:05:00 AM"], "date %m/%d/%Y %I:%M:%S %p"),
        (["12/31/2020 11:59:00 AM", "1/2/2020 1:05:00 PM"], "date %m/%d/%Y %I:%M:%S %p"),
        (["31.12.2020 11:59pm", "1.2.2020 1:05am"], "date %d.%m.%Y %I:%M%p"),
        (["10:30", "9:15"], "date %H:%M"),
        (["10:30:15", "09:15:00"], "date %H:%M:%S"),
        (["9999-12-31", "0001-01-01"], "date"),
        # What looks like a date and is none.
        (["2:1", "3:0"], "text"),
        (["1.5 am", "2.5 pm"], "text"),
        (["25:00", "26:00"], "text"),
        (["20-30", "30-40"], "text"),
        (["05-09", "10-12"], "text"),
        (["1.2.3", "2.0.1"], "text"),
        (["10.0.0.1", "10.0.0.2"], "text"),
        (["555-1234", "555-9876"], "text"),
        (["120/80", "130/85"], "text"),
        (["2024-01-01", "soon"], "text"),
        (["2024-01-01", "31.12.2020"], "text"),
        (pd.Categorical(["1", "2"]), "number"),
        (pd.period_range("2024-01", periods=2, freq="M"), "date"),
    ],
)
def test_the_format_of_a_column_is_learned(column, how):
    expected = format_of(how)
    if pd.api.types.is_numeric_dtype(pd.Series(column)) and expected.kind == "number":
        expected = dataclasses.replace(expected, decimal=None)  # what is no text has no mark
    assert dataclasses.replace(learn(column), thousands=True) == expected


@pytest.mark.parametrize(
    ("others", "hint", "decimal"),
    [
        ({}, None, "."),
        ({}, ",", ","),
        ({"b": ["1", "2"]}, ",", ","),  # whole numbers don't tell
        ({"b": ["0,5", "7"]}, None, ","),
        ({"b": ["0.5", "7"]}, ",", "."),
        ({"b": ["0,5", "7"], "c": ["0,5", "7"], "d": ["0.5", "7"]}, None, ","),
        ({"b": ["0,5", "7"], "c": ["0.5", "7"]}, None, "."),
        ({"b": ["0,5", "7"], "c": ["0.5", "7"]}, ",", ","),
        ({"b": [0.5, 7]}, ",", ","),  # these were never written
    ],
)
@pytest.mark.parametrize("written", [["1.234", "-12"], ["1,234", "12"], ["1.234 €", None]])
def test_numbers_that_can_be_read_in_two_ways_are_read_as_the_other_columns(others, hint, decimal, written):
    table = pd.DataFrame({"a": written, **others})
    table.attrs = {"decimal": hint} if hint else {}
    assert values.learn_formats(table)["a"].decimal == decimal


@pytest.mark.parametrize(
    ("column", "ambiguous"),
    [
        (["1.234", "5"], True),
        (["1,234", "?"], True),
        (["1.234 €", "2.000 €"], True),
        (["1.234", "2.5"], False),
        (["1.234", "2,5"], False),
        (["1", "22"], False),
        (["0.123"], False),
        (["1.234", "x"], False),
        (["1.2.2020"], False),
        ([1.234], False),
        ([], False),
    ],
)
def test_a_column_that_can_be_read_in_two_ways_is_pointed_out(column, ambiguous):
    assert values.is_ambiguous(pd.Series(column)) == ambiguous


MIXED = pd.Series(["3", 3, 3.0, Decimal("3.0"), "?", None], dtype="object")


@pytest.mark.parametrize(
    ("column", "how", "expected"),
    [
        ([1, 2], "number", [1.0, 2.0]),
        (["3", "3.0", " 3 ", "+3", "3e0", None], "number", [3.0] * 5 + [NAN]),
        (MIXED, "number", [3.0] * 4 + [NAN] * 2),
        (["1,234", "-1,234,567.5", "12"], "number", [1234.0, -1234567.5, 12.0]),
        (["1.234", "-1.234.567,5", "12", ",5", "1,5e-05"], "number ,", [1234.0, -1234567.5, 12.0, 0.5, 1.5e-05]),
        (["1.234,50 €", "€ 7", "-1.000 €", "2,5", 3.5], "number ,€", [1234.5, 7.0, -1000.0, 2.5, NAN]),
        ([1.5, None], "number ,", [1.5, NAN]),
        (["$1,929.15", "-$7.5", "$ 12", "5", "?"], "number $", [1929.15, -7.5, 12.0, 5.0, NAN]),
        (["1,200 €", 5], "number €", [1200.0, 5.0]),
        (["5%", 45.5], "number %", [5.0, 45.5]),
        (["inf", "-Infinity", "INF", "+inf"], "number", [np.inf, -np.inf, np.inf, np.inf]),
        (["1_000", "0x1A", "1,5", "1.2.3", "--1", "1e", "e5", "+"], "number", [NAN] * 8),
        (MARKERS, "number", [NAN] * len(MARKERS)),
        ([None, None], "number", [NAN, NAN]),
        (pd.array([1, None], dtype="Int64"), "number", [1.0, NAN]),
        (pd.array([0.1, None], dtype="float[pyarrow]"), "number", [0.1, NAN]),
        (pd.array([0.1, None], dtype="Float32"), "number", [0.1, NAN]),
        ([True, False], "number", [1.0, 0.0]),
        ([True, False], "boolean", [1.0, 0.0]),
        ([True, None], "boolean", [1.0, NAN]),
        (pd.array([True, None], dtype="boolean"), "boolean", [1.0, NAN]),
        (["True", "false ", "FALSE", "1", "0.0", "n/a"], "boolean", [1.0, 0.0, 0.0, 1.0, 0.0, NAN]),
        (pd.Series([True, "true", 1, 1.0, "1", None], dtype="object"), "boolean", [1.0] * 5 + [NAN]),
        ([1.0, 0.0, None], "boolean", [1.0, 0.0, NAN]),
        (MARKERS, "boolean", [NAN] * len(MARKERS)),
        ([NOON, None], "date", [NOON, pd.NaT]),
        ([NOON.tz_localize("Europe/Berlin"), None], "date", [NOON - pd.Timedelta("1h"), pd.NaT]),
        ([NOON.isoformat(), "2024-03-05 12:00", "2024-03-05T13:00+01:00", "?"], "date", [NOON] * 3 + [pd.NaT]),
        (["05.03.2024", "5.3.2024", "2024-03-05", ""], "date %d.%m.%Y", [DAY] * 3 + [pd.NaT]),
        ([datetime.date(2024, 3, 5), None], "date %d.%m.%Y", [DAY, pd.NaT]),
        ([datetime.datetime(2024, 3, 5), None], "date %d.%m.%Y", [DAY, pd.NaT]),
        (["9:05", "12:00"], "date %H:%M", [pd.Timestamp("1900-01-01 09:05"), pd.Timestamp("1900-01-01 12:00")]),
        (MARKERS, "date", [pd.NaT] * len(MARKERS)),
        ([], "date", []),
        (["a", None], "text", ["a", None]),
        ([" a ", "A", "never seen"], "text", ["a", "A", "never seen"]),
        (MARKERS, "text", [None] * len(MARKERS)),
        ([10, 20], "text", ["10", "20"]),
        ([10.0, 1.5, None, np.inf], "text", ["10", "1.5", None, "inf"]),
        (pd.Series([0.1, 3], dtype="float32"), "text", ["0.1", "3"]),
        (pd.array([2**53 + 1, None], dtype="Int64"), "text", ["9007199254740993", None]),
        (["007", "7"], "text", ["007", "7"]),
        ([True, False], "text", ["True", "False"]),
        (pd.Categorical(["a", "?", None]), "text", ["a", None, None]),
    ],
)
def test_values_are_read_by_the_format(column, how, expected):
    assert [*map(str, read(column, how))] == [*map(str, expected)]


@pytest.mark.parametrize(
    ("column", "how", "unreadable"),
    [
        (["1", "ten", None, "x", "?"], "number", [False, True, False, True, False]),
        (["$5", "€6"], "number $", [False, True]),
        (["$5", "5"], "number", [True, False]),
        (["1,5", "true"], "number", [True, True]),
        (["1.5", "1.234.5", "1,5"], "number ,", [True, True, False]),
        (["yes", "True", None], "boolean", [True, False, False]),
        ([1, 7], "boolean", [False, True]),
        (["?", "soon"], "date", [False, True]),
        (["05.03.2024"], "date", [True]),
        (["03/05/2024", "05.03.2024"], "date %d.%m.%Y", [True, False]),
        # pandas would count these in nanoseconds since 1970, and a model would take them without a word.
        ([NOON, None], "number", [True, False]),
        ([20240305, None], "date", [True, False]),
        (["anything", 1, "?"], "text", [False, False, False]),
    ],
)
def test_values_of_another_format_are_told_from_missing_ones(column, how, unreadable):
    assert values.read(pd.Series(column), format_of(how))[1].tolist() == unreadable


@pytest.mark.parametrize("column", [[1, 0], ["1", "0"], [True, False], [1.0, None], ["", None], []])
@pytest.mark.parametrize("kind", ["number", "boolean"])
def test_numbers_and_booleans_are_float64_with_and_without_missing_values(column, kind):
    assert values.read(pd.Series(column), Format(kind))[0].dtype == "float64"


@pytest.mark.parametrize("how", ["number", "number ,€", "boolean", "date", "date %d.%m.%Y", "text"])
@pytest.mark.parametrize("dtype", ["object", "str", "string", "category", "string[pyarrow]"])
def test_the_index_is_kept_even_if_it_repeats(how, dtype):
    found, unreadable = values.read(pd.Series(["1", None, "true"], [4, 4, 2], dtype=dtype), format_of(how))
    assert (found.index.tolist(), unreadable.index.tolist()) == ([4, 4, 2], [4, 4, 2])
    assert found.isna().tolist()[1]


FULL = np.random.default_rng(0).normal(size=1000) * 10.0 ** np.random.default_rng(1).integers(-8, 9, 1000)


@pytest.mark.parametrize("decimal", [".", ","])
def test_numbers_in_text_are_read_to_the_last_bit_as_python_reads_them(decimal):
    texts = pd.Series([repr(float(number)).replace(".", decimal) for number in FULL])
    assert (values.parse_numbers(texts, decimal).to_numpy() == FULL).all()


@pytest.mark.parametrize("dtype", ["float32", "Float32", "float[pyarrow]"])
def test_a_float32_is_the_number_that_was_written(dtype):
    written = FULL.round(6).astype("float32").astype("str").astype("float64")
    assert (values.parse_numbers(pd.Series(written).astype(dtype)).to_numpy() == written).all()


NIGHT = {
    "number": ["3", " 3.0", "1e2", "-", "inf", "", "1,234"],
    "number ,%": ["3", "3,0 %", "1.234", "-", "1.234,5%", "", "1,234"],
    "boolean": ["true", "FALSE", "1", "?", "0.0", ""],
    "date %d.%m.%Y": ["05.03.2024", "5.3.2024", "2024-03-05", "n/a", "31.12.9999", ""],
    "date": ["2024-03-05", "2024-03-05 12:00:00.123456", "2024-03-05T12:00Z", "NaT", "0001-01-01", ""],
    "date %H:%M": ["10:30", "9:15", "00:00", "--", "23:59", ""],
    "text": ["01", "1", " 1.0", "none", "Ärger, \n;", ""],
}


@pytest.mark.parametrize("how", NIGHT)
def test_reading_values_twice_changes_nothing(how):
    once, _ = values.read(pd.Series(NIGHT[how]), format_of(how))
    pd.testing.assert_series_equal(values.read(once, format_of(how))[0], once)


@pytest.mark.parametrize("how", NIGHT)
def test_what_a_value_means_depends_on_no_other_row(how):
    column = pd.Series(NIGHT[how])
    whole, _ = values.read(column, format_of(how))
    for row in column.index:
        pd.testing.assert_series_equal(values.read(column[[row]], format_of(how))[0], whole[[row]])


@pytest.mark.parametrize(
    ("column", "present"),
    [
        (["a", *MARKERS, None, " b "], ["a", "b"]),
        ([1.0, None, 0.0], [1.0, 0.0]),
        ([None, None], []),
        (pd.Categorical(["a", "?"]), ["a"]),
        (pd.to_datetime(["2024-03-05", None]), [DAY]),
    ],
)
def test_present_values_are_those_that_are_not_missing_in_any_way(column, present):
    column = pd.Series(column)
    assert values.present(column).tolist() == present
    assert (~values.is_missing(column)).sum() == len(present)


@pytest.mark.parametrize(
    ("texts", "numeric"),
    [(["1 200", "CHF", "12'000", "5 €", "1.5", "€5 to €7", ""], [True, False, True, True, True, False, False])],
)
def test_texts_that_would_be_numbers_but_for_signs_and_spaces_are_found(texts, numeric):
    assert values.looks_numeric(pd.Series(texts)).tolist() == numeric


@pytest.mark.parametrize(
    ("texts", "hint", "expected"),
    [
        (["1.234", "2500,5"], None, [1234, 2500.5]),
        (["1,234", "7"], ",", [1.234, 7]),
        (["1,234", "7"], None, [1234, 7]),
        (["1,234", "2.5"], ",", [1234, 2.5]),
    ],
)
def test_numbers_that_were_no_text_in_training_are_read_as_their_file_writes_them(texts, hint, expected):
    """Learned from Parquet or a database, and scored from a CSV."""
    rows = pd.DataFrame({"a": texts})
    rows.attrs = {"decimal": hint} if hint else {}
    found, unreadable = values.read(rows["a"], learn([1.5, 2.0]))
    assert (found.tolist(), unreadable.any()) == (expected, False)


@pytest.mark.parametrize(
    ("learned", "given", "expected"),
    [
        (["2,858", "0,5"], ["2.858", "1,5", "1.234.567", "1.200,5"], [NAN, 1.5, 1234567.0, 1200.5]),
        (["2.858", "0.5"], ["2,858", "-2,858", "1.5", "1,200.5"], [NAN, NAN, 1.5, 1200.5]),
        (["1.234", "2500,5"], ["2.858", "1,5"], [2858.0, 1.5]),  # training had thousands
        (["1", "20"], ["1,234"], [1234.0]),  # and here it had no decimals
        (["0,5 €", "7 €"], ["2.858 €", "2,858 €"], [NAN, 2.858]),
    ],
)
def test_a_number_that_may_be_written_with_the_other_mark_is_refused_where_thousands_were_never_parted(
    learned, given, expected
):
    """It would be read a thousand times too large."""
    found, unreadable = values.read(pd.Series(given), learn(learned))
    assert found.tolist() == pytest.approx(expected, nan_ok=True)
    assert unreadable.tolist() == [value != value for value in expected]
