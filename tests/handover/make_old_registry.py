"""Make `registry-0.1.tar.xz`: a registry as the project made it before its locations could be moved, with a champion.

    python tests/handover/make_old_registry.py

It takes some minutes, in a temporary folder: the project of an old commit is trained and scores the sample's new rows, by
its own command. What is kept: the store, as SQL; the champion's files; and its answers. It needs nox in the environment, and git.
"""

import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

COMMIT = "2451947"
KEPT = Path(__file__).with_name("registry-0.1.tar.xz")
FOLDER = "@FOLDER@"  # stands in its files for the folder it was made in, so that a test can put in its own

# Two candidates that take seconds. The second wins, and trees give the same answer to the last bit on any machine.
GRID = """\
    grid:
      - candidate: [lr]
        model: [lr]
        tune: [0]
        model_params: [{C: 0.0001}]
      - candidate: [lightgbm]
        model: [lightgbm]
        tune: [0]
        model_params: [{verbosity: -1, n_estimators: 30, num_leaves: 7}]
"""


def make(folder: Path) -> None:
    """Train and score, in this folder, with the project as it was."""
    project = subprocess.run(["git", "archive", COMMIT], cwd=KEPT.parents[2], capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x"], cwd=folder, input=project, check=True)
    pipeline = (folder / "pipeline.yaml").read_text()
    start, end = pipeline.index("    grid:\n"), pipeline.index("\n  - source: tasks/compare.py")
    (folder / "pipeline.yaml").write_text(pipeline[:start] + GRID + pipeline[end:])
    subprocess.run([Path(sys.executable).with_name("nox"), "-s", "pipeline"], cwd=folder, check=True)


def keep(folder: Path, kept: Path) -> None:
    """Copy what the champion takes, with `FOLDER` for where it was."""
    store = sqlite3.connect(folder / "mlflow.db")
    (location,) = store.execute("SELECT storage_location FROM model_versions").fetchone()
    model = Path(location.removeprefix(folder.as_uri() + "/"))
    shutil.copytree(folder / model, kept / model)
    (kept / "mlflow.sql").write_text("\n".join(store.iterdump()))
    for file in (kept / "mlflow.sql", kept / model / "MLmodel"):
        file.write_text(file.read_text().replace(str(folder), FOLDER))
    (scored,) = folder.glob("predictions/diabetes/*/part-*.parquet")
    shutil.copy(scored, kept / "predictions.parquet")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made, tempfile.TemporaryDirectory() as kept:
        make(Path(made).resolve())
        keep(Path(made).resolve(), Path(kept))
        with tarfile.open(KEPT, "w:xz", preset=9) as archive:
            archive.add(kept, ".")
