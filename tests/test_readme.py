"""What the README shows is what happens: its commands run, and its output is real."""

import os
import re
import socket
import subprocess
import time
import urllib.request

import numpy as np
import pandas as pd
import yaml
from conftest import PROGRAMS

from baton import config

README = (config.ROOT / "README.md").read_text()
COMMAND = r"^(?:nox|ploomber|pip install nox && nox|MLFLOW\S+ mlflow)\b[^#\n]*"

# The commands the README shows, and where each is run: here, or by what.
RUN = {
    "pip install nox && nox -s pipeline": "the fixture first_hour",
    "pip install nox && nox -s tests": ".ci/run",
    "ploomber build": "test_the_commands_of_the_two_pipelines_run",
    "ploomber build -e pipeline.serve.yaml": "test_the_commands_of_the_two_pipelines_run",
    "ploomber build --env--track false": "test_training",
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

    tail = plain(printed[printed.rindex("baton.cli") + len("baton.cli") :])
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


def test_make_it_yours_on_a_table_of_text_and_numbers(fresh):
    """The README's own env.yaml: another table, named labels, an id column, no feature code."""
    generator = np.random.default_rng(0)
    rows = pd.DataFrame(
        {"customer_id": [f"c{number}" for number in range(400)], "plan": generator.choice(["a", "b", "c"], 400)}
    )
    rows["months"] = generator.integers(1, 60, 400)
    rows["spent"] = np.where(generator.random(400) < 0.1, np.nan, generator.normal(50, 10, 400))
    rows["left"] = np.where(rows["months"] + 20 * (rows["plan"] == "a") + generator.normal(0, 8, 400) < 25, "yes", "no")
    rows.head(300).to_csv(fresh.folder / "data/customers.csv", index=False)
    rows.tail(100).drop(columns="left").to_csv(fresh.folder / "data/customers_tonight.csv", index=False)
    own = yaml.safe_load(blocks("yaml")[0])
    env = yaml.safe_load((fresh.folder / "env.yaml").read_text())
    (fresh.folder / "env.yaml").write_text(yaml.safe_dump(env | own))
    fresh.keep_candidates("lr", "lightgbm", "tree")
    fresh.build()
    fresh.build("-e", "pipeline.serve.yaml", "--env--batch", "tonight")
    found = pd.read_parquet(fresh.folder / "predictions/churn/batch=tonight")
    assert found["customer_id"].tolist() == rows["customer_id"].tail(100).tolist()
    truth = rows["left"].tail(100).to_numpy()
    assert (found["prediction"] == truth).mean() > 0.85
    assert (found["probability"] > 0.5).eq(found["prediction"] == "yes").all()


def test_the_pages_open(trained):
    """`nox -s ui`, on a free port; ended by its process group."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(PROGRAMS / "mlflow"), "ui", "--backend-store-uri", "sqlite:///mlflow.db", "--port", str(port)]
    assert '"mlflow", "ui", "--backend-store-uri", "sqlite:///mlflow.db"' in (config.ROOT / "noxfile.py").read_text()
    server = subprocess.Popen(
        command, cwd=trained.folder, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(300):
            time.sleep(0.2)
            try:
                page = urllib.request.urlopen(f"http://127.0.0.1:{port}/").read().decode()
                break
            except OSError:
                assert server.poll() is None
        assert "<title>MLflow</title>" in page
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def test_nox_lists_itself_like_a_manual():
    listed = subprocess.run(
        [str(PROGRAMS / "nox"), "-l", "-f", str(config.ROOT / "noxfile.py")], capture_output=True, text=True
    ).stdout
    for session in ("pipeline", "train", "score", "tests", "lint", "ui", "bench"):
        assert re.search(rf"^[*-] {session} -> [A-Z].+", listed, re.MULTILINE), session
