"""Every figure Baton draws. Each function returns a matplotlib figure and leaves nothing open.

scikit-learn, which takes a second to load, is imported where it is used: the report of a batch needs none of it.
"""

import io
import os
import re
import shutil
from pathlib import Path

import matplotlib
import matplotlib.dates
import matplotlib.lines
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib import figure as matplotlib_figure
from matplotlib.backends.backend_agg import FigureCanvasAgg

from baton import config
from baton.data.contract import Contract

BLUE, ORANGE = "#2b6cb0", "#dd6b20"
LIGHT_GREY, GREY, DARK_GREY = "#e2e8f0", "#a0aec0", "#4a5568"
COLOURS = [BLUE, ORANGE, "#38a169", "#805ad5", "#d53f8c", "#718096", "#d69e2e", "#319795"]
matplotlib.rcParams["text.parse_math"] = False  # a column may be called $a_b
SHOWN = 24  # columns in a grid of small figures, or classes in one; a table may have hundreds
CORRELATED = 100_000  # rows, of which rank correlations are drawn
SHUFFLES = 3  # of each column, to see what it is worth to a candidate
FAR = 10  # times as far from the best as half of a sweep's candidates: no further is drawn
RANKED = 20  # candidates on the leaderboard
ROW = ("axes fraction", "data")  # coordinates of what stands beside a row


class Figure(matplotlib_figure.Figure):
    """A figure that shows itself in any notebook; Jupyter draws Matplotlib's only with its inline backend."""

    def __init__(self, **how):
        super().__init__(layout="constrained", **how)
        self.laid_out = False
        _Canvas(self)

    def get_layout_engine(self):
        return None if self.laid_out else super().get_layout_engine()

    def _repr_png_(self) -> bytes:
        drawn = io.BytesIO()
        self.savefig(drawn, format="png")
        return drawn.getvalue()


class _Canvas(FigureCanvasAgg):
    """Lays its figure out once: Matplotlib and Jupyter do so anew for each picture of it, with a whole draw more."""

    def print_figure(self, *where, **how):
        if not self.figure.laid_out:
            self.figure.get_layout_engine().execute(self.figure)
            self.figure.laid_out = True
        return super().print_figure(*where, **how | {"bbox_inches": None})


def target_balance(target: pd.Series, contract: Contract) -> Figure:
    """Rows of each class, or the distribution of a number."""
    if contract.task == "regression":
        figure, axes = _figure(6, 2.6)
        axes.hist(target, bins=40, color=BLUE)
        axes.set(xlabel=contract.target, ylabel="rows", title=f"{contract.target}: {len(target)} training rows")
        return figure
    labels = _frequent(target, contract.labels, SHOWN)
    figure, axes = _figure(6, max(2.6, 0.8 + 0.2 * len(labels)))
    counts = target.value_counts().reindex(labels)
    bars = _barh(axes, labels, counts, color=_colours(len(counts)))
    axes.bar_label(bars, [f" {count}  ({count / len(target):.1%})" for count in counts])
    title = f"{contract.target}: {len(target)} training rows{_of_many(labels, contract)}"
    axes.set(xlabel="rows", title=title, xlim=(0, counts.max() * 1.25))
    return figure


def missing_values(rows: pd.DataFrame) -> Figure:
    """The share of each column's values that are missing; of many columns, of those that lack most."""
    shares = rows.isna().mean().sort_values().iloc[-SHOWN:]
    figure, axes = _figure(6, 0.8 + 0.25 * len(shares))
    _barh(axes, shares.index, 100 * shares, most=40, color=BLUE)
    axes.set(xlabel="% of training rows missing", xlim=(0, 100), title="Missing values")
    return figure


def distributions(rows: pd.DataFrame, target: pd.Series, contract: Contract) -> Figure:
    """Each column by itself, one colour a class; or against the target, for a regression."""
    figure, grid = _grid(rows.columns)
    labels = _frequent(target, contract.labels, len(COLOURS))
    for column, axes in grid.items():
        values = rows[column]
        if contract.task == "regression" and (_is_numeric(values) or _is_date(values)):
            axes.plot(_drawable(values), target, ".", color=BLUE, alpha=0.3, markersize=3)
            _end_dates(axes, values)
            axes.set_ylabel(contract.target)
        elif contract.task == "regression":
            _bars(axes, values, "{share:.1%}", fontsize=8)
        else:
            for label, name, colour in zip(labels, _labels(labels), COLOURS, strict=False):
                _histogram(axes, values[target == label], values, colour, f"{contract.target} = {name}")
        axes.set_title(column)
    if contract.labels:
        handles, names = next(iter(grid.values())).get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=4, frameon=False)
    return figure


def columns(rows: pd.DataFrame) -> Figure:
    """The distribution of each column by itself."""
    figure, grid = _grid(rows.columns)
    for column, axes in grid.items():
        _histogram(axes, rows[column], rows[column], BLUE, "", density=False)
        axes.set_title(column)
    return figure


def correlations(rows: pd.DataFrame, target: pd.Series, contract: Contract) -> Figure:
    """Rank correlations (Spearman) of the numeric columns and the target; more than two classes have no order."""
    ordered = {} if contract.task == "multiclass" else {f"{contract.target} (target)": contract.encode(target)}
    table = rows.select_dtypes("number").assign(**ordered).iloc[:, -SHOWN:]
    values = table.sample(min(len(table), CORRELATED), random_state=0).corr("spearman")
    figure, axes = _figure(2.4 + 0.42 * len(values), 1.6 + 0.42 * len(values))
    image = axes.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1)
    names = _labels(values, 40)
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right")
    axes.set_yticks(range(len(names)), names)
    for (row, column), value in np.ndenumerate(values.to_numpy()):
        axes.text(
            column,
            row,
            f"{value:.1f}" if value == value else "",
            ha="center",
            va="center",
            fontsize=7,
            color="white" if abs(value) > 0.6 else "black",
        )
    axes.set_title("Rank correlation")
    figure.colorbar(image, shrink=0.7)
    return figure


def of_candidate(asked: list[str], swept: dict) -> list[str]:
    """Which figures to draw of a candidate, by `figures` in env.yaml: `auto` is all, but none of a sweep's many."""
    if "none" in asked or ("auto" in asked and swept):
        return []
    return [*config.FIGURES] if {"all", "auto"} & {*asked} else asked


def candidate(
    pipeline, rows: pd.DataFrame, target: pd.Series, validated: pd.Series, predictions: np.ndarray,
    contract: Contract, settings: config.Settings, wanted: list[str], as_fitted: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> dict[str, Figure]:  # fmt: skip
    """Draw the figures of a candidate that are wanted: of its out-of-fold predictions for the rows that were
    validated, and of the fitted pipeline. `as_fitted` are the predictions before they were calibrated, and `weights`
    (rows,) say how much each row counts."""
    truth, before = contract.encode(target)[validated], None if as_fitted is None else as_fitted[validated]
    how = settings.threshold, before, None if weights is None else weights[validated]
    drawn = evaluation_figures(truth, predictions[validated], contract, wanted, *how)
    if "importance" in wanted:
        drawn["importance"] = importance(pipeline, rows, target, contract, settings.seed, weights)
    return drawn


def study(trials: list, importances: dict[str, float], metric: str, wanted=config.FIGURES) -> dict[str, Figure]:
    """Draw a search: its history, how much each parameter mattered, and the score by each; {} without trials.

    `trials` are `study.Trial`s. The best is orange. A pruned one has no score that could be compared: it was not scored
    on all folds.
    """
    finished = [trial for trial in trials if trial.state == "finished"]
    if "study" not in wanted or not finished:
        return {}
    higher = _higher_is_better(metric)
    best = (max if higher else min)(finished, key=lambda trial: trial.score)
    names = [*dict.fromkeys([*importances, *best.params])][: SHOWN - 2]
    figure, grid = _grid(["", "importance", *names])
    history, importance, *slices = grid.values()
    so_far = (np.maximum if higher else np.minimum).accumulate([trial.score for trial in finished])
    history.step([trial.number for trial in finished], so_far, where="post", color=DARK_GREY, linewidth=0.8)
    others = [trial.number for trial in trials if trial.state != "finished"]
    history.plot(others, [0.03] * len(others), "x", color=GREY, transform=history.get_xaxis_transform(), markersize=4)
    history.set_title(f"{len(finished)} trials, {len(others)} pruned (x)" if others else f"{len(finished)} trials")
    shares = dict(sorted(importances.items(), key=lambda pair: pair[1]))
    _barh(importance, [*shares], [*shares.values()], color=BLUE)
    importance.set_title("importance (fANOVA)")
    for axes, name in zip([history, *slices], [None, *names], strict=True):
        values = [trial.params.get(name) if name else trial.number for trial in finished]
        numbers = all(map(_is_value, values))
        for trial, value in zip(finished, values, strict=True):
            at = value if numbers else _clipped(str(value))
            axes.plot(at, trial.score, "o", color=ORANGE if trial is best else BLUE, markersize=4)
        if name and numbers and min(values) > 0 and max(values) > 50 * min(values):
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        axes.set_title(_clipped(name or history.get_title(), 28))
        axes.tick_params(labelsize=8)
    history.set_ylabel(f"mean {metric}")
    return {"study": figure}


def evaluation_figures(
    truth: pd.Series, predictions: np.ndarray, contract: Contract, wanted=config.FIGURES,
    threshold: str | float | dict = "auto", as_fitted: np.ndarray | None = None, weights: np.ndarray | None = None,
) -> dict[str, Figure]:  # fmt: skip
    """Draw those of the figures that are wanted of out-of-fold predictions; `truth` as `Contract.encode` gives it.

    By weights, if there are any, but for what shows each row, and the bins of a calibration curve.
    """
    from sklearn import metrics as sk

    of = (truth.to_numpy(), predictions, contract)
    if contract.task == "regression":
        draw = {
            "predicted_actual": lambda: _errors(*of, "actual_vs_predicted", "predicted against actual"),
            "residuals": lambda: _errors(*of, "residual_vs_predicted", "residuals"),
        }
    else:
        draw = {
            "confusion": lambda: _confusion(*of, weights),
            "roc": lambda: _curves(*of, sk.RocCurveDisplay, "ROC", weights),
            "precision_recall": lambda: _curves(*of, sk.PrecisionRecallDisplay, "Precision-recall", weights),
            "calibration": lambda: _calibration(*of, as_fitted),
        }
    if contract.task == "binary":
        draw["threshold"] = lambda: _threshold(*of, threshold["cost"] if isinstance(threshold, dict) else None, weights)
    return {name: one() for name, one in draw.items() if name in wanted}


def importance(
    pipeline, rows: pd.DataFrame, target: pd.Series, contract: Contract, seed: int, weights: np.ndarray | None = None
) -> Figure:
    """How much worse the fitted model gets on training rows when one raw column is shuffled (at most 500 rows)."""
    from sklearn import metrics as sk

    from baton.handover import effects

    sample = rows.reset_index(drop=True).sample(min(len(rows), 500), random_state=seed)
    truth, weights = target.iloc[sample.index], None if weights is None else weights[sample.index]

    def loss(predicted: np.ndarray) -> float:
        if contract.labels:  # named, since a rare class may not be among the rows drawn
            return sk.log_loss(truth, predicted, labels=pipeline.classes_, sample_weight=weights)
        return -sk.r2_score(truth, predicted, sample_weight=weights)

    predict = pipeline.predict_proba if contract.labels else pipeline.predict
    answers = effects.ask(effects.shuffled(sample, SHUFFLES, seed), predict)
    losses = {column: [loss(answers[column, number]) for number in range(SHUFFLES)] for column in sample}
    lost = pd.DataFrame(losses) - loss(answers["rows"])
    means = lost.mean().sort_values(kind="stable")[-SHOWN:]
    figure, axes = _figure(6, 0.8 + 0.25 * len(means))
    _barh(axes, means.index, means, most=40, color=BLUE, xerr=lost[means.index].std(ddof=0), ecolor=GREY)
    name = "R2 lost" if contract.task == "regression" else "log loss gained"
    axes.set(xlabel=f"{name} when the column is shuffled (training rows)", title="Importance of each raw column")
    return figure


def leaderboard(ranking: pd.DataFrame, metric: str, settings: dict[str, str]) -> Figure:
    """Draw how far each candidate is behind the best, with its 95% interval and, in small print, its settings.

    `ranking` as `evaluation.compare_to_best` gives it; blue are those whose interval includes 0. Of more than 20
    candidates the best 20 are drawn.
    """
    shown = ranking.iloc[RANKED - 1 :: -1]
    figure, axes = _figure(9, 1.5 + 0.4 * len(shown))
    axes.set_yticks(range(len(shown)), _labels(shown.index, 40), va="bottom")
    for height, (name, row) in enumerate(shown.iterrows()):
        colour = BLUE if row["level"] else GREY
        axes.axhline(height, color=LIGHT_GREY, linewidth=0.6, zorder=0)
        if row[["low", "high"]].notna().all():  # one fold alone gives no interval
            axes.plot([row["low"], row["high"]], [height, height], color=colour, linewidth=2)
        axes.plot(row["behind"], height, "o", color=colour)
        axes.annotate(f"{row['mean']:.4f}", (1.015, height), xycoords=ROW, va="center")
        below = {"xytext": (-3.5, -1), "textcoords": "offset points", "ha": "right", "va": "top"}
        detail = _clipped(settings.get(name, ""), 64)
        axes.annotate(detail, (0, height), xycoords=ROW, fontsize=7.5, color=DARK_GREY, **below)
    axes.annotate("mean", (1.015, len(shown) - 0.4), xycoords=ROW, va="center", color=DARK_GREY)
    axes.axvline(0, color="black", linewidth=0.8, zorder=1)
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.tick_params("y", length=0)
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.locator_params("x", nbins=6)
    better = "higher" if _higher_is_better(metric) else "lower"
    of_all = f"\nthe best {len(shown)} of {len(ranking)} candidates" if len(shown) < len(ranking) else ""
    axes.set(
        xlabel=f"{metric} behind the best, with 95% interval\n"
        "blue: level with the best (the interval includes 0), grey: not level",
        title=f"Leaderboard by mean {metric} ({better} is better){of_all}",
    )
    return figure


def sweep(ranking: pd.DataFrame, swept: dict[str, dict], metric: str) -> Figure | None:
    """Draw what sweeps have shown: each candidate as a line from its parameters to its mean, and a map of the means.

    `swept` maps candidates to the parameters that differ among them; those of the same parameters are one sweep, and a
    row of the figure. The map is over the two parameters with the most values; with more than two, it shows the best
    mean over the others. None without a sweep.
    """
    sweeps: dict[tuple, list] = {}
    for name in ranking.index:
        if swept.get(name):
            sweeps.setdefault((name.partition("=")[0].rpartition("-")[0], *swept[name]), []).append(name)
    if not sweeps:
        return None
    figure = Figure(figsize=(11, 4.2 * len(sweeps)))
    rows = figure.subplots(len(sweeps), 2, squeeze=False)
    for (entry, *names), (lines, means) in zip(sweeps, rows, strict=True):
        candidates = sweeps[entry, *names]
        # What is no number is shown as a text, which None, lists and mappings can be compared as.
        values = [
            {key: value if _is_value(value) else str(value) for key, value in swept[name].items()}
            for name in candidates
        ]
        reached = ranking.loc[candidates, "mean"].to_numpy()
        # One that diverged would leave the others no colours to be told apart by.
        best, end = reached[0], reached[0] - FAR * (reached[0] - np.median(reached))
        within = reached if end == best else np.maximum(reached, end) if end < best else np.minimum(reached, end)
        table = pd.DataFrame(values, dtype="object").assign(**{metric: within})
        _parallel(lines, table, names, metric)
        cut = "" if (within == reached).all() else "; far worse ones are drawn at the end of the scale"
        lines.set_title(f"{entry}: {len(table)} candidates, the best in orange{cut}")
        most = sorted(names, key=lambda name: -table[name].nunique())[:2]
        _means(means, table, [name for name in names if name in most], metric, of_others=len(names) > 2)
    return figure


def decision(verdict: dict) -> Figure:
    """Draw what a verdict rests on: each model's score, the challenger's lead over the others, and that of each slice.

    `verdict` as `Verdict.to_dict` gives it. To the right of 0 the challenger leads; the grey band holds leads that
    these rows may not show, and the dashed line is the margin of `promote: not_worse`.
    """
    scores, leads, slices = verdict["scores"], verdict["leads"], verdict["slices"]
    figure, axes = _figure(9, 2.1 + 0.3 * max(len(scores), len(leads) + len(slices)), columns=2)
    if not scores:
        for one in axes:
            one.set_axis_off()
        axes[0].set_title("Nothing was compared", loc="left")
        return figure
    metric = verdict["metric"]
    _intervals(axes[0], [(name, found[metric], BLUE) for name, found in scores.items()], "{:.4f}")
    axes[0].set(xlabel=f"{metric}, with 95% interval", title=f"Scores on {verdict['rows']} holdout rows")
    rows = [(f"over {name}", lead, BLUE) for name, lead in leads.items()]
    rows += [
        (f"{one['column']} = {one['value']}", one | {"value": one["lead"]}, ORANGE if one["worse"] else GREY)
        for one in slices
    ]
    _intervals(axes[1], rows)
    axes[1].axvline(0, color="black", linewidth=0.8, zorder=1)
    name = next(name for name in ("reference", "champion", "baseline") if name in leads)  # the lead that decides
    least = 0 if name == "baseline" else -verdict["policy"]["margin"]
    height = len(rows) - 1 - [*leads].index(name)
    if np.isfinite(leads[name]["detectable"]):
        axes[1].axvspan(least, leads[name]["detectable"], color=LIGHT_GREY, zorder=0)
    axes[1].plot(leads[name]["bound"], height, "|", color="black", markersize=14)
    if least:
        axes[1].axvline(least, color=DARK_GREY, linewidth=0.8, linestyle="--")
        axes[1].annotate("margin", (least, 1.01), xycoords=("data", "axes fraction"), ha="center", fontsize=8)
    axes[1].set(xlabel=f"lead in {metric}, with 95% interval", title=f"The challenger's lead: {verdict['decision']}")
    worse = "; orange: worse there by more than chance" if any(one["worse"] for one in slices) else ""
    # Below both: as wide as that, it would not fit below the leads alone.
    figure.supxlabel(
        "The upright stroke is the lead's lower bound; grey: a lead too small to be seen in 80% of such holdouts"
        + worse, fontsize=8,
    )  # fmt: skip
    return figure


def predictions(table: pd.DataFrame, positive) -> Figure:
    """The predictions of a batch: labels and probabilities, or numbers."""
    certain = [column for column in table if column.startswith("probability")]
    figure, axes = _figure(9, 2.8, columns=2 if certain else 1)
    first = axes[0] if certain else axes
    if not certain:
        first.hist(table["prediction"], bins=40, color=BLUE)
        first.set(xlabel="prediction", ylabel="rows", title=f"{len(table)} rows")
        return figure
    _bars(first, table["prediction"])
    first.set(title=f"Predictions of {len(table)} rows")
    axes[1].hist(
        table[certain].max(axis=1) if len(certain) > 1 else table[certain[0]], bins=np.linspace(0, 1, 21), color=BLUE
    )
    axes[1].set(
        xlabel="probability of the likeliest class" if len(certain) > 1 else f"probability of {positive}",
        ylabel="rows",
        title="How certain",
    )
    return figure


def column_importance(importance: pd.DataFrame, metric: str) -> Figure:
    """How much worse a metric gets when a column is shuffled; a line from the luckiest shuffle to the unluckiest.

    `importance` as `effects.explain` gives it; of more than 24 columns the most important are drawn.
    """
    shown = importance[:SHOWN][::-1]
    figure, axes = _figure(5.6, 0.9 + 0.25 * len(shown))
    _barh(axes, shown.index, shown["mean"], most=28, color=BLUE)
    axes.hlines(range(len(shown)), shown["least"], shown["most"], color=DARK_GREY, linewidth=1.2)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.locator_params("x", nbins=5)
    of_all = f"\nthe {len(shown)} most important of {len(importance)} columns" if len(shown) < len(importance) else ""
    lost = "lost" if _higher_is_better(metric) else "gained"
    axes.set(xlabel=f"{metric} {lost} when the column is shuffled", title=f"Importance{of_all}")
    return figure


def column_effects(effects: dict[str, pd.DataFrame], sample: pd.DataFrame, predicted: str) -> dict[str, Figure]:
    """How the mean prediction moves with each column: figures of their own, on one scale, to be laid out as fits.

    `effects` and `sample` as `effects.explain` gives them. Grey bars show where the rows are.
    """
    least, most = (
        getattr(np, end)([getattr(table.to_numpy(), end)() for table in effects.values()]) for end in ("min", "max")
    )
    margin = 0.06 * (most - least) or 0.5
    limits = (least - margin, most + margin)
    return {column: _effect(column, table, sample[column], predicted, limits) for column, table in effects.items()}


def calibration(bins: pd.DataFrame, predicted: str, observed: str) -> Figure:
    """What was predicted against what came, with 95% intervals; as `card.calibrate` gives it."""
    figure, axes = _figure(4.2, 3.8)
    ends = [bins[["predicted", "low"]].min().min(), bins[["predicted", "high"]].max().max()]
    axes.plot(ends, ends, color=GREY, linewidth=1, linestyle="--")
    axes.errorbar(
        bins["predicted"], bins["observed"], (bins["observed"] - bins["low"], bins["high"] - bins["observed"]),
        fmt="o", color=BLUE, ecolor=BLUE, elinewidth=1.2, markersize=4,
    )  # fmt: skip
    axes.locator_params(nbins=6)
    axes.set(xlabel=_clipped(predicted, 48), ylabel=_clipped(observed, 40), title="Calibration on the holdout")
    return figure


def save(figures: dict[str, Figure], folder: str | Path) -> None:
    """Write each figure to `<folder>/<name>.png`, and show it below a notebook's cell: drawn once, used twice."""
    from IPython.display import Image, display

    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=90)
        display(Image(folder / f"{name}.png"))


def _effect(column, table, values, predicted, limits):
    figure, axes = _figure(3.2, 2.5)
    axes.set_title(_clipped(column, 32))
    present = table[[value is not None for value in table.index]]
    missing = table[[value is None for value in table.index]]
    if _is_numeric(values) and not isinstance(present.index[0], bool) or _is_date(values):
        rows = axes.twinx()
        rows.set_zorder(axes.get_zorder() - 1)  # bars behind the line
        axes.patch.set_visible(False)
        rows.hist(_drawable(values.dropna()), bins=20, color=LIGHT_GREY)
        rows.set_ylim(0, rows.get_ylim()[1] * 3)
        rows.set_axis_off()
        at = _drawable(pd.Series([*present.index]))
        _end_dates(axes, values)
        for output, colour in zip(table, COLOURS, strict=False):
            axes.plot(at, present[output], "o-", color=colour, markersize=3, linewidth=1.5)
            for level in missing[output]:
                axes.axhline(level, color=colour, linestyle=":", linewidth=1)
                axes.annotate("missing", (0.99, level), xycoords=ROW, ha="right", va="bottom", fontsize=7, color=colour)
        axes.set_ylim(limits)
        axes.set_ylabel(_clipped(predicted, 30), fontsize=8)
        if not _is_date(values):
            _limit_ticks(axes)
    else:
        names = ["missing" if value is None else value for value in table.index]
        shares = [values.isna().mean() if value is None else (values == value).mean() for value in table.index]
        places = range(len(names))[::-1]
        for output, colour in zip(table, COLOURS, strict=False):
            axes.plot(table[output], places, "o", color=colour, markersize=5)
        axes.set_yticks(places, [f"{name} ({share:.0%})" for name, share in zip(_labels(names), shares, strict=True)])
        axes.set(xlim=limits, ylim=(-0.6, len(names) - 0.4))
        axes.set_xlabel(_clipped(predicted, 36), fontsize=8)
        axes.grid(axis="y", color=LIGHT_GREY)
        axes.set_axisbelow(True)
        _limit_ticks(axes)
    if len(table.columns) > 1:
        handles = [matplotlib.lines.Line2D([], [], color=colour) for colour, _ in zip(COLOURS, table, strict=False)]
        figure.legend(
            handles, _labels(table), loc="outside lower center", ncols=2, fontsize=7, frameon=False, handlelength=1
        )
    return figure


def _limit_ticks(axes):
    """Few numbers below a small figure, and fewer long ones, which would run into each other."""
    longest = max(map(abs, axes.get_xlim()))
    axes.locator_params("x", nbins=5 if longest < 10_000 else 2)


def _in_order(values) -> list:
    """The different values of a parameter: numbers by size, else as they come."""
    different = [*dict.fromkeys(values)]
    return sorted(different) if all(map(_is_value, different)) else different


def _is_value(value) -> bool:
    """Tell whether a parameter's value is a number."""
    return config.is_number(value) and np.isfinite(value)


def _parallel(axes, table, names, metric):
    """A vertical scale for each parameter, its values evenly spaced, and one for the metric."""
    low, high = table[metric].min(), table[metric].max()
    places = {}
    for name in names:
        values = _in_order(table[name])
        places[name] = [values.index(value) / max(len(values) - 1, 1) for value in table[name]]
        for place, value in enumerate(values):
            beside = {"xytext": (-4, 0), "textcoords": "offset points", "ha": "right", "va": "center", "fontsize": 8}
            beside["bbox"] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5}
            axes.annotate(_clipped(str(value)), (len(places) - 1, place / max(len(values) - 1, 1)), **beside)
    places[metric] = (table[metric] - low) / (high - low or 1)
    drawn = pd.DataFrame(places)
    colours = matplotlib.colormaps["viridis"](places[metric] if _higher_is_better(metric) else 1 - places[metric])
    for row, colour in zip(drawn.to_numpy()[::-1], colours[::-1], strict=True):  # the best, which come first, on top
        axes.plot(row, color=colour, linewidth=0.8, alpha=0.6)
    axes.plot(drawn.iloc[0], color=ORANGE, linewidth=2.5)
    for place in (0, 0.25, 0.5, 0.75, 1):
        axes.annotate(
            f"{low + place * (high - low):.4g}", (len(names), place), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=8,
        )  # fmt: skip
    for place in range(len(places)):
        axes.axvline(place, color=DARK_GREY, linewidth=0.8, zorder=0)
    axes.set_xticks(range(len(places)), [*_labels(names), f"mean {metric}"])
    axes.set_yticks([])
    axes.set_xlim(-0.35, len(names) + 0.3)
    axes.spines[:].set_visible(False)


def _means(axes, table, names, metric, of_others):
    """The mean by one parameter as a line, by two as a map."""
    best = "max" if _higher_is_better(metric) else "min"
    means, first = table.groupby(names, sort=False)[metric].agg(best), table.iloc[0]
    over = ", the best over the others" if of_others else ""
    axes.set_title(f"mean {metric}{over}")
    across = _in_order(table[names[0]])
    axes.set_xticks(range(len(across)), _labels(map(str, across)), rotation=45, ha="right")
    axes.set_xlabel(names[0])
    if len(names) == 1:
        line = "o-" if all(map(_is_value, across)) else "o"  # between names there is nothing
        axes.plot([means[value] for value in across], line, color=BLUE)
        axes.plot(across.index(first[names[0]]), first[metric], "o", color=ORANGE)
        return
    up = _in_order(table[names[1]])
    shown = np.array([[means.get((x, y), np.nan) for x in across] for y in up])
    drawn = axes.imshow(shown, origin="lower", aspect="auto", cmap="viridis" if best == "max" else "viridis_r")
    axes.figure.colorbar(drawn, ax=axes)
    axes.plot(across.index(first[names[0]]), up.index(first[names[1]]), "o", color=ORANGE)
    axes.set_yticks(range(len(up)), _labels(map(str, up)))
    axes.set_ylabel(names[1])


def _higher_is_better(metric):
    from baton.training import evaluation

    return evaluation.METRICS[metric].higher_is_better


def _confusion(truth, predictions, contract, weights):
    from sklearn import metrics as sk

    from baton.training import evaluation

    codes = _frequent(pd.Series(truth), range(len(contract.labels)), SHOWN)
    labels = _labels(contract.labels[code] for code in codes)
    size = 2.2 + 0.5 * len(labels)
    figure, axes = _figure(size + 1, size)
    predicted = evaluation.predicted_classes(predictions, contract.threshold)
    # With weights, so many rows as weigh as much.
    mean = None if weights is None else weights / weights.mean()
    counted = sk.confusion_matrix(truth, predicted, labels=codes, sample_weight=mean)
    sk.ConfusionMatrixDisplay(counted if weights is None else counted.round().astype(int), display_labels=labels).plot(
        ax=axes, cmap="Blues", colorbar=False, xticks_rotation=90 if max(map(len, labels)) > 6 else 0
    )
    at = "" if contract.threshold is None else f" at {contract.threshold:.3g}"
    axes.set_title(f"Confusion{at}, out of fold{_of_many(labels, contract)}")
    return figure


def _threshold(truth, predictions, contract, cost, weights):
    """What each threshold would cost per 1,000 rows; where no cost is known, its precision, recall and F1."""
    from baton.training import evaluation

    def measured(counts):
        if cost:
            whole = len(truth) if weights is None else weights.sum()
            return {"cost per 1,000 rows": evaluation.cost_of(counts, cost) * 1000 / whole}
        fp, fn, tp = (counts[name] for name in ("fp", "fn", "tp"))
        return {"precision": tp / (tp + fp), "recall": tp / (tp + fn), "F1": 2 * tp / (2 * tp + fp + fn)}

    figure, axes = _figure(4.6, 4.6)
    counts = evaluation.count_by_threshold(truth, predictions, weights)
    # Of many, those that lie evenly: most may be near 0.
    places = np.searchsorted(-counts["threshold"], -np.linspace(0, 1, 1000))
    counts = counts.iloc[np.unique(places.clip(max=len(counts) - 1))]
    for (name, line), colour in zip(measured(counts).items(), COLOURS, strict=False):
        axes.plot(counts["threshold"], line, color=colour, linewidth=1.5, drawstyle="steps-mid", label=name)
    marked = {0.5: (None, GREY, "--")}  # the likelier class
    if contract.threshold is not None:
        marked[contract.threshold] = (contract.threshold, "black", "-")
    for at, (threshold, colour, style) in marked.items():
        cells = np.bincount(2 * truth + evaluation.predicted_classes(predictions, threshold), weights, minlength=4)
        counted = pd.DataFrame([cells], columns=["tn", "fp", "fn", "tp"])
        values = ", ".join(f"{name} {value.fillna(0).iloc[0]:.3g}" for name, value in measured(counted).items())
        chosen = ", chosen" if at == contract.threshold else ""
        axes.axvline(at, color=colour, linestyle=style, linewidth=1, label=f"{at:.3g}{chosen}: {values}")
    axes.set_ylim(0)
    axes.set(xlabel=f"threshold: probability of {_clipped(contract.positive)}", title="Threshold, out of fold")
    figure.legend(loc="outside lower center", fontsize=8, frameon=False)
    return figure


def _curves(truth, predictions, contract, display, title, weights):
    figure, axes = _figure(4.6, 4)
    for code, name, colour in _drawn_classes(truth, contract):
        display.from_predictions(
            truth == code,
            predictions[:, code],
            ax=axes,
            name=name,
            curve_kwargs={"color": colour},
            sample_weight=weights,
        )
    axes.set_title(f"{title}, out of fold")
    axes.legend(fontsize=8, loc="lower right" if title == "ROC" else "lower left")
    return figure


def _calibration(truth, predictions, contract, as_fitted):
    from sklearn.calibration import CalibrationDisplay

    figure, axes = _figure(4.6, 4)
    how = {"n_bins": 8, "strategy": "quantile", "ax": axes}
    for code, name, colour in _drawn_classes(truth, contract):
        CalibrationDisplay.from_predictions(truth == code, predictions[:, code], name=name, color=colour, **how)
        if as_fitted is not None and contract.task == "binary" and not np.array_equal(as_fitted, predictions):
            before = {"name": f"{name}, before calibration", "color": GREY, "linestyle": "--"}
            CalibrationDisplay.from_predictions(truth == code, as_fitted[:, code], **before, **how)
    axes.set_title("Calibration, out of fold")
    axes.legend(fontsize=8, loc="upper left")
    return figure


def _errors(truth, predictions, contract, kind, title):
    from sklearn import metrics as sk

    figure, axes = _figure(4.6, 4)
    points = {"color": BLUE, "alpha": 0.4, "s": 8}
    sk.PredictionErrorDisplay(y_true=truth, y_pred=predictions).plot(ax=axes, kind=kind, scatter_kwargs=points)
    axes.set_title(f"{contract.target}: {title}, out of fold")
    return figure


def _drawn_classes(truth, contract):
    """Of two classes the positive one is drawn; of more, each that there is, or as many as there are colours."""
    names = _labels(contract.labels)
    if contract.task == "binary":
        return [(1, names[1], BLUE)]
    codes = _frequent(pd.Series(truth), range(len(names)), len(COLOURS))
    return [(code, names[code], colour) for code, colour in zip(codes, COLOURS, strict=False) if np.any(truth == code)]


def _frequent(target, classes, most):
    """The classes, in their order; of many, those that the target has most often."""
    often = set(target.value_counts().index[:most])
    return [label for label in classes if len(classes) <= most or label in often]


def _of_many(shown, contract):
    """What to put behind a title if not all classes are shown."""
    return (
        f"\nthe {len(shown)} most frequent of {len(contract.labels)} classes"
        if len(shown) < len(contract.labels)
        else ""
    )


def _clipped(text, most=18):
    text = str(text)
    return text if len(text) <= most else text[: most - 1] + "…"


def _labels(names, most=18):
    """Clip the names; those that would look alike keep the part where they start to differ."""
    names = [str(name) for name in names]
    alike = {}
    for name in names:
        alike.setdefault(_clipped(name, most), set()).add(name)

    def label(name):
        same = os.path.commonprefix([*alike[_clipped(name, most)]])
        if same == name:
            return _clipped(name, most)
        start = len(same) - min(5, len(re.search(r"[^\W_]*$", same)[0]))  # where the word that differs starts
        part = _clipped(name[start:], 10)
        return name[: most - 1 - len(part)] + "…" + part

    return [label(name) for name in names]


def _barh(axes, names, lengths, most=18, **how):
    # By place, not by name: two values may have the same name, such as 1 and "1".
    places = range(len(names))
    bars = axes.barh(places, lengths, **how)
    axes.set_yticks(places, _labels(names, most))
    return bars


def _histogram(axes, values, of_all, colour, label, density=True):
    if _is_date(of_all):
        _end_dates(axes, of_all)
        of_all, values = (pd.Series(matplotlib.dates.date2num(_drawable(part).dropna())) for part in (of_all, values))
    if _is_numeric(of_all) and of_all.notna().any():
        if values.notna().sum() == 0:
            return
        bins = np.histogram_bin_edges(of_all.dropna().astype(float), bins=30)
        axes.hist(values.dropna().astype(float), bins=bins, color=colour, alpha=0.55, density=density, label=label)
    else:
        shares = values.value_counts(normalize=density).reindex(of_all.value_counts().index[:8], fill_value=0)
        _barh(axes, shares.index, shares, color=colour, alpha=0.55, label=label)


def _bars(axes, values, label="{count}  ({share:.1%})", **how):
    counts = values.value_counts()[:12]
    if counts.empty:
        axes.text(0.5, 0.5, "no value", ha="center", transform=axes.transAxes)
        return
    bars = _barh(axes, counts.index, counts, color=_colours(len(counts)))
    axes.bar_label(bars, [" " + label.format(count=count, share=count / len(values)) for count in counts], **how)
    axes.set(xlabel="rows", xlim=(0, counts.max() * 1.5))


def _is_numeric(values):
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _is_date(values):
    return pd.api.types.is_datetime64_any_dtype(values)


def _drawable(values):
    """Dates that Matplotlib can draw: its years are 1 to 9999, the margins of an axis included."""
    return values.clip(pd.Timestamp("1000-01-01"), pd.Timestamp("9000-01-01")) if _is_date(values) else values


def _end_dates(axes, values):
    """Label the first and the last date only: they fit under a small figure, and say what the column spans."""
    if not _is_date(values) or values.isna().all():
        return
    ends = values.agg(["min", "max"]).drop_duplicates()
    to_day = (ends == ends.dt.normalize()).all() or ends.max() - ends.min() > pd.Timedelta(days=3)
    axes.set_xticks(_drawable(ends), [str(end)[: 10 if to_day else 19].replace(" ", "\n") for end in ends])


def _colours(count):
    return [COLOURS[number % len(COLOURS)] for number in range(count)]


def _intervals(axes, rows: list[tuple[str, dict, str]], written: str = "{:+.4f}") -> None:
    """Draw a value with its interval in each row (name, value with low and high, colour), the first at the top."""
    for height, (_, one, colour) in enumerate(rows[::-1]):
        axes.axhline(height, color=LIGHT_GREY, linewidth=0.6, zorder=0)
        if np.isfinite([one["low"], one["high"]]).all():
            axes.plot([one["low"], one["high"]], [height, height], color=colour, linewidth=2)
        axes.plot(one["value"], height, "o", color=colour)
        axes.annotate(written.format(one["value"]), (1.02, height), xycoords=ROW, va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), _labels([name for name, _, _ in rows[::-1]], 30))
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.tick_params("y", length=0)
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.locator_params("x", nbins=5)


def _figure(width, height, columns=1):
    # No pyplot: its list of open figures would grow in a worker that runs notebook after notebook.
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(ncols=columns)


def _grid(names):
    shown = [*names][:SHOWN]
    across = min(4, len(shown))
    down = -(-len(shown) // across)
    figure = Figure(figsize=(2.7 * across, 2 * down + 0.4))
    flat = figure.subplots(down, across, squeeze=False).ravel()
    for unused in flat[len(shown) :]:
        unused.set_axis_off()
    return figure, dict(zip(shown, flat, strict=False))
