"""What comes after the feature code, for every table: numbers without holes, whatever comes in."""

import types

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import StandardScaler

import features
from baton import BatonError, config, preparation

RAW = pd.read_csv(config.ROOT / "data" / "diabetes_train.csv").drop(columns="Outcome").astype("float64")
READY = features.derive(features.clean(RAW))


def mixed(rows: int = 60) -> pd.DataFrame:
    """Cleaned rows with what the sample table lacks: texts, rare ones among them, and holes everywhere."""
    generator = np.random.default_rng(8)
    table = pd.DataFrame(
        {
            "a": generator.normal(size=rows),
            "empty": np.nan,
            "town": pd.Series(["Bern"] * 30 + ["Oslo"] * 20 + ["Rome"] * (rows - 50), dtype=object),
        }
    )
    table.loc[::5, ["a", "town"]] = np.nan
    return table


def test_the_feature_file_comes_first_and_may_have_any_of_its_functions():
    pd.testing.assert_frame_equal(preparation.clean_and_derive(RAW, features), READY)
    pd.testing.assert_frame_equal(preparation.clean_and_derive(RAW, None), RAW)
    only_clean = types.SimpleNamespace(clean=features.clean)
    pd.testing.assert_frame_equal(preparation.clean_and_derive(RAW, only_clean), features.clean(RAW))
    assert [name for name, _ in preparation.stateless_steps(only_clean)] == ["clean"]


def test_an_error_in_the_feature_file_is_told_with_its_place():
    without = RAW.drop(columns="BMI")
    with pytest.raises(BatonError, match=r"^features\.py, line \d+, clean: KeyError: 'BMI'"):
        preparation.clean_and_derive(without, features)


def test_a_feature_file_may_bring_its_own_preparation():
    own = types.SimpleNamespace(prepare=lambda: StandardScaler(with_mean=False))
    np.testing.assert_allclose(preparation.prepare(own).fit_transform(RAW), RAW / RAW.std(ddof=0))


@pytest.mark.parametrize("rows", [READY, mixed()], ids=["sample", "mixed"])
def test_prepared_rows_are_numbers_without_a_hole(rows):
    prepared = preparation.prepare(None).fit_transform(rows)
    assert len(prepared) == len(rows)
    assert np.isfinite(np.asarray(prepared, dtype=float)).all()


def test_a_prepared_row_alone_equals_the_same_among_others():
    rows = READY
    fitted = preparation.prepare(None).fit(rows)
    alone = np.vstack([fitted.transform(rows.iloc[[number]]) for number in range(30)])
    np.testing.assert_allclose(alone, fitted.transform(rows)[:30])


def test_prepared_numbers_are_filled_with_the_median_and_brought_to_one_scale():
    rows = pd.DataFrame({"a": [1.0, 2.0, 9.0, np.nan]})
    values, missing = preparation.prepare(None).fit_transform(rows).T
    filled = np.array([1, 2, 9, 2])
    np.testing.assert_allclose(values, (filled - filled.mean()) / filled.std())
    np.testing.assert_allclose(missing, (np.array([0, 0, 0, 1]) - 0.25) / np.sqrt(0.25 * 0.75))


def test_texts_become_one_column_each_and_rare_ones_share_one():
    town = pd.Series(["Bern"] * 12 + ["Oslo"] * 10 + ["Rome"] * 9 + ["Nice", None], dtype=object)
    prepared = preparation.prepare(None).fit_transform(pd.DataFrame({"town": town}))
    bern, oslo, rare = np.eye(3)
    assert prepared[[0, 12, 22, 31, 32]].tolist() == [[*bern], [*oslo], [*rare], [*rare], [*rare]]


@pytest.mark.parametrize("town", ["Atlantis", "", None, np.nan])
@pytest.mark.parametrize("number", [1.5, np.nan])
def test_rows_unlike_any_in_training_are_prepared_all_the_same(town, number):
    rows = mixed()
    unseen = pd.DataFrame({"a": [number], "empty": [3.0], "town": pd.Series([town], dtype=object)})
    fitted = preparation.prepare(None).fit(rows)
    prepared = fitted.transform(unseen)
    assert prepared.shape == (1, fitted.transform(rows).shape[1])
    assert np.isfinite(prepared).all()


def test_a_hole_where_training_had_none_is_filled():
    fitted = preparation.prepare(None).fit(pd.DataFrame({"a": [1.0, 2.0, 9.0]}))
    known, unknown = fitted.transform(pd.DataFrame({"a": [2.0, np.nan]}))
    assert known.tolist() == unknown.tolist()


def test_each_call_of_prepare_makes_a_step_of_its_own():
    """Else one fold would be prepared with what another learned."""
    fitted, fresh = preparation.prepare(None).fit(READY), preparation.prepare(None)
    with pytest.raises(Exception, match="not fitted"):
        fresh.transform(READY)
    assert len(fitted.transform(READY)) == len(RAW)
