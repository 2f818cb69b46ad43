"""Split the Pima Indians Diabetes table, once and reproducibly, into what trains and what arrives to be scored.

    python data/make_diabetes.py path/to/diabetes.csv

Where the table comes from, and its hash, stands in README.md beside this file.
"""

import hashlib
import sys
from pathlib import Path

import pandas as pd

SHA256 = "698c203a14aa31941d2251175330c9199f3ccdb31597abbba2a3e35416257a72"
HERE = Path(__file__).parent


def split(source: Path, folder: Path = HERE) -> None:
    """Write three rows of four to diabetes_train.csv, the rest to diabetes_test.csv; same rows in, same bytes out."""
    found = hashlib.sha256(source.read_bytes()).hexdigest()
    if found != SHA256:
        raise SystemExit(f"{source}: SHA256 is {found}, expected {SHA256}; this is another table")
    table = pd.read_csv(source)
    test = table.sample(frac=0.25, random_state=0).sort_index()
    table.drop(test.index).to_csv(folder / "diabetes_train.csv", index=False, lineterminator="\n")
    test.to_csv(folder / "diabetes_test.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    split(Path(sys.argv[1]))
