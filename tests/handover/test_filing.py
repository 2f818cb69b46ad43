"""A candidate's run: whole or not at all, and once, whatever becomes of the process that files it, or of the server."""

import http.server
import json
import shutil
import threading
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import registering
from conftest import free_port
from ploomber import DAG
from ploomber.products import File
from ploomber.tasks import PythonCallable

import hooks
from baton import BatonError
from baton.handover import filing, registry, saving, tracking
from baton.training.study import Trial

ROWS = pd.DataFrame({"x": range(40), "y": [0, 1] * 20})
TRIALS = [
    Trial(0, {"C": 0.5, "penalty": "l2"}, "finished", 0.75, 1_700_000_000.0, 2.5, None),
    Trial(1, {"C": 9.0}, "pruned", 0.5, 1_700_000_002.5, 1.0, None),
    Trial(2, {"C": -1.0}, "failed", float("nan"), 1_700_000_003.5, 0.5, "ValueError: C"),
]
RECORD = {
    "params": {"C": 1, "target_scale": None}, "metrics": {"auc": 0.5, "nothing": float("nan")},
    "trials": [trial._asdict() for trial in TRIALS], "started": 1_700_000_000.5,
}  # fmt: skip


@pytest.fixture
def store(tmp_path, monkeypatch):
    return registering.open_store(tmp_path, monkeypatch, name="demo")


@pytest.fixture
def made(store, tmp_path) -> dict[str, str]:
    """What the task of a candidate has made."""
    saved = registering.save(tmp_path / "model", ROWS, name="demo").path
    return registering.write_products(tmp_path / "fit", saved, **RECORD)


def found(store, of: str = "tags.candidate = 'lr'") -> list:
    return mlflow.MlflowClient(store[0].mlflow_tracking_uri).search_runs(["1"], of, order_by=["start_time"])


def models(store) -> list:
    return mlflow.MlflowClient(store[0].mlflow_tracking_uri).search_logged_models(["1"])


def test_a_candidate_is_a_child_of_its_training_with_all_that_its_task_has_made(store, made):
    asked, facts = store
    run_id = filing.file_once(made, "lr", facts, asked.mlflow_tracking_uri)
    client = mlflow.MlflowClient(asked.mlflow_tracking_uri)
    run = client.get_run(run_id)
    expected = {"candidate": "lr", "mlflow.parentRunId": facts["run_id"], "mlflow.runName": "lr"}
    expected |= {"task": "binary", "metric": "AUC", "data_digest": "abc", "git_commit": "none"}
    assert expected.items() <= run.data.tags.items()
    assert (run.data.params, run.data.metrics) == ({"C": "1", "target_scale": "None"}, {"auc": 0.5})
    assert (run.info.status, run.info.start_time) == ("FINISHED", 1_700_000_000_500)
    assert [one.dataset.name for one in run.inputs.dataset_inputs] == ["t"]
    files = {
        folder: [file.path for file in client.list_artifacts(run_id, folder)]
        for folder in ("figures", "notebook", "tables")
    }
    assert files == {"figures": ["figures/roc.png"], "notebook": ["notebook/html"], "tables": ["tables/scores.csv"]}
    (model,) = models(store)
    assert (model.name, model.status.name, model.source_run_id) == ("model", "READY", run_id)
    assert [one.model_id for one in run.outputs.model_outputs] == [model.model_id]


def test_every_trial_of_its_search_is_a_run_below_it(store, made):
    run_id = filing.file_once(made, "lr", store[1], store[0].mlflow_tracking_uri)
    trials = found(store, f"tags.`mlflow.parentRunId` = '{run_id}'")
    assert [(run.info.run_name, run.info.status, run.data.tags["trial"]) for run in trials] == [
        ("trial 0", "FINISHED", "finished"), ("trial 1", "KILLED", "pruned"), ("trial 2", "FAILED", "failed"),
    ]  # fmt: skip
    assert [run.data.params for run in trials] == [{"C": "0.5", "penalty": "l2"}, {"C": "9.0"}, {"C": "-1.0"}]
    assert [run.data.metrics for run in trials] == [
        {"AUC": 0.75, "seconds": 2.5}, {"AUC": 0.5, "seconds": 1.0}, {"seconds": 0.5},
    ]  # fmt: skip
    assert (trials[0].info.start_time, trials[0].info.end_time) == (1_700_000_000_000, 1_700_000_002_500)
    assert [run.data.tags.get("error") for run in trials] == [None, None, "ValueError: C"]
    assert not any("candidate" in run.data.tags for run in trials)


def test_a_candidate_is_filed_once_and_another_fit_of_it_is_another_run(store, made):
    asked, facts = store
    run_id = filing.file_once(made, "lr", facts, asked.mlflow_tracking_uri)
    assert filing.file_once(made, "lr", facts, asked.mlflow_tracking_uri) == run_id
    (Path(made["record"]).with_name("run.json")).unlink()  # as of a process that died just then
    assert filing.file_all({"lr": made}, facts, asked.mlflow_tracking_uri) == {"lr": run_id}
    assert len(found(store)) == len(models(store)) == 1
    Path(made["record"]).write_text(json.dumps(RECORD | {"started": 1_700_000_009.0}))
    assert filing.file_once(made, "lr", facts, asked.mlflow_tracking_uri) != run_id
    assert len(found(store)) == 2


def test_a_process_that_is_killed_while_it_files_leaves_nothing_that_is_not_put_right(store, made, tmp_path):
    def file() -> str:
        return filing.file_once(made, "lr", store[1], store[0].mlflow_tracking_uri)

    total = registering.kill_on_the_way(file, kill_at=0)
    for kill_at in np.unique(np.linspace(1, total, 7).astype(int)):
        shutil.rmtree(tmp_path / "fit")
        registering.write_products(tmp_path / "fit", Path(made["model"]), **RECORD | {"started": float(kill_at)})
        before, models_before = len(found(store)), len(models(store))
        registering.kill_on_the_way(file, kill_at)
        run_id = file()
        runs = found(store)
        assert {run.info.status for run in runs} == {"FINISHED"}
        assert (len(runs) - before, len(models(store)) - models_before) == (1, 1), (kill_at, total)
        assert run_id in {run.info.run_id for run in runs}
        assert len(found(store, f"tags.`mlflow.parentRunId` = '{run_id}'")) == 3


class Unavailable(http.server.BaseHTTPRequestHandler):
    """A server that is up, and says that it can't now."""

    def do_GET(self):
        self.send_error(503)

    do_POST = do_GET

    def log_message(self, *_):
        pass


def test_what_a_server_does_not_take_now_is_filed_when_it_is_back(store, made, tmp_path, monkeypatch, capsys):
    """Whether nobody answers at its address, or someone who says 503."""
    port = free_port()
    asked = store[0].model_copy(update={"mlflow_tracking_uri": f"http://127.0.0.1:{port}"})
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    shutil.copy2(registering.empty_store(), tmp_path / "server.db")

    # A training that was started while the server was there.
    here = asked.model_copy(update={"mlflow_tracking_uri": f"sqlite:///{tmp_path / 'server.db'}"})
    tracking.connect(here.mlflow_tracking_uri).create_experiment("demo", artifact_location="mlflow-artifacts:/demo")
    facts = store[1] | {"run_id": tracking.start_training(here, store[1], ROWS)}
    (tmp_path / "training.json").write_text(json.dumps(facts))
    dag, params = DAG(), {"settings": {"mlflow_tracking_uri": asked.mlflow_tracking_uri}, "entry": {"candidate": "lr"}}
    clean = PythonCallable(touch, {"training": File(tmp_path / "training.json")}, dag, name="clean", params=params)
    products = {name: File(path) for name, path in made.items()}
    clean >> PythonCallable(touch, products, dag, name="fit-lr", params=params)
    dag.render(show_progress=False)

    def file_in_vain():
        hooks.file_candidate(dag["fit-lr"], dag["fit-lr"].product, dag["fit-lr"].params)
        assert "fit-lr is fitted, and will be filed later. MLflow says: API request to" in capsys.readouterr().out
        with pytest.raises(BatonError, match="1 of 1 candidates are fitted and not in MLflow yet. MLflow says: API"):
            filing.file_all({"lr": made}, facts, asked.mlflow_tracking_uri)

    file_in_vain()
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Unavailable) as unavailable:
        threading.Thread(target=unavailable.serve_forever, daemon=True).start()
        file_in_vain()
        unavailable.shutdown()
    with registering.serve_store(
        asked.mlflow_tracking_uri, tmp_path / "server.db", tmp_path / "files", tmp_path / "log"
    ):
        runs = filing.file_all({"lr": made}, facts, asked.mlflow_tracking_uri)
        (run,) = found((asked,))
    assert (runs, run.info.status) == ({"lr": run.info.run_id}, "FINISHED")


def touch(product, settings, entry, upstream=None):
    pass


@pytest.mark.parametrize("file", ["model.skops", "judged/model.skops", "code/features.py", "judged/code/features.py"])
def test_of_two_files_of_one_name_each_is_held_to_what_it_was(store, tmp_path, file):
    saved = registering.save(tmp_path / "model", pd.DataFrame({"x": range(40), "y": [0, 1] * 20}), name="demo").path
    (saved / "code").mkdir()
    (saved / "code" / "features.py").write_text("")
    shutil.copytree(saved, saved / saving.JUDGED)
    first = registering.register(saved, *store)
    with (first.path / file).open("ab") as changed:
        changed.write(b"#")
    with pytest.raises(BatonError, match="demo version 1 is refused: a file of it was changed, added or removed"):
        registry.version_of("demo", "1", store[0].mlflow_tracking_uri)


def test_what_failed_to_be_filed_leaves_nothing_when_it_is_filed(store, made, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(registry, "log", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            filing.file_once(made, "lr", store[1], store[0].mlflow_tracking_uri)
    assert [run.info.status for run in found(store)] == ["FAILED"]
    run_id = filing.file_once(made, "lr", store[1], store[0].mlflow_tracking_uri)
    assert [(run.info.run_id, run.info.status) for run in found(store)] == [(run_id, "FINISHED")]


def test_what_was_broken_off_of_another_fit_is_taken_back(store, made):
    client = mlflow.MlflowClient(store[0].mlflow_tracking_uri)
    client.create_run("1", tags={"mlflow.parentRunId": store[1]["run_id"], "candidate": "lr", "record": "another"})
    run_id = filing.file_once(made, "lr", store[1], store[0].mlflow_tracking_uri)
    assert [run.info.run_id for run in found(store)] == [run_id]


def test_a_run_is_copied_with_all_that_it_has(store, made, tmp_path):
    asked, facts = store
    run_id = filing.file_once(made, "lr", facts, asked.mlflow_tracking_uri)
    shutil.copy2(registering.empty_store(), tmp_path / "team.db")
    there = asked.model_copy(update={"mlflow_tracking_uri": f"sqlite:///{tmp_path / 'team.db'}"})
    copy = mlflow.MlflowClient(there.mlflow_tracking_uri).get_run(tracking.copy_run(run_id, asked, there))
    run = mlflow.MlflowClient(asked.mlflow_tracking_uri).get_run(run_id)
    assert (copy.data.params, copy.data.metrics) == (run.data.params, run.data.metrics)
    assert copy.data.metrics
    assert (copy.info.status, copy.info.start_time, copy.info.end_time) == (
        "FINISHED",
        run.info.start_time,
        run.info.end_time,
    )


def test_a_copy_that_was_broken_off_is_made_anew(store, made, tmp_path, monkeypatch):
    asked, facts = store
    run_id = filing.file_once(made, "lr", facts, asked.mlflow_tracking_uri)
    shutil.copy2(registering.empty_store(), tmp_path / "team.db")
    there = asked.model_copy(update={"mlflow_tracking_uri": f"sqlite:///{tmp_path / 'team.db'}"})
    with monkeypatch.context() as patch:
        patch.setattr(mlflow, "log_artifacts", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tracking.copy_run(run_id, asked, there)
    copy = tracking.copy_run(run_id, asked, there)
    client = mlflow.MlflowClient(there.mlflow_tracking_uri)
    assert client.get_run(copy).info.status == "FINISHED"
    experiment = client.get_run(copy).info.experiment_id
    assert [run.info.run_id for run in client.search_runs([experiment], f"tags.copy_of = '{run_id}'")] == [copy]
    assert [file.path for file in client.list_artifacts(copy, "tables")] == ["tables/scores.csv"]
    assert tracking.copy_run(run_id, asked, there) == copy
