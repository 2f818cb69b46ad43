"""Intervals around predicted numbers: the right quantile, the coverage that is asked for, and what is said without one."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import registering
from conftest import learn
from scipy import stats

from baton import SettingsError
from baton.handover import intervals
from baton.handover.intervals import Residuals


@pytest.mark.parametrize(
    ("count", "level", "rank"),
    [
        (9, 0.9, 9),
        (9, 0.8, 8),
        (9, 0.81, 9),
        (9, 0.5, 5),
        (9, 0.91, None),
        (10, 0.9, 10),  # 9.9
        (99, 0.55, 55),  # which Python multiplies to 55.00000000000001
        (99, 0.99, 99),
        (98, 0.99, None),
    ],
)
def test_the_reach_is_the_residual_of_the_rank_that_leaves_room_for_a_new_one(count, level, rank):
    sizes = 10.0 * np.arange(1, count + 1)
    signs = np.where(np.arange(count) % 2, -1, 1)  # a row that lies below is as wrong as one above
    found = Residuals.of(100 + sizes * signs, np.full(count, 100.0))
    assert found.reach(level) == (math.inf if rank is None else 10.0 * rank)


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_so_many_new_rows_lie_within_as_were_asked_for(level):
    """Of 19 residuals, the rank leaves exactly the share asked for, whatever their distribution; here a skewed one."""
    generator = np.random.default_rng(5)
    held = 0
    for _ in range(4000):
        truth = generator.exponential(size=20)
        low, high = Residuals.of(truth[:19], np.ones(19)).bounds(np.ones(1), level)
        held += low[0] <= truth[19] <= high[0]
    assert stats.binomtest(held, 4000, level).pvalue > 0.01


def test_what_is_kept_of_many_residuals_holds_no_fewer_and_hardly_more():
    count = 100_003
    sizes = np.random.default_rng(6).exponential(size=count)
    found, ordered = Residuals.of(sizes, np.zeros(count)), np.sort(sizes)
    assert len(found.ranks) == len(found.sizes) <= 2000
    for level in np.linspace(0.5, 0.99, 491):
        rank = math.ceil(round((count + 1) * level, 9))
        assert ordered[rank - 1] <= found.reach(level) <= ordered[rank + count // 4000]


def test_of_a_logarithm_the_interval_is_a_factor():
    truth, predictions = 100 * np.exp(np.arange(1, 20) / 10), np.full(19, 100.0)
    found = Residuals.of(truth, predictions, "log")
    assert (found.scale, found.reach(0.9)) == ("log", pytest.approx(1.8))
    low, high = found.bounds(np.array([1e-9, 1.0, 500.0]), 0.9)
    np.testing.assert_allclose(low, np.array([1e-9, 1.0, 500.0]) / np.exp(1.8))
    np.testing.assert_allclose(high, np.array([1e-9, 1.0, 500.0]) * np.exp(1.8))


def test_a_prediction_that_has_no_logarithm_is_the_worst_there_is():
    truth = 100 * np.exp(np.arange(1, 20) / 10)
    predictions = np.array([0.0, -5.0, *[100.0] * 17])
    found = Residuals.of(truth, predictions, "log")
    assert (found.rows, found.reach(0.85)) == (19, pytest.approx(1.9))  # the 17th, since two are worse
    assert found.reach(0.9) == math.inf


def test_a_model_of_numbers_keeps_the_residuals_of_its_validated_rows(tmp_path):
    y, validated = pd.Series([7, 1, 2, 4], index=[5, 3, 8, 1]), pd.Series([False, True, True, True], [5, 3, 8, 1])
    predictions = np.array([np.nan, np.e, 2 / np.e**2, 4 * np.e**4])
    numbers = learn(pd.DataFrame({"x": range(20), "y": np.arange(20) / 2}))
    intervals.keep(tmp_path, y, predictions, validated, numbers, "log")
    assert intervals.read(tmp_path) == ("log", 3, [2, 3], pytest.approx([2.0, 4.0]))
    intervals.keep(tmp_path, y, predictions, validated, numbers, "log", np.array([9.0, 2.0, 1.0, 1.0]))
    assert intervals.read(tmp_path) == ("log", *map(pytest.approx, (8 / 3, [4 / 3, 2, 8 / 3], [1.0, 2.0, 4.0])))
    (tmp_path / intervals.FILE).unlink()
    classes = learn(pd.DataFrame({"x": range(20), "y": [0, 1] * 10}))
    intervals.keep(tmp_path, y, predictions, validated, classes, "plain")
    assert intervals.read(tmp_path) is None


def test_an_interval_that_a_model_can_not_give_is_told(tmp_path):
    table = pd.DataFrame({"x": np.arange(60.0), "y": np.arange(60) / 7})
    number = registering.save(tmp_path / "number", table)
    binary = registering.save(tmp_path / "binary", table.assign(y=[0, 1] * 30))
    intervals.require(binary, None)
    with pytest.raises(SettingsError, match="answers a binary question: only a predicted number has an interval. Set"):
        intervals.require(binary, 0.9)
    with pytest.raises(SettingsError, match="^interval is 0.9, and .* keeps no out-of-fold residuals: .* Train anew"):
        intervals.require(number, 0.9)
    intervals.keep(number.path, table["y"], np.zeros(60), np.ones(60, bool), number.contract, "plain")
    intervals.require(number, 0.98)
    with pytest.raises(
        SettingsError, match="keeps 60 out-of-fold residuals, which is too few: .* enough for 0.983. Ask"
    ):
        intervals.require(number, 0.99)
    assert intervals.read(number.path).reach(0.983) < math.inf  # what is told is so


def test_the_holdout_says_which_share_the_intervals_hold():
    kept = Residuals.of(np.arange(1.0, 20), np.zeros(19))
    truth = np.array([-20.0, -19, -18, 0, 18, 18.5, 18, 1, 2, 3])
    found = intervals.measure(kept, truth, np.zeros(10), 0.9)
    share = stats.binomtest(7, 10).proportion_ci(method="wilson")
    assert found == {
        "level": 0.9, "rows": 10, "coverage": 0.7, "low": share.low, "high": share.high, "below": 0.2, "above": 0.1,
        "width": 36.0, "reach": 18.0, "scale": "plain",
    }  # fmt: skip
    scaled = intervals.measure(kept._replace(scale="log"), np.array([1.0, 2.0]), np.array([1.0, 3.0]), 0.5)
    assert scaled["width"] == pytest.approx(2 * (np.exp(10) - np.exp(-10)))
    assert intervals.measure(kept, truth, np.zeros(10), 0.99) is None
    assert intervals.measure(None, truth, np.zeros(10), 0.9) is None
    assert intervals.read(Path("nowhere")) is None


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_of_weighted_rows_so_much_of_the_weight_lies_within_as_was_asked_for(level):
    """Rows that weigh more are harder to predict, and new ones are drawn as often as they weigh."""
    generator, held = np.random.default_rng(6), []
    for _ in range(200):
        weights = generator.lognormal(size=100)
        kept = Residuals.of(weights * generator.normal(size=100), np.zeros(100), "plain", weights)
        new = generator.lognormal(mean=1, size=500)  # a lognormal distribution, weighted by itself
        held.append(np.mean(np.abs(new * generator.normal(size=500)) <= kept.reach(level)))
    assert np.mean(held) == pytest.approx(level, abs=0.025)


def test_weights_of_one_make_no_difference_and_uneven_ones_leave_fewer_rows():
    errors = np.random.default_rng(1).normal(size=200)
    plain, ones = (Residuals.of(errors, np.zeros(200), "plain", weights) for weights in (None, np.full(200, 0.3)))
    assert ones.rows == pytest.approx(200)
    np.testing.assert_allclose(ones.ranks, plain.ranks)
    assert ones.sizes == plain.sizes
    uneven = Residuals.of(errors, np.zeros(200), "plain", np.repeat([1.0, 9.0], 100))
    assert uneven.rows == pytest.approx(1000**2 / (100 * 82))


def test_the_share_that_is_held_is_one_of_the_weight():
    kept = Residuals.of(np.arange(1.0, 20), np.zeros(19))
    truth, weights = np.array([-20.0, 0, 5, 30]), np.array([1.0, 2, 3, 4])
    found = intervals.measure(kept, truth, np.zeros(4), 0.9, weights)
    assert (found["coverage"], found["below"], found["above"]) == pytest.approx((0.5, 0.1, 0.4))
    share = stats.binomtest(2, 3).proportion_ci(method="wilson")  # 100 / 30 rows tell as much, and 1.5 of 3 are held
    assert (found["rows"], found["low"], found["high"]) == (4, share.low, share.high)
