"""A real MLflow store, and models registered in it, for the tests of several modules."""

import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from conftest import learn, settings
from sklearn.linear_model import LinearRegression, LogisticRegression

from baton import config
from baton.handover import registry, tracking
from baton.training import preparation, tournament


@functools.cache
def empty_store() -> Path:
    """An MLflow store with nothing in it, to be copied: to make one takes seconds."""
    file = Path(tempfile.mkdtemp(prefix="mlflow-")) / "mlflow.db"
    tracking.connect(f"sqlite:///{file}").search_experiments()
    return file


def open_store(folder: Path, monkeypatch, **keys) -> tuple[config.Settings, dict]:
    """Make a folder the project, with an MLflow store and a training run in it: its settings and what `clean` found."""
    monkeypatch.setattr(config, "ROOT", folder)
    shutil.copy2(empty_store(), folder / "mlflow.db")
    asked = settings(mlflow_tracking_uri=f"sqlite:///{folder / 'mlflow.db'}", **keys)
    facts = {"task": "binary", "metric": "AUC", "data_digest": "abc"}
    return asked, facts | {"run_id": tracking.start_training(asked, facts, pd.DataFrame({"a": [1.0, 2.0]}))}


def fit(table: pd.DataFrame, target: str = "y", champion=None, **keys):
    """A linear model of a table's raw rows, and its contract."""
    asked = learn(table, target, champion, **keys)
    X, y = asked.read_features(table), asked.read_target(table)
    y = y.astype("float64") if asked.task == "regression" else y.infer_objects()
    estimator = LinearRegression() if asked.task == "regression" else LogisticRegression()
    return tournament.assemble(preparation.prepare(None, X, asked.task), estimator, None).fit(X, y), asked


def save(folder: Path, table: pd.DataFrame, **keys) -> registry.Model:
    """Save a linear model of a table, as a candidate's."""
    pipeline, asked = fit(table, **keys)
    y = asked.read_target(table).infer_objects()
    registry.save(folder, registry.model_arguments(pipeline, asked, asked.read_features(table), y, None))
    return registry.open_model(folder)


def register(
    saved: Path, arguments: dict, asked: config.Settings, facts: dict, candidate: str = "lr", fingerprints=(3, 1, 2, 2)
) -> registry.Model:  # fmt: skip
    """File a saved model as a candidate of the training, and register it, as `fit` and `compare` do."""
    run_id = tracking.log_candidate(
        facts, asked, candidate, params={"C": 1}, metrics={"x": 1.0, "nothing": float("nan")}, figures=str(saved / "metadata"),
        tables={}, training=pd.DataFrame({"a": [1.0]}), started=0,
    )  # fmt: skip
    model_uri = registry.log(run_id, arguments, asked.mlflow_tracking_uri)
    made = {"candidate": candidate, "run_id": run_id, "model_uri": model_uri}
    kept = np.array(fingerprints, dtype="uint64")
    return registry.register(made, saved, "because", kept, facts, asked.mlflow_tracking_uri)
