"""From raw rows to the numbers an estimator takes: the user's feature code first, then a step that is fitted.

Everything here is plain scikit-learn, so a registered model needs nothing of Baton to run.
"""

import traceback
from pathlib import Path

import pandas as pd
from sklearn.base import TransformerMixin
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from baton import BatonError, config


def clean_and_derive(rows: pd.DataFrame, features) -> pd.DataFrame:
    """Apply the feature file's functions, those it has; with no file, rows stay as they are."""
    for name, step in stateless_steps(features):
        try:
            rows = step.transform(rows)
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            where = next((frame for frame in frames if frame.name == name), frames[-1])
            raise BatonError(
                f"{Path(where.filename).name}, line {where.lineno}, {name}: {type(error).__name__}: {error}"
            ) from error
    return rows


def stateless_steps(features) -> list[tuple[str, FunctionTransformer]]:
    """The first steps of every model: the feature file's functions as pipeline steps."""
    return [
        (name, FunctionTransformer(getattr(features, name))) for name in config.FEATURE_STEPS if hasattr(features, name)
    ]


def prepare(features) -> TransformerMixin:
    """Make the unfitted step that every fold fits anew: the feature file's own `prepare()`, or the usual one.

    The usual one fills a number's holes with its median and marks them, scales, and one-hot encodes all else, with
    values seen fewer than ten times, or never, together.
    """
    if hasattr(features, "prepare"):
        return features.prepare()
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    others = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=10, sparse_output=False)
    return make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (others, make_column_selector(dtype_exclude="number")),
    )
