"""What is particular to the diabetes table: which zeros mean "not measured", and what a physician would derive.

This is the file to edit for a table of your own. Each function takes raw rows and returns new ones of the same
length: rows in, rows out, nothing read and nothing dropped. A registered model carries a copy of this file, so an
edit changes the next model and none of those already registered.
"""

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

# Nobody lives with a blood pressure of zero: in these columns the survey wrote 0 where it measured nothing.
ZERO_MEANS_MISSING = ["Glucose", "BloodPressure", "SkinThickness", "Insulin", "BMI"]


def clean(rows: pd.DataFrame) -> pd.DataFrame:
    """Mark the zeros that stand for a missing measurement as missing."""
    return rows.assign(**{column: rows[column].replace(0, np.nan) for column in ZERO_MEANS_MISSING})


def derive(rows: pd.DataFrame) -> pd.DataFrame:
    """Add what risk scores for diabetes use: insulin resistance, and weight and glucose weighed by age."""
    return rows.assign(
        GlucoseTimesInsulin=rows["Glucose"] * rows["Insulin"] / 405,  # as in HOMA-IR, mg/dL times µU/mL
        GlucosePerAge=rows["Glucose"] / rows["Age"],
        BMITimesAge=rows["BMI"] * rows["Age"] / 100,
    )


def prepare():
    """Make the unfitted step that turns cleaned rows into the numbers an estimator takes."""
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    categories = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=10, sparse_output=False)
    return make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (categories, make_column_selector(dtype_exclude="number")),
    )
