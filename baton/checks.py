"""What a careful colleague would say of a table before any model is fitted.

What makes training impossible stops it elsewhere, with an error (`contract`, `split`). All that is found here is a
warning: it names the column, the count and the remedy, and training goes on.
"""

import warnings

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, TargetEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from baton import evaluation
from baton.contract import Contract, present
from baton.split import fingerprint

LOOKED_AT = 10_000  # rows, where each column is tried by itself
GIVEN_AWAY = 0.99  # AUC or R2 of one column alone that no honest column reaches
TELLING = 30  # rows, below which a single column may do so by chance


def check(table: pd.DataFrame, contract: Contract, folds: int) -> list[str]:
    """Look at a training table, all of it, and return the warnings, the gravest first."""
    table = table.reset_index(drop=True)
    answers = contract.answers(table)
    answered, target = table[answers.notna()], answers[answers.notna()]
    rows = contract.rows(answered)
    return [
        *_giveaways(rows, target, contract),
        *_classes(target, contract, folds),
        *_target(table, answers, contract),
        *_duplicates(rows, answered, target, contract),
        *_identifiers(rows, contract),
        *_dates(rows, contract),
        *_groups(answered, contract),
        *_columns(rows, answered, contract),
    ]


def _giveaways(rows: pd.DataFrame, target: pd.Series, contract: Contract) -> list[str]:
    """Columns that nearly tell the target by themselves: mostly written down after it was known."""
    sample = rows.sample(min(len(rows), LOOKED_AT), random_state=0)
    sample = sample[~target[sample.index].isin(_rare(target, 3, contract))]
    coded = contract.encode(target[sample.index]).to_numpy(dtype="float64")
    if len(sample) < TELLING or len(np.unique(coded)) < 2:
        return []
    if not contract.labels:
        coded = stats.rankdata(coded)  # else a few large values would decide
    reached, said = "AUC" if contract.labels else "R2 (of ranks)", []
    for column, kind in contract.columns.items():
        if sample[column].nunique(dropna=False) < 2:
            continue
        found = _alone(sample[[column]], kind, coded, contract)
        if found >= GIVEN_AWAY:
            said.append(
                f"column {column!r} gives the target away: alone it reaches {reached} {found:.3f}."
                " If it is only known once the target is, put it in ignore_columns"
            )
    return said


def _alone(column: pd.DataFrame, kind: str, coded: np.ndarray, contract: Contract) -> float:
    """How well a small tree predicts the target out of fold, from one column."""
    if contract.labels:
        model = DecisionTreeClassifier(max_leaf_nodes=64, min_samples_leaf=3, random_state=0)
        folds, method, metric = StratifiedKFold, "predict_proba", "AUC"
    else:
        model = DecisionTreeRegressor(max_leaf_nodes=256, random_state=0)
        folds, method, metric = KFold, "predict", "R2"
    if kind == "date":
        column = column.astype("datetime64[us]").astype("int64")
    elif kind == "text" and contract.task == "multiclass":
        column = column.fillna("")
        model = make_pipeline(OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), model)
    elif kind == "text":
        column, means = column.fillna(""), {"binary": "binary", "regression": "continuous"}[contract.task]
        model = make_pipeline(TargetEncoder(target_type=means, cv=3, random_state=0), model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told = cross_val_predict(
            model, column.to_numpy(), coded, cv=folds(3, shuffle=True, random_state=0), method=method
        )
    codes = np.unique(coded, return_inverse=True)[1] if contract.labels else coded
    task = contract.task if not contract.labels or told.shape[1] > 2 else "binary"
    return evaluation.score(codes, told, task, metric)[metric]


def _classes(target: pd.Series, contract: Contract, folds: int) -> list[str]:
    rare = _rare(target, folds, contract)
    said = []
    if rare:
        counts = target.value_counts()
        shown = ", ".join(f"{label!r} has {counts.get(label, 0)}" for label in rare[:5]) + (", …" if rare[5:] else "")
        said.append(
            f"{len(rare)} of the {len(contract.labels)} classes of {contract.target!r} have fewer rows than there are folds,"
            f" {folds}, so some folds judge without them: {shown}. Gather more of these, or merge them with another class"
        )
    if contract.labels and not rare:
        shares = target.value_counts(normalize=True)
        if shares.min() < 0.1 / len(shares):
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
    missing, said = int(answers.isna().sum()), []
    if contract.task == "multiclass" and isinstance(contract.labels[0], str):
        classes = pd.Series(contract.labels)
        words = pd.to_numeric(_without_signs(classes), errors="coerce").isna().mean()
        if len(classes) > 10 and words < 0.1 and (words or _written_numbers(classes)):
            said.append(
                f"column {contract.target!r} counts as {len(classes)} classes, but nearly all look like numbers, such as"
                f" {classes.iloc[0]!r}. If it is a quantity, turn it into plain numbers in the table, and empty what is none"
            )
    if missing:
        said.append(f"column {contract.target!r} has no value in {missing} of {len(table)} rows, which are left out")
    return said


def _duplicates(rows: pd.DataFrame, answered: pd.DataFrame, target: pd.Series, contract: Contract) -> list[str]:
    known_by = [column for column in (*contract.id_columns, contract.split_by) if column]
    own = fingerprint(answered, known_by) if known_by else 0
    alike = pd.DataFrame({"row": pd.util.hash_pandas_object(rows, index=False), "own": own, "target": target})
    different, copies = alike["row"].nunique(), int(alike.duplicated().sum())
    if different < len(rows) / 2:
        said = (
            f"{len(rows)} rows hold only {different} different ones, so those that are equal count as cases that look alike."
            " If they are copies of the same case, drop them; if not, name what tells them apart in id_columns"
        )
        return [said] if copies else []
    said = []
    if copies:
        said.append(
            f"{copies} of {len(rows)} rows equal another in all columns, target included. If they are the same case, drop"
            " them; if not, name what tells them apart in id_columns"
        )
    contrary = int((alike.groupby("row")["target"].transform("nunique") > 1).sum())
    if contrary:
        said.append(
            f"{contrary} of {len(rows)} rows equal another in all columns but {contract.target!r}: no model can be right of"
            " all of them. Look for a column that tells them apart"
        )
    return said


def _identifiers(rows: pd.DataFrame, contract: Contract) -> list[str]:
    said = []
    for column in [column for column in contract.columns if column != contract.split_by]:
        values = rows[column].dropna()
        if len(values) < 20 or values.nunique() < 0.99 * len(values) or len(values) < 0.9 * len(rows):
            continue
        numbered = pd.api.types.is_float_dtype(values) and bool((values % 1 == 0).all())
        # All different is usual for a measurement; one after the other, or as many as there are rows, is a number given.
        given = numbered and (values.is_monotonic_increasing or values.max() - values.min() < 2 * len(values))
        if given or (pd.api.types.is_object_dtype(values) and _short(values) and not _written_numbers(values)):
            said.append(
                f"column {column!r} looks like an id: {values.nunique()} different values in {len(rows)} rows. Name it in"
                " id_columns, or in ignore_columns"
            )
    return said


def _short(texts: pd.Series) -> bool:
    """Tell names and keys from sentences."""
    return bool(texts.str.len().max() <= 40 or not texts.str.contains(r"\s").any())


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
    missing = len(answered) - len(present(answered[contract.split_by]))
    as_what = "one group" if contract.split == "group" else "the oldest rows"
    return (
        [f"column {contract.split_by!r}, which rows are split by, has no value in {missing} rows: they are {as_what}"]
        if missing
        else []
    )


def _columns(rows: pd.DataFrame, answered: pd.DataFrame, contract: Contract) -> list[str]:
    said = [f"column {column!r} is left out: {why}" for column, why in contract.idle.items()]
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
    return said + contract.remarks(answered)


def _nearly_numbers(column: str, texts: pd.Series) -> list[str]:
    plain = pd.to_numeric(texts, errors="coerce")
    odd = texts[plain.isna()]
    if texts.nunique() > 10 and 0 < len(odd) < 0.1 * len(texts):
        shown = ", ".join(map(repr, odd.unique()[:3]))
        return [
            f"column {column!r} counts as text because {len(odd)} of {len(texts)} values are no number: {shown}. If those"
            " mean that there is none, empty them; else write clean() in features.py"
        ]
    if texts.nunique() > 10 and plain.isna().any() and _written_numbers(texts):
        return [
            f"column {column!r} counts as text, but its {len(texts)} values look like numbers, such as"
            f" {texts.iloc[0]!r}: turn them into numbers in the table, or in clean() of features.py"
        ]
    return []


def _written_numbers(texts: pd.Series) -> bool:
    """Tell numbers with signs of money, per cent or thousands; plain digits in text are codes."""
    plain = _without_signs(texts)
    return bool(pd.to_numeric(plain, errors="coerce").notna().all() and (plain != texts).any())


def _without_signs(texts: pd.Series) -> pd.Series:
    return texts.str.replace(r"[\s,%$€£]", "", regex=True)


def _rare(target: pd.Series, fewer_than: int, contract: Contract) -> list:
    counts = target.value_counts()
    return [label for label in contract.labels if counts.get(label, 0) < fewer_than]
