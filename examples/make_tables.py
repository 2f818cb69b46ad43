"""Make the tables of the examples, always the same ones: two that scikit-learn ships, and one of our own invention.

python examples/make_tables.py
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes, load_wine

HERE = Path(__file__).parent


def wine() -> pd.DataFrame:
    """178 wines of three grapes, with 13 measurements each."""
    bunch = load_wine(as_frame=True)
    return bunch.data.assign(grape=bunch.target.map(dict(enumerate(["barolo", "grignolino", "barbera"]))))


def progression() -> pd.DataFrame:
    """442 diabetes patients, ten measurements as taken, and how far the disease went in a year."""
    return load_diabetes(as_frame=True, scaled=False).frame.rename(columns={"target": "progression"}).round(4)


def parcels(rows: int = 3200) -> pd.DataFrame:
    """Parcels of two years and whether they came late, as a shop might export them: dates, codes, text and holes."""
    generator = np.random.default_rng(5)
    minutes = np.sort(generator.integers(0, 2 * 365 * 24 * 60, rows))
    ordered = pd.Timestamp("2024-01-01") + pd.to_timedelta(minutes, unit="min")
    carriers = {"Blitz": -0.6, "Gelbe Post": 0.0, "Kurier Süd": 0.5, "Möwe": 0.9, "Nordfracht": 0.2}
    carrier = generator.choice([*carriers], rows, p=[0.3, 0.3, 0.2, 0.05, 0.15])
    regions = generator.normal(0, 0.9, 60)
    region = generator.integers(0, 60, rows)
    weight = generator.gamma(2, 2.5, rows).round(2)
    express = generator.random(rows) < 0.25
    contents = generator.choice(["books", "clothes", "electronics", "furniture", "glass", "plants"], rows)
    heavy = np.maximum(weight - 8, 0)
    late = (
        -1.4
        + pd.Series(carrier).map(carriers).to_numpy()
        + regions[region]
        + 0.35 * heavy
        - 1.1 * express
        + 1.3 * (ordered.month == 12)
        + 0.7 * (ordered.dayofweek >= 4)
        + 0.8 * (ordered.hour >= 18)
        + 0.9 * np.isin(contents, ["furniture", "plants"]) * (weight > 5)
    )
    table = pd.DataFrame(
        {
            "parcel": [f"P{number:06d}" for number in generator.permutation(900_000)[:rows]],
            "ordered": ordered.strftime("%d.%m.%Y %H:%M"),
            "carrier": carrier,
            "postcode": [f"{1067 + 977 * number:05d}" for number in region],
            "weight (kg)": pd.Series(weight).map("{:.2f}".format).str.replace(".", ",").to_numpy(),
            "express": np.where(express, "true", "false"),
            "contents": contents,
            "customer since": 2024 - generator.integers(0, 15, rows),
            "late": np.where(generator.random(rows) < 1 / (1 + np.exp(-late)), "yes", "no"),
        }
    ).astype("str")
    for column, missing in {"weight (kg)": "?", "contents": "-", "customer since": ""}.items():
        table.loc[generator.random(rows) < 0.06, column] = missing
    return table


def main(folder: Path = HERE) -> None:
    """Write <name>_train.csv, and <name>_new.csv of rows without an answer: a random fifth, or the last parcels."""
    for table, name in ((wine(), "wine"), (progression(), "progression")):
        new = table.sample(frac=0.2, random_state=0).sort_index()
        table.drop(new.index).to_csv(folder / f"{name}_train.csv", index=False, lineterminator="\n")
        new.iloc[:, :-1].to_csv(folder / f"{name}_new.csv", index=False, lineterminator="\n")
    export = {"sep": ";", "index": False, "encoding": "latin-1", "lineterminator": "\n"}
    sent = parcels()
    sent[:-640].to_csv(folder / "parcels_train.csv", **export)
    sent[-640:].drop(columns="late").to_csv(folder / "parcels_new.csv", **export)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
