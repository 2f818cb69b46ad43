"""A batch between the tasks of the serving pipeline; that it is published whole is for test_registry, which has a model."""

import json

import pandas as pd
import pytest

from baton import BatonError, config, contract, scoring
from baton.registry import Model
from hooks import stop_if_published

ROWS = pd.DataFrame({"id": ["7", "8"], "age": ["31", None], "town": ["Ulm", "Köln"]})


@pytest.fixture
def received(monkeypatch, tmp_path):
    monkeypatch.setattr(config, "ROOT", tmp_path)
    kinds = {"age": "number", "town": "text"}
    asked = contract.Contract("demo", "y", ["id"], kinds, "binary", "so", "AUC", ["no", "yes"])
    return scoring.receive(ROWS, Model(tmp_path, asked, "3", "run"), "monday", "rows.csv")


def test_rows_carry_the_batch_they_are(received, tmp_path):
    batch, rows = received
    rows.to_parquet(tmp_path / "rows.parquet")
    again, found = scoring.read_batch(tmp_path / "rows.parquet", "demo", "monday")
    assert again == batch
    assert found.to_dict("list") == {"id": [7, 8], "age": [31.0, pytest.approx(float("nan"), nan_ok=True)], "town": ["Ulm", "Köln"]}  # fmt: skip


@pytest.mark.parametrize(("name", "batch"), [("demo", "tuesday"), ("other", "monday")])
def test_no_batch_takes_the_rows_of_another_that_is_built_at_the_same_time(received, tmp_path, name, batch):
    received[1].to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(BatonError, match=f"batch {batch} of {name}: meanwhile batch monday of demo was received"):
        scoring.read_batch(tmp_path / "rows.parquet", name, batch)


def test_only_a_batch_that_is_published_itself_stops_the_pipeline(received, tmp_path):
    (tmp_path / "batch.json").write_text(json.dumps(received[0].to_dict() | {"published": True}))
    stop_if_published({"batch": tmp_path / "batch.json"}, {"name": "demo", "batch": "tuesday"})
    with pytest.raises(Exception, match="already published"):
        stop_if_published({"batch": tmp_path / "batch.json"}, {"name": "demo", "batch": "monday"})


def test_a_batch_whose_manifest_was_cut_off_is_scored_again(received):
    batch = received[0]
    batch.folder.mkdir(parents=True)
    (batch.folder / "_manifest.json").write_text("")
    assert scoring.is_published(batch) is False
