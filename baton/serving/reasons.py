"""Reasons of a prediction: the columns that moved it most, and how far.

What three reasons of the sample table cost (8 raw columns, 11 with its feature code; 100 trees), in rows per second of
one processor: 2,500 by contributions, 600,000 by coefficients (1.2 million without feature code), 17,000 by
replacement, which predicts once for each raw column. Before that, each call takes 20 ms, for whatever number of rows.
"""

import copy
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd

from baton import config
from baton.data.contract import Contract
from baton.handover import saving

# How reasons are made, as `reasons_by` says.
CONTRIBUTIONS, COEFFICIENTS, REPLACEMENT = "contributions", "coefficients", "replacement"

SAME = 1e-6  # within which the parts of a prediction add up to it
BITS = 30  # bits of an answer that count: the last ones may differ by how many rows are predicted at once


def explain(pipeline, X: pd.DataFrame, contract: Contract, typical: pd.Series, count: int) -> pd.DataFrame:
    """Name the `count` columns that moved each prediction most, and how far, with sign; one row for each of `X`.

    `pipeline` is fitted, `X` are features as `Contract.read_features` gives them, and `typical` is their usual values,
    as the function of that name finds them. Returns the columns `reason_1`, `reason_1_effect`, ..., the largest effect
    first and of equal ones the earlier column, both missing where no further column moved the prediction; and
    `reasons_by`, the same for all rows:

    - "contributions": LightGBM's own (`pred_contrib`, by TreeSHAP), compared with its mean prediction in training. In
      log-odds for classes, in the target's units for a regression.
    - "coefficients": of a linear model, coefficient x (prepared value - prepared value of the typical row). Units as
      above.
    - "replacement": of any other model. The column is set to its typical value; the effect is the prediction as it is
      minus that prediction, as a probability or in the target's units.

    Effects are on the positive class, or of several classes on the one that is predicted; its log-odds are then those
    against the geometric mean of all classes. With the first two, the columns are those that enter the preparation: raw
    ones, and what feature code derived under a name of its own. All that a column is prepared to is added up. A row's
    reasons do not depend on the other rows.
    """
    usual = pd.DataFrame({column: pd.Series([typical[column]], dtype=X[column].dtype) for column in X})
    by, columns, effects = _add_up(pipeline, X, contract, usual) or _replace(pipeline, X, contract, usual)
    sizes, rows, names = np.abs(effects), np.arange(len(X)), pd.array(columns, dtype="str")
    found = {}
    for place in range(1, count + 1):
        most = sizes.argmax(axis=0)
        moved = sizes[most, rows] > 0
        found[f"reason_{place}"] = names.take(np.where(moved, most, -1), allow_fill=True)
        found[f"reason_{place}_effect"] = np.where(moved, effects[most, rows], np.nan)
        sizes[most, rows] = 0
    return pd.DataFrame(found, index=X.index).assign(reasons_by=by)


def typical(folder: Path, contract: Contract) -> pd.Series:
    """The typical value of each raw feature of a version, which lies in `folder`, as `Contract.read_features` has it.

    By its `profile.json`: the median of numbers and dates, the most frequent value of texts and booleans. What that
    does not tell is taken from the few rows that a version keeps; None where those have no value either.
    """
    profile = folder / "profile.json"
    entries = json.loads(profile.read_text())["columns"] if profile.is_file() else {}
    sample = contract.read_features(saving.read_sample(folder))
    found = {
        column: _typical(entries.get(column, {}), sample[column].dropna(), kind)
        for column, kind in contract.kinds.items()
    }
    return pd.Series(found, dtype="object")


def _typical(entry: dict, sample: pd.Series, kind: str):
    """One column's typical value, by its entry of a profile or else by a few values that it has."""
    if entry.get("edges"):
        # Shares are rounded, so half of all rows may be a little less.
        median = np.searchsorted(np.cumsum(entry["shares"]), 0.5 - 1e-4)
        value = entry["edges"][median]
        return pd.Timestamp(value) if kind == "date" else float(value)
    if entry.get("values"):
        return float(entry["values"][0]) if kind == "boolean" else entry["values"][0]
    if sample.empty:
        return None
    return sample.quantile(interpolation="lower") if kind in {"number", "date"} else sample.mode().iloc[0]


def _add_up(pipeline, X: pd.DataFrame, contract: Contract, usual: pd.DataFrame):
    """The effects (columns, rows) that the model gives by itself, how, and of which columns; None if it does not.

    It does if each prepared column is made of one column, and if the parts of its answer to the typical row add up to
    that answer: there is no other way to know of a link function, a calibration or an objective of the user's own.
    """
    model = pipeline.steps[-1][1]
    if contract.threshold is not None:  # then the model is within what goes by the threshold
        model = model.estimator_
    trees = hasattr(model, "booster_")
    if not trees and not hasattr(model, "coef_"):
        return None
    prepared, (columns, sources) = _prepare(pipeline, usual), _trace(pipeline)
    # A sparse table may have so many columns that what follows would not fit in memory.
    if len(sources) != prepared.shape[1] or hasattr(prepared, "toarray"):
        return None
    terms = _contributions(model, prepared) if trees else _coefficients(model)
    if not _is_sum(terms[0] if trees else terms[0] * np.append(prepared, 1.0), model, prepared, contract):
        return None
    Z = _prepare(pipeline, X)
    chosen = _choose(model, Z, contract)
    if trees:
        parts = _against_others(_contributions(model, Z)[..., :-1], contract)[np.arange(len(X)), chosen].T
    else:
        weights, values = _against_others(terms[..., :-1], contract)[0], np.asarray(Z)
        parts = (weights[chosen, place] * (values[:, place] - base) for place, base in enumerate(np.ravel(prepared)))
    effects = np.zeros((len(columns), len(X)))
    for source, part in zip(sources, parts, strict=True):  # one by one: else a sum would depend on the number of rows
        effects[source] += part
    return (CONTRIBUTIONS if trees else COEFFICIENTS), columns, effects


def _replace(pipeline, X: pd.DataFrame, contract: Contract, usual: pd.DataFrame):
    """The effects (columns, rows) of setting one raw column after the other to its typical value, how, and of which."""
    chosen, rows, effects = _choose(pipeline, X, contract), np.arange(len(X)), np.zeros(X.T.shape)
    now = _predict(pipeline, X, contract)[rows, chosen]
    for place, column in enumerate(X):
        replaced = X.assign(**{column: usual[column].repeat(len(X)).set_axis(X.index)})
        then = _predict(pipeline, replaced, contract)[rows, chosen]
        unit = np.ldexp(1.0, np.frexp(np.maximum(np.abs(now), np.abs(then)))[1] - BITS)
        effects[place] = np.round((now - then) / unit) * unit
    return REPLACEMENT, [*X], effects


def _prepare(pipeline, X: pd.DataFrame):
    """What the model itself is given of raw rows."""
    for _, step in pipeline.steps[:-1]:
        X = step.transform(X)
    return X


def _trace(pipeline) -> tuple[list[str], list[int]]:
    """The columns that enter the preparation, and for each prepared one the place of that it is made of.

    No places if that can't be told. Steps are asked for the names they give to columns whose names are places: by real
    names, a column `plan_gold` is not told from the value "gold" of `plan`.
    """
    steps = copy.deepcopy([step for name, step in pipeline.steps[:-1] if name not in config.FEATURE_STEPS])
    try:
        columns = [*steps[0].feature_names_in_]
        for part in _parts(steps):
            vars(part).pop("feature_names_in_", None)  # else no other names are taken
        names = [f"\0{place}\0" for place in range(len(columns))]
        for step in steps:
            names = step.get_feature_names_out(names)
    except Exception:  # whatever a step of the user's own raises
        return [], []
    places = [re.findall("\0([0-9]+)\0", name) for name in names]
    return columns, [int(one[0]) for one in places] if all(len(one) == 1 for one in places) else []


def _parts(value):
    """Every estimator within steps, however deep."""
    if hasattr(value, "get_params") and not isinstance(value, type):
        yield value
        value = vars(value)
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, list | tuple):
        for one in value:
            yield from _parts(one)


def _contributions(model, Z) -> np.ndarray:
    """LightGBM's parts of its raw scores (rows, scores, columns and the mean)."""
    return np.asarray(model.predict(Z, pred_contrib=True)).reshape(len(Z), -1, Z.shape[1] + 1)


def _coefficients(model) -> np.ndarray:
    """A linear model's coefficients and intercepts (1, scores, columns and the intercept)."""
    weights = np.atleast_2d(model.coef_)
    return np.column_stack([weights, np.resize(getattr(model, "intercept_", 0.0), len(weights))])[None]


def _is_sum(terms: np.ndarray, model, prepared, contract: Contract) -> bool:
    """Tell whether the terms (scores, columns and one more) of one prepared row add up to the model's answer to it."""
    answer, scores = _predict(model, prepared, contract)[0], terms.sum(axis=1)
    if not contract.labels:
        return bool(abs(scores[0] - answer[0]) <= SAME * np.abs(terms).max())
    scores = np.append(0.0, scores) if len(scores) == 1 else scores
    odds = np.exp(scores - scores.max())
    return len(odds) == len(answer) and np.allclose(odds / odds.sum(), answer, atol=SAME)


def _against_others(terms: np.ndarray, contract: Contract) -> np.ndarray:
    """Parts of raw scores as parts of log-odds, for each class (rows, classes, columns); those of a number as they are.

    What raises the scores of all classes alike moves no probability.
    """
    if not contract.labels:
        return terms
    return np.hstack([-terms, terms]) if terms.shape[1] == 1 else terms - terms.mean(axis=1, keepdims=True)


def _predict(model, X, contract: Contract) -> np.ndarray:
    """Probabilities (rows, classes) in the model's own order, or numbers (rows, 1)."""
    return model.predict_proba(X) if contract.labels else np.reshape(model.predict(X), (-1, 1))


def _choose(model, X, contract: Contract) -> np.ndarray | int:
    """The place of the class whose effects are told, in the model's own order: one for all, or one for each row."""
    if contract.task == "multiclass":
        return model.predict_proba(X).argmax(axis=1)
    return [*model.classes_].index(contract.positive) if contract.labels else 0
