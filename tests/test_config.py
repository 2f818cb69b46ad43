"""What env.yaml may say, and what is said back when they are wrong."""

import importlib
import re
import sys
from pathlib import Path

import pytest
import yaml
from conftest import PROJECT

from baton import BatonError, config
from baton.training import evaluation

ALL = {
    "name": "demo", "target": "y", "train_data": "train.csv", "score_data": "new.csv", "predictions_table": None, "predictions_store": None,
    "id_columns": [], "ignore_columns": [], "weight": None, "features": None, "grid": "default", "figures": ["auto"],
    "task": "auto", "positive": "auto", "threshold": "auto", "metric": "auto",
    "choose": "best", "promote": "superior", "confidence": 0.95, "margin": 0, "at_least": {}, "at_most": {}, "slices": [],
    "final_fit": "all", "split": "hash", "split_by": None, "holdout": 0.2, "folds": 5, "seed": 7, "batch": "one",
    "model_version": None, "keep_columns": [], "explain": 0, "interval": None, "bounds": {},
    "max_reject_rate": 0.05, "max_age": None,
    "reject": ["unparsable", "missing", "out_of_bounds", "duplicate_id"], "predictions_format": "parquet",
    "replace": False, "on_failure": None, "track": True, "mlflow_tracking_uri": "sqlite:///mlflow.db",
    "engine": "local",
}  # fmt: skip
NOWHERE = Path("no env.yaml here")
SHIPPED = config.read_env(PROJECT / "env.yaml") | {"batch": "2026-11-21"}
PIPELINES = ["pipeline.yaml", "pipeline.serve.yaml"]


def check(**changed) -> config.Settings:
    return config.check_settings(ALL | changed, NOWHERE)


def test_the_shipped_settings_are_valid_and_complete():
    config.check_settings(SHIPPED, NOWHERE)
    assert set(SHIPPED) == set(config.Settings.model_fields) == set(ALL)


def test_a_key_that_is_left_out_is_what_it_is_for_ploomber_and_for_baton_alike():
    """Where a pipeline fills one in, it is from this file; where `baton` reads env.yaml, from the class."""
    written = yaml.safe_load((config.ROOT / "baton" / "defaults.yaml").read_text())
    assert set(written) == set(config.Settings.model_fields)
    given = {"name", "train_data", "score_data", "target"}
    assert {key for key in given if written.pop(key) != "none"} == set()
    assert written.pop("batch") == "{{now[:10]}}"
    assert config.Settings(**written) == config.Settings()


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_each_pipeline_names_every_setting(pipeline):
    """Ploomber warns of keys of env.yaml that a pipeline does not name."""
    written = (config.ROOT / pipeline).read_text()
    assert [key for key in SHIPPED if f"{{{{{key}}}}}" not in written] == []


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("name", "a b", "string should match pattern"),
        ("name", "../a", "string should match pattern"),
        ("name", True, "input should be a valid string"),
        ("train_data", 3, "input should be a valid string"),
        ("train_data", "", "string should have at least 1 character"),
        ("score_data", "", "string should have at least 1 character"),
        ("predictions_table", 3, "input should be a valid string"),
        ("split", "random", "input should be 'hash', 'group' or 'time'"),
        ("promote", "best", "input should be 'superior', 'not_worse', 'better', 'always' or 'never'"),
        ("confidence", 1, "input should be less than or equal to 0.999"),
        ("margin", -0.1, "input should be greater than or equal to 0"),
        ("at_least", 0.75, "write a mapping, such as {AUC: 0.75}"),
        ("at_least", {"AUCC": 0.75}, "there is no 'AUCC' (did you mean 'AUC'?). Choose from: AUC, "),
        ("at_most", "{megabyte: 5}", "there is no 'megabyte' (did you mean 'megabytes'?)"),
        ("final_fit", "none", "input should be 'all' or 'training'"),
        ("split_by", ["a"], "input should be a valid string"),
        ("weight", ["a"], "input should be a valid string"),
        ("features", 3, "input should be a valid string"),
        ("task", "clasification", "input should be 'auto', 'binary', 'multiclass' or 'regression'"),
        ("positive", None, "input should be a valid string"),
        ("positive", ["a"], "input should be a valid string"),
        ("choose", "one_se", "input should be 'best' or 'simplest'"),
        ("metric", "Acuracy", "there is no such metric (did you mean 'Accuracy'?). Choose one of: auto, AUC, "),
        ("metric", "profit", "there is no such metric. Choose one of: auto, AUC, "),
        ("holdout", 0.9, "input should be less than or equal to 0.5"),
        ("holdout", 0, "input should be greater than or equal to 0.05"),
        ("holdout", float("nan"), "input should be"),
        ("holdout", "some", "input should be a valid number"),
        ("folds", 1, "input should be greater than or equal to 2"),
        ("folds", 21, "input should be less than or equal to 20"),
        ("folds", 2.5, "input should be a valid integer"),
        ("folds", "many", "input should be a valid integer"),
        ("seed", -1, "input should be greater than or equal to 0"),
        ("seed", None, "input should be a valid integer"),
        # NumPy takes no seed above 2**32 - 1, and a date with its time, 20261121120000, is one.
        ("seed", 2**32, "input should be less than"),
        ("batch", "a/b", "string should match pattern"),
        ("batch", "", "string should match pattern"),
        ("batch", "..", "string should match pattern"),
        ("batch", "b" * 101, "string should have at most 100 characters"),
        ("batch", "2026_11_26", "it would be read as the number 20261126"),
        ("name", "1e5", "it would be read as the number 100000.0"),
        ("track", "perhaps", "input should be a valid boolean"),
        ("mlflow_tracking_uri", None, "input should be a valid string"),
        ("engine", "dask", "write local, or a cluster's address, as in dask://10.0.0.7:8786 or ray://10.0.0.7:10001"),
        ("engine", "spark://10.0.0.7:8786", "write local, or a cluster's address"),
        ("engine", "dask://10.0.0.7", "write local, or a cluster's address"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(key, value, message):
    with pytest.raises(BatonError, match=rf"\n  {key}: {re.escape(message)}.*\(it is {re.escape(repr(value))}\)$"):
        check(**{key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", 2024),
        ("target", 2024),
        ("batch", 20261121),
        ("batch", "2026-11-21T05:00+01:00"),
        ("features", None),
        ("id_columns", None),
        ("id_columns", "a, b"),
        ("id_columns", ["a", "b"]),
        ("id_columns", 2024),
        ("predictions_table", "none"),
        ("predictions_table", None),
        ("predictions_table", "sqlite:///scores.db#scores"),
        ("split_by", "none"),
        ("split_by", ""),
        ("weight", "none"),
        ("weight", 2024),
        ("holdout", 0.05),
        ("holdout", 0.5),
        ("folds", 20),
        ("seed", 0),
        ("seed", 2**32 - 1),
        ("metric", "RMSE"),
        ("choose", "simplest"),
        ("positive", "success"),
        ("positive", -1),
        ("positive", True),
    ],
)
def test_an_unusual_setting_is_allowed(key, value):
    check(**{key: value})


@pytest.mark.parametrize(
    "written", [{"AUC": 0.75, "F1": 0.5}, "{AUC: 0.75, F1: 0.5}", "{'AUC': 0.75, 'F1': 0.5}"],
    ids=["mapping", "command line", "as Ploomber fills it in"],
)  # fmt: skip
def test_a_mapping_of_limits_is_read_however_it_comes(written):
    assert config.Settings(at_least=written).at_least == {"AUC": 0.75, "F1": 0.5}
    assert config.Settings(at_least="none").at_least == config.Settings(at_least=None).at_least == {}


@pytest.mark.parametrize(("promote", "margin"), [("not_worse", 0), ("superior", 0.01)])
def test_a_margin_goes_with_the_policy_that_asks_for_it(promote, margin):
    with pytest.raises(BatonError, match="margin: it is what promote: not_worse may lose in all.*set both, or neither"):
        config.check_settings(ALL | {"promote": promote, "margin": margin}, NOWHERE)
    assert config.Settings(promote="not_worse", margin=0.01).margin == 0.01


@pytest.mark.parametrize("key", ["name", "target", "train_data", "score_data"])
def test_a_missing_setting_is_named(key):
    """It is none where a pipeline has filled in its default. Training does without rows to be scored."""
    others = {other: value for other, value in ALL.items() if other != key}
    for given in ({key: None}, {}) if key != "score_data" else ({key: None},):
        with pytest.raises(BatonError) as raised:
            config.check_settings(others | given, NOWHERE)
        assert str(raised.value).splitlines()[1:] == [f"  {key}: it is missing"]


def test_settings_come_from_the_command_then_the_file_then_the_defaults(tmp_path):
    file = tmp_path / "env.yaml"
    file.write_text('name: demo\ntarget: y\ntrain_data: t.csv\nfolds: 4\nseed: 8\nbatch: "{{now[:10]}}"\n')
    settings = config.check_settings({"folds": "3", "id_columns": "a, b", "positive": 1}, file)
    assert (settings.folds, settings.seed, settings.holdout, settings.batch) == (3, 8, 0.2, "unknown")
    assert (settings.id_columns, settings.positive, settings.choose) == (["a", "b"], "1", "best")


def test_a_wrong_value_of_the_file_is_named_as_one_of_the_command(tmp_path):
    file = tmp_path / "env.yaml"
    file.write_text("name: demo\ntarget: y\ntrain_data: t.csv\nfolds: 40\n")
    with pytest.raises(BatonError, match=r"\n  folds: input should be less than or equal to 20 \(it is 40\)$"):
        config.check_settings({}, file)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fold: 5", "fold: there is no such key (did you mean 'folds'?)"),
        ("traget: Outcome", "traget: there is no such key (did you mean 'target'?)"),
        ("xyz: 1", "xyz: there is no such key"),
    ],
)
def test_an_unknown_key_of_the_file_is_named_with_the_nearest_one_there_is(tmp_path, line, message):
    file = tmp_path / "env.yaml"
    file.write_text(f"folds: 5\n{line}\n")
    with pytest.raises(BatonError) as raised:
        config.check_settings(ALL, file)
    assert str(raised.value).splitlines()[1:] == [f"  {message}"]


def test_all_mistakes_are_named_at_once(tmp_path):
    file = tmp_path / "env.yaml"
    file.write_text("metrik: AUC\n")
    with pytest.raises(BatonError) as raised:
        config.check_settings(ALL | {"folds": 1, "holdout": 2, "task": "guess"}, file)
    first, *complaints = str(raised.value).splitlines()
    assert first == "env.yaml, or an --env-- option, needs a correction:"
    assert sorted(line.split(":")[0].strip() for line in complaints) == ["folds", "holdout", "metrik", "task"]


@pytest.mark.parametrize(
    ("written", "columns"),
    [
        (None, []),
        ("none", []),
        ([], []),
        ("a", ["a"]),
        ("a, b", ["a", "b"]),
        ("a,b", ["a", "b"]),
        (["a", "b"], ["a", "b"]),
        (("a", "b"), ["a", "b"]),
        ([" a", 2024, ""], ["a", "2024"]),
        ("a, b, a,", ["a", "b"]),
        ("first name", ["first name"]),
        (2024, ["2024"]),
        ("", []),
    ],
)
def test_columns_are_read_as_yaml_or_a_command_line_says_them(written, columns):
    assert config.column_names(written) == columns
    assert config.Settings(**ALL | {"id_columns": written}).id_columns == columns


@pytest.mark.parametrize(
    ("split", "split_by", "message"),
    [
        ("hash", None, None),
        ("hash", "none", None),
        ("group", "patient", None),
        ("time", 2024, None),
        ("group", None, "split: group goes by a column: name it in split_by"),
        ("time", "none", "split: time goes by a column: name it in split_by"),
        ("hash", "day", "split: hash goes by no column, and split_by names 'day': set split to group or time"),
    ],
)
def test_split_and_split_by_go_together(split, split_by, message):
    if message is None:
        check(split=split, split_by=split_by)
    else:
        with pytest.raises(BatonError, match=rf"\n  {re.escape(message)}$"):
            check(split=split, split_by=split_by)


ADDRESSES = ["train_data", "score_data", "predictions_table", "mlflow_tracking_uri"]


@pytest.mark.parametrize("key", ADDRESSES)
@pytest.mark.parametrize(
    "value",
    [
        "postgresql://me:Geheim7@host/db#table",
        "POSTGRESQL+pg8000://me:Geheim7@[::1]:5432/db#table",
        "postgresql://:Geheim7@host/db",
        "postgresql://me:Geheim7@host:${PORT}/db",
        "postgresql://${ME}:Geheim7@host/db",
        "postgresql://me:Geheim7${PW}@host/db",
        "postgresql://me:a#Geheim7/b @x@host/db#table",
        "postgresql://me@host/db?sslmode=on&password=Geheim7#table",
        "https://me:Geheim7@host:5000",
    ],
)
def test_a_password_is_refused_and_not_repeated(key, value):
    with pytest.raises(BatonError) as raised:
        check(**{key: value})
    first, *complaints = str(raised.value).splitlines()
    assert complaints == [
        f"  {key}: it holds a password, which would end up in every notebook and run. Write ${{NAME}} in its place, and"
        " give the password in the environment variable NAME"
    ]


@pytest.mark.parametrize("key", ADDRESSES)
@pytest.mark.parametrize(
    "value",
    [
        "postgresql://me:${PW}@host/db#table",
        "postgresql://${ME}:${PW}@${HOST}:${PORT}/${DB}#SELECT 'a:b@c' AS x",
        "postgresql://me@host:5432/db?password=${PW}#SELECT '%@%:@'",
        "postgresql://host:5432/db#SELECT '@'",
        "${URL}#table",
        "${URL}",
        "sqlite:///mlflow.db",
        "data/me:you@home/2026-*.csv",
        "https://host:5000/a@b",
    ],
)
def test_what_holds_no_password_is_allowed(key, value):
    check(**{key: value})


def test_a_password_is_not_repeated_when_another_thing_is_wrong():
    with pytest.raises(BatonError) as raised:
        check(train_data={"url": "postgresql://me:Geheim7@host/db"})
    assert str(raised.value).splitlines()[1:] == ["  train_data: input should be a valid string"]


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("${ODD_ONE}", "a/b @%#"),
        ("${ODD_ONE}#t", "a/b @%##t"),
        ("postgresql://me:${ODD_ONE}@h/${PLAIN_ONE}", "postgresql://me:a%2Fb%20%40%25%23@h/db"),
        ("$PLAIN_ONE {PLAIN_ONE} ${}", "$PLAIN_ONE {PLAIN_ONE} ${}"),
    ],
)
def test_the_environment_is_filled_in_as_a_url_needs_it(monkeypatch, text, filled):
    monkeypatch.setenv("ODD_ONE", "a/b @%#")
    monkeypatch.setenv("PLAIN_ONE", "db")
    assert config.fill_in(text) == filled


def test_a_variable_that_is_not_there_is_named_and_no_other(monkeypatch):
    monkeypatch.setenv("ODD_ONE", "Geheim7")
    monkeypatch.delenv("NO_SUCH", raising=False)
    with pytest.raises(BatonError) as raised:
        config.fill_in("postgresql://${ODD_ONE}:${NO_SUCH}@h/db")
    assert str(raised.value) == (
        "postgresql://${ODD_ONE}:${NO_SUCH}@h/db: the environment has no variable NO_SUCH."
        " Set it where this runs: export NO_SUCH=…"
    )


@pytest.mark.parametrize(
    ("value", "message", "hidden"),
    [
        ("a/b @", "no a/b @ or a%2Fb%20%40 here", "no ${S} or ${S} here"),
        ("", "nothing to hide", "nothing to hide"),
        # A whole URL hides the password in it as well, as it is and as it is written.
        ("postgresql://me:a%2Fb@h/db", "postgresql://me:a%2Fb@h/db: a/b a%2Fb me", "${S}: ${S} ${S} me"),
    ],
)
def test_what_was_filled_in_is_taken_out_of_messages(monkeypatch, value, message, hidden):
    monkeypatch.setenv("S", value)
    assert config.hide(message, "${S}#t") == hidden
    assert config.hide(message, "another#t") == message


@pytest.mark.parametrize(("task", "first"), [("binary", "AUC"), ("multiclass", "AUC"), ("regression", "R2")])
def test_every_metric_to_choose_by_can_be_computed(task, first):
    reads = {"number"} if task == "regression" else {"label", "probability"}
    assert config.METRICS[task][0] == first
    assert {evaluation.METRICS[name].of for name in config.METRICS[task]} == reads


def test_every_metric_that_can_be_computed_can_be_chosen_by():
    assert {name for names in config.METRICS.values() for name in names} == set(evaluation.METRICS)


@pytest.fixture
def feature_file(tmp_path, monkeypatch):
    """Write a feature file of a name no module has, and forget the module afterwards."""
    monkeypatch.setitem(sys.modules, "other_features", None)
    del sys.modules["other_features"]
    file = tmp_path / "other_features.py"
    file.write_text("def clean(rows):\n    return 'the file'\n")
    return file


@pytest.fixture
def namesake(feature_file, tmp_path, monkeypatch):
    """Put another module of that name where Python looks first."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "other_features.py").write_text("def clean(rows):\n    return 'a namesake'\n")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    return "other_features"


def test_no_feature_file_is_no_module():
    assert config.load_features(None) is None


def test_a_missing_feature_file_is_named():
    with pytest.raises(BatonError, match=r"^code/absent\.py: there is no such file\. Set features in env\.yaml"):
        config.load_features("code/absent.py")


def test_the_feature_file_is_found_by_its_path_not_by_its_name(feature_file, namesake):
    assert config.load_features(str(feature_file)).clean(None) == "the file"


def test_the_feature_file_is_found_even_after_a_namesake_was_imported(feature_file, namesake):
    """Else `features: code/features.py` would silently train with another features.py that was loaded before."""
    assert importlib.import_module(namesake).clean(None) == "a namesake"
    assert config.load_features(str(feature_file)).clean(None) == "the file"


def test_a_feature_file_can_be_imported_by_name_once_it_is_loaded(feature_file):
    """A saved model names its functions so: other_features.clean."""
    config.load_features(str(feature_file))
    assert importlib.import_module("other_features").clean(None) == "the file"


def test_a_feature_file_is_run_once(feature_file):
    first = config.load_features(str(feature_file))
    first.mark = "seen"
    assert config.load_features(str(feature_file)).mark == "seen"


def test_a_broken_feature_file_leaves_nothing_half_loaded(feature_file):
    """Who corrects the file in Jupyter and runs the cell again must get the corrected one."""
    whole = feature_file.read_text()
    feature_file.write_text("import a_package_nobody_has\n" + whole)
    with pytest.raises(ModuleNotFoundError, match="a_package_nobody_has"):
        config.load_features(str(feature_file))
    feature_file.write_text(whole)
    assert config.load_features(str(feature_file)).clean(None) == "the file"


def test_a_feature_file_that_is_not_python_is_named_with_its_line(feature_file):
    feature_file.write_text("x = 1\ndef clean(rows:\n    return rows\n")
    with pytest.raises(BatonError, match=r"other_features\.py, line 2: .*: def clean\(rows:"):
        config.load_features(str(feature_file))


def test_a_path_is_relative_to_the_project_unless_it_is_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config.resolve("env.yaml").read_text() == (config.ROOT / "env.yaml").read_text()
    assert config.resolve(str(tmp_path / "a.csv")) == tmp_path / "a.csv"


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("bounds", {"age": [0, 120]}, {"age": (0, 120)}),
        ("bounds", "{age: [0, null]}", {"age": (0, None)}),
        ("bounds", "{'age': [None, 7], 'on': ['2026-01-01', None]}", {"age": (None, 7), "on": ("2026-01-01", None)}),
        ("reject", "missing, duplicate_id", ["missing", "duplicate_id"]),
        ("reject", "none", []),
        ("keep_columns", "a, b", ["a", "b"]),
        ("model_version", 3, "3"),
        ("max_age", "none", None),
        ("max_age", "26", 26.0),
        ("interval", "none", None),
        ("interval", "0.99", 0.99),
        ("interval", 0.5, 0.5),
        ("on_failure", "none", None),
        ("replace", "true", True),
    ],
)
def test_the_keys_of_a_batch_are_read_as_yaml_or_a_command_line_has_them(key, value, found):
    assert getattr(check(**{key: value}), key) == found


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("bounds", {"age": [120, 0]}, "of 'age', the least that is possible comes first"),
        ("bounds", {"age": 7}, "give 'age' the least and the most that is possible"),
        ("bounds", {"age": [None, None]}, "give 'age' the least and the most that is possible"),
        ("bounds", "age", "write a mapping, such as {age: [0, 120]"),
        ("bounds", "{'on': [datetime.date(2026, 1, 1), None]}", "put dates in quotes, such as '2026-01-31'"),
        ("reject", "missng", "input should be 'unparsable', 'missing'"),
        ("max_reject_rate", 1.5, "less than or equal to 1"),
        ("model_version", "latest", "string should match pattern"),
        ("explain", -1, "greater than or equal to 0"),
        ("interval", 0.49, "interval: input should be greater than or equal to 0.5 (it is 0.49)"),
        ("interval", 90, "interval: input should be less than or equal to 0.99 (it is 90)"),
        ("on_failure", "https://me:secret@hooks.example.com", "it holds a password"),
    ],
)
def test_a_key_of_a_batch_that_is_wrong_is_told(key, value, said):
    with pytest.raises(BatonError, match=re.escape(said)):
        check(**{key: value})


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("auto", "auto"),
        (0.5, 0.5),
        (0.03, 0.03),
        ("0.03", 0.03),  # as a command line says it
        ({"cost": {"miss": 10, "alarm": 1}}, {"cost": {"miss": 10, "alarm": 1}}),
        ("{cost: {miss: 10, alarm: 0.5}}", {"cost": {"miss": 10, "alarm": 0.5}}),
        ("{'cost': {'miss': 10, 'alarm': 1}}", {"cost": {"miss": 10, "alarm": 1}}),  # as Ploomber writes it
    ],
)
def test_a_threshold_is_read_as_yaml_or_a_command_line_says_it(written, read):
    assert check(threshold=written).threshold == read


KINDS = "write auto, a probability between 0 and 1, or what errors cost: {cost: {miss: 10, alarm: 1}}"
BOTH = "say what a missed positive and a false alarm cost, as in {cost: {miss: 10, alarm: 1}}"
ABOVE = "a miss and a false alarm both cost something, a number above 0, as in {cost: {miss: 10, alarm: 1}}"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (1.5, KINDS),
        (1, KINDS),
        (0, KINDS),
        ("0.0", KINDS),
        (-0.2, KINDS),
        (float("nan"), KINDS),
        (True, KINDS),
        (None, KINDS),
        ("best", KINDS),
        ("none", KINDS),
        ("{cost: {miss", KINDS),
        ([0.3], KINDS),
        ({}, BOTH),
        ({"miss": 10, "alarm": 1}, BOTH),
        ({"cost": 10}, BOTH),
        ({"cost": {"miss": 10}}, BOTH),
        ({"cost": {"miss": 10, "alarm": 1, "hit": 0}}, BOTH),
        ({"cost": {"miss": 10, "alarm": 1}, "auto": 1}, BOTH),
        ({"cost": {"miss": 10, "alarm": 0}}, ABOVE),
        ({"cost": {"miss": "ten", "alarm": 1}}, ABOVE),
        ({"cost": {"miss": True, "alarm": 1}}, ABOVE),
        ({"cost": {"miss": float("inf"), "alarm": 1}}, ABOVE),
    ],
)
def test_a_threshold_that_can_not_be_is_told_what_it_may_be(written, message):
    with pytest.raises(BatonError) as raised:
        check(threshold=written)
    assert str(raised.value).splitlines()[1:] == [f"  threshold: {message} (it is {written!r})"]
