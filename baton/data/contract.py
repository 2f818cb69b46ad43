"""The contract of a model: the question it answers, and the columns that each raw row brings.

Training learns the contract from its table; it travels inside the registered model, and every row that is ever scored
is held to it. So training and serving read a table in the same way, by the same code.
"""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd

from baton import BatonError, SchemaMismatch, config
from baton.data import values
from baton.data.values import Format

AFFIRMATIVE = {"1", "yes", "y", "true", "t", "positive", "+", "ja", "oui", "sí", "si", "sim"}

YAML_WORDS = {"True": ("yes", "on"), "False": ("no", "off")}  # what YAML makes of these without quotes

MARKS = {".": "a decimal point, as 1,234.5", ",": "a decimal comma, as 1.234,5"}

# Why a column is no feature.
IGNORED = {
    "setting": "ignore_columns names it",
    "empty": "it has no value",
    "constant": "it has the same value in every row",
    "unnamed": "it has no name",
    "split_by": "rows are split by it: a model that learned it would fail on new ones",
    "weight": "rows are weighted by it",
}

# The names of the columns that scoring writes, which an id column can't have.
WRITTEN = re.compile(
    "row|prediction(_low|_high)?|probability(_.*)?|reasons?_.*|model_version|scored_at|model_name|batch"
)


@dataclasses.dataclass(frozen=True)
class Contract:
    """One question over one kind of table.

    `columns` maps each raw feature to how it is written, `target_format` says so of the target. `labels` are the
    classes, the positive one last; empty for a regression. `task_reason` says how the question was read from the
    table; `positive_reason` is "setting", "champion", "larger", "affirmative" or "rarer". `optional` features had
    missing values in training, so new rows may lack the column. `ignored` maps columns that are no features to a key
    of `IGNORED`. `integer_ids` are the id columns that held whole numbers; None in contracts that are older than this
    field. `split` and `split_by` say how the holdout was chosen. With `equal_rows_differ`, rows without ids that are
    equal in all features are different cases: more than half of the table is. Of two classes, the
    positive one is predicted where its probability is `threshold` or more; with None, where it is the likelier one.
    `weight` is the column that says how much a row counts, None where all count the same.
    """

    name: str
    target: str
    id_columns: list[str]
    columns: dict[str, Format]
    task: str
    metric: str
    labels: list
    task_reason: str = ""
    positive_reason: str = ""
    target_format: Format = Format("text")
    optional: list[str] = dataclasses.field(default_factory=list)
    ignored: dict[str, str] = dataclasses.field(default_factory=dict)
    integer_ids: list[str] | None = None
    split: str = "hash"
    split_by: str | None = None
    equal_rows_differ: bool = False
    threshold: float | None = None
    weight: str | None = None
    weight_format: Format = Format("number")

    @property
    def features(self) -> list[str]:
        return [*self.columns]

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each feature: number, boolean, date or text."""
        return {column: how.kind for column, how in self.columns.items()}

    @property
    def uninformative(self) -> list[str]:
        """The columns left out for what they hold: no value, or a single one."""
        return [column for column, why in self.ignored.items() if why in {"empty", "constant"}]

    @property
    def positive(self):
        """The class whose probability a binary model gives; None for other questions."""
        return self.labels[-1] if self.task == "binary" else None

    def with_threshold(self, threshold: float | None) -> "Contract":
        """The same question, answered from this probability on."""
        return dataclasses.replace(self, threshold=threshold)

    def to_dict(self) -> dict:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, described: dict) -> "Contract":
        """Open a contract as `to_dict` wrote it, in this version or an earlier one."""
        described = _modernized(described)
        formats = {
            "columns": {column: _build(Format, how) for column, how in described["columns"].items()},
            "target_format": _build(Format, described["target_format"]),
            "weight_format": _build(Format, described.get("weight_format", {"kind": "number"})),
        }
        return _build(cls, described | formats)

    def read_features(self, table: pd.DataFrame, source: str = "the table") -> pd.DataFrame:
        """Take the raw features out of a table, in this contract's order and formats; more columns are fine.

        Numbers and booleans come back as float64, dates as datetime64, text as str or None; infinite counts as missing.
        Raises `BatonError` naming every column that is missing, or the rows of one that are not of its format.
        """
        X, unreadable, _ = self.inspect(table, source)
        for column, rows in unreadable.items():
            raise SchemaMismatch(complaint(table[column], rows, self.columns[column], source))
        return X

    def inspect(
        self, table: pd.DataFrame, source: str = "the table"
    ) -> tuple[pd.DataFrame, dict[str, np.ndarray], dict[str, np.ndarray]]:
        """As `read_features`, where a value that is not of its column's format is missing.

        Also returns where such values are, and where infinite ones: masks (rows,) by column, of columns that have them.
        """
        require_columns(table, [column for column in self.columns if column not in self.optional], source)
        absent, X, unreadable, infinite = pd.Series(None, table.index, dtype="object"), {}, {}, {}
        for column, how in self.settle(table).columns.items():
            X[column], mask = values.read(table.get(column, absent).rename(column), how)
            if mask.any():
                unreadable[column] = mask.to_numpy()
            if how.kind == "number" and (mask := np.isinf(X[column].to_numpy())).any():
                X[column], infinite[column] = X[column].mask(mask), mask
        return pd.DataFrame(X, index=table.index), unreadable, infinite

    def require_interval(self, level: float | None) -> None:
        """Raise `BatonError` if an interval, of a level that is not None, is asked for where classes are predicted."""
        if level is not None and self.labels:
            raise BatonError(
                f"interval is {level:g}, and {self.target!r} asks a {self.task} question: only a predicted number has"
                " an interval. Set interval: none"
            )

    def settle(self, head: pd.DataFrame) -> "Contract":
        """Fix the decimal marks that training left open (see `Format`) by the first rows, for all that follow.

        Numbers that can be read with either mark are read as training would read them: see `values.learn_formats`.
        """
        marks = self._open_marks(head)
        columns = {
            column: dataclasses.replace(how, decimal=marks.get(column, how.decimal))
            for column, how in self.columns.items()
        }
        return dataclasses.replace(self, columns=columns)

    def doubts(self, head: pd.DataFrame) -> list[str]:
        """Say which numbers can be read with either decimal mark, where training left it open, and what is taken."""
        return [
            f"column {column!r} can be read in two ways, since it was no text in training: its numbers are taken as"
            f" written with {MARKS[mark]}"
            for column, mark in self._open_marks(head).items()
            if values.is_ambiguous(head[column])
        ]

    def _open_marks(self, head: pd.DataFrame) -> dict[str, str]:
        """The decimal marks of the columns that are text here, and were numbers in training."""
        left_open = {
            column: how
            for column, how in self.columns.items()
            if how.kind == "number" and how.decimal is None and column in head and values.is_text(head[column])
        }
        found = values.learn_formats(head) if left_open else {}
        return {
            column: found[column].decimal
            if found[column].kind == "number"
            else values.decimal_mark(head[column], how.sign)
            for column, how in left_open.items()
        }

    def read_target(self, table: pd.DataFrame) -> pd.Series:
        """The target: one of `labels`, or a float64 number; None or NaN where a row has none."""
        given = table[self.target]
        if self.task == "regression":
            return _read_column(given, self.target_format, "the table")
        if isinstance(self.labels[0], bool):
            found = values.read_booleans(given)
        elif isinstance(self.labels[0], str):
            found = values.as_texts(given)
        else:
            found = values.parse_numbers(given, self.target_format.decimal, self.target_format.sign)
        labels = {label: label for label in self.labels}  # where 1.0 finds 1, or True
        return pd.Series([labels.get(value) for value in found], given.index, "object", self.target)

    def read_times(self, table: pd.DataFrame) -> pd.Series:
        """The column that orders rows in time, as numbers that grow with it; NaN where a row has none."""
        column = table[self.split_by]
        # From the whole table if there: a part of it may not tell days from months.
        how = self.columns.get(self.split_by) or values.learn_formats(table[[self.split_by]])[self.split_by]
        if how.kind not in {"date", "number"}:
            raise BatonError(
                f"split_by names {self.split_by!r}, which holds {how.kind}; split: time needs dates, or numbers"
            )
        found = _read_column(column, how, "the table")
        return found.astype("int64").where(found.notna()) if how.kind == "date" else found

    def read_weights(self, table: pd.DataFrame) -> np.ndarray | None:
        """How much each row counts (rows,), a number above 0; None where no column weighs them.

        Raises `BatonError` naming the column, and how many of its rows have no such number.
        """
        if self.weight is None:
            return None
        require_columns(table, [self.weight], "the table", key="weight")
        given = table[self.weight]
        found, _ = values.read(given, dataclasses.replace(self.weight_format, kind="number"))
        weights = found.to_numpy(dtype="float64")
        wrong = ~(np.isfinite(weights) & (weights > 0))
        if wrong.any():
            raise BatonError(
                f"column {self.weight!r}, which weight names: {int(wrong.sum())} of {len(given)} rows have no number"
                f" above 0 there, the first of them {_native(given[wrong].iloc[0])!r}. Give each row such a weight, or"
                " leave these rows out of the table"
            )
        return weights

    def remarks(self, table: pd.DataFrame) -> list[str]:
        """What is odd in rows to be scored, and no reason to refuse them; each with its column and count."""
        found = [
            f"column {column!r} is not there; it counts as missing" for column in self.optional if column not in table
        ]
        for column, how in self.columns.items():
            if column in table and how.kind == "number":
                infinite = int(np.isinf(values.parse_numbers(table[column], how.decimal, how.sign)).sum())
                found += [f"column {column!r}: {infinite} infinite values count as missing"] if infinite else []
        return found

    def encode(self, y: pd.Series) -> pd.Series:
        """Number the classes 0, 1, … in the order of `labels`, so that 1 is the positive one; leave numbers alone."""
        return y.map({label: code for code, label in enumerate(self.labels)}) if self.labels else y


def read_contract(path: str) -> Contract:
    """Read the contract that `clean` wrote."""
    return Contract.from_dict(json.loads(Path(path).read_text()))


def learn_contract(table: pd.DataFrame, settings: config.Settings, champion: Contract | None = None) -> Contract:
    """Say what question a training table asks, and how its raw rows are written.

    Where `task` or `positive` is auto, the choice of a champion for this target is kept if the table allows it, so that
    a growing table never changes the question. Rows without a target are left out of this (see `split.separate`).
    Raises `BatonError` if the table lacks a column, or its target has nothing to tell apart.
    """
    name, target, split_by = settings.name, settings.target, settings.split_by
    id_columns, ignore_columns, weight = settings.id_columns, settings.ignore_columns, settings.weight
    wanted = {"target": [target], "id_columns": id_columns, "ignore_columns": ignore_columns, "split_by": [split_by]}
    wanted |= {"weight": [weight]}
    for key, columns in wanted.items():
        require_columns(table, [column for column in columns if column], f"the table of {name!r}", key=key)
        if target in columns and key != "target":
            raise BatonError(f"{key} names {target!r}, which is the target; correct one of them in env.yaml")
    if taken := [column for column in id_columns if WRITTEN.fullmatch(column)]:
        raise BatonError(f"id column {taken[0]!r} has the name of a column that scoring writes; rename it in the table")
    formats = values.learn_formats(table)
    champion = champion if champion and champion.target == target else None
    task, task_reason, y = _tell_task(table[target], formats[target], settings.task, champion)
    metrics = config.METRICS[task]
    if settings.metric != "auto" and settings.metric not in metrics:
        raise BatonError(
            f"metric {settings.metric!r} can't score a {task} question. Choose one of: {', '.join(metrics)}"
        )
    labels, positive_reason = _order_labels(y, task, settings.positive, champion)
    if task != "binary" and settings.threshold != "auto":
        raise BatonError(
            f"threshold is {settings.threshold}, and a {task} question has no positive class: set it to auto"
        )
    ignored = dict.fromkeys(ignore_columns, "setting") | _find_uninformative(table)
    if "" in table.columns:  # mostly the number of the row, as pandas writes it
        ignored[""] = "unnamed"
    if settings.split == "group":
        ignored[split_by] = "split_by"
    if weight:
        ignored[weight] = "weight"
    columns = {column: how for column, how in formats.items() if column not in {target, *id_columns, *ignored}}
    if not columns:
        raise BatonError(f"the table of {name!r} has no column to learn from besides {target!r}, ids and ignored ones")
    contract = Contract(
        name, target, id_columns, columns, task, metrics[0] if settings.metric == "auto" else settings.metric, labels,
        task_reason, positive_reason, formats[target],
        ignored={column: why for column, why in ignored.items() if column not in {target, *id_columns}},
        integer_ids=[column for column in id_columns if values.are_integers(values.as_texts(table[column].dropna()))],
        split=settings.split, split_by=split_by,
        weight=weight, weight_format=formats.get(weight, Format("number")),
    )  # fmt: skip
    contract.require_interval(settings.interval)
    incomplete = contract.read_features(table).isna().any()
    return dataclasses.replace(contract, optional=[column for column in columns if incomplete[column]])


def require_columns(table: pd.DataFrame, needed: list[str], source: str, key: str = "") -> None:
    """Raise `BatonError` naming every needed column that the table lacks, and the nearest it has."""
    missing = [column for column in needed if column not in table.columns]
    if missing:
        there = [*map(str, table.columns)]
        named = ", ".join(f"{column!r}{config.did_you_mean(str(column), there)}" for column in missing)
        remedy = f"; correct {key} in env.yaml" if key else ""
        raise SchemaMismatch(
            f"{source} lacks {len(missing)} of the columns it needs: {named}{remedy}. It has: {', '.join(there)}"
        )


def _tell_task(
    given: pd.Series, how: Format, asked: str, champion: Contract | None
) -> tuple[str, str, pd.Series]:  # fmt: skip
    """Tell what is asked of a target, why, and its values without the missing ones."""
    kind, column = how.kind, given.name
    if kind == "number":
        y = values.parse_numbers(given, how.decimal, how.sign).replace([np.inf, -np.inf], np.nan).dropna()
    elif kind == "boolean":
        y = values.read_booleans(given).dropna().astype(bool)
    else:
        texts = values.as_texts(given.dropna())
        y = texts[~texts.str.lower().isin(values.MISSING)]
    if not len(y):
        raise BatonError(
            f"column {column!r}: no row has a value. Set target in env.yaml to the column to be predicted."
        )
    classes, first = y.nunique(), _native(y.iloc[0])
    if classes < 2:
        raise BatonError(f"column {column!r}: every one of its {len(y)} values is {first!r}: there is nothing to learn")
    numeric = kind == "number"
    whole = numeric and bool((y % 1 == 0).all())
    allowed = {"binary": classes == 2, "multiclass": classes > 2, "regression": numeric}
    if asked != "auto" and not allowed[asked]:
        raise BatonError(
            {
                "regression": f"column {column!r} holds {kind} such as {first!r}; task: regression needs numbers",
                "binary": f"column {column!r} has {classes} different values; task: binary needs two",
                "multiclass": f"column {column!r} has two different values; set task to binary, or auto",
            }[asked]
        )
    if classes == 2:
        task, reason = "binary", f"{column} has two values"
    elif not numeric:
        task, reason = "multiclass", f"{column} holds {classes} names"
    # Few whole numbers, each often repeated, are codes of classes; anything finer is a quantity.
    elif whole and classes <= 20 and len(y) >= 10 * classes:
        task, reason = "multiclass", f"{column} holds {classes} whole numbers, each repeated"
    else:
        task, reason = "regression", f"{column} holds {classes} different numbers"
    if asked != "auto":
        task, reason = asked, "env.yaml says so"
    elif champion and allowed[champion.task]:
        other = f"; without it, it would be {task}, because {reason}" if task != champion.task else ""
        task, reason = champion.task, f"that is what the champion answers{other}"
    if task != "regression" and classes > 2 and classes > len(y) / 2:
        raise BatonError(
            f"column {column!r} holds {classes} different values in {len(y)} rows, too many to be classes."
            " Is it the right target? For a quantity written as text, clean it in the table first."
        )
    return task, reason, y.astype("int64") if whole and task != "regression" else y


def _order_labels(y: pd.Series, task: str, asked: str, champion: Contract | None) -> tuple[list, str]:
    """Order the classes; of two the positive one comes last, with the reason why it is that."""
    if task != "binary":
        if asked != "auto":
            raise BatonError(f"positive names {asked!r}, and a {task} question has no positive class: set it to auto")
        return ([] if task == "regression" else sorted(map(_native, y.unique()))), ""
    labels = sorted(map(_native, y.unique()))
    texts = [str(label).lower() for label in labels]
    if asked != "auto":
        asked_texts = {asked.strip().lower(), *YAML_WORDS.get(asked, ())}
        named = [label for label, text in zip(labels, texts, strict=True) if text in asked_texts]
        if len(named) != 1:
            shown = " and ".join(map(repr, labels))
            raise BatonError(f"positive names {asked!r}, and the target has {shown}; correct positive in env.yaml")
        positive, reason = named[0], "setting"
    elif champion and champion.task == "binary" and champion.positive in labels:
        positive, reason = champion.positive, "champion"
    elif not isinstance(labels[0], str):
        positive, reason = labels[-1], "larger"
    elif len(affirmative := [label for label in labels if label.lower() in AFFIRMATIVE]) == 1:
        positive, reason = affirmative[0], "affirmative"
    else:
        positive, reason = y.value_counts().sort_index().idxmin(), "rarer"
    return sorted(labels, key=lambda label: label == positive), reason


def _find_uninformative(table: pd.DataFrame) -> dict[str, str]:
    there = {column: values.present(table[column]) for column in table}
    return {column: "empty" for column, present in there.items() if present.empty} | {
        column: "constant" for column, present in there.items() if len(present) == len(table) and present.nunique() == 1
    }


def _read_column(column: pd.Series, how: Format, source: str) -> pd.Series:
    found, unreadable = values.read(column, how)
    if unreadable.any():
        raise SchemaMismatch(complaint(column, unreadable.to_numpy(), how, source))
    return found.replace([np.inf, -np.inf], np.nan) if how.kind == "number" else found


def complaint(column: pd.Series, unreadable: np.ndarray, how: Format, source: str) -> str:
    first = _native(column[unreadable].iloc[0])
    return (
        f"{source}, column {column.name!r}: {int(unreadable.sum())} of {len(column)} values are not a {how.kind},"
        f" the first of them {first!r} in row {unreadable.argmax() + 1}. The model was trained on"
        f" {how.kind}s there{_described(how)}."
    )


def _described(how: Format) -> str:
    if how.kind == "date" and how.date != values.ISO:
        return f", written as {how.date}"
    if how.kind == "number" and how.decimal:
        mark = MARKS[how.decimal]
        never = "" if how.thousands else " and never with thousands separators alone"
        return f", written with {mark}{f' and {how.sign}' if how.sign else ''}{never}"
    return ""


def _native(value):
    """A value as Python shows it: 7, not np.int64(7)."""
    return value.item() if isinstance(value, np.generic) else value


def _build(kind: type, described: dict):
    """Make a dataclass of what another version wrote, which may have more fields."""
    fields = {field.name for field in dataclasses.fields(kind)}
    return kind(**{key: value for key, value in described.items() if key in fields})


def _modernized(described: dict) -> dict:
    """Give a contract of version 0.1 today's fields; one of today is left as it is."""
    if "target_format" in described:
        return described

    def modern(column: str, kind: str) -> dict:
        written = described.get("formats", {}).get(column)
        # Which decimal mark a column had was decided file by file, so the rows to be read say so still.
        return {"kind": kind, "decimal": None} | (
            {"date": written} if kind == "date" and written else {"sign": written}
        )

    sentences = {
        "ignore_columns names it": "setting",
        "it has no value": "empty",
        "it has the same value in every row": "constant",
        "it has no name": "unnamed",
    }
    kind = "number" if described["task"] == "regression" else "text"
    return described | {
        "columns": {column: modern(column, kind) for column, kind in described["columns"].items()},
        "target_format": modern(described["target"], kind),
        "task_reason": described["why"],
        "ignored": {column: sentences.get(why, "split_by") for column, why in described.get("ignored", {}).items()},
    }
