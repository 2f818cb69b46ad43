"""Is the score of an ensemble flattered by its selection? Tables drawn anew, whose true scores new rows tell.

    nox -s bench -- ensemble

Ten models, fitted over five folds as in a training. Prints a table in Markdown: by how much each cross-validated AUC is
above the AUC on new rows of the same models fitted on all rows.
"""

import sys
import time
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from baton.training import ensemble

ROWS, FRESH, TABLES = 400, 8000, 60
MODELS = {
    "forest": RandomForestClassifier(40, min_samples_leaf=5, random_state=0),
    "extra trees": ExtraTreesClassifier(40, min_samples_leaf=5, random_state=0),
    "boosted": GradientBoostingClassifier(n_estimators=40, random_state=0),
    "boosted, slower": GradientBoostingClassifier(n_estimators=40, max_depth=2, learning_rate=0.05, random_state=0),
    "linear": LogisticRegression(),
    "linear, flatter": LogisticRegression(C=0.01),
    "neighbours": KNeighborsClassifier(25),
    "tree": DecisionTreeClassifier(max_depth=4, min_samples_leaf=10, random_state=0),
    "naive Bayes": GaussianNB(),
    "discriminant": LinearDiscriminantAnalysis(),
}
SIGNALS = {
    "noise alone": lambda X: np.zeros(len(X)),
    "a signal": lambda X: 0.9 * X[:, 0] + 0.7 * X[:, 1] * X[:, 2] + 0.6 * np.abs(X[:, 3]) - 0.5,
}


def draw(generator, rows: int, signal: str) -> tuple[np.ndarray, np.ndarray]:
    """Eight features, and two classes whose log odds are the signal."""
    X = generator.normal(size=(rows, 8))
    return X, (SIGNALS[signal](X) + generator.logistic(size=rows) > 0).astype(int)


def flatter(generator, signal: str) -> dict[str, float]:
    """By how much the cross-validated AUC of one table is above the true one, of each way to choose."""
    (X, y), (new, truth) = (draw(generator, rows, signal) for rows in (ROWS, FRESH))
    fold, predictions = np.zeros(ROWS, int), {name: np.zeros((ROWS, 2)) for name in MODELS}
    for number, (fitted, validated) in enumerate(StratifiedKFold(5, shuffle=True, random_state=0).split(X, y)):
        fold[validated] = number
        for name, model in MODELS.items():
            predictions[name][validated] = clone(model).fit(X[fitted], y[fitted]).predict_proba(X[validated])
    of_new = {name: clone(model).fit(X, y).predict_proba(new) for name, model in MODELS.items()}

    def validate(values: np.ndarray) -> float:
        return np.mean([roc_auc_score(y[fold == number], values[fold == number, 1]) for number in range(5)])

    contract = SimpleNamespace(task="binary", metric="AUC", encode=lambda y: y)  # what a selection reads of one
    found = ensemble.cross_validate(predictions, pd.Series(y), fold, contract)
    scores = {name: validate(values) for name, values in predictions.items()}
    best, true = max(scores, key=scores.get), roc_auc_score(truth, ensemble.combine(of_new, found.weights)[:, 1])
    return {
        "the ensemble, weights of a fold by the other folds": found.scores["AUC"].mean() - true,
        "the same, weights by all folds": validate(ensemble.combine(predictions, found.weights)) - true,
        "the best of the ten": scores[best] - roc_auc_score(truth, of_new[best][:, 1]),
        "a lead of the ensemble over the best, on new rows": true - roc_auc_score(truth, of_new[best][:, 1]),
    }


def main() -> None:
    warnings.simplefilter("ignore")
    started, generator = time.monotonic(), np.random.default_rng(0)
    drawn = {signal: pd.DataFrame([flatter(generator, signal) for _ in range(TABLES)]) for signal in SIGNALS}
    print(f"| AUC, {ROWS} rows, {TABLES} tables each | {' | '.join(SIGNALS)} |\n|---|{'---|' * len(SIGNALS)}")
    for name in next(iter(drawn.values())):
        cells = [f"{of[name].mean():+.4f} ± {of[name].sem():.4f}" for of in drawn.values()]
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
