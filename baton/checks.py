"""What a careful colleague would say of a table before any model is fitted.

What makes training impossible stops it elsewhere, with an error (`contract`, `split`). All that is found here is a
warning: it names the column, the count and the remedy, and training goes on.
"""

import warnings

import numpy as np
import pandas as pd
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, TargetEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from baton import evaluation
from baton.contract import Contract

LOOKED_AT = 10_000  # rows, where each column is tried by itself
GIVEN_AWAY = 0.99  # AUC or R2 of one column alone that no honest column reaches


def check(table: pd.DataFrame, contract: Contract, folds: int) -> list[str]:
    """Look at a training table, all of it, and return the warnings, the gravest first."""
    answers = contract.answers(table)
    answered, target = table[answers.notna()], answers[answers.notna()]
    rows = contract.rows(answered)
    return [
        *_giveaways(rows, target, contract),
        *_classes(target, contract, folds),
        *_target(table, answers, contract),
        *_duplicates(rows, target, contract),
        *_identifiers(rows, target),
        *_dates(rows, contract),
        *_groups(answered, contract),
        *_columns(rows, answered, contract),
    ]


def _giveaways(rows: pd.DataFrame, target: pd.Series, contract: Contract) -> list[str]:
    """Columns that nearly tell the target by themselves: mostly written down after it was known."""
    sample = rows.sample(min(len(rows), LOOKED_AT), random_state=0)
    sample = sample[~target[sample.index].isin(_rare(target, 3, contract))]
    coded = contract.encode(target[sample.index]).to_numpy(dtype="float64")
    said = []
    for column, kind in contract.columns.items():
        if len(np.unique(coded)) < 2 or sample[column].nunique() < 2:
            continue
        found = _alone(sample[[column]], kind, coded, contract)
        if found >= GIVEN_AWAY:
            said.append(
                f"column {column!r} gives the target away: alone it reaches {'AUC' if contract.labels else 'R2'} {found:.3f}."
                " If it is only known once the target is, put it in ignore_columns"
            )
    return said


def _alone(column: pd.DataFrame, kind: str, coded: np.ndarray, contract: Contract) -> float:
    """How well a small tree predicts the target out of fold, from one column."""
    if kind == "text":
        column = column.fillna("")
        encoder = TargetEncoder(random_state=0, cv=3)
        # Two of three rows must share a value for it to tell of the third: else there is nothing to learn from it.
        tree = (
            [encoder]
            if contract.task != "multiclass"
            else [OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)]
        )
    else:
        column, tree = column.astype("datetime64[us]").astype("int64") if kind == "date" else column, []
    kinds = (
        (DecisionTreeClassifier, StratifiedKFold, "predict_proba")
        if contract.labels
        else (DecisionTreeRegressor, KFold, "predict")
    )
    model = make_pipeline(*tree, kinds[0](max_leaf_nodes=64, min_samples_leaf=3, random_state=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told = cross_val_predict(
            model, column.to_numpy(), coded, cv=kinds[1](3, shuffle=True, random_state=0), method=kinds[2]
        )
    codes = np.unique(coded, return_inverse=True)[1] if contract.labels else coded
    metric = "AUC" if contract.labels else "R2"
    task = contract.task if not contract.labels or told.shape[1] > 2 else "binary"
    return evaluation.score(codes, told, task, metric)[metric]


def _classes(target: pd.Series, contract: Contract, folds: int) -> list[str]:
    rare = {label: int((target == label).sum()) for label in _rare(target, folds, contract)}
    said = [
        f"class {label!r} of {contract.target!r} has {count} rows, fewer than the {folds} folds: some folds judge without"
        " it. Gather more of it, or merge it with another class"
        for label, count in rare.items()
    ]
    if contract.labels and not rare:
        shares = target.value_counts(normalize=True)
        if shares.min() < 0.05:
            fooled = (
                f"; {contract.metric} flatters a model that never names it, AUC does not"
                if contract.metric == "Accuracy"
                else ""
            )
            said.append(
                f"class {shares.idxmin()!r} of {contract.target!r} is rare, {shares.min():.1%} of the rows: the likeliest"
                f" class will hardly ever be it, so go by the probability{fooled}"
            )
    return said


def _target(table: pd.DataFrame, answers: pd.Series, contract: Contract) -> list[str]:
    missing = int(answers.isna().sum())
    return (
        [f"column {contract.target!r} has no value in {missing} of {len(table)} rows, which are left out"]
        if missing
        else []
    )


def _duplicates(rows: pd.DataFrame, target: pd.Series, contract: Contract) -> list[str]:
    said = []
    same = rows.assign(**{"target of this row": target})
    copies = int(same.duplicated().sum())
    if copies:
        said.append(
            f"{copies} rows equal another in all columns, target included: they count once in judging. If they are the"
            " same case, drop them; if not, name what tells them apart in id_columns"
        )
    contrary = int((rows.duplicated(keep=False) & ~same.duplicated(keep=False)).sum())
    if contrary:
        said.append(
            f"{contrary} rows equal another in all columns but {contract.target!r}: no model can be right of all of them."
            " Look for a column that tells them apart"
        )
    return said


def _identifiers(rows: pd.DataFrame, target: pd.Series) -> list[str]:
    said = []
    for column, values in rows.items():
        present = values.dropna()
        if len(present) < 20 or present.nunique() < 0.99 * len(present) or len(present) < 0.9 * len(rows):
            continue
        numbered = pd.api.types.is_float_dtype(present) and bool((present % 1 == 0).all())
        # All different is usual for a measurement; one after the other, or as many as there are rows, is a number given.
        given = numbered and (present.is_monotonic_increasing or present.max() - present.min() < 2 * len(present))
        if given or (pd.api.types.is_object_dtype(present) and present.str.len().max() <= 40):
            said.append(
                f"column {column!r} looks like an id: {present.nunique()} different values in {len(rows)} rows. Name it in"
                " id_columns, or in ignore_columns"
            )
    return said


def _dates(rows: pd.DataFrame, contract: Contract) -> list[str]:
    if contract.split == "time":
        return []
    dated = {column: rows[column].dropna() for column, kind in contract.columns.items() if kind == "date"}
    return [
        f"column {column!r} holds {values.nunique()} dates from {values.min():%Y-%m-%d} to {values.max():%Y-%m-%d}. If the rows"
        f" to be scored come later than these, judge so: split: time, split_by: {column}"
        for column, values in dated.items()
        if values.nunique() > 10 and values.min().year > 1900  # a time of day has no year
    ]


def _groups(answered: pd.DataFrame, contract: Contract) -> list[str]:
    if contract.split == "hash":
        return []
    missing = int(
        answered[contract.split_by].isna().sum() + (answered[contract.split_by].astype("str").str.strip() == "").sum()
    )
    as_what = "one group" if contract.split == "group" else "the oldest rows"
    return (
        [f"column {contract.split_by!r}, which rows are split by, has no value in {missing} rows: they are {as_what}"]
        if missing
        else []
    )


def _columns(rows: pd.DataFrame, answered: pd.DataFrame, contract: Contract) -> list[str]:
    said = [
        f"column {column!r} is left out: {why}" for column, why in contract.ignored.items() if why.startswith("it has ")
    ]
    if len(rows) < 10 * len(contract.columns):
        said.append(
            f"{len(rows)} rows are few for {len(contract.columns)} columns: less than ten a column. Put columns that can't"
            " matter in ignore_columns, or gather more rows"
        )
    for column, kind in contract.columns.items():
        holes = rows[column].isna().mean()
        if holes > 0.95:
            said.append(f"column {column!r} has a value in {1 - holes:.1%} of the rows only; consider ignore_columns")
        if kind == "text":
            said += _nearly_numbers(column, rows[column].dropna())
    return said + [remark for remark in contract.remarks(answered) if "infinite" in remark]


def _nearly_numbers(column: str, texts: pd.Series) -> list[str]:
    plain = pd.to_numeric(texts, errors="coerce")
    odd = texts[plain.isna()]
    if texts.nunique() > 10 and 0 < len(odd) < 0.1 * len(texts):
        shown = ", ".join(map(repr, odd.unique()[:3]))
        return [
            f"column {column!r} counts as text because {len(odd)} of {len(texts)} values are no number: {shown}. If those"
            " mean that there is none, empty them; else write clean() in features.py"
        ]
    written = pd.to_numeric(texts.str.replace(r"[\s,%$€£]", "", regex=True), errors="coerce")
    if texts.nunique() > 10 and plain.isna().any() and written.notna().all():
        return [
            f"column {column!r} counts as text, but its {len(texts)} values look like numbers, such as"
            f" {texts.iloc[0]!r}: turn them into numbers in the table, or in clean() of features.py"
        ]
    return []


def _rare(target: pd.Series, fewer_than: int, contract: Contract) -> list:
    counts = target.value_counts()
    return [label for label in contract.labels if counts.get(label, 0) < fewer_than]
