"""A registry made by version 0.1 of the project goes on working: its champion is found, runs, and is judged.

The registry is real: `make_old_registry.py` trained it with the code of then.
"""

import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import registering
from conftest import settings
from make_old_registry import FOLDER, KEPT

from baton import BatonError, config
from baton.data import split, tables
from baton.handover import comparison, history, promotion, registry, saving, tracking

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


def test_it_is_held_to_what_serving_may_cost(old):
    champion = registry.find_champion("diabetes", old)
    registry.require_servable(champion, {"seconds_per_1000_rows": 60}, old)
    for name in ("megabytes", "seconds_per_1000_rows"):
        with pytest.raises(
            BatonError, match=f"diabetes version 1 can't be served: {name} is .*, and at_most allows 1e-06"
        ):
            registry.require_servable(champion, {name: 1e-6}, old)


def test_it_is_rolled_back_to(old, tmp_path):
    asked = settings(name="diabetes", target="Outcome", mlflow_tracking_uri=old)
    first = registry.find_champion("diabetes", old)
    second = registering.register_version(first.path, first.run_id, asked)
    promotion.promote_by_hand("diabetes", second.version, "for a test", asked)
    assert history.champion_version("diabetes", old) == second.version == "2"
    assert promotion.roll_back("diabetes", "it was better", asked).version == "1"
    assert registry.find_champion("diabetes", old).path == first.path
    assert [event.kind for event in history.read("diabetes", old)] == ["promoted", "rolled back"]


def be_promoted(asked, champion):
    tracking.connect(asked.mlflow_tracking_uri).delete_registered_model_alias("diabetes", "champion")
    promotion.promote_by_hand("diabetes", "1", "it is good", asked)


def be_rolled_back_to(asked, champion):
    second = registering.register_version(champion.path, champion.run_id, asked)
    registering.promote(second, asked)
    promotion.roll_back("diabetes", "it was better", asked)


def be_judged(asked, champion):
    table = tables.read_table(config.ROOT / "data" / "diabetes_train.csv")
    division = split.separate(table, champion.contract, asked)
    challenger = registering.save(champion.path.parent / "challenger", division.training, target="Outcome")
    candidate = {"candidate": "lr", "model": "lr", "model_params": {}, "tune": 0}
    facts = {"run_id": None, "data_digest": "x"}
    folder = champion.path.parent / "version"
    promotion.hand_over(challenger, candidate, "", division.training, division.holdout, facts, asked, folder)


@pytest.mark.parametrize("happens", [be_promoted, be_rolled_back_to, be_judged])
def test_once_it_was_judged_or_made_champion_a_change_of_its_files_is_refused(old, happens):
    """Version 0.1 kept no digest of a version's files."""
    asked = settings(name="diabetes", target="Outcome", mlflow_tracking_uri=old)
    champion = registry.find_champion("diabetes", old)
    assert registry.DIGEST not in champion.tags
    happens(asked, champion)
    assert registry.find_champion("diabetes", old).tags[registry.DIGEST] == saving.digest_files(champion.path)
    with (champion.path / "code" / "features.py").open("a") as code:
        code.write("# edited")
    with pytest.raises(BatonError, match="diabetes version 1 is refused: a file of it was changed"):
        registry.find_champion("diabetes", old)


@pytest.fixture(scope="module")
def older(tmp_path_factory) -> Path:
    """Another scikit-learn than the locked one, to be put before it."""
    folder = tmp_path_factory.mktemp("scikit-learn")
    pip = [sys._base_executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*pip, "--only-binary=:all:", "--target", str(folder), "scikit-learn==1.7.2"], check=True)
    return folder


def test_under_another_scikit_learn_a_model_answers_as_it_did_or_is_refused(old, older, tmp_path, monkeypatch):
    champion = registry.find_champion("diabetes", old)
    division = tables.read_table(config.ROOT / "data" / "diabetes_train.csv")
    linear = registering.save(tmp_path / "linear", division, target="Outcome")
    monkeypatch.setattr(registry, "PYTHON", ["env", f"PYTHONPATH={older}", sys.executable])
    answers = registry.predict(champion, champion.contract.read_features(tables.read_table(ROWS)))
    np.testing.assert_array_equal(answers[:, 1], pd.read_parquet(tmp_path / "predictions.parquet")["probability"])
    with pytest.raises(
        BatonError, match=r"can't be used: AttributeError: .* \(scikit-learn 1\.9\.\d then, 1\.7\.2 now\)"
    ):
        registry.predict(linear, linear.contract.read_features(division.head(5)))
