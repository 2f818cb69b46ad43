"""The tournament: each candidate is cross-validated over the same folds; what is kept is plain scikit-learn.

The only module that imports PyCaret, which gives the models with their defaults, blends and stacks them and searches
for better settings. Its own preprocessing stays off: on pandas 2.2 and later it can pair rows with other rows' targets.
"""

import contextlib
import functools
import gc
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
from sklearn.pipeline import Pipeline

from baton import BatonError
from baton.data.contract import Contract
from baton.data.split import make_splitter
from baton.models import CATALOGUE, CLASSES, NUMBERS, Range, is_stack, members, unable
from baton.training import evaluation, preparation

os.environ.setdefault("PYCARET_CUSTOM_LOGGING_PATH", os.devnull)  # else it leaves a logs.log wherever it starts
with matplotlib.rc_context():  # to import PyCaret restyles every plot of the process
    from pycaret.classification import ClassificationExperiment
    from pycaret.distributions import IntUniformDistribution, UniformDistribution
    from pycaret.regression import RegressionExperiment

# A search is repeated within each fold as long as it fits a model to no more rows than this in all: about ten minutes
# of
# LightGBM. A number of rows, not of seconds, so that the same table is always treated in the same way.
NESTED_ROWS = 50_000_000
INNER_FOLDS = 3
STACK_FOLDS = 5  # by which the members of a stack predict rows for the model that combines them


class Result(NamedTuple):
    """What the tournament finds of one candidate.

    `estimator` is unfitted, with the settings that were found if it was tuned. `scores` has a row a fold and a column a
    metric; `predictions` holds, for every training row, what the model that did not see it predicted: probabilities
    (rows, classes) or numbers (rows,). `nested` is False if the folds that score the candidate chose its settings too.
    """

    estimator: BaseEstimator
    scores: pd.DataFrame
    predictions: np.ndarray
    nested: bool


def cross_validate(
    model: str, model_params: dict, tune: int, X: pd.DataFrame, y: pd.Series, folds: pd.DataFrame,
    contract: Contract, prepare: TransformerMixin, seed: int,
) -> Result:  # fmt: skip
    """Cross-validate a candidate over the given folds.

    `model` is an id of the catalogue, or several as a blend (`a+b`) or `stack(a+b)`, whose `model_params` are a mapping
    for each member. `folds` has the columns `fold` and `group` of `split.Division.folds`, and `trains`, which is False
    for rows that are validated only. With `tune` > 0, PyCaret tries that many settings, as `metric` scores them: over
    all folds for the estimator that is returned and, if that is affordable, within the rows each fold is fitted on for
    its scores.
    """
    coded = contract.encode(y).astype("float64" if contract.task == "regression" else "int64")
    splitter = make_splitter(folds, contract)
    groups = folds["group"].to_numpy()
    with _quiet(), _named_in_errors(model, model_params):
        fewest = min(len(fitted) for fitted, _ in splitter.split())
        start = Pipeline(
            [("prepare", clone(prepare)), ("model", make_estimator(model, model_params, contract, fewest, seed))]
        )
        # Of two folds, neither has folds within the rows it is fitted on; by time, only the first one has none.
        numbers = folds.loc[folds["fold"] >= 0, "fold"].nunique()
        affordable = len(folds) * tune * INNER_FOLDS * numbers <= NESTED_ROWS and (splitter.forward or numbers > 2)
        nested = not tune or affordable
        if tune:
            experiment = set_up(X, coded, folds, contract, seed)
            _add_metric(experiment, contract)
            search = functools.partial(_tune, experiment, start, model, tune, contract)
        pipeline = search(folds) if tune else start
        predictions = np.full((len(X), len(contract.labels)) if contract.labels else len(X), np.nan)
        for fitted, validated in splitter.split():
            found = search(_fold_within(folds, fitted)) if tune and nested else pipeline
            parts = X.iloc[fitted], coded.iloc[fitted]
            predictions[validated] = _predict(
                preparation.fit(clone(found), *parts, groups[fitted]), X.iloc[validated], contract
            )
    scores = evaluation.score_folds(coded.to_numpy(), predictions, folds["fold"].to_numpy(), contract.task)
    return Result(clone(pipeline.named_steps["model"]), scores, predictions, nested)


def assemble(prepare: TransformerMixin, estimator: BaseEstimator, features) -> Pipeline:
    """Join the unfitted steps from raw rows to prediction into one scikit-learn pipeline, with no PyCaret in it."""
    return Pipeline([*preparation.stateless_steps(features), ("prepare", clone(prepare)), ("model", clone(estimator))])


def fit_and_time(
    pipeline: Pipeline, X: pd.DataFrame, y: pd.Series, groups: np.ndarray | None = None
) -> tuple[Pipeline, dict[str, float]]:
    """Fit on all rows given, raw, and measure what that costs.

    Returns the fitted pipeline and its costs in seconds of one processor: `fit_seconds`, and `score_seconds` for 1,000
    rows.
    """
    sample = X.sample(1000, replace=True, random_state=0)
    with _quiet():
        fit_seconds = _seconds(lambda: preparation.fit(pipeline, X, y, groups))
        return pipeline, {"fit_seconds": fit_seconds, "score_seconds": _seconds(lambda: pipeline.predict(sample))}


def make_estimator(model: str, model_params: dict, contract: Contract, fewest: int, seed: int) -> BaseEstimator:
    """Make a model of the catalogue, with PyCaret's defaults where `model_params` says nothing; or its blend or stack.

    None asks for more neighbours than the `fewest` rows it is fitted on. What combines the members of a stack is
    PyCaret's choice (a linear model), and learns from what they predict of rows they were not fitted on.
    """
    kind, names = CLASSES if contract.labels else NUMBERS, members(model)
    if len(names) > 1:
        joined = clone(_joined(kind, seed, is_stack(model)))
        if is_stack(model):
            joined.set_params(cv=STACK_FOLDS)
            fewest -= -(-fewest // STACK_FOLDS)
        made = [make_estimator(one, model_params.get(one, {}), contract, fewest, seed) for one in names]
        # Its members keep their ids as names, by which their parameters are found.
        return joined.set_params(estimators=[*zip(names, made, strict=True)])
    if unable(model, contract.task):
        raise BatonError(f"model {model!r} can't predict {kind}; take another for {contract.target!r}")
    entry = _entries(kind, seed).loc[model]
    estimator = entry["Class"](**(entry["Args"] | model_params))
    if "n_neighbors" in estimator.get_params():
        estimator.set_params(n_neighbors=min(estimator.n_neighbors, fewest))
    return estimator


def set_up(X: pd.DataFrame, y: pd.Series, folds: pd.DataFrame, contract: Contract, seed: int, prepare=None):
    """Set up PyCaret's experiment over features, a target as `Contract.encode` gives it, and folds, and return it.

    For `tune_model` here, whose pipelines hold what prepares the features. With `prepare`, for whatever else PyCaret
    offers: the README's "Then what?" has the lines to add to `tasks/fit.py`.
    """
    # PyCaret wants a test split of its own and we have none to give: it is handed two training rows twice, and never
    # asked about them. All rows are its training rows.
    data = X.assign(**{contract.target: y}).reset_index(drop=True)
    experiment = ClassificationExperiment() if contract.labels else RegressionExperiment()
    experiment.setup(
        data, target=contract.target, test_data=data.tail(2).copy(), index=False, preprocess=False,
        fold_strategy=make_splitter(folds, contract), session_id=seed, n_jobs=1, memory=False, html=False,
        verbose=False, system_log=False, log_experiment=False,
    )  # fmt: skip
    # PyCaret would take brackets and quotes out of the names by which our pipeline finds its columns.
    experiment.pipeline.steps = [("prepare", prepare)]
    # PyCaret has rounded every number to float32, and made text categories: put the table back as the model will see
    # it.
    experiment.data = pd.concat([data, data.tail(2)]).set_axis(experiment.data.index)
    return experiment


@functools.cache
def _catalogue(kind: str, seed: int):
    """An experiment over a few rows, to ask for models by: to set one up over a whole table takes its time."""
    rows = pd.DataFrame({"a": np.arange(20.0), "y": [0, 1] * 10})
    experiment = ClassificationExperiment() if kind == CLASSES else RegressionExperiment()
    how = {"html": False, "verbose": False, "system_log": False, "log_experiment": False}
    return experiment.setup(rows, target="y", session_id=seed, preprocess=False, memory=False, n_jobs=1, **how)


@functools.cache
def _entries(kind: str, seed: int) -> pd.DataFrame:
    """PyCaret's models by id, with the class and arguments of each. PyCaret makes this table anew for whoever asks."""
    return _catalogue(kind, seed).models(internal=True)


@functools.cache
def _joined(kind: str, seed: int, stacked: bool) -> BaseEstimator:
    """PyCaret's blend or stack, around two quick models that are to be replaced: it fits what it is given."""
    catalogue = _catalogue(kind, seed)
    quick = [entry["Class"](**entry["Args"]) for _, entry in _entries(kind, seed).loc[["lr", "dt"]].iterrows()]
    if stacked:
        return catalogue.stack_models(quick, meta_model_fold=2, fold=2, verbose=False)
    return catalogue.blend_models(quick, fold=2, verbose=False)


def _tune(
    experiment, start: Pipeline, model: str, trials: int, contract: Contract, folds: pd.DataFrame
) -> Pipeline:  # fmt: skip
    """Search for better settings than a pipeline starts with, by the contract's metric over these folds."""
    splitter = make_splitter(_merge_folds(folds, experiment.y_train, contract), contract)
    sizes = [len(fitted) for fitted, _ in splitter.split()]
    if not sizes:  # the first fold in time: no other shows what is better
        return start
    space = {name: _distribution(found) for name, found in CATALOGUE[model].search.items()}
    space = space or experiment.models(internal=True).at[model, "Tune Distributions"]
    if not space:
        raise BatonError(f"model {model!r} has no settings to search; set tune to 0")
    if "n_neighbors" in space:
        space = space | {"n_neighbors": IntUniformDistribution(1, min(50, *sizes))}
    # PyCaret hands no groups on: within a search, the encoder is cross-fitted row by row.
    grouped, ungrouped = preparation.encoder_folds(start)
    gc.freeze()  # PyCaret collects garbage again and again: among what a search leaves, not among all that is imported
    try:
        found = experiment.tune_model(
            clone(start).set_params(**ungrouped), fold=splitter, n_iter=trials, optimize="chosen by",
            custom_grid={f"model__{name}": values for name, values in space.items()}, choose_better=True,
            search_library="optuna", search_algorithm="tpe", verbose=False, tuner_verbose=False,
        )  # fmt: skip
    finally:
        gc.unfreeze()
    return clone(found).set_params(**grouped)


def _fold_within(folds: pd.DataFrame, fitted: np.ndarray) -> pd.DataFrame:
    """Keep the folds of the fitted rows alone: the others are neither fitted on nor validated."""
    within = np.isin(np.arange(len(folds)), fitted)
    return folds.assign(fold=folds["fold"].where(within, -1), trains=within)


def _merge_folds(folds: pd.DataFrame, y: pd.Series, contract: Contract) -> pd.DataFrame:
    """Number the folds anew: few of them, of neighbours, so that their order in time stays.

    One that would be predicted by a model fitted on a single class, or on no row, validates nothing.
    """
    numbers = np.unique(folds.loc[folds["fold"] >= 0, "fold"])
    merged = {number: place * min(INNER_FOLDS, len(numbers)) // len(numbers) for place, number in enumerate(numbers)}
    folds = folds.assign(fold=folds["fold"].map(merged).fillna(-1).astype("int64"))
    fold = folds["fold"].to_numpy().copy()
    for fitted, validated in make_splitter(folds, contract).split():
        if y.iloc[fitted].nunique() < (2 if contract.labels else 1):
            fold[validated] = -1
    return folds.assign(fold=fold)


def _distribution(found: Range):
    whole = isinstance(found.low, int) and isinstance(found.high, int)
    return (IntUniformDistribution if whole else UniformDistribution)(found.low, found.high, log=found.log)


def _add_metric(experiment, contract: Contract) -> None:
    """Let PyCaret score as the candidates are scored, and by nothing else: each metric predicts anew."""
    metric = evaluation.METRICS[contract.metric]
    for name in experiment.get_metrics().index:
        experiment.remove_metric(name)

    def score(y, predicted, **_):
        predicted = np.asarray(predicted, dtype=float)
        if contract.task == "binary" and predicted.ndim == 1:
            predicted = np.column_stack([1 - predicted, predicted])
        if contract.labels and predicted.shape[1:] != (len(contract.labels),):
            return 0.0  # a fold without rows of some class: the same for every setting
        return np.nan_to_num(
            evaluation.score(np.asarray(y), predicted, contract.task, contract.metric)[contract.metric]
        )

    # PyCaret's regressions read "pred" by themselves, and refuse that argument.
    reads = {"target": "pred_proba"} if contract.labels else {}
    experiment.add_metric("chosen_by", "chosen by", score, greater_is_better=metric.higher_is_better, **reads)


def _predict(pipeline: Pipeline, X: pd.DataFrame, contract: Contract) -> np.ndarray:
    """Predict numbers, or probabilities in the order of the codes; a class the model has not seen has none."""
    if not contract.labels:
        return pipeline.predict(X)
    probabilities = np.zeros((len(X), len(contract.labels)))
    probabilities[:, pipeline.classes_.astype(int)] = pipeline.predict_proba(X)
    return probabilities


def _seconds(work: Callable) -> float:
    started = time.process_time()
    work()
    return max(time.process_time() - started, 1e-6)  # some clocks tick too slowly to see it


@contextlib.contextmanager
def _named_in_errors(model: str, model_params: dict):
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
