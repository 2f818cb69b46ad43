"""Experiments in MLflow: one parent run for a training, one child for each candidate.

Every function that writes takes the parent's id and does nothing where it is None: that is all `track: false` is.
"""

import contextlib
import logging
import os
import subprocess
import sys
import tempfile
import time
import urllib.parse
import warnings
from pathlib import Path

import pandas as pd
from filelock import FileLock

from baton import BatonError, config
from baton.data import tables
from baton.handover import store

BUILD = "BATON_BUILD"  # of the environment of a build's workers, and a training's tag: names the build
TYPES = 10_000  # rows by which the types of a table's columns are told


def resolve_uri(uri: str) -> str:
    """Anchor a relative SQLite file at the project, so that every task means the same store wherever it was started.

    `${NAME}` is filled in from the environment.
    """
    prefix = "sqlite:///"
    if uri.startswith("file:") or "://" not in uri and not uri.startswith("databricks"):
        raise BatonError(f"mlflow_tracking_uri {uri!r}: MLflow keeps no runs in plain folders; use sqlite:///mlflow.db")
    return prefix + str(config.resolve(uri.removeprefix(prefix))) if uri.startswith(prefix) else config.fill_in(uri)


def connect(uri: str):
    """Point MLflow at the store and return its client. The first call of all creates the store."""
    import mlflow

    resolved = _sign_in(resolve_uri(uri))
    # A hook runs in a fresh process, or in one that another pipeline has used: never trust what was set before.
    mlflow.set_tracking_uri(resolved)
    mlflow.set_registry_uri(resolved)
    # Its progress bars and advice would be written into every notebook; its errors are raised, not logged.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    # A server that does not answer is waited for two minutes at most, not twenty.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    # A signature's numbers are doubles here; and a file's name says enough of where rows came from.
    warnings.filterwarnings("ignore", "Hint: Inferred schema contains integer column")
    warnings.filterwarnings("ignore", "The specified dataset source can be interpreted in multiple ways")
    try:
        # Two trainings, of different names, may start in a new folder at once; two processes that make a store break
        # it.
        file = store.file_of(resolved)
        with FileLock(f"{file}.lock") if file else contextlib.nullcontext():
            client = mlflow.MlflowClient(resolved)
            if file:
                store.make_movable(file)
            return client
    except Exception as error:
        reason = config.hide(str(error).splitlines()[0], uri)  # below it, the SQL
        raise BatonError(f"mlflow_tracking_uri {uri!r}: the store can't be opened: {reason}") from None


def complaint(error: Exception) -> str | None:
    """What MLflow says, in a line, if an error is MLflow's own, such as that a server does not answer; else None."""
    raised = sys.modules.get("mlflow.exceptions")  # it takes seconds to import, and has raised nothing before that
    if raised is None or not isinstance(error, raised.MlflowException):
        return None
    said = str(error).partition("\n")[0]
    if error.error_code == "UNAUTHENTICATED":
        return (
            f"the MLflow server does not know this login: {said}. See to MLFLOW_TRACKING_USERNAME and"
            " MLFLOW_TRACKING_PASSWORD, to MLFLOW_TRACKING_TOKEN, or to what mlflow_tracking_uri in env.yaml names"
        )
    if error.error_code == "PERMISSION_DENIED":
        return (
            f"the MLflow server says that this login may not do it: {said}. Ask who owns the experiment and the model"
            " of this name for the right to edit them, or take another name in env.yaml"
        )
    return f"MLflow says: {said}. See to the store: mlflow_tracking_uri in env.yaml, or --to"


def is_missing(error, client, name: str) -> bool:
    """Whether MLflow refuses something of a registered model because there is none of this name.

    A server with logins says so of no model: it says that nobody has the right to it.
    """
    return error.error_code == "RESOURCE_DOES_NOT_EXIST" or (
        error.error_code == "PERMISSION_DENIED" and not client.search_registered_models(f"name='{name}'")
    )


def _sign_in(uri: str) -> str:
    """Give a server's user and password to MLflow apart from its address, which stands in each of its errors."""
    url = urllib.parse.urlsplit(uri)
    if url.scheme not in {"http", "https"} or not url.password:
        return uri
    os.environ["MLFLOW_TRACKING_USERNAME"] = urllib.parse.unquote(url.username)
    os.environ["MLFLOW_TRACKING_PASSWORD"] = urllib.parse.unquote(url.password)
    return url._replace(netloc=url.netloc.rpartition("@")[2]).geturl()


def start_training(settings: config.Settings, tags: dict, training: pd.DataFrame) -> str | None:
    """Open the parent run of a training and return its id; None if nothing is tracked.

    This also creates the store, and writes the training rows into it, before the candidates fan out: two processes
    that do either at the same moment break it. Within a build, it is opened once: a task whose process was killed is
    run again.
    """
    if not settings.track:
        return None
    import mlflow

    client, build = connect(settings.mlflow_tracking_uri), os.environ.get(BUILD)
    experiment = _require_experiment(client, settings.name, settings.mlflow_tracking_uri)
    for earlier in client.search_runs([experiment], f"tags.{BUILD} = '{build}'") if build else ():
        if earlier.info.status == "FINISHED":
            return earlier.info.run_id
        client.delete_run(earlier.info.run_id)
    tags = tags_of(tags | ({BUILD: build} if build else {}))
    name = time.strftime("training %Y-%m-%d %H:%M")
    with mlflow.start_run(experiment_id=experiment, run_name=name, tags=tags) as run:
        mlflow.log_input(_dataset(training, settings.train_data), context="training")
        return run.info.run_id


def copy_run(run_id: str, settings: config.Settings, there: config.Settings) -> str:
    """Copy a run with its parameters, metrics, tags and artifacts into another store, once; return its id there.

    A copy that was not written whole is made anew the next time, and taken back then, where its user may delete it.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    client = connect(settings.mlflow_tracking_uri)
    run = require_run(client, run_id)
    with tempfile.TemporaryDirectory() as folder:
        files = client.download_artifacts(run_id, "", folder)
        other = connect(there.mlflow_tracking_uri)
        experiment = _require_experiment(other, there.name, there.mlflow_tracking_uri)
        copies = other.search_runs([experiment], f"tags.copy_of = '{run_id}'")
        if whole := [copy.info.run_id for copy in copies if copy.info.status == run.info.status]:
            return whole[0]
        for broken in copies:
            with contextlib.suppress(MlflowException):
                other.delete_run(broken.info.run_id)
        tags = {key: value for key, value in run.data.tags.items() if key in {"mlflow.runName"} or "mlflow." not in key}
        tags = tags | {"copy_of": run_id}
        copied = other.create_run(experiment, start_time=run.info.start_time, tags=tags).info.run_id
        with mlflow.start_run(run_id=copied):
            mlflow.log_params(run.data.params)
            mlflow.log_metrics(run.data.metrics)
            mlflow.log_artifacts(files)
        other.set_terminated(copied, run.info.status, run.info.end_time)
    return copied


def log_failure(parent: str | None, uri: str, candidate: str, error: str, notebook: Path) -> None:
    """Leave a FAILED run that says why the candidate failed, with its notebook as far as it got."""
    if parent is None:
        return
    client = connect(uri)
    experiment = require_run(client, parent).info.experiment_id
    labels = tags_of({"candidate": candidate, "mlflow.parentRunId": parent, "mlflow.runName": candidate})
    run_id = client.create_run(experiment, tags=labels).info.run_id
    client.set_tag(run_id, "error", error[:5000])
    client.log_text(run_id, error, "error.txt")
    if notebook.is_file():
        client.log_artifact(run_id, str(notebook), "notebook")
    client.set_terminated(run_id, "FAILED")


def log_result(parent: str | None, uri: str, *, metrics: dict, tags: dict, figures: dict, tables: dict) -> None:
    """Write the outcome of a training to its parent run; a figure that is None was not drawn."""
    if parent is None:
        return
    import mlflow

    client = connect(uri)
    with mlflow.start_run(run_id=require_run(client, parent).info.run_id):
        mlflow.set_tags(tags)
        mlflow.log_metrics(metrics)
        for name, figure in figures.items():
            if figure is not None:
                mlflow.log_figure(figure, f"figures/{name}.png")
        for name, frame in tables.items():
            mlflow.log_text(frame.to_csv(), f"tables/{name}.csv")


def file_report(run_id: str | None, uri: str, report: Path) -> None:
    """Add a task's report to its run."""
    if run_id is not None:
        client = connect(uri)
        client.log_artifact(require_run(client, run_id).info.run_id, str(report), "notebook")


def log_batch(manifest: dict, folder: Path, uri: str) -> str:
    """Enter a batch, of which `folder` holds the result, as a run of `<name>-batches`, once; return the run's id."""
    client, name = connect(uri), f"{manifest['name']}-batches"
    experiment = _require_experiment(client, name, uri)
    tags = {"batch": manifest["batch"], "key": manifest["key"], "model_version": manifest["model_version"]}
    same = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    earlier = client.search_runs([experiment], same)
    run = earlier[0] if earlier else client.create_run(experiment, tags=tags_of(tags), run_name=manifest["batch"])
    run_id = run.info.run_id
    counts = {key: manifest[key] for key in ("rows_in", "rows_scored", "rows_rejected", "seconds", "rows_per_second")}
    counts |= {f"rejected_{reason}": rows for reason, rows in manifest["rejected"].items()}
    for key, value in counts.items():
        client.log_metric(run_id, key, value)
    for file in ("_manifest.json", "_report.html"):
        client.log_artifact(run_id, str(folder / file))
    client.set_terminated(run_id)
    return run_id


def git_commit() -> str:
    """The commit the project stands at, "+changes" if it was edited since; "none" outside git."""

    def git(*command):
        try:
            return subprocess.run(["git", *command], cwd=config.ROOT, capture_output=True, text=True).stdout.strip()
        except FileNotFoundError:  # a container may have no git
            return ""

    commit = git("rev-parse", "--short", "HEAD")
    return (commit + ("+changes" if git("status", "--porcelain") else "")) if commit else "none"


def tags_of(tags: dict) -> dict:
    """Tags as MLflow takes them, with the commit the project stands at."""
    return {key: str(value) for key, value in ({"git_commit": git_commit()} | tags).items()}


def log_values(client, run_id: str, metrics: dict, params: dict, when: int | None = None) -> None:
    """Write metrics, those that are numbers, and parameters at once; `when` is in milliseconds, by default now."""
    from mlflow.entities import Metric, Param

    when = when or int(time.time() * 1000)
    client.log_batch(
        run_id,
        metrics=[Metric(key, value, when, 0) for key, value in metrics.items() if value == value],
        params=[Param(key, str(value)) for key, value in params.items()],
    )


def _dataset(rows: pd.DataFrame, source: str):
    import mlflow

    # MLflow's own digest knows the first 10,000 rows, and its types of columns take 10 s of a million.
    named = {"name": Path(source).stem, "source": source, "digest": tables.digest(rows)}
    if tables.is_database(source):  # MLflow knows no such source; the name says what was asked of it
        named |= {"name": source.partition("#")[2][:200], "source": None}
    dataset = mlflow.data.from_pandas(rows, **named)
    dataset.schema = mlflow.data.from_pandas(rows.head(TYPES), **named).schema
    return dataset


def require_run(client, run_id: str):
    """Return a run of the store; raise `BatonError` if it is not there."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise BatonError(
            f"run {run_id}, which products/ remembers, is not in the MLflow store: the store was moved or deleted."
            " Train anew with `ploomber build --force`."
        ) from None


def _require_experiment(client, name: str, uri: str) -> str:
    """Return the id of the experiment of this name, which is made if there is none."""
    found = client.get_experiment_by_name(name)
    if found is None:
        local = store.file_of(resolve_uri(uri))  # a server has a place of its own
        return client.create_experiment(name, artifact_location=store.location(name) if local else None)
    if found.lifecycle_stage == "deleted":
        raise BatonError(
            f"the MLflow experiment {name!r} was deleted: `mlflow experiments restore -x {found.experiment_id}`, or"
            " change name in env.yaml"
        )
    return found.experiment_id
