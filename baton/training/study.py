"""A study: a search for better settings of a candidate, trial by trial, which goes on where it was stopped.

The only module that imports Optuna. What a trial is scored by, it is given.
"""

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from baton import cores

FINISHED, PRUNED, FAILED = "finished", "pruned", "failed"
# Trials are asked for by so many, and know only the results of those before: on any number of cores they are the same.
BATCH = 8
SAMPLERS = ("tpe", "random")  # those of Optuna that need no further package


class Budget(NamedTuple):
    """How far a study goes: until it has so many trials, or has taken so many seconds, by how many rows.

    `sampler` is the one of Optuna that asks for trials.
    """

    trials: float = math.inf
    seconds: float = math.inf
    rows: float = math.inf
    sampler: str = SAMPLERS[0]

    @classmethod
    def of(cls, tune: int | dict) -> "Budget":
        """Read `tune` of a grid: a number of trials, or `{trials: 200, minutes: 10, rows: 20000, sampler: random}`.

        Any of these may be left out.
        """
        if not isinstance(tune, dict):
            return cls(tune)
        given = {name: value for name, value in tune.items() if name != "minutes"}
        return cls(**given, seconds=60 * tune.get("minutes", math.inf))


class Trial(NamedTuple):
    """One trial: the settings it tried, what became of it, and its mean score over the folds that it got to.

    `started` is the time.time() it began; `error` says why it failed.
    """

    number: int
    params: dict[str, Any]
    state: str
    score: float
    started: float
    seconds: float
    error: str | None


def search(
    scores: Callable[[dict], Iterable[float]], space: dict, budget: Budget, higher_is_better: bool, seed: int,
    file: Path | None = None, name: str = "study",
) -> tuple[dict, list[Trial]]:  # fmt: skip
    """Search a space for the settings with the best mean score; return them, {} if the start is best, and the trials.

    `space` maps a parameter to an Optuna distribution. `scores` yields the score of some settings on one fold after the
    other, {} being the start; a fold that can't be scored yields NaN. Trials are scored on the idle cores of a build,
    or workers of a cluster, a batch at a time; one whose mean so far is worse than the median of earlier batches at
    that fold is pruned. The study of that `name` in `file` is gone on with, if there is one; with a budget of trials,
    the same seed gives the same trials on any number of cores, and whether or not it was stopped in between.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.InMemoryStorage()
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        _drop_cut_off(file)
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
    direction = "maximize" if higher_is_better else "minimize"
    study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True, direction=direction)
    if "start" not in study.user_attrs:
        start = math.nan
        with contextlib.suppress(
            Exception
        ):  # settings that a part of the rows is too small for are beaten by any other
            start = _mean([*scores({})])
        study.set_user_attr("start", start)
    spent = study.user_attrs.get("spent", 0.0)
    while len(trials := _trials(study)) < budget.trials and spent < budget.seconds:
        begun = time.monotonic() - spent
        whole = len(trials) // BATCH * BATCH  # the trials of earlier batches; the others of this one need not be again
        asked = _ask(study, whole, space, budget.sampler, seed)[len(trials) - whole :]
        score = functools.partial(_score, scores, time.time() + budget.seconds - spent)
        for scored in cores.spread(score, asked[: min(BATCH, budget.trials - len(trials))]):
            spent = time.monotonic() - begun
            study.set_user_attr("spent", spent)
            if scored is None:  # there was no time for it
                break
            study.add_trial(scored)

    trials = [trial for trial in trials if trial.number < budget.trials]  # of one that was given more before
    finished = [trial for trial in trials if trial.state == FINISHED]
    better = max if higher_is_better else min
    best = better(finished, key=lambda trial: trial.score, default=None)
    start = study.user_attrs["start"]
    if best is None or (not math.isnan(start) and better(best.score, start) == start):
        return {}, trials
    return best.params, trials


def importances(trials: list[Trial], space: dict, higher_is_better: bool) -> dict[str, float]:
    """How much of the differences between finished trials each parameter explains (fANOVA); {} for fewer than five."""
    import optuna

    finished = [trial for trial in trials if trial.state == FINISHED]
    # By its text: a value may be a mapping, such as a class_weight.
    varied = {name for name in space if len({repr(trial.params.get(name)) for trial in finished}) > 1}
    if len(finished) < 5 or not varied or len({trial.score for trial in finished}) == 1:
        return {}
    study = optuna.create_study(direction="maximize" if higher_is_better else "minimize")
    study.add_trials(
        optuna.trial.create_trial(params=trial.params, distributions=space, value=trial.score) for trial in finished
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items()}


def _ask(study, whole: int, space: dict, sampler: str, seed: int) -> list:
    """Ask for a batch of trials, by the first trials of a study, as many as are in `whole` batches.

    Nothing of it is written: a search that was stopped asks for the same batch again, as if nothing had come of it.
    """
    import optuna

    seed = (seed + whole) % 2**32
    if sampler == "random":
        by = optuna.samplers.RandomSampler(seed)
    else:  # which keeps trials of a batch apart, and draws at random until there is a batch to learn from
        by = optuna.samplers.TPESampler(seed=seed, n_startup_trials=BATCH)
    earlier = optuna.create_study(direction=study.direction, sampler=by, pruner=optuna.pruners.MedianPruner())
    earlier.add_trials(study.get_trials(deepcopy=False)[:whole])
    return [earlier.ask(space) for _ in range(BATCH)]


def _score(scores: Callable[[dict], Iterable[float]], deadline: float, trial):
    """Score what was asked for and return it as a trial that has ended, or None if `deadline` has passed already.

    A deadline is a time.time(): a cluster's other worker has another clock of every other kind.
    """
    import optuna

    if time.time() >= deadline:
        return None
    states = optuna.trial.TrialState
    state, error, found, means, started, begun = states.COMPLETE, None, [], {}, time.time(), time.perf_counter()
    try:
        for place, score in enumerate(scores(trial.params)):
            found.append(float(score))
            if not math.isnan(mean := _mean(found)):
                means[place] = mean
                trial.report(mean, place)
                if trial.should_prune():
                    state = states.PRUNED
                    break
        if state != states.PRUNED and not math.isfinite(_mean(found)):
            raise ValueError("no fold has a score that is a finite number")
    except Exception as raised:  # whatever a library says of settings that it can't be fitted with
        state, error = states.FAIL, f"{type(raised).__name__}: {raised}"
    kept = {"score": _mean(found), "started": started, "seconds": time.perf_counter() - begun, "error": error}
    return optuna.trial.create_trial(
        state=state, value=kept["score"] if state == states.COMPLETE else None, params=trial.params,
        distributions=trial.distributions, intermediate_values=means, user_attrs=kept,
    )  # fmt: skip


def _drop_cut_off(file: Path) -> None:
    """Drop the last line of a journal if it was not written to its end, as when the power failed."""
    content = file.read_bytes() if file.is_file() else b""
    if content and not content.endswith(b"\n"):
        with file.open("r+b") as journal:
            journal.truncate(content.rfind(b"\n") + 1)


def _trials(study) -> list[Trial]:
    import optuna

    states = optuna.trial.TrialState
    named = {states.COMPLETE: FINISHED, states.PRUNED: PRUNED, states.FAIL: FAILED}
    return [
        Trial(trial.number, trial.params, named[trial.state], **trial.user_attrs)
        for trial in study.get_trials(deepcopy=False)
    ]


def _mean(scores: list[float]) -> float:
    finite = [score for score in scores if not math.isnan(score)]
    return float(np.mean(finite)) if finite else math.nan
