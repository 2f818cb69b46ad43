"""Time a cluster's workers against each other and against this machine's own processes, for the same work.

    nox -s bench -- engine

Twelve forests on 10,000 rows are trained, and 4 million rows scored, by one worker of a Dask cluster, by two, and by
two processes of this machine. The efficiency of two workers is the time of one over twice theirs: of the whole command,
and of further work, which is the time of twelve forests less that of two, and of 4 million rows less that of 200,000.
"""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from sklearn.datasets import make_classification
from train import PLOOMBER, PROGRAMS, copy_project, seconds

FEW, MANY = 2, 12  # forests
SMALL, LARGE = 200_000, 4_000_000  # rows
LOCAL = "two processes of this machine"


@contextlib.contextmanager
def cluster(project: Path, workers: int):
    """Yield the address of a scheduler with so many workers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dask = [str(PROGRAMS / "dask")]
    commands = [[*dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]]
    commands += [[*dask, "worker", f"tcp://127.0.0.1:{port}", "--nthreads", "1", "--no-dashboard"]] * workers
    quiet = {"cwd": project, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes = [subprocess.Popen(command, **quiet) for command in commands]
    try:
        time.sleep(5)
        yield f"dask://127.0.0.1:{port}"
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait()


def measure(project: Path, where: str, engine: str) -> dict[str, float]:
    """Seconds of each command."""
    name, took = where.replace(" ", "-"), {}
    train = [PLOOMBER, "build", "--env--train_data", "rows.parquet", "--env--target", "y", "--env--features", "none"]
    train += ["--env--figures", "none"]
    for count in (FEW, MANY):
        options = ["--env--name", f"{name}-{count}", "--env--grid", f"forests{count}.yaml", "--env--promote", "never"]
        took["train", count] = seconds([*train, *options, "--env--engine", engine], project)
    for count in (SMALL, LARGE):
        options = [
            "--env--name",
            "scored",
            "--env--batch",
            f"{name}-{count}",
            "--env--score_data",
            f"new{count}.parquet",
        ]
        took["score", count] = seconds([str(PROGRAMS / "baton"), "score", *options, "--env--engine", engine], project)
    return took


def main() -> None:
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as made:
        project = copy_project(Path(made))
        os.environ["PYTHONPATH"] = str(project)
        X, y = make_classification(10_000, 10, n_informative=6, flip_y=0.1, random_state=7)
        table = pd.DataFrame(X, columns=[*"abcdefghij"])
        table.assign(y=y).to_parquet(project / "rows.parquet")
        for count in (FEW, MANY):
            forests = [
                {"candidate": f"forest{seed}", "model": "rf", "model_params": {"n_estimators": 60 + seed}}
                for seed in range(count)
            ]
            (project / f"forests{count}.yaml").write_text(yaml.safe_dump(forests))
        for count in (SMALL, LARGE):
            chosen = np.random.default_rng(0).integers(0, len(table), count)
            table.iloc[chosen].to_parquet(project / f"new{count}.parquet", index=False)
        options = ["--env--name", "scored", "--env--grid", f"forests{FEW}.yaml", "--env--promote", "always"]
        rows = ["--env--train_data", "rows.parquet", "--env--target", "y", "--env--features", "none"]
        seconds([PLOOMBER, "build", *rows, *options], project)

        found = {}
        for where, workers in {"one worker": 1, "two workers": 2}.items():
            with cluster(project, workers) as address:
                found[where] = measure(project, where, address)
            print(where, {" ".join(map(str, what)): round(took, 1) for what, took in found[where].items()}, flush=True)
        found[LOCAL] = measure(project, "local", "local")
        print(LOCAL, {" ".join(map(str, what)): round(took, 1) for what, took in found[LOCAL].items()}, flush=True)
        for what, (few, many) in {"train": (FEW, MANY), "score": (SMALL, LARGE)}.items():
            whole = {where: took[what, many] for where, took in found.items()}
            further = {where: took[what, many] - took[what, few] for where, took in found.items()}
            for part, of in {"the whole command": whole, "further work": further}.items():
                print(
                    f"{what}, {part}: one worker {of['one worker']:.1f} s, two {of['two workers']:.1f} s, efficiency"
                    f" {of['one worker'] / 2 / of['two workers']:.2f}; two processes here {of[LOCAL]:.1f} s, ratio"
                    f" {of['two workers'] / of[LOCAL]:.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    sys.exit(main())
