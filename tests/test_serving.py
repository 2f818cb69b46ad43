"""The serving pipeline: the right version, the right rows, at once or not at all, and again only if something changed."""

import json
import os
import subprocess
import urllib.request

import nbformat
import numpy as np
import pandas as pd
import pytest
import registering
from conftest import PROGRAMS, answers, free_port, serving, settings

from baton import BatonError, config
from baton.handover import registry

SERVING = ".venv-serve/bin"
BATCH = ("-e", "pipeline.serve.yaml", "--env--batch")


def first_batch(project) -> str:
    """The name of the batch of the first hour: its date, which may be yesterday's by now."""
    return next((project.folder / "predictions" / "diabetes").glob("batch=*")).name.removeprefix("batch=")


def predictions(project, batch: str) -> pd.DataFrame:
    return pd.read_parquet(project.folder / "predictions" / "diabetes" / f"batch={batch}")


def manifest(project, batch: str) -> dict:
    return json.loads((project.folder / "predictions" / "diabetes" / f"batch={batch}" / "_manifest.json").read_text())


def test_the_first_batch_has_every_row_with_its_probability_version_and_time(first_hour):
    project, _ = first_hour
    batch = first_batch(project)
    found, said = predictions(project, batch), manifest(project, batch)
    assert [*found.columns] == ["row", "prediction", "probability", "model_version", "scored_at"]
    assert found["row"].tolist() == list(range(192))
    assert set(found["prediction"]) == {0, 1}
    assert ((found["probability"] >= said["threshold"]) == (found["prediction"] == 1)).all()
    assert set(found["model_version"]) == {"1"}
    assert found["scored_at"].dt.tz is not None
    assert (said["rows_in"], said["rows_scored"], said["rows_rejected"]) == (192, 192, 0)
    assert said["positive_class"] == 1
    folder = project.folder / "predictions" / "diabetes" / f"batch={batch}"
    parts = ["_manifest.json", "_rejects.parquet", "_report.html", f"part-00000-{said['key']}.parquet"]
    assert sorted(file.name for file in folder.iterdir()) == parts
    assert str(project.folder) not in (folder / "_report.html").read_text()  # nor any code: it is for readers
    notebook = project.folder / "products/diabetes/report/report.ipynb"
    assert str(project.folder) in notebook.read_text()
    outputs = [output for cell in nbformat.read(notebook, 4).cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2


def test_what_serves_has_no_pycaret(first_hour):
    asked = [first_hour[0].folder / SERVING / "python", "-c", "import pycaret"]
    done = subprocess.run(asked, capture_output=True, text=True)
    assert done.stderr.strip().endswith("ModuleNotFoundError: No module named 'pycaret'")


def test_a_batch_is_scored_again_only_if_rows_or_champion_changed(first_hour, trained):
    batch = first_batch(trained)
    before = predictions(trained, batch)
    again = trained.build(*BATCH, batch)
    assert f"Nothing has changed: batch {batch} of diabetes was scored by version 1 from these 192 rows." in again
    assert "score done" not in again

    table = trained.folder / "data" / "diabetes_test.csv"
    rows = pd.read_csv(table)
    rows.assign(Glucose=rows["Glucose"] + 20).head(100).to_csv(table, index=False)
    again = trained.build(*BATCH, batch)
    after = predictions(trained, batch)
    assert len(after) == 100
    assert (after["probability"] > before["probability"].head(100)).mean() > 0.8
    assert "It replaces 192 rows scored by version 1 at " in again

    # Another candidate of the same training is promoted.
    other = trained.read("fit/forest/run.json")
    path = trained.folder / "products/diabetes/fit/forest/model"
    asked = settings(name="diabetes", mlflow_tracking_uri=trained.uri)
    second = registering.register_version(path, other["run_id"], asked)
    # Even while a batch is on its way: it keeps the version that `receive` found.
    receive = (trained.folder / "tasks/receive.py").read_text()
    promote = 'promotion.promote_by_hand("diabetes", "2", "for a test", settings)'
    promote = f"\n# %%\nfrom baton.handover import promotion\n\n{promote}\n"
    (trained.folder / "tasks/receive.py").write_text(receive + promote)
    trained.build(*BATCH, "meanwhile")
    assert set(predictions(trained, "meanwhile")["model_version"]) == {"1"}
    assert registry.find_champion("diabetes", trained.uri) == second
    (trained.folder / "tasks/receive.py").write_text(receive)
    serving = first_hour[0].folder / SERVING
    trained.start("ploomber", "build", *BATCH, batch, programs=serving)  # where there is no PyCaret
    assert set(predictions(trained, batch)["model_version"]) == {"2"}
    assert manifest(trained, batch)["model_version"] == "2"


WEAK = """
def derive(rows):
    return rows[["weak"]]
"""
STRONG = """
def derive(rows):
    return rows.assign(sum=rows["weak"] + rows["strong"])
"""


def test_train_serve_retrain_refuse_promote_serve_and_roll_back(fresh):
    """Each version serves by its own feature code (rule 3), whatever the checkout's says by then."""
    generator = np.random.default_rng(5)
    y = generator.integers(0, 2, 600)
    rows = pd.DataFrame(
        {"id": range(600), "weak": y + generator.normal(0, 1.2, 600), "strong": y + generator.normal(0, 0.5, 600)}
    )
    rows.assign(y=y).to_csv(fresh.folder / "train.csv", index=False)
    rows.tail(100).to_csv(fresh.folder / "new.csv", index=False)
    fresh.set(name="story", train_data="train.csv", score_data="new.csv", target="y", id_columns="id")
    fresh.keep_candidates("lr")
    fresh.draw_nothing()

    def retrain(code: str, table: pd.DataFrame) -> dict:
        (fresh.folder / "features.py").write_text(code)
        table.to_csv(fresh.folder / "train.csv", index=False)
        fresh.build()
        return fresh.read("compare/verdict.json")

    def serve(batch: str) -> pd.DataFrame:
        fresh.build(*BATCH, batch)
        return pd.read_parquet(fresh.folder / "predictions" / "story" / f"batch={batch}").drop(columns="scored_at")

    first = retrain(WEAK, rows.assign(y=y))
    assert (first["decision"], first["serves"]) == ("promoted", "all")
    served = serve("one")
    assert set(served["model_version"]) == {"1"}

    learned = pd.read_parquet(fresh.folder / "products/story/clean/train.parquet")["id"].astype(int)
    mixed_up = np.where(np.isin(rows["id"], learned[::2]), 1 - y, y)
    worse = retrain(WEAK, rows.assign(y=mixed_up))
    assert (worse["decision"], worse["champion"]["version"], worse["looks"]) == ("refused", "1", 1)
    assert worse["rows"] == worse["holdout_rows"] == 600 - len(learned)

    better = retrain(STRONG, rows.assign(y=y))
    assert (better["decision"], better["champion"]["version"], better["looks"]) == ("promoted", "1", 2)
    for compared in (worse, better):
        assert compared["scores"]["champion"]["AUC"]["value"] == first["scores"]["challenger"]["AUC"]["value"]
    assert set(serve("two")["model_version"]) == {"3"}

    said = fresh.run("baton", "rollback", "--reason", "the strong column is late")
    assert said == "story version 1 is champion again; the next batch is scored by it\n"
    pd.testing.assert_frame_equal(serve("three"), served, check_exact=True)

    said = fresh.run("baton", "history")
    assert said.startswith("story: champion is version 1\n")
    events = [line.partition("UTC  ")[2].partition(";")[0] for line in said.splitlines() if "UTC  " in line]
    assert [event.partition(" by ")[0] for event in events] == [
        "rolled back to version 1", "version 3 promoted, champion was version 1", "version 2 refused, champion was version 1",
        "version 1 promoted",
    ]  # fmt: skip
    assert "    the strong column is late" in said
    assert "It serves fitted anew on all rows." in said
    shown = fresh.run("baton", "show", "3")
    assert shown.startswith("story version 3; as a page: ")
    assert "# story: model card" in shown
    fresh.run("baton", "promote", "3", "--reason", "it is on time again")
    assert set(serve("four")["model_version"]) == {"3"}


@pytest.fixture
def endpoint(trained, tmp_path):
    """MLflow's server of the champion, as the README starts it."""
    port = free_port()
    command = [PROGRAMS / "mlflow", "models", "serve", "-m", "models:/diabetes@champion", "--env-manager", "local", "-p", str(port)]  # fmt: skip
    # Not the registry that another test has used in this process, and left in the environment.
    environment = trained.environment() | {
        "MLFLOW_TRACKING_URI": trained.uri,
        "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
    }
    server = f"http://127.0.0.1:{port}"
    with serving(command, lambda: answers(f"{server}/ping"), tmp_path / "log", cwd=trained.folder, env=environment):
        yield f"{server}/invocations"


def test_mlflow_serves_the_champion_as_the_batch_scored_it(trained, endpoint):
    expected = predictions(trained, first_batch(trained))["prediction"].tolist()
    raw = pd.read_csv(trained.folder / "data" / "diabetes_test.csv").drop(columns="Outcome")
    bodies = {
        "application/json": json.dumps({"dataframe_split": json.loads(raw.to_json(orient="split", index=False))}),
        "text/csv": raw.to_csv(index=False),
    }
    for kind, body in bodies.items():
        request = urllib.request.Request(endpoint, body.encode(), {"Content-Type": kind})
        answer = json.loads(urllib.request.urlopen(request).read())
        assert answer["predictions"] == expected, kind


def test_a_mistake_is_told_before_any_long_work(fresh):
    printed = fresh.build("--env--target", "Outcom", succeeds=False)
    assert "'Outcom' (did you mean 'Outcome'?); correct target in env.yaml" in printed
    assert "Traceback" not in printed
    assert "fit-" not in printed.split("Not run")[0]
    assert fresh.tracked_nothing()


def test_a_model_id_or_a_key_that_does_not_exist_is_told_before_anything_runs(fresh):
    fresh.edit("grids/default.yaml", "  model: knn", "  model: kn")
    assert "candidate 'knn': there is no model 'kn' (did you mean 'knn'?)" in fresh.build(succeeds=False)
    fresh.edit("grids/default.yaml", "  model: kn", "  model: knn")
    fresh.edit("env.yaml", "\nseed: 7", "\nseed: 7\nhold_out: 0.3")
    assert "hold_out: there is no such key (did you mean 'holdout'?)" in fresh.build(succeeds=False)
    assert not (fresh.folder / "products").exists()


def test_a_misspelt_key_is_told_alike_by_every_command(fresh):
    """Where its right name is gone from env.yaml, too: Ploomber asks for each key before it loads anything of Baton."""
    fresh.edit("env.yaml", "\ntarget:", "\ntargte:")
    with pytest.raises(BatonError, match="targte: there is no such key .did you mean 'target'") as checked:
        config.check_settings({}, fresh.folder / "env.yaml")  # as `baton check` does
    for command in (["build"], ["build", "-e", "pipeline.serve.yaml"], ["task", "clean"], ["status"]):
        assert fresh.ploomber(*command, succeeds=False).endswith(f"\n{checked.value}\n"), command
    fresh.edit("env.yaml", "\ntargte: Outcome", "")
    assert fresh.build(succeeds=False).endswith("needs a correction:\n  target: it is missing\n")
    # A key with a default may be left out, and is an option all the same.
    fresh.edit("env.yaml", "\nseed: 7", "")
    assert "Nothing was run" in fresh.build("--env--seed", "many", "--env--target", "Outcome", succeeds=False)
    assert not (fresh.folder / "products").exists()
