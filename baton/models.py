"""The catalogue of models that a candidate can name: its questions, its package, its trusted types, its search.

The keys are PyCaret's ids, where it has the model. Their order is from the simplest model to the most complex, which
`choose: simplest` goes by. To offer another model, add it here; if its package is new, add that to `pyproject.toml`
too.
"""

import contextlib
import functools
import importlib.metadata
from typing import Any, NamedTuple

CLASSES, NUMBERS = "classes", "numbers"  # what a model can predict
BOTH = (CLASSES, NUMBERS)
ENSEMBLE = "ensemble"  # what a candidate names as its model that is made of the others: see `training/ensemble.py`
SCALED = "scaled"  # how rows are prepared for any model
NATIVE = "native"  # and for trees, which take them nearly as they are

# The packages that models come from: the name that installs it, and the one that imports it, which for the last two is
# the name of a group of pyproject.toml as well.
PACKAGES = {"scikit-learn": "sklearn", "lightgbm": "lightgbm", "xgboost-cpu": "xgboost", "catboost": "catboost"}

TREE = ("sklearn.tree._tree.Tree",)
NEIGHBOURS = (
    "sklearn.metrics._dist_metrics.ChebyshevDistance64",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.metrics._dist_metrics.MinkowskiDistance64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
)


class Range(NamedTuple):
    """Where a search looks for one parameter; whole numbers if both ends are."""

    low: float
    high: float
    log: bool = False


class Model(NamedTuple):
    """`trusted` are the types its file holds beside those that skops trusts by itself; `search` maps parameters to
    ranges, and without any a search goes by PyCaret's own.

    `classes` are the estimators, by what they predict, of a model that PyCaret does not have. `prepare` is how its rows
    are prepared unless a candidate names another way, see `preparation.prepare`; `categories` is the parameter that
    takes the places of the columns that are categories, and `poisson` what makes it fit counts. `usual` are parameters
    that hold unless a candidate names them. With `takes_codes`, it takes classes as 0, 1, … alone.
    """

    predicts: tuple[str, ...] = BOTH
    package: str = "scikit-learn"
    trusted: tuple[str, ...] = ()
    search: dict[str, Range] = {}
    classes: dict[str, str] = {}
    prepare: str = SCALED
    categories: str | None = None
    poisson: dict[str, str] = {}
    usual: dict[str, Any] = {}
    takes_codes: bool = False


CATALOGUE = {
    # linear
    "lr": Model(),
    "ridge": Model((NUMBERS,)),  # for classes it gives no probabilities; nor does svm
    "lasso": Model((NUMBERS,)),
    "en": Model((NUMBERS,)),
    "lar": Model((NUMBERS,)),
    "llar": Model((NUMBERS,)),
    "omp": Model((NUMBERS,)),
    "br": Model((NUMBERS,)),
    "ard": Model((NUMBERS,)),
    "huber": Model((NUMBERS,)),
    "par": Model((NUMBERS,)),
    "ransac": Model((NUMBERS,)),
    "tr": Model((NUMBERS,)),
    "svm": Model((NUMBERS,)),
    "lda": Model((CLASSES,)),
    "nb": Model((CLASSES,)),
    "qda": Model((CLASSES,)),
    # one tree, neighbours, kernels, a network
    # PyCaret's own search of this one, mlp and ada tries parameters that scikit-learn doesn't have any more, or never
    # had.
    "dt": Model(trusted=TREE, search={"max_depth": Range(1, 12), "min_samples_leaf": Range(1, 60, log=True)}),
    "knn": Model(trusted=NEIGHBOURS),
    "kr": Model((NUMBERS,)),
    "rbfsvm": Model((CLASSES,)),
    "gpc": Model(
        (CLASSES,),
        trusted=(
            "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
            "sklearn.gaussian_process.kernels.ConstantKernel",
            "sklearn.gaussian_process.kernels.Product",
            "sklearn.gaussian_process.kernels.RBF",
        ),
    ),
    "mlp": Model(
        trusted=(
            "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
            "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        ),
        search={"alpha": Range(0.00001, 1.0, log=True), "learning_rate_init": Range(0.0001, 0.1, log=True)},
    ),
    # many trees
    "ada": Model(
        trusted=TREE,
        search={"n_estimators": Range(10, 300, log=True), "learning_rate": Range(0.01, 1.0, log=True)},
    ),
    "et": Model(trusted=TREE),
    "rf": Model(trusted=TREE),
    "gbc": Model((CLASSES,), trusted=TREE),
    "gbr": Model((NUMBERS,), trusted=TREE),
    "hgb": Model(
        trusted=(
            "functools.partial",
            "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
            "sklearn.utils.validation.check_array",
        ),
        search={
            "learning_rate": Range(0.02, 0.3, log=True),
            "max_leaf_nodes": Range(6, 96, log=True),
            "min_samples_leaf": Range(5, 100, log=True),
            "max_features": Range(0.3, 1.0),
            "l2_regularization": Range(0.001, 30.0, log=True),
        },
        classes={
            CLASSES: "sklearn.ensemble.HistGradientBoostingClassifier",
            NUMBERS: "sklearn.ensemble.HistGradientBoostingRegressor",
        },
        prepare=NATIVE,
        categories="categorical_features",
        poisson={"loss": "poisson"},
    ),
    "lightgbm": Model(
        package="lightgbm",
        trusted=(
            "collections.OrderedDict",
            "lightgbm.basic.Booster",
            "lightgbm.sklearn.LGBMClassifier",
            "lightgbm.sklearn.LGBMRegressor",
        ),
        # PyCaret's own ranges are so wide (learning rates from 0.000001 on) that a few trials find nothing.
        search={
            "learning_rate": Range(0.02, 0.2, log=True),
            "num_leaves": Range(6, 96, log=True),
            "min_child_samples": Range(5, 100, log=True),
            "colsample_bytree": Range(0.3, 1.0),
            "subsample": Range(0.5, 1.0),
            "reg_lambda": Range(0.001, 30.0, log=True),
        },
        categories="categorical_feature",
        poisson={"objective": "poisson"},
        usual={"subsample_freq": 1},  # or it takes no notice of subsample
    ),
    "xgboost": Model(
        package="xgboost-cpu",
        trusted=("xgboost.core.Booster", "xgboost.sklearn.XGBClassifier", "xgboost.sklearn.XGBRegressor"),
        search={
            "learning_rate": Range(0.02, 0.3, log=True),
            "max_depth": Range(2, 10),
            "min_child_weight": Range(1.0, 30.0, log=True),
            "colsample_bytree": Range(0.3, 1.0),
            "subsample": Range(0.5, 1.0),
            "reg_lambda": Range(0.01, 30.0, log=True),
        },
        classes={CLASSES: "xgboost.XGBClassifier", NUMBERS: "xgboost.XGBRegressor"},
        poisson={"objective": "count:poisson"},
        takes_codes=True,
    ),
    "catboost": Model(
        package="catboost",
        trusted=("catboost.core.CatBoostClassifier", "catboost.core.CatBoostRegressor"),
        search={
            "learning_rate": Range(0.02, 0.3, log=True),
            "depth": Range(3, 9),
            "l2_leaf_reg": Range(0.5, 30.0, log=True),
        },
        poisson={"loss_function": "Poisson"},
        usual={"allow_writing_files": False},  # else it leaves a folder of logs wherever it is fitted
    ),
}

# The types that the steps before the model hold, and what is around one model, or several.
TRUSTED_STEPS = (
    "numpy.asarray",
    "numpy.dtype",
    "numpy.ravel",
    "scipy.interpolate._bsplines.BSpline",
    "scipy.interpolate._bsplines._BSpline",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.compose._column_transformer.make_column_selector",
    "sklearn.model_selection._split.GroupKFold",
    "sklearn.model_selection._split.KFold",
    "sklearn.model_selection._split.StratifiedGroupKFold",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.utils._bunch.Bunch",
)


def trusted_types() -> list[str]:
    """Every type that a model file may hold beside those that skops trusts by itself."""
    return sorted({*TRUSTED_STEPS, *(name for model in CATALOGUE.values() for name in model.trusted)})


def packages() -> dict[str, str]:
    """The packages of models that are installed here: the name of each, and the one it is imported by."""
    return {name: module for name, module in PACKAGES.items() if _is_installed(name)}


@functools.cache  # a grid asks for each of its candidates
def _is_installed(package: str) -> bool:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return bool(importlib.metadata.version(package))
    return False


def members(model: str) -> list[str]:
    """The ids that a candidate's model is made of: one, or those of a blend (`rf+lightgbm`) or `stack(rf+lightgbm)`.

    None, for an ensemble of other candidates.
    """
    return [] if model == ENSEMBLE else (model[len("stack(") : -1] if is_stack(model) else model).split("+")


def is_stack(model: str) -> bool:
    """Tell whether a candidate's model is a stack."""
    return model.startswith("stack(") and model.endswith(")")


def unable(model: str, task: str) -> list[str]:
    """The members of a candidate's model that can't answer this kind of question."""
    kind = NUMBERS if task == "regression" else CLASSES
    return [member for member in members(model) if kind not in CATALOGUE[member].predicts]


def usual_preparation(model: str) -> str:
    """How rows are prepared for a candidate's model; a blend and a stack share one way, which suits every member."""
    return CATALOGUE[model].prepare if model in CATALOGUE else SCALED


def complexity(model: str) -> tuple[int, bool, int]:
    """How complex a candidate's model is, to compare it with others: members, whether stacked, the most complex one."""
    if model == ENSEMBLE:
        return len(CATALOGUE), True, 0
    return len(members(model)), is_stack(model), max([*CATALOGUE].index(member) for member in members(model))


def describe(candidate: dict) -> str:
    """Say in a few words what a candidate is: an entry of the grid, with what `fit` has found of it."""
    tune = candidate["tune"]
    params = [f"{name}={value}" for name, value in candidate["model_params"].items()]
    prepare = candidate.get("prepare", "auto")
    params += [f"prepare={prepare}"] if prepare != "auto" else []
    params += {"log": ["of the target's logarithm"], "poisson": ["of Poisson counts"]}.get(
        candidate.get("target_scale"), []
    )
    limits = dict(tune) if isinstance(tune, dict) else {"trials": tune}
    by = f" by {rows} rows" if (rows := limits.pop("rows", None)) else ""
    by += f" (sampler: {sampler})" if (sampler := limits.pop("sampler", None)) else ""
    tuned = " or ".join(f"{limit} {unit}" for unit, limit in limits.items()) + by
    params += ["with its texts"] if candidate.get("texts") else []
    params += ["calibrated"] if candidate.get("calibrated") else []
    params += [f"{name} without weights" for name in candidate.get("unweighted") or []]
    params += [f"{share:.0%} {name}" for name, share in candidate.get("weights", {}).items()]
    return ", ".join([candidate["model"], *params, *([f"tuned in {tuned}"] if tune else [])])
