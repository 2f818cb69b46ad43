"""What is kept of a training, what is sent to others, and what is left out of the record."""

import base64
import http.server
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import urllib.parse
from concurrent.futures import ProcessPoolExecutor

import mlflow
import pandas as pd
import pytest
import registering
from conftest import ODD, settings

from baton import BatonError, config
from baton.handover import filing, registry, tracking

ROWS = pd.DataFrame({"a": [1.0, 2.0]})


@pytest.mark.parametrize(("said", "disabled"), [({}, "True"), ({"MLFLOW_DISABLE_TELEMETRY": "false"}, "False")])
def test_mlflows_usage_reports_are_off_unless_turned_on(said, disabled):
    """Outside of CI and pytest, where MLflow keeps quiet by itself."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}
    asked = "import baton; from mlflow.telemetry.utils import is_telemetry_disabled; print(is_telemetry_disabled())"
    done = subprocess.run(
        [sys.executable, "-c", asked], cwd=config.ROOT, env=kept | said, capture_output=True, text=True
    )
    assert done.stdout.strip() == disabled


def test_without_tracking_nothing_is_opened(tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    asked = settings(mlflow_tracking_uri=uri, track=False)
    assert tracking.start_training(asked, {}, ROWS) is None
    assert filing.file_once({}, "lr", {"run_id": None}, uri) is None
    tracking.log_result(None, uri, metrics={}, tags={}, figures={}, tables={})
    tracking.file_report(None, uri, tmp_path / "no.html")
    tracking.log_failure(None, uri, "c", "error", tmp_path / "no.ipynb")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def store(tmp_path, monkeypatch):
    return registering.open_store(tmp_path, monkeypatch, name="demo")


def test_every_failure_is_a_run_with_its_own_reason(store, tmp_path):
    asked, facts = store
    for candidate, error in (("tree", "no tree"), ("lr", "no lr"), ("lr", "still no lr")):
        tracking.log_failure(facts["run_id"], asked.mlflow_tracking_uri, candidate, error, tmp_path / "no")
    runs = mlflow.MlflowClient(asked.mlflow_tracking_uri).search_runs(["1"], "attributes.status = 'FAILED'")
    tags = [(run.data.tags["mlflow.parentRunId"], run.info.run_name, run.data.tags["error"]) for run in runs]
    parent = facts["run_id"]
    assert sorted(tags) == [(parent, "lr", "no lr"), (parent, "lr", "still no lr"), (parent, "tree", "no tree")]


def test_an_experiments_files_lie_in_the_project_wherever_its_tasks_were_started(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tempfile.mkdtemp(dir=tmp_path))
    assert tracking.resolve_uri("sqlite:///mlflow.db") == f"sqlite:///{tmp_path / 'mlflow.db'}"
    uri, run_id = store[0].mlflow_tracking_uri, store[1]["run_id"]
    mlflow.MlflowClient(uri).log_text(run_id, "here", "note.txt")
    assert (tmp_path / "mlruns" / "demo" / run_id / "artifacts" / "note.txt").read_text() == "here"


@pytest.mark.parametrize(
    ("source", "name"),
    [("days/customers.csv", "customers"), ("postgresql://me:${ODD}@host/db#SELECT * FROM t", "SELECT * FROM t")],
)
def test_a_training_names_the_rows_it_was_given(store, source, name):
    asked = store[0].model_copy(update={"train_data": source})
    run = mlflow.MlflowClient(asked.mlflow_tracking_uri).get_run(tracking.start_training(asked, {}, ROWS))
    [given] = run.inputs.dataset_inputs
    assert (given.dataset.name, json.loads(given.dataset.profile)) == (name, {"num_rows": 2, "num_elements": 2})
    assert [column["name"] for column in json.loads(given.dataset.schema)["mlflow_colspec"]] == [*ROWS]


def test_a_training_names_every_row_that_it_was_given(store):
    large, given = pd.DataFrame({"x": range(20_000)}), []
    for rows in (large, large, large.replace(19_999, 7)):
        run = mlflow.MlflowClient(store[0].mlflow_tracking_uri).get_run(tracking.start_training(store[0], {}, rows))
        given += [one.dataset for one in run.inputs.dataset_inputs]
    assert [json.loads(one.profile)["num_rows"] for one in given] == [20_000] * 3
    assert given[0].digest == given[1].digest != given[2].digest


def test_a_build_whose_task_is_run_again_is_one_training(store, monkeypatch):
    asked = store[0]
    client = mlflow.MlflowClient(asked.mlflow_tracking_uri)
    monkeypatch.setenv(tracking.BUILD, "first")
    run_id = tracking.start_training(asked, {}, ROWS)
    assert tracking.start_training(asked, {}, ROWS) == run_id
    client.update_run(run_id, "RUNNING")  # it was broken off
    whole = tracking.start_training(asked, {}, ROWS)
    assert whole != run_id
    assert client.get_run(run_id).info.lifecycle_stage == "deleted"
    monkeypatch.setenv(tracking.BUILD, "second")
    assert tracking.start_training(asked, {}, ROWS) not in {run_id, whole}
    monkeypatch.delenv(tracking.BUILD)
    assert tracking.start_training(asked, {}, ROWS) != tracking.start_training(asked, {}, ROWS)


def test_a_commit_is_told_from_one_that_was_edited_since(tmp_path, monkeypatch):
    def git(*command: str) -> str:
        who = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
        return subprocess.run(["git", *who, *command], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    monkeypatch.setattr(config, "ROOT", tmp_path)
    git("init")
    (tmp_path / "features.py").write_text("one")
    git("add", ".")
    git("commit", "-m", "first")
    commit = git("rev-parse", "--short", "HEAD").strip()
    assert tracking.git_commit() == commit
    (tmp_path / "features.py").write_text("two")
    assert tracking.git_commit() == f"{commit}+changes"


def test_an_experiment_that_was_deleted_is_explained(store):
    asked, _ = store
    mlflow.MlflowClient(asked.mlflow_tracking_uri).delete_experiment("1")
    with pytest.raises(BatonError, match="the MLflow experiment 'demo' was deleted: `mlflow experiments restore -x 1`"):
        tracking.start_training(asked, {}, ROWS)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("mlruns", "keeps no runs in plain folders"),
        ("file:mlruns", "keeps no runs in plain folders"),
        ("sqlite:////dev/null/x.db", "can't be opened"),
        ("sqlite:///{folder}/broken.db", r"can't be opened: .*file is not a database\Z"),  # in one line
    ],
)
def test_a_store_that_cannot_be_used_is_explained(tmp_path, uri, said):
    (tmp_path / "broken.db").write_text("no database")
    with pytest.raises(BatonError, match=said):
        tracking.connect(uri.format(folder=tmp_path))


def test_the_password_of_a_store_that_cannot_be_used_is_not_told(monkeypatch):
    """MLflow names the whole address of one whose kind it doesn't know."""
    monkeypatch.setenv("ODD", ODD)
    with pytest.raises(BatonError, match=r"can't be opened: .*warehouse://me:\$\{ODD\}@host/db") as told:
        tracking.connect("warehouse://me:${ODD}@host/db")
    for secret in (ODD, urllib.parse.quote(ODD, safe="")):
        assert secret not in str(told.value)


def make_store(uri: str) -> str:
    return mlflow.MlflowClient(tracking.connect(uri).tracking_uri).create_experiment(f"of {os.getpid()}")


def test_two_trainings_may_make_the_store_at_once(tmp_path):
    """Of different names, in a new folder."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        made = [pool.submit(make_store, f"sqlite:///{tmp_path / 'mlflow.db'}") for _ in range(2)]
        assert sorted(one.result() for one in made) == ["1", "2"]


class Forbidding(http.server.BaseHTTPRequestHandler):
    """A server that lets nobody in, and remembers how they signed in."""

    def do_GET(self):
        self.server.signed_in = self.headers["Authorization"]
        self.send_error(403)

    def log_message(self, *_):
        pass


def test_a_servers_password_is_sent_to_it_and_stands_in_no_error(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "before")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "before")
    monkeypatch.setenv("ODD", ODD)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    server = http.server.HTTPServer(("127.0.0.1", 0), Forbidding)
    uri = f"http://me:${{ODD}}@127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.raises(mlflow.exceptions.MlflowException, match="403"):
        registry.find_champion("demo", uri)
    assert server.signed_in == "Basic " + base64.b64encode(f"me:{ODD}".encode()).decode()
    server.shutdown()
    server.server_close()
    with pytest.raises(
        mlflow.exceptions.MlflowException, match=rf"//127\.0\.0\.1:{server.server_port}/"
    ) as unreachable:
        registry.find_champion("demo", uri)
    for secret in (ODD, urllib.parse.quote(ODD, safe="")):
        assert secret not in str(unreachable.value)
