"""The tournament: each candidate is cross-validated over the same folds; what is kept is plain scikit-learn.

The only module that imports PyCaret, which gives most models, with their defaults and where to search for better ones,
and blends and stacks them. Its own preprocessing stays off: on pandas 2.2 and later it can pair rows with other rows'
targets.
"""

import contextlib
import functools
import hashlib
import importlib
import inspect
import io
import logging
import os
import sys
import time
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import joblib
import matplotlib
import numpy as np
import pandas as pd
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from scipy import stats
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import VotingClassifier
from sklearn.model_selection import FixedThresholdClassifier, StratifiedKFold
from sklearn.pipeline import Pipeline

from baton import BatonError, config, cores
from baton.data import tables
from baton.data.contract import Contract
from baton.data.split import make_splitter
from baton.models import CATALOGUE, CLASSES, NUMBERS, PACKAGES, Range, is_stack, members, unable
from baton.training import calibration, evaluation, preparation, study

os.environ.setdefault("PYCARET_CUSTOM_LOGGING_PATH", os.devnull)  # else it leaves a logs.log wherever it starts
with matplotlib.rc_context():  # to import PyCaret restyles every plot of the process
    from pycaret.classification import ClassificationExperiment
    from pycaret.containers.models import classification, regression
    from pycaret.regression import RegressionExperiment

# A search is repeated within each fold as long as it fits a model to no more rows than this in all: about ten minutes
# of LightGBM. A number of rows, not of seconds, so that the same table is always treated in the same way.
NESTED_ROWS = 50_000_000
INNER_FOLDS = 3
PLAIN, LOG, POISSON = "plain", "log", "poisson"  # how the target is fitted
SKEWED = 1.0  # skewness of a target above which its logarithm is tried, or counts as Poisson
ALONE = 0.9  # groups for each row, below which rows are not divided one by one
FEW_ROWS = pd.DataFrame({"a": np.arange(20.0)})  # for PyCaret, where it is only asked for models
WORTH = 0.5  # seconds of fitting that are worth another process
STACK_FOLDS = 5  # by which the members of a stack predict rows for the model that combines them

WRAPPERS = {"lightgbm": "LGBMModel", "xgboost": "XGBModel"}  # of packages whose models take parameters of any name
# XGBoost's other names of its parameters, and its parameters that its models do not name.
XGBOOST = {
    "learning_rate": ["eta"], "reg_alpha": ["alpha"], "reg_lambda": ["lambda"], "gamma": ["min_split_loss"],
    **dict.fromkeys(("rate_drop", "skip_drop", "one_drop", "sample_type", "normalize_type"), ()),  # of booster: dart
    **dict.fromkeys(("tweedie_variance_power", "huber_slope", "quantile_alpha", "updater", "process_type"), ()),
}  # fmt: skip


class Result(NamedTuple):
    """What the tournament finds of one candidate.

    `estimator` is unfitted, with the settings that were found if it was tuned. `scores` has a row a fold and a column a
    metric; `predictions` holds, for every training row, what the model that did not see it predicted: probabilities
    (rows, classes) or numbers (rows,). `nested` is False if the folds that score the candidate chose its settings too.
    `trials` are those of the study that found the settings, and `importances` how much each parameter mattered in it.
    `scale` is "log" where the logarithm of the target is fitted, "poisson" where it is fitted as Poisson counts, else
    "plain". `calibrated` tells whether probabilities are, `log_losses` what they lose as fitted and calibrated, and
    `as_fitted` holds the predictions before. `threshold` is the one that all predictions have chosen.
    `prepare` is the unfitted step before the estimator, and `texts` tells whether it learns from sentences. Where rows
    have weights, `unweighted` names the kinds of model in it that take none; else it is None.
    """

    estimator: BaseEstimator
    scores: pd.DataFrame
    predictions: np.ndarray
    nested: bool
    trials: list[study.Trial]
    importances: dict[str, float]
    scale: str
    threshold: float | None
    calibrated: bool
    log_losses: dict[str, float]
    as_fitted: np.ndarray
    prepare: TransformerMixin
    texts: bool
    unweighted: list[str] | None = None

    @property
    def params(self) -> dict:
        """The parameters of the model itself."""
        model = self.estimator.estimator if self.calibrated else self.estimator
        return (
            model.get_params()[_within(model)].get_params(deep=False)
            if _within(model)
            else model.get_params(deep=False)
        )

    @property
    def found(self) -> dict:
        """What cross-validation has found to be better for this candidate, and which of its models take no weights."""
        weighted = {} if self.unweighted is None else {"unweighted": self.unweighted}
        return {"target_scale": self.scale, "calibrated": self.calibrated, "texts": self.texts} | weighted


def cross_validate(
    model: str, model_params: dict, tune: int | dict, X: pd.DataFrame, y: pd.Series, folds: pd.DataFrame,
    contract: Contract, prepare: TransformerMixin, seed: int, file: Path | None = None,
    threshold: str | float | dict = 0.5, prepare_texts: TransformerMixin | None = None,
    weights: np.ndarray | None = None,
) -> Result:  # fmt: skip
    """Cross-validate a candidate over the given folds.

    `model` is an id of the catalogue, or several as a blend (`a+b`) or `stack(a+b)`, whose `model_params` are a mapping
    for each member. `folds` has the columns `fold` and `group` of `split.Division.folds`, and `trains`, which is False
    for rows that are validated only. With `tune` (see `study.Budget.of`), a study tries settings, as `metric` scores
    them: over all folds for the estimator that is returned and, if that is affordable, within the rows each fold is
    fitted on for its scores. A time is shared by all of these; `file` keeps them, to go on where they were stopped.

    A positive, skewed target is fitted as its logarithm as well, and counts as Poisson; `prepare_texts`, which learns
    from sentences too, is tried in place of `prepare`. The best of these is taken: for each fold the one that is best
    on the others, so that a fold has no say in how it is predicted. So it is with the threshold of two classes, which
    is found as `evaluation.choose_threshold` says, and with the calibration of probabilities: see `calibration`.
    `weights` (rows,) say how much each row counts, for the models that take any, and in all that is chosen and scored.
    """
    coded = contract.encode(y).astype("float64" if contract.task == "regression" else "int64")
    splitter, sign = make_splitter(folds, contract), 1 if evaluation.METRICS[contract.metric].higher_is_better else -1
    groups, fold = folds["group"].to_numpy(), folds["fold"].to_numpy()
    choose_threshold = functools.partial(evaluation.choose_threshold, how=threshold, metric=contract.metric)

    def predict(choose: Callable) -> np.ndarray:
        """Predict each fold by the pipeline that is chosen for its number and the rows it is fitted on."""
        predictions = np.full((len(X), len(contract.labels)) if contract.labels else len(X), np.nan)

        def answer(part: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
            fitted, validated = part
            pipeline = clone(choose(fold[validated[0]], fitted))
            with_weights = evaluation.part(weights, fitted)
            pipeline = preparation.fit(pipeline, X.iloc[fitted], coded.iloc[fitted], groups[fitted], with_weights)
            return _predict(pipeline, X.iloc[validated], contract)

        begun, (first, *others) = time.monotonic(), splitter.split()
        predictions[first[1]] = answer(first)
        # A search within a fold shares its trials by itself; and what takes no time is not worth another process.
        alone = tune or time.monotonic() - begun < WORTH
        for (_, validated), found in zip(others, (map if alone else cores.spread)(answer, others), strict=True):
            predictions[validated] = found
        return predictions

    def score(predictions: np.ndarray) -> pd.DataFrame:
        return evaluation.score_folds(coded.to_numpy(), predictions, fold, contract.task, choose_threshold, weights)

    with _quiet(), _named_in_errors(model, model_params):
        fewest = min(len(fitted) for fitted, _ in splitter.split())
        estimator = make_estimator(model, model_params, contract, fewest, seed)
        parameter = CATALOGUE[model].categories if model in CATALOGUE else None
        if parameter and parameter not in model_params and (places := preparation.categories(prepare)):
            estimator.set_params(**{parameter: places})
        steps = {PLAIN: estimator} | _of_skewed(estimator, model, model_params, coded, contract)
        ways = [prepare] if prepare_texts is None else [prepare, prepare_texts]
        starts = {
            (scale, texts): Pipeline([("prepare", clone(way)), ("model", clone(step))])
            for texts, way in enumerate(ways)
            for scale, step in steps.items()
        }
        usual, numbers, answers, tried = next(iter(starts)), np.unique(fold[fold >= 0]), {}, {}
        for how, start in starts.items() if len(starts) > 1 else ():
            with contextlib.nullcontext() if how == usual else contextlib.suppress(Exception):  # as of too few words
                answers[how] = predict(lambda *_, start=start: start)
                if np.isfinite(answers[how][fold >= 0]).all():  # e to a large number is infinite
                    tried[how] = score(answers[how])[contract.metric]

        def best_without(*left_out: int) -> tuple[str, int]:
            """How to fit, as the folds that are not left out would have it."""
            means = {how: sign * scores.drop(index=[*left_out]).mean() for how, scores in tried.items()}
            means = {how: mean for how, mean in means.items() if not np.isnan(mean)}
            return max(means, key=means.get, default=usual)

        # Of two folds, neither has folds within the rows it is fitted on; by time, only the first one has none.
        budget, count = study.Budget.of(tune), len(numbers)
        affordable = (
            budget.seconds < np.inf or min(len(folds), budget.rows) * budget.trials * INNER_FOLDS * count <= NESTED_ROWS
        )
        nested = not tune or (affordable and (splitter.forward or count > 2))
        share = budget._replace(seconds=budget.seconds / (1 + count * nested))
        (scale, texts), trials, importances = best_without(), [], {}
        pipeline = starts[scale, texts]
        # A search by a metric that reads no class is the same whatever the threshold.
        asked = threshold if evaluation.METRICS[contract.metric].of == "label" else 0.5
        search = functools.partial(_search, model, share, X, coded, weights, contract, seed, file, asked)
        if tune:
            pipeline, trials, space = search(pipeline, folds, "all")
            importances = study.importances(trials, space, sign > 0)

        def choose(number: int, fitted: np.ndarray) -> Pipeline:
            start = starts[best_without(number)]
            if tune and nested:
                return search(start, _fold_within(folds, fitted), f"fold {number}")[0]
            return pipeline if tune else start

        if answers and not tune:
            predictions = answers[usual].copy()
            for number in numbers:
                predictions[fold == number] = answers[best_without(number)][fold == number]
        else:
            predictions = predict(choose)
        _require_numbers(predictions[fold >= 0], model, model_params)
    step, as_fitted, calibrated, log_losses = clone(pipeline.named_steps["model"]), predictions, False, {}
    # Not where rows come in groups, as of one id, or in time: the folds by which scikit-learn calibrates know nothing
    # of that, and a model is sure of a row whose like it has seen. Nor a model that is calibrated by itself:
    # scikit-learn would go by what it has before.
    alone = contract.split != "time" and folds["group"].nunique() >= ALONE * len(folds)
    if contract.labels and alone and not step.get_params().get("probability"):
        codes = coded.to_numpy(dtype="float64")
        ratio, validated = splitter.test_train_ratio(), fold >= 0
        tempered, predictions, calibrated = calibration.cross_fit(codes, as_fitted, fold, ratio, weights)
        losses = {"log_loss/as_fitted": as_fitted, "log_loss/calibrated": tempered}
        log_losses = {
            name: calibration.log_loss(codes[validated], of[validated], evaluation.part(weights, validated))
            for name, of in losses.items()
        }
    if calibrated:
        within = StratifiedKFold(INNER_FOLDS, shuffle=True, random_state=0)
        step = CalibratedClassifierCV(step, method="temperature", cv=within, ensemble=False)
    of_validated = evaluation.part(weights, fold >= 0)
    chosen = choose_threshold(coded[fold >= 0].to_numpy(), predictions[fold >= 0], weights=of_validated)
    return Result(
        step, score(predictions), predictions, nested, trials, importances, scale, chosen, calibrated, log_losses,
        as_fitted, clone(ways[texts]), bool(texts), None if weights is None else preparation.unweighted(step),
    )  # fmt: skip


def assemble(
    prepare: TransformerMixin, estimator: BaseEstimator, features, contract: Contract | None = None
) -> Pipeline:
    """Join the unfitted steps from raw rows to prediction into one scikit-learn pipeline, with no PyCaret in it.

    With the threshold of a contract, so that `predict` goes by it wherever the model is served.
    """
    model = with_threshold(clone(estimator), contract)
    return Pipeline([*preparation.stateless_steps(features), ("prepare", clone(prepare)), ("model", model)])


def with_threshold(estimator: BaseEstimator, contract: Contract | None) -> BaseEstimator:
    """Make a model of two classes predict the positive one from the contract's threshold on, if there is one."""
    if contract is None or contract.threshold is None:
        return estimator
    how = {"threshold": contract.threshold, "pos_label": contract.positive, "response_method": "predict_proba"}
    return FixedThresholdClassifier(estimator, **how)


def fit_and_time(
    pipeline: Pipeline, X: pd.DataFrame, y: pd.Series, groups: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> tuple[Pipeline, dict[str, float]]:  # fmt: skip
    """Fit on all rows given, raw, and measure what that costs.

    Returns the fitted pipeline and its costs in seconds of one processor: `fit_seconds`, and `score_seconds` for 1,000
    rows.
    """
    sample = X.sample(1000, replace=True, random_state=0)
    with _quiet():
        fit_seconds = _seconds(lambda: preparation.fit(pipeline, X, y, groups, weights))
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
    model_params = _known(model, model_params)
    if path := CATALOGUE[model].classes.get(kind):
        module, _, name = path.rpartition(".")
        estimator = getattr(importlib.import_module(module), name)()
        given = {"random_state": seed, "n_jobs": 1}
        usual = {key: value for key, value in given.items() if key in estimator.get_params()}
        estimator.set_params(**usual | model_params)
    else:
        entry = _entries(kind, seed)[model]
        estimator = entry.class_def(**(entry.args | CATALOGUE[model].usual | model_params))
    if CATALOGUE[model].takes_codes and contract.labels:  # what gives it codes for any classes
        return VotingClassifier([(model, estimator)], voting="soft")
    if "n_neighbors" in estimator.get_params():
        estimator.set_params(n_neighbors=min(estimator.n_neighbors, fewest))
    return estimator


def _known(model: str, model_params: dict) -> dict:
    """Parameters by the names that a search knows them by; raise `BatonError` for one that the model would pass over.

    LightGBM and XGBoost take whatever they are given. LightGBM has several names for most of its parameters.
    """
    package = PACKAGES[CATALOGUE[model].package]
    if package not in WRAPPERS:
        return model_params
    module = importlib.import_module(package)
    names, found = {*getattr(module, WRAPPERS[package])().get_params()}, {}
    others = XGBOOST if package == "xgboost" else module.basic._ConfigAliases._get_all_param_aliases()
    for name, value in model_params.items():
        same = next(({main, *more} for main, more in others.items() if name in {main, *more}), set())
        known = name if name in names else min(same & names, default=name if same else None)
        if known is None:
            nearest = config.did_you_mean(name, sorted(names | others.keys()))
            raise BatonError(f"model {model!r} has no parameter {name!r}{nearest}")
        if known in found:
            raise BatonError(f"model {model!r}: {name!r} is another name of {known!r}, which is given as well")
        found[known] = value
    return found


def set_up(X: pd.DataFrame, y: pd.Series, folds: pd.DataFrame, contract: Contract, seed: int, prepare=None):
    """Set up PyCaret's experiment over features, a target as `Contract.encode` gives it, and folds, and return it.

    For whatever else PyCaret offers: the README's "Then what?" has the lines to add to `tasks/fit.py`. It takes no
    weights of rows.
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
def _entries(kind: str, seed: int) -> dict:
    """PyCaret's models by id, each with its class, its arguments, and where to search for better ones.

    Without an experiment: to set one up, and ask it, makes this table five times, which takes longer than most fits.
    """
    models = classification if kind == CLASSES else regression
    asked = {"seed": seed, "n_jobs_param": 1, "gpu_param": False, "get_engine": lambda _: None, "X_train": FEW_ROWS}
    return models.get_all_model_containers(types.SimpleNamespace(**asked))  # all that it reads of an experiment


@functools.cache
def _experiment(kind: str, seed: int):
    """An experiment over a few rows: to set one up over a whole table takes its time."""
    experiment = ClassificationExperiment() if kind == CLASSES else RegressionExperiment()
    how = {"html": False, "verbose": False, "system_log": False, "log_experiment": False}
    data = FEW_ROWS.assign(y=[0, 1] * (len(FEW_ROWS) // 2))
    return experiment.setup(data, target="y", session_id=seed, preprocess=False, memory=False, n_jobs=1, **how)


@functools.cache
def _joined(kind: str, seed: int, stacked: bool) -> BaseEstimator:
    """PyCaret's blend or stack, around two quick models that are to be replaced: it fits what it is given."""
    experiment = _experiment(kind, seed)
    quick = [entry.class_def(**entry.args) for entry in map(_entries(kind, seed).get, ["lr", "dt"])]
    if stacked:
        return experiment.stack_models(quick, meta_model_fold=2, fold=2, verbose=False)
    return experiment.blend_models(quick, fold=2, verbose=False)


def _search(
    model: str, budget: study.Budget, X: pd.DataFrame, y: pd.Series, weights: np.ndarray | None, contract: Contract,
    seed: int, file: Path | None, threshold: str | float | dict, start: Pipeline, folds: pd.DataFrame, name: str,
) -> tuple[Pipeline, list[study.Trial], dict]:  # fmt: skip
    """Search for better settings than a pipeline starts with, by the contract's metric over these folds.

    Returns the unfitted pipeline, the trials, and the space that was searched.
    """
    metric, groups = evaluation.METRICS[contract.metric], folds["group"].to_numpy()
    folds = _sample(folds, y, bool(contract.labels), budget.rows, seed)
    splitter = make_splitter(_merge_folds(folds, y, contract), contract)
    sizes = [len(fitted) for fitted, _ in splitter.split()]
    if not sizes:  # the first fold in time: no other shows what is better
        return start, [], {}
    space = _space(model, contract, seed, min(sizes))
    place = "__".join(name for name in ("model", _within(start.named_steps["model"])) if name)

    def set_to(params: dict) -> Pipeline:
        return clone(start).set_params(**{f"{place}__{key}": value for key, value in params.items()})

    def scores(params: dict):
        for fitted, validated in splitter.split():
            with_weights, by_weights = (evaluation.part(weights, rows) for rows in (fitted, validated))
            pipeline = preparation.fit(set_to(params), X.iloc[fitted], y.iloc[fitted], groups[fitted], with_weights)
            truth, predicted = y.iloc[validated].to_numpy(), _predict(pipeline, X.iloc[validated], contract)
            # The best that these rows allow: at one threshold for all, settings would be compared by their calibration.
            chosen = evaluation.choose_threshold(truth, predicted, threshold, contract.metric, by_weights)
            found = evaluation.score(truth, predicted, contract.task, contract.metric, chosen, by_weights)
            yield found[contract.metric]

    # What a study rests on: with any of it changed, a new one begins. A pipeline by its content: what it is written as
    # may hold an address, which is another one in the next build.
    rests_on = [*map(tables.digest, (X, y.to_frame(), folds)), joblib.hash(start), contract.metric, space, seed]
    rests_on += [inspect.getsource(one) for one in start.get_params().values() if inspect.isfunction(one)]
    rests_on += [threshold] if threshold != 0.5 else []
    rests_on += [] if weights is None else [weights.tobytes()]
    rests_on += [Path(preparation.__file__).read_text(), _versions(start), budget.sampler]
    key = hashlib.sha256(repr(rests_on).encode()).hexdigest()[:16]
    found, trials = study.search(scores, space, budget, metric.higher_is_better, seed, file, f"{name} {key}")
    if not trials and name == "all":
        raise BatonError(
            f"model {model!r} can't be tuned: not one trial has ended in the {budget.seconds:.1f} s that this search"
            " has of the minutes given, which all folds share. Give it more, or set tune to 0"
        )
    if not found and trials and all(trial.state == study.FAILED for trial in trials):
        raise BatonError(f"model {model!r} can't be tuned: none of {len(trials)} trials succeeded. {trials[0].error}")
    return set_to(found), trials, space


def _versions(pipeline: Pipeline) -> list[str]:
    """The libraries that a pipeline's models are of, with their versions."""
    modules = {type(step).__module__.partition(".")[0] for step in pipeline.get_params().values()}
    return [f"{name} {sys.modules[name].__version__}" for name in sorted(modules & {*PACKAGES.values()})]


def _within(estimator: BaseEstimator) -> str:
    """The name by which an estimator holds the model itself, if it is around one; "" if it is the model."""
    if isinstance(estimator, TransformedTargetRegressor):
        return "regressor"
    alone = isinstance(estimator, VotingClassifier) and len(estimator.estimators) == 1
    return estimator.estimators[0][0] if alone else ""


def _of_skewed(
    estimator: BaseEstimator, model: str, model_params: dict, y: pd.Series, contract: Contract
) -> dict[str, BaseEstimator]:  # fmt: skip
    """How else to fit a skewed target: amounts, prices and durations by their logarithm, counts as Poisson."""
    found = {}
    if contract.task != "regression" or not (y.min() >= 0 and stats.skew(y) > SKEWED):
        return found
    if y.min() > 0:
        found[LOG] = TransformedTargetRegressor(clone(estimator), func=np.log, inverse_func=np.exp)
    poisson = CATALOGUE[model].poisson if model in CATALOGUE else {}
    if poisson and not poisson.keys() & model_params.keys() and (y % 1 == 0).all():
        found[POISSON] = clone(estimator).set_params(**poisson)
    return found


def _space(model: str, contract: Contract, seed: int, rows: int) -> dict:
    """Where to search for a model's settings, as Optuna's distributions: by the catalogue, or else as PyCaret does."""
    space = {name: _distribution(found) for name, found in CATALOGUE[model].search.items()}
    if not space:
        kind = CLASSES if contract.labels else NUMBERS
        pycarets = _entries(kind, seed)[model].tune_distribution
        space = {name: found.get_optuna() for name, found in pycarets.items()}
    if not space:
        raise BatonError(f"model {model!r} has no settings to search; set tune to 0")
    if "n_neighbors" in space:
        space["n_neighbors"] = IntDistribution(1, min(50, rows))
    return space


def _sample(folds: pd.DataFrame, y: pd.Series, classes: bool, most: float, seed: int) -> pd.DataFrame:
    """Keep so many rows of the folds, at random, each class in its share: no others are fitted on, or validated."""
    trains = folds.get("trains", pd.Series(True, folds.index))
    used = np.flatnonzero(trains | (folds["fold"] >= 0))
    if len(used) <= most:
        return folds
    drawn = pd.Series(np.random.default_rng(seed).permutation(used))
    by = y.iloc[drawn].to_numpy() if classes else np.zeros(len(drawn))
    place = drawn.groupby(by).cumcount() / drawn.groupby(by).transform("size")
    within = np.isin(np.arange(len(folds)), drawn[place.argsort(kind="stable")[: int(most)]])
    return folds.assign(fold=folds["fold"].where(within, -1), trains=trains & within)


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


def _distribution(found: Range) -> BaseDistribution:
    whole = isinstance(found.low, int) and isinstance(found.high, int)
    return (IntDistribution if whole else FloatDistribution)(found.low, found.high, log=found.log)


def _predict(pipeline: Pipeline, X: pd.DataFrame, contract: Contract) -> np.ndarray:
    """Predict numbers, or probabilities in the order of the codes; a class the model has not seen has none."""
    if not contract.labels:
        return pipeline.predict(X)
    probabilities = np.zeros((len(X), len(contract.labels)))
    probabilities[:, pipeline.classes_.astype(int)] = pipeline.predict_proba(X)
    return probabilities


def _require_numbers(predictions: np.ndarray, model: str, model_params: dict) -> None:
    """Raise `BatonError` if a row has none: by a fold that has no score, no candidate can be compared."""
    wrong = ~np.isfinite(predictions).reshape(len(predictions), -1).all(axis=1)
    if wrong.any():
        raise BatonError(
            f"model {model!r} with {model_params or 'its defaults'} predicts no finite number for {wrong.sum()} of"
            f" {len(wrong)} rows. Leave it out of the grid, or give it other model_params"
        )


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
