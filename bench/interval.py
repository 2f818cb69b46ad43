"""Do intervals hold what they promise? Tables drawn anew, their new rows counted: two tables in Markdown.

    nox -s bench -- interval

Each model is fitted on all rows of a table, and its intervals are of its residuals over five folds, as in a training.
"""

import sys
import time

import numpy as np
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold, cross_val_predict

from baton.handover.intervals import Residuals

LEVELS, FRESH = (0.8, 0.9, 0.95), 2000
TIMES = {100: 300, 500: 100, 5000: 12}  # tables drawn, by their rows
MODELS = {
    "linear": LinearRegression(),
    "forest": RandomForestRegressor(30, min_samples_leaf=3, max_features=0.5, random_state=0),
}
ERRORS = {
    "normal": lambda generator, x: generator.normal(size=len(x)),
    "skewed (exponential)": lambda generator, x: generator.exponential(size=len(x)) - 1,
    "larger for some rows": lambda generator, x: generator.normal(size=len(x)) * (0.3 + np.abs(x)),
    "of the logarithm": lambda generator, x: generator.normal(size=len(x)) / 2,
}


def draw(generator, rows: int, errors: str) -> tuple[np.ndarray, np.ndarray]:
    """Four features, and a number that two of them tell in part."""
    X = generator.normal(size=(rows, 4))
    y = X[:, 0] + 0.5 * X[:, 1] + ERRORS[errors](generator, X[:, 0])
    return X, np.exp(y) if errors == "of the logarithm" else y


def count(generator, rows: int, errors: str, name: str) -> tuple[list, list]:
    """For each level, the share of new rows that an interval holds, and how much wider one of signed tails would be."""
    (X, y), (new, truth) = (draw(generator, size, errors) for size in (rows, FRESH))
    model, scale = clone(MODELS[name]), "plain"
    if errors == "of the logarithm":
        model, scale = TransformedTargetRegressor(model, func=np.log, inverse_func=np.exp), "log"
    folds = cross_val_predict(model, X, y, cv=KFold(5))
    predictions, kept = model.fit(X, y).predict(new), Residuals.of(y, folds, scale)
    signed = np.sort(np.log(y / folds) if scale == "log" else y - folds)
    held, wider = [], []
    for level in LEVELS:
        low, high = kept.bounds(predictions, level)
        held.append(np.mean((low <= truth) & (truth <= high)))
        tail = int(np.floor(np.round((rows + 1) * (1 - level) / 2, 9)))
        wider.append((signed[rows - tail] - signed[tail - 1]) / (2 * kept.reach(level)) - 1)
    return held, wider


def main() -> None:
    started, generator = time.monotonic(), np.random.default_rng(0)
    found = {
        (errors, name): [[count(generator, rows, errors, name) for _ in range(times)] for rows, times in TIMES.items()]
        for errors in ERRORS
        for name in MODELS
    }
    head = " | ".join(f"{rows:,} rows" for rows in TIMES)
    for part, written in ((0, "{:.1%}"), (1, "{:+.0%}")):
        print(f"\n| errors | model | {head} |\n|---|---|{'---|' * len(TIMES)}")
        for (errors, name), tables in found.items():
            means = [np.mean([one[part] for one in drawn], axis=0) for drawn in tables]
            cells = [" / ".join(written.format(value) for value in one) for one in means]
            print(f"| {errors} | {name} | {' | '.join(cells)} |")
    for place, (rows, times) in enumerate(TIMES.items()):
        error = max(np.std([one[0] for one in drawn[place]], axis=0).max() for drawn in found.values()) / times**0.5
        print(f"standard error of a share at {rows} rows: at most {error:.2%}", file=sys.stderr)
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
