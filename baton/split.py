"""Who may see which row: the frozen holdout, and the folds within the training rows."""

import dataclasses
import hashlib
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold, KFold, PredefinedSplit, StratifiedGroupKFold, StratifiedKFold

from baton import BatonError
from baton.contract import Contract

TUNING_FOLDS = 3


class Division(NamedTuple):
    """A table divided. `training` and `holdout` hold raw rows with their target read as `Contract.answers` reads it.

    `folds` has a row for each of `training`, and for each the number of the fold that validates on it: `fold` for
    the comparison, `tuning` for a search of settings; -1 never validates. `contract` has only classes that can be
    learned from `training`.
    """

    training: pd.DataFrame
    holdout: pd.DataFrame
    folds: pd.DataFrame
    contract: Contract
    facts: dict[str, int]


def separate(table: pd.DataFrame, contract: Contract, holdout: float, folds: int, seed: int) -> Division:
    """Divide the rows that have a target into training and holdout, and training into folds.

    By hash, a row's side depends on nothing but what identifies it (its id columns or, without those, its raw
    features) and on the share `holdout`: other rows, their order and later retrainings never move it. By group, it
    depends on the group alone. By time, the newest rows are the holdout, so it moves on with the table.

    Training rows that equal a holdout row in every feature are left out, so no model has seen what it is judged by;
    unless half of all rows equal another, which then says that features are coarse, not that rows are copies. A class
    too rare for chance to divide it keeps a row on each side.
    """
    answers = contract.answers(table)
    answered = table.assign(**{contract.target: answers})[answers.notna()]
    raw = contract.rows(answered)
    content = fingerprint(raw, sorted(contract.features))  # whatever order the columns come in
    coarse = len(np.unique(content)) < len(content) / 2
    if coarse:
        content = _told_apart(content)
    aside = _set_aside(answered, contract, content, holdout)
    twin = ~aside & np.isin(content, content[aside]) & (not coarse)
    training, judges, own = answered[~aside & ~twin], answered[aside], content[~aside & ~twin]
    learned = [label for label in contract.labels if (training[contract.target] == label).any()]
    unlearned = judges[contract.target].isin([label for label in contract.labels if label not in learned])
    contract, judges = dataclasses.replace(contract, labels=learned), judges[~unlearned]
    _require_enough(len(np.unique(own)), training, judges, contract, left_out=int(twin.sum()))

    numbers = pd.DataFrame(
        {
            "fold": assign_folds(training, own, contract, folds, seed),
            # Of its own, so that the folds that judge did not choose the settings.
            "tuning": assign_folds(training, own, contract, TUNING_FOLDS, seed + 1),
        },
        index=training.index,
    )
    facts = {
        "rows": len(table),
        "without_target": len(table) - len(answered),
        "holdout": len(judges),
        "holdout_of_unlearned_classes_left_out": int(unlearned.sum()),
        "twins_of_holdout_left_out": int(twin.sum()),
        "training": len(training),
        "duplicates_in_training": int(contract.rows(training).duplicated().sum()),
    }
    return Division(training, judges, numbers, contract, facts)


class Folds(PredefinedSplit):
    """The folds as numbered, for scikit-learn and PyCaret; with `forward`, none is predicted from later ones."""

    def __init__(self, test_fold, forward: bool = False):
        super().__init__(test_fold)
        self.forward = forward

    def split(self, X=None, y=None, groups=None):
        for training, validated in super().split():
            past = self.test_fold[training] < self.test_fold[validated[0]]
            yield (training[past] if self.forward else training), validated


def fingerprint(table: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """Hash each row's values in these columns to a uint64, evenly spread.

    The same value gives the same hash however it was read: 1, 1.0 and "1" are one value, and so are all kinds of
    missing. The hash is BLAKE2, whose output no new version of any library will change.
    """
    texts = [_canonical(table[column]) for column in columns]
    rows = ("\x1f".join(row).encode() for row in zip(*texts, strict=True))
    return np.array(
        [int.from_bytes(hashlib.blake2b(row, digest_size=8).digest(), "big") for row in rows], dtype="uint64"
    )


def assign_folds(training: pd.DataFrame, content: np.ndarray, contract: Contract, folds: int, seed: int) -> np.ndarray:
    """Give each training row the number of the fold that validates on it, 0 to folds - 1, or -1 for none.

    Rows that are equal (by `content`), or of one group, share a fold, so no model is validated on a row it was fitted
    on. Classes are spread evenly over the folds. By time, the oldest rows only train, and fold after fold moves on.
    The same rows and seed give the same folds, in whatever order they come. A table with too few rows, groups or times
    for so many folds gets fewer.
    """
    if contract.split == "time":
        times = contract.times(training).fillna(-np.inf)
        block = np.floor((times.rank(method="min") - 1) / len(times) * (folds + 1)).to_numpy()  # equal times together
        numbers = np.unique(block, return_inverse=True)[1] - 1
    else:
        _, first, back = np.unique(content, return_index=True, return_inverse=True)
        numbers = _shuffled_folds(training.iloc[first], contract, folds, seed)[back]
    if contract.labels:  # what would be fitted on a single class can't be fitted at all
        answers, forward = training[contract.target].to_numpy(), contract.split == "time"
        for fold in range(numbers.max() + 1):
            fitted = answers[numbers < fold if forward else numbers != fold]
            numbers[(numbers == fold) & (len(set(fitted)) < 2)] = -1
    if numbers.max() < 0:
        raise BatonError(
            f"no part of the training rows can be predicted from the others when they are split by {contract.split_by!r}:"
            " each other part has a single class, or none. Split by another column, or give more rows"
        )
    return numbers


def _shuffled_folds(rows: pd.DataFrame, contract: Contract, folds: int, seed: int) -> np.ndarray:
    answers = contract.encode(rows[contract.target]).to_numpy()
    groups = fingerprint(rows, [contract.split_by]) if contract.split == "group" else None
    at_most = [len(rows) // 2, folds]
    if contract.labels:
        at_most += [np.bincount(answers.astype(int)).max()]
    if groups is not None:
        at_most += [len(np.unique(groups))]
    kind = {
        (True, False): StratifiedKFold,
        (False, False): KFold,
        (True, True): StratifiedGroupKFold,
        (False, True): GroupKFold,
    }[bool(contract.labels), groups is not None]
    numbers = np.empty(len(rows), dtype="int64")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # `checks` tells of a class with fewer rows than folds
        splitter = kind(max(2, min(at_most)), shuffle=True, random_state=seed)
        for number, (_, validated) in enumerate(splitter.split(rows, answers, groups)):
            numbers[validated] = number
    return numbers


def _canonical(column: pd.Series) -> list[str]:
    """Write each value in the one way that all ways to read it have in common."""
    if pd.api.types.is_datetime64_any_dtype(column):  # as a CSV would have it
        return ["" if pd.isna(value) else str(value).removesuffix(" 00:00:00") for value in column]
    numbers = pd.to_numeric(column, errors="coerce")
    return [
        ""
        if missing
        else (repr(float(number) + 0.0) if number == number else str(value).strip().removesuffix(" 00:00:00"))
        for value, number, missing in zip(column, numbers.astype("float64"), column.isna(), strict=True)
    ]


def _set_aside(answered: pd.DataFrame, contract: Contract, content: np.ndarray, holdout: float) -> np.ndarray:
    if contract.split == "time":
        times = contract.times(answered).fillna(-np.inf)
        return (times > times.quantile(1 - holdout, interpolation="lower")).to_numpy()
    by = [contract.split_by] if contract.split == "group" else contract.id_columns
    identity = fingerprint(answered, by) if by else content
    aside = identity < np.uint64(int(holdout * 2**64))
    # A group stays whole, so there only the table as a whole keeps one on each side.
    parts = [answered[contract.target].to_numpy() == label for label in contract.labels]
    for part in parts if contract.split == "hash" and parts else [np.ones(len(aside), dtype=bool)]:
        different = np.unique(identity[part])
        aside[part & (identity == different[0])] = True
        aside[part & (identity == different[-1])] = False
    return aside


def _told_apart(content: np.ndarray) -> np.ndarray:
    """Number equal rows, so that each is a row of its own; the first of them keeps its fingerprint."""
    occurrence = pd.Series(content).groupby(content).cumcount().to_numpy()
    again = occurrence > 0
    texts = pd.DataFrame({"content": content[again].astype(str), "occurrence": occurrence[again]})
    apart = content.copy()
    apart[again] = fingerprint(texts, ["content", "occurrence"])
    return apart


def _require_enough(
    different: int, training: pd.DataFrame, judges: pd.DataFrame, contract: Contract, left_out: int
) -> None:
    twins = f" ({left_out} more equal a holdout row in every feature)" if left_out else ""
    for rows, part, needed in ((different, f"training{twins}", 4), (len(judges), "the holdout", 2)):
        if rows < needed:
            raise BatonError(
                f"{rows} different rows with a target are left for {part}, and {needed} are needed: give a larger table"
                + (f", or another column than {contract.split_by!r} to split by" if contract.split_by else "")
            )
    for rows, part in ((training, "training rows"), (judges, "holdout rows")):
        only = rows[contract.target].unique()
        if contract.task != "regression" and len(only) == 1 and (part == "training rows" or contract.task == "binary"):
            raise BatonError(
                f"column {contract.target!r}: all {len(rows)} {part} are of class {only[0]!r}, so there is nothing to"
                f" tell apart: split: {contract.split} leaves no other there; give more rows"
            )
