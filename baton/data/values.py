"""How a value is read: numbers, money, dates, true and false, text, and what stands for a missing one.

How a column writes its values is its format. It is learned once, from the training table, and every later row is read
by it, so that what a value means never depends on the rows it arrives with.
"""

import dataclasses
import re
import warnings
from collections import Counter

import numpy as np
import pandas as pd
from pandas.tseries.api import guess_datetime_format

ISO = "ISO8601"  # what pandas calls the standard way to write a date

# How tables write that there is no value, in any case of letters. In a target of names, `-` or `none` may be a class.
MISSING = {"", "?", "na", "n/a", "#n/a", "nan", "null", "nil", "<na>", "nat"}
MISSING_FEATURE = MISSING | {"-", "--", ".", "none"}
BOOLEANS = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}

SIGNS = "$€£¥%"  # of money and of per cent, beside a number
# A number with a decimal point, as it stands and with its thousands parted; with a decimal comma, the two marks
# swapped.
PLAIN = r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:inf(?:inity)?))"
PARTED = r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?"
DOUBTFUL = r"[+-]?[1-9]\d{0,2},\d{3}"  # a number with either mark
SWAPPED = str.maketrans(".,", ",.")
CODE = r"[+-]?(?:0\d|\d{16})"  # a leading zero, or more digits than a float64 holds: 01067 is no quantity


@dataclasses.dataclass(frozen=True)
class Format:
    """How a column writes its values.

    `kind` is number, boolean, date or text. Of numbers written as text, `decimal` is the decimal mark and `sign` the
    currency or per cent sign beside them. Numbers that were no text in training have no mark, nor have those of models
    of older versions: where they come as text, the rows that are read tell it (see `Contract.settle`). `date` is the
    format of dates as `strptime` has it, or "ISO8601". `thousands` is False for a column that was written with decimals
    and never with thousands separators: there, `1.234` is no number, as it may have been written with the other mark.
    """

    kind: str
    decimal: str | None = "."
    sign: str | None = None
    date: str = ISO
    thousands: bool = True


def learn_formats(table: pd.DataFrame) -> dict[str, Format]:
    """Learn how each column of a table writes its values.

    `1.234` can be read in two ways. Such a column is read as the table's other columns of numbers are; if they don't
    tell either, with a decimal point, unless `table.attrs["decimal"]` says that a comma is usual where it comes from.
    """
    found = {column: _learn_format(table[column]) for column in table}
    written = {column for column, one in found.items() if one.kind == "number" and is_text(table[column])}
    marks = Counter(found[column].decimal for column in written if found[column].decimal)
    usual = max(marks, key=marks.get, default=table.attrs.get("decimal", "."))
    if len({*marks.values()}) == 1 < len(marks):  # as many columns say one as the other
        usual = table.attrs.get("decimal", ".")
    return {
        column: dataclasses.replace(one, decimal=one.decimal or usual) if column in written else one
        for column, one in found.items()
    }


def is_ambiguous(column: pd.Series) -> bool:
    """Tell whether a column's numbers mean one thing with a decimal point and another with a comma: `1.234`."""
    if not is_text(column):
        return False
    texts = present(column).drop_duplicates()
    sign = _sign(texts)
    return _marks(texts, sign) == [".", ","] and not parse_numbers(texts, ".", sign).equals(
        parse_numbers(texts, ",", sign)
    )


def read(column: pd.Series, how: Format) -> tuple[pd.Series, pd.Series]:
    """Read a column by its format; return its values, and a mask of those that are there but not of this format.

    Numbers and booleans come back as float64, dates as datetime64[us], text as str objects, None where missing.
    """
    values = as_texts(column).where(~is_missing(column), None) if is_text(column) else column
    if how.kind == "text":
        # A code that is all digits is read as a float where one is missing: 10.0 is the 10 of the other rows.
        return as_texts(values).astype("object").where(values.notna(), None), pd.Series(False, column.index)
    if how.kind == "date":
        found = _read_dates(values, how.date)
    elif how.kind == "boolean":
        found = read_booleans(values)
    else:
        found = parse_numbers(values, how.decimal, how.sign)
        if not how.thousands and is_text(column):
            found = found.mask(
                _with_point(_without_sign(values.astype("str"), how.sign), how.decimal).str.fullmatch(DOUBTFUL)
            )
    return found.rename(column.name), values.notna() & found.isna()


def parse_numbers(column: pd.Series, decimal: str | None = ".", sign: str | None = None) -> pd.Series:
    """Read numbers as float64, NaN where there is none: text as Python's `float` reads it, with thousands and sign.

    A float32 counts as the shortest number that is stored so, which is what was written into the table.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        return pd.Series(np.nan, column.index)
    if pd.api.types.is_numeric_dtype(column):
        short = pd.api.types.is_float_dtype(column) and column.dtype.itemsize < 8
        exact = (
            column.to_numpy("float32", na_value=np.nan).astype("str")
            if short
            else column.to_numpy("float64", na_value=np.nan)
        )
        return pd.Series(exact.astype("float64"), column.index)
    texts = column.dropna().astype("str").str.strip()
    decimal = decimal_mark(column, sign) if decimal is None else decimal
    texts, plain = _as_python(texts, decimal, sign)
    numbers = np.full(len(texts), np.nan)
    # pd.to_numeric is off in the last bit of one in ten.
    numbers[plain] = texts.to_numpy(object)[plain].astype("float64")
    found = np.full(len(column), np.nan)
    found[column.notna().to_numpy()] = numbers
    return pd.Series(found, column.index)


def decimal_mark(column: pd.Series, sign: str | None = None) -> str:
    """The mark with which most texts are numbers; in a file that semicolons delimit, a comma first, if there are any.

    So did version 0.1.
    """
    texts = column.dropna().astype("str").str.strip()
    comma = column.attrs.get("decimal") == "," and texts.str.contains(",", regex=False).any()
    return max(",." if comma else ".,", key=lambda mark: _as_python(texts, mark, sign)[1].sum())


def read_booleans(column: pd.Series) -> pd.Series:
    """Read true and false, in words or as 1 and 0, as float64; NaN for anything else."""
    codes, different = pd.factorize(column)
    found = [BOOLEANS.get(str(value).strip().lower(), np.nan) for value in different]
    return pd.Series(np.array([*found, np.nan])[codes], column.index)  # the code of a missing value is -1


def is_missing(column: pd.Series) -> pd.Series:
    """Tell which values of a column of features are missing, those included that say so in text: `?`, `NA`, `-`."""
    return column.isna() | as_texts(column).str.lower().isin(MISSING_FEATURE) if is_text(column) else column.isna()


def present(column: pd.Series) -> pd.Series:
    """The values of a column of features that are not missing, as text where they are text."""
    there = column[~is_missing(column)]
    return as_texts(there) if is_text(column) else there


def is_text(column: pd.Series) -> bool:
    return not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column))


def as_texts(column: pd.Series) -> pd.Series:
    """Each value as text, without spaces around it; a whole number has no point, however it was read."""
    if pd.api.types.is_float_dtype(column):
        numbers = parse_numbers(column)
        return numbers.map(lambda number: str(int(number)) if number % 1 == 0 else repr(number)).astype("str")
    return column.astype("str").str.strip()


def are_integers(texts: pd.Series) -> bool:
    """Tell whether each text is a whole number, written as a computer writes it, that 64 bits hold."""
    return bool(pd.api.types.is_string_dtype(texts) and texts.str.fullmatch(r"0|-?[1-9]\d{0,17}").all())


def looks_numeric(texts: pd.Series) -> pd.Series:
    """Tell which texts would be numbers but for signs, marks and spaces in them."""
    return parse_numbers(texts.str.replace(rf"[\s,'{SIGNS}]", "", regex=True)).notna()


def _learn_format(column: pd.Series) -> Format:
    """Learn one column's format; numbers that can be read with either decimal mark have none yet."""
    if pd.api.types.is_bool_dtype(column):
        return Format("boolean")
    if pd.api.types.is_numeric_dtype(column):
        return Format("number", decimal=None)
    if pd.api.types.is_datetime64_any_dtype(column):
        return Format("date")
    texts = present(column).drop_duplicates()
    if texts.empty:
        return Format("text")
    if texts.str.lower().isin(["true", "false"]).all():
        return Format("boolean")
    sign = _sign(texts)
    if not texts.str.match(CODE).any() and (marks := _marks(texts, sign)):
        if len(marks) == 2:
            return Format("number", None, sign)
        how = Format("number", marks[0], sign)
        plain = _with_point(_without_sign(texts, sign), marks[0])
        decimals, thousands = (plain.str.contains(mark, regex=False).any() for mark in ".,")
        return dataclasses.replace(how, thousands=bool(thousands or not decimals))
    written = next((one for one in _date_formats(texts) if _parse_dates(texts, one).notna().all()), None)
    return Format("date", date=written) if written else Format("text")


def _marks(texts: pd.Series, sign: str | None = None) -> list[str]:
    """The decimal marks with which every text is a number."""
    parts = (texts.head(1000), texts)  # mostly the first rows tell that a mark is not it
    return [mark for mark in ".," if all(_as_python(part, mark, sign)[1].all() for part in parts)]


def _as_python(texts: pd.Series, decimal: str, sign: str | None) -> tuple[pd.Series, np.ndarray]:
    """Write numbers as Python does; return the texts, and a mask of those that are numbers."""
    texts = _with_point(_without_sign(texts, sign), decimal)
    parted = texts.str.fullmatch(PARTED)
    texts = texts.mask(parted, texts.str.replace(",", "", regex=False)) if parted.any() else texts
    return texts, (parted | texts.str.fullmatch(PLAIN)).to_numpy(bool)


def _sign(texts: pd.Series) -> str | None:
    """The currency or per cent sign beside numbers; None if there is none, or several, which can't be compared."""
    first_or_last = texts[texts.str.contains(f"[{SIGNS}]")].str.extract(rf"^[+-]?\s*([{SIGNS}])|([{SIGNS}])$")
    found = first_or_last.stack().dropna().unique()
    return str(found[0]) if len(found) == 1 else None


def _with_point(texts: pd.Series, decimal: str) -> pd.Series:
    """Write numbers with a decimal point, whatever mark they have."""
    return texts.str.translate(SWAPPED) if decimal == "," else texts


def _without_sign(texts: pd.Series, sign: str | None) -> pd.Series:
    if not sign:
        return texts
    return texts.str.replace(rf"^([+-]?)\s*{re.escape(sign)}\s*|\s*{re.escape(sign)}$", r"\1", n=1, regex=True)


def _date_formats(texts: pd.Series) -> list[str]:
    if texts.str.fullmatch(r"\d?\d:\d\d(:\d\d)?").all():  # 2:1 is a score
        return ["%H:%M", "%H:%M:%S"]
    if not texts.str.contains(r"\d.*[-/.:, ].*\d", regex=True).all():
        return []
    longest = texts.iloc[texts.str.len().argmax()]
    # pandas tells the format of few times with AM, and of none with PM: it is asked without them.
    longest, half, _ = re.split(r"(\s*[AP]M$|$)", longest, maxsplit=1, flags=re.IGNORECASE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # which of day and month comes first is tried both ways
        formats = [guess_datetime_format(longest, dayfirst=dayfirst) for dayfirst in (False, True)]
    if re.match(r"\d+\.\d+\.", longest):  # 1.2.2020 is in February, wherever dates are written so
        formats.reverse()
    if half:
        formats = [f"{one.replace('%H', '%I')}{half[:-2]}%p" for one in formats if one]
    return [ISO] + [one for one in dict.fromkeys(formats) if one]


def _parse_dates(texts: pd.Series, written: str) -> pd.Series:
    return pd.to_datetime(texts, format=written, errors="coerce", utc=True).dt.tz_localize(None)


def _read_dates(values: pd.Series, written: str) -> pd.Series:
    if pd.api.types.is_datetime64_any_dtype(values):
        return pd.to_datetime(values, utc=True).dt.tz_localize(None).astype("datetime64[us]")
    if pd.api.types.is_numeric_dtype(values):
        return pd.Series(pd.NaT, values.index, dtype="datetime64[us]")
    texts = values.dropna().astype("str")
    different = texts.drop_duplicates()  # mostly few
    found = _parse_dates(different, written)
    # A database, or another day's export, may write the same dates in the standard way.
    found = found.fillna(_parse_dates(different[found.isna()], ISO)).set_axis(different)
    dates = pd.Series(pd.NaT, values.index, dtype="datetime64[us]")
    dates[values.notna().to_numpy()] = found.astype("datetime64[us]").reindex(texts).to_numpy()
    return dates
