"""`mlflow run`: the two pipelines by MLproject, with what is given in place of env.yaml's keys."""

import pandas as pd
import yaml
from conftest import NOXFILE, PROGRAMS, warm_command

from baton import config

# With the libraries loaded.
WARM = """
def run(session, folder, program, *arguments, **how):
    session.run(*{command!r}, program, *arguments, external=True, **how)


noxfile.run = run
"""


def test_mlflow_run_trains_and_scores_with_what_is_given_and_else_as_env_yaml_says(fresh, tmp_path, monkeypatch):
    fresh.keep_candidates("lr", "tree")
    fresh.draw_nothing()
    (fresh.folder / "only.yaml").write_text("- {candidate: only, model: lr}\n")
    table = pd.read_csv(fresh.folder / "data/diabetes_train.csv").rename(columns={"Outcome": "ill or not"})
    table.to_csv(fresh.folder / "my table.csv", index=False)
    (fresh.folder / "nox_here.py").write_text(NOXFILE + WARM.format(command=warm_command()))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nox").write_text(f'#!/bin/sh\nexec {PROGRAMS}/nox -f nox_here.py "$@"\n')
    (tmp_path / "bin" / "nox").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}", prepend=":")

    def mlflow_run(*given: str, entry: str = "main") -> str:
        options = [part for one in given for part in ("-P", one)]
        return fresh.run("mlflow", "run", ".", "--env-manager", "local", "-e", entry, *options)

    given = ("name=mine", "train_data=my table.csv", "target=ill or not", "grid=only.yaml")
    mlflow_run(*given)
    verdict = yaml.safe_load((fresh.folder / "products/mine/compare/verdict.json").read_text())
    assert (verdict["winner"], verdict["decision"]) == ("only", "promoted")
    assert not (fresh.folder / "products/diabetes").exists()
    mlflow_run("name=mine", "batch=tonight", "model_version=1", entry="score")
    rows = pd.read_parquet(fresh.folder / "predictions/mine/batch=tonight")
    assert len(rows) == len(pd.read_csv(fresh.folder / "data/diabetes_test.csv"))  # env.yaml's score_data


def test_every_parameter_is_a_key_and_each_program_that_starts_it_is_as_new_as_noxfile_asks():
    project = yaml.safe_load((config.ROOT / "MLproject").read_text())
    keys = yaml.safe_load((config.ROOT / "baton/defaults.yaml").read_text()) | config.Settings.model_fields
    for entry in project["entry_points"].values():
        assert entry["parameters"].keys() <= keys.keys()
        assert all(f"{name}={{{name}}}" in entry["command"] for name in entry["parameters"])
    environment = yaml.safe_load((config.ROOT / project["python_env"]).read_text())
    noxfile = (config.ROOT / "noxfile.py").read_text()
    assert all(f'"{needed}"' in noxfile for needed in environment["dependencies"])
    assert environment["python"] == (config.ROOT / ".python-version").read_text().strip()
