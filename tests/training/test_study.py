"""A search: what it finds, that it stops in time, and that it goes on where it was stopped."""

import math
import os
import signal
import statistics
import subprocess
import sys
import time

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from baton import config
from baton.training import study
from baton.training.study import FAILED, FINISHED, PRUNED, Budget

SPACE = {"x": FloatDistribution(-4.0, 4.0), "n": IntDistribution(1, 9)}


def bowl(params: dict) -> list[float]:
    """Three folds; best, 0, at x = 1; the start is at x = 4."""
    return [-((params.get("x", 4.0) - 1) ** 2) + shift for shift in (-0.1, 0.0, 0.1)]


@pytest.mark.parametrize("sign", [1, -1])
def test_the_best_settings_are_found_in_either_direction(sign):
    found, trials = study.search(
        lambda params: [sign * score for score in bowl(params)], SPACE, Budget(60), sign > 0, seed=1
    )
    finished = [trial for trial in trials if trial.state == FINISHED]
    best = max(finished, key=lambda trial: sign * trial.score)
    assert (found, len(trials)) == (best.params, 60)
    assert abs(found["x"] - 1) < 0.2
    assert best.score == pytest.approx(sign * -((found["x"] - 1) ** 2))
    assert [trial.number for trial in trials] == [*range(60)]


def test_a_start_that_cannot_be_scored_is_beaten_by_any_trial():
    def scores(params):
        if not params:
            raise ValueError("too few rows")
        return bowl(params)

    found, trials = study.search(scores, SPACE, Budget(3), True, seed=1)
    assert found in [trial.params for trial in trials]


def test_what_no_trial_beats_is_kept():
    assert study.search(lambda params: [-len(params)], SPACE, Budget(5), True, seed=1)[0] == {}
    assert study.search(lambda params: [0.5], SPACE, Budget(5), True, seed=1)[0] == {}  # nor one that is as good


def test_a_trial_that_is_worse_than_the_median_is_not_scored_on_all_folds():
    scored = []

    def scores(params):
        for score in bowl(params):
            scored.append(params)
            yield score

    _, trials = study.search(scores, SPACE, Budget(40), True, seed=1)
    folds = [sum(params == trial.params for params in scored) for trial in trials]
    assert {trial.state: count for trial, count in zip(trials, folds, strict=True)} == {FINISHED: 3, PRUNED: 1}
    assert {trial.state for trial in trials[:5]} == {FINISHED}
    for place, trial in enumerate(trials):
        first = [other.score - 0.1 for other in trials[:place] if other.state == FINISHED]  # on the first fold
        if trial.state == PRUNED:
            assert trial.score < statistics.median(first)


def test_a_trial_that_fails_says_why_and_the_search_goes_on():
    def scores(params):
        if params.get("n", 0) > 5:
            raise ValueError("more than 5")
        return bowl(params)

    found, trials = study.search(scores, SPACE, Budget(30), True, seed=1)
    failed = [trial for trial in trials if trial.state == FAILED]
    assert {trial.error for trial in failed} == {"ValueError: more than 5"}
    assert {trial.params["n"] > 5 for trial in failed} == {True}
    assert all(math.isnan(trial.score) for trial in failed)
    assert found["n"] <= 5


def test_folds_without_a_score_do_not_count_and_without_any_a_trial_fails():
    found, trials = study.search(lambda params: [math.nan, params.get("x", -9)], SPACE, Budget(9), True, seed=1)
    assert found["x"] == max(trial.score for trial in trials if trial.state == FINISHED)
    found, trials = study.search(lambda params: [math.nan], SPACE, Budget(3), True, seed=1)
    assert (found, {trial.state for trial in trials}) == ({}, {FAILED})
    assert {trial.error for trial in trials} == {"ValueError: no fold has a score that is a finite number"}
    trials = study.search(lambda params: [math.inf], SPACE, Budget(3), True, seed=1)[1]
    assert {trial.state for trial in trials} == {FAILED}


def test_a_time_ends_it_and_counts_what_was_spent_before(tmp_path):
    def scores(params):
        time.sleep(0.05)
        return bowl(params)

    asked = (SPACE, Budget(seconds=0.4), True, 1, tmp_path / "s.log")
    _, trials = study.search(scores, *asked)
    assert 2 <= len(trials) <= 8
    assert study.search(scores, *asked)[1] == trials
    assert len(study.search(scores, SPACE, Budget(len(trials) + 2), True, 1, tmp_path / "s.log")[1]) == len(trials) + 2


def test_going_on_gives_what_an_undisturbed_search_gives(tmp_path):
    file = tmp_path / "products" / "s.log"
    study.search(bowl, SPACE, Budget(7), True, 3, file, "a")
    study.search(bowl, SPACE, Budget(5), True, 4, file, "b")  # another study in the same file
    found, trials = study.search(bowl, SPACE, Budget(20), True, 3, file, "a")
    whole, undisturbed = study.search(bowl, SPACE, Budget(20), True, 3)
    assert [trial[:4] for trial in trials] == [trial[:4] for trial in undisturbed]
    assert found == whole


KILLED = """
import sys, time
from pathlib import Path
from optuna.distributions import FloatDistribution
from baton.training import study
def scores(params):
    time.sleep(0.02)
    yield params.get("x", 9)
study.search(scores, {"x": FloatDistribution(0, 1)}, study.Budget(200), True, 3, Path(sys.argv[1]))
"""


def test_a_search_whose_process_was_killed_goes_on(tmp_path):
    file = tmp_path / "s.log"
    process = subprocess.Popen([sys.executable, "-c", KILLED, file], cwd=config.ROOT)
    while not file.is_file() or file.read_text().count("score") < 20:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    file.with_suffix(".log.lock").unlink(missing_ok=True)
    space = {"x": FloatDistribution(0, 1)}
    begun = study.search(lambda params: [params.get("x", 9)], space, Budget(0), True, 3, file)[1]
    assert 5 < len(begun) < 200
    found, trials = study.search(lambda params: [params.get("x", 9)], space, Budget(60), True, 3, file)
    assert (found, len(trials)) == ({}, 60)  # the start is best
    assert trials[: len(begun)] == begun


def test_a_last_line_that_was_cut_off_is_dropped(tmp_path):
    file = tmp_path / "s.log"
    study.search(bowl, SPACE, Budget(6), True, 3, file)
    file.write_bytes(file.read_bytes()[:-20])
    _, trials = study.search(bowl, SPACE, Budget(12), True, 3, file)
    assert [trial.state for trial in trials].count(FINISHED) + [trial.state for trial in trials].count(PRUNED) == 12


def test_importances_tell_which_parameter_makes_the_difference():
    space = SPACE | {"kind": CategoricalDistribution(["a", "b"])}
    _, trials = study.search(bowl, space, Budget(40), True, seed=1)
    shares = study.importances(trials, space, True)
    assert (max(shares, key=shares.get), sum(shares.values())) == ("x", pytest.approx(1))
    assert shares["x"] > 0.6
    assert study.importances(trials[:4], space, True) == {}
    assert study.importances([trial._replace(score=1.0) for trial in trials], space, True) == {}


@pytest.mark.parametrize(
    ("tune", "expected"),
    [
        (12, (12, math.inf, math.inf)),
        (0, (0, math.inf, math.inf)),
        ({"trials": 200, "minutes": 10}, (200, 600, math.inf)),
        ({"minutes": 0.5, "rows": 300}, (math.inf, 30, 300)),
        ({"trials": 5}, (5, math.inf, math.inf)),
    ],
)
def test_a_budget_is_a_number_of_trials_or_a_time_or_both(tune, expected):
    assert Budget.of(tune) == expected
