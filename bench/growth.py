"""How a training grows with its candidates, rows and columns: a plot each, with logarithmic axes and the slope.

    nox -s bench -- growth     # writes docs/growth.png

A logistic regression and a LightGBM are trained on tables that are made: numbers, and one column in four a text of 20
values; many candidates are settings of the first. The slope is that of the two largest sizes: 1 is in proportion, 0 is
no growth. What a build takes before its first candidate and after its last one is in it.
"""

import math
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from train import PLOOMBER, ROOT, copy_project, seconds

SIZES = {
    "candidates": [4, 16, 64, 256],
    "rows": [1_000, 10_000, 100_000, 1_000_000],
    "columns": [4, 16, 64, 256],
}
USUAL = {"candidates": 2, "rows": 2_000, "columns": 8}


def write(project: Path, candidates: int, rows: int, columns: int) -> None:
    generator = np.random.default_rng(0)
    table = pd.DataFrame(generator.normal(size=(rows, columns)), columns=[f"x{number}" for number in range(columns)])
    y = (table["x0"] + table["x1"] * table["x2"] + generator.normal(size=rows) > 0).astype(int)
    for column in table.columns[3::4]:
        table[column] = [f"v{value}" for value in generator.integers(0, 20, rows)]
    table.assign(y=y).to_parquet(project / "rows.parquet")
    if candidates > 2:
        strengths = np.geomspace(1e-3, 1e3, candidates).tolist()
        grid = [{"candidate": "lr", "model": "lr", "model_params": {"C": strengths}}]
    else:
        grid = [{"candidate": "lr", "model": "lr"}, {"candidate": "lightgbm", "model": "lightgbm"}]
    (project / "some.yaml").write_text(yaml.safe_dump(grid))


def main() -> None:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    found = {what: [] for what in SIZES}
    for what, sizes in SIZES.items():
        for size in sizes:
            with tempfile.TemporaryDirectory() as made:
                project = copy_project(Path(made))
                os.environ["PYTHONPATH"] = str(project)
                write(project, **USUAL | {what: size})
                keys = {"name": "growth", "train_data": "rows.parquet", "target": "y", "features": "none"}
                options = [word for key, value in keys.items() for word in (f"--env--{key}", value)]
                took = seconds([PLOOMBER, "build", *options, "--env--grid", "some.yaml"], project)
            found[what].append(took)
            print(f"{size:,} {what}: {took:.1f} s", flush=True)
    draw(found)


def draw(found: dict[str, list[float]]) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(10, 3), layout="constrained", sharey=True)
    for axes, (what, took) in zip(panels, found.items(), strict=True):
        sizes = SIZES[what]
        slope = math.log(took[-1] / took[-2]) / math.log(sizes[-1] / sizes[-2])
        axes.loglog(sizes, took, "o-", color="#0072b2")
        axes.set(xlabel=what, title=f"slope at the end {slope:.2f}", ylim=(5, 1000))
        print(f"{what}: slope {slope:.2f}")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("seconds of a build")
    figure.savefig(ROOT / "docs/growth.png", dpi=120)


if __name__ == "__main__":
    main()
