"""The embedded store in another folder than it was made in: it must never turn to the first one."""

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import urllib.request
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import registering
from conftest import PROGRAMS, answers, copy_sources, free_port, serving, warm_command
from matplotlib.figure import Figure
from test_old_registry import ROWS, unpack

from baton import config
from baton.data import tables
from baton.handover import registry, saving, store, tracking

TABLE = pd.DataFrame({"a": np.arange(40) % 7.0, "y": [0, 1] * 20})


def uri_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


def locations(folder: Path) -> set[str]:
    """All that a store says of where its files lie."""
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as opened:
        found = [opened.execute(f"SELECT {column} FROM {table}").fetchall() for table, column in store.LOCATIONS]
    return {location for rows in found for (location,) in rows if not location.startswith("models:/")}


def ask_champion(folder: Path, rows: pd.DataFrame) -> np.ndarray:
    champion = registry.find_champion("diabetes", uri_of(folder))
    return registry.predict(champion, champion.contract.read_features(rows))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def laptop(tmp_path, monkeypatch) -> tuple[Path, np.ndarray]:
    """A folder in which a champion was trained, and what that answers."""
    folder = tmp_path / "laptop"
    folder.mkdir()
    asked, facts = registering.open_store(folder, monkeypatch, name="diabetes")
    pipeline, contract = registering.fit(TABLE, name="diabetes")
    X = contract.read_features(TABLE)
    saving.save(folder / "saved", saving.model_arguments(pipeline, contract, X, TABLE["y"], None))
    run_id = registering.file(folder / "saved", asked, facts)
    registering.promote(registering.register_version(folder / "saved", run_id, asked), asked)
    return folder, pipeline.predict_proba(X)


def test_a_folder_that_was_moved_has_its_champion_and_nothing_in_it_says_where_it_was(laptop, tmp_path, monkeypatch):
    made, expected = laptop
    server = made.rename(tmp_path / "the server")
    monkeypatch.setattr(config, "ROOT", server)
    np.testing.assert_array_equal(ask_champion(server, TABLE), expected)
    assert [name for name, content in contents(server).items() if str(made).encode() in content] == []
    assert not made.exists()


def test_what_mlflows_own_programs_write_and_delete_is_in_the_copy_alone(laptop, tmp_path):
    made, _ = laptop
    copy, original = shutil.copytree(made, tmp_path / "copy"), contents(made)
    client = mlflow.MlflowClient(uri_of(copy))
    run_id = client.search_runs(["1"], "tags.candidate = 'lr'")[0].info.run_id
    files = copy / "mlruns" / "diabetes" / run_id / "artifacts"
    how = {"cwd": tmp_path, "env": os.environ | {"MLFLOW_TRACKING_URI": uri_of(copy)}, "check": True}
    (tmp_path / "note.txt").write_text("later")
    command = ["artifacts", "log-artifact", "--local-file", "note.txt", "--run-id", run_id, "--artifact-path", "notes"]
    subprocess.run([*warm_command(), "mlflow", *command], **how)
    assert (files / "notes" / "note.txt").read_text() == "later"
    client.delete_run(run_id)
    subprocess.run([*warm_command(), "mlflow", "gc", "--backend-store-uri", uri_of(copy)], **how)
    assert not files.exists()
    assert contents(made) == original


@pytest.mark.parametrize("fate", ["used where it was made", "moved", "copied, and the original spoiled"])
def test_a_store_of_an_older_version_is_put_right_when_it_is_opened(tmp_path, fate):
    made, folder = tmp_path / "made here", tmp_path / "now here"
    made.mkdir()
    unpack(made)
    assert {location.partition("/mlruns/")[0] for location in locations(made)} == {str(made), made.as_uri()}
    if fate == "moved":
        made.rename(folder)
    elif fate == "used where it was made":
        folder = made
    else:
        shutil.copytree(made, folder)
        for file in made.rglob("*.skops"):
            file.write_text("spoiled")
    probability = ask_champion(folder, tables.read_table(ROWS))[:, 1]
    np.testing.assert_array_equal(probability, pd.read_parquet(folder / "predictions.parquet")["probability"])
    assert {location.partition("/mlruns/")[0] for location in locations(folder)} == {"baton:"}


def test_files_that_are_kept_apart_from_their_store_are_left_there(tmp_path):
    """As by an older version where `mlflow_tracking_uri` named a file outside of the project."""
    project, shared = tmp_path / "project", tmp_path / "shared"
    project.mkdir()
    shared.mkdir()
    unpack(project)
    (project / "mlflow.db").rename(shared / "mlflow.db")
    before = locations(shared)
    assert ask_champion(shared, tables.read_table(ROWS)).shape == (192, 2)
    assert locations(shared) == before


def test_without_the_store_its_files_cannot_be_found_and_that_is_said():
    with pytest.raises(
        mlflow.MlflowException, match="the tracking URI is 'http://a-server': set it to sqlite:///FOLDER"
    ):
        mlflow.artifacts.list_artifacts("baton:/mlruns/diabetes/x", tracking_uri="http://a-server")


@pytest.fixture
def server(tmp_path):
    """A whole project with the old registry, on whose laptop a figure was filed; copied to a server, the laptop gone."""
    laptop = copy_sources(tmp_path / "laptop").folder
    uri = unpack(laptop)
    training = mlflow.MlflowClient(uri).search_runs(["1"], "tags.winner = 'lightgbm'")[0].info.run_id
    figure = Figure()
    tracking.log_result(training, uri, metrics={}, tags={}, figures={"leaderboard": figure}, tables={})
    project = copy_sources(tmp_path / "server")
    for name in ("mlruns", "mlflow.db", "predictions.parquet"):
        shutil.move(laptop / name, project.folder / name)
    shutil.rmtree(laptop)
    yield project, training
    assert not laptop.exists()


def test_a_project_that_was_moved_to_a_server_serves_and_shows_its_trainings(server, tmp_path):
    project, training = server
    scored = pd.read_parquet(project.folder / "predictions.parquet")
    project.build("-e", "pipeline.serve.yaml", "--env--batch", "moved")
    batch = pd.read_parquet(project.folder / "predictions" / "diabetes" / "batch=moved")
    pd.testing.assert_frame_equal(
        batch[["prediction", "probability"]], scored[["prediction", "probability"]], check_exact=True
    )

    how = {"cwd": project.folder, "env": project.environment() | {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}}
    how["env"]["PATH"] = f"{PROGRAMS}:{os.environ['PATH']}"
    address = f"http://127.0.0.1:{free_port()}"
    command = [PROGRAMS / "mlflow", "models", "serve", "-m", "models:/diabetes@champion", "--env-manager", "local"]
    port = ["-p", address.rpartition(":")[2]]
    with serving([*command, *port], lambda: answers(f"{address}/ping"), tmp_path / "endpoint.log", **how):
        rows = ROWS.read_bytes()
        request = urllib.request.Request(f"{address}/invocations", rows, {"Content-Type": "text/csv"})
        assert json.load(urllib.request.urlopen(request))["predictions"] == scored["prediction"].tolist()

    address = f"http://127.0.0.1:{free_port()}"
    command = [PROGRAMS / "python", "-m", "baton.ui", "--no-browser", "--port", address.rpartition(":")[2]]
    with serving(command, lambda: answers(f"{address}/health"), tmp_path / "ui.log", **how):
        shown = urllib.request.urlopen(
            f"{address}/get-artifact?path=figures/leaderboard.png&run_uuid={training}"
        ).read()
    assert shown == (project.folder / f"mlruns/diabetes/{training}/artifacts/figures/leaderboard.png").read_bytes()
