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

from baton import BatonError, config, models
from baton.data.contract import Contract
from baton.handover import tracking

CHAMPION = "champion"

# The rows that a version learned from, 8 bytes each, in a file beside its model: see `split.identify`.
FINGERPRINTS = "fingerprints.npy"


class Model(NamedTuple):
    """A saved model: the folder it lies in and its contract; its registry version and run, if it has them."""

    path: Path
    contract: Contract
    version: str | None = None
    run_id: str | None = None

    @property
    def fingerprints(self) -> np.ndarray | None:
        """The sorted fingerprints of the rows it learned from; None if it was registered before they were kept."""
        file = self.path / FINGERPRINTS
        return np.load(file) if file.is_file() else None

    def __str__(self) -> str:
        return f"{self.contract.name} version {self.version}" if self.version else f"the model in {self.path}"


def model_arguments(pipeline, contract: Contract, X: pd.DataFrame, y: pd.Series, features: str | None) -> dict:
    """What MLflow is given when a model is saved or logged. `X` are features as `Contract.read_features` gives them."""
    from mlflow.models import infer_signature

    with _quiet():
        signature = infer_signature(X, y.head(100))
    return {
        "sk_model": pipeline,
        "signature": signature,
        "input_example": X.head(3),
        "code_paths": [str(config.resolve(features))] if features else None,
        "skops_trusted_types": trusted_types(features),
        "serialization_format": "skops",
        "pip_requirements": requirements(pipeline),
        # As text: MLflow sorts the keys, and columns have an order.
        "metadata": {"contract": json.dumps(contract.to_dict())},
    }


def trusted_types(features: str | None) -> list[str]:
    """The project's list of types that a model file may hold, and the two functions of this model's feature file.

    MLflow believes the list inside the artifact, which guards nothing against who can write the artifact.
    """
    steps = [f"{Path(features).stem}.{function}" for function in config.FEATURE_STEPS] if features else []
    return models.trusted_types() + steps


def requirements(pipeline) -> list[str]:
    """The packages it takes to run a model, as installed here: of its file format, and of each estimator in it."""
    estimators = [pipeline, *(value for value in pipeline.get_params().values() if hasattr(value, "get_params"))]
    modules = {type(estimator).__module__.partition(".")[0] for estimator in estimators}
    needed = {"mlflow", "scikit-learn", "skops", "pandas", "numpy"}
    needed |= {package for package in models.packages() if package.replace("-", "_") in modules}
    return sorted(f"{package}=={version(package)}" for package in needed)


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


def open_model(path: Path, **where) -> Model:
    """Read what a saved model says of itself."""
    described = yaml.safe_load((path / "MLmodel").read_text())
    return Model(path, Contract.from_dict(json.loads(described["metadata"]["contract"])), **where)


def find_champion(name: str, tracking_uri: str) -> Model | None:
    """Resolve the alias `champion` to the version it names now; None if none was ever promoted."""
    from mlflow.exceptions import MlflowException

    client = tracking.connect(tracking_uri)
    try:
        found = client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None
        raise
    return version_of(name, found.version, tracking_uri)


def champion_contract(settings: config.Settings) -> Contract | None:
    """The contract of the champion that a training is to be compared with; None where there is none to compare with."""
    store = tracking.resolve_uri(settings.mlflow_tracking_uri)
    local = store.startswith("sqlite:///")
    if not settings.track or (local and not Path(store.removeprefix("sqlite:///")).is_file()):
        return None
    champion = find_champion(settings.name, settings.mlflow_tracking_uri)
    return champion.contract if champion else None


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
    found = find_champion(name, tracking_uri)
    if found is None:
        raise BatonError(
            f"there is no champion for {name!r} in {tracking_uri}: train one with `ploomber build`, or set name and"
            " mlflow_tracking_uri in env.yaml to where one is registered. (If training found none better than the"
            f" baseline, the end of products/{name}/compare/compare.html says so.)"
        )
    return found


def register(
    candidate: dict, path: Path, reason: str, fingerprints: np.ndarray, training: dict, tracking_uri: str
) -> Model:  # fmt: skip
    """Register a training's winner as the next version, with the fingerprints of the rows it learned from.

    A model that is registered already keeps its version. Where nothing is tracked, it is the model as saved in `path`.
    """
    if training["run_id"] is None:
        return open_model(path)
    import mlflow

    name, run_id, model_uri = open_model(path).contract.name, candidate["run_id"], candidate["model_uri"]
    client = tracking.connect(tracking_uri)
    tracking.require_run(client, run_id)
    earlier = [found for found in client.search_model_versions(f"name='{name}'") if found.run_id == run_id]
    tags = {
        "candidate": candidate["candidate"],
        "training_run": training["run_id"],
        "data_digest": training["data_digest"],
    }
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, FINGERPRINTS), np.unique(fingerprints))
        client.log_model_artifact(model_uri.rpartition("/")[2], str(Path(folder, FINGERPRINTS)))
        version = earlier[0] if earlier else mlflow.register_model(model_uri, name, tags=tags)
    client.update_model_version(name, version.version, reason)
    return version_of(name, version.version, tracking_uri)


def promote(model: Model, tracking_uri: str) -> None:
    """Give a registered version the alias `champion`; nothing to do for a model that is not registered."""
    if model.version:
        tracking.connect(tracking_uri).set_registered_model_alias(model.contract.name, CHAMPION, model.version)


def predict(model: Model, X: pd.DataFrame) -> np.ndarray:
    """Run a saved model, in a process of its own, on features as `Contract.read_features` gives them.

    Returns probabilities (rows, classes) in the order of the contract's labels, or numbers (rows,).
    Raises `BatonError` if the file holds a type that is not on the list, or the model fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        rows, predictions = Path(folder, "rows.parquet"), Path(folder, "predictions.npy")
        X.reset_index(drop=True).to_parquet(rows)
        order = json.dumps({"model": str(model.path), "rows": str(rows), "predictions": str(predictions)})
        done = subprocess.run(
            [sys.executable, "-m", "baton.handover.runner", order], capture_output=True, text=True, cwd=config.ROOT
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise BatonError(f"{model} could not predict: {reason}")
        return np.load(predictions)


def predict_all(models: list[Model], table: pd.DataFrame) -> list[np.ndarray]:
    """Run several models on the same raw rows, each read by its own contract, side by side."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return [*pool.map(lambda model: predict(model, model.contract.read_features(table)), models)]


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
                " If you trust them, add them to its catalogue entry in baton/models.py"
            ) from error
