"""An ensemble of the candidates that are better together than the best of them alone.

They are chosen by greedy selection with replacement (Caruana et al., "Ensemble Selection from Libraries of Models",
2004): each round adds the candidate with which the mean of all chosen so far scores best. How often one was added is
its weight.
"""

import functools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import LabelEncoder

from baton import config
from baton.data.contract import Contract
from baton.training import evaluation, tournament

ROUNDS = 25
MOST_CANDIDATES = 20  # that are selected from: the best ones
MOST_ROWS = 50_000  # rows that a selection goes by


class Ensemble(NamedTuple):
    """Weights by candidate, of those that were chosen, and how the ensemble scores: as `tournament.Result` says it."""

    weights: dict[str, float]
    scores: pd.DataFrame
    predictions: np.ndarray
    threshold: float | None


def cross_validate(
    predictions: dict[str, np.ndarray], y: pd.Series, fold: np.ndarray, contract: Contract,
    threshold: str | float | dict = 0.5, row_weights: np.ndarray | None = None,
) -> Ensemble:  # fmt: skip
    """Select an ensemble from the candidates' out-of-fold predictions.

    `fold` (rows,) numbers the folds, -1 where a row is not validated. Each fold is predicted with the weights, and of
    two classes the threshold, that the others choose, so that it has no say in how it is predicted; those that are
    returned are chosen by all. `threshold` is that of env.yaml, and `row_weights` (rows,) say how much each row counts.
    """
    truth, combined = contract.encode(y).to_numpy(dtype="float64"), next(iter(predictions.values())).copy()
    for number in np.unique(fold[fold >= 0]):
        weights = select(predictions, truth, np.where(fold == number, -1, fold), contract, threshold, row_weights)
        combined[fold == number] = combine(predictions, weights)[fold == number]
    choose = functools.partial(evaluation.choose_threshold, how=threshold, metric=contract.metric)
    scores, validated = evaluation.score_folds(truth, combined, fold, contract.task, choose, row_weights), fold >= 0
    weights = select(predictions, truth, fold, contract, threshold, row_weights)
    chosen = choose(truth[validated], combined[validated], weights=evaluation.part(row_weights, validated))
    return Ensemble(weights, scores, combined, chosen)


def select(
    predictions: dict[str, np.ndarray], truth: np.ndarray, fold: np.ndarray, contract: Contract,
    threshold: str | float | dict = 0.5, row_weights: np.ndarray | None = None,
) -> dict[str, float]:  # fmt: skip
    """Choose weights by the mean score over the folds: {candidate: weight}, of those with any, that sum to 1."""
    rows = np.flatnonzero(fold >= 0)
    rows = np.sort(np.random.default_rng(0).choice(rows, MOST_ROWS, replace=False)) if len(rows) > MOST_ROWS else rows
    metric = evaluation.METRICS[contract.metric]
    sign, by_label = 1 if metric.higher_is_better else -1, metric.of == "label"
    parts = [rows[fold[rows] == number] for number in np.unique(fold[rows])]

    def score(values: np.ndarray) -> float:
        found = []
        for part in parts:
            of, weights = (truth[part], values[part]), evaluation.part(row_weights, part)
            # By the best threshold for them, as settings are searched.
            at = evaluation.choose_threshold(*of, threshold, contract.metric, weights) if by_label else None
            found.append(evaluation.score(*of, contract.task, contract.metric, at, weights)[contract.metric])
        return sign * float(np.nanmean(found)) if np.isfinite(found).any() else -np.inf

    alone = {name: score(given) for name, given in predictions.items()}
    names = sorted(alone, key=alone.get, reverse=True)[:MOST_CANDIDATES]  # of equals, the one that comes first
    chosen, total, best = [names[0]], predictions[names[0]], (alone[names[0]], 1)
    for count in range(2, ROUNDS + 1):
        reached = {name: score((total + predictions[name]) / count) for name in names}
        chosen.append(max(reached, key=reached.get))
        total = total + predictions[chosen[-1]]
        best = max(best, (reached[chosen[-1]], count), key=lambda one: one[0])
    kept = chosen[: best[1]]
    return {name: kept.count(name) / len(kept) for name in names if name in kept}


def scale_of(candidates: Iterable[dict]) -> str:
    """The scale of the residuals: the logarithm's if all members, as `fit` wrote of them, are fitted on it."""
    scales = {candidate["target_scale"] for candidate in candidates}
    return tournament.LOG if scales == {tournament.LOG} else tournament.PLAIN


def combine(predictions: dict[str, np.ndarray], weights: dict[str, float]) -> np.ndarray:
    """The mean of the chosen candidates' predictions, by their weights."""
    return sum(weight * predictions[name] for name, weight in weights.items())


def join(members: dict[str, Pipeline], weights: dict[str, float], contract: Contract) -> Pipeline:
    """Join fitted models, raw rows in and prediction out, to one that gives the mean of what they predict.

    It is fitted already, since they are; fitted anew, it fits each of them. They share the feature code's steps.
    """
    first = next(iter(members.values()))
    shared = [(name, step) for name, step in first.steps if name in config.FEATURE_STEPS]
    # Not by their names, in which scikit-learn would read two underscores as the way to a parameter.
    fitted = {
        f"member_{place}": _without_threshold(member[len(shared) :]) for place, member in enumerate(members.values(), 1)
    }
    named = [(name, clone(member)) for name, member in fitted.items()]
    shares = [weights[name] for name in members]
    if contract.labels:
        joined = VotingClassifier(named, voting="soft", weights=shares)
        joined.le_ = LabelEncoder().fit(first.classes_)
        joined.classes_ = joined.le_.classes_
    else:
        joined = VotingRegressor(named, weights=shares)
    joined.estimators_ = [*fitted.values()]  # and no `named_estimators_`: the file would hold each once more
    model = tournament.with_threshold(clone(joined), contract)
    if isinstance(model, FixedThresholdClassifier):
        model.estimator_ = joined
    else:
        model = joined
    return Pipeline([*shared, ("model", model)])


def _without_threshold(member: Pipeline) -> Pipeline:
    """A fitted model that predicts probabilities alone: the ensemble has a threshold of its own."""
    *steps, (name, model) = member.steps
    return Pipeline([*steps, (name, model.estimator_ if isinstance(model, FixedThresholdClassifier) else model)])
