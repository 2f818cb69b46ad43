"""A million rows of 20 mixed columns through `ploomber build`: its seconds and memory, and where they go.

    nox -s bench -- large
    nox -s bench -- large 200000

Beside it, the fits alone: the pipelines that the build has saved, fitted again as often as it fitted them (each fold,
all training rows, and the champion on all rows) on as many processes, on columns that are read and lie in memory.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from train import PLOOMBER, copy_project

FOLDS = 5
TEXTS = {"shop": 300, "city": 2_000, "colour": 8, "grade": 5, "device": 40, "campaign": 20}  # and their values


def make(rows: int) -> pd.DataFrame:
    """A table of numbers with holes, dates and texts, and whether someone buys."""
    generator = np.random.default_rng(0)
    table = pd.DataFrame(
        generator.normal(size=(rows, 12)).round(4), columns=[f"amount_{number}" for number in range(12)]
    )
    table = table.mask(generator.random(table.shape) < 0.03)
    since = pd.Timestamp("2020-01-01") + pd.to_timedelta(generator.integers(0, 2_000, rows), unit="D")
    table["since"], table["last"] = since, since + pd.to_timedelta(generator.integers(0, 400, rows), unit="D")
    for column, values in TEXTS.items():
        table[column] = [f"{column}-{value}" for value in generator.zipf(1.3, rows) % values]
    score = table["amount_0"].fillna(0) + table["amount_1"].fillna(0) * table["amount_2"].fillna(0)
    score += table["grade"].str[-1].astype(int) / 2 + generator.normal(size=rows)
    return table.assign(buys=np.where(score > score.quantile(0.7), "yes", "no"))


def watch(command: list[str], project: Path) -> tuple[float, dict[str, float], str]:
    """Run a build; return its seconds, the most MB that any of its processes holds, by task, and what it printed."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True, start_new_session=True)
    most, ended = {"all together": 0.0, "one process": 0.0}, threading.Event()

    def look() -> None:
        while not ended.wait(0.2):
            held = []
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    if os.getsid(int(folder.name)) == process.pid:
                        lines = (folder / "smaps_rollup").read_text().splitlines()
                        held.append(next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1e3)
                except (OSError, StopIteration):
                    continue
            most["all together"] = max(most["all together"], sum(held))
            most["one process"] = max(most["one process"], max(held, default=0))

    watcher = threading.Thread(target=look)
    watcher.start()
    printed = process.communicate()[0]
    ended.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(printed[-3000:])
    return time.perf_counter() - started, most, printed


def uncalibrated(pipeline):
    """The same pipeline, unfitted, as it is cross-validated: with no threshold, and no fits for its calibration."""
    from sklearn.base import clone
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.model_selection import FixedThresholdClassifier
    from sklearn.pipeline import Pipeline

    model = pipeline[-1].estimator if isinstance(pipeline[-1], FixedThresholdClassifier) else pipeline[-1]
    model = model.estimator if isinstance(model, CalibratedClassifierCV) else model
    return clone(Pipeline([*pipeline.steps[:-1], ("model", model)]))


def fit_again(folder: str, of_all: bool) -> float:
    """Fit a saved pipeline as the build did; return the seconds."""
    import threadpoolctl
    from sklearn.base import clone

    from baton.handover import runner, saving

    model = Path(folder)
    pipeline, contract = runner.load(model), saving.open_model(model).contract
    table = pd.read_parquet("rows.parquet")
    X, y = contract.read_features(table), contract.encode(table["buys"]).to_numpy(dtype="int64")
    fold = np.random.default_rng(0).integers(0, FOLDS, len(X))
    trains = np.random.default_rng(1).random(len(X)) > 0.2
    started = time.perf_counter()
    with threadpoolctl.threadpool_limits(1):
        for number in range(FOLDS):
            fitted = uncalibrated(pipeline).fit(X[trains & (fold != number)], y[trains & (fold != number)])
            fitted.predict_proba(X[trains & (fold == number)])
        clone(pipeline).fit(X[trains], y[trains])
        if of_all:
            clone(pipeline).fit(X, y)
    return time.perf_counter() - started


def main(rows: int = 1_000_000) -> None:
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as made:
        project = copy_project(Path(made))
        os.environ["PYTHONPATH"] = str(project)
        table = make(rows)
        size = table.memory_usage(deep=True).sum() / 1e6
        table.to_parquet(project / "rows.parquet", index=False)
        del table
        keys = {"name": "large", "train_data": "rows.parquet", "target": "buys", "features": "none", "grid": "quick"}
        options = [word for key, value in keys.items() for word in (f"--env--{key}", value)]
        took, most, printed = watch([PLOOMBER, "build", *options], project)
        print("\n".join(line for line in printed.splitlines() if line.startswith("[")))
        print(f"{rows:,} rows: {took:.0f} s; the table {size:.0f} MB, {most}", flush=True)

        os.chdir(project)
        products = project / "products/large"
        winner = json.loads((products / "compare/verdict.json").read_text())["winner"]
        [written] = products.glob(f"*/{winner}/candidate.json")
        serve = json.loads(written.read_text()).get("weights", {winner: 1})  # its members, if it is an ensemble
        models = [*products.glob("fit/*/model")]
        with ProcessPoolExecutor(2) as pool:
            jobs = [pool.submit(fit_again, str(model), model.parent.name in serve) for model in models]
            fits = sum(job.result() for job in jobs) / 2
        print(f"the fits alone, on two processes: {fits:.0f} s, {fits / took:.0%} of the build")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
