"""Whether probabilities are as sure as they should be; where they are not, one temperature for all of them.

A temperature makes every probability surer or less sure and keeps the order of rows (Guo et al., 2017). Boosted trees
are mostly too sure, forests not sure enough.
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from baton.training import evaluation

FEWEST = 25  # rows of the rarest class, with which a temperature is fitted


def cross_fit(
    truth: np.ndarray, predictions: np.ndarray, fold: np.ndarray, test_train_ratio: float,
    weights: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, bool]:  # fmt: skip
    """Calibrate out-of-fold probabilities (rows, classes), each fold by the temperature of the others.

    `truth` holds codes (rows,), and `fold` -1 for rows that are not validated. Returns all probabilities calibrated;
    those to go by, where a fold is calibrated if the others gain by it; and whether all of them do: if the log loss
    falls by more than its standard error, for which see `evaluation.compare_to_best`.
    """
    numbers, calibrated, taken = np.unique(fold[fold >= 0]), predictions.copy(), predictions.copy()
    counts = np.bincount(truth[fold >= 0].astype(int), minlength=predictions.shape[1])
    if len(numbers) < 3 or counts.min() < FEWEST:
        return calibrated, taken, False
    gains = np.empty(len(numbers))
    for place, number in enumerate(numbers):
        here, others = fold == number, (fold >= 0) & (fold != number)
        temperature = find_temperature(truth[others], predictions[others], evaluation.part(weights, others))
        calibrated[here] = apply(predictions[here], temperature)
        before, after = (
            log_loss(truth[here], of[here], evaluation.part(weights, here)) for of in (predictions, calibrated)
        )
        gains[place] = before - after

    def helps(gains: np.ndarray) -> bool:
        return bool(gains.mean() > gains.std(ddof=1) * np.sqrt(1 / len(gains) + test_train_ratio))

    for place, number in enumerate(numbers):
        if helps(np.delete(gains, place)):
            taken[fold == number] = calibrated[fold == number]
    return calibrated, taken, helps(gains)


def find_temperature(truth: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The temperature with which the log loss is least, as `sklearn.calibration` finds it: above 1, less sure."""

    def loss(log_beta: float) -> float:
        given = log_softmax(np.exp(log_beta) * _logarithms(predictions), axis=1)[rows, codes]
        return -np.average(given, weights=weights)

    rows, codes = np.arange(len(truth)), truth.astype(int)
    return float(np.exp(-minimize_scalar(loss, bounds=(-10, 10)).x))


def apply(predictions: np.ndarray, temperature: float) -> np.ndarray:
    """Make probabilities less sure by a temperature above 1, or surer by one below."""
    return softmax(_logarithms(predictions) / temperature, axis=1)


def log_loss(truth: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The mean log loss, in natural logarithms."""
    return float(evaluation.METRICS["Log Loss"].function(truth, predictions, predictions.shape[1], weights))


def _logarithms(predictions: np.ndarray) -> np.ndarray:
    return np.log(predictions + np.finfo(float).eps)
