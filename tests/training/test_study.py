"""A search: what it finds, that it stops in time, and that it goes on where it was stopped."""

import math
import multiprocessing
import statistics
import time
from pathlib import Path

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from baton import cores
from baton.training import study
from baton.training.study import BATCH, FAILED, FINISHED, PRUNED, Budget

SPACE = {"x": FloatDistribution(-4.0, 4.0), "n": IntDistribution(1, 9)}


def bowl(params: dict) -> list[float]:
    """Three folds; best, 0, at x = 1; the start is at x = 4."""
    return [-((params.get("x", 4.0) - 1) ** 2) + shift for shift in (-0.1, 0.0, 0.1)]


@pytest.fixture
def on_cores():
    """Be at work in a build of so many cores, of which the others are idle; of none, outside of a build."""

    def use(count: int) -> None:
        cores.use(cores.make(count - 1, multiprocessing.get_context("fork")) if count else None)

    yield use
    use(0)


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
    assert {trial.state for trial in trials[:BATCH]} == {FINISHED}
    for place, trial in enumerate(trials[BATCH:], BATCH):
        earlier = trials[: place // BATCH * BATCH]
        median = statistics.median(other.score - 0.1 for other in earlier if other.state == FINISHED)  # on that fold
        assert (trial.state == PRUNED) == (bowl(trial.params)[0] < median)


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


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_time_is_what_a_search_takes_on_all_its_cores(on_cores, count):
    on_cores(count)
    _, trials = study.search(lambda params: [time.sleep(0.2)] and bowl(params), SPACE, Budget(seconds=2), True, 1)
    first = trials[0].started
    assert max(trial.started for trial in trials) < first + 2
    assert max(trial.started + trial.seconds for trial in trials) > first + 1.2
    assert 0.2 <= min(trial.seconds for trial in trials) < 0.4
    at_once = [sum(one.started <= trial.started < one.started + one.seconds for one in trials) for trial in trials]
    assert (max(at_once) > 1) == (count > 1)
    assert max(at_once) <= max(count, 1)


def odd(params: dict):
    """Now and then slow, or impossible."""
    for score in bowl(params):
        time.sleep(0.02 * (params.get("x", 0) > 0))
        if params.get("n", 1) == 3:
            raise ValueError("it is 3")
        yield score


@pytest.mark.parametrize("sampler", study.SAMPLERS)
def test_on_any_number_of_cores_trials_are_the_same(on_cores, tmp_path, sampler):
    found = {}
    for count in (0, 1, 3):
        on_cores(count)
        file = tmp_path / f"{count}.log" if count else None
        found[count] = study.search(odd, SPACE, Budget(29, sampler=sampler), True, 3, file)
    trials = [trial[:4] for trial in found[0][1]]
    assert {state for _, _, state, _ in trials} == {FINISHED, PRUNED, FAILED}
    assert [state == FAILED for _, _, state, _ in trials] == [params["n"] == 3 for _, params, _, _ in trials]
    for best, same in found.values():
        assert best == found[0][0]
        np.testing.assert_equal([trial[:4] for trial in same], trials)


def test_a_batch_is_asked_for_by_the_trials_of_earlier_batches_alone():
    def params(sampler: str, *low: int) -> list[dict]:
        """With the score of each of these trials other than it is."""
        number = iter(range(-1, 99))  # the start is no trial
        scores = lambda params: [score - 99 * (place in low) for place in [next(number)] for score in bowl(params)]  # noqa: E731
        return [trial.params for trial in study.search(scores, SPACE, Budget(20, sampler=sampler), True, 1)[1]]

    usual = params("tpe")
    assert params("tpe", 8, 9, 10, 11)[:16] == usual[:16]
    assert params("tpe", 8, 9, 10, 11)[16:] != usual[16:]
    assert params("tpe", *range(8))[8] == usual[8]  # all of them alike: none is better by it
    assert params("tpe", 0, 1, 2, 3)[8] != params("tpe", 4, 5, 6, 7)[8]  # it learns from the first batch already
    assert params("random", 0, 1, 2, 3) == params("random", 4, 5, 6, 7) != usual
    assert len({trial["x"] for trial in usual}) == len({trial["x"] for trial in params("random")}) == 20


def test_going_on_gives_what_an_undisturbed_search_gives(tmp_path):
    file = tmp_path / "products" / "s.log"
    study.search(bowl, SPACE, Budget(7), True, 3, file, "a")
    study.search(bowl, SPACE, Budget(5), True, 4, file, "b")  # another study in the same file
    found, trials = study.search(bowl, SPACE, Budget(20), True, 3, file, "a")
    whole, undisturbed = study.search(bowl, SPACE, Budget(20), True, 3)
    assert [trial[:4] for trial in trials] == [trial[:4] for trial in undisturbed]
    assert found == whole


def test_with_fewer_trials_than_there_were_before_a_search_is_what_it_would_be_anew(tmp_path):
    study.search(bowl, SPACE, Budget(30), True, 3, tmp_path / "s.log")
    found, trials = study.search(bowl, SPACE, Budget(10), True, 3, tmp_path / "s.log")
    anew = study.search(bowl, SPACE, Budget(10), True, 3)
    assert (found, [trial[:4] for trial in trials]) == (anew[0], [trial[:4] for trial in anew[1]])
    assert found != study.search(bowl, SPACE, Budget(30), True, 3)[0]


def search_slowly(file: Path, count: int) -> None:
    def scores(params):
        time.sleep(0.05)
        yield params.get("x", 9)

    if count:
        cores.use(cores.make(2, multiprocessing.get_context("fork")))
    study.search(scores, {"x": FloatDistribution(0, 1)}, Budget(200), True, 3, file)


@pytest.mark.parametrize("count", [0, 3])
def test_a_search_whose_process_was_killed_in_a_batch_goes_on_as_if_it_was_not(tmp_path, on_cores, count):
    file, space = tmp_path / "s.log", {"x": FloatDistribution(0, 1)}

    def search(trials: int, file=None) -> tuple:
        return study.search(lambda params: [params.get("x", 9)], space, Budget(trials), True, 3, file)

    process = multiprocessing.get_context("fork").Process(target=search_slowly, args=(file, count))
    process.start()
    while not file.is_file() or file.read_text().count('"score"') < BATCH + 2:
        time.sleep(0.005)
    process.kill()
    process.join()
    file.with_suffix(".log.lock").unlink(missing_ok=True)
    begun = study.search(bowl, space, Budget(seconds=0), True, 3, file)[1]
    assert BATCH < len(begun) < 2 * BATCH
    on_cores(count)
    found, trials = search(60, file)
    assert (found, len(trials)) == ({}, 60)  # the start is best
    assert trials[: len(begun)] == begun
    assert [trial[:4] for trial in trials] == [trial[:4] for trial in search(60)[1]]


def test_a_last_line_that_was_cut_off_is_dropped(tmp_path):
    file = tmp_path / "s.log"
    study.search(bowl, SPACE, Budget(6), True, 3, file)
    file.write_bytes(file.read_bytes()[:-20])
    _, trials = study.search(bowl, SPACE, Budget(12), True, 3, file)
    assert [trial.state for trial in trials].count(FINISHED) + [trial.state for trial in trials].count(PRUNED) == 12


def test_importances_tell_which_parameter_makes_the_difference():
    space = SPACE | {"kind": CategoricalDistribution(["a", {}])}  # as PyCaret's for class_weight
    _, trials = study.search(bowl, space, Budget(40), True, seed=1)
    shares = study.importances(trials, space, True)
    assert (max(shares, key=shares.get), sum(shares.values())) == ("x", pytest.approx(1))
    assert shares["x"] > 0.6
    assert study.importances(trials[:4], space, True) == {}
    assert study.importances([trial._replace(score=1.0) for trial in trials], space, True) == {}


@pytest.mark.parametrize(
    ("tune", "expected"),
    [
        (12, (12, math.inf, math.inf, "tpe")),
        (0, (0, math.inf, math.inf, "tpe")),
        ({"trials": 200, "minutes": 10}, (200, 600, math.inf, "tpe")),
        ({"minutes": 0.5, "rows": 300}, (math.inf, 30, 300, "tpe")),
        ({"trials": 5, "sampler": "random"}, (5, math.inf, math.inf, "random")),
    ],
)
def test_a_budget_is_a_number_of_trials_or_a_time_or_both(tune, expected):
    assert Budget.of(tune) == expected
