"""The tournament: PyCaret fits a candidate fold by fold; what is kept is plain scikit-learn.

The only module that imports PyCaret. PyCaret's own preprocessing stays off: on pandas 2.2 and later it can pair rows
with other rows' targets. It is handed a scikit-learn pipeline, whose first step prepares all columns within each fold.
"""

import contextlib
import io
import logging
import os
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.pipeline import Pipeline

from baton import BatonError, evaluation, preparation
from baton.contract import Contract
from baton.split import Folds

os.environ.setdefault("PYCARET_CUSTOM_LOGGING_PATH", os.devnull)  # else it leaves a logs.log wherever it starts
with matplotlib.rc_context():  # to import PyCaret restyles every plot of the process
    from pycaret.classification import ClassificationExperiment
    from pycaret.distributions import IntUniformDistribution, UniformDistribution
    from pycaret.regression import RegressionExperiment

# What Optuna improves. Not AUC for several classes: PyCaret scores that 0 wherever a fold lacks a rare class.
TUNED_FOR = {"binary": "AUC", "multiclass": "MCC", "regression": "R2"}

# Where it looks, of a model whose search PyCaret spreads so wide that a few trials find nothing (learning rates from
# 0.000001 on). Of all others, PyCaret's own ranges.
SEARCHED = {
    "lightgbm": {
        "learning_rate": UniformDistribution(0.02, 0.2, log=True),
        "num_leaves": IntUniformDistribution(6, 96, log=True),
        "min_child_samples": IntUniformDistribution(5, 100, log=True),
        "colsample_bytree": UniformDistribution(0.3, 1.0),
        "subsample": UniformDistribution(0.5, 1.0),
        "reg_lambda": UniformDistribution(0.001, 30.0, log=True),
    }
}


class Result(NamedTuple):
    """What a tournament says of one candidate.

    `scores` has a row a fold and a column a metric; `predictions` holds, for every training row, what the model that
    did not see it predicted: probabilities (rows, classes) or numbers (rows,). `pycaret` is PyCaret's own table.
    """

    estimator: BaseEstimator
    scores: pd.DataFrame
    predictions: np.ndarray
    pycaret: pd.DataFrame


def play(
    model: str, model_params: dict, tune: int, rows: pd.DataFrame, folds: pd.DataFrame, target: pd.Series,
    contract: Contract, prepare: TransformerMixin, seed: int,
) -> Result:  # fmt: skip
    """Cross-validate a candidate with PyCaret over the given folds and return its unfitted estimator and its scores.

    `model` is a PyCaret id, or several joined by "+" for a blend (soft vote or mean), whose `model_params` are a
    mapping for each member. With `tune` > 0, Optuna's TPE tries that many settings, over folds of its own; then the
    winner is scored over the given folds like all others. `folds` is `split.Division.folds`.
    """
    coded, fold = contract.encode(target), folds["fold"].to_numpy()
    fewest = min(len(fitted) for fitted, _ in _splitter(fold, contract).split())
    with _quiet(), _blamed_on(model, model_params):
        experiment = _experiment(rows, fold, coded, contract, seed)
        recorder = _record_predictions(experiment, contract)
        estimator = _estimator(experiment, model, model_params, contract, fewest)
        # PyCaret calls a step's fit and then its transform, which would show each row its own target through an encoder
        # that learns from it. Within scikit-learn's own pipeline, the model sees what fit_transform gives.
        pipeline = Pipeline([("prepare", clone(prepare)), ("model", estimator)])
        if tune:
            pipeline = clone(_tune(experiment, pipeline, model, tune, folds["tuning"].to_numpy(), contract))
            recorder.clear()
        experiment.create_model(pipeline, refit=False, verbose=False)
        table = experiment.pull()
    predictions = _in_table_order(recorder, fold, coded.to_numpy(), contract)
    scores = evaluation.score_folds(coded.to_numpy(), predictions, fold, contract.task)
    return Result(clone(pipeline.named_steps["model"]), scores, predictions, table.drop(columns="recorded"))


def assemble(prepare: TransformerMixin, estimator: BaseEstimator, features) -> Pipeline:
    """Join the unfitted steps from raw rows to prediction into one scikit-learn pipeline, with no PyCaret in it."""
    return Pipeline([*preparation.stateless_steps(features), ("prepare", clone(prepare)), ("model", clone(estimator))])


def refit(pipeline: Pipeline, rows: pd.DataFrame, target: pd.Series) -> tuple[Pipeline, dict[str, float]]:
    """Fit on all training rows, raw, and measure what that cost.

    Returns the fitted pipeline and its costs in seconds of one processor: `fit_seconds`, and `score_seconds` for
    1,000 rows. What is over at once is done three times and the fastest counts: candidates are chosen by this.
    """
    sample = rows.sample(1000, replace=True, random_state=0)
    with _quiet():
        fit = _fastest(lambda: pipeline.fit(rows, target))
        return pipeline, {"fit_seconds": fit, "score_seconds": _fastest(lambda: pipeline.predict(sample))}


def _fastest(work: Callable, brief: float = 0.1) -> float:
    took = []
    while not took or (len(took) < 3 and sum(took) < brief):
        started = time.process_time()
        work()
        took.append(time.process_time() - started)
    return max(min(took), 1e-6)  # some clocks tick too slowly to see it


def _experiment(rows, fold, coded, contract, seed):
    # PyCaret wants a test split of its own and we have none to give: it is handed two training rows twice, and never
    # asked about them. All rows are its training rows.
    data = rows.assign(**{contract.target: coded}).reset_index(drop=True)
    experiment = RegressionExperiment() if contract.task == "regression" else ClassificationExperiment()
    experiment.setup(
        data, target=contract.target, test_data=data.tail(2).copy(), index=False, preprocess=False,
        fold_strategy=_splitter(fold, contract), session_id=seed, n_jobs=1, memory=False, html=False, verbose=False,
        system_log=False, log_experiment=False,
    )  # fmt: skip
    # PyCaret would take brackets and quotes out of the names by which our pipeline finds its columns.
    experiment.pipeline.steps = [("placeholder", None)]
    # PyCaret has rounded every number to float32, and made text categories: put the table back as the model will see it.
    experiment.data = pd.concat([data, data.tail(2)]).set_axis(experiment.data.index)
    return experiment


def _estimator(experiment, model: str, model_params: dict, contract: Contract, fewest: int) -> BaseEstimator:
    """Make a model of PyCaret's catalogue, with PyCaret's defaults where `model_params` says nothing; or a blend.

    None asks for more neighbours than the `fewest` rows it is fitted on.
    """
    if "+" in model:
        members = [
            (part, _estimator(experiment, part, model_params.get(part, {}), contract, fewest))
            for part in model.split("+")
        ]
        return VotingRegressor(members) if contract.task == "regression" else VotingClassifier(members, voting="soft")
    known = experiment.models(internal=True)
    if model not in known.index:
        kind = "numbers" if contract.task == "regression" else "classes"
        raise BatonError(f"model {model!r} can't predict {kind}; take another for {contract.target!r} in pipeline.yaml")
    estimator = known.at[model, "Class"](**(known.at[model, "Args"] | model_params))
    if "n_neighbors" in estimator.get_params():
        estimator.set_params(n_neighbors=min(estimator.n_neighbors, fewest))
    return estimator


def _splitter(fold: np.ndarray, contract: Contract) -> Folds:
    return Folds(fold, forward=contract.split == "time")


def _tune(experiment, pipeline: Pipeline, model: str, trials: int, fold: np.ndarray, contract: Contract) -> Pipeline:
    """Search for better settings over folds of their own, so that the folds that judge did not choose them."""
    space = SEARCHED.get(model) or experiment.models(internal=True).at[model, "Tune Distributions"]
    if not space:
        raise BatonError(f"model {model!r} has no settings to search; set tune to 0 in pipeline.yaml")
    start = experiment.create_model(pipeline, cross_validation=False, verbose=False)
    return experiment.tune_model(
        start, fold=_splitter(fold, contract), n_iter=trials, optimize=TUNED_FOR[contract.task],
        custom_grid={f"model__{setting}": values for setting, values in space.items()},
        search_library="optuna", search_algorithm="tpe", choose_better=True, verbose=False, tuner_verbose=False,
    )  # fmt: skip


def _record_predictions(experiment, contract: Contract) -> list[np.ndarray]:
    """Keep what each fold's model predicts, as PyCaret scores it: asking again would fit every fold a second time."""
    recorded = []

    def record(truth, predicted, **_):
        predicted = np.asarray(predicted, dtype=float)
        # Of two classes, or where a fold has learned only two, PyCaret hands over the second one's probability alone.
        alone = contract.labels and predicted.ndim == 1
        recorded.append(np.column_stack([1 - predicted, predicted]) if alone else predicted)
        return 0.0

    # PyCaret's regressions read "pred" by themselves, and refuse to be told so.
    read = {} if contract.task == "regression" else {"target": "pred_proba"}
    experiment.add_metric("recorded", "recorded", record, **read)
    return recorded


def _in_table_order(recorded: list, fold: np.ndarray, coded: np.ndarray, contract: Contract) -> np.ndarray:
    """Put the predictions, recorded fold after fold, back where their rows stand; NaN where no fold validates."""
    splits = [*_splitter(fold, contract).split()]
    if [len(part) for part in recorded] != [len(validated) for _, validated in splits]:
        raise BatonError(
            f"PyCaret scored {[len(part) for part in recorded]} rows fold by fold, where the folds have"
            f" {[len(validated) for _, validated in splits]}: the model could not be fitted or asked for probabilities"
            " in some fold"
        )
    if contract.task == "regression":
        ordered = np.full(len(fold), np.nan)
        for (_, validated), part in zip(splits, recorded, strict=True):
            ordered[validated] = part
        return ordered
    ordered = np.full((len(fold), len(contract.labels)), np.nan)
    for (fitted, validated), part in zip(splits, recorded, strict=True):
        # A class without a row to learn from in this fold has no column there: to that model it can't be.
        known = np.unique(coded[fitted]).astype(int)
        ordered[validated] = 0
        ordered[np.ix_(validated, known)] = part
    return ordered


@contextlib.contextmanager
def _blamed_on(model: str, model_params: dict):
    """Say of a model that can't be fitted which one it is and why; the notebook keeps the traceback."""
    try:
        yield
    except BatonError:
        raise
    except Exception as error:
        # PyCaret collects the errors of all folds; the last line is the reason, behind the name of its class.
        why = (str(error).strip().splitlines() or [type(error).__name__])[-1].rpartition("Error: ")[2]
        raise BatonError(f"model {model!r} with {model_params or 'its defaults'} can't be fitted: {why}") from error


@contextlib.contextmanager
def _quiet():
    """Silence what the libraries say of each of a hundred fits; their errors still come through."""
    logging.getLogger("pycaret").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
