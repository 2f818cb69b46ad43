"""The feature code of the sample table, which the tests' project has: rows in, rows out, each by itself."""

import numpy as np
import pandas as pd
import pytest
from conftest import PROJECT, load_script

from baton import config

features = load_script(PROJECT / "features.py")

MEASURED = ["Glucose", "BloodPressure", "SkinThickness", "Insulin", "BMI"]
OTHERS = ["Pregnancies", "DiabetesPedigreeFunction", "Age"]
DERIVED = ["GlucoseTimesInsulin", "GlucosePerAge", "BMITimesAge"]

RAW = pd.read_csv(config.ROOT / "data" / "diabetes_train.csv").drop(columns="Outcome").astype("float64")
ONE = {
    "Pregnancies": 6,
    "Glucose": 148,
    "BloodPressure": 72,
    "SkinThickness": 35,
    "Insulin": 81,
    "BMI": 33.6,
    "Age": 50,
}


def row(**changed) -> pd.DataFrame:
    return pd.DataFrame([ONE | {"DiabetesPedigreeFunction": 0.627} | changed], index=[7]).astype("float64")


def ready(rows: pd.DataFrame) -> pd.DataFrame:
    return features.derive(features.clean(rows))


@pytest.mark.parametrize("step", [features.clean, features.derive, ready])
@pytest.mark.parametrize("rows", [RAW, RAW.sample(frac=0.3, random_state=1), RAW.set_axis([0] * len(RAW)), RAW.head(0)])
def test_each_row_comes_out_once_and_where_it_was(step, rows):
    pd.testing.assert_index_equal(step(rows).index, rows.index)
    assert [*step(rows)][: rows.shape[1]] == [*rows]


@pytest.mark.parametrize("step", [features.clean, features.derive, ready])
def test_the_rows_that_came_in_are_left_as_they_were(step):
    given = RAW.copy(deep=True)
    step(given)
    pd.testing.assert_frame_equal(given, RAW)


@pytest.mark.parametrize("column", MEASURED)
def test_a_zero_that_stands_for_no_measurement_becomes_missing(column):
    cleaned = features.clean(row(**{column: 0}))
    assert np.isnan(cleaned.at[7, column])
    pd.testing.assert_frame_equal(cleaned.drop(columns=column), row().drop(columns=column))


@pytest.mark.parametrize("column", OTHERS)
def test_a_zero_elsewhere_is_a_zero(column):
    assert features.clean(row(**{column: 0})).at[7, column] == 0


def test_only_zeros_are_changed():
    pd.testing.assert_frame_equal(features.clean(RAW), RAW.mask((RAW == 0) & RAW.columns.isin(MEASURED)))


def test_the_derived_columns_are_these():
    assert [column for column in ready(RAW) if column not in RAW] == DERIVED


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, [148 * 81 / 405, 148 / 50, 33.6 * 50 / 100]),
        ({"Glucose": 90, "Insulin": 9, "Age": 30, "BMI": 20}, [2.0, 3.0, 6.0]),
        ({"Glucose": 0}, [np.nan, np.nan, 16.8]),
        ({"Insulin": 0}, [np.nan, 2.96, 16.8]),
        ({"BMI": 0}, [29.6, 2.96, np.nan]),
        ({"BMI": np.nan, "Insulin": np.nan}, [np.nan, 2.96, np.nan]),
    ],
)
def test_derived_values_are_these_and_missing_where_a_part_is(changed, expected):
    assert ready(row(**changed))[DERIVED].loc[7].tolist() == pytest.approx(expected, nan_ok=True)


def test_an_age_of_zero_gives_no_infinite_number():
    """Imputation refuses infinity, so one such row would stop a whole night's batch."""
    assert not np.isinf(ready(row(Age=0))).to_numpy().any()


@pytest.mark.parametrize("step", [features.clean, features.derive, ready])
def test_a_row_alone_gets_what_it_gets_among_others(step):
    """Nothing is learned from other rows, so what is scored by night is what was seen in training."""
    rows = RAW.head(50)
    alone = pd.concat([step(rows.iloc[[number]]) for number in range(len(rows))])
    pd.testing.assert_frame_equal(alone, step(rows))
