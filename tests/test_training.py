"""The training pipeline as a newcomer runs it, and as it is run again after something changed."""

import json
import re

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PROJECT
from filelock import FileLock
from ploomber.products._resources import process_resources
from ploomber.spec import DAGSpec

from baton import config, grid, models
from baton.data import contract, split
from baton.handover import registry, saving

NEIGHBOURS = ("knn-n_neighbors=15", "knn-n_neighbors=25")
FILED = {"confusion.png", "threshold.png", "roc.png", "precision_recall.png", "calibration.png", "importance.png"}


def runs(project, name: str = "diabetes") -> pd.DataFrame:
    client = mlflow.MlflowClient(project.uri)
    experiment = client.get_experiment_by_name(name).experiment_id
    found = client.search_runs([experiment], max_results=1000)
    return pd.DataFrame(
        {
            "id": run.info.run_id,
            "name": run.info.run_name,
            "status": run.info.status,
            **run.data.tags,
            "metrics": run.data.metrics,
        }
        for run in found
    )


def filed(project, run_id: str, folder: str) -> set[str]:
    return {
        found.path.removeprefix(f"{folder}/")
        for found in mlflow.MlflowClient(project.uri).list_artifacts(run_id, folder)
    }


def candidates() -> list[dict]:
    """Those that the tests train."""
    return grid.read(str(PROJECT / "grids/default.yaml"))


def outdated(project, monkeypatch, **changed) -> set[str]:
    """The tasks that a build would run now."""
    monkeypatch.chdir(project.folder)
    monkeypatch.setattr(config, "ROOT", project.folder)
    env = yaml.safe_load((project.folder / "env.yaml").read_text()) | changed
    dag = DAGSpec("pipeline.yaml", env=env).to_dag().render(show_progress=False)
    return {name for name in dag if dag[name].exec_status.name in {"WaitingExecution", "WaitingUpstream"}}


def test_every_candidate_is_a_finished_child_of_the_training_with_all_that_belongs_to_it(first_hour):
    project, _ = first_hour
    found = runs(project)
    parent = found[found["mlflow.parentRunId"].isna()]
    assert len(parent) == 1
    children = found[found["mlflow.parentRunId"] == parent["id"].item()].set_index("name")
    trials = found[found["mlflow.parentRunId"] == children.at["lightgbm-tuned", "id"]]
    assert len(trials) == 12 == len(found) - len(children) - 1
    assert {*trials["trial"]} == {"finished", "pruned"}
    assert sorted(children.index) == sorted(entry["candidate"] for entry in candidates())
    assert set(children["status"]) == {"FINISHED"}
    assert set(children["data_digest"]) == set(parent["data_digest"])
    assert set(children["task"]) == {"binary"}
    client = mlflow.MlflowClient(project.uri)
    for name, run_id in children["id"].items():
        assert filed(project, run_id, "figures") == FILED | ({"study.png"} if name == "lightgbm-tuned" else set())
        assert filed(project, run_id, "notebook") == {"fit.html"}
        run = client.get_run(run_id)
        assert {"cv_mean/AUC", "cv_std/AUC", "cv_mean/F1", "fit_seconds", "score_seconds", "model_bytes"} <= set(
            run.data.metrics
        )
        assert run.data.params["model"] == next(entry["model"] for entry in candidates() if entry["candidate"] == name)
        assert [given.dataset.name for given in run.inputs.dataset_inputs] == ["diabetes_train"]
        logged = client.search_logged_models([run.info.experiment_id], filter_string=f"source_run_id = '{run_id}'")
        wins = name == project.read("compare/verdict.json")["winner"]
        assert sorted((model.name, model.status.name) for model in logged) == [
            ("model", "READY"), *([("version", "READY")] if wins else []),
        ]  # fmt: skip
    assert filed(project, parent["id"].item(), "notebook") == {
        "clean.html",
        "explore.html",
        "features.html",
        "compare.html",
    }
    assert filed(project, parent["id"].item(), "tables") == {"leaderboard.csv", "holdout.csv"}


def test_the_tests_grid_has_enough_of_everything():
    entries = candidates()
    single = {entry["model"] for entry in entries if "+" not in entry["model"]}
    assert len(entries) >= 6
    assert len(single) >= 5
    for part in {part for entry in entries for part in entry["model"].split("+")}:
        assert models.CATALOGUE[part].predicts == models.BOTH
    assert any(entry["tune"] for entry in entries)
    assert any("+" in entry["model"] for entry in entries)


def test_the_champion_is_the_winner_and_says_why(first_hour):
    project, _ = first_hour
    verdict = project.read("compare/verdict.json")
    champion = registry.find_champion("diabetes", project.uri)
    version = mlflow.MlflowClient(project.uri).get_model_version("diabetes", champion.version)
    assert verdict["decision"] == "promoted"
    assert version.tags["candidate"] == verdict["winner"]
    assert version.description.startswith(f"Cross-validated on the training rows, {verdict['choice']}. This version is")
    leaderboard = pd.read_csv(project.folder / "products/diabetes/compare/leaderboard.csv", index_col="candidate")
    assert leaderboard["mean"].is_monotonic_decreasing
    assert leaderboard.at[verdict["winner"], "level"]
    assert verdict["scores"]["challenger"]["AUC"]["value"] > verdict["scores"]["baseline"]["AUC"]["value"] == 0.5


def test_no_holdout_row_nor_its_duplicate_is_in_what_candidates_learn_from(first_hour):
    project, _ = first_hour
    clean = project.folder / "products/diabetes/clean"
    asked = contract.read_contract(clean / "contract.json")
    training, holdout = (pd.read_parquet(clean / f"{part}.parquet") for part in ("train", "holdout"))
    derived = pd.read_parquet(project.folder / "products/diabetes/features/X.parquet")
    assert set(split.fingerprint(training, asked.features)).isdisjoint(split.fingerprint(holdout, asked.features))
    assert derived.index.equals(training.index)
    assert len(training) + len(holdout) == 576


def test_the_champion_keeps_the_fingerprints_of_the_rows_it_learned_from(first_hour):
    project, _ = first_hour
    champion = registry.find_champion("diabetes", project.uri)
    training = pd.read_parquet(project.folder / "products/diabetes/clean/train.parquet")
    assert champion.fingerprints.tolist() == sorted(split.identify(training, champion.contract))


# What is edited, and which tasks a build then runs; None edits a key of env.yaml.
CHANGES = [
    ("grids/default.yaml", "n_neighbors: 25", "n_neighbors: 15", {"fit-knn", "compare"}),
    (
        "grids/default.yaml", "- candidate: lightgbm-tuned",
        "- {candidate: knn-9, model: knn, model_params: {n_neighbors: 9}}\n- candidate: lightgbm-tuned",
        {"fit-knn-9", "compare"},
    ),
    ("features.py", "/ 405", "/ 400", {"features", "fits", "compare"}),
    ("baton/training/tournament.py", "INNER_FOLDS = 3", "INNER_FOLDS = 2", {"fits", "compare"}),
    ("baton/figures.py", "bins=40", "bins=30", {"explore", "fits", "compare"}),
    ("baton/handover/comparison.py", "FEWEST = 30", "FEWEST = 40", {"compare"}),
    ("baton/data/split.py", "digest_size=8", "digest_size=16", {"clean", "explore", "features", "fits", "compare"}),
    ("tasks/explore.py", "# # Explore", "# # Look", {"explore"}),
    ("data/diabetes_train.csv", "\n1,126,60", "\n1,127,60", {"clean", "explore", "features", "fits", "compare"}),
    (None, "choose", "simplest", {"compare"}),
    (None, "seed", 8, {"clean", "explore", "features", "fits", "compare"}),
    (None, "batch", "another", set()),
]  # fmt: skip


def test_a_change_reruns_what_uses_it_and_nothing_else(trained, monkeypatch):
    fits = {f"fit-{entry['candidate']}" for entry in candidates()}
    assert outdated(trained, monkeypatch) == set()
    for file, old, new, reruns in CHANGES:
        expected = {name for each in reruns for name in (fits if each == "fits" else {each})}
        if file is None:
            assert outdated(trained, monkeypatch, **{old: new}) == expected, old
            continue
        before = (trained.folder / file).read_text()
        trained.edit(file, old, new)
        # A build would say so in Ploomber's own records; here they are put back as they were.
        records = {path: path.read_bytes() for path in trained.folder.rglob("products/**/*.metadata")}
        assert outdated(trained, monkeypatch) == expected, file
        (trained.folder / file).write_text(before)
        for path, content in records.items():
            path.write_bytes(content)
    # Ploomber numbers the products of a grid; ours must not be renumbered.
    trained.keep_candidates(*(entry["candidate"] for entry in candidates()[1:]))
    assert outdated(trained, monkeypatch) == {"compare"}


# What was cut off when the power failed, and what is made again.
CUT_OFF = {
    "clean/train.parquet": {"clean", "explore", "features", "fits", "compare"},
    "clean/contract.json": {"clean", "explore", "features", "fits", "compare"},
    "clean/.clean.ipynb.metadata": {"clean", "explore", "features", "fits", "compare"},
    "fit/lr/candidate.json": {"fit-lr", "compare"},
    "fit/lr/scores.csv": {"fit-lr", "compare"},
    "fit/lr/model/model.skops": {"fit-lr", "compare"},
    "compare/leaderboard.csv": {"compare"},
    "compare/verdict.json": {"compare"},
}


def test_what_a_power_failure_cut_off_is_made_again(trained, monkeypatch):
    products = trained.folder / "products/diabetes"
    fits = {f"fit-{entry['candidate']}" for entry in candidates()}
    records = {path: path.read_bytes() for path in products.rglob("*.metadata")}
    for file, again in CUT_OFF.items():
        whole = (products / file).read_bytes()
        (products / file).write_bytes(whole[: len(whole) // 2])
        expected = {name for each in again for name in (fits if each == "fits" else {each})}
        assert outdated(trained, monkeypatch) == expected, file
        for path, content in ({products / file: whole} | records).items():
            path.write_bytes(content)
    assert outdated(trained, monkeypatch) == set()
    trained.keep_candidates("lr")
    for file in CUT_OFF:
        (products / file).write_bytes(b"")
    trained.build()
    assert trained.read("compare/verdict.json")["winner"] == "lr"
    assert "Everything is up to date" in trained.build()


def test_a_report_for_readers_has_no_paths_of_this_machine_and_the_notebook_beside_it_has(first_hour):
    folder = first_hour[0].folder
    reports = [*folder.glob("products/diabetes/**/*.html")]
    card = folder / "products/diabetes/compare/version/card.html"
    assert str(folder) not in card.read_text()
    reports.remove(card)
    assert len(reports) == 4 + len(candidates()) + 3
    for report in reports:
        assert str(folder) not in report.read_text(), report
        assert str(folder) in report.with_suffix(".ipynb").read_text(), report


def test_a_removed_candidate_leaves_the_leaderboard(trained):
    names = [entry["candidate"] for entry in candidates()]
    trained.keep_candidates(*names[1:])
    assert [line.split()[1] for line in trained.build().splitlines() if line.startswith("[")] == ["compare"]
    leaderboard = pd.read_csv(trained.folder / "products/diabetes/compare/leaderboard.csv")
    assert sorted(leaderboard["candidate"]) == sorted(names[1:])
    assert trained.read("compare/verdict.json")["winner"] in names[1:]


def test_another_name_trains_beside_the_first_and_touches_nothing_of_it(trained):
    before = {path: path.stat().st_mtime_ns for path in (trained.folder / "products/diabetes").rglob("*")}
    trained.keep_candidates("lr")
    trained.draw_nothing()
    with FileLock(trained.folder / "products/diabetes/training.lock"):  # as while the first is being trained
        trained.build("--env--name", "second")
    assert (trained.folder / "products/second/compare/verdict.json").is_file()
    assert {path: path.stat().st_mtime_ns for path in (trained.folder / "products/diabetes").rglob("*")} == before


def test_every_baton_module_a_notebook_uses_is_among_its_resources():
    """Else a change to it would leave stale products behind."""
    tasks = yaml.safe_load((config.ROOT / "pipeline.yaml").read_text())["tasks"]
    # These decide nothing about a product: what they hold is checked anew at every build, is a path, or only refuses.
    exempt = {
        "tasks/clean.py": {"config", "handover/comparison", "handover/registry"},
        "tasks/fit.py": {"config", "grid"},
    }
    for task in tasks:
        source = (config.ROOT / task["source"]).read_text()
        found = re.findall(r"^from baton(?:\.(\w+))? import ([\w, ]+)$", source, re.MULTILINE)
        found += [
            (wing, module) for wing, module in re.findall(r"^from baton\.(\w+)\.(\w+) import", source, re.MULTILINE)
        ]
        imported = {f"{wing}/{name}".lstrip("/") for wing, names in found for name in names.split(", ")}
        resources = {file.removeprefix("{{root}}/") for file in task["params"].get("resources_", {}).values()}
        missing = {
            name
            for name in imported
            if name not in exempt.get(task["source"], {"config"}) and f"baton/{name}.py" not in resources
        }
        assert missing == set(), task["source"]


def test_what_makes_a_task_rerun_is_found_wherever_the_build_was_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for task in DAGSpec(config.ROOT / "pipeline.yaml").to_dag().values():
        assert process_resources(task.params.to_dict())


def test_a_sweep_given_on_the_command_line_is_a_run_for_each_combination(fresh):
    """Each with its parameters; and the build after it, of another grid, is a leaderboard of that."""
    file = fresh.folder / "grids/elasticnet.yaml"
    file.write_text(
        re.sub(r"alpha: .*", "alpha: [0.1, 1]", re.sub(r"l1_ratio: .*", "l1_ratio: [0.2, 0.8]", file.read_text()))
    )
    pairs = {(alpha, ratio) for alpha in ("0.1", "1") for ratio in ("0.2", "0.8")}
    options = fresh.run("baton", "options", "examples/progression.yaml").split()
    printed = fresh.build(*options, "--env--grid", "elasticnet")
    assert set(re.findall(r"\] (fit-\S+) done", printed)) == {
        f"fit-en-alpha={one}-l1_ratio={two}" for one, two in pairs
    }
    found = runs(fresh, "progression")
    client, children = mlflow.MlflowClient(fresh.uri), found[found["mlflow.parentRunId"].notna()]
    params = [client.get_run(run_id).data.params for run_id in children["id"]]
    assert {(run["alpha"], run["l1_ratio"]) for run in params} == pairs
    assert [filed(fresh, run_id, "figures") for run_id in children["id"]] == [set()] * 4
    (parent,) = found.loc[found["mlflow.parentRunId"].isna(), "id"]
    assert filed(fresh, parent, "figures") == {"leaderboard.png", "sweeps.png", "decision.png"}

    fresh.keep_candidates("lr")
    fresh.build(*options, "--env--figures", "residuals")
    leaderboard = pd.read_csv(fresh.folder / "products/progression/compare/leaderboard.csv", index_col="candidate")
    assert [*leaderboard.index] == ["lr"]
    (lr,) = runs(fresh, "progression").query("name == 'lr'")["id"]
    assert filed(fresh, lr, "figures") == {"residuals.png"}


def test_an_ensemble_is_one_more_candidate_made_of_the_others_and_of_those_alone(fresh):
    fresh.keep_candidates("lr", "tree", "knn")
    fresh.draw_nothing()
    fresh.edit("grids/default.yaml", "n_neighbors: 25", "n_neighbors: [15, 25]")
    grid = fresh.folder / "grids/default.yaml"
    grid.write_text(f"- {{candidate: together, model: ensemble}}\n{grid.read_text()}")
    printed = fresh.build()
    assert re.findall(r"\] (?:fit|ensemble)-(\w+) done", printed)[-1] == "together"
    leaderboard = pd.read_csv(fresh.folder / "products/diabetes/compare/leaderboard.csv", index_col="candidate")
    assert {*leaderboard.index} == {"lr", "tree", *NEIGHBOURS, "together"}
    made = fresh.read("fit/together/candidate.json")
    (run_id,) = runs(fresh, "diabetes").query("name == 'together'")["id"]
    run = mlflow.MlflowClient(fresh.uri).get_run(run_id)
    assert run.data.metrics["cv_mean/AUC"] == pytest.approx(leaderboard.at["together", "mean"])
    assert json.loads(run.data.params["weights"]) == made["weights"]

    # What it answers is the mean of what the others answer, as they were fitted.
    folder = fresh.folder / "products/diabetes/fit"
    rows = pd.read_csv(fresh.folder / "data/diabetes_test.csv").head(50)
    asked = saving.open_model(folder / "together/model").contract
    found = {
        name: registry.predict(saving.open_model(folder / name / "model"), asked.read_features(rows))
        for name in leaderboard.index
    }
    mean = sum(weight * found[name] for name, weight in made["weights"].items())
    np.testing.assert_allclose(found["together"], mean)

    # Its members decide what it is: it is made anew with them, and with nothing else.
    again = fresh.build("--env--promote", "never")
    assert re.findall(r"\] (\S+) done", again) == ["compare"]
    grid.write_text(
        "\n".join(line for line in grid.read_text().splitlines() if not line.startswith("- {candidate: together"))
    )
    fresh.build()
    leaderboard = pd.read_csv(fresh.folder / "products/diabetes/compare/leaderboard.csv", index_col="candidate")
    assert {*leaderboard.index} == {"lr", "tree", *NEIGHBOURS}


def test_a_failing_candidate_leaves_a_failed_run_and_the_next_build_runs_only_what_is_missing(fresh):
    """The first build spawns its processes, as on macOS and Windows, which have no safe fork."""
    fresh.keep_candidates("lr", "knn")
    fresh.draw_nothing()
    fresh.edit("grids/default.yaml", "n_neighbors: 25", "n_neighbors: -3")
    executor = "dotted_path: baton.executor.Parallel"
    fresh.edit("pipeline.yaml", executor, f"start_method: spawn\n  processes: 1\n  {executor}")
    printed = fresh.build(succeeds=False)
    assert "fit-knn: model 'knn' with {'n_neighbors': -3} can't be fitted: The 'n_neighbors' parameter" in printed
    assert "Not run, because they depend on that: compare." in printed
    assert "Traceback" not in printed
    found = runs(fresh).set_index("name")
    assert found.at["lr", "status"] == "FINISHED"
    assert found.at["knn", "status"] == "FAILED"
    assert "'n_neighbors' parameter" in found.at["knn", "error"]
    assert filed(fresh, found.at["knn", "id"], "notebook") == {"fit.ipynb"}

    fresh.edit("grids/default.yaml", "n_neighbors: -3", "n_neighbors: 25")
    fresh.edit("pipeline.yaml", "start_method: spawn", "start_method: fork")
    printed = fresh.build()
    assert [line.split()[1] for line in printed.splitlines() if line.startswith("[")] == ["fit-knn", "compare"]
    # The old failure stays on record, and is no candidate.
    leaderboard = pd.read_csv(fresh.folder / "products/diabetes/compare/leaderboard.csv", index_col="candidate")
    assert sorted(leaderboard.index) == ["knn", "lr"]
    assert sorted(runs(fresh).query("name == 'knn'")["status"]) == ["FAILED", "FINISHED"]


def test_track_false_trains_and_compares_without_mlflow(fresh):
    fresh.keep_candidates("lr")
    fresh.draw_nothing()
    fresh.build("--env--track", "false")
    verdict = fresh.read("compare/verdict.json")
    assert verdict["scores"]["challenger"]["AUC"]["value"] > 0.7
    assert fresh.tracked_nothing()
