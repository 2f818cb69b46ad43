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

MOST_DRAWN = 20_000  # rows that a bootstrap of every metric draws at once
MOST_GIVEN_UP = 0.01  # of the best mean, that `choose: simplest` gives up for a simpler model


class Metric(NamedTuple):
    """A score over predictions. `of` is what it reads: "label", "probability" or "number"."""

    function: Callable
    of: str
    higher_is_better: bool = True


# A bootstrap scores thousands of times: written out, a metric takes a hundredth of what scikit-learn's checks take, and
# a test holds each to scikit-learn's.


def _confusion(truth, predicted, classes) -> np.ndarray:
    """Rows of each class (down) that each class was predicted for (across)."""
    codes = truth.astype("int64") * classes + predicted
    return np.bincount(codes, minlength=classes**2).reshape(classes, classes)


def _averaged(of_class: Callable) -> Callable:
    """Score the positive class of two; of more, the classes' mean weighted by their rows, as PyCaret does.

    `of_class` maps hits, rows and predictions of each class to the two sides of a fraction; of nothing, it is 0.
    """

    def score(truth, predicted, classes):
        matrix = _confusion(truth, predicted, classes)
        above, below = of_class(matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0))
        found = above / np.maximum(below, 1)
        return found[1] if classes == 2 else np.average(found, weights=matrix.sum(axis=1))

    return score


def _kappa(truth, predicted, classes):
    matrix = _confusion(truth, predicted, classes) / len(truth)
    by_chance = matrix.sum(axis=1) @ matrix.sum(axis=0)
    return (np.trace(matrix) - by_chance) / (1 - by_chance)


def _mcc(truth, predicted, classes):
    matrix = _confusion(truth, predicted, classes).astype(float)
    rows, columns, count = matrix.sum(axis=1), matrix.sum(axis=0), len(truth)
    spread = (count**2 - rows @ rows) * (count**2 - columns @ columns)
    return (np.trace(matrix) * count - rows @ columns) / np.sqrt(spread) if spread else 0.0


def _auc(truth, probabilities, classes):
    """Area under the ROC curve; of more than two classes, the plain mean of each class against the rest.

    A class that these rows lack, or that all of them have, can't be ranked and is left out of the mean. Written out
    as the Mann-Whitney statistic of ranks: scikit-learn's takes twenty times as long, and a bootstrap asks thousands.
    """

    def area(positive, certain):
        ranks, count = stats.rankdata(certain), positive.sum()
        return (ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(positive) - count))

    codes = [code for code in ([1] if classes == 2 else range(classes)) if 0 < np.sum(truth == code) < len(truth)]
    return np.mean([area(truth == code, probabilities[:, code]) for code in codes]) if codes else np.nan


def _average_precision(truth, probabilities, classes):
    return sk.average_precision_score(truth, probabilities[:, 1]) if np.any(truth == 1) else np.nan


def _log_loss(truth, probabilities, classes):
    # A mean of several models' probabilities sums to 1 only up to rounding; a model that gives none of these classes
    # any was as wrong as one can be.
    given = probabilities[np.arange(len(truth)), truth.astype(int)] / np.maximum(probabilities.sum(axis=1), 1e-300)
    return -np.log(np.clip(given, np.finfo(float).eps, 1)).mean()


def _rmsle(truth, predicted, _):
    """A negative prediction is as wrong as 0, the least there can be; of a negative truth there is no logarithm."""
    if np.any(truth < 0):
        return np.nan
    return np.sqrt(np.mean((np.log1p(truth) - np.log1p(np.maximum(predicted, 0))) ** 2))


METRICS = {
    "AUC": Metric(_auc, "probability"),
    "Average Precision": Metric(_average_precision, "probability"),
    "Log Loss": Metric(_log_loss, "probability", higher_is_better=False),
    "Accuracy": Metric(lambda y, p, _: np.mean(y == p), "label"),
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


def score(truth: np.ndarray, predictions: np.ndarray, task: str, only: str | None = None) -> dict[str, float]:
    """Score predictions by every metric of the task, or by one.

    For classes, `truth` holds codes (rows,) and `predictions` probabilities (rows, classes): the predicted class is
    the likeliest. For a regression both are numbers (rows,).
    """
    truth, predictions = np.asarray(truth), np.asarray(predictions)
    classes = 0 if task == "regression" else predictions.shape[1]
    read = {"number": predictions, "probability": predictions}
    if classes:
        read["label"] = predictions.argmax(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean of nothing is no score
        return {
            name: float(METRICS[name].function(truth, read[METRICS[name].of], classes))
            for name in ([only] if only else config.METRICS[task])
        }


def score_folds(truth: np.ndarray, predictions: np.ndarray, fold: np.ndarray, task: str) -> pd.DataFrame:
    """Score out-of-fold predictions fold by fold: one row a fold, one column a metric. Fold -1 validates nothing."""
    numbers = np.unique(fold[fold >= 0])
    by_fold = {number: score(truth[fold == number], predictions[fold == number], task) for number in numbers}
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


def bootstrap(
    truth: np.ndarray, predictions: dict[str, np.ndarray], task: str, metric: str, groups: np.ndarray | None = None,
    draws: int = 1000, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Score several predictions of the same rows again and again, each time on rows drawn anew with replacement.

    One row a draw, one column for each of `predictions`. A draw takes the same rows for all, so differences between
    columns are paired. With `groups` (rows,), whole groups are drawn.
    """
    truth, members = np.asarray(truth), _members(len(truth), groups)
    generator = np.random.default_rng(seed)
    drawn = [
        np.concatenate([members[unit] for unit in picked]) if groups is not None else picked
        for picked in (generator.integers(0, len(members), len(members)) for _ in range(draws))
    ]
    return pd.DataFrame(
        {
            name: [score(truth[rows], predicted[rows], task, metric)[metric] for rows in drawn]
            for name, predicted in predictions.items()
        }
    )


def score_with_intervals(
    truth: np.ndarray, predictions: np.ndarray, task: str, groups: np.ndarray | None = None, draws: int = 100,
    seed: int = 0,
) -> dict[str, dict[str, float]]:  # fmt: skip
    """Score predictions by every metric of the task: each with its `value` and its 95% interval, `low` to `high`.

    By bootstrap over rows, or over whole groups. Of many, fewer are drawn, and the spread is scaled (m out of n).
    """
    truth, members = np.asarray(truth), _members(len(truth), groups)
    generator, values = np.random.default_rng(seed), score(truth, predictions, task)
    size = min(len(members), MOST_DRAWN)
    drawn = []
    for _ in range(draws):
        picked = generator.integers(0, len(members), size)
        rows = picked if groups is None else np.concatenate([members[unit] for unit in picked])
        drawn.append(score(truth[rows], predictions[rows], task))
    spread = (pd.DataFrame(drawn) - values) * np.sqrt(size / len(members))
    bounds = {name: interval(spread[name]) if spread[name].notna().any() else (np.nan, np.nan) for name in values}
    return {
        name: {"value": value, "low": value + bounds[name][0], "high": value + bounds[name][1]}
        for name, value in values.items()
    }


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


def interval(draws: pd.Series) -> tuple[float, float]:
    """The 95% percentile interval of bootstrap draws; a draw without a score (one class only) is left out."""
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return float(low), float(high)


def baseline(truth, contract: Contract, y_train: pd.Series) -> np.ndarray:
    """Predict without looking at a single feature: the classes' shares in training, or the mean."""
    if contract.task == "regression":
        return np.full(len(truth), y_train.mean())
    shares = y_train.value_counts(normalize=True).reindex(contract.labels, fill_value=0).to_numpy()
    return np.tile(shares, (len(truth), 1))


def _members(count: int, groups: np.ndarray | None) -> list[np.ndarray] | np.ndarray:
    """The rows that are drawn together: each by itself or, with groups, those of a group."""
    if groups is None:
        return np.arange(count)
    ordered = np.argsort(groups, kind="stable")
    return np.split(ordered, np.unique(np.asarray(groups)[ordered], return_index=True)[1][1:])
