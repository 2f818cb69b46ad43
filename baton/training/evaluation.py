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
AT_ONCE = 1_000_000  # cells of confusion matrices that are scored together
TERMS, LARGE = 30, 3  # of a series in powers of at most 1 / LARGE
EQUAL = 1e-12  # of the spread of all numbers, that of the others is nothing but rounding
SAME = 1e-9  # two probabilities that are nearer than this are equal but for rounding

# The metrics that a threshold is chosen by, of columns that count rows or weigh them. Recall and precision can't choose
# one: all rows called positive, or a single one, have the best.
BY_COUNTS = {
    "F1": lambda tn, fp, fn, tp: 2 * tp / (2 * tp + fp + fn),
    "Accuracy": lambda tn, fp, fn, tp: (tp + tn) / (tn + fp + fn + tp),
    "Kappa": lambda tn, fp, fn, tp: 2 * (tp * tn - fn * fp) / ((tp + fp) * (fp + tn) + (tp + fn) * (fn + tn)),
    "MCC": lambda tn, fp, fn, tp: (
        (tp * tn - fp * fn) / np.sqrt(((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)).replace(0, 1))
    ),
}


class Metric(NamedTuple):
    """A score over predictions. `of` is what it reads: "label", "probability" or "number".

    `function` takes the truth, what it reads, the number of classes, and `weights` (rows,) or None.
    """

    function: Callable
    of: str
    higher_is_better: bool = True


# A permutation test scores thousands of times: written out, a metric takes a hundredth of what scikit-learn's checks
# take. A test holds each to scikit-learn's, with weights and without: a row of weight 2 counts as two rows would.


def _confusion(truth, predicted, classes, weights=None) -> np.ndarray:
    """Rows of each class (down) that each class was predicted for (across), or their weight."""
    codes = truth.astype("int64") * classes + predicted
    return np.bincount(codes, weights, minlength=classes**2).reshape(classes, classes)


def _averaged(of_class: Callable) -> Callable:
    """Score the positive class of two; of more, the classes' mean weighted by their rows, as PyCaret does.

    `of_class` maps hits, rows and predictions of each class to the two sides of a fraction; of nothing, it is 0.
    """

    def score(matrix):
        rows = matrix.sum(axis=-1)
        above, below = of_class(matrix.diagonal(axis1=-2, axis2=-1), rows, matrix.sum(axis=-2))
        found = np.divide(above, below, out=np.zeros(below.shape), where=below > 0)
        return found[..., 1] if rows.shape[-1] == 2 else (found * rows).sum(axis=-1) / rows.sum(axis=-1)

    return score


def _kappa(matrix):
    matrix = matrix / matrix.sum(axis=(-2, -1), keepdims=True)
    by_chance = np.vecdot(matrix.sum(axis=-1), matrix.sum(axis=-2))
    return (matrix.trace(axis1=-2, axis2=-1) - by_chance) / (1 - by_chance)


def _mcc(matrix):
    rows, columns = (matrix.sum(axis=axis, dtype=float) for axis in (-1, -2))
    # Each by its own sum, so that of a single class nothing is left, not even by rounding.
    spread = np.prod([side.sum(axis=-1) ** 2 - np.vecdot(side, side) for side in (rows, columns)], axis=0)
    above = matrix.trace(axis1=-2, axis2=-1) * rows.sum(axis=-1) - np.vecdot(rows, columns)
    return np.where(spread > 0, above / np.sqrt(np.where(spread > 0, spread, 1)), 0.0)


# The metrics of labels, by the confusion matrix, or by many of them at once: (…, classes, classes).
BY_CONFUSION = {
    "Accuracy": lambda matrix: matrix.trace(axis1=-2, axis2=-1) / matrix.sum(axis=(-2, -1)),
    "Recall": _averaged(lambda hits, rows, predicted: (hits, rows)),
    "Prec.": _averaged(lambda hits, rows, predicted: (hits, predicted)),
    "F1": _averaged(lambda hits, rows, predicted: (2 * hits, rows + predicted)),
    "Kappa": _kappa,
    "MCC": _mcc,
}


def _by_certainty(positive, certain, weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The place of each row (rows,) among the different certainties, and how many positive and other rows each has.

    With weights, how much these weigh.
    """
    _, place = np.unique(certain, return_inverse=True)
    return place, *(np.bincount(place, _weighed(side, weights)) for side in (positive, ~positive))


def _auc(truth, probabilities, classes, weights=None):
    """Area under the ROC curve; of more than two classes, the plain mean of each class against the rest.

    A class that these rows lack, or that all of them have, can't be ranked and is left out of the mean. Written out
    as the Mann-Whitney statistic: scikit-learn's takes twenty times as long.
    """

    def area(positive, certain):
        if np.isnan(certain).any():
            return np.nan
        _, mine, others = _by_certainty(positive, certain, weights)
        return mine @ (others.cumsum() - others / 2) / (mine.sum() * others.sum())

    codes = [code for code in ([1] if classes == 2 else range(classes)) if 0 < np.sum(truth == code) < len(truth)]
    return np.mean([area(truth == code, probabilities[:, code]) for code in codes]) if codes else np.nan


def _average_precision(truth, probabilities, classes, weights=None):
    if not np.any(truth == 1):
        return np.nan
    return sk.average_precision_score(truth, probabilities[:, 1], sample_weight=weights)


def _log_losses(truth, probabilities):
    # A mean of several models' probabilities sums to 1 only up to rounding; a model that gives none of these classes
    # any was as wrong as one can be.
    given = probabilities[np.arange(len(truth)), truth.astype(int)] / np.maximum(probabilities.sum(axis=1), 1e-300)
    return -np.log(np.clip(given, np.finfo(float).eps, 1))


def _weighed(values, weights):
    return values if weights is None else weights * values


def _r2(truth, predicted, _, weights=None):
    """Of equal numbers, nothing can be explained."""
    if np.all(truth == truth[:1]):  # but for rounding, by which their mean may be another number
        return np.nan
    apart = (truth - np.average(truth, weights=weights)) ** 2
    return 1 - np.sum(_weighed((truth - predicted) ** 2, weights)) / np.sum(_weighed(apart, weights))


def _rmsle(truth, predicted, _, weights=None):
    """A negative prediction is as wrong as 0, the least there can be; of a negative truth there is no logarithm."""
    if np.any(truth < 0):
        return np.nan
    return np.sqrt(np.average((np.log1p(truth) - np.log1p(np.maximum(predicted, 0))) ** 2, weights=weights))


def _mape(truth, predicted, _, weights=None):
    used = truth != 0
    return _mean(np.abs((truth[used] - predicted[used]) / truth[used]), part(weights, used))


def _mean(values, weights):
    return np.average(values, weights=weights) if len(values) else np.nan


def _of_labels(metric: str) -> Metric:
    return Metric(lambda y, p, classes, weights=None: BY_CONFUSION[metric](_confusion(y, p, classes, weights)), "label")


def _of_errors(error: Callable, of: str = "number") -> Metric:
    """The mean of what each row has of an error, by truth and predictions."""
    return Metric(lambda y, p, _, weights=None: np.average(error(y, p), weights=weights), of, higher_is_better=False)


METRICS = {
    "AUC": Metric(_auc, "probability"),
    "Average Precision": Metric(_average_precision, "probability"),
    "Log Loss": _of_errors(_log_losses, "probability"),
    **{metric: _of_labels(metric) for metric in BY_CONFUSION},
    "R2": Metric(_r2, "number"),
    "MAE": _of_errors(lambda y, p: np.abs(y - p)),
    "MSE": _of_errors(lambda y, p: (y - p) ** 2),
    "RMSE": Metric(
        lambda y, p, _, weights=None: np.sqrt(np.average((y - p) ** 2, weights=weights)),
        "number",
        higher_is_better=False,
    ),
    "RMSLE": Metric(_rmsle, "number", higher_is_better=False),
    "MAPE": Metric(_mape, "number", higher_is_better=False),
}


def part(weights: np.ndarray | None, rows) -> np.ndarray | None:
    """The weights of some rows, if there are any."""
    return None if weights is None else weights[rows]


def score(
    truth: np.ndarray, predictions: np.ndarray, task: str, only: str | None = None, threshold: float | None = None,
    weights: np.ndarray | None = None,
) -> dict[str, float]:  # fmt: skip
    """Score predictions by every metric of the task, or by one.

    For classes, `truth` holds codes (rows,) and `predictions` probabilities (rows, classes): the predicted class is
    that of `predicted_classes`. For a regression both are numbers (rows,). `weights` (rows,) say how much each row
    counts; what all of them are multiplied by makes no difference.
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
            name: float(METRICS[name].function(truth, read[METRICS[name].of], classes, weights))
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


def count_by_threshold(
    truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None
) -> pd.DataFrame:  # fmt: skip
    """Count right and wrong rows for each threshold that makes a difference, the highest first: tn, fp, fn, tp.

    Arrays of two classes, as `score` takes them; with weights, a count is what its rows weigh. A threshold is in the
    middle between two neighbouring probabilities, so that rounding decides nothing, and within 0 and 1: the first calls
    no row positive, the last calls all.
    """
    *counts, there = sk.confusion_matrix_at_thresholds(truth, probabilities[:, 1], pos_label=1, sample_weight=weights)
    none = np.sum(_weighed(truth != 1, weights)), 0, np.sum(_weighed(truth == 1, weights)), 0
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


def choose_threshold(
    truth: np.ndarray, predictions: np.ndarray, how: str | float | dict, metric: str,
    weights: np.ndarray | None = None,
) -> float | None:  # fmt: skip
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
    counts = count_by_threshold(truth, predictions, None if weights is None else weights / weights.mean())
    value = _value(counts, how, metric)
    best = counts["threshold"][np.isclose(value, value.max(), rtol=1e-12, atol=1e-12)]
    return float(best[(best - 0.5).abs().idxmin()])


def leave_one_out(
    truth: np.ndarray, predictions: np.ndarray, task: str, metric: str, weights: np.ndarray | None = None
) -> np.ndarray:  # fmt: skip
    """Score predictions without each row in turn: (rows,), NaN where the score without that row is undefined.

    Arrays as `score` takes them. In closed form, so a million rows take seconds; a row without which the score would be
    the lower holds it up the more, which is what the jackknife measures the spread of a score by.
    """
    truth, predictions = np.asarray(truth), np.asarray(predictions)
    each = np.ones(len(truth)) if weights is None else weights
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is undefined is NaN
        if METRICS[metric].of == "number":
            return _number_without(truth, predictions, metric, each)
        if METRICS[metric].of == "label":
            return _label_score_without(truth, predictions, metric, weights)
        if metric == "AUC":
            return _auc_without(truth, predictions, each)
        if metric == "Average Precision" and weights is None:
            return _average_precision_without(truth == 1, predictions[:, 1])
        if metric == "Average Precision":
            return _weighted_average_precision_without(truth, predictions, weights)
        return _mean_without(_log_losses(truth, predictions), each)


def score_folds(
    truth: np.ndarray, predictions: np.ndarray, fold: np.ndarray, task: str, choose: Callable | None = None,
    weights: np.ndarray | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Score out-of-fold predictions fold by fold: one row a fold, one column a metric. Fold -1 validates nothing.

    `choose` finds a fold's threshold by truth, predictions and `weights` of all other folds: a fold has no say in how
    it is predicted.
    """
    by_fold = {}
    for number in np.unique(fold[fold >= 0]):
        rows, others = fold == number, (fold >= 0) & (fold != number)
        threshold = choose(truth[others], predictions[others], weights=part(weights, others)) if choose else None
        by_fold[number] = score(truth[rows], predictions[rows], task, None, threshold, part(weights, rows))
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
    draws: int = 1000, seed: int = 0, weights: np.ndarray | None = None,
) -> float:  # fmt: skip
    """How often predictions that have nothing to do with the rows score as well: the p-value of a permutation test.

    The predictions are given to other rows at random; with `groups` (rows,), to other groups as a whole, repeated or
    cut where a group has more rows or fewer. A row keeps its weight, which is a part of it as its target is.
    """
    truth, members = np.asarray(truth), _members(len(truth), groups)
    generator, sign = np.random.default_rng(seed), 1 if METRICS[metric].higher_is_better else -1
    reached = score(truth, predictions, task, metric, weights=weights)[metric]
    as_good = 0
    for _ in range(draws):
        rows = generator.permutation(len(members))
        if groups is not None:
            taken, rows = rows, np.empty(len(truth), dtype="int64")
            for mine, other in zip(members, taken, strict=True):
                rows[mine] = np.resize(members[other], len(mine))
        lead = sign * (score(truth, predictions[rows], task, metric, weights=weights)[metric] - reached)
        as_good += lead >= -1e-12  # but for rounding
    return float((1 + as_good) / (1 + draws))


def baseline(truth, contract: Contract, y_train: pd.Series, weights: np.ndarray | None = None) -> np.ndarray:
    """Predict without looking at a single feature: the classes' shares in training, or the mean.

    `weights` are those of the training rows.
    """
    if contract.task == "regression":
        return np.full(len(truth), y_train.mean() if weights is None else np.average(y_train, weights=weights))
    if weights is None:
        shares = y_train.value_counts(normalize=True).reindex(contract.labels, fill_value=0).to_numpy()
    else:
        shares = np.array([weights[y_train == label].sum() for label in contract.labels]) / weights.sum()
    return np.tile(shares, (len(truth), 1))


def _place(truth, probabilities, classes, weights) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each class that can be ranked, its rows (a mask), and the share of the other side that each row is right of.

    These shares are DeLong's placements; their mean over either side is the area under the curve.
    """
    places = []
    for code in [1] if classes == 2 else range(classes):
        positive = truth == code
        if 0 < positive.sum() < len(truth):
            place, mine, others = _by_certainty(positive, probabilities[:, code], weights)
            over, under = ((side.cumsum() - side / 2)[place] / side.sum() for side in (others, mine))
            places.append((positive, np.where(positive, over, 1 - under)))
    return places


def _mean_without(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    values = weights * values
    return np.maximum(values.sum() - values, 0) / (weights.sum() - weights)


def _number_without(truth, predicted, metric, weights) -> np.ndarray:
    squares, total = (truth - predicted) ** 2, weights.sum()
    if metric == "MAE":
        return _mean_without(np.abs(truth - predicted), weights)
    if metric == "MAPE":
        used = truth != 0
        parts = np.where(used, weights * np.abs((truth - predicted) / truth), 0)
        return (parts.sum() - parts) / (np.sum(weights * used) - weights * used)
    if metric == "RMSLE":
        squares = (np.log1p(truth) - np.log1p(np.maximum(predicted, 0))) ** 2
    if metric == "R2":
        apart, squares = weights * (truth - np.average(truth, weights=weights)) ** 2, weights * squares
        left = apart.sum() - apart * total / (total - weights)
        left[left <= EQUAL * apart.sum()] = np.nan
        return 1 - (squares.sum() - squares) / left
    found = _mean_without(squares, weights)
    return found if metric == "MSE" else np.sqrt(found)


def _label_score_without(truth, probabilities, metric, weights) -> np.ndarray:
    """Without weights, rows of the same truth and prediction are worth the same, so there are few to leave out."""
    classes, predicted = probabilities.shape[1], probabilities.argmax(axis=1)
    matrix, cells = _confusion(truth, predicted, classes, weights), truth.astype(int) * classes + predicted
    cells, row = np.unique(cells, return_inverse=True) if weights is None else (cells, slice(None))
    less, found = np.ones(len(cells)) if weights is None else weights, []
    for start in range(0, len(cells), size := max(1, AT_ONCE // classes**2)):
        some = cells[start : start + size]
        without = np.tile(matrix.ravel().astype(float), (len(some), 1))
        without[np.arange(len(some)), some] -= less[start : start + size]
        found.append(BY_CONFUSION[metric](without.reshape(-1, classes, classes)))
    return np.concatenate(found)[row]


def _auc_without(truth, probabilities, weights) -> np.ndarray:
    """Leaving a row out takes its placement from the mean of its side."""
    areas = [np.full(len(truth), np.nan)]
    for positive, right in _place(truth, probabilities, probabilities.shape[1], weights):
        area = np.average(right[positive], weights=weights[positive])
        others = np.where(positive, weights[positive].sum(), weights[~positive].sum()) - weights
        alone = np.where(positive, positive.sum(), np.sum(~positive)) == 1
        areas.append(np.where(alone, np.nan, area - weights * (right - area) / others))
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


def _weighted_average_precision_without(truth, probabilities, weights) -> np.ndarray:
    """As `_average_precision_without`, where rows weigh more than others.

    Without a row of weight w, the precision at a positive row, of hits H among all L that are ranked no lower, becomes
    (H - w) / (L - w), or H / (L - w) if it was no hit. As a series in w / L, its terms are sums over all rows that are
    ranked no higher. The few rows that are a large part of their L are left out by hand.
    """
    positive, certain = truth == 1, probabilities[:, 1]
    order = np.argsort(-certain, kind="stable")
    ranked, weight = -certain[order], weights[order] / weights.sum()
    hit = weight * positive[order]
    first, last = (np.searchsorted(ranked, ranked, side=side) for side in ("left", "right"))  # of equal certainty
    is_hit = positive[order]
    hits, through = np.cumsum(hit)[last - 1], np.cumsum(weight)[last - 1]

    def below(parts):
        return np.cumsum(parts[::-1])[::-1][first]

    moved, share = np.zeros(len(hit)), hit / through
    for power in range(1, TERMS + 1):
        moved += weight**power * (below(share * hits / through) - is_hit * below(share))
        share = share / through
    left = is_hit * weight * (hits - weight) / (through - weight)  # its own precision, which is in none of these sums
    without = np.empty(len(hit))
    others = hit.sum() - hit
    without[order] = np.where(others > 0, (np.sum(hit * hits / through) + moved - left) / others, np.nan)
    for row in order[weight > through / LARGE]:
        rows = np.arange(len(hit)) != row
        without[row] = _average_precision(truth[rows], probabilities[rows], 2, weights[rows])
    return without


def _members(count: int, groups: np.ndarray | None) -> list[np.ndarray] | np.ndarray:
    """The rows that are drawn together: each by itself or, with groups, those of a group."""
    if groups is None:
        return np.arange(count)
    ordered = np.argsort(groups, kind="stable")
    return np.split(ordered, np.unique(np.asarray(groups)[ordered], return_index=True)[1][1:])
