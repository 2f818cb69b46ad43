"""A corpus of bad tables and wrong knobs: each ends with one message that says what, where and what to do, and leaves
nothing behind. All are put to `baton check`, which reads as training does; some of each kind to a real build.
"""

import gzip
import io
import re
import sqlite3
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import PROJECT, run_task

from baton import BatonError, cli, config

GOOD = "a,b,y\n" + "".join(f"{n},{'uvw'[n % 3]},{'no' if n % 3 else 'yes'}\n" for n in range(60))
SPREADSHEET = io.BytesIO()
with zipfile.ZipFile(SPREADSHEET, "w") as made:
    made.writestr("xl/workbook.xml", "<workbook/>" + "\0" * 9)
PARQUET = io.BytesIO()
pd.DataFrame({"a": range(60), "y": [0, 1] * 30}).to_parquet(PARQUET)
DATABASE = "sqlite:///bad/there.db"


def rows(*lines: str, times: int = 1) -> str:
    return "a,b,y\n" + "".join(f"{line}\n" for line in lines) * times


# name: (files in the folder bad/, keys of env.yaml, what the message says)
FILES = {
    "empty": ({"t.csv": ""}, {}, "bad/t.csv: the file is empty; expected a header line and rows."),
    "blank": ({"t.csv": "\n \n\n"}, {}, "bad/t.csv: the file is empty"),
    "header only": ({"t.csv": "a,b,y\n"}, {}, "bad/t.csv: there is a header with 3 columns, and no row."),
    "a longer row": ({"t.csv": rows("1,u,no", "2,v,yes,7")}, {}, "bad/t.csv: row 2 has 4 values where the header names 3 columns"),
    "a shorter row": ({"t.csv": rows("1,u,no", "2,v", "3,u,no")}, {}, "bad/t.csv: row 2 has 2 values where the header names 3"),
    "a quote that never ends": ({"t.csv": rows('1,"u,no', "2,v,yes")}, {}, "bad/t.csv: row 1 has 2 values where the header names 3 columns. Correct it there; if values hold the delimiter or a quote"),
    "binary": ({"t.csv": bytes(range(256)) * 9}, {}, "bad/t.csv: this is no text but binary data. Is it a spreadsheet"),
    "a spreadsheet called CSV": ({"t.csv": SPREADSHEET.getvalue()}, {}, "bad/t.csv: this is no text but binary data. Is it a spreadsheet"),
    "a spreadsheet": ({"t.xlsx": SPREADSHEET.getvalue()}, {"train_data": "bad/t.xlsx"}, "bad/t.xlsx: can't read a .xlsx file; give one of: .csv"),
    "UTF-16 without its mark": ({"t.csv": GOOD.encode("utf-16-le")}, {}, "bad/t.csv: this is no text but binary data"),
    "not compressed": ({"t.csv.gz": GOOD}, {"train_data": "bad/t.csv.gz"}, "bad/t.csv.gz: this can't be read as csv: Not a gzipped file"),
    "half a gzip": ({"t.csv.gz": gzip.compress(GOOD.encode())[:-20]}, {"train_data": "bad/t.csv.gz"}, "bad/t.csv.gz: this can't be read as csv: Compressed file ended"),
    "half a Parquet": ({"t.parquet": PARQUET.getvalue()[:-9]}, {"train_data": "bad/t.parquet"}, "bad/t.parquet: this can't be read as parquet: "),
    "a CSV called Parquet": ({"t.parquet": GOOD}, {"train_data": "bad/t.parquet"}, "bad/t.parquet: this can't be read as parquet: "),
    "no file": ({"u.csv": GOOD}, {}, "bad/t.csv: there is no such file. It is not here yet, or train_data"),
    "no file of the pattern": ({"t.csv": GOOD}, {"train_data": "bad/2026-*.csv"}, "bad/2026-*.csv: there is no such file"),
    "a folder of something else": ({"notes.md": "hm"}, {"train_data": "bad"}, "bad: there is no CSV or Parquet file in this folder"),
    "parts that differ": ({"1.csv": GOOD, "2.csv": GOOD.replace("b", "B", 1)}, {"train_data": "bad"}, "bad/2.csv and bad/1.csv have different columns: only one of them has 'B', 'b'"),
    "one name twice": ({"t.csv": "a,a,y\n1,2,no\n"}, {}, "bad/t.csv: more than one column has the name 'a'"),
    "one name twice but for spaces": ({"t.csv": "a, a,y\n1,2,no\n"}, {}, "bad/t.csv: more than one column has the name 'a'"),
    "a delimiter of its own": ({"t.csv": GOOD.replace(",", "%")}, {}, "the table of 'bad' lacks 1 of the columns it needs: 'y'"),
    "JSON": ({"t.csv": '{"a": 1}'}, {}, "bad/t.csv: there is a header with 2 columns, and no row"),
}  # fmt: skip

COLUMNS = {
    "no target": ({}, {"target": "z"}, "the table of 'bad' lacks 1 of the columns it needs: 'z'; correct target in env.yaml. It has: a, b, y"),
    "another spelling": ({}, {"target": "Y"}, "lacks 1 of the columns it needs: 'Y'"),
    "no id": ({}, {"id_columns": "a, id"}, "lacks 1 of the columns it needs: 'id'; correct id_columns in env.yaml"),
    "no such column to ignore": ({}, {"ignore_columns": "c"}, "lacks 1 of the columns it needs: 'c'; correct ignore_columns"),
    "the target an id": ({}, {"id_columns": "y"}, "id_columns names 'y', which is the target"),
    "an id called as the output": ({"t.csv": GOOD.replace("a,", "prediction,", 1)}, {"id_columns": "prediction"}, "id column 'prediction' has the name of a column that scoring writes"),
    "an empty target": ({"t.csv": rows("1,u,", "2,v,")}, {}, "column 'y': no row has a value. Set target in env.yaml"),
    "a target of question marks": ({"t.csv": rows("1,u,?", "2,v,NA", times=20)}, {}, "column 'y': no row has a value"),
    "a target of infinities": ({"t.csv": rows("1,u,inf", "2,v,-inf", times=20)}, {}, "column 'y': no row has a value"),
    "one class": ({"t.csv": rows("1,u,no", "2,v,no", times=20)}, {}, "column 'y': every one of its 40 values is 'no': there is nothing to learn"),
    "a name for each row": ({"t.csv": rows(*(f"{n},u,n{n}" for n in range(40)))}, {}, "column 'y' holds 40 different values in 40 rows, too many to be classes"),
    "a regression on names": ({}, {"task": "regression"}, "column 'y' holds text such as 'yes'; task: regression needs numbers"),
    "two classes of three": ({}, {"target": "b", "task": "binary"}, "column 'b' has 3 different values; task: binary needs two"),
    "several classes of two": ({}, {"task": "multiclass"}, "column 'y' has two different values; set task to binary"),
    "a metric of another question": ({}, {"metric": "R2"}, "metric 'R2' can't score a binary question. Choose one of: AUC"),
    "a metric in small letters": ({}, {"metric": "auc"}, "metric: there is no such metric (did you mean 'AUC'?)"),
    "no column to learn from": ({}, {"id_columns": "a", "ignore_columns": "b"}, "the table of 'bad' has no column to learn from besides 'y', ids and ignored ones"),
    "only constant columns": ({"t.csv": rows("1,u,no", "1,u,yes", times=20)}, {}, "the table of 'bad' has no column to learn from"),
    "one row": ({"t.csv": rows("1,u,no")}, {}, "column 'y': every one of its 1 values is 'no'"),
    "three rows": ({"t.csv": rows("1,u,no", "2,v,yes", "3,w,no")}, {}, "give a larger table"),
    "one group": ({"t.csv": GOOD.replace("v", "u").replace("w", "u") + "1,,no\n"}, {"split": "group", "split_by": "b", "target": "a"}, "none of the 2 groups of 'b' falls into training with holdout: 0.2"),
    "no column of groups": ({}, {"split": "group", "split_by": "shop"}, "lacks 1 of the columns it needs: 'shop'; correct split_by in env.yaml"),
    "groups by no column": ({}, {"split": "group"}, "split: group goes by a column: name it in split_by"),
    "a column for no split": ({}, {"split_by": "b"}, "split: hash goes by no column, and split_by names 'b': set split to group or time"),
    "no column of weights": ({}, {"weight": "w"}, "lacks 1 of the columns it needs: 'w'; correct weight in env.yaml"),
    "the target a weight": ({}, {"weight": "y"}, "weight names 'y', which is the target; correct one of them"),
    "a weight of 0": ({"t.csv": rows("1,u,no", "2,v,yes", "0,w,no", times=20)}, {"weight": "a"}, "column 'a', which weight names: 20 of 60 rows have no number above 0 there, the first of them '0'. Give each row such a weight, or leave these rows out of the table"),
    "a weight in words": ({}, {"weight": "b"}, "column 'b', which weight names: "),
    "a time that is none": ({}, {"split": "time", "split_by": "b"}, "split_by names 'b', which holds text; split: time needs dates, or numbers"),
    "one time": ({"t.csv": rows("1,u,no", "1,v,yes", "1,w,no", times=20)}, {"split": "time", "split_by": "a"}, "split_by names 'a', which has 1 time; split: time needs two or more"),
}  # fmt: skip

DATABASES = {
    "no database": ({}, {"train_data": "sqlite:///bad/none.db#t"}, "sqlite:///bad/none.db#t: there is no such file"),
    "no table": ({}, {"train_data": f"{DATABASE}#nope"}, f"{DATABASE}#nope: the database says: no such table: nope"),
    "no table named": ({}, {"train_data": DATABASE}, f"{DATABASE}: name the table behind a #"),
    "no such SQL": ({}, {"train_data": f"{DATABASE}#selekt * from t"}, 'the database says: near "selekt": syntax error'),
    "an empty table": ({}, {"train_data": f"{DATABASE}#bare"}, "there is a header with 2 columns, and no row."),
    "another kind of database": ({}, {"train_data": "oragle://host/db#t"}, "oragle://host/db#t: the database says: Can't load plugin"),
    "no server": ({}, {"train_data": "postgresql://me:${BAD_PASSWORD}@127.0.0.1:9/db#t"}, "postgresql://me:${BAD_PASSWORD}@127.0.0.1:9/db#t: the database says: "),
    "no password": ({}, {"train_data": "postgresql://me:${NOT_SET}@127.0.0.1/db#t"}, "the environment has no variable NOT_SET. Set it where this runs"),
    "a password written down": ({}, {"train_data": "postgresql://me:hunter2@127.0.0.1/db#t"}, "train_data: it holds a password, which would end up in every notebook and run. Write ${NAME} in its place"),
}  # fmt: skip

KNOBS = {
    "a holdout too large": ({}, {"holdout": 0.9}, "holdout: input should be less than or equal to 0.5 (it is 0.9)"),
    "one fold": ({}, {"folds": 1}, "folds: input should be greater than or equal to 2 (it is 1)"),
    "a fold in words": ({}, {"folds": "five"}, "folds: input should be a valid integer"),
    "a name with a slash": ({}, {"name": "a/b"}, "name: string should match pattern"),
    "a task that isn't": ({}, {"task": "clustering"}, "task: input should be 'auto', 'binary', 'multiclass' or 'regression'"),
    "a split that isn't": ({}, {"split": "random"}, "split: input should be 'hash', 'group' or 'time' (it is 'random')"),
    "runs in a plain folder": ({}, {"mlflow_tracking_uri": "mlruns"}, "mlflow_tracking_uri 'mlruns': MLflow keeps no runs in plain folders; use sqlite:///mlflow.db"),
}  # fmt: skip

# The line of the tests' feature file that reads a column first.
FIRST = (PROJECT / "features.py").read_text().partition("return rows")[0].count("\n") + 1

FEATURES = {
    "no feature file": ({"features": "feature.py"}, "feature.py: there is no such file. Set features in env.yaml"),
    "features of another table": ({"features": "features.py"}, f"features.py, line {FIRST}, clean: the rows have no column 'Glucose'. If this file was written for another table, set features in env.yaml to none"),
}  # fmt: skip


def put(folder: Path, files: dict, keys: dict) -> dict:
    """Write bad files into the folder bad/ of a project; return the keys of env.yaml that name them."""
    (folder / "bad").mkdir()
    for name, content in (files or {"t.csv": GOOD}).items():
        (folder / "bad" / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with sqlite3.connect(folder / "bad" / "there.db") as store:
        store.execute("CREATE TABLE bare (a, y)")
    store.close()
    return {"name": "bad", "target": "y", "features": None, "train_data": "bad/t.csv"} | keys


CASES = FILES | COLUMNS | DATABASES | KNOBS


@pytest.mark.parametrize(("files", "keys", "expected"), CASES.values(), ids=CASES)
def test_a_bad_table_or_knob_is_named_by_the_check(tmp_path, monkeypatch, capsys, files, keys, expected):
    monkeypatch.setenv("BAD_PASSWORD", "correct horse")
    monkeypatch.setattr(config, "ROOT", tmp_path)
    (tmp_path / "grids").symlink_to(PROJECT / "grids")
    (tmp_path / "env.yaml").write_text(yaml.safe_dump(put(tmp_path, files, keys)))
    assert cli.main(["check"]) == 1
    printed = capsys.readouterr()
    assert expected in printed.err
    for secret in ("correct horse", "correct%20horse", "hunter2"):
        assert secret not in printed.err
    assert printed.out == ""
    assert not (tmp_path / "mlflow.db").exists()


def fail_to_train(project, files: dict, keys: dict) -> str:
    """Train on what is in the folder bad/, in vain; return what was printed."""
    project.edit(
        "pipeline.yaml", "preload: [baton.training.tournament, mlflow]", "preload: []"
    )  # nothing gets that far
    project.keep_candidates("lr")
    project.set(**put(project.folder, files, keys))
    printed = project.build(succeeds=False)
    assert "Traceback" not in printed
    assert "Need help?" not in printed
    assert not (project.folder / "predictions").exists()
    return printed


@pytest.mark.parametrize("case", ["a longer row", "no server", "a password written down", "one fold"])
def test_a_bad_table_or_knob_stops_training_with_one_message_and_leaves_nothing(fresh, monkeypatch, case):
    monkeypatch.setenv("BAD_PASSWORD", "correct horse")
    files, keys, expected = CASES[case]
    printed = fail_to_train(fresh, files, keys)
    assert expected in printed
    made = [path for path in (fresh.folder / "products").rglob("*") if path.is_file()]
    assert {path.name for path in made} <= {"training.lock", "clean.ipynb"}  # as far as it got, to be looked at
    assert fresh.tracked_nothing()
    for secret in ("correct horse", "correct%20horse", "hunter2"):
        assert not [text for text in (printed, *(path.read_text() for path in made)) if secret in text]


@pytest.mark.parametrize(("keys", "expected"), FEATURES.values(), ids=FEATURES)
def test_feature_code_that_does_not_fit_is_named_once_the_table_is_read(fresh, keys, expected):
    assert expected in fail_to_train(fresh, {}, keys)
    assert (fresh.folder / "products/bad/clean/train.parquet").exists()
    assert not (fresh.folder / "products/bad/features/X.parquet").exists()


HEADER = "Pregnancies,Glucose,BloodPressure,SkinThickness,Insulin,BMI,DiabetesPedigreeFunction,Age"
SERVED = {
    "empty": ("", {}, "bad.csv: the file is empty"),
    "header only": (f"{HEADER}\n", {}, "bad.csv: there is a header with 8 columns, and no row"),
    "columns missing": ("Glucose,Age\n1,2\n", {}, "bad.csv lacks 6 of the columns it needs: 'Pregnancies', 'BloodPressure'"),
    "words for numbers": (f"{HEADER}\n1,low,66,29,0,26.6,0.35,31\n8,high,64,0,0,23.3,0.67,32\n", {}, "bad.csv, column 'Glucose': 2 of 2 values are not a number, the first of them 'low' in row 1"),
    "dates for numbers": (f"{HEADER}\n2020-01-01,85,66,29,0,26.6,0.35,31\n2020-01-02,85,66,29,0,26.6,0.35,31\n", {}, "column 'Pregnancies': 2 of 2 values are not a number, the first of them '2020-01-01' in row 1"),
    "cut off": (f"{HEADER}\n1,85,66,29,0,26.6,0.35,31\n8,183,64", {}, "bad.csv: row 2 has 3 values where the header names 8 columns"),
    "no table to write to": (None, {"predictions_table": "sqlite:///none/x.db#t"}, "sqlite:///none/x.db#t: the database says: unable to open database file"),
    "no name of the table": (None, {"predictions_table": "sqlite:///x.db"}, "sqlite:///x.db: name the table behind a #"),
    "no champion": (None, {"name": "other"}, "there is no champion for 'other' in sqlite:///mlflow.db: train one with `ploomber build`"),
    "a batch that names no folder": (None, {"batch": "../x"}, "batch: string should match pattern"),
}  # fmt: skip


def published(project) -> dict:
    """What is published, and when it was changed."""
    results = (project.folder / "predictions").rglob("batch=*/*")
    return {path: path.stat().st_mtime_ns for path in results if "_failed" not in path.parts}


@pytest.mark.parametrize(("content", "keys", "expected"), SERVED.values(), ids=SERVED)
def test_a_bad_batch_is_named_when_it_is_received(first_hour, tmp_path, monkeypatch, content, keys, expected):
    project, _ = first_hour
    monkeypatch.setattr(config, "ROOT", project.folder)
    if content is not None:
        (tmp_path / "bad.csv").write_text(content)
        keys = keys | {"score_data": str(tmp_path / "bad.csv")}
    before, product = published(project), {"head": str(tmp_path / "head"), "batch": str(tmp_path / "batch")}

    def receive():
        run_task("receive", settings=config.check_settings({"batch": "bad"} | keys).model_dump(), product=product)

    with pytest.raises(BatonError, match=re.escape(expected)):
        receive()
    assert published(project) == before
    assert not (tmp_path / "batch").exists()


@pytest.mark.parametrize("case", ["words for numbers", "a batch that names no folder"])
def test_a_bad_batch_stops_scoring_with_one_message_and_publishes_nothing(trained, case):
    content, keys, expected = SERVED[case]
    if content is not None:
        (trained.folder / "bad.csv").write_text(content)
        keys = keys | {"score_data": "bad.csv"}
    before = published(trained)
    trained.set(**{"batch": "bad"} | keys)
    said = trained.build("-e", "pipeline.serve.yaml", succeeds=False)
    assert expected in said
    assert "Traceback" not in said
    assert published(trained) == before
