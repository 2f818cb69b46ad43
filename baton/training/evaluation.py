"""How good a model is, how sure we are of it, and which of many to choose."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from sklearn import metrics as sk
from sklearn.exceptions import UndefinedMetricWarning

from baton import BatonError, config
from baton.data.contract import Contract
from baton.models import complexity

MOST_GIVEN_UP = 0.01  # of the best mean, that `choose: simplest` gives up for a simpler model
SAME = 1e-9  # two probabilities that are nearer than this are equal but for rounding

# The metrics that a threshold is chosen by, of counts of rows. Recall and precision can't choose one: all rows called
# positive, or a single one, have the best.
BY_COUNTS = {
    "F1": lambda tn, fp, fn, tp: 2 * tp / (2 * tp + fp + fn),
    "Accuracy": lambda tn, fp, fn, tp: (tp + tn) / (tn + fp + fn + tp),
    "Kappa": lambda tn, fp, fn, tp: 2 * (tp * tn - fn * fp) / ((tp + fp) * (fp + tn) + (tp + fn) * (fn + tn)),
    "MCC": lambda tn, fp, fn, tp: (
        (tp * tn - fp * fn) / np.sqrt(np.maximum((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn), 1))
    ),
}


class Metric(NamedTuple):
    """A score over predictions. `of` is what it reads: "label", "probability" or "number"."""

    function: Callable
    of: str
    higher_is_better: bool = True


# A permutation test scores thousands of times: written out, a metric takes a hundredth of what scikit-learn's checks
# take. A test holds each to scikit-learn's.


def _confusion(truth, predicted, classes, weights=None) -> np.ndarray:
    """Rows of each class (down) that each class was predicted for (across)."""
    codes = truth.astype("int64") * classes + predicted
    return np.bincount(codes, weights, minlength=classes**2).reshape(classes, classes)


def _averaged(of_class: Callable) -> Callable:
    """Score the positive class of two; of more, the classes' mean weighted by their rows, as PyCaret does.

    `of_class` maps hits, rows and predictions of each class to the two sides of a fraction; of nothing, it is 0.
    """

    def score(truth, predicted, classes, weights=None):
        matrix = _confusion(truth, predicted, classes, weights)
        above, below = of_class(matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0))
        found = above / np.maximum(below, 1)
        return found[1] if classes == 2 else np.average(found, weights=matrix.sum(axis=1))

    return score


def _kappa(truth, predicted, classes, weights=None):
    matrix = _confusion(truth, predicted, classes, weights)
    matrix = matrix / matrix.sum()
    by_chance = matrix.sum(axis=1) @ matrix.sum(axis=0)
    return (np.trace(matrix) - by_chance) / (1 - by_chance)


def _mcc(truth, predicted, classes, weights=None):
    matrix = _confusion(truth, predicted, classes, weights).astype(float)
    rows, columns, count = matrix.sum(axis=1), matrix.sum(axis=0), matrix.sum()
    spread = (count**2 - rows @ rows) * (count**2 - columns @ columns)
    return (np.trace(matrix) * count - rows @ columns) / np.sqrt(spread) if spread else 0.0


def _auc(truth, probabilities, classes):
    """Area under the ROC curve; of more than two classes, the plain mean of each class against the rest.

    A class that these rows lack, or that all of them have, can't be ranked and is left out of the mean. Written out
    as the Mann-Whitney statistic of ranks: scikit-learn's takes twenty times as long.
    """

    def area(positive, certain):
        ranks, count = stats.rankdata(certain), positive.sum()
        return (ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(positive) - count))

    codes = [code for code in ([1] if classes == 2 else range(classes)) if 0 < np.sum(truth == code) < len(truth)]
    return np.mean([area(truth == code, probabilities[:, code]) for code in codes]) if codes else np.nan


def _average_precision(truth, probabilities, classes):
    return sk.average_precision_score(truth, probabilities[:, 1]) if np.any(truth == 1) else np.nan


def _log_losses(truth, probabilities):
    # A mean of several models' probabilities sums to 1 only up to rounding; a model that gives none of these classes
    # any was as wrong as one can be.
    given = probabilities[np.arange(len(truth)), truth.astype(int)] / np.maximum(probabilities.sum(axis=1), 1e-300)
    return -np.log(np.clip(given, np.finfo(float).eps, 1))


def _rmsle(truth, predicted, _):
    """A negative prediction is as wrong as 0, the least there can be; of a negative truth there is no logarithm."""
    if np.any(truth < 0):
        return np.nan
    return np.sqrt(np.mean((np.log1p(truth) - np.log1p(np.maximum(predicted, 0))) ** 2))


METRICS = {
    "AUC": Metric(_auc, "probability"),
    "Average Precision": Metric(_average_precision, "probability"),
    "Log Loss": Metric(lambda y, p, _: _log_losses(y, p).mean(), "probability", higher_is_better=False),
    "Accuracy": Metric(lambda y, p, _, weights=None: np.average(y == p, weights=weights), "label"),
    "Recall": Metric(_averaged(lambda hits, rows, predicted: (hits, rows)), "label"),
    "Prec.": Metric(_averaged(lambda hits, rows, predicted: (hits, predicted)), "label"),
    "F1": Metric(_averaged(lambda hits, rows, predicted: (2 * hits, rows + predicted)), "label"),
    "Kappa": Metric(_kappa, "label"),
    "MCC": Metric(_mcc, "label"),
    "R2": Metric(lambda y, p, _: 1 - np.sum((y - p) ** 2) / np.sum((y - y.mean()) ** 2), "number"),
    "MAE": Metric(lambda y, p, _: np.mean(np.abs(y - p)), "number", higher_is_better=False),
    "MSE": Metric(lambda y, p, _: np.mean((y - p) ** 2), "number", higher_is_better=False),
    "RMSE": Metric(lambda y, p, _: np.sqrt(np.mean((y - p) ** 2)), "number", higher_is_better=False),
    "RMSLE": Metric(_rmsle, "number", higher_is_better=False),
    "MAPE": Metric(
        lambda y, p, _: np.mean(np.abs((y[y != 0] - p[y != 0]) / y[y != 0])), "number", higher_is_better=False
    ),
}


def score(
    truth: np.ndarray, predictions: np.ndarray, task: str, only: str | None = None, threshold: float | None = None
) -> dict[str, float]:
    """Score predictions by every metric of the task, or by one.

    For classes, `truth` holds codes (rows,) and `predictions` probabilities (rows, classes): the predicted class is
    that of `predicted_classes`. For a regression both are numbers (rows,).
    """
    truth, predictions = np.asarray(truth), np.asarray(predictions)
    classes = 0 if task == "regression" else predictions.shape[1]
    read = {"number": predictions, "probability": predictions}
    if classes:
        read["label"] = predicted_classes(predictions, threshold)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean of nothing is no score
        return {
            name: float(METRICS[name].function(truth, read[METRICS[name].of], classes))
            for name in ([only] if only else config.METRICS[task])
        }


def predicted_classes(probabilities: np.ndarray, threshold: float | None = None) -> np.ndarray:
    """The code (rows,) of each row's class: the likeliest; of two, with a threshold, the positive one from there on."""
    return probabilities.argmax(axis=1) if threshold is None else (probabilities[:, 1] >= threshold).astype(int)


def as_read(predictions: np.ndarray, threshold: float | None, metric: str) -> np.ndarray:
    """Give predictions whose likelier class is the predicted one, where a metric reads classes; else as they are."""
    if threshold is None or METRICS[metric].of != "label":
        return predictions
    return np.eye(2)[predicted_classes(predictions, threshold)]


def count_by_threshold(truth: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Count right and wrong rows for each threshold that makes a difference, the highest first: tn, fp, fn, tp.

    Arrays of two classes, as `score` takes them. A threshold is in the middle between two neighbouring probabilities,
    so that rounding decides nothing, and within 0 and 1: the first calls no row positive, the last calls all.
    """
    *counts, there = sk.confusion_matrix_at_thresholds(y_true=truth, y_score=probabilities[:, 1], pos_label=1)
    positives = np.sum(truth == 1)
    none = len(truth) - positives, 0, positives, 0
    above, below = np.append(1.0, there), np.append(there, 0.0)
    table = pd.DataFrame({"threshold": (above + below) / 2})
    for name, first, others in zip(("tn", "fp", "fn", "tp"), none, counts, strict=True):
        table[name] = np.append(first, others)
    return table[above - below > SAME].reset_index(drop=True)


def cost_of(counts: pd.DataFrame, cost: dict[str, float]) -> pd.Series:
    """What the errors cost at each threshold of `count_by_threshold`; `cost` says what a "miss" and an "alarm" does."""
    return cost["miss"] * counts["fn"] + cost["alarm"] * counts["fp"]


def _value(counts: pd.DataFrame, how: str | dict, metric: str) -> pd.Series:
    """What each threshold of `count_by_threshold` is worth."""
    if isinstance(how, dict):
        return -cost_of(counts, how["cost"])
    return BY_COUNTS.get(metric, BY_COUNTS["F1"])(*(counts[name] for name in ("tn", "fp", "fn", "tp")))


def choose_threshold(truth: np.ndarray, predictions: np.ndarray, how: str | float | dict, metric: str) -> float | None:
    """Choose the probability from which on the positive class is predicted; None: where it is the likelier one.

    Arrays as `score` takes them, `how` is `threshold` of env.yaml: "auto" maximises the metric if it is one of
    `BY_COUNTS`, else F1; `{"cost": {"miss": 10, "alarm": 1}}` minimises what errors cost; a number is taken as it is,
    and 0.5 means the likelier class. Of equally good ones, that nearest to 0.5 is chosen. None for other questions than
    binary ones, and where rows of one class are missing.
    """
    if np.ndim(predictions) != 2 or predictions.shape[1] != 2:
        return None
    if isinstance(how, int | float):
        return None if how == 0.5 else float(how)
    if len(np.unique(truth)) < 2:
        return None
    counts = count_by_threshold(truth, predictions)
    value = _value(counts, how, metric)
    best = counts["threshold"][np.isclose(value, value.max(), rtol=1e-12, atol=1e-12)]
    return float(best[(best - 0.5).abs().idxmin()])


def leave_one_out(truth: np.ndarray, predictions: np.ndarray, task: str, metric: str) -> np.ndarray:
    """Score predictions without each row in turn: (rows,), NaN where the score without that row is undefined.

    Arrays as `score` takes them. In closed form, so a million rows take seconds; a row without which the score would be
    the lower holds it up the more, which is what the jackknife measures the spread of a score by.
    """
    truth, predictions = np.asarray(truth), np.asarray(predictions)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is undefined is NaN
        if METRICS[metric].of == "number":
            return _number_without(truth, predictions, metric)
        if METRICS[metric].of == "label":
            return _label_score_without(truth, predictions, metric)
        if metric == "AUC":
            return _auc_without(truth, predictions)
        if metric == "Average Precision":
            return _average_precision_without(truth == 1, predictions[:, 1])
        return _mean_without(_log_losses(truth, predictions))


def score_folds(
    truth: np.ndarray, predictions: np.ndarray, fold: np.ndarray, task: str, choose: Callable | None = None
) -> pd.DataFrame:
    """Score out-of-fold predictions fold by fold: one row a fold, one column a metric. Fold -1 validates nothing.

    `choose` finds a fold's threshold by truth and predictions of all other folds: a fold has no say in how it is
    predicted.
    """
    by_fold = {}
    for number in np.unique(fold[fold >= 0]):
        rows, others = fold == number, (fold >= 0) & (fold != number)
        threshold = choose(truth[others], predictions[others]) if choose else None
        by_fold[number] = score(truth[rows], predictions[rows], task, threshold=threshold)
    return pd.DataFrame(by_fold).T.rename_axis("fold")


def summary(folds: pd.DataFrame) -> dict[str, float]:
    """Mean and standard deviation of every metric over the folds, named as MLflow groups them."""
    table = folds.agg(["mean", "std"])
    return {f"cv_{what}/{metric}": float(table.at[what, metric]) for what in table.index for metric in table}


def compare_to_best(folds: dict[str, pd.Series], metric: str, test_train_ratio: float) -> pd.DataFrame:
    """Rank candidates by their mean over the folds, with how far each is behind the best and how sure that is.

    `folds` maps each candidate to its scores by `metric`, one a fold, all over the same folds; a fold without a score
    (one class only has no AUC) is left out. `behind` is the mean of the paired differences to the best, at least 0;
    `error` its standard error, corrected for training sets that overlap (Nadeau and Bengio, 2003) by the ratio of
    validated rows to rows fitted on; `low` and `high` bound its 95% interval by Student's t. `level` marks those whose
    interval includes 0: they can't be told from the best. One fold alone tells no error, so none is level by it.
    """
    table = pd.DataFrame(folds).dropna()
    if table.empty:
        raise BatonError(f"no fold has a score by {metric}: choose by another metric, or give more rows")
    sign = 1 if METRICS[metric].higher_is_better else -1
    means = table.mean()
    best = (sign * means).idxmax()
    gaps = sign * (table[[best]].to_numpy() - table)
    count = len(table)
    behind, spread = gaps.mean(), gaps.std(ddof=1)
    error = (spread * np.sqrt(1 / count + test_train_ratio)).fillna(0)
    reach = stats.t.ppf(0.975, count - 1) * error
    ranking = pd.DataFrame(
        {"mean": means, "std": table.std(ddof=1), "behind": behind, "error": error}
        | {"low": behind - reach, "high": behind + reach, "level": behind <= reach.fillna(0)}
    )
    return ranking.sort_values("mean", ascending=sign < 0, kind="stable").rename_axis("candidate")


def choose(ranking: pd.DataFrame, models: dict[str, str], how: str) -> tuple[str, str]:
    """Choose the winner, and say why: the best mean or, with `how` "simplest", the simplest that is level with it.

    `models` maps each candidate to its model of the catalogue, whose order says what is simple, so the same scores
    always give the same choice. The simplest gives up at most 1% of the best mean.
    """
    best, level = ranking.index[0], ranking.index[ranking["level"]]
    others = f"; {len(level) - 1} of {len(ranking) - 1} others can't be told from it" if len(ranking) > 1 else ""
    first = f"{best} has the best mean, {ranking.at[best, 'mean']:.4f}{others}"
    if how == "best":
        return best, first
    most = MOST_GIVEN_UP * abs(ranking.at[best, "mean"])
    near = [candidate for candidate in level if ranking.at[candidate, "behind"] <= most]
    chosen = min(near, key=lambda candidate: complexity(models[candidate]))  # of equals, the one that ranks first
    if chosen == best:
        return best, f"{first}. None of those is simpler and behind by at most {most:.4f}"
    return chosen, (
        f"{first}. Of those behind by at most {most:.4f}, {chosen} ({models[chosen]}) is the simplest: it is behind by"
        f" {ranking.at[chosen, 'behind']:.4f}"
    )


def chance(
    truth: np.ndarray, predictions: np.ndarray, task: str, metric: str, groups: np.ndarray | None = None,
    draws: int = 1000, seed: int = 0,
) -> float:  # fmt: skip
    """How often predictions that have nothing to do with the rows score as well: the p-value of a permutation test.

    The predictions are given to other rows at random; with `groups` (rows,), to other groups as a whole, repeated or
    cut where a group has more rows or fewer.
    """
    truth, members = np.asarray(truth), _members(len(truth), groups)
    generator, sign = np.random.default_rng(seed), 1 if METRICS[metric].higher_is_better else -1
    reached = score(truth, predictions, task, metric)[metric]
    as_good = 0
    for _ in range(draws):
        rows = generator.permutation(len(members))
        if groups is not None:
            taken, rows = rows, np.empty(len(truth), dtype="int64")
            for mine, other in zip(members, taken, strict=True):
                rows[mine] = np.resize(members[other], len(mine))
        lead = sign * (score(truth, predictions[rows], task, metric)[metric] - reached)
        as_good += lead >= -1e-12  # but for rounding
    return float((1 + as_good) / (1 + draws))


def baseline(truth, contract: Contract, y_train: pd.Series) -> np.ndarray:
    """Predict without looking at a single feature: the classes' shares in training, or the mean."""
    if contract.task == "regression":
        return np.full(len(truth), y_train.mean())
    shares = y_train.value_counts(normalize=True).reindex(contract.labels, fill_value=0).to_numpy()
    return np.tile(shares, (len(truth), 1))


def _place(truth, probabilities, classes) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each class that can be ranked, its rows (a mask), and the share of the other side that each row is right of.

    These shares are DeLong's placements; their mean over either side is the area under the curve. Midranks give them in
    n log n (Sun and Xu, 2014).
    """
    places = []
    for code in [1] if classes == 2 else range(classes):
        positive, certain = truth == code, probabilities[:, code]
        if 0 < positive.sum() < len(truth):
            ranks, right = stats.rankdata(certain), np.empty(len(truth))
            for side in (positive, ~positive):
                right[side] = (ranks[side] - stats.rankdata(certain[side])) / np.sum(~side)
            places.append((positive, np.where(positive, right, 1 - right)))
    return places


def _mean_without(values: np.ndarray) -> np.ndarray:
    return np.maximum(values.sum() - values, 0) / (len(values) - 1)


def _number_without(truth, predicted, metric) -> np.ndarray:
    squares, count = (truth - predicted) ** 2, len(truth)
    if metric == "MAE":
        return _mean_without(np.abs(truth - predicted))
    if metric == "MAPE":
        used = truth != 0
        parts = np.where(used, np.abs((truth - predicted) / truth), 0)
        return (parts.sum() - parts) / (used.sum() - used)
    if metric == "RMSLE":
        squares = (np.log1p(truth) - np.log1p(np.maximum(predicted, 0))) ** 2
    if metric == "R2":
        apart = (truth - truth.mean()) ** 2
        return 1 - (squares.sum() - squares) / (apart.sum() - apart * count / (count - 1))
    return _mean_without(squares) if metric == "MSE" else np.sqrt(_mean_without(squares))


def _label_score_without(truth, probabilities, metric) -> np.ndarray:
    """Rows of the same truth and prediction are worth the same, so there are few to leave out."""
    classes, predicted = probabilities.shape[1], probabilities.argmax(axis=1)
    cells, cell, rows = np.unique(truth.astype(int) * classes + predicted, return_inverse=True, return_counts=True)
    pair = cells // classes, cells % classes, classes
    return np.array([METRICS[metric].function(*pair, rows - less) for less in np.eye(len(cells))])[cell]


def _auc_without(truth, probabilities) -> np.ndarray:
    """Leaving a row out takes its placement from the mean of its side."""
    areas = [np.full(len(truth), np.nan)]
    for positive, right in _place(truth, probabilities, probabilities.shape[1]):
        area = right[positive].mean()
        others = np.where(positive, positive.sum(), np.sum(~positive)) - 1
        areas.append(np.where(others > 0, area - (right - area) / others, np.nan))
    return np.nanmean(areas, axis=0)


def _average_precision_without(positive, certain) -> np.ndarray:
    """Leaving a row out changes the precision at every positive row ranked no higher, and takes its own if positive."""
    order = np.argsort(-certain, kind="stable")
    ranked, hit = -certain[order], positive[order].astype(float)
    first, last = (np.searchsorted(ranked, ranked, side=side) for side in ("left", "right"))  # of equal certainty
    hits, fewer = np.cumsum(hit)[last - 1], np.maximum(last - 1, 1)

    def total(parts, start, stop):
        sums = np.append(0, np.cumsum(parts))
        return sums[stop] - sums[start]

    above = total(hit * hits / last, 0, first)
    with_hit_less = total(hit * (hits - 1) / fewer, first, len(hit)) - (hits - 1) / fewer
    without = np.empty(len(hit))
    without[order] = np.where(
        hit > 0,
        (above + with_hit_less) / (hit.sum() - 1),
        (above + total(hit * hits / fewer, first, len(hit))) / hit.sum(),
    )
    return without


def _members(count: int, groups: np.ndarray | None) -> list[np.ndarray] | np.ndarray:
    """The rows that are drawn together: each by itself or, with groups, those of a group."""
    if groups is None:
        return np.arange(count)
    ordered = np.argsort(groups, kind="stable")
    return np.split(ordered, np.unique(np.asarray(groups)[ordered], return_index=True)[1][1:])
