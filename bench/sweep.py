"""Time a sweep against a bare loop of fit and log: a hundred settings of an elastic net, and what one more costs.

    nox -s bench -- sweep

`ploomber build --env--grid elasticnet` on the example `progression`, and beside it the same settings in a loop on two
processes: cross-validated over five folds, fitted on all rows, and filed in MLflow with parameters, metrics and model.
One more candidate costs the difference between a hundred and twenty, by eighty.
"""

import itertools
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import yaml
from train import PROGRAMS, copy_project, seconds

FEW = 20
TABLE, TARGET = "examples/progression_train.csv", "progression"


def settings(project: Path) -> list[dict]:
    """The combinations of the sweep, in its order."""
    (entry,) = yaml.safe_load((project / "grids/elasticnet.yaml").read_text())
    values = entry["model_params"]
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]


def build(project: Path, name: str, count: int) -> float:
    candidates = [
        {"candidate": f"en{number}", "model": "en", "model_params": params}
        for number, params in enumerate(settings(project)[:count])
    ]
    (project / f"{name}.yaml").write_text(yaml.safe_dump(candidates))
    keys = {"name": name, "train_data": TABLE, "target": TARGET, "features": "none", "figures": "none"}
    options = [word for key, value in keys.items() for word in (f"--env--{key}", value)]
    command = [str(PROGRAMS / "ploomber"), "build", *options, "--env--grid", f"{name}.yaml"]
    return seconds(command, project)


def fit(params: dict, uri: str, experiment: str) -> None:
    import mlflow
    import numpy as np
    import pandas as pd
    from handwritten import prepare
    from sklearn import metrics, model_selection
    from sklearn.linear_model import ElasticNet
    from sklearn.pipeline import make_pipeline

    table = pd.read_csv(TABLE)
    X, y = table.drop(columns=TARGET), table[TARGET]
    pipeline = make_pipeline(prepare(), ElasticNet(**params))
    folds = model_selection.KFold(5, shuffle=True, random_state=7)
    predicted = model_selection.cross_val_predict(pipeline, X, y, cv=folds)
    found = {"R2": metrics.r2_score(y, predicted), "MAE": metrics.mean_absolute_error(y, predicted)}
    found["RMSE"] = np.sqrt(metrics.mean_squared_error(y, predicted))
    mlflow.set_tracking_uri(uri)
    with mlflow.start_run(experiment_id=experiment):
        mlflow.log_params(params)
        mlflow.log_metrics({name: float(value) for name, value in found.items()})
        mlflow.sklearn.log_model(
            pipeline.fit(X, y), name="model", input_example=X.head(3), serialization_format="skops",
            pip_requirements=["mlflow", "scikit-learn", "skops"],
            skops_trusted_types=["numpy.dtype", "sklearn.compose._column_transformer.make_column_selector"],
        )  # fmt: skip


def loop(project: Path, folder: Path, count: int) -> float:
    """Run this file as a script of its own, so that it loads its libraries as a user's would."""
    return seconds([sys.executable, __file__, "loop", str(folder), str(count)], project)


def run_loop(folder: str, count: int) -> None:
    import mlflow

    uri = f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    experiment = mlflow.create_experiment("sweep", artifact_location=Path(folder, "runs").as_uri())
    with ProcessPoolExecutor(2) as pool:
        [*pool.map(fit, settings(Path.cwd())[:count], itertools.repeat(uri), itertools.repeat(experiment))]


def main() -> None:
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        project = copy_project(folder)
        os.environ["PYTHONPATH"] = str(project)
        took, many = {}, len(settings(project))
        for count in (FEW, many):
            (folder / f"loop{count}").mkdir()
            took["loop", count] = loop(project, folder / f"loop{count}", count)
            took["build", count] = build(project, f"sweep{count}", count)
            ours, other = took["build", count], took["loop", count]
            print(
                f"{count} candidates: ploomber build {ours:.1f} s, a bare loop {other:.1f} s, ratio {ours / other:.2f}"
            )
        ours, other = ((took[what, many] - took[what, FEW]) / (many - FEW) for what in ("build", "loop"))
        print(f"one more candidate: {ours:.2f} s, in the loop {other:.2f} s, ratio {ours / other:.2f}", flush=True)


if __name__ == "__main__":
    run_loop(sys.argv[2], int(sys.argv[3])) if sys.argv[1:2] == ["loop"] else main()
