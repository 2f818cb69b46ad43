"""The interval around a predicted number, by split conformal prediction: a quantile of out-of-fold residuals.

Each residual is of a model that did not see its row. So the residual of a new row is as likely to have any rank among
n of them, and the ceil((n + 1) level)-th smallest bounds a share of at least `level` of new ones, whatever their
distribution (Vovk et al., 2005; Lei et al., 2018). That takes rows that are exchangeable with these, and is a share of
all of them, not of each kind. What serves has learned from more rows than the models of the folds, so that
intervals are rather too wide; but no theorem covers this exchange of models (Barber et al., 2021), and what the
holdout says is the check.
"""

import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from baton import SettingsError
from baton.data.contract import Contract

FILE = "residuals.json"  # in the folder of a model of numbers
KEPT = 2000  # ranks, so that of many rows at most 0.025% more than asked for are held by keeping no more
LEVEL = 0.9  # what is reported where no other is asked for


class Residuals(NamedTuple):
    """The sizes of a model's out-of-fold residuals that have these `ranks`, both ascending, of `rows` in all.

    With the scale "log" they are of the target's logarithm; with any other of `tournament.Result`, as they are. Where
    rows have weights, a rank is the weight of all residuals up to this one, in units in which they sum to `rows`: as
    many rows of equal weight as tell as much (Kish, 1965). So uneven weights leave fewer rows, and wider intervals.

    Their sizes, not their two signed tails: coverage is as asked by both, but tails take twice as many rows for a
    level, need not hold the prediction itself, and mostly are wider where errors are skewed, as the quantile of a long
    tail lies further out (Romano et al., 2019; figures in bench/README.md). Where errors are skewed, so are the misses.
    """

    scale: str
    rows: float
    ranks: list[float]
    sizes: list[float]

    @classmethod
    def of(
        cls, truth: np.ndarray, predictions: np.ndarray, scale: str = "plain", weights: np.ndarray | None = None
    ) -> "Residuals":
        """Take the residuals of out-of-fold predictions, (rows,) each, and keep ranks of their upper half."""
        with np.errstate(all="ignore"):  # a prediction without a logarithm is as wrong as one can be
            read = np.log if scale == "log" else np.asarray
            sizes = np.abs(read(truth) - read(predictions))
        sizes = np.where(np.isfinite(sizes), sizes, np.inf)
        order = np.argsort(sizes, kind="stable")
        sizes, rows, ranks = sizes[order], len(sizes), np.arange(1, len(sizes) + 1)
        if weights is not None:
            ranks = np.cumsum(weights[order]) * weights.sum() / np.sum(weights**2)
            rows = float(ranks[-1])
        kept = np.unique(np.searchsorted(ranks, np.linspace(rows / 2, rows, KEPT)))
        kept = kept[np.isfinite(sizes[kept])]
        return cls(scale, rows, ranks[kept].tolist(), sizes[kept].tolist())

    def reach(self, level: float) -> float:
        """How far from its prediction a share `level` of numbers lies at most; infinite if there are too few rows."""
        rank = round((self.rows + 1) * level, 9)  # but for rounding: 100 times 0.55 is 55
        place = np.searchsorted(self.ranks, rank)  # for a rank that was not kept, the next higher one
        return self.sizes[place] if place < len(self.sizes) else math.inf

    def bounds(self, predictions: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Put an interval around each prediction: its ends, (rows,) each, none on the wrong side of the prediction."""
        reach = self.reach(level)
        if self.scale == "log":
            return predictions / np.exp(reach), predictions * np.exp(reach)
        return predictions - reach, predictions + reach


def keep(
    folder: Path, y: pd.Series, predictions: np.ndarray, validated: np.ndarray, contract: Contract, scale: str,
    weights: np.ndarray | None = None,
) -> None:  # fmt: skip
    """Write the residuals of a candidate into its folder, if it predicts numbers.

    `predictions` are `tournament.Result.predictions`, and `validated` masks the rows that have one. Rows that no model
    learns from are among them: rows like them will come.
    """
    if not contract.labels:
        truth = y.to_numpy(dtype="float64")
        of_validated = None if weights is None else weights[validated]
        found = Residuals.of(truth[validated], predictions[validated], scale, of_validated)
        (Path(folder) / FILE).write_text(json.dumps(found._asdict()))


def read(folder: Path) -> Residuals | None:
    """Read what `keep` wrote; None if there is nothing."""
    file = Path(folder) / FILE
    return Residuals(**json.loads(file.read_text())) if file.is_file() else None


def require(model, level: float | None) -> None:
    """Raise `SettingsError` unless a `saving.Model` can give intervals of this level; None asks for none."""
    if level is None:
        return
    asked, remedy = f"interval is {level:g}, and {model}", "or set interval: none"
    if model.contract.labels:
        raise SettingsError(
            f"{asked} answers a {model.contract.task} question: only a predicted number has an interval. Set interval:"
            " none"
        )
    if model.residuals is None:
        raise SettingsError(
            f"{asked} keeps no out-of-fold residuals: it was trained before models did. Train anew, {remedy}"
        )
    if model.residuals.reach(level) == math.inf:
        rows, highest = model.residuals.rows, max(model.residuals.ranks, default=0)
        most = math.floor(1000 * highest / (rows + 1)) / 1000
        raise SettingsError(
            f"{asked} keeps {rows:.0f} out-of-fold residuals, which is too few: they are enough for {most:g}. Ask for"
            f" that or less, train on more rows, {remedy}"
        )


def measure(
    residuals: Residuals | None, truth: np.ndarray, predictions: np.ndarray, level: float,
    weights: np.ndarray | None = None,
) -> dict | None:  # fmt: skip
    """Measure which share of numbers the intervals of their predictions hold: rows that the model has not seen.

    `low` and `high` bound the 95% interval of that share (Wilson's, which takes rows as independent; where they have
    weights, of as many rows of equal weight as tell as much), `below` and `above` are the shares on either side,
    `width` is the mean, and `reach` is on the scale of the residuals. None where there are no residuals, or too few.
    """
    if residuals is None or residuals.reach(level) == math.inf:
        return None
    low, high = residuals.bounds(predictions, level)
    below, above = truth < low, truth > high
    held, below, above, width = (
        float(np.average(of, weights=weights)) for of in (~below & ~above, below, above, high - low)
    )
    rows = len(truth) if weights is None else max(1, round(weights.sum() ** 2 / np.sum(weights**2)))
    share = stats.binomtest(round(held * rows), rows).proportion_ci(method="wilson")
    return {
        "level": level, "rows": len(truth), "coverage": held, "low": float(share.low), "high": float(share.high),
        "below": below, "above": above, "width": width, "reach": residuals.reach(level), "scale": residuals.scale,
    }  # fmt: skip
