"""The statistics of a decision: how much better one model is than another on the same rows, how sure that is, and who
is promoted. Pure functions of arrays."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from baton.training import evaluation

BLOCKS = 200  # parts of the rows, each left out once, that the spread of a lead is measured by
POWER = 0.8  # the share of holdouts in which the detectable lead would be found
FEWEST = 30  # rows of a slice
VALUES = 8  # of a column, each a slice


class Lead(NamedTuple):
    """How much better one prediction of the same rows is than another; positive is better, whatever the metric.

    `low` and `high` bound its two-sided 95% interval, `bound` is its one-sided lower bound, and `detectable` is the
    true lead for which `bound` would be above 0 in 80% of holdouts like this one. All are NaN where the metric is
    undefined on these rows, or on these rows less one.
    """

    value: float
    low: float
    high: float
    bound: float
    detectable: float
    method: str


def measure_lead(
    truth: np.ndarray, challenger: np.ndarray, other: np.ndarray, task: str, metric: str,
    groups: np.ndarray | None = None, confidence: float = 0.95,
) -> Lead:  # fmt: skip
    """Measure by how much the challenger's predictions score better than others' of the same rows.

    Arrays as `evaluation.score` takes them; with `groups` (rows,), rows of a group count as one observation.
    """
    truth, challenger, other = (np.asarray(given) for given in (truth, challenger, other))
    value = _lead(truth, challenger, other, task, metric)
    if metric == "AUC" and task == "binary" and groups is None:
        method, (error, freedom) = "DeLong", _delong(truth, challenger[:, 1], other[:, 1])
    else:
        method, (error, freedom) = "bootstrap", _jackknife(truth, challenger, other, task, metric, groups)
    if not np.isfinite([value, error, freedom]).all():
        return Lead(value, *[np.nan] * 4, method)
    reach, bound = (stats.t.ppf(level, freedom) * error for level in (0.975, confidence))
    detectable = bound + stats.norm.ppf(POWER) * error
    return Lead(*(float(x) for x in (value, value - reach, value + reach, value - bound, detectable)), method)


def decide(
    promote: str, metric: str, leads: dict[str, Lead], scores: dict[str, float], at_least: dict[str, float],
    margin: float = 0.0, chance: float | None = None, confidence: float = 0.95,
) -> tuple[bool, list[str]]:  # fmt: skip
    """Decide by the policy `promote` whether the challenger becomes champion; return that and the reasons.

    `leads` over "baseline", "champion" and "reference" (the last champion that was promoted as superior) where there
    are such; `scores` are the challenger's; `chance` is what `evaluation.chance` gives, needed where there is no champion.
    Whatever the policy, the challenger must beat the baseline and pass `at_least`; for a metric where lower is better,
    that is the most it may have.
    """
    failed = _fall_short(metric, leads["baseline"], scores, at_least, chance, confidence)
    if promote == "never":
        return False, ["promote: never", *failed]
    if failed:
        return False, failed
    if "champion" not in leads:
        lead = leads["baseline"]
        return True, [f"it leads the baseline by {lead.value:+.4f}, lower bound {lead.bound:+.4f}, above 0"]
    if promote == "always":
        return True, ["promote: always"]
    lead, least, who = leads["champion"], 0.0, "the champion"
    if promote == "not_worse":
        least = -margin
        if "reference" in leads:
            lead, who = leads["reference"], "the last champion promoted as superior"
    passed = (lead.value if promote == "better" else lead.bound) > least
    found = f"the lead over {who} is {lead.value:+.4f}"
    if promote != "better":
        found = f"{found}, its lower bound {lead.bound:+.4f} is {'' if passed else 'not '}above {least:g}"
    seen = f"a true lead of {lead.detectable:.4f} would be found in {POWER:.0%} of holdouts like this one"
    return passed, [found] if passed or promote == "better" else [found, seen]


def compare_slices(
    truth: np.ndarray, challenger: np.ndarray, champion: np.ndarray, columns: pd.DataFrame, task: str, metric: str,
    groups: np.ndarray | None = None, confidence: float = 0.95,
) -> list[dict]:  # fmt: skip
    """Compare two predictions on the rows of each frequent value of some columns.

    A slice has at least 30 rows and a defined score. "worse" marks those on which the challenger is worse by more than
    chance: the upper bound of its lead is below 0, at a level that allows for the number of slices looked at.
    """
    truth, challenger, champion = (np.asarray(given) for given in (truth, challenger, champion))
    slices = []
    for column in columns:
        values = _cut(columns[column])
        for value in (
            values.value_counts().index[:VALUES]
            if not isinstance(values.dtype, pd.CategoricalDtype)
            else values.cat.categories
        ):
            rows = (values == value).to_numpy()
            both = [
                evaluation.score(truth[rows], one[rows], task, metric)[metric] if rows.sum() >= FEWEST else np.nan
                for one in (challenger, champion)
            ]
            if np.isfinite(both).all():
                slices.append(
                    (
                        {
                            "column": column,
                            "value": str(value),
                            "rows": int(rows.sum()),
                            "challenger": both[0],
                            "champion": both[1],
                        },
                        rows,
                    )
                )
    table = []
    for one, rows in slices:
        of_these = None if groups is None else np.asarray(groups)[rows]
        given = (task, metric, of_these)
        lead = measure_lead(truth[rows], challenger[rows], champion[rows], *given)
        loss = measure_lead(truth[rows], champion[rows], challenger[rows], *given, 1 - (1 - confidence) / len(slices))
        table.append(one | {"lead": lead.value, "low": lead.low, "high": lead.high, "worse": bool(loss.bound > 0)})
    return table


def _cut(column: pd.Series) -> pd.Series:
    """Values to slice by: dates by their year, numbers of many values by quartiles."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return column.dt.year.astype("Int64").astype("string")
    if pd.api.types.is_numeric_dtype(column) and column.nunique() > VALUES:
        return pd.qcut(column, 4, duplicates="drop")
    return column.astype("string")


def _fall_short(metric, lead, scores, at_least, chance, confidence) -> list[str]:
    """What the challenger fails by itself."""
    failed = []
    if not lead.bound > 0:
        failed.append(f"a lead over the baseline is not sure: {lead.value:+.4f}, lower bound {lead.bound:+.4f}")
    elif chance is not None and chance > 1 - confidence + 1e-12:
        failed.append(f"{chance:.1%} of random assignments of its predictions to rows score as well")
    for name, threshold in at_least.items():
        higher = evaluation.METRICS[name].higher_is_better
        if not (scores[name] >= threshold if higher else scores[name] <= threshold):
            failed.append(f"{name} is {scores[name]:.4f}, and must be at {'least' if higher else 'most'} {threshold:g}")
    return failed


def _lead(truth, challenger, other, task, metric) -> float:
    sign = 1 if evaluation.METRICS[metric].higher_is_better else -1
    reached, compared = (evaluation.score(truth, one, task, metric)[metric] for one in (challenger, other))
    return sign * (reached - compared)


def _delong(truth: np.ndarray, challenger: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Standard error of the difference of two AUCs (DeLong and others, 1988), and its degrees of freedom (Welch).

    By midranks, as Sun and Xu (2014) compute it: n log n.
    """
    sides = [truth == 1, truth != 1]
    if min(np.sum(side) for side in sides) < 2:
        return np.nan, np.nan
    placements = [[], []]
    for given in (challenger, other):
        ranks = stats.rankdata(given)
        for side, kept in zip(sides, placements, strict=True):
            kept.append((ranks[side] - stats.rankdata(given[side])) / np.sum(~side))
    parts = [np.var(first - second, ddof=1) / len(first) for first, second in placements]
    total = sum(parts)
    freedom = total**2 / max(sum(part**2 / (side.sum() - 1) for part, side in zip(parts, sides, strict=True)), 1e-300)
    return np.sqrt(total), max(freedom, 1.0)


def _jackknife(truth, challenger, other, task, metric, groups) -> tuple[float, float]:
    """Standard error of a lead, and its degrees of freedom, by leaving out each row, group or block of those once."""
    units = np.arange(len(truth)) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = units.max() + 1
    if count > BLOCKS:
        units, count = np.random.default_rng(0).permutation(count)[units] % BLOCKS, BLOCKS
    without = np.array(
        [
            _lead(truth[kept], challenger[kept], other[kept], task, metric)
            for kept in (units != unit for unit in range(count))
        ]
    )
    parts = without - without.mean()
    squares = parts**2
    if not squares.sum() > 0:
        return (0.0, 1.0) if squares.sum() == 0 else (np.nan, np.nan)
    freedom = 2 * squares.sum() ** 2 / (np.sum(squares**2) - squares.sum() ** 2 / count)
    return np.sqrt((count - 1) / count * squares.sum()), min(freedom, count - 1)
