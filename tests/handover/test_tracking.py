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
from baton.handover import registry, tracking
from baton.training.study import Trial

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
    filed = tracking.log_candidate(
        {"run_id": None}, asked, "lr", params={}, metrics={}, figures="none", tables={}, started=0
    )
    assert filed is None
    tracking.log_result(None, uri, metrics={}, tags={}, figures={}, tables={})
    tracking.file_report(None, uri, tmp_path / "no.html")
    tracking.log_failure(None, uri, "c", "error", tmp_path / "no.ipynb")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def store(tmp_path, monkeypatch):
    return registering.open_store(tmp_path, monkeypatch, name="demo")


def test_a_candidate_is_filed_as_a_child_of_its_training_with_what_describes_it(store, tmp_path):
    asked, facts = store
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn" / "roc.png").write_bytes(b"picture")
    run_id = tracking.log_candidate(
        facts, asked, "lr", params={"C": 1}, metrics={"auc": 0.5, "nothing": float("nan")}, figures=str(tmp_path / "drawn"),
        tables={"scores": ROWS}, started=1_700_000_000.5,
    )  # fmt: skip
    client = mlflow.MlflowClient(asked.mlflow_tracking_uri)
    run = client.get_run(run_id)
    expected = {"candidate": "lr", "mlflow.parentRunId": facts["run_id"], "mlflow.runName": "lr"}
    expected |= {"task": "binary", "metric": "AUC", "data_digest": "abc", "git_commit": "none"}
    assert expected.items() <= run.data.tags.items()
    assert (run.data.params, run.data.metrics) == ({"C": "1"}, {"auc": 0.5})
    assert (run.info.status, run.info.start_time) == ("FINISHED", 1_700_000_000_500)
    assert [one.dataset.name for one in run.inputs.dataset_inputs] == ["t"]
    assert [file.path for file in client.list_artifacts(run_id, "figures")] == ["figures/roc.png"]
    assert client.get_run(facts["run_id"]).info.experiment_id == run.info.experiment_id


def test_every_trial_of_a_search_is_a_run_below_its_candidates(store):
    asked, facts = store
    client = mlflow.MlflowClient(asked.mlflow_tracking_uri)
    parent = client.create_run(client.get_run(facts["run_id"]).info.experiment_id).info.run_id
    trials = [
        Trial(0, {"C": 0.5, "penalty": "l2"}, "finished", 0.75, 1_700_000_000.0, 2.5, None),
        Trial(1, {"C": 9.0}, "pruned", 0.5, 1_700_000_002.5, 1.0, None),
        Trial(2, {"C": -1.0}, "failed", float("nan"), 1_700_000_003.5, 0.5, "ValueError: C"),
    ]
    tracking.log_trials(parent, trials, "AUC", asked.mlflow_tracking_uri)
    tracking.log_trials(None, trials, "AUC", asked.mlflow_tracking_uri)  # of a training that is not tracked
    found = client.search_runs(
        ["0", "1"], f"tags.`mlflow.parentRunId` = '{parent}'", order_by=["attributes.start_time"]
    )
    assert [(run.info.run_name, run.info.status, run.data.tags["trial"]) for run in found] == [
        ("trial 0", "FINISHED", "finished"), ("trial 1", "KILLED", "pruned"), ("trial 2", "FAILED", "failed"),
    ]  # fmt: skip
    assert [run.data.params for run in found] == [{"C": "0.5", "penalty": "l2"}, {"C": "9.0"}, {"C": "-1.0"}]
    assert [run.data.metrics for run in found] == [
        {"AUC": 0.75, "seconds": 2.5}, {"AUC": 0.5, "seconds": 1.0}, {"seconds": 0.5},
    ]  # fmt: skip
    assert [(run.info.start_time, run.info.end_time) for run in found[:1]] == [(1_700_000_000_000, 1_700_000_002_500)]
    assert [run.data.tags.get("error") for run in found] == [None, None, "ValueError: C"]
    assert not any("candidate" in run.data.tags for run in found)


def test_a_candidate_that_fails_leaves_one_failed_run_that_says_why(store, tmp_path):
    asked, facts = store
    client = mlflow.MlflowClient(asked.mlflow_tracking_uri)
    (tmp_path / "drawn").mkdir()
    with pytest.raises(AttributeError):  # its run breaks while it is filed
        tracking.log_candidate(
            facts, asked, "lr", params={}, metrics={}, figures=str(tmp_path / "drawn"), tables={"scores": "no table"},
            started=0,
        )  # fmt: skip
    for candidate in ("lr", "tree"):
        tracking.log_failure(facts["run_id"], asked.mlflow_tracking_uri, candidate, f"no {candidate}", tmp_path / "no")
    runs = client.search_runs(["1"], "attributes.status = 'FAILED'")
    assert {run.data.tags["candidate"]: run.data.tags["error"] for run in runs} == {"lr": "no lr", "tree": "no tree"}
    assert len(runs) == 2


def test_every_failure_keeps_its_own_reason(store, tmp_path):
    """That of another candidate, of an earlier build, and of an earlier training stays as it was."""
    asked, facts = store
    client, uri = mlflow.MlflowClient(asked.mlflow_tracking_uri), asked.mlflow_tracking_uri
    earlier, now = facts["run_id"], tracking.start_training(asked, {}, ROWS)
    for parent in (earlier, now):  # a run that broke while it was filed, and was given no reason yet
        broken = {"candidate": "lr", "mlflow.parentRunId": parent, "mlflow.runName": "broken"}
        client.set_terminated(client.create_run("1", tags=broken).info.run_id, "FAILED")
    for candidate, error in (("tree", "no tree"), ("lr", "no lr"), ("lr", "still no lr")):
        tracking.log_failure(now, uri, candidate, error, tmp_path / "no")
    found = [
        (run.data.tags["mlflow.parentRunId"] == now, run.info.run_name, run.data.tags.get("error"))
        for run in client.search_runs(["1"], "attributes.status = 'FAILED'", order_by=["start_time"])
    ]
    assert sorted(found, key=str) == [
        (False, "broken", None), (True, "broken", "no lr"), (True, "lr", "still no lr"), (True, "tree", "no tree"),
    ]  # fmt: skip


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
