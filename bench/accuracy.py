"""Score Baton's champion on rows it never saw, beside what a user would try instead, given the same rows and seconds.

    nox -s bench -- accuracy setting     # the tables by which the default grid is set
    nox -s bench -- accuracy judging     # those that judge it; its results go to judging.csv beside this file
    nox -s bench -- accuracy ames art --grid mine --libraries HistGradientBoosting

The tables are those of `tables`. Of each, three rows of ten, at most 20,000, are kept from everybody (the newest ones
where the question is about the future); they score. The libraries: scikit-learn's HistGradientBoosting with its
defaults, text as categories; FLAML and AutoGluon (as it comes, with all it has but neural networks), each with as many
seconds as `ploomber build` took, on all cores. Baton runs as its user runs it: both pipelines, from the command line,
without any feature code. The libraries get the columns as Baton reads them, dates as dates and numbers as numbers.

A table that was done with the same grid and the same code is not done again: a run that was stopped goes on.
"""

import argparse
import hashlib
import json
import os
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import tables
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from train import PROGRAMS, ROOT, copy_project, seconds

from baton import config, grid
from baton.data import contract
from baton.data import tables as sources
from baton.handover import gate
from baton.training import evaluation

AUTOGLUON = "autogluon.tabular[lightgbm,catboost,xgboost]==1.6.3"  # its neural networks would take gigabytes of torch
MOST_NEW = 20_000


def divide(table: pd.DataFrame, keys: dict) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Divide a table into rows to train on and new ones."""
    count = min(round(0.3 * len(table)), MOST_NEW)
    if keys.get("split") == "time":
        new = table.loc[pd.to_datetime(table[keys["split_by"]]).sort_values(kind="stable").index[-count:]]
    else:
        new = table.sample(count, random_state=0)
    return table.drop(new.index), new


def baton(keys: dict, folder: Path) -> tuple[np.ndarray | None, float, str]:
    """Run both pipelines; return the predictions of the new rows, the seconds of the first, and the champion's name.

    There are no predictions, and its name is "none", if no candidate was certainly better than the baseline.
    """
    project = copy_project(folder)
    # A value that is missing where none was in training is no reason to leave a row to the others.
    paths = {"train_data": folder / "train.csv", "score_data": folder / "new.csv", "batch": "bench", "reject": "none"}
    options = [part for key, value in (keys | paths).items() for part in (f"--env--{key}", str(value))]
    build = [str(PROGRAMS / "ploomber"), "build"]
    took = seconds([*build, *options], project)
    products = project / "products" / keys["name"]
    verdict = json.loads((products / "compare/verdict.json").read_text())
    if verdict["decision"] != "promoted":
        return None, took, "none"
    seconds([*build, "-e", "pipeline.serve.yaml", *options], project)
    found = pd.read_parquet(project / "predictions" / keys["name"] / "batch=bench").sort_values("row")
    learned, winner = contract.read_contract(str(products / "clean/contract.json")), verdict["winner"]
    if learned.task == "regression":
        return found["prediction"].to_numpy(), took, winner
    if learned.task == "binary":
        return np.column_stack([1 - found["probability"], found["probability"]]), took, winner
    return found[[f"probability_{label}" for label in learned.labels]].to_numpy(), took, winner


def boosting(task: str, X: pd.DataFrame, y: pd.Series, new: pd.DataFrame, limit: float) -> np.ndarray:
    """scikit-learn's defaults; text as categories, the 254 most frequent, which is as many as it takes."""
    kept = {column: X[column].value_counts().index[:254] for column in X.select_dtypes(["object", "str"])}
    dates = [*X.select_dtypes("datetime")]

    def prepare(part: pd.DataFrame) -> pd.DataFrame:
        categories = {column: pd.Categorical(part[column], values) for column, values in kept.items()}
        numbers = {column: part[column].astype("int64").where(part[column].notna()) for column in dates}
        return part.assign(**categories, **numbers)

    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    model = kind(categorical_features="from_dtype", random_state=0).fit(prepare(X), y)
    return predict(model, task, prepare(new))


def flaml(task: str, X: pd.DataFrame, y: pd.Series, new: pd.DataFrame, limit: float) -> np.ndarray:
    from flaml import AutoML

    searched = AutoML()
    searched.fit(
        X, y, task="regression" if task == "regression" else "classification",
        metric={"binary": "roc_auc", "multiclass": "roc_auc_ovr", "regression": "r2"}[task],
        time_budget=limit, n_jobs=os.cpu_count(), seed=0, verbose=0,
    )  # fmt: skip
    return predict(searched, task, new)


def predict(model, task: str, new: pd.DataFrame) -> np.ndarray:
    return model.predict(new) if task == "regression" else model.predict_proba(new)


def autogluon(task: str, X: pd.DataFrame, y: pd.Series, new: pd.DataFrame, limit: float) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        X.assign(target=y).to_parquet(Path(folder, "train.parquet"))
        new.to_parquet(Path(folder, "new.parquet"))
        script = [str(Path(__file__).with_name("ask_autogluon.py")), folder, task, str(limit)]
        seconds([str(tables.program("python")), *script], Path(folder))
        return np.load(Path(folder, "answers.npy"))


LIBRARIES = {"HistGradientBoosting": boosting, "FLAML": flaml, "AutoGluon": autogluon}


def compare(name: str, candidates: str, libraries: list[str]) -> pd.DataFrame:
    """A row for Baton and each library: its score on the new rows, its seconds, Baton's lead and its 95% interval."""
    asked = tables.TABLES[name]
    keys = {"name": name, "target": asked.target, "features": "none", "grid": candidates} | asked.keys
    with tempfile.TemporaryDirectory() as folder:
        train, new = divide(tables.load(name), asked.keys)
        train.to_csv(Path(folder, "train.csv"), index=False)
        new.drop(columns=asked.target).to_csv(Path(folder, "new.csv"), index=False)
        new.to_csv(Path(folder, "truth.csv"), index=False)
        train, new = (sources.read_table(str(Path(folder, f"{part}.csv"))) for part in ("train", "truth"))
        predicted, took, winner = baton(keys, Path(folder))
    learned = contract.learn_contract(train, config.Settings(**(keys | {"features": None})))
    task, metric = learned.task, learned.metric
    X, later = learned.read_features(train), learned.inspect(new)[0]
    y = learned.encode(learned.read_target(train)).astype("float64" if task == "regression" else "int64")
    truth = learned.encode(learned.read_target(new)).to_numpy(dtype="float64")
    if predicted is None:
        predicted = evaluation.baseline(truth, learned, y if task == "regression" else learned.read_target(train))
    answers, spent = {"Baton": predicted}, [took]
    for library in libraries:
        started = time.perf_counter()
        answers[library] = LIBRARIES[library](task, X, y, later, took)
        spent.append(time.perf_counter() - started)
    leads = [gate.measure_lead(truth, predicted, given, task, metric) for given in answers.values()]
    return pd.DataFrame(
        {
            "table": name,
            "train_rows": len(train),
            "new_rows": len(new),
            "metric": metric,
            "by": [*answers],
            "champion": [winner, *[""] * len(libraries)],
            "score": [evaluation.score(truth, given, task, metric)[metric] for given in answers.values()],
            "seconds": spent,
            "lead": [lead.value for lead in leads],
            "low": [lead.low for lead in leads],
            "high": [lead.high for lead in leads],
        }
    ).round({"score": 4, "seconds": 1, "lead": 4, "low": 4, "high": 4})


def measure(name: str, candidates: str, libraries: list[str]) -> pd.DataFrame:
    """Compare, or take what the same code has found before."""
    done = tables.CACHE / "results" / version(candidates) / f"{name}.csv"
    if done.is_file() and {*libraries} <= {*(found := pd.read_csv(done, keep_default_na=False))["by"]}:
        return found[found["by"].isin(["Baton", *libraries])]
    found = compare(name, candidates, libraries)
    done.parent.mkdir(parents=True, exist_ok=True)
    found.to_csv(done, index=False)
    return found


def version(candidates: str) -> str:
    """Name all that a result depends on by its hash, behind the grid's name."""
    code = [*(ROOT / "baton").rglob("*.py"), *(ROOT / "tasks").glob("*.py"), ROOT / "env.yaml", ROOT / "pipeline.yaml"]
    bench = [Path(__file__).with_name(name) for name in ("accuracy.py", "ask_autogluon.py", "tables.py")]
    files = [*sorted(code), *bench, grid.file_of(candidates)]
    content = hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files))
    return f"{grid.file_of(candidates).stem}-{content.hexdigest()[:8]}"


def line(found: pd.DataFrame) -> dict[str, str]:
    """A table's results as a line of the report."""
    rows = found.set_index("by")
    baton_row, libraries = rows.loc["Baton"], rows.drop(index="Baton")
    about = f"{baton_row['table']} ({baton_row['train_rows']:,} / {baton_row['new_rows']:,})"
    scores = {f"{by} (s)": f"{row['score']:.4f} ({row['seconds']:.0f})" for by, row in libraries.iterrows()}
    best = libraries["score"].idxmax()
    leads = {"Baton's lead over HistGradientBoosting": "HistGradientBoosting", "over the best of them": best}
    return (
        {"table (rows to train / to judge)": about, "metric": baton_row["metric"]}
        | scores
        | {"Baton (its champion, s)": f"{baton_row['score']:.4f} ({baton_row['champion']}, {baton_row['seconds']:.0f})"}
        | {
            title: "{lead:+.4f} ({low:+.4f} to {high:+.4f})".format(**libraries.loc[library])
            for title, library in leads.items()
            if library in libraries.index
        }
    )


def summary(results: list[pd.DataFrame]) -> str:
    libraries = pd.concat(results, ignore_index=True).query("by != 'Baton'")
    best = libraries.loc[libraries.groupby("table")["score"].idxmax()]
    behind = libraries[libraries["high"] < 0].groupby("by")["table"].agg(", ".join)
    return (
        f"Of {len(best)} tables, Baton is at or ahead of the best of them on {(best['lead'] >= 0).sum()}, and behind by"
        f" no more than chance on {((best['lead'] < 0) & (best['high'] >= 0)).sum()}. By more than chance it is behind"
        f" {'; '.join(f'{library} on {names}' for library, names in behind.items()) or 'no one'}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Score Baton beside what a user would try instead.")
    parser.add_argument("tables", nargs="+", choices=[*tables.COLLECTIONS, *tables.TABLES], metavar="TABLE")
    parser.add_argument("--grid", default="default", help="the candidates, as in env.yaml")
    parser.add_argument("--libraries", nargs="+", choices=[*LIBRARIES], default=[*LIBRARIES], metavar="LIBRARY")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    if "AutoGluon" in asked.libraries:
        tables.pip("install", AUTOGLUON)
    names = [name for given in asked.tables for name in tables.COLLECTIONS.get(given, [given])]
    results = []
    for name in names:
        results.append(measure(name, asked.grid, asked.libraries))
        print(results[-1].to_string(index=False), end="\n\n", flush=True)
    print(tables.markdown(pd.DataFrame(map(line, results))), summary(results), sep="\n\n")
    if asked.tables[0] in tables.COLLECTIONS and (asked.grid, asked.libraries) == ("default", [*LIBRARIES]):
        pd.concat(results).to_csv(Path(__file__).with_name(f"{asked.tables[0]}.csv"), index=False)


if __name__ == "__main__":
    main()
