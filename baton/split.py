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
    there = answers.notna()
    answered = table[there].assign(**{contract.target: answers[there].infer_objects()})  # no estimator learns objects
    # A column with a single value so far counts too: its second one must not give every row another hash.
    whole = dataclasses.replace(contract, columns=contract.columns | dict.fromkeys(contract.idle, "text"))
    content = fingerprint(whole.rows(answered), sorted(whole.features))  # whatever order the columns come in
    coarse = len(np.unique(content)) < len(content) / 2
    if coarse:
        content = _told_apart(content, answered[contract.target])
    times = contract.times(answered).fillna(-np.inf).to_numpy() if contract.split == "time" else None
    aside = _set_aside(answered, contract, content, times, holdout)
    twin = ~aside & np.isin(content, content[aside]) & (not coarse)
    learns = ~aside & ~twin
    training, judges, own = answered[learns], answered[aside], content[learns]
    learned = [label for label in contract.labels if (training[contract.target] == label).any()]
    unlearned = judges[contract.target].isin([label for label in contract.labels if label not in learned])
    contract, judges = dataclasses.replace(contract, labels=learned), judges[~unlearned]
    _require_enough(len(np.unique(own)), training, judges, contract, left_out=int(twin.sum()))

    when = times if times is None else times[learns]
    numbers = pd.DataFrame(
        {
            "fold": assign_folds(training, own, when, contract, folds, seed),
            # Of its own, so that the folds that judge did not choose the settings.
            "tuning": assign_folds(training, own, when, contract, TUNING_FOLDS, seed + 1),
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


def assign_folds(
    training: pd.DataFrame, content: np.ndarray, times: np.ndarray | None, contract: Contract, folds: int, seed: int
) -> np.ndarray:
    """Give each training row the number of the fold that validates on it, 0 to folds - 1, or -1 for none.

    Rows that are equal (by `content`), or of one group, share a fold, so no model is validated on a row it was fitted
    on. Classes are spread evenly over the folds. With `times`, the oldest rows only train, and fold after fold moves
    on. The same rows and seed give the same folds, in whatever order they come. A table with too few rows, groups or
    times for so many folds gets fewer.
    """
    if times is not None:
        block = np.floor((pd.Series(times).rank(method="min") - 1) / len(times) * (folds + 1))  # equal times together
        numbers = np.unique(block, return_inverse=True)[1] - 1
    else:
        numbers = _shuffled_folds(training, content, contract, folds, seed)
    answers, judged = training[contract.target].to_numpy(), 0
    for fold in range(numbers.max() + 1):
        own = numbers == fold
        fitted = answers[numbers < fold if times is not None else ~own]
        different = [len(set(part)) for part in (fitted, answers[own])]
        if contract.labels and different[0] < 2:  # what would be fitted on a single class can't be fitted at all
            numbers[own] = -1
        judged += not contract.labels or min(different) > 1
    if not judged:
        by = f" when they are split by {contract.split_by!r}" if contract.split_by else ""
        raise BatonError(
            f"no part of the training rows can be predicted from the others{by}: each part, or all others, would hold a"
            f" single class, or no row. Give more rows{', or another column to split by' if by else ''}"
        )
    return numbers


def _shuffled_folds(
    training: pd.DataFrame, content: np.ndarray, contract: Contract, folds: int, seed: int
) -> np.ndarray:
    answers = contract.encode(training[contract.target]).to_numpy(dtype="float64")
    whole = fingerprint(training, [contract.split_by]) if contract.split == "group" else content
    order = np.lexsort((answers, whole))  # what is drawn must not hang on the order of the rows
    _, first, back = np.unique(whole[order], return_index=True, return_inverse=True)
    parts = order if contract.split == "group" else order[first]
    answers, groups = answers[parts], whole[parts] if contract.split == "group" else None
    if len(first) < 2:
        return np.full(len(training), -1)
    at_most = [folds, len(parts) // 2, len(first)]
    if contract.labels:
        at_most += [np.bincount(answers.astype(int)).max()]
    kind = {
        (True, False): StratifiedKFold,
        (False, False): KFold,
        (True, True): StratifiedGroupKFold,
        (False, True): GroupKFold,
    }[bool(contract.labels), groups is not None]
    drawn = np.empty(len(parts), dtype="int64")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # `checks` tells of a class with fewer rows than folds
        splitter = kind(max(2, min(at_most)), shuffle=True, random_state=seed)
        for number, (_, validated) in enumerate(splitter.split(parts, answers, groups)):
            drawn[validated] = number
    numbers = np.empty(len(training), dtype="int64")
    numbers[order] = drawn if groups is not None else drawn[back]
    return np.unique(numbers, return_inverse=True)[1]  # of few groups a fold may have got none


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


def _set_aside(answered: pd.DataFrame, contract: Contract, content, times, holdout: float) -> np.ndarray:
    if times is not None:
        newest = times > np.sort(times)[int((len(times) - 1) * (1 - holdout))]
        return newest if newest.any() else times == times.max()
    by = [contract.split_by] if contract.split == "group" else contract.id_columns
    identity = fingerprint(answered, by) if by else content
    # A group stays whole, so there only the table as a whole keeps one on each side.
    labels = contract.labels if contract.split == "hash" else []
    parts = [answered[contract.target].to_numpy() == label for label in labels] or [np.ones(len(answered), dtype=bool)]
    ends = np.array([[identity[part].min(), identity[part].max()] for part in parts])
    aside = (identity < np.uint64(int(holdout * 2**64))) | np.isin(identity, ends[:, 0])
    return aside & ~np.isin(identity, ends[:, 1])


def _told_apart(content: np.ndarray, answers: pd.Series) -> np.ndarray:
    """Tell equal rows apart by their answer and by a number, so that each is a row of its own in whatever order."""
    rows = pd.DataFrame({"content": content.astype(str), "answer": answers.to_numpy()})
    return fingerprint(
        rows.assign(number=rows.groupby(["content", "answer"]).cumcount()), ["content", "answer", "number"]
    )


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
        if contract.labels and len(only) == 1:
            raise BatonError(
                f"column {contract.target!r}: all {len(rows)} {part} are of class {only[0]!r}, so there is nothing to"
                f" tell apart: split: {contract.split} leaves no other there; give more rows"
            )
