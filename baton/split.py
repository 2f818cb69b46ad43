"""Who may see which row: the frozen holdout, and the folds within the training rows."""

import hashlib

import numpy as np
import pandas as pd
from sklearn.model_selection import KFold, StratifiedKFold

from baton import BatonError
from baton.contract import Contract


def separate(table: pd.DataFrame, contract: Contract, holdout: float, folds: int, seed: int):
    """Divide the rows that have a target into training and holdout.

    Returns (training rows with their `fold`, holdout rows, facts). A row's side depends on nothing but what
    identifies it (its id columns or, without those, its raw features) and on the share `holdout`: other rows,
    their order and later retrainings never move it. Training rows that equal a holdout row in every feature are
    left out, so no model has seen what it is judged by. Both frames keep all columns and the table's index.
    """
    answered = table[table[contract.target].notna()]
    content = fingerprint(answered, sorted(contract.features))  # whatever order the columns come in
    identity = fingerprint(answered, contract.id_columns) if contract.id_columns else content
    aside = identity < np.uint64(int(holdout * 2**64))
    twin = ~aside & np.isin(content, content[aside])
    training, judges = answered[~aside & ~twin], answered[aside]
    different = ~pd.Series(content[~aside & ~twin]).duplicated().to_numpy()  # equal rows share a fold and count once
    _require_enough(training[different], judges, contract, folds, left_out=int(twin.sum()))
    fold = assign_folds(contract.encode(training[contract.target]), content[~aside & ~twin], contract.task, folds, seed)
    facts = {
        "rows": len(table),
        "without_target": len(table) - len(answered),
        "holdout": len(judges),
        "twins_of_holdout_left_out": int(twin.sum()),
        "training": len(training),
        "duplicates_in_training": int(len(training) - len(np.unique(content[~aside & ~twin]))),
    }
    return training.assign(fold=fold), judges, facts


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


def assign_folds(target: pd.Series, content: np.ndarray, task: str, folds: int, seed: int) -> np.ndarray:
    """Give each training row the number of the fold that validates on it, 0 to folds - 1.

    Equal rows (by `content`) share a fold, so no model is validated on a row it was fitted on. Classes are spread
    evenly over the folds; every candidate of every build gets the same folds from the same rows and seed.
    """
    _, first, back = np.unique(content, return_index=True, return_inverse=True)
    order = np.argsort(first)  # `unique` sorts by hash; the table's own order is kept instead
    representatives = target.to_numpy()[first[order]]
    splitter = (KFold if task == "regression" else StratifiedKFold)(folds, shuffle=True, random_state=seed)
    of_representative = np.empty(len(first), dtype="int64")
    for number, (_, validated) in enumerate(splitter.split(np.zeros(len(first)), representatives)):
        of_representative[order[validated]] = number
    return of_representative[back]


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


def _require_enough(
    training: pd.DataFrame, judges: pd.DataFrame, contract: Contract, folds: int, left_out: int
) -> None:
    for rows, part, needed in ((training, "training", 2 * folds), (judges, "the holdout", 2)):
        if len(rows) < needed:
            twins = (
                f" ({left_out} more equal a holdout row in every feature)" if part == "training" and left_out else ""
            )
            raise BatonError(
                f"{len(rows)} rows are left for {part}, and {needed} are needed: give a larger table, or lower folds in"
                f" env.yaml. Equal rows count once{twins}."
            )
    if contract.labels:
        counts = training[contract.target].value_counts().reindex(contract.labels, fill_value=0)
        if counts.min() < folds:
            raise BatonError(
                f"column {contract.target!r}: class {counts.idxmin()!r} has {counts.min()} training rows, and {folds} folds"
                f" need {folds}: gather more of it, lower folds in env.yaml, or merge it with another class"
            )
        absent = [label for label in contract.labels if label not in set(judges[contract.target])]
        if absent:
            raise BatonError(
                f"column {contract.target!r}: class {absent[0]!r} has no row in the holdout; raise holdout in env.yaml"
            )
