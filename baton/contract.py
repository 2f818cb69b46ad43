"""What a model is promised: which question it answers, and which columns of which kind each raw row brings.

Training learns the contract from its table; it travels inside the registered model, and every row that is ever
scored is held to it. So training and serving read a table in the same way, by the same code.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd

from baton import BatonError, config


@dataclasses.dataclass(frozen=True)
class Contract:
    """One question over one kind of table.

    `columns` maps each raw feature to its kind: number, boolean, date or text. `labels` are the classes, the
    positive one last; empty for a regression. `why` says how the question was told from the table.
    """

    name: str
    target: str
    id_columns: list[str]
    columns: dict[str, str]
    task: str
    why: str
    metric: str
    labels: list

    @property
    def features(self) -> list[str]:
        return [*self.columns]

    @property
    def positive(self):
        """The class whose probability a binary model gives; None for other questions."""
        return self.labels[-1] if self.task == "binary" else None

    def to_dict(self) -> dict:
        return dataclasses.asdict(self)

    def rows(self, table: pd.DataFrame, source: str = "the table") -> pd.DataFrame:
        """Take the raw features out of a table, in this contract's order and kinds; more columns than it needs are fine.

        Numbers come back as float64, so that a column reads the same with and without holes in it.
        Raises `BatonError` naming every column that is missing, or the rows of one that are not of its kind.
        """
        require_columns(table, self.features, source)
        return pd.DataFrame(
            {column: _as_kind(table[column], kind, source) for column, kind in self.columns.items()}, index=table.index
        )

    def encode(self, target: pd.Series) -> pd.Series:
        """Number the classes 0, 1, … in the order of `labels`, so that 1 is the positive one; leave numbers alone."""
        return target.map({label: code for code, label in enumerate(self.labels)}) if self.labels else target


def read_contract(path: str) -> Contract:
    """Read the contract that `clean` wrote."""
    return Contract(**json.loads(Path(path).read_text()))


def learn_contract(table: pd.DataFrame, name: str, target: str, id_columns, task: str, metric: str) -> Contract:
    """Say what question a training table asks, and what its raw rows look like.

    `id_columns` is a list, or what `env.yaml` may say instead (see `config.column_names`).
    Rows without a target teach nothing and are left out of this (see `split.separate`).
    Raises `BatonError` if the table lacks a column, or its target has nothing to tell apart.
    """
    name, target, id_columns = str(name), str(target), config.column_names(id_columns)
    require_columns(table, [target], f"the table of {name!r}", key="target")
    require_columns(table, id_columns, f"the table of {name!r}", key="id_columns")
    answers = table[target].dropna()
    if answers.nunique() < 2:
        raise BatonError(
            f"column {target!r}: every one of its {len(answers)} values is {answers.iloc[0]!r}, so there is nothing to learn"
            if len(answers)
            else f"column {target!r}: no row has a value. Set target in env.yaml to the column to be predicted."
        )
    asked, why = _question(answers, task)
    known = config.METRICS[asked]
    if metric != "auto" and metric not in known:
        raise BatonError(f"metric {metric!r} can't judge a {asked} question. Choose one of: {', '.join(known)}")
    if "fold" in table.columns:
        raise BatonError(f"the table of {name!r} has a column 'fold', the name Baton gives to a row's fold; rename it")
    columns = {column: _kind(table[column]) for column in table.columns if column not in {target, *id_columns}}
    if not columns:
        raise BatonError(f"the table of {name!r} has no column besides {target!r} and id_columns to learn from")
    labels = [] if asked == "regression" else _labels(answers)
    return Contract(name, target, id_columns, columns, asked, why, known[0] if metric == "auto" else metric, labels)


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


def _question(answers: pd.Series, task: str) -> tuple[str, str]:
    classes = answers.nunique()
    numeric = pd.api.types.is_numeric_dtype(answers) and not pd.api.types.is_bool_dtype(answers)
    whole = numeric and bool((answers == answers.round()).all())
    if task == "regression" and not numeric:
        raise BatonError(
            f"column {answers.name!r} holds text such as {answers.iloc[0]!r}; task: regression needs numbers"
        )
    if task == "binary" and classes != 2:
        raise BatonError(f"column {answers.name!r} has {classes} different values; task: binary needs two")
    if task != "auto":
        return task, "env.yaml says so"
    if classes == 2:
        return "binary", f"{answers.name} has two values"
    if not numeric:
        return "multiclass", f"{answers.name} holds {classes} names"
    # Few whole numbers, each often repeated, are codes of classes; anything finer is a quantity.
    if whole and classes <= 20 and len(answers) >= 10 * classes:
        return "multiclass", f"{answers.name} holds {classes} whole numbers, each repeated"
    return "regression", f"{answers.name} holds {classes} different numbers"


def _labels(answers: pd.Series) -> list:
    """Order the classes; of two, the positive one comes last: true, 1, yes, else the rarer."""
    labels = sorted(label.item() if isinstance(label, np.generic) else label for label in answers.unique())
    if len(labels) == 2 and all(isinstance(label, str) for label in labels):
        affirmative = [label for label in labels if label.strip().lower() in {"1", "yes", "y", "true", "t", "positive"}]
        positive = affirmative[0] if len(affirmative) == 1 else answers.value_counts().sort_index().idxmin()
        labels.sort(key=lambda label: label == positive)
    return labels


def _kind(column: pd.Series) -> str:
    if pd.api.types.is_bool_dtype(column):
        return "boolean"
    if pd.api.types.is_numeric_dtype(column):
        return "number"
    if pd.api.types.is_datetime64_any_dtype(column):
        return "date"
    return "text"


def _as_kind(column: pd.Series, kind: str, source: str) -> pd.Series:
    numeric, dated = pd.api.types.is_numeric_dtype(column), pd.api.types.is_datetime64_any_dtype(column)
    if kind == "text":
        # Text that is all digits is read as floats where one is missing: 10.0 is the 10 of the other rows.
        whole = numeric and not pd.api.types.is_bool_dtype(column) and bool((column.dropna() % 1 == 0).all())
        plain = column.astype("Int64") if whole else column
        return plain.astype("str").where(column.notna(), None).astype("object")
    if kind == "date":
        converted = pd.Series(pd.NaT, column.index) if numeric else pd.to_datetime(column, errors="coerce")
    elif dated:
        converted = pd.Series(np.nan, column.index)
    else:  # A boolean is a number here: unlike bool, float64 can say that a value is missing.
        plain = column.replace({"True": 1, "False": 0, "true": 1, "false": 0}) if kind == "boolean" else column
        converted = pd.to_numeric(plain, errors="coerce").astype("float64").replace([np.inf, -np.inf], np.nan)
        converted = converted.where(converted.isin([0, 1])) if kind == "boolean" else converted
    lost = column.notna() & converted.isna()
    if lost.any():
        first = column[lost].iloc[0]
        raise BatonError(
            f"{source}, column {column.name!r}: {int(lost.sum())} of {len(column)} values are not a {kind}, the first"
            f" of them {first!r} in row {lost.to_numpy().argmax() + 1}. The model was trained on {kind}s there."
        )
    return converted
