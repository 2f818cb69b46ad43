"""Who may see which row: the frozen holdout, and the folds within the training rows."""

import dataclasses
import hashlib
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold, KFold, PredefinedSplit, StratifiedGroupKFold, StratifiedKFold

from baton import BatonError, config
from baton.data import values
from baton.data.contract import Contract

CHUNK = 50_000  # rows whose values are held as text at once


class Division(NamedTuple):
    """A table divided. `training` and `holdout` hold raw rows with their target as `Contract.read_target` reads it.

    `folds` gives each row of `training` the number of the fold that validates on it; -1 never validates. `groups` names
    what each training row belongs to: a group stays in one fold. `contract` has only classes that can be learned from
    `training`. `facts` counts rows, and has the share of the holdout.
    """

    training: pd.DataFrame
    holdout: pd.DataFrame
    folds: pd.DataFrame
    contract: Contract
    facts: dict[str, float]


def separate(table: pd.DataFrame, contract: Contract, settings: config.Settings) -> Division:
    """Divide the rows that have a target into training and holdout, and training into folds.

    Raises `BatonError` if a weight of theirs can't be used, or a side is too small.

    By hash, a row's side depends on what identifies it (its id columns or, without those, its raw features) and on the
    share `settings.holdout`: other rows, their order and later trainings never move it. By group, it depends on the
    group alone. By time, the newest rows are the holdout, so it moves on with the table; a row without a group or a
    time is divided by hash.

    With ids, rows that are equal in every column are copies, of which the first is kept. Without ids, equal rows are on
    the same side; unless half of all rows equal another, which then says that features are coarse.
    """
    y = contract.read_target(table)
    answered = table[y.notna()].assign(**{contract.target: y[y.notna()].infer_objects()})  # no estimator learns objects
    contract.read_weights(answered)  # which raises, if any can't be used
    copies = answered.duplicated() if contract.id_columns else pd.Series(False, answered.index)
    rows = answered[~copies]
    repetitive = not contract.id_columns and len(contract.read_features(rows).drop_duplicates()) < len(rows) / 2
    contract = dataclasses.replace(contract, equal_rows_differ=repetitive)
    identity, groups, times = identify_for_split(rows, contract)
    aside = _choose_holdout(groups, times, contract, settings.holdout)
    training, holdout = rows[~aside], rows[aside]
    learned = [label for label in contract.labels if (training[contract.target] == label).any()]
    unlearned = holdout[contract.target].isin([label for label in contract.labels if label not in learned])
    _require_both_sides(groups, aside, contract, settings.holdout)
    holdout, learnable = holdout[~unlearned], dataclasses.replace(contract, labels=learned)
    _require_enough(training, holdout, len(np.unique(identity[~aside])), learnable)
    when = times if times is None else times[~aside]
    folds = pd.DataFrame(
        {"fold": assign_folds(training, groups[~aside], when, learnable, settings.folds, settings.seed)}
    )
    facts = {
        "rows": len(table),
        "without_target": len(table) - len(answered),
        "copies_left_out": int(copies.sum()),
        "training": len(training),
        "duplicates_in_training": int(learnable.read_features(training).duplicated().sum()),
        "holdout": len(holdout),
        "holdout_of_unlearned_classes_left_out": int(unlearned.sum()),
        "holdout_share": round(len(holdout) / (len(training) + len(holdout)), 4),
    }
    return Division(
        training, holdout, folds.set_index(training.index).assign(group=groups[~aside]), learnable, facts
    )  # fmt: skip


class Folds(PredefinedSplit):
    """The folds as numbered, for scikit-learn and PyCaret; with `forward`, none is predicted from later ones.

    `trains` masks the rows that a model may be fitted on; all are validated.
    """

    def __init__(self, test_fold, forward: bool = False, trains=None):
        super().__init__(test_fold)
        self.forward = forward
        self.trains = trains

    def split(self, X=None, y=None, groups=None):
        for training, validated in super().split():
            if self.forward:
                training = training[self.test_fold[training] < self.test_fold[validated[0]]]
            yield (training if self.trains is None else training[self.trains[training]]), validated

    def test_train_ratio(self) -> float:
        """Validated rows for each row fitted on, the mean over the folds."""
        return float(np.mean([len(validated) / len(training) for training, validated in self.split()]))


def choose_splitter(stratified: bool, grouped: bool) -> type:
    """The kind of scikit-learn's folds that spreads classes evenly, or keeps groups whole, or both."""
    if grouped:
        return StratifiedGroupKFold if stratified else GroupKFold
    return StratifiedKFold if stratified else KFold


def make_splitter(folds: pd.DataFrame, contract: Contract) -> Folds:
    """The splitter of `Division.folds`; by time, each fold is predicted from earlier ones only."""
    trains = folds["trains"].to_numpy() if "trains" in folds else None
    return Folds(folds["fold"].to_numpy(), forward=contract.split == "time", trains=trains)


def require_trainable(folds: pd.DataFrame, y: pd.Series, contract: Contract) -> None:
    """Raise `BatonError` if there is a fold for which too little is left to learn from, after `select`."""
    for fitted, validated in make_splitter(folds, contract).split():
        different = y.iloc[fitted].nunique()
        if different < 2:
            number = folds["fold"].iloc[validated[0]]
            leaves, remedy = "there are", "Lower"
            if not folds["trains"].all():
                leaves, remedy = "select leaves", "Let it keep more rows, or lower"
            raise BatonError(
                f"{leaves} {len(fitted)} rows to learn from for fold {number}, with {different} different values of"
                f" {contract.target!r}. {remedy} `folds` in env.yaml"
            )


def fingerprint(table: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """Hash each row's values in these columns to a uint64, evenly spread.

    The same value gives the same hash however it was read: 1, 1.0 and "1" are one value, and so are all kinds of
    missing. The hash is BLAKE2, whose output no new version of any library will change.
    """
    parts = []
    for start in range(0, len(table), CHUNK):
        chunk = table.iloc[start : start + CHUNK]
        texts = [_canonical(chunk[column]) for column in columns]
        rows = ("\x1f".join(row).encode() for row in zip(*texts, strict=True))
        parts += [int.from_bytes(hashlib.blake2b(row, digest_size=8).digest(), "big") for row in rows]
    return np.array(parts, dtype="uint64")


def identify(rows: pd.DataFrame, contract: Contract) -> np.ndarray:
    """Fingerprint what makes each row of a table the row it is to a model: its ids or, without those, its raw features.

    Where equal rows are different cases, they are numbered by their target and a number, so all rows are needed.
    """
    nameless = rows[contract.id_columns].isna().all(axis=1).to_numpy()  # all rows, if there are no id columns
    found = np.zeros(len(rows), dtype="uint64")
    if not nameless.all():
        found[~nameless] = fingerprint(rows[~nameless], contract.id_columns)
    if nameless.any():
        X = contract.read_features(rows[nameless])
        content = fingerprint(X, sorted(X))  # whatever order the columns come in
        apart = contract.equal_rows_differ
        found[nameless] = _tell_apart(content, rows[contract.target][nameless]) if apart else content
    return found


def identify_groups(rows: pd.DataFrame, contract: Contract, identity: np.ndarray) -> np.ndarray:
    """Fingerprint the group of each row; a row without one is a group by itself, named by its `identity`."""
    column = rows[contract.split_by]
    return np.where(values.is_missing(column), identity, fingerprint(rows, [contract.split_by]))


def identify_for_split(rows: pd.DataFrame, contract: Contract) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Fingerprint each row, name what it belongs to and must not be parted from, and read its time if that divides."""
    # A column with a single value so far counts too: its second one must not give every row another hash.
    single = dict.fromkeys(contract.uninformative, values.Format("text"))
    identity = identify(rows, dataclasses.replace(contract, columns=contract.columns | single))
    groups = identify_groups(rows, contract, identity) if contract.split == "group" else identity
    times = contract.read_times(rows).to_numpy() if contract.split == "time" else None
    return identity, groups, times


def fingerprint_both(
    training: pd.DataFrame, holdout: pd.DataFrame, contract: Contract
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The fingerprints of the training rows, and of the holdout's, for a model to keep."""
    rows = pd.concat([training, holdout]).sort_index()  # as they stood in the table
    found = pd.Series(identify(rows, contract), rows.index)
    return found[training.index].to_numpy(), found[holdout.index].to_numpy()


def find_seen(
    training: pd.DataFrame, holdout: pd.DataFrame, contract: Contract, fingerprints: np.ndarray
) -> np.ndarray | None:
    """Tell which holdout rows another model has learned from, by its contract and the fingerprints that it keeps.

    None if the table lacks a column that its rows would be identified by.
    """
    rows = pd.concat([training, holdout]).sort_index()
    if not {*(contract.id_columns or contract.features)} <= {*rows.columns}:
        return None
    return pd.Series(np.isin(identify(rows, contract), fingerprints), rows.index)[holdout.index].to_numpy()


def assign_folds(
    training: pd.DataFrame, groups: np.ndarray, times: np.ndarray | None, contract: Contract, folds: int, seed: int
) -> np.ndarray:
    """Give each training row the number of the fold that validates on it, 0 to folds - 1, or -1 for none.

    Rows of one group (equal rows, those of one id, or of one `split_by`) share a fold, so no model is validated on what
    it was fitted on. Classes are spread evenly over the folds. With `times`, the oldest rows only train, and fold after
    fold moves on. The same rows and seed give the same folds, in whatever order they come. A table with too few rows,
    groups or times for so many folds gets fewer.
    """
    if times is not None:
        dated = pd.Series(times).fillna(-np.inf)
        block = np.floor((dated.rank(method="min") - 1) / len(times) * (folds + 1))  # equal times together
        numbers = np.unique(block, return_inverse=True)[1] - 1
    else:
        numbers = _shuffled_folds(training, groups, contract, folds, seed)
    y, validating = training[contract.target].to_numpy(), 0
    for fold in range(numbers.max() + 1):
        validated = numbers == fold
        fitted = y[numbers < fold if times is not None else ~validated]
        different = [len(set(part)) for part in (fitted, y[validated])]
        if contract.labels and different[0] < 2:  # what would be fitted on a single class can't be fitted at all
            numbers[validated] = -1
        validating += not contract.labels or min(different) > 1
    if not validating:
        by = f" when they are split by {contract.split_by!r}" if contract.split_by else ""
        raise BatonError(
            f"no part of the training rows can be predicted from the others{by}: each part, or all others, would hold a"
            f" single class, or no row. Give more rows{', or another column to split by' if by else ''}"
        )
    return numbers


def _choose_holdout(
    groups: np.ndarray, times: np.ndarray | None, contract: Contract, share: float
) -> np.ndarray:  # fmt: skip
    by_hash = groups < np.uint64(int(share * 2**64))
    if times is None:
        return by_hash
    dated = times[~np.isnan(times)]
    moments, counts = np.unique(dated, return_counts=True)
    newer = counts[::-1].cumsum()[::-1] / max(len(dated), 1)  # share of rows from each moment on
    if len(moments) < 2:
        raise BatonError(
            f"split_by names {contract.split_by!r}, which has {len(moments) or 'no'} time; split: time needs"
            " two or more"
        )
    first = moments[1:][np.abs(newer[1:] - share).argmin()]
    return np.where(np.isnan(times), by_hash, times >= first)


def _shuffled_folds(
    training: pd.DataFrame, groups: np.ndarray, contract: Contract, folds: int, seed: int
) -> np.ndarray:  # fmt: skip
    y = contract.encode(training[contract.target]).to_numpy(dtype="float64")
    order = np.lexsort((y, groups))  # what is drawn must not depend on the order of the rows
    _, first, back = np.unique(groups[order], return_index=True, return_inverse=True)
    whole = contract.split == "group" or bool(contract.id_columns)  # a group may hold many rows, and several classes
    parts = order if whole else order[first]
    y, together = y[parts], groups[parts] if whole else None
    if len(first) < 2:
        return np.full(len(training), -1)
    at_most = [folds, len(parts) // 2, len(first)]
    if contract.labels:
        at_most += [np.bincount(y.astype(int)).max()]
    whole = whole and len(first) < len(parts)
    drawn = np.empty(len(parts), dtype="int64")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # `checks` tells of a class with fewer rows than folds
        kind = choose_splitter(bool(contract.labels), whole)
        splitter = kind(max(2, min(at_most)), shuffle=True, random_state=seed)
        for number, (_, validated) in enumerate(splitter.split(parts, y, together)):
            drawn[validated] = number
    numbers = np.empty(len(training), dtype="int64")
    numbers[order] = drawn if len(parts) == len(order) else drawn[back]
    return np.unique(numbers, return_inverse=True)[1]  # of few groups a fold may have got none


def _canonical(column: pd.Series) -> list[str]:
    """Write each value in the one way that all ways to read it have in common; "" for a missing one."""
    codes, different = pd.factorize(column)  # mostly few
    different = pd.Series(different)
    numbers = values.parse_numbers(different)
    if values.is_text(different):  # in an id, a comma is part of a text
        numbers = numbers.mask(different.astype("str").str.contains(",", regex=False))
    texts = [
        repr(number + 0.0) if number == number else str(value).strip().removesuffix(" 00:00:00")  # a day, as in a CSV
        for value, number in zip(different, numbers.tolist(), strict=True)
    ]
    return [*map([*texts, ""].__getitem__, codes.tolist())]  # the code of a missing value is -1


def _tell_apart(identity: np.ndarray, y: pd.Series) -> np.ndarray:
    """Tell equal rows apart by their target and by a number, so that each is a row of its own in whatever order."""
    rows = pd.DataFrame({"identity": identity.astype(str), "y": y.to_numpy()})
    return fingerprint(rows.assign(number=rows.groupby(["identity", "y"]).cumcount()), ["identity", "y", "number"])


def _require_both_sides(groups: np.ndarray, aside: np.ndarray, contract: Contract, share: float) -> None:
    if contract.split != "group" or (aside.any() and not aside.all()):
        return
    different, least = len(np.unique(groups)), float(groups.min()) / 2**64
    larger = not aside.any() and different > 1 and least < 0.49
    remedy = f"set holdout to {least + 0.01:.2f}, or " if larger else ""
    side = "the holdout" if not aside.any() else "training"
    raise BatonError(
        f"none of the {different} groups of {contract.split_by!r} falls into {side} with holdout: {share}. A group's"
        f" side is fixed by its hash: {remedy}split by a column with more groups"
    )


def _require_enough(training: pd.DataFrame, holdout: pd.DataFrame, different: int, contract: Contract) -> None:
    for rows, part, needed in ((different, "training", 4), (len(holdout), "the holdout", 2)):
        if rows < needed:
            raise BatonError(
                f"{rows} different rows with a target are left for {part}, and {needed} are needed: give a larger table"
                + (f", or another column than {contract.split_by!r} to split by" if contract.split_by else "")
            )
    for rows, part in ((training, "training rows"), (holdout, "holdout rows")):
        only = rows[contract.target].unique().tolist()
        if contract.labels and len(only) == 1:
            raise BatonError(
                f"column {contract.target!r}: all {len(rows)} {part} are of class {only[0]!r}, so there is nothing to"
                f" tell apart: split: {contract.split} leaves no other there; give more rows"
            )
