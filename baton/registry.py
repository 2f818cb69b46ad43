"""Models as they are registered: saved with their feature code, addressed by alias, run in a process of their own.

The only module that saves or loads a model, or talks to MLflow's registry.

A version carries the feature file it was trained with, but Python keeps the first module of a name it imports: a
process that has the checkout's `features` would run a champion with today's code, and say nothing. So a model is
never loaded here: `predict` starts a fresh interpreter, which finds the version's own file first.
"""

import concurrent.futures
import contextlib
import io
import json
import shutil
import subprocess
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import yaml

from baton import BatonError, config, tracking
from baton.contract import Contract

CHAMPION = "champion"

# The types a model file may hold besides those skops trusts by itself. MLflow believes the list inside the artifact,
# which guards nothing against who can write the artifact: this one is the project's own, and `predict` holds to it.
TRUSTED_TYPES = [
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "numpy.asarray",
    "numpy.dtype",
    "scipy.interpolate._bsplines.BSpline",
    "scipy.interpolate._bsplines._BSpline",
    "sklearn.compose._column_transformer.make_column_selector",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.MinkowskiDistance64",
    "sklearn.model_selection._split.KFold",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
]

# What it takes to run a model, written into it: the libraries its file format depends on, as installed here.
REQUIREMENTS = [
    f"{package}=={version(package)}" for package in ("mlflow", "scikit-learn", "lightgbm", "skops", "pandas", "numpy")
]


class Model(NamedTuple):
    """A saved model: the folder it lies in and its contract; its registry version and run, if it has them."""

    path: Path
    contract: Contract
    version: str | None = None
    run_id: str | None = None

    def __str__(self) -> str:
        return f"{self.contract.name} version {self.version}" if self.version else f"the model in {self.path}"


def model_arguments(pipeline, contract: Contract, rows: pd.DataFrame, target: pd.Series, features: str | None) -> dict:
    """What MLflow is told when a model is saved or logged. `rows` are raw features as `Contract.rows` gives them."""
    from mlflow.models import infer_signature

    with _quiet():
        signature = infer_signature(rows, target.head(100))
    return {
        "sk_model": pipeline,
        "signature": signature,
        "input_example": rows.head(3),
        "code_paths": [str(config.resolve(features))] if features else None,
        "skops_trusted_types": trusted_types(features),
        "serialization_format": "skops",
        "pip_requirements": REQUIREMENTS,
        "metadata": {
            "contract": json.dumps(contract.to_dict())
        },  # as text: MLflow sorts the keys, and columns have an order
    }


def trusted_types(features: str | None) -> list[str]:
    """The project's list, and the two functions of this model's feature file."""
    own = [f"{Path(features).stem}.{function}" for function in config.FEATURE_STEPS] if features else []
    return TRUSTED_TYPES + own


def save(path: Path, arguments: dict) -> int:
    """Save a model as it would be registered, without a tracking store; return the size of its file in bytes."""
    import mlflow.sklearn

    shutil.rmtree(path, ignore_errors=True)
    with _quiet(arguments["sk_model"].steps):
        mlflow.sklearn.save_model(path=str(path), **arguments)
    return (path / "model.skops").stat().st_size


def log(run_id: str | None, arguments: dict, tracking_uri: str) -> str | None:
    """Add a model to its candidate's run and return its URI; a run whose model can't be written ends as FAILED."""
    if run_id is None:
        return None
    import mlflow.sklearn

    tracking.connect(tracking_uri)
    with mlflow.start_run(run_id=run_id), _quiet(arguments["sk_model"].steps):
        return mlflow.sklearn.log_model(name="model", **arguments).model_uri


def open_model(path: Path, **known) -> Model:
    """Read what a saved model says of itself."""
    described = yaml.safe_load((path / "MLmodel").read_text())
    return Model(path, Contract(**json.loads(described["metadata"]["contract"])), **known)


def champion(name: str, tracking_uri: str) -> Model | None:
    """Resolve the alias `champion` to the version it names now; None if no champion was ever crowned."""
    from mlflow.exceptions import MlflowException

    client = tracking.connect(tracking_uri)
    try:
        found = client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None
        raise
    return version_of(name, found.version, tracking_uri)


def version_of(name: str, number: str, tracking_uri: str) -> Model:
    """Fetch one registered version."""
    import mlflow

    client = tracking.connect(tracking_uri)
    found = client.get_model_version(name, number)
    try:
        path = mlflow.artifacts.download_artifacts(f"models:/{name}/{number}", tracking_uri=client.tracking_uri)
        return open_model(Path(path), version=str(found.version), run_id=found.run_id)
    except Exception as error:
        raise BatonError(f"{name} version {number} is registered, but its files can't be read: {error}") from error


def require_champion(name: str, tracking_uri: str) -> Model:
    """Resolve the champion, or raise `BatonError` saying how to get one."""
    found = champion(name, tracking_uri)
    if found is None:
        raise BatonError(
            f"there is no champion for {name!r} in {tracking_uri}: train one with `ploomber build`, or set name and"
            " mlflow_tracking_uri in env.yaml to where one is registered. (If training found none better than a guess, the"
            " end of products/compare/compare.html says so.)"
        )
    return found


def register(name: str, model_uri: str, run_id: str, description: str, tags: dict, tracking_uri: str) -> Model:
    """Register a logged model as the next version; a model that is registered already keeps its version."""
    import mlflow

    client = tracking.connect(tracking_uri)
    tracking.require_run(client, run_id)
    earlier = [found for found in client.search_model_versions(f"name='{name}'") if found.run_id == run_id]
    with _quiet():
        made = (
            earlier[0] if earlier else mlflow.register_model(model_uri, name, tags={k: str(v) for k, v in tags.items()})
        )
    client.update_model_version(name, made.version, description)
    return version_of(name, made.version, tracking_uri)


def enter(candidate: dict, path: Path, reason: str, training: dict, tracking_uri: str) -> Model:
    """Register a build's winner; where nothing is tracked, take the model as it was saved in its folder."""
    if training["run_id"] is None:
        return open_model(path)
    name = open_model(path).contract.name
    tags = {
        "candidate": candidate["candidate"],
        "training_run": training["run_id"],
        "data_digest": training["data_digest"],
    }
    return register(name, candidate["model_uri"], candidate["run_id"], reason, tags, tracking_uri)


def rival(name: str, training: dict, tracking_uri: str) -> Model | None:
    """The champion to beat; None if there is none yet, or nothing is tracked."""
    return champion(name, tracking_uri) if training["run_id"] else None


def crown_if(promote: bool, model: Model, tracking_uri: str) -> None:
    """Give a registered version the alias `champion` if the verdict says so."""
    if promote and model.version:
        tracking.connect(tracking_uri).set_registered_model_alias(model.contract.name, CHAMPION, model.version)


def predict(model: Model, rows: pd.DataFrame) -> np.ndarray:
    """Run a saved model, in a process of its own, on raw features as `Contract.rows` gives them.

    Returns probabilities (rows, classes) in the order of the contract's labels, or numbers (rows,).
    Raises `BatonError` if the file holds a type that is not on the list, or the model fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, taken = Path(folder, "rows.parquet"), Path(folder, "predictions.npy")
        rows.reset_index(drop=True).to_parquet(given)
        order = json.dumps({"model": str(model.path), "rows": str(given), "predictions": str(taken)})
        done = subprocess.run(
            [sys.executable, "-m", "baton.runner", order], capture_output=True, text=True, cwd=config.ROOT
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise BatonError(f"{model} could not predict: {reason}")
        return np.load(taken)


def predict_all(models: list[Model], table: pd.DataFrame) -> list[np.ndarray]:
    """Run several models on the same raw rows, each read by its own contract, side by side."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return [*pool.map(lambda model: predict(model, model.contract.rows(table)), models)]


@contextlib.contextmanager
def _quiet(steps=()):
    """Keep MLflow's advice out of the notebooks, and say what to do about a type that skops doesn't trust."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        except Exception as error:
            if "ntrusted" not in str(error):
                raise
            raise BatonError(
                f"the model (steps {', '.join(name for name, _ in steps)}) holds types that are not trusted: {error}."
                " If you trust them, add them to TRUSTED_TYPES in baton/registry.py"
            ) from error
