"""What a careful colleague would say of a table before any model is fitted.

What makes training impossible stops it elsewhere, with an error (`contract`, `split`). All that is found here is a
warning: it names the column, the count and the remedy, and training goes on. What relates columns to the target is
looked for in the training rows alone, so that the holdout is set aside before anyone looks.
"""

import dataclasses
import itertools
import warnings

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, TargetEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from baton.config import Settings
from baton.data import values
from baton.data.contract import IGNORED, Contract
from baton.data.split import Division, choose_splitter
from baton.training import evaluation, preparation

LOOKED_AT = 5_000  # rows, where each column is tried by itself
FEWEST = 30  # rows below which a single column may tell the target by chance, or values that are too few for an entity

LEAK = 0.99  # AUC or R2 of one column alone that no honest column reaches
EXACT = 0.999  # Kappa, or R2 where it is right, of a copy of the target
SUSPICIOUS = 0.95  # AUC or R2 that few honest columns reach
COPY = 0.85  # Kappa of one column alone: a copy of the target with some errors, also where a class is rare
ERRORS = 0.15  # share of the rows where a copied number may be wrong

EACH = (2, 25)  # rows that an entity, such as a customer, has on average
FEW = 5  # entities, of those that have more rows each, such as shops
OWN = 0.9  # share of the variance of half of the features, and two at least, that goes with such a one
TOGETHER = 0.1  # share of the target's variance that goes with an entity
UNEVEN = 0.3  # rows of equal weight that tell as much as a weighted row, below which that is told
FIXED = 0.5  # share of a feature's variance that does


def check(table: pd.DataFrame, division: Division, settings: Settings) -> list[str]:
    """Look at a training table and how it was divided, and return the warnings, the gravest first."""
    contract, facts = division.contract, division.facts
    rows = pd.concat([division.training, division.holdout], ignore_index=True)
    columns, y = _read_all(rows, contract), rows[contract.target]
    X, training = columns[contract.features], range(len(division.training))
    entity, belonging = _find_entity(columns.loc[training], y.loc[training], division)
    groups = columns.get(contract.split_by if contract.split == "group" else entity)
    return [
        *_leaks(X.loc[training], y.loc[training], groups, contract),
        *_entity(columns, entity, belonging),
        *_classes(table, division, settings),
        *_share(facts, settings),
        *_target(table, y, contract, settings, facts),
        *_ambiguous(table, contract),
        *_duplicates(columns, y, training, contract, facts),
        *_identifiers(columns, contract),
        *_dates(X, contract),
        *_undivided(rows, contract),
        *_columns(X, rows, contract),
        *_weights(rows, contract),
    ]


def _read_all(rows: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """Read the features, and the ids and ignored columns as if they were some."""
    left_out = {contract.target, contract.weight, "", *contract.columns, *contract.uninformative}
    others = values.learn_formats(rows[[column for column in rows if column not in left_out]])
    return dataclasses.replace(contract, columns=contract.columns | others).read_features(rows)


def _leaks(X: pd.DataFrame, y: pd.Series, groups: pd.Series | None, contract: Contract) -> list[str]:
    """Columns that nearly tell the target by themselves: mostly written down after it was known.

    Rows of a group are predicted from those of others: what is the same all over a customer's rows is no leak.
    """
    sample = X.sample(min(len(X), LOOKED_AT), random_state=0)
    sample = sample[~y[sample.index].isin(_rare(y, 3, contract))]
    coded = contract.encode(y[sample.index]).to_numpy(dtype="float64")
    if len(sample) < FEWEST or len(np.unique(coded)) < 2:
        return []
    if not contract.labels:
        coded = stats.rankdata(coded)  # else a few large values would decide
    folds = _folds(coded, groups if groups is None else groups[sample.index], contract)
    leaks, filled, suspicious = [], [], []
    for column in X:
        figures = []
        if sample[column].nunique(dropna=False) > 1:
            figures = _score_alone(sample[[column]], contract.kinds[column], coded, folds, contract)
        sure = [f"{name} {value:.3f}" for name, value, _, limit in figures if value >= limit]
        doubtful = [f"{name} {value:.3f}" for name, value, limit, _ in figures if value >= limit]
        if sure:
            leaks.append(
                f"column {column!r} gives the target away: alone it reaches {sure[0]}."
                " If it is only known once the target is, put it in ignore_columns"
            )
        elif said := _filled_by_class(X[column], y, contract):
            filled.append(f"{said}. If it is only filled in once the target is known, put it in ignore_columns")
        elif doubtful:
            suspicious.append(f"{column!r} ({doubtful[0]})")
    if suspicious:
        suspicious = [
            f"{'columns' if suspicious[1:] else 'column'} {_listed(suspicious)} nearly"
            f" {'tell the target, each' if suspicious[1:] else 'tells the target'} alone. Make sure that such values"
            " are known before the target is; if not, use ignore_columns"
        ]
    return leaks + filled + suspicious


def _folds(coded: np.ndarray, groups: pd.Series | None, contract: Contract) -> list[tuple]:
    codes = None if groups is None else pd.factorize(groups, use_na_sentinel=False)[0]
    kind = choose_splitter(bool(contract.labels), grouped=codes is not None and codes.max() >= 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class in fewer groups than folds
        return [*kind(3, shuffle=True, random_state=0).split(coded, coded, codes)]


def _score_alone(column: pd.DataFrame, kind: str, coded: np.ndarray, folds: list, contract: Contract) -> list[tuple]:
    """Score what a small tree predicts out of fold from one column; with what is suspicious, and what is sure.

    Of a column that grows or falls with the target, a tree sees steps alone: such a one counts as it is, too.
    """
    in_order = None if kind == "text" else _rank(column.iloc[:, 0])
    if contract.labels:
        model = DecisionTreeClassifier(max_leaf_nodes=64, min_samples_leaf=3, random_state=0)
        method = "predict_proba"
    else:
        model = DecisionTreeRegressor(max_leaf_nodes=256, random_state=0)
        method = "predict"
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
        predicted = cross_val_predict(model, column.to_numpy(), coded, cv=folds, method=method)
    if not contract.labels:
        error = (coded - predicted) ** 2
        right = error <= np.quantile(error, 1 - ERRORS)
        spread = coded[right].var()
        trimmed = 1 - error[right].mean() / spread if spread > 0.1 * coded.var() else 0.0  # not if nearly all are zeros
        ordered = 0.0 if in_order is None else np.corrcoef(in_order, coded)[0, 1] ** 2
        return [
            ("R2 (of ranks)", max(1 - error.mean() / coded.var(), ordered), SUSPICIOUS, LEAK),
            (f"R2 (of ranks, without the worst {ERRORS:.0%})", trimmed, LEAK, EXACT),
        ]
    codes = np.unique(coded, return_inverse=True)[1]
    task = contract.task if predicted.shape[1] > 2 else "binary"
    auc, kappa = (evaluation.score(codes, predicted, task, metric)[metric] for metric in ("AUC", "Kappa"))
    if in_order is not None and task == "binary":
        ordered = roc_auc_score(codes, in_order)
        auc = max(auc, ordered, 1 - ordered)
    return [("AUC", auc, SUSPICIOUS, LEAK), ("Kappa", kappa, COPY, EXACT)]


def _filled_by_class(column: pd.Series, y: pd.Series, contract: Contract) -> str:
    """Say so if nearly all rows of a class have a value in a column, and hardly any other, or the other way round."""
    filled = column.notna()
    for label in contract.labels[::-1] if not filled.all() else []:
        of_class = y == label
        inside, outside = filled[of_class].mean(), filled[~of_class].mean()
        if (
            min(of_class.sum(), (~of_class).sum()) >= 10
            and max(inside, outside) >= 0.9
            and min(inside, outside) <= 0.05
        ):
            return (
                f"column {column.name!r} has a value in {inside:.1%} of the rows of class {label!r}, and in"
                f" {outside:.1%} of the others"
            )
    return ""


def _find_entity(columns: pd.DataFrame, y: pd.Series, division: Division) -> tuple[str | None, list[str]]:
    """Find a column that names what several rows are about, such as a customer, and the columns that go with it.

    The target goes with the values of such a column, and more so than with the values next to them: that tells it from
    a measurement, such as an age. Either the column is a feature itself, or others give it away.
    """
    contract = division.contract
    groups, answers = (pd.factorize(of)[0].astype("int64") for of in (division.folds["group"].to_numpy(), y))
    found = {}
    for column in columns if contract.split == "hash" else []:
        if not _may_be_entity(columns[column]):
            continue
        codes, there = pd.factorize(columns[column], sort=True)
        if _pairs(codes, groups) < 1.1 * len(there):  # its rows stay together as it is
            continue
        if _pairs(codes, answers) < 1.1 * min(len(there), y.nunique()):  # the target under other names
            continue
        if columns[column].count() > EACH[1] * len(there):
            if related := _attributes(columns[contract.features].drop(columns=column, errors="ignore"), y, codes):
                found[column] = (len(there), True), related
            continue
        step = -(-len(codes) // LOOKED_AT)
        used = (codes >= 0) & (codes % step == 0)
        share, noise = _explain(_rank(y[used])[:, None], codes[used] // step)
        if share[0] < max(TOGETHER, 4 * noise[0]):
            continue
        others = [other for other in columns if other != column]
        coded = np.column_stack([_rank(columns.loc[used, other]) for other in others])
        related = [*itertools.compress(others, _explain(coded, codes[used] // step)[0] >= FIXED)]
        if related or column in contract.columns:
            found[column] = (len(there), not _has_fractions(columns[column])), related
    best = max(found, key=lambda column: found[column][0], default=None)  # the finest one
    return (best, found[best][1]) if found else (None, [])


def _may_be_entity(column: pd.Series) -> bool:
    different, each = column.nunique(), column.count() / max(column.nunique(), 1)
    if different < FEW or pd.api.types.is_datetime64_any_dtype(column):
        return False
    years = pd.api.types.is_float_dtype(column) and column.min() >= 1900 and column.max() <= 2100
    if each > EACH[1]:
        return not years and not _has_fractions(column)
    return not years and different >= FEWEST and each >= EACH[0]


def _attributes(X: pd.DataFrame, y: pd.Series, codes: np.ndarray) -> list[str]:
    """The features that hardly differ within a few large groups, if there are so many that the groups are entities.

    That the target goes with the groups too is usual, and of one feature it is: a plan has its price.
    """
    used = np.flatnonzero(codes >= 0)[:: -(-len(codes) // LOOKED_AT)]
    ranked = pd.DataFrame({place: _rank(values.iloc[used]) for place, values in enumerate([y, *(X[c] for c in X)])})
    within = ranked - ranked.groupby(codes[used]).transform("mean")
    shares = 1 - within.var() / ranked.var().clip(lower=1e-9)
    related = [column for column, share in zip(X, shares[1:], strict=True) if share >= OWN]
    return related if shares[0] >= TOGETHER and len(related) >= max(2, len(X.columns) / 2) else []


def _pairs(codes: np.ndarray, others: np.ndarray) -> int:
    """How many different pairs of values two columns have, by their codes."""
    return len(pd.unique(codes[codes >= 0] * (others.max() + 1) + others[codes >= 0]))


def _explain(coded: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tell which share of each column's variance goes with groups, beyond what goes with the next one; and its error.

    It is the share between groups of an analysis of variance, less the covariance of neighbouring groups' means.
    """
    coded = (coded - coded.mean(axis=0)) / np.maximum(coded.std(axis=0), 1e-9)
    order = np.argsort(groups, kind="stable")
    sizes = np.unique(groups, return_counts=True)[1]
    means = np.add.reduceat(coded[order], np.r_[0, sizes.cumsum()[:-1]]) / sizes[:, None]
    between = (sizes[:, None] * means**2).sum(axis=0)
    within = ((coded**2).sum(axis=0) - between) / max(sizes.sum() - len(sizes), 1)
    usual = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / (len(sizes) - 1)
    share = (between / (len(sizes) - 1) - within) / usual
    neighbours = (means[1:] * means[:-1]).mean(axis=0)
    return share - np.maximum(neighbours, 0), (means**2).mean(axis=0) / np.sqrt(len(sizes))


def _rank(column: pd.Series) -> np.ndarray:
    return stats.rankdata(pd.factorize(column, sort=True)[0])


def _entity(columns: pd.DataFrame, entity: str | None, belonging: list[str]) -> list[str]:
    if entity is None:
        return []
    different, rows = columns[entity].nunique(), columns[entity].count()
    shared = " and ".join([*filter(None, [_listed(map(repr, belonging))]), "much of the target"])
    return [
        f"column {entity!r} names what rows have in common: {different} values, some {rows / different:.0f} rows each,"
        f" which share {shared}. The holdout has other rows of the same values, so models look better there than on"
        f" new ones. If rows to be scored bring new values, set split: group, split_by: {entity}"
    ]


def _classes(table: pd.DataFrame, division: Division, settings: Settings) -> list[str]:
    contract, target, said = division.contract, division.contract.target, []
    training, holdout = division.training[target], division.holdout[target]
    if left_out := division.facts["holdout_of_unlearned_classes_left_out"]:
        given = table[target][contract.read_target(table).isna()].dropna()
        texts = values.as_texts(given)
        names = texts[~texts.str.lower().isin(values.MISSING)].unique()
        said.append(
            f"classes of {target!r} without a training row: {_listed(names)}. No model can predict them, so their"
            f" {left_out} holdout rows are left out. Gather more of these, or merge them with another class"
        )
    if unseen := [label for label in contract.labels if not (holdout == label).any()]:
        said.append(
            f"classes of {target!r} without a holdout row: {_listed(map(repr, unseen))}. How well they are predicted"
            " will not be measured. Gather more of these, or merge them with another class"
        )
    folds = settings.folds
    if rare := _rare(training, folds, contract):
        counts = training.value_counts()
        said.append(
            f"{len(rare)} of the {len(contract.labels)} classes of {target!r} have fewer training rows than there are"
            f" folds, {folds}, so some folds validate without them:"
            f" {_listed(f'{label!r} has {counts[label]}' for label in rare)}. Gather more of these, or merge them with"
            " another class"
        )
    elif contract.labels:
        shares = pd.concat([training, holdout]).value_counts(normalize=True)
        rarest = min(contract.labels, key=lambda label: shares.get(label, 0))
        if shares.min() < 0.1 / len(shares):
            flattered = (
                f"; {contract.metric} flatters a model that never predicts it, AUC does not"
                if contract.metric == "Accuracy"
                else ""
            )
            said.append(
                f"class {rarest!r} of {target!r} is rare, {shares.min():.1%} of the rows: the likeliest class"
                f" will hardly ever be it, so go by the probability{flattered}"
            )
    return said


def _share(facts: dict, settings: Settings) -> list[str]:
    share = facts["holdout_share"]
    if settings.holdout / 1.5 <= share <= settings.holdout * 1.5:
        return []
    why = {
        "hash": "in a table this small chance decides",
        "group": f"the groups of {settings.split_by!r} are few, or of unequal size. Split by a column with more groups",
        "time": f"many rows have the same {settings.split_by!r}. Split by a finer one",
    }[settings.split]
    return [f"the holdout is {share:.1%} of the rows, and holdout asks for {settings.holdout:.0%}: {why}"]


def _target(table: pd.DataFrame, y: pd.Series, contract: Contract, settings: Settings, facts: dict) -> list[str]:
    target, said = contract.target, []
    if contract.task == "multiclass" and isinstance(contract.labels[0], str):
        classes = pd.Series(contract.labels)
        words = (~values.looks_numeric(classes)).mean()
        if len(classes) > 10 and words < 0.1 and (words or _written_numbers(classes)):
            said.append(
                f"column {target!r} counts as {len(classes)} classes, but nearly all look like numbers, such as"
                f" {classes.iloc[0]!r}. If it is a quantity, turn it into plain numbers in the table, and empty what"
                " is none"
            )
    if contract.positive_reason == "rarer":
        negative, positive = contract.labels
        share = (y == positive).mean()
        reason = f"it is the rarer one, {share:.1%} of the rows" if share < 0.5 else "neither is rarer"
        said.append(
            f"class {positive!r} of {target!r} counts as positive, because {reason}: its probability is given. To"
            f" choose the other, set positive: {negative}"
        )
    if settings.task == "auto" and contract.task != "binary" and contract.target_format.kind == "number":
        different, each = y.nunique(), len(y) / y.nunique()
        # 0, 1, 2 are mostly codes of classes, and what has more values than this an amount.
        if 4 <= different <= 20 and each >= 3 and (y % 1 == 0).all():
            counts, other = ("classes", "regression") if contract.labels else ("amounts", "multiclass")
            meant = "amounts or scores, where 4 is nearer to 5 than to 8" if contract.labels else "codes of classes"
            said.append(
                f"column {target!r} holds {different} whole numbers, from {y.min():.0f} to {y.max():.0f}, which count"
                f" as {counts}. If they are {meant}, set task: {other}"
            )
    if missing := facts["without_target"]:
        said.append(f"column {target!r} has no value in {missing} of {len(table)} rows, which are left out")
    return said


def _ambiguous(table: pd.DataFrame, contract: Contract) -> list[str]:
    """Columns whose numbers mean one thing with a decimal point and another with a decimal comma."""
    numbers = {
        column: how
        for column, how in {**contract.columns, contract.target: contract.target_format}.items()
        if how.kind == "number" and how.decimal
    }
    doubtful = [column for column in numbers if values.is_ambiguous(table[column])]
    said = []
    for column in doubtful:
        how = numbers[column]
        clear = [one for one in numbers if one not in doubtful and _settles(table[one], numbers[one], how.decimal)]
        why = "nothing in the table says otherwise"
        if clear:
            why = f"the numbers of {clear[0]!r} have one"
        elif table.attrs.get("decimal") == how.decimal:
            why = "that is usual in a file like this"
        texts = values.present(table[column])
        read = pd.DataFrame({mark: values.parse_numbers(texts, mark, how.sign) for mark in ".,"})
        first = (read["."] != read[","]).argmax()
        said.append(
            f"column {column!r} can be read in two ways: {texts.iloc[first]!r} is taken for"
            f" {read[how.decimal].iloc[first]:g}, with a decimal {'point' if how.decimal == '.' else 'comma'}, because"
            f" {why}. If that is wrong, write it in the table as {read[','].iloc[first]:g}, or"
            f" {read['.'].iloc[first]:.4f}"
        )
    return said


def _settles(column: pd.Series, how: values.Format, mark: str) -> bool:
    """Tell whether a column's numbers can be read with this decimal mark, and with no other."""
    if not values.is_text(column):
        return False
    other = {".": ",", ",": "."}[mark]
    return how.decimal == mark and values.parse_numbers(values.present(column), other, how.sign).isna().any()


def _duplicates(columns: pd.DataFrame, y: pd.Series, training: range, contract: Contract, facts: dict) -> list[str]:
    X = columns[contract.features]
    by = pd.util.hash_pandas_object(columns[contract.split_by], index=False) if contract.split_by else 0
    alike = pd.DataFrame({"X": pd.util.hash_pandas_object(X, index=False), "by": by, "y": y})
    different, equal, said = alike["X"].nunique(), int(alike.duplicated().sum()), []
    if copies := facts["copies_left_out"]:
        said.append(
            f"{copies} of {facts['rows']} rows equal another in every column, ids too: as copies they are left out"
        )
    if equal and contract.id_columns:
        said.append(
            f"{equal} of {len(X)} rows equal another in all columns but {_listed(map(repr, contract.id_columns))}: they"
            " count as different cases. If they are the same case under two ids, drop them"
        )
    elif equal and different < len(X) / 2:
        return [
            f"{len(X)} rows hold only {different} different ones, so those that are equal count as different cases"
            " that look alike. If they are copies of the same case, drop them; if not, name what tells them apart in"
            " id_columns"
        ]
    elif equal:
        said.append(
            f"{equal} of {len(X)} rows equal another in all columns, target included. If they are the same case, drop"
            " them; if not, name what tells them apart in id_columns"
        )
    contrary = int((alike.loc[training].groupby("X")["y"].transform("nunique") > 1).sum())
    if contrary and (contract.id_columns or different >= len(X) / 2):
        said.append(
            f"{contrary} of {len(training)} training rows equal another in all columns but"
            f" {_listed(map(repr, [*contract.id_columns, contract.target]))}: no model can be right about all of them."
            " Look for a column that tells them apart"
        )
    return said


def _identifiers(columns: pd.DataFrame, contract: Contract) -> list[str]:
    ids = [column for column in columns if column != contract.split_by and _looks_like_id(columns[column])]
    if contract.id_columns:
        return [
            f"column {column!r} looks like an id: {columns[column].nunique()} different values in {len(columns)} rows."
            " Name it in id_columns, or in ignore_columns"
            for column in ids
            if column in contract.columns
        ]
    if contract.split == "hash":
        follows = "a changed value, or a new column, moves rows between training and holdout"
    else:
        follows = "a row with a changed value can't be told from one that no model has seen"
    if ids:
        remedy = (
            f"Column {ids[0]!r} looks like an id: {columns[ids[0]].nunique()} different values in {len(columns)} rows."
            f" Set id_columns: {ids[0]}"
        )
        if also := [column for column in ids[1:] if column in contract.columns]:
            remedy += f"; {_listed(map(repr, also))} would do as well, or belong in ignore_columns"
    elif unique := [column for column in columns if _is_unique(columns[column]) and _is_key(columns[column])]:
        remedy = f"Column {unique[0]!r} would do, if its values never change: set id_columns: {unique[0]}"
    elif pair := _find_pair(columns[contract.features]):
        remedy = f"Columns {pair[0]!r} and {pair[1]!r} together tell all rows apart: set id_columns: {', '.join(pair)}"
    else:
        remedy = (
            "No column, and no pair of columns, would do: if rows have a key where they come from, add it to the table"
        )
    return [f"there are no id_columns, and without ids {follows}. {remedy}"]


def _looks_like_id(column: pd.Series) -> bool:
    there = column.dropna()
    if not _is_unique(column):
        return False
    if pd.api.types.is_float_dtype(there):
        # All different is usual for a measurement; growing, or as many as there are rows, is a number given.
        grows = (there.diff() < 0).sum() <= 1  # all over the training rows, and over the holdout rows behind them
        given = grows or there.max() - there.min() < 2 * len(there)
        return bool((there % 1 == 0).all() and given)
    if pd.api.types.is_datetime64_any_dtype(there):
        return False
    short = there.str.len().max() <= 40 or not there.str.contains(r"\s").any()  # no sentence
    return bool(short) and not _written_numbers(there)


def _is_unique(column: pd.Series) -> bool:
    there = column.dropna()
    return len(there) >= 20 and len(there) >= 0.9 * len(column) and there.nunique() >= 0.99 * len(there)


def _is_key(column: pd.Series) -> bool:
    """Tell whether a column could be part of an id: no fraction, no sentence."""
    if pd.api.types.is_object_dtype(column):
        return bool((column.drop_duplicates().str.len() <= 40).mean() > 0.9)
    return not _has_fractions(column)


def _has_fractions(column: pd.Series) -> bool:
    return pd.api.types.is_float_dtype(column) and bool((column.dropna() % 1 != 0).any())


def _find_pair(columns: pd.DataFrame) -> tuple[str, str] | None:
    """Find two columns that tell all rows apart together, where chance would have left many equal."""
    rows = len(columns)
    complete = [column for column in columns if columns[column].notna().all()]
    keys = [column for column in complete if rows >= 20 and _is_key(columns[column])]
    codes = {column: pd.factorize(columns[column], use_na_sentinel=False)[0] for column in keys}
    likeliest = sorted(keys, key=lambda column: -codes[column].max())[:20]
    order = {column: np.argsort(codes[column], kind="stable")[:5000] for column in likeliest}
    alike = {column: ((np.bincount(codes[column]) / rows) ** 2).sum() for column in likeliest}
    found = {}
    for one, other in itertools.combinations(likeliest, 2):
        by_chance = rows**2 / 2 * alike[one] * alike[other]  # pairs of equal rows, were the columns unrelated
        allowed = min(0.01 * rows, by_chance / 10)
        if by_chance < 10 or (codes[one].max() + 1) * (codes[other].max() + 1) < rows - allowed:
            continue
        both = codes[one].astype("int64") * (codes[other].max() + 1) + codes[other]
        part = both[order[one]]
        if len(part) - len(np.unique(part)) <= allowed >= rows - len(np.unique(both)):
            found[one, other] = by_chance
    return tuple(sorted(max(found, key=found.get), key=[*columns].index)) if found else None


def _dates(X: pd.DataFrame, contract: Contract) -> list[str]:
    if contract.split != "hash":
        return []
    dated = {column: X[column].dropna() for column, kind in contract.kinds.items() if kind == "date"}
    return [
        f"column {column!r} holds {there.nunique()} dates from {there.min():%Y-%m-%d} to {there.max():%Y-%m-%d}. If"
        f" the rows to be scored come later than these, set split: time, split_by: {column}"
        for column, there in dated.items()
        if there.nunique() > 10 and there.min().year > 1900  # a time of day has no year
    ]


def _undivided(rows: pd.DataFrame, contract: Contract) -> list[str]:
    if contract.split == "hash":
        return []
    by = contract.split_by
    lacking = values.is_missing(rows[by]) if contract.split == "group" else contract.read_times(rows).isna()
    count = int(lacking.sum())
    return (
        [
            f"column {by!r}, which rows are split by, has no value in {count} of {len(rows)} rows: these are split by"
            " hash"
        ]
        if count
        else []
    )


def _columns(X: pd.DataFrame, rows: pd.DataFrame, contract: Contract) -> list[str]:
    said = [f"column {column!r} is left out: {IGNORED[contract.ignored[column]]}" for column in contract.uninformative]
    if len(X) < 10 * len(contract.columns):
        said.append(
            f"{len(X)} rows are few for {len(contract.columns)} columns: less than ten a column. Put columns that can't"
            " matter in ignore_columns, or gather more rows"
        )
    unused = []
    for column, kind in contract.kinds.items():
        holes = X[column].isna().mean()
        if holes > 0.95:
            said.append(f"column {column!r} has a value in {1 - holes:.1%} of the rows only; consider ignore_columns")
        if kind == "text":
            meant_as_numbers = _nearly_numbers(column, X[column].dropna())
            said += meant_as_numbers
            if meant_as_numbers or not preparation.hardly_repeats(X[column]):
                continue
            if not preparation.is_free_text(X[column]):
                unused.append(column)
    if unused:
        said.append(
            f"nothing is learned from {_listed(map(repr, unused))}: texts that hardly repeat. Derive something from"
            " them in features.py, or put them in ignore_columns"
        )
    return said + contract.remarks(rows)


def _weights(rows: pd.DataFrame, contract: Contract) -> list[str]:
    """Weights that are so uneven that few rows count, by the effective number of rows (Kish, 1965)."""
    weights = contract.read_weights(rows)
    if weights is None or (effective := weights.sum() ** 2 / np.sum(weights**2)) >= UNEVEN * len(rows):
        return []
    return [
        f"column {contract.weight!r}: the weights are so uneven that {len(rows)} rows tell as much as {effective:.0f}"
        " of equal weight, so intervals are wide and a better model is seldom found. If a few are larger than they"
        " should be, cut them in the table"
    ]


def _nearly_numbers(column: str, texts: pd.Series) -> list[str]:
    different = texts.drop_duplicates()
    odd = texts[texts.isin(different[~values.looks_numeric(different)])]
    if len(different) > 10 and 0 < len(odd) < 0.1 * len(texts):
        return [
            f"column {column!r} counts as text because {len(odd)} of {len(texts)} values are no number:"
            f" {', '.join(map(repr, odd.unique()[:3]))}. If those mean that there is none, empty them; else write"
            " clean() in features.py"
        ]
    if len(different) > 10 and odd.empty and _written_numbers(different):
        return [
            f"column {column!r} counts as text, but its {len(texts)} values look like numbers, such as"
            f" {texts.iloc[0]!r}: turn them into numbers in the table, or in clean() of features.py"
        ]
    return []


def _written_numbers(texts: pd.Series) -> bool:
    """Tell numbers with signs of money, per cent or thousands; plain digits in text are codes."""
    return bool(values.looks_numeric(texts).all() and values.parse_numbers(texts).isna().any())


def _rare(y: pd.Series, fewer_than: int, contract: Contract) -> list:
    counts = y.value_counts()
    return [label for label in contract.labels if counts.get(label, 0) < fewer_than]


def _listed(names) -> str:
    """The first five of some names."""
    names = [*names]
    return ", ".join(names[:5]) + (", …" if names[5:] else "")
