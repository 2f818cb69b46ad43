"""Let AutoGluon learn from FOLDER/train.parquet and predict FOLDER/new.parquet, within SECONDS.

    python ask_autogluon.py FOLDER TASK SECONDS

`accuracy` runs it, in an environment of AutoGluon's own. Writes FOLDER/answers.npy: numbers (rows,), or probabilities
(rows, classes) of the classes 0, 1, … that stand in the column `target`.
"""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from autogluon.tabular import TabularPredictor

METRICS = {"binary": "roc_auc", "multiclass": "roc_auc_ovr_macro", "regression": "r2"}


def main(folder: Path, task: str, seconds: float) -> None:
    train, new = (pd.read_parquet(folder / f"{part}.parquet") for part in ("train", "new"))
    predictor = TabularPredictor(
        "target", problem_type=task, eval_metric=METRICS[task], path=folder / "models", verbosity=0
    )
    # Its default preset: in a minute, "best_quality" found less than it on the tables `ames` and `credit`.
    predictor.fit(train, time_limit=seconds, num_cpus=os.cpu_count(), num_gpus=0)
    if task == "regression":
        answers = predictor.predict(new)
    else:
        answers = predictor.predict_proba(new).reindex(columns=np.unique(train["target"]), fill_value=0.0)
    np.save(folder / "answers.npy", answers.to_numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
