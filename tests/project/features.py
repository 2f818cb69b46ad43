"""What is particular to the diabetes table: which zeros mean "not measured", and what a physician would derive.

This is the file to edit for a table of your own. Each function takes raw rows and returns new ones of the same
length: rows in, rows out, nothing read and nothing dropped. A registered model carries a copy of this file, so an
edit changes the next model and none of those already registered.

What fills missing values, scales and encodes comes after this and is the same for every table: it is in
baton/training/preparation.py. To have your own, add a function `prepare()` here that returns an unfitted scikit-learn
transformer. To leave rows out of training alone, add `select(rows)`: it takes the training rows, target included, and
returns those to learn from.
"""

import numpy as np
import pandas as pd

# Nobody lives with a blood pressure of zero: in these columns the survey wrote 0 where it measured nothing.
ZERO_MEANS_MISSING = ["Glucose", "BloodPressure", "SkinThickness", "Insulin", "BMI"]


def clean(rows: pd.DataFrame) -> pd.DataFrame:
    """Mark the zeros that stand for a missing measurement as missing."""
    return rows.assign(**{column: rows[column].replace(0, np.nan) for column in ZERO_MEANS_MISSING})


def derive(rows: pd.DataFrame) -> pd.DataFrame:
    """Add what risk scores for diabetes use: insulin resistance, and weight and glucose weighed by age."""
    return rows.assign(
        GlucoseTimesInsulin=rows["Glucose"] * rows["Insulin"] / 405,  # as in HOMA-IR, mg/dL times µU/mL
        GlucosePerAge=rows["Glucose"] / rows["Age"].replace(0, np.nan),
        BMITimesAge=rows["BMI"] * rows["Age"] / 100,
    )
