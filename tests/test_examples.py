"""The examples: the same project on other tables, through to predictions; and their tables, as the code makes them."""

import json

import pandas as pd
import pytest
import yaml
from conftest import load_script
from scipy import stats
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score

from baton import config
from baton.data import split
from baton.training import evaluation

EXAMPLES = config.ROOT / "examples"


@pytest.fixture(scope="module")
def make_tables():
    return load_script(EXAMPLES / "make_tables.py")


def test_the_tables_are_what_the_code_makes(make_tables, tmp_path):
    make_tables.main(tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in EXAMPLES.glob("*.csv")}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_an_example_is_small_and_without_code(path):
    assert len(path.read_text().splitlines()) < 15
    assert yaml.safe_load(path.read_text())["features"] == "none"


# What a new row is called, what is predicted for it, and how good that must be of rows no model has seen.
EXPECTED = {
    "wine": (["row"], ["probability_barbera", "probability_barolo", "probability_grignolino"], accuracy_score, 0.9),
    "progression": (["row"], ["prediction_low", "prediction_high"], r2_score, 0.25),
    "parcels": (["parcel"], ["probability"], roc_auc_score, 0.7),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_runs_through_to_predictions(fresh, make_tables, name):
    ids, probabilities, score, least = EXPECTED[name]
    fresh.keep_candidates("lr", "tree")
    fresh.draw_nothing()
    options = fresh.run("baton", "options", f"examples/{name}.yaml").split()
    fresh.build(*options)
    fresh.build("-e", "pipeline.serve.yaml", *options, "--env--batch", "new")
    verdict = json.loads((fresh.folder / f"products/{name}/compare/verdict.json").read_text())
    assert verdict["decision"] == "promoted"
    assert verdict["leads"]["baseline"]["bound"] > 0
    found = pd.read_parquet(fresh.folder / f"predictions/{name}/batch=new")
    assert [*found.columns] == [*ids, "prediction", *probabilities, "model_version", "scored_at"]

    table = getattr(make_tables, name)()
    target = table.columns[-1]
    new = table.tail(640) if name == "parcels" else table.sample(frac=0.2, random_state=0).sort_index()
    assert len(found) == len(new)
    if name == "parcels":
        assert found["parcel"].tolist() == new["parcel"].tolist()
        assert score(new[target] == "yes", found["probability"]) > least
        assert (
            json.loads((fresh.folder / "predictions/parcels/batch=new/_manifest.json").read_text())["positive_class"]
            == "yes"
        )
        # The errors of the leaderboard go by the real sizes of the folds, which move forward in time.
        made = fresh.folder / "products/parcels"
        folds = pd.read_parquet(made / "features/folds.parquet")["fold"].to_numpy()
        board = pd.read_csv(made / "compare/leaderboard.csv", index_col="candidate")
        scores = {one: pd.read_csv(made / f"fit/{one}/scores.csv", index_col="fold")["AUC"] for one in board.index}
        ratio = split.Folds(folds, forward=True).test_train_ratio()
        assert board["error"].max() > 0
        expected = evaluation.compare_to_best(scores, "AUC", ratio)["error"]
        assert board["error"].tolist() == pytest.approx(expected.tolist())
    else:
        assert score(new[target], found["prediction"]) > least
    if name == "progression":
        held = new[target].between(found["prediction_low"].to_numpy(), found["prediction_high"].to_numpy())
        assert stats.binomtest(int(held.sum()), len(new), 0.9).pvalue > 0.001
        assert verdict["interval"]["level"] == 0.9


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_passes_the_tests_of_a_project(fresh, name):
    fresh.keep_candidates("lr", "tree")
    fresh.draw_nothing()
    printed = fresh.run("pytest", "-n0", "tests/test_project.py", "--env-file", f"examples/{name}.yaml")
    assert "7 passed" in printed
