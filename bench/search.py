"""Time a search on two cores against one: forty trials of one candidate, which are the same on both.

    nox -s bench -- search

20,000 rows of ten numbers, two folds (more would repeat the search within each), `ploomber build` with LightGBM and
`tune: {trials: 40}` alone, by one process and by two.
"""

import json
import os
import tempfile
from pathlib import Path

import pandas as pd
import yaml
from sklearn.datasets import make_classification
from train import PROGRAMS, copy_project, seconds

ROWS = 20_000
CANDIDATE = {"candidate": "tuned", "model": "lightgbm", "tune": {"trials": 40}}


def build(project: Path, processes: int) -> tuple[float, list]:
    """Build with so many processes; return the seconds it takes, and the settings of its trials."""
    name = f"search{processes}"
    pipeline = yaml.safe_load((project / "pipeline.yaml").read_text())
    pipeline["executor"]["processes"] = processes
    (project / f"{name}.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    keys = {"name": name, "train_data": "rows.parquet", "target": "y", "features": "none", "folds": "2"}
    keys |= {"grid": "one.yaml"}
    options = [word for key, value in keys.items() for word in (f"--env--{key}", value)]
    took = seconds([str(PROGRAMS / "ploomber"), "build", "-e", f"{name}.yaml", *options], project)
    study = project / f"products/{name}/fit/tuned/study.log"
    trials = [json.loads(line) for line in study.read_text().splitlines()]
    return took, [trial["params"] for trial in trials if "params" in trial]


def main() -> None:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    with tempfile.TemporaryDirectory() as made:
        project = copy_project(Path(made))
        os.environ["PYTHONPATH"] = str(project)
        X, y = make_classification(ROWS, 10, n_informative=6, flip_y=0.1, random_state=7)
        pd.DataFrame(X, columns=[*"abcdefghij"]).assign(y=y).to_parquet(project / "rows.parquet")
        (project / "one.yaml").write_text(yaml.safe_dump([CANDIDATE]))
        alone, same = build(project, 1)
        both, found = build(project, 2)
        alike = "the same settings" if found == same else "OTHER SETTINGS"
        print(
            f"{len(found)} trials: one process {alone:.1f} s, two {both:.1f} s, ratio {alone / both:.2f}; {alike}",
            flush=True,
        )


if __name__ == "__main__":
    main()
