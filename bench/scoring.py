"""Time `baton score` against `mlflow models predict` and the bare estimator: small, unchanged, large, and its memory.

    nox -s bench -- scoring                     # 2 million rows; memory of 1 and 20 million
    nox -s bench -- scoring 200000 100000 2000000

Each figure is a ratio of two that were measured one after the other in this run, the median of three rounds. A further
row is what a large batch takes more than one of 192 rows, without what it takes to start.
"""

import concurrent.futures
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from train import PROGRAMS, copy_project, seconds

MODELS = {"lr": "lr", "forest": "rf", "lightgbm": "lightgbm"}  # candidates of the grid, each champion of a name
CORES = len(os.sched_getaffinity(0))
BATON = str(PROGRAMS / "baton")


def train(project: Path) -> None:
    """Make each model the champion of a name of its own."""
    grid = yaml.safe_load((project / "bench/grid.yaml").read_text())
    for name in MODELS:
        (project / "one.yaml").write_text(yaml.safe_dump([entry for entry in grid if entry["candidate"] == name]))
        options = ["--env--name", name, "--env--grid", "one.yaml", "--env--promote", "always"]
        seconds([str(PROGRAMS / "ploomber"), "build", *options], project)


def write_rows(project: Path, rows: int, block: int = 500_000) -> Path:
    """Write rows like those of the sample, no two alike."""
    file, generator = project / f"rows-{rows}.parquet", np.random.default_rng(0)
    sample = pd.read_csv(project / "data/diabetes_test.csv").drop(columns="Outcome").astype("float64")
    writer = None
    for start in range(0, rows, block):
        part = sample.iloc[generator.integers(0, len(sample), min(block, rows - start))]
        part = part + generator.normal(0, 0.1, part.shape) * sample.std().to_numpy()
        table = pa.Table.from_pandas(part.clip(lower=0), preserve_index=False)
        writer = writer or pq.ParquetWriter(file, table.schema)
        writer.write_table(table, row_group_size=100_000)
    writer.close()
    return file


def score(project: Path, rows: Path | str, name: str, batch: str) -> tuple[float, dict]:
    """Score; return the seconds from start to end, and the manifest."""
    command = [BATON, "score", "--env--name", name, "--env--score_data", str(rows), "--env--batch", batch]
    took = seconds(command, project)
    return took, json.loads((project / f"predictions/{name}/batch={batch}/_manifest.json").read_text())


def predict_by_mlflow(project: Path, name: str, file: str) -> float:
    version = f"models:/{name}@champion"
    command = [str(PROGRAMS / "mlflow"), "models", "predict", "-m", version, "-i", file, "-o", "out.json", "-t", "csv"]
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{project}/mlflow.db"
    return seconds([*command, "--env-manager", "local"], project)


def _predict(model: Path, prepared: str, part: slice) -> float:
    import skops.io
    import threadpoolctl

    X = np.load(prepared)[part]
    estimator = skops.io.load(model, trusted=skops.io.get_untrusted_types(file=model))[-1]
    with threadpoolctl.threadpool_limits(1):
        started = time.perf_counter()
        estimator.predict_proba(X)
        return time.perf_counter() - started


def bare_rows_per_second(project: Path, name: str, file: Path) -> float:
    """What the estimator alone predicts of a prepared array, a process a core."""
    script = (
        "import sys, numpy as np, pandas as pd; from pathlib import Path; from baton.handover import registry, runner;"
        f" model = registry.require_champion({name!r}, 'sqlite:///mlflow.db'); pipeline = runner.load(model.path);"
        f" X = model.contract.read_features(pd.read_parquet({str(file)!r}));"
        " np.save('prepared.npy', np.concatenate([np.asarray(pipeline[:-1].transform(X[start:start + 100_000]))"
        " for start in range(0, len(X), 100_000)])); print(model.path)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=project, capture_output=True, text=True, check=True)
    model, prepared = Path(done.stdout.split()[-1]) / "model.skops", str(project / "prepared.npy")
    rows = np.load(prepared, mmap_mode="r").shape[0]
    sys.path.insert(0, str(model.parent / "code"))
    ends = np.linspace(0, rows, CORES + 1).astype(int)
    with concurrent.futures.ProcessPoolExecutor(CORES) as pool:
        parts = [pool.submit(_predict, model, prepared, slice(*pair)) for pair in zip(ends[:-1], ends[1:], strict=True)]
        return rows / max(part.result() for part in parts)


def peak_memory(command: list[str], project: Path) -> float:
    """Most megabytes that a command and all that it starts hold at once; what they share counts once."""
    process, most, ended = (
        subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, start_new_session=True),
        0,
        [],
    )

    def held(pid: int) -> int:
        total = 0
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            for task in Path(f"/proc/{pid}/task").iterdir():
                total += sum(map(held, map(int, (task / "children").read_text().split())))
        except (OSError, StopIteration):
            pass
        return total

    def watch() -> None:
        nonlocal most
        while not ended:
            most = max(most, held(process.pid))
            time.sleep(0.2)

    watcher = threading.Thread(target=watch)
    watcher.start()
    process.wait()
    ended.append(True)
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return most / 1e3


def main(large: int = 2_000_000, few: int = 1_000_000, many: int = 20_000_000, rounds: int = 3) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = copy_project(Path(folder))
        os.environ["PYTHONPATH"] = str(project)  # else the command would work on the project it is installed from
        train(project)
        sample = pd.read_csv(project / "data/diabetes_test.csv").drop(columns="Outcome")
        sample.astype("float64").to_csv(project / "few.csv", index=False)  # MLflow refuses whole numbers
        small, unchanged, mlflows = [], [], []
        for number in range(rounds):
            small.append(score(project, "few.csv", "lightgbm", f"small{number}")[0])
            again = [BATON, "score", "--env--name", "lightgbm", "--env--batch", f"small{number}"]
            again += ["--env--score_data", "few.csv"]
            started = time.perf_counter()
            assert subprocess.run(again, cwd=project, capture_output=True).returncode == 3
            unchanged.append(time.perf_counter() - started)
            mlflows.append(predict_by_mlflow(project, "lightgbm", "few.csv"))
        ours, same, other = map(statistics.median, (small, unchanged, mlflows))
        print(f"192 rows: baton score {ours:.1f} s, mlflow models predict {other:.1f} s, ratio {ours / other:.2f}")
        print(f"nothing changed: {same:.1f} s, ratio {same / other:.2f}", flush=True)

        rows = write_rows(project, large)
        further = large // 2
        pd.read_parquet(rows).head(further).to_csv(project / "many.csv", index=False)
        for name in MODELS:
            rates, others, bares = [], [], []
            for number in range(rounds):
                start = predict_by_mlflow(project, name, "few.csv")
                begun, _ = score(project, "few.csv", name, f"few{number}")
                others.append(further / max(predict_by_mlflow(project, name, "many.csv") - start, 1e-9))
                took, manifest = score(project, rows, name, f"large{number}")
                rates.append(large / max(took - begun, 0.2))  # less is within the noise of the start
                bares.append(bare_rows_per_second(project, name, rows))
            rate, marginal, bare = map(statistics.median, (rates, others, bares))
            print(
                f"{large:,} rows, {name}: {rate:,.0f} further rows/s ({manifest['rows_per_second']:,} while scoring,"
                f" {large / took:,.0f} from start to end); the bare estimator {bare:,.0f}, ratio"
                f" {rate / bare:.2f}; of mlflow models predict {marginal:,.0f}, ratio {rate / marginal:.1f}",
                flush=True,
            )
        rows.unlink()
        peaks = {}
        for count in (few, many):
            rows = write_rows(project, count)
            command = [BATON, "score", "--env--name", "lr", "--env--score_data", str(rows), "--env--batch", f"m{count}"]
            peaks[count] = peak_memory(command, project)
            rows.unlink()
            print(f"{count:,} rows: {peaks[count]:,.0f} MB at most, over all processes", flush=True)
        print(f"ratio {peaks[many] / peaks[few]:.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
