"""Time `ploomber build` on the sample table against the hand-written script: same candidates, table and machine.

The candidates are ten of PyCaret's models, of bench/grid.yaml.

    nox -s bench            # three rounds of each, in turn
    nox -s bench -- train 5

Prints the medians and the ratio, round by round, so that a machine that slows down slows both.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent


def seconds(command: list[str], folder: Path) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return time.perf_counter() - started


def copy_project(folder: Path) -> Path:
    """Copy the project without what it makes; return the copy."""
    made = shutil.ignore_patterns(".*", "products", "predictions", "mlruns", "mlflow.db")
    return shutil.copytree(ROOT, folder / "project", ignore=made)


def main(rounds: int = 3) -> None:
    baton, script = [], []
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            project = copy_project(Path(folder))
            store = Path(folder, "store")
            store.mkdir()
            baton.append(seconds([str(PROGRAMS / "ploomber"), "build", "--env--grid", "bench/grid.yaml"], project))
            script.append(seconds([sys.executable, "bench/handwritten.py", str(store)], project))
        print(
            f"round {number + 1}: ploomber build {baton[-1]:.1f} s, script {script[-1]:.1f} s,"
            f" ratio {baton[-1] / script[-1]:.2f}"
        )
    ratios = [ours / other for ours, other in zip(baton, script, strict=True)]
    print(
        f"median: ploomber build {statistics.median(baton):.1f} s, script {statistics.median(script):.1f} s,"
        f" ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
