"""Both pipelines on a real PostgreSQL: trained from a query, scored from a table, predictions written to another."""

import os
import urllib.parse
from pathlib import Path

import numpy as np
import pandas as pd
import sqlalchemy

from baton import config


def test_training_and_scoring_from_a_database_that_gets_the_predictions(fresh, postgres):
    secret = os.environ["ODD"]
    quoted = urllib.parse.quote(secret, safe="")
    assert quoted != secret
    engine = sqlalchemy.create_engine(config.fill_in(postgres).replace("postgresql", "postgresql+pg8000"))
    generator = np.random.default_rng(3)
    customers = pd.DataFrame({"id": np.arange(600), "shop": generator.integers(0, 60, 600)})
    customers["spent"] = generator.gamma(2, 30, 600).round(2)
    customers["Since"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(generator.integers(0, 900, 600), unit="D")
    customers["member"] = generator.random(600) < 0.5
    customers["left"] = customers["spent"] + 40 * customers["member"] + generator.normal(0, 10, 600) < 70
    customers.to_sql("customers", engine, index=False)
    customers.tail(100).drop(columns="left").to_sql("tonight", engine, index=False)

    keys = {
        "name": "db", "target": "left", "id_columns": "id", "features": "none", "split": "group", "split_by": "shop",
        "train_data": f"{postgres}#SELECT * FROM customers WHERE id < 500", "score_data": f"{postgres}#tonight",
        "predictions_table": f"{postgres}#scores", "batch": "one",
    }  # fmt: skip
    fresh.keep_candidates("lr")
    fresh.draw_nothing()
    fresh.set(**keys)
    printed = fresh.build() + fresh.build("-e", "pipeline.serve.yaml")
    published = pd.read_parquet(fresh.folder / "predictions/db/batch=one")

    written = pd.read_sql("SELECT * FROM scores ORDER BY id", engine)
    assert written["id"].tolist() == published["id"].tolist() == [*range(500, 600)]
    np.testing.assert_allclose(written["probability"], published["probability"])
    truth = customers["left"].tail(100).to_numpy()
    assert (written["prediction"].to_numpy(dtype=bool) == truth).mean() > 0.8
    assert set(zip(written["model_name"], written["batch"], strict=True)) == {("db", "one")}

    # New rows in the table: the batch is scored again, and takes the place of the one before.
    customers.head(7).drop(columns="left").to_sql("tonight", engine, index=False, if_exists="append")
    printed += fresh.build("-e", "pipeline.serve.yaml")
    assert len(pd.read_sql("SELECT id FROM scores", engine)) == 107
    engine.dispose()

    made = [path for path in files(fresh.folder) if "tests" not in path.parts]
    assert len(made) > 100
    for text in (secret, quoted):
        assert text not in printed
        assert [path for path in made if text.encode() in path.read_bytes()] == []


def files(folder: Path) -> list[Path]:
    """Every file of the project: notebooks, pages, runs, models, the store of experiments."""
    return [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]
