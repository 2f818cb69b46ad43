"""What happens around a task: what makes it run again, and what is left when it fails. On small pipelines of functions."""

import json
from pathlib import Path

import mlflow
import nbformat
import pandas as pd
import pytest
import registering
from conftest import settings
from ploomber import DAG
from ploomber.constants import TaskStatus
from ploomber.exceptions import DAGBuildEarlyStop
from ploomber.executors import Serial
from ploomber.products import File
from ploomber.tasks import PythonCallable

import hooks
from baton import config


def fit(product):
    Path(str(product)).write_text("fitted")


def compare(product, upstream):
    names = sorted(name.removeprefix("fit-") for name in upstream)
    pd.DataFrame({"candidate": names}).to_csv(product["leaderboard"], index=False)


def test_the_comparison_runs_again_when_a_candidate_left_the_grid(tmp_path):
    def build(*candidates: str) -> tuple[list[str], list[str]]:
        """Build with these candidates: what has run, and what is on the leaderboard."""
        dag = DAG(executor=Serial(build_in_subprocess=False))
        compared = PythonCallable(compare, {"leaderboard": File(tmp_path / "board.csv")}, dag, name="compare")
        compared.on_render = hooks.notice_changed_grid
        for name in candidates:
            compared.set_upstream(PythonCallable(fit, File(tmp_path / name), dag, name=f"fit-{name}"))
        done = dag.build(show_progress=False)
        ran = [name for name, has_run in zip(done["name"], done["Ran?"], strict=True) if has_run]
        return sorted(ran), pd.read_csv(tmp_path / "board.csv")["candidate"].tolist()

    assert build("a", "b") == (["compare", "fit-a", "fit-b"], ["a", "b"])
    assert build("a", "b") == ([], ["a", "b"])
    assert build("a") == (["compare"], ["a"])
    assert build("a") == ([], ["a"])
    assert build("a", "c") == (["compare", "fit-c"], ["a", "c"])


def clean(product, settings):
    Path(str(product["html"])).write_text(Path(config.ROOT / settings["train_data"]).read_text())
    Path(str(product["training"])).write_text(json.dumps({"run_id": None}))
    Path(str(product["warnings"])).write_text(json.dumps(["a column is odd"]))


def test_a_task_runs_again_when_its_table_changed_and_its_warnings_are_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(config, "ROOT", tmp_path)

    def build(content: str) -> str:
        (tmp_path / "t.csv").write_text(content)
        dag = DAG(executor=Serial(build_in_subprocess=False))
        made = {name: File(tmp_path / name) for name in ("html", "training", "warnings")}
        task = PythonCallable(clean, made, dag, name="clean", params={"settings": settings().model_dump()})
        task.on_render, task.on_finish = hooks.notice_changed_input, hooks.file_report
        dag.build(show_progress=False)
        return (tmp_path / "html").read_text(), "Look at this: a column is odd" in capsys.readouterr().out

    assert build("a,b\n1,2") == ("a,b\n1,2", True)
    assert build("a,b\n1,2") == ("a,b\n1,2", False)
    assert build("a,b\n1,3") == ("a,b\n1,3", True)


def apply(product, upstream, settings):
    Path(str(product["html"])).write_text("made")


def test_the_feature_file_concerns_the_features_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "ROOT", tmp_path)
    (tmp_path / "t.csv").write_text("a,b\n1,2")
    params = {"settings": settings(features="own.py").model_dump()}

    def build(code: str) -> list[str]:
        """Build with this feature file, and tell what has run."""
        (tmp_path / "own.py").write_text(code)
        dag = DAG(executor=Serial(build_in_subprocess=False))
        made = {name: File(tmp_path / name) for name in ("html", "training", "warnings")}
        tasks = [
            PythonCallable(clean, made, dag, name="clean", params=params),
            PythonCallable(apply, {"html": File(tmp_path / "features.html")}, dag, name="features", params=params),
        ]
        tasks[1].set_upstream(tasks[0])
        for task in tasks:
            task.on_render, task.on_finish = hooks.notice_changed_input, hooks.file_report
        dag.render(show_progress=False)
        if dag["clean"].exec_status == TaskStatus.WaitingExecution:
            assert dag["features"].exec_status == TaskStatus.WaitingUpstream  # not at once
        done = dag.build(show_progress=False)
        return [name for name, has_run in zip(done["name"], done["Ran?"], strict=True) if has_run]

    assert [sorted(build(code)) for code in ("one", "one", "two", "two")] == [
        ["clean", "features"],
        [],
        ["features"],
        [],
    ]


def test_a_report_is_filed_with_the_run_it_tells_of(tmp_path, monkeypatch):
    asked, facts = registering.open_store(tmp_path, monkeypatch, name="demo")
    client = mlflow.MlflowClient(asked.mlflow_tracking_uri)
    candidate = client.create_run("1").info.run_id
    (tmp_path / "training.json").write_text(json.dumps(facts))
    (tmp_path / "candidate.json").write_text(json.dumps({"run_id": candidate}))
    dag, params = DAG(), {"settings": asked.model_dump()}
    before = PythonCallable(clean, {"training": File(tmp_path / "training.json")}, dag, name="clean", params=params)
    for name, products in {"explore": {}, "fit-lr": {"candidate": File(tmp_path / "candidate.json")}}.items():
        (tmp_path / f"{name}.html").write_text("report")
        task = PythonCallable(
            apply, {"html": File(tmp_path / f"{name}.html")} | products, dag, name=name, params=params
        )
        task.set_upstream(before)
    dag.render(show_progress=False)
    for name in ("explore", "fit-lr"):
        hooks.file_report(dag[name], dag[name].product, dag[name].params)
    filed = [[file.path for file in client.list_artifacts(run, "notebook")] for run in (facts["run_id"], candidate)]
    assert filed == [["notebook/explore.html"], ["notebook/fit-lr.html"]]


def test_a_table_that_is_replaced_while_it_is_read_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "ROOT", tmp_path)
    (tmp_path / "t.csv").write_text("a,b\n1,2")

    def build() -> str:
        dag = DAG(executor=Serial(build_in_subprocess=False))
        made = {name: File(tmp_path / name) for name in ("html", "training", "warnings")}
        task = PythonCallable(clean_late, made, dag, name="clean", params={"settings": settings().model_dump()})
        task.on_render, task.on_finish = hooks.notice_changed_input, hooks.file_report
        dag.build(show_progress=False)
        return (tmp_path / "html").read_text()

    assert [build(), build()] == ["a,b\n1,2", "a,b\n1,3"]


def clean_late(product, settings):
    clean(product, settings)
    Path(config.ROOT / settings["train_data"]).write_text("a,b\n1,3")


@pytest.mark.parametrize("notebook", ["whole", "not run", "missing"])
def test_a_candidate_that_fails_leaves_a_run_with_its_error(tmp_path, monkeypatch, notebook):
    asked, facts = registering.open_store(tmp_path, monkeypatch, name="demo")
    (tmp_path / "training.json").write_text(json.dumps(facts))
    error = nbformat.v4.new_output("error", ename="ValueError", evalue="no such thing", traceback=["in line 3"])
    outputs = {"whole": [error], "not run": []}.get(notebook)
    if outputs is not None:
        cells = [nbformat.v4.new_code_cell("1 / 0", outputs=outputs)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "fit.ipynb")
    dag = DAG()
    made = {"training": File(tmp_path / "training.json")}
    before = PythonCallable(clean, made, dag, name="clean", params={"settings": {}})
    params = {"candidate": "lr", "settings": asked.model_dump()}
    task = PythonCallable(fail, {"nb": File(tmp_path / "fit.ipynb")}, dag, name="fit-lr", params=params)
    task.set_upstream(before)
    dag.render(show_progress=False)
    hooks.record_failure(task, task.product, task.params)
    client = mlflow.MlflowClient(asked.mlflow_tracking_uri)
    run = client.search_runs(["1"], "attributes.status = 'FAILED'")[0]
    expected = "ValueError: no such thing\nin line 3" if notebook == "whole" else "unknown"
    assert (run.data.tags["candidate"], run.data.tags["error"]) == ("lr", expected)
    filed = [file.path for file in client.list_artifacts(run.info.run_id, "notebook")]
    assert filed == ([] if notebook == "missing" else ["notebook/fit.ipynb"])


def fail(product, upstream, candidate, settings):
    raise ValueError("no such thing")


@pytest.mark.parametrize("published", [True, False])
def test_a_batch_that_is_published_ends_the_serving_pipeline_early(tmp_path, capsys, published):
    batch = {"published": published, "batch": "b", "name": "demo", "model_version": "3", "rows": 5}
    (tmp_path / "batch.json").write_text(json.dumps(batch))
    product = {"batch": str(tmp_path / "batch.json")}
    if not published:
        hooks.stop_if_published(product)
        return
    with pytest.raises(DAGBuildEarlyStop):
        hooks.stop_if_published(product)
    said = "Nothing has changed: batch b of demo was scored by version 3 from these 5 rows."
    assert capsys.readouterr().out.strip() == said
