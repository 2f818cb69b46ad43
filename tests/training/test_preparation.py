"""What comes after the feature code, for every table: numbers without holes, whatever comes in."""

import types

import numpy as np
import pandas as pd
import pytest
import sklearn
import skops.io
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.ensemble import (
    AdaBoostClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, RANSACRegressor
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GroupKFold,
    KFold,
    PredefinedSplit,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder, StandardScaler, TargetEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from baton import BatonError, config, models
from baton.training import preparation

RAW = pd.read_csv(config.ROOT / "data" / "diabetes_train.csv").drop(columns="Outcome").astype("float64")


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


def test_the_feature_file_comes_first_and_may_have_any_of_its_functions(features):
    expected = features.derive(features.clean(RAW))
    pd.testing.assert_frame_equal(preparation.clean_and_derive(RAW, features), expected)
    pd.testing.assert_frame_equal(preparation.clean_and_derive(RAW, None), RAW)
    only_clean = types.SimpleNamespace(clean=features.clean)
    pd.testing.assert_frame_equal(preparation.clean_and_derive(RAW, only_clean), features.clean(RAW))
    assert [name for name, _ in preparation.stateless_steps(only_clean)] == ["clean"]


def test_an_error_in_the_feature_file_is_told_with_its_place(features):
    without = RAW.drop(columns="BMI")
    with pytest.raises(BatonError, match=r"^features\.py, line \d+, clean: the rows have no column 'BMI'\. .* to none"):
        preparation.clean_and_derive(without, features)


def test_a_feature_file_may_bring_its_own_preparation():
    own = types.SimpleNamespace(prepare=lambda: StandardScaler(with_mean=False))
    np.testing.assert_allclose(preparation.prepare(own, RAW, "binary").fit_transform(RAW), RAW / RAW.std(ddof=0))


def test_a_candidate_may_name_another_function_of_the_feature_file():
    own = types.SimpleNamespace(prepare=StandardScaler, halve=lambda: FunctionTransformer(lambda rows: rows / 2))
    np.testing.assert_allclose(preparation.prepare(own, RAW, "binary", how="halve").fit_transform(RAW), RAW / 2)
    named = preparation.prepare(own, RAW, "binary", how="scaled")  # Baton's, though the file has its own
    np.testing.assert_allclose(named.fit_transform(RAW), usual(RAW)[1])
    missing = (
        r"prepare: {}: features\.py has no function of this name that makes a step. Write one, or take scaled or native"
    )
    code = types.SimpleNamespace(__file__="features.py", clean=lambda rows: rows, np=np)
    for name in ("trees", "clean", "np"):
        with pytest.raises(BatonError, match=missing.format(name)):
            preparation.prepare(code, RAW, "binary", how=name)
    with pytest.raises(
        BatonError, match="prepare: trees: features in env.yaml is none. Write one, or take scaled or nat"
    ):
        preparation.prepare(None, RAW, "binary", how="trees")


def test_a_native_preparation_leaves_numbers_and_holes_and_gives_texts_codes():
    rows = mixed().assign(flag=[True, False, None] * 20, day=pd.date_range("2026-01-01", periods=60))
    step = preparation.prepare(None, rows, "binary", usual="native")
    found = step.fit_transform(rows, np.arange(60) % 2)
    assert preparation.categories(step) == [0]
    codes = rows["town"].fillna("").map({"": 0, "Bern": 1, "Oslo": 2, "Rome": 3})
    np.testing.assert_array_equal(found[:, 0], codes)
    np.testing.assert_array_equal(found[:, 1:3], rows[["a", "empty"]])
    later = rows.head(3).assign(town=["Paris", None, "Oslo"])
    np.testing.assert_array_equal(step.transform(later)[:, 0], [np.nan, 0, 2])
    assert (
        found.shape[1] == usual(rows)[1].shape[1] - 4
    )  # but for towns (4 and one code) and marks of holes (1), as usual
    scaled = preparation.prepare(None, rows, "binary", how="scaled", usual="native")
    ordered = make_column_transformer((make_pipeline(OrdinalEncoder()), make_column_selector(dtype_include=object)))
    assert preparation.categories(ordered) == []  # a feature file's own, whose order may mean something
    assert preparation.categories(scaled) == []
    assert preparation.categories(preparation.prepare(None, rows[["a"]], "binary", how="native")) == []


def test_rare_values_share_a_code_and_no_column_has_more_codes_than_boosting_takes():
    """300 values of 12 rows each, and 1,500 that are in two rows: too many to be one-hot, too few rows for means."""
    often, rarely = np.repeat(np.arange(300), 12), np.repeat(np.arange(300, 1800), 2)
    rows = pd.DataFrame({"code": [f"v{number}" for number in [*often, *rarely]]})
    found = preparation.prepare(None, rows, "binary", how="native").fit_transform(rows)[:, 0]
    assert len(np.unique(found)) == 200
    assert len({*found[-3000:]}) == 1


def usual(rows: pd.DataFrame, target=None, task: str = "binary"):
    """The usual step, fitted, and what it makes of the rows it is fitted on."""
    step = preparation.prepare(None, rows, task)
    target = np.arange(len(rows)) % 2 if target is None else target
    return step, step.fit_transform(rows, target)


@pytest.mark.parametrize("rows", [RAW.mask(RAW == 0), mixed()], ids=["sample", "mixed"])
def test_prepared_rows_are_numbers_without_a_hole(rows):
    _, prepared = usual(rows)
    assert len(prepared) == len(rows)
    assert np.isfinite(np.asarray(prepared, dtype=float)).all()


def test_a_prepared_row_alone_equals_the_same_among_others():
    fitted, _ = usual(RAW)
    alone = np.vstack([fitted.transform(RAW.iloc[[number]]) for number in range(30)])
    np.testing.assert_allclose(alone, fitted.transform(RAW)[:30])


def test_prepared_numbers_are_filled_with_the_median_and_brought_to_one_scale():
    _, prepared = usual(pd.DataFrame({"a": [1.0, 2.0, 9.0, np.nan]}))
    values, missing = prepared.T
    filled = np.array([1, 2, 9, 2])
    np.testing.assert_allclose(values, (filled - filled.mean()) / filled.std())
    np.testing.assert_allclose(missing, (np.array([0, 0, 0, 1]) - 0.25) / np.sqrt(0.25 * 0.75))


def test_texts_become_one_column_each_and_rare_ones_share_one():
    town = pd.Series(["Bern"] * 12 + ["Oslo"] * 10 + ["Rome"] * 2 + ["Nice", None], dtype=object)
    _, prepared = usual(pd.DataFrame({"town": town}))
    bern, oslo, rare = np.eye(3)
    assert prepared[[0, 12, 22, 24, 25]].tolist() == [[*bern], [*oslo], [*rare], [*rare], [*rare]]


@pytest.mark.parametrize("town", ["Atlantis", "", None, np.nan])
@pytest.mark.parametrize("number", [1.5, np.nan])
def test_rows_unlike_any_in_training_are_prepared_all_the_same(town, number):
    rows = mixed()
    unseen = pd.DataFrame({"a": [number], "empty": [3.0], "town": pd.Series([town], dtype=object)})
    fitted, there = usual(rows)
    prepared = fitted.transform(unseen)
    assert prepared.shape == (1, there.shape[1])
    assert np.isfinite(prepared).all()


def test_a_hole_where_training_had_none_is_filled():
    fitted, _ = usual(pd.DataFrame({"a": [1.0, 2.0, 9.0, 2.0]}))
    known, unknown = fitted.transform(pd.DataFrame({"a": [2.0, np.nan]}))
    assert known.tolist() == unknown.tolist()


@pytest.mark.parametrize("town", [["Bern", "Oslo"], [f"t{number}" for number in range(40)]], ids=["few", "many"])
def test_a_missing_text_is_the_same_however_it_is_written(town):
    """None in a table, NaN in Parquet, either in JSON: what the model learned of holes must not hang on that."""
    rows = pd.DataFrame({"town": pd.Series([*town * 40, *[None] * 400], dtype=object)})
    fitted, prepared = usual(rows, np.r_[np.zeros(len(rows) - 400), np.ones(400)].astype(int))
    assert prepared[-1].tolist() != prepared[0].tolist()
    assert all("town" in name for name in fitted.get_feature_names_out())  # by which `features` shows them
    for kind in ("object", "str", "category"):
        again = rows["town"].astype(kind).to_frame()
        assert fitted.transform(again).tolist() == fitted.transform(rows).tolist()
    for hole in (None, np.nan):
        alone = fitted.transform(pd.DataFrame({"town": pd.Series([hole], dtype=object)}))
        assert alone.tolist() == fitted.transform(rows)[[-1]].tolist()


def test_true_and_false_of_a_feature_file_may_have_holes():
    holes = pd.Series([True, False, None] * 12, dtype=object)
    _, prepared = usual(pd.DataFrame({"known": [True, False] * 18, "maybe": holes, "town": ["Bern", None] * 18}))
    assert prepared.sum(axis=1).tolist() == [3] * 36


def test_each_call_of_prepare_makes_a_step_of_its_own():
    """Else one fold would be prepared with what another learned."""
    fitted, fresh = usual(RAW)[0], preparation.prepare(None, RAW, "binary")
    with pytest.raises(Exception, match="not fitted"):
        fresh.transform(RAW)
    assert len(fitted.transform(RAW)) == len(RAW)


CODES = pd.DataFrame({"code": pd.Series([f"c{number % 40}" for number in range(2000)], dtype=object)})


@pytest.mark.parametrize(
    ("task", "target", "columns"),
    [
        ("binary", (np.arange(2000) % 40 < 10).astype(int), 1),
        ("multiclass", np.arange(2000) % 40 // 14, 3),
        ("regression", (np.arange(2000) % 40).astype(float), 1),
    ],
)
def test_a_text_of_many_values_becomes_the_mean_target_of_its_value(task, target, columns):
    fitted, prepared = usual(CODES, target, task)
    assert prepared.shape == (2000, columns)
    # The first class against the rest; or the number itself. 50 rows a value leave the mean hardly smoothed.
    expected = (target == 0) if task == "multiclass" else target
    assert np.corrcoef(fitted.transform(CODES)[:, 0], expected)[0, 1] > 0.999
    unseen = fitted.transform(pd.DataFrame({"code": pd.Series(["new", None], dtype=object)}))
    assert np.abs(unseen).max() < 0.01  # the mean of all, which is 0 once scaled


def test_no_row_sees_its_own_target_in_the_mean_of_its_value():
    """Chance alone: what a row is fitted with must not tell its target."""
    generator = np.random.default_rng(0)
    target = generator.integers(0, 2, 1200)
    rows = pd.DataFrame({"code": pd.Series([f"c{number}" for number in generator.integers(0, 48, 1200)], dtype=object)})
    fitted, prepared = usual(rows, target)
    assert np.corrcoef(fitted.transform(rows)[:, 0], target)[0, 1] > 0.15  # what fit and then transform would give
    assert np.corrcoef(prepared[:, 0], target)[0, 1] < 0.05


@pytest.mark.parametrize(("rows", "values"), [(200, 25), (240, 30), (2000, 25)], ids=["200 rows", "240", "2000"])
def test_a_text_tells_in_a_small_table_what_its_values_tell(rows, values):
    """Of 25 values with 8 rows each, none came to 10 rows: all were one column without information, and the AUC 0.5."""
    generator = np.random.default_rng(4)
    code = generator.permutation(np.arange(rows) % values)
    y = (generator.random(rows) < np.where(code % 2, 0.95, 0.05)).astype(int)
    X = pd.DataFrame({"code": pd.Series([f"c{number}" for number in code], dtype=object)})
    pipeline = make_pipeline(preparation.prepare(None, X, "binary"), LogisticRegression())
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    assert cross_val_score(pipeline, X, y, cv=folds, scoring="roc_auc").mean() > 0.85


@pytest.mark.parametrize(("rows", "alone"), [(100, 3), (500, 5), (5000, 10)])
def test_how_often_a_value_must_be_there_goes_by_the_rows(rows, alone):
    counts = {"often": alone, "seldom": alone - 1}
    town = pd.Series([*["often"] * alone, *["seldom"] * (alone - 1), *["Bern"] * (rows - 2 * alone + 1)], dtype=object)
    step, _ = usual(pd.DataFrame({"town": town}))
    columns = "".join(step.get_feature_names_out())
    assert [value in columns for value in counts] == [True, False]


@pytest.mark.parametrize(
    ("values", "each", "rare", "columns"), [(30, 25, 0, 30), (30, 19, 2, 31), (31, 24, 0, 31), (31, 25, 0, 1)]
)
def test_a_text_of_up_to_30_values_or_of_few_rows_a_value_has_a_column_for_each(values, each, rare, columns):
    town = [f"t{number}" for number in range(values)] * each + ["rare"] * rare
    _, prepared = usual(pd.DataFrame({"town": pd.Series(town, dtype=object)}))
    assert prepared.shape[1] == columns


def grouped_noise(task: str) -> tuple[pd.DataFrame, pd.Series, np.ndarray]:
    """Noise: 480 groups of five equal targets; each group has one of 40 codes, which say nothing of new groups."""
    generator = np.random.default_rng(6)
    groups = np.repeat(np.arange(480), 5)
    target = {"binary": generator.integers(0, 2, 480), "multiclass": generator.integers(0, 3, 480)}
    target |= {"regression": generator.normal(size=480)}
    X = pd.DataFrame(
        {"code": pd.Series([f"c{number}" for number in generator.integers(0, 40, 480)[groups]], dtype=object)}
    )
    return X, pd.Series(target[task][groups]), groups


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_no_row_sees_its_groups_targets_in_the_mean_of_its_value(task):
    """The rows of a group share a code and a target: what one row's encoding leaves out, the other four give away."""
    X, y, groups = grouped_noise(task)
    told = {}
    for grouped in (True, False):
        step = preparation.prepare(None, X, task, grouped)
        with sklearn.config_context(enable_metadata_routing=grouped):
            encoded = step.fit_transform(X, y, **({"groups": groups} if grouped else {}))
        told[grouped] = np.corrcoef(encoded[:, 0], (y == 0) if task == "multiclass" else y)[0, 1]
    assert told[False] > 0.15
    assert told[True] < 0.05


@pytest.mark.parametrize(("share", "folds"), [(5, GroupKFold), (1, KFold)])
def test_a_candidates_encoder_goes_by_group_where_rows_come_in_groups(share, folds):
    X, _, _ = grouped_noise("regression")
    of_rows = pd.DataFrame({"group": np.arange(len(X)) // share})
    step, _ = preparation.of_candidate({"model": "lr", "prepare": "auto"}, None, X, of_rows, "regression")
    assert [type(one) for name, one in step.get_params().items() if name.endswith("targetencoder__cv")] == [folds]


SELECTED = {
    "kept": lambda rows: rows[rows["a"] > 2],
    "sorted": lambda rows: rows.sort_values("a", ascending=False).head(3),
}


@pytest.mark.parametrize("select", SELECTED.values(), ids=SELECTED)
def test_a_feature_file_may_select_the_rows_that_a_model_learns_from(select):
    training = pd.DataFrame({"a": [1, 3, 2, 4, 5], "y": [0, 1, 0, 1, 0]}, index=[7, 3, 9, 1, 2])
    kept = preparation.select(training, types.SimpleNamespace(select=select))
    assert kept.to_dict() == {7: False, 3: True, 9: False, 1: True, 2: True}
    assert preparation.select(training, None).tolist() == [True] * 5


@pytest.mark.parametrize(
    "select",
    [
        lambda rows: rows["a"] > 2,
        lambda rows: rows[rows["a"] > 9],
        lambda rows: rows.reset_index(drop=True),
        lambda rows: pd.concat([rows, rows.set_axis([1, 4, 5])]),
    ],
    ids=["a mask", "no row", "another index", "more than came in"],
)
def test_what_selects_nothing_that_came_in_is_refused(select):
    training = pd.DataFrame({"a": [1, 3, 2]}, index=[7, 3, 9])
    code = types.SimpleNamespace(select=select, __file__="/x/features.py")
    with pytest.raises(BatonError, match=r"^features\.py, select: return some of the rows that come in"):
        preparation.select(training, code)


def test_an_error_in_select_is_told_with_its_place(tmp_path):
    (tmp_path / "chosen.py").write_text("def select(rows):\n    return rows[rows['b'] > 0]\n")
    code = config.load_features(str(tmp_path / "chosen.py"))
    with pytest.raises(BatonError, match=r"^chosen\.py, line 2, select: the rows have no column 'b'"):
        preparation.select(pd.DataFrame({"a": [1]}), code)


def test_a_text_that_hardly_repeats_is_left_out():
    rows = pd.DataFrame(
        {"a": np.arange(100.0), "note": pd.Series([f"n{number}" for number in range(100)], dtype=object)}
    )
    step, _ = usual(rows)
    assert step.get_feature_names_out().tolist() == ["pipeline__a"]


WORDS = [f"word{number}" for number in range(390)]


def sentences(count: int = 300, length: int = 16, vocabulary: int = 390) -> pd.Series:
    generator = np.random.default_rng(2)
    return pd.Series([" ".join(generator.choice(WORDS[:vocabulary], length)) for _ in range(count)], dtype=object)


def test_sentences_are_told_from_names_and_from_few_words():
    assert preparation.is_free_text(sentences())
    assert preparation.is_free_text(sentences().where(np.arange(300) % 5 > 0))  # with holes
    assert not preparation.is_free_text(sentences(length=2))
    assert not preparation.is_free_text(sentences(vocabulary=220))
    assert not preparation.is_free_text(pd.concat([sentences(100)] * 3))  # each three times
    assert not preparation.is_free_text(pd.Series([f"word{place} of mine" for place in range(300)], dtype=object))


def test_sentences_become_topics_beside_what_there_is():
    rows = pd.DataFrame({"a": np.arange(300.0), "note": sentences().where(np.arange(300) % 5 > 0)})
    assert preparation.prepare_texts(None, rows[["a"]], "binary") is None
    assert preparation.prepare_texts(types.SimpleNamespace(prepare=StandardScaler), rows, "binary") is None
    target = np.arange(300) % 2
    for how in ("scaled", "native"):
        plain, step = (
            make(None, rows, "binary", False, how) for make in (preparation.prepare, preparation.prepare_texts)
        )
        found = step.fit_transform(rows, target)
        assert found.shape == (300, 1 + preparation.TOPICS)
        np.testing.assert_allclose(found[:, 0], plain.fit_transform(rows, target)[:, 0])
        np.testing.assert_allclose(found[:, 1:].std(axis=0), 1)
        assert len(step.get_feature_names_out()) == found.shape[1]
        unknown = step.transform(rows.head(2).assign(note=["nothing like these", None]))
        np.testing.assert_allclose(unknown[0, 1:], unknown[1, 1:])


def test_a_table_of_sentences_alone_is_learned_from():
    rows = pd.DataFrame({"note": sentences()})
    assert preparation.prepare(None, rows, "binary").fit_transform(rows).shape == (300, preparation.TOPICS)
    assert preparation.prepare_texts(None, rows, "binary") is None  # they are in it already


def test_a_table_of_nothing_but_such_texts_is_refused():
    rows = pd.DataFrame({"note": pd.Series([f"n{number}" for number in range(100)], dtype=object)})
    with pytest.raises(BatonError, match="none of the columns can be learned from: note hardly repeat a value"):
        preparation.prepare(None, rows, "binary")


def test_a_date_becomes_a_time_and_a_place_in_the_day_the_week_and_the_year():
    days = pd.Series(pd.date_range("2023-01-01", periods=800, freq="D")).astype("datetime64[us]")
    when = pd.DataFrame({"when": pd.concat([days, days + pd.Timedelta(hours=12)], ignore_index=True)})
    fitted, prepared = usual(when)
    assert prepared.shape == (1600, 1 + 8 + 7 + 12)
    seconds = when["when"].astype("int64")
    assert np.corrcoef(prepared[:, 0], seconds)[0, 1] > 0.999999
    day, week, year = prepared[:, 1:9], prepared[:, 9:16], prepared[:, 16:]
    np.testing.assert_allclose(day[0], day[5], atol=1e-9)  # midnight is midnight
    assert np.abs(day[0] - day[800]).max() > 0.3  # and no noon
    np.testing.assert_allclose(week[0], week[7], atol=1e-9)
    assert np.abs(week[0] - week[3]).max() > 0.3
    assert np.abs(year[0] - year[365]).max() < 0.05
    assert np.abs(year[0] - year[180]).max() > 0.3
    # The unit a column counts in makes no difference, and a missing date is the middle one.
    other = when.astype("datetime64[s]")
    np.testing.assert_allclose(fitted.transform(other), prepared)
    missing = fitted.transform(pd.DataFrame({"when": pd.Series([pd.NaT], dtype="datetime64[us]")}))
    assert np.isfinite(missing).all()
    assert abs(missing[0, 0]) < 0.05


def test_a_date_that_training_never_had_is_no_stumbling_block():
    when = pd.DataFrame({"a": [1.0, 2.0] * 10, "when": pd.Series([pd.NaT] * 20, dtype="datetime64[us]")})
    fitted, _ = usual(when)
    assert np.isfinite(fitted.transform(when.assign(when=pd.Timestamp("2024-05-06")))).all()


def weighted(classes: bool, rows: int = 240) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Rows, their target, and how often each counts."""
    generator = np.random.default_rng(3)
    X = pd.DataFrame(generator.normal(size=(rows, 2)), columns=["a", "b"])
    y = X["a"].to_numpy() + generator.normal(size=rows)
    return X, (y > 0.3).astype(int) if classes else np.exp(y), generator.integers(1, 6, rows)


LOGISTIC, TREE = LogisticRegression(C=1e6, max_iter=1000, tol=1e-8), DecisionTreeClassifier(max_depth=3)
TEMPERED = {"method": "temperature", "cv": PredefinedSplit(np.arange(240) % 3), "ensemble": False}
BLEND = VotingClassifier([("lr", LOGISTIC), ("tree", TREE)], voting="soft")


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(C=1e6, max_iter=1000, tol=1e-8),
        BLEND,
        FixedThresholdClassifier(BLEND, threshold=0.3, response_method="predict_proba"),
        CalibratedClassifierCV(LOGISTIC, **TEMPERED),
        FixedThresholdClassifier(CalibratedClassifierCV(BLEND, **TEMPERED), threshold=0.3),
        VotingClassifier([("one", make_pipeline(StandardScaler(), LOGISTIC)), ("tree", TREE)], voting="soft"),
        TransformedTargetRegressor(LinearRegression(), func=np.log, inverse_func=np.exp),
        VotingRegressor([("lr", LinearRegression()), ("tree", DecisionTreeRegressor(max_depth=3))]),
        StackingRegressor([("lr", LinearRegression())], LinearRegression(), cv=PredefinedSplit(np.arange(240) % 3)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_row_of_weight_two_is_learned_from_as_if_it_were_there_twice(model):
    X, y, times = weighted(is_classifier(model))
    found = preparation.fit(make_pipeline(StandardScaler(), clone(model)), X, y, None, 7.0 * times)
    many = np.repeat(np.arange(240), times)
    again = {
        name: PredefinedSplit(value.test_fold[many])
        for name, value in model.get_params().items()
        if isinstance(value, PredefinedSplit)
    }
    expected = make_pipeline(StandardScaler().fit(X), clone(model).set_params(**again))
    expected.steps[0] = ("scaled", FunctionTransformer(StandardScaler().fit(X).transform))  # by rows, without weights
    expected.fit(X.iloc[many], y[many])
    answer = "predict_proba" if is_classifier(model) else "predict"
    np.testing.assert_allclose(getattr(found, answer)(X), getattr(expected, answer)(X), rtol=5e-3, atol=5e-3)
    plain = getattr(preparation.fit(make_pipeline(StandardScaler(), clone(model)), X, y), answer)(X)
    assert np.abs(getattr(found, answer)(X) - plain).max() > 0.02
    assert preparation.unweighted(found) == []


def test_the_scale_of_weights_regularises_no_model():
    X, y, times = weighted(classes=True)
    strict = make_pipeline(LogisticRegression(C=0.01))
    fitted = [preparation.fit(clone(strict), X, y, None, by)[-1].coef_ for by in (times, 1e6 * times)]
    np.testing.assert_allclose(*fitted, rtol=1e-9)
    ones = preparation.fit(clone(strict), X, y, None, np.full(240, 9.0))[-1].coef_
    np.testing.assert_allclose(ones, strict.fit(X, y)[-1].coef_)


def test_a_model_that_takes_no_weights_is_fitted_without_and_named():
    X, y, times = weighted(classes=True)
    plain, found = (
        preparation.fit(make_pipeline(StandardScaler(), KNeighborsClassifier()), X, y, None, by) for by in (None, times)
    )
    np.testing.assert_array_equal(found.predict_proba(X), plain.predict_proba(X))
    assert preparation.unweighted(found) == ["KNeighborsClassifier"]
    ada = VotingClassifier([("ada", AdaBoostClassifier()), ("knn", KNeighborsClassifier()), ("lr", LOGISTIC)])
    both = preparation.fit(make_pipeline(ada), X, y, None, times)
    assert preparation.unweighted(both) == ["AdaBoostClassifier", "KNeighborsClassifier"]
    alone = LOGISTIC.fit(X, y, times)
    np.testing.assert_allclose(both[-1].named_estimators_["lr"].coef_, alone.coef_, rtol=1e-4)


def test_nothing_of_how_weights_were_handed_over_stays(tmp_path):
    """In the model, which is saved, or in scikit-learn, which fits others."""
    X, y, times = weighted(classes=True)
    kinds = (LogisticRegression, StandardScaler, CalibratedClassifierCV, KNeighborsClassifier, RANSACRegressor)
    before = [{**vars(kind)} for kind in kinds]
    model = make_pipeline(StandardScaler(), CalibratedClassifierCV(LOGISTIC, **TEMPERED))
    found = preparation.fit(model, X, y, None, times)
    with pytest.raises(ValueError, match="neighbors"):
        preparation.fit(
            make_pipeline(VotingClassifier([("lr", LOGISTIC), ("knn", KNeighborsClassifier(-1))])), X, y, None, times
        )
    robust = VotingRegressor([("ransac", RANSACRegressor()), ("lr", LinearRegression())])
    preparation.fit(make_pipeline(robust), X, X["a"], None, times)
    assert [{**vars(kind)} for kind in kinds] == before
    assert "metadata" not in skops.io.dumps(found).decode("latin-1")
    trusted = models.trusted_types() + ["sklearn.model_selection._split.PredefinedSplit"]
    again = skops.io.loads(skops.io.dumps(found), trusted=trusted)
    np.testing.assert_array_equal(again.predict_proba(X), found.predict_proba(X))


def test_weights_and_groups_are_given_to_those_that_take_them():
    generator = np.random.default_rng(8)
    clinic = generator.integers(0, 40, 1600)
    X = pd.DataFrame({"code": [f"c{number}" for number in clinic], "a": generator.normal(size=1600)})
    y = (generator.random(1600) < np.where(clinic % 2, 0.7, 0.3)).astype(int)
    weights, groups = generator.lognormal(size=1600), clinic // 4
    pipeline = make_pipeline(preparation.prepare(None, X, "binary", grouped=True), LOGISTIC)
    found = preparation.fit(clone(pipeline), X, y, groups, weights)
    with sklearn.config_context(enable_metadata_routing=True):
        encoded = clone(pipeline[0]).fit_transform(X, y, groups=groups)
    expected = clone(LOGISTIC).fit(encoded, y, weights / weights.mean())
    np.testing.assert_allclose(found[-1].coef_, expected.coef_)
    assert np.abs(preparation.fit(clone(pipeline), X, y, groups)[-1].coef_ - expected.coef_).max() > 0.01


@pytest.mark.parametrize("groups", ["none", "few", "enough"])
def test_texts_of_many_values_are_encoded_where_rows_have_weights(groups):
    generator = np.random.default_rng(9)
    X = pd.DataFrame({"town": [f"t{number}" for number in generator.integers(0, 60, 2400)]})
    y, weights = generator.integers(0, 2, 2400), generator.lognormal(size=2400)
    of_rows = {"none": None, "few": np.arange(2400) % 3, "enough": np.arange(2400) // 4}[groups]
    pipeline = make_pipeline(preparation.prepare(None, X, "binary", grouped=groups != "none"), LOGISTIC)
    assert any(isinstance(part, TargetEncoder) for part in pipeline.get_params().values())
    before = TargetEncoder.fit_transform
    found = preparation.fit(clone(pipeline), X, y, of_rows, weights)
    assert TargetEncoder.fit_transform is before
    step, routed = clone(pipeline[0]), groups == "enough"
    if not routed:
        step.set_params(**preparation.encoder_folds(step)[1])
    with sklearn.config_context(enable_metadata_routing=routed):
        encoded = step.fit_transform(X, y, **({"groups": of_rows} if routed else {}))
    expected = clone(LOGISTIC).fit(encoded, y, weights / weights.mean())
    np.testing.assert_allclose(found[-1].coef_, expected.coef_)
