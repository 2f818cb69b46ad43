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
from baton.serving import batch


def build(folder: Path, candidates=("a", "b")) -> list[str]:
    """Build clean → fit-* → compare with these candidates; return what has run."""
    dag = DAG(executor=Serial(build_in_subprocess=False))
    first = PythonCallable(clean, made(folder, "clean", "train"), dag, name="clean", params=PARAMS)
    last = PythonCallable(compare, made(folder, "compare", "leaderboard"), dag, name="compare", params=PARAMS)
    for name in candidates:
        first >> PythonCallable(fit, made(folder, name, "model"), dag, name=f"fit-{name}", params=PARAMS) >> last
    for task in dag.values():
        task.on_render, task.on_finish = hooks.notice_changes, hooks.record_state
    done = dag.build(show_progress=False)
    return sorted(name for name, has_run in zip(done["name"], done["Ran?"], strict=True) if has_run)


def made(folder: Path, task: str, *names: str) -> dict[str, File]:
    return {name: File(folder / task / name) for name in ("html", *names)}


PARAMS = {"settings": settings().model_dump()}


def clean(product, settings):
    Path(str(product["html"])).write_text(Path(config.ROOT / settings["train_data"]).read_text())
    Path(str(product["train"])).write_text("rows")


def fit(product, upstream, settings):
    Path(str(product["html"])).write_text("a report")
    Path(str(product["model"])).mkdir(exist_ok=True)
    (Path(str(product["model"])) / "model.skops").write_text("fitted")


def compare(product, upstream, settings):
    Path(str(product["html"])).write_text("a report")
    Path(str(product["leaderboard"])).write_text(" ".join(sorted(upstream)))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A project with a table."""
    monkeypatch.setattr(config, "ROOT", tmp_path)
    (tmp_path / "t.csv").write_text("a,b\n1,2")
    return tmp_path


def test_the_comparison_runs_again_when_a_candidate_left_the_grid(folder):
    board = folder / "compare" / "leaderboard"
    assert build(folder) == ["clean", "compare", "fit-a", "fit-b"]
    assert build(folder) == []
    assert build(folder, ["a"]) == ["compare"]
    assert board.read_text() == "fit-a"
    assert build(folder, ["a"]) == []
    assert build(folder, ["a", "c"]) == ["compare", "fit-c"]
    assert board.read_text() == "fit-a fit-c"


def test_everything_runs_again_when_the_table_changed(folder):
    build(folder)
    (folder / "t.csv").write_text("a,b\n1,3")
    assert build(folder) == ["clean", "compare", "fit-a", "fit-b"]
    assert (folder / "clean" / "html").read_text() == "a,b\n1,3"
    assert build(folder) == []


@pytest.mark.parametrize(
    ("file", "again"),
    [
        ("clean/train", ["clean", "compare", "fit-a", "fit-b"]),
        ("a/html", ["compare", "fit-a"]),
        ("a/html.record", ["compare", "fit-a"]),
        ("a/model/model.skops", ["compare", "fit-a"]),
        ("compare/leaderboard", ["compare"]),
    ],
)
def test_a_task_whose_file_was_cut_off_runs_again(folder, file, again):
    build(folder)
    path = folder / file.replace("html.record", hooks._record({"html": "html"}).name)
    whole = path.read_text()
    path.write_text(whole[:-1])
    assert build(folder) == again
    assert path.read_text() == whole
    (folder / "a" / "model" / "__pycache__").mkdir()
    (folder / "a" / "model" / "__pycache__" / "features.pyc").write_text("what Python leaves where a model was run")
    assert build(folder) == []


def warn(product, settings):
    for name in ("html", "training", "warnings"):
        Path(str(product[name])).write_text(json.dumps({"run_id": None} if name == "training" else ["a column is odd"]))


def test_what_clean_warns_of_is_printed_when_it_has_run(folder, capsys):
    dag = DAG(executor=Serial(build_in_subprocess=False))
    task = PythonCallable(warn, made(folder, "clean", "training", "warnings"), dag, name="clean", params=PARAMS)
    task.on_finish = hooks.file_report
    task.build()
    assert "Look at this: a column is odd" in capsys.readouterr().out


def apply(product, upstream, settings):
    Path(str(product["html"])).write_text("made")


def test_the_feature_file_concerns_the_features_alone(folder):
    params = {"settings": settings(features="own.py").model_dump()}

    def build(code: str) -> list[str]:
        """Build with this feature file, and tell what has run."""
        (folder / "own.py").write_text(code)
        dag = DAG(executor=Serial(build_in_subprocess=False))
        first = PythonCallable(clean, made(folder, "clean", "train"), dag, name="clean", params=params)
        first >> PythonCallable(apply, made(folder, "features"), dag, name="features", params=params)
        for task in dag.values():
            task.on_render, task.on_finish = hooks.notice_changes, hooks.record_state
        dag.render(show_progress=False)
        if dag["clean"].exec_status == TaskStatus.WaitingExecution:
            assert dag["features"].exec_status == TaskStatus.WaitingUpstream  # not at once
        done = dag.build(show_progress=False)
        return sorted(name for name, has_run in zip(done["name"], done["Ran?"], strict=True) if has_run)

    assert [build(code) for code in ("one", "one", "two", "two")] == [["clean", "features"], [], ["features"], []]


def test_a_report_is_filed_with_the_run_it_tells_of(tmp_path, monkeypatch):
    asked, facts = registering.open_store(tmp_path, monkeypatch, name="demo")
    client = mlflow.MlflowClient(asked.mlflow_tracking_uri)
    saved = registering.save(tmp_path / "model", pd.DataFrame({"x": range(40), "y": [0, 1] * 20}), name="demo").path
    products = registering.write_products(tmp_path / "fit", saved)
    (tmp_path / "training.json").write_text(json.dumps(facts))
    (tmp_path / "explore.html").write_text("report")
    dag, params = DAG(), {"settings": asked.model_dump()}
    before = PythonCallable(clean, {"training": File(tmp_path / "training.json")}, dag, name="clean", params=params)
    explored, fitted = {"html": File(tmp_path / "explore.html")}, {name: File(path) for name, path in products.items()}
    PythonCallable(apply, explored, dag, name="explore", params=params).set_upstream(before)
    params |= {"entry": {"candidate": "lr"}}
    PythonCallable(fail, fitted, dag, name="fit-lr", params=params).set_upstream(before)
    dag.render(show_progress=False)
    hooks.file_report(dag["explore"], dag["explore"].product, dag["explore"].params)
    hooks.file_candidate(dag["fit-lr"], dag["fit-lr"].product, dag["fit-lr"].params)
    (candidate,) = client.search_runs(["1"], "tags.candidate = 'lr'")
    runs = (facts["run_id"], candidate.info.run_id)
    filed = [[file.path for file in client.list_artifacts(run, "notebook")] for run in runs]
    assert filed == [["notebook/explore.html"], ["notebook/html"]]


def test_a_table_that_is_replaced_while_it_is_read_is_read_again(folder):
    def build() -> str:
        dag = DAG(executor=Serial(build_in_subprocess=False))
        task = PythonCallable(clean_late, made(folder, "clean", "train"), dag, name="clean", params=PARAMS)
        task.on_render, task.on_finish = hooks.notice_changes, hooks.record_state
        dag.build(show_progress=False)
        return (folder / "clean" / "html").read_text()

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
    params = {"entry": {"candidate": "lr"}, "settings": asked.model_dump()}
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


def fail(product, upstream, entry, settings):
    raise ValueError("no such thing")


@pytest.mark.parametrize("complete", [True, False])
def test_a_batch_that_is_complete_ends_the_serving_pipeline_early(tmp_path, monkeypatch, capsys, complete):
    manifest = {"name": "demo", "batch": "b", "rows_in": 5, "model_version": "3"}
    monkeypatch.setattr(batch, "read_manifest", lambda folder: manifest if folder.name == "batch=b" else None)
    received = batch.Batch("demo", "b", "3", None, False, "new.csv", [], "digest", {}, "2026-01-01", complete)
    (tmp_path / "batch.json").write_text(json.dumps(received.to_dict()))
    product = {"batch": str(tmp_path / "batch.json")}
    if not complete:
        hooks.stop_if_complete(product)
        return
    with pytest.raises(DAGBuildEarlyStop):
        hooks.stop_if_complete(product)
    said = "Nothing has changed: batch b of demo was scored by version 3 from these 5 rows."
    assert capsys.readouterr().out.strip() == said
