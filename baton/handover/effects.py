"""What a model makes of each raw column: how much worse it gets without it, and how its answer moves with its value.

The model runs in a process of its own, which takes seconds to start: so it is asked for everything at once.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from baton.data.contract import Contract
from baton.training import evaluation

ROWS = 500  # that a column is shuffled over, and that effects are averaged over; of wide tables 100 are shuffled
SHUFFLES = 10  # of each column; fewer in wide tables
MANY = 60  # columns, above which effects are asked for apart, of the most important alone
CELLS = 20_000_000  # of a table that is handed to the model at once; 160 MB
MOST = 9  # columns whose effect is told
PARTS = 10  # of a column's range, with as many rows each
CATEGORIES = 6  # of a text
LINES = 4  # classes of many whose probability is followed
LEAST = 20  # rows of each class among those that are shuffled, if there are

Predict = Callable[[pd.DataFrame], np.ndarray]


class Explanation(NamedTuple):
    """What a model makes of its columns.

    `importance` has a row for each column, the most important first: by how much the metric gets worse when the column
    is shuffled over `rows` holdout rows (`mean`), and that of the luckiest and the unluckiest shuffle (`least`,
    `most`). `effects` maps the most important columns to tables with a row for each value, None where it is missing,
    and a column for the positive class, for each of the most frequent classes, or for the number predicted. `sample`
    are the features of the training rows that those are averaged over.
    """

    importance: pd.DataFrame
    rows: int
    effects: dict[str, pd.DataFrame]
    sample: pd.DataFrame


def explain(
    training: pd.DataFrame, holdout: pd.DataFrame, contract: Contract, predict: Predict, seed: int = 0
) -> Explanation:
    """Ask a model, which has not seen the holdout, what each raw column is worth to it and what it makes of its values.

    `predict` takes features, as `Contract.read_features` gives them, and returns probabilities (rows, classes) or
    numbers (rows,).

    Importance is by permutation of holdout rows: on training rows a column that the model has learned by heart, such as
    a time to the minute, looks several times as important as it is. Effects are over training rows. Those of numbers
    and dates are accumulated local effects (Apley and Zhu, 2020), which ask for no row that can't be where columns go
    together: in each part of the column's range, its own rows are moved from one end to the other. Those of texts, of
    booleans and of missing values are the mean prediction if all rows had that value (partial dependence). Both are on
    the scale of the prediction.
    """
    columns = contract.features
    shuffles = int(np.clip(CELLS // (ROWS * len(columns) ** 2), 1, SHUFFLES))
    rows = int(np.clip(CELLS // (shuffles * len(columns) ** 2), 100, ROWS))
    drawn = _draw(holdout, contract, rows, seed)
    X, truth = contract.read_features(drawn), contract.encode(drawn[contract.target]).to_numpy()
    weights = contract.read_weights(drawn)
    sample = contract.read_features(training.sample(min(len(training), ROWS), random_state=seed))
    few = columns if len(columns) <= MANY else []
    frames = [shuffled(X, shuffles, seed), [("sample", sample)], *(_moved(sample, column, contract) for column in few)]
    answers = ask(itertools.chain.from_iterable(frames), predict)

    sign = 1 if evaluation.METRICS[contract.metric].higher_is_better else -1

    def score(predictions: np.ndarray) -> float:
        found = evaluation.score(truth, predictions, contract.task, contract.metric, contract.threshold, weights)
        return sign * found[contract.metric]

    reached = score(answers["rows"])
    lost = {column: [reached - score(answers[column, number]) for number in range(shuffles)] for column in columns}
    importance = pd.DataFrame(lost).agg(["mean", "min", "max"]).T.set_axis(["mean", "least", "most"], axis=1)
    importance = importance.sort_values("mean", ascending=False, kind="stable")

    shown = importance.index[importance["mean"] > 0][:MOST]
    answers |= ask(itertools.chain(*(_moved(sample, column, contract) for column in shown if not few)), predict)
    effects = {column: _effect(sample, column, contract, answers) for column in shown}
    outputs = _outputs(training, contract)
    named = {column: table[[*outputs]].set_axis([*outputs.values()], axis=1) for column, table in effects.items()}
    return Explanation(importance, len(X), named, sample)


def _draw(holdout: pd.DataFrame, contract: Contract, rows: int, seed: int) -> pd.DataFrame:
    """Draw rows at random, but some of each class: without its rows there is nothing to get worse at."""
    drawn = holdout.sample(frac=1, random_state=seed)
    if contract.labels:
        least = min(LEAST, rows // len(contract.labels))
        scarce = drawn.groupby(contract.target, sort=False).cumcount() < least
        drawn = pd.concat([drawn[scarce], drawn[~scarce]])
    return drawn[:rows]


def shuffled(X: pd.DataFrame, times: int, seed: int) -> Iterator[tuple]:
    """The tables to ask about the importance of columns: the rows as they are, and with each column shuffled so many
    times, by its name and number."""
    yield "rows", X
    generator = np.random.default_rng(seed)
    for column, number in itertools.product(X, range(times)):
        yield (column, number), X.assign(**{column: X[column].array[generator.permutation(len(X))]})


def ask(frames: Iterable[tuple], predict: Predict) -> dict:
    """Predict many tables in one call, or in as few as memory allows; the answers are found by the tables' keys."""
    answers, waiting, cells = {}, [], 0

    def answer():
        keys, tables = zip(*waiting, strict=True)
        predictions = predict(pd.concat(tables, ignore_index=True))
        ends = np.cumsum([len(table) for table in tables])
        answers.update(zip(keys, np.split(predictions, ends[:-1]), strict=True))
        waiting.clear()

    for key, table in frames:
        waiting.append((key, table))
        cells += table.size
        if cells > CELLS:
            answer()
            cells = 0
    if waiting:
        answer()
    return answers


def _moved(sample: pd.DataFrame, column: str, contract: Contract) -> Iterator[tuple]:
    """The tables to ask about a column's effect: its rows moved to either end of their part, or all set to a value."""
    values, (points, parts) = sample[column], _points(sample[column], contract.kinds[column])
    if parts is not None:
        there = sample[values.notna()]
        yield (column, "start"), there.assign(**{column: points[parts - 1]})
        yield (column, "end"), there.assign(**{column: points[parts]})
    asked = [*enumerate(points)] if parts is None else []
    for key, value in [*asked, *([("missing", None)] if values.isna().any() else [])]:
        yield (column, "set", key), sample.assign(**{column: pd.Series(value, sample.index, dtype=values.dtype)})


def _points(values: pd.Series, kind: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The values whose effect is told and, of a column with an order, the part between two of them each row is in."""
    present = values.dropna()
    if kind not in {"number", "date"}:
        frequent = present.value_counts().index[:CATEGORIES].to_numpy()
        return (np.sort(frequent) if kind == "boolean" else frequent), None
    there = present.to_numpy()
    points = np.unique(np.quantile(there, np.linspace(0, 1, PARTS + 1), method="inverted_cdf")) if len(there) else there
    # The least value is in the first part, which else would not have its lower end.
    return points, (np.maximum(np.searchsorted(points, there), 1) if len(points) > 1 else None)


def _effect(sample: pd.DataFrame, column: str, contract: Contract, answers: dict) -> pd.DataFrame:
    """The mean prediction at each value of a column."""
    values, (points, parts) = sample[column], _points(sample[column], contract.kinds[column])
    if parts is None:
        curve = [np.atleast_1d(answers[column, "set", place].mean(axis=0)) for place in range(len(points))]
    else:
        moves = pd.DataFrame(answers[column, "end"] - answers[column, "start"]).groupby(parts).mean()
        curve = np.vstack([np.zeros(moves.shape[1]), moves.cumsum()])
        # The curve tells differences alone: it is put where its mean over the rows is that of the predictions.
        present = values.dropna().to_numpy()
        scale = (points.astype("int64"), present.astype("int64")) if points.dtype.kind == "M" else (points, present)
        means = [np.interp(scale[1], scale[0], line).mean() for line in curve.T]
        curve = curve - means + answers["sample"][values.notna().to_numpy()].mean(axis=0)
    places = points.astype(bool) if contract.kinds[column] == "boolean" else pd.Series(points)
    names = [*places.tolist()]
    if values.isna().any():
        curve, names = [*curve, np.atleast_1d(answers[column, "set", "missing"].mean(axis=0))], [*names, None]
    return pd.DataFrame(np.array(curve), index=pd.Index(names, dtype="object"))


def _outputs(training: pd.DataFrame, contract: Contract) -> dict[int, str]:
    """The columns of the predictions that effects are told of, with their names."""
    if contract.task == "regression":
        return {0: contract.target}
    if contract.task == "binary":
        return {1: str(contract.positive)}
    often = set(training[contract.target].value_counts().index[:LINES])
    return {code: str(label) for code, label in enumerate(contract.labels) if label in often}
