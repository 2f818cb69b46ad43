"""What a model is promised: which question it answers, and which columns of which kind each raw row brings.

Training learns the contract from its table; it travels inside the registered model, and every row that is ever
scored is held to it. So training and serving read a table in the same way, by the same code.
"""

import dataclasses
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.tseries.api import guess_datetime_format

from baton import BatonError, config

ISO = "ISO8601"  # what pandas calls the standard way to write a date

# How tables say that there is no value, in any case of letters. In a target of names, `-` or `none` may be a class.
MISSING = {"", "?", "na", "n/a", "#n/a", "nan", "null", "nil", "<na>", "nat"}
MISSING_FEATURE = MISSING | {"-", "--", ".", "none"}
AFFIRMATIVE = {"1", "yes", "y", "true", "t", "positive", "+", "ja", "oui", "sí", "si", "sim"}
SIGNS = "$€£¥%"
BOOLEANS = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}

# The names of the columns that scoring writes, which an id column can't have.
WRITTEN = ("row", "prediction", "probability", "model_version", "scored_at", "model_name", "batch")


@dataclasses.dataclass(frozen=True)
class Contract:
    """One question over one kind of table.

    `columns` maps each raw feature to its kind: number, boolean, date or text. `labels` are the classes, the
    positive one last; empty for a regression. `why` says how the question was told from the table. `formats` tells
    how dates are written, where that isn't ISO 8601, and the sign beside numbers: $ or %. `optional` features had
    holes in training, so new rows may lack the column. `ignored` maps columns that are no features to the reason.
    `split` and `split_by` say how the holdout was chosen.
    """

    name: str
    target: str
    id_columns: list[str]
    columns: dict[str, str]
    task: str
    why: str
    metric: str
    labels: list
    formats: dict[str, str] = dataclasses.field(default_factory=dict)
    optional: list[str] = dataclasses.field(default_factory=list)
    ignored: dict[str, str] = dataclasses.field(default_factory=dict)
    split: str = "hash"
    split_by: str | None = None

    @property
    def features(self) -> list[str]:
        return [*self.columns]

    @property
    def idle(self) -> dict[str, str]:
        """Of the ignored columns, those left out for what they hold, and not because `env.yaml` says so."""
        return {column: why for column, why in self.ignored.items() if why.startswith("it has ")}

    @property
    def positive(self):
        """The class whose probability a binary model gives; None for other questions."""
        return self.labels[-1] if self.task == "binary" else None

    def to_dict(self) -> dict:
        return dataclasses.asdict(self)

    def rows(self, table: pd.DataFrame, source: str = "the table") -> pd.DataFrame:
        """Take the raw features out of a table, in this contract's order and kinds; more columns than it needs are fine.

        Numbers and booleans come back as float64, dates as datetime64, text as str or None; infinite counts as missing.
        Raises `BatonError` naming every column that is missing, or the rows of one that are not of its kind.
        """
        require_columns(table, [column for column in self.columns if column not in self.optional], source)
        absent = pd.Series(None, table.index, dtype="object")
        return pd.DataFrame(
            {
                column: _as_kind(table.get(column, absent).rename(column), kind, self.formats.get(column), source)
                for column, kind in self.columns.items()
            },
            index=table.index,
        )

    def answers(self, table: pd.DataFrame) -> pd.Series:
        """The target: one of `labels`, or a float64 number; None or NaN where a row has none."""
        given = table[self.target]
        if self.task == "regression":
            return _as_kind(given, "number", self.formats.get(self.target), "the table")
        if isinstance(self.labels[0], bool):
            read = _booleans(given)
        else:
            read = _texts(given) if isinstance(self.labels[0], str) else _numbers(given, self.formats.get(self.target))
        known = {label: label for label in self.labels}  # where 1.0 finds 1, or True
        return pd.Series([known.get(value) for value in read], given.index, "object", self.target)

    def times(self, table: pd.DataFrame) -> pd.Series:
        """The column that orders rows in time, as numbers that grow with it; NaN where a row has none."""
        column = table[self.split_by]
        known = self.columns.get(self.split_by)  # from the whole table; a part of it may not tell days from months
        kind, written = (known, self.formats.get(self.split_by)) if known else _kind(column)
        if kind not in {"date", "number"}:
            raise BatonError(
                f"split_by names {self.split_by!r}, which holds {kind}; split: time needs dates, or numbers"
            )
        found = _as_kind(column, kind, written, "the table")
        return found.astype("int64").where(found.notna()) if kind == "date" else found

    def remarks(self, table: pd.DataFrame) -> list[str]:
        """What is odd in rows to be scored, and no reason to refuse them; each with its column and count."""
        said = [
            f"column {column!r} is not there; it counts as missing" for column in self.optional if column not in table
        ]
        for column, kind in self.columns.items():
            if column in table and kind == "number":
                infinite = int(np.isinf(_numbers(table[column])).sum())
                said += [f"column {column!r}: {infinite} infinite values count as missing"] if infinite else []
        return said

    def encode(self, target: pd.Series) -> pd.Series:
        """Number the classes 0, 1, … in the order of `labels`, so that 1 is the positive one; leave numbers alone."""
        return target.map({label: code for code, label in enumerate(self.labels)}) if self.labels else target


def read_contract(path: str) -> Contract:
    """Read the contract that `clean` wrote."""
    return Contract(**json.loads(Path(path).read_text()))


def learn_contract(
    table: pd.DataFrame, name: str, target: str, id_columns, task: str, metric: str, ignore_columns=None,
    split: str = "hash", split_by: str | None = None,
) -> Contract:  # fmt: skip
    """Say what question a training table asks, and what its raw rows look like.

    `id_columns` and `ignore_columns` are lists, or what `env.yaml` may say instead (see `config.column_names`).
    Rows without a target teach nothing and are left out of this (see `split.separate`).
    Raises `BatonError` if the table lacks a column, or its target has nothing to tell apart.
    """
    name, target, split_by = str(name), str(target), None if split_by is None else str(split_by)
    id_columns, ignore_columns = config.column_names(id_columns), config.column_names(ignore_columns)
    wanted = {"target": [target], "id_columns": id_columns, "ignore_columns": ignore_columns, "split_by": [split_by]}
    for key, columns in wanted.items():
        require_columns(table, [column for column in columns if column], f"the table of {name!r}", key=key)
        if target in columns and key != "target":
            raise BatonError(f"{key} names {target!r}, which is the target; mend one of them in env.yaml")
    if taken := [column for column in id_columns if column in WRITTEN or column.startswith("probability_")]:
        raise BatonError(f"id column {taken[0]!r} has the name of a column that scoring writes; rename it in the table")
    answer, sign = _kind(table[target])
    asked, why, labels = _question(table[target], answer, sign, task)
    known = config.METRICS[asked]
    if metric != "auto" and metric not in known:
        raise BatonError(f"metric {metric!r} can't judge a {asked} question. Choose one of: {', '.join(known)}")
    ignored = dict.fromkeys(ignore_columns, "ignore_columns names it") | _without_information(table)
    if "" in table.columns:  # mostly the number of the row, as pandas writes it
        ignored[""] = "it has no name"
    if split == "group":
        ignored[split_by] = "rows are split by it: a model that knew it would fail on new ones"
    aside = {target, *id_columns, *ignored}
    kinds = {column: _kind(table[column]) for column in table.columns if column not in aside}
    columns = {column: kind for column, (kind, _) in kinds.items()}
    if not columns:
        raise BatonError(f"the table of {name!r} has no column to learn from besides {target!r}, ids and ignored ones")
    formats = {column: written for column, (_, written) in kinds.items() if written}
    formats |= {target: sign} if answer == "number" and sign else {}
    ignored = {column: why for column, why in ignored.items() if column not in {target, *id_columns}}
    promised = Contract(
        name, target, id_columns, columns, asked, why, known[0] if metric == "auto" else metric, labels, formats,
        ignored=ignored, split=split, split_by=split_by,
    )  # fmt: skip
    holes = promised.rows(table).isna().any()
    return dataclasses.replace(promised, optional=[column for column in columns if holes[column]])


def require_columns(table: pd.DataFrame, needed: list[str], source: str, key: str = "") -> None:
    """Raise `BatonError` naming every needed column that the table lacks, and the nearest it has."""
    missing = [column for column in needed if column not in table.columns]
    if missing:
        there = [*map(str, table.columns)]
        named = ", ".join(f"{column!r}{config.did_you_mean(str(column), there)}" for column in missing)
        mend = f"; mend {key} in env.yaml" if key else ""
        raise BatonError(
            f"{source} lacks {len(missing)} of the columns it needs: {named}{mend}. It has: {', '.join(there)}"
        )


def _question(given: pd.Series, kind: str, written: str | None, task: str) -> tuple[str, str, list]:
    """Tell what is asked of a target of this kind, why, and the labels in their order."""
    if kind == "number":
        answers = _numbers(given, written).replace([np.inf, -np.inf], np.nan).dropna()
    elif kind == "boolean":
        answers = _booleans(given).dropna().astype(bool)
    else:
        texts = _texts(given.dropna())
        answers = texts[~texts.str.lower().isin(MISSING)]
    column, classes = given.name, answers.nunique()
    if not len(answers):
        raise BatonError(
            f"column {column!r}: no row has a value. Set target in env.yaml to the column to be predicted."
        )
    first = _native(answers.iloc[0])
    if classes < 2:
        raise BatonError(
            f"column {column!r}: every one of its {len(answers)} values is {first!r}, so there is nothing to learn"
        )
    numeric = kind == "number"
    whole = numeric and bool((answers % 1 == 0).all())
    if task == "regression" and not numeric:
        raise BatonError(f"column {column!r} holds {kind} such as {first!r}; task: regression needs numbers")
    if task == "binary" and classes != 2:
        raise BatonError(f"column {column!r} has {classes} different values; task: binary needs two")
    if task == "multiclass" and classes == 2:
        raise BatonError(f"column {column!r} has two different values; set task to binary, or auto")
    if task != "auto":
        asked, why = task, "env.yaml says so"
    elif classes == 2:
        asked, why = "binary", f"{column} has two values"
    elif not numeric:
        asked, why = "multiclass", f"{column} holds {classes} names"
    # Few whole numbers, each often repeated, are codes of classes; anything finer is a quantity.
    elif whole and classes <= 20 and len(answers) >= 10 * classes:
        asked, why = "multiclass", f"{column} holds {classes} whole numbers, each repeated"
    else:
        return "regression", f"{column} holds {classes} different numbers", []
    if asked == "regression":
        return asked, why, []
    if classes > 2 and classes > len(answers) / 2:
        raise BatonError(
            f"column {column!r} holds {classes} different values in {len(answers)} rows, too many to be classes."
            " Is it the right target? For a quantity written as text, clean it in the table first."
        )
    return asked, why, _labels(answers.astype("int64") if whole else answers)


def _labels(answers: pd.Series) -> list:
    """Order the classes; of two, the positive one comes last: the larger number, or true, or yes, else the rarer."""
    labels = sorted(map(_native, answers.unique()))
    if len(labels) == 2 and all(isinstance(label, str) for label in labels):
        affirmative = [label for label in labels if label.lower() in AFFIRMATIVE]
        positive = affirmative[0] if len(affirmative) == 1 else answers.value_counts().sort_index().idxmin()
        labels.sort(key=lambda label: label == positive)
    return labels


def _without_information(table: pd.DataFrame) -> dict[str, str]:
    counts = {column: present(table[column]).nunique() for column in table}
    return {column: "it has no value" for column, count in counts.items() if count == 0} | {
        column: "it has the same value in every row"
        for column, count in counts.items()
        if count == 1 and present(table[column]).size == len(table)
    }


def present(column: pd.Series) -> pd.Series:
    """The values of a column of features, as text where they are text, without those that say there is none."""
    if not _is_text(column):
        return column.dropna()
    texts = _texts(column.dropna())
    return texts[~texts.str.lower().isin(MISSING_FEATURE)]


def _is_text(column: pd.Series) -> bool:
    return not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column))


def _texts(column: pd.Series) -> pd.Series:
    """Each value as text, without spaces around it; a whole number has no point, however it was read."""
    if pd.api.types.is_float_dtype(column):
        numbers = column.astype("float64")
        return numbers.map(lambda number: str(int(number)) if number % 1 == 0 else repr(number)).astype("str")
    return column.astype("str").str.strip()


def _native(value):
    """A value as Python shows it: 7, not np.int64(7)."""
    return value.item() if isinstance(value, np.generic) else value


def _kind(column: pd.Series) -> tuple[str, str | None]:
    """Tell a column's kind and, of what is written as text, the format of dates or the sign beside numbers."""
    if pd.api.types.is_bool_dtype(column):
        return "boolean", None
    if pd.api.types.is_numeric_dtype(column):
        return "number", None
    if pd.api.types.is_datetime64_any_dtype(column):
        return "date", None
    texts = present(column)
    if texts.empty:
        return "text", None
    if texts.str.lower().isin(["true", "false"]).all():
        return "boolean", None
    # A leading zero, or more digits than a float64 holds, is the mark of a code: 01067 is no quantity.
    coded = texts.str.match(r"[+-]?(0\d|\d{16})").any()
    sign = _sign(texts)
    if not coded and _numbers(texts, sign).notna().all():
        return "number", sign
    return next(
        (("date", written) for written in _date_formats(texts) if _dates(texts, written).notna().all()), ("text", None)
    )


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
        guesses = [guess_datetime_format(longest, dayfirst=dayfirst) for dayfirst in (False, True)]
    if re.match(r"\d+\.\d+\.", longest):  # 1.2.2020 is in February, wherever dates are written so
        guesses.reverse()
    if half:
        guesses = [f"{guess.replace('%H', '%I')}{half[:-2]}%p" for guess in guesses if guess]
    return [ISO] + [guess for guess in dict.fromkeys(guesses) if guess]


def _dates(texts: pd.Series, written: str) -> pd.Series:
    return pd.to_datetime(texts, format=written, errors="coerce", utc=True).dt.tz_localize(None)


def _sign(texts: pd.Series) -> str | None:
    """The currency or percent sign beside numbers; None if there is none, or several, which can't be compared."""
    odd = texts[pd.to_numeric(texts, errors="coerce").isna()].drop_duplicates()  # mostly none: numbers are plain
    first_or_last = odd.str.extract(rf"^[+-]?\s*([{SIGNS}])|([{SIGNS}])$")
    found = first_or_last.stack().dropna().unique()
    return str(found[0]) if len(found) == 1 else None


def _numbers(column: pd.Series, sign: str | None = None) -> pd.Series:
    """Read numbers: plain ones and, of those in text, `1,234.5`, with a `sign` before or behind it, if there is one."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return pd.Series(np.nan, column.index)
    numbers = pd.to_numeric(column, errors="coerce").astype("float64")
    other = numbers.isna() & column.notna()
    odd = column[other].astype("str").str.strip()
    if sign:
        odd = odd.str.replace(rf"^([+-]?)\s*{re.escape(sign)}\s*|\s*{re.escape(sign)}$", r"\1", n=1, regex=True)
    grouped = odd.str.fullmatch(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")
    numbers[other] = pd.to_numeric(odd.mask(grouped, odd.str.replace(",", "")), errors="coerce").to_numpy()
    return numbers


def _booleans(column: pd.Series) -> pd.Series:
    plain = column.astype("object").where(column.notna(), None)
    return plain.map(lambda value: BOOLEANS.get(str(value).strip().lower(), np.nan)).astype("float64")


def _as_kind(column: pd.Series, kind: str, written: str | None, source: str) -> pd.Series:
    values = column
    if _is_text(column):
        texts = _texts(column)
        values = texts.where(column.notna() & ~texts.str.lower().isin(MISSING_FEATURE), None)
    if kind == "text":
        # A code that is all digits is read as a float where one is missing: 10.0 is the 10 of the other rows.
        return _texts(values).astype("object").where(values.notna(), None)
    if kind == "date":
        converted = _as_dates(values, written)
    elif kind == "boolean":
        converted = _booleans(values)
    else:
        converted = _numbers(values, written)
    lost = values.notna() & converted.isna()
    if lost.any():
        first = _native(column[lost].iloc[0])
        raise BatonError(
            f"{source}, column {column.name!r}: {int(lost.sum())} of {len(column)} values are not a {kind}, the first"
            f" of them {first!r} in row {lost.to_numpy().argmax() + 1}. The model was trained on {kind}s there."
        )
    return converted.replace([np.inf, -np.inf], np.nan) if kind == "number" else converted


def _as_dates(values: pd.Series, written: str | None) -> pd.Series:
    if pd.api.types.is_datetime64_any_dtype(values):
        return pd.to_datetime(values, utc=True).dt.tz_localize(None).astype("datetime64[us]")
    if pd.api.types.is_numeric_dtype(values):
        return pd.Series(pd.NaT, values.index, dtype="datetime64[us]")
    texts = values.astype("str").where(values.notna(), None)
    found = _dates(texts, written or ISO)
    # A database, or another day's export, may write the same dates in the standard way.
    return found.fillna(_dates(texts, ISO)).astype("datetime64[us]")
