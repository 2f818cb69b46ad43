"""Your project: whether `env.yaml`, `features.py` and the grid fit together, and fit your table. It is yours to extend.

    pytest tests/test_project.py                                        # as env.yaml says
    pytest tests/test_project.py --env-file examples/wine.yaml          # with the keys of another file in place of its own

It takes a sample of your rows, and under a minute.
"""

import warnings

import numpy as np
import pandas as pd
import pytest
import yaml

from baton import config, grid, models
from baton.data import contract, split, tables
from baton.handover import registry, runner, saving
from baton.training import ensemble, preparation, tournament

SAMPLE = 300  # training rows


@pytest.fixture(scope="module")
def settings(request) -> config.Settings:
    file = request.config.getoption("--env-file")
    changed = yaml.safe_load((config.ROOT / file).read_text()) if file else {}
    return config.check_settings(changed)


@pytest.fixture(scope="module")
def candidates(settings) -> list[dict]:
    """The candidates of the grid; of the many of a sweep, the first and the last."""
    found = grid.read(settings.grid)
    swept = [entry for entry in found if entry["swept"]]
    few = [entry for entry in found if not entry["swept"]] + swept[:1] + swept[-1:]
    return sorted(few, key=lambda entry: entry["model"] == models.ENSEMBLE)  # which is made of the others


@pytest.fixture(scope="module")
def division(settings) -> split.Division:
    table = tables.read_table(settings.train_data)
    return split.separate(table, contract.learn_contract(table, settings), settings)


@pytest.fixture(scope="module")
def sample(division) -> pd.DataFrame:
    """Training rows, a few of each class at least."""
    training, labels = division.training, division.contract.labels
    if len(training) <= SAMPLE:
        return training
    few = [training[training[division.contract.target] == label].head(8) for label in labels]
    return pd.concat([*few, training.sample(SAMPLE, random_state=0)]).pipe(lambda rows: rows[~rows.index.duplicated()])


@pytest.fixture(scope="module")
def X(division, sample) -> pd.DataFrame:
    return division.contract.read_features(sample)


@pytest.fixture(scope="module")
def feature_code(settings):
    return config.load_features(settings.features)


def test_every_candidate_of_the_grid_can_answer_the_question(settings, division):
    for entry in grid.read(settings.grid):
        grid.check(entry, division.contract.task)


def test_the_table_can_be_divided(division):
    assert len(division.training) > len(division.holdout) > 0
    assert division.folds["fold"].max() >= 1


def test_feature_code_keeps_every_row_in_its_place_and_changes_none_that_came_in(X, feature_code):
    given = X.copy(deep=True)
    made = preparation.clean_and_derive(X, feature_code)
    pd.testing.assert_index_equal(made.index, X.index)
    pd.testing.assert_frame_equal(X, given)


def test_feature_code_gives_a_row_alone_what_it_gives_it_among_others(X, feature_code):
    rows = X.head(20)
    alone = pd.concat([preparation.clean_and_derive(rows.iloc[[place]], feature_code) for place in range(len(rows))])
    pd.testing.assert_frame_equal(alone, preparation.clean_and_derive(rows, feature_code), check_dtype=False)


@pytest.fixture(scope="module")
def fitted(division, sample, X, feature_code, settings, candidates):
    """Every candidate, fitted on the sample."""
    y, asked = sample[division.contract.target], division.contract
    ready, found = preparation.clean_and_derive(X, feature_code), {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for entry in candidates:
            if entry["model"] == models.ENSEMBLE:
                members = {name: found[name] for name in [*found][-2:]}
                found[entry["candidate"]] = ensemble.join(members, dict.fromkeys(members, 0.5), asked)
                continue
            prepare, _ = preparation.of_candidate(entry, feature_code, ready, pd.DataFrame({"group": [0]}), asked.task)
            model = tournament.make_estimator(entry["model"], entry["model_params"], asked, len(X), settings.seed)
            found[entry["candidate"]] = tournament.assemble(prepare, model, feature_code).fit(X, y)
    return found


def test_every_candidate_fits_and_predicts_every_row(fitted, X, division):
    for name, pipeline in fitted.items():
        predictions = saving.probabilities(pipeline, X, division.contract)
        assert np.isfinite(predictions).all(), name
        assert len(predictions) == len(X), name


def test_every_candidate_predicts_rows_with_missing_and_with_new_values(fitted, X, division):
    missing = X.head(1).map(lambda _: None).astype(X.dtypes)
    new = X.head(1).assign(
        **{column: "a value never seen" for column, kind in division.contract.kinds.items() if kind == "text"}
    )
    for name, pipeline in fitted.items():
        for rows in (missing, new):
            assert np.isfinite(saving.probabilities(pipeline, rows, division.contract)).all(), name


def test_what_is_registered_answers_as_it_did_when_it_was_fitted(fitted, X, sample, division, settings, tmp_path):
    asked, y = division.contract, sample[division.contract.target]
    for name, pipeline in fitted.items():
        saving.save(tmp_path / name, saving.model_arguments(pipeline, asked, X, y, settings.features))
        found = saving.probabilities(runner.load(tmp_path / name), X, asked)
        np.testing.assert_array_equal(found, saving.probabilities(pipeline, X, asked), err_msg=name)
    # One of them as the nightly job runs it, in a process that has not seen the checkout's feature code.
    found = registry.predict(saving.open_model(tmp_path / name), X)
    np.testing.assert_array_equal(found, saving.probabilities(pipeline, X, asked))
