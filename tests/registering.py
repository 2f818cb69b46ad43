"""A real MLflow store, and models registered in it, for the tests of several modules."""

import dataclasses
import functools
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import sqlalchemy
from conftest import PROGRAMS, answers, learn, serving, settings
from sklearn.linear_model import LinearRegression, LogisticRegression

from baton import config
from baton.handover import filing, history, registry, saving, tracking
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


def fit(table: pd.DataFrame, target: str = "y", champion=None, threshold: float | None = None, **keys):
    """A linear model of a table's raw rows, and its contract."""
    asked = dataclasses.replace(learn(table, target, champion, **keys), threshold=threshold)
    X, y = asked.read_features(table), asked.read_target(table)
    y = y.astype("float64") if asked.task == "regression" else y.infer_objects()
    estimator = LinearRegression() if asked.task == "regression" else LogisticRegression()
    return tournament.assemble(preparation.prepare(None, X, asked.task), estimator, None, asked).fit(X, y), asked


def save(folder: Path, table: pd.DataFrame, **keys) -> saving.Model:
    """Save a linear model of a table, as a candidate's."""
    pipeline, asked = fit(table, **keys)
    y = asked.read_target(table).infer_objects()
    saving.save(folder, saving.model_arguments(pipeline, asked, asked.read_features(table), y, None))
    return saving.open_model(folder)


def write_products(folder: Path, saved: Path, **record) -> dict[str, str]:
    """Write what a candidate's task makes besides its model, which is `saved` already; return the paths by name."""
    made = {name: folder / name for name in ("record", "scores", "html", "figures")}
    made["figures"].mkdir(parents=True)
    (made["figures"] / "roc.png").write_bytes(b"picture")
    made["scores"].write_text("fold,AUC\n0,0.5\n")
    made["html"].write_text("the page")
    record = {"params": {}, "metrics": {}, "trials": [], "started": time.time()} | record
    made["record"].write_text(json.dumps(record))
    return {name: str(path) for name, path in (made | {"model": saved}).items()}


def file(saved: Path, asked: config.Settings, facts: dict, candidate: str = "lr", **record) -> str:
    """File a saved model as a candidate of the training; return the id of its run."""
    with tempfile.TemporaryDirectory() as folder:
        return filing.file_once(
            write_products(Path(folder), saved, **record), candidate, facts, asked.mlflow_tracking_uri
        )


def register(
    saved: Path, asked: config.Settings, facts: dict, candidate: str = "lr", fingerprints=(3, 1, 2, 2)
) -> saving.Model:  # fmt: skip
    """File a saved model as a candidate of the training, and register it, as `fit` and `compare` do."""
    run_id = file(saved, asked, facts, candidate, params={"C": 1}, metrics={"x": 1.0, "nothing": float("nan")})
    return register_version(saved, run_id, asked, fingerprints=fingerprints)


def register_version(saved: Path, run_id: str, asked: config.Settings, fingerprints=(3, 1, 2, 2), **tags):
    """Register a saved model of a run with what a version has beside it."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(saved, folder, dirs_exist_ok=True)
        np.save(Path(folder, saving.FINGERPRINTS), np.unique(np.array(fingerprints, dtype="uint64")))
        model = saving.open_model(Path(folder), run_id=run_id)
        return registry.register(model, {"serves": "training"} | tags, "because", asked.mlflow_tracking_uri)


def kill_on_the_way(work: Callable[[], object], kill_at: int) -> int:
    """Do this in a process that kills itself at a step: a file or a statement of the store. Return the steps.

    At none for 0.
    """
    counted = multiprocessing.Value("i", 0)

    def step(*_):
        counted.value += 1
        if counted.value == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def run():
        sqlalchemy.event.listen(sqlalchemy.Engine, "commit", step)
        sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", step)
        sys.addaudithook(
            lambda name, arguments: step() if name in {"os.rename", "shutil.copyfile", "os.mkdir"} else None
        )
        work()

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join()
    assert process.exitcode == (0 if kill_at == 0 else -signal.SIGKILL)
    return counted.value


def serve_store(address: str, store: Path, artifacts: Path, log: Path):
    """An MLflow server at an address of this machine, on a store and a folder of files, while this is entered."""
    command = [PROGRAMS / "mlflow", "server", "--host", "127.0.0.1", "--port", address.rpartition(":")[2]]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{store}"]
    command += ["--artifacts-destination", str(artifacts)]
    how = {"env": os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}}
    return serving(command, lambda: answers(f"{address}/health"), log, **how)


def promote(version: saving.Model, asked: config.Settings) -> None:
    """Make a version champion, as a training does."""
    name, uri = version.contract.name, asked.mlflow_tracking_uri
    champion = history.champion_version(name, uri)
    history.move(name, history.Event(history.PROMOTED, version.version, champion, "it is better", "superior"), uri)
