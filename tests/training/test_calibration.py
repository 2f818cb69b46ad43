"""Calibration: as sklearn.calibration does it, only where it helps, and no fold has a say in how it is predicted."""

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV

from baton.training import calibration

RATIO = 0.25


def binary(count: int = 1200, temperature: float = 1.0, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, probabilities that are too sure by this factor (1: right), and folds."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=1.5, size=count)
    truth = (generator.random(count) < expit(logits)).astype(float)
    given = expit(logits * temperature)
    return truth, np.column_stack([1 - given, given]), np.arange(count) % 5


class AsGiven(ClassifierMixin, BaseEstimator):
    """Its rows are its probabilities."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return self.classes_[X.argmax(axis=1)]

    def predict_proba(self, X):
        return X


@pytest.mark.parametrize("classes", [2, 4])
def test_the_temperature_is_scikit_learns(classes):
    generator = np.random.default_rng(3)
    logits = generator.normal(size=(800, classes))
    truth = np.array([generator.choice(classes, p=row) for row in softmax(logits, axis=1)])
    given = softmax(logits * 2.5, axis=1)
    found = calibration.find_temperature(truth, given)
    assert 2 < found < 3.2
    theirs = CalibratedClassifierCV(AsGiven(), method="temperature", ensemble=False).fit(given, truth)
    np.testing.assert_allclose(calibration.apply(given, found), theirs.predict_proba(given), atol=1e-6)


@pytest.mark.parametrize(("temperature", "helps"), [(3.0, True), (0.4, True), (1.0, False)])
def test_probabilities_are_calibrated_where_they_are_off_and_stay_as_they_are_where_not(temperature, helps):
    truth, given, fold = binary(temperature=temperature)
    calibrated, taken, found = calibration.cross_fit(truth, given, fold, RATIO)
    assert found == helps
    np.testing.assert_array_equal(taken, calibrated if helps else given)
    for number in range(5):  # by the temperature of the others
        here = fold == number
        by_others = calibration.apply(given[here], calibration.find_temperature(truth[~here], given[~here]))
        np.testing.assert_array_equal(calibrated[here], by_others)
    assert (calibration.log_loss(truth, taken) < calibration.log_loss(truth, given)) == helps


def test_right_probabilities_are_seldom_calibrated():
    """An error of at most a few per cent: one standard error, of five folds, as for any difference here."""
    found = [calibration.cross_fit(*binary(300, seed=seed), RATIO)[2] for seed in range(200)]
    assert np.mean(found) < 0.1


@pytest.mark.parametrize(("temperature", "helps"), [(3.0, True), (1.5, False)])
def test_a_fold_has_no_say_in_whether_it_is_calibrated(temperature, helps):
    """Four folds are too sure; the fifth is right, and so is left worse: the others decide, here as there."""
    truth, given, fold = binary(temperature=temperature)
    right = binary()[1]
    given[fold == 4] = right[fold == 4]
    calibrated, taken, found = calibration.cross_fit(truth, given, fold, RATIO)
    assert found == helps  # of all five together
    np.testing.assert_array_equal(taken[fold == 4], calibrated[fold == 4])
    assert calibration.log_loss(truth[fold == 4], taken[fold == 4]) > calibration.log_loss(
        truth[fold == 4], right[fold == 4]
    )
    # And one that is too sure among four that are right stays so.
    truth, given, fold = binary()
    given[fold == 2] = binary(temperature=3.0)[1][fold == 2]
    taken = calibration.cross_fit(truth, given, fold, RATIO)[1]
    np.testing.assert_array_equal(taken[fold == 2], given[fold == 2])


def test_a_larger_share_of_validated_rows_asks_for_more():
    gain = [calibration.cross_fit(*binary(200, 1.5, seed), ratio)[2] for ratio in (0.0, 2.0) for seed in range(40)]
    assert sum(gain[:40]) > sum(gain[40:])


@pytest.mark.parametrize("change", ["a rare class", "two folds"])
def test_too_little_to_tell_changes_nothing(change):
    truth, given, fold = binary(temperature=3.0)
    if change == "two folds":
        fold = fold % 2
    else:
        truth[np.flatnonzero(truth)[24:]] = 0
    assert calibration.cross_fit(truth, given, fold, RATIO)[2] is False
    np.testing.assert_array_equal(calibration.cross_fit(truth, given, fold, RATIO)[1], given)


def test_rows_that_no_fold_validates_have_no_say():
    truth, given, fold = binary(temperature=3.0)
    apart = np.arange(len(truth)) < 300
    truth[apart], fold[apart], given[apart] = 1 - truth[apart], -1, np.nan
    calibrated, taken, found = calibration.cross_fit(truth, given, fold, RATIO)
    assert found
    kept = [part[~apart] for part in (truth, given, fold)]
    np.testing.assert_array_equal(calibrated[~apart], calibration.cross_fit(*kept, RATIO)[0])
    assert np.isnan(taken[apart]).all()


def test_impossible_is_never_that_sure():
    found = calibration.apply(np.array([[0.0, 1.0], [0.5, 0.5]]), 2.0)
    assert 0 < found[0, 0] < 1e-6
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_a_weight_of_two_counts_as_two_rows():
    """The rows that weigh much are too sure, the others are not sure enough."""
    truth, given, fold = binary(600, temperature=3.0)
    other, careful, _ = binary(600, temperature=0.4, seed=2)
    truth, given, fold = np.append(truth, other), np.vstack([given, careful]), np.append(fold, fold)
    times = np.repeat([5, 1], 600)
    many = [np.repeat(one, times, axis=0) for one in (truth, given, fold)]
    expected = calibration.find_temperature(*many[:2])
    assert calibration.find_temperature(truth, given, 0.1 * times) == pytest.approx(expected, rel=1e-4)
    assert calibration.find_temperature(truth, given) < 0.9 * expected
    assert calibration.log_loss(truth, given, times) == pytest.approx(calibration.log_loss(*many[:2]))
    found, twice = calibration.cross_fit(truth, given, fold, RATIO, times), calibration.cross_fit(*many, RATIO)
    assert found[2] == twice[2]
    for one, two in zip(found[:2], twice[:2], strict=True):
        np.testing.assert_allclose(np.repeat(one, times, axis=0), two, atol=1e-4)
