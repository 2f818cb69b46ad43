"""A study: a search for better settings of a candidate, trial by trial, which goes on where it was stopped.

The only module that imports Optuna. What a trial is scored by, it is given.
"""

import contextlib
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FINISHED, PRUNED, FAILED = "finished", "pruned", "failed"


class Budget(NamedTuple):
    """How long a study goes on: until it has so many trials, or so many seconds were spent on them."""

    trials: float = math.inf
    seconds: float = math.inf
    rows: float = math.inf

    @classmethod
    def of(cls, tune: int | dict) -> "Budget":
        """Read `tune` of a grid: a number of trials, or `{trials: 200, minutes: 10, rows: 20000}` with any of these."""
        if isinstance(tune, dict):
            return cls(tune.get("trials", math.inf), 60 * tune.get("minutes", math.inf), tune.get("rows", math.inf))
        return cls(tune)


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
    other, {} being the start; a fold that can't be scored yields NaN. A trial whose mean so far is worse than the
    median of others at that fold is pruned. The study of that `name` in `file` is gone on with, if there is one; with a
    budget of trials, the same seed gives the same trials whether or not it was stopped in between.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.InMemoryStorage()
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        _drop_cut_off(file)
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
    study = optuna.create_study(
        storage=storage, study_name=name, load_if_exists=True, pruner=optuna.pruners.MedianPruner(),
        direction="maximize" if higher_is_better else "minimize",
    )  # fmt: skip
    if "start" not in study.user_attrs:
        start = math.nan
        with contextlib.suppress(
            Exception
        ):  # settings that a part of the rows is too small for are beaten by any other
            start = _mean([*scores({})])
        study.set_user_attr("start", start)
    while len(trials := _trials(study)) < budget.trials and sum(trial.seconds for trial in trials) < budget.seconds:
        # By how far the study is: one that is gone on with draws what it would have drawn.
        study.sampler = optuna.samplers.TPESampler(seed=(seed + len(trials)) % 2**32)
        _try(study, study.ask(space), scores)

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
    varied = {name for name in space if len({trial.params.get(name) for trial in finished}) > 1}
    if len(finished) < 5 or not varied or len({trial.score for trial in finished}) == 1:
        return {}
    study = optuna.create_study(direction="maximize" if higher_is_better else "minimize")
    study.add_trials(
        optuna.trial.create_trial(params=trial.params, distributions=space, value=trial.score) for trial in finished
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items()}


def _try(study, trial, scores) -> None:
    import optuna

    found = []
    try:
        for place, score in enumerate(scores(trial.params)):
            found.append(score)
            trial.set_user_attr("score", mean := _mean(found))
            if not math.isnan(mean):
                trial.report(mean, place)
                if trial.should_prune():
                    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                    return
        if not math.isfinite(mean := _mean(found)):
            raise ValueError("no fold has a score that is a finite number")
        study.tell(trial, mean)
    except Exception as error:  # whatever a library says of settings that it can't be fitted with
        trial.set_user_attr("error", f"{type(error).__name__}: {error}")
        with contextlib.suppress(ValueError):  # it was told already, of a score that is no number
            study.tell(trial, state=optuna.trial.TrialState.FAIL)


def _drop_cut_off(file: Path) -> None:
    """Drop the last line of a journal if it was not written to its end, as when the power failed."""
    content = file.read_bytes() if file.is_file() else b""
    if content and not content.endswith(b"\n"):
        with file.open("r+b") as journal:
            journal.truncate(content.rfind(b"\n") + 1)


def _trials(study) -> list[Trial]:
    """Those that have ended: one that a killed process has begun is none."""
    import optuna

    states = optuna.trial.TrialState
    named = {states.COMPLETE: FINISHED, states.PRUNED: PRUNED, states.FAIL: FAILED}
    return [
        Trial(
            trial.number, trial.params, named[trial.state], trial.user_attrs.get("score", math.nan),
            trial.datetime_start.timestamp(), trial.duration.total_seconds(), trial.user_attrs.get("error"),
        )
        for trial in study.get_trials(deepcopy=False, states=tuple(named))
    ]  # fmt: skip


def _mean(scores: list[float]) -> float:
    known = [score for score in scores if not math.isnan(score)]
    return float(np.mean(known)) if known else math.nan
