"""What the README shows is what happens: its commands run, and its output is real."""

import json
import re
import subprocess

import numpy as np
import pandas as pd
import yaml
from conftest import PROGRAMS

from baton import config

README = (config.ROOT / "README.md").read_text()
COMMAND = r"^ *(?:nox|ploomber|baton (?=check|options|results)|pip install nox && nox|MLFLOW\S+ mlflow)\b[^#\n]*"

# The commands the README shows, and where each is run: here, or by what.
RUN = {
    "pip install nox && nox -s pipeline": "the fixture first_hour",
    "pip install nox && nox -s tests": ".ci/run",
    "ploomber build": "test_the_commands_of_the_two_pipelines_run",
    "ploomber build -e pipeline.serve.yaml": "test_the_commands_of_the_two_pipelines_run",
    "ploomber build --env--track false": "test_training",
    "baton check": "test_make_it_yours_takes_a_table_through_to_predictions_without_any_code",
    "ploomber build $(baton options examples/parcels.yaml)": "test_examples",
    "ploomber build -e pipeline.serve.yaml $(baton options examples/parcels.yaml)": "test_examples",
    "ploomber status": "test_the_commands_of_the_two_pipelines_run",
    "ploomber plot --backend mermaid": "test_the_commands_of_the_two_pipelines_run",
    "MLFLOW_TRACKING_URI=sqlite:///mlflow.db mlflow models serve -m models:/diabetes@champion --env-manager local": "test_serving",
}


def blocks(language: str = "") -> list[str]:
    fenced = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", README, re.MULTILINE | re.DOTALL)
    return [content for own, content in fenced if own == language]


def test_every_command_shown_is_known_to_run():
    shown = {found.strip() for block in blocks() for found in re.findall(COMMAND, block, re.MULTILINE)}
    assert shown == set(RUN)


def test_the_first_command_ends_as_shown(first_hour):
    """All but what differs from day to day and machine to machine: dates, and the times a choice rests on."""
    project, printed = first_hour
    shown = next(block for block in blocks() if "\npredictions " in block)

    def plain(text):
        text = re.sub(r"batch=\d{4}-\d\d-\d\d", "batch=DATE", text)
        text = re.sub(r"it takes .*", "it takes …", text)
        return [line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith("nox >")]

    tail = plain(printed[printed.rindex("baton results") + len("baton results") :])
    assert tail == plain(shown)


def test_the_commands_of_the_two_pipelines_run(trained):
    assert "Everything is up to date" in trained.build()
    assert "Nothing has changed" in trained.build("-e", "pipeline.serve.yaml")
    status = trained.run("ploomber", "status")
    assert all(name in status for name in ("clean", "explore", "features", "fit-lr", "fit-blend", "compare"))
    trained.run("ploomber", "plot", "--backend", "mermaid")
    drawn = (trained.folder / "pipeline.html").read_text()
    assert all(name in drawn for name in ("clean", "fit-lr", "compare"))


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
    fresh.keep_candidates("lr", "lightgbm", "tree")
    fresh.build("--env--ignore_columns", "reason,row id")
    fresh.build("-e", "pipeline.serve.yaml", "--env--batch", "tonight")
    verdict = json.loads((fresh.folder / "products/churn/compare/verdict.json").read_text())
    assert verdict["scores"]["baseline"]["lead_low"] > 0.3
    folder = fresh.folder / "predictions/churn/batch=tonight"
    found, said = pd.read_parquet(folder), json.loads((folder / "_manifest.json").read_text())
    assert found["customer_id"].tolist() == rows["customer_id"].tolist()
    truth = customers(700)["left"].to_numpy()
    assert (found["prediction"] == truth).mean() > 0.8
    assert (found["probability"] > 0.5).eq(found["prediction"] == "yes").all()
    assert said["positive_class"] == "yes"
    assert said["remarks"] == ["column 'spent' is not there; it counts as missing"]


def test_nox_lists_itself_like_a_manual():
    listed = subprocess.run(
        [str(PROGRAMS / "nox"), "-l", "-f", str(config.ROOT / "noxfile.py")], capture_output=True, text=True
    ).stdout
    for session in ("pipeline", "train", "score", "tests", "lint", "ui", "jupyter", "bench"):
        assert re.search(rf"^[*-] {session} -> [A-Z].+", listed, re.MULTILINE), session
