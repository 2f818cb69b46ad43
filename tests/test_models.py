"""The model ids that `config` allows, held against PyCaret's own lists."""

import pandas as pd
import pytest

from baton import config, tournament

ROWS = pd.DataFrame({"a": range(20), "b": [0, 1] * 10, "answer": [0, 1, 1, 0] * 5})
QUIET = {"html": False, "verbose": False, "system_log": False, "log_experiment": False}


# It tells of xgboost and catboost, which are not installed and not on our lists.
@pytest.mark.filterwarnings("ignore::UserWarning:skbase")
@pytest.mark.parametrize(
    ("experiment", "allowed"),
    [
        (tournament.ClassificationExperiment, config.MODELS_FOR_CLASSES),
        (tournament.RegressionExperiment, config.MODELS_FOR_NUMBERS),
    ],
    ids=["classes", "numbers"],
)
def test_every_model_that_may_be_named_exists_in_pycaret(experiment, allowed):
    ready = experiment()
    ready.setup(ROWS, target="answer", session_id=1, preprocess=False, memory=False, n_jobs=1, **QUIET)
    assert sorted(allowed - {*ready.models().index}) == []


def test_what_may_stand_in_the_one_grid_exists_for_both_kinds_of_question():
    assert config.MODELS_FOR_CLASSES & config.MODELS_FOR_NUMBERS == config.MODELS_FOR_BOTH
