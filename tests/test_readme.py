"""What the README shows is what happens: its commands run, and its output is real."""

import ast
import json
import re
import shutil
import subprocess

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PROGRAMS

from baton import config
from baton.data import tables

DEFAULT_GRID = "ade1b4bbb48e"  # how the digest of the grid begins whose figures the README shows
README = (config.ROOT / "README.md").read_text()
COMMAND = r"^ *(?:nox|ploomber|baton (?=check|options|results|history|show|rollback|promote|clean)|mlflow run|pytest|pip install nox && nox|MLFLOW\S+ mlflow)\b[^#\n]*"

STORY = "test_train_serve_retrain_refuse_promote_serve_and_roll_back"

# The commands the README shows: the file and the function that run each, and how it is written there.
RUN = {
    "pip install nox && nox -s pipeline": ("tests/conftest.py", "first_hour", '"nox", "-s", "pipeline"'),
    "pip install nox && nox -s tests": (".ci/run", None, "pip install --quiet nox && nox -s tests"),
    "ploomber build": ("tests/test_readme.py", "test_the_commands_of_the_two_pipelines_run", "trained.build()"),
    "ploomber build -e pipeline.serve.yaml": (
        "tests/test_readme.py", "test_the_commands_of_the_two_pipelines_run", 'trained.build("-e", "pipeline.serve.yaml", ',
    ),
    "ploomber build --env--track false": (
        "tests/test_training.py", "test_track_false_trains_and_compares_without_mlflow", '"--env--track", "false"',
    ),
    "baton check": (
        "tests/test_readme.py", "test_make_it_yours_takes_a_table_through_to_predictions_without_any_code",
        'fresh.run("baton", "check")',
    ),
    "ploomber build $(baton options examples/parcels.yaml)": (
        "tests/test_examples.py", "test_an_example_runs_through_to_predictions", "fresh.build(*options)",
    ),
    "ploomber build -e pipeline.serve.yaml $(baton options examples/parcels.yaml)": (
        "tests/test_examples.py", "test_an_example_runs_through_to_predictions", '"pipeline.serve.yaml", *options',
    ),
    "ploomber build $(baton options examples/progression.yaml) --env--grid elasticnet": (
        "tests/test_training.py", "test_a_sweep_given_on_the_command_line_is_a_run_for_each_combination",
        'fresh.build(*options, "--env--grid", "elasticnet")',
    ),
    "ploomber status": ("tests/test_readme.py", "test_the_commands_of_the_two_pipelines_run", '"ploomber", "status"'),
    "ploomber plot --backend mermaid": (
        "tests/test_readme.py", "test_the_commands_of_the_two_pipelines_run", '"plot", "--backend", "mermaid"',
    ),
    "baton history": ("tests/test_serving.py", STORY, 'fresh.run("baton", "history")'),
    "baton show 3": ("tests/test_serving.py", STORY, '"show", "3"'),
    'baton rollback --reason "the strong column is late"': (
        "tests/test_serving.py", STORY, '"rollback", "--reason", "the strong column is late"',
    ),
    'baton promote 3 --reason "it is on time again"': (
        "tests/test_serving.py", STORY, '"promote", "3", "--reason", "it is on time again"',
    ),
    "nox -s baton -- history": ("tests/test_cli.py", "test_nox_runs_each_command_as_it_is", '[*nox, "history"'),
    "ploomber task fit-lr --force": ("tests/test_readme.py", "test_then_what", '"task", "fit-lr", "--force"'),
    "ploomber build --env--metric F1": ("tests/test_readme.py", "test_then_what", '"--env--metric", "F1"'),
    "mlflow run . -P name=churn -P train_data=data/customers.csv -P target=left": (
        "tests/test_mlproject.py", "mlflow_run", '"mlflow", "run", "."',
    ),
    "mlflow run . -e score -P name=churn -P score_data=data/customers_tonight.csv": (
        "tests/test_mlproject.py", "mlflow_run", '"-e", entry',
    ),
    "baton clean --keep 20": ("tests/test_readme.py", "test_then_what", '"baton", "clean", "--keep", "20"'),
    "pytest tests/test_project.py --env-file examples/wine.yaml": (
        "tests/test_examples.py", "test_an_example_passes_the_tests_of_a_project", '"tests/test_project.py"',
    ),
    "MLFLOW_TRACKING_URI=sqlite:///mlflow.db mlflow models serve -m models:/diabetes@champion --env-manager local": (
        "tests/test_serving.py", "endpoint", '"models:/diabetes@champion"',
    ),
}  # fmt: skip


def blocks(language: str = "") -> list[str]:
    fenced = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", README, re.MULTILINE | re.DOTALL)
    return [content for own, content in fenced if own == language]


def test_every_command_shown_is_run_by_a_test():
    shown = {found.strip() for block in blocks() for found in re.findall(COMMAND, block, re.MULTILINE)}
    assert shown == set(RUN)
    for command, (file, function, written) in RUN.items():
        source = (config.ROOT / file).read_text()
        if function:
            found = [node for node in ast.walk(ast.parse(source)) if getattr(node, "name", None) == function]
            assert len(found) == 1, (command, function)
            source = ast.get_source_segment(source, found[0])
        assert written in source, command


def test_the_first_command_ends_as_shown(first_hour):
    """All but dates: of another grid, as here, with another winner and its figures; those of the default grid below."""
    _, printed = first_hour
    shown = next(block for block in blocks() if "\npredictions " in block)

    def plain(text):
        text = re.sub(r"batch=\d{4}-\d\d-\d\d", "batch=DATE", text)
        text = re.sub(r"^[\w-]+ has the best mean", "WINNER has the best mean", text.strip())
        text = re.sub(r"\d+ of \d+ others|\d\.\d{4}", "#", text)
        return [line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith("nox >")]

    tail = plain(printed[printed.rindex("baton results") + len("baton results") :])
    assert tail == plain(shown)


def test_the_figures_shown_are_those_of_the_default_grid(trained, first_hour):
    """What it has in common with the tests' grid is fitted already."""
    default = config.ROOT / "grids/default.yaml"
    if not tables.digest_files([default]).startswith(DEFAULT_GRID):
        pytest.skip("grids/default.yaml was changed: the README shows the figures of another")
    shown = next(block for block in blocks() if "\npredictions " in block)
    shutil.copy(default, trained.folder / "grids/shipped.yaml")
    shipped = trained.build("--env--grid", "shipped")
    choice, verdict = shown.strip().splitlines()[:2]
    assert f"\n{choice}\n" in shipped
    itself = "stays champion" in shipped and "itself" in shipped  # the same model was judged by the build before
    assert re.search(r"challenger \d\.\d{4}", verdict)[0] in (first_hour[1] if itself else shipped)


def test_the_commands_of_the_two_pipelines_run(trained):
    assert "Everything is up to date" in trained.build()
    (batch,) = (trained.folder / "predictions/diabetes").glob("batch=*")  # of yesterday, if it was made before midnight
    name = batch.name.removeprefix("batch=")
    assert "Nothing has changed" in trained.build("-e", "pipeline.serve.yaml", "--env--batch", name)
    status = trained.run("ploomber", "status")
    assert all(name in status for name in ("clean", "explore", "features", "fit-lr", "fit-blend", "compare"))
    trained.run("ploomber", "plot", "--backend", "mermaid")
    drawn = (trained.folder / "pipeline.html").read_text()
    assert all(name in drawn for name in ("clean", "fit-lr", "compare"))


def test_then_what(trained):
    """One task alone, another metric, a function that leaves rows out, a row explained, and trainings taken away."""
    trained.keep_candidates("lr")
    trained.run("ploomber", "task", "fit-lr", "--force")
    explain, select = (next(block for block in blocks("python") if word in block) for word in ("moves", "def select"))
    (trained.folder / "explain.py").write_text(explain)
    printed = trained.run("python", "explain.py")
    assert len(re.findall(r"^(Glucose|BMI|Age|Insulin|\w+) +-?\d\.\d+$", printed, re.MULTILINE)) == 3

    with (trained.folder / "features.py").open("a") as file:
        file.write(select)
    trained.build("--env--metric", "F1")
    raw = pd.read_parquet(trained.folder / "products/diabetes/clean/train.parquet")
    folds = pd.read_parquet(trained.folder / "products/diabetes/features/folds.parquet")
    assert (folds["trains"] == (raw["Glucose"].astype("float64") > 0)).all()
    assert not folds["trains"].all()
    assert trained.read("compare/verdict.json")["metric"] == "F1"

    said = trained.run("baton", "clean", "--keep", "20")
    assert re.fullmatch(r"diabetes: nothing to remove of \d trainings, with the 20 newest kept.*30 days\n", said)
    client = mlflow.MlflowClient(trained.uri)
    experiment = client.get_experiment_by_name("diabetes").experiment_id
    before = client.search_runs([experiment])
    said = trained.run("baton", "clean", "--keep", "1", "--days", "0")
    assert re.match(r"diabetes: this would remove \d of \d trainings: \d+ runs .*MB. To do it, add --yes\n", said)
    assert len(client.search_runs([experiment])) == len(before)
    assert trained.run("baton", "clean", "--keep", "1", "--days", "0", "--yes").startswith("diabetes: removed ")
    assert 0 < len(client.search_runs([experiment])) < len(before)
    assert "Everything is up to date" in trained.build("--env--metric", "F1")
    assert "rows scored by version" in trained.build("-e", "pipeline.serve.yaml", "--env--batch", "after")


def test_the_drawing_has_the_tasks_of_the_pipelines():
    drawn = "".join(blocks("mermaid"))
    for pipeline in ("pipeline.yaml", "pipeline.serve.yaml"):
        for task in yaml.safe_load((config.ROOT / pipeline).read_text())["tasks"]:
            name = task["source"].removeprefix("tasks/").removesuffix(".py")
            assert re.search(rf"\b{name}\b", drawn), name


def test_the_layout_names_every_module():
    layout = next(block for block in blocks() if block.startswith("pipeline.yaml "))
    for module in (config.ROOT / "baton").glob("[!_]*.py"):
        assert re.search(rf"\b{module.stem}\b", layout), module.stem


def customers(rows: int, tonight: bool = False) -> pd.DataFrame:
    """A table as people have them, of no feature code's making: codes, dates, holes, a leak and a running number."""
    generator = np.random.default_rng(rows)
    table = pd.DataFrame({"customer_id": [f"c{number}" for number in generator.permutation(90_000)[:rows]]})
    table["plan"] = generator.choice(["basic", "family", "pro"], rows)
    table["joined"] = pd.Timestamp("2019-01-01") + pd.to_timedelta(generator.integers(0, 2000, rows), unit="D")
    table["months"] = generator.integers(1, 60, rows)
    area = generator.integers(0, 80, rows)
    table["zip code"] = [f"{1000 + 13 * number:05d}" for number in area]
    table["spent"] = np.where(generator.random(rows) < 0.1, np.nan, generator.normal(50, 10, rows)).round(2)
    urge = table["months"] / 10 - 2 * (table["plan"] == "family") + np.sin(area) + generator.logistic(0, 0.7, rows)
    table["left"] = np.where(urge < 1.5, "yes", "no")
    table["reason"] = np.where(table["left"] == "yes", "moved", "")
    table["row id"] = range(1, rows + 1)
    table["joined"] = table["joined"].dt.strftime("%d.%m.%Y")
    if tonight:  # as another system exports it
        table.loc[0, "plan"] = "student"
        return table.iloc[:, ::-1].drop(columns=["left", "reason", "row id", "spent"]).assign(extra=1)
    return table


def test_make_it_yours_takes_a_table_through_to_predictions_without_any_code(fresh):
    """The README's own env.yaml and its own words; then what the check advised, from the command line."""
    customers(5000).to_csv(fresh.folder / "data/customers.csv", index=False)
    rows = customers(700, tonight=True)
    rows.to_csv(fresh.folder / "data/customers_tonight.csv", index=False, sep=";")
    own = yaml.safe_load(blocks("yaml")[0])
    fresh.set(**own)
    shown = next(block for block in blocks() if "data/customers.csv:" in block)
    printed = fresh.run("baton", "check")
    assert printed.startswith("\n".join(line.removeprefix("   ") for line in shown.rstrip().splitlines()))
    fresh.keep_candidates("forest")
    fresh.draw_nothing()
    fresh.build("--env--ignore_columns", "reason,row id")
    fresh.build("-e", "pipeline.serve.yaml", "--env--batch", "tonight")
    verdict = json.loads((fresh.folder / "products/churn/compare/verdict.json").read_text())
    assert verdict["leads"]["baseline"]["low"] > 0.3
    folder = fresh.folder / "predictions/churn/batch=tonight"
    found, said = pd.read_parquet(folder), json.loads((folder / "_manifest.json").read_text())
    assert found["customer_id"].tolist() == rows["customer_id"].tolist()
    truth = customers(700)["left"].to_numpy()
    assert (found["prediction"] == truth).mean() > 0.8
    assert (found["probability"] >= said["threshold"]).eq(found["prediction"] == "yes").all()
    assert said["positive_class"] == "yes"
    assert said["warnings"] == [
        "column 'spent' is not there; it counts as missing",
        "column 'plan': 1 value not seen in training",
    ]


def test_nox_lists_itself_like_a_manual():
    listed = subprocess.run(
        [str(PROGRAMS / "nox"), "-l", "-f", str(config.ROOT / "noxfile.py")], capture_output=True, text=True
    ).stdout
    for session in ("pipeline", "train", "score", "tests", "lint", "ui", "jupyter", "server", "bench", "baton"):
        assert re.search(rf"^[*-] {session} -> [A-Z].+", listed, re.MULTILINE), session
