"""A model as a folder of files: saved, opened, and named by its content. It is never loaded here: see `registry`."""

import contextlib
import hashlib
import io
import json
import shutil
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import yaml

from baton import BatonError, config, models
from baton.data.contract import Contract
from baton.handover import intervals

# The rows that a version learned from, and those it was judged on, 8 bytes each: see `split.identify`.
FINGERPRINTS, JUDGED_ON = "fingerprints.npy", "judged_on.npy"
JUDGED = "judged"
NOT_OURS = "registered_model_meta"  # MLflow adds it to whatever folder it hands out

# A few raw rows that a model keeps, and the answers it gave to them when it was saved.
SAMPLE, ANSWERS = "sample.parquet", "sample.npy"
SAMPLE_ROWS = 50


class Model(NamedTuple):
    """A saved model: the folder it lies in and its contract; its registry version, run and tags, if it has them.

    A version's folder holds what serves and, where that was fitted anew on all rows, the model that was judged beside
    it, in `judged/`.
    """

    path: Path
    contract: Contract
    version: str | None = None
    run_id: str | None = None
    tags: dict[str, str] = {}

    @property
    def judged(self) -> "Model":
        """The model that was compared before it was promoted: it has not seen the holdout of then."""
        return self._replace(path=self.path / JUDGED) if (self.path / JUDGED).is_dir() else self

    @property
    def fingerprints(self) -> np.ndarray | None:
        """The sorted fingerprints of the rows that the judged model learned from; None if registered by version 0.1."""
        return _load_array(self.path / FINGERPRINTS)

    @property
    def judged_on(self) -> np.ndarray | None:
        """The sorted fingerprints of the holdout rows it was judged on; None if registered by version 0.1."""
        return _load_array(self.path / JUDGED_ON)

    @property
    def residuals(self) -> intervals.Residuals | None:
        """What intervals are made of; None for classes, or if trained before models kept them."""
        return intervals.read(self.path)

    def __str__(self) -> str:
        if self.version:
            return f"{self.contract.name} version {self.version}"
        inside = self.path.is_relative_to(config.ROOT)  # what is told of it is read on other machines, too
        return f"the model in {self.path.relative_to(config.ROOT) if inside else self.path}"


def model_arguments(pipeline, contract: Contract, X: pd.DataFrame, y: pd.Series, features: str | None) -> dict:
    """What MLflow is given when a model is saved or logged. `X` are features as `Contract.read_features` gives them."""
    from mlflow.models import infer_signature

    with quiet():
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
    needed |= {package for package, module in models.packages().items() if module in modules}
    return sorted(f"{package}=={version(package)}" for package in needed)


def save(path: Path, arguments: dict, sample: pd.DataFrame | None = None) -> int:
    """Save a model as it would be registered, without a tracking store; return the size of its file in bytes.

    `sample` are raw rows, to be kept with the model's answers to them; by default, those of the input example.
    """
    import mlflow.sklearn

    shutil.rmtree(path, ignore_errors=True)
    with quiet(arguments["sk_model"].steps):
        mlflow.sklearn.save_model(path=str(path), **arguments)
    sample = arguments["input_example"] if sample is None else sample
    _keep_sample(arguments["sk_model"], path, open_model(path).contract, sample)
    return (path / "model.skops").stat().st_size


def take_sample(training: pd.DataFrame) -> pd.DataFrame:
    """Take the few raw rows that a model keeps: the same of the same table."""
    return training.sample(min(SAMPLE_ROWS, len(training)), random_state=0)


def read_sample(path: Path) -> pd.DataFrame:
    """The raw rows that a model keeps; of one saved by version 0.1, MLflow's example."""
    if (path / SAMPLE).is_file():
        return pd.read_parquet(path / SAMPLE)
    return pd.DataFrame(**json.loads((path / "input_example.json").read_text()))


def open_model(path: Path, **where) -> Model:
    """Read what a saved model says of itself."""
    described = yaml.safe_load((path / "MLmodel").read_text())
    return Model(path, Contract.from_dict(json.loads(described["metadata"]["contract"])), **where)


def digest_files(folder: Path) -> str:
    """Name all files of a model by their paths and content, and links by where they lead: a SHA-256 in hex."""
    files = (file for file in folder.rglob("*") if file.is_symlink() or file.is_file() and file.name != NOT_OURS)
    named = {file.relative_to(folder).as_posix(): file for file in files if "__pycache__" not in file.parts}
    whole = hashlib.sha256()
    for name in sorted(named):
        file = named[name]
        leads = file.is_symlink()  # to a folder, say, in which Python would look for a library
        content = f"-> {file.readlink()}" if leads else hashlib.file_digest(file.open("rb"), "sha256").hexdigest()
        whole.update(f"{content} {name}\n".encode())
    return whole.hexdigest()


def probabilities(pipeline, X, contract) -> np.ndarray:
    """Predict probabilities (rows, classes) in the order of the contract's labels, or numbers (rows,)."""
    if contract.task == "regression":
        return pipeline.predict(X)
    order = [list(pipeline.classes_).index(label) for label in contract.labels]
    return pipeline.predict_proba(X)[:, order]


def _keep_sample(pipeline, folder: Path, contract, rows: pd.DataFrame) -> None:
    """Write some raw rows, and what a model answers to them, beside the model."""
    sample = rows[[column for column in contract.features if column in rows]].reset_index(drop=True)
    sample.to_parquet(folder / SAMPLE)
    # As they will be read: Parquet gives some values of another type than the table had.
    X = contract.read_features(pd.read_parquet(folder / SAMPLE))
    np.save(folder / ANSWERS, probabilities(pipeline, X, contract))


def _load_array(file: Path) -> np.ndarray | None:
    return np.load(file) if file.is_file() else None


@contextlib.contextmanager
def quiet(steps=()):
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
