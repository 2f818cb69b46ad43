"""A registry made by version 0.1 of the project goes on working: its champion is found, runs, and is judged.

The registry is real: `make_old_registry.py` trained it with the code of then.
"""

import sqlite3
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import registering
from conftest import settings
from make_old_registry import FOLDER, KEPT

from baton import config
from baton.data import split, tables
from baton.handover import comparison, registry

ROWS = config.ROOT / "data" / "diabetes_test.csv"


def unpack(folder: Path) -> str:
    """Put the old registry into a folder, as if it had been made there; return its URI."""
    with tarfile.open(KEPT) as archive:
        archive.extractall(folder, filter="data")
    for file in [folder / "mlflow.sql", *folder.glob("mlruns/*/models/*/artifacts/MLmodel")]:
        text = file.read_text().replace(f"file://{FOLDER}", folder.as_uri())
        file.write_text(text.replace(FOLDER, str(folder)))
    store = sqlite3.connect(folder / "mlflow.db")
    store.executescript((folder / "mlflow.sql").read_text())
    store.close()
    return f"sqlite:///{folder / 'mlflow.db'}"


@pytest.fixture
def old(tmp_path) -> str:
    return unpack(tmp_path)


def test_its_champion_is_found_and_answers_as_when_it_was_registered(old, tmp_path):
    champion = registry.find_champion("diabetes", old)
    assert (champion.version, champion.contract.target, champion.contract.labels) == ("1", "Outcome", [0, 1])
    assert len(champion.fingerprints) == 465
    answers = registry.predict(champion, champion.contract.read_features(tables.read_table(ROWS)))
    expected = pd.read_parquet(tmp_path / "predictions.parquet")
    assert len(answers) == 192
    np.testing.assert_array_equal(answers[:, 1], expected["probability"])


def test_it_is_compared_with_a_challenger_on_rows_it_has_not_seen(old, tmp_path):
    champion = registry.find_champion("diabetes", old)
    table = tables.read_table(config.ROOT / "data" / "diabetes_train.csv")
    division = split.separate(table, champion.contract, settings(name="diabetes", target="Outcome"))
    challenger = registering.save(tmp_path / "challenger", division.training, target="Outcome")
    asked = settings(name="diabetes", target="Outcome", mlflow_tracking_uri=old)
    verdict = comparison.compare(challenger, champion, division.training, division.holdout, asked)
    assert (verdict.rows, verdict.holdout_rows, verdict.seen) == (111, 111, 0)
    assert (verdict.champion.version, verdict.looks) == ("1", 1)
