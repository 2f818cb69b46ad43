"""Each notebook opened in Jupyter by itself: parameters injected, run cell by cell in a kernel started in tasks/."""

import ast
import json
import re
import secrets
import urllib.request
from pathlib import Path

import jupytext
import mlflow
import nbformat
import numpy as np
import pandas as pd
import pytest
import registering
from conftest import NOXFILE, PROGRAMS, answers, free_port, serving, warm_command
from nbclient import NotebookClient
from sklearn import metrics as sk
from sklearn.linear_model import LinearRegression

from baton import BatonError, config
from baton.data import contract, split, tables
from baton.handover import filing, intervals, registry, saving
from baton.serving import batch, job
from baton.training import checks, preparation, tournament

TASKS = config.ROOT / "tasks"
# What the README adds to tasks/fit.py.
README = (config.ROOT / "README.md").read_text()
COMPARE_MODELS = next(
    code for code in re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S) if "compare_models" in code
)

TRAINING = ["clean", "explore", "features", "fit", "ensemble", "compare"]
SERVING = ["receive", "score", "report"]


def cells(name: str) -> list[str]:
    notebook = jupytext.read(TASKS / f"{name}.py")
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("name", TRAINING + SERVING)
def test_a_notebook_tells_the_story_and_decides_nothing(name):
    """Rule 1: no definitions, no branches, few lines."""
    tree = ast.parse("\n".join(cells(name)))
    forbidden = (ast.FunctionDef, ast.ClassDef, ast.Try, ast.If, ast.For, ast.While, ast.Lambda)
    assert [type(node).__name__ for node in ast.walk(tree) if isinstance(node, forbidden)] == []
    assert len("\n".join(cells(name)).splitlines()) <= 60


def run_cells(name: str, **parameters) -> dict:
    """Run a notebook's cells here, with these parameters in the place of its own; return what its names stand for."""
    names = dict(parameters)
    for cell in cells(name)[1:]:
        exec(cell, names)
    if "html" in (parameters.get("product") or {}):  # as Ploomber does, which makes it of the notebook
        Path(parameters["product"]["html"]).write_text("the page")
    return names


def made(folder: Path, **files: str) -> dict[str, str]:
    return {name: str(folder / file) for name, file in files.items()}


CLEANED = {
    "train": "train.parquet", "holdout": "holdout.parquet", "folds": "folds.parquet", "contract": "contract.json",
    "warnings": "warnings.json", "training": "training.json",
}  # fmt: skip
FITTED = {"candidate": "candidate.json", "scores": "scores.csv", "model": "model", "figures": "figures"}
FITTED |= {"predictions": "predictions.npy", "record": "record.json", "html": "fit.html"}
CODE = """
def derive(rows):
    return rows.assign(twice=2 * rows["x"])


def select(rows):
    return rows[rows["x"] < 2]
"""


def visits(customers: int = 260) -> pd.DataFrame:
    """Four rows a customer, with the same code and the same answer; `x` tells a little of it."""
    generator = np.random.default_rng(2)
    code, answer = generator.integers(0, 31, customers), generator.random(customers) < 0.4
    rows = pd.DataFrame({"customer": range(customers), "code": [f"c{number}" for number in code], "left": answer})
    rows = rows.loc[rows.index.repeat(4)].reset_index(drop=True)
    x = generator.integers(0, 3, len(rows)) + (rows["left"] & (generator.random(len(rows)) < 0.3))
    return rows.assign(x=x, left=rows["left"].map({True: "yes", False: "no"}))


def test_the_notebooks_of_training_hand_on_the_right_rows(tmp_path, monkeypatch):
    """By group, with rows that are not to be learned from, and a champion whose positive class is the unlikely one."""
    keys = {"target": "left", "split": "group", "split_by": "customer"}
    asked, facts = registering.open_store(
        tmp_path, monkeypatch, name="demo", train_data="t.csv", features="visit_code.py", folds=2, seed=3, **keys
    )
    (tmp_path / "visit_code.py").write_text(CODE)
    visits().to_csv(tmp_path / "t.csv", index=False)
    table, settings = tables.read_table("t.csv"), asked.model_dump(exclude_unset=True)
    pipeline, learned = registering.fit(table, positive="no", **keys)
    arguments = saving.model_arguments(pipeline, learned, learned.read_features(table), table["left"], None)
    saving.save(tmp_path / "champion", arguments)
    champion = registering.register(tmp_path / "champion", asked, facts)
    registering.promote(champion, asked)

    cleaned = made(tmp_path, **CLEANED)
    run_cells("clean", upstream=None, product=cleaned, settings=settings)
    training, holdout, folds = (pd.read_parquet(cleaned[part]) for part in ("train", "holdout", "folds"))
    division = split.separate(table, contract.learn_contract(table, asked, learned), asked)
    assert contract.read_contract(cleaned["contract"]) == division.contract
    assert (division.contract.positive, division.contract.equal_rows_differ) == ("no", True)
    for found, expected in ((training, division.training), (holdout, division.holdout), (folds, division.folds)):
        assert found.index.tolist() == expected.index.tolist()
    warnings = json.loads(Path(cleaned["warnings"]).read_text())
    assert warnings == checks.check(table, division, asked)
    assert len(warnings) > 0
    facts = json.loads(Path(cleaned["training"]).read_text())
    assert (facts["rows"], facts["training"], facts["data_digest"]) == (1040, len(training), tables.digest(table))
    run = mlflow.MlflowClient(asked.mlflow_tracking_uri).get_run(facts["run_id"])
    assert json.loads(run.inputs.dataset_inputs[0].dataset.profile)["num_rows"] == len(training)

    seen = run_cells("explore", upstream={"clean": cleaned}, product=None, settings=settings)
    assert seen["X"].index.tolist() == training.index.tolist()

    made_of = made(tmp_path, X="X.parquet", folds="selected.parquet")
    run_cells("features", upstream={"clean": cleaned}, product=made_of, settings=settings)
    X, folds = pd.read_parquet(made_of["X"]), pd.read_parquet(made_of["folds"])
    trains = folds["trains"]
    assert X["twice"].tolist() == (2 * X["x"]).tolist() == (2 * training["x"].astype("float64")).tolist()
    assert trains.tolist() == (X["x"] < 2).tolist()

    fitted = made(tmp_path, **FITTED)
    fit = run_cells(
        "fit", upstream={"clean": cleaned, "features": made_of}, product=fitted, settings=settings,
        entry={"candidate": "lr", "model": "lr", "model_params": {}, "tune": 1, "prepare": "auto", "swept": {}},
    )  # fmt: skip
    raw, y, code = division.contract.read_features(training), training["left"], config.load_features("visit_code.py")
    prepare = preparation.prepare(code, X, "binary", grouped=True)
    by_hand = tournament.assemble(prepare, fit["result"].estimator, code)
    by_hand = preparation.fit(by_hand, raw[trains], y[trains], folds["group"][trains])
    np.testing.assert_array_equal(fit["pipeline"].predict_proba(raw), by_hand.predict_proba(raw))
    again = tournament.cross_validate(
        "lr", {}, 1, X, y, folds, division.contract, prepare, asked.seed, threshold="auto"
    )
    assert fit["contract"].threshold == again.threshold == saving.open_model(Path(fitted["model"])).contract.threshold
    likely = fit["pipeline"].predict_proba(raw)[:, [*fit["pipeline"].classes_].index("no")]
    assert ((fit["pipeline"].predict(raw) == "no") == (likely >= again.threshold)).all()
    pd.testing.assert_frame_equal(pd.read_csv(fitted["scores"], index_col="fold"), again.scores)
    assert fit["result"].estimator.random_state == asked.seed
    curves = ["roc", "precision_recall", "calibration", "threshold"]
    assert [*fit["drawn"]] == ["confusion", *curves, "importance", "study"]
    candidate = json.loads(Path(fitted["candidate"]).read_text())
    assert candidate["nested"] is False  # two folds leave none within
    run = mlflow.MlflowClient(asked.mlflow_tracking_uri).get_run(
        filing.file_once(fitted, "lr", facts, asked.mlflow_tracking_uri)
    )
    assert run.data.metrics["cv_mean/AUC"] == pytest.approx(again.scores["AUC"].mean())
    assert run.data.params.items() >= {"model": "lr", "seed": "3", "C": str(again.params["C"])}.items()

    visits().replace({"yes": "away", "no": "there"}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(BatonError, match="the champion of 'demo' can't be compared with a model of this table"):
        run_cells("clean", upstream=None, product=cleaned, settings=settings)


@pytest.mark.parametrize("weight", ["w", None])
def test_by_weights_another_model_is_learned_judged_and_served(tmp_path, monkeypatch, weight):
    """A few rows that weigh much say y = x, the others y = -x: all in all there is a slope by weight, and none by count."""
    generator = np.random.default_rng(5)
    rows = pd.DataFrame({"id": range(600), "x": generator.normal(size=600), "w": np.where(np.arange(600) % 2, 18, 2)})
    rows["y"] = np.where(rows["w"] == 18, rows["x"], -rows["x"]) + 0.1 * generator.normal(size=600)
    rows.to_csv(tmp_path / "t.csv", index=False)
    keys = {"id_columns": ["id"], "ignore_columns": ["w"], "weight": weight, "folds": 3, "figures": ["importance"]}
    asked, _ = registering.open_store(tmp_path, monkeypatch, name="demo", train_data="t.csv", **keys)
    settings = asked.model_dump(exclude_unset=True)
    cleaned, made_of = made(tmp_path, **CLEANED), made(tmp_path, X="X.parquet", folds="selected.parquet")
    fitted, mixed = (made(tmp_path / name, **FITTED) for name in ("lr", "mix"))
    for name in ("lr", "mix"):
        (tmp_path / name).mkdir()
    run_cells("clean", upstream=None, product=cleaned, settings=settings)
    run_cells("features", upstream={"clean": cleaned}, product=made_of, settings=settings)
    upstream = {"clean": cleaned, "features": made_of}
    entry = {"candidate": "lr", "model": "lr", "model_params": {}, "tune": 0, "prepare": "auto", "swept": {}}
    fit = run_cells("fit", upstream=upstream, product=fitted, settings=settings, entry=entry)
    entry |= {"candidate": "mix", "model": "ensemble"}
    run_cells(
        "ensemble", upstream=upstream | {"fit-*": {"fit-lr": fitted}}, product=mixed, settings=settings, entry=entry
    )
    upstream |= {"fit-*": {"fit-lr": fitted}, "ensemble-*": {"ensemble-mix": mixed}}
    folder = made(tmp_path, leaderboard="leaderboard.csv", verdict="verdict.json", version="version")
    verdict = run_cells("compare", upstream=upstream, product=folder, settings=settings)["verdict"]

    training, holdout = (pd.read_parquet(cleaned[part]) for part in ("train", "holdout"))
    means = [pd.read_csv(made["scores"], index_col="fold")["R2"].mean() for made in (fitted, mixed)]
    assert means[0] == pytest.approx(means[1])
    assert fit["result"].unweighted == ([] if weight else None)
    weights = training["w"].to_numpy(dtype="float64") if weight else None
    kept = intervals.Residuals.of(training["y"].to_numpy(), fit["result"].predictions, "plain", weights)
    assert [intervals.read(Path(made["model"])) for made in (fitted, mixed)] == [kept, kept]
    by = {"sample_weight": training["w"]} if weight else {}
    slope = LinearRegression().fit(training[["x"]], training["y"], **by).coef_[0]
    assert np.ptp(fit["pipeline"].predict(pd.DataFrame({"x": [0.0, 1.0]}))) == pytest.approx(abs(slope))
    reached = verdict.scores["challenger"]["R2"]["value"]
    judged = {"sample_weight": holdout["w"]} if weight else {}
    assert reached == pytest.approx(sk.r2_score(holdout["y"], fit["pipeline"].predict(holdout[["x"]]), **judged))
    assert verdict.decision == ("promoted" if weight else "refused")
    assert (f"on {len(holdout)} holdout rows, weighted by 'w': challenger" in verdict.reason) == bool(weight)
    assert (" by w, here and in all leads." in (tmp_path / "version" / "card.md").read_text()) == bool(weight)
    if weight:
        assert (slope, means[0]) == (pytest.approx(0.8, abs=0.1), pytest.approx(0.64, abs=0.15))
        champion = registry.find_champion("demo", asked.mlflow_tracking_uri)
        ends = registry.predict(champion, champion.contract.read_features(pd.DataFrame({"x": [0.0, 1.0]})))
        assert np.diff(ends)[0] == pytest.approx(LinearRegression().fit(rows[["x"]], rows["y"], rows["w"]).coef_[0])


def test_the_notebooks_of_serving_publish_what_the_version_they_found_predicts(tmp_path, monkeypatch, capsys):
    asked, facts = registering.open_store(
        tmp_path, monkeypatch, name="demo", score_data="new.csv", batch="one", predictions_table="sqlite:///s.db#scores"
    )
    generator = np.random.default_rng(4)
    rows = pd.DataFrame({"a": generator.normal(size=80), "b": [1.0, np.nan] * 40})
    rows["y"] = np.where(rows["a"] + generator.normal(size=80) > 0, "yes", "no")
    pipeline, learned = registering.fit(rows)
    X = learned.read_features(rows)
    arguments = saving.model_arguments(pipeline, learned, X, rows["y"], None)
    saving.save(tmp_path / "model", arguments)
    first, second = (registering.register(tmp_path / "model", asked, facts, name) for name in ("lr", "other"))
    registering.promote(first, asked)
    new = rows.head(30).drop(columns=["b", "y"])
    new.to_csv(tmp_path / "new.csv", index=False)
    settings = asked.model_dump()
    received = made(tmp_path, batch="batch.json", head="head.parquet")
    scored = made(tmp_path, manifest="manifest.json")
    run_cells("receive", upstream=None, product=received, settings=settings)
    found = batch.read_batch(received["batch"])
    assert found.complete is False
    registering.promote(second, asked)  # while the batch is on its way
    run_cells("score", upstream={"receive": received}, product=scored, settings=settings)
    capsys.readouterr()
    report = run_cells("report", upstream={"score": scored, "receive": received}, product=None, settings=settings)
    assert "column 'b' is not there; it counts as missing" in capsys.readouterr().out
    assert not found.folder.exists()  # its report is still to come

    (tmp_path / "report.html").write_text("report")
    job.publish(found, tmp_path / "report.html", asked.mlflow_tracking_uri)
    expected = pipeline.predict_proba(learned.read_features(new.assign(b=np.nan)))[:, 1]
    stored = pd.read_sql("SELECT * FROM scores", f"sqlite:///{tmp_path / 's.db'}")
    for rows in (batch.read(found.folder), stored, report["predictions"]):
        np.testing.assert_allclose(rows["probability"], expected)
        assert rows["model_version"].tolist() == ["1"] * 30
    (run,) = mlflow.search_runs(experiment_names=["demo-batches"], output_format="list")
    assert (run.info.status, run.data.metrics["rows_scored"], run.data.tags["batch"]) == ("FINISHED", 30, "one")

    registering.promote(first, asked)
    run_cells("receive", upstream=None, product=received, settings=settings)
    assert batch.read_batch(received["batch"]).complete is True


def test_every_notebook_runs_in_a_kernel_of_its_own(trained, monkeypatch, tmp_path):
    """In the order of the pipelines, each on what those before it left; none of it is run by Ploomber."""
    monkeypatch.setenv("PYTHONPATH", str(trained.folder))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    # A kernel would end with its parent, for which it takes who started it: here one that only waits for it.
    kernel = ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel = {
        "argv": ["env", "-u", "JPY_PARENT_PID", *warm_command(), *kernel],
        "display_name": "",
        "language": "python",
    }
    (tmp_path / "kernels/warm").mkdir(parents=True)
    (tmp_path / "kernels/warm/kernel.json").write_text(json.dumps(kernel))
    trained.keep_candidates("lr", "tree")  # the quickest
    with (trained.folder / "grids/default.yaml").open("a") as grid:
        grid.write("- {candidate: both, model: ensemble}")
    tasks = {path: path.read_bytes() for path in (trained.folder / "tasks").glob("*.py")}
    trained.ploomber("nb", "--inject")
    trained.ploomber("nb", "--inject", "-e", "pipeline.serve.yaml")
    verdict = trained.folder / "products/diabetes/compare/verdict.json"
    before = json.loads(verdict.read_text())
    verdict.unlink()
    drawn = set()
    for name in TRAINING + SERVING:
        notebook = jupytext.read(trained.folder / "tasks" / f"{name}.py")
        if name == "fit":
            notebook.cells.append(nbformat.v4.new_code_cell(COMPARE_MODELS))
        NotebookClient(
            notebook,
            startup_timeout=600,
            kernel_name="warm",
            resources={"metadata": {"path": str(trained.folder / "tasks")}},
        ).execute()
        shown = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.outputs]
        assert len(shown) >= 2, name
        drawn |= {name} if any("image/png" in one.get("data", {}) for cell in shown for one in cell.outputs) else set()
        if name == "fit":  # PyCaret's own table says of this candidate what Baton does, to four digits
            table = notebook.cells[-1].outputs[-1]["data"]["text/plain"]
            scores = pd.read_csv(trained.folder / "products/diabetes/fit/lr/scores.csv")
            assert re.search(rf"^lr +Logistic Regression +\d.\d+ +{scores['AUC'].mean():.4f} ", table, re.MULTILINE)
            assert re.search("^lda ", table, re.MULTILINE)
    assert drawn == {"explore", "fit", "ensemble", "compare", "report"}
    # The winner is compared with the champion on the same rows, and whoever is better stays.
    after = json.loads(verdict.read_text())
    assert after["winner"] in {"lr", "both"}
    assert after["scores"]["champion"]["AUC"] == before["scores"]["challenger"]["AUC"]
    assert after["decision"] == ("promoted" if after["leads"]["champion"]["bound"] > 0 else "refused")

    # As the README says for other editors: the parameters and all that came with them are taken out again.
    trained.ploomber("nb", "--remove")
    trained.ploomber("nb", "--remove", "-e", "pipeline.serve.yaml")
    trained.run("jupytext", "--to", "py:percent", "--opt", "notebook_metadata_filter=-all", *map(str, tasks))
    assert {path: path.read_bytes() for path in tasks} == tasks


def test_a_notebook_saved_in_jupyterlab_is_as_it_was(trained, tmp_path):
    """Opened with its parameters, and saved with outputs and what JupyterLab adds, through its own interface."""
    (trained.folder / "nox_jupyter.py").write_text(NOXFILE)
    port, token = free_port(), secrets.token_hex()
    server, log = f"http://127.0.0.1:{port}/api", tmp_path / "log"
    options = ["--no-browser", "--allow-root", f"--port={port}", f"--IdentityProvider.token={token}"]
    command = [PROGRAMS / "nox", "-f", "nox_jupyter.py", "-s", "jupyter", "--", *options]
    source = trained.folder / "tasks" / "explore.py"
    before = source.read_bytes()

    def ask(path: str, **body):
        sent = {"data": json.dumps(body).encode(), "method": "PUT"} if body else {}
        request = urllib.request.Request(f"{server}/{path}", headers={"Authorization": f"token {token}"}, **sent)
        return json.load(urllib.request.urlopen(request))

    how = {"cwd": trained.folder, "env": trained.environment()}
    with serving(command, lambda: answers(f"{server}/status?token={token}"), log, **how):
        notebook = nbformat.from_dict(ask("contents/tasks/explore.py?type=notebook")["content"])
        injected = [cell for cell in notebook.cells if "injected-parameters" in cell.metadata.get("tags", [])]
        assert str(trained.folder / "products/diabetes/clean/train.parquet") in injected[0].source
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell |= {"execution_count": 1, "outputs": [nbformat.v4.new_output("stream", text="shown\n")]}
            cell.metadata |= {"trusted": True, "scrolled": False, "jupyter": {"outputs_hidden": True}}
        notebook.metadata |= {"language_info": {"name": "python"}, "kernelspec": {"name": "python3", "display_name": "Python 3"}}  # fmt: skip
        ask("contents/tasks/explore.py", type="notebook", format="json", content=notebook)
        assert source.read_bytes() == before

        # What was changed is saved, and nothing else.
        notebook.cells[0].source += "\nA remark."
        ask("contents/tasks/explore.py", type="notebook", format="json", content=notebook)
    old, new = before.decode().splitlines(), source.read_text().splitlines()
    assert [line for line in new if line not in old] == ["# A remark."]
    assert len(new) == len(old) + 1
