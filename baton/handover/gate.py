"""The statistics of a decision: how much better one model is than another on the same rows, how sure that is, and what
follows for the champion. Pure functions of arrays.

The spread of a lead is measured by the jackknife: each row, or each whole group, is left out once. For AUC that is
DeLong's method, by its placements. For the other metrics it stands for a bootstrap, which takes a thousand times as
long and whose percentiles are too sure of themselves in small holdouts (figures in bench/README.md). The bounds are
Student's, with as many degrees of freedom as rows stand behind the spread: few, where a few rows make most of it. Where
rows have weights, a row is left out with its weight: it was drawn with it, so that weights are as random as all else.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from baton.training import evaluation

POWER = 0.8  # the share of holdouts like this one in which the detectable lead is found
FEWEST = 30  # rows of a slice
MOST_VALUES = 8  # of a column, each a slice
LOWEST = {"R2": -np.inf, "Kappa": -1, "MCC": -1}  # that a score can be, where it is not 0
EXACT = 1e-12  # what is closer to 0 is rounding


class Score(NamedTuple):
    """A score with its two-sided 95% interval; NaN where it is undefined."""

    value: float
    low: float
    high: float


class Lead(NamedTuple):
    """How much better one prediction of the same rows is than another; positive is better, whatever the metric.

    `low` and `high` bound its two-sided 95% interval, `bound` is its one-sided lower bound, and `detectable` the true
    lead with which `bound` would be above what is asked (0, or minus a margin) in 80% of holdouts like this one. All
    are NaN where that can't be told: the metric is undefined on these rows, or is so without one of them.
    """

    value: float
    low: float
    high: float
    bound: float
    detectable: float
    method: str


def measure_score(
    truth: np.ndarray, predictions: np.ndarray, task: str, metric: str, groups: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> Score:  # fmt: skip
    """Score predictions, as `evaluation.score` takes them; the interval ends where the metric's range does."""
    value, without = _score(truth, predictions, task, metric, weights)
    error, freedom = _jackknife(value, without, groups, weights)
    reach = stats.t.ppf(0.975, freedom) * error
    low, high = (LOWEST.get(metric, 0), 1) if evaluation.METRICS[metric].higher_is_better else (0, np.inf)
    return Score(value, float(np.maximum(value - reach, low)), float(np.minimum(value + reach, high)))


def measure_lead(
    truth: np.ndarray, challenger: np.ndarray, other: np.ndarray, task: str, metric: str,
    groups: np.ndarray | None = None, confidence: float = 0.95, looks: int = 1, least: float = 0.0,
    weights: np.ndarray | None = None,
) -> Lead:  # fmt: skip
    """Measure by how much the challenger's predictions score better than others of the same rows.

    Arrays as `evaluation.score` takes them, `weights` too; with `groups` (rows,), the rows of a group are one
    observation.
    `bound` is one-sided at `confidence`; where it is one of several `looks`, each takes its part of the error. It has
    to be above `least`.

    A challenger that is no better gets a `bound` above 0 in at most 5% of holdouts (at confidence 0.95): by any metric,
    from 30 rows on, with few positive rows, few groups, heavy tails. One exception is known: a model that is wrong
    rarely but gravely, against one that is a little wrong everywhere. Where too few of those rows fell into the holdout
    it looks better than it is, and these rows alone can't tell.
    """
    (first, first_without), (second, second_without) = (
        _score(truth, one, task, metric, weights) for one in (challenger, other)
    )
    sign = 1 if evaluation.METRICS[metric].higher_is_better else -1
    value, without = sign * (first - second), sign * (first_without - second_without)
    value = value if abs(value) > EXACT else 0.0
    error, freedom = _jackknife(value, without, groups, weights)
    reach, short = (stats.t.ppf(level, freedom) * error for level in (0.975, 1 - (1 - confidence) / looks))
    delong = metric == "AUC" and task == "binary" and groups is None and weights is None
    method = "DeLong" if delong else "jackknife"
    found = (value, value - reach, value + reach, value - short, least + short + stats.norm.ppf(POWER) * error)
    return Lead(*map(float, found), method)


def decide(
    promote: str, metric: str, leads: dict[str, Lead], scores: dict[str, float], at_least: dict[str, float],
    margin: float = 0.0, chance: float | None = None, confidence: float = 0.95,
) -> tuple[bool, list[str]]:  # fmt: skip
    """Decide by the policy `promote` whether the challenger becomes champion, and give the reasons.

    `leads` are over "baseline", "champion", and "reference", the last champion that was promoted as superior, where
    there are such; `scores` are the challenger's. Whatever the policy, the challenger must be better than the baseline
    and pass `at_least` (for a metric where lower is better, the most it may have). Without a champion that is all,
    and `chance` (`evaluation.chance`) is required too: with few positive rows the bound alone is not enough.

    Then `superior` wants the bound of the lead over the champion above 0, `better` the lead itself, and `not_worse` the
    bound of the lead over the reference above -`margin`: over the champion, many small losses would add up. Measure
    that lead with `looks`: of many challengers that are compared with this reference, one could slip through.
    """
    if "champion" not in leads and chance is None:
        raise ValueError("a first champion must be held against chance")
    reasons = _fall_short(leads["baseline"], scores, at_least, chance, confidence)
    if promote == "never" or reasons:
        return False, (reasons or ["promote is never"]) + (_unseen(leads["champion"]) if "champion" in leads else [])
    if "champion" not in leads:
        return True, [f"it is better than the baseline: {_describe(leads['baseline'], metric)}"]
    if promote == "always":
        return True, ["promote is always"]
    other = "reference" if promote == "not_worse" and "reference" in leads else "champion"
    lead, least = leads[other], -margin if promote == "not_worse" else 0.0
    name = {"champion": "the champion", "reference": "the last champion promoted as superior"}[other]
    passed = bool((lead.value if promote == "better" else lead.bound) > least)
    aim = f"better than {name}" if promote != "not_worse" else f"at most {margin:g} worse than {name}"
    sure = "" if promote == "better" else "certainly "
    reasons = [f"it is {'' if passed else 'not '}{sure}{aim}: {_describe(lead, metric)}"]
    return passed, reasons + (_unseen(lead) if not passed else [])


def compare_slices(
    truth: np.ndarray, challenger: np.ndarray, other: np.ndarray, columns: pd.DataFrame, task: str, metric: str,
    groups: np.ndarray | None = None, confidence: float = 0.95, name: str = "champion",
    weights: np.ndarray | None = None,
) -> list[dict]:  # fmt: skip
    """Compare the challenger's predictions with others, of this `name`, on the rows of each frequent value of columns.

    Numbers are cut at their quartiles, dates by year; rows without a value are a slice too. A slice has at least 30
    rows and a defined score. "worse" marks those where the challenger is worse beyond chance, at a level divided by the
    number of slices (Bonferroni), so that at most 5% of comparisons mark one for nothing.
    """
    truth, challenger, other = (np.asarray(given) for given in (truth, challenger, other))
    groups = None if groups is None else np.asarray(groups)
    slices, table = [], []
    for column in columns:
        values = _cut(columns[column]).fillna("missing")
        for value in values.value_counts().head(MOST_VALUES).index:
            rows = (values == value).to_numpy(dtype=bool, na_value=False)
            some = evaluation.part(weights, rows)
            scores = [
                evaluation.score(truth[rows], one[rows], task, metric, weights=some)[metric]
                for one in (challenger, other)
            ]
            if rows.sum() >= FEWEST and np.isfinite(scores).all():
                slices.append((rows, {"column": column, "value": value, "rows": int(rows.sum())}, scores))
    for rows, slice_, scores in slices:
        pair = truth[rows], challenger[rows], other[rows], task, metric, None if groups is None else groups[rows]
        some = evaluation.part(weights, rows)
        lead = measure_lead(*pair, weights=some)
        loss = measure_lead(pair[0], pair[2], pair[1], *pair[3:], confidence, looks=len(slices), weights=some)
        found = dict(zip(("challenger", name), scores, strict=True)) | {"lead": lead.value}
        table.append(slice_ | found | {"low": lead.low, "high": lead.high, "worse": loss.bound > 0})
    return table


def _score(truth, predictions, task, metric, weights) -> tuple[float, np.ndarray]:
    """The score of all rows, and without each."""
    score = evaluation.score(truth, predictions, task, metric, weights=weights)[metric]
    return score, evaluation.leave_one_out(truth, predictions, task, metric, weights)


def _jackknife(
    value: float, without: np.ndarray, groups: np.ndarray | None, weights: np.ndarray | None
) -> tuple[float, float]:
    """Standard error of a statistic that is known without each row, and its degrees of freedom.

    A group moves the statistic by what its rows do, the more the larger its share (as leaving it out whole would). The
    degrees of freedom are Satterthwaite's for a sum of squares of this kurtosis, and at most those of as many groups of
    equal size as make for the same shares. A share is one of the weight, if rows have weights.
    """
    count, weights = len(without), np.ones(len(without)) if weights is None else weights / weights.mean()
    unit = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]
    weight = np.bincount(unit, weights)
    units, total = len(weight), weight.sum()
    if units < 2:
        return np.nan, np.nan
    moves = np.bincount(unit, (total - weights) * (value - without)) * (units - 1) / (total - weight)
    squares = moves**2
    spread = squares.sum()
    if not spread > (count * EXACT) ** 2:  # NaN, or all rows are worth the same
        return (0.0 if spread >= 0 else np.nan), 1.0
    uneven = np.sum(squares**2) / spread**2 - 1 / units
    freedom = min(2 / max(uneven, EXACT), total**2 / np.sum(weight**2) - 1)
    return np.sqrt(spread / (units * (units - 1))), max(1.0, freedom)


def _fall_short(lead: Lead, scores, at_least, chance, confidence) -> list[str]:
    """What keeps the challenger from being champion, whoever else there is."""
    reasons = []
    if not lead.bound > 0:
        reasons.append(f"it is not certainly better than the baseline: {_describe(lead)}")
        reasons += _unseen(lead) if lead.high > 0 else []
    elif chance is not None and not chance <= 1 - confidence + EXACT:
        reasons.append(f"{chance:.1%} of random assignments of its predictions to the rows score as well")
    for metric, threshold in at_least.items():
        higher = evaluation.METRICS[metric].higher_is_better
        if not (scores[metric] >= threshold if higher else scores[metric] <= threshold):
            reasons.append(
                f"its {metric} is {scores[metric]:.4f}, and must be {threshold:g} or {'more' if higher else 'less'}"
            )
    return reasons


def _unseen(lead: Lead) -> list[str]:
    """Say which lead these rows would have shown, if any is known, so that "no" is not taken for "equal"."""
    if not np.isfinite(lead.detectable):
        return []
    shown = f"a true lead of {lead.detectable:+.4f}"
    return [f"rows like these show {shown} in {POWER:.0%} of cases, and can miss a smaller one"]


def _describe(lead: Lead, metric: str = "") -> str:
    bound = f", lower bound {lead.bound:+.4f}" if np.isfinite(lead.bound) else ", and no lower bound on these rows"
    return f"{metric} lead {lead.value:+.4f}{bound}".strip()


def _cut(column: pd.Series) -> pd.Series:
    """Values to slice by, as text: dates by their year, numbers of many values by quartiles."""
    if pd.api.types.is_datetime64_any_dtype(column):
        column = column.dt.year.astype("Int64")
    elif pd.api.types.is_numeric_dtype(column) and column.nunique() > MOST_VALUES:
        column = pd.qcut(column, 4, duplicates="drop")
    return column.astype("string")
