"""Does the gate hold what it promises? Thousands of retrainings, simulated: a table, and docs/promotion.png."""

import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from lightgbm import LGBMClassifier
from scipy import stats
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from baton import figures
from baton.handover import gate
from baton.training import evaluation

ROOT = Path(__file__).resolve().parent.parent
ROWS, LEADS = (100, 500, 5000), (0.01, 0.02, 0.04)
EQUAL_ROWS = (30, 100, 500)
LIKENESS = 0.9  # correlation of two models' errors, about that of two retrainings
SURE = gate.Lead(1.0, 1.0, 1.0, 1.0, 0.0, "")  # over the baseline, where that is not the question


def draw_models(generator, rows: int, aucs: list[float], positives: float = 0.3, likeness: float = LIKENESS):
    """Targets, and the probabilities that a model of each true AUC gives, with errors that are alike, not equal."""
    truth = (generator.random(rows) < positives).astype(int)
    shared = np.sqrt(likeness) * generator.normal(size=rows)
    apart = [np.sqrt(2) * stats.norm.ppf(auc) for auc in aucs]
    scores = [d * truth + shared + np.sqrt(1 - likeness) * generator.normal(size=rows) for d in apart]
    prior = np.log(positives / (1 - positives))
    return truth, [_probabilities(d * (one - d / 2) + prior) for d, one in zip(apart, scores, strict=True)]


def draw_numbers(generator, rows: int, heavy: bool):
    """Numbers, and two predictions of them that are equally wrong in different rows."""
    signal, *errors = generator.normal(size=(4, rows))
    noise = generator.standard_t(3, size=rows) if heavy else errors.pop()
    return signal + 0.5 * noise, [signal + 0.4 * one for one in errors[:2]]


def draw_classes(generator, rows: int):
    truth = generator.choice(3, rows, p=[0.6, 0.3, 0.1])
    odds = [1.5 * np.eye(3)[truth] + generator.normal(size=(rows, 3)) for _ in range(2)]
    return truth, [np.exp(one) / np.exp(one).sum(axis=1, keepdims=True) for one in odds]


def draw_table(generator, rows: int):
    """Eight features, and a target that half of them tell, in part."""
    X = generator.normal(size=(rows, 8))
    odds = X[:, 0] + 0.6 * X[:, 1] - 0.5 * X[:, 2] + 0.7 * (X[:, 3] > 0.5) * X[:, 0] - 1
    return X, (generator.random(rows) < 1 / (1 + np.exp(-odds))).astype(int)


def draw_groups(generator, rows: int, groups: int):
    """Two models that are equally wrong, each in groups of its own; a few groups have most of the rows."""
    sizes = generator.pareto(1.5, groups) + 0.2
    group = generator.choice(groups, rows, p=sizes / sizes.sum())
    truth = (generator.random(rows) < 0.3).astype(int)
    lean = 0.6 * generator.normal(size=(2, groups))
    odds = [1.5 * truth - 1.5 + generator.normal(size=rows) + one[group] for one in lean]
    return truth, [_probabilities(one) for one in odds], group


def promote_equals(draw, task: str, metric: str, times: int, weigh=lambda rows: None) -> tuple[float, float]:
    """The share of challengers promoted that are as good as the champion, and of the 95% intervals that say so."""
    promoted = held = 0
    for _ in range(times):
        truth, both, *groups = draw()
        lead = gate.measure_lead(truth, *both, task, metric, *groups, weights=weigh(len(truth)))
        promoted += lead.bound > 0
        held += lead.low <= 0 <= lead.high
    return promoted / times, held / times


def retrain(generator, projects: int, times: int = 10) -> pd.DataFrame:
    """Fit a model anew on a table that has grown a little, again and again; its holdout is frozen, as Baton's is.

    One row for each retraining and policy: was the challenger promoted, and its true lead, by 20,000 other rows.
    """
    far, y_far = draw_table(generator, 20_000)
    found = []
    for project in range(projects):
        X, y = draw_table(generator, 1000 + 30 * times)
        held, champions = generator.random(len(y)) < 0.25, {}
        for count in range(1000, len(y) + 1, 30):
            rows, judged = np.flatnonzero(~held[:count]), np.flatnonzero(held[:count])
            rows = generator.permutation(rows)[: int(0.95 * len(rows))]  # some come late, some are mended
            model = (
                LogisticRegression()
                if project % 2
                else LGBMClassifier(n_estimators=30, num_leaves=7, n_jobs=1, verbose=-1)
            )
            model.fit(X[rows], y[rows])
            true = evaluation.score(y_far, model.predict_proba(far), "binary", "AUC")["AUC"]
            for promote in ("superior", "better"):
                champion, best = champions.setdefault(promote, (model, true))
                if champion is model:
                    continue
                both = [one.predict_proba(X[judged]) for one in (model, champion)]
                leads = {"baseline": SURE, "champion": gate.measure_lead(y[judged], *both, "binary", "AUC")}
                promoted, _ = gate.decide(promote, "AUC", leads, {}, {})
                found.append((promote, promoted, true - best))
                if promoted:
                    champions[promote] = model, true
    return pd.DataFrame(found, columns=["promote", "promoted", "lead"])


def slide(generator, series: int, step: float, rows: int, margin: float = 0.02) -> tuple[float, float]:
    """How often ten retrainings, each worse by `step`, lose more than the margin in all.

    By the gate, which compares with the reference, and by a `not_worse` that compares with the champion alone.
    """
    lost = np.zeros(2)
    for _ in range(series):
        truth, models = draw_models(generator, rows, [0.8 - step * count for count in range(11)])
        gated = naive = 0
        for count in range(1, 11):
            given = partial(gate.measure_lead, truth, models[count], task="binary", metric="AUC")
            leads = {"baseline": SURE, "champion": SURE, "reference": given(models[0], looks=count * (count + 1))}
            if gate.decide("not_worse", "AUC", leads, {}, {}, margin)[0]:
                gated = count
            if gate.decide("not_worse", "AUC", {"baseline": SURE, "champion": given(models[naive])}, {}, {}, margin)[0]:
                naive = count
        lost += np.array([gated, naive]) * step > margin + 1e-9
    return tuple(lost / series)


def find_power(generator, rows: int, lead: float, times: int) -> tuple[float, float]:
    """The share of challengers promoted whose AUC is truly better by `lead`, and the detectable lead (median)."""
    found = []
    for _ in range(times):
        truth, both = draw_models(generator, rows, [0.8 + lead, 0.8])
        found.append(gate.measure_lead(truth, *both, "binary", "AUC")[3:5])
    bounds, detectable = np.transpose(found)
    return np.mean(bounds > 0), np.nanmedian(detectable)


def start_with_noise(generator, times: int, rows: int = 111) -> float:
    """The share of first champions that have learned from features which tell nothing."""
    first = 0
    for _ in range(times):
        X, y = generator.normal(size=(rows + 400, 5)), (generator.random(rows + 400) < 0.35).astype(int)
        y_held, found = y[:rows], LogisticRegression().fit(X[rows:], y[rows:]).predict_proba(X[:rows])
        lead = gate.measure_lead(y_held, found, np.full((rows, 2), 0.5), "binary", "AUC")
        chance = evaluation.chance(y_held, found, "binary", "AUC", draws=199) if lead.bound > 0 else 1.0
        first += gate.decide("superior", "AUC", {"baseline": lead}, {}, {}, chance=chance)[0]
    return first / times


def draw_power(curves: dict[int, tuple[np.ndarray, np.ndarray]]) -> figures.Figure:
    figure = figures.Figure(figsize=(8, 4.4), layout="constrained")
    axes = figure.subplots()
    for (rows, (leads, shares)), colour in zip(curves.items(), figures.COLOURS, strict=False):
        axes.plot(leads, 100 * shares, "o-", color=colour, markersize=4)
        axes.annotate(f"   {rows:,} rows", (np.interp(0.88, shares, leads), 87), color=colour, va="center")
    for height, text in (
        (5, "5%: the most that may be promoted where the lead is 0"),
        (80, "80%: the detectable lead"),
    ):
        axes.axhline(height, color=figures.GREY, linewidth=0.8, linestyle="--", zorder=0)
        axes.annotate(text, (0.995, height + 1), xycoords=figures.ROW, ha="right", fontsize=8, color=figures.DARK_GREY)
    axes.spines[["right", "top"]].set_visible(False)
    axes.set(
        xlabel="how much better the challenger truly is (AUC)", ylabel="challengers promoted, %", ylim=(0, 104),
        title="What a holdout can show: promotions under superior, by its rows",
    )  # fmt: skip
    return figure


def _probabilities(odds: np.ndarray) -> np.ndarray:
    certain = 1 / (1 + np.exp(-odds))
    return np.column_stack([1 - certain, certain])


def print_equals(generator, times) -> None:
    classes = ("AUC", "Average Precision", "Log Loss", "Accuracy", "F1")
    kinds = {}
    for metric in classes:
        for share in (0.02, 0.1, 0.5):
            draw = partial(draw_models, aucs=[0.8, 0.8], positives=share, likeness=0.5)
            kinds[f"{metric}, {share:.0%} positive"] = "binary", metric, draw
    near = partial(draw_models, aucs=[0.8, 0.8], positives=0.5, likeness=0.99)
    kinds |= {f"{metric}, nearly equal models": ("binary", metric, near) for metric in classes[2:4]}
    kinds |= {
        f"AUC, {count} uneven groups": ("binary", "AUC", partial(draw_groups, groups=count)) for count in (10, 40)
    }
    kinds |= {"AUC, three classes": ("multiclass", "AUC", draw_classes)}
    for metric in ("R2", "RMSE", "MAE"):
        kinds |= {
            f"{metric}{', heavy tails' * heavy}": ("regression", metric, partial(draw_numbers, heavy=heavy))
            for heavy in (0, 1)
        }
    print("\nAs good as the champion, and promoted under `superior`, by holdout rows:")
    print(f"{'':32}" + "".join(f"{rows:>8,}" for rows in EQUAL_ROWS))
    for name, (task, metric, draw) in kinds.items():
        often = times(300 if metric in ("Accuracy", "F1") else 1000)
        shares = [promote_equals(partial(draw, generator, rows), task, metric, often)[0] for rows in EQUAL_ROWS]
        print(f"{name:32}" + "".join(f"{share:8.1%}" for share in shares), flush=True)
    print(
        "\nThe same, each row with a weight (lognormal, sigma 1); and how many of the 95% intervals hold the lead of 0:"
    )
    weigh = partial(generator.lognormal, 0.0, 1.0)
    for name in [name for name in kinds if "uneven groups" in name or "10% positive" in name or "," not in name]:
        task, metric, draw = kinds[name]
        found = [promote_equals(partial(draw, generator, rows), task, metric, times(500), weigh) for rows in EQUAL_ROWS]
        print(f"{name:32}" + "".join(f"{share:8.1%} {held:6.1%}" for share, held in found), flush=True)


def print_power(generator, times) -> None:
    curves = {}
    print(
        "\nPromoted of those truly better by (AUC):\n    rows"
        + "".join(f"{lead:>8}" for lead in LEADS)
        + "   detectable: power"
    )
    for rows in ROWS:
        detectable = find_power(generator, rows, 0.03, times(100))[1]
        leads = np.unique([0, 0.005, *LEADS, *([0.0025, 0.03] if rows == 5000 else [0.03, 0.06, 0.08, 0.1])])
        shares = np.array([find_power(generator, rows, lead, times(500 if lead else 2000))[0] for lead in leads])
        curves[rows] = leads, shares
        there = find_power(generator, rows, detectable, times(500))[0]
        listed = "".join(f"{shares[leads == lead][0]:8.0%}" for lead in LEADS)
        print(f"{rows:8,}{listed}{detectable:12.4f}: {there:.0%}", flush=True)
    draw_power(curves).savefig(ROOT / "docs" / "promotion.png", dpi=140)


def main(share: float = 1.0) -> None:
    began = time.time()

    def times(count: int) -> int:
        return max(int(share * count), 10)

    print_power(np.random.default_rng(8), times)
    print("\nModels fitted anew on a table that grows, compared on a frozen holdout of 250 to 325 rows:")
    for promote, table in retrain(np.random.default_rng(8), times(330)).groupby("promote", sort=False):
        better = table["lead"] > 0
        no, yes = (f"{part['promoted'].mean():.1%} of {len(part)}" for part in (table[~better], table[better]))
        print(f"  {promote}: promoted {no} that are truly no better, and {yes} that are", flush=True)
    print("\nTen times a hair worse under `not_worse`, margin 0.02: how often that loses more in all")
    for step, rows in ((0.0025, 5000), (0.005, 1000), (0.021, 1000)):
        gated, naive = slide(np.random.default_rng(8), times(300), step, rows)
        print(f"  by {step}, {rows} rows: {gated:.1%}; compared with the champion alone: {naive:.1%}", flush=True)
    noise = start_with_noise(np.random.default_rng(8), times(1000))
    print(f"\nFirst champions that learned from noise, 111 rows: {noise:.1%} promoted", flush=True)
    print_equals(np.random.default_rng(8), times)
    print(f"\n{time.time() - began:.0f} s")


if __name__ == "__main__":
    with threadpool_limits(1):
        main(*map(float, sys.argv[1:]))
