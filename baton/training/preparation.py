"""From raw rows to the numbers an estimator takes: the user's feature code first, then a step that is fitted.

Everything here is plain scikit-learn, so a registered model needs nothing of Baton to run.
"""

import contextlib
import functools
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
from sklearn.base import TransformerMixin
from sklearn.compose import make_column_transformer
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import AdaBoostClassifier, AdaBoostRegressor
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import RANSACRegressor
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.utils.metadata_routing import MetadataRequest
from sklearn.utils.validation import has_fit_parameter

from baton import BatonError, config
from baton.data.split import choose_splitter
from baton.models import NATIVE, SCALED, usual_preparation

FEW = 30  # values of a text that are one-hot encoded each
CODES = 200  # values of a text that are codes of categories; histogram boosting takes 255
OFTEN = 25  # rows a value of more needs on average, for its mean target to say something
COMMON = 10  # rows a value needs to have a column to itself; in a small table fewer, down to RARE
RARE = 3
CATEGORIES = "native_categories"  # names what gives their codes, and nothing that a feature file makes
WORDS = 3  # on average, from which on a text that hardly repeats is sentences, and no names
TOPICS = 30  # that sentences become
DAY, WEEK, YEAR = 86_400, 604_800, 31_556_952  # seconds
NOT_A_TIME = float(np.iinfo("int64").min)
UNGROUPED = {GroupKFold: KFold, StratifiedGroupKFold: StratifiedKFold}


def clean_and_derive(rows: pd.DataFrame, features) -> pd.DataFrame:
    """Apply the feature file's functions, those it has; with no file, rows stay as they are."""
    for _, step in stateless_steps(features):
        rows = _call(step.func, rows)
    return rows


def stateless_steps(features) -> list[tuple[str, FunctionTransformer]]:
    """The first steps of every model: the feature file's functions as pipeline steps."""
    return [
        (name, FunctionTransformer(getattr(features, name))) for name in config.FEATURE_STEPS if hasattr(features, name)
    ]


def select(training: pd.DataFrame, features) -> pd.Series:
    """Tell which training rows the feature file's `select()` lets a model learn from; without one, all.

    `training` are raw rows with their target. All rows are predicted and scored: what is left out here comes again.
    """
    if not hasattr(features, "select"):
        return pd.Series(True, training.index)
    kept = _call(features.select, training)
    if not isinstance(kept, pd.DataFrame) or not kept.index.isin(training.index).all() or kept.empty:
        raise BatonError(
            f"{Path(features.__file__).name}, select: return some of the rows that come in, such as"
            ' `rows[rows["price"] > 0]`; they keep their index'
        )
    return pd.Series(training.index.isin(kept.index), training.index)


def hardly_repeats(texts: pd.Series) -> bool:
    """Tell a text of names and remarks: more than half of its values are different."""
    return texts.nunique() > len(texts) / 2


def is_free_text(texts: pd.Series) -> bool:
    """Tell sentences, of several words that are many in all and come again, from names and codes."""
    if not hardly_repeats(texts) or texts.dropna().astype(str).str.split().str.len().mean() < WORDS:
        return False
    words = CountVectorizer(min_df=RARE).build_analyzer()
    found = pd.Series([*{*words(text)}] for text in texts.dropna().astype(str)).explode().value_counts()
    return int((found >= RARE).sum()) >= 8 * TOPICS  # in a part of the rows there are fewer


def prepare(
    features, rows: pd.DataFrame, task: str, grouped: bool = False, how: str = "auto", usual: str = SCALED,
    texts: bool = False,
) -> TransformerMixin:  # fmt: skip
    """Make the unfitted step that every fold fits anew: the feature file's own, or one that suits most models.

    `how` is "scaled", "native", a function of the feature file, or "auto": its `prepare()` or, without one, `usual`.

    `rows` are looked at for the kinds of their columns, and for how many values a text has. Scaled: numbers are filled
    with their median, missing ones marked, and scaled. A text of few values is one-hot encoded, rare ones together; one
    of many, each often repeated, becomes the mean target of its value, cross-fitted (with `grouped`, by the groups that
    `fit` is given); one that hardly repeats is left out, but with `texts` sentences become topics (TF-IDF and a
    truncated SVD); so they do if there is nothing else. A date becomes a point in time and its place in the day, the
    week and the year. Native: numbers stay as they are, missing ones too, and a text of few values becomes codes, the
    places of which `categories` gives.
    """
    asked = "prepare" if how == "auto" else how
    function = getattr(features, asked, None)
    if how not in (SCALED, NATIVE) and callable(function) and asked not in (*config.FEATURE_STEPS, "select"):
        return _call(function)
    if how not in ("auto", SCALED, NATIVE):
        why = "features in env.yaml is none"
        if features:
            why = f"{Path(features.__file__).name} has no function of this name that makes a step"
        raise BatonError(f"prepare: {how}: {why}. Write one, or take {SCALED} or {NATIVE}")
    native = (usual if how == "auto" else how) == NATIVE
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    common = int(np.clip(len(rows) / 100, RARE, COMMON))
    encoder = OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=common, max_categories=FEW + 1, sparse_output=False
    )
    # A missing text is None in a table read here, and NaN or None in JSON: different values to an encoder, so both are
    # filled.
    filled = make_pipeline(
        FunctionTransformer(np.asarray, kw_args={"dtype": "object"}, feature_names_out="one-to-one"),
        SimpleImputer(missing_values=np.nan, strategy="constant", fill_value=""),
        SimpleImputer(missing_values=None, strategy="constant", fill_value=""),
    )
    names = make_pipeline(filled, encoder)
    folds = choose_splitter(task != "regression", grouped)(5, shuffle=True, random_state=0)
    kind = "continuous" if task == "regression" else task
    means = make_pipeline(filled, TargetEncoder(target_type=kind, cv=folds), StandardScaler())

    text = rows.select_dtypes(exclude=["number", "datetime"])
    # True and false of a feature file, maybe with missing ones: no order holds them and "".
    flags = [column for column in text if pd.api.types.infer_dtype(text[column]) == "boolean"]
    text = text.drop(columns=flags)
    values = text.nunique()
    many = (values > FEW) & (values <= len(rows) / OFTEN)
    hardly = text.apply(hardly_repeats) if len(text.columns) else values > 0
    steps = [
        (numbers, rows.select_dtypes("number").columns),
        (names, text.columns[~many & ~hardly]),
        (means, text.columns[many]),
        (encoder, flags),
        *((_calendar(), [column]) for column in rows.select_dtypes("datetime")),
    ]
    if native:
        codes = OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=np.nan, min_frequency=RARE, max_categories=CODES
        )
        # Of names, too, some are frequent.
        often = [column for column in text.columns[~many] if (text[column].value_counts() >= RARE).sum() > 1]
        steps[:2] = [(make_pipeline(filled, codes), often), ("passthrough", steps[0][1])]
    used = [(step, list(columns)) for step, columns in steps if len(columns)]
    if texts or not used:
        used += [(_topics(filled), [column]) for column in text.columns[hardly] if is_free_text(text[column])]
    if not used:
        raise BatonError(
            f"none of the columns can be learned from: {', '.join(map(str, rows.columns))} hardly repeat a value."
            " Derive something from them in features.py"
        )
    made = make_column_transformer(*used)
    if native and steps[0][1]:
        made.transformers[0] = (CATEGORIES, *made.transformers[0][1:])
    return made


def of_candidate(
    entry: dict, features, rows: pd.DataFrame, folds: pd.DataFrame, task: str
) -> tuple[TransformerMixin, TransformerMixin | None]:
    """Make the step of a candidate, as its entry in the grid asks, and the one to be tried that knows sentences too."""
    grouped, usual = bool(folds["group"].duplicated().any()), usual_preparation(entry["model"])
    given = features, rows, task, grouped, entry["prepare"], usual
    return prepare(*given), prepare_texts(*given)


def prepare_texts(features, rows: pd.DataFrame, *how) -> TransformerMixin | None:
    """Make the step that learns from sentences too; None without any, or where the step is the feature file's own."""
    usual, found = (prepare(features, rows, *how, texts=texts) for texts in (False, True))
    return found if len(getattr(found, "transformers", [])) > len(getattr(usual, "transformers", [])) else None


def categories(prepare: TransformerMixin) -> list[int]:
    """The places, in what a native preparation gives, of the columns that are codes of categories."""
    name, _, columns = getattr(prepare, "transformers", [("", None, [])])[0]
    return [*range(len(columns))] if name == CATEGORIES else []


def fit(
    pipeline: Pipeline, X: pd.DataFrame, y: pd.Series, groups: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> Pipeline:  # fmt: skip
    """Fit a pipeline; one whose encoder is cross-fitted by group is given the groups (rows,), if they are enough.

    With weights (rows,), each model in it that takes any is given them: see `unweighted`. Columns are prepared without.
    What all weights are multiplied by makes no difference.
    """
    y = np.asarray(y)  # scikit-learn's calibration asks for the first by `y[0]`, which is a label of a table's index
    grouped, ungrouped = encoder_folds(pipeline)
    taken = weights is not None and any(_takes_weights(part) for part in _parts(pipeline) if hasattr(part, "predict"))
    # Of mean 1: with weights in millions, no model would be regularised any more.
    given = {"sample_weight": weights / np.mean(weights)} if taken else {}
    if groups is None or len(np.unique(groups)) < max((folds.n_splits for folds in grouped.values()), default=0):
        pipeline.set_params(**ungrouped)
    elif grouped:
        given["groups"] = groups
    if not given:
        return pipeline.fit(X, y)
    with sklearn.config_context(enable_metadata_routing=True), _asking_for_weights(pipeline):
        return pipeline.fit(X, y, **given)


def unweighted(pipeline: Pipeline) -> list[str]:
    """The kinds of model in a pipeline that take no weights of rows, such as KNeighborsClassifier."""
    return sorted({type(model).__name__ for model in _models(pipeline) if not _takes_weights(model)})


def encoder_folds(pipeline: Pipeline) -> tuple[dict, dict]:
    """Find the parameters by which encoders are cross-fitted by group, and what makes them go row by row."""
    grouped = {name: value for name, value in pipeline.get_params().items() if type(value) in UNGROUPED}
    return grouped, {
        name: UNGROUPED[type(value)](value.n_splits, shuffle=True, random_state=0) for name, value in grouped.items()
    }


def _parts(pipeline: Pipeline) -> list:
    """A pipeline and all steps and models in it."""
    return [part for part in [pipeline, *pipeline.get_params().values()] if hasattr(part, "fit")]


def _models(pipeline: Pipeline) -> list:
    """The models in a pipeline, and none that is around others, such as a blend."""
    return [part for part in _parts(pipeline) if hasattr(part, "predict") and len(_parts(part)) == 1]


@contextlib.contextmanager
def _asking_for_weights(pipeline: Pipeline):
    """Within this, the models in a pipeline ask scikit-learn's routing for weights, and the steps before them do not.

    Their classes do so: what each asked for by itself, as `set_fit_request` has it, would be saved with it, and models
    that know nothing of routing, as CatBoost's, could not.
    """
    asking = {
        (type(part), "__metadata_request__fit"): {"sample_weight": hasattr(part, "predict")}
        for part in _parts(pipeline)
        if has_fit_parameter(part, "sample_weight")
    }
    asking |= {
        (type(model), "get_metadata_routing"): _ask_for_weights if _takes_weights(model) else _ask_for_nothing
        for model in _models(pipeline)
    }
    asking |= {
        (type(part), "fit_transform"): _without_routing(type(part).fit_transform)
        for part in _parts(pipeline)
        if isinstance(part, TargetEncoder)
    }
    before = {(kind, name): vars(kind)[name] for kind, name in asking if name in vars(kind)}
    for (kind, name), value in asking.items():
        setattr(kind, name, value)
    try:
        yield
    finally:
        for kind, name in asking:
            delattr(kind, name)
        for (kind, name), value in before.items():
            setattr(kind, name, value)


def _without_routing(fit_transform: Callable) -> Callable:
    """An encoder that is given no groups would look for them all the same."""

    @functools.wraps(fit_transform)
    def fit(encoder, X, y, **groups):
        with sklearn.config_context(enable_metadata_routing=bool(groups)):
            return fit_transform(encoder, X, y, **groups)

    return fit


def _takes_weights(model) -> bool:
    refused = {AdaBoostClassifier, AdaBoostRegressor, RANSACRegressor}  # of what is routed, or their own model does
    return has_fit_parameter(model, "sample_weight") and type(model) not in refused


def _ask_for_weights(model) -> MetadataRequest:
    asked = _ask_for_nothing(model)
    asked.fit.add_request(param="sample_weight", alias=True)
    return asked


def _ask_for_nothing(model) -> MetadataRequest:
    return MetadataRequest(owner=model)


def _call(function, *rows: pd.DataFrame):
    """Call a function of the feature file; of an error, say in which line of it."""
    try:
        return function(*rows)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        where = next((frame for frame in frames if frame.name == function.__name__), frames[-1])
        why = f"{type(error).__name__}: {error}"
        if isinstance(error, KeyError):
            why = (
                f"the rows have no column {error}. If this file was written for another table, set features in"
                " env.yaml to none, or to a file for this one"
            )
        raise BatonError(f"{Path(where.filename).name}, line {where.lineno}, {function.__name__}: {why}") from error


def _topics(filled):
    """What a column of sentences is about: its words by TF-IDF, brought down to a few numbers."""
    return make_pipeline(
        filled,
        FunctionTransformer(np.ravel, feature_names_out="one-to-one"),
        TfidfVectorizer(min_df=RARE, max_features=20_000, sublinear_tf=True),
        TruncatedSVD(TOPICS, random_state=0),
        StandardScaler(),
    )


def _calendar():
    """A date as a point in time, and where in the day, the week and the year it lies."""
    unchanged = {"feature_names_out": "one-to-one"}
    cycles = [
        SplineTransformer(knots=np.linspace(0, period, parts + 1)[:, None], extrapolation="periodic")
        for period, parts in ((DAY, 8), (WEEK, 7), (YEAR, 12))
    ]
    return make_pipeline(
        # Seconds, whatever unit the column counts in; a missing date becomes the least number of all.
        FunctionTransformer(np.asarray, kw_args={"dtype": "datetime64[s]"}, **unchanged),
        FunctionTransformer(np.asarray, kw_args={"dtype": "float64"}, **unchanged),
        SimpleImputer(strategy="median", missing_values=NOT_A_TIME, keep_empty_features=True),
        make_union(StandardScaler(), *cycles),
    )
